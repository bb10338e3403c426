//! What happens to the processes of builds: killed, told to end, stopped, and started again, over every transport; several of one build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};
use rehearsal::clock::Stop;
use rehearsal::outcome::{Ending, Layer, Outcome, Output, StopCount};
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source, TimestampType, TopicSource};
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::{Destination, Scenario, check, run};
use serde_json::Value as Json;
use tempfile::TempDir;

use super::run::{Silent, desk};

/// A build over lines: writes each order, remembers in `{dir}` which it wrote, and commits. What it does further, its argument says.
const LINES: &str = r#"
import json, os, signal, subprocess, sys, threading, time
does, folder = sys.argv[1], sys.argv[2]
def say(line):
    sys.stdout.write(json.dumps(line) + "\n"); sys.stdout.flush()
paid = os.path.join(folder, "paid")
known = set(open(paid).read().split()) if "remembers" in does and os.path.exists(paid) else set()
latest = None
def commit():
    say({"commit": {"topic": latest["topic"], "partition": latest["partition"], "offset": latest["offset"] + 1}})
def stop(*_):
    if latest: commit()
    os._exit(0)
if "ignores" in does: signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif "graceful" in does: signal.signal(signal.SIGTERM, stop)
gap = [0.0]
def tick():
    last = time.monotonic()
    while True:
        time.sleep(0.01)
        now = time.monotonic()
        gap[0], last = max(gap[0], now - last), now
if "ticks" in does: threading.Thread(target=tick, daemon=True).start()
if "burns" in does:
    while time.process_time() < 0.5: pass
if "ready" in does: sys.stderr.write("ready\n"); sys.stderr.flush()
count = 0
def hold(how):
    # What is at work is written before it is committed, or neither.
    if "graceful" in does: signal.pthread_sigmask(how, [signal.SIGTERM])
for line in sys.stdin:
    hold(signal.SIG_BLOCK)
    event = json.loads(line)
    latest = event if "late" not in does else latest
    number = str(event["value"]["order_id"])
    if number not in known:
        value = {"n": event["value"]["order_id"], "attempt": event.get("attempt", 0)}
        if "ticks" in does: value["gap"] = gap[0]
        if "plain" in does: value = {"n": value["n"]}
        say({"key": event["key"], "value": value})
        with open(paid, "a") as file: file.write(number + "\n")
    latest = event
    count += 1
    if "commits" in does or "tenth" in does and count % 10 == 0: commit()
    hold(signal.SIG_UNBLOCK)
if "graceful" in does and latest: commit()
"#;

/// Runs a scenario of two such builds; `more` begins within `[drive]`.
fn rehearse(desk: &Path, old: &str, new: &str, more: &str) -> Report {
    fs::write(desk.join("build.py"), LINES).unwrap();
    let command = |does: &str| format!("command = ['python3', 'build.py', '{does}', '{{dir}}']");
    let text = format!(
        "recording = 'orders'\nseed = 7\n[old]\n{}\n[new]\n{}\n[drive]\nsettle = '200ms'\nrepeat-old = 0\n{more}",
        command(old),
        command(new)
    );
    rehearse_text(desk, &text)
}

fn rehearse_text(desk: &Path, text: &str) -> Report {
    fs::write(desk.join("scenario.toml"), text).unwrap();
    let scenario = Scenario::read(desk.join("scenario.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    run(&checked, &Destination::Numbered { under: desk.join("runs") }, &Silent, &Stop::new()).unwrap().report
}

fn outcome(desk: &Path, drive: &str) -> Outcome {
    let scenario = fs::read_dir(desk.join("runs")).unwrap().next().unwrap().unwrap().path();
    Outcome::open(scenario.join("0001/outcomes").join(drive)).unwrap()
}

fn outputs(outcome: &Outcome) -> Vec<Output> {
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()).collect()
}

fn values(outcome: &Outcome) -> Vec<Json> {
    outputs(outcome).iter().map(|output| serde_json::from_slice(output.value.as_deref().unwrap()).unwrap()).collect()
}

fn numbers(outcome: &Outcome) -> Vec<i64> {
    values(outcome).iter().map(|value| value["n"].as_i64().unwrap()).collect()
}

fn stopped(outcome: &Outcome) -> StopCount {
    *outcome.ending().stops.values().next().unwrap_or_else(|| panic!("{:?}", outcome.ending()))
}

const UNPACED: &str = "[pace]\nmode = 'unpaced'\n";

#[test]
fn a_build_over_lines_that_crashes_at_a_commit_is_handed_again_what_that_was_to_cover() {
    let desk = desk(8);
    let fault = "show-attempt = true\n[[fault]]\nkind = 'crash'\nnth = 3\n";
    rehearse(desk.path(), "commits", "commits", &format!("{fault}{UNPACED}"));
    let outcome = outcome(desk.path(), "new");
    let ending = outcome.ending();
    assert_eq!(ending.ending, Ending::Finished, "{}", ending.reason);
    let written = values(&outcome);
    let seen: Vec<_> = written.iter().map(|v| (v["n"].as_i64().unwrap(), v["attempt"].as_i64().unwrap())).collect();
    // Killed behind what it wrote for the third, and ahead of its commit: what it did beyond that until it was gone is done.
    let first = seen.iter().take_while(|(_, attempt)| *attempt == 0).count();
    assert!(first >= 3 && seen[..first].iter().map(|(n, _)| *n).eq(0..first as i64), "{seen:?}");
    // All that was not committed is handed over once more, and what was, is not.
    assert_eq!(seen[first], (2, 1), "{seen:?}");
    assert!(seen[first..].iter().map(|(n, _)| *n).eq(2..8), "{seen:?}");
    let stop = stopped(&outcome);
    assert_eq!((stop.stops, stop.resumed, stop.killed), (1, 1, 0));
    assert_eq!((stop.committed, stop.again), (Some(0), stop.in_flight));
    assert!(stop.again >= Some(1), "{stop:?}");
    assert_eq!((ending.instances.len(), ending.instances[0].starts), (1, 2));
    assert_eq!(ending.faults["crash-1"].instances, 1);
    assert!(ending.redelivered >= Some(1));
    // The plan itself is handed over once.
    let receipts: Vec<_> = outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect();
    assert!(receipts.len() == 8 && receipts.iter().all(|receipt| receipt.sent_us.is_some()));
    assert_eq!(ending.committed[0].position, 8);
}

#[test]
fn processor_time_of_a_process_that_ended_as_it_was_told_to_counts() {
    for fault in ["crash", "restart"] {
        let desk = desk(8);
        let fault_text = format!("[[fault]]\nkind = '{fault}'\nnth = 3\n{UNPACED}");
        let report = rehearse(desk.path(), "commits burns", "commits burns graceful", &fault_text);
        assert_eq!(outcome(desk.path(), "new").ending().instances[0].starts, 2, "{fault}");
        // Half a second of each of the two that were started.
        let used = report.resources.as_ref().unwrap()["new"]["cpu_us"].as_u64().unwrap();
        assert!(used >= 1_000_000, "{fault}: {used}");
    }
}

#[test]
fn a_build_that_forgets_what_it_paid_pays_twice_after_crashes_and_one_that_remembers_does_not() {
    let desk = desk(30);
    let fault = "[[fault]]\nkind = 'crash'\nevery = 4\nmost = 5\n[compare]\nidentity = ['$.n']\n";
    let report = rehearse(desk.path(), "commits remembers plain", "commits plain", &format!("{fault}{UNPACED}"));
    let idempotency = report.idempotency.as_ref().unwrap_or_else(|| panic!("{:?}", report.reasons));
    let (old, new) = (idempotency.old.repeated_effects, idempotency.new.repeated_effects);
    assert!(old == 0 && new >= 5, "{old} {new}: {:?}", report.reasons);
    let old = outcome(desk.path(), "old");
    assert_eq!((numbers(&old), stopped(&old).stops), ((0..30).collect(), 5));
    // The drive without redelivery is not killed.
    let once = outcome(desk.path(), "new-once");
    assert_eq!((numbers(&once), once.ending().stops.len()), ((0..30).collect(), 0));
    let fault = &report.faults[0];
    assert_eq!((fault.kind.as_str(), fault.legality.as_str(), fault.fired), ("crash", "A", 5));
    assert!(!report.reasons.iter().any(|reason| reason.contains("never fired")), "{:?}", report.reasons);
}

#[test]
fn a_build_that_is_restarted_commits_what_it_has_and_is_handed_no_more_again() {
    let desk = desk(25);
    // Ten are committed, and what it has beyond them as it goes.
    let fault = "[[fault]]\nkind = 'restart'\nnth = 1\n";
    rehearse(desk.path(), "tenth graceful", "tenth graceful", &format!("{fault}{UNPACED}"));
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!(
        (ending.ending, stop.stops, stop.resumed, stop.killed),
        (Ending::Finished, 1, 1, 0),
        "{}",
        ending.reason
    );
    assert_eq!(numbers(&outcome), (0..25).collect::<Vec<_>>(), "nothing twice: {stop:?}");
}

#[test]
fn a_build_that_does_not_end_within_grace_is_killed_and_what_it_had_is_handed_over_again() {
    let desk = desk(25);
    let fault =
        "ready = { line = '^ready' }\n[[fault]]\nkind = 'restart'\nnth = 1\ngrace = '100ms'\nlength = '150ms'\n";
    rehearse(desk.path(), "tenth ignores ready", "tenth ignores ready", &format!("{fault}{UNPACED}"));
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!(
        (ending.ending, stop.stops, stop.resumed, stop.killed),
        (Ending::Finished, 1, 1, 1),
        "{}",
        ending.reason
    );
    assert!(stop.away_us_max >= 250_000, "{stop:?}");
    let mut seen = numbers(&outcome);
    assert!(seen.len() > 25, "{seen:?}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..25).collect::<Vec<_>>(), "none is lost");
}

#[test]
fn a_build_that_is_frozen_stands_still_and_goes_on() {
    let desk = desk(20);
    let fault = "ready = { line = '^ready' }\n[[fault]]\nkind = 'freeze'\nat = ['5s']\nlength = '600ms'\n[pace]\nmode = 'accelerated'\nspeed = 12\n";
    rehearse(desk.path(), "commits ticks ready", "commits ticks ready", fault);
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!((ending.ending, stop.stops, stop.resumed), (Ending::Finished, 1, 1), "{}", ending.reason);
    assert!(stop.away_us_max >= 600_000, "{stop:?}");
    let gap = values(&outcome).iter().filter_map(|value| value["gap"].as_f64()).fold(0.0, f64::max);
    assert!(gap >= 0.5, "its own clock ticked on: {gap}");
    assert_eq!(numbers(&outcome), (0..20).collect::<Vec<_>>());
    assert!(ending.instances.is_empty(), "it was started once");
}

#[test]
fn crashes_of_a_run_come_again_from_its_fault_log() {
    let desk = desk(30);
    let fault = format!(
        "[[fault]]\nkind = 'crash'\nprobability = 0.2\nname = 'boom'\n[compare]\nidentity = ['$.n']\n{UNPACED}"
    );
    rehearse(desk.path(), "commits plain", "commits plain", &fault);
    let first = numbers(&outcome(desk.path(), "new"));
    let run_folder = fs::read_dir(desk.path().join("runs")).unwrap().next().unwrap().unwrap().path().join("0001");
    let log = fs::read_to_string(run_folder.join("faults.ndjson")).unwrap();
    let logged = log.lines().filter(|line| line.contains("\"boom\"") && line.contains("\"request\"")).count();
    assert!(logged >= 2 && logged as u64 == stopped(&outcome(desk.path(), "new")).stops, "{log}");
    let scenario = Scenario::read(desk.path().join("scenario.toml"), &["seed=99".to_owned()]).unwrap();
    let checked = check(scenario, Some(&run_folder.join("faults.ndjson"))).unwrap();
    let under = desk.path().join("again");
    run(&checked, &Destination::Numbered { under: under.clone() }, &Silent, &Stop::new()).unwrap();
    let folder = fs::read_dir(under).unwrap().next().unwrap().unwrap().path();
    let again = Outcome::open(folder.join("0001/outcomes/new")).unwrap();
    let old_log = stopped(&outcome(desk.path(), "new"));
    assert_eq!(stopped(&again).stops, old_log.stops, "with another seed, and the same log");
    assert!(first.len() >= 30 && numbers(&again).len() >= 30);
}

/// A server of HTTP that answers each order with its number.
const SERVER: &str = r#"
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
folder = sys.argv[2]
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(os.path.join(folder, "paid"), "a") as file: file.write(f"{event['order_id']}\n")
        body = json.dumps({"n": event["order_id"]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

fn serve(desk: &Path, more: &str) -> Report {
    fs::write(desk.join("server.py"), SERVER).unwrap();
    let command = "command = ['python3', 'server.py', '{port}', '{dir}']";
    rehearse_text(
        desk,
        &format!(
            "recording = 'orders'\nseed = 7\n[old]\n{command}\n[new]\n{command}\n[drive]\nsettle = '100ms'\nrepeat-old = 0\n\
             transport = 'http'\nurl = 'http://127.0.0.1:{{port}}/events'\n{more}"
        ),
    )
}

#[test]
fn a_build_that_is_posted_its_events_crashes_with_an_answer_and_is_posted_the_event_again() {
    let desk = desk(12);
    serve(desk.path(), &format!("[[fault]]\nkind = 'crash'\nnth = 5\n{UNPACED}"));
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!(
        (ending.ending, ending.sent, ending.redelivered),
        (Ending::Finished, Some(12), Some(1)),
        "{}",
        ending.reason
    );
    // The answer that was lost is no output; what was done for it is done.
    assert_eq!(numbers(&outcome), (0..12).collect::<Vec<_>>());
    let paid = fs::read_to_string(outcome.path().join("dir/paid")).unwrap();
    let paid: Vec<i64> = paid.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(paid, [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!((stop.stops, stop.resumed, stop.again, stop.committed), (1, 1, Some(1), Some(0)));
    assert_eq!(ending.instances[0].starts, 2);
}

#[test]
fn a_build_that_is_posted_its_events_is_restarted_and_frozen_and_loses_none() {
    let desk = desk(30);
    let faults = "[[fault]]\nkind = 'restart'\nat = ['6s']\nlength = '100ms'\n[[fault]]\nkind = 'freeze'\nat = ['22s']\nlength = '400ms'\n\
                  [pace]\nmode = 'accelerated'\nspeed = 20\n";
    serve(desk.path(), faults);
    let outcome = outcome(desk.path(), "new");
    let ending = outcome.ending();
    assert_eq!((ending.ending, ending.sent), (Ending::Finished, Some(30)), "{}", ending.reason);
    assert_eq!(numbers(&outcome), (0..30).collect::<Vec<_>>());
    let stops: BTreeMap<_, _> =
        ending.stops.iter().map(|(name, stop)| (name.as_str(), (stop.stops, stop.resumed))).collect();
    assert_eq!(stops, [("freeze-1", (1, 1)), ("restart-1", (1, 1))].into());
}

#[test]
fn what_cannot_happen_to_a_process_is_refused_by_name() {
    let desk = desk(3);
    let refused = |more: &str, key: &str, problem: &str| {
        let text = format!("recording = 'orders'\n[old]\ncommand = ['cat']\n[new]\ncommand = ['cat']\n[drive]\n{more}");
        fs::write(desk.path().join("scenario.toml"), &text).unwrap();
        let scenario = Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap();
        let error = check(scenario, None).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains(problem), "{more}: {said}");
        assert!(said.contains(key), "{more}: {said}");
    };
    refused("payload = 'value'\n[[fault]]\nkind = 'crash'\nnth = 1", "fault", "bare values commit nothing");
    refused("[[fault]]\nkind = 'crash'\nnth = 1\nwhere = { topics = ['orders'] }", "where", "happens to a process");
    refused("[[fault]]\nkind = 'restart'\nnth = 1\nrequests = ['Fetch']", "requests", "takes no `requests`");
    refused("[[fault]]\nkind = 'crash'\nnth = 1\ngrace = '1s'", "grace", "takes no `grace`");
    refused("[[fault]]\nkind = 'freeze'\nnth = 1\nlength = '0s'", "length", "of no length");
    refused("[[fault]]\nkind = 'crash'\nnth = 1\ninstance = 1", "instance", "has one process, which is 0");
    refused("[[fault]]\nkind = 'crash'\ntimes = 2\n[pace]\nmode = 'unpaced'", "times", "waits for none");
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the builds of the tests below are, which read Kafka: each takes events, writes them with the number of its process, and commits
/// after so many, or once there is none for a while. Told to end it commits what it has, unless it is to ignore that.
#[test]
fn a_build_of_these_tests() {
    let (Some(brokers), Some(does)) = (env("KAFKA_BOOTSTRAP_SERVERS"), env("REHEARSAL_FLAG_PROCESSES")) else { return };
    let told = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&told);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut term = signal(SignalKind::terminate()).unwrap();
            loop {
                term.recv().await;
                hears.store(true, Ordering::SeqCst);
            }
        });
    });
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let producer: BaseProducer = config.clone().set("linger.ms", "0").create().unwrap();
    config.set("group.id", env("REHEARSAL_GROUP").unwrap()).set("enable.auto.commit", "false");
    config.set("heartbeat.interval.ms", "50").set("session.timeout.ms", "6000").set("fetch.wait.max.ms", "50");
    config.set("auto.offset.reset", "earliest").set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "50");
    if does.contains("static") {
        config.set("group.instance.id", format!("member-{}", env("NUMBER").unwrap()));
    }
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["orders"]).unwrap();
    let every = if does.contains("each") { 1 } else { 7 };
    let (mut open, number) = (0, env("NUMBER").unwrap());
    let commit = |open: &mut i32| {
        producer.flush(WAIT).unwrap();
        if *open > 0 && consumer.commit_consumer_state(CommitMode::Sync).is_ok() {
            *open = 0;
        }
    };
    loop {
        if told.load(Ordering::SeqCst) && !does.contains("ignores") {
            commit(&mut open);
            drop(consumer);
            std::process::exit(0);
        }
        match consumer.poll(Duration::from_millis(10)) {
            None => commit(&mut open),
            Some(Err(_)) => {}
            Some(Ok(event)) => {
                let mut value =
                    format!("{{\"n\":{},\"partition\":{},\"number\":{number}}}", event.offset(), event.partition());
                if does.contains("flag") {
                    // As it stands in flagd's file when the event has come.
                    let flags: Json = serde_json::from_slice(&fs::read(env("FLAGS").unwrap()).unwrap()).unwrap();
                    let fast = flags["flags"]["fast"]["defaultVariant"] == "on";
                    value = value.replace('}', &format!(",\"fast\":{fast}}}"));
                }
                let key = event.offset().to_string();
                producer.send(BaseRecord::to("seen").key(&key).payload(&value)).map_err(|(error, _)| error).unwrap();
                open += 1;
                if open >= every {
                    commit(&mut open);
                }
            }
        }
    }
}

const WAIT: Duration = Duration::from_secs(30);

/// A recording of so many orders over so many partitions, 10 ms apart.
fn orders(count: i64, partitions: i32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let topic = TopicSource { name: "orders".into(), partitions, ..TopicSource::default() };
    let source = Source { topics: vec![topic], ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("orders"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    for at in 0..count {
        batch.push_event(&Event {
            topic: "orders".into(),
            partition: (at % i64::from(partitions)) as i32,
            offset: at / i64::from(partitions),
            timestamp_ms: Some(1_700_000_000_000 + at * 10),
            timestamp_type: TimestampType::Create,
            key: Some(format!("k{at}").into_bytes()),
            value: Some(format!("{at}").into_bytes()),
            ..Event::default()
        });
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    folder
}

/// Rehearses builds that read Kafka; `of_build` stands in both builds, `more` begins within `[drive]`.
fn stage(desk: &Path, does: &str, of_build: &str, more: &str) -> Report {
    let build = format!(
        "command = ['{{rehearsal}}', '--exact', 'processes::a_build_of_these_tests', '--nocapture']\nflags = {{ processes = '{does}' }}\n\
         env = {{ NUMBER = '{{instance}}' }}\n{of_build}"
    );
    rehearse_text(
        desk,
        &format!(
            "recording = 'orders'\nseed = 7\n[old]\n{build}\n[new]\n{build}\n[drive]\ntransport = 'kafka'\noutputs = ['seen']\n\
             settle = '300ms'\nrepeat-old = 0\n{more}"
        ),
    )
}

/// How often each order was seen, by its number.
fn times(outcome: &Outcome) -> BTreeMap<(i64, i64), usize> {
    let mut times = BTreeMap::new();
    for value in values(outcome) {
        *times.entry((value["partition"].as_i64().unwrap(), value["n"].as_i64().unwrap())).or_default() += 1;
    }
    times
}

#[test]
fn a_consumer_that_crashes_at_a_commit_reads_again_from_where_its_group_stands() {
    let desk = orders(40, 1);
    stage(desk.path(), "static each", "", &format!("[[fault]]\nkind = 'crash'\nnth = 10\n{UNPACED}"));
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!(ending.ending, Ending::Finished, "{}", ending.reason);
    // Nine commits stand; the tenth was never done, and what it was for was written already.
    let times = times(&outcome);
    assert_eq!(times.len(), 40);
    assert_eq!(times[&(0, 9)], 2, "{times:?}");
    assert!(times.iter().all(|((_, n), times)| *times == 1 || *n >= 9), "{times:?}");
    assert_eq!((stop.stops, stop.resumed, stop.committed), (1, 1, Some(0)));
    assert!(stop.again >= Some(1), "{stop:?}");
    assert_eq!((ending.faults["crash-1"].instances, ending.faults["crash-1"].provoked), (1, 1));
    assert_eq!((ending.instances[0].starts, ending.instances[0].by_itself), (2, false));
    assert_eq!(ending.committed[0].position, 40);
}

#[test]
fn a_consumer_that_is_restarted_commits_on_its_way_out_and_reads_nothing_again() {
    let desk = orders(200, 1);
    let fault = "[[fault]]\nkind = 'restart'\nat = ['900ms']\n[pace]\nmode = 'recorded'\n";
    let report = stage(desk.path(), "static", "", fault);
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!(ending.ending, Ending::Finished, "{}", ending.reason);
    assert_eq!((stop.stops, stop.resumed, stop.killed), (1, 1, 0), "{stop:?}");
    let times = times(&outcome);
    assert!(times.len() == 200 && times.values().all(|times| *times == 1), "{stop:?} {times:?}");
    assert_eq!(report.faults[0].fired, 1);
    assert_eq!((ending.instances[0].starts, ending.instances[0].exit_code), (2, Some(0)), "{:?}", ending.instances);
}

#[test]
fn several_processes_share_a_group_and_one_that_crashes_is_replaced() {
    let desk = orders(300, 3);
    let fault = "[[fault]]\nkind = 'crash'\nat = ['1s']\ninstance = 1\n[pace]\nmode = 'recorded'\n";
    stage(desk.path(), "static each", "instances = 3", fault);
    let outcome = outcome(desk.path(), "new");
    let ending = outcome.ending();
    assert_eq!(ending.ending, Ending::Finished, "{}", ending.reason);
    let all = values(&outcome);
    let mut by: BTreeMap<i64, usize> = BTreeMap::new();
    for value in &all {
        *by.entry(value["number"].as_i64().unwrap()).or_default() += 1;
    }
    assert_eq!(by.len(), 3, "each took its share: {by:?}");
    assert_eq!(times(&outcome).len(), 300, "none is lost");
    let starts: Vec<u64> = ending.instances.iter().map(|instance| instance.starts).collect();
    assert_eq!(starts, [1, 2, 1]);
    assert!(
        ending.instances.iter().all(|instance| instance.exit_code == Some(0) && !instance.by_itself),
        "{:?}",
        ending.instances
    );
    for log in ["stderr.log", "stderr-1.log", "stderr-2.log", "stdout-2.log"] {
        assert!(outcome.path().join(log).exists(), "{log}");
    }
    // Figures are those of all three.
    let gauges = outcome.gauges().unwrap();
    let most =
        |name: &str| gauges.iter().filter(|gauge| gauge.name == name).map(|gauge| gauge.value).fold(0.0, f64::max);
    assert!(most("processes") >= 3.0, "{}", most("processes"));
}

#[test]
fn a_consumer_that_is_frozen_beyond_its_session_is_put_out_of_its_group_and_comes_back() {
    let desk = orders(300, 1);
    let fault = "[[fault]]\nkind = 'freeze'\nat = ['500ms']\nlength = '8s'\n[pace]\nmode = 'recorded'\n";
    stage(desk.path(), "each", "", fault);
    let outcome = outcome(desk.path(), "new");
    let (ending, stop) = (outcome.ending(), stopped(&outcome));
    assert_eq!(ending.ending, Ending::Finished, "{}", ending.reason);
    assert_eq!((stop.stops, stop.resumed), (1, 1));
    assert_eq!(times(&outcome).len(), 300);
    assert_eq!(ending.committed[0].position, 300);
}

#[test]
fn one_of_several_processes_that_ends_by_itself_ends_the_drive() {
    let desk = orders(60, 2);
    let build = "command = ['sh', '-c', 'if [ {instance} = 1 ]; then exit 5; fi; exec \"$@\"', 'x', '{rehearsal}', '--exact', \
                 'processes::a_build_of_these_tests', '--nocapture']\nflags = { processes = 'each' }\nenv = { NUMBER = '{instance}' }\n\
                 instances = 2\n";
    rehearse_text(
        desk.path(),
        &format!(
            "recording = 'orders'\n[old]\n{build}[new]\n{build}[drive]\ntransport = 'kafka'\noutputs = ['seen']\nrepeat-old = 0\n{UNPACED}"
        ),
    );
    let outcome = outcome(desk.path(), "new");
    let ending = outcome.ending();
    assert_eq!((ending.ending, ending.exit_code), (Ending::Died, Some(5)), "{}", ending.reason);
    let ends: Vec<_> = ending.instances.iter().map(|instance| (instance.instance, instance.by_itself)).collect();
    assert_eq!(ends, [(0, false), (1, true)]);
    assert!(ending.reason.contains("process 1"), "{}", ending.reason);
}

/// Prometheus text that a build offers over HTTP, once it has taken so many events.
const METRICS: &str = r#"
import json, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
count = [0]
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        text = f'# TYPE taken_total counter\ntaken_total{{app="pay"}} {count[0] * int(sys.argv[2])}\nh_bucket{{le="1"}} 4\nbroken NaN\n'
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(text.encode())
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    count[0] += 1
    sys.stdout.write(line); sys.stdout.flush()
import time
time.sleep(1.5)
"#;

#[test]
fn figures_that_builds_offer_stand_in_outcome_and_report_old_beside_new() {
    let desk = desk(10);
    fs::write(desk.path().join("metrics.py"), METRICS).unwrap();
    let build = |factor: u32, path: &str| {
        format!(
            "command = ['python3', 'metrics.py', '{{port}}', '{factor}']\nmetrics = 'http://127.0.0.1:{{port}}/{path}'\n"
        )
    };
    let scenario = |old: &str, new: &str| {
        let pace = "mode = 'accelerated'\nspeed = 10\n";
        format!(
            "recording = 'orders'\n[old]\n{old}[new]\n{new}[drive]\npayload = 'value'\nrepeat-old = 0\n[pace]\n{pace}"
        )
    };
    let report = rehearse_text(desk.path(), &scenario(&build(1, "metrics"), &build(3, "metrics")));
    assert_eq!(report.metrics.len(), 1, "{:?}", report.metrics);
    let metric = &report.metrics[0];
    assert_eq!(
        (metric.name.as_str(), metric.drives["old"], metric.drives["new"]),
        ("taken_total{app=\"pay\"}", 10.0, 30.0)
    );
    for format in [Format::Html, Format::Json, Format::Markdown, Format::Terminal] {
        assert!(render(&report, format).contains("taken_total"), "{format}");
    }
    let gauges = outcome(desk.path(), "new").gauges().unwrap();
    assert!(gauges.iter().any(|gauge| gauge.name == "metrics/taken_total{app=\"pay\"}"));
    // One that offers nothing is told of, and changes no verdict.
    let report = rehearse_text(desk.path(), &scenario(&build(1, "metrics"), &build(1, "elsewhere")));
    let warning = report.warnings.iter().find(|warning| warning.starts_with("new: its figures (`metrics`)"));
    assert!(
        warning.is_some_and(|warning| warning.contains("never") && warning.contains("404")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn a_command_ends_a_process_instead_of_a_signal() {
    let desk = desk(8);
    fs::write(desk.path().join("build.py"), LINES).unwrap();
    // Whoever is told by signal says so; whoever is ended by the command leaves a word.
    let kill = "kill = ['sh', '-c', 'echo killed {drive} {instance} >> {dir}/killed; kill -9 $(cat {dir}/pid)']";
    let build = format!(
        "command = ['sh', '-c', 'echo $$ > {{dir}}/pid; exec python3 build.py \"commits graceful\" {{dir}}']\n{kill}\n"
    );
    let text = format!(
        "recording = 'orders'\n[old]\n{build}[new]\n{build}[drive]\nsettle = '200ms'\nrepeat-old = 0\n[[fault]]\nkind = 'crash'\nnth = 4\n{UNPACED}"
    );
    rehearse_text(desk.path(), &text);
    let outcome = outcome(desk.path(), "new");
    assert_eq!(
        (outcome.ending().ending, stopped(&outcome).stops),
        (Ending::Finished, 1),
        "{}",
        outcome.ending().reason
    );
    let killed = fs::read_to_string(outcome.path().join("dir/killed")).unwrap();
    assert_eq!(killed.lines().next(), Some("killed new 0"), "{killed}");
    assert!(outcome.path().join("kill.log").exists());
}

#[test]
fn what_processes_did_is_told_in_every_format() {
    let desk = desk(8);
    let fault = "[[fault]]\nkind = 'crash'\nname = 'power cut'\nnth = 3\n";
    let report = rehearse(desk.path(), "commits", "commits", &format!("{fault}{UNPACED}"));
    for format in [Format::Html, Format::Markdown, Format::Terminal] {
        let text = render(&report, format);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in
            ["power cut", "with commit 3", "in flight", "drained", "committed", "delivered again", "started 2 times"]
        {
            assert!(text.contains(said), "{format}: {said}");
        }
    }
    assert_eq!(report.faults[0].requests.as_ref().unwrap().drives["new"].stops.unwrap().stops, 1);
}

/// Starts what is hard to end (a child, one of a double fork in a session of its own without pipes, one with pipes and no environment),
/// says which processes they are, takes no request to end, and then does as its argument says.
const STUBBORN: &str = r#"
import json, os, signal, sys, time
does, folder = sys.argv[1], sys.argv[2]
pids = os.path.join(folder, "pids")
def note():
    with open(pids, "a") as file: file.write(f"{os.getpid()}\n")
def runs(pid):
    try: return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError: return False
if os.path.exists(pids):
    left = [pid for pid in open(pids).read().split() if runs(pid)]
    with open(os.path.join(folder, "left"), "a") as file: file.write(f"{len(left)}\n")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def twice(then):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        note()
        then()
    os.wait()
def closed():
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3): os.dup2(null, number)
    os.execvp("sleep", ["sleep", "1000"])
def bare(): os.execve("/bin/sleep", ["sleep", "1000"], {})
if os.fork() == 0:
    note()
    while True: time.sleep(1)
twice(closed)
twice(bare)
note()
for line in sys.stdin:
    event = json.loads(line)
    sys.stdout.write(json.dumps({"key": event["key"], "value": event["value"]}) + "\n")
    sys.stdout.write(json.dumps({"commit": {"topic": event["topic"], "partition": event["partition"], "offset": event["offset"] + 1}}) + "\n")
    sys.stdout.flush()
if "closes" in does:
    closed()
if "stays" in does:
    while True: time.sleep(1)
"#;

/// Processes that a drive's build named, and that are still there.
fn still_there(outcome: &Outcome) -> Vec<String> {
    let named = fs::read_to_string(outcome.path().join("dir/pids")).unwrap();
    assert!(named.lines().count() >= 4, "{named}");
    let runs = |pid: &&str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    named.lines().filter(runs).map(str::to_owned).collect()
}

/// Rehearses a build that passes everything on against one that is hard to end; `more` begins within `[drive]`.
fn against_stubborn(desk: &Path, does: &str, more: &str) -> Report {
    fs::write(desk.join("stubborn.py"), STUBBORN).unwrap();
    rehearse_text(
        desk,
        &format!(
            "recording = 'orders'\n[old]\ncommand = ['cat']\n[new]\ncommand = ['python3', 'stubborn.py', '{does}', '{{dir}}']\n\
             [drive]\nrepeat-old = 0\nsettle = '200ms'\n{more}"
        ),
    )
}

#[cfg(target_os = "linux")]
#[test]
fn whatever_a_build_starts_and_however_it_resists_nothing_of_it_is_left_and_the_other_is_unharmed() {
    // One whose output is closed has ended for who reads it, before or after it is seen that it takes no input.
    let closed = [Ending::TimedOut, Ending::StoppedReading];
    for (does, endings) in [("leaves", &[Ending::Finished][..]), ("stays", &[Ending::TimedOut]), ("closes", &closed)] {
        let desk = desk(5);
        let report = against_stubborn(desk.path(), does, &format!("drain-timeout = '2s'\n{UNPACED}"));
        let (old, new) = (outcome(desk.path(), "old"), outcome(desk.path(), "new"));
        assert!(endings.contains(&new.ending().ending), "{does}: {}", new.ending().reason);
        assert_eq!(still_there(&new), Vec::<String>::new(), "{does}");
        let drive = report.drives.iter().find(|drive| drive.drive == "old").unwrap();
        assert_eq!((drive.ending, drive.outputs, old.ending().sent), (Ending::Finished, 5, Some(5)), "{does}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_takes_everything_along_that_the_process_had_started() {
    let desk = desk(12);
    let fault = format!("[[fault]]\nkind = 'crash'\nevery = 3\nmost = 2\n{UNPACED}");
    against_stubborn(desk.path(), "leaves", &fault);
    let outcome = outcome(desk.path(), "new");
    assert_eq!(
        (outcome.ending().ending, stopped(&outcome).stops),
        (Ending::Finished, 2),
        "{}",
        outcome.ending().reason
    );
    // What each process that was started again saw of those ahead of it.
    let left = fs::read_to_string(outcome.path().join("dir/left")).unwrap();
    assert_eq!(left.lines().collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(still_there(&outcome), Vec::<String>::new());
}

/// A server on a port that is written into it, with a process in a session of its own that notes how long it was not let run. Says at each
/// start in which network it lives.
const FIXED: &str = r#"
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
folder = sys.argv[1]
def add(name, text):
    with open(os.path.join(folder, name), "a") as file: file.write(f"{text}\n")
add("networks", os.readlink("/proc/self/ns/net"))
if os.fork() == 0:
    os.setsid()
    gap, last = 0.0, time.monotonic()
    while True:
        time.sleep(0.01)
        now = time.monotonic()
        if now - last > gap:
            gap = now - last
            add("gaps", gap)
        last = now
taken = [0]
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(f"taken {taken[0]}\n".encode())
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        taken[0] += 1
        add("paid", event["order_id"])
        self.answer(json.dumps({"n": event["order_id"]}).encode())
class Server(HTTPServer):
    allow_reuse_address = True
Server(("127.0.0.1", 18080), Handler).serve_forever()
"#;

#[cfg(target_os = "linux")]
#[test]
fn in_a_world_of_its_own_a_process_comes_back_to_the_same_network_port_and_folder() {
    use std::io::Write as _;
    let desk = desk(40);
    fs::write(desk.path().join("fixed.py"), FIXED).unwrap();
    // Both drives at once, on the same port.
    let build = "command = ['python3', 'fixed.py', '{dir}']\nmetrics = 'http://127.0.0.1:18080/metrics'\n";
    let text = format!(
        "recording = 'orders'\n[old]\n{build}[new]\n{build}[drive]\ntransport = 'http'\nurl = 'http://127.0.0.1:18080/events'\n\
         repeat-old = 0\nsettle = '100ms'\n[pace]\nmode = 'accelerated'\nspeed = 20\n[relations]\nredelivery = false\n\
         [[fault]]\nkind = 'crash'\nnth = 5\n[[fault]]\nkind = 'freeze'\nat = ['18s']\nlength = '700ms'\n\
         [[fault]]\nkind = 'restart'\nat = ['34s']\ngrace = '200ms'\n"
    );
    fs::write(desk.path().join("scenario.toml"), text).unwrap();
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .current_dir(desk.path())
        .args(["run", "scenario.toml", "--out", "out", "--exit-zero"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    let open = |drive: &str| {
        Outcome::open(desk.path().join("out/outcomes").join(drive)).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let isolation = open("new").ending().isolation.clone().unwrap();
    if !isolation.enforces(Layer::Network) || !isolation.enforces(Layer::Processes) {
        let _ = writeln!(std::io::stderr(), "LEFT OUT: processes that come back to a network of a drive's own");
        return;
    }
    let mut networks = Vec::new();
    for drive in ["old", "new"] {
        let outcome = open(drive);
        let ending = outcome.ending();
        assert_eq!((ending.ending, ending.sent), (Ending::Finished, Some(40)), "{}: {said}", ending.reason);
        assert_eq!(numbers(&outcome), (0..40).collect::<Vec<_>>());
        let read = |name: &str| fs::read_to_string(outcome.path().join("dir").join(name)).unwrap();
        let mut seen: Vec<String> = read("networks").lines().map(str::to_owned).collect();
        assert_eq!((seen.len(), ending.instances[0].starts), (3, 3), "started, crashed, restarted");
        seen.dedup();
        assert_eq!(seen.len(), 1, "one network throughout");
        networks.extend(seen);
        let paid: Vec<i64> = read("paid").lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(
            paid.iter().filter(|paid| **paid == 4).count(),
            2,
            "what the crash took the answer of comes again: {paid:?}"
        );
        let gap = read("gaps").lines().map(|line| line.parse::<f64>().unwrap()).fold(0.0, f64::max);
        assert!(gap >= 0.6, "what left its group and session ticked on: {gap} {:?}", ending.stops);
        let gauges = outcome.gauges().unwrap();
        assert!(gauges.iter().any(|gauge| gauge.name == "metrics/taken"), "{:?}", ending.scrapes);
    }
    assert_ne!(networks[0], networks[1], "each drive has its own");
}

/// Ends the engine with the test, however that ends.
struct Engine(std::process::Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_a_container_engine_starts_elsewhere_is_ended_by_its_own_command() {
    use std::io::BufRead as _;
    let desk = desk(8);
    fs::write(desk.path().join("build.py"), LINES).unwrap();
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/engine.py");
    let (engine, socket) = (engine.display().to_string(), desk.path().join("engine.sock").display().to_string());
    let mut daemon = std::process::Command::new("python3");
    daemon.args([&engine, &socket, "daemon"]).stdout(std::process::Stdio::piped());
    let mut daemon = Engine(daemon.spawn().unwrap());
    let mut ready = String::new();
    std::io::BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    let of_engine = |does: &str| format!("'python3', '{engine}', '{socket}', '{does}', 'pay-{{drive}}-{{instance}}'");
    let build = format!(
        "command = [{}, 'python3', 'build.py', 'commits', '{{dir}}']\nkill = [{}]\n",
        of_engine("run"),
        of_engine("kill")
    );
    let text = format!(
        "recording = 'orders'\n[old]\n{build}[new]\n{build}[drive]\nsettle = '200ms'\nrepeat-old = 0\nisolation = 'off'\n\
         [[fault]]\nkind = 'crash'\nnth = 4\n{UNPACED}"
    );
    rehearse_text(desk.path(), &text);
    for drive in ["old", "new"] {
        let outcome = outcome(desk.path(), drive);
        let ending = outcome.ending();
        assert_eq!((ending.ending, stopped(&outcome).stops), (Ending::Finished, 1), "{}", ending.reason);
        assert!(numbers(&outcome).iter().collect::<std::collections::BTreeSet<_>>().len() == 8, "{drive} lost some");
        assert!(outcome.path().join("kill.log").exists());
    }
    // Two containers a drive: the one that crashed, and the one that came back. Neither is left.
    let log = fs::read_to_string(desk.path().join("engine.sock.log")).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with("pay-new-0 ")).count(), 2, "{log}");
    for pid in log.lines().filter_map(|line| line.split(' ').nth(1)) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'));
        assert!(gone, "container {pid} is left: {log}");
    }
}

#[test]
fn a_flag_of_a_consumer_changes_ahead_of_the_events_that_are_due_by_then() {
    let desk = orders(200, 1);
    let build = "command = ['{rehearsal}', '--exact', 'processes::a_build_of_these_tests', '--nocapture']\n\
                 flags = { processes = 'each flag', fast = true }\nenv = { NUMBER = '0', FLAGS = '{flags}' }\n";
    let text = format!(
        "recording = 'orders'\n[old]\n{build}[new]\n{build}[drive]\ntransport = 'kafka'\noutputs = ['seen']\nsettle = '300ms'\nrepeat-old = 0\n\
         [[flag-change]]\nname = 'kill switch'\nat = '1s'\nflag = 'fast'\nto = false\n"
    );
    rehearse_text(desk.path(), &text);
    for drive in ["old", "new"] {
        let outcome = outcome(desk.path(), drive);
        assert_eq!(outcome.ending().ending, Ending::Finished, "{}", outcome.ending().reason);
        let seen = values(&outcome);
        assert_eq!(seen.len(), 200);
        let fast = |value: &Json| value["fast"].as_bool().unwrap_or_else(|| panic!("{value}"));
        // A consumer may fall behind and see the change early, never late.
        assert!(fast(&seen[0]), "{drive}: it was thrown from the start");
        let late: Vec<&Json> = seen.iter().filter(|value| value["n"].as_i64() >= Some(100) && fast(value)).collect();
        assert!(late.is_empty(), "{drive}: {late:?}");
        assert_eq!(outcome.ending().flags.as_ref().unwrap().changes.len(), 1);
    }
}

/// Faults at processes as a scenario has them, on a plan of half a second.
fn of_processes() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    prop_oneof![
        (2..40_u32, 0..200_u32)
            .prop_map(|(nth, away)| format!("[[fault]]\nkind = 'crash'\nnth = {nth}\nlength = '{away}ms'\n")),
        (50..450_u32).prop_map(|at| format!("[[fault]]\nkind = 'restart'\nat = ['{at}ms']\n")),
        (50..400_u32, 50..500_u32).prop_map(|(at, length)| {
            format!("[[fault]]\nkind = 'freeze'\nat = ['{at}ms']\nlength = '{length}ms'\n")
        }),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 6, max_shrink_iters: 0, ..Default::default() })]

    #[test]
    fn whatever_comes_together_with_faults_at_processes_nothing_is_lost_and_positions_are_right(
        process in of_processes(),
        duplicate in 0..3_u32,
        reorder in 0..3_u32,
        rewinds in proptest::bool::ANY,
        seed in 0..1_000_u32,
    ) {
        let desk = orders(50, 1);
        let duplicates = format!("[[fault]]\nkind = 'duplicate'\nprobability = 0.{duplicate}\nafter = '10ms..60ms'\n");
        let reorders = format!("[[fault]]\nkind = 'reorder'\nshare = 0.{reorder}\nextent = 6\n");
        let sets_back = "[[fault]]\nkind = 'rewind'\nn = 9\nevery = 23\n".to_owned();
        let others = [(duplicate > 0, duplicates), (reorder > 0, reorders), (rewinds, sets_back)];
        let others = others.into_iter().filter_map(|(wanted, fault)| wanted.then_some(fault));
        let faults: String = std::iter::once(process).chain(others).collect();
        let build = "command = ['{rehearsal}', '--exact', 'processes::a_build_of_these_tests', '--nocapture']\n\
                     flags = { processes = 'static each' }\nenv = { NUMBER = '0' }\n";
        let text = format!(
            "recording = 'orders'\nseed = {seed}\n[old]\n{build}[new]\n{build}[drive]\ntransport = 'kafka'\noutputs = ['seen']\n\
             settle = '300ms'\nrepeat-old = 0\n[relations]\nredelivery = false\n{faults}"
        );
        rehearse_text(desk.path(), &text);
        for drive in ["old", "new"] {
            let outcome = outcome(desk.path(), drive);
            let ending = outcome.ending();
            proptest::prop_assert_eq!(ending.ending, Ending::Finished, "{}: {}\n{}", drive, ending.reason, text);
            let planned: Vec<_> = outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect();
            let planned: BTreeMap<i64, i64> =
                planned.iter().map(|receipt| (receipt.delivery.position, receipt.delivery.offset)).collect();
            let seen = times(&outcome);
            // Each position of the log was seen, and none that is not of it.
            let positions: Vec<i64> = seen.keys().map(|(_, n)| *n).collect();
            proptest::prop_assert_eq!(&positions, &planned.keys().copied().collect::<Vec<_>>(), "{}\n{}", drive, text);
            // Every event of the recording stands at one of them, and what was committed lies behind the last.
            let offsets: std::collections::BTreeSet<i64> = planned.values().copied().collect();
            proptest::prop_assert_eq!(offsets.len(), 50, "{}\n{}", drive, text);
            proptest::prop_assert_eq!(ending.committed[0].position, planned.keys().next_back().unwrap() + 1, "{}\n{}", drive, text);
            // Each output says which event it comes from, as the plan has it.
            for output in outputs(&outcome) {
                let value: Json = serde_json::from_slice(output.value.as_ref().unwrap()).unwrap();
                if let Some(cause) = &output.cause {
                    proptest::prop_assert_eq!(planned.get(&value["n"].as_i64().unwrap()), Some(&cause.offset), "{}\n{}", drive, text);
                }
            }
        }
    }
}
