//! The device behind which everything lies that a world does not lead to: what is sent there is seen, and refused.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open as open_file};

use super::calls::{Interface, set_interface};

/// Name of the device in its network.
pub(super) const NAME: &str = "outside";

/// `IFF_TUN | IFF_NO_PI`: packets of IP, and nothing ahead of them.
const PACKETS_ALONE: u16 = 0x0001 | 0x1000;

/// Opens a device in the network of this process; whoever holds it reads what is sent there, packet by packet.
pub(super) fn open() -> io::Result<OwnedFd> {
    let file = open_file("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .map_err(|error| io::Error::other(format!("/dev/net/tun cannot be opened ({error})")))?;
    let mut interface = Interface { name: [0; 16], flags: PACKETS_ALONE, unused: [0; 22] };
    interface.name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    set_interface(&file, interface)
        .map_err(|error| io::Error::other(format!("/dev/net/tun grants no device ({error})")))?;
    Ok(file)
}
