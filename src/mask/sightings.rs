//! What looked personal, gathered by topic and path: how often, where first, never what it was.

use std::collections::BTreeMap;

use super::Detected;
use super::detect::{Found, detect};
use super::edit::unframed;
use super::scan::{Kind, Tape};
use super::settings::{Keep, means};

/// Most different places that are told apart; what is found beyond is counted as one.
const PLACES_MAX: usize = 1_000;

/// Longest name of a member that is shown: longer ones are data.
const NAME_MAX: usize = 64;

/// What looked personal in one place of the events of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Topic.
    pub topic: String,
    /// Where in the events: a JSONPath with `[*]` for every element, `value`, `key` or `header NAME`. A name that itself looks
    /// personal is shown as `*`.
    pub path: String,
    /// What it looks like.
    pub kind: Detected,
    /// How often it was found.
    pub count: u64,
    /// Partition of the event in which it was found first.
    pub partition: i32,
    /// Offset of that event.
    pub offset: i64,
}

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    topic: String,
    path: String,
    kind: Detected,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    count: u64,
    partition: i32,
    offset: i64,
}

/// A part of an event that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Looked<'a> {
    Key,
    Value,
    Header(&'a str),
}

/// Gathers what looks personal.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    places: BTreeMap<Place, Seen>,
    found: Vec<Found>,
    tape: Tape,
}

impl Sightings {
    /// Looks at one part of an event, and returns the first place and kind that must not be kept.
    pub(super) fn look(
        &mut self,
        at: (&str, i32, i64),
        part: Looked<'_>,
        bytes: &[u8],
        keeps: &[Keep],
    ) -> Option<(String, Detected)> {
        detect(bytes, &mut self.found);
        if self.found.is_empty() {
            return None;
        }
        let (topic, partition, offset) = at;
        let (frame, json) = unframed(bytes);
        let is_json = !matches!(part, Looked::Header(_)) && self.tape.read(json);
        let mut first = None;
        for (kind, range) in std::mem::take(&mut self.found) {
            let path = self.path(part, json, is_json, range.start.saturating_sub(frame.len()));
            let kept = |keep: &Keep| {
                means(&keep.topics, topic)
                    && keep.paths.contains(&path)
                    && (keep.kinds.is_empty() || keep.kinds.contains(&kind))
            };
            if keeps.iter().any(kept) {
                continue;
            }
            first.get_or_insert_with(|| (path.clone(), kind));
            let mut place = Place { topic: topic.to_owned(), path, kind };
            if self.places.len() >= PLACES_MAX && !self.places.contains_key(&place) {
                "other paths".clone_into(&mut place.path);
            }
            self.places.entry(place).or_insert(Seen { count: 0, partition, offset }).count += 1;
        }
        first
    }

    /// Everything found so far, by topic and path.
    pub(super) fn list(&self) -> Vec<Sighting> {
        let sighting = |(Place { topic, path, kind }, seen): (&Place, &Seen)| Sighting {
            topic: topic.clone(),
            path: path.clone(),
            kind: *kind,
            count: seen.count,
            partition: seen.partition,
            offset: seen.offset,
        };
        self.places.iter().map(sighting).collect()
    }

    fn path(&self, part: Looked<'_>, bytes: &[u8], is_json: bool, at: usize) -> String {
        let lead = match part {
            Looked::Header(name) => return format!("header {}", if is_data(name) { "*" } else { name }),
            Looked::Key if !is_json || self.tape.len() == 1 => return "key".to_owned(),
            Looked::Value if !is_json => return "value".to_owned(),
            Looked::Key => "key ",
            Looked::Value => "",
        };
        let (mut node, in_name) = self.tape.around(at);
        let mut steps = Vec::new();
        // What lies in a name is found in every name there.
        let mut hidden = in_name;
        while let Some(parent) = self.tape.parent(node) {
            steps.push(match self.tape.name(bytes, node) {
                _ if self.tape.node(parent).kind == Kind::Array => "[*]".to_owned(),
                Some(name) if !hidden && !is_data(&name) => step(&name),
                _ => ".*".to_owned(),
            });
            (node, hidden) = (parent, false);
        }
        steps.reverse();
        format!("{lead}${}", steps.concat())
    }
}

/// Whether a name says something itself, as where objects are kept under addresses.
fn is_data(name: &str) -> bool {
    let mut found = Vec::new();
    detect(name.as_bytes(), &mut found);
    !found.is_empty() || name.len() > NAME_MAX
}

fn step(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if plain { format!(".{name}") } else { format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")) }
}
