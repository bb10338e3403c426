//! Consumer groups of librdkafka.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::{Arm, WAIT, poll_until, take, unique, values};

pub(crate) fn a_restarted_member_goes_on_where_its_group_committed(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("restart", 1, &[]);
    let group = unique("group");
    arm.fill(&topic, 0, &["a", "b", "c", "d", "e"]);
    let mut seen = Vec::new();
    for expected in [["a", "b"], ["c", "d"]] {
        let member = arm.consumer(&group, &[]);
        member.subscribe(&[&topic]).unwrap();
        let events = take(&member, 2);
        assert_eq!(values(&events), expected);
        member.commit_message(&events[1], CommitMode::Sync).unwrap();
        seen.push(format!("{:?}", member.committed(WAIT).unwrap().elements()[0].offset()));
    }
    assert_eq!(seen, ["Offset(2)", "Offset(4)"]);
    seen
}

pub(crate) fn two_members_share_and_one_takes_over(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("share", 4, &[]);
    let group = unique("group");
    let mut seen = Vec::new();
    for strategy in ["range", "cooperative-sticky"] {
        let group = format!("{group}-{strategy}");
        let settings = [("partition.assignment.strategy", strategy)];
        let (first, second) = (arm.consumer(&group, &settings), arm.consumer(&group, &settings));
        let count = |member: &rdkafka::consumer::BaseConsumer| member.assignment().unwrap().count();
        first.subscribe(&[&topic]).unwrap();
        poll_until(&[&first], || count(&first) == 4);
        second.subscribe(&[&topic]).unwrap();
        poll_until(&[&first, &second], || count(&first) == 2 && count(&second) == 2);
        let mut all: Vec<i32> = Vec::new();
        for member in [&first, &second] {
            all.extend(member.assignment().unwrap().elements().iter().map(TopicPartitionListElem::partition));
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        drop(first);
        poll_until(&[&second], || count(&second) == 4);
        seen.push(format!("{strategy} {all:?}"));
    }
    for partition in 0..4 {
        arm.fill(&topic, partition, &["x"]);
    }
    seen
}

pub(crate) fn offsets_are_stored_without_a_group(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("stored", 2, &[]);
    arm.fill(&topic, 0, &["a", "b", "c"]);
    let consumer = arm.consumer(&unique("store"), &[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(2)).unwrap();
    list.elements()[0].set_metadata("note");
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&topic, 0);
    asked.add_partition(&topic, 1);
    let found = consumer.committed_offsets(asked, WAIT).unwrap();
    let seen: Vec<String> = found
        .elements()
        .iter()
        .map(|one| format!("{} {:?} {}", one.partition(), one.offset(), one.metadata()))
        .collect();
    assert_eq!(seen, ["0 Offset(2) note", "1 Invalid "]);
    seen
}

pub(crate) fn a_static_member_comes_back_to_what_it_had(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("static", 3, &[]);
    let group = unique("group");
    arm.fill(&topic, 1, &["a", "b"]);
    let settings = [("group.instance.id", "one"), ("session.timeout.ms", "20000")];
    let mut seen = Vec::new();
    for round in 0..2 {
        let member = arm.consumer(&group, &settings);
        member.subscribe(&[&topic]).unwrap();
        let events = take(&member, 1);
        assert_eq!(member.assignment().unwrap().count(), 3);
        member.commit_message(&events[0], CommitMode::Sync).unwrap();
        seen.push(format!("{round} {} {}", events[0].offset(), values(&events)[0]));
        // It goes without leaving: static members do.
    }
    assert_eq!(seen, ["0 0 a", "1 1 b"]);
    seen
}
