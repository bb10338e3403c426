//! Events one after the other through a policy, with a look at what it left.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::credentials::{self, HEADERS};
use super::edit::{Edited, Editor, content, header};
use super::method::REDACTED;
use super::settings::{By, Otherwise, Part, Policy, Target, means};
use super::sightings::{Looked, Sighting, Sightings};
use super::{Detection, MaskError, MethodName};
use crate::recording::{
    EventBatchBuilder, EventView, HeadersView, Mask, Masking, PersonalFacts, Role, Source, TopicSource,
};
use crate::schema::{Packed, SchemaKind, SchemaText, Schemas, frame, seen_in_message_pack};

/// Topics whose rules are remembered; a build may write to any number of them.
const TOPICS_MAX: usize = 1_024;

/// One event to be masked, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'e> {
    /// Topic.
    pub topic: &'e str,
    /// Partition; masks never change it.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<&'e [u8]>,
    /// Value.
    pub value: Option<&'e [u8]>,
}

/// What is left of an event.
#[derive(Debug)]
pub struct Masked<'m> {
    /// Key.
    pub key: Option<Cow<'m, [u8]>>,
    /// Value.
    pub value: Option<Cow<'m, [u8]>>,
    headers: Headers<'m>,
}

/// Headers of an event.
#[derive(Debug)]
enum Headers<'m> {
    /// As they came.
    Same(HeadersView<'m>),
    Masked(Vec<(&'m str, Option<Cow<'m, [u8]>>)>),
}

impl Masked<'_> {
    /// Headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let (same, masked) = match &self.headers {
            Headers::Same(headers) => (*headers, &[][..]),
            Headers::Masked(headers) => (HeadersView::EMPTY, &headers[..]),
        };
        same.iter().chain(masked.iter().map(|(name, value)| (*name, value.as_deref())))
    }

    /// Whether nothing of the event was masked: what was not still lies where it lay.
    fn is_same(&self, event: EventView<'_>) -> bool {
        fn same(kept: Option<&[u8]>, taken: Option<&[u8]>) -> bool {
            match (kept, taken) {
                (Some(kept), Some(taken)) => std::ptr::eq(kept, taken),
                (kept, taken) => kept.is_none() && taken.is_none(),
            }
        }
        matches!(self.headers, Headers::Same(_))
            && same(self.key.as_deref(), event.key)
            && same(self.value.as_deref(), event.value)
    }

    /// Adds `event` to a batch as it may be kept: where it stood and when, with what the masks left of the rest.
    pub fn push_to(&self, batch: &mut EventBatchBuilder, event: EventView<'_>) {
        batch.push(
            event.topic,
            event.partition,
            event.offset,
            event.timestamp_ms,
            event.timestamp_type,
            event.captured_at_us,
            self.key.as_deref(),
            self.value.as_deref(),
            self.headers(),
        );
    }
}

/// Masks events one after the other, and counts what it did.
#[derive(Debug)]
pub struct Masker {
    policy: Option<Arc<Policy>>,
    /// Whether a rule shifts dates by what the key says.
    by_key: bool,
    detection: Detection,
    topics: Topics,
    keys: Editor,
    values: Editor,
    schemas: Schemas,
    sightings: Sightings,
    counts: Counts,
}

/// How often something was done.
#[derive(Debug, Default)]
struct Counts {
    /// By target of the policy.
    targets: Vec<u64>,
    /// By header of [`HEADERS`].
    credentials: [u64; HEADERS.len()],
    /// Keys and values that were redacted as they were no JSON.
    no_json: [u64; 2],
    /// Of those, what begins as something framed by a schema does.
    framed: [u64; 2],
    /// The first of each topic.
    unread_first: Vec<Unread>,
    /// Topics with such keys, and with such values.
    unread_topics: BTreeMap<String, [bool; 2]>,
}

impl Counts {
    /// Counts a key (0) or value (1) that goes as a whole.
    fn unread(&mut self, at: usize, parts: Parts<'_>, part: &'static str, bytes: &[u8]) {
        let is_framed = frame(bytes).is_some();
        self.no_json[at] += 1;
        self.framed[at] += u64::from(is_framed);
        if self.unread_topics.get(parts.topic).is_some_and(|seen| seen[at]) {
            return;
        }
        let topic = parts.topic.to_owned();
        self.unread_topics.entry(topic.clone()).or_default()[at] = true;
        self.unread_first.push(Unread { topic, part, partition: parts.partition, offset: parts.offset, is_framed });
    }
}

/// A key or value that went as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Topic.
    pub topic: String,
    /// `key` or `value`.
    pub part: &'static str,
    /// Partition of the event.
    pub partition: i32,
    /// Offset of the event.
    pub offset: i64,
    /// Whether it begins as what a schema of a registry frames does.
    pub is_framed: bool,
}

/// Numbers of the targets that touch a topic, in order.
#[derive(Debug, Default)]
struct Chosen {
    value: Vec<usize>,
    key: Option<usize>,
    key_fields: Vec<usize>,
    headers: Vec<usize>,
}

impl Chosen {
    fn new(policy: &Policy, topic: &str) -> Self {
        let mut chosen = Self::default();
        for (number, target) in policy.targets.iter().enumerate().filter(|(_, target)| means(&target.topics, topic)) {
            match target.part {
                Part::Value(_) => chosen.value.push(number),
                Part::Key => chosen.key = chosen.key.or(Some(number)),
                Part::KeyField(_) => chosen.key_fields.push(number),
                Part::Header(_) => chosen.headers.push(number),
            }
        }
        chosen
    }
}

/// What touches the topics that were met.
#[derive(Debug, Default)]
struct Topics {
    /// Numbers of `chosen` by topic.
    known: BTreeMap<String, usize>,
    chosen: Vec<Chosen>,
    /// The topic of the last event: most have that of the one ahead of them.
    last: Option<(String, usize)>,
}

impl Topics {
    fn chosen(&mut self, policy: &Policy, topic: &str) -> &Chosen {
        let last = self.last.as_ref().filter(|(last, _)| last == topic).map(|(_, number)| *number);
        let number = last.unwrap_or_else(|| {
            let number = self.number(policy, topic);
            self.last = Some((topic.to_owned(), number));
            number
        });
        &self.chosen[number]
    }

    fn number(&mut self, policy: &Policy, topic: &str) -> usize {
        if let Some(number) = self.known.get(topic) {
            return *number;
        }
        if self.chosen.len() >= TOPICS_MAX {
            self.known.clear();
            self.chosen.clear();
        }
        self.chosen.push(Chosen::new(policy, topic));
        self.known.insert(topic.to_owned(), self.chosen.len() - 1);
        self.chosen.len() - 1
    }
}

impl Masker {
    /// Makes a masker that applies `policy`; without one only credentials are redacted.
    pub fn new(policy: Option<Arc<Policy>>, detection: Detection) -> Self {
        let by_key = |policy: &Arc<Policy>| policy.targets.iter().any(|target| matches!(target.by, By::Key));
        let by_key = policy.as_ref().is_some_and(by_key);
        let targets = vec![0; policy.as_ref().map_or(0, |policy| policy.targets.len())];
        Self {
            policy,
            by_key,
            detection,
            topics: Topics::default(),
            keys: Editor::default(),
            values: Editor::default(),
            schemas: Schemas::default(),
            sightings: Sightings::default(),
            counts: Counts { targets, ..Counts::default() },
        }
    }

    /// Looks into keys and values that `schemas` describe.
    pub fn know(&mut self, schemas: Schemas) {
        self.schemas = schemas;
    }

    /// Looks into keys and values that one more schema describes.
    pub fn learn(&mut self, schema: SchemaText) {
        self.schemas.add(schema);
    }

    /// Masks one event.
    ///
    /// # Errors
    ///
    /// [`MaskError::NoJson`] where the policy refuses what it cannot read, [`MaskError::Unfit`] where the schema of a key or value
    /// has no room for what a rule makes of it, [`MaskError::Personal`] where something looks
    /// personal and [`Detection::Refuse`] was asked for. Nothing of such an event may be kept.
    pub fn mask<'m>(
        &'m mut self,
        parts: Parts<'m>,
        headers: impl IntoIterator<Item = (&'m str, Option<&'m [u8]>)>,
    ) -> Result<Masked<'m>, MaskError> {
        let headers: Vec<_> = headers.into_iter().collect();
        self.mask_parts(parts, |masked| Headers::Masked(masked.all(headers.iter().copied())))
    }

    /// Masks one event as [`Masker::mask`] does; none where it may be kept as it is.
    ///
    /// # Errors
    ///
    /// As [`Masker::mask`].
    pub fn mask_event<'m>(&'m mut self, event: EventView<'m>) -> Result<Option<Masked<'m>>, MaskError> {
        let EventView { topic, partition, offset, key, value, headers, .. } = event;
        let masked = self.mask_parts(Parts { topic, partition, offset, key, value }, |masked| {
            if headers.iter().all(|(name, _)| masked.leaves(name)) {
                Headers::Same(headers)
            } else {
                Headers::Masked(masked.all(headers.iter()))
            }
        })?;
        Ok((!masked.is_same(event)).then_some(masked))
    }

    fn mask_parts<'m>(
        &'m mut self,
        parts: Parts<'m>,
        headers: impl FnOnce(HeaderMask<'_>) -> Headers<'m>,
    ) -> Result<Masked<'m>, MaskError> {
        let Self { policy, by_key, detection, topics, keys, values, schemas, sightings, counts } = self;
        let policy = policy.as_deref();
        let chosen = policy.map(|policy| topics.chosen(policy, parts.topic));
        let entity = parts.key.filter(|_| *by_key).map(|bytes| content(schemas, bytes));
        let entity = entity.as_deref();
        let headers = headers(HeaderMask { policy: policy.zip(chosen), key: entity, counts });
        let (mut key, mut value) = (parts.key.map(Cow::Borrowed), parts.value.map(Cow::Borrowed));
        if let Some((policy, chosen)) = policy.zip(chosen) {
            if let Some(bytes) = parts.key {
                key = masked_key((policy, schemas), chosen, keys, parts, (bytes, entity), counts)?;
            }
            if let Some(bytes) = parts.value
                && !chosen.value.is_empty()
            {
                let edited = fields((policy, schemas), &chosen.value, values, bytes, entity, counts);
                value = Some(finished(policy, parts, bytes, values, edited, ("value", counts, 1))?);
            }
        }
        let masked = Masked { key, value, headers };
        if *detection != Detection::Off {
            let keeps = policy.map_or(&[][..], |policy| &policy.keeps);
            let personal = look((sightings, schemas), parts, &masked, keeps);
            if let Some((path, kind)) = personal.filter(|_| *detection == Detection::Refuse) {
                let Parts { topic, partition, offset, .. } = parts;
                return Err(MaskError::Personal { topic: topic.to_owned(), partition, offset, path, kind });
            }
        }
        Ok(masked)
    }

    /// What was masked, for the manifest: every rule with how often it changed something, credentials where there were any.
    pub fn masks(&self) -> Vec<Mask> {
        let mut masks = Vec::new();
        if let Some(policy) = &self.policy {
            for (target, count) in policy.targets.iter().zip(&self.counts.targets) {
                let keyed =
                    matches!(target.method, super::method::Method::Token { .. } | super::method::Method::Shift { .. });
                masks.push(Mask {
                    topic: (!target.named_topics.is_empty()).then(|| target.named_topics.join(", ")),
                    what: target.part.name(),
                    method: target.name.text().to_owned(),
                    count: Some(*count),
                    key: policy.fingerprint().filter(|_| keyed),
                });
            }
        }
        let redacted = |what: String, count: u64| Mask {
            topic: None,
            what,
            method: "redact".to_owned(),
            count: Some(count),
            key: None,
        };
        let credentials =
            HEADERS.iter().zip(self.counts.credentials).map(|(name, count)| (format!("header {name}"), count));
        let no_json =
            ["key that is no JSON", "value that is no JSON"].into_iter().map(str::to_owned).zip(self.counts.no_json);
        masks.extend(
            credentials.chain(no_json).filter(|(_, count)| *count > 0).map(|(what, count)| redacted(what, count)),
        );
        masks
    }

    /// Says of every part that a rule names, and that nothing was changed in, so: as sentences.
    pub fn idle(&self) -> Vec<String> {
        let targets = self.policy.as_ref().map_or(&[][..], |policy| &policy.targets);
        let idle = targets.iter().zip(&self.counts.targets).filter(|(_, count)| **count == 0);
        let sentence = |(target, _): (&Target, &u64)| {
            let topics = match &target.named_topics[..] {
                [] => String::new(),
                topics => format!(" in {}", topics.join(", ")),
            };
            format!(
                "Rule {} of the policy (`{}`{topics}) changed nothing: no event has it, or a rule ahead of it took it.",
                target.rule,
                target.part.name()
            )
        };
        idle.map(sentence).collect()
    }

    /// Says how many keys and values went as a whole since nobody could read in them the fields that rules name: as sentences.
    pub fn unread(&self) -> Vec<String> {
        let counts = self.counts.no_json.into_iter().zip(self.counts.framed);
        let parts = ["key", "value"].into_iter().zip(counts).filter(|(_, (count, _))| *count > 0);
        let sentence = |(part, (count, framed)): (&str, (u64, u64))| {
            let (many, number) = (if count == 1 { "" } else { "s" }, grouped(count));
            let mut text = format!(
                "Redacted as a whole: {number} {part}{many} in which nobody could read the fields that rules name (no JSON, or of a \
                 schema that is not at hand or does not fit)."
            );
            if framed > 0 && self.schemas.is_empty() {
                let _ = write!(
                    text,
                    " {} of them begin as what a schema frames does: with `capture --registry URL` their schemas are kept, and the \
                     fields can be read.",
                    grouped(framed)
                );
            }
            text
        };
        parts.map(sentence).collect()
    }

    /// Says of every table and changelog of `source` whose keys a rule takes away that it can no longer be told what it held: as
    /// sentences.
    pub fn keyless(&self, source: &Source) -> Vec<String> {
        let Some(policy) = &self.policy else { return Vec::new() };
        let takes = |target: &&Target, topic: &str| {
            matches!(target.part, Part::Key)
                && matches!(target.name, MethodName::Drop | MethodName::Redact)
                && means(&target.topics, topic)
        };
        let tables = source.topics.iter().filter(|topic| matches!(topic.role, Role::Table | Role::Changelog));
        let sentence = |topic: &TopicSource| {
            let target = policy.targets.iter().find(|target| takes(target, &topic.name))?;
            Some(format!(
                "Rule {} of the policy takes the keys of `{}`, which are what tells its rows apart: of all its rows one is left to \
                 whoever reads it as a table. A `token` keeps them apart.",
                target.rule, topic.name
            ))
        };
        tables.filter_map(sentence).collect()
    }

    /// What will be masked, for the manifest of a recording that has no events yet: the rules, uncounted.
    pub fn rules(&self) -> Vec<Mask> {
        let rules = self.policy.as_ref().map_or(0, |policy| policy.targets.len());
        self.masks().into_iter().take(rules).map(|mask| Mask { count: None, ..mask }).collect()
    }

    /// The policy that is applied, for the manifest.
    pub fn masking(&self) -> Option<Masking> {
        self.policy.as_deref().map(Policy::masking)
    }

    /// Goes on counting what looks personal behind what a manifest tells of.
    pub fn saw(&mut self, known: &[PersonalFacts]) {
        self.sightings.know(known.iter().filter_map(Sighting::of));
    }

    /// How often something looked personal in what this masker looked at: what [`Masker::saw`] told is not counted.
    pub fn times_seen(&self) -> u64 {
        self.sightings.times()
    }

    /// The first key and the first value of each topic that went as a whole since nobody could read in it the fields that rules
    /// name, in the order in which they came.
    pub fn unread_first(&self) -> &[Unread] {
        &self.counts.unread_first
    }

    /// What looked personal in what was left, by topic and path.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.sightings.list()
    }
}

/// What is done about the headers of one event.
struct HeaderMask<'c> {
    policy: Option<(&'c Policy, &'c Chosen)>,
    key: Option<&'c [u8]>,
    counts: &'c mut Counts,
}

impl HeaderMask<'_> {
    /// Whether a header of this name stays as it is.
    fn leaves(&self, name: &str) -> bool {
        credentials::index(name).is_none() && self.rule(name, None).is_none()
    }

    /// The rule for a header of this name, which may be that of a credential.
    fn rule(&self, name: &str, credential: Option<usize>) -> Option<(usize, &Target)> {
        let (policy, chosen) = self.policy?;
        // A shift or a bucket would keep what is no date and no number, or most of a number.
        let hides = |method| matches!(method, MethodName::Token | MethodName::Drop | MethodName::Redact);
        let names = |&number: &usize| {
            let target = &policy.targets[number];
            matches!(&target.part, Part::Header(other) if other.eq_ignore_ascii_case(name))
                && (credential.is_none() || hides(target.name))
        };
        chosen.headers.iter().copied().find(names).map(|number| (number, &policy.targets[number]))
    }

    /// Headers as they may be kept.
    fn all<'m>(
        self,
        headers: impl Iterator<Item = (&'m str, Option<&'m [u8]>)>,
    ) -> Vec<(&'m str, Option<Cow<'m, [u8]>>)> {
        let mut masked = Vec::with_capacity(headers.size_hint().0);
        for (name, value) in headers {
            let credential = credentials::index(name);
            match (self.rule(name, credential), credential, value) {
                (Some((number, target)), ..) if target.name == MethodName::Drop => self.counts.targets[number] += 1,
                (Some((number, target)), _, Some(value)) => {
                    masked.push((name, header(&target.method, &target.by, value, self.key).map(Cow::Owned)));
                    self.counts.targets[number] += 1;
                }
                (None, Some(index), Some(value)) if value != REDACTED.as_bytes() => {
                    self.counts.credentials[index] += 1;
                    masked.push((name, Some(Cow::Borrowed(REDACTED.as_bytes()))));
                }
                (_, _, value) => masked.push((name, value.map(Cow::Borrowed))),
            }
        }
        masked
    }
}

fn masked_key<'m>(
    (policy, schemas): (&Policy, &Schemas),
    chosen: &Chosen,
    editor: &'m mut Editor,
    parts: Parts<'m>,
    (bytes, entity): (&'m [u8], Option<&[u8]>),
    counts: &mut Counts,
) -> Result<Option<Cow<'m, [u8]>>, MaskError> {
    // The whole key masked leaves no field of it.
    if let Some(number) = chosen.key {
        let target = &policy.targets[number];
        counts.targets[number] += 1;
        return Ok(editor.whole(target, (schemas, bytes), entity).map(Cow::Owned));
    }
    if chosen.key_fields.is_empty() {
        return Ok(Some(Cow::Borrowed(bytes)));
    }
    let edited = fields((policy, schemas), &chosen.key_fields, editor, bytes, entity, counts);
    finished(policy, parts, bytes, editor, edited, ("key", counts, 0)).map(Some)
}

fn fields(
    (policy, schemas): (&Policy, &Schemas),
    numbers: &[usize],
    editor: &mut Editor,
    bytes: &[u8],
    key: Option<&[u8]>,
    counts: &mut Counts,
) -> Edited {
    let paths = numbers.iter().filter_map(|&number| match &policy.targets[number].part {
        Part::Value(path) | Part::KeyField(path) => Some((number, path)),
        Part::Key | Part::Header(_) => None,
    });
    let edited = match schemas.kind(bytes) {
        Some(SchemaKind::Avro | SchemaKind::Protobuf) => {
            editor.edit_described(policy, paths, (schemas, bytes), key, &mut counts.targets)
        }
        // What a JSON Schema describes is a text that is edited where it stands.
        Some(SchemaKind::Json) | None => match Packed::recognise(bytes) {
            Some(packed) => editor.edit_packed(policy, paths, (&packed, bytes), key, &mut counts.targets),
            None => editor.edit(policy, paths, bytes, key, &mut counts.targets),
        },
    };
    // A rule that names all of it means what has no fields, too.
    let root = numbers.iter().copied().find(|&number| policy.targets[number].part.is_whole());
    match (edited, root) {
        (Edited::NoJson, Some(number)) if !bytes.is_empty() => {
            editor.replace_all(&policy.targets[number], (schemas, bytes), key);
            counts.targets[number] += 1;
            Edited::Changed
        }
        (edited, _) => edited,
    }
}

/// Writes a number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&parts.join(&b',')).into_owned()
}

/// What is kept of a key or value of which fields were to be masked.
fn finished<'m>(
    policy: &Policy,
    parts: Parts<'_>,
    bytes: &'m [u8],
    editor: &'m Editor,
    edited: Edited,
    (part, counts, at): (&'static str, &mut Counts, usize),
) -> Result<Cow<'m, [u8]>, MaskError> {
    match edited {
        Edited::Same => Ok(Cow::Borrowed(bytes)),
        Edited::Changed => Ok(Cow::Borrowed(editor.text())),
        // No bytes say nothing.
        Edited::NoJson if bytes.is_empty() => Ok(Cow::Borrowed(bytes)),
        Edited::Unfit { target, wanted } => {
            let Parts { topic, partition, offset, .. } = parts;
            let path = match &policy.targets[target].part {
                Part::Value(path) | Part::KeyField(path) => path.text().to_owned(),
                Part::Key | Part::Header(_) => part.to_owned(),
            };
            Err(MaskError::Unfit { topic: topic.to_owned(), partition, offset, part, path, wanted })
        }
        // Bytes that refer to a schema have fields, of which the policy names some: to keep them would be to pass those on.
        Edited::NoJson => match policy.otherwise {
            Otherwise::Keep if frame(bytes).is_none() => Ok(Cow::Borrowed(bytes)),
            Otherwise::Redact | Otherwise::Keep => {
                counts.unread(at, parts, part, bytes);
                Ok(Cow::Borrowed(REDACTED.as_bytes()))
            }
            Otherwise::Refuse => {
                let Parts { topic, partition, offset, .. } = parts;
                Err(MaskError::NoJson { topic: topic.to_owned(), partition, offset, part })
            }
        },
    }
}

fn look(
    (sightings, schemas): (&mut Sightings, &Schemas),
    parts: Parts<'_>,
    masked: &Masked<'_>,
    keeps: &[super::settings::Keep],
) -> Option<(String, super::Detected)> {
    let at = (parts.topic, parts.partition, parts.offset);
    let key = masked.key.as_deref().map(|bytes| (Looked::Key, bytes));
    let value = masked.value.as_deref().map(|bytes| (Looked::Value, bytes));
    let headers = masked.headers().filter_map(|(name, value)| value.map(|bytes| (Looked::Header(name), bytes)));
    let mut first = None;
    for (part, bytes) in key.into_iter().chain(value).chain(headers) {
        let seen = sightings.look(at, part, &said(schemas, part, bytes), keeps);
        first = first.or(seen);
    }
    first
}

/// The JSON that a part says where a schema describes it, or where it is MessagePack; else its bytes.
fn said<'b>(schemas: &Schemas, part: Looked<'_>, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    let text = match part {
        Looked::Header(_) => None,
        Looked::Key | Looked::Value => match schemas.kind(bytes) {
            Some(SchemaKind::Avro | SchemaKind::Protobuf) => schemas.decode(bytes).ok(),
            Some(SchemaKind::Json) | None => seen_in_message_pack(bytes),
        },
    };
    text.map_or(Cow::Borrowed(bytes), Cow::Owned)
}
