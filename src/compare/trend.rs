//! Whether a series keeps growing, and how fast: Mann and Kendall's test, and the slope of Theil and Sen.
//!
//! Mann, Econometrica 13 (1945); Kendall, Biometrika 30 (1938); Sen, Journal of the American Statistical Association 63 (1968). Both look
//! at the order of pairs alone, so no single outlier decides.

/// Blocks into which a series is cut: neighbours are alike, so their medians are compared, not they.
pub(super) const BLOCKS: usize = 10;

/// Probability that a series without a trend rises in as many of its pairs; exact, of medians of [`BLOCKS`] blocks, or of the items where
/// there are fewer. Pairs that are equal count for neither side, which makes it larger than it need be.
pub(super) fn rises(series: &[f64]) -> f64 {
    let blocks = medians(series);
    let mut more_rise = 0_i64;
    for (at, one) in blocks.iter().enumerate() {
        for other in &blocks[at + 1..] {
            more_rise += match other.total_cmp(one) {
                std::cmp::Ordering::Greater => 1,
                std::cmp::Ordering::Less => -1,
                std::cmp::Ordering::Equal => 0,
            };
        }
    }
    at_least(more_rise, blocks.len())
}

/// Probability that of the pairs of `count` items in random order so many more rise than fall.
fn at_least(more_rise: i64, count: usize) -> f64 {
    // Orders by how many pairs fall: the n-th item stands ahead of nought to n of those before it, each as likely.
    let mut orders = vec![1.0_f64];
    for items in 1..count {
        let mut next = vec![0.0; orders.len() + items];
        for (falls, share) in orders.iter().enumerate() {
            for more in 0..=items {
                next[falls + more] += share / (items + 1) as f64;
            }
        }
        orders = next;
    }
    let pairs = (count * count.saturating_sub(1) / 2) as i64;
    let likely = orders.iter().enumerate().filter(|(falls, _)| pairs - 2 * *falls as i64 >= more_rise);
    likely.map(|(_, share)| share).sum::<f64>().min(1.0)
}

/// Medians of up to [`BLOCKS`] blocks of a series, in order.
pub(super) fn medians(series: &[f64]) -> Vec<f64> {
    let blocks = BLOCKS.min(series.len());
    (0..blocks)
        .map(|block| median(series[block * series.len() / blocks..(block + 1) * series.len() / blocks].to_vec()))
        .collect()
}

/// Median of all slopes between two items, by item; nought of less than two.
pub(super) fn slope(series: &[f64]) -> f64 {
    let pairs = series.iter().enumerate();
    let slopes = pairs.flat_map(|(at, one)| {
        series[at + 1..].iter().zip(1..).map(move |(other, apart)| (other - one) / f64::from(apart))
    });
    median(slopes.collect())
}

/// The middle of some figures, nought where there are none.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p_value_is_kendalls_exact_one() {
        // Tables of Kendall's S, such as Hollander and Wolfe's A.30.
        for (more_rise, count, expected) in [
            (6, 4, 0.0417),
            (4, 4, 0.167),
            (10, 5, 0.0083),
            (8, 5, 0.0417),
            (23, 10, 0.0233),
            (45, 10, 2.76e-7),
            (0, 3, 0.5),
        ] {
            let p_value = at_least(more_rise, count);
            assert!((p_value / expected - 1.0).abs() < 0.02, "{more_rise} of {count}: {p_value}");
        }
        assert!((at_least(-45, 10) - 1.0).abs() < 1e-12 && (at_least(0, 1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_rises_is_told_from_what_stays_whatever_stands_out() {
        let rising: Vec<f64> = (0..100).map(|at| f64::from(at) + f64::from(at * 37 % 11)).collect();
        assert!(rises(&rising) < 1e-5 && (slope(&rising) - 1.0).abs() < 0.05);
        let mut stands_out = rising.clone();
        stands_out[3] = 1e9;
        assert!(rises(&stands_out) < 1e-5 && (slope(&stands_out) - 1.0).abs() < 0.1);
        let flat: Vec<f64> = (0..100).map(|at| f64::from(at * 37 % 11)).collect();
        assert!(rises(&flat) > 0.05 && slope(&flat).abs() < 0.05);
        assert!(rises(&[5.0; 50]) > 0.49 && slope(&[5.0; 50]).abs() < 1e-12);
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert!(rises(&falling) > 0.99);
        assert_eq!((median(Vec::new()), median(vec![3.0, 1.0]), slope(&[7.0])), (0.0, 2.0, 0.0));
    }
}
