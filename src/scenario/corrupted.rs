//! What the rules of a scenario would still catch of an outcome's outputs, corrupted on purpose.

use std::path::Path;

use super::{Scenario, ScenarioError};
use crate::clock::Stop;
use crate::compare::{RulesCheck, check_rules};
use crate::outcome::Outcome;
use crate::plan::Seed;
use crate::recording::Recording;
use crate::schema::Schemas;
use crate::spill::SpillSpace;

/// Corrupts `count` outputs of the outcome at `path`, drawn by `seed`, and looks how many the rules of `rules` find; `made` is
/// told how many are through. Writes nothing.
///
/// # Errors
///
/// [`ScenarioError::Outcome`] where the outcome cannot be read, [`ScenarioError::Problems`] where a rule cannot be used,
/// [`CompareError::Stopped`](crate::compare::CompareError::Stopped) where `stop` was raised.
pub fn corrupted(
    path: &Path,
    rules: &Scenario,
    (count, seed): (u64, Seed),
    made: &dyn Fn(u64),
    stop: &Stop,
) -> Result<RulesCheck, ScenarioError> {
    let _heeding = stop.heed();
    let outcome = Outcome::open(path)?;
    let refused = |error| ScenarioError::from(vec![rules.problem(&error)]);
    // Where the recording is there, its schemas say what values say.
    let schemas = match rules.recording().map(Recording::open) {
        Ok(Ok(recording)) => recording.schemas().unwrap_or_default(),
        _ => Schemas::default(),
    };
    let checked = rules.settings.compare.check().map_err(refused)?.with_schemas(schemas);
    checked.check_schemas().map_err(refused)?;
    let asked = stop.clone();
    let spill = SpillSpace::system().until(move || asked.raised());
    Ok(check_rules(&outcome, &checked, (count, seed), made, &spill)?)
}
