//! `rehearsal inspect`: what is in a recording.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::json;

use super::args::InspectArguments;
use super::exit::{Code, Failure};
use super::inspect_schemas;
use super::mask;
use super::printer::Printer;
use crate::mask::Sighting;
use crate::recording::{
    CauseFacts, Columns, GapCause, LineFormat, Location, Manifest, Mask, PartitionSummary, Problem, Recording,
    RecordingError, Summary, Target, TimeSpan, TopicSummary, print_decoded, print_event,
};
use crate::settings::Moment;
use crate::settings::Span;

pub(super) fn inspect(arguments: &InspectArguments, printer: &Printer) -> Result<Code, Failure> {
    let recording = if arguments.rebuild {
        opened_or_rebuilt(&arguments.spool.target(&arguments.recording)?, printer)?
    } else {
        Recording::open(&arguments.recording)?
    };
    if arguments.events {
        return print_events(&recording, arguments.raw);
    }
    if arguments.schemas {
        let name = arguments.recording.to_string();
        return inspect_schemas::list(&recording, &name, arguments.json, printer);
    }
    if arguments.verify {
        refuse_damaged(&arguments.recording, &recording.verify()?)?;
    }
    for doubt in recording.manifest().doubts().into_iter().chain(recording.manifest().left_out()) {
        printer.note(&format!("warning: {doubt}"));
    }
    let personal: Vec<Sighting> = recording.manifest().personal.iter().filter_map(Sighting::of).collect();
    mask::warn(&personal, printer);
    let summary = recording.summary()?;
    let name = arguments.recording.to_string();
    let text = if arguments.json {
        let manifest = recording.manifest();
        let about = json!({
            "recording": name, "format": manifest.format, "tool": manifest.tool, "cluster": manifest.source.cluster,
            "isolation": manifest.source.isolation,
            "segments": manifest.segments.len(), "verified": arguments.verify, "summary": summary,
            "missing": manifest.missing_by_cause(), "gaps": manifest.gaps, "doubts": manifest.doubts(),
            "left_out": manifest.left_out(), "personal": manifest.personal,
        });
        format!("{about:#}")
    } else {
        in_words(&name, &summary, recording.manifest(), arguments.verify)
    };
    printer.result(&text)?;
    Ok(Code::Agree)
}

/// Opens a recording; one that lacks nothing but a sealed manifest is given one first.
fn opened_or_rebuilt(target: &Target, printer: &Printer) -> Result<Recording, Failure> {
    let location = target.location();
    match Recording::open(location) {
        Err(
            RecordingError::NoManifest { .. }
            | RecordingError::Unsealed { .. }
            | RecordingError::UnderWay { .. }
            | RecordingError::BadManifest { .. },
        ) => {}
        opened => return Ok(opened?),
    }
    let rebuilt = Recording::rebuild(target)?;
    let segments = counted(rebuilt.manifest.segments.len() as u64, "segment");
    printer.note(&format!("Wrote the manifest of {location} again from {segments}."));
    for file in &rebuilt.cut {
        printer.note(&format!("{} was cut: what comes after its last whole row group is lost.", file.display()));
    }
    for file in &rebuilt.lost {
        printer.note(&format!(
            "{} holds no whole row group and is no part of the recording; it stays to be looked at, and may be removed.",
            file.display()
        ));
    }
    Ok(Recording::open(location)?)
}

fn print_events(recording: &Recording, raw: bool) -> Result<Code, Failure> {
    let schemas = if raw { None } else { Some(recording.schemas()?) };
    let mut out = Printer::stream();
    let mut line = Vec::new();
    for batch in recording.batches(Columns { key: true, value: true, headers: true }) {
        let batch = batch?;
        for row in 0..batch.len() {
            line.clear();
            match &schemas {
                Some(schemas) => print_decoded(&batch.get(row), schemas, &mut line),
                None => print_event(&batch.get(row), LineFormat::Kcat, &mut line),
            }
            out.write_all(&line)?;
        }
    }
    out.flush()?;
    Ok(Code::Agree)
}

/// Says what is missing, by cause: `5 offsets in 1 stretch (retention), 3 offsets in 2 stretches (transaction-markers)`.
pub(super) fn causes_in_words(causes: &[CauseFacts]) -> String {
    let one = |one: &CauseFacts| {
        let stretches = if one.stretches == 1 { "stretch" } else { "stretches" };
        let offsets = counted(one.offsets, "offset");
        format!("{offsets} in {} {stretches} ({})", grouped(one.stretches), one.cause.name())
    };
    causes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Stretches of lost events that are listed at most.
const STRETCHES_SHOWN: usize = 10;

/// Says what is missing of all partitions, and where events were lost.
fn missing_in_words(manifest: &Manifest, text: &mut String) {
    let causes = manifest.missing_by_cause();
    if causes.is_empty() {
        return;
    }
    let _ = writeln!(text, "missing: {}", causes_in_words(&causes));
    let grave = |cause| matches!(cause, GapCause::Retention | GapCause::Unknown);
    let lost: Vec<String> = manifest
        .gaps
        .iter()
        .flat_map(|gaps| gaps.stretches.iter().map(move |one| (gaps, one)))
        .filter(|(_, one)| grave(one.cause))
        .map(|(gaps, one)| {
            format!("  {}/{}: {}..{} ({})", gaps.topic, gaps.partition, one.first, one.last, one.cause.name())
        })
        .collect();
    for line in lost.iter().take(STRETCHES_SHOWN) {
        let _ = writeln!(text, "{line}");
    }
    if lost.len() > STRETCHES_SHOWN {
        let _ = writeln!(text, "  and {} more (--json)", grouped((lost.len() - STRETCHES_SHOWN) as u64));
    }
}

/// Says what a mask did: `$.email of orders by token, 1,200 times`.
fn mask_in_words(mask: &Mask) -> String {
    let topic = mask.topic.as_ref().map(|topic| format!(" of {topic}")).unwrap_or_default();
    let times = mask.count.map(|count| format!(", {}", counted(count, "time"))).unwrap_or_default();
    format!("{}{topic} by {}{times}", mask.what, mask.method)
}

/// Headings of the table; `per hour` is over the partition's own span.
const HEADINGS: [&str; 10] =
    ["topic", "partition", "role", "events", "offsets", "gaps", "missing", "per hour", "out of order", "late by"];

fn in_words(name: &str, summary: &Summary, manifest: &Manifest, verified: bool) -> String {
    let partitions: usize = summary.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut text = format!(
        "{name}: {} in {}, {} in {}, {}\n",
        counted(summary.events, "event"),
        counted(partitions as u64, "partition"),
        size(summary.bytes),
        counted(manifest.segments.len() as u64, "segment"),
        if verified { "every hash verified" } else { "hashes not checked (--verify does)" },
    );
    if let Some(span) = summary.span {
        let (first, last) = (Moment::of_ms(span.first_ms), Moment::of_ms(span.last_ms));
        let _ = writeln!(text, "from {first} to {last}, {}", length(span));
    }
    if let (Some(mean), Some(busiest)) = (summary.rates.mean_per_second, summary.rates.busiest_minute) {
        let at = Moment::of_ms(busiest.start_ms);
        let _ = writeln!(text, "{mean:.2} events/s on average; busiest minute {at} with {}", grouped(busiest.events));
    }
    if summary.without_timestamp > 0 {
        let _ = writeln!(text, "{} events have no timestamp", grouped(summary.without_timestamp));
    }
    missing_in_words(manifest, &mut text);
    for mask in &manifest.masks {
        let _ = writeln!(text, "masked: {}", mask_in_words(mask));
    }
    text.push('\n');
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(
        summary.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| row(topic, partition))),
    );
    text.push_str(&table(&rows));
    for topic in &summary.topics {
        for partition in &topic.partitions {
            let Some(window) = partition.window else { continue };
            let (name, number, state) = (&topic.topic, partition.partition, counted(partition.state, "key"));
            let _ =
                writeln!(text, "{name}, partition {number}: offsets ahead of {window} are the last values of {state}");
        }
    }
    for topic in summary.topics.iter().filter(|topic| topic.partitions.is_empty()) {
        let partitions = counted(topic.partitions_at_source, "partition");
        let _ = writeln!(text, "{}: no events in {partitions}", topic.topic);
    }
    text
}

fn row(topic: &TopicSummary, partition: &PartitionSummary) -> [String; 10] {
    let hours = partition.span.map_or(0.0, |span| (span.last_ms as f64 - span.first_ms as f64) / 3.6e6);
    let role = serde_json::to_value(topic.role).ok().and_then(|role| role.as_str().map(str::to_owned));
    [
        topic.topic.clone(),
        partition.partition.to_string(),
        role.unwrap_or_default(),
        grouped(partition.events),
        format!("{}..{}", partition.first, partition.last),
        grouped(partition.gaps),
        grouped(partition.missing),
        per_hour(partition.events, hours),
        grouped(partition.disorder.events),
        length(TimeSpan { first_ms: 0, last_ms: partition.disorder.max_ms as i64 }),
    ]
}

/// Events an hour; of less than a second, that would be a figure of nothing that was seen.
fn per_hour(events: u64, hours: f64) -> String {
    let rate = events as f64 / hours;
    match hours * 3_600.0 {
        seconds if seconds < 1.0 => "–".to_owned(),
        _ if rate < 1_000.0 => format!("{rate:.1}"),
        _ => grouped(rate.round() as u64),
    }
}

fn table(rows: &[[String; 10]]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            // Words to the left, figures to the right.
            let words = column == 0 || column == 2;
            let _ = if words { write!(line, "{cell:width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Opens a recording of which another is to be made: what was damaged would look sound there.
pub(super) fn sound(location: &Location) -> Result<Recording, Failure> {
    let recording = Recording::open(location)?;
    refuse_damaged(location, &recording.verify_hashes()?)?;
    Ok(recording)
}

fn refuse_damaged(location: &Location, problems: &[Problem]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let hint = if problems.iter().all(|problem| problem.stranger) {
        "Take away what is no part of it, and look again; what was built on all files of the folder cannot be trusted."
    } else {
        "Capture or import it again; what was built on it cannot be trusted."
    };
    Err(Failure::wrong(format!("{location} is damaged: {}", list.join("; ")), hint))
}

/// Writes how many there are of something: `1 event`, `53,402 events`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Writes a number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Writes a length of event time in the two largest units that say something.
pub(super) fn length(span: TimeSpan) -> String {
    let ms = span.last_ms.saturating_sub(span.first_ms);
    let seconds = ms / 1_000;
    match seconds {
        0 => Span(std::time::Duration::from_millis(ms.unsigned_abs())).to_string(),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (53_402, "53,402"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn events_an_hour_are_told_where_there_is_a_time_to_speak_of() {
        for (events, seconds, text) in
            [(500, 0.001, "–"), (3, 0.0, "–"), (2, 1.0, "7,200"), (2, 3_600.0, "2.0"), (1_234, 3_600.0, "1,234")]
        {
            assert_eq!(per_hour(events, seconds / 3_600.0), text);
        }
    }

    #[test]
    fn a_length_of_time_shows_its_two_largest_units() {
        for (ms, text) in
            [(0, "0s"), (250, "250ms"), (1_000, "1s"), (61_000, "1m 1s"), (3_660_000, "1h 1m"), (90_000_000, "1d 1h")]
        {
            assert_eq!(length(TimeSpan { first_ms: 5, last_ms: 5 + ms }), text);
        }
    }
}
