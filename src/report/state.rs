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
    let TableRows { topic, old, new, only_old, only_new, other, keyless, judged, untold, why } = table;
    let rows = format!("table {topic}: {} in old, {} in new", counted(*old, "row", "rows"), count(*new));
    let differ = if let Some(why) = why {
        format!("not judged: {why}")
    } else if !judged {
        "not judged, as a drive did not finish".to_owned()
    } else if only_old + only_new + other == 0 {
        if *untold == 0 { "all say the same".to_owned() } else { "all that are known say the same".to_owned() }
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
    let untold = match untold {
        0 => String::new(),
        untold => {
            format!("; {} may have stood there in production before it was captured", counted(*untold, "row", "rows"))
        }
    };
    format!("{rows}; {differ}{untold}{keyless}")
}
