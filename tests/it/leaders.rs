//! Captures that go on behind a change of leaders, from an in-process cluster that can put other events at the same offsets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rehearsal::capture::{CaptureError, CaptureReport, CaptureSettings, Until, capture};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::recording::{Recording, RecordingWriter, Standing};
use tempfile::TempDir;

const TOPIC: &str = "led";

/// A cluster whose topic of two partitions holds events under several leaders, so many a partition under each.
struct Led {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Led {
    fn with(leaders: &[i64]) -> Self {
        let cluster = MockCluster::new(2).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let led = Self { cluster };
        for (at, events) in leaders.iter().enumerate() {
            if at > 0 {
                led.move_leaders(at as i32);
            }
            led.produce(*events);
        }
        led
    }

    fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    fn move_leaders(&self, turn: i32) {
        for partition in [0, 1] {
            self.cluster.partition_leader(TOPIC, partition, Some(1 + (turn + partition) % 2)).unwrap();
        }
    }

    fn produce(&self, events: i64) {
        let mut config = ClientConfig::new();
        let producer: BaseProducer = config.set("bootstrap.servers", self.brokers()).create().unwrap();
        for number in 0..events {
            for partition in [0, 1] {
                let value = number.to_string();
                let record = BaseRecord::<str, str>::to(TOPIC).partition(partition).payload(&value);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }

    fn settings(&self) -> CaptureSettings {
        let mut settings = CaptureSettings::new(self.brokers(), [TOPIC]);
        settings.properties.set("fetch.wait.max.ms", "10").unwrap();
        settings
    }

    fn capture(&self, out: &Path) -> Result<CaptureReport, CaptureError> {
        capture(&self.settings(), out, &SystemClock::start(), &Stop::new(), &mut |_| {})
    }
}

/// A recording of all that `led` holds, cut off right before it was sealed.
fn cut_off(led: &Led) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    led.capture(&out).unwrap();
    edit(&out, |manifest| manifest["sealed"] = false.into());
    (folder, out)
}

fn edit(out: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

/// Makes another cluster pass for the one that the recording was begun from.
fn forget_where_from(out: &Path) {
    edit(out, |manifest| {
        manifest["source"]["cluster"] = serde_json::Value::Null;
        manifest["source"]["topics"][0]["id"] = serde_json::Value::Null;
    });
}

#[test]
fn leaders_that_moved_between_two_halves_of_a_capture_cost_nothing() {
    for lost_manifest in [false, true] {
        let led = Led::with(&[40, 20]);
        let (_folder, out) = cut_off(&led);
        let unsealed = |manifest: &mut serde_json::Value| manifest["sealed"] = false.into();
        let epochs = || {
            let manifest = Recording::rebuild(&out).unwrap().manifest;
            manifest.partitions.iter().map(|facts| facts.epoch).collect::<Vec<_>>()
        };
        assert_eq!(epochs(), [Some(1), Some(1)]);
        edit(&out, unsealed);
        if lost_manifest {
            fs::remove_file(out.join("manifest.json")).unwrap();
            assert_eq!(epochs(), [Some(1), Some(1)]);
            edit(&out, unsealed);
        }
        // Once where nothing came under the new leaders yet, then with events of theirs.
        led.move_leaders(2);
        assert_eq!(led.capture(&out).unwrap().resumed_at, Some(120));
        edit(&out, unsealed);
        led.produce(10);
        assert_eq!(led.capture(&out).unwrap().events, 140);
        let recording = Recording::open(&out).unwrap();
        assert_eq!((recording.len(), recording.verify().unwrap()), (140, vec![]));
        assert!(recording.manifest().gaps.is_empty());
        let facts: Vec<_> = recording.manifest().partitions.iter().map(|one| (one.gaps, one.epoch)).collect();
        assert_eq!(facts, [(0, Some(2)), (0, Some(2))]);
    }
}

#[test]
fn other_events_at_the_same_offsets_are_refused_although_the_log_is_as_long_again() {
    let (_folder, out) = cut_off(&Led::with(&[100]));
    forget_where_from(&out);
    let held = fs::read(out.join("segments/000000.parquet")).unwrap();
    // The first leader's log ended at 60 where the others took over: 100 and more stand there by now.
    for after in [40, 41, 500] {
        let other = Led::with(&[60, after]);
        let error = other.capture(&out).unwrap_err();
        assert!(
            matches!(&error, CaptureError::LogCut { partition: 0, wanted: 100, end: Some(60), .. }),
            "{after}: {error}"
        );
        let said = error.to_string();
        assert!(said.contains("lost events that were taken (from offset 60 on)"), "{said}");
        // It stays as it is.
        assert_eq!(RecordingWriter::standing(&out).unwrap(), Standing::Unsealed);
        assert_eq!(fs::read(out.join("segments/000000.parquet")).unwrap(), held);
    }
    // Gaps are of events that are gone, not of ones that became others.
    let other = Led::with(&[60, 40]);
    let allowed = CaptureSettings { allow_gaps: true, ..other.settings() };
    let error = capture(&allowed, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, CaptureError::LogCut { .. }), "{error}");
    // One whose log is the same up to there is gone on with.
    let same = Led::with(&[100, 10]);
    let report = same.capture(&out).unwrap();
    assert_eq!((report.events, report.resumed_at), (220, Some(200)));
    assert_eq!(Recording::open(&out).unwrap().verify().unwrap(), []);
}

#[test]
fn an_epoch_that_no_leader_knows_is_refused_too() {
    let (_folder, out) = cut_off(&Led::with(&[30, 30, 30]));
    forget_where_from(&out);
    let error = Led::with(&[200]).capture(&out).unwrap_err();
    assert!(matches!(&error, CaptureError::LogCut { wanted: 90, end: None, .. }), "{error}");
}

#[test]
fn whoever_wants_no_more_events_is_not_asked_about_leaders() {
    let (_folder, out) = cut_off(&Led::with(&[30]));
    forget_where_from(&out);
    let other = Led::with(&[10, 90]);
    let enough = CaptureSettings { until: Until::Count(60), ..other.settings() };
    let report = capture(&enough, &out, &SystemClock::start(), &Stop::new(), &mut |_| {}).unwrap();
    assert_eq!(report.events, 60);
}
