//! Where a run writes: a folder of its own, never one that is there already.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::ScenarioError;
use super::reuse::KEY_FILE;

/// What a run writes into its folder, and so all that `--force` may take away.
const WRITTEN: [&str; 8] =
    ["run.json", "report.html", "junit.xml", "summary.md", "plan.parquet", "faults.ndjson", KEY_FILE, "outcomes"];

/// Where a run is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `under/SCENARIO/0001` and so on, with a link `latest` to the last one that was finished.
    Numbered {
        /// Folder of all runs, `target/rehearsal` on the command line.
        under: PathBuf,
    },
    /// This folder.
    Folder {
        /// Path.
        path: PathBuf,
        /// Whether a run that stands there may be replaced.
        force: bool,
    },
}

impl Destination {
    /// The folder below which everything is written.
    pub(super) fn below(&self) -> &Path {
        match self {
            Self::Numbered { under } => under,
            Self::Folder { path, .. } => path,
        }
    }
}

/// A run's folder, made for this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
    numbered: bool,
}

impl RunFolder {
    /// Makes the folder of a run of the scenario `name`.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::FolderExists`] where the folder is there and may not be replaced, [`ScenarioError::Folder`] where the
    /// disk refuses.
    pub fn make(destination: &Destination, name: &str) -> Result<Self, ScenarioError> {
        match destination {
            Destination::Numbered { under } => Self::next(&under.join(name)),
            Destination::Folder { path, force } => Self::named(path, *force),
        }
    }

    /// Says whether [`RunFolder::make`] would refuse because something stands there already, without making anything.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::FolderExists`].
    pub fn check(destination: &Destination) -> Result<(), ScenarioError> {
        match destination {
            Destination::Folder { path, force }
                if path.symlink_metadata().is_ok() && !(*force && replaceable(path)) =>
            {
                Err(ScenarioError::FolderExists { path: path.clone(), force: *force })
            }
            _ => Ok(()),
        }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file: under another name first, so that nobody ever reads half of it.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Folder`] where the disk refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, ScenarioError> {
        let failed = |source| ScenarioError::Folder { path: self.file(name), source };
        self.fill(name, |file| file.write_all(bytes).map_err(failed))?;
        Ok(self.file(name))
    }

    /// Fills a file that comes bit by bit, in the same way.
    pub(super) fn fill<E: Into<ScenarioError>>(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<(), ScenarioError> {
        let (path, half) = (self.file(name), self.file(&format!(".{name}.part")));
        let failed = |source| ScenarioError::Folder { path: path.clone(), source };
        fill(&mut File::create(&half).map_err(failed)?).map_err(Into::into)?;
        fs::rename(&half, &path).map_err(failed)
    }

    /// Points the link `latest` beside a numbered folder at it.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Folder`] where the disk refuses.
    pub fn finish(&self) -> Result<(), ScenarioError> {
        let (Some(under), Some(number), true) = (self.path.parent(), self.path.file_name(), self.numbered) else {
            return Ok(());
        };
        // Made aside and moved over the old one: there is no moment without a `latest`. A later run that has finished in the
        // meantime is replaced too, as the one that finished last.
        let aside = under.join(format!(".latest-{}", number.to_string_lossy()));
        let linked = link(number.as_ref(), &aside).and_then(|()| fs::rename(&aside, under.join("latest")));
        linked.map_err(|source| ScenarioError::Folder { path: under.join("latest"), source })
    }

    fn next(under: &Path) -> Result<Self, ScenarioError> {
        let failed = |source| ScenarioError::Folder { path: under.to_owned(), source };
        fs::create_dir_all(under).map_err(failed)?;
        let mut number = highest(under).map_err(failed)?;
        loop {
            number += 1;
            let path = under.join(format!("{number:04}"));
            // Making the folder is what takes the number: of two runs at once only one succeeds, the other takes the next.
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, numbered: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ScenarioError::Folder { path, source }),
            }
        }
    }

    fn named(path: &Path, force: bool) -> Result<Self, ScenarioError> {
        let failed = |source| ScenarioError::Folder { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::check(&Destination::Folder { path: path.to_owned(), force })?;
                clear(path).map_err(failed)?;
            }
            made => made.map_err(failed)?,
        }
        Ok(Self { path: path.to_owned(), numbered: false })
    }
}

fn highest(under: &Path) -> io::Result<u32> {
    let mut highest = 0;
    for entry in fs::read_dir(under)? {
        highest = entry?.file_name().to_str().and_then(|name| name.parse().ok()).unwrap_or(0).max(highest);
    }
    Ok(highest)
}

/// Whether `path` is a folder in which nothing stands but what a run writes: `--force` replaces a run, nothing else.
fn replaceable(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        WRITTEN.iter().any(|written| name == *written || name == format!(".{written}.part").as_str())
    })
}

fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

#[cfg(unix)]
fn link(target: &Path, at: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(target, at) {
        // Left behind by a run of that number that was killed here.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(at)?;
            std::os::unix::fs::symlink(target, at)
        }
        linked => linked,
    }
}

#[cfg(not(unix))]
fn link(target: &Path, at: &Path) -> io::Result<()> {
    // Links need a privilege on other systems; a file that names the folder serves readers as well.
    fs::write(at, target.to_string_lossy().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(under: &Path) -> Destination {
        Destination::Numbered { under: under.to_owned() }
    }

    #[test]
    fn each_run_gets_the_next_number_and_latest_points_at_the_last_that_finished() {
        let under = tempfile::tempdir().unwrap();
        let first = RunFolder::make(&numbered(under.path()), "pays").unwrap();
        let second = RunFolder::make(&numbered(under.path()), "pays").unwrap();
        assert!(first.path().ends_with("pays/0001") && second.path().ends_with("pays/0002"));
        for folder in [&first, &second, &first] {
            folder.finish().unwrap();
            let latest = under.path().join("pays/latest").canonicalize().unwrap();
            assert_eq!(latest, folder.path().canonicalize().unwrap());
        }
    }

    #[test]
    fn runs_at_the_same_time_never_share_a_folder() {
        let under = tempfile::tempdir().unwrap();
        let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let make = || RunFolder::make(&numbered(under.path()), "pays").unwrap().path;
            let makers: Vec<_> = (0..16).map(|_| scope.spawn(make)).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 16);
    }

    #[test]
    fn a_folder_that_exists_is_refused_without_force() {
        let under = tempfile::tempdir().unwrap();
        let path = under.path().join("out");
        let out = |force| Destination::Folder { path: path.clone(), force };
        let folder = RunFolder::make(&out(false), "pays").unwrap();
        folder.write("run.json", b"{}").unwrap();
        assert!(RunFolder::check(&out(false)).is_err());
        let error = RunFolder::make(&out(false), "pays").unwrap_err();
        assert!(matches!(error, ScenarioError::FolderExists { .. }), "{error}");
        assert!(path.join("run.json").exists());
        RunFolder::make(&out(true), "pays").unwrap();
        assert!(!path.join("run.json").exists());
    }

    #[test]
    fn force_replaces_a_run_and_nothing_else() {
        let under = tempfile::tempdir().unwrap();
        std::fs::write(under.path().join("thesis.tex"), "years of work").unwrap();
        let destination = Destination::Folder { path: under.path().to_owned(), force: true };
        assert!(RunFolder::make(&destination, "pays").is_err());
        assert!(under.path().join("thesis.tex").exists());
    }
}
