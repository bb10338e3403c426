//! Outputs corrupted on purpose, one at a time: a number by its last place, a text by a character, a member gone.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::json::{DEPTH_MAX, Lexer, NoJson};
use crate::outcome::Output;

/// What is done to an output, or to two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// A number is other by one in its last place.
    LastPlace,
    /// A number is 1 % more.
    OnePercent,
    /// A number has the other sign.
    Sign,
    /// The end of a text is gone.
    Truncated,
    /// A text is in other case.
    Case,
    /// A character of a text is another; of bytes, a byte.
    Character,
    /// A member of an object is gone.
    MemberGone,
    /// An object has one member more.
    MemberAdded,
    /// A member of an object has another name.
    MemberRenamed,
    /// An element of an array is gone.
    ElementGone,
    /// An element of an array stands twice.
    ElementDoubled,
    /// Two neighbours of an array have changed places.
    ElementsSwapped,
    /// A value is null.
    Null,
    /// A number or truth is a text, a text is a number.
    OtherType,
    /// The output is lost.
    OutputLost,
    /// The output was written twice.
    OutputDoubled,
    /// The output has another key.
    OtherKey,
    /// Two outputs have changed places: of one topic and key where another follows nearby.
    OutputsSwapped,
}

impl Corruption {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 18] = [
        Self::LastPlace,
        Self::OnePercent,
        Self::Sign,
        Self::Truncated,
        Self::Case,
        Self::Character,
        Self::MemberGone,
        Self::MemberAdded,
        Self::MemberRenamed,
        Self::ElementGone,
        Self::ElementDoubled,
        Self::ElementsSwapped,
        Self::Null,
        Self::OtherType,
        Self::OutputLost,
        Self::OutputDoubled,
        Self::OtherKey,
        Self::OutputsSwapped,
    ];

    /// As a report spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::LastPlace => "last-place",
            Self::OnePercent => "one-percent",
            Self::Sign => "sign",
            Self::Truncated => "truncated",
            Self::Case => "case",
            Self::Character => "character",
            Self::MemberGone => "member-gone",
            Self::MemberAdded => "member-added",
            Self::MemberRenamed => "member-renamed",
            Self::ElementGone => "element-gone",
            Self::ElementDoubled => "element-doubled",
            Self::ElementsSwapped => "elements-swapped",
            Self::Null => "null",
            Self::OtherType => "other-type",
            Self::OutputLost => "output-lost",
            Self::OutputDoubled => "output-doubled",
            Self::OtherKey => "other-key",
            Self::OutputsSwapped => "outputs-swapped",
        }
    }
}

/// Outputs near each other, and the same with the first of them corrupted.
#[derive(Debug)]
pub(super) struct Corrupted {
    pub(super) what: Corruption,
    pub(super) before: Vec<Output>,
    pub(super) after: Vec<Output>,
}

/// Draws a whole number below its argument, another at each call.
pub(super) type Draw<'d> = &'d mut dyn FnMut(usize) -> usize;

/// Corrupts the first of `outputs`, of which the others follow. What is drawn and cannot be done to it makes way for the next in
/// the order of [`Corruption::ALL`]; losing an output can always be done.
pub(super) fn corrupt(outputs: &[Output], draw: Draw<'_>) -> Option<Corrupted> {
    let first = outputs.first()?;
    let from = draw(Corruption::ALL.len());
    let kinds = Corruption::ALL.iter().cycle().skip(from).take(Corruption::ALL.len());
    for what in kinds.copied() {
        let near = match what {
            Corruption::OutputsSwapped => twin(outputs).map(|twin| vec![first.clone(), twin.clone()]),
            _ => Some(vec![first.clone()]),
        };
        let Some(before) = near else { continue };
        if let Some(after) = after(&before, what, draw) {
            return Some(Corrupted { what, before: numbered(before), after: numbered(after) });
        }
    }
    None
}

/// The output that changes places with the first: the next of its key that says something else, else the next at all.
fn twin(outputs: &[Output]) -> Option<&Output> {
    let (first, others) = outputs.split_first()?;
    let is_other = |other: &&Output| other.value != first.value;
    let of_key = |other: &&Output| first.key.is_some() && (&other.topic, &other.key) == (&first.topic, &first.key);
    others.iter().filter(is_other).find(of_key).or_else(|| others.iter().find(is_other))
}

fn numbered(outputs: Vec<Output>) -> Vec<Output> {
    (0..).zip(outputs).map(|(at, output)| Output { sequence: at, arrived_us: at, ..output }).collect()
}

fn after(before: &[Output], what: Corruption, draw: Draw<'_>) -> Option<Vec<Output>> {
    let first = &before[0];
    let valued = |value: Vec<u8>| vec![Output { value: Some(value), ..first.clone() }];
    match what {
        Corruption::OutputLost => Some(Vec::new()),
        Corruption::OutputDoubled => Some(vec![first.clone(), first.clone()]),
        Corruption::OutputsSwapped => Some(before.iter().rev().cloned().collect()),
        Corruption::OtherKey => {
            let key = [first.key.as_deref().unwrap_or_default(), b"~"].concat();
            Some(vec![Output { key: Some(key), ..first.clone() }])
        }
        _ => {
            let value = first.value.as_deref()?;
            let text = std::str::from_utf8(value).ok();
            match text.map(|text| (text, sites(text))) {
                Some((text, Ok(sites))) => in_json(text, &sites, what, draw).map(|text| valued(text.into_bytes())),
                Some((text, Err(_))) => in_text(text, what, draw).map(|text| valued(text.into_bytes())),
                None if what == Corruption::Character => {
                    let mut bytes = value.to_vec();
                    let at = draw(bytes.len());
                    bytes[at] ^= 1 << draw(8);
                    Some(valued(bytes))
                }
                None => None,
            }
        }
    }
}

/// A place in a JSON text.
#[derive(Debug, Clone)]
enum Site {
    Number(Range<usize>),
    Text(Range<usize>),
    Truth(Range<usize>),
    Null,
    Object(Range<usize>, Vec<Member>),
    Array(Range<usize>, Vec<Range<usize>>),
}

/// Where the name of a member stands, and where its value.
#[derive(Debug, Clone)]
struct Member {
    name: Range<usize>,
    value: Range<usize>,
}

/// All places of a JSON text, the whole value last.
fn sites(text: &str) -> Result<Vec<Site>, NoJson> {
    let mut lexer = Lexer::new(text.as_bytes())?;
    let mut sites = Vec::new();
    site(&mut lexer, 0, &mut sites)?;
    if lexer.is_done() { Ok(sites) } else { Err(NoJson) }
}

fn site(lexer: &mut Lexer<'_>, depth: u32, sites: &mut Vec<Site>) -> Result<Range<usize>, NoJson> {
    if depth > DEPTH_MAX {
        return Err(NoJson);
    }
    let first = lexer.peek()?;
    let from = lexer.at;
    let found = match first {
        b'{' => {
            let members = members(lexer, depth, sites)?;
            Site::Object(from..lexer.at, members)
        }
        b'[' => {
            let elements = elements(lexer, depth, sites)?;
            Site::Array(from..lexer.at, elements)
        }
        b'"' => lexer.string().map(|_| Site::Text(from..lexer.at))?,
        b'n' => lexer.word("null").map(|()| Site::Null)?,
        b't' => lexer.word("true").map(|()| Site::Truth(from..lexer.at))?,
        b'f' => lexer.word("false").map(|()| Site::Truth(from..lexer.at))?,
        _ => lexer.number().map(|_| Site::Number(from..lexer.at))?,
    };
    sites.push(found);
    Ok(from..lexer.at)
}

fn members(lexer: &mut Lexer<'_>, depth: u32, sites: &mut Vec<Site>) -> Result<Vec<Member>, NoJson> {
    lexer.take(b'{')?;
    let mut members = Vec::new();
    if lexer.peek()? == b'}' {
        lexer.at += 1;
        return Ok(members);
    }
    loop {
        lexer.peek()?;
        let from = lexer.at;
        lexer.string()?;
        let name = from..lexer.at;
        lexer.take(b':')?;
        members.push(Member { name, value: site(lexer, depth + 1, sites)? });
        if !lexer.more(b'}')? {
            return Ok(members);
        }
    }
}

fn elements(lexer: &mut Lexer<'_>, depth: u32, sites: &mut Vec<Site>) -> Result<Vec<Range<usize>>, NoJson> {
    lexer.take(b'[')?;
    let mut elements = Vec::new();
    if lexer.peek()? == b']' {
        lexer.at += 1;
        return Ok(elements);
    }
    loop {
        elements.push(site(lexer, depth + 1, sites)?);
        if !lexer.more(b']')? {
            return Ok(elements);
        }
    }
}

/// Corrupts one of the places at which that can be done; none where there is none.
fn in_json(text: &str, sites: &[Site], what: Corruption, draw: Draw<'_>) -> Option<String> {
    let fits = |site: &&Site| match (what, site) {
        (Corruption::LastPlace | Corruption::OnePercent | Corruption::Sign, Site::Number(range)) => {
            what == Corruption::LastPlace || text[range.clone()].bytes().any(|byte| matches!(byte, b'1'..=b'9'))
        }
        (Corruption::Truncated | Corruption::Character, Site::Text(range)) => range.len() > 2,
        (Corruption::Case, Site::Text(range)) => text[range.clone()].chars().any(|c| other_case(c).is_some()),
        (Corruption::MemberGone | Corruption::MemberRenamed, Site::Object(_, members)) => !members.is_empty(),
        (Corruption::ElementGone | Corruption::ElementDoubled, Site::Array(_, elements)) => !elements.is_empty(),
        (Corruption::ElementsSwapped, Site::Array(_, elements)) => elements.len() > 1,
        (Corruption::MemberAdded, Site::Object(..))
        | (Corruption::Null | Corruption::OtherType, Site::Number(_) | Site::Text(_) | Site::Truth(_)) => true,
        _ => false,
    };
    let fitting: Vec<&Site> = sites.iter().filter(fits).collect();
    if fitting.is_empty() {
        return None;
    }
    let (place, written) = match fitting[draw(fitting.len())] {
        Site::Number(range) => (range, number(&text[range.clone()], what)?),
        Site::Text(range) if what == Corruption::Null => (range, "null".to_owned()),
        Site::Text(range) if what == Corruption::OtherType => (range, "0".to_owned()),
        Site::Text(range) => {
            let said: String = serde_json::from_str(&text[range.clone()]).ok()?;
            (range, quoted(&in_text(&said, what, draw)?))
        }
        Site::Truth(range) if what == Corruption::Null => (range, "null".to_owned()),
        Site::Truth(range) => (range, quoted(&text[range.clone()])),
        Site::Object(range, members) => (range, object(text, members, what, draw)),
        Site::Array(range, elements) => (range, array(text, elements, what, draw)),
        Site::Null => return None,
    };
    Some(format!("{}{written}{}", &text[..place.start], &text[place.end..]))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn number(text: &str, what: Corruption) -> Option<String> {
    Some(match what {
        Corruption::Null => "null".to_owned(),
        Corruption::OtherType => quoted(text),
        Corruption::Sign => text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned),
        Corruption::OnePercent => {
            let more = text.parse::<f64>().ok()? * 1.01;
            if !more.is_finite() {
                return None;
            }
            // An integer stays one, and is another.
            let is_whole = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
            let more = if is_whole && more.abs() < 1e15 { more + more.signum() } else { more };
            if is_whole && more.abs() < 1e15 { format!("{}", more.trunc()) } else { format!("{more:?}") }
        }
        _ => {
            let mantissa = text.find(['e', 'E']).unwrap_or(text.len());
            let at = mantissa.checked_sub(1)?;
            let digit = if &text[at..mantissa] == "9" { '8' } else { char::from(text.as_bytes()[at] + 1) };
            format!("{}{digit}{}", &text[..at], &text[mantissa..])
        }
    })
}

fn other_case(character: char) -> Option<char> {
    let mut other: Vec<char> =
        if character.is_uppercase() { character.to_lowercase().collect() } else { character.to_uppercase().collect() };
    other.pop().filter(|other| *other != character)
}

fn in_text(text: &str, what: Corruption, draw: Draw<'_>) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return None;
    }
    let count = characters.len();
    Some(match what {
        Corruption::Truncated => characters[..draw(count)].iter().collect(),
        Corruption::Case => {
            let cased: Vec<usize> = (0..count).filter(|at| other_case(characters[*at]).is_some()).collect();
            if cased.is_empty() {
                return None;
            }
            let at = cased[draw(cased.len())];
            let other = characters.iter().enumerate();
            other.map(|(place, c)| if place == at { other_case(*c).unwrap_or(*c) } else { *c }).collect()
        }
        Corruption::Character => {
            let at = draw(count);
            let put = if characters[at] == 'x' { 'y' } else { 'x' };
            characters.iter().enumerate().map(|(place, c)| if place == at { put } else { *c }).collect()
        }
        _ => return None,
    })
}

fn object(text: &str, members: &[Member], what: Corruption, draw: Draw<'_>) -> String {
    let mut written: Vec<String> = members
        .iter()
        .map(|member| format!("{}:{}", &text[member.name.clone()], &text[member.value.clone()]))
        .collect();
    let names: Vec<&str> = members.iter().map(|member| &text[member.name.clone()]).collect();
    let unused = |name: &str| {
        let mut name = name.to_owned();
        while names.contains(&quoted(&name).as_str()) {
            name.push('_');
        }
        quoted(&name)
    };
    match what {
        Corruption::MemberAdded => written.push(format!("{}:1", unused("added"))),
        Corruption::MemberGone => _ = written.remove(draw(members.len())),
        _ => {
            let at = draw(members.len());
            let name: String = serde_json::from_str(names[at]).unwrap_or_default();
            written[at] = format!("{}:{}", unused(&format!("{name}_")), &text[members[at].value.clone()]);
        }
    }
    format!("{{{}}}", written.join(","))
}

fn array(text: &str, elements: &[Range<usize>], what: Corruption, draw: Draw<'_>) -> String {
    let mut written: Vec<&str> = elements.iter().map(|element| &text[element.clone()]).collect();
    match what {
        Corruption::ElementGone => _ = written.remove(draw(elements.len())),
        Corruption::ElementDoubled => {
            let at = draw(elements.len());
            written.insert(at, written[at]);
        }
        _ => {
            let at = draw(elements.len() - 1);
            written.swap(at, at + 1);
        }
    }
    format!("[{}]", written.join(","))
}
