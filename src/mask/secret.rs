//! The key of a policy: read from the environment or a file, used, never shown.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Fewest bytes of a key: as many as HMAC-SHA-256 gives.
const BYTES_MIN: usize = 32;

/// Fewest letters of a key that is text: what 32 bytes take in base64 without its padding.
const LETTERS_MIN: usize = 43;

/// Fewest different bytes; 32 bytes drawn at random, in whatever spelling, never have fewer.
const DIFFERENT_MIN: usize = 8;

/// Digits of a token that is a number, behind its leading 1.
const TOKEN_NUMBERS: u64 = 1_000_000_000_000_000;

/// Keyed functions of values. Whoever has the key can try values until one has a given token; whoever has not learns only which
/// values are the same.
#[derive(Clone)]
pub struct MaskKey(Hmac<Sha256>);

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(…)")
    }
}

impl MaskKey {
    /// Takes `bytes` as a key; white space around them does not count.
    ///
    /// # Errors
    ///
    /// Why they are too few or too much alike to keep anything secret; never what they are.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.trim_ascii();
        let text = bytes.iter().all(u8::is_ascii_graphic);
        let (least, unit) = if text { (LETTERS_MIN, "letters") } else { (BYTES_MIN, "bytes") };
        if bytes.len() < least {
            return Err(format!("the key is too short to keep anything secret: it needs at least {least} {unit}"));
        }
        if bytes.iter().collect::<BTreeSet<_>>().len() < DIFFERENT_MIN {
            return Err("the key repeats a few bytes, and can be guessed".to_owned());
        }
        // An HMAC takes a key of any length.
        Hmac::new_from_slice(bytes).map(Self).map_err(|_| "the key cannot be used".to_owned())
    }

    /// Reads the key from the environment variable `name`.
    pub(super) fn of_variable(name: &str) -> Result<Self, String> {
        match std::env::var_os(name) {
            Some(value) => Self::new(value.as_encoded_bytes()),
            None if Self::is_variable(name) => {
                Err(format!("the variable `{name}`, which is to hold the key, is not set"))
            }
            None => Err("this names no variable that is set; it is not shown, as it may be the key itself".to_owned()),
        }
    }

    /// Reads the key from a file.
    pub(super) fn of_file(path: &Path) -> Result<Self, String> {
        let shown = |error| format!("could not read the key in {}: {error}", Self::hidden(&path.display().to_string()));
        Self::new(&fs::read(path).map_err(shown)?)
    }

    /// Whether `name` is spelled as people spell names of variables, and too short to be a key.
    pub fn is_variable(name: &str) -> bool {
        let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        name.len() < LETTERS_MIN && name.bytes().all(letter) && !name.starts_with(|first: char| first.is_ascii_digit())
    }

    /// Writes `…` for every word of `text` that could be used as a key.
    pub fn hidden(text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let goes_on = |letter: char| letter.is_ascii_alphanumeric() || "+/=_-".contains(letter);
        for part in text.split_inclusive(|letter| !goes_on(letter)) {
            let word = part.trim_end_matches(|letter| !goes_on(letter));
            shown.push_str(if Self::new(word.as_bytes()).is_ok() { "…" } else { word });
            shown.push_str(&part[word.len()..]);
        }
        shown
    }

    /// Tells two keys apart, so that recordings with the same one are known to join. Says nothing of the key: it is an HMAC of a
    /// fixed text, as every token is one of a value.
    pub fn fingerprint(&self) -> String {
        let mut text = String::with_capacity(16);
        push_hex(&mut text, &self.mac(Purpose::Fingerprint, b"").0[..8]);
        text
    }

    /// Keyed function of `content`. Each purpose has values of its own: a token says nothing of the days by which its value is
    /// shifted.
    pub(super) fn mac(&self, purpose: Purpose, content: &[u8]) -> Mac {
        let mut mac = self.0.clone();
        mac.update(purpose.text().as_bytes());
        mac.update(&[0]);
        mac.update(content);
        Mac(mac.finalize().into_bytes().into())
    }
}

/// What a keyed function is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Token,
    Number,
    Shift,
    Fingerprint,
}

impl Purpose {
    fn text(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Number => "number",
            Self::Shift => "shift",
            Self::Fingerprint => "fingerprint",
        }
    }
}

/// The HMAC-SHA-256 of a purpose, a zero and a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mac([u8; 32]);

impl Mac {
    /// As a token: `tok_` and the first 128 bits in 32 hexadecimal digits.
    pub(super) fn token(self) -> String {
        let mut token = String::with_capacity(36);
        token.push_str("tok_");
        push_hex(&mut token, &self.0[..16]);
        token
    }

    /// As a token that is a whole number: sixteen digits, the first of them 1, so that every reader of JSON holds it exactly and
    /// nobody takes it for the number of a card.
    pub(super) fn number_token(self) -> String {
        format!("1{:015}", self.number() % TOKEN_NUMBERS)
    }

    /// As days by which dates are shifted: from 1 to `days_max`, back or forth.
    pub(super) fn shift_days(self, days_max: i64) -> i64 {
        let draw = self.number() % (2 * days_max.unsigned_abs());
        let days = (draw / 2) as i64 + 1;
        if draw.is_multiple_of(2) { days } else { -days }
    }

    fn number(self) -> u64 {
        self.0[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl MaskKey {
        pub(in super::super) fn token(&self, content: &[u8]) -> String {
            self.mac(Purpose::Token, content).token()
        }

        fn number_token(&self, content: &[u8]) -> String {
            self.mac(Purpose::Number, content).number_token()
        }

        fn shift_days(&self, entity: &[u8], days_max: i64) -> i64 {
            self.mac(Purpose::Shift, entity).shift_days(days_max)
        }
    }

    const TEXT: &[u8] = b"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

    #[test]
    fn a_key_that_can_be_guessed_is_refused_without_being_shown() {
        for bytes in [&b""[..], b"hunter2", b"correct-horse-battery-staple", &[b'a'; 100], &[7; 32], &TEXT[..42]] {
            let refused = MaskKey::new(bytes).unwrap_err();
            assert!(bytes.is_empty() || !refused.contains(&*String::from_utf8_lossy(bytes)), "{refused}");
        }
        let raw: Vec<u8> = (0..32).map(|at| at * 7).collect();
        for bytes in [TEXT, &TEXT[..43], &raw] {
            assert!(MaskKey::new(bytes).is_ok());
        }
        assert_eq!(format!("{:?}", MaskKey::new(TEXT).unwrap()), "MaskKey(…)");
    }

    #[test]
    fn a_key_that_stands_where_its_place_is_to_stand_is_not_shown() {
        let [text, base64] = [std::str::from_utf8(TEXT).unwrap(), "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83v/jRWeJA="];
        for key in [text, &text[1..], &text.to_uppercase(), base64, "hunter2", "a b", "0A", ""] {
            let refused = MaskKey::of_variable(key).unwrap_err();
            assert!(key.is_empty() || !refused.contains(key), "{refused}");
        }
        assert!(MaskKey::of_variable("REHEARSAL_NOBODY").unwrap_err().contains("`REHEARSAL_NOBODY`"));
        for key in [text, base64] {
            let refused = MaskKey::of_file(&Path::new("/no/such.folder").join(key)).unwrap_err();
            assert!(!refused.contains(&key[1..]) && refused.contains("/no/such.…"), "{refused}");
        }
        assert_eq!(MaskKey::hidden(&format!("a = '{text}', b\n")), "a = '…', b\n");
    }

    #[test]
    fn tokens_are_hmac_sha_256_of_what_they_stand_for() {
        let key = MaskKey::new(TEXT).unwrap();
        // printf 'token\0jo@example.org' | openssl dgst -sha256 -hmac "$TEXT"
        assert_eq!(key.token(b"jo@example.org"), "tok_01e0badef65c05fdbe1a648f810876a3");
        assert_eq!(key.token(b"x"), MaskKey::new(&[TEXT, b"\n"].concat()).unwrap().token(b"x"));
        assert_ne!(key.token(b"x"), MaskKey::new(&TEXT[..60]).unwrap().token(b"x"));
        assert_eq!(key.fingerprint().len(), 16);
    }

    #[test]
    fn number_tokens_have_sixteen_digits_that_every_reader_holds() {
        let key = MaskKey::new(TEXT).unwrap();
        for content in 0..200 {
            let token = key.number_token(content.to_string().as_bytes());
            assert!(token.len() == 16 && token.starts_with('1'), "{token}");
            assert!(token.parse::<u64>().unwrap() < 1 << 53);
        }
    }

    #[test]
    fn shifts_reach_every_day_of_their_span_but_none_at_all() {
        let key = MaskKey::new(TEXT).unwrap();
        let days: BTreeSet<i64> = (0..500).map(|at: i32| key.shift_days(&at.to_le_bytes(), 3)).collect();
        assert_eq!(days, BTreeSet::from([-3, -2, -1, 1, 2, 3]));
    }
}
