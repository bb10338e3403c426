//! Faults at the processes of a build: when each begins. What then happens is the crew's.
//!
//! A number of commits begins an instance, or a moment does. A commit that begins a crash is held until the process is gone: it was
//! killed behind what it did, and ahead of the commit.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::stage::Gate;
use super::super::{DeliverySource, DriveError};
use crate::plan::{RequestEffect, RequestFault, RequestTrigger, Victim};

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drive) enum What {
    Crash,
    Restart { grace: Duration },
    Freeze,
}

/// A fault at processes, in force.
#[derive(Debug)]
struct Armed {
    name: String,
    kind: &'static str,
    what: What,
    victim: Victim,
    length: Duration,
    trigger: RequestTrigger,
    most: u64,
}

/// An instance that has begun, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive) struct Due {
    /// Name of the fault.
    pub(in crate::drive) fault: String,
    pub(in crate::drive) kind: &'static str,
    pub(in crate::drive) what: What,
    /// How long the process is away, or stands still.
    pub(in crate::drive) length: Duration,
    /// Number of the instance among those of the fault, from 1 on.
    pub(in crate::drive) number: u64,
    /// Number of the process.
    pub(in crate::drive) instance: u32,
    /// The commit that began it, counted from 1; none where a moment did.
    pub(in crate::drive) commit: Option<u64>,
    /// Whether that commit is held until the process is gone.
    held: bool,
}

/// Whether a commit is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drive) enum Commit {
    /// It is.
    Done,
    /// A process was killed meanwhile: it is where whoever made it is still there.
    InDoubt,
}

/// See the top of the file. Shared by those who see commits, and whoever acts on what is due.
#[derive(Debug)]
pub(in crate::drive) struct Stops {
    faults: Vec<Armed>,
    processes: u32,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Between the start of the schedule and its end, but for rests.
    acts: bool,
    over: bool,
    commits: u64,
    /// By fault: instances that have begun.
    begun: Vec<u64>,
    /// By fault: moments that have passed.
    passed: Vec<usize>,
    due: VecDeque<Due>,
    /// Crashes that hold a commit.
    held: usize,
    /// Instances that go on.
    going_on: usize,
    /// Of those, whose process is not to be handed anything.
    away: usize,
    /// Instances that end their process, and have begun.
    ended: u64,
    /// When the last one was over, in microseconds of the drive's clock.
    over_us: Option<i64>,
}

impl Stops {
    /// Takes those of a plan, for a build of so many processes.
    pub(in crate::drive) fn of_plan(plan: &dyn DeliverySource, processes: u32) -> Result<Arc<Self>, DriveError> {
        Ok(Arc::new(Self::new(&plan.request_faults()?, processes)))
    }

    fn new(faults: &[RequestFault], processes: u32) -> Self {
        let faults: Vec<Armed> = faults.iter().filter_map(armed).collect();
        let state = State { begun: vec![0; faults.len()], passed: vec![0; faults.len()], ..State::default() };
        Self { faults, processes, state: Mutex::new(state), released: Condvar::new() }
    }

    /// Whether there are any.
    pub(in crate::drive) fn any(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Names of all, in the scenario's order.
    pub(in crate::drive) fn names(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().map(|fault| fault.name.as_str())
    }

    /// The schedule has started, or a rest is over.
    pub(in crate::drive) fn act(&self) {
        let mut state = self.lock();
        state.acts = !state.over;
    }

    /// Nothing begins until [`Self::act`]; what has begun goes on.
    pub(in crate::drive) fn rest(&self) {
        self.lock().acts = false;
    }

    /// Nothing begins any more, and nobody is held.
    pub(in crate::drive) fn end(&self) {
        let mut state = self.lock();
        (state.acts, state.over, state.held) = (false, true, 0);
        state.due.clear();
        self.released.notify_all();
    }

    /// A build is about to commit. Returns once that may go on.
    pub(in crate::drive) fn commit(&self) -> Commit {
        if !self.any() {
            return Commit::Done;
        }
        let mut state = self.lock();
        if state.acts {
            self.count(&mut state);
        }
        if state.held == 0 {
            return Commit::Done;
        }
        while state.held > 0 {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Commit::InDoubt
    }

    /// As [`Self::commit`] for whoever cannot wait; returns whether the commit begins a crash, and so is not done.
    pub(in crate::drive) fn note_commit(&self) -> bool {
        let mut state = self.lock();
        let before = state.held;
        if state.acts {
            self.count(&mut state);
        }
        state.held > before
    }

    fn count(&self, state: &mut State) {
        // Of who is being ended nothing counts any more: it makes none of the commits that wait.
        if state.held > 0 || self.processes == 1 && state.away > 0 {
            return;
        }
        state.commits += 1;
        let commits = state.commits;
        for (index, fault) in self.faults.iter().enumerate() {
            if state.begun[index] < fault.most && fault.begins_with(commits) {
                self.begin(state, index, Some(commits));
            }
        }
    }

    fn begin(&self, state: &mut State, index: usize, commit: Option<u64>) {
        let fault = &self.faults[index];
        state.begun[index] += 1;
        let number = state.begun[index];
        let held = fault.what == What::Crash && commit.is_some();
        state.held += usize::from(held);
        state.going_on += 1;
        state.away += usize::from(fault.what != What::Freeze);
        state.ended += u64::from(fault.what != What::Freeze);
        state.due.push_back(Due {
            fault: fault.name.clone(),
            kind: fault.kind,
            what: fault.what,
            length: fault.length,
            number,
            instance: fault.victim.choose(&fault.name, number, self.processes),
            commit,
            held,
        });
    }

    /// Takes what is due at `now_us`, in microseconds since the schedule's start.
    pub(in crate::drive) fn due(&self, now_us: i64) -> VecDeque<Due> {
        let mut state = self.lock();
        for (index, fault) in self.faults.iter().enumerate() {
            let RequestTrigger::Moments(moments) = &fault.trigger else { continue };
            while moments.get(state.passed[index]).is_some_and(|moment| *moment <= now_us) {
                state.passed[index] += 1;
                // What passes while all rests is not made up for.
                if state.acts && state.begun[index] < fault.most {
                    self.begin(&mut state, index, None);
                }
            }
        }
        std::mem::take(&mut state.due)
    }

    /// The process of an instance is gone, or will not go: nobody is held for it any more.
    pub(in crate::drive) fn release(&self, due: &Due) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(usize::from(due.held));
        if state.held == 0 {
            self.released.notify_all();
        }
    }

    /// An instance does not take place: its process is away already.
    pub(in crate::drive) fn skip(&self, due: &Due, now_us: i64) {
        self.release(due);
        self.is_over(due, now_us);
        let mut state = self.lock();
        state.ended = state.ended.saturating_sub(u64::from(due.what != What::Freeze));
    }

    /// An instance is over: its process stands as before.
    pub(in crate::drive) fn is_over(&self, due: &Due, now_us: i64) {
        let mut state = self.lock();
        state.going_on = state.going_on.saturating_sub(1);
        state.away = state.away.saturating_sub(usize::from(due.what != What::Freeze));
        state.over_us = Some(now_us);
    }

    /// Whether a process is gone, or told to end: it is handed nothing.
    pub(in crate::drive) fn are_away(&self) -> bool {
        self.lock().away > 0
    }

    /// How many instances have begun: of what goes wrong meanwhile nobody can tell that it is the build's doing.
    pub(in crate::drive) fn begun(&self) -> u64 {
        self.lock().begun.iter().sum()
    }

    /// How many instances have begun that end their process.
    pub(in crate::drive) fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// Whether an instance goes on.
    pub(in crate::drive) fn go_on(&self) -> bool {
        self.lock().going_on > 0
    }

    /// Whether an instance goes on, or the build has shown no sign of life, last seen at `progress_us`, since the last one was over, which
    /// is no longer ago than `patience`.
    pub(in crate::drive) fn act_still(&self, now_us: i64, progress_us: i64, patience: Duration) -> bool {
        let state = self.lock();
        let patience_us = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let recovers = |over_us: i64| progress_us <= over_us && now_us - over_us < patience_us;
        state.going_on > 0 || state.over_us.is_some_and(recovers)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for Stops {
    fn commit(&self) -> bool {
        Stops::commit(self) == Commit::Done
    }
}

impl Armed {
    /// Whether the commit of this number begins an instance.
    fn begins_with(&self, commit: u64) -> bool {
        match &self.trigger {
            RequestTrigger::Always => true,
            RequestTrigger::Probability { chance, seed } => {
                let drawn = seed.draws(&self.name)(commit) >> 11;
                (drawn as f64) * (1.0 / 9_007_199_254_740_992.0) < *chance
            }
            RequestTrigger::Nth(number) => commit == *number,
            RequestTrigger::These(which) => {
                which.get(&None).is_some_and(|which: &BTreeSet<u64>| which.contains(&commit))
            }
            RequestTrigger::Every(number) => commit.is_multiple_of(*number),
            RequestTrigger::OnceEach => commit == 1,
            RequestTrigger::Moments(_) => false,
        }
    }
}

fn armed(fault: &RequestFault) -> Option<Armed> {
    let micros = |us: i64| Duration::from_micros(us.unsigned_abs());
    let (what, victim) = match fault.effect {
        RequestEffect::Crash { victim } => (What::Crash, victim),
        RequestEffect::Restart { victim, grace_us } => (What::Restart { grace: micros(grace_us) }, victim),
        RequestEffect::Freeze { victim } => (What::Freeze, victim),
        _ => return None,
    };
    Some(Armed {
        name: fault.name.clone(),
        kind: fault.kind,
        what,
        victim,
        length: micros(fault.length_us),
        trigger: fault.trigger.clone(),
        most: fault.most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Legality, Seed};

    fn fault(effect: RequestEffect, trigger: RequestTrigger, most: u64) -> RequestFault {
        let kind = match effect {
            RequestEffect::Crash { .. } => "crash",
            RequestEffect::Restart { .. } => "restart",
            _ => "freeze",
        };
        RequestFault {
            index: 0,
            name: kind.to_owned(),
            kind,
            legality: Legality::A,
            redelivers: true,
            effect,
            requests: Vec::new(),
            topics: Vec::new(),
            partitions: Vec::new(),
            clients: Vec::new(),
            groups: Vec::new(),
            trigger,
            length_us: 5,
            most,
        }
    }

    const ONE: Victim = Victim::Instance(0);

    #[test]
    fn commits_count_from_the_start_of_the_schedule_to_its_end() {
        let trigger = RequestTrigger::Every(3);
        let stops = Stops::new(&[fault(RequestEffect::Freeze { victim: ONE }, trigger, 2)], 1);
        (0..5).for_each(|_| assert_eq!(stops.commit(), Commit::Done));
        assert!(stops.due(0).is_empty(), "the warm-up counts nothing");
        stops.act();
        let mut begun = Vec::new();
        for _ in 0..12 {
            stops.commit();
            begun.extend(stops.due(0).into_iter().map(|due| (due.number, due.commit)));
        }
        assert_eq!(begun, [(1, Some(3)), (2, Some(6))], "two at most");
        let stops = Stops::new(&[fault(RequestEffect::Freeze { victim: ONE }, RequestTrigger::Every(1), 9)], 1);
        stops.act();
        stops.rest();
        stops.commit();
        assert!(stops.due(0).is_empty(), "nothing begins at rest");
        stops.end();
        stops.act();
        stops.commit();
        assert!(stops.due(0).is_empty(), "nor once it is over");
    }

    #[test]
    fn moments_begin_what_they_name_once_and_none_is_made_up_for() {
        let trigger = RequestTrigger::Moments(vec![10, 20, 30]);
        let stops = Stops::new(&[fault(RequestEffect::Freeze { victim: ONE }, trigger, 9)], 1);
        assert!(stops.due(15).is_empty(), "it is not acting yet");
        stops.act();
        assert!(stops.due(15).is_empty());
        assert_eq!(stops.due(25).len(), 1);
        assert_eq!(stops.due(100).len(), 1);
        assert!(stops.due(1_000).is_empty());
    }

    #[test]
    fn a_commit_that_begins_a_crash_waits_until_the_process_is_gone() {
        let crash = fault(RequestEffect::Crash { victim: ONE }, RequestTrigger::Nth(2), 9);
        let stops = Stops::new(&[crash], 1);
        stops.act();
        assert_eq!(stops.commit(), Commit::Done);
        std::thread::scope(|scope| {
            let held = scope.spawn(|| stops.commit());
            let due = loop {
                if let Some(due) = stops.due(0).pop_front() {
                    break due;
                }
                std::thread::yield_now();
            };
            assert!(stops.are_away() && stops.go_on() && !held.is_finished());
            stops.release(&due);
            assert_eq!(held.join().unwrap(), Commit::InDoubt);
            // Commits of who is being ended count nothing.
            stops.commit();
            stops.is_over(&due, 7);
        });
        assert!(!stops.are_away() && !stops.go_on());
        assert!(stops.act_still(8, 7, Duration::from_secs(1)), "nothing has come of it since");
        assert!(!stops.act_still(9, 8, Duration::from_secs(1)));
        // Whoever cannot wait is told instead.
        let crash = fault(RequestEffect::Crash { victim: ONE }, RequestTrigger::Nth(1), 9);
        let stops = Stops::new(&[crash], 1);
        stops.act();
        assert!(stops.note_commit() && !stops.note_commit());
        stops.end();
        assert_eq!(stops.commit(), Commit::Done, "nobody is held for ever");
    }

    #[test]
    fn the_process_is_the_one_that_is_named_or_drawn_by_the_seed() {
        let drawn: Vec<u32> = (1..50).map(|number| Victim::Drawn(Seed(7)).choose("boom", number, 3)).collect();
        assert!((0..3).all(|instance| drawn.contains(&instance)) && drawn.iter().all(|instance| *instance < 3));
        assert!((1..50).map(|number| Victim::Drawn(Seed(7)).choose("boom", number, 3)).eq(drawn.iter().copied()));
        assert!(!(1..50).map(|number| Victim::Drawn(Seed(8)).choose("boom", number, 3)).eq(drawn));
        assert_eq!(Victim::Instance(2).choose("boom", 9, 3), 2);
    }

    #[test]
    fn one_that_comes_while_its_process_is_away_does_not_take_place() {
        let restart =
            fault(RequestEffect::Restart { victim: ONE, grace_us: 1 }, RequestTrigger::Moments(vec![1, 2]), 9);
        let stops = Stops::new(&[restart], 1);
        stops.act();
        let due = stops.due(5);
        assert_eq!((due.len(), stops.ended()), (2, 2));
        stops.skip(&due[1], 6);
        assert_eq!((stops.ended(), stops.are_away()), (1, true));
        stops.is_over(&due[0], 7);
        assert!(!stops.are_away() && !stops.go_on());
    }
}
