//! E-mail addresses as they are in use: plain letters ahead of the `@`, behind it a domain with a top level of letters.

use std::ops::Range;

/// What `@` and these endings make is the name of a file.
const FILES: [&str; 8] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"];

/// Finds an address around the `@` at `at`.
pub(super) fn around(text: &[u8], at: usize) -> Option<Range<usize>> {
    let local = text[..at]
        .iter()
        .rev()
        .take(65)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-'))
        .count();
    let mut start = at - local;
    // The letter of an escape ahead of it, as in `\n`, is none of its own.
    if start > 0 && text[start - 1] == b'\\' && matches!(text.get(start), Some(b'n' | b't' | b'r')) {
        start += 1;
    }
    let local = &text[start..at];
    if local.is_empty() || local.len() > 64 || local.starts_with(b".") || local.ends_with(b".") || local == b"git" {
        return None;
    }
    // Who logs in to a host is no address.
    if text[..start].ends_with(b"//") {
        return None;
    }
    let domain = &text[at + 1..];
    let length =
        domain.iter().take(254).take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')).count();
    let domain = &domain[..length];
    // A full stop behind it ends the sentence, not the address.
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let (mut labels, mut top) = (0, &b""[..]);
    for label in domain.split(|byte| *byte == b'.') {
        if label.is_empty() || label.len() > 63 || label.starts_with(b"-") || label.ends_with(b"-") {
            return None;
        }
        (labels, top) = (labels + 1, label);
    }
    let is_top = (2..=24).contains(&top.len()) && top.iter().all(u8::is_ascii_alphabetic);
    let is_file = FILES.iter().any(|ending| ending.as_bytes().eq_ignore_ascii_case(top));
    (labels >= 2 && is_top && !is_file).then_some(start..at + 1 + domain.len())
}
