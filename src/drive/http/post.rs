//! Handing over: each delivery is a POST when it is due, those of one partition one after the other.
//!
//! One thread does it all, by an absolute schedule. A partition whose requests take long holds up itself, and no other.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use super::feed::{Posting, Read};
use crate::clock::Clock;
use crate::drive::DriveError;
use crate::drive::isolation::Isolation;
use crate::drive::process::Stops;
use crate::drive::shared::Shared;
use crate::plan::{Delivery, Phase};

/// Pause between looks whether a build is ready, or the warm-up over.
const LOOK: Duration = Duration::from_millis(10);

/// Longest wait for a due time before looking whether the drive is still wanted.
const SLICE: Duration = Duration::from_millis(50);

/// What the posting thread tells.
#[derive(Debug)]
pub(super) enum Note {
    /// A delivery is handed over at this moment of the drive's clock, in microseconds; it was let go at `free_us`: when it was due, or
    /// when the request ahead of it had its answer.
    Sent { posting: Posting, at_us: i64, free_us: i64 },
    /// The delivery of this number is handed over once more: the process that had it is gone, and its answer with it, or where it is
    /// not, the connection alone.
    Again { number: u64, at_us: i64, gone: bool },
    /// The delivery of this number was answered.
    Answered { number: u64, at_us: i64, answer: Answer },
    /// A delivery is never handed over.
    Never { number: u64, delivery: Delivery },
    /// Handing over has ended.
    Ended(PostEnd),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// It was longer than there is room for.
    pub(super) cut: bool,
}

/// Why handing over ended.
#[derive(Debug)]
pub(super) enum PostEnd {
    /// Everything was answered.
    Complete,
    /// A request found no connection, or no answer; why, as a fragment.
    Refused(String),
    /// No answer came for longer than the drain time-out.
    Stuck,
    /// The drive was cut short.
    Cut,
    /// The plan or the recording could not be read on.
    Failed(DriveError),
}

/// An address of HTTP, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Target {
    address: SocketAddr,
    host: HeaderValue,
    path: String,
}

/// Takes an address apart, and finds the host.
///
/// # Errors
///
/// What is wrong with it, as a fragment.
pub(super) fn target(url: &str) -> Result<Target, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is no address: {error}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?;
    let at = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let found = std::net::ToSocketAddrs::to_socket_addrs(&at).map_err(|error| format!("{authority}: {error}"))?;
    // Builds mostly listen on IPv4 where a name has both.
    let found: Vec<SocketAddr> = found.collect();
    let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    Ok(Target {
        address: address.ok_or_else(|| format!("{authority} has no address"))?,
        host: HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?,
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

/// All that handing over needs.
pub(super) struct Post {
    /// In whose network the build listens; none where that is the machine's.
    pub(super) isolation: Option<Arc<Isolation>>,
    pub(super) target: Target,
    /// What answers 200 once the build is ready; without it, who takes a connection is, unless a line is waited for.
    pub(super) ready: Option<Target>,
    pub(super) by_line: bool,
    pub(super) in_flight: u32,
    pub(super) paced: bool,
    pub(super) settle: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) body_bytes_max: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    /// Faults at the build's process.
    pub(super) stops: Arc<Stops>,
    pub(super) notes: Sender<Note>,
}

type Lane = UnboundedSender<(Posting, i64)>;

impl Post {
    /// Hands over all deliveries.
    pub(super) async fn run(self, mut postings: Receiver<Read>, room: Arc<Semaphore>) {
        let post = Arc::new(self);
        let mut end = post.hand_over_all(&mut postings).await.err();
        // Deliveries that are never handed over have receipts that say so.
        while let Some(read) = postings.recv().await {
            match read {
                Ok(posting) => post.never(&posting),
                Err(error) => end = end.or(Some(PostEnd::Failed(error))),
            }
        }
        room.close();
        post.stops.rest();
        post.shared.end_input(post.clock.now());
        post.note(Note::Ended(end.unwrap_or(PostEnd::Complete)));
    }

    async fn hand_over_all(self: &Arc<Self>, postings: &mut Receiver<Read>) -> Result<(), PostEnd> {
        self.wait_until_ready().await?;
        let (mut lanes, mut workers) = (HashMap::<(u32, i32), Lane>::new(), JoinSet::new());
        let handed = self.let_go_all(postings, &mut lanes, &mut workers).await;
        drop(lanes);
        let finished = all(&mut workers).await;
        match (handed, finished) {
            (Ok(()), finished) => finished?,
            // What made it be cut short counts.
            (Err(PostEnd::Cut), Err(why)) => return Err(why),
            (Err(end), _) => return Err(end),
        }
        if !self.shared.has_started() {
            self.settle().await?;
            self.start();
        }
        Ok(())
    }

    /// Lets each delivery go when it is due.
    async fn let_go_all(
        self: &Arc<Self>,
        postings: &mut Receiver<Read>,
        lanes: &mut HashMap<(u32, i32), Lane>,
        workers: &mut JoinSet<Result<(), PostEnd>>,
    ) -> Result<(), PostEnd> {
        while let Some(read) = postings.recv().await {
            let posting = read.map_err(PostEnd::Failed)?;
            if let Err(end) = self.wait_for(&posting.delivery, lanes, workers).await {
                self.never(&posting);
                return Err(end);
            }
            while let Some(ended) = workers.try_join_next() {
                if let Err(end) = ended.unwrap_or(Err(PostEnd::Cut)) {
                    self.never(&posting);
                    return Err(end);
                }
            }
            let key = (posting.delivery.topic, posting.delivery.partition);
            let lane = lanes.entry(key).or_insert_with(|| self.open_lane(workers));
            if let Err(back) = lane.send((posting, self.now_us())) {
                self.never(&back.0.0);
                return all(workers).await;
            }
        }
        Ok(())
    }

    /// Waits until a delivery is due; ahead of the first of the schedule, until the warm-up is over.
    async fn wait_for(
        &self,
        delivery: &Delivery,
        lanes: &mut HashMap<(u32, i32), Lane>,
        workers: &mut JoinSet<Result<(), PostEnd>>,
    ) -> Result<(), PostEnd> {
        self.go_on()?;
        if delivery.phase == Phase::WarmUp {
            return Ok(());
        }
        if !self.shared.has_started() {
            // Without their lanes the workers end once all of the warm-up is answered.
            lanes.clear();
            all(workers).await?;
            self.settle().await?;
            self.start();
        }
        if !self.paced {
            return Ok(());
        }
        loop {
            let at_us = self.shared.relative_us(self.now_us());
            // A flag changes when that is due, ahead of what is handed over then.
            let change_us = self.shared.next_change_us().filter(|change_us| *change_us <= delivery.due_us);
            let left_us = change_us.unwrap_or(delivery.due_us) - at_us;
            if left_us <= 0 {
                let Some(change_us) = change_us else { return Ok(()) };
                self.shared.change(change_us, at_us);
                continue;
            }
            tokio::time::sleep(Duration::from_micros(left_us as u64).min(SLICE)).await;
            self.go_on()?;
        }
    }

    /// Starts the schedule, and with it the faults at processes.
    fn start(&self) {
        self.shared.start(self.clock.now());
        self.stops.act();
    }

    /// Waits until outputs have been quiet for a while, where there was anything to write them for.
    async fn settle(&self) -> Result<(), PostEnd> {
        if self.shared.sent() == 0 {
            return Ok(());
        }
        let from_us = self.now_us();
        while self.now_us() - self.shared.output_us().max(from_us) < self.settle.as_micros() as i64 {
            self.go_on()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<(), PostEnd> {
        while !self.shared.is_ready() {
            self.go_on()?;
            if self.stops.are_away() {
                // Who answers is not who is waited for.
                return Ok(());
            }
            let ready = match &self.ready {
                Some(target) => self.is_ready(target).await,
                None => !self.by_line && self.connect(&self.target).await.is_ok(),
            };
            if ready {
                self.shared.set_ready();
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn is_ready(&self, target: &Target) -> bool {
        let asked = async {
            let mut connection = self.open(target).await.ok()?;
            let request = request(Method::GET, target, HeaderMap::new(), Bytes::new());
            Some(connection.0.send_request(request).await.ok()?.status() == StatusCode::OK)
        };
        tokio::time::timeout(self.drain_timeout, asked).await.ok().flatten().unwrap_or(false)
    }

    fn open_lane(self: &Arc<Self>, workers: &mut JoinSet<Result<(), PostEnd>>) -> Lane {
        let (sender, receiver) = unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..self.in_flight {
            workers.spawn(Arc::clone(self).work(Arc::clone(&receiver)));
        }
        sender
    }

    /// Posts deliveries of one partition, one after the other.
    async fn work(self: Arc<Self>, lane: Arc<Mutex<UnboundedReceiver<(Posting, i64)>>>) -> Result<(), PostEnd> {
        let (mut connection, mut answered_us) = (None, i64::MIN);
        loop {
            // Let go of before the request: the next worker takes the next delivery meanwhile.
            let Some((mut posting, released_us)) = lane.lock().await.recv().await else { return Ok(()) };
            let sending = posting.sending.take();
            let (Some(sending), Ok(())) = (sending, self.go_on()) else {
                self.never(&posting);
                continue;
            };
            let number = posting.number;
            let back_us = match self.wait_until_back().await {
                Ok(back_us) => back_us,
                Err(end) => {
                    self.never(&posting);
                    return Err(self.give_up(&lane, end).await);
                }
            };
            let at_us = self.now_us();
            self.shared.add_sent(1);
            self.note(Note::Sent { posting, at_us, free_us: released_us.max(answered_us).max(back_us) });
            let answer = match self.post_until_answered(number, &mut connection, &sending).await {
                Ok(answer) => answer,
                Err(end) => return Err(self.give_up(&lane, end).await),
            };
            answered_us = self.now_us();
            self.shared.note_taken(self.clock.now());
            self.note(Note::Answered { number, at_us: answered_us, answer });
        }
    }

    /// Posts one delivery, and once more each time that the process is gone with it, once that is back.
    async fn post_until_answered(
        &self,
        number: u64,
        connection: &mut Option<Connection>,
        sending: &super::request::Sending,
    ) -> Result<Answer, PostEnd> {
        loop {
            let begun = self.stops.begun();
            let why = match self.post_in_time(connection, sending, number).await {
                // A crash that begins with it takes it away: what was done for it is done, and nobody knows.
                Ok(answer) if !self.stops.note_commit() => return Ok(answer),
                Ok(_) => PostEnd::Stuck,
                Err(why) => why,
            };
            if self.stops.begun() == begun && !self.stops.go_on() {
                return Err(why);
            }
            *connection = None;
            self.wait_until_back().await?;
            self.note(Note::Again { number, at_us: self.now_us(), gone: true });
        }
    }

    /// Posts one delivery and waits for its answer as long as the drain time-out, or as long as the process is stopped.
    async fn post_in_time(
        &self,
        connection: &mut Option<Connection>,
        sending: &super::request::Sending,
        number: u64,
    ) -> Result<Answer, PostEnd> {
        let posted = self.post(connection, sending, number);
        tokio::pin!(posted);
        loop {
            match tokio::time::timeout(self.drain_timeout, &mut posted).await {
                Ok(answered) => return answered.map_err(PostEnd::Refused),
                Err(_) if self.stops.go_on() && !self.stops.are_away() => self.go_on()?,
                Err(_) => return Err(PostEnd::Stuck),
            }
        }
    }

    /// Waits until the process is there, and ready; returns when it was, where it had been away.
    async fn wait_until_back(&self) -> Result<i64, PostEnd> {
        let mut waited = false;
        loop {
            while self.stops.are_away() {
                waited = true;
                self.go_on()?;
                tokio::time::sleep(LOOK).await;
            }
            waited |= !self.shared.is_ready();
            self.wait_until_ready().await?;
            if !self.stops.are_away() {
                return Ok(if waited { self.now_us() } else { i64::MIN });
            }
        }
    }

    /// Ends all handing over; what waits in this partition is never handed over.
    async fn give_up(&self, lane: &Mutex<UnboundedReceiver<(Posting, i64)>>, end: PostEnd) -> PostEnd {
        self.shared.cut();
        // Whoever waits for the next delivery of this partition holds it until nobody lets any go any more, which is now.
        let mut lane = lane.lock().await;
        lane.close();
        while let Ok((posting, _)) = lane.try_recv() {
            self.never(&posting);
        }
        end
    }

    /// Posts one delivery. A connection that was kept open may have been closed on the other side just now: where it ended before any
    /// of an answer came, the request is made once more on a new one. If it had been sent, the build may have it twice: it is told of as
    /// handed over again.
    async fn post(
        &self,
        kept: &mut Option<Connection>,
        sending: &super::request::Sending,
        number: u64,
    ) -> Result<Answer, String> {
        let request = || request(Method::POST, &self.target, sending.headers.clone(), sending.body.clone());
        let mut was_sent = false;
        if let Some(mut connection) = kept.take().filter(Connection::is_open) {
            match connection.0.send_request(request()).await {
                Ok(response) => return self.read(connection, response, kept).await,
                Err(error) if error.is_canceled() || error.is_closed() => {}
                Err(error) if error.is_incomplete_message() => was_sent = true,
                Err(error) => return Err(in_one_line(&error)),
            }
        }
        let mut connection =
            self.open(&self.target).await.map_err(|error| format!("{}: {error}", self.target.address))?;
        // Where nobody takes connections any more, whoever begins anew tells of it.
        if was_sent {
            self.note(Note::Again { number, at_us: self.now_us(), gone: false });
        }
        let response = connection.0.send_request(request()).await.map_err(|error| in_one_line(&error))?;
        self.read(connection, response, kept).await
    }

    async fn open(&self, target: &Target) -> io::Result<Connection> {
        let stream = self.connect(target).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // What goes wrong with it shows at its requests.
        tokio::spawn(async { drop(connection.await) });
        Ok(Connection(sender))
    }

    /// Connects where the build listens: in the drive's own network, where it has one.
    async fn connect(&self, target: &Target) -> io::Result<TcpStream> {
        let own = self.isolation.as_ref().map_or(Ok(None), |isolation| isolation.unconnected(target.address))?;
        let Some(socket) = own else { return TcpStream::connect(target.address).await };
        socket.set_nonblocking(true)?;
        TcpSocket::from_std_stream(socket).connect(target.address).await
    }

    async fn read(
        &self,
        connection: Connection,
        response: hyper::Response<hyper::body::Incoming>,
        kept: &mut Option<Connection>,
    ) -> Result<Answer, String> {
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut cut) = (BytesMut::new(), false);
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|error| in_one_line(&error))?.into_data() else { continue };
            let fits = data.len().min(self.body_bytes_max - body.len());
            body.extend_from_slice(&data[..fits]);
            cut |= fits < data.len();
            if cut {
                break;
            }
        }
        if !cut {
            *kept = Some(connection);
        }
        Ok(Answer { status: head.status, headers: head.headers, body: body.freeze(), cut })
    }

    fn never(&self, posting: &Posting) {
        self.note(Note::Never { number: posting.number, delivery: posting.delivery });
    }

    fn note(&self, note: Note) {
        // Nobody listens only where the drive has failed already.
        let _ = self.notes.send(note);
    }

    fn go_on(&self) -> Result<(), PostEnd> {
        if self.shared.is_cut() { Err(PostEnd::Cut) } else { Ok(()) }
    }

    fn now_us(&self) -> i64 {
        self.clock.now().as_micros() as i64
    }
}

/// Waits for all workers; the first that ended early says why.
async fn all(workers: &mut JoinSet<Result<(), PostEnd>>) -> Result<(), PostEnd> {
    let mut ended = Ok(());
    while let Some(worker) = workers.join_next().await {
        ended = ended.and(worker.unwrap_or(Err(PostEnd::Cut)));
    }
    ended
}

/// An open connection.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

fn request(method: Method, target: &Target, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // It was taken apart from an address, so it is a path.
    *request.uri_mut() = target.path.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, target.host.clone());
    request
}

/// Writes an error with its causes on one line.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
