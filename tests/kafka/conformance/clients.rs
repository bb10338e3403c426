//! Producers and consumers of librdkafka.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use rehearsal::clock::{Clock, SystemClock};

use super::{Arm, WAIT, take, values};

fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| format!("{bytes:?}"))
}

pub(crate) fn events_come_back_byte_for_byte_with_every_codec(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("bytes", 1, &[]);
    let odd: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"plain"), Some(&[0, 255, 254, 10, 13])];
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for idempotent in ["false", "true"] {
            let settings = [("compression.type", codec), ("enable.idempotence", idempotent), ("linger.ms", "20")];
            let producer = arm.producer(&settings);
            for (number, key) in odd.iter().enumerate() {
                for value in odd {
                    let headers = OwnedHeaders::new()
                        .insert(Header { key: "b", value: Some("1") })
                        .insert(Header::<&[u8]> { key: "a", value: None })
                        .insert(Header { key: "b", value: Some("") });
                    let mut event = BaseRecord::<[u8], [u8]>::to(&topic)
                        .partition(0)
                        .timestamp(1_000 + number as i64)
                        .headers(headers);
                    event.key = *key;
                    event.payload = value;
                    producer.send(event).map_err(|(error, _)| error).unwrap();
                    let line = format!("{} {} {}", shown(*key), shown(value), 1_000 + number);
                    expected.push(line);
                }
            }
            producer.flush(WAIT).unwrap();
        }
    }
    let reader = arm.reader(&topic, 0, Offset::Beginning, &[("check.crcs", "true")]);
    let events = take(&reader, expected.len());
    let mut seen = Vec::new();
    for (event, expected) in events.iter().zip(&expected) {
        let time = event.timestamp().to_millis().unwrap();
        assert_eq!(&format!("{} {} {time}", shown(event.key()), shown(event.payload())), expected);
        let headers = event.headers().unwrap();
        let headers: Vec<String> = headers.iter().map(|one| format!("{}={}", one.key, shown(one.value))).collect();
        assert_eq!(headers, ["b=[49]", "a=null", "b=[]"]);
        seen.push(format!("{} {expected}", event.offset()));
    }
    seen
}

pub(crate) fn an_offset_is_found_by_time(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("time", 1, &[]);
    let producer = arm.producer(&[]);
    for (time, value) in [(100, "a"), (300, "b"), (200, "c"), (300, "d"), (500, "e")] {
        producer.send(BaseRecord::<str, str>::to(&topic).partition(0).timestamp(time).payload(value)).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let consumer = arm.consumer("none", &[]);
    let search = |time| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(time)).unwrap();
        let found = consumer.offsets_for_times(list, WAIT).unwrap();
        format!("{time}: {:?}", found.elements()[0].offset())
    };
    let mut seen: Vec<String> = [0, 100, 101, 250, 300, 301, 500, 501].map(search).to_vec();
    assert_eq!(seen[2], "101: Offset(1)");
    assert_eq!(seen[7], "501: End");
    seen.push(format!("{:?}", consumer.fetch_watermarks(&topic, 0, WAIT).unwrap()));
    seen
}

pub(crate) fn a_consumer_that_waits_is_told_at_once(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("wake", 1, &[]);
    let reader = arm.reader(&topic, 0, Offset::Beginning, &[("fetch.wait.max.ms", "10000")]);
    // The first poll gets the consumer to its place; from then on its fetch waits at the broker.
    assert!(reader.poll(Duration::from_millis(1_500)).is_none());
    let began = SystemClock::start();
    arm.fill(&topic, 0, &["x"]);
    assert_eq!(values(&take(&reader, 1)), ["x"]);
    assert!(began.now() < Duration::from_secs(5), "it took {:?}", began.now());
    Vec::new()
}

pub(crate) fn a_small_fetch_gets_everything_in_pieces(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("pieces", 2, &[]);
    let text: Vec<String> = (0..300).map(|number| format!("{number}{}", "x".repeat(100))).collect();
    let text: Vec<&str> = text.iter().map(String::as_str).collect();
    for partition in 0..2 {
        for some in text.chunks(40) {
            arm.fill(&topic, partition, some);
        }
    }
    let settings = [("max.partition.fetch.bytes", "1000"), ("fetch.max.bytes", "1000"), ("message.max.bytes", "1000")];
    let mut seen = Vec::new();
    for partition in 0..2 {
        let reader = arm.reader(&topic, partition, Offset::Offset(17), &settings);
        let events = take(&reader, 283);
        assert_eq!(values(&events), text[17..]);
        seen.push(format!("{}..{}", events[0].offset(), events[282].offset()));
    }
    seen
}

pub(crate) fn the_time_of_the_log_is_stamped(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("append", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let producer = arm.producer(&[("compression.type", "lz4")]);
    for _ in 0..3 {
        producer.send(BaseRecord::<str, str>::to(&topic).partition(0).timestamp(5).payload("x")).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let reader = arm.reader(&topic, 0, Offset::Beginning, &[]);
    let kind = |event: &rdkafka::message::BorrowedMessage<'_>| match event.timestamp() {
        rdkafka::Timestamp::LogAppendTime(time) => format!("append {}", time > 1_000_000),
        other => format!("{other:?}"),
    };
    let seen: Vec<String> = take(&reader, 3).iter().map(kind).collect();
    assert_eq!(seen, ["append true"; 3]);
    seen
}

/// The error that a producer gets for an event.
fn refused(arm: &Arm, event: BaseRecord<'_, str, [u8]>, settings: &[(&str, &str)]) -> String {
    #[derive(Default)]
    struct Refusal(std::sync::Mutex<Option<String>>);
    impl rdkafka::ClientContext for Refusal {}
    impl rdkafka::producer::ProducerContext for Refusal {
        type DeliveryOpaque = ();
        fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
            let told = match result {
                Ok(_) => "taken".to_owned(),
                Err((error, _)) => format!("{:?}", error.rdkafka_error_code()),
            };
            *self.0.lock().unwrap() = Some(told);
        }
    }
    let mut config = arm.config();
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let producer: rdkafka::producer::BaseProducer<Refusal> = config.create_with_context(Refusal::default()).unwrap();
    producer.send(event).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();
    producer.context().0.lock().unwrap().clone().unwrap()
}

pub(crate) fn a_compacted_topic_takes_no_event_without_a_key(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("compacted", 1, &[("cleanup.policy", "compact")]);
    let keyless = refused(arm, BaseRecord::to(&topic).payload(b"x"), &[]);
    assert_eq!(keyless, format!("{:?}", Some(RDKafkaErrorCode::InvalidRecord)));
    let keyed = refused(arm, BaseRecord::to(&topic).key("k").payload(b"x"), &[]);
    assert_eq!(keyed, "taken");
    vec![keyless, keyed]
}

pub(crate) fn an_event_that_is_too_large_is_refused(arm: &Arm) -> Vec<String> {
    let topic = arm.topic("large", 1, &[("max.message.bytes", "2000")]);
    let settings = [("message.max.bytes", "5000000")];
    let large = refused(arm, BaseRecord::to(&topic).payload(&[7; 3_000]), &settings);
    assert_eq!(large, format!("{:?}", Some(RDKafkaErrorCode::MessageSizeTooLarge)));
    let fitting = refused(arm, BaseRecord::to(&topic).payload(&[7; 1_000]), &settings);
    let other = arm.topic("large", 1, &[]);
    let huge = refused(arm, BaseRecord::to(&other).payload(&vec![7; 2_000_000]), &settings);
    thread::yield_now();
    vec![large, fitting, huge]
}
