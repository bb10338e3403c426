//! Where a recording lies: in a directory, or in an object store.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a recording lies. A path is a directory, whatever it looks like; what a user writes is read by [`Location::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// A prefix in an object store.
    Store(StoreUrl),
}

/// The address of a recording in an object store: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
///
/// It holds neither credentials nor an endpoint: both come from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    kind: StoreKind,
    bucket: String,
    prefix: String,
    /// As it is shown. A path, because errors name files by their paths.
    shown: PathBuf,
}

/// Kinds of object stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Amazon S3, and whatever speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl StoreKind {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// Scheme of its addresses.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// What a bucket is called there.
    pub(super) fn bucket(self) -> &'static str {
        if self == Self::Azure { "container" } else { "bucket" }
    }
}

/// Why a text is no address of a recording. It repeats nothing of the text but its scheme: addresses may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// No store has this scheme.
    #[error(
        "`{scheme}://` is no store that is known; there are s3://BUCKET/PREFIX, gs://BUCKET/PREFIX and az://CONTAINER/PREFIX"
    )]
    UnknownScheme {
        /// Scheme.
        scheme: String,
    },
    /// The address does not say which bucket.
    #[error("the address names no {bucket}; write {scheme}://{}/PREFIX", .bucket.to_uppercase())]
    NoBucket {
        /// Scheme.
        scheme: &'static str,
        /// What a bucket is called there.
        bucket: &'static str,
    },
    /// The address holds more than bucket and prefix.
    #[error(
        "the address holds {found}, which no recording's has: credentials and endpoints come from the environment, never from an \
         address"
    )]
    MoreThanAnAddress {
        /// What it holds.
        found: &'static str,
    },
    /// No store has a bucket of this name.
    #[error("the address names no {bucket} that there may be: one is called by letters, digits, `-`, `.`, `_` and `$`")]
    BadBucket {
        /// What a bucket is called there.
        bucket: &'static str,
    },
    /// A part of the prefix cannot be part of an object's name.
    #[error("the address has a part that no object's name may have: empty, `.`, `..` or a control character")]
    BadPrefix,
}

impl Location {
    /// Reads what a user wrote: an address where it begins with a scheme and `://`, else a directory.
    ///
    /// # Errors
    ///
    /// [`LocationError`] where it looks like an address and is none of a store that is known.
    pub fn parse(text: impl Into<OsString>) -> Result<Self, LocationError> {
        let text = text.into();
        match text.to_str().and_then(|text| text.split_once("://")) {
            Some((scheme, rest)) if is_scheme(scheme) => StoreUrl::parse(scheme, rest).map(Self::Store),
            _ => Ok(Self::Directory(text.into())),
        }
    }

    /// Returns it as it is shown: the directory, or the address.
    pub fn shown(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Store(url) => &url.shown,
        }
    }

    /// Returns what it is called: the last part of its path or prefix; a recording that is all of a bucket is called like that.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Directory(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Self::Store(url) => {
                let last = url.prefix.rsplit('/').next().filter(|last| !last.is_empty());
                Some(last.unwrap_or(&url.bucket).to_owned())
            }
        }
    }

    /// Returns the same location as seen from `folder`, where it is a directory that is not absolute.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(folder.join(path)),
            store @ Self::Store(_) => store,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().display().fmt(f)
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl<P: AsRef<Path>> From<P> for Location {
    fn from(path: P) -> Self {
        Self::Directory(path.as_ref().to_owned())
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

impl StoreUrl {
    fn parse(scheme: &str, rest: &str) -> Result<Self, LocationError> {
        let kind = StoreKind::ALL.into_iter().find(|kind| kind.scheme().eq_ignore_ascii_case(scheme));
        let kind = kind.ok_or_else(|| LocationError::UnknownScheme { scheme: scheme.to_owned() })?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        for (mark, found) in [('?', "a query (`?`)"), ('#', "a fragment (`#`)")] {
            if rest.contains(mark) {
                return Err(LocationError::MoreThanAnAddress { found });
            }
        }
        if bucket.contains('@') {
            return Err(LocationError::MoreThanAnAddress { found: "a name or a password (`@`)" });
        }
        if bucket.contains(':') {
            return Err(LocationError::MoreThanAnAddress { found: "a port (`:`)" });
        }
        if bucket.is_empty() {
            return Err(LocationError::NoBucket { scheme: kind.scheme(), bucket: kind.bucket() });
        }
        let may = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | '$');
        if !bucket.chars().all(may) || bucket.chars().all(|letter| letter == '.') {
            return Err(LocationError::BadBucket { bucket: kind.bucket() });
        }
        let prefix = prefix.trim_matches('/');
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
        if !prefix.is_empty() && prefix.split('/').any(bad) {
            return Err(LocationError::BadPrefix);
        }
        let slash = if prefix.is_empty() { "" } else { "/" };
        let shown = PathBuf::from(format!("{}://{bucket}{slash}{prefix}", kind.scheme()));
        Ok(Self { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned(), shown })
    }

    /// Kind of the store.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Bucket, or what the store calls so.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What the names of the recording's objects begin with, without slashes at its ends; empty where it is all of the bucket.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The address as it is shown.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }
}

/// Whether a text may be a scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stores_and_everything_else_is_a_directory() {
        for (text, shown) in [
            ("s3://bucket/a/b", "s3://bucket/a/b"),
            ("S3://bucket/a/b//", "s3://bucket/a/b"),
            ("gs://bucket", "gs://bucket"),
            ("az://container/deep/er/", "az://container/deep/er"),
            ("az://$web/a b", "az://$web/a b"),
            ("gs://a.b_c-1/ü", "gs://a.b_c-1/ü"),
        ] {
            let Location::Store(url) = Location::parse(text).unwrap() else { panic!("{text}") };
            assert_eq!(url.shown(), Path::new(shown));
        }
        for text in ["recordings/flights", "./s3:/x", "/a://b", "a b://c", ""] {
            assert_eq!(Location::parse(text).unwrap(), Location::Directory(text.into()));
        }
        let Location::Store(url) = Location::parse("az://c/p/q").unwrap() else { panic!() };
        assert_eq!((url.kind(), url.bucket(), url.prefix()), (StoreKind::Azure, "c", "p/q"));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_repeating_it() {
        for (text, problem) in [
            ("https://secret@host/x", "`https://` is no store"),
            ("s3:///x", "names no bucket"),
            ("az://", "names no container; write az://CONTAINER/PREFIX"),
            ("s3://key:secret@bucket/x", "a name or a password"),
            ("s3://bucket/x?secret=1", "a query"),
            ("s3://bucket/x#secret", "a fragment"),
            ("s3://localhost:9000/secret", "a port"),
            ("s3://sec ret/x", "names no bucket that there may be"),
            ("az://secret\\x/y", "names no container that there may be"),
            ("s3://secr%65t/x", "names no bucket that there may be"),
            ("gs://secrét/x", "names no bucket that there may be"),
            ("s3://secret\n/x", "names no bucket that there may be"),
            ("s3://../x", "names no bucket that there may be"),
            ("s3://bucket/a//secret", "a part"),
            ("s3://bucket/../secret", "a part"),
        ] {
            let said = Location::parse(text).unwrap_err().to_string();
            assert!(said.contains(problem) && !said.contains("secret"), "{text}: {said}");
        }
    }

    #[test]
    fn a_location_is_called_by_its_last_part_and_seen_from_a_folder_only_where_it_is_a_directory() {
        for (text, name, below) in [
            ("a/b", Some("b"), "f/a/b"),
            ("/a/b", Some("b"), "/a/b"),
            ("..", None, "f/.."),
            ("s3://bucket/a/b", Some("b"), "s3://bucket/a/b"),
            ("gs://bucket", Some("bucket"), "gs://bucket"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.name().as_deref(), name, "{text}");
            assert_eq!(location.below(Path::new("f")).to_string(), below);
        }
    }
}
