//! Recordings in an object store: read by every command, written so that nothing half is ever seen, and gone on with after a
//! kill at any request.

mod azure;
mod bucket;
mod google;
mod server;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hyper::Method;
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, GapCause, Location, Manifest, MissingOffsets, Recording, RecordingError,
    RecordingWriter, SliceReport, SliceSettings, Source, Standing, Target, TopicSource, same_events, slice,
};
use rehearsal::samples::{Broker, fill};
use serde_json::Value as Json;
use tempfile::TempDir;

use server::{Act, KEY, Kind, SECRET, Server, Victim};

/// Has each of these tests run against a server of every kind.
macro_rules! on_every_store {
    ($($test:ident)*) => {
        on_every_store! { s3 S3: $($test)* }
        on_every_store! { gs Google: $($test)* }
        on_every_store! { az Azure: $($test)* }
    };
    ($scheme:ident $kind:ident: $($test:ident)*) => {
        mod $scheme {
            $(
                #[test]
                fn $test() {
                    super::$test(super::Kind::$kind);
                }
            )*
        }
    };
}

on_every_store! {
    every_command_that_reads_a_recording_reads_it_from_a_store
    a_scenario_runs_on_a_recording_in_a_store_and_its_report_names_the_address
    a_slice_and_an_import_are_in_the_store_whole_or_not_at_all
    a_slice_that_is_told_to_stop_while_it_is_uploaded_leaves_nothing
    a_writer_killed_at_any_write_to_the_store_goes_on_without_loss_and_without_a_repetition
    a_capture_killed_at_any_write_to_the_store_goes_on_with_the_same_command
    an_import_killed_at_any_write_is_made_again_and_was_never_seen
    a_lost_spool_is_gone_on_without_from_what_the_store_holds
    of_two_writers_the_one_that_was_taken_over_from_writes_nothing_any_more
    a_spool_that_others_have_gone_on_without_is_refused_by_name
    a_store_that_ignores_conditions_holds_off_a_second_writer_too
    a_claim_that_is_there_when_made_and_gone_when_read_ends_in_an_error
    an_import_that_fails_leaves_what_belongs_to_whoever_took_over
    whoever_took_over_leaves_the_other_ones_last_name_alone_after_a_kill_too
    a_capture_in_the_place_of_a_killed_import_says_that_its_events_count
    a_claim_that_was_written_before_the_store_failed_is_gone_on_with
    an_upload_that_ends_after_its_writer_was_taken_over_from_is_left_out
    a_segment_that_came_to_the_store_damaged_does_not_take_the_good_one_out_of_the_spool
    a_store_that_fails_ends_a_capture_that_goes_on_once_it_is_back
    a_store_that_is_away_for_a_while_is_told_of_and_waited_for
    an_upload_whose_end_was_not_heard_of_is_done_where_the_object_is_whole_and_else_a_failure
    connections_that_are_cut_now_and_then_are_made_again
    a_write_on_a_condition_that_was_cut_off_is_made_again
    a_recording_that_was_cut_off_is_rebuilt_in_the_store
    what_is_damaged_in_a_store_is_found_and_what_it_refuses_is_said
    a_segment_that_ends_ahead_of_what_is_asked_for_is_damaged_and_the_store_is_well
    a_segment_is_scanned_with_few_requests
    a_recording_is_masked_from_store_to_store
    a_capture_to_a_store_that_is_told_to_stop_is_sealed_there
}

fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/small")
}

/// A machine that uses the server: its folder for state is its own.
struct Machine<'s> {
    server: &'s Server,
    state: TempDir,
}

impl<'s> Machine<'s> {
    fn of(server: &'s Server) -> Self {
        Self { server, state: TempDir::new().unwrap() }
    }

    /// The program with these arguments.
    fn program<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.args(arguments);
        self.server.serve(&mut command, self.state.path());
        command
    }

    /// Runs the program, which must end with `code`; returns its standard output and error.
    fn run<A: AsRef<std::ffi::OsStr>>(&self, code: i32, arguments: impl IntoIterator<Item = A>) -> (String, String) {
        ended(&self.program(arguments).output().unwrap(), code)
    }

    /// This test binary, doing what [`the_child`] does.
    fn child(&self, job: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "store::the_child", "--nocapture"]).env("REHEARSAL_STORE_CHILD", job);
        self.server.serve(&mut command, self.state.path());
        command
    }

    /// Spools that are left on this machine.
    fn spools(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state.path().join("rehearsal/spool")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Checks how a program ended and that it told no secret; returns what it said.
fn ended(output: &Output, code: i32) -> (String, String) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}\n{errors}");
    for secret in [SECRET, KEY] {
        assert!(!said.contains(secret) && !errors.contains(secret), "a secret was told:\n{said}\n{errors}");
    }
    (said, errors)
}

/// Puts the files of a recording under a prefix, as they are.
fn put(server: &Server, recording: &Path, prefix: &str) {
    let folder = server.folder(prefix);
    fs::create_dir_all(folder.join("segments")).unwrap();
    fs::copy(recording.join("manifest.json"), folder.join("manifest.json")).unwrap();
    for entry in fs::read_dir(recording.join("segments")).unwrap().flatten() {
        fs::copy(entry.path(), folder.join("segments").join(entry.file_name())).unwrap();
    }
}

/// Every file below a folder, with its content, without what the server keeps for itself.
fn objects(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(root, &entry.path(), found);
            } else if !entry.file_name().to_string_lossy().starts_with('.') {
                let name = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

fn events(offsets: std::ops::Range<i64>, filler_bytes: usize) -> rehearsal::recording::EventBatch {
    let mut batch = EventBatchBuilder::new();
    for offset in offsets {
        // Of some length that nothing makes short: a segment of a hundred is uploaded in parts.
        let mut state = offset as u64 + 1;
        let mut filler = String::new();
        while filler.len() < filler_bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let _ = write!(filler, "{state:016x}");
        }
        let value = format!("{{\"number\":{offset},\"filler\":\"{filler}\"}}").into_bytes();
        batch.push_event(&Event { topic: "t".to_owned(), offset, value: Some(value), ..Event::default() });
    }
    batch.finish()
}

/// What children do: a job in the environment, its words parted by blanks.
///
/// `write ADDRESS EVENTS [take-over]` writes events of one partition to a recording that may have been begun, each of them
/// acknowledged before the next one, so that segments are short; then seals it. It says what is acknowledged.
///
/// `slice ADDRESS TIMES` writes a slice, and stops when it is asked for so many times whether to go on.
#[test]
fn the_child() {
    let Ok(job) = std::env::var("REHEARSAL_STORE_CHILD") else { return };
    let words: Vec<&str> = job.split(' ').collect();
    let target = Target::from(Location::parse(words[1]).unwrap())
        .in_parts_of(5 << 20)
        .with_retries(2, Duration::from_secs(20))
        .taking_over(words.contains(&"take-over"));
    let last: i64 = words[2].parse().unwrap();
    if words[0] == "slice" {
        let (mut asked, half) = (0, SliceSettings { share: Some(0.5), ..SliceSettings::default() });
        let mut go_on = |_: &SliceReport| {
            asked += 1;
            asked < last
        };
        return match slice(&Recording::open(small()).unwrap(), &half, &target, &mut go_on) {
            Ok(_) => say("whole"),
            Err(error) => say(&error.to_string()),
        };
    }
    match write_to(&target, last) {
        Ok(()) => say("sealed"),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            say(&format!("{error}: {source}"));
        }
    }
}

fn write_to(target: &Target, last: i64) -> Result<(), RecordingError> {
    let mut writer = match RecordingWriter::standing(target)? {
        Standing::Nothing => {
            let topic = TopicSource { name: "t".to_owned(), partitions: 1, ..TopicSource::default() };
            RecordingWriter::create(target, Source { topics: vec![topic], ..Source::default() })?
        }
        Standing::Unsealed => RecordingWriter::resume(target)?.0,
        Standing::Sealed => return Ok(()),
    };
    let mut next = writer.next_offset("t", 0).unwrap_or(0);
    while next < last {
        // An offset without an event, in the middle of a segment.
        if next == 120 {
            writer.missing("t", 0, MissingOffsets { first: 120, last: 120, cause: GapCause::Compaction });
            next += 1;
        }
        writer.write(&events(next..next + 1, 130_000))?;
        writer.checkpoint()?;
        next += 1;
        say(&next.to_string());
    }
    writer.seal().map(drop)
}

/// Says a word to the parent.
fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n@ {word}").and_then(|()| out.flush()).unwrap();
}

/// What a child said last.
fn last_word(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().rev().find_map(|line| line.strip_prefix("@ ")).unwrap_or_default().to_owned()
}

/// Highest offset that children said to be acknowledged.
fn acknowledged(output: &Output) -> i64 {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter_map(|line| line.strip_prefix("@ ")?.parse().ok()).max().unwrap_or(0)
}

/// Holds a recording in the store against what was to be written: each event once, and nothing else beside it.
fn holds_all(server: &Server, prefix: &str, last: i64) {
    let folder = server.folder(prefix);
    let recording = Recording::open(&folder).unwrap();
    assert_eq!(recording.verify().unwrap(), [], "{prefix}");
    let mut offsets = Vec::new();
    for batch in recording.batches(Columns::ALL) {
        offsets.extend(batch.unwrap().iter().map(|event| event.offset));
    }
    assert_eq!(offsets, (0..last).filter(|offset| *offset != 120).collect::<Vec<_>>(), "{prefix}");
    let others: Vec<String> = objects(&folder).into_keys().filter(|name| !name.starts_with("segments/")).collect();
    assert_eq!(others, ["manifest.json"], "{prefix}");
}

fn every_command_that_reads_a_recording_reads_it_from_a_store(kind: Kind) {
    let server = Server::start(kind);
    put(&server, &small(), "a/small");
    let machine = Machine::of(&server);
    let small_text = small().display().to_string();
    for arguments in [&["inspect", "RECORDING", "--json"][..], &["inspect", "RECORDING", "--verify", "--json"]] {
        let of = |recording: &str| -> Json {
            let arguments = arguments.iter().map(|word| if *word == "RECORDING" { recording } else { *word });
            let mut told: Json = serde_json::from_str(&machine.run(0, arguments).0).unwrap();
            assert_eq!(told["recording"], recording);
            told["recording"] = Json::Null;
            told
        };
        assert_eq!(of(&server.address("a/small")), of(&small_text));
    }
    let events = |recording: &str| machine.run(0, ["inspect", recording, "--events"]).0;
    assert_eq!(events(&server.address("a/small")), events(&small_text));
    let drafted = machine.run(0, ["init", &server.address("a/small"), "--out", "-"]).0;
    assert!(drafted.contains(&format!("recording = \"{}\"", server.address("a/small"))), "{drafted}");
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("outcome");
    let replayed = ["replay", &server.address("a/small"), "--out", out.to_str().unwrap(), "--json", "--"];
    machine.run(0, replayed.into_iter().chain(["cat"]));
    assert!(out.join("ending.json").is_file());
}

fn a_scenario_runs_on_a_recording_in_a_store_and_its_report_names_the_address(kind: Kind) {
    let server = Server::start(kind);
    put(&server, &small(), "small");
    let machine = Machine::of(&server);
    let folder = TempDir::new().unwrap();
    let scenario = folder.path().join("scenario.toml");
    let text = |recording: &str| {
        format!(
            "recording = \"{recording}\"\n[pace]\nmode = \"unpaced\"\n[old]\ncommand = [\"cat\"]\n[new]\ncommand = [\"cat\"]\n\
             [drive]\npayload = \"envelope\"\n"
        )
    };
    fs::write(&scenario, text(&server.address("small"))).unwrap();
    let scenario_text = scenario.to_str().unwrap();
    let planned: Json = serde_json::from_str(&machine.run(0, ["plan", scenario_text, "--json"]).0).unwrap();
    assert_eq!(planned["plan"]["deliveries"], 300);
    let out = folder.path().join("run");
    let run = machine.run(0, ["run", scenario_text, "--out", out.to_str().unwrap(), "--json"]).0;
    let run: Json = serde_json::from_str(&run).unwrap();
    assert_eq!((&run["verdict"], &run["recording"]["path"]), (&"agree".into(), &server.address("small").into()));
    for file in objects(&out).into_values() {
        let text = String::from_utf8_lossy(&file);
        assert!(!text.contains(SECRET) && !text.contains(KEY));
    }
    // What is wrong with the address is wrong with the key; a store that fails is nobody's mistake.
    for (recording, code, said) in [
        (server.address("none"), 2, "manifest.json is missing"),
        (server.address("small?x=1"), 2, "the address holds a query"),
        ("ftp://recordings/small".to_owned(), 2, "`ftp://` is no store"),
    ] {
        fs::write(&scenario, text(&recording)).unwrap();
        let errors = machine.run(code, ["plan", scenario_text]).1;
        assert!(errors.contains(said) && errors.contains("scenario.toml:1:"), "{errors}");
    }
    fs::write(&scenario, text(&server.address("small"))).unwrap();
    server.about_each(|_| Act::Answer(403, "AccessDenied"));
    let errors = machine.run(2, ["plan", scenario_text]).1;
    assert!(errors.contains("the store refuses access (403 Forbidden AccessDenied)"), "{errors}");
}

fn a_slice_and_an_import_are_in_the_store_whole_or_not_at_all(kind: Kind) {
    let server = Server::start(kind);
    put(&server, &small(), "small");
    let machine = Machine::of(&server);
    let folder = TempDir::new().unwrap();
    let local = folder.path().join("slice");
    let sliced = |out: &str| machine.run(0, ["slice", &server.address("small"), "--share", "0.5", "--out", out]);
    sliced(&server.address("half"));
    sliced(local.to_str().unwrap());
    let half = Recording::open(server.folder("half")).unwrap();
    assert_eq!(same_events(&half, &Recording::open(&local).unwrap()).unwrap(), None);
    assert_eq!(half.verify().unwrap(), []);
    let lines = folder.path().join("small.ndjson");
    let events = machine.run(0, ["inspect", &server.address("small"), "--events"]).0;
    fs::write(&lines, events).unwrap();
    let import = |code: i32, prefix: &str| {
        machine.run(code, ["import", lines.to_str().unwrap(), "--format", "kcat", "--out", &server.address(prefix)])
    };
    server.calls();
    import(0, "deep/er/imported");
    assert_eq!(Recording::open(server.folder("deep/er/imported")).unwrap().len(), 300);
    // The manifest comes behind everything that it names.
    let written: Vec<String> =
        server.calls().into_iter().filter(|call| call.method == Method::PUT).map(|call| call.object).collect();
    let at = |name: &str| written.iter().position(|object| object.ends_with(name)).unwrap();
    assert!(at("segments/000000.parquet") < at("manifest.json"), "{written:?}");
    // What is there stays.
    let before = objects(&server.folder(""));
    for prefix in ["half", "small"] {
        let errors = import(2, prefix).1;
        assert!(errors.contains("exists and is not empty") && errors.contains("--out"), "{errors}");
    }
    fs::create_dir_all(server.folder("other")).unwrap();
    fs::write(server.folder("other/notes.txt"), "mine").unwrap();
    assert!(import(2, "other").1.contains("exists and is not empty"));
    fs::remove_dir_all(server.folder("other")).unwrap();
    assert_eq!(objects(&server.folder("")), before);
    assert_eq!(machine.spools(), Vec::<String>::new());
    // An upload that fails leaves nothing behind.
    server.about_each(|call| {
        if call.object.ends_with(".parquet") && call.writes() { Act::Answer(403, "AccessDenied") } else { Act::Pass }
    });
    let errors = import(2, "refused").1;
    assert!(errors.contains("could not upload") && errors.contains("403 Forbidden AccessDenied"), "{errors}");
    server.about_each(|_| Act::Pass);
    assert_eq!(objects(&server.folder("")), before);
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn a_slice_that_is_told_to_stop_while_it_is_uploaded_leaves_nothing(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let mut uploaded = 0;
    for times in 1..20 {
        server.calls();
        let said = last_word(&machine.child(&format!("slice {} {times}", server.address("half"))).output().unwrap());
        uploaded += usize::from(server.calls().iter().any(|call| call.writes() && call.object.ends_with(".parquet")));
        if said == "whole" {
            // Once it was stopped with its segment in the store already, and the last time it was not stopped.
            assert_eq!(uploaded, 2, "{times}");
            assert_eq!(Recording::open(server.folder("half")).unwrap().verify().unwrap(), []);
            return;
        }
        assert_eq!(said, "stopped before the slice was whole; nothing is left of it", "{times}");
        assert_eq!(objects(&server.folder("")), BTreeMap::new(), "{times}");
        assert_eq!(machine.spools(), Vec::<String>::new(), "{times}");
    }
    panic!("it never came to its end");
}

/// Runs a command that is killed at its first, second and so on request that writes, ahead of it or once it was done, until it is
/// no longer killed; `check` is told how far it got, `prefix` is another one each time.
fn killed_at_each(
    server: &Server,
    only: impl Fn(&server::Call) -> bool + Clone + Send + 'static,
    mut check: impl FnMut(&str, &Victim, Box<dyn Fn() -> bool>),
) -> usize {
    let mut kills = 0;
    for at in 0.. {
        let (victim, calls) = (Victim::default(), Arc::new(AtomicUsize::new(0)));
        let was_killed = Arc::new(AtomicBool::new(false));
        let (killing, seen, done, only) = (victim.clone(), Arc::clone(&calls), Arc::clone(&was_killed), only.clone());
        server.about_each(move |call| {
            if done.load(Ordering::SeqCst) || !only(call) || seen.fetch_add(1, Ordering::SeqCst) != at {
                return Act::Pass;
            }
            done.store(true, Ordering::SeqCst);
            killing.kill();
            Act::Cut
        });
        let was = Arc::clone(&was_killed);
        check(&format!("killed-{at}"), &victim, Box::new(move || was.load(Ordering::SeqCst)));
        if !was_killed.load(Ordering::SeqCst) {
            break;
        }
        kills += 1;
    }
    kills
}

fn a_writer_killed_at_any_write_to_the_store_goes_on_without_loss_and_without_a_repetition(kind: Kind) {
    const LAST: i64 = 135;
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let kills = killed_at_each(&server, server::Call::writes, |prefix, victim, was_killed| {
        let job = format!("write {} {LAST}", server.address(prefix));
        let first = victim.run(&mut machine.child(&job));
        let kept = acknowledged(&first);
        if was_killed() {
            // Nothing is a recording before it is sealed.
            let sealed = Recording::open(server.folder(prefix)).is_ok();
            assert!(!sealed || kept == LAST, "{prefix}");
            let again = victim.run(&mut machine.child(&job));
            assert_eq!(last_word(&again), "sealed", "{prefix}: {again:?}");
            let begun =
                String::from_utf8_lossy(&again.stdout).lines().find_map(|line| line.strip_prefix("@ ")?.parse().ok());
            assert!(begun.is_none_or(|begun: i64| begun > kept), "{prefix}: {kept} were acknowledged, {begun:?}");
        } else {
            assert_eq!(last_word(&first), "sealed", "{first:?}");
        }
        holds_all(&server, prefix, LAST);
    });
    assert!(kills >= 20, "{kills}");
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn a_capture_killed_at_any_write_to_the_store_goes_on_with_the_same_command(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let whole = Recording::open(small()).unwrap();
    let broker = Broker::start_for(&whole).unwrap();
    fill(broker.brokers(), &whole, &mut |_| {}).unwrap();
    let writes = |call: &server::Call| call.writes();
    let kills = killed_at_each(&server, writes, |prefix, victim, was_killed| {
        let out = server.address(prefix);
        let capture = ["capture", "--brokers", broker.brokers(), "--topic", "payments", "--out", &out];
        let first = victim.run(&mut machine.program(capture));
        if was_killed() {
            // Sealed already, it is refused; else it goes on.
            let again = victim.run(&mut machine.program(capture));
            let sealed = String::from_utf8_lossy(&again.stderr).contains("is a recording that is sealed");
            ended(&again, if sealed { 2 } else { 0 });
        } else {
            let (said, notes) = ended(&first, 0);
            assert!(said.contains("Captured 300 events") && said.contains(&out), "{said}");
            assert!(notes.contains(&format!("rehearsal/spool/{}-recordings-killed-", kind.scheme())), "{notes}");
        }
        let captured = Recording::open(server.folder(prefix)).unwrap();
        assert_eq!(same_events(&whole, &captured).unwrap(), None, "{prefix}");
        assert_eq!(captured.verify().unwrap(), [], "{prefix}");
        let left = objects(&server.folder(prefix));
        assert!(!left.contains_key("writer.json"), "{prefix}: {:?}", left.keys());
    });
    assert!(kills >= 8, "{kills}");
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn an_import_killed_at_any_write_is_made_again_and_was_never_seen(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let lines = small().with_extension("ndjson");
    let kills = killed_at_each(&server, server::Call::writes, |prefix, victim, was_killed| {
        let out = server.address(prefix);
        let import = ["import", lines.to_str().unwrap(), "--out", &out];
        let first = victim.run(&mut machine.program(import));
        if was_killed() {
            let again = victim.run(&mut machine.program(import));
            let there = String::from_utf8_lossy(&again.stderr).contains("exists and is not empty");
            assert_eq!(there, Recording::open(server.folder(prefix)).is_ok() && again.status.code() == Some(2));
            ended(&again, if there { 2 } else { 0 });
        } else {
            ended(&first, 0);
        }
        assert_eq!(Recording::open(server.folder(prefix)).unwrap().len(), 300, "{prefix}");
        // Nor is anything left of the way to it.
        let left: Vec<String> = objects(&server.folder(prefix)).into_keys().collect();
        assert_eq!(left, ["manifest.json", "segments/000000.parquet"], "{prefix}");
        assert_eq!(machine.spools(), Vec::<String>::new(), "{prefix}");
    });
    assert!(kills >= 6, "{kills}");
}

fn a_lost_spool_is_gone_on_without_from_what_the_store_holds(kind: Kind) {
    let server = Server::start(kind);
    let (lost, other) = (Machine::of(&server), Machine::of(&server));
    let job = format!("write {} 250", server.address("lost"));
    // Two segments are in the store; the third one is on the machine that is lost.
    let (victim, killer) = (Victim::default(), Victim::default());
    let seen = victim.clone();
    let mut uploads = 0;
    server.about_each(move |call| {
        // The last word of an upload in parts.
        let ends = call.ends_parts();
        uploads += usize::from(call.answered && call.object.ends_with("000001.parquet") && ends);
        if uploads > 0 && call.object.ends_with("manifest.json") && call.writes() && call.answered {
            seen.kill();
            return Act::Cut;
        }
        Act::Pass
    });
    victim.run(&mut lost.child(&job));
    server.about_each(|_| Act::Pass);
    let refused = last_word(&killer.run(&mut other.child(&job)));
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    assert!(refused.contains("is being written by process") && refused.contains(&*host), "{refused}");
    // The program says what to do about it.
    let errors = other.run(2, ["inspect", &server.address("lost"), "--rebuild"]).1;
    assert!(errors.contains("is being written by process") && errors.contains("--take-over"), "{errors}");
    let again = killer.run(&mut other.child(&format!("{job} take-over")));
    assert_eq!(last_word(&again), "sealed");
    let begun = String::from_utf8_lossy(&again.stdout).lines().find_map(|line| line.strip_prefix("@ ")?.parse().ok());
    assert_eq!(begun, Some(202), "two segments of a hundred events, and an offset without one");
    holds_all(&server, "lost", 250);
    // The machine comes back: its spool holds what was written again elsewhere, and is not mixed with it.
    let back = victim.run(&mut lost.child(&job));
    assert_eq!(last_word(&back), "sealed");
    holds_all(&server, "lost", 250);
}

fn of_two_writers_the_one_that_was_taken_over_from_writes_nothing_any_more(kind: Kind) {
    let server = Server::start(kind);
    let (slow, quick) = (Machine::of(&server), Machine::of(&server));
    let held = Arc::new((Mutex::new((false, false)), Condvar::new()));
    let watch = Arc::clone(&held);
    let mut first = true;
    server.about_each(move |call| {
        // The first segment's upload is over but for the last word: there the slow one waits until it is let go.
        let last_word = call.method == Method::GET && call.object.ends_with("writer.json") && !call.answered;
        if last_word && first {
            first = false;
            let watch = Arc::clone(&watch);
            watch.0.lock().unwrap().0 = true;
            watch.1.notify_all();
        }
        Act::Pass
    });
    let address = server.address("taken");
    let (slow_victim, quick_victim) = (Victim::default(), Victim::default());
    let (slow_said, quick_said) = std::thread::scope(|scope| {
        let slow_one = scope.spawn(|| slow_victim.run(&mut slow.child(&format!("write {address} 4000"))));
        let mut state = held.0.lock().unwrap();
        while !state.0 {
            state = held.1.wait(state).unwrap();
        }
        drop(state);
        let quick_one = quick_victim.run(&mut quick.child(&format!("write {address} 230 take-over")));
        (slow_one.join().unwrap(), quick_one)
    });
    assert_eq!(last_word(&quick_said), "sealed", "{quick_said:?}");
    let slow_end = last_word(&slow_said);
    assert!(slow_end.contains("is being written by process") || slow_end.contains("no longer ours"), "{slow_end}");
    let folder = server.folder("taken");
    let recording = Recording::open(&folder).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    // Of the slow one at most the upload that was under way has come, under a name of its own.
    let named: Vec<String> = recording.manifest().segments.iter().map(|segment| segment.file.clone()).collect();
    let others = objects(&folder).into_keys().filter(|name| name.starts_with("segments/") && !named.contains(name));
    assert!(others.count() <= 1, "{named:?}");
}

fn a_spool_that_others_have_gone_on_without_is_refused_by_name(kind: Kind) {
    let server = Server::start(kind);
    let (stale, other) = (Machine::of(&server), Machine::of(&server));
    let (address, victim) = (server.address("stale"), Victim::default());
    killed_where(&server, &mut stale.child(&format!("write {address} 100")), false, |call| {
        call.object.ends_with("000000.parquet")
    });
    // Elsewhere the same events come to the store under another name.
    let elsewhere = format!("write {address} 130 take-over");
    killed_where(&server, &mut other.child(&elsewhere), false, |call| call.object.ends_with("000002.parquet"));
    let before = objects(&server.folder("stale/segments"));
    assert_eq!(before.keys().collect::<Vec<_>>(), ["000001.parquet"]);
    let refused = last_word(&victim.run(&mut stale.child(&format!("write {address} 100 take-over"))));
    assert!(refused.contains("was gone on with from elsewhere") && refused.contains("000000.parquet"), "{refused}");
    let spool = stale.state.path().join("rehearsal/spool").join(&stale.spools()[0]);
    assert!(spool.join("recording/segments/000000.parquet").exists(), "both are kept");
    assert_eq!(objects(&server.folder("stale/segments")), before);
    // Whoever has gone on with it goes on.
    assert_eq!(last_word(&victim.run(&mut other.child(&elsewhere))), "sealed");
    holds_all(&server, "stale", 130);
}

/// Has a writer killed at its first request that writes and that `at` picks, ahead of its answer or (`answered`) behind it.
fn killed_where(
    server: &Server,
    writer: &mut Command,
    answered: bool,
    at: impl Fn(&server::Call) -> bool + Send + 'static,
) -> Output {
    let victim = Victim::default();
    let killer = victim.clone();
    server.about_each(move |call| {
        if call.writes() && call.answered == answered && at(call) {
            killer.kill();
            return Act::Cut;
        }
        Act::Pass
    });
    let output = victim.run(writer);
    server.about_each(|_| Act::Pass);
    output
}

fn a_store_that_ignores_conditions_holds_off_a_second_writer_too(kind: Kind) {
    let server = Server::start(kind);
    let (first, second) = (Machine::of(&server), Machine::of(&server));
    let job = format!("write {} 150", server.address("ignored"));
    killed_where(&server, &mut first.child(&job), false, |call| call.object.ends_with(".parquet"));
    // Whatever is to be made is made, as if nothing had been there.
    let claim = server.folder("ignored/writer.json");
    server.about_each(move |call| {
        if call.method == Method::PUT && call.object.ends_with("writer.json") && !call.answered {
            let _ = fs::remove_file(&claim);
        }
        Act::Pass
    });
    let refused = last_word(&Victim::default().run(&mut second.child(&job)));
    assert!(refused.contains("is being written by process"), "{refused}");
    assert_eq!(second.spools(), Vec::<String>::new());
}

fn a_claim_that_is_there_when_made_and_gone_when_read_ends_in_an_error(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    server.about_each(|call| match (&call.method, call.object.ends_with("writer.json")) {
        (&Method::PUT, true) => Act::Answer(412, "PreconditionFailed"),
        (_, true) => Act::Answer(404, "NoSuchKey"),
        _ => Act::Pass,
    });
    let refused = last_word(&Victim::default().run(&mut machine.child(&format!("write {} 10", server.address("odd")))));
    assert!(refused.contains("could not write") && refused.contains("writer.json"), "{refused}");
}

fn an_import_that_fails_leaves_what_belongs_to_whoever_took_over(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let folder = server.folder("lost-to");
    let theirs = folder.clone();
    server.about_each(move |call| {
        if !call.object.ends_with(".parquet") || !call.writes() {
            return Act::Pass;
        }
        let claim = theirs.join("writer.json");
        let mut says: Json = serde_json::from_slice(&fs::read(&claim).unwrap()).unwrap();
        says["token"] = "theirs".into();
        fs::write(&claim, says.to_string()).unwrap();
        fs::create_dir_all(theirs.join("segments")).unwrap();
        fs::write(theirs.join("segments/000001.parquet"), "theirs").unwrap();
        Act::Answer(403, "AccessDenied")
    });
    let lines = small().with_extension("ndjson");
    let errors = machine.run(2, ["import", lines.to_str().unwrap(), "--out", &server.address("lost-to")]).1;
    assert!(errors.contains("403 Forbidden AccessDenied"), "{errors}");
    let left: Vec<String> = objects(&folder).into_keys().collect();
    assert_eq!(left, ["segments/000001.parquet", "writer.json"]);
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn whoever_took_over_leaves_the_other_ones_last_name_alone_after_a_kill_too(kind: Kind) {
    let server = Server::start(kind);
    let (slow, quick) = (Machine::of(&server), Machine::of(&server));
    let job = format!("write {} 150", server.address("names"));
    let parquet = |call: &server::Call| call.object.ends_with(".parquet");
    let claim = |call: &server::Call| call.object.ends_with("writer.json");
    killed_where(&server, &mut slow.child(&job), false, parquet);
    // Killed as soon as it has the right, ahead of anything of its own.
    killed_where(&server, &mut quick.child(&format!("{job} take-over")), true, claim);
    assert_eq!(last_word(&Victim::default().run(&mut quick.child(&job))), "sealed");
    holds_all(&server, "names", 150);
    let named: Vec<String> = objects(&server.folder("names/segments")).into_keys().collect();
    assert!(!named.contains(&"000000.parquet".to_owned()) && !named.is_empty(), "{named:?}");
}

fn a_capture_in_the_place_of_a_killed_import_says_that_its_events_count(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let out = server.address("instead");
    let claim = server.folder("instead/writer.json");
    let counts = || -> Json { serde_json::from_slice::<Json>(&fs::read(&claim).unwrap()).unwrap()["whole"].clone() };
    // What takes away the import's segment is another matter.
    let parquet = |call: &server::Call| call.object.ends_with(".parquet") && call.method != Method::DELETE;
    let lines = small().with_extension("ndjson");
    let import = ["import", lines.to_str().unwrap(), "--out", &out];
    killed_where(&server, &mut machine.program(import), true, parquet);
    assert_eq!(counts(), true);
    let job = format!("write {out} 150");
    killed_where(&server, &mut machine.child(&job), false, parquet);
    assert_eq!(counts(), false);
    assert_eq!(last_word(&Victim::default().run(&mut machine.child(&job))), "sealed");
    holds_all(&server, "instead", 150);
}

fn a_claim_that_was_written_before_the_store_failed_is_gone_on_with(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let job = format!("write {} 150", server.address("claimed"));
    let mut writes = 0;
    server.about_each(move |call| {
        writes += usize::from(call.method == Method::PUT && !call.answered);
        if writes == 2 { Act::Answer(403, "AccessDenied") } else { Act::Pass }
    });
    let failed = last_word(&Victim::default().run(&mut machine.child(&job)));
    assert!(failed.contains("could not write") && failed.contains("403"), "{failed}");
    assert!(server.folder("claimed/writer.json").exists());
    server.about_each(|_| Act::Pass);
    assert_eq!(last_word(&Victim::default().run(&mut machine.child(&job))), "sealed");
    holds_all(&server, "claimed", 150);
}

fn an_upload_that_ends_after_its_writer_was_taken_over_from_is_left_out(kind: Kind) {
    let server = Server::start(kind);
    let (slow, quick) = (Machine::of(&server), Machine::of(&server));
    let job = format!("write {} 150", server.address("late"));
    let parquet = |call: &server::Call| call.object.ends_with(".parquet");
    killed_where(&server, &mut slow.child(&job), false, parquet);
    let spool = slow.state.path().join("rehearsal/spool").join(&slow.spools()[0]);
    let late = fs::read(spool.join("recording/segments/000000.parquet")).unwrap();
    // It ends while the one that took over holds its own segment in the spool alone, or in the store already.
    for at in ["000001.parquet", "000002.parquet"] {
        let take_over = format!("{job} take-over");
        killed_where(&server, &mut quick.child(&take_over), false, move |call| call.object.ends_with(at));
        fs::create_dir_all(server.folder("late/segments")).unwrap();
        fs::write(server.folder("late/segments/000000.parquet"), &late).unwrap();
    }
    assert_eq!(last_word(&Victim::default().run(&mut quick.child(&job))), "sealed");
    // Whoever copies all of it to a folder is told of what is no part of it.
    let problems = Recording::open(server.folder("late")).unwrap().verify().unwrap();
    assert!(problems.len() == 1 && problems[0].file.ends_with("segments/000000.parquet"), "{problems:?}");
    fs::remove_file(server.folder("late/segments/000000.parquet")).unwrap();
    holds_all(&server, "late", 150);
}

fn a_segment_that_came_to_the_store_damaged_does_not_take_the_good_one_out_of_the_spool(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let (address, victim) = (server.address("damaged"), Victim::default());
    let job = format!("write {address} 150");
    let object = server.folder("damaged/segments/000000.parquet");
    killed_where(&server, &mut machine.child(&job), false, |call| call.object.ends_with("manifest.json"));
    let sound = fs::read(&object).unwrap();
    let mut damaged = sound.clone();
    damaged[40] ^= 1;
    fs::write(&object, &damaged).unwrap();
    let spool = machine.state.path().join("rehearsal/spool").join(&machine.spools()[0]);
    let kept = spool.join("recording/segments/000000.parquet");
    let refused = machine.run(2, ["inspect", &address, "--rebuild"]).1;
    assert!(refused.contains("is damaged in the store") && refused.contains("000000.parquet"), "{refused}");
    assert!(fs::read(&kept).unwrap() == sound, "the only good copy");
    // Once the bad one is gone, the good one comes in its place.
    fs::remove_file(&object).unwrap();
    assert_eq!(last_word(&victim.run(&mut machine.child(&job))), "sealed");
    holds_all(&server, "damaged", 150);
}

fn a_store_that_fails_ends_a_capture_that_goes_on_once_it_is_back(kind: Kind) {
    for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (403, "AccessDenied")] {
        let server = Server::start(kind);
        let machine = Machine::of(&server);
        let prefix = format!("fails-{status}");
        let job = format!("write {} 230", server.address(&prefix));
        server.about_each(move |call| {
            if call.writes() && call.object.ends_with(".parquet") && !call.answered {
                Act::Answer(status, code)
            } else {
                Act::Pass
            }
        });
        let victim = Victim::default();
        let failed = victim.run(&mut machine.child(&job));
        let word = last_word(&failed);
        assert!(
            word.contains("could not upload") && word.contains(&status.to_string()) && word.contains(code),
            "{word}"
        );
        assert!(!String::from_utf8_lossy(&failed.stdout).contains(SECRET));
        let kept = acknowledged(&failed);
        assert!(kept >= 100, "{kept}");
        server.about_each(|_| Act::Pass);
        let again = victim.run(&mut machine.child(&job));
        assert_eq!(last_word(&again), "sealed");
        let begun =
            String::from_utf8_lossy(&again.stdout).lines().find_map(|line| line.strip_prefix("@ ")?.parse().ok());
        assert!(begun.is_none_or(|begun: i64| begun > kept), "{kept} {begun:?}");
        holds_all(&server, &prefix, 230);
    }
}

fn a_store_that_is_away_for_a_while_is_told_of_and_waited_for(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let whole = Recording::open(small()).unwrap();
    let broker = Broker::start_for(&whole).unwrap();
    fill(broker.brokers(), &whole, &mut |_| {}).unwrap();
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    server.about_each(move |call| {
        let fails = call.writes() && call.object.ends_with(".parquet") && !call.answered;
        if fails && !back.load(Ordering::SeqCst) { Act::Answer(503, "SlowDown") } else { Act::Pass }
    });
    let out = server.address("away");
    let mut capture = machine.program(["capture", "--brokers", broker.brokers(), "--topic", "payments", "--json"]);
    capture.args(["--out", &out]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = capture.spawn().unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(running.stdout.take().unwrap()).lines() {
        let line: Json = serde_json::from_str(&line.unwrap()).unwrap();
        let step = line["event"].as_str().unwrap_or_default().to_owned();
        if step == "unreachable" {
            is_back.store(true, Ordering::SeqCst);
        }
        if ["unreachable", "reachable", "sealed"].contains(&&*step) {
            told.push((step, line["message"].as_str().unwrap_or_default().to_owned()));
        }
    }
    ended(&running.wait_with_output().unwrap(), 0);
    let steps: Vec<&str> = told.iter().map(|(step, _)| &**step).collect();
    assert_eq!(steps, ["unreachable", "reachable", "sealed"], "{told:?}");
    assert!(
        told[0].1.starts_with("The store has not answered for ") && told[1].1.starts_with("The store answers again")
    );
    assert_eq!(same_events(&whole, &Recording::open(server.folder("away")).unwrap()).unwrap(), None);
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn an_upload_whose_end_was_not_heard_of_is_done_where_the_object_is_whole_and_else_a_failure(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let ends = |call: &server::Call| call.ends_parts();
    let (status, code) = kind.no_upload();
    // Done, but the answer was lost: asked again, the store knows no such upload.
    server.about_each(move |call| if ends(call) && call.answered { Act::Answer(status, code) } else { Act::Pass });
    let written = machine.child(&format!("write {} 101", server.address("heard"))).output().unwrap();
    assert_eq!(last_word(&written), "sealed");
    assert!(server.calls().iter().any(ends), "nothing was uploaded in parts");
    holds_all(&server, "heard", 101);
    // Not done, and thrown away.
    server.about_each(move |call| if ends(call) { Act::Answer(status, code) } else { Act::Pass });
    let written = machine.child(&format!("write {} 101", server.address("lost"))).output().unwrap();
    let said = last_word(&written);
    assert!(said.contains(&format!("the store failed ({status} ")) && said.contains(code), "{said}");
    server.about_each(|_| Act::Pass);
    machine.child(&format!("write {} 101", server.address("lost"))).output().unwrap();
    holds_all(&server, "lost", 101);
}

fn connections_that_are_cut_now_and_then_are_made_again(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let mut count = 0;
    server.about_each(move |call| {
        count += usize::from(!call.answered);
        if !call.answered && count % 5 == 0 { Act::Cut } else { Act::Pass }
    });
    let written = Victim::default().run(&mut machine.child(&format!("write {} 230", server.address("cut"))));
    assert_eq!(last_word(&written), "sealed");
    holds_all(&server, "cut", 230);
    let (said, _) = machine.run(0, ["inspect", &server.address("cut"), "--verify"]);
    assert!(said.contains("every hash verified"), "{said}");
}

fn a_write_on_a_condition_that_was_cut_off_is_made_again(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    for file in ["writer.json", "manifest.json"] {
        for answered in [false, true] {
            let mut cuts = 0;
            server.about_each(move |call| {
                let cut = call.method == Method::PUT && call.object.ends_with(file) && call.answered == answered;
                cuts += usize::from(cut);
                if cut && cuts <= 2 { Act::Cut } else { Act::Pass }
            });
            let prefix = format!("{answered}-{file}");
            let written = machine.child(&format!("write {} 130", server.address(&prefix))).output().unwrap();
            assert_eq!(last_word(&written), "sealed", "{prefix}");
            holds_all(&server, &prefix, 130);
        }
    }
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn a_recording_that_was_cut_off_is_rebuilt_in_the_store(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let victim = Victim::default();
    let seen = victim.clone();
    server.about_each(move |call| {
        if call.object.ends_with("manifest.json") && call.writes() && call.answered {
            seen.kill();
            return Act::Cut;
        }
        Act::Pass
    });
    let kept = acknowledged(&victim.run(&mut machine.child(&format!("write {} 4000", server.address("cut-off")))));
    server.about_each(|_| Act::Pass);
    let errors = machine.run(2, ["inspect", &server.address("cut-off")]).1;
    assert!(errors.contains("is not whole yet") && errors.contains("--rebuild"), "{errors}");
    machine.run(0, ["inspect", &server.address("cut-off"), "--rebuild", "--verify"]);
    let recording = Recording::open(server.folder("cut-off")).unwrap();
    assert!(recording.len() as i64 >= kept - 1 && kept >= 100, "{} {kept}", recording.len());
    assert_eq!(recording.verify().unwrap(), []);
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn what_is_damaged_in_a_store_is_found_and_what_it_refuses_is_said(kind: Kind) {
    let server = Server::start(kind);
    put(&server, &small(), "small");
    let machine = Machine::of(&server);
    let segment = server.folder("small/segments/000000.parquet");
    let sound = fs::read(&segment).unwrap();
    let mut damaged = sound.clone();
    damaged[40] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    let errors = machine.run(2, ["inspect", &server.address("small"), "--verify"]).1;
    let wrong = format!("{}: wrong hash", server.address("small/segments/000000.parquet"));
    assert!(errors.contains(&wrong), "{errors}");
    fs::write(&segment, &sound[..sound.len() - 1]).unwrap();
    let errors = machine.run(2, ["inspect", &server.address("small")]).1;
    assert!(errors.contains("is cut or was changed"), "{errors}");
    fs::write(&segment, []).unwrap();
    let errors = machine.run(2, ["inspect", &server.address("small")]).1;
    assert!(errors.contains("is cut or was changed"), "{errors}");
    fs::remove_file(&segment).unwrap();
    let errors = machine.run(2, ["inspect", &server.address("small")]).1;
    assert!(errors.contains("the store has no such object (404"), "{errors}");
    fs::write(&segment, &sound).unwrap();
    for (prefix, code, said) in [
        (server.address("nothing"), 2, "manifest.json is missing"),
        (
            format!("{}://user:hunter2@recordings/small", kind.scheme()),
            2,
            "credentials and endpoints come from the environment",
        ),
        ("s4://recordings/small".to_owned(), 2, "`s4://` is no store"),
    ] {
        let errors = machine.run(code, ["inspect", &prefix]).1;
        assert!(errors.contains(said) && !errors.contains("hunter2"), "{errors}");
    }
    // Nothing is safe of what never began.
    let broker = Broker::start([("payments", 1)]).unwrap();
    let out = server.address("never");
    let errors = machine.run(2, ["capture", "--brokers", broker.brokers(), "--topic", "nope", "--out", &out]).1;
    assert!(errors.contains("`nope` does not exist") && !errors.contains("is safe in"), "{errors}");
    // Where there is no bucket, it is the bucket that is missing.
    let lines = small().with_extension("ndjson");
    let nobody = format!("{}://nobody/small", kind.scheme());
    let errors = machine.run(2, ["import", lines.to_str().unwrap(), "--out", &nobody]).1;
    let (bucket, code) =
        if kind == Kind::Azure { ("container", "ContainerNotFound") } else { ("bucket", "NoSuchBucket") };
    assert!(errors.contains(&format!("there is no such {bucket} (404 Not Found {code})")), "{errors}");
    assert_eq!(machine.spools(), Vec::<String>::new());
    // Credentials that are refused are whoever asks' to mend, as those of a broker are.
    let mut stranger = machine.program(["inspect", &server.address("small")]);
    stranger.env(kind.secret(), "YW5vdGhlci1zZWNyZXQ=");
    let errors = ended(&stranger.output().unwrap(), 2).1;
    let answer = match kind {
        Kind::S3 => "403 Forbidden SignatureDoesNotMatch",
        Kind::Google => "401 Unauthorized AuthenticationRequired",
        Kind::Azure => "403 Forbidden AuthenticationFailed",
    };
    assert!(errors.contains(&format!("refuses access ({answer})")), "{errors}");
    assert!(!errors.contains("YW5vdGhlci1zZWNyZXQ="), "{errors}");
    names_settings_of(kind, &errors);
    let mut nobody = machine.program(["inspect", &server.address("small")]);
    nobody.env(kind.endpoint(), "http://127.0.0.1:1");
    let errors = ended(&nobody.output().unwrap(), 4).1;
    assert!(errors.contains("the store does not answer") && errors.contains("Try again"), "{errors}");
    names_settings_of(kind, &errors);
}

/// Checks that a hint names settings of this kind of store, and of no other.
fn names_settings_of(kind: Kind, errors: &str) {
    for (other, start) in [(Kind::S3, "AWS_"), (Kind::Google, "GOOGLE_"), (Kind::Azure, "AZURE_")] {
        assert_eq!(errors.contains(start), other == kind, "{errors}");
    }
}

fn a_segment_that_ends_ahead_of_what_is_asked_for_is_damaged_and_the_store_is_well(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    machine.child(&format!("write {} 101", server.address("long"))).output().unwrap();
    let segment = server.folder("long/segments/000000.parquet");
    let length = fs::metadata(&segment).unwrap().len();
    for kept in [100_000, 0] {
        assert!(kept + (600 << 10) < length);
        fs::File::options().write(true).open(&segment).unwrap().set_len(kept).unwrap();
        let errors = machine.run(2, ["inspect", &server.address("long")]).1;
        assert!(errors.contains("is cut or was changed") && !errors.contains("Try again"), "{errors}");
    }
}

#[test]
fn what_is_set_so_that_no_store_can_be_asked_is_refused_by_name() {
    let server = Server::start(Kind::S3);
    put(&server, &small(), "small");
    let machine = Machine::of(&server);
    let asked = |name: &str, value: &str| {
        let mut inspect = machine.program(["inspect", &server.address("small")]);
        let errors = ended(&inspect.env(name, value).output().unwrap(), 2).1;
        assert!(errors.contains("the store cannot be asked"), "{name}={value}: {errors}");
        assert!(!errors.contains("hunter2") && !errors.contains("fault"), "{name}={value}: {errors}");
        errors
    };
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "localhost:9000"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("AWS_ENDPOINT_URL", "http://hunter2:99999"),
        ("AWS_ENDPOINT_URL", "http:hunter2"),
        ("AWS_ENDPOINT_URL", "http://hunter2 x"),
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_ENDPOINT_URL_S3", "ftp://hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2\n"),
        ("AWS_ACCESS_KEY_ID", "hunter2\n"),
        ("AWS_ACCESS_KEY_ID", "hunter2ü"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2\r\n"),
        ("AWS_REGION", "hunter2 x"),
    ] {
        let errors = asked(name, value);
        assert!(errors.contains(&format!("`{name}`")), "{name}={value}: {errors}");
    }
    // What the store's client refuses: its words, without the value, wherever that has quotes.
    for value in ["hunter2", "x\"hunter2", "\"hunter2\"", "a\" hunter2 ?\"hunter2"] {
        assert!(asked("AWS_UNSIGNED_PAYLOAD", value).contains("failed to parse"));
    }
    // A setting of another program's is none of this one's.
    let mut inspect = machine.program(["inspect", &server.address("small")]);
    ended(&inspect.env("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000").env("AWS_PROFILE", "a\n").output().unwrap(), 0);
}

#[test]
fn an_object_with_a_name_that_no_recording_s_has_is_something_else_and_no_outage() {
    let server = Server::start(Kind::S3);
    let machine = Machine::of(&server);
    let lines = machine.state.path().join("one.ndjson");
    fs::write(&lines, "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"value\":\"1\"}\n").unwrap();
    server.about_each(|call| {
        if !call.query.contains("list-type=2") {
            return Act::Pass;
        }
        Act::Say(
            "<ListBucketResult><Name>recordings</Name><Prefix>w/</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>\
             <IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>w//</Prefix></CommonPrefixes></ListBucketResult>",
        )
    });
    let import = ["import", lines.to_str().unwrap(), "--out", &server.address("w")];
    let errors = machine.run(2, import).1;
    assert!(
        errors.contains("s3://recordings/w") && errors.contains("a name that none of a recording's has"),
        "{errors}"
    );
    assert!(!errors.contains("does not answer"), "{errors}");
}

#[test]
fn what_only_a_store_has_is_refused_where_a_recording_is_written_to_a_folder() {
    let server = Server::start(Kind::S3);
    put(&server, &small(), "small");
    let machine = Machine::of(&server);
    let folder = TempDir::new().unwrap();
    let (out, spool) = (folder.path().join("out"), folder.path().join("spool"));
    let (out, spool) = (out.to_str().unwrap(), spool.to_str().unwrap());
    for option in [&["--spool", spool][..], &["--take-over"]] {
        let small = server.address("small");
        let slice = ["slice", &small, "--share", "0.5", "--out", out];
        let errors = machine.run(2, slice.iter().chain(option)).1;
        assert!(errors.contains(option[0]) && errors.contains("s3://"), "{errors}");
        let capture = ["capture", "--brokers", "127.0.0.1:1", "--topic", "t", "--out", out];
        assert!(machine.run(2, capture.iter().chain(option)).1.contains(option[0]));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn a_segment_is_scanned_with_few_requests(kind: Kind) {
    let server = Server::start(kind);
    let folder = TempDir::new().unwrap();
    let mut writer = RecordingWriter::create(folder.path(), Source::default()).unwrap();
    for group in 0..20 {
        writer.write(&events(group * 2_000..(group + 1) * 2_000, 32)).unwrap();
        writer.checkpoint().unwrap();
    }
    let manifest: Manifest = writer.seal().unwrap();
    assert_eq!(manifest.segments.len(), 1);
    put(&server, folder.path(), "long");
    let machine = Machine::of(&server);
    server.calls();
    let (events, _) = machine.run(0, ["inspect", &server.address("long"), "--events"]);
    assert_eq!(events.lines().count(), 40_000);
    let calls = server.calls();
    // The manifest, the footer, and one for each row group.
    assert!(calls.len() <= 2 + 20 + 2, "{} requests", calls.len());
    let (said, _) = machine.run(0, ["inspect", &server.address("long"), "--verify"]);
    assert!(said.contains("every hash verified"), "{said}");
    let verified = server.calls().len();
    assert!(verified <= 2 * 20 + 8, "{verified} requests");
}

#[test]
fn a_store_that_knows_no_conditions_is_written_to_and_the_capture_says_so() {
    let server = Server::start(Kind::S3);
    let machine = Machine::of(&server);
    let whole = Recording::open(small()).unwrap();
    let broker = Broker::start_for(&whole).unwrap();
    fill(broker.brokers(), &whole, &mut |_| {}).unwrap();
    let out = server.address("unconditional");
    let mut capture = machine.program(["capture", "--brokers", broker.brokers(), "--topic", "payments", "--out", &out]);
    capture.env("AWS_CONDITIONAL_PUT", "disabled");
    let (_, notes) = ended(&capture.output().unwrap(), 0);
    assert!(notes.contains("nothing holds off a second writer"), "{notes}");
    let captured = Recording::open(server.folder("unconditional")).unwrap();
    assert_eq!(same_events(&whole, &captured).unwrap(), None);
}

#[test]
fn what_azure_s_store_needs_is_asked_for_by_name() {
    let server = Server::start(Kind::S3);
    let machine = Machine::of(&server);
    let mut inspect = machine.program(["inspect", "az://container/recording"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AZURE_")) {
        inspect.env_remove(name);
    }
    let errors = ended(&inspect.output().unwrap(), 2).1;
    assert!(errors.contains("the store cannot be asked") && errors.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{errors}");
    // With what it needs it is asked, where the environment says it is.
    inspect.env("AZURE_STORAGE_ACCOUNT_NAME", "account").env("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0LWtleQ==");
    inspect.env("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1");
    let errors = ended(&inspect.output().unwrap(), 4).1;
    assert!(errors.contains("az://container/recording/manifest.json"), "{errors}");
    assert!(errors.contains("the store does not answer") && !errors.contains("c2VjcmV0"), "{errors}");
}

fn a_recording_is_masked_from_store_to_store(kind: Kind) {
    let server = Server::start(kind);
    put(&server, &small(), "open");
    let machine = Machine::of(&server);
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("mask.toml");
    fs::write(&policy, "[[rule]]\nvalue = [\"$..*\"]\nmethod = \"redact\"\n").unwrap();
    let mask =
        ["mask", &server.address("open"), "--policy", policy.to_str().unwrap(), "--out", &server.address("masked")];
    machine.run(0, mask);
    let masked = Recording::open(server.folder("masked")).unwrap();
    assert_eq!((masked.len(), masked.verify().unwrap()), (300, vec![]));
    assert!(
        masked.manifest().masks.iter().any(|mask| mask.what == "$..*" && mask.count.is_some_and(|count| count > 0))
    );
    let errors = machine.run(2, mask).1;
    assert!(errors.contains("exists and is not empty"), "{errors}");
    assert_eq!(machine.spools(), Vec::<String>::new());
}

fn a_capture_to_a_store_that_is_told_to_stop_is_sealed_there(kind: Kind) {
    let server = Server::start(kind);
    let machine = Machine::of(&server);
    let whole = Recording::open(small()).unwrap();
    let broker = Broker::start_for(&whole).unwrap();
    fill(broker.brokers(), &whole, &mut |_| {}).unwrap();
    let out = server.address("stopped");
    let spool = TempDir::new().unwrap();
    let folder = spool.path().join("named");
    let capture =
        ["capture", "--brokers", broker.brokers(), "--topic", "payments", "--follow", "--json", "--out", &out];
    let mut capture = machine.program(capture);
    capture.args(["--spool", folder.to_str().unwrap()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = capture.spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let progress = lines.by_ref().map(|line| serde_json::from_str::<Json>(&line.unwrap()).unwrap());
    let lags: Vec<(Json, u64)> = progress
        .map(|line| (line["event"].clone(), line["lag"].as_u64().unwrap(), line["events"].as_u64().unwrap()))
        .inspect(|(step, lag, events)| assert_eq!(lag + events, 300, "{step}"))
        .map(|(step, lag, _)| (step, lag))
        .take_while(|(step, _)| step != "caught-up")
        .collect();
    assert!(lags.first().is_some_and(|(step, lag)| step == "started" && *lag == 300), "{lags:?}");
    // Nothing is a recording yet, and what was captured lies where the command said.
    let errors = machine.run(2, ["inspect", &out]).1;
    let writes = format!("is not whole yet: process {} on ", running.id());
    assert!(errors.contains(&writes) && errors.contains("Read it once that has ended."), "{errors}");
    assert!(folder.join("recording/manifest.json").is_file());
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.last().is_some_and(|line| line.contains("\"summary\"")), "{rest:?}");
    assert!(running.wait().unwrap().success());
    let captured = Recording::open(server.folder("stopped")).unwrap();
    assert_eq!(same_events(&whole, &captured).unwrap(), None);
    assert!(!folder.exists());
}
