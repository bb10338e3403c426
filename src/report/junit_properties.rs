//! What a run's surroundings were, as properties of a JUnit testsuite: what a reader of many runs looks for without opening a report.

use super::figures::counted;
use super::words;
use super::{Report, isolation};

/// Characters of one property; the whole text stands in the suite's output.
const TEXT_MAX: usize = 1_000;

/// Names and texts, in order, each name once: layers of isolation and attempts to leave, calls of effects, sinks, processes, the first
/// divergence, figures over time, flags, clocks, schemas. Nothing where there is nothing to say.
pub(super) fn of(report: &Report) -> Vec<(String, String)> {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    let mut say = |name: String, text: String| match said.iter_mut().find(|(known, _)| *known == name) {
        Some((_, texts)) => texts.push(text),
        None => said.push((name, vec![text])),
    };
    for (label, text) in isolation::lines(report) {
        say(format!("isolation.{label}"), text);
    }
    for effect in &report.effects {
        let name = format!("effect.{}", effect.name);
        for (drive, calls) in &effect.drives {
            say(name.clone(), format!("{drive} {}", counted(calls.calls, "call", "calls")));
        }
        effect.repeats.iter().for_each(|repeats| say(name.clone(), repeats.clone()));
    }
    for text in words::sinks(report) {
        say("sinks".to_owned(), text);
    }
    for drive in &report.drives {
        for instance in words::instances(drive) {
            say(format!("processes.{}", drive.drive), instance);
        }
    }
    for fault in report.faults.iter().filter(|fault| fault.requests.is_some()) {
        for line in words::at_requests(fault) {
            say(format!("fault.{}", fault.name), line);
        }
    }
    for text in super::over_time::divergence(report) {
        say("first-divergence".to_owned(), text);
    }
    for text in super::over_time::lines(report) {
        say("over-time".to_owned(), text);
    }
    let flags = report.flags.iter().flat_map(|flags| &flags.says).map(|said| ("flags", said));
    let clocks = report.wall_clock.iter().flat_map(|clock| &clock.says).map(|said| ("wall-clock", said));
    let schemas = report.registry.iter().flat_map(|registry| &registry.says).map(|said| ("schema-registry", said));
    for (name, text) in flags.chain(clocks).chain(schemas) {
        say(name.to_owned(), text.clone());
    }
    said.into_iter()
        .map(|(name, texts)| (name, super::figures::cut(&texts.join("; "), TEXT_MAX).into_owned()))
        .collect()
}
