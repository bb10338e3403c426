//! What is common to the outputs of a pattern and not to others: what an output says of itself, of its key, its headers, its
//! time and its cause, held against what drawn outputs say that do not differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::super::drives::{Coordinates, Drive, EventTimes};
use super::super::json::Node;
use super::super::matching::Signature;
use super::super::rules::Rules;
use super::super::sentences::{count, percent};
use super::super::{CompareError, Kind};
use super::finder::{DIFFERING_MIN, Found, Predicate, Subject, Subjects, find};
use super::places::{places, shown};
use super::sample::{Draw, Drawn, Sample};
use crate::outcome::Output;
use crate::settings::Moment;

/// Patterns for which something common is looked for, the largest first.
const PATTERNS_MAX: usize = 32;

/// Members of one value that are looked at.
const FIELDS_MAX: usize = 64;

/// Longest value that is told, in characters.
const VALUE_MAX: usize = 48;

/// What is common to the differences of a pattern and not to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// What it is and how often, in a sentence without a full stop.
    pub says: String,
    /// Conditions that hold together: one or two.
    pub conditions: Vec<Condition>,
    /// Differences looked at for which they hold.
    pub holds: u64,
    /// Differences looked at: all of the pattern's, or a sample of them where they are many.
    pub looked_at: u64,
    /// Other outputs looked at for which they hold.
    pub others_hold: u64,
    /// Other outputs looked at.
    pub others: u64,
}

/// A condition on an output: its subject is the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What of the output, as `$.carrier` or `hour of the day`.
    pub subject: String,
    /// What it is.
    pub value: String,
}

/// What outputs are read and judged with.
pub(in super::super) struct Surroundings<'s> {
    /// The drives compared.
    pub(in super::super) drives: [&'s dyn Drive; 2],
    pub(in super::super) rules: &'s Rules,
    pub(in super::super) events: Option<&'s dyn EventTimes>,
    pub(in super::super) draw: Draw,
}

/// A pattern that something common is looked for.
pub(in super::super) struct Looked<'l> {
    pub(in super::super) signature: &'l Signature,
    pub(in super::super) sample: &'l Sample,
    pub(in super::super) count: u64,
    /// Whether it is only told, never judged.
    pub(in super::super) information: bool,
}

/// Finds for each pattern what is common to its differences; none where there are too few of them or of others.
pub(in super::super) fn common(
    patterns: &[Looked<'_>],
    around: &Surroundings<'_>,
) -> Result<Vec<Option<Common>>, CompareError> {
    let mut largest: Vec<usize> = (0..patterns.len()).filter(|at| is_looked_for(&patterns[*at])).collect();
    largest.sort_by_key(|at| (std::cmp::Reverse(patterns[*at].count), *at));
    largest.truncate(PATTERNS_MAX);
    let mut all = vec![None; patterns.len()];
    if largest.is_empty() {
        return Ok(all);
    }
    let known = Known::read(largest.iter().map(|at| &patterns[*at]), around)?;
    for at in largest {
        all[at] = of_pattern(&patterns[at], &known, around);
    }
    Ok(all)
}

fn is_looked_for(pattern: &Looked<'_>) -> bool {
    // What did not come, came twice or came elsewhere may have a cause; that something moved has none of its own.
    let kind =
        !matches!(pattern.signature.kind, Kind::BenignReorder | Kind::Refinement | Kind::Died | Kind::NoProgress);
    kind && !pattern.information && pattern.count >= DIFFERING_MIN as u64
}

/// Outputs that were read, with what is known of their causes.
struct Known {
    outputs: BTreeMap<(Drawn, i64), Output>,
    drawn: BTreeMap<Drawn, Vec<i64>>,
    times: BTreeMap<Coordinates, i64>,
    values: BTreeMap<Coordinates, Vec<u8>>,
}

impl Known {
    fn read<'l>(
        patterns: impl Iterator<Item = &'l Looked<'l>>,
        around: &Surroundings<'_>,
    ) -> Result<Self, CompareError> {
        let mut wanted: BTreeMap<Drawn, BTreeSet<i64>> = BTreeMap::new();
        for pattern in patterns {
            pattern.sample.differing().for_each(|(drive, sequence)| {
                wanted.entry(drive).or_default().insert(sequence);
            });
        }
        let mut known =
            Self { outputs: BTreeMap::new(), drawn: BTreeMap::new(), times: BTreeMap::new(), values: BTreeMap::new() };
        for (drive, mut sequences) in wanted {
            let drawn = around.draw.of(drive);
            sequences.extend(&drawn);
            known.drawn.insert(drive, drawn);
            let sequences: Vec<i64> = sequences.into_iter().collect();
            for output in around.drives[drive as usize].read(&sequences)? {
                known.outputs.insert((drive, output.sequence), output);
            }
        }
        let causes: BTreeSet<Coordinates> = known.outputs.values().filter_map(cause).collect();
        if let Some(events) = around.events.filter(|_| !causes.is_empty()) {
            known.times = events.times(&causes)?;
            known.values = events.values(&causes)?;
        }
        Ok(known)
    }

    fn subjects(&self, output: &Output, pattern: &Looked<'_>, rules: &Rules) -> Subjects {
        let mut subjects = Subjects { predicates: BTreeSet::new(), kin: output.key.as_deref().map_or(0, xxh3_64) };
        if output.key.is_none() {
            // Without a key each is of its own kin.
            subjects.kin = output.sequence as u64;
        }
        let mut say = |subject, value: String| {
            if value.chars().count() <= VALUE_MAX {
                subjects.predicates.insert(Predicate { subject, value });
            }
        };
        of_value(output, pattern, rules, &mut say);
        of_key(output.key.as_deref(), &mut say);
        say(Subject::Partition, output.partition.to_string());
        for header in &output.headers {
            let value = header.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
            say(Subject::Header(header.name.clone()), value.unwrap_or("null").to_owned());
        }
        let event = cause(output);
        if let Some(cause) = &output.cause {
            say(Subject::EventPartition, format!("{}/{}", cause.topic, cause.partition));
            say(Subject::Redelivered, if cause.attempt > 0 { "yes" } else { "no" }.to_owned());
        }
        let of_event = event.as_ref().and_then(|event| self.times.get(event)).copied();
        if let Some(ms) = of_event.or(output.timestamp_ms) {
            let time = Moment::of_ms(ms).utc();
            say(Subject::HourOfDay, time.format("%H").to_string());
            say(Subject::Day, time.format("%Y-%m-%d").to_string());
            say(Subject::Hour, time.format("%Y-%m-%dT%H").to_string());
        }
        let value = event.as_ref().and_then(|event| self.values.get(event));
        let said = event.as_ref().zip(value).map(|(event, value)| rules.of(&event.topic).unframed(value).1);
        if let Some(tree) = said.as_deref().and_then(|said| Node::read(said).ok()) {
            fields(&tree, &mut |path, part| {
                let path = path.to_owned();
                match part {
                    Part::There => say(Subject::EventHas(path), "yes".to_owned()),
                    Part::Is(text) => say(Subject::EventField(path), text),
                    Part::Begins(letters) => say(Subject::EventFieldPrefix(path), letters),
                }
            });
        }
        subjects
    }
}

fn cause(output: &Output) -> Option<Coordinates> {
    let cause = output.cause.as_ref()?;
    Some(Coordinates { topic: cause.topic.clone(), partition: cause.partition, offset: cause.offset })
}

/// Says what the members of an output's value are, but for the one that differs and what lies around and within it.
fn of_value(output: &Output, pattern: &Looked<'_>, rules: &Rules, say: &mut impl FnMut(Subject, String)) {
    let Some(value) = output.value.as_deref().filter(|_| output.malformed.is_none()) else { return };
    let (frame, said) = rules.of(&output.topic).unframed(value);
    if let [0, id @ ..] = frame
        && let Ok(id) = <[u8; 4]>::try_from(id)
    {
        say(Subject::Schema, u32::from_be_bytes(id).to_string());
    }
    let Ok(tree) = Node::read(&said) else { return };
    let own = pattern.signature.path.as_deref().unwrap_or("\u{0}");
    let own = own.split("[*]").next().unwrap_or(own);
    let is_own = |path: &str| is_within(path, own) || is_within(own, path);
    fields(&tree, &mut |path, part| {
        if is_own(path) {
            return;
        }
        let path = path.to_owned();
        match part {
            Part::There => say(Subject::Has(path), "yes".to_owned()),
            Part::Is(text) => say(Subject::Field(path), text),
            Part::Begins(letters) => say(Subject::FieldPrefix(path), letters),
        }
    });
}

/// Whether `path` is `outer` or lies within it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What is said of a member.
enum Part {
    /// That it is there.
    There,
    /// What it is, where that is a scalar.
    Is(String),
    /// Letters it begins with, where digits follow them.
    Begins(String),
}

/// Shows each member of a value that has a path of names.
fn fields(tree: &Node<'_>, take: &mut dyn FnMut(&str, Part)) {
    let mut left = FIELDS_MAX;
    places(tree, &mut |path, node| {
        if left == 0 {
            return;
        }
        left -= 1;
        take(path, Part::There);
        if let Some(text) = shown(node) {
            take(path, Part::Is(text));
        }
        if let Node::Text(text) = node
            && let Some(letters) = letters(text)
        {
            take(path, Part::Begins(letters.to_owned()));
        }
    });
}

/// Letters in front of a digit, as `UA` of `UA1545`.
fn letters(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphabetic()).filter(|end| (1..=8).contains(end))?;
    text[end..].starts_with(|c: char| c.is_ascii_digit()).then(|| &text[..end])
}

fn of_key(key: Option<&[u8]>, say: &mut impl FnMut(Subject, String)) {
    let Some(text) = key.and_then(|key| std::str::from_utf8(key).ok()) else { return };
    say(Subject::Key, text.to_owned());
    let parted = text.find(['-', '_', ':', '/', '.', '|', '#', '@', ' ']).map(|end| &text[..end]);
    if let Some(prefix) = parted.filter(|prefix| !prefix.is_empty()).or_else(|| letters(text)) {
        say(Subject::KeyPrefix, prefix.to_owned());
    }
}

fn of_pattern(pattern: &Looked<'_>, known: &Known, around: &Surroundings<'_>) -> Option<Common> {
    let of = |(drive, sequence): (Drawn, i64)| known.outputs.get(&(drive, sequence));
    let looked: Vec<(Drawn, &Output)> =
        pattern.sample.differing().filter_map(|output| Some((output.0, of(output)?))).collect();
    let drive = looked.first()?.0;
    let topic = &looked.first()?.1.topic;
    let subjects = |output: &Output| known.subjects(output, pattern, around.rules);
    let differing: Vec<Subjects> = looked
        .iter()
        .filter(|(own, output)| *own == drive && output.topic == *topic)
        .map(|(_, output)| subjects(output))
        .collect();
    // Only outputs of the same topic say the like.
    let drawn = known.drawn.get(&drive)?.iter();
    let others = drawn.filter(|sequence| !pattern.sample.differs(drive, **sequence));
    let others = others.filter_map(|sequence| of((drive, *sequence))).filter(|output| output.topic == *topic);
    let others: Vec<Subjects> =
        others.filter(|output| output.phase != crate::plan::Phase::WarmUp).map(subjects).collect();
    find(&differing, &others).map(|found| told(&found, pattern.count))
}

fn told(found: &Found, differ: u64) -> Common {
    let conditions: Vec<Condition> = found.predicates.iter().map(condition).collect();
    let text = |condition: &Condition| format!("{} {}", condition.subject, condition.value);
    let what = conditions.iter().map(text).collect::<Vec<_>>().join(" and ");
    let (holds, looked_at) = (found.holds.0 as u64, found.holds.1 as u64);
    let (others_hold, others) = (found.others.0 as u64, found.others.1 as u64);
    let of = if looked_at < differ { " looked at" } else { "" };
    let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
    let hold = if holds == looked_at {
        format!("all {}{of}", count(holds))
    } else {
        format!("{} of {}{of}", count(holds), count(looked_at))
    };
    let rest = if others_hold == 0 { "none".to_owned() } else { rounded(share(others_hold, others)) };
    let says = format!("{what}: {hold}; of {} others looked at {rest}", count(others));
    Common { says, conditions, holds, looked_at, others_hold, others }
}

/// A share in whole percent, or in tenths where it is small.
fn rounded(share: f64) -> String {
    let digits = if share >= 0.1 { 100.0 } else { 1_000.0 };
    percent(((share * digits).round() / digits).max(0.001))
}

fn condition(predicate: &Predicate) -> Condition {
    let subject = match &predicate.subject {
        Subject::Field(path) => path.clone(),
        Subject::EventField(path) => format!("{path} of the event"),
        Subject::Header(name) => format!("header {name}"),
        Subject::Schema => "schema id".to_owned(),
        Subject::Redelivered => "event delivered again:".to_owned(),
        Subject::FieldPrefix(path) => format!("{path} begins with"),
        Subject::EventFieldPrefix(path) => format!("{path} of the event begins with"),
        Subject::Has(path) => format!("has {path}:"),
        Subject::EventHas(path) => format!("event has {path}:"),
        Subject::HourOfDay => "hour of the day (UTC)".to_owned(),
        Subject::Day => "day".to_owned(),
        Subject::Hour => "hour".to_owned(),
        Subject::EventPartition => "partition of the event".to_owned(),
        Subject::Partition => "partition".to_owned(),
        Subject::KeyPrefix => "key begins with".to_owned(),
        Subject::Key => "key".to_owned(),
    };
    Condition { subject, value: predicate.value.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_within_each_other_are_told_from_namesakes() {
        for (path, outer, within) in [
            ("$.a", "$.a", true),
            ("$.a.b", "$.a", true),
            ("$.ab", "$.a", false),
            ("$.a['b']", "$.a", true),
            ("$.a", "$.a.b", false),
        ] {
            assert_eq!(is_within(path, outer), within, "{path} {outer}");
        }
    }

    #[test]
    fn letters_in_front_of_digits_are_a_prefix() {
        assert_eq!(["UA1545", "1545", "UA", "UA-15", "ÄB2"].map(letters), [Some("UA"), None, None, None, Some("ÄB")]);
    }
}
