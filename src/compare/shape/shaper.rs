//! Values written anew, as their rules want them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::collect::{collect, skip_leaf};
use super::{Key, Shape, Shapes};
use crate::compare::forms::{Leaf, OURS};
use crate::compare::json::{DEPTH_MAX, Lexer, NoJson};
use crate::compare::paths::{Automaton, Mask};
use crate::compare::scan::{Wanted, mix, scan, scan_below};

/// Writes a value anew as its rules want it.
pub(super) struct Shaper<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) shapes: &'a Shapes,
    pub(super) automaton: &'a Automaton,
    pub(super) wanted: Wanted,
    /// Right answers found elsewhere in the value, by number of the rule.
    pub(super) among: Vec<(u32, BTreeSet<u64>)>,
    /// Hashes of what rules made nothing of, in order of appearance.
    pub(super) found: Vec<(u32, u64)>,
}

/// One element of an array without an order of its own.
struct Element {
    text: String,
    /// Hashes that are equal where the elements are: of what is said, of tolerated places, of how it is spelled.
    token: (u64, u64, u64),
    /// Hash of what is ignored in it.
    ignored: u64,
    found: Vec<(u32, u64)>,
}

impl Shaper<'_> {
    /// Looks up the right answers that stand elsewhere in the value.
    pub(super) fn answers(&mut self, value: &[u8]) -> Result<(), NoJson> {
        for (number, shape) in self.shapes.at(self.shapes.all) {
            let Shape::Among(path) = shape else { continue };
            let text = std::str::from_utf8(value).map_err(|_| NoJson)?;
            let mut right = BTreeSet::new();
            for range in collect(text, path)? {
                let answer = &text[range];
                match serde_json::from_str::<Vec<&serde_json::value::RawValue>>(answer) {
                    Ok(answers) => right.extend(answers.into_iter().map(|answer| said(answer.get()))),
                    Err(_) => _ = right.insert(said(answer)),
                }
            }
            self.among.push((number, right));
        }
        Ok(())
    }

    pub(super) fn value(&mut self, (mask, ends): (Mask, u32), depth: u32, out: &mut String) -> Result<(), NoJson> {
        if depth > DEPTH_MAX {
            return Err(NoJson);
        }
        let ends = ends & self.shapes.all;
        let first = self.lexer.peek()?;
        let (from, length) = (self.lexer.at, out.len());
        match first {
            b'{' => self.object(mask, depth, out)?,
            b'[' => match self.shapes.list(ends) {
                Some(_) => self.list(mask, ends, depth, out)?,
                None => self.array(mask, depth, out)?,
            },
            b'"' if ends != 0 => {
                let text = self.lexer.string()?;
                match self.shapes.leaf(ends, &Leaf::Text(text), &mut self.found) {
                    Some(leaf) => push_leaf(out, &leaf),
                    None => out.push_str(self.lexer.since(from)),
                }
            }
            b'-' | b'0'..=b'9' if ends != 0 => {
                let number = self.lexer.number()?;
                match self.shapes.leaf(ends, &Leaf::Number(Cow::Borrowed(number)), &mut self.found) {
                    Some(leaf) => push_leaf(out, &leaf),
                    None => out.push_str(number),
                }
            }
            _ => {
                skip_leaf(&mut self.lexer, first)?;
                out.push_str(self.lexer.since(from));
            }
        }
        if ends != 0 {
            self.take_right_answer(ends, from, length, out);
        }
        Ok(())
    }

    /// Puts one stand-in for all right answers.
    fn take_right_answer(&mut self, ends: u32, from: usize, length: usize, out: &mut String) {
        for (number, shape) in self.shapes.at(ends) {
            let right = match shape {
                Shape::OneOf(right) => right,
                Shape::Among(_) => match self.among.iter().find(|(other, _)| *other == number) {
                    Some((_, right)) => right,
                    None => continue,
                },
                _ => continue,
            };
            let answer = said(self.lexer.since(from));
            if right.contains(&answer) {
                out.truncate(length);
                push_text(out, &format!("{OURS}{number}"));
                self.found.push((number, answer));
                return;
            }
        }
    }

    fn object(&mut self, mask: Mask, depth: u32, out: &mut String) -> Result<(), NoJson> {
        self.lexer.take(b'{')?;
        out.push('{');
        if self.lexer.peek()? == b'}' {
            self.lexer.at += 1;
            out.push('}');
            return Ok(());
        }
        loop {
            self.lexer.peek()?;
            let from = self.lexer.at;
            let name = self.lexer.string()?;
            out.push_str(self.lexer.since(from));
            self.lexer.take(b':')?;
            out.push(':');
            let step = if mask == 0 { (0, 0) } else { self.automaton.name(mask, &name) };
            self.value(step, depth + 1, out)?;
            if !self.lexer.more(b'}')? {
                out.push('}');
                return Ok(());
            }
            out.push(',');
        }
    }

    fn array(&mut self, mask: Mask, depth: u32, out: &mut String) -> Result<(), NoJson> {
        self.lexer.take(b'[')?;
        out.push('[');
        if self.lexer.peek()? == b']' {
            self.lexer.at += 1;
            out.push(']');
            return Ok(());
        }
        for index in 0.. {
            let step = if mask == 0 { (0, 0) } else { self.automaton.index(mask, index) };
            self.value(step, depth + 1, out)?;
            if !self.lexer.more(b']')? {
                break;
            }
            out.push(',');
        }
        out.push(']');
        Ok(())
    }

    /// Writes the elements of an array in an order that follows from them alone, as far as its rule says that theirs is none.
    fn list(&mut self, mask: Mask, ends: u32, depth: u32, out: &mut String) -> Result<(), NoJson> {
        let mut elements = self.elements(mask, depth)?;
        let rule = self.shapes.at(ends).find(|(_, shape)| shape.is_list());
        let order = |places: &mut dyn Iterator<Item = u64>| places.fold(0, mix);
        let spelled = |element: &Element| mix(mix(element.token.0, element.token.1), element.token.2);
        match rule {
            Some((number, Shape::Set)) => {
                self.found.push((number, order(&mut elements.iter().map(spelled))));
                sort(&mut elements);
            }
            Some((number, Shape::Keyed(key))) => {
                let mut keyed: Vec<(Option<u64>, Element)> =
                    elements.into_iter().map(|element| (key.of(&element.text).map(said), element)).collect();
                self.found.push((number, order(&mut keyed.iter().map(|(key, _)| key.unwrap_or(1)))));
                // Elements without a key come last; of one key they stay in order.
                keyed.sort_by_key(|(key, _)| (key.is_none(), *key));
                elements = keyed.into_iter().map(|(_, element)| element).collect();
            }
            Some((number, Shape::Ties { by, n })) => {
                let before = order(&mut elements.iter().map(spelled));
                if break_ties(&mut elements, by, *n) {
                    self.found.push((number, before));
                }
            }
            _ => {}
        }
        out.push('[');
        for (at, element) in elements.into_iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&element.text);
            self.found.extend(element.found);
        }
        out.push(']');
        Ok(())
    }

    fn elements(&mut self, mask: Mask, depth: u32) -> Result<Vec<Element>, NoJson> {
        self.lexer.take(b'[')?;
        let mut elements = Vec::new();
        if self.lexer.peek()? == b']' {
            self.lexer.at += 1;
            return Ok(elements);
        }
        // No rule counts the places of such an array, so that any place will do.
        let (below, ends) = if mask == 0 { (0, 0) } else { self.automaton.index(mask, u64::MAX) };
        loop {
            let outside = std::mem::take(&mut self.found);
            let mut text = String::new();
            self.value((below, ends), depth + 1, &mut text)?;
            let found = std::mem::replace(&mut self.found, outside);
            let scanned = scan_below(text.as_bytes(), self.automaton, self.wanted, below)?;
            let token = match ends & self.wanted.tolerance {
                0 => (scanned.said, scanned.tolerated, scanned.spelled),
                _ => (0, mix(scanned.said, scanned.tolerated), 0),
            };
            let ignored =
                scanned.ignored.iter().fold(0, |hash, (number, part)| mix(mix(hash, u64::from(*number)), *part));
            elements.push(Element { text, token, ignored, found });
            if !self.lexer.more(b']')? {
                return Ok(elements);
            }
        }
    }
}

fn push_leaf(out: &mut String, leaf: &Leaf<'_>) {
    match leaf {
        Leaf::Text(text) => push_text(out, text),
        Leaf::Number(number) => out.push_str(number),
    }
}

/// Sorts elements by what they are; what does not count decides last.
fn sort(elements: &mut [Element]) {
    elements.sort_by(|one, other| {
        let by = |element: &Element| (element.token, element.ignored);
        by(one).cmp(&by(other)).then_with(|| one.found.cmp(&other.found))
    });
}

/// Sorts neighbours of one rank, and leaves of those at the cut nothing but their rank. False where an element has no rank: then
/// nothing was done.
fn break_ties(elements: &mut [Element], by: &Key, n: Option<u64>) -> bool {
    let ranks: Option<Vec<String>> = elements.iter().map(|element| by.of(&element.text).map(str::to_owned)).collect();
    let Some(ranks) = ranks else { return false };
    let hashes: Vec<u64> = ranks.iter().map(|rank| said(rank)).collect();
    let is_cut = n.is_none_or(|n| elements.len() as u64 >= n);
    let mut from = 0;
    for run in hashes.chunk_by(|one, other| one == other) {
        let to = from + run.len();
        if is_cut && to == elements.len() {
            for (element, rank) in elements[from..].iter_mut().zip(&ranks[from..]) {
                element.text = ranked(&by.names, rank);
                element.found.clear();
            }
        } else {
            sort(&mut elements[from..to]);
        }
        from = to;
    }
    true
}

/// An element of which nothing is known but its rank.
fn ranked(names: &[String], rank: &str) -> String {
    names
        .iter()
        .rev()
        .fold(rank.to_owned(), |inner, name| format!("{{{}:{inner}}}", serde_json::Value::from(name.as_str())))
}

pub(super) fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Hash of what a JSON text says; whatever is no JSON by its bytes.
pub(super) fn said(text: &str) -> u64 {
    scan(text.as_bytes(), &Automaton::default(), Wanted::default()).map_or(xxh3_64(text.as_bytes()), |found| found.said)
}
