//! A schema as a registry gave it.

use serde::{Deserialize, Serialize};

/// A schema as a registry gave it, with all that it refers to: the content of `schemas/ID.json` in a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaText {
    /// Id in the registry.
    pub id: i32,
    /// What kind of schema it is.
    #[serde(rename = "type")]
    pub kind: SchemaKind,
    /// Text of the schema.
    pub schema: String,
    /// Schemas that it refers to, directly or through others, each behind those that it refers to itself.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// Subjects under which the registry holds it, in order; empty where it did not say.
    #[serde(default)]
    pub subjects: Vec<SubjectVersion>,
}

impl SchemaText {
    /// Whether it says the same as another, wherever that stands.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let said = |text: &Self| {
            let references = text.references.iter();
            let references = references.map(|one| (one.name.clone(), text.kind.said(&one.schema))).collect::<Vec<_>>();
            (text.kind, text.kind.said(&text.schema), references)
        };
        said(self) == said(other)
    }
}

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// How it is referred to: a full name (Avro), an import (Protobuf), a URI (JSON Schema).
    pub name: String,
    /// Subject.
    pub subject: String,
    /// Version of the subject.
    pub version: i32,
    /// Text of the schema.
    pub schema: String,
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectVersion {
    /// Subject, such as `orders-value`.
    pub subject: String,
    /// Version, counted from one.
    pub version: i32,
}

/// What kind of schema it is, in the registry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaKind {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaKind {
    /// The kind as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::Json => "JSON Schema",
        }
    }

    /// What the text of such a schema says, written in one way: spaces and the order of members of its JSON do not count.
    pub(crate) fn said(self, schema: &str) -> String {
        match self {
            Self::Protobuf => schema.split_whitespace().collect::<Vec<_>>().join(" "),
            Self::Avro | Self::Json => serde_json::from_str::<serde_json::Value>(schema)
                .map_or_else(|_| schema.to_owned(), |json| json.to_string()),
        }
    }

    /// The kind that a registry names so; nothing is Avro, as registries leave it out.
    pub fn of_registry(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("AVRO") => Some(Self::Avro),
            Some("PROTOBUF") => Some(Self::Protobuf),
            Some("JSON") => Some(Self::Json),
            Some(_) => None,
        }
    }
}
