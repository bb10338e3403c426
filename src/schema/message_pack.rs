//! MessagePack: values without a schema, to the JSON that they say.
//!
//! After <https://github.com/msgpack/msgpack/blob/master/spec.md>. What JSON has no notation for is an object with one name that
//! begins with `@`: `{"@bin":"AAEC"}` and `{"@str":"/w=="}` (text that is no UTF-8) in base64, `{"@ext":5,"@data":"AAEC"}`,
//! `{"@time":"2013-01-05T00:00:00.5Z"}` and `{"@float":"NaN"}`. A key that is no text is `@` and what it says: `@1`, `@true`,
//! `@[1,2]`. A key that is text and looks like one of these gets one `@` more, so that no two values say the same by accident.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};

use super::DecodeError;
use super::out::Out;

/// Extension type of a timestamp.
pub(super) const TIMESTAMP: i8 = -1;

/// Names of our own notation.
const WORDS: [&str; 6] = ["bin", "str", "ext", "data", "time", "float"];

/// Decodes a MessagePack value to the JSON that it says, as text, members in the order in which they stand.
///
/// However a number, a text or a timestamp is encoded, it says the same. A float of 32 bits is the number that it is, with all its
/// digits. A name that stands twice stays twice.
///
/// ```
/// use rehearsal::schema::from_message_pack;
///
/// assert_eq!(from_message_pack(b"\x81\xa1n\xcd\x00\x07").unwrap(), b"{\"n\":7}");
/// ```
///
/// # Errors
///
/// [`DecodeError`] where the bytes are no whole value, go on behind it, are nested too deeply or would grow beyond every bound.
pub fn from_message_pack(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Reader::new(bytes).whole().map(|(text, _)| text)
}

/// As [`from_message_pack`], with where each value stands, in the order of the values in the text.
pub(super) fn placed(bytes: &[u8]) -> Result<(Vec<u8>, Vec<Place>), DecodeError> {
    Reader { places: Some(Vec::new()), ..Reader::new(bytes) }.whole()
}

/// Where a value stands among bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where its member begins, with the key; where it begins itself if it is none.
    pub(super) member: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) form: Form,
}

/// What a value is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What JSON has a notation for.
    Plain,
    /// An object of our own notation, for bytes, text that is no UTF-8 or an extension, whose data stands there.
    Data { start: usize, end: usize },
    /// The same for a timestamp.
    Time,
    /// The same for what is no number.
    Float,
    /// A part of that object: so many values ahead stands the object.
    Within(usize),
}

/// Decodes a value of which nobody said that it is MessagePack; none unless it can hardly be anything else: a map or an array that
/// ends exactly where the bytes end, and no text.
pub fn recognise_message_pack(bytes: &[u8]) -> Option<Vec<u8>> {
    may_be_message_pack(bytes).then(|| from_message_pack(bytes).ok())?
}

/// As [`recognise_message_pack`], with what stands in bytes, extensions and texts that are no UTF-8 as the text that it may be: nothing
/// is read from the result, it is looked through.
pub fn seen_in_message_pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let reader = Reader { shows_data: true, ..Reader::new(bytes) };
    may_be_message_pack(bytes).then(|| reader.whole().ok().map(|(text, _)| text))?
}

pub(super) fn may_be_message_pack(bytes: &[u8]) -> bool {
    let is_map_or_array = bytes.first().is_some_and(|first| matches!(first, 0x80..=0x9F | 0xDC..=0xDF));
    is_map_or_array && std::str::from_utf8(bytes).is_err()
}

struct Reader<'v> {
    rest: &'v [u8],
    /// Bytes in all.
    length: usize,
    /// Whether it is within a key, which holds no key that is itself a map or an array.
    in_key: bool,
    /// Whether data is shown as text instead of in base64.
    shows_data: bool,
    /// Where values stand, if that is asked for; of keys it is not.
    places: Option<Vec<Place>>,
}

impl<'v> Reader<'v> {
    fn new(bytes: &'v [u8]) -> Self {
        Self { rest: bytes, length: bytes.len(), in_key: false, shows_data: false, places: None }
    }

    /// Reads all of the bytes as one value.
    fn whole(mut self) -> Result<(Vec<u8>, Vec<Place>), DecodeError> {
        let mut out = Out::for_value(self.length);
        self.value(&mut out)?;
        if !self.rest.is_empty() {
            return Err(DecodeError::Trailing);
        }
        Ok((out.into_text(), self.places.unwrap_or_default()))
    }

    /// How many bytes were read.
    fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    fn value(&mut self, out: &mut Out) -> Result<(), DecodeError> {
        let start = self.at();
        let index = self.places.as_ref().map_or(0, Vec::len);
        if let Some(places) = &mut self.places {
            places.push(Place { member: start, start, end: start, form: Form::Plain });
        }
        self.value_itself(out)?;
        let end = self.at();
        if let Some(place) = self.places.as_mut().and_then(|places| places.get_mut(index)) {
            place.end = end;
        }
        Ok(())
    }

    /// Notes that the value being read is an object of our own notation, with so many values in it.
    fn note(&mut self, form: Form, within: usize) {
        let Some(places) = &mut self.places else { return };
        let Some(object) = places.last_mut() else { return };
        object.form = form;
        let object = *object;
        places.extend((1..=within).map(|behind| Place { form: Form::Within(behind), ..object }));
    }

    fn value_itself(&mut self, out: &mut Out) -> Result<(), DecodeError> {
        let marker = self.take(1)?[0];
        let width = |first: u8| 1_usize << (marker - first);
        match marker {
            0x00..=0x7F => out.raw(&marker.to_string()),
            0x80..=0x8F => self.map(usize::from(marker & 0x0F), out),
            0x90..=0x9F => self.array(usize::from(marker & 0x0F), out),
            0xA0..=0xBF => self.text(usize::from(marker & 0x1F), out),
            0xC0 => out.raw("null"),
            0xC1 => Err(DecodeError::Malformed { what: "the byte 0xc1, which stands for nothing" }),
            0xC2 => out.raw("false"),
            0xC3 => out.raw("true"),
            0xC4..=0xC6 => self.length(width(0xC4)).and_then(|length| self.binary(length, out)),
            0xC7..=0xC9 => self.length(width(0xC7)).and_then(|length| self.extension(length, out)),
            0xCA => {
                let bits = self.unsigned(4)? as u32;
                self.float(f64::from(f32::from_bits(bits)), out)
            }
            0xCB => {
                let number = f64::from_bits(self.unsigned(8)?);
                self.float(number, out)
            }
            0xCC..=0xCF => out.raw(&self.unsigned(width(0xCC))?.to_string()),
            0xD0..=0xD3 => out.raw(&self.signed(width(0xD0))?.to_string()),
            0xD4..=0xD8 => self.extension(width(0xD4), out),
            0xD9..=0xDB => self.length(width(0xD9)).and_then(|length| self.text(length, out)),
            0xDC | 0xDD => self.length(width(0xDC) * 2).and_then(|length| self.array(length, out)),
            0xDE | 0xDF => self.length(width(0xDE) * 2).and_then(|length| self.map(length, out)),
            0xE0..=0xFF => out.raw(&(marker as i8).to_string()),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'v [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn unsigned(&mut self, bytes: usize) -> Result<u64, DecodeError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, bytes: usize) -> Result<i64, DecodeError> {
        let unused = 64 - 8 * bytes as u32;
        Ok((self.unsigned(bytes)? << unused) as i64 >> unused)
    }

    fn length(&mut self, bytes: usize) -> Result<usize, DecodeError> {
        Ok(self.unsigned(bytes)? as usize)
    }

    /// Refuses a list that cannot end within the bytes, ahead of reading any of it.
    fn fits(&self, values: usize) -> Result<(), DecodeError> {
        if values > self.rest.len() { Err(DecodeError::Cut) } else { Ok(()) }
    }

    fn array(&mut self, length: usize, out: &mut Out) -> Result<(), DecodeError> {
        self.fits(length)?;
        out.open("[")?;
        for _ in 0..length {
            out.comma()?;
            self.value(out)?;
        }
        out.close("]")
    }

    fn map(&mut self, length: usize, out: &mut Out) -> Result<(), DecodeError> {
        self.fits(length.saturating_mul(2))?;
        out.open("{")?;
        for _ in 0..length {
            let member = self.at();
            let name = self.key()?;
            out.name(&name)?;
            let index = self.places.as_ref().map_or(0, Vec::len);
            self.value(out)?;
            if let Some(place) = self.places.as_mut().and_then(|places| places.get_mut(index)) {
                place.member = member;
            }
        }
        out.close("}")
    }

    /// Reads a key and says how it is written.
    fn key(&mut self) -> Result<String, DecodeError> {
        let marker = *self.rest.first().ok_or(DecodeError::Cut)?;
        if matches!(marker, 0xA0..=0xBF | 0xD9..=0xDB) {
            let start = self.rest;
            self.take(1)?;
            let length = if marker < 0xC0 { usize::from(marker & 0x1F) } else { self.length(1 << (marker - 0xD9))? };
            if let Ok(name) = std::str::from_utf8(self.take(length)?) {
                return Ok(if is_ours(name) { format!("@{name}") } else { name.to_owned() });
            }
            self.rest = start;
        }
        let is_list = matches!(marker, 0x80..=0x9F | 0xDC..=0xDF);
        if is_list && self.in_key {
            return Err(DecodeError::TooDeep);
        }
        let mut out = Out::for_value(self.rest.len());
        let within = std::mem::replace(&mut self.in_key, true);
        // A name is no value, whatever stands in it.
        let places = self.places.take();
        let said = self.value(&mut out);
        (self.in_key, self.places) = (within, places);
        said?;
        // JSON that was just written is text.
        Ok(format!("@{}", String::from_utf8_lossy(&out.into_text())))
    }

    fn text(&mut self, length: usize, out: &mut Out) -> Result<(), DecodeError> {
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => out.string(text),
            Err(_) => self.noted("str", bytes, out),
        }
    }

    fn binary(&mut self, length: usize, out: &mut Out) -> Result<(), DecodeError> {
        let bytes = self.take(length)?;
        self.noted("bin", bytes, out)
    }

    /// Writes bytes that were just read under a name of ours.
    fn noted(&mut self, word: &str, bytes: &[u8], out: &mut Out) -> Result<(), DecodeError> {
        self.note(self.data(bytes), 1);
        out.open("{")?;
        out.name(&format!("@{word}"))?;
        self.put_data(bytes, out)?;
        out.close("}")
    }

    fn data(&self, bytes: &[u8]) -> Form {
        Form::Data { start: self.at() - bytes.len(), end: self.at() }
    }

    fn put_data(&self, bytes: &[u8], out: &mut Out) -> Result<(), DecodeError> {
        if self.shows_data { out.string(&String::from_utf8_lossy(bytes)) } else { out.string(&STANDARD.encode(bytes)) }
    }

    fn float(&mut self, number: f64, out: &mut Out) -> Result<(), DecodeError> {
        if number.is_finite() {
            return out.double(number);
        }
        self.note(Form::Float, 1);
        out.open("{")?;
        out.name("@float")?;
        out.double(number)?;
        out.close("}")
    }

    fn extension(&mut self, length: usize, out: &mut Out) -> Result<(), DecodeError> {
        let kind = self.take(1)?[0] as i8;
        let data = self.take(length)?;
        out.open("{")?;
        if let Some(time) = timestamp(kind, data) {
            self.note(Form::Time, 1);
            out.name("@time")?;
            out.string(&time)?;
        } else {
            self.note(self.data(data), 2);
            out.name("@ext")?;
            out.raw(&kind.to_string())?;
            out.name("@data")?;
            self.put_data(data, out)?;
        }
        out.close("}")
    }
}

/// Reads a timestamp of 32, 64 or 96 bits; none where it is none.
fn timestamp(kind: i8, data: &[u8]) -> Option<String> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (seconds, nanoseconds) = match (kind, data.len()) {
        (TIMESTAMP, 4) => (number(data) as i64, 0),
        (TIMESTAMP, 8) => ((number(data) & 0x3_FFFF_FFFF) as i64, (number(data) >> 34) as u32),
        (TIMESTAMP, 12) => (number(&data[4..]) as i64, number(&data[..4]) as u32),
        _ => return None,
    };
    // A second has no more of them; `chrono` would take a leap second.
    let time = DateTime::from_timestamp(seconds, nanoseconds).filter(|_| nanoseconds < 1_000_000_000)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Whether a key that is text could be taken for our own notation.
fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix('@') else { return false };
    let rest = rest.trim_start_matches('@');
    WORDS.contains(&rest)
        || ["true", "false", "null"].contains(&rest)
        || rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '[' | '{'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value;

    use super::*;

    fn said(bytes: &[u8]) -> String {
        String::from_utf8(from_message_pack(bytes).unwrap()).unwrap()
    }

    #[test]
    fn each_form_says_what_the_specification_says() {
        for (bytes, json) in [
            (&b"\x00"[..], "0"),
            (b"\x7f", "127"),
            (b"\xe0", "-32"),
            (b"\xff", "-1"),
            (b"\xc0", "null"),
            (b"\xc2", "false"),
            (b"\xc3", "true"),
            (b"\xcc\xff", "255"),
            (b"\xcd\x01\x00", "256"),
            (b"\xce\xff\xff\xff\xff", "4294967295"),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
            (b"\xd0\x80", "-128"),
            (b"\xd1\x80\x00", "-32768"),
            (b"\xd2\x80\x00\x00\x00", "-2147483648"),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
            (b"\xca\x3f\x80\x00\x00", "1.0"),
            (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
            (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
            (b"\xca\x7f\xc0\x00\x00", r#"{"@float":"NaN"}"#),
            (b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", r#"{"@float":"-Infinity"}"#),
            (b"\xa0", r#""""#),
            (b"\xa2a\"", r#""a\"""#),
            (b"\xd9\x02\xc3\xa9", r#""é""#),
            (b"\xda\x00\x01a", r#""a""#),
            (b"\xdb\x00\x00\x00\x01a", r#""a""#),
            (b"\xa1\xff", r#"{"@str":"/w=="}"#),
            (b"\xc4\x03\x00\x01\x02", r#"{"@bin":"AAEC"}"#),
            (b"\xc5\x00\x00", r#"{"@bin":""}"#),
            (b"\xc6\x00\x00\x00\x01\x00", r#"{"@bin":"AA=="}"#),
            (b"\xd4\x05\x00", r#"{"@ext":5,"@data":"AA=="}"#),
            (b"\xc7\x03\x80\x00\x01\x02", r#"{"@ext":-128,"@data":"AAEC"}"#),
            (b"\x90", "[]"),
            (b"\x93\x01\xa1a\x91\xc0", r#"[1,"a",[null]]"#),
            (b"\xdc\x00\x01\x01", "[1]"),
            (b"\xdd\x00\x00\x00\x01\x01", "[1]"),
            (b"\x80", "{}"),
            (b"\x82\xa1b\x01\xa1a\x02", r#"{"b":1,"a":2}"#),
            (b"\xde\x00\x01\xa1a\x02", r#"{"a":2}"#),
            (b"\xdf\x00\x00\x00\x01\xa1a\x02", r#"{"a":2}"#),
            // A name that stands twice stays twice.
            (b"\x82\xa1a\x01\xa1a\x02", r#"{"a":1,"a":2}"#),
        ] {
            assert_eq!(said(bytes), json, "{bytes:x?}");
        }
    }

    #[test]
    fn timestamps_say_the_same_in_each_of_their_three_forms() {
        for (bytes, time) in [
            (&b"\xd6\xff\x50\xe7\x6d\x00"[..], "2013-01-05T00:00:00Z"),
            (b"\xd7\xff\x00\x00\x00\x00\x50\xe7\x6d\x00", "2013-01-05T00:00:00Z"),
            (b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x50\xe7\x6d\x00", "2013-01-05T00:00:00Z"),
            (b"\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xff", "1969-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(said(bytes), format!(r#"{{"@time":"{time}"}}"#), "{bytes:x?}");
        }
        // More nanoseconds than a second has, and a year that no calendar holds, are no time.
        for bytes in [
            &b"\xc7\x0c\xff\x3b\x9a\xca\x00\x00\x00\x00\x00\x00\x00\x00\x00"[..],
            b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\xd4\xff\x00",
        ] {
            assert!(said(bytes).starts_with(r#"{"@ext":-1,"#), "{bytes:x?}");
        }
    }

    #[test]
    fn keys_that_are_no_text_are_told_from_texts_that_look_like_them() {
        for (key, name) in [
            (&b"\x01"[..], "@1"),
            (b"\xff", "@-1"),
            (b"\xc3", "@true"),
            (b"\xc0", "@null"),
            (b"\x92\x01\x02", "@[1,2]"),
            (b"\xc4\x01\x00", r#"@{\"@bin\":\"AA==\"}"#),
            (b"\xa1\xff", r#"@{\"@str\":\"/w==\"}"#),
            (b"\xa11", "1"),
            (b"\xa2@1", "@@1"),
            (b"\xa3@@1", "@@@1"),
            (b"\xa5@true", "@@true"),
            (b"\xa4@bin", "@@bin"),
            (b"\xa5@time", "@@time"),
            (b"\xaa@timestamp", "@timestamp"),
            (b"\xa1@", "@"),
            (b"\xa3a@1", "a@1"),
        ] {
            let bytes = [&b"\x81"[..], key, b"\x07"].concat();
            assert_eq!(said(&bytes), format!(r#"{{"{name}":7}}"#));
        }
    }

    #[test]
    fn what_is_no_whole_value_is_refused() {
        let deep = |levels: usize, inner: &[u8]| [vec![0x91; levels], inner.to_vec()].concat();
        let in_keys: Vec<u8> = [0x81].repeat(40);
        for (bytes, error) in [
            (&b""[..], DecodeError::Cut),
            (b"\x81\xa1a", DecodeError::Cut),
            (b"\xdd\xff\xff\xff\xff\x01", DecodeError::Cut),
            (b"\xdf\xff\xff\xff\xff\x01", DecodeError::Cut),
            (b"\xdb\xff\xff\xff\xff\x01", DecodeError::Cut),
            (b"\xc9\xff\xff\xff\xff\x01", DecodeError::Cut),
            (b"\xc1", DecodeError::Malformed { what: "the byte 0xc1, which stands for nothing" }),
            (b"\x01\x01", DecodeError::Trailing),
            (&deep(101, b"\x01"), DecodeError::TooDeep),
            (&in_keys, DecodeError::TooDeep),
        ] {
            assert_eq!(from_message_pack(bytes), Err(error), "{bytes:x?}");
        }
        assert!(from_message_pack(&deep(100, b"\x01")).is_ok());
    }

    #[test]
    fn only_whole_maps_and_arrays_that_are_no_text_are_recognised() {
        for (bytes, is) in [
            (&b"\x81\xa1a\x01"[..], true),
            (b"\x90", true),
            (b"\xdc\x00\x01\x01", true),
            (b"\x01", false),
            (b"\xa1a", false),
            (b"\x81\xa1a\x01\x00", false),
            (b"\x81\xa1a", false),
            (b"{\"a\":1}", false),
            (b"", false),
            (b"\xc3\xa9", false),
        ] {
            assert_eq!(recognise_message_pack(bytes).is_some(), is, "{bytes:x?}");
        }
        // An array of 32,944 elements and a text in one: the text it is.
        let text = "\u{730}".repeat(1 + 32_944 / 2);
        assert!(text.as_bytes()[0] == 0xDC && recognise_message_pack(text.as_bytes()).is_none());
    }

    /// What another implementation reads, in our notation.
    fn notation(value: &Value) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        match value {
            Value::Nil => "null".to_owned(),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::F32(number) if number.is_finite() => serde_json::json!(f64::from(*number)).to_string(),
            Value::F64(number) if number.is_finite() => serde_json::json!(number).to_string(),
            Value::F32(number) => format!(r#"{{"@float":"{}"}}"#, number.to_string().replace("inf", "Infinity")),
            Value::F64(number) => format!(r#"{{"@float":"{}"}}"#, number.to_string().replace("inf", "Infinity")),
            Value::String(said) => match said.as_str() {
                Some(said) => text(said),
                None => format!(r#"{{"@str":"{}"}}"#, STANDARD.encode(said.as_bytes())),
            },
            Value::Binary(bytes) => format!(r#"{{"@bin":"{}"}}"#, STANDARD.encode(bytes)),
            Value::Ext(kind, data) => match timestamp(*kind, data) {
                Some(time) => format!(r#"{{"@time":"{time}"}}"#),
                None => format!(r#"{{"@ext":{kind},"@data":"{}"}}"#, STANDARD.encode(data)),
            },
            Value::Array(values) => format!("[{}]", values.iter().map(notation).collect::<Vec<_>>().join(",")),
            Value::Map(members) => {
                let name = |key: &Value| match key.as_str() {
                    Some(name) if is_ours(name) => text(&format!("@{name}")),
                    Some(name) => text(name),
                    None => text(&format!("@{}", notation(key))),
                };
                let members = members.iter().map(|(key, value)| format!("{}:{}", name(key), notation(value)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn packed(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        bytes
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-40..300_i64).prop_map(Value::from),
            any::<f32>().prop_map(Value::F32),
            any::<f64>().prop_map(Value::F64),
            "@{0,2}(bin|1|true|[a-z]{0,3}|é)".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Binary),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..14)).prop_map(|(kind, data)| Value::Ext(kind, data)),
            any::<u32>().prop_map(|seconds| Value::Ext(-1, seconds.to_be_bytes().to_vec())),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let key = prop_oneof![3 => "[a-z@]{0,40}".prop_map(Value::from), 1 => (0..9).prop_map(Value::from)];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((key, inner), 0..5).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_another_implementation_wrote_is_read_as_it_was_meant(value in values()) {
            let bytes = packed(&value);
            prop_assert_eq!(said(&bytes), notation(&value));
            let read = serde_json::from_slice::<serde::de::IgnoredAny>(said(&bytes).as_bytes());
            prop_assert!(read.is_ok());
            for cut in 0..bytes.len() {
                prop_assert!(from_message_pack(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_as_another_implementation_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut rest = bytes.as_slice();
            let theirs = rmpv::decode::read_value(&mut rest).ok().filter(|_| rest.is_empty());
            match from_message_pack(&bytes) {
                Ok(said) => {
                    let theirs = theirs.map(|value| notation(&value));
                    prop_assert_eq!(Some(String::from_utf8(said).unwrap()), theirs);
                }
                Err(error) => prop_assert!(theirs.is_none() || error == DecodeError::TooDeep, "{error}"),
            }
        }
    }
}
