//! A recording through a policy to another one.

use std::path::Path;

use super::{MaskError, Masker, Sighting};
use crate::recording::{Columns, Draft, EventBatchBuilder, Recording, RecordingError, RecordingWriter, Target};

/// Why a recording could not be masked. Nothing is left where it was to be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// An event cannot be masked, or must not be kept.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// One of the recordings cannot be read or written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Somebody asked to stop.
    #[error("stopped before the recording was masked; nothing is left of it")]
    Stopped,
}

/// What became of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteReport {
    /// Events in it.
    pub events: u64,
    /// What looked personal in what was left.
    pub sightings: Vec<Sighting>,
}

/// Writes the events of `recording` to a new one in `out`, each through `masker`; partitions, offsets and timestamps stay.
///
/// At `out` nothing may be, or an empty directory. It is written under another name beside it, or to the spool of its store, so
/// there is never half of it. `progress` is
/// told the events so far, and ends the work by returning `false`.
///
/// # Errors
///
/// [`RewriteError`]; nothing is left in `out`, nor beside it.
pub fn rewrite(
    recording: &Recording,
    masker: &mut Masker,
    out: impl Into<Target>,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<RewriteReport, RewriteError> {
    let draft = Draft::of(&out.into())?;
    let events = write(recording, masker, &draft.path, progress)?;
    if !draft.publish(&mut || progress(events))? {
        return Err(RewriteError::Stopped);
    }
    Ok(RewriteReport { events, sightings: masker.sightings() })
}

fn write(
    recording: &Recording,
    masker: &mut Masker,
    out: &Path,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, RewriteError> {
    let manifest = recording.manifest();
    masker.know(recording.schemas()?);
    let masking = masker.masking().or_else(|| manifest.masking.clone());
    let mut writer = RecordingWriter::create_masked(out, manifest.source.clone(), manifest.masks.clone(), masking)?;
    writer.keep_schemas_of(recording, |_, _| true)?;
    let (mut batch, mut events) = (EventBatchBuilder::new(), 0);
    for read in recording.batches(Columns::ALL) {
        for event in read?.iter() {
            match masker.mask_event(event)? {
                Some(kept) => kept.push_to(&mut batch, event),
                None => batch.push_view(event),
            }
            events += 1;
            if batch.is_full() {
                writer.write(&batch.finish())?;
                if !progress(events) {
                    return Err(RewriteError::Stopped);
                }
            }
        }
    }
    writer.write(&batch.finish())?;
    writer.carry_gaps(&manifest.gaps);
    if let Some(why) = &manifest.ended_early {
        writer.set_ended_early(why.clone());
    }
    // What was masked before is masked still.
    *writer.masks_mut() = manifest.masks.iter().cloned().chain(masker.masks()).collect();
    // Where any is refused, nothing is written.
    *writer.personal_mut() = masker.sightings().iter().map(Sighting::facts).collect();
    writer.seal()?;
    Ok(events)
}
