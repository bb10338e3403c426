//! Kinds of faults: what each takes, how grave it is, and what the presets say.

use super::Legality;
use super::distance::{Distance, Unit};
use super::extent::Extent;
use super::fault::{Effect, Preset, StallScope, Within};
use super::interleave::Merge;
use super::jitter::Jitter;
use super::late::Late;
use super::requests::RequestKind;
use super::trigger::Trigger;
use crate::settings::SettingError;

/// A kind of fault that this version can plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Delay,
    Jitter,
    Straggle,
    Stall,
    Interleave,
    Reorder,
    Late,
    Duplicate,
    Rewind,
    Drop,
}

const KINDS: [Kind; 10] = [
    Kind::Delay,
    Kind::Jitter,
    Kind::Straggle,
    Kind::Stall,
    Kind::Interleave,
    Kind::Reorder,
    Kind::Late,
    Kind::Duplicate,
    Kind::Rewind,
    Kind::Drop,
];

/// Kinds that the catalogue names and this version cannot make.
const LATER: [&str; 16] = [
    "burst",
    "idle",
    "skew",
    "swap",
    "zombie",
    "resend",
    "compact",
    "tombstone",
    "empty",
    "unknown-field",
    "unknown-header",
    "missing-field",
    "other-type",
    "corrupt",
    "oversize",
    "partition-split",
];

const SECOND: i64 = 1_000_000;

/// How much slower than the one partition a skewed interleaving hands over the others.
const RATIO: u32 = 10;

/// What is asked of every kind of fault.
pub(super) trait FaultKind: Copy + PartialEq {
    fn name(self) -> &'static str;

    /// Parameters of this kind, triggers included.
    fn takes(self) -> &'static [&'static str];
}

impl Kind {
    /// Finds the kind of that name.
    ///
    /// # Errors
    ///
    /// Says whether the kind is unknown or not available yet, and names those that are.
    pub(super) fn named(name: &str, key: &str) -> Result<Self, SettingError> {
        if let Some(kind) = KINDS.into_iter().find(|kind| kind.name() == name) {
            return Ok(kind);
        }
        let requests = RequestKind::ALL.iter().map(|kind| kind.name());
        let all: Vec<&str> = KINDS.iter().map(|kind| kind.name()).chain(requests).collect();
        let kinds: Vec<String> = all.iter().map(|kind| format!("`{kind}`")).collect();
        let problem = if name.is_empty() {
            "the fault has no kind".to_owned()
        } else if LATER.contains(&name) {
            format!("the fault `{name}` is not available yet in this version")
        } else {
            format!("there is no fault `{name}`")
        };
        let nearest = all.iter().find(|kind| strsim::damerau_levenshtein(kind, name) <= 2);
        let instead = match nearest {
            Some(nearest) if !LATER.contains(&name) => {
                format!("Write `{nearest}`; available are {}.", kinds.join(", "))
            }
            _ => format!("Available are {}.", kinds.join(", ")),
        };
        Err(SettingError::new(key, problem, instead))
    }

    pub(super) fn legality(self) -> Legality {
        match self {
            Self::Delay | Self::Jitter | Self::Stall | Self::Interleave | Self::Rewind => Legality::A,
            Self::Straggle | Self::Reorder | Self::Late | Self::Duplicate => Legality::B,
            Self::Drop => Legality::C,
        }
    }

    /// What fires the fault where the scenario does not say; none where the preset has it off.
    pub(super) fn trigger(self, preset: Preset) -> Option<Trigger> {
        Some(match self {
            // Whom an interleaving holds back hangs on the moment, how many events come late on its shares.
            Self::Delay | Self::Jitter | Self::Interleave | Self::Late => Trigger::Probability(1.0),
            Self::Stall => Trigger::Times(preset.choose(1, 3, 5)),
            Self::Reorder => Trigger::Probability(preset.choose(0.01, 0.05, 0.2)),
            Self::Straggle | Self::Duplicate => Trigger::Probability(preset.choose(0.001, 0.01, 0.05)),
            Self::Rewind => Trigger::Times(preset.choose(1, 5, 1)),
            Self::Drop if preset == Preset::Harsh => Trigger::Probability(0.01),
            Self::Drop => return None,
        })
    }

    /// What the fault does where the scenario does not say.
    pub(super) fn effect(self, preset: Preset) -> Effect {
        match self {
            Self::Delay => Effect::Delay { us: preset.choose(10_000, 50_000, SECOND) },
            Self::Jitter => Effect::Jitter(preset.choose(
                Jitter::Normal { mean_us: 50_000, deviation_us: 10_000, max_us: i64::MAX },
                Jitter::Exponential { mean_us: 100_000, max_us: i64::MAX },
                Jitter::Pareto { min_us: 10_000, shape: 1.5, max_us: 30 * SECOND },
            )),
            Self::Straggle => match preset {
                Preset::Calm => Effect::Straggle(Distance::event_time_us(5 * SECOND)),
                Preset::Normal => Effect::Straggle(Distance::event_time_us(30 * SECOND)),
                Preset::Harsh => Effect::StraggleByLateness { times: 2 },
            },
            Self::Stall => {
                Effect::Stall { length_us: preset.choose(SECOND, 5 * SECOND, 60 * SECOND), scope: StallScope::Own }
            }
            Self::Interleave => preset.choose(
                Effect::Interleave { merge: Merge::Uniform, length_us: SECOND, ratio: RATIO },
                Effect::Interleave { merge: Merge::Skewed, length_us: 5 * SECOND, ratio: RATIO },
                Effect::Interleave { merge: Merge::Starved, length_us: 60 * SECOND, ratio: RATIO },
            ),
            Self::Late => Effect::Late(preset.choose(
                Late { bound_us: 0, inside: 0.05, at_bound: 0.01, beyond: 0.001 },
                Late { bound_us: 0, inside: 0.1, at_bound: 0.02, beyond: 0.01 },
                Late { bound_us: 0, inside: 0.2, at_bound: 0.05, beyond: 0.05 },
            )),
            Self::Reorder => Effect::Reorder {
                within: Within::Partition,
                extent: preset.choose(Extent::Offsets(4), Extent::Offsets(64), Extent::Lateness),
            },
            Self::Duplicate => Effect::Duplicate {
                after: preset.choose(
                    Distance::replay_us(0, 100_000),
                    Distance::events(100_000),
                    // Beyond a day, what stores of ids seen commonly keep.
                    Distance { unit: Unit::EventTime, least: 90_000 * SECOND, most: 90_000 * SECOND },
                ),
            },
            Self::Rewind => Effect::Rewind { n: preset.choose(100, 4_000, u64::MAX) },
            Self::Drop => Effect::Drop,
        }
    }
}

impl FaultKind for Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Jitter => "jitter",
            Self::Straggle => "straggle",
            Self::Stall => "stall",
            Self::Interleave => "interleave",
            Self::Reorder => "reorder",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Rewind => "rewind",
            Self::Drop => "drop",
        }
    }

    fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Delay => &["delay", "probability", "nth", "every", "times", "at"],
            Self::Jitter => &[
                "distribution",
                "min",
                "max",
                "mean",
                "deviation",
                "shape",
                "probability",
                "nth",
                "every",
                "times",
                "at",
            ],
            Self::Straggle => &["share", "delay", "nth", "every", "times", "at"],
            Self::Stall => &["length", "partitions", "probability", "nth", "every", "times", "at"],
            Self::Interleave => &["mode", "length", "ratio"],
            Self::Late => &["bound", "inside", "at-bound", "beyond"],
            Self::Reorder => &["share", "extent", "within", "nth", "every", "times", "at"],
            Self::Duplicate => &["probability", "after", "nth", "every", "times", "at"],
            Self::Rewind => &["n", "period", "nth", "every", "times", "at"],
            Self::Drop => &["probability", "bursts", "nth", "every", "times", "at"],
        }
    }
}

impl Preset {
    /// Takes what belongs to the preset.
    pub(super) fn choose<T>(self, calm: T, normal: T, harsh: T) -> T {
        match self {
            Self::Calm => calm,
            Self::Normal => normal,
            Self::Harsh => harsh,
        }
    }
}
