//! Identity by identity: what agrees is counted and forgotten, what does not is read again, compared drive with drive, and
//! counted by pattern.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::align::align;
use super::bounds::Bounds;
use super::buckets::{BUCKETS, Buckets};
use super::cause::{Difference, Draw};
use super::drives::{Coordinates, Drive, EventTimes};
use super::expected::Found;
use super::filed::{Bucket, Filed, Keyed};
use super::gather::{Entry, is_ordered, silencers};
use super::giants::{pair, said};
use super::matching::{
    Context, Differences, Feature, Finding, Seen, Signature, final_state, on_channel, other_last, stated_cause,
};
use super::order::{self, Marks, Pair};
use super::patterns::{Candidate, Odd, Patterns, count};
use super::rules::{EventTime, Order, Rules};
use super::scan::mix;
use super::sorted::Sorter;
use super::state::{self, State, Way};
use super::strays::{Stray, Strays, Tag};
use super::threads::{one_ahead, side_by_side, two_ahead};
use super::topics::Topics;
use super::units::{Place, Stretches};
use super::watched::go_on;
use super::{CompareError, Kind};
use crate::outcome::{Channel, Ending, Output};
use crate::spill::SpillSpace;

/// Outputs read again at a time.
const READ_MAX: usize = 1 << 16;

/// Outputs that wait to be read again: the more, the fewer times outcomes are gone through.
const WAITING_MAX: usize = 1 << 19;

/// Outputs without any identity that wait to be paired.
const ANONYMOUS_MAX: usize = 1 << 19;

/// Compares identities and keeps count.
pub(super) struct Engine<'a> {
    pub(super) drives: &'a [&'a dyn Drive],
    /// Drives of old; the next one is new, then perhaps new again.
    pub(super) olds: usize,
    pub(super) rules: &'a Rules,
    times: Option<&'a dyn EventTimes>,
    topics: Topics,
    last: Vec<i64>,
    stretches: Stretches,
    jobs: Vec<Job>,
    waiting: usize,
    pub(super) anonymous: Vec<Entry>,
    strays: Strays,
    pub(super) spill: &'a SpillSpace,
    pub(super) bounds: Bounds,
    pairs: Buckets<'a, Pair>,
    reordered: Marks,
    /// What was counted.
    pub(super) tally: Totals,
}

/// What was counted over all identities.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) patterns: Patterns,
    pub(super) identities: u64,
    pub(super) matched: u64,
    pub(super) differences: BTreeMap<Kind, u64>,
    pub(super) noise: BTreeMap<Kind, u64>,
    pub(super) silenced: BTreeMap<String, u64>,
    /// Identities by topic.
    pub(super) compared: BTreeMap<String, u64>,
    /// Equal outputs whose order was looked at, how many came late in new, and how far the latest fell behind.
    pub(super) ordered: u64,
    pub(super) late: u64,
    pub(super) extent: u64,
    /// Identities and keys of so many outputs in such disorder that the fewest that moved were not found.
    pub(super) moved_at_most: u64,
    /// What outputs amount to.
    pub(super) state: State,
    /// Differences that lie at the slice's edges.
    pub(super) at_edges: u64,
    /// What was found of expected changes.
    pub(super) expected: Found,
    compared_by_number: Vec<u64>,
}

/// Outputs to be read again and compared.
pub(super) struct Job {
    pub(super) entries: Vec<Entry>,
    pub(super) what: What,
}

impl Job {
    /// Whether it is one output of either of two drives, whose values are likely all that differs.
    fn may_be_changed_once(&self, drives: usize) -> bool {
        let is_one_each = matches!(self.entries.as_slice(), [old, new] if (old.drive, new.drive) == (0, 1));
        drives == 2 && is_one_each && matches!(self.what, What::Identity { .. })
    }
}

/// Reads all outputs of `jobs`, drives side by side; `production` wrote what stood there before.
fn read_again(jobs: &[Job], drives: &[&dyn Drive], production: usize) -> Result<Vec<Vec<Output>>, CompareError> {
    side_by_side(drives.len(), |number| {
        let of_drive = jobs.iter().flat_map(|job| &job.entries).filter(|entry| written_by(entry, production) == number);
        let mut sequences: Vec<i64> = of_drive.map(|entry| entry.sequence).collect();
        sequences.sort_unstable();
        sequences.dedup();
        drives[number].read(&sequences)
    })
}

/// Outputs of one drive that were read again.
struct Again {
    outputs: Vec<Rc<Output>>,
    /// Sequences of `outputs`, ascending, by themselves: they are looked through more often than what stands at them.
    sequences: Vec<i64>,
}

impl Again {
    fn new(outputs: Vec<Output>) -> Self {
        let sequences = outputs.iter().map(|output| output.sequence).collect();
        Self { outputs: outputs.into_iter().map(Rc::new).collect(), sequences }
    }

    fn find(&self, sequence: i64) -> Result<&Rc<Output>, CompareError> {
        let first = self.sequences.first().copied().unwrap_or_default();
        // Where all outputs were read, none is missing in between.
        let direct = usize::try_from(sequence.wrapping_sub(first)).ok();
        let direct = direct.filter(|at| self.sequences.get(*at) == Some(&sequence));
        let at = direct.map_or_else(|| self.sequences.binary_search(&sequence), Ok);
        at.map(|at| &self.outputs[at]).map_err(|_| CompareError::Vanished { sequence })
    }
}

/// The drive whose outcome holds what stands at `entry`.
fn written_by(entry: &Entry, production: usize) -> usize {
    if entry.is(Entry::STOOD) { production } else { usize::from(entry.drive) }
}

pub(super) enum What {
    /// All outputs of an identity, or a window of them; drives that wrote more of it.
    Identity { wrote_more: u64, ordered: bool },
    /// The last output of a key in each drive, and how old and new came to it.
    Final(Way),
    /// The row of a key in each drive that has one.
    Row,
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        drives: &'a [&'a dyn Drive],
        olds: usize,
        rules: &'a Rules,
        times: Option<&'a dyn EventTimes>,
        (topics, last): (Topics, Vec<i64>),
        (bounds, spill): (Bounds, &'a SpillSpace),
    ) -> Self {
        let mut tally = Totals::default();
        tally.patterns.draw = Draw::new(last[0], last[olds]);
        let stretches = Stretches::of(last.iter().max().map_or(0, |last| last + 1));
        Self {
            drives,
            olds,
            rules,
            times,
            topics,
            last,
            stretches,
            jobs: Vec::new(),
            waiting: 0,
            anonymous: Vec::new(),
            strays: Strays::default(),
            spill,
            bounds,
            pairs: Buckets::new(rules.settings.memory << 17, spill),
            reordered: Marks::default(),
            tally,
        }
    }

    /// Compares all identities.
    pub(super) fn identities(&mut self, mut filed: Filed<'_>) -> Result<(), CompareError> {
        let (held, spill) = (self.bounds.held, self.spill);
        let key: fn(&Entry) -> (u128, u8, i64) = |entry| (entry.identity, entry.drive, entry.sequence);
        let keyed = Keyed { key, lead: |entry| (entry.identity >> 56) as u64 };
        let load = |bucket| filed.load(bucket, key, held, spill);
        two_ahead(
            BUCKETS,
            load,
            |loaded| loaded.sorted(keyed),
            |bucket| match bucket {
                Bucket::Small(entries) => {
                    entries.chunk_by(|one, other| one.identity == other.identity).try_for_each(|group| {
                        go_on(spill)?;
                        self.identity(group)
                    })
                }
                Bucket::Large(entries) => entries.groups(
                    |entry| entry.identity,
                    held,
                    |group| {
                        go_on(spill)?;
                        if group.count()? > held as u64 {
                            return self.giant(&group);
                        }
                        self.identity(&group.each().collect::<Result<Vec<_>, _>>()?)
                    },
                ),
            },
        )?;
        self.pair_anonymous()?;
        self.work()
    }

    /// Compares order and last values within subsets, where those are not the identities.
    pub(super) fn subsets(&mut self, mut filed: Filed<'_>) -> Result<(), CompareError> {
        let (held, spill) = (self.bounds.held, self.spill);
        let is_ordered = self.rules.settings.order == Order::Key;
        let keyed = Keyed { key: in_subset, lead: |entry: &Entry| entry.subset << 8 };
        let load = |bucket| filed.load(bucket, in_subset, held, spill);
        two_ahead(
            BUCKETS,
            load,
            |loaded| loaded.sorted(keyed),
            |bucket| match bucket {
                Bucket::Small(entries) => {
                    entries.chunk_by(|one, other| one.subset == other.subset).try_for_each(|group| {
                        go_on(spill)?;
                        self.subset(group)
                    })
                }
                Bucket::Large(entries) => entries.groups(
                    |entry| entry.subset,
                    held,
                    |group| {
                        go_on(spill)?;
                        if group.count()? > held as u64 {
                            return self.giant_subset(&group, is_ordered);
                        }
                        self.subset(&group.each().collect::<Result<Vec<_>, _>>()?)
                    },
                ),
            },
        )?;
        self.work()
    }

    fn subset(&mut self, group: &[Entry]) -> Result<(), CompareError> {
        let sides = self.sides(group);
        self.note_key(&group[0]);
        if sides[1..].iter().all(|side| contents(side).eq(contents(sides[0]))) {
            return Ok(());
        }
        self.push_final_of(&sides)?;
        if self.rules.settings.order == Order::Key { self.subset_order(&sides, said) } else { Ok(()) }
    }

    /// Ends the comparison: strays are settled and order across identities is measured.
    pub(super) fn finish(mut self) -> Result<(Totals, Topics), CompareError> {
        std::mem::take(&mut self.strays).settle(&mut self.tally);
        self.total_order()?;
        for (number, compared) in self.tally.compared_by_number.iter().enumerate() {
            self.tally.compared.insert(self.topics.name(number as u16).to_owned(), *compared);
        }
        Ok((self.tally, self.topics))
    }

    fn sides<'g>(&self, group: &'g [Entry]) -> Vec<&'g [Entry]> {
        let mut rest = group;
        (0..self.drives.len())
            .map(|drive| {
                let (side, others) = rest.split_at(rest.partition_point(|entry| usize::from(entry.drive) <= drive));
                rest = others;
                side
            })
            .collect()
    }

    fn identity(&mut self, group: &[Entry]) -> Result<(), CompareError> {
        if self.is_one_each(group) {
            if group.iter().all(|entry| entry.content == group[0].content) {
                return self.agreed_once(group);
            }
            if !group[0].is(Entry::ANONYMOUS) && group.len() <= self.bounds.group {
                return self.differs_once(group);
            }
        }
        let sides = self.sides(group);
        let was_compared = !sides[0].is_empty() || !sides[self.olds].is_empty();
        self.note_identity(group, was_compared);
        self.note_key_of(group);
        let ordered = is_ordered(&group[0], self.rules);
        let agrees = agrees(&sides, ordered);
        // Where keys are not the identities, last values are compared key by key.
        if !(agrees && (ordered || sides[0].len() == 1)) && !self.rules.has_identity() && group[0].subset != 0 {
            self.push_final_of(&sides)?;
        }
        if agrees {
            return self.agreed(&sides, ordered);
        }
        if group[0].is(Entry::ANONYMOUS) {
            return self.keep_anonymous(&sides);
        }
        if ordered && self::agrees(&sides, false) {
            // The same outputs in another order: nothing of them needs to be read.
            self.agreed(&sides, false)?;
            return self.subset_order(&sides, |entry| entry.content);
        }
        if group.len() > self.bounds.group {
            return self.windows(&sides, ordered);
        }
        self.push(Job { entries: group.to_vec(), what: What::Identity { wrote_more: 0, ordered } })
    }

    /// Whether each drive wrote the identity once.
    fn is_one_each(&self, group: &[Entry]) -> bool {
        group.len() == self.drives.len() && group.iter().zip(0..).all(|(entry, drive)| entry.drive == drive)
    }

    /// Counts an identity that each drive wrote once and in the same way, as most are.
    fn agreed_once(&mut self, row: &[Entry]) -> Result<(), CompareError> {
        self.note_compared(true, [row[0].topic]);
        self.note_key_of(row);
        self.tally.matched += 1;
        self.row(row)
    }

    /// Compares an identity that each drive wrote once, and not in the same way.
    fn differs_once(&mut self, row: &[Entry]) -> Result<(), CompareError> {
        self.note_identity(row, true);
        self.note_key_of(row);
        let ordered = is_ordered(&row[0], self.rules);
        self.push(Job { entries: row.to_vec(), what: What::Identity { wrote_more: 0, ordered } })
    }

    fn note_key_of(&mut self, group: &[Entry]) {
        if !self.rules.has_identity() && group[0].subset != 0 {
            self.note_key(&group[0]);
        }
    }

    fn note_identity(&mut self, group: &[Entry], was_compared: bool) {
        let starts = group.chunk_by(|one, other| one.topic == other.topic).map(|run| &run[0]);
        // An identity with outputs in several topics counts once in each.
        let topics = starts.filter(|start| {
            let first = group.iter().find(|other| other.topic == start.topic);
            first.is_some_and(|first| std::ptr::eq(first, *start))
        });
        self.note_compared(was_compared, topics.map(|first| first.topic));
    }

    /// Counts an identity that has outputs in these topics, each of them once.
    pub(super) fn note_compared(&mut self, was_compared: bool, topics: impl IntoIterator<Item = u16>) {
        self.tally.identities += u64::from(was_compared);
        for topic in topics {
            let number = usize::from(topic);
            if self.tally.compared_by_number.len() <= number {
                self.tally.compared_by_number.resize(number + 1, 0);
            }
            self.tally.compared_by_number[number] += 1;
        }
    }

    /// Counts an identity on which all drives agree.
    fn agreed(&mut self, sides: &[&[Entry]], ordered: bool) -> Result<(), CompareError> {
        self.tally.matched += sides[0].len() as u64;
        if ordered || sides[0].len() == 1 {
            return self.common(sides);
        }
        let sorted: Vec<Vec<Entry>> = sides.iter().map(|side| by_content(side)).collect();
        self.common(&sorted.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Notes outputs that stand on every side, the n-th of each side being equal.
    fn common(&mut self, sides: &[&[Entry]]) -> Result<(), CompareError> {
        let mut row = Vec::with_capacity(sides.len());
        for at in 0..sides[0].len() {
            row.clear();
            row.extend(sides.iter().map(|side| side[at]));
            self.row(&row)?;
        }
        Ok(())
    }

    /// Notes an output that stands on every side.
    pub(super) fn row(&mut self, row: &[Entry]) -> Result<(), CompareError> {
        let others =
            if self.rules.settings.order == Order::Total { 1..self.drives.len() } else { self.olds..self.olds + 1 };
        for drive in others {
            self.push_pair(&row[0], drive, row[drive].sequence)?;
        }
        self.note_ignored(row[0].ignored, row[self.olds].ignored, row[0].topic);
        if row[0].is(Entry::LACKS) && row[self.olds].is(Entry::LACKS) {
            self.unmade(&row[0], row[self.olds].sequence);
        }
        Ok(())
    }

    /// Notes an output that is the same in old and new and lacks a change that is expected of it.
    fn unmade(&mut self, old: &Entry, new: i64) {
        let topic = self.topics.name(old.topic).to_owned();
        self.note_unmade(&topic, old, new);
    }

    /// Counts the key of an entry.
    pub(super) fn note_key(&mut self, of: &Entry) {
        self.tally.expected.note_key(of.topic);
    }

    fn push_pair(&mut self, old: &Entry, drive: usize, other: i64) -> Result<(), CompareError> {
        let (topic, channel) = (old.topic, old.channel());
        let pair = Pair { old: old.sequence, other, topic, drive: drive as u8, channel, more: 0 };
        self.pairs.push(order::bucket(other, self.last[drive]), pair)
    }

    /// Counts which rules of a topic made nothing of something in two outputs that are equal by them.
    fn note_ignored(&mut self, old: u64, new: u64, topic: u16) {
        if old == new {
            return;
        }
        let rules = self.rules.of(self.topics.name(topic));
        for text in silencers(old ^ new, rules) {
            if let Some(count) = self.tally.silenced.get_mut(text) {
                *count += 1;
            } else {
                self.tally.silenced.insert(text.to_owned(), 1);
            }
        }
    }

    // ---- outputs without an identity ----

    /// Keeps what not every drive wrote; what all wrote is counted.
    fn keep_anonymous(&mut self, sides: &[&[Entry]]) -> Result<(), CompareError> {
        let common = sides.iter().map(|side| side.len()).min().unwrap_or_default();
        self.tally.matched += common as u64;
        self.common(&sides.iter().map(|side| &side[..common]).collect::<Vec<_>>())?;
        let echo = if common > 0 { Entry::ECHO } else { 0 };
        let left = sides.iter().flat_map(|side| &side[common..]);
        self.anonymous.extend(left.map(|entry| Entry { flags: entry.flags | echo, ..*entry }));
        self.pair_many_anonymous()
    }

    /// Pairs outputs without an identity where many wait.
    pub(super) fn pair_many_anonymous(&mut self) -> Result<(), CompareError> {
        if self.anonymous.len() > ANONYMOUS_MAX { self.pair_anonymous() } else { Ok(()) }
    }

    /// Pairs outputs without an identity: first the same values, then what drives wrote in place of each other by occurrence.
    fn pair_anonymous(&mut self) -> Result<(), CompareError> {
        let mut entries = std::mem::take(&mut self.anonymous);
        let token = |entry: &Entry| mix(entry.value, u64::from(entry.topic) << 8 | entry.channel() as u64);
        entries.sort_unstable_by_key(|entry| (token(entry), entry.drive, entry.sequence));
        let mut rows: Vec<Vec<Entry>> = Vec::new();
        for group in entries.chunk_by(|one, other| token(one) == token(other)) {
            let sides = self.sides(group);
            let most = sides.iter().map(|side| side.len()).max().unwrap_or_default();
            rows.extend((0..most).map(|at| sides.iter().filter_map(|side| side.get(at).copied()).collect()));
        }
        rows.sort_unstable_by_key(|row: &Vec<Entry>| {
            (row.iter().map(|entry| entry.sequence).min(), row.first().map(token))
        });
        for entries in merge(rows) {
            self.push(Job { entries, what: What::Identity { wrote_more: 0, ordered: false } })?;
        }
        Ok(())
    }

    // ---- identities of very many outputs ----

    /// Sets aside what all drives wrote of a large identity and compares the rest window by window.
    fn windows(&mut self, sides: &[&[Entry]], ordered: bool) -> Result<(), CompareError> {
        let sorted: Vec<Vec<Entry>> = sides.iter().map(|side| by_content(side)).collect();
        let (mut common, mut left) = (vec![Vec::new(); sides.len()], vec![Vec::new(); sides.len()]);
        let mut places = vec![0; sides.len()];
        loop {
            let next = |(side, at): (&Vec<Entry>, &usize)| side.get(*at).map(|entry| entry.content);
            let Some(content) = sorted.iter().zip(&places).filter_map(next).min() else { break };
            let runs: Vec<usize> = sorted
                .iter()
                .zip(&places)
                .map(|(side, at)| side[*at..].iter().take_while(|entry| entry.content == content).count())
                .collect();
            let shared = runs.iter().copied().min().unwrap_or_default();
            for (drive, run) in runs.into_iter().enumerate() {
                let from = places[drive];
                common[drive].extend_from_slice(&sorted[drive][from..from + shared]);
                let echo = if shared > 0 { Entry::ECHO } else { 0 };
                let rest = sorted[drive][from + shared..from + run].iter();
                left[drive].extend(rest.map(|entry| Entry { flags: entry.flags | echo, ..*entry }));
                places[drive] += run;
            }
        }
        self.tally.matched += common[0].len() as u64;
        self.common(&common.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        if ordered {
            for side in &mut common {
                side.sort_unstable_by_key(|entry| entry.sequence);
            }
            self.subset_order(&common.iter().map(Vec::as_slice).collect::<Vec<_>>(), |entry| entry.content)?;
        }
        for side in &mut left {
            side.sort_unstable_by_key(|entry| entry.sequence);
        }
        let wrote_more = (0..sides.len()).fold(0, |set, drive| set | u64::from(!sides[drive].is_empty()) << drive);
        let most = left.iter().map(Vec::len).max().unwrap_or_default();
        for from in (0..most).step_by(self.bounds.window) {
            let entries =
                left.iter().flat_map(|side| side.iter().skip(from).take(self.bounds.window).copied()).collect();
            self.push(Job { entries, what: What::Identity { wrote_more, ordered } })?;
        }
        Ok(())
    }

    // ---- order and last values of subsets ----

    fn push_final_of(&mut self, sides: &[&[Entry]]) -> Result<(), CompareError> {
        let (old, new) = (sides[0], sides[self.olds]);
        let is_updated = sides.iter().any(|side| side.len() > 1);
        let way = if is_updated {
            Way::of((old.len() as u64, old.iter().copied().map(Ok)), (new.len() as u64, new.iter().copied().map(Ok)))?
        } else {
            Way::Same
        };
        let lasts = sides.iter().filter_map(|side| side.last().copied()).collect();
        self.push_final(lasts, is_updated, way)
    }

    pub(super) fn push_final(&mut self, lasts: Vec<Entry>, is_updated: bool, way: Way) -> Result<(), CompareError> {
        let differ = lasts.windows(2).any(|two| two[0].content != two[1].content);
        if is_updated && differ {
            return self.push(Job { entries: lasts, what: What::Final(way) });
        }
        if is_updated {
            self.note_way(&lasts, way);
        }
        Ok(())
    }

    /// Notes how old and new came to the last value of a key that both wrote.
    fn note_way(&mut self, lasts: &[Entry], way: Way) {
        let of = |drive: usize| lasts.iter().find(|last| usize::from(last.drive) == drive);
        // Against what production wrote the edges of the slice end keys on other values by themselves.
        let judged = self.rules.production.is_none() && self.are_through();
        if let (true, Some(_), Some(new)) = (judged, of(0), of(self.olds)) {
            self.tally.state.note(new.topic, way);
        }
    }

    /// Whether old and new finished, so that what they wrote last is the last.
    fn are_through(&self) -> bool {
        [0, self.olds].iter().all(|drive| self.drives[*drive].ending() == Ending::Finished)
    }

    // ---- tables ----

    /// Compares the rows that updates leave.
    pub(super) fn tables(&mut self, mut filed: Filed<'_>) -> Result<(), CompareError> {
        let (held, spill) = (self.bounds.held, self.spill);
        let keyed = Keyed { key: in_subset, lead: |entry: &Entry| entry.subset << 8 };
        let load = |bucket| filed.load(bucket, in_subset, held, spill);
        two_ahead(
            BUCKETS,
            load,
            |loaded| loaded.sorted(keyed),
            |bucket| match bucket {
                Bucket::Small(entries) => {
                    entries.chunk_by(|one, other| one.subset == other.subset).try_for_each(|group| {
                        go_on(spill)?;
                        self.row_of_table(Rows::of(group.iter().map(|entry| Ok(*entry)), self.rules, self.olds)?)
                    })
                }
                Bucket::Large(entries) => entries.groups(
                    |entry| entry.subset,
                    held,
                    |group| {
                        go_on(spill)?;
                        self.row_of_table(Rows::of(group.each(), self.rules, self.olds)?)
                    },
                ),
            },
        )?;
        self.work()
    }

    /// Compares the rows of one key.
    fn row_of_table(&mut self, rows: Rows) -> Result<(), CompareError> {
        let Some(topic) = rows.lasts.first().map(|last| last.topic) else { return Ok(()) };
        let (name, production) = (self.topics.name(topic), self.rules.production.as_ref());
        let untold = production.is_some_and(|production| production.untold(name).is_some());
        let may_have_row = production.is_some_and(|production| production.may_have_row(name));
        let judged = self.are_through() && !untold;
        let unknown = may_have_row && !rows.of_production;
        let rows = rows.left_by_all(self.drives.len());
        let has = |drive: usize| rows.iter().any(|row| usize::from(row.drive) == drive);
        let sides = (has(0), has(self.olds));
        self.tally.state.row(topic, sides, judged);
        self.note_compared(sides.0 || sides.1, [topic]);
        if unknown && judged {
            self.tally.state.row_is_untold(topic, sides);
            return Ok(());
        }
        let agree = rows.is_empty()
            || rows.len() == self.drives.len() && rows.windows(2).all(|two| two[0].value == two[1].value);
        if agree || !judged { Ok(()) } else { self.push(Job { entries: rows, what: What::Row }) }
    }

    /// Compares the rows of one key, read again.
    fn compare_rows(&mut self, sides: &[Vec<Seen>], topic: u16) {
        let mut compared = Compared::new(sides.len());
        for one in 0..sides.len() {
            for other in (0..sides.len()).filter(|other| *other != one) {
                let (old, new) = (sides[one].first(), sides[other].first());
                let mut found = state::rows(old, new, self.rules, self.is_judged((one, other)));
                if let Some(production) = &self.rules.production {
                    let left_out = production.leave_out(&mut found, (&sides[one], &sides[other]));
                    self.tally.at_edges += if (one, other) == (0, self.olds) { left_out } else { 0 };
                }
                compared.set((one, other), found);
            }
        }
        if let Some(first) = compared.between(0, self.olds).findings.first() {
            self.tally.state.row_differs(topic, &first.signature);
        }
        self.note_lasts(sides, &compared);
    }

    /// Compares the order of the outputs of one subset; those of one `token` stand for each other.
    fn subset_order(&mut self, sides: &[&[Entry]], token: impl Fn(&Entry) -> u64) -> Result<(), CompareError> {
        let tokens: Vec<Vec<u64>> = sides.iter().map(|side| side.iter().map(&token).collect()).collect();
        let moved = |one: usize, other: usize| align(&tokens[one], &tokens[other]).moved;
        let Some(first) = sides.iter().find_map(|side| side.first()) else { return Ok(()) };
        let raw = moved(0, self.olds);
        for (at, to) in &raw {
            let (old, new) = (&sides[0][*at], &sides[self.olds][*to]);
            self.note_moved(&pair(old, new, self.olds), old.content == new.content);
        }
        self.note_order(first, raw.len() as u64, |one, other| Ok(moved(one, other).len() as u64))
    }

    fn reordered(&self, topic: u16, channel: Channel) -> Signature {
        let topic = self.topics.name(topic).to_owned();
        on_channel(Signature { kind: Kind::Reordered, topic, path: None, change: None }, channel)
    }

    /// Counts an output that stands elsewhere among the others of its subset; `alike` tells whether nothing else differs.
    pub(super) fn note_moved(&mut self, moved: &Pair, alike: bool) {
        let found = self.reordered(moved.topic, moved.channel);
        // Of others something else differs as well, so that they were not counted as matched.
        let was_matched = self.rules.tolerates() || alike;
        self.tally.matched = self.tally.matched.saturating_sub(u64::from(was_matched));
        count(&mut self.tally.differences, found.kind);
        let candidate = Candidate { at: moved.other, old: Some(moved.old), new: Some(moved.other), stood: None };
        self.tally.patterns.raw(&found, candidate);
        self.reordered.set(moved.other);
    }

    /// Finds which drive is odd in the order of a subset: `raw` outputs moved between old and new, and `moved` tells how many
    /// did between other drives.
    pub(super) fn note_order(
        &mut self,
        first: &Entry,
        raw: u64,
        moved: impl Fn(usize, usize) -> Result<u64, CompareError>,
    ) -> Result<(), CompareError> {
        let turned = self.turned();
        if self.olds < 2 && !turned {
            return Ok(());
        }
        let found = self.reordered(first.topic, first.channel());
        let mut between = BTreeMap::new();
        let drives = if turned { self.drives.len() } else { self.olds + 1 };
        for one in 0..drives {
            for other in one + 1..drives {
                between.insert((one, other), if (one, other) == (0, self.olds) { raw } else { moved(one, other)? });
            }
        }
        // Of drives that say what the noise is, the first two; of new against production those are new's.
        let noise = between[&if turned { (1, 2) } else { (0, 1) }];
        let (judged, first_noisy) = if turned { (0, 1) } else { (self.olds, 0) };
        self.tally.patterns.tally(&found).counts.noise += noise;
        if noise > 0 {
            *self.tally.noise.entry(found.kind).or_default() += noise;
        }
        match odd(drives, |one, other| between[&(one, other)] == 0) {
            Agreement::Odd(drive) => {
                let is_again = !turned && drive == self.olds && self.drives.len() > self.olds + 1;
                let recurred = is_again && moved(self.olds, self.olds + 1)? == 0;
                self.tally.patterns.odd(&found, Odd { drive, new: judged, recurred, place: self.place_of(first) });
                self.tally.patterns.tally(&found).counts.first_odd += if drive == first_noisy { raw } else { 0 };
            }
            Agreement::None => self.tally.patterns.tally(&found).counts.odd_all += 1,
            Agreement::All | Agreement::Mixed => {}
        }
        Ok(())
    }

    /// Measures order across all outputs: where order is total, late outputs are reordered, else the swap is benign.
    fn total_order(&mut self) -> Result<(), CompareError> {
        let is_total = self.rules.settings.order == Order::Total;
        let new = self.olds as u8;
        // Pairs of different drives stand between each other here, so none stands for several.
        let key = |pair: &Pair| (pair.old, pair.drive);
        let mut late = Sorter::new(key, self.bounds.held, self.spill).one_by_one();
        let (tally, reordered, topics) = (&mut self.tally, &self.reordered, &self.topics);
        // What moved within its subset is counted there; left out here, it makes nothing else seem late.
        // A snapshot comes in any order, unless somebody asks for its own.
        let moved =
            |pair: &Pair| pair.channel == Channel::Sink && !is_total || pair.drive == new && reordered.has(pair.other);
        // Where one side is shuffled, nearly every output is late: the number of its pattern is looked up once a topic.
        let mut benign: BTreeMap<u16, usize> = BTreeMap::new();
        order::lateness(&mut self.pairs, self.drives.len(), (self.bounds.held, self.spill), moved, |pair, behind| {
            if pair.drive == new {
                tally.ordered += 1;
                tally.late += u64::from(behind > 0);
                tally.extent = tally.extent.max(behind);
            }
            if behind > 0 && is_total {
                late.push(*pair)?;
            } else if behind > 0 && pair.drive == new {
                let number = *benign.entry(pair.topic).or_insert_with(|| {
                    let topic = topics.name(pair.topic).to_owned();
                    tally.patterns.number(&Signature { kind: Kind::BenignReorder, topic, path: None, change: None })
                });
                let candidate = Candidate { at: pair.other, old: Some(pair.old), new: Some(pair.other), stood: None };
                tally.patterns.raw_at(number, candidate);
            }
            Ok(())
        })?;
        if !is_total && tally.late > 0 {
            *tally.differences.entry(Kind::BenignReorder).or_default() += tally.late;
        }
        let drives = self.drives.len();
        late.finish()?.groups(
            |pair| pair.old,
            drives,
            |output| {
                go_on(self.spill)?;
                self.late_output(&output.each().collect::<Result<Vec<_>, _>>()?);
                Ok(())
            },
        )
    }

    /// Counts one output of the first drive of old that came late in the drives of `late`.
    fn late_output(&mut self, late: &[Pair]) {
        let topic = self.topics.name(late[0].topic).to_owned();
        let signature =
            on_channel(Signature { kind: Kind::Reordered, topic, path: None, change: None }, late[0].channel);
        let is_late = |drive: usize| late.iter().any(|pair| usize::from(pair.drive) == drive);
        if let Some(pair) = late.iter().find(|pair| usize::from(pair.drive) == self.olds) {
            count(&mut self.tally.differences, signature.kind);
            self.tally.matched = self.tally.matched.saturating_sub(1);
            let candidate = Candidate { at: pair.other, old: Some(pair.old), new: Some(pair.other), stood: None };
            self.tally.patterns.raw(&signature, candidate);
        }
        if self.olds < 2 {
            return;
        }
        if is_late(1) {
            *self.tally.noise.entry(signature.kind).or_default() += 1;
            self.tally.patterns.tally(&signature).counts.noise += 1;
        }
        // The first drive of old is what lateness is measured against: where all others came late, it is the odd one.
        let judged = (1..=self.olds).filter(|drive| is_late(*drive)).collect::<Vec<_>>();
        let drive = match judged.as_slice() {
            [drive] => *drive,
            all if all.len() == self.olds => 0,
            _ => return,
        };
        let recurred = drive == self.olds && is_late(self.olds + 1);
        let place = self.stretches.place(None, late[0].old, self.last[0]);
        self.tally.patterns.odd(&signature, Odd { drive, new: self.olds, recurred, place });
        self.tally.patterns.tally(&signature).counts.first_odd += u64::from(drive == 0);
    }

    // ---- close comparison ----

    pub(super) fn push(&mut self, job: Job) -> Result<(), CompareError> {
        self.waiting += job.entries.len();
        self.jobs.push(job);
        if self.waiting >= WAITING_MAX { self.work() } else { Ok(()) }
    }

    /// Reads the outputs of all waiting jobs and compares them; what is next is read meanwhile.
    fn work(&mut self) -> Result<(), CompareError> {
        self.waiting = 0;
        let mut jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() {
            return Ok(());
        }
        // In order of arrival, so that what is read together stands together.
        jobs.sort_by_cached_key(|job| job.entries.first().map(|entry| (entry.sequence, entry.drive)));
        let mut batches = Vec::new();
        let mut rest = jobs.as_slice();
        while !rest.is_empty() {
            let mut read = 0;
            let fit = rest.iter().take_while(|job| {
                read += job.entries.len();
                read <= READ_MAX
            });
            let (batch, others) = rest.split_at(fit.count().max(1));
            batches.push(batch);
            rest = others;
        }
        let (drives, production) = (self.drives, self.drive_of_production());
        let read = |number: usize| Ok((number, read_again(batches[number], drives, production)?));
        one_ahead(batches.len(), read, |(number, outputs)| self.work_on(batches[number], outputs))
    }

    fn work_on(&mut self, jobs: &[Job], outputs: Vec<Vec<Output>>) -> Result<(), CompareError> {
        let outputs: Vec<Again> = outputs.into_iter().map(Again::new).collect();
        let production = self.drive_of_production();
        let find = |entry: &Entry| outputs[written_by(entry, production)].find(entry.sequence);
        let times = self.times_of(jobs, find)?;
        for job in jobs {
            go_on(self.spill)?;
            let mut sides: Vec<Vec<Seen>> = (0..self.drives.len()).map(|_| Vec::with_capacity(1)).collect();
            let see = if job.may_be_changed_once(self.drives.len()) { Seen::unhashed } else { Seen::new };
            for entry in &job.entries {
                sides[usize::from(entry.drive)].push(see(Rc::clone(find(entry)?), entry, self.rules));
            }
            match job.what {
                What::Identity { wrote_more, ordered } => {
                    self.compare_identity(&mut sides, job, wrote_more, ordered, &times)?;
                }
                What::Final(way) => self.compare_final(&sides, &job.entries, way),
                What::Row => self.compare_rows(&sides, job.entries.first().map_or(0, |row| row.topic)),
            }
        }
        Ok(())
    }

    /// Number of the drive that production wrote; of no meaning where there is none.
    fn drive_of_production(&self) -> usize {
        self.rules.production.as_ref().map_or(0, |production| production.drive(self.olds))
    }

    /// Finds the event times of causes, where drives name different ones.
    fn times_of<'o>(
        &self,
        jobs: &[Job],
        find: impl Fn(&Entry) -> Result<&'o Rc<Output>, CompareError>,
    ) -> Result<BTreeMap<Coordinates, i64>, CompareError> {
        let Some(times) = self.times.filter(|_| self.rules.settings.event_time == EventTime::Cause) else {
            return Ok(BTreeMap::new());
        };
        let mut wanted = BTreeSet::new();
        for job in jobs {
            let mut causes = BTreeSet::new();
            for entry in &job.entries {
                causes.extend(stated_cause(find(entry)?));
            }
            if causes.len() > 1 {
                wanted.extend(causes);
            }
        }
        if wanted.is_empty() { Ok(BTreeMap::new()) } else { times.times(&wanted) }
    }

    fn compare_identity(
        &mut self,
        sides: &mut [Vec<Seen>],
        job: &Job,
        wrote_more: u64,
        ordered: bool,
        times: &BTreeMap<Coordinates, i64>,
    ) -> Result<(), CompareError> {
        let new = self.olds;
        let mut compared = Compared::new(sides.len());
        let mut changed_once = None;
        if job.may_be_changed_once(sides.len()) {
            changed_once = self.context((0, 1), wrote_more, ordered, times).changed_once(&sides[0], &sides[1]);
            if changed_once.is_none() {
                sides.iter_mut().flatten().for_each(|seen| seen.hash(self.rules));
            }
        }
        for one in 0..sides.len() {
            for other in 0..sides.len() {
                if one < other || (one == 1 && other == 0 && new > 1) {
                    let context = self.context((one, other), wrote_more, ordered, times);
                    let closely = || context.compare(&sides[one], &sides[other]);
                    let mut found = changed_once.take().unwrap_or_else(closely);
                    if let Some(production) = &self.rules.production {
                        let left_out = production.leave_out(&mut found, (&sides[one], &sides[other]));
                        self.tally.at_edges += if (one, other) == (0, new) { left_out } else { 0 };
                    }
                    compared.set((one, other), found);
                }
            }
        }
        // Where the first two drives are a couple, the third is the first that they depart from.
        if new > 1 && sides.len() > new + 1 && !compared.between(0, 2).is_empty() {
            compared.back = self.context((2, 0), wrote_more, ordered, times).compare(&sides[2], &sides[0]);
        }
        self.note_raw(sides, job, &compared)?;
        if self.olds >= 2 {
            self.note_noise(sides, &compared);
            self.note_odd(sides, job, &compared);
        } else if self.turned() {
            self.note_turned(sides, job, &compared);
        }
        Ok(())
    }

    fn context<'c>(
        &'c self,
        (one, other): (usize, usize),
        wrote_more: u64,
        ordered: bool,
        times: &'c BTreeMap<Coordinates, i64>,
    ) -> Context<'c> {
        Context {
            rules: self.rules,
            topics: &self.topics,
            times,
            ordered,
            drives: (one, other),
            finished: self.drives[other].ending() == Ending::Finished,
            wrote_more: wrote_more >> one & 1 == 1,
            olds: self.olds,
        }
    }

    /// Whether new was driven more than once to be held against what production wrote.
    pub(super) fn turned(&self) -> bool {
        self.rules.is_turned() && self.drives.len() > self.olds + 1
    }

    /// Finds for each feature on which drives disagree whether it is production that is odd, or a drive of new.
    fn note_turned(&mut self, sides: &[Vec<Seen>], job: &Job, compared: &Compared) {
        for finding in &compared.between(1, 2).findings {
            self.note(finding, (&sides[1], &sides[2]), Tag::Noise);
        }
        let place = self.place(sides, job);
        let agree = |feature: &Feature, one: usize, other: usize| !compared.between(one, other).has(feature);
        for feature in compared.features(sides.len()) {
            let of_feature = |other: usize| {
                let findings = compared.between(0, other).findings.iter();
                findings.filter(|found| found.signature.feature() == feature)
            };
            let found = odd(sides.len(), |one, other| agree(&feature, one, other));
            match found {
                Agreement::Odd(drive) => {
                    let other = drive.max(1);
                    let mut seen = BTreeSet::new();
                    for finding in of_feature(other) {
                        if seen.insert(finding.signature.beyond_precision()) {
                            let odd = Odd { drive, new: 0, recurred: false, place };
                            self.note(finding, (&sides[0], &sides[other]), Tag::Odd(odd));
                        }
                        if drive == 1 {
                            self.tally.patterns.tally(&finding.signature).counts.first_odd += 1;
                        }
                    }
                }
                Agreement::None => {
                    let mut seen = BTreeSet::new();
                    for finding in of_feature(1) {
                        if seen.insert(finding.signature.beyond_precision()) {
                            self.tally.patterns.tally(&finding.signature).counts.odd_all += 1;
                        }
                    }
                }
                Agreement::All | Agreement::Mixed => {}
            }
        }
    }

    /// Whether what is expected of new counts between two drives: the first is one of old, the other one of new.
    fn is_judged(&self, (one, other): (usize, usize)) -> bool {
        one < self.olds && other >= self.olds
    }

    fn note_raw(&mut self, sides: &[Vec<Seen>], job: &Job, compared: &Compared) -> Result<(), CompareError> {
        let new = self.olds;
        let raw = compared.between(0, new);
        let entry =
            |drive: usize, at: usize| job.entries.iter().filter(|entry| usize::from(entry.drive) == drive).nth(at);
        self.tally.matched += raw.equal.len() as u64;
        for (at, to) in &raw.equal {
            let topic = entry(0, *at).map_or(0, |entry| entry.topic);
            self.note_ignored(sides[0][*at].ignored(), sides[new][*to].ignored(), topic);
        }
        let drives = if self.rules.settings.order == Order::Total { 1..self.drives.len() } else { new..new + 1 };
        for drive in drives {
            for (at, to) in &compared.between(0, drive).equal {
                if let Some(old) = entry(0, *at).copied() {
                    self.push_pair(&old, drive, sides[drive][*to].output.sequence)?;
                }
            }
        }
        for (text, silenced) in &raw.tolerated {
            *self.tally.silenced.entry(text.clone()).or_default() += silenced;
        }
        for finding in &raw.findings {
            self.note(finding, (&sides[0], &sides[new]), Tag::Raw);
        }
        if self.rules.expected().is_empty() {
            return Ok(());
        }
        self.note_expected(raw, (&sides[0], &sides[new]));
        let lacks = |drive: usize, at: usize| entry(drive, at).copied().filter(|entry| entry.is(Entry::LACKS));
        let unmade: Vec<(Entry, Entry)> =
            raw.equal.iter().filter_map(|(at, to)| Some((lacks(0, *at)?, lacks(new, *to)?))).collect();
        for (old, lacking) in &unmade {
            self.unmade(old, lacking.sequence);
        }
        Ok(())
    }

    fn note_noise(&mut self, sides: &[Vec<Seen>], compared: &Compared) {
        for finding in &compared.between(0, 1).findings {
            self.note(finding, (&sides[0], &sides[1]), Tag::Noise);
        }
    }

    /// Hands a finding to its pattern, or lets it wait where the output may stand under another identity.
    pub(super) fn note(&mut self, finding: &Finding, (old, new): (&[Seen], &[Seen]), tag: Tag) {
        let seen = finding.new.map(|to| &new[to]).or(finding.old.map(|at| &old[at]));
        let Some(seen) = seen else { return };
        let may_stray = !self.rules.has_identity()
            && matches!(finding.signature.kind, Kind::Missing | Kind::Extra)
            && seen.output.value.as_ref().is_some_and(|value| value.len() > 1);
        let Some(candidate) = Candidate::of(finding, (old, new)) else { return };
        if may_stray && self.strays.has_room() {
            self.strays.keep(Stray {
                signature: finding.signature.clone(),
                said: seen.said(),
                key: seen.output.key.clone(),
                cause: seen.stated_cause(),
                candidate,
                tag,
            });
        } else {
            tag.note(&finding.signature, candidate, finding.counts, &mut self.tally);
            if tag == Tag::Raw {
                self.look(finding, (old, new));
            }
        }
    }

    /// Looks at what two outputs say where they differ.
    fn look(&mut self, finding: &Finding, (old, new): (&[Seen], &[Seen])) {
        let Some((at, to)) = finding.old.zip(finding.new) else { return };
        // Where key and identity are one, what stands before it is what old wrote for the key before.
        let before = at.checked_sub(1).map(|at| &old[at]).filter(|_| !self.rules.has_identity());
        let difference = Difference { old: &old[at], new: &new[to], before };
        self.tally.patterns.look(&finding.signature, |seen| seen.look(&finding.signature, &difference));
    }

    /// Finds for each feature on which drives disagree which one of them is odd.
    fn note_odd(&mut self, sides: &[Vec<Seen>], job: &Job, compared: &Compared) {
        let new = self.olds;
        let place = self.place(sides, job);
        // Where the others agree, what new again does differently tells whether new does the like at other identities.
        if sides.len() > new + 1 {
            let alone = &compared.between(0, new + 1).findings;
            let others = compared.features(new + 1);
            let also = compared.between(new, new + 1);
            let odd = alone.iter().map(|finding| &finding.signature);
            let odd = odd.filter(|found| !others.contains(&found.feature()) && also.has(&found.feature()));
            for signature in odd.collect::<BTreeSet<_>>() {
                self.tally.patterns.tally(signature).counts.odd_again += 1;
            }
            self.note_apart(sides, place, compared);
        }
        for feature in compared.features(new + 1) {
            let agree = |one: usize, other: usize| !compared.between(one, other).has(&feature);
            match odd(new + 1, agree) {
                Agreement::Odd(drive) => {
                    let recurred = drive == new && sides.len() > new + 1 && agree(new, new + 1);
                    let from = usize::from(drive == 0);
                    let odd = Odd { drive, new, recurred, place };
                    let mut seen = BTreeSet::new();
                    for finding in &compared.between(from, drive).findings {
                        // Value and precision may become one pattern, in which the identity counts once.
                        if finding.signature.feature() == feature && seen.insert(finding.signature.beyond_precision()) {
                            self.note(finding, (&sides[from], &sides[drive]), Tag::Odd(odd));
                        }
                    }
                    if drive == 0 {
                        for finding in compared
                            .between(0, new)
                            .findings
                            .iter()
                            .filter(|found| found.signature.feature() == feature)
                        {
                            self.tally.patterns.tally(&finding.signature).counts.first_odd += 1;
                        }
                    }
                }
                Agreement::None => {
                    let found = compared.between(0, new).findings.iter().map(|finding| &finding.signature);
                    let mut seen = BTreeSet::new();
                    for signature in found.filter(|found| found.feature() == feature) {
                        if seen.insert(signature.beyond_precision()) {
                            self.tally.patterns.tally(signature).counts.odd_all += 1;
                        }
                    }
                }
                Agreement::All | Agreement::Mixed => {}
            }
        }
    }

    /// What depends on the outputs of `sides`: those of the key where identities are others and order counts, else those of the
    /// cause; and the stretch in which the first drive has them that has any.
    fn place(&self, sides: &[Vec<Seen>], job: &Job) -> Place {
        let is_unit = self.rules.has_identity() && self.rules.settings.order == Order::Key;
        let key = job.entries.first().map(|entry| entry.subset).filter(|subset| is_unit && *subset != 0);
        let cause = || sides.iter().flatten().find_map(Seen::stated_cause);
        let unit = key.or_else(|| cause().map(|cause| cause.hash()));
        let first = sides.iter().enumerate().find_map(|(drive, side)| Some((drive, side.first()?)));
        let at = first.map_or((0, 0), |(drive, seen)| (seen.output.sequence, self.last[drive]));
        self.stretches.place(unit, at.0, at.1)
    }

    fn place_of(&self, first: &Entry) -> Place {
        self.stretches.place(None, first.sequence, self.last[usize::from(first.drive)])
    }

    /// How outcomes are cut.
    pub(super) fn stretches(&self) -> Stretches {
        self.stretches
    }

    /// Compares the last values of one key, which stand at `lasts`.
    fn compare_final(&mut self, sides: &[Vec<Seen>], lasts: &[Entry], way: Way) {
        let identity =
            |drive: usize| lasts.iter().find(|last| usize::from(last.drive) == drive).map(|last| last.identity);
        let new = self.olds;
        let mut compared = Compared::new(sides.len());
        for one in 0..sides.len() {
            for other in 0..sides.len() {
                let finished = [one, other].iter().all(|drive| self.drives[*drive].ending() == Ending::Finished);
                let (Some(old), Some(last)) = (sides[one].last(), sides[other].last()) else { continue };
                if one == other || !finished {
                    continue;
                }
                let found = if identity(one) == identity(other) {
                    final_state(old, last, self.rules, self.is_judged((one, other)))
                } else {
                    other_last(old, last)
                };
                let mut found = Differences::of_last(found);
                if let Some(production) = &self.rules.production {
                    let left_out = production.leave_out(&mut found, (&sides[one], &sides[other]));
                    self.tally.at_edges += if (one, other) == (0, new) { left_out } else { 0 };
                }
                compared.set((one, other), found);
            }
        }
        let way = match (way, sides[0].last(), sides[new].last()) {
            // Other bytes that say the same, or nearly enough: equal with the last of them, if not before.
            (Way::Apart, Some(old), Some(last)) if compared.between(0, new).is_empty() => {
                Way::From { old: old.output.sequence, new: last.output.sequence }
            }
            (way, _, _) => way,
        };
        self.note_way(lasts, way);
        self.note_lasts(sides, &compared);
    }

    /// Hands what differs in the last values of a key to its patterns.
    fn note_lasts(&mut self, sides: &[Vec<Seen>], compared: &Compared) {
        let new = self.olds;
        for finding in &compared.between(0, new).findings {
            self.note(finding, (&sides[0], &sides[new]), Tag::Raw);
        }
        self.note_expected(compared.between(0, new), (&sides[0], &sides[new]));
        let job = Job { entries: Vec::new(), what: What::Row };
        if self.olds >= 2 {
            self.note_noise(sides, compared);
            self.note_odd(sides, &job, compared);
        } else if self.turned() {
            self.note_turned(sides, &job, compared);
        }
    }
}

/// What the updates of one key of a table leave.
#[derive(Default)]
struct Rows {
    /// The last update in each drive that has one, by drive.
    lasts: Vec<Entry>,
    /// What stood there before the slice began, where production wrote it.
    stood: Option<Entry>,
    /// Whether production ever wrote the key, as far as is known.
    of_production: bool,
}

impl Rows {
    /// Reads all updates of a key, in order of drive and sequence.
    fn of(
        updates: impl Iterator<Item = Result<Entry, CompareError>>,
        rules: &Rules,
        olds: usize,
    ) -> Result<Self, CompareError> {
        let production = rules.production.as_ref().map(|production| production.drive(olds));
        let mut rows = Self::default();
        for update in updates {
            let update = update?;
            if production == Some(usize::from(update.drive)) {
                rows.of_production = true;
                rows.stood = if update.is(Entry::STOOD) { Some(update) } else { rows.stood };
            }
            let update = Entry { flags: update.flags & !Entry::STOOD, ..update };
            match rows.lasts.last_mut().filter(|last| last.drive == update.drive) {
                Some(last) => *last = update,
                None => rows.lasts.push(update),
            }
        }
        Ok(rows)
    }

    /// The row in each of so many drives that has one: a drive that did not write the key left what stood there.
    fn left_by_all(self, drives: usize) -> Vec<Entry> {
        let mut all = self.lasts;
        if let Some(stood) = self.stood {
            for drive in
                (0..drives as u8).filter(|drive| all.iter().all(|last| last.drive != *drive)).collect::<Vec<_>>()
            {
                all.push(Entry { drive, flags: stood.flags | Entry::STOOD, ..stood });
            }
            all.sort_by_key(|last| last.drive);
        }
        all.retain(|last| !last.is(Entry::GONE));
        all
    }
}

/// Differences between drives at one identity.
#[derive(Debug)]
pub(super) struct Compared {
    drives: usize,
    /// By first and second drive, row by row.
    by_drives: Vec<Differences>,
    /// How the first drive differs from the third, where that was asked for.
    back: Differences,
}

impl Compared {
    /// Nothing differs between any two of so many drives.
    fn new(drives: usize) -> Self {
        let by_drives = (0..drives * drives).map(|_| Differences::default()).collect();
        Self { drives, by_drives, back: Differences::default() }
    }

    fn set(&mut self, (one, other): (usize, usize), found: Differences) {
        self.by_drives[one * self.drives + other] = found;
    }

    pub(super) fn between(&self, one: usize, other: usize) -> &Differences {
        &self.by_drives[one * self.drives + other]
    }

    /// How the first drive of a couple differs from the first of all others.
    pub(super) fn departing(&self, from: usize, one: usize) -> &Differences {
        let known = self.between(from, one);
        if (from, one) == (2, 0) && known.is_empty() { &self.back } else { known }
    }

    pub(super) fn features(&self, judged: usize) -> BTreeSet<Feature> {
        let found = self.by_drives.chunks(self.drives).take(judged).flat_map(|row| row.iter().take(judged));
        found.flat_map(|found| &found.findings).map(|finding| finding.signature.feature()).collect()
    }
}

impl Differences {
    pub(super) fn has(&self, feature: &Feature) -> bool {
        self.findings.iter().any(|finding| finding.signature.feature() == *feature)
    }
}

/// How drives agree.
#[derive(Debug, PartialEq, Eq)]
enum Agreement {
    All,
    /// Exactly this one disagrees with all others, which agree.
    Odd(usize),
    /// No two agree.
    None,
    Mixed,
}

fn odd(drives: usize, agree: impl Fn(usize, usize) -> bool) -> Agreement {
    let mut disagreements = vec![0; drives];
    let mut total = 0;
    for one in 0..drives {
        for other in one + 1..drives {
            if !agree(one, other) {
                disagreements[one] += 1;
                disagreements[other] += 1;
                total += 1;
            }
        }
    }
    if total == 0 {
        return Agreement::All;
    }
    if drives > 2 && total == drives * (drives - 1) / 2 {
        return Agreement::None;
    }
    let alone = disagreements.iter().position(|count| *count == drives - 1);
    alone.filter(|_| drives > 2 && total == drives - 1).map_or(Agreement::Mixed, Agreement::Odd)
}

/// Order of entries within their subsets.
fn in_subset(entry: &Entry) -> (u64, u8, i64) {
    (entry.subset, entry.drive, entry.sequence)
}

fn contents(side: &[Entry]) -> impl Iterator<Item = u64> + '_ {
    side.iter().map(|entry| entry.content)
}

fn by_content(side: &[Entry]) -> Vec<Entry> {
    let mut sorted = side.to_vec();
    sorted.sort_unstable_by_key(|entry| (entry.content, entry.sequence));
    sorted
}

/// Whether all drives wrote the same: in the same order where it counts, else as often.
fn agrees(sides: &[&[Entry]], ordered: bool) -> bool {
    if sides[1..].iter().any(|side| side.len() != sides[0].len()) {
        return false;
    }
    if sides[1..].iter().all(|side| contents(side).eq(contents(sides[0]))) {
        return true;
    }
    if ordered {
        return false;
    }
    let sorted = |side: &[Entry]| {
        let mut contents: Vec<u64> = contents(side).collect();
        contents.sort_unstable();
        contents
    };
    let first = sorted(sides[0]);
    sides[1..].iter().all(|side| sorted(side) == first)
}

/// Joins rows of different drives in order: what one drive wrote stands for what another wrote in its place.
fn merge(rows: Vec<Vec<Entry>>) -> Vec<Vec<Entry>> {
    let mut merged: Vec<Vec<Entry>> = Vec::new();
    // By topic and channel, then by the drives present: rows that still lack a drive, earliest first.
    let mut open: BTreeMap<(u16, u8), BTreeMap<u64, std::collections::VecDeque<usize>>> = BTreeMap::new();
    let drives = |row: &[Entry]| row.iter().fold(0_u64, |set, entry| set | 1 << entry.drive);
    for row in rows {
        let Some(first) = row.first() else { continue };
        let waiting = open.entry((first.topic, first.channel() as u8)).or_default();
        let present = drives(&row);
        let earliest = waiting
            .iter()
            .filter(|(set, queue)| *set & present == 0 && !queue.is_empty())
            .min_by_key(|(_, queue)| queue.front().copied())
            .map(|(set, _)| *set);
        let at = earliest.and_then(|set| waiting.get_mut(&set)?.pop_front()).unwrap_or(merged.len());
        if at == merged.len() {
            merged.push(row);
        } else {
            merged[at].extend(row);
        }
        merged[at].sort_unstable_by_key(|entry| entry.drive);
        waiting.entry(drives(&merged[at])).or_default().push_back(at);
    }
    merged
}
