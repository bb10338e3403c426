//! The four questions that a reader comes with, answered from the report: what broke, when it broke, how far behind, and what
//! it would do to production if deliveries repeat.

use super::figures::{change, count, counted, cut, date, time};
use super::over_time::happened_earlier;
use super::words::{Heading, build, event, name, patterns_of, signature};
use super::{DriveFacts, FaultFacts, Report};
use crate::compare::{Drift, Idempotency, Latency, Pattern, Redelivery, Standing};
use crate::outcome::Ending;
use crate::plan::{CLOCK, is_of_process};

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The question, as a heading.
    pub(super) question: &'static str,
    /// The answer in a few words.
    pub(super) headline: String,
    /// What stands behind it, a line each.
    pub(super) lines: Vec<String>,
    /// How grave it is.
    pub(super) tone: Tone,
}

/// How grave an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing wrong.
    Good,
    /// Something is wrong.
    Bad,
    /// It cannot be told, or not yet.
    Unsure,
    /// It was not asked or not measured.
    Quiet,
}

/// Characters of a pattern's signature, so that one with a long path does not fill the screen.
const SIGNATURE_MAX: usize = 160;

/// How many lines stand behind an answer at most.
const LINES_MAX: usize = 3;

/// Answers the four questions, in the order in which they are asked.
pub(super) fn answers(report: &Report) -> [Answer; 4] {
    [what_broke(report), when(report), how_far_behind(report), if_deliveries_repeat(report)]
}

fn what_broke(report: &Report) -> Answer {
    let mut lines: Vec<String> = unfinished(report).map(ending_line).collect();
    let (standing, patterns) = gravest(report);
    let (headline, tone) = match standing {
        Some(Standing::Proven) => {
            (format!("{} proven", counted(patterns.len() as u64, "pattern", "patterns")), Tone::Bad)
        }
        Some(_) => (format!("{} suspected", counted(patterns.len() as u64, "pattern", "patterns")), Tone::Unsure),
        None if !lines.is_empty() => ("A build did not finish".to_owned(), Tone::Bad),
        None if report.identities == 0 => ("Nothing was compared".to_owned(), Tone::Unsure),
        None => ("Nothing".to_owned(), Tone::Good),
    };
    lines.extend(
        patterns
            .iter()
            .take(LINES_MAX)
            .map(|pattern| format!("{}: {}", cut(&signature(pattern), SIGNATURE_MAX), count(pattern.count))),
    );
    if patterns.len() > LINES_MAX {
        lines.push(format!("and {} more below", patterns.len() - LINES_MAX));
    }
    if lines.is_empty() && report.identities > 0 {
        lines.push(format!(
            "{} compared, none differs beyond noise",
            counted(report.identities, "identity", "identities")
        ));
    }
    Answer { question: "What broke", headline, lines, tone }
}

fn when(report: &Report) -> Answer {
    let question = "When it broke";
    let (_, patterns) = gravest(report);
    let Some(divergence) = report.first_divergence.as_ref().map(|first| &first.replayed) else {
        return when_it_ended(report, patterns.is_empty());
    };
    let first = &divergence.sighting;
    let into = format!("{} into the replay", time(first.replay_us));
    let mut lines =
        vec![event(first).map_or_else(|| "cause not known".to_owned(), |event| format!("first with {event}"))];
    let headline = match first.event_time_ms {
        Some(ms) => {
            lines.push(into);
            date(ms)
        }
        None => into,
    };
    lines.extend(happened_earlier(report));
    let tone = if divergence.standing == Standing::Proven { Tone::Bad } else { Tone::Unsure };
    Answer { question, headline, lines, tone }
}

/// Answers where no pattern tells when it first showed.
fn when_it_ended(report: &Report, nothing_differs: bool) -> Answer {
    let question = "When it broke";
    if let Some(drive) = unfinished(report).min_by_key(|drive| drive.length_us) {
        let lines = vec![format!("{} {}", drive.drive, name(drive.ending))];
        return Answer {
            question,
            headline: format!("{} into the replay", time(drive.length_us)),
            lines,
            tone: Tone::Bad,
        };
    }
    let (headline, tone) = match (nothing_differs, report.identities) {
        (true, 1..) => ("It did not", Tone::Quiet),
        _ => ("Not known", Tone::Unsure),
    };
    Answer { question, headline: headline.to_owned(), lines: Vec::new(), tone }
}

fn how_far_behind(report: &Report) -> Answer {
    let question = "How far behind";
    let mut stuck = unfinished(report)
        .filter(|drive| drive.sent < drive.deliveries)
        .map(|drive| format!("{} was handed {} of {}", drive.drive, count(drive.sent), deliveries(drive)));
    // A drive that never got to the end is further behind than any latency can say.
    let stopped = stuck.next();
    let mut lines: Vec<String> = stuck.collect();
    let off_schedule = report.fidelity.on_schedule == Some(false);
    if off_schedule {
        lines.push("the replay ran off its schedule: timing is not judged".to_owned());
    }
    let slower =
        report.latency.as_ref().is_some_and(|latency| latency.increases.iter().any(|increase| increase.slower));
    let figures = report.latency.as_ref().map(latency_headline);
    let headline = match (&stopped, &figures) {
        (Some(stopped), figures) => {
            lines.extend(figures.clone());
            stopped.clone()
        }
        (None, Some(figures)) => figures.clone(),
        (None, None) => "Not measured".to_owned(),
    };
    lines.extend(report.latency.as_ref().and_then(increase_line));
    let drift = report.lagging.as_ref().and_then(|lagging| lagging.beyond_old.as_ref());
    lines.extend(drift.map(drift_line));
    let drifts = !off_schedule && drift.is_some_and(|drift| drift.standing == Some(Standing::Proven));
    lines.push(lag_line(report).unwrap_or_else(|| "lag in events was not measured".to_owned()));
    let tone = match (stopped.is_some() || slower || drifts, off_schedule, figures) {
        (true, _, _) => Tone::Bad,
        (false, true, _) => Tone::Unsure,
        (false, false, Some(_)) => Tone::Good,
        (false, false, None) => Tone::Quiet,
    };
    Answer { question, headline, lines, tone }
}

/// Writes since when new falls behind for good.
fn drift_line(drift: &Drift) -> String {
    let since =
        drift.onset.event_time_ms.map_or_else(|| format!("{} into the replay", time(drift.onset.replay_us)), date);
    let standing = drift.standing.map_or("not judged".to_owned(), name);
    format!("new falls behind for good since {since}: {standing}")
}

/// Writes how far new was behind at most, and for how long the oldest event waited.
fn lag_line(report: &Report) -> Option<String> {
    let (lag, freshness) = (report.lag.as_ref()?, report.freshness.as_ref()?);
    let (new, fresh) = (lag.get("new")?, freshness.get("new")?);
    let old = lag.get("old").map(|old| format!(", old {}", count(old.largest))).unwrap_or_default();
    let old_fresh = freshness.get("old").map(|old| format!(", old {}", time(old.p99_us))).unwrap_or_default();
    let largest = counted(new.largest, "event", "events");
    Some(format!("lag at most {largest}{old}; p99 freshness {}{old_fresh}", time(fresh.p99_us)))
}

/// Writes the highest quantile that is slower, else the highest there is.
fn increase_line(latency: &Latency) -> Option<String> {
    let slower = latency.increases.iter().rev().find(|increase| increase.slower);
    let increase = slower.or_else(|| latency.increases.last())?;
    let (from, to) = increase.interval;
    let judged = if increase.slower { "slower" } else { "not shown to be slower" };
    let quantile = quantile(increase.quantile);
    Some(format!(
        "{quantile} {} where both wrote (95 % sure of {} to {}): {judged}",
        change(increase.increase),
        change(from),
        change(to)
    ))
}

/// Names the highest quantile that both builds have.
fn latency_headline(latency: &Latency) -> String {
    let both = [
        ("p99", latency.old.p99_us, latency.new.p99_us),
        ("p95", latency.old.p95_us, latency.new.p95_us),
        ("p90", latency.old.p90_us, latency.new.p90_us),
        ("median", latency.old.p50_us, latency.new.p50_us),
        ("largest", latency.old.max_us, latency.new.max_us),
    ];
    let shown = both.iter().find_map(|(name, old, new)| Some((name, (*old)?, (*new)?)));
    match shown {
        Some((name, old, new)) => format!("{name} {}, old {}", time(new), time(old)),
        None => "Too few outputs to tell".to_owned(),
    }
}

fn if_deliveries_repeat(report: &Report) -> Answer {
    let question = "If deliveries repeat";
    let Some(idempotency) = &report.idempotency else {
        let lines = vec!["no fault of this run redelivered, or the relation is off".to_owned()];
        return Answer { question, headline: "Not asked".to_owned(), lines, tone: Tone::Quiet };
    };
    let Idempotency { old, new, .. } = idempotency;
    let redelivered = counted(new.redelivered, "redelivery", "redeliveries");
    let from = match (new.redelivered, new.provoked) {
        (_, 0) => redelivered,
        (0, provoked) => provoked_in_words(provoked, report),
        (_, provoked) => format!("{redelivered} and {}", provoked_in_words(provoked, report)),
    };
    let mut lines = vec![format!("from {from}; old repeats {}", count(old.repeated_effects))];
    lines.extend(over_channels(new));
    if new.changed_finals > 0 || old.changed_finals > 0 {
        let finals = counted(new.changed_finals, "final value", "final values");
        lines.push(format!("{finals} changed; old {}", count(old.changed_finals)));
    }
    if idempotency.broken_by_both > 0 {
        lines.push(format!("{} broken by both builds", counted(idempotency.broken_by_both, "identity", "identities")));
    }
    // In the effects' own words: what it would do to the world.
    let told = report
        .effects
        .iter()
        .filter(|effect| old.effects.contains_key(&effect.name) || new.effects.contains_key(&effect.name));
    lines.extend(told.filter_map(|effect| effect.repeats.clone()));
    if let Some(standing) = idempotency.increase {
        lines.push(format!("increase over old: {}", name(standing)));
    }
    // What old does to production already is no news of this release.
    let worse = idempotency.broken_by_new > 0
        || new.repeated_effects > old.repeated_effects
        || new.changed_finals > old.changed_finals;
    let broken = if worse { Tone::Bad } else { Tone::Unsure };
    let (headline, tone) = match (new.redelivered + new.provoked, new.repeated_effects, new.changed_finals) {
        (0, _, _) => ("Cannot tell: none was redelivered".to_owned(), Tone::Unsure),
        (_, 0, 0) => ("No effect is repeated".to_owned(), Tone::Good),
        (_, 0, finals) => (format!("{} changed", counted(finals, "final value", "final values")), broken),
        (_, effects, _) => (format!("{} repeated", counted(effects, "effect", "effects")), broken),
    };
    Answer { question, headline, lines, tone }
}

/// Says of which faults there were instances that make clients write, or be handed, something once more.
fn provoked_in_words(instances: u64, report: &Report) -> String {
    let provoke = |fault: &&FaultFacts| {
        let new = fault.requests.as_ref().and_then(|requests| requests.drives.get("new"));
        let again =
            fault.kind == "lost-ack" || fault.kind == "rebalance" || is_of_process(&fault.kind) && fault.kind != CLOCK;
        again && new.is_some_and(|fired| fired.instances > 0)
    };
    let mut kinds: Vec<&str> = report.faults.iter().filter(provoke).map(|fault| fault.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of = if kinds.is_empty() { "a fault at requests or processes".to_owned() } else { kinds.join(" or ") };
    format!("{} of {of}", counted(instances, "instance", "instances"))
}

/// Says how many of the effects that are repeated are calls, where others are not: one payment may count as a call and as a row.
fn over_channels(new: &Redelivery) -> Option<String> {
    let calls: u64 = new.effects.values().map(|calls| calls.calls).sum();
    let others = new.repeated_effects.saturating_sub(calls);
    (calls > 0 && others > 0).then(|| {
        let others = counted(others, "output or row of a sink", "outputs or rows of sinks");
        format!("counted on each channel: {} to the outside and {others}", counted(calls, "call", "calls"))
    })
}

/// Returns the patterns that count, of the gravest standing there is: proven before suspected.
fn gravest(report: &Report) -> (Option<Standing>, Vec<&Pattern>) {
    for (heading, standing) in [(Heading::Proven, Standing::Proven), (Heading::Suspected, Standing::Suspected)] {
        let patterns = patterns_of(report, heading);
        if !patterns.is_empty() {
            return (Some(standing), patterns);
        }
    }
    (None, Vec::new())
}

fn unfinished(report: &Report) -> impl Iterator<Item = &DriveFacts> {
    report.drives.iter().filter(|drive| drive.ending != Ending::Finished)
}

fn ending_line(drive: &DriveFacts) -> String {
    let reason = if drive.reason.is_empty() { String::new() } else { format!(": {}", drive.reason) };
    format!("{} {}{reason}", drive.drive, name(drive.ending))
}

fn deliveries(drive: &DriveFacts) -> String {
    counted(drive.deliveries, "delivery", "deliveries")
}

/// Writes a quantile as people call it, such as `median`, `p99`, `p99.9`.
pub(super) fn quantile(quantile: f64) -> String {
    if (quantile - 0.5).abs() < 1e-9 { "median".to_owned() } else { format!("p{}", (quantile * 1e5).round() / 1e3) }
}

/// Returns the builds as one line, such as `compensation 1.4 → compensation 2.0`.
pub(super) fn builds_line(report: &Report) -> String {
    format!("{} → {}", build(report, "old"), build(report, "new"))
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_named_as_people_call_them() {
        for (of, name) in [(0.5, "median"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")] {
            assert_eq!(quantile(of), name);
        }
    }
}
