//! What makes sure that files are on the disk under their names.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes sure that what was created, renamed or removed in `directory` is so on the disk.
///
/// A file whose bytes are on the disk may still be lost with its name: only this keeps the name.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates `directory` and those above it where they are missing, each of them on the disk under its name.
pub(super) fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        create_directories(above)?;
    }
    match fs::create_dir(directory) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    sync_directory(above.unwrap_or(Path::new(".")))
}
