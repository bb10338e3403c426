//! Where two values of bytes differ: stretches to show, and a bounded number of places to group differences by.
//!
//! A place is written as a slice of JSONPath, `$[4:8]`: words of four bytes up to 32, from there on regions that double (32 to 64,
//! 64 to 128, …), neighbours joined. What differs nearly everywhere is `$`. So a field that differs has one place in all outputs,
//! and bytes that have nothing in common are one pattern, not thousands.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::Change;

/// Bytes in front that are told apart by word.
const WORDS_END: usize = 32;

/// Bytes of a word.
const WORD: usize = 4;

/// Separate places of one value above which it differs as a whole.
const PLACES_MAX: usize = 2;

/// Equal bytes between two differing stretches below which they are one.
const GAP: usize = 4;

/// Bytes that are aligned exactly; what is longer is one stretch.
const ALIGNED_MAX: usize = 4_096;

/// A stretch in which two values of bytes differ, as offsets and lengths in bytes. A length of zero is a place at which the other
/// side has bytes more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First byte of it in old.
    pub old_from: u64,
    /// Bytes of old.
    pub old_bytes: u64,
    /// First byte of it in new.
    pub new_from: u64,
    /// Bytes of new.
    pub new_bytes: u64,
}

/// Places at which two values differ, with what differs there; none where they are equal.
pub(super) fn places(old: &[u8], new: &[u8]) -> Vec<(String, Change)> {
    if old.len() == new.len() {
        return of_one_length(old, new);
    }
    let (front, back) = common(old, new);
    let change = match front + back {
        all if all == old.len() => Change::Added,
        all if all == new.len() => Change::Removed,
        _ => Change::Value,
    };
    let from = class(front).start;
    let path = if from == 0 && change == Change::Value { "$".to_owned() } else { format!("$[{from}:]") };
    vec![(path, change)]
}

fn of_one_length(old: &[u8], new: &[u8]) -> Vec<(String, Change)> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < old.len() {
        let region = class(at);
        let end = region.end.min(old.len());
        if old[at..end] != new[at..end] {
            match found.last_mut() {
                Some(last) if last.end == region.start => last.end = region.end,
                _ => found.push(region),
            }
        }
        at = end;
    }
    let everywhere = found.len() > PLACES_MAX || found.iter().any(|one| one.start == 0 && one.end >= old.len());
    if everywhere && !found.is_empty() {
        return vec![("$".to_owned(), Change::Value)];
    }
    found.into_iter().map(|one| (format!("$[{}:{}]", one.start, one.end), Change::Value)).collect()
}

/// Whether bytes are text that people read: UTF-8 without control characters other than white space and escapes of terminals. Small
/// numbers in binary are UTF-8, too.
pub(super) fn is_text(value: &[u8]) -> bool {
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    !value.iter().any(is_control) && std::str::from_utf8(value).is_ok()
}

/// Says which bytes a place names, such as `bytes 4..8` for `$[4:8]`; none where it is a path of another kind.
pub(super) fn in_words(path: &str) -> Option<String> {
    let (from, to) = path.strip_prefix("$[")?.strip_suffix(']')?.split_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(from) && (to.is_empty() || is_number(to))).then(|| format!("bytes {from}..{to}"))
}

/// The region that the byte `at` is counted to.
fn class(at: usize) -> Range<usize> {
    if at < WORDS_END {
        let start = at / WORD * WORD;
        return start..start + WORD;
    }
    let start = 1 << at.ilog2();
    start..start * 2
}

/// Bytes that both begin with, and of the rest those that both end with.
fn common(old: &[u8], new: &[u8]) -> (usize, usize) {
    let front = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let back = old[front..].iter().rev().zip(new[front..].iter().rev()).take_while(|(one, other)| one == other).count();
    (front, back)
}

/// Stretches in which two values differ, in order; those that stand close to each other are one.
pub(super) fn regions(old: &[u8], new: &[u8]) -> Vec<Region> {
    let (front, back) = common(old, new);
    let (old, new) = (&old[front..old.len() - back], &new[front..new.len() - back]);
    let mut found: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let mut add = |one: Range<usize>, other: Range<usize>| match found.last_mut() {
        Some(last) if one.start < last.0.end + GAP => (last.0.end, last.1.end) = (one.end, other.end),
        _ => found.push((one, other)),
    };
    if old.len() == new.len() {
        let differing = (0..old.len()).filter(|at| old[*at] != new[*at]);
        differing.for_each(|at| add(at..at + 1, at..at + 1));
    } else if old.len().max(new.len()) > ALIGNED_MAX {
        add(0..old.len(), 0..new.len());
    } else {
        let operations = capture_diff_slices(Algorithm::Myers, old, new);
        let differing = operations.iter().filter(|operation| !matches!(operation, DiffOp::Equal { .. }));
        differing.for_each(|operation| add(operation.old_range(), operation.new_range()));
    }
    let region = |(one, other): (Range<usize>, Range<usize>)| Region {
        old_from: (front + one.start) as u64,
        old_bytes: one.len() as u64,
        new_from: (front + other.start) as u64,
        new_bytes: other.len() as u64,
    };
    found.into_iter().map(region).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn check(old: &[u8], new: &[u8], expected: &[(&str, Change)]) {
        let found = places(old, new);
        let found: Vec<(&str, Change)> = found.iter().map(|(path, change)| (path.as_str(), *change)).collect();
        assert_eq!(found, expected, "{old:?} {new:?}");
    }

    fn with(bytes: usize, changed: impl IntoIterator<Item = usize>) -> Vec<u8> {
        let mut value = vec![0xAA; bytes];
        changed.into_iter().for_each(|at| value[at] ^= 1);
        value
    }

    #[test]
    fn bytes_that_differ_are_named_by_their_region() {
        let plain = with(1_000, []);
        for (changed, path) in
            [(vec![5], "$[4:8]"), (vec![4, 7, 8], "$[4:12]"), (vec![40], "$[32:64]"), (vec![999], "$[512:1024]")]
        {
            check(&plain, &with(1_000, changed), &[(path, Change::Value)]);
        }
        check(&plain, &with(1_000, [5, 20]), &[("$[4:8]", Change::Value), ("$[20:24]", Change::Value)]);
        check(&plain, &with(1_000, [5, 20, 100]), &[("$", Change::Value)]);
        check(&plain, &with(1_000, 0..1_000), &[("$", Change::Value)]);
        check(&with(3, []), &with(3, [1]), &[("$", Change::Value)]);
        check(&plain, &plain, &[]);
        check(b"", b"", &[]);
    }

    #[test]
    fn bytes_of_other_lengths_are_named_by_where_they_part() {
        check(b"\x01\x02\x03\x04\x05\x06", b"\x01\x02\x03\x04\x05\x06\x07", &[("$[4:]", Change::Added)]);
        check(b"\x01\x02\x03\x04\x05\x06", b"\x01\x02\x03\x04\x05", &[("$[4:]", Change::Removed)]);
        check(b"\x01\x02\x03\x04\x05\x06", b"\x01\x02\x03\x04\x09\x08\x07", &[("$[4:]", Change::Value)]);
        check(b"\x01\x02\x03\x04", b"\x09\x01\x02\x03\x04", &[("$[0:]", Change::Added)]);
        check(b"\x01\x02\x03\x04", b"\x09\x08\x07", &[("$", Change::Value)]);
        check(b"", b"\x01", &[("$[0:]", Change::Added)]);
    }

    #[test]
    fn small_numbers_in_binary_are_no_text() {
        for (value, is) in [
            (&b"plain \t text\r\n"[..], true),
            ("\u{1b}[1mé\u{1b}[0m".as_bytes(), true),
            (b"", true),
            (b"\0\0\0\x07", false),
            (b"a\x7f", false),
            (b"\xff", false),
        ] {
            assert_eq!(is_text(value), is, "{value:?}");
        }
    }

    #[test]
    fn places_of_bytes_are_said_in_words_and_no_others() {
        for (path, words) in [
            ("$[4:8]", Some("bytes 4..8")),
            ("$[4:]", Some("bytes 4..")),
            ("$", None),
            ("$[*]", None),
            ("$.a[4:8]", None),
            ("$['a:b']", None),
            ("$[:]", None),
        ] {
            assert_eq!(in_words(path).as_deref(), words, "{path}");
        }
    }

    #[test]
    fn stretches_are_told_with_their_offsets_and_lengths() {
        let region = |old_from, old_bytes, new_from, new_bytes| Region { old_from, old_bytes, new_from, new_bytes };
        let plain = with(64, []);
        assert_eq!(regions(&plain, &with(64, [5, 6, 9, 40])), [region(5, 5, 5, 5), region(40, 1, 40, 1)]);
        assert_eq!(regions(b"abcdefgh", b"abXdefgh"), [region(2, 1, 2, 1)]);
        assert_eq!(regions(b"abcdefgh", b"abcXYdefgh"), [region(3, 0, 3, 2)]);
        assert_eq!(regions(b"abcdefgh", b"abefgh"), [region(2, 2, 2, 0)]);
        assert_eq!(regions(b"Xbcdefghijklmnop", b"bcdefghijklmYYnop"), [region(0, 1, 0, 0), region(13, 0, 12, 2)]);
        assert_eq!(regions(b"same", b"same"), []);
    }

    proptest! {
        #[test]
        fn there_is_a_place_exactly_where_bytes_differ(
            old in prop::collection::vec(0..3_u8, 0..80),
            new in prop::collection::vec(0..3_u8, 0..80),
        ) {
            for (one, other) in [(&old, &new), (&new, &old), (&old, &old)] {
                prop_assert_eq!(places(one, other).is_empty(), one == other);
                let found = regions(one, other);
                prop_assert_eq!(found.is_empty(), one == other);
                // What lies between the stretches is equal.
                let (mut old_at, mut new_at) = (0, 0);
                let end = Region { old_from: one.len() as u64, old_bytes: 0, new_from: other.len() as u64, new_bytes: 0 };
                for region in found.iter().chain([&end]) {
                    let (old_from, new_from) = (region.old_from as usize, region.new_from as usize);
                    prop_assert_eq!(&one[old_at..old_from], &other[new_at..new_from]);
                    (old_at, new_at) = (old_from + region.old_bytes as usize, new_from + region.new_bytes as usize);
                }
            }
        }

        #[test]
        fn places_are_few_however_bytes_differ(seeds in prop::collection::vec((0..600_usize, 0..600_usize), 200)) {
            let plain = with(600, []);
            let found: BTreeSet<String> = seeds
                .iter()
                .flat_map(|(one, other)| places(&plain, &with(600, BTreeSet::from([*one, *other]))))
                .map(|(path, _)| path)
                .collect();
            // Twelve regions up to 600 bytes; alone, or joined with the next.
            prop_assert!(found.len() <= 13 + 12 + 1, "{found:?}");
        }
    }
}
