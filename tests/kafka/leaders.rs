//! Captures that go on behind a change of leaders: a clean one, and one that lost events.

use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::capture::{CaptureError, CaptureReport, CaptureSettings, capture};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::recording::{Recording, RecordingWriter, Standing};
use tempfile::TempDir;

use crate::cluster::Cluster;

/// A broker that is killed is given up after nine seconds, and whoever has to lead in its place found after that.
const WAIT: Duration = Duration::from_secs(120);

fn produce(cluster: &Cluster, topic: &str, values: std::ops::Range<u32>) {
    let mut config = cluster.config();
    let producer: BaseProducer = config.set("message.timeout.ms", "120000").create().unwrap();
    for number in values {
        let value = number.to_string();
        let record = BaseRecord::<str, str>::to(topic).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
}

/// Waits until `broker` leads the topic's one partition.
fn wait_for_leader(cluster: &Cluster, topic: &str, broker: i32) {
    let consumer: BaseConsumer = cluster.config().create().unwrap();
    let clock = SystemClock::start();
    loop {
        let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
        let partition = &metadata.topics()[0].partitions()[0];
        if partition.error().is_none() && partition.leader() == broker {
            return;
        }
        assert!(clock.now() < WAIT, "{topic} is not led by {broker} but by {}", partition.leader());
    }
}

fn run(cluster: &Cluster, topic: &str, out: &Path) -> Result<CaptureReport, CaptureError> {
    let settings = CaptureSettings::new(&cluster.brokers, [topic]);
    capture(&settings, out, &SystemClock::start(), &Stop::new(), &mut |_| {})
}

fn unseal(out: &Path) {
    let path = out.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["sealed"] = false.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
}

#[test]
fn a_clean_change_of_leaders_is_gone_on_behind_and_one_that_lost_events_is_refused() {
    let Some(mut cluster) = Cluster::of(3) else { return };
    // The third broker holds nothing: with it, two of three always agree on who leads.
    let settings = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
    cluster.create_on("clean", &[2, 1], &settings);
    cluster.create_on("unclean", &[1, 2], &settings);
    produce(&cluster, "clean", 0..100);
    produce(&cluster, "unclean", 0..100);
    let folder = TempDir::new().unwrap();
    let (clean, unclean) = (folder.path().join("clean"), folder.path().join("unclean"));
    assert_eq!(run(&cluster, "clean", &clean).unwrap().events, 100);
    unseal(&clean);
    // An operator's stop: whoever has all of it leads from now on.
    cluster.stop(2);
    wait_for_leader(&cluster, "clean", 1);
    produce(&cluster, "clean", 100..150);
    let report = run(&cluster, "clean", &clean).unwrap();
    assert_eq!((report.events, report.resumed_at), (150, Some(100)));
    let recording = Recording::open(&clean).unwrap();
    assert_eq!((recording.len(), recording.verify().unwrap()), (150, vec![]));
    assert!(recording.manifest().gaps.is_empty());
    let epoch = recording.manifest().partitions[0].epoch;
    assert!(epoch > Some(0), "{epoch:?}");

    // These the broker that was stopped has never seen.
    produce(&cluster, "unclean", 100..160);
    assert_eq!(run(&cluster, "unclean", &unclean).unwrap().events, 160);
    unseal(&unclean);
    cluster.kill(1);
    cluster.start(2);
    wait_for_leader(&cluster, "unclean", 2);
    // As long again, and longer.
    produce(&cluster, "unclean", 1_000..1_100);
    let refused = run(&cluster, "unclean", &unclean).unwrap_err();
    assert!(matches!(&refused, CaptureError::LogCut { wanted: 160, end: Some(100), .. }), "{refused}");
    assert_eq!(RecordingWriter::standing(&unclean).unwrap(), Standing::Unsealed);
}
