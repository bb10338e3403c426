//! Protocol Buffers: schemas as `.proto` text, and messages in the wire format.
//!
//! After <https://protobuf.dev/programming-guides/encoding/> and the JSON mapping,
//! <https://protobuf.dev/programming-guides/json/>.

mod decode;
mod encode;
mod fresh;
mod known;
mod wire;

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::Value;

use super::frame::message_indices;
use super::out::Out;
use super::{DecodeError, EncodeError};

/// Name of the schema's own file; no import can be named so.
const ROOT: &str = "the schema";

/// Files that registries know without being given them.
const BUILT_IN: [(&str, &str); 2] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3";
        package confluent;
        import "google/protobuf/descriptor.proto";
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3";
        package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
];

/// A schema with what is needed to decode and encode its messages.
#[derive(Debug)]
pub(super) struct Protobuf {
    file: FileDescriptor,
}

impl Protobuf {
    /// Reads a schema; `references` are the files that it imports, by name.
    pub(super) fn read<'t>(
        text: &str,
        references: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<Self, String> {
        let mut sources: BTreeMap<String, String> =
            BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        sources.extend(references.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())));
        sources.insert(ROOT.to_owned(), text.to_owned());
        let mut resolver = ChainFileResolver::new();
        resolver.add(Sources(sources));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        compiler.open_file(ROOT).map_err(|error| one_line(&error.to_string()))?;
        let pool: DescriptorPool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(ROOT).ok_or("the schema defines nothing")?;
        Ok(Self { file })
    }

    pub(super) fn file(&self) -> &FileDescriptor {
        &self.file
    }

    pub(super) fn decode(&self, rest: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let (message, payload) = self.message(rest)?;
        let mut out = Out::for_value(payload.len());
        decode::message(&message, payload, &mut out)?;
        Ok(out.into_text())
    }

    /// Decodes a message that no indices stand ahead of: the schema's first, or the one of this name.
    pub(super) fn decode_as(&self, name: Option<&str>, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let missing = DecodeError::Malformed { what: "the schema has no such message" };
        let message = self.named(name).ok_or(missing)?;
        let mut out = Out::for_value(payload.len());
        decode::message(&message, payload, &mut out)?;
        Ok(out.into_text())
    }

    /// Finds a message by its full name, or by its own where it stands outermost; without a name the first.
    pub(super) fn named(&self, name: Option<&str>) -> Option<MessageDescriptor> {
        let Some(name) = name else { return self.file.messages().next() };
        let outermost = || self.file.messages().find(|message| message.name() == name);
        self.file.parent_pool().get_message_by_name(name).or_else(outermost)
    }

    pub(super) fn encode(&self, rest: &[u8], edited: &Value) -> Result<Vec<u8>, EncodeError> {
        let (message, payload) = self.message(rest)?;
        let mut out = rest[..rest.len() - payload.len()].to_vec();
        encode::message(&message, payload, edited, "$", &mut out)?;
        Ok(out)
    }

    /// Finds the message that the indices at the start of `rest` name.
    fn message<'v>(&self, rest: &'v [u8]) -> Result<(MessageDescriptor, &'v [u8]), DecodeError> {
        let missing = DecodeError::Malformed { what: "the schema has no such message" };
        let (indices, payload) = message_indices(rest).ok_or(missing)?;
        let (first, nested) = indices.split_first().ok_or(missing)?;
        let mut message = self.file.messages().nth(*first).ok_or(missing)?;
        for index in nested {
            // Serializers count as their descriptors do, in which each map has a message of its own; those that count the
            // messages of the text do not, and name an entry of a map where a message cannot be meant.
            let plain =
                |message: &MessageDescriptor| message.child_messages().filter(|m| !m.is_map_entry()).nth(*index);
            let child = message.child_messages().nth(*index).filter(|child| !child.is_map_entry());
            message = child.or_else(|| plain(&message)).ok_or(missing)?;
        }
        Ok((message, payload))
    }
}

/// Files at hand, by name; nothing is opened.
struct Sources(BTreeMap<String, String>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
