//! Kafka to a recording.
//!
//! In come the events of some topics between a start and an end; out come the same events, byte for byte, in a recording that
//! is sealed however the capture ends. What never happens here: a consumer group is joined, an offset is committed, a topic is
//! created, anything is produced.

mod cluster;
mod error;
mod listening;
mod native;
mod properties;
mod settings;
mod state;
mod taking;
mod token;
mod topics;
mod window;
mod writing;

pub use error::CaptureError;
pub use properties::Properties;
pub use settings::{CaptureSettings, PartitionStart, Start, Until};
pub use taking::{CaptureEnding, CaptureProgress, CaptureReport, CaptureStep, CapturedPartition};
pub use topics::{TopicChoice, TopicNames};

use std::path::Path;

use crate::clock::{Clock, Stop};
use crate::recording::RecordingWriter;

/// Captures `settings.topics` to a new recording in the directory `out`.
///
/// Events come with the time at which they were received, read from `clock`. `progress` is called a few times a second. Where
/// `stop` is raised, what was taken is sealed and the report says so.
///
/// # Errors
///
/// [`CaptureError::UnknownTopic`] and the like before anything is written; [`CaptureError::Interrupted`] where the capture
/// had begun: what was taken until then is sealed in `out`.
pub fn capture(
    settings: &CaptureSettings,
    out: &Path,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &mut dyn FnMut(&CaptureProgress),
) -> Result<CaptureReport, CaptureError> {
    let _heeding = stop.heed();
    // Before anybody is asked: whoever has to choose another directory need not wait for a cluster first.
    RecordingWriter::check(out)?;
    let cluster = cluster::Cluster::connect(settings, clock)?;
    let window = window::Window::resolve(&cluster, settings, clock)?;
    taking::take(&cluster, window, settings, out, clock, stop, progress)
}
