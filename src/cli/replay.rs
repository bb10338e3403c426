//! `rehearsal replay`: one build driven, nothing compared.

use std::path::Path;

use serde_json::Value as Json;

use super::args::ReplayArguments;
use super::exit::{Code, Failure};
use super::inspect::grouped;
use super::printer::Printer;
use super::progress::Progress;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::outcome::Ending;
use crate::scenario::{Scenario, check, replay as replay_one};

pub(super) fn replay(arguments: &ReplayArguments, printer: &Printer) -> Result<Code, Failure> {
    if arguments.out.symlink_metadata().is_ok() {
        let hint = "Choose another folder with --out.";
        return Err(Failure::wrong(format!("{} exists already", arguments.out.display()), hint));
    }
    let mut overrides = arguments.set.clone();
    overrides.extend(arguments.seed.map(|seed| format!("seed={seed}")));
    let scenario = Scenario::of_text(Path::new("replay"), scenario(arguments), &overrides, &[])?;
    let checked = check(scenario, arguments.faults.as_deref())?;
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let progress = Progress::new(printer, "replay");
    let outcome = replay_one(&checked, &arguments.out, &progress, &stop);
    progress.clear();
    let outcome = outcome?;
    let ending = outcome.ending();
    if arguments.json {
        printer.result(&serde_json::to_string_pretty(ending).map_err(|error| Failure::wrong(error, ""))?)?;
    } else {
        let name = serde_json::to_value(ending.ending).unwrap_or_default();
        printer.result(&format!(
            "{}: {} deliveries sent, {} outputs in {}{}",
            name.as_str().unwrap_or_default(),
            grouped(ending.sent.unwrap_or(0)),
            grouped(ending.outputs.unwrap_or(0)),
            arguments.out.display(),
            if ending.reason.is_empty() { String::new() } else { format!("\n{}", ending.reason) },
        ))?;
    }
    Ok(if ending.ending == Ending::Finished { Code::Agree } else { Code::Differ })
}

/// Writes the arguments as a scenario, so that everything is checked as everywhere. The build that is not driven is one that is
/// always there: what is wrong with the other is said once.
fn scenario(arguments: &ReplayArguments) -> String {
    let quoted = |text: &str| Json::from(text).to_string();
    let command = arguments.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    let pace = match arguments.speed {
        Some(speed) => format!("mode = \"accelerated\"\nspeed = {speed:?}"),
        None => "mode = \"unpaced\"".to_owned(),
    };
    format!(
        "recording = {}\n[pace]\n{pace}\n[old]\ncommand = [{command}]\n[new]\ncommand = [\"{{rehearsal}}\"]\n",
        quoted(&arguments.recording.to_string())
    )
}
