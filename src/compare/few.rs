//! How sure an increase of latency is where there are too few outputs, or too short a replay, to draw blocks of time: an exact test.
//!
//! Two outputs are delayed by one pause only if both waited at the same time, in any of the drives. So outputs whose waits overlap
//! are one unit, and units are independent. Under the hypothesis that new behaves like old the drives' latencies of a unit are
//! exchangeable, so the sum of their logarithms that falls to new has a known distribution: each unit adds that of one of the drives,
//! each equally likely (Fisher's permutation test, carried out in full). Ranks would be exact, too, but a latency of a hundred
//! times the other is more than one that is larger. Seven of ten at a hundred times prove a slow-down beside two drives of old:
//! (1/3)⁷ = 0.0005, whatever the other three do.
//!
//! The interval holds all shifts that the same test, with one unit's difference as likely as its opposite, does not refuse. What slows
//! a drive as a whole shows between drives only: Student's test between them must tell as well, as in `bootstrap`.

use super::bootstrap::{Estimate, Noise, beyond, beyond_which, deviation, mean, standard_error};
use super::latency::Quantile;
use super::units::sum_tail;

/// Outputs up to which the test is carried out; beyond, a replay in which no blocks can be drawn says nothing of time.
const OUTPUTS_MAX: usize = 128;

/// Units below which no test between three drives could prove anything.
const UNITS_MIN: usize = 5;

/// Steps of a logarithm, of half a percent.
const STEP: f64 = 1.005;

/// Beyond any ratio of latencies: what no shift is refused beyond.
const BEYOND: f64 = 20.0;

/// Latencies of outputs that all drives wrote, as long as they are few.
#[derive(Debug, Default)]
pub(super) struct Few {
    outputs: usize,
    /// Due time and latencies by drive, new the last; all in microseconds.
    held: Vec<(i64, Vec<i64>)>,
}

impl Few {
    /// Adds the latencies of one output, caused by a delivery that was due at `due_us`.
    pub(super) fn add(&mut self, due_us: i64, latencies_us: impl IntoIterator<Item = i64>) {
        self.outputs += 1;
        if self.outputs > OUTPUTS_MAX {
            self.held.clear();
        } else {
            // An arrival ahead of its inferred cause is kept as the shortest latency that can be told.
            self.held.push((due_us, latencies_us.into_iter().map(|us| us.max(1)).collect()));
        }
    }

    /// Estimates the increase at the median; none where there are too few units, or outputs enough for another test.
    pub(super) fn estimate(mut self) -> Option<(Quantile, Estimate)> {
        self.held.sort();
        let units = units(&self.held);
        let drives = self.held.first()?.1.len();
        if units.len() < UNITS_MIN || drives < 2 {
            return None;
        }
        let medians: Vec<f64> = (0..drives).map(|drive| log_median(&self.held, drive)).collect();
        Some((Quantile::P50, summarize(&medians, &units)))
    }
}

/// Sums the logarithms of the latencies of outputs whose waits overlap in any drive: by unit, then drive.
fn units(held: &[(i64, Vec<i64>)]) -> Vec<Vec<f64>> {
    let mut units: Vec<Vec<f64>> = Vec::new();
    let mut waits_to = i64::MIN;
    for (due_us, latencies) in held {
        let logs = latencies.iter().map(|us| libm::log(*us as f64));
        match units.last_mut().filter(|_| *due_us < waits_to) {
            Some(unit) => unit.iter_mut().zip(logs).for_each(|(sum, log)| *sum += log),
            None => units.push(logs.collect()),
        }
        let longest = latencies.iter().max().copied().unwrap_or_default();
        waits_to = waits_to.max(due_us.saturating_add(longest));
    }
    units
}

fn log_median(held: &[(i64, Vec<i64>)], drive: usize) -> f64 {
    let mut all: Vec<i64> = held.iter().map(|(_, latencies)| latencies[drive]).collect();
    all.sort_unstable();
    let (below, above) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    f64::midpoint(libm::log(below as f64), libm::log(above as f64))
}

/// Holds new, the last of `medians` and of each unit, against the drives of old.
fn summarize(medians: &[f64], units: &[Vec<f64>]) -> Estimate {
    let olds = medians.len() - 1;
    let log_ratio = medians[olds] - mean(&medians[..olds]);
    let apart: Vec<f64> = units.iter().map(|unit| unit[olds] - mean(&unit[..olds])).collect();
    let within = shifts(&apart);
    let p_within = p_exchanged(units);
    if olds < 2 {
        let interval = (within.0.min(log_ratio), within.1.max(log_ratio));
        return Estimate { log_ratio, interval, p_value: p_within, noise: None };
    }
    let again = |drive: usize| medians[drive] - medians[0];
    let furthest = (1..olds).max_by(|one, other| again(*one).abs().total_cmp(&again(*other).abs())).unwrap_or(1);
    let of_old = shifts(&units.iter().map(|unit| unit[furthest] - unit[0]).collect::<Vec<_>>());
    let deviation = deviation(&medians[..olds]);
    let noise = Noise {
        drives: olds,
        log_ratio: again(furthest),
        interval: (of_old.0.min(again(furthest)), of_old.1.max(again(furthest))),
        deviation,
    };
    let error = standard_error(deviation, olds);
    let half = error * beyond_which(0.025, olds - 1);
    Estimate {
        log_ratio,
        interval: (within.0.min(log_ratio - half), within.1.max(log_ratio + half)),
        p_value: p_within.max(beyond(log_ratio / error, olds - 1)),
        noise: Some(noise),
    }
}

/// How likely the last drive of each unit would have so much of the sum by chance.
fn p_exchanged(units: &[Vec<f64>]) -> f64 {
    let (mut seen, mut all) = (0, Vec::with_capacity(units.len()));
    for unit in units {
        let least = unit.iter().copied().fold(f64::INFINITY, f64::min);
        let steps: Vec<u64> = unit.iter().map(|log| steps(log - least)).collect();
        seen += steps.last().copied().unwrap_or_default();
        all.push(steps);
    }
    let drives = units.first().map_or(1, Vec::len) as u64;
    sum_tail(&all, drives, seen)
}

fn steps(log: f64) -> u64 {
    (log / libm::log(STEP)).round() as u64
}

/// All shifts of `apart` that chance does not refuse (95 %): the sum of what is above, where each is as likely on the other side.
fn shifts(apart: &[f64]) -> (f64, f64) {
    let p_above = |apart: &mut dyn Iterator<Item = f64>| {
        let (mut above, mut all) = (0, Vec::new());
        for one in apart {
            all.push(vec![steps(one.abs())]);
            above += if one > 0.0 { steps(one) } else { 0 };
        }
        sum_tail(&all, 2, above)
    };
    let refused_above = |shift: f64| p_above(&mut apart.iter().map(|one| one - shift)) <= 0.025;
    let refused_below = |shift: f64| p_above(&mut apart.iter().map(|one| shift - one)) <= 0.025;
    let least = border(-BEYOND, BEYOND, refused_above);
    (least, border(BEYOND, least, refused_below))
}

/// The border between shifts that are refused, such as `refused`, and those that are not; itself not, but for its last digits.
fn border(refused: f64, kept: f64, is_refused: impl Fn(f64) -> bool) -> f64 {
    let (mut refused, mut kept) = (refused, kept);
    if !is_refused(refused) {
        return refused;
    }
    // Each turn halves the range: the last is narrower than a thousandth.
    for _ in 0..16 {
        let middle = f64::midpoint(refused, kept);
        if is_refused(middle) {
            refused = middle;
        } else {
            kept = middle;
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten samples a minute apart, of which the machine makes each a little longer or shorter, and new some of them so often longer.
    fn samples(olds: usize, slow: &[usize], by: i64) -> Few {
        let mut few = Few::default();
        for number in 0..10_i64 {
            // A spread of a tenth, other in each drive.
            let of = |drive: i64| 2_000 + (number * 7 + drive * 3) % 5 * 50;
            let new = of(7) * if slow.contains(&(number as usize)) { by } else { 1 };
            few.add(number * 60_000_000, (0..olds as i64).map(of).chain([new]));
        }
        few
    }

    const SEVEN: [usize; 7] = [0, 2, 3, 5, 6, 8, 9];

    #[test]
    fn seven_of_ten_at_a_hundred_times_are_found() {
        for olds in [2, 3, 4] {
            let (quantile, found) = samples(olds, &SEVEN, 100).estimate().unwrap();
            assert_eq!(quantile, Quantile::P50);
            assert!(found.p_value <= 0.01 && found.interval.0 > 0.0, "{olds}: {found:?}");
            assert!((found.log_ratio - libm::log(100.0)).abs() < 0.2, "{found:?}");
            assert!(found.noise.unwrap().interval.1 < 0.2, "{found:?}");
        }
    }

    #[test]
    fn ten_samples_of_one_build_and_three_slow_ones_prove_nothing() {
        for slow in [&[][..], &[1, 4, 7]] {
            let found = samples(2, slow, 100).estimate().unwrap().1;
            assert!(found.p_value > 0.01, "{slow:?}: {found:?}");
        }
        // With one drive of old nothing tells what the machine does.
        let once = samples(1, &SEVEN, 100).estimate().unwrap().1;
        assert!(once.noise.is_none() && once.p_value <= 0.01, "{once:?}");
    }

    #[test]
    fn what_waits_at_the_same_time_is_one_unit() {
        let mut few = Few::default();
        for number in 0..10_i64 {
            let waits = if number < 7 { 10_000_000 - number * 1_000_000 } else { 2_000 };
            few.add(number * 1_000_000, [2_000, 2_100, waits]);
        }
        // One pause of ten seconds; the three behind it stand alone, so there are four units.
        few.held.sort();
        assert_eq!(units(&few.held).len(), 1, "the pause lasts until all ten are due");
        assert!(few.estimate().is_none());
    }

    #[test]
    fn the_exact_test_counts_what_is_more_extreme() {
        let units =
            |slow: usize| (0..10).map(|at| vec![0.0, 0.0, if at < slow { 4.6 } else { 0.0 }]).collect::<Vec<_>>();
        assert!((p_exchanged(&units(7)) - 3_f64.powi(-7)).abs() < 1e-12);
        assert!((p_exchanged(&units(1)) - 1.0 / 3.0).abs() < 1e-12);
        // Signs: one of 2⁷ has all seven above.
        let (least, most) = shifts(&[4.6, 4.6, 4.6, 4.6, 4.6, 4.6, 4.6, 0.0, 0.0, 0.0]);
        assert!(least > 0.0 && (4.6..4.7).contains(&most), "{least} {most}");
        let (least, most) = shifts(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]);
        assert!(least < 0.0 && most > 0.0, "{least} {most}");
    }

    #[test]
    fn many_outputs_are_left_to_blocks_of_time() {
        let mut few = Few::default();
        (0..129).for_each(|number| few.add(number * 1_000_000, [5, 6, 7]));
        assert!(few.held.is_empty() && few.estimate().is_none());
    }
}
