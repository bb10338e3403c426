//! Whether the logs still are those that the events of a recording were taken from.
//!
//! Where a leader took over that lacked some of them, it hands out their offsets anew, and once its log is as long again, offsets
//! alone tell nothing: the leader epoch of the last event taken does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::CaptureError;
use super::cluster::Cluster;
use crate::kafka::{Polled, Reader};

/// Bounds each wait for the answer of a leader, so that a request to stop is seen in time.
const WAIT: Duration = Duration::from_millis(50);

/// Bounds what the client itself does about a question.
const TRY: Duration = Duration::from_secs(10);

/// Events that a poll brings at most; they are thrown away.
const POLL_EVENTS: usize = 256;

/// Up to where a partition was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TakenUpTo<'n> {
    pub(super) topic: &'n str,
    pub(super) partition: i32,
    /// Offset behind its last event.
    pub(super) next: i64,
    /// Leader epoch of that event.
    pub(super) epoch: i32,
}

impl Cluster<'_> {
    /// Holds the logs against what was taken of them. The client knows their leaders by now.
    ///
    /// # Errors
    ///
    /// [`CaptureError::LogCut`] for the first that is another one, [`CaptureError::NoAnswer`] where one's leader does not say.
    pub(super) fn hold_against(&self, taken: &[TakenUpTo<'_>]) -> Result<(), CaptureError> {
        // An offset of zero was never behind an event.
        let taken: Vec<TakenUpTo<'_>> = taken.iter().filter(|one| one.next > 0).copied().collect();
        if taken.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = taken.iter().map(|one| one.topic).collect::<BTreeSet<_>>().into_iter().collect();
        let place = |one: &TakenUpTo<'_>| (names.partition_point(|name| *name < one.topic), one.partition);
        let failed = |reason| CaptureError::Consumer { reason };
        let mut reader = Reader::new(&self.consumer, names.iter().copied(), POLL_EVENTS).map_err(failed)?;
        let what = |one: &TakenUpTo<'_>| {
            format!("whether topic `{}`, partition {}, still holds what was taken", one.topic, one.partition)
        };
        let begun = self.now();
        for one in &taken {
            let (topic, partition) = place(one);
            reader.start(topic, partition, one.next).map_err(failed)?;
            while !reader.hold_against(topic, partition, (one.next, one.epoch), TRY).map_err(failed)? {
                drop(self.consumer.poll(WAIT));
                self.wait_on(begun, || what(one))?;
            }
        }
        let mut waiting: BTreeMap<(usize, i32), &TakenUpTo<'_>> = taken.iter().map(|one| (place(one), one)).collect();
        let mut cut = BTreeMap::new();
        while let Some(one) = waiting.values().next().copied() {
            let mut said = BTreeSet::new();
            let polled: Result<_, std::convert::Infallible> = reader.poll(WAIT, |polled| {
                match polled {
                    // It goes on behind what was taken, or ends there.
                    Polled::Event(event) => drop(said.insert((event.topic, event.partition()))),
                    // What retention has taken meanwhile is looked for elsewhere.
                    Polled::End { topic, partition, .. } | Polled::OutOfRange { topic, partition } => {
                        said.insert((topic, partition));
                    }
                    Polled::Truncated { topic, partition, end } => {
                        said.insert((topic, partition));
                        cut.insert((topic, partition), end);
                    }
                    // librdkafka asks again.
                    Polled::Failed { .. } => {}
                }
                Ok(())
            });
            let Ok(_) = polled;
            for place in said.into_iter().filter(|place| waiting.remove(place).is_some()) {
                reader.stop(place.0, place.1);
            }
            if !waiting.is_empty() {
                self.wait_on(begun, || what(one))?;
            }
        }
        match taken.iter().find_map(|one| Some((one, *cut.get(&place(one))?))) {
            Some((one, end)) => {
                let (topic, partition, wanted) = (one.topic.to_owned(), one.partition, one.next);
                Err(CaptureError::LogCut { topic, partition, wanted, end })
            }
            None => Ok(()),
        }
    }
}
