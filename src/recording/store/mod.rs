//! Object stores: S3, Google Cloud Storage, Azure Blob Storage.
//!
//! In come the names of a recording's objects; out come their bytes, and back go whole objects. What never happens here: an
//! object under its name before it is whole, a credential in an error.

mod answer;
mod claim;
mod crypto;
mod reach;
mod reading;
mod remote;
mod settings;
mod spool;

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::location::{StoreKind, StoreUrl};
pub use answer::StoreError;
pub use claim::Claimant;
pub(super) use claim::holder as claim_holder;
pub use reach::StoreReach;
pub(super) use reading::{StoredFile, StoredRead};
pub(super) use remote::{Remote, Stored, connect, manifest_in, standing};
pub use spool::Target;
pub(super) use spool::Whole;

/// Bounds one request, from its first byte to its last: a part takes so long over a line of a megabit a second.
const REQUEST_TIMEOUT: &str = "120s";

/// How often a request is made again that failed in a way that may pass, and for how long: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) retries: usize,
    pub(super) timeout: Duration,
}

impl Patience {
    /// Where somebody waits for the answer.
    pub(super) const SHORT: Self = Self { retries: usize::MAX, timeout: Duration::from_secs(10) };
    /// Where something is taken meanwhile. Longer is not meant: a request is made again as it was signed.
    pub(super) const LONG: Self = Self { retries: usize::MAX, timeout: Duration::from_secs(180) };
}

/// Waits between two requests: each is drawn between the first and three times the last.
const BACKOFF: BackoffConfig =
    BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5), base: 3.0 };

/// The objects of one recording in a store. Cheap to share; calls block until the store has answered.
pub(super) struct Store {
    url: StoreUrl,
    objects: Arc<dyn ObjectStore>,
    /// Where the store is asked; none where the kind alone says it.
    endpoint: Option<String>,
    reach: StoreReach,
}

/// By its address alone: the client holds keys, and an endpoint may have a password in it.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("address", &self.shown()).finish_non_exhaustive()
    }
}

/// What is known of an object that was read.
#[derive(Debug, Clone)]
pub(super) struct ObjectFacts {
    pub(super) bytes: u64,
    pub(super) version: UpdateVersion,
    /// When it was written, by the store's clock (RFC 3339).
    pub(super) written: String,
}

impl ObjectFacts {
    fn of(meta: ObjectMeta) -> Self {
        let ObjectMeta { last_modified, size, e_tag, version, .. } = meta;
        let written = last_modified.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Self { bytes: size, version: UpdateVersion { e_tag, version }, written }
    }
}

/// Requests are made by two threads of their own, whoever waits for them.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("store").enable_all().build()
});

impl Store {
    /// Prepares to ask the store, with credentials and endpoint from the environment; nothing is sent yet.
    pub(super) fn connect(url: &StoreUrl, patience: Patience) -> Result<Self, StoreError> {
        settings::check(url.kind(), std::env::vars_os())?;
        let unusable = |error: Error| answer::unusable(&error, url.kind());
        let retry = RetryConfig { backoff: BACKOFF, max_retries: patience.retries, retry_timeout: patience.timeout };
        let reach = StoreReach::default();
        let crypto = Arc::new(crypto::OpenSsl);
        let (bucket, timeout) = (url.bucket(), ClientConfigKey::Timeout);
        let plain = |endpoint: &Option<String>| endpoint.as_ref().is_some_and(|one| one.starts_with("http://"));
        let (objects, endpoint): (Arc<dyn ObjectStore>, _) = match url.kind() {
            StoreKind::S3 => {
                let found = AmazonS3Builder::from_env();
                let endpoint = found
                    .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
                    .or_else(|| found.get_config_value(&AmazonS3ConfigKey::Endpoint));
                let made = found
                    .with_bucket_name(bucket)
                    .with_config(AmazonS3ConfigKey::Client(timeout), REQUEST_TIMEOUT)
                    // Nothing goes over the wire in the clear unless the endpoint says so in as many words.
                    .with_allow_http(plain(&endpoint))
                    .with_crypto_provider(crypto)
                    .with_http_connector(reach.clone())
                    .with_retry(retry);
                (Arc::new(made.build().map_err(unusable)?), endpoint)
            }
            StoreKind::Gcs => {
                let found = GoogleCloudStorageBuilder::from_env();
                let endpoint = found.get_config_value(&GoogleConfigKey::BaseUrl);
                let made = found
                    .with_bucket_name(bucket)
                    .with_config(GoogleConfigKey::Client(timeout), REQUEST_TIMEOUT)
                    .with_crypto_provider(crypto)
                    .with_http_connector(reach.clone())
                    .with_retry(retry);
                (Arc::new(made.build().map_err(unusable)?), endpoint)
            }
            StoreKind::Azure => {
                let found = MicrosoftAzureBuilder::from_env();
                let endpoint = found.get_config_value(&AzureConfigKey::Endpoint);
                let made = found
                    .with_container_name(bucket)
                    .with_config(AzureConfigKey::Client(timeout), REQUEST_TIMEOUT)
                    .with_allow_http(plain(&endpoint))
                    .with_crypto_provider(crypto)
                    .with_http_connector(reach.clone())
                    .with_retry(retry);
                (Arc::new(made.build().map_err(unusable)?), endpoint)
            }
        };
        Ok(Self { url: url.clone(), objects, endpoint, reach })
    }

    /// Whether it answers.
    pub(super) fn reach(&self) -> &StoreReach {
        &self.reach
    }

    /// The recording's address, as it is shown.
    pub(super) fn shown(&self) -> &Path {
        self.url.shown()
    }

    /// What an object is called in errors.
    pub(super) fn shown_file(&self, file: &str) -> PathBuf {
        self.shown().join(file)
    }

    /// Tells this recording from all others: its address, and where the store is.
    pub(super) fn identity(&self) -> String {
        format!("{} {}", self.endpoint.as_deref().unwrap_or_default(), self.shown().display())
    }

    /// Reads an object as a whole, with what is known of it.
    pub(super) fn read(&self, file: &str) -> io::Result<(Bytes, ObjectFacts)> {
        self.get(file, GetOptions::default())
    }

    /// Reads a part of an object; where `version` is named, of that version alone.
    pub(super) fn range(
        &self,
        file: &str,
        range: Range<u64>,
        version: Option<&str>,
    ) -> io::Result<(Bytes, ObjectFacts)> {
        self.get(file, part(range, version))
    }

    /// Asks what is known of an object, without reading it.
    pub(super) fn facts(&self, file: &str) -> io::Result<ObjectFacts> {
        let path = self.path(file)?;
        block_on(self.objects.head(&path))?.map(ObjectFacts::of).map_err(|error| self.failed(&error))
    }

    /// Reads several parts of an object at the same time.
    pub(super) fn ranges(&self, file: &str, ranges: &[Range<u64>], version: Option<&str>) -> io::Result<Vec<Bytes>> {
        let path = self.path(file)?;
        let found = block_on(async {
            let mut reads = JoinSet::new();
            for (index, range) in ranges.iter().enumerate() {
                let (objects, path, options) = (Arc::clone(&self.objects), path.clone(), part(range.clone(), version));
                reads.spawn(async move {
                    let found = objects.get_opts(&path, options).await?.bytes().await?;
                    Ok::<_, Error>((index, found))
                });
            }
            let mut parts = vec![Bytes::new(); ranges.len()];
            while let Some(read) = reads.join_next().await {
                let (index, found) = read??;
                parts[index] = found;
            }
            Ok(parts)
        })?;
        found.map_err(|error| self.failed(&error))
    }

    fn get(&self, file: &str, options: GetOptions) -> io::Result<(Bytes, ObjectFacts)> {
        let path = self.path(file)?;
        let found = block_on(async {
            let found: GetResult = self.objects.get_opts(&path, options).await?;
            let facts = ObjectFacts::of(found.meta.clone());
            Ok((found.bytes().await?, facts))
        })?;
        found.map_err(|error| self.failed(&error))
    }

    /// Writes a small object, which must not be there yet; none where it is.
    pub(super) fn create(&self, file: &str, content: Vec<u8>) -> io::Result<Option<UpdateVersion>> {
        self.put_if(file, content, PutMode::Create)
    }

    /// Writes a small object in the place of the version that was read; none where that is no longer there.
    pub(super) fn replace(
        &self,
        file: &str,
        content: Vec<u8>,
        version: UpdateVersion,
    ) -> io::Result<Option<UpdateVersion>> {
        self.put_if(file, content, PutMode::Update(version))
    }

    /// Writes a small object, whether it is there or not.
    pub(super) fn write(&self, file: &str, content: Vec<u8>) -> io::Result<()> {
        self.put_if(file, content, PutMode::Overwrite).map(drop)
    }

    fn put_if(&self, file: &str, content: Vec<u8>, mode: PutMode) -> io::Result<Option<UpdateVersion>> {
        let path = self.path(file)?;
        let options = PutOptions { mode, ..PutOptions::default() };
        match block_on(self.objects.put_opts(&path, PutPayload::from(content), options))? {
            Ok(written) => Ok(Some(written.into())),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(None),
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                Err(StoreError::Unable { what: "write an object on a condition".to_owned() }.into())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Uploads the file at `from` in parts of `part_bytes`; under its name the object appears whole, once `agreed` has agreed to
    /// it. Nothing is left of an upload that fails; of one that is killed, parts may stay that no listing shows.
    pub(super) fn upload<E: From<io::Error>>(
        &self,
        file: &str,
        from: &Path,
        part_bytes: u64,
        agreed: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let local = File::open(from)?;
        let length = local.metadata()?.len();
        if length <= part_bytes {
            let content = read_at(&local, 0, length)?;
            agreed()?;
            return Ok(self.write(file, content)?);
        }
        let path = self.path(file)?;
        let mut upload = block_on(self.objects.put_multipart(&path))?.map_err(|error| E::from(self.failed(&error)))?;
        let sent = self.send_parts(upload.as_mut(), &local, length, part_bytes).map_err(E::from);
        let done = sent.and_then(|()| agreed()).and_then(|()| match block_on(upload.complete())? {
            Ok(_) => Ok(()),
            // Where the answer was lost that said it is done, the request that is made again finds no upload any more.
            Err(error) if answer::knows_no_upload(&error) => {
                if self.holds(file, &local, length, part_bytes)? {
                    Ok(())
                } else {
                    Err(io::Error::from(answer::unfinished(&error)).into())
                }
            }
            Err(error) => Err(self.failed(&error).into()),
        });
        if done.is_err() {
            // What cannot be taken back now is left to the bucket's rules.
            let _ = block_on(upload.abort());
        }
        done
    }

    /// Whether an object is there that holds what `local` does. One that was there before may have the same length.
    fn holds(&self, file: &str, local: &File, length: u64, part_bytes: u64) -> io::Result<bool> {
        let facts = match self.facts(file) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if facts.bytes != length {
            return Ok(false);
        }
        let mut at = 0;
        while at < length {
            let end = length.min(at + part_bytes);
            let (found, _) = self.range(file, at..end, facts.version.e_tag.as_deref())?;
            if found != read_at(local, at, end - at)? {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        from: &File,
        length: u64,
        part_bytes: u64,
    ) -> io::Result<()> {
        let sent: io::Result<Result<(), Error>> = block_on(async {
            let mut under_way = JoinSet::new();
            let mut at = 0;
            while at < length || !under_way.is_empty() {
                while at < length && under_way.len() < PARTS_AT_ONCE {
                    let content = read_at(from, at, part_bytes.min(length - at))?;
                    at += content.len() as u64;
                    under_way.spawn(upload.put_part(PutPayload::from(content)));
                }
                match under_way.join_next().await {
                    Some(Ok(Ok(()))) | None => {}
                    Some(Ok(Err(error))) => return Ok(Err(error)),
                    Some(Err(error)) => return Err(io::Error::other(error)),
                }
            }
            Ok(Ok(()))
        })?;
        sent?.map_err(|error| self.failed(&error))
    }

    /// Removes an object; it is no error that it is not there.
    pub(super) fn remove(&self, file: &str) -> io::Result<()> {
        let path = self.path(file)?;
        match block_on(self.objects.delete(&path))? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Lists objects in `folder` of the recording (empty: in the recording itself), by name with their lengths, and the names of
    /// folders, with a slash behind them.
    pub(super) fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let prefix = match folder {
            "" => ObjectPath::parse(self.url.prefix()).map_err(|error| self.failed(&error.into()))?,
            folder => self.path(folder)?,
        };
        let listed = block_on(self.objects.list_with_delimiter(Some(&prefix)))?;
        let ListResult { common_prefixes, objects, .. } = listed.map_err(|error| self.failed(&error))?;
        let above = if self.url.prefix().is_empty() { 0 } else { self.url.prefix().len() + 1 };
        let name = |path: &ObjectPath| path.as_ref().get(above..).unwrap_or_default().to_owned();
        let objects = objects.iter().map(|object| (name(&object.location), object.size));
        let folders = common_prefixes.iter().map(|folder| (format!("{}/", name(folder)), 0));
        let mut found: Vec<(String, u64)> = objects.chain(folders).collect();
        // A store may show a folder as an object without a name of its own.
        found.retain(|(name, _)| !name.is_empty() && name != "/");
        found.sort();
        Ok(found)
    }

    fn path(&self, file: &str) -> io::Result<ObjectPath> {
        let prefix = self.url.prefix();
        let slash = if prefix.is_empty() { "" } else { "/" };
        ObjectPath::parse(format!("{prefix}{slash}{file}")).map_err(|error| self.failed(&error.into()))
    }

    fn failed(&self, error: &Error) -> io::Error {
        answer::answer(error, self.url.kind()).into()
    }
}

#[cfg(test)]
impl Store {
    /// A store in memory, at an address that nobody asks.
    pub(super) fn of_memory(objects: Arc<dyn ObjectStore>) -> Arc<Self> {
        let Ok(super::Location::Store(url)) = super::Location::parse("s3://memory/a/b") else { panic!() };
        Arc::new(Self { url, objects, endpoint: None, reach: StoreReach::default() })
    }
}

/// Parts of an upload that are under way at once; each is in memory.
const PARTS_AT_ONCE: usize = 4;

fn part(range: Range<u64>, version: Option<&str>) -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(range)), if_match: version.map(str::to_owned), ..GetOptions::default() }
}

fn read_at(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; length as usize];
    file.read_exact_at(&mut content, at)?;
    Ok(content)
}

fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    match LazyLock::force(&RUNTIME) {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(io::Error::new(error.kind(), format!("no thread for requests: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_shown_by_its_address_and_without_what_it_is_asked_with() {
        let Ok(super::super::Location::Store(url)) = super::super::Location::parse("az://container/a/b") else {
            panic!()
        };
        let client = MicrosoftAzureBuilder::new()
            .with_account("account")
            .with_access_key("U0VDUkVU")
            .with_container_name("container")
            .with_crypto_provider(Arc::new(crypto::OpenSsl));
        let objects: Arc<dyn ObjectStore> = Arc::new(client.build().unwrap());
        let store =
            Store { url, objects, endpoint: Some("http://user:SECRET@h".to_owned()), reach: StoreReach::default() };
        assert_eq!(format!("{store:?}"), "Store { address: \"az://container/a/b\", .. }");
    }
}
