//! International bank account numbers (ISO 13616): a country, its length, and a remainder of 1 by 97.

use std::ops::Range;

use super::ends_word;

/// Letters and digits of a number at most.
const LETTERS_MAX: usize = 34;

/// Countries of the registry, in order, and the length of their numbers.
const COUNTRIES: [(&[u8; 2], usize); 82] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TN", 24),
    (b"TR", 26),
];

/// Finds a number that begins at `at`, in one piece or in groups of four.
pub(super) fn at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let head = text.get(at..at + 4)?;
    if !head[1].is_ascii_uppercase() || !head[2].is_ascii_digit() || !head[3].is_ascii_digit() {
        return None;
    }
    let country = COUNTRIES.binary_search_by_key(&[head[0], head[1]], |(country, _)| **country).ok()?;
    let mut letters = [0; LETTERS_MAX];
    let letters = letters.get_mut(..COUNTRIES[country].1)?;
    let spaced = text.get(at + 4) == Some(&b' ');
    let mut end = at;
    for (number, letter) in letters.iter_mut().enumerate() {
        if spaced && number % 4 == 0 && number > 0 {
            end += usize::from(text.get(end) == Some(&b' '));
        }
        *letter = *text.get(end).filter(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit())?;
        end += 1;
    }
    (ends_word(text, end) && remainder(letters) == 1).then_some(at..end)
}

/// Remainder by 97 with the first four letters moved behind the others and letters as numbers from 10 (ISO 7064, MOD 97-10).
fn remainder(letters: &[u8]) -> u32 {
    letters[4..].iter().chain(&letters[..4]).fold(0, |rest, letter| {
        if letter.is_ascii_digit() {
            (rest * 10 + u32::from(letter - b'0')) % 97
        } else {
            (rest * 100 + u32::from(letter - b'A') + 10) % 97
        }
    })
}
