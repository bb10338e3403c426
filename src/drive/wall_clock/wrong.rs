//! How wrong a clock is to be, and when: the faults `clock` of a plan.

use super::super::{DeliverySource, DriveError};
use crate::outcome::Touch;
use crate::plan::{CLOCK, ClockChange, RequestEffect, RequestFault};

/// The faults of a plan that set clocks wrong, and what came of them in one drive.
#[derive(Debug, Default)]
pub(super) struct Wrongs {
    all: Vec<Wrong>,
    touches: Vec<Touch>,
    /// Up to where the schedule has been followed: what has begun by then goes on, though another looks by a clock that is a little behind.
    reached_us: i64,
    /// How wrong the clock is.
    wrong_us: i64,
    furthest_us: i64,
}

#[derive(Debug)]
struct Wrong {
    name: String,
    change: ClockChange,
    moments_us: Vec<i64>,
    length_us: i64,
    /// Instances that have begun.
    begun: usize,
}

impl Wrongs {
    /// Takes those of a plan.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub(super) fn of_plan(plan: &dyn DeliverySource) -> Result<Self, DriveError> {
        Ok(Self::new(&plan.request_faults()?))
    }

    fn new(faults: &[RequestFault]) -> Self {
        let all = faults.iter().filter_map(|fault| {
            let RequestEffect::Clock { change } = fault.effect else { return None };
            let most = usize::try_from(fault.most).unwrap_or(usize::MAX);
            let moments = fault.moments_us().unwrap_or_default();
            Some(Wrong {
                name: fault.name.clone(),
                change,
                moments_us: moments.iter().copied().take(most).collect(),
                length_us: fault.length_us,
                begun: 0,
            })
        });
        let all: Vec<Wrong> = all.collect();
        // What is to happen at the very start has not happened.
        let mut wrongs = Self { all, reached_us: -1, ..Self::default() };
        wrongs.wrong_us = wrongs.at_start_us();
        wrongs.furthest_us = wrongs.wrong_us.abs();
        wrongs
    }

    pub(super) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// The largest step of all, in microseconds, with its sign; zero where there is none.
    pub(super) fn largest_step_us(&self) -> i64 {
        let step = |wrong: &Wrong| if let ClockChange::Step(us) = wrong.change { Some(us) } else { None };
        self.all.iter().filter_map(step).max_by_key(|us| us.unsigned_abs()).unwrap_or(0)
    }

    /// By how much the clock is wrong from the build's start on, in microseconds.
    pub(super) fn at_start_us(&self) -> i64 {
        let shift = |wrong: &Wrong| match wrong.change {
            ClockChange::Shift(us) if !wrong.moments_us.is_empty() => us,
            _ => 0,
        };
        self.all.iter().map(shift).sum()
    }

    /// By how much it is wrong at `now_us` of the schedule, in microseconds; by then so much has passed on it since the schedule's start
    /// as it would show without faults.
    fn at(&self, now_us: i64, passed_us: i64) -> i64 {
        let steps = |wrong: &Wrong, us: i64| {
            let begun = wrong.moments_us.iter().take_while(|moment| **moment <= now_us);
            let lasts = |moment: &&i64| wrong.length_us == 0 || now_us - **moment < wrong.length_us;
            begun.filter(lasts).count() as i64 * us
        };
        let of_one = |wrong: &Wrong| match wrong.change {
            ClockChange::Step(us) => steps(wrong, us),
            ClockChange::Drift(rate) if !wrong.moments_us.is_empty() => (passed_us.max(0) as f64 * rate) as i64,
            _ => 0,
        };
        self.at_start_us() + self.all.iter().map(of_one).sum::<i64>()
    }

    /// Goes on to `now_us` of the schedule and notes what has begun by then; returns how wrong the clock is, as [`Self::at`].
    pub(super) fn go_on(&mut self, now_us: i64, passed_us: i64) -> i64 {
        if !self.any() {
            return 0;
        }
        let now_us = now_us.max(self.reached_us);
        self.note(now_us);
        self.wrong_us = self.at(now_us, passed_us);
        self.furthest_us = self.furthest_us.max(self.wrong_us.abs());
        self.wrong_us
    }

    /// As [`Self::go_on`], to a moment at which an instance begins; returns by how much the clock leaps with it.
    pub(super) fn leap(&mut self, due_us: i64) -> i64 {
        if self.next_us().is_none_or(|next_us| next_us > due_us) {
            return 0;
        }
        // What drifts does not leap.
        let by_us = self.at(due_us, 0) - self.at(self.reached_us, 0);
        self.note(due_us);
        self.wrong_us += by_us;
        self.furthest_us = self.furthest_us.max(self.wrong_us.abs());
        by_us
    }

    /// How wrong the clock was at most, in microseconds, ahead or back.
    pub(super) fn furthest_us(&self) -> i64 {
        self.furthest_us
    }

    /// The first moment that has not been reached and at which the clock leaps, into an instance or back.
    pub(super) fn next_us(&self) -> Option<i64> {
        self.all.iter().filter_map(|wrong| wrong.next_us(self.reached_us)).min()
    }

    /// Notes what has begun by `now_us` of the schedule.
    fn note(&mut self, now_us: i64) {
        self.reached_us = self.reached_us.max(now_us);
        for wrong in &mut self.all {
            while wrong.moments_us.get(wrong.begun).is_some_and(|moment| *moment <= now_us) {
                wrong.begun += 1;
                self.touches.push(Touch {
                    at_us: now_us,
                    fault: wrong.name.clone(),
                    kind: CLOCK.to_owned(),
                    instance: wrong.begun as u64,
                    by_us: wrong.change.by_us(),
                    ..Touch::default()
                });
            }
        }
    }

    /// Takes what has begun since.
    pub(super) fn take_touches(&mut self) -> Vec<Touch> {
        std::mem::take(&mut self.touches)
    }

    /// How many instances of each have begun, by name.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.all.iter().map(|wrong| (wrong.name.as_str(), wrong.begun as u64))
    }
}

impl Wrong {
    /// The first moment behind `reached_us` at which an instance begins or ends.
    fn next_us(&self, reached_us: i64) -> Option<i64> {
        let behind = |us: i64| self.moments_us[self.moments_us.partition_point(|moment| *moment <= us)..].first();
        let begins = behind(reached_us).copied();
        let ends =
            behind(reached_us - self.length_us).filter(|_| self.length_us > 0).map(|moment| moment + self.length_us);
        begins.into_iter().chain(ends).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Legality, RequestTrigger};

    fn fault(change: ClockChange, moments: &[i64], length_us: i64, most: u64) -> RequestFault {
        RequestFault {
            index: 0,
            name: "c".to_owned(),
            kind: CLOCK,
            legality: Legality::B,
            redelivers: false,
            effect: RequestEffect::Clock { change },
            requests: Vec::new(),
            topics: Vec::new(),
            partitions: Vec::new(),
            clients: Vec::new(),
            groups: Vec::new(),
            trigger: RequestTrigger::Moments(moments.to_vec()),
            length_us,
            most,
        }
    }

    /// Checks how wrong a clock is at moments, where as much passes on it as of the schedule.
    fn check(faults: &[RequestFault], expected: &[(i64, i64)]) {
        let wrongs = Wrongs::new(faults);
        for (now, wrong) in expected {
            assert_eq!(wrongs.at(*now, *now), *wrong, "at {now}");
        }
    }

    #[test]
    fn a_shift_is_there_from_the_start_a_step_from_its_moment_and_a_drift_grows() {
        check(&[fault(ClockChange::Shift(-7), &[0], 0, 9)], &[(-5, -7), (0, -7), (99, -7)]);
        check(&[fault(ClockChange::Step(5), &[10, 20], 0, 9)], &[(-5, 0), (9, 0), (10, 5), (20, 10), (99, 10)]);
        check(&[fault(ClockChange::Step(5), &[10, 20, 30], 4, 2)], &[(13, 5), (14, 0), (21, 5), (31, 0)]);
        check(&[fault(ClockChange::Drift(-0.5), &[0], 0, 9)], &[(-5, 0), (0, 0), (100, -50)]);
        let both = [fault(ClockChange::Shift(100), &[0], 0, 9), fault(ClockChange::Step(-1), &[10], 0, 9)];
        check(&both, &[(0, 100), (10, 99)]);
        assert_eq!(Wrongs::new(&both).largest_step_us(), -1);
        // What a fault log has nothing of does not take place.
        check(&[fault(ClockChange::Shift(-7), &[], 0, 9), fault(ClockChange::Drift(0.5), &[], 0, 9)], &[(99, 0)]);
    }

    #[test]
    fn what_leaps_ahead_of_an_event_is_not_taken_back_by_who_is_a_little_behind() {
        let mut wrongs = Wrongs::new(&[fault(ClockChange::Step(5), &[10, 20], 0, 9)]);
        assert_eq!(wrongs.go_on(8, 8), 0);
        assert_eq!((wrongs.leap(9), wrongs.leap(10), wrongs.leap(10)), (0, 5, 0));
        assert_eq!((wrongs.go_on(9, 9), wrongs.go_on(25, 25), wrongs.furthest_us()), (5, 10, 10));
    }

    #[test]
    fn it_leaps_back_where_an_instance_ends() {
        let mut wrongs = Wrongs::new(&[fault(ClockChange::Step(5), &[10, 20], 4, 9)]);
        let mut leaps = Vec::new();
        while let Some(next_us) = wrongs.next_us() {
            leaps.push((next_us, wrongs.leap(next_us)));
        }
        assert_eq!(leaps, [(10, 5), (14, -5), (20, 5), (24, -5)]);
        assert_eq!(wrongs.counts().next(), Some(("c", 2)));
    }

    #[test]
    fn each_instance_is_noted_once() {
        let mut wrongs = Wrongs::new(&[fault(ClockChange::Step(5), &[10, 20], 0, 9)]);
        assert_eq!(wrongs.next_us(), Some(10));
        wrongs.note(9);
        assert!(wrongs.take_touches().is_empty());
        wrongs.note(12);
        wrongs.note(12);
        let [touch] = &wrongs.take_touches()[..] else { panic!() };
        assert_eq!((touch.at_us, touch.instance, touch.by_us), (12, 1, Some(5)));
        wrongs.note(50);
        assert_eq!((wrongs.next_us(), wrongs.counts().collect::<Vec<_>>()), (None, vec![("c", 2)]));
    }
}
