//! Captures that are cut off and gone on with, from an in-process broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::capture::{CaptureError, CaptureProgress, CaptureReport, CaptureSettings, Start, Until, capture};
use rehearsal::clock::{Clock, SimulatedClock, Stop, SystemClock};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Recording, RecordingError, RecordingWriter, Source, Standing, TopicSource,
    same_events,
};
use rehearsal::samples::{Broker, fill};
use tempfile::TempDir;

fn small() -> Recording {
    Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/small")).unwrap()
}

fn full_broker() -> Broker {
    let broker = Broker::start_for(&small()).unwrap();
    assert_eq!(fill(broker.brokers(), &small(), &mut |_| {}).unwrap(), 300);
    broker
}

fn settings(broker: &Broker, topics: &[&str]) -> CaptureSettings {
    let mut settings = CaptureSettings::new(broker.brokers(), topics.iter().copied());
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    settings
}

fn captured(settings: &CaptureSettings, out: &Path) -> Result<CaptureReport, CaptureError> {
    capture(settings, out, &SystemClock::start(), &Stop::new(), &mut |_| {})
}

/// Makes a sealed recording one that was cut off right before it was sealed.
fn unseal(out: &Path) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["sealed"] = false.into();
    fs::write(&path, manifest.to_string()).unwrap();
}

/// A recording that was cut off after so many events of `payments`.
fn cut_off(broker: &Broker, events: u64) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let some = CaptureSettings { until: Until::Count(events), ..settings(broker, &["payments"]) };
    assert_eq!(captured(&some, &out).unwrap().events, events);
    unseal(&out);
    (folder, out)
}

/// A recording of which only the source is there, as `change` makes it.
fn begun(broker: &Broker, change: impl FnOnce(&mut Source)) -> (TempDir, PathBuf) {
    let (folder, out) = cut_off(broker, 20);
    let mut source = Recording::rebuild(&out).unwrap().manifest.source;
    change(&mut source);
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["source"] = serde_json::to_value(source).unwrap();
    manifest["sealed"] = false.into();
    fs::write(&path, manifest.to_string()).unwrap();
    (folder, out)
}

#[test]
fn a_capture_that_was_cut_off_takes_the_rest_once() {
    let broker = full_broker();
    for lost_manifest in [false, true] {
        let (_folder, out) = cut_off(&broker, 123);
        if lost_manifest {
            fs::remove_file(out.join("manifest.json")).unwrap();
        }
        let report = captured(&settings(&broker, &["payments"]), &out).unwrap();
        assert_eq!((report.events, report.resumed_at), (300, Some(123)));
        let recording = Recording::open(&out).unwrap();
        assert_eq!(same_events(&small(), &recording).unwrap(), None);
        assert_eq!(recording.verify().unwrap(), []);
        let said = report.notes.iter().any(|note| note.starts_with("The manifest was lost"));
        assert_eq!(said, lost_manifest, "{:?}", report.notes);
        let starts = &recording.manifest().source.topics[0].starts;
        assert_eq!(starts.values().collect::<Vec<_>>(), [&0, &0, &0]);
    }
}

#[test]
fn what_is_sealed_and_what_somebody_writes_is_refused_before_the_cluster_is_asked() {
    let nobody = CaptureSettings::new("127.0.0.1:1", ["t"]);
    let folder = TempDir::new().unwrap();
    let writer = RecordingWriter::create(folder.path(), Source::default()).unwrap();
    let refused = captured(&nobody, folder.path()).unwrap_err();
    assert!(matches!(refused, CaptureError::Unwritable(RecordingError::Fenced { .. })), "{refused}");
    writer.seal().unwrap();
    let refused = captured(&nobody, folder.path()).unwrap_err();
    assert!(matches!(refused, CaptureError::Unwritable(RecordingError::Sealed { .. })), "{refused}");
}

#[test]
fn a_recording_of_another_cluster_or_topic_is_not_gone_on_with() {
    let broker = full_broker();
    let all = || settings(&broker, &["payments"]);
    let refused = |out: &Path| captured(&all(), out).unwrap_err();
    let (_folder, out) = begun(&broker, |source| source.cluster = Some("prod-7".to_owned()));
    let before = fs::read(out.join("manifest.json")).unwrap();
    let error = refused(&out);
    assert!(matches!(&error, CaptureError::OtherCluster { recorded, .. } if recorded == "prod-7"), "{error}");
    assert_eq!(RecordingWriter::standing(&out).unwrap(), Standing::Unsealed);
    assert!(!before.is_empty());

    let other = TopicSource { name: "orders".to_owned(), partitions: 1, ..TopicSource::default() };
    let (_folder, out) = begun(&broker, |source| source.topics.push(other));
    let error = refused(&out);
    assert!(matches!(&error, CaptureError::TopicLeftOut { topic, .. } if topic == "orders"), "{error}");

    // Another broker with a topic of the same name stands for one that was deleted and made again.
    let (_folder, out) = cut_off(&broker, 300);
    let fresh = Broker::start_for(&small()).unwrap();
    forget(&out, |source| &mut source["cluster"]);
    let error = captured(&settings(&fresh, &["payments"]), &out).unwrap_err();
    assert!(matches!(&error, CaptureError::RecreatedTopic { topic, .. } if topic == "payments"), "{error}");
    // A cluster that gives no ids cannot tell, but its log may give it away.
    forget(&out, |source| &mut source["topics"][0]["id"]);
    let error = captured(&settings(&fresh, &["payments"]), &out).unwrap_err();
    assert!(matches!(&error, CaptureError::LogEndsEarlier { end: 0, .. }), "{error}");
}

#[test]
fn a_capture_that_nobody_answers_stops_when_it_is_told_to() {
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect_timeout = Duration::from_secs(120);
    let brokers = silent.local_addr().unwrap().to_string();
    let settings = CaptureSettings { connect_timeout, ..CaptureSettings::new(brokers, ["t"]) };
    let (stop, folder) = (Stop::new(), TempDir::new().unwrap());
    let out = folder.path().join("out");
    let error = std::thread::scope(|scope| {
        let capturing = scope.spawn(|| capture(&settings, &out, &SystemClock::start(), &stop, &mut |_| {}));
        // Somebody asks.
        drop(silent.accept().unwrap());
        stop.raise();
        capturing.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, CaptureError::Stopped { .. }), "{error}");
    assert!(!out.exists());
}

/// Takes something out of what a manifest says of the source.
fn forget(out: &Path, what: impl FnOnce(&mut serde_json::Value) -> &mut serde_json::Value) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *what(&mut manifest["source"]) = serde_json::Value::Null;
    fs::write(&path, manifest.to_string()).unwrap();
}

#[test]
fn what_cannot_be_checked_is_said() {
    let broker = full_broker();
    let (_folder, out) = begun(&broker, |source| {
        source.cluster = None;
        source.topics[0].id = None;
    });
    let report = captured(&settings(&broker, &["payments"]), &out).unwrap();
    let notes = report.notes.join("\n");
    assert!(notes.contains("this is the cluster") && notes.contains("topic `payments` was recreated"), "{notes}");
}

#[test]
fn what_is_no_recording_to_go_on_with_is_the_users_to_mend() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    drop(RecordingWriter::create(&out, Source::default()).unwrap());
    let nobody = ["--brokers", "127.0.0.1:1", "--topic", "t"];
    let refused = || rehearsal().arg("capture").args(nobody).arg("--out").arg(&out).output().unwrap();
    let manifest = out.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"format\": \"1.0\"", "\"format\": \"0.9\"")).unwrap();
    let output = refused();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("format 0.9") && said(&output).contains("Use the version"), "{}", said(&output));
}

#[test]
fn a_topic_that_is_taken_from_a_resume_on_is_said_to_be() {
    let broker = Broker::start([("payments", 3), ("more", 1)]).unwrap();
    fill(broker.brokers(), &small(), &mut |_| {}).unwrap();
    let (_folder, out) = cut_off(&broker, 20);
    let report = captured(&settings(&broker, &["payments", "more"]), &out).unwrap();
    let taken = "Topic `more` is taken from now on: the recording was begun without it.";
    assert_eq!(report.notes.iter().filter(|note| *note == taken).count(), 1, "{:?}", report.notes);
    unseal(&out);
    let report = captured(&settings(&broker, &["payments", "more"]), &out).unwrap();
    assert!(!report.notes.iter().any(|note| note == taken), "{:?}", report.notes);
}

#[test]
fn a_partition_that_was_added_since_is_taken_from_its_start() {
    let broker = full_broker();
    // As if the last partition had not been there: nothing of it is recorded.
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let cluster = captured(&settings(&broker, &["payments"]), &folder.path().join("other"))
        .map(|_| Recording::open(folder.path().join("other")).unwrap().manifest().source.cluster.clone())
        .unwrap();
    let topic = TopicSource {
        name: "payments".to_owned(),
        partitions: 2,
        starts: [(0, 0), (1, 0)].into(),
        ..TopicSource::default()
    };
    drop(RecordingWriter::create(&out, Source { cluster, topics: vec![topic], ..Source::default() }).unwrap());
    let latest = CaptureSettings { from: rehearsal::capture::Start::Latest, ..settings(&broker, &["payments"]) };
    captured(&latest, &out).unwrap();
    assert_eq!(same_events(&small(), &Recording::open(&out).unwrap()).unwrap(), None);
}

fn producer(broker: &Broker) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.brokers()).create().unwrap()
}

#[test]
fn an_event_that_came_is_on_the_disk_within_the_bound_though_nothing_follows() {
    let broker = Broker::start([("idle", 1)]).unwrap();
    // A bound so long that the event is seen to wait, on a clock that the test alone moves.
    let checkpoint_every = Duration::from_secs(600);
    let settings = CaptureSettings {
        until: Until::Stopped,
        checkpoint_every,
        stall_timeout: Duration::MAX,
        ..settings(&broker, &["idle"])
    };
    let (clock, stop, folder) = (SimulatedClock::new(), Stop::new(), TempDir::new().unwrap());
    let out = folder.path().join("out");
    let (seen, seeing) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let capturing = scope.spawn(|| {
            let mut tell = |progress: &CaptureProgress| {
                let _ = seen.send((clock.now(), progress.events, progress.acknowledged_events));
            };
            capture(&settings, &out, &clock, &stop, &mut tell).unwrap()
        });
        let _stopping = StopAtEnd(&stop);
        // Moves the clock on until the capture tells what is waited for.
        let until = |step: Duration, wanted: &dyn Fn(u64, u64) -> bool| {
            for _ in 0..2_000 {
                clock.advance(step);
                // The clock may have moved before the capture looked at it: then it tells nothing until it moves again.
                match seeing.recv_timeout(Duration::from_millis(500)) {
                    Ok((now, events, acknowledged)) if wanted(events, acknowledged) => return (now, acknowledged),
                    _ => {}
                }
            }
            panic!("the capture never came so far");
        };
        // Long enough that the capture tells how far it is after each.
        let moment = Duration::from_millis(250);
        // The first event goes to the disk as soon as it comes, since nothing went there for long; the second has to wait.
        until(moment, &|events, _| events == 0);
        clock.advance(checkpoint_every);
        producer_of(&broker, "idle", "one");
        let (first, _) = until(moment, &|_, acknowledged| acknowledged == 1);
        producer_of(&broker, "idle", "two");
        let (came, acknowledged) = until(moment, &|events, _| events == 2);
        assert_eq!(acknowledged, 1);
        assert!(came < first + checkpoint_every, "{came:?} after {first:?}");
        let jump = checkpoint_every / 10;
        let (flushed, _) = until(jump, &|_, acknowledged| acknowledged == 2);
        assert!(flushed <= came + checkpoint_every + 2 * jump, "{flushed:?} after {came:?}");
        stop.raise();
        assert_eq!(capturing.join().unwrap().events, 2);
    });
}

/// Stops a capture when the test ends, however it does.
struct StopAtEnd<'s>(&'s Stop);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}

fn producer_of(broker: &Broker, topic: &str, value: &str) {
    let producer = producer(broker);
    producer.send(BaseRecord::<str, str>::to(topic).partition(0).payload(value)).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn rehearsal() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rehearsal"))
}

fn arguments(broker: &Broker, topic: &str, out: &Path) -> Vec<String> {
    let out = out.display().to_string();
    ["capture", "--brokers", broker.brokers(), "--topic", topic, "--out", &out].map(str::to_owned).to_vec()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Ends a child that a test left.
struct Ended(Option<Child>);

impl Ended {
    fn id(&self) -> i32 {
        self.0.as_ref().unwrap().id().cast_signed()
    }

    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts the program and waits until its recording stands there.
fn started(broker: &Broker, out: &Path) -> Ended {
    let mut command = rehearsal();
    command.args(arguments(broker, "payments", out)).args(["--until", "stopped", "--set", "fetch.wait.max.ms=10"]);
    let child = Ended(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()));
    let clock = SystemClock::start();
    while !out.join("segments/000000.parquet").exists() {
        assert!(clock.now() < Duration::from_secs(60), "the capture takes nothing");
        std::thread::yield_now();
    }
    child
}

#[test]
fn every_polite_way_to_end_a_capture_seals_it() {
    let broker = full_broker();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let child = started(&broker, &out);
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(child.id()).unwrap(), signal).unwrap();
        let output = child.output();
        assert_eq!(output.status.code(), Some(0), "{signal:?}: {}", said(&output));
        let recording = Recording::open(&out).unwrap();
        assert_eq!(recording.verify().unwrap(), []);
        assert!(!recording.is_empty());
    }
}

#[test]
fn a_second_capture_to_the_same_recording_is_refused_by_the_process_that_writes_it() {
    let broker = full_broker();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let first = started(&broker, &out);
    let second = rehearsal().args(arguments(&broker, "payments", &out)).output().unwrap();
    assert_eq!(second.status.code(), Some(2), "{}", said(&second));
    assert!(said(&second).contains(&format!("is being written by process {}", first.id())), "{}", said(&second));
    let rebuilt = rehearsal().args(["inspect", "--rebuild"]).arg(&out).output().unwrap();
    assert_eq!(rebuilt.status.code(), Some(2), "{}", said(&rebuilt));
    // So is who looks into it: nothing was cut off, and there is nothing to make whole.
    let inspected = rehearsal().arg("inspect").arg(&out).output().unwrap();
    assert_eq!(inspected.status.code(), Some(2), "{}", said(&inspected));
    assert!(said(&inspected).contains(&format!("is being written by process {}", first.id())), "{}", said(&inspected));
    assert!(!said(&inspected).contains("--rebuild"), "{}", said(&inspected));
    // The lock dies with its holder, however that dies.
    drop(first);
    let inspected = rehearsal().arg("inspect").arg(&out).output().unwrap();
    assert!(said(&inspected).contains("--rebuild"), "{}", said(&inspected));
    let third = rehearsal().args(arguments(&broker, "payments", &out)).output().unwrap();
    assert_eq!(third.status.code(), Some(0), "{}", said(&third));
    assert_eq!(same_events(&small(), &Recording::open(&out).unwrap()).unwrap(), None);
    let fourth = rehearsal().args(arguments(&broker, "payments", &out)).output().unwrap();
    assert_eq!(fourth.status.code(), Some(2));
    assert!(said(&fourth).contains("is sealed") && said(&fourth).contains("--out"), "{}", said(&fourth));
}

/// A broker with 2 MB that no codec makes smaller, and a recording of the first 100 of its events that was cut off.
fn too_much_for_a_small_disk() -> (Broker, TempDir, PathBuf) {
    let broker = Broker::start([("wide", 1)]).unwrap();
    let producer = producer(&broker);
    let mut noise = 7_u64;
    for _ in 0..2_000 {
        let value: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 33) as u8
        })
        .take(1_000)
        .collect();
        producer.send(BaseRecord::<[u8], [u8]>::to("wide").partition(0).payload(&value)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let some = CaptureSettings { until: Until::Count(100), ..settings(&broker, &["wide"]) };
    captured(&some, &out).unwrap();
    unseal(&out);
    (broker, folder, out)
}

#[test]
fn a_file_that_may_not_grow_ends_the_capture_and_loses_nothing_that_was_acknowledged() {
    let (broker, folder, out) = too_much_for_a_small_disk();
    // The signal is ignored, so that the write itself fails, as it does on a full disk.
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let limited = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_rehearsal")])
        .args(arguments(&broker, "wide", &out))
        .output()
        .unwrap();
    assert_eq!(limited.status.code(), Some(4), "{}", said(&limited));
    let error = said(&limited);
    assert!(error.contains("could not be written on; 100 events in it are safe"), "{error}");
    assert!(error.contains("could not write") && !error.contains("cannot be read"), "{error}");
    assert!(error.contains("File too large") && error.contains("the same command goes on"), "{error}");

    let copy = folder.path().join("copy");
    let copied = Command::new("cp").arg("-r").arg(&out).arg(&copy).status().unwrap();
    assert!(copied.success());
    let inspected = rehearsal().args(["inspect", "--rebuild", "--verify", "--json"]).arg(&copy).output().unwrap();
    assert_eq!(inspected.status.code(), Some(0), "{}", said(&inspected));
    assert_eq!(Recording::open(&copy).unwrap().len(), 100);

    let again = rehearsal().args(arguments(&broker, "wide", &out)).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(String::from_utf8_lossy(&again.stdout).contains("so it holds 2,000 events"), "{again:?}");
    assert_whole(&out);
}

fn assert_whole(out: &Path) {
    let recording = Recording::open(out).unwrap();
    assert_eq!((recording.len(), recording.verify().unwrap()), (2_000, vec![]));
    let facts = &recording.manifest().partitions[0];
    assert_eq!((facts.first, facts.last, facts.gaps), (0, 1_999, 0));
}

#[test]
fn a_full_disk_ends_the_capture_and_room_lets_it_go_on() {
    // Only in a namespace of its own may a test mount a disk.
    let allowed = Command::new("unshare").args(["-rm", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        use std::io::Write as _;
        writeln!(std::io::stderr(), "LEFT OUT: no namespace in which a small disk could be mounted").unwrap();
        return;
    }
    let (broker, folder, out) = too_much_for_a_small_disk();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = "
        set -e
        program=$1 brokers=$2 from=$3 disk=$4
        mount -t tmpfs -o size=1m tmpfs \"$disk\"
        cp -r \"$from\" \"$disk/out\"
        code=0
        \"$program\" capture --brokers \"$brokers\" --topic wide --out \"$disk/out\" || code=$?
        echo \"code $code\" >&2
        mount -o remount,size=20m \"$disk\"
        \"$program\" capture --brokers \"$brokers\" --topic wide --out \"$disk/out\"
        rm -r \"$from\"
        cp -r \"$disk/out\" \"$from\"";
    let output = Command::new("unshare")
        .args(["-rm", "bash", "-c", script, "bash", env!("CARGO_BIN_EXE_rehearsal"), broker.brokers()])
        .args([&out, &disk])
        .output()
        .unwrap();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("100 events in it are safe") && told.contains("No space left"), "{told}");
    assert!(told.contains("code 4") && told.contains("could not write") && !told.contains("cannot be read"), "{told}");
    assert_whole(&out);
}

#[test]
fn what_is_acknowledged_is_told_while_events_come() {
    let broker = full_broker();
    let (until, checkpoint_every) = (Until::Stopped, Duration::ZERO);
    let settings = CaptureSettings { until, checkpoint_every, ..settings(&broker, &["payments"]) };
    let stop = Stop::new();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let told = Mutex::new(Vec::new());
    let mut tell = |progress: &CaptureProgress| {
        let next = progress.acknowledged.iter().map(|one| one.next).sum::<i64>();
        told.lock().unwrap().push((progress.acknowledged_events, next));
        if progress.acknowledged_events == 300 {
            stop.raise();
        }
    };
    capture(&settings, &out, &SystemClock::start(), &stop, &mut tell).unwrap();
    let told = told.into_inner().unwrap();
    assert!(
        told.is_sorted() && told.iter().any(|&(events, next)| events > 0 && next == events.cast_signed()),
        "{told:?}"
    );
}

#[test]
fn a_table_of_odd_events_stays_as_it_is_over_a_resume() {
    // Null and empty survive being written in two halves.
    let event = |offset, value: Option<&[u8]>| Event {
        topic: "t".to_owned(),
        offset,
        key: Some(vec![]),
        value: value.map(<[u8]>::to_vec),
        ..Event::default()
    };
    let folder = TempDir::new().unwrap();
    let halves = [vec![event(0, None), event(1, Some(b""))], vec![event(2, Some(b"x")), event(5, None)]];
    for (at, half) in halves.iter().enumerate() {
        let mut writer = match at {
            0 => RecordingWriter::create(folder.path(), Source::default()).unwrap(),
            _ => RecordingWriter::resume(folder.path()).unwrap().0,
        };
        let mut builder = EventBatchBuilder::new();
        for event in half {
            builder.push_event(event);
        }
        writer.write(&builder.finish()).unwrap();
        writer.checkpoint().unwrap();
    }
    RecordingWriter::resume(folder.path()).unwrap().0.seal().unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    let read: Vec<Event> = recording
        .batches(Columns::ALL)
        .flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>())
        .collect();
    assert_eq!(read, halves.concat());
}

#[test]
fn a_capture_that_is_asked_to_begin_ahead_of_where_it_was_begun_says_so() {
    let broker = full_broker();
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    captured(&settings_from(&broker, Start::Offset(50)), &out).unwrap();
    let said = |from| {
        unseal(&out);
        let report = captured(&settings_from(&broker, from), &out).unwrap();
        report.notes.into_iter().find(|note| note.contains("was begun behind where it is asked to begin"))
    };
    for asked in [Start::Earliest, Start::Offset(20)] {
        let note = said(asked).unwrap();
        let first = if asked == Start::Earliest { 0 } else { 20 };
        assert!(
            note.contains(&format!(
                "of topic `payments`, partition 0, at offset 50 and not at {first}, and of 2 other"
            )),
            "{note}"
        );
    }
    for asked in [Start::Offset(50), Start::Offset(60), Start::Latest] {
        assert_eq!(said(asked), None, "{asked:?}");
    }
}

fn settings_from(broker: &Broker, from: Start) -> CaptureSettings {
    CaptureSettings { from, ..settings(broker, &["payments"]) }
}
