//! A recording that has its name only once it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ImportError;
use crate::recording::RecordingError;

/// A directory beside the recording to be. Dropped before it is renamed, it is removed with all that it holds.
#[derive(Debug)]
pub(super) struct Draft {
    out: PathBuf,
    pub(super) path: PathBuf,
}

impl Draft {
    /// Chooses a directory beside `out`, which must be empty or not exist.
    pub(super) fn beside(out: &Path) -> Result<Self, ImportError> {
        // Names the same directory as `out`, yet always has a last part.
        let full = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The number of the process keeps two imports to one place apart: the second finds the place taken.
        let path = full.with_file_name(format!(".{name}.importing-{}", std::process::id()));
        let draft = Self { out: out.to_owned(), path };
        draft.refuse_taken()?;
        Ok(draft)
    }

    /// Gives the directory its name.
    pub(super) fn rename(self) -> Result<(), ImportError> {
        self.refuse_taken()?;
        // An empty directory is replaced by the rename itself; one that is not makes it fail.
        fs::rename(&self.path, &self.out)
            .map_err(|source| self.unwritable(RecordingError::File { action: "write", path: self.out.clone(), source }))
    }

    pub(super) fn unwritable(&self, source: RecordingError) -> ImportError {
        ImportError::Unwritable { out: self.out.clone(), source }
    }

    fn refuse_taken(&self) -> Result<(), ImportError> {
        match fs::read_dir(&self.out).map(|mut entries| entries.next().is_some()) {
            Ok(false) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(true) => Err(self.unwritable(RecordingError::NotEmpty { path: self.out.clone() })),
            Err(source) => {
                Err(self.unwritable(RecordingError::File { action: "read", path: self.out.clone(), source }))
            }
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the rename nothing is there any more; whatever else keeps it from being removed has no one to be told.
        let _ = fs::remove_dir_all(&self.path);
    }
}
