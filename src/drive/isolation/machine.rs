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

/// Options behind which a list of places stands that are searched.
const SEARCHED: [&str; 5] = ["-cp", "-classpath", "--class-path", "-p", "--module-path"];

/// What lies in a temporary folder of the machine and has to be seen nevertheless: what holds the build's folder, its program, files that
/// its command or environment names, folders that these have it search (see [`named`]), the drive's folder, and where it may write. Of each,
/// all that lies beside it, up to the temporary folder: it can be seen, and not written.
pub(super) fn seen(
    temporary: &BTreeMap<PathBuf, PathBuf>,
    build: &Build,
    dir: &Path,
    writable: &[PathBuf],
) -> Vec<PathBuf> {
    let folder = folder_of(build).unwrap_or_default();
    let named = named(build, &folder);
    let own = [folder.clone(), dir.to_owned()];
    let program = std::env::current_exe().ok();
    let mut tops = BTreeSet::new();
    for path in named.into_iter().chain(own).chain(writable.iter().cloned()).chain(program) {
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

/// Files that a build's command or environment names, alone, behind a sign (`--config=FILE`, `-javaagent:FILE`) or in a list; and of
/// folders those that are searched: entries of lists by colons, variables whose names end in `PATH`, what stands behind `-cp` and the like.
/// Any other folder that is named may be one that it works in, which is to be its own.
fn named(build: &Build, folder: &Path) -> Vec<PathBuf> {
    let command = build.command();
    let before = [""].into_iter().chain(command.iter().map(String::as_str));
    let words = command.iter().zip(before).map(|(word, before)| (word, SEARCHED.contains(&before)));
    let variables = build.env().iter().map(|(name, value)| (value, name.ends_with("PATH")));
    let mut named = Vec::new();
    for (text, searched) in words.chain(variables) {
        // As a whole first: a name may hold any of these signs.
        named.extend(Some(folder.join(text)).filter(|path| path.is_file()));
        for entry in text.split([':', ';', ',', '=']) {
            let searched = searched || text.split(':').nth(1).is_some();
            let path = folder.join(entry.strip_suffix("/*").unwrap_or(entry));
            let is_named = path.is_file() || searched && !entry.is_empty() && path.is_dir();
            named.extend(Some(path).filter(|_| is_named));
        }
    }
    named
}

/// Unix sockets of the machine that have a path, in order, but for those below `own`.
pub(super) fn sockets(own: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/net/unix")?;
    // The path is the last of a line, and may hold spaces.
    let paths = table.lines().skip(1).filter_map(|line| Some(PathBuf::from(&line[line.find(" /")? + 1..])));
    let paths: BTreeSet<PathBuf> = paths.collect();
    let is_socket = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    Ok(paths.into_iter().filter(|path| !path.starts_with(own) && is_socket(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{BuildSettings, Transport};

    #[test]
    fn files_are_named_and_folders_are_searched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for name in ["classes", "jars", "modules", "work"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["a.yml", "agent.jar", "odd:name", "only.jar"] {
            fs::write(at(name), "").unwrap();
        }
        let text = format!(
            "command = ['cat', '-cp', '{}:{}/*', '--config={}', '-javaagent:{}=x', '{}', '{}', '-p', '{}']\n\
             env = {{ WORK = '{}', CLASSPATH = '{}' }}",
            at("classes"),
            at("jars"),
            at("a.yml"),
            at("agent.jar"),
            at("odd:name"),
            at("work"),
            at("modules"),
            at("work"),
            at("only.jar"),
        );
        let settings: BuildSettings = toml::from_str(&text).unwrap();
        let build = settings.check_for("new", folder.path(), Transport::Stdio).unwrap();
        let mut found = named(&build, folder.path());
        found.sort();
        found.dedup();
        let names = ["a.yml", "agent.jar", "classes", "jars", "modules", "odd:name", "only.jar"];
        assert_eq!(found, names.map(|name| folder.path().join(name)));
    }
}
