//! The words that every renderer uses for the same thing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{count, counted, date, figure, share, time};
use super::{BuildFacts, DriveFacts, FaultFacts, FiredFacts, MetricFacts, RecordingFacts, Report};
use crate::compare::{
    Causes, Change, Example, FreshnessFigures, GateResult, Kind, Pattern, Redelivery, Shown, Sighting, Standing,
    Verdict,
};
use crate::outcome::{InstanceReport, StopCount};
use crate::plan::{CLOCK, FLAG_CHANGE, is_of_process};
use crate::recording::CauseFacts;

/// Requests, or clients, of a fault that are named where many would have to be.
const LISTED_MAX: usize = 8;

/// Returns the name of a kind, change, standing or ending as `run.json` spells it, such as `final-state`.
pub(super) fn name(of: impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Returns the verdict as a heading.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agree => "Agree",
        Verdict::Differ => "Differ",
        Verdict::NoVerdict => "No verdict",
    }
}

/// How many instances of a fault are planned; where requests begin them, nobody can say.
pub(super) fn planned(fault: &FaultFacts) -> String {
    match &fault.requests {
        Some(requests) if !requests.by_time && is_of_process(&fault.kind) => "by commit".to_owned(),
        Some(requests) if !requests.by_time => "by request".to_owned(),
        _ => count(fault.planned),
    }
}

/// Whether a fault fired nowhere, or not in a drive that was to suffer it.
pub(super) fn is_silent(fault: &FaultFacts) -> bool {
    let silent_somewhere = |requests: &super::RequestFacts| requests.drives.values().any(|fired| fired.instances == 0);
    fault.fired == 0 || fault.requests.as_ref().is_some_and(silent_somewhere)
}

/// Says when a fault at requests fires and what it did in each drive; nothing of one at events.
pub(super) fn at_requests(fault: &FaultFacts) -> Vec<String> {
    let Some(requests) = &fault.requests else { return Vec::new() };
    let own = if requests.by_time {
        "the same instants in every drive"
    } else if is_of_process(&fault.kind) {
        "commits are the build's own, no two drives have the same"
    } else {
        "requests are the client's own, no two drives have the same"
    };
    if fault.kind == FLAG_CHANGE {
        let changed = |fired: &FiredFacts| if fired.instances > 0 { "changed" } else { "did not change" };
        let drives = requests.drives.iter().map(|(drive, fired)| format!("{drive}: {}", changed(fired)));
        return std::iter::once(requests.begins.clone()).chain(drives).collect();
    }
    if fault.kind == CLOCK {
        let drives = requests.drives.iter().map(|(drive, fired)| format!("{drive}: {} fired", count(fired.instances)));
        return std::iter::once(format!("{} ({own})", requests.begins)).chain(drives).collect();
    }
    let mut lines = vec![format!("{} ({own})", requests.begins)];
    lines.extend(requests.drives.iter().map(|(drive, fired)| format!("{drive}: {}", fired_in_words(fired))));
    lines
}

fn fired_in_words(fired: &FiredFacts) -> String {
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        let listed = counts.iter().take(LISTED_MAX).map(|(name, number)| {
            format!("{} {}", if name.is_empty() { "(no client id)" } else { name }, count(*number))
        });
        let more = counts.len().saturating_sub(LISTED_MAX);
        let more = (more > 0).then(|| format!("{} more", count(more as u64)));
        listed.chain(more).collect::<Vec<_>>().join(", ")
    };
    if let Some(stops) = &fired.stops {
        return stopped_in_words(stops);
    }
    let mut text = format!("{} fired, {} touched", count(fired.instances), count(fired.touched));
    if !fired.requests.is_empty() {
        let _ = write!(text, ": {}", list(&fired.requests));
    }
    if !fired.clients.is_empty() {
        let _ = write!(text, "; of clients {}", list(&fired.clients));
    }
    text
}

/// What became of the work of processes that a fault ended or stopped.
fn stopped_in_words(stops: &StopCount) -> String {
    let mut text = format!("{} fired, {} up again", count(stops.stops), count(stops.resumed));
    if stops.killed > 0 {
        let _ = write!(text, ", {} killed after `grace`", count(stops.killed));
    }
    if let Some(open) = stops.in_flight {
        let _ = write!(text, "; in flight {}", counted(open, "event", "events"));
    }
    if stops.in_flight.is_some() || stops.drained > 0 {
        let _ = write!(text, ", drained {}", counted(stops.drained, "output", "outputs"));
    }
    for (what, events) in [("committed", stops.committed), ("delivered again", stops.again)] {
        if let Some(events) = events {
            let _ = write!(text, ", {what} {}", count(events));
        }
    }
    if stops.away_us_max > 0 {
        let _ = write!(text, "; away {} at most", time(stops.away_us_max));
    }
    text
}

/// Says of each process of a drive how often it was started and how it ended.
pub(super) fn instances(drive: &DriveFacts) -> Vec<String> {
    let one = |one: &InstanceReport| {
        let end = match (one.exit_code, one.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown end".to_owned(),
        };
        let by = if one.by_itself { ", by itself" } else { "" };
        format!("process {}: started {}, {end}{by}", one.instance, counted(one.starts, "time", "times"))
    };
    drive.instances.iter().map(one).collect()
}

/// Rows of the figures that builds offer: series, old, new; those that differ first.
pub(super) fn metrics(report: &Report) -> Vec<[String; 3]> {
    let of = |metric: &MetricFacts, drive: &str| or_dash(metric.drives.get(drive).map(|value| figure(*value)));
    let mut rows: Vec<_> =
        report.metrics.iter().map(|metric| [metric.name.clone(), of(metric, "old"), of(metric, "new")]).collect();
    rows.sort_by_key(|[_, old, new]| old == new);
    rows
}

/// What redelivery did to each build, as rows of old and new; what faults at requests provoked stands there where any did.
pub(super) fn redelivery_rows(old: &Redelivery, new: &Redelivery) -> Vec<(&'static str, u64, u64)> {
    let mut rows = vec![("redelivered", old.redelivered, new.redelivered)];
    if old.provoked + new.provoked > 0 {
        rows.push(("answers lost, rebalances, stops", old.provoked, new.provoked));
    }
    rows.push(("repeated effects", old.repeated_effects, new.repeated_effects));
    rows.push(("changed final values", old.changed_finals, new.changed_finals));
    rows
}

/// Rows of the calls to the outside: effect, drive, and how many calls, had no rule, failed, had no answer.
pub(super) fn effect_rows(report: &Report) -> Vec<[String; 6]> {
    let rows = report.effects.iter().flat_map(|effect| {
        effect.drives.iter().map(|(drive, calls)| {
            let [all, unmatched, failed, unanswered] =
                [calls.calls, calls.unmatched, calls.failed, calls.unanswered].map(count);
            [effect.name.clone(), drive.clone(), all, unmatched, failed, unanswered]
        })
    });
    rows.collect()
}

/// Says what a verdict means to somebody who has never seen one.
pub(super) fn verdict_meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agree => "The new build did what the old one does, within every gate.",
        Verdict::Differ => "The new build fails a gate: it does not do what the old one does.",
        Verdict::NoVerdict => "Cannot tell. This is no pass: something the verdict rests on could not be judged.",
    }
}

/// Says what a kind of difference means.
pub(super) fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Missing => "old wrote it, new did not",
        Kind::Unseen => "old wrote it; new stopped before it could be told",
        Kind::Extra => "new wrote it, old did not",
        Kind::Repeated => "new wrote it more often than old",
        Kind::Changed => "both wrote it, with another value",
        Kind::Rerouted => "same value, sent elsewhere",
        Kind::Metadata => "same value, other headers or timestamp",
        Kind::Reordered => "outputs that depend on each other changed places",
        Kind::BenignReorder => "independent outputs changed places",
        Kind::Later => "same output, at a later event time",
        Kind::Earlier => "same output, at an earlier event time",
        Kind::Refinement => "same final value, other updates on the way",
        Kind::FinalState => "the last value of a key differs",
        Kind::Effect => "calls to the outside differ",
        Kind::SinkDivergence => "what stands in a sink differs",
        Kind::DeadLetter => "what went to the error channel differs",
        Kind::Malformed => "an output that cannot be read",
        Kind::NoProgress => "input was pending and nothing moved",
        Kind::Died => "the build died",
    }
}

/// Says what a build wrote at a difference of which it has no output: of what is repeated it wrote the rest as the other did.
pub(super) fn absent(kind: Kind) -> &'static str {
    if kind == Kind::Repeated { "nothing more" } else { "nothing" }
}

/// What patterns are shown under: their standing, but information has a place of its own, as it is told and never judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heading {
    Proven,
    Suspected,
    Noise,
    Expected,
    Information,
}

impl Heading {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 5] = [Self::Proven, Self::Suspected, Self::Noise, Self::Expected, Self::Information];

    /// Returns the heading that a pattern stands under.
    pub(super) fn of(pattern: &Pattern) -> Self {
        match pattern.standing {
            _ if pattern.information => Self::Information,
            Standing::Proven => Self::Proven,
            Standing::Suspected => Self::Suspected,
            Standing::Noise => Self::Noise,
            Standing::Expected => Self::Expected,
        }
    }

    /// Returns its text.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Proven => "Proven",
            Self::Suspected => "Suspected",
            Self::Noise => "Noise",
            Self::Expected => "Expected",
            Self::Information => "Information",
        }
    }

    /// Says what it means.
    pub(super) fn meaning(self, report: &Report) -> &'static str {
        match self {
            Self::Proven if report.against.is_some() && noisy(report) == "new" => {
                "Production does otherwise, beyond what new does to itself by chance."
            }
            Self::Proven if report.against.is_some() => {
                "Production does otherwise, beyond what old does to itself by chance."
            }
            Self::Noise if noisy(report) == "new" => "New differs from itself in the same way.",
            Self::Proven => "New broke it, beyond what old does to itself by chance.",
            Self::Suspected => "Seen, but chance could not be ruled out.",
            Self::Noise => "Old differs from itself in the same way.",
            Self::Expected => "Intended: the scenario says so, or somebody accepted it.",
            Self::Information => "Worth knowing, never a failure: what is said in the end is the same.",
        }
    }
}

/// Returns the patterns under one heading, in the order of the report.
pub(super) fn patterns_of(report: &Report, heading: Heading) -> Vec<&Pattern> {
    report.patterns.iter().filter(|pattern| Heading::of(pattern) == heading).collect()
}

/// The build whose drives say what the noise is.
pub(super) fn noisy(report: &Report) -> &'static str {
    match &report.against {
        Some(against) => against.side.other().name(),
        None => "old",
    }
}

/// Says why there is no noise to show.
pub(super) fn no_noise(report: &Report) -> String {
    format!("not measured: {} was driven once", noisy(report))
}

/// Writes how often old against itself shows the same; a dash where that is not looked for.
pub(super) fn noise(pattern: &Pattern) -> String {
    if pattern.kind == Kind::BenignReorder && pattern.noise_count == 0 {
        return "–".to_owned();
    }
    count(pattern.noise_count)
}

/// Writes what kind, topic, path and change say, such as `changed in payouts at $.amount (value)`.
pub(super) fn signature(pattern: &Pattern) -> String {
    signature_of((pattern.kind, &pattern.topic, pattern.path.as_deref(), pattern.change))
}

/// Writes the same of a kind, topic, path and change.
pub(super) fn signature_of((kind, topic, path, change): (Kind, &str, Option<&str>, Option<Change>)) -> String {
    let mut text = name(kind);
    if !topic.is_empty() {
        let _ = write!(text, " in {topic}");
    }
    if let Some(path) = path {
        let _ = write!(text, " at {path}");
    }
    if let Some(change) = change {
        let _ = write!(text, " ({})", name(change));
    }
    text
}

/// Says where both builds wrote an output whose value is the same, so that its value shows nothing; none for any other.
pub(super) fn places(example: &Example) -> Option<String> {
    let (old, new) = (example.old.as_ref()?, example.new.as_ref()?);
    let place = |shown: &Shown, build| format!("output {} of {build}", super::figures::signed(shown.sequence));
    (old.value == new.value).then(|| format!("{}, {}", place(old, "old"), place(new, "new")))
}

/// Says what a kind of difference means, and what keeps it from being judged.
pub(super) fn about(pattern: &Pattern) -> String {
    std::iter::once(meaning(pattern.kind)).chain(mark(pattern)).collect::<Vec<_>>().join("; ")
}

/// Says why the differences of a pattern are there: what new does, and what is common to them.
pub(super) fn explained(pattern: &Pattern) -> Vec<String> {
    let explained = &pattern.explained;
    let ways = explained.ways.iter().enumerate();
    let ways = ways.map(|(at, way)| if at == 0 { way.says.clone() } else { format!("or: {}", way.says) });
    ways.chain(explained.common.iter().map(|common| format!("common to them: {}", common.says))).collect()
}

/// Says what keeps a pattern from being judged; none for most.
pub(super) fn mark(pattern: &Pattern) -> Option<&'static str> {
    pattern.unjudgeable.then_some("cannot be judged: all drives differ")
}

/// Writes which event a sighting points at, such as `event flights/3 at offset 1,204`.
pub(super) fn event(sighting: &Sighting) -> Option<String> {
    let topic = sighting.topic.as_deref()?;
    let partition = sighting.partition.map(|partition| format!("/{partition}")).unwrap_or_default();
    let offset =
        sighting.offset.map(|offset| format!(" at offset {}", super::figures::signed(offset))).unwrap_or_default();
    let inferred = if sighting.inferred { ", inferred from the key" } else { "" };
    Some(format!("event {topic}{partition}{offset}{inferred}"))
}

/// Writes event and times of a sighting in one line.
pub(super) fn sighting(sighting: &Sighting) -> String {
    let mut parts = vec![event(sighting).unwrap_or_else(|| "cause not known".to_owned())];
    parts.extend(sighting.event_time_ms.map(date));
    parts.push(format!("{} into the replay", time(sighting.replay_us)));
    parts.join(" · ")
}

/// Returns the name of a build, or its role where it has none.
pub(super) fn build<'a>(report: &'a Report, role: &'a str) -> &'a str {
    report.builds.get(role).map(|build| build.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(role)
}

/// Writes a build's command as one would type it.
pub(super) fn command(build: &BuildFacts) -> String {
    build.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Says how a gate went in one word.
pub(super) fn gate_result(gate: &GateResult) -> &'static str {
    match (gate.pass, gate.warning) {
        (Some(true), _) => "kept",
        (Some(false), true) => "warning",
        (Some(false), false) => "failed",
        (None, _) => "not judged",
    }
}

/// Says why there are no figures of latency.
pub(super) fn no_latency(report: &Report) -> &'static str {
    if report.against.is_some() {
        "Not judged: production ran at another time, which says nothing about this machine now."
    } else if report.outcome_of_old.as_ref().is_some_and(|old| old.used_again_from.is_some()) {
        "Not compared: old was driven at another time, which says nothing about now. With --fresh it is driven again."
    } else {
        "Not measured: the replay was unpaced, or no due times are known."
    }
}

/// Writes a count by kind in one line, such as `1,204 changed, 3 missing`.
pub(super) fn by_kind(counts: &std::collections::BTreeMap<Kind, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(kind, n)| format!("{} {}", count(*n), name(kind))).collect::<Vec<_>>().join(", ")
}

/// Writes a figure that may be missing.
pub(super) fn or_dash(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "–".to_owned())
}

/// Returns text, or nothing where it is empty.
pub(super) fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty())
}

/// Says what each drive's processes used.
pub(super) fn resources(report: &Report) -> Vec<String> {
    let drives = report.resources.as_ref().and_then(serde_json::Value::as_object);
    let of_drive = |(drive, figures): (&String, &serde_json::Value)| {
        let figure = |name: &str| figures.get(name).and_then(serde_json::Value::as_u64);
        let cpu = figure("cpu_us").map(|us| format!("{} of processor time", time(us as i64)));
        let memory =
            figure("memory_peak_bytes").map(|bytes| format!("{} MB at most", count(bytes.div_ceil(1_000_000))));
        let figures: Vec<String> = cpu.into_iter().chain(memory).collect();
        (!figures.is_empty()).then(|| format!("{} {}", drive.replace('_', "-"), figures.join(", ")))
    };
    drives.into_iter().flatten().filter_map(of_drive).collect()
}

/// Says of each sink how many rows each drive left in it and how many differ, or why there is no snapshot.
pub(super) fn sinks(report: &Report) -> Vec<String> {
    let names: BTreeSet<&String> = report.drives.iter().flat_map(|drive| drive.sinks.keys()).collect();
    let of_sink = |name: &String| {
        let seen = report.drives.iter().filter_map(|drive| Some((&drive.drive, drive.sinks.get(name)?)));
        let drives: Vec<String> = seen
            .map(|(drive, sink)| match &sink.failed {
                Some(why) => format!("no snapshot in {drive} ({why})"),
                None => format!("{} in {drive}", counted(sink.rows, "row", "rows")),
            })
            .collect();
        let failed = report.drives.iter().any(|drive| drive.sinks.get(name).is_some_and(|sink| sink.failed.is_some()));
        let of_it =
            report.patterns.iter().filter(|pattern| pattern.kind == Kind::SinkDivergence && pattern.topic == *name);
        let divergence: u64 = of_it.map(|pattern| pattern.count).sum();
        let divergence =
            if failed { "not judged".to_owned() } else { format!("sink divergence {}", count(divergence)) };
        format!("{name}: {}; {divergence}", drives.join(", "))
    };
    names.into_iter().map(of_sink).collect()
}

/// Says what a recording lacks, by cause: `1,200 offsets (retention), 5 offsets (transaction-markers)`; none where nothing is known
/// to be missing.
pub(super) fn missing(recording: &RecordingFacts) -> Option<String> {
    let one = |one: &CauseFacts| format!("{} ({})", counted(one.offsets, "offset", "offsets"), one.cause.name());
    let causes: Vec<String> = recording.missing.iter().map(one).collect();
    (!causes.is_empty()).then(|| causes.join(", "))
}

/// Headings of [`behind`].
pub(super) const BEHIND: [&str; 9] =
    ["drive", "lag", "p99", "at the end", "largest at", "freshness", "p99", "at the end", "largest at"];

/// Writes how far each drive was behind, a row each: its name; lag in events, largest, p99, at the end, and when it was largest;
/// freshness likewise.
pub(super) fn behind(report: &Report) -> Vec<[String; 9]> {
    let (lag, freshness) = (report.lag.iter().flatten(), report.freshness.as_ref());
    lag.map(|(drive, lag)| {
        let fresh = freshness.and_then(|freshness| freshness.get(drive));
        let aged = |of: fn(&FreshnessFigures) -> i64| or_dash(fresh.map(|fresh| time(of(fresh))));
        [
            drive.replace('_', "-"),
            count(lag.largest),
            count(lag.p99),
            count(lag.at_end),
            time(lag.peak_us),
            aged(|fresh| fresh.largest_us),
            aged(|fresh| fresh.p99_us),
            aged(|fresh| fresh.at_end_us),
            aged(|fresh| fresh.peak_us),
        ]
    })
    .collect()
}

/// Says for each drive what share of its outputs has a cause, and by which way.
pub(super) fn causes(report: &Report) -> Vec<String> {
    let of_drive = |(drive, causes): (&String, &Causes)| {
        let ways = [("stated", causes.build), ("by lineage", causes.lineage), ("inferred by key", causes.inferred)];
        let ways: Vec<String> =
            ways.into_iter().filter(|(_, n)| *n > 0).map(|(way, n)| format!("{} {way}", count(n))).collect();
        let all = causes.known() + causes.unknown;
        let drive = drive.replace('_', "-");
        match &ways[..] {
            _ if all == 0 => format!("{drive} wrote nothing"),
            [] => format!("{drive} none"),
            ways => format!("{drive} {} ({})", share(causes.known() as f64 / all as f64), ways.join(", ")),
        }
    };
    report.causes.iter().map(of_drive).collect()
}
