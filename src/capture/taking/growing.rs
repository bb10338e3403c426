//! What comes up while events are taken: topics get more partitions, and topics are made that a pattern chooses. All of their events
//! came after the capture began, so they are taken from the first on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Taking;
use super::taken::{Taken, TakenTopic};
use crate::capture::cluster::cause_of_gaps;
use crate::capture::topics::{Chosen, TopicNames};
use crate::capture::window::Stretch;
use crate::capture::{CaptureError, CaptureProgress, CaptureSettings, CaptureStep};
use crate::recording::{Recreation, TopicSource};

/// Time between two looks for topics that patterns choose.
const LOOK_FOR_TOPICS_EVERY: Duration = Duration::from_secs(20);

/// Bounds such a look, during which nothing is taken.
const LOOK_WAIT: Duration = Duration::from_secs(1);

/// Looks for topics that patterns choose.
pub(super) struct Looked {
    /// When it was last looked.
    at: Duration,
    /// Topics that came up and are dealt with.
    met: BTreeSet<String>,
    /// Those of them that were deleted again.
    gone: BTreeSet<String>,
}

impl Looked {
    pub(super) fn begin(now: Duration) -> Self {
        Self { at: now, met: BTreeSet::new(), gone: BTreeSet::new() }
    }
}

impl Taking<'_> {
    /// Whether what comes up belongs to the window: not where that ends at offsets that are known.
    fn takes_more(&self) -> bool {
        self.partitions.iter().all(|taken| taken.stretch.end.is_none())
    }

    /// Takes the partitions that a topic has got, once they can be read.
    pub(super) fn grow(
        &mut self,
        topic: &str,
        there: usize,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<(), CaptureError> {
        let Some(number) = self.topics.iter().position(|known| *known.name == *topic) else { return Ok(()) };
        let had = self.watching.known(topic);
        if !self.takes_more() {
            self.watching.knows(topic, there);
            let note = format!(
                "Topic `{topic}` has {there} partitions by now and had {had} when this capture began: only those are taken, as its \
                 window has an end."
            );
            self.tell(CaptureStep::Noted, note, progress);
            return Ok(());
        }
        let readable = self.cluster.readable(topic, LOOK_WAIT);
        // Not all brokers need know of them yet: the next answer tells of them again.
        if readable.len() < there {
            return Ok(());
        }
        let added: Vec<i32> =
            readable.into_iter().filter(|partition| self.topics[number].index(*partition).is_none()).collect();
        let (name, role) = (topic.to_owned(), self.topics[number].role);
        // Their logs have only just begun, at 0: what retention has taken of them by now it has taken from this capture.
        let starts = added.into_iter().map(|partition| (partition, 0)).collect();
        let source = TopicSource { name, role, partitions: there as i32, ..TopicSource::default() };
        self.begin_at(number, starts, source)?;
        self.watching.knows(topic, there);
        let note = format!(
            "Topic `{topic}` has {there} partitions by now and had {had}: the new ones are taken from their first events on."
        );
        self.tell(CaptureStep::Noted, note, progress);
        Ok(())
    }

    /// Looks, now and then, for topics that a pattern chooses and that were not there when the capture began, and takes them.
    pub(super) fn look_for_topics(
        &mut self,
        settings: &CaptureSettings,
        now: Duration,
        progress: &mut dyn FnMut(&CaptureProgress),
    ) -> Result<(), CaptureError> {
        let patterned = settings.topics.iter().any(|choice| matches!(choice.names, TopicNames::Pattern(_)));
        if !patterned || now.saturating_sub(self.looked.at) < LOOK_FOR_TOPICS_EVERY {
            return Ok(());
        }
        self.looked.at = now;
        for (topic, chosen) in self.cluster.new_topics(settings, LOOK_WAIT) {
            if self.looked.gone.remove(&topic) {
                self.leave_made_again(&topic, progress);
            }
            if self.looked.met.contains(&topic) {
                continue;
            }
            let said = if self.takes_more() {
                let Some(said) = self.take_topic(&topic, chosen, &settings.partitions)? else { continue };
                said
            } else {
                "it is not among what is taken, as the window has an end".to_owned()
            };
            let note = format!("Topic `{topic}` was made after this capture began and matches what it takes: {said}.");
            self.looked.met.insert(topic);
            self.tell(CaptureStep::Noted, note, progress);
        }
        Ok(())
    }

    /// Takes a topic that came up; returns what to say of it, or nothing where it cannot be read yet.
    fn take_topic(
        &mut self,
        topic: &str,
        chosen: Chosen,
        partitions: &BTreeSet<i32>,
    ) -> Result<Option<String>, CaptureError> {
        let readable = self.cluster.readable(topic, LOOK_WAIT);
        if readable.is_empty() {
            return Ok(None);
        }
        let wanted = chosen.partitions.unwrap_or_else(|| partitions.clone());
        let (taken, left): (Vec<i32>, Vec<i32>) =
            readable.iter().partition(|partition| wanted.is_empty() || wanted.contains(partition));
        // Mostly at 0. Of one that this capture may only read since just now, or that a mirror writes, the log may begin elsewhere.
        let starts: Option<BTreeMap<i32, i64>> =
            taken.iter().map(|&one| Some((one, self.cluster.oldest(topic, one, LOOK_WAIT)?))).collect();
        let Some(starts) = starts else { return Ok(None) };
        let (mut ids, mut configurations) = self.cluster.describe(&[topic]);
        let configuration = configurations.remove(topic);
        let known = TakenTopic::new(topic, chosen.role, cause_of_gaps(configuration.as_ref()));
        self.reader.add_topic(topic).map_err(|reason| CaptureError::Consumer { reason })?;
        self.topics.push(known);
        // The client keeps answers of topics that it knows of: with this one it finds their leaders.
        self.cluster.readable(topic, LOOK_WAIT);
        let source = TopicSource {
            name: topic.to_owned(),
            id: ids.remove(topic),
            partitions: readable.len() as i32,
            configuration: configuration.unwrap_or_default(),
            role: chosen.role,
            ..TopicSource::default()
        };
        let id = source.id.clone();
        self.begin_at(self.topics.len() - 1, starts, source)?;
        self.watching.add_topic(topic, id, wanted.is_empty().then_some(readable.len()));
        Ok(Some(match left.len() {
            0 => format!("it is taken from its first event on, partitions: {}", taken.len()),
            _ => format!("of its {} partitions {} are taken, from their first events on", readable.len(), taken.len()),
        }))
    }

    /// Begins to read partitions from these offsets on.
    fn begin_at(&mut self, topic: usize, starts: BTreeMap<i32, i64>, source: TopicSource) -> Result<(), CaptureError> {
        // Where each partition begins is on the disk before anything of it is.
        self.writer.note_topic(TopicSource { starts: starts.clone(), ..source })?;
        for (partition, start) in starts {
            let stretch =
                Stretch { topic, partition, low: start, high: start, start, end: None, overtaken: 0, asked: None };
            let (index, cause) = (self.partitions.len(), self.topics[topic].cause);
            self.partitions.push(Taken::begin(stretch, cause));
            self.topics[topic].add(partition, index);
            self.watching.add_partition(start);
            self.open += 1;
            self.reader.start(topic, partition, start).map_err(|reason| self.failed(topic, partition, reason))?;
        }
        Ok(())
    }

    /// Whether a topic came up while this capture ran.
    pub(super) fn came_up(&self, topic: &str) -> bool {
        !self.cluster.topics.contains_key(topic)
    }

    /// Reads a topic no longer that came up and is deleted again: what came of it is taken, and the capture goes on with the others.
    pub(super) fn let_go(&mut self, topic: &str, progress: &mut dyn FnMut(&CaptureProgress)) {
        for index in 0..self.partitions.len() {
            let Taken { stretch, done, .. } = &mut self.partitions[index];
            if !*done && *self.topics[stretch.topic].name == *topic {
                *done = true;
                self.open -= 1;
                self.reader.stop(stretch.topic, stretch.partition);
            }
        }
        self.watching.forget(topic);
        self.looked.gone.insert(topic.to_owned());
        self.writer.note_deleted(topic);
        let note = format!(
            "Topic `{topic}`, which was made after this capture began, is deleted: what came of it until then stays, and the \
             capture goes on."
        );
        self.tell(CaptureStep::Noted, note, progress);
    }

    /// Says that a topic that was let go was made again: its offsets stand for other events than those that are taken.
    fn leave_made_again(&mut self, topic: &str, progress: &mut dyn FnMut(&CaptureProgress)) {
        let id = self.cluster.describe(&[topic]).0.remove(topic).unwrap_or_else(|| "unknown".to_owned());
        self.writer.note_recreated(topic, Recreation { id, doubtful: BTreeMap::new() });
        let note = format!("Topic `{topic}` was made again: nothing of the new one is taken; a new capture takes it.");
        self.tell(CaptureStep::Noted, note, progress);
    }
}
