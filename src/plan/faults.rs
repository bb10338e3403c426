//! All faults of a plan, ready to be asked at each event: does it fire, and with which amount.

use super::distance::{Distance, Unit};
use super::extent::Extent;
use super::fault::{Effect, Fault, Within};
use super::interleave::Standing;
use super::kind::{FaultKind, Kind};
use super::late::Late;
use super::log::{Amount, FaultLog, FaultLogError, Fired};
use super::seed::{DrawKey, Purpose, Seed};
use super::trigger::{Occasion, TriggerState};
use crate::recording::Partition;

/// Faults with their draw keys; shared by all streams of a plan.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) all: Vec<Fault>,
    /// By fault, then partition.
    keys: Vec<Vec<DrawKey>>,
    /// By partition: a bit for each fault that may touch its events.
    pub(super) in_partition: Vec<u64>,
    /// By fault.
    merged: Vec<Merged>,
    /// Faults that look at events one by one.
    pub(super) looking: u64,
    pub(super) needing_keys: u64,
    pub(super) needing_values: u64,
    /// Quantiles of the recording's gaps, in microseconds.
    gaps_us: Vec<i64>,
    replay: Option<Replay>,
    pub(super) drops: u64,
    pub(super) key_reorders: u64,
    pub(super) offset_reorders: u64,
    pub(super) time_reorders: u64,
    pub(super) delays: u64,
    pub(super) straggles: u64,
    pub(super) lates: u64,
    pub(super) stalls: u64,
    pub(super) duplicates: u64,
    pub(super) rewinds: u64,
}

/// Where the partitions that a fault may touch stand among each other.
#[derive(Debug)]
struct Merged {
    /// Draws for all of them.
    key: DrawKey,
    standings: Vec<Option<Standing>>,
}

/// Instances to fire instead of drawing: by fault, then partition, in order of offset.
#[derive(Debug)]
struct Replay(Vec<Vec<Instances>>);

/// Offsets and amounts, in order of offset.
#[derive(Debug, Default)]
struct Instances(Box<[(i64, Amount)]>);

impl Faults {
    pub(super) fn new(all: Vec<Fault>, partitions: &[Partition], seed: Seed, gaps_us: Vec<i64>) -> Self {
        let keys = all
            .iter()
            .map(|fault| partitions.iter().map(|p| DrawKey::new(seed, &fault.name, &p.topic, p.partition)).collect())
            .collect();
        let mask = |test: &dyn Fn(&Fault) -> bool| {
            all.iter().enumerate().filter(|(_, fault)| test(fault)).fold(0, |mask, (index, _)| mask | 1 << index)
        };
        let in_partition = partitions.iter().map(|p| mask(&|fault| fault.selector.takes_partition(p))).collect();
        let merged = all.iter().map(|fault| Merged::new(fault, partitions, seed)).collect();
        let within = |fault: &Fault| match fault.effect {
            Effect::Reorder { within, extent: Extent::Offsets(_) } => Some(within),
            _ => None,
        };
        Self {
            looking: mask(&|fault| fault.selector.looks_at_events()),
            needing_keys: mask(&|fault| fault.selector.needs_keys() || within(fault) == Some(Within::Key)),
            needing_values: mask(&|fault| fault.selector.needs_values()),
            drops: mask(&|fault| fault.kind == Kind::Drop),
            key_reorders: mask(&|fault| within(fault) == Some(Within::Key)),
            offset_reorders: mask(&|fault| within(fault) == Some(Within::Partition)),
            time_reorders: mask(&|fault| fault.kind == Kind::Reorder && within(fault).is_none()),
            delays: mask(&|fault| matches!(fault.kind, Kind::Delay | Kind::Jitter | Kind::Interleave)),
            straggles: mask(&|fault| matches!(fault.kind, Kind::Straggle | Kind::Late)),
            lates: mask(&|fault| fault.kind == Kind::Late),
            stalls: mask(&|fault| fault.kind == Kind::Stall),
            duplicates: mask(&|fault| fault.kind == Kind::Duplicate),
            rewinds: mask(&|fault| fault.kind == Kind::Rewind),
            in_partition,
            merged,
            keys,
            gaps_us,
            replay: None,
            all,
        }
    }

    /// Takes draws from `log` from now on.
    ///
    /// # Errors
    ///
    /// [`FaultLogError`] where the log holds what these faults cannot have done.
    pub(super) fn replay(&mut self, log: &FaultLog, partitions: &[Partition]) -> Result<(), FaultLogError> {
        for (name, logged) in &log.faults {
            let fault = self.all.iter_mut().find(|fault| fault.name == *name && fault.kind.name() == logged.kind);
            let Some(fault) = fault else {
                let there: Vec<String> =
                    self.all.iter().map(|fault| format!("{} `{}`", fault.kind.name(), fault.name)).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                return Err(FaultLogError::Unknown { fault: name.clone(), kind: logged.kind.clone(), there });
            };
            for ((topic, partition), instances) in &logged.instances {
                for (offset, amount) in instances {
                    fault.accept(*amount).map_err(|problem| FaultLogError::Instance {
                        fault: name.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        offset: *offset,
                        problem,
                    })?;
                }
            }
        }
        let instances = |fault: &Fault, partition: &Partition| {
            let logged = log.faults.get(&fault.name)?;
            logged
                .instances
                .get(&(partition.topic.clone(), partition.partition))
                .map(|list| Instances(list.as_slice().into()))
        };
        self.replay = Some(Replay(
            self.all
                .iter()
                .map(|fault| partitions.iter().map(|p| instances(fault, p).unwrap_or_default()).collect())
                .collect(),
        ));
        Ok(())
    }

    /// Offsets that a reordering of the faults in `mask` may displace an event by, in `partition`.
    pub(super) fn extent(&self, mask: u64, partition: usize) -> i64 {
        bits(mask & self.in_partition[partition])
            .map(|fault| match self.all[fault].effect {
                Effect::Reorder { extent: Extent::Offsets(offsets), .. } => offsets,
                _ => 0,
            })
            .sum()
    }

    /// How many events a rewind may set a consumer back.
    pub(super) fn longest_way_back(&self, fault: usize) -> u64 {
        match self.all[fault].effect {
            Effect::Rewind { n } => n,
            _ => 0,
        }
    }

    /// What `fault` draws for the event at `offset`.
    pub(super) fn amount(&self, fault: usize, partition: usize, offset: i64) -> Amount {
        if let Some(amount) = self.replay.as_ref().and_then(|replay| replay.at(fault, partition, offset)) {
            return amount;
        }
        let key = self.keys[fault][partition];
        let one_of = |distance: Distance| {
            let value = if distance.is_constant() {
                distance.least
            } else {
                key.between(offset, Purpose::Amount, distance.least, distance.most)
            };
            Amount { unit: Some(distance.unit), value }
        };
        match self.all[fault].effect {
            Effect::Delay { us } => Amount::replay_us(us),
            Effect::Jitter(jitter) => {
                Amount::replay_us(jitter.delay_us(key.unit(offset, Purpose::Amount), &self.gaps_us))
            }
            Effect::Straggle(distance) | Effect::Duplicate { after: distance } => one_of(distance),
            Effect::Stall { length_us, .. } => Amount::replay_us(length_us),
            Effect::Late(late) => Amount::event_time_us(late.lateness_us(key, offset)),
            Effect::Reorder { extent: Extent::Offsets(most), .. } => {
                Amount::events(key.between(offset, Purpose::Amount, 1, most))
            }
            Effect::Reorder { extent: Extent::EventTime(most), .. } => {
                Amount::event_time_us(key.between(offset, Purpose::Amount, 1, most))
            }
            Effect::Rewind { n } => Amount::events(i64::try_from(n).unwrap_or(i64::MAX)),
            // Lateness has become event time when the recording was surveyed.
            Effect::StraggleByLateness { .. } | Effect::Reorder { extent: Extent::Lateness, .. } | Effect::Drop => {
                Amount::NOTHING
            }
            // It hangs on when the event is due.
            Effect::Interleave { .. } => Amount::NOTHING,
        }
    }
}

impl Faults {
    /// What `fault` draws for an event; none where it leaves the event alone.
    fn drawn(&self, fault: usize, at: Occasion) -> Option<Amount> {
        let amount = match self.all[fault].effect {
            Effect::Interleave { merge, length_us, ratio } => {
                let Merged { key, standings } = &self.merged[fault];
                let keys = (self.keys[fault][at.partition], *key);
                let standing = standings[at.partition]?;
                Amount::replay_us(merge.held_us(keys, (at.offset, at.due_us), (length_us, ratio), standing))
            }
            _ => {
                return Some(self.amount(fault, at.partition, at.offset))
                    .filter(|amount| !self.is_late(fault) || amount.value > 0);
            }
        };
        (amount.value > 0).then_some(amount)
    }

    fn is_late(&self, fault: usize) -> bool {
        self.lates & 1 << fault != 0
    }

    /// How late a `late` has an event come, in microseconds of event time; nothing where it leaves it alone.
    pub(super) fn late_us(&self, fault: usize, partition: usize, offset: i64) -> i64 {
        match &self.replay {
            Some(replay) => replay.at(fault, partition, offset).map_or(0, |amount| amount.value),
            None => self.amount(fault, partition, offset).value,
        }
    }

    /// How late the builds let events be, by a `late`.
    pub(super) fn late(&self, fault: usize) -> Option<Late> {
        match self.all[fault].effect {
            Effect::Late(late) => Some(late),
            _ => None,
        }
    }
}

impl Merged {
    fn new(fault: &Fault, partitions: &[Partition], seed: Seed) -> Self {
        let taken: Vec<bool> = partitions.iter().map(|partition| fault.selector.takes_partition(partition)).collect();
        let mut topics: Vec<&str> =
            partitions.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(one, _)| one.topic.as_str()).collect();
        let count = topics.len();
        topics.dedup();
        let mut number = 0;
        let standings = partitions.iter().zip(&taken).map(|(one, taken)| {
            let topic = topics.iter().position(|topic| *topic == one.topic).filter(|_| *taken)?;
            number += 1;
            Some(Standing { partition: number - 1, topic, partitions: count, topics: topics.len() })
        });
        Self { standings: standings.collect(), key: DrawKey::new(seed, &fault.name, "", 0) }
    }
}

impl Replay {
    fn at(&self, fault: usize, partition: usize, offset: i64) -> Option<Amount> {
        let instances = &self.0[fault][partition].0;
        instances.binary_search_by_key(&offset, |(offset, _)| *offset).ok().map(|index| instances[index].1)
    }
}

impl Fault {
    /// Takes note of an amount that a log states; what is held back for reordering grows with it.
    fn accept(&mut self, amount: Amount) -> Result<(), &'static str> {
        let fits = match &mut self.effect {
            Effect::Delay { .. } | Effect::Jitter(_) | Effect::Stall { .. } | Effect::Interleave { .. } => {
                amount.unit == Some(Unit::Replay)
            }
            Effect::Straggle(distance) => amount.unit == Some(distance.unit),
            Effect::Reorder { extent: Extent::Offsets(extent), .. } => {
                if amount.value > Extent::OFFSETS_MAX {
                    return Err("an event is displaced further than can be held back");
                }
                *extent = (*extent).max(amount.value);
                amount.unit == Some(Unit::Events)
            }
            Effect::StraggleByLateness { .. } | Effect::Reorder { .. } | Effect::Late(_) => {
                amount.unit == Some(Unit::EventTime)
            }
            Effect::Duplicate { .. } => amount.unit.is_some(),
            Effect::Rewind { n } => {
                *n = (*n).max(amount.value as u64);
                amount.unit == Some(Unit::Events)
            }
            Effect::Drop => amount.unit.is_none(),
        };
        if fits { Ok(()) } else { Err("the amount is in another unit than the fault's") }
    }
}

/// What faults remember while a plan is read; each stream has its own.
#[derive(Debug)]
pub(super) struct FaultStates {
    triggers: Vec<TriggerState>,
    /// Instances so far, by fault.
    pub(super) fired: Vec<u64>,
    /// Instances since they were last taken, where a log is kept.
    pub(super) log: Option<Vec<Fired>>,
}

impl FaultStates {
    pub(super) fn new(faults: &Faults, partitions: usize) -> Self {
        Self {
            triggers: vec![TriggerState::new(partitions); faults.all.len()],
            fired: vec![0; faults.all.len()],
            log: None,
        }
    }

    /// Whether `fault` fires at this event; if so, counts it and returns what it drew.
    pub(super) fn fire(&mut self, faults: &Faults, fault: usize, at: Occasion) -> Option<Amount> {
        let amount = if let Some(replay) = &faults.replay {
            replay.at(fault, at.partition, at.offset)?
        } else {
            let checked = &faults.all[fault];
            let key = faults.keys[fault][at.partition];
            if !self.triggers[fault].fires(&checked.trigger, key, at) || self.fired[fault] >= checked.most {
                return None;
            }
            faults.drawn(fault, at)?
        };
        self.fired[fault] += 1;
        if let Some(log) = &mut self.log {
            log.push(Fired { fault, partition: at.partition, offset: at.offset, amount });
        }
        Some(amount)
    }
}

/// Lists the indices of the bits that are set.
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (index < 64).then_some(index as usize)
    })
}
