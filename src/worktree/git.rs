//! All that is asked of git. It is the user's own `git`, so that what they have configured (filters, credentials) holds.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use super::WorktreeError;

/// Variables by which git is led to another repository, tree or index than those of the folder that it is asked in. A hook has them in
/// its environment: with them, what is meant for a tree of ours would be done to the user's.
pub const REDIRECTIONS: [&str; 12] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Characters of a commit that are shown.
const SHORT: usize = 12;

/// A worktree of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    top: PathBuf,
    prefix: PathBuf,
}

impl Repository {
    /// Finds the worktree that holds `folder`; none where that lies in no repository.
    ///
    /// # Errors
    ///
    /// [`WorktreeError::NoGit`], and [`WorktreeError::Git`] where git refuses: the repository belongs to somebody else, or has no
    /// worktree.
    pub fn around(folder: &Path) -> Result<Option<Self>, WorktreeError> {
        let asked = git(folder, &["rev-parse", "--show-toplevel", "--show-prefix"]);
        let said = match asked {
            Err(WorktreeError::Git { said, .. }) if said.contains("not a git repository") => return Ok(None),
            asked => asked?,
        };
        let mut lines = said.split(|byte| *byte == b'\n').map(|line| PathBuf::from(OsStr::from_bytes(line)));
        let (top, prefix) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        Ok(Some(Self { top, prefix }))
    }

    /// Top of the worktree, as an absolute path without links.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Where `directory`, as seen from the folder that this was asked of, lies below the top; empty for the top itself, none where it
    /// lies outside.
    pub fn place(&self, directory: &Path) -> Option<PathBuf> {
        let inside = if directory.is_absolute() {
            let found = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
            found.strip_prefix(&self.top).ok()?.to_owned()
        } else {
            self.prefix.join(directory)
        };
        let mut place = PathBuf::new();
        for part in inside.components() {
            match part {
                Component::Normal(name) => place.push(name),
                // Above the top nothing belongs to the repository.
                Component::ParentDir if !place.pop() => return None,
                _ => {}
            }
        }
        Some(place)
    }

    /// The commit that `revision` (a branch, a tag, a commit, `HEAD~1`) names now, in full; none where it names none.
    ///
    /// # Errors
    ///
    /// [`WorktreeError::NoGit`].
    pub fn commit(&self, revision: &str) -> Result<Option<String>, WorktreeError> {
        let wanted = format!("{revision}^{{commit}}");
        match git(&self.top, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted]) {
            Ok(said) => Ok(Some(text(&said))),
            Err(WorktreeError::Git { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a folder at `place` in `commit`.
    ///
    /// # Errors
    ///
    /// [`WorktreeError::NoGit`].
    pub fn has_folder(&self, commit: &str, place: &Path) -> Result<bool, WorktreeError> {
        let mut wanted = std::ffi::OsString::from(format!("{commit}:"));
        wanted.push(place);
        match git(&self.top, &["cat-file".as_ref(), "-t".as_ref(), wanted.as_os_str()]) {
            Ok(said) => Ok(text(&said) == "tree"),
            Err(WorktreeError::Git { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Checks `commit` out to the folder `tree`, which is not there yet, on no branch.
    pub(super) fn check_out(&self, commit: &str, tree: &Path) -> Result<(), WorktreeError> {
        // Hooks are the user's, for the user's own worktree. Forced, as a tree of this name may have been removed by hand.
        let words = ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--force", "--detach"];
        let words = words.iter().map(OsStr::new).chain([tree.as_os_str(), commit.as_ref()]);
        git(&self.top, &words.collect::<Vec<_>>()).map(|_| ())
    }
}

/// Has git forget the tree it checked out to `tree`, and remove it; what it does not remove is left to the caller.
pub(super) fn forget(tree: &Path) {
    // The repository may be gone, and with it all that would have to be forgotten.
    let words = ["worktree".as_ref(), "remove".as_ref(), "--force".as_ref(), "--force".as_ref(), tree.as_os_str()];
    let _ = git(tree, &words);
}

/// The commit that is checked out in `tree`.
pub(super) fn head(tree: &Path) -> Result<String, WorktreeError> {
    git(tree, &["rev-parse", "--verify", "HEAD"]).map(|said| text(&said))
}

/// Asks git about `folder`; returns what it writes.
pub(super) fn git<W: AsRef<OsStr>>(folder: &Path, words: &[W]) -> Result<Vec<u8>, WorktreeError> {
    let mut command = Command::new("git");
    for name in REDIRECTIONS {
        command.env_remove(name);
    }
    // Without the index written anew where only a look is wanted, without questions, and in words that can be told apart.
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    command.arg("-C").arg(folder).args(words).stdin(Stdio::null());
    let output = command.output().map_err(WorktreeError::NoGit)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let asked = words.iter().map(|word| word.as_ref().to_string_lossy());
    let asked: Vec<_> = asked.skip_while(|word| word == "-c" || word.contains('=')).take(2).collect();
    let said = text(&output.stderr);
    let said = said.strip_prefix("fatal: ").unwrap_or(&said).to_owned();
    Err(WorktreeError::Git { command: asked.join(" "), folder: folder.to_owned(), said })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The first characters of a commit, by which people know it.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}
