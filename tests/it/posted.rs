//! Builds that are posted their events.

use std::fs;
use std::path::Path;

use rehearsal::clock::Stop;
use rehearsal::compare::Kind;
use rehearsal::outcome::{CauseBy, Channel, Ending, Outcome, Output};
use rehearsal::recording::{Event, EventBatchBuilder, Header, RecordingWriter, Source, TimestampType};
use rehearsal::report::{DriveFacts, Report};
use rehearsal::scenario::{Destination, Scenario, check, run};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::run::{Silent, desk};

/// A server of HTTP that keeps connections open and answers what `answer(self, event)` returns: status and body.
const SERVER: &str = r#"
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
lock, seen, busy, most = threading.Lock(), [], set(), [0]
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def send(self, status, body=b"", headers={}):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        seen_by_ready.append(1)
        self.send(200 if len(seen_by_ready) > 3 else 503)
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with lock: seen.append(self.headers["ce-id"])
        answer(self, json.loads(body) if body else None)
seen_by_ready = []
class Server(ThreadingHTTPServer):
    daemon_threads = True
def serve(): Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

const ECHO: &str = "def answer(self, event): self.send(200, json.dumps(event).encode())\nserve()";

/// Runs a scenario of two programs in Python over some orders; `more` begins within `[drive]`.
fn rehearse(desk: &Path, old: &str, new: &str, more: &str) -> Report {
    for (name, program) in [("old.py", old), ("new.py", new)] {
        fs::write(desk.join(name), format!("{SERVER}{program}")).unwrap();
    }
    let text = format!(
        "recording = 'orders'\n[old]\ncommand = ['python3', 'old.py', '{{port}}']\n[new]\ncommand = ['python3', 'new.py', '{{port}}']\n\
         [drive]\ntransport = 'http'\nurl = 'http://127.0.0.1:{{port}}/events'\nsettle = '50ms'\n{more}"
    );
    fs::write(desk.join("scenario.toml"), text).unwrap();
    let scenario = Scenario::read(desk.join("scenario.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    run(&checked, &Destination::Numbered { under: desk.join("runs") }, &Silent, &Stop::new()).unwrap().report
}

const UNPACED: &str = "[pace]\nmode = 'unpaced'\n";

fn outcome(desk: &Path, drive: &str) -> Outcome {
    let scenario = fs::read_dir(desk.join("runs")).unwrap().next().unwrap().unwrap().path();
    Outcome::open(scenario.join("0001/outcomes").join(drive)).unwrap()
}

fn outputs(outcome: &Outcome) -> Vec<Output> {
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()).collect()
}

fn value(output: &Output) -> Json {
    serde_json::from_slice(output.value.as_deref().unwrap()).unwrap()
}

fn driven<'a>(report: &'a Report, name: &str) -> &'a DriveFacts {
    report.drives.iter().find(|drive| drive.drive == name).unwrap()
}

#[test]
fn what_a_build_answers_is_an_output_of_the_event_it_was_posted() {
    let desk = desk(30);
    let report = rehearse(desk.path(), ECHO, ECHO, UNPACED);
    assert!(report.differences.is_empty(), "{:?} {:?}", report.reasons, report.drives);
    let outcome = outcome(desk.path(), "new");
    let kept = outputs(&outcome);
    assert_eq!((kept.len(), report.outputs["new"]), (30, 30));
    for (number, output) in kept.iter().enumerate() {
        let cause = output.cause.as_ref().unwrap();
        assert_eq!(
            (cause.offset, cause.by, value(output)["order_id"].as_i64()),
            (number as i64, CauseBy::Build, Some(number as i64))
        );
        assert_eq!(
            (output.channel, output.key.as_deref()),
            (Channel::Output, Some(format!("order-{number}").as_bytes()))
        );
    }
    let receipts: Vec<_> = outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect();
    assert!(receipts.len() == 30 && receipts.iter().all(|receipt| receipt.sent_us.is_some()));
    let ending = outcome.ending();
    let responses = ending.responses.as_ref().unwrap();
    assert_eq!((ending.ending, ending.sent, &responses.statuses), (Ending::Finished, Some(30), &[(200, 30)].into()));
    assert!(responses.longest_us > 0 && responses.total_us >= responses.longest_us);
    assert!(ending.reason.starts_with("answered everything after 30 deliveries"), "{}", ending.reason);
}

#[test]
fn an_event_comes_as_a_cloud_event_in_binary_mode() {
    let desk = desk(1);
    let tells = "def answer(self, event): self.send(200, json.dumps({k.lower(): v for k, v in self.headers.items()}).encode())\nserve()";
    rehearse(desk.path(), tells, tells, &format!("show-attempt = true\n{UNPACED}"));
    let mut headers = value(&outputs(&outcome(desk.path(), "new"))[0]);
    let host = headers.as_object_mut().unwrap().remove("host").unwrap();
    assert!(host.as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(
        headers,
        json!({
            "ce-specversion": "1.0", "ce-id": "orders/0/0", "ce-source": "/topics/orders", "ce-type": "rehearsal.event",
            "ce-time": "2023-11-14T22:13:20.000Z", "ce-partitionkey": "order-0", "ce-attempt": "0",
            "content-type": "application/json", "content-length": "25"
        })
    );
}

#[test]
fn an_answer_that_is_a_cloud_event_has_its_own_key_and_an_empty_one_is_none() {
    let desk = desk(4);
    let some = "def answer(self, event):\n  n = event['order_id']\n  self.send([200, 202, 204, 200][n], [b'1', b'2', b'', b''][n] , {'ce-partitionkey': 'k', 'ce-type': 't', 'ce-id': str(time.time())})\nserve()";
    let report = rehearse(desk.path(), some, some, UNPACED);
    let outcome = outcome(desk.path(), "new");
    let kept = outputs(&outcome);
    assert_eq!((kept.len(), kept[0].key.as_deref()), (1, Some(&b"k"[..])), "{:?}", report.drives);
    assert_eq!(kept[0].headers, [Header { name: "ce-type".into(), value: Some(b"t".to_vec()) }]);
    assert_eq!(outcome.ending().responses.as_ref().unwrap().statuses, [(200, 2), (202, 1), (204, 1)].into());
    assert!(report.differences.is_empty(), "{:?}", report.differences);
}

#[test]
fn an_event_that_is_refused_is_a_dead_letter() {
    let desk = desk(30);
    let refuses = "def answer(self, event):\n  bad = event['order_id'] in (3, 4, 5, 6, 7, 8)\n  self.send(422 if bad else 200, json.dumps({'error': 'odd'} if bad else event).encode())\nserve()";
    let report = rehearse(desk.path(), ECHO, refuses, UNPACED);
    let outcome = outcome(desk.path(), "new");
    assert_eq!(outcome.ending().ending, Ending::Finished, "{:?}", outcome.ending());
    let letters: Vec<_> =
        outputs(&outcome).into_iter().filter(|output| output.channel == Channel::DeadLetter).collect();
    assert_eq!(letters.len(), 6);
    assert_eq!(value(&letters[0]), json!({"status": 422, "body": {"error": "odd"}}));
    assert_eq!(letters[0].cause.as_ref().unwrap().offset, 3);
    assert!(report.differences.contains_key(&Kind::DeadLetter), "{:?}", report.differences);
}

#[test]
fn a_build_that_dies_hangs_or_hangs_up_is_told_apart() {
    let desk = desk(10);
    let at = |what: &str| {
        format!(
            "def answer(self, event):\n  if event['order_id'] == 4: {what}\n  self.send(200, json.dumps(event).encode())\nserve()"
        )
    };
    for (what, ending, redelivered, reason) in [
        // Nobody was there to be handed it again.
        ("os._exit(7)", Ending::Died, 0, "exit code 7 after 5 of 10 deliveries, before it was told to stop"),
        (
            "time.sleep(60)",
            Ending::StoppedReading,
            0,
            "did not answer for 300ms (`drain-timeout`) after 5 of 10 deliveries",
        ),
        ("self.connection.shutdown(2)", Ending::StoppedReading, 1, "took no more requests after 5 of 10 deliveries: "),
    ] {
        let folder = desk.path();
        let _ = fs::remove_dir_all(folder.join("runs"));
        let report = rehearse(folder, ECHO, &at(what), &format!("drain-timeout = '300ms'\nrepeat-old = 0\n{UNPACED}"));
        let new = driven(&report, "new");
        assert_eq!((new.ending, new.sent), (ending, 5), "{what}: {}", new.reason);
        assert!(new.reason.starts_with(reason), "{what}: {}", new.reason);
        assert_eq!(driven(&report, "old").ending, Ending::Finished);
        assert_eq!(outcome(folder, "new").ending().redelivered, Some(redelivered), "{what}");
        let receipts: Vec<_> = outcome(folder, "new").deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect();
        let sent: Vec<_> = receipts.iter().map(|receipt| receipt.sent_us.is_some()).collect();
        assert_eq!(sent, [vec![true; 5], vec![false; 5]].concat(), "{what}");
        assert_eq!(outputs(&outcome(folder, "new")).len(), 4, "{what}");
    }
}

#[test]
fn what_was_sent_on_a_connection_that_the_build_closes_counts_as_handed_over_twice() {
    let desk = desk(10);
    let closing = "gone = []\ndef answer(self, event):\n  if event['order_id'] == 4 and not gone:\n    gone.append(1)\n    \
                   self.connection.shutdown(2)\n    return\n  self.send(200, json.dumps(event).encode())\nserve()";
    let report = rehearse(desk.path(), ECHO, closing, &format!("repeat-old = 0\n{UNPACED}"));
    assert_eq!(driven(&report, "new").ending, Ending::Finished);
    let redelivered = |drive: &str| outcome(desk.path(), drive).ending().redelivered;
    assert_eq!((redelivered("old"), redelivered("new")), (Some(0), Some(1)));
    assert_eq!(outputs(&outcome(desk.path(), "new")).len(), 10);
}

/// The system takes connections for as long as anybody holds the address open, a process that is ending or one that it left.
#[test]
fn what_was_sent_anew_to_a_build_that_had_died_counts_as_handed_over_once() {
    let desk = desk(10);
    let dying = "import socketserver\nServer.process_request = socketserver.BaseServer.process_request\n\
                 def answer(self, event):\n  if event['order_id'] == 4:\n    if os.fork() == 0:\n      \
                 self.connection.shutdown(2)\n      time.sleep(60)\n    time.sleep(0.1)\n    os._exit(7)\n  \
                 self.send(200, json.dumps(event).encode())\nserve()";
    let report = rehearse(desk.path(), ECHO, dying, &format!("repeat-old = 0\n{UNPACED}"));
    let new = driven(&report, "new");
    assert_eq!((new.ending, new.sent), (Ending::Died, 5), "{}", new.reason);
    assert_eq!(outcome(desk.path(), "new").ending().redelivered, Some(0));
}

#[test]
fn a_build_is_ready_when_its_address_says_so_and_not_before() {
    let desk = desk(2);
    let counts = "def answer(self, event): self.send(200, json.dumps(len(seen_by_ready)).encode())\nserve()";
    let ready = "ready = { url = 'http://127.0.0.1:{port}/health' }";
    rehearse(desk.path(), counts, counts, &format!("{ready}\n{UNPACED}"));
    assert_eq!(value(&outputs(&outcome(desk.path(), "new"))[0]), 4);
    let _ = fs::remove_dir_all(desk.path().join("runs"));
    let never =
        "def answer(self, event): pass\nseen_by_ready = type('Never', (list,), {'__len__': lambda self: 0})()\nserve()";
    let report = rehearse(desk.path(), counts, never, &format!("{ready}\nready-timeout = '700ms'\n{UNPACED}"));
    assert_eq!(driven(&report, "new").reason, "was not ready within 700ms (`ready-timeout`)");
}

/// Orders in four partitions, all at the same time.
fn partitioned() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(folder.path().join("orders"), Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    for partition in 0..4 {
        for offset in 0..10 {
            batch.push_event(&Event {
                topic: "orders".into(),
                partition,
                offset,
                timestamp_ms: Some(1_700_000_000_000 + offset),
                timestamp_type: TimestampType::Create,
                key: Some(format!("{partition}-{offset}").into_bytes()),
                value: Some(json!({ "p": partition, "n": offset }).to_string().into_bytes()),
                ..Event::default()
            });
        }
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    folder
}

/// Answers with the most requests of one partition, and of all, that were open at once, and with the one that came before it.
const COUNTS: &str = "
last, open = {}, {}
def answer(self, event):
    p = event['p']
    with lock:
        open[p] = open.get(p, 0) + 1
        at_once, of_all = open[p], sum(open.values())
        before, last[p] = last.get(p, -1), event['n']
    time.sleep(0.02)
    with lock: open[p] -= 1
    self.send(200, json.dumps({'at_once': at_once, 'of_all': of_all, 'before': before, 'n': event['n']}).encode())
serve()";

#[test]
fn a_partition_keeps_its_order_and_holds_up_no_other() {
    let desk = partitioned();
    rehearse(desk.path(), COUNTS, COUNTS, UNPACED);
    let kept: Vec<Json> = outputs(&outcome(desk.path(), "new")).iter().map(value).collect();
    assert_eq!(kept.len(), 40);
    assert!(kept.iter().all(|one| one["at_once"] == 1 && one["before"].as_i64() == one["n"].as_i64().map(|n| n - 1)));
    assert!(kept.iter().any(|one| one["of_all"].as_i64() > Some(1)), "one partition waited for another");
    let _ = fs::remove_dir_all(desk.path().join("runs"));
    rehearse(desk.path(), COUNTS, COUNTS, &format!("in-flight = 3\n[compare]\norder = 'none'\n{UNPACED}"));
    let at_once = |output: &Output| value(output)["at_once"].as_i64().unwrap();
    assert_eq!(outputs(&outcome(desk.path(), "new")).iter().map(at_once).max(), Some(3));
    // What overtakes what is no doing of a build: an order that would be held against it is refused.
    let text = fs::read_to_string(desk.path().join("scenario.toml")).unwrap();
    for order in ["key", "total"] {
        let counts = text.replace("order = 'none'", &format!("order = '{order}'"));
        fs::write(desk.path().join("scenario.toml"), counts).unwrap();
        let refused = check(Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap(), None).unwrap_err();
        assert!(refused.to_string().contains("3 requests of a partition at once overtake each other"), "{refused}");
    }
}

#[test]
fn what_is_written_twice_is_answered_twice_unless_the_build_remembers() {
    let desk = desk(60);
    let remembers = "done = set()\ndef answer(self, event):\n  n = event['order_id']\n  new = n not in done; done.add(n)\n  self.send(200 if new else 204, json.dumps(event).encode() if new else b'')\nserve()";
    let more = "[pace]\nmode = 'accelerated'\nspeed = 200\n[[fault]]\nkind = 'duplicate'\nprobability = 0.4\nafter = '1ms..20ms'\n[compare]\nidentity = ['$.order_id']\n";
    let report = rehearse(desk.path(), remembers, ECHO, more);
    let found = report.idempotency.as_ref().unwrap_or_else(|| panic!("{:?}", report.reasons));
    assert_eq!(found.old.repeated_effects, 0, "{:?}", report.drives);
    assert_eq!((found.new.repeated_effects, found.new.redelivered), (found.new.redelivered, found.old.redelivered));
    assert!(found.new.redelivered > 10);
    // The schedule was kept, and how well is known.
    assert!(
        report.fidelity.lateness.contains_key("new") && driven(&report, "new").length_us >= 290_000,
        "{:?}",
        report.fidelity
    );
}
