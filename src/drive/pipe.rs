//! The three pipes of a build, none of which a thread can hang on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionbio, ioctl_fionread};

/// Longest a thread waits before it looks whether it is still wanted.
const SLICE: Duration = Duration::from_millis(20);

/// Size that pipes are asked to have; the system may keep them smaller.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// One end of a pipe. It never blocks but in [`Pipe::wait`], and there not for long.
#[derive(Debug)]
pub(super) struct Pipe {
    file: File,
    awaits: PollFlags,
}

impl Pipe {
    /// The end that is written to.
    pub(super) fn writing(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::new(fd.into(), PollFlags::OUT)
    }

    /// The end that is read from.
    pub(super) fn reading(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::new(fd.into(), PollFlags::IN)
    }

    fn new(fd: OwnedFd, awaits: PollFlags) -> io::Result<Self> {
        ioctl_fionbio(&fd, true)?;
        // Where the system grants no more, its own size does as well, only slower.
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_BYTES);
        Ok(Self { file: File::from(fd), awaits })
    }

    /// Another hold on the same end.
    pub(super) fn share(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, awaits: self.awaits })
    }

    /// Writes what fits; none where nothing does.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        settled(|| self.file.write(bytes))
    }

    /// Reads what is there; none where nothing is, zero at the end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        settled(|| self.file.read(bytes))
    }

    /// Waits a little for room or for something to read.
    pub(super) fn wait(&self) -> io::Result<()> {
        let slice = Timespec { tv_sec: 0, tv_nsec: SLICE.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.file, self.awaits)], Some(&slice)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes written that the other side has not read yet.
    pub(super) fn unread(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(self.file.as_fd())?)
    }
}

fn settled(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match attempt() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
