//! The scenario as a tree of TOML with spans: overrides laid over it, keys found by their path.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Override, Problem, Source};

/// Complaints of the parser that are told at once: behind a few the rest follows from them.
const ERRORS_MAX: usize = 3;

/// A scenario's tree, borrowed from its source.
#[derive(Debug, Clone)]
pub(super) struct Tree<'t> {
    root: Spanned<DeTable<'t>>,
}

impl<'t> Tree<'t> {
    /// Parses the text of `source` and lays its overrides over it, later ones last.
    ///
    /// # Errors
    ///
    /// Everything that is no TOML, and overrides that name no key.
    pub(super) fn parse(source: &'t Source) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(source.text());
        if !errors.is_empty() {
            return Err(errors
                .iter()
                .take(ERRORS_MAX)
                .map(|error| {
                    let instead = if error.message() == "duplicate key" { "Keep one of the two." } else { "" };
                    source.problem(error.span().unwrap_or(0..0), error.message(), instead)
                })
                .collect());
        }
        let mut tree = Self { root: table };
        for over in source.overrides() {
            tree.lay_over(over)
                .map_err(|(problem, instead)| vec![source.problem(over.start..over.start, &problem, instead)])?;
        }
        Ok(tree)
    }

    /// Returns the top-level table.
    pub(super) fn root(&self) -> &DeTable<'t> {
        self.root.get_ref()
    }

    /// Returns the whole tree, to be deserialised.
    pub(super) fn to_value(&self) -> Spanned<DeValue<'t>> {
        Spanned::new(self.root.span(), DeValue::Table(self.root.get_ref().clone()))
    }

    /// Returns where the value at `path` (`fault[0].probability`) stands; where it does not, its nearest ancestor's key.
    pub(super) fn span(&self, path: &str) -> Range<usize> {
        self.find(path).0
    }

    /// Returns the whole stretch of the value at `path`; of its nearest ancestor's where there is none.
    pub(super) fn value_span(&self, path: &str) -> Range<usize> {
        self.find(path).1
    }

    /// Returns where to point, the whole stretch of the value, and whether there is one.
    fn find(&self, path: &str) -> (Range<usize>, Range<usize>, bool) {
        let (mut span, mut whole) = (0..0, 0..0);
        let mut table = Some(self.root.get_ref());
        let mut array = None;
        for segment in segments(path) {
            let found = match (segment, table.take(), array.take()) {
                (Segment::Key(name), Some(inside), _) => {
                    inside.get_key_value(name).map(|(key, value)| (key.span(), value))
                }
                (Segment::Index(index), _, Some(inside)) => {
                    let inside: &toml::de::DeArray<'t> = inside;
                    inside.get(index).map(|value| (value.span(), value))
                }
                _ => None,
            };
            let Some((key, value)) = found else { return (span, whole, false) };
            whole = value.span();
            match value.get_ref() {
                DeValue::Table(inside) => {
                    table = Some(inside);
                    span = key;
                }
                DeValue::Array(inside) => {
                    array = Some(inside);
                    span = key;
                }
                _ => span = value.span(),
            }
        }
        (span, whole, true)
    }

    /// Whether something stands at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.find(path).2
    }

    /// Takes out the entry whose key or value stands exactly at `span`; false where there is none.
    pub(super) fn remove(&mut self, span: &Range<usize>) -> bool {
        remove_from(self.root.get_mut(), span)
    }

    /// Returns the tree with only one top-level key.
    pub(super) fn only(&self, name: &str) -> Self {
        let kept = self.root.get_ref().iter().filter(|(key, _)| key.get_ref() == name);
        let table: DeTable<'t> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        Self { root: Spanned::new(self.root.span(), table) }
    }

    /// Lays one override over the tree.
    fn lay_over(&mut self, over: &'t Override) -> Result<(), (String, &'static str)> {
        let form = "Write it as `--set drive.settle=2s`.";
        let parsed = over.lines.iter().find_map(|line| {
            // Only one key may come of it: a value with a line break in it is text, never further settings.
            DeTable::parse(line).ok().map(Spanned::into_inner).filter(|table| table.len() == 1)
        });
        let Some(table) = parsed else { return Err(("an override without key or value".into(), form)) };
        merge(self.root.get_mut(), moved_table(table, over.start))
            .map_err(|problem| (problem, "Indices count from zero; a new element is written in the file, or with the whole list, as in `--set 'a=[1, 2]'`."))
    }
}

/// One step of a key's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// Splits `fault[0].where.topics` at its dots and brackets.
fn segments(path: &str) -> Vec<Segment<'_>> {
    let mut segments = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        if !name.is_empty() {
            segments.push(Segment::Key(name));
        }
        segments.extend(indices.split(['[', ']']).filter_map(|index| index.parse().ok()).map(Segment::Index));
    }
    segments
}

fn remove_from(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(name) = found.map(|(key, _)| key.get_ref().to_string()) {
        return table.remove(name.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| remove_inside(value.get_mut(), span))
}

fn remove_inside(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(inside) => remove_from(inside, span),
        DeValue::Array(inside) => {
            let count = inside.len();
            let kept = inside.iter().filter(|item| item.span() != *span).cloned();
            *inside = kept.collect();
            inside.len() < count || inside.iter_mut().any(|item| remove_inside(item.get_mut(), span))
        }
        _ => false,
    }
}

fn merge<'t>(under: &mut DeTable<'t>, over: DeTable<'t>) -> Result<(), String> {
    for (key, value) in over {
        match under.get_mut(key.get_ref().as_ref()) {
            Some(existing) => merge_value(existing, value)?,
            None => match first_index(value.get_ref()) {
                Some(index) => return Err(format!("no element `{index}` in `{}`, which is not there", key.get_ref())),
                None => {
                    under.insert(key, value);
                }
            },
        }
    }
    Ok(())
}

/// Returns the first key of a path that is an index: a list that is not there has no element to change.
fn first_index<'t>(value: &'t DeValue<'_>) -> Option<&'t str> {
    let (key, value) = value.as_table().filter(|table| table.len() == 1)?.iter().next()?;
    if key.get_ref().parse::<usize>().is_ok() { Some(key.get_ref()) } else { first_index(value.get_ref()) }
}

fn merge_value<'t>(existing: &mut Spanned<DeValue<'t>>, value: Spanned<DeValue<'t>>) -> Result<(), String> {
    // An inline table replaces nothing but the keys that it names, as the dotted form does.
    match (existing.get_mut(), value) {
        (DeValue::Table(inside), over) if over.get_ref().is_table() => match over.into_inner() {
            DeValue::Table(over) => merge(inside, over),
            _ => Ok(()),
        },
        (DeValue::Array(inside), over) if over.get_ref().is_table() => match over.into_inner() {
            DeValue::Table(over) => merge_elements(inside, over),
            _ => Ok(()),
        },
        (_, value) => {
            *existing = value;
            Ok(())
        }
    }
}

fn merge_elements<'t>(inside: &mut toml::de::DeArray<'t>, over: DeTable<'t>) -> Result<(), String> {
    let count = inside.len();
    for (key, value) in over {
        let index = key.get_ref().parse::<usize>().ok();
        let element = index.and_then(|index| inside.get_mut(index));
        let Some(element) = element else {
            return Err(format!("no element `{}` in a list of {count}", key.get_ref()));
        };
        merge_value(element, value)?;
    }
    Ok(())
}

/// Lets a table stand `by` bytes further on.
fn moved_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = |span: Range<usize>| span.start + by..span.end + by;
    table
        .into_iter()
        .map(|(key, value)| (Spanned::new(moved(key.span()), key.into_inner()), moved_value(value, by)))
        .collect()
}

fn moved_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let inside = match value.into_inner() {
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|item| moved_value(item, by)).collect()),
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        scalar => scalar,
    };
    Spanned::new(span.start + by..span.end + by, inside)
}
