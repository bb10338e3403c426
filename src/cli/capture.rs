//! `rehearsal capture`: Kafka to a recording.

use std::str::FromStr;

use serde_json::json;

use super::args::CaptureArguments;
use super::exit::{Code, Failure};
use super::inspect::counted;
use super::printer::Printer;
use super::signal::raise_on_interrupt;
use crate::capture::{CaptureSettings, Properties, capture as capture_topics};
use crate::clock::{Stop, SystemClock};

pub(super) fn capture(arguments: &CaptureArguments, printer: &Printer) -> Result<Code, Failure> {
    let mut settings = CaptureSettings::new(arguments.brokers.clone(), arguments.topic.iter().cloned());
    settings.from = read("--from", &arguments.from)?;
    settings.until = read("--until", &arguments.until)?;
    settings.properties = properties(&arguments.set)?;
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let bar = printer.bar("capturing", None);
    let mut watch = |progress: &crate::capture::CaptureProgress| bar.set_position(progress.events);
    let report = capture_topics(&settings, &arguments.out, &SystemClock::start(), &stop, &mut watch);
    bar.finish_and_clear();
    let report = report?;
    if arguments.json {
        printer.result(&json!({ "out": arguments.out, "events": report.events, "bytes": report.bytes }).to_string())?;
    } else {
        printer.result(&format!("Captured {} to {}", counted(report.events, "event"), arguments.out.display()))?;
    }
    Ok(Code::Agree)
}

fn read<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|problem: String| Failure::wrong(format!("{name}: {problem}"), ""))
}

fn properties(set: &[String]) -> Result<Properties, Failure> {
    let mut properties = Properties::default();
    for argument in set {
        let Some((name, value)) = argument.split_once('=') else {
            return Err(Failure::wrong(format!("--set {argument}"), "Write it as `--set security.protocol=ssl`."));
        };
        properties.set(name.trim(), value)?;
    }
    Ok(properties)
}
