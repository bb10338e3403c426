//! The capture that is killed, and what else is watched.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehearsal::capture::{CaptureProgress, CaptureSettings, TopicChoice, Until, capture};
use rehearsal::clock::{Stop, SystemClock};
use rehearsal::recording::{Location, Recording, Role, SliceSettings, Target, slice};

use super::bucket::ADDRESS;
use super::calls;
use super::feed::{PARTITIONS, TABLE, TABLE_BEGIN, TOPIC};
use super::sort::Sort;
use super::steps::Place;

/// Row groups of a segment, so that rotations are frequent.
const SEGMENT_GROUPS: usize = 3;

/// What the child does: captures what the environment names, tells its steps and what is acknowledged. Returns false where the
/// environment names nothing.
pub(crate) fn child() -> bool {
    let Ok(arguments) = std::env::var("REHEARSAL_KILLED") else { return false };
    let [brokers, folder, until, sort, place] = arguments.split('\n').collect::<Vec<_>>()[..] else { return false };
    let sort = Sort::parse(sort);
    let target = target(Path::new(folder), sort);
    calls::watch(folder, Place::parse(place));
    if until == "rebuilt" {
        Recording::rebuild(target).unwrap();
        return true;
    }
    if until == "sliced" {
        let whole = Recording::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/small")).unwrap();
        let settings = SliceSettings { share: Some(1.0), ..SliceSettings::default() };
        slice(&whole, &settings, target, &mut |_| true).unwrap();
        return true;
    }
    let mut settings = CaptureSettings::new(brokers, [TOPIC]);
    if sort == Sort::Table {
        settings.topics.push(TopicChoice::named(TABLE, Role::Table));
        settings.offsets = (0..PARTITIONS).map(|partition| ((TABLE.to_owned(), partition), TABLE_BEGIN)).collect();
    }
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
    let mut tell = |progress: &CaptureProgress| {
        let next = progress.acknowledged.iter().map(|one| format!("{}/{}={}", one.topic, one.partition, one.next));
        calls::say(next.collect::<Vec<_>>().join(","));
    };
    capture(&settings, target, &SystemClock::start(), &stop, &mut tell).unwrap();
    true
}

/// Where the recording goes.
fn target(folder: &Path, sort: Sort) -> Target {
    match sort {
        Sort::Input | Sort::Table => out_of(folder).into(),
        Sort::Store => {
            let address = Location::parse(ADDRESS).unwrap();
            Target::from(address).spooled_in(Some(spool_of(folder)))
        }
    }
}

pub(super) fn out_of(folder: &Path) -> PathBuf {
    folder.join("recordings/out")
}

fn spool_of(folder: &Path) -> PathBuf {
    folder.join("spools/out")
}

/// The manifest of the recording as it lies on this machine.
pub(super) fn manifest_of(folder: &Path, sort: Sort) -> PathBuf {
    match sort {
        Sort::Input | Sort::Table => out_of(folder).join("manifest.json"),
        Sort::Store => spool_of(folder).join("recording/manifest.json"),
    }
}

/// Offsets wanted next, by topic and partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledged(pub(super) BTreeMap<(String, i32), i64>);

impl Acknowledged {
    pub(super) fn parse(text: &str) -> Self {
        let one = |one: &str| {
            let (place, next) = one.split_once('=')?;
            let (topic, partition) = place.split_once('/')?;
            Some(((topic.to_owned(), partition.parse().unwrap()), next.parse().unwrap()))
        };
        Self(text.split(',').filter_map(one).collect())
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
