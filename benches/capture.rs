//! Capture beside a bare consumer and beside kcat, of the same events, in the same run.
//!
//! Inside the timed region: starting (of a process, for the capture and kcat), connecting, fetching over the loopback, and for the
//! capture also encoding, compressing, hashing, syncing and sealing the recording; kcat writes values and line breaks to a file. The
//! broker shares the machine's cores with each: Apache Kafka where it can be had, else librdkafka's in-process one.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures are the result")]

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rehearsal::capture::CaptureSettings;
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::mask::Detection;
use rehearsal::recording::{Columns, Event, EventBatchBuilder, Recording, RecordingWriter, Source};
use rehearsal::samples::Broker;

#[path = "../tests/kafka/cluster.rs"]
#[expect(dead_code, reason = "only the tests stop brokers")]
mod cluster;

/// Each of these is run so often, one after the other.
const ROUNDS: usize = 5;

/// What brokers are measured.
enum Brokers {
    Kafka(cluster::Cluster),
    InProcess(Broker),
}

impl Brokers {
    fn start() -> Self {
        match cluster::Cluster::of(1) {
            Some(kafka) => Self::Kafka(kafka),
            // Keeps 5 MiB a partition as the producer sent them: few events, many partitions.
            None => Self::InProcess(Broker::start([("s200", 16), ("s1000", 16), ("flights", 16)]).unwrap()),
        }
    }

    fn address(&self) -> &str {
        match self {
            Self::Kafka(kafka) => &kafka.brokers,
            Self::InProcess(broker) => broker.brokers(),
        }
    }

    /// Makes a topic and returns its partitions and how many events of `size` bytes it shall hold.
    fn topic(&self, name: &str, size: usize) -> (i32, u64) {
        match self {
            Self::Kafka(kafka) => {
                kafka.create(name, 8, &[]);
                let events = std::env::var("REHEARSAL_BENCH_EVENTS").map_or(2_000_000, |text| text.parse().unwrap());
                (8, events * 200 / size as u64)
            }
            Self::InProcess(_) => (16, 60_000_000 / size as u64),
        }
    }
}

/// Produces `events` events of `size` bytes of key and value: flights, one behind the other, so that the entropy is theirs.
fn produce(brokers: &str, topic: &str, partitions: i32, events: u64, size: usize) {
    let flights = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let mut bytes = Vec::new();
    for batch in flights.batches(Columns { key: false, value: true, headers: false }) {
        for event in batch.unwrap().iter() {
            bytes.extend_from_slice(event.value.unwrap());
        }
    }
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "20").create().unwrap();
    let mut start = 0;
    for number in 0..events {
        let key = format!("flight-{:05}", number % 53_402);
        if start + size > bytes.len() {
            start = number as usize % 101;
        }
        let value = &bytes[start..start + size - key.len()];
        start += value.len();
        let partition = (number % partitions as u64) as i32;
        let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(value);
        while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// Takes all events with a bare consumer. `backoff_ms` is how soon it goes on fetching once what it holds has been taken: a second by
/// librdkafka's default, sooner by what the capture sets.
fn consume(brokers: &str, topic: &str, partitions: i32, events: u64, backoff_ms: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", backoff_ms)
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    for _ in 0..events {
        let event = consumer.poll(Duration::from_secs(30)).unwrap().unwrap();
        black_box(event.payload());
    }
}

/// Captures with the program itself and returns the most memory it held, in KiB; none where the system does not tell.
fn capture(brokers: &str, topic: &str, out: &Path, mask: Option<&Path>) -> Option<u64> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .args(["capture", "--json", "--brokers", brokers, "--topic", topic, "--out"])
        .arg(out)
        .args(mask.into_iter().flat_map(|mask| [Path::new("--mask"), mask]))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut peak, clock) = (None, SystemClock::start());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        peak = peak.max(peak_so_far_kib(child.id()));
        clock.wait_until(clock.now() + Duration::from_millis(10));
    }
}

/// Largest resident set of the process so far, in KiB.
fn peak_so_far_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

/// Writes the values to a file with kcat; returns whether there is one.
fn kcat(brokers: &str, topic: &str, out: &Path) -> bool {
    let arguments = ["-C", "-q", "-e", "-o", "beginning", "-b", brokers, "-t", topic];
    let status = Command::new("kcat").args(arguments).stdout(File::create(out).unwrap()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns the bytes of all segments, and those of the footers that others follow.
fn footers(recording: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(recording.join("segments")).unwrap() {
        let file = File::open(entry.unwrap().path()).unwrap();
        let length = file.metadata().unwrap().len();
        let reader = SerializedFileReader::new(file.try_clone().unwrap()).unwrap();
        sum = (sum.0 + length, sum.1 + length - used(reader.metadata(), &file, length));
    }
    sum
}

/// Bytes of a segment without the footers that others follow: the mark, columns, indexes, the last footer.
fn used(metadata: &ParquetMetaData, file: &File, length: u64) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut tail = [0; 4];
    file.read_exact_at(&mut tail, length - 8).unwrap();
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let columns = columns.map(|column| {
        let indexes = column.column_index_length().unwrap_or(0) + column.offset_index_length().unwrap_or(0);
        column.compressed_size() as u64 + indexes as u64
    });
    4 + columns.sum::<u64>() + u64::from(u32::from_le_bytes(tail)) + 8
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn measure(brokers: &Brokers, topic: &str, size: usize) {
    let (partitions, events) = brokers.topic(topic, size);
    let address = brokers.address();
    produce(address, topic, partitions, events, size);
    let folder = tempfile::tempdir().unwrap();
    let clock = SystemClock::start();
    let timed = |work: &mut dyn FnMut()| {
        let begun = clock.now();
        work();
        clock.now().saturating_sub(begun).as_secs_f64()
    };
    let (mut default, mut bare, mut ours, mut cats) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut peak, mut footer_share) = (None, 0.0);
    for round in 0..ROUNDS {
        default.push(timed(&mut || consume(address, topic, partitions, events, "1000")));
        bare.push(timed(&mut || consume(address, topic, partitions, events, "2")));
        let out = folder.path().join(round.to_string());
        ours.push(timed(&mut || peak = peak.max(capture(address, topic, &out, None))));
        let recording = Recording::open(&out).unwrap();
        assert_eq!(recording.len(), events);
        let (bytes, footers) = footers(&out);
        footer_share = footers as f64 / bytes as f64;
        fs::remove_dir_all(&out).unwrap();
        let mut there = false;
        let seconds = timed(&mut || there = kcat(address, topic, &folder.path().join("kcat")));
        if there {
            cats.push(seconds);
        }
    }
    let share = |bare: &[f64]| 100.0 * median(bare.iter().zip(&ours).map(|(bare, ours)| bare / ours).collect());
    let (of_bare, of_default) = (share(&bare), share(&default));
    let rate = |seconds: Vec<f64>| events as f64 / median(seconds) / 1e3;
    println!("{size} B, {events} events in {partitions} partitions; medians of {ROUNDS} rounds, in thousands a second");
    println!("  bare consumer {:8.0}, with librdkafka's own settings {:.0}", rate(bare), rate(default));
    println!(
        "  capture       {:8.0}, {of_bare:.0} % of the bare consumer of the same round, {of_default:.0} % of that with its own settings",
        rate(ours)
    );
    if cats.is_empty() {
        println!("  kcat          is not installed");
    } else {
        println!("  kcat to a file{:8.0}", rate(cats));
    }
    let peak = peak.map_or("unknown".to_owned(), |kib| format!("{:.0} MB", kib as f64 / 1e3));
    println!("  most memory {peak}; footers that others follow: {:.2} % of all bytes", 100.0 * footer_share);
}

/// Three fields by a token, a redaction and a shift.
const POLICY: &str = "key-file = 'key'
[[rule]]
value = ['$.tail']
method = 'token'
[[rule]]
value = ['$.dest']
method = 'redact'
[[rule]]
value = ['$.at']
method = 'shift'
";

/// Produces `events` flights as they are, JSON that masks look into; returns the mean bytes of a key and value.
fn produce_flights(brokers: &str, topic: &str, partitions: i32, events: u64) -> u64 {
    let flights = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "20").create().unwrap();
    let (mut number, mut bytes) = (0, 0);
    while number < events {
        for batch in flights.batches(Columns { key: true, value: true, headers: false }) {
            for event in batch.unwrap().iter().take((events - number) as usize) {
                let (key, value) = (event.key.unwrap_or_default(), event.value.unwrap());
                bytes += (key.len() + value.len()) as u64;
                let partition = (number % partitions as u64) as i32;
                let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
                while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) =
                    producer.send(record)
                {
                    producer.poll(Duration::from_millis(10));
                    record = back;
                }
                number += 1;
            }
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    bytes / events
}

/// Captures within this process with nothing looked for, which the program always does.
fn capture_unseen(brokers: &str, topic: &str, out: &Path) {
    let mut settings = CaptureSettings::new(brokers, [topic]);
    settings.detection = Detection::Off;
    rehearsal::capture::capture(&settings, out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
}

fn measure_masks(brokers: &Brokers) {
    let (partitions, events) = brokers.topic("flights", 300);
    let address = brokers.address();
    let size = produce_flights(address, "flights", partitions, events);
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("mask.toml");
    fs::write(folder.path().join("key"), "6d61736b2d6b65792d6f662d62656e6368657320206e6f7420612073656372657421")
        .unwrap();
    fs::write(&policy, POLICY).unwrap();
    let clock = SystemClock::start();
    let timed = |work: &mut dyn FnMut(&Path)| {
        let out = folder.path().join("out");
        let begun = clock.now();
        work(&out);
        let seconds = clock.now().saturating_sub(begun).as_secs_f64();
        assert_eq!(Recording::open(&out).unwrap().len(), events);
        fs::remove_dir_all(&out).unwrap();
        seconds
    };
    let (mut unseen, mut looking, mut masked) = (Vec::new(), Vec::new(), Vec::new());
    let (mut peak, mut masked_peak) = (None, None);
    for _ in 0..ROUNDS {
        unseen.push(timed(&mut |out| capture_unseen(address, "flights", out)));
        looking.push(timed(&mut |out| peak = peak.max(capture(address, "flights", out, None))));
        masked.push(timed(&mut |out| masked_peak = masked_peak.max(capture(address, "flights", out, Some(&policy)))));
    }
    let rate = |seconds: Vec<f64>| events as f64 / median(seconds) / 1e3;
    println!("flights of {size} B, {events} events in {partitions} partitions, in thousands a second");
    println!("  nothing looked for          {:8.0}", rate(unseen));
    println!("  detectors on (default)      {:8.0}", rate(looking));
    println!("  with a policy of three fields{:7.0}", rate(masked));
    let shown = |peak: Option<u64>| peak.map_or("unknown".to_owned(), |kib| format!("{:.0} MB", kib as f64 / 1e3));
    println!("  most memory {}, with the policy {}", shown(peak), shown(masked_peak));
}

/// Writes an hour of a topic of two events a second, as a capture does that makes sure of them every five seconds.
fn measure_slow() {
    const CHECKPOINTS: usize = 720;
    const EVENTS: usize = 10;
    let flights = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights")).unwrap();
    let mut values = flights
        .batches(Columns::ALL)
        .flat_map(|batch| batch.unwrap().iter().map(|event| event.value.unwrap()[..175].to_vec()).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut writer = RecordingWriter::create(&out, Source::default()).unwrap();
    let (clock, mut slowest, mut offset) = (SystemClock::start(), Duration::ZERO, 0);
    for _ in 0..CHECKPOINTS {
        let mut batch = EventBatchBuilder::new();
        for value in values.by_ref().take(EVENTS) {
            let (topic, value) = ("slow".to_owned(), Some(value));
            batch.push_event(&Event { topic, offset, value, timestamp_ms: Some(offset * 500), ..Event::default() });
            offset += 1;
        }
        writer.write(&batch.finish()).unwrap();
        let begun = clock.now();
        writer.checkpoint().unwrap();
        slowest = slowest.max(clock.now().saturating_sub(begun));
    }
    let open = fs::read_dir(out.join("segments")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).max();
    writer.seal().unwrap();
    let (bytes, footers) = footers(&out);
    let recording = Recording::open(&out).unwrap();
    assert_eq!((recording.len() as usize, recording.verify().unwrap()), (CHECKPOINTS * EVENTS, vec![]));
    println!("two events of 175 B a second, {CHECKPOINTS} checkpoints of {EVENTS} events, written alone");
    println!(
        "  {} segments of {:.1} kB in all; footers that others follow: {:.2} % of all bytes; one under way took {:.0} kB",
        recording.manifest().segments.len(),
        bytes as f64 / 1e3,
        100.0 * footers as f64 / bytes as f64,
        open.unwrap_or_default() as f64 / 1e3
    );
    println!("  slowest checkpoint, that which gathers a segment among them: {:.1} ms", slowest.as_secs_f64() * 1e3);
}

fn main() {
    measure_slow();
    let brokers = Brokers::start();
    println!(
        "{}",
        match brokers {
            Brokers::Kafka(_) => "Apache Kafka, one broker",
            Brokers::InProcess(_) => "librdkafka's in-process broker: Apache Kafka cannot be had",
        }
    );
    measure(&brokers, "s200", 200);
    measure(&brokers, "s1000", 1_000);
    measure_masks(&brokers);
}
