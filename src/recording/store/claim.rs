//! One writer at a time, across machines: an object of the recording that names it.
//!
//! It is written on the condition that it is not there yet. It stays when its writer is killed; the writer's spool proves that
//! whoever comes with it is the one that goes on. Everybody else is refused by name, and may take over where a person says so.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::spool::Spool;
use super::{ObjectFacts, Store, StoreError};
use crate::recording::RecordingError;

/// Name of the object.
pub(super) const FILE: &str = "writer.json";

/// How often it is asked for again, where others take it and give it back meanwhile.
const TAKES_MAX: u32 = 5;

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    host: String,
    process: u32,
    spool: String,
    pub(super) token: String,
    /// Whether nothing of the recording counts before all of it is there.
    pub(super) whole: bool,
}

/// Who writes a recording in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Machine.
    pub host: String,
    /// Process on it.
    pub process: u32,
    /// Since when, by the store's clock (RFC 3339).
    pub since: String,
    /// Folder of that machine that it spools in.
    pub spool: String,
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {} since {} (spool {})", self.process, self.host, self.since, self.spool)
    }
}

/// The right to write a recording in a store.
#[derive(Debug)]
pub(super) struct Claim {
    store: Arc<Store>,
    token: String,
    /// Whether the store held off everybody else while it was taken.
    pub(super) is_exclusive: bool,
}

impl Claim {
    /// Takes the right for whoever holds `spool`, and returns what the object said before, where it was there.
    pub(super) fn take(
        store: &Arc<Store>,
        spool: &Spool,
        take_over: bool,
    ) -> Result<(Self, Option<Written>), RecordingError> {
        let path = store.shown_file(FILE);
        let failed = || RecordingError::file("write", &path);
        let written = Written {
            host: host(),
            process: std::process::id(),
            spool: spool.folder().display().to_string(),
            token: spool.token().to_owned(),
            whole: spool.is_whole(),
        };
        let content = serde_json::to_vec_pretty(&written).map_err(io::Error::from).map_err(failed())?;
        let claim = |is_exclusive| Self { store: Arc::clone(store), token: written.token.clone(), is_exclusive };
        let mut before: Option<Written> = None;
        let mut take_over = take_over;
        for _ in 0..TAKES_MAX {
            // Read first: a store that ignores conditions would write over whoever writes there.
            let found = read(store)?;
            if let Some((other, facts)) = &found
                && other.token != written.token
                // What becomes a recording all at once takes nothing over from a capture: its events would be gone.
                && (!take_over || written.whole && !other.whole)
            {
                return Err(claimed(store, other.clone(), facts));
            }
            let answer = match found {
                None => store.create(FILE, content.clone()),
                Some((other, facts)) => {
                    // An answer that was lost on its way makes this writer find itself.
                    if other.token != written.token || before.is_none() {
                        before = Some(other);
                    }
                    // Whoever takes over at the same moment was faster: it is not taken over from in turn.
                    take_over = false;
                    store.replace(FILE, content.clone(), facts.version)
                }
            };
            match answer {
                Ok(Some(_)) => {
                    // A store that ignores conditions writes it again.
                    let is_exclusive = store.create(FILE, content).map_err(failed())?.is_none();
                    return Ok((claim(is_exclusive), before));
                }
                Ok(None) => {}
                Err(error) if matches!(StoreError::of(&error), Some(StoreError::Unable { .. })) => {
                    store.write(FILE, content).map_err(failed())?;
                    return Ok((claim(false), before));
                }
                Err(error) => return Err(failed()(error)),
            }
        }
        // It is there whenever it is to be made, and is not whenever it is read.
        Err(failed()(StoreError::Changed { answer: "again and again".to_owned() }.into()))
    }

    /// Refuses where somebody else has taken over.
    pub(super) fn check(&self) -> Result<(), RecordingError> {
        match read(&self.store)? {
            Some((found, _)) if found.token == self.token => Ok(()),
            Some((found, facts)) => Err(claimed(&self.store, found, &facts)),
            None => Err(RecordingError::ClaimLost { path: self.store.shown().to_owned() }),
        }
    }

    /// Gives the right back.
    pub(super) fn lift(self) -> Result<(), RecordingError> {
        self.store.remove(FILE).map_err(RecordingError::file("remove", &self.store.shown_file(FILE)))
    }
}

fn claimed(store: &Store, found: Written, facts: &ObjectFacts) -> RecordingError {
    RecordingError::Claimed { path: store.shown().to_owned(), holder: Box::new(claimant(found, facts)) }
}

fn claimant(found: Written, facts: &ObjectFacts) -> Claimant {
    let Written { host, process, spool, .. } = found;
    Claimant { host, process, spool, since: facts.written.clone() }
}

/// Who said that it writes the recording in a store, where somebody did and has not ended it.
pub(in crate::recording) fn holder(store: &Store) -> Result<Option<Claimant>, RecordingError> {
    Ok(read(store)?.map(|(found, facts)| claimant(found, &facts)))
}

fn read(store: &Store) -> Result<Option<(Written, ObjectFacts)>, RecordingError> {
    let path = store.shown_file(FILE);
    match store.read(FILE) {
        Ok((content, facts)) => match serde_json::from_slice(&content) {
            Ok(written) => Ok(Some((written, facts))),
            Err(source) => Err(RecordingError::BadManifest { path, source }),
        },
        Err(error) if matches!(StoreError::of(&error), Some(StoreError::NoObject { .. })) => Ok(None),
        Err(error) => Err(RecordingError::file("read", &path)(error)),
    }
}

/// Name of this machine.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::recording::store::{Target, Whole};

    fn target(folder: &std::path::Path, take_over: bool) -> Target {
        let location = crate::recording::Location::parse("s3://memory/a/b").unwrap();
        Target::from(location).spooled_in(Some(folder.to_owned())).taking_over(take_over)
    }

    #[test]
    fn whoever_comes_with_the_spool_goes_on_and_nobody_else_without_being_told_to() {
        let store = Store::of_memory(Arc::new(InMemory::new()));
        let folder = tempfile::tempdir().unwrap();
        let [mine, other] = ["mine", "other"].map(|name| folder.path().join(name));
        let take = |spool: &std::path::Path, take_over: bool| {
            let target = target(spool, take_over);
            let spool = Spool::take(&target, &store, Whole::ByAndBy).unwrap();
            Claim::take(&store, &spool, take_over)
        };
        let (claim, before) = take(&mine, false).unwrap();
        assert!(claim.is_exclusive && before.is_none());
        claim.check().unwrap();
        let refused = take(&other, false).unwrap_err();
        let process = format!("process {} on ", std::process::id());
        assert!(
            matches!(refused, RecordingError::Claimed { .. }) && refused.to_string().contains(&process),
            "{refused}"
        );
        // As after a crash: the same spool, another process.
        let (again, before) = take(&mine, false).unwrap();
        assert_eq!(before.map(|before| before.token), Some(claim.token.clone()));
        let (taken, before) = take(&other, true).unwrap();
        assert_eq!(before.map(|before| before.token), Some(claim.token.clone()));
        assert!(matches!(again.check(), Err(RecordingError::Claimed { .. })));
        taken.check().unwrap();
        taken.lift().unwrap();
        assert!(matches!(again.check(), Err(RecordingError::ClaimLost { .. })));
    }
}
