//! Names of a world: its `hosts`, and who answers whoever asks over the network instead of reading it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::settings::Place;

/// Where names are answered for.
pub(super) const ANSWERS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 66, 0, 53)), 53);

/// What programs read to learn whom to ask. No domain is put behind what is asked for.
pub(super) const RESOLV: &str = "nameserver 127.66.0.53\nsearch .\noptions timeout:1 attempts:1\n";

/// Longest name (RFC 1035).
const NAME_BYTES_MAX: usize = 255;

/// Addresses of names, each of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    addresses: BTreeMap<String, IpAddr>,
}

impl Names {
    /// Gives each host that is a name an address on the loopback.
    pub(super) fn new<'p>(places: impl Iterator<Item = &'p Place>) -> Self {
        let mut names = Self::default();
        for place in places {
            names.add(place);
        }
        names
    }

    /// Gives the host an address where it is a name without one; returns whether it did.
    pub(super) fn add(&mut self, place: &Place) -> bool {
        if place.address().is_some() || self.addresses.contains_key(&place.host) {
            return false;
        }
        let number = self.addresses.len() as u16 + 257;
        let [high, low] = number.to_be_bytes();
        self.addresses.insert(place.host.clone(), Ipv4Addr::new(127, 66, high, low).into());
        true
    }

    /// Where a place is found in the world.
    pub(super) fn address(&self, place: &Place) -> SocketAddr {
        let known = place.address().or_else(|| self.addresses.get(&place.host).copied());
        SocketAddr::new(known.unwrap_or(Ipv4Addr::LOCALHOST.into()), place.port)
    }

    /// The text of `hosts`; the machine's own name stands for the loopback, as programs expect that look themselves up.
    pub(super) fn hosts(&self, machine: &str) -> String {
        let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
        if !machine.is_empty() && machine != "localhost" {
            let _ = writeln!(text, "127.0.0.1 {machine}");
        }
        for (name, address) in &self.addresses {
            let _ = writeln!(text, "{address} {name}");
        }
        text
    }

    /// Answers a question of DNS (RFC 1035); returns the name, where it is unknown here, and the answer. None for what is no
    /// question.
    pub(super) fn answer(&self, question: &[u8]) -> Option<(Option<String>, Vec<u8>)> {
        let (name, end) = asked(question)?;
        let kind = question.get(end..end + 2)?;
        let asked = question.get(12..end + 4)?;
        let found =
            if name == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { self.addresses.get(&name).copied() };
        let four = match found {
            Some(IpAddr::V4(four)) if kind == [0, 1] => Some(four),
            _ => None,
        };
        let mut answer = question[..2].to_vec();
        // An answer, with authority; recursion as it was asked for, and available; the name exists or does not.
        answer.extend([0x84 | question[2] & 1, 0x80 | if found.is_some() { 0 } else { 3 }]);
        answer.extend([0, 1, 0, u8::from(four.is_some()), 0, 0, 0, 0]);
        answer.extend(asked);
        if let Some(four) = four {
            // The name asked for; an address; good for now only.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(four.octets());
        }
        Some((found.is_none().then_some(name), answer))
    }
}

/// The name that a question of DNS asks for, in lower case, and where it ends; none for what is no question, and one alone.
pub(super) fn asked(question: &[u8]) -> Option<(String, usize)> {
    let is_question = question.len() >= 12 && question[2] & 0x80 == 0 && question[4..6] == [0, 1];
    if is_question { name(question, 12) } else { None }
}

/// Reads a name at `at`, in lower case, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let begin = at;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        // Longer ones are pointers, which a question has no use for.
        if length > 63 || at + length - begin > NAME_BYTES_MAX {
            return None;
        }
        let label = message.get(at..at + length)?;
        let shown =
            label.iter().map(|byte| if byte.is_ascii_graphic() { byte.to_ascii_lowercase() as char } else { '?' });
        labels.push(shown.collect());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let places = ["kafka.prod:9092", "kafka.prod:9093", "10.0.0.1:80", "pay.example:80", "localhost:9092"];
        let places: Vec<Place> = places.iter().map(|text| Place::parse(text).unwrap()).collect();
        Names::new(places.iter())
    }

    fn question(name: &str, kind: u8) -> Vec<u8> {
        let mut text = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            text.push(label.len() as u8);
            text.extend(label.bytes());
        }
        text.extend([0, 0, kind, 0, 1]);
        text
    }

    #[test]
    fn each_name_has_an_address_of_its_own_and_addresses_stay_what_they_are() {
        let names = names();
        let at = |text: &str| names.address(&Place::parse(text).unwrap()).to_string();
        assert_eq!((&*at("kafka.prod:9092"), &*at("kafka.prod:9093")), ("127.66.1.1:9092", "127.66.1.1:9093"));
        assert_eq!((&*at("pay.example:80"), &*at("10.0.0.1:80")), ("127.66.1.2:80", "10.0.0.1:80"));
        assert_eq!(at("localhost:9092"), "127.0.0.1:9092");
        let hosts = names.hosts("vm");
        assert!(hosts.contains("127.66.1.1 kafka.prod\n") && hosts.contains("127.0.0.1 vm\n"), "{hosts}");
    }

    #[test]
    fn whoever_asks_over_the_network_is_told_the_same() {
        let names = names();
        let (unknown, answer) = names.answer(&question("Kafka.PROD", 1)).unwrap();
        assert_eq!((unknown, answer[3] & 15), (None, 0));
        assert_eq!(answer[answer.len() - 4..], [127, 66, 1, 1]);
        // It exists, and has no address of version 6.
        let (unknown, answer) = names.answer(&question("kafka.prod", 28)).unwrap();
        assert_eq!((unknown, answer[3] & 15, answer[7]), (None, 0, 0));
        let (unknown, answer) = names.answer(&question("api.other.example", 1)).unwrap();
        assert_eq!((unknown.as_deref(), answer[3] & 15), (Some("api.other.example"), 3));
    }

    #[test]
    fn rubbish_is_not_answered() {
        let long = question(&["x"; 140].join("."), 1);
        for rubbish in [&[][..], &[0; 12], &question("a", 1)[..14], &long, &[0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert!(names().answer(rubbish).is_none(), "{rubbish:?}");
        }
    }
}
