//! Assignors: which member is to have which partitions. Pure, and the same members get the same shares whatever they are asked.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// A partition of a topic, by the topic's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::drive::stage) struct Part {
    pub(in crate::drive::stage) topic: Uuid,
    pub(in crate::drive::stage) index: i32,
}

/// A member as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidate {
    pub(super) instance: Option<String>,
    /// Topics that it reads.
    pub(super) topics: BTreeSet<Uuid>,
    /// What it was to have so far.
    pub(super) had: BTreeSet<Part>,
}

/// How partitions are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Assignor {
    /// As many for each, and as few as possible change hands.
    Uniform,
    /// Of each topic a run of partitions for each, so that topics of the same number of partitions are shared alike.
    Range,
}

impl Assignor {
    /// All of them, in the order of `group.consumer.assignors`: where no member says which, it is the first.
    pub(super) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Shares the partitions of `topics`, which holds their numbers of partitions. Every member is in the result.
    pub(super) fn assign(
        self,
        members: &BTreeMap<String, Candidate>,
        topics: &BTreeMap<Uuid, i32>,
    ) -> BTreeMap<String, BTreeSet<Part>> {
        match self {
            Self::Uniform => uniform(members, topics),
            Self::Range => range(members, topics),
        }
    }
}

fn range(members: &BTreeMap<String, Candidate>, topics: &BTreeMap<Uuid, i32>) -> BTreeMap<String, BTreeSet<Part>> {
    let mut shares: BTreeMap<String, BTreeSet<Part>> = members.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
    // Static members come first, by their names, so that each keeps its place whatever id it comes back with.
    let mut order: Vec<(&String, &Candidate)> = members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.as_ref(), *id));
    for (topic, count) in topics {
        let readers: Vec<&String> =
            order.iter().filter(|(_, member)| member.topics.contains(topic)).map(|(id, _)| *id).collect();
        if readers.is_empty() {
            continue;
        }
        let (each, more) = (*count as usize / readers.len(), *count as usize % readers.len());
        let mut next = 0;
        for (place, id) in readers.into_iter().enumerate() {
            let size = each + usize::from(place < more);
            let run = (next..next + size).map(|index| Part { topic: *topic, index: index as i32 });
            shares.entry(id.clone()).or_default().extend(run);
            next += size;
        }
    }
    shares
}

fn uniform(members: &BTreeMap<String, Candidate>, topics: &BTreeMap<Uuid, i32>) -> BTreeMap<String, BTreeSet<Part>> {
    let mut sharing = Sharing { members, shares: members.keys().map(|id| (id.clone(), BTreeSet::new())).collect() };
    let all = topics.iter().flat_map(|(topic, count)| (0..*count).map(|index| Part { topic: *topic, index }));
    let mut free: BTreeSet<Part> = all.collect();
    let read: BTreeSet<Uuid> = members.values().flat_map(|member| member.topics.iter().copied()).collect();
    free.retain(|part| read.contains(&part.topic));
    // Whoever had a partition keeps it, for now.
    for (id, member) in members {
        let kept = member.had.iter().filter(|part| member.topics.contains(&part.topic) && free.remove(part));
        kept.for_each(|part| sharing.give(id, *part));
    }
    for part in free {
        if let Some(id) = sharing.poorest(part.topic) {
            sharing.give(&id, part);
        }
    }
    sharing.level();
    sharing.shares
}

/// Shares while they are made.
struct Sharing<'m> {
    members: &'m BTreeMap<String, Candidate>,
    shares: BTreeMap<String, BTreeSet<Part>>,
}

impl Sharing<'_> {
    fn give(&mut self, id: &str, part: Part) {
        self.shares.entry(id.to_owned()).or_default().insert(part);
    }

    /// The reader of a topic that has least, the first of several.
    fn poorest(&self, topic: Uuid) -> Option<String> {
        let readers = self.shares.iter().filter(|(id, _)| self.members[*id].topics.contains(&topic));
        readers.min_by_key(|(_, share)| share.len()).map(|(id, _)| id.clone())
    }

    /// Moves partitions from those who have most to others who read their topics, until nobody has two more than one that could take
    /// one of them: no more change hands than must.
    fn level(&mut self) {
        while let Some((from, to, part)) = self.uneven() {
            if let Some(share) = self.shares.get_mut(&from) {
                share.remove(&part);
            }
            self.give(&to, part);
        }
    }

    fn uneven(&self) -> Option<(String, String, Part)> {
        for (id, share) in &self.shares {
            let mut tried = BTreeSet::new();
            for part in share.iter().rev().filter(|part| tried.insert(part.topic)) {
                let poorest = self.poorest(part.topic)?;
                if self.shares[&poorest].len() + 1 < share.len() {
                    return Some((id.clone(), poorest, *part));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn sizes(shares: &BTreeMap<String, BTreeSet<Part>>) -> Vec<usize> {
        shares.values().map(BTreeSet::len).collect()
    }

    fn candidates(count: usize, topics: &[u128]) -> BTreeMap<String, Candidate> {
        let topics: BTreeSet<Uuid> = topics.iter().map(|one| topic(*one)).collect();
        let candidate = |at: usize| (format!("m{at}"), Candidate { topics: topics.clone(), ..Candidate::default() });
        (0..count).map(candidate).collect()
    }

    fn had(members: &mut BTreeMap<String, Candidate>, shares: &BTreeMap<String, BTreeSet<Part>>) {
        for (id, member) in members {
            member.had = shares.get(id).cloned().unwrap_or_default();
        }
    }

    #[test]
    fn a_range_is_a_run_of_each_topic_and_static_members_come_first() {
        let mut members = candidates(3, &[1, 2]);
        members.get_mut("m2").unwrap().instance = Some("a".to_owned());
        let topics = BTreeMap::from([(topic(1), 4), (topic(2), 2)]);
        let shares = Assignor::Range.assign(&members, &topics);
        let shown = |id: &str| shares[id].iter().map(|part| (part.topic.as_u128(), part.index)).collect::<Vec<_>>();
        assert_eq!(shown("m2"), [(1, 0), (1, 1), (2, 0)]);
        assert_eq!(shown("m0"), [(1, 2), (2, 1)]);
        assert_eq!(shown("m1"), [(1, 3)]);
    }

    #[test]
    fn who_comes_takes_no_more_than_it_must_and_who_goes_leaves_the_others_theirs() {
        let topics = BTreeMap::from([(topic(1), 7)]);
        let mut members = candidates(2, &[1]);
        let first = Assignor::Uniform.assign(&members, &topics);
        assert_eq!(sizes(&first), [4, 3]);
        had(&mut members, &first);
        members.extend(candidates(3, &[1]).into_iter().filter(|(id, _)| id == "m2"));
        let second = Assignor::Uniform.assign(&members, &topics);
        assert_eq!(sizes(&second), [2, 3, 2]);
        assert!(second["m0"].is_subset(&first["m0"]) && second["m1"].is_subset(&first["m1"]));
        had(&mut members, &second);
        members.remove("m1");
        let third = Assignor::Uniform.assign(&members, &topics);
        assert_eq!(sizes(&third), [4, 3]);
        assert!(third["m0"].is_superset(&second["m0"]) && third["m2"].is_superset(&second["m2"]));
    }

    proptest! {
        #[test]
        fn everything_that_is_read_is_shared_once_and_evenly(
            reads in prop::collection::vec(prop::collection::btree_set(0_u128..4, 0..4), 1..7),
            counts in prop::collection::vec(0_i32..12, 4),
            leaves in 0_usize..7,
            range: bool,
        ) {
            let assignor = if range { Assignor::Range } else { Assignor::Uniform };
            let topics: BTreeMap<Uuid, i32> = (0..).zip(&counts).map(|(at, count)| (topic(at), *count)).collect();
            let mut members: BTreeMap<String, Candidate> = reads
                .iter()
                .enumerate()
                .map(|(at, reads)| {
                    let topics = reads.iter().map(|one| topic(*one)).collect();
                    (format!("m{at}"), Candidate { topics, ..Candidate::default() })
                })
                .collect();
            for round in 0..2 {
                let shares = assignor.assign(&members, &topics);
                prop_assert_eq!(shares.keys().collect::<Vec<_>>(), members.keys().collect::<Vec<_>>());
                let mut given = BTreeSet::new();
                for (id, share) in &shares {
                    for part in share {
                        prop_assert!(members[id].topics.contains(&part.topic), "{} reads it not", id);
                        prop_assert!(given.insert(*part), "it is given twice");
                    }
                }
                let read = |one: &Uuid| members.values().any(|member| member.topics.contains(one));
                let expected: i32 = topics.iter().filter(|(one, _)| read(one)).map(|(_, count)| *count).sum();
                prop_assert_eq!(given.len() as i32, expected);
                if !range {
                    for (poor, share) in &shares {
                        for (_, other) in shares.iter().filter(|(_, other)| other.len() > share.len() + 1) {
                            let movable = other.iter().any(|part| members[poor].topics.contains(&part.topic));
                            prop_assert!(!movable, "{} could have more: {:?}", poor, shares);
                        }
                    }
                    // Asked again, nothing moves.
                    let mut again = members.clone();
                    had(&mut again, &shares);
                    prop_assert_eq!(&assignor.assign(&again, &topics), &shares, "round {}", round);
                }
                had(&mut members, &shares);
                if members.len() > 1 {
                    members.remove(&format!("m{}", leaves % members.len()));
                }
            }
        }
    }
}
