//! Where a capture begins to write: in a new recording, or in one that was cut off, from where its segments end.

use std::collections::BTreeMap;
use std::path::Path;

use super::cluster::{Cluster, Topic};
use super::error::in_words;
use super::schemas::SchemasMet;
use super::truncation::TakenUpTo;
use super::window::{Stretch, Window};
use super::{CaptureError, CaptureSettings, TopicChoice, TopicNames};
use crate::clock::Clock;
use crate::mask::{Detection, Masker};
use crate::recording::{
    GapCause, Masking, MissingOffsets, RecordingWriter, Resumed, Role, Source, Target, TopicSource,
};

/// What a capture begins with.
pub(super) struct Beginning<'c> {
    pub(super) writer: RecordingWriter,
    pub(super) masker: Masker,
    pub(super) schemas: SchemasMet<'c>,
    /// Events that are in the recording already; none where it is new.
    pub(super) resumed_at: Option<u64>,
    /// What there is to know about it, as sentences.
    pub(super) notes: Vec<String>,
}

impl<'c> Beginning<'c> {
    /// Makes a new recording.
    pub(super) fn fresh(
        cluster: &Cluster<'_>,
        window: &mut Window,
        settings: &CaptureSettings,
        out: &Target,
        clock: &'c dyn Clock,
    ) -> Result<Self, CaptureError> {
        let overtaken = begin_as_asked(cluster, window)?;
        if let Some((topic, partition, missing)) = overtaken.first().filter(|_| !settings.allow_gaps) {
            let (topic, partition, wanted, oldest) = (topic.clone(), *partition, missing.first, missing.last + 1);
            return Err(CaptureError::RetentionOvertook { topic, partition, wanted, oldest });
        }
        // Ahead of the recording: a setting that is wrong leaves no folder behind.
        let schemas = SchemasMet::new(settings, clock)?;
        let masker = Masker::new(settings.mask.clone(), settings.detection);
        let source = source(cluster, window, settings);
        let mut writer = RecordingWriter::create_masked(out, source, masker.rules(), masker.masking())?;
        if settings.detection == Detection::Refuse {
            writer.set_strict_privacy(true);
            writer.write_manifest()?;
        }
        for (topic, partition, missing) in overtaken {
            writer.missing(&topic, partition, missing);
        }
        let notes = writer.notes();
        Ok(Self { writer, masker, schemas, resumed_at: None, notes })
    }

    /// Goes on with a recording that was cut off; the window then begins where its segments end.
    pub(super) fn again(
        (mut writer, resumed): (RecordingWriter, Resumed),
        cluster: &Cluster<'_>,
        window: &mut Window,
        settings: &CaptureSettings,
        out: &Path,
        clock: &'c dyn Clock,
    ) -> Result<Self, CaptureError> {
        check_masking(&writer, settings, out)?;
        let mut schemas = SchemasMet::new(settings, clock)?;
        schemas.know(writer.schemas_kept());
        let mut masker = Masker::new(settings.mask.clone(), settings.detection);
        masker.know(writer.schemas()?);
        masker.saw(writer.personal());
        let mut notes = writer.notes();
        notes.extend(said(&resumed, writer.rows()));
        if settings.registry.is_none() && writer.schemas_kept().next().is_some() {
            notes.push(
                "The capture was begun with --registry: without it, schemas of what comes now are not kept.".to_owned(),
            );
        }
        check_source(writer.source(), cluster, settings, out, &mut notes)?;
        notes.extend(begun_behind(&writer, cluster, window));
        let mut overtaken = begin_behind(&writer, cluster, window, &mut notes)?;
        hold_against(&writer, cluster, window)?;
        overtaken.extend(begin_as_asked(cluster, window)?);
        if let Some((topic, partition, missing)) = overtaken.first().filter(|_| !settings.allow_gaps) {
            let (topic, partition, wanted, oldest) = (topic.clone(), *partition, missing.first, missing.last + 1);
            writer.note_overtaken(&overtaken);
            writer.write_manifest()?;
            return Err(CaptureError::RetentionOvertook { topic, partition, wanted, oldest });
        }
        writer.note_overtaken(&[]);
        writer.set_strict_privacy(settings.detection == Detection::Refuse);
        let known = std::mem::take(writer.source_mut());
        *writer.source_mut() =
            joined(known, source(cluster, window, settings), |topic| is_gone(topic, cluster, settings));
        // Where each partition begins is on the disk before anything of it is.
        writer.write_manifest()?;
        for (topic, partition, missing) in overtaken {
            writer.missing(&topic, partition, missing);
        }
        Ok(Self { resumed_at: Some(writer.rows()), writer, masker, schemas, notes })
    }
}

/// Holds the offsets that were asked for against the logs; returns what retention has taken of them.
fn begin_as_asked(
    cluster: &Cluster<'_>,
    window: &mut Window,
) -> Result<Vec<(String, i32, MissingOffsets)>, CaptureError> {
    let names: Vec<&String> = cluster.topics.keys().collect();
    let mut overtaken = Vec::new();
    for stretch in &mut window.partitions {
        let name = names[stretch.topic];
        overtaken.extend(stretch.begin_as_asked(name)?.map(|missing| (name.clone(), stretch.partition, missing)));
    }
    Ok(overtaken)
}

fn said(resumed: &Resumed, events: u64) -> Vec<String> {
    let mut notes = Vec::new();
    // A folder that was only begun never had one.
    if resumed.manifest_lost && events > 0 {
        notes.push("The manifest was lost and is made of the segments.".to_owned());
    }
    for file in &resumed.cut {
        notes.push(format!("{} was torn; it is cut back to what is whole.", file.display()));
    }
    for file in &resumed.lost {
        notes.push(format!(
            "{} holds nothing whole and is no part of the recording; it stays to be looked at, and may be removed.",
            file.display()
        ));
    }
    notes
}

/// Refuses to go on where offsets would mean other events than those that were recorded.
fn check_source(
    recorded: &Source,
    cluster: &Cluster<'_>,
    settings: &CaptureSettings,
    out: &Path,
    notes: &mut Vec<String>,
) -> Result<(), CaptureError> {
    // A folder that was begun and no more.
    if *recorded == Source::default() {
        return Ok(());
    }
    match (&recorded.cluster, &cluster.id) {
        (Some(recorded), Some(found)) if recorded != found => {
            return Err(CaptureError::OtherCluster {
                out: out.to_owned(),
                recorded: recorded.clone(),
                brokers: settings.brokers.clone(),
                found: found.clone(),
            });
        }
        (Some(_), Some(_)) => {}
        _ => notes
            .push("Nobody can tell whether this is the cluster the recording was begun from: it gives no id.".into()),
    }
    let otherwise = |what: String, recorded: &str, found: &str| {
        let (recorded, found) = (recorded.to_owned(), found.to_owned());
        Err(CaptureError::BegunOtherwise { out: out.to_owned(), what, recorded, found })
    };
    if let Some(isolation) = recorded.isolation.as_deref().filter(|isolation| *isolation != settings.isolation()) {
        return otherwise("the isolation".to_owned(), isolation, settings.isolation());
    }
    for name in cluster.topics.keys().filter(|name| recorded.topics.iter().all(|topic| topic.name != **name)) {
        notes.push(format!("Topic `{name}` is taken from now on: the recording was begun without it."));
    }
    for topic in &recorded.topics {
        if is_gone(&topic.name, cluster, settings) {
            notes.push(format!(
                "Topic `{}` is there no more: what was taken of it stays, and the capture goes on with the others.",
                topic.name
            ));
            continue;
        }
        let Some(chosen) = cluster.topics.get(&topic.name) else {
            return Err(CaptureError::TopicLeftOut { out: out.to_owned(), topic: topic.name.clone() });
        };
        if chosen.role != topic.role {
            let what = format!("topic `{}`", topic.name);
            return otherwise(what, in_words(topic.role), in_words(chosen.role));
        }
        if let Some(&partition) = topic.starts.keys().find(|partition| !chosen.partitions.contains(partition)) {
            return Err(CaptureError::PartitionLeftOut { out: out.to_owned(), topic: topic.name.clone(), partition });
        }
        match (&topic.id, cluster.topic_ids.get(&topic.name)) {
            (Some(recorded), Some(found)) if recorded != found => {
                return Err(CaptureError::RecreatedTopic {
                    out: out.to_owned(),
                    topic: topic.name.clone(),
                    recorded: recorded.clone(),
                    found: found.clone(),
                });
            }
            (Some(_), Some(_)) => {}
            _ => notes.push(format!(
                "Nobody can tell whether topic `{}` was recreated since the recording was begun: the cluster gives it no id.",
                topic.name
            )),
        }
    }
    Ok(())
}

/// Whether a topic that a pattern chose was deleted since: of those that are there none that it matches is left out.
fn is_gone(topic: &str, cluster: &Cluster<'_>, settings: &CaptureSettings) -> bool {
    let matches = |choice: &TopicChoice| match &choice.names {
        TopicNames::Name(_) => false,
        TopicNames::Pattern(pattern) => pattern.is_match(topic),
    };
    !cluster.topics.contains_key(topic) && settings.topics.iter().any(matches)
}

/// Refuses to go on where part of the recording would be masked otherwise than the rest: not at all, or with tokens that do not
/// join.
fn check_masking(writer: &RecordingWriter, settings: &CaptureSettings, out: &Path) -> Result<(), CaptureError> {
    // A folder that was begun and no more.
    if *writer.source() == Source::default() {
        return Ok(());
    }
    let otherwise = |what: &str, recorded: String, found: String| {
        Err(CaptureError::BegunOtherwise { out: out.to_owned(), what: what.to_owned(), recorded, found })
    };
    let named = |masking: Option<&Masking>| {
        masking.map_or_else(|| "none".to_owned(), |masking| masking.policy.chars().take(12).collect())
    };
    let (recorded, found) = (writer.masking(), settings.mask.as_ref().map(|policy| policy.masking()));
    if recorded.map(|masking| &masking.policy) != found.as_ref().map(|masking| &masking.policy) {
        return otherwise("the mask policy (its SHA-256)", named(recorded), named(found.as_ref()));
    }
    let key = |masking: Option<&Masking>| masking.and_then(|masking| masking.key.clone()).unwrap_or("none".to_owned());
    if key(recorded) != key(found.as_ref()) {
        return otherwise("the key of the mask policy (its fingerprint)", key(recorded), key(found.as_ref()));
    }
    // Of no events none can be what must not be kept.
    let (recorded, found) = (writer.strict_privacy(), settings.detection == Detection::Refuse);
    if recorded != found && writer.rows() > 0 {
        let done = |strict: bool| if strict { "refused" } else { "kept" }.to_owned();
        return otherwise("what looks personal (--strict-privacy)", done(recorded), done(found));
    }
    Ok(())
}

/// Says so where the capture is asked to begin ahead of where the recording was begun: what lies between is not taken any more.
fn begun_behind(writer: &RecordingWriter, cluster: &Cluster<'_>, window: &Window) -> Option<String> {
    let names: Vec<&String> = cluster.topics.keys().collect();
    let mut behind = window.partitions.iter().filter_map(|stretch| {
        let known = writer.source().topics.iter().find(|topic| topic.name == *names[stretch.topic])?;
        let begun = known.windows.get(&stretch.partition).or_else(|| known.starts.get(&stretch.partition)).copied()?;
        (stretch.start < begun).then_some((known, stretch, begun))
    });
    let (topic, stretch, begun) = behind.next()?;
    let others = match behind.count() {
        0 => String::new(),
        1 => ", and of another partition".to_owned(),
        more => format!(", and of {more} other partitions"),
    };
    Some(format!(
        "The recording was begun behind where it is asked to begin now: of topic `{}`, partition {}, at offset {begun} and not at {}\
         {others}. It goes on where it was, and what lies ahead of that is not in it.",
        topic.name, stretch.partition, stretch.start
    ))
}

/// Moves the beginning of each partition behind what is recorded of it; returns what the cluster has deleted meanwhile.
///
/// A table whose window no event stands in yet keeps its window, and of its state what lies behind the last value recorded is
/// taken: no key has its last value both ahead of there and behind, so none stands there twice.
fn begin_behind(
    writer: &RecordingWriter,
    cluster: &Cluster<'_>,
    window: &mut Window,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, i32, MissingOffsets)>, CaptureError> {
    let names: Vec<&String> = cluster.topics.keys().collect();
    let mut overtaken = Vec::new();
    let events = writer.rows() - writer.resumed_state();
    // Nothing more is wanted: what the cluster has deleted meanwhile is none of it.
    let is_complete = window.limit.count.is_some_and(|count| events >= count);
    for stretch in &mut window.partitions {
        let (name, partition) = (names[stretch.topic].as_str(), stretch.partition);
        let known = writer.source().topics.iter().find(|topic| topic.name == name);
        let (oldest, end) = cluster.watermarks(name, partition)?;
        let started = known.and_then(|topic| topic.windows.get(&partition)).copied();
        let Some(wanted) = writer.next_offset(name, partition).max(started) else {
            // A partition that was added since, or a topic that a pattern did not find then: all of it came after the recording was
            // begun.
            let is_new = match known {
                Some(known) => partition >= known.partitions,
                None => cluster.topics[name].patterned && !writer.source().topics.is_empty(),
            };
            if is_new {
                (stretch.low, stretch.start, stretch.asked) = (oldest, oldest, None);
            }
            continue;
        };
        stretch.asked = None;
        let last = writer.last_offset(name, partition);
        if is_complete {
            (stretch.low, stretch.start) = (wanted, wanted);
            continue;
        }
        if wanted > end {
            return Err(CaptureError::LogEndsEarlier { topic: name.to_owned(), partition, wanted, end });
        }
        if wanted < oldest {
            let missing = MissingOffsets { first: wanted, last: oldest - 1, cause: GapCause::Retention };
            stretch.overtaken = missing.offsets();
            overtaken.push((name.to_owned(), partition, missing));
        }
        stretch.start = wanted.max(oldest);
        stretch.low = stretch.start;
        if started == Some(wanted) {
            if oldest > wanted {
                notes.push(format!(
                    "What topic `{name}`, partition {partition}, held ahead of its window is gone, and may stand in part only."
                ));
            } else {
                stretch.low = last.map_or(oldest, |last| oldest.max(last + 1));
            }
        }
    }
    Ok(overtaken)
}

/// Refuses to go on where a log is no longer the one that the events were taken from, as far as their leader epochs are known: whoever
/// recorded before they were kept goes by offsets alone.
///
/// What was accounted for behind the last event (markers, what retention took) is not asked for: it may be of a later epoch.
fn hold_against(writer: &RecordingWriter, cluster: &Cluster<'_>, window: &Window) -> Result<(), CaptureError> {
    let names: Vec<&String> = cluster.topics.keys().collect();
    let events = writer.rows() - writer.resumed_state();
    if window.limit.count.is_some_and(|count| events >= count) {
        // Nothing more is wanted.
        return Ok(());
    }
    let taken = window.partitions.iter().filter_map(|stretch| {
        let (topic, partition) = (names[stretch.topic].as_str(), stretch.partition);
        let (last, epoch) = (writer.last_offset(topic, partition)?, writer.last_epoch(topic, partition)?);
        Some(TakenUpTo { topic, partition, next: last + 1, epoch })
    });
    cluster.hold_against(&taken.collect::<Vec<_>>())
}

/// What is known of the source by now: where partitions began stays, and so do topics that are gone; all else is as the cluster
/// says.
fn joined(known: Source, now: Source, is_gone: impl Fn(&str) -> bool) -> Source {
    let mut joined = Source {
        cluster: now.cluster.or(known.cluster),
        isolation: now.isolation.or(known.isolation),
        topics: now.topics,
    };
    for gone in known.topics.iter().filter(|topic| is_gone(&topic.name)) {
        joined.add(TopicSource { deleted: true, ..gone.clone() });
    }
    for topic in &mut joined.topics {
        let Some(before) = known.topics.iter().find(|before| before.name == topic.name) else { continue };
        topic.recreated.clone_from(&before.recreated);
        topic.id = topic.id.take().or_else(|| before.id.clone());
        topic.starts.extend(before.starts.iter().map(|(&partition, &start)| (partition, start)));
        // A partition whose window has begun keeps it, and has none where it had none.
        topic.windows.retain(|partition, _| !before.starts.contains_key(partition));
        topic.windows.extend(before.windows.iter().map(|(&partition, &window)| (partition, window)));
        topic.partitions = topic.partitions.max(before.partitions);
        if topic.configuration.is_empty() {
            topic.configuration.clone_from(&before.configuration);
        }
    }
    joined
}

/// Says where the events of `window` come from.
fn source(cluster: &Cluster<'_>, window: &Window, settings: &CaptureSettings) -> Source {
    let topic = |(index, (name, topic)): (usize, (&String, &Topic))| {
        // Where a table's state stands ahead of its window, the recording has to tell them apart.
        let has_state =
            |stretch: &&Stretch| topic.role == Role::Table && stretch.topic == index && stretch.low < stretch.start;
        TopicSource {
            name: name.clone(),
            id: cluster.topic_ids.get(name).cloned(),
            partitions: topic.there as i32,
            configuration: cluster.configurations.get(name).cloned().unwrap_or_default(),
            starts: window
                .partitions
                .iter()
                .filter(|stretch| stretch.topic == index)
                .map(|stretch| (stretch.partition, stretch.wanted()))
                .collect(),
            recreated: None,
            held_back: BTreeMap::new(),
            deleted: false,
            role: topic.role,
            windows: window
                .partitions
                .iter()
                .filter(has_state)
                .map(|stretch| (stretch.partition, stretch.start))
                .collect(),
        }
    };
    Source {
        cluster: cluster.id.clone(),
        isolation: Some(settings.isolation().to_owned()),
        topics: cluster.topics.iter().enumerate().map(topic).collect(),
    }
}
