//! Telephone numbers: E.164 with its `+`, and national forms that nothing else is written like.
//!
//! Digits alone are never a telephone number: they are the ids, counts and times of most streams.

use std::ops::Range;

use super::{digits_at, ends_word};

/// Codes of countries of two digits; all others have three, and 1 and 7 one (ITU-T E.164).
const TWO_DIGITS: [u32; 43] = [
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58, 60, 61, 62,
    63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95,
];

/// Most digits of an international number.
const DIGITS_MAX: usize = 15;

/// Most groups of digits that one number has.
const GROUPS_MAX: usize = 5;

/// Finds a number that begins at `at` with `+`, `(` or a digit.
pub(super) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let end = match text[at] {
        b'+' => international(text, at)?,
        b'0' => grouped(text, at)?,
        _ => north_american(text, at)?,
    };
    ends_word(text, end).then_some(at..end)
}

/// `+` and 8 to 15 digits, in groups or not, behind the code of a country.
fn international(text: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| text[before]);
    // `1e+10` and `a+15551234567` are sums and names, the letter of an escape is none.
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) && !super::begins_word(text, at) {
        return None;
    }
    let (mut digits, mut count, mut end, mut next) = ([0; DIGITS_MAX], 0, at + 1, at + 1);
    while let Some(&byte) = text.get(next) {
        match byte {
            b'0'..=b'9' => {
                *digits.get_mut(count)? = byte - b'0';
                (count, end) = (count + 1, next + 1);
            }
            // One sign between groups, or the brackets around an area.
            b' ' | b'-' | b'.' | b'(' | b')' if count > 0 && next - end < 2 => {}
            _ => break,
        }
        next += 1;
    }
    if count < 8 {
        return None;
    }
    let first_two = u32::from(digits[0]) * 10 + u32::from(digits[1]);
    let known = match digits[0] {
        0 => false,
        1 => count == 11 && digits[1] >= 2 && digits[4] >= 2,
        7 => count == 11,
        _ => {
            TWO_DIGITS.contains(&first_two)
                || matches!(first_two, 21..=26 | 29 | 35 | 37 | 38 | 42 | 50 | 59 | 67..=69 | 80 | 85 | 88 | 96..=99)
        }
    };
    known.then_some(end)
}

/// `(212) 555-0123` and `212-555-0123`: area and exchange begin with 2 to 9.
fn north_american(text: &[u8], at: usize) -> Option<usize> {
    let bracket = text[at] == b'(';
    let area = at + usize::from(bracket);
    let group =
        |from: usize, length: usize| (from < text.len() && digits_at(text, from) == length).then_some(from + length);
    let sign = |from: usize, sign: u8| (text.get(from) == Some(&sign)).then_some(from + 1);
    let mut next = group(area, 3)?;
    next = if bracket {
        let behind = sign(next, b')')?;
        sign(behind, b' ').unwrap_or(behind)
    } else {
        sign(next, b'-')?
    };
    let exchange = next;
    next = group(exchange, 3)?;
    let end = group(sign(next, b'-').or_else(|| sign(next, b' ').filter(|_| bracket))?, 4)?;
    let begins = |from: usize| (b'2'..=b'9').contains(&text[from]);
    // A further group belongs to something else.
    let goes_on = text.get(end) == Some(&b'-') && text.get(end + 1).is_some_and(u8::is_ascii_digit);
    (begins(area) && begins(exchange) && !goes_on).then_some(end)
}

/// `030 12345678`, `020 7946 0958`, `06 12 34 56 78`: a zero, an area, and groups of 9 to 12 digits in all.
fn grouped(text: &[u8], at: usize) -> Option<usize> {
    let area = digits_at(text, at);
    if !(2..=5).contains(&area) || text[at + 1] == b'0' {
        return None;
    }
    let separator = *text.get(at + area).filter(|byte| matches!(byte, b' ' | b'/' | b'.'))?;
    // One more than there may be tells too many.
    let (mut groups, mut count, mut end) = ([area; GROUPS_MAX + 1], 1, at + area);
    while count < groups.len() {
        // An area may be parted by a stroke, and what follows by blanks.
        let parted =
            text.get(end) == Some(&separator) || count > 1 && separator == b'/' && text.get(end) == Some(&b' ');
        let length = if parted && end + 1 < text.len() { digits_at(text, end + 1) } else { 0 };
        if length == 0 {
            break;
        }
        groups[count] = length;
        (count, end) = (count + 1, end + 1 + length);
    }
    let groups = &groups[..count];
    let pairs = groups.len() == 5 && groups.iter().all(|length| *length == 2);
    let count: usize = groups.iter().sum();
    let long = separator != b'.'
        && (2..=4).contains(&groups.len())
        && groups[1..].iter().all(|length| (3..=9).contains(length))
        && (10..=12).contains(&count)
        && area + 4 <= count;
    (pairs || long).then_some(end)
}
