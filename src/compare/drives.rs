//! Drives as the comparison reads them: outputs in order, some of them again, and what was delivered.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::CompareError;
use super::scan::mix;
use crate::outcome::{CauseBy, CauseView, Channel, Ending, Outcome, Output, OutputBatches, Receipt};
use crate::plan::Phase;
use crate::recording::{Columns, Coordinate, Partition, Place, Recording};
use crate::schema::SchemaText;

/// A drive to compare: an [`Outcome`] on disk, or outputs in memory ([`Remembered`]). Drives are read side by side.
pub trait Drive: Sync {
    /// How it ended.
    fn ending(&self) -> Ending;

    /// Schemas that describe values of this drive alone, as its own registry numbered them.
    fn schemas(&self) -> &[SchemaText] {
        &[]
    }

    /// Shows every output to `take`, in order of sequence; headers in `ignored` are left out of [`Row::headers`].
    ///
    /// # Errors
    ///
    /// The outcome cannot be read, or `take` fails.
    fn each(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError>;

    /// Shows every output as [`Drive::each`] does, perhaps with [`Row::value_hash`] in the place of the value: whoever looks at values only to
    /// know which are the same need not read them.
    ///
    /// # Errors
    ///
    /// As [`Drive::each`].
    fn each_hashed(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        self.each(ignored, take)
    }

    /// Reads the outputs with these sequences (ascending, none twice) and hands them to `take` in that order.
    ///
    /// # Errors
    ///
    /// The outcome cannot be read, or `take` fails.
    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError>;

    /// Shows every delivery with its topic to `take`, in the order of the plan; false where deliveries are not known.
    ///
    /// # Errors
    ///
    /// The outcome cannot be read, or `take` fails.
    fn receipts(&self, take: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError>;
}

/// One output as the comparison reads it. Fields as in [`Output`].
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Order of arrival.
    pub sequence: i64,
    /// Phase.
    pub phase: Phase,
    /// Channel.
    pub channel: Channel,
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Timestamp.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Hash of the value where it stands for it ([`Drive::each_hashed`]): then `value` is none, though there is one.
    pub value_hash: Option<u64>,
    /// Cause.
    pub cause: Option<CauseView<'a>>,
    /// Whether it could not be read.
    pub malformed: bool,
    /// Hash of the headers in order; zero for none.
    pub headers: u64,
}

/// Hash of headers in order; those in `ignored` are left out.
pub(super) fn headers_hash<'h>(
    headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ignored: &BTreeSet<String>,
) -> u64 {
    headers.filter(|(name, _)| !ignored.contains(*name)).fold(0, |hash, (name, value)| {
        mix(mix(hash, xxh3_64(name.as_bytes())), value.map_or(1, |value| xxh3_64(value) | 2))
    })
}

/// Shows outputs to `take`, with hashes in place of values that were not read.
fn show(
    outputs: OutputBatches,
    ignored: &BTreeSet<String>,
    take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
) -> Result<(), CompareError> {
    for batch in outputs {
        let batch = batch?;
        for row in 0..batch.len() {
            let (view, value_hash) = batch.hashed(row);
            take(&Row {
                sequence: view.sequence,
                phase: view.phase,
                channel: view.channel,
                topic: view.topic,
                partition: view.partition,
                timestamp_ms: view.timestamp_ms,
                key: view.key,
                value: view.value,
                value_hash,
                cause: view.cause,
                malformed: view.malformed.is_some(),
                headers: if view.headers.is_empty() { 0 } else { headers_hash(view.headers.iter(), ignored) },
            })?;
        }
    }
    Ok(())
}

impl Drive for Outcome {
    fn ending(&self) -> Ending {
        Outcome::ending(self).ending
    }

    fn schemas(&self) -> &[SchemaText] {
        Outcome::ending(self).registry.as_ref().map_or(&[], |registry| &registry.schemas)
    }

    fn each(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        show(self.outputs()?, ignored, take)
    }

    fn each_hashed(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        match self.hashed_outputs()? {
            Some(outputs) => show(outputs, ignored, take),
            None => self.each(ignored, take),
        }
    }

    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        // A page a sequence costs more than reading everything once where many are asked for, unless they stand together.
        let reach = sequences.first().zip(sequences.last()).map_or(0, |(first, last)| first.abs_diff(*last));
        let count = sequences.len() as u64;
        if count.saturating_mul(64) < self.output_count() || reach < count.saturating_mul(8) {
            for batch in self.batches_at(sequences)? {
                let batch = batch?;
                (0..batch.len()).try_for_each(|row| take(batch.get(row).to_output()))?;
            }
            return Ok(());
        }
        let mut wanted = sequences.iter().copied().peekable();
        for batch in self.outputs_from(sequences.first().copied().unwrap_or_default())? {
            let batch = batch?;
            for row in 0..batch.len() {
                let Some(next) = wanted.peek() else { return Ok(()) };
                let view = batch.get(row);
                if view.sequence == *next {
                    take(view.to_output())?;
                    wanted.next();
                }
            }
        }
        Ok(())
    }

    fn receipts(&self, take: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError> {
        let Some(batches) = self.deliveries()? else { return Ok(false) };
        for batch in batches {
            for receipt in batch? {
                if let Some(topic) = self.topics().get(receipt.delivery.topic as usize) {
                    take(topic, &receipt)?;
                }
            }
        }
        Ok(true)
    }
}

/// A drive whose outputs are in memory: for tests of a processor within one process, and of this room.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Outputs, ascending by sequence.
    pub outputs: Vec<Output>,
    /// How it ended.
    pub ending: Ending,
    /// Topics that `receipts` point into.
    pub topics: Vec<String>,
    /// Deliveries; none where they are not known.
    pub receipts: Option<Vec<Receipt>>,
}

impl Remembered {
    /// A drive that finished with `outputs`, ascending by sequence; what was delivered is not known.
    pub fn finished(outputs: Vec<Output>) -> Self {
        Self { outputs, ending: Ending::Finished, topics: Vec::new(), receipts: None }
    }
}

impl Drive for Remembered {
    fn ending(&self) -> Ending {
        self.ending
    }

    fn each(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        for output in &self.outputs {
            let headers = output.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
            take(&Row {
                sequence: output.sequence,
                phase: output.phase,
                channel: output.channel,
                topic: &output.topic,
                partition: output.partition,
                timestamp_ms: output.timestamp_ms,
                key: output.key.as_deref(),
                value: output.value.as_deref(),
                value_hash: None,
                cause: output.cause.as_ref().map(|cause| CauseView {
                    topic: &cause.topic,
                    partition: cause.partition,
                    offset: cause.offset,
                    attempt: cause.attempt,
                    by: cause.by,
                }),
                malformed: output.malformed.is_some(),
                headers: headers_hash(headers, ignored),
            })?;
        }
        Ok(())
    }

    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        let find = |sequence: &i64| self.outputs.binary_search_by_key(sequence, |output| output.sequence).ok();
        sequences.iter().filter_map(find).try_for_each(|at| take(self.outputs[at].clone()))
    }

    fn receipts(&self, take: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError> {
        let Some(receipts) = &self.receipts else { return Ok(false) };
        for receipt in receipts {
            if let Some(topic) = self.topics.get(receipt.delivery.topic as usize) {
                take(topic, receipt)?;
            }
        }
        Ok(true)
    }
}

/// An event by its coordinates as recorded: topic, partition, offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coordinates {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl Coordinates {
    /// Hash of the three.
    pub(super) fn hash(&self) -> u64 {
        mix(xxh3_64(self.topic.as_bytes()), mix(self.partition as u64, self.offset as u64))
    }
}

/// Knows the timestamps of recorded events.
pub trait EventTimes {
    /// Finds the timestamps of `events`, in milliseconds since the Unix epoch; events without one are left out.
    ///
    /// # Errors
    ///
    /// The recording cannot be read.
    fn times(&self, events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, i64>, CompareError>;

    /// Reads the values of `events`, as recorded; those that cannot be had, and tombstones, are left out. By default none can.
    ///
    /// # Errors
    ///
    /// The recording cannot be read.
    fn values(&self, _events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, Vec<u8>>, CompareError> {
        Ok(BTreeMap::new())
    }
}

/// Lookups in one partition from which on reading all its coordinates is cheaper.
const LOOKUPS_MAX: usize = 256;

impl EventTimes for Recording {
    fn times(&self, events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, i64>, CompareError> {
        let found = found(self, events)?.into_iter();
        Ok(found.filter_map(|(event, coordinate)| Some((event, coordinate.timestamp_ms?))).collect())
    }

    fn values(&self, events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, Vec<u8>>, CompareError> {
        let mut found = found(self, events)?;
        found.sort_by_key(|(_, coordinate)| coordinate.place);
        let places: Vec<Place> = found.iter().map(|(_, coordinate)| coordinate.place).collect();
        let mut values = BTreeMap::new();
        self.lookup(Columns { value: true, ..Columns::NONE }).each(&places, |at, event| {
            if let (Some((own, _)), Some(value)) = (found.get(at), event.value) {
                values.insert(own.clone(), value.to_vec());
            }
            Ok::<_, CompareError>(())
        })?;
        Ok(values)
    }
}

/// Finds where recorded events stand; those that the recording does not have are left out.
fn found(
    recording: &Recording,
    events: &BTreeSet<Coordinates>,
) -> Result<Vec<(Coordinates, Coordinate)>, CompareError> {
    let mut partitions: BTreeMap<Partition, Vec<i64>> = BTreeMap::new();
    for event in events {
        let partition = Partition { topic: event.topic.clone(), partition: event.partition };
        partitions.entry(partition).or_default().push(event.offset);
    }
    let mut all = Vec::new();
    for (partition, offsets) in partitions {
        let mut found = Vec::new();
        if offsets.len() > LOOKUPS_MAX {
            for coordinate in recording.coordinates(&partition, false) {
                let coordinate = coordinate?;
                if offsets.binary_search(&coordinate.offset).is_ok() {
                    found.push(coordinate);
                }
            }
        } else {
            for offset in &offsets {
                found.extend(recording.at(&partition, *offset)?);
            }
        }
        all.extend(found.into_iter().map(|coordinate| {
            let (topic, partition) = (partition.topic.clone(), partition.partition);
            (Coordinates { topic, partition, offset: coordinate.offset }, coordinate)
        }));
    }
    Ok(all)
}

impl EventTimes for BTreeMap<Coordinates, i64> {
    fn times(&self, events: &BTreeSet<Coordinates>) -> Result<BTreeMap<Coordinates, i64>, CompareError> {
        Ok(events.iter().filter_map(|event| Some((event.clone(), *self.get(event)?))).collect())
    }
}

/// Whether the build stated a cause: only then does it tell two outputs apart. Of several events that carry what an output
/// carries, lineage finds the one handed over last, which a moment may decide.
pub(super) fn is_stated(by: CauseBy) -> bool {
    by == CauseBy::Build
}
