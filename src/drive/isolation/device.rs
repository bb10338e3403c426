//! The device behind which everything lies that a world does not lead to: what is sent there is seen, and refused.
//!
//! The only call of the system here that no crate offers as safe is the one that makes the device.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open as open_file};
use rustix::ioctl::{Setter, ioctl};

/// Name of the device in its network.
pub(super) const NAME: &str = "outside";

/// `TUNSETIFF`, as `_IOW('T', 202, int)`.
const SET_INTERFACE: rustix::ioctl::Opcode = 0x4004_54ca;

/// `IFF_TUN | IFF_NO_PI`: packets of IP, and nothing ahead of them.
const PACKETS_ALONE: u16 = 0x0001 | 0x1000;

/// `struct ifreq`, of which the call reads a name and flags.
#[repr(C)]
struct Interface {
    name: [u8; 16],
    flags: u16,
    unused: [u8; 22],
}

/// Opens a device in the network of this process; whoever holds it reads what is sent there, packet by packet.
pub(super) fn open() -> io::Result<OwnedFd> {
    let file = open_file("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|error| io::Error::other(format!("/dev/net/tun cannot be opened ({error})")))?;
    let mut interface = Interface { name: [0; 16], flags: PACKETS_ALONE, unused: [0; 22] };
    interface.name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    make(&file, interface).map_err(|error| io::Error::other(format!("/dev/net/tun grants no device ({error})")))?;
    Ok(file)
}

#[expect(unsafe_code, reason = "the system's call takes a pointer, and no crate that is used here offers it otherwise")]
fn make(file: &OwnedFd, interface: Interface) -> rustix::io::Result<()> {
    // SAFETY: `TUNSETIFF` reads and writes one `struct ifreq`, which `Interface` is in size and layout on Linux (40 bytes: a name of 16,
    // then a union whose first member here is a `short`), and keeps no pointer to it. `Setter` hands over a pointer to a value that
    // it owns until the call returns. The file is open as long as `file` is borrowed, and stays what it is.
    unsafe { ioctl(file, Setter::<SET_INTERFACE, Interface>::new(interface)) }
}
