//! Edited JSON to messages, keeping the bytes of what was not edited, unknown fields among them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::decode::{self, Sorted, UNKNOWN};
use super::fresh;
use super::known::has_own_form;
use super::wire::{Content, Raw, fields, put_bytes};
use crate::schema::known::parse;
use crate::schema::out::{Out, member};
use crate::schema::{DecodeError, EncodeError};

/// Writes `edited` over the message in `bytes`.
pub(super) fn message(
    message: &MessageDescriptor,
    bytes: &[u8],
    edited: &Value,
    path: &str,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let original = said(message, bytes)?;
    if original == *edited {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    match (&original, edited) {
        (Value::Object(original), Value::Object(members)) if !has_own_form(message) => {
            let raws = fields(bytes)?;
            let sorted = Sorted::of(message, &raws);
            Patch { message, sorted, raws: &raws, original, edited: members, path }.write(out)
        }
        _ => fresh::message(message, edited, path, 0, out),
    }
}

fn said(message: &MessageDescriptor, bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut text = Out::for_value(bytes.len());
    decode::message(message, bytes, &mut text)?;
    parse(&text.into_text())
}

struct Patch<'a> {
    message: &'a MessageDescriptor,
    sorted: Sorted<'a>,
    raws: &'a [Raw<'a>],
    original: &'a Map<String, Value>,
    edited: &'a Map<String, Value>,
    path: &'a str,
}

impl Patch<'_> {
    /// Writes what stays as it stands, what changed in its last place, and what is new at the end.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let fields: Vec<FieldDescriptor> = self.message.fields().collect();
        if let Some(other) =
            self.edited.keys().find(|name| *name != UNKNOWN && fields.iter().all(|field| field.json_name() != **name))
        {
            return Err(EncodeError::UnknownMember { path: member(self.path, other) });
        }
        let changed: BTreeSet<u32> =
            fields.iter().filter(|field| self.changed(field)).map(FieldDescriptor::number).collect();
        let dropped = self.overruled_by(&changed);
        let unknown = self.unknown_kept()?;
        let mut left: BTreeMap<u32, usize> =
            self.sorted.known.iter().map(|(number, raws)| (*number, raws.len())).collect();
        let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
        for raw in self.raws {
            let field = self.message.get_field(raw.number).filter(|field| decode::carries(field, &raw.content));
            let Some(field) = field else {
                if unknown.contains(&raw.number) {
                    out.extend_from_slice(raw.span);
                }
                continue;
            };
            let remaining = left.entry(raw.number).or_default();
            *remaining -= 1;
            let index = seen.entry(raw.number).or_default();
            if changed.contains(&raw.number) {
                self.changed_field(&field, raw, *index, *remaining == 0, out)?;
            } else if !dropped.contains(&raw.number) {
                out.extend_from_slice(raw.span);
            }
            *index += 1;
        }
        for field in fields {
            if changed.contains(&field.number()) && !self.sorted.known.contains_key(&field.number()) {
                self.fresh(&field, out)?;
            }
        }
        Ok(())
    }

    fn changed(&self, field: &FieldDescriptor) -> bool {
        self.original.get(field.json_name()) != self.edited.get(field.json_name())
    }

    /// Members of oneofs that would come back to life once the member that overruled them is gone.
    fn overruled_by(&self, changed: &BTreeSet<u32>) -> BTreeSet<u32> {
        let oneofs =
            self.message.oneofs().filter(|oneof| oneof.fields().any(|field| changed.contains(&field.number())));
        oneofs.flat_map(|oneof| oneof.fields().map(|field| field.number()).collect::<Vec<_>>()).collect()
    }

    /// Numbers of the unknown fields that stay: all, or those that the edit left.
    fn unknown_kept(&self) -> Result<BTreeSet<u32>, EncodeError> {
        let path = || member(self.path, UNKNOWN);
        let edited = match self.edited.get(UNKNOWN) {
            None => return Ok(BTreeSet::new()),
            Some(Value::Object(edited)) => edited,
            Some(_) => return Err(EncodeError::unfit(&path(), "unknown fields as they were, or none")),
        };
        let mut kept = BTreeSet::new();
        for (number, spans) in edited {
            let raws =
                number.parse().ok().and_then(|number: u32| self.sorted.unknown.get(&number).map(|raws| (number, raws)));
            let same = raws.filter(|(_, raws)| {
                let found = raws.iter().map(|raw| Value::from(BASE64_STANDARD.encode(raw.span)));
                *spans == Value::from(found.collect::<Vec<_>>())
            });
            match same {
                Some((number, _)) => kept.insert(number),
                None => {
                    return Err(EncodeError::unfit(&member(&path(), number), "unknown fields as they were, or none"));
                }
            };
        }
        Ok(kept)
    }

    /// Writes one of the places of a field that changed: part by part where it can be, else all of it in the last place.
    fn changed_field(
        &self,
        field: &FieldDescriptor,
        raw: &Raw<'_>,
        index: usize,
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let path = member(self.path, field.json_name());
        let count = self.sorted.known.get(&field.number()).map_or(0, Vec::len);
        let overruled = self.sorted.overruled.contains(&field.number());
        match (field.kind(), self.edited.get(field.json_name()), raw.content) {
            (Kind::Message(kind), Some(Value::Object(edited)), Content::Bytes(bytes)) if field.is_map() => {
                return self.entry(field, &kind, edited, bytes, raw, &path, last, out);
            }
            (Kind::Message(kind), Some(Value::Array(edited)), Content::Bytes(bytes))
                if field.is_list() && edited.len() == count =>
            {
                let mut payload = Vec::new();
                message(&kind, bytes, &edited[index], &format!("{path}[{index}]"), &mut payload)?;
                put_bytes(field.number(), &payload, out);
                return Ok(());
            }
            (Kind::Message(kind), Some(edited @ Value::Object(_)), Content::Bytes(bytes))
                if !field.is_list() && count == 1 && !overruled =>
            {
                let mut payload = Vec::new();
                message(&kind, bytes, edited, &path, &mut payload)?;
                put_bytes(field.number(), &payload, out);
                return Ok(());
            }
            _ => {}
        }
        match self.edited.get(field.json_name()) {
            _ if !last => Ok(()),
            Some(Value::Array(edited)) if field.is_list() && !overruled => self.list(field, edited, &path, out),
            _ => self.fresh(field, out),
        }
    }

    /// Writes a list of another length: what is the same as before as it stood, the rest anew.
    fn list(
        &self,
        field: &FieldDescriptor,
        edited: &[Value],
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let raws = self.sorted.of_field(field.number());
        let original = self.original.get(field.json_name()).and_then(Value::as_array);
        let Some(original) = original.filter(|original| original.len() == raws.len() && !field.is_packed()) else {
            return self.fresh(field, out);
        };
        let mut next = 0;
        for (index, item) in edited.iter().enumerate() {
            if let Some(ahead) = original[next..].iter().position(|original| original == item) {
                out.extend_from_slice(raws[next + ahead].span);
                next += ahead + 1;
            } else {
                let one = Value::Array(vec![item.clone()]);
                fresh::field(field, &one, &format!("{path}[{index}]"), 0, out)?;
            }
        }
        Ok(())
    }

    /// Writes an entry of a map that changed, and behind the last one those that are new.
    #[expect(
        clippy::too_many_arguments,
        reason = "an entry stands in its field, its map and the place that is written"
    )]
    fn entry(
        &self,
        field: &FieldDescriptor,
        kind: &MessageDescriptor,
        edited: &Map<String, Value>,
        bytes: &[u8],
        raw: &Raw<'_>,
        path: &str,
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let key = decode::key(kind, bytes)?;
        let original = self.original.get(field.json_name()).and_then(|map| map.get(&key));
        match edited.get(&key) {
            Some(value) if Some(value) == original => out.extend_from_slice(raw.span),
            Some(value) => {
                let mut entry = said(kind, bytes)?;
                if let Some(members) = entry.as_object_mut() {
                    members.insert("value".to_owned(), value.clone());
                }
                let mut payload = Vec::new();
                message(kind, bytes, &entry, &member(path, &key), &mut payload)?;
                put_bytes(field.number(), &payload, out);
            }
            None => {}
        }
        if last {
            let is_new = |key: &String| self.original.get(field.json_name()).is_none_or(|map| map.get(key).is_none());
            for (key, value) in edited.iter().filter(|(key, _)| is_new(key)) {
                fresh::entry(field, kind, key, value, path, 0, out)?;
            }
        }
        Ok(())
    }

    fn fresh(&self, field: &FieldDescriptor, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.edited.get(field.json_name()) {
            Some(value) => fresh::field(field, value, &member(self.path, field.json_name()), 0, out),
            None if field.is_required() => Err(EncodeError::Required { path: member(self.path, field.json_name()) }),
            None => Ok(()),
        }
    }
}
