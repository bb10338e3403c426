//! JSON text that is being written, with a bound on its depth and its length.

use super::DecodeError;

/// Levels of objects and arrays at most: what `serde_json` reads again.
pub(super) const DEPTH_MAX: u32 = 100;

/// Bytes of text that any value may become.
const BYTES_FREE: usize = 1 << 20;

/// Bytes of text beyond that a byte of the value may become.
const BYTES_EACH: usize = 64;

/// JSON text that is being written. Every open is matched by a close; [`Out::comma`] is called ahead of each member.
pub(super) struct Out {
    text: Vec<u8>,
    depth: u32,
    limit: usize,
}

impl Out {
    /// Makes room for what a value of `bytes` bytes says.
    pub(super) fn for_value(bytes: usize) -> Self {
        Self { text: Vec::new(), depth: 0, limit: bytes.saturating_mul(BYTES_EACH).saturating_add(BYTES_FREE) }
    }

    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }

    pub(super) fn raw(&mut self, text: &str) -> Result<(), DecodeError> {
        if self.text.len() + text.len() > self.limit {
            return Err(DecodeError::TooLarge);
        }
        self.text.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(super) fn open(&mut self, bracket: &str) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.raw(bracket)
    }

    pub(super) fn close(&mut self, bracket: &str) -> Result<(), DecodeError> {
        self.depth -= 1;
        self.raw(bracket)
    }

    /// Writes a comma unless what follows is the first of its list.
    pub(super) fn comma(&mut self) -> Result<(), DecodeError> {
        match self.text.last() {
            Some(b'{' | b'[') | None => Ok(()),
            _ => self.raw(","),
        }
    }

    pub(super) fn name(&mut self, name: &str) -> Result<(), DecodeError> {
        self.comma()?;
        self.string(name)?;
        self.raw(":")
    }

    pub(super) fn string(&mut self, text: &str) -> Result<(), DecodeError> {
        if self.text.len() + text.len() + 2 > self.limit {
            return Err(DecodeError::TooLarge);
        }
        // Writing text to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.text, text);
        Ok(())
    }

    pub(super) fn double(&mut self, number: f64) -> Result<(), DecodeError> {
        match unusual(number) {
            Some(word) => self.string(word),
            None => self.raw(&serde_json::json!(number).to_string()),
        }
    }

    pub(super) fn float(&mut self, number: f32) -> Result<(), DecodeError> {
        match unusual(f64::from(number)) {
            Some(word) => self.string(word),
            // The shortest digits that name this very number in 32 bits, not in 64.
            None => self.raw(&serde_json::to_string(&number).unwrap_or_default()),
        }
    }
}

/// How JSON names what it has no number for; as in the JSON mapping of Protobuf.
fn unusual(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number == f64::INFINITY {
        Some("Infinity")
    } else if number == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

/// Reads a number back, also one that JSON has no number for.
pub(super) fn double(value: &serde_json::Value) -> Option<f64> {
    match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Appends a member to a path: `$.a`, or `$['a b']` where the name is no plain word.
pub(super) fn member(path: &str, name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        format!("{path}.{name}")
    } else {
        format!("{path}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}
