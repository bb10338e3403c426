//! Why an import stops.

use std::io;
use std::path::PathBuf;

use super::super::RecordingError;

/// Why inputs cannot be made a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// No input was given.
    #[error("there is nothing to import")]
    NoInput,
    /// An input cannot be opened, or reading it failed.
    #[error("{input} could not be read")]
    Unreadable {
        /// Name of the input.
        input: String,
        /// What the system said.
        source: io::Error,
    },
    /// The inputs hold no event.
    #[error("{input} holds no event")]
    Empty {
        /// Name of the inputs.
        input: String,
    },
    /// A line cannot be understood.
    #[error("{input}, line {line}{}: {problem}", column.map_or(String::new(), |column| format!(", column {column}")))]
    Line {
        /// Name of the input.
        input: String,
        /// Line, counted from 1. Of a CSV row that spans several, the first.
        line: u64,
        /// Column in bytes, counted from 1, where known.
        column: Option<u64>,
        /// What is wrong.
        problem: LineProblem,
    },
    /// A setting does not fit.
    #[error("{setting}: {problem}")]
    Setting {
        /// Name of the option, such as `--key-column`.
        setting: &'static str,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// Somebody asked to stop.
    #[error("stopped before all was imported; nothing is left of it")]
    Stopped,
    /// The recording cannot be written.
    #[error("the import to {} cannot be written", out.display())]
    Unwritable {
        /// The recording.
        out: PathBuf,
        /// Why.
        source: RecordingError,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// It is no JSON object of the format.
    #[error("{0}")]
    Json(String),
    /// It is no row of comma-separated values.
    #[error("{0}")]
    Csv(String),
    /// It is longer than the setting allows.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The longest that is allowed, in bytes.
        max: usize,
    },
    /// The first line looks like no known format.
    #[error("neither a JSON object nor a row of column names; give the format")]
    UnknownFormat,
    /// A field that must be there is missing.
    #[error("`{field}` is missing{hint}")]
    Missing {
        /// Its name.
        field: &'static str,
        /// What to do about it, beginning with `; `, or empty.
        hint: &'static str,
    },
    /// A field is there twice in different spellings.
    #[error("`{field}` and `{field}_base64` exclude each other")]
    Both {
        /// Its name.
        field: &'static str,
    },
    /// A field has a value it cannot have.
    #[error("`{field}` {problem}")]
    Field {
        /// Its name.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An offset does not rise within its partition.
    #[error(
        "topic `{topic}`, partition {partition}: offset {offset} comes after offset {previous}; offsets must rise within a partition"
    )]
    Disorder {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The offset at fault.
        offset: i64,
        /// The offset before it.
        previous: i64,
    },
    /// The columns of a CSV file do not make an event.
    #[error("{0}")]
    Columns(String),
}

impl LineProblem {
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }
}

/// A problem and where in its line it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) problem: LineProblem,
    pub(super) column: Option<u64>,
}

impl From<LineProblem> for Flaw {
    fn from(problem: LineProblem) -> Self {
        Self { problem, column: None }
    }
}

impl From<serde_json::Error> for Flaw {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // The line that serde counts is always 1 here; file and line are told by whoever read the line.
        let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem).to_owned();
        let column = (error.column() > 0).then_some(error.column() as u64);
        Self { problem: LineProblem::Json(problem), column }
    }
}
