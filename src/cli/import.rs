//! `rehearsal import`: text to a recording.

use std::path::Path;

use serde_json::json;

use super::args::{Format, ImportArguments};
use super::exit::{Code, Failure};
use super::inspect::counted;
use super::printer::Printer;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::recording::{ImportSettings, Input, InputFormat, import as import_inputs};

pub(super) fn import(arguments: &ImportArguments, printer: &Printer) -> Result<Code, Failure> {
    let target = arguments.spool.target(&arguments.out)?;
    let inputs: Vec<Input> = arguments.files.iter().map(|file| input(file)).collect();
    let settings = ImportSettings {
        format: arguments.format.map(|format| match format {
            Format::Ndjson => InputFormat::Ndjson,
            Format::Kcat => InputFormat::Kcat,
            Format::Csv => InputFormat::Csv,
        }),
        topic: arguments.topic.clone(),
        partitions: arguments.partitions,
        key_column: arguments.key_column.clone(),
        time_column: arguments.time_column.clone(),
        ..ImportSettings::default()
    };
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let heeding = stop.heed();
    let bar = printer.bar("importing", None);
    let report = import_inputs(&inputs, &settings, target, &mut |report| {
        bar.set_message(counted(report.events, "event"));
        !stop.raised()
    });
    drop(heeding);
    bar.finish_and_clear();
    let report = report?;
    if report.replaced > 0 {
        printer.note(&format!(
            "warning: {} events hold U+FFFD, the mark of bytes that were lost before they came here",
            report.replaced
        ));
    }
    if arguments.json {
        printer.result(&json!({ "out": arguments.out.shown(), "events": report.events, "bytes": report.bytes, "replaced": report.replaced }).to_string())?;
    } else {
        printer.result(&format!("Imported {} to {}", counted(report.events, "event"), arguments.out))?;
    }
    Ok(Code::Agree)
}

fn input(file: &Path) -> Input {
    if file.as_os_str() == "-" { Input::Standard } else { Input::File(file.to_owned()) }
}
