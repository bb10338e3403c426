//! What makes sure that files are on the disk under their names.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes sure that what was created, renamed or removed in `directory` is so on the disk.
///
/// A file whose bytes are on the disk may still be lost with its name: only this keeps the name.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes sure that what somebody else wrote to `file` is on the disk.
pub(super) fn sync_file(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()
}

/// Creates `directory` and those above it where they are missing, each of them on the disk under its name.
pub(super) fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return sync_names(directory);
    }
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        create_directories(above)?;
    }
    match fs::create_dir(directory) {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    sync_directory(above.unwrap_or(Path::new(".")))
}

/// Makes sure of the names of `directory` and of those above it: whoever made them may have been killed ahead of it.
fn sync_names(directory: &Path) -> io::Result<()> {
    for above in std::path::absolute(directory)?.ancestors().skip(1) {
        match sync_directory(above) {
            // Whoever may not look into it, or write to it, has not made anything in it, and need not answer for it.
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {}
            synced => synced?,
        }
    }
    Ok(())
}
