//! Space for what does not fit in memory: temporary files that vanish with their last handle.
//!
//! A leaf: pure rooms (`plan`, `compare`) open nothing themselves and are handed a [`SpillSpace`]. Through it they also learn
//! that nobody waits for their result any more.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A folder in which temporary files may be made. They have no name, so nothing is left behind even after a crash.
pub struct SpillSpace {
    folder: PathBuf,
    stopped: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl fmt::Debug for SpillSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillSpace").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl SpillSpace {
    /// Uses `folder`, which must exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), stopped: None }
    }

    /// Uses the system's folder for temporary files.
    pub fn system() -> Self {
        Self::new(std::env::temp_dir())
    }

    /// Lends the space only until `stopped` says so; the work it was lent for then ends without a result. `stopped` is asked at
    /// every step of that work, so it should cost no more than a look.
    ///
    /// ```
    /// use rehearsal::{clock::Stop, spill::SpillSpace};
    ///
    /// let stop = Stop::new();
    /// let asked = stop.clone();
    /// let spill = SpillSpace::system().until(move || asked.raised());
    /// assert!(!spill.is_withdrawn());
    /// stop.raise();
    /// assert!(spill.is_withdrawn());
    /// ```
    #[must_use]
    pub fn until(self, stopped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stopped: Some(Box::new(stopped)), ..self }
    }

    /// Whether the work that the space was lent for is to end.
    pub fn is_withdrawn(&self) -> bool {
        self.stopped.as_ref().is_some_and(|stopped| stopped())
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a new empty file without a name for reading and writing.
    ///
    /// # Errors
    ///
    /// What the file system says, such as no room or no permission.
    pub fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }
}
