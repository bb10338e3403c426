//! What is captured: topics by name and pattern, roles, partitions, windows, and tables as they stood.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use rehearsal::capture::{
    CaptureEnding, CaptureError, CaptureProgress, CaptureReport, CaptureSettings, CaptureStep, Start, TopicChoice,
    Until, capture,
};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::plan::{Phase, Plan, PlanSettings, Seed, plan};
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Recording, RecordingWriter, Role, Source, TimestampType,
};
use rehearsal::samples::{Broker, fill};
use rehearsal::spill::SpillSpace;
use serde_json::Value as Json;
use tempfile::TempDir;

/// One event; without a value it is a tombstone.
fn event(topic: &str, partition: i32, offset: i64, key: &str, value: Option<&str>) -> Event {
    Event {
        topic: topic.to_owned(),
        partition,
        offset,
        timestamp_ms: Some(1_700_000_000_000 + offset * 1_000),
        timestamp_type: TimestampType::Create,
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        ..Event::default()
    }
}

/// A broker with `topics` (name and partitions) that holds `events`.
fn broker(topics: &[(&str, i32)], events: &[Event]) -> Broker {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let mut writer = RecordingWriter::create(&out, Source::default()).unwrap();
    let mut batch = EventBatchBuilder::new();
    for event in events {
        batch.push_event(event);
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    let broker = Broker::start(topics.iter().copied()).unwrap();
    fill(broker.brokers(), &Recording::open(&out).unwrap(), &mut |_| {}).unwrap();
    broker
}

fn settings(broker: &Broker, choices: &[(&str, Role)]) -> CaptureSettings {
    let mut settings = CaptureSettings::new(broker.brokers(), Vec::<String>::new());
    // The in-process broker waits the whole time it is allowed at the end of a partition.
    settings.properties.set("fetch.wait.max.ms", "10").unwrap();
    settings.topics = choices.iter().flat_map(|(text, role)| TopicChoice::parse(text, *role).unwrap()).collect();
    settings
}

fn captured(settings: &CaptureSettings) -> Result<(CaptureReport, Recording, TempDir), CaptureError> {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let report = capture(settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {})?;
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    assert_eq!(recording.len(), report.events);
    Ok((report, recording, folder))
}

/// Topic, partition and offset of every event, in order.
fn places(recording: &Recording) -> Vec<(String, i32, i64)> {
    let mut places = Vec::new();
    for batch in recording.batches(Columns::NONE) {
        places.extend(batch.unwrap().iter().map(|event| (event.topic.to_owned(), event.partition, event.offset)));
    }
    places.sort();
    places
}

fn of(topic: &str, partition: i32, offsets: impl IntoIterator<Item = i64>) -> Vec<(String, i32, i64)> {
    offsets.into_iter().map(|offset| (topic.to_owned(), partition, offset)).collect()
}

/// Five events in each of two partitions of three topics.
fn three_topics() -> Broker {
    let topics = ["flights-eu", "flights-us", "payments"];
    let places = topics.iter().flat_map(|topic| (0..2).map(move |partition| (topic, partition)));
    let events: Vec<Event> = places
        .flat_map(|(topic, partition)| (0..5).map(move |offset| event(topic, partition, offset, "k", Some("v"))))
        .collect();
    broker(&topics.map(|topic| (topic, 2)), &events)
}

#[test]
fn topics_are_taken_by_name_list_and_pattern_each_with_its_role() {
    let broker = three_topics();
    let (_, recording, _folder) =
        captured(&settings(&broker, &[("^flights-", Role::Input), ("payments:1", Role::Output)])).unwrap();
    let all: Vec<_> = ["flights-eu", "flights-us"]
        .iter()
        .flat_map(|topic| [of(topic, 0, 0..5), of(topic, 1, 0..5)].concat())
        .chain(of("payments", 1, 0..5))
        .collect();
    assert_eq!(places(&recording), all);
    let source = &recording.manifest().source;
    let roles: Vec<_> = source.topics.iter().map(|topic| (topic.name.as_str(), topic.role, topic.partitions)).collect();
    let expected = [("flights-eu", Role::Input, 2), ("flights-us", Role::Input, 2), ("payments", Role::Output, 2)];
    assert_eq!(roles, expected);
    assert_eq!(source.isolation.as_deref(), Some("read_committed"));
}

#[test]
fn what_is_chosen_wrongly_is_named() {
    let broker = three_topics();
    let input = Role::Input;
    for (choices, partition, says) in [
        (&[("^order", input)][..], None, "no topic matches `^order`"),
        (
            &[("flights-us", input), ("flights-us", Role::Table)],
            None,
            "`flights-us` is named as an input and as a table",
        ),
        (&[("payments:2", input)], None, "topic `payments` has no partition 2; it has 2"),
        (&[("payments", input)], Some(7), "topic `payments` has no partition 7"),
        (&[("payment", input)], None, "topic `payment` does not exist"),
        (&[], None, "no topic is named"),
    ] {
        let mut settings = settings(&broker, choices);
        settings.partitions.extend(partition);
        let error = captured(&settings).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let mut settings = settings(&broker, &[("payments:1", input)]);
    settings.offsets.insert(("payments".to_owned(), 0), 3);
    let error = captured(&settings).unwrap_err().to_string();
    assert_eq!(error, "a start is given for topic `payments`, partition 0, which is not captured");
}

#[test]
fn single_partitions_begin_where_they_are_told_to() {
    let broker = three_topics();
    let mut settings = settings(&broker, &[("payments,flights-us:0", Role::Input)]);
    settings.from = Start::Latest;
    settings.offsets.insert(("payments".to_owned(), 1), 2);
    settings.offsets.insert(("flights-us".to_owned(), 0), 4);
    let (_, recording, _folder) = captured(&settings).unwrap();
    assert_eq!(places(&recording), [of("flights-us", 0, [4]), of("payments", 1, 2..5)].concat());
}

#[test]
fn whichever_end_comes_first_ends_the_capture() {
    let broker = three_topics();
    let ended = |until, events_max, duration_ms: Option<u64>| {
        let mut settings = settings(&broker, &[("payments", Role::Input)]);
        (settings.until, settings.events_max) = (until, events_max);
        settings.duration_max = duration_ms.map(Duration::from_millis);
        let (report, ..) = captured(&settings).unwrap();
        (report.events, report.ending)
    };
    assert_eq!(ended(Until::End, Some(3), None), (3, CaptureEnding::Counted));
    assert_eq!(ended(Until::End, Some(30), Some(60_000)), (10, CaptureEnding::Ended));
    assert_eq!(ended(Until::Count(7), Some(4), None), (4, CaptureEnding::Counted));
    assert_eq!(ended(Until::Stopped, Some(30), Some(700)), (10, CaptureEnding::TimeOver));
}

/// Two partitions of a table, and an input: offsets 0 to 7 of each stand ahead of the window.
fn table_broker() -> Broker {
    let mut events = Vec::new();
    for (offset, (key, value)) in (0..).zip([
        ("a", Some("1")),
        ("b", Some("1")),
        ("a", Some("2")),
        ("c", Some("1")),
        ("b", None),
        ("d", Some("1")),
        ("c", None),
        ("c", Some("2")),
        ("a", Some("3")),
        ("d", None),
    ]) {
        events.push(event("prices", 0, offset, key, value));
        events.push(event("orders", 0, offset, key, Some("order")));
    }
    broker(&[("orders", 1), ("prices", 2)], &events)
}

#[test]
fn a_table_brings_the_last_value_of_each_key_ahead_of_its_window() {
    let broker = table_broker();
    let mut settings = settings(&broker, &[("prices", Role::Table), ("orders", Role::Input)]);
    settings.offsets.extend([("orders".to_owned(), 0), ("prices".to_owned(), 0)].map(|place| (place, 8)));
    let (report, recording, _folder) = captured(&settings).unwrap();
    // `a` was last set at 2, `c` at 7 and `d` at 5; `b` was removed.
    let expected = [of("orders", 0, 8..10), of("prices", 0, [2, 5, 7, 8, 9])].concat();
    assert_eq!(places(&recording), expected);
    let windows: Vec<_> = recording.manifest().source.topics.iter().map(|topic| topic.windows.clone()).collect();
    assert_eq!(windows, [[].into(), [(0, 8)].into()]);
    let figures: Vec<_> = report
        .partitions
        .iter()
        .map(|taken| (taken.topic.as_str(), taken.events, taken.state, taken.missing))
        .collect();
    assert_eq!(figures, [("orders", 2, 0, 0), ("prices", 2, 3, 0), ("prices", 0, 0, 0)]);
    let summary = recording.summary().unwrap();
    let prices = &summary.topics[1].partitions[0];
    assert_eq!((prices.window, prices.state, prices.gaps, prices.missing), (Some(8), 3, 0, 0));
    // The manifest can be lost: what tells state and window apart stands in the segments, too.
    std::fs::remove_file(recording.path().join("manifest.json")).unwrap();
    let rebuilt = Recording::rebuild(recording.path()).unwrap().manifest;
    assert_eq!(rebuilt.source.topics[1].windows, [(0, 8)].into());
}

/// Makes in `out` what a capture of `whole` leaves that was cut off after so many of its events.
fn cut_off(whole: &Recording, events: usize, out: &Path) {
    let mut writer = RecordingWriter::create(out, whole.manifest().source.clone()).unwrap();
    let mut batch = EventBatchBuilder::new();
    let all = whole.batches(Columns::ALL);
    let all: Vec<Event> =
        all.flat_map(|batch| batch.unwrap().iter().map(|event| event.to_event()).collect::<Vec<_>>()).collect();
    all.iter().take(events).for_each(|event| batch.push_event(event));
    writer.write(&batch.finish()).unwrap();
    writer.checkpoint().unwrap();
}

#[test]
fn a_capture_that_was_cut_off_within_the_state_of_a_table_takes_the_rest_of_it_once() {
    let broker = table_broker();
    let mut table = settings(&broker, &[("prices", Role::Table)]);
    table.offsets.insert(("prices".to_owned(), 0), 8);
    let (_, whole, _folder) = captured(&table).unwrap();
    assert_eq!(places(&whole), of("prices", 0, [2, 5, 7, 8, 9]));
    // The window stays where it was, whatever is said of it now; so does the number of events, none of the state among them.
    table.offsets.clear();
    table.events_max = Some(2);
    for events in 0..5 {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        cut_off(&whole, events, &out);
        let report = capture(&table, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
        assert_eq!((report.events, report.resumed_at), (5, Some(events as u64)), "{events}");
        assert_eq!(report.missing, [], "{events}");
        let recording = Recording::open(&out).unwrap();
        assert_eq!(places(&recording), places(&whole), "{events}");
        assert_eq!(recording.manifest().source.topics[0].windows, [(0, 8)].into(), "{events}");
        assert_eq!(recording.manifest().source.topics[0].starts, [(0, 8), (1, 0)].into(), "{events}");
        assert_eq!(recording.verify().unwrap(), [], "{events}");
    }
}

#[test]
fn a_recording_is_gone_on_with_as_it_was_begun_or_not_at_all() {
    let broker = table_broker();
    let mut begun = settings(&broker, &[("prices", Role::Table)]);
    begun.offsets.insert(("prices".to_owned(), 0), 8);
    let (_, whole, folder) = captured(&begun).unwrap();
    let out = folder.path().join("begun");
    cut_off(&whole, 2, &out);
    let refused = |settings: &CaptureSettings| {
        capture(settings, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err().to_string()
    };
    let said = refused(&settings(&broker, &[("prices", Role::Input)]));
    assert!(said.ends_with("topic `prices` was a table, and an input is asked for now"), "{said}");
    let said = refused(&settings(&broker, &[("prices:0", Role::Table)]));
    assert!(said.contains("with topic `prices`, partition 1, which is not among those"), "{said}");
    let said = refused(&CaptureSettings { uncommitted: true, ..begun.clone() });
    assert!(said.ends_with("the isolation was read_committed, and read_uncommitted is asked for now"), "{said}");
    capture(&begun, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
}

#[test]
fn what_a_table_held_is_handed_over_as_warm_up() {
    let broker = table_broker();
    let mut settings = settings(&broker, &[("prices", Role::Table), ("orders", Role::Input)]);
    settings.offsets.insert(("prices".to_owned(), 0), 8);
    let (_, recording, _folder) = captured(&settings).unwrap();
    let phases = |text: &str| {
        let settings = PlanSettings { select: toml::from_str(text).unwrap(), ..PlanSettings::default() };
        let plan: Plan = plan(&recording, &settings, Seed(1), Arc::new(SpillSpace::system())).unwrap();
        let deliveries = plan.deliveries().map(Result::unwrap);
        let of_prices = deliveries.filter(|delivery| plan.topics()[delivery.topic as usize] == "prices");
        of_prices.map(|delivery| (delivery.offset, delivery.phase)).collect::<Vec<_>>()
    };
    let (warm, main) = (Phase::WarmUp, Phase::Main);
    assert_eq!(phases(""), [(2, warm), (5, warm), (7, warm), (8, main), (9, main)]);
    // 22:13:29 is the time of offset 9: of a table everything ahead of the slice is warm-up.
    let from = "from = '2023-11-14T22:13:29Z'";
    assert_eq!(phases(from), [(2, warm), (5, warm), (7, warm), (8, warm), (9, main)]);
}

#[test]
fn a_table_counts_against_no_limit_but_stands_in_the_figures() {
    let broker = table_broker();
    let mut settings = settings(&broker, &[("prices:0", Role::Table)]);
    (settings.from, settings.events_max) = (Start::Offset(8), Some(1));
    let (report, recording, _folder) = captured(&settings).unwrap();
    assert_eq!((report.events, report.ending), (4, CaptureEnding::Counted));
    assert_eq!(places(&recording), of("prices", 0, [2, 5, 7, 8]));
}

#[test]
fn the_steps_of_a_capture_are_told_in_order() {
    let broker = three_topics();
    let folder = TempDir::new().unwrap();
    let mut told: Vec<CaptureProgress> = Vec::new();
    let settings = settings(&broker, &[("payments", Role::Input)]);
    let out = folder.path().join("out");
    capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut |progress| told.push(progress.clone())).unwrap();
    let steps: Vec<CaptureStep> =
        told.iter().map(|progress| progress.step).filter(|step| *step != CaptureStep::Taking).collect();
    assert_eq!(steps, [CaptureStep::Started, CaptureStep::CaughtUp, CaptureStep::Sealed]);
    assert!(told.is_sorted_by_key(|progress| progress.elapsed));
    assert_eq!(told.last().map(|progress| (progress.events, progress.lag)), Some((10, 0)));
}

#[test]
fn brokers_that_go_are_told_of() {
    let folder = TempDir::new().unwrap();
    let mut broker = Some(three_topics());
    let settings = CaptureSettings {
        until: Until::Stopped,
        duration_max: Some(Duration::from_secs(60)),
        ..settings(broker.as_ref().unwrap(), &[("payments", Role::Input)])
    };
    let stop = Stop::new();
    let mut told = Vec::new();
    let mut take = |progress: &CaptureProgress| match progress.step {
        CaptureStep::CaughtUp => broker = None,
        CaptureStep::Unreachable => {
            told.extend(progress.note.clone());
            stop.raise();
        }
        _ => {}
    };
    let report = capture(&settings, folder.path().join("out"), &SystemClock::start(), &stop, &mut take).unwrap();
    assert_eq!((report.ending, told.len()), (CaptureEnding::Stopped, 1));
    assert!(told[0].contains("has been reachable for") && report.notes.contains(&told[0]), "{told:?}");
}

/// Runs `rehearsal capture` in `folder`.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(folder).env("KAFKA_PASSWORD", "hunter2").arg("capture").args(arguments).output().unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn options_say_topics_roles_partitions_window_and_properties() {
    let broker = three_topics();
    let folder = TempDir::new().unwrap();
    let config = format!("# ours\nbootstrap.servers={}\nfetch.wait.max.ms=10\n", broker.brokers());
    std::fs::write(folder.path().join("client.properties"), config).unwrap();
    let output = run(
        folder.path(),
        &[
            "--config",
            "client.properties",
            "--topic",
            "^flights",
            "--table",
            "payments",
            "--partition",
            "1",
            "--from",
            "flights-us:1=3,earliest",
            "--from",
            "payments:1=4",
            "--until-caught-up",
            "--out",
            "out",
            "--json",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stderr));
    let lines: Vec<Json> =
        words(&output.stdout).lines().map(|line| serde_json::from_str::<Json>(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let steps: Vec<&str> = names.iter().copied().filter(|name| *name != "progress").collect();
    assert_eq!(steps, ["started", "caught-up", "sealed", "summary"]);
    let summary = lines.last().unwrap();
    assert_eq!((summary["events"].as_u64(), summary["ending"].as_str()), (Some(9), Some("ended")));
    assert_eq!(
        (summary["partitions"][2]["state"].as_u64(), summary["partitions"][1]["start"].as_u64()),
        (Some(1), Some(3))
    );
    let recording = Recording::open(folder.path().join("out")).unwrap();
    let expected = [of("flights-eu", 1, 0..5), of("flights-us", 1, 3..5), of("payments", 1, 3..5)].concat();
    assert_eq!(places(&recording), expected);
    assert_eq!(recording.manifest().source.topics[2].role, Role::Table);
}

#[test]
fn an_offset_behind_the_end_of_the_log_is_refused() {
    let broker = three_topics();
    let folder = TempDir::new().unwrap();
    for from in ["offset:6", "payments:1=6"] {
        let arguments = ["--brokers", broker.brokers(), "--topic", "payments:1", "--from", from, "--out", "out"];
        let output = run(folder.path(), &arguments);
        let said = words(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("topic `payments`, partition 1: the log ends at offset 5, ahead of offset 6"), "{said}");
        assert!(!folder.path().join("out").exists());
    }
}

#[test]
fn what_fails_is_told_in_json_too() {
    let broker = three_topics();
    let folder = TempDir::new().unwrap();
    let arguments = ["--brokers", broker.brokers(), "--topic", "paymnets", "--out", "out", "--json"];
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output.stderr));
    let line: Json = serde_json::from_str(words(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!((line["event"].as_str(), line["exit"].as_u64()), (Some("error"), Some(2)));
    assert!(line["message"].as_str().unwrap().starts_with("topic `paymnets` does not exist on "), "{line}");
}

#[test]
fn the_summary_for_people_tells_each_topic() {
    let broker = table_broker();
    let folder = TempDir::new().unwrap();
    let arguments =
        ["--brokers", broker.brokers(), "--table", "prices:0", "--from", "offset:8", "--events", "2", "--out", "out"];
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stderr));
    let said = words(&output.stdout);
    assert!(said.starts_with("Captured 5 events (") && said.contains("as many as asked for"), "{said}");
    assert!(
        said.contains("prices: 2 events of 1 partition, from 2023-11-14T22:13:28Z to 2023-11-14T22:13:29Z (1s), no gaps; ahead of them the last value of 3 keys"),
        "{said}"
    );
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let shown = words(&inspect.current_dir(folder.path()).args(["inspect", "out"]).output().unwrap().stdout);
    assert!(shown.contains("prices, partition 0: offsets ahead of 8 are the last values of 3 keys"), "{shown}");
}

#[test]
fn what_cannot_be_used_is_refused_before_anybody_is_asked() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("bad.properties"), "sasl.password hunter2\n").unwrap();
    std::fs::write(folder.path().join("user.properties"), "bootstrap.servers=a:hunter2@127.0.0.1:1\n").unwrap();
    std::fs::write(folder.path().join("none.properties"), "# nothing\n").unwrap();
    std::fs::write(folder.path().join("scram.properties"), "sasl.mechanisms=PLAIN\nsecurity.protocol=sasl_ssl\n")
        .unwrap();
    for (arguments, says) in [
        (&["--brokers", "127.0.0.1:1"][..], "--topic"),
        (&["--topic", "a"], "--brokers"),
        (&["--topic", "a", "--config", "none.properties"], "no brokers are named"),
        (&["--topic", "a", "--brokers", "alice:hunter2@127.0.0.1:1"], "names a user with a broker"),
        (
            &["--brokers", "127.0.0.1:1", "--topic", "a", "--from", "2021-01-01", "--until", "2020-01-01"],
            "the window is empty: it begins at 2021-01-01T00:00:00Z and ends ahead of 2020-01-01T00:00:00Z",
        ),
        (&["--topic", "a", "--config", "user.properties"], "names a user with a broker"),
        (&["--topic", "a", "--config", "bad.properties"], "bad.properties:1: has no `=`"),
        (&["--topic", "a", "--config", "gone.properties"], "gone.properties"),
        (&["--brokers", "127.0.0.1:1", "--topic", "^("], "--topic: `^(` is no regular expression"),
        (&["--brokers", "127.0.0.1:1", "--table", "a:x"], "--table: `x` is no partition"),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "--from", "a:0"], "--from"),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "--for", "5"], "--for"),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "--follow", "--until-caught-up"], "cannot be used with"),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "-X", "group.id=a"], "group.id belongs to the capture"),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "-X", "sasl.jaas.config=hunter2"], "write sasl.username"),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "-X", "hunter2"], "write name=value"),
        (
            &["--brokers", "127.0.0.1:1", "--topic", "a", "-X", "security.protocol=hunter2"],
            "security.protocol has a value",
        ),
        (&["--brokers", "127.0.0.1:1", "--topic", "a", "-X", "sasl.oauthbearer.method=oidc"], "no libcurl"),
        (
            &[
                "--brokers",
                "127.0.0.1:1",
                "--topic",
                "a",
                "-X",
                "sasl.mechanism=GSSAPI",
                "-X",
                "security.protocol=sasl_ssl",
            ],
            "GSSAPI",
        ),
        // The one name of librdkafka counts more than the other of the file, however often it is tried.
        (
            &[
                "--config",
                "scram.properties",
                "--brokers",
                "127.0.0.1:1",
                "--topic",
                "a",
                "-X",
                "sasl.mechanism=GSSAPI",
            ],
            "GSSAPI",
        ),
    ] {
        let output = run(folder.path(), &[arguments, &["--out", "out"]].concat());
        let said = words(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!folder.path().join("out").exists());
    }
}

#[test]
fn no_secret_shows_in_what_is_said_or_written() {
    let broker = three_topics();
    let folder = TempDir::new().unwrap();
    let secret = "sasl.username=hunter2\nsasl.password=${KAFKA_PASSWORD}\nssl.key.password=${KAFKA_PASSWORD}\n";
    std::fs::write(folder.path().join("client.properties"), secret).unwrap();
    // All that librdkafka has to say, its whole configuration among it; and brokers that do not understand SASL.
    for (more, code) in [
        (&["-X", "debug=all"][..], 0),
        (&["-X", "security.protocol=sasl_plaintext", "-X", "sasl.mechanism=PLAIN", "-X", "debug=all"], 4),
    ] {
        let out = format!("out-{code}");
        let base =
            ["--config", "client.properties", "--brokers", broker.brokers(), "--topic", "payments", "--out", &out];
        let output = run(folder.path(), &[&base[..], &["--json"], more].concat());
        assert!(
            output.status.code() == Some(code) || code == 4 && output.status.code() == Some(2),
            "{}",
            words(&output.stderr)
        );
        for said in [&output.stdout, &output.stderr] {
            assert!(!words(said).contains("hunter2"), "{}", words(said));
        }
    }
    let manifest = std::fs::read_to_string(folder.path().join("out-0/manifest.json")).unwrap();
    assert!(!manifest.contains("hunter2") && !manifest.contains("sasl"), "{manifest}");
}
