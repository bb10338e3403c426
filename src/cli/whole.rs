//! Files that commands write where `--out` says: whole or not at all, and never over another.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::exit::Failure;

/// Refuses `out` where something stands there already.
///
/// # Errors
///
/// A user's mistake that names it.
pub(super) fn check_new(out: &Path) -> Result<(), Failure> {
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::wrong(format!("{} exists already", out.display()), "Choose another file with --out."))
}

/// Writes a new file with `fill`: under another name first, so that nobody ever finds half of it under its own. Folders above
/// it are made.
///
/// # Errors
///
/// Where something stands there already, where the disk refuses, and what `fill` says; nothing is left behind.
pub(super) fn write_new(out: &Path, fill: impl FnOnce(&mut File) -> Result<(), Failure>) -> Result<(), Failure> {
    check_new(out)?;
    let failed = |error| unwritten(out, &error);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let half = out.with_file_name(format!(".{name}.part-{}", std::process::id()));
    let written = File::create_new(&half)
        .map_err(failed)
        .and_then(|mut file| fill(&mut file))
        .and_then(|()| check_new(out))
        .and_then(|()| fs::rename(&half, out).map_err(failed));
    if written.is_err() {
        // It may never have been made: then there is nothing to take away.
        let _ = fs::remove_file(&half);
    }
    written
}

/// Writes a new file that holds `text`, as [`write_new`] does.
///
/// # Errors
///
/// As [`write_new`].
pub(super) fn write_text(out: &Path, text: &str) -> Result<(), Failure> {
    write_new(out, |file| file.write_all(text.as_bytes()).map_err(|error| unwritten(out, &error)))
}

fn unwritten(out: &Path, error: &io::Error) -> Failure {
    Failure::surroundings(format!("could not write {}: {error}", out.display()), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_filled_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/report.html");
        let failed = write_new(&out, |file| {
            file.write_all(b"half")?;
            Err(Failure::wrong("no more", ""))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
        assert!(write_new(&out, |file| Ok(file.write_all(b"whole")?)).is_ok());
        assert!(write_new(&out, |file| Ok(file.write_all(b"other")?)).is_err());
        assert_eq!(fs::read_to_string(&out).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    }
}
