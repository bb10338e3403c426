//! JSON with the place of every part: what is masked is cut out of the text, and all the rest keeps its bytes.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

/// Deepest nesting that is read; as in `serde_json`.
const DEPTH_MAX: usize = 128;

/// Most ways of choosing one member of each name that stands twice. What has more is treated as no JSON.
const CHOICES_MAX: usize = 64;

/// No node.
const NONE: usize = usize::MAX;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// One value inside a text of JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Where the value begins.
    pub(super) start: usize,
    /// Behind its last byte.
    pub(super) end: usize,
    /// Where its name stands, with the quotation marks; none for elements and the root.
    name: Option<Name>,
    /// Whether escapes stand in it; of texts alone.
    escaped: bool,
    /// First node that does not lie inside.
    next: usize,
    parent: usize,
    /// Sibling ahead of it.
    previous: usize,
}

/// Where the name of a member stands, with the quotation marks, and whether escapes stand in it.
#[derive(Debug, Clone, Copy)]
struct Name {
    start: usize,
    end: usize,
    escaped: bool,
}

impl Node {
    /// Where the member or element begins, with its name.
    pub(super) fn member_start(&self) -> usize {
        self.name.map_or(self.start, |name| name.start)
    }

    /// Behind the name of the member, with its quotation marks; where the value begins if it has none.
    pub(super) fn name_end(&self) -> usize {
        self.name.map_or(self.start, |name| name.end)
    }
}

/// A text of JSON taken apart: every value in the order of the text, the root first. Used again and again.
#[derive(Debug, Default)]
pub(super) struct Tape {
    nodes: Vec<Node>,
}

impl Tape {
    /// Takes `text` apart; false where it is no JSON (RFC 8259), with anything else but white space around it, or nested deeper
    /// than 128 levels.
    pub(super) fn read(&mut self, text: &[u8]) -> bool {
        self.nodes.clear();
        if std::str::from_utf8(text).is_err() {
            return false;
        }
        let mut reader = Reader { text, at: 0, nodes: &mut self.nodes };
        reader.blank();
        reader.value(NONE, NONE, None, 0).is_some() && {
            reader.blank();
            reader.at == text.len()
        }
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// Number of nodes; the root is number 0.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Members or elements of a node, in order; names that stand twice come twice.
    pub(super) fn children(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.nodes[node].next;
        let first = (node + 1 < end).then_some(node + 1);
        std::iter::successors(first, move |&child| Some(self.nodes[child].next).filter(|&next| next < end))
    }

    /// All nodes inside of `node`, itself first.
    pub(super) fn inside(&self, node: usize) -> Range<usize> {
        node..self.nodes[node].next
    }

    pub(super) fn previous(&self, node: usize) -> Option<usize> {
        Some(self.nodes[node].previous).filter(|&previous| previous != NONE)
    }

    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        Some(self.nodes[node].parent).filter(|&parent| parent != NONE)
    }

    /// The sibling behind a node.
    pub(super) fn following(&self, node: usize) -> Option<usize> {
        let (next, parent) = (self.nodes[node].next, self.parent(node)?);
        (next < self.nodes[parent].next).then_some(next)
    }

    /// Name of a member, with its escapes undone.
    pub(super) fn name<'t>(&self, text: &'t [u8], node: usize) -> Option<Cow<'t, str>> {
        self.nodes[node].name.map(|name| unescaped(&text[name.start..name.end]))
    }

    /// Whether a member is called `name`.
    pub(super) fn is_named(&self, text: &[u8], node: usize, name: &str) -> bool {
        self.nodes[node].name.is_some_and(|Name { start, end, escaped }| {
            let raw = &text[start + 1..end - 1];
            // Most names differ in their length or first letter: comparing all of them would be a call each.
            raw.len() == name.len() && raw.first() == name.as_bytes().first() && raw == name.as_bytes()
                || (escaped && unescaped(&text[start..end]) == name)
        })
    }

    /// What a node says: the content of a text, the spelling of all else.
    pub(super) fn content<'t>(&self, text: &'t [u8], node: usize) -> Cow<'t, [u8]> {
        let Node { kind, start, end, escaped, .. } = self.nodes[node];
        match kind {
            Kind::Text if !escaped => Cow::Borrowed(&text[start + 1..end - 1]),
            Kind::Text => match unescaped(&text[start..end]) {
                Cow::Borrowed(content) => Cow::Borrowed(content.as_bytes()),
                Cow::Owned(content) => Cow::Owned(content.into_bytes()),
            },
            _ => Cow::Borrowed(&text[start..end]),
        }
    }

    /// The innermost node around the byte `at`, and whether that byte belongs to the name of a member.
    pub(super) fn around(&self, at: usize) -> (usize, bool) {
        let mut node = 0;
        while let Some(child) = self.children(node).find(|&child| {
            let child = &self.nodes[child];
            (child.member_start()..child.end).contains(&at)
        }) {
            node = child;
        }
        (node, self.nodes[node].name.is_some_and(|name| (name.start..name.end).contains(&at)))
    }

    /// Every way of choosing one member of each name that stands twice in an object, as values: what reads JSON keeps one of
    /// them, and nobody knows which. None where there are more than [`CHOICES_MAX`].
    pub(super) fn choices(&self, text: &[u8]) -> Option<Vec<Value>> {
        let twice = self.twice(text);
        let count = twice
            .iter()
            .try_fold(1_usize, |count, group| count.checked_mul(group.len()).filter(|&count| count <= CHOICES_MAX))?;
        let choice = |mut number: usize| {
            let mut left_out = Vec::new();
            for group in &twice {
                let chosen = number % group.len();
                number /= group.len();
                left_out.extend(group.iter().enumerate().filter(|(at, _)| *at != chosen).map(|(_, &node)| node));
            }
            self.value(text, 0, &left_out)
        };
        Some((0..count).map(choice).collect())
    }

    /// Members of the same name in the same object, where there is more than one.
    fn twice(&self, text: &[u8]) -> Vec<Vec<usize>> {
        let mut groups = Vec::new();
        for object in (0..self.nodes.len()).filter(|&node| self.nodes[node].kind == Kind::Object) {
            let mut names: Vec<_> = self.children(object).map(|child| (self.name(text, child), child)).collect();
            names.sort_unstable();
            groups.extend(
                names
                    .chunk_by(|a, b| a.0 == b.0)
                    .filter(|group| group.len() > 1)
                    .map(|group| group.iter().map(|(_, node)| *node).collect()),
            );
        }
        groups
    }

    fn value(&self, text: &[u8], node: usize, left_out: &[usize]) -> Value {
        let children = || self.children(node).filter(|child| !left_out.contains(child));
        match self.nodes[node].kind {
            Kind::Object => {
                let member = |child| (self.name(text, child).unwrap_or_default().into_owned(), child);
                children().map(member).map(|(name, child)| (name, self.value(text, child, left_out))).collect()
            }
            Kind::Array => children().map(|child| self.value(text, child, left_out)).collect(),
            Kind::Text => String::from_utf8_lossy(&self.content(text, node)).into(),
            // A number beyond what can be told apart is compared as the largest one; it keeps its place and its bytes.
            Kind::Number => serde_json::from_slice(&self.content(text, node)).unwrap_or(f64::MAX.into()),
            Kind::Bool => (text[self.nodes[node].start] == b't').into(),
            Kind::Null => Value::Null,
        }
    }
}

/// Undoes the escapes of a text with its quotation marks. Halves of surrogate pairs come as U+FFFD.
fn unescaped(quoted: &[u8]) -> Cow<'_, str> {
    let raw = &quoted[1..quoted.len() - 1];
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    match serde_json::from_slice::<String>(quoted) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Owned(unescaped_with_halves(raw)),
    }
}

/// As [`unescaped`], for texts with halves of surrogate pairs, which the grammar allows and no Unicode text can hold.
fn unescaped_with_halves(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut units = Vec::new();
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        let letter = match (letter, if letter == '\\' { rest.next() } else { None }) {
            (_, Some('u')) => {
                let digits: String = rest.by_ref().take(4).collect();
                units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xFFFD));
                continue;
            }
            (_, Some('n')) => '\n',
            (_, Some('t')) => '\t',
            (_, Some('r')) => '\r',
            (_, Some('b')) => '\u{8}',
            (_, Some('f')) => '\u{c}',
            (_, Some(other)) => other,
            (letter, None) => letter,
        };
        units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&units)
}

struct Reader<'t, 'n> {
    text: &'t [u8],
    at: usize,
    nodes: &'n mut Vec<Node>,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads a value and returns its number.
    fn value(&mut self, parent: usize, previous: usize, name: Option<Name>, depth: usize) -> Option<usize> {
        let (index, start) = (self.nodes.len(), self.at);
        let kind = match self.peek()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::Text,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        };
        self.nodes.push(Node { kind, start, end: start, name, escaped: false, next: 0, parent, previous });
        match kind {
            Kind::Object | Kind::Array if depth >= DEPTH_MAX => return None,
            Kind::Object => self.members(index, b'}', depth)?,
            Kind::Array => self.members(index, b']', depth)?,
            Kind::Text => self.nodes[index].escaped = self.quoted()?,
            Kind::Number => self.number()?,
            Kind::Bool => self.word(if self.text[start] == b't' { b"true" } else { b"false" })?,
            Kind::Null => self.word(b"null")?,
        }
        (self.nodes[index].end, self.nodes[index].next) = (self.at, self.nodes.len());
        Some(index)
    }

    fn members(&mut self, index: usize, close: u8, depth: usize) -> Option<()> {
        self.at += 1;
        self.blank();
        if self.take(close).is_some() {
            return Some(());
        }
        let mut previous = NONE;
        loop {
            self.blank();
            let name = if close == b'}' {
                let start = self.at;
                let escaped = self.quoted()?;
                let name = Name { start, end: self.at, escaped };
                self.blank();
                self.take(b':')?;
                self.blank();
                Some(name)
            } else {
                None
            };
            previous = self.value(index, previous, name, depth + 1)?;
            self.blank();
            if self.take(b',').is_none() {
                return self.take(close);
            }
        }
    }

    /// Reads a text, and returns whether escapes stand in it.
    fn quoted(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut escaped = false;
        loop {
            let plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
            self.at += self.text[self.at..].iter().position(|byte| !plain(byte))?;
            match self.text[self.at] {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    match self.peek()? {
                        b'u' => {
                            let digits = self.text.get(self.at + 1..self.at + 5)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 5;
                        }
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Value> {
        let mut tape = Tape::default();
        tape.read(text.as_bytes()).then(|| tape.value(text.as_bytes(), 0, &[]))
    }

    #[test]
    fn json_is_told_from_what_is_none() {
        for text in ["1", " {} ", "[]", "-0.5e+10", "\"\\ud800\"", "[1,{\"a\":[null,true,false]}]", "\"é\\u00e9\\n\""]
        {
            assert!(read(text).is_some(), "{text}");
        }
        for text in [
            "",
            " ",
            "01",
            "1.",
            "+1",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "tru",
            "nul",
            "1 2",
            "\"",
            "\"\u{1}\"",
            "\"\\x\"",
            "NaN",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&deep(128)).is_some() && read(&deep(129)).is_none());
        assert!(!Tape::default().read(b"\"\xff\""));
    }

    #[test]
    fn every_choice_among_names_that_stand_twice_is_seen() {
        let text = br#"{"a":{"b":1},"a":{"b":2,"b":3}}"#;
        let mut tape = Tape::default();
        assert!(tape.read(text));
        let choices: Vec<String> = tape.choices(text).unwrap().iter().map(Value::to_string).collect();
        for expected in [r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#, r#"{"a":{"b":3}}"#] {
            assert!(choices.iter().any(|choice| choice == expected), "{expected} in {choices:?}");
        }
        let many = format!("[{}]", [r#"{"a":1,"a":2}"#; 7].join(","));
        assert!(tape.read(many.as_bytes()) && tape.choices(many.as_bytes()).is_none());
    }

    #[test]
    fn a_byte_is_found_in_its_member_or_its_name() {
        let text = br#"{"a": [1, {"b": "x@y"}]}"#;
        let mut tape = Tape::default();
        assert!(tape.read(text));
        let at = |part: &[u8]| text.windows(part.len()).position(|window| window == part).unwrap();
        let (node, in_name) = tape.around(at(b"@"));
        assert_eq!((tape.name(text, node).as_deref(), in_name), (Some("b"), false));
        let (node, in_name) = tape.around(at(b"b\""));
        assert_eq!((tape.name(text, node).as_deref(), in_name), (Some("b"), true));
    }

    proptest! {
        #[test]
        fn whatever_serde_reads_is_read_alike(text in super::super::sample::json()) {
            let expected: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read(&text), Some(expected));
        }

        #[test]
        fn text_that_was_broken_is_json_for_both_or_neither(text in super::super::sample::json(), at in 0_usize..200, with in "[\\[\\]{}\",:0-9a-z\\\\ .-]{0,2}") {
            let mut broken = text.clone();
            let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            broken.insert_str(at, &with);
            let expected = serde_json::from_str::<Value>(&broken);
            // A number beyond 64 bits of floating point and half a surrogate pair are JSON by its grammar, and no values of serde.
            if expected.is_ok() {
                prop_assert!(read(&broken).is_some(), "{}", broken);
            } else if !expected.unwrap_err().to_string().contains("out of range") && !broken.contains("\\u") {
                prop_assert!(read(&broken).is_none(), "{}", broken);
            }
        }
    }
}
