//! What can be limited: figures, their names, units and rank.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::Kind;
use super::latency::Quantile;
use super::measures::Measure;

/// What a gate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Differences of a kind.
    Kind(Kind),
    /// Repeated effects of new under redelivery.
    RepeatedEffects,
    /// Repeated effects of new beyond those of old.
    RepeatedEffectsIncrease,
    /// Keys whose last value redelivery changes in new.
    ChangedFinals,
    /// Increase of a quantile of latency, new over old.
    LatencyIncrease(Quantile),
    /// Quantile of the latency of new.
    Latency(Quantile),
    /// By how much a measure of new is worse than old's: a decrease of throughput, an increase of anything else.
    Worse(Measure),
    /// Whether the lag of new keeps growing.
    Lagging,
    /// Least outputs of new.
    OutputsMin,
    /// Least share of the outputs of old that found an equal partner in new.
    MatchedShareMin,
    /// 99th percentile of the lateness of the replay.
    LatenessP99,
    /// Slow-down of the replay.
    SlowDown,
    /// Largest number of events that waited to be processed by new.
    LagEvents,
    /// 99th percentile of the age of the oldest event that waited to be processed by new.
    FreshnessP99,
    /// Expected and accepted changes that no longer apply.
    StaleExpectations,
    /// Smallest number of outputs whose change would have been proven with 95 % probability.
    PowerAtLeast,
}

/// Every figure, gravest first; gates and reasons stand in this order.
const FIGURES: [Figure; 42] = [
    Figure::Kind(Kind::Died),
    Figure::Kind(Kind::NoProgress),
    Figure::RepeatedEffectsIncrease,
    Figure::RepeatedEffects,
    Figure::Kind(Kind::Missing),
    Figure::Kind(Kind::FinalState),
    Figure::ChangedFinals,
    Figure::Kind(Kind::Repeated),
    Figure::Kind(Kind::Extra),
    Figure::Kind(Kind::Changed),
    Figure::Kind(Kind::Effect),
    Figure::Kind(Kind::SinkDivergence),
    Figure::Kind(Kind::DeadLetter),
    Figure::Kind(Kind::Malformed),
    Figure::Kind(Kind::Rerouted),
    Figure::Kind(Kind::Reordered),
    Figure::Kind(Kind::Metadata),
    Figure::Kind(Kind::Later),
    Figure::Kind(Kind::Earlier),
    Figure::Kind(Kind::Unseen),
    Figure::Lagging,
    Figure::LatencyIncrease(Quantile::P50),
    Figure::LatencyIncrease(Quantile::P90),
    Figure::LatencyIncrease(Quantile::P95),
    Figure::LatencyIncrease(Quantile::P99),
    Figure::LatencyIncrease(Quantile::P999),
    Figure::Latency(Quantile::P50),
    Figure::Latency(Quantile::P90),
    Figure::Latency(Quantile::P95),
    Figure::Latency(Quantile::P99),
    Figure::Latency(Quantile::P999),
    Figure::Worse(Measure::Throughput),
    Figure::Worse(Measure::Cpu),
    Figure::Worse(Measure::Memory),
    Figure::OutputsMin,
    Figure::MatchedShareMin,
    Figure::LatenessP99,
    Figure::SlowDown,
    Figure::LagEvents,
    Figure::FreshnessP99,
    Figure::StaleExpectations,
    Figure::PowerAtLeast,
];

/// Figures gated at 0 unless the scenario writes its own.
pub(super) const DEFAULTS: [Figure; 12] = [
    Figure::RepeatedEffectsIncrease,
    Figure::Kind(Kind::Missing),
    Figure::Kind(Kind::FinalState),
    Figure::Kind(Kind::Repeated),
    Figure::Kind(Kind::Extra),
    Figure::Kind(Kind::Changed),
    Figure::Kind(Kind::Effect),
    Figure::Kind(Kind::SinkDivergence),
    Figure::Kind(Kind::DeadLetter),
    Figure::Kind(Kind::Malformed),
    Figure::Kind(Kind::Rerouted),
    Figure::Kind(Kind::Reordered),
];

/// Unit of a figure's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Share,
    Time,
}

impl Figure {
    /// Returns every figure that may be limited, gravest first.
    pub fn all() -> impl Iterator<Item = Self> {
        FIGURES.into_iter()
    }

    /// Returns the figure that is written `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|figure| figure.name() == name)
    }

    /// Returns the name by which scenarios and reports call it.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Kind(kind) => kind_name(kind).into(),
            Self::RepeatedEffects => "repeated-effects".into(),
            Self::RepeatedEffectsIncrease => "repeated-effects-increase".into(),
            Self::ChangedFinals => "changed-finals".into(),
            Self::LatencyIncrease(quantile) => format!("{}-latency-increase", quantile.name()).into(),
            Self::Latency(quantile) => format!("{}-latency", quantile.name()).into(),
            Self::Worse(Measure::Throughput) => "throughput-decrease".into(),
            Self::Worse(Measure::Cpu) => "cpu-increase".into(),
            Self::Worse(Measure::Memory) => "memory-increase".into(),
            Self::Lagging => "lagging".into(),
            Self::OutputsMin => "outputs-min".into(),
            Self::MatchedShareMin => "matched-share-min".into(),
            Self::LatenessP99 => "lateness-p99".into(),
            Self::SlowDown => "slow-down".into(),
            Self::LagEvents => "lag-events".into(),
            Self::FreshnessP99 => "freshness-p99".into(),
            Self::StaleExpectations => "stale-expectations".into(),
            Self::PowerAtLeast => "power-at-least".into(),
        }
    }

    /// Whether what builds wrote tells it, whenever they were driven.
    pub(super) fn is_told_by_outputs(self) -> bool {
        matches!(
            self,
            Self::Kind(_)
                | Self::RepeatedEffects
                | Self::RepeatedEffectsIncrease
                | Self::ChangedFinals
                | Self::OutputsMin
                | Self::MatchedShareMin
                | Self::StaleExpectations
                | Self::PowerAtLeast
        )
    }

    /// Whether its limit is a minimum.
    pub fn is_minimum(self) -> bool {
        matches!(self, Self::OutputsMin | Self::MatchedShareMin)
    }

    /// Returns its rank: 0 is the gravest.
    pub(super) fn gravity(self) -> usize {
        Self::all().position(|figure| figure == self).unwrap_or(usize::MAX)
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::LatencyIncrease(_) | Self::Worse(_) | Self::MatchedShareMin | Self::SlowDown => Unit::Share,
            Self::Latency(_) | Self::LatenessP99 | Self::FreshnessP99 => Unit::Time,
            _ => Unit::Count,
        }
    }

    pub(super) fn description(self) -> String {
        match self {
            Self::Kind(kind) => format!("Most differences of the kind {} that may be proven", kind_name(kind)),
            Self::RepeatedEffects => "Most effects that new may repeat when events are redelivered".to_owned(),
            Self::RepeatedEffectsIncrease => {
                "Most effects that new may repeat beyond those that old repeats".to_owned()
            }
            Self::ChangedFinals => "Most keys whose last value redelivery may change in new".to_owned(),
            Self::LatencyIncrease(quantile) => {
                format!("Most by which the {} latency may grow, new over old", quantile.name())
            }
            Self::Latency(quantile) => format!("Highest {} latency of new, from due time to arrival", quantile.name()),
            Self::Worse(Measure::Throughput) => {
                "Most by which the throughput, outputs a second, may be lower in new than in old".to_owned()
            }
            Self::Worse(measure) => format!("Most by which the {} of new may be more than old's", measure.name()),
            Self::Lagging => {
                "Nought: the lag of new may not keep growing beyond old's as long as events are handed over".to_owned()
            }
            Self::OutputsMin => "Fewest outputs that new may write".to_owned(),
            Self::MatchedShareMin => {
                "Smallest share of the outputs of old that must find an equal partner in new".to_owned()
            }
            Self::LatenessP99 => {
                "Highest p99 by which deliveries may miss their due times; bounds every gate on timing".to_owned()
            }
            Self::SlowDown => {
                "Most by which the replay may be longer than planned; bounds every gate on timing".to_owned()
            }
            Self::LagEvents => {
                "Most events that may wait to be processed by new; known of builds that commit".to_owned()
            }
            Self::FreshnessP99 => {
                "Highest p99 age of the oldest event that waits to be processed by new; known of builds that commit"
                    .to_owned()
            }
            Self::StaleExpectations => {
                "Most expected or accepted changes that may no longer apply, as old has them too".to_owned()
            }
            Self::PowerAtLeast => {
                "Outputs whose change, if new made so many, must have been proven with 95 % probability; else no verdict".to_owned()
            }
        }
    }
}

impl Unit {
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Count => "a whole number without quotes, such as `10`",
            Self::Share => "a percentage in quotes, such as `\"20%\"`",
            Self::Time => "a duration in quotes, such as `\"250ms\"` or `\"5s\"`",
        }
    }

    pub(super) fn schema(self) -> Value {
        match self {
            Self::Count => json!({"type": "integer", "minimum": 0}),
            Self::Share => json!({"type": ["string", "number"], "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "minimum": 0}),
            Self::Time => json!({"type": "string", "pattern": r"^(\d+(\.\d+)?(us|ms|s|m|min|h|d)\s*)+$"}),
        }
    }
}

/// Returns the kind as the catalogue spells it.
pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Missing => "missing",
        Kind::Unseen => "unseen",
        Kind::Extra => "extra",
        Kind::Repeated => "repeated",
        Kind::Changed => "changed",
        Kind::Rerouted => "rerouted",
        Kind::Metadata => "metadata",
        Kind::Reordered => "reordered",
        Kind::BenignReorder => "benign-reorder",
        Kind::Later => "later",
        Kind::Earlier => "earlier",
        Kind::Refinement => "refinement",
        Kind::FinalState => "final-state",
        Kind::Effect => "effect",
        Kind::SinkDivergence => "sink-divergence",
        Kind::DeadLetter => "dead-letter",
        Kind::Malformed => "malformed",
        Kind::NoProgress => "no-progress",
        Kind::Died => "died",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelled_as_serde_spells_them() {
        for figure in Figure::all() {
            if let Figure::Kind(kind) = figure {
                assert_eq!(serde_json::to_value(kind).unwrap(), figure.name().as_ref());
            }
        }
    }

    #[test]
    fn every_figure_has_a_name_a_description_and_a_rank_of_its_own() {
        let all: Vec<Figure> = Figure::all().collect();
        let names: std::collections::BTreeSet<_> = all.iter().map(|figure| figure.name()).collect();
        let descriptions: std::collections::BTreeSet<_> = all.iter().map(|figure| figure.description()).collect();
        let ranks: Vec<_> = all.iter().map(|figure| figure.gravity()).collect();
        assert_eq!((names.len(), descriptions.len()), (all.len(), all.len()));
        assert_eq!(ranks, (0..all.len()).collect::<Vec<_>>());
        assert!(all.iter().all(|figure| figure.is_minimum() == figure.name().ends_with("-min")));
    }

    #[test]
    fn every_default_is_a_figure() {
        assert!(DEFAULTS.iter().all(|default| Figure::all().any(|figure| figure == *default)));
    }
}
