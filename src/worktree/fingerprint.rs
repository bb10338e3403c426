//! One hash over many things, and hashes of files and folders.

use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// SHA-256 over things that are told one after the other, each with its name and its length: nothing runs into its neighbour.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Makes one of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes` under a name.
    pub fn add(&mut self, name: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) {
        for bytes in [name.as_ref(), bytes.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    /// Adds what the system says of the file or folder at `path`, links not followed: kind, size, when it was written and when it was
    /// changed in any way. Without reading it, and different after every change to it; different after a copy as well.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn add_state(&mut self, path: &Path) -> io::Result<()> {
        let about = fs::symlink_metadata(path)?;
        self.add(path.as_os_str().as_bytes(), state(&about));
        Ok(())
    }

    /// Adds what the system says of all that lies in the folder at `path`, in order of name, without what lies below one of `without`.
    /// Returns how many files that were.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::FileTooLarge`] where there are more files than `most`.
    pub fn add_states(&mut self, path: &Path, without: &[PathBuf], most: usize) -> io::Result<usize> {
        let mut folders = vec![path.to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            let mut entries = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            entries.sort();
            for path in entries.into_iter().filter(|path| !without.contains(path)) {
                let about = fs::symlink_metadata(&path)?;
                // That of a folder changes with what is made and removed in it, which shows by itself.
                let said = if about.is_dir() { b"folder".to_vec() } else { state(&about) };
                self.add(path.as_os_str().as_bytes(), said);
                if about.is_dir() {
                    folders.push(path);
                }
                files += 1;
                if files > most {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
        }
        Ok(files)
    }

    /// Adds the content of the file at `path` under a name: what a link names, not where it leads; and whether it may be run.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn add_content(&mut self, name: &[u8], path: &Path) -> io::Result<()> {
        let about = fs::symlink_metadata(path)?;
        if about.is_symlink() {
            self.add(name, [b"link ", fs::read_link(path)?.as_os_str().as_bytes()].concat());
        } else {
            let may_run = if about.mode() & 0o111 == 0 { "file " } else { "program " };
            self.add(name, format!("{may_run}{}", file_hash(path)?));
        }
        Ok(())
    }

    /// The hash, in hexadecimal.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// SHA-256 of the file at `path`, links followed, in hexadecimal.
fn file_hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// SHA-256 of the file at `program`, links followed, in hexadecimal; none where it cannot be read.
///
/// It says which file was started, and nothing of what that loads: of a script not which interpreter runs it, of an interpreter not
/// which script it runs. That is told by the commit, and by the changes, of the tree that they stand in.
pub fn program_hash(program: &Path) -> Option<String> {
    file_hash(program).ok()
}

fn state(about: &Metadata) -> Vec<u8> {
    let numbers = [
        u64::from(about.mode()),
        about.ino(),
        about.len(),
        about.mtime() as u64,
        about.mtime_nsec() as u64,
        about.ctime() as u64,
        about.ctime_nsec() as u64,
    ];
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_runs_into_its_neighbour() {
        let of = |things: &[(&str, &str)]| {
            let mut all = Fingerprint::new();
            for (name, text) in things {
                all.add(name, text);
            }
            all.finish()
        };
        assert_eq!(of(&[("a", "b")]), of(&[("a", "b")]));
        assert_ne!(of(&[("a", "b")]), of(&[("ab", "")]));
        assert_ne!(of(&[("a", "bc"), ("d", "")]), of(&[("a", "b"), ("cd", "")]));
    }

    #[test]
    fn a_folder_is_another_after_every_change_in_it_but_where_nobody_looks() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("runs")).unwrap();
        fs::write(at("a/b/c"), "one").unwrap();
        let of = || {
            let mut all = Fingerprint::new();
            all.add_states(folder.path(), &[at("runs")], 100).map(|files| (files, all.finish()))
        };
        let first = of().unwrap();
        assert_eq!(first, of().unwrap());
        assert_eq!(first.0, 3);
        fs::write(at("runs/0001"), "a run").unwrap();
        assert_eq!(first, of().unwrap());
        // Of the same length: the time tells.
        fs::write(at("a/b/c"), "two").unwrap();
        assert_ne!(first, of().unwrap());
        let mut few = Fingerprint::new();
        assert_eq!(few.add_states(folder.path(), &[], 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
