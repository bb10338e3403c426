//! State in words: when both sides became equal for good, and tables row by row.

use super::Report;
use super::figures::{count, counted};
use super::words::sighting;
use crate::compare::{Convergence, TableRows};

/// Says what is known of the state that outputs amount to; nothing where no key ever differed and nothing is a table.
pub(super) fn lines(report: &Report) -> Vec<String> {
    report.convergence.iter().map(converged).chain(report.tables.iter().map(table)).collect()
}

fn converged(found: &Convergence) -> String {
    let Convergence { topic, keys, apart, at } = found;
    let differed = counted(*keys, "key", "keys");
    if *apart > 0 {
        return format!("{topic}: {differed} differed; {} never became equal again", count(*apart));
    }
    let at = at.as_ref().map_or("not known when".to_owned(), sighting);
    format!("{topic}: {differed} differed on the way; equal for good since {at}")
}

fn table(table: &TableRows) -> String {
    let TableRows { topic, old, new, only_old, only_new, other, keyless, judged } = table;
    let rows = format!("table {topic}: {} in old, {} in new", counted(*old, "row", "rows"), count(*new));
    let differ = if !judged {
        "not judged, as a drive did not finish".to_owned()
    } else if only_old + only_new + other == 0 {
        "all say the same".to_owned()
    } else {
        format!(
            "{} in old alone, {} in new alone, {} with another value",
            count(*only_old),
            count(*only_new),
            count(*other)
        )
    };
    let keyless = match keyless {
        0 => String::new(),
        keyless => format!("; {} without a key in all drives are no rows", counted(*keyless, "output", "outputs")),
    };
    format!("{rows}; {differ}{keyless}")
}
