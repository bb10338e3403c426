//! Keys of clouds and code hosts by their known beginnings, and private keys in their blocks.

use std::ops::Range;

use super::ends_word;

/// Longest key; a bound, so that no text makes the look at it slow.
const RUN_MAX: usize = 256;

/// Finds a key that begins with a capital at `at`: of Amazon (`AKIA…`, `ASIA…`) or Google (`AIza…`).
pub(super) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = &text[at..];
    if rest.starts_with(b"AKIA") || rest.starts_with(b"ASIA") {
        return exactly(text, at, at + 4, 16, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    }
    if rest.starts_with(b"AIza") {
        return exactly(text, at, at + 4, 35, is_word);
    }
    None
}

/// Whether a second look at the sign at `at` is worth it: names and dates are full of such signs.
#[inline]
pub(super) fn may_be_around(text: &[u8], at: usize) -> bool {
    let before = |distance: usize| at.checked_sub(distance).map(|at| text[at]);
    match text[at] {
        b'_' => before(2) == Some(b'h') || before(1) == Some(b't'),
        b'=' => before(1) == Some(b'y'),
        _ => before(4) == Some(b'x') || text.get(at + 1) == Some(&b'-'),
    }
}

/// Finds a key around the sign at `at`: of GitHub (`ghp_…`, `github_pat_…`), Slack (`xoxb-…`), Azure (`AccountKey=…`), or a
/// private key (`-----BEGIN … PRIVATE KEY-----`).
pub(super) fn around(text: &[u8], at: usize) -> Option<Range<usize>> {
    match text[at] {
        b'_' => github(text, at),
        b'=' => azure(text, at),
        _ if text[at..].starts_with(b"-----BEGIN ") => private_key(text, at),
        _ => slack(text, at),
    }
}

fn github(text: &[u8], at: usize) -> Option<Range<usize>> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric();
    if text[..at].ends_with(b"github_pat") {
        let end = run(text, at + 1, is_word);
        return (end - at > 40).then_some(at - 10..end);
    }
    let start = at.checked_sub(3)?;
    let known = matches!(&text[start..at], b"ghp" | b"gho" | b"ghu" | b"ghs" | b"ghr");
    let end = run(text, at + 1, letters);
    (known && end - at > 36 && ends_word(text, end)).then_some(start..end)
}

fn slack(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_sub(4)?;
    let known = text[start..].starts_with(b"xox") && matches!(text[at - 1], b'a' | b'b' | b'p' | b'r' | b's' | b'e');
    let end = run(text, at + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let digits = text[at + 1..end].iter().filter(|byte| byte.is_ascii_digit()).count();
    (known && end - at > 20 && digits >= 6).then_some(start..end)
}

fn azure(text: &[u8], at: usize) -> Option<Range<usize>> {
    let named = text[..at].ends_with(b"AccountKey") || text[..at].ends_with(b"SharedAccessKey");
    let end = run(text, at + 1, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    (named && end - at > 40).then_some(at + 1..end)
}

fn private_key(text: &[u8], at: usize) -> Option<Range<usize>> {
    const END: &[u8] = b"PRIVATE KEY-----";
    let find = |from: usize, within: usize| {
        let stretch = &text[from..text.len().min(from + within)];
        stretch.windows(END.len()).position(|window| window == END).map(|place| from + place + END.len())
    };
    let head = find(at, 64)?;
    // Where its end is missing, all that follows may be the key.
    Some(at..find(head, 1 << 16).unwrap_or(text.len()))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// End of the letters from `from` that are `allowed`.
fn run(text: &[u8], from: usize, allowed: impl Fn(u8) -> bool) -> usize {
    from + text[from..].iter().take(RUN_MAX).take_while(|byte| allowed(**byte)).count()
}

fn exactly(text: &[u8], start: usize, from: usize, count: usize, allowed: impl Fn(u8) -> bool) -> Option<Range<usize>> {
    let end = run(text, from, allowed);
    (end - from == count && ends_word(text, end)).then_some(start..end)
}
