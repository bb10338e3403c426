//! Standard error of a build, on a thread of its own, kept in `stderr.log`: its beginning and its end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use regex::bytes::Regex;

use super::pipe::Pipe;
use super::shared::Shared;
use super::unsaid::Unsaid;
use crate::mask::LogMask;

/// Longest wait for another pipe before looking whether the drive goes on.
const LOOK: Duration = Duration::from_millis(10);

/// Most bytes of a line that is compared with the line that says that the build is ready.
const LINE_MAX: usize = 64 << 10;

/// Keeps what a build writes to standard error.
#[derive(Debug)]
pub(super) struct Complaints {
    file: File,
    room: usize,
    tail: VecDeque<u8>,
    tail_max: usize,
    dropped: u64,
    mask: LogMask,
    unsaid: Unsaid,
}

impl Complaints {
    /// Creates `path`, which takes `bytes_max` bytes of what `mask` leaves and a line that says how many are left
    /// out.
    pub(super) fn create(path: &Path, bytes_max: usize, mask: LogMask) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let (room, tail_max) = (bytes_max / 2, bytes_max - bytes_max / 2);
        Ok(Self { file, room, tail: VecDeque::new(), tail_max, dropped: 0, mask, unsaid: Unsaid::new("") })
    }

    /// Leaves out lines that are `line`, which are there because of us.
    pub(super) fn without(mut self, line: &str) -> Self {
        self.unsaid = Unsaid::new(line);
        self
    }

    /// Reads standard error to its end, or until the drive is closed, one pipe of `pipes` after the other: each is that of the same process
    /// started again. `ready` is the line that says that the build is ready. Returns how many bytes were not kept.
    pub(super) fn run(mut self, pipes: &Receiver<Pipe>, ready: Option<&Regex>, shared: &Shared) -> io::Result<u64> {
        // One that has ended is kept open until the next comes: what was started is known by what it holds.
        let mut current = next(pipes, shared);
        while let Some(mut stderr) = current {
            self.read(&mut stderr, ready, shared)?;
            current = next(pipes, shared);
        }
        self.finish()
    }

    fn read(&mut self, stderr: &mut Pipe, ready: Option<&Regex>, shared: &Shared) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        let mut line = Vec::new();
        while !shared.is_closed() {
            match stderr.read(&mut bytes) {
                Ok(Some(0)) | Err(_) => break,
                Ok(Some(count)) => {
                    if let Some(ready) = ready.filter(|_| !shared.is_ready()) {
                        look_for(ready, &bytes[..count], &mut line, shared);
                    }
                    self.take(&bytes[..count])?;
                }
                Ok(None) if shared.is_closing() => break,
                // Reading again will tell what is wrong with the pipe.
                Ok(None) => drop(stderr.wait()),
            }
        }
        Ok(())
    }

    /// Keeps what may be kept of `bytes`.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let said = self.unsaid.take(bytes);
        let masked = self.mask.take(&said);
        self.keep(&masked)
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (head, rest) = bytes.split_at(bytes.len().min(self.room));
        self.room -= head.len();
        self.file.write_all(head)?;
        self.tail.extend(rest);
        let beyond = self.tail.len().saturating_sub(self.tail_max);
        self.tail.drain(..beyond);
        self.dropped += beyond as u64;
        Ok(())
    }

    /// Writes what is left; returns how many bytes were not kept.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let mut rest = self.mask.take(self.unsaid.finish());
        rest.extend(self.mask.finish());
        self.keep(&rest)?;
        if self.dropped > 0 {
            writeln!(self.file, "\n[{} bytes are left out here]", self.dropped)?;
        }
        self.file.write_all(self.tail.make_contiguous())?;
        Ok(self.dropped)
    }
}

/// The next pipe; none where there is no other, or the drive ends.
fn next(pipes: &Receiver<Pipe>, shared: &Shared) -> Option<Pipe> {
    loop {
        match pipes.recv_timeout(LOOK) {
            Ok(pipe) => return Some(pipe),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if shared.is_closing() => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn look_for(ready: &Regex, bytes: &[u8], line: &mut Vec<u8>, shared: &Shared) {
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        line.extend_from_slice(&part[..part.len().min(LINE_MAX - line.len())]);
        if part.ends_with(b"\n") {
            if ready.is_match(line.trim_ascii_end()) {
                shared.set_ready();
            }
            line.clear();
        }
    }
}
