//! How two values that are no trees are apart, as a reader wants to see it: bytes as rows of hex around the first stretches that
//! differ, text of several lines as a diff. Bounded, whatever the values are.

use std::fmt::Write as _;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use similar::{Algorithm, ChangeTag, TextDiff};

use super::regions::{self, Region, regions};
use super::rules::Rules;
use crate::outcome::Output;

/// Stretches told with offset and length.
const REGIONS_MAX: usize = 8;

/// Stretches around which bytes are shown.
const SHOWN_MAX: usize = 3;

/// Bytes of a row.
const ROW: usize = 16;

/// Rows shown of one stretch, and of one side.
const ROWS_OF_REGION_MAX: usize = 4;

/// Lines shown of a diff.
const LINES_MAX: usize = 40;

/// Characters shown of a line.
const LINE_CHARS_MAX: usize = 240;

/// Equal lines around a change.
const CONTEXT: usize = 2;

/// Bytes of text that are compared line by line; longer texts are shown as values alone.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// How two values that are no trees are apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apart {
    /// Bytes.
    Bytes(BytesApart),
    /// Text of several lines.
    Text(TextApart),
}

/// Two values of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytesApart {
    /// Length of old in bytes.
    pub old_bytes: u64,
    /// Length of new in bytes.
    pub new_bytes: u64,
    /// Stretches that differ, first ones first; eight at most.
    pub regions: Vec<Region>,
    /// Stretches beyond those.
    pub regions_left_out: u64,
    /// Rows of old around the first of them.
    pub old: Vec<HexRow>,
    /// Rows of new around the first of them.
    pub new: Vec<HexRow>,
}

/// Up to sixteen bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HexRow {
    /// Offset of the first byte, a multiple of sixteen.
    pub offset: u64,
    /// Bytes in hex, two digits each with a space between.
    pub hex: String,
    /// The same as ASCII; what cannot be printed is a dot.
    pub ascii: String,
    /// Which bytes of the row differ, counted from zero.
    pub differ: Vec<u8>,
}

/// Two texts, line by line; equal lines away from changes are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextApart {
    /// Lines in order, forty at most.
    pub lines: Vec<TextLine>,
    /// Lines beyond those.
    pub lines_left_out: u64,
}

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextLine {
    /// `-` of old, `+` of new, a space where both have it, `@` ahead of where lines were left out.
    pub sign: char,
    /// The line, cut after 240 characters.
    pub text: String,
}

/// Shows how the values of two outputs are apart; none where they are trees, equal, or one line each.
pub(super) fn apart(old: &Output, new: &Output, rules: &Rules) -> Option<Apart> {
    let (old_rules, new_rules) = (rules.of(&old.topic), rules.of(&new.topic));
    let (old_value, new_value) = (old.value.as_deref()?, new.value.as_deref()?);
    if old_value == new_value {
        return None;
    }
    let is_tree = |rules: &Rules, value: &[u8]| rules.shown(value).is_some() || rules.is_tree(value);
    if is_tree(old_rules, old_value) || is_tree(new_rules, new_value) {
        return None;
    }
    let opaque = old_rules.is_opaque() || new_rules.is_opaque();
    let is_text = |rules: &Rules, value: &[u8]| rules.is_text() || regions::is_text(value);
    let both = !opaque && is_text(old_rules, old_value) && is_text(new_rules, new_value);
    match (std::str::from_utf8(old_value), std::str::from_utf8(new_value)) {
        (Ok(old), Ok(new)) if both => texts(old, new).map(Apart::Text),
        _ => Some(Apart::Bytes(bytes(old_value, new_value))),
    }
}

fn texts(old: &str, new: &str) -> Option<TextApart> {
    if old.len().max(new.len()) > TEXT_BYTES_MAX || !(old.trim_end().contains('\n') || new.trim_end().contains('\n')) {
        return None;
    }
    // Without a deadline: what gives up by the clock would make two reports of one run differ.
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(old, new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        if let Some(first) = group.first() {
            let (old, new) = (first.old_range().start + 1, first.new_range().start + 1);
            lines.push(TextLine { sign: '@', text: format!("line {old} of old, {new} of new") });
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(TextLine { sign, text: line(change.value()) });
        }
    }
    let left_out = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    Some(TextApart { lines, lines_left_out: left_out as u64 })
}

fn line(text: &str) -> String {
    let text = text.trim_end_matches(['\n', '\r']);
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn bytes(old: &[u8], new: &[u8]) -> BytesApart {
    let mut regions = regions(old, new);
    let of_old = |region: &Region| region.old_from as usize..(region.old_from + region.old_bytes) as usize;
    let of_new = |region: &Region| region.new_from as usize..(region.new_from + region.new_bytes) as usize;
    let olds: Vec<Range<usize>> = regions.iter().map(of_old).collect();
    let news: Vec<Range<usize>> = regions.iter().map(of_new).collect();
    let left_out = regions.len().saturating_sub(REGIONS_MAX);
    regions.truncate(REGIONS_MAX);
    BytesApart {
        old_bytes: old.len() as u64,
        new_bytes: new.len() as u64,
        regions,
        regions_left_out: left_out as u64,
        old: rows(old, &olds),
        new: rows(new, &news),
    }
}

/// Rows of `value` around the first of `differing`.
fn rows(value: &[u8], differing: &[Range<usize>]) -> Vec<HexRow> {
    let around = |region: &Range<usize>| {
        let first = region.start / ROW;
        let last = region.end.saturating_sub(1).max(region.start) / ROW;
        first..=last.min(first + ROWS_OF_REGION_MAX - 1)
    };
    let mut numbers: Vec<usize> = differing.iter().take(SHOWN_MAX).flat_map(around).collect();
    numbers.dedup();
    numbers.into_iter().filter_map(|number| row(value, number * ROW, differing)).collect()
}

fn row(value: &[u8], offset: usize, differing: &[Range<usize>]) -> Option<HexRow> {
    let bytes = value.get(offset..)?;
    let bytes = &bytes[..bytes.len().min(ROW)];
    if bytes.is_empty() {
        return None;
    }
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{}{byte:02x}", if hex.is_empty() { "" } else { " " });
        hex
    });
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    let is_differing = |at: &usize| differing.iter().any(|region| region.contains(&(offset + at)));
    Some(HexRow {
        offset: offset as u64,
        hex,
        ascii: bytes.iter().map(shown).collect(),
        differ: (0..bytes.len()).filter(is_differing).map(|at| at as u8).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::CompareSettings;

    fn shown(toml: &str, old: &[u8], new: &[u8]) -> Option<Apart> {
        let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap();
        let output = |value: &[u8]| Output { topic: "t".to_owned(), value: Some(value.to_vec()), ..Output::default() };
        apart(&output(old), &output(new), &rules)
    }

    fn bytes_of(toml: &str, old: &[u8], new: &[u8]) -> BytesApart {
        match shown(toml, old, new) {
            Some(Apart::Bytes(apart)) => apart,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_are_shown_in_rows_around_the_first_stretches() {
        let old: Vec<u8> = (0..=255).collect();
        let mut new = old.clone();
        new[20] = b'X';
        new[0x92] = 0;
        let apart = bytes_of("", &old, &new);
        assert_eq!((apart.old_bytes, apart.new_bytes, apart.regions.len(), apart.regions_left_out), (256, 256, 2, 0));
        let offsets: Vec<u64> = apart.old.iter().map(|row| row.offset).collect();
        assert_eq!(offsets, [16, 0x90]);
        assert_eq!(apart.new[0].hex, "10 11 12 13 58 15 16 17 18 19 1a 1b 1c 1d 1e 1f");
        assert_eq!((apart.new[0].ascii.as_str(), apart.new[0].differ.as_slice()), ("....X...........", &[4][..]));
        assert_eq!(apart.old[1].ascii, "................");
        assert_eq!(apart.old[1].differ, [2]);
    }

    #[test]
    fn what_is_shown_of_bytes_is_bounded() {
        let (old, new) = (vec![0xFF; 1 << 20], vec![0xFE; 1 << 20]);
        let apart = bytes_of("", &old, &new);
        assert_eq!((apart.regions.len(), apart.old.len(), apart.new.len()), (1, 4, 4));
        let many: Vec<u8> = (0..1 << 16).map(|at| if at % 50 == 0 { 0xFE } else { 0xFF }).collect();
        let apart = bytes_of("", &old[..1 << 16], &many);
        assert_eq!(apart.regions.len(), 8);
        assert!(apart.regions_left_out > 1_000 && apart.old.len() <= 3 * 4, "{apart:?}");
        let longer = [old.as_slice(), b"\xFFmore"].concat();
        assert!(bytes_of("", &old, &longer).new.iter().any(|row| row.ascii.contains("more")));
        // One side has nothing there.
        assert_eq!(bytes_of("", b"", b"\xFF").old, []);
    }

    #[test]
    fn trees_and_single_lines_are_not_taken_apart() {
        for (old, new) in [
            (&b"{\"a\":1}"[..], &b"{\"a\":2}"[..]),
            (b"one line", b"another"),
            (b"\x81\xa1a\x01", b"\x81\xa1a\x02"),
            (b"\xff", b"\xff"),
        ] {
            assert_eq!(shown("", old, new), None, "{old:?}");
        }
        let declared = bytes_of("topics.t.value = 'bytes'", b"one line", b"one lime");
        assert_eq!(declared.regions[0].old_from, 6);
    }

    #[test]
    fn text_of_several_lines_is_shown_line_by_line() {
        let old = (0..100).map(|line| format!("line {line}\n")).collect::<Vec<_>>().concat();
        for toml in ["", "topics.t.value = 'text'"] {
            let Some(Apart::Text(apart)) = shown(toml, old.as_bytes(), old.replace("line 50\n", "l\n").as_bytes())
            else {
                panic!("{toml}")
            };
            let lines: Vec<String> = apart.lines.iter().map(|line| format!("{}{}", line.sign, line.text)).collect();
            let expected =
                ["@line 49 of old, 49 of new", " line 48", " line 49", "-line 50", "+l", " line 51", " line 52"];
            assert_eq!(lines, expected);
        }
        let Some(Apart::Text(apart)) = shown("", old.as_bytes(), old.replace("line", &"x".repeat(500)).as_bytes())
        else {
            panic!()
        };
        assert_eq!((apart.lines.len(), apart.lines_left_out), (LINES_MAX, 201 - LINES_MAX as u64));
        assert!(apart.lines.iter().all(|line| line.text.chars().count() <= LINE_CHARS_MAX + 1));
    }
}
