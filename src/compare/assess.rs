//! What each gate's figure came to, and whether it keeps the limit.
//!
//! Three answers: kept, broken, cannot be told. The third is never taken for the first.

use std::borrow::Cow;

use super::behind;
use super::family;
use super::figure::Figure;
use super::gates::{Gate, Limit};
use super::lagging;
use super::noise::{Sufficient, sufficient};
use super::power;
use super::sentences::{self, Totals, count, counted, percent, time};
use super::shared;
use super::timing;
use super::verdict::{Facts, FidelityBounds, is_new};
use super::{GateResult, Idempotency, Kind, Pattern, Standing};
use crate::outcome::Ending;

/// A gate's result with the sentences it adds to the reasons; none where it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) result: GateResult,
    pub(super) sentences: Vec<String>,
}

/// What was seen of a figure.
pub(super) struct Seen {
    observed: Option<String>,
    pass: Option<bool>,
    note: Option<String>,
    sentences: Vec<String>,
}

/// Holds the figure of `gate` against its limit.
pub(super) fn assess(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds, warning: bool) -> Finding {
    let seen = look(facts, gate, bounds);
    let sentences = if seen.pass == Some(true) { Vec::new() } else { seen.sentences };
    let result = GateResult {
        name: gate.figure.name().into_owned(),
        limit: gate.text.clone(),
        observed: seen.observed,
        pass: seen.pass,
        note: seen.note,
        default: gate.default,
        warning,
    };
    Finding { result, sentences }
}

fn look(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds) -> Seen {
    match (gate.figure, gate.limit) {
        (Figure::Kind(Kind::Died), Limit::Count(limit)) => endings(facts, gate, &[Ending::Died], limit),
        (Figure::Kind(Kind::NoProgress), Limit::Count(limit)) => {
            endings(facts, gate, &[Ending::TimedOut, Ending::StoppedReading], limit)
        }
        (Figure::Kind(Kind::SinkDivergence), Limit::Count(limit)) => sinks(facts, gate, limit),
        (Figure::Kind(kind), Limit::Count(limit)) => differences(facts, gate, kind, limit),
        (Figure::RepeatedEffectsIncrease, Limit::Count(limit)) => repeated_effects_increase(facts, gate, limit),
        (Figure::RepeatedEffects, Limit::Count(limit)) => repeated_effects(facts, gate, limit),
        (Figure::ChangedFinals, Limit::Count(limit)) => changed_finals(facts, gate, limit),
        (Figure::LatencyIncrease(quantile), Limit::Share(limit)) => {
            timing::increase(facts, gate, bounds, quantile, limit)
        }
        (Figure::Latency(quantile), Limit::Time(limit)) => timing::of_new(facts, gate, bounds, quantile, limit.us()),
        (Figure::Worse(measure), Limit::Share(limit)) => timing::worse(facts, gate, bounds, measure, limit),
        (Figure::Lagging, Limit::Count(limit)) => lagging::assess(facts, gate, bounds, limit),
        (Figure::OutputsMin, Limit::Count(limit)) => outputs_min(facts, gate, limit),
        (Figure::MatchedShareMin, Limit::Share(limit)) => matched_share_min(facts, gate, limit),
        (Figure::LatenessP99, Limit::Time(limit)) => {
            timing::replay(facts, gate, limit.us() as f64, |lateness| lateness.p99_us as f64, |us| time(us as i64))
        }
        (Figure::SlowDown, Limit::Share(limit)) => {
            timing::replay(facts, gate, limit, |lateness| lateness.slow_down, percent)
        }
        (Figure::LagEvents, Limit::Count(limit)) => behind::lag(facts, gate, bounds, limit),
        (Figure::StaleExpectations, Limit::Count(limit)) => super::expected::stale(facts, gate, limit),
        (Figure::PowerAtLeast, Limit::Count(limit)) => power::assess(facts, gate, limit),
        (Figure::FreshnessP99, Limit::Time(limit)) => behind::freshness(facts, gate, bounds, limit.us()),
        // `Gates::check` gives each figure a limit in its own unit.
        _ => Seen::untold(gate, "its limit has another unit"),
    }
}

impl Seen {
    pub(super) fn kept(observed: impl Into<String>, note: Option<String>) -> Self {
        Self { observed: Some(observed.into()), pass: Some(true), note, sentences: Vec::new() }
    }

    /// Cannot be told at all, for `reason`.
    pub(super) fn untold(gate: &Gate, reason: &str) -> Self {
        let sentence = format!("gate {} could not be judged: {reason}", gate.figure.name());
        Self { observed: None, pass: None, note: Some(reason.to_owned()), sentences: vec![sentence] }
    }

    /// Beyond the limit, but only if what is suspected is real.
    pub(super) fn suspected(gate: &Gate, observed: impl Into<String>, reason: &str) -> Self {
        Self { observed: Some(observed.into()), ..Self::untold(gate, reason) }
    }

    pub(super) fn broken(gate: &Gate, observed: impl Into<String>, note: Option<String>, what: &str) -> Self {
        let limit = format!("{} {}", if gate.figure.is_minimum() { "at least" } else { "at most" }, gate.text);
        let sentence = format!("{what}; gate {} asks for {limit}", gate.figure.name());
        Self { observed: Some(observed.into()), pass: Some(false), note, sentences: vec![sentence] }
    }

    pub(super) fn counted(gate: &Gate, number: u64, limit: u64, note: Option<String>, what: &str) -> Self {
        if number <= limit {
            Self::kept(number.to_string(), note)
        } else {
            Self::broken(gate, number.to_string(), note, what)
        }
    }
}

/// Differences of a kind: what is proven counts, what is suspected makes unsure.
fn differences(facts: &Facts<'_>, gate: &Gate, kind: Kind, limit: u64) -> Seen {
    let found = Found::of(facts, kind);
    // An output that changed at several paths is in as many patterns, but it is one difference.
    let raw = facts.comparison.differences.get(&kind).copied().unwrap_or(u64::MAX);
    let (proven, suspected) = (found.proven_beyond_noise().min(raw), total(&found.suspected));
    let mut note = found.note(facts, kind);
    let totals = totals(facts);
    let beyond = |number: u64| number.min(raw) > limit;
    let (pass, sentences) = if beyond(proven) {
        (Some(false), sentences::patterns(&found.proven, totals, &asked_for(gate)))
    } else if beyond(proven + suspected) {
        (None, suspicions(facts, &found.suspected))
    } else if !gate.default && beyond(proven + suspected + total(&found.unjudgeable)) {
        note.get_or_insert_default().insert_str(0, "all drives differ there; ");
        (
            None,
            sentences::patterns(&found.unjudgeable, totals, ", which cannot be judged because all drives differ there"),
        )
    } else {
        (Some(true), Vec::new())
    };
    Seen { observed: Some(proven.to_string()), pass, note, sentences }
}

/// Differences of sinks, which say nothing where drives may have shared what they write to: the verdict says that once for all of them.
fn sinks(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let has_sinks = facts.endings.values().any(|report| !report.sinks.is_empty());
    match shared::state(facts.endings).filter(|_| has_sinks) {
        Some(state) => Seen { sentences: Vec::new(), ..Seen::untold(gate, &state) },
        None => differences(facts, gate, Kind::SinkDivergence, limit),
    }
}

/// Says what is suspected, and what would have told.
fn suspicions(facts: &Facts<'_>, suspected: &[&Pattern]) -> Vec<String> {
    let mut alike: Vec<(String, Vec<&Pattern>)> = Vec::new();
    for pattern in suspected {
        let certainty = format!(", suspected but not proven{}", what_would_tell(facts, pattern));
        match alike.iter_mut().find(|(other, _)| *other == certainty) {
            Some((_, patterns)) => patterns.push(pattern),
            None => alike.push((certainty, vec![pattern])),
        }
    }
    alike.iter().flat_map(|(certainty, patterns)| sentences::patterns(patterns, totals(facts), certainty)).collect()
}

fn what_would_tell(facts: &Facts<'_>, pattern: &Pattern) -> String {
    let test = &pattern.statistics;
    match sufficient(test, family::size(facts.comparison)) {
        Some(Sufficient { drives: Some(drives), identities }) => {
            format!("; {} drives of old or {} identities would have told", count(drives), count(identities))
        }
        Some(Sufficient { drives: None, identities }) => format!("; {} identities would have told", count(identities)),
        None if test.recurred == Some(0) => "; driven again, new did not do it".to_owned(),
        None => String::new(),
    }
}

fn asked_for(gate: &Gate) -> String {
    if gate.default { String::new() } else { format!("; gate {} asks for at most {}", gate.figure.name(), gate.text) }
}

/// Patterns of one kind by what they count for.
struct Found<'a> {
    proven: Vec<&'a Pattern>,
    suspected: Vec<&'a Pattern>,
    unjudgeable: Vec<&'a Pattern>,
}

impl<'a> Found<'a> {
    fn of(facts: &Facts<'a>, kind: Kind) -> Self {
        let of_kind =
            || facts.comparison.patterns.iter().filter(move |pattern| pattern.kind == kind && !pattern.information);
        let standing = |standing: Standing, unjudgeable: bool| {
            of_kind()
                .filter(move |pattern| pattern.standing == standing && pattern.unjudgeable == unjudgeable)
                .collect()
        };
        Self {
            proven: of_kind().filter(|pattern| pattern.standing == Standing::Proven).collect(),
            suspected: standing(Standing::Suspected, false),
            unjudgeable: unjudgeable(facts.comparison.patterns.iter()).filter(|pattern| pattern.kind == kind).collect(),
        }
    }

    /// Counts what old against itself does not show as well; a proven pattern counts at least once.
    fn proven_beyond_noise(&self) -> u64 {
        self.proven.iter().map(|pattern| pattern.count.saturating_sub(pattern.noise_count).max(1)).sum()
    }

    fn note(&self, facts: &Facts<'_>, kind: Kind) -> Option<String> {
        let raw = facts.comparison.differences.get(&kind).copied().unwrap_or(0);
        let noise = facts.comparison.noise.as_ref().map(|noise| noise.get(&kind).copied().unwrap_or(0));
        let mut parts = Vec::new();
        if raw > 0 || noise.is_some_and(|noise| noise > 0) {
            parts.push(format!("raw: {} in old against new", count(raw)));
            let build = facts.comparison.noisy().name();
            parts.extend(noise.map(|noise| format!("{} in {build} against itself", count(noise))));
        }
        if !self.suspected.is_empty() {
            parts.push(format!("{} suspected", count(total(&self.suspected))));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Returns the patterns on which all drives differ, so that nobody can say what new changed.
pub(super) fn unjudgeable<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> impl Iterator<Item = &'a Pattern> {
    patterns.filter(|pattern| {
        pattern.unjudgeable && !pattern.information && matches!(pattern.standing, Standing::Suspected | Standing::Noise)
    })
}

fn total(patterns: &[&Pattern]) -> u64 {
    patterns.iter().map(|pattern| pattern.count).sum()
}

/// Returns what sentences on outputs count against.
pub(super) fn totals(facts: &Facts<'_>) -> Totals {
    let outputs = |drive: &str| facts.comparison.outputs.get(drive).copied().unwrap_or(0);
    let mut topics = facts.comparison.patterns.iter().map(|pattern| &pattern.topic);
    let several_topics = topics.next().is_some_and(|first| topics.any(|topic| topic != first));
    Totals { old: outputs("old"), new: outputs("new"), several_topics }
}

/// Drives of new that ended in one of these ways.
fn endings(facts: &Facts<'_>, gate: &Gate, failing: &[Ending], limit: u64) -> Seen {
    let ended: Vec<String> = facts
        .endings
        .iter()
        .filter(|(drive, report)| is_new(drive) && failing.contains(&report.ending))
        .map(|(drive, report)| sentences::ending(drive, report))
        .collect();
    Seen::counted(gate, ended.len() as u64, limit, None, &ended.join("; "))
}

fn redelivery<'a>(facts: &Facts<'a>) -> Result<&'a Idempotency, Cow<'static, str>> {
    let found = facts.comparison.idempotency.as_ref();
    let found = found.ok_or("nothing was redelivered, or the relation redelivery is off")?;
    // Whatever was counted may be what another drive left there.
    shared::state(facts.endings).map_or(Ok(found), |state| Err(state.into()))
}

/// Repeated effects of new beyond old's, tested over identities.
fn repeated_effects_increase(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let idempotency = match redelivery(facts) {
        Ok(idempotency) => idempotency,
        // Without redelivery there is nothing that a default gate could ask for.
        Err(_) if gate.default && facts.comparison.idempotency.is_none() => {
            return Seen::kept("0", Some("nothing was redelivered".to_owned()));
        }
        Err(reason) => return Seen::untold(gate, &reason),
    };
    let (old, new) = (idempotency.old.repeated_effects, idempotency.new.repeated_effects);
    // Identities that new mends do not pay for those that it breaks.
    let increase = new.saturating_sub(old).max(idempotency.broken_by_new);
    let note = format!("{} in old, {} in new", count(old), count(new));
    match idempotency.increase {
        _ if increase <= limit => Seen::kept(increase.to_string(), Some(note)),
        Some(Standing::Noise | Standing::Expected) => {
            Seen::kept("0", Some(format!("{note}; {} beyond old's, which is noise or expected", count(increase))))
        }
        Some(Standing::Proven) => {
            let what = format!("redelivery makes new repeat {}", repeats(increase, idempotency, facts));
            Seen::broken(gate, increase.to_string(), Some(note), &what)
        }
        Some(Standing::Suspected) | None => {
            let reason =
                format!("{note}; new may repeat {}, suspected but not proven", repeats(increase, idempotency, facts));
            Seen::suspected(gate, increase.to_string(), &reason)
        }
    }
}

fn repeats(increase: u64, idempotency: &Idempotency, facts: &Facts<'_>) -> String {
    let first = idempotency.new.examples.first().and_then(|example| example.cause.as_ref());
    let first = first.map(|cause| format!("; first {}", sentences::sighting(cause))).unwrap_or_default();
    let provoked = idempotency.new.provoked;
    let faults = facts.endings.get("new").into_iter().flat_map(|ending| &ending.faults);
    let names: Vec<String> =
        faults.filter(|(_, count)| count.provoked > 0).map(|(name, _)| format!("`{name}`")).collect();
    let of = if names.is_empty() { "a fault at requests or processes".to_owned() } else { names.join(" or ") };
    let instances = format!("{} of {of}", counted(provoked, "instance"));
    let redelivered = match (idempotency.new.redelivered, provoked) {
        (0, 1..) => instances,
        (redelivered, 0) => counted(redelivered, "redelivered event"),
        (redelivered, _) => {
            format!("{} and {}", counted(redelivered, "redelivered event"), instances)
        }
    };
    format!("{} beyond old's, of {redelivered}{first}", counted(increase, "effect"))
}

/// Repeated effects of new, those that old repeats too included: a written limit forbids what both builds break.
fn repeated_effects(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let idempotency = match redelivery(facts) {
        Ok(idempotency) => idempotency,
        Err(reason) => return Seen::untold(gate, &reason),
    };
    let (old, new) = (idempotency.old.repeated_effects, idempotency.new.repeated_effects);
    let note = format!("{} in old, {} in new", count(old), count(new));
    if new > limit && old <= limit {
        match idempotency.increase {
            Some(Standing::Proven) => {}
            Some(Standing::Noise | Standing::Expected) => {
                return Seen::kept(
                    old.to_string(),
                    Some(format!("{note}; what new has beyond old is noise or expected")),
                );
            }
            Some(Standing::Suspected) | None => {
                return Seen::suspected(gate, new.to_string(), &format!("{note}, suspected but not proven"));
            }
        }
    }
    let both = if old > limit { format!(" (broken by both: {} in old)", count(old)) } else { String::new() };
    let what = format!("redelivery makes new repeat {}{both}", counted(new, "effect"));
    Seen::counted(gate, new, limit, Some(note), &what)
}

/// Keys whose last value redelivery changes in new.
fn changed_finals(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let idempotency = match redelivery(facts) {
        Ok(idempotency) => idempotency,
        Err(reason) => return Seen::untold(gate, &reason),
    };
    let (old, new) = (idempotency.old.changed_finals, idempotency.new.changed_finals);
    let note = format!("{} in old, {} in new", count(old), count(new));
    let noise = facts.comparison.noise.as_ref().and_then(|noise| noise.get(&Kind::FinalState)).copied().unwrap_or(0);
    if new > limit && new - limit <= noise {
        let keys = counted(noise, "key");
        let reason = format!("{note}, but two drives of old also differ in the last value of {keys}");
        return Seen::suspected(gate, new.to_string(), &reason);
    }
    let both = if old > limit { format!(" (broken by both: {} in old)", count(old)) } else { String::new() };
    let what = format!("redelivery changes the last value of {} in new{both}", counted(new, "key"));
    Seen::counted(gate, new, limit, Some(note), &what)
}

fn outputs_min(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let Totals { old, new, .. } = totals(facts);
    let note = Some(format!("{} in old", count(old)));
    if new >= limit {
        return Seen::kept(new.to_string(), note);
    }
    Seen::broken(gate, new.to_string(), note, &format!("new wrote {}", counted(new, "output")))
}

fn matched_share_min(facts: &Facts<'_>, gate: &Gate, limit: f64) -> Seen {
    let old = totals(facts).old;
    if old == 0 {
        return Seen::untold(gate, "old wrote nothing that could be matched");
    }
    let share = facts.comparison.matched as f64 / old as f64;
    let what =
        format!("{} of {} of old found an equal partner", count(facts.comparison.matched), counted(old, "output"));
    if share >= limit {
        Seen::kept(percent(share), Some(what))
    } else {
        Seen::broken(gate, percent(share), None, &what)
    }
}
