//! The fault log: each instance that fired with its event and what was drawn, one JSON object a line. Read back, it is an
//! input: exactly those instances fire.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::distance::Unit;
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

/// One line of a fault log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    fault: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    topic: std::borrow::Cow<'a, str>,
    partition: i32,
    offset: i64,
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
            log.add(&parsed)?;
        }
        for fault in log.faults.values_mut() {
            for instances in fault.instances.values_mut() {
                instances.sort_unstable_by_key(|(offset, _)| *offset);
            }
        }
        Ok(log)
    }

    fn add(&mut self, line: &Line<'_>) -> Result<(), FaultLogError> {
        let amount = match (line.replay_us, line.event_time_us, line.events) {
            (None, None, None) => Amount::NOTHING,
            (Some(us), None, None) => Amount::replay_us(us),
            (None, Some(us), None) => Amount::event_time_us(us),
            (None, None, Some(events)) => Amount::events(events),
            _ => return Err(line.wrong("two amounts are given")),
        };
        if amount.value < 0 {
            return Err(line.wrong("the amount is below zero"));
        }
        let fault = self
            .faults
            .entry(line.fault.to_string())
            .or_insert_with(|| LoggedFault { kind: line.kind.to_string(), instances: BTreeMap::new() });
        if fault.kind != line.kind {
            return Err(line.wrong("the fault is of another kind further up"));
        }
        fault.instances.entry((line.topic.to_string(), line.partition)).or_default().push((line.offset, amount));
        Ok(())
    }
}

impl Line<'_> {
    fn wrong(&self, problem: &'static str) -> FaultLogError {
        FaultLogError::Instance {
            fault: self.fault.to_string(),
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.offset,
            problem,
        }
    }
}

/// Runs through `plan` once and writes each instance that fired as a line of JSON, in the order in which they were decided.
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
                topic: partition.topic.as_str().into(),
                partition: partition.partition,
                offset: fired.offset,
                replay_us: amount(Unit::Replay),
                event_time_us: amount(Unit::EventTime),
                events: amount(Unit::Events),
            };
            serde_json::to_writer(&mut writer, &line).map_err(|error| PlanError::Write(error.into()))?;
            writer.write_all(b"\n").map_err(PlanError::Write)?;
        }
        if ended {
            return writer.flush().map_err(PlanError::Write);
        }
    }
}
