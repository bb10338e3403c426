//! What the program that drives and its launchers say to each other: JSON with its length ahead, and open files beside it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::outcome::Layer;

/// Most files that go with one word; the system takes no more than 253.
pub(super) const FILES_MAX: usize = 128;

/// Longest word: arguments and environment of a program are bounded by the system, at far less.
const BYTES_MAX: usize = 64 << 20;

/// What a world is made of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// Layers that are to be made, of those that a launcher makes.
    pub(super) layers: Vec<Layer>,
    /// Folder of the world's own files: `hosts`, `resolv.conf`, `nsswitch.conf` and `sockets/`.
    pub(super) own: PathBuf,
    /// What stands in place of each temporary folder of the machine.
    pub(super) temporary: BTreeMap<PathBuf, PathBuf>,
    /// What has to be seen although a temporary folder holds it.
    pub(super) seen: Vec<PathBuf>,
    /// What of that may be written, where [`Layer::Writes`] is among the layers.
    pub(super) kept: Vec<PathBuf>,
    /// Sockets of the machine that are to be out of reach, in order.
    pub(super) sockets: Vec<PathBuf>,
}

/// What a launcher that makes a world tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It has a user namespace, whose users are to be told.
    Unshared,
    /// There is none, for this reason.
    Refused(String),
    /// The world stands; for each layer asked for, why it is not there. With the handle of its first process come, where they are
    /// there, a netlink socket and the device that sees attempts, and those [`Setup::sockets`] that could be replaced, by their index.
    Stands {
        missing: BTreeMap<Layer, String>,
        remarks: BTreeMap<Layer, String>,
        netlink: bool,
        device: bool,
        sockets: Vec<usize>,
    },
    /// A file that was asked for comes with this, or else why not.
    Socket(Option<i32>),
}

/// What the keeper of a world is asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Users of its namespace are told.
    Mapped,
    /// A socket of the world's network: of IP's version 6 or 4, for datagrams or connections.
    Socket { six: bool, datagrams: bool },
}

/// A program that is to be started in a world.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    /// What is set, or taken away, of the environment.
    pub(super) env: Vec<(OsString, Option<OsString>)>,
    pub(super) folder: Option<PathBuf>,
    /// Whose namespaces it enters, where a handle of a process comes along.
    pub(super) enter: Vec<Layer>,
    /// Where it may write; anywhere where nothing is said.
    pub(super) writes: Option<Vec<PathBuf>>,
    /// Ports that it may connect to; any where nothing is said.
    pub(super) ports: Option<Vec<u16>>,
    /// Whether it is to be seen what it asks to reach.
    pub(super) asking: bool,
}

/// How the start went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Started {
    /// Its number, as the program that drives sees it. Where it is to be seen what it asks to reach, and can be, what tells comes along.
    Runs(u32),
    /// The program cannot be started, by the system's number for why.
    Failed(Option<i32>, String),
    /// The world cannot be entered.
    Unentered(String),
}

/// Sends a word with files.
pub(super) fn send<T: Serialize>(socket: &UnixStream, word: &T, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(word)?;
    let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Four bytes fit into any buffer that is not full, and nothing else has been said since the last answer.
    let said = [IoSlice::new(&length)];
    let sent = retry_on_intr(|| sendmsg(socket, &said, &mut beside, SendFlags::NOSIGNAL))?;
    let mut socket = socket;
    socket.write_all(&length[sent..])?;
    socket.write_all(&text)
}

/// Receives a word with its files. The end of what is said is an error, too.
pub(super) fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut length = [0_u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    // A time-out is set: whoever waits with one is woken by any signal that is handled, and by being stopped and sent on.
    let taken =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut length)], &mut beside, RecvFlags::CMSG_CLOEXEC))?;
    let mut files = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            files.extend(more);
        }
    }
    if taken.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut socket = socket;
    socket.read_exact(&mut length[taken.bytes..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length > BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    socket.read_exact(&mut text)?;
    Ok((serde_json::from_slice(&text)?, files))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_signal_that_comes_meanwhile_keeps_no_word_from_arriving() {
        // Signals are handled, and by nobody listened to.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
        let kind = tokio::signal::unix::SignalKind::user_defined2();
        let _handled = runtime.block_on(async { tokio::signal::unix::signal(kind).unwrap() });
        let (here, there) = UnixStream::pair().unwrap();
        there.set_read_timeout(Some(std::time::Duration::from_mins(1))).unwrap();
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let waits = scope.spawn(move || {
                tell.send(nix::sys::pthread::pthread_self()).unwrap();
                receive::<Started>(&there).map(|(word, _)| word)
            });
            let thread = told.recv().unwrap();
            for _ in 0..200 {
                nix::sys::pthread::pthread_kill(thread, nix::sys::signal::Signal::SIGUSR2).unwrap();
                std::thread::park_timeout(std::time::Duration::from_micros(200));
            }
            send(&here, &Started::Runs(7), &[]).unwrap();
            let word = waits.join().unwrap();
            assert!(matches!(word, Ok(Started::Runs(7))), "{word:?}");
        });
    }

    #[test]
    fn a_word_arrives_with_its_files() {
        let (here, there) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(&here, &Started::Runs(7), &[writer.as_fd()]).unwrap();
        send(&here, &Ask::Mapped, &[]).unwrap();
        let (word, files) = receive::<Started>(&there).unwrap();
        assert!(matches!(word, Started::Runs(7)));
        drop(writer);
        let mut own = std::fs::File::from(files.into_iter().next().unwrap());
        own.write_all(b"x").unwrap();
        let mut read = [0];
        std::io::BufReader::new(reader).read_exact(&mut read).unwrap();
        assert_eq!(&read, b"x");
        let (word, files) = receive::<Ask>(&there).unwrap();
        assert!(matches!(word, Ask::Mapped) && files.is_empty());
        drop(here);
        assert_eq!(receive::<Ask>(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
