//! What has changed in a worktree since its commit.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::fingerprint::Fingerprint;
use super::git::{git, head, short};
use super::{Repository, WorktreeError};

/// Most files that git does not look at and that are looked at nevertheless.
const FILES_MAX: usize = 200_000;

/// The commit that a worktree stands at, and what has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Commit, in full.
    pub commit: String,
    /// SHA-256 over the paths and contents of all files that are others than in the commit, that it has and the worktree has not, and
    /// that are new; files that git is told to ignore are none of them. None where there is no such file.
    pub hash: Option<String>,
}

impl Changes {
    /// Looks at the worktree at `top`, but not at what lies below one of `without`, as absolute paths. Writes nothing, not even git's
    /// index.
    ///
    /// # Errors
    ///
    /// [`WorktreeError::Git`] where git refuses, as in a repository without a commit; [`WorktreeError::Io`] for a file that cannot be
    /// read.
    pub fn of(top: &Path, without: &[PathBuf]) -> Result<Self, WorktreeError> {
        let commit = head(top)?;
        let said = git(top, &["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"])?;
        let mut paths: Vec<&[u8]> = said.split(|byte| *byte == 0).filter_map(|entry| entry.get(3..)).collect();
        paths.sort_unstable();
        let mut hash = Fingerprint::new();
        let mut changed = false;
        for name in paths {
            let path = top.join(OsStr::from_bytes(name));
            if without.iter().any(|other| path.starts_with(other)) {
                continue;
            }
            changed = true;
            let added = if path.is_dir() && !path.is_symlink() {
                // A repository in the repository: git says no more of it than that.
                hash.add_states(&path, without, FILES_MAX).map(|_| ())
            } else {
                hash.add_content(name, &path)
            };
            match added {
                Err(error) if error.kind() == io::ErrorKind::NotFound => hash.add(name, "gone"),
                added => added.map_err(WorktreeError::io(&path))?,
            }
        }
        Ok(Self { commit, hash: changed.then(|| hash.finish()) })
    }

    /// First characters of the commit.
    pub fn short_commit(&self) -> &str {
        short(&self.commit)
    }
}

/// Adds to `hash` what the system says of files that git does not look at below `place` in the worktree of `repository`: those that it is
/// told to ignore, where builds keep what they were made into.
///
/// # Errors
///
/// [`WorktreeError::Git`] where git refuses; [`WorktreeError::Io`] for what cannot be looked at, and where there are more than 200,000
/// files.
pub fn beside_git(hash: &mut Fingerprint, repository: &Repository, without: &[PathBuf]) -> Result<(), WorktreeError> {
    let top = repository.top();
    let words = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"];
    let said = git(top, &words)?;
    let mut left = FILES_MAX;
    let names: Vec<&[u8]> = said.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    for name in names {
        let path = top.join(OsStr::from_bytes(name));
        // A slash at its end would make it another path.
        let path: PathBuf = path.components().collect();
        if without.iter().any(|other| path.starts_with(other)) {
            continue;
        }
        let failed = WorktreeError::io(&path);
        let looked = if path.is_dir() && !path.is_symlink() {
            hash.add_states(&path, without, left)
        } else {
            hash.add_state(&path).map(|()| 1)
        };
        left = left.saturating_sub(looked.map_err(failed)?);
    }
    Ok(())
}
