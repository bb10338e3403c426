//! One difference, side by side: old left, new right, what changed marked.

use similar::{ChangeTag, DiffOp, TextDiff};

use super::page::Page;
use super::pretty::pretty;
use crate::compare::{self, Apart, BytesApart, Example, HexRow, Shown};
use crate::report::apart;
use crate::report::figures::{signed, time};
use crate::report::words::{absent, sighting};

/// Lines above which only what changed is shown, with a little around it.
const WHOLE_LINES_MAX: usize = 36;

/// Equal lines around a change in a long value.
const CONTEXT: usize = 3;

/// One line of one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Side {
    changed: bool,
    /// Pieces of the line; marked where they differ.
    pieces: Vec<(bool, String)>,
}

/// A line of old beside a line of new; none where that side has no such line.
type Row = (Option<Side>, Option<Side>);

/// Writes an example with its identity, its cause and both values.
pub(super) fn example(kind: compare::Kind, example: &Example, page: &mut Page) {
    page.inside("figure class=\"example\"", |page| {
        page.inside("figcaption", |page| {
            page.leaf("code", &example.identity);
            let cause = example.cause.as_ref();
            let cause = cause.map_or("cause not known".to_owned(), |cause| format!("caused by {}", sighting(cause)));
            page.leaf("span class=\"cause\"", &cause);
        });
        page.inside("div class=\"scroll\" tabindex=\"0\"", |page| {
            page.inside("table class=\"diff\"", |page| {
                // Widths stand here because the first row spans two columns a side.
                page.markup("<colgroup><col class=\"sign\"><col><col class=\"sign\"><col></colgroup>");
                page.inside("thead", |page| {
                    page.inside("tr", |page| {
                        side_heading("old", kind, example.old.as_ref(), &example.identity, page);
                        side_heading("new", kind, example.new.as_ref(), &example.identity, page);
                    });
                });
                page.inside("tbody", |page| body(example, page));
            });
        });
    });
}

fn side_heading(side: &str, kind: compare::Kind, shown: Option<&Shown>, identity: &str, page: &mut Page) {
    page.inside("th scope=\"col\" colspan=\"2\"", |page| {
        page.leaf("b", side);
        let place = match shown {
            Some(Shown { sequence, topic, partition, arrived_us, .. }) => {
                format!(
                    "{topic}/{partition} · output {} · arrived {} into the replay",
                    signed(*sequence),
                    time(*arrived_us)
                )
            }
            None => format!("wrote {}", absent(kind)),
        };
        page.leaf("span", &place);
        if let Some(key) = shown.and_then(|shown| shown.key.as_deref()).filter(|key| *key != identity) {
            page.inside("span", |page| {
                page.text("key ");
                page.leaf("code", key);
            });
        }
    });
}

fn body(example: &Example, page: &mut Page) {
    let (old, new) = (example.old.as_ref().map(value), example.new.as_ref().map(value));
    if let Some(Apart::Bytes(bytes)) = &example.apart {
        page.inside("tr", |page| page.leaf("td colspan=\"4\" class=\"skipped\"", &apart::summary(bytes)));
    }
    let rows = match (&old, &new) {
        _ if matches!(example.apart, Some(Apart::Bytes(_))) => hex_rows(example.apart.as_ref()),
        (Some(old), Some(new)) => side_by_side(old, new),
        (old, new) => {
            let (old, new) = (lines_of(old.as_deref()), lines_of(new.as_deref()));
            (0..old.len().max(new.len())).map(|line| Some((old.get(line).cloned(), new.get(line).cloned()))).collect()
        }
    };
    for row in rows {
        page.inside("tr", |page| match row {
            Some((old, new)) => {
                cells(old, "−", Kind::Old, page);
                cells(new, "+", Kind::New, page);
            }
            None => page.leaf("td colspan=\"4\" class=\"skipped\"", "⋯ equal lines"),
        });
    }
}

/// Rows of bytes, old beside new.
fn hex_rows(apart: Option<&Apart>) -> Vec<Option<Row>> {
    let Some(Apart::Bytes(BytesApart { old, new, .. })) = apart else { return Vec::new() };
    (0..old.len().max(new.len())).map(|at| Some((old.get(at).map(hex_side), new.get(at).map(hex_side)))).collect()
}

fn hex_side(row: &HexRow) -> Side {
    let differs = |at: usize| row.differ.contains(&(at as u8));
    let mut pieces = vec![(false, format!("{:08x} ", row.offset))];
    for (at, byte) in row.hex.split(' ').enumerate() {
        pieces.push((false, " ".to_owned()));
        pieces.push((differs(at), byte.to_owned()));
    }
    pieces.push((false, "  |".to_owned()));
    pieces.extend(row.ascii.chars().enumerate().map(|(at, c)| (differs(at), c.to_string())));
    pieces.push((false, "|".to_owned()));
    Side { changed: !row.differ.is_empty(), pieces }
}

fn value(shown: &Shown) -> String {
    shown.value.clone().unwrap_or_else(|| "null (no value)".to_owned())
}

/// Lines of an output that has no counterpart.
fn lines_of(text: Option<&str>) -> Vec<Side> {
    let whole = text.map(pretty).unwrap_or_default();
    whole.lines().map(|line| Side { changed: true, pieces: vec![(false, line.to_owned())] }).collect()
}

/// Lines up two values; a row of none stands for equal lines that are not shown.
fn side_by_side(old: &str, new: &str) -> Vec<Option<Row>> {
    let (pretty_old, pretty_new) = (pretty(old), pretty(new));
    // Where both are the same JSON in other bytes, the bytes are what differs.
    let same_json = pretty_old == pretty_new && old != new;
    let (old, new) = if same_json { (old, new) } else { (pretty_old.as_str(), pretty_new.as_str()) };
    let diff = TextDiff::from_lines(old, new);
    let long = diff.old_len().max(diff.new_len()) > WHOLE_LINES_MAX;
    let groups = if long { diff.grouped_ops(CONTEXT) } else { vec![diff.ops().to_vec()] };
    let mut rows = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let skipped = long && (index > 0 || group.first().is_some_and(|op| op.old_range().start > 0));
        rows.extend(skipped.then_some(None));
        rows.extend(group.iter().flat_map(|op| op_rows(&diff, op)).map(Some));
    }
    rows
}

fn op_rows(diff: &TextDiff<'_, '_, str>, op: &DiffOp) -> Vec<Row> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let mut equal = Vec::new();
    // Without a deadline: a diff that gives up by the clock would make two reports of one run differ.
    for change in diff.iter_inline_changes_deadline(op, None) {
        let pieces =
            change.iter_strings_lossy().map(|(marked, text)| (marked, text.trim_end_matches(['\n', '\r']).to_owned()));
        let side = Side {
            changed: change.tag() != ChangeTag::Equal,
            pieces: pieces.filter(|(_, text)| !text.is_empty()).collect(),
        };
        match change.tag() {
            ChangeTag::Equal => equal.push((Some(side.clone()), Some(side))),
            ChangeTag::Delete => old.push(side),
            ChangeTag::Insert => new.push(side),
        }
    }
    let pairs = (0..old.len().max(new.len())).map(|line| (old.get(line).cloned(), new.get(line).cloned()));
    equal.into_iter().chain(pairs).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Old,
    New,
}

fn cells(side: Option<Side>, sign: &str, kind: Kind, page: &mut Page) {
    let Some(side) = side else {
        page.leaf("td class=\"sign\"", "");
        page.leaf("td class=\"none\"", "");
        return;
    };
    match (side.changed, kind) {
        (false, _) => {
            page.leaf("td class=\"sign\"", "");
            page.inside("td", |page| line(&side, kind, page));
        }
        (true, Kind::Old) => {
            page.leaf("td class=\"sign gone\"", sign);
            page.inside("td class=\"gone\"", |page| line(&side, kind, page));
        }
        (true, Kind::New) => {
            page.leaf("td class=\"sign come\"", sign);
            page.inside("td class=\"come\"", |page| line(&side, kind, page));
        }
    }
}

fn line(side: &Side, kind: Kind, page: &mut Page) {
    for (marked, text) in &side.pieces {
        match (marked, kind) {
            (false, _) => page.text(text),
            (true, Kind::Old) => page.leaf("del", text),
            (true, Kind::New) => page.leaf("ins", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(row: Option<&Row>) -> (String, String) {
        let text = |side: &Option<Side>| {
            side.iter().flat_map(|side| &side.pieces).filter(|piece| piece.0).map(|piece| piece.1.as_str()).collect()
        };
        row.map(|(old, new)| (text(old), text(new))).unwrap_or_default()
    }

    #[test]
    fn a_changed_member_stands_beside_its_old_self_with_the_change_marked() {
        let rows = side_by_side(r#"{"amount":250.00,"id":"a"}"#, r#"{"id":"a","amount":251.00}"#);
        assert_eq!(rows.len(), 4);
        let (old, new) = marked(rows[1].as_ref());
        assert!(old.contains("250") && new.contains("251"), "{old} {new}");
        assert!(rows.iter().flatten().filter(|(old, _)| old.as_ref().is_some_and(|old| old.changed)).count() == 1);
    }

    #[test]
    fn the_same_json_in_other_bytes_shows_the_bytes() {
        let rows = side_by_side(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].as_ref().is_some_and(|(old, _)| old.as_ref().is_some_and(|old| old.changed)));
    }

    #[test]
    fn a_long_value_shows_only_what_changed() {
        let members = |changed: &str| {
            (0..100)
                .map(|n| format!("\"k{n:03}\":{}", if n == 50 { changed } else { "0" }))
                .collect::<Vec<_>>()
                .join(",")
        };
        let rows = side_by_side(&format!("{{{}}}", members("1")), &format!("{{{}}}", members("2")));
        assert_eq!(rows.len(), 1 + 2 * CONTEXT + 1);
        assert_eq!(rows[0], None);
    }
}
