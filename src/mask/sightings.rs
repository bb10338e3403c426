//! What looked personal, gathered by topic and path: how often, where first, never what it was.

use std::collections::BTreeMap;

use super::Detected;
use super::detect::{Found, Plain, detect, detect_by};
use super::edit::unframed;
use super::scan::{Kind, Tape};
use super::settings::{Keep, means};
use super::tracing;
use crate::recording::PersonalFacts;

/// Most different places that are told apart; what is found beyond is counted as one.
const PLACES_MAX: usize = 1_000;

/// Path of what is found in further places.
const OTHER_PATHS: &str = "other paths";

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

impl Sighting {
    /// What a manifest says of it.
    pub fn facts(&self) -> PersonalFacts {
        let kind = serde_json::to_value(self.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        PersonalFacts {
            topic: self.topic.clone(),
            path: self.path.clone(),
            kind: kind.unwrap_or_default(),
            count: self.count,
            partition: self.partition,
            offset: self.offset,
        }
    }

    /// Reads what a manifest says; none of a kind that is not known.
    pub fn of(facts: &PersonalFacts) -> Option<Self> {
        let kind = serde_json::from_value(facts.kind.as_str().into()).ok()?;
        let PersonalFacts { topic, path, count, partition, offset, .. } = facts.clone();
        Some(Self { topic, path, kind, count, partition, offset })
    }
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
    /// By topic, path and kind.
    places: BTreeMap<String, BTreeMap<String, BTreeMap<Detected, Seen>>>,
    /// Number of places.
    known: usize,
    /// How often anything was found.
    times: u64,
    found: Vec<Found>,
    plain: Plain,
    tape: Tape,
    /// Path of what was found last.
    path: String,
    nodes: Vec<usize>,
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
        detect_by(bytes, &mut self.found, &mut self.plain);
        if self.found.is_empty() {
            return None;
        }
        let (topic, partition, offset) = at;
        let (frame, json) = unframed(bytes);
        let is_json = !matches!(part, Looked::Header(_)) && self.tape.read(json);
        let mut first = None;
        for at in 0..self.found.len() {
            let (kind, range) = self.found[at].clone();
            self.find_path(part, json, is_json, range.start.saturating_sub(frame.len()));
            if kind == Detected::Card && self.is_id_of_tracing(part, json, is_json, &bytes[range]) {
                continue;
            }
            let kept = |keep: &Keep| {
                means(&keep.topics, topic)
                    && keep.paths.contains(&self.path)
                    && (keep.kinds.is_empty() || keep.kinds.contains(&kind))
            };
            if keeps.iter().any(kept) {
                continue;
            }
            first.get_or_insert_with(|| (self.path.clone(), kind));
            self.count(topic, kind, Seen { count: 0, partition, offset });
        }
        first
    }

    /// Whether what was found at the path that was found last is the whole of a value that its name calls an id of tracing.
    fn is_id_of_tracing(&self, part: Looked<'_>, json: &[u8], is_json: bool, found: &[u8]) -> bool {
        if let Looked::Header(name) = part {
            return found == json && tracing::names_id([name].into_iter());
        }
        let Some(&innermost) = self.nodes.first().filter(|_| is_json) else { return false };
        let names: Vec<_> = self.nodes.iter().filter_map(|&node| self.tape.name(json, node)).collect();
        *self.tape.content(json, innermost) == *found && tracing::names_id(names.iter().map(|name| &**name))
    }

    /// Counts one more of a kind at `path`.
    fn count(&mut self, topic: &str, kind: Detected, first: Seen) {
        self.times += 1;
        let known = self.places.get_mut(topic).and_then(|paths| paths.get_mut(&self.path)?.get_mut(&kind));
        if let Some(seen) = known {
            seen.count += 1;
            return;
        }
        let path = if self.known >= PLACES_MAX { OTHER_PATHS } else { &self.path };
        let kinds = self.places.entry(topic.to_owned()).or_default().entry(path.to_owned()).or_default();
        self.known += usize::from(!kinds.contains_key(&kind));
        kinds.entry(kind).or_insert(first).count += 1;
    }

    /// Takes over what was found before.
    pub(super) fn know(&mut self, known: impl Iterator<Item = Sighting>) {
        for Sighting { topic, path, kind, count, partition, offset } in known {
            let kinds = self.places.entry(topic).or_default().entry(path).or_default();
            self.known += usize::from(kinds.insert(kind, Seen { count, partition, offset }).is_none());
        }
    }

    /// How often something was found, without what was taken over.
    pub(super) fn times(&self) -> u64 {
        self.times
    }

    /// Everything found so far, by topic and path.
    pub(super) fn list(&self) -> Vec<Sighting> {
        let mut list = Vec::new();
        for (topic, paths) in &self.places {
            for (path, kinds) in paths {
                list.extend(kinds.iter().map(|(kind, seen)| Sighting {
                    topic: topic.clone(),
                    path: path.clone(),
                    kind: *kind,
                    count: seen.count,
                    partition: seen.partition,
                    offset: seen.offset,
                }));
            }
        }
        list
    }

    /// Writes where in the event the byte `at` lies to `path`.
    fn find_path(&mut self, part: Looked<'_>, bytes: &[u8], is_json: bool, at: usize) {
        let Self { tape, path, nodes, .. } = self;
        path.clear();
        match part {
            Looked::Header(name) => {
                path.push_str("header ");
                return path.push_str(if is_data(name) { "*" } else { name });
            }
            Looked::Key if !is_json || tape.len() == 1 => return path.push_str("key"),
            Looked::Value if !is_json => return path.push_str("value"),
            Looked::Key => path.push_str("key $"),
            Looked::Value => path.push('$'),
        }
        // What lies in a name is found in every name there.
        let (innermost, in_name) = tape.around(at);
        nodes.clear();
        nodes.extend(std::iter::successors(Some(innermost), |&node| tape.parent(node)));
        for steps in nodes.windows(2).rev() {
            let [node, parent] = [steps[0], steps[1]];
            let hidden = in_name && node == innermost;
            match tape.name(bytes, node).filter(|name| !hidden && !is_data(name)) {
                _ if tape.node(parent).kind == Kind::Array => path.push_str("[*]"),
                Some(name) => push_step(path, &name),
                None => path.push_str(".*"),
            }
        }
    }
}

/// Whether a name says something itself, as where objects are kept under addresses.
fn is_data(name: &str) -> bool {
    let mut found = Vec::new();
    detect(name.as_bytes(), &mut found);
    !found.is_empty() || name.len() > NAME_MAX
}

fn push_step(path: &mut String, name: &str) {
    let plain = !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if plain {
        path.push('.');
        path.push_str(name);
    } else {
        path.push_str("['");
        path.push_str(&name.replace('\\', "\\\\").replace('\'', "\\'"));
        path.push_str("']");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that begins as Visa's do and passes Luhn's check; as an id of sixteen hexadecimal digits it may come up by chance.
    const NUMBER: &str = "4012888888881881";

    fn looked(part: Looked<'_>, bytes: &str) -> Vec<(String, Detected)> {
        let mut sightings = Sightings::default();
        sightings.look(("t", 0, 0), part, bytes.as_bytes(), &[]);
        sightings.list().into_iter().map(|one| (one.path, one.kind)).collect()
    }

    #[test]
    fn ids_of_traces_and_spans_are_no_cards_and_cards_among_them_are() {
        for value in [
            format!(r#"{{"trace_id":"{NUMBER}"}}"#),
            format!(r#"{{"spanId": {NUMBER} }}"#),
            format!(r#"{{"span":{{"id":"{NUMBER}","parent_id":"{NUMBER}"}}}}"#),
            format!(r#"{{"spans":[{{"spanId":"00f067aa0ba902b7"}},{{"spanId":"{NUMBER}"}}]}}"#),
            format!(r#"{{"traces":["{NUMBER}"]}}"#),
        ] {
            assert_eq!(looked(Looked::Value, &value), [], "{value}");
        }
        assert_eq!(looked(Looked::Header("X-B3-SpanId"), NUMBER), []);
        for (value, path) in [
            (format!(r#"{{"id":"{NUMBER}"}}"#), "$.id"),
            (format!(r#"{{"number":"{NUMBER}"}}"#), "$.number"),
            (format!(r#"{{"trace":{{"card":"{NUMBER}"}}}}"#), "$.trace.card"),
            (format!(r#"{{"trace":{{"number":"{NUMBER}"}}}}"#), "$.trace.number"),
            // Said in a text it is what somebody said.
            (format!(r#"{{"trace":"paid with {NUMBER}"}}"#), "$.trace"),
            (format!(r#"{{"trace_card":"{NUMBER}"}}"#), "$.trace_card"),
            (format!(r#"{{"trace_id":"x","pan":"{NUMBER}"}}"#), "$.pan"),
            (NUMBER.to_owned(), "$"),
        ] {
            assert_eq!(looked(Looked::Value, &value), [(path.to_owned(), Detected::Card)], "{value}");
        }
        let header = [("header note".to_owned(), Detected::Card)];
        assert_eq!(looked(Looked::Header("note"), NUMBER), header);
        let spoken = [("header X-B3-SpanId".to_owned(), Detected::Card)];
        assert_eq!(looked(Looked::Header("X-B3-SpanId"), &format!("card {NUMBER}")), spoken);
        // What else is found under such a name is found.
        let mail = looked(Looked::Value, r#"{"trace_id":"ann.smith@example.org"}"#);
        assert_eq!(mail, [("$.trace_id".to_owned(), Detected::Email)]);
    }
}
