//! Drives over stdio with real little builds: what comes back, how drives end, and how schedules are kept.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use rehearsal::clock::{Clock, SimulatedClock, Stop, SystemClock};
use rehearsal::drive::{
    Build, BuildSettings, DeliverySource, DriveError, DriveRules, DriveSettings, Job, LineageSettings, Progress, drive,
    drive_all,
};
use rehearsal::outcome::{CauseBy, Ending, Outcome, Output, Receipt};
use rehearsal::plan::{Delivery, Phase, PlanError};
use rehearsal::recording::{
    Event, EventBatchBuilder, Header, Place, Recording, RecordingWriter, Source, TimestampType,
};
use tempfile::TempDir;

/// A list of deliveries made by hand.
#[derive(Debug, Clone)]
struct List {
    topics: Vec<String>,
    deliveries: Vec<Delivery>,
    paced: bool,
}

impl DeliverySource for List {
    fn topics(&self) -> &[String] {
        &self.topics
    }

    fn fault_names(&self) -> Vec<String> {
        vec!["twice".into()]
    }

    fn paced(&self) -> bool {
        self.paced
    }

    fn deliveries(&self) -> Box<dyn Iterator<Item = Result<Delivery, PlanError>> + Send + '_> {
        Box::new(self.deliveries.iter().copied().map(Ok))
    }
}

/// A recording, deliveries of it, and room for outcomes.
struct Stage {
    folder: TempDir,
    recording: Recording,
    list: List,
}

fn event(partition: i32, offset: i64, key: &str, value: &str) -> Event {
    Event {
        topic: "t".into(),
        partition,
        offset,
        timestamp_ms: Some(1_000 + offset),
        timestamp_type: TimestampType::Create,
        key: Some(key.into()),
        value: Some(value.into()),
        ..Event::default()
    }
}

/// `count` events of one partition, `{"n":0}` and so on, a millisecond apart.
fn numbered(count: i64) -> Stage {
    let events: Vec<_> =
        (0..count).map(|at| event(0, at, &format!("k{}", at % 7), &format!("{{\"n\":{at}}}"))).collect();
    Stage::of(&events)
}

impl Stage {
    /// Each event delivered once, in order, a millisecond apart.
    fn of(events: &[Event]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let mut writer = RecordingWriter::create(&path, Source::default()).unwrap();
        let mut builder = EventBatchBuilder::new();
        for event in events {
            builder.push_event(event);
        }
        writer.write(&builder.finish()).unwrap();
        writer.seal().unwrap();
        let delivery = |(row, event): (usize, &Event)| Delivery {
            due_us: row as i64 * 1_000,
            topic: 0,
            partition: event.partition,
            offset: event.offset,
            position: event.offset,
            attempt: 0,
            phase: Phase::Main,
            faults: 0,
            place: Place { segment: 0, row: row as u32 },
        };
        let deliveries = events.iter().enumerate().map(delivery).collect();
        let list = List { topics: vec!["t".into()], deliveries, paced: false };
        Self { recording: Recording::open(path).unwrap(), folder, list }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("outcomes").join(name)
    }

    fn job<'a>(&'a self, name: &'a str, build: &'a Build, rules: &'a DriveRules) -> Job<'a> {
        Job { name, plan: &self.list, recording: &self.recording, deliveries: None, build, rules, out: self.out(name) }
    }

    /// Drives a shell script, unpaced.
    fn shell(&self, script: &str, settings: &str) -> Outcome {
        let (build, rules) = (shell(script), rules(settings));
        drive(&self.job("new", &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap()
    }
}

fn quiet(_: Progress<'_>) {}

fn shell(script: &str) -> Build {
    let settings = BuildSettings { command: vec!["sh".into(), "-c".into(), script.into()], ..BuildSettings::default() };
    settings.check("new", std::path::Path::new(".")).unwrap()
}

fn rules(settings: &str) -> DriveRules {
    toml::from_str::<DriveSettings>(settings).unwrap().check().unwrap()
}

fn outputs(outcome: &Outcome) -> Vec<Output> {
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()).collect()
}

fn receipts(outcome: &Outcome) -> Vec<Receipt> {
    outcome.deliveries().unwrap().unwrap().flat_map(Result::unwrap).collect()
}

fn values(outcome: &Outcome) -> Vec<String> {
    let text = |output: Output| String::from_utf8(output.value.unwrap_or_default()).unwrap();
    outputs(outcome).into_iter().map(text).collect()
}

/// Drives `script` and checks how it ends and what the reason says.
fn ends(stage: &Stage, script: &str, settings: &str, ending: Ending, reason: &str) -> Outcome {
    let outcome = stage.shell(script, settings);
    let report = outcome.ending();
    assert!(
        report.ending == ending && report.reason.contains(reason),
        "{script}: {:?}: {}",
        report.ending,
        report.reason
    );
    outcome
}

const HASTY: &str = "drain-timeout = '1s'";

#[test]
fn a_build_that_reads_to_the_end_and_exits_with_zero_has_finished() {
    let stage = numbered(1_000);
    let outcome = ends(&stage, "cat", "", Ending::Finished, "exit code 0 after 1,000 deliveries");
    let report = outcome.ending();
    assert_eq!((report.deliveries, report.sent, report.outputs), (Some(1_000), Some(1_000), Some(1_000)));
    assert_eq!((report.exit_code, report.signal, report.redelivered), (Some(0), None, Some(0)));
    assert!(report.lateness.is_none());
    assert!(receipts(&outcome).iter().all(|receipt| receipt.sent_us.is_some()));
}

#[test]
fn a_build_that_exits_with_another_code_after_its_input_died() {
    let stage = numbered(10);
    let outcome = ends(&stage, "cat; exit 3", "", Ending::Died, "exit code 3 after 10 deliveries, after the end");
    assert_eq!(outcome.ending().exit_code, Some(3));
    assert_eq!(outcome.output_count(), 10);
}

#[test]
fn a_build_that_exits_before_all_was_handed_over_died() {
    let stage = numbered(400_000);
    let outcome =
        ends(&stage, "head -n 5 >/dev/null", "", Ending::Died, "of 400,000 deliveries, before the end of its input");
    let sent = receipts(&outcome).iter().filter(|receipt| receipt.sent_us.is_some()).count() as u64;
    assert_eq!((outcome.ending().sent, receipts(&outcome).len()), (Some(sent), 400_000));
    assert!(sent < 400_000);
}

#[test]
fn a_build_that_exits_with_zero_but_left_input_unread_died() {
    ends(&numbered(10), "exit 0", "", Ending::Died, "exit code 0");
}

#[test]
fn a_build_that_takes_exactly_its_input_has_finished() {
    ends(&numbered(10), "head -n 10", "", Ending::Finished, "exit code 0 after 10 deliveries");
}

#[test]
fn a_build_that_is_killed_died_by_its_signal() {
    let stage = numbered(10);
    let outcome = ends(&stage, "cat >/dev/null; kill -9 $$", "", Ending::Died, "signal 9");
    assert_eq!((outcome.ending().exit_code, outcome.ending().signal), (None, Some(9)));
}

#[test]
fn a_build_whose_pipe_stays_full_stopped_reading() {
    let stage = numbered(400_000);
    let outcome = ends(&stage, "exec sleep 1000", HASTY, Ending::StoppedReading, "took no more input for 1s");
    assert!(outcome.ending().sent.unwrap() < 400_000);
    assert_eq!(outcome.ending().deliveries, Some(400_000));
}

#[test]
fn a_build_that_never_reads_stopped_reading_however_little_it_is_given() {
    ends(&numbered(3), "exec sleep 1000", HASTY, Ending::StoppedReading, "took no more input");
}

#[test]
fn a_build_that_closes_its_input_and_goes_on_stopped_reading() {
    ends(&numbered(400_000), "exec <&-; exec sleep 1000", HASTY, Ending::StoppedReading, "closed its standard input");
}

#[test]
fn a_build_that_ignores_the_end_of_input_timed_out() {
    let stage = numbered(10);
    let outcome = ends(&stage, "cat; exec sleep 1000", HASTY, Ending::TimedOut, "after the end of input");
    assert_eq!(outcome.output_count(), 10);
}

#[test]
fn a_build_that_never_ends_timed_out() {
    let script = "cat; while :; do echo '{\"value\":1}'; sleep 0.01; done";
    ends(&numbered(10), script, "timeout = '300ms'", Ending::TimedOut, "did not end within 300ms (`timeout`)");
}

#[test]
fn a_build_that_ignores_requests_to_end_is_killed() {
    let script = "trap '' TERM; cat; while :; do sleep 1000; done";
    ends(&numbered(10), script, HASTY, Ending::TimedOut, "after the end of input");
}

#[test]
fn a_build_that_floods_is_ended_at_a_bound() {
    let stage = numbered(10);
    let outcome =
        ends(&stage, "yes", "output-bytes-max = 3_000_000", Ending::TimedOut, "wrote more than 3,000,000 bytes");
    assert!(outputs(&outcome).iter().all(|output| output.malformed.as_deref() == Some("no object of an output")
        || output.malformed.as_deref() == Some("no JSON")));
}

#[test]
fn a_flood_without_a_line_end_does_not_fill_the_memory() {
    let settings = "output-bytes-max = 30_000_000\nline-bytes-max = 5_000";
    let stage = numbered(10);
    let outcome = ends(&stage, "yes | tr -d '\\n'", settings, Ending::TimedOut, "wrote more than");
    let outputs = outputs(&outcome);
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].value.as_ref().unwrap().len(), 5_000);
    assert!(outputs[0].malformed.as_ref().unwrap().contains("line-bytes-max"));
}

#[test]
fn a_line_that_is_too_long_is_cut_and_the_next_is_whole() {
    let script = "cat >/dev/null; printf '%05000d\\n' 7; echo '{\"value\":1}'; printf '%05000d' 8";
    let stage = numbered(1);
    let outcome = ends(&stage, script, "line-bytes-max = 2_000", Ending::Finished, "");
    let outputs = outputs(&outcome);
    let lengths: Vec<_> = outputs.iter().map(|output| output.value.as_ref().unwrap().len()).collect();
    assert_eq!(lengths, [2_000, 1, 2_000]);
    assert_eq!(outputs[1].malformed, None);
}

#[test]
fn a_build_that_closes_its_output_and_goes_on_has_finished_and_the_reason_says_so() {
    let script = "read line; echo \"$line\"; exec >&-; sleep 0.1; cat >/dev/null";
    let stage = numbered(100_000);
    let outcome = ends(&stage, script, "", Ending::Finished, "closed its standard output before");
    assert_eq!(outcome.output_count(), 1);
}

#[test]
fn children_that_keep_the_pipes_open_hold_nothing_up() {
    let stage = numbered(10);
    let outcome = ends(&stage, "sleep 1000 & cat", HASTY, Ending::Finished, "what it started went on and was ended");
    assert_eq!(outcome.output_count(), 10);
}

#[test]
fn children_that_left_the_group_hold_nothing_up() {
    ends(&numbered(10), "setsid sleep 1000 & cat", HASTY, Ending::Finished, "what it started went on and was ended");
}

/// Runs a shell script in the background and notes its number, before it goes on.
#[cfg(target_os = "linux")]
fn leaves(how: &str) -> String {
    format!("echo $$ >>{{dir}}/pids; {how} & until [ $(wc -l <{{dir}}/pids) -gt 1 ]; do :; done; ")
}

/// A session of its own, holding none of the build's pipes.
#[cfg(target_os = "linux")]
const SESSION: &str = "setsid sh -c 'echo $$ >>{dir}/pids; exec sleep 1000' >/dev/null 2>&1";

/// Makes sure that of a drive's processes, noted in `pids`, none runs and none waits to be reaped by this program.
#[cfg(target_os = "linux")]
fn nothing_is_left_of(out: &std::path::Path) {
    let pids = fs::read_to_string(out.join("dir/pids")).unwrap();
    assert!(pids.lines().count() > 1, "{pids}");
    for pid in pids.lines() {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Whoever adopted it may take a moment to reap it.
        assert!(fields[0] == "Z" && fields[1] != std::process::id().to_string(), "{stat}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_left_the_process_group_ends_with_the_drive() {
    let stage = numbered(10);
    for (how, then, settings, ending, reason) in [
        (SESSION, "cat", "", Ending::Finished, "what it started went on and was ended"),
        (SESSION, "cat; exit 3", "", Ending::Died, "exit code 3"),
        (SESSION, "cat; exec sleep 1000", HASTY, Ending::TimedOut, "after the end of input"),
        (SESSION, "exec sleep 1000", HASTY, Ending::StoppedReading, "took no more input"),
        (SESSION, "exec yes", "output-bytes-max = 3_000_000", Ending::TimedOut, "wrote more than"),
        // A daemon: its parent has ended, and it is of another session than its own leader.
        (&format!("setsid sh -c '{} &'", SESSION.replace('\'', "\"")), "cat", "", Ending::Finished, "was ended"),
        // What a drive inside of the drive would have started.
        (&format!("REHEARSAL_DRIVE=$REHEARSAL_DRIVE/1-2-3 {SESSION}"), "cat", "", Ending::Finished, "was ended"),
        // It carries no mark and has no parent, but writes where the build writes.
        ("env -i setsid sh -c 'echo $$ >>{dir}/pids; exec sleep 1000'", "cat", HASTY, Ending::Finished, "was ended"),
        // It carries no mark and holds nothing, but its parent is there, or was when the build was asked to end.
        (&format!("env -i {SESSION}"), "cat; exec sleep 1000", HASTY, Ending::TimedOut, "after the end of input"),
    ] {
        let outcome = ends(&stage, &(leaves(how) + then), settings, ending, reason);
        nothing_is_left_of(outcome.path());
        fs::remove_dir_all(outcome.path()).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_left_the_process_group_ends_with_a_drive_that_is_stopped_or_fails() {
    let stage = numbered(10);
    let (build, rules, stop) = (shell(&(leaves(SESSION) + "cat; exec sleep 1000")), rules(""), Stop::new());
    let progress = |progress: Progress<'_>| {
        if progress.outputs == 10 {
            stop.raise();
        }
    };
    drive(&stage.job("new", &build, &rules), &SystemClock::start(), &stop, &progress).unwrap_err();
    nothing_is_left_of(&stage.out("new"));

    // The second value cannot be handed over, which shows once the build is ready.
    let stage = Stage::of(&[event(0, 0, "k", "fine"), event(0, 1, "k", "two\nlines")]);
    let (build, rules) = (
        shell(&(leaves(SESSION) + "echo go >&2; cat; exec sleep 1000")),
        self::rules("payload = 'value'\nready = { line = 'go' }"),
    );
    drive(&stage.job("old", &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap_err();
    nothing_is_left_of(&stage.out("old"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_drive_that_ends_leaves_the_processes_of_its_siblings_alone() {
    let stage = numbered(10);
    // Both have children in sessions of their own; the second looks at its own once the first drive is over.
    let (short, rules) = (shell(&(leaves(SESSION) + "cat")), rules(""));
    let wait = "until [ -e {dir}/../../old/ending.json ]; do sleep 0.01; done; cat; ";
    let look = "kill -0 $(tail -n 1 {dir}/pids) && echo '{\"value\":\"untouched\"}'";
    let long = shell(&(leaves(SESSION) + wait + look));
    let outcomes =
        drive_all(&[stage.job("old", &short, &rules), stage.job("new", &long, &rules)], true, &Stop::new(), &quiet);
    for outcome in &outcomes {
        nothing_is_left_of(outcome.as_ref().unwrap().path());
    }
    assert_eq!(values(outcomes[1].as_ref().unwrap()).last().unwrap(), "\"untouched\"");
}

#[cfg(target_os = "linux")]
#[test]
fn every_drive_has_a_mark_of_its_own() {
    let stage = numbered(1);
    let script = "cat >/dev/null; echo \"{\\\"value\\\":\\\"$REHEARSAL_DRIVE\\\"}\"";
    let marks = ["old", "new"].map(|name| {
        let (build, rules) = (shell(script), rules(""));
        values(&drive(&stage.job(name, &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap()).remove(0)
    });
    assert!(marks[0] != marks[1] && marks[0].len() > 8, "{marks:?}");
}

#[test]
fn garbage_is_kept_as_it_is_and_called_malformed() {
    let script = "cat >/dev/null; printf 'INFO ready\\n\\377\\376\\n\\n{\"value\":1}\\n{\"val'";
    let stage = numbered(2);
    let outcome = ends(&stage, script, "", Ending::Finished, "");
    let found: Vec<_> = outputs(&outcome).into_iter().map(|output| (output.value.unwrap(), output.malformed)).collect();
    let no_json = || Some("no JSON".to_owned());
    let expected = [
        (b"INFO ready".to_vec(), no_json()),
        (vec![0o377, 0o376], no_json()),
        (Vec::new(), no_json()),
        (b"1".to_vec(), None),
        (b"{\"val".to_vec(), no_json()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn log_lines_pass_where_the_settings_say_so() {
    let script = "echo 'INFO start'; cat >/dev/null; echo 'INFO end'; echo '{\"value\":1}'";
    let stage = numbered(2);
    let outcome = ends(&stage, script, "not-an-output = '^INFO '", Ending::Finished, "");
    assert_eq!(values(&outcome), ["1"]);
}

#[test]
fn standard_error_is_kept_up_to_a_bound_head_and_tail() {
    let script =
        "echo first >&2; i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; cat; echo last >&2";
    let stage = numbered(2);
    let outcome = ends(&stage, script, "stderr-bytes-max = 2_000", Ending::Finished, "");
    let log = fs::read_to_string(outcome.path().join("stderr.log")).unwrap();
    assert!(log.starts_with("first\nline 0\n") && log.ends_with("line 1999\nlast\n"), "{log}");
    let dropped = outcome.ending().stderr_dropped_bytes;
    assert!(dropped > 10_000 && log.contains(&format!("[{dropped} bytes are left out here]")));
}

#[test]
fn a_build_full_of_complaints_does_not_block() {
    let stage = numbered(50_000);
    let outcome = ends(&stage, "tee /dev/stderr", "", Ending::Finished, "");
    assert_eq!(outcome.output_count(), 50_000);
}

#[test]
fn a_build_is_given_nothing_before_it_is_ready() {
    for stream in ["1", "2"] {
        let script = format!("echo starting >&{stream}; echo listening on 80 >&{stream}; cat");
        let settings = "ready = { line = '^listening' }\nnot-an-output = 'starting'";
        let stage = numbered(5);
        let outcome = ends(&stage, &script, settings, Ending::Finished, "");
        assert_eq!(outcome.output_count(), 5);
    }
    let settings = "ready = { line = '^listening' }\nready-timeout = '100ms'";
    let stage = numbered(5);
    let outcome = ends(&stage, "cat", settings, Ending::TimedOut, "was not ready within 100ms");
    assert_eq!(outcome.ending().sent, Some(0));
}

#[test]
fn a_request_to_stop_ends_the_build_and_keeps_what_was_written() {
    let stage = numbered(10);
    let (build, rules, stop) = (shell("cat; exec sleep 1000"), rules(""), Stop::new());
    let progress = |progress: Progress<'_>| {
        if progress.outputs == 10 {
            stop.raise();
        }
    };
    let error = drive(&stage.job("new", &build, &rules), &SystemClock::start(), &stop, &progress).unwrap_err();
    let DriveError::Stopped { path, .. } = error else { panic!("{error}") };
    let outcome = Outcome::open(path).unwrap();
    assert_eq!((outcome.output_count(), outcome.ending().ending), (10, Ending::TimedOut));
    assert!(outcome.ending().reason.contains("stopped on request"));
}

#[test]
fn a_drive_that_fails_takes_no_other_outcome_with_it() {
    for together in [true, false] {
        let stage = numbered(20_000);
        let (good, bad) = (shell("cat"), shell("exec sleep 1000"));
        // Only the bad one is in a hurry: a busy machine may keep the good one waiting for longer.
        let (patient, hasty) = (rules(""), rules(HASTY));
        fs::create_dir_all(stage.out("taken")).unwrap();
        fs::write(stage.out("taken").join("outputs.parquet"), "").unwrap();
        let jobs =
            [stage.job("taken", &good, &patient), stage.job("new", &bad, &hasty), stage.job("old", &good, &patient)];
        let outcomes = drive_all(&jobs, together, &Stop::new(), &quiet);
        assert!(matches!(outcomes[0], Err(DriveError::Outcome(_))));
        assert_eq!(outcomes[1].as_ref().unwrap().ending().ending, Ending::StoppedReading);
        assert_eq!(outcomes[2].as_ref().unwrap().ending().ending, Ending::Finished);
        assert_eq!(outcomes[2].as_ref().unwrap().output_count(), 20_000);
    }
}

#[test]
fn a_bare_value_comes_back_as_it_was() {
    let mut events: Vec<_> = ["{\"n\":1}", "plain text", "", "{\n \"n\": 2\n}"]
        .iter()
        .enumerate()
        .map(|(at, value)| event(0, at as i64, "k", value))
        .collect();
    events.push(Event { value: None, ..event(0, 4, "k", "") });
    let stage = Stage::of(&events);
    let outcome = stage.shell("cat", "payload = 'value'\noutputs = ['board']");
    assert_eq!(values(&outcome), ["{\"n\":1}", "plain text", "", "{  \"n\": 2 }", "null"]);
    assert!(outputs(&outcome).iter().all(|output| output.topic == "board" && output.key.is_none()));
}

#[test]
fn a_bare_value_that_would_be_two_lines_stops_the_drive_by_name() {
    let stage = Stage::of(&[event(0, 0, "k", "fine"), event(0, 1, "k", "two\nlines")]);
    let (build, rules) = (shell("cat"), rules("payload = 'value'"));
    let error = drive(&stage.job("new", &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap_err();
    assert!(error.to_string().contains("t partition 0 offset 1"), "{error}");
    assert_eq!(Outcome::open(stage.out("new")).unwrap().ending().ending, Ending::TimedOut);
}

#[test]
fn an_envelope_carries_every_byte_of_an_event() {
    let header = |name: &str, value: Option<&[u8]>| Header { name: name.into(), value: value.map(<[u8]>::to_vec) };
    let events = [
        Event {
            headers: vec![header("a", Some(b"x\"y")), header("a", None), header("b", Some(&[255]))],
            ..event(3, 5, "k\n", "{\"a\": 1.0}")
        },
        Event {
            key: None,
            value: None,
            timestamp_ms: None,
            timestamp_type: TimestampType::None,
            ..event(3, 6, "", "")
        },
        Event { key: Some(vec![254]), value: Some(vec![0, 255]), ..event(3, 7, "", "") },
        event(3, 8, "", "null"),
        event(3, 9, "", ""),
        event(3, 10, "", "{\"a\":\n1}"),
    ];
    let stage = Stage::of(&events);
    let (build, rules) = (shell("tee /dev/stderr"), rules("show-attempt = true"));
    let outcome = drive(&stage.job("new", &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap();
    let lines = fs::read_to_string(outcome.path().join("stderr.log")).unwrap();
    let first = r#"{"topic":"t","partition":3,"offset":5,"attempt":0,"timestamp_ms":1005,"key":"k\n","value":{"a": 1.0},"headers":[["a","x\"y"],["a",null],["b",{"base64":"/w=="}]]}"#;
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[0], first);
    assert_eq!(
        lines[1],
        r#"{"topic":"t","partition":3,"offset":6,"attempt":0,"timestamp_ms":null,"key":null,"value":null,"headers":[]}"#
    );
    assert!(lines[2].contains(r#""key_base64":"/g==","value_base64":"AP8=""#), "{}", lines[2]);
    for (output, event) in outputs(&outcome).iter().zip(&events) {
        assert_eq!(
            (&output.key, &output.headers, output.timestamp_ms),
            (&event.key, &event.headers, event.timestamp_ms)
        );
        let line_break = |byte: u8| if byte == b'\n' { b' ' } else { byte };
        let value: Option<Vec<u8>> = event.value.as_ref().map(|value| value.iter().copied().map(line_break).collect());
        assert_eq!(output.value, value);
    }
}

#[test]
fn a_cause_is_stated_or_inferred_or_unknown() {
    let script = r#"cat >/dev/null
echo '{"value":1,"cause":{"topic":"t","partition":0,"offset":3}}'
echo '{"value":2,"key":"k1"}'
echo '{"value":3,"key":"nobody"}'
echo '{"value":4}'
echo '{"value":5,"cause":{"topic":"t","partition":0,"offset":999},"key":"k2"}'
echo '{"value":6,"cause":{"topic":"t","partition":0,"offset":3,"attempt":4}}'"#;
    let stage = numbered(10);
    let outcome = ends(&stage, script, "", Ending::Finished, "");
    let cause = |output: &Output| output.cause.as_ref().map(|cause| (cause.offset, cause.attempt, cause.by));
    let causes: Vec<_> = outputs(&outcome).iter().map(cause).collect();
    let (build, inferred) = (CauseBy::Build, CauseBy::Inferred);
    assert_eq!(
        causes,
        [Some((3, 0, build)), Some((8, 0, inferred)), None, None, Some((9, 0, inferred)), Some((3, 4, build))]
    );
}

/// Drives a shell script with a lineage.
fn with_lineage(stage: &Stage, script: &str, settings: &str, lineage: &str) -> Vec<Option<(i64, i32, CauseBy)>> {
    let lineage = toml::from_str::<LineageSettings>(lineage).unwrap().check().unwrap();
    let (build, rules) = (shell(script), DriveRules { lineage, ..rules(settings) });
    let outcome = drive(&stage.job("new", &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap();
    let cause = |output: &Output| output.cause.as_ref().map(|cause| (cause.offset, cause.attempt, cause.by));
    let causes = outputs(&outcome).iter().map(cause).collect();
    fs::remove_dir_all(stage.out("new")).unwrap();
    causes
}

#[test]
fn lineage_finds_the_event_that_carried_the_same() {
    let mut stage = numbered(10);
    let script = r#"cat >/dev/null
echo '{"value":{"of":7},"key":"k1"}'
echo '{"value":{"of":"4"}}'
echo '{"value":{"of":99},"key":"k1"}'
echo '{"value":{"of":99}}'
echo '{"value":{"of":7},"cause":{"topic":"t","partition":0,"offset":3}}'"#;
    let (build, lineage, inferred) = (CauseBy::Build, CauseBy::Lineage, CauseBy::Inferred);
    let found = [Some((7, 0, lineage)), Some((4, 0, lineage)), Some((8, 0, inferred)), None, Some((3, 0, build))];
    assert_eq!(with_lineage(&stage, script, "", "event = '$.n'\noutput = '$.of'"), found);
    // A bare value has no key and no header, and its field finds the event all the same.
    let bare = with_lineage(&stage, "sed 's/8/88/'", "payload = 'value'", "event = '$.n'");
    let expected = (0..10).map(|offset| (offset != 8).then_some((offset, 0, lineage)));
    assert_eq!(bare, expected.collect::<Vec<_>>());
    // The delivery that was handed over last is meant.
    let mut again = stage.list.deliveries[7];
    (again.attempt, again.position) = (1, 10);
    stage.list.deliveries.push(again);
    let found = with_lineage(&stage, "cat >/dev/null; echo '{\"value\":{\"n\":7}}'", "", "event = '$.n'");
    assert_eq!(found, [Some((7, 1, lineage))]);
}

#[test]
fn lineage_finds_the_event_of_a_trace() {
    let id = |at: i64| format!("4bf92f3577b34da6a3ce929d0e0e473{at:x}");
    let traced = |at: i64| {
        let trace =
            Header { name: "traceparent".into(), value: Some(format!("00-{}-00f067aa0ba902b7-01", id(at)).into()) };
        Event { headers: vec![trace], ..event(0, at, "k", "{}") }
    };
    let stage = Stage::of(&(0..9).map(traced).collect::<Vec<_>>());
    // The build's own spans have ids of their own.
    let script = format!(
        r#"cat >/dev/null
echo '{{"value":1,"headers":[["traceparent","00-{}-ffffffffffffffff-00"]]}}'
echo '{{"value":1,"headers":[["traceparent","00-{}-ffffffffffffffff-00"]]}}'
echo '{{"value":1}}'"#,
        id(5),
        id(10)
    );
    let found = with_lineage(&stage, &script, "", "header = 'traceparent'");
    assert_eq!(found, [Some((5, 0, CauseBy::Lineage)), None, None]);
}

#[test]
fn commits_are_kept_and_those_of_nobody_are_malformed() {
    let script = r#"cat >/dev/null
echo '{"commit":{"topic":"t","partition":0,"offset":4}}'
echo '{"commit":{"topic":"t","partition":0,"offset":10}}'
echo '{"commit":{"topic":"t","partition":9,"offset":4}}'
echo '{"commit":{"topic":"x","partition":0,"offset":4}}'"#;
    let stage = numbered(10);
    let outcome = ends(&stage, script, "", Ending::Finished, "");
    let committed = &outcome.ending().committed;
    assert_eq!((committed.len(), committed[0].topic.as_str(), committed[0].position), (1, "t", 10));
    assert_eq!(outputs(&outcome).iter().filter(|output| output.malformed.is_some()).count(), 2);
    let gauges = outcome.gauges().unwrap();
    assert!(gauges.iter().any(|gauge| gauge.name == "lag" && gauge.value == 0.0), "{gauges:?}");
}

fn warm(stage: &mut Stage, events: usize) {
    for delivery in &mut stage.list.deliveries[..events] {
        (delivery.phase, delivery.due_us) = (Phase::WarmUp, 0);
    }
    for delivery in &mut stage.list.deliveries[events..] {
        delivery.due_us -= events as i64 * 1_000;
    }
}

#[test]
fn the_schedule_starts_once_the_warm_up_has_settled() {
    let mut stage = numbered(40);
    warm(&mut stage, 30);
    let outcome = ends(&stage, "cat", "settle = '50ms'", Ending::Finished, "");
    let (outputs, receipts) = (outputs(&outcome), receipts(&outcome));
    assert_eq!(outputs.iter().filter(|output| output.phase == Phase::WarmUp).count(), 30);
    assert_eq!(outputs.iter().filter(|output| output.phase == Phase::Main).count(), 10);
    assert!(outputs.iter().all(|output| (output.arrived_us < 0) == (output.phase == Phase::WarmUp)));
    assert!(receipts.iter().all(|receipt| (receipt.sent_us.unwrap() < 0) == (receipt.delivery.phase == Phase::WarmUp)));
}

#[test]
fn what_comes_after_the_warm_up_belongs_to_it_only_where_the_build_says_so() {
    let mut stage = numbered(34);
    warm(&mut stage, 30);
    // Totals at the end, of a key whose last event, at offset 29, was handed over in the warm-up.
    let script = r#"cat
echo '{"value":"total","key":"k1"}'
echo '{"value":"late","cause":{"topic":"t","partition":0,"offset":29}}'"#;
    let outcome = ends(&stage, script, "settle = '50ms'", Ending::Finished, "");
    let outputs = outputs(&outcome);
    let phase = |value: &[u8]| outputs.iter().find(|output| output.value.as_deref() == Some(value)).unwrap().phase;
    assert_eq!((phase(b"\"total\""), phase(b"\"late\"")), (Phase::Drain, Phase::WarmUp));
}

#[test]
fn the_schedule_starts_once_commits_cover_the_warm_up() {
    let mut stage = numbered(40);
    warm(&mut stage, 30);
    // Outputs would have to be quiet for longer than the test may take; only the commit starts the schedule.
    let script = r#"i=0; while read -r line; do
    i=$((i+1)); printf '%s\n' "$line"
    if [ $i -eq 30 ]; then echo '{"commit":{"topic":"t","partition":0,"offset":30}}'; fi
done"#;
    let settings = "settle = '1h'\ndrain-timeout = '1h'\ntimeout = '20s'";
    let outcome = ends(&stage, script, settings, Ending::Finished, "");
    assert_eq!(outputs(&outcome).iter().filter(|output| output.phase == Phase::Main).count(), 10);
}

#[test]
fn a_warm_up_that_is_never_quiet_ends_at_the_drain_timeout() {
    let mut stage = numbered(4);
    warm(&mut stage, 2);
    let script = "(while :; do echo '{\"value\":0}'; sleep 0.005; done) & head -n 4 >/dev/null; kill $!";
    let outcome = ends(&stage, script, "settle = '10s'\ndrain-timeout = '150ms'", Ending::Finished, "");
    assert_eq!(outcome.ending().sent, Some(4));
}

#[test]
fn what_arrives_without_a_cause_belongs_to_the_phase_it_arrives_in() {
    let mut stage = numbered(4);
    warm(&mut stage, 2);
    let script =
        "read a; read a; echo '{\"value\":1}'; read a; read a; echo '{\"value\":2}'; cat; echo '{\"value\":3}'";
    let outcome = ends(&stage, script, "settle = '50ms'", Ending::Finished, "");
    let phases: Vec<_> = outputs(&outcome).iter().map(|output| output.phase).collect();
    assert_eq!((phases[0], phases[2]), (Phase::WarmUp, Phase::Drain));
}

#[test]
fn deliveries_are_handed_over_when_they_are_due() {
    let mut stage = numbered(200);
    let (build, clock) = (shell("cat"), SimulatedClock::new());
    clock.advance(Duration::from_secs(7));
    let rules = rules("timeout = '30d'\ndrain-timeout = '30d'");
    stage.list.paced = true;
    let job = stage.job("new", &build, &rules);
    let outcome = drive(&job, &clock, &Stop::new(), &quiet).unwrap();
    for receipt in receipts(&outcome) {
        assert_eq!(receipt.sent_us, Some(receipt.delivery.due_us));
    }
    let lateness = outcome.ending().lateness.unwrap();
    assert_eq!((lateness.max_us, lateness.beyond_5ms, lateness.slow_down), (0, 0.0, 0.0));
    assert_eq!(clock.now(), Duration::from_millis(7_199));
}

#[test]
fn a_day_of_silence_takes_no_time_on_a_simulated_clock() {
    let mut stage = numbered(3);
    stage.list.deliveries[2].due_us = 86_400_000_000;
    let (build, rules) = (shell("cat"), rules("timeout = '30d'\ndrain-timeout = '30d'"));
    stage.list.paced = true;
    let job = stage.job("new", &build, &rules);
    let outcome = drive(&job, &SimulatedClock::new(), &Stop::new(), &quiet).unwrap();
    assert_eq!(receipts(&outcome)[2].sent_us, Some(86_400_000_000));
    assert_eq!(outcome.ending().ending, Ending::Finished);
}

/// A clock that loses half a second once, when it is first waited on past 20 ms.
struct Hiccup(Mutex<(Duration, bool)>);

impl Clock for Hiccup {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn wait_until(&self, due: Duration) {
        let mut state = self.0.lock().unwrap();
        state.0 = state.0.max(due);
        if state.0 >= Duration::from_millis(20) && !state.1 {
            *state = (state.0 + Duration::from_millis(500), true);
        }
    }

    fn date_us(&self) -> i64 {
        0
    }
}

#[test]
fn late_is_late_and_moves_no_other_due_time() {
    let mut stage = numbered(4);
    for (delivery, due_us) in stage.list.deliveries.iter_mut().zip([0, 20_000, 100_000, 900_000]) {
        delivery.due_us = due_us;
    }
    let (build, rules) = (shell("cat"), rules(""));
    stage.list.paced = true;
    let job = stage.job("new", &build, &rules);
    let outcome = drive(&job, &Hiccup(Mutex::default()), &Stop::new(), &quiet).unwrap();
    let sent: Vec<_> = receipts(&outcome).iter().map(|receipt| receipt.sent_us.unwrap()).collect();
    assert_eq!(sent, [0, 520_000, 520_000, 900_000]);
    let lateness = outcome.ending().lateness.unwrap();
    assert!((499_000..=501_000).contains(&lateness.max_us), "{lateness:?}");
    assert!((lateness.beyond_5ms - 0.5).abs() < 1e-9 && lateness.slow_down.abs() < 1e-9);
}

#[test]
fn a_build_finds_its_flags_ports_and_name() {
    let script = "cat >/dev/null; echo \"{\\\"value\\\":[\\\"$REHEARSAL_FLAG_NEW_ROUNDING\\\",\\\"$PORT\\\",\\\"$PYTHONUNBUFFERED\\\",\\\"{drive}\\\",\\\"{port.a}\\\",\\\"{port.a}\\\"]}\"";
    let text = format!(
        "command = ['sh', '-c', '''{script}''']\nflags = {{ new-rounding = false }}\nenv = {{ PORT = '{{port}}' }}"
    );
    let build = toml::from_str::<BuildSettings>(&text).unwrap().check("new", std::path::Path::new(".")).unwrap();
    let (stage, rules) = (numbered(1), rules(""));
    let outcome = drive(&stage.job("old-again", &build, &rules), &SystemClock::start(), &Stop::new(), &quiet).unwrap();
    let said: Vec<String> = serde_json::from_str(&values(&outcome)[0]).unwrap();
    assert_eq!((&said[0][..], &said[2][..], &said[3][..]), ("false", "1", "old-again"));
    assert!(said[1].parse::<u16>().unwrap() > 0 && said[4] == said[5] && said[4] != said[1]);
}

/// Positions, attempts and places of a disturbed partition, as a plan would make them: inserted duplicates and positions that are
/// delivered again.
fn disturbed() -> impl Strategy<Value = (Vec<(i32, i64, i64, i32)>, usize)> {
    let step = (0_i32..3, 0_u8..10, 0_usize..20);
    proptest::collection::vec(step, 1..300).prop_map(|steps| {
        let (mut list, mut events, mut next) = (Vec::<(i32, i64, i64, i32)>::new(), 0, [0_i64; 3]);
        for (partition, what, back) in steps {
            let mine: Vec<_> = list.iter().filter(|delivery| delivery.0 == partition).copied().collect();
            match mine.get(mine.len().wrapping_sub(back + 1)) {
                // Written twice: a new position.
                Some(&(_, offset, _, _)) if what == 0 => {
                    let again = mine.iter().filter(|delivery| delivery.1 == offset).count() as i32;
                    list.push((partition, offset, next[partition as usize], again));
                }
                // Set back: an old position.
                Some(&(_, offset, position, _)) if what == 1 => {
                    let again = mine.iter().filter(|delivery| delivery.1 == offset).count() as i32;
                    list.push((partition, offset, position, again));
                    continue;
                }
                _ => {
                    list.push((partition, events, next[partition as usize], 0));
                    events += 1;
                }
            }
            next[partition as usize] += 1;
        }
        (list, events as usize)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_delivery_comes_back_once_with_its_cause((list, count) in disturbed(), paced in any::<bool>()) {
        let partition_of = |offset: i64| list.iter().find(|delivery| delivery.1 == offset).unwrap().0;
        let events: Vec<_> = (0..count as i64).map(|at| event(partition_of(at), at, "k", &at.to_string())).collect();
        let mut stage = Stage::of(&events);
        let places: Vec<_> = stage.list.deliveries.iter().map(|delivery| delivery.place).collect();
        let delivery = |(row, &(partition, offset, position, attempt)): (usize, &(i32, i64, i64, i32))| Delivery {
            due_us: row as i64 / 3,
            topic: 0,
            partition,
            offset,
            position,
            attempt,
            phase: Phase::Main,
            faults: u64::from(attempt > 0),
            place: places[offset as usize],
        };
        stage.list.deliveries = list.iter().enumerate().map(delivery).collect();
        let (build, rules) = (shell("cat"), rules("show-attempt = true"));
        stage.list.paced = paced;
        let job = stage.job("new", &build, &rules);
        let outcome = drive(&job, &SystemClock::start(), &Stop::new(), &quiet).unwrap();
        let planned: Vec<_> = stage.list.deliveries.iter().map(|delivery| (delivery.partition, delivery.offset)).collect();
        let outputs = outputs(&outcome);
        let caused: Vec<_> = outputs.iter().map(|output| output.cause.as_ref().unwrap()).map(|cause| (cause.partition, cause.offset)).collect();
        prop_assert_eq!(&caused, &planned);
        let attempts: Vec<_> = outputs.iter().map(|output| output.cause.as_ref().unwrap().attempt).collect();
        let expected: Vec<_> = stage.list.deliveries.iter().map(|delivery| delivery.attempt).collect();
        prop_assert_eq!(attempts, expected);
        let received: Vec<_> = receipts(&outcome).iter().map(|receipt| receipt.delivery).collect();
        let planned: Vec<_> = stage.list.deliveries.iter().map(|delivery| Delivery { place: Place::default(), ..*delivery }).collect();
        prop_assert_eq!(received, planned);
        prop_assert_eq!(outcome.ending().redelivered, Some(list.iter().filter(|delivery| delivery.3 > 0).count() as u64));
    }
}
