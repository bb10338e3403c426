//! What a drive comes to as a whole: its throughput, the processor time and the memory of its processes; whether new is worse.
//!
//! A drive has one such figure, so drives are the units: new against the mean of the drives of old by Student's prediction of one more
//! drive, of logarithms, with one degree of freedom less than there are drives of old. Worse counts only where the interval lies beyond
//! zero, the minimum effect is passed, and new is further off than any two drives of old are from each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap::{beyond, beyond_which, deviation, drives_to_tell, mean, standard_error};
use super::latency::ALPHA;
use super::sentences::{count, time};
use super::series::Series;
use super::{CompareError, Standing};
use crate::outcome::{Ending, Outcome};

/// Smallest change for the worse that matters where no gate says otherwise.
const MINIMUM_EFFECT: f64 = 0.10;

/// What is measured of a drive as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Outputs a second, from the schedule's start to the last of them; lower is worse.
    Throughput,
    /// Processor time of all processes, in microseconds, warm-up included; higher is worse.
    Cpu,
    /// Most memory that the processes held, in bytes, likewise.
    Memory,
}

/// Kinds of difference in time, spelled as in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingKind {
    /// Outputs come later.
    Latency,
    /// Fewer outputs a second.
    Throughput,
    /// More processor time or memory.
    Resources,
    /// The lag keeps growing.
    Lagging,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Throughput, Self::Cpu, Self::Memory];

    /// Returns the kind of difference that it shows.
    pub const fn kind(self) -> TimingKind {
        match self {
            Self::Throughput => TimingKind::Throughput,
            Self::Cpu | Self::Memory => TimingKind::Resources,
        }
    }

    /// Returns what people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Cpu => "processor time",
            Self::Memory => "memory",
        }
    }

    /// Writes a figure with its unit.
    pub(super) fn show(self, figure: f64) -> String {
        match self {
            Self::Throughput => format!("{} outputs/s", rounded(figure)),
            Self::Cpu => time(figure as i64),
            Self::Memory => format!("{} MB", rounded(figure / 1e6)),
        }
    }

    /// Whether more of it is better.
    const fn is_better_higher(self) -> bool {
        matches!(self, Self::Throughput)
    }

    /// By how much a figure may be off because of how it is taken: the system counts processor time in hundredths of a second, for user
    /// and kernel apart, and memory in batches of pages a processor; the last output is noted within some milliseconds.
    fn resolution(self, figure: f64, seconds: f64) -> f64 {
        match self {
            Self::Throughput => 0.010 / seconds.max(0.010),
            Self::Cpu => 20_000.0 / figure.max(20_000.0),
            Self::Memory => 524_288.0 / figure.max(524_288.0),
        }
    }
}

/// Three digits that count, or all of a whole number.
fn rounded(figure: f64) -> String {
    match figure {
        _ if figure >= 100.0 => count(figure.round() as u64),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// One measure of all drives, and what is known of new's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What it is; says the unit.
    pub measure: Measure,
    /// Kind of difference that it shows.
    pub kind: TimingKind,
    /// Its figure by drive (`old`, `old_again`, `new`, …), of those that finished.
    pub drives: BTreeMap<String, f64>,
    /// New over the geometric mean of the drives of old, less one.
    pub change: f64,
    /// 95 % interval of `change`, from what drives of old differ by; none where it was driven once.
    pub interval: Option<(f64, f64)>,
    /// Most by which a drive of old lies above another one, less one; none where it was driven once.
    pub noise: Option<f64>,
    /// Standard deviation of the logarithm from one drive of old to the next, and of how it is taken; likewise.
    pub deviation: Option<f64>,
    /// One-sided p-value that new is no worse; likewise.
    pub p_value: Option<f64>,
    /// Benjamini-Hochberg adjusted p-value over the run's family; none until the family is known.
    pub q_value: Option<f64>,
    /// `proven` or `suspected` where new is worse by the minimum effect of 10 % and more, `noise` where drives of old differ by as much;
    /// none where it is not worse by that much.
    pub standing: Option<Standing>,
}

impl Measured {
    /// By what share new is worse than old, as its gate counts it: the decrease of throughput, the increase of anything else; below zero
    /// where it is better.
    pub fn worse_by(&self) -> f64 {
        if self.measure.is_better_higher() { -self.change } else { self.change }
    }

    /// Interval of [`Self::worse_by`].
    pub fn worse_between(&self) -> Option<(f64, f64)> {
        let turned =
            |(low, high): (f64, f64)| if self.measure.is_better_higher() { (-high, -low) } else { (low, high) };
        self.interval.map(turned)
    }

    /// Whether chance is ruled out: the interval lies beyond zero, new is further off than drives of old are from each other, and its
    /// adjusted p-value is at most 0.01; until the run's family is known, its own.
    pub fn is_proven(&self) -> bool {
        let beyond_zero = self.worse_between().is_some_and(|(low, _)| low > 0.0);
        let rare = self.q_value.or(self.p_value).is_some_and(|p| p <= ALPHA);
        beyond_zero && rare && self.is_beyond_noise()
    }

    /// Whether new is further from old than any two drives of old are from each other.
    fn is_beyond_noise(&self) -> bool {
        self.noise.is_some_and(|noise| libm::fabs(libm::log1p(self.change)) > libm::log1p(noise))
    }

    /// Returns how many drives of old would have proven it if they went on differing as they do; none where a dozen would not.
    pub fn drives_to_tell(&self) -> Option<usize> {
        let (p_value, deviation) = (self.p_value?, self.deviation?);
        let share = self.q_value.map_or(1.0, |q_value| (q_value / p_value).max(1.0));
        drives_to_tell(libm::fabs(libm::log1p(self.change)), deviation, ALPHA / share)
    }

    /// Takes the adjusted p-value of the run's family of tests and decides anew what is known.
    pub(super) fn settle(&mut self, q_value: Option<f64>) {
        self.q_value = q_value;
        self.standing = (self.worse_by() >= MINIMUM_EFFECT).then(|| match self.noise {
            Some(_) if !self.is_beyond_noise() => Standing::Noise,
            Some(_) if self.is_proven() => Standing::Proven,
            _ => Standing::Suspected,
        });
    }
}

/// Measures `drives`, which all were paced; a measure that is not known of new and of the first drive of old is left out.
pub(super) fn measures(drives: &[(String, &Outcome)], series: &Series) -> Result<Vec<Measured>, CompareError> {
    let mut by_drive: BTreeMap<Measure, BTreeMap<String, f64>> = BTreeMap::new();
    let mut seconds = f64::INFINITY;
    for (name, outcome) in drives.iter().filter(|(_, outcome)| is_whole(outcome)) {
        let mut note = |measure, figure: f64| {
            if figure > 0.0 {
                by_drive.entry(measure).or_default().insert(name.clone(), figure);
            }
        };
        let (mut outputs, mut last_us) = (0_u64, 0);
        outcome.each_arrival(|at_us| (outputs, last_us) = (outputs + 1, last_us.max(at_us)))?;
        if last_us > 0 {
            seconds = seconds.min(last_us as f64 / 1e6);
            note(Measure::Throughput, outputs as f64 * 1e6 / last_us as f64);
        }
        let (mut cpu, mut memory) = (0.0_f64, 0.0_f64);
        outcome.each_gauge(|_, gauge, value| match gauge {
            "cpu-us" => cpu = cpu.max(value),
            "memory-peak-bytes" => memory = memory.max(value),
            _ => {}
        })?;
        note(Measure::Cpu, cpu);
        note(Measure::Memory, memory);
    }
    // A replay that hands over next to nothing says nothing of a rate.
    let is_long = series.schedule_us.is_none_or(|schedule_us| schedule_us >= series.bucket_us);
    let all = by_drive.into_iter().filter(|(measure, _)| is_long || *measure != Measure::Throughput);
    Ok(all.filter_map(|(measure, drives)| measured(measure, drives, seconds)).collect())
}

/// Whether a drive got through all it was handed: what one that broke off came to is no figure of the same work.
fn is_whole(outcome: &Outcome) -> bool {
    outcome.ending().ending == Ending::Finished && outcome.ending().lateness.is_some()
}

/// Holds new against the drives of old.
fn measured(measure: Measure, drives: BTreeMap<String, f64>, seconds: f64) -> Option<Measured> {
    let new = libm::log(*drives.get("new")?);
    drives.get("old")?;
    let olds: Vec<f64> = drives
        .iter()
        .filter(|(name, _)| *name == "old" || name.starts_with("old_again"))
        .map(|(_, figure)| libm::log(*figure))
        .collect();
    let middle = mean(&olds);
    let ratio = new - middle;
    let mut found = Measured {
        measure,
        kind: measure.kind(),
        drives,
        change: libm::expm1(ratio),
        interval: None,
        noise: None,
        deviation: None,
        p_value: None,
        q_value: None,
        standing: None,
    };
    if olds.len() > 1 {
        let (least, most) =
            olds.iter().fold((f64::MAX, f64::MIN), |(least, most), old| (least.min(*old), most.max(*old)));
        // Two drives that happen to agree to the last tick say less than they seem to.
        let taken = measure.resolution(libm::exp(middle), seconds);
        let deviation = libm::hypot(deviation(&olds), taken);
        let (error, freedom) = (standard_error(deviation, olds.len()), olds.len() - 1);
        let half = error * beyond_which(0.025, freedom);
        let worse = if measure.is_better_higher() { -ratio } else { ratio };
        found.interval = Some((libm::expm1(ratio - half), libm::expm1(ratio + half)));
        found.noise = Some(libm::expm1(most - least));
        found.deviation = Some(deviation);
        found.p_value = Some(beyond(worse / error, freedom));
    }
    found.settle(None);
    Some(found)
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    fn of(measure: Measure, olds: &[f64], new: f64) -> Measured {
        let name = |at: usize| match at {
            0 => "old".to_owned(),
            1 => "old_again".to_owned(),
            at => format!("old_again_{at}"),
        };
        let olds = olds.iter().enumerate().map(|(at, figure)| (name(at), *figure));
        measured(measure, olds.chain([("new".to_owned(), new)]).collect(), 60.0).unwrap()
    }

    #[test]
    fn worse_is_less_throughput_and_more_of_anything_else() {
        let steady = [1_000.0, 1_004.0, 998.0, 1_001.0];
        let cpu: Vec<f64> = steady.iter().map(|figure| figure * 1e5).collect();
        let memory: Vec<f64> = steady.iter().map(|figure| figure * 1e6).collect();
        for (measure, olds, new, expected) in [
            (Measure::Throughput, &steady[..], 800.0, Some(Standing::Proven)),
            (Measure::Throughput, &steady, 1_300.0, None),
            (Measure::Throughput, &steady, 950.0, None),
            (Measure::Cpu, &cpu, 1.3e8, Some(Standing::Proven)),
            (Measure::Cpu, &cpu, 0.7e8, None),
            (Measure::Memory, &memory, 1.3e9, Some(Standing::Proven)),
            (Measure::Memory, &memory, 1.05e9, None),
        ] {
            let found = of(measure, olds, new);
            assert_eq!(found.standing, expected, "{found:?}");
        }
        let slower = of(Measure::Throughput, &steady, 800.0);
        let (low, high) = slower.worse_between().unwrap();
        assert!(low < 0.2 && 0.2 < high && (slower.worse_by() - 0.2).abs() < 0.01, "{slower:?}");
    }

    #[test]
    fn what_old_differs_from_itself_by_is_noise_and_one_drive_of_old_proves_nothing() {
        let unsteady = of(Measure::Cpu, &[1.0e8, 1.6e8], 1.7e8);
        assert_eq!(
            (unsteady.standing, unsteady.noise.map(|noise| (noise * 10.0).round())),
            (Some(Standing::Noise), Some(6.0))
        );
        let beyond = of(Measure::Cpu, &[1.0e8, 1.1e8], 1.5e8);
        assert_eq!(beyond.standing, Some(Standing::Suspected), "{beyond:?}");
        assert!(beyond.drives_to_tell().is_some_and(|drives| (3..=6).contains(&drives)), "{beyond:?}");
        let once = of(Measure::Cpu, &[1.0e8], 3.0e8);
        assert_eq!((once.standing, once.p_value, once.interval), (Some(Standing::Suspected), None, None));
    }

    #[test]
    fn drives_that_agree_to_the_tick_prove_no_more_than_ticks_can() {
        // Three hundredths of a second, twice; new used four.
        let ticks = of(Measure::Cpu, &[30_000.0, 30_000.0], 40_000.0);
        assert_eq!(ticks.standing, Some(Standing::Suspected), "{ticks:?}");
        let far = of(Measure::Cpu, &[3e7, 3e7, 3e7], 4e7);
        assert_eq!(far.standing, Some(Standing::Proven), "{far:?}");
    }

    #[test]
    fn a_measure_that_old_or_new_lacks_is_left_out() {
        for drives in [[("old", 1.0), ("old_again", 1.0)], [("old_again", 1.0), ("new", 1.0)]] {
            let drives = drives.map(|(drive, figure)| (drive.to_owned(), figure)).into();
            assert_eq!(measured(Measure::Memory, drives, 1.0), None);
        }
    }

    #[test]
    fn drives_of_one_build_are_proven_worse_in_a_hundredth_of_trials() {
        let unit = |seed: u64, counter: u64| {
            ((xxh3_64_with_seed(&counter.to_le_bytes(), seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        // Log-normal by a fifth: an unsteady machine.
        let figure = |seed: u64, drive: u64| {
            let radius = (-2.0 * unit(seed, 2 * drive).ln()).sqrt();
            1e8 * (0.2 * radius * (std::f64::consts::TAU * unit(seed, 2 * drive + 1)).cos()).exp()
        };
        for olds in [2, 3, 5] {
            let alarmed = |seed: &u64| {
                let olds: Vec<f64> = (0..olds).map(|drive| figure(*seed, drive)).collect();
                of(Measure::Cpu, &olds, figure(*seed, 99)).standing == Some(Standing::Proven)
            };
            // A hundredth by the test's own law; a tenth of that is left to the draws.
            let alarms = (0..20_000).filter(alarmed).count();
            assert!(alarms <= 220, "{alarms} of 20,000 with {olds} drives of old");
        }
    }
}
