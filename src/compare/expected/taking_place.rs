//! Whether expected changes take place: counted where all outputs are read, and where those that differ are read again.
//!
//! An output that is the same in old and new is never compared closely, so what it lacks is told while outcomes are gathered. How
//! many of new's outputs lack a change is counted there for all of them; those of which it is not asked, as nothing of old
//! stands against them or old had what they lack, are taken off again when they are compared.

use std::collections::BTreeMap;

use super::Expectations;
use crate::compare::drives::{Drive, Row};
use crate::compare::engine::{Engine, Totals};
use crate::compare::gather::Entry;
use crate::compare::json::Node;
use crate::compare::matching::{Differences, Seen, Signature, on_channel};
use crate::compare::patterns::{Candidate, Judge, Patterns, Tally, count};
use crate::compare::rules::Rules;
use crate::compare::topics::Topics;
use crate::compare::units::Stretches;
use crate::compare::{Change, CompareError, Kind};
use crate::outcome::Channel;

/// Outputs of a topic that are kept to be shown for what they lack.
const KEPT_MAX: usize = 64;

/// Where outputs went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    topic: String,
    channel: u8,
}

impl Place {
    fn new(topic: &str, channel: Channel) -> Self {
        Self { topic: topic.to_owned(), channel: channel as u8 }
    }
}

/// What was seen of expected changes while outcomes were gathered.
#[derive(Debug, Default)]
pub(in crate::compare) struct Looks {
    /// By expectation, topic and channel: outputs that lack it and that have it, by drive.
    seen: BTreeMap<(u16, u16, u8), Vec<[u64; 2]>>,
    /// Outputs by topic and drive.
    outputs: Vec<Vec<u64>>,
}

impl Looks {
    /// Looks at an output of the topic `topic` in the drive `drive`; tells whether it lacks a change that is asked of it.
    pub(in crate::compare) fn note(&mut self, row: &Row<'_>, topic: u16, drive: usize, rules: &Rules) -> bool {
        let number = usize::from(topic);
        if self.outputs.len() <= number {
            self.outputs.resize(number + 1, Vec::new());
        }
        let of_topic = &mut self.outputs[number];
        if of_topic.len() <= drive {
            of_topic.resize(drive + 1, 0);
        }
        of_topic[drive] += 1;
        let expected = rules.expected();
        if row.malformed || !expected.asks_of(row.topic, row.channel) {
            return false;
        }
        let Some(value) = row.value else { return false };
        let found = expected.look((row.topic, row.channel), &rules.of(row.topic).unframed(value).1);
        for (at, look) in &found {
            let counts = self.seen.entry((*at, topic, row.channel as u8)).or_default();
            if counts.len() <= drive {
                counts.resize(drive + 1, [0; 2]);
            }
            counts[drive][0] += u64::from(look.lacks);
            counts[drive][1] += u64::from(look.has);
        }
        found.iter().any(|(_, look)| look.lacks)
    }

    /// Adds what was seen of another drive, whose topics have `numbers` here.
    pub(in crate::compare) fn add(&mut self, other: Self, numbers: &[u16]) {
        for ((at, topic, channel), counts) in other.seen {
            let own = self.seen.entry((at, numbers[usize::from(topic)], channel)).or_default();
            own.resize(own.len().max(counts.len()), [0; 2]);
            for (own, [lacks, has]) in own.iter_mut().zip(counts) {
                *own = [own[0] + lacks, own[1] + has];
            }
        }
        for (counts, number) in other.outputs.into_iter().zip(numbers) {
            let number = usize::from(*number);
            self.outputs.resize(self.outputs.len().max(number + 1), Vec::new());
            let own = &mut self.outputs[number];
            own.resize(own.len().max(counts.len()), 0);
            own.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
        }
    }
}

/// What the comparison found of expected changes.
#[derive(Debug, Default)]
pub(in crate::compare) struct Found {
    /// What is covered, by expectation.
    covered: BTreeMap<u16, Patterns>,
    /// Outputs of new that lack a change of which it is not asked.
    spared: BTreeMap<(u16, Place), u64>,
    /// Outputs that lack some change, the earliest.
    lacking: BTreeMap<Place, Vec<Candidate>>,
    /// Keys by the number of their topic.
    keys: Vec<u64>,
}

/// What an expectation covers, or asked for in vain.
#[derive(Debug)]
pub(in crate::compare) struct Covered {
    /// Number of the expectation.
    pub(in crate::compare) by: u16,
    pub(in crate::compare) signature: Signature,
    pub(in crate::compare) tally: Tally,
}

/// Where expected changes took place, for all outputs.
#[derive(Debug, Default)]
pub(in crate::compare) struct TakingPlace {
    not_made: BTreeMap<u16, u64>,
    outputs: BTreeMap<String, Vec<u64>>,
    keys: BTreeMap<String, u64>,
}

impl Expectations {
    /// Whether outputs of `topic` are to be looked at.
    fn asks_of(&self, topic: &str, channel: Channel) -> bool {
        self.all.iter().any(|one| one.asks_of(topic, channel))
    }

    /// Looks into a value: what is asked of it, by expectation. Nothing is asked of what is no JSON.
    fn look(&self, (topic, channel): (&str, Channel), value: &[u8]) -> Vec<(u16, super::places::Look)> {
        let Ok(node) = Node::read(value) else { return Vec::new() };
        let asking = self.all.iter().enumerate().filter(|(_, one)| one.asks_of(topic, channel));
        let looked = asking.filter_map(|(at, one)| Some((at as u16, one.places.as_ref()?.look(&node, one.value))));
        looked.collect()
    }
}

impl super::settings::Expectation {
    fn asks_of(&self, topic: &str, channel: Channel) -> bool {
        let kind = changed_on(topic, channel).kind;
        self.in_force
            && self.places.is_some()
            && self.facts.topic.as_ref().is_none_or(|own| own == topic)
            && self.facts.kind.is_none_or(|own| own == kind)
    }
}

/// What a value that changed is on a channel.
fn changed_on(topic: &str, channel: Channel) -> Signature {
    on_channel(Signature { kind: Kind::Changed, topic: topic.to_owned(), path: None, change: None }, channel)
}

impl Engine<'_> {
    /// Counts what is covered among the differences of one identity, and which of its outputs lack what is not asked of them.
    pub(in crate::compare) fn note_expected(&mut self, raw: &Differences, (old, new): (&[Seen], &[Seen])) {
        for (number, finding) in &raw.expected {
            if finding.counts {
                count(&mut self.tally.differences, finding.signature.kind);
            }
            let patterns = self.tally.expected.covered.entry(*number).or_default();
            if let Some(candidate) = Candidate::of(finding, (old, new)) {
                patterns.raw(&finding.signature, candidate);
            }
        }
        let expected = self.rules.expected();
        let mut seen = std::collections::BTreeSet::new();
        let differing = raw.findings.iter().chain(raw.expected.iter().map(|(_, finding)| finding));
        for finding in differing {
            let Some(to) = finding.new.filter(|to| seen.insert(*to)) else { continue };
            let output = &new[to].output;
            let of = (output.topic.as_str(), output.channel);
            if output.malformed.is_some() || !expected.asks_of(of.0, of.1) {
                continue;
            }
            let lacks = |one: &Seen| {
                let looked = one.value().map(|value| expected.look(of, value)).unwrap_or_default();
                looked.into_iter().filter(|(_, look)| look.lacks).map(|(at, _)| at).collect::<Vec<_>>()
            };
            let of_old = finding.old.map(|at| lacks(&old[at]));
            let place = Place::new(of.0, of.1);
            for at in lacks(&new[to]) {
                if of_old.as_ref().is_some_and(|of_old| of_old.contains(&at)) {
                    if let Some(candidate) = Candidate::of(finding, (old, new)) {
                        self.tally.expected.keep(&place, candidate);
                    }
                } else {
                    *self.tally.expected.spared.entry((at, place.clone())).or_default() += 1;
                }
            }
        }
    }

    /// Takes an output that is the same in old and new, the output `new` there, for one of those that lack a change: it is not
    /// what was expected.
    pub(in crate::compare) fn note_unmade(&mut self, topic: &str, old: &Entry, new: i64) {
        let kind = changed_on(topic, old.channel()).kind;
        self.tally.matched = self.tally.matched.saturating_sub(1);
        count(&mut self.tally.differences, kind);
        let candidate = Candidate { at: new, old: Some(old.sequence), new: Some(new), stood: None };
        self.tally.expected.keep(&Place::new(topic, old.channel()), candidate);
    }
}

impl Found {
    /// Counts a key of a topic.
    pub(in crate::compare) fn note_key(&mut self, topic: u16) {
        let number = usize::from(topic);
        if self.keys.len() <= number {
            self.keys.resize(number + 1, 0);
        }
        self.keys[number] += 1;
    }

    fn keep(&mut self, place: &Place, candidate: Candidate) {
        let by_sequence = Candidate { at: candidate.new.unwrap_or_default(), ..candidate };
        let kept = self.lacking.entry(place.clone()).or_default();
        let at = kept.partition_point(|other| *other < by_sequence);
        if at < KEPT_MAX && kept.get(at) != Some(&by_sequence) {
            kept.insert(at, by_sequence);
            kept.truncate(KEPT_MAX);
        }
    }

    /// Ends counting: where changes took place, and a tally for everything that is covered or did not take place, each with its
    /// expectation. The drive of new has the number `new`.
    pub(in crate::compare) fn finish(
        self,
        looks: Looks,
        topics: &Topics,
        (drive, new): (&dyn Drive, usize),
        rules: &Rules,
    ) -> Result<(TakingPlace, Vec<Covered>), CompareError> {
        let Self { covered, spared, lacking, keys } = self;
        let expected = rules.expected();
        let mut found = Vec::new();
        // No test of chance is made of what is expected.
        let judge = Judge { drive: new, drives: new + 1, stretches: Stretches::of(0) };
        for (by, patterns) in covered {
            found.extend(patterns.finish(judge).map(|(signature, tally)| Covered { by, signature, tally }));
        }
        let mut made: BTreeMap<u16, Vec<Place>> = BTreeMap::new();
        for Covered { by, signature, .. } in &found {
            made.entry(*by).or_default().push(Place { topic: signature.topic.clone(), channel: u8::MAX });
        }
        let mut asked = Vec::new();
        for ((number, topic, channel), by_drive) in &looks.seen {
            let [lacks, has] = by_drive.get(new).copied().unwrap_or_default();
            let place = Place { topic: topics.name(*topic).to_owned(), channel: *channel };
            if has > 0 {
                made.entry(*number).or_default().push(place.clone());
            }
            let lacks = lacks.saturating_sub(spared.get(&(*number, place.clone())).copied().unwrap_or_default());
            asked.push((*number, place, lacks));
        }
        // Where no topic is named, it is asked of those in which it takes place at all; of all of them where it does in none.
        asked.retain(|(number, place, lacks)| {
            let named = expected.all[usize::from(*number)].facts.topic.is_some();
            let made = made.get(number);
            let here = made.is_none_or(|made| made.iter().any(|other| other.topic == place.topic));
            *lacks > 0 && (named || here)
        });
        let mut not_made: BTreeMap<u16, u64> = BTreeMap::new();
        for (number, place, lacks) in asked {
            *not_made.entry(number).or_default() += lacks;
            let path = expected.all[usize::from(number)].facts.path.clone();
            let kept = lacking.get(&place).map(Vec::as_slice).unwrap_or_default();
            let channel = channel_of(place.channel);
            let signature = Signature { path, change: Some(Change::NotMade), ..changed_on(&place.topic, channel) };
            let mut tally = Tally::default();
            tally.counts.raw = lacks;
            tally.candidates = lacking_of(number, kept, (drive, channel), rules)?;
            found.push(Covered { by: number, signature, tally });
        }
        let named = |number: usize| topics.name(number as u16).to_owned();
        let outputs = looks.outputs.into_iter().enumerate();
        let outputs = outputs.map(|(number, by_drive)| (named(number), by_drive)).collect();
        let keys = keys.into_iter().enumerate().map(|(number, keys)| (named(number), keys)).collect();
        Ok((TakingPlace { not_made, outputs, keys }, found))
    }
}

fn channel_of(number: u8) -> Channel {
    [Channel::Output, Channel::DeadLetter, Channel::Http, Channel::Sink]
        .into_iter()
        .find(|channel| *channel as u8 == number)
        .unwrap_or(Channel::Output)
}

/// Those of `kept` that lack the change `number`.
fn lacking_of(
    number: u16,
    kept: &[Candidate],
    (drive, channel): (&dyn Drive, Channel),
    rules: &Rules,
) -> Result<Vec<Candidate>, CompareError> {
    let mut sequences: Vec<i64> = kept.iter().filter_map(|candidate| candidate.new).collect();
    sequences.sort_unstable();
    sequences.dedup();
    let mut lacking = Vec::new();
    for output in drive.read(&sequences)? {
        let value = output.value.as_deref().map(|value| rules.of(&output.topic).unframed(value).1);
        let looked = value.map(|value| rules.expected().look((&output.topic, channel), &value)).unwrap_or_default();
        if looked.iter().any(|(at, look)| *at == number && look.lacks) {
            lacking.push(output.sequence);
        }
    }
    let lacks = |candidate: &&Candidate| candidate.new.is_some_and(|new| lacking.binary_search(&new).is_ok());
    Ok(kept.iter().filter(lacks).take(super::super::sightings::EXAMPLES_MAX).copied().collect())
}

impl TakingPlace {
    /// Outputs of new on which the change `number` should have taken place and did not.
    pub(super) fn not_made(&self, number: u16) -> u64 {
        self.not_made.get(&number).copied().unwrap_or_default()
    }

    /// Outputs, or keys, of its topic that could have differed as `signature` says; the drive of new has the number `new`.
    pub(in crate::compare) fn comparable(&self, signature: &Signature, new: usize) -> u64 {
        if signature.kind == Kind::FinalState {
            return self.keys.get(&signature.topic).copied().unwrap_or_default();
        }
        let of_new = matches!(signature.kind, Kind::Extra | Kind::Repeated | Kind::Malformed)
            || signature.path.is_none() && signature.change == Some(Change::Added);
        let drive = if of_new { new } else { 0 };
        self.outputs.get(&signature.topic).and_then(|by_drive| by_drive.get(drive)).copied().unwrap_or_default()
    }
}

impl Totals {
    /// Takes what was found of expected changes.
    pub(in crate::compare) fn take_expected(&mut self) -> Found {
        std::mem::take(&mut self.expected)
    }
}
