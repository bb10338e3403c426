//! What became of a build's flags in one drive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one drive asked of its flags, and how they changed. Readers ignore fields that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlagsReport {
    /// Every flag that the build has, by name, with each value that it took, in order.
    pub flags: BTreeMap<String, Vec<FlagCount>>,
    /// Flags that were asked for and that the build does not have, and how often: the first few that differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unset: BTreeMap<String, u64>,
    /// Requests to the stub of OFREP, of whatever kind; who reads the file or the environment asks nobody.
    pub requests: u64,
    /// Of those, requests for all flags at once.
    #[serde(default)]
    pub bulk: u64,
    /// Of those, requests for one flag or all that brought an evaluation context with something in it: it changes no answer.
    #[serde(default)]
    pub with_context: u64,
    /// Changes that took place, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FlagChanged>,
}

/// How often a flag was asked for at one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagCount {
    /// The value, or what is shown in its place.
    pub value: Value,
    /// Times that it was asked for by itself.
    pub asked: u64,
    /// Times that it was among all flags that were asked for at once.
    pub in_bulk: u64,
}

/// A flag that took another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagChanged {
    /// Name of the change.
    pub change: String,
    /// Flag.
    pub flag: String,
    /// Its value up to then, or what is shown in its place.
    pub from: Value,
    /// Its value from then on, likewise.
    pub to: Value,
    /// When, in microseconds since the schedule's start.
    pub at_us: i64,
}
