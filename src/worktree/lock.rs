//! Locks that programs share by a file: many may use what one makes.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::WorktreeError;
use crate::clock::Stop;

/// How often a lock is asked for that somebody else has.
const LOOK: Duration = Duration::from_millis(50);

/// A lock that is held until it is dropped, or its program ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, and let go by the system once it is closed")] File);

/// Who may hold a lock beside its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Others,
    Nobody,
}

impl Lock {
    /// Waits for the lock at `path`; `waits` is told once where somebody else has it.
    pub(super) fn take(path: &Path, beside: Beside, stop: &Stop, waits: &dyn Fn()) -> Result<Self, WorktreeError> {
        let mut told = false;
        loop {
            if let Some(lock) = Self::take_if_free(path, beside)? {
                return Ok(lock);
            }
            if stop.raised() {
                return Err(WorktreeError::Stopped);
            }
            if !std::mem::replace(&mut told, true) {
                waits();
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Takes the lock at `path` where nobody else has it.
    pub(super) fn take_if_free(path: &Path, beside: Beside) -> Result<Option<Self>, WorktreeError> {
        let failed = |source: io::Error| WorktreeError::Io { path: PathBuf::from(path), source };
        // Never removed: whoever waits for a file that is gone holds a lock that nobody sees.
        let mut file = File::options().append(true).create(true).open(path).map_err(failed)?;
        let locked = if beside == Beside::Others { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => {
                // When it was last written tells which trees nobody uses any more; how long it is does not matter.
                if beside == Beside::Others {
                    file.set_len(0).and_then(|()| file.write_all(b".")).map_err(failed)?;
                }
                Ok(Some(Self(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
