//! Why a schema cannot be used, a value not be decoded, an edit not be encoded. No variant holds a byte of a value.

/// Why the text of a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The text is not what its type says.
    #[error("schema {id} cannot be read as {kind}: {reason}")]
    Unreadable {
        /// Id.
        id: i32,
        /// Type as the registry names it.
        kind: &'static str,
        /// What is wrong, as a lowercase fragment.
        reason: String,
    },
}

/// Why a value cannot be decoded; it stays bytes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value has no frame.
    #[error("not framed by a registry's serializer")]
    Unframed,
    /// No schema of this id was kept.
    #[error("schema {id} is not kept")]
    UnknownSchema {
        /// Id.
        id: i32,
    },
    /// The schema is kept and cannot be used.
    #[error("schema {id} cannot be used")]
    UnusableSchema {
        /// Id.
        id: i32,
    },
    /// The value ends too early.
    #[error("cut short")]
    Cut,
    /// The value goes on behind what the schema describes.
    #[error("longer than its schema says")]
    Trailing,
    /// A byte that the schema does not allow.
    #[error("not what its schema says: {what}")]
    Malformed {
        /// What is wrong, as a lowercase fragment.
        what: &'static str,
    },
    /// Nested deeper than any reader goes.
    #[error("nested too deeply")]
    TooDeep,
    /// Decoded, it would be many times larger than its bytes.
    #[error("would grow beyond every bound when decoded")]
    TooLarge,
}

/// Why an edited value cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value that was edited cannot be decoded.
    #[error("the value cannot be decoded")]
    Undecodable(#[from] DecodeError),
    /// The schema has no room for what stands at a path.
    #[error("{path}: the schema wants {wanted}")]
    Unfit {
        /// Where, as `$.a.b[0]`.
        path: String,
        /// What the schema wants there.
        wanted: String,
    },
    /// A field that must be there was removed.
    #[error("{path}: the schema has no default, so it cannot be left out")]
    Required {
        /// Where.
        path: String,
    },
    /// A member that the schema does not know was added.
    #[error("{path}: the schema has no such field")]
    UnknownMember {
        /// Where.
        path: String,
    },
    /// The edited value is nested deeper than any reader goes.
    #[error("{path}: nested too deeply")]
    TooDeep {
        /// Where.
        path: String,
    },
}

impl EncodeError {
    pub(super) fn unfit(path: &str, wanted: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), wanted: wanted.into() }
    }
}
