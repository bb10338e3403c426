//! Faults in force: what each request, partition and moment meets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use super::super::StageError;
use super::super::partition::lock;
use super::super::sessions::Sessions;
use super::super::topics::Topics;
use super::super::wire::Request;
use super::log::{Count, FaultLines};
use super::rate::Rate;
use super::{StageFault, StageFaultCount, StageFaultKind, StageFired, StageTrigger, spots};

/// All faults of a stage, and what they touched.
#[derive(Debug, Default)]
pub(in crate::drive::stage) struct Faults {
    /// Whether any may touch something: a stage without faults asks nothing further.
    any: AtomicBool,
    /// How often they came to rest, or others were put into force.
    rests: AtomicU64,
    /// Positions that had been handed out once more when they were put into force.
    again_before: AtomicU64,
    armed: RwLock<Arc<Vec<Armed>>>,
    lines: Mutex<FaultLines>,
    happening: Mutex<Vec<Happening>>,
}

/// What is to be done to the stage as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drive::stage) enum Happening {
    /// All connections are lost.
    Sever,
    /// Somebody visits these groups, or all that have members.
    Visit { fault: String, instance: u64, request: Option<u64>, groups: BTreeSet<String>, stays: Duration },
}

/// A fault in force.
#[derive(Debug)]
struct Armed {
    fault: StageFault,
    calls: BTreeSet<i16>,
    start: Duration,
    rate: Option<Rate>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Instances that began.
    begun: u64,
    /// Moments of the trigger that have passed.
    passed: usize,
    /// Calls that came already.
    came: BTreeSet<i16>,
    /// By partition, for faults that touch partitions one by one, or for all at once.
    progress: BTreeMap<Option<(String, i32)>, Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    count: u64,
    until: Duration,
    /// Number of the instance that began last.
    instance: u64,
}

/// Something was touched.
#[derive(Debug, Clone, Copy)]
struct Touch {
    /// An instance began with it.
    begins: bool,
    /// Number of the instance.
    instance: u64,
    /// How many requests, or partitions of requests, there were up to this one.
    count: u64,
    /// The same where it is what began the instance.
    request: Option<u64>,
}

/// What a request meets.
#[derive(Debug, Default)]
pub(in crate::drive::stage) struct Acting {
    /// Its connection is lost before it is done.
    pub(in crate::drive::stage) cut: bool,
    /// Its answer is lost.
    pub(in crate::drive::stage) lost: bool,
    /// It is refused: the coordinator is loading.
    pub(in crate::drive::stage) loading: bool,
    /// Bytes that its answer may have.
    pub(in crate::drive::stage) room: Option<usize>,
    /// How long its client is not heard afterwards.
    pub(in crate::drive::stage) throttle: Option<Duration>,
    /// What [`Faults::rests`] was when it came: from the next rest on, nothing holds it back any more.
    pub(in crate::drive::stage) rests: u64,
    late: Duration,
    /// Faults that bound bytes, by their places in the list.
    rates: Vec<usize>,
    armed: Arc<Vec<Armed>>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    fired: StageFired,
    begins: bool,
    needs: Needs,
}

/// What an answer must have for a fault to have touched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// There is one.
    Answer,
    /// There are events in it.
    Events,
}

impl Faults {
    /// Puts faults into force in place of those that were; moments are counted from `start`. So many positions had been handed out
    /// `again` by then.
    pub(in crate::drive::stage) fn arm(
        &self,
        faults: Vec<StageFault>,
        start: Duration,
        again: u64,
    ) -> Result<(), StageError> {
        self.again_before.store(again, Ordering::SeqCst);
        let armed: Vec<Armed> = faults.into_iter().map(|fault| Armed::new(fault, start)).collect::<Result<_, _>>()?;
        let any = !armed.is_empty();
        *self.armed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(armed);
        self.any.store(any, Ordering::SeqCst);
        self.rests.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Has all of them rest, touching nothing and beginning nothing, or act again.
    pub(in crate::drive::stage) fn rest(&self, resting: bool) {
        let any = !self.armed.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        self.any.store(any && !resting, Ordering::SeqCst);
        if resting {
            lock(&self.happening).clear();
            self.rests.fetch_add(1, Ordering::SeqCst);
            // What goes at once now is no debt of what comes when they act again.
            let armed = self.armed.read().unwrap_or_else(PoisonError::into_inner);
            armed.iter().filter_map(|one| one.rate.as_ref()).for_each(Rate::forget);
        }
    }

    /// How often they came to rest so far, or others were put into force.
    pub(in crate::drive::stage) fn rests(&self) -> u64 {
        self.rests.load(Ordering::SeqCst)
    }

    /// Whether an instance that has a length goes on.
    pub(in crate::drive::stage) fn acts(&self, now: Duration) -> bool {
        self.armed().is_some_and(|armed| armed.iter().any(|one| one.acts(now)))
    }

    /// Whether any fault is in force.
    pub(in crate::drive::stage) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn armed(&self) -> Option<Arc<Vec<Armed>>> {
        self.any().then(|| Arc::clone(&self.armed.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What a request meets that has just come.
    pub(in crate::drive::stage) fn meet(
        &self,
        topics: &Topics,
        sessions: &Sessions,
        request: &Request,
        now: Duration,
    ) -> Option<Acting> {
        // Ahead of asking whether any is in force: a rest in between is not missed.
        let rests = self.rests();
        let armed = self.armed()?;
        let mut acting = Acting { armed: Arc::clone(&armed), rests, ..Acting::default() };
        let mut named: Option<Vec<(String, i32)>> = None;
        for (place, one) in armed.iter().enumerate() {
            if one.fault.kind.is_of_partitions() || !one.aims_at(request) {
                continue;
            }
            if one.names_partitions() {
                let named = named.get_or_insert_with(|| spots::of(topics, sessions, request));
                if !named.iter().any(|(topic, index)| one.aims_at_partition(topic, *index)) {
                    continue;
                }
            }
            let Some(touch) = one.touch(None, request.key, now) else { continue };
            if one.fault.kind == StageFaultKind::Rebalance {
                self.happens(one.visit(touch.instance, touch.request));
                continue;
            }
            if one.fault.kind == StageFaultKind::BrokerDown && touch.begins {
                self.happens(Happening::Sever);
            }
            let mut line = StageFired::of(now, &one.fault.name, touch.instance, &one.fault.kind, request);
            line.request = touch.request;
            line.partitions.clone_from(named.get_or_insert_with(|| spots::of(topics, sessions, request)));
            let needs = acting.add(one, place);
            acting.lines.push(Line { fired: line, begins: touch.begins, needs });
        }
        Some(acting)
    }

    /// Why a partition refuses a request, if a fault makes it.
    pub(in crate::drive::stage) fn refuses(
        &self,
        request: &Request,
        topic: &str,
        index: i32,
        now: Duration,
    ) -> Option<ResponseError> {
        let armed = self.armed()?;
        armed.iter().find_map(|one| {
            let error = match (&one.fault.kind, ApiKey::try_from(request.key)) {
                (StageFaultKind::NotLeader, _) => ResponseError::NotLeaderOrFollower,
                // Nothing was written, and the client tries again.
                (StageFaultKind::PartialLoss, Ok(ApiKey::Produce)) => ResponseError::NotEnoughReplicas,
                (StageFaultKind::PartialLoss, _) => ResponseError::KafkaStorageError,
                _ => return None,
            };
            self.touch_partition(one, request, topic, index, now).map(|_| error)
        })
    }

    /// How many events a fetch gets at most of a partition that has some.
    pub(in crate::drive::stage) fn batch(
        &self,
        request: &Request,
        topic: &str,
        index: i32,
        now: Duration,
    ) -> Option<usize> {
        let armed = self.armed()?;
        armed.iter().find_map(|one| {
            let StageFaultKind::Batch { sizes } = &one.fault.kind else { return None };
            let touch = self.touch_partition(one, request, topic, index, now)?;
            let turn = usize::try_from((touch.count - 1) % sizes.len() as u64).ok()?;
            sizes.get(turn).filter(|size| **size > 0).map(|size| *size as usize)
        })
    }

    fn touch_partition(&self, one: &Armed, request: &Request, topic: &str, index: i32, now: Duration) -> Option<Touch> {
        if !one.aims_at(request) || !one.aims_at_partition(topic, index) {
            return None;
        }
        let touch = one.touch(Some((topic, index)), request.key, now)?;
        let mut line = StageFired::of(now, &one.fault.name, touch.instance, &one.fault.kind, request);
        line.partitions = vec![(topic.to_owned(), index)];
        line.request = touch.request;
        lock(&self.lines).add(line, touch.begins, one.key(Some((topic, index))));
        Some(touch)
    }

    /// Whether the broker is gone.
    pub(in crate::drive::stage) fn is_down(&self, now: Duration) -> bool {
        let Some(armed) = self.armed() else { return false };
        let down = |one: &Armed| one.fault.kind == StageFaultKind::BrokerDown && one.lasts(now);
        armed.iter().any(down)
    }

    fn happens(&self, what: Happening) {
        lock(&self.happening).push(what);
    }

    /// Whether something is to be done to the stage now.
    pub(in crate::drive::stage) fn is_happening(&self) -> bool {
        !lock(&self.happening).is_empty()
    }

    /// When [`Self::happening`] is next to be asked.
    pub(in crate::drive::stage) fn next_due(&self) -> Option<Duration> {
        if self.is_happening() {
            return Some(Duration::ZERO);
        }
        self.armed()?.iter().filter_map(Armed::next_moment).min()
    }

    /// What is to be done to the stage as a whole, up to `now`.
    pub(in crate::drive::stage) fn happening(&self, now: Duration) -> Vec<Happening> {
        let mut all = std::mem::take(&mut *lock(&self.happening));
        for one in self.armed().iter().flat_map(|armed| armed.iter()) {
            for instance in one.begin_by_clock(now) {
                if one.fault.kind == StageFaultKind::Rebalance {
                    all.push(one.visit(instance, None));
                } else {
                    let line = StageFired::by_itself(now, &one.fault.name, instance, &one.fault.kind);
                    lock(&self.lines).add(line, true, None);
                    all.push(Happening::Sever);
                }
            }
        }
        all
    }

    /// Notes that somebody came into a group.
    pub(in crate::drive::stage) fn visited(
        &self,
        fault: &str,
        (instance, request): (u64, Option<u64>),
        group: &str,
        now: Duration,
    ) {
        let line = StageFired::by_itself(now, fault, instance, &StageFaultKind::Rebalance);
        lock(&self.lines).add(StageFired { group: Some(group.to_owned()), request, ..line }, true, None);
    }

    /// Takes the lines that were noted since.
    pub(in crate::drive::stage) fn take(&self) -> Vec<StageFired> {
        std::mem::take(&mut lock(&self.lines).lines)
    }

    pub(in crate::drive::stage) fn fired(&self) -> Vec<StageFired> {
        lock(&self.lines).lines.clone()
    }

    /// How often each fired, where positions were handed out `again` so many times by now.
    pub(in crate::drive::stage) fn counts(&self, again: u64) -> BTreeMap<String, StageFaultCount> {
        let since = again > self.again_before.load(Ordering::SeqCst);
        let counts = lock(&self.lines).counts.clone();
        let with = |(name, count): (String, Count)| (name, count.told(since));
        counts.into_iter().map(with).collect()
    }

    /// Notes what a request met, once it has its answer.
    pub(in crate::drive::stage) fn met(&self, acting: &mut Acting, answer: &[Bytes]) {
        // Events lie in parts of their own.
        let (any, events) = (!answer.is_empty(), answer.len() > 1);
        let mut lines = lock(&self.lines);
        for line in acting.lines.drain(..) {
            let met = match line.needs {
                Needs::Nothing => true,
                Needs::Answer => any,
                Needs::Events => events,
            };
            if met {
                lines.add(line.fired, line.begins, None);
            }
        }
    }
}

impl Acting {
    /// Adds what a fault does to the request.
    fn add(&mut self, one: &Armed, place: usize) -> Needs {
        match &one.fault.kind {
            StageFaultKind::LostAck => {
                self.lost = true;
                return Needs::Answer;
            }
            StageFaultKind::Disconnect | StageFaultKind::BrokerDown => self.cut = true,
            StageFaultKind::BrokerSlow { latency } => self.late += *latency,
            StageFaultKind::SlowReader { .. } => {
                let room = one.rate.as_ref().map(Rate::at_once);
                self.room = [self.room, room].into_iter().flatten().min();
                self.rates.push(place);
                return Needs::Events;
            }
            StageFaultKind::SlowSink { latency, .. } => {
                self.late += *latency;
                self.rates.push(place);
            }
            StageFaultKind::Loading => self.loading = true,
            StageFaultKind::Throttle { time } => {
                self.throttle = Some(self.throttle.unwrap_or_default().max(*time));
                return Needs::Answer;
            }
            StageFaultKind::PartialLoss
            | StageFaultKind::NotLeader
            | StageFaultKind::Rebalance
            | StageFaultKind::Batch { .. } => {}
        }
        Needs::Nothing
    }

    /// When an answer may go that is ready at `now`.
    pub(in crate::drive::stage) fn due(&self, request: &Request, answer: &[Bytes], now: Duration) -> Duration {
        let mut due = now + self.late;
        for one in self.rates.iter().filter_map(|place| self.armed.get(*place)) {
            let Some(rate) = &one.rate else { continue };
            let bytes = match one.fault.kind {
                StageFaultKind::SlowReader { .. } if answer.len() > 1 => answer.iter().map(Bytes::len).sum(),
                StageFaultKind::SlowSink { .. } => request.body.len(),
                _ => 0,
            };
            if bytes > 0 {
                due = due.max(rate.take(bytes, now));
            }
        }
        due
    }
}

impl Armed {
    fn new(fault: StageFault, start: Duration) -> Result<Self, StageError> {
        let wrong = |reason: String| StageError::Fault { fault: fault.name.clone(), reason };
        let all = || (0..i16::from(u8::MAX)).filter_map(|key| ApiKey::try_from(key).ok());
        let mut calls = BTreeSet::new();
        for name in &fault.aim.calls {
            let key = all().find(|key| format!("{key:?}") == *name);
            let key = key.ok_or_else(|| wrong(format!("Kafka has no call `{name}`")))?;
            if !fault.kind.can_touch(key) {
                return Err(wrong(format!("a `{}` cannot touch `{name}`", fault.kind.name())));
            }
            calls.insert(key as i16);
        }
        if calls.is_empty() {
            calls = fault.kind.calls().into_iter().map(|key| key as i16).collect();
        }
        match &fault.trigger {
            StageTrigger::Share { share, .. } if !(0.0..=1.0).contains(share) => {
                return Err(wrong(format!("a share of {share} is not between 0 and 1")));
            }
            StageTrigger::Every(0) => return Err(wrong("`every` counts from 1".to_owned())),
            StageTrigger::At(moments) if !moments.is_sorted() => {
                return Err(wrong("its moments are not in order".to_owned()));
            }
            _ => {}
        }
        let rate = match &fault.kind {
            StageFaultKind::Batch { sizes } if sizes.is_empty() => {
                return Err(wrong("it names no size of a batch".to_owned()));
            }
            StageFaultKind::SlowReader { bytes_per_second: 0 }
            | StageFaultKind::SlowSink { bytes_per_second: Some(0), .. } => {
                return Err(wrong("nothing passes at 0 bytes a second".to_owned()));
            }
            StageFaultKind::SlowReader { bytes_per_second }
            | StageFaultKind::SlowSink { bytes_per_second: Some(bytes_per_second), .. } => {
                Some(Rate::new(*bytes_per_second))
            }
            _ => None,
        };
        Ok(Self { fault, calls, start, rate, state: Mutex::default() })
    }

    fn aims_at(&self, request: &Request) -> bool {
        let clients = &self.fault.aim.clients;
        self.calls.contains(&request.key) && (clients.is_empty() || clients.contains(&request.client))
    }

    fn names_partitions(&self) -> bool {
        !self.fault.aim.topics.is_empty() || !self.fault.aim.partitions.is_empty()
    }

    fn aims_at_partition(&self, topic: &str, index: i32) -> bool {
        let aim = &self.fault.aim;
        (aim.topics.is_empty() || aim.topics.contains(topic))
            && (aim.partitions.is_empty() || aim.partitions.contains(&index))
    }

    /// Whether the clock begins its instances, and not a request.
    fn is_by_clock(&self) -> bool {
        let of_the_stage = matches!(self.fault.kind, StageFaultKind::BrokerDown | StageFaultKind::Rebalance);
        of_the_stage && matches!(self.fault.trigger, StageTrigger::At(_))
    }

    /// What its instances are counted by: one that a moment began touches whatever it aims at, one that a partition began that
    /// partition.
    fn key<'s>(&self, spot: Option<(&'s str, i32)>) -> Option<(&'s str, i32)> {
        spot.filter(|_| !matches!(self.fault.trigger, StageTrigger::At(_)))
    }

    /// Whether a request, or a partition of one, that it aims at is touched.
    fn touch(&self, spot: Option<(&str, i32)>, call: i16, now: Duration) -> Option<Touch> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let key = self.key(spot).map(|(topic, index)| (topic.to_owned(), index));
        let listed = if let StageTrigger::These(which) = &self.fault.trigger { which.get(&key) } else { None };
        let progress = state.progress.entry(key).or_default();
        progress.count += 1;
        let count = progress.count;
        if now < progress.until {
            // Nobody comes twice at once.
            return (self.fault.kind != StageFaultKind::Rebalance).then_some(Touch {
                begins: false,
                instance: progress.instance,
                count,
                request: None,
            });
        }
        if self.is_by_clock() || state.begun >= self.fault.most {
            return None;
        }
        let mut until = now + self.fault.length;
        let begins = match &self.fault.trigger {
            StageTrigger::Always => true,
            StageTrigger::Nth(which) => which.contains(&count),
            StageTrigger::These(_) => listed.is_some_and(|which| which.contains(&count)),
            StageTrigger::Every(every) => count.is_multiple_of(*every),
            StageTrigger::FirstOfEach => state.came.insert(call),
            StageTrigger::Share { share, seed } => {
                let purpose = match spot {
                    Some((topic, index)) => format!("{}/{topic}/{index}", self.fault.name),
                    None => self.fault.name.clone(),
                };
                let drawn = seed.draws(&purpose)(count) >> 11;
                (drawn as f64) * (1.0 / 9_007_199_254_740_992.0) < *share
            }
            StageTrigger::At(moments) => loop {
                let Some(moment) = moments.get(state.passed).map(|moment| self.start + *moment) else { break false };
                if now < moment {
                    break false;
                }
                state.passed += 1;
                until = moment + self.fault.length;
                // One that is over by now, and met nobody, did not take place.
                if self.fault.length.is_zero() || now < until {
                    break true;
                }
            },
        };
        if !begins {
            return None;
        }
        state.begun += 1;
        (progress.until, progress.instance) = (until, state.begun);
        let request = (!matches!(self.fault.trigger, StageTrigger::At(_))).then_some(count);
        Some(Touch { begins: true, instance: state.begun, count, request })
    }

    /// Begins the instances whose moments have come; returns their numbers.
    fn begin_by_clock(&self, now: Duration) -> Vec<u64> {
        let mut begun = Vec::new();
        let StageTrigger::At(moments) = &self.fault.trigger else { return begun };
        if !self.is_by_clock() {
            return begun;
        }
        let mut state = lock(&self.state);
        while let Some(moment) = moments.get(state.passed).map(|moment| self.start + *moment)
            && moment <= now
            && state.begun < self.fault.most
        {
            state.passed += 1;
            // One that is over does not take place.
            let until = moment + self.fault.length;
            if now < until || self.fault.length.is_zero() {
                state.begun += 1;
                let instance = state.begun;
                begun.push(instance);
                let progress = state.progress.entry(None).or_default();
                (progress.until, progress.instance) = (until, instance);
            }
        }
        begun
    }

    /// The next moment at which the clock begins an instance.
    fn next_moment(&self) -> Option<Duration> {
        let StageTrigger::At(moments) = &self.fault.trigger else { return None };
        let state = lock(&self.state);
        let open = self.is_by_clock() && state.begun < self.fault.most;
        moments.get(state.passed).filter(|_| open).map(|moment| self.start + *moment)
    }

    /// Whether an instance that is about no single partition goes on.
    fn lasts(&self, now: Duration) -> bool {
        lock(&self.state).progress.get(&None).is_some_and(|progress| now < progress.until)
    }

    /// Whether an instance that has a length goes on.
    fn acts(&self, now: Duration) -> bool {
        !self.fault.length.is_zero() && lock(&self.state).progress.values().any(|progress| now < progress.until)
    }

    fn visit(&self, instance: u64, request: Option<u64>) -> Happening {
        let (fault, groups) = (self.fault.name.clone(), self.fault.aim.groups.clone());
        Happening::Visit { fault, instance, request, groups, stays: self.fault.length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::stage::faults::StageAim;
    use crate::plan::Seed;

    const SECOND: Duration = Duration::from_secs(1);

    /// Numbers of the requests that a fault touches of the first hundred, which come at these moments.
    fn touched(trigger: StageTrigger, length: Duration, most: u64, moment: impl Fn(u64) -> Duration) -> Vec<u64> {
        let fault = StageFault { trigger, length, most, ..StageFault::always(StageFaultKind::NotLeader) };
        let armed = Armed::new(fault, 10 * SECOND).unwrap();
        (1..=100).filter(|number| armed.touch(Some(("t", 0)), 0, moment(*number)).is_some()).collect()
    }

    fn each_second(number: u64) -> Duration {
        10 * SECOND + SECOND * number as u32
    }

    #[test]
    fn a_trigger_begins_instances_and_a_length_holds_them() {
        let nth = || StageTrigger::Nth([3, 50].into());
        let at = || StageTrigger::At(vec![SECOND * 5, SECOND * 20 + SECOND / 2]);
        let none = Duration::ZERO;
        assert_eq!(touched(StageTrigger::Always, none, 3, each_second), [1, 2, 3]);
        assert_eq!(touched(nth(), none, u64::MAX, each_second), [3, 50]);
        assert_eq!(touched(nth(), SECOND * 3, u64::MAX, each_second), [3, 4, 5, 50, 51, 52]);
        assert_eq!(touched(nth(), SECOND * 3, 1, each_second), [3, 4, 5]);
        let of = |index, which: [u64; 2]| (Some(("t".to_owned(), index)), which.into());
        let these = StageTrigger::These([of(0, [3, 50]), of(1, [4, 5])].into());
        assert_eq!(touched(these, none, u64::MAX, each_second), [3, 50]);
        assert_eq!(touched(StageTrigger::Every(40), none, u64::MAX, each_second), [40, 80]);
        assert_eq!(touched(at(), none, u64::MAX, each_second), [5, 21]);
        assert_eq!(touched(at(), SECOND * 2, u64::MAX, each_second), [5, 6, 21, 22]);
        // Nobody comes while the second of them lasts.
        assert_eq!(touched(at(), SECOND * 2, u64::MAX, |number| each_second(number * 6)), [1]);
    }

    #[test]
    fn an_instance_that_a_moment_began_counts_once_whatever_partitions_it_touches() {
        let of = |trigger| {
            let faults = Faults::default();
            let fault = StageFault { trigger, length: SECOND, ..StageFault::always(StageFaultKind::NotLeader) };
            faults.arm(vec![fault], Duration::ZERO, 0).unwrap();
            let request = Request { key: ApiKey::Produce as i16, version: 7, ..Request::default() };
            let refused = (0..3).filter(|index| faults.refuses(&request, "t", *index, SECOND).is_some()).count();
            let count = faults.counts(0)["not-leader"];
            (refused, count.instances, count.touched)
        };
        assert_eq!(of(StageTrigger::At(vec![SECOND / 2])), (3, 1, 3));
        // What partitions begin, each begins for itself.
        assert_eq!(of(StageTrigger::Nth([1].into())), (3, 3, 3));
    }

    #[test]
    fn the_first_of_each_call_is_touched_and_no_other() {
        let fault = StageFault { trigger: StageTrigger::FirstOfEach, ..StageFault::always(StageFaultKind::LostAck) };
        let armed = Armed::new(fault, Duration::ZERO).unwrap();
        let touched = [0, 0, 8, 0, 8, 28].map(|call| armed.touch(None, call, SECOND).map(|touch| touch.instance));
        assert_eq!(touched, [Some(1), None, Some(2), None, None, Some(3)]);
    }

    #[test]
    fn a_share_is_drawn_the_same_way_each_time_and_for_each_partition_by_itself() {
        let share = |seed| StageTrigger::Share { share: 0.3, seed: Seed(seed) };
        let first = touched(share(7), Duration::ZERO, u64::MAX, each_second);
        assert!((15..=45).contains(&first.len()), "{first:?}");
        assert_eq!(touched(share(7), Duration::ZERO, u64::MAX, each_second), first);
        assert_ne!(touched(share(8), Duration::ZERO, u64::MAX, each_second), first);
        let fault = StageFault { trigger: share(7), ..StageFault::always(StageFaultKind::NotLeader) };
        let armed = Armed::new(fault, Duration::ZERO).unwrap();
        let of = |index: i32| -> Vec<u64> {
            (1..=100).filter(|_| armed.touch(Some(("t", index)), 0, SECOND).is_some()).collect()
        };
        assert_eq!(of(0).len(), first.len());
        assert_ne!(of(1), first);
        assert_eq!(touched(StageTrigger::Share { share: 0.0, seed: Seed(1) }, SECOND, 9, each_second), [0; 0]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let with = |change: &dyn Fn(&mut StageFault)| {
            let mut fault = StageFault::always(StageFaultKind::PartialLoss);
            change(&mut fault);
            Armed::new(fault, Duration::ZERO).unwrap_err().to_string()
        };
        let calls = |name: &str| StageAim { calls: [name.to_owned()].into(), ..StageAim::default() };
        assert!(with(&|fault| fault.aim = calls("Prodce")).contains("no call `Prodce`"));
        assert!(with(&|fault| fault.aim = calls("Metadata")).contains("a `partial-loss` cannot touch `Metadata`"));
        assert!(with(&|fault| fault.trigger = StageTrigger::Share { share: 20.0, seed: Seed(1) }).contains("20"));
        assert!(with(&|fault| fault.trigger = StageTrigger::Every(0)).contains("every"));
        assert!(with(&|fault| fault.trigger = StageTrigger::At(vec![SECOND, Duration::ZERO])).contains("order"));
        assert!(with(&|fault| fault.kind = StageFaultKind::Batch { sizes: Vec::new() }).contains("size"));
        assert!(with(&|fault| fault.kind = StageFaultKind::SlowReader { bytes_per_second: 0 }).contains("0 bytes"));
    }
}
