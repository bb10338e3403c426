//! Drives of builds that read and write Kafka: what they are handed is the plan, and how drives end.
//!
//! The builds are this very program: `{rehearsal}` stands for whoever drives, and one of the tests below does what it is told to where
//! it finds a broker in its environment.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, TopicPartitionList};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::compare::behind;
use rehearsal::drive::stage::StageError;
use rehearsal::drive::{
    BuildSettings, DriveError, DriveRules, DriveSettings, Flag, Job, Lineage, LineageSettings, Transport, check_sinks,
    drive,
};
use rehearsal::outcome::{CauseBy, Channel, Ending, Outcome, Output, Receipt};
use rehearsal::plan::{Delivery, FaultSettings, Phase, Plan, PlanSettings, Seed, plan};
use rehearsal::recording::{Event, EventBatchBuilder, Recording, RecordingWriter, Source, TimestampType, TopicSource};
use rehearsal::scenario::{Scenario, check};
use rehearsal::settings::SettingError;
use rehearsal::spill::SpillSpace;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(30);

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the builds of the tests below are: does what `REHEARSAL_FLAG_DOES` says, where there is a broker.
#[test]
fn a_build_of_these_tests() {
    let (Some(brokers), Some(does)) = (env("KAFKA_BOOTSTRAP_SERVERS"), env("REHEARSAL_FLAG_DOES")) else { return };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let mut producing = config.clone();
    if does == "transactions" {
        producing.set("transactional.id", "mirror");
    }
    let producer: BaseProducer = producing.set("linger.ms", "0").create().unwrap();
    config.set("group.id", env("REHEARSAL_GROUP").unwrap()).set("enable.auto.commit", "false");
    config.set("heartbeat.interval.ms", "50").set("session.timeout.ms", "6000").set("fetch.wait.max.ms", "50");
    config.set("fetch.error.backoff.ms", "20").set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "50");
    // Nothing that is there already is skipped all the same.
    config.set("auto.offset.reset", "latest");
    if does == "stops-reading" {
        // What librdkafka fetches ahead by itself is handed over, too.
        config.set("queued.min.messages", "10").set("fetch.message.max.bytes", "1000");
    }
    let consumer: BaseConsumer = config.create().unwrap();
    let inputs: Vec<String> = std::env::vars()
        .filter(|(name, topic)| name.starts_with("REHEARSAL_TOPIC_") && !["seen", "audit"].contains(&topic.as_str()))
        .map(|(_, topic)| topic)
        .collect();
    match does.as_str() {
        "nothing" => loop {
            std::thread::park();
        },
        "exits" => std::process::exit(3),
        _ => {}
    }
    if does == "transactions" {
        producer.init_transactions(WAIT).unwrap();
    }
    match does.as_str() {
        "commits-for-two" => commit_for_another(&config),
        "asks-more" => ask_more(),
        _ => {}
    }
    consumer.subscribe(&inputs.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let mut taken = 0;
    loop {
        let Some(Ok(event)) = consumer.poll(Duration::from_millis(10)) else {
            producer.flush(WAIT).unwrap();
            if does == "damages" && taken == DAMAGED_AFTER {
                // What left memory is read from the recording again, which is gone.
                taken += 1;
                for segment in std::fs::read_dir(env("REHEARSAL_FLAG_SEGMENTS").unwrap()).unwrap() {
                    std::fs::File::create(segment.unwrap().path()).unwrap();
                }
                consumer.seek("orders", 0, rdkafka::Offset::Offset(100), WAIT).unwrap();
            } else if !["commits-nothing", "damages"].contains(&&*does)
                && taken > if does == "commits-late" { LATE - 1 } else { 0 }
            {
                // Whoever was put out of the group is told so here, and goes on where the group stands.
                let _ = consumer.commit_consumer_state(CommitMode::Sync);
            }
            continue;
        };
        taken += 1;
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        let value = json!({ "topic": event.topic(), "partition": event.partition(), "offset": event.offset(),
            "timestamp_ms": event.timestamp().to_millis(), "key": text(event.key()), "value": text(event.payload()) });
        let value = value.to_string();
        let headers = OwnedHeaders::new().insert(Header { key: "n", value: Some(taken.to_string().as_str()) });
        let key = event.key().unwrap_or_default();
        let record = || {
            let record = BaseRecord::to("seen").key(key).payload(&value).headers(headers.clone());
            // The client's clock has the word where nobody gives a timestamp.
            if does == "gives-no-timestamp" { record } else { record.timestamp(77) }
        };
        match does.as_str() {
            "transactions" => {
                producer.begin_transaction().unwrap();
                producer.send(record()).map_err(|(error, _)| error).unwrap();
                producer.flush(WAIT).unwrap();
                if taken % 3 == 0 {
                    // Once more, as after a failure.
                    producer.abort_transaction(WAIT).unwrap();
                    producer.begin_transaction().unwrap();
                    producer.send(record()).map_err(|(error, _)| error).unwrap();
                }
                producer.commit_transaction(WAIT).unwrap();
            }
            "stops-reading" if taken > 3 => {
                producer.flush(WAIT).unwrap();
                consumer.commit_consumer_state(CommitMode::Sync).unwrap();
                consumer.unsubscribe();
                loop {
                    std::thread::park();
                }
            }
            "dies" if taken > 3 => std::process::exit(5),
            "damages" => {}
            "writes-elsewhere" => {
                producer.send(BaseRecord::<[u8], str>::to("other").payload("x")).map_err(|(error, _)| error).unwrap();
            }
            _ => {
                while let Err((_, _)) = producer.send(record()) {
                    producer.poll(Duration::from_millis(1));
                }
                if does == "commits-at-once" {
                    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
                }
            }
        }
    }
}

/// Commits offset 105 for another group.
fn commit_for_another(config: &ClientConfig) {
    let other: BaseConsumer = config.clone().set("group.id", "other").create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset("orders", 0, rdkafka::Offset::Offset(105)).unwrap();
    other.commit(&place, CommitMode::Sync).unwrap();
}

/// Asks for what the stage does not serve.
fn ask_more() {
    // `DescribeAcls` version 1: correlation 7, client `asks`, no fields.
    let mut stream = TcpStream::connect(env("KAFKA_BOOTSTRAP_SERVERS").unwrap()).unwrap();
    stream.write_all(&[0, 0, 0, 14, 0, 29, 0, 1, 0, 0, 0, 7, 0, 4, b'a', b's', b'k', b's']).unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    // After size, correlation and throttling the protocol's own error: 35, UNSUPPORTED_VERSION.
    assert_eq!(answer[4..14], [0, 0, 0, 7, 0, 0, 0, 0, 0, 35]);
}

/// Events of a row group at most. Whoever reads one holds all that is packed in it.
const GROUP: usize = 500;

/// Events after which a build that damages the recording does so. With 4 kB each they are 120 MB: a recording keeps 48 MB of what it
/// decoded, and sixteen readers that stand in row groups of 2 MB each.
const DAMAGED_AFTER: i32 = 30_000;

/// Events that a build takes before its first commit, where it commits late.
const LATE: i32 = 150;

/// A recording and room for outcomes.
struct Desk {
    folder: TempDir,
    recording: Recording,
    lineage: Option<Lineage>,
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
    /// Events of the topic `orders`, which has so many partitions.
    fn of(partitions: i32, events: &[Event]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let topic = TopicSource { name: "orders".into(), partitions, ..TopicSource::default() };
        let mut writer = RecordingWriter::create(&path, Source { topics: vec![topic], ..Source::default() }).unwrap();
        for events in events.chunks(GROUP) {
            let mut builder = EventBatchBuilder::new();
            for event in events {
                builder.push_event(event);
            }
            writer.write(&builder.finish()).unwrap();
            writer.checkpoint().unwrap();
        }
        writer.seal().unwrap();
        Self { recording: Recording::open(path).unwrap(), folder, lineage: None }
    }

    /// So many events of one partition, 10 ms apart.
    fn numbered(count: i64) -> Self {
        let events: Vec<_> = (0..count).map(|at| event(0, 100 + at, 1_000_000 + at * 10)).collect();
        Self::of(1, &events)
    }

    fn plan(&self, settings: &str) -> Plan {
        #[derive(serde::Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Part {
            select: rehearsal::plan::SelectSettings,
            pace: rehearsal::plan::PaceSettings,
            fault: Vec<FaultSettings>,
        }
        let Part { select, pace, fault } = toml::from_str(settings).unwrap();
        let settings = PlanSettings { select, pace, faults: fault, ..PlanSettings::default() };
        plan(&self.recording, &settings, Seed(7), Arc::new(SpillSpace::system())).unwrap()
    }

    fn try_drive(&self, plan: &Plan, does: &str, settings: &str, stop: &Stop) -> Result<Outcome, DriveError> {
        let command = ["{rehearsal}", "--exact", "kafka::a_build_of_these_tests", "--nocapture"].map(str::to_owned);
        let segments = self.folder.path().join("recording/segments").display().to_string();
        let flags =
            BTreeMap::from([("does".to_owned(), Flag::from(does)), ("segments".to_owned(), Flag::from(segments))]);
        let build = BuildSettings { command: command.into(), flags, ..BuildSettings::default() };
        let build = build.check_for("new", std::path::Path::new("."), Transport::Kafka).unwrap();
        let text = format!("transport = 'kafka'\noutputs = ['seen']\nsettle = '200ms'\n{settings}");
        let rules = toml::from_str::<DriveSettings>(&text).unwrap().check().unwrap();
        let rules = DriveRules { lineage: self.lineage.clone(), ..rules };
        let out = self.folder.path().join("outcome");
        let deliveries = Some(plan.summary().unwrap().deliveries);
        let job = Job { name: "new", plan, recording: &self.recording, deliveries, build: &build, rules: &rules, out };
        drive(&job, &SystemClock::start(), stop, &|_| {})
    }

    fn drive(&self, plan: &Plan, does: &str, settings: &str) -> Outcome {
        self.try_drive(plan, does, settings, &Stop::new()).unwrap()
    }

    /// Drives a build and checks how it ends and what the reason says.
    fn ends(&self, does: &str, settings: &str, ending: Ending, reason: &str) -> Outcome {
        let outcome = self.drive(&self.plan(UNPACED), does, settings);
        let report = outcome.ending();
        let log = std::fs::read_to_string(outcome.path().join("stderr.log")).unwrap();
        assert!(
            report.ending == ending && report.reason.contains(reason),
            "{does}: {:?}: {}\n{log}",
            report.ending,
            report.reason
        );
        outcome
    }
}

const UNPACED: &str = "[pace]\nmode = 'unpaced'\n";

fn outputs(outcome: &Outcome) -> Vec<Output> {
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()).collect()
}

fn receipts(outcome: &Outcome) -> Vec<Receipt> {
    outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect()
}

/// Position and value of what a build saw of each partition, in the order in which it did.
fn seen(outcome: &Outcome) -> BTreeMap<i64, Vec<(i64, String)>> {
    let mut seen = BTreeMap::<_, Vec<_>>::new();
    for output in outputs(outcome) {
        let value: Json = serde_json::from_slice(&output.value.unwrap()).unwrap();
        let event = (value["offset"].as_i64().unwrap(), value["value"].as_str().unwrap().to_owned());
        seen.entry(value["partition"].as_i64().unwrap()).or_default().push(event);
    }
    seen
}

/// Position and value of what a plan hands over of each partition, in its order.
fn planned(plan: &Plan) -> BTreeMap<i64, Vec<(i64, String)>> {
    let mut planned = BTreeMap::<_, Vec<_>>::new();
    for delivery in plan.deliveries() {
        let Delivery { partition, offset, position, .. } = delivery.unwrap();
        planned.entry(partition.into()).or_default().push((position, format!("{partition}/{offset}")));
    }
    planned
}

/// A receipt without its place, which is not kept.
fn without_place(delivery: Delivery) -> Delivery {
    Delivery { place: rehearsal::recording::Place::default(), ..delivery }
}

fn fault() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("[[fault]]\nkind = 'duplicate'\nprobability = 0.2\nafter = '1 events'\n"),
        Just("[[fault]]\nkind = 'duplicate'\nprobability = 0.1\nafter = '5ms..50ms'\n"),
        Just("[[fault]]\nkind = 'reorder'\nshare = 0.2\nextent = 8\n"),
        Just("[[fault]]\nkind = 'rewind'\nn = 7\ntimes = 2\n"),
        Just("[[fault]]\nkind = 'rewind'\nn = 300\nevery = 40\n"),
        Just("[[fault]]\nkind = 'drop'\nprobability = 0.1\n"),
        Just("[[fault]]\nkind = 'straggle'\nshare = 0.1\ndelay = '30ms'\n"),
        Just("[[fault]]\nkind = 'interleave'\nmode = 'starved'\nlength = '40ms'\n"),
        Just("[[fault]]\nkind = 'late'\nbound = '30ms'\ninside = 0.1\nat-bound = 0.05\nbeyond = 0.05\n"),
        // What happens to requests changes nothing of what is seen.
        Just("[[fault]]\nkind = 'batch'\nsizes = '1..9'\n"),
        Just("[[fault]]\nkind = 'slow-reader'\nrate = '40 kB/s'\n"),
        Just("[[fault]]\nkind = 'partial-loss'\nshare = 0.2\nrequests = ['Fetch']\n"),
        Just("[[fault]]\nkind = 'disconnect'\nevery = 9\nrequests = ['Fetch', 'OffsetCommit']\n"),
        Just("[[fault]]\nkind = 'lost-ack'\nevery = 2\nrequests = ['OffsetCommit']\n"),
        Just("[[fault]]\nkind = 'loading'\nevery = 3\nrequests = ['OffsetCommit']\n"),
    ]
}

proptest! {
    // Each case starts a process.
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn what_a_consumer_sees_on_the_stage_is_the_plan(
        partitions in proptest::collection::vec((1_i64..1_000, proptest::collection::vec((1_i64..4, 0_i64..40), 1..60)), 1..4),
        faults in proptest::collection::vec(fault(), 0..3),
        paced in any::<bool>(),
    ) {
        let mut events = Vec::new();
        for (partition, (first, steps)) in (0..).zip(&partitions) {
            let (mut offset, mut time) = (*first, 1_000_000);
            for (step, wait) in steps {
                events.push(event(partition, offset, time));
                (offset, time) = (offset + step, time + wait);
            }
        }
        // Of one partition more, nothing was recorded.
        let desk = Desk::of(partitions.len() as i32 + 1, &events);
        let mut names = 0;
        let faults = faults.iter().fold(String::new(), |text, fault| {
            names += 1;
            text + &fault.replace("[[fault]]\n", &format!("[[fault]]\nname = 'f{names}'\n"))
        });
        let plan = desk.plan(&format!("{}{faults}", if paced { "" } else { UNPACED }));
        let outcome = desk.drive(&plan, "mirrors", "");
        prop_assert_eq!(outcome.ending().ending, Ending::Finished, "{}", &outcome.ending().reason);
        prop_assert_eq!(seen(&outcome), planned(&plan));
        let receipts = receipts(&outcome);
        prop_assert!(receipts.iter().all(|receipt| receipt.sent_us.is_some()));
        let delivered: Vec<_> = receipts.iter().map(|receipt| without_place(receipt.delivery)).collect();
        let all: Vec<_> = plan.deliveries().map(|delivery| without_place(delivery.unwrap())).collect();
        prop_assert_eq!(delivered, all);
        let again = receipts.iter().filter(|receipt| receipt.delivery.attempt > 0).count() as u64;
        prop_assert_eq!(outcome.ending().redelivered, Some(again));
        if paced {
            for receipt in &receipts {
                prop_assert!(receipt.sent_us >= Some(receipt.delivery.due_us), "{:?}", receipt);
            }
        }
    }
}

#[test]
fn a_build_that_commits_the_end_of_its_input_has_finished() {
    let desk = Desk::numbered(300);
    let outcome = desk.ends("mirrors", "", Ending::Finished, "committed the end of its input after 300 deliveries");
    let report = outcome.ending();
    assert_eq!((report.deliveries, report.sent, report.outputs), (Some(300), Some(300), Some(300)));
    assert_eq!((report.redelivered, report.taken_back, report.lateness), (Some(0), 0, None));
    assert_eq!(report.committed.iter().map(|one| (&*one.topic, one.position)).collect::<Vec<_>>(), [("orders", 400)]);
    let outputs = outputs(&outcome);
    let first = &outputs[0];
    assert_eq!((&*first.topic, first.partition, first.timestamp_ms), ("seen", 0, Some(77)));
    assert_eq!((first.headers[0].name.as_str(), first.headers[0].value.as_deref()), ("n", Some(&b"1"[..])));
    let cause = first.cause.as_ref().unwrap();
    assert_eq!((&*cause.topic, cause.attempt, cause.by), ("orders", 0, CauseBy::Inferred));
    assert!(outputs.iter().zip(0..).all(|(output, sequence)| output.sequence == sequence));
    assert!(outcome.gauges().unwrap().iter().any(|gauge| gauge.name == "lag" && gauge.value == 0.0));
    assert!(outcome.gauges().unwrap().iter().any(|gauge| gauge.name == "lag/rehearsal"));
}

#[test]
fn outputs_find_their_causes_by_what_events_carry_too() {
    let numbers = (0..200).map(|at| Event { value: Some((at * 3).to_string().into()), ..event(0, at, 1_000 + at) });
    let mut desk = Desk::of(1, &numbers.collect::<Vec<_>>());
    let settings: LineageSettings = toml::from_str("event = '$'\noutput = '$.value'").unwrap();
    desk.lineage = settings.check().unwrap();
    let outcome = desk.ends("mirrors", "", Ending::Finished, "");
    let causes = outputs(&outcome).into_iter().map(|output| output.cause.map(|cause| (cause.offset, cause.by)));
    let expected = (0..200).map(|offset| Some((offset, CauseBy::Lineage)));
    assert_eq!(causes.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_build_that_commits_elsewhere_has_finished_once_it_is_quiet() {
    let desk = Desk::numbered(50);
    let outcome = desk.ends(
        "commits-nothing",
        "finished = 'quiet'",
        Ending::Finished,
        "fetched its input to the end after 50 deliveries and was quiet for 200ms (`finished = \"quiet\"`)",
    );
    assert_eq!(outcome.output_count(), 50);
}

#[test]
fn a_build_that_commits_nothing_is_not_taken_to_have_finished() {
    let desk = Desk::numbered(50);
    let reason = "but did not commit the end of it; a build that commits elsewhere wants `finished = \"quiet\"`";
    desk.ends("commits-nothing", "drain-timeout = '1s'", Ending::TimedOut, reason);
}

#[test]
fn a_group_that_does_not_come_to_the_end_is_named() {
    let reason = "but did not commit the end of it: group `other` is 4 behind; nothing came of it";
    Desk::numbered(9).ends("commits-for-two", "drain-timeout = '2s'", Ending::TimedOut, reason);
}

#[test]
fn a_build_that_never_fetches_is_not_ready() {
    let desk = Desk::of(3, &[event(1, 5, 1_000)]);
    let reason = "it has not fetched from `orders` partition 0, 1, 2";
    let outcome = desk.ends("nothing", "ready-timeout = '500ms'", Ending::TimedOut, reason);
    assert!(receipts(&outcome).iter().all(|receipt| receipt.sent_us.is_none()));
    assert_eq!(receipts(&outcome).len(), 1);
}

#[test]
fn a_build_that_stops_fetching_is_told_apart_from_one_that_dies() {
    let desk = Desk::numbered(20_000);
    let settings = "drain-timeout = '1s'";
    let outcome = desk.ends("stops-reading", settings, Ending::StoppedReading, "of 20,000 deliveries");
    assert_eq!(receipts(&outcome).len(), 20_000);
    let desk = Desk::numbered(100);
    let outcome = desk.ends("dies", "", Ending::Died, "exit code 5");
    assert_eq!(outcome.ending().exit_code, Some(5));
    let desk = Desk::numbered(100);
    desk.ends("exits", "", Ending::Died, "exit code 3 after 0 of 100 deliveries, before it was through with its input");
}

#[test]
fn what_a_transaction_took_back_is_counted_apart() {
    let desk = Desk::numbered(9);
    let reason = "; it took 3 outputs back with their transactions";
    let outcome = desk.ends("transactions", "", Ending::Finished, reason);
    assert_eq!((outcome.ending().taken_back, outcome.output_count()), (3, 9));
    let positions: Vec<i64> = seen(&outcome)[&0].iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (100..109).collect::<Vec<_>>());
}

#[test]
fn what_is_written_to_a_topic_that_nobody_named_is_told() {
    let desk = Desk::numbered(9);
    let reason = "; it also wrote to `other`, which `outputs` does not name";
    let outcome = desk.ends("writes-elsewhere", "", Ending::Finished, reason);
    assert_eq!(outcome.output_count(), 0);
}

#[test]
fn a_timestamp_that_nobody_gave_is_none() {
    let desk = Desk::numbered(9);
    let outcome = desk.ends("gives-no-timestamp", "", Ending::Finished, "");
    assert_eq!(outputs(&outcome).iter().map(|output| output.timestamp_ms).collect::<Vec<_>>(), [None; 9]);
}

#[test]
fn what_the_stage_does_not_serve_is_told() {
    let reason = "; asked for what the stage does not serve: DescribeAcls version 1, by client `asks`, once";
    Desk::numbered(9).ends("asks-more", "", Ending::Finished, reason);
}

#[test]
fn a_build_that_writes_without_end_is_ended() {
    let desk = Desk::numbered(2_000);
    desk.ends("mirrors", "output-bytes-max = 10_000", Ending::TimedOut, "wrote more than 10,000 bytes");
}

#[test]
fn a_drive_that_is_stopped_keeps_what_was_written() {
    let desk = Desk::numbered(3_000);
    let plan = desk.plan("");
    let stop = Stop::new();
    let stopped = std::thread::scope(|scope| {
        let drive = scope.spawn(|| desk.try_drive(&plan, "mirrors", "", &stop));
        let clock = SystemClock::start();
        let outputs = desk.folder.path().join("outcome/outputs.parquet");
        while !outputs.exists() && clock.now() < WAIT {
            std::thread::yield_now();
        }
        stop.raise();
        drive.join().unwrap()
    });
    assert!(matches!(stopped, Err(DriveError::Stopped { .. })), "{stopped:?}");
    assert!(Outcome::open(desk.folder.path().join("outcome")).unwrap().ending().reason.contains("stopped on request"));
}

#[test]
fn how_far_a_build_was_behind_is_known_where_it_commits_and_the_replay_is_paced() {
    let desk = Desk::numbered(i64::from(LATE));
    let known = |settings: &str, does: &str, more: &str| {
        let outcome = desk.drive(&desk.plan(settings), does, more);
        assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
        let found = behind([("new".to_owned(), &outcome)].into_iter()).unwrap();
        std::fs::remove_dir_all(outcome.path()).unwrap();
        (found.lag.get("new").copied(), found.freshness.get("new").copied())
    };
    let recorded = "[pace]\nmode = 'recorded'\n";
    let (lag, freshness) = known(recorded, "commits-late", "");
    let (lag, freshness) = (lag.unwrap(), freshness.unwrap());
    // All of it is visible 1.49 s after the first, and committed then; it is looked at ten times a second.
    assert!((120..=150).contains(&lag.largest) && lag.p99 > 100 && lag.at_end == 0, "{lag:?}");
    assert!(lag.peak_us > 1_200_000, "{lag:?}");
    assert!(freshness.largest_us > 1_200_000 && freshness.p99_us > 1_000_000, "{freshness:?}");
    assert_eq!(freshness.at_end_us, 0);
    let (lag, _) = known(recorded, "commits-at-once", "");
    assert!(lag.unwrap().p99 < 100, "{lag:?}");
    assert_eq!(known(UNPACED, "mirrors", ""), (None, None), "without a schedule nothing is late");
    let quiet = known(recorded, "commits-nothing", "finished = 'quiet'");
    assert_eq!(quiet, (None, None), "what commits elsewhere does not say what it dealt with");
}

#[test]
fn a_warm_up_is_handed_over_first_and_unpaced() {
    let desk = Desk::numbered(400);
    let plan = desk.plan("[select]\nfrom = '1970-01-01T00:16:42Z'\nwarm-up = '1s'\n[pace]\nmode = 'recorded'\n");
    let warm_up = plan.summary().unwrap().warm_up_events;
    assert!((50..=100).contains(&warm_up), "{warm_up}");
    let outcome = desk.drive(&plan, "mirrors", "");
    assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
    let receipts = receipts(&outcome);
    let (before, after): (Vec<&Receipt>, Vec<&Receipt>) =
        receipts.iter().partition(|receipt| receipt.delivery.phase == Phase::WarmUp);
    assert_eq!(before.len() as u64, warm_up);
    assert!(before.iter().all(|receipt| receipt.sent_us < Some(0)));
    assert!(after.iter().all(|receipt| receipt.sent_us >= Some(receipt.delivery.due_us)));
    let phases: Vec<Phase> = outputs(&outcome).iter().map(|output| output.phase).collect();
    assert_eq!(phases.iter().filter(|phase| **phase == Phase::WarmUp).count() as u64, warm_up);
    let lateness = outcome.ending().lateness.unwrap();
    assert!(lateness.slow_down < 0.5, "{lateness:?}");
}

#[test]
fn a_drive_whose_stage_cannot_serve_what_was_planned_has_no_outcome_that_counts() {
    let events: Vec<_> = (0..i64::from(DAMAGED_AFTER))
        .map(|at| Event { value: Some(vec![b'x'; 4_000]), ..event(0, 100 + at, 1_000_000) })
        .collect();
    let desk = Desk::of(1, &events);
    let error = desk.try_drive(&desk.plan(UNPACED), "damages", "", &Stop::new()).unwrap_err();
    let DriveError::Stage(unserved @ StageError::Unserved(_)) = &error else { panic!("{error:?}") };
    assert!(unserved.to_string().contains("clients were not served as planned"), "{unserved}");
    // It says so whoever opens it, and that it is no ending of the build's.
    let outcome = Outcome::open(desk.folder.path().join("outcome")).unwrap();
    let report = outcome.ending();
    assert!(report.reason.contains("the drive could not go on after 30,000 deliveries"), "{}", report.reason);
    assert_eq!(report.ending, Ending::TimedOut);
}

#[test]
fn what_does_not_go_together_in_a_scenario_is_refused_with_its_place() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/refunds.toml");
    let problems = |over: &str| {
        let scenario = Scenario::read(&path, &[over.to_owned()]).unwrap();
        check(scenario, None).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(problems("seed=5"), Ok(()));
    for (over, place, word) in [
        ("drive.finished=quiet", "refunds.toml:16", "cannot be set back"),
        ("drive.outputs=['flights']", "--set drive.outputs", "is handed to the builds"),
        ("new.command=['{rehearsal}', '{topic.fligths}']", "--set new.command", "names no topic of the replay"),
        ("drive.broker=kafka:9092", "refunds.toml:16", "only the stage can make `rewind`"),
        ("drive.broker=kafka", "--set drive.broker", "is no address of a broker"),
        ("drive.config=none", "--set drive.config", "only a cluster knows"),
    ] {
        let said = problems(over).unwrap_err();
        assert!(said.contains(place) && said.contains(word), "{over}: {said}");
    }
}

#[test]
fn what_cannot_be_shown_is_refused_before_anything_is_started() {
    let rules = toml::from_str::<DriveSettings>("transport = 'kafka'\noutputs = ['seen']\nfinished = 'quiet'").unwrap();
    let rules = rules.check().unwrap();
    let error: SettingError = rules.check_plan(&["orders".into()], ["rewind"].into_iter()).unwrap_err();
    assert!(error.problem.contains("cannot be set back"), "{error}");
}

#[test]
fn what_is_run_beside_a_build_finds_its_brokers_and_a_sink_is_looked_at_behind_it() {
    let desk = Desk::numbered(5);
    let plan = desk.plan(UNPACED);
    let shell = |script: &str| vec![["sh", "-c", script].map(str::to_owned).to_vec()];
    let command = ["{rehearsal}", "--exact", "kafka::a_build_of_these_tests", "--nocapture"].map(str::to_owned);
    let build = BuildSettings {
        command: command.into(),
        flags: BTreeMap::from([("does".to_owned(), Flag::from("mirrors"))]),
        prepare: shell("echo {brokers} {group} {topic.seen} $KAFKA_BOOTSTRAP_SERVERS >{dir}/told"),
        cleanup: shell("rm {dir}/told && echo removed"),
        ..BuildSettings::default()
    };
    let build = build.check_for("new", std::path::Path::new("."), Transport::Kafka).unwrap();
    let rules = "transport = 'kafka'\noutputs = ['seen']\nsettle = '200ms'";
    let rules = toml::from_str::<DriveSettings>(rules).unwrap().check().unwrap();
    let sink = toml::from_str("name = 'told'\nsnapshot = ['cat', '{dir}/told']").unwrap();
    let rules = DriveRules { sinks: check_sinks(&[sink], &["seen".to_owned()]).unwrap(), ..rules };
    let out = desk.folder.path().join("outcome");
    let job = Job {
        name: "new",
        plan: &plan,
        recording: &desk.recording,
        deliveries: None,
        build: &build,
        rules: &rules,
        out: out.clone(),
    };
    let outcome = drive(&job, &SystemClock::start(), &Stop::new(), &|_| {}).unwrap();
    let report = outcome.ending();
    assert_eq!((report.ending, report.outputs, report.sinks["told"].rows), (Ending::Finished, Some(6), 1));
    let outputs = outputs(&outcome);
    let row = outputs.last().unwrap();
    assert_eq!((row.channel, &*row.topic, row.phase, row.sequence), (Channel::Sink, "told", Phase::Drain, 5));
    let told = String::from_utf8(row.value.clone().unwrap()).unwrap();
    let words: Vec<&str> = told.split(' ').collect();
    assert_eq!((words[0], &words[1..3]), (words[3], &["rehearsal", "seen"][..]), "{told}");
    assert!(words[0].starts_with("127.0.0.1:"), "{told}");
    assert_eq!(std::fs::read_to_string(out.join("cleanup.log")).unwrap(), "removed\n");
}
