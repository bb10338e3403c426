//! The schemas that events under way refer to: noted, fetched once, kept in the recording.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::registry::{Registry, RegistryError};
use super::writing::Writing;
use super::{CaptureError, CaptureSettings};
use crate::clock::Clock;
use crate::mask::Policy;
use crate::schema::{HEADERS, Part, frame};

/// Ids of one part of one topic that are looked into. Values with more are framed by chance: their first byte happens to be zero.
const IDS_MAX: usize = 1_000;

/// What came of asking for a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Kept,
    /// The registry has no such schema: what looks framed by it is not.
    Missing,
    Failed,
}

/// What was met of schemas so far.
pub(super) struct SchemasMet<'c> {
    registry: Option<Registry<'c>>,
    required: bool,
    /// Masks of fields, which nobody can apply to what a schema describes without the schema.
    mask: Option<Arc<Policy>>,
    /// By topic and part; none where there were too many.
    ids: BTreeMap<(usize, Part), Option<BTreeSet<i32>>>,
    /// What was asked for, and what came of it.
    asked: BTreeMap<i32, Asked>,
    /// Topic, part and id that came last: nearly all events have those of the one ahead.
    last: [(usize, i32); 2],
    by_header: BTreeSet<(usize, Part)>,
    unreachable: bool,
    warnings: Vec<String>,
}

impl<'c> SchemasMet<'c> {
    pub(super) fn new(settings: &CaptureSettings, clock: &'c dyn Clock) -> Result<Self, CaptureError> {
        let registry = settings.registry.clone().map(|registry| Registry::new(registry, clock)).transpose()?;
        if let Some(registry) = &registry {
            registry.check()?;
        }
        Ok(Self {
            registry,
            required: settings.require_schemas,
            mask: settings.mask.clone(),
            ids: BTreeMap::new(),
            asked: BTreeMap::new(),
            last: [(usize::MAX, 0); 2],
            by_header: BTreeSet::new(),
            unreachable: false,
            warnings: Vec::new(),
        })
    }

    /// Takes the schemas `ids` as fetched: the recording keeps them already.
    pub(super) fn know(&mut self, ids: impl Iterator<Item = i32>) {
        self.asked.extend(ids.map(|id| (id, Asked::Kept)));
    }

    /// Looks at the key or the value of an event of the topic numbered `topic`.
    #[inline]
    pub(super) fn meet(
        &mut self,
        topic: (usize, &str),
        part: Part,
        bytes: Option<&[u8]>,
        writer: &mut Writing,
    ) -> Result<(), CaptureError> {
        let Some(framed) = bytes.and_then(frame) else { return Ok(()) };
        let last = &mut self.last[part as usize];
        if *last == (topic.0, framed.id) {
            return Ok(());
        }
        *last = (topic.0, framed.id);
        self.note(topic, part, framed.id, writer)
    }

    fn note(
        &mut self,
        (topic, name): (usize, &str),
        part: Part,
        id: i32,
        writer: &mut Writing,
    ) -> Result<(), CaptureError> {
        let slot = self.ids.entry((topic, part)).or_insert_with(|| Some(BTreeSet::new()));
        let Some(ids) = slot else { return Ok(()) };
        if !ids.insert(id) {
            return Ok(());
        }
        if ids.len() > IDS_MAX {
            *slot = None;
            let part = part.name();
            self.warnings.push(format!(
                "More than {IDS_MAX} schemas would stand ahead of the {part}s of {name}: they only look framed. Those met later \
                 stay bytes."
            ));
            return Ok(());
        }
        if self.fetch(name, part, id, writer)? {
            writer.note_schema(name, part, id)?;
        }
        Ok(())
    }

    /// Fetches a schema that was not asked for before; returns whether the id is one, as far as can be known.
    fn fetch(&mut self, topic: &str, part: Part, id: i32, writer: &mut Writing) -> Result<bool, CaptureError> {
        let Some(registry) = &self.registry else { return Ok(true) };
        let required = self.required || self.mask.as_ref().is_some_and(|mask| mask.names_fields(topic, part));
        match self.asked.get(&id) {
            Some(Asked::Failed) if required => {}
            Some(asked) => return Ok(*asked != Asked::Missing),
            None if self.unreachable && !required => return Ok(true),
            None => {}
        }
        let asked = match registry.schema(id) {
            Ok(text) => {
                writer.keep_schema(text)?;
                Asked::Kept
            }
            // What is no schema takes no harm from a mask: it is masked as other bytes are.
            Err(error @ RegistryError::Missing { .. }) if !self.required => {
                self.warn(topic, part, id, &error);
                Asked::Missing
            }
            Err(error) if required => return Err(error.into()),
            Err(error) => {
                // Asked again and again, it would hold up the capture until brokers drop what is not yet read.
                self.unreachable |= matches!(error, RegistryError::Unreachable { .. });
                self.warn(topic, part, id, &error);
                Asked::Failed
            }
        };
        self.asked.insert(id, asked);
        Ok(asked != Asked::Missing)
    }

    fn warn(&mut self, topic: &str, part: Part, id: i32, error: &RegistryError) {
        let part = part.name();
        self.warnings.push(format!("What schema {id} frames in {part}s of {topic} stays bytes: {error}."));
    }

    /// Looks at the name of a header that may name a schema in a way that is not followed.
    #[inline]
    pub(super) fn meet_header(&mut self, (topic, topic_name): (usize, &str), name: &str) {
        if !name.starts_with("__") {
            return;
        }
        if let Some((_, part)) = HEADERS.iter().find(|(known, _)| *known == name)
            && self.by_header.insert((topic, *part))
        {
            let part = part.name();
            self.warnings.push(format!(
                "Events of {topic_name} name the schema of their {part} by a GUID in the header `{name}`, which is not followed: \
                 such {part}s stay bytes."
            ));
        }
    }

    pub(super) fn into_warnings(mut self) -> Vec<String> {
        if self.unreachable {
            self.warnings.push(
                "The registry was not asked again: schemas met later are not kept, and what they frame stays bytes."
                    .to_owned(),
            );
        }
        self.warnings
    }
}
