//! `run.json`: the report itself, written and read back.

use serde::Deserialize;

use super::{FORMAT, Format, Report};
use crate::compare::first_divergence;

/// Why a report cannot be read or written as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The bytes are no JSON, or not that of a report.
    #[error("run.json cannot be read as a report")]
    Json {
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// The file does not say which version of the format it has.
    #[error("run.json names no format version; a report begins with `\"format\": \"{FORMAT}\"`")]
    NoVersion,
    /// The file has a version that this program does not know.
    #[error("run.json has format {found}; this program reads 1.x")]
    Version {
        /// Version found.
        found: String,
    },
    /// There is no such format to render.
    #[error("`{name}` is no format; write {}", Format::ALL.map(|format| format!("`{format}`")).join(", "))]
    Format {
        /// Name given.
        name: String,
    },
}

/// The part of any version's file that says which version it is.
#[derive(Deserialize)]
struct Versioned {
    format: Option<String>,
}

impl Report {
    /// Reads `run.json`. Fields that this version does not know are passed over.
    ///
    /// # Errors
    ///
    /// [`ReportError::NoVersion`] and [`ReportError::Version`] where the format is missing or not `1.x`, [`ReportError::Json`]
    /// where the bytes are no report.
    pub fn read(bytes: &[u8]) -> Result<Self, ReportError> {
        let broken = |source| ReportError::Json { source };
        let version: Versioned = serde_json::from_slice(bytes).map_err(broken)?;
        let found = version.format.ok_or(ReportError::NoVersion)?;
        if found.split_once('.').map_or(found.as_str(), |(major, _)| major) != "1" {
            return Err(ReportError::Version { found });
        }
        let mut report: Self = serde_json::from_slice(bytes).map_err(broken)?;
        // Earlier versions left it to whoever rendered them.
        report.first_divergence = report.first_divergence.or_else(|| first_divergence(&report.patterns));
        Ok(report)
    }
}

/// Writes `report` as `run.json`: indented, fields in the order of [`Report`], maps by key.
pub(super) fn json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report holds nothing that JSON cannot say");
    text.push('\n');
    text
}
