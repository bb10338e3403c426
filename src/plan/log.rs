//! The fault log: each instance that fired with its event and what was drawn, or with the request or the moment that began it, one JSON
//! object a line. Read back, it is an input: exactly those instances fire.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::distance::Unit;
use super::flag_change::{self, CheckedChange};
use super::kind::FaultKind as _;
use super::requests::{CheckedRequest, LoggedRequests, RequestEffect, RequestTrigger};
use super::{Plan, PlanError};

/// What was drawn for one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    /// What is counted; none where nothing was drawn.
    pub(super) unit: Option<Unit>,
    /// Microseconds or events.
    pub(super) value: i64,
}

impl Amount {
    pub(super) const NOTHING: Self = Self { unit: None, value: 0 };

    pub(super) fn replay_us(value: i64) -> Self {
        Self { unit: Some(Unit::Replay), value }
    }

    pub(super) fn event_time_us(value: i64) -> Self {
        Self { unit: Some(Unit::EventTime), value }
    }

    pub(super) fn events(value: i64) -> Self {
        Self { unit: Some(Unit::Events), value }
    }
}

/// One instance of a fault, by index of fault and partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fired {
    pub(super) fault: usize,
    pub(super) partition: usize,
    pub(super) offset: i64,
    pub(super) amount: Amount,
}

/// One line of a fault log: an instance at an event has its `topic`, `partition` and `offset`; one at requests the `request` that
/// began it (and its partition where partitions are touched one by one), or the `moment_us` of replay time; `by_us` is by how much a
/// clock was set wrong then.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    fault: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    topic: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moment_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_time_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<i64>,
}

/// Instances of faults to fire instead of drawing them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultLog {
    /// By fault, with its kind; then by topic and partition: offset and amount, in order of offset.
    pub(super) faults: BTreeMap<String, LoggedFault>,
    /// Those at requests, likewise.
    pub(super) requests: BTreeMap<String, LoggedRequests>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LoggedFault {
    pub(super) kind: String,
    pub(super) instances: BTreeMap<(String, i32), Vec<(i64, Amount)>>,
}

/// Why a fault log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultLogError {
    /// A line is no instance.
    #[error("line {line} is no instance of a fault")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// A line holds what no instance has, or lacks what one has.
    #[error("line {line} is no instance of a fault: {problem}")]
    Shape {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A line states an amount twice or in a way that its fault cannot have.
    #[error("fault `{fault}`, {topic}/{partition} offset {offset}: {problem}")]
    Instance {
        /// Fault.
        fault: String,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Moments begin a fault, and nothing is waited for.
    #[error("moments begin the fault `{fault}` in the log, and the pace `unpaced` waits for none")]
    Moments {
        /// Fault.
        fault: String,
    },
    /// A flag changes once, at a moment.
    #[error("the log has not one moment of the flag change `{fault}`, and a flag changes at one")]
    OtherThanOnce {
        /// Flag change.
        fault: String,
    },
    /// The scenario has no such fault.
    #[error("the log holds the {kind} `{fault}`, which the scenario has not (it has {there})")]
    Unknown {
        /// Fault.
        fault: String,
        /// Kind.
        kind: String,
        /// Faults of the scenario.
        there: String,
    },
    /// The log could not be read.
    #[error("could not read the fault log")]
    Read(#[source] io::Error),
}

impl FaultLog {
    /// Reads a log as [`fault_log`] writes it.
    ///
    /// # Errors
    ///
    /// [`FaultLogError::Line`] names the line that is no instance, [`FaultLogError::Read`] what the reader says.
    pub fn read(reader: impl BufRead) -> Result<Self, FaultLogError> {
        let mut log = Self::default();
        for (index, line) in reader.lines().enumerate() {
            let line = line.map_err(FaultLogError::Read)?;
            if line.trim().is_empty() {
                continue;
            }
            let parsed: Line<'_> =
                serde_json::from_str(&line).map_err(|source| FaultLogError::Line { line: index + 1, source })?;
            log.add(&parsed, index + 1)?;
        }
        for fault in log.faults.values_mut() {
            for instances in fault.instances.values_mut() {
                instances.sort_unstable_by_key(|(offset, _)| *offset);
            }
        }
        Ok(log)
    }

    fn add(&mut self, line: &Line<'_>, number: usize) -> Result<(), FaultLogError> {
        let shape = |problem| Err(FaultLogError::Shape { line: number, problem });
        let spot = match (&line.topic, line.partition) {
            (Some(topic), Some(partition)) => Some((topic.to_string(), partition)),
            (None, None) => None,
            _ => return shape("`topic` and `partition` stand together"),
        };
        let kind = line.kind.to_string();
        let other_kind = "the fault is of another kind further up";
        match (line.offset, line.request, line.moment_us) {
            (Some(offset), None, None) if line.by_us.is_none() => {
                let Some(spot) = spot else { return shape("an `offset` is one of a `topic` and `partition`") };
                let wrong = |problem| FaultLogError::instance(&line.fault, (spot.0.clone(), spot.1, offset), problem);
                let amount = line.amount().map_err(wrong)?;
                let empty = || LoggedFault { kind: kind.clone(), instances: BTreeMap::new() };
                let fault = self.faults.entry(line.fault.to_string()).or_insert_with(empty);
                if fault.kind != kind {
                    return Err(wrong(other_kind));
                }
                fault.instances.entry(spot).or_default().push((offset, amount));
            }
            (None, request, moment_us) if line.amount() == Ok(Amount::NOTHING) => {
                let empty = || LoggedRequests { kind: kind.clone(), ..LoggedRequests::default() };
                let fault = self.requests.entry(line.fault.to_string()).or_insert_with(empty);
                if fault.kind != kind {
                    return shape(other_kind);
                }
                match (request, moment_us, &spot) {
                    (Some(1..), None, _) => {
                        fault.requests.entry(spot).or_default().extend(request);
                    }
                    (None, Some(0..), None) => {
                        if line.by_us.is_some() && fault.by_us.is_some_and(|by_us| line.by_us != Some(by_us)) {
                            return shape("the clock is wrong by another amount further up, and a fault has one");
                        }
                        fault.moments_us.extend(moment_us);
                        fault.by_us = line.by_us.or(fault.by_us);
                    }
                    _ => return shape("it has an `offset`, a `request` from 1 on, or a `moment_us` from 0 on"),
                }
                if !fault.requests.is_empty() && !fault.moments_us.is_empty() {
                    return shape("requests begin this fault further up, and moments here, or the other way round");
                }
            }
            _ => {
                return shape(
                    "it is of an event, of a request or of a moment, and only what is of an event has an amount",
                );
            }
        }
        Ok(())
    }

    /// Holds what the log has of faults at requests, and of changes of flags, against those of a scenario; `waits` says whether moments
    /// are waited for.
    pub(super) fn check_requests(
        &self,
        faults: &[CheckedRequest],
        changes: &[CheckedChange],
        waits: bool,
    ) -> Result<(), FaultLogError> {
        let all = faults;
        let faults = all.iter().map(|fault| (fault.kind.name(), fault.name.as_str()));
        let known: Vec<(&str, &str)> =
            faults.chain(changes.iter().map(|change| (flag_change::KIND, change.name()))).collect();
        for (name, logged) in &self.requests {
            if !known.contains(&(logged.kind.as_str(), name.as_str())) {
                let there: Vec<String> = known.iter().map(|(kind, name)| format!("{kind} `{name}`")).collect();
                let there = if there.is_empty() { "none at requests".to_owned() } else { there.join(", ") };
                return Err(FaultLogError::Unknown { fault: name.clone(), kind: logged.kind.clone(), there });
            }
            let lasts = all.iter().any(|fault| fault.name == *name && fault.begins_at_start());
            if !waits && !logged.moments_us.is_empty() && !lasts {
                return Err(FaultLogError::Moments { fault: name.clone() });
            }
        }
        Ok(())
    }
}

impl FaultLogError {
    fn instance(fault: &str, (topic, partition, offset): (String, i32, i64), problem: &'static str) -> Self {
        Self::Instance { fault: fault.to_owned(), topic, partition, offset, problem }
    }
}

impl Line<'_> {
    fn amount(&self) -> Result<Amount, &'static str> {
        let amount = match (self.replay_us, self.event_time_us, self.events) {
            (None, None, None) => Amount::NOTHING,
            (Some(us), None, None) => Amount::replay_us(us),
            (None, Some(us), None) => Amount::event_time_us(us),
            (None, None, Some(events)) => Amount::events(events),
            _ => return Err("two amounts are given"),
        };
        if amount.value < 0 { Err("the amount is below zero") } else { Ok(amount) }
    }
}

/// What began an instance of a fault at requests in a drive, as it was touched first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunInstance {
    /// Name of the fault.
    pub fault: String,
    /// Number of the request that began it, from 1 on; none where a moment did.
    pub request: Option<u64>,
    /// The first partition that was touched.
    pub partition: Option<(String, i32)>,
    /// When, in microseconds since the schedule's start.
    pub at_us: i64,
}

/// What a drive shows a fault's moment late by, at most: it is looked at as time goes.
const MOMENT_US: i64 = 1_000;

/// Writes instances of faults at requests that a drive suffered, a line of JSON each, as [`FaultLog::read`] takes them; what always
/// acts, and what is none of the plan's, is left out.
///
/// # Errors
///
/// [`PlanError::Write`] where the writer fails; else what reading the plan says.
pub fn request_log(
    plan: &Plan,
    begun: impl Iterator<Item = BegunInstance>,
    mut writer: impl Write,
) -> Result<(), PlanError> {
    let faults = plan.request_faults()?;
    let mut moments_written: BTreeSet<(usize, i64)> = BTreeSet::new();
    for one in begun {
        let Some(fault) = faults.iter().find(|fault| fault.name == one.fault) else { continue };
        let mut line = Line { fault: fault.name.as_str().into(), kind: fault.kind.into(), ..Line::default() };
        match (&fault.trigger, one.request) {
            (RequestTrigger::Always, _) => continue,
            (RequestTrigger::Moments(moments), None) => {
                let passed = moments.partition_point(|moment| *moment <= one.at_us + MOMENT_US);
                let Some(moment) = passed.checked_sub(1).map(|last| moments[last]) else { continue };
                if !moments_written.insert((fault.index, moment)) {
                    continue;
                }
                line.moment_us = Some(moment);
                line.by_us = match fault.effect {
                    RequestEffect::Clock { change } => change.by_us(),
                    _ => None,
                };
            }
            (_, Some(request)) => {
                line.request = Some(request);
                if let Some((topic, partition)) = one.partition.as_ref().filter(|_| fault.touches_partitions()) {
                    (line.topic, line.partition) = (Some(topic.as_str().into()), Some(*partition));
                }
            }
            (_, None) => continue,
        }
        write_line(&line, &mut writer)?;
    }
    writer.flush().map_err(PlanError::Write)
}

fn write_line(line: &Line<'_>, mut writer: impl Write) -> Result<(), PlanError> {
    serde_json::to_writer(&mut writer, line).map_err(|error| PlanError::Write(error.into()))?;
    writer.write_all(b"\n").map_err(PlanError::Write)
}

/// Runs through `plan` once and writes each instance that fired as a line of JSON, in the order in which they were decided; behind them
/// the moments at which flags change.
///
/// # Errors
///
/// [`PlanError::Write`] where the writer fails; else what reading the plan says.
pub fn fault_log(plan: &Plan, mut writer: impl Write) -> Result<(), PlanError> {
    let mut deliveries = plan.deliveries();
    deliveries.keep_log();
    loop {
        let ended = deliveries.next().transpose()?.is_none();
        for fired in deliveries.take_log() {
            let fault = &plan.faults()[fired.fault];
            let partition = plan.partition(fired.partition);
            let amount = |unit| (fired.amount.unit == Some(unit)).then_some(fired.amount.value);
            let line = Line {
                fault: fault.name.as_str().into(),
                kind: fault.kind.as_str().into(),
                topic: Some(partition.topic.as_str().into()),
                partition: Some(partition.partition),
                offset: Some(fired.offset),
                replay_us: amount(Unit::Replay),
                event_time_us: amount(Unit::EventTime),
                events: amount(Unit::Events),
                ..Line::default()
            };
            write_line(&line, &mut writer)?;
        }
        if ended {
            break;
        }
    }
    for change in plan.flag_changes()?.iter().filter(|change| change.due_us.is_some()) {
        let (fault, kind) = (change.name.as_str().into(), flag_change::KIND.into());
        write_line(&Line { fault, kind, moment_us: change.due_us, ..Line::default() }, &mut writer)?;
    }
    writer.flush().map_err(PlanError::Write)
}
