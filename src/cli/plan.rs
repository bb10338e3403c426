//! `rehearsal plan`: what a run would hand over, and what it would cost.

use std::fmt::Write as _;

use serde_json::json;

use super::args::PlanArguments;
use super::exit::{Code, Failure};
use super::inspect::grouped;
use super::printer::Printer;
use super::run::read_against;
use super::whole::{check_new, write_new};
use crate::plan::{PlanSummary, write};
use crate::scenario::{Checked, Cost};

pub(super) fn plan(arguments: &PlanArguments, printer: &Printer) -> Result<Code, Failure> {
    arguments.out.as_deref().map(check_new).transpose()?;
    let checked = read_against(&arguments.scenario, &arguments.changes, arguments.against.as_deref())?;
    let summary = checked.plan.summary().map_err(crate::scenario::ScenarioError::from)?;
    if let Some(out) = &arguments.out {
        write_new(out, |file| Ok(write(&checked.plan, file).map_err(crate::scenario::ScenarioError::from)?))?;
    }
    let cost = checked.cost(&summary);
    if arguments.json {
        let json = json!({ "scenario": checked.scenario.name, "seed": checked.scenario.settings.seed, "plan": summary,
            "drives": cost.drives, "estimate_us": cost.estimate.as_micros() as u64 });
        printer.result(&format!("{json:#}"))?;
    } else {
        printer.result(&in_words(&checked, &summary, &cost))?;
    }
    Ok(Code::Agree)
}

fn in_words(checked: &Checked, summary: &PlanSummary, cost: &Cost) -> String {
    let mut text = format!(
        "{}: {} events, {} deliveries, {} of them again",
        checked.scenario.name,
        grouped(summary.events),
        grouped(summary.deliveries),
        grouped(summary.redeliveries)
    );
    if summary.warm_up_events > 0 {
        let _ = write!(text, "; {} events warm up", grouped(summary.warm_up_events));
    }
    if summary.gaps_cut > 0 {
        let _ = write!(text, "; {} silences cut by {}", grouped(summary.gaps_cut), rounded(summary.gaps_cut_us));
    }
    let side = if checked.drive.together { "side by side" } else { "one after the other" };
    let _ = writeln!(
        text,
        "\n{} drives {side}, about {}: {}",
        cost.drives.len(),
        rounded(cost.estimate.as_micros() as i64),
        cost.drives.join(", ")
    );
    if !summary.faults.is_empty() {
        text.push('\n');
    }
    let width = summary.faults.iter().map(|fault| fault.name.chars().count()).max().unwrap_or(0);
    for fault in &summary.faults {
        let coverage: Vec<String> =
            fault.coverage.iter().map(|(name, figure)| format!("{name} {}", figure_in_words(*figure))).collect();
        let nothing = if fault.touches_nothing() { "  touches nothing: there would be no verdict" } else { "" };
        let achieved = fault.at_requests.as_ref().map_or_else(|| coverage.join(", "), |at| at.begins.clone());
        let planned = match &fault.at_requests {
            Some(at) if !at.by_time => "by request".to_owned(),
            _ => format!("{:>9} planned", grouped(fault.planned)),
        };
        let _ = writeln!(
            text,
            "{:width$}  {:12} class {:?}  {planned:17}  {achieved}{nothing}",
            fault.name, fault.kind, fault.legality,
        );
    }
    text
}

fn figure_in_words(figure: f64) -> String {
    let text = format!("{figure:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes a length of replay time as people say it.
fn rounded(us: i64) -> String {
    match us {
        0..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..120_000_000 => format!("{:.1} s", us as f64 / 1e6),
        120_000_000..7_200_000_000 => format!("{} min", us / 60_000_000),
        _ => format!("{:.1} h", us as f64 / 3.6e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_as_people_say_them() {
        for (us, text) in [(0, "0 ms"), (1_500_000, "1.5 s"), (840_000_000, "14 min"), (9_000_000_000, "2.5 h")] {
            assert_eq!(rounded(us), text);
        }
    }

    #[test]
    fn figures_leave_out_zeros_that_say_nothing() {
        for (figure, text) in [(0.049_06, "0.0491"), (64.0, "64"), (0.5, "0.5"), (100.0, "100")] {
            assert_eq!(figure_in_words(figure), text);
        }
    }
}
