//! What the servers of Google's and Azure's protocols have in common: a bucket of files, and requests taken apart.

use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::UNIX_EPOCH;

use chrono::DateTime;
use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;

use super::server::BUCKET;

/// Entries of a listing that are answered at once: all but the shortest have several pages.
const PAGE: usize = 2;

/// A request that was read to its end.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path as it came.
    pub(crate) path: String,
    /// What the path names, without escapes.
    pub(crate) bucket: String,
    pub(crate) object: String,
    /// Names in order, without escapes.
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Vec<u8>,
}

impl Asked {
    pub(crate) async fn read(request: Request<Incoming>) -> Option<Self> {
        let (parts, mut body) = request.into_parts();
        let mut content = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            if let Ok(data) = frame.ok()?.into_data() {
                content.extend_from_slice(&data);
            }
        }
        Some(Self::of(parts.method, &parts.uri.to_string(), parts.headers, content))
    }

    /// Takes apart what was asked for at `uri`, which begins with the path.
    pub(crate) fn of(method: Method, uri: &str, headers: HeaderMap, content: Vec<u8>) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let (bucket, object) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(&name.replace('+', " ")), unescaped(&value.replace('+', " ")))
        };
        let query = query.split('&').filter(|one| !one.is_empty()).map(pair).collect();
        let (bucket, object) = (unescaped(bucket), unescaped(object));
        Self { method, path: path.to_owned(), bucket, object, query, headers, content }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn asks(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// A text without its `%XX`.
pub(crate) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).unwrap()
}

/// An object as it is by now.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) content: Vec<u8>,
    /// Another one after each write.
    pub(crate) generation: u64,
    modified_s: i64,
}

impl Object {
    /// When it was written, as headers have it.
    pub(crate) fn modified(&self) -> String {
        self.moment("%a, %d %b %Y %H:%M:%S GMT")
    }

    /// When it was written, by a format of chrono's.
    pub(crate) fn moment(&self, format: &str) -> String {
        DateTime::from_timestamp(self.modified_s, 0).unwrap().format(format).to_string()
    }
}

/// One entry of a listing.
#[derive(Debug)]
pub(crate) enum Entry {
    Object(String, Object),
    /// A folder, with the slash behind it.
    Folder(String),
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Object(name, _) | Self::Folder(name) => name,
        }
    }
}

/// Objects as files below a folder, which tests change behind the server's back.
#[derive(Debug)]
pub(crate) struct Objects {
    folder: PathBuf,
    last: u64,
    /// Generation of each object, and the content that it had then.
    known: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Objects {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.join(BUCKET), last: 1_000, known: BTreeMap::new() }
    }

    pub(crate) fn get(&mut self, name: &str) -> Option<Object> {
        let path = self.folder.join(name);
        let Ok(content) = fs::read(&path) else {
            self.known.remove(name);
            return None;
        };
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let modified_s = modified.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let generation = match self.known.get(name) {
            Some((generation, before)) if *before == content => *generation,
            _ => self.note(name, content.clone()),
        };
        Some(Object { content, generation, modified_s })
    }

    pub(crate) fn put(&mut self, name: &str, content: Vec<u8>) -> Object {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content).unwrap();
        self.note(name, content);
        self.get(name).unwrap()
    }

    fn note(&mut self, name: &str, content: Vec<u8>) -> u64 {
        self.last += 1;
        self.known.insert(name.to_owned(), (self.last, content));
        self.last
    }

    /// Removes an object; false where there is none.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.known.remove(name);
        fs::remove_file(self.folder.join(name)).is_ok()
    }

    /// One page of a listing: what comes behind `mark`, and the mark of the page behind it; empty where there is none.
    pub(crate) fn page(&mut self, prefix: &str, delimiter: &str, mark: &str) -> (Vec<Entry>, String) {
        let mut entries: BTreeMap<String, Option<Object>> = BTreeMap::new();
        for name in names(&self.folder, "") {
            let Some(rest) = name.strip_prefix(prefix) else { continue };
            match rest.split_once(delimiter).filter(|_| !delimiter.is_empty()) {
                Some((folder, _)) => drop(entries.insert(format!("{prefix}{folder}{delimiter}"), None)),
                None => drop(entries.insert(name.clone(), self.get(&name))),
            }
        }
        let mut behind: Vec<Entry> = entries
            .into_iter()
            .filter(|(name, _)| name.as_str() > mark)
            .map(|(name, object)| match object {
                Some(object) => Entry::Object(name, object),
                None => Entry::Folder(name),
            })
            .collect();
        let more = behind.len() > PAGE;
        behind.truncate(PAGE);
        let mark = behind.last().filter(|_| more).map(|last| last.name().to_owned());
        (behind, mark.unwrap_or_default())
    }
}

/// Names of all files below a folder.
fn names(folder: &Path, above: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(names(&entry.path(), &format!("{name}/")));
        } else {
            found.push(name);
        }
    }
    found
}

/// An answer with these headers.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], content: impl Into<Vec<u8>>) -> Response<Body> {
    let mut answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Body::from(content.into())).unwrap()
}

/// An error as both protocols say it.
pub(crate) fn error(status: u16, code: &str) -> Response<Body> {
    answer(status, &[], format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"))
}

/// Answers with an object, or the range of it that was asked for.
pub(crate) fn content(asked: &Asked, object: &Object, headers: &[(&str, &str)]) -> Response<Body> {
    let length = object.content.len();
    let Some(range) = asked.header("range") else {
        // Said by itself: of an object without content, nothing else says it in an answer to HEAD.
        let length = length.to_string();
        return answer(200, &[headers, &[("content-length", length.as_str())]].concat(), object.content.clone());
    };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    if first >= length {
        return error(416, "InvalidRange");
    }
    let end = last.parse::<usize>().map_or(length, |last| length.min(last + 1));
    let range = format!("bytes {first}-{}/{length}", end - 1);
    let headers = [headers, &[("content-range", range.as_str())]].concat();
    answer(206, &headers, object.content[first..end].to_vec())
}

/// A text as it stands in XML.
pub(crate) fn in_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
