//! Listening, and connections: one thread each, requests answered one after the other, in order.
//!
//! See [`super`] for why a thread each. What a connection does wrong ends that connection and nothing else: a length beyond the
//! bound, a request that does not go on, rubbish. Memory is taken as bytes come, not as they are announced.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::broker::Broker;
use super::calls;
use super::faults::{Acting, put_throttle};
use super::partition::lock;
use super::wire::Request;
use crate::clock::Clock;

/// Bounds the wait for the next bytes of a request that has begun.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// Bounds a request from its first byte to its last: whoever sends one now and then does not keep a place for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// First bytes of a client that would speak TLS: the kind of a handshake, and the major version.
const TLS: [u8; 2] = [22, 3];

/// So many such waits may pass between two requests: `connections.max.idle.ms` is ten minutes on Kafka, too.
const IDLE_WAITS: u32 = 20;

/// Bounds the wait for a client to take an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(600);

/// Pause of the listener where the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);

/// Bytes of a request that are made room for at once.
const FRAME_LIKELY: usize = 256 << 10;

/// Bytes of a request that are read at once, at most.
const STEP_BYTES: usize = 64 << 10;

/// Stack of a connection's thread.
const STACK_BYTES: usize = 1 << 20;

/// Longest wait for the end of a connection whose process was killed, in nanoseconds.
const LEAVING_NS: i64 = 100_000_000;

/// Slices written by one call, below the system's own bound.
const SLICES: usize = 512;

/// A listener with its connections; all end when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The socket that is listened at, to end that by.
    socket: TcpListener,
    listener: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    broker: Arc<Broker>,
    open: Mutex<Open>,
    closing: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Connections by number, which is the order they came in.
#[derive(Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Connection>,
}

struct Connection {
    stream: Arc<TcpStream>,
    /// It has sent a whole request, or was told to go.
    settled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(listener: TcpListener, broker: Arc<Broker>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { broker, open: Mutex::default(), closing: AtomicBool::new(false) });
        let keeping = Arc::clone(&shared);
        let keeper = spawn("stage time", move || keeping.broker.keep_time(&|| sever(&keeping)))?;
        let socket = listener.try_clone()?;
        let mut server = Self { address, shared, socket, listener: None, keeper: Some(keeper) };
        let listening = Arc::clone(&server.shared);
        server.listener = Some(spawn("stage listener", move || listen(&listening, &listener))?);
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.broker.close();
        // Wakes the listener, which sees then that it is to end. On Linux its end does, wherever it listens; elsewhere a visitor has to.
        if rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both).is_err() || cfg!(not(target_os = "linux")) {
            let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        }
        let threads = [self.listener.take(), self.keeper.take()];
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
        let connections = std::mem::take(&mut lock(&self.shared.open).all);
        for connection in connections.values() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        for thread in connections.into_values().filter_map(|connection| connection.thread) {
            let _ = thread.join();
        }
    }
}

/// Where a listener can be reached that perhaps listens everywhere.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work)
}

fn listen(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        if let Ok((stream, peer)) = accepted {
            admit(shared, stream, peer);
        } else {
            // No more sockets: whoever came and said nothing goes.
            close_silent(&lock(&shared.open));
            let clock = &shared.broker.clock;
            clock.wait_until(clock.now() + EXHAUSTED_PAUSE);
        }
    }
}

/// Ends all connections.
fn sever(shared: &Shared) {
    for connection in lock(&shared.open).all.values() {
        let _ = connection.stream.shutdown(Shutdown::Both);
    }
}

/// Ends the connection that has been silent for longest; returns whether there is one. One that has ended by itself makes room too,
/// and none is told twice.
fn close_silent(open: &Open) -> bool {
    let silent = open.all.values().find(|connection| !connection.settled.swap(true, Ordering::SeqCst));
    silent.is_some_and(|connection| {
        let _ = connection.stream.shutdown(Shutdown::Both);
        true
    })
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let timed = stream.set_read_timeout(Some(REST_TIMEOUT)).and(stream.set_write_timeout(Some(WRITE_TIMEOUT)));
    let mut open = lock(&shared.open);
    if open.all.len() >= shared.broker.settings.connections_max {
        // Those who talk are not disturbed by those who came and left: these make room, or else the newcomer goes. Its place is
        // counted once its thread has ended.
        let made_room = close_silent(&open);
        if !made_room || open.all.len() >= 2 * shared.broker.settings.connections_max {
            return shared.broker.note_refused_connection(&peer.ip().to_string());
        }
    }
    if timed.is_err() || shared.broker.faults.is_down(shared.broker.clock.now()) {
        return;
    }
    let (stream, settled) = (Arc::new(stream), Arc::new(AtomicBool::new(false)));
    open.next += 1;
    let number = open.next;
    let own = Ended { shared: Arc::clone(shared), number };
    let (reading, talking) = (Arc::clone(&stream), Arc::clone(&settled));
    let thread = spawn("stage connection", move || {
        let shared = &own.shared;
        // However it ends, it ends this connection alone; who must know is told by the broker.
        let _ = converse(&shared.broker, &reading, &talking, number, peer);
        let _ = reading.shutdown(Shutdown::Both);
    });
    if let Ok(thread) = thread {
        open.all.insert(number, Connection { stream, settled, thread: Some(thread) });
    }
}

/// Takes a connection off the list as its thread ends, even by a panic.
struct Ended {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.shared.open).all.remove(&self.number);
    }
}

/// Answers requests until the client leaves, the stage closes, or something is wrong.
fn converse(
    broker: &Broker,
    stream: &TcpStream,
    talked: &AtomicBool,
    connection: u64,
    address: SocketAddr,
) -> io::Result<()> {
    let peer = &address.ip().to_string();
    let mut reader = BufReader::with_capacity(STEP_BYTES, stream);
    loop {
        let frame = match read_frame(&mut reader, broker.settings.request_bytes_max, &*broker.clock) {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(FrameError::Tls) => {
                broker.note_tls(peer);
                return Err(io::ErrorKind::InvalidData.into());
            }
            Err(FrameError::Io(error)) => return Err(error),
        };
        let mut request = Request::parse(frame).map_err(|_| io::ErrorKind::InvalidData)?;
        (request.connection, request.peer) = (connection, Some(address));
        if !may_commit(broker, &request, stream) {
            break;
        }
        let acting = broker.faults.meet(&broker.topics, &broker.sessions, &request, broker.clock.now());
        let goes_on = match acting {
            None => {
                let answer = answer(broker, &request, peer)?;
                talked.store(true, Ordering::SeqCst);
                write_all(stream, &answer)?;
                true
            }
            Some(acting) => {
                talked.store(true, Ordering::SeqCst);
                converse_badly(broker, stream, request, acting, peer)?
            }
        };
        if !goes_on || broker.is_closing() {
            break;
        }
    }
    Ok(())
}

/// Whether a request is to be done that may be a commit: not where whoever made it was killed ahead of it.
fn may_commit(broker: &Broker, request: &Request, stream: &TcpStream) -> bool {
    let commits = [ApiKey::OffsetCommit, ApiKey::TxnOffsetCommit].map(|key| key as i16);
    let Some(gate) = broker.gate.get().filter(|_| commits.contains(&request.key)) else { return true };
    gate.commit() || !has_left(stream)
}

/// Whether the client has gone, which may take a moment to be seen.
fn has_left(stream: &TcpStream) -> bool {
    #[cfg(target_os = "linux")]
    let flags = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    let flags = PollFlags::HUP;
    let wait = Timespec { tv_sec: 0, tv_nsec: LEAVING_NS };
    poll(&mut [PollFd::new(stream, flags)], Some(&wait)).is_ok_and(|count| count > 0)
}

fn answer(broker: &Broker, request: &Request, peer: &str) -> io::Result<Vec<Bytes>> {
    calls::answer(broker, request, peer).map_err(|error| {
        broker.note_closed(request, &error);
        io::ErrorKind::InvalidData.into()
    })
}

/// Answers a request that meets faults; returns whether the connection goes on.
fn converse_badly(
    broker: &Broker,
    stream: &TcpStream,
    mut request: Request,
    mut acting: Acting,
    peer: &str,
) -> io::Result<bool> {
    if broker.faults.is_happening() {
        broker.wake();
    }
    if acting.cut {
        broker.faults.met(&mut acting, &[]);
        return Ok(false);
    }
    request.room = acting.room;
    let refused = acting.loading.then(|| calls::loading(&request)).flatten();
    let mut answer = match refused {
        Some(answer) => vec![answer],
        None => answer(broker, &request, peer)?,
    };
    broker.pause(acting.due(&request, &answer, broker.clock.now()), acting.rests);
    let throttled = acting.throttle.filter(|time| {
        if broker.faults.rests() != acting.rests {
            return false;
        }
        let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        put_throttle(&request, &mut answer, millis)
    });
    broker.faults.met(&mut acting, &answer);
    if acting.lost && !answer.is_empty() {
        return Ok(false);
    }
    write_all(stream, &answer)?;
    // Told to wait, and not heard meanwhile, as Kafka does with clients that do not know what they are told.
    if let Some(time) = throttled {
        broker.pause(broker.clock.now() + time, acting.rests);
    }
    Ok(true)
}

/// Why no request could be read.
#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the client speaks TLS")]
    Tls,
}

/// Reads one request; none where the client has left between two.
fn read_frame(reader: &mut impl BufRead, bytes_max: usize, clock: &dyn Clock) -> Result<Option<Bytes>, FrameError> {
    let mut waits = 0;
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) && waits < IDLE_WAITS => waits += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let due = clock.now() + REQUEST_TIMEOUT;
    let prefix = read_part(reader, 4, due, clock)?;
    let length = i32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= bytes_max) else {
        let tls = prefix.starts_with(&TLS);
        return Err(if tls { FrameError::Tls } else { io::Error::from(io::ErrorKind::InvalidData).into() });
    };
    Ok(Some(read_part(reader, length, due, clock)?.into()))
}

/// Reads so many bytes until `due`. Room is made as they come.
fn read_part(reader: &mut impl Read, length: usize, due: Duration, clock: &dyn Clock) -> io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(length.min(FRAME_LIKELY));
    while part.len() < length {
        let at = part.len();
        part.resize(length.min(at + STEP_BYTES), 0);
        let read = match reader.read(&mut part[at..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        part.truncate(at + read);
        if part.len() < length && clock.now() >= due {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(part)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Writes all parts of an answer, without copying them together.
fn write_all(mut stream: &TcpStream, parts: &[Bytes]) -> io::Result<()> {
    for some in parts.chunks(SLICES) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match stream.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::clock::SimulatedClock;

    fn frame(bytes: &[u8]) -> io::Result<Option<Bytes>> {
        read_frame(&mut BufReader::new(bytes), 100, &SimulatedClock::new()).map_err(|error| match error {
            FrameError::Io(error) => error,
            FrameError::Tls => io::ErrorKind::Unsupported.into(),
        })
    }

    /// Sends a byte now and then.
    struct Dripping<'c> {
        clock: &'c SimulatedClock,
        sent: u32,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.clock.advance(REST_TIMEOUT / 2);
            self.sent += 1;
            // The length is 100: more bytes than ever come.
            bytes[0] = if self.sent == 4 { 100 } else { 0 };
            Ok(1)
        }
    }

    #[test]
    fn a_request_that_never_ends_ends_its_connection() {
        let clock = SimulatedClock::new();
        let mut reader = BufReader::new(Dripping { clock: &clock, sent: 0 });
        let Err(FrameError::Io(error)) = read_frame(&mut reader, 100, &clock) else { panic!("it has ended") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(clock.now() < REQUEST_TIMEOUT + 2 * REST_TIMEOUT, "{:?}", clock.now());
    }

    #[test]
    fn a_client_that_speaks_tls_is_told_from_rubbish() {
        assert_eq!(frame(&[22, 3, 1, 2, 0, 1, 0]).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(frame(&[22, 4, 1, 2, 0, 1, 0]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        assert_eq!(frame(&[0, 0, 0, 2, 7, 8, 9]).unwrap(), Some(Bytes::from_static(&[7, 8])));
        assert_eq!(frame(&[]).unwrap(), None);
        for cut in [&[0, 0][..], &[0, 0, 0, 2, 7]] {
            assert_eq!(frame(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        for length in [101, i32::MAX, -1] {
            assert_eq!(frame(&length.to_be_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
