//! Tables that production wrote: which topics are compared by their rows in the end, and where nobody can tell what those were.

use std::collections::BTreeMap;

use super::Scenario;
use super::golden::Slice;
use crate::drive::Transport;
use crate::outcome::ProductionTable;
use crate::plan::Phase;
use crate::recording::{GapCause, Manifest, Recording, Role, TopicSource};

/// Tables that production wrote, and those of which builds of this scenario write none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tables {
    pub(super) compared: Vec<ProductionTable>,
    /// Changelogs, where builds have no broker to keep them.
    pub(super) left_out: Vec<String>,
}

impl Tables {
    /// Chooses the tables of the recording that new is held against.
    ///
    /// What was captured as a table is handed to builds, and is compared where they write it, too: where `drive.outputs` or
    /// `golden.topics` names it. A changelog is where there is a broker. What was captured as outputs is a table where `compare.tables`
    /// says so, and where compaction took updates away: as outputs those would be missing from production.
    pub(super) fn of(scenario: &Scenario, recording: &Recording) -> Self {
        let settings = &scenario.settings;
        let manifest = recording.manifest();
        let mut tables = Self::default();
        for topic in &manifest.source.topics {
            let is_output = settings.drive.outputs.contains(&topic.name);
            let is_named = settings.golden.topics.as_ref().map(|topics| topics.contains(&topic.name));
            let is_declared = settings.compare.tables.contains(&topic.name);
            let compacted = compacted(manifest, topic);
            let because = match topic.role {
                Role::Table if is_named.unwrap_or(is_output) => None,
                Role::Changelog if is_named.unwrap_or(is_output || settings.drive.transport == Transport::Kafka) => {
                    None
                }
                Role::Changelog => {
                    tables.left_out.push(topic.name.clone());
                    continue;
                }
                Role::Output if !is_named.unwrap_or(is_output || settings.drive.outputs.is_empty()) => continue,
                Role::Output if is_declared => Some("`compare.tables` names it".to_owned()),
                Role::Output if compacted > 0 => {
                    Some(format!("compaction took {compacted} of its updates away ahead of the capture"))
                }
                Role::Input | Role::Table | Role::Output => continue,
            };
            let (name, whole) = (topic.name.clone(), is_whole(manifest, topic));
            tables.compared.push(ProductionTable { topic: name, whole, untold: None, because });
        }
        tables
    }

    /// Whether a topic is one of those that are compared.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.compared.iter().any(|table| table.topic == topic)
    }

    /// Finds out of which tables nobody knows the end; `last_ms` are the last times of the events of each of their partitions.
    pub(super) fn look_at_ends(&mut self, manifest: &Manifest, slice: &Slice, last_ms: &BTreeMap<(String, i32), i64>) {
        for table in &mut self.compared {
            let topic = manifest.source.topics.iter().find(|topic| topic.name == table.topic);
            table.untold = topic.and_then(|topic| untold(manifest, topic, slice, last_ms));
        }
    }
}

/// Where an event of a table belongs: ahead of the slice its rows stood there already; none where it is of events behind the slice.
pub(super) fn phase_of(slice: &Slice, timestamp_ms: Option<i64>) -> Option<Phase> {
    match timestamp_ms {
        Some(time) if time < slice.from_ms => Some(Phase::WarmUp),
        time => slice.phase_of(time),
    }
}

/// Offsets of a topic that compaction emptied ahead of the capture, within its window.
fn compacted(manifest: &Manifest, topic: &TopicSource) -> u64 {
    missing(manifest, topic, |cause| cause == GapCause::Compaction)
}

fn missing(manifest: &Manifest, topic: &TopicSource, of: impl Fn(GapCause) -> bool) -> u64 {
    let causes = (0..topic.partitions).flat_map(|partition| manifest.missing(&topic.name, partition));
    causes.filter(|one| of(one.cause)).map(|one| one.offsets).sum()
}

/// Whether all rows are known that stood there when the recording began: of a table they were captured, of other topics where they were
/// captured from their first event on.
fn is_whole(manifest: &Manifest, topic: &TopicSource) -> bool {
    let begins = |partition: i32| {
        let facts = manifest.partitions.iter().find(|facts| facts.topic == topic.name && facts.partition == partition);
        topic.starts.get(&partition).copied().or(facts.map(|facts| facts.first)) == Some(0)
    };
    topic.role == Role::Table || (0..topic.partitions).all(begins)
}

/// Why nobody can tell what the rows of a table were at the slice's end; none where the recording holds them.
fn untold(
    manifest: &Manifest,
    topic: &TopicSource,
    slice: &Slice,
    last_ms: &BTreeMap<(String, i32), i64>,
) -> Option<String> {
    // Of a partition that goes on behind the slice's end what came until then is there.
    let goes_on = |partition: i32| {
        let last = last_ms.get(&(topic.name.clone(), partition));
        slice.to_ms.zip(last).is_some_and(|(to, last)| *last >= to)
    };
    let lost =
        missing(manifest, topic, |cause| matches!(cause, GapCause::Retention | GapCause::Unknown | GapCause::LeftOut));
    if topic.recreated.as_ref().is_some_and(|new| !new.doubtful.is_empty()) {
        return Some("it was made again while it was captured, and holds events of both topics".to_owned());
    }
    if topic.deleted {
        return Some(
            "it was deleted while it was captured, and what came behind its last event here is lost".to_owned(),
        );
    }
    if lost > 0 {
        let offsets = if lost == 1 { "1 of its offsets is".to_owned() } else { format!("{lost} of its offsets are") };
        return Some(format!("{offsets} not in the recording, and may hold the last value of a key"));
    }
    if let Some(partition) = topic.held_back.keys().find(|partition| !goes_on(**partition)) {
        let held = format!("an open transaction held events of its partition {partition} back when the capture ended");
        return Some(held);
    }
    if let Some(why) = manifest.ended_early.as_ref().filter(|_| !(0..topic.partitions).all(goes_on)) {
        return Some(format!("the capture ended ahead of the end of its window ({why})"));
    }
    let compacted = compacted(manifest, topic);
    (compacted > 0 && slice.to_ms.is_some()).then(|| {
        format!(
            "the slice ends ahead of the recording, and {compacted} of its updates were compacted away: what stood there then may be gone"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{CauseFacts, PartitionGaps, Recreation};

    const SLICE: Slice = Slice { from_ms: 100, to_ms: None, end_ms: 1_000, edge_ms: 10 };

    fn topic(role: Role) -> TopicSource {
        TopicSource { name: "balances".to_owned(), partitions: 1, role, ..TopicSource::default() }
    }

    /// A manifest with offsets missing for these causes.
    fn manifest(causes: &[(GapCause, u64)]) -> Manifest {
        let mut manifest: Manifest = serde_json::from_str(r#"{"format":"1.0","segments":[]}"#).unwrap();
        let facts = |(cause, offsets): &(GapCause, u64)| CauseFacts { cause: *cause, stretches: 1, offsets: *offsets };
        manifest.gaps.push(PartitionGaps {
            topic: "balances".to_owned(),
            partition: 0,
            causes: causes.iter().map(facts).collect(),
            stretches: Vec::new(),
            through: 0,
        });
        manifest
    }

    fn why(manifest: &Manifest, topic: &TopicSource, slice: &Slice, last_ms: i64) -> Option<String> {
        untold(manifest, topic, slice, &[(("balances".to_owned(), 0), last_ms)].into())
    }

    #[test]
    fn the_end_of_a_table_is_known_unless_something_of_it_may_be_missing() {
        let table = topic(Role::Table);
        let to = |to_ms| Slice { to_ms: Some(to_ms), ..SLICE };
        let early = |causes: &[_]| Manifest { ended_early: Some("stopped".into()), ..manifest(causes) };
        let held = TopicSource { held_back: [(0, 7)].into(), ..table.clone() };
        let deleted = TopicSource { deleted: true, ..table.clone() };
        let again = Recreation { id: "x".into(), doubtful: [(0, 3)].into() };
        let again = TopicSource { recreated: Some(again), ..table.clone() };
        for (manifest, topic, slice, said) in [
            (manifest(&[]), &table, SLICE, None),
            (manifest(&[(GapCause::TransactionMarkers, 4)]), &table, SLICE, None),
            (manifest(&[(GapCause::Compaction, 4)]), &table, SLICE, None),
            (manifest(&[(GapCause::Compaction, 4)]), &table, to(500), Some("4 of its updates were compacted away")),
            (manifest(&[(GapCause::Retention, 1)]), &table, SLICE, Some("1 of its offsets is not in the recording")),
            (manifest(&[(GapCause::Unknown, 2)]), &table, to(500), Some("2 of its offsets are not in the recording")),
            (manifest(&[]), &held, SLICE, Some("an open transaction held events of its partition 0 back")),
            (manifest(&[]), &held, to(500), None),
            (manifest(&[]), &held, to(901), Some("an open transaction")),
            (early(&[]), &table, SLICE, Some("the capture ended ahead of the end of its window (stopped)")),
            (early(&[]), &table, to(500), None),
            (manifest(&[]), &deleted, SLICE, Some("it was deleted")),
            (manifest(&[]), &again, SLICE, Some("holds events of both")),
        ] {
            let found = why(&manifest, topic, &slice, 900);
            assert_eq!(found.is_some(), said.is_some(), "{found:?} {said:?}");
            assert!(found.zip(said).is_none_or(|(found, said)| found.contains(said)), "{said:?}");
        }
    }

    #[test]
    fn rows_that_stood_there_before_are_known_of_tables_and_of_what_was_captured_from_its_beginning() {
        let starts = |start| TopicSource { starts: [(0, start)].into(), ..topic(Role::Changelog) };
        for (topic, whole) in
            [(topic(Role::Table), true), (topic(Role::Changelog), false), (starts(0), true), (starts(5), false)]
        {
            assert_eq!(is_whole(&manifest(&[]), &topic), whole, "{topic:?}");
        }
    }

    #[test]
    fn what_stood_in_a_table_ahead_of_the_slice_is_kept_and_what_came_behind_it_is_not() {
        let slice = Slice { to_ms: Some(200), ..SLICE };
        for (time, phase) in [
            (Some(5), Some(Phase::WarmUp)),
            (Some(99), Some(Phase::WarmUp)),
            (Some(100), Some(Phase::Drain)),
            (Some(110), Some(Phase::Main)),
            (Some(200), Some(Phase::Drain)),
            (Some(210), None),
            (None, Some(Phase::Main)),
        ] {
            assert_eq!(phase_of(&slice, time), phase, "{time:?}");
        }
    }
}
