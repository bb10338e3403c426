//! Transactional producers of librdkafka.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::{Arm, WAIT, take, unique, values};

fn transactional(arm: &Arm, id: &str) -> BaseProducer {
    let producer = arm.producer(&[("transactional.id", id), ("transaction.timeout.ms", "60000")]);
    producer.init_transactions(WAIT).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, values: &[&str]) {
    for value in values {
        producer.send(BaseRecord::<str, str>::to(topic).partition(0).payload(value)).unwrap();
    }
}

pub(crate) fn what_was_aborted_is_not_seen_by_those_who_read_committed(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("aborted", 1, &[]);
    let producer = transactional(arm, &unique("id"));
    for (number, values) in [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]].iter().enumerate() {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, values);
        producer.flush(WAIT).unwrap();
        if number % 2 == 1 {
            producer.abort_transaction(WAIT).unwrap();
        } else {
            producer.commit_transaction(WAIT).unwrap();
        }
    }
    let committed = arm.reader(&topic, 0, Offset::Beginning, &[("isolation.level", "read_committed")]);
    let events = take(&committed, 4);
    assert_eq!(values(&events), ["a", "b", "e", "f"]);
    let mut seen: Vec<String> = events.iter().map(|event| event.offset().to_string()).collect();
    let all = arm.reader(&topic, 0, Offset::Beginning, &[("isolation.level", "read_uncommitted")]);
    assert_eq!(values(&take(&all, 8)), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    seen.push(format!("{:?}", all.fetch_watermarks(&topic, 0, WAIT).unwrap()));
    assert_eq!(seen.last().unwrap(), "(0, 12)");
    // From the middle of what was aborted, too.
    let middle = arm.reader(&topic, 0, Offset::Offset(4), &[("isolation.level", "read_committed")]);
    assert_eq!(values(&take(&middle, 2)), ["e", "f"]);
    assert!(middle.poll(Duration::from_millis(300)).is_none());
    seen
}

pub(crate) fn a_reader_of_committed_waits_for_the_end_of_a_transaction(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("open", 1, &[]);
    let producer = transactional(arm, &unique("id"));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &["a"]);
    producer.flush(WAIT).unwrap();
    arm.fill(&topic, 0, &["b"]);
    let settings = [("isolation.level", "read_committed"), ("fetch.wait.max.ms", "5000")];
    let committed = arm.reader(&topic, 0, Offset::Beginning, &settings);
    assert!(committed.poll(Duration::from_millis(700)).is_none());
    producer.commit_transaction(WAIT).unwrap();
    let events = take(&committed, 2);
    assert_eq!(values(&events), ["a", "b"]);
    events.iter().map(|event| event.offset().to_string()).collect()
}

pub(crate) fn offsets_sent_to_a_transaction_count_when_it_commits(arm: &Arm) -> Vec<String> {
    let (input, output) = (arm.topic("in", 1, &[]), arm.topic("out", 1, &[]));
    let group = unique("group");
    arm.fill(&input, 0, &["a", "b", "c"]);
    let consumer = arm.consumer(&group, &[]);
    consumer.subscribe(&[&input]).unwrap();
    assert_eq!(take(&consumer, 3).len(), 3);
    let producer = transactional(arm, &unique("id"));
    let mut seen = Vec::new();
    for (offset, commit) in [(1, false), (2, true)] {
        producer.begin_transaction().unwrap();
        send(&producer, &output, &["x"]);
        producer.flush(WAIT).unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&input, 0, Offset::Offset(offset)).unwrap();
        let group = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&offsets, &group, WAIT).unwrap();
        if commit {
            producer.commit_transaction(WAIT).unwrap();
        } else {
            producer.abort_transaction(WAIT).unwrap();
        }
        let committed = consumer.committed(WAIT).unwrap();
        seen.push(format!("{:?}", committed.elements()[0].offset()));
    }
    assert_eq!(seen, ["Invalid", "Offset(2)"]);
    seen
}

pub(crate) fn a_younger_producer_fences_the_older(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("fenced", 1, &[]);
    let id = unique("id");
    let older = transactional(arm, &id);
    older.begin_transaction().unwrap();
    send(&older, &topic, &["lost"]);
    older.flush(WAIT).unwrap();
    let younger = transactional(arm, &id);
    younger.begin_transaction().unwrap();
    send(&younger, &topic, &["kept"]);
    younger.flush(WAIT).unwrap();
    younger.commit_transaction(WAIT).unwrap();
    send(&older, &topic, &["late"]);
    let _ = older.flush(WAIT);
    let error = older.commit_transaction(WAIT).unwrap_err();
    let reader = arm.reader(&topic, 0, Offset::Beginning, &[("isolation.level", "read_committed")]);
    assert_eq!(values(&take(&reader, 1)), ["kept"]);
    assert!(reader.poll(Duration::from_millis(300)).is_none());
    vec![format!("{:?}", error.rdkafka_error_code())]
}
