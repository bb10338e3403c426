//! Reading and writing `ending.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Ending, EndingReport, OutcomeError};

/// Version that is written.
pub(super) const FORMAT: &str = "1.0";

impl EndingReport {
    /// Makes a report of this format that says how and why a drive ended, and nothing else.
    pub fn new(ending: Ending, reason: impl Into<String>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            ending,
            reason: reason.into(),
            exit_code: None,
            signal: None,
            deliveries: None,
            sent: None,
            redelivered: None,
            outputs: None,
            committed: Vec::new(),
            length_us: None,
            lateness: None,
            taken_back: 0,
            faults: BTreeMap::new(),
            stops: BTreeMap::new(),
            instances: Vec::new(),
            scrapes: None,
            responses: None,
            effects: BTreeMap::new(),
            registry: None,
            flags: None,
            wall_clock: None,
            broken_requests: 0,
            sinks: BTreeMap::new(),
            warnings: Vec::new(),
            stderr_dropped_bytes: 0,
            isolation: None,
            production: None,
        }
    }

    /// Reads `ending.json` in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Self, OutcomeError> {
        let path = dir.join("ending.json");
        let text = fs::read(&path).map_err(|source| OutcomeError::io(&path, source))?;
        let whole: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| OutcomeError::format(&path, error))?;
        // The version decides first: a report of another major version may well have other fields.
        let version = whole.get("format").and_then(serde_json::Value::as_str);
        let version = version.ok_or_else(|| OutcomeError::format(&path, "it names no format version"))?;
        if version.split('.').next() != Some("1") {
            return Err(OutcomeError::format(&path, format_args!("it is of format {version}")));
        }
        serde_json::from_value(whole).map_err(|error| OutcomeError::format(&path, error))
    }

    /// Writes `ending.json` in `dir`, at once or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), OutcomeError> {
        let path = dir.join("ending.json");
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| OutcomeError::format(&path, error))?;
        text.push(b'\n');
        let draft = dir.join(".ending.json");
        fs::write(&draft, text).map_err(|source| OutcomeError::io(&draft, source))?;
        fs::rename(&draft, &path).map_err(|source| OutcomeError::io(&path, source))
    }
}
