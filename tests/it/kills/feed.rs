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

pub(super) const TOPIC: &str = "killed";
pub(super) const PARTITIONS: i32 = 3;

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

/// Fills the topic until it is ended.
pub(super) struct Feed {
    stop: Arc<AtomicBool>,
    filling: JoinHandle<BTreeMap<i32, i64>>,
}

impl Feed {
    pub(super) fn begin(brokers: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (brokers, stopped) = (brokers.to_owned(), Arc::clone(&stop));
        let filling = std::thread::spawn(move || {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers).set("linger.ms", "0");
            config.set("enable.idempotence", "false").set("max.in.flight.requests.per.connection", "1");
            let producer: BaseProducer = config.create().unwrap();
            let clock = SystemClock::start();
            let mut next: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
            let (mut turn, mut bytes) = (0, 0);
            while !stopped.load(Ordering::SeqCst) {
                turn += 1;
                clock.wait_until(turn * Duration::from_millis(1));
                if bytes / PARTITIONS as usize > PARTITION_BYTES {
                    continue;
                }
                for (&partition, next) in &mut next {
                    let value = value_of(partition, *next);
                    // What the broker adds to each batch is counted, too.
                    bytes += value.len() + 80;
                    producer.send(BaseRecord::<[u8], str>::to(TOPIC).partition(partition).payload(&value)).unwrap();
                    *next += 1;
                }
                producer.poll(Duration::ZERO);
            }
            producer.flush(Duration::from_secs(30)).unwrap();
            next
        });
        Self { stop, filling }
    }

    /// Returns how many events each partition holds.
    pub(super) fn end(&mut self) -> BTreeMap<i32, i64> {
        self.stop.store(true, Ordering::SeqCst);
        let filling = std::mem::replace(&mut self.filling, std::thread::spawn(BTreeMap::new));
        filling.join().unwrap()
    }
}
