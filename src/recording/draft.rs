//! A recording that has its name only once it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RecordingError;

/// A directory beside the recording to be. Dropped before it is renamed, it is removed with all that it holds.
#[derive(Debug)]
pub(crate) struct Draft {
    out: PathBuf,
    pub(crate) path: PathBuf,
}

impl Draft {
    /// Chooses a directory beside `out`, which must be empty or not exist.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NotEmpty`] where something is there already.
    pub(crate) fn beside(out: &Path) -> Result<Self, RecordingError> {
        // Names the same directory as `out`, yet always has a last part.
        let full = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The number of the process keeps two programs that write to one place apart: the second finds the place taken.
        let path = full.with_file_name(format!(".{name}.writing-{}", std::process::id()));
        let draft = Self { out: out.to_owned(), path };
        draft.refuse_taken()?;
        Ok(draft)
    }

    /// Returns the recording to be.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Gives the directory its name.
    pub(crate) fn rename(self) -> Result<(), RecordingError> {
        self.refuse_taken()?;
        // An empty directory is replaced by the rename itself; one that is not makes it fail.
        fs::rename(&self.path, &self.out).map_err(RecordingError::file("write", &self.out))
    }

    fn refuse_taken(&self) -> Result<(), RecordingError> {
        match fs::read_dir(&self.out).map(|mut entries| entries.next().is_some()) {
            Ok(false) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(true) => Err(RecordingError::NotEmpty { path: self.out.clone() }),
            Err(source) => Err(RecordingError::file("read", &self.out)(source)),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the rename nothing is there any more; whatever else keeps it from being removed has no one to be told.
        let _ = fs::remove_dir_all(&self.path);
    }
}
