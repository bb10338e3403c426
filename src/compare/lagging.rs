//! Whether the lag of new begins to grow for good, and since when.
//!
//! Looked at is what new is behind beyond old, bucket by bucket of the schedule: by the age of events where that is known, measured from
//! the due time, so that what a build takes late counts; else by the lag that commits tell. The drain is left out: every lag ends there.
//!
//! The band within which drives of one build lie is the 95th percentile, over time, of what any two drives of old differ by. A drift begins
//! behind the last bucket in which new was within that band of old, which a spike that recovers comes back to. Behind it the difference
//! must rise (Mann and Kendall, of medians of ten blocks, p ≤ 0.01), so that a constant offset is none; so must new over old, so that a
//! load which grows, and with it whatever builds differ by, is none; and it must end more than twice the band above old.
//!
//! A second test stands between drives, as for latency: how far each ends above its own median, new against the drives of old by Student's
//! prediction of one more. The p-value of a drift is the larger one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::assess::Seen;
use super::bootstrap::{beyond, deviation, mean, standard_error};
use super::drives::{Coordinates, EventTimes};
use super::figure::Figure;
use super::gates::{Gate, Gates};
use super::latency::ALPHA;
use super::sentences::{self, counted, time};
use super::series::{DriveSeries, Series};
use super::trend::{BLOCKS, medians, rises, slope};
use super::verdict::{Facts, FidelityBounds, is_old, off_schedule};
use super::{CompareError, Sighting, Standing};
use crate::outcome::Outcome;

/// Fewer buckets of the schedule tell no trend.
const BUCKETS_MIN: usize = 2 * BLOCKS;

/// Share of the buckets in which a drive must be known.
const KNOWN_MIN: f64 = 0.8;

/// By what a build's lag is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LagMeasure {
    /// Median age of events when their outputs arrived, in microseconds.
    Age,
    /// Largest lag, in events.
    Lag,
}

/// What is known of a lag that keeps growing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lagging {
    /// By what it is told; says the unit.
    pub measure: LagMeasure,
    /// What counts as no difference: drives of old lie so far apart in 95 % of the time.
    pub band: f64,
    /// What new falls behind beyond old; none where it does not.
    pub beyond_old: Option<Drift>,
    /// What both builds fall behind: broken by both; none where they do not.
    pub shared: Option<Drift>,
}

/// A lag that begins to grow and does not stop as long as there is something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The first event behind the last moment at which it was within the band.
    pub onset: Sighting,
    /// By how much it grows each second of replay time: of what is beyond old's, that alone.
    pub per_second: f64,
    /// Old's at the end of the schedule.
    pub old_at_end: f64,
    /// New's at the end of the schedule.
    pub new_at_end: f64,
    /// One-sided p-value that it does not grow beyond old's; none where old was driven once, and of what both builds share.
    pub p_value: Option<f64>,
    /// Benjamini-Hochberg adjusted p-value over the run's family; none until the family is known.
    pub q_value: Option<f64>,
    /// `proven` or `suspected`; none of what both builds share.
    pub standing: Option<Standing>,
}

impl Drift {
    /// Takes the adjusted p-value of the run's family of tests and decides anew what is known.
    pub(super) fn settle(&mut self, q_value: Option<f64>) {
        self.q_value = q_value;
        let is_proven = self.q_value.or(self.p_value).is_some_and(|p| p <= ALPHA);
        self.standing = Some(if is_proven { Standing::Proven } else { Standing::Suspected });
    }
}

impl LagMeasure {
    /// Writes a figure with its unit.
    pub(super) fn show(self, figure: f64) -> String {
        match self {
            Self::Age => time(figure as i64),
            Self::Lag => counted(figure.max(0.0) as u64, "event"),
        }
    }

    /// What one look tells apart: a millisecond, an event.
    const fn resolution(self) -> f64 {
        match self {
            Self::Age => 1_000.0,
            Self::Lag => 1.0,
        }
    }
}

/// Figures of all drives over the schedule, without gaps.
struct Tracks {
    olds: Vec<Vec<f64>>,
    new: Vec<f64>,
    /// Deliveries handed over, one more so that none is nought.
    load: Vec<f64>,
}

/// A drift before its event is known.
struct Found {
    /// The first bucket of it.
    from: usize,
    p_value: f64,
    per_bucket: f64,
}

/// Looks for a drift; none where it cannot be told, as the schedule is too short, or neither ages nor lag are known of both builds.
///
/// `first_due` finds the first event that was due at a moment or later.
pub(super) fn lagging(
    series: &Series,
    first_due: &mut dyn FnMut(i64) -> Result<Sighting, CompareError>,
) -> Result<Option<Lagging>, CompareError> {
    let Some(schedule_us) = series.schedule_us else { return Ok(None) };
    let buckets = (schedule_us / series.bucket_us.max(1)) as usize;
    if buckets < BUCKETS_MIN {
        return Ok(None);
    }
    let age = |own: &DriveSeries| own.age_us.iter().map(|age| age.map(|age| age as f64)).collect();
    let lag = |own: &DriveSeries| own.lag.iter().map(|lag| lag.map(|lag| lag as f64)).collect();
    let by_age = tracks(series, buckets, age).map(|tracks| (LagMeasure::Age, tracks));
    let Some((measure, tracks)) =
        by_age.or_else(|| tracks(series, buckets, lag).map(|tracks| (LagMeasure::Lag, tracks)))
    else {
        return Ok(None);
    };
    let band = tracks.band().max(measure.resolution());
    let mut drift = |found: Found, p_value: Option<f64>| -> Result<Drift, CompareError> {
        let end = |track: &[f64]| medians(track).last().copied().unwrap_or(0.0);
        Ok(Drift {
            onset: first_due(found.from as i64 * series.bucket_us)?,
            per_second: found.per_bucket * 1e6 / series.bucket_us as f64,
            old_at_end: end(&tracks.old()),
            new_at_end: end(&tracks.new),
            p_value,
            q_value: None,
            standing: None,
        })
    };
    let beyond_old = match tracks.beyond_old(band) {
        Some(found) => {
            let between = tracks.between(measure.resolution());
            let p_value = between.map(|between| between.max(found.p_value));
            let mut drift = drift(found, p_value)?;
            drift.settle(None);
            Some(drift)
        }
        None => None,
    };
    let shared = tracks.shared(band).map(|found| drift(found, None)).transpose()?;
    Ok(Some(Lagging { measure, band, beyond_old, shared }))
}

/// Takes what `pick` takes of each drive, over so many buckets; none where it is not known of old and of new.
fn tracks(series: &Series, buckets: usize, pick: impl Fn(&DriveSeries) -> Vec<Option<f64>>) -> Option<Tracks> {
    let of = |drive: &str| filled(&pick(series.drives.get(drive)?), buckets);
    let (old, new) = (of("old")?, of("new")?);
    let again = series.drives.keys().filter(|name| name.starts_with("old_again"));
    let olds = std::iter::once(old).chain(again.filter_map(|name| of(name))).collect();
    let deliveries = &series.drives["old"].deliveries;
    let load = (0..buckets).map(|bucket| deliveries.get(bucket).map_or(1.0, |count| 1.0 + *count as f64)).collect();
    Some(Tracks { olds, new, load })
}

/// The first `buckets` figures, those that lack taken to be as the one ahead of them; none where too many do.
fn filled(figures: &[Option<f64>], buckets: usize) -> Option<Vec<f64>> {
    let known = figures.iter().take(buckets).flatten().count();
    if (known as f64) < KNOWN_MIN * buckets as f64 {
        return None;
    }
    let mut last = figures.iter().flatten().next().copied()?;
    let filled = (0..buckets).map(|bucket| {
        last = figures.get(bucket).copied().flatten().unwrap_or(last);
        last
    });
    Some(filled.collect())
}

impl Tracks {
    /// Mean of the drives of old.
    fn old(&self) -> Vec<f64> {
        (0..self.new.len())
            .map(|at| self.olds.iter().map(|old| old[at]).sum::<f64>() / self.olds.len() as f64)
            .collect()
    }

    /// 95th percentile over time of what two drives of old differ by; nought with one.
    fn band(&self) -> f64 {
        let pairs = self.olds.iter().enumerate().flat_map(|(at, one)| {
            self.olds[at + 1..]
                .iter()
                .flat_map(move |other| one.iter().zip(other).map(|(one, other)| (one - other).abs()))
        });
        let mut apart: Vec<f64> = pairs.collect();
        apart.sort_by(f64::total_cmp);
        apart.get((apart.len() * 95 / 100).min(apart.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    fn beyond_old(&self, band: f64) -> Option<Found> {
        let old = self.old();
        let beyond: Vec<f64> = self.new.iter().zip(&old).map(|(new, old)| new - old).collect();
        let over: Vec<f64> = self.new.iter().zip(&old).map(|(new, old)| (new + band) / (old + band)).collect();
        let found = drift(&beyond, band)?;
        (rises(&over[found.from..]) <= ALPHA).then_some(found)
    }

    /// What both builds fall behind, each beyond where it began, and by more than the load grows.
    fn shared(&self, band: f64) -> Option<Found> {
        let of = |track: &[f64]| {
            let began = super::trend::median(track[..track.len() / 5].to_vec());
            let above: Vec<f64> = track.iter().map(|figure| figure - began).collect();
            let by_load: Vec<f64> = track.iter().zip(&self.load).map(|(figure, load)| (figure + band) / load).collect();
            drift(&above, band).filter(|found| rises(&by_load[found.from..]) <= ALPHA)
        };
        let (old, new) = (of(&self.old())?, of(&self.new)?);
        Some(if old.from >= new.from { old } else { new })
    }

    /// How likely one more drive of old would end as far above its median as new does; none with one drive of old.
    fn between(&self, resolution: f64) -> Option<f64> {
        let rise = |track: &Vec<f64>| {
            let last = &track[track.len() - track.len() / BLOCKS..];
            mean(last) - super::trend::median(track.clone())
        };
        let olds: Vec<f64> = self.olds.iter().map(rise).collect();
        let freedom = olds.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
        let error = standard_error(libm::hypot(deviation(&olds), resolution), olds.len());
        Some(beyond((rise(&self.new) - mean(&olds)) / error, freedom))
    }
}

/// Finds where `series` leaves the band for good and goes on rising.
fn drift(series: &[f64], band: f64) -> Option<Found> {
    let from = series.iter().rposition(|figure| *figure <= band).map_or(0, |last| last + 1);
    let tail = &series[from..];
    if tail.len() < BLOCKS {
        return None;
    }
    let (p_value, per_bucket) = (rises(tail), slope(tail));
    let ends = medians(tail).last().copied().unwrap_or(0.0);
    let grows = per_bucket * tail.len() as f64 > band && ends > 2.0 * band;
    (p_value <= ALPHA && grows).then_some(Found { from, p_value, per_bucket })
}

/// Finds the first event that was due at `at_us` or later in the first of `drives` that knows its deliveries.
pub(super) fn first_due(
    at_us: i64,
    drives: &[(String, &Outcome)],
    times: Option<&dyn EventTimes>,
) -> Result<Sighting, CompareError> {
    let mut onset =
        Sighting { topic: None, partition: None, offset: None, inferred: false, event_time_ms: None, replay_us: at_us };
    let Some((outcome, batches)) =
        drives.iter().find_map(|(_, outcome)| Some((outcome, outcome.deliveries().transpose()?)))
    else {
        return Ok(onset);
    };
    for batch in batches? {
        let batch = batch?;
        let Some(first) = batch.iter().find(|receipt| receipt.delivery.due_us >= at_us) else { continue };
        let Some(topic) = outcome.topics().get(first.delivery.topic as usize) else { break };
        let event =
            Coordinates { topic: topic.clone(), partition: first.delivery.partition, offset: first.delivery.offset };
        let known = match times {
            Some(times) => times.times(&BTreeSet::from([event.clone()]))?,
            None => BTreeMap::new(),
        };
        onset.event_time_ms = known.get(&event).copied();
        onset.replay_us = first.delivery.due_us;
        (onset.topic, onset.partition, onset.offset) = (Some(event.topic), Some(event.partition), Some(event.offset));
        break;
    }
    Ok(onset)
}

/// Says of a drift how fast it grows, since when, and to what.
pub(super) fn sentence(measure: LagMeasure, drift: &Drift) -> String {
    let lag = match measure {
        LagMeasure::Age => "the age of events",
        LagMeasure::Lag => "the lag",
    };
    format!(
        "{lag} in new grows for good since {}, by {} each second beyond old's: {} at the end of the schedule, {} in old",
        since(&drift.onset),
        measure.show(drift.per_second),
        measure.show(drift.new_at_end),
        measure.show(drift.old_at_end),
    )
}

/// `2013-01-05T10:17Z (flights/3@4711), 61s into the replay`.
fn since(onset: &Sighting) -> String {
    let shown = sentences::sighting(onset);
    match onset.event_time_ms {
        Some(_) => format!("{}, {} into the replay", shown.trim_start_matches("at "), time(onset.replay_us)),
        None => shown,
    }
}

/// Holds whether the lag of new keeps growing against `limit`: nought forbids it. What only new's drives miss of the schedule counts: new took
/// its input late.
pub(super) fn assess(facts: &Facts<'_>, gate: &Gate, bounds: FidelityBounds, limit: u64) -> Seen {
    let lagging = match looked_at(facts, bounds) {
        Ok(lagging) => lagging,
        Err(reason) => return Seen::untold(gate, &reason),
    };
    let Some(drift) = &lagging.beyond_old else {
        let both = lagging.shared.as_ref().map(|_| "it grows in both builds alike".to_owned());
        return Seen::kept("0", both);
    };
    let what = sentence(lagging.measure, drift);
    match drift.standing {
        _ if limit > 0 => Seen::kept("1", Some(what)),
        Some(Standing::Proven) => Seen::broken(gate, "1", Some(what.clone()), &what),
        _ if drift.p_value.is_none() => {
            Seen::suspected(gate, "1", &format!("{what}; old was driven once, so chance is not ruled out"))
        }
        _ => Seen::suspected(gate, "1", &format!("{what}; perhaps by chance")),
    }
}

/// Says what is proven of new where no gate forbids it.
pub(super) fn without_gate(facts: &Facts<'_>, gates: &Gates, bounds: FidelityBounds) -> Option<String> {
    let lagging = looked_at(facts, bounds).ok().filter(|_| gates.on(Figure::Lagging).is_none())?;
    let drift = lagging.beyond_old.as_ref().filter(|drift| drift.standing == Some(Standing::Proven))?;
    Some(format!("{}, on which there is no gate", sentence(lagging.measure, drift)))
}

/// Says what both builds fall behind.
pub(super) fn broken_by_both(facts: &Facts<'_>, bounds: FidelityBounds) -> Option<String> {
    shared(looked_at(facts, bounds).ok()?)
}

/// Returns what is known of a drift, or why nothing can be.
fn looked_at<'a>(facts: &Facts<'a>, bounds: FidelityBounds) -> Result<&'a Lagging, String> {
    if !facts.paced {
        return Err("the replay was not paced, so it says nothing of time".to_owned());
    }
    if let Some((_, strayed)) = off_schedule(facts.endings, bounds).into_iter().find(|(drive, _)| is_old(drive)) {
        return Err(strayed);
    }
    facts.comparison.lagging.as_ref().ok_or_else(|| {
        "the schedule is too short for a trend, or neither the ages of events nor lag are known of both builds"
            .to_owned()
    })
}

fn shared(lagging: &Lagging) -> Option<String> {
    let drift = lagging.shared.as_ref()?;
    let lag = match lagging.measure {
        LagMeasure::Age => "the age of events",
        LagMeasure::Lag => "the lag",
    };
    Some(format!(
        "broken by both: {lag} grows for good since {}, to {} in old and {} in new at the end of the schedule",
        since(&drift.onset),
        lagging.measure.show(drift.old_at_end),
        lagging.measure.show(drift.new_at_end)
    ))
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    const BUCKETS: usize = 120;

    fn unit(seed: u64, counter: u64) -> f64 {
        ((xxh3_64_with_seed(&counter.to_le_bytes(), seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Lag of a steady build: about fifty events, neighbours alike.
    fn steady(seed: u64) -> Vec<f64> {
        let mut swing = 0.0;
        let one = |at: usize| {
            swing = 0.8 * swing + 6.0 * (unit(seed, at as u64) - 0.5);
            (50.0_f64 + swing).max(0.0)
        };
        (0..BUCKETS).map(one).collect()
    }

    /// Lag of a build that just keeps up: a queue that may stand at any length.
    fn critical(seed: u64) -> Vec<f64> {
        let mut queue = 50.0_f64;
        let one = |at: usize| {
            queue = (queue + 20.0 * (unit(seed, at as u64) - 0.5)).max(0.0);
            queue
        };
        (0..BUCKETS).map(one).collect()
    }

    fn slows(track: Vec<f64>, from: usize, by: f64) -> Vec<f64> {
        let more = |at: usize| if at < from { 0.0 } else { (at - from) as f64 * by };
        track.into_iter().enumerate().map(|(at, lag)| lag + more(at)).collect()
    }

    fn look_at(deliveries: &[u64], olds: &[Vec<f64>], new: &[f64]) -> Option<Lagging> {
        let of = |track: &[f64]| DriveSeries {
            deliveries: deliveries.to_vec(),
            lag: track.iter().map(|lag| Some(*lag as u64)).collect(),
            ..DriveSeries::default()
        };
        let names = ["old", "old_again", "old_again_2", "old_again_3"];
        let drives = names.into_iter().zip(olds).map(|(name, track)| (name.to_owned(), of(track)));
        let drives = drives.chain([("new".to_owned(), of(new))]).collect();
        let series = Series { bucket_us: 1_000_000, schedule_us: Some(new.len() as i64 * 1_000_000), drives };
        let mut first_due = |at_us| first_due(at_us, &[], None);
        lagging(&series, &mut first_due).unwrap()
    }

    fn look(olds: &[Vec<f64>], new: &[f64]) -> Lagging {
        look_at(&[100; BUCKETS], olds, new).unwrap()
    }

    #[test]
    fn a_build_that_slows_from_some_minute_on_is_found_with_its_onset() {
        for (seed, from) in (0..20).zip([0, 10, 30, 60, 80, 95, 100, 20, 40, 50].into_iter().cycle()) {
            let olds = [steady(3 * seed), steady(3 * seed + 1)];
            let found = look(&olds, &slows(steady(3 * seed + 2), from, 40.0));
            let drift = found.beyond_old.unwrap_or_else(|| panic!("{seed} from {from}: band {}", found.band));
            let onset = drift.onset.replay_us / 1_000_000;
            assert!((from as i64..=from as i64 + 2).contains(&onset), "{seed} from {from}: {drift:?}");
            assert!((35.0..45.0).contains(&drift.per_second), "{drift:?}");
            assert_eq!(
                (drift.standing, found.shared.is_none()),
                (Some(Standing::Proven), true),
                "{seed} from {from}: {drift:?}"
            );
        }
    }

    #[test]
    fn with_one_drive_of_old_a_drift_is_suspected() {
        let found = look(&[steady(1)], &slows(steady(2), 40, 40.0)).beyond_old.unwrap();
        assert_eq!((found.standing, found.p_value), (Some(Standing::Suspected), None));
    }

    #[test]
    fn what_does_not_go_on_growing_is_silent() {
        let olds = [steady(1), steady(2)];
        let offset: Vec<f64> = steady(3).iter().map(|lag| lag + 200.0).collect();
        let mut offset_later = steady(3);
        offset_later[70..].iter_mut().for_each(|lag| *lag += 200.0);
        let spike = |at: usize, length: usize, high: f64| {
            let mut track = steady(3);
            (0..length).for_each(|n| track[at + n] += high * (1.0 - n as f64 / length as f64));
            track
        };
        let mut stall = steady(3);
        (0..20).for_each(|n| stall[50 + n] += 100.0 * n as f64);
        (0..5).for_each(|n| stall[70 + n] += 2_000.0 - 400.0 * n as f64);
        let quarter_more: Vec<f64> = steady(3).iter().map(|lag| lag * 1.25).collect();
        for (what, new) in [
            ("old against itself", steady(3)),
            ("a constant offset", offset),
            ("an offset from some minute on", offset_later),
            ("a spike that recovers", spike(60, 15, 900.0)),
            ("a spike at the end", spike(104, 16, 900.0)),
            ("a stall that catches up", stall),
            ("a quarter more", quarter_more),
        ] {
            let found = look(&olds, &new);
            assert_eq!((found.beyond_old, found.shared), (None, None), "{what}");
        }
    }

    #[test]
    fn what_grows_in_both_builds_is_broken_by_both_and_not_by_new() {
        let grows = |seed| slows(steady(seed), 40, 40.0);
        let found = look(&[grows(1), grows(2)], &grows(3));
        let both = found.shared.unwrap();
        assert_eq!((found.beyond_old, both.standing), (None, None));
        assert!((40..=43).contains(&(both.onset.replay_us / 1_000_000)), "{both:?}");
        assert!(shared(&look(&[grows(1), grows(2)], &grows(3))).unwrap().contains("broken by both: the lag grows"));
        // Where new falls behind on top of that, it is new's as well.
        let found = look(&[grows(1), grows(2)], &slows(steady(3), 40, 400.0));
        assert!(
            found.beyond_old.is_some_and(|drift| drift.standing == Some(Standing::Proven)) && found.shared.is_some()
        );
    }

    #[test]
    fn a_load_that_grows_is_no_drift() {
        let deliveries: Vec<u64> = (0..BUCKETS as u64).map(|at| 100 + at * at).collect();
        let by_load = |seed, times: f64| -> Vec<f64> {
            let pairs = steady(seed).into_iter().zip(&deliveries);
            pairs.map(|(lag, load)| lag * times * *load as f64 / 100.0).collect()
        };
        let found = look_at(&deliveries, &[by_load(1, 1.0), by_load(2, 1.0)], &by_load(3, 1.3)).unwrap();
        assert_eq!((found.beyond_old, found.shared), (None, None));
    }

    #[test]
    fn drives_of_one_build_are_proven_to_drift_in_one_of_a_hundred_trials_at_most() {
        for (what, track) in [("steady", steady as fn(u64) -> Vec<f64>), ("just keeping up", critical)] {
            for olds in [2, 3] {
                let alarmed = |trial: &u64| {
                    let tracks: Vec<Vec<f64>> = (0..olds).map(|drive| track(10 * trial + drive)).collect();
                    look(&tracks, &track(10 * trial + 9))
                        .beyond_old
                        .is_some_and(|drift| drift.standing == Some(Standing::Proven))
                };
                let alarms = (0..400).filter(alarmed).count();
                assert!(alarms <= 4, "{alarms} of 400 trials {what} with {olds} drives of old");
            }
        }
    }

    #[test]
    fn a_schedule_too_short_or_unknown_tells_nothing() {
        assert_eq!(look_at(&[], &[vec![5.0; 19]], &[500.0; 19]), None);
        let mut gaps: Vec<Option<f64>> = vec![None, Some(3.0), None, Some(5.0), Some(5.0)];
        assert_eq!(filled(&gaps, 5), None);
        gaps.extend([Some(7.0); 5]);
        assert_eq!(filled(&gaps, 10), Some(vec![3.0, 3.0, 3.0, 5.0, 5.0, 7.0, 7.0, 7.0, 7.0, 7.0]));
    }
}
