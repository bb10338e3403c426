//! What stands at a pattern's path in the values of both builds.

use std::borrow::Cow;

use super::super::json::{Lexer, NoJson, Node};

/// Elements of an array that are paired; longer ones tell nothing.
const ELEMENTS_MAX: usize = 1_000;

/// A path as a pattern has it, `$.a['b c'][*].d`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Each,
}

impl Place {
    /// Takes a pattern's path apart; none where it is none.
    pub(super) fn read(path: &str) -> Option<Self> {
        let mut rest = path.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::Each);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("['") {
                let (name, after) = quoted(after)?;
                steps.push(Step::Name(name));
                rest = after;
            } else {
                let after = rest.strip_prefix('.')?;
                let end = after.find(['.', '[']).unwrap_or(after.len());
                steps.push(Step::Name(after[..end].to_owned()));
                rest = &after[end..];
            }
        }
        Some(Self { steps })
    }

    /// Names of the members on the way there; none where an array is on it.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let name = |step: &Step| if let Step::Name(name) = step { Some(name.clone()) } else { None };
        self.steps.iter().map(name).collect()
    }

    /// Whether it may stand for several places of one value.
    fn is_of_elements(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// Shows what stands there in both values, where it is not the same, to `take`; elements of arrays are paired by their
    /// place, and only in arrays of one length. Where elements came or went themselves, both arrays are shown.
    pub(super) fn each<'v>(
        &self,
        (old, new): (&'v [u8], &'v [u8]),
        take: &mut dyn FnMut(Option<Node<'v>>, Option<Node<'v>>),
    ) -> Result<(), NoJson> {
        if !self.is_of_elements() {
            let (old, new) = (self.follow(old)?, self.follow(new)?);
            if old != new {
                take(old, new);
            }
            return Ok(());
        }
        both(&self.steps, Some(Node::read(old)?), Some(Node::read(new)?), take);
        Ok(())
    }

    /// What stands at a path of names, read without building the rest of the value.
    fn follow<'v>(&self, value: &'v [u8]) -> Result<Option<Node<'v>>, NoJson> {
        if self.steps.is_empty() {
            return Node::read(value).map(Some);
        }
        let mut lexer = Lexer::new(value)?;
        let mut at = 0;
        for step in &self.steps {
            let Step::Name(name) = step else { return Ok(None) };
            lexer.at = at;
            let Some(next) = member(&mut lexer, name)? else { return Ok(None) };
            at = next;
        }
        lexer.at = at;
        Node::next(&mut lexer).map(Some)
    }
}

/// Reads a name up to its closing quote, with what stands behind the bracket.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '\'' => return Some((name, text[at + 1..].strip_prefix(']')?)),
            other => name.push(other),
        }
    }
    None
}

/// Where the value of the member `name` begins; of a name that stands twice the last counts.
fn member(lexer: &mut Lexer<'_>, name: &str) -> Result<Option<usize>, NoJson> {
    if lexer.peek()? != b'{' {
        return Ok(None);
    }
    lexer.at += 1;
    let mut found = None;
    if lexer.peek()? == b'}' {
        return Ok(None);
    }
    loop {
        lexer.peek()?;
        let own = lexer.string()?;
        lexer.take(b':')?;
        lexer.peek()?;
        if own == name {
            found = Some(lexer.at);
        }
        skip(lexer)?;
        if !lexer.more(b'}')? {
            return Ok(found);
        }
    }
}

/// Passes over a value.
fn skip(lexer: &mut Lexer<'_>) -> Result<(), NoJson> {
    let mut open = 0_usize;
    loop {
        match lexer.peek()? {
            b'{' | b'[' => {
                open += 1;
                lexer.at += 1;
            }
            b'}' | b']' => {
                open = open.checked_sub(1).ok_or(NoJson)?;
                lexer.at += 1;
            }
            b',' | b':' => lexer.at += 1,
            b'"' => drop(lexer.string()?),
            b'n' => lexer.word("null")?,
            b't' => lexer.word("true")?,
            b'f' => lexer.word("false")?,
            _ => drop(lexer.number()?),
        }
        if open == 0 {
            return Ok(());
        }
    }
}

fn both<'v>(
    steps: &[Step],
    old: Option<Node<'v>>,
    new: Option<Node<'v>>,
    take: &mut dyn FnMut(Option<Node<'v>>, Option<Node<'v>>),
) {
    let Some((step, rest)) = steps.split_first() else {
        if old != new {
            take(old, new);
        }
        return;
    };
    match (step, old, new) {
        (Step::Name(name), old, new) => {
            both(rest, old.and_then(|node| named(node, name)), new.and_then(|node| named(node, name)), take);
        }
        (Step::Each, Some(Node::Array(old)), Some(Node::Array(new))) => {
            if old.len() == new.len() && old.len() <= ELEMENTS_MAX {
                for (old, new) in old.into_iter().zip(new) {
                    both(rest, Some(old), Some(new), take);
                }
            } else if rest.is_empty() {
                take(Some(Node::Array(old)), Some(Node::Array(new)));
            }
        }
        (Step::Each, ..) => {}
    }
}

/// The member `name` of an object.
fn named<'v>(node: Node<'v>, name: &str) -> Option<Node<'v>> {
    let Node::Object(members) = node else { return None };
    members.into_iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
}

/// Shows every place of a value that has a path of names, the value itself left out, until `take` has seen enough of them.
pub(super) fn places<'n>(node: &'n Node<'_>, take: &mut dyn FnMut(&str, &'n Node<'n>)) {
    fn below<'n>(node: &'n Node<'_>, path: &mut String, left: &mut usize, take: &mut dyn FnMut(&str, &'n Node<'n>)) {
        let Node::Object(members) = node else { return };
        for (name, value) in members {
            if *left == 0 {
                return;
            }
            *left -= 1;
            let length = path.len();
            super::super::paths::push_name(path, name);
            take(path, value);
            below(value, path, left, take);
            path.truncate(length);
        }
    }
    below(node, &mut "$".to_owned(), &mut PLACES_MAX.clone(), take);
}

/// Places of one value that are looked at.
const PLACES_MAX: usize = 256;

/// Text of a scalar as a sentence shows it, cut to a bounded length; none for arrays and objects that hold something.
pub(super) fn shown(node: &Node<'_>) -> Option<String> {
    const SHOWN_MAX: usize = 60;
    let text: Cow<'_, str> = match node {
        Node::Null => "null".into(),
        Node::Bool(value) => value.to_string().into(),
        Node::Number(text) => (*text).into(),
        Node::Text(text) => format!("\"{text}\"").into(),
        Node::Array(elements) if elements.is_empty() => "[]".into(),
        Node::Object(members) if members.is_empty() => "{}".into(),
        Node::Array(_) | Node::Object(_) => return None,
    };
    if text.chars().count() <= SHOWN_MAX {
        return Some(text.into_owned());
    }
    Some(text.chars().take(SHOWN_MAX).chain(['…']).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(path: &str, old: &str, new: &str) -> Vec<(Option<String>, Option<String>)> {
        let mut found = Vec::new();
        let text = |node: Option<Node<'_>>| node.map(|node| shown(&node).unwrap_or_else(|| format!("{node:?}")));
        let place = Place::read(path).unwrap();
        place.each((old.as_bytes(), new.as_bytes()), &mut |old, new| found.push((text(old), text(new)))).unwrap();
        found
    }

    fn of(old: &str, new: &str) -> (Option<String>, Option<String>) {
        (Some(old.to_owned()), Some(new.to_owned()))
    }

    #[test]
    fn what_stands_at_a_path_is_found_in_both_values() {
        let (old, new) = (r#"{"x":[1,{"a":2}],"a":{"b c":1.50,"d":"é\n"}}"#, r#"{"a":{"b c":1.5,"d":"e"},"x":0}"#);
        assert_eq!(pairs("$.a['b c']", old, new), [of("1.50", "1.5")]);
        assert_eq!(pairs("$.a.d", old, new), [of("\"é\n\"", "\"e\"")]);
        assert_eq!(pairs("$.a.e", old, new), []);
        assert_eq!(pairs("$.y", r#"{"y":null}"#, "{}"), [(Some("null".to_owned()), None)]);
        assert_eq!(pairs(r"$['it\'s']", r#"{"it's":1}"#, r#"{"it's":2}"#), [of("1", "2")]);
        assert_eq!(pairs("$", "1", "2"), [of("1", "2")]);
        assert_eq!(pairs("$.a", r#"{"a":1,"a":2}"#, r#"{"a":3}"#), [of("2", "3")]);
    }

    #[test]
    fn elements_are_paired_by_place_where_arrays_are_of_one_length() {
        let old = r#"{"items":[{"p":1},{"p":2},{"p":3}]}"#;
        assert_eq!(pairs("$.items[*].p", old, r#"{"items":[{"p":1},{"p":5},{"p":6}]}"#), [of("2", "5"), of("3", "6")]);
        assert_eq!(pairs("$.items[*].p", old, r#"{"items":[{"p":9}]}"#), []);
        assert_eq!(pairs("$.a[*]", r#"{"a":[1,2]}"#, r#"{"a":[1]}"#).len(), 1);
    }

    #[test]
    fn what_is_no_path_or_no_json_is_told() {
        for path in ["", "a", "$a", "$['a"] {
            assert_eq!(Place::read(path), None, "{path}");
        }
        let place = Place::read("$").unwrap();
        assert!(place.each((b"12 raw", b"{}"), &mut |_, _| ()).is_err());
    }
}
