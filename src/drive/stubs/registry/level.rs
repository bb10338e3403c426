//! What a registry asks of schemas that follow on each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::Direction;

/// What a registry asks of schemas that follow on each other, in Confluent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Nothing.
    None,
    /// Who has the new schema reads what was written with the latest.
    #[default]
    Backward,
    /// Likewise, with every one before.
    BackwardTransitive,
    /// Who has the latest schema reads what is written with the new one.
    Forward,
    /// Likewise, of every one before.
    ForwardTransitive,
    /// Both.
    Full,
    /// Both, of every one before.
    FullTransitive,
}

impl Level {
    pub(super) fn is_none(self) -> bool {
        self == Self::None
    }

    pub(super) fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// Whether a break in this direction is refused.
    pub(super) fn forbids(self, direction: Direction) -> bool {
        match self {
            Self::None => false,
            Self::Backward | Self::BackwardTransitive => direction == Direction::Backward,
            Self::Forward | Self::ForwardTransitive => direction == Direction::Forward,
            Self::Full | Self::FullTransitive => true,
        }
    }
}
