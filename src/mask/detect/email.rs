//! E-mail addresses as they are in use: plain letters ahead of the `@`, behind it a domain with a top level of letters, of
//! whatever script.

use std::ops::Range;

/// What `@` and these endings make is the name of a file.
const FILES: [&str; 8] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"];

/// Bytes of an address that is found whatever stands around it.
const AMONG_BYTES_MIN: usize = 16;

/// Bytes ahead of a shorter one, and behind it, that must be text.
const AROUND: usize = 24;

/// Longest domain.
const DOMAIN_MAX: usize = 254;

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
    let found = start..at + 1 + domain(&text[at + 1..])?;
    // Random bytes make `x@y.zz` every few megabytes, and one of four letters more some two hundred times as rarely.
    (found.len() >= AMONG_BYTES_MIN || is_among_text(text, &found)).then_some(found)
}

/// Whether what stands right around is text, too: compressed or encrypted bytes are hardly ever UTF-8 for so long.
fn is_among_text(text: &[u8], found: &Range<usize>) -> bool {
    let ahead = &text[found.start.saturating_sub(AROUND)..found.start];
    // The letter that the stretch begins in may be cut.
    let cut = ahead.iter().take(3).take_while(|byte| (0x80..0xC0).contains(*byte)).count();
    let behind = &text[found.end..text.len().min(found.end + AROUND)];
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
    std::str::from_utf8(&ahead[cut..]).is_ok() && is_text(behind)
}

/// Length of the domain that `text` begins with.
fn domain(text: &[u8]) -> Option<usize> {
    let text = &text[..text.len().min(DOMAIN_MAX)];
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let ascii = text.iter().take_while(|byte| letter(byte)).count();
    // Letters of any script, as people write what computers spell `xn--`. Where there are no blanks between words, those
    // that follow an address are none of it.
    let wide = text.get(ascii).is_some_and(|byte| !byte.is_ascii()).then(|| wide(text)).flatten();
    wide.or_else(|| labelled(text[..ascii].utf8_chunks().next()?.valid()))
}

/// Length of a domain with letters of any script.
fn wide(text: &[u8]) -> Option<usize> {
    let text = text.utf8_chunks().next()?.valid();
    // The sign of an umlaut may stand behind its letter.
    let letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '\u{300}'..='\u{36f}');
    labelled(&text[..text.find(|next| !letter(next)).unwrap_or(text.len())])
}

/// Length of a domain without the full stop behind it; none where it is none.
fn labelled(domain: &str) -> Option<usize> {
    // A full stop behind it ends the sentence, not the address.
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let (mut labels, mut top) = (0, "");
    for label in domain.split('.') {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            return None;
        }
        (labels, top) = (labels + 1, label);
    }
    let ascii = (2..=24).contains(&top.len()) && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_top =
        ascii || top.chars().nth(1).is_some() && top.chars().all(|letter| !letter.is_ascii() && letter.is_alphabetic());
    let is_file = FILES.iter().any(|ending| ending.eq_ignore_ascii_case(top));
    (labels >= 2 && is_top && !is_file).then_some(domain.len())
}
