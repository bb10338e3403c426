//! JSON as people read it: indented, members by name, every number and text exactly as the build wrote it.
//!
//! Without commas at the ends of lines: with them, a member added at the end would change the line ahead of it too.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Nesting beyond which a value stays on one line.
const DEPTH_MAX: usize = 40;

/// Lines at most.
const LINES_MAX: usize = 400;

/// Indents `text` where it is JSON, else returns it as it is.
///
/// Numbers and strings are not parsed: `1.10` stays `1.10`, and a number too long for a float keeps its digits.
pub(super) fn pretty(text: &str) -> String {
    let mut lines = Lines { text: String::new(), lines: 1 };
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if write(value, 0, &mut lines).is_some() => lines.text,
        _ => text.to_owned(),
    }
}

struct Lines {
    text: String,
    lines: usize,
}

impl Lines {
    /// Starts a line; none where there are too many.
    fn feed(&mut self, depth: usize) -> Option<()> {
        self.lines += 1;
        self.text.push('\n');
        self.text.push_str(&"  ".repeat(depth));
        (self.lines <= LINES_MAX).then_some(())
    }
}

fn write(value: &RawValue, depth: usize, lines: &mut Lines) -> Option<()> {
    let raw = value.get();
    if depth < DEPTH_MAX && raw.len() > 2 && raw.starts_with('{') {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
        return write_all('{', '}', members, depth, lines, |lines, (name, member)| {
            lines.text.push_str(&serde_json::to_string(&name).ok()?);
            lines.text.push_str(": ");
            write(member, depth + 1, lines)
        });
    }
    if depth < DEPTH_MAX && raw.len() > 2 && raw.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
        return write_all('[', ']', elements, depth, lines, |lines, element| write(element, depth + 1, lines));
    }
    lines.text.push_str(raw);
    Some(())
}

fn write_all<T>(
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    depth: usize,
    lines: &mut Lines,
    mut item: impl FnMut(&mut Lines, T) -> Option<()>,
) -> Option<()> {
    lines.text.push(open);
    for each in items {
        lines.feed(depth + 1)?;
        item(lines, each)?;
    }
    lines.feed(depth)?;
    lines.text.push(close);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_stay_as_written() {
        let shown = pretty(r#"{"b":1.10,"a":[123456789012345678901234567890,"\u00e9"],"c":{}}"#);
        assert_eq!(
            shown,
            "{\n  \"a\": [\n    123456789012345678901234567890\n    \"\\u00e9\"\n  ]\n  \"b\": 1.10\n  \"c\": {}\n}"
        );
    }

    #[test]
    fn what_is_no_json_stays_as_it_is() {
        for text in ["", "0xff00", "{\"a\":1", "plain words"] {
            assert_eq!(pretty(text), text);
        }
    }

    #[test]
    fn deep_and_long_values_stay_small() {
        let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
        assert!(pretty(&deep).len() < 10_000);
        let long = format!("[{}1]", "1,".repeat(2_000));
        assert_eq!(pretty(&long), long);
    }
}
