//! Schemas by id and by subject: those of the recording, and above them what one drive registers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::level::Level;
use crate::outcome::RegisteredSchema;
use crate::schema::{
    Compatibility, Direction, Reference, SchemaKind, SchemaText, Schemas, SubjectVersion, compatibility,
};

/// Bytes of schemas that a drive may register.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Schemas that are registered and told of one by one.
const TOLD_MAX: usize = 1_000;

/// Breaks of compatibility that are told of each.
const BREAKS_MAX: usize = 10;

/// A schema as clients send it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Sent {
    pub(super) schema: String,
    #[serde(default, rename = "schemaType")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) references: Option<Vec<SentReference>>,
}

/// A reference as clients send it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct SentReference {
    name: String,
    subject: String,
    version: i32,
}

/// Why a registry does not do what it is asked, by its own codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSubject(String),
    NoVersion(i32),
    NoSchema,
    NoId(i32),
    InvalidSchema(String),
    Incompatible(Vec<String>),
    Full,
}

/// One version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: i32,
    pub(super) id: i32,
}

#[derive(Debug, Clone, Default)]
struct Subject {
    versions: Vec<Version>,
    /// Highest number given: numbers are not given twice.
    last: i32,
}

/// All schemas that one drive sees.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    texts: BTreeMap<i32, SchemaText>,
    subjects: BTreeMap<String, Subject>,
    by_content: BTreeMap<u128, i32>,
    /// First id that the recording does not know.
    unrecorded: i32,
    /// Ids that the drive was given for schemas of its own.
    own: BTreeSet<i32>,
    /// First id behind those that what the recording's schemas refer to was given.
    next: i32,
    bytes: usize,
    registered: Vec<RegisteredSchema>,
    untold: u64,
}

impl Shelf {
    /// Puts down the schemas of a recording; `seen` says under which topic and part (`key` or `value`) each was met, for those of which
    /// the registry did not tell the subjects.
    pub(super) fn new<'a>(schemas: &Schemas, seen: impl Iterator<Item = (&'a str, &'a str, i32)>) -> Self {
        let mut shelf = Self { unrecorded: 1, next: 1, ..Self::default() };
        let mut by_topic = BTreeMap::<i32, BTreeSet<String>>::new();
        for (topic, part, id) in seen {
            by_topic.entry(id).or_default().insert(format!("{topic}-{part}"));
        }
        for text in schemas.texts() {
            shelf.next = shelf.next.max(text.id.saturating_add(1));
            shelf.by_content.entry(content(text)).or_insert(text.id);
            shelf.texts.insert(text.id, text.clone());
        }
        shelf.unrecorded = shelf.next;
        for text in schemas.texts() {
            for SubjectVersion { subject, version } in &text.subjects {
                shelf.place(subject, Version { number: *version, id: text.id });
            }
        }
        // In the order of ids, which is that of registering.
        for text in schemas.texts().filter(|text| text.subjects.is_empty()) {
            for subject in by_topic.get(&text.id).into_iter().flatten() {
                let number = shelf.subjects.get(subject).map_or(0, |subject| subject.last) + 1;
                shelf.place(subject, Version { number, id: text.id });
            }
        }
        // What is only referred to was registered as well, under an id that nobody wrote down.
        for text in schemas.texts() {
            for (at, reference) in text.references.iter().enumerate() {
                if shelf.version(&reference.subject, Some(reference.version)).is_err() {
                    let id = shelf.shelve(SchemaText {
                        id: shelf.next,
                        kind: text.kind,
                        schema: reference.schema.clone(),
                        references: text.references[..at].to_vec(),
                        subjects: Vec::new(),
                    });
                    shelf.next = shelf.next.max(id.saturating_add(1));
                    shelf.place(&reference.subject, Version { number: reference.version, id });
                }
            }
        }
        shelf
    }

    fn place(&mut self, name: &str, version: Version) {
        let subject = self.subjects.entry(name.to_owned()).or_default();
        let at = subject.versions.partition_point(|other| other.number < version.number);
        if subject.versions.get(at).is_none_or(|other| other.number != version.number) {
            subject.versions.insert(at, version);
        }
        subject.last = subject.last.max(version.number);
    }

    /// Keeps a schema under the id that it has already, else under its own; returns which.
    fn shelve(&mut self, text: SchemaText) -> i32 {
        let id = *self.by_content.entry(content(&text)).or_insert(text.id);
        self.texts.entry(id).or_insert(text);
        id
    }

    /// An id for what a drive registers, by what it says: so it has the same in each drive, and what says something else has another.
    fn id_by_content(&self, text: &SchemaText) -> Option<i32> {
        let schemas = std::iter::once(&text.schema).chain(text.references.iter().map(|reference| &reference.schema));
        let said = schemas.map(|schema| text.kind.said(schema));
        let all: Vec<String> = std::iter::once(text.kind.name().to_owned()).chain(said).collect();
        let room = u64::from((i32::MAX - self.next).unsigned_abs()).max(1);
        let first = self.next.saturating_add((xxh3_64(all.join("\u{1}").as_bytes()) % room) as i32);
        (first..i32::MAX).chain(self.next..first).find(|id| !self.texts.contains_key(id))
    }

    /// The schema of an id that the drive is given for what it brought, and may write values by from now on.
    pub(super) fn hand_out(&mut self, id: i32) -> Result<&SchemaText, Refusal> {
        if id >= self.unrecorded {
            self.own.insert(id);
        }
        self.text(id)
    }

    /// Schemas that the drive brought and the recording does not know, in order of id.
    pub(super) fn own(&self) -> impl Iterator<Item = &SchemaText> {
        self.own.iter().filter_map(|id| self.texts.get(id))
    }

    /// The schema of an id.
    pub(super) fn text(&self, id: i32) -> Result<&SchemaText, Refusal> {
        self.texts.get(&id).ok_or(Refusal::NoId(id))
    }

    /// Highest id given.
    pub(super) fn last_id(&self) -> i32 {
        self.texts.last_key_value().map_or(0, |(id, _)| *id)
    }

    /// Names of all subjects, in order.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.iter().filter(|(_, subject)| !subject.versions.is_empty()).map(|(name, _)| name.as_str())
    }

    /// Versions of a subject, in order.
    pub(super) fn versions(&self, subject: &str) -> Result<&[Version], Refusal> {
        let versions = self.subjects.get(subject).map_or(&[][..], |subject| &subject.versions);
        if versions.is_empty() { Err(Refusal::NoSubject(subject.to_owned())) } else { Ok(versions) }
    }

    /// One version of a subject, or its latest.
    pub(super) fn version(&self, subject: &str, number: Option<i32>) -> Result<Version, Refusal> {
        let versions = self.versions(subject)?;
        let found = match number {
            None => versions.last(),
            Some(number) => versions.iter().find(|version| version.number == number),
        };
        found.copied().ok_or(Refusal::NoVersion(number.unwrap_or(0)))
    }

    /// Where a schema stands: subject and version, in order.
    pub(super) fn places(&self, id: i32) -> Vec<(&str, i32)> {
        let of = |(name, subject): (&'_ String, &'_ Subject)| {
            let numbers: Vec<i32> =
                subject.versions.iter().filter(|version| version.id == id).map(|version| version.number).collect();
            (name.clone(), numbers)
        };
        let found: Vec<(String, Vec<i32>)> = self.subjects.iter().map(of).collect();
        let name = |name: &str| self.subjects.get_key_value(name).map_or("", |(name, _)| name.as_str());
        found.iter().flat_map(|(subject, numbers)| numbers.iter().map(move |number| (name(subject), *number))).collect()
    }

    /// Takes versions of a subject away, all or one; returns their numbers. Numbers and ids are not given again.
    pub(super) fn delete(&mut self, subject: &str, number: Option<i32>) -> Result<Vec<i32>, Refusal> {
        let wanted = match number {
            None => self.versions(subject)?.iter().map(|version| version.number).collect(),
            Some(number) => vec![self.version(subject, Some(number))?.number],
        };
        if let Some(subject) = self.subjects.get_mut(subject) {
            subject.versions.retain(|version| !wanted.contains(&version.number));
        }
        Ok(wanted)
    }

    /// Reads what a client sent, with what it refers to.
    pub(super) fn read(&self, sent: &Sent) -> Result<SchemaText, Refusal> {
        let Some(kind) = SchemaKind::of_registry(sent.kind.as_deref()) else {
            return Err(Refusal::InvalidSchema("its type is neither AVRO, nor PROTOBUF, nor JSON".to_owned()));
        };
        let mut references = Vec::<Reference>::new();
        for SentReference { name, subject, version } in sent.references.iter().flatten() {
            let number = if *version == -1 { None } else { Some(*version) };
            let found = self.version(subject, number).and_then(|version| Ok((version, self.text(version.id)?)));
            let Ok((found, text)) = found else {
                let problem = format!("no schema for the reference `{name}`: version {version} of {subject}");
                return Err(Refusal::InvalidSchema(problem));
            };
            let (name, subject) = (name.clone(), subject.clone());
            let direct = Reference { name, subject, version: found.number, schema: text.schema.clone() };
            for reference in text.references.iter().cloned().chain([direct]) {
                if references.iter().all(|known| known.name != reference.name) {
                    references.push(reference);
                }
            }
        }
        let text = SchemaText { id: i32::MAX, kind, schema: sent.schema.clone(), references, subjects: Vec::new() };
        match Schemas::new([text.clone()]).problem(i32::MAX) {
            Some(problem) => Err(Refusal::InvalidSchema(problem.to_string())),
            None => Ok(text),
        }
    }

    /// Finds a schema among the versions of a subject.
    pub(super) fn find(&self, subject: &str, text: &SchemaText) -> Result<Version, Refusal> {
        let id = self.by_content.get(&content(text));
        let found = self.versions(subject)?.iter().rev().find(|version| Some(&version.id) == id);
        found.copied().ok_or(Refusal::NoSchema)
    }

    /// Registers a schema: the same one has the same id, whatever its subject, and the same version within one.
    pub(super) fn register(&mut self, subject: &str, text: SchemaText, level: Level) -> Result<Version, Refusal> {
        match self.find(subject, &text) {
            Ok(version) => return Ok(version),
            Err(Refusal::NoSchema | Refusal::NoSubject(_)) => {}
            Err(refusal) => return Err(refusal),
        }
        let against = self.against_latest(subject, &text);
        let broken = self.breaks(subject, &text, level);
        let bytes = text.schema.len() + text.references.iter().map(|reference| reference.schema.len()).sum::<usize>();
        let id = self.id_by_content(&text).filter(|_| self.bytes + bytes <= TEXT_BYTES_MAX);
        if broken.is_empty() && id.is_none() {
            return Err(Refusal::Full);
        }
        let (kind, hash) = (text.kind, content(&text));
        let version = if let Some(id) = id.filter(|_| broken.is_empty()) {
            self.bytes += bytes;
            let number = self.subjects.get(subject).map_or(0, |subject| subject.last) + 1;
            let id = self.shelve(SchemaText { id, ..text });
            self.place(subject, Version { number, id });
            Some(Version { number, id })
        } else {
            None
        };
        self.tell(subject, kind, hash, version, against);
        version.ok_or(Refusal::Incompatible(broken))
    }

    fn tell(
        &mut self,
        subject: &str,
        kind: SchemaKind,
        hash: u128,
        version: Option<Version>,
        against: Option<Result<Compatibility, String>>,
    ) {
        let schema = format!("{hash:032x}");
        // A build that is refused tries again and again; what is taken after all is told once more.
        let known = |one: &RegisteredSchema| {
            one.subject == subject && one.schema == schema && one.version.is_some() == version.is_some()
        };
        if self.registered.iter().any(known) {
            return;
        }
        if self.registered.len() >= TOLD_MAX {
            self.untold += 1;
            return;
        }
        let (compatibility, breaks) = match against {
            None => (None, Vec::new()),
            Some(Ok(found)) => (
                serde_json::to_value(found.level).ok().and_then(|level| level.as_str().map(str::to_owned)),
                found.breaks.iter().take(BREAKS_MAX).map(in_words).collect(),
            ),
            Some(Err(problem)) => (Some("none".to_owned()), vec![problem]),
        };
        self.registered.push(RegisteredSchema {
            subject: subject.to_owned(),
            kind: kind.name().to_owned(),
            schema,
            version: version.map(|version| version.number),
            id: version.map(|version| version.id),
            compatibility,
            breaks,
        });
    }

    /// Compatibility with the latest version of a subject; none where it has no version.
    fn against_latest(&self, subject: &str, text: &SchemaText) -> Option<Result<Compatibility, String>> {
        let latest = self.version(subject, None).ok()?;
        self.texts.get(&latest.id).map(|latest| compatibility(latest, text))
    }

    /// What keeps a schema from following on those of a subject under `level`; empty where nothing does.
    pub(super) fn breaks(&self, subject: &str, text: &SchemaText, level: Level) -> Vec<String> {
        let versions = self.versions(subject).unwrap_or_default();
        let looked_at = if level.is_transitive() { 0 } else { versions.len().saturating_sub(1) };
        versions[looked_at..].iter().rev().flat_map(|version| self.breaks_of(*version, text, level)).collect()
    }

    /// What keeps a schema from following on one version under `level`.
    pub(super) fn breaks_of(&self, version: Version, text: &SchemaText, level: Level) -> Vec<String> {
        if level.is_none() {
            return Vec::new();
        }
        let Some(before) = self.texts.get(&version.id) else { return Vec::new() };
        match compatibility(before, text) {
            Ok(found) => found.breaks.iter().filter(|one| level.forbids(one.direction)).map(in_words).collect(),
            Err(problem) => vec![problem],
        }
    }

    /// What was registered, or refused, in order.
    pub(super) fn registered(&self) -> &[RegisteredSchema] {
        &self.registered
    }

    /// How many more of them there were than are told of one by one; one that was refused counts as often as it was.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }
}

fn in_words(one: &crate::schema::Break) -> String {
    let direction = match one.direction {
        Direction::Backward => "backward",
        Direction::Forward => "forward",
    };
    format!("{} at {} ({direction}): {}", one.rule.0, one.path, one.what)
}

/// A hash of what a schema says: spaces and the order of members of its JSON do not count.
fn content(text: &SchemaText) -> u128 {
    let references = text.references.iter().map(|one| format!("{}\u{0}{}\u{0}{}", one.name, one.subject, one.version));
    let all: Vec<String> =
        [text.kind.name().to_owned(), text.kind.said(&text.schema)].into_iter().chain(references).collect();
    xxh3_128(all.join("\u{1}").as_bytes())
}
