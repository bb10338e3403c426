//! The schemas that a recording keeps: `schemas/ID.json`, named with their hashes in the manifest.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::manifest::{Manifest, Role, SchemaFile, SchemaSeen};
use super::segment_writer::hex;
use super::verify::{Problem, sha256};
use super::{Recording, RecordingError, disk};
use crate::schema::{Part, SchemaText, Schemas};

/// Folder of the schemas.
pub(super) const FOLDER: &str = "schemas";

impl Recording {
    /// Returns the schemas that the recording keeps. There are none where it was captured without a registry.
    ///
    /// # Errors
    ///
    /// [`RecordingError::File`] where a file that the manifest names cannot be read, [`RecordingError::BadSchema`] where it is no
    /// schema.
    pub fn schemas(&self) -> Result<Schemas, RecordingError> {
        let texts: Result<Vec<SchemaText>, RecordingError> =
            self.manifest().schema_files.iter().map(|facts| self.schema(facts)).collect();
        Ok(Schemas::new(texts?))
    }

    fn schema(&self, facts: &SchemaFile) -> Result<SchemaText, RecordingError> {
        let path = self.path().join(&facts.file);
        let text = self.inner.home.read(&facts.file).map_err(RecordingError::file("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| RecordingError::BadSchema { path, source })
    }

    /// Holds the files of the schemas against the hashes of the manifest.
    pub(super) fn check_schemas(&self, problems: &mut Vec<Problem>) {
        for facts in &self.manifest().schema_files {
            let file = self.path().join(&facts.file);
            let found = self.inner.home.read(&facts.file).map(|text| hex(&Sha256::digest(text)));
            let cause = match found {
                Ok(found) if found.eq_ignore_ascii_case(&facts.sha256) => continue,
                Ok(found) => format!("wrong hash: SHA-256 is {found} where the manifest says {}", facts.sha256),
                Err(error) => format!("cannot be read: {error}"),
            };
            problems.push(Problem::damage(file, cause));
        }
    }
}

/// Reads the schemas that a manifest names.
pub(super) fn read_all(directory: &Path, manifest: &Manifest) -> Result<Schemas, RecordingError> {
    let texts = manifest.schema_files.iter().map(|facts| read(&directory.join(&facts.file)));
    Ok(Schemas::new(texts.collect::<Result<Vec<SchemaText>, RecordingError>>()?))
}

/// Writes a schema into the recording in `directory`, makes sure that it is on the disk, and names it in the manifest.
pub(super) fn keep(directory: &Path, manifest: &mut Manifest, text: &SchemaText) -> Result<(), RecordingError> {
    let folder = directory.join(FOLDER);
    let name = format!("{FOLDER}/{}.json", text.id);
    let path = directory.join(&name);
    let bad = |source| RecordingError::BadSchema { path: path.clone(), source };
    let mut content = serde_json::to_vec_pretty(text).map_err(bad)?;
    content.push(b'\n');
    let write = || {
        disk::create_directories(&folder)?;
        let temporary = path.with_extension("json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        disk::sync_directory(&folder)?;
        sha256(&path)
    };
    let sha256 = write().map_err(RecordingError::file("write", &path))?;
    manifest.schema_files.retain(|facts| facts.id != text.id);
    manifest.schema_files.push(SchemaFile { id: text.id, file: name, sha256 });
    manifest.schema_files.sort_by_key(|facts| facts.id);
    Ok(())
}

/// Keeps what events of another recording refer to, of the topics that `takes` says.
pub(super) fn keep_of(
    directory: &Path,
    manifest: &mut Manifest,
    other: &Recording,
    takes: impl Fn(&str, Role) -> bool,
) -> Result<(), RecordingError> {
    let topics = &other.manifest().source.topics;
    let role = |name: &str| topics.iter().find(|topic| topic.name == name).map_or(Role::Input, |topic| topic.role);
    manifest.schemas.clone_from(&other.manifest().schemas);
    manifest.schemas.retain(|seen| takes(&seen.topic, role(&seen.topic)));
    for facts in &other.manifest().schema_files {
        if manifest.schemas.iter().any(|seen| seen.id == facts.id) {
            keep(directory, manifest, &other.schema(facts)?)?;
        }
    }
    Ok(())
}

/// Notes that events of a topic refer to a schema.
pub(super) fn note(manifest: &mut Manifest, topic: &str, part: Part, id: i32) {
    note_seen(manifest, SchemaSeen { topic: topic.to_owned(), part: part.name().to_owned(), id });
}

/// As [`note`], for what was noted before.
pub(super) fn note_seen(manifest: &mut Manifest, seen: SchemaSeen) {
    if !manifest.schemas.contains(&seen) {
        manifest.schemas.push(seen);
        manifest.schemas.sort_by(|a, b| (&a.topic, &a.part, a.id).cmp(&(&b.topic, &b.part, b.id)));
    }
}

/// Finds the schemas that lie in the recording in `directory`, for a manifest that was lost.
pub(super) fn find(directory: &Path, manifest: &mut Manifest) -> Result<(), RecordingError> {
    let folder = directory.join(FOLDER);
    let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RecordingError::file("read", &folder)(error)),
    };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    manifest.schema_files.clear();
    for path in files {
        let text = read(&path)?;
        let sha256 = sha256(&path).map_err(RecordingError::file("read", &path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        manifest.schema_files.push(SchemaFile { id: text.id, file: format!("{FOLDER}/{name}"), sha256 });
    }
    manifest.schema_files.sort_by_key(|facts| facts.id);
    Ok(())
}

fn read(path: &Path) -> Result<SchemaText, RecordingError> {
    let text = fs::read(path).map_err(RecordingError::file("read", path))?;
    serde_json::from_slice(&text).map_err(|source| RecordingError::BadSchema { path: path.to_owned(), source })
}
