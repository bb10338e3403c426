//! The outputs of one identity in two drives: which stand for each other, and how they differ.
//!
//! Equal values pair first, in order; of what is left, outputs of one cause pair, then one after the other by occurrence. So one
//! output lost of fifty is one `missing`, not forty-nine `changed`. Each output is in one pair or difference at most; a pair
//! that differs in several ways is counted by the gravest, but a changed value has a finding for each path.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::align::{Aligned, align, pair, part};
use super::drives::{Coordinates, headers_hash, is_stated};
use super::gather::Entry;
use super::rules::{EventTime, Rules};
use super::scan::mix;
use super::topics::Topics;
use super::values::{Found, differences, differences_beyond};
use super::{Change, Kind};
use crate::outcome::{Channel, Output};

/// One output that was read again for close comparison.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) output: Arc<Output>,
    /// What the value says, where a schema describes it.
    decoded: Option<Arc<[u8]>>,
    /// Bytes that frame the value.
    frame_bytes: usize,
    /// Hash of what the value says, tolerated places included.
    said: u64,
    /// The same without tolerated places.
    loose: u64,
    spelled: u64,
    headers: u64,
    /// Topic, key and channel.
    route: u64,
    /// Whether its content stands on every side and this one is beyond that.
    echo: bool,
    /// Whether the drive left it as it stood, and did not write it.
    stood: bool,
    /// Hashes of what each rule ignored, as in [`Entry::ignored`].
    ignored: u64,
}

impl Seen {
    /// Takes an output that stood at `entry`.
    pub(super) fn new(output: Arc<Output>, entry: &Entry, rules: &Rules) -> Self {
        let mut seen = Self::unhashed(output, entry, rules);
        seen.hash(rules);
        seen
    }

    /// Takes an output that stood at `entry`, as far as [`changed_once`] needs it.
    pub(super) fn unhashed(output: Arc<Output>, entry: &Entry, rules: &Rules) -> Self {
        let (frame, value) = rules.of(&output.topic).unframed(output.value.as_deref().unwrap_or_default());
        let (echo, stood, ignored) = (entry.is(Entry::ECHO), entry.is(Entry::STOOD), entry.ignored);
        let frame_bytes = frame.len();
        let decoded = match value {
            Cow::Owned(said) => Some(Arc::from(said)),
            Cow::Borrowed(_) => None,
        };
        Self { output, decoded, frame_bytes, said: 0, loose: 0, spelled: 0, headers: 0, route: 0, echo, stood, ignored }
    }

    /// Whether the drive left it as it stood, and did not write it.
    pub(super) fn stood(&self) -> bool {
        self.stood
    }

    /// Hashes all that outputs are paired and compared by.
    pub(super) fn hash(&mut self, rules: &Rules) {
        let output = &self.output;
        let rules = rules.of(&output.topic);
        let value = self.value().unwrap_or_default();
        let scanned = if output.malformed.is_some() { None } else { rules.scan(value).ok() };
        // The bytes as they were written, not what was read from them: one value has many encodings.
        let bytes = output.value.as_ref().map_or(1, |value| mix(xxh3_64(&value[self.frame_bytes..]), 2));
        let (said, loose, spelled) = scanned.map_or((bytes, bytes, bytes), |scanned| {
            // With ignored places the bytes cannot be compared as a whole; what is left of them is.
            let spelled = if rules.sees_bytes() { bytes } else { scanned.spelled };
            (mix(scanned.said, scanned.tolerated), scanned.said, mix(spelled, scanned.tolerated))
        });
        let headers = output.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
        let headers = headers_hash(headers, &rules.ignore_headers);
        let key = output.key.as_ref().map_or(0, |key| xxh3_64(key) | 1);
        let route = mix(mix(xxh3_64(output.topic.as_bytes()), key), output.channel as u64);
        let spelled = mix(spelled, xxh3_64(self.frame()));
        (self.said, self.loose, self.spelled) = (said, loose, spelled);
        (self.headers, self.route) = (headers, route);
    }

    /// Event behind it, where the build says so.
    pub(super) fn stated_cause(&self) -> Option<Coordinates> {
        stated_cause(&self.output)
    }

    /// Hash of what it says.
    pub(super) fn said(&self) -> u64 {
        self.said
    }

    /// Hashes of what each rule ignored.
    pub(super) fn ignored(&self) -> u64 {
        self.ignored
    }

    fn is_malformed(&self) -> bool {
        self.output.malformed.is_some()
    }

    fn frame(&self) -> &[u8] {
        self.output.value.as_deref().map_or(&[], |value| &value[..self.frame_bytes])
    }

    /// What it says, as JSON where a schema describes it; none for a tombstone.
    pub(super) fn value(&self) -> Option<&[u8]> {
        self.decoded.as_deref().or_else(|| self.output.value.as_deref().map(|value| &value[self.frame_bytes..]))
    }
}

/// Event behind an output, where the build says so.
pub(super) fn stated_cause(output: &Output) -> Option<Coordinates> {
    let cause = output.cause.as_ref().filter(|cause| is_stated(cause.by))?;
    Some(Coordinates { topic: cause.topic.clone(), partition: cause.partition, offset: cause.offset })
}

/// What makes two differences of one pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signature {
    pub(super) kind: Kind,
    pub(super) topic: String,
    pub(super) path: Option<String>,
    pub(super) change: Option<Change>,
}

impl Signature {
    /// Whether it is only told, never judged.
    pub(super) fn is_information(&self, rules: &Rules) -> bool {
        let encoding = self.kind == Kind::Changed && self.change == Some(Change::Encoding) && !rules.settings.bytes;
        let mended = self.kind == Kind::Malformed && self.change == Some(Change::Removed);
        encoding || mended || matches!(self.kind, Kind::Refinement | Kind::BenignReorder)
    }

    /// The signature that a number has whose value changed beyond its precision; any other is its own.
    pub(super) fn beyond_precision(&self) -> Self {
        let change = self.change.map(|change| if change == Change::Precision { Change::Value } else { change });
        Self { change, ..self.clone() }
    }

    /// Whether noise of `other` could make differences of this signature come and go. A stray output makes what another
    /// drive lacks, repeats or has elsewhere, so presence is one thing; a last value rests on all that comes before it.
    pub(super) fn is_moved_by(&self, other: &Self) -> bool {
        if self.topic != other.topic && self.kind != Kind::Rerouted && other.kind != Kind::Rerouted {
            return false;
        }
        let (own, other) = (self.feature(), other.feature());
        let group = |aspect| match aspect {
            Aspect::Route | Aspect::Malformed => Aspect::Presence,
            aspect => aspect,
        };
        match (group(own.aspect), group(other.aspect)) {
            (Aspect::Final, Aspect::Presence | Aspect::Order) => true,
            (Aspect::Final, Aspect::Value) => own.path == other.path,
            (one, another) => one == another && own.path == other.path,
        }
    }

    /// What of an output it is about: drives agree on this or not, whatever the change between two of them is called.
    pub(super) fn feature(&self) -> Feature {
        let aspect = match self.kind {
            Kind::Malformed => Aspect::Malformed,
            Kind::Changed if self.change == Some(Change::Encoding) => Aspect::Encoding,
            Kind::Changed => Aspect::Value,
            Kind::Rerouted => Aspect::Route,
            Kind::Metadata => Aspect::Metadata,
            Kind::Reordered | Kind::BenignReorder => Aspect::Order,
            Kind::Later | Kind::Earlier => Aspect::Time,
            Kind::Refinement => Aspect::Updates,
            Kind::FinalState => Aspect::Final,
            Kind::Effect | Kind::SinkDivergence | Kind::DeadLetter if self.path.is_some() => Aspect::Value,
            Kind::Effect | Kind::SinkDivergence | Kind::DeadLetter if self.change.is_none() => Aspect::Order,
            Kind::Missing
            | Kind::Unseen
            | Kind::Extra
            | Kind::Repeated
            | Kind::Effect
            | Kind::SinkDivergence
            | Kind::DeadLetter => Aspect::Presence,
            Kind::NoProgress | Kind::Died => Aspect::Ending,
        };
        let path = if matches!(aspect, Aspect::Value | Aspect::Final) { self.path.clone() } else { None };
        // Of a route only the part that changed, of metadata likewise: noise in one says nothing of the other.
        let part = if matches!(aspect, Aspect::Route | Aspect::Metadata) { self.change } else { None };
        Feature { aspect, topic: self.topic.clone(), path, part }
    }
}

/// See [`Signature::feature`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Feature {
    aspect: Aspect,
    topic: String,
    path: Option<String>,
    part: Option<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aspect {
    Presence,
    Value,
    Encoding,
    Route,
    Metadata,
    Order,
    Time,
    Updates,
    Final,
    Malformed,
    Ending,
}

/// One difference, with the places of its outputs in both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) signature: Signature,
    pub(super) old: Option<usize>,
    pub(super) new: Option<usize>,
    /// Whether it is the one difference that its outputs are counted by.
    pub(super) counts: bool,
}

/// How two drives differ at one identity.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) findings: Vec<Finding>,
    /// Differences that an expectation covers, with its number. Up to these the two drives agree.
    pub(super) expected: Vec<(u16, Finding)>,
    /// Pairs that do not differ.
    pub(super) equal: Vec<(usize, usize)>,
    /// Differences that tolerances silenced, by their text.
    pub(super) tolerated: BTreeMap<String, u64>,
}

/// Compares one output with one of the same topic and key, where their values differ: then nothing else about them counts, and
/// [`Context::compare`] would find the same. None where it takes a closer look, for which both must be hashed. `is_judged` is whether
/// what is expected of new counts between them.
pub(super) fn changed_once(old: &[Seen], new: &[Seen], rules: &Rules, is_judged: bool) -> Option<Differences> {
    let ([old], [new]) = (old, new) else { return None };
    let (one, other) = (&old.output, &new.output);
    let is_plain = rules.updates.is_empty() && rules.of(&one.topic).keeps_shape();
    let is_same_place = one.channel == other.channel && one.topic == other.topic && one.key == other.key;
    if !is_plain || !is_same_place || old.is_malformed() || new.is_malformed() {
        return None;
    }
    let found = differ(old, new, rules, is_judged);
    let found = found.filter(|found| !found.changes.is_empty() || !found.expected.is_empty())?;
    let mut compared = Differences::default();
    Context::changed((0, old), (0, new), found, &mut compared);
    Some(compared)
}

/// Compares two values; none where one of them is a tombstone.
fn differ(old: &Seen, new: &Seen, rules: &Rules, is_judged: bool) -> Option<Found> {
    let values = old.value().zip(new.value())?;
    let rules = rules.of(&old.output.topic);
    let is_judged = is_judged && !rules.expected().is_empty();
    let judged = is_judged.then(|| Context::finding(Kind::Changed, None, None, Some((0, old)), None).signature);
    Some(differences_beyond(judged.as_ref(), Some(values.0), Some(values.1), rules))
}

/// What the comparison of two drives must know beside their outputs.
#[derive(Debug)]
pub(super) struct Context<'c> {
    pub(super) rules: &'c Rules,
    pub(super) topics: &'c Topics,
    pub(super) times: &'c BTreeMap<Coordinates, i64>,
    /// Whether order counts within the identity.
    pub(super) ordered: bool,
    /// Drives compared.
    pub(super) drives: (usize, usize),
    /// Whether the second drive finished, so that what it lacks is missing.
    pub(super) finished: bool,
    /// Whether the first drive wrote outputs of the identity beside those shown.
    pub(super) wrote_more: bool,
    /// Drives of old: what is expected of new counts between one of these and one behind them.
    pub(super) olds: usize,
}

impl Context<'_> {
    fn is_judged(&self) -> bool {
        self.drives.0 < self.olds && self.drives.1 >= self.olds
    }

    /// Compares the outputs of one identity.
    pub(super) fn compare(&self, old: &[Seen], new: &[Seen]) -> Differences {
        let mut compared = Differences::default();
        let (mut old_free, mut new_free) = (vec![true; old.len()], vec![true; new.len()]);
        let exact = |seen: &Seen| mix(seen.said, seen.route);
        let mut aligned = self.pair_equal(&tokens(old, exact), &tokens(new, exact));
        for (at, to) in aligned.kept.iter().chain(&aligned.moved) {
            (old_free[*at], new_free[*to]) = (false, false);
        }
        let mut old_left: Vec<usize> = (0..old.len()).filter(|at| old_free[*at]).collect();
        let mut new_left: Vec<usize> = (0..new.len()).filter(|to| new_free[*to]).collect();
        if self.rules.tolerates() {
            let near = self.pair_tolerated(old, new, &mut old_left, &mut new_left, &mut compared);
            aligned = self.with_tolerated(aligned, near);
        }
        for (pairs, is_moved) in [(aligned.kept, false), (aligned.moved, true)] {
            for (at, to) in pairs {
                self.equal_pair((at, &old[at]), (to, &new[to]), is_moved, &mut compared);
            }
        }
        self.pair_left(old, new, &mut old_left, &mut new_left, &mut compared);
        self.unpaired(old, new, &old_left, &new_left, &mut compared);
        self.refine(old, new, &mut compared);
        compared
    }

    fn pair_equal(&self, old: &[u64], new: &[u64]) -> Aligned {
        if self.ordered { align(old, new) } else { Aligned { kept: pair(old, new), moved: Vec::new() } }
    }

    /// Pairs outputs that say the same but for tolerated places, where those are near enough.
    fn pair_tolerated(
        &self,
        old: &[Seen],
        new: &[Seen],
        old_left: &mut Vec<usize>,
        new_left: &mut Vec<usize>,
        compared: &mut Differences,
    ) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        old_left.retain(|at| {
            let near = new_left.iter().position(|to| {
                let (one, other) = (&old[*at], &new[*to]);
                one.loose == other.loose
                    && one.route == other.route
                    && differences(one.value(), other.value(), self.rules.of(&one.output.topic)).changes.is_empty()
            });
            let Some(near) = near else { return true };
            let to = new_left.remove(near);
            let rules = self.rules.of(&old[*at].output.topic);
            for (text, count) in differences(old[*at].value(), new[to].value(), rules).tolerated {
                *compared.tolerated.entry(text).or_default() += count;
            }
            pairs.push((*at, to));
            false
        });
        pairs
    }

    /// Joins pairs of equal outputs and pairs that are near enough: where order counts, it counts for both.
    fn with_tolerated(&self, aligned: Aligned, near: Vec<(usize, usize)>) -> Aligned {
        if near.is_empty() {
            return aligned;
        }
        let mut pairs: Vec<(usize, usize)> = aligned.kept.into_iter().chain(aligned.moved).chain(near).collect();
        pairs.sort_unstable();
        if self.ordered { part(pairs) } else { Aligned { kept: pairs, moved: Vec::new() } }
    }

    /// Pairs what is left: the same value elsewhere; then one place by cause, then by occurrence; then one topic likewise.
    fn pair_left(
        &self,
        old: &[Seen],
        new: &[Seen],
        old_left: &mut Vec<usize>,
        new_left: &mut Vec<usize>,
        compared: &mut Differences,
    ) {
        let same_place = |one: &Seen, other: &Seen| one.route == other.route;
        let same_topic = |one: &Seen, other: &Seen| {
            one.output.topic == other.output.topic && one.output.channel == other.output.channel
        };
        let same_cause = |one: &Seen, other: &Seen| {
            one.stated_cause().is_some_and(|cause| other.stated_cause().is_some_and(|twin| twin == cause))
        };
        let fits = |rule: usize, one: &Seen, other: &Seen| match rule {
            0 => one.said == other.said && one.output.channel == other.output.channel,
            1 => same_place(one, other) && same_cause(one, other),
            2 => same_place(one, other),
            3 => same_topic(one, other) && same_cause(one, other),
            _ => same_topic(one, other),
        };
        for rule in 0..5 {
            old_left.retain(|at| {
                let one = &old[*at];
                let found = new_left.iter().position(|to| {
                    let other = &new[*to];
                    !one.is_malformed() && !other.is_malformed() && fits(rule, one, other)
                });
                let Some(found) = found else { return true };
                let to = new_left.remove(found);
                if one.said == new[to].said {
                    self.equal_pair((*at, one), (to, &new[to]), false, compared);
                } else {
                    self.changed_pair((*at, one), (to, &new[to]), compared);
                }
                false
            });
        }
    }

    fn changed_pair(&self, old: (usize, &Seen), new: (usize, &Seen), compared: &mut Differences) {
        let one_is_gone = || Found { changes: vec![("$".to_owned(), Change::Type)], ..Found::default() };
        let found = differ(old.1, new.1, self.rules, self.is_judged()).unwrap_or_else(one_is_gone);
        Self::changed(old, new, found, compared);
    }

    fn changed(old: (usize, &Seen), new: (usize, &Seen), mut found: Found, compared: &mut Differences) {
        for (text, count) in std::mem::take(&mut found.tolerated) {
            *compared.tolerated.entry(text).or_default() += count;
        }
        if found.changes.is_empty() && found.expected.is_empty() {
            // The texts differ in a way that no path shows, such as a name that stands twice.
            found.changes.push(("$".to_owned(), Change::Value));
        }
        compared
            .take(found, |path, change| Self::finding(Kind::Changed, Some(path), Some(change), Some(old), Some(new)));
    }

    /// Takes a pair of the same value; what else differs about it is one difference, the gravest.
    fn equal_pair(&self, old: (usize, &Seen), new: (usize, &Seen), moved: bool, compared: &mut Differences) {
        match self.beside_value(old.1, new.1, moved) {
            Some((kind, change)) => {
                compared.findings.push(Self::finding(kind, None, change, Some(old), Some(new)));
            }
            None => compared.equal.push((old.0, new.0)),
        }
    }

    fn beside_value(&self, old: &Seen, new: &Seen, moved: bool) -> Option<(Kind, Option<Change>)> {
        if old.output.topic != new.output.topic {
            return Some((Kind::Rerouted, Some(Change::Topic)));
        }
        if old.output.key != new.output.key {
            return Some((Kind::Rerouted, Some(Change::Key)));
        }
        let partitioned = |drive| self.topics.is_partitioned(&old.output.topic, drive);
        let is_told = self.rules.production.is_none() && old.output.partition != new.output.partition;
        if is_told && partitioned(self.drives.0) && partitioned(self.drives.1) {
            return Some((Kind::Rerouted, Some(Change::Partition)));
        }
        if moved {
            return Some((Kind::Reordered, None));
        }
        if let Some(later_ms) =
            self.event_time_shift(old, new).filter(|shift| shift.abs() > self.rules.time_tolerance_ms())
        {
            return Some((if later_ms > 0 { Kind::Later } else { Kind::Earlier }, None));
        }
        if old.headers != new.headers {
            return Some((Kind::Metadata, Some(Change::Headers)));
        }
        if self.has_other_timestamp(&old.output, &new.output) {
            return Some((Kind::Metadata, Some(Change::Timestamp)));
        }
        if old.frame() != new.frame() {
            let is_open = |seen: &Seen| {
                let value = seen.output.value.as_deref();
                value.is_some_and(|value| self.rules.of(&seen.output.topic).is_open(value))
            };
            let change = if is_open(old) || is_open(new) { Change::UnknownSchema } else { Change::Encoding };
            return Some((Kind::Metadata, Some(change)));
        }
        (old.said == new.said && old.spelled != new.spelled).then_some((Kind::Changed, Some(Change::Encoding)))
    }

    /// How much later new wrote it than old, in milliseconds of event time; none where it cannot be told.
    fn event_time_shift(&self, old: &Seen, new: &Seen) -> Option<i64> {
        match self.rules.settings.event_time {
            EventTime::Timestamp => Some(new.output.timestamp_ms? - old.output.timestamp_ms?),
            EventTime::Cause => {
                let (old, new) = (old.stated_cause()?, new.stated_cause()?);
                if old == new { None } else { Some(self.times.get(&new)? - self.times.get(&old)?) }
            }
        }
    }

    fn has_other_timestamp(&self, old: &Output, new: &Output) -> bool {
        let judged = self.rules.settings.timestamps && self.rules.settings.event_time == EventTime::Cause;
        judged
            && match (old.timestamp_ms, new.timestamp_ms) {
                (Some(old), Some(new)) => old.abs_diff(new) > self.rules.time_tolerance_ms().unsigned_abs(),
                (old, new) => old.is_some() != new.is_some(),
            }
    }

    fn unpaired(&self, old: &[Seen], new: &[Seen], old_left: &[usize], new_left: &[usize], compared: &mut Differences) {
        for at in old_left {
            let (kind, change) = match &old[*at] {
                _ if !self.finished => (Kind::Unseen, None),
                seen if seen.is_malformed() => (Kind::Malformed, Some(Change::Removed)),
                _ => (Kind::Missing, None),
            };
            compared.findings.push(Self::finding(kind, None, change, Some((*at, &old[*at])), None));
        }
        for to in new_left {
            let (kind, change) = self.surplus(old, new, *to);
            compared.findings.push(Self::finding(kind, None, change, None, Some((*to, &new[*to]))));
        }
    }

    /// Names an output that only the second drive wrote.
    fn surplus(&self, old: &[Seen], new: &[Seen], to: usize) -> (Kind, Option<Change>) {
        let surplus = &new[to];
        if surplus.is_malformed() {
            return (Kind::Malformed, None);
        }
        let wrote = self.wrote_more || surplus.echo || old.iter().any(|one| one.output.topic == surplus.output.topic);
        if !wrote {
            return (Kind::Extra, None);
        }
        let others = || new.iter().enumerate().filter(|(at, _)| *at != to).map(|(_, other)| other).chain(old);
        let change = if surplus.echo || others().any(|other| other.output.value == surplus.output.value) {
            Change::Exact
        } else if others().any(|other| other.said == surplus.said) {
            Change::Semantic
        } else {
            Change::Conflicting
        };
        (Kind::Repeated, Some(change))
    }

    /// Where a topic carries updates and both drives end on the same value, what lies before it is a refinement.
    fn refine(&self, old: &[Seen], new: &[Seen], compared: &mut Differences) {
        if self.rules.updates.is_empty() || compared.findings.is_empty() {
            return;
        }
        let (Some(old_last), Some(new_last)) = (old.last(), new.last()) else { return };
        let same_end = old_last.said == new_last.said
            || differences(old_last.value(), new_last.value(), self.rules.of(&old_last.output.topic))
                .changes
                .is_empty();
        if !same_end {
            return;
        }
        for finding in &mut compared.findings {
            if self.rules.updates.contains(&finding.signature.topic) {
                finding.signature = Signature {
                    kind: Kind::Refinement,
                    topic: finding.signature.topic.clone(),
                    path: None,
                    change: None,
                };
            }
        }
    }

    fn finding(
        kind: Kind,
        path: Option<String>,
        change: Option<Change>,
        old: Option<(usize, &Seen)>,
        new: Option<(usize, &Seen)>,
    ) -> Finding {
        let shown = old.or(new).map(|(_, seen)| seen.output.as_ref());
        let topic = shown.map_or_else(String::new, |output| output.topic.clone());
        let channel = shown.map_or(Channel::Output, |output| output.channel);
        let signature = on_channel(Signature { kind, topic, path, change }, channel);
        Finding { signature, old: old.map(|(at, _)| at), new: new.map(|(at, _)| at), counts: true }
    }
}

/// Names a difference by the channel it is on: calls, rows of sinks and dead letters are told apart from ordinary outputs. Bytes that
/// say the same stay what they are anywhere: a map without an order writes its members otherwise each time its program is started.
pub(super) fn on_channel(signature: Signature, channel: Channel) -> Signature {
    let kind = match channel {
        Channel::Output => return signature,
        Channel::DeadLetter => Kind::DeadLetter,
        Channel::Http => Kind::Effect,
        Channel::Sink => Kind::SinkDivergence,
    };
    if signature.kind == Kind::Unseen || (signature.kind, signature.change) == (Kind::Changed, Some(Change::Encoding)) {
        return signature;
    }
    let change = match signature.kind {
        Kind::Missing => Some(Change::Removed),
        Kind::Extra | Kind::Malformed => Some(Change::Added),
        Kind::Later | Kind::Earlier => Some(Change::Timestamp),
        _ => signature.change,
    };
    Signature { kind, change, ..signature }
}

fn tokens(seen: &[Seen], token: impl Fn(&Seen) -> u64) -> Vec<u64> {
    seen.iter().map(token).collect()
}

impl Differences {
    /// Takes what was found between two values, of which one finding alone counts: one that nothing covers, where there is any.
    fn take(&mut self, found: Found, finding: impl Fn(String, Change) -> Finding) {
        let remains = !found.changes.is_empty();
        for (number, (path, change)) in found.changes.into_iter().enumerate() {
            self.findings.push(Finding { counts: number == 0, ..finding(path, change) });
        }
        for (at, (path, change, number)) in found.expected.into_iter().enumerate() {
            let counts = at == 0 && !remains;
            self.expected.push((number, Finding { counts, ..finding(path, change) }));
        }
    }

    /// Whether nothing differs, not even as expected.
    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.expected.is_empty()
    }

    /// The differences between the last values of a key.
    pub(super) fn of_last((signature, found): (Signature, Found)) -> Self {
        let mut differences = Self::default();
        differences.take(found, |path, change| {
            // Where two last values stand for different things, nothing is said of what they say.
            let (path, change) = if path.is_empty() { (None, None) } else { (Some(path), Some(change)) };
            let signature = Signature { path, change, ..signature.clone() };
            Finding { signature, old: Some(0), new: Some(0), counts: true }
        });
        differences
    }
}

/// Compares the last values of a key, which stand for the same thing: a change for each path. `judged`: they are of old and new,
/// so that what is expected of new counts.
pub(super) fn final_state(old: &Seen, new: &Seen, rules: &Rules, judged: bool) -> (Signature, Found) {
    let signature = Signature { kind: Kind::FinalState, topic: new.output.topic.clone(), path: None, change: None };
    let found = if old.said == new.said {
        Found::default()
    } else {
        differences_beyond(judged.then_some(&signature), old.value(), new.value(), rules.of(&old.output.topic))
    };
    (signature, found)
}

/// Compares the last values of a key, which stand for different things: what the two say is not held against each other.
pub(super) fn other_last(old: &Seen, new: &Seen) -> (Signature, Found) {
    let signature = Signature { kind: Kind::FinalState, topic: new.output.topic.clone(), path: None, change: None };
    let differs = old.said != new.said;
    let changes = if differs { vec![(String::new(), Change::Value)] } else { Vec::new() };
    (signature, Found { changes, ..Found::default() })
}
