//! The network of a world: its loopback is up, it has an address, and where nothing else leads, the device does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::io::retry_on_intr;
use rustix::net::netdevice::name_to_index;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::device;

/// The world's own address beside its loopback, of a range that is nobody's (RFC 5737): some programs ask for names only where there
/// is an address that is none of the loopback's.
pub(super) const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Its own address of IP's version 6, of a range that is nobody's (RFC 3849).
const OWN_SIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Index of the loopback, which every network has first.
const LOOPBACK: u32 = 1;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const CHANGE: u16 = 0x1 | 0x4;

/// `NLM_F_CREATE | NLM_F_REPLACE` with these: what is there already is as good as made.
const MAKE: u16 = CHANGE | 0x400 | 0x100;

/// `NLMSG_ERROR`, which an acknowledgement is, too.
const ANSWER: u16 = 2;

/// `IFF_UP`.
const UP: u32 = 1;

/// `IFA_F_NODAD`: nobody else can have the address.
const AT_ONCE: u8 = 2;

/// Speaks with the system about a network, whose netlink socket it has.
#[derive(Debug)]
pub(super) struct Network {
    socket: OwnedFd,
}

impl Network {
    /// Brings the network up.
    pub(super) fn up(socket: OwnedFd) -> io::Result<Self> {
        let network = Self { socket };
        network.link_up(LOOPBACK)?;
        network.add(OWN)?;
        Ok(network)
    }

    /// Leads everything that leads nowhere to the device. Where there is no IP of version 6, nothing of it leads anywhere.
    pub(super) fn lead_outside(&self) -> io::Result<()> {
        let index = name_to_index(&self.socket, device::NAME)?;
        self.link_up(index)?;
        self.route(2, index)?;
        let six = self.address(OWN_SIX, index).and_then(|()| self.route(10, index));
        if let Err(error) = six
            && !matches!(
                error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
                Some(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ACCESS)
            )
        {
            return Err(error);
        }
        Ok(())
    }

    /// Makes an address the world's own, so that somebody can listen there.
    pub(super) fn add(&self, address: IpAddr) -> io::Result<()> {
        if address.is_loopback() { Ok(()) } else { self.address(address, LOOPBACK) }
    }

    fn link_up(&self, index: u32) -> io::Result<()> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(UP.to_ne_bytes());
        body.extend(UP.to_ne_bytes());
        self.ask(NEW_LINK, CHANGE, &body)
    }

    fn address(&self, address: IpAddr, index: u32) -> io::Result<()> {
        let (family, bytes): (u8, Vec<u8>) = match address {
            IpAddr::V4(four) => (2, four.octets().to_vec()),
            IpAddr::V6(six) => (10, six.octets().to_vec()),
        };
        let mut body = vec![family, bytes.len() as u8 * 8, AT_ONCE, 0];
        body.extend(index.to_ne_bytes());
        // `IFA_LOCAL` and `IFA_ADDRESS`, which are the same where nothing is at the other end.
        attribute(&mut body, 2, &bytes);
        attribute(&mut body, 1, &bytes);
        self.ask(NEW_ADDRESS, MAKE, &body)
    }

    fn route(&self, family: u8, index: u32) -> io::Result<()> {
        // To everywhere; table `main`, made by hand, as far as it goes, `unicast`.
        let mut body = vec![family, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        attribute(&mut body, 4, &index.to_ne_bytes());
        self.ask(NEW_ROUTE, MAKE, &body)
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend((16 + body.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        retry_on_intr(|| send(&self.socket, &message, SendFlags::empty()))?;
        let mut answer = [0_u8; 4_096];
        let (_, length) = retry_on_intr(|| recv(&self.socket, &mut answer[..], RecvFlags::empty()))?;
        answered(&answer[..length.min(answer.len())])
    }
}

/// The error in an answer, if any.
fn answered(answer: &[u8]) -> io::Result<()> {
    let (Some(kind), Some(code)) = (answer.get(4..6), answer.get(16..20)) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if u16::from_ne_bytes([kind[0], kind[1]]) != ANSWER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    body.extend((4 + bytes.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}
