//! The namespaces of a drive, with the launchers that keep them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{bind, connect, listen};

use super::launcher::{self, Part};
use super::network::Network;
use super::words::{Ask, Setup, Told, receive, send};

/// Longest wait for a launcher's answer: it does nothing that takes time.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that may wait to be taken.
const BACKLOG: i32 = 128;

/// Variable by which programs find libraries, which a launcher may need.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// A maker that has made namespaces, or is about to; it and all that it made end when this is dropped.
#[derive(Debug)]
pub(super) struct Maker {
    /// Speaks with the keeper; closed, the world ends.
    control: Option<UnixStream>,
    process: Child,
}

impl Maker {
    /// Starts one and has it make what `setup` says; returns with it what it told, and the files that came along.
    pub(super) fn make(setup: &Setup) -> io::Result<(Self, Told, Vec<OwnedFd>)> {
        let (mut command, control) = launcher::command(Part::Maker)?;
        control.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        // The keeper is seen by builds, which must not learn from it what is kept from them.
        command.env_clear().envs(std::env::var_os(LIBRARIES).map(|value| (LIBRARIES, value)));
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").process_group(0);
        let maker = Self { process: command.spawn()?, control: Some(control) };
        drop(command);
        let (told, files) = maker.speak(setup).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the launcher ended early"),
            _ => error,
        })?;
        Ok((maker, told, files))
    }

    /// Speaks with it until the world stands.
    fn speak(&self, setup: &Setup) -> io::Result<(Told, Vec<OwnedFd>)> {
        let control = self.control.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        send(control, setup, &[])?;
        match receive::<Told>(control)?.0 {
            Told::Unshared => {}
            Told::Refused(reason) => return Err(io::Error::other(reason)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        map_users(self.process.id()).map_err(|error| {
            io::Error::new(error.kind(), format!("the users of a namespace cannot be told ({error})"))
        })?;
        send(control, &Ask::Mapped, &[])?;
        receive::<Told>(control)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        drop(self.control.take());
        let _ = self.process.wait();
    }
}

/// Namespaces, with who keeps them.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// The world's first process.
    pub(super) handle: OwnedFd,
    pub(super) network: Option<Network>,
    pub(super) maker: Mutex<Maker>,
}

impl Namespaces {
    /// A socket of the world's network.
    pub(super) fn socket(&self, address: SocketAddr, datagrams: bool) -> io::Result<OwnedFd> {
        let maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner);
        let control = maker.control.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        send(control, &Ask::Socket { six: address.is_ipv6(), datagrams }, &[])?;
        match receive::<Told>(control)? {
            (Told::Socket(None), files) => files.into_iter().next().ok_or_else(|| io::ErrorKind::InvalidData.into()),
            (Told::Socket(Some(number)), _) => Err(io::Error::from_raw_os_error(number)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Listens at `address` of the world's network.
    pub(super) fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.socket(address, false)?;
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    }

    /// Number of the world's first process, as this one sees it.
    pub(super) fn number(&self) -> io::Result<u32> {
        let known = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.handle.as_raw_fd()))?;
        let number = known.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        number.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Connects to what listens in the world's network.
    pub(super) fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(address, false)?;
        connect(&socket, &address)?;
        Ok(TcpStream::from(socket))
    }
}

/// Tells the users of a new namespace: the same as here. An ordinary user has itself alone.
fn map_users(pid: u32) -> io::Result<()> {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let all = |name: &str| {
        let known = fs::read_to_string(format!("/proc/self/{name}"))?;
        let line = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let (inside, _, count) = (words.next()?, words.next()?, words.next()?);
            Some(format!("{inside} {inside} {count}\n"))
        };
        fs::write(file(name), known.lines().filter_map(line).collect::<String>())
    };
    if all("uid_map").and_then(|()| all("gid_map")).is_ok() {
        return Ok(());
    }
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    fs::write(file("setgroups"), "deny")?;
    fs::write(file("uid_map"), format!("{user} {user} 1\n"))?;
    fs::write(file("gid_map"), format!("{group} {group} 1\n"))
}
