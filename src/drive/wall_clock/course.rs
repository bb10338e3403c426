//! Where the clock of a recorded world stands at each moment of the schedule.

use super::EventTime;
use crate::plan::{PlanError, TimePoint};

/// Event time as the schedule passes: from one point to the next.
#[derive(Debug)]
pub(in crate::drive) struct Course<'p> {
    time: EventTime<'p>,
    from: TimePoint,
    to: Option<TimePoint>,
}

impl<'p> Course<'p> {
    /// Begins at the first point of `time`; none where there is none.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub(in crate::drive) fn begin(mut time: EventTime<'p>) -> Result<Option<Self>, PlanError> {
        let Some(from) = time.points.next().transpose()? else { return Ok(None) };
        let to = time.points.next().transpose()?;
        Ok(Some(Self { time, from, to }))
    }

    /// Event time at the schedule's start.
    pub(super) fn begins_us(&self) -> i64 {
        self.from.event_us
    }

    /// Event time at `now_us` of the schedule, in microseconds since the Unix epoch. What is asked for must not go back.
    ///
    /// Between two points it goes on at the pace's speed, and never beyond the second: where a silence was cut, it stands still there, and
    /// leaps with the event that ends the silence.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub(super) fn at(&mut self, now_us: i64) -> Result<i64, PlanError> {
        while let Some(to) = self.to.filter(|to| to.due_us <= now_us) {
            self.from = to;
            self.to = self.time.points.next().transpose()?;
        }
        let passed_us = (now_us - self.from.due_us) as f64;
        let Some(to) = self.to else {
            return Ok(self.from.event_us + (passed_us * self.time.speed.unwrap_or(1.0)) as i64);
        };
        let speed = self.time.speed.unwrap_or_else(|| {
            (to.event_us - self.from.event_us) as f64 / (to.due_us - self.from.due_us).max(1) as f64
        });
        Ok((self.from.event_us + (passed_us * speed) as i64).min(to.event_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks where a clock stands at moments, given points and moments in milliseconds.
    fn check(points: &[(i64, i64)], speed: Option<f64>, expected: &[(i64, i64)]) {
        let point = |(due, event): &(i64, i64)| Ok(TimePoint { due_us: due * 1_000, event_us: event * 1_000 });
        let points: Vec<_> = points.iter().map(point).collect();
        let points = points.into_iter();
        let mut course = Course::begin(EventTime { speed, points: Box::new(points) }).unwrap().unwrap();
        for (now, event) in expected {
            assert_eq!(course.at(now * 1_000).unwrap(), event * 1_000, "at {now}");
        }
    }

    #[test]
    fn between_events_it_goes_on_at_the_speed_of_the_pace() {
        let events = [(0, 5_000), (100, 6_000), (200, 7_000)];
        check(&events, Some(10.0), &[(0, 5_000), (50, 5_500), (100, 6_000), (150, 6_500), (200, 7_000), (300, 8_000)]);
    }

    #[test]
    fn a_silence_that_was_cut_is_leapt_over_by_the_event_that_ends_it() {
        check(&[(0, 0), (2_000, 3_600_000)], Some(1.0), &[(1_999, 1_999), (2_000, 3_600_000), (2_500, 3_600_500)]);
    }

    #[test]
    fn it_never_runs_ahead_of_the_next_event_nor_goes_back() {
        // Rounded due times: at speed 3 the next event would come a little late.
        check(&[(0, 0), (4, 10)], Some(3.0), &[(3, 9), (4, 10), (5, 13)]);
    }

    #[test]
    fn where_no_speed_is_always_the_same_it_goes_evenly_from_event_to_event() {
        let events = [(0, 0), (250, 7_000), (500, 7_500), (500, 9_000)];
        check(&events, None, &[(125, 3_500), (250, 7_000), (375, 7_250), (500, 9_000), (600, 9_100)]);
    }

    #[test]
    fn there_is_none_without_events() {
        assert!(Course::begin(EventTime { speed: None, points: Box::new(std::iter::empty()) }).unwrap().is_none());
    }
}
