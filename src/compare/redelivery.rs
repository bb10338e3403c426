//! Redelivery idempotence: a build against itself, with and without redelivered deliveries, then old against new.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bounds::Bounds;
use super::buckets::{BUCKETS, Item as _};
use super::drives::{Drive, EventTimes};
use super::gather::{Entry, Gathered, gather, silencers};
use super::matching::{Seen, final_state};
use super::noise::{Counts, Drives, judge, measure};
use super::patterns::Candidate;
use super::rules::Rules;
use super::sightings::{EXAMPLES_MAX, Sightings};
use super::sorted::Sorter;
use super::topics::Topics;
use super::watched::{Watched, go_on};
use super::{CompareError, Idempotency, Redelivery, RepeatedCalls, Statistics};
use crate::outcome::{Channel, Outcome};
use crate::recording::Recording;
use crate::spill::SpillSpace;

/// Candidates for the examples of a build.
const CANDIDATES_MAX: usize = 16;

/// Last outputs that are read again at a time.
const READ_MAX: usize = 1 << 15;

/// Drives of one build with redelivery, the first being the one judged, and its drive without.
#[derive(Debug, Clone, Copy)]
pub struct Redelivered<'a, T> {
    /// With redelivery: for old its further drives are the noise, for new the second is `new-again`.
    pub with: &'a [T],
    /// The same plan without the deliveries of attempt > 0.
    pub once: &'a T,
}

/// Compares each build with itself: what redelivery makes it repeat, which last values it changes, and who broke what.
///
/// An effect is repeated where an identity has more outputs with redelivery than without. An example shows what the build wrote
/// without redelivery (`old`) beside what it wrote again (`new`); its cause is the redelivered event.
///
/// # Errors
///
/// [`CompareError`] where an outcome or the recording cannot be read, spilling fails, or `spill` is withdrawn meanwhile.
pub fn idempotency(
    old: &Redelivered<'_, Outcome>,
    new: &Redelivered<'_, Outcome>,
    rules: &Rules,
    recording: Option<&Recording>,
    spill: &SpillSpace,
) -> Result<Idempotency, CompareError> {
    let old_with: Vec<&dyn Drive> = old.with.iter().map(|outcome| outcome as &dyn Drive).collect();
    let new_with: Vec<&dyn Drive> = new.with.iter().map(|outcome| outcome as &dyn Drive).collect();
    let (old_once, new_once): (&dyn Drive, &dyn Drive) = (old.once, new.once);
    let times = recording.map(|recording| recording as &dyn EventTimes);
    let old = Redelivered { with: &old_with, once: &old_once };
    let new = Redelivered { with: &new_with, once: &new_once };
    idempotency_of_drives(&old, &new, rules, times, spill)
}

/// Compares drives, wherever their outputs are; otherwise as [`idempotency`].
///
/// # Errors
///
/// As [`idempotency`].
pub fn idempotency_of_drives(
    old: &Redelivered<'_, &dyn Drive>,
    new: &Redelivered<'_, &dyn Drive>,
    rules: &Rules,
    times: Option<&dyn EventTimes>,
    spill: &SpillSpace,
) -> Result<Idempotency, CompareError> {
    for (build, with) in [("old", old.with), ("new", new.with)] {
        if with.is_empty() {
            return Err(CompareError::NoDrive { build });
        }
    }
    let rules = rules.of_values();
    let new_with = &new.with[..new.with.len().min(2)];
    let all = [*old.once, *new.once].into_iter().chain(old.with.iter().copied()).chain(new_with.iter().copied());
    let rules = rules.for_drives(all.clone());
    let watched = Watched::all(all, &rules, spill);
    let drives: Vec<&dyn Drive> = watched.iter().map(|drive| drive as &dyn Drive).collect();
    if drives.len() > 60 {
        return Err(CompareError::TooManyDrives { drives: drives.len() });
    }
    let gathered = gather(&drives, &rules, spill)?;
    let mut relation = Relation {
        bounds: Bounds::of(&rules),
        rules: &rules,
        spill,
        drives: &drives,
        new: FIRST_OLD + old.with.len(),
        builds: [Build::new(OLD_ONCE, FIRST_OLD), Build::new(NEW_ONCE, FIRST_OLD + old.with.len())],
        found: Idempotency::default(),
        counts: Counts::default(),
        lasts: Vec::new(),
    };
    relation.identities(gathered)?;
    relation.finish(Drives { old: old.with.len(), new_again: new.with.len() > 1 }, times)
}

const OLD_ONCE: usize = 0;
const NEW_ONCE: usize = 1;
const FIRST_OLD: usize = 2;

/// One build's drives and what redelivery did to it.
struct Build {
    once: usize,
    with: usize,
    redelivery: Redelivery,
    /// Repeated calls to the outside, by the number of the effect among the topics.
    calls: BTreeMap<u16, RepeatedCalls>,
    candidates: Vec<Candidate>,
}

impl Build {
    fn new(once: usize, with: usize) -> Self {
        Self { once, with, redelivery: Redelivery::default(), calls: BTreeMap::new(), candidates: Vec::new() }
    }

    fn keep(&mut self, candidate: Candidate) {
        let place = self.candidates.partition_point(|other| *other <= candidate);
        if place < CANDIDATES_MAX {
            self.candidates.insert(place, candidate);
            self.candidates.truncate(CANDIDATES_MAX);
        }
    }
}

/// What one drive wrote of an identity, as far as it counts here.
#[derive(Debug, Clone, Default)]
struct Side {
    count: u64,
    last: Option<Entry>,
    /// First output that names a redelivered delivery as its cause.
    redelivered: Option<Entry>,
}

impl Side {
    /// Adds what was written next.
    fn add(&mut self, entry: &Entry) {
        self.count += entry.count();
        self.last = Some(entry.nth(u64::from(entry.more)));
        self.redelivered = self.redelivered.or(Some(entry.nth(0)).filter(|entry| entry.is(Entry::REDELIVERED)));
    }
}

struct Relation<'a> {
    bounds: Bounds,
    rules: &'a Rules,
    spill: &'a SpillSpace,
    drives: &'a [&'a dyn Drive],
    /// First drive of new with redelivery.
    new: usize,
    builds: [Build; 2],
    found: Idempotency,
    counts: Counts,
    /// Last outputs of an identity without and with redelivery, by build, where they are not the same bytes.
    lasts: Vec<(usize, Entry, Entry)>,
}

impl Relation<'_> {
    fn identities(&mut self, mut gathered: Gathered<'_>) -> Result<(), CompareError> {
        for bucket in 0..BUCKETS {
            go_on(self.spill)?;
            let key = |entry: &Entry| (entry.identity, entry.drive, entry.sequence);
            let mut sorter = Sorter::new(key, self.bounds.held, self.spill);
            gathered.identities.drain(bucket, &mut |entry| sorter.push_run(entry))?;
            sorter.finish()?.groups(
                |entry| entry.identity,
                self.bounds.held,
                |group| {
                    go_on(self.spill)?;
                    let mut sides = vec![Side::default(); self.drives.len()];
                    for entry in group.runs() {
                        let entry = entry?;
                        sides[usize::from(entry.drive)].add(&entry);
                    }
                    self.identity(&sides, &gathered.topics);
                    Ok(())
                },
            )?;
            if self.lasts.len() * 2 > READ_MAX {
                self.compare_lasts()?;
            }
        }
        self.name_effects(&gathered.topics);
        self.compare_lasts()
    }

    fn name_effects(&mut self, topics: &Topics) {
        for Build { redelivery, calls, .. } in &mut self.builds {
            redelivery.effects = calls.iter().map(|(topic, calls)| (topics.name(*topic).to_owned(), *calls)).collect();
        }
    }

    fn identity(&mut self, sides: &[Side], topics: &Topics) {
        self.counts.compared += 1;
        for number in 0..2 {
            let (once, with) = (self.builds[number].once, self.builds[number].with);
            self.note_build(number, &sides[once], &sides[with]);
            self.note_silenced(&sides[once], &sides[with], topics);
        }
        let repeated = |drive: usize| {
            let once = if drive < self.new { OLD_ONCE } else { NEW_ONCE };
            sides[drive].count.saturating_sub(sides[once].count)
        };
        let (old, new) = (repeated(FIRST_OLD), repeated(self.new));
        match (old > 0, new > 0) {
            (false, true) => self.found.broken_by_new += 1,
            (true, true) => self.found.broken_by_both += 1,
            (true, false) => self.found.mended_by_new += 1,
            (false, false) => {}
        }
        self.note_increase(&(FIRST_OLD..self.drives.len()).map(repeated).collect::<Vec<_>>());
    }

    /// Counts who is odd. `repeated` holds what each drive with redelivery repeated, drives of new last.
    fn note_increase(&mut self, repeated: &[u64]) {
        let olds = self.new - FIRST_OLD;
        let (old, new) = (&repeated[..olds], repeated[olds]);
        let counts = &mut self.counts;
        counts.raw += new.saturating_sub(old[0]);
        if olds < 2 {
            return;
        }
        let noise = old[1].saturating_sub(old[0]);
        counts.noise += noise;
        counts.noise_within += noise.saturating_sub(1);
        let agree = old.iter().all(|count| *count == old[0]);
        if agree {
            // Only more than old is what the gate asks; less is mended, and the odd one of a two-sided test all the same.
            let again = repeated.get(olds + 1);
            counts.again_apart += u64::from(again.is_some_and(|again| *again > old[0]));
            if new == old[0] {
                counts.odd_again += u64::from(again.is_some_and(|again| *again > new));
            } else {
                counts.odd_any += 1;
                counts.odd_new += u64::from(new > old[0]);
                counts.recurred += u64::from(new > old[0] && again == Some(&new));
            }
            return;
        }
        counts.unsteady += 1;
        let odd = (0..olds).find(|odd| {
            let mut others = (0..=olds).filter(|other| other != odd).map(|other| repeated[other]);
            let first = others.next();
            others.all(|other| Some(other) == first)
        });
        match odd {
            Some(odd) => {
                counts.odd_any += 1;
                counts.odd_old += 1;
                counts.odd_moving += 1;
                counts.first_odd += u64::from(odd == 0);
            }
            None if old.len() == 2 => counts.odd_all += 1,
            None => {}
        }
    }

    fn note_build(&mut self, number: usize, once: &Side, with: &Side) {
        let build = &mut self.builds[number];
        let repeated = with.count.saturating_sub(once.count);
        build.redelivery.repeated_effects += repeated;
        if let Some(last) = with.last.filter(|last| repeated > 0 && last.channel() == Channel::Http) {
            let calls = build.calls.entry(last.topic).or_default();
            calls.identities += 1;
            calls.calls += repeated;
        }
        if repeated > 0 {
            // What names a redelivered delivery as its cause is the repetition; else what came last.
            if let Some(again) = with.redelivered.or(with.last) {
                let first = once.last.map(|entry| entry.sequence);
                build.keep(Candidate { at: again.sequence, old: first, new: Some(again.sequence), stood: None });
            }
        }
        let lasts = once.last.zip(with.last).filter(|(once, with)| once.value != with.value);
        self.lasts.extend(lasts.map(|(once, with)| (number, once, with)));
    }

    /// Counts which rules made nothing of something in last values that are equal by them.
    fn note_silenced(&mut self, once: &Side, with: &Side, topics: &Topics) {
        let Some((once, with)) = once.last.zip(with.last).filter(|(once, with)| once.value == with.value) else {
            return;
        };
        if once.ignored != with.ignored {
            for text in silencers(once.ignored ^ with.ignored, self.rules.of(topics.name(with.topic))) {
                *self.found.silenced.entry(text.to_owned()).or_default() += 1;
            }
        }
    }

    /// Looks closely at last values whose bytes differ.
    fn compare_lasts(&mut self) -> Result<(), CompareError> {
        let lasts = std::mem::take(&mut self.lasts);
        let mut outputs = Vec::new();
        for (number, drive) in self.drives.iter().enumerate() {
            let entries = lasts.iter().flat_map(|(_, once, with)| [once, with]);
            let mut sequences: Vec<i64> =
                entries.filter(|entry| usize::from(entry.drive) == number).map(|entry| entry.sequence).collect();
            sequences.sort_unstable();
            sequences.dedup();
            outputs.push(drive.read(&sequences)?);
        }
        let see = |entry: &Entry| {
            let drive = &outputs[usize::from(entry.drive)];
            let at = drive.binary_search_by_key(&entry.sequence, |output| output.sequence);
            let at = at.map_err(|_| CompareError::Vanished { sequence: entry.sequence })?;
            Ok::<_, CompareError>(Seen::new(Arc::new(drive[at].clone()), entry, self.rules))
        };
        for (number, once, with) in &lasts {
            if !final_state(&see(once)?, &see(with)?, self.rules, false).1.changes.is_empty() {
                let build = &mut self.builds[*number];
                build.redelivery.changed_finals += 1;
                build.keep(Candidate {
                    at: with.sequence,
                    old: Some(once.sequence),
                    new: Some(with.sequence),
                    stood: None,
                });
            }
        }
        Ok(())
    }

    fn finish(mut self, drives: Drives, times: Option<&dyn EventTimes>) -> Result<Idempotency, CompareError> {
        for build in &mut self.builds {
            let (once, with) = (self.drives[build.once], self.drives[build.with]);
            let redelivered = &mut build.redelivery.redelivered;
            with.receipts(&mut |_, receipt| {
                *redelivered += u64::from(receipt.delivery.attempt > 0 && receipt.sent_us.is_some());
                Ok(())
            })?;
            let sightings = Sightings::look_up(build.candidates.iter(), (once, with), self.rules, times)?;
            let examples = build.candidates.iter().take(EXAMPLES_MAX).map(|candidate| sightings.redelivered(candidate));
            build.redelivery.examples = examples.collect();
        }
        let [old, new] = self.builds;
        self.found.old = old.redelivery;
        self.found.new = new.redelivery;
        if self.counts.raw > 0 {
            let test = measure(&self.counts, drives);
            self.found.statistics = Statistics { q_value: test.p_value, ..test };
            self.found.increase = Some(judge(&self.found.statistics).standing);
        }
        Ok(self.found)
    }
}
