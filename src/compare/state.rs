//! The state that outputs amount to: when both sides became equal for good, and changelog topics as tables.
//!
//! A key's last values are what counts of its updates. Where two drives wrote other updates of it, they became equal for good with the
//! first of those that end both alike; a key whose last values differ never did. Of a topic that is the latest of its keys.
//!
//! A changelog is no stream of outputs but a table: the last value of each key is its row, a tombstone takes the row away, and which
//! updates led there is nobody's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gather::Entry;
use super::golden::Production;
use super::matching::{Differences, Finding, Seen, Signature, final_state};
use super::patterns::Candidate;
use super::rules::Rules;
use super::topics::Topics;
use super::{Change, CompareError, Kind, Sighting};

/// When the last values of a topic's keys became equal for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convergence {
    /// Topic.
    pub topic: String,
    /// Keys that both sides wrote, that one of them updated, and whose last values differed at some time.
    pub keys: u64,
    /// Those of them that differ in the end, too.
    pub apart: u64,
    /// The output of new, by its cause, from which on no key differs any more; none where some differ in the end.
    pub at: Option<Sighting>,
}

/// What a changelog topic amounts to in old and in new.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableRows {
    /// Topic.
    pub topic: String,
    /// Rows that old left.
    pub old: u64,
    /// Rows that new left.
    pub new: u64,
    /// Keys that only old has a row of.
    pub only_old: u64,
    /// Keys that only new has a row of.
    pub only_new: u64,
    /// Keys whose rows say something else.
    pub other: u64,
    /// Outputs without a key in both: they are no rows.
    pub keyless: u64,
    /// Whether both sides were through, so that their rows could be held against each other.
    pub judged: bool,
    /// Keys of which the build that was driven left a row and production may have had one that was not captured.
    #[serde(default)]
    pub untold: u64,
    /// Why nobody can tell what production's rows were in the end, as a fragment; none where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How two drives came to the last value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the same updates.
    Same,
    /// By others; equal from these two outputs on.
    From { old: i64, new: i64 },
    /// To another last value.
    Apart,
}

impl Way {
    /// Finds the way of one key, whose updates come in order with their number.
    pub(super) fn of(
        (olds, old): (u64, impl Iterator<Item = Result<Entry, CompareError>>),
        (news, new): (u64, impl Iterator<Item = Result<Entry, CompareError>>),
    ) -> Result<Self, CompareError> {
        let both = old.skip(olds.saturating_sub(news) as usize).zip(new.skip(news.saturating_sub(olds) as usize));
        let (mut from, mut same) = (None, olds == news);
        for (old, new) in both {
            let (old, new) = (old?, new?);
            if old.value == new.value {
                from.get_or_insert(Self::From { old: old.sequence, new: new.sequence });
            } else {
                (from, same) = (None, false);
            }
        }
        Ok(if same { Self::Same } else { from.unwrap_or(Self::Apart) })
    }
}

/// What is counted of state.
#[derive(Debug, Default)]
pub(super) struct State {
    ways: BTreeMap<u16, Ways>,
    tables: BTreeMap<u16, TableRows>,
}

#[derive(Debug, Default)]
struct Ways {
    keys: u64,
    apart: u64,
    /// Sequences in new and in old.
    latest: Option<(i64, i64)>,
}

impl State {
    /// Notes how a key of `topic` came to its last value.
    pub(super) fn note(&mut self, topic: u16, way: Way) {
        if way == Way::Same {
            return;
        }
        let ways = self.ways.entry(topic).or_default();
        ways.keys += 1;
        match way {
            Way::From { old, new } => ways.latest = ways.latest.max(Some((new, old))),
            Way::Apart | Way::Same => ways.apart += 1,
        }
    }

    /// Notes which sides have a row of a key; `judged`: both were through.
    pub(super) fn row(&mut self, topic: u16, (old, new): (bool, bool), judged: bool) {
        let table = self.tables.entry(topic).or_default();
        table.old += u64::from(old);
        table.new += u64::from(new);
        table.judged = judged;
    }

    /// Notes that nobody can tell whether production had a row of a key.
    pub(super) fn row_is_untold(&mut self, topic: u16, (old, new): (bool, bool)) {
        self.tables.entry(topic).or_default().untold += u64::from(old || new);
    }

    /// Notes that the rows of a key differ by `signature`.
    pub(super) fn row_differs(&mut self, topic: u16, signature: &Signature) {
        let table = self.tables.entry(topic).or_default();
        *match (&signature.path, signature.change) {
            (None, Some(Change::Removed)) => &mut table.only_old,
            (None, Some(Change::Added)) => &mut table.only_new,
            _ => &mut table.other,
        } += 1;
    }

    /// Ends counting: outputs at which topics became equal for good, and tables; `keyless` counts what is no row, by topic.
    pub(super) fn finish(
        self,
        topics: &Topics,
        keyless: &BTreeMap<u16, u64>,
        production: Option<&Production>,
    ) -> (Vec<(Convergence, Option<Candidate>)>, Vec<TableRows>) {
        let convergence = self.ways.into_iter().map(|(topic, ways)| {
            let latest = ways.latest.filter(|_| ways.apart == 0);
            let candidate = latest.map(|(new, old)| Candidate { at: new, old: Some(old), new: Some(new), stood: None });
            let (keys, apart) = (ways.keys, ways.apart);
            (Convergence { topic: topics.name(topic).to_owned(), keys, apart, at: None }, candidate)
        });
        let mut tables = self.tables;
        for (topic, count) in keyless {
            tables.entry(*topic).or_default().keyless = *count;
        }
        let tables =
            tables.into_iter().map(|(topic, table)| TableRows { topic: topics.name(topic).to_owned(), ..table });
        let mut tables: Vec<TableRows> = tables.collect();
        for (topic, known) in production.iter().flat_map(|production| &production.tables) {
            let Some(why) = &known.untold else { continue };
            let at = tables.iter().position(|table| table.topic == *topic).unwrap_or_else(|| {
                tables.push(TableRows { topic: topic.clone(), ..TableRows::default() });
                tables.len() - 1
            });
            tables[at].why = Some(why.clone());
        }
        (convergence.collect(), tables)
    }
}

/// Compares the rows of a key, either of which may not be there: a finding for each path, or one for the row. `judged`: they are of old
/// and new.
pub(super) fn rows(old: Option<&Seen>, new: Option<&Seen>, rules: &Rules, judged: bool) -> Differences {
    let alone = |seen: &Seen, change: Change| {
        let topic = seen.output.topic.clone();
        let signature = Signature { kind: Kind::FinalState, topic, path: None, change: Some(change) };
        let finding = Finding { signature, old: old.map(|_| 0), new: new.map(|_| 0), counts: true };
        Differences { findings: vec![finding], ..Differences::default() }
    };
    match (old, new) {
        (Some(old), Some(new)) => Differences::of_last(final_state(old, new, rules, judged)),
        (Some(old), None) => alone(old, Change::Removed),
        (None, Some(new)) => alone(new, Change::Added),
        (None, None) => Differences::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(values: &str, first: i64) -> Vec<Entry> {
        let entry = |(sequence, value): (i64, u8)| Entry {
            identity: 1,
            content: 0,
            value: u64::from(value),
            subset: 1,
            ignored: 0,
            sequence,
            topic: 0,
            drive: 0,
            flags: 0,
            more: 0,
        };
        (first..).zip(values.bytes()).map(entry).collect()
    }

    fn way(old: &str, new: &str) -> Way {
        let (old, new) = (updates(old, 0), updates(new, 100));
        Way::of((old.len() as u64, old.iter().copied().map(Ok)), (new.len() as u64, new.iter().copied().map(Ok)))
            .unwrap()
    }

    #[test]
    fn a_key_became_equal_for_good_with_the_first_update_that_ends_both_alike() {
        let from = |old, new| Way::From { old, new };
        for (old, new, expected) in [
            ("abc", "abc", Way::Same),
            ("abc", "ac", from(2, 101)),
            ("ac", "abc", from(1, 102)),
            ("abcd", "abxd", from(3, 103)),
            ("xbcd", "abcd", from(1, 101)),
            ("aba", "bba", from(1, 101)),
            ("c", "abc", from(0, 102)),
            ("abc", "abd", Way::Apart),
            ("abc", "", Way::Apart),
        ] {
            assert_eq!(way(old, new), expected, "{old} {new}");
        }
    }
}
