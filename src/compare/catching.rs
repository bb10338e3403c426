//! What rules still catch: outputs of an outcome corrupted one by one, and each compared with what it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::corrupt::{Corrupted, Corruption, corrupt};
use super::drives::{Drive, Remembered};
use super::rules::{CompareSettings, Order, Rules};
use super::watched::{Watched, go_on};
use super::{CompareError, compare_drives};
use crate::outcome::Output;
use crate::plan::{Phase, Seed};
use crate::spill::SpillSpace;

/// Outputs behind a chosen one among which its twin is looked for.
const NEAR: usize = 16;

/// Corruptions that are made at a time.
const BATCH: usize = 256;

/// What became of the corruptions of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Caught {
    /// Corruptions that were made.
    pub made: u64,
    /// Those of them that no comparison could tell from what was there: `1.0` for `1`, two equal elements in each other's place,
    /// or outputs that depend on nothing in each other's place.
    pub equal: u64,
    /// Those that the rules still find.
    pub caught: u64,
    /// Those that several rules hide, each of which would do so alone.
    pub together: u64,
    /// Those that a rule hides, by its text: without it they would be found. Where each of two is needed, it counts for both.
    pub hidden: BTreeMap<String, u64>,
}

impl Caught {
    /// Corruptions that the rules hide.
    pub fn hidden_count(&self) -> u64 {
        self.made - self.equal - self.caught
    }

    fn add(&mut self, other: &Self) {
        self.made += other.made;
        self.equal += other.equal;
        self.caught += other.caught;
        self.together += other.together;
        for (rule, count) in &other.hidden {
            *self.hidden.entry(rule.clone()).or_default() += count;
        }
    }
}

/// What rules still catch of corrupted outputs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RulesCheck {
    /// Seed of the draws.
    pub seed: u64,
    /// Outputs that there were to corrupt, warm-up and what cannot be read left out.
    pub outputs: u64,
    /// All corruptions.
    pub all: Caught,
    /// By kind of corruption; kinds that were not made are left out.
    pub kinds: BTreeMap<Corruption, Caught>,
    /// Rules that hid nothing, by their texts.
    pub harmless: BTreeSet<String>,
}

/// Corrupts `count` outputs of `drive`, drawn by `seed`, and looks how many of them `rules` still find; `made` is told how many
/// are through.
///
/// Each corruption is compared by itself, with the output that it was made of. What [`CompareSettings`] without any rule do not
/// find either, identity as in `rules`, is `equal`. A rule hides what is found once it alone is gone.
///
/// # Errors
///
/// [`CompareError`] where the outcome cannot be read, or `spill` is withdrawn meanwhile.
pub fn check_rules(
    drive: &dyn Drive,
    rules: &Rules,
    (count, seed): (u64, Seed),
    made: &dyn Fn(u64),
    spill: &SpillSpace,
) -> Result<RulesCheck, CompareError> {
    let rules = &*rules.for_drives([drive]);
    let watched = Watched::all([drive], rules, spill);
    let drive: &dyn Drive = &watched[0];
    let outputs = readable(drive, |_, _| {})?;
    let mut check = RulesCheck { seed: seed.0, outputs, ..RulesCheck::default() };
    let suspects = Suspects::new(rules.settings());
    check.harmless = suspects.without.iter().map(|(text, _)| text.clone()).collect();
    if outputs == 0 {
        return Ok(check);
    }
    let draws = seed.draws("rules check");
    let mut places: Vec<(u64, u64)> = (0..count).map(|number| (draws(number << 6) % outputs, number)).collect();
    places.sort_unstable();
    let sequences = sequences(drive, &places)?;
    for batch in places.chunks(BATCH) {
        let near = |place: u64| sequences.range(place..place + NEAR as u64).map(|(_, sequence)| *sequence);
        let wanted: BTreeSet<i64> = batch.iter().flat_map(|(place, _)| near(*place)).collect();
        let read = drive.read(&wanted.into_iter().collect::<Vec<_>>())?;
        let at = |sequence: i64| {
            let at = read.binary_search_by_key(&sequence, |output| output.sequence);
            at.map(|at| said(&read[at], rules)).map_err(|_| CompareError::Vanished { sequence })
        };
        for (place, number) in batch {
            go_on(spill)?;
            let near: Vec<Output> = near(*place).map(at).collect::<Result<_, _>>()?;
            let mut counter = number << 6;
            let mut draw = |below: usize| {
                counter += 1;
                (draws(counter) % below.max(1) as u64) as usize
            };
            let Some(corrupted) = corrupt(&near, &mut draw) else { continue };
            let found = suspects.look(&corrupted, spill)?;
            check.harmless.retain(|rule| !found.hidden.contains_key(rule));
            check.all.add(&found);
            check.kinds.entry(corrupted.what).or_default().add(&found);
            made(check.all.made);
        }
    }
    Ok(check)
}

/// Counts outputs that can be corrupted, and shows each with its place to `take`.
fn readable(drive: &dyn Drive, mut take: impl FnMut(u64, i64)) -> Result<u64, CompareError> {
    let mut count = 0;
    drive.each(&BTreeSet::new(), &mut |row| {
        if row.phase != Phase::WarmUp && !row.malformed {
            take(count, row.sequence);
            count += 1;
        }
        Ok(())
    })?;
    Ok(count)
}

/// Sequences of the outputs at `places` and of those behind them, by place.
fn sequences(drive: &dyn Drive, places: &[(u64, u64)]) -> Result<BTreeMap<u64, i64>, CompareError> {
    let mut sequences = BTreeMap::new();
    let mut next = 0;
    readable(drive, |at, sequence| {
        while places.get(next).is_some_and(|(place, _)| *place + (NEAR as u64) <= at) {
            next += 1;
        }
        if places.get(next).is_some_and(|(place, _)| *place <= at) {
            sequences.insert(at, sequence);
        }
    })?;
    Ok(sequences)
}

/// An output with what its value says in place of what frames it.
fn said(output: &Output, rules: &Rules) -> Output {
    let value = output.value.as_deref().map(|value| rules.of(&output.topic).unframed(value).1.into_owned());
    Output { value, ..output.clone() }
}

/// Rules that may have hidden something.
struct Suspects {
    all: Rules,
    /// No rule at all.
    none: Rules,
    /// All but one, by the text of that one.
    without: Vec<(String, Rules)>,
}

impl Suspects {
    fn new(settings: &CompareSettings) -> Self {
        let rules = |settings: &CompareSettings| settings.check().unwrap_or_default();
        let bare = CompareSettings {
            identity: settings.identity.clone(),
            order: if settings.order == Order::Total { Order::Total } else { Order::Key },
            memory: 16,
            ..CompareSettings::default()
        };
        let all = CompareSettings { memory: 16, ..settings.of_read_values() };
        let without = all.without_each().into_iter().map(|(text, settings)| (text, rules(&settings))).collect();
        Self { all: rules(&all), none: rules(&bare), without }
    }

    fn look(&self, corrupted: &Corrupted, spill: &SpillSpace) -> Result<Caught, CompareError> {
        let mut found = Caught { made: 1, ..Caught::default() };
        if finds(&self.all, corrupted, spill)? {
            found.caught = 1;
        } else if !finds(&self.none, corrupted, spill)? {
            found.equal = 1;
        } else {
            for (text, rules) in &self.without {
                if finds(rules, corrupted, spill)? {
                    found.hidden.insert(text.clone(), 1);
                }
            }
            found.together = u64::from(found.hidden.is_empty());
        }
        Ok(found)
    }
}

/// Whether a comparison by `rules` shows a difference that is more than information.
fn finds(rules: &Rules, corrupted: &Corrupted, spill: &SpillSpace) -> Result<bool, CompareError> {
    let old = Remembered::finished(corrupted.before.clone());
    let new = Remembered::finished(corrupted.after.clone());
    let comparison = compare_drives(&[&old], &[&new], rules, None, spill)?;
    Ok(comparison.patterns.iter().any(|pattern| !pattern.information))
}
