//! JSONPath over a text taken apart: which nodes of the text it selects.

use std::collections::BTreeMap;

use serde_json_path::{JsonPath, PathElement};

use super::scan::{Kind, Tape};

/// A path (RFC 9535). Names, indices, wildcards and descendants are followed on the text itself; all else, filters above all, is
/// asked of `serde_json_path`.
#[derive(Debug, Clone)]
pub(super) struct Path {
    text: String,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Steps(Vec<Step>),
    Query(JsonPath),
}

/// One segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// Whether it starts at every node inside as well.
    descendant: bool,
    pick: Pick,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pick {
    Name(String),
    Index(usize),
    All,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the words of the parser.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let query = JsonPath::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), way: steps(text).map_or(Way::Query(query), Way::Steps) })
    }

    /// The path as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it selects the whole value.
    pub(super) fn is_root(&self) -> bool {
        matches!(&self.way, Way::Steps(steps) if steps.is_empty())
    }

    /// Adds every node that the path selects to `found`, some of them more than once; false where names stand twice so often
    /// that nobody can tell.
    pub(super) fn select(&self, text: &[u8], tape: &Tape, found: &mut Vec<usize>) -> bool {
        match &self.way {
            Way::Steps(steps) => follow(steps, text, tape, 0, found),
            Way::Query(query) => {
                let Some(choices) = tape.choices(text) else { return false };
                let mut elements = Elements::default();
                for value in &choices {
                    for node in query.query_located(value).locations() {
                        let place: Vec<&PathElement<'_>> = node.iter().collect();
                        locate(&place, text, tape, &mut elements, 0, found);
                    }
                }
            }
        }
        true
    }
}

fn follow(steps: &[Step], text: &[u8], tape: &Tape, node: usize, found: &mut Vec<usize>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(node);
        return;
    };
    let starts = if step.descendant { tape.inside(node) } else { node..node + 1 };
    for start in starts {
        let kind = tape.node(start).kind;
        match &step.pick {
            Pick::Name(name) if kind == Kind::Object => {
                for child in tape.children(start).filter(|&child| tape.is_named(text, child, name)) {
                    follow(rest, text, tape, child, found);
                }
            }
            Pick::Index(index) if kind == Kind::Array => {
                if let Some(child) = tape.children(start).nth(*index) {
                    follow(rest, text, tape, child, found);
                }
            }
            Pick::All => tape.children(start).for_each(|child| follow(rest, text, tape, child, found)),
            _ => {}
        }
    }
}

/// Elements and members of the nodes that were asked for, so that as many places as a text has are found in one walk.
#[derive(Debug, Default)]
struct Elements {
    of: BTreeMap<usize, Vec<usize>>,
    named: BTreeMap<usize, BTreeMap<String, Vec<usize>>>,
}

impl Elements {
    fn nth(&mut self, tape: &Tape, node: usize, index: usize) -> Option<usize> {
        self.of.entry(node).or_insert_with(|| tape.children(node).collect()).get(index).copied()
    }

    /// Every member of a name.
    fn named(&mut self, text: &[u8], tape: &Tape, node: usize, name: &str) -> Vec<usize> {
        let members = self.named.entry(node).or_insert_with(|| {
            let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for child in tape.children(node) {
                if let Some(name) = tape.name(text, child) {
                    members.entry(name.into_owned()).or_default().push(child);
                }
            }
            members
        });
        members.get(name).cloned().unwrap_or_default()
    }
}

/// Finds where a place in a value stands in the text: in every member of its name.
fn locate(
    place: &[&PathElement<'_>],
    text: &[u8],
    tape: &Tape,
    elements: &mut Elements,
    node: usize,
    found: &mut Vec<usize>,
) {
    match place.split_first() {
        None => found.push(node),
        Some((PathElement::Name(name), rest)) => {
            for child in elements.named(text, tape, node, name) {
                locate(rest, text, tape, elements, child, found);
            }
        }
        Some((PathElement::Index(index), rest)) => {
            if let Some(child) = elements.nth(tape, node, *index) {
                locate(rest, text, tape, elements, child, found);
            }
        }
    }
}

/// Takes a path apart that is made of names, indices, wildcards and descendants; none where it holds anything else.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let descendant = rest.starts_with("..");
        let pick;
        (pick, rest) = match rest.strip_prefix("..") {
            Some(inside) if inside.starts_with('[') => bracketed(inside)?,
            Some(name) => named(name)?,
            None => match rest.strip_prefix('.') {
                Some(name) => named(name)?,
                None => bracketed(rest)?,
            },
        };
        steps.push(Step { descendant, pick });
    }
    Some(steps)
}

fn named(rest: &str) -> Option<(Pick, &str)> {
    if let Some(rest) = rest.strip_prefix('*') {
        return Some((Pick::All, rest));
    }
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii();
    (!name.is_empty() && name.chars().all(plain)).then(|| (Pick::Name(name.to_owned()), rest))
}

fn bracketed(rest: &str) -> Option<(Pick, &str)> {
    let rest = rest.strip_prefix('[')?;
    if let Some(quote) = rest.chars().next().filter(|letter| matches!(letter, '\'' | '"')) {
        let (name, rest) = rest[1..].split_once(quote)?;
        let rest = rest.strip_prefix(']')?;
        return (!name.contains('\\')).then(|| (Pick::Name(name.to_owned()), rest));
    }
    let (inside, rest) = rest.split_once(']')?;
    if inside == "*" {
        return Some((Pick::All, rest));
    }
    let digits = !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| inside.parse().ok()).flatten().map(|index| (Pick::Index(index), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The spellings of what a path selects, in the order of the text.
    fn selected(path: &str, text: &str) -> Vec<String> {
        let mut tape = Tape::default();
        assert!(tape.read(text.as_bytes()), "{text}");
        let mut found = Vec::new();
        assert!(Path::parse(path).unwrap().select(text.as_bytes(), &tape, &mut found));
        found.sort_unstable();
        found.dedup();
        found.iter().map(|&node| text[tape.node(node).start..tape.node(node).end].to_owned()).collect()
    }

    #[test]
    fn paths_select_what_they_say() {
        let text = r#"{"a":{"b":1,"c d":[10,{"b":2}]},"b":"x","é":3,"list":[{"k":"p","v":4},{"k":"q","v":5}]}"#;
        for (path, expected) in [
            ("$", &[text][..]),
            ("$.a.b", &["1"]),
            ("$['a']['c d'][0]", &["10"]),
            ("$.a[\"c d\"][1].b", &["2"]),
            ("$..b", &["1", "2", "\"x\""]),
            ("$.list[*].v", &["4", "5"]),
            ("$.list.*.v", &["4", "5"]),
            ("$.list[-1].v", &["5"]),
            ("$.list[?@.k == 'q'].v", &["5"]),
            ("$.é", &["3"]),
            ("$['b','é']", &["\"x\"", "3"]),
            ("$.missing..x", &[]),
            ("$.b.c", &[]),
        ] {
            assert_eq!(selected(path, text), expected, "{path}");
        }
    }

    #[test]
    fn names_that_stand_twice_are_selected_everywhere() {
        let text = r#"{"a":{"s":1},"a":{"s":2,"t":9},"\u0061":{"s":3}}"#;
        assert_eq!(selected("$.a.s", text), ["1", "2", "3"]);
        assert_eq!(selected("$..s", text), ["1", "2", "3"]);
        // By way of a filter: what holds for one of the two takes the members of both.
        assert_eq!(selected("$[?@.t == 9].s", text), ["1", "2", "3"]);
    }

    #[test]
    fn each_container_is_walked_once_for_all_places_in_it() {
        let text = format!("[{}]", ["{\"a\":1,\"b\":2}"; 3].join(","));
        let mut tape = Tape::default();
        assert!(tape.read(text.as_bytes()));
        let mut elements = Elements::default();
        let first = elements.nth(&tape, 0, 0).unwrap();
        assert_eq!(elements.named(text.as_bytes(), &tape, first, "b"), [first + 2]);
        let other = Tape::default();
        // What was walked is not asked of the tape again, which here holds nothing.
        assert_eq!(elements.nth(&other, 0, 2), Some(7));
        assert_eq!(elements.named(b"", &other, first, "a"), [first + 1]);
        let many = format!("[{}]", vec!["{\"a\":1}"; 100_000].join(","));
        assert_eq!(selected("$[?@.a>=0].a", &many).len(), 100_000);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "a", "$.", "$[", "$.a[?]", "$.a b"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn steps_and_queries_select_the_same(text in super::super::sample::json(), path in r"\$((\.|\.\.)(a|b|c|\*)|\[(0|1|\*)\]|\['a b'\]|\.\.\[0\]){0,4}") {
            let mut tape = Tape::default();
            prop_assert!(tape.read(text.as_bytes()));
            let path = Path::parse(&path).unwrap();
            prop_assert!(matches!(path.way, Way::Steps(_)));
            let query = Path { text: String::new(), way: Way::Query(JsonPath::parse(&path.text).unwrap()) };
            let (mut by_steps, mut by_query) = (Vec::new(), Vec::new());
            path.select(text.as_bytes(), &tape, &mut by_steps);
            query.select(text.as_bytes(), &tape, &mut by_query);
            by_steps.sort_unstable();
            by_query.sort_unstable();
            by_steps.dedup();
            by_query.dedup();
            prop_assert_eq!(by_steps, by_query);
        }
    }
}
