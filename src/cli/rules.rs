//! `rehearsal rules check`: what the rules of a comparison would miss.

use std::fmt::Write as _;

use serde_json::json;

use super::args::RulesCheckArguments;
use super::exit::{Code, Failure};
use super::inspect::grouped;
use super::printer::Printer;
use super::runs::outcomes_of;
use super::signal::raise_on_interrupt;
use crate::clock::Stop;
use crate::compare::{Caught, RulesCheck};
use crate::plan::Seed;
use crate::scenario::{Scenario, corrupted};

pub(super) fn check(arguments: &RulesCheckArguments, printer: &Printer) -> Result<Code, Failure> {
    let rules = Scenario::read_rules(&arguments.rules, &arguments.set)?;
    let (outcome, _) = outcomes_of(&arguments.outcome, "old");
    let seed = Seed(arguments.seed.unwrap_or(rules.settings.seed));
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let bar = printer.bar("corrupt", Some(arguments.count));
    let check = corrupted(&outcome, &rules, (arguments.count, seed), &|made| bar.set_position(made), &stop);
    bar.finish_and_clear();
    let check = check?;
    if arguments.json {
        let mut told = json!(check);
        told["format"] = json!("1.0");
        told["outcome"] = json!(outcome.display().to_string());
        told["caught_share"] = json!(share(&check.all));
        printer.result(&format!("{told:#}"))?;
    } else {
        printer.result(&in_words(&check))?;
    }
    Ok(match (share(&check.all), arguments.at_least) {
        (None, _) => Code::NoVerdict,
        (Some(caught), Some(least)) if caught < least => Code::Differ,
        _ => Code::Agree,
    })
}

/// Share of what is not equal anyway that is caught; none where nothing was to be caught.
fn share(all: &Caught) -> Option<f64> {
    let different = all.made - all.equal;
    (different > 0).then(|| all.caught as f64 / different as f64)
}

fn in_words(check: &RulesCheck) -> String {
    let all = &check.all;
    let Some(caught) = share(all) else {
        return format!("nothing to corrupt in {} outputs", grouped(check.outputs));
    };
    let mut text = format!(
        "the rules catch {} of {} corruptions ({:.2} %) in {} outputs; {} more changed nothing; seed {}\n\n",
        grouped(all.caught),
        grouped(all.made - all.equal),
        // Whoever misses one does not catch all.
        (caught * 10_000.0).floor() / 100.0,
        grouped(check.outputs),
        grouped(all.equal),
        check.seed
    );
    let _ = writeln!(text, "{:18} {:>8} {:>8} {:>8}", "corruption", "made", "caught", "hidden");
    for (kind, found) in &check.kinds {
        let (made, caught, hidden) = (found.made - found.equal, found.caught, found.hidden_count());
        let _ = write!(text, "{:18} {:>8} {:>8} {:>8}", kind.word(), grouped(made), grouped(caught), grouped(hidden));
        let mut by: Vec<String> =
            found.hidden.iter().map(|(rule, count)| format!("{} by {rule}", grouped(*count))).collect();
        if found.together > 0 {
            by.push(format!("{} by several rules alike", grouped(found.together)));
        }
        let _ = writeln!(text, "{}{}", if by.is_empty() { "" } else { "   " }, by.join(", "));
    }
    if !all.hidden.is_empty() {
        text.push_str("\nhidden by\n");
        for (rule, count) in &all.hidden {
            let _ = writeln!(text, "{:>8}  {rule}", grouped(*count));
        }
    }
    for rule in &check.harmless {
        let _ = writeln!(text, "{:>8}  {rule}", 0);
    }
    text
}
