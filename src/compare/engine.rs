//! Identity by identity: what agrees is counted and forgotten, what does not is read again, compared drive with drive, and
//! counted by pattern.

use std::collections::BTreeMap;

use super::bounds::Bounds;
use super::buckets::{BUCKETS, Buckets};
use super::cause::{Difference, Draw};
use super::closely::{Job, What};
use super::drives::{Drive, EventTimes};
use super::expected::Found;
use super::filed::{Bucket, Filed, Keyed, Loaded};
use super::gather::{Entry, is_ordered, silencers};
use super::giants::said;
use super::matching::{Finding, Seen};
use super::order::{self, Marks, Pair};
use super::patterns::{Candidate, Patterns};
use super::rules::{Order, Rules};
use super::scan::mix;
use super::sorted::Part;
use super::state::{State, Way};
use super::strays::{Stray, Strays, Tag};
use super::threads::two_ahead;
use super::topics::Topics;
use super::units::Stretches;
use super::watched::go_on;
use super::{CompareError, Kind};
use crate::outcome::Ending;
use crate::spill::SpillSpace;

/// Outputs without any identity that wait to be paired.
const ANONYMOUS_MAX: usize = 1 << 19;

/// Compares identities and keeps count.
pub(super) struct Engine<'a> {
    pub(super) drives: &'a [&'a dyn Drive],
    /// Drives of old; the next one is new, then perhaps new again.
    pub(super) olds: usize,
    pub(super) rules: &'a Rules,
    pub(super) times: Option<&'a dyn EventTimes>,
    pub(super) topics: Topics,
    pub(super) last: Vec<i64>,
    pub(super) stretches: Stretches,
    pub(super) jobs: Vec<Job>,
    /// Outputs of `jobs`.
    pub(super) waiting: usize,
    pub(super) anonymous: Vec<Entry>,
    strays: Strays,
    pub(super) spill: &'a SpillSpace,
    pub(super) bounds: Bounds,
    pub(super) pairs: Buckets<'a, Pair>,
    pub(super) reordered: Marks,
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
    pub(super) fn identities(&mut self, filed: Filed<'_>) -> Result<(), CompareError> {
        let key = |entry: &Entry| (entry.identity, entry.drive, entry.sequence);
        let keyed = Keyed { key, lead: |entry| (entry.identity >> 56) as u64 };
        self.each(filed, keyed, |entry| entry.identity, Self::identity, Self::giant)?;
        self.pair_anonymous()?;
        self.work()
    }

    /// Compares order and last values within subsets, where those are not the identities.
    pub(super) fn subsets(&mut self, filed: Filed<'_>) -> Result<(), CompareError> {
        self.each(filed, IN_SUBSETS, |entry| entry.subset, Self::subset, Self::giant_subset)?;
        self.work()
    }

    /// Compares the rows that updates leave.
    pub(super) fn tables(&mut self, filed: Filed<'_>) -> Result<(), CompareError> {
        let rows_of = |engine: &mut Self, group: &[Entry]| engine.row_of(group.iter().map(|entry| Ok(*entry)));
        let rows_of_giant = |engine: &mut Self, group: &Part<'_, Entry>| engine.row_of(group.each());
        self.each(filed, IN_SUBSETS, |entry| entry.subset, rows_of, rows_of_giant)?;
        self.work()
    }

    /// Takes entries out in order of `keyed` and hands those of one `part` to `take` at once, or to `take_giant` where they are more
    /// than are held in memory; what is next is read and sorted meanwhile.
    fn each<K: Ord + Copy, P: PartialEq>(
        &mut self,
        mut filed: Filed<'_>,
        keyed: Keyed<K>,
        part: fn(&Entry) -> P,
        take: impl Fn(&mut Self, &[Entry]) -> Result<(), CompareError>,
        take_giant: impl Fn(&mut Self, &Part<'_, Entry>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        let (held, spill) = (self.bounds.held, self.spill);
        let load = |bucket| filed.load(bucket, keyed.key, held, spill);
        let sort = |loaded: Loaded| loaded.sorted(keyed);
        two_ahead(BUCKETS, load, sort, |bucket| match bucket {
            Bucket::Small(entries) => entries.chunk_by(|one, other| part(one) == part(other)).try_for_each(|group| {
                go_on(spill)?;
                take(self, group)
            }),
            Bucket::Large(entries) => entries.groups(part, held, |group| {
                go_on(spill)?;
                if group.count()? > held as u64 {
                    return take_giant(self, &group);
                }
                take(self, &group.each().collect::<Result<Vec<_>, _>>()?)
            }),
        })
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
    pub(super) fn unmade(&mut self, old: &Entry, new: i64) {
        let topic = self.topics.name(old.topic).to_owned();
        self.note_unmade(&topic, old, new);
    }

    /// Counts the key of an entry.
    pub(super) fn note_key(&mut self, of: &Entry) {
        self.tally.expected.note_key(of.topic);
    }

    pub(super) fn push_pair(&mut self, old: &Entry, drive: usize, other: i64) -> Result<(), CompareError> {
        let (topic, channel) = (old.topic, old.channel());
        let pair = Pair { old: old.sequence, other, topic, drive: drive as u8, channel, more: 0 };
        self.pairs.push(order::bucket(other, self.last[drive]), pair)
    }

    /// Counts which rules of a topic made nothing of something in two outputs that are equal by them.
    pub(super) fn note_ignored(&mut self, old: u64, new: u64, topic: u16) {
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
    pub(super) fn note_way(&mut self, lasts: &[Entry], way: Way) {
        let of = |drive: usize| lasts.iter().find(|last| usize::from(last.drive) == drive);
        // Against what production wrote the edges of the slice end keys on other values by themselves.
        let judged = self.rules.production.is_none() && self.are_through();
        if let (true, Some(_), Some(new)) = (judged, of(0), of(self.olds)) {
            self.tally.state.note(new.topic, way);
        }
    }

    /// Whether old and new finished, so that what they wrote last is the last.
    pub(super) fn are_through(&self) -> bool {
        [0, self.olds].iter().all(|drive| self.drives[*drive].ending() == Ending::Finished)
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
    pub(super) fn look(&mut self, finding: &Finding, (old, new): (&[Seen], &[Seen])) {
        let Some((at, to)) = finding.old.zip(finding.new) else { return };
        // Where key and identity are one, what stands before it is what old wrote for the key before.
        let before = at.checked_sub(1).map(|at| &old[at]).filter(|_| !self.rules.has_identity());
        let difference = Difference { old: &old[at], new: &new[to], before };
        self.tally.patterns.look(&finding.signature, |seen| seen.look(&finding.signature, &difference));
    }

    /// How outcomes are cut.
    pub(super) fn stretches(&self) -> Stretches {
        self.stretches
    }
}

/// Order of entries within their subsets.
const IN_SUBSETS: Keyed<(u64, u8, i64)> =
    Keyed { key: |entry| (entry.subset, entry.drive, entry.sequence), lead: |entry| entry.subset << 8 };

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
