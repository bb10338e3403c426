//! Members come to their shares, however they come and go.

use proptest::prelude::*;

use super::super::Groups;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn times() -> Times {
    Times { heartbeat: SECOND / 2, session: SECOND * 45 }
}

fn groups() -> Groups {
    Groups::new(Duration::ZERO, times())
}

fn topic() -> Uuid {
    Uuid::from_u128(7)
}

fn catalogue(count: i32) -> Catalogue {
    Catalogue(BTreeMap::from([("t".to_owned(), (topic(), count)), ("other".to_owned(), (Uuid::from_u128(8), 3))]))
}

fn parts(indexes: impl IntoIterator<Item = i32>) -> BTreeSet<Part> {
    indexes.into_iter().map(|index| Part { topic: topic(), index }).collect()
}

fn joins(id: &str) -> Beat {
    Beat {
        identity: Identity { member: id.to_owned(), instance: None },
        rebalance_timeout: Some(SECOND * 10),
        names: Some(BTreeSet::from(["t".to_owned()])),
        owned: Some(BTreeSet::new()),
        names_itself: true,
        ..Beat::default()
    }
}

/// A member as a client of Kafka is one: it has what it was told, and beats with the epoch it was told.
#[derive(Debug, Clone)]
struct Player {
    id: String,
    instance: Option<String>,
    epoch: i32,
    owned: BTreeSet<Part>,
    /// It says next what it owns.
    tells: bool,
    /// It says next all that it has to say: an answer was lost.
    tells_all: bool,
}

impl Player {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), instance: None, epoch: 0, owned: BTreeSet::new(), tells: true, tells_all: false }
    }

    fn beat(&mut self, groups: &mut Groups, count: i32, now: Duration) -> Result<(), ResponseError> {
        let identity = Identity { member: self.id.clone(), instance: self.instance.clone() };
        let beat = if self.epoch == 0 {
            Beat { identity, ..joins(&self.id) }
        } else {
            let owned = (self.tells || self.tells_all).then(|| self.owned.clone());
            let said = if self.tells_all { joins(&self.id) } else { Beat { names_itself: true, ..Beat::default() } };
            Beat { identity, epoch: self.epoch, owned, ..said }
        };
        let beaten = groups.beat("g", &beat, &catalogue(count), now).map_err(|refused| refused.error)?;
        (self.epoch, self.tells, self.tells_all) = (beaten.epoch, false, false);
        if let Some(assigned) = beaten.assigned {
            // What changed is told with the next heartbeat.
            (self.tells, self.owned) = (true, assigned);
        }
        Ok(())
    }
}

fn owned_once(players: &[Player]) -> bool {
    let mut all = BTreeSet::new();
    players.iter().flat_map(|player| &player.owned).all(|part| all.insert(*part))
}

fn state(groups: &Groups) -> &'static str {
    groups.group("g").unwrap().state()
}

fn refusal(groups: &mut Groups, beat: &Beat) -> ResponseError {
    groups.beat("g", beat, &catalogue(4), SECOND).unwrap_err().error
}

#[test]
fn one_gives_up_what_another_is_to_have_and_only_then_does_the_other_get_it() {
    let mut groups = groups();
    let (mut one, mut two) = (Player::new("one"), Player::new("two"));
    one.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((one.epoch, &one.owned, state(&groups)), (1, &parts(0..4), "Stable"));
    one.beat(&mut groups, 4, SECOND).unwrap();
    two.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((two.epoch, two.owned.len(), state(&groups)), (2, 0, "Reconciling"));
    two.beat(&mut groups, 4, SECOND).unwrap();
    assert!(two.owned.is_empty(), "the first has them yet");
    // The first is told to give two up, stays in its epoch until it says that it has, and then follows.
    one.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((one.epoch, one.owned.len()), (1, 2));
    two.beat(&mut groups, 4, SECOND).unwrap();
    assert!(two.owned.is_empty(), "the first has not said that it has given them up");
    one.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((one.epoch, one.owned.len()), (2, 2));
    two.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((two.epoch, two.owned.len(), state(&groups)), (2, 2, "Stable"));
    assert!(owned_once(&[one.clone(), two.clone()]));
    // The first goes: the second gets all.
    let leaves = Beat { epoch: LEAVES, ..joins("one") };
    let gone = groups.beat("g", &leaves, &catalogue(4), SECOND).unwrap();
    assert_eq!((gone.epoch, gone.assigned), (-1, None));
    assert_eq!(state(&groups), "Assigning");
    two.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((two.epoch, &two.owned), (3, &parts(0..4)));
    assert_eq!(refusal(&mut groups, &leaves), ResponseError::UnknownMemberId);
}

#[test]
fn a_member_is_held_to_its_epoch_and_may_have_missed_one_answer() {
    let mut groups = groups();
    let mut one = Player::new("one");
    one.beat(&mut groups, 4, SECOND).unwrap();
    // Another comes: the epoch of the first goes on to 2.
    Player::new("two").beat(&mut groups, 4, SECOND).unwrap();
    one.beat(&mut groups, 4, SECOND).unwrap();
    one.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!(one.epoch, 2);
    let says = |epoch, owned| Beat { epoch, owned, rebalance_timeout: None, names: None, ..joins("one") };
    assert_eq!(refusal(&mut groups, &says(3, None)), ResponseError::FencedMemberEpoch);
    assert_eq!(refusal(&mut groups, &says(1, None)), ResponseError::FencedMemberEpoch);
    assert_eq!(refusal(&mut groups, &says(1, Some(parts(0..4)))), ResponseError::FencedMemberEpoch);
    assert!(groups.beat("g", &says(1, Some(one.owned.clone())), &catalogue(4), SECOND).is_ok());
    let who = Identity { member: "one".to_owned(), instance: None };
    let consumers = groups.group("g").unwrap().consumers().unwrap();
    assert_eq!(consumers.check(&who, 2), Ok(()));
    assert_eq!(consumers.check(&who, 1), Err(ResponseError::StaleMemberEpoch));
    let stranger = Identity { member: "three".to_owned(), instance: None };
    assert_eq!(consumers.check(&stranger, 2), Err(ResponseError::UnknownMemberId));
    // Transactions know generations, not epochs; who says nothing of itself may commit in one.
    let mut commits = |who: &Identity, epoch, transactional| {
        groups.committing("g", who, epoch, transactional, SECOND).map(drop).err()
    };
    assert_eq!(commits(&who, 2, false), None);
    assert_eq!(commits(&who, 1, false), Some(ResponseError::StaleMemberEpoch));
    assert_eq!(commits(&who, 1, true), Some(ResponseError::IllegalGeneration));
    assert_eq!(commits(&Identity::default(), -1, true), None);
    assert_eq!(commits(&Identity::default(), -1, false), Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_static_member_that_goes_for_a_while_comes_back_to_what_it_had() {
    let mut groups = groups();
    let named = |id: &str, instance: &str| Player { instance: Some(instance.to_owned()), ..Player::new(id) };
    let (mut one, mut two) = (named("one", "a"), named("two", "b"));
    for _ in 0..4 {
        one.beat(&mut groups, 4, SECOND).unwrap();
        two.beat(&mut groups, 4, SECOND).unwrap();
    }
    assert_eq!((one.owned.len(), two.owned.len(), state(&groups)), (2, 2, "Stable"));
    // The place is not free: somebody has it.
    assert_eq!(named("three", "a").beat(&mut groups, 4, SECOND), Err(ResponseError::UnreleasedInstanceId));
    let mut away = joins("one");
    (away.identity.instance, away.epoch) = (Some("a".to_owned()), AWAY);
    assert_eq!(groups.beat("g", &away, &catalogue(4), SECOND).unwrap().epoch, AWAY);
    let epoch = two.epoch;
    two.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((two.epoch, two.owned.len()), (epoch, 2), "nothing changes for the other");
    let mut back = named("three", "a");
    back.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!((back.epoch, &back.owned, state(&groups)), (epoch, &one.owned, "Stable"));
    // Whoever had the place is told that another has it.
    assert_eq!(one.beat(&mut groups, 4, SECOND), Err(ResponseError::FencedInstanceId));
    // One that does not come back in time loses it.
    away.identity.member = "three".to_owned();
    groups.beat("g", &away, &catalogue(4), SECOND).unwrap();
    two.beat(&mut groups, 4, SECOND * 40).unwrap();
    groups.tick(SECOND * 46);
    two.beat(&mut groups, 4, SECOND * 46).unwrap();
    assert_eq!(two.owned, parts(0..4));
    assert_eq!(back.beat(&mut groups, 4, SECOND), Err(ResponseError::UnknownMemberId));
}

#[test]
fn who_is_silent_or_gives_nothing_up_is_put_out() {
    let mut groups = groups();
    let (mut one, mut two) = (Player::new("one"), Player::new("two"));
    one.beat(&mut groups, 4, SECOND).unwrap();
    two.beat(&mut groups, 4, SECOND).unwrap();
    one.beat(&mut groups, 4, SECOND).unwrap();
    // It is to give two up within ten seconds, and beats on without saying that it has.
    for second in 2..=10 {
        one.tells = false;
        one.beat(&mut groups, 4, SECOND * second).unwrap();
    }
    assert_eq!(groups.next_due(), Some(SECOND * 11));
    groups.tick(SECOND * 11);
    assert_eq!(one.beat(&mut groups, 4, SECOND * 11), Err(ResponseError::UnknownMemberId));
    two.beat(&mut groups, 4, SECOND * 11).unwrap();
    assert_eq!(two.owned, parts(0..4));
    // The other is not heard of any more.
    assert_eq!(groups.next_due(), Some(SECOND * 56));
    groups.tick(SECOND * 56);
    assert_eq!((state(&groups), groups.next_due()), ("Empty", None));
}

#[test]
fn a_topic_that_comes_or_grows_is_shared_and_names_may_be_a_pattern() {
    let mut groups = groups();
    let beat = Beat { names: None, regex: Some("t|u.*".to_owned()), ..joins("one") };
    let none = Catalogue::default();
    let first = groups.beat("g", &beat, &none, SECOND).unwrap();
    assert_eq!((first.epoch, first.assigned), (1, Some(BTreeSet::new())));
    let goes_on = |epoch| Beat { epoch, names: None, rebalance_timeout: None, owned: None, ..joins("one") };
    // The whole name is to match: "other" does not.
    let second = groups.beat("g", &goes_on(1), &catalogue(2), SECOND).unwrap();
    assert_eq!((second.epoch, second.assigned), (2, Some(parts(0..2))));
    assert_eq!(groups.beat("g", &goes_on(2), &catalogue(2), SECOND).unwrap().assigned, None);
    let third = groups.beat("g", &goes_on(2), &catalogue(3), SECOND).unwrap();
    assert_eq!((third.epoch, third.assigned), (3, Some(parts(0..3))));
    assert!(groups.group("g").unwrap().is_subscribed("u1") && !groups.group("g").unwrap().is_subscribed("v"));
    let described = groups.group("g").unwrap().consumers().unwrap().describe();
    assert_eq!((described.members[0].regex.as_str(), described.assignor), ("t|u.*", "uniform"));
    let wrong = Beat { regex: Some("(".to_owned()), ..goes_on(3) };
    assert_eq!(refusal(&mut groups, &wrong), ResponseError::InvalidRegularExpression);
    // A pattern that is taken back leaves what is named.
    let others = Some(BTreeSet::from(["other".to_owned()]));
    let named = groups
        .beat("g", &Beat { regex: Some(String::new()), names: others, ..goes_on(3) }, &catalogue(3), SECOND)
        .unwrap();
    assert_eq!((named.epoch, named.assigned.unwrap().len()), (3, 0), "what it had is to be given up first");
}

#[test]
fn a_group_is_of_one_protocol_until_it_is_empty() {
    use super::super::{Join, Step};
    let mut groups = groups();
    let join = || Join {
        identity: Identity::default(),
        client: Client::default(),
        session_timeout: SECOND * 10,
        rebalance_timeout: SECOND * 10,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), bytes::Bytes::new())],
        asks_for_id: false,
        can_skip_assignment: false,
    };
    let mut one = Player::new("one");
    one.beat(&mut groups, 4, SECOND).unwrap();
    let who = Identity { member: "one".to_owned(), instance: None };
    let committed = super::super::Committed { offset: 5, ..Default::default() };
    groups.committing("g", &who, 1, false, SECOND).unwrap().commit("t", 0, committed, None).unwrap();
    let Step::Answer(answer) = groups.join("g", join(), SECOND) else { panic!("it waits") };
    assert_eq!(answer.error, Some(ResponseError::InconsistentGroupProtocol));
    assert_eq!(groups.heartbeat("g", &who, 1, SECOND), Err(ResponseError::UnknownMemberId));
    assert_eq!(groups.delete("g"), Err(ResponseError::NonEmptyGroup));
    assert!(groups.set_back("t", 0, 3, SECOND).is_empty());
    assert_eq!(one.beat(&mut groups, 4, SECOND), Err(ResponseError::UnknownMemberId));
    assert_eq!(groups.group("g").unwrap().committed("t", 0).unwrap().offset, 3);
    // Nobody is left: it may be of the classic protocol, and keeps what was committed.
    assert!(matches!(groups.join("g", join(), SECOND), Step::Wait(_)));
    assert_eq!((groups.group("g").unwrap().kind(), state(&groups)), ("classic", "CompletingRebalance"));
    assert_eq!(refusal(&mut groups, &joins("one")), ResponseError::GroupIdNotFound);
    assert_eq!(groups.group("g").unwrap().committed("t", 0).unwrap().offset, 3);
    let unknown = Beat { epoch: 3, ..joins("one") };
    assert_eq!(groups.beat("h", &unknown, &catalogue(4), SECOND).unwrap_err().error, ResponseError::GroupIdNotFound);
    assert!(groups.group("h").is_none());
}

#[test]
fn a_heartbeat_that_makes_no_sense_is_refused() {
    let invalid = ResponseError::InvalidRequest;
    let changes: [&dyn Fn(&mut Beat); 10] = [
        &|beat| beat.assignor = Some("sticky".to_owned()),
        &|beat| beat.identity.member.clear(),
        &|beat| beat.identity.instance = Some(" ".to_owned()),
        &|beat| beat.rack = Some(String::new()),
        &|beat| beat.rebalance_timeout = None,
        &|beat| beat.owned = None,
        &|beat| beat.owned = Some(parts([1])),
        &|beat| beat.names = None,
        &|beat| beat.epoch = AWAY,
        &|beat| beat.epoch = -3,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut beat = joins("one");
        change(&mut beat);
        let error = if at == 0 { ResponseError::UnsupportedAssignor } else { invalid };
        assert_eq!(refusal(&mut groups(), &beat), error, "{beat:?}");
    }
    assert_eq!(groups().beat("", &joins("one"), &catalogue(4), SECOND).unwrap_err().error, invalid);
    // Older clients are given an id as they join.
    let unnamed = Beat { names_itself: false, ..joins("") };
    assert!(!groups().beat("g", &unnamed, &catalogue(4), SECOND).unwrap().member.is_empty());
}

#[test]
fn a_visitor_takes_a_share_and_gives_it_back() {
    let mut groups = groups();
    let mut one = Player::new("one");
    one.beat(&mut groups, 4, SECOND).unwrap();
    one.beat(&mut groups, 4, SECOND).unwrap();
    assert_eq!(groups.visit(&BTreeSet::new(), SECOND * 3, SECOND), ["g"]);
    assert!(groups.visit(&BTreeSet::new(), SECOND * 3, SECOND).is_empty(), "one is there already");
    for _ in 0..3 {
        one.beat(&mut groups, 4, SECOND).unwrap();
    }
    assert_eq!((one.owned.len(), state(&groups), groups.next_due()), (2, "Stable", Some(SECOND * 4)));
    groups.tick(SECOND * 4);
    one.beat(&mut groups, 4, SECOND * 4).unwrap();
    assert_eq!((one.owned.len(), state(&groups)), (4, "Stable"));
    // One that is left alone does not stay.
    groups.visit(&BTreeSet::new(), SECOND * 3, SECOND * 4);
    groups.beat("g", &Beat { epoch: LEAVES, ..joins("one") }, &catalogue(4), SECOND * 4).unwrap();
    assert_eq!(state(&groups), "Empty");
}

proptest! {
    /// Whoever comes, goes, is silent or misses answers: no partition is had by two, and once all is quiet each is had by one.
    #[test]
    fn no_partition_is_had_by_two_and_each_by_one_in_the_end(
        steps in prop::collection::vec((0_u8..12, 0_usize..5), 1..120),
        mut count in 1_i32..9,
    ) {
        let mut groups = groups();
        let mut players: Vec<Player> = Vec::new();
        let mut named = 0;
        for (step, which) in steps {
            let at = which % players.len().max(1);
            match step {
                0 if players.len() < 5 => {
                    named += 1;
                    players.push(Player::new(&format!("p{named}")));
                }
                1 if !players.is_empty() => {
                    let gone = players.remove(at);
                    let _ = groups.beat("g", &Beat { epoch: LEAVES, ..joins(&gone.id) }, &catalogue(count), SECOND);
                }
                2 => count += 1,
                3 if !players.is_empty() && players[at].epoch > 0 => {
                    // The answer is lost: it tells everything again, and either goes on or begins anew.
                    let _ = players[at].clone().beat(&mut groups, count, SECOND);
                    players[at].tells_all = true;
                }
                _ if !players.is_empty() => {
                    if let Err(error) = players[at].beat(&mut groups, count, SECOND) {
                        prop_assert_eq!(error, ResponseError::FencedMemberEpoch);
                        // Fenced: all is given up, under the same id.
                        players[at] = Player::new(&players[at].id);
                    }
                }
                _ => {}
            }
            prop_assert!(owned_once(&players), "{:?}", players);
        }
        for _ in 0..12 {
            for player in &mut players {
                if player.beat(&mut groups, count, SECOND).is_err() {
                    *player = Player::new(&player.id);
                }
                }
            prop_assert!(owned_once(&players), "{:?}", players);
        }
        if !players.is_empty() {
            prop_assert_eq!(players.iter().map(|player| player.owned.len()).sum::<usize>(), count as usize);
            prop_assert_eq!(state(&groups), "Stable");
        }
    }
}
