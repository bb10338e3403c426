//! Apache Avro: its schemas, and values in its binary encoding.
//!
//! After the specification, <https://avro.apache.org/docs/1.12.0/specification/>.

mod decode;
mod encode;
mod logical;
mod model;

use serde_json::Value;

use super::out::Out;
use super::{DecodeError, EncodeError};
use decode::Reader;
pub(super) use model::{Named, Schema, Shape, Type};

/// A schema with what is needed to decode and encode its values.
#[derive(Debug)]
pub(super) struct Avro(Schema);

impl Avro {
    /// Reads a schema; `references` come first, each ahead of those that refer to it.
    pub(super) fn read<'t>(text: &str, references: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        Schema::read(text, references).map(Self)
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.0
    }

    pub(super) fn decode(&self, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut reader = Reader::new(&self.0, payload);
        let mut out = Out::for_value(payload.len());
        reader.value(&self.0.root, &mut out)?;
        if reader.is_done() { Ok(out.into_text()) } else { Err(DecodeError::Trailing) }
    }

    pub(super) fn encode(&self, payload: &[u8], edited: &Value) -> Result<Vec<u8>, EncodeError> {
        self.decode(payload)?;
        encode::encode(&self.0, payload, edited)
    }
}

#[cfg(test)]
mod tests;
