//! What does not agree by its hashes: read again, and compared closely, drive with drive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::CompareError;
use super::drives::{Coordinates, Drive};
use super::engine::Engine;
use super::gather::Entry;
use super::matching::{Context, Differences, Seen, changed_once, final_state, other_last};
use super::odd::Compared;
use super::rules::{EventTime, Order, Rules};
use super::state::Way;
use super::strays::Tag;
use super::threads::{side_by_side, two_ahead};
use super::watched::go_on;
use crate::outcome::{Ending, Output};

/// Outputs read again at a time: four times as many are in memory.
const READ_MAX: usize = 1 << 15;

/// Outputs that wait to be read again: the more, the fewer times outcomes are gone through.
const WAITING_MAX: usize = 1 << 19;

impl Engine<'_> {
    pub(super) fn push(&mut self, job: Job) -> Result<(), CompareError> {
        self.waiting += job.entries.len();
        self.jobs.push(job);
        if self.waiting >= WAITING_MAX { self.work() } else { Ok(()) }
    }

    /// Reads the outputs of all waiting jobs and compares them; what is next is read and looked at meanwhile.
    pub(super) fn work(&mut self) -> Result<(), CompareError> {
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
        let (drives, rules, olds) = (self.drives, self.rules, self.olds);
        let production = self.drive_of_production();
        let read = |number: usize| Ok((number, read_again(batches[number], drives, production)?));
        let look = |(number, outputs): (usize, Vec<Vec<Output>>)| {
            let outputs: Vec<Again> = outputs.into_iter().map(Again::new).collect();
            let find = |entry: &Entry| outputs[written_by(entry, production)].find(entry.sequence).map(Arc::clone);
            let read = batches[number].iter().map(|job| Read::of(job, find, rules, (drives.len(), olds)));
            (number, read.collect::<Result<Vec<_>, _>>())
        };
        two_ahead(batches.len(), read, look, |(number, read)| self.work_on(batches[number], read?))
    }

    fn work_on(&mut self, jobs: &[Job], read: Vec<Read>) -> Result<(), CompareError> {
        let times = self.times_of(&read)?;
        for (job, read) in jobs.iter().zip(read) {
            go_on(self.spill)?;
            match job.what {
                What::Identity { wrote_more, ordered } => {
                    self.compare_identity(read, job, wrote_more, ordered, &times)?;
                }
                What::Final(way) => self.compare_final(&read.sides, &job.entries, way),
                What::Row => self.compare_rows(&read.sides, job.entries.first().map_or(0, |row| row.topic)),
            }
        }
        Ok(())
    }

    /// Finds the event times of causes, where drives name different ones.
    fn times_of(&self, read: &[Read]) -> Result<BTreeMap<Coordinates, i64>, CompareError> {
        let Some(times) = self.times.filter(|_| self.rules.settings.event_time == EventTime::Cause) else {
            return Ok(BTreeMap::new());
        };
        let mut wanted = BTreeSet::new();
        for read in read {
            let causes: BTreeSet<Coordinates> = read.sides.iter().flatten().filter_map(Seen::stated_cause).collect();
            if causes.len() > 1 {
                wanted.extend(causes);
            }
        }
        if wanted.is_empty() { Ok(BTreeMap::new()) } else { times.times(&wanted) }
    }

    fn compare_identity(
        &mut self,
        Read { sides, mut changed_once }: Read,
        job: &Job,
        wrote_more: u64,
        ordered: bool,
        times: &BTreeMap<Coordinates, i64>,
    ) -> Result<(), CompareError> {
        let new = self.olds;
        let mut compared = Compared::new(sides.len());
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
        self.note_raw(&sides, job, &compared)?;
        if self.olds >= 2 {
            self.note_noise(&sides, &compared);
            self.note_odd(&sides, job, &compared);
        } else if self.turned() {
            self.note_turned(&sides, job, &compared);
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

    /// Number of the drive that production wrote; of no meaning where there is none.
    fn drive_of_production(&self) -> usize {
        self.rules.production.as_ref().map_or(0, |production| production.drive(self.olds))
    }

    /// Whether what is expected of new counts between two drives: the first is one of old, the other one of new.
    pub(super) fn is_judged(&self, (one, other): (usize, usize)) -> bool {
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

pub(super) enum What {
    /// All outputs of an identity, or a window of them; drives that wrote more of it.
    Identity { wrote_more: u64, ordered: bool },
    /// The last output of a key in each drive, and how old and new came to it.
    Final(Way),
    /// The row of a key in each drive that has one.
    Row,
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

/// What was read again for a job.
struct Read {
    /// Outputs of each drive.
    sides: Vec<Vec<Seen>>,
    /// How the only two differ, where that could be told from their values alone.
    changed_once: Option<Differences>,
}

impl Read {
    /// Looks at the outputs of a job as far as neither others nor what was noted before count; of the drives, `olds` are of old.
    fn of(
        job: &Job,
        find: impl Fn(&Entry) -> Result<Arc<Output>, CompareError>,
        rules: &Rules,
        (drives, olds): (usize, usize),
    ) -> Result<Self, CompareError> {
        let may_be_changed_once = job.may_be_changed_once(drives);
        let see = if may_be_changed_once { Seen::unhashed } else { Seen::new };
        let mut sides: Vec<Vec<Seen>> = (0..drives).map(|_| Vec::with_capacity(1)).collect();
        for entry in &job.entries {
            sides[usize::from(entry.drive)].push(see(find(entry)?, entry, rules));
        }
        let mut found = None;
        if may_be_changed_once {
            found = changed_once(&sides[0], &sides[1], rules, olds == 1);
            if found.is_none() {
                sides.iter_mut().flatten().for_each(|seen| seen.hash(rules));
            }
        }
        Ok(Self { sides, changed_once: found })
    }
}

/// Outputs of one drive that were read again.
struct Again {
    outputs: Vec<Arc<Output>>,
    /// Sequences of `outputs`, ascending, by themselves: they are looked through more often than what stands at them.
    sequences: Vec<i64>,
}

impl Again {
    fn new(outputs: Vec<Output>) -> Self {
        let sequences = outputs.iter().map(|output| output.sequence).collect();
        Self { outputs: outputs.into_iter().map(Arc::new).collect(), sequences }
    }

    fn find(&self, sequence: i64) -> Result<&Arc<Output>, CompareError> {
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
