//! `rehearsal compare`: outcomes compared again, those of other tools too.

use super::args::CompareArguments;
use super::exit::{Code, Failure};
use super::printer::Printer;
use super::run::{destination, show_report};
use super::runs::outcomes_of;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::scenario::{RunFolder, Scenario, compare_outcomes, write_report};

pub(super) fn compare(arguments: &CompareArguments, printer: &Printer) -> Result<Code, Failure> {
    let destination = arguments.out.out.as_ref().map(|_| destination(&arguments.out));
    if let Some(destination) = &destination {
        RunFolder::check(destination)?;
    }
    let set: Vec<String> = arguments.set.iter().cloned().chain(arguments.stale.overrides()).collect();
    let rules = match &arguments.rules {
        Some(path) => Scenario::read_rules(path, &set)?,
        None => Scenario::rules_of_text("", &set)?,
    };
    let (old, mut again) = outcomes_of(&arguments.old, "old");
    let (new, _) = outcomes_of(&arguments.new, "new");
    again.extend(arguments.old_again.iter().cloned());
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let report = compare_outcomes(&old, &again, &new, &rules, &stop)?;
    let folder = destination.map(|destination| RunFolder::make(&destination, "compare")).transpose()?;
    if let Some(folder) = &folder {
        write_report(folder, &report)?;
    }
    show_report(&report, folder.as_ref().map(RunFolder::path), arguments.json, printer)?;
    Ok(Code::from(report.verdict).advisory(arguments.exit_zero))
}
