//! Groups in simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn join(member: &str) -> Join {
    Join {
        identity: Identity { member: member.to_owned(), instance: None },
        client: Client { id: "client".to_owned(), host: "/here".to_owned() },
        session_timeout: 10 * SECOND,
        rebalance_timeout: 60 * SECOND,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"range")), ("sticky".to_owned(), Bytes::new())],
        asks_for_id: false,
        can_skip_assignment: true,
    }
}

fn of_instance(member: &str, instance: &str) -> Join {
    let identity = Identity { member: member.to_owned(), instance: Some(instance.to_owned()) };
    Join { identity, ..join(member) }
}

fn identity(member: &str) -> Identity {
    Identity { member: member.to_owned(), instance: None }
}

/// The answer to a request to join, which may have had to wait.
fn joined(groups: &mut Groups, step: Step<JoinAnswer>) -> Option<JoinAnswer> {
    match step {
        Step::Answer(answer) => Some(answer),
        Step::Wait(ticket) => match groups.collect(ticket)? {
            Answer::Join(answer) => Some(answer),
            Answer::Sync(_) => panic!("an answer to another question"),
        },
    }
}

fn synced(groups: &mut Groups, step: Step<SyncAnswer>) -> Option<SyncAnswer> {
    match step {
        Step::Answer(answer) => Some(answer),
        Step::Wait(ticket) => match groups.collect(ticket)? {
            Answer::Sync(answer) => Some(answer),
            Answer::Join(_) => panic!("an answer to another question"),
        },
    }
}

fn sync(member: &str, generation: i32, assignments: &[(&str, &'static str)]) -> Sync {
    let assignments = assignments.iter().map(|(id, text)| ((*id).to_owned(), Bytes::from_static(text.as_bytes())));
    Sync { identity: identity(member), generation, assignments: assignments.collect(), ..Sync::default() }
}

/// A stable group of one member; returns its id.
fn alone(groups: &mut Groups) -> String {
    let step = groups.join("g", join(""), Duration::ZERO);
    let answer = joined(groups, step).unwrap();
    let member = answer.member.clone();
    let step = groups.sync("g", sync(&member, answer.generation, &[]), Duration::ZERO);
    assert_eq!(synced(groups, step).unwrap().error, None);
    member
}

#[test]
fn one_member_leads_itself() {
    let mut groups = Groups::default();
    let step = groups.join("g", join(""), Duration::ZERO);
    let answer = joined(&mut groups, step).unwrap();
    assert_eq!((answer.error, answer.generation, answer.protocol.as_deref()), (None, 1, Some("range")));
    assert_eq!((&answer.leader, answer.members.len()), (&answer.member, 1));
    let member = answer.member;
    let step = groups.sync("g", sync(&member, 1, &[(&member, "all")]), Duration::ZERO);
    assert_eq!(synced(&mut groups, step).unwrap().assignment, "all");
    assert_eq!(groups.heartbeat("g", &identity(&member), 1, SECOND), Ok(()));
    assert_eq!(groups.heartbeat("g", &identity(&member), 0, SECOND), Err(ResponseError::IllegalGeneration));
    assert_eq!(groups.heartbeat("g", &identity("x"), 1, SECOND), Err(ResponseError::UnknownMemberId));
    assert_eq!(groups.heartbeat("none", &identity(&member), 1, SECOND), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_new_group_waits_for_those_who_come_together() {
    let delay = Duration::from_millis(200);
    let mut groups = Groups::new(delay, Times::default());
    let first = groups.join("g", join(""), SECOND);
    let second = groups.join("g", join(""), SECOND + delay / 2);
    assert_eq!(groups.next_due(), Some(SECOND + delay));
    // Somebody came, so there may be more.
    groups.tick(SECOND + delay);
    assert_eq!((joined(&mut groups, first.clone()), groups.next_due()), (None, Some(SECOND + 2 * delay)));
    groups.tick(SECOND + 2 * delay);
    let (first, second) = (joined(&mut groups, first).unwrap(), joined(&mut groups, second).unwrap());
    assert_eq!((first.generation, second.generation, first.members.len()), (1, 1, 2));
    // Later ones are waited for as in any rebalance; and a group that was there and is empty waits once.
    let leaving = [&first, &second].map(|one| Leaving { member: one.member.clone(), instance: None });
    groups.leave("g", &leaving, 2 * SECOND).unwrap();
    assert_eq!(groups.group("g").map(Group::state), Some("Empty"));
    let third = groups.join("g", join(""), 3 * SECOND);
    let fourth = groups.join("g", join(""), 3 * SECOND);
    groups.tick(3 * SECOND + delay);
    assert!(joined(&mut groups, third).is_some() && joined(&mut groups, fourth).is_some());
}

#[test]
fn a_new_group_waits_no_longer_than_a_rebalance_may_take() {
    let mut groups = Groups::new(Duration::from_millis(200), Times::default());
    let hasty = || Join { rebalance_timeout: Duration::from_millis(500), ..join("") };
    let first = groups.join("g", hasty(), Duration::ZERO);
    for millis in (50..500).step_by(50) {
        let _ = groups.join("g", hasty(), Duration::from_millis(millis));
        groups.tick(Duration::from_millis(millis));
        assert_eq!(joined(&mut groups, first.clone()), None, "{millis}");
    }
    groups.tick(Duration::from_millis(500));
    assert_eq!(joined(&mut groups, first).unwrap().members.len(), 10);
}

#[test]
fn a_member_that_gives_no_time_keeps_time_at_rest() {
    let mut groups = Groups::default();
    let hasty = |member: &str| Join { rebalance_timeout: Duration::ZERO, ..of_instance(member, "i") };
    let step = groups.join("g", hasty(""), Duration::ZERO);
    joined(&mut groups, step).unwrap();
    let mut now = Duration::ZERO;
    // It never asks for its share: time is looked at a bounded number of times until its session ends.
    let mut looks = 0;
    while let Some(due) = groups.next_due() {
        assert!(due > now, "nothing moves at {now:?}");
        now = due;
        groups.tick(now);
        looks += 1;
    }
    assert!(looks <= 1_010 && now <= 11 * SECOND, "{looks} {now:?}");
}

#[test]
fn a_client_that_knows_how_is_told_its_id_first() {
    let mut groups = Groups::default();
    let ask = Join { asks_for_id: true, ..join("") };
    let step = groups.join("g", ask.clone(), Duration::ZERO);
    let told = joined(&mut groups, step).unwrap();
    assert_eq!(told.error, Some(ResponseError::MemberIdRequired));
    let step = groups.join("g", Join { asks_for_id: true, ..join(&told.member) }, Duration::ZERO);
    assert_eq!(joined(&mut groups, step).unwrap().member, told.member);
    // A promise that nobody takes up lapses, and holds up nobody then.
    let step = groups.join("g", ask, Duration::ZERO);
    joined(&mut groups, step).unwrap();
    assert_eq!(groups.next_due(), Some(10 * SECOND));
    let fewer = Join { protocols: vec![("sticky".to_owned(), Bytes::new())], ..join(&told.member) };
    let late = groups.join("g", fewer, 9 * SECOND);
    assert_eq!(joined(&mut groups, late.clone()), None);
    groups.tick(10 * SECOND);
    assert_eq!(joined(&mut groups, late).unwrap().error, None);
}

#[test]
fn a_second_member_makes_the_first_join_again() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let newcomer = groups.join("g", join(""), SECOND);
    let in_progress = Err(ResponseError::RebalanceInProgress);
    assert_eq!(groups.heartbeat("g", &identity(&first), 1, SECOND), in_progress);
    assert_eq!(joined(&mut groups, newcomer.clone()), None);
    let again = groups.join("g", join(&first), 2 * SECOND);
    let again = joined(&mut groups, again).unwrap();
    let second = joined(&mut groups, newcomer).unwrap();
    assert_eq!((again.generation, second.generation), (2, 2));
    assert_eq!((&again.leader, again.members.len(), second.members.len()), (&first, 2, 0));
    // The follower waits for what the leader brings.
    let waiting = groups.sync("g", sync(&second.member, 2, &[]), 3 * SECOND);
    assert_eq!(synced(&mut groups, waiting.clone()), None);
    let brought = [(first.as_str(), "a"), (second.member.as_str(), "b")];
    let led = groups.sync("g", sync(&first, 2, &brought), 3 * SECOND);
    assert_eq!(synced(&mut groups, led).unwrap().assignment, "a");
    assert_eq!(synced(&mut groups, waiting).unwrap().assignment, "b");
    // Asked again, the same is answered.
    let again = groups.sync("g", sync(&second.member, 2, &[]), 3 * SECOND);
    assert_eq!(synced(&mut groups, again).unwrap().assignment, "b");
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let newcomer = groups.join("g", join(""), SECOND);
    // It says that it is there, and never joins.
    for second in 2..61 {
        let _ = groups.heartbeat("g", &identity(&first), 1, second * SECOND);
        groups.tick(second * SECOND);
    }
    assert_eq!(joined(&mut groups, newcomer.clone()), None);
    groups.tick(61 * SECOND);
    let answer = joined(&mut groups, newcomer).unwrap();
    assert_eq!((answer.generation, answer.members.len()), (2, 1));
    assert_eq!(groups.heartbeat("g", &identity(&first), 1, 61 * SECOND), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_member_that_is_silent_for_its_session_is_out() {
    let mut groups = Groups::default();
    let member = alone(&mut groups);
    groups.tick(Duration::from_millis(9_999));
    assert_eq!(groups.heartbeat("g", &identity(&member), 1, 9 * SECOND), Ok(()));
    assert_eq!(groups.next_due(), Some(19 * SECOND));
    groups.tick(19 * SECOND);
    assert_eq!(groups.group("g").map(Group::state), Some("Empty"));
    assert_eq!(groups.delete("g"), Ok(()));
}

#[test]
fn who_never_asks_for_its_assignment_is_out() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let newcomer = groups.join("g", join(""), SECOND);
    let again = groups.join("g", join(&first), SECOND);
    joined(&mut groups, again).unwrap();
    let second = joined(&mut groups, newcomer).unwrap().member;
    // The leader is heard of, and brings nothing.
    let waiting = groups.sync("g", sync(&second, 2, &[]), 2 * SECOND);
    for second in 2..61 {
        let _ = groups.heartbeat("g", &identity(&first), 2, second * SECOND);
        groups.tick(second * SECOND);
    }
    groups.tick(61 * SECOND);
    let told = synced(&mut groups, waiting).unwrap();
    assert_eq!(told.error, Some(ResponseError::RebalanceInProgress));
    let again = groups.join("g", join(&second), 62 * SECOND);
    assert_eq!(joined(&mut groups, again).unwrap().members.len(), 1);
}

#[test]
fn who_never_asks_for_the_assignment_that_it_has_is_out() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let newcomer = groups.join("g", join(""), SECOND);
    let again = groups.join("g", join(&first), SECOND);
    joined(&mut groups, again).unwrap();
    let second = joined(&mut groups, newcomer).unwrap().member;
    let led = groups.sync("g", sync(&first, 2, &[(&second, "a share")]), SECOND);
    assert_eq!(synced(&mut groups, led).unwrap().error, None);
    // It says that it is there, and never asks.
    for second_of in 2..=60 {
        for member in [&first, &second] {
            assert_eq!(groups.heartbeat("g", &identity(member), 2, second_of * SECOND), Ok(()));
        }
        groups.tick(second_of * SECOND);
    }
    groups.tick(61 * SECOND);
    assert_eq!(groups.heartbeat("g", &identity(&first), 2, 61 * SECOND), Err(ResponseError::RebalanceInProgress));
    assert_eq!(groups.heartbeat("g", &identity(&second), 2, 61 * SECOND), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_member_that_leaves_makes_room_at_once() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let newcomer = groups.join("g", join(""), SECOND);
    let leaving = [first.as_str(), "nobody"].map(|member| Leaving { member: member.to_owned(), instance: None });
    let left = groups.leave("g", &leaving, SECOND).unwrap();
    assert_eq!(left, [Ok(()), Err(ResponseError::UnknownMemberId)]);
    assert_eq!(joined(&mut groups, newcomer).unwrap().generation, 2);
}

#[test]
fn members_agree_on_a_protocol_or_stay_out() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let other = Join { protocols: vec![("other".to_owned(), Bytes::new())], ..join("") };
    let step = groups.join("g", other, SECOND);
    let refused = joined(&mut groups, step).unwrap();
    assert_eq!(refused.error, Some(ResponseError::InconsistentGroupProtocol));
    let other = Join { protocol_type: "connect".to_owned(), ..join("") };
    let step = groups.join("g", other, SECOND);
    assert_eq!(joined(&mut groups, step).unwrap().error, Some(ResponseError::InconsistentGroupProtocol));
    let sticky = Join { protocols: vec![("sticky".to_owned(), Bytes::new())], ..join("") };
    let newcomer = groups.join("g", sticky, SECOND);
    let again = groups.join("g", join(&first), SECOND);
    assert_eq!(joined(&mut groups, again).unwrap().protocol.as_deref(), Some("sticky"));
    assert_eq!(joined(&mut groups, newcomer).unwrap().error, None);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut groups = Groups::default();
    let step = groups.join("g", of_instance("", "i"), Duration::ZERO);
    let old = joined(&mut groups, step).unwrap().member;
    let sync_of = |member: &str, assignments: &[(&str, &'static str)]| {
        let identity = Identity { member: member.to_owned(), instance: Some("i".to_owned()) };
        Sync { identity, ..sync(member, 1, assignments) }
    };
    let step = groups.sync("g", sync_of(&old, &[(&old, "mine")]), Duration::ZERO);
    assert_eq!(synced(&mut groups, step).unwrap().assignment, "mine");
    let step = groups.join("g", of_instance("", "i"), SECOND);
    let back = joined(&mut groups, step).unwrap();
    assert_eq!((back.generation, back.skip_assignment, back.error), (1, true, None));
    assert_ne!(back.member, old);
    let step = groups.sync("g", sync_of(&back.member, &[]), SECOND);
    assert_eq!(synced(&mut groups, step).unwrap().assignment, "mine");
    // What it was before is fenced.
    let before = Identity { member: old.clone(), instance: Some("i".to_owned()) };
    assert_eq!(groups.heartbeat("g", &before, 1, SECOND), Err(ResponseError::FencedInstanceId));
    let step = groups.join("g", of_instance(&old, "i"), SECOND);
    assert_eq!(joined(&mut groups, step).unwrap().error, Some(ResponseError::FencedInstanceId));
    // An operator takes it out by its name.
    let leaving = Leaving { member: String::new(), instance: Some("i".to_owned()) };
    assert_eq!(groups.leave("g", &[leaving], SECOND).unwrap(), [Ok(())]);
    assert_eq!(groups.group("g").map(Group::state), Some("Empty"));
}

#[test]
fn a_static_member_that_says_something_else_of_itself_comes_back_without_a_rebalance() {
    let mut groups = Groups::default();
    let first = alone(&mut groups);
    let step = groups.join("g", of_instance("", "i"), Duration::ZERO);
    let again = groups.join("g", join(&first), Duration::ZERO);
    joined(&mut groups, again).unwrap();
    let old = joined(&mut groups, step).unwrap().member;
    let step = groups.sync("g", sync(&first, 2, &[(&old, "mine")]), Duration::ZERO);
    assert_eq!(synced(&mut groups, step).unwrap().error, None);
    let back = |metadata: &'static str, liked: &str| {
        let own =
            vec![(liked.to_owned(), Bytes::from_static(metadata.as_bytes())), ("sticky".to_owned(), Bytes::new())];
        Join { protocols: own, ..of_instance("", "i") }
    };
    let step = groups.join("g", back("no generation", "range"), SECOND);
    let answer = joined(&mut groups, step).unwrap();
    assert_eq!((answer.error, answer.generation), (None, 2));
    assert_eq!(groups.heartbeat("g", &identity(&first), 2, SECOND), Ok(()));
    // Where another protocol would be elected with it, all share anew.
    let step = groups.join("g", back("", "other"), SECOND);
    assert_eq!(joined(&mut groups, step), None);
    assert_eq!(groups.heartbeat("g", &identity(&first), 2, SECOND), Err(ResponseError::RebalanceInProgress));
}

fn at(offset: i64) -> Committed {
    Committed { offset, leader_epoch: 0, metadata: String::new() }
}

#[test]
fn offsets_come_from_members_or_from_those_who_only_store() {
    let mut groups = Groups::default();
    let nobody = identity("");
    groups.committing("g", &nobody, -1, false, SECOND).unwrap().commit("t", 0, at(7), None).unwrap();
    assert_eq!(groups.group("g").unwrap().committed("t", 0), Some(&at(7)));
    let refused = |groups: &mut Groups, id: &str, member: &str, generation| {
        groups.committing(id, &identity(member), generation, false, SECOND).err()
    };
    assert_eq!(refused(&mut groups, "none", "m", 3), Some(ResponseError::IllegalGeneration));
    let member = alone(&mut groups);
    assert_eq!(refused(&mut groups, "g", "", -1), Some(ResponseError::UnknownMemberId));
    assert_eq!(refused(&mut groups, "g", "x", 1), Some(ResponseError::UnknownMemberId));
    assert_eq!(refused(&mut groups, "g", &member, 0), Some(ResponseError::IllegalGeneration));
    assert_eq!(refused(&mut groups, "g", &member, 1), None);
    let _ = groups.join("g", join(""), SECOND);
    let again = groups.join("g", join(&member), SECOND);
    joined(&mut groups, again).unwrap();
    assert_eq!(refused(&mut groups, "g", &member, 2), Some(ResponseError::RebalanceInProgress));
    let long = Committed { metadata: "x".repeat(4_097), ..at(1) };
    let group = groups.group_mut("g").unwrap();
    assert_eq!(group.commit("t", 0, long, None), Err(ResponseError::OffsetMetadataTooLarge));
    assert_eq!(group.committed("t", 0), Some(&at(7)));
}

#[test]
fn offsets_of_a_transaction_count_when_it_commits() {
    let mut groups = Groups::default();
    for (producer, committed) in [(1, false), (2, true)] {
        let group = groups.committing("g", &identity(""), -1, true, SECOND).unwrap();
        group.commit("t", 0, at(producer), Some(producer)).unwrap();
        assert!(group.is_held_back("t", 0) && group.committed("t", 0).is_none());
        groups.end_transaction(producer, ["g".to_owned()].into_iter(), committed);
    }
    let group = groups.group("g").unwrap();
    assert_eq!((group.committed("t", 0), group.is_held_back("t", 0)), (Some(&at(2)), false));
}

/// A member as the simulation sees it.
#[derive(Debug, Default)]
struct Talker {
    id: String,
    waiting: Option<Ticket>,
    generation: i32,
}

proptest! {
    /// Members come, go, fall silent and talk in any order: no two are told different things about one generation, whoever is in a
    /// stable group got its assignment from its leader, and nobody waits for ever.
    #[test]
    fn whatever_members_do_a_generation_is_one(steps in prop::collection::vec((0_usize..4, 0_u8..6, 1_u64..4_000), 1..120)) {
        let mut groups = Groups::default();
        let mut members: BTreeMap<usize, Talker> = BTreeMap::new();
        let mut now = Duration::ZERO;
        let mut leaders: BTreeMap<i32, String> = BTreeMap::new();
        let mut expected: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
        let check = |answer: &JoinAnswer, leaders: &mut BTreeMap<i32, String>, expected: &mut BTreeMap<i32, BTreeSet<String>>| {
            if answer.error.is_some() {
                return true;
            }
            if !answer.members.is_empty() {
                let ids = answer.members.iter().map(|(identity, _)| identity.member.clone()).collect();
                expected.insert(answer.generation, ids);
            }
            *leaders.entry(answer.generation).or_insert(answer.leader.clone()) == answer.leader
        };
        for (who, what, millis) in steps {
            now += Duration::from_millis(millis);
            groups.tick(now);
            // Answers that have come.
            for member in members.values_mut() {
                let Some(ticket) = member.waiting else { continue };
                match groups.collect(ticket) {
                    Some(Answer::Join(answer)) => {
                        prop_assert!(check(&answer, &mut leaders, &mut expected), "{:?}", answer);
                        member.waiting = None;
                        member.generation = answer.generation;
                        member.id = if answer.error == Some(ResponseError::UnknownMemberId) { String::new() } else { answer.member };
                    }
                    Some(Answer::Sync(_)) => member.waiting = None,
                    None => {}
                }
            }
            let member = members.entry(who).or_default();
            if member.waiting.is_some() {
                continue;
            }
            match what {
                0..=2 => match groups.join("g", join(&member.id), now) {
                    Step::Wait(ticket) => member.waiting = Some(ticket),
                    Step::Answer(answer) => {
                        prop_assert!(check(&answer, &mut leaders, &mut expected));
                        member.generation = answer.generation;
                        member.id = if answer.error.is_some() { String::new() } else { answer.member };
                    }
                },
                3 => {
                    let assignments: Vec<(&str, &str)> = expected
                        .get(&member.generation).into_iter().flatten().map(|id| (id.as_str(), "share")).collect();
                    match groups.sync("g", sync(&member.id, member.generation, &assignments), now) {
                        Step::Wait(ticket) => member.waiting = Some(ticket),
                        Step::Answer(answer) => prop_assert!(answer.error.is_some() || answer.assignment == "share"),
                    }
                }
                4 => { let _ = groups.heartbeat("g", &identity(&member.id), member.generation, now); }
                _ => {
                    let leaving = Leaving { member: std::mem::take(&mut member.id), instance: None };
                    let _ = groups.leave("g", &[leaving], now);
                }
            }
        }
        // Nobody says anything any more: in bounded time all who waited are told, and the group is empty.
        for _ in 0..10 {
            now += 61 * SECOND;
            groups.tick(now);
        }
        for member in members.values_mut() {
            if let Some(ticket) = member.waiting {
                prop_assert!(groups.collect(ticket).is_some(), "{:?} waits for ever", member);
            }
        }
        prop_assert!(groups.group("g").is_none_or(Group::is_empty));
        prop_assert_eq!(groups.next_due(), None);
    }
}
