//! How a capture ends: a last look at the topics, and what is told of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::taken::Taken;
use super::{Ran, Taking};
use crate::capture::cluster::READ_UNCOMMITTED;
use crate::capture::watching::{Look, Recreated};
use crate::capture::window::Stretch;
use crate::capture::{CaptureEnding, CaptureError, CaptureProgress, CaptureSettings, CaptureStep};
use crate::recording::Recreation;

/// Bounds the last question, whether open transactions hold events back.
const HELD_BACK_WAIT: Duration = Duration::from_secs(5);

impl Taking<'_> {
    /// Says which open transactions hold events back from a capture that has come to an end.
    pub(super) fn tell_held_back(&mut self, settings: &CaptureSettings, progress: &mut dyn FnMut(&CaptureProgress)) {
        if settings.isolation() == READ_UNCOMMITTED {
            return;
        }
        // The last answer of a fetch tells of the newest event, committed or not; where nothing was fetched nobody knows.
        let may_hold = |taken: &&Taken| {
            let Stretch { topic, partition, .. } = taken.stretch;
            self.reader.high(topic, partition).is_none_or(|high| high > taken.next)
        };
        let places: Vec<(&str, i32)> = self
            .partitions
            .iter()
            .filter(may_hold)
            .map(|taken| (&*self.topics[taken.stretch.topic].name, taken.stretch.partition))
            .collect();
        if places.is_empty() {
            return;
        }
        let mut held_back = self.cluster.held_back(settings, &places, HELD_BACK_WAIT);
        // What lies behind the end of the window was not wanted.
        held_back.retain(|(topic, partition, stable, _)| {
            let number = self.topics.iter().position(|known| *known.name == **topic);
            let index = number.and_then(|number| self.topics[number].index(*partition));
            index.is_some_and(|index| self.partitions[index].stretch.end.is_none_or(|end| *stable <= end))
        });
        for (topic, partition, stable, offsets) in held_back {
            let note = format!(
                "Topic `{topic}`, partition {partition}: an open transaction holds back {offsets} offset{} from {stable} on; \
                 --uncommitted takes {}.",
                if offsets == 1 { "" } else { "s" },
                if offsets == 1 { "it" } else { "them" },
            );
            self.tell(CaptureStep::Noted, note, progress);
            self.writer.note_held_back(&topic, partition, stable);
        }
    }

    /// Takes a last look at the topics: none of them may have become another one while it was captured.
    pub(super) fn judge(
        &mut self,
        ran: Result<Ran, CaptureError>,
        out: &Path,
        notes: &mut Vec<String>,
    ) -> Result<CaptureEnding, CaptureError> {
        let ending = match ran {
            Ok(Ran::Recreated(recreated)) => return Err(self.refuse(recreated, out)),
            Ok(Ran::Deleted(topic, gone)) => {
                self.lose_rest(&topic);
                return Err(CaptureError::DeletedTopic { topic, gone });
            }
            Ok(Ran::To(ending)) => Ok(ending),
            // Told to stop while it waited for an answer: what was taken stands.
            Err(CaptureError::Stopped { .. }) => Ok(CaptureEnding::Stopped),
            // A log that ends earlier may be that of another topic.
            Err(error @ (CaptureError::LogEndsEarlier { .. } | CaptureError::LogCut { .. })) => Err(error),
            Err(error) => return Err(error),
        };
        match self.watching.look_now() {
            Look::Recreated(recreated) => return Err(self.refuse(recreated, out)),
            Look::NoAnswer if ending.is_ok() => notes.push(
                "Nobody can tell whether a topic was recreated at the end of the capture: the cluster gave no answer."
                    .to_owned(),
            ),
            Look::Same | Look::NoAnswer => {}
        }
        ending
    }

    /// Notes for topics that are others by now from where on events may be of those, and says so of the first.
    pub(super) fn refuse(&mut self, recreated: Vec<Recreated>, out: &Path) -> CaptureError {
        let mut refused = CaptureError::NoTopic;
        for Recreated { topic, recorded, found } in recreated.into_iter().rev() {
            let trusted = self.partitions.iter().zip(self.watching.trusted());
            let doubtful: BTreeMap<i32, i64> = trusted
                .filter(|(taken, trusted)| {
                    *self.topics[taken.stretch.topic].name == *topic && taken.accounted > **trusted
                })
                .map(|(taken, trusted)| (taken.stretch.partition, *trusted))
                .collect();
            if !doubtful.is_empty() {
                self.writer.note_recreated(&topic, Recreation { id: found.clone(), doubtful });
            }
            refused = CaptureError::RecreatedTopic { out: out.to_owned(), topic, recorded, found };
        }
        refused
    }
}
