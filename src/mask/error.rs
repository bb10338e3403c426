//! Why an event cannot be masked.

use super::detect::Detected;

/// Why an event cannot be masked, or must not be kept. No variant holds anything of what the event says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// Fields of it are to be masked, and it is no JSON.
    #[error(
        "topic `{topic}`, partition {partition}, offset {offset}: the {part} is no JSON, so its fields cannot be masked, and the \
         policy says `otherwise = \"refuse\"`"
    )]
    NoJson {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// `key` or `value`.
        part: &'static str,
    },
    /// What a rule makes of a field does not fit the schema that describes it.
    #[error(
        "topic `{topic}`, partition {partition}, offset {offset}: the {part} cannot be masked by the rule for {path}: its schema \
         wants {wanted}"
    )]
    Unfit {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// `key` or `value`.
        part: &'static str,
        /// The field as the policy names it.
        path: String,
        /// What may stand there, as the schema says.
        wanted: String,
    },
    /// Something in it looks personal, and nothing that does is to be kept.
    #[error(
        "topic `{topic}`, partition {partition}, offset {offset}: {path} holds what looks like {}", kind.words()
    )]
    Personal {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// Where in the event: a JSONPath, `value`, `key` or `header NAME`.
        path: String,
        /// What it looks like.
        kind: Detected,
    },
}
