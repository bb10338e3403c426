//! Whether two recordings hold the same events.

use std::collections::BTreeSet;

use super::{Columns, Coordinates, EventBatch, EventView, Lookup, Partition, Place, Recording, RecordingError};

/// Events that are compared at a time.
const CHUNK: usize = 1_024;

/// The first place where two recordings differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic `{}`, partition {}, event {index}: {what}", partition.topic, partition.partition)]
pub struct EventDifference {
    /// Partition.
    pub partition: Partition,
    /// Number of the event in its partition, counted from zero.
    pub index: u64,
    /// What differs.
    pub what: Differing,
}

/// What differs between two events, the first of the list that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Differing {
    /// The first recording ends here.
    #[error("only the second recording has it")]
    OnlySecond,
    /// The second recording ends here.
    #[error("only the first recording has it")]
    OnlyFirst,
    /// The keys.
    #[error("the keys differ")]
    Key,
    /// The values.
    #[error("the values differ")]
    Value,
    /// The headers: names, values, order or repeats.
    #[error("the headers differ")]
    Headers,
    /// The timestamps.
    #[error("the timestamps differ")]
    Timestamp,
    /// Who set the timestamps.
    #[error("the types of the timestamps differ")]
    TimestampType,
}

/// Compares all events of two recordings, partition by partition in order of offset: key, value, headers, timestamp and its
/// type. Offsets themselves may differ, as those of a copy do.
///
/// Returns the first difference; none where the recordings are the same.
///
/// # Errors
///
/// Where one of the recordings cannot be read.
pub fn same_events(first: &Recording, second: &Recording) -> Result<Option<EventDifference>, RecordingError> {
    let partitions: BTreeSet<Partition> = first.partitions().into_iter().chain(second.partitions()).collect();
    for partition in partitions {
        if let Some((index, what)) = same_partition(first, second, &partition)? {
            return Ok(Some(EventDifference { partition, index, what }));
        }
    }
    Ok(None)
}

fn same_partition(
    first: &Recording,
    second: &Recording,
    partition: &Partition,
) -> Result<Option<(u64, Differing)>, RecordingError> {
    let (mut first, mut second) = (Chunks::of(first, partition), Chunks::of(second, partition));
    let mut index = 0;
    loop {
        let (a, b) = (first.next()?, second.next()?);
        for row in 0..a.len().max(b.len()) {
            let what = match (row < a.len(), row < b.len()) {
                (true, true) => compare(a.get(row), b.get(row)),
                (true, false) => Some(Differing::OnlyFirst),
                (false, _) => Some(Differing::OnlySecond),
            };
            if let Some(what) = what {
                return Ok(Some((index, what)));
            }
            index += 1;
        }
        if a.is_empty() {
            return Ok(None);
        }
    }
}

fn compare(a: EventView<'_>, b: EventView<'_>) -> Option<Differing> {
    if a.key != b.key {
        Some(Differing::Key)
    } else if a.value != b.value {
        Some(Differing::Value)
    } else if !a.headers.iter().eq(b.headers.iter()) {
        Some(Differing::Headers)
    } else if a.timestamp_ms != b.timestamp_ms {
        Some(Differing::Timestamp)
    } else {
        (a.timestamp_type != b.timestamp_type).then_some(Differing::TimestampType)
    }
}

/// Events of one partition in order of offset, a chunk at a time.
struct Chunks {
    coordinates: Coordinates,
    lookup: Lookup,
}

impl Chunks {
    fn of(recording: &Recording, partition: &Partition) -> Self {
        let lookup = recording.lookup(Columns { key: true, value: true, headers: true });
        Self { coordinates: recording.coordinates(partition, false), lookup }
    }

    /// Returns the next [`CHUNK`] events; fewer only at the end.
    fn next(&mut self) -> Result<EventBatch, RecordingError> {
        let places: Vec<Place> =
            self.coordinates.by_ref().take(CHUNK).map(|coordinate| Ok(coordinate?.place)).collect::<Result<_, _>>()?;
        self.lookup.fetch(&places)
    }
}
