//! Kafka to a recording.
//!
//! In come the events of some topics between a start and an end; out come the same events, byte for byte, in a recording that
//! is sealed however the capture ends. What never happens here: a consumer group is joined, an offset is committed, a topic is
//! created, anything is produced.

mod cluster;
mod error;
mod masking;
mod outage;
mod registry;
mod report;
mod resume;
mod schemas;
mod settings;
mod state;
mod taking;
mod topics;
mod truncation;
mod watching;
mod window;
mod writing;

pub use error::CaptureError;
pub use registry::{Registry, RegistryError, RegistrySettings};
pub use report::{CaptureEnding, CaptureProgress, CaptureReport, CaptureStep, CapturedPartition};
pub use settings::{CaptureSettings, PartitionStart, Start, Until};
pub use topics::{TopicChoice, TopicNames};

use crate::clock::{Clock, Stop};
use crate::recording::{RecordingError, RecordingWriter, Standing, Target};

/// Captures `settings.topics` to a recording in a directory or a store: a new one, or where one stands there whose writing was cut
/// off, the same one, from where its segments end.
///
/// What counts as kept is on the disk of this machine: of a recording in a store, in its spool, until it is uploaded.
///
/// Events come with the time at which they were received, read from `clock`. `progress` is called at the start, a few times a
/// second, and whenever more has been put on the disk. Where `stop` is raised, what was taken is sealed and the report says so.
///
/// # Errors
///
/// [`CaptureError::UnknownTopic`] and the like before anything is written, among them [`CaptureError::EmptyWindow`], and
/// [`CaptureError::StartBehindEnd`] and [`CaptureError::RetentionOvertook`] where the log does not hold the offset to begin at; and [`CaptureError::Stopped`] where `stop` is raised
/// before the brokers answer; [`CaptureError::OtherCluster`],
/// [`CaptureError::RecreatedTopic`], [`CaptureError::TopicLeftOut`], [`CaptureError::PartitionLeftOut`],
/// [`CaptureError::BegunOtherwise`], [`CaptureError::LogEndsEarlier`], [`CaptureError::LogCut`] and
/// [`CaptureError::RetentionOvertook`] where a recording cannot
/// be gone on with, which stays as it is; [`CaptureError::Unfinished`] where the disk refused: what was acknowledged stays, and the
/// same call goes on once the disk takes more; [`CaptureError::Interrupted`] where the capture had begun: what was taken until
/// then is sealed in `out`.
pub fn capture(
    settings: &CaptureSettings,
    out: impl Into<Target>,
    clock: &dyn Clock,
    stop: &Stop,
    progress: &mut dyn FnMut(&CaptureProgress),
) -> Result<CaptureReport, CaptureError> {
    let _heeding = stop.heed();
    if let (Start::Time(from_ms), Until::Time(until_ms)) = (settings.from, settings.until)
        && until_ms <= from_ms
    {
        return Err(CaptureError::EmptyWindow { from_ms, until_ms });
    }
    let target = out.into();
    let out = target.shown();
    // Before anybody is asked: whoever has to choose another directory need not wait for a cluster first.
    let begun = match RecordingWriter::standing(&target)? {
        Standing::Nothing => None,
        Standing::Sealed => return Err(RecordingError::Sealed { path: out.to_owned() }.into()),
        Standing::Unsealed => Some(RecordingWriter::resume(&target)?),
    };
    let cluster = cluster::Cluster::connect(settings, clock, stop)?;
    let mut window = window::Window::resolve(&cluster, settings, clock)?;
    let mut beginning = match begun {
        None => resume::Beginning::fresh(&cluster, &mut window, settings, &target, clock)?,
        Some(begun) => resume::Beginning::again(begun, &cluster, &mut window, settings, out, clock)?,
    };
    beginning.writer.set_segment_groups(settings.segment_groups);
    taking::take(&cluster, window, settings, out, beginning, clock, stop, progress)
}
