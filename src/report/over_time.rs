//! What came out over time, in words: throughput, processor time and memory of whole drives, a lag that keeps growing, and where the run
//! first went apart.

use super::Report;
use super::figures::{change, count, share, time};
use super::words::{build, event, name, sighting, signature_of};
use crate::compare::{Divergence, Drift, LagMeasure, Lagging, Measure, Measured, Standing};

/// One measure as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is called.
    pub(super) name: &'static str,
    /// What it came to in old.
    pub(super) old: String,
    /// And in new.
    pub(super) new: String,
    /// New over old, with its interval.
    pub(super) change: String,
    /// How far drives of old are apart.
    pub(super) noise: String,
    /// Whether new is worse, in words.
    pub(super) judged: &'static str,
    /// Whether it is proven to be.
    pub(super) is_bad: bool,
}

/// Writes every measure as a row.
pub(super) fn rows(report: &Report) -> Vec<Row> {
    report.measures.iter().map(|measured| row(report, measured)).collect()
}

fn row(report: &Report, measured: &Measured) -> Row {
    let figure =
        |drive: &str| measured.drives.get(drive).map_or("–".to_owned(), |figure| show(measured.measure, *figure));
    let interval = measured.interval.map(|(low, high)| format!(" (95 % {} to {})", change(low), change(high)));
    let is_judged = report.fidelity.on_schedule != Some(false);
    let judged = match (measured.standing, measured.measure) {
        _ if !is_judged => "not judged: off schedule",
        (Some(Standing::Proven), Measure::Throughput) => "lower, proven",
        (Some(Standing::Proven), _) => "higher, proven",
        (Some(Standing::Suspected), _) if measured.interval.is_none() => "not judged: old was driven once",
        (Some(Standing::Suspected), _) => "suspected, perhaps chance",
        (Some(_), _) => "drives of old differ as much",
        (None, Measure::Throughput) => "not shown to be lower",
        (None, _) => "not shown to be higher",
    };
    Row {
        name: measured.measure.name(),
        old: figure("old"),
        new: figure("new"),
        change: format!("{}{}", change(measured.change), interval.unwrap_or_default()),
        noise: super::words::or_dash(measured.noise.map(share)),
        judged,
        is_bad: is_judged && measured.standing == Some(Standing::Proven),
    }
}

/// Writes a figure with its unit.
fn show(measure: Measure, figure: f64) -> String {
    match measure {
        Measure::Throughput => format!("{} outputs/s", rate(figure)),
        Measure::Cpu => time(figure as i64),
        Measure::Memory => format!("{} MB", rate(figure / 1e6)),
    }
}

/// Three digits that count, or all of a whole number.
pub(super) fn rate(figure: f64) -> String {
    match figure {
        _ if figure >= 100.0 => count(figure.round() as u64),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ if figure > 0.0 => format!("{figure:.2}"),
        _ => "0".to_owned(),
    }
}

/// Says of each measure what it came to, and of the lag whether it keeps growing.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let measures = rows(report).into_iter().map(|row| {
        let apart = if row.noise == "–" { String::new() } else { format!("; drives of old {} apart", row.noise) };
        format!("{}: {} in old, {} in new, {}{apart}: {}", row.name, row.old, row.new, row.change, row.judged)
    });
    measures.chain(lag(report)).collect()
}

/// Says whether the lag of new keeps growing; nothing where nothing was measured over time.
pub(super) fn lag(report: &Report) -> Vec<String> {
    let Some(lagging) = &report.lagging else {
        let told = "lag: cannot be told whether it keeps growing; the schedule is too short, or neither ages nor lag are known of both builds";
        return report.series.iter().map(|_| told.to_owned()).collect();
    };
    let what = match lagging.measure {
        LagMeasure::Age => "lag, by the age of events",
        LagMeasure::Lag => "lag, in events",
    };
    let mut lines = Vec::new();
    if let Some(drift) = &lagging.beyond_old {
        let standing = drift.standing.map_or("not judged".to_owned(), name);
        lines.push(format!(
            "{what}: grows for good in {}, by {} each second beyond old's, {}: {standing}",
            build(report, "new"),
            shown(lagging, drift.per_second),
            since(lagging, drift)
        ));
    }
    if let Some(drift) = &lagging.shared {
        lines.push(format!("{what}: grows for good in both builds, {}: broken by both", since(lagging, drift)));
    }
    if lines.is_empty() {
        lines.push(format!("{what}: does not keep growing"));
    }
    if report.fidelity.on_schedule == Some(false) {
        let counts = "; counts only where the drives of old kept their schedule";
        for line in &mut lines {
            line.push_str(counts);
        }
    }
    lines
}

fn since(lagging: &Lagging, drift: &Drift) -> String {
    format!(
        "since {}; at the end of the schedule {} in old, {} in new",
        sighting(&drift.onset),
        shown(lagging, drift.old_at_end),
        shown(lagging, drift.new_at_end)
    )
}

fn shown(lagging: &Lagging, figure: f64) -> String {
    match lagging.measure {
        LagMeasure::Age => time(figure as i64),
        LagMeasure::Lag => super::figures::counted(figure.max(0.0) as u64, "event", "events"),
    }
}

/// Says where the run first went apart, in replay time and, where that is another output, in event time.
pub(super) fn divergence(report: &Report) -> Vec<String> {
    let Some(first) = &report.first_divergence else { return Vec::new() };
    let one = |one: &Divergence| {
        format!(
            "{}, {}: {}",
            sighting(&one.sighting),
            name(one.standing),
            signature_of((one.kind, &one.topic, one.path.as_deref(), one.change))
        )
    };
    let happened = first.happened.as_ref();
    std::iter::once(one(&first.replayed))
        .chain(happened.map(|other| format!("earliest in event time: {}", one(other))))
        .collect()
}

/// Names the event of a divergence that happened ahead of the one that was replayed first.
pub(super) fn happened_earlier(report: &Report) -> Option<String> {
    let happened = &report.first_divergence.as_ref()?.happened.as_ref()?.sighting;
    let with = event(happened).unwrap_or_else(|| "an event that is not known".to_owned());
    let ms = happened.event_time_ms.map(super::figures::date)?;
    Some(format!("earliest in event time: {ms}, with {with}"))
}
