//! `rehearsal demo`: the whole job on real events, from a broker to a verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::args::{Changes, DemoArguments};
use super::exit::{Code, Failure};
use super::inspect::grouped;
use super::printer::Printer;
use super::run::{drive, read, show};
use super::signal::raise_on_interrupt;
use crate::capture::{CaptureSettings, Until, capture};
use crate::clock::{Stop, SystemClock};
use crate::recording::{Recording, same_events};
use crate::samples::{Broker, BrokerError, COMPENSATION, fill, unpack_flights};
use crate::scenario::{Destination, RunFolder};

pub(super) fn demo(arguments: &DemoArguments, printer: &Printer) -> Result<Code, Failure> {
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let folder = RunFolder::make(&Destination::Numbered { under: PathBuf::from("target/rehearsal") }, "demo")?;
    let flights = folder.file("flights");
    unpack_flights(&flights)?;
    let flights = Recording::open(flights)?;
    let captured = captured_while_filling(&flights, &folder.file("captured"), printer, &stop)?;
    if let Some(difference) = same_events(&flights, &captured)? {
        return Err(Failure::surroundings(
            format!("what was captured is not what was produced: {difference}"),
            "The broker of the demo lost or changed an event. Try again.",
        ));
    }
    printer.note(&format!("All {} events came through byte for byte.", grouped(events_of(&captured))));
    let scenario = folder.file("compensation.toml");
    fs::write(&scenario, COMPENSATION.replace("\"../recordings/flights\"", "\"captured\""))?;
    printer.note("Replaying them into two builds that pay passengers for delays, with redelivery and reordering.");
    let checked = read(&scenario, &Changes::default())?;
    let run = drive(&checked, &Destination::Folder { path: folder.file("run"), force: false }, printer, &stop)?;
    folder.finish()?;
    show(&run, arguments.json, printer)?;
    Ok(Code::from(run.report.verdict).advisory(arguments.exit_zero))
}

/// Fills a broker of the program's own with `flights` and captures it to `out` at the same time.
fn captured_while_filling(
    flights: &Recording,
    out: &Path,
    printer: &Printer,
    stop: &Stop,
) -> Result<Recording, Failure> {
    let broker = Broker::start_for(flights)?;
    let events = events_of(flights);
    printer.note(&format!(
        "Filling a broker with {} events of real flights and capturing them meanwhile.",
        grouped(events)
    ));
    let topics = flights.manifest().source.topics.iter().map(|topic| topic.name.clone());
    let settings = CaptureSettings { until: Until::Count(events), ..CaptureSettings::new(broker.brokers(), topics) };
    let filling = printer.bar("filling", Some(events));
    let capturing = printer.bar("capturing", Some(events));
    let captured = thread::scope(|scope| {
        let filler = scope.spawn(|| {
            let filled = fill(broker.brokers(), flights, &mut |filled| filling.set_position(filled));
            if filled.is_err() {
                // The capture would wait for events that never come.
                stop.raise();
            }
            filled
        });
        let captured = capture(&settings, out, &SystemClock::start(), stop, &mut |progress| {
            capturing.set_position(progress.events);
        });
        let produced = filler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        produced.map_err(Failure::from)?;
        captured.map_err(Failure::from)
    });
    filling.finish_and_clear();
    capturing.finish_and_clear();
    captured?;
    if stop.raised() {
        return Err(Failure::surroundings("the demo was stopped", "Run it again for a verdict."));
    }
    Ok(Recording::open(out)?)
}

fn events_of(recording: &Recording) -> u64 {
    recording.manifest().partitions.iter().map(|partition| partition.count).sum()
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::surroundings(error, "Try again.")
    }
}
