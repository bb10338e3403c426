//! Text to recordings, through files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rehearsal::recording::{
    Columns, Event, EventBatchBuilder, Header, ImportError, ImportReport, ImportSettings, Input, InputFormat,
    LineFormat, LineProblem, Recording, TimestampType, import, print_event, same_events,
};
use tempfile::TempDir;

const ALL: Columns = Columns { key: true, value: true, headers: true };

/// Writes `texts` as files, imports them and returns the events.
fn imported(texts: &[&[u8]], settings: &ImportSettings) -> Result<Vec<Event>, ImportError> {
    let folder = TempDir::new().unwrap();
    let inputs: Vec<Input> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let path = folder.path().join(format!("input-{index}"));
            fs::write(&path, text).unwrap();
            Input::File(path)
        })
        .collect();
    let out = folder.path().join("out");
    let result = import(&inputs, settings, &out, &mut |_| true);
    let mut left: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.retain(|name| !name.starts_with("input-"));
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            assert!(left.is_empty(), "a failed import left {left:?}");
            return Err(error);
        }
    };
    assert_eq!(left, ["out"]);
    let events = events(&out);
    assert_eq!(report.events, events.len() as u64);
    Ok(events)
}

fn events(path: &Path) -> Vec<Event> {
    let recording = Recording::open(path).unwrap();
    let mut events = Vec::new();
    for batch in recording.batches(ALL) {
        let batch = batch.unwrap();
        events.extend((0..batch.len()).map(|row| {
            let view = batch.get(row);
            Event {
                topic: view.topic.to_owned(),
                partition: view.partition,
                offset: view.offset,
                timestamp_ms: view.timestamp_ms,
                timestamp_type: view.timestamp_type,
                captured_at_us: view.captured_at_us,
                key: view.key.map(<[u8]>::to_vec),
                value: view.value.map(<[u8]>::to_vec),
                headers: view
                    .headers
                    .iter()
                    .map(|(name, value)| Header { name: name.to_owned(), value: value.map(<[u8]>::to_vec) })
                    .collect(),
            }
        }));
    }
    events
}

fn printed(events: &[Event], format: LineFormat) -> Vec<u8> {
    let mut builder = EventBatchBuilder::new();
    for event in events {
        builder.push_event(event);
    }
    let batch = builder.finish();
    let mut text = Vec::new();
    for event in batch.iter() {
        print_event(&event, format, &mut text);
    }
    text
}

fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        any::<String>().prop_map(String::into_bytes),
        prop::sample::select(
            &[
                "",
                "null",
                " null",
                "{\"a\" : 1.50}",
                "[1,\n2]",
                "\"\\ud800\"",
                "1e999",
                "\u{feff}{}",
                "{\"a\":1}\r",
                "true ",
                "\0",
                "{\"a\":{\"a\":[[[{}]]]}}",
                "\u{2028}",
                "{",
                "\"text\"",
                "\u{fffd}",
            ][..]
        )
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn odd_headers() -> impl Strategy<Value = Vec<Header>> {
    let name = prop_oneof![Just("trace".to_owned()), Just(String::new()), any::<String>()];
    let header = (name, prop::option::of(odd_bytes())).prop_map(|(name, value)| Header { name, value });
    prop::collection::vec(header, 0..4)
}

/// Events whose offsets rise within each partition, with gaps.
fn odd_events(timestamps: BoxedStrategy<(Option<i64>, TimestampType)>) -> impl Strategy<Value = Vec<Event>> {
    let topic = prop::sample::select(&["flights", "payments.v1", "\"quoted\"", "größe"][..]);
    let event =
        (topic, 0..3_i32, timestamps, prop::option::of(odd_bytes()), prop::option::of(odd_bytes()), odd_headers());
    prop::collection::vec((event, 1..4_i64), 1..20).prop_map(|drawn| {
        let mut offset = 0;
        let mut events = Vec::new();
        for ((topic, partition, (timestamp_ms, timestamp_type), key, value, headers), step) in drawn {
            offset += step;
            events.push(Event {
                topic: topic.to_owned(),
                partition,
                offset,
                timestamp_ms,
                timestamp_type,
                captured_at_us: None,
                key,
                value,
                headers,
            });
        }
        events
    })
}

fn any_timestamp() -> BoxedStrategy<(Option<i64>, TimestampType)> {
    let types = prop::sample::select(&[TimestampType::Create, TimestampType::Append, TimestampType::None][..]);
    (any::<Option<i64>>(), types).boxed()
}

/// What kcat can write: no type without a timestamp, and -1 is none.
fn kcat_timestamp() -> BoxedStrategy<(Option<i64>, TimestampType)> {
    prop_oneof![
        Just((None, TimestampType::None)),
        any::<i64>().prop_map(|ms| (Some(ms).filter(|&ms| ms != -1), TimestampType::Create)),
        any::<i64>().prop_map(|ms| (Some(ms).filter(|&ms| ms != -1), TimestampType::Append)),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn events_printed_as_ndjson_come_back_as_they_were(events in odd_events(any_timestamp())) {
        let text = printed(&events, LineFormat::Ndjson);
        prop_assert_eq!(text.split_inclusive(|&byte| byte == b'\n').count(), events.len());
        prop_assert_eq!(imported(&[&text], &ImportSettings::default()).unwrap(), events);
    }

    #[test]
    fn events_printed_as_kcat_does_come_back_as_they_were(events in odd_events(kcat_timestamp())) {
        let text = printed(&events, LineFormat::Kcat);
        prop_assert_eq!(imported(&[&text], &ImportSettings::default()).unwrap(), events);
    }
}

const LINE: &[u8] =
    br#"{"topic":"t","partition":1,"offset":7,"timestamp_ms":5,"key":"k","value":{ "n" : 1.0 },"headers":[["a","x"]]}"#;

#[test]
fn lines_may_end_in_any_way_and_the_value_keeps_its_bytes() {
    for end in [&b""[..], b"\n", b"\r\n", b"\n\n"] {
        let events = imported(&[&[LINE, end].concat()], &ImportSettings::default()).unwrap();
        assert_eq!(events[0].value.as_deref(), Some(&b"{ \"n\" : 1.0 }"[..]));
        assert_eq!((events[0].partition, events[0].offset), (1, 7));
    }
}

#[test]
fn packed_and_plain_inputs_of_several_formats_go_together() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(LINE).unwrap();
    let packed = packed.finish().unwrap();
    let kcat =
        br#"{"topic":"t","partition":1,"offset":8,"tstype":"create","ts":6,"broker":1,"key":null,"payload":"x"}"#;
    let csv = b"partition,offset,value\n1,9,y\n";
    let settings = ImportSettings { topic: Some("t".to_owned()), ..ImportSettings::default() };
    let events = imported(&[&packed, kcat, csv], &settings).unwrap();
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(events[2].value.as_deref(), Some(&b"y"[..]));
}

#[test]
fn events_without_a_place_get_one() {
    let lines = b"{\"key\":\"abc\",\"value\":1}\n{\"key\":\"abc\",\"value\":2}\n{\"key\":\"21\",\"value\":3}\n";
    let settings = ImportSettings { topic: Some("t".to_owned()), partitions: 6, ..ImportSettings::default() };
    let places: Vec<_> =
        imported(&[lines], &settings).unwrap().into_iter().map(|event| (event.partition, event.offset)).collect();
    // murmur2("abc") is 479,470,107, murmur2("21") -973,932,308: without its sign 1,173,551,340.
    let (abc, other) = (479_470_107 % 6, 1_173_551_340 % 6);
    assert_eq!(places, [(abc, 0), (abc, 1), (other, 0)]);
}

#[test]
fn a_table_becomes_json() {
    let settings = ImportSettings {
        topic: Some("payments".to_owned()),
        key_column: Some("id".to_owned()),
        time_column: Some("at".to_owned()),
        ..ImportSettings::default()
    };
    let events = imported(&[b"id,at,note\n7,2013-01-01T10:17:00Z,\"two\nlines\"\n"], &settings).unwrap();
    assert_eq!(events[0].key.as_deref(), Some(&b"7"[..]));
    assert_eq!(events[0].timestamp_ms, Some(1_357_035_420_000));
    let value = String::from_utf8(events[0].value.clone().unwrap()).unwrap();
    assert_eq!(value, r#"{"id":7,"at":"2013-01-01T10:17:00Z","note":"two\nlines"}"#);
}

#[test]
fn a_bad_line_is_named_and_nothing_is_left_behind() {
    let two = [LINE, b"\n", LINE].concat();
    let given = |format| ImportSettings { format: Some(format), ..ImportSettings::default() };
    for (texts, settings, says) in [
        (
            vec![&b"{\"topic\":\"t\",\"value\":}"[..]],
            ImportSettings::default(),
            "input-0, line 1, column 22: expected value",
        ),
        (
            vec![&two],
            ImportSettings::default(),
            "input-0, line 2: topic `t`, partition 1: offset 7 comes after offset 7",
        ),
        (vec![LINE, LINE], ImportSettings::default(), "input-1, line 1: topic `t`, partition 1: offset 7 comes after"),
        (vec![b"{\"value\":1}"], ImportSettings::default(), "input-0, line 1: `topic` is missing"),
        (vec![LINE, b"\xff\xfe\0"], ImportSettings::default(), "input-1, line 1: neither a JSON object nor a row"),
        (vec![b"a,b\n"], ImportSettings::default(), "input-0, line 1: the columns are not those of events"),
        (vec![LINE], given(InputFormat::Kcat), "input-0, line 1, column"),
        (vec![b"\x1f\x8bbroken"], ImportSettings::default(), "input-0 could not be read"),
        (vec![b"\n"], ImportSettings::default(), "input-0 holds no event"),
        (vec![b"value\n"], ImportSettings::default(), "input-0 holds no event"),
    ] {
        let refused = imported(&texts, &settings).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn disorder_is_an_error_of_its_own() {
    let refused = imported(&[LINE, LINE], &ImportSettings::default()).unwrap_err();
    assert!(matches!(
        refused,
        ImportError::Line { problem: LineProblem::Disorder { partition: 1, offset: 7, previous: 7, .. }, .. }
    ));
}

#[test]
fn what_exists_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("mine"), "kept").unwrap();
    let input = folder.path().join("input");
    fs::write(&input, LINE).unwrap();
    let refused = import(&[Input::File(input)], &ImportSettings::default(), folder.path(), &mut |_| true).unwrap_err();
    assert!(matches!(refused, ImportError::Unwritable { .. }), "{refused}");
    assert_eq!(fs::read_to_string(folder.path().join("mine")).unwrap(), "kept");
}

#[test]
fn a_missing_file_is_named() {
    let out = TempDir::new().unwrap();
    let input = Input::from("no/such/file.ndjson");
    let refused = import(&[input], &ImportSettings::default(), out.path().join("out"), &mut |_| true).unwrap_err();
    assert!(refused.to_string().contains("no/such/file.ndjson"));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

fn recordings(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings").join(name)
}

#[test]
fn the_small_recording_is_what_its_source_imports_to() {
    let folder = TempDir::new().unwrap();
    let source = recordings("small.ndjson");
    let out = folder.path().join("out");
    let report = import(&[Input::File(source.clone())], &ImportSettings::default(), &out, &mut |_| true).unwrap();
    assert_eq!(report, ImportReport { events: 300, replaced: 0, ..report.clone() });
    let small = Recording::open(recordings("small")).unwrap();
    assert_eq!(same_events(&small, &Recording::open(&out).unwrap()).unwrap(), None);
    let lines = printed(&events(&recordings("small")), LineFormat::Ndjson);
    assert!(lines == fs::read(source).unwrap(), "the lines printed are not those imported");
}

#[test]
fn the_small_recording_holds_every_odd_case() {
    let events = events(&recordings("small"));
    let any = |odd: fn(&Event) -> bool| events.iter().any(odd);
    assert!(any(|event| event.key.is_none()));
    assert!(any(|event| event.key.as_deref() == Some(b"")));
    assert!(any(|event| event.key.as_ref().is_some_and(|key| std::str::from_utf8(key).is_err())));
    assert!(any(|event| event.value.is_none()));
    assert!(any(|event| event.value.as_deref() == Some(b"")));
    assert!(any(|event| event.value.as_deref() == Some(b"null")));
    assert!(any(|event| event.headers.iter().any(|header| header.value.is_none())));
    assert!(any(|event| event.headers.iter().any(|header| header.value.as_deref() == Some(b""))));
    assert!(any(|event| event.headers.len() > 1 && event.headers[0].name == event.headers[1].name));
    assert!((0..3).all(|partition| events.iter().any(|event| event.partition == partition)));
}

#[test]
fn the_flights_are_all_there() {
    let flights = Recording::open(recordings("flights")).unwrap();
    assert_eq!(flights.verify().unwrap(), []);
    let counts: Vec<(i32, u64, i64, i64)> = flights
        .manifest()
        .partitions
        .iter()
        .map(|facts| (facts.partition, facts.count, facts.first, facts.last))
        .collect();
    let expected = [8_870, 8_976, 9_064, 8_747, 8_829, 8_916];
    let expected: Vec<_> =
        (0..).zip(expected).map(|(partition, count)| (partition, count, 0, count as i64 - 1)).collect();
    assert_eq!(counts, expected);
    let events = events(flights.path());
    assert_eq!(events.len(), 53_402);
    let times = || events.iter().filter_map(|event| event.timestamp_ms);
    // 2013-01-01T10:17Z, and the first hours of 2013-02-01.
    assert_eq!(times().min(), Some(1_357_035_420_000));
    assert!(times().max().is_some_and(|last| (1_359_676_800_000..1_359_676_800_000 + 12 * 3_600_000).contains(&last)));
    let first = String::from_utf8(events[0].value.clone().unwrap()).unwrap();
    assert!(
        first.starts_with(r#"{"flight_id":"2013-01-01/UA1545/EWR-IAH","carrier":"UA","flight":1545,"tail":"N14228""#)
    );
    assert!(
        events
            .iter()
            .all(|event| event.headers == [Header { name: "source".to_owned(), value: Some(b"bts".to_vec()) }])
    );
}
