//! One writer at a time: a lock on a file of the recording, which dies with whoever holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::RecordingError;

/// Name of the file in the recording that is locked.
pub(super) const FILE: &str = "writer.lock";

/// Looks of others that are waited for at most; one takes some microseconds.
const LOOKS_MAX: usize = 100_000;

/// The right to write a recording. It ends when dropped, and with the process however that ends.
#[derive(Debug)]
pub(super) struct Fence {
    path: PathBuf,
    // Closing it gives the lock back.
    _file: File,
}

impl Fence {
    /// Takes the right to write the recording in `directory`, which must exist.
    pub(super) fn take(directory: &Path) -> Result<Self, RecordingError> {
        let path = directory.join(FILE);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(RecordingError::file("open", &path))?;
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..LOOKS_MAX {
            if locked != Err(rustix::io::Errno::WOULDBLOCK) || !is_looked_at(&file) {
                break;
            }
            std::thread::yield_now();
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let mut holder = String::new();
                // Written right after the lock was taken: it may not stand there yet, or be of another machine.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(RecordingError::Fenced { path: directory.to_owned(), holder: Holder(holder) });
            }
            Err(error) => return Err(RecordingError::file("lock", &path)(error.into())),
        }
        // Who it is helps whoever is refused; a full disk must not keep anybody from making a recording whole.
        let _ = name_holder(&mut file);
        Ok(Self { path, _file: file })
    }

    /// Takes the file away, once the recording is sealed: nobody will write it any more.
    pub(super) fn lift(self) {
        // Whoever opened it before finds a sealed recording.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether nobody writes the recording whose file this is, but somebody looks whether anybody does: for an instant.
fn is_looked_at(file: &File) -> bool {
    let looked = flock(file, FlockOperation::NonBlockingLockShared).is_ok();
    if looked {
        // Two who would both write must not hold each other off.
        let _ = flock(file, FlockOperation::Unlock);
    }
    looked
}

/// Says who writes the recording in `directory`, where somebody does.
pub(super) fn holder(directory: &Path) -> Option<Holder> {
    let mut file = File::open(directory.join(FILE)).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            Some(Holder(holder.trim().parse().ok()))
        }
        _ => None,
    }
}

fn name_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Process that writes a recording, where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(process) => write!(f, "process {process}"),
            None => write!(f, "another process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn whoever_looks_who_writes_holds_off_nobody_and_a_writer_does() {
        let folder = tempfile::tempdir().unwrap();
        drop(Fence::take(folder.path()).unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        holder(folder.path());
                    }
                });
            }
            let taken: Result<Vec<()>, RecordingError> =
                (0..2_000).map(|_| Fence::take(folder.path()).map(drop)).collect();
            done.store(true, Ordering::SeqCst);
            assert!(taken.is_ok(), "{taken:?}");
        });
        let fence = Fence::take(folder.path()).unwrap();
        assert!(matches!(Fence::take(folder.path()), Err(RecordingError::Fenced { .. })));
        assert_eq!(holder(folder.path()), Some(Holder(Some(std::process::id()))));
        drop(fence);
        assert_eq!(holder(folder.path()), None);
    }
}
