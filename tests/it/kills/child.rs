//! The capture that is killed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehearsal::capture::{CaptureProgress, CaptureSettings, Until, capture};
use rehearsal::clock::{Stop, SystemClock};

use super::calls;
use super::feed::TOPIC;
use super::steps::Place;

/// Row groups of a segment, so that rotations are frequent.
const SEGMENT_GROUPS: usize = 3;

/// What the child does: captures what the environment names, tells its steps and what is acknowledged. Returns false where the
/// environment names nothing.
pub(crate) fn child() -> bool {
    let Ok(arguments) = std::env::var("REHEARSAL_KILLED") else { return false };
    let [brokers, folder, until, place] = arguments.split('\n').collect::<Vec<_>>()[..] else { return false };
    let mut settings = CaptureSettings::new(brokers, [TOPIC]);
    if until == "stopped" {
        settings.until = Until::Stopped;
    }
    settings.checkpoint_every = Duration::from_millis(2);
    settings.segment_groups = SEGMENT_GROUPS;
    settings.properties.set("fetch.wait.max.ms", "5").unwrap();
    let stop = Stop::new();
    let asked = stop.clone();
    std::thread::spawn(move || {
        // A byte asks to seal.
        if std::io::stdin().read(&mut [0]).is_ok_and(|read| read > 0) {
            calls::asked();
            asked.raise();
        }
    });
    calls::watch(folder, Place::parse(place));
    let mut tell = |progress: &CaptureProgress| {
        let next = progress.acknowledged.iter().map(|one| format!("{}={}", one.partition, one.next));
        calls::say(next.collect::<Vec<_>>().join(","));
    };
    capture(&settings, out_of(Path::new(folder)), &SystemClock::start(), &stop, &mut tell).unwrap();
    true
}

pub(super) fn out_of(folder: &Path) -> PathBuf {
    folder.join("recordings/out")
}

/// Offsets wanted next, by partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledged(pub(super) BTreeMap<i32, i64>);

impl Acknowledged {
    pub(super) fn parse(text: &str) -> Self {
        let next = text.split(',').filter_map(|one| one.split_once('='));
        Self(next.map(|(partition, next)| (partition.parse().unwrap(), next.parse().unwrap())).collect())
    }

    /// Adds what is said now; returns whether that is less than what was said before.
    pub(super) fn rise_to(&mut self, now: Self) -> bool {
        let less = self.0.iter().any(|(partition, next)| now.0.get(partition).is_none_or(|now| now < next));
        for (partition, now) in now.0 {
            let next = self.0.entry(partition).or_default();
            *next = now.max(*next);
        }
        less
    }
}
