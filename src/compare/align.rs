//! Which of the equal outputs of two drives stand in the same order, and which moved.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Tokens of a side up to which an alignment is exact even where tokens repeat.
pub(super) const EXACT_MAX: usize = 2_000;

/// Pairs of equal tokens, as places in both sides, each place at most once. All equal tokens that can be paired are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Aligned {
    /// Pairs in the same order on both sides.
    pub(super) kept: Vec<(usize, usize)>,
    /// Pairs that stand elsewhere.
    pub(super) moved: Vec<(usize, usize)>,
}

/// Pairs equal tokens so that as few as possible moved: exactly for up to 2,000 tokens a side. In longer sides the n-th of
/// equal tokens is paired with the n-th, and among those pairs as few as possible moved.
pub(super) fn align(old: &[u64], new: &[u64]) -> Aligned {
    if old == new {
        return Aligned { kept: (0..old.len()).map(|at| (at, at)).collect(), moved: Vec::new() };
    }
    if old.len().max(new.len()) > EXACT_MAX { align_long(old, new) } else { align_exactly(old, new) }
}

/// Pairs equal tokens, the n-th with the n-th, whatever their order.
pub(super) fn pair(old: &[u64], new: &[u64]) -> Vec<(usize, usize)> {
    let sorted = |tokens: &[u64]| {
        let mut places: Vec<usize> = (0..tokens.len()).collect();
        places.sort_by_key(|place| tokens[*place]);
        places
    };
    let (old_places, new_places) = (sorted(old), sorted(new));
    let (mut at, mut to) = (0, 0);
    let mut pairs = Vec::new();
    while at < old_places.len() && to < new_places.len() {
        match old[old_places[at]].cmp(&new[new_places[to]]) {
            std::cmp::Ordering::Less => at += 1,
            std::cmp::Ordering::Greater => to += 1,
            std::cmp::Ordering::Equal => {
                pairs.push((old_places[at], new_places[to]));
                at += 1;
                to += 1;
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

fn align_exactly(old: &[u64], new: &[u64]) -> Aligned {
    let mut kept = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, old, new) {
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            kept.extend((0..len).map(|at| (old_index + at, new_index + at)));
        }
    }
    let left = |total: usize, used: Vec<usize>| -> Vec<usize> {
        let mut free = vec![true; total];
        for place in used {
            free[place] = false;
        }
        (0..total).filter(|place| free[*place]).collect()
    };
    let old_left = left(old.len(), kept.iter().map(|(place, _)| *place).collect());
    let new_left = left(new.len(), kept.iter().map(|(_, place)| *place).collect());
    let tokens = |places: &[usize], side: &[u64]| places.iter().map(|place| side[*place]).collect::<Vec<_>>();
    let moved = pair(&tokens(&old_left, old), &tokens(&new_left, new));
    Aligned { kept, moved: moved.into_iter().map(|(at, to)| (old_left[at], new_left[to])).collect() }
}

fn align_long(old: &[u64], new: &[u64]) -> Aligned {
    part(pair(old, new))
}

/// Parts pairs, in order of the old side, so that as few as possible moved.
pub(super) fn part(pairs: Vec<(usize, usize)>) -> Aligned {
    let mut stays = vec![false; pairs.len()];
    let places: Vec<usize> = pairs.iter().map(|(_, new)| *new).collect();
    for at in longest_rise(&places) {
        stays[at] = true;
    }
    let mut aligned = Aligned::default();
    for (pair, stays) in pairs.into_iter().zip(stays) {
        if stays { aligned.kept.push(pair) } else { aligned.moved.push(pair) }
    }
    aligned
}

/// Places of a longest rising subsequence of distinct numbers (patience sorting, O(n log n)).
pub(super) fn longest_rise<T: Ord>(numbers: &[T]) -> Vec<usize> {
    let mut tops: Vec<usize> = Vec::new();
    let mut before: Vec<usize> = vec![usize::MAX; numbers.len()];
    for (at, number) in numbers.iter().enumerate() {
        let pile = tops.partition_point(|top| numbers[*top] < *number);
        if pile > 0 {
            before[at] = tops[pile - 1];
        }
        if pile == tops.len() { tops.push(at) } else { tops[pile] = at }
    }
    let mut rise = Vec::with_capacity(tops.len());
    let mut at = tops.last().copied().unwrap_or(usize::MAX);
    while at != usize::MAX {
        rise.push(at);
        at = before[at];
    }
    rise.reverse();
    rise
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moved(old: &[u64], new: &[u64]) -> usize {
        align(old, new).moved.len()
    }

    #[test]
    fn as_few_tokens_as_possible_moved() {
        for (old, new, expected) in [
            (vec![1, 2, 3], vec![1, 2, 3], 0),
            (vec![1, 2, 3], vec![3, 1, 2], 1),
            (vec![1, 2, 3, 4], vec![4, 3, 2, 1], 3),
            (vec![1, 2], vec![2, 1], 1),
            (vec![9, 1, 2, 9], vec![1, 2, 9], 0),
            (vec![1, 1, 2], vec![1, 2, 1], 1),
        ] {
            assert_eq!(moved(&old, &new), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn long_sides_are_aligned_as_well() {
        let old: Vec<u64> = (0..5_000).collect();
        let mut new = old.clone();
        new.swap(7, 4_000);
        let late = new.remove(100);
        new.insert(3_000, late);
        assert_eq!(moved(&old, &new), 3);
    }

    proptest! {
        #[test]
        fn every_token_that_can_be_paired_is_paired_once(
            old in prop::collection::vec(0_u64..6, 0..12),
            new in prop::collection::vec(0_u64..6, 0..12),
        ) {
            for aligned in [align(&old, &new), align_long(&old, &new)] {
                let mut pairs = aligned.kept.clone();
                pairs.extend(&aligned.moved);
                let common: usize = (0..6)
                    .map(|token| {
                        let count = |side: &[u64]| side.iter().filter(|other| **other == token).count();
                        count(&old).min(count(&new))
                    })
                    .sum();
                prop_assert_eq!(pairs.len(), common);
                prop_assert!(pairs.iter().all(|(at, to)| old[*at] == new[*to]));
                prop_assert!(aligned.kept.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1));
                for side in [pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), pairs.iter().map(|pair| pair.1).collect()] {
                    let mut distinct = side.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    prop_assert_eq!(distinct.len(), side.len());
                }
            }
        }
    }
}
