//! Order: outputs that stand elsewhere among the others of their subset, or come late among all.

use std::collections::BTreeMap;

use super::align::align;
use super::engine::Engine;
use super::gather::Entry;
use super::giants::pair;
use super::matching::{Signature, on_channel};
use super::odd::{Agreement, odd};
use super::order::{self, Pair};
use super::patterns::{Candidate, Odd, count};
use super::rules::Order;
use super::sorted::Sorter;
use super::watched::go_on;
use super::{CompareError, Kind};
use crate::outcome::Channel;

impl Engine<'_> {
    /// Compares the order of the outputs of one subset; those of one `token` stand for each other.
    pub(super) fn subset_order(
        &mut self,
        sides: &[&[Entry]],
        token: impl Fn(&Entry) -> u64,
    ) -> Result<(), CompareError> {
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
        let counts = &mut self.tally.patterns.tally(&found).counts;
        counts.noise += noise;
        counts.noise_within += noise.saturating_sub(1);
        if noise > 0 {
            *self.tally.noise.entry(found.kind).or_default() += noise;
        }
        if !turned && self.drives.len() > self.olds + 1 {
            let is_steady = between.iter().all(|((_, other), moved)| *other == self.olds || *moved == 0);
            let is_apart = is_steady && moved(0, self.olds + 1)? > 0;
            self.tally.patterns.tally(&found).counts.again_apart += u64::from(is_apart);
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
    pub(super) fn total_order(&mut self) -> Result<(), CompareError> {
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
        let is_steady = !(1..self.olds).any(is_late);
        self.tally.patterns.tally(&signature).counts.again_apart += u64::from(is_steady && is_late(self.olds + 1));
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
}
