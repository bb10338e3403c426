//! New against what production wrote: which drives are exchangeable then, what is compared, and what lies at the slice's edges.
//!
//! What production wrote is one drive of old, and there will be no other. New is driven k times instead, and says what the noise is.
//! Under the hypothesis that new behaves like production the k + 1 drives are exchangeable all the same: where exactly one of them
//! disagrees with all others, each is equally likely to be that one, so production is with probability 1/(k + 1). Where it is so more
//! often than that, production and new differ: the same test as of old driven k times, with the roles turned.
//!
//! Production ran elsewhere and at another time: positions, partitions, timestamps and stated causes are other by nature and not
//! compared, and order counts within a key at most. What production wrote for events ahead of the slice, or had not written yet when it
//! was no longer looked at, stands on one side alone: a difference all outputs of which lie at such an edge is counted and left out.
//!
//! Of a table the rows in the end are compared. Production's stood there before the slice began, most of them; a build that is driven on
//! the slice alone and does not write a key leaves its row as it stood.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Kind;
use super::matching::{Differences, Seen};
use crate::outcome::{Channel, InFlight, Output, ProductionReport, ProductionTable};
use crate::plan::Phase;

/// The build that production stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Old: new was driven, and says what the noise is.
    #[default]
    Old,
    /// New: old was driven, and all is as where new is driven once.
    New,
}

impl Side {
    /// The name of its drive.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }

    /// The build that was driven.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

/// What is known of what production wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Production {
    /// The build that it stands for.
    pub side: Side,
    /// First offset, by topic and partition of an input, whose outputs production may have written only when it was no longer looked
    /// at; partitions without such an offset are left out. None where nothing is known of edges: then none are left out.
    pub in_flight: Option<BTreeMap<(String, i32), i64>>,
    /// Topics of which all that production wrote is there: what new writes elsewhere, and calls and sinks of its own, are not judged.
    /// None where its outcome is as whole as new's.
    pub topics: Option<BTreeSet<String>>,
    /// Tables that production wrote, by topic; of others, where `topics` are known, nothing is.
    pub tables: BTreeMap<String, KnownTable>,
}

/// What is known of a table that production wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownTable {
    /// Whether all rows are known that stood there when the recording began.
    pub whole: bool,
    /// Why nobody can tell what its rows were in the end; none where they are known.
    pub untold: Option<String>,
}

impl KnownTable {
    fn of(table: &ProductionTable) -> Self {
        Self { whole: table.whole, untold: table.untold.clone() }
    }
}

impl Production {
    /// What the outcome of production says of itself, where it stands for `side`.
    pub fn of(report: &ProductionReport, side: Side) -> Self {
        let firsts = |firsts: &Vec<InFlight>| {
            let keyed = firsts.iter().map(|first| ((first.topic.clone(), first.partition), first.offset));
            keyed.collect::<BTreeMap<_, _>>()
        };
        Self {
            side,
            in_flight: report.in_flight.as_ref().map(firsts),
            topics: report.topics.as_ref().map(|topics| topics.iter().cloned().collect()),
            tables: report.tables.iter().map(|table| (table.topic.clone(), KnownTable::of(table))).collect(),
        }
    }

    /// The same where the other side is what production wrote, too, of which `report` says this: what both are known to hold is compared.
    #[must_use]
    pub fn beside(self, report: &ProductionReport) -> Self {
        let other = Self::of(report, self.side);
        let topics = match (self.topics, other.topics) {
            (Some(own), Some(others)) => Some(own.intersection(&others).cloned().collect()),
            (own, others) => own.or(others),
        };
        // Outputs of production name no event: those of either at an edge are told by their phase.
        let mut tables = self.tables;
        // What is not known of one side cannot be told of both.
        for (topic, table) in &mut tables {
            let known = other.tables.get(topic);
            table.whole &= known.is_some_and(|known| known.whole);
            table.untold = table.untold.take().or_else(|| match known {
                Some(known) => known.untold.clone(),
                None => Some("it was captured on one side alone".to_owned()),
            });
        }
        Self { topics, tables, in_flight: self.in_flight.or(other.in_flight), ..self }
    }

    /// Whether rows of the table are there to be held against others.
    pub(super) fn covers_table(&self, topic: &str) -> bool {
        self.topics.is_none() || self.tables.contains_key(topic)
    }

    /// Why the rows of a table cannot be told.
    pub(super) fn untold(&self, topic: &str) -> Option<&str> {
        self.tables.get(topic)?.untold.as_deref()
    }

    /// Whether a key without a row may have had one that was not captured.
    pub(super) fn may_have_row(&self, topic: &str) -> bool {
        self.tables.get(topic).is_some_and(|table| !table.whole)
    }

    /// Number of the drive that production wrote, where old has `olds` of them.
    pub(super) fn drive(&self, olds: usize) -> usize {
        if self.side == Side::Old { 0 } else { olds }
    }

    /// Number of the first drive that production did not write, where it stands for a build of one drive.
    pub(super) fn first_driven(&self) -> u8 {
        u8::from(self.side == Side::Old)
    }

    /// Whether what production wrote there is known.
    pub(super) fn covers(&self, channel: Channel, topic: &str) -> bool {
        let is_written = matches!(channel, Channel::Output | Channel::DeadLetter);
        self.topics.as_ref().is_none_or(|topics| is_written && topics.contains(topic))
    }

    /// Whether an output may stand on one side alone for where the slice begins and ends: by its cause, and by its phase where no cause
    /// is known. Outputs of production have no cause; those at an edge are of the phase `drain`.
    fn holds(in_flight: &BTreeMap<(String, i32), i64>, output: &Output) -> bool {
        match &output.cause {
            Some(cause) => {
                let first = in_flight.get(&(cause.topic.clone(), cause.partition));
                first.is_some_and(|first| cause.offset >= *first)
            }
            None => output.phase == Phase::Drain,
        }
    }

    /// Takes out of `found` what lies at an edge: differences of which every output does, and last values of which one does. Returns
    /// how many were taken out that count.
    pub(super) fn leave_out(&self, found: &mut Differences, (old, new): (&[Seen], &[Seen])) -> u64 {
        let Some(in_flight) = &self.in_flight else { return 0 };
        let mut left_out = 0;
        found.findings.retain(|finding| {
            let is_final = finding.signature.kind == Kind::FinalState;
            let both = finding.old.map(|at| &old[at]).into_iter().chain(finding.new.map(|to| &new[to]));
            let mut at_edges = both.map(|seen| Self::holds(in_flight, &seen.output));
            let leaves = if is_final { at_edges.any(|held| held) } else { at_edges.all(|held| held) };
            left_out += u64::from(leaves && finding.counts);
            !leaves
        });
        left_out
    }
}
