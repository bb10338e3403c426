//! Paths of rules, matched while a value is scanned.
//!
//! Names, indices, wildcards and descendants become a small automaton, so that a scan knows at each member which rules reach
//! it without building the value. Other queries of RFC 9535 (filters, slices, negative indices) stay queries.

use std::fmt::Write as _;

use serde_json_path::JsonPath;

use crate::settings::SettingError;

/// Steps of all paths of one automaton.
const STEPS_MAX: usize = 128;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(u64),
    Any,
}

/// A step and whether it may stand any depth below (`..`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    step: Step,
    deep: bool,
}

/// A path that a scan can follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanPath {
    segments: Vec<Segment>,
}

impl ScanPath {
    /// Whether it stands for one place at most.
    fn is_singular(&self) -> bool {
        self.segments.iter().all(|segment| !segment.deep && segment.step != Step::Any)
    }

    /// Whether it is the whole value.
    pub(super) fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// Its names, where it is made of names alone.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let name = |segment: &Segment| match &segment.step {
            Step::Name(name) if !segment.deep => Some(name.clone()),
            _ => None,
        };
        self.segments.iter().map(name).collect()
    }

    /// Whether it reaches an element of `list`, or what stands below one, by the element's place.
    pub(super) fn counts_places_of(&self, list: &Self) -> bool {
        self.segments.iter().enumerate().any(|(at, segment)| {
            let is_place = matches!(segment.step, Step::Index(_));
            is_place && (segment.deep || meet(&self.segments[..at], &list.segments))
        })
    }
}

/// Whether one place may be at the end of both.
fn meet(one: &[Segment], other: &[Segment]) -> bool {
    let (Some(first), Some(second)) = (one.first(), other.first()) else { return one.is_empty() && other.is_empty() };
    let fits = first.step == second.step || first.step == Step::Any || second.step == Step::Any;
    fits && meet(&one[1..], &other[1..])
        || first.deep && meet(one, &other[1..])
        || second.deep && meet(&one[1..], other)
}

/// A path as a rule has it.
#[derive(Debug, Clone)]
pub(super) enum Query {
    /// A scan follows it.
    Scan(ScanPath),
    /// It needs the whole value.
    General(JsonPath),
}

impl Query {
    /// Reads `text`, the setting `key`.
    pub(super) fn read(text: &str, key: &str) -> Result<Self, SettingError> {
        let query = JsonPath::parse(text).map_err(|error| {
            let problem = format!("`{text}` is no JSONPath: {error}");
            SettingError::new(key, problem, "Write a path such as `$.payment_id` or `$.items[*].price`.")
        })?;
        match segments(text) {
            Some(segments) if segments.is_empty() => {
                Err(SettingError::new(key, "`$` is the whole value", "Write a path below it, such as `$.payment_id`."))
            }
            Some(segments) => Ok(Self::Scan(ScanPath { segments })),
            None => Ok(Self::General(query)),
        }
    }

    /// Reads a path that a scan can follow; `$` is the whole value.
    pub(super) fn followed(text: &str, key: &str) -> Result<ScanPath, SettingError> {
        if text.trim() == "$" {
            return Ok(ScanPath { segments: Vec::new() });
        }
        match Self::read(text, key)? {
            Self::Scan(path) => Ok(path),
            Self::General(_) => {
                let problem = format!("`{text}` is more than names, indices and wildcards");
                Err(SettingError::new(key, problem, "Write a path such as `$.items[*].price`."))
            }
        }
    }

    /// Whether it stands for one place at most, and a scan can follow it.
    pub(super) fn is_singular(&self) -> bool {
        matches!(self, Self::Scan(path) if path.is_singular())
    }

    /// Its steps where they are names and `[*]` alone, as in the paths that reports show; none stands for every element.
    pub(super) fn plain_steps(&self) -> Option<Vec<Option<String>>> {
        let Self::Scan(path) = self else { return None };
        let step = |segment: &Segment| match &segment.step {
            _ if segment.deep => None,
            Step::Name(name) => Some(Some(name.clone())),
            Step::Any => Some(None),
            Step::Index(_) => None,
        };
        path.segments.iter().map(step).collect()
    }
}

/// Takes a path apart; none where it is more than names, indices, wildcards and descendants.
fn segments(text: &str) -> Option<Vec<Segment>> {
    let mut rest = text.trim().strip_prefix('$')?;
    let mut segments = Vec::new();
    while !rest.is_empty() {
        let deep = rest.starts_with("..");
        let after = if deep { &rest[2..] } else { rest.strip_prefix('.').unwrap_or(rest) };
        let (step, left) = if let Some(left) = after.strip_prefix('[') {
            if !deep && after.len() != rest.len() {
                return None;
            }
            bracket(left)?
        } else if let Some(left) = after.strip_prefix('*') {
            (Step::Any, left)
        } else {
            let end = after.find(['.', '[', ' ']).unwrap_or(after.len());
            if end == 0 || (after.len() == rest.len() && !deep) {
                return None;
            }
            (Step::Name(after[..end].to_owned()), &after[end..])
        };
        segments.push(Segment { step, deep });
        rest = left;
    }
    Some(segments)
}

/// Reads what stands after an opening bracket.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(left) = text.strip_prefix("*]") {
        return Some((Step::Any, left));
    }
    let quote = text.chars().next()?;
    if quote == '\'' || quote == '"' {
        let end = text[1..].find(quote)? + 1;
        let name = &text[1..end];
        // An escape in a name is left to the general query.
        if name.contains('\\') {
            return None;
        }
        return Some((Step::Name(name.to_owned()), text[end + 1..].strip_prefix(']')?));
    }
    let end = text.find(']')?;
    Some((Step::Index(text[..end].parse().ok()?), &text[end + 1..]))
}

/// Where a scan stands in each path of an automaton: bit n for its n-th state.
pub(super) type Mask = u128;

/// Paths joined into one automaton. The paths keep their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Automaton {
    states: Vec<State>,
    start: Mask,
}

#[derive(Debug, Clone)]
struct State {
    segment: Segment,
    path: u32,
    last: bool,
}

impl Automaton {
    /// Joins `paths`, each with its number (below 32). `None` where they have more steps in all than an automaton holds.
    pub(super) fn new<'p>(paths: impl Iterator<Item = (u32, &'p ScanPath)>) -> Option<Self> {
        let mut automaton = Self::default();
        for (path, scan) in paths {
            if automaton.states.len() + scan.segments.len() > STEPS_MAX || path >= 32 {
                return None;
            }
            automaton.start |= 1 << automaton.states.len();
            let last = scan.segments.len() - 1;
            let states = scan.segments.iter().enumerate();
            automaton.states.extend(states.map(|(at, segment)| State {
                segment: segment.clone(),
                path,
                last: at == last,
            }));
        }
        Some(automaton)
    }

    /// Where a scan stands at the top of a value.
    pub(super) fn start(&self) -> Mask {
        self.start
    }

    /// Goes down into the member `name`: the new mask, and bit n for each path n that ends there.
    pub(super) fn name(&self, mask: Mask, name: &str) -> (Mask, u32) {
        self.step(mask, |step| matches!(step, Step::Any) || matches!(step, Step::Name(own) if own == name))
    }

    /// Goes down into the element `index`.
    pub(super) fn index(&self, mask: Mask, index: u64) -> (Mask, u32) {
        self.step(mask, |step| matches!(step, Step::Any) || matches!(step, Step::Index(own) if *own == index))
    }

    fn step(&self, mask: Mask, fits: impl Fn(&Step) -> bool) -> (Mask, u32) {
        let (mut left, mut next, mut ends) = (mask, 0, 0);
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let state = &self.states[at];
            if state.segment.deep {
                next |= 1 << at;
            }
            if fits(&state.segment.step) {
                if state.last {
                    ends |= 1 << state.path;
                } else {
                    next |= 1 << (at + 1);
                }
            }
        }
        (next, ends)
    }
}

/// Appends the member `name` to a path as a report shows it: `.name` where names allow, else `['name']`.
pub(super) fn push_name(path: &mut String, name: &str) {
    let plain = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain {
        let _ = write!(path, ".{name}");
    } else {
        let _ = write!(path, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_indices_wildcards_and_descendants_are_followed_by_a_scan() {
        for text in
            ["$.a", "$.a.b[0]", "$['a b']['c']", "$.items[*].price", "$..price", "$.*", "$..*", "$[0]", "$..['x']"]
        {
            assert!(matches!(Query::read(text, "k"), Ok(Query::Scan(_))), "{text}");
        }
    }

    #[test]
    fn other_queries_need_the_whole_value() {
        for text in ["$.a[?@.b == 1]", "$.a[-1]", "$.a[0:2]", "$['a','b']", r"$['a\'b']"] {
            assert!(matches!(Query::read(text, "k"), Ok(Query::General(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_key() {
        for text in ["payment_id", "$.", "", "$.a[", "$"] {
            let error = Query::read(text, "compare.identity[0]").unwrap_err();
            assert_eq!(error.key, "compare.identity[0]", "{text}");
            assert!(error.instead.contains("$.payment_id"), "{text}");
        }
    }

    #[test]
    fn an_automaton_tells_at_each_step_which_paths_end_there() {
        let queries = ["$.a.b", "$..b", "$.a[*]", "$.a[1].c"].map(|text| Query::read(text, "k").unwrap());
        let paths = queries.iter().enumerate().filter_map(|(at, query)| match query {
            Query::Scan(path) => Some((at as u32, path)),
            Query::General(_) => None,
        });
        let automaton = Automaton::new(paths).unwrap();
        let (a, ends) = automaton.name(automaton.start(), "a");
        assert_eq!(ends, 0);
        assert_eq!(automaton.name(a, "b").1, 0b111);
        let (second, ends) = automaton.index(a, 1);
        assert_eq!(ends, 0b100);
        assert_eq!(automaton.name(second, "c").1, 0b1000);
        assert_eq!(automaton.name(automaton.start(), "b").1, 0b10);
    }
}
