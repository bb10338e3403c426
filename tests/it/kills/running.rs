//! A child under way, as its watcher sees it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rehearsal::clock::{Clock, SystemClock};
use rustix::process::Pid;

use super::bucket::Bucket;
use super::calls;
use super::steps::{Place, Record};

/// A child under way.
pub(crate) struct Running {
    child: Child,
    socket: UnixStream,
    heard: Vec<u8>,
}

impl Running {
    /// Starts a child that does what the rest of the arguments, a line each, tell it to.
    pub(crate) fn start(command: &Command, store: Option<&Bucket>, arguments: [&str; 4], place: Option<Place>) -> Self {
        let (socket, of_child) = UnixStream::pair().unwrap();
        let place = place.map(Place::to_text).unwrap_or_default();
        let arguments = format!("{}\n{place}", arguments.join("\n"));
        let mut again = Command::new(command.get_program());
        again.args(command.get_args()).env("REHEARSAL_KILLED", arguments);
        if let Some(store) = store {
            store.serve(&mut again);
        }
        again.stdin(Stdio::from(OwnedFd::from(of_child))).stdout(Stdio::null()).stderr(Stdio::inherit());
        Self { child: again.spawn().unwrap(), socket, heard: Vec::new() }
    }

    /// The next record, waited for no longer than `left`; none where it does not come, or the child is gone.
    pub(crate) fn hear(&mut self, left: Option<Duration>) -> Option<Record> {
        let clock = SystemClock::start();
        loop {
            if let Some(record) = Record::take(&mut self.heard) {
                return Some(record);
            }
            let left = match left {
                Some(left) => Some(left.checked_sub(clock.now()).filter(|left| !left.is_zero())?),
                None => None,
            };
            self.socket.set_read_timeout(left).unwrap();
            let mut bytes = [0; 8 << 10];
            match self.socket.read(&mut bytes) {
                Ok(read) if read > 0 => self.heard.extend(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end, also where it was killed before it read all that was written to it; or time is over.
                _ => return None,
            }
        }
    }

    pub(super) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(super) fn ask_to_seal(&mut self) {
        // It may be gone already.
        let _ = self.socket.write_all(b"!");
    }

    /// Kills it; returns a time no earlier than that.
    pub(super) fn kill(&mut self) -> u64 {
        let _ = self.child.kill();
        calls::now_ns()
    }

    pub(crate) fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}
