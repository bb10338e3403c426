//! How many outputs are compared in memory at a time.

use super::gather::Entry;
use super::rules::Rules;

/// Up to how many outputs are taken together; tests set what the rules' `memory` otherwise does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Outputs sorted in memory, in all drives: those of a bucket, and of one identity. Beyond it they are sorted in the spill
    /// space and compared from there, with the same result. Never less than `group`.
    pub(super) held: usize,
    /// Outputs in disorder among which the fewest that moved are found.
    pub(super) moving: usize,
    /// Outputs of one identity, in all drives, that are compared as a whole.
    pub(super) group: usize,
    /// Outputs of a drive that are compared with each other at a time, in an identity of more than `group`.
    pub(super) window: usize,
}

impl Bounds {
    /// Bounds that keep to the memory of `rules`: a sixteenth of it for entries, and about as much for what is made of them.
    pub(super) fn of(rules: &Rules) -> Self {
        let held = (rules.settings.memory << 16) as usize / size_of::<Entry>();
        Self { held, moving: held * 2, group: 4_096, window: 1_024 }
    }
}
