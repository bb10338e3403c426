//! Batches of producers, made by hand: what a broker holds them to.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::*;
use rehearsal::clock::{Clock, SystemClock};

use super::wire::{Wire, batch, crc32c, fetch, offsets, text};
use super::{Arm, unique};

const HOUR_MS: i64 = 3_600_000;

/// A batch of one event with this timestamp; with `by_log` it says that a log has set it.
fn stamped(timestamp: i64, by_log: bool) -> Bytes {
    let mut bytes = batch((-1, -1), -1, 1, false).to_vec();
    bytes[27..35].copy_from_slice(&timestamp.to_be_bytes());
    bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
    bytes[22] |= u8::from(by_log) << 3;
    let checksum = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes.into()
}

pub(crate) fn timestamps_are_held_to_the_clock(arm: &Arm) -> Vec<String> {
    let now = SystemClock::start().date_us() / 1_000;
    let kinds: [(&str, &[(&str, &str)]); 4] = [
        ("plain", &[]),
        ("wide", &[("message.timestamp.after.max.ms", "36000000")]),
        ("narrow", &[("message.timestamp.before.max.ms", "3600000")]),
        ("append", &[("message.timestamp.type", "LogAppendTime")]),
    ];
    let mut seen = Vec::new();
    for (kind, settings) in kinds {
        let topic = arm.topic(kind, 1, settings);
        if kind != "narrow" {
            arm.fill(&topic, 0, &["first"]);
        }
        let mut wire = Wire::connect(arm);
        for hours in [-10_000, -2, 0, 2] {
            for by_log in [false, true] {
                let answer = wire.produce(&topic, None, stamped(now + hours * HOUR_MS, by_log));
                seen.push(format!("{kind} {hours} {by_log}: {answer:?}"));
            }
        }
        for by_log in [false, true] {
            seen.push(format!("{kind} none {by_log}: {:?}", wire.produce(&topic, None, stamped(-1, by_log))));
        }
        // What the log has made of them.
        let answer = wire.call(11, &fetch(&topic, &[(0, 0)]));
        let mut bytes = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        while bytes.len() > 61 {
            let size = 12 + u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
            let one = bytes.split_to(size);
            let largest = i64::from_be_bytes(one[35..43].try_into().unwrap());
            let hours = if largest < 0 { "none".to_owned() } else { ((largest - now) / HOUR_MS).to_string() };
            seen.push(format!("{kind} kept {} {hours}", one[22]));
        }
    }
    seen
}

pub(crate) fn open_transactions_are_held_to_their_rules(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("open", 1, &[]);
    arm.fill(&topic, 0, &["a", "b"]);
    let id = unique("open");
    let mut wire = Wire::connect(arm);
    let producer = wire.new_producer(Some(&id));
    let one = AddPartitionsToTxnTopic::default().with_name(TopicName(text(&topic))).with_partitions(vec![0]);
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(&id)))
        .with_v3_and_below_producer_id(ProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![one]);
    let error = |answer: &AddPartitionsToTxnResponse| {
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    let mut seen = vec![format!("added {}", error(&wire.call_ready(3, &add, error)))];
    // What was sent first was lost: whatever comes first is taken.
    seen.push(format!("later first {:?}", wire.produce(&topic, Some(&id), batch(producer, 5, 2, true))));
    seen.push(format!("earlier then {:?}", wire.produce(&topic, Some(&id), batch(producer, 0, 1, true))));
    seen.push(format!("next {:?}", wire.produce(&topic, Some(&id), batch(producer, 7, 1, true))));
    seen.push(format!("plain {:?}", wire.produce(&topic, None, batch(producer, 8, 1, false))));
    // Deleted up to the middle of what is open.
    let before = |offset| {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(offset);
        let one = delete_records_request::DeleteRecordsTopic::default()
            .with_name(TopicName(text(&topic)))
            .with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![one]).with_timeout_ms(10_000)
    };
    let latest = |isolation| {
        let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
        let one = list_offsets_request::ListOffsetsTopic::default()
            .with_name(TopicName(text(&topic)))
            .with_partitions(vec![partition]);
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation)
            .with_topics(vec![one])
    };
    for offset in [1, 3, 4, 5] {
        let deleted = wire.call(2, &before(offset)).topics.remove(0).partitions.remove(0);
        seen.push(format!("deleted {offset}: {} {}", deleted.error_code, deleted.low_watermark));
        for isolation in [0, 1] {
            let found = wire.call(4, &latest(isolation)).topics.remove(0).partitions.remove(0);
            seen.push(format!("latest {isolation}: {} {}", found.error_code, found.offset));
            let mut request = fetch(&topic, &[(0, offset)]);
            request.isolation_level = isolation;
            let answer = wire.call(11, &request);
            let one = &answer.responses[0].partitions[0];
            let (high, stable, start) = (one.high_watermark, one.last_stable_offset, one.log_start_offset);
            seen.push(format!("fetched {} {high} {stable} {start} {:?}", one.error_code, offsets(&answer)));
        }
    }
    seen
}
