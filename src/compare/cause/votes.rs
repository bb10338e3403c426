//! How often each explanation holds: tables of bounded size that come out the same in whatever order differences are looked at.

use std::collections::{BTreeMap, BTreeSet};

/// Explanations of one kind that are told apart; a kind that has more explains nothing. Those of the first kind are so many at
/// most by themselves.
const TOLD_APART_MAX: usize = 64;

/// Values that are told apart, enough to say that there are several.
const DISTINCT_MAX: usize = 32;

/// Explanations, each of one kind: kinds that take any number of values are bounded one by one.
pub(super) trait Explains: Ord + Clone {
    /// Number of the kind; zero for all those that there are few of, whatever the values.
    fn kind(&self) -> u8;
}

/// Explanations with the differences they hold for.
#[derive(Debug, Clone)]
pub(super) struct Votes<H> {
    counts: BTreeMap<H, u64>,
    /// By kind, how many explanations there are; none where the kind was given up.
    kinds: BTreeMap<u8, Option<usize>>,
}

impl<H> Default for Votes<H> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), kinds: BTreeMap::new() }
    }
}

impl<H: Explains> Votes<H> {
    /// Counts the explanations that hold for one difference, each once.
    pub(super) fn cast(&mut self, holding: Vec<H>) {
        holding.into_iter().collect::<BTreeSet<_>>().into_iter().for_each(|hypothesis| self.count(hypothesis, 1));
    }

    fn count(&mut self, hypothesis: H, times: u64) {
        let kind = hypothesis.kind();
        let told_apart = self.kinds.entry(kind).or_insert(Some(0));
        let Some(known) = told_apart else { return };
        if let Some(count) = self.counts.get_mut(&hypothesis) {
            *count += times;
        } else if kind == 0 || *known < TOLD_APART_MAX {
            *known += 1;
            self.counts.insert(hypothesis, times);
        } else {
            self.give_up(kind);
        }
    }

    fn give_up(&mut self, kind: u8) {
        self.kinds.insert(kind, None);
        self.counts.retain(|other, _| other.kind() != kind);
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        other.kinds.iter().filter(|(_, known)| known.is_none()).for_each(|(kind, _)| self.give_up(*kind));
        for (hypothesis, count) in &other.counts {
            self.count(hypothesis.clone(), *count);
        }
    }

    /// Explanations in order, with the differences they hold for.
    pub(super) fn all(&self) -> impl Iterator<Item = (&H, u64)> {
        self.counts.iter().map(|(hypothesis, count)| (hypothesis, *count))
    }

    /// How many differences an explanation holds for.
    pub(super) fn of(&self, hypothesis: &H) -> u64 {
        self.counts.get(hypothesis).copied().unwrap_or_default()
    }
}

/// How many values there are, up to a bound.
#[derive(Debug, Clone, Default)]
pub(super) struct Distinct(BTreeSet<u64>);

impl Distinct {
    /// Notes a value by its hash. The smallest hashes stay, so that order does not matter.
    pub(super) fn note(&mut self, hash: u64) {
        if self.0.len() < DISTINCT_MAX {
            self.0.insert(hash);
        } else if self.0.last().is_some_and(|last| hash < *last) && self.0.insert(hash) {
            self.0.pop_last();
        }
    }

    /// Adds what was noted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|hash| self.note(*hash));
    }

    /// Values seen; at least as many where it is the bound.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Way {
        Free(u64),
        Fixed,
    }

    impl Explains for Way {
        fn kind(&self) -> u8 {
            u8::from(*self != Self::Fixed)
        }
    }

    #[test]
    fn too_many_explanations_of_a_kind_are_none_in_whatever_order_they_come() {
        let mut votes = Votes::default();
        (0..TOLD_APART_MAX as u64).for_each(|number| votes.cast(vec![Way::Free(number), Way::Fixed, Way::Fixed]));
        assert_eq!((votes.of(&Way::Free(3)), votes.of(&Way::Fixed)), (1, TOLD_APART_MAX as u64));
        let mut more = Votes::default();
        more.cast(vec![Way::Free(u64::MAX)]);
        more.add(&votes);
        votes.cast(vec![Way::Free(u64::MAX)]);
        for votes in [votes, more] {
            assert_eq!(votes.all().collect::<Vec<_>>(), [(&Way::Fixed, TOLD_APART_MAX as u64)]);
        }
    }

    #[test]
    fn few_values_are_counted_and_many_are_bounded() {
        let mut distinct = Distinct::default();
        for hash in [5, 5, 7] {
            distinct.note(hash);
        }
        assert_eq!(distinct.count(), 2);
        (0..1_000).rev().for_each(|hash| distinct.note(hash));
        assert_eq!(distinct.count(), DISTINCT_MAX);
        assert_eq!(distinct.0.last(), Some(&(DISTINCT_MAX as u64 - 1)));
    }
}
