//! A recording that has its name only once it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::fence::{self, Fence};
use super::location::Location;
use super::store::{Remote, Target, Whole};
use super::{RecordingError, disk};

/// A directory beside the recording to be, or its spool. Dropped before it is published, it is removed with all that it holds.
#[derive(Debug)]
pub(crate) struct Draft {
    out: PathBuf,
    pub(crate) path: PathBuf,
    remote: Option<Remote>,
}

impl Draft {
    /// Chooses a directory beside the recording to be, or the spool of the store it is to lie in. Where it is to lie nothing may
    /// be, or an empty directory.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NotEmpty`] where something is there already; [`RecordingError::Claimed`] where somebody writes there.
    pub(crate) fn of(target: &Target) -> Result<Self, RecordingError> {
        let draft = match target.location() {
            Location::Directory(out) => {
                tidy(out);
                Self { out: out.clone(), path: beside(out), remote: None }
            }
            Location::Store(url) => {
                // Before anything is taken: what is there stays as it is.
                if super::store::standing(target, url)? == super::Standing::Sealed {
                    return Err(RecordingError::NotEmpty { path: target.shown().to_owned() });
                }
                let remote = Remote::begin_new(target, Whole::AtOnce)?;
                Self { out: target.shown().to_owned(), path: remote.recording(), remote: Some(remote) }
            }
        };
        draft.refuse_taken()?;
        Ok(draft)
    }

    /// Returns the recording to be, as it is shown.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Gives the directory its name; to a store, uploads all of it, the manifest last. `go_on` is asked ahead of the name, of each
    /// segment's upload and of its end, and ahead of the manifest: where it says no, nothing of it is there, and the answer is `false`.
    #[must_use = "whether it was published"]
    pub(crate) fn publish(mut self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, RecordingError> {
        if let Some(remote) = self.remote.take() {
            let sent = remote.send_whole(go_on);
            if matches!(sent, Ok(true)) {
                // It is there: what is left of the way to it harms nobody.
                drop(remote.give_up());
            } else {
                self.remote = Some(remote);
            }
            return sent;
        }
        if !go_on() {
            return Ok(false);
        }
        self.refuse_taken()?;
        // An empty directory is replaced by the rename itself; one that is not makes it fail.
        fs::rename(&self.path, &self.out).map_err(RecordingError::file("write", &self.out))?;
        // Whoever is told that it is there may remove what it was made of.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        disk::sync_directory(folder).map_err(RecordingError::file("write", &self.out))?;
        Ok(true)
    }

    fn refuse_taken(&self) -> Result<(), RecordingError> {
        if self.remote.is_some() {
            // Nobody else writes there while this one has the right to.
            return Ok(());
        }
        match fs::read_dir(&self.out).map(|mut entries| entries.next().is_some()) {
            Ok(false) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(true) => Err(RecordingError::NotEmpty { path: self.out.clone() }),
            Err(source) => Err(RecordingError::file("read", &self.out)(source)),
        }
    }
}

/// Names a directory beside `out`.
fn beside(out: &Path) -> PathBuf {
    // Names the same directory as `out`, yet always has a last part.
    let full = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The number of the process keeps two programs that write to one place apart: the second finds the place taken.
    full.with_file_name(format!(".{name}.writing-{}", std::process::id()))
}

/// Removes what others left beside `out` who were killed while they wrote there: nobody holds its lock.
fn tidy(out: &Path) {
    let path = beside(out);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let mark = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let process = found.to_str().and_then(|found| found.strip_prefix(mark));
        let is_left = process.is_some_and(|process| !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit()));
        // One that was never begun has no lock, and one that somebody writes to is held.
        if is_left && entry.path().join(fence::FILE).is_file() && Fence::take(&entry.path()).is_ok() {
            // What cannot be removed harms nobody.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After it was published nothing is there any more; whatever else keeps it from being removed has no one to be told.
        let _ = match self.remote.take() {
            Some(remote) => remote.withdraw(),
            None => fs::remove_dir_all(&self.path).map_err(RecordingError::file("remove", &self.path)),
        };
    }
}
