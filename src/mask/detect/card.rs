//! Numbers of payment cards: 13 to 19 digits, a known beginning of the right length, and Luhn's check digit (ISO/IEC 7812-1).

use std::ops::Range;

use super::{digits_at, ends_word};

/// How numbers are printed in groups: of sixteen digits, of American Express, of Diners Club, of nineteen digits.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3]];

/// Longest name ahead of a number that is looked at.
const NAME_MAX: usize = 32;

/// Words that say in a name that a card's number follows; so does any that begins with `card`.
const NAMES: [&str; 10] =
    ["amex", "cc", "ccn", "ccnum", "creditcard", "debitcard", "maestro", "mastercard", "pan", "visa"];

/// Finds a number whose first group of digits, `run` of them, stands at `at`.
pub(super) fn at(text: &[u8], at: usize, run: usize) -> Option<Range<usize>> {
    if (13..=19).contains(&run) {
        return (ends_number(text, at + run) && is_card(&text[at..at + run])).then_some(at..at + run);
    }
    if run != 4 {
        return None;
    }
    let separator = *text.get(at + 4).filter(|byte| matches!(byte, b' ' | b'-' | b'.'))?;
    // A date goes on with two digits.
    if at + 9 > text.len() || !matches!(digits_at(text, at + 5), 4 | 6) {
        return None;
    }
    GROUPS.iter().find_map(|groups| {
        let (mut digits, mut count) = ([0; 19], 0);
        let mut end = at;
        for (number, &length) in groups.iter().enumerate() {
            if number > 0 {
                end += usize::from(text.get(end) == Some(&separator));
            }
            if end >= text.len() || digits_at(text, end) != length {
                return None;
            }
            digits[count..count + length].copy_from_slice(&text[end..end + length]);
            (count, end) = (count + length, end + length);
        }
        // A further group belongs to something else.
        let goes_on = text.get(end) == Some(&separator) && text.get(end + 1).is_some_and(u8::is_ascii_digit);
        (!goes_on && ends_word(text, end) && is_card(&digits[..count])).then_some(at..end)
    })
}

/// Whether a name ahead of the number at `at` says that it is one, as in `card_4111111111111111`: other names end with digits, too.
pub(super) fn is_named(text: &[u8], at: usize) -> bool {
    let sign = |byte: &u8| matches!(byte, b'_' | b'-' | b'.' | b'#');
    let ahead = &text[at.saturating_sub(NAME_MAX)..at];
    let start = ahead.iter().rposition(|byte| !sign(byte) && !byte.is_ascii_alphabetic()).map_or(0, |last| last + 1);
    ahead.last().is_some_and(sign) && ahead[start..].split(sign).any(says_card)
}

/// Whether a word of a name says that a card's number follows.
pub(in crate::mask) fn says_card(word: &[u8]) -> bool {
    let begins = word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"card"));
    begins || NAMES.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

/// Whether a number ends ahead of `at`: as any word, or as whole numbers do that were kept as fractions, with `.0`.
fn ends_number(text: &[u8], at: usize) -> bool {
    let zeros = |at: usize| text[at..].iter().take_while(|byte| **byte == b'0').count();
    ends_word(text, at) || text.get(at..at + 2) == Some(b".0") && ends_word(text, at + 1 + zeros(at + 1))
}

fn is_card(digits: &[u8]) -> bool {
    is_issued(digits) && luhn(digits)
}

/// Whether numbers of this length begin so: Visa, Mastercard, American Express, Discover, Diners Club, JCB, Union Pay,
/// Maestro.
fn is_issued(digits: &[u8]) -> bool {
    let first =
        |count: usize| digits[..count].iter().fold(0, |number: u32, digit| number * 10 + u32::from(digit - b'0'));
    let (two, three, four) = (first(2), first(3), first(4));
    let is_maestro = matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763);
    match digits.len() {
        // Cards of thirteen digits are long gone; article numbers that begin with 4 are everywhere, and have a check digit.
        13 => first(1) == 4 && !is_article(digits),
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 => {
            first(1) == 4
                || matches!(two, 51..=55 | 65 | 62)
                || matches!(four, 2221..=2720 | 6011 | 3528..=3589)
                || is_maestro
                || matches!(three, 644..=649)
        }
        17 | 18 => is_maestro,
        19 => two == 62 || is_maestro,
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 1 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether it is the number of an article (EAN-13) by its check digit.
fn is_article(digits: &[u8]) -> bool {
    let weighed = |(place, digit): (usize, &u8)| u32::from(digit - b'0') * if place % 2 == 1 { 3 } else { 1 };
    digits.iter().enumerate().map(weighed).sum::<u32>().is_multiple_of(10)
}
