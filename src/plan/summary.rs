//! What a plan comes to: counts, and what each fault achieves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::checked::Checked;
use super::fault::Effect;
use super::faults::bits;
use super::flag_change::FlagChange;
use super::kind::Kind;
use super::late::Lateness;
use super::requests::{Asking, AtRequests, Resolved};
use super::stream::{Deliveries, Trace};
use super::{Delivery, Legality, Phase, PlanError};

/// A fault of a plan, in the order in which [`Delivery::faults`] counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Name that keys its draws.
    pub name: String,
    /// Kind, as in the catalogue.
    pub kind: String,
    /// Legality class.
    pub legality: Legality,
    /// Whether events are handed over more than once because of it.
    pub redelivers: bool,
}

/// What a plan comes to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PlanSummary {
    /// Events in the slice under test.
    pub events: u64,
    /// Events of the warm-up.
    pub warm_up_events: u64,
    /// Deliveries in all, warm-up included.
    pub deliveries: u64,
    /// Deliveries with attempt > 0.
    pub redeliveries: u64,
    /// Due time of the last delivery, in microseconds.
    pub length_us: i64,
    /// Silences cut by `gap-max`.
    pub gaps_cut: u64,
    /// Replay time saved by cutting, in microseconds.
    pub gaps_cut_us: i64,
    /// Each fault of the scenario, in order, and behind them its changes of flags.
    pub faults: Vec<FaultSummary>,
}

/// What a fault did in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultSummary {
    /// Name that keys its draws.
    pub name: String,
    /// Kind, as in the catalogue.
    pub kind: String,
    /// Legality class.
    pub legality: Legality,
    /// Instances planned (events or stretches touched).
    pub planned: u64,
    /// What was achieved, as name and figure in order, such as `("share", 0.049)`, `("extent-max", 64.0)`.
    pub coverage: Vec<(String, f64)>,
    /// When it fires, for a fault at requests of Kafka clients or a change of a flag; none for one at events. Of one that requests begin,
    /// nothing is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_requests: Option<AtRequests>,
}

impl FaultSummary {
    /// Whether it is known now already that it will touch nothing.
    pub fn touches_nothing(&self) -> bool {
        self.planned == 0 && self.at_requests.as_ref().is_none_or(|at| at.by_time)
    }
}

/// What is known once a plan has been run through.
#[derive(Debug, Clone)]
pub(super) struct Summarised {
    pub(super) summary: PlanSummary,
    /// Position of the first delivery, by topic and partition.
    pub(super) first_positions: BTreeMap<(u32, i32), i64>,
    /// Faults at requests, in the scenario's order.
    pub(super) requests: Resolved,
    /// Changes of flags, likewise.
    pub(super) changes: Vec<FlagChange>,
}

/// Runs through a plan once.
pub(super) fn summarise(checked: &Checked, mut deliveries: Deliveries) -> Result<Summarised, PlanError> {
    let mut summary = PlanSummary::default();
    let mut first_positions = vec![None; checked.partitions.len()];
    let mut coverage = Coverage::new(checked);
    deliveries.asking = Asking::new(&checked.requests, &checked.changes, checked.origin_us);
    while let Some(delivery) = deliveries.next().transpose()? {
        summary.deliveries += 1;
        summary.redeliveries += u64::from(delivery.attempt > 0);
        summary.length_us = delivery.due_us;
        if delivery.phase != Phase::WarmUp {
            deliveries.asking.delivery(delivery.place, delivery.due_us);
        }
        first_positions[deliveries.trace.partition].get_or_insert(delivery.position);
        coverage.add(&delivery, deliveries.trace);
    }
    summary.events = deliveries.counts.main;
    summary.warm_up_events = deliveries.counts.warm_up;
    summary.gaps_cut = deliveries.schedule.gaps_cut;
    summary.gaps_cut_us = deliveries.schedule.cut_us();
    let requests = Resolved::new(&deliveries.asking, &checked.requests, checked.seed, checked.origin_us);
    let at_events = |index: usize| {
        let PlannedFault { name, kind, legality, .. } = checked.named[index].clone();
        let lateness = deliveries.lateness.get(&index);
        let in_time = lateness.map_or(0, |lateness| lateness.in_time);
        let (planned, coverage) = (deliveries.fired()[index] - in_time, coverage.figures(checked, index, lateness));
        FaultSummary { name, kind, legality, planned, coverage, at_requests: None }
    };
    let fault = |(at_requests, place): &(bool, usize)| {
        if *at_requests { requests.0[*place].summary() } else { at_events(*place) }
    };
    let changes: Vec<FlagChange> =
        checked.changes.iter().map(|change| change.resolve(&deliveries.asking, checked.origin_us)).collect();
    summary.faults = checked.order.iter().map(fault).chain(changes.iter().map(FlagChange::summary)).collect();
    let first = |(index, position): (usize, Option<i64>)| {
        Some(((checked.topic_of[index], checked.partitions[index].partition), position?))
    };
    let first_positions = first_positions.into_iter().enumerate().filter_map(first).collect();
    Ok(Summarised { summary, first_positions, requests, changes })
}

/// Arrivals looked back at for the extent of a reordering; one that reaches further counts as reaching this far.
const LOOK_BACK: usize = 1 << 17;

/// Follows a plan and notes what its faults achieve.
struct Coverage {
    faults: Vec<FaultCoverage>,
    lanes: Vec<Arrivals>,
    first_attempts: u64,
}

#[derive(Debug, Clone, Default)]
struct FaultCoverage {
    touched: u64,
    reordered: u64,
    extent_max: u64,
    behind_us_max: i64,
    behind_us_min: Option<i64>,
    distance_max: i64,
    partitions: BTreeSet<usize>,
}

/// First attempts of a partition that came ahead of all smaller offsets: those that anything later is measured against.
#[derive(Debug, Clone, Default)]
struct Arrivals {
    count: u64,
    /// Arrival and offset, both rising.
    highest: VecDeque<(u64, i64)>,
}

impl Coverage {
    fn new(checked: &Checked) -> Self {
        Self {
            faults: vec![FaultCoverage::default(); checked.named.len()],
            lanes: vec![Arrivals::default(); checked.partitions.len()],
            first_attempts: 0,
        }
    }

    fn add(&mut self, delivery: &Delivery, trace: Trace) {
        if delivery.phase == Phase::WarmUp {
            return;
        }
        let mut extent = 0;
        if delivery.attempt == 0 {
            self.first_attempts += 1;
            extent = self.lanes[trace.partition].extent(delivery.offset);
        }
        for fault in bits(delivery.faults) {
            let coverage = &mut self.faults[fault];
            coverage.touched += 1;
            coverage.reordered += u64::from(extent > 0);
            coverage.extent_max = coverage.extent_max.max(extent);
            coverage.partitions.insert(trace.partition);
            if delivery.attempt > 0 {
                let behind = delivery.due_us - trace.origin_us;
                coverage.behind_us_max = coverage.behind_us_max.max(behind);
                coverage.behind_us_min = Some(coverage.behind_us_min.map_or(behind, |least| least.min(behind)));
                coverage.distance_max = coverage.distance_max.max(trace.distance);
            }
        }
    }

    fn figures(&self, checked: &Checked, index: usize, lateness: Option<&Lateness>) -> Vec<(String, f64)> {
        let coverage = &self.faults[index];
        let fault = &checked.faults.all[index];
        let figures = match fault.kind {
            Kind::Reorder | Kind::Straggle => vec![
                ("share", coverage.reordered as f64 / self.first_attempts.max(1) as f64),
                ("extent-max", coverage.extent_max as f64),
            ],
            Kind::Duplicate => vec![
                ("redelivered", coverage.touched as f64),
                ("distance-min-s", coverage.behind_us_min.unwrap_or(0) as f64 / 1e6),
                ("distance-max-s", coverage.behind_us_max as f64 / 1e6),
                ("distance-max-events", coverage.distance_max as f64),
            ],
            Kind::Rewind => {
                vec![("redelivered", coverage.touched as f64), ("partitions", coverage.partitions.len() as f64)]
            }
            Kind::Stall => {
                let length_us = if let Effect::Stall { length_us, .. } = fault.effect { length_us } else { 0 };
                vec![
                    ("partitions", coverage.partitions.len() as f64),
                    ("events-held", coverage.touched as f64),
                    ("length-s", length_us as f64 / 1e6),
                ]
            }
            Kind::Interleave => vec![
                ("share", coverage.touched as f64 / self.first_attempts.max(1) as f64),
                ("partitions", coverage.partitions.len() as f64),
            ],
            Kind::Late => {
                let Lateness { inside, at_bound, beyond, .. } = lateness.copied().unwrap_or_default();
                vec![
                    ("share", coverage.touched as f64 / self.first_attempts.max(1) as f64),
                    ("inside", inside as f64),
                    ("at-bound", at_bound as f64),
                    ("beyond", beyond as f64),
                ]
            }
            Kind::Delay | Kind::Jitter => vec![("share", coverage.touched as f64 / self.first_attempts.max(1) as f64)],
            Kind::Drop => Vec::new(),
        };
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
    }
}

impl Arrivals {
    /// Adds a first attempt and returns its reordering extent: how many arrivals ago the first larger offset came, 0 where none
    /// did (RFC 4737, section 4.2).
    fn extent(&mut self, offset: i64) -> u64 {
        let arrival = self.count;
        self.count += 1;
        if self.highest.back().is_none_or(|(_, highest)| offset > *highest) {
            self.highest.push_back((arrival, offset));
            while self.highest.front().is_some_and(|(first, _)| arrival - first > LOOK_BACK as u64) {
                self.highest.pop_front();
            }
            return 0;
        }
        let first = self.highest.partition_point(|(_, highest)| *highest <= offset);
        self.highest.get(first).map_or(0, |(first, _)| arrival - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_reaches_back_to_the_first_larger_offset() {
        let mut arrivals = Arrivals::default();
        let extents: Vec<u64> = [0, 3, 4, 1, 2, 5].into_iter().map(|offset| arrivals.extent(offset)).collect();
        assert_eq!(extents, [0, 0, 0, 2, 3, 0]);
    }
}
