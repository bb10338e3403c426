//! Events at rest: `manifest.json` and `segments/NNNNNN.parquet`, format 1, in a directory or below a prefix in an object store.
//!
//! In come events, in batches ([`RecordingWriter`]); out come the same events, byte for byte, in batches
//! ([`Recording::batches`]), by place ([`Lookup`]), or as coordinates alone ([`Recording::coordinates`]). Memory never depends on
//! the length of a recording. What never happens here: an event is changed.

mod accounts;
mod batch;
mod batches;
mod builder;
mod coordinates;
mod coverage;
mod disk;
mod draft;
mod error;
mod event;
mod fence;
mod gaps;
mod gather;
mod home;
mod import;
mod lens;
mod location;
mod lookup;
mod manifest;
mod opened;
mod parquet_input;
mod rebuild;
mod recover;
mod same;
mod schema;
mod schemas;
mod segment;
mod segment_writer;
mod shelf;
mod slice;
mod store;
mod summary;
mod verify;
mod writer;

pub use batch::{EventBatch, EventView, HeadersView};
pub use batches::Batches;
pub use builder::EventBatchBuilder;
pub use coordinates::{Coordinate, Coordinates};
pub(crate) use draft::Draft;
pub use error::RecordingError;
pub use event::{Event, Header, TimestampType};
pub use fence::Holder;
pub use gaps::{CauseFacts, GapCause, MissingOffsets, PartitionGaps};
pub use import::{
    ImportError, ImportReport, ImportSettings, Input, InputFormat, LineFormat, LineProblem, import, print_decoded,
    print_event,
};
pub use lens::Lens;
pub use location::{Location, LocationError, StoreKind, StoreUrl};
pub use lookup::Lookup;
pub use manifest::{
    Manifest, Mask, Masking, PartitionFacts, PersonalFacts, Recreation, Role, SchemaFile, SchemaSeen, SegmentFacts,
    Source, TimeSpan, TopicSource,
};
pub use opened::{Partition, Recording};
pub(crate) use parquet_input::ParquetInput;
pub use rebuild::Rebuilt;
pub use same::{Differing, EventDifference, same_events};
pub use schema::Columns;
pub use slice::{SliceError, SliceReport, SliceSettings, slice};
pub use store::{Claimant, StoreError, StoreReach, Target};
pub use summary::{Busiest, Disorder, Gap, PartitionSummary, Rates, Summary, TopicSummary};
pub use verify::Problem;
pub use writer::{AcknowledgedPartition, RecordingWriter, Resumed, Standing};

/// Where an event stands in a recording: its segment, counted from zero, and its row in the segment, counted from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Index into [`Manifest::segments`].
    pub segment: u32,
    /// Row in the segment's file.
    pub row: u32,
}

/// Name and version of this program, as files name their maker.
fn tool() -> String {
    concat!("rehearsal ", env!("CARGO_PKG_VERSION")).to_owned()
}
