//! Differences that are intended: what a scenario expects of new, and what somebody accepted of an earlier run.
//!
//! An expectation covers what it speaks of and nothing else. A difference at a path is held against it place by place while two
//! values are compared ([`Expectations::covers`]): one place with another value leaves its output a difference. What it covers
//! is counted apart, so that what remains at the same path is a pattern of its own.
//!
//! **Chance.** What is expected is no test: it leaves the family of a run, which was fixed by what the scenario says and not by
//! what the run shows, so those that stay keep their error rate. Where old is noisy at the same path, the tests of what remains
//! stay sound as well: drives are held against each other *up to what is expected*. An output of old and the same output of
//! new that differ as expected agree, so new is the odd one out only by what it does beyond that, and a drive of old is by what
//! it does itself, as likely as without any expectation.
//!
//! **Shares.** Acceptance is of a share of comparable outputs with its interval ([`share_interval`]), never of a count. The
//! share has grown where its own interval, at an error shared by all acceptances of the run, lies beyond that one: at most one
//! run in a hundred says so by chance of shares that stayed as they were.

mod places;
mod sentences;
mod settings;
mod share;
mod taking_place;

pub(super) use sentences::{stale, warnings};
pub use settings::{Acceptance, AcceptedShare, Expectations, ExpectedSettings};
pub(super) use taking_place::{Covered, Found, Looks, TakingPlace};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use super::json::Node;
use super::matching::Signature;
use super::{Change, Kind, Pattern, Standing};

/// Error that is left on each side of an interval that is accepted, and by all shares of a run together.
const ERROR: f64 = 0.005;

/// Days ahead of its last one from which an expectation is said to expire.
const DAYS_AHEAD: i64 = 14;

/// An expectation of the scenario, or something accepted, and what became of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Expected {
    /// Pattern that was accepted or rejected, by its short hash; none where the scenario expects it.
    pub id: Option<String>,
    /// Kind; none for every kind with this path.
    pub kind: Option<Kind>,
    /// Topic; none for all.
    pub topic: Option<String>,
    /// Path; none where the kind has none.
    pub path: Option<String>,
    /// Change; none for any.
    pub change: Option<Change>,
    /// What is to stand there in new; none where that is not said.
    pub value: Option<Json>,
    /// What stands there in old; none where that is not said.
    pub from: Option<Json>,
    /// Why it is intended, was accepted or was rejected.
    pub because: String,
    /// Who accepted or rejected it.
    pub by: Option<String>,
    /// On which day.
    pub on: Option<String>,
    /// Last day on which it stands.
    pub until: Option<String>,
    /// Days left until then, as of the run; below zero where it has passed.
    pub days_left: Option<i64>,
    /// What became of it.
    pub state: ExpectedState,
    /// Differences that it covers.
    pub covered: u64,
    /// Outputs of new on which it should have taken place and did not.
    pub not_made: u64,
    /// Outputs that could have differed so; for last values, keys.
    pub comparable: u64,
    /// `covered` over `comparable`; none where nothing could.
    pub share: Option<f64>,
    /// Share that was accepted.
    pub accepted: Option<f64>,
    /// Shares that the acceptance stands for, least and most.
    pub interval: Option<(f64, f64)>,
}

/// What became of an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedState {
    /// It took place, or what was accepted is there within its share.
    Made,
    /// It took place on some outputs, and on others not.
    Partly,
    /// It took place nowhere.
    NotMade,
    /// It no longer applies: old has it too, or nothing was there that it speaks of.
    #[default]
    Stale,
    /// Its last day has passed.
    Expired,
    /// Its share has grown beyond what was accepted.
    Grown,
    /// It was rejected: it stays a difference.
    Rejected,
}

/// Returns the interval of a share that is accepted when `count` of `of` comparable outputs differ: 99 %, exact (Clopper and
/// Pearson 1934).
pub fn share_interval(count: u64, of: u64) -> (f64, f64) {
    share::interval(count, of, ERROR)
}

/// Returns the short hash by which a pattern is named: eight digits in hex, the same in every run and on every machine.
pub fn pattern_id(kind: Kind, topic: &str, path: Option<&str>, change: Option<Change>) -> String {
    hash_text(&(kind, topic, path, change, None::<(&Option<Json>, &Option<Json>)>))
}

fn hash_text(of: &impl Serialize) -> String {
    let text = serde_json::to_string(of).unwrap_or_default();
    let hash = xxh3_64(text.as_bytes());
    format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
}

impl Expected {
    /// Whether somebody decided it after a run; else the scenario expects it.
    pub fn is_decided(&self) -> bool {
        self.id.is_some()
    }

    /// Whether it stands for no more than two weeks.
    pub fn expires_soon(&self) -> bool {
        let in_force = !matches!(self.state, ExpectedState::Expired | ExpectedState::Rejected);
        in_force && self.days_left.is_some_and(|left| left <= DAYS_AHEAD)
    }

    /// Whether it speaks of `signature`, but for values.
    fn speaks_of(&self, signature: &Signature) -> bool {
        // A number equal up to its precision is in another run one whose value changed, and then less than was expected.
        let change = self.change.is_none_or(|own| {
            Some(own) == signature.change || own == Change::Value && signature.change == Some(Change::Precision)
        });
        let kind = self.kind.map_or(signature.path.is_some(), |own| own == signature.kind);
        kind && change && self.path == signature.path && self.topic.as_ref().is_none_or(|own| *own == signature.topic)
    }
}

impl Expectations {
    /// Which expectation covers a difference at one place of two values, `old` and `new` being what stands there; none where
    /// none does.
    pub(super) fn covers(&self, signature: &Signature, old: Option<&Node<'_>>, new: Option<&Node<'_>>) -> Option<u16> {
        let numbers = self.by_path.get(signature.path.as_deref()?)?;
        let stands = |hash: Option<u64>, node: Option<&Node<'_>>| {
            hash.is_none_or(|hash| node.is_some_and(|node| super::values::node_hash(node) == hash))
        };
        numbers.iter().copied().find(|number| {
            let one = &self.all[usize::from(*number)];
            one.facts.speaks_of(signature) && stands(one.from, old) && stands(one.value, new)
        })
    }

    /// Whether a difference at `path` may be covered at all.
    pub(super) fn speaks_of_path(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// Id of the pattern of `signature`, and of what of it an expectation covers.
    pub(super) fn id(&self, signature: &Signature, by: Option<u16>) -> String {
        let Signature { kind, topic, path, change } = signature;
        let covered = by.and_then(|number| self.all.get(usize::from(number))).filter(|one| !one.facts.is_decided());
        let values = covered.map(|one| (&one.facts.from, &one.facts.value));
        hash_text(&(kind, topic, path, change, values))
    }

    /// Takes patterns without a path for expected, and says of all others which expectation speaks of them. Returns what became
    /// of every expectation.
    ///
    /// `patterns` are those of a comparison, of which those that are covered by a value come with their `expected_by`;
    /// `noise_known` tells whether old was driven more than once.
    pub(super) fn apply(&self, patterns: &mut [Pattern], found: &TakingPlace, noise_known: bool) -> Vec<Expected> {
        let accepted = self.all.iter().filter(|one| one.in_force && one.facts.is_decided()).count();
        let error = ERROR / accepted.max(1) as f64;
        let mut all: Vec<Expected> = self.all.iter().map(|one| one.facts.clone()).collect();
        for pattern in patterns.iter_mut().filter(|pattern| pattern.expected_by.is_none() && !pattern.information) {
            let signature = Signature {
                kind: pattern.kind,
                topic: pattern.topic.clone(),
                path: pattern.path.clone(),
                change: pattern.change,
            };
            let speaks = |one: &&(usize, &Expected)| one.1.speaks_of(&signature);
            let by = all.iter().enumerate().collect::<Vec<_>>();
            // What is in force goes ahead of what is not, and what covers a path has done so already.
            let in_force = by.iter().filter(|(at, _)| self.all[*at].in_force && pattern.path.is_none()).find(speaks);
            let idle = || by.iter().filter(|(at, one)| !self.all[*at].in_force || one.value.is_some()).find(speaks);
            pattern.expected_by = in_force.or_else(idle).map(|(at, _)| *at);
            if in_force.is_some() {
                pattern.standing = Standing::Expected;
            }
        }
        for (at, one) in all.iter_mut().enumerate() {
            let own = &self.all[at];
            one.not_made = found.not_made(at as u16);
            let covered = |pattern: &&mut Pattern| {
                pattern.expected_by == Some(at) && pattern.standing == Standing::Expected && own.in_force
            };
            let mut beyond_noise = 0;
            for pattern in patterns.iter_mut().filter(covered) {
                one.covered += pattern.count;
                one.comparable += pattern.comparable;
                beyond_noise += pattern.count.saturating_sub(pattern.noise_count);
            }
            if !own.in_force {
                // What it spoke of is a difference again, or still: how often stands in its patterns.
                let spoken = patterns.iter().filter(|pattern| pattern.expected_by == Some(at));
                (one.covered, one.comparable) =
                    spoken.fold((0, 0), |(count, of), pattern| (count + pattern.count, of + pattern.comparable));
            }
            one.share = (one.comparable > 0).then(|| one.covered as f64 / one.comparable as f64);
            if !own.in_force {
                continue;
            }
            one.state = match (one.covered > 0, one.not_made > 0) {
                (true, false) => ExpectedState::Made,
                (true, true) => ExpectedState::Partly,
                (false, true) => ExpectedState::NotMade,
                (false, false) => ExpectedState::Stale,
            };
            let Some((_, most)) = one.interval else { continue };
            let grown = |count: u64| share::interval(count, one.comparable, error).0 > most;
            if one.covered > 0 && grown(one.covered) {
                one.state = ExpectedState::Grown;
                let is_proven = noise_known && grown(beyond_noise);
                for pattern in patterns.iter_mut().filter(|pattern| pattern.expected_by == Some(at)) {
                    pattern.standing = if is_proven { Standing::Proven } else { Standing::Suspected };
                    // With a path it was no test of the odd one out: the share itself is what tells.
                    if pattern.path.is_some() {
                        pattern.statistics.p_value = None;
                    }
                }
            }
        }
        // What is expected is no test of the run's family.
        for pattern in patterns.iter_mut().filter(|pattern| pattern.standing == Standing::Expected) {
            pattern.statistics.p_value = None;
        }
        all
    }
}

#[cfg(test)]
mod tests;
