//! What a world leads to: a listener in it, and behind it what serves there, or an address outside. Connections and bytes are counted.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_linger;

use super::settings::Place;

/// Longest wait for an address outside to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause of a listener where the system has no more files to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);

/// Bytes that are taken on at once.
const STEP_BYTES: usize = 64 << 10;

/// Connections of one relay at a time, which are two threads each; who comes beyond is refused.
const CONNECTIONS_MAX: usize = 1_000;

/// Stack of a thread that copies bytes.
const STACK_BYTES: usize = 256 << 10;

/// What lies behind a relay.
pub(super) enum Behind {
    /// An address of the machine's network.
    Outside(Place),
    /// Something in the world itself: what connects to it.
    Inside(Box<dyn Fn() -> io::Result<TcpStream> + Send + Sync>),
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outside(place) => write!(f, "Outside({place})"),
            Self::Inside(_) => f.write_str("Inside"),
        }
    }
}

impl Behind {
    /// Connects to it, unless `closing` is raised before all of its addresses have been tried.
    fn connect(&self, closing: &AtomicBool) -> io::Result<TcpStream> {
        let place = match self {
            Self::Inside(connect) => return connect(),
            Self::Outside(place) => place,
        };
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in (place.host.as_str(), place.port).to_socket_addrs()? {
            if closing.load(Ordering::SeqCst) {
                break;
            }
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// What went through a relay.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
}

/// A listener with its connections; all end when it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    shared: Arc<Shared>,
    /// Closed to wake who listens.
    wake: Option<UnixStream>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    behind: Behind,
    counts: Counts,
    closing: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    streams: std::collections::BTreeMap<u64, Vec<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    pub(super) fn start(listener: TcpListener, behind: Behind) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            behind,
            counts: Counts::default(),
            closing: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let listening = spawn(move || listen(&own, &listener, &woken))?;
        Ok(Self { shared, wake: Some(wake), listening: Some(listening) })
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        drop(self.wake.take());
        let mut threads: Vec<_> = self.listening.take().into_iter().collect();
        {
            let mut open = lock(&self.shared.open);
            for stream in open.streams.values().flatten() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            threads.append(&mut open.threads);
        }
        for thread in threads {
            let _ = thread.join();
        }
        // Those that were let in at the last moment.
        let late = std::mem::take(&mut *lock(&self.shared.open));
        for stream in late.streams.values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in late.threads {
            let _ = thread.join();
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("relay".to_owned()).stack_size(STACK_BYTES).spawn(work)
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(shared: &Arc<Shared>, listener: &TcpListener, woken: &UnixStream) {
    loop {
        let mut ready = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        let polled = poll(&mut ready, None);
        if shared.closing.load(Ordering::SeqCst) || polled.is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                shared.counts.connections.fetch_add(1, Ordering::Relaxed);
                if admit(shared, stream).is_err() {
                    shared.counts.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // Whoever waits goes on waiting where the system has no more files to give, and this thread with them.
            Err(_) => thread::park_timeout(EXHAUSTED_PAUSE),
        }
    }
}

/// Takes on a connection; its end is reset where there is no going on.
fn admit(shared: &Arc<Shared>, inside: TcpStream) -> io::Result<()> {
    inside.set_nonblocking(false)?;
    let mut open = lock(&shared.open);
    open.threads.retain(|thread| !thread.is_finished());
    if open.streams.len() >= CONNECTIONS_MAX {
        reset(&inside);
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let number = open.next;
    open.next += 1;
    let (own, held) = (Arc::clone(shared), inside.try_clone()?);
    // Waits for the lock that is held here, so that it ends behind what it is noted by.
    let thread = spawn(move || {
        if carry(&own, &inside, number).is_err() {
            own.counts.failed.fetch_add(1, Ordering::Relaxed);
            reset(&inside);
        }
        lock(&own.open).streams.remove(&number);
    })?;
    open.streams.insert(number, vec![held]);
    open.threads.push(thread);
    Ok(())
}

/// Ends a connection as one that nobody takes.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

/// Carries bytes both ways until both ends have said that they are through; fails where there is nobody to carry them to.
fn carry(shared: &Arc<Shared>, inside: &TcpStream, number: u64) -> io::Result<()> {
    let outside = shared.behind.connect(&shared.closing)?;
    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
    {
        let mut open = lock(&shared.open);
        if let Some(streams) = open.streams.get_mut(&number) {
            streams.push(outside.try_clone()?);
        }
        if shared.closing.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
    let back = (outside.try_clone()?, inside.try_clone()?, Arc::clone(shared));
    let coming = spawn(move || {
        let (outside, inside, shared) = back;
        copy(&outside, &inside, &shared.counts.bytes_in);
    })?;
    copy(inside, &outside, &shared.counts.bytes_out);
    let _ = coming.join();
    Ok(())
}

/// Copies up to the end of what `from` says, and passes that on; an error ends both.
fn copy(mut from: &TcpStream, mut to: &TcpStream, count: &AtomicU64) {
    let mut bytes = vec![0; STEP_BYTES];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(read) => {
                count.fetch_add(read as u64, Ordering::Relaxed);
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn relay(behind: Behind) -> (Relay, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Relay::start(listener, behind).unwrap(), address)
    }

    #[test]
    fn bytes_are_carried_both_ways_and_counted() {
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place { host: "127.0.0.1".into(), port: outside.local_addr().unwrap().port() };
        let (relay, address) = relay(Behind::Outside(place));
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut served, _) = outside.accept().unwrap();
        let mut heard = String::new();
        served.read_to_string(&mut heard).unwrap();
        served.write_all(b"an answer").unwrap();
        drop(served);
        let mut told = String::new();
        client.read_to_string(&mut told).unwrap();
        assert_eq!((&*heard, &*told), ("question", "an answer"));
        let counts = relay.counts();
        let all = [&counts.connections, &counts.failed, &counts.bytes_out, &counts.bytes_in];
        assert_eq!(all.map(|count| count.load(Ordering::SeqCst)), [1, 0, 8, 9]);
    }

    #[test]
    fn where_nobody_listens_outside_the_connection_is_reset_and_counted() {
        let place = Place { host: "127.0.0.1".into(), port: 1 };
        let (relay, address) = relay(Behind::Outside(place));
        let mut client = TcpStream::connect(address).unwrap();
        let read = client.read(&mut [0]);
        assert!(read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
        assert_eq!(relay.counts().failed.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_relay_that_ends_takes_its_connections_with_it() {
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place { host: "127.0.0.1".into(), port: outside.local_addr().unwrap().port() };
        let (relay, address) = relay(Behind::Outside(place));
        let mut client = TcpStream::connect(address).unwrap();
        let (mut served, _) = outside.accept().unwrap();
        drop(relay);
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
        assert!(matches!(served.read(&mut [0]), Ok(0) | Err(_)));
        assert!(TcpStream::connect(address).is_err());
    }
}
