//! `[[fault]]`: what a scenario writes, and the checked fault made of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Legality;
use super::distance::{Distance, Unit};
use super::extent::{Extent, SetBack};
use super::interleave::Merge;
use super::jitter::{Distribution, Jitter};
use super::kind::{FaultKind, Kind};
use super::late::Late;
use super::pace::positive;
use super::requests::{CheckedRequest, Drift, Rate, RequestKind, Sizes};
use super::selector::{Selector, WhereSettings};
use super::trigger::{At, Bursts, Trigger};
use crate::settings::{SettingError, Shift, Span};

/// `[[fault]]`: something that happens to events on their way, or to requests of Kafka clients. Which parameters count depends on `kind`; those left out come
/// from the preset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FaultSettings {
    /// Name that keys the draws: the same name draws the same. Default: the kind and its number among its kind, `duplicate-1`.
    pub name: Option<String>,
    /// What happens. To events: delay, jitter, straggle, stall, interleave, reorder, late, duplicate, rewind or drop. To requests of Kafka clients:
    /// lost-ack, disconnect, broker-down, broker-slow, slow-reader, slow-sink, partial-loss, not-leader, loading, throttle,
    /// rebalance or batch. To the build's process: crash, restart or freeze, which count commits instead of requests. To its wall clock:
    /// clock.
    pub kind: String,
    /// Where parameters come from that are not written.
    pub preset: Preset,
    /// Which events, or requests, may be touched; all where left out.
    #[serde(rename = "where")]
    pub selector: Option<WhereSettings>,
    /// Trigger: the chance of each event, or request, from 0 to 1.
    pub probability: Option<f64>,
    /// Trigger of `straggle`, `reorder` and `partial-loss`: the share of events, or requests, touched, from 0 to 1.
    pub share: Option<f64>,
    /// Trigger: the one event of each partition at which this many recorded offsets have passed; 1 is offset 0. At
    /// requests: the one with this number since the schedule's start, from 1 on.
    pub nth: Option<u64>,
    /// Trigger: every so many recorded offsets of each partition, or every so many requests.
    pub every: Option<u64>,
    /// Trigger: this many instances, at drawn moments spread over the slice; at requests over the first nine tenths of the replay.
    pub times: Option<u64>,
    /// Trigger: the first event at or after each of these moments; a time ("2013-01-05T12:00:00Z") or event time since the
    /// slice's first event ("90s"). At requests: from when that event is due.
    pub at: Option<Vec<At>>,
    /// Budget: instances at most, over the whole plan.
    pub most: Option<u64>,
    /// `delay`: how long. `throttle`: how long the client is told to wait. `straggle`: how far behind, a value or a range, in replay time or event time.
    pub delay: Option<Distance>,
    /// `jitter`: how delays are distributed.
    pub distribution: Option<Distribution>,
    /// `jitter`: smallest delay of `uniform`, scale (and smallest delay) of `pareto`.
    pub min: Option<Span>,
    /// `jitter`: largest delay, of every distribution.
    pub max: Option<Span>,
    /// `jitter`: mean of `normal` and `exponential`, median of `lognormal`.
    pub mean: Option<Span>,
    /// `jitter`: standard deviation of `normal`.
    pub deviation: Option<Span>,
    /// `jitter`: shape of `pareto`, sigma of `lognormal`.
    pub shape: Option<f64>,
    /// `stall`: how long nothing comes. `interleave`: the stretches of replay time in which partitions are merged anew. At requests: how long an instance touches whatever it aims at, in replay time; nothing for
    /// the one request that begins it. `freeze`: how long the process stands still; `crash`, `restart`: how long it is away before it is
    /// started again, at once where nothing is said. `clock`: how long a step lasts; to the end where nothing is said.
    pub length: Option<Span>,
    /// `restart`: how long the process may take to end once it is told to, before it is killed. 10 seconds where nothing is said.
    pub grace: Option<Span>,
    /// `crash`, `restart`, `freeze`: which process of the build, from 0 on, where it has several; drawn where nothing is said.
    pub instance: Option<u32>,
    /// `stall`: which partitions fall silent: that of the event at which it begins, or all that `where` selects.
    pub partitions: Option<StallScope>,
    /// `reorder`: how far an event may be displaced: a number of recorded offsets (64), or event time ("30s").
    pub extent: Option<Extent>,
    /// `reorder`: among which events places change.
    pub within: Option<Within>,
    /// `duplicate`: how far behind the first the second comes.
    pub after: Option<Distance>,
    /// `rewind`: how many events the consumer is set back; "start" for all.
    pub n: Option<SetBack>,
    /// `rewind`: trigger: how often the consumer is set back, in replay time, event time or events. At requests: how often an
    /// instance begins, in replay time.
    pub period: Option<Distance>,
    /// `drop`: losses that come in bursts (Gilbert-Elliott) instead of each by itself.
    pub bursts: Option<BurstSettings>,
    /// `interleave`: how partitions are merged.
    pub mode: Option<Merge>,
    /// `interleave`, `skewed`: how much slower than the one partition the others are handed over.
    pub ratio: Option<u32>,
    /// `late`: by how much event time an event may be late for the builds still to take it.
    pub bound: Option<Span>,
    /// `late`: share of events that come late, and inside the bound.
    pub inside: Option<f64>,
    /// `late`: share of events that come as late as the bound, to the millisecond.
    pub at_bound: Option<f64>,
    /// `late`: share of events that come later than the bound, by up to three times more.
    pub beyond: Option<f64>,
    /// At requests: only these, by the names that Kafka's protocol has for them (`Produce`); all that the kind is about where left
    /// out.
    pub requests: Option<Vec<String>>,
    /// `broker-slow`, `slow-sink`: by how much each answer is late.
    pub latency: Option<Span>,
    /// `slow-reader`: how fast events are handed out at most, as a share of the input's own rate or in bytes a second; `slow-sink`:
    /// how fast they are taken, in bytes a second.
    pub rate: Option<Rate>,
    /// `batch`: how many events a fetch gets of a partition at most, in turn, or drawn of a range.
    pub sizes: Option<Sizes>,
    /// `clock`: by how much the build's wall clock is wrong from its start on ("-1h").
    pub shift: Option<Shift>,
    /// `clock`: by how much it leaps at each moment, ahead ("+5m") or back ("-5m").
    pub step: Option<Shift>,
    /// `clock`: what it gains of the time that passes ("200 ppm"), or loses ("-1%"), from the schedule's start on.
    pub drift: Option<Drift>,
}

/// Where parameters come from that are not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What a good day looks like.
    Calm,
    /// What happens in every week.
    #[default]
    Normal,
    /// What happens once a year.
    Harsh,
}

/// Which partitions a stall silences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StallScope {
    /// The partition of the event at which it begins.
    #[default]
    Own,
    /// All partitions that `where` selects.
    All,
}

/// Among which events a reordering changes places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// Events of one key change places among themselves; events without a key stay.
    Key,
    /// Events of one partition.
    #[default]
    Partition,
    /// Event time is displaced, across partitions; takes an extent in event time.
    Topic,
}

/// `bursts` of a `drop`: the Gilbert-Elliott model, good and bad times by turns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BurstSettings {
    /// Chance of each event that bad times begin with it.
    pub enter: f64,
    /// Chance of each event in bad times that they end with it.
    pub leave: f64,
    /// Chance that an event of bad times is lost. Default: 1.
    #[serde(default = "one")]
    pub loss: f64,
}

fn one() -> f64 {
    1.0
}

/// A checked fault, as far as that goes without a recording.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) trigger: Trigger,
    pub(super) effect: Effect,
    pub(super) most: u64,
    pub(super) selector: Selector,
}

/// What a fault does where it fires.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Delay {
        us: i64,
    },
    Jitter(Jitter),
    Straggle(Distance),
    /// Behind by so many times the p99.9 lateness of the recording.
    StraggleByLateness {
        times: i64,
    },
    Stall {
        length_us: i64,
        scope: StallScope,
    },
    Interleave {
        merge: Merge,
        length_us: i64,
        ratio: u32,
    },
    Late(Late),
    Reorder {
        within: Within,
        extent: Extent,
    },
    Duplicate {
        after: Distance,
    },
    Rewind {
        n: u64,
    },
    Drop,
}

impl Fault {
    pub(super) fn legality(&self) -> Legality {
        self.kind.legality()
    }
}

/// Checked faults of a scenario.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct CheckedFaults {
    /// Those that happen to events, in order.
    pub(super) events: Vec<Fault>,
    /// Those that happen to requests, in order.
    pub(super) requests: Vec<CheckedRequest>,
    /// All, in the scenario's order: whether it is at requests, and its place among its like.
    pub(super) order: Vec<(bool, usize)>,
}

impl CheckedFaults {
    /// Names of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let at_events = self.events.iter().map(|fault| fault.name.as_str());
        at_events.chain(self.requests.iter().map(|fault| fault.name.as_str()))
    }
}

/// Checks all faults of a scenario.
///
/// # Errors
///
/// The setting at fault.
pub(super) fn check_all(settings: &[FaultSettings]) -> Result<CheckedFaults, SettingError> {
    if settings.len() > 64 {
        return Err(SettingError::new(
            "fault[64]",
            "a scenario takes 64 faults at most",
            "Leave some out or make a second scenario.",
        ));
    }
    let mut faults = CheckedFaults::default();
    let mut names: Vec<String> = Vec::new();
    for (index, one) in settings.iter().enumerate() {
        let key = format!("fault[{index}]");
        let name = if let Some(kind) = RequestKind::named(&one.kind) {
            let number = faults.requests.iter().filter(|fault| fault.kind == kind).count() + 1;
            let fault = Check { settings: one, kind, key: &key }.request(index, number)?;
            faults.order.push((true, faults.requests.len()));
            faults.requests.push(fault);
            &faults.requests[faults.requests.len() - 1].name
        } else {
            let kind = Kind::named(&one.kind, &format!("{key}.kind"))?;
            let number = faults.events.iter().filter(|fault| fault.kind == kind).count() + 1;
            let fault = Check { settings: one, kind, key: &key }.fault(number)?;
            faults.order.push((false, faults.events.len()));
            faults.events.push(fault);
            &faults.events[faults.events.len() - 1].name
        };
        if names.contains(name) {
            return Err(SettingError::new(
                format!("{key}.name"),
                format!("another fault is named `{name}`"),
                "Draws are keyed by the name: give each fault its own.",
            ));
        }
        names.push(name.clone());
    }
    Ok(faults)
}

pub(super) struct Check<'a, K> {
    pub(super) settings: &'a FaultSettings,
    pub(super) kind: K,
    pub(super) key: &'a str,
}

impl<K: FaultKind> Check<'_, K> {
    /// The name that is written, or one made of the kind and its number among its kind.
    pub(super) fn name(&self, number: usize) -> Result<String, SettingError> {
        let name = self.settings.name.clone().unwrap_or_else(|| format!("{}-{number}", self.kind.name()));
        if name.is_empty() {
            return Err(self.wrong("name", "a fault needs a name", "Leave `name` out to have one made."));
        }
        Ok(name)
    }

    pub(super) fn most(&self) -> Result<u64, SettingError> {
        if self.settings.most == Some(0) {
            return Err(self.wrong("most", "a fault that may never fire tests nothing", "Leave the fault out."));
        }
        Ok(self.settings.most.unwrap_or(u64::MAX))
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>, instead: impl Into<String>) -> SettingError {
        SettingError::new(format!("{}.{key}", self.key), problem, instead)
    }

    pub(super) fn refuse_what_the_kind_does_not_take(&self) -> Result<(), SettingError> {
        for (name, given) in self.given() {
            if given && !self.kind.takes().contains(&name) {
                let takes: Vec<String> = self.kind.takes().iter().map(|name| format!("`{name}`")).collect();
                return Err(self.wrong(
                    name,
                    format!("a `{}` takes no `{name}`", self.kind.name()),
                    format!(
                        "It takes {}, and what every fault takes: `name`, `preset`, `where`, `most`.",
                        takes.join(", ")
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The parameters that only some kinds take, and whether each is written.
    fn given(&self) -> [(&'static str, bool); 36] {
        let s = self.settings;
        [
            ("probability", s.probability.is_some()),
            ("share", s.share.is_some()),
            ("nth", s.nth.is_some()),
            ("every", s.every.is_some()),
            ("times", s.times.is_some()),
            ("at", s.at.is_some()),
            ("delay", s.delay.is_some()),
            ("distribution", s.distribution.is_some()),
            ("min", s.min.is_some()),
            ("max", s.max.is_some()),
            ("mean", s.mean.is_some()),
            ("deviation", s.deviation.is_some()),
            ("shape", s.shape.is_some()),
            ("length", s.length.is_some()),
            ("partitions", s.partitions.is_some()),
            ("extent", s.extent.is_some()),
            ("within", s.within.is_some()),
            ("after", s.after.is_some()),
            ("n", s.n.is_some()),
            ("period", s.period.is_some()),
            ("bursts", s.bursts.is_some()),
            ("mode", s.mode.is_some()),
            ("ratio", s.ratio.is_some()),
            ("bound", s.bound.is_some()),
            ("inside", s.inside.is_some()),
            ("at-bound", s.at_bound.is_some()),
            ("beyond", s.beyond.is_some()),
            ("requests", s.requests.is_some()),
            ("latency", s.latency.is_some()),
            ("rate", s.rate.is_some()),
            ("sizes", s.sizes.is_some()),
            ("grace", s.grace.is_some()),
            ("instance", s.instance.is_some()),
            ("shift", s.shift.is_some()),
            ("step", s.step.is_some()),
            ("drift", s.drift.is_some()),
        ]
    }

    /// Whether this parameter is written.
    pub(super) fn is_given(&self, name: &'static str) -> bool {
        self.given().contains(&(name, true))
    }

    /// The one trigger that is written, by its name, if any is.
    pub(super) fn one_trigger(&self) -> Result<Option<&'static str>, SettingError> {
        let given: Vec<&'static str> = ["probability", "share", "nth", "every", "times", "at", "period", "bursts"]
            .into_iter()
            .filter(|name| self.is_given(name))
            .collect();
        match given[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [first, second, ..] => Err(self.wrong(
                second,
                format!("`{first}` already says when the fault fires"),
                "A fault has one trigger: keep one of the two.",
            )),
        }
    }

    /// The moments of `at`.
    pub(super) fn moments(&self) -> Result<Vec<At>, SettingError> {
        match self.settings.at.clone().unwrap_or_default() {
            moments if moments.is_empty() => {
                Err(self.wrong("at", "no moment is named", "Write one, such as `at = [\"90s\"]`."))
            }
            moments => Ok(moments),
        }
    }

    pub(super) fn chance(&self, key: &str, value: f64) -> Result<f64, SettingError> {
        if (0.0..=1.0).contains(&value) {
            return Ok(value);
        }
        let instead = if value > 1.0 && value <= 100.0 {
            format!("Write {} for {value} percent.", value / 100.0)
        } else {
            "Write a number from 0 to 1.".to_owned()
        };
        Err(self.wrong(key, format!("{value} is not between 0 and 1"), instead))
    }

    pub(super) fn above_zero(&self, key: &str, value: u64) -> Result<i64, SettingError> {
        i64::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .ok_or_else(|| self.wrong(key, format!("{value} is out of range"), "Write a whole number from 1 on."))
    }
}

impl Check<'_, Kind> {
    fn fault(&self, number: usize) -> Result<Fault, SettingError> {
        self.refuse_what_the_kind_does_not_take()?;
        Ok(Fault {
            name: self.name(number)?,
            kind: self.kind,
            most: self.most()?,
            trigger: self.trigger()?,
            effect: self.effect()?,
            selector: match &self.settings.selector {
                Some(selector) => selector.check(&format!("{}.where", self.key))?,
                None => Selector::default(),
            },
        })
    }

    fn trigger(&self) -> Result<Trigger, SettingError> {
        let s = self.settings;
        match self.one_trigger()? {
            Some("probability") => {
                self.chance("probability", s.probability.unwrap_or_default()).map(Trigger::Probability)
            }
            Some("share") => self.chance("share", s.share.unwrap_or_default()).map(Trigger::Probability),
            Some("nth") => self.above_zero("nth", s.nth.unwrap_or_default()).map(|n| Trigger::Nth(n - 1)),
            Some("every") => self.above_zero("every", s.every.unwrap_or_default()).map(Trigger::Every),
            Some("times") => {
                self.above_zero("times", s.times.unwrap_or_default()).map(|times| Trigger::Times(times as u64))
            }
            Some("at") => self.moments().map(Trigger::At),
            Some("period") => match s.period {
                Some(period) if period.is_constant() && period.least > 0 => Ok(Trigger::Period(period)),
                _ => Err(self.wrong(
                    "period",
                    "a period is one length above zero",
                    "Write `30s`, `5m event-time` or `4000 events`.",
                )),
            },
            Some("bursts") => self.bursts(),
            _ => self.preset_trigger(),
        }
    }

    fn preset_trigger(&self) -> Result<Trigger, SettingError> {
        self.kind.trigger(self.settings.preset).ok_or_else(|| {
            self.wrong(
                "kind",
                "a `drop` is off in the presets `calm` and `normal`",
                "Write a `probability` or `bursts`, or `preset = \"harsh\"`.",
            )
        })
    }

    fn bursts(&self) -> Result<Trigger, SettingError> {
        let Some(bursts) = self.settings.bursts else { return self.preset_trigger() };
        Ok(Trigger::Bursts(Bursts {
            enter: self.chance("bursts.enter", bursts.enter)?,
            leave: self.chance("bursts.leave", bursts.leave)?,
            loss: self.chance("bursts.loss", bursts.loss)?,
        }))
    }

    fn effect(&self) -> Result<Effect, SettingError> {
        let s = self.settings;
        let mut effect = self.kind.effect(s.preset);
        match &mut effect {
            Effect::Delay { us } => {
                if let Some(delay) = s.delay {
                    if delay.unit != Unit::Replay || !delay.is_constant() {
                        return Err(self.wrong(
                            "delay",
                            "a `delay` is one length of replay time",
                            "Write `50ms`, say; for a range use `kind = \"jitter\"`, for event time `kind = \"straggle\"`.",
                        ));
                    }
                    *us = delay.least;
                }
            }
            Effect::Jitter(jitter) => *jitter = self.jitter(*jitter)?,
            Effect::Straggle(_) | Effect::StraggleByLateness { .. } => {
                if let Some(delay) = s.delay {
                    if delay.unit == Unit::Events {
                        return Err(self.wrong(
                            "delay",
                            "an event straggles by time",
                            "Write `30s` or `5m event-time`.",
                        ));
                    }
                    effect = Effect::Straggle(delay);
                }
            }
            Effect::Stall { length_us, scope } => {
                *length_us = s.length.map_or(*length_us, Span::us);
                *scope = s.partitions.unwrap_or(*scope);
            }
            Effect::Interleave { merge, length_us, ratio } => {
                *merge = s.mode.unwrap_or(*merge);
                *length_us = s.length.map_or(*length_us, Span::us);
                *ratio = s.ratio.unwrap_or(*ratio);
                self.interleave(*merge, *length_us, *ratio)?;
            }
            Effect::Late(late) => *late = self.late(*late)?,
            Effect::Reorder { within, extent } => {
                (*within, *extent) = self.reorder(*extent)?;
            }
            Effect::Duplicate { after } => *after = s.after.unwrap_or(*after),
            Effect::Rewind { n } => *n = s.n.map_or(*n, |n| n.0),
            Effect::Drop => {}
        }
        Ok(effect)
    }

    fn interleave(&self, merge: Merge, length_us: i64, ratio: u32) -> Result<(), SettingError> {
        if length_us == 0 {
            return Err(self.wrong("length", "a stretch of nothing holds no event back", "Write `5s`, say."));
        }
        if self.settings.ratio.is_some() && merge != Merge::Skewed {
            return Err(self.wrong(
                "ratio",
                "only `mode = \"skewed\"` has a ratio",
                "Leave it out, or write that mode.",
            ));
        }
        if ratio < 2 {
            return Err(self.wrong("ratio", format!("a ratio of {ratio} holds no event back"), "Write 2 or more."));
        }
        Ok(())
    }

    fn late(&self, preset: Late) -> Result<Late, SettingError> {
        let s = self.settings;
        let share = |key: &str, written: Option<f64>, preset: f64| {
            written.map_or(Ok(preset), |written| self.chance(key, written))
        };
        let Some(bound) = s.bound.filter(|bound| bound.us() > 0) else {
            return Err(self.wrong(
                "bound",
                "a `late` has no bound, and nobody can tell from events by how much the builds let them be late",
                "Write what they are set to (allowed lateness, grace), such as `bound = \"30s\"`.",
            ));
        };
        let late = Late {
            bound_us: bound.us(),
            inside: share("inside", s.inside, preset.inside)?,
            at_bound: share("at-bound", s.at_bound, preset.at_bound)?,
            beyond: share("beyond", s.beyond, preset.beyond)?,
        };
        if late.all() > 1.0 {
            return Err(self.wrong(
                "beyond",
                "the shares come to more than all events",
                "Let them sum up to 1 at most.",
            ));
        }
        if late.all() <= 0.0 {
            return Err(self.wrong(
                "beyond",
                "no event comes late",
                "Leave the fault out, or write a share above zero.",
            ));
        }
        Ok(late)
    }

    fn jitter(&self, preset: Jitter) -> Result<Jitter, SettingError> {
        let s = self.settings;
        let mut jitter = s.distribution.map_or(preset, Jitter::of);
        for (name, given) in self.given() {
            if given && matches!(name, "min" | "mean" | "deviation" | "shape") && !jitter.takes(name) {
                return Err(self.wrong(
                    name,
                    format!("the distribution `{}` takes no `{name}`", jitter.name()),
                    format!("It takes {}.", jitter.parameters()),
                ));
            }
        }
        let shape = positive(&format!("{}.shape", self.key), s.shape)?;
        jitter.set(s.min.map(Span::us), s.mean.map(Span::us), s.deviation.map(Span::us), shape, s.max.map(Span::us));
        jitter.check().map_err(|(name, problem, instead)| self.wrong(name, problem, instead))?;
        Ok(jitter)
    }

    fn reorder(&self, preset: Extent) -> Result<(Within, Extent), SettingError> {
        let within = self.settings.within.unwrap_or_default();
        let extent = match (self.settings.extent, within) {
            (Some(extent), _) => extent,
            // A preset counts places where places are what changes.
            (None, Within::Key) => preset.in_offsets(),
            (None, Within::Topic) => preset.in_event_time(),
            (None, Within::Partition) => preset,
        };
        match (within, extent) {
            (_, Extent::Offsets(0) | Extent::EventTime(0)) => {
                Err(self.wrong("extent", "an extent of nothing reorders nothing", "Write 1 or more."))
            }
            (_, Extent::Offsets(offsets)) if offsets > Extent::OFFSETS_MAX => Err(self.wrong(
                "extent",
                format!("{offsets} events would have to be held back at once"),
                format!("Write {} at most, or event time such as `extent = \"30s\"`.", Extent::OFFSETS_MAX),
            )),
            (Within::Topic, Extent::Offsets(_)) => Err(self.wrong(
                "extent",
                "partitions of a topic share no offsets",
                "Write event time, such as `extent = \"30s\"`.",
            )),
            (Within::Key, Extent::EventTime(_) | Extent::Lateness) => Err(self.wrong(
                "extent",
                "events of a key change places, not times",
                "Write a number of offsets, such as `extent = 64`.",
            )),
            pair => Ok(pair),
        }
    }
}
