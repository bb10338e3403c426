//! JSON Web Tokens (RFC 7519): three parts in base64url, or five where they are encrypted (RFC 7516), of which the first is JSON that
//! names its algorithm.

use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::ends_word;

/// Longest part of a token.
const PART_MAX: usize = 64 << 10;

/// Longest header that is looked into.
const HEADER_MAX: usize = 4_096;

/// Finds a token whose first letters, `eyJ` for `{"`, end at `at`.
pub(super) fn around(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_sub(2).filter(|&start| text[start..at] == *b"ey")?;
    // What lies inside of other base64 is no beginning.
    let inside =
        start > 0 && (text[start - 1].is_ascii_alphanumeric() || matches!(text[start - 1], b'-' | b'_' | b'.'));
    if inside && !super::begins_word(text, start) {
        return None;
    }
    let part = |from: usize| {
        let length = text[from..]
            .iter()
            .take(PART_MAX)
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        from + length.count()
    };
    let next = |end: usize| (text.get(end) == Some(&b'.')).then(|| part(end + 1));
    let header_end = part(start);
    let second_end = next(header_end)?;
    let third_end = next(second_end)?;
    let fifth_end = next(third_end).and_then(next);
    let end = fifth_end.unwrap_or(third_end);
    // A key that both sides know is no part of what is encrypted.
    let lacks_claims = fifth_end.is_none() && second_end == header_end + 1;
    if lacks_claims || header_end - start > HEADER_MAX || !ends_word(text, end) {
        return None;
    }
    let header = BASE64_URL_SAFE_NO_PAD.decode(&text[start..header_end]).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    let names = |what: &str| header.get(what).is_some_and(Value::is_string);
    (names("alg") && (fifth_end.is_none() || names("enc"))).then_some(start..end)
}
