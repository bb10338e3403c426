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

use super::broker::Broker;
use super::calls;
use super::faults::{Acting, put_throttle};
use super::partition::lock;
use super::wire::Request;

/// Bounds the wait for the next bytes of a request that has begun.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// So many such waits may pass between two requests: `connections.max.idle.ms` is ten minutes on Kafka, too.
const IDLE_WAITS: u32 = 20;

/// Bounds the wait for a client to take an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(600);

/// Pause of the listener where the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);

/// Bytes of a request that are made room for at once.
const FRAME_LIKELY: usize = 256 << 10;

/// Stack of a connection's thread.
const STACK_BYTES: usize = 1 << 20;

/// Slices written by one call, below the system's own bound.
const SLICES: usize = 512;

/// A listener with its connections; all end when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
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
        let mut server = Self { address, shared, listener: None, keeper: Some(keeper) };
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
        // Wakes the listener, which sees then that it is to end.
        let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
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
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    while let Some(frame) = read_frame(&mut reader, broker.settings.request_bytes_max)? {
        let mut request = Request::parse(frame).map_err(|_| io::ErrorKind::InvalidData)?;
        (request.connection, request.peer) = (connection, Some(address));
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
    broker.pause(acting.due(&request, &answer, broker.clock.now()));
    let throttled = acting.throttle.filter(|time| {
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
        broker.pause(broker.clock.now() + time);
    }
    Ok(true)
}

/// Reads one request; none where the client has left between two.
fn read_frame(reader: &mut impl BufRead, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut waits = 0;
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) && waits < IDLE_WAITS => waits += 1,
            Err(error) => return Err(error),
        }
    }
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= bytes_max);
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    let mut frame = Vec::with_capacity(length.min(FRAME_LIKELY));
    reader.take(length as u64).read_to_end(&mut frame)?;
    if frame.len() == length { Ok(Some(frame.into())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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

    fn frame(bytes: &[u8]) -> io::Result<Option<Bytes>> {
        read_frame(&mut BufReader::new(bytes), 100)
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
