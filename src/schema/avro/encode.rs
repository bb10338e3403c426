//! Edited JSON to Avro's binary encoding, keeping the bytes of what was not edited.

use serde_json::{Map, Value};

use super::decode::Reader;
use super::logical::Logical;
use super::model::{Field, Named, Schema, Shape, Type};
use crate::schema::frame::put_zigzag;
use crate::schema::known::parse;
use crate::schema::out::{DEPTH_MAX, Out, double, member};
use crate::schema::{DecodeError, EncodeError};

/// Writes `edited` over `payload`, which the schema describes.
pub(super) fn encode(schema: &Schema, payload: &[u8], edited: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(payload.len());
    Patch { reader: Reader::new(schema, payload) }.value(&schema.root, edited, "$", &mut out)?;
    Ok(out)
}

struct Patch<'a> {
    reader: Reader<'a>,
}

impl Patch<'_> {
    /// Reads a value of the type `kind` and writes `edited`, from the bytes that are there as far as they say the same.
    fn value(&mut self, kind: &Type, edited: &Value, path: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let schema = self.reader.schema;
        match &kind.shape {
            Shape::Named(number) => {
                if let (Named::Record { fields, .. }, Value::Object(members)) = (&schema.named[*number], edited) {
                    return self.record(fields, members, path, out);
                }
            }
            Shape::Union(branches) => return self.union(branches, kind, edited, path, out),
            _ => {}
        }
        let start = self.reader.clone();
        let original = self.skip(kind)?;
        if original == *edited {
            out.extend_from_slice(&self.reader.bytes[start.at..self.reader.at]);
            return Ok(());
        }
        let end = self.reader.at;
        match (&kind.shape, edited) {
            (Shape::Array(items), Value::Array(elements)) => {
                self.reader = start;
                self.array(items, elements, path, out)?;
            }
            (Shape::Map(values), Value::Object(members)) => {
                self.reader = start;
                self.map(values, members, path, out)?;
            }
            _ => fresh(schema, kind, edited, path, 0, out)?,
        }
        self.reader.at = end;
        Ok(())
    }

    /// Passes over a value and returns what it says.
    fn skip(&mut self, kind: &Type) -> Result<Value, DecodeError> {
        let mut text = Out::for_value(self.reader.bytes.len());
        self.reader.value(kind, &mut text)?;
        parse(&text.into_text())
    }

    fn record(
        &mut self,
        fields: &[Field],
        members: &Map<String, Value>,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        no_others(fields, members, path)?;
        for field in fields {
            let path = member(path, &field.name);
            if let Some(edited) = members.get(&field.name) {
                self.value(&field.kind, edited, &path, out)?;
            } else {
                self.skip(&field.kind)?;
                left_out(self.reader.schema, field, &path, 0, out)?;
            }
        }
        Ok(())
    }

    fn union(
        &mut self,
        branches: &[Type],
        kind: &Type,
        edited: &Value,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = self.reader.clone();
        let branch = self.reader.branch(branches)?;
        let mut kept = self.reader.bytes[start.at..self.reader.at].to_vec();
        // The branch that is there comes first: what two branches could say is not made the other's.
        match self.value(branch, edited, path, &mut kept) {
            Ok(()) => {
                out.extend_from_slice(&kept);
                Ok(())
            }
            Err(failed) => {
                self.reader = start;
                self.skip(kind)?;
                fresh(self.reader.schema, kind, edited, path, 0, out).map_err(|_| failed)
            }
        }
    }

    fn array(&mut self, items: &Type, edited: &[Value], path: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut originals = Vec::new();
        let mut reader = self.reader.clone();
        reader.blocks(|reader| -> Result<(), EncodeError> {
            let start = reader.clone();
            let mut item = Patch { reader: reader.clone() };
            originals.push((item.skip(items)?, start));
            *reader = item.reader;
            Ok(())
        })?;
        let (mut next, mut written) = (0, Vec::new());
        for (index, item) in edited.iter().enumerate() {
            let path = format!("{path}[{index}]");
            // Where items were taken out, what stands behind them is found again as it was.
            let same = originals[next..].iter().position(|(original, _)| original == item);
            let at = match same {
                Some(ahead) => Some(next + ahead),
                None => (edited.len() == originals.len()).then_some(index),
            };
            match at.and_then(|at| originals.get(at)) {
                Some((_, start)) => {
                    Patch { reader: start.clone() }.value(items, item, &path, &mut written)?;
                    next = at.map_or(next, |at| at + 1).max(next);
                }
                None => fresh(self.reader.schema, items, item, &path, 0, &mut written)?,
            }
        }
        one_block(edited.len(), &written, out);
        Ok(())
    }

    fn map(
        &mut self,
        values: &Type,
        edited: &Map<String, Value>,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let mut reader = self.reader.clone();
        let (mut seen, mut written) = (Vec::new(), Vec::new());
        reader.blocks(|reader| -> Result<(), EncodeError> {
            let key = reader.text()?;
            let mut item = Patch { reader: reader.clone() };
            match edited.get(key).filter(|_| !seen.contains(&key)) {
                Some(value) => {
                    put_text(key, &mut written);
                    item.value(values, value, &member(path, key), &mut written)?;
                    seen.push(key);
                }
                None => drop(item.skip(values)?),
            }
            *reader = item.reader;
            Ok(())
        })?;
        for (key, value) in edited.iter().filter(|(key, _)| !seen.contains(&key.as_str())) {
            put_text(key, &mut written);
            fresh(self.reader.schema, values, value, &member(path, key), 0, &mut written)?;
        }
        one_block(edited.len(), &written, out);
        Ok(())
    }
}

/// Writes items as a single block.
fn one_block(count: usize, items: &[u8], out: &mut Vec<u8>) {
    if count > 0 {
        put_zigzag(count as i64, out);
        out.extend_from_slice(items);
    }
    out.push(0);
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_zigzag(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

fn no_others(fields: &[Field], members: &Map<String, Value>, path: &str) -> Result<(), EncodeError> {
    match members.keys().find(|name| fields.iter().all(|field| field.name != **name)) {
        Some(other) => Err(EncodeError::UnknownMember { path: member(path, other) }),
        None => Ok(()),
    }
}

/// Writes what stands for a field that was left out: null where the field may be null, else its default.
fn left_out(schema: &Schema, field: &Field, path: &str, depth: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let nullable = match &field.kind.shape {
        Shape::Null => true,
        Shape::Union(branches) => branches.iter().any(|branch| branch.shape == Shape::Null),
        _ => false,
    };
    match &field.default {
        _ if nullable => fresh(schema, &field.kind, &Value::Null, path, depth, out),
        Some(default) => fresh(schema, &field.kind, default, path, depth, out),
        None => Err(EncodeError::Required { path: path.to_owned() }),
    }
}

/// Writes a value that no bytes are there for.
fn fresh(
    schema: &Schema,
    kind: &Type,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if depth > DEPTH_MAX {
        return Err(EncodeError::TooDeep { path: path.to_owned() });
    }
    let unfit = |wanted: &str| EncodeError::unfit(path, wanted);
    match &kind.shape {
        Shape::Null => value.is_null().then_some(()).ok_or_else(|| unfit("null")),
        Shape::Boolean => {
            out.push(u8::from(value.as_bool().ok_or_else(|| unfit("true or false"))?));
            Ok(())
        }
        Shape::Int => {
            let number = number(kind, value).filter(|number| i32::try_from(*number).is_ok());
            put_zigzag(number.ok_or_else(|| unfit("an int"))?, out);
            Ok(())
        }
        Shape::Long => {
            put_zigzag(number(kind, value).ok_or_else(|| unfit("a long"))?, out);
            Ok(())
        }
        Shape::Float => {
            out.extend((double(value).ok_or_else(|| unfit("a float"))? as f32).to_le_bytes());
            Ok(())
        }
        Shape::Double => {
            out.extend(double(value).ok_or_else(|| unfit("a double"))?.to_le_bytes());
            Ok(())
        }
        Shape::Bytes => {
            let bytes = bytes(kind.logical.as_ref(), value, None).ok_or_else(|| unfit("bytes"))?;
            put_zigzag(bytes.len() as i64, out);
            out.extend_from_slice(&bytes);
            Ok(())
        }
        Shape::String => {
            let text = value.as_str().ok_or_else(|| unfit("a string"))?;
            if kind.logical == Some(Logical::Uuid) && !is_uuid(text) {
                return Err(unfit("a UUID"));
            }
            put_text(text, out);
            Ok(())
        }
        Shape::Array(items) => {
            let elements = value.as_array().ok_or_else(|| unfit("an array"))?;
            let mut written = Vec::new();
            for (index, element) in elements.iter().enumerate() {
                fresh(schema, items, element, &format!("{path}[{index}]"), depth + 1, &mut written)?;
            }
            one_block(elements.len(), &written, out);
            Ok(())
        }
        Shape::Map(values) => {
            let members = value.as_object().ok_or_else(|| unfit("a map"))?;
            let mut written = Vec::new();
            for (key, value) in members {
                put_text(key, &mut written);
                fresh(schema, values, value, &member(path, key), depth + 1, &mut written)?;
            }
            one_block(members.len(), &written, out);
            Ok(())
        }
        Shape::Union(branches) => {
            for (index, branch) in branches.iter().enumerate() {
                let mut written = Vec::new();
                if fresh(schema, branch, value, path, depth + 1, &mut written).is_ok() {
                    put_zigzag(index as i64, out);
                    out.extend_from_slice(&written);
                    return Ok(());
                }
            }
            Err(unfit("one of a union's types"))
        }
        Shape::Named(number) => fresh_named(schema, &schema.named[*number], kind, value, path, depth, out),
    }
}

fn fresh_named(
    schema: &Schema,
    named: &Named,
    kind: &Type,
    value: &Value,
    path: &str,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match named {
        Named::Record { name, fields, .. } => {
            let members = value.as_object().ok_or_else(|| EncodeError::unfit(path, format!("a record {name}")))?;
            no_others(fields, members, path)?;
            for field in fields {
                let path = member(path, &field.name);
                match members.get(&field.name) {
                    Some(value) => fresh(schema, &field.kind, value, &path, depth + 1, out)?,
                    None => left_out(schema, field, &path, depth + 1, out)?,
                }
            }
            Ok(())
        }
        Named::Enum { name, symbols, .. } => {
            let index = value.as_str().and_then(|text| symbols.iter().position(|symbol| symbol == text));
            let index = index.ok_or_else(|| EncodeError::unfit(path, format!("a symbol of the enum {name}")))?;
            put_zigzag(index as i64, out);
            Ok(())
        }
        Named::Fixed { name, size, .. } => {
            let bytes = bytes(kind.logical.as_ref(), value, Some(*size)).filter(|bytes| bytes.len() == *size);
            out.extend_from_slice(&bytes.ok_or_else(|| EncodeError::unfit(path, format!("the fixed {name}")))?);
            Ok(())
        }
    }
}

fn number(kind: &Type, value: &Value) -> Option<i64> {
    match (value, &kind.logical) {
        (Value::String(text), Some(logical)) => logical.to_number(text),
        (Value::Number(number), _) => number.as_i64(),
        _ => None,
    }
}

/// Whether readers take a text for a UUID (RFC 9562): 32 digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn bytes(logical: Option<&Logical>, value: &Value, size: Option<usize>) -> Option<Vec<u8>> {
    match logical {
        // What it stands for is all that may be written: text over a decimal would become some other amount.
        Some(logical) => logical.to_bytes(value, size),
        None => value.as_str()?.chars().map(|point| u8::try_from(u32::from(point)).ok()).collect(),
    }
}
