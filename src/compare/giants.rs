//! Identities, and subsets, of more outputs than are held in memory: compared from the spill space, with the same result.
//!
//! All is done in passes over sorted outputs: what all drives wrote is paired content by content, what is left goes window by
//! window to close comparison, and of what moved the fewest are found between places at which both sides have come as far.

use std::collections::BTreeSet;

use super::CompareError;
use super::align::{align, longest_rise};
use super::bounds::Bounds;
use super::buckets::Item;
use super::closely::{Job, What};
use super::engine::Engine;
use super::gather::{Entry, is_ordered};
use super::order::Pair;
use super::rules::Order;
use super::scan::mix;
use super::sorted::{Part, Sorted, Sorter};
use super::state::Way;
use super::watched::go_on;
use crate::spill::SpillSpace;

/// Outputs of one drive, in order of a key within which they stand in order of sequence.
pub(super) struct Side<'p> {
    part: Part<'p, Entry>,
    pub(super) count: u64,
    last: Option<Entry>,
}

/// Parts outputs in order of drive by drive.
pub(super) fn sides<'p>(group: &Part<'p, Entry>, drives: usize) -> Result<Vec<Side<'p>>, CompareError> {
    let mut sides = Vec::with_capacity(drives);
    let (mut start, mut at, mut count, mut last) = (0, 0, 0, None::<Entry>);
    let mut runs = group.runs();
    let mut next = runs.next().transpose()?;
    for drive in 0..drives {
        while let Some(entry) = next.filter(|entry| usize::from(entry.drive) == drive) {
            count += u64::from(entry.more) + 1;
            last = Some(Entry { sequence: entry.sequence + i64::from(entry.more), more: 0, ..entry });
            at += 1;
            next = runs.next().transpose()?;
        }
        sides.push(Side { part: group.part(start..at), count, last: last.take() });
        (start, count) = (at, 0);
    }
    Ok(sides)
}

/// Whether all drives wrote the same contents in the same order.
fn same(sides: &[Side<'_>], spill: &SpillSpace) -> Result<bool, CompareError> {
    for side in &sides[1..] {
        if side.count != sides[0].count {
            return Ok(false);
        }
        for (one, other) in sides[0].part.each().zip(side.part.each()) {
            go_on(spill)?;
            if one?.content != other?.content {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

pub(super) fn lasts(sides: &[Side<'_>]) -> Vec<Entry> {
    sides.iter().filter_map(|side| side.last).collect()
}

/// What an output of a subset says, and for whom. What stands beside a value and how it is spelled may be other each time; its
/// place counts all the same.
pub(super) fn said(entry: &Entry) -> u64 {
    mix(entry.value, entry.identity as u64)
}

/// What all of an output is; within an identity nothing less stands for another.
fn content(entry: &Entry) -> u64 {
    entry.content
}

/// The same output in two drives.
#[derive(Debug, Clone, Copy)]
struct Twins {
    pair: Pair,
    /// Whether they are equal in all that is compared.
    alike: bool,
}

impl Twins {
    fn new(old: &Entry, new: &Entry, drive: usize) -> Self {
        Self { pair: pair(old, new, drive), alike: old.content == new.content }
    }
}

impl Item for Twins {
    const SIZE: usize = Pair::SIZE + 1;

    fn write(&self, bytes: &mut Vec<u8>) {
        self.pair.write(bytes);
        bytes.push(u8::from(self.alike));
    }

    fn read(bytes: &[u8]) -> Self {
        Self { pair: Pair::read(&bytes[..Pair::SIZE]), alike: bytes[Pair::SIZE] == 1 }
    }

    fn count(&self) -> u64 {
        self.pair.count()
    }

    fn nth(&self, n: u64) -> Self {
        Self { pair: self.pair.nth(n), ..*self }
    }

    fn join(&mut self, next: &Self) -> bool {
        self.alike == next.alike && self.pair.join(&next.pair)
    }
}

/// Outputs of several drives, the n-th of a token being the same output in each.
struct Woven<'w> {
    /// By `token`, drive and sequence.
    outputs: &'w Sorted<Entry>,
    /// Tells which outputs stand for each other.
    token: fn(&Entry) -> u64,
    drives: usize,
    /// Whether only those count that every drive wrote.
    common: bool,
    bounds: Bounds,
    spill: &'w SpillSpace,
}

impl Woven<'_> {
    /// Shows what `one` and `other` wrote of each token.
    fn tokens(
        &self,
        (one, other): (usize, usize),
        mut take: impl FnMut([(&Side<'_>, u64); 2]) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        self.outputs.groups(self.token, self.bounds.held, |group| {
            let sides = sides(&group, self.drives)?;
            let least = sides.iter().map(|side| side.count).min().unwrap_or_default();
            let counted = |side: &Side<'_>| if self.common { least } else { side.count };
            take([one, other].map(|drive| (&sides[drive], counted(&sides[drive]))))
        })
    }

    /// Shows the outputs that moved between two drives to `take`, in the order of the first; returns how many did, and whether
    /// those are certainly the fewest.
    fn moved(
        &self,
        (one, other): (usize, usize),
        mut take: impl FnMut(&Twins) -> Result<(), CompareError>,
    ) -> Result<(u64, bool), CompareError> {
        let mut pairs = Sorter::new(|twins: &Twins| twins.pair.old, self.bounds.held, self.spill);
        let mut counts = (0, 0);
        self.tokens((one, other), |[(old, olds), (new, news)]| {
            counts = (counts.0 + olds, counts.1 + news);
            for (old, new) in old.part.each().zip(new.part.each()).take(olds.min(news) as usize) {
                go_on(self.spill)?;
                pairs.push(Twins::new(&old?, &new?, other))?;
            }
            Ok(())
        })?;
        if counts.0.max(counts.1) <= super::align::EXACT_MAX as u64 {
            return self.moved_of_few((one, other), take);
        }
        fewest_moved(&pairs.finish()?, self.bounds.moving, self.spill, &mut take)
    }

    fn moved_of_few(
        &self,
        drives: (usize, usize),
        mut take: impl FnMut(&Twins) -> Result<(), CompareError>,
    ) -> Result<(u64, bool), CompareError> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        self.tokens(drives, |both| {
            for ((side, count), all) in both.into_iter().zip([&mut old, &mut new]) {
                side.part.each().take(count as usize).try_for_each(|entry| entry.map(|entry| all.push(entry)))?;
            }
            Ok(())
        })?;
        for side in [&mut old, &mut new] {
            side.sort_unstable_by_key(|entry| entry.sequence);
        }
        let tokens = |side: &[Entry]| side.iter().map(self.token).collect::<Vec<_>>();
        let moved = align(&tokens(&old), &tokens(&new)).moved;
        moved.iter().try_for_each(|(at, to)| take(&Twins::new(&old[*at], &new[*to], drives.1)))?;
        Ok((moved.len() as u64, true))
    }
}

/// Pairs what the first drive of two wrote with what `drive` wrote.
pub(super) fn pair(old: &Entry, new: &Entry, drive: usize) -> Pair {
    Pair {
        old: old.sequence,
        other: new.sequence,
        topic: old.topic,
        drive: drive as u8,
        channel: old.channel(),
        more: 0,
    }
}

/// Finds the fewest of `pairs` (in order of `old`) whose moving makes the others rise on both sides.
///
/// Wherever both sides have come as far, what stands before moves nothing behind: between two such places the fewest are found
/// by themselves. Where more than `moving_max` pairs stand between them, they are cut: what then stands ahead of a pair that was
/// kept moved, so none that moved is missed, but others may have moved in its place.
fn fewest_moved(
    pairs: &Sorted<Twins>,
    moving_max: usize,
    spill: &SpillSpace,
    take: &mut dyn FnMut(&Twins) -> Result<(), CompareError>,
) -> Result<(u64, bool), CompareError> {
    // Least place from each stretch of pairs on; within a stretch it is found when that is read.
    let mut least = Vec::new();
    for (at, pair) in pairs.all().each().enumerate() {
        go_on(spill)?;
        let other = pair?.pair.other;
        if at % STRETCH == 0 {
            least.push(other);
        } else if let Some(least) = least.last_mut() {
            *least = other.min(*least);
        }
    }
    let mut from = i64::MAX;
    for least in least.iter_mut().rev() {
        from = from.min(*least);
        *least = from;
    }
    let mut moving = Moving { kept: i64::MIN, moved: 0, take };
    let (mut block, mut furthest, mut fewest) = (Vec::new(), i64::MIN, true);
    let mut all = pairs.all().each();
    for number in 0..least.len() {
        go_on(spill)?;
        let stretch: Vec<Twins> = all.by_ref().take(STRETCH).collect::<Result<_, _>>()?;
        let mut ahead = vec![least.get(number + 1).copied().unwrap_or(i64::MAX); stretch.len()];
        for at in (1..stretch.len()).rev() {
            ahead[at - 1] = ahead[at].min(stretch[at].pair.other);
        }
        for (twins, ahead) in stretch.into_iter().zip(ahead) {
            furthest = furthest.max(twins.pair.other);
            block.push(twins);
            if furthest < ahead {
                moving.settle(&mut block)?;
            } else if block.len() >= moving_max {
                fewest = false;
                moving.settle(&mut block)?;
            }
        }
    }
    moving.settle(&mut block)?;
    Ok((moving.moved, fewest))
}

/// Pairs whose places are looked ahead at, at a time.
const STRETCH: usize = 4_096;

struct Moving<'t> {
    /// Place of the last pair that was kept.
    kept: i64,
    moved: u64,
    take: &'t mut dyn FnMut(&Twins) -> Result<(), CompareError>,
}

impl Moving<'_> {
    fn settle(&mut self, block: &mut Vec<Twins>) -> Result<(), CompareError> {
        let rising: Vec<usize> = (0..block.len()).filter(|at| block[*at].pair.other > self.kept).collect();
        let places: Vec<i64> = rising.iter().map(|at| block[*at].pair.other).collect();
        let mut stays = longest_rise(&places).into_iter().map(|at| rising[at]).peekable();
        for (at, twins) in block.drain(..).enumerate() {
            if stays.next_if_eq(&at).is_some() {
                self.kept = twins.pair.other;
            } else {
                self.moved += 1;
                (self.take)(&twins)?;
            }
        }
        Ok(())
    }
}

impl Engine<'_> {
    /// Compares all outputs of an identity, in order of drive and sequence.
    pub(super) fn giant(&mut self, group: &Part<'_, Entry>) -> Result<(), CompareError> {
        let sides = sides(group, self.drives.len())?;
        let Some(first) = group.each().next().transpose()? else { return Ok(()) };
        let mut topics = BTreeSet::new();
        group.runs().try_for_each(|entry| entry.map(|entry| topics.insert(entry.topic)).map(|_| ()))?;
        self.note_compared(sides[0].count > 0 || sides[self.olds].count > 0, topics);
        let ordered = is_ordered(&first, self.rules);
        let same = same(&sides, self.spill)?;
        let is_key = !self.rules.has_identity() && first.subset != 0;
        if is_key {
            self.note_key(&first);
        }
        if is_key && !(same && ordered) {
            self.push_giant_final(&sides)?;
        }
        if same {
            self.tally.matched += sides[0].count;
            return self.rows(&sides, sides[0].count);
        }
        if first.is(Entry::ANONYMOUS) { self.anonymous_giant(&sides) } else { self.split(group, &sides, ordered) }
    }

    /// Compares order and last values of a subset, whose outputs stand in order of drive and sequence.
    pub(super) fn giant_subset(&mut self, group: &Part<'_, Entry>) -> Result<(), CompareError> {
        let sides = sides(group, self.drives.len())?;
        if let Some(first) = sides.iter().find_map(|side| side.last) {
            self.note_key(&first);
        }
        if same(&sides, self.spill)? {
            return Ok(());
        }
        self.push_giant_final(&sides)?;
        if self.rules.settings.order == Order::Key {
            let outputs = self.by(|entry| (said(entry), entry.drive, entry.sequence), group)?;
            let first = sides.iter().find_map(|side| side.part.each().next()).transpose()?;
            self.giant_order((&outputs, said), first, false)?;
        }
        Ok(())
    }

    fn push_giant_final(&mut self, sides: &[Side<'_>]) -> Result<(), CompareError> {
        let (old, new) = (&sides[0], &sides[self.olds]);
        let way = Way::of((old.count, old.part.each()), (new.count, new.part.each()))?;
        self.push_final(lasts(sides), sides.iter().any(|side| side.count > 1), way)
    }

    fn by(&self, key: fn(&Entry) -> (u64, u8, i64), group: &Part<'_, Entry>) -> Result<Sorted<Entry>, CompareError> {
        let mut outputs = Sorter::new(key, self.bounds.held, self.spill);
        for entry in group.runs() {
            outputs.push_run(entry?)?;
        }
        outputs.finish()
    }

    /// Notes the first `count` outputs of each side, the n-th of each being equal.
    fn rows(&mut self, sides: &[Side<'_>], count: u64) -> Result<(), CompareError> {
        let mut others: Vec<_> = sides.iter().map(|side| side.part.each()).collect();
        let mut row = Vec::with_capacity(sides.len());
        for _ in 0..count {
            go_on(self.spill)?;
            row.clear();
            for other in &mut others {
                row.extend(other.next().transpose()?);
            }
            self.row(&row)?;
        }
        Ok(())
    }

    /// Keeps what not every drive wrote of an output without an identity, the n-th of each drive side by side.
    fn anonymous_giant(&mut self, sides: &[Side<'_>]) -> Result<(), CompareError> {
        let common = sides.iter().map(|side| side.count).min().unwrap_or_default();
        self.tally.matched += common;
        self.rows(sides, common)?;
        let echo = if common > 0 { Entry::ECHO } else { 0 };
        let mut left: Vec<_> = sides.iter().map(|side| side.part.each().skip(common as usize)).collect();
        loop {
            go_on(self.spill)?;
            let before = self.anonymous.len();
            for entry in left.iter_mut().filter_map(Iterator::next) {
                let entry = entry?;
                self.anonymous.push(Entry { flags: entry.flags | echo, ..entry });
            }
            if self.anonymous.len() == before {
                return Ok(());
            }
            self.pair_many_anonymous()?;
        }
    }

    /// Sets aside what all drives wrote of an identity and compares the rest window by window.
    fn split(&mut self, group: &Part<'_, Entry>, sides: &[Side<'_>], ordered: bool) -> Result<(), CompareError> {
        let outputs = self.by(|entry| (content(entry), entry.drive, entry.sequence), group)?;
        let mut left = Sorter::new(|entry: &Entry| (entry.drive, entry.sequence), self.bounds.held, self.spill);
        let mut first = None;
        outputs.groups(content, self.bounds.held, |alike| {
            let alike = self::sides(&alike, self.drives.len())?;
            let shared = alike.iter().map(|side| side.count).min().unwrap_or_default();
            self.tally.matched += shared;
            self.rows(&alike, shared)?;
            if let Some(entry) = alike[0].part.each().next().filter(|_| shared > 0).transpose()? {
                let earliest = first.filter(|first: &Entry| first.sequence < entry.sequence);
                first = earliest.or(Some(entry));
            }
            let echo = if shared > 0 { Entry::ECHO } else { 0 };
            for entry in alike.iter().flat_map(|side| side.part.each().skip(shared as usize)) {
                go_on(self.spill)?;
                let entry = entry?;
                left.push(Entry { flags: entry.flags | echo, ..entry })?;
            }
            Ok(())
        })?;
        if ordered {
            self.giant_order((&outputs, content), first, true)?;
        }
        drop(outputs);
        let wrote = (0..sides.len()).fold(0, |set, drive| set | u64::from(sides[drive].count > 0) << drive);
        self.giant_windows(&left.finish()?, wrote, ordered)
    }

    fn giant_windows(&mut self, left: &Sorted<Entry>, wrote_more: u64, ordered: bool) -> Result<(), CompareError> {
        let sides = sides(&left.all(), self.drives.len())?;
        let mut left: Vec<_> = sides.iter().map(|side| side.part.each()).collect();
        loop {
            let mut entries = Vec::new();
            for side in &mut left {
                for entry in side.by_ref().take(self.bounds.window) {
                    entries.push(entry?);
                }
            }
            if entries.is_empty() {
                return Ok(());
            }
            self.push(Job { entries, what: What::Identity { wrote_more, ordered } })?;
        }
    }

    /// Compares the order of `outputs`, which stand by `token`; of those that every drive wrote, or between any two drives.
    fn giant_order(
        &mut self,
        (outputs, token): (&Sorted<Entry>, fn(&Entry) -> u64),
        first: Option<Entry>,
        common: bool,
    ) -> Result<(), CompareError> {
        let Some(first) = first else { return Ok(()) };
        let (drives, bounds, spill) = (self.drives.len(), self.bounds, self.spill);
        let woven = Woven { outputs, token, drives, common, bounds, spill };
        let (raw, fewest) = woven.moved((0, self.olds), |twins| {
            self.note_moved(&twins.pair, twins.alike);
            Ok(())
        })?;
        self.tally.moved_at_most += u64::from(!fewest);
        self.note_order(&first, raw, |one, other| Ok(woven.moved((one, other), |_| Ok(()))?.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::Channel;

    /// Outputs that moved, and whether they are the fewest.
    fn moved(places: &[i64], moving_max: usize) -> (Vec<i64>, bool) {
        let spill = SpillSpace::system();
        let mut sorter = Sorter::new(|twins: &Twins| twins.pair.old, 10, &spill);
        for (old, other) in places.iter().enumerate() {
            let pair = Pair { old: old as i64, other: *other, topic: 0, drive: 0, channel: Channel::Output, more: 0 };
            sorter.push(Twins { pair, alike: true }).unwrap();
        }
        let mut moved = Vec::new();
        let mut take = |twins: &Twins| {
            moved.push(twins.pair.old);
            Ok(())
        };
        let (count, fewest) = fewest_moved(&sorter.finish().unwrap(), moving_max, &spill, &mut take).unwrap();
        assert_eq!(count, moved.len() as u64);
        (moved, fewest)
    }

    /// Places of which blocks of `length` were shuffled.
    fn places(length: usize) -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(Just((0..length as i64).collect::<Vec<_>>()).prop_shuffle(), 0..20).prop_map(
            move |blocks| {
                let blocks = blocks.into_iter().enumerate();
                blocks
                    .flat_map(|(number, block)| block.into_iter().map(move |at| at + (number * length) as i64))
                    .collect()
            },
        )
    }

    proptest! {
        #[test]
        fn what_moved_is_found_piece_by_piece_as_it_is_found_at_once(places in prop_oneof![places(1), places(7), places(60)]) {
            let stays = longest_rise(&places);
            let expected: Vec<i64> = (0..places.len()).filter(|at| !stays.contains(at)).map(|at| at as i64).collect();
            prop_assert_eq!(moved(&places, usize::MAX), (expected, true));
        }

        #[test]
        fn beyond_the_bound_no_disorder_is_missed_and_what_stays_rises(places in prop_oneof![places(3), places(60)]) {
            let (coarse, fewest) = moved(&places, 5);
            let exact = moved(&places, usize::MAX).0;
            let stays: Vec<i64> =
                (0..places.len()).filter(|at| !coarse.contains(&(*at as i64))).map(|at| places[at]).collect();
            prop_assert!(stays.is_sorted());
            prop_assert_eq!(coarse.is_empty(), exact.is_empty());
            prop_assert!(coarse.len() >= exact.len());
            prop_assert!(!fewest || coarse == exact);
        }
    }

    #[test]
    fn places_far_apart_are_looked_ahead_at() {
        let mut places: Vec<i64> = (0..20_000).collect();
        let first = places.remove(0);
        places.insert(15_000, first);
        places.swap(17_000, 17_001);
        assert_eq!(moved(&places, usize::MAX), (vec![15_000, 17_000], true));
        let (coarse, fewest) = moved(&places, 1_000);
        assert!(!fewest && coarse.contains(&15_000) && !coarse.contains(&16_000));
    }
}
