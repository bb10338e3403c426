//! What comes up while a capture runs, or between two halves of it: topics, partitions, and transactions that stay open.

use std::path::Path;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::capture::{
    CaptureEnding, CaptureError, CaptureProgress, CaptureReport, CaptureSettings, CaptureStep, Start, TopicChoice,
    Until, capture,
};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::recording::{Columns, Recording, Role};
use tempfile::TempDir;

use crate::cluster::Cluster;

/// Start of the made-up events: 2013-01-01T00:00:00Z.
const START_MS: i64 = 1_356_998_400_000;

const WAIT: Duration = Duration::from_secs(30);

/// Produces one event a second of event time.
fn produce_to(producer: &BaseProducer, topic: &str, partition: i32, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let value = number.to_string();
        let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&value);
        producer.send(record.timestamp(START_MS + number * 1_000)).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

fn produce(cluster: &Cluster, topic: &str, partition: i32, numbers: std::ops::Range<i64>) {
    produce_to(&cluster.config().create().unwrap(), topic, partition, numbers);
}

/// Settings that follow what `choices` name, each read as on the command line.
fn following(cluster: &Cluster, choices: &[&str]) -> CaptureSettings {
    let choices = choices.iter().flat_map(|choice| TopicChoice::parse(choice, Role::Input).unwrap());
    CaptureSettings {
        topics: choices.collect(),
        until: Until::Stopped,
        duration_max: Some(3 * WAIT),
        checkpoint_every: Duration::from_millis(200),
        ..CaptureSettings::new(&cluster.brokers, Vec::<String>::new())
    }
}

/// Captures and calls `about` with each report of progress, which may stop it; returns what it came to and the notes under way.
fn run(
    settings: &CaptureSettings,
    out: &Path,
    mut about: impl FnMut(&CaptureProgress, &Stop),
) -> (Result<CaptureReport, CaptureError>, Vec<String>) {
    let (stop, mut notes) = (Stop::new(), Vec::new());
    let mut tell = |progress: &CaptureProgress| {
        notes.extend(progress.note.clone().filter(|_| progress.step == CaptureStep::Noted));
        about(progress, &stop);
    };
    let report = capture(settings, out, &SystemClock::start(), &stop, &mut tell);
    (report, notes)
}

/// Topic, partition and offset of all events of a recording that verifies, sorted.
fn places(out: &Path) -> Vec<(String, i32, i64)> {
    let recording = Recording::open(out).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let batches = recording.batches(Columns::ALL);
    let place = |event: rehearsal::recording::EventView<'_>| (event.topic.to_owned(), event.partition, event.offset);
    let mut places: Vec<_> = batches.flat_map(|batch| batch.unwrap().iter().map(place).collect::<Vec<_>>()).collect();
    places.sort();
    places
}

fn all(stretches: &[(&str, i32, std::ops::Range<i64>)]) -> Vec<(String, i32, i64)> {
    let mut all: Vec<_> = stretches
        .iter()
        .flat_map(|(topic, partition, offsets)| offsets.clone().map(|offset| ((*topic).to_owned(), *partition, offset)))
        .collect();
    all.sort();
    all
}

#[test]
fn a_topic_that_came_up_and_is_deleted_again_does_not_end_the_capture() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create("passing", 1, &[]);
    produce(&cluster, "passing", 0, 0..2);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let (report, notes) = run(&following(&cluster, &["^passing"]), &out, |progress, stop| match progress.step {
        CaptureStep::CaughtUp => {
            cluster.create("passing-by", 2, &[]);
            produce(&cluster, "passing-by", 1, 0..5);
        }
        CaptureStep::Checkpoint if progress.acknowledged_events == 7 => cluster.delete("passing-by"),
        // Behind it: the capture still takes what comes.
        CaptureStep::Noted if progress.note.as_ref().is_some_and(|note| note.contains("is deleted")) => {
            produce(&cluster, "passing", 0, 2..6);
        }
        CaptureStep::Checkpoint if progress.acknowledged_events == 11 => {
            cluster.create("passing-by", 2, &[]);
            produce(&cluster, "passing-by", 1, 100..109);
        }
        CaptureStep::Noted if progress.note.as_ref().is_some_and(|note| note.contains("made again")) => stop.raise(),
        _ => {}
    });
    let report = report.unwrap();
    assert_eq!((report.ending, report.events, &report.notes), (CaptureEnding::Stopped, 11, &notes));
    assert!(notes.len() == 3 && notes[0].contains("`passing-by` was made after this capture began"), "{notes:?}");
    assert!(
        notes[1]
            .contains("`passing-by`, which was made after this capture began, is deleted: what came of it until then"),
        "{notes:?}"
    );
    assert_eq!(places(&out), all(&[("passing", 0, 0..6), ("passing-by", 1, 0..5)]));
    assert_eq!(report.missing, []);
    let recording = Recording::open(&out).unwrap();
    let (manifest, left_out) = (recording.manifest(), recording.manifest().left_out());
    assert!(
        left_out.len() == 1
            && left_out[0].starts_with("Topic passing-by was deleted while it was captured: what came of it behind")
            && left_out[0].contains("It was made again (its id is "),
        "{left_out:?}"
    );
    assert_eq!((manifest.source.topics[0].deleted, manifest.doubts()), (false, vec![]));
}

#[test]
fn a_resume_goes_on_without_topics_of_a_pattern_that_are_gone_and_says_so() {
    let Some(cluster) = Cluster::shared() else { return };
    for topic in ["remaining", "remaining-not"] {
        cluster.create(topic, 1, &[]);
        produce(&cluster, topic, 0, 0..3);
    }
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let settings = CaptureSettings { until: Until::End, ..following(&cluster, &["^remaining"]) };
    run(&settings, &out, |_, _| {}).0.unwrap();
    unseal(&out);
    cluster.delete("remaining-not");
    produce(&cluster, "remaining", 0, 3..5);
    // Once by its name it is asked for, and refused.
    let named = CaptureSettings {
        topics: TopicChoice::parse("remaining,remaining-not", Role::Input).unwrap(),
        ..settings.clone()
    };
    let refused = run(&named, &out, |_, _| {}).0.unwrap_err();
    assert!(matches!(&refused, CaptureError::UnknownTopic { .. }), "{refused:?}");
    let report = run(&settings, &out, |_, _| {}).0.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("`remaining-not` is there no more")), "{:?}", report.notes);
    assert_eq!(places(&out), all(&[("remaining", 0, 0..5), ("remaining-not", 0, 0..3)]));
    let recording = Recording::open(&out).unwrap();
    let (manifest, left_out) = (recording.manifest(), recording.manifest().left_out());
    assert!(left_out.len() == 1 && left_out[0].starts_with("Topic remaining-not was deleted"), "{left_out:?}");
    assert_eq!(manifest.source.topics[1].starts, [(0, 0)].into());
}

#[test]
fn a_topic_that_comes_up_with_a_log_that_begins_behind_0_is_taken_from_its_beginning() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.create("behind", 1, &[]);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let (report, notes) = run(&following(&cluster, &["^behind"]), &out, |progress, stop| match progress.step {
        CaptureStep::CaughtUp => {
            cluster.create("behind-too", 2, &[]);
            produce(&cluster, "behind-too", 0, 0..10);
            produce(&cluster, "behind-too", 1, 0..3);
            cluster.delete_before("behind-too", 0, 6);
        }
        CaptureStep::Checkpoint if progress.acknowledged_events == 7 => stop.raise(),
        _ => {}
    });
    let report = report.unwrap();
    assert_eq!((report.ending, report.events, report.missing), (CaptureEnding::Stopped, 7, vec![]));
    assert!(notes.len() == 1 && notes[0].contains("it is taken from its first event on, partitions: 2"), "{notes:?}");
    assert_eq!(places(&out), all(&[("behind-too", 0, 6..10), ("behind-too", 1, 0..3)]));
    let recording = Recording::open(&out).unwrap();
    assert_eq!(recording.manifest().source.topics[1].starts, [(0, 6), (1, 0)].into());
}

#[test]
fn what_retention_took_of_a_partition_that_was_added_is_an_error_or_a_gap() {
    for allow_gaps in [false, true] {
        let name = format!("added-late-{allow_gaps}");
        let Some(cluster) = Cluster::shared() else { return };
        cluster.create(&name, 1, &[]);
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let settings = CaptureSettings { allow_gaps, ..following(&cluster, &[&name]) };
        let (report, _) = run(&settings, &out, |progress, stop| match progress.step {
            CaptureStep::CaughtUp => {
                cluster.grow(&name, 2);
                produce(&cluster, &name, 1, 0..10);
                cluster.delete_before(&name, 1, 4);
            }
            CaptureStep::Checkpoint if progress.acknowledged_events == 6 => stop.raise(),
            _ => {}
        });
        // All of it came while the capture ran, so it was to be taken.
        let missing = Recording::open(&out).unwrap().manifest().missing_by_cause();
        let missing: Vec<_> = missing.iter().map(|one| (one.cause.name(), one.offsets)).collect();
        assert_eq!(missing, [("retention", 4)]);
        if allow_gaps {
            assert_eq!((report.unwrap().events, places(&out)), (6, all(&[(&name, 1, 4..10)])));
        } else {
            let error = report.unwrap_err();
            let CaptureError::Interrupted { source, .. } = &error else { panic!("{error:?}") };
            assert!(
                matches!(**source, CaptureError::RetentionOvertook { partition: 1, wanted: 0, oldest: 4, .. }),
                "{source}"
            );
        }
    }
}

#[test]
fn partitions_that_nobody_chose_are_not_taken_when_they_are_added_later() {
    let Some(cluster) = Cluster::shared() else { return };
    for topic in ["chosen", "chosen-ones"] {
        cluster.create(topic, 1, &[]);
        produce(&cluster, topic, 0, 0..1);
    }
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    // One topic by partitions of its own, and those of a pattern by the partitions of all.
    let settings = CaptureSettings { partitions: [0].into(), ..following(&cluster, &["chosen:0", "^chosen-ones"]) };
    let (report, notes) = run(&settings, &out, |progress, stop| match progress.step {
        CaptureStep::CaughtUp => {
            cluster.create("chosen-ones-too", 2, &[]);
            for partition in [0, 1] {
                produce(&cluster, "chosen-ones-too", partition, 0..3);
            }
        }
        // Behind what came up: by now the topics are asked for anew.
        CaptureStep::Checkpoint if progress.acknowledged_events == 5 => {
            for topic in ["chosen", "chosen-ones", "chosen-ones-too"] {
                cluster.grow(topic, 3);
                produce(&cluster, topic, 2, 0..4);
            }
            cluster.create("chosen-ones-last", 1, &[]);
            produce(&cluster, "chosen-ones-last", 0, 0..1);
        }
        CaptureStep::Checkpoint if progress.acknowledged_events == 6 => stop.raise(),
        _ => {}
    });
    assert_eq!(report.unwrap().events, 6);
    assert!(notes[0].contains("of its 2 partitions 1 are taken, from their first events on"), "{notes:?}");
    assert!(notes.len() == 2 && notes[1].contains("`chosen-ones-last`"), "{notes:?}");
    let taken =
        [("chosen", 0, 0..1), ("chosen-ones", 0, 0..1), ("chosen-ones-too", 0, 0..3), ("chosen-ones-last", 0, 0..1)];
    assert_eq!(places(&out), all(&taken));
    // Nor are they by whoever goes on with it.
    unseal(&out);
    let again = CaptureSettings { until: Until::End, ..settings };
    run(&again, &out, |_, _| {}).0.unwrap();
    assert_eq!(places(&out), all(&taken));
}

/// Makes a sealed recording one that was cut off right before it was sealed.
fn unseal(out: &Path) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["sealed"] = false.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
}

#[test]
fn a_resume_takes_what_came_up_meanwhile_from_its_first_event_on_wherever_the_capture_began() {
    let Some(cluster) = Cluster::shared() else { return };
    for from in [Start::Latest, Start::Earliest, Start::Offset(2)] {
        let name = match from {
            Start::Latest => "meanwhile-latest",
            Start::Earliest => "meanwhile-earliest",
            Start::Time(_) | Start::Offset(_) => "meanwhile-offset",
        };
        let too = format!("{name}-too");
        cluster.create(name, 1, &[]);
        produce(&cluster, name, 0, 0..3);
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let settings = CaptureSettings { from, until: Until::End, ..following(&cluster, &[&format!("^{name}")]) };
        run(&settings, &out, |_, _| {}).0.unwrap();
        unseal(&out);
        produce(&cluster, name, 0, 3..5);
        cluster.grow(name, 2);
        produce(&cluster, name, 1, 0..4);
        cluster.create(&too, 2, &[]);
        produce(&cluster, &too, 0, 0..5);
        produce(&cluster, &too, 1, 0..6);
        cluster.delete_before(&too, 1, 3);
        let report = run(&settings, &out, |_, _| {}).0.unwrap();
        let said = |note: &String| note.contains(&format!("`{too}` is taken from now on"));
        assert!(report.notes.iter().any(said), "{:?}", report.notes);
        let first = match from {
            Start::Latest => 3,
            Start::Earliest | Start::Time(_) => 0,
            Start::Offset(offset) => offset,
        };
        let taken = [(name, 0, first..5), (name, 1, 0..4), (&*too, 0, 0..5), (&*too, 1, 3..6)];
        assert_eq!(places(&out), all(&taken), "{from:?}");
        assert_eq!(report.missing, []);
    }
}

/// A topic with committed events `0` to `9`, and behind them those of an open transaction, `10` to `14`.
fn held_back(cluster: &Cluster, topic: &str) -> BaseProducer {
    cluster.create(topic, 1, &[]);
    produce(cluster, topic, 0, 0..10);
    let producer: BaseProducer = cluster.config().set("transactional.id", topic).create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    produce_to(&producer, topic, 0, 10..15);
    producer
}

#[test]
fn what_an_open_transaction_holds_back_behind_the_end_of_the_window_is_none_of_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let name = "held-behind";
    let open = held_back(&cluster, name);
    for (until, events, held) in [
        (Until::Time(START_MS + 5_000), 5, None),
        // Right at the end of the window, and one event within it.
        (Until::Time(START_MS + 9_500), 10, None),
        (Until::Time(START_MS + 10_500), 10, Some("1 offset ")),
        // As many as were wanted.
        (Until::Count(10), 10, None),
        (Until::Time(START_MS + 60_000), 10, Some("5 offsets ")),
        (Until::End, 10, Some("5 offsets ")),
    ] {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let settings = CaptureSettings { until, ..CaptureSettings::new(&cluster.brokers, [name]) };
        let (report, notes) = run(&settings, &out, |_, _| {});
        let report = report.unwrap();
        assert_eq!((report.events, &report.notes), (events, &notes), "{until:?}");
        let recording = Recording::open(&out).unwrap();
        let source = &recording.manifest().source.topics[0];
        match held {
            None => assert_eq!((notes, source.held_back.len()), (vec![], 0), "{until:?}"),
            Some(offsets) => {
                assert!(notes.len() == 1 && notes[0].contains(&format!("back {offsets}from 10 on")), "{notes:?}");
                assert_eq!(source.held_back, [(0, 10)].into(), "{until:?}");
            }
        }
    }
    open.abort_transaction(WAIT).unwrap();
}
