//! Arrays whose elements have no place, walked: which elements stand for each other, and how those differ.

use std::collections::BTreeSet;

use super::Change;
use super::json::{Decimal, Node};
use super::paths::Mask;
use super::scan::mix;
use super::shape::{Key, Shape};
use super::values::{Found, Walk, node_hash};
use xxhash_rust::xxh3::xxh3_64;

/// Pairs of elements that are tried where a tolerance may make them equal; where more are possible, elements are taken in order.
const TRIED_MAX: usize = 1 << 16;

/// Elements left on a side for which the likest of the other is looked for; those beyond are taken in order.
const LIKENED_MAX: usize = 64;

impl Walk<'_> {
    /// Compares two arrays by the rule `list`.
    pub(super) fn lists(&mut self, list: &Shape, old: &[Node<'_>], new: &[Node<'_>], mask: Mask) {
        match list {
            Shape::Keyed(key) => self.keyed(key, old, new, mask),
            Shape::Set => self.set(old, new, mask),
            // Ranked neighbours stand in order by now, those at the cut without all but their rank.
            _ => self.arrays(old, new, mask),
        }
    }

    /// Pairs elements of one key in order.
    fn keyed(&mut self, key: &Key, old: &[Node<'_>], new: &[Node<'_>], mask: Mask) {
        let of = |elements: &[Node<'_>]| -> Vec<(Option<u64>, usize)> {
            let mut keys: Vec<_> = elements
                .iter()
                .enumerate()
                .map(|(at, element)| (key_of(element, &key.names).map(node_hash), at))
                .collect();
            keys.sort_unstable();
            keys
        };
        let (olds, news) = (of(old), of(new));
        let (mut one, mut other) = (0, 0);
        while one < olds.len() || other < news.len() {
            let order = match (olds.get(one), news.get(other)) {
                (Some(old), Some(new)) => old.0.cmp(&new.0),
                (Some(_), None) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            match order {
                std::cmp::Ordering::Less => self.lone(Some(&old[olds[one].1]), None, mask),
                std::cmp::Ordering::Greater => self.lone(None, Some(&new[news[other].1]), mask),
                std::cmp::Ordering::Equal => self.pair(&old[olds[one].1], &new[news[other].1], mask),
            }
            one += usize::from(order.is_le());
            other += usize::from(order.is_ge());
        }
    }

    /// An element that only one side has.
    fn lone(&mut self, old: Option<&Node<'_>>, new: Option<&Node<'_>>, mask: Mask) {
        let change = if new.is_none() { Change::Removed } else { Change::Added };
        if self.rules.automaton.index(mask, u64::MAX).1 & self.rules.wanted.ignore == 0 {
            self.at_element(|walk| walk.push(change, old, new));
        }
    }

    fn pair(&mut self, old: &Node<'_>, new: &Node<'_>, mask: Mask) {
        let step = self.rules.automaton.index(mask, u64::MAX);
        self.at_element(|walk| walk.below(old, new, step));
    }

    /// What two elements differ by, whatever is expected of new.
    fn tried(&self, old: &Node<'_>, new: &Node<'_>, mask: Mask) -> Found {
        let mut walk = Walk { rules: self.rules, judged: None, path: self.path.clone(), found: Found::default() };
        walk.pair(old, new, mask);
        walk.found
    }

    /// Pairs equal elements, then those that tolerances make equal, as many as can be; of the others those that are most alike.
    fn set(&mut self, old: &[Node<'_>], new: &[Node<'_>], mask: Mask) {
        let step = self.rules.automaton.index(mask, u64::MAX);
        let tokens = |elements: &[Node<'_>]| -> Vec<(u64, u64, usize)> {
            let mut tokens: Vec<_> = elements
                .iter()
                .enumerate()
                .map(|(at, element)| {
                    let (loose, tolerated) = self.token(element, step);
                    (loose, tolerated, at)
                })
                .collect();
            tokens.sort_unstable();
            tokens
        };
        let (mut olds, mut news) = (tokens(old), tokens(new));
        cancel(&mut olds, &mut news);
        let mut pairs = Vec::new();
        let (old_runs, new_runs) = (runs(&olds), runs(&news));
        for (loose, run) in &old_runs {
            let Ok(at) = new_runs.binary_search_by_key(loose, |(other, _)| *other) else { continue };
            pairs.extend(self.near((old, run), (new, &new_runs[at].1), mask));
        }
        for (one, other) in &pairs {
            self.pair(&old[*one], &new[*other], mask);
        }
        let left = |tokens: Vec<(u64, u64, usize)>, paired: BTreeSet<usize>| {
            let places: BTreeSet<usize> = tokens.into_iter().map(|token| token.2).collect();
            places.difference(&paired).copied().collect::<Vec<_>>()
        };
        let olds = left(olds, pairs.iter().map(|pair| pair.0).collect());
        let news = left(news, pairs.iter().map(|pair| pair.1).collect());
        self.likest((old, olds), (new, news), mask);
    }

    /// Pairs as many elements as can be, each pair without a difference: augmenting paths (Kuhn).
    fn near(
        &self,
        (old, olds): (&[Node<'_>], &[usize]),
        (new, news): (&[Node<'_>], &[usize]),
        mask: Mask,
    ) -> Vec<(usize, usize)> {
        if olds.len().saturating_mul(news.len()) > TRIED_MAX {
            let both = olds.iter().zip(news);
            let equal = both.filter(|(one, other)| self.tried(&old[**one], &new[**other], mask).changes.is_empty());
            return equal.map(|(one, other)| (*one, *other)).collect();
        }
        let fits: Vec<Vec<usize>> = olds
            .iter()
            .map(|one| {
                (0..news.len()).filter(|at| self.tried(&old[*one], &new[news[*at]], mask).changes.is_empty()).collect()
            })
            .collect();
        let mut taken: Vec<Option<usize>> = vec![None; news.len()];
        for one in 0..olds.len() {
            augment(one, &fits, &mut taken, &mut vec![false; news.len()]);
        }
        taken.iter().zip(news).filter_map(|(one, other)| Some((olds[(*one)?], *other))).collect()
    }

    /// Pairs what differs by what is most alike; what shares nothing is removed and added.
    fn likest(
        &mut self,
        (old, olds): (&[Node<'_>], Vec<usize>),
        (new, mut news): (&[Node<'_>], Vec<usize>),
        mask: Mask,
    ) {
        let mut removed = Vec::new();
        for one in olds {
            let alike = |at: &usize| {
                let shared = shared(&old[one], &new[*at])?;
                Some((self.tried(&old[one], &new[*at], mask).changes.len(), std::cmp::Reverse(shared)))
            };
            let likest =
                news.iter().take(LIKENED_MAX).enumerate().filter_map(|(place, at)| Some((alike(at)?, place))).min();
            match likest {
                Some((_, place)) => {
                    let other = news.remove(place);
                    self.pair(&old[one], &new[other], mask);
                }
                None => removed.push(one),
            }
        }
        for one in removed {
            self.lone(Some(&old[one]), None, mask);
        }
        for other in news {
            self.lone(None, Some(&new[other]), mask);
        }
    }

    /// Hashes of a value as rules see it: without tolerated places, and of those. Equal values have equal hashes; values that
    /// tolerances make equal have the same first one.
    fn token(&self, node: &Node<'_>, (mask, ends): (Mask, u32)) -> (u64, u64) {
        if ends & self.rules.wanted.ignore != 0 {
            return (0, 0);
        }
        let (said, tolerated) = self.inner_token(node, mask);
        if ends & self.rules.wanted.tolerance == 0 { (said, tolerated) } else { (1, mix(said, tolerated)) }
    }

    fn inner_token(&self, node: &Node<'_>, mask: Mask) -> (u64, u64) {
        let automaton = &self.rules.automaton;
        let is_left_out = |ends: u32| ends & self.rules.wanted.ignore != 0;
        match node {
            Node::Array(elements) => elements.iter().enumerate().fold((5, 0), |(said, tolerated), (at, element)| {
                let step = automaton.index(mask, at as u64);
                if is_left_out(step.1) {
                    return (said, tolerated);
                }
                let below = self.token(element, step);
                (mix(said, below.0), mix(tolerated, below.1))
            }),
            Node::Object(members) => {
                super::values::by_name(members).iter().fold((6, 0), |(said, tolerated), (name, value)| {
                    let step = automaton.name(mask, name);
                    if is_left_out(step.1) {
                        return (said, tolerated);
                    }
                    let below = self.token(value, step);
                    (mix(mix(said, xxh3_64(name.as_bytes())), below.0), mix(tolerated, below.1))
                })
            }
            Node::Number(text) => {
                let number = Decimal::read(text);
                (mix(xxh3_64(&number.digits), (number.exponent as u64) << 1 | u64::from(number.negative)), 0)
            }
            _ => (node_hash(node), 0),
        }
    }
}

/// Takes what stands on both sides out of both, which are sorted.
fn cancel(olds: &mut Vec<(u64, u64, usize)>, news: &mut Vec<(u64, u64, usize)>) {
    let (mut left, mut rest) = (Vec::new(), news.drain(..).peekable());
    let mut others = Vec::new();
    for old in olds.drain(..) {
        while let Some(new) = rest.next_if(|new| (new.0, new.1) < (old.0, old.1)) {
            others.push(new);
        }
        if rest.next_if(|new| (new.0, new.1) == (old.0, old.1)).is_none() {
            left.push(old);
        }
    }
    others.extend(rest);
    (*olds, *news) = (left, others);
}

/// Places of elements by what they say without tolerated places.
fn runs(left: &[(u64, u64, usize)]) -> Vec<(u64, Vec<usize>)> {
    let runs = left.chunk_by(|one, other| one.0 == other.0);
    runs.map(|run| (run[0].0, run.iter().map(|token| token.2).collect())).collect()
}

/// Finds a partner for `one`, moving others to theirs where need be.
fn augment(one: usize, fits: &[Vec<usize>], taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for at in &fits[one] {
        if std::mem::replace(&mut seen[*at], true) {
            continue;
        }
        let holder = taken[*at];
        if holder.is_none_or(|holder| augment(holder, fits, taken, seen)) {
            taken[*at] = Some(one);
            return true;
        }
    }
    false
}

/// Value that `names` lead to.
fn key_of<'n, 'a>(element: &'n Node<'a>, names: &[String]) -> Option<&'n Node<'a>> {
    names.iter().try_fold(element, |node, name| match node {
        Node::Object(members) => members.iter().find(|(own, _)| own == name).map(|(_, value)| value),
        _ => None,
    })
}

/// How many members two objects share the names of; none where they share no value, and so do not stand for each other.
fn shared(old: &Node<'_>, new: &Node<'_>) -> Option<usize> {
    let (Node::Object(old), Node::Object(new)) = (old, new) else { return None };
    let twin = |(name, value): &&(std::borrow::Cow<'_, str>, Node<'_>)| {
        new.iter().any(|(other, twin)| other == name && twin == value)
    };
    old.iter()
        .any(|member| twin(&member))
        .then(|| old.iter().filter(|(name, _)| new.iter().any(|(other, _)| other == name)).count())
}
