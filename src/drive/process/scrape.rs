//! Figures that a build offers as Prometheus text, read each second on a thread of its own: inside of the drive's network, where it has
//! one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::isolation::Isolation;
use super::stops::Stops;
use crate::clock::{Clock, SystemClock};
use crate::outcome::ScrapeCount;

/// Time between two readings.
const PERIOD: Duration = Duration::from_secs(1);

/// Longest wait before looking whether figures are still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// Longest wait for an answer, or for more of it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read at most.
const BYTES_MAX: u64 = 8 << 20;

/// Series of one process that are kept, in the order in which they come.
const SERIES_MAX: usize = 500;

/// Where one process offers its figures.
#[derive(Debug, Clone)]
pub(super) struct Place {
    address: SocketAddr,
    host: String,
    path: String,
    /// Stands behind the name of each series, where there are several processes.
    suffix: String,
}

impl Place {
    /// Takes `url` apart for the process `instance`, one of `processes`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn of(url: &str, instance: u32, processes: u32) -> io::Result<Self> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("`metrics`: {url} {why}"));
        let rest = url.strip_prefix("http://").ok_or_else(|| wrong("is no address of HTTP"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let place = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let found: Vec<SocketAddr> = place.to_socket_addrs()?.collect();
        let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
        let suffix = if processes > 1 { format!("@{instance}") } else { String::new() };
        let address = address.ok_or_else(|| wrong("has no address"))?;
        Ok(Self { address, host: host.to_owned(), path: format!("/{path}"), suffix })
    }
}

/// See the top of the file. Ends when dropped.
#[derive(Debug)]
pub(super) struct Scraper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    places: Vec<Place>,
    isolation: Option<Arc<Isolation>>,
    stops: Arc<Stops>,
    over: AtomicBool,
    /// Whether the processes are still there to be asked a last time.
    last: AtomicBool,
    read: Mutex<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    /// By series, as it stands.
    series: BTreeMap<String, f64>,
    fresh: bool,
    count: ScrapeCount,
}

impl Scraper {
    pub(super) fn start(places: Vec<Place>, isolation: Option<Arc<Isolation>>, stops: Arc<Stops>) -> io::Result<Self> {
        let (over, last) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { places, isolation, stops, over, last, read: Mutex::default() });
        let reading = Arc::clone(&shared);
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || reading.follow())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Reads a last time, unless the processes are `gone`, and ends.
    pub(super) fn end(&mut self, gone: bool) {
        self.shared.last.store(!gone, Ordering::SeqCst);
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only reads; what would be wrong with it has been said.
            let _ = thread.join();
        }
    }

    /// Series that have been read since it was asked last, with their figures.
    pub(super) fn take(&self) -> Vec<(String, f64)> {
        let mut read = self.shared.lock();
        if !std::mem::take(&mut read.fresh) {
            return Vec::new();
        }
        read.series.iter().map(|(name, value)| (format!("metrics/{name}"), *value)).collect()
    }

    pub(super) fn count(&self) -> ScrapeCount {
        self.shared.lock().count.clone()
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.end(true);
    }
}

impl Shared {
    fn follow(&self) {
        let clock = SystemClock::start();
        let mut due = clock.now();
        while !self.over.load(Ordering::SeqCst) {
            if clock.now() >= due {
                due = clock.now() + PERIOD;
                self.read_all();
            }
            thread::park_timeout(LOOK);
        }
        if self.last.load(Ordering::SeqCst) {
            self.read_all();
        }
    }

    fn read_all(&self) {
        // Who is gone because it was ended cannot answer.
        let away = self.stops.go_on();
        for place in &self.places {
            let answered = self.ask(place).and_then(|text| {
                let read = series(&text);
                if read.is_empty() { Err(io::Error::other("the answer holds no figure")) } else { Ok(read) }
            });
            let mut figures = self.lock();
            match answered {
                Ok(read) => {
                    figures.count.read += 1;
                    figures.fresh = true;
                    for (name, value) in read {
                        let name = format!("{name}{}", place.suffix);
                        let room = figures.series.len() < SERIES_MAX * self.places.len();
                        if room || figures.series.contains_key(&name) {
                            figures.series.insert(name, value);
                        } else {
                            figures.count.beyond = true;
                        }
                    }
                }
                Err(_) if away => {}
                // A build that starts does not listen yet.
                Err(error) if figures.count.read == 0 => figures.count.waited = Some(error.to_string()),
                Err(error) => {
                    figures.count.failed += 1;
                    figures.count.problem = Some(error.to_string());
                }
            }
        }
    }

    fn ask(&self, place: &Place) -> io::Result<String> {
        let own = self.isolation.as_ref().map_or(Ok(None), |isolation| isolation.unconnected(place.address))?;
        let mut stream = match own {
            Some(socket) => {
                socket.set_write_timeout(Some(TIMEOUT))?;
                rustix::net::connect(&socket, &place.address)?;
                socket
            }
            None => TcpStream::connect_timeout(&place.address, TIMEOUT)?,
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // Of this version answers come in one piece, up to the end of the connection.
        let (path, host) = (&place.path, &place.host);
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(BYTES_MAX).read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("the answer is none of HTTP"))?;
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        if status == "200" { Ok(body.to_owned()) } else { Err(io::Error::other(format!("answered with {status}"))) }
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads Prometheus text: each series with its labels, and its figure. Buckets of histograms are left out, as are figures that are no
/// numbers.
fn series(text: &str) -> Vec<(String, f64)> {
    let one = |line: &str| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        // A label may hold blanks, and braces.
        let end = if line.contains('{') { line.rfind('}')? + 1 } else { line.find(char::is_whitespace)? };
        let (name, rest) = (line[..end].trim(), &line[end..]);
        let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
        let base = name.split('{').next().unwrap_or(name);
        (value.is_finite() && !base.is_empty() && !base.ends_with("_bucket")).then(|| (name.to_owned(), value))
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_with_their_labels_and_without_buckets() {
        let text = "# HELP a b\n# TYPE a counter\na_total 3\nb{x=\"1 }2\",y=\"z\"} 4.5 1700000000000\n\nh_bucket{le=\"1\"} 2\nh_sum 9e3\n\
                    n NaN\ni{q=\"1\"} +Inf\nbroken\nalso broken x\n# EOF\n";
        assert_eq!(
            series(text),
            [("a_total".to_owned(), 3.0), ("b{x=\"1 }2\",y=\"z\"}".to_owned(), 4.5), ("h_sum".to_owned(), 9_000.0)]
        );
        assert!(series("<html>no</html>").is_empty());
    }

    #[test]
    fn an_address_is_taken_apart() {
        let place = Place::of("http://127.0.0.1:9100/metrics?x=1", 2, 3).unwrap();
        assert_eq!((place.address.port(), &*place.path, &*place.suffix), (9_100, "/metrics?x=1", "@2"));
        let place = Place::of("http://127.0.0.1", 0, 1).unwrap();
        assert_eq!((place.address.port(), &*place.path, &*place.suffix), (80, "/", ""));
        assert!(Place::of("https://127.0.0.1/metrics", 0, 1).is_err());
    }
}
