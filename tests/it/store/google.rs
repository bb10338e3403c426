//! Google's XML API as far as it is used: objects with generations, writes on the condition of one, ranges, pages of listings,
//! uploads in parts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use hyper::{Method, Response};
use s3s::Body;

use super::bucket::{Asked, Entry, Object, Objects, answer, content, error, in_xml};
use super::server::{BUCKET, SECRET};

/// What the smallest part may have that is not the last one.
const PART_MIN: usize = 5 << 20;

#[derive(Debug)]
pub(crate) struct Google {
    objects: Objects,
    begun: u64,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
}

impl Google {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { objects: Objects::new(folder), begun: 0, uploads: BTreeMap::new() }
    }

    pub(crate) fn answer(&mut self, asked: &Asked) -> Response<Body> {
        if asked.header("authorization") != Some(&format!("Bearer {SECRET}")) {
            return error(401, "AuthenticationRequired");
        }
        if asked.bucket != BUCKET {
            return error(404, "NoSuchBucket");
        }
        let upload = asked.asks("uploadId");
        match &asked.method {
            &Method::GET if asked.object.is_empty() => self.list(asked),
            &Method::GET | &Method::HEAD => self.get(asked),
            &Method::PUT if !upload.is_empty() => self.part(asked, upload),
            &Method::PUT => self.put(asked, asked.content.clone()),
            &Method::POST if asked.query.contains_key("uploads") => self.begin(asked),
            &Method::POST if !upload.is_empty() => self.complete(asked, upload),
            &Method::DELETE if !upload.is_empty() => match self.uploads.remove(upload) {
                Some(_) => answer(204, &[], ""),
                None => error(404, "NoSuchUpload"),
            },
            &Method::DELETE if self.objects.remove(&asked.object) => answer(204, &[], ""),
            &Method::DELETE => error(404, "NoSuchKey"),
            _ => error(405, "MethodNotAllowed"),
        }
    }

    fn get(&mut self, asked: &Asked) -> Response<Body> {
        let Some(object) = self.objects.get(&asked.object) else { return error(404, "NoSuchKey") };
        if asked.header("if-match").is_some_and(|wanted| wanted != e_tag(&object)) {
            return error(412, "PreconditionFailed");
        }
        content(
            asked,
            &object,
            &[
                ("etag", &e_tag(&object)),
                ("x-goog-generation", &object.generation.to_string()),
                ("last-modified", &object.modified()),
            ],
        )
    }

    fn put(&mut self, asked: &Asked, content: Vec<u8>) -> Response<Body> {
        if let Some(wanted) = asked.header("x-goog-if-generation-match") {
            let found = self.objects.get(&asked.object).map_or(0, |object| object.generation);
            if wanted != found.to_string() {
                return error(412, "PreconditionFailed");
            }
        }
        let object = self.objects.put(&asked.object, content);
        answer(200, &[("etag", &e_tag(&object)), ("x-goog-generation", &object.generation.to_string())], "")
    }

    fn begin(&mut self, asked: &Asked) -> Response<Body> {
        self.begun += 1;
        let upload = format!("upload-{}", self.begun);
        self.uploads.insert(upload.clone(), BTreeMap::new());
        let (bucket, key) = (BUCKET, in_xml(&asked.object));
        let text = format!(
            "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>\
             </InitiateMultipartUploadResult>"
        );
        answer(200, &[], text)
    }

    fn part(&mut self, asked: &Asked, upload: &str) -> Response<Body> {
        let Some(parts) = self.uploads.get_mut(upload) else { return error(404, "NoSuchUpload") };
        let number: u32 = asked.asks("partNumber").parse().unwrap();
        parts.insert(number, asked.content.clone());
        answer(200, &[("etag", &part_e_tag(number))], "")
    }

    fn complete(&mut self, asked: &Asked, upload: &str) -> Response<Body> {
        let Some(parts) = self.uploads.get(upload) else { return error(404, "NoSuchUpload") };
        let text = String::from_utf8_lossy(&asked.content).into_owned();
        let mut whole = Vec::new();
        let mut listed = text.split("<Part>").skip(1).peekable();
        while let Some(part) = listed.next() {
            let within = |name: &str| {
                let rest = part.split_once(&format!("<{name}>")).unwrap().1;
                rest.split_once(&format!("</{name}>")).unwrap().0.to_owned()
            };
            let number: u32 = within("PartNumber").parse().unwrap();
            match parts.get(&number) {
                Some(_) if within("ETag") != part_e_tag(number) => return error(400, "InvalidPart"),
                None => return error(400, "InvalidPart"),
                Some(part) if part.len() < PART_MIN && listed.peek().is_some() => return error(400, "EntityTooSmall"),
                Some(part) => whole.extend_from_slice(part),
            }
        }
        self.uploads.remove(upload);
        let object = self.objects.put(&asked.object, whole);
        let (key, e_tag) = (in_xml(&asked.object), e_tag(&object));
        let text = format!(
            "<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><ETag>{e_tag}</ETag>\
             </CompleteMultipartUploadResult>"
        );
        answer(200, &[("x-goog-generation", &object.generation.to_string())], text)
    }

    fn list(&mut self, asked: &Asked) -> Response<Body> {
        if asked.asks("list-type") != "2" {
            return error(400, "InvalidArgument");
        }
        let (entries, mark) =
            self.objects.page(asked.asks("prefix"), asked.asks("delimiter"), asked.asks("continuation-token"));
        let mut text =
            format!("<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{}</IsTruncated>", !mark.is_empty());
        if !mark.is_empty() {
            let _ = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", in_xml(&mark));
        }
        for entry in entries {
            let _ = match entry {
                Entry::Folder(name) => {
                    write!(text, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", in_xml(&name))
                }
                Entry::Object(name, object) => write!(
                    text,
                    "<Contents><Key>{}</Key><Generation>{}</Generation><LastModified>{}</LastModified><ETag>{}</ETag>\
                     <Size>{}</Size></Contents>",
                    in_xml(&name),
                    object.generation,
                    object.moment("%Y-%m-%dT%H:%M:%S.000Z"),
                    e_tag(&object),
                    object.content.len(),
                ),
            };
        }
        answer(200, &[], text + "</ListBucketResult>")
    }
}

fn e_tag(object: &Object) -> String {
    format!("\"{:032x}\"", object.generation)
}

fn part_e_tag(number: u32) -> String {
    format!("\"part-{number}\"")
}
