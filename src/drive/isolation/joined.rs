//! A port that is one in a world and beside it, whoever comes to listen at it first.
//!
//! Nobody can tell ahead whether the build takes a port that a command beside it was told of, or a server that the command starts and that
//! is not up yet. Who listens is read from the system's tables: to try whether a port is free would keep it from who wants it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::namespaces::Namespaces;
use super::relay::{Behind, Relay};
use super::settings::Place;

/// How often the tables are read.
const LOOK: Duration = Duration::from_millis(20);

/// Addresses at which whoever listens is reached by 127.0.0.1, as the tables write them: that one, all, and the same of version 6.
const REACHED: [&str; 4] =
    ["0100007F", "00000000", "00000000000000000000000000000000", "0000000000000000FFFF00000100007F"];

/// State of a socket that listens, as the tables write it.
const LISTENS: &str = "0A";

/// Watches over a port and leads from either side to the other, where somebody listens. It ends, with all that goes through it, when
/// dropped.
#[derive(Debug)]
pub(super) struct Joined {
    over: Arc<AtomicBool>,
    watching: Option<JoinHandle<()>>,
}

impl Joined {
    /// Makes `port` one; where somebody listens at it already, it is when this returns.
    ///
    /// # Errors
    ///
    /// What the system says where it gives no socket or no thread.
    pub(super) fn start(namespaces: Arc<Namespaces>, port: u16) -> io::Result<Self> {
        let mut way = lead(&namespaces, port)?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let watch = move || {
            while !ended.load(Ordering::SeqCst) {
                if way.is_some() {
                    thread::park();
                    continue;
                }
                thread::park_timeout(LOOK);
                // Who has the port on both sides has no use for a way between them; anything else may be another at the next look.
                way = lead(&namespaces, port).unwrap_or_default();
            }
        };
        let watching = thread::Builder::new().name("joined".to_owned()).stack_size(256 << 10).spawn(watch)?;
        Ok(Self { over, watching: Some(watching) })
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(watching) = self.watching.take() {
            watching.thread().unpark();
            let _ = watching.join();
        }
    }
}

/// Leads to whoever listens at `port`, beside the world or in it; none where nobody does.
fn lead(namespaces: &Arc<Namespaces>, port: u16) -> io::Result<Option<Relay>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if listening("self").contains(&port) {
        let place = Place { host: address.ip().to_string(), port };
        return Relay::start(namespaces.listen(address)?, Behind::Outside(place)).map(Some);
    }
    if listening(&namespaces.number()?.to_string()).contains(&port) {
        let inside = Arc::clone(namespaces);
        let behind = Behind::Inside(Box::new(move || inside.connect(address)));
        return Relay::start(TcpListener::bind(address)?, behind).map(Some);
    }
    Ok(None)
}

/// Ports at which somebody listens for 127.0.0.1 in the network of a process.
fn listening(process: &str) -> BTreeSet<u16> {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{process}/net/{name}")));
    tables.iter().flatten().flat_map(|table| table.lines().filter_map(port)).collect()
}

/// The port of a line of a table, where somebody listens.
fn port(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace();
    let (address, port) = words.nth(1)?.split_once(':')?;
    let listens = words.nth(1)? == LISTENS && REACHED.contains(&address);
    u16::from_str_radix(port, 16).ok().filter(|_| listens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_stands_in_the_tables() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        assert!(listening("self").contains(&number));
        drop(listener);
        assert!(!listening("self").contains(&number));
    }

    #[test]
    fn only_who_listens_and_is_reached_counts() {
        let line =
            |address: &str, state: &str| port(&format!("   0: {address} 00000000:0000 {state} 00000000:00000000 0"));
        assert_eq!(line("0100007F:1F90", "0A"), Some(8080));
        assert_eq!(line("00000000000000000000000000000000:1F90", "0A"), Some(8080));
        assert_eq!(line("0100007F:1F90", "01"), None, "a connection");
        assert_eq!(line("00000000000000000000000001000000:1F90", "0A"), None, "[::1] alone");
        assert_eq!(line("0101427F:1F90", "0A"), None, "another address");
        assert_eq!(port("  sl  local_address rem_address   st"), None);
    }
}
