//! Whether readers of one schema read what another wrote.
//!
//! Backward: who has the new schema reads what was written with the old one. Forward: who has the old schema reads what is
//! written with the new one. Full: both. The rules are those of Confluent's registry, so that what it would register is what is
//! called compatible here: <https://docs.confluent.io/platform/current/schema-registry/fundamentals/schema-evolution.html>. Each
//! kind's file names its own source.

mod avro;
mod json;
mod protobuf;

use serde::Serialize;

use super::avro::Avro;
use super::protobuf::Protobuf;
use super::{SchemaKind, SchemaText};

/// Who can read what across two schemas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compatibility {
    /// What holds in both directions together.
    pub level: Level,
    /// What breaks it; empty where it is full.
    pub breaks: Vec<Break>,
}

/// What holds in both directions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Backward and forward.
    Full,
    /// New reads old; old does not read new.
    Backward,
    /// Old reads new; new does not read old.
    Forward,
    /// Neither.
    None,
}

/// One place where compatibility breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Which direction it breaks.
    pub direction: Direction,
    /// Where: a path of fields (Avro), the message and number of a field (Protobuf), a JSON pointer of the schema (JSON Schema).
    pub path: String,
    /// Rule, in the words of the registry.
    pub rule: Rule,
    /// What was so and what is so, as a lowercase fragment.
    pub what: String,
}

/// Who cannot read what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// New cannot read what old wrote.
    Backward,
    /// Old cannot read what new wrote.
    Forward,
}

/// Rule that is broken, as the registry calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Rule(pub &'static str);

/// What one direction found: where, which rule, and what was so.
type Found = Vec<(String, Rule, String)>;

/// Compares two schemas that follow on each other.
///
/// # Errors
///
/// Says what is wrong where one of them cannot be read, or an Avro schema follows on one of Protobuf.
pub fn compatibility(old: &SchemaText, new: &SchemaText) -> Result<Compatibility, String> {
    if old.kind != new.kind {
        let (old, new) = (old.kind.name(), new.kind.name());
        return Err(format!("{new} follows on {old}: what one wrote the other cannot read"));
    }
    let (backward, forward) = match old.kind {
        SchemaKind::Avro => {
            let read = |text: &SchemaText| Avro::read(&text.schema, text.references.iter().map(|r| r.schema.as_str()));
            let (old, new) = (read(old)?, read(new)?);
            (avro::reads(&new, &old), avro::reads(&old, &new))
        }
        SchemaKind::Protobuf => {
            let read = |text: &SchemaText| {
                Protobuf::read(&text.schema, text.references.iter().map(|r| (r.name.as_str(), r.schema.as_str())))
            };
            let (old, new) = (read(old)?, read(new)?);
            (protobuf::changes(&old, &new), protobuf::changes(&new, &old))
        }
        SchemaKind::Json => {
            let (old, new) = (json::Document::read(old)?, json::Document::read(new)?);
            (json::changes(&old, &new), json::changes(&new, &old))
        }
    };
    let level = match (backward.is_empty(), forward.is_empty()) {
        (true, true) => Level::Full,
        (true, false) => Level::Backward,
        (false, true) => Level::Forward,
        (false, false) => Level::None,
    };
    let of = |direction, found: Found| {
        found.into_iter().map(move |(path, rule, what)| Break { direction, path, rule, what })
    };
    let breaks = of(Direction::Backward, backward).chain(of(Direction::Forward, forward)).collect();
    Ok(Compatibility { level, breaks })
}

#[cfg(test)]
mod tests;
