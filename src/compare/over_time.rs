//! All that has to do with time, measured of the drives and added to a comparison: latency, how far builds were behind, figures over replay
//! time, what drives come to, and a lag that keeps growing.

use std::collections::BTreeMap;

use super::ages::Ages;
use super::behind::behind;
use super::drives::EventTimes;
use super::lagging::{first_due, lagging};
use super::latency::latency_and_ages;
use super::measures::measures;
use super::series::{Grid, series};
use super::{CompareError, Comparison};
use crate::outcome::Outcome;
use crate::spill::SpillSpace;

/// Drives to measure, and what by.
#[derive(Clone, Copy)]
pub struct Clocked<'a> {
    /// Drives by name as a report spells it (`old`, `old_again`, `new`, …), in the order of the run; those without redelivery are none.
    pub drives: &'a [(String, &'a Outcome)],
    /// Whether old was driven when new was. Else nothing of old counts but its outputs.
    pub timed: bool,
    /// When events happened, where that is known.
    pub times: Option<&'a dyn EventTimes>,
    /// Evenly distributed bits for each counter, such as [`Seed::draws`](crate::plan::Seed::draws): the same outcomes and draws give the same
    /// figures.
    pub draw: &'a dyn Fn(u64) -> u64,
}

/// Measures all that has to do with time and adds it to `comparison`; standings are those of each test alone until
/// [`settle`](super::settle) is called. Memory does not grow with the outcomes.
///
/// # Errors
///
/// As [`latency`](super::latency).
pub fn over_time(comparison: &mut Comparison, clocked: &Clocked<'_>, spill: &SpillSpace) -> Result<(), CompareError> {
    let counting = clocked.drives.iter().filter(|(name, _)| clocked.timed || !name.starts_with("old"));
    let drives: Vec<(String, &Outcome)> = counting.cloned().collect();
    comparison.behind = behind(drives.iter().cloned())?;
    let grid = Grid::for_drives(drives.iter().map(|(_, outcome)| *outcome))?;
    let mut ages = BTreeMap::new();
    let of = |build: &str| drives.iter().filter(|(name, _)| name.starts_with(build)).collect::<Vec<_>>();
    let (olds, news) = (of("old"), of("new"));
    if let (true, Some((name, new))) = (clocked.timed, news.first()) {
        let outcomes: Vec<Outcome> = olds.iter().map(|(_, outcome)| (*outcome).clone()).collect();
        if let Some(measured) = latency_and_ages(&outcomes, new, clocked.draw, Some(grid), spill)? {
            comparison.latency = Some(measured.latency);
            let in_order = olds.iter().map(|(name, _)| name).chain([name]);
            let known = in_order.zip(measured.ages).filter_map(|(name, ages)| Some((name.clone(), ages?)));
            ages = known.collect::<BTreeMap<String, Ages>>();
        }
    }
    let paced: Vec<(String, &Outcome)> =
        drives.into_iter().filter(|(_, outcome)| outcome.ending().lateness.is_some()).collect();
    if paced.is_empty() {
        return Ok(());
    }
    let found = series(&paced, grid, &ages, spill)?;
    comparison.measures = measures(&paced, &found)?;
    comparison.lagging = lagging(&found, &mut |at_us| first_due(at_us, &paced, clocked.times))?;
    comparison.series = Some(found);
    Ok(())
}
