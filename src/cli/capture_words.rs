//! What a capture says on its way and at its end: a line on a terminal, or JSON, one object a line.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::args::CaptureArguments;
use super::exit::Failure;
use super::inspect::{causes_in_words, counted, grouped, length, size};
use super::mask::sightings_in_json;
use super::printer::Printer;
use crate::capture::{CaptureEnding, CaptureProgress, CaptureReport, CaptureStep, CapturedPartition};
use crate::recording::TimeSpan;
use crate::settings::Moment;

/// Time between two lines of progress in JSON.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Tells how a capture gets on.
pub(super) struct Telling<'a> {
    printer: &'a Printer,
    out: &'a Path,
    json: bool,
    bar: ProgressBar,
    speed: Speed,
    said: Option<Duration>,
    /// Notes that were said on the way.
    noted: Vec<String>,
    /// Folder that what is captured is safe in on its way to a store; said once there is something.
    pub(super) spool: Option<PathBuf>,
    /// The reader of standard output has gone, or it is full: the capture goes on, and the end says so.
    refused: Option<io::Error>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(arguments: &'a CaptureArguments, printer: &'a Printer) -> Self {
        let bar = printer.bar("capturing", None);
        let (out, json) = (arguments.out.shown(), arguments.json);
        Self {
            printer,
            out,
            json,
            bar,
            speed: Speed::default(),
            said: None,
            noted: Vec::new(),
            spool: None,
            refused: None,
        }
    }

    /// Takes note of one step.
    pub(super) fn take(&mut self, progress: &CaptureProgress) {
        if let Some(spool) = self.spool.take() {
            self.printer.note(&format!("What is captured is safe in {} until it is in the store.", spool.display()));
        }
        self.speed.take(progress);
        self.bar.set_message(self.speed.in_words(progress));
        if let Some(note) = &progress.note {
            self.printer.note(note);
            self.noted.push(note.clone());
        }
        let due = self.said.is_none_or(|said| progress.elapsed.saturating_sub(said) >= LINE_EVERY);
        if self.json && (progress.step != CaptureStep::Taking || due) {
            self.say(&self.speed.line(progress));
            if progress.step == CaptureStep::Taking {
                self.said = Some(progress.elapsed);
            }
        }
    }

    /// Takes the line on the terminal away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Says what was captured.
    pub(super) fn summary(&mut self, report: &CaptureReport) -> io::Result<()> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        for note in report.notes.iter().filter(|note| !self.noted.contains(note)) {
            self.printer.note(note);
        }
        if self.json {
            return self.printer.result(&line_of(self.out, report).to_string());
        }
        self.printer.result(&in_words(self.out, report))
    }

    fn say(&mut self, line: &Value) {
        if self.refused.is_none() {
            self.refused = self.printer.result(&line.to_string()).err();
        }
    }
}

/// How fast events come, over about the last three seconds.
#[derive(Debug, Default)]
struct Speed {
    last: Option<CaptureProgress>,
    events: f64,
    bytes: f64,
    /// Events a second by which the capture gains on the end.
    gain: f64,
}

impl Speed {
    fn take(&mut self, progress: &CaptureProgress) {
        let Some(last) = &self.last else {
            self.last = Some(progress.clone());
            return;
        };
        let seconds = progress.elapsed.saturating_sub(last.elapsed).as_secs_f64();
        if seconds < 0.1 {
            return;
        }
        let rate = |now: u64, before: u64| (now as f64 - before as f64) / seconds;
        let (events, bytes) = (rate(progress.events, last.events), rate(progress.bytes, last.bytes));
        let gain = rate(last.lag, progress.lag);
        let first = last.step == CaptureStep::Started;
        let share = if first { 1.0 } else { 1.0 - (-seconds / 3.0).exp() };
        self.events += share * (events - self.events);
        self.bytes += share * (bytes - self.bytes);
        self.gain += share * (gain - self.gain);
        self.last = Some(progress.clone());
    }

    /// Time until nothing lies ahead any more; none where that is not in sight.
    fn caught_up_in(&self, lag: u64) -> Option<Duration> {
        match lag {
            0 => Some(Duration::ZERO),
            _ if self.gain < 1.0 => None,
            _ => Duration::try_from_secs_f64((lag as f64 / self.gain).min(1e9)).ok(),
        }
    }

    fn in_words(&self, progress: &CaptureProgress) -> String {
        let rate = short(self.events.max(0.0) as u64);
        let mut text = format!("{} events · {rate}/s · {}", short(progress.events), size(progress.bytes));
        match (progress.lag, self.caught_up_in(progress.lag)) {
            (0, _) => text.push_str(" · caught up"),
            (lag, Some(left)) => {
                let left = length(TimeSpan { first_ms: 0, last_ms: left.as_secs().max(1) as i64 * 1_000 });
                let _ = write!(text, " · {} behind, {left} left", short(lag));
            }
            (lag, None) => drop(write!(text, " · {} behind", short(lag))),
        }
        text
    }

    fn line(&self, progress: &CaptureProgress) -> Value {
        let left = self.caught_up_in(progress.lag).map(|left| left.as_millis() as u64);
        let mut line = json!({
            "event": name(progress.step), "elapsed_ms": progress.elapsed.as_millis() as u64, "events": progress.events,
            "bytes": progress.bytes, "lag": progress.lag, "events_per_second": self.events.max(0.0).round(),
            "bytes_per_second": self.bytes.max(0.0).round(), "caught_up_in_ms": left,
        });
        if let Some(note) = &progress.note {
            line["message"] = note.as_str().into();
        }
        line
    }
}

/// Writes a number in at most seven characters, so that a line keeps within the width of a terminal.
fn short(number: u64) -> String {
    match number {
        0..1_000_000 => grouped(number),
        1_000_000..1_000_000_000 => format!("{:.1}M", number as f64 / 1e6),
        _ => format!("{:.1}G", number as f64 / 1e9),
    }
}

fn name(step: CaptureStep) -> &'static str {
    match step {
        CaptureStep::Started => "started",
        CaptureStep::Taking => "progress",
        CaptureStep::CaughtUp => "caught-up",
        CaptureStep::Checkpoint => "checkpoint",
        CaptureStep::Unreachable => "unreachable",
        CaptureStep::Reachable => "reachable",
        CaptureStep::Noted => "note",
        CaptureStep::Sealed => "sealed",
    }
}

fn line_of(out: &Path, report: &CaptureReport) -> Value {
    let partitions: Vec<Value> = report
        .partitions
        .iter()
        .map(|taken| {
            json!({
                "topic": taken.topic, "partition": taken.partition, "start": taken.start, "next": taken.next,
                "events": taken.events, "state": taken.state, "missing": taken.missing,
                "first_ms": taken.span.map(|span| span.first_ms), "last_ms": taken.span.map(|span| span.last_ms),
            })
        })
        .collect();
    json!({
        "event": "summary", "out": out, "events": report.events, "bytes": report.bytes,
        "ending": ending_name(report.ending), "resumed_at": report.resumed_at, "missing": report.missing,
        "notes": report.notes, "partitions": partitions, "personal": sightings_in_json(&report.sightings),
        "warnings": report.warnings,
    })
}

/// What ended a capture that failed, as the last line of its JSON; none where there is nothing to say.
pub(super) fn error_line(failure: &Failure) -> Option<Value> {
    let mut next: Option<&dyn Error> = Some(failure.error.as_deref()?);
    let mut message = String::new();
    while let Some(error) = next {
        let said = error.to_string();
        // Errors that show their source themselves are not repeated.
        if !message.contains(&said) {
            let apart = if message.is_empty() { "" } else { ": " };
            let _ = write!(message, "{apart}{said}");
        }
        next = error.source();
    }
    Some(json!({ "event": "error", "message": message, "hint": failure.hint, "exit": failure.code as u8 }))
}

fn ending_name(ending: CaptureEnding) -> &'static str {
    match ending {
        CaptureEnding::Ended => "ended",
        CaptureEnding::Counted => "counted",
        CaptureEnding::TimeOver => "time-over",
        CaptureEnding::Stopped => "stopped",
    }
}

fn in_words(out: &Path, report: &CaptureReport) -> String {
    let ending = match report.ending {
        CaptureEnding::Ended => "read to the end",
        CaptureEnding::Counted => "as many as asked for",
        CaptureEnding::TimeOver => "until the time was over",
        CaptureEnding::Stopped => "until stopped",
    };
    // The bytes are those of this time alone, and so are the events ahead of them.
    let (before, bytes) = (report.resumed_at.unwrap_or(0), size(report.bytes));
    let events = counted(report.events.saturating_sub(before), "event");
    let mut text = format!("Captured {events} ({bytes}) to {}, {ending}", out.display());
    if report.resumed_at.is_some() {
        let held = counted(report.events, "event");
        let _ = write!(text, "; {} were there already, so it holds {held}", grouped(before));
    }
    text.push('\n');
    let mut topics: BTreeMap<&str, Vec<&CapturedPartition>> = BTreeMap::new();
    for taken in &report.partitions {
        topics.entry(&taken.topic).or_default().push(taken);
    }
    for (topic, taken) in topics {
        let _ = writeln!(text, "  {topic}: {}", topic_in_words(&taken));
    }
    if !report.missing.is_empty() {
        let _ = writeln!(text, "Missing: {}", causes_in_words(&report.missing));
    }
    text
}

fn topic_in_words(taken: &[&CapturedPartition]) -> String {
    let sum = |figure: fn(&CapturedPartition) -> u64| taken.iter().map(|taken| figure(taken)).sum::<u64>();
    let partitions = counted(taken.len() as u64, "partition");
    let mut text = format!("{} of {partitions}", counted(sum(|taken| taken.events), "event"));
    let spans = taken.iter().filter_map(|taken| taken.span);
    if let Some(span) =
        spans.reduce(|a, b| TimeSpan { first_ms: a.first_ms.min(b.first_ms), last_ms: a.last_ms.max(b.last_ms) })
    {
        let (first, last) = (Moment::of_ms(span.first_ms), Moment::of_ms(span.last_ms));
        let _ = write!(text, ", from {first} to {last} ({})", length(span));
    }
    match sum(|taken| taken.missing) {
        0 => text.push_str(", no gaps"),
        missing => drop(write!(text, ", {} without an event", counted(missing, "offset"))),
    }
    if taken.iter().any(|taken| taken.state > 0) {
        let _ = write!(text, "; ahead of them the last value of {}", counted(sum(|taken| taken.state), "key"));
    }
    match sum(|taken| taken.vanished) {
        0 => {}
        vanished => drop(write!(text, ", without {} compacted away meanwhile", counted(vanished, "key"))),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{CauseFacts, GapCause};

    fn progress(step: CaptureStep, seconds: u64, events: u64, lag: u64) -> CaptureProgress {
        CaptureProgress {
            step,
            elapsed: Duration::from_secs(seconds),
            events,
            bytes: events * 100,
            lag,
            ..CaptureProgress::default()
        }
    }

    #[test]
    fn rate_lag_bytes_and_the_time_to_catch_up_are_told() {
        let mut speed = Speed::default();
        speed.take(&progress(CaptureStep::Started, 0, 0, 10_000));
        let now = progress(CaptureStep::Taking, 2, 4_000, 6_000);
        speed.take(&now);
        assert_eq!(speed.in_words(&now), "4,000 events · 2,000/s · 400.0 kB · 6,000 behind, 3s left");
        let line = speed.line(&now);
        assert_eq!(
            (line["events_per_second"].as_f64(), line["caught_up_in_ms"].as_u64()),
            (Some(2_000.0), Some(3_000))
        );
        // What comes in as fast as it is taken is never caught up with.
        let mut speed = Speed::default();
        speed.take(&progress(CaptureStep::Started, 0, 0, 500));
        let now = progress(CaptureStep::Taking, 1, 100, 500);
        speed.take(&now);
        assert_eq!(speed.in_words(&now), "100 events · 100/s · 10.0 kB · 500 behind");
        assert_eq!(speed.line(&now)["caught_up_in_ms"], Value::Null);
    }

    #[test]
    fn the_line_keeps_within_a_terminal_of_80_columns() {
        for (events, seconds) in [(999_999, 1), (999_999, 3_599), (999_000_000, 999), (900_000_000_000, 86_399)] {
            let mut speed = Speed::default();
            speed.take(&progress(CaptureStep::Started, 0, 0, 10 * events));
            let now = progress(CaptureStep::Taking, seconds, events, events - 1);
            speed.take(&now);
            // What stands ahead of it: the word, the sign that turns, a blank behind each.
            let line = format!("capturing * {}", speed.in_words(&now));
            assert!(line.chars().count() <= 80 && line.ends_with(" left"), "{line}");
        }
    }

    #[test]
    fn the_summary_tells_events_span_and_gaps_of_each_topic() {
        let taken = |topic: &str, partition, missing, state| CapturedPartition {
            topic: topic.to_owned(),
            partition,
            start: 0,
            next: 10,
            events: 10,
            state,
            vanished: 0,
            missing,
            span: Some(TimeSpan { first_ms: 0, last_ms: 60_000 }),
        };
        let partitions = vec![taken("orders", 0, 0, 0), taken("orders", 1, 0, 0), taken("prices", 0, 3, 2)];
        let missing = vec![CauseFacts { cause: GapCause::Compaction, stretches: 1, offsets: 3 }];
        let (ending, notes) = (CaptureEnding::Ended, Vec::new());
        let (resumed_at, sightings, warnings) = (Some(1_200), Vec::new(), Vec::new());
        let report = CaptureReport {
            events: 1_232,
            bytes: 1_500,
            ending,
            resumed_at,
            missing,
            notes,
            partitions,
            sightings,
            warnings,
        };
        assert_eq!(
            in_words(Path::new("out"), &report),
            "Captured 32 events (1.5 kB) to out, read to the end; 1,200 were there already, so it holds 1,232 events\n  \
             orders: 20 events of 2 partitions, from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1m 0s), no gaps\n  \
             prices: 10 events of 1 partition, from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1m 0s), \
             3 offsets without an event; ahead of them the last value of 2 keys\n\
             Missing: 3 offsets in 1 stretch (compaction)\n"
        );
    }
}
