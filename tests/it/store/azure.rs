//! Azure's Blob service as far as it is used: blobs with tags of their versions, writes on the condition of one, ranges, pages of listings, blocks
//! and lists of them, deletions in batches; every request, and every deletion of a batch, signed with the account's key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response};
use s3s::Body;
use sha2::Sha256;

use super::bucket::{Asked, Entry, Object, Objects, answer, content, error, in_xml};
use super::server::{BUCKET, KEY, SECRET};

#[derive(Debug)]
pub(crate) struct Azure {
    objects: Objects,
    /// Blocks that no list has named yet, by blob and id.
    blocks: BTreeMap<(String, String), Vec<u8>>,
}

/// The account's key, as the environment has it.
pub(crate) fn account_key() -> String {
    BASE64.encode(SECRET)
}

impl Azure {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { objects: Objects::new(folder), blocks: BTreeMap::new() }
    }

    pub(crate) fn answer(&mut self, asked: &Asked) -> Response<Body> {
        if !is_signed(asked) {
            return error(403, "AuthenticationFailed");
        }
        if asked.bucket != BUCKET {
            return error(404, "ContainerNotFound");
        }
        match (&asked.method, asked.asks("comp")) {
            (&Method::GET, "list") => self.list(asked),
            (&Method::POST, "batch") => self.batch(asked),
            (&Method::GET | &Method::HEAD, "") => self.get(asked),
            (&Method::PUT, "") if asked.header("x-ms-blob-type") == Some("BlockBlob") => {
                self.put(asked, asked.content.clone())
            }
            (&Method::PUT, "block") => {
                let block = (asked.object.clone(), asked.asks("blockid").to_owned());
                self.blocks.insert(block, asked.content.clone());
                answer(201, &[], "")
            }
            (&Method::PUT, "blocklist") => self.put_list(asked),
            _ => error(400, "InvalidQueryParameterValue"),
        }
    }

    fn get(&mut self, asked: &Asked) -> Response<Body> {
        let Some(blob) = self.objects.get(&asked.object) else { return error(404, "BlobNotFound") };
        if asked.header("if-match").is_some_and(|wanted| wanted != e_tag(&blob)) {
            return error(412, "ConditionNotMet");
        }
        content(asked, &blob, &[("etag", &e_tag(&blob)), ("last-modified", &blob.modified())])
    }

    fn put(&mut self, asked: &Asked, content: Vec<u8>) -> Response<Body> {
        let found = self.objects.get(&asked.object);
        if asked.header("if-none-match") == Some("*") && found.is_some() {
            return error(409, "BlobAlreadyExists");
        }
        if asked.header("if-match").is_some_and(|wanted| found.is_none_or(|found| wanted != e_tag(&found))) {
            return error(412, "ConditionNotMet");
        }
        // What was not yet named is gone with the blob that it was to be part of.
        self.blocks.retain(|(blob, _), _| *blob != asked.object);
        let blob = self.objects.put(&asked.object, content);
        answer(201, &[("etag", &e_tag(&blob)), ("last-modified", &blob.modified())], "")
    }

    fn put_list(&mut self, asked: &Asked) -> Response<Body> {
        let text = String::from_utf8_lossy(&asked.content).into_owned();
        let mut whole = Vec::new();
        for listed in text.split("<Uncommitted>").skip(1) {
            let id = listed.split_once("</Uncommitted>").unwrap().0.to_owned();
            match self.blocks.get(&(asked.object.clone(), id)) {
                Some(block) => whole.extend_from_slice(block),
                None => return error(400, "InvalidBlockList"),
            }
        }
        self.put(asked, whole)
    }

    fn list(&mut self, asked: &Asked) -> Response<Body> {
        let (entries, mark) = self.objects.page(asked.asks("prefix"), asked.asks("delimiter"), asked.asks("marker"));
        let mut text = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>".to_owned();
        for entry in entries {
            let _ = match entry {
                Entry::Folder(name) => write!(text, "<BlobPrefix><Name>{}</Name></BlobPrefix>", in_xml(&name)),
                Entry::Object(name, blob) => write!(
                    text,
                    "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag>\
                     <Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type>\
                     <BlobType>BlockBlob</BlobType></Properties></Blob>",
                    in_xml(&name),
                    blob.modified(),
                    e_tag(&blob),
                    blob.content.len(),
                ),
            };
        }
        let _ = write!(text, "</Blobs><NextMarker>{}</NextMarker></EnumerationResults>", in_xml(&mark));
        answer(200, &[], text)
    }

    fn batch(&mut self, asked: &Asked) -> Response<Body> {
        let mut text = String::new();
        for (number, deletion) in deletions(asked).iter().enumerate() {
            let status = match deletion {
                deletion if !is_signed(deletion) => "403 Forbidden",
                deletion if self.objects.remove(&deletion.object) => "202 Accepted",
                _ => "404 The specified blob does not exist.",
            };
            let _ = write!(
                text,
                "--answers\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n\
                 x-ms-version: 2019-12-12\r\n\r\n\r\n"
            );
        }
        answer(202, &[("content-type", "multipart/mixed; boundary=answers")], text + "--answers--\r\n")
    }
}

/// What a batch asks to delete.
pub(crate) fn deletions(asked: &Asked) -> Vec<Asked> {
    let text = String::from_utf8_lossy(&asked.content).into_owned();
    let one = |text: &str| {
        let mut lines = text.lines();
        let path = lines.next().unwrap().strip_suffix(" HTTP/1.1").unwrap().to_owned();
        let mut headers = HeaderMap::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.to_ascii_lowercase().parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        Asked::of(Method::DELETE, &path, headers, Vec::new())
    };
    text.split("\r\nDELETE ").skip(1).map(one).collect()
}

/// Whether a request is signed with the account's key: what is signed stands in
/// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.
fn is_signed(asked: &Asked) -> bool {
    let header = |name: &str| asked.header(name).unwrap_or_default();
    let length = header("content-length");
    let mut text = format!("{}\n", asked.method);
    for one in [
        header("content-encoding"),
        header("content-language"),
        if length == "0" { "" } else { length },
        header("content-md5"),
        header("content-type"),
        header("date"),
        header("if-modified-since"),
        header("if-match"),
        header("if-none-match"),
        header("if-unmodified-since"),
        header("range"),
    ] {
        let _ = writeln!(text, "{one}");
    }
    let own: BTreeMap<&str, &str> = asked
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    for (name, value) in own {
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "/{KEY}{}", asked.path);
    for (name, value) in &asked.query {
        let _ = write!(text, "\n{}:{value}", name.to_lowercase());
    }
    let mut signature = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    signature.update(text.as_bytes());
    let signature = BASE64.encode(signature.finalize().into_bytes());
    header("authorization") == format!("SharedKey {KEY}:{signature}")
}

fn e_tag(blob: &Object) -> String {
    format!("\"0x8D{:X}\"", blob.generation)
}
