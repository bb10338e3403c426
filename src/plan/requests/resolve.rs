//! Faults at requests against the schedule: moments become replay time, and a slow reader learns how fast its input comes.

use std::collections::BTreeSet;

use super::super::flag_change::CheckedChange;
use super::super::seed::{DrawKey, Purpose, Seed};
use super::super::summary::FaultSummary;
use super::super::trigger::At;
use super::clock;
use super::{
    Amounts, AtRequests, CheckedRequest, ClockChange, Rate, ReadRate, RequestEffect, RequestFault, RequestKind,
    RequestTrigger, Victim, When,
};
use crate::recording::Place;
use crate::settings::Span;

use super::super::kind::FaultKind;

/// Events that are kept of a plan to tell how large its events are; of as many again every other one goes.
const SAMPLE_MAX: usize = 2_048;

/// What has to be learnt while a plan is run through.
#[derive(Debug, Clone, Default)]
pub(in crate::plan) struct Asking {
    /// Moments of event time since the slice's first event, in microseconds, each with when the first event at or after it is due; in
    /// order.
    moments: Vec<(i64, Option<i64>)>,
    /// How many of them are known.
    known: usize,
    /// Events spread evenly, where somebody asks.
    sample: Option<Vec<Place>>,
    stride: u64,
    deliveries: u64,
    length_us: i64,
}

impl Asking {
    pub(in crate::plan) fn new(faults: &[CheckedRequest], changes: &[CheckedChange], origin_us: i64) -> Self {
        let at =
            faults.iter().filter_map(|fault| if let When::At(moments) = &fault.when { Some(moments) } else { None });
        let at = at.flatten().copied().chain(changes.iter().filter_map(CheckedChange::at));
        let mut moments: Vec<(i64, Option<i64>)> = at.map(|at| (since(at, origin_us), None)).collect();
        moments.sort_unstable();
        moments.dedup();
        let asks = faults.iter().any(|fault| matches!(fault.amounts.rate, Some(Rate::Share(_))));
        Self { moments, sample: asks.then(Vec::new), stride: 1, ..Self::default() }
    }

    /// Takes note of an event at `time_us` of event time since the slice's first, due at `due_us` ahead of any fault.
    pub(in crate::plan) fn event(&mut self, time_us: i64, due_us: i64) {
        while let Some((moment, due)) = self.moments.get_mut(self.known).filter(|(moment, _)| *moment <= time_us) {
            // What lies ahead of the slice does not take place.
            *due = (*moment >= 0).then_some(due_us);
            self.known += 1;
        }
    }

    /// Takes note of a delivery that is no warm-up.
    pub(in crate::plan) fn delivery(&mut self, place: Place, due_us: i64) {
        self.length_us = due_us;
        if let Some(sample) = &mut self.sample
            && self.deliveries.is_multiple_of(self.stride)
        {
            sample.push(place);
            if sample.len() == SAMPLE_MAX {
                let mut number = 0_usize;
                sample.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.stride *= 2;
            }
        }
        self.deliveries += 1;
    }

    /// When the first event at or after a moment that was asked for is due; none where there is none, or the moment lies ahead of the
    /// slice.
    pub(in crate::plan) fn due_us(&self, at: At, origin_us: i64) -> Option<i64> {
        let moment = since(at, origin_us);
        let found = self.moments.binary_search_by_key(&moment, |(moment, _)| *moment).ok()?;
        self.moments[found].1
    }

    /// What a fault comes to, now that the plan is known.
    fn resolve(&self, fault: &CheckedRequest, seed: Seed, origin_us: i64) -> RequestFault {
        RequestFault {
            index: fault.index,
            name: fault.name.clone(),
            kind: fault.kind.name(),
            legality: fault.legality(),
            redelivers: fault.kind.redelivers(),
            effect: self.effect(fault, seed),
            requests: fault.requests.clone(),
            topics: fault.topics.clone(),
            partitions: fault.partitions.clone(),
            clients: fault.clients.clone(),
            groups: fault.groups.clone(),
            trigger: self.trigger(fault, seed, origin_us),
            length_us: fault.length_us,
            most: fault.most,
        }
    }

    fn trigger(&self, fault: &CheckedRequest, seed: Seed, origin_us: i64) -> RequestTrigger {
        // What always acts has no instances that could be others.
        if let Some(logged) = fault.replayed.as_ref().filter(|_| fault.when != When::Always) {
            let by_time = fault.when.is_by_time() || !logged.moments_us.is_empty();
            return if by_time && logged.requests.is_empty() {
                RequestTrigger::Moments(logged.moments_us.iter().copied().collect())
            } else {
                RequestTrigger::These(logged.requests.clone())
            };
        }
        match &fault.when {
            When::Always => RequestTrigger::Always,
            When::Start => RequestTrigger::Moments(vec![0]),
            When::Probability(chance) => RequestTrigger::Probability { chance: *chance, seed },
            When::Nth(number) => RequestTrigger::Nth(*number),
            When::Every(number) => RequestTrigger::Every(*number),
            When::OnceEach => RequestTrigger::OnceEach,
            // One moment in each equal part of the first nine tenths: what is begun can take place before the plan ends.
            When::Times(times) => {
                let key = DrawKey::new(seed, &fault.name, "", -1);
                let place = |index| (index as f64 + key.unit(index as i64, Purpose::Choice)) / *times as f64;
                let moment = |index| (place(index) * 0.9 * self.length_us as f64) as i64;
                RequestTrigger::Moments((0..*times).map(moment).collect())
            }
            When::At(moments) => {
                let mut moments: Vec<i64> = moments.iter().filter_map(|at| self.due_us(*at, origin_us)).collect();
                moments.sort_unstable();
                RequestTrigger::Moments(moments)
            }
            When::Period(period_us) => {
                RequestTrigger::Moments((1..=self.length_us / period_us).map(|number| number * period_us).collect())
            }
        }
    }

    fn effect(&self, fault: &CheckedRequest, seed: Seed) -> RequestEffect {
        let Amounts { latency_us, time_us, rate, sizes, grace_us, instance, clock } = &fault.amounts;
        let (latency_us, time_us, grace_us) = (*latency_us, *time_us, *grace_us);
        let victim = instance.map_or(Victim::Drawn(seed), Victim::Instance);
        match fault.kind {
            RequestKind::LostAck => RequestEffect::LostAck,
            RequestKind::Disconnect => RequestEffect::Disconnect,
            RequestKind::BrokerDown => RequestEffect::BrokerDown,
            RequestKind::BrokerSlow => RequestEffect::BrokerSlow { latency_us },
            RequestKind::SlowReader => RequestEffect::SlowReader { rate: self.read_rate(*rate) },
            RequestKind::SlowSink => RequestEffect::SlowSink {
                latency_us,
                bytes_per_second: if let Some(Rate::BytesPerSecond(bytes)) = rate { Some(*bytes) } else { None },
            },
            RequestKind::PartialLoss => RequestEffect::PartialLoss,
            RequestKind::NotLeader => RequestEffect::NotLeader,
            RequestKind::Loading => RequestEffect::Loading,
            RequestKind::Throttle => RequestEffect::Throttle { time_us },
            RequestKind::Rebalance => RequestEffect::Rebalance,
            RequestKind::Batch => RequestEffect::Batch { sizes: sizes.draw(seed, &fault.name) },
            RequestKind::Crash => RequestEffect::Crash { victim },
            RequestKind::Restart => RequestEffect::Restart { victim, grace_us },
            RequestKind::Freeze => RequestEffect::Freeze { victim },
            RequestKind::Clock => {
                let logged_us = fault.replayed.as_ref().and_then(|logged| logged.by_us);
                let change = match (clock.draw(seed, &fault.name), logged_us) {
                    (ClockChange::Shift(_), Some(us)) => ClockChange::Shift(us),
                    (ClockChange::Step(_), Some(us)) => ClockChange::Step(us),
                    (change, _) => change,
                };
                RequestEffect::Clock { change }
            }
        }
    }

    fn read_rate(&self, rate: Option<Rate>) -> ReadRate {
        match rate {
            Some(Rate::BytesPerSecond(bytes)) => ReadRate::BytesPerSecond(bytes),
            Some(Rate::Share(share)) => ReadRate::OfInput {
                share,
                sample: self.sample.clone().unwrap_or_default(),
                deliveries: self.deliveries,
                length_us: self.length_us,
            },
            // Every preset has a rate.
            None => ReadRate::BytesPerSecond(u64::MAX),
        }
    }
}

/// Event time of a moment since the slice's first event, in microseconds.
fn since(at: At, origin_us: i64) -> i64 {
    match at {
        At::Time(moment) => moment.0.saturating_sub(origin_us),
        At::Since(span) => span.us(),
    }
}

/// Faults at requests of a plan that has been run through.
#[derive(Debug, Clone, Default)]
pub(in crate::plan) struct Resolved(pub(in crate::plan) Vec<RequestFault>);

impl Resolved {
    pub(in crate::plan) fn new(asking: &Asking, faults: &[CheckedRequest], seed: Seed, origin_us: i64) -> Self {
        Self(faults.iter().map(|fault| asking.resolve(fault, seed, origin_us)).collect())
    }
}

impl RequestFault {
    /// Whether it touches partitions of requests one by one, and counts the requests of each by themselves.
    pub(in crate::plan) fn touches_partitions(&self) -> bool {
        matches!(self.effect, RequestEffect::PartialLoss | RequestEffect::NotLeader | RequestEffect::Batch { .. })
    }

    /// Moments at which instances begin; none where a number of requests begins them.
    pub fn moments_us(&self) -> Option<&[i64]> {
        if let RequestTrigger::Moments(moments) = &self.trigger { Some(moments) } else { None }
    }

    /// What a plan says of it: instances that replay time begins are planned, those that requests begin are the client's.
    pub(in crate::plan) fn summary(&self) -> FaultSummary {
        let moments = self.moments_us().map(|moments| (moments.len() as u64).min(self.most));
        FaultSummary {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            legality: self.legality,
            planned: moments.unwrap_or(0),
            coverage: match self.effect {
                RequestEffect::Clock { change } => clock::figures(change, self.length_us),
                _ => Vec::new(),
            },
            at_requests: Some(AtRequests {
                begins: self.begins(),
                by_time: moments.is_some(),
                redelivers: self.redelivers,
                only: None,
            }),
        }
    }

    /// When an instance begins and how long it lasts, in words.
    fn begins(&self) -> String {
        if let RequestEffect::Clock { change } = self.effect {
            return self.clock_in_words(change);
        }
        let of = match (&self.requests[..], &self.trigger) {
            (_, RequestTrigger::Moments(_)) | ([], _) => String::new(),
            (requests, _) => format!(" of {}", requests.join(", ")),
        };
        let what = if self.is_of_process() { "commit" } else { "request" };
        let begins = match &self.trigger {
            RequestTrigger::Always => format!("with every {what}{of}"),
            RequestTrigger::Probability { chance, .. } => {
                format!("with each {what}{of} by a chance of {}%", percent(*chance))
            }
            RequestTrigger::Nth(number) => format!("with {what} {number}{of}"),
            RequestTrigger::These(which) => {
                let all: usize = which.values().map(BTreeSet::len).sum();
                format!("with {all} {what}{}{of} that a fault log names", if all == 1 { "" } else { "s" })
            }
            RequestTrigger::Every(number) => format!("with one {what}{of} in {number}"),
            RequestTrigger::OnceEach => "with the first request of each call".to_owned(),
            RequestTrigger::Moments(moments) => moments_in_words(moments),
        };
        let length = if self.length_us > 0 { format!(", for {}", Span(micros(self.length_us))) } else { String::new() };
        let most = if self.most < u64::MAX { format!(", {} times at most", self.most) } else { String::new() };
        format!("{begins}{length}{most}")
    }

    /// What is wrong with a clock, and when.
    fn clock_in_words(&self, change: ClockChange) -> String {
        let moments = self.moments_us().unwrap_or_default();
        let when = match change {
            ClockChange::Step(_) => moments_in_words(moments),
            _ if moments.is_empty() => "at no moment of the replay".to_owned(),
            ClockChange::Shift(_) => "from the build's start on".to_owned(),
            ClockChange::Drift(_) => "from the schedule's start on".to_owned(),
        };
        let length = if self.length_us > 0 { format!(", {}", clock::for_long(self.length_us)) } else { String::new() };
        let most = if self.most < u64::MAX { format!(", {} times at most", self.most) } else { String::new() };
        format!("the wall clock is {change} {when}{length}{most}")
    }
}

fn moments_in_words(moments: &[i64]) -> String {
    match moments {
        [] => "at no moment of the replay".to_owned(),
        [moment] => format!("at {} of the replay", Span(moment_of(*moment))),
        [first, .., last] => {
            let (first, last) = (Span(moment_of(*first)), Span(moment_of(*last)));
            format!("at {} moments of the replay, {first} to {last}", moments.len())
        }
    }
}

fn percent(chance: f64) -> f64 {
    (chance * 1e8).round() / 1e6
}

fn micros(us: i64) -> std::time::Duration {
    std::time::Duration::from_micros(us.unsigned_abs())
}

/// A moment as people read it: to the millisecond, but for the very first.
pub(in crate::plan) fn moment_of(us: i64) -> std::time::Duration {
    let rounded = us.saturating_add(500) / 1_000 * 1_000;
    micros(if us >= 1_000 { rounded } else { us })
}
