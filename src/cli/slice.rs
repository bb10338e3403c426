//! `rehearsal slice`: part of a recording as a recording of its own.

use std::path::Path;

use serde_json::json;

use super::args::SliceArguments;
use super::exit::{Code, Failure};
use super::inspect::{counted, grouped, sound};
use super::printer::Printer;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::recording::{Location, SliceSettings, slice as slice_recording};
use crate::settings::{Moment, Span};

pub(super) fn slice(arguments: &SliceArguments, printer: &Printer) -> Result<Code, Failure> {
    let target = arguments.spool.target(&arguments.out)?;
    let settings = settings(arguments)?;
    refuse_inside(&arguments.recording, &arguments.out)?;
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let recording = sound(&arguments.recording)?;
    let heeding = stop.heed();
    let bar = printer.bar("slicing", Some(recording.len()));
    let report = slice_recording(&recording, &settings, target, &mut |report| {
        bar.set_position(report.read);
        !stop.raised()
    });
    drop(heeding);
    bar.finish_and_clear();
    let report = report?;
    if !report.keys_missing.is_empty() {
        let named = report.keys_missing.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        printer.note(&format!("No event of the slice has the key {named}."));
    }
    if arguments.json {
        let shown = json!({
            "out": arguments.out.shown(), "read": report.read, "kept": report.kept, "tables": report.tables,
            "keys_missing": report.keys_missing,
        });
        printer.result(&shown.to_string())?;
    } else {
        let tables = match report.tables {
            0 => String::new(),
            tables => format!(", {} of them last values of tables from ahead of the slice", grouped(tables)),
        };
        let (kept, read) = (grouped(report.kept), counted(report.read, "event"));
        printer.result(&format!("Kept {kept} of {read}{tables}: {}", arguments.out))?;
    }
    Ok(Code::Agree)
}

/// Refuses to write a recording into the folder of the one that it is made of: that is to stay as it is.
pub(super) fn refuse_inside(recording: &Location, out: &Location) -> Result<(), Failure> {
    let (Location::Directory(source), Location::Directory(folder)) = (recording, out) else { return Ok(()) };
    let mut there = folder.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let there = there.find_map(|above| above.canonicalize().ok());
    match (source.canonicalize(), there) {
        (Ok(source), Some(there)) if there.starts_with(&source) && !(there == source && folder.exists()) => {
            let problem = format!("--out {out} lies inside of {recording}, which stays as it is");
            Err(Failure::wrong(problem, "Choose another folder with --out."))
        }
        _ => Ok(()),
    }
}

fn settings(arguments: &SliceArguments) -> Result<SliceSettings, Failure> {
    let date = |option: &str, text: &Option<String>| match text {
        Some(text) => Moment::of_date(text)
            .map(|moment| Some(moment.0))
            .map_err(|problem| Failure::wrong(format!("{option}: {problem}"), "")),
        None => Ok(None),
    };
    let (mut from_us, mut to_us) = (date("--from", &arguments.from)?, date("--to", &arguments.to)?);
    if let (Some(middle_us), Some(span)) = (date("--around", &arguments.around)?, &arguments.span) {
        let span: Span = span.parse().map_err(|problem| Failure::wrong(format!("--span: {problem}"), ""))?;
        from_us = Some(middle_us.saturating_sub(span.us() / 2));
        to_us = from_us.map(|from_us| from_us.saturating_add(span.us()));
    }
    Ok(SliceSettings {
        from_us,
        to_us,
        topics: arguments.topic.clone(),
        keys: arguments.key.iter().map(|key| key.clone().into_bytes()).collect(),
        share: arguments.share,
        without_tables: arguments.without_tables,
    })
}
