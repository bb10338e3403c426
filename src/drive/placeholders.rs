//! `{port}` and its like in commands and environments.
//!
//! Only text that looks like a placeholder is touched: `{print $1}` of awk and `{value: .x}` of jq are left alone, and so is a
//! single lower-case word in braces unless it is one letter or two away from a known one.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Names that stand alone.
const ALONE: [&str; 4] = ["rehearsal", "dir", "drive", "port"];

/// Names that stand alone and that only the transport `kafka` fills.
const KAFKA: [&str; 2] = ["brokers", "group"];

/// A piece of a text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Rehearsal,
    Dir,
    Drive,
    Port(&'a str),
    /// Addresses of the brokers.
    Brokers,
    /// A group id.
    Group,
    /// A topic by its name in production.
    Topic(&'a str),
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

/// Takes a text apart; `kafka` says whether somebody fills what only that transport does.
///
/// # Errors
///
/// The placeholder that nobody fills, and what to do about it.
pub(super) fn pieces(text: &str, kafka: bool) -> Result<Vec<Piece<'_>>, (String, String)> {
    let (mut pieces, mut kept, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        at = open + 1;
        let Some(close) = text[at..].find(['{', '}']).map(|close| at + close) else { break };
        if text.as_bytes()[close] == b'{' {
            continue;
        }
        if let Some(piece) = known(&text[at..close], kafka)? {
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

fn known(name: &str, kafka: bool) -> Result<Option<Piece<'_>>, (String, String)> {
    let problem = || format!("the placeholder `{{{name}}}` is unknown");
    let known = if kafka {
        "Known are `{rehearsal}`, `{dir}`, `{drive}`, `{port}`, `{port.NAME}`, `{brokers}`, `{group}` and `{topic.NAME}`."
    } else {
        "Known are `{rehearsal}`, `{dir}`, `{drive}`, `{port}` and `{port.NAME}`."
    };
    match name {
        "rehearsal" => return Ok(Some(Piece::Rehearsal)),
        "dir" => return Ok(Some(Piece::Dir)),
        "drive" => return Ok(Some(Piece::Drive)),
        "port" => return Ok(Some(Piece::Port(""))),
        "brokers" if kafka => return Ok(Some(Piece::Brokers)),
        "group" if kafka => return Ok(Some(Piece::Group)),
        _ => {}
    }
    if KAFKA.contains(&name) {
        return Err((problem(), format!("Only the transport `kafka` fills `{{{name}}}`. {known}")));
    }
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_name = |text: &str| text.split('.').all(is_word);
    if let Some((front, rest)) = name.split_once('.').filter(|(front, rest)| is_word(front) && is_name(rest)) {
        return match front {
            "port" if is_word(rest) => Ok(Some(Piece::Port(rest))),
            "topic" if kafka => Ok(Some(Piece::Topic(rest))),
            "topic" => Err((problem(), format!("Only the transport `kafka` fills `{{topic.NAME}}`. {known}"))),
            _ => Err((problem(), known.to_owned())),
        };
    }
    let near =
        ALONE.iter().chain(&KAFKA).find(|word| strsim::damerau_levenshtein(word, name) <= (word.len() / 4).max(1));
    match near {
        Some(word) if is_word(name) => Err((problem(), format!("Did you mean `{{{word}}}`? {known}"))),
        _ => Ok(None),
    }
}

/// What fills the placeholders of one drive.
#[derive(Debug)]
pub(super) struct Filling {
    rehearsal: PathBuf,
    dir: PathBuf,
    drive: String,
    ports: BTreeMap<String, (u16, TcpListener)>,
    address: Option<Address>,
}

impl Filling {
    /// Prepares the drive named `drive`; its own directory is `dir`, made when it is first asked for. Over Kafka, `address` is where
    /// it connects to.
    pub(super) fn new(dir: &Path, drive: &str, address: Option<&Address>) -> io::Result<Self> {
        let rehearsal = std::env::current_exe()?;
        Ok(Self {
            rehearsal,
            dir: dir.to_owned(),
            drive: drive.to_owned(),
            ports: BTreeMap::new(),
            address: address.cloned(),
        })
    }

    /// Fills the placeholders of `text`, which has been checked. The same name of a port is the same port throughout.
    pub(super) fn fill(&mut self, text: &str) -> io::Result<String> {
        let pieces = pieces(text, self.address.is_some())
            .map_err(|(problem, _)| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let address =
            |part: fn(&Address) -> &String| self.address.as_ref().map_or("", |address| part(address).as_str());
        let (brokers, group) =
            (address(|address| &address.brokers).to_owned(), address(|address| &address.group).to_owned());
        let mut filled = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Rehearsal => filled.push_str(&self.rehearsal.to_string_lossy()),
                Piece::Drive => filled.push_str(&self.drive),
                Piece::Dir => {
                    std::fs::create_dir_all(&self.dir)?;
                    filled.push_str(&std::path::absolute(&self.dir)?.to_string_lossy());
                }
                Piece::Port(name) => filled.push_str(&self.port(name)?.to_string()),
                Piece::Brokers => filled.push_str(&brokers),
                Piece::Group => filled.push_str(&group),
                Piece::Topic(name) => {
                    filled.push_str(self.address.as_ref().map_or(name, |address| address.topic(name)));
                }
            }
        }
        Ok(filled)
    }

    /// Finds a free port. All stay taken until this is dropped, so that no two names get the same.
    fn port(&mut self, name: &str) -> io::Result<u16> {
        if let Some((port, _)) = self.ports.get(name) {
            return Ok(*port);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        self.ports.insert(name.to_owned(), (port, listener));
        Ok(port)
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
            assert_eq!(pieces(text, false), Ok(vec![Piece::Text(text)]), "{text}");
        }
    }

    #[test]
    fn placeholders_are_found_wherever_they_stand() {
        let found = pieces("--at=:{port.http}/{dir}{drive}", false).unwrap();
        let text = Piece::Text;
        assert_eq!(found, [text("--at=:"), Piece::Port("http"), text("/"), Piece::Dir, Piece::Drive]);
        assert_eq!(pieces("{{port}", false).unwrap(), [text("{"), Piece::Port("")]);
    }

    #[test]
    fn a_placeholder_that_nobody_fills_is_refused() {
        for (text, hint) in
            [("{rehersal}", "`{rehearsal}`"), ("{prot}", "`{port}`"), ("{brokers}", "kafka"), ("{topic.a}", "kafka")]
        {
            let (problem, instead) = pieces(text, false).unwrap_err();
            assert!(problem.contains(text) && instead.contains(hint), "{problem}; {instead}");
        }
    }

    #[test]
    fn over_kafka_a_command_learns_brokers_group_and_topics() {
        let found = pieces("{brokers} {group} {topic.orders.v1}", true).unwrap();
        let text = Piece::Text(" ");
        assert_eq!(found, [Piece::Brokers, text.clone(), Piece::Group, text, Piece::Topic("orders.v1")]);
        assert!(pieces("{broker}", true).unwrap_err().1.contains("`{brokers}`"));
        let topics = BTreeMap::from([("b".to_owned(), "there-b".to_owned())]);
        let address = Address { brokers: "127.0.0.1:9".into(), group: "new".into(), topics };
        let mut filling = Filling::new(Path::new("unused"), "new", Some(&address)).unwrap();
        assert_eq!(
            filling.fill("-b {brokers} -g {group} {topic.a} {topic.b}").unwrap(),
            "-b 127.0.0.1:9 -g new a there-b"
        );
    }

    #[test]
    fn each_name_of_a_port_is_a_port_of_its_own() {
        let mut filling = Filling::new(Path::new("unused"), "new", None).unwrap();
        let filled = filling.fill("{port} {port.a} {port} {port.a} {drive}").unwrap();
        let words: Vec<_> = filled.split(' ').collect();
        assert_eq!((words[0], words[1], words[4]), (words[2], words[3], "new"));
        assert_ne!(words[0], words[1]);
    }
}
