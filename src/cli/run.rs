//! `rehearsal run`: one scenario or many, one verdict.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::args::{Changes, Out, RunArguments};
use super::exit::{Code, Failure};
use super::printer::Printer;
use super::progress::Progress;
use super::runs::outcomes_of;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::report::{Colours, Format, Report, TerminalStyle, render, terminal};
use crate::scenario::{Against, Checked, Destination, Run, RunFolder, Scenario, check, choose, scenarios_in};

pub(super) fn run(arguments: &RunArguments, printer: &Printer) -> Result<Code, Failure> {
    let paths = scenarios_in(&arguments.scenarios)?;
    if paths.len() > 1 && arguments.out.out.is_some() {
        let hint = "Leave --out away: each scenario gets a folder of its own in target/rehearsal.";
        return Err(Failure::wrong("--out names one folder and there are several scenarios", hint));
    }
    let destination = destination(&arguments.out);
    RunFolder::check(&destination)?;
    // Everything is checked before anything is started, and everything that is wrong is said.
    let mut checked = Vec::new();
    let mut refused = None;
    let mut changes = arguments.changes.clone();
    changes.set.extend(arguments.stale.overrides());
    for path in &paths {
        match read_against(path, &changes, arguments.against.as_deref()) {
            Ok(mut scenario) => {
                scenario.fresh = arguments.fresh;
                checked.push(scenario);
            }
            Err(failure) => {
                if let Some(earlier) = refused.replace(failure) {
                    printer.failure(&earlier);
                }
            }
        }
    }
    if let Some(failure) = refused {
        return Err(failure);
    }
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    run_all(&checked, arguments, &destination, printer, &stop)
}

fn run_all(
    checked: &[Checked],
    arguments: &RunArguments,
    destination: &Destination,
    printer: &Printer,
    stop: &Stop,
) -> Result<Code, Failure> {
    if let [only] = checked {
        let run = drive(only, destination, printer, stop)?;
        show(&run, arguments.json, printer)?;
        return Ok(Code::from(run.report.verdict).advisory(arguments.exit_zero));
    }
    let mut code = Code::Agree;
    let mut summary = Vec::new();
    for scenario in checked {
        // One scenario that fails keeps none of the others from its verdict; only a request to stop does.
        match drive(scenario, destination, printer, stop) {
            Ok(run) => {
                // Verdicts are softened one by one: an error among them must stay to be seen.
                code = code.gravest(Code::from(run.report.verdict).advisory(arguments.exit_zero));
                if !arguments.json {
                    show(&run, false, printer)?;
                }
                summary.push((scenario.scenario.name.clone(), Some(run)));
            }
            Err(failure) => {
                code = code.gravest(failure.code);
                printer.failure(&failure);
                summary.push((scenario.scenario.name.clone(), None));
                if stop.raised() {
                    break;
                }
            }
        }
    }
    let summed_up = if arguments.json { in_one_array(&summary) } else { in_one_table(&summary) };
    quiet(printer.result(&summed_up))?;
    Ok(code)
}

pub(super) fn drive(
    checked: &Checked,
    destination: &Destination,
    printer: &Printer,
    stop: &Stop,
) -> Result<Run, Failure> {
    let progress = Progress::new(printer, &checked.scenario.name);
    let run = crate::scenario::run(checked, destination, &progress, stop);
    progress.clear();
    Ok(run?)
}

/// Prints a run: `run.json`, or what a person wants to read.
pub(super) fn show(run: &Run, json: bool, printer: &Printer) -> Result<(), Failure> {
    show_report(&run.report, Some(run.folder.path()), json, printer)
}

/// Prints a report.
pub(super) fn show_report(
    report: &Report,
    folder: Option<&Path>,
    json: bool,
    printer: &Printer,
) -> Result<(), Failure> {
    if json {
        // The verdict stands whether or not anybody reads to the end.
        return quiet(printer.result(&render(report, Format::Json)));
    }
    let colours = if Printer::is_watched() { Colours::Ansi } else { Colours::Never };
    let folder = folder.map(|folder| folder.display().to_string());
    quiet(printer.result(&terminal(report, TerminalStyle { colours, folder: folder.as_deref() })))
}

fn quiet(printed: std::io::Result<()>) -> Result<(), Failure> {
    match printed {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// One JSON document whatever happened: a run that failed has no report in it.
fn in_one_array(summary: &[(String, Option<Run>)]) -> String {
    let reports = summary.iter().filter_map(|(_, run)| Some(render(&run.as_ref()?.report, Format::Json)));
    let reports: Vec<String> = reports.map(|report| report.trim_end().to_owned()).collect();
    format!("[{}]", reports.join(",\n"))
}

fn in_one_table(summary: &[(String, Option<Run>)]) -> String {
    let width = summary.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::from("\n");
    for (name, run) in summary {
        let verdict = run.as_ref().map_or_else(|| "failed".to_owned(), |run| verdict_in_words(&run.report));
        let folder = run.as_ref().map(|run| run.folder.path().display().to_string()).unwrap_or_default();
        let _ = writeln!(text, "{}", format!("{name:width$}  {verdict:10}  {folder}").trim_end());
    }
    text
}

fn verdict_in_words(report: &Report) -> String {
    serde_json::to_value(report.verdict).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Reads a scenario with the changes of the command line and checks it against its surroundings.
pub(super) fn read(path: &Path, changes: &Changes) -> Result<Checked, Failure> {
    read_against(path, changes, None)
}

/// The same, to hold new `against` what production wrote.
pub(super) fn read_against(path: &Path, changes: &Changes, against: Option<&str>) -> Result<Checked, Failure> {
    let read = |overrides: &[String]| match against.map(Against::named) {
        None => Scenario::read(path, overrides),
        // A run stands for what its new build wrote.
        Some(Against::Outcome(named)) => {
            Scenario::read_against(path, overrides, Against::Outcome(outcomes_of(&named, "new").0))
        }
        Some(recorded) => Scenario::read_against(path, overrides, recorded),
    };
    let mut overrides = changes.overrides();
    let mut scenario = read(&overrides)?;
    for (role, place) in [("old", &changes.old), ("new", &changes.new)] {
        if let Some(place) = place {
            overrides.extend(choose(&scenario, role, place)?);
        }
    }
    if overrides.len() > scenario.overrides.len() {
        scenario = read(&overrides)?;
    }
    Ok(check(scenario, changes.faults.as_deref())?)
}

/// Says where a run goes.
pub(super) fn destination(out: &Out) -> Destination {
    match &out.out {
        Some(path) => Destination::Folder { path: path.clone(), force: out.force },
        None => Destination::Numbered { under: PathBuf::from("target/rehearsal") },
    }
}

impl Changes {
    /// Returns the overrides that the arguments come to; the shorter form stands for `--set`.
    fn overrides(&self) -> Vec<String> {
        self.set.iter().cloned().chain(self.seed.map(|seed| format!("seed={seed}"))).collect()
    }
}
