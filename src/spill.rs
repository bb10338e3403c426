//! Space for what does not fit in memory: temporary files that vanish with their last handle.
//!
//! A leaf: pure rooms (`plan`, `compare`) open nothing themselves and are handed a [`SpillSpace`]. Through it they also learn
//! that nobody waits for their result any more.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder in which temporary files may be made. Each file is unlinked as soon as it is open, so nothing is left behind even
/// after a crash.
pub struct SpillSpace {
    folder: PathBuf,
    made: AtomicU64,
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
        Self { folder: folder.into(), made: AtomicU64::new(0), stopped: None }
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

    /// Opens a new empty file for reading and writing; it has no name any more when it is returned.
    ///
    /// # Errors
    ///
    /// What the file system says, such as no room or no permission.
    pub fn file(&self) -> io::Result<File> {
        loop {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!(".rehearsal-spill-{}-{number}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    std::fs::remove_file(&path)?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}
