//! Where lines come from: files and standard input, compressed with gzip or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::InputFormat;
use super::error::{Flaw, ImportError, LineProblem};

const BUFFER_BYTES: usize = 1 << 18;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One input of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input, written `-`.
    Standard,
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        if text == "-" { Self::Standard } else { Self::File(text.into()) }
    }
}

impl Input {
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Standard => "standard input".to_owned(),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::File(path) => Box::new(File::open(path)?),
            Self::Standard => Box::new(io::stdin().lock()),
        })
    }
}

/// An opened input: its text from the start, unpacked, without a byte order mark.
pub(super) struct Text {
    name: String,
    reader: Box<dyn BufRead>,
    /// The first line that is not blank, which is still in `reader`.
    first: Vec<u8>,
    line: u64,
    line_max: usize,
}

impl Text {
    /// Opens `input` and looks at its first line, of at most `line_max` bytes.
    pub(super) fn open(input: &Input, line_max: usize) -> Result<Self, ImportError> {
        let name = input.name();
        let opened = input.open().and_then(unpack);
        match opened {
            Ok(text) => Self::new(name, text, line_max),
            Err(source) => Err(ImportError::Unreadable { input: name, source }),
        }
    }

    fn new(name: String, mut reader: Box<dyn BufRead>, line_max: usize) -> Result<Self, ImportError> {
        let mut read = Vec::new();
        let mut start = 0;
        let mut lines = 0;
        while read[start..].trim_ascii().is_empty() {
            start = read.len();
            lines += 1;
            if read_line(&mut reader, &mut read, line_max).map_err(|source| unreadable(&name, source))? == 0 {
                break;
            }
            if read.starts_with(BYTE_ORDER_MARK) {
                read.drain(..BYTE_ORDER_MARK.len());
            }
            // Blank lines are counted again when they are read; many of them must not pile up here.
            if start > 0 && start > line_max {
                break;
            }
        }
        let first = read[start..].to_vec();
        let text = Self { name, reader: Box::new(Cursor::new(read).chain(reader)), first, line: 0, line_max };
        if text.first.len() > line_max { Err(text.too_long(lines)) } else { Ok(text) }
    }

    /// Returns the format that the first line speaks of; none where there is no line.
    pub(super) fn guess(&self) -> Result<Option<InputFormat>, ImportError> {
        let first = self.first.trim_ascii();
        match first.first() {
            None => Ok(None),
            Some(b'{') => Ok(Some(guess_json(first))),
            Some(b'[') => Err(self.flaw(1, LineProblem::UnknownFormat.into())),
            Some(_) if std::str::from_utf8(first).is_ok_and(|line| !line.contains('\0')) => Ok(Some(InputFormat::Csv)),
            Some(_) => Err(self.flaw(1, LineProblem::UnknownFormat.into())),
        }
    }

    /// Reads the next line that is not blank into `line`, without its end; `false` at the end of the input.
    pub(super) fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, ImportError> {
        loop {
            line.clear();
            self.line += 1;
            match read_line(&mut self.reader, line, self.line_max) {
                Ok(0) => return Ok(false),
                Ok(_) if line.len() > self.line_max => return Err(self.too_long(self.line)),
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => return Ok(true),
                Err(source) => return Err(unreadable(&self.name, source)),
            }
        }
    }

    /// Number of the line that [`Text::next_line`] read last, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Takes the text itself, for a reader that knows where its rows end.
    pub(super) fn take(&mut self) -> Box<dyn BufRead> {
        std::mem::replace(&mut self.reader, Box::new(io::empty()))
    }

    /// Whether lines end in `\r\n`, as the first one does.
    pub(super) fn breaks_with_two_bytes(&self) -> bool {
        self.first.ends_with(b"\r\n")
    }

    pub(super) fn flaw(&self, line: u64, flaw: Flaw) -> ImportError {
        ImportError::Line { input: self.name.clone(), line, column: flaw.column, problem: flaw.problem }
    }

    pub(super) fn too_long(&self, line: u64) -> ImportError {
        self.flaw(line, LineProblem::TooLong { max: self.line_max }.into())
    }

    pub(super) fn unreadable(&self, source: io::Error) -> ImportError {
        unreadable(&self.name, source)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(test)]
    pub(super) fn of_text(text: &str) -> Self {
        Self::new("text".to_owned(), Box::new(Cursor::new(text.as_bytes().to_vec())), 1_000).unwrap()
    }
}

fn unreadable(input: &str, source: io::Error) -> ImportError {
    ImportError::Unreadable { input: input.to_owned(), source }
}

/// Tells gzip by its first bytes, since standard input has no name that could say so.
fn unpack(bytes: Box<dyn Read>) -> io::Result<Box<dyn BufRead>> {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, bytes);
    // A pipe may hand over one byte at first; both are read and put back.
    let mut magic = Vec::new();
    bytes.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic)?;
    let packed = magic == GZIP_MAGIC;
    let bytes = Cursor::new(magic).chain(bytes);
    Ok(if packed {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(bytes)))
    } else {
        Box::new(bytes)
    })
}

/// Appends a line to `line`, without its end, and returns how many bytes were read. Stops after `max` + 2 bytes.
fn read_line(text: &mut dyn BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    text.take(max as u64 + 2).read_until(b'\n', line)
}

fn guess_json(line: &[u8]) -> InputFormat {
    match serde_json::from_slice(line) {
        Ok(Fields { payload: true }) => InputFormat::Kcat,
        _ => InputFormat::Ndjson,
    }
}

/// The field that tells the formats apart, whatever its value.
#[derive(serde::Deserialize)]
struct Fields {
    #[serde(default, deserialize_with = "seen")]
    payload: bool,
}

fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(text: &mut Text) -> Vec<(u64, String)> {
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while text.next_line(&mut line).unwrap() {
            lines.push((text.line(), String::from_utf8(line.trim_ascii().to_vec()).unwrap()));
        }
        lines
    }

    #[test]
    fn blank_lines_are_counted_and_passed_over() {
        let mut text = Text::of_text("\u{feff}\r\n\nfirst\r\n \nsecond");
        assert_eq!(lines(&mut text), [(3, "first".to_owned()), (5, "second".to_owned())]);
    }

    #[test]
    fn formats_are_guessed_from_the_first_line() {
        for (text, format) in [
            ("{\"value\":1}", Some(InputFormat::Ndjson)),
            ("\n\n{\"topic\":\"t\",\"payload\":null}\n", Some(InputFormat::Kcat)),
            ("{broken", Some(InputFormat::Ndjson)),
            ("\u{feff}key,value\n", Some(InputFormat::Csv)),
            ("", None),
            ("\n \n", None),
        ] {
            assert_eq!(Text::of_text(text).guess().unwrap(), format, "{text:?}");
        }
        assert!(Text::of_text("[1]").guess().is_err());
        assert!(Text::of_text("a\0b").guess().is_err());
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes_and_members_follow_each_other() {
        let mut packed = Vec::new();
        for member in ["first\n", "second\n"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
            encoder.write_all(member.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        let unpacked = unpack(Box::new(Cursor::new(packed))).unwrap();
        let mut text = Text::new("packed".to_owned(), unpacked, 100).unwrap();
        assert_eq!(lines(&mut text), [(1, "first".to_owned()), (2, "second".to_owned())]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused() {
        let mut text = Text::of_text(&format!("short\n{}\n", "x".repeat(1_001)));
        let mut line = Vec::new();
        assert!(text.next_line(&mut line).unwrap());
        let refused = text.next_line(&mut line).unwrap_err();
        assert_eq!(refused.to_string(), "text, line 2: longer than 1000 bytes");
    }
}
