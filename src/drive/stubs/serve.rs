//! HTTP/1.1: listeners, connections, requests read to their end, answers when they are due.
//!
//! All stubs of a drive live on one thread. What is asked is put where it will be kept before it is answered: an answer that a build
//! has seen is never missing from the record.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::call::{Asked, Call, Came};
use super::calls::Counter;
use super::effect::{Effect, Seen};
use super::ofrep::Ofrep;
use super::registry::Registry;
use super::settings::StubSettings;
use crate::clock::{Clock, SystemClock};

/// Bytes of the head of a request at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of a body that is too large that are read all the same, so that its sender comes to read the answer.
const PASSED_OVER_MAX: u64 = 64 << 20;

/// Pause of a listener where the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);

/// What a stub answers.
#[derive(Debug)]
pub(super) struct Answer {
    /// None where the call is left without one.
    pub(super) status: Option<StatusCode>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Vec<u8>,
    /// How long it takes, from the request's end.
    pub(super) latency: Duration,
    /// What is kept of it.
    pub(super) call: Option<Call>,
}

/// Who answers at a listener.
#[derive(Debug)]
pub(super) enum Desk {
    Effect { effect: Arc<Effect>, seen: Arc<Seen> },
    Registry(Arc<Registry>),
    Flags(Ofrep),
}

/// What all stubs of a drive have in common.
#[derive(Debug)]
struct Floor {
    bounds: StubSettings,
    counter: Counter,
    /// Bytes of bodies that may come yet.
    room: Arc<Semaphore>,
    clock: Arc<SystemClock>,
    /// Requests that were none, or broke off: nobody can tell what they asked.
    broken: Arc<AtomicU64>,
}

/// A thread that answers at several listeners; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
    broken: Arc<AtomicU64>,
}

impl Server {
    /// Starts to answer; times are told by `clock`.
    ///
    /// # Errors
    ///
    /// What the system says where it gives no thread or does not let a listener be waited on.
    pub(super) fn start(
        desks: Vec<(TcpListener, Desk)>,
        bounds: StubSettings,
        counter: Counter,
        clock: Arc<SystemClock>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let broken = Arc::new(AtomicU64::new(0));
        let room = Arc::new(Semaphore::new(usize::try_from(bounds.in_flight_bytes_max).unwrap_or(usize::MAX)));
        let floor = Arc::new(Floor { bounds, counter, room, clock, broken: Arc::clone(&broken) });
        let (stop, stopped) = oneshot::channel();
        let mut listening = Vec::new();
        for (listener, desk) in desks {
            listener.set_nonblocking(true)?;
            let _inside = runtime.enter();
            listening.push((tokio::net::TcpListener::from_std(listener)?, Arc::new(desk)));
        }
        let serve = move || {
            runtime.block_on(async {
                for (listener, desk) in listening {
                    tokio::spawn(listen(listener, desk, Arc::clone(&floor)));
                }
                // Nothing is ever sent: the other end goes, and that is the word.
                let _ = stopped.await;
            });
        };
        let thread = thread::Builder::new().name("stubs".to_owned()).spawn(serve)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), broken })
    }

    /// Requests that were none, or broke off before their end.
    pub(super) fn broken(&self) -> u64 {
        self.broken.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

async fn listen(listener: tokio::net::TcpListener, desk: Arc<Desk>, floor: Arc<Floor>) {
    let places = Arc::new(Semaphore::new(floor.bounds.connections_max as usize));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        };
        // Answers are small, and whoever calls waits for them.
        let _ = stream.set_nodelay(true);
        let (desk, floor) = (Arc::clone(&desk), Arc::clone(&floor));
        tokio::spawn(async move {
            let held = AtomicBool::new(false);
            let service = service_fn(|request| serve(request, &desk, &floor, &held));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(floor.bounds.header_timeout.0)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            // Whoever hangs up while an answer is held back has sent all of the request.
            let is_whole = held.load(Ordering::SeqCst);
            if !is_whole && served.is_err_and(|error| error.is_parse() || error.is_incomplete_message()) {
                floor.broken.fetch_add(1, Ordering::SeqCst);
            }
            drop(place);
        });
    }
}

/// Why a connection ends without an answer.
#[derive(Debug)]
enum Unanswered {
    /// As the rule has it.
    Meant,
    /// The drive is over.
    Over,
    /// The request broke off.
    Broken,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meant => "left without an answer",
            Self::Over => "the drive is over",
            Self::Broken => "the request broke off",
        })
    }
}

impl std::error::Error for Unanswered {}

/// Answers a request; `held` tells whether all of one has come whose answer has not gone yet.
async fn serve(
    request: Request<Incoming>,
    desk: &Desk,
    floor: &Floor,
    held: &AtomicBool,
) -> Result<Response<Full<Bytes>>, Unanswered> {
    let (asked, room) = read(request, floor).await?;
    held.store(true, Ordering::SeqCst);
    let arrived = floor.clock.now();
    let mut answer = match desk {
        Desk::Effect { effect, seen } => effect.answer(&asked, arrived.as_micros() as i64, seen),
        Desk::Registry(registry) => registry.answer(&asked),
        Desk::Flags(flags) => flags.answer(&asked),
    };
    if let Some(call) = answer.call.take() {
        floor.counter.put(call).await.map_err(|()| Unanswered::Over)?;
    }
    // What is left of the body is what is kept of it, and that has bounds of its own.
    drop((asked, room));
    let Some(status) = answer.status else {
        tokio::time::sleep(floor.bounds.request_timeout.0).await;
        return Err(Unanswered::Meant);
    };
    // What it took to be kept counts: the answer is due by the request's end.
    let left = answer.latency.saturating_sub(floor.clock.now().saturating_sub(arrived));
    if !left.is_zero() {
        tokio::time::sleep(left).await;
    }
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = status;
    response.headers_mut().extend(answer.headers);
    held.store(false, Ordering::SeqCst);
    Ok(response)
}

/// Reads a request to its end, once there is room for its body; returns that with it.
async fn read(request: Request<Incoming>, floor: &Floor) -> Result<(Asked, OwnedSemaphorePermit), Unanswered> {
    let (head, body) = request.into_parts();
    // For as much as it may become, and ahead of its first byte: who has room never waits for more of it, so that none hinder each other.
    let bytes = match body.size_hint().upper() {
        Some(announced) if announced > floor.bounds.body_bytes_max => 0,
        Some(announced) => announced,
        None => floor.bounds.body_bytes_max,
    };
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let room = Arc::clone(&floor.room).acquire_many_owned(bytes).await.map_err(|_| Unanswered::Over)?;
    let reading = read_body(body, floor.bounds.body_bytes_max);
    let body = match tokio::time::timeout(floor.bounds.request_timeout.0, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            floor.broken.fetch_add(1, Ordering::SeqCst);
            return Err(Unanswered::Broken);
        }
        Err(_) => Came::TooSlow,
    };
    let asked = Asked {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body,
    };
    Ok((asked, room))
}

async fn read_body(mut body: Incoming, bytes_max: u64) -> Result<Came, hyper::Error> {
    let announced = body.size_hint().lower();
    let (mut bytes, mut length) = (BytesMut::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len() as u64;
        if length <= bytes_max && announced <= bytes_max {
            bytes.extend_from_slice(&data);
        } else if length > PASSED_OVER_MAX {
            break;
        }
    }
    let length = length.max(announced);
    Ok(if length > bytes_max { Came::TooLarge(length) } else { Came::Whole(bytes.freeze()) })
}
