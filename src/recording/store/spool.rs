//! Where a recording lies that is on its way to a store: a folder of this machine.
//!
//! What is captured is on this machine's disk first, as safe as a recording in a directory. The folder knows the recording that
//! it belongs to and proves, to the store, that whoever holds it is the one that wrote there before.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use super::claim::host;
use super::{Patience, Store};
use crate::recording::fence::{self, Fence};
use crate::recording::location::{Location, StoreUrl};
use crate::recording::segment_writer::{hash_text, hex};
use crate::recording::{RecordingError, disk};

/// Name of the file that says whose spool it is.
const FACTS: &str = "store.json";

/// Name of the folder of the recording.
const RECORDING: &str = "recording";

/// Bytes of a part of an upload, where nothing else is said.
const PART_BYTES: u64 = 8 << 20;

/// What a recording is written to, and how: a directory, or a store by way of a spool on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    location: Location,
    spool: Option<PathBuf>,
    take_over: bool,
    pub(super) part_bytes: u64,
    pub(super) patience: Patience,
}

impl<L: Into<Location>> From<L> for Target {
    fn from(location: L) -> Self {
        Self {
            location: location.into(),
            spool: None,
            take_over: false,
            part_bytes: PART_BYTES,
            patience: Patience::LONG,
        }
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

impl Target {
    /// Spools in this folder instead of one below the user's folder for state. It must be empty, not exist, or be the spool of
    /// the same recording.
    #[must_use]
    pub fn spooled_in(mut self, spool: Option<PathBuf>) -> Self {
        self.spool = spool;
        self
    }

    /// Takes over from a writer that is gone without having let go of the store: only a person can know that it is.
    #[must_use]
    pub fn taking_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Uploads in parts of so many bytes; S3 takes no fewer than 5 MiB.
    #[must_use]
    pub fn in_parts_of(mut self, part_bytes: u64) -> Self {
        self.part_bytes = part_bytes.max(1);
        self
    }

    /// Makes a request that failed again so often, and for so long, before it counts as failed.
    #[must_use]
    pub fn with_retries(mut self, retries: usize, timeout: Duration) -> Self {
        self.patience = Patience { retries, timeout };
        self
    }

    /// Where the recording is to lie.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Where it is to lie, as it is shown.
    pub fn shown(&self) -> &Path {
        self.location.shown()
    }

    pub(super) fn takes_over(&self) -> bool {
        self.take_over
    }

    /// Returns the folder of the spool; none where the recording is written to a directory.
    ///
    /// # Errors
    ///
    /// [`RecordingError::NoSpool`] where no folder was named and the user has none for state.
    pub fn spool(&self) -> Result<Option<PathBuf>, RecordingError> {
        let Location::Store(url) = &self.location else { return Ok(None) };
        if let Some(spool) = &self.spool {
            return Ok(Some(spool.clone()));
        }
        let connect = Store::connect(url, Patience::SHORT).map_err(io::Error::from);
        let store = connect.map_err(RecordingError::file("open", url.shown()))?;
        let state = state_folder().ok_or_else(|| RecordingError::NoSpool { path: url.shown().to_owned() })?;
        Ok(Some(state.join("rehearsal/spool").join(folder_name(url, &store.identity()))))
    }
}

/// The user's folder for state (XDG Base Directory Specification).
fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

/// Name of the spool's folder: one that a person can tell, and that no other recording has.
fn folder_name(url: &StoreUrl, identity: &str) -> String {
    let last = url.prefix().rsplit('/').next().unwrap_or_default();
    let plain = |text: &str| -> String {
        let letter = |one: char| if one.is_ascii_alphanumeric() || "-_.".contains(one) { one } else { '_' };
        text.chars().map(letter).take(60).collect()
    };
    let hash = hash_text(xxh3_64(identity.as_bytes()));
    format!("{}-{}-{}-{hash}", url.kind().scheme(), plain(url.bucket()), plain(last))
}

/// Whose spool it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    /// Address of the recording.
    recording: String,
    /// Tells it from a recording of the same address at another endpoint.
    identity: String,
    /// What the store knows the writer by.
    token: String,
    /// Whether nothing of it counts before all of it is there.
    whole: bool,
    /// Whether its writer was told to take over from another one, which may still be about to end one upload.
    #[serde(default)]
    took_over: bool,
}

/// Whether anything of a recording counts before all of it is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recording) enum Whole {
    /// No: a capture goes on where it was cut off.
    ByAndBy,
    /// Yes: an import, a slice or a mask is made again from its beginning.
    AtOnce,
}

/// A spool that nobody else writes.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    facts: Facts,
    fence: Fence,
    /// Whether there was none before.
    pub(super) is_new: bool,
}

impl Spool {
    /// Takes the spool of the recording, making one where there is none.
    pub(super) fn take(target: &Target, store: &Store, whole: Whole) -> Result<Self, RecordingError> {
        let Some(folder) = target.spool()? else {
            return Err(RecordingError::NoSpool { path: target.shown().to_owned() });
        };
        disk::create_directories(&folder).map_err(RecordingError::file("create", &folder))?;
        let fence = Fence::take(&folder).map_err(|error| match error {
            RecordingError::Fenced { holder, .. } => RecordingError::Fenced { path: target.shown().to_owned(), holder },
            error => error,
        })?;
        let identity = hash_text(xxh3_64(store.identity().as_bytes()));
        let whole = whole == Whole::AtOnce;
        let known = facts_in(&folder)?;
        let is_new = known.is_none();
        let facts = match known {
            Some(facts) if facts.identity == identity => facts,
            Some(facts) => return Err(RecordingError::OtherSpool { spool: folder, found: facts.recording }),
            None => {
                let facts = Facts {
                    recording: store.shown().display().to_string(),
                    identity,
                    token: token(&folder).map_err(RecordingError::file("read", &folder))?,
                    whole,
                    took_over: false,
                };
                write_facts(&folder, &facts)?;
                facts
            }
        };
        Ok(Self { folder, facts, fence, is_new })
    }

    /// Makes it the spool of a recording that begins anew.
    pub(super) fn begin_anew(&mut self, whole: Whole) -> Result<(), RecordingError> {
        remove_all(&self.recording())?;
        self.facts.whole = whole == Whole::AtOnce;
        write_facts(&self.folder, &self.facts)
    }

    /// Keeps that its writer takes over: it holds for those that go on after it, too.
    pub(super) fn note_take_over(&mut self) -> Result<(), RecordingError> {
        if self.facts.took_over {
            return Ok(());
        }
        self.facts.took_over = true;
        write_facts(&self.folder, &self.facts)
    }

    /// Whether its writer, or one that it goes on from, was told to take over.
    pub(super) fn took_over(&self) -> bool {
        self.facts.took_over
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the recording in it.
    pub(super) fn recording(&self) -> PathBuf {
        self.folder.join(RECORDING)
    }

    /// What the store knows its writer by.
    pub(super) fn token(&self) -> &str {
        &self.facts.token
    }

    /// Whether nothing of its recording counts before all of it is in the store.
    pub(super) fn is_whole(&self) -> bool {
        self.facts.whole
    }

    /// Takes the spool away, once all of it is in the store.
    pub(super) fn remove(self) -> Result<(), RecordingError> {
        remove_all(&self.recording())?;
        let facts = self.folder.join(FACTS);
        fs::remove_file(&facts).map_err(RecordingError::file("remove", &facts))?;
        self.fence.lift();
        // A folder that somebody named may hold more.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }
}

/// Whether a folder is the spool of the recording.
pub(super) fn belongs_to(folder: &Path, store: &Store) -> Result<bool, RecordingError> {
    Ok(facts_of(folder, store)?.is_some())
}

/// Whether a part of the recording lies in it, which comes to the store by and by.
pub(super) fn holds_recording(folder: &Path, store: &Store) -> Result<bool, RecordingError> {
    Ok(facts_of(folder, store)?.is_some_and(|facts| !facts.whole) && folder.join(RECORDING).is_dir())
}

fn facts_of(folder: &Path, store: &Store) -> Result<Option<Facts>, RecordingError> {
    let identity = hash_text(xxh3_64(store.identity().as_bytes()));
    Ok(facts_in(folder)?.filter(|facts| facts.identity == identity))
}

/// Reads whose spool a folder is; none where it holds nothing.
fn facts_in(folder: &Path) -> Result<Option<Facts>, RecordingError> {
    let path = folder.join(FACTS);
    match fs::read(&path) {
        Ok(text) => {
            let facts = serde_json::from_slice(&text);
            facts.map(Some).map_err(|source| RecordingError::BadManifest { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let under_way = format!("{FACTS}.new");
            let own = [fence::FILE, &under_way];
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                entries => entries.map_err(RecordingError::file("read", folder))?,
            };
            let mut others = entries.flatten().filter(|entry| !own.iter().any(|own| entry.file_name() == **own));
            match others.next() {
                Some(_) => Err(RecordingError::NotEmpty { path: folder.to_owned() }),
                None => Ok(None),
            }
        }
        Err(error) => Err(RecordingError::file("read", &path)(error)),
    }
}

fn write_facts(folder: &Path, facts: &Facts) -> Result<(), RecordingError> {
    let path = folder.join(FACTS);
    let under_way = folder.join(format!("{FACTS}.new"));
    let write = || {
        let mut file = File::create(&under_way)?;
        file.write_all(serde_json::to_string_pretty(facts)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&under_way, &path)?;
        disk::sync_directory(folder)
    };
    write().map_err(RecordingError::file("write", &path))
}

/// Makes what no other writer is known by, of what no other has: its machine, process, folder, and the moment it was made.
fn token(folder: &Path) -> io::Result<String> {
    let made = fs::metadata(folder.join(fence::FILE))?;
    let mut hash = Sha256::new();
    hash.update(host());
    hash.update(fs::canonicalize(folder)?.as_os_str().as_encoded_bytes());
    for number in [i64::from(std::process::id()), made.ino() as i64, made.mtime(), made.mtime_nsec()] {
        hash.update(number.to_le_bytes());
    }
    Ok(hex(&hash.finalize()[..16]))
}

fn remove_all(folder: &Path) -> Result<(), RecordingError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RecordingError::file("remove", folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recording_has_a_spool_of_its_own_that_a_person_can_tell() {
        let name = |address: &str, endpoint: &str| {
            let Location::Store(url) = Location::parse(address).unwrap() else { panic!() };
            folder_name(&url, &format!("{endpoint} {address}"))
        };
        let names = [
            name("s3://bucket/a/b c", ""),
            name("s3://bucket/x/b c", ""),
            name("s3://bucket/a/b c", "http://localhost:9000"),
            name("gs://bucket", ""),
        ];
        assert!(names[0].starts_with("s3-bucket-b_c-"), "{}", names[0]);
        assert!(names[3].starts_with("gs-bucket--"), "{}", names[3]);
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
    }
}
