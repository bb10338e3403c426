//! What is read of the machine ahead of a world: what its build has to see, and what it must not reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::drive::build::Build;

/// Where a build runs.
pub(super) fn folder_of(build: &Build) -> io::Result<PathBuf> {
    let folder = build.directory();
    fs::canonicalize(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// What lies in a temporary folder of the machine and has to be seen nevertheless: what holds the build's folder, its program, files that
/// its command or environment names, the drive's folder, and where it may write. Of each, all that lies beside it, up to the temporary folder: it can be
/// seen, and not written.
pub(super) fn seen(
    temporary: &BTreeMap<PathBuf, PathBuf>,
    build: &Build,
    dir: &Path,
    writable: &[PathBuf],
) -> Vec<PathBuf> {
    let words = build.command().iter().chain(build.env().values()).map(PathBuf::from);
    let folder = folder_of(build).unwrap_or_default();
    let named = words.map(|word| folder.join(word)).filter(|path| path.is_file());
    let own = [folder.clone(), dir.to_owned()];
    let program = std::env::current_exe().ok();
    let mut tops = BTreeSet::new();
    for path in named.chain(own).chain(writable.iter().cloned()).chain(program) {
        // As it is named, and as it is found by links.
        for path in [std::path::absolute(&path), fs::canonicalize(&path)].into_iter().flatten() {
            for machine in temporary.keys() {
                let top = path.strip_prefix(machine).ok().and_then(|rest| rest.components().next());
                tops.extend(top.map(|top| machine.join(top)).filter(|top| top.is_dir()));
            }
        }
    }
    tops.into_iter().collect()
}

/// Unix sockets of the machine that have a path, in order, but for those below `let_through`.
pub(super) fn sockets(let_through: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/net/unix")?;
    // The path is the last of a line, and may hold spaces.
    let paths = table.lines().skip(1).filter_map(|line| Some(PathBuf::from(&line[line.find(" /")? + 1..])));
    let paths: BTreeSet<PathBuf> = paths.collect();
    let is_let_through = |path: &PathBuf| let_through.iter().any(|one| path.starts_with(one));
    let is_socket = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    Ok(paths.into_iter().filter(|path| !is_let_through(path) && is_socket(path)).collect())
}
