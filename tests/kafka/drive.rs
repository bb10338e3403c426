//! Drives over a real cluster: what builds are handed there, how drives end, and that nothing stays.
//!
//! The builds of some of them are this very program: `{rehearsal}` stands for whoever drives, and one of the tests below does what it
//! is told to where it finds a broker in its environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rehearsal::capture::{CaptureSettings, capture};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::drive::{
    BuildSettings, ClusterError, DriveError, DriveSettings, Flag, Job, Transport, drive, launch_by, look_around, sweep,
};
use rehearsal::outcome::{CauseBy, Ending, Layer, Outcome, Output as Written, Receipt};
use rehearsal::plan::{FaultSettings, PaceSettings, Phase, Plan, PlanSettings, Seed, SelectSettings, plan};
use rehearsal::recording::{Event, EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType, TopicSource};
use rehearsal::spill::SpillSpace;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::cluster::Cluster;

const WAIT: Duration = Duration::from_secs(60);

/// Tests of this file look at all that stands on the shared broker: one at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the builds of the tests below are: does what `REHEARSAL_FLAG_DOES` says, where there is a broker.
#[test]
fn a_build_of_these_tests() {
    let (Some(brokers), Some(does)) = (env("KAFKA_BOOTSTRAP_SERVERS"), env("REHEARSAL_FLAG_DOES")) else { return };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let (group, seen) = (env("REHEARSAL_GROUP").unwrap(), env("REHEARSAL_TOPIC_SEEN").unwrap());
    let mut producing = config.clone();
    if does == "transactions" {
        producing.set("transactional.id", &group);
    }
    let producer: BaseProducer = producing.set("linger.ms", "0").create().unwrap();
    config.set("group.id", &group).set("enable.auto.commit", "false").set("session.timeout.ms", "6000");
    // Nothing that is there already is skipped all the same.
    config.set("auto.offset.reset", "latest").set("fetch.wait.max.ms", "50");
    if does == "new-protocol" {
        config.remove("session.timeout.ms");
        config.set("group.protocol", "consumer");
    }
    let consumer: BaseConsumer = config.create().unwrap();
    match does.as_str() {
        "nothing" => loop {
            std::thread::park();
        },
        "transactions" => producer.init_transactions(WAIT).unwrap(),
        _ => {}
    }
    let orders = env("REHEARSAL_TOPIC_ORDERS").unwrap();
    if does == "assigns" {
        let mut all = TopicPartitionList::new();
        for partition in 0..2 {
            all.add_partition_offset(&orders, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        writeln!(std::io::stderr(), "I am ready now").unwrap();
    } else {
        consumer.subscribe(&[&orders]).unwrap();
    }
    let mut taken = 0;
    loop {
        let Some(Ok(event)) = consumer.poll(Duration::from_millis(10)) else {
            producer.flush(WAIT).unwrap();
            if taken > 0 && !["commits-nothing", "assigns", "stops"].contains(&does.as_str()) {
                let _ = consumer.commit_consumer_state(CommitMode::Sync);
            }
            continue;
        };
        taken += 1;
        let value = in_words(&event);
        let headers = OwnedHeaders::new().insert(Header { key: "n", value: Some(taken.to_string().as_str()) });
        let record = || {
            let mut record = BaseRecord::<[u8], str>::to(&seen).payload(&value).headers(headers.clone()).timestamp(77);
            record.key = event.key();
            record
        };
        match does.as_str() {
            "transactions" => {
                producer.begin_transaction().unwrap();
                producer.send(record()).map_err(|(error, _)| error).unwrap();
                producer.flush(WAIT).unwrap();
                if taken % 3 == 0 {
                    producer.abort_transaction(WAIT).unwrap();
                    producer.begin_transaction().unwrap();
                    producer.send(record()).map_err(|(error, _)| error).unwrap();
                }
                producer.commit_transaction(WAIT).unwrap();
            }
            "leaves-open" => {
                let config = config.clone().set("transactional.id", &group).clone();
                let producer: BaseProducer = config.create().unwrap();
                producer.init_transactions(WAIT).unwrap();
                producer.begin_transaction().unwrap();
                producer.send(record()).map_err(|(error, _)| error).unwrap();
                producer.flush(WAIT).unwrap();
                std::process::exit(5);
            }
            "dies" if taken > 3 => std::process::exit(5),
            "exits" if taken == 10 => {
                producer.send(record()).map_err(|(error, _)| error).unwrap();
                producer.flush(WAIT).unwrap();
                consumer.commit_consumer_state(CommitMode::Sync).unwrap();
                std::process::exit(0);
            }
            "stops" if taken > 3 => {
                producer.flush(WAIT).unwrap();
                if taken == 4 {
                    let mut some = TopicPartitionList::new();
                    some.add_partition_offset(&orders, event.partition(), Offset::Offset(event.offset() + 1)).unwrap();
                    consumer.commit(&some, CommitMode::Sync).unwrap();
                }
            }
            _ => {
                while let Err((_, _)) = producer.send(record()) {
                    producer.poll(Duration::from_millis(1));
                }
            }
        }
    }
}

/// All that a consumer sees of an event.
fn in_words(event: &impl Message) -> String {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let headers = event.headers().into_iter().flat_map(Headers::iter);
    let headers: Vec<Json> = headers.map(|one| json!([one.key, text(one.value)])).collect();
    let value = json!({ "partition": event.partition(), "offset": event.offset(), "key": text(event.key()),
        "timestamp_ms": event.timestamp().to_millis(), "value": text(event.payload()), "headers": headers });
    value.to_string()
}

/// A recording and room for outcomes.
struct Desk {
    folder: TempDir,
    recording: Recording,
}

fn event(partition: i32, offset: i64, timestamp_ms: i64) -> Event {
    Event {
        topic: "orders".into(),
        partition,
        offset,
        timestamp_ms: Some(timestamp_ms),
        timestamp_type: TimestampType::Create,
        key: Some(format!("k{}", offset % 5).into_bytes()),
        value: Some(format!("{partition}/{offset}").into_bytes()),
        ..Event::default()
    }
}

impl Desk {
    /// Events of the topic `orders`, which has two partitions, of a cluster called `recorded`.
    fn of(events: &[Event], recorded: Option<&str>) -> Self {
        // Drives of these tests live in worlds of their own, as those of the program do.
        launch_by(PathBuf::from(env!("CARGO_BIN_EXE_rehearsal")));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let topic = TopicSource { name: "orders".into(), partitions: 2, ..TopicSource::default() };
        let cluster = recorded.map(str::to_owned);
        let source = Source { topics: vec![topic], cluster, ..Source::default() };
        let mut writer = RecordingWriter::create(&path, source).unwrap();
        let mut builder = EventBatchBuilder::new();
        for event in events {
            builder.push_event(event);
        }
        writer.write(&builder.finish()).unwrap();
        writer.seal().unwrap();
        Self { recording: Recording::open(path).unwrap(), folder }
    }

    /// So many events of one partition, 10 ms apart; the other is empty.
    fn numbered(count: i64) -> Self {
        let events: Vec<_> = (0..count).map(|at| event(0, 100 + at * 2, 1_000_000 + at * 10)).collect();
        Self::of(&events, Some("another"))
    }

    fn plan(&self, settings: &str) -> Plan {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Part {
            select: SelectSettings,
            pace: PaceSettings,
            fault: Vec<FaultSettings>,
        }
        let Part { select, pace, fault } = toml::from_str(settings).unwrap();
        let settings = PlanSettings { select, pace, faults: fault, ..PlanSettings::default() };
        plan(&self.recording, &settings, Seed(7), Arc::new(SpillSpace::system())).unwrap()
    }

    fn try_drive(&self, brokers: &str, plan: &Plan, does: &str, settings: &str) -> Result<Outcome, DriveError> {
        let command = ["{rehearsal}", "--exact", "drive::a_build_of_these_tests", "--nocapture"].map(str::to_owned);
        let flags = BTreeMap::from([("does".to_owned(), Flag::from(does))]);
        let build = BuildSettings { command: command.into(), flags, ..BuildSettings::default() };
        let build = build.check_for("new", Path::new("."), Transport::Kafka).unwrap();
        let settle = match does {
            "exits" => "15s",
            // Nobody knows what it has fetched.
            "assigns" => "5s",
            _ => "300ms",
        };
        let bound = if settings.contains("drain-timeout") { "" } else { "drain-timeout = '20s'\n" };
        let text = format!(
            "transport = 'kafka'\noutputs = ['seen']\nsettle = '{settle}'\nbroker = '{brokers}'\n{bound}{settings}"
        );
        let rules = toml::from_str::<DriveSettings>(&text).unwrap().check().unwrap();
        let out = self.folder.path().join(does);
        let deliveries = Some(plan.summary().unwrap().deliveries);
        let job = Job { name: "new", plan, recording: &self.recording, deliveries, build: &build, rules: &rules, out };
        drive(&job, &SystemClock::start(), &Stop::new(), &|_| {})
    }

    fn drive(&self, brokers: &str, settings: &str, does: &str, drive: &str) -> Outcome {
        let outcome = self.try_drive(brokers, &self.plan(settings), does, drive);
        let outcome = outcome.unwrap_or_else(|error| panic!("{does}: {error}"));
        assert_eq!(left_on(brokers), (vec![], vec![]), "{}", outcome.ending().reason);
        outcome
    }
}

const UNPACED: &str = "[pace]\nmode = 'unpaced'\n";

fn outputs(outcome: &Outcome) -> Vec<Written> {
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()).collect()
}

fn receipts(outcome: &Outcome) -> Vec<Receipt> {
    outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect()
}

fn values(outcome: &Outcome) -> Vec<Json> {
    outputs(outcome).iter().map(|output| serde_json::from_slice(output.value.as_ref().unwrap()).unwrap()).collect()
}

/// Topics and groups of drives that stand on the cluster.
pub(crate) fn left_on(brokers: &str) -> (Vec<String>, Vec<String>) {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let of_drives = |name: &&str| name.starts_with("rehearsal-");
    let metadata = consumer.fetch_metadata(None, WAIT).unwrap();
    let topics = metadata.topics().iter().map(MetadataTopic::name).filter(of_drives).map(str::to_owned);
    let mut topics: Vec<String> = topics.collect();
    topics.sort();
    let groups = consumer.fetch_group_list(None, WAIT).unwrap();
    let groups = groups.groups().iter().map(rdkafka::groups::GroupInfo::name).filter(of_drives);
    (topics, groups.map(str::to_owned).collect())
}

#[test]
fn a_build_is_handed_the_plan_and_nothing_stays() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let mut events: Vec<Event> = (0..200).map(|at| event((at % 2) as i32, at, 1_000_000 + at * 5)).collect();
    let header = |name: &str, value: Option<&str>| rehearsal::recording::Header {
        name: name.to_owned(),
        value: value.map(|text| text.as_bytes().to_vec()),
    };
    events[20].headers = vec![header("b", Some("1")), header("a", None), header("b", Some("")), header("b", Some("2"))];
    (events[30].key, events[30].value) = (None, None);
    (events[31].key, events[31].value) = (Some(vec![]), Some(vec![]));
    (events[40].timestamp_ms, events[40].timestamp_type) = (None, TimestampType::None);
    events[41].timestamp_type = TimestampType::Append;
    let desk = Desk::of(&events, Some("another"));
    let outcome = desk.drive(&cluster.brokers, "", "mirrors", "");
    let report = outcome.ending();
    assert_eq!(report.ending, Ending::Finished, "{}", report.reason);
    assert!(report.reason.contains("committed the end of its input after 200 deliveries"), "{}", report.reason);
    assert_eq!((report.deliveries, report.sent, report.outputs), (Some(200), Some(200), Some(200)));
    // What it saw of each partition, in its order: what was recorded, at the brokers' own positions.
    let mut seen: Vec<Json> = values(&outcome);
    seen.sort_by_key(|value| (value["partition"].as_i64(), value["offset"].as_i64()));
    let mut next = [0, 0];
    let mut planned: Vec<Json> = events
        .iter()
        .map(|event| {
            let text = |bytes: &Option<Vec<u8>>| bytes.clone().map(|bytes| String::from_utf8(bytes).unwrap());
            let position = &mut next[event.partition as usize];
            *position += 1;
            let headers: Vec<Json> =
                event.headers.iter().map(|header| json!([header.name, text(&header.value)])).collect();
            json!({ "partition": event.partition, "offset": *position - 1, "key": text(&event.key),
                "timestamp_ms": event.timestamp_ms, "value": text(&event.value), "headers": headers })
        })
        .collect();
    planned.sort_by_key(|value| (value["partition"].as_i64(), value["offset"].as_i64()));
    assert_eq!(seen, planned);
    // Receipts keep the recorded offset beside the position, and tell when the brokers had each event.
    let receipts = receipts(&outcome);
    assert!(receipts.iter().all(|receipt| receipt.sent_us >= Some(receipt.delivery.due_us)));
    let last = receipts.iter().rfind(|receipt| receipt.delivery.partition == 1).unwrap();
    assert_eq!((last.delivery.offset, last.delivery.position), (199, 99));
    let lateness = report.lateness.unwrap();
    assert!(lateness.p50_us > 0 && lateness.slow_down < 0.5, "{lateness:?}");
    let committed: Vec<_> = report.committed.iter().map(|one| (&*one.topic, one.partition, one.position)).collect();
    assert_eq!(committed, [("orders", 0, 100), ("orders", 1, 100)]);
    // Outputs stand under production's name of their topic, with the event behind them by its recorded offset.
    let outputs = outputs(&outcome);
    let first = outputs.iter().find(|output| output.key.as_deref() == Some(b"k3")).unwrap();
    assert_eq!((&*first.topic, first.partition, first.timestamp_ms), ("seen", 0, Some(77)));
    assert_eq!(first.headers[0].name, "n");
    let cause = first.cause.as_ref().unwrap();
    assert_eq!((&*cause.topic, cause.offset % 5, cause.by), ("orders", 3, CauseBy::Inferred));
    let gauges = outcome.gauges().unwrap();
    assert!(gauges.iter().any(|gauge| gauge.name.starts_with("lag/rehearsal-")), "{gauges:?}");
}

#[test]
fn a_build_in_a_network_of_its_own_reaches_the_cluster_and_nothing_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    // By the address that the brokers name, and by another of the same broker.
    let port = cluster.brokers.rsplit_once(':').unwrap().1;
    for (number, brokers) in [cluster.brokers.clone(), format!("localhost:{port}")].iter().enumerate() {
        let desk = Desk::numbered(50);
        let outcome = desk.drive(brokers, UNPACED, "mirrors", "");
        let report = outcome.ending();
        assert_eq!((report.ending, report.outputs), (Ending::Finished, Some(50)), "{}", report.reason);
        let isolation = report.isolation.as_ref().unwrap();
        if !isolation.enforces(Layer::Network) {
            let (reason, mut stderr) = (&isolation.layers[0].reason, std::io::stderr());
            writeln!(stderr, "LEFT OUT: a cluster from a network of a drive's own: {reason}").unwrap();
            return;
        }
        assert_eq!(isolation.missing().count(), 0, "{number}: {:?}", isolation.layers);
        // What a drive needs to take place at all is no state that drives share, and no attempt to leave.
        assert_eq!((isolation.allowed.as_slice(), isolation.attempts.as_slice()), (&[][..], &[][..]), "{brokers}");
    }
}

#[test]
fn a_build_that_crashes_and_one_that_is_frozen_go_on_where_their_group_stands() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(200);
    let faults =
        "[[fault]]\nkind = 'crash'\nat = ['600ms']\n[[fault]]\nkind = 'freeze'\nat = ['300ms']\nlength = '200ms'\n";
    let outcome = desk.drive(&cluster.brokers, faults, "mirrors", "");
    let report = outcome.ending();
    assert_eq!((report.ending, report.sent), (Ending::Finished, Some(200)), "{}", report.reason);
    let positions: Vec<i64> = values(&outcome).iter().map(|value| value["offset"].as_i64().unwrap()).collect();
    assert!((0..200).all(|position| positions.contains(&position)), "{positions:?}");
    let committed: Vec<_> = report.committed.iter().map(|one| (one.partition, one.position)).collect();
    assert!(committed.contains(&(0, 200)), "{committed:?}");
    let (crash, freeze) = (report.stops["crash-1"], report.stops["freeze-1"]);
    assert_eq!((crash.stops, crash.resumed, freeze.stops, freeze.resumed), (1, 1, 1, 1), "{crash:?} {freeze:?}");
    assert_eq!((report.instances.len(), report.instances[0].starts), (1, 2));
    assert_eq!((report.faults["crash-1"].instances, report.faults["freeze-1"].instances), (1, 1));
}

#[test]
fn commits_begin_no_fault_at_processes_on_a_real_cluster() {
    let settings: DriveSettings =
        toml::from_str("transport = 'kafka'\noutputs = ['seen']\nbroker = 'kafka:9092'").unwrap();
    let rules = settings.check().unwrap();
    let check = |fault: &str| rules.check_faults(&[], &[toml::from_str::<FaultSettings>(fault).unwrap()]);
    for (fault, key) in [
        ("kind = 'crash'\nnth = 3", "fault[0].nth"),
        ("kind = 'restart'\nevery = 3", "fault[0].every"),
        ("kind = 'crash'\npreset = 'harsh'", "fault[0].preset"),
    ] {
        let error = check(fault).unwrap_err();
        assert!(error.key == key && error.problem.contains("too late"), "{fault}: {error}");
    }
    for fault in ["kind = 'crash'", "kind = 'restart'\nperiod = '10s'", "kind = 'freeze'\nat = ['1s']"] {
        assert!(check(fault).is_ok(), "{fault}");
    }
}

#[test]
fn members_of_the_new_protocol_are_seen_too() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(50);
    let outcome = desk.drive(&cluster.brokers, UNPACED, "new-protocol", "");
    assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
    let log = std::fs::read_to_string(outcome.path().join("stderr.log")).unwrap();
    assert_eq!(outcome.ending().outputs, Some(50), "{}\n{log}", outcome.ending().reason);
}

#[test]
fn what_is_delayed_duplicated_and_reordered_stands_so_in_the_log() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(300);
    let faults = "[[fault]]\nkind = 'duplicate'\nprobability = 0.2\nafter = '1 events'\n\
                  [[fault]]\nkind = 'reorder'\nshare = 0.2\nextent = 8\n[[fault]]\nkind = 'drop'\nprobability = 0.1\n";
    let settings = format!("{UNPACED}{faults}");
    let planned: Vec<String> =
        desk.plan(&settings).deliveries().map(|delivery| format!("0/{}", delivery.unwrap().offset)).collect();
    let outcome = desk.drive(&cluster.brokers, &settings, "mirrors", "");
    let values = values(&outcome);
    let seen: Vec<&str> = values.iter().map(|value| value["value"].as_str().unwrap()).collect();
    assert_eq!(seen, planned);
    assert!(values.iter().zip(0..).all(|(value, position)| value["offset"] == position));
    let redelivered = receipts(&outcome).iter().filter(|receipt| receipt.delivery.attempt > 0).count() as u64;
    assert!(redelivered > 10 && outcome.ending().redelivered == Some(redelivered), "{redelivered}");
}

#[test]
fn a_warm_up_is_committed_before_the_schedule_starts() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(400);
    let settings = "[select]\nfrom = '1970-01-01T00:16:42Z'\nwarm-up = '1s'\n[pace]\nmode = 'recorded'\n";
    let warm_up = desk.plan(settings).summary().unwrap().warm_up_events;
    assert!((50..=100).contains(&warm_up), "{warm_up}");
    let outcome = desk.drive(&cluster.brokers, settings, "mirrors", "");
    assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
    let receipts = receipts(&outcome);
    let before = receipts.iter().filter(|receipt| receipt.sent_us < Some(0)).count() as u64;
    assert_eq!(before, warm_up);
    let phases = outputs(&outcome).into_iter().map(|output| output.phase);
    assert_eq!(phases.filter(|phase| *phase == Phase::WarmUp).count() as u64, warm_up);
}

#[test]
fn what_transactions_took_back_is_no_output() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(60);
    let outcome = desk.drive(&cluster.brokers, UNPACED, "transactions", "");
    assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
    let mut seen: Vec<i64> = values(&outcome).iter().map(|value| value["offset"].as_i64().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
}

#[test]
fn a_build_that_dies_leaves_nothing_behind() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(100);
    let outcome = desk.drive(&cluster.brokers, UNPACED, "dies", "");
    let report = outcome.ending();
    assert_eq!((report.ending, report.exit_code), (Ending::Died, Some(5)), "{}", report.reason);
    // Its transaction never ends by itself within the drive: what it wrote in it is no output, and holds nothing up.
    let outcome = desk.drive(&cluster.brokers, UNPACED, "leaves-open", "");
    assert_eq!((outcome.ending().ending, outcome.ending().outputs), (Ending::Died, Some(0)));
}

#[test]
fn a_build_that_leaves_once_it_has_committed_everything_has_finished() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(10);
    let outcome = desk.drive(&cluster.brokers, UNPACED, "exits", "");
    let report = outcome.ending();
    assert_eq!((report.ending, report.exit_code), (Ending::Finished, Some(0)), "{}", report.reason);
    assert_eq!(report.outputs, Some(10));
}

#[test]
fn how_a_build_gets_stuck_is_told() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(100);
    for (does, settings, ending, says) in [
        ("nothing", "ready-timeout = '3s'", Ending::TimedOut, "has no member"),
        ("commits-nothing", "drain-timeout = '8s'", Ending::TimedOut, "finished = \"quiet\""),
        ("stops", "drain-timeout = '8s'", Ending::StoppedReading, "committed nothing more"),
    ] {
        let outcome = desk.drive(&cluster.brokers, UNPACED, does, settings);
        let report = outcome.ending();
        assert!(
            report.ending == ending && report.reason.contains(says),
            "{does}: {:?} {}",
            report.ending,
            report.reason
        );
    }
}

#[test]
fn a_build_without_a_group_says_that_it_is_ready_and_is_through_when_it_is_quiet() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(80);
    let settings = "ready = { line = '^I am ready' }\nfinished = 'quiet'";
    let outcome = desk.drive(&cluster.brokers, UNPACED, "assigns", settings);
    let report = outcome.ending();
    assert_eq!((report.ending, report.outputs), (Ending::Finished, Some(80)), "{}", report.reason);
    assert!(report.reason.contains("was quiet for 5s after the last event"), "{}", report.reason);
}

#[test]
fn the_cluster_that_a_recording_came_from_is_refused_before_anything_is_made() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    cluster.create("orders", 2, &[]);
    let producer: BaseProducer = cluster.config().create().unwrap();
    producer.send(BaseRecord::<str, str>::to("orders").payload("x").timestamp(5)).map_err(|(error, _)| error).unwrap();
    producer.flush(WAIT).unwrap();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("recording");
    let settings = CaptureSettings::new(&cluster.brokers, ["orders"]);
    capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    cluster.delete("orders");
    let desk = Desk { recording: Recording::open(out).unwrap(), folder };
    let plan = desk.plan(UNPACED);
    // Nobody can vouch for what is not so.
    for vouched in ["", "other-cluster = true"] {
        let refused = desk.try_drive(&cluster.brokers, &plan, "mirrors", vouched).unwrap_err();
        assert!(matches!(refused, DriveError::Cluster(ClusterError::Source { .. })), "{refused}");
        assert!(!desk.folder.path().join("mirrors").exists());
    }
    let unknown = Desk::of(&[event(0, 0, 5)], None);
    let plan = unknown.plan(UNPACED);
    let refused = unknown.try_drive(&cluster.brokers, &plan, "mirrors", "").unwrap_err();
    assert!(matches!(refused, DriveError::Cluster(ClusterError::Unknown { .. })), "{refused}");
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
    let outcome = unknown.drive(&cluster.brokers, UNPACED, "mirrors", "other-cluster = true");
    assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
}

#[test]
fn what_cannot_be_made_or_produced_is_named_and_nothing_stays() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(10);
    let refused = desk.try_drive(&cluster.brokers, &desk.plan(UNPACED), "mirrors", "replication = 3").unwrap_err();
    let passing = matches!(&refused, DriveError::Cluster(error @ ClusterError::Topic { .. }) if error.is_passing());
    assert!(!passing && refused.to_string().contains("replication"), "{refused}");
    let odd = Desk::of(&[event(0, 7, 0)], Some("another"));
    let refused = odd.try_drive(&cluster.brokers, &odd.plan(UNPACED), "mirrors", "").unwrap_err();
    assert!(refused.to_string().contains("offset 7") && refused.to_string().contains("1970"), "{refused}");
    let large = Event { value: Some(vec![b'x'; 2 << 20]), ..event(0, 8, 5) };
    let large = Desk::of(&[large], Some("another"));
    let refused = large.try_drive(&cluster.brokers, &large.plan(UNPACED), "mirrors", "").unwrap_err();
    assert!(matches!(refused, DriveError::Cluster(ClusterError::NotTaken { passing: false, .. })), "{refused}");
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
    let nobody = desk.try_drive("127.0.0.1:1", &desk.plan(UNPACED), "mirrors", "ready-timeout = '2s'").unwrap_err();
    assert!(matches!(&nobody, DriveError::Cluster(error) if error.is_passing()), "{nobody}");
}

#[test]
fn topics_are_kept_where_that_is_asked_for_and_swept_away_later() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let desk = Desk::numbered(20);
    let outcome = desk.try_drive(&cluster.brokers, &desk.plan(UNPACED), "mirrors", "keep-topics = true").unwrap();
    let (topics, groups) = left_on(&cluster.brokers);
    assert_eq!((topics.len(), groups.len()), (2, 1), "{topics:?} {groups:?}");
    assert!(outcome.ending().reason.contains(&groups[0]), "{}", outcome.ending().reason);
    let text = format!("transport = 'kafka'\noutputs = ['seen']\nbroker = '{}'", cluster.brokers);
    let rules = toml::from_str::<DriveSettings>(&text).unwrap().check().unwrap();
    let clock = SystemClock::start();
    // A member that has not gone holds what it uses.
    let found = loop {
        let found = look_around(&rules, &desk.recording, &Stop::new()).unwrap();
        if !found.is_empty() {
            break found;
        }
        assert!(clock.now() < WAIT, "nothing was found");
    };
    assert_eq!((&found[0].topics, &found[0].groups), (&topics, &groups));
    assert_eq!(sweep(&rules, &desk.recording, Some("rehearsal-another"), &Stop::new()).unwrap(), []);
    assert_eq!(sweep(&rules, &desk.recording, Some(&found[0].drive), &Stop::new()).unwrap(), found);
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
}

/// Drives `desk` over the guarded listener of `cluster` with the properties of `login`, into a folder called `out`.
fn drive_guarded(cluster: &Cluster, desk: &Desk, login: &str, out: &str) -> Result<Outcome, DriveError> {
    let command = ["sh", "-c", "echo ready; exec sleep 60"].map(str::to_owned);
    let build = BuildSettings { command: command.into(), ..BuildSettings::default() };
    let build = build.check_for("new", Path::new("."), Transport::Kafka).unwrap();
    let text = format!(
        "transport = 'kafka'\noutputs = ['seen']\nsettle = '300ms'\nbroker = '{}'\nfinished = 'quiet'\n\
         ready-timeout = '20s'\nready = {{ line = 'ready' }}\n[properties]\nsecurity.protocol = 'sasl_ssl'\n\
         ssl.ca.location = '{}'\n{login}",
        cluster.secure_brokers,
        cluster.files.join("ca.pem").display(),
    );
    let rules = toml::from_str::<DriveSettings>(&text).unwrap().check().unwrap();
    let (plan, out) = (desk.plan(UNPACED), desk.folder.path().join(out));
    let (recording, build, rules) = (&desk.recording, &build, &rules);
    let job = Job { name: "new", plan: &plan, recording, deliveries: None, build, rules, out };
    drive(&job, &SystemClock::start(), &Stop::new(), &|_| {})
}

#[test]
fn a_drive_logs_in_by_sasl_over_tls() {
    let Some(cluster) = Cluster::secure() else { return };
    let desk = Desk::numbered(30);
    let drive_with = |password: &str| {
        let login =
            format!("sasl.mechanism = 'SCRAM-SHA-512'\nsasl.username = 'alice'\nsasl.password = '{password}'\n");
        drive_guarded(&cluster, &desk, &login, password)
    };
    let outcome = drive_with("wonderland").unwrap();
    assert_eq!((outcome.ending().ending, outcome.ending().sent), (Ending::Finished, Some(30)));
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
    let refused = drive_with("hunter2").unwrap_err();
    assert!(matches!(refused, DriveError::Cluster(ClusterError::NoEntry { .. })), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
}

#[test]
fn each_client_of_a_drive_gets_the_token_that_it_asks_for() {
    let Some(cluster) = Cluster::secure() else { return };
    let desk = Desk::numbered(30);
    let drive_with = |config: &str, out: &str| {
        let login = format!("sasl.mechanism = 'OAUTHBEARER'\nsasl.oauthbearer.config = '{config}'\n");
        drive_guarded(&cluster, &desk, &login, out)
    };
    let outcome = drive_with("principal=alice", "made").unwrap();
    assert_eq!((outcome.ending().ending, outcome.ending().sent), (Ending::Finished, Some(30)));
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
    let refused = drive_with("token-file=nowhere", "gone").unwrap_err();
    assert!(refused.to_string().contains("could not read nowhere"), "{refused}");
}

/// A scenario of the builds `refunds-old` and `new` over a cluster.
fn scenario(folder: &TempDir, cluster: &Cluster, new: &str, more: &str) -> PathBuf {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights");
    let text = format!(
        "recording = '{}'\nseed = 5\n{more}\n[select]\nfrom = '2013-01-30T00:00:00Z'\nto = '2013-02-01T06:00:00Z'\n\
         [old]\ncommand = ['{{rehearsal}}', 'sample', 'refunds-old']\n\
         [new]\ncommand = ['{{rehearsal}}', 'sample', '{new}']\n\
         [drive]\ntransport = 'kafka'\nbroker = '{}'\nother-cluster = true\noutputs = ['refunds']\n\
         [compare]\nidentity = ['$.refund_id']\n",
        recording.display(),
        cluster.brokers
    );
    let path = folder.path().join("refunds.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn rehearsal(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(folder);
    command
}

fn run(folder: &TempDir, scenario: &Path) -> (Output, Json) {
    let output = rehearsal(folder).arg("run").arg(scenario).arg("--json").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let run = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{errors}"));
    (output, run)
}

fn kinds(run: &Json) -> Vec<&str> {
    let patterns = run["patterns"].as_array().unwrap().iter().filter(|pattern| pattern["information"] != true);
    patterns.map(|pattern| pattern["kind"].as_str().unwrap()).collect()
}

const PACE: &str = "[pace]\nmode = 'accelerated'\nspeed = 50000\n[[fault]]\nname = 'twice'\nkind = 'duplicate'\nprobability = 0.3\nafter = '1 events'";

#[test]
fn a_build_without_a_memory_differs_on_a_real_cluster_for_the_right_reason() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (output, run) = run(&folder, &scenario(&folder, &cluster, "refunds-new", PACE));
    assert_eq!((output.status.code(), run["verdict"].as_str()), (Some(1), Some("differ")), "{:#}", run["reasons"]);
    let kinds = kinds(&run);
    assert!(kinds.contains(&"repeated") && kinds.contains(&"changed"), "{kinds:?}");
    let repeated = |build: &str| run["idempotency"][build]["repeated_effects"].as_u64().unwrap();
    assert!(repeated("new") > 3 && repeated("old") == 0, "{:#}", run["idempotency"]);
    assert_eq!(run["faults"][0]["fired"], run["faults"][0]["planned"]);
    for drive in run["drives"].as_array().unwrap() {
        assert_eq!((drive["ending"].as_str(), &drive["sent"]), (Some("finished"), &drive["deliveries"]), "{drive}");
    }
    let said = format!("{} {}", run["fidelity"]["enforced"], run["warnings"]);
    assert!(said.contains("idempotent producer") && said.contains("a real cluster"), "{said}");
    assert!(run["fidelity"]["lateness"]["old"]["p99_us"].as_i64() > Some(0), "{:#}", run["fidelity"]);
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
}

#[test]
fn a_build_agrees_with_itself_on_a_real_cluster() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let (output, run) = run(&folder, &scenario(&folder, &cluster, "refunds-old", PACE));
    assert_eq!(output.status.code(), Some(0), "{:#}", run["reasons"]);
    assert_eq!((run["verdict"].as_str(), kinds(&run)), (Some("agree"), vec![]));
    assert!(run["outputs"]["old"].as_u64() > Some(50), "{}", run["outputs"]);
}

#[test]
fn a_scenario_without_leave_to_use_the_cluster_is_refused_and_nothing_is_made() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let path = scenario(&folder, &cluster, "refunds-new", "");
    for (over, says) in [
        ("drive.other-cluster=false", "other-cluster = true"),
        ("fault=[{ kind = 'rewind', n = 5 }]", "only the stage can make `rewind`"),
    ] {
        let output = rehearsal(&folder).arg("run").arg(&path).args(["--set", over]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{over}: {said}");
        assert!(!folder.path().join("target").exists());
    }
    let secret = "drive.properties.sasl.password=hunter2";
    let wrong = "drive.properties.security.protocol=hunter3";
    let output = rehearsal(&folder).arg("run").arg(&path).args(["--set", secret, "--set", wrong]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && !said.contains("hunter"), "{said}");
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
}

/// A program that is ended with the test.
struct Running(std::process::Child);

impl Running {
    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(command: &mut Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Starts a run that goes on for minutes; returns it once its drives hand over.
fn long_run(folder: &TempDir, cluster: &Cluster, new: &str) -> Running {
    let path = scenario(folder, cluster, new, "[pace]\nmode = 'recorded'");
    let run = started(rehearsal(folder).arg("run").arg(path));
    let clock = SystemClock::start();
    // Members are there once builds have been told of topics and group.
    let consumer: BaseConsumer = cluster.config().create().unwrap();
    let stable = || {
        // A coordinator that has only just come up still loads.
        let Ok(groups) = consumer.fetch_group_list(None, WAIT) else { return 0 };
        let ours = groups.groups().iter().filter(|group| group.name().starts_with("rehearsal-"));
        ours.filter(|group| group.state() == "Stable").count()
    };
    while stable() != 3 {
        assert!(clock.now() < WAIT, "no drive began");
    }
    run
}

#[test]
fn an_interrupted_run_leaves_no_topic_behind() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let mut run = long_run(&folder, &cluster, "refunds-old");
    run.signal(rustix::process::Signal::INT);
    let mut said = String::new();
    run.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(run.0.wait().unwrap().code(), Some(4), "{said}");
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]), "{said}");
}

fn sweeps(folder: &TempDir, arguments: &[&str]) -> String {
    let mut command = rehearsal(folder);
    let output = command.arg("sweep").arg(folder.path().join("refunds.toml")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_a_killed_run_left_is_named_by_the_next_and_swept_away() {
    let Some(cluster) = Cluster::shared() else { return };
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let run = long_run(&folder, &cluster, "refunds-old");
    // Where they have no processes of their own, its builds outlive it.
    let children: Vec<i32> = children_of(run.0.id());
    assert!(children.len() >= 3, "{children:?}");
    drop(run);
    for child in children {
        let child = rustix::process::Pid::from_raw(child).unwrap();
        let ended = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        assert!(matches!(ended, Ok(()) | Err(rustix::io::Errno::SRCH)), "{ended:?}");
    }
    assert_eq!(left_on(&cluster.brokers).0.len(), 6);
    let clock = SystemClock::start();
    while sweeps(&folder, &["--list"]).matches("left behind 2 topics and 1 groups").count() < 3 {
        assert!(clock.now() < WAIT, "members never left");
    }
    let path = folder.path().join("refunds.toml");
    let mut next = started(rehearsal(&folder).arg("run").arg(path));
    let said = BufReader::new(next.0.stderr.take().unwrap());
    let named = said.lines().map(Result::unwrap).filter(|line| line.contains("rehearsal sweep")).take(3);
    let named: Vec<String> = named.collect();
    next.signal(rustix::process::Signal::INT);
    assert_eq!(next.0.wait().unwrap().code(), Some(4));
    for line in &named {
        let drive = line.split("--drive ").nth(1).unwrap().split('`').next().unwrap();
        let removed = sweeps(&folder, &["--drive", drive]);
        assert!(removed.contains(&format!("{drive}: removed 2 topics and 1 groups")), "{removed}");
    }
    assert_eq!(named.len(), 3);
    // The second run was interrupted, and has taken its own away.
    assert_eq!(left_on(&cluster.brokers), (vec![], vec![]));
}

/// Processes that a process started and that are still there.
fn children_of(parent: u32) -> Vec<i32> {
    let tasks = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let mut children: Vec<i32> = tasks.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    // Each drive starts its build on a thread of its own.
    for task in std::fs::read_dir(format!("/proc/{parent}/task")).unwrap() {
        let text = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
    }
    children.sort_unstable();
    children.dedup();
    children
}
