//! The user's cache of trees: one for each commit, place and list of commands, made once.
//!
//! Below the cache's folder stand, for each, `KEY/NAME` (the tree; NAME is what the repository's own folder is called, as some tools
//! take that for the name of the project), `KEY/made.json` (written last: a tree without it was not made to its end), `KEY.log` (what
//! the commands said) and `KEY.lock`.

use std::env;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::fingerprint::Fingerprint;
use super::git::{forget, short};
use super::lock::{Beside, Lock};
use super::{Repository, WorktreeError};
use crate::clock::{Clock, Stop};

/// Most trees that are kept, the one just made among them: beyond, those that were not used for longest go.
const TREES_MAX: usize = 24;

/// How often a tree is made that is another as soon as it was made.
const TRIES: usize = 3;

/// Characters of a key.
const KEY: usize = 20;

/// What is said of a tree that was made to its end.
const MADE: &str = "made.json";

/// A folder of trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

/// A tree that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Repository.
    pub repository: Repository,
    /// Commit, in full.
    pub commit: String,
    /// Where in the tree its commands are run.
    pub place: PathBuf,
    /// Commands that make it.
    pub build: Vec<Vec<String>>,
}

/// A tree that was made. It stays as it is as long as this, or a clone of it, is there.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What tells it from every other tree, one of the same commit that was made another time too.
    pub hash: String,
    _lock: Arc<Lock>,
}

/// What goes on until there is a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Somebody else makes it, or uses what has to be made anew.
    Waits,
    /// It is made.
    Makes,
}

/// What stands in [`MADE`].
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    format: String,
    commit: String,
    /// When, in microseconds since the Unix epoch.
    at_us: i64,
    /// What its commands changed of what git looks at.
    changes: Option<String>,
}

impl Wanted {
    /// First characters of the commit.
    pub fn short_commit(&self) -> &str {
        short(&self.commit)
    }

    /// By what it is known in a cache: other commands, another place and another repository make another tree.
    pub fn key(&self) -> String {
        let mut hash = Fingerprint::new();
        hash.add("repository", self.repository.top().as_os_str().as_bytes());
        hash.add("commit", &self.commit);
        hash.add("place", self.place.as_os_str().as_bytes());
        for words in &self.build {
            hash.add("command", words.len().to_le_bytes());
            for word in words {
                hash.add("word", word);
            }
        }
        let mut key = format!("{}-{}", short(&self.commit), hash.finish());
        key.truncate(short(&self.commit).len() + 1 + KEY);
        key
    }
}

impl Cache {
    /// The cache of whoever runs this program: `rehearsal/builds` below `$XDG_CACHE_HOME`, or below `~/.cache`.
    ///
    /// # Errors
    ///
    /// [`WorktreeError::NoCache`] where the environment names neither.
    pub fn of_user() -> Result<Self, WorktreeError> {
        let named = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
        Ok(Self::at(folder.ok_or(WorktreeError::NoCache)?.join("rehearsal").join("builds")))
    }

    /// The cache in `folder`, an absolute path.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the commands of a tree run, and its build: known before it is made.
    pub fn directory(&self, wanted: &Wanted) -> PathBuf {
        self.tree(wanted).join(&wanted.place)
    }

    /// Where what the commands of a tree say is kept.
    pub fn log(&self, wanted: &Wanted) -> PathBuf {
        self.folder.join(format!("{}.log", wanted.key()))
    }

    fn entry(&self, wanted: &Wanted) -> PathBuf {
        self.folder.join(wanted.key())
    }

    /// Where a tree is, or will be.
    pub fn tree(&self, wanted: &Wanted) -> PathBuf {
        let name = wanted.repository.top().file_name().unwrap_or("tree".as_ref());
        self.entry(wanted).join(name)
    }

    /// Takes a tree for as long as the result lives; where there is none, has `make` make it in the tree that was checked out: it is
    /// given the folder of the commands. One that has been changed since it was made is made anew. Of two programs that want the same
    /// tree one makes it, and the other waits for it; where `make` fails, nothing of it is left.
    ///
    /// # Errors
    ///
    /// What `make` says, and [`WorktreeError`] for all else; [`WorktreeError::Stopped`] where `stop` is raised while it waits.
    pub fn take<E: From<WorktreeError>>(
        &self,
        wanted: &Wanted,
        clock: &dyn Clock,
        stop: &Stop,
        heard: &dyn Fn(Step),
        make: impl Fn(&Path) -> Result<(), E>,
    ) -> Result<Standing, E> {
        fs::create_dir_all(&self.folder).map_err(WorktreeError::io(&self.folder))?;
        let path = self.folder.join(format!("{}.lock", wanted.key()));
        let waits = || heard(Step::Waits);
        // One tree may be removed, or changed, by others before it is taken; one that always is will never stand.
        for _ in 0..TRIES {
            let lock = Lock::take(&path, Beside::Others, stop, &waits)?;
            if let Some(hash) = self.made(wanted) {
                return Ok(Standing { hash, _lock: Arc::new(lock) });
            }
            drop(lock);
            let _alone = Lock::take(&path, Beside::Nobody, stop, &waits)?;
            // Somebody else may have made it meanwhile.
            if self.made(wanted).is_none() {
                heard(Step::Makes);
                self.make(wanted, clock, &make)?;
                self.make_room(wanted);
            }
        }
        Err(WorktreeError::Changing { path: self.tree(wanted) }.into())
    }

    /// Has `make` make something in `directory`, which is no tree of the cache, while nobody else does through this cache: it is given
    /// the file for what its commands say, which is not there.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub fn alone<E: From<WorktreeError>>(
        &self,
        directory: &Path,
        stop: &Stop,
        heard: &dyn Fn(Step),
        make: impl Fn(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        fs::create_dir_all(&self.folder).map_err(WorktreeError::io(&self.folder))?;
        let mut hash = Fingerprint::new();
        let whole = directory.canonicalize().map_err(WorktreeError::io(directory))?;
        hash.add("folder", whole.as_os_str().as_bytes());
        let mut key = format!("folder-{}", hash.finish());
        key.truncate("folder-".len() + KEY);
        let _alone =
            Lock::take(&self.folder.join(format!("{key}.lock")), Beside::Nobody, stop, &|| heard(Step::Waits))?;
        let log = self.folder.join(format!("{key}.log"));
        fs::remove_file(&log).or_else(is_gone).map_err(WorktreeError::io(&log))?;
        make(&log)
    }

    /// What tells the tree from all others; none where it was not made to its end, or has been changed since.
    fn made(&self, wanted: &Wanted) -> Option<String> {
        let bytes = fs::read(self.entry(wanted).join(MADE)).ok()?;
        let made: Made = serde_json::from_slice(&bytes).ok()?;
        let changes = Changes::of(&self.tree(wanted), &[]).ok()?;
        (made.format == "1.0" && changes.commit == wanted.commit && changes.hash == made.changes).then(|| {
            let mut hash = Fingerprint::new();
            hash.add(wanted.key(), bytes);
            hash.finish()
        })
    }

    fn make<E: From<WorktreeError>>(
        &self,
        wanted: &Wanted,
        clock: &dyn Clock,
        commands: impl Fn(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let (entry, tree) = (self.entry(wanted), self.tree(wanted));
        // What was left by a program that was killed.
        remove(&entry).map_err(WorktreeError::io(&entry))?;
        let log = self.log(wanted);
        fs::remove_file(&log).or_else(is_gone).map_err(WorktreeError::io(&log))?;
        fs::create_dir(&entry).map_err(WorktreeError::io(&entry))?;
        let made = wanted.repository.check_out(&wanted.commit, &tree).map_err(E::from);
        let made = made.and_then(|()| commands(&tree.join(&wanted.place)));
        let made = made.and_then(|()| {
            let changes = Changes::of(&tree, &[])?;
            let made =
                Made { format: "1.0".into(), commit: changes.commit, at_us: clock.date_us(), changes: changes.hash };
            let bytes = serde_json::to_vec_pretty(&made).map_err(io::Error::other);
            let half = entry.join(".made.json.part");
            let written = bytes.and_then(|bytes| fs::write(&half, bytes));
            let written = written.and_then(|()| fs::rename(&half, entry.join(MADE)));
            Ok(written.map_err(WorktreeError::io(&entry))?)
        });
        if made.is_err() {
            // What cannot be removed has no mark that it was made, and is removed next time.
            let _ = remove(&entry);
        }
        made
    }

    /// Removes trees that were not used for longest and are not in use, beyond those that are kept.
    fn make_room(&self, wanted: &Wanted) {
        // A tree that cannot be removed now is in nobody's way but the disk's; another run tries again.
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let locks = entries.flatten().map(|entry| entry.path());
        let locks = locks.filter(|path| path.extension().is_some_and(|ending| ending == "lock"));
        let used =
            |path: &PathBuf| path.metadata().and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut trees: Vec<(SystemTime, PathBuf)> =
            locks.filter(|lock| lock.with_extension("").is_dir()).map(|lock| (used(&lock), lock)).collect();
        trees.sort();
        let beyond = trees.len().saturating_sub(TREES_MAX);
        let others = trees.into_iter().filter(|(_, lock)| lock.with_extension("") != self.entry(wanted));
        for (_, lock) in others.take(beyond) {
            if let Ok(Some(_alone)) = Lock::take_if_free(&lock, Beside::Nobody) {
                let _ = remove(&lock.with_extension(""));
                let _ = fs::remove_file(lock.with_extension("log"));
            }
        }
    }
}

/// Removes an entry, and has git forget the tree in it.
fn remove(entry: &Path) -> io::Result<()> {
    if let Ok(inside) = fs::read_dir(entry) {
        inside.flatten().map(|inside| inside.path()).filter(|path| path.is_dir()).for_each(|tree| forget(&tree));
    }
    fs::remove_dir_all(entry).or_else(is_gone)
}

fn is_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
