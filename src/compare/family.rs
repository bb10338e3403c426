//! The family of a run: all its tests of chance, judged together.
//!
//! A run makes many tests, and each can be wrong. So that a verdict rests on false alarms in one of a hundred runs at most, the
//! tests that can turn a run red share one budget: patterns, redelivery and latency alike.

use super::deviation;
use super::divergence::first_divergence;
use super::figure::Figure;
use super::gates::{Gates, Limit};
use super::latency::Quantile;
use super::noise::{Drives, adjusted, judge, may_be_a_burst};
use super::power::power;
use super::{Comparison, Drift, Idempotency, Kind, Lagging, LatencyIncrease, Pattern, Side, Standing};

/// Judges all tests of a comparison as one family and says whether new should be driven once more.
///
/// Adjusts p-values by Benjamini-Hochberg and sets what rests on them: standings of patterns, of the increase of repeated effects
/// and of slower quantiles, the order of patterns, `power` and `wants_new_again`. A test over which `gates` holds no gate is
/// adjusted within the larger family of all tests, so that it neither lends its evidence to those that count nor goes without
/// a budget. May be called again when something was added: what was set before is not looked at.
pub fn settle(comparison: &mut Comparison, gates: &Gates) {
    let tests = tests(comparison, gates);
    let all = adjusted(&tests.iter().map(|test| test.p_value).collect::<Vec<_>>());
    let within_gates = adjusted(&tests.iter().map(|test| test.p_value.filter(|_| test.gated)).collect::<Vec<_>>());
    let mut q_values = within_gates.iter().zip(all).map(|(within, all)| within.or(all));

    for (pattern, q_value) in comparison.patterns.iter_mut().zip(&mut q_values) {
        pattern.statistics.q_value = q_value;
        if pattern.statistics.p_value.is_some() {
            let judged = judge(&pattern.statistics);
            (pattern.standing, pattern.unjudgeable) = (judged.standing, judged.unjudgeable);
        }
    }
    if let Some(idempotency) = &mut comparison.idempotency {
        idempotency.statistics.q_value = q_values.next().flatten();
        idempotency.increase = idempotency.increase.map(|_| judge(&idempotency.statistics).standing);
    }
    for (figure, q_value) in comparison.figures.iter_mut().zip(&mut q_values) {
        figure.q_value = q_value;
    }
    for (measured, q_value) in comparison.measures.iter_mut().zip(&mut q_values) {
        measured.settle(q_value);
    }
    if let Some(drift) = drift(&mut comparison.lagging) {
        drift.settle(q_values.next().flatten());
    }
    deviation::settle(comparison);
    if let Some(latency) = &mut comparison.latency {
        latency.settle(&q_values.flatten().collect::<Vec<_>>());
    }
    comparison.patterns.sort_by_key(|pattern| {
        let topic = (pattern.kind, pattern.topic.clone(), pattern.path.clone(), pattern.change);
        (rank(pattern), std::cmp::Reverse(pattern.count), topic)
    });
    comparison.first_divergence = first_divergence(&comparison.patterns);
    let family = within_gates.iter().flatten().count();
    comparison.power = power(comparison.identities, family, drives(comparison));
    // Against what production wrote new is driven as often as asked for: once more of it would be no recurrence.
    comparison.wants_new_again = comparison.production.is_none() && wants_new_again(comparison, gates);
}

/// What new falls behind beyond old.
fn drift(lagging: &mut Option<Lagging>) -> Option<&mut Drift> {
    lagging.as_mut()?.beyond_old.as_mut()
}

/// One test of the family.
struct Test {
    /// None where it did not take place.
    p_value: Option<f64>,
    /// Whether a gate stands over it.
    gated: bool,
}

/// All tests: patterns, redelivery, figures of the business, measures of drives, drift of the lag, quantiles of latency.
fn tests(comparison: &Comparison, gates: &Gates) -> Vec<Test> {
    let is_gated = |figure: Figure| gates.on(figure).is_some();
    let patterns = comparison
        .patterns
        .iter()
        .map(|pattern| Test { p_value: pattern.statistics.p_value, gated: is_gated(Figure::Kind(pattern.kind)) });
    let idempotency = comparison.idempotency.iter().map(|idempotency| Test {
        p_value: idempotency.statistics.p_value,
        gated: is_gated(Figure::RepeatedEffectsIncrease) || is_gated(Figure::RepeatedEffects),
    });
    let figures = comparison
        .figures
        .iter()
        .map(|figure| Test { p_value: figure.p_value, gated: gates.limits_figure(&figure.name) });
    let measures = comparison
        .measures
        .iter()
        .map(|measured| Test { p_value: measured.p_value, gated: is_gated(Figure::Worse(measured.measure)) });
    let drifts = comparison.lagging.iter().filter_map(|lagging| lagging.beyond_old.as_ref());
    let drifts = drifts.map(|drift| Test { p_value: drift.p_value, gated: is_gated(Figure::Lagging) });
    let increases = comparison.latency.iter().flat_map(|latency| &latency.increases).map(|increase| Test {
        // With one drive of old nothing tells what the machine does to time.
        p_value: increase.noise.as_ref().map(|_| increase.p_value),
        gated: quantile(increase).is_some_and(|quantile| is_gated(Figure::LatencyIncrease(quantile))),
    });
    patterns.chain(idempotency).chain(figures).chain(measures).chain(drifts).chain(increases).collect()
}

fn quantile(increase: &LatencyIncrease) -> Option<Quantile> {
    Quantile::ALL.into_iter().find(|quantile| (increase.quantile - quantile.share()).abs() < 1e-9)
}

/// Which drives were compared, by the names of their outputs.
pub(super) fn drives(comparison: &Comparison) -> Drives {
    if comparison.noisy() == Side::New {
        let of_new = comparison.outputs.keys().filter(|drive| *drive == "new" || drive.starts_with("new_again"));
        return Drives { old: of_new.count(), new_again: false };
    }
    let named = |drive: &&String| *drive == "old" || drive.starts_with("old_again");
    Drives {
        old: comparison.outputs.keys().filter(named).count(),
        new_again: comparison.outputs.contains_key("new_again"),
    }
}

/// Number of tests that took place, whatever gates stand over them.
pub(super) fn size(comparison: &Comparison) -> usize {
    tests(comparison, &Gates::default()).iter().filter(|test| test.p_value.is_some()).count()
}

/// Proven ones first, information last.
fn rank(pattern: &Pattern) -> u8 {
    match pattern.standing {
        _ if pattern.information => 4,
        Standing::Proven => 0,
        Standing::Suspected => 1,
        Standing::Noise => 2,
        Standing::Expected => 3,
    }
}

/// Whether driving new once more could settle something that a gate could fail by: what no gate asks for is not worth a drive.
fn wants_new_again(comparison: &Comparison, gates: &Gates) -> bool {
    let open = |pattern: &&Pattern| match pattern.standing {
        Standing::Suspected => pattern.statistics.could_recur(),
        Standing::Proven => !pattern.information && may_be_a_burst(&pattern.statistics),
        Standing::Noise | Standing::Expected => false,
    };
    comparison.patterns.iter().filter(open).any(|pattern| could_fail(comparison, gates, pattern.kind))
        || comparison.idempotency.as_ref().is_some_and(|idempotency| could_repeat(idempotency, gates))
}

fn could_fail(comparison: &Comparison, gates: &Gates, kind: Kind) -> bool {
    let real = |pattern: &&Pattern| {
        pattern.kind == kind
            && !pattern.information
            && matches!(pattern.standing, Standing::Proven | Standing::Suspected)
    };
    let patterns = comparison.patterns.iter().filter(real).map(|found| found.count).sum::<u64>();
    // An output that changed at several paths is in as many patterns, but it is one difference.
    let outputs = patterns.min(comparison.differences.get(&kind).copied().unwrap_or(u64::MAX));
    // What new did not reach because it stopped early is no question of chance.
    kind != Kind::Unseen && is_beyond(gates, Figure::Kind(kind), outputs)
}

fn could_repeat(idempotency: &Idempotency, gates: &Gates) -> bool {
    let (old, new) = (idempotency.old.repeated_effects, idempotency.new.repeated_effects);
    let increase = new.saturating_sub(old).max(idempotency.broken_by_new);
    idempotency.wants_new_again()
        && (is_beyond(gates, Figure::RepeatedEffectsIncrease, increase)
            || is_beyond(gates, Figure::RepeatedEffects, new))
}

/// Whether a gate on `figure` would fail at `observed`.
fn is_beyond(gates: &Gates, figure: Figure, observed: u64) -> bool {
    gates.on(figure).is_some_and(|gate| matches!(gate.limit, Limit::Count(limit) if observed > limit))
}
