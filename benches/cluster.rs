//! A plan produced to a real cluster, beside a bare producer of the same client in the same run.
//!
//! Not a timed benchmark: each round produces `REHEARSAL_BENCH_EVENTS` events (1 million by default) of 100 bytes once by a drive,
//! unpaced, once by a bare producer with the same settings and once by one with librdkafka's own, in turn which of them is first, and
//! prints all rates. The broker is Apache Kafka on the same cores. A first round, in which it becomes warm, does not count; each side begins with
//! the broker at rest and with a producer that has its connection and its id. Last, a drive at 10,000 events a second shows how late
//! they are acknowledged.

#![expect(clippy::print_stdout, reason = "what was measured is shown where it was asked for")]
// What is shared with the tests fails as they do.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::drive::{BuildSettings, DriveSettings, Job, Transport, drive};
use rehearsal::outcome::Outcome;
use rehearsal::plan::{Plan, PlanSettings, Seed, plan};
use rehearsal::recording::{Event, EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType, TopicSource};
use rehearsal::spill::SpillSpace;
use tempfile::TempDir;

#[path = "../tests/kafka/cluster.rs"]
#[expect(dead_code, reason = "only the tests stop brokers")]
mod cluster;

use cluster::Cluster;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a value.
const VALUE: usize = 100;

/// Partitions of the topic.
const PARTITIONS: i32 = 4;

/// Each of these is run so often, in turn, behind a round that does not count.
const ROUNDS: usize = 7;

/// The broker is at rest where it works less than a fifth of such a time.
const REST: Duration = Duration::from_millis(200);

/// Bounds every wait.
const WAIT: Duration = Duration::from_secs(60);

/// Events that are paced: ten seconds of them.
const PACED: i64 = 100_000;

fn value() -> [u8; VALUE] {
    std::array::from_fn(|at| b'a' + (at * 7 % 26) as u8)
}

/// A recording of so many events, ten a millisecond, which says that it comes from another cluster.
fn recorded(folder: &Path, count: i64) -> Done<Recording> {
    let topic = TopicSource { name: "events".into(), partitions: PARTITIONS, ..TopicSource::default() };
    let source = Source { topics: vec![topic], cluster: Some("another".into()), ..Source::default() };
    let path = folder.join(format!("recording-{count}"));
    let mut writer = RecordingWriter::create(&path, source)?;
    let mut offset = 0;
    while offset < count {
        let mut builder = EventBatchBuilder::new();
        for at in offset..(offset + 10_000).min(count) {
            builder.push_event(&Event {
                topic: "events".into(),
                partition: (at % i64::from(PARTITIONS)) as i32,
                offset: at / i64::from(PARTITIONS),
                timestamp_ms: Some(1_357_000_000_000 + at / 10),
                timestamp_type: TimestampType::Create,
                value: Some(value().to_vec()),
                ..Event::default()
            });
        }
        writer.write(&builder.finish())?;
        offset += 10_000;
    }
    writer.seal()?;
    Ok(Recording::open(path)?)
}

fn planned(recording: &Recording, pace: &str) -> Done<Plan> {
    let settings = PlanSettings { pace: toml::from_str(pace)?, ..PlanSettings::default() };
    Ok(plan(recording, &settings, Seed(1), Arc::new(SpillSpace::system()))?)
}

/// Drives a build that reads nothing.
fn driven(cluster: &Cluster, recording: &Recording, plan: &Plan, out: &Path) -> Done<Outcome> {
    let command = ["sh", "-c", "echo ready; exec sleep 600"].map(str::to_owned);
    let build = BuildSettings { command: command.into(), ..BuildSettings::default() };
    let build = build.check_for("new", Path::new("."), Transport::Kafka)?;
    let properties = std::env::var("REHEARSAL_BENCH_PROPERTIES").unwrap_or_default();
    let text = format!(
        "transport = 'kafka'\nbroker = '{}'\noutputs = ['out']\nfinished = 'quiet'\nready = {{ line = 'ready' }}\nsettle = '1ms'\nproperties = {{ {properties} }}",
        cluster.brokers
    );
    let rules = toml::from_str::<DriveSettings>(&text)?.check()?;
    let job =
        Job { name: "bench", plan, recording, deliveries: None, build: &build, rules: &rules, out: out.to_owned() };
    Ok(drive(&job, &SystemClock::start(), &Stop::new(), &|_| {})?)
}

/// Processor time of this process so far, which no neighbour on the machine lengthens as it does the time that passes: that of its
/// children, the brokers' too, is not in it.
fn processor() -> Done<Duration> {
    Ok(Stat::of("self").ok_or("this process has no times")?.time)
}

/// Processor time of the brokers so far: of the programs of Java that this process started, or their script did.
fn brokers() -> Done<Duration> {
    let processes = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let all: Vec<(String, Stat)> = processes.filter_map(|id| Stat::of(&id).map(|stat| (id, stat))).collect();
    let own = std::process::id().to_string();
    let parent = |id: &String| all.iter().find(|(other, _)| other == id).map(|(_, stat)| &stat.parent);
    let is_ours = |stat: &Stat| stat.parent == own || parent(&stat.parent) == Some(&own);
    Ok(all.iter().filter(|(_, stat)| stat.name == "java" && is_ours(stat)).map(|(_, stat)| stat.time).sum())
}

/// What Linux tells of a process.
struct Stat {
    name: String,
    parent: String,
    /// Processor time so far.
    time: Duration,
}

impl Stat {
    /// Of the process `id`; none where it has ended.
    fn of(id: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (front, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let (user, system) = ticks(11).zip(ticks(12))?;
        let name = front.split_once('(')?.1.to_owned();
        // Linux counts them in hundredths of a second, whatever its own clock does.
        Some(Self { name, parent: (*fields.get(1)?).to_owned(), time: Duration::from_millis(10 * (user + system)) })
    }
}

/// Waits until the brokers have put aside what was produced last, which they do behind its back.
fn rest() -> Done<()> {
    let clock = SystemClock::start();
    let mut before = brokers()?;
    while clock.now() < WAIT {
        clock.wait_until(clock.now() + REST);
        let now = brokers()?;
        if now.saturating_sub(before) < REST / 5 {
            return Ok(());
        }
        before = now;
    }
    Err("the brokers do not come to rest".into())
}

/// Time from the begin of the schedule to the last acknowledgement.
fn length(outcome: &Outcome) -> Done<Duration> {
    let mut last_us = 0;
    for receipts in outcome.deliveries()?.ok_or("there are no receipts")? {
        for receipt in &receipts? {
            last_us = last_us.max(receipt.sent_us.ok_or("an event was not produced")?);
        }
    }
    Ok(Duration::from_micros(last_us.unsigned_abs()))
}

/// What the producer of an unpaced drive to so many partitions is set to.
const DRIVES: [(&str, &str); 5] = [
    ("enable.idempotence", "true"),
    ("queue.buffering.max.ms", "20"),
    ("queue.buffering.max.kbytes", "131072"),
    ("queue.buffering.max.messages", "50000"),
    ("message.max.bytes", "100000000"),
];

/// What librdkafka's producer is set to by itself, but that it brings each event once, as a drive must.
const OWN: [(&str, &str); 1] = [("enable.idempotence", "true")];

/// Produces the same events without anything around it; returns how long that takes.
fn bare(cluster: &Cluster, topic: &str, count: i64, settings: &[(&str, &str)]) -> Done<Duration> {
    cluster.create(topic, PARTITIONS, &[("retention.ms", "-1")]);
    let mut config = cluster.config();
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let producer: BaseProducer = config.create()?;
    let value = value();
    // One event to each partition ahead of the others: connected and with an id, as a drive is when its schedule starts.
    send(&producer, topic, &value, 0..i64::from(PARTITIONS))?;
    producer.flush(WAIT)?;
    let clock = SystemClock::start();
    send(&producer, topic, &value, 0..count)?;
    producer.flush(WAIT)?;
    let took = clock.now();
    cluster.delete(topic);
    Ok(took)
}

fn send(producer: &BaseProducer, topic: &str, value: &[u8], events: Range<i64>) -> Done<()> {
    for at in events {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition((at % i64::from(PARTITIONS)) as i32);
        record = record.payload(value).timestamp(1_357_000_000_000 + at / 10);
        while let Err((error, again)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(1));
            record = again;
        }
        if at % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(())
}

fn rate(count: i64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Microseconds an event.
fn cost(count: i64, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// What one side was measured to take.
#[derive(Default)]
struct Side {
    /// Events a second, by round.
    rates: Vec<f64>,
    /// Microseconds of processor time an event, of this process and of the brokers.
    own: Vec<f64>,
    brokers: Vec<f64>,
}

impl Side {
    /// Measures one round of it; `run` returns how long it took.
    fn measure(&mut self, count: i64, run: impl FnOnce() -> Done<Duration>) -> Done<()> {
        rest()?;
        let before = (processor()?, brokers()?);
        let time = run()?;
        self.own.push(cost(count, processor()?.saturating_sub(before.0)));
        self.brokers.push(cost(count, brokers()?.saturating_sub(before.1)));
        self.rates.push(rate(count, time));
        Ok(())
    }

    fn last(&self) -> f64 {
        self.rates.last().map_or(0.0, |rate| rate / 1e3)
    }

    /// Without the first round, in which the broker became warm.
    fn counted(&self) -> [f64; 3] {
        [&self.rates, &self.own, &self.brokers].map(|figures| median(&figures[1..]))
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> Done<()> {
    let count = std::env::var("REHEARSAL_BENCH_EVENTS").ok().map(|text| text.parse()).transpose()?.unwrap_or(1_000_000);
    let Some(cluster) = Cluster::of(1) else {
        println!("cluster: Apache Kafka cannot be had");
        return Ok(());
    };
    let folder = TempDir::new()?;
    let recording = recorded(folder.path(), count)?;
    let plan = planned(&recording, "mode = 'unpaced'")?;
    let mut sides: [Side; 3] = Default::default();
    let mut shares: [Vec<f64>; 2] = Default::default();
    for round in 0..=ROUNDS {
        for turn in 0..sides.len() {
            let number = (round + turn) % sides.len();
            let topic = format!("bare-{round}-{number}");
            let out = folder.path().join(format!("outcome-{round}"));
            sides[number].measure(count, || match number {
                0 => length(&driven(&cluster, &recording, &plan, &out)?),
                1 => bare(&cluster, &topic, count, &DRIVES),
                _ => bare(&cluster, &topic, count, &OWN),
            })?;
        }
        let [drive, same, own] = sides.each_ref().map(Side::last);
        let counts = if round == 0 { ", which does not count" } else { "" };
        println!(
            "cluster, round {round}: drive {drive:.0} k/s, bare producer {same:.0} k/s, with librdkafka's own settings {own:.0} k/s{counts}"
        );
        if round > 0 {
            shares[0].push(drive / same * 100.0);
            shares[1].push(drive / own * 100.0);
        }
    }
    println!("cluster, {count} events of {VALUE} B, {PARTITIONS} partitions, medians:");
    let names = ["drive", "bare producer with its settings", "bare producer with librdkafka's own"];
    for (number, (name, side)) in names.iter().zip(&sides).enumerate() {
        let [rate, own, brokers] = side.counted();
        let share = number.checked_sub(1).map_or_else(String::new, |number| {
            let shares = &mut shares[number];
            shares.sort_by(f64::total_cmp);
            let (least, most) = (shares[0], shares[shares.len() - 1]);
            format!("; the drive {:.0} % of it round by round ({least:.0} to {most:.0} %)", median(shares))
        });
        println!(
            "  {name}: {:.0} k/s, processor time an event {own:.2} us and the broker's {brokers:.2} us{share}",
            rate / 1e3
        );
    }
    rest()?;
    let recording = recorded(folder.path(), PACED)?;
    let paced = planned(&recording, "mode = 'recorded'")?;
    let outcome = driven(&cluster, &recording, &paced, &folder.path().join("paced"))?;
    let lateness = outcome.ending().lateness.ok_or("nothing was timed")?;
    println!(
        "cluster, 10,000 events a second, due to acknowledged: p50 {} us, p99 {} us, p99.9 {} us, slow-down {:.5}",
        lateness.p50_us, lateness.p99_us, lateness.p999_us, lateness.slow_down
    );
    Ok(())
}
