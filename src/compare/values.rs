//! Where two values of one identity differ, path by path.

use std::borrow::Cow;
use std::collections::BTreeMap;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::Change;
use super::in_step::in_step;
use super::json::{Decimal, NoJson, Node};
use super::matching::Signature;
use super::paths::{Mask, push_name};
use super::regions;
use super::rules::Rules;
use super::scan::mix;
use xxhash_rust::xxh3::xxh3_64;

/// Elements of an array that are aligned exactly; longer arrays are compared place by place.
const ALIGNED_MAX: usize = 2_000;

/// What the comparison of two values found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Changes by path, array indices generalised to `[*]`; a path stands once for each change.
    pub(super) changes: Vec<(String, Change)>,
    /// Differences that a tolerance silenced, by its text.
    pub(super) tolerated: BTreeMap<String, u64>,
    /// Changes that an expectation covers, likewise, with its number; none of them stands among the others.
    pub(super) expected: Vec<(String, Change, u16)>,
}

/// Compares two values. Texts have one place, `$`; of bytes each region that differs is one.
pub(super) fn differences(old: Option<&[u8]>, new: Option<&[u8]>, rules: &Rules) -> Found {
    differences_beyond(None, old, new, rules)
}

/// Compares two values as [`differences`]; where they stand in old and new, `judged` says what a change there would be, and what
/// is expected of new is told apart.
pub(super) fn differences_beyond(
    judged: Option<&Signature>,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
    rules: &Rules,
) -> Found {
    let judged = judged.filter(|_| !rules.expected().is_empty());
    let (Some(old), Some(new)) = (old, new) else {
        let changes = if old == new { Vec::new() } else { vec![("$".to_owned(), Change::Type)] };
        return Found { changes, ..Found::default() };
    };
    let (old, new) = (rules.reduced(old).0, rules.reduced(new).0);
    let stepped = if rules.is_opaque() { None } else { in_step(&old, &new, judged, rules) };
    let mut found = stepped.unwrap_or_else(|| by_trees(&old, &new, judged, rules));
    found.expected.sort();
    found.expected.dedup();
    found.changes.sort();
    found.changes.dedup();
    // Of several numbers at one path, one that differs beyond its precision is enough.
    if found.changes.iter().any(|(_, change)| *change == Change::Precision) {
        let values = found.changes.clone();
        found.changes.retain(|(path, change)| {
            *change != Change::Precision
                || !values.iter().any(|(other, value)| other == path && *value == Change::Value)
        });
    }
    found
}

/// Compares two values as trees.
fn by_trees(old: &[u8], new: &[u8], judged: Option<&Signature>, rules: &Rules) -> Found {
    let mut walk = Walk { rules, judged, path: "$".to_owned(), found: Found::default() };
    let read = |value| if rules.is_opaque() { Err(NoJson) } else { Node::read(value) };
    match (read(old), read(new)) {
        (Ok(old), Ok(new)) => walk.below(&old, &new, (rules.automaton.start(), rules.root())),
        (Err(_), Err(_)) if old == new => {}
        (Err(_), Err(_)) if !rules.is_opaque() && regions::is_text(old) && regions::is_text(new) => {
            walk.push(Change::Value, None, None);
        }
        (Err(_), Err(_)) => walk.bytes(old, new),
        _ => walk.push(Change::Type, None, None),
    }
    walk.found
}

pub(super) struct Walk<'r> {
    pub(super) rules: &'r Rules,
    pub(super) judged: Option<&'r Signature>,
    pub(super) path: String,
    pub(super) found: Found,
}

impl Walk<'_> {
    pub(super) fn push(&mut self, change: Change, old: Option<&Node<'_>>, new: Option<&Node<'_>>) {
        match self.expected(change, old, new) {
            Some(number) => self.found.expected.push((self.path.clone(), change, number)),
            None => self.found.changes.push((self.path.clone(), change)),
        }
    }

    /// Which expectation covers a change here.
    fn expected(&self, change: Change, old: Option<&Node<'_>>, new: Option<&Node<'_>>) -> Option<u16> {
        let judged = self.judged.filter(|_| self.rules.expected().speaks_of_path(&self.path))?;
        let signature = Signature { path: Some(self.path.clone()), change: Some(change), ..judged.clone() };
        self.rules.expected().covers(&signature, old, new)
    }

    /// Names the regions in which bytes differ.
    fn bytes(&mut self, old: &[u8], new: &[u8]) {
        for (path, change) in regions::places(old, new) {
            self.path = path;
            self.push(change, None, None);
        }
    }

    pub(super) fn value(&mut self, old: &Node<'_>, new: &Node<'_>, mask: Mask) {
        match (old, new) {
            (Node::Object(old), Node::Object(new)) => self.objects(old, new, mask),
            (Node::Array(old), Node::Array(new)) => self.arrays(old, new, mask),
            (Node::Number(one), Node::Number(other)) => {
                if let Some(change) = number_change(one, other) {
                    self.push(change, Some(old), Some(new));
                }
            }
            (Node::Text(one), Node::Text(other)) if one != other => self.push(Change::Value, Some(old), Some(new)),
            (Node::Bool(one), Node::Bool(other)) if one != other => self.push(Change::Value, Some(old), Some(new)),
            (Node::Text(_), Node::Text(_)) | (Node::Bool(_), Node::Bool(_)) | (Node::Null, Node::Null) => {}
            _ => self.push(Change::Type, Some(old), Some(new)),
        }
    }

    /// Goes down to a member or element that both sides have, unless a rule ends there.
    pub(super) fn below(&mut self, old: &Node<'_>, new: &Node<'_>, (mask, ends): (Mask, u32)) {
        if ends & self.rules.wanted.ignore != 0 {
            return;
        }
        if ends & self.rules.wanted.tolerance != 0 && self.is_tolerated(old, new, ends) {
            return;
        }
        if let (Some(list), Node::Array(old), Node::Array(new)) = (self.rules.list(ends), old, new) {
            return self.lists(list, old, new, mask);
        }
        self.value(old, new, mask);
    }

    fn is_tolerated(&mut self, old: &Node<'_>, new: &Node<'_>, ends: u32) -> bool {
        let (Node::Number(old), Node::Number(new)) = (old, new) else { return false };
        let (Ok(old_number), Ok(new_number)) = (old.parse::<f64>(), new.parse::<f64>()) else { return false };
        let mut left = ends & self.rules.wanted.tolerance;
        while left != 0 {
            let rule = self.rules.tolerance(left.trailing_zeros());
            left &= left - 1;
            if let Some((_, text)) = rule.filter(|(tolerance, _)| tolerance.allows(old_number, new_number)) {
                if Decimal::read(old) != Decimal::read(new) {
                    *self.found.tolerated.entry(text).or_default() += 1;
                }
                return true;
            }
        }
        false
    }

    pub(super) fn at_name(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        push_name(&mut self.path, name);
        inner(self);
        self.path.truncate(length);
    }

    pub(super) fn at_element(&mut self, inner: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str("[*]");
        inner(self);
        self.path.truncate(length);
    }

    fn objects(&mut self, old: &[(Cow<'_, str>, Node<'_>)], new: &[(Cow<'_, str>, Node<'_>)], mask: Mask) {
        let (old, new) = (by_name(old), by_name(new));
        let mut removed = Vec::new();
        let mut added: Vec<(&str, &Node<'_>)> = Vec::new();
        for (name, value) in &old {
            let step = self.rules.automaton.name(mask, name);
            match new.get(name) {
                Some(other) => self.at_name(name, |walk| walk.below(value, other, step)),
                None if step.1 & self.rules.wanted.ignore != 0 => {}
                None => removed.push((*name, *value)),
            }
        }
        for (name, value) in &new {
            let step = self.rules.automaton.name(mask, name);
            if !old.contains_key(name) && step.1 & self.rules.wanted.ignore == 0 {
                added.push((*name, *value));
            }
        }
        for (name, value) in removed {
            let twin = added.iter().position(|(_, other)| *other == value && *value != Node::Null);
            let (change, new) = match (value, twin) {
                (Node::Null, _) => (Change::NullOrAbsent, None),
                (_, Some(at)) => (Change::Renamed, Some(added.remove(at).1)),
                _ => (Change::Removed, None),
            };
            self.at_name(name, |walk| walk.push(change, Some(value), new));
        }
        for (name, value) in added {
            let change = if *value == Node::Null { Change::NullOrAbsent } else { Change::Added };
            self.at_name(name, |walk| walk.push(change, None, Some(value)));
        }
    }

    pub(super) fn arrays(&mut self, old: &[Node<'_>], new: &[Node<'_>], mask: Mask) {
        if old == new {
            return;
        }
        let (old_hashes, new_hashes) = (hashes(old), hashes(new));
        if is_permutation(&old_hashes, &new_hashes) && mask == 0 {
            if old_hashes != new_hashes {
                self.push(Change::ArrayOrder, None, None);
            }
            return;
        }
        if mask != 0 || old.len().max(new.len()) > ALIGNED_MAX {
            return self.places(old, new, mask, 0);
        }
        for operation in capture_diff_slices(Algorithm::Myers, &old_hashes, &new_hashes) {
            if !matches!(operation, DiffOp::Equal { .. }) {
                self.places(
                    &old[operation.old_range()],
                    &new[operation.new_range()],
                    mask,
                    operation.old_range().start,
                );
            }
        }
    }

    /// Compares place by place, the first of `old` being the element `first` of its array.
    fn places(&mut self, old: &[Node<'_>], new: &[Node<'_>], mask: Mask, first: usize) {
        for at in 0..old.len().max(new.len()) {
            let step = self.rules.automaton.index(mask, (first + at) as u64);
            if step.1 & self.rules.wanted.ignore != 0 {
                continue;
            }
            self.at_element(|walk| match (old.get(at), new.get(at)) {
                (Some(old), Some(new)) => walk.below(old, new, step),
                (old @ Some(_), None) => walk.push(Change::Removed, old, None),
                (_, new) => walk.push(Change::Added, None, new),
            });
        }
    }
}

/// How one number changed to another; none where they are equal.
fn number_change(old_text: &str, new_text: &str) -> Option<Change> {
    let (old, new) = (Decimal::read(old_text), Decimal::read(new_text));
    if old == new {
        return None;
    }
    // Places behind the point; zeros in front of it are not a matter of precision.
    let (old_place, new_place) = (Decimal::last_place(old_text).min(0), Decimal::last_place(new_text).min(0));
    let coarser = old_place.max(new_place);
    let rounded = old_place != new_place && old.rounded(coarser) == new.rounded(coarser);
    Some(if rounded { Change::Precision } else { Change::Value })
}

/// Members by name; of a name that stands twice the last counts, as for most readers.
pub(super) fn by_name<'n, 'a>(members: &'n [(Cow<'a, str>, Node<'a>)]) -> BTreeMap<&'n str, &'n Node<'a>> {
    members.iter().map(|(name, value)| (name.as_ref(), value)).collect()
}

fn hashes(elements: &[Node<'_>]) -> Vec<u64> {
    elements.iter().map(node_hash).collect()
}

fn is_permutation(old: &[u64], new: &[u64]) -> bool {
    let sorted = |hashes: &[u64]| {
        let mut hashes = hashes.to_vec();
        hashes.sort_unstable();
        hashes
    };
    old.len() == new.len() && sorted(old) == sorted(new)
}

/// Hash of an element, equal where [`Node`]s are: enough to align arrays by.
pub(super) fn node_hash(node: &Node<'_>) -> u64 {
    match node {
        Node::Null => 1,
        Node::Bool(value) => 2 + u64::from(*value),
        Node::Number(text) => {
            let number = Decimal::read(text);
            mix(xxh3_64(&number.digits), (number.exponent as u64) << 1 | u64::from(number.negative))
        }
        Node::Text(text) => mix(4, xxh3_64(text.as_bytes())),
        Node::Array(elements) => elements.iter().fold(5, |hash, element| mix(hash, node_hash(element))),
        Node::Object(members) => {
            let member = |(name, value): (&&str, &&Node<'_>)| mix(xxh3_64(name.as_bytes()), node_hash(value));
            by_name(members).iter().map(member).fold(6, mix)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::CompareSettings;

    fn check(toml: &str, old: &str, new: &str, expected: &[(&str, Change)]) {
        let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap();
        let found = differences(Some(old.as_bytes()), Some(new.as_bytes()), &rules);
        let expected: Vec<(String, Change)> =
            expected.iter().map(|(path, change)| ((*path).to_owned(), *change)).collect();
        assert_eq!(found.changes, expected, "{old} {new}");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (0..12_i32).prop_map(Into::into),
            prop::sample::select(vec![1.5, 10.0, 0.25, 100.0]).prop_map(Into::into),
            "[ab\n]{0,2}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same value with one leaf changed, so that two are alike but for one place.
    fn touched(value: &serde_json::Value, left: &mut usize, with: &serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), touched(value, left, with))).collect()
            }
            serde_json::Value::Array(elements) => elements.iter().map(|value| touched(value, left, with)).collect(),
            leaf => {
                *left = left.wrapping_sub(1);
                if *left == 0 { with.clone() } else { leaf.clone() }
            }
        }
    }

    const RULES: [&str; 6] = [
        "",
        "ignore = ['$.a']",
        "ignore = ['$..b']\ntolerance = [{ path = '$.a', absolute = 1.0 }]",
        "tolerance = [{ path = '$..c', relative = 0.5 }]",
        "set = ['$.a']\nkeyed-by = [{ path = '$.b', key = '$.a' }]",
        "mask-regex = [{ path = '$.a', pattern = 'a' }]",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn values_in_step_differ_as_their_trees_do(
            old in json(),
            other in json(),
            place in prop::option::weighted(0.8, 1..6_usize),
            pretty in any::<bool>(),
            rules in prop::sample::select(&RULES[..]),
        ) {
            let rules = toml::from_str::<CompareSettings>(rules).unwrap().check().unwrap();
            let new = place.map_or_else(|| other.clone(), |mut place| touched(&old, &mut place, &other));
            let new = if pretty { serde_json::to_string_pretty(&new).unwrap() } else { new.to_string() };
            let (old, new) = (old.to_string(), new.as_bytes());
            if let Some(found) = in_step(old.as_bytes(), new, None, &rules) {
                prop_assert_eq!(found, by_trees(old.as_bytes(), new, None, &rules), "{}", old);
            }
        }

        #[test]
        fn texts_in_step_are_json_on_both_sides(
            old in "[\\[\\]{}:,\"01.e \\-ntrue\\\\]{0,12}",
            new in "[\\[\\]{}:,\"01.e \\-ntrue\\\\]{0,12}",
            nested in any::<bool>(),
        ) {
            let rules = CompareSettings::default().check().unwrap();
            let whole = |text: String| if nested { format!("{{\"a\":{text},\"b\":1}}") } else { text };
            let (old, new) = (whole(old), whole(new));
            if let Some(found) = in_step(old.as_bytes(), new.as_bytes(), None, &rules) {
                prop_assert!(Node::read(old.as_bytes()).is_ok() && Node::read(new.as_bytes()).is_ok());
                prop_assert_eq!(found, by_trees(old.as_bytes(), new.as_bytes(), None, &rules));
            }
        }
    }

    #[test]
    fn values_alike_but_for_one_scalar_go_in_step_and_others_as_trees() {
        let rules = CompareSettings::default().check().unwrap();
        let old = r#"{"id":"p-1","at":{"x":[1,2],"n":12},"amount":1.50}"#;
        for (new, goes) in [
            (r#"{"id":"p-1","at":{"x":[1,2],"n":12},"amount":1.5}"#, true),
            (r#"{"id":"p-1", "at":{"x":[1,3],"n":1} ,"amount":"1.50"}"#, true),
            (r#"{"id":"p-1","at":{"x":[1,2],"n":12},"amounts":1.50}"#, false),
            (r#"{"at":{"x":[1,2],"n":12},"id":"p-1","amount":1.50}"#, false),
            (r#"{"id":"p-1","at":{"x":[1,2],"n":12},"amount":1.50,"amount":1.50}"#, false),
            (r#"{"id":"p-1","at":{"x":[1,2],"n":12},"amount":1.50"#, false),
        ] {
            assert_eq!(in_step(old.as_bytes(), new.as_bytes(), None, &rules).is_some(), goes, "{new}");
        }
        let deep = |levels: usize, inner: &str| format!("{}{inner}{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        for (levels, inner) in [(127, "1"), (128, "1"), (129, "1"), (100, "[[[[[[[[[[1]]]]]]]]]]")] {
            let (old, new) = (deep(levels, inner), deep(levels, &inner.replace('1', "2")));
            let read = Node::read(old.as_bytes()).is_ok();
            assert_eq!(in_step(old.as_bytes(), new.as_bytes(), None, &rules).is_some(), read, "{levels}");
        }
    }

    #[test]
    fn each_change_is_named_at_its_path() {
        for (old, new, path, change) in [
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#, "$.a.b", Change::Value),
            (r#"{"a":1}"#, r#"{"a":"1"}"#, "$.a", Change::Type),
            (r#"{"a":1.237}"#, r#"{"a":1.24}"#, "$.a", Change::Precision),
            (r#"{"a":10}"#, r#"{"a":10.4}"#, "$.a", Change::Precision),
            (r#"{"a":100}"#, r#"{"a":130}"#, "$.a", Change::Value),
            (r#"{"a":1.000}"#, r#"{"a":1.016}"#, "$.a", Change::Value),
            ("{}", r#"{"a":1}"#, "$.a", Change::Added),
            (r#"{"a":1}"#, "{}", "$.a", Change::Removed),
            (r#"{"a":1}"#, r#"{"b":1}"#, "$.a", Change::Renamed),
            (r#"{"a":null}"#, "{}", "$.a", Change::NullOrAbsent),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, "$.a", Change::ArrayOrder),
            (r#"{"a":[{"p":1},{"p":2}]}"#, r#"{"a":[{"p":1},{"p":3}]}"#, "$.a[*].p", Change::Value),
            (r#"{"a":[{"p":1.25},{"p":2}]}"#, r#"{"a":[{"p":1.3},{"p":2.4}]}"#, "$.a[*].p", Change::Precision),
            (r#"{"a":[{"p":1.25},{"p":2}]}"#, r#"{"a":[{"p":1.3},{"p":3}]}"#, "$.a[*].p", Change::Value),
            (r#"{"a":[1,2,3]}"#, r#"{"a":[2,3]}"#, "$.a[*]", Change::Removed),
            (r#"{"a b":1}"#, r#"{"a b":2}"#, "$['a b']", Change::Value),
            ("1", "[1]", "$", Change::Type),
            ("not json", "nor this", "$", Change::Value),
            ("12345678901234567890123", "12345678901234567890124", "$", Change::Value),
        ] {
            check("", old, new, &[(path, change)]);
        }
    }

    #[test]
    fn what_says_the_same_has_no_change() {
        for (old, new) in [(r#"{"a":1.0,"b":[1]}"#, r#"{"b":[1e0],"a":1}"#), (r#""\u0061""#, r#""a""#), ("raw", "raw")]
        {
            check("", old, new, &[]);
        }
    }

    #[test]
    fn ignored_and_tolerated_places_have_no_change() {
        let toml = "ignore = ['$..at']
tolerance = [{ path = '$.items[*].price', absolute = 0.01 }]";
        check(toml, r#"{"at":1,"items":[{"price":1.00,"at":1}]}"#, r#"{"items":[{"price":1.01,"at":2}]}"#, &[]);
        check(
            toml,
            r#"{"items":[{"price":1.00}]}"#,
            r#"{"items":[{"price":1.02}]}"#,
            &[("$.items[*].price", Change::Value)],
        );
        check("tolerance = [{ path = '$.p', relative = 0.1 }]", r#"{"p":100}"#, r#"{"p":91}"#, &[]);
        check(
            "tolerance = [{ path = '$.p', relative = 0.1 }]",
            r#"{"p":100}"#,
            r#"{"p":"91"}"#,
            &[("$.p", Change::Type)],
        );
    }
}
