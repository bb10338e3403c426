//! Reading JSON text: a strict lexer with numbers kept as text, so that no digit is lost, and a tree for close comparison.

use std::borrow::Cow;

/// Levels a value may be nested; deeper ones are compared as bytes.
pub(super) const DEPTH_MAX: u32 = 128;

/// The text is no JSON (RFC 8259), or nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoJson;

/// Reads tokens of a text that is known to be UTF-8.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the front of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, NoJson> {
        Ok(Self { text: std::str::from_utf8(bytes).map_err(|_| NoJson)?, at: 0 })
    }

    /// Skips white space and returns the next byte without taking it.
    pub(super) fn peek(&mut self) -> Result<u8, NoJson> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(NoJson)
    }

    /// Takes `byte`, which must come next.
    pub(super) fn take(&mut self, byte: u8) -> Result<(), NoJson> {
        if self.peek()? != byte {
            return Err(NoJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another element or member follows; `close` ends the list. Takes the comma or the end.
    pub(super) fn more(&mut self, close: u8) -> Result<bool, NoJson> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b',' {
            Ok(true)
        } else if byte == close {
            Ok(false)
        } else {
            Err(NoJson)
        }
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.peek().is_err()
    }

    /// Text from `from` to where the lexer stands.
    pub(super) fn since(&self, from: usize) -> &'a str {
        &self.text[from..self.at]
    }

    /// Takes the whole value `value` where it comes next as it is written there; else nothing.
    pub(super) fn follows(&mut self, value: &str) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let goes_on = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        let ends_open = value.as_bytes().last().is_some_and(goes_on);
        // A number may go on behind what is the whole of another one.
        let follows = rest.starts_with(value.as_bytes()) && !(ends_open && rest.get(value.len()).is_some_and(goes_on));
        self.at += if follows { value.len() } else { 0 };
        follows
    }

    /// Takes `null`, `true` or `false`.
    pub(super) fn word(&mut self, word: &str) -> Result<(), NoJson> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(NoJson);
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a string; escapes are resolved. A half of a surrogate pair alone is no JSON text.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, NoJson> {
        self.take(b'"')?;
        let bytes = self.text.as_bytes();
        let from = self.at;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    let text = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped(from),
                Some(byte) if *byte >= 0x20 => self.at += 1,
                _ => return Err(NoJson),
            }
        }
    }

    fn escaped(&mut self, from: usize) -> Result<Cow<'a, str>, NoJson> {
        let bytes = self.text.as_bytes();
        let mut text = String::from(&self.text[from..self.at]);
        loop {
            let plain = self.at;
            while bytes.get(self.at).is_some_and(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
                self.at += 1;
            }
            text.push_str(&self.text[plain..self.at]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 2;
                    text.push(self.escape(*bytes.get(self.at - 1).ok_or(NoJson)?)?);
                }
                _ => return Err(NoJson),
            }
        }
    }

    fn escape(&mut self, byte: u8) -> Result<char, NoJson> {
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if !(0xD800..0xDC00).contains(&first) {
                    return char::from_u32(first).ok_or(NoJson);
                }
                self.word("\\u")?;
                let second = self.hex()?;
                if !(0xDC00..0xE000).contains(&second) {
                    return Err(NoJson);
                }
                char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(NoJson)?
            }
            _ => return Err(NoJson),
        })
    }

    fn hex(&mut self) -> Result<u32, NoJson> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(NoJson)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoJson);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| NoJson)
    }

    /// Takes a number and returns its text.
    pub(super) fn number(&mut self) -> Result<&'a str, NoJson> {
        let from = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(NoJson),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[from..self.at])
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn digits(&mut self) -> Result<(), NoJson> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(NoJson) } else { Ok(()) }
    }
}

/// A number without the ways of spelling it: `100`, `1e2` and `100.0` are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    /// Whether it is below zero.
    pub(super) negative: bool,
    /// Digits without zeros in front or behind; empty for zero.
    pub(super) digits: Vec<u8>,
    /// Power of ten of the last digit.
    pub(super) exponent: i64,
}

impl Decimal {
    /// Reads the text of a JSON number.
    pub(super) fn read(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        // An exponent beyond 64 bits keeps its sign; no two numbers anybody writes meet there.
        let (least, most) = (i64::MIN / 4, i64::MAX / 4);
        let written: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { least } else { most });
        let written = written.clamp(least, most);
        let negative = mantissa.starts_with('-');
        let (whole, part) =
            mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
        let mut digits: Vec<u8> = whole.bytes().chain(part.bytes()).skip_while(|digit| *digit == b'0').collect();
        let mut exponent = written.saturating_sub(part.len() as i64);
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            Self { negative: false, digits, exponent: 0 }
        } else {
            Self { negative, digits, exponent }
        }
    }

    /// Power of ten of the last digit as it is written, zeros included: -3 for `1.500`.
    pub(super) fn last_place(text: &str) -> i64 {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let part = mantissa.split_once('.').map_or(0, |(_, part)| part.len());
        exponent.parse::<i64>().unwrap_or_default().saturating_sub(part as i64)
    }

    /// The number rounded, half away from zero, to the power of ten `exponent`.
    pub(super) fn rounded(&self, exponent: i64) -> Self {
        let cut = exponent.saturating_sub(self.exponent);
        if cut <= 0 {
            return self.clone();
        }
        let Some(keep) = usize::try_from(cut).ok().and_then(|cut| self.digits.len().checked_sub(cut)) else {
            return Self { negative: false, digits: Vec::new(), exponent: 0 };
        };
        let up = self.digits[keep] >= b'5';
        let mut digits = self.digits[..keep].to_vec();
        if up {
            if let Some(at) = digits.iter().rposition(|digit| *digit != b'9') {
                digits[at] += 1;
                digits[at + 1..].fill(b'0');
            } else {
                digits.fill(b'0');
                digits.insert(0, b'1');
            }
        }
        let text = format!("{}{}e{exponent}", if self.negative { "-" } else { "" }, String::from_utf8_lossy(&digits));
        if digits.is_empty() { Self { negative: false, digits, exponent: 0 } } else { Self::read(&text) }
    }
}

/// A JSON value with numbers as text and members in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads a whole text.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, NoJson> {
        let mut lexer = Lexer::new(bytes)?;
        let node = Self::value(&mut lexer, 0)?;
        if lexer.is_done() { Ok(node) } else { Err(NoJson) }
    }

    /// Reads the value that comes next and leaves what stands behind it.
    pub(super) fn next(lexer: &mut Lexer<'a>) -> Result<Self, NoJson> {
        Self::value(lexer, 0)
    }

    /// Reads the value that comes next at a level of nesting.
    pub(super) fn value(lexer: &mut Lexer<'a>, depth: u32) -> Result<Self, NoJson> {
        if depth > DEPTH_MAX {
            return Err(NoJson);
        }
        Ok(match lexer.peek()? {
            b'{' => Self::object(lexer, depth)?,
            b'[' => Self::array(lexer, depth)?,
            b'"' => Self::Text(lexer.string()?),
            b'n' => lexer.word("null").map(|()| Self::Null)?,
            b't' => lexer.word("true").map(|()| Self::Bool(true))?,
            b'f' => lexer.word("false").map(|()| Self::Bool(false))?,
            _ => Self::Number(lexer.number()?),
        })
    }

    fn object(lexer: &mut Lexer<'a>, depth: u32) -> Result<Self, NoJson> {
        lexer.take(b'{')?;
        let mut members = Vec::new();
        if lexer.peek()? == b'}' {
            lexer.at += 1;
            return Ok(Self::Object(members));
        }
        loop {
            lexer.peek()?;
            let name = lexer.string()?;
            lexer.take(b':')?;
            members.push((name, Self::value(lexer, depth + 1)?));
            if !lexer.more(b'}')? {
                return Ok(Self::Object(members));
            }
        }
    }

    fn array(lexer: &mut Lexer<'a>, depth: u32) -> Result<Self, NoJson> {
        lexer.take(b'[')?;
        let mut elements = Vec::new();
        if lexer.peek()? == b']' {
            lexer.at += 1;
            return Ok(Self::Array(elements));
        }
        loop {
            elements.push(Self::value(lexer, depth + 1)?);
            if !lexer.more(b']')? {
                return Ok(Self::Array(elements));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::read(text)
    }

    #[test]
    fn numbers_are_equal_however_they_are_spelled() {
        for (one, other) in
            [("100", "1e2"), ("1.50", "1.5"), ("-0", "0"), ("0.0", "0"), ("12E-1", "1.2"), ("10.0", "10")]
        {
            assert_eq!(decimal(one), decimal(other), "{one} {other}");
        }
        for (one, other) in [("1", "-1"), ("10", "1"), ("12345678901234567890123", "12345678901234567890124")] {
            assert_ne!(decimal(one), decimal(other), "{one} {other}");
        }
    }

    #[test]
    fn an_exponent_at_the_end_of_64_bits_overflows_nothing() {
        for (number, other) in [("10e9223372036854775807", "1"), ("0.1e-9223372036854775808", "0")] {
            assert_ne!(decimal(number), decimal(other));
            assert_eq!(decimal(number).rounded(-2), decimal(number).rounded(-2));
        }
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (number, exponent, rounded) in [
            ("1.25", -1, "1.3"),
            ("9.99", -1, "10"),
            ("-1.26", -1, "-1.3"),
            ("0.4", 0, "0"),
            ("0.5", 0, "1"),
            ("7", -2, "7"),
        ] {
            assert_eq!(decimal(number).rounded(exponent), decimal(rounded), "{number} at 10^{exponent}");
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            "\"\u{1}\"",
            "[1 2]",
            "{a:1}",
            "1 2",
            r#""\x""#,
            "\"abc",
            r#""\ud800""#,
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
            assert_eq!(Node::read(text.as_bytes()), Err(NoJson), "{text}");
        }
    }

    #[test]
    fn what_serde_json_reads_is_read() {
        for text in [
            " {\"a\" : [1, 2.5e+3 , -0, null,true , false] , \"\\u00e9\\n\":\"\\ud83d\\ude00\"} ",
            "[]",
            "{}",
            "3",
            "\"x\"",
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            assert!(Node::read(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
