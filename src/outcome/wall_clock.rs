//! The clock of a build that follows the events that it is handed, or is wrong.

use serde::{Deserialize, Serialize};

/// How the wall clock of one drive's build was set. Readers ignore fields that they do not know.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WallClockReport {
    /// Whether it followed the events that were handed over; else it was the machine's, but for what faults did to it.
    #[serde(default = "yes")]
    pub recorded: bool,
    /// The library that set it.
    pub library: String,
    /// The way, such as `native, shifted`.
    pub profile: String,
    /// What came of trying it ahead of the drive, as a fragment.
    pub tested: String,
    /// Ways that were tried ahead of it and do not work, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<String>,
    /// How many times as fast as the machine's the build's timers ran, too; none where they ran as the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timers: Option<f64>,
    /// How often it was set while the schedule lasted.
    pub sets: u64,
    /// Longest time between two settings, in microseconds.
    pub apart_us_max: i64,
    /// Furthest that it was from what it was to show, in microseconds of its own time.
    pub error_us_max: i64,
    /// By how much it was set back when the schedule started, in microseconds; zero where the build had started in time.
    pub stepped_back_us: i64,
    /// How wrong it was at most because of faults, in microseconds, ahead or back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wrong_us_max: i64,
    /// Timestamps of outputs that lie within what it showed: taken for its own, and left out.
    #[serde(default, skip_serializing_if = "is_none")]
    pub own_stamps: u64,
}

/// Serde asks by reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

fn yes() -> bool {
    true
}

/// Serde asks by reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
