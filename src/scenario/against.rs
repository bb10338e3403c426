//! What is said of an outcome that production wrote, by a run and by whoever compares its outcomes again.

use std::time::Duration;

use crate::compare::{Comparison, Side};
use crate::outcome::{ProductionReport, ProductionTable};
use crate::report::AgainstFacts;
use crate::settings::Span;

/// Where the outcome of production comes from, if the recording holds it.
pub(super) const RECORDED: &str = "recorded";

/// Says what was compared, what was left out and what cannot be judged where production stands for `side`.
pub(super) fn against(known: &ProductionReport, side: Side, comparison: &Comparison) -> AgainstFacts {
    let mut facts = AgainstFacts {
        side,
        source: known.source.clone(),
        topics: known.topics.clone().unwrap_or_default(),
        outputs: comparison.outputs.get(side.name()).copied().unwrap_or_default(),
        outside: known.outside,
        at_edges: known.at_edges,
        edge_us: known.edge_us,
        differences_at_edges: comparison.at_edges,
        not_judged: comparison.beside_production.clone(),
        says: Vec::new(),
    };
    facts.says = says(&facts, known, comparison);
    facts
}

/// Sentences on what was compared and what could not be.
fn says(facts: &AgainstFacts, known: &ProductionReport, comparison: &Comparison) -> Vec<String> {
    let source = match facts.topics.as_slice() {
        [] if known.source == RECORDED => "the tables that production wrote".to_owned(),
        [] => format!("the outcome {}", facts.source),
        topics => format!("what production wrote to {}", topics.join(", ")),
    };
    let driven = facts.side.other().name();
    let is_its = |drive: &&String| drive.starts_with(driven) && !drive.ends_with("_once");
    let noise = match comparison.outputs.keys().filter(is_its).count() {
        1 => format!("{driven} was driven once, so nobody can tell what it differs from itself by"),
        count => format!("noise is what {count} drives of {driven} differ by"),
    };
    let build = capitalised(driven);
    let mut says = vec![format!("{build} is held against {source}: {}; {noise}.", outputs(facts.outputs))];
    if facts.outside > 0 {
        says.push(format!("{} of production lie outside of the slice and are left out.", outputs(facts.outside)));
    }
    if let Some(edge_us) = facts.edge_us {
        let edge = Span::from(Duration::from_micros(edge_us.unsigned_abs()));
        let left = facts.differences_at_edges;
        says.push(format!(
            "{} of production lie within {edge} of the slice's edges; {left} {} all outputs of which lie at an edge {} left out.",
            outputs(facts.at_edges),
            if left == 1 { "difference" } else { "differences" },
            if left == 1 { "is" } else { "are" },
        ));
    }
    says.extend(tables(known, driven));
    if !facts.not_judged.is_empty() {
        let named = facts.not_judged.iter().map(|(topic, count)| format!("{topic} ({count})")).collect::<Vec<_>>();
        says.push(format!("Not judged, as nothing of production's is there to hold it against: {}.", named.join(", ")));
    }
    says.push(
        "Not compared: partitions, timestamps and causes, which are production's own; latency, as production ran at another time; \
         redelivery."
            .to_owned(),
    );
    if known.faults {
        says.push(format!(
            "Production suffered none of the scenario's faults: what they do to {driven} counts as its own."
        ));
    }
    says
}

/// Sentences on tables: which are compared, why, and of which nobody can tell.
fn tables(known: &ProductionReport, driven: &str) -> Vec<String> {
    let mut says = Vec::new();
    let names =
        |tables: &[&ProductionTable]| tables.iter().map(|table| table.topic.as_str()).collect::<Vec<_>>().join(", ");
    let (told, untold): (Vec<&ProductionTable>, Vec<_>) = known.tables.iter().partition(|table| table.untold.is_none());
    if !told.is_empty() {
        says.push(format!(
            "Compared as tables, by the last value of each key at the slice's end: {}; a row that stood there when the slice began \
             stands in {driven} as well, where {driven} does not write it.",
            names(&told)
        ));
    }
    for (table, why) in known.tables.iter().filter_map(|table| Some((table, table.because.as_ref()?))) {
        says.push(format!("{} is compared as a table, as {why}.", table.topic));
    }
    for (table, why) in untold.iter().filter_map(|table| Some((table, table.untold.as_ref()?))) {
        says.push(format!("Cannot tell what the table {} held at the slice's end: {why}.", table.topic));
    }
    if !known.tables_left_out.is_empty() {
        let topics = known.tables_left_out.join(", ");
        says.push(format!("Not compared: {topics}, a changelog that builds keep on a broker, and {driven} had none."));
    }
    says
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn outputs(number: u64) -> String {
    format!("{number} {}", if number == 1 { "output" } else { "outputs" })
}
