//! Where event time stands at each moment of the schedule: what the clock of a recorded world shows.

use std::fmt;
use std::sync::Arc;

use super::checked::Checked;
use super::cursor::Reading;
use super::faults::FaultStates;
use super::intake::Intake;
use super::pace::Schedule;
use super::source::Values;
use super::{Phase, PlanError};

/// A moment of the schedule, and the event time that is reached then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePoint {
    /// Microseconds since the schedule's start; never below that of the point ahead of it.
    pub due_us: i64,
    /// Microseconds since the Unix epoch, likewise.
    pub event_us: i64,
}

/// The points of a schedule, one for each event of the slice, in order and ahead of any fault. Each reader has its own.
///
/// Where partitions are handed over one after the other, event time goes on from one to the next as the schedule does. After an error
/// there are no more points.
pub struct Timeline {
    checked: Arc<Checked>,
    states: FaultStates,
    values: Option<Box<dyn Values + Send>>,
    intake: Intake,
    schedule: Schedule,
    /// By how much event time is moved.
    moved_us: i64,
    failed: bool,
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Timeline {
    pub(super) fn new(checked: Arc<Checked>, moved_us: i64) -> Self {
        Self {
            states: FaultStates::new(&checked.faults, checked.partitions.len()),
            values: None,
            intake: Intake::new(&checked),
            schedule: Schedule::new(checked.pace),
            moved_us,
            failed: false,
            checked,
        }
    }

    /// How many times as fast as a clock event time goes on between two points; none where it goes evenly from each to the next.
    pub fn speed(&self) -> Option<f64> {
        self.checked.pace.speed()
    }

    fn step(&mut self) -> Result<Option<TimePoint>, PlanError> {
        let mut reading = Reading { checked: &self.checked, states: &mut self.states, values: &mut self.values };
        while let Some(arrival) = self.intake.next(&mut reading)? {
            if arrival.item.phase == Phase::WarmUp {
                continue;
            }
            let due_us = self.schedule.next(arrival.clock_us, arrival.partition);
            let origin_us = self.checked.origin_us.saturating_add(self.moved_us);
            return Ok(Some(TimePoint { due_us, event_us: origin_us.saturating_add(arrival.clock_us) }));
        }
        Ok(None)
    }
}

impl Iterator for Timeline {
    type Item = Result<TimePoint, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let point = self.step();
        self.failed = point.is_err();
        point.transpose()
    }
}
