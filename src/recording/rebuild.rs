//! A recording without its manifest, or cut off while it was written, made whole again.

use std::path::{Path, PathBuf};

use super::fence::Fence;
use super::location::Location;
use super::manifest::Manifest;
use super::recover::{manifest_left, recover};
use super::store::Target;
use super::{Recording, RecordingError, RecordingWriter, Resumed, Standing};

/// What rebuilding a recording came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The manifest that was written; sealed.
    pub manifest: Manifest,
    /// Segments that had been cut: they keep every whole row group, what came after was dropped.
    pub cut: Vec<PathBuf>,
    /// Segments without a single whole row group: they were renamed to end in `.cut` and are no part of the recording.
    pub lost: Vec<PathBuf>,
}

impl Recording {
    /// Writes the manifest of the recording in a directory or a store again, from its segments. Of one that is on its way to a
    /// store, what the spool still holds comes along, and the spool is gone then.
    ///
    /// For a recording whose manifest was lost or is damaged (then it is kept as `manifest.json.cut`), or whose writing was cut off. A segment that was cut is cut back to its last
    /// whole row group. The source (cluster, topics and their configuration) comes from a manifest that is not sealed where there
    /// is one, else, without configuration, from the segments' footers, as do masks (uncounted) and schemas seen; schemas kept are
    /// found where they lie. What is sealed stays as it is.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Fenced`] and [`RecordingError::Claimed`] while somebody writes it; else names the file and the cause.
    pub fn rebuild(target: impl Into<Target>) -> Result<Rebuilt, RecordingError> {
        let target = target.into();
        match target.location() {
            Location::Directory(path) => Self::rebuild_in(path),
            Location::Store(_) => {
                if RecordingWriter::standing(&target)? == Standing::Nothing {
                    return Err(RecordingError::NoManifest { path: target.shown().join(super::manifest::FILE) });
                }
                let (writer, Resumed { cut, lost, .. }) = RecordingWriter::resume(&target)?;
                Ok(Rebuilt { manifest: writer.seal()?, cut, lost })
            }
        }
    }

    fn rebuild_in(path: &Path) -> Result<Rebuilt, RecordingError> {
        if !path.is_dir() {
            return Err(RecordingError::NoSuchDirectory { path: path.to_owned() });
        }
        let sealed = |manifest| Rebuilt { manifest, cut: Vec::new(), lost: Vec::new() };
        // Nothing is written to what is sealed, not even a lock.
        if let Ok(manifest) = Manifest::read(path)
            && manifest.sealed
        {
            return Ok(sealed(manifest));
        }
        let left = manifest_left(path)?;
        let fence = Fence::take(path)?;
        // Read again: whoever wrote it may have sealed it meanwhile.
        let left = match left {
            Some(_) => manifest_left(path)?,
            None => None,
        };
        if let Some(manifest) = left.as_ref().filter(|manifest| manifest.sealed) {
            return Ok(sealed(manifest.clone()));
        }
        let mut recovered = recover(path, left, None)?;
        recovered.complete_manifest();
        recovered.manifest.sealed = true;
        recovered.manifest.write(path)?;
        fence.lift();
        Ok(Rebuilt { manifest: recovered.manifest, cut: recovered.cut, lost: recovered.lost })
    }
}
