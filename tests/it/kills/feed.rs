//! What fills the topic.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::clock::{Clock, SystemClock};

use super::chance::Chance;
use super::sort::Sort;

/// The topic that is an input.
pub(super) const TOPIC: &str = "killed";
/// The topic that is a table.
pub(super) const TABLE: &str = "looked-up";
pub(super) const PARTITIONS: i32 = 3;

/// Where the window of a table begins: its state stands ahead, all of it before the first capture.
pub(super) const TABLE_BEGIN: i64 = 250;

/// Bytes of a partition's events at most: the broker keeps 5 MiB of each.
const PARTITION_BYTES: usize = 3 << 20;

/// The value of an event: of some length, for bytes to go missing in.
pub(super) fn value_of(partition: i32, offset: i64) -> String {
    let mut chance = Chance(offset.cast_unsigned() << 8 | u64::from(partition.cast_unsigned()));
    let words = if chance.below(16) == 0 { chance.below(250) } else { chance.below(8) };
    let mut value = format!("{partition}:{offset}");
    for _ in 0..words {
        write!(value, " {:x}", chance.below(u64::MAX)).unwrap();
    }
    value
}

/// The key and the value of an event. Of a table some are tombstones.
pub(super) fn event_of(topic: &str, partition: i32, offset: i64) -> (Option<String>, Option<String>) {
    let value = value_of(partition, offset);
    if topic != TABLE {
        return (None, Some(value));
    }
    let mut chance = Chance(!offset.cast_unsigned() << 8 | u64::from(partition.cast_unsigned()));
    (Some(format!("key {}", chance.below(40))), (chance.below(8) > 0).then_some(value))
}

/// The offsets that a recording holds of a partition, up to `end`: of a table ahead of its window the last of each key that has a
/// value, and of all else every one.
pub(super) fn offsets_of(topic: &str, partition: i32, end: i64) -> Vec<i64> {
    let begin = if topic == TABLE { TABLE_BEGIN } else { 0 };
    let mut last = BTreeMap::new();
    for offset in 0..begin {
        match event_of(topic, partition, offset) {
            (key, Some(_)) => drop(last.insert(key, offset)),
            (key, None) => drop(last.remove(&key)),
        }
    }
    let mut offsets: Vec<i64> = last.into_values().collect();
    offsets.sort_unstable();
    offsets.extend(begin..end);
    offsets.retain(|offset| *offset < end);
    offsets
}

/// Fills the topic until it is ended.
pub(super) struct Feed {
    stop: Arc<AtomicBool>,
    filling: JoinHandle<BTreeMap<(String, i32), i64>>,
}

impl Feed {
    /// Begins to fill the topic with an event of each partition once in `every`: the slower, the fewer stand in a row group, and the
    /// more its footer weighs, also where a busy machine lets captures wait.
    pub(super) fn begin(brokers: &str, sort: Sort, every: Duration) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "0");
        config.set("enable.idempotence", "false").set("max.in.flight.requests.per.connection", "1");
        let producer: BaseProducer = config.create().unwrap();
        let topics: &[&str] = if sort == Sort::Table { &[TOPIC, TABLE] } else { &[TOPIC] };
        let of_topic =
            |topic: &&str| (0..PARTITIONS).map(|partition| ((*topic).to_owned(), partition)).collect::<Vec<_>>();
        let mut next: BTreeMap<(String, i32), i64> = topics.iter().flat_map(of_topic).map(|place| (place, 0)).collect();
        let mut bytes = 0;
        while let Some((place, next)) = next.iter_mut().find(|(place, next)| place.0 == TABLE && **next < TABLE_BEGIN) {
            bytes += produce(&producer, place, next);
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let filling = std::thread::spawn(move || {
            let clock = SystemClock::start();
            let mut turn = 0;
            while !stopped.load(Ordering::SeqCst) {
                turn += 1;
                clock.wait_until(turn * every);
                if bytes / next.len() > PARTITION_BYTES {
                    continue;
                }
                for (place, next) in &mut next {
                    bytes += produce(&producer, place, next);
                }
                producer.poll(Duration::ZERO);
            }
            producer.flush(Duration::from_secs(30)).unwrap();
            next
        });
        Self { stop, filling }
    }

    /// Returns how many events each partition holds.
    pub(super) fn end(&mut self) -> BTreeMap<(String, i32), i64> {
        self.stop.store(true, Ordering::SeqCst);
        let filling = std::mem::replace(&mut self.filling, std::thread::spawn(BTreeMap::new));
        filling.join().unwrap()
    }
}

/// Produces the event that comes next; returns its bytes, with what the broker adds to each batch.
fn produce(producer: &BaseProducer, (topic, partition): &(String, i32), next: &mut i64) -> usize {
    let (key, value) = event_of(topic, *partition, *next);
    let mut record = BaseRecord::<str, str>::to(topic).partition(*partition);
    (record.key, record.payload) = (key.as_deref(), value.as_deref());
    producer.send(record).unwrap();
    *next += 1;
    value.map_or(0, |value| value.len()) + 80
}
