//! `{port}` and its like in commands and environments.
//!
//! Only text that looks like a placeholder is touched: `{print $1}` of awk and `{value: .x}` of jq are left alone, and so is a
//! single lower-case word in braces unless it is one letter or two away from a known one.

use std::collections::{BTreeMap, BTreeSet};

use super::Transport;

/// Names that stand alone.
const ALONE: [&str; 5] = ["rehearsal", "dir", "drive", "instance", "port"];

/// Names that stand alone and that only the transport `kafka` fills.
const KAFKA: [&str; 2] = ["brokers", "group"];

/// A piece of a text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Rehearsal,
    Dir,
    Drive,
    /// Number of the process among those of its build.
    Instance,
    Port(&'a str),
    /// Addresses of the brokers.
    Brokers,
    /// A group id.
    Group,
    /// A topic by its name in production.
    Topic(&'a str),
    /// What only some scenarios have, by its whole name.
    Offered(&'a str),
}

/// What drives of a scenario fill in beside what every drive does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    kafka: bool,
    names: BTreeSet<String>,
}

impl Offers {
    /// What drives over `transport` fill in.
    pub fn of(transport: Transport) -> Self {
        Self { kafka: transport == Transport::Kafka, names: BTreeSet::new() }
    }

    /// Offers `{name}` as well, such as `effects.pay`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>) -> Self {
        self.names.insert(name.into());
        self
    }

    /// Whether they are those of a build that is a client of Kafka.
    pub(super) fn are_of_kafka(&self) -> bool {
        self.kafka
    }

    /// Says what can be written.
    fn known(&self) -> String {
        let kafka = ["brokers", "group", "topic.NAME"].into_iter().filter(|_| self.kafka);
        let always = ALONE.into_iter().chain(["port.NAME"]).chain(kafka);
        let all: Vec<_> =
            always.chain(self.names.iter().map(String::as_str)).map(|name| format!("`{{{name}}}`")).collect();
        let (last, front) = all.split_last().map_or(("", &[][..]), |(last, front)| (last.as_str(), front));
        format!("Known are {} and {last}.", front.join(", "))
    }
}

/// What a build of the transport `kafka` is told of its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) brokers: String,
    pub(super) group: String,
    /// Topics that have another name there than in production.
    pub(super) topics: BTreeMap<String, String>,
}

impl Address {
    /// What production's topic `name` is called there.
    pub(super) fn topic<'a>(&'a self, name: &'a str) -> &'a str {
        self.topics.get(name).map_or(name, String::as_str)
    }
}

/// Takes a text apart; `offers` says what is filled in beside what every drive fills in.
///
/// # Errors
///
/// The placeholder that nobody fills, and what to do about it.
pub(super) fn pieces<'t>(text: &'t str, offers: &Offers) -> Result<Vec<Piece<'t>>, (String, String)> {
    let (mut pieces, mut kept, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        at = open + 1;
        let Some(close) = text[at..].find(['{', '}']).map(|close| at + close) else { break };
        if text.as_bytes()[close] == b'{' {
            continue;
        }
        if let Some(piece) = known(&text[at..close], offers)? {
            pieces.push(Piece::Text(&text[kept..open]));
            pieces.push(piece);
            kept = close + 1;
        }
        at = close + 1;
    }
    pieces.push(Piece::Text(&text[kept..]));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

fn known<'t>(name: &'t str, offers: &Offers) -> Result<Option<Piece<'t>>, (String, String)> {
    let problem = || format!("the placeholder `{{{name}}}` is unknown");
    match name {
        "rehearsal" => return Ok(Some(Piece::Rehearsal)),
        "dir" => return Ok(Some(Piece::Dir)),
        "drive" => return Ok(Some(Piece::Drive)),
        "instance" => return Ok(Some(Piece::Instance)),
        "port" => return Ok(Some(Piece::Port(""))),
        "brokers" if offers.kafka => return Ok(Some(Piece::Brokers)),
        "group" if offers.kafka => return Ok(Some(Piece::Group)),
        _ if offers.names.contains(name) => return Ok(Some(Piece::Offered(name))),
        _ => {}
    }
    if KAFKA.contains(&name) {
        return Err((problem(), format!("Only the transport `kafka` fills `{{{name}}}`. {}", offers.known())));
    }
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_name = |text: &str| text.split('.').all(is_word);
    if let Some((front, rest)) = name.split_once('.').filter(|(front, rest)| is_word(front) && is_name(rest)) {
        return match front {
            "port" if is_word(rest) => Ok(Some(Piece::Port(rest))),
            "topic" if offers.kafka => Ok(Some(Piece::Topic(rest))),
            "topic" => {
                Err((problem(), format!("Only the transport `kafka` fills `{{topic.NAME}}`. {}", offers.known())))
            }
            _ => Err((problem(), offers.known())),
        };
    }
    let words = ALONE.iter().chain(&KAFKA).copied().chain(offers.names.iter().map(String::as_str));
    let mut near = words.filter(|word| strsim::damerau_levenshtein(word, name) <= (word.len() / 4).max(1));
    match near.next() {
        Some(word) if is_word(name) => Err((problem(), format!("Did you mean `{{{word}}}`? {}", offers.known()))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_in_braces_are_left_alone() {
        for text in
            ["{print $1}", "{print}", "{}", "{ value: .x }", "{a}", "{{port", "${HOME}", "{port", "}{", "{x.y z}"]
        {
            assert_eq!(pieces(text, &Offers::default()), Ok(vec![Piece::Text(text)]), "{text}");
        }
    }

    #[test]
    fn placeholders_are_found_wherever_they_stand() {
        let found = pieces("--at=:{port.http}/{dir}{drive}", &Offers::default()).unwrap();
        let text = Piece::Text;
        assert_eq!(found, [text("--at=:"), Piece::Port("http"), text("/"), Piece::Dir, Piece::Drive]);
        assert_eq!(pieces("{{port}", &Offers::default()).unwrap(), [text("{"), Piece::Port("")]);
    }

    #[test]
    fn a_placeholder_that_nobody_fills_is_refused() {
        for (text, hint) in
            [("{rehersal}", "`{rehearsal}`"), ("{prot}", "`{port}`"), ("{brokers}", "kafka"), ("{topic.a}", "kafka")]
        {
            let (problem, instead) = pieces(text, &Offers::default()).unwrap_err();
            assert!(problem.contains(text) && instead.contains(hint), "{problem}; {instead}");
        }
    }

    #[test]
    fn over_kafka_a_command_learns_brokers_group_and_topics() {
        let found = pieces("{brokers} {group} {topic.orders.v1}", &Offers::of(Transport::Kafka)).unwrap();
        let text = Piece::Text(" ");
        assert_eq!(found, [Piece::Brokers, text.clone(), Piece::Group, text, Piece::Topic("orders.v1")]);
        assert!(pieces("{broker}", &Offers::of(Transport::Kafka)).unwrap_err().1.contains("`{brokers}`"));
    }

    #[test]
    fn what_only_a_scenario_has_is_known_where_it_has_it() {
        let offers = Offers::of(Transport::Stdio).with("effects.pay").with("registry");
        let found = pieces("{effects.pay}/{registry}", &offers).unwrap();
        assert_eq!(found, [Piece::Offered("effects.pay"), Piece::Text("/"), Piece::Offered("registry")]);
        for (text, hint) in [("{effects.pya}", "`{effects.pay}`"), ("{registy}", "`{registry}`?")] {
            assert!(pieces(text, &offers).unwrap_err().1.contains(hint), "{text}");
        }
        assert!(pieces("{effects.pay}", &Offers::default()).is_err());
    }
}
