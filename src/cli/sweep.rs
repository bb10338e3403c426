//! `rehearsal sweep`: what drives that were killed left on a cluster, removed.

use serde_json::json;

use super::args::SweepArguments;
use super::exit::{Code, Failure};
use super::printer::Printer;
use super::run::read;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::drive::{LeftBehind, look_around, sweep as sweep_cluster};
use crate::scenario::ScenarioError;

pub(super) fn sweep(arguments: &SweepArguments, printer: &Printer) -> Result<Code, Failure> {
    let checked = read(&arguments.scenario, &arguments.changes)?;
    let Some(cluster) = checked.drive.kafka.as_ref().and_then(|kafka| kafka.cluster.as_ref()) else {
        let hint = "It is for scenarios with `broker = \"HOST:PORT\"` under `[drive]`.";
        return Err(Failure::wrong("the scenario's drives take place on no cluster", hint));
    };
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let found = if arguments.list {
        look_around(&checked.drive, &checked.recording, &stop)
    } else {
        sweep_cluster(&checked.drive, &checked.recording, arguments.drive.as_deref(), &stop)
    };
    let found = found.map_err(ScenarioError::from)?;
    let found: Vec<LeftBehind> =
        found.into_iter().filter(|left| arguments.drive.as_ref().is_none_or(|drive| *drive == left.drive)).collect();
    if arguments.json {
        let drives: Vec<_> = found
            .iter()
            .map(|left| json!({ "drive": left.drive, "topics": left.topics, "groups": left.groups }))
            .collect();
        printer.result(&format!(
            "{:#}",
            json!({ "broker": cluster.brokers, "removed": !arguments.list, "drives": drives })
        ))?;
        return Ok(Code::Agree);
    }
    if found.is_empty() {
        printer.result(&format!("nothing that a drive left behind stands on {}", cluster.brokers))?;
    }
    for left in &found {
        let what = if arguments.list { "left behind" } else { "removed" };
        let all: Vec<&str> = left.topics.iter().chain(&left.groups).map(String::as_str).collect();
        printer.result(&format!(
            "{}: {what} {} topics and {} groups\n  {}",
            left.drive,
            left.topics.len(),
            left.groups.len(),
            all.join("\n  ")
        ))?;
    }
    Ok(Code::Agree)
}
