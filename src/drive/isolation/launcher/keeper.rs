//! The first process of a world: it hands out sockets, reaps, and takes all others with it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{WaitOptions, wait};
use rustix::thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities};

use super::super::words::{Ask, Told, receive, send};

/// Serves until the program that drives lets go.
pub(super) fn play(first: &UnixStream) -> io::Result<()> {
    let (processes, files) = receive::<bool>(first)?;
    let control = files.into_iter().next().map(UnixStream::from).ok_or(io::ErrorKind::InvalidData)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounted = if processes { mount("proc", "/proc", "proc", flags, None) } else { Ok(()) };
    let remark = mounted.err().map(|error| format!("`/proc` still shows the machine's processes ({error})"));
    clear_ambient_capability_set()?;
    let nothing = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing })?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    let children = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    send(first, &remark, &[])?;
    receive::<bool>(first)?;
    serve(&control, &children)
}

fn serve(control: &UnixStream, children: &SignalFd) -> io::Result<()> {
    loop {
        let mut ready = [PollFd::new(control, PollFlags::IN), PollFd::new(children, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [asked, orphans] = ready.map(|one| !one.revents().is_empty());
        if orphans {
            while let Ok(Some(_)) = children.read_signal() {}
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
        if asked {
            // The end of what is said is the end of the world.
            answer(control)?;
        }
    }
}

fn answer(control: &UnixStream) -> io::Result<()> {
    let (ask, _) = receive::<Ask>(control)?;
    let Ask::Socket { six, datagrams } = ask else { return Err(io::ErrorKind::InvalidData.into()) };
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let kind = if datagrams { SocketType::DGRAM } else { SocketType::STREAM };
    match socket_with(family, kind, SocketFlags::CLOEXEC, None) {
        Ok(socket) => send(control, &Told::Socket(None), &[socket.as_fd()]),
        Err(error) => send(control, &Told::Socket(Some(error.raw_os_error())), &[]),
    }
}
