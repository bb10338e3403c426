//! The schemas that are known, by id: values to JSON and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::avro::Avro;
use super::frame::frame;
use super::protobuf::Protobuf;
use super::{DecodeError, EncodeError, SchemaError, SchemaKind, SchemaText, json};

/// The schemas of one registry, by id. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Schemas {
    by_id: Arc<BTreeMap<i32, Arc<Known>>>,
}

#[derive(Debug)]
struct Known {
    text: SchemaText,
    codec: Result<Codec, SchemaError>,
}

#[derive(Debug)]
enum Codec {
    Avro(Avro),
    Protobuf(Protobuf),
    Json,
}

impl Known {
    fn new(text: SchemaText) -> Arc<Self> {
        Arc::new(Self { codec: Codec::of(&text), text })
    }
}

impl Codec {
    fn of(text: &SchemaText) -> Result<Self, SchemaError> {
        let unreadable = |reason| SchemaError::Unreadable { id: text.id, kind: text.kind.name(), reason };
        match text.kind {
            SchemaKind::Avro => {
                let references = text.references.iter().map(|reference| reference.schema.as_str());
                Avro::read(&text.schema, references).map(Self::Avro).map_err(unreadable)
            }
            SchemaKind::Protobuf => {
                let references =
                    text.references.iter().map(|reference| (reference.name.as_str(), reference.schema.as_str()));
                Protobuf::read(&text.schema, references).map(Self::Protobuf).map_err(unreadable)
            }
            SchemaKind::Json => match serde_json::from_str::<Value>(&text.schema) {
                Ok(Value::Object(_) | Value::Bool(_)) => Ok(Self::Json),
                Ok(_) => Err(unreadable("it is neither an object nor true nor false".to_owned())),
                Err(error) => Err(unreadable(error.to_string())),
            },
        }
    }
}

impl Schemas {
    /// Reads the texts of schemas. One that cannot be used is kept all the same, and what it describes stays bytes;
    /// [`Schemas::problems`] names it.
    pub fn new(texts: impl IntoIterator<Item = SchemaText>) -> Self {
        let known = |text: SchemaText| (text.id, Known::new(text));
        Self { by_id: Arc::new(texts.into_iter().map(known).collect()) }
    }

    /// Adds one more schema; what was cloned before does not know it.
    pub fn add(&mut self, text: SchemaText) {
        Arc::make_mut(&mut self.by_id).insert(text.id, Known::new(text));
    }

    /// The same schemas and these. An id under which two of them say something else is nobody's: what it frames stays bytes.
    #[must_use]
    pub fn and<'t>(&self, texts: impl IntoIterator<Item = &'t SchemaText>) -> Self {
        let (mut all, mut doubtful) = (self.clone(), BTreeSet::new());
        for text in texts {
            match all.by_id.get(&text.id) {
                Some(known) if known.text.says_as(text) => {}
                Some(_) => _ = doubtful.insert(text.id),
                None => all.add(text.clone()),
            }
        }
        if !doubtful.is_empty() {
            Arc::make_mut(&mut all.by_id).retain(|id, _| !doubtful.contains(id));
        }
        all
    }

    /// Returns what kind of schema describes a framed value or key; none where it is not framed, or its schema is not known or
    /// cannot be used.
    pub fn kind(&self, bytes: &[u8]) -> Option<SchemaKind> {
        let known = self.by_id.get(&frame(bytes)?.id)?;
        known.codec.is_ok().then_some(known.text.kind)
    }

    /// Returns the schema that values are described by which nothing frames: `name` is its id, or a subject, whose newest version it
    /// then is; `message` is which of a Protobuf schema's messages they are, by default its first. None where it is not known,
    /// cannot be used, is no Avro or Protobuf, or has no such message.
    pub fn described(&self, name: &str, message: Option<&str>) -> Option<Described> {
        let version = |known: &Known| {
            let versions = known.text.subjects.iter().filter(|one| one.subject == name);
            versions.map(|one| one.version).max()
        };
        let of_subject = self.by_id.values().filter_map(|known| Some((version(known)?, known)));
        let newest = of_subject.max_by_key(|(version, _)| *version).map(|(_, known)| known);
        let known = newest.or_else(|| self.by_id.get(&name.parse().ok()?))?;
        match (&known.codec, message) {
            (Ok(Codec::Avro(_)), None) => {}
            (Ok(Codec::Protobuf(protobuf)), message) => _ = protobuf.named(message)?,
            _ => return None,
        }
        Some(Described { known: Arc::clone(known), message: message.map(str::to_owned) })
    }

    /// Subjects of the schemas that are known, in order and each once.
    pub fn subjects(&self) -> BTreeSet<&str> {
        self.texts().flat_map(|text| &text.subjects).map(|one| one.subject.as_str()).collect()
    }

    /// Whether no schema is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether the schema `id` is known, usable or not.
    pub fn knows(&self, id: i32) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Returns the texts, in order of id.
    pub fn texts(&self) -> impl Iterator<Item = &SchemaText> {
        self.by_id.values().map(|known| &known.text)
    }

    /// Returns what is wrong with schemas that cannot be used, in order of id.
    pub fn problems(&self) -> impl Iterator<Item = &SchemaError> {
        self.by_id.values().filter_map(|known| known.codec.as_ref().err())
    }

    /// Returns what is wrong with the schema `id`; none where it can be used or is not known.
    pub fn problem(&self, id: i32) -> Option<&SchemaError> {
        self.by_id.get(&id).and_then(|known| known.codec.as_ref().err())
    }

    /// Decodes a framed value or key to the JSON that it says, as text, members in the schema's order.
    ///
    /// Avro: a union is the value of its branch, bytes are text of the code points 0 to 255, a decimal is a number with all its
    /// digits, dates, times and UUIDs are text. Protobuf: the JSON mapping of proto3 with the fields that have no presence
    /// always there, and unknown fields below `@unknown` by number in base64. JSON Schema: the text as it stands.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the value then stays what it is, bytes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let (codec, rest) = self.codec(bytes)?;
        match codec {
            Codec::Avro(avro) => avro.decode(rest),
            Codec::Protobuf(protobuf) => protobuf.decode(rest),
            Codec::Json => json::decode(rest).map(<[u8]>::to_vec),
        }
    }

    /// Decodes like [`Schemas::decode`], to a tree. Numbers beyond 64 bits lose digits in it, which matters to none that are not
    /// edited.
    ///
    /// # Errors
    ///
    /// As [`Schemas::decode`].
    pub fn decode_value(&self, bytes: &[u8]) -> Result<Value, DecodeError> {
        parse(&self.decode(bytes)?)
    }

    /// Encodes `edited`, which [`Schemas::decode_value`] gave for `bytes` and somebody changed. What was not changed keeps its
    /// bytes: without any change the result is `bytes`, and unknown fields and unusual spellings of the rest stay as they are.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] where the schema has no room for the edit, with the path.
    pub fn encode(&self, bytes: &[u8], edited: &Value) -> Result<Vec<u8>, EncodeError> {
        let (codec, rest) = self.codec(bytes)?;
        let encoded = match codec {
            Codec::Avro(avro) => avro.encode(rest, edited)?,
            Codec::Protobuf(protobuf) => protobuf.encode(rest, edited)?,
            Codec::Json => json::encode(rest, edited)?,
        };
        let mut framed = bytes[..bytes.len() - rest.len()].to_vec();
        framed.extend_from_slice(&encoded);
        Ok(framed)
    }

    /// Splits what frames a value (the id, and for Protobuf which message it is) from the value; the frame is empty where the
    /// value is not framed or its schema is not known.
    pub fn unframed<'v>(&self, bytes: &'v [u8]) -> (&'v [u8], &'v [u8]) {
        let Ok((codec, rest)) = self.codec(bytes) else { return bytes.split_at(0) };
        let payload = match codec {
            Codec::Protobuf(_) => super::frame::message_indices(rest).map_or(rest, |(_, payload)| payload),
            _ => rest,
        };
        bytes.split_at(bytes.len() - payload.len())
    }

    fn codec<'v>(&self, bytes: &'v [u8]) -> Result<(&Codec, &'v [u8]), DecodeError> {
        let framed = frame(bytes).ok_or(DecodeError::Unframed)?;
        let known = self.by_id.get(&framed.id).ok_or(DecodeError::UnknownSchema { id: framed.id })?;
        match &known.codec {
            Ok(codec) => Ok((codec, framed.rest)),
            Err(_) => Err(DecodeError::UnusableSchema { id: framed.id }),
        }
    }
}

/// A schema that describes values which nothing frames. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Described {
    known: Arc<Known>,
    message: Option<String>,
}

impl Described {
    /// What kind of schema it is.
    pub fn kind(&self) -> SchemaKind {
        self.known.text.kind
    }

    /// Decodes a value as [`Schemas::decode`] does one that is framed.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where the value is not what the schema says.
    pub fn decode(&self, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        match &self.known.codec {
            Ok(Codec::Avro(avro)) => avro.decode(payload),
            Ok(Codec::Protobuf(protobuf)) => protobuf.decode_as(self.message.as_deref(), payload),
            _ => Err(DecodeError::UnusableSchema { id: self.known.text.id }),
        }
    }
}

/// Reads JSON that a decoder wrote.
pub(super) fn parse(text: &[u8]) -> Result<Value, DecodeError> {
    serde_json::from_slice(text).map_err(|_| DecodeError::Malformed { what: "a number that no JSON reader takes" })
}
