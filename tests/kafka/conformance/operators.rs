//! What operators do, by librdkafka's admin client.

use rdkafka::admin::{NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::groups::GroupMemberInfo;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::{Arm, WAIT, options, take, unique, values, wait};

pub(crate) fn topics_are_made_described_grown_and_deleted(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("made", 2, &[("cleanup.policy", "compact"), ("retention.ms", "1234567")]);
    let admin = arm.admin();
    let mut seen = Vec::new();
    let again = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let wrong = NewTopic::new("no such/name", 2, TopicReplication::Fixed(1));
    let copies = unique("copies");
    let copies = NewTopic::new(&copies, 1, TopicReplication::Fixed(5));
    let setting = unique("setting");
    let setting = NewTopic::new(&setting, 1, TopicReplication::Fixed(1)).set("retention.ms", "soon");
    for made in wait(admin.create_topics([&again, &wrong, &copies, &setting], &options())).unwrap() {
        seen.push(format!("{:?}", made.map(drop).map_err(|(_, error)| error)));
    }
    let described = wait(admin.describe_configs([&ResourceSpecifier::Topic(&topic)], &options())).unwrap();
    let described = described.into_iter().next().unwrap().unwrap();
    for name in ["cleanup.policy", "retention.ms", "max.message.bytes", "message.timestamp.type", "segment.bytes"] {
        let entry = described.get(name).unwrap();
        seen.push(format!("{name}={:?} {}", entry.value, entry.is_default));
    }
    let mut names: Vec<&str> = described.entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.len() > 20, "{names:?}");
    for count in [5, 3] {
        for grown in wait(admin.create_partitions([&NewPartitions::new(&topic, count)], &options())).unwrap() {
            seen.push(format!("{:?}", grown.map(drop).map_err(|(_, error)| error)));
        }
    }
    let consumer = arm.consumer("none", &[]);
    let count = |topic: &str| {
        let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
        metadata.topics().iter().find(|one| one.name() == topic).map_or(0, |one| one.partitions().len())
    };
    assert_eq!(count(&topic), 5);
    for deleted in wait(admin.delete_topics(&[&topic, "never-made"], &options())).unwrap() {
        seen.push(format!("{:?}", deleted.map(drop).map_err(|(_, error)| error)));
    }
    seen
}

pub(crate) fn names_that_differ_by_a_dot_alone_collide(arm: &Arm) -> Vec<String> {
    let base = unique("dots");
    let mut seen = Vec::new();
    for end in [".a_b", "_a.b", "_a_b", ".a.b", ".a_b", "_a-b", "-a.b"] {
        let name = format!("{base}{end}");
        let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        for made in wait(arm.admin().create_topics([&new], &options())).unwrap() {
            seen.push(format!("{end} {:?}", made.map(drop).map_err(|(_, error)| error)));
        }
    }
    seen
}

pub(crate) fn records_are_deleted_up_to_an_offset(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("cut", 1, &[]);
    arm.fill(&topic, 0, &["a", "b", "c", "d"]);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(2)).unwrap();
    let deleted = wait(arm.admin().delete_records(&before, &options())).unwrap();
    let mut seen = vec![format!("{:?} {:?}", deleted.elements()[0].offset(), deleted.elements()[0].error())];
    let reader = arm.reader(&topic, 0, Offset::Beginning, &[]);
    let events = take(&reader, 2);
    assert_eq!(values(&events), ["c", "d"]);
    seen.push(format!("{:?}", reader.fetch_watermarks(&topic, 0, WAIT).unwrap()));
    // Who asks for what is gone is sent to where the log begins.
    let late = arm.reader(&topic, 0, Offset::Offset(0), &[]);
    assert_eq!(take(&late, 1)[0].offset(), 2);
    seen
}

pub(crate) fn groups_are_listed_described_and_deleted(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("grouped", 1, &[]);
    let group = unique("group");
    arm.fill(&topic, 0, &["a"]);
    let member = arm.consumer(&group, &[("client.id", "someone")]);
    member.subscribe(&[&topic]).unwrap();
    let events = take(&member, 1);
    member.commit_message(&events[0], CommitMode::Sync).unwrap();
    let shown = || {
        let list = member.fetch_group_list(Some(&group), WAIT).unwrap();
        let shown = list.groups().iter().map(|one| {
            let clients: Vec<&str> = one.members().iter().map(GroupMemberInfo::client_id).collect();
            let hosts: Vec<&str> = one.members().iter().map(GroupMemberInfo::client_host).collect();
            format!("{} {} {} {clients:?} {hosts:?}", one.state(), one.protocol(), one.protocol_type())
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    let mut seen = vec![shown()];
    assert!(seen[0].starts_with("Stable range consumer"), "{seen:?}");
    let delete = || {
        let deleted = wait(arm.admin().delete_groups(&[&group], &options())).unwrap();
        format!("{:?}", deleted.into_iter().next().unwrap().map(drop).map_err(|(_, error)| error))
    };
    seen.push(delete());
    member.unsubscribe();
    drop(events);
    drop(member);
    let deleted = delete();
    assert_eq!(deleted, "Ok(())");
    seen.push(deleted);
    seen.push(delete());
    seen
}
