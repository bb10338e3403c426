//! Events behind the watermark: inside the bound within which builds take them, at it, and beyond it.
//!
//! The watermark is the largest event time handed over so far. Events come when they come, so lateness is drawn and then rounded
//! to what the stream has: an event inside the bound, or at it and in time, is handed over ahead of the event that would make it later
//! than drawn; one beyond it behind the event that makes it so late. So the side of the bound is kept, and what is to be at the bound
//! is where the stream has an event at that time.

use super::seed::{DrawKey, Purpose};

/// What is drawn around the bound, in microseconds: one millisecond, as finely as Kafka tells time.
const STEP_US: i64 = 1_000;

/// How much later than the bound events come at most, in bounds.
const BEYOND: i64 = 3;

/// How late events come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Late {
    /// Event time.
    pub(super) bound_us: i64,
    /// Shares of all events.
    pub(super) inside: f64,
    pub(super) at_bound: f64,
    pub(super) beyond: f64,
}

/// Events by how late they came: inside the bound, at it by a millisecond, beyond it; and those that were held back and came ahead of
/// any later event all the same, so that nothing about them was late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lateness {
    pub(super) inside: u64,
    pub(super) at_bound: u64,
    pub(super) beyond: u64,
    pub(super) in_time: u64,
}

impl Late {
    /// Share of all events that come late.
    pub(super) fn all(self) -> f64 {
        self.inside + self.at_bound + self.beyond
    }

    /// How late the event at `offset` comes, in microseconds of event time; nothing for most.
    pub(super) fn lateness_us(self, key: DrawKey, offset: i64) -> i64 {
        let place = key.unit(offset, Purpose::Trigger);
        if place < self.inside {
            key.between(offset, Purpose::Amount, 1, (self.bound_us - STEP_US - 1).max(1))
        } else if place < self.inside + self.at_bound {
            self.bound_us + STEP_US * key.between(offset, Purpose::Amount, -1, 1)
        } else if place < self.all() {
            self.bound_us.saturating_add(key.between(
                offset,
                Purpose::Amount,
                STEP_US + 1,
                self.bound_us.saturating_mul(BEYOND).max(STEP_US + 1),
            ))
        } else {
            0
        }
    }

    /// Whether an event that is drawn so late is to be too late.
    pub(super) fn is_beyond(self, lateness_us: i64) -> bool {
        lateness_us > self.bound_us
    }
}

impl Lateness {
    /// Counts an event that came `us` behind the watermark; `in_order` says that none of its partition came ahead of it that lies
    /// behind it. Whether it was late.
    pub(super) fn count(&mut self, late: Late, us: i64, in_order: bool) -> bool {
        let in_time = us <= 0 && in_order;
        let over_us = us - late.bound_us;
        let place = if in_time {
            &mut self.in_time
        } else if over_us.abs() <= STEP_US {
            &mut self.at_bound
        } else if over_us < 0 {
            &mut self.inside
        } else {
            &mut self.beyond
        };
        *place += 1;
        !in_time
    }
}
