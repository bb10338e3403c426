//! Where a capture gets its events from: brokers that ask for a login, several brokers, another client's odd bytes, tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::capture::{CaptureProgress, CaptureSettings, Start, TopicChoice, Until, capture};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::recording::{Columns, Event, Header, Recording, Role, TimestampType};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::cluster::Cluster;

const WAIT: Duration = Duration::from_secs(30);

fn taken(settings: &CaptureSettings) -> (Recording, TempDir) {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    capture(settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    (recording, folder)
}

fn events(recording: &Recording) -> Vec<Event> {
    let batches = recording.batches(Columns::ALL);
    batches.flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>()).collect()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(folder).env("PASSWORD", "wonderland").arg("capture").args(arguments).output().unwrap()
}

/// A broker that asks for a login, and a folder with properties for it.
struct Guarded {
    cluster: Cluster,
    folder: TempDir,
}

impl Guarded {
    fn start() -> Option<Self> {
        let cluster = Cluster::secure()?;
        cluster.create("guarded", 1, &[]);
        let producer: BaseProducer = cluster.config().create().unwrap();
        producer.send(BaseRecord::to("guarded").key("k").payload("v")).unwrap();
        producer.flush(WAIT).unwrap();
        Some(Self { cluster, folder: TempDir::new().unwrap() })
    }

    /// Captures with properties of a file called `name`; returns the exit code and all that was said, which holds no secret.
    fn capture(&self, name: &str, authority: &str, properties: &str) -> (Option<i32>, String) {
        let ca = self.cluster.files.join(authority);
        let base = format!("bootstrap.servers={}\nsecurity.protocol=SASL_SSL\n", self.cluster.secure_brokers);
        let text = format!("{base}ssl.ca.location={}\nsasl.username=alice\n{properties}\n", ca.display());
        std::fs::write(self.folder.path().join(name), text).unwrap();
        let out = format!("{name}.out");
        let output = run(
            self.folder.path(),
            &["--topic", "guarded", "--config", name, "--out", &out, "--json", "-X", "debug=all"],
        );
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for secret in ["wonderland", "looking-glass", "eyJ"] {
            assert!(!said.contains(secret), "{said}");
        }
        (output.status.code(), said)
    }
}

#[test]
fn a_login_over_tls_lets_in_whom_it_should_and_says_why_not() {
    let Some(guarded) = Guarded::start() else { return };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = |password: &str| format!("sasl.mechanism={mechanism}\nsasl.password={password}");
        let (code, said) = guarded.capture(mechanism, "ca.pem", &login("${PASSWORD}"));
        assert_eq!(code, Some(0), "{said}");
        let out = guarded.folder.path().join(format!("{mechanism}.out"));
        assert_eq!(Recording::open(&out).unwrap().len(), 1);
        let manifest = std::fs::read_to_string(out.join("manifest.json")).unwrap();
        assert!(!manifest.contains("wonderland") && !manifest.contains("alice"), "{manifest}");
        let (code, said) = guarded.capture("wrong", "ca.pem", &login("looking-glass"));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("uthentication failed") && said.contains("sasl.password"), "{said}");
    }
    let (code, said) = guarded.capture("untrusted", "other.pem", "sasl.mechanism=PLAIN\nsasl.password=${PASSWORD}");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("certificate verify failed") && said.contains("ssl.ca.location"), "{said}");
}

#[test]
fn a_token_is_made_or_read_from_a_file() {
    let Some(guarded) = Guarded::start() else { return };
    let bearer = |name: &str, config: &str| {
        guarded.capture(name, "ca.pem", &format!("sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.config={config}"))
    };
    let (code, said) = bearer("made", "principal=alice");
    assert_eq!(code, Some(0), "{said}");
    let file = guarded.folder.path().join("token");
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let write = |issued: i64, ends: i64| {
        let claims = part(&format!(r#"{{"sub":"alice","iat":{issued},"exp":{ends}}}"#));
        std::fs::write(&file, format!("{}.{claims}.\n", part(r#"{"alg":"none"}"#))).unwrap();
    };
    let of_file = format!("token-file={}", file.display());
    let now = SystemClock::start().date_us() / 1_000_000;
    write(now - 60, now + 600);
    let (code, said) = bearer("good", &of_file);
    assert_eq!(code, Some(0), "{said}");
    write(now - 600, now - 60);
    let (code, said) = bearer("late", &of_file);
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = bearer("gone", "token-file=nowhere");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("could not read nowhere"), "{said}");
}

/// Produces one event a number to each of three partitions; each value is the number.
fn produce(producer: &BaseProducer, topic: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for partition in 0..3 {
            let value = number.to_string();
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(WAIT).unwrap();
}

#[test]
fn a_leader_that_moves_costs_no_event_and_doubles_none() {
    let Some(mut cluster) = Cluster::of(3) else { return };
    cluster.create("led", 3, &[]);
    let mut config = cluster.config();
    let producer: BaseProducer = config.set("enable.idempotence", "true").create().unwrap();
    let consumer: BaseConsumer = cluster.config().create().unwrap();
    let leader = || {
        let metadata = consumer.fetch_metadata(Some("led"), WAIT).unwrap();
        let described = metadata.topics()[0].partitions().iter().find(|partition| partition.id() == 0).unwrap();
        assert_eq!(described.replicas().len(), 3);
        described.leader()
    };
    let first = leader();
    produce(&producer, "led", 0..1_000);
    let settings = CaptureSettings { until: Until::Count(9_000), ..CaptureSettings::new(&cluster.brokers, ["led"]) };
    let (tell, told) = std::sync::mpsc::channel();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    std::thread::scope(|scope| {
        let capturing = scope.spawn(|| {
            let mut telling = |progress: &CaptureProgress| tell.send(progress.events).unwrap();
            capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut telling)
        });
        while told.recv_timeout(WAIT).unwrap() < 1_000 {}
        cluster.stop(first as u32);
        produce(&producer, "led", 1_000..2_000);
        let clock = SystemClock::start();
        while told.recv_timeout(WAIT).unwrap() < 6_000 {
            assert!(clock.now() < WAIT * 2, "the capture does not find the new leader");
        }
        assert_ne!(leader(), first, "the leader did not move");
        cluster.start(first as u32);
        produce(&producer, "led", 2_000..3_000);
        assert_eq!(capturing.join().unwrap().unwrap().events, 9_000);
    });
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let mut numbers: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    for event in events(&recording) {
        let value = String::from_utf8(event.value.unwrap()).unwrap();
        numbers.entry(event.partition).or_default().push(value.parse().unwrap());
    }
    let all: Vec<u32> = (0..3_000).collect();
    assert_eq!(numbers, [(0, all.clone()), (1, all.clone()), (2, all)].into());
}

#[test]
fn what_another_client_sent_is_recorded_byte_for_byte() {
    let Some(mut cluster) = Cluster::of(1) else { return };
    let wide = [("max.message.bytes", "2097152"), ("message.timestamp.after.max.ms", "9223372036854775807")];
    for (topic, stamp, kind) in
        [("odd", "CreateTime", TimestampType::Create), ("stamped", "LogAppendTime", TimestampType::Append)]
    {
        cluster.create(topic, 1, &[&wide[..], &[("message.timestamp.type", stamp)]].concat());
        let lines = cluster.produce_odd_events(topic);
        let sent: Vec<Event> = lines.iter().map(|line| sent_event(line, topic, kind)).collect();
        // Four keys by four values by four lists of headers and two values of 1 MiB, of each of five codecs; one without a time.
        assert_eq!(sent.len(), 5 * (4 * 4 * 4 + 2) + 1);
        let (recording, _folder) = taken(&CaptureSettings::new(&cluster.brokers, [topic]));
        let recorded: Vec<Event> =
            events(&recording).into_iter().map(|event| Event { captured_at_us: None, ..event }).collect();
        assert_eq!(recorded.len(), sent.len());
        for (recorded, sent) in recorded.iter().zip(&sent) {
            assert!(recorded == sent, "offset {}: {recorded:?}\n{sent:?}", sent.offset);
        }
    }
}

/// Reads a line of `OddEvents.java`.
fn sent_event(line: &str, topic: &str, timestamp_type: TimestampType) -> Event {
    let line: Json = serde_json::from_str(line).unwrap();
    let bytes = |json: &Json| json.as_str().map(|text| STANDARD.decode(text).unwrap());
    let header =
        |json: &Json| Header { name: String::from_utf8(bytes(&json[0]).unwrap()).unwrap(), value: bytes(&json[1]) };
    let timestamp = line["timestamp"].as_i64().unwrap();
    Event {
        topic: topic.to_owned(),
        partition: 0,
        offset: line["offset"].as_i64().unwrap(),
        timestamp_ms: (timestamp != -1).then_some(timestamp),
        timestamp_type,
        captured_at_us: None,
        key: bytes(&line["key"]),
        value: bytes(&line["value"]),
        headers: line["headers"].as_array().unwrap().iter().map(header).collect(),
    }
}

#[test]
fn a_table_stands_as_transactions_left_it() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create("stock", 1, &[("cleanup.policy", "compact")]);
    let mut config = cluster.config();
    let producer: BaseProducer = config.set("transactional.id", "stock").create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    let put = |keys: &[(&str, Option<&str>)], kept: bool| {
        producer.begin_transaction().unwrap();
        for (key, value) in keys {
            let mut record = BaseRecord::<str, str>::to("stock").partition(0).key(*key);
            record.payload = *value;
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(WAIT).unwrap();
        let ended = if kept { producer.commit_transaction(WAIT) } else { producer.abort_transaction(WAIT) };
        ended.unwrap();
    };
    // Offsets 0 to 3 and a marker; 5 and 6, aborted, and a marker; 8 and 9 and a marker; the window begins at 11.
    put(&[("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("c", Some("1"))], true);
    put(&[("a", Some("never")), ("d", Some("never"))], false);
    put(&[("b", None), ("e", Some("1"))], true);
    put(&[("a", Some("3"))], true);
    let mut settings = CaptureSettings::new(&cluster.brokers, Vec::<String>::new());
    settings.topics = vec![TopicChoice::named("stock", Role::Table)];
    settings.from = Start::Offset(11);
    let offsets = |settings: &CaptureSettings| {
        let (recording, _folder) = taken(settings);
        events(&recording).iter().map(|event| event.offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&settings), [2, 3, 9, 11]);
    settings.uncommitted = true;
    assert_eq!(offsets(&settings), [3, 5, 6, 9, 11]);
    assert_eq!(taken(&settings).0.manifest().source.isolation.as_deref(), Some("read_uncommitted"));
}
