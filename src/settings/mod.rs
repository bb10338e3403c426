//! How people write quantities: durations, dates, values of flags, and the error that names the setting at fault.
//!
//! A leaf: uses no room. Every room's settings are read from text by serde and checked by the room; what is wrong comes back as
//! a [`SettingError`] whose `key` the scenario turns into file, line and column.

mod flag;
mod moment;
mod shift;
mod span;

pub use flag::{Flag, FlagKind, flag_variable};
pub use moment::Moment;
pub use shift::Shift;
pub use span::Span;

/// A setting that cannot be used, by the path of its key, such as `fault[0].probability`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SettingError {
    /// Path of the key from the top of the file: names joined by dots, indices in brackets.
    pub key: String,
    /// What is wrong, as a lowercase fragment.
    pub problem: String,
    /// What to write instead, as a sentence; empty where there is nothing to add.
    pub instead: String,
}

impl SettingError {
    /// Makes the error for `key`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), instead: instead.into() }
    }
}
