//! Text to a recording: NDJSON, what `kcat -J` prints, and CSV; compressed with gzip or not.
//!
//! In come lines or rows, out come events, one a line, whose bytes are the source's own: a JSON value keeps its white space,
//! its order of members and its spelling of numbers. A line that cannot be understood stops the import with its file and line
//! named; nothing is skipped and nothing half-done is left behind. Memory is bounded by a batch and the longest line.

mod csv;
mod error;
mod kcat;
mod murmur2;
mod ndjson;
mod parts;
mod placing;
mod print;
mod text;

pub use error::{ImportError, LineProblem};
pub use print::{LineFormat, print_decoded, print_event};
pub use text::Input;

use std::path::Path;

use csv::Rows;
use error::Flaw;
use parts::Parts;
use placing::Placing;
use text::Text;

use super::draft::Draft;
use super::store::Target;
use super::{EventBatchBuilder, RecordingError, RecordingWriter, Source};

/// How the events of an input are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// One JSON object a line, as `rehearsal inspect --events` prints them: `topic`, `partition`, `offset`, `timestamp_ms`,
    /// `timestamp_type`, `key` or `key_base64`, `value` or `value_base64`, `headers`. Only the value is required; its bytes are
    /// those of the line, and `null` is a tombstone.
    Ndjson,
    /// One JSON object a line, as `kcat -J` prints them: `topic`, `partition`, `offset`, `tstype`, `ts`, `broker`, `headers`,
    /// `key`, `payload`. Exact for any bytes as long as the lines come straight from kcat: a program in between that wants
    /// UTF-8 replaces what is none (see [`ImportReport::replaced`]). Keys and payloads that kcat decoded from Avro (`-s`) and
    /// headers printed as a map are refused, as the event's own bytes or the order of its headers are gone.
    Kcat,
    /// Rows of comma-separated values below a row of names. With the names `topic`, `partition`, `offset`, `timestamp` (or
    /// `timestamp_ms`), `key` and `value`, of which only `value` is required and no other may stand beside them, a row is an
    /// event and an empty cell is null. Rows of any other table become JSON objects, for which the topic must be given.
    Csv,
}

/// What the inputs do not say of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSettings {
    /// Format of all inputs; none: guessed of each from its first line.
    pub format: Option<InputFormat>,
    /// Topic of events that name none.
    pub topic: Option<String>,
    /// Number of partitions over which events that name none are spread, as Kafka's own producers do: by murmur2 of the key,
    /// and in turn where the key is null. At least 1.
    pub partitions: i32,
    /// CSV only: the column that is the key, where rows become JSON objects.
    pub key_column: Option<String>,
    /// CSV only: the column that is the event's own time, where rows become JSON objects: milliseconds since the Unix epoch,
    /// or a date such as `2013-01-05T10:17:00Z`.
    pub time_column: Option<String>,
    /// Longest line or row, in bytes; a longer one is refused. Bounds memory.
    pub line_max: usize,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self { format: None, topic: None, partitions: 1, key_column: None, time_column: None, line_max: 128 << 20 }
    }
}

/// What an import took in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Events written.
    pub events: u64,
    /// Bytes of their keys, values and headers.
    pub bytes: u64,
    /// Events whose key or value holds U+FFFD, the mark that a program leaves where it replaced bytes that were no UTF-8.
    /// Their bytes may have been lost before they came here.
    pub replaced: u64,
}

/// Imports `inputs`, in order, to a new recording in the directory `out`.
///
/// The recording is written beside `out` under another name and renamed when it is whole, so that an import that fails leaves
/// nothing behind. `progress` is told now and then how many events have come in, and ends the work
/// by returning `false`.
///
/// # Errors
///
/// [`ImportError::Line`] names file, line and cause; [`ImportError::Unwritable`] where `out` exists or the disk refuses.
pub fn import(
    inputs: &[Input],
    settings: &ImportSettings,
    out: impl Into<Target>,
    progress: &mut dyn FnMut(&ImportReport) -> bool,
) -> Result<ImportReport, ImportError> {
    check(settings)?;
    if inputs.is_empty() {
        return Err(ImportError::NoInput);
    }
    let mut intake = Intake::create(settings, &out.into())?;
    for input in inputs {
        intake.take(input, settings, progress)?;
        // What wrote the input may have been interrupted along with this, and then it ended early.
        intake.go_on(progress)?;
    }
    if intake.report.events == 0 {
        let names: Vec<String> = inputs.iter().map(Input::name).collect();
        return Err(ImportError::Empty { input: names.join(", ") });
    }
    intake.seal(progress)
}

fn check(settings: &ImportSettings) -> Result<(), ImportError> {
    let refuse = |setting, problem: &str| Err(ImportError::Setting { setting, problem: problem.to_owned() });
    if settings.partitions < 1 {
        return refuse("--partitions", "must be at least 1");
    }
    if settings.topic.as_deref() == Some("") {
        return refuse("--topic", "is empty");
    }
    Ok(())
}

/// An import under way.
struct Intake {
    draft: Draft,
    writer: RecordingWriter,
    batch: EventBatchBuilder,
    placing: Placing,
    report: ImportReport,
}

impl Intake {
    fn create(settings: &ImportSettings, out: &Target) -> Result<Self, ImportError> {
        let draft = Draft::of(out).map_err(unwritable(out.shown()))?;
        let writer = RecordingWriter::create(&draft.path, Source::default()).map_err(unwritable(out.shown()))?;
        let placing = Placing::new(settings.topic.clone(), settings.partitions);
        Ok(Self { draft, writer, batch: EventBatchBuilder::new(), placing, report: ImportReport::default() })
    }

    fn take(
        &mut self,
        input: &Input,
        settings: &ImportSettings,
        progress: &mut dyn FnMut(&ImportReport) -> bool,
    ) -> Result<(), ImportError> {
        let text = Text::open(input, settings.line_max)?;
        let guessed = match settings.format {
            Some(format) => Some(format),
            None => text.guess()?,
        };
        let asked = [("--key-column", &settings.key_column), ("--time-column", &settings.time_column)];
        if let (Some(InputFormat::Ndjson | InputFormat::Kcat), Some((setting, _))) =
            (guessed, asked.iter().find(|(_, column)| column.is_some()))
        {
            let problem = format!("has a meaning for CSV alone, which {} is not", text.name());
            return Err(ImportError::Setting { setting, problem });
        }
        match guessed {
            None => Ok(()),
            Some(InputFormat::Csv) => self.take_rows(Rows::open(text, settings)?, progress),
            Some(InputFormat::Ndjson) => self.take_lines(text, ndjson::parse, progress),
            Some(InputFormat::Kcat) => self.take_lines(text, kcat::parse, progress),
        }
    }

    fn take_lines(
        &mut self,
        mut text: Text,
        parse: fn(&[u8]) -> Result<Parts<'_>, Flaw>,
        progress: &mut dyn FnMut(&ImportReport) -> bool,
    ) -> Result<(), ImportError> {
        let mut line = Vec::new();
        while text.next_line(&mut line)? {
            let taken = parse(&line).and_then(|parts| Ok(self.push(parts)?));
            taken.map_err(|flaw| text.flaw(text.line(), flaw))?;
            self.write_full(progress)?;
        }
        Ok(())
    }

    fn take_rows(
        &mut self,
        mut rows: Rows,
        progress: &mut dyn FnMut(&ImportReport) -> bool,
    ) -> Result<(), ImportError> {
        while let Some(parts) = rows.next()? {
            if let Err(problem) = self.push(parts) {
                return Err(rows.text().flaw(rows.line(), problem.into()));
            }
            self.write_full(progress)?;
        }
        Ok(())
    }

    fn push(&mut self, mut parts: Parts<'_>) -> Result<(), LineProblem> {
        let (partition, offset) = self.placing.place(&mut parts)?;
        self.report.events += 1;
        self.report.bytes += parts.size_bytes();
        self.report.replaced += u64::from(parts.is_replaced());
        self.batch.push(
            parts.topic.as_deref().unwrap_or_default(),
            partition,
            offset,
            parts.timestamp_ms,
            parts.timestamp_type,
            None,
            parts.key.as_deref(),
            parts.value.as_deref(),
            parts.headers.iter().map(|header| (header.name.as_ref(), header.value.as_deref())),
        );
        Ok(())
    }

    fn write_full(&mut self, progress: &mut dyn FnMut(&ImportReport) -> bool) -> Result<(), ImportError> {
        if self.batch.is_full() {
            self.write()?;
            self.go_on(progress)?;
        }
        Ok(())
    }

    fn go_on(&self, progress: &mut dyn FnMut(&ImportReport) -> bool) -> Result<(), ImportError> {
        if progress(&self.report) { Ok(()) } else { Err(ImportError::Stopped) }
    }

    fn write(&mut self) -> Result<(), ImportError> {
        self.writer.write(&self.batch.finish()).map_err(unwritable(self.draft.out()))
    }

    fn seal(mut self, progress: &mut dyn FnMut(&ImportReport) -> bool) -> Result<ImportReport, ImportError> {
        if !self.batch.is_empty() {
            self.write()?;
        }
        self.writer.source_mut().topics = self.placing.topics();
        let out = self.draft.out().to_owned();
        let Self { draft, writer, report, .. } = self;
        let published = writer.seal().and_then(|_| draft.publish(&mut || progress(&report)));
        if published.map_err(unwritable(&out))? { Ok(report) } else { Err(ImportError::Stopped) }
    }
}

fn unwritable(out: &Path) -> impl Fn(RecordingError) -> ImportError + use<'_> {
    |source| ImportError::Unwritable { out: out.to_owned(), source }
}
