//! Values in one shape: what rules declare to be the same is written the same, before it is hashed and before it is walked.
//!
//! Both the hash of the fast path and the exact walk see a value only in this shape, so that they cannot tell different stories.
//! At one place, in this order: what is ignored is left out, parts of texts are masked, values normalised in the order of the
//! rules, right answers taken for each other; a tolerance looks at what is left. An array is compared by the first that is
//! written of `keyed-by`, `set` and `any-of` by rank.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use regex::Regex;
use xxhash_rust::xxh3::xxh3_64;

use super::declared::{AnyOfSettings, EpochUnit, Form, Place};
use super::forms::{Leaf, OURS, written};
use super::json::{DEPTH_MAX, Lexer, NoJson};
use super::paths::{Automaton, Mask, Query, ScanPath};
use super::rules::CompareSettings;
use super::scan::{Wanted, mix, scan, scan_below};
use crate::settings::SettingError;

/// What a rule makes of the value at the end of its path.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// Elements of one key stand for each other.
    Keyed(Key),
    /// Elements have no place.
    Set,
    /// Neighbours of one rank have no place, and the last rank may be held by any.
    Ties { by: Key, n: Option<u64> },
    /// What matches does not count.
    Masked(Regex),
    /// Written in one way.
    Normal(Form, Option<EpochUnit>),
    /// One of the values at another path.
    Among(Automaton),
    /// One of these values, by their hashes.
    OneOf(BTreeSet<u64>),
}

impl Shape {
    fn is_list(&self) -> bool {
        matches!(self, Self::Keyed(_) | Self::Set | Self::Ties { .. })
    }
}

/// Names that lead from an element to its key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) names: Vec<String>,
    path: Automaton,
}

impl Key {
    fn read(text: &str, key: &str) -> Result<Self, SettingError> {
        let path = Query::followed(text, key)?;
        let names = path.names().filter(|names| !names.is_empty()).ok_or_else(|| {
            let problem = format!("`{text}` is no path of names within an element");
            SettingError::new(key, problem, "Write a path such as `$.sku` or `$.product.sku`.")
        })?;
        let path = Automaton::new([(0, &path)].into_iter()).ok_or_else(|| too_long(key))?;
        Ok(Self { names, path })
    }

    /// Text of the key in the text of an element; none where it has none.
    fn of<'e>(&self, element: &'e str) -> Option<&'e str> {
        let found = collect(element, &self.path).ok()?;
        found.into_iter().next().map(|range| &element[range])
    }
}

/// Rules that bring values into shape, in the order in which they act at one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    /// Number of the first in the automaton of all paths.
    first: u32,
    rules: Vec<Shape>,
    texts: Vec<String>,
    /// Those whose path is the whole value, a bit each by number.
    pub(super) root: u32,
    /// All of them.
    pub(super) all: u32,
}

fn too_long(key: &str) -> SettingError {
    SettingError::new(key, "the path has too many steps", "Write a shorter path; `$..name` covers many.")
}

/// A rule as it is read, with its path and where it was written.
struct Written {
    path: ScanPath,
    key: String,
    shown: String,
}

impl Shapes {
    /// How many rules the settings hold.
    pub(super) fn count(settings: &CompareSettings) -> usize {
        let lists = settings.keyed_by.len() + settings.set.len() + settings.any_of.len();
        lists + settings.normalise.len() + settings.mask_regex.len()
    }

    /// Reads the rules of `settings`, numbered from `first`, and adds their paths to `paths`, which holds all others'.
    pub(super) fn read(
        settings: &CompareSettings,
        place: &Place<'_>,
        first: u32,
        paths: &mut Vec<(u32, ScanPath)>,
    ) -> Result<Self, SettingError> {
        let mut shapes = Self { first, ..Self::default() };
        let mut lists: Vec<Written> = Vec::new();
        let mut read = |list: &str, at: usize, path: &str, said: &str, shape: Shape, nested: bool| {
            let key = place.key(list, at);
            let key = if nested { format!("{key}.path") } else { key };
            let path_read = Query::followed(path, &key)?;
            let number = first + shapes.rules.len() as u32;
            shapes.all |= 1 << number;
            if path_read.is_root() {
                shapes.root |= 1 << number;
            } else {
                paths.push((number, path_read.clone()));
            }
            if shape.is_list() {
                if let Some(twin) = lists.iter().find(|other| other.path == path_read) {
                    let problem = format!("`{path}` is declared twice, here and by {}", twin.key);
                    return Err(SettingError::new(key, problem, "Keep one of the two."));
                }
                lists.push(Written { path: path_read, key, shown: path.to_owned() });
            }
            shapes.rules.push(shape);
            shapes.texts.push(place.text(list, at, said));
            Ok(())
        };
        for (at, rule) in settings.keyed_by.iter().enumerate() {
            let key = Key::read(&rule.key, &format!("{}.key", place.key("keyed-by", at)))?;
            read("keyed-by", at, &rule.path, &rule.said(), Shape::Keyed(key), true)?;
        }
        for (at, path) in settings.set.iter().enumerate() {
            read("set", at, path, path, Shape::Set, false)?;
        }
        for (at, rule) in settings.mask_regex.iter().enumerate() {
            let pattern = pattern(&rule.pattern, &format!("{}.pattern", place.key("mask-regex", at)))?;
            read("mask-regex", at, &rule.path, &rule.said(), Shape::Masked(pattern), true)?;
        }
        for (at, rule) in settings.normalise.iter().enumerate() {
            if rule.unit.is_some() && rule.form != Form::Timestamp {
                let key = format!("{}.unit", place.key("normalise", at));
                return Err(SettingError::new(key, "only a timestamp has a unit", "Leave it out."));
            }
            read("normalise", at, &rule.path, &rule.said(), Shape::Normal(rule.form, rule.unit), true)?;
        }
        for (at, rule) in settings.any_of.iter().enumerate() {
            let shape = any_of(rule, &place.key("any-of", at))?;
            read("any-of", at, &rule.path, &rule.said(), shape, true)?;
        }
        for list in &lists {
            refuse_places(settings, place, list, paths)?;
        }
        Ok(shapes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Texts of the rules, in the order of their numbers.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// Number of the first rule.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Rules that `ends` names, in order, with their numbers.
    fn at(&self, ends: u32) -> impl Iterator<Item = (u32, &Shape)> {
        (self.first..).zip(&self.rules).filter(move |(number, _)| ends >> number & 1 == 1)
    }

    /// The rule that an array is compared by; none where it is compared as it stands.
    pub(super) fn list(&self, ends: u32) -> Option<&Shape> {
        if ends & self.all == 0 {
            return None;
        }
        self.at(ends).map(|(_, shape)| shape).find(|shape| shape.is_list())
    }

    /// Brings a value into shape; with it come hashes of what each rule made nothing of, by number. A value that is no JSON and
    /// that no rule on `$` is about stays as it is.
    pub(super) fn shaped<'v>(
        &self,
        value: Cow<'v, [u8]>,
        automaton: &Automaton,
        wanted: Wanted,
    ) -> (Cow<'v, [u8]>, Vec<(u32, u64)>) {
        let mut shaper = match Lexer::new(&value) {
            Ok(lexer) => Shaper { lexer, shapes: self, automaton, wanted, among: Vec::new(), found: Vec::new() },
            Err(_) => return (value, Vec::new()),
        };
        let mut out = String::with_capacity(value.len());
        let done = shaper.answers(&value).and_then(|()| shaper.value((automaton.start(), self.root), 0, &mut out));
        let found = match done {
            Ok(()) if shaper.lexer.is_done() => shaper.found,
            _ => {
                let mut found = Vec::new();
                let plain = self.plain(&value, &mut found);
                return (plain.map_or(value, Cow::Owned), found);
            }
        };
        (Cow::Owned(out.into_bytes()), found)
    }

    /// Brings plain text into the shape that rules on `$` ask for: a JSON text that none is written as.
    fn plain(&self, value: &[u8], found: &mut Vec<(u32, u64)>) -> Option<Vec<u8>> {
        self.at(self.root).find(|(_, shape)| matches!(shape, Shape::Masked(_) | Shape::Normal(..)))?;
        let text = Leaf::Text(Cow::Borrowed(std::str::from_utf8(value).ok()?));
        let mut out = String::new();
        match self.leaf(self.root, &text, found).unwrap_or(text) {
            Leaf::Text(text) => push_text(&mut out, &format!("{OURS}{text}")),
            Leaf::Number(number) => out.push_str(&number),
        }
        Some(out.into_bytes())
    }

    /// Masks and normalises a leaf; none where no rule has anything to do.
    fn leaf(&self, ends: u32, leaf: &Leaf<'_>, found: &mut Vec<(u32, u64)>) -> Option<Leaf<'static>> {
        let mut now = None;
        for (number, shape) in self.at(ends) {
            let before = now.as_ref().unwrap_or(leaf);
            let (after, silenced) = match (shape, before) {
                (Shape::Masked(pattern), Leaf::Text(text)) => {
                    let Some((masked, matched)) = masked(text, pattern) else { continue };
                    (Leaf::Text(Cow::Owned(masked)), matched)
                }
                (Shape::Normal(form, unit), before) => {
                    let Some(after) = written(before, *form, *unit) else { continue };
                    let kind = u64::from(matches!(before, Leaf::Text(_)));
                    let (Leaf::Text(text) | Leaf::Number(text)) = before;
                    (after, mix(xxh3_64(text.as_bytes()), kind))
                }
                _ => continue,
            };
            found.push((number, silenced));
            now = Some(after);
        }
        now
    }
}

fn pattern(text: &str, key: &str) -> Result<Regex, SettingError> {
    let refused = |problem: String| {
        let instead = "Write a regular expression that matches at least one character, such as `req-[0-9a-f]+`.";
        SettingError::new(key, problem, instead)
    };
    let pattern = Regex::new(text).map_err(|error| {
        let last = error.to_string();
        refused(format!("`{text}` is no regular expression: {}", last.lines().last().unwrap_or_default()))
    })?;
    if pattern.is_match("") { Err(refused(format!("`{text}` matches nothing at all"))) } else { Ok(pattern) }
}

fn any_of(rule: &AnyOfSettings, key: &str) -> Result<Shape, SettingError> {
    let refused =
        |part: &str, problem: &str, instead: &str| Err(SettingError::new(format!("{key}{part}"), problem, instead));
    if rule.n.is_some() && rule.by.is_none() {
        return refused(".n", "only a ranked array is cut", "Write `by` as well, such as `by = \"$.score\"`.");
    }
    if rule.n == Some(0) {
        return refused(".n", "an array of no elements has no ties", "Write 1 or more.");
    }
    match (&rule.by, &rule.among, &rule.values) {
        (Some(by), None, None) => Ok(Shape::Ties { by: Key::read(by, &format!("{key}.by"))?, n: rule.n }),
        (None, Some(among), None) => {
            let at = format!("{key}.among");
            let path = Query::followed(among, &at)?;
            if path.is_root() {
                return refused(".among", "`$` is the whole value", "Write a path below it, such as `$.tied[*]`.");
            }
            let path = Automaton::new([(0, &path)].into_iter()).ok_or_else(|| too_long(&at))?;
            Ok(Shape::Among(path))
        }
        (None, None, Some(values)) if values.is_empty() => {
            refused(".values", "no value is right", "Write the right ones, such as `values = [\"paid\", \"settled\"]`.")
        }
        (None, None, Some(values)) => Ok(Shape::OneOf(values.iter().map(|value| said(&value.to_string())).collect())),
        _ => refused("", "must say in one way which answers are right", "Write one of `by`, `among` and `values`."),
    }
}

/// Refuses rules that count the places of a list whose elements have none.
fn refuse_places(
    settings: &CompareSettings,
    place: &Place<'_>,
    list: &Written,
    paths: &[(u32, ScanPath)],
) -> Result<(), SettingError> {
    let Some((number, _)) = paths.iter().find(|(_, path)| path.counts_places_of(&list.path)) else { return Ok(()) };
    let (text, key) = all_paths(settings, place).nth(*number as usize).unwrap_or_default();
    let problem = format!("`{text}` counts places in `{}`, whose elements have none by {}", list.shown, list.key);
    Err(SettingError::new(key, problem, "Write `[*]` instead of the place."))
}

/// Paths of all rules by their numbers, with the keys they are written at.
fn all_paths<'s>(settings: &'s CompareSettings, place: &'s Place<'_>) -> impl Iterator<Item = (&'s str, String)> {
    let of = |list: &'static str, nested: bool, paths: Vec<&'s str>| {
        paths.into_iter().enumerate().map(move |(at, path)| {
            let key = place.key(list, at);
            (path, if nested { format!("{key}.path") } else { key })
        })
    };
    of("identity", false, settings.identity.iter().map(String::as_str).collect())
        .chain(of("ignore", false, settings.ignore.iter().map(String::as_str).collect()))
        .chain(of("tolerance", true, settings.tolerance.iter().map(|rule| rule.path.as_str()).collect()))
        .chain(of("keyed-by", true, settings.keyed_by.iter().map(|rule| rule.path.as_str()).collect()))
        .chain(of("set", false, settings.set.iter().map(String::as_str).collect()))
        .chain(of("mask-regex", true, settings.mask_regex.iter().map(|rule| rule.path.as_str()).collect()))
        .chain(of("normalise", true, settings.normalise.iter().map(|rule| rule.path.as_str()).collect()))
        .chain(of("any-of", true, settings.any_of.iter().map(|rule| rule.path.as_str()).collect()))
}

/// Puts a stand-in for each match; none where nothing matches. With it comes a hash of what matched.
fn masked(text: &str, pattern: &Regex) -> Option<(String, u64)> {
    let (mut out, mut from, mut hash) = (String::new(), 0, 0);
    for found in pattern.find_iter(text).filter(|found| !found.is_empty()) {
        out.push_str(&text[from..found.start()]);
        out.push(OURS);
        hash = mix(hash, xxh3_64(found.as_str().as_bytes()));
        from = found.end();
    }
    if from == 0 {
        return None;
    }
    out.push_str(&text[from..]);
    Some((out, hash))
}

/// Hash of what a JSON text says; whatever is no JSON by its bytes.
fn said(text: &str) -> u64 {
    scan(text.as_bytes(), &Automaton::default(), Wanted::default()).map_or(xxh3_64(text.as_bytes()), |found| found.said)
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Places of the values at the ends of the paths of `automaton`, in order of appearance.
fn collect(text: &str, automaton: &Automaton) -> Result<Vec<Range<usize>>, NoJson> {
    let mut collector = Collector { lexer: Lexer::new(text.as_bytes())?, automaton, found: Vec::new() };
    collector.value((automaton.start(), 0), 0)?;
    Ok(collector.found)
}

/// Goes over a value.
struct Collector<'a> {
    lexer: Lexer<'a>,
    automaton: &'a Automaton,
    found: Vec<Range<usize>>,
}

impl Collector<'_> {
    fn value(&mut self, (mask, ends): (Mask, u32), depth: u32) -> Result<(), NoJson> {
        if depth > DEPTH_MAX {
            return Err(NoJson);
        }
        let first = self.lexer.peek()?;
        let from = self.lexer.at;
        let number = self.found.len();
        if ends != 0 {
            self.found.push(from..from);
        }
        match first {
            b'{' => self.object(mask, depth)?,
            b'[' => self.array(mask, depth)?,
            _ => skip_leaf(&mut self.lexer, first)?,
        }
        if ends != 0 {
            self.found[number] = from..self.lexer.at;
        }
        Ok(())
    }

    fn object(&mut self, mask: Mask, depth: u32) -> Result<(), NoJson> {
        self.lexer.take(b'{')?;
        if self.lexer.peek()? == b'}' {
            self.lexer.at += 1;
            return Ok(());
        }
        loop {
            self.lexer.peek()?;
            let name = self.lexer.string()?;
            self.lexer.take(b':')?;
            let step = if mask == 0 { (0, 0) } else { self.automaton.name(mask, &name) };
            self.value(step, depth + 1)?;
            if !self.lexer.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, mask: Mask, depth: u32) -> Result<(), NoJson> {
        self.lexer.take(b'[')?;
        if self.lexer.peek()? == b']' {
            self.lexer.at += 1;
            return Ok(());
        }
        for index in 0.. {
            let step = if mask == 0 { (0, 0) } else { self.automaton.index(mask, index) };
            self.value(step, depth + 1)?;
            if !self.lexer.more(b']')? {
                break;
            }
        }
        Ok(())
    }
}

fn skip_leaf(lexer: &mut Lexer<'_>, first: u8) -> Result<(), NoJson> {
    match first {
        b'"' => lexer.string().map(|_| ()),
        b'n' => lexer.word("null"),
        b't' => lexer.word("true"),
        b'f' => lexer.word("false"),
        _ => lexer.number().map(|_| ()),
    }
}

/// Writes a value anew as its rules want it.
struct Shaper<'a> {
    lexer: Lexer<'a>,
    shapes: &'a Shapes,
    automaton: &'a Automaton,
    wanted: Wanted,
    /// Right answers found elsewhere in the value, by number of the rule.
    among: Vec<(u32, BTreeSet<u64>)>,
    /// Hashes of what rules made nothing of, in order of appearance.
    found: Vec<(u32, u64)>,
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
    fn answers(&mut self, value: &[u8]) -> Result<(), NoJson> {
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

    fn value(&mut self, (mask, ends): (Mask, u32), depth: u32, out: &mut String) -> Result<(), NoJson> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::compare::rules::Rules;
    use crate::compare::values::differences;

    fn rules(toml: &str) -> Rules {
        toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap()
    }

    /// Whether two values have the same hash, after looking that the walk tells the same.
    fn same(rules: &Rules, old: &str, new: &str) -> bool {
        let hash = |value: &str| {
            rules.scan(value.as_bytes()).map_or((xxh3_64(value.as_bytes()), 0), |found| (found.said, found.tolerated))
        };
        let ((old_said, old_near), (new_said, new_near)) = (hash(old), hash(new));
        let found = differences(Some(old.as_bytes()), Some(new.as_bytes()), rules);
        let walked = found.changes.is_empty();
        let exact = walked && found.tolerated.is_empty();
        assert_eq!((old_said, old_near) == (new_said, new_near), exact, "{old} {new} {found:?}");
        // What tolerances make equal is looked for among what is equal but for tolerated places.
        assert!(!walked || old_said == new_said, "{old} {new}");
        walked
    }

    #[track_caller]
    fn check(toml: &str, alike: &[&str], others: &[&str]) {
        let rules = rules(toml);
        for one in alike {
            for twin in alike {
                assert!(same(&rules, one, twin), "{toml}: {one} and {twin}");
            }
            for other in others {
                assert!(!same(&rules, one, other) && !same(&rules, other, one), "{toml}: {one} and {other}");
            }
        }
    }

    #[test]
    fn a_set_is_equal_in_any_order_and_only_with_as_many_of_each() {
        check(
            "set = ['$.tags']",
            &[r#"{"tags":["a","b","b"]}"#, r#"{"tags":["b","a","b"]}"#],
            &[
                r#"{"tags":["a","b"]}"#,
                r#"{"tags":["a","a","b"]}"#,
                r#"{"tags":["a","b","B"]}"#,
                r#"{"tags":["a","b","b",null]}"#,
                r#"{"tags":{"a":"b"}}"#,
                "{}",
            ],
        );
        check("set = ['$']", &["[1,2]", "[2,1.0]"], &["[1,2,2]", "[1]"]);
        check("set = ['$', '$[*]']", &["[[1,2],[3]]", "[[3],[2,1]]"], &["[[1],[2,3]]"]);
        check(
            "set = ['$..tags']",
            &[r#"{"a":[{"tags":[1,2]}]}"#, r#"{"a":[{"tags":[2,1]}]}"#],
            &[r#"{"a":[{"tags":[2]}]}"#],
        );
        check("", &[r#"{"tags":["a","b"]}"#], &[r#"{"tags":["b","a"]}"#]);
    }

    #[test]
    fn a_keyed_list_is_equal_by_key_and_drops_no_element() {
        let toml = "keyed-by = [{ path = '$.items', key = '$.p.sku' }]";
        check(
            toml,
            &[
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2},{"x":7}]}"#,
                r#"{"items":[{"x":7},{"p":{"sku":2},"n":2},{"p":{"sku":1.0},"n":1}]}"#,
            ],
            &[
                r#"{"items":[{"p":{"sku":1},"n":2},{"p":{"sku":2},"n":1},{"x":7}]}"#,
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2}]}"#,
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2},{"x":8}]}"#,
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":2},{"x":7},7]}"#,
            ],
        );
        // Of one key, and of none, they pair in order.
        check(
            toml,
            &[
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":1},"n":2},3,4]}"#,
                r#"{"items":[3,{"p":{"sku":1},"n":1},4,{"p":{"sku":1},"n":2}]}"#,
            ],
            &[
                r#"{"items":[{"p":{"sku":1},"n":2},{"p":{"sku":1},"n":1},3,4]}"#,
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":1},"n":2},4,3]}"#,
                r#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":1},"n":2},{"p":{"sku":1},"n":2},3,4]}"#,
            ],
        );
        let found = differences(
            Some(br#"{"items":[{"p":{"sku":1},"n":1},{"p":{"sku":2},"n":5}]}"#),
            Some(br#"{"items":[{"p":{"sku":3},"n":1},{"p":{"sku":2},"n":6}]}"#),
            &rules(toml),
        );
        let changes: Vec<String> = found.changes.iter().map(|(path, change)| format!("{path} {change:?}")).collect();
        assert_eq!(changes, ["$.items[*] Added", "$.items[*] Removed", "$.items[*].n Value"]);
    }

    #[test]
    fn ties_at_the_cut_may_be_broken_either_way_and_no_others() {
        let top = |list: &[(&str, i32)]| {
            let list: Vec<Json> = list.iter().map(|(id, score)| json!({ "id": id, "score": score })).collect();
            json!({ "top": list }).to_string()
        };
        let full = top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5), ("e", 5)]);
        let [swapped, other, both] = [
            top(&[("a", 9), ("c", 7), ("b", 7), ("e", 5), ("d", 5)]),
            top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5), ("f", 5)]),
            top(&[("a", 9), ("c", 7), ("b", 7), ("x", 5), ("y", 5)]),
        ];
        let wrong = [
            top(&[("a", 9), ("b", 7), ("x", 7), ("d", 5), ("e", 5)]),
            top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5)]),
            top(&[("a", 9), ("b", 7), ("c", 7), ("d", 5), ("e", 4)]),
            top(&[("b", 7), ("a", 9), ("c", 7), ("d", 5), ("e", 5)]),
            top(&[("x", 9), ("b", 7), ("c", 7), ("d", 5), ("e", 5)]),
        ];
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        let by = "any-of = [{ path = '$.top', by = '$.score' }]";
        check(by, &[&full, &swapped, &other, &both], &wrong);
        check("any-of = [{ path = '$.top', by = '$.score', n = 5 }]", &[&full, &swapped, &other, &both], &wrong);
        // Fewer than n were there: all of them are in it, and none can be another.
        check("any-of = [{ path = '$.top', by = '$.score', n = 6 }]", &[&full, &swapped], &[&other, &both]);
        // What has no rank is no ranked list.
        let ranked = r#"{"top":[{"score":5,"id":1},{"id":2}]}"#;
        check(by, &[ranked], &[r#"{"top":[{"score":5,"id":1},{"id":3}]}"#, r#"{"top":[{"id":2},{"score":5,"id":1}]}"#]);
    }

    #[test]
    fn one_of_several_right_answers_is_as_good_as_another() {
        for among in ["$.tied[*]", "$.tied"] {
            check(
                &format!("any-of = [{{ path = '$.winner', among = '{among}' }}]"),
                &[r#"{"winner":"a","tied":["a","b"]}"#, r#"{"winner":"b","tied":["a","b"]}"#],
                &[
                    r#"{"winner":"c","tied":["a","b"]}"#,
                    r#"{"winner":"c","tied":["a","b","c"]}"#,
                    r#"{"winner":null,"tied":["a","b"]}"#,
                    r#"{"tied":["a","b"]}"#,
                ],
            );
        }
        check(
            "any-of = [{ path = '$.via', values = ['cache', 7, [1]] }]",
            &[r#"{"via":"cache"}"#, r#"{"via":7.0}"#, r#"{"via":[1]}"#],
            &[r#"{"via":"disk"}"#, r#"{"via":"7"}"#, "{}"],
        );
    }

    #[test]
    fn values_are_normalised_only_where_that_is_declared() {
        check(
            "normalise = [{ path = '$.at', as = 'timestamp' }]",
            &[
                r#"{"at":"2013-01-05T00:00:00Z"}"#,
                r#"{"at":"2013-01-05T01:00:00.000+01:00"}"#,
                r#"{"at":"2013-01-04 19:00:00-0500"}"#,
                r#"{"at":"20130105T000000Z"}"#,
                r#"{"at":"Sat, 05 Jan 2013 00:00:00 GMT"}"#,
                r#"{"at":"2013-01-05"}"#,
                r#"{"at":"2013-01-05T00:00"}"#,
                r#"{"at":"2013-01-04T24:00:00Z"}"#,
                r#"{"at":1357344000}"#,
                r#"{"at":1357344000.0}"#,
                r#"{"at":1357344000000}"#,
                r#"{"at":"1357344000000"}"#,
                r#"{"at":1357344000000000}"#,
                r#"{"at":1357344000000000000}"#,
            ],
            &[
                r#"{"at":"2013-01-05T00:00:01Z"}"#,
                r#"{"at":"2013-01-05T00:00:00.000000001Z"}"#,
                r#"{"at":"2013-01-05T00:00:00+01:00"}"#,
                r#"{"at":1357344001}"#,
                r#"{"at":-1357344000}"#,
                r#"{"at":"2013-02-30"}"#,
                r#"{"at":"soon"}"#,
                r#"{"at":null}"#,
                "{}",
            ],
        );
        check(
            "normalise = [{ path = '$.at', as = 'timestamp', unit = 'ms' }]",
            &[r#"{"at":1357344000000}"#, r#"{"at":"2013-01-05T00:00:00Z"}"#],
            &[r#"{"at":1357344000}"#, r#"{"at":1357344000000000}"#],
        );
        check(
            "normalise = [{ path = '$.n', as = 'decimal' }]",
            &[r#"{"n":"19.90"}"#, r#"{"n":19.9}"#, r#"{"n":"+1.99e1"}"#, r#"{"n":"019.9"}"#],
            &[r#"{"n":"19.91"}"#, r#"{"n":-19.9}"#, r#"{"n":"19,90"}"#, r#"{"n":"19.90 EUR"}"#, r#"{"n":""}"#],
        );
        check(
            "normalise = [{ path = '$.n', as = 'integer' }]",
            &[r#"{"n":"7"}"#, r#"{"n":7}"#, r#"{"n":7.0}"#, r#"{"n":"007"}"#],
            &[r#"{"n":"7.0"}"#, r#"{"n":7.5}"#, r#"{"n":"8"}"#, r#"{"n":"-7"}"#, r#"{"n":" 7"}"#, r#"{"n":true}"#],
        );
        check("normalise = [{ path = '$.c', as = 'lower' }]", &[r#"{"c":"ÄB"}"#, r#"{"c":"äb"}"#], &[r#"{"c":"ab"}"#]);
        let both = "normalise = [{ path = '$.c', as = 'trim' }, { path = '$.*', as = 'lower' }]";
        check(both, &[r#"{"c":" A b\n"}"#, r#"{"c":"a B"}"#], &[r#"{"c":"ab"}"#]);
        check("", &[r#"{"n":"7"}"#], &[r#"{"n":7}"#]);
        check("", &[r#"{"at":"2013-01-05"}"#], &[r#"{"at":"2013-01-05T00:00:00Z"}"#]);
    }

    #[test]
    fn what_a_pattern_matches_counts_as_something_and_no_more() {
        check(
            "mask-regex = [{ path = '$.text', pattern = 'req-[0-9a-f]+' }]",
            &[r#"{"text":"see req-1a, req-2"}"#, r#"{"text":"see req-ff, req-0"}"#],
            &[r#"{"text":"see req-1a"}"#, r#"{"text":"see , "}"#, r#"{"text":"seen req-1a, req-2"}"#, r#"{"text":7}"#],
        );
        let plain = "mask-regex = [{ path = '$', pattern = '[0-9]+ ms' }]";
        check(plain, &["took 5 ms", "took 70 ms"], &["took ms", "needed 5 ms", r#""took 5 ms""#, "took"]);
        check(plain, &[r#""took 5 ms""#, r#""took 7 ms""#], &["took 5 ms"]);
        check("normalise = [{ path = '$', as = 'lower' }]", &["NULL", "Null"], &["null", "\"null\""]);
    }

    #[test]
    fn several_rules_act_at_one_place_and_below_one_another() {
        let toml = "set = ['$.items']
            tolerance = [{ path = '$.items[*].n', absolute = 0.5 }, { path = '$.sum', absolute = 0.5 }]
            normalise = [{ path = '$.sum', as = 'decimal' }, { path = '$.items[*].c', as = 'lower' }]
            ignore = ['$.items[*].at']";
        let rules = rules(toml);
        let near = |old: &str, new: &str| same(&rules, old, new);
        assert!(near(r#"{"sum":"5.0"}"#, r#"{"sum":5.4}"#));
        assert!(!near(r#"{"sum":"5.0"}"#, r#"{"sum":"5.6"}"#));
        let old = r#"{"items":[{"c":"A","n":1,"at":1},{"c":"b","n":1.4},{"c":"b","n":2}]}"#;
        assert!(near(old, r#"{"items":[{"c":"B","n":2},{"n":1.0,"c":"b"},{"c":"a","n":1,"at":9}]}"#));
        // 1.4 may stand for 1.7 and 2 for 2.4, but 1.4 for none of 2.0 and 2.4.
        assert!(near(old, r#"{"items":[{"c":"B","n":2.4},{"n":1.7,"c":"b"},{"c":"a","n":1}]}"#));
        assert!(!near(old, r#"{"items":[{"c":"B","n":2.4},{"n":2,"c":"b"},{"c":"a","n":1}]}"#));
    }

    #[test]
    fn as_many_elements_pair_within_a_tolerance_as_can_be() {
        let of_two =
            rules("set = ['$']\ntolerance = [{ path = '$[*].x', absolute = 1 }, { path = '$[*].y', absolute = 1 }]");
        let list = |points: &[(i32, i32)]| {
            let points: Vec<Json> = points.iter().map(|(x, y)| json!({ "x": x, "y": y })).collect();
            Json::from(points).to_string()
        };
        assert!(same(&of_two, &list(&[(0, 5), (1, 0), (2, 5)]), &list(&[(1, 4), (1, 1), (1, 6)])));
        assert!(!same(&of_two, &list(&[(0, 5), (1, 0), (2, 5)]), &list(&[(1, 4), (1, 2), (1, 6)])));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        for (toml, key) in [
            ("set = ['$.a', 'b']", "compare.set[1]"),
            ("set = ['$.a[?@.b]']", "compare.set[0]"),
            ("set = ['$.a', '$.a']", "compare.set[1]"),
            ("set = ['$.a']\nkeyed-by = [{ path = '$.a', key = '$.k' }]", "compare.set[0]"),
            ("keyed-by = [{ path = 'a', key = '$.k' }]", "compare.keyed-by[0].path"),
            ("keyed-by = [{ path = '$.a', key = '$[0]' }]", "compare.keyed-by[0].key"),
            ("keyed-by = [{ path = '$.a', key = '$' }]", "compare.keyed-by[0].key"),
            ("keyed-by = [{ path = '$.a', key = '$..k' }]", "compare.keyed-by[0].key"),
            ("any-of = [{ path = '$.a' }]", "compare.any-of[0]"),
            ("any-of = [{ path = '$.a', by = '$.b', among = '$.c' }]", "compare.any-of[0]"),
            ("any-of = [{ path = '$.a', by = '$.b', n = 0 }]", "compare.any-of[0].n"),
            ("any-of = [{ path = '$.a', among = '$.b', n = 3 }]", "compare.any-of[0].n"),
            ("any-of = [{ path = '$.a', among = '$' }]", "compare.any-of[0].among"),
            ("any-of = [{ path = '$.a', values = [] }]", "compare.any-of[0].values"),
            ("normalise = [{ path = 'a', as = 'lower' }]", "compare.normalise[0].path"),
            ("normalise = [{ path = '$.a', as = 'lower', unit = 'ms' }]", "compare.normalise[0].unit"),
            ("mask-regex = [{ path = '$.a', pattern = '(' }]", "compare.mask-regex[0].pattern"),
            ("mask-regex = [{ path = '$.a', pattern = 'x*' }]", "compare.mask-regex[0].pattern"),
            ("mask-regex = [{ path = '$.a', pattern = '(?=x)' }]", "compare.mask-regex[0].pattern"),
            ("set = ['$.a']\nignore = ['$.a[0].b']", "compare.ignore[0]"),
            ("set = ['$..a']\nidentity = ['$.b.a[1]']", "compare.identity[0]"),
            ("set = ['$.a']\ntolerance = [{ path = '$.*[2]', absolute = 1 }]", "compare.tolerance[0].path"),
            ("ignore = ['$.x']\ntopics.pay.ignore = ['$.y', 'z']", "compare.topics.pay.ignore[1]"),
            ("topics.pay.tolerance = [{ path = '$.a' }]", "compare.topics.pay.tolerance[0]"),
            ("set = ['$.a']\ntopics.pay.set = ['$.a']", "compare.topics.pay.set[0]"),
            (
                "set = ['$.a']\ntopics.pay.normalise = [{ path = '$.a[0]', as = 'trim' }]",
                "compare.topics.pay.normalise[0].path",
            ),
        ] {
            let error = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap_err();
            assert_eq!(error.key, key, "{toml}");
            assert!(!error.instead.is_empty(), "{toml}");
        }
        for unknown in ["sets = ['$.a']", "topics.pay.order = 'none'", "keyed-by = [{ path = '$.a', by = '$.b' }]"] {
            assert!(toml::from_str::<CompareSettings>(unknown).is_err(), "{unknown}");
        }
        // A place counts beside a set, and where another array is meant.
        for fine in ["set = ['$.a']\nignore = ['$.b[0]']", "set = ['$.a[*].b']\nignore = ['$.a[0].c']"] {
            assert!(toml::from_str::<CompareSettings>(fine).unwrap().check().is_ok(), "{fine}");
        }
    }

    const RULES: [&str; 12] = [
        "set = ['$.list']",
        "set = ['$.list', '$.list[*].list']\nignore = ['$.list[*].c']",
        "set = ['$..list']\ntolerance = [{ path = '$..a', absolute = 1 }]",
        "keyed-by = [{ path = '$.list', key = '$.a' }]",
        "keyed-by = [{ path = '$.list', key = '$.a' }]\nset = ['$.list[*].list']\ntolerance = [{ path = '$.list[*].b', absolute = 1 }]",
        "any-of = [{ path = '$.list', by = '$.a' }]",
        "any-of = [{ path = '$.list', by = '$.a', n = 2 }]\ntolerance = [{ path = '$.list[*].b', absolute = 1 }]",
        "any-of = [{ path = '$.a', among = '$.list[*].a' }, { path = '$..b', values = [1, 'X'] }]",
        "normalise = [{ path = '$..a', as = 'integer' }, { path = '$..b', as = 'lower' }]\nset = ['$.list']",
        "mask-regex = [{ path = '$..a', pattern = '[0-9]' }]\nkeyed-by = [{ path = '$..list', key = '$.a' }]",
        "ignore = ['$..a']\nset = ['$..list']\nnormalise = [{ path = '$..b', as = 'trim' }]\ntolerance = [{ path = '$..c', relative = 0.5 }]",
        "identity = ['$.b']\nset = ['$']\nignore = ['$.list[?@.a == 1]']\nany-of = [{ path = '$..list', by = '$.b' }]",
    ];

    fn leaf() -> impl Strategy<Value = Json> {
        prop_oneof![
            (0..3).prop_map(Json::from),
            prop::sample::select(vec!["x", "X", "1", " x", ""]).prop_map(Json::from),
            Just(Json::Null),
            Just(json!(1.5)),
        ]
    }

    fn value() -> impl Strategy<Value = Json> {
        let member = |inner: BoxedStrategy<Json>| {
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|members| members.into_iter().collect::<Json>())
        };
        let inner = prop_oneof![3 => member(leaf().boxed()), 1 => leaf()];
        let with_list = (member(leaf().boxed()), prop::collection::vec(inner, 0..4)).prop_map(|(mut value, list)| {
            value["list"] = Json::from(list);
            value
        });
        (with_list.clone(), prop::collection::vec(prop_oneof![with_list, leaf()], 0..3)).prop_map(
            |(mut value, further)| {
                value["list"].as_array_mut().unwrap().extend(further);
                value
            },
        )
    }

    /// The same value with its lists in another order, and perhaps a leaf changed.
    fn shuffled(value: &Json, by: usize, change: Option<&Json>) -> Json {
        let mut value = value.clone();
        if let Some(list) = value.get_mut("list").and_then(Json::as_array_mut) {
            let middle = by % list.len().max(1);
            list.rotate_left(middle);
            if by % 2 == 1 {
                list.reverse();
            }
            for element in list.iter_mut() {
                *element = shuffled(element, by / 2, None);
            }
            if let (Some(change), Some(first)) = (change, list.first_mut()) {
                match first.as_object_mut().and_then(|members| members.values_mut().next()) {
                    Some(member) => *member = change.clone(),
                    None => *first = change.clone(),
                }
            }
        }
        value
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn hashes_are_equal_exactly_where_the_walk_finds_nothing(
            toml in prop::sample::select(&RULES[..]),
            one in value(),
            other in value(),
            by in 0..12_usize,
            change in prop::option::of(leaf()),
        ) {
            let rules = rules(toml);
            let shuffled = shuffled(&one, by, change.as_ref());
            for (old, new) in [(&one, &other), (&one, &shuffled), (&shuffled, &one), (&one, &one)] {
                let walked = same(&rules, &old.to_string(), &new.to_string());
                prop_assert!(walked || old != new);
                // However it is spelled.
                let pretty = serde_json::to_string_pretty(new).unwrap();
                prop_assert_eq!(walked, same(&rules, &old.to_string(), &pretty));
            }
        }

        #[test]
        fn lists_without_places_are_equal_however_they_are_turned(
            toml in prop::sample::select(vec!["set = ['$..list']", "set = ['$..list']\nignore = ['$..c']\ntolerance = [{ path = '$..a', absolute = 1 }]"]),
            one in value(),
            by in 0..12_usize,
        ) {
            prop_assert!(same(&rules(toml), &one.to_string(), &shuffled(&one, by, None).to_string()));
        }
    }
}
