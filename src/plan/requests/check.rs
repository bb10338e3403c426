//! What a scenario writes of a fault at requests, checked as far as that goes without the plan's schedule.

use super::super::distance::Unit;
use super::super::fault::Check;
use super::super::kind::FaultKind;
use super::super::pace::Pace;
use super::{Amounts, CheckedRequest, Rate, RequestKind, Sizes, When};
use crate::settings::{SettingError, Span};

/// Most drawn moments.
const TIMES_MAX: u64 = 1_000_000;

/// Shortest period: a client hardly asks more often.
const PERIOD_MIN_US: i64 = 10_000;

impl Check<'_, RequestKind> {
    pub(in crate::plan) fn request(&self, index: usize, number: usize) -> Result<CheckedRequest, SettingError> {
        self.refuse_what_the_kind_does_not_take()?;
        let s = self.settings;
        let (name, most) = (self.name(number)?, self.most()?);
        let (mut when, when_key) = self.when()?;
        let amounts = self.amounts()?;
        if self.kind == RequestKind::Clock && when_key == "kind" {
            when = amounts.clock.when();
        }
        self.refuse_what_no_request_has(&when)?;
        let requests = s.requests.clone().unwrap_or_default();
        if s.requests.as_ref().is_some_and(Vec::is_empty) {
            let problem = "the list is empty, so no request is touched";
            return Err(self.wrong("requests", problem, "Leave it out for all that the kind is about."));
        }
        let selector = s.selector.clone().unwrap_or_default();
        Ok(CheckedRequest {
            index,
            name,
            kind: self.kind,
            length_us: self.length_us(&when)?,
            when,
            when_key,
            most,
            amounts,
            rate_key: if s.rate.is_some() { "rate" } else { "kind" },
            requests,
            topics: selector.topics.unwrap_or_default(),
            partitions: selector.partitions.unwrap_or_default(),
            clients: selector.clients.unwrap_or_default(),
            groups: selector.groups.unwrap_or_default(),
            replayed: None,
        })
    }

    fn when(&self) -> Result<(When, &'static str), SettingError> {
        let s = self.settings;
        let Some(key) = self.one_trigger()? else {
            let off = "a `lost-ack` is off in the preset `calm`";
            let preset = self.kind.when(s.preset);
            let preset =
                preset.ok_or_else(|| self.wrong("kind", off, "Write a trigger, such as `probability = 0.001`."));
            return Ok((preset?, "kind"));
        };
        let when = match key {
            "probability" => When::Probability(self.chance(key, s.probability.unwrap_or_default())?),
            "share" => When::Probability(self.chance(key, s.share.unwrap_or_default())?),
            "nth" => When::Nth(self.above_zero(key, s.nth.unwrap_or_default())?.unsigned_abs()),
            "every" => When::Every(self.above_zero(key, s.every.unwrap_or_default())?.unsigned_abs()),
            "times" => match self.above_zero(key, s.times.unwrap_or_default())?.unsigned_abs() {
                times if times > TIMES_MAX => {
                    let instead = format!("Write {TIMES_MAX} at most, or `every`.");
                    return Err(self.wrong(key, format!("{times} moments are too many"), instead));
                }
                times => When::Times(times),
            },
            "at" => When::At(self.moments()?),
            _ => match s.period {
                Some(period)
                    if period.unit == Unit::Replay && period.is_constant() && period.least >= PERIOD_MIN_US =>
                {
                    When::Period(period.least)
                }
                _ => {
                    let problem = "at requests, a period is one length of replay time, 10 ms or more";
                    return Err(self.wrong("period", problem, "Write `10s`, say; `every` counts requests."));
                }
            },
        };
        Ok((when, key))
    }

    /// A request has no key, time or value of an event; and where the clock takes the whole broker, nobody in particular is meant.
    fn refuse_what_no_request_has(&self, when: &When) -> Result<(), SettingError> {
        if self.kind.is_of_process() {
            return self.refuse_what_no_process_has();
        }
        let Some(selector) = &self.settings.selector else { return self.refuse_aims_at_all(when) };
        let kind = self.kind.name();
        let moments = "Leave it out; `at` and `length` say when.";
        for (name, given, instead) in [
            ("keys", selector.keys.is_some(), "Leave it out, or write `topics` or `partitions`."),
            ("from", selector.from.is_some(), moments),
            ("to", selector.to.is_some(), moments),
            ("value", selector.value.is_some(), "Leave it out, or write `topics` or `partitions`."),
        ] {
            if given {
                let problem = format!("a `{kind}` happens to requests, which are chosen by no `{name}` of an event");
                return Err(self.wrong(&format!("where.{name}"), problem, instead));
            }
        }
        if selector.groups.is_some() && self.kind != RequestKind::Rebalance {
            let problem = format!("a `{kind}` is not chosen by groups: only a `rebalance` is");
            return Err(self.wrong("where.groups", problem, "Leave it out, or write `clients`."));
        }
        selector.refuse_empty_lists(&format!("{}.where", self.key))?;
        if let Some(partition) = selector.partitions.iter().flatten().find(|partition| **partition < 0) {
            let problem = format!("no topic has a partition {partition}");
            return Err(self.wrong("where.partitions", problem, "Partitions count from 0."));
        }
        self.refuse_aims_at_all(when)
    }

    /// A process is chosen by its number, and nothing else.
    fn refuse_what_no_process_has(&self) -> Result<(), SettingError> {
        if self.settings.selector.is_none() {
            return Ok(());
        }
        let problem = format!("a `{}` happens to a process, not to events or requests", self.kind.name());
        let instead = if self.kind == RequestKind::Clock {
            "Leave it out; `at`, `times` and `period` say when."
        } else {
            "Leave it out; `at`, `nth` and their like say when, and `instance` which process."
        };
        Err(self.wrong("where", problem, instead))
    }

    fn refuse_aims_at_all(&self, when: &When) -> Result<(), SettingError> {
        if !self.kind.is_of_all() || !when.is_by_time() {
            return Ok(());
        }
        let selector = self.settings.selector.as_ref();
        for (name, given) in [
            ("requests", self.settings.requests.is_some()),
            ("where.topics", selector.is_some_and(|selector| selector.topics.is_some())),
            ("where.partitions", selector.is_some_and(|selector| selector.partitions.is_some())),
            ("where.clients", selector.is_some_and(|selector| selector.clients.is_some())),
        ] {
            if given {
                let problem = format!("a `{}` that a moment begins is begun by no request", self.kind.name());
                let instead = "Leave it out, or have requests begin it, with `nth`, `every` or `probability`.";
                return Err(self.wrong(name, problem, instead));
            }
        }
        Ok(())
    }

    fn length_us(&self, when: &When) -> Result<i64, SettingError> {
        let s = self.settings;
        let written = s.length.map(Span::us);
        if written == Some(0) && self.kind.lasts() {
            let problem = format!("a `{}` of no length is none", self.kind.name());
            return Err(self.wrong("length", problem, "Write `5s`, say."));
        }
        Ok(written.unwrap_or_else(|| self.kind.length_us(s.preset, !when.is_by_time())))
    }

    fn amounts(&self) -> Result<Amounts, SettingError> {
        let s = self.settings;
        let mut amounts = self.kind.amounts(s.preset);
        if let Some(delay) = s.delay {
            if delay.unit != Unit::Replay || !delay.is_constant() || delay.least == 0 {
                let problem = "a client is told to wait for one length of replay time";
                return Err(self.wrong("delay", problem, "Write `500ms`, say."));
            }
            amounts.time_us = delay.least;
        }
        amounts.latency_us = s.latency.map_or(amounts.latency_us, Span::us);
        amounts.grace_us = s.grace.map_or(amounts.grace_us, Span::us);
        amounts.instance = s.instance;
        if self.kind == RequestKind::Clock {
            amounts.clock = self.clock(self.one_trigger()?.is_some())?;
        }
        amounts.rate = s.rate.or(amounts.rate);
        amounts.sizes = s.sizes.clone().unwrap_or(amounts.sizes);
        match (self.kind, amounts.rate) {
            (RequestKind::SlowSink, Some(Rate::Share(_))) => {
                let problem = "what a build writes is no share of its input";
                Err(self.wrong("rate", problem, "Write bytes a second, such as `200 kB/s`."))
            }
            (RequestKind::SlowReader, Some(Rate::Share(share))) if share >= 1.0 => {
                let problem = "whoever reads as fast as the input, or faster, is not slow";
                Err(self.wrong("rate", problem, "Write less than `100%`."))
            }
            (RequestKind::BrokerSlow, _) | (RequestKind::SlowSink, None) if amounts.latency_us == 0 => {
                Err(self.wrong("latency", "nothing is slow that is late by nothing", "Write `100ms`, say."))
            }
            (RequestKind::Batch, _) if limits_nothing(&amounts.sizes) => {
                let problem = "these sizes limit nothing";
                Err(self.wrong("sizes", problem, "Write numbers of events, such as `sizes = [1, 500]`."))
            }
            _ => Ok(amounts),
        }
    }
}

fn limits_nothing(sizes: &Sizes) -> bool {
    matches!(sizes, Sizes::Turns(sizes) if sizes.iter().all(|size| *size == 0))
}

impl CheckedRequest {
    /// Refuses what has no meaning where nothing is waited for.
    pub(in crate::plan) fn check_pace(&self, pace: &Pace) -> Result<(), SettingError> {
        if pace.waits() {
            return Ok(());
        }
        let key = |name: &str| format!("fault[{}].{name}", self.index);
        let kind = self.kind.name();
        if self.when.is_by_time() && !self.begins_at_start() {
            let problem = format!("a moment begins this `{kind}`, and the pace `unpaced` waits for none");
            let instead = if self.kind == RequestKind::Clock {
                "Write `shift`, or another `pace.mode`."
            } else {
                "Have requests begin it, with `nth`, `every` or `probability`, or write another `pace.mode`."
            };
            return Err(SettingError::new(key(self.when_key), problem, instead));
        }
        if let Some(Rate::Share(_)) = self.amounts.rate {
            let problem = format!("this `{kind}` takes a share of the input's rate, and `unpaced` has none");
            let instead = "Write bytes a second, such as `rate = \"200 kB/s\"`, or another `pace.mode`.";
            return Err(SettingError::new(key(self.rate_key), problem, instead));
        }
        Ok(())
    }
}
