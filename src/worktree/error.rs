//! Why there is no tree.

use std::io;
use std::path::PathBuf;

/// Why there is no tree of a revision, or nothing is known of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorktreeError {
    /// There is no git.
    #[error("could not run git")]
    NoGit(#[source] io::Error),
    /// Git refuses.
    #[error("git {command} failed in {folder}: {said}")]
    Git {
        /// What it was asked, such as `worktree add`.
        command: String,
        /// Where.
        folder: PathBuf,
        /// What it said.
        said: String,
    },
    /// There is no folder in which trees can be kept.
    #[error("there is no folder to build in, as neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// The folder in which trees are kept, or what stands in it, cannot be used.
    #[error("could not use {path}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A tree is another each time that it is looked at.
    #[error("the tree {path} goes on changing after its commands have ended")]
    Changing {
        /// Its folder.
        path: PathBuf,
    },
    /// Somebody asked to stop.
    #[error("stopped before the build was made")]
    Stopped,
}

impl WorktreeError {
    /// Says of an error of the system what it happened to.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
