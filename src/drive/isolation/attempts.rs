//! What builds try to reach and cannot: noted, and answered as a network answers that leads nowhere.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use super::names;
use crate::clock::{Clock, SystemClock};
use crate::outcome::{Attempt, AttemptKind};

/// Most targets that are noted; attempts at further ones are only counted.
const TARGETS_MAX: usize = 1_000;

/// Longest target that is noted; names are no longer, paths of sockets neither.
const TARGET_BYTES_MAX: usize = 300;

/// Bytes of a packet that its refusal quotes: the headers, and the ports behind them.
const QUOTED: usize = 64;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_SIX: u8 = 58;

/// Bytes of a datagram's header.
const UDP_HEADER: usize = 8;

/// Port at which names are asked for.
const NAMES: u16 = 53;

/// Attempts of one drive.
#[derive(Debug)]
pub(super) struct Attempts {
    clock: SystemClock,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    targets: BTreeMap<(AttemptKind, String), (u64, i64)>,
    beyond: u64,
}

impl Attempts {
    pub(super) fn new(clock: SystemClock) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    pub(super) fn note(&self, kind: AttemptKind, target: &str) {
        let now_us = self.clock.now().as_micros() as i64;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let full = seen.targets.len() >= TARGETS_MAX;
        let target: String = target.chars().take(TARGET_BYTES_MAX).collect();
        match seen.targets.entry((kind, target)) {
            Entry::Occupied(mut entry) => entry.get_mut().0 += 1,
            Entry::Vacant(_) if full => seen.beyond += 1,
            Entry::Vacant(entry) => drop(entry.insert((1, now_us))),
        }
    }

    /// All that were noted, and the number of those beyond.
    pub(super) fn all(&self) -> (Vec<Attempt>, u64) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = |((kind, target), (count, first_us)): (&(AttemptKind, String), &(u64, i64))| Attempt {
            kind: *kind,
            target: target.clone(),
            count: *count,
            first_us: *first_us,
        };
        (seen.targets.iter().map(attempt).collect(), seen.beyond)
    }

    /// Notes what a packet tries; returns what answers it: that its network cannot be reached.
    pub(super) fn refuse(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let tried = Tried::read(packet)?;
        self.note(tried.kind, &tried.target());
        if let Some(name) = &tried.name {
            self.note(AttemptKind::Name, name);
        }
        tried.answered.then(|| tried.answer(packet))
    }
}

/// What a packet is about.
#[derive(Debug, PartialEq, Eq)]
struct Tried {
    kind: AttemptKind,
    from: IpAddr,
    to: IpAddr,
    port: Option<u16>,
    /// Name that is asked for, where somebody is asked who answers for names elsewhere.
    name: Option<String>,
    /// Whether somebody waits for an answer.
    answered: bool,
}

impl Tried {
    /// Reads a packet; none for what the system sends by itself, and for what is not the first of a connection.
    fn read(packet: &[u8]) -> Option<Self> {
        let (from, to, protocol, rest) = match packet.first()? >> 4 {
            4 => {
                let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
                let length = usize::from(packet[0] & 15) * 4;
                // A later piece of a datagram has no ports; the first has told of it.
                if u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff != 0 {
                    return None;
                }
                (IpAddr::from(address(12)?), IpAddr::from(address(16)?), *packet.get(9)?, packet.get(length..)?)
            }
            6 => {
                let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
                (IpAddr::from(address(8)?), IpAddr::from(address(24)?), *packet.get(6)?, packet.get(40..)?)
            }
            _ => return None,
        };
        let port = || Some(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let (kind, port) = match protocol {
            // `SYN` and no `ACK`: others are of connections that there never were.
            TCP if rest.get(13)? & 0x12 == 0x02 => (AttemptKind::Tcp, Some(port()?)),
            UDP => (AttemptKind::Udp, Some(port()?)),
            // An echo is a ping; neighbours and routers are looked for by the system.
            ICMP if *rest.first()? == 8 => (AttemptKind::Ip, None),
            ICMP_SIX if *rest.first()? == 128 => (AttemptKind::Ip, None),
            // Hop-by-hop options and groups (IGMP) are memberships, which the system tells of.
            0 | 2 | TCP | ICMP | ICMP_SIX => return None,
            _ => (AttemptKind::Ip, None),
        };
        let question = || rest.get(UDP_HEADER..).and_then(names::asked).map(|(name, _)| name);
        let name = if (kind, port) == (AttemptKind::Udp, Some(NAMES)) { question() } else { None };
        let broad = to == IpAddr::V4(Ipv4Addr::BROADCAST);
        Some(Self { kind, from, to, port, name, answered: !to.is_multicast() && !broad })
    }

    fn target(&self) -> String {
        match self.port {
            Some(port) => SocketAddr::new(self.to, port).to_string(),
            None => self.to.to_string(),
        }
    }

    /// "Network unreachable" (RFC 792; RFC 4443: no route to destination), from where the packet was sent to. Who sends datagrams is told of
    /// nothing but "prohibited" (RFC 1812): that a network cannot be reached may pass.
    fn answer(&self, packet: &[u8]) -> Vec<u8> {
        let quoted = &packet[..packet.len().min(QUOTED)];
        let prohibited = self.kind != AttemptKind::Tcp;
        match (self.to, self.from) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let length = 28 + quoted.len() as u16;
                let mut answer = vec![0x45, 0];
                answer.extend(length.to_be_bytes());
                answer.extend([0, 0, 0, 0, 64, ICMP, 0, 0]);
                answer.extend(from.octets());
                answer.extend(to.octets());
                let sum = checksum(&[&answer]);
                answer[10..12].copy_from_slice(&sum.to_be_bytes());
                let mut message = vec![3, if prohibited { 13 } else { 0 }, 0, 0, 0, 0, 0, 0];
                message.extend(quoted);
                let sum = checksum(&[&message]);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                answer.extend(message);
                answer
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut message = vec![1, u8::from(prohibited), 0, 0, 0, 0, 0, 0];
                message.extend(quoted);
                let length = message.len() as u16;
                let tail = [0, 0, length.to_be_bytes()[0], length.to_be_bytes()[1], 0, 0, 0, ICMP_SIX];
                let sum = checksum(&[&from.octets(), &to.octets(), &tail, &message]);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                let mut answer = vec![0x60, 0, 0, 0];
                answer.extend(length.to_be_bytes());
                answer.extend([ICMP_SIX, 64]);
                answer.extend(from.octets());
                answer.extend(to.octets());
                answer.extend(message);
                answer
            }
            _ => Vec::new(),
        }
    }
}

/// The checksum of IP (RFC 1071) over parts, each but the last of an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 203, 0, 113, 9];
        packet.extend(rest);
        packet
    }

    fn syn(flags: u8) -> Vec<u8> {
        let mut rest = vec![0x80, 0, 0x01, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50];
        rest.extend([flags, 0, 0, 0, 0, 0, 0]);
        rest
    }

    #[test]
    fn the_first_packet_of_a_connection_is_an_attempt_and_is_answered() {
        let attempts = Attempts::new(SystemClock::start());
        let answer = attempts.refuse(&packet(TCP, &syn(0x02))).unwrap();
        assert_eq!((answer[9], answer[20], answer[21]), (ICMP, 3, 0));
        assert_eq!((&answer[12..16], &answer[16..20]), (&[203, 0, 113, 9][..], &[192, 0, 2, 1][..]));
        assert_eq!((checksum(&[&answer[..20]]), checksum(&[&answer[20..]])), (0, 0), "sums are right");
        attempts.refuse(&packet(TCP, &syn(0x02)));
        let (all, beyond) = attempts.all();
        assert_eq!((all.len(), &*all[0].target, all[0].count, beyond), (1, "203.0.113.9:443", 2, 0));
    }

    #[test]
    fn what_the_system_sends_by_itself_is_none() {
        let mut piece = packet(UDP, &[0, 1, 0, 53, 0, 8, 0, 0]);
        piece[7] = 185;
        for packet in
            [piece, packet(TCP, &syn(0x12)), packet(2, &[0x16; 8]), packet(ICMP, &[3; 8]), Vec::new(), vec![0x45]]
        {
            assert_eq!(Tried::read(&packet), None, "{packet:?}");
        }
        assert_eq!(Tried::read(&packet(ICMP, &[8; 8])).unwrap().target(), "203.0.113.9");
        assert_eq!(Tried::read(&packet(UDP, &[0, 1, 0, 53, 0, 8, 0, 0])).unwrap().target(), "203.0.113.9:53");
    }

    #[test]
    fn a_name_that_somebody_elsewhere_is_asked_for_is_seen() {
        let attempts = Attempts::new(SystemClock::start());
        let mut question = vec![0x80, 0, 0, 53, 0, 40, 0, 0];
        question.extend([7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3]);
        question.extend(b"api\x07Example\0\0\x01\0\x01");
        attempts.refuse(&packet(UDP, &question));
        let (all, _) = attempts.all();
        let targets: Vec<_> = all.iter().map(|attempt| (attempt.kind, &*attempt.target)).collect();
        assert_eq!(targets, [(AttemptKind::Udp, "203.0.113.9:53"), (AttemptKind::Name, "api.example")]);
    }

    #[test]
    fn of_more_targets_than_are_noted_the_number_is_known() {
        let attempts = Attempts::new(SystemClock::start());
        for number in 0..TARGETS_MAX + 7 {
            attempts.note(AttemptKind::Name, &format!("{number}.example"));
        }
        let (all, beyond) = attempts.all();
        assert_eq!((all.len(), beyond), (TARGETS_MAX, 7));
    }

    #[test]
    fn version_6_is_answered_with_a_right_sum() {
        let (from, to) = ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), "2001:db8:9::2".parse::<Ipv6Addr>().unwrap());
        let mut packet = vec![0x60, 0, 0, 0, 0, 20, TCP, 64];
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.extend(syn(0x02));
        let attempts = Attempts::new(SystemClock::start());
        let answer = attempts.refuse(&packet).unwrap();
        let length = answer.len() as u16 - 40;
        let tail = [0, 0, length.to_be_bytes()[0], length.to_be_bytes()[1], 0, 0, 0, ICMP_SIX];
        assert_eq!(checksum(&[&answer[8..24], &answer[24..40], &tail, &answer[40..]]), 0);
        assert_eq!(attempts.all().0[0].target, "[2001:db8:9::2]:443");
    }
}
