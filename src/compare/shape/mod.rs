//! Values in one shape: what rules declare to be the same is written the same, before it is hashed and before it is walked.
//!
//! Both the hash of the fast path and the exact walk see a value only in this shape, so that they cannot tell different stories.
//! At one place, in this order: what is ignored is left out, parts of texts are masked, values normalised in the order of the
//! rules, right answers taken for each other; a tolerance looks at what is left. An array is compared by the first that is
//! written of `keyed-by`, `set` and `any-of` by rank.

mod collect;
mod shaper;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;

use regex::Regex;
use xxhash_rust::xxh3::xxh3_64;

use self::collect::collect;
use self::shaper::{Shaper, push_text, said};
use super::declared::{AnyOfSettings, EpochUnit, Form, Place};
use super::forms::{Leaf, OURS, written};
use super::json::Lexer;
use super::paths::{Automaton, Query, ScanPath};
use super::rules::CompareSettings;
use super::scan::{Wanted, mix};
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
