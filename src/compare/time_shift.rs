//! Time shift: a build against itself on events that all took place so much later, its outputs shifted back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::business::Figures;
use super::comparing::compare_drives;
use super::drives::Drive;
use super::expected::Expectations;
use super::rules::Rules;
use super::{CompareError, Comparison, Kind, Pattern};
use crate::settings::Shift;
use crate::spill::SpillSpace;

/// What a shift of all times does to each build: nothing, for one that keeps the relation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimeShift {
    /// By how much events took place later, in microseconds; earlier where it is negative.
    pub by_us: i64,
    /// What it did to old.
    pub old: Shifted,
    /// What it did to new.
    pub new: Shifted,
    /// Why nobody can tell, as a fragment; none where everybody can.
    #[serde(default)]
    pub untold: Option<String>,
}

/// What a shift did to one build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shifted {
    /// Outputs that are other than without the shift, once they are shifted back.
    pub differences: u64,
    /// Those of them where drives of one build differ anyhow; they count in nothing.
    pub noise: u64,
    /// The most frequent of the others, as `3 changed at $.total of totals`; empty where there are none.
    pub most: String,
}

impl TimeShift {
    /// What to call the result: `kept by both`, `broken by both`, `broken by new`, `mended by new` or `not judged`.
    pub fn result(&self) -> &'static str {
        match (&self.untold, self.old.breaks(), self.new.breaks()) {
            (Some(_), ..) => "not judged",
            (None, false, false) => "kept by both",
            (None, true, true) => "broken by both",
            (None, false, true) => "broken by new",
            (None, true, false) => "mended by new",
        }
    }

    /// Whether new breaks what old keeps.
    pub fn is_broken_by_new(&self) -> bool {
        self.result() == "broken by new"
    }

    /// What was found, as sentences.
    pub fn note(&self) -> String {
        let by = Shift(self.by_us);
        if let Some(why) = &self.untold {
            return format!("Cannot tell: {why}.");
        }
        let of = |name: &str, build: &Shifted| {
            let noise = if build.noise > 0 { format!(" ({} more are noise)", build.noise) } else { String::new() };
            match build.differences - build.noise {
                0 => format!("{name} does the same on events {by} away{noise}."),
                count => format!("{name} does otherwise on events {by} away: {count} outputs, {}{noise}.", build.most),
            }
        };
        format!("{} {}", of("Old", &self.old), of("New", &self.new))
    }
}

impl Shifted {
    /// Whether anything differs beyond noise.
    pub fn breaks(&self) -> bool {
        self.differences > self.noise
    }
}

/// Holds drives of a build against one on events that took place later, whose outputs `shifted` shows shifted back. What differs between
/// the drives themselves, or of old in `comparison`, is noise.
///
/// # Errors
///
/// As [`compare_drives`].
pub fn shifted(
    with: &[&dyn Drive],
    shifted: &dyn Drive,
    comparison: &Comparison,
    rules: &Rules,
    spill: &SpillSpace,
) -> Result<Shifted, CompareError> {
    let rules = rules.clone().with_figures(Figures::default()).with_expected(Expectations::default());
    let found = compare_drives(with, &[shifted], &rules, None, spill)?;
    let noisy: BTreeSet<_> =
        comparison.patterns.iter().filter(|pattern| pattern.noise_count > 0).map(signature).collect();
    let mut result = Shifted::default();
    let mut most = 0;
    for pattern in found.patterns.iter().filter(|pattern| !pattern.information) {
        result.differences += pattern.count;
        let is_noise = pattern.noise_count > 0 || pattern.unjudgeable || noisy.contains(&signature(pattern));
        if is_noise {
            result.noise += pattern.count;
        } else if pattern.count > most {
            most = pattern.count;
            result.most = in_words(pattern);
        }
    }
    Ok(result)
}

/// What tells noise of one sort from that of another.
fn signature(pattern: &Pattern) -> (Kind, &str, Option<&str>) {
    (pattern.kind, &pattern.topic, pattern.path.as_deref())
}

fn in_words(pattern: &Pattern) -> String {
    let path = pattern.path.as_ref().map_or_else(String::new, |path| format!(" at `{path}`"));
    let kind = super::figure::kind_name(pattern.kind);
    format!("of them {} {kind}{path} of {}", pattern.count, pattern.topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_broke_what_is_told_beyond_noise() {
        let of = |differences, noise| Shifted { differences, noise, most: "2 changed".to_owned() };
        for (old, new, result) in [
            (of(0, 0), of(3, 3), "kept by both"),
            (of(1, 0), of(3, 1), "broken by both"),
            (of(4, 4), of(3, 1), "broken by new"),
            (of(1, 0), of(0, 0), "mended by new"),
        ] {
            let found = TimeShift { by_us: 3_600_000_000, old, new, untold: None };
            assert_eq!(found.result(), result);
            assert!(found.note().contains("+1h away"), "{}", found.note());
            let untold = TimeShift { untold: Some("nothing was moved".to_owned()), ..found };
            assert_eq!((untold.result(), untold.is_broken_by_new()), ("not judged", false));
        }
    }
}
