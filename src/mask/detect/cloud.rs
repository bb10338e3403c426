//! Keys of clouds and code hosts by their known beginnings, and private keys in their blocks.

use std::ops::Range;

use super::{begins_word, ends_word};

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
        b'_' => {
            before(2) == Some(b'h') || before(1) == Some(b't') || (before(1), before(5)) == (Some(b'e'), Some(b'_'))
        }
        b'=' => matches!(before(1), Some(b'y' | b'Y' | b'g')),
        b':' | b'"' | b' ' | b'\\' => matches!(before(1), Some(b'y' | b'Y')) && matches!(before(3), Some(b'k' | b'K')),
        _ => {
            before(4) == Some(b'x')
                || before(1) == Some(b'X')
                || (before(1), before(5)) == (Some(b't'), Some(b'g'))
                || text.get(at + 1) == Some(&b'-')
        }
    }
}

/// Finds a key around the sign at `at`: of GitHub (`ghp_…`, `github_pat_…`), GitLab (`glpat-…`), Slack (`xoxb-…`), Stripe
/// (`sk_live_…`), Google (`GOCSPX-…`), Azure (`AccountKey=…`, `sig=…` of a shared access signature), Amazon behind its name
/// (`secretAccessKey`), or a private key (`-----BEGIN … PRIVATE KEY-----`).
pub(super) fn around(text: &[u8], at: usize) -> Option<Range<usize>> {
    match text[at] {
        b'_' if text[..at].ends_with(b"k_live") => stripe(text, at),
        b'_' => github(text, at),
        b'=' | b':' | b'"' | b' ' | b'\\' if behind_name(text, at).is_some() => behind_name(text, at),
        b'=' => azure(text, at).or_else(|| signature(text, at)),
        b':' | b'"' | b' ' | b'\\' => None,
        _ if text[at..].starts_with(b"-----BEGIN ") => private_key(text, at),
        _ if text[..at].ends_with(b"glpat") => word_behind(text, at, 5, 20),
        _ if text[..at].ends_with(b"GOCSPX") => word_behind(text, at, 6, 28),
        _ => slack(text, at),
    }
}

/// A key whose name takes `name` letters ahead of the sign at `at`, with at least `least` letters behind it.
fn word_behind(text: &[u8], at: usize, name: usize, least: usize) -> Option<Range<usize>> {
    let end = run(text, at + 1, is_word);
    (begins_word(text, at - name) && end - at > least && ends_word(text, end)).then_some(at - name..end)
}

fn stripe(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_sub(7)?;
    let end = run(text, at + 1, |byte| byte.is_ascii_alphanumeric());
    let known = matches!(text[start], b's' | b'r') && begins_word(text, start);
    (known && end - at > 16 && ends_word(text, end)).then_some(start..end)
}

/// The secret half of Amazon's keys: forty letters that nothing but the name ahead of them tells from others.
fn behind_name(text: &[u8], at: usize) -> Option<Range<usize>> {
    let named = ["secretaccesskey", "secret_access_key", "secret-access-key"].iter().any(|name| {
        at.checked_sub(name.len()).is_some_and(|start| text[start..at].eq_ignore_ascii_case(name.as_bytes()))
    });
    if !named {
        return None;
    }
    let mut start = quotation(text, at);
    start += blank(text, start);
    let assigned = text[start..].starts_with(b"=") || text[start..].starts_with(b":");
    start += usize::from(assigned);
    start += usize::from(text[start..].starts_with(b">"));
    start = quotation(text, start + blank(text, start));
    if !assigned {
        return None;
    }
    exactly(text, start, start, 40, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Place behind a quotation mark at `at`, whatever escapes it, where there is one.
fn quotation(text: &[u8], at: usize) -> usize {
    let escapes = text[at..].iter().take(8).take_while(|byte| **byte == b'\\').count();
    match text.get(at + escapes) {
        Some(b'"' | b'\'') => at + escapes + 1,
        _ => at,
    }
}

/// Number of spaces at `at`, at most a few.
fn blank(text: &[u8], at: usize) -> usize {
    text.get(at..).unwrap_or_default().iter().take(8).take_while(|byte| **byte == b' ').count()
}

/// What signs a shared access signature: 32 bytes in base64, with the escapes of an address.
fn signature(text: &[u8], at: usize) -> Option<Range<usize>> {
    let named = text[..at].ends_with(b"sig") && begins_parameter(text, at - 3);
    let end = run(text, at + 1, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'+' | b'/' | b'='));
    let long = (44..=80).contains(&(end - at - 1));
    let whole = text[..end].ends_with(b"=") || text[..end].to_ascii_lowercase().ends_with(b"%3d");
    (named && long && whole).then_some(at + 1..end)
}

fn begins_parameter(text: &[u8], at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| !is_word(text[before]))
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
    if from > text.len() {
        return None;
    }
    let end = run(text, from, allowed);
    (end - from == count && ends_word(text, end)).then_some(start..end)
}
