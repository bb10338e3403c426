//! How old events are when their outputs arrive, bucket by bucket of the time at which they were due.

use super::series::Grid;

/// Width of a bin: each is this much higher than the one below.
const STEP: f64 = 1.05;

/// Bins from one microsecond to twelve days, the rest being kept in the last.
const BINS: usize = 570;

/// Ages in one drive: quantiles to a twentieth, the largest exactly. Its size is fixed, at most 280 kB.
#[derive(Debug, Clone)]
pub(super) struct Ages {
    grid: Grid,
    counts: Vec<u32>,
    largest: Vec<Option<i64>>,
}

impl Ages {
    pub(super) fn new(grid: Grid) -> Self {
        Self { grid, counts: vec![0; grid.buckets * BINS], largest: vec![None; grid.buckets] }
    }

    /// Counts an output of an event that was due at `due_us` and `age_us` old when it arrived; one that came ahead of its time, from a
    /// cause that is only inferred, had no age.
    pub(super) fn add(&mut self, due_us: i64, age_us: i64) {
        let (bucket, age_us) = (self.grid.bucket(due_us), age_us.max(0));
        let bin = libm::log(age_us.max(1) as f64) / libm::log(STEP);
        let cell = &mut self.counts[bucket * BINS + (bin as usize).min(BINS - 1)];
        *cell = cell.saturating_add(1);
        self.largest[bucket] = self.largest[bucket].max(Some(age_us));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.largest.iter().all(Option::is_none)
    }

    /// Median age in each bucket, in microseconds; none where no event was due.
    pub(super) fn medians(&self) -> Vec<Option<i64>> {
        let medians = self.counts.chunks(BINS).zip(&self.largest);
        medians.map(|(counts, largest)| largest.map(|largest| median(counts).min(largest))).collect()
    }

    /// Largest age in each bucket, likewise.
    pub(super) fn largest(&self) -> Vec<Option<i64>> {
        self.largest.clone()
    }
}

/// The median of counts by bin, evenly spread within its bin.
fn median(counts: &[u32]) -> i64 {
    let wanted = counts.iter().map(|count| f64::from(*count)).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let within = f64::from(*count);
        if below + within >= wanted {
            let place = bin as f64 + (wanted - below) / within;
            return libm::exp(place * libm::log(STEP)).round() as i64;
        }
        below += within;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_told_to_a_twentieth_and_the_largest_exactly() {
        let mut ages = Ages::new(Grid { bucket_us: 100, buckets: 3 });
        (1..=10_001).for_each(|age_us| ages.add(50, age_us * 10));
        ages.add(150, -7);
        let medians = ages.medians();
        assert!(medians[0].is_some_and(|median| (median - 50_010).abs() < 2_500), "{medians:?}");
        assert_eq!(medians[1..], [Some(0), None]);
        assert_eq!(ages.largest(), [Some(100_010), Some(0), None]);
        assert!(!ages.is_empty() && Ages::new(Grid { bucket_us: 100, buckets: 3 }).is_empty());
    }

    #[test]
    fn what_is_older_than_can_be_told_is_kept() {
        let mut ages = Ages::new(Grid { bucket_us: 100, buckets: 1 });
        ages.add(0, i64::MAX);
        assert!(ages.medians()[0].is_some_and(|median| median > 1 << 39));
    }
}
