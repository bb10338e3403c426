//! The stage: how fast it serves and takes, and how soon a consumer has an event that is due.
//!
//! Not a timed benchmark: each part runs once, for `REHEARSAL_BENCH_EVENTS` events (3 million by default), and prints what it
//! measured. The clients are librdkafka's own, in this process, so they share the two cores with the stage.

#![expect(clippy::print_stdout, reason = "what was measured is shown where it was asked for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rehearsal::clock::{Clock, SystemClock};
use rehearsal::drive::stage::{Chunk, ChunkBuilder, Planned, Reread, Spot, Stage, StageSettings};
use rehearsal::recording::{EventView, HeadersView, Place, RecordingError, TimestampType};
use rehearsal::samples::Broker;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a value.
const VALUE: usize = 100;

/// Events of a chunk.
const CHUNK: i64 = 2_000;

/// How far a feeder runs ahead of what was asked for, in events: well inside the window.
const AHEAD: i64 = 100_000;

/// Bounds every wait.
const WAIT: Duration = Duration::from_secs(60);

/// Time between two events that are paced.
const STEP: Duration = Duration::from_micros(100);

/// Events that are paced: ten seconds of them, the first second of which is not counted.
const PACED: i64 = 100_000;
const NOT_COUNTED: i64 = 10_000;

/// Makes the same event of a position each time.
#[derive(Debug)]
struct Made {
    value: [u8; VALUE],
}

impl Made {
    fn new() -> Self {
        Self { value: std::array::from_fn(|at| b'a' + (at * 7 % 26) as u8) }
    }

    fn push(&self, chunk: &mut ChunkBuilder, position: i64) -> bool {
        let event = EventView {
            topic: "planned",
            partition: 0,
            offset: position,
            timestamp_ms: Some(1_357_000_000_000 + position),
            timestamp_type: TimestampType::Create,
            captured_at_us: None,
            key: None,
            value: Some(&self.value),
            headers: HeadersView::EMPTY,
        };
        chunk.push(position, Place { segment: 0, row: position as u32 }, &event)
    }

    fn stock(&self, planned: &Planned, positions: std::ops::Range<i64>) -> Outcome<()> {
        let mut chunk = ChunkBuilder::default();
        for position in positions {
            if !self.push(&mut chunk, position) {
                return Err("a chunk is full".into());
            }
        }
        if let Some(chunk) = chunk.finish() {
            planned.stock(chunk)?;
        }
        Ok(())
    }
}

impl Reread for Made {
    fn reread(&mut self, spots: &[Spot], bytes_max: usize) -> Result<Option<Chunk>, RecordingError> {
        let mut chunk = ChunkBuilder::default();
        for spot in spots {
            if chunk.size_bytes() >= bytes_max || !self.push(&mut chunk, spot.position) {
                break;
            }
        }
        Ok(chunk.finish())
    }
}

struct Set {
    stage: Stage,
    planned: Planned,
    _folder: tempfile::TempDir,
}

fn set(clock: &Arc<SystemClock>) -> Outcome<Set> {
    let folder = tempfile::tempdir()?;
    let mut settings = StageSettings::new(folder.path());
    settings.window_bytes = 32 << 20;
    let stage = Stage::start(settings, Arc::clone(clock) as Arc<dyn Clock>)?;
    let made = stage.plan_topic("planned", &[0], BTreeMap::new(), |_| Box::new(Made::new()))?;
    let planned = made.into_iter().next().ok_or("there is no partition")?;
    stage.make_topic("out", 1, BTreeMap::new())?;
    Ok(Set { stage, planned, _folder: folder })
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// A consumer of the one partition of a topic, from its beginning.
fn reader(brokers: &str, topic: &str, settings: &[(&str, &str)]) -> Outcome<BaseConsumer> {
    reader_from(brokers, topic, Offset::Beginning, settings)
}

fn reader_from(brokers: &str, topic: &str, start: Offset, settings: &[(&str, &str)]) -> Outcome<BaseConsumer> {
    let mut config = config(brokers);
    config.set("group.id", "bench").set("enable.auto.commit", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, start)?;
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Events a second.
fn rate(events: i64, time: Duration) -> String {
    format!("{:.0} k events/s", events as f64 / time.as_secs_f64() / 1_000.0)
}

/// Serves without pace, and prints how fast one consumer had all events, from its first.
fn serve(events: i64) -> Outcome<()> {
    let clock = Arc::new(SystemClock::start());
    let Set { stage, planned, _folder } = set(&clock)?;
    let settings = [("queued.min.messages", "1000000"), ("fetch.message.max.bytes", "4194304")];
    let consumer = reader(&stage.bootstrap(), "planned", &settings)?;
    let (mut began, mut ended) = (Duration::ZERO, Duration::ZERO);
    thread::scope(|scope| -> Outcome<()> {
        let feeding = scope.spawn(|| -> Outcome<()> {
            let made = Made::new();
            for first in (0..events).step_by(CHUNK as usize) {
                while first - planned.asked().unwrap_or(0) > AHEAD {
                    clock.wait_until(clock.now() + STEP);
                }
                let last = (first + CHUNK).min(events);
                made.stock(&planned, first..last)?;
                planned.reveal((last - first) as u64);
            }
            Ok(())
        });
        for expected in 0..events {
            // A wait reads the clock, also where nothing is waited for: a quarter of what this thread does, which bounds all of it.
            let event = consumer.poll(Duration::ZERO).or_else(|| consumer.poll(WAIT));
            let event = event.ok_or("the consumer waits for nothing")??;
            if event.offset() != expected || event.payload().map(<[u8]>::len) != Some(VALUE) {
                return Err(format!("event {} came for {expected}", event.offset()).into());
            }
            if expected == 0 {
                began = clock.now();
            }
        }
        ended = clock.now();
        feeding.join().map_err(|_| "the feeder panicked")?
    })?;
    println!("serve: {} to one consumer of librdkafka", rate(events, ended.saturating_sub(began)));
    Ok(())
}

/// Takes what one producer writes as fast as it can, and prints how fast all of it was acknowledged.
fn take(events: i64) -> Outcome<()> {
    let clock = Arc::new(SystemClock::start());
    let Set { stage, _folder, .. } = set(&clock)?;
    let mut config = config(&stage.bootstrap());
    config.set("linger.ms", "5").set("batch.num.messages", "100000").set("queue.buffering.max.messages", "1000000");
    let producer: BaseProducer = config.create()?;
    let value = Made::new().value;
    let began = clock.now();
    for _ in 0..events {
        let mut event = BaseRecord::<(), [u8]>::to("out").partition(0).payload(&value);
        while let Err((_, back)) = producer.send(event) {
            // Its queue is full.
            producer.poll(Duration::from_millis(1));
            event = back;
        }
    }
    producer.flush(WAIT)?;
    let took = clock.now().saturating_sub(began);
    let consumer = reader(&stage.bootstrap(), "out", &[])?;
    let (_, end) = consumer.fetch_watermarks("out", 0, WAIT)?;
    if end != events {
        return Err(format!("{end} of {events} events were taken").into());
    }
    println!("take: {} from one producer of librdkafka, acknowledged", rate(events, took));
    Ok(())
}

/// How one event after the other is handed over.
#[derive(Clone, Copy)]
enum Pacing {
    /// Each is waited for by its own due time.
    Absolute,
    /// A step is slept after each.
    Relative,
}

/// Hands events over at 10,000 a second, and prints how long after it was due each was returned by the consumer's poll.
fn paced(
    name: &str,
    clock: &SystemClock,
    consumer: &BaseConsumer,
    pacing: Pacing,
    hand_over: impl Fn(i64) + Sync,
) -> Outcome<()> {
    let start = clock.now() + Duration::from_millis(500);
    let due = |position: i64| start + STEP * position as u32;
    let mut late = Histogram::<u64>::new(3)?;
    let mut polls = 0;
    thread::scope(|scope| -> Outcome<()> {
        scope.spawn(|| {
            for position in 0..PACED {
                match pacing {
                    Pacing::Absolute => clock.wait_until(due(position)),
                    Pacing::Relative if position == 0 => clock.wait_until(start),
                    Pacing::Relative => clock.wait_until(clock.now() + STEP),
                }
                hand_over(position);
            }
        });
        while polls < PACED {
            let event = consumer.poll(WAIT).ok_or("the consumer waits for nothing")??;
            let now = clock.now();
            if event.offset() >= NOT_COUNTED {
                late.record(now.saturating_sub(due(event.offset())).as_micros() as u64)?;
            }
            polls += 1;
        }
        Ok(())
    })?;
    let at = |quantile| late.value_at_quantile(quantile);
    println!("{name}: p50 {} us, p99 {} us, p99.9 {} us, max {} us", at(0.5), at(0.99), at(0.999), late.max());
    Ok(())
}

fn stage_paced(name: &str, clock: SystemClock, pacing: Pacing) -> Outcome<()> {
    let clock = Arc::new(clock);
    let Set { stage, planned, _folder } = set(&clock)?;
    let made = Made::new();
    for first in (0..PACED).step_by(CHUNK as usize) {
        made.stock(&planned, first..first + CHUNK)?;
    }
    let consumer = reader(&stage.bootstrap(), "planned", &[])?;
    while planned.asked().is_none() {
        if let Some(event) = consumer.poll(Duration::from_millis(1)) {
            return Err(format!("event {} came ahead of its time", event?.offset()).into());
        }
    }
    paced(name, &clock, &consumer, pacing, |_| {
        planned.reveal(1);
    })
}

/// The same with librdkafka's mock cluster between: what a broker costs that must be written to first.
fn mock_paced() -> Outcome<()> {
    let clock = SystemClock::start();
    let broker = Broker::start([("planned", 1)])?;
    let mut config = config(broker.brokers());
    config.set("linger.ms", "0");
    let producer: BaseProducer = config.create()?;
    let consumer = reader(broker.brokers(), "planned", &[])?;
    consumer.poll(Duration::from_millis(500)).transpose()?;
    let value = Made::new().value;
    paced("mock cluster, absolute", &clock, &consumer, Pacing::Absolute, |_| {
        // What is refused never comes, which is seen by whoever waits for it.
        let _ = producer.send(BaseRecord::<(), [u8]>::to("planned").partition(0).payload(&value));
        producer.poll(Duration::ZERO);
    })
}

/// Prints how soon a consumer has its first event after the stage was asked to start: one that is assigned its partition from an
/// offset on, or in a group where no offset is given. Assigned from `Beginning`, librdkafka waits for half a second before it asks where
/// that is, with Apache Kafka as well.
fn first(start: Option<Offset>) -> Outcome<()> {
    let clock = Arc::new(SystemClock::start());
    let began = clock.now();
    let Set { stage, planned, _folder } = set(&clock)?;
    Made::new().stock(&planned, 0..1)?;
    planned.reveal(1);
    let consumer = if let Some(start) = start {
        reader_from(&stage.bootstrap(), "planned", start, &[])?
    } else {
        let consumer: BaseConsumer = config(&stage.bootstrap()).set("group.id", "first").create()?;
        consumer.subscribe(&["planned"])?;
        consumer
    };
    // A poll ends without an event where a group comes together, too.
    while consumer.poll(Duration::from_millis(10)).transpose()?.is_none() {
        if clock.now().saturating_sub(began) > WAIT {
            return Err("the first event does not come".into());
        }
    }
    let how = start.map_or("in a group".to_owned(), |start| format!("assigned from {start:?}"));
    let took = clock.now().saturating_sub(began);
    println!("first event after start, {how}: {:.1} ms", took.as_secs_f64() * 1_000.0);
    Ok(())
}

fn main() -> Outcome<()> {
    let events = std::env::var("REHEARSAL_BENCH_EVENTS").ok().and_then(|events| events.parse().ok());
    let events = events.unwrap_or(3_000_000);
    first(Some(Offset::Offset(0)))?;
    first(Some(Offset::Beginning))?;
    first(None)?;
    serve(events)?;
    take(events)?;
    stage_paced("stage, absolute", SystemClock::start(), Pacing::Absolute)?;
    let spinning = SystemClock::start_spinning(Duration::from_millis(1));
    stage_paced("stage, absolute, spinning", spinning, Pacing::Absolute)?;
    stage_paced("stage, relative sleeping", SystemClock::start(), Pacing::Relative)?;
    mock_paced()
}
