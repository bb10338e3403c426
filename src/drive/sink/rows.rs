//! A snapshot to rows, in the order in which they stand in it.

use std::io::{self, BufRead};

use serde_json::{Map, Value, json};

use super::{Sink, SinkFormat};

/// Most digits of a number that every reader of JSON keeps.
const DIGITS_MAX: usize = 15;

/// One row of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    /// Why it could not be read; the value is then its line.
    pub(crate) malformed: Option<&'static str>,
}

/// Reads rows.
pub(crate) struct Rows<'s, R> {
    sink: &'s Sink,
    from: R,
    /// Most bytes of a line that are kept.
    line_max: usize,
    columns: Option<Vec<String>>,
}

/// A cell of a row, and whether it stood in quotes.
type Cell = (String, bool);

impl<'s, R: BufRead> Rows<'s, R> {
    pub(crate) fn new(sink: &'s Sink, from: R, line_max: usize) -> Self {
        Self { sink, from, line_max, columns: None }
    }

    /// The next row; none behind the last. Empty lines are none.
    ///
    /// # Errors
    ///
    /// What reading says.
    pub(crate) fn next(&mut self) -> io::Result<Option<Row>> {
        loop {
            let mut line = Vec::new();
            if self.from.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            // A cell in quotes may go on over the end of a line.
            while self.sink.format == SinkFormat::Csv && is_open(&line) {
                if line.len() > self.line_max || self.from.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            if line.len() > self.line_max {
                let value = line[..self.line_max].to_vec();
                return Ok(Some(Row { key: None, value, malformed: Some("longer than `line-bytes-max`") }));
            }
            match self.sink.format {
                SinkFormat::Text => {
                    return Ok(Some(self.keyed(line.to_vec(), serde_json::from_slice(line).ok().as_ref())));
                }
                SinkFormat::Json => return Ok(Some(self.json(line))),
                SinkFormat::Csv => {
                    let Ok(text) = std::str::from_utf8(line) else {
                        return Ok(Some(bad(line, "no UTF-8")));
                    };
                    let Some(cells) = cells(text) else {
                        return Ok(Some(bad(line, "quotes do not go by RFC 4180")));
                    };
                    match &self.columns {
                        None => self.columns = Some(cells.into_iter().map(|(name, _)| name).collect()),
                        Some(columns) if columns.len() != cells.len() => {
                            return Ok(Some(bad(line, "another number of cells than columns")));
                        }
                        Some(columns) => {
                            let row: Map<String, Value> =
                                columns.iter().cloned().zip(cells.into_iter().map(value_of)).collect();
                            let row = Value::Object(row);
                            return Ok(Some(self.keyed(row.to_string().into_bytes(), Some(&row))));
                        }
                    }
                }
            }
        }
    }

    fn json(&self, line: &[u8]) -> Row {
        match serde_json::from_slice::<Value>(line) {
            Ok(value) if value.is_object() => self.keyed(line.to_vec(), Some(&value)),
            Ok(_) => bad(line, "no JSON object"),
            Err(_) => bad(line, "no JSON"),
        }
    }

    fn keyed(&self, value: Vec<u8>, read: Option<&Value>) -> Row {
        let found = self.sink.key.as_ref().zip(read).and_then(|(path, read)| path.query(read).first());
        let key = found.map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned).into_bytes());
        Row { key, value, malformed: None }
    }
}

fn bad(line: &[u8], why: &'static str) -> Row {
    Row { key: None, value: line.to_vec(), malformed: Some(why) }
}

/// Whether a cell in quotes has not ended.
fn is_open(line: &[u8]) -> bool {
    memchr::memchr_iter(b'"', line).count() % 2 == 1
}

/// Takes a line of comma-separated values apart; none where its quotes are wrong.
fn cells(line: &str) -> Option<Vec<Cell>> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let (cell, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_cell(quoted)?
        } else {
            let (cell, behind) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if cell.contains('"') {
                return None;
            }
            ((cell.to_owned(), false), behind)
        };
        cells.push(cell);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Some(cells),
            None => return None,
        }
    }
}

/// Reads a cell behind its first quote, and returns what stands behind its last.
fn quoted_cell(text: &str) -> Option<(Cell, &str)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"')?;
        cell.push_str(part);
        match behind.strip_prefix('"') {
            Some(next) => {
                cell.push('"');
                rest = next;
            }
            None => return Some(((cell, true), behind)),
        }
    }
}

fn value_of((text, quoted): Cell) -> Value {
    if text.is_empty() && !quoted {
        return Value::Null;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    match serde_json::from_str::<Value>(&text) {
        // Written otherwise than JSON writes it, `1.50` say, it would not come out as it went in.
        Ok(Value::Number(number)) if !quoted && digits <= DIGITS_MAX => {
            let written = number.to_string();
            if written == text { Value::Number(number) } else { json!(text) }
        }
        _ => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::sink::{SinkSettings, check_sinks};

    fn rows(format: &str, text: &str) -> Vec<(Option<String>, String, Option<&'static str>)> {
        let settings = format!("name = 'a'\nsnapshot = ['a']\nformat = '{format}'\nkey = '$.id'");
        let settings: SinkSettings = toml::from_str(&settings).unwrap();
        let sinks = check_sinks(&[settings], &[]).unwrap();
        let mut rows = Rows::new(&sinks[0], text.as_bytes(), 64);
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            found.push((row.key.map(text), text(row.value), row.malformed));
        }
        found
    }

    #[test]
    fn rows_of_a_table_are_objects_by_column() {
        let text = "id,amount,note\r\n7,1.5,\"a \"\"b\"\",\nc\"\n\n08,1.50,\n9,,\"\"\n";
        let found: Vec<_> = rows("csv", text).into_iter().map(|(key, value, bad)| (key.unwrap(), value, bad)).collect();
        let expected = [
            ("7", r#"{"amount":1.5,"id":7,"note":"a \"b\",\nc"}"#),
            ("08", r#"{"amount":"1.50","id":"08","note":null}"#),
            ("9", r#"{"amount":null,"id":9,"note":""}"#),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned(), None)));
    }

    #[test]
    fn a_number_that_readers_would_round_stays_text() {
        let found = rows("csv", "id\n12345678901234567890\n123456789012345\n1e400\n");
        let values: Vec<_> = found.iter().map(|(_, value, _)| value.as_str()).collect();
        assert_eq!(values, [r#"{"id":"12345678901234567890"}"#, r#"{"id":123456789012345}"#, r#"{"id":"1e400"}"#]);
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_it_is_and_said() {
        let long = "x".repeat(70);
        for (format, text, why) in [
            ("csv", "id,b\n1\n".to_owned(), "another number of cells"),
            ("csv", "id\na\"b\"\n".to_owned(), "RFC 4180"),
            ("json", "[1]\n".to_owned(), "no JSON object"),
            ("json", "{\n".to_owned(), "no JSON"),
            ("text", long, "line-bytes-max"),
        ] {
            let found = rows(format, &text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].2.unwrap().contains(why), "{text}: {found:?}");
        }
    }

    #[test]
    fn lines_are_rows_as_they_are() {
        let found = rows("text", "one\n{\"id\":1}");
        assert_eq!(found, [(None, "one".to_owned(), None), (Some("1".to_owned()), "{\"id\":1}".to_owned(), None)]);
        assert_eq!(rows("json", "{\"id\":\"x\"}\n")[0].0.as_deref(), Some("x"));
    }
}
