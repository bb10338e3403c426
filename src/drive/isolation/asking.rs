//! What builds try to reach, seen by the calls of the system with which they ask for it: where there is no device to see it by.
//!
//! A filter on the build's calls (seccomp) has `connect`, and `sendto` with an address, told of ahead of their doing. The address is read
//! from the build's memory and noted where it leads nowhere; then the call goes on, and the system refuses it as ever. That is the
//! best that can be done without a device, and no more: `sendmsg` goes unseen, and another thread of the build may write another
//! address behind this one's back. What is refused does not depend on it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::attempts::Attempts;
use super::calls;
use crate::outcome::AttemptKind;

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64`: numbers of calls are those of an architecture.
const ARCHITECTURE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xc000_003e)
} else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
    Some(0xc000_00b7)
} else {
    None
};

/// Where `struct seccomp_data` has the number of a call, its architecture, and its fifth argument, which is the address of `sendto`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIFTH: u32 = 16 + 4 * 8;

/// Longest address of a socket, `struct sockaddr_storage`.
const ADDRESS_BYTES: usize = 128;

/// Has what this thread starts from now on be told of; returns where.
///
/// # Errors
///
/// What the system says.
pub(super) fn begin() -> io::Result<OwnedFd> {
    let architecture = ARCHITECTURE.ok_or(io::ErrorKind::Unsupported)?;
    // As Landlock wants it, too: who may look at calls must not make others more powerful by it.
    rustix::thread::set_no_new_privs(true)?;
    calls::tell_of_calls(&mut filter(architecture))
}

/// The filter: `connect` is told of, and `sendto` with an address; all else goes on unseen.
fn filter(architecture: u32) -> [libc::sock_filter; 11] {
    // Of BPF: load a word, jump where it is equal, return. Words stand where `struct seccomp_data` has them, the lower half first.
    let load = |at: u32| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: at };
    let equal = |k: u32, jt: u8, jf: u8| libc::sock_filter { code: 0x15, jt, jf, k };
    let end = |k: u32| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    [
        load(ARCH),
        equal(architecture, 0, 8),
        load(NUMBER),
        equal(libc::SYS_connect as u32, 5, 0),
        equal(libc::SYS_sendto as u32, 0, 5),
        load(FIFTH),
        equal(0, 0, 2),
        load(FIFTH + 4),
        equal(0, 1, 0),
        end(libc::SECCOMP_RET_USER_NOTIF),
        end(libc::SECCOMP_RET_ALLOW),
    ]
}

/// Which addresses lead nowhere.
#[derive(Debug, Clone)]
pub(super) enum Nowhere {
    /// All but the loopback's and these, as the world has a network of its own.
    But(Arc<Mutex<BTreeSet<IpAddr>>>),
    /// Those of connections over TCP to other ports than these; datagrams are refused by nobody.
    OtherPorts(BTreeSet<u16>),
}

impl Nowhere {
    fn has(&self, kind: AttemptKind, address: SocketAddr) -> bool {
        match self {
            Self::But(own) => {
                let ip = address.ip().to_canonical();
                let own = own.lock().unwrap_or_else(PoisonError::into_inner);
                !ip.is_loopback() && !ip.is_unspecified() && !own.contains(&ip)
            }
            Self::OtherPorts(ports) => kind == AttemptKind::Tcp && !ports.contains(&address.port()),
        }
    }
}

/// A thread that lets calls go on once it has looked at them; it ends when this is dropped, or when nobody is left who could call.
#[derive(Debug)]
pub(super) struct Asking {
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    pub(super) fn start(listener: OwnedFd, nowhere: Nowhere, attempts: Arc<Attempts>) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let watch = move || watch(&listener, &woken, &nowhere, &attempts);
        let thread = thread::Builder::new().name("calls".to_owned()).stack_size(512 << 10).spawn(watch)?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(listener: &OwnedFd, woken: &UnixStream, nowhere: &Nowhere, attempts: &Attempts) {
    loop {
        let mut ready = [PollFd::new(woken, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let [over, called] = ready.map(|one| one.revents());
        if called.contains(PollFlags::IN) {
            // One that is gone by now is nobody's any more.
            let Ok(call) = calls::next_call(listener.as_fd()) else { continue };
            if let Some((kind, address)) = asked(&call).filter(|(kind, address)| nowhere.has(*kind, *address))
                && calls::waits(listener.as_fd(), call.id)
            {
                attempts.note(kind, &address.to_string());
            }
            let _ = calls::go_on(listener.as_fd(), call.id);
        } else if !over.is_empty() || !called.is_empty() {
            return;
        }
    }
}

/// What a call asks to reach; none where that is no address of IP, or cannot be read.
fn asked(call: &libc::seccomp_notif) -> Option<(AttemptKind, SocketAddr)> {
    let arguments = call.data.args;
    let is_connect = libc::c_long::from(call.data.nr) == libc::SYS_connect;
    let (at, length) = if is_connect { (arguments[1], arguments[2]) } else { (arguments[4], arguments[5]) };
    let mut bytes = [0; ADDRESS_BYTES];
    let length = usize::try_from(length).ok()?.min(ADDRESS_BYTES);
    let read =
        File::open(format!("/proc/{}/mem", call.pid)).and_then(|memory| memory.read_at(&mut bytes[..length], at));
    let address = address(&bytes[..read.ok()?])?;
    let kind = match socket(call.pid, arguments[0]) {
        Some(SocketType::STREAM) => AttemptKind::Tcp,
        Some(SocketType::DGRAM) => AttemptKind::Udp,
        Some(_) => AttemptKind::Ip,
        None if is_connect => AttemptKind::Tcp,
        None => AttemptKind::Udp,
    };
    Some((kind, address))
}

/// Of which type the socket is that a thread calls by a number.
fn socket(thread: u32, number: u64) -> Option<SocketType> {
    let about = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    // A handle is to a process, and the number that is told is a thread's.
    let process: i32 = about.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())?;
    let process = pidfd_open(Pid::from_raw(process)?, PidfdFlags::empty()).ok()?;
    let socket = pidfd_getfd(process, i32::try_from(number).ok()?, PidfdGetfdFlags::empty()).ok()?;
    socket_type(socket).ok()
}

/// Reads a `struct sockaddr_in` or `sockaddr_in6`; none of another family.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => Some(SocketAddr::from((Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?), port))),
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?);
            Some(SocketAddr::new(IpAddr::from(ip).to_canonical(), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_system_has_them() {
        let four = [&2_u16.to_ne_bytes()[..], &[1, 187, 203, 0, 113, 9, 0, 0]].concat();
        assert_eq!(address(&four), Some("203.0.113.9:443".parse().unwrap()));
        let mut six = [&10_u16.to_ne_bytes()[..], &[1, 187, 0, 0, 0, 0], &[0; 16]].concat();
        six[8..12].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(address(&six), Some("[2001:db8::]:443".parse().unwrap()));
        six[8..24].copy_from_slice(&Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().octets());
        assert_eq!(address(&six), Some("203.0.113.9:443".parse().unwrap()), "as version 4");
        for none in [&four[..7], &six[..23], &[1, 0, b'/', b'a'], &[]] {
            assert_eq!(address(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_leads_somewhere_is_no_attempt() {
        let own = Nowhere::But(Arc::new(Mutex::new(BTreeSet::from([IpAddr::from([10, 0, 0, 7])]))));
        let ports = Nowhere::OtherPorts(BTreeSet::from([5432]));
        for (address, kind, by_address, by_port) in [
            ("203.0.113.9:443", AttemptKind::Tcp, true, true),
            ("203.0.113.9:5432", AttemptKind::Tcp, true, false),
            ("203.0.113.9:443", AttemptKind::Udp, true, false),
            ("127.0.0.1:80", AttemptKind::Tcp, false, true),
            ("10.0.0.7:80", AttemptKind::Tcp, false, true),
            ("[::1]:80", AttemptKind::Udp, false, false),
            ("0.0.0.0:80", AttemptKind::Udp, false, false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!((own.has(kind, address), ports.has(kind, address)), (by_address, by_port), "{address}");
        }
    }
}
