//! An outcome that production itself wrote: what is known of it beyond its outputs, kept in its `ending.json`.

use serde::{Deserialize, Serialize};

use super::{EndingReport, Outcome, OutcomeError};

/// What a run knew of what production wrote when it held new against that: with it the outcomes are compared again as they were then.
/// Readers ignore fields that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProductionReport {
    /// `recorded`, or the folder of the outcome that stood for production.
    pub source: String,
    /// Hash of the recording that new was driven by, in hexadecimal, as a report names it; empty where nobody said.
    pub recording: String,
    /// Topics all that production wrote to is there of; none where it is as whole as what a drive leaves.
    pub topics: Option<Vec<String>>,
    /// Tables that production wrote: of each key the last value that was captured ahead of the slice's end. What stood there when the
    /// slice began is of the phase `warm-up`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<ProductionTable>,
    /// Changelogs that production wrote and no build did, having no broker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables_left_out: Vec<String>,
    /// Where events begin whose outputs production may have written only when it was no longer looked at, by partition of an input;
    /// partitions without such an event are left out. None where nothing is known of edges.
    pub in_flight: Option<Vec<InFlight>>,
    /// How long an edge of the slice is, in microseconds of event time; none where edges are not known.
    pub edge_us: Option<i64>,
    /// Outputs of production that lie outside of the slice and were left out.
    pub outside: u64,
    /// Outputs of production that lie at the slice's edges; they are of the phase `drain`.
    pub at_edges: u64,
    /// Whether new was driven by a plan with faults, none of which production suffered.
    pub faults: bool,
}

/// A table that production wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProductionTable {
    /// Topic.
    pub topic: String,
    /// Whether all rows are known that stood there when the recording began; else a key that production did not write meanwhile may have
    /// had a row or none.
    pub whole: bool,
    /// Why nobody can tell what its rows were at the slice's end, as a fragment; none where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
    /// Why it is compared as a table though it was captured as outputs, as a fragment; none where it was captured as a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The first event of a partition whose outputs may have come too late.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InFlight {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset as recorded.
    pub offset: i64,
}

impl Outcome {
    /// Says in its `ending.json` what is known of it as what production wrote, and opens it again.
    ///
    /// # Errors
    ///
    /// [`OutcomeError::Io`] where the file cannot be written.
    pub fn note_production(&self, production: ProductionReport) -> Result<Self, OutcomeError> {
        let ending = EndingReport { production: Some(production), ..self.ending().clone() };
        ending.write(self.path())?;
        Self::open(self.path())
    }
}
