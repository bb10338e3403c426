//! Distributions of delays, drawn by inversion: one number between 0 and 1 gives one delay.
//!
//! Logarithms and exponentials come from `libm`, called directly: the standard library uses the platform's, which differ in
//! the last digit from machine to machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the delays of a `jitter` are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Evenly from `min` (default 0s) to `max` (default 100ms).
    Uniform,
    /// Around `mean` (default 50ms) with `deviation` (default 10ms), never below zero.
    Normal,
    /// Of `mean` (default 100ms): many short, few long.
    Exponential,
    /// From `min` (default 10ms) on with a heavy tail of `shape` (default 1.5), up to `max` (default 30s).
    Pareto,
    /// With the median `mean` (default 50ms) and sigma `shape` (default 1).
    Lognormal,
    /// The recording's own gaps between neighbours of a partition.
    Recorded,
}

/// A checked distribution, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Jitter {
    Uniform { min_us: i64, max_us: i64 },
    Normal { mean_us: i64, deviation_us: i64, max_us: i64 },
    Exponential { mean_us: i64, max_us: i64 },
    Pareto { min_us: i64, shape: f64, max_us: i64 },
    Lognormal { median_us: i64, sigma: f64, max_us: i64 },
    Recorded { max_us: i64 },
}

impl Jitter {
    /// Makes the distribution with its defaults.
    pub(super) fn of(distribution: Distribution) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { min_us: 0, max_us: 100_000 },
            Distribution::Normal => Self::Normal { mean_us: 50_000, deviation_us: 10_000, max_us: i64::MAX },
            Distribution::Exponential => Self::Exponential { mean_us: 100_000, max_us: i64::MAX },
            Distribution::Pareto => Self::Pareto { min_us: 10_000, shape: 1.5, max_us: 30_000_000 },
            Distribution::Lognormal => Self::Lognormal { median_us: 50_000, sigma: 1.0, max_us: i64::MAX },
            Distribution::Recorded => Self::Recorded { max_us: i64::MAX },
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform { .. } => "uniform",
            Self::Normal { .. } => "normal",
            Self::Exponential { .. } => "exponential",
            Self::Pareto { .. } => "pareto",
            Self::Lognormal { .. } => "lognormal",
            Self::Recorded { .. } => "recorded",
        }
    }

    /// Names what the distribution takes.
    pub(super) fn parameters(self) -> &'static str {
        match self {
            Self::Uniform { .. } => "`min`, `max`",
            Self::Normal { .. } => "`mean`, `deviation`, `max`",
            Self::Exponential { .. } => "`mean`, `max`",
            Self::Pareto { .. } => "`min`, `shape`, `max`",
            Self::Lognormal { .. } => "`mean`, `shape`, `max`",
            Self::Recorded { .. } => "`max`",
        }
    }

    pub(super) fn takes(self, parameter: &str) -> bool {
        self.parameters().contains(&format!("`{parameter}`"))
    }

    /// Replaces what is given; what the distribution does not take is not given.
    pub(super) fn set(
        &mut self,
        min: Option<i64>,
        mean: Option<i64>,
        deviation: Option<i64>,
        form: Option<f64>,
        max: Option<i64>,
    ) {
        match self {
            Self::Uniform { min_us, max_us } => {
                *min_us = min.unwrap_or(*min_us);
                *max_us = max.unwrap_or(*max_us);
            }
            Self::Normal { mean_us, deviation_us, max_us } => {
                *mean_us = mean.unwrap_or(*mean_us);
                *deviation_us = deviation.unwrap_or(*deviation_us);
                *max_us = max.unwrap_or(*max_us);
            }
            Self::Exponential { mean_us, max_us } => {
                *mean_us = mean.unwrap_or(*mean_us);
                *max_us = max.unwrap_or(*max_us);
            }
            Self::Pareto { min_us, shape, max_us } => {
                *min_us = min.unwrap_or(*min_us);
                *shape = form.unwrap_or(*shape);
                *max_us = max.unwrap_or(*max_us);
            }
            Self::Lognormal { median_us, sigma, max_us } => {
                *median_us = mean.unwrap_or(*median_us);
                *sigma = form.unwrap_or(*sigma);
                *max_us = max.unwrap_or(*max_us);
            }
            Self::Recorded { max_us } => *max_us = max.unwrap_or(*max_us),
        }
    }

    /// Returns the parameter at fault, what is wrong and what to write, if anything is.
    pub(super) fn check(self) -> Result<(), (&'static str, String, &'static str)> {
        match self {
            Self::Uniform { min_us, max_us } | Self::Pareto { min_us, max_us, .. } if min_us > max_us => {
                Err(("max", "the largest delay is below the smallest".to_owned(), "Write `max` above `min`."))
            }
            Self::Pareto { min_us: 0, .. } => {
                Err(("min", "a pareto distribution begins above zero".to_owned(), "Write `10ms`, say."))
            }
            _ => Ok(()),
        }
    }

    /// Turns `unit`, from 0 up to not including 1, into a delay in microseconds. `gaps_us`: quantiles of the recording's own.
    pub(super) fn delay_us(self, unit: f64, gaps_us: &[i64]) -> i64 {
        let (us, max_us) = match self {
            Self::Uniform { min_us, max_us } => (min_us as f64 + unit * (max_us - min_us) as f64, max_us),
            Self::Normal { mean_us, deviation_us, max_us } => {
                (mean_us as f64 + deviation_us as f64 * normal_quantile(unit), max_us)
            }
            Self::Exponential { mean_us, max_us } => (-(mean_us as f64) * libm::log1p(-unit), max_us),
            Self::Pareto { min_us, shape, max_us } => (min_us as f64 * libm::pow(1.0 - unit, -1.0 / shape), max_us),
            Self::Lognormal { median_us, sigma, max_us } => {
                (median_us as f64 * libm::exp(sigma * normal_quantile(unit)), max_us)
            }
            Self::Recorded { max_us } => {
                (gaps_us.get((unit * gaps_us.len() as f64) as usize).map_or(0.0, |gap| *gap as f64), max_us)
            }
        };
        (us as i64).clamp(0, max_us)
    }
}

/// Returns the value below which a standard normal variable lies with probability `unit`.
///
/// Wichura's algorithm AS 241, PPND16 (Applied Statistics 37, 1988): relative error about 1e-16.
fn normal_quantile(unit: f64) -> f64 {
    // Half a step of the draw's grid keeps zero away from minus infinity.
    let unit = unit.max(0.5 / 9_007_199_254_740_992.0);
    let q = unit - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let tail = if q < 0.0 { unit } else { 1.0 - unit };
    let r = libm::sqrt(-libm::log(tail));
    let value = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { ratio(r - 5.0, &FAR) };
    if q < 0.0 { -value } else { value }
}

/// Evaluates the quotient of two polynomials of degree 7, highest coefficient last.
fn ratio(r: f64, coefficients: &[[f64; 8]; 2]) -> f64 {
    let [above, below] = coefficients.map(|row| row.iter().rev().fold(0.0, |sum, coefficient| sum * r + coefficient));
    above / below
}

const CENTRE: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_545e3,
    ],
];

const MIDDLE: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

const FAR: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(jitter: Jitter) -> Vec<i64> {
        let draws = 20_000;
        let mut delays: Vec<i64> =
            (0..draws).map(|step| jitter.delay_us((f64::from(step) + 0.5) / f64::from(draws), &[1, 2, 3, 4])).collect();
        delays.sort_unstable();
        delays
    }

    #[test]
    fn the_normal_quantile_is_that_of_the_tables() {
        for (unit, z) in [
            (0.5, 0.0),
            (0.841_344_746_068_542_9, 1.0),
            (0.975, 1.959_963_984_540_054),
            (1e-10, -6.361_340_902_404_056),
        ] {
            assert!((normal_quantile(unit) - z).abs() < 1e-12, "{unit}: {}", normal_quantile(unit));
        }
        assert!(normal_quantile(0.0).is_finite());
    }

    #[test]
    fn each_distribution_has_its_own_middle_and_bounds() {
        for (distribution, median, least, most) in [
            (Distribution::Uniform, 50_000, 0, 100_000),
            (Distribution::Normal, 50_000, 0, 100_000),
            (Distribution::Exponential, 69_314, 0, 2_000_000),
            (Distribution::Pareto, 15_874, 10_000, 30_000_000),
            (Distribution::Lognormal, 50_000, 0, 5_000_000),
            (Distribution::Recorded, 3, 1, 4),
        ] {
            let delays = sorted(Jitter::of(distribution));
            let middle = delays[delays.len() / 2];
            assert!((middle - median).abs() <= median / 100 + 1, "{distribution:?}: {middle}");
            assert!(delays[0] >= least && delays[delays.len() - 1] <= most, "{distribution:?}: {delays:?}");
        }
    }

    #[test]
    fn a_recording_without_gaps_delays_nothing() {
        assert_eq!(Jitter::of(Distribution::Recorded).delay_us(0.9, &[]), 0);
    }
}
