//! How two values of bytes or text are apart, as lines: the same in every format.

use super::figures::{count, counted};
use crate::compare::{Apart, BytesApart, HexRow, Region, TextLine};

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Old's alone.
    Old,
    /// New's alone.
    New,
    /// Both have it.
    Both,
    /// Nobody's: what is said about the others.
    Nobody,
}

/// Writes both values as lines; the bytes that differ are marked in a line below theirs.
pub(super) fn lines(apart: &Apart) -> Vec<(Of, String)> {
    match apart {
        Apart::Bytes(bytes) => {
            let mut lines = vec![(Of::Nobody, summary(bytes))];
            for at in 0..bytes.old.len().max(bytes.new.len()) {
                let (old, new) = (bytes.old.get(at), bytes.new.get(at));
                lines.extend(old.map(|row| (Of::Old, row_text(row))));
                lines.extend(new.map(|row| (Of::New, row_text(row))));
                lines.extend(new.or(old).filter(|row| !row.differ.is_empty()).map(|row| (Of::Nobody, marks(row))));
            }
            lines
        }
        Apart::Text(text) => {
            let mut lines: Vec<(Of, String)> = text.lines.iter().map(|line| (of(line), line.text.clone())).collect();
            if text.lines_left_out > 0 {
                lines.push((Of::Nobody, format!("{} more", counted(text.lines_left_out, "line", "lines"))));
            }
            lines
        }
    }
}

fn of(line: &TextLine) -> Of {
    match line.sign {
        '-' => Of::Old,
        '+' => Of::New,
        ' ' => Of::Both,
        _ => Of::Nobody,
    }
}

/// Says which bytes differ, such as `bytes 4..8 of 12 differ`.
pub(super) fn summary(bytes: &BytesApart) -> String {
    let (old, new) = (bytes.old_bytes, bytes.new_bytes);
    let stretch = |region: &Region| {
        let (of_old, of_new) = (range(region.old_from, region.old_bytes), range(region.new_from, region.new_bytes));
        if of_old == of_new { of_old } else { format!("{of_old} of old and {of_new} of new") }
    };
    let stretches = bytes.regions.iter().map(stretch).collect::<Vec<_>>().join(", ");
    let more = match bytes.regions_left_out {
        0 => String::new(),
        more => format!(" and {}", counted(more, "further stretch", "further stretches")),
    };
    let length = if old == new { count(old) } else { format!("{} in old and {} in new", count(old), count(new)) };
    format!("bytes {stretches}{more} differ, of {length}")
}

fn range(from: u64, bytes: u64) -> String {
    if bytes == 0 { format!("none at {from}") } else { format!("{from}..{}", from + bytes) }
}

/// Writes a row as hex dumps do: offset, bytes, the same as text.
pub(super) fn row_text(row: &HexRow) -> String {
    format!("{:08x}  {:<47}  |{}|", row.offset, row.hex, row.ascii)
}

/// A line that marks the bytes of a row that differ.
fn marks(row: &HexRow) -> String {
    let last = row.differ.iter().max().copied().unwrap_or_default();
    let marked = |at| if row.differ.contains(&at) { "^^ " } else { "   " };
    let marks: String = (0..=last).map(marked).collect();
    format!("{:10}{}", "", marks.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::TextApart;

    fn row(offset: u64, hex: &str, ascii: &str, differ: &[u8]) -> HexRow {
        HexRow { offset, hex: hex.to_owned(), ascii: ascii.to_owned(), differ: differ.to_vec() }
    }

    #[test]
    fn bytes_are_written_as_hex_dumps_do_with_what_differs_marked() {
        let apart = Apart::Bytes(BytesApart {
            old_bytes: 3,
            new_bytes: 4,
            regions: vec![
                Region { old_from: 1, old_bytes: 1, new_from: 1, new_bytes: 1 },
                Region { old_from: 3, old_bytes: 0, new_from: 3, new_bytes: 1 },
            ],
            regions_left_out: 1_200,
            old: vec![row(0, "00 01 02", "...", &[1])],
            new: vec![row(0, "00 41 02 42", ".A.B", &[1, 3])],
        });
        let shown: Vec<String> = lines(&apart).into_iter().map(|(of, text)| format!("{of:?} {text}")).collect();
        assert_eq!(
            shown,
            [
                "Nobody bytes 1..2, none at 3 of old and 3..4 of new and 1,200 further stretches differ, of 3 in old and 4 in new",
                "Old 00000000  00 01 02                                         |...|",
                "New 00000000  00 41 02 42                                      |.A.B|",
                "Nobody              ^^    ^^",
            ]
        );
    }

    #[test]
    fn lines_of_text_say_whose_they_are() {
        let line = |sign, text: &str| TextLine { sign, text: text.to_owned() };
        let text = TextApart {
            lines: vec![line('@', "at"), line(' ', "a"), line('-', "b"), line('+', "c")],
            lines_left_out: 2,
        };
        let whose: Vec<Of> = lines(&Apart::Text(text)).into_iter().map(|(of, _)| of).collect();
        assert_eq!(whose, [Of::Nobody, Of::Both, Of::Old, Of::New, Of::Nobody]);
    }
}
