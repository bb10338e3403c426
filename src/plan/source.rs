//! Where a plan's coordinates come from: a recording, or anything else that can list partitions and what stands in them.

use std::fmt::Debug;

use crate::recording::{Columns, Coordinate, Lookup, Partition, Place, Recording, RecordingError, Role};
use crate::schema::Schemas;

/// What stands ahead of a partition's first event of the slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// Whether the last value of each key counts, so that a build cannot do without what was there before.
    pub table: bool,
    /// Offset at which the window of the recording begins, where events ahead of it are held, too.
    pub window: Option<i64>,
}

/// Events as a plan sees them: partitions, and the coordinates that stand in each.
///
/// A [`Recording`] is one. Everything must come back the same each time it is asked for.
pub trait Source: Debug + Send + Sync {
    /// Returns the partitions that hold events, in order of topic and partition.
    fn partitions(&self) -> Vec<Partition>;

    /// Whether events of `topic` are handed over where the scenario names no topics.
    fn is_input(&self, topic: &str) -> bool {
        let _ = topic;
        true
    }

    /// What stands ahead of the slice in `partition`.
    fn history(&self, partition: &Partition) -> History {
        let _ = partition;
        History::default()
    }

    /// Starts to read the coordinates of `partition` in order of offset; with `keys`, their key hashes too.
    fn coordinates(&self, partition: &Partition, keys: bool) -> CoordinateCursor;

    /// Starts to read values by place.
    fn values(&self) -> Box<dyn Values + Send>;
}

/// Coordinates of one partition in order of offset.
pub struct CoordinateCursor(Box<dyn Iterator<Item = Result<Coordinate, RecordingError>> + Send>);

impl CoordinateCursor {
    /// Reads from `coordinates`, which come in order of offset.
    pub fn new(coordinates: impl Iterator<Item = Result<Coordinate, RecordingError>> + Send + 'static) -> Self {
        Self(Box::new(coordinates))
    }
}

impl Debug for CoordinateCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoordinateCursor")
    }
}

impl Iterator for CoordinateCursor {
    type Item = Result<Coordinate, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Reads the values of events by place.
pub trait Values {
    /// Hands the value of each event of `places` to `take`, with its index in `places`; a null value is none. A value that a
    /// known schema describes comes as the JSON that it says.
    ///
    /// # Errors
    ///
    /// What the recording says.
    fn each(&mut self, places: &[Place], take: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), RecordingError>;
}

impl Source for Recording {
    fn partitions(&self) -> Vec<Partition> {
        Self::partitions(self)
    }

    fn is_input(&self, topic: &str) -> bool {
        let topics = &self.manifest().source.topics;
        topics
            .iter()
            .find(|known| known.name == topic)
            .is_none_or(|known| matches!(known.role, Role::Input | Role::Table))
    }

    fn history(&self, partition: &Partition) -> History {
        let topics = &self.manifest().source.topics;
        let known = topics.iter().find(|known| known.name == partition.topic);
        known.map_or_else(History::default, |known| History {
            table: known.role == Role::Table,
            window: known.windows.get(&partition.partition).copied(),
        })
    }

    fn coordinates(&self, partition: &Partition, keys: bool) -> CoordinateCursor {
        CoordinateCursor::new(Self::coordinates(self, partition, keys))
    }

    fn values(&self) -> Box<dyn Values + Send> {
        let lookup = self.lookup(Columns { key: false, value: true, headers: false });
        Box::new(Readable { recording: self.clone(), lookup, schemas: None })
    }
}

/// The values of a recording as what they say, where it keeps the schemas that describe them.
struct Readable {
    recording: Recording,
    lookup: Lookup,
    schemas: Option<Schemas>,
}

impl Values for Readable {
    fn each(&mut self, places: &[Place], take: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), RecordingError> {
        let schemas = match &mut self.schemas {
            Some(schemas) => schemas,
            none => none.insert(self.recording.schemas()?),
        };
        self.lookup.each(places, |index, event| {
            let decoded = event.value.and_then(|value| schemas.decode(value).ok());
            take(index, decoded.as_deref().or(event.value));
            Ok(())
        })
    }
}
