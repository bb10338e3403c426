//! What a person names when a run is meant: its folder, one of its files, the folder of all runs of a scenario, a demo's.

use std::path::{Path, PathBuf};

use super::exit::Failure;

/// Where a run lies below a folder that may be named for it: itself, the demo's run, the last of a scenario's, the last demo's.
const PLACES: [&str; 4] = ["", "run", "latest", "latest/run"];

/// Files beside `run.json` that stand for their run.
const BESIDE: [&str; 5] = ["report.html", "junit.xml", "summary.md", "plan.parquet", "faults.ndjson"];

/// Finds the `run.json` of the run that `named` stands for.
///
/// # Errors
///
/// Where there is none: with what was found instead and what to name.
pub(super) fn report_of(named: &Path) -> Result<PathBuf, Failure> {
    if named.is_file() {
        let beside = named.with_file_name("run.json");
        let stands_for_it = named.file_name().is_some_and(|name| BESIDE.iter().any(|file| name == *file));
        return Ok(if stands_for_it && beside.is_file() { beside } else { named.to_owned() });
    }
    if let Some(found) = below(named, "run.json") {
        return Ok(found);
    }
    let (problem, hint) = if named.symlink_metadata().is_err() {
        ("does not exist", "Name a run's folder or its run.json; `rehearsal run` makes one.")
    } else if below(named, "outcomes").is_some() {
        (
            "holds outcomes and no run.json: the run was stopped, or still goes on",
            "Run it again; `rehearsal compare` compares the outcomes that it left.",
        )
    } else {
        ("holds no run", "Name a run's folder or its run.json, such as target/rehearsal/SCENARIO/latest.")
    };
    Err(Failure::wrong(format!("{} {problem}", named.display()), hint))
}

/// Finds the outcome of `build` (`old` or `new`) that `named` stands for, and its further drives where a run was named: a run
/// stands for all that it knows of the build.
pub(super) fn outcomes_of(named: &Path, build: &str) -> (PathBuf, Vec<PathBuf>) {
    if named.join("ending.json").exists() {
        return (named.to_owned(), Vec::new());
    }
    let Some(outcomes) = below(named, "outcomes").filter(|outcomes| outcomes.join(build).is_dir()) else {
        return (named.to_owned(), Vec::new());
    };
    let further = (1..).map(|number: u32| match number {
        1 => outcomes.join(format!("{build}-again")),
        number => outcomes.join(format!("{build}-again-{number}")),
    });
    (outcomes.join(build), further.take_while(|outcome| outcome.is_dir()).collect())
}

fn below(named: &Path, name: &str) -> Option<PathBuf> {
    // Joining nothing would leave a slash at the end.
    let places = PLACES.iter().map(|place| if place.is_empty() { named.to_owned() } else { named.join(place) });
    places.map(|place| place.join(name)).find(|path| path.exists())
}
