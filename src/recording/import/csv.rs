//! Rows of comma-separated values (RFC 4180) below a row of names.
//!
//! Where all names are among `topic`, `partition`, `offset`, `timestamp` (or `timestamp_ms`), `key` and `value`, and `value` is
//! there, a row is an event and its cells are the event's bytes. An empty cell is null, as CSV cannot tell null from empty.
//!
//! Any other table becomes JSON: a row is an object with a member a column, in the order of the columns. A cell that is a JSON
//! number, `true` or `false` stands there as it is written, an empty cell is `null`, all else is text. The topic must be given;
//! key and time come from the columns that the settings name.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, ErrorKind, Position, Reader, ReaderBuilder};

use super::ImportSettings;
use super::error::{ImportError, LineProblem};
use super::parts::{Parts, usual_type};
use super::text::Text;
use crate::settings::Moment;

/// Reads rows and keeps at most one of them.
pub(super) struct Rows {
    text: Text,
    reader: Reader<Bounded<Box<dyn io::BufRead>>>,
    left: Rc<Cell<usize>>,
    /// Bytes of the whole input, once its end was seen.
    length: Rc<Cell<Option<u64>>>,
    line_max: usize,
    shape: Shape,
    row: ByteRecord,
    json: Vec<u8>,
}

impl Rows {
    /// Reads the row of names and decides what a row is.
    pub(super) fn open(mut text: Text, settings: &ImportSettings) -> Result<Self, ImportError> {
        let (left, length) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
        let inner: Box<dyn io::BufRead> = Box::new(text.take().chain(&BLANK[..]));
        let bounded = Bounded { inner, left: Rc::clone(&left), read: 0, length: Rc::clone(&length) };
        let reader = ReaderBuilder::new().has_headers(false).buffer_capacity(CHUNK_BYTES).from_reader(bounded);
        let (shape, line_max) = (Shape::Object(Object::default()), settings.line_max);
        let mut rows = Self { text, reader, left, length, line_max, shape, row: ByteRecord::new(), json: Vec::new() };
        if rows.read()? {
            let names = rows.row.iter().map(|name| std::str::from_utf8(name.trim_ascii()).map(str::to_owned)).collect();
            let shape = match names {
                Ok(names) => Shape::of(names, settings),
                Err(_) => Err(LineProblem::Columns("the names of the columns are no UTF-8".to_owned())),
            };
            rows.shape = shape.map_err(|problem| rows.text.flaw(1, problem.into()))?;
        }
        Ok(rows)
    }

    /// Reads the next row as the parts of an event; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Parts<'_>>, ImportError> {
        if !self.read()? {
            return Ok(None);
        }
        let line = self.line();
        let parts = match &self.shape {
            Shape::Event(columns) => columns.parts(&self.row),
            Shape::Object(columns) => columns.parts(&self.row, &mut self.json),
        };
        parts.map(Some).map_err(|problem| self.text.flaw(line, problem.into()))
    }

    /// First line of the row read last.
    pub(super) fn line(&self) -> u64 {
        self.row.position().map_or(1, |start| self.line_at(start))
    }

    /// Returns the line at which a row starts. The reader ends a row at its `\r`, with the line break still ahead of the next.
    fn line_at(&self, start: &Position) -> u64 {
        start.line() + u64::from(start.byte() > 0 && self.text.breaks_with_two_bytes())
    }

    pub(super) fn text(&self) -> &Text {
        &self.text
    }

    fn read(&mut self) -> Result<bool, ImportError> {
        // What the reader holds already may be the whole next row, so the bound is loose by one chunk.
        self.left.set(self.line_max + CHUNK_BYTES);
        let line = self.line_at(self.reader.position());
        let read = self.reader.read_byte_record(&mut self.row).map_err(|error| self.refuse(error, line))?;
        // Rows end at their line break, so ahead of the blank lines; only an open quote takes those in.
        if read && self.length.get() == Some(self.reader.position().byte()) {
            let problem = "a quote is opened that is never closed".to_owned();
            return Err(self.text.flaw(self.line(), LineProblem::Csv(problem).into()));
        }
        Ok(read)
    }

    fn refuse(&self, error: csv::Error, line: u64) -> ImportError {
        match error.into_kind() {
            ErrorKind::Io(_) if self.left.get() == 0 => self.text.too_long(line),
            ErrorKind::Io(source) => self.text.unreadable(source),
            ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.map_or(line, |start| self.line_at(&start));
                let problem = format!("{len} cells where the first row names {expected_len} columns");
                self.text.flaw(line, LineProblem::Csv(problem).into())
            }
            other => self.text.flaw(line, LineProblem::Csv(format!("cannot be read as CSV ({other:?})")).into()),
        }
    }
}

const CHUNK_BYTES: usize = 1 << 16;

/// What is read behind the input: blank lines, which are no rows.
const BLANK: [u8; 2] = *b"\n\n";

/// Reads no more than what is left, so that an open quote does not take in the rest of the file.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<usize>>,
    read: u64,
    length: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left.get());
        if length == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the row is too long"));
        }
        let read = self.inner.read(&mut buffer[..length])?;
        self.left.set(self.left.get() - read);
        self.read += read as u64;
        if read == 0 {
            self.length.set(Some(self.read));
        }
        Ok(read)
    }
}

/// What a row is.
#[derive(Debug)]
enum Shape {
    Event(EventColumns),
    Object(Object),
}

impl Shape {
    fn of(names: Vec<String>, settings: &ImportSettings) -> Result<Self, LineProblem> {
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(LineProblem::Columns(format!("two columns are named `{name}`")));
            }
        }
        let asked = settings.key_column.is_some() || settings.time_column.is_some();
        match EventColumns::of(&names) {
            Some(columns) if !asked => Ok(Self::Event(columns)),
            _ => Object::of(names, settings).map(Self::Object),
        }
    }
}

/// The columns of a table of events.
#[derive(Debug, Default, PartialEq, Eq)]
struct EventColumns {
    topic: Option<usize>,
    partition: Option<usize>,
    offset: Option<usize>,
    timestamp: Option<usize>,
    key: Option<usize>,
    value: usize,
}

impl EventColumns {
    fn of(names: &[String]) -> Option<Self> {
        let mut columns = Self { value: names.iter().position(|name| name == "value")?, ..Self::default() };
        for (index, name) in names.iter().enumerate() {
            let column = match name.as_str() {
                "topic" => &mut columns.topic,
                "partition" => &mut columns.partition,
                "offset" => &mut columns.offset,
                "timestamp" | "timestamp_ms" if columns.timestamp.is_none() => &mut columns.timestamp,
                "key" => &mut columns.key,
                "value" => continue,
                _ => return None,
            };
            *column = Some(index);
        }
        Some(columns)
    }

    fn parts<'a>(&self, row: &'a ByteRecord) -> Result<Parts<'a>, LineProblem> {
        let cell = |column: Option<usize>| column.map(|column| &row[column]).filter(|cell| !cell.is_empty());
        let timestamp_ms = cell(self.timestamp).map(|cell| timestamp("timestamp", cell)).transpose()?;
        Ok(Parts {
            topic: cell(self.topic).map(|cell| utf8("topic", cell).map(Cow::Borrowed)).transpose()?,
            partition: cell(self.partition).map(|cell| number("partition", cell)).transpose()?,
            offset: cell(self.offset).map(|cell| number("offset", cell)).transpose()?,
            timestamp_ms,
            timestamp_type: usual_type(timestamp_ms),
            key: cell(self.key).map(Cow::Borrowed),
            value: cell(Some(self.value)).map(Cow::Borrowed),
            headers: Vec::new(),
        })
    }
}

/// The columns of a table whose rows become JSON objects.
#[derive(Debug, Default)]
struct Object {
    names: Vec<String>,
    key: Option<usize>,
    time: Option<usize>,
}

impl Object {
    fn of(names: Vec<String>, settings: &ImportSettings) -> Result<Self, LineProblem> {
        if settings.topic.is_none() {
            return Err(LineProblem::Columns(
                "the columns are not those of events (topic, partition, offset, timestamp, key, value); to make each row a JSON \
                 object, give a topic, and the columns of key and time"
                    .to_owned(),
            ));
        }
        let find = |column: &Option<String>| {
            let Some(wanted) = column else { return Ok(None) };
            let position = names.iter().position(|name| name == wanted);
            position.map(Some).ok_or_else(|| LineProblem::Columns(unknown_column(wanted, &names)))
        };
        let (key, time) = (find(&settings.key_column)?, find(&settings.time_column)?);
        Ok(Self { names, key, time })
    }

    fn parts<'a>(&self, row: &'a ByteRecord, json: &'a mut Vec<u8>) -> Result<Parts<'a>, LineProblem> {
        json.clear();
        for (name, cell) in self.names.iter().zip(row) {
            json.push(if json.is_empty() { b'{' } else { b',' });
            quote(name, json);
            json.push(b':');
            match cell {
                b"" => json.extend_from_slice(b"null"),
                b"true" | b"false" => json.extend_from_slice(cell),
                cell if is_json_number(cell) => json.extend_from_slice(cell),
                cell => quote(utf8(name, cell)?, json),
            }
        }
        json.push(b'}');
        let cell =
            |column: Option<usize>| column.map(|column| (column, &row[column])).filter(|(_, cell)| !cell.is_empty());
        let timestamp_ms = cell(self.time).map(|(column, cell)| timestamp(&self.names[column], cell)).transpose()?;
        Ok(Parts {
            timestamp_ms,
            timestamp_type: usual_type(timestamp_ms),
            key: cell(self.key).map(|(_, cell)| Cow::Borrowed(cell)),
            value: Some(Cow::Borrowed(json)),
            ..Parts::default()
        })
    }
}

fn unknown_column(wanted: &str, names: &[String]) -> String {
    format!("there is no column `{wanted}`; the columns are {}", names.join(", "))
}

/// Reads milliseconds since the Unix epoch, or a date.
fn timestamp(column: &str, cell: &[u8]) -> Result<i64, LineProblem> {
    let text = utf8(column, cell)?;
    match text.trim().parse() {
        Ok(ms) => Ok(ms),
        Err(_) => Moment::of_date(text)
            .map(Moment::ms)
            .map_err(|problem| LineProblem::field(column, format!("is no number of milliseconds: {problem}"))),
    }
}

fn number<T: std::str::FromStr>(column: &str, cell: &[u8]) -> Result<T, LineProblem> {
    let text = utf8(column, cell)?;
    text.trim().parse().map_err(|_| LineProblem::field(column, format!("is `{text}`, not a whole number that fits")))
}

fn utf8<'a>(column: &str, cell: &'a [u8]) -> Result<&'a str, LineProblem> {
    std::str::from_utf8(cell).map_err(|_| LineProblem::field(column, "is no UTF-8"))
}

fn quote(text: &str, json: &mut Vec<u8>) {
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(json, text);
}

/// Whether `cell` is a number as JSON writes it: `007`, `+1` and `.5` are none and stay text.
fn is_json_number(cell: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = cell.strip_prefix(b"-").unwrap_or(cell);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest[0] == b'0' {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(topic: &str, key: &str, time: &str) -> ImportSettings {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ImportSettings {
            topic: given(topic),
            key_column: given(key),
            time_column: given(time),
            line_max: 1_000,
            ..ImportSettings::default()
        }
    }

    fn rows(text: &str, settings: &ImportSettings) -> Result<Vec<Parts<'static>>, String> {
        let mut rows = Rows::open(Text::of_text(text), settings).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while let Some(parts) = rows.next().map_err(|error| error.to_string())? {
            all.push(Parts {
                topic: parts.topic.map(|topic| topic.into_owned().into()),
                key: parts.key.map(|key| key.into_owned().into()),
                value: parts.value.map(|value| value.into_owned().into()),
                headers: Vec::new(),
                ..parts
            });
        }
        Ok(all)
    }

    fn bytes(text: &str) -> Cow<'static, [u8]> {
        Cow::Owned(text.as_bytes().to_vec())
    }

    #[test]
    fn a_table_of_events_keeps_the_cells_as_they_are() {
        let text =
            "offset,topic,partition,timestamp,key,value\n5,t,1,2013-01-01T10:17:00Z,k,\"{\"\"a\"\": 1}\"\n,t,,,,\n";
        let expected = vec![
            Parts {
                topic: Some("t".into()),
                partition: Some(1),
                offset: Some(5),
                timestamp_ms: Some(1_357_035_420_000),
                timestamp_type: crate::recording::TimestampType::Create,
                key: Some(bytes("k")),
                value: Some(bytes("{\"a\": 1}")),
                headers: Vec::new(),
            },
            Parts { topic: Some("t".into()), ..Parts::default() },
        ];
        assert_eq!(rows(text, &settings("", "", "")), Ok(expected));
    }

    #[test]
    fn any_other_table_becomes_json() {
        let text = "id,at,note,paid,zip\n1,1000,\"say \"\"hi\"\"\",true,02134\n-2.50,,,false,x\n";
        let read = rows(text, &settings("payments", "id", "at")).unwrap();
        assert_eq!(read[0].value, Some(bytes(r#"{"id":1,"at":1000,"note":"say \"hi\"","paid":true,"zip":"02134"}"#)));
        assert_eq!((read[0].key.clone(), read[0].timestamp_ms), (Some(bytes("1")), Some(1_000)));
        assert_eq!(read[1].value, Some(bytes(r#"{"id":-2.50,"at":null,"note":null,"paid":false,"zip":"x"}"#)));
        assert_eq!((read[1].key.clone(), read[1].timestamp_ms), (Some(bytes("-2.50")), None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, settings, says) in [
            ("a,b\n1,2\n", settings("", "", ""), "text, line 1: the columns are not those of events"),
            ("a,b\n1,2\n", settings("t", "c", ""), "text, line 1: there is no column `c`; the columns are a, b"),
            ("a,a\n1,2\n", settings("t", "", ""), "text, line 1: two columns are named `a`"),
            ("a,b\r\n1,2\r\n3\r\n", settings("t", "", ""), "text, line 3: 1 cells where the first row names 2 columns"),
            ("value,offset\r\nx,1\r\ny,z", settings("t", "", ""), "text, line 3: `offset` is `z`"),
            ("a,b\n1,2\n3\n", settings("t", "", ""), "text, line 3: 1 cells where the first row names 2 columns"),
            ("value,offset\nx,1\ny,z\n", settings("t", "", ""), "text, line 3: `offset` is `z`"),
            ("a,at\n1,noon\n", settings("t", "", "at"), "text, line 2: `at` is no number of milliseconds"),
        ] {
            let refused = rows(text, &settings).unwrap_err();
            assert!(refused.starts_with(says), "{text:?}: {refused}");
        }
    }

    #[test]
    fn an_open_quote_does_not_take_in_the_rest_of_the_file() {
        let text = format!("value\n\"{}", "x".repeat(200_000));
        assert_eq!(rows(&text, &settings("t", "", "")), Err("text, line 2: longer than 1000 bytes".to_owned()));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused_and_one_that_is_closed_at_the_very_end_is_not() {
        let settings = settings("t", "", "");
        for text in ["a,b\n1,\"open\n", "a,b\n1,\"open", "a,b\r\n1,\"\"\"\r\n\r\n", "a,b\n1,\"x\n\n"] {
            let refused = rows(text, &settings).unwrap_err();
            assert_eq!(refused, "text, line 2: a quote is opened that is never closed", "{text:?}");
        }
        for text in ["a,b\n1,\"x\"", "a,b\n1,\"x\n\n\"\n\n", "a,b\r\n1,\"x\"\r\n", "a,b\n1,x\"\n", "a,b\n1,x"] {
            assert_eq!(rows(text, &settings).unwrap().len(), 1, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for number in ["0", "-0", "12", "1.5", "1e5", "-1.25E-10", "1e+5"] {
            assert!(is_json_number(number.as_bytes()), "{number}");
        }
        for text in ["", "-", "007", "+1", ".5", "1.", "1e", "1e+", "1,5", "NaN", "1 ", "0x1"] {
            assert!(!is_json_number(text.as_bytes()), "{text}");
        }
    }
}
