//! Standard error of a build, on a thread of its own, kept in `stderr.log`: its beginning and its end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use regex::bytes::Regex;

use super::pipe::Pipe;
use super::shared::Shared;
use super::unsaid::Unsaid;
use crate::mask::LogMask;

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

    /// Reads standard error to its end, or until the drive is closed; `ready` is the line that says that the build is ready.
    /// Returns how many bytes were not kept.
    pub(super) fn run(mut self, stderr: &mut Pipe, ready: Option<&Regex>, shared: &Shared) -> io::Result<u64> {
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
        self.finish()
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
