//! A recording on its way to a store: segments by and by as they are closed, or all of it at once.
//!
//! What lies in the spool is as safe as a recording in a directory. A segment leaves it once the store has it under its name;
//! until then it is there in both or in the spool alone, so that whoever goes on finds each segment at least once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use object_store::UpdateVersion;

use super::claim::{self, Claim};
use super::spool::{self, Spool, Whole};
use super::{Patience, Store, StoreError, StoreReach, StoredFile, Target};
use crate::recording::location::{Location, StoreUrl};
use crate::recording::manifest::{self, Manifest, SegmentFacts};
use crate::recording::schemas::FOLDER as SCHEMAS;
use crate::recording::segment::{Segment, SegmentFile};
use crate::recording::verify::sha256;
use crate::recording::writer::{SEGMENTS, Standing};
use crate::recording::{RecordingError, disk};

/// Closed segments that wait to be uploaded at most: a capture that is faster than its store waits with them.
const WAITING: usize = 4;

/// How often a manifest is written again that was another one by then.
const REWRITES_MAX: u32 = 5;

/// A recording that is written to a store by way of a spool.
#[derive(Debug)]
pub(in crate::recording) struct Remote {
    sending: Sending,
    spool: Spool,
    uploads: Option<Uploads>,
    /// Segments of the manifest that are in the store, or handed over to be uploaded.
    handed_over: BTreeSet<String>,
    took_over: bool,
}

/// What it takes to put something into the store.
#[derive(Debug, Clone)]
struct Sending {
    store: Arc<Store>,
    claim: Arc<Claim>,
    part_bytes: u64,
    /// Folder of the recording in the spool.
    recording: PathBuf,
    /// The manifest that is in the store, as it was read or written last: none but that one is written over.
    version: Arc<Mutex<Option<UpdateVersion>>>,
}

impl Remote {
    /// Takes the right to write the recording and its spool. Nothing is shown of it yet.
    ///
    /// What is left of an import, a slice or a mask that was cut off is taken away: it never counted.
    pub(in crate::recording) fn begin(target: &Target, whole: Whole) -> Result<Self, RecordingError> {
        let Location::Store(url) = target.location() else {
            return Err(RecordingError::NoSpool { path: target.shown().to_owned() });
        };
        let store = Arc::new(connect(url, target.patience)?);
        let mut spool = Spool::take(target, &store, whole)?;
        if whole == Whole::AtOnce && !spool.is_whole() {
            // A capture that was cut off has something in it.
            return Err(RecordingError::NotEmpty { path: target.shown().to_owned() });
        }
        if target.takes_over() {
            // Ahead of the right: whoever is killed in between has it, and does not know that it was somebody else's.
            spool.note_take_over()?;
        }
        let (mut claim, before) = match Claim::take(&store, &spool, target.takes_over()) {
            Ok(taken) => taken,
            Err(error) => {
                // Only where nothing was written for certain: else the spool alone proves whose it is.
                let surely_not = match &error {
                    RecordingError::Claimed { .. } => true,
                    RecordingError::File { source, .. } => StoreError::of(source).is_some_and(StoreError::is_absence),
                    _ => false,
                };
                if spool.is_new && surely_not {
                    spool.remove()?;
                }
                return Err(error);
            }
        };
        let took_over = spool.took_over();
        if before.is_some_and(|before| before.whole) {
            clear(&store)?;
        }
        if spool.is_whole() {
            spool.begin_anew(whole)?;
            if whole == Whole::ByAndBy {
                // It said that nothing counts yet; from now on it does.
                claim = Claim::take(&store, &spool, false)?.0;
            }
        }
        let recording = spool.recording();
        let (claim, part_bytes) = (Arc::new(claim), target.part_bytes);
        let sending = Sending { store, claim, part_bytes, recording, version: Arc::default() };
        Ok(Self { sending, spool, uploads: None, handed_over: BTreeSet::new(), took_over })
    }

    /// As [`Self::begin`], for a recording that is not there yet.
    pub(in crate::recording) fn begin_new(target: &Target, whole: Whole) -> Result<Self, RecordingError> {
        let remote = Self::begin(target, whole)?;
        let path = target.shown().to_owned();
        if remote.recording().exists() {
            // Somebody else on this machine was faster, and was killed: what it acknowledged lies here.
            return Err(RecordingError::NotEmpty { path });
        }
        if remote.sending.store.is_empty()? {
            return Ok(remote);
        }
        // Somebody else was faster, and is done.
        remote.give_up()?;
        Err(RecordingError::NotEmpty { path })
    }

    /// Lets go of store and spool.
    pub(in crate::recording) fn give_up(self) -> Result<(), RecordingError> {
        let Self { sending, spool, uploads, .. } = self;
        drop(uploads);
        if sending.is_ours()? {
            // The right first: without a spool, nobody could tell whose it was.
            sending.lift()?;
        }
        spool.remove()
    }

    /// Takes away what was begun of a recording that is not to be. Where somebody has taken over, what the store holds is theirs.
    pub(in crate::recording) fn withdraw(self) -> Result<(), RecordingError> {
        if self.sending.is_ours()? {
            clear(&self.sending.store)?;
        }
        self.give_up()
    }

    /// Whether somebody else wrote the recording until now, and may still be about to end one upload: its name is left to it.
    pub(in crate::recording) fn took_over(&self) -> bool {
        self.took_over
    }

    /// The recording's address, as it is shown.
    pub(in crate::recording) fn shown(&self) -> &Path {
        self.sending.store.shown()
    }

    /// Whether the store answers.
    pub(in crate::recording) fn reach(&self) -> &StoreReach {
        self.sending.store.reach()
    }

    /// The folder of the recording in the spool.
    pub(in crate::recording) fn recording(&self) -> PathBuf {
        self.spool.recording()
    }

    /// What there is to know about the store, as sentences.
    pub(in crate::recording) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.sending.claim.is_exclusive {
            notes.push(
                "The store writes no object on a condition: nothing holds off a second writer that begins at the same moment."
                    .to_owned(),
            );
        }
        notes
    }

    /// Lists the segments that are in the store.
    pub(in crate::recording) fn stored(&self) -> Result<Stored, RecordingError> {
        Stored::of(&self.sending.store)
    }

    /// Fetches from the store what the spool lacks to go on: the manifest, where that is the newer one or the spool has none, and
    /// schemas.
    pub(in crate::recording) fn fetch_facts(&self, left: Option<Manifest>) -> Result<Option<Manifest>, RecordingError> {
        let store = &self.sending.store;
        let found = match manifest_and_version(store) {
            Ok((manifest, _)) if manifest.sealed => return Ok(Some(manifest)),
            Ok((manifest, version)) => {
                *self.sending.version() = Some(version);
                manifest
            }
            Err(RecordingError::NoManifest { .. }) => return Ok(left),
            Err(RecordingError::BadManifest { .. }) => {
                // Nothing can be made of it; the next one takes its place.
                *self.sending.version() = version_of_manifest(store)?;
                return Ok(left);
            }
            Err(error) => return Err(error),
        };
        for (name, _) in list(store, SCHEMAS)? {
            let path = self.recording().join(&name);
            if !path.exists() && !name.ends_with('/') {
                let (content, _) = store.read(&name).map_err(RecordingError::file("read", &store.shown_file(&name)))?;
                let folder = self.recording().join(SCHEMAS);
                let write = || {
                    disk::create_directories(&folder)?;
                    fs::write(&path, content)?;
                    disk::sync_directory(&folder)
                };
                write().map_err(RecordingError::file("write", &path))?;
            }
        }
        // The spool's is the newer one, unless somebody else has gone on from another spool.
        let knows =
            |manifest: &Manifest, segment: &SegmentFacts| manifest.segments.iter().any(|one| one.file == segment.file);
        match left {
            Some(left) if found.segments.iter().all(|segment| knows(&left, segment)) => Ok(Some(left)),
            _ => Ok(Some(found)),
        }
    }

    /// Has the segments of `manifest` uploaded that the spool still holds, each followed by the manifest up to it, which says
    /// that the recording is not sealed; then the segment leaves the spool. Waits while too many are waiting.
    pub(in crate::recording) fn upload_closed(&mut self, manifest: &Manifest) -> Result<(), RecordingError> {
        for (at, segment) in manifest.segments.iter().enumerate() {
            if !self.handed_over.insert(segment.file.clone()) || !self.recording().join(&segment.file).exists() {
                continue;
            }
            let uploads = match &mut self.uploads {
                Some(uploads) => uploads,
                none => none.insert(Uploads::start(self.sending.clone())?),
            };
            let segments = manifest.segments[..=at].to_vec();
            let manifest = Box::new(Manifest { segments, ..manifest.clone() });
            uploads.hand_over(Job { segment: segment.clone(), manifest })?;
        }
        Ok(())
    }

    /// Uploads what is left, then the manifest, which is sealed with that; then the spool is gone.
    pub(in crate::recording) fn seal(mut self, manifest: &mut Manifest) -> Result<(), RecordingError> {
        self.upload_closed(manifest)?;
        if let Some(uploads) = &mut self.uploads {
            uploads.end()?;
        }
        manifest.sealed = true;
        self.sending.publish(manifest)?;
        // It is there: what is left of the way to it harms nobody, and goes when somebody looks at it again.
        drop(self.give_up());
        Ok(())
    }

    /// Says whether an upload has failed meanwhile, without waiting for any.
    pub(in crate::recording) fn check_uploads(&mut self) -> Result<(), RecordingError> {
        match &mut self.uploads {
            Some(uploads) if uploads.has_ended() => uploads.end(),
            _ => Ok(()),
        }
    }

    /// Uploads all of a recording that is sealed in the spool, its manifest last. Returns whether `go_on` has let it come to that.
    pub(in crate::recording) fn send_whole(&self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, RecordingError> {
        let manifest = Manifest::read(&self.recording())?;
        for segment in &manifest.segments {
            if !go_on() || !self.sending.segment_if(segment, go_on)? {
                return Ok(false);
            }
        }
        if !go_on() {
            return Ok(false);
        }
        self.sending.publish(&manifest)?;
        Ok(true)
    }
}

impl Sending {
    /// Whether nobody has taken over.
    fn is_ours(&self) -> Result<bool, RecordingError> {
        match self.claim.check() {
            Ok(()) => Ok(true),
            Err(RecordingError::Claimed { .. } | RecordingError::ClaimLost { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a segment; it becomes visible only if nobody has taken over by then.
    fn segment(&self, segment: &SegmentFacts) -> Result<(), RecordingError> {
        self.segment_if(segment, &mut || true).map(drop)
    }

    /// As [`Self::segment`], if `go_on` agrees once it is all there; returns whether it did.
    fn segment_if(&self, segment: &SegmentFacts, go_on: &mut dyn FnMut() -> bool) -> Result<bool, RecordingError> {
        let from = self.recording.join(&segment.file);
        let shown = self.store.shown_file(&segment.file);
        let agreed = || {
            if go_on() { self.claim.check().map_err(Halted::Claim) } else { Err(Halted::Stopped) }
        };
        match self.store.upload(&segment.file, &from, self.part_bytes, agreed) {
            Ok(()) => Ok(true),
            Err(Halted::Stopped) => Ok(false),
            Err(Halted::Claim(error)) => Err(error),
            Err(Halted::Io(error)) => Err(RecordingError::file("upload", &shown)(error)),
        }
    }

    /// Writes the manifest as it is by now, and ahead of it the schemas that it may name.
    fn manifest(&self, manifest: &Manifest, known: &mut BTreeSet<String>) -> Result<(), RecordingError> {
        for name in files_in(&self.recording, SCHEMAS)? {
            if known.contains(&name) {
                continue;
            }
            let path = self.recording.join(&name);
            let content = fs::read(&path).map_err(RecordingError::file("read", &path))?;
            self.write(&name, content)?;
            known.insert(name);
        }
        let path = self.store.shown_file(manifest::FILE);
        let failed = || RecordingError::file("write", &path);
        let text = manifest.text(&path)?;
        for _ in 0..REWRITES_MAX {
            self.claim.check()?;
            let known = self.version().clone();
            let written = match known {
                Some(known) => self.store.replace(manifest::FILE, text.clone(), known),
                None => self.store.create(manifest::FILE, text.clone()),
            };
            match written {
                Ok(Some(version)) => {
                    *self.version() = Some(version);
                    return Ok(());
                }
                // Whoever was taken over from has written it since, perhaps: the last time, as it is to be asked for the right.
                Ok(None) => *self.version() = version_of_manifest(&self.store)?,
                Err(error) if matches!(StoreError::of(&error), Some(StoreError::Unable { .. })) => {
                    return self.write(manifest::FILE, text);
                }
                Err(error) => return Err(failed()(error)),
            }
        }
        Err(failed()(StoreError::Changed { answer: "again and again".to_owned() }.into()))
    }

    fn version(&self) -> MutexGuard<'_, Option<UpdateVersion>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str, content: Vec<u8>) -> Result<(), RecordingError> {
        self.store.write(name, content).map_err(RecordingError::file("write", &self.store.shown_file(name)))
    }

    /// Writes the sealed manifest: from now on there is a recording.
    fn publish(&self, manifest: &Manifest) -> Result<(), RecordingError> {
        self.manifest(manifest, &mut BTreeSet::new())
    }

    fn lift(self) -> Result<(), RecordingError> {
        match Arc::try_unwrap(self.claim) {
            Ok(claim) => claim.lift(),
            // An upload that nobody waits for any more still holds it; then it stays until the next writer comes.
            Err(_) => Ok(()),
        }
    }
}

/// What ended an upload.
enum Halted {
    /// Somebody asked to stop.
    Stopped,
    Claim(RecordingError),
    Io(io::Error),
}

impl From<io::Error> for Halted {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Uploads on a thread of their own.
#[derive(Debug)]
struct Uploads {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<(), RecordingError>>>,
    recording: PathBuf,
}

#[derive(Debug)]
struct Job {
    segment: SegmentFacts,
    manifest: Box<Manifest>,
}

impl Uploads {
    fn start(sending: Sending) -> Result<Self, RecordingError> {
        let recording = sending.recording.clone();
        let (jobs, waiting) = sync_channel(WAITING);
        let work = move || upload_all(&sending, &waiting);
        let thread = thread::Builder::new().name("uploading".to_owned()).spawn(work);
        let thread = thread.map_err(RecordingError::file("upload", &recording))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), recording })
    }

    fn hand_over(&mut self, job: Job) -> Result<(), RecordingError> {
        match self.jobs.as_ref().map(|jobs| jobs.send(job)) {
            Some(Ok(())) => Ok(()),
            // It has ended, so it ended with an error.
            _ => self.end().and_then(|()| {
                Err(RecordingError::file("upload", &self.recording)(io::Error::other("the uploads have ended")))
            }),
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits until everything handed over is in the store.
    fn end(&mut self) -> Result<(), RecordingError> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // A panic goes on where somebody sees it.
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Uploads {
    /// Waits for the upload that is under way, so that nothing is written any more once this is gone.
    fn drop(&mut self) {
        self.jobs = None;
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn upload_all(sending: &Sending, waiting: &Receiver<Job>) -> Result<(), RecordingError> {
    let mut known = BTreeSet::new();
    for Job { segment, manifest } in waiting {
        sending.segment(&segment)?;
        sending.manifest(&manifest, &mut known)?;
        let path = sending.recording.join(&segment.file);
        // If the machine stops before its name is gone from the disk, it is found in both places, and known to be the same.
        fs::remove_file(&path).map_err(RecordingError::file("remove", &path))?;
    }
    Ok(())
}

/// The segments of a recording that are in the store.
pub(in crate::recording) struct Stored {
    store: Arc<Store>,
    segments: BTreeMap<String, u64>,
}

impl Stored {
    fn of(store: &Arc<Store>) -> Result<Self, RecordingError> {
        let is_segment = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "parquet");
        let segments = list(store, SEGMENTS)?.into_iter().filter(|(name, _)| is_segment(name)).collect();
        Ok(Self { store: Arc::clone(store), segments })
    }

    /// Leaves out what a writer that was taken over from wrote after that: its events were written again under later names.
    ///
    /// `known` is the manifest that is gone on with, the spool's `own` or the store's. It names what is in the store already, up
    /// to the last upload: of names ahead of that, those that it does not name came later. Ahead of what the spool holds, its own
    /// manifest names everything.
    pub(in crate::recording) fn leave_out_late(
        &mut self,
        known: Option<&Manifest>,
        own: bool,
        spool: &Path,
    ) -> Result<(), RecordingError> {
        let Some(known) = known else { return Ok(()) };
        let named: BTreeSet<&str> = known.segments.iter().map(|segment| segment.file.as_str()).collect();
        let held = files_in(spool, SEGMENTS)?;
        let first_held = held.first().filter(|_| own).map(String::as_str);
        if let Some(bound) = named.last().copied().max(first_held) {
            let is_late = |name: &str| name < bound && !named.contains(name) && !held.iter().any(|one| one == name);
            self.segments.retain(|name, _| !is_late(name));
        }
        Ok(())
    }

    /// Their names in the recording, in order.
    pub(in crate::recording) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.keys().map(String::as_str)
    }

    /// Opens one; none where the store does not have it.
    pub(in crate::recording) fn segment(&self, name: &str) -> Result<Option<Segment>, RecordingError> {
        let Some(&bytes) = self.segments.get(name) else { return Ok(None) };
        let path = self.store.shown_file(name);
        let file = StoredFile::open(&self.store, name, Some(bytes)).map_err(RecordingError::file("open", &path))?;
        Segment::of(SegmentFile::Stored(file), path).map(Some)
    }

    /// Says why segments do not follow each other, of which `local` lies in the spool alone.
    pub(in crate::recording) fn told(
        &self,
        error: RecordingError,
        local: Option<&Path>,
        spool: &Path,
    ) -> RecordingError {
        match (error, local) {
            // Somebody else has gone on with the recording, and what they wrote stands beside what was not yet in the store.
            (RecordingError::OffsetOrder { .. }, Some(local)) if !self.segments.is_empty() => {
                let (path, spool) = (self.store.shown().to_owned(), spool.to_owned());
                RecordingError::StaleSpool { path, spool, file: local.to_owned() }
            }
            (error, _) => error,
        }
    }

    /// Takes a file out of the spool that the store has: it was uploaded, and whoever did it was stopped before it left the
    /// spool. `hash` is that of the segment in the store.
    ///
    /// # Errors
    ///
    /// [`RecordingError::StaleSpool`] where it is another one: somebody else has gone on with the recording meanwhile.
    pub(in crate::recording) fn settle(&self, local: &Path, hash: &str, spool: &Path) -> Result<(), RecordingError> {
        let found = sha256(local).map_err(RecordingError::file("read", local))?;
        if !found.eq_ignore_ascii_case(hash) {
            let (path, spool) = (self.store.shown().to_owned(), spool.to_owned());
            return Err(RecordingError::StaleSpool { path, spool, file: local.to_owned() });
        }
        fs::remove_file(local).map_err(RecordingError::file("remove", local))
    }
}

/// Reads the manifest of the recording in a store.
pub(in crate::recording) fn manifest_in(store: &Store) -> Result<Manifest, RecordingError> {
    manifest_and_version(store).map(|(manifest, _)| manifest)
}

fn version_of_manifest(store: &Store) -> Result<Option<UpdateVersion>, RecordingError> {
    match store.read(manifest::FILE) {
        Ok((_, facts)) => Ok(Some(facts.version)),
        Err(error) if matches!(StoreError::of(&error), Some(StoreError::NoObject { .. })) => Ok(None),
        Err(error) => Err(RecordingError::file("read", &store.shown_file(manifest::FILE))(error)),
    }
}

fn manifest_and_version(store: &Store) -> Result<(Manifest, UpdateVersion), RecordingError> {
    let path = store.shown_file(manifest::FILE);
    match store.read(manifest::FILE) {
        Ok((text, facts)) => Manifest::parse(&text, path).map(|manifest| (manifest, facts.version)),
        Err(error) if matches!(StoreError::of(&error), Some(StoreError::NoObject { .. })) => {
            Err(RecordingError::NoManifest { path })
        }
        Err(error) => Err(RecordingError::file("read", &path)(error)),
    }
}

/// Prepares to ask a store.
pub(in crate::recording) fn connect(url: &StoreUrl, patience: Patience) -> Result<Store, RecordingError> {
    Store::connect(url, patience).map_err(io::Error::from).map_err(RecordingError::file("open", url.shown()))
}

/// Says what stands at the address and in the spool of this machine, without taking either.
pub(in crate::recording) fn standing(target: &Target, url: &StoreUrl) -> Result<Standing, RecordingError> {
    let store = connect(url, Patience::SHORT)?;
    match manifest_in(&store) {
        Ok(manifest) if manifest.sealed => {
            tidy_up(target, &store, &manifest)?;
            return Ok(Standing::Sealed);
        }
        Ok(_) | Err(RecordingError::BadManifest { .. }) => return Ok(Standing::Unsealed),
        Err(RecordingError::NoManifest { .. }) => {}
        Err(error) => return Err(error),
    }
    let own = [claim::FILE.to_owned(), format!("{SEGMENTS}/"), format!("{SCHEMAS}/")];
    let listed = list(&store, "")?;
    if listed.iter().any(|(name, _)| !own.contains(name)) {
        return Err(RecordingError::NotEmpty { path: url.shown().to_owned() });
    }
    let spooled = match target.spool()? {
        Some(folder) => spool::holds_recording(&folder, &store)?,
        None => false,
    };
    // Whether what is there was only begun, and of what, shows once the right to write it is taken.
    Ok(if listed.is_empty() && !spooled { Standing::Nothing } else { Standing::Unsealed })
}

/// Takes away what whoever sealed the recording had no time to: the spool, where it holds nothing that the store lacks, and the
/// right to write.
fn tidy_up(target: &Target, store: &Store, manifest: &Manifest) -> Result<(), RecordingError> {
    let Some(folder) = target.spool()? else { return Ok(()) };
    if !spool::belongs_to(&folder, store)? {
        return Ok(());
    }
    let spool = Spool::take(target, store, Whole::ByAndBy)?;
    let store = Arc::new(connect_again(target)?);
    for name in files_in(&spool.recording(), SEGMENTS)? {
        let local = spool.recording().join(&name);
        let hash = manifest.segments.iter().find(|segment| segment.file == name).and_then(|one| one.sha256.clone());
        let same = match hash {
            Some(hash) => sha256(&local).is_ok_and(|found| found.eq_ignore_ascii_case(&hash)),
            None => false,
        };
        if !same {
            return Ok(());
        }
    }
    // Only its own right: one of somebody else is theirs to give back.
    if let Ok((claim, _)) = Claim::take(&store, &spool, false) {
        claim.lift()?;
    }
    spool.remove()
}

fn connect_again(target: &Target) -> Result<Store, RecordingError> {
    match target.location() {
        Location::Store(url) => connect(url, Patience::SHORT),
        Location::Directory(path) => Err(RecordingError::NoSpool { path: path.clone() }),
    }
}

impl Store {
    /// Whether there is nothing but the right to write.
    fn is_empty(&self) -> Result<bool, RecordingError> {
        Ok(list(self, "")?.iter().all(|(name, _)| name == claim::FILE))
    }
}

/// Takes away the objects of a recording that was never shown. One that is shown stays.
fn clear(store: &Store) -> Result<(), RecordingError> {
    if list(store, "")?.iter().any(|(name, _)| name == manifest::FILE) {
        return Ok(());
    }
    for folder in [SEGMENTS, SCHEMAS] {
        for (name, _) in list(store, folder)? {
            store.remove(&name).map_err(RecordingError::file("remove", &store.shown_file(&name)))?;
        }
    }
    Ok(())
}

fn list(store: &Store, folder: &str) -> Result<Vec<(String, u64)>, RecordingError> {
    let shown = if folder.is_empty() { store.shown().to_owned() } else { store.shown_file(folder) };
    store.list(folder).map_err(RecordingError::file("list", &shown))
}

/// Names of the files in a folder of a recording, in order; none where there is no folder.
fn files_in(recording: &Path, folder: &str) -> Result<Vec<String>, RecordingError> {
    let path = recording.join(folder);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(RecordingError::file("read", &path))?,
    };
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ending = Path::new(&name).extension();
        let whole = ending.is_some_and(|ending| ending == "parquet" || ending == "json");
        whole.then(|| format!("{folder}/{name}"))
    };
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}
