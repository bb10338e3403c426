//! JSON Schema: <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/serdes-json.html>, where
//! readers take what writers wrote as far as it validates. An object is open where it takes members that it does not name, closed
//! where it takes none, and partially open where a schema describes the others.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Map, Value};

use super::{Found, Rule};
use crate::schema::SchemaText;

/// Levels of schemas at most; what refers to itself is looked at once.
const DEPTH_MAX: usize = 200;

/// Schemas of a combination at most; beyond, they are compared in order.
const COMBINED_MAX: usize = 32;

/// A schema with the schemas that it refers to.
pub(super) struct Document {
    root: Value,
    others: BTreeMap<String, Value>,
}

impl Document {
    pub(super) fn read(text: &SchemaText) -> Result<Self, String> {
        let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let mut others = BTreeMap::new();
        for reference in &text.references {
            let value = read(&reference.schema)?;
            // It is found by the name it is referred to, and by the address that it gives itself.
            if let Some(id) = value.get("$id").and_then(Value::as_str) {
                others.insert(id.to_owned(), value.clone());
            }
            others.insert(reference.name.clone(), value);
        }
        Ok(Self { root: read(&text.schema)?, others })
    }

    /// Follows references to the schema that is meant; none where one leads nowhere.
    fn resolved<'a>(&'a self, mut schema: &'a Value) -> Option<&'a Value> {
        for _ in 0..DEPTH_MAX {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return Some(schema) };
            let (file, inside) = reference.split_once('#').unwrap_or((reference, ""));
            let of_itself = self.root.get("$id").and_then(Value::as_str).map(|id| id.trim_end_matches('#'));
            let document =
                if file.is_empty() || of_itself == Some(file) { &self.root } else { self.others.get(file)? };
            let inside = unescaped(inside);
            schema = match inside.chars().next() {
                None => document,
                Some('/') => document.pointer(&inside)?,
                Some(_) => anchored(document, &inside, 0)?,
            };
        }
        None
    }
}

/// The schema that calls itself by an anchor, or by an id that is only a fragment.
fn anchored<'v>(schema: &'v Value, anchor: &str, depth: usize) -> Option<&'v Value> {
    let within = |name: &str| schema.get(name).and_then(Value::as_str);
    if within("$anchor") == Some(anchor) || within("$id").and_then(|id| id.strip_prefix('#')) == Some(anchor) {
        return Some(schema);
    }
    let below: Vec<&Value> = match schema {
        _ if depth > DEPTH_MAX => return None,
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => return None,
    };
    below.into_iter().find_map(|below| anchored(below, anchor, depth + 1))
}

/// What a fragment of an address says: `%20` is a space.
fn unescaped(fragment: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), fragment.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &behind[2..]).1,
            None => (bytes.push(*first), rest = behind).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Finds what in the change from `old` to `new` keeps new readers from taking what `old` allowed to write.
pub(super) fn changes(old: &Document, new: &Document) -> Found {
    let left = Cell::new(COMPARISONS_MAX);
    let mut check = Check { old, new, left: &left, seen: BTreeSet::new(), found: Vec::new() };
    check.schema(Some(&old.root), Some(&new.root), "#", 0);
    if left.get() == 0 {
        let what = "the schemas are too entangled to be compared, so it cannot be told";
        check.push("#", "CANNOT_BE_TOLD", what);
    }
    check.found
}

struct Check<'a> {
    old: &'a Document,
    new: &'a Document,
    /// Comparisons that may still be made.
    left: &'a Cell<u32>,
    /// Pairs of schemas under way, by address: a schema may refer to itself.
    seen: BTreeSet<(usize, usize)>,
    found: Found,
}

/// What a schema is about.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum About {
    Anything,
    Nothing,
    Enum,
    Combined(&'static str),
    Not,
    Types,
}

const COMBINATIONS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Pairs of schemas that are compared at most: choices within choices are tried each with each.
const COMPARISONS_MAX: u32 = 200_000;

/// Keywords that narrow what is taken and that nothing here looks at. The registry does not either, and would register.
const NOT_UNDERSTOOD: [&str; 11] = [
    "if",
    "then",
    "else",
    "propertyNames",
    "contains",
    "minContains",
    "maxContains",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
];

impl<'a> Check<'a> {
    fn push(&mut self, path: &str, rule: &'static str, what: impl Into<String>) {
        self.found.push((path.to_owned(), Rule(rule), what.into()));
    }

    /// What a comparison on the side finds.
    fn trial(&self, old: &'a Value, new: &'a Value, path: &str, depth: usize) -> Found {
        let mut trial =
            Check { old: self.old, new: self.new, left: self.left, seen: self.seen.clone(), found: Vec::new() };
        trial.schema(Some(old), Some(new), path, depth);
        trial.found
    }

    fn schema(&mut self, old: Option<&'a Value>, new: Option<&'a Value>, path: &str, depth: usize) {
        let (old, new) = match (old, new) {
            (_, None) => return,
            (None, Some(_)) => return self.push(path, "SCHEMA_ADDED", "a schema where there was none"),
            (Some(old), Some(new)) => (old, new),
        };
        let (Some(old), Some(new)) = (self.old.resolved(old), self.new.resolved(new)) else {
            return self.push(path, "TYPE_CHANGED", "a reference leads nowhere, so it cannot be told");
        };
        let pair = (std::ptr::from_ref(old) as usize, std::ptr::from_ref(new) as usize);
        if depth > DEPTH_MAX || self.left.get() == 0 || !self.seen.insert(pair) {
            return;
        }
        self.left.set(self.left.get() - 1);
        self.resolved(old, new, path, depth);
        self.seen.remove(&pair);
    }

    fn resolved(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let (befores, afters) = (parts(old), parts(new));
        if befores.len() < 2 && afters.len() < 2 {
            self.part((old, about(old)), (new, about(new)), path, depth);
        } else if about(old) != About::Nothing {
            // All parts of a schema hold together: each that new has must follow from one that old has.
            for after in afters {
                self.follows(old, &befores, (new, after), path, depth);
            }
        }
        self.not_understood(old, new, path);
    }

    /// One part of new, which may follow from its like in old, or from another part alone.
    fn follows(
        &mut self,
        old: &'a Value,
        befores: &[About],
        (new, after): (&'a Value, About),
        path: &str,
        depth: usize,
    ) {
        let trial = |before: About| {
            let mut trial =
                Check { old: self.old, new: self.new, left: self.left, seen: self.seen.clone(), found: Vec::new() };
            trial.part((old, before), (new, after), path, depth + 1);
            trial.found
        };
        let alike = befores.iter().find(|before| **before == after);
        let found = trial(*alike.unwrap_or(&About::Anything));
        if found.is_empty() || befores.iter().any(|before| Some(before) != alike && trial(*before).is_empty()) {
            return;
        }
        self.found.extend(found);
    }

    /// Keywords whose meaning is not looked at: where new has one that old has not so, nobody can tell here.
    fn not_understood(&mut self, old: &Value, new: &Value, path: &str) {
        for keyword in NOT_UNDERSTOOD {
            let now = new.get(keyword).filter(|now| **now != Value::Bool(true) && **now != Value::Object(Map::new()));
            if now.is_some() && now != old.get(keyword) {
                let what = format!("what `{keyword}` says is not looked at, so it cannot be told");
                self.push(&format!("{path}/{keyword}"), "CANNOT_BE_TOLD", what);
            }
        }
    }

    /// Compares what one part of each says, as if the others were not there.
    fn part(&mut self, (old, before): (&'a Value, About), (new, after): (&'a Value, About), path: &str, depth: usize) {
        if let (About::Combined(kind), false) = (after, matches!(before, About::Combined(_))) {
            // One of several that it may be now; or the only one of a list.
            let parts = list(new, kind);
            let any = kind != "allOf" || parts.len() == 1;
            if any && parts.iter().any(|part| self.trial(old, part, path, depth + 1).is_empty()) {
                return;
            }
        }
        if let (About::Combined(kind), false) = (before, matches!(after, About::Combined(_)))
            && let [only] = list(old, kind)
            && self.trial(only, new, path, depth + 1).is_empty()
        {
            return;
        }
        if let (About::Combined("anyOf" | "oneOf"), About::Types, Some(Value::Array(_))) =
            (before, after, new.get("type"))
        {
            // Several types are a choice of them.
            let kind = if old.get("anyOf").is_some() { "anyOf" } else { "oneOf" };
            if list(old, kind).iter().all(|part| self.trial(part, new, path, depth + 1).is_empty()) {
                return;
            }
        }
        match (before, after) {
            (About::Nothing, _) | (_, About::Anything) => {}
            (About::Enum, About::Enum) => self.enumerated(old, new, path),
            (About::Combined(before), About::Combined(after)) => self.combined(old, before, new, after, path, depth),
            (About::Not, About::Not) => {
                // What is excluded turns around: new may exclude only what old excluded.
                let mut back =
                    Check { old: self.new, new: self.old, left: self.left, seen: BTreeSet::new(), found: Vec::new() };
                back.schema(new.get("not"), old.get("not"), path, depth + 1);
                if !back.found.is_empty() {
                    self.push(&format!("{path}/not"), "NOT_TYPE_EXTENDED", "more is excluded than was");
                }
            }
            (About::Types, About::Types) => self.types(old, new, path, depth),
            _ => self.push(path, "TYPE_CHANGED", format!("{} became {}", words(old, before), words(new, after))),
        }
    }

    fn enumerated(&mut self, old: &Value, new: &Value, path: &str) {
        let (before, after) = (values(old), values(new));
        let gone: Vec<String> = before.iter().filter(|v| !has(&after, v)).map(ToString::to_string).collect();
        if gone.is_empty() {
            return;
        }
        let rule =
            if after.iter().all(|value| has(&before, value)) { "ENUM_ARRAY_NARROWED" } else { "ENUM_ARRAY_CHANGED" };
        self.push(&format!("{path}/enum"), rule, format!("{} may not be written any more", gone.join(", ")));
    }

    fn combined(
        &mut self,
        old: &'a Value,
        before: &'static str,
        new: &'a Value,
        after: &'static str,
        path: &str,
        depth: usize,
    ) {
        let (olds, news) = (list(old, before), list(new, after));
        let extended = match after {
            "anyOf" => true,
            "oneOf" => olds.len() == 1,
            _ => olds.len() == 1 && news.len() == 1,
        };
        if before != after && !extended {
            return self.push(path, "COMBINED_TYPE_CHANGED", format!("{before} became {after}"));
        }
        if after == "allOf" && news.len() > olds.len() {
            self.push(path, "PRODUCT_TYPE_EXTENDED", "more schemas must hold than had to");
        }
        if after != "allOf" && news.len() < olds.len() {
            self.push(path, "SUM_TYPE_NARROWED", "fewer schemas may hold than could");
        }
        let fits: Vec<Vec<bool>> = olds
            .iter()
            .take(COMBINED_MAX)
            .map(|old| {
                let one = |new| self.trial(old, new, path, depth + 1).is_empty();
                news.iter().take(COMBINED_MAX).map(one).collect()
            })
            .collect();
        if matched(&fits) < olds.len().min(news.len()).min(COMBINED_MAX) {
            let what = format!("the schemas of {after} are not those that were there");
            self.push(path, "COMBINED_TYPE_SUBSCHEMAS_CHANGED", what);
        }
    }

    fn types(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let (before, after) = (types(old), types(new));
        let reads = |kind: &&str| after.contains(kind) || (*kind == "integer" && after.contains(&"number"));
        let gone: Vec<&str> = before.iter().filter(|kind| !reads(kind)).copied().collect();
        if !gone.is_empty() {
            let narrowed = before.len() > 1 || (before.contains(&"number") && after.contains(&"integer"));
            let rule = if narrowed { "TYPE_NARROWED" } else { "TYPE_CHANGED" };
            return self.push(path, rule, format!("{} became {}", before.join(" or "), after.join(" or ")));
        }
        for (kind, check) in [
            ("string", Check::text as fn(&mut Self, &'a Value, &'a Value, &str, usize)),
            ("number", Check::number),
            ("object", Check::object),
            ("array", Check::array),
        ] {
            if before.contains(&kind) || (kind == "number" && before.contains(&"integer")) {
                check(self, old, new, path, depth);
            }
        }
    }

    /// A limit that came or became stricter; `upper` ones stop what is above them.
    fn limit(&mut self, old: &Value, new: &Value, path: &str, name: &str, upper: bool, rules: [&'static str; 2]) {
        // In older drafts an exclusive limit says of the other one that it is.
        fn number<'v>(schema: &'v Value, name: &str) -> Option<&'v Value> {
            let found = match (name, schema.get(name)?) {
                ("exclusiveMaximum", Value::Bool(true)) => schema.get("maximum")?,
                ("exclusiveMinimum", Value::Bool(true)) => schema.get("minimum")?,
                (_, found) => found,
            };
            found.is_number().then_some(found)
        }
        let stricter = if upper { Ordering::Less } else { Ordering::Greater };
        let at = format!("{path}/{name}");
        match (number(old, name), number(new, name)) {
            (None, Some(now)) => self.push(&at, rules[0], format!("{now} where there was none")),
            (Some(was), Some(now)) if order(now, was) == Some(stricter) => {
                self.push(&at, rules[1], format!("{was} became {now}"));
            }
            _ => {}
        }
    }

    fn text(&mut self, old: &'a Value, new: &'a Value, path: &str, _: usize) {
        self.limit(old, new, path, "maxLength", true, ["MAX_LENGTH_ADDED", "MAX_LENGTH_DECREASED"]);
        self.limit(old, new, path, "minLength", false, ["MIN_LENGTH_ADDED", "MIN_LENGTH_INCREASED"]);
        let at = format!("{path}/pattern");
        match (old.get("pattern"), new.get("pattern")) {
            (None, Some(now)) => self.push(&at, "PATTERN_ADDED", format!("{now} where there was none")),
            (Some(was), Some(now)) if was != now => self.push(&at, "PATTERN_CHANGED", format!("{was} became {now}")),
            _ => {}
        }
    }

    fn number(&mut self, old: &'a Value, new: &'a Value, path: &str, _: usize) {
        self.limit(old, new, path, "maximum", true, ["MAXIMUM_ADDED", "MAXIMUM_DECREASED"]);
        self.limit(old, new, path, "minimum", false, ["MINIMUM_ADDED", "MINIMUM_INCREASED"]);
        let rules = ["EXCLUSIVE_MAXIMUM_ADDED", "EXCLUSIVE_MAXIMUM_DECREASED"];
        self.limit(old, new, path, "exclusiveMaximum", true, rules);
        let rules = ["EXCLUSIVE_MINIMUM_ADDED", "EXCLUSIVE_MINIMUM_INCREASED"];
        self.limit(old, new, path, "exclusiveMinimum", false, rules);
        let number = |schema: &'a Value| schema.get("multipleOf").filter(|found| found.is_number());
        let at = format!("{path}/multipleOf");
        match (number(old), number(new)) {
            (None, Some(now)) => self.push(&at, "MULTIPLE_OF_ADDED", format!("{now} where there was none")),
            // A multiple of what was is no multiple of what is, unless the one divides the other.
            (Some(was), Some(now)) if divides(was, now) != Some(true) => {
                let expanded = order(now, was) == Some(Ordering::Greater);
                let rule = if expanded { "MULTIPLE_OF_EXPANDED" } else { "MULTIPLE_OF_CHANGED" };
                self.push(&at, rule, format!("{was} became {now}"));
            }
            _ => {}
        }
    }

    fn object(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let (olds, news) = (members(old, "properties"), members(new, "properties"));
        let (had_to, must) = (names(old, "required"), names(new, "required"));
        for (name, property) in olds.iter().flat_map(|olds| olds.iter()) {
            let at = format!("{path}/properties/{}", pointer(name));
            match news.and_then(|news| news.get(name)) {
                Some(now) => {
                    if must.contains(&name.as_str()) && !had_to.contains(&name.as_str()) && now.get("default").is_none()
                    {
                        let at = format!("{path}/required/{}", pointer(name));
                        self.push(&at, "REQUIRED_ATTRIBUTE_ADDED", format!("{name} must be there now"));
                    }
                    self.schema(Some(property), Some(now), &at, depth + 1);
                }
                None if is_open(new) => {}
                None => self.property_removed(property, new, name, &at, depth),
            }
        }
        for (name, property) in news.iter().flat_map(|news| news.iter()) {
            if olds.is_none_or(|olds| !olds.contains_key(name)) {
                let at = format!("{path}/properties/{}", pointer(name));
                self.property_added(old, property, name, must.contains(&name.as_str()), &at, depth);
            }
        }
        for name in must.iter().filter(|name| !had_to.contains(name)) {
            let named =
                |members: Option<&Map<String, Value>>| members.is_some_and(|members| members.contains_key(*name));
            let is_new = news.and_then(|news| news.get(*name)).is_none_or(|now| now.get("default").is_none());
            // Those that both name, and new ones of a closed object, have been looked at above.
            let of_old = named(olds) && !named(news);
            if of_old || (!named(olds) && is_new && (is_open(old) || !named(news))) {
                let at = format!("{path}/required/{}", pointer(name));
                self.push(&at, "REQUIRED_ATTRIBUTE_ADDED", format!("{name} must be there now"));
            }
        }
        self.others(old, new, path, depth);
        self.patterns(old, new, path, depth);
        self.limit(old, new, path, "maxProperties", true, ["MAX_PROPERTIES_ADDED", "MAX_PROPERTIES_DECREASED"]);
        self.limit(old, new, path, "minProperties", false, ["MIN_PROPERTIES_ADDED", "MIN_PROPERTIES_INCREASED"]);
        self.dependencies(old, new, path, depth);
    }

    fn property_removed(&mut self, property: &'a Value, new: &'a Value, name: &str, at: &str, depth: usize) {
        match of_others(new, name) {
            Some(schema) => {
                let found = self.trial(property, schema, at, depth + 1);
                if !found.is_empty() {
                    let what = format!("{name} is gone, and what describes other members does not take it");
                    self.push(at, "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", what);
                    self.found.extend(found);
                }
            }
            None if *property == Value::Bool(false) => {}
            None => {
                let what = format!("{name} is gone, and no other members are taken");
                self.push(at, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", what);
            }
        }
    }

    fn property_added(
        &mut self,
        old: &'a Value,
        property: &'a Value,
        name: &str,
        required: bool,
        at: &str,
        depth: usize,
    ) {
        if is_open(old) {
            if about(property) != About::Anything {
                let what = format!("{name} is new, and might have been written as anything before");
                self.push(at, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", what);
            }
            return;
        }
        if let Some(schema) = of_others(old, name) {
            let found = self.trial(schema, property, at, depth + 1);
            if !found.is_empty() {
                let what = format!("{name} is new, and what described other members allowed more");
                self.push(at, "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", what);
                self.found.extend(found);
            }
        }
        if required && property.get("default").is_none() {
            let what = format!("{name} is new, must be there and has no default");
            self.push(at, "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", what);
        }
    }

    /// What is said of members by what their names look like.
    fn patterns(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let (before, after) = (members(old, "patternProperties"), members(new, "patternProperties"));
        for (pattern, now) in after.iter().flat_map(|after| after.iter()) {
            let at = format!("{path}/patternProperties/{}", pointer(pattern));
            if let Some(was) = before.and_then(|before| before.get(pattern)) {
                self.schema(Some(was), Some(now), &at, depth + 1);
                continue;
            }
            if about(now) == About::Anything {
                continue;
            }
            let fits = Regex::new(pattern);
            let named = members(old, "properties").into_iter().flatten();
            for (name, was) in named.filter(|(name, _)| fits.as_ref().is_ok_and(|fits| fits.is_match(name))) {
                let found = self.trial(was, now, &at, depth + 1);
                if !found.is_empty() {
                    self.push(&at, "TYPE_CHANGED", format!("{name} is described by its name's pattern as well now"));
                    self.found.extend(found);
                }
            }
            let taken = takes(old, "additionalProperties") || before.is_some_and(|before| !before.is_empty());
            let covered = before.is_none_or(Map::is_empty)
                && old
                    .get("additionalProperties")
                    .is_some_and(|was| was.is_object() && self.trial(was, now, &at, depth + 1).is_empty());
            if taken && !covered {
                let what = "members of such names might have been written as anything before";
                self.push(&at, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", what);
            }
        }
        for (pattern, was) in before.iter().flat_map(|before| before.iter()) {
            if after.is_some_and(|after| after.contains_key(pattern)) || *was == Value::Bool(false) {
                continue;
            }
            let at = format!("{path}/patternProperties/{}", pointer(pattern));
            match new.get("additionalProperties") {
                Some(Value::Bool(false)) => {
                    let what = "members of such names are not taken any more";
                    self.push(&at, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", what);
                }
                Some(now) if now.is_object() => self.schema(Some(was), Some(now), &at, depth + 1),
                _ => {}
            }
        }
    }

    /// What is said of members that are not named.
    fn others(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let at = format!("{path}/additionalProperties");
        let (before, after) = (old.get("additionalProperties"), new.get("additionalProperties"));
        match (before.filter(|schema| schema.is_object()), after.filter(|schema| schema.is_object())) {
            _ if takes(old, "additionalProperties") && !takes(new, "additionalProperties") => {
                self.push(&at, "ADDITIONAL_PROPERTIES_REMOVED", "no other members are taken any more");
            }
            (None, Some(_)) if takes(old, "additionalProperties") => {
                self.push(&at, "ADDITIONAL_PROPERTIES_NARROWED", "other members are described now");
            }
            (Some(before), Some(after)) => self.schema(Some(before), Some(after), &at, depth + 1),
            _ => {}
        }
    }

    fn dependencies(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
            for (name, now) in members(new, keyword).iter().flat_map(|members| members.iter()) {
                let at = format!("{path}/{keyword}/{}", pointer(name));
                let was = members(old, keyword).and_then(|members| members.get(name));
                match (was, now) {
                    (Some(Value::Array(was)), Value::Array(now)) => {
                        if now.iter().any(|name| !was.contains(name)) {
                            let narrowed = was.iter().all(|name| now.contains(name));
                            let rule = if narrowed { "DEPENDENCY_ARRAY_EXTENDED" } else { "DEPENDENCY_ARRAY_CHANGED" };
                            self.push(&at, rule, format!("{name} asks for other members than it did"));
                        }
                    }
                    (None, Value::Array(_)) => {
                        self.push(&at, "DEPENDENCY_ARRAY_ADDED", format!("{name} asks for other members now"));
                    }
                    (Some(was), now) => self.schema(Some(was), Some(now), &at, depth + 1),
                    (None, _) => self.push(&at, "DEPENDENCY_SCHEMA_ADDED", format!("{name} asks for a schema now")),
                }
            }
        }
    }

    fn array(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        self.limit(old, new, path, "maxItems", true, ["MAX_ITEMS_ADDED", "MAX_ITEMS_DECREASED"]);
        self.limit(old, new, path, "minItems", false, ["MIN_ITEMS_ADDED", "MIN_ITEMS_INCREASED"]);
        let unique = |schema: &Value| schema.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false);
        if unique(new) && !unique(old) {
            self.push(&format!("{path}/uniqueItems"), "UNIQUE_ITEMS_ADDED", "no item may stand twice any more");
        }
        let (olds, news) = (tuple(old), tuple(new));
        for (index, (was, now)) in olds.iter().zip(news).enumerate() {
            self.schema(Some(was), Some(now), &format!("{path}/items/{index}"), depth + 1);
        }
        let (before, after) = (rest(old), rest(new));
        for (index, was) in olds.iter().enumerate().skip(news.len()) {
            let at = format!("{path}/items/{index}");
            match after {
                Rest::Open => {}
                Rest::Of(now) => self.schema(Some(was), Some(now), &at, depth + 1),
                Rest::Closed => self.push(&at, "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", "no such item is taken"),
            }
        }
        for (index, now) in news.iter().enumerate().skip(olds.len()) {
            let at = format!("{path}/items/{index}");
            match before {
                Rest::Open if about(now) == About::Anything => {}
                Rest::Open => {
                    let what = "the item might have been written as anything before";
                    self.push(&at, "ITEM_ADDED_TO_OPEN_CONTENT_MODEL", what);
                }
                Rest::Of(was) => self.schema(Some(was), Some(now), &at, depth + 1),
                Rest::Closed => {}
            }
        }
        let (all, at) = (olds.is_empty() && news.is_empty(), format!("{path}/items"));
        match (before, after) {
            (Rest::Open, Rest::Of(_)) if all => self.push(&at, "SCHEMA_ADDED", "items are described now"),
            (Rest::Open, Rest::Of(_)) => {
                self.push(&at, "ADDITIONAL_ITEMS_NARROWED", "further items are described now");
            }
            (Rest::Open | Rest::Of(_), Rest::Closed) => {
                self.push(&at, "ADDITIONAL_ITEMS_REMOVED", "no further items are taken any more");
            }
            (Rest::Of(was), Rest::Of(now)) => self.schema(Some(was), Some(now), &at, depth + 1),
            _ => {}
        }
    }
}

/// What is said of items that have no schema of their own place.
#[derive(Clone, Copy)]
enum Rest<'a> {
    Open,
    Closed,
    Of(&'a Value),
}

fn rest(schema: &Value) -> Rest<'_> {
    let keyword = match (schema.get("prefixItems"), schema.get("items")) {
        (None, Some(Value::Array(_))) => "additionalItems",
        _ => "items",
    };
    match schema.get(keyword) {
        Some(Value::Bool(false)) => Rest::Closed,
        Some(found) if about(found) != About::Anything => Rest::Of(found),
        _ => Rest::Open,
    }
}

/// Schemas of items by their places.
fn tuple(schema: &Value) -> &[Value] {
    match (schema.get("prefixItems"), schema.get("items")) {
        (Some(Value::Array(items)), _) | (None, Some(Value::Array(items))) => items,
        _ => &[],
    }
}

fn about(schema: &Value) -> About {
    let Value::Object(members) = schema else {
        return if *schema == Value::Bool(false) { About::Nothing } else { About::Anything };
    };
    if members.contains_key("enum") || members.contains_key("const") {
        return About::Enum;
    }
    if let Some(kind) = COMBINATIONS.iter().find(|kind| members.contains_key(**kind)) {
        return About::Combined(kind);
    }
    if members.contains_key("not") {
        return About::Not;
    }
    if types(schema).is_empty() { About::Anything } else { About::Types }
}

/// All that a schema is about, in the order of [`about`]. Beside an enum its type says nothing more.
fn parts(schema: &Value) -> Vec<About> {
    let Value::Object(members) = schema else { return vec![about(schema)] };
    let mut parts = Vec::new();
    let is_enum = members.contains_key("enum") || members.contains_key("const");
    if is_enum {
        parts.push(About::Enum);
    }
    let combined = COMBINATIONS.iter().filter(|kind| members.contains_key(**kind));
    parts.extend(combined.map(|kind| About::Combined(kind)));
    if members.contains_key("not") {
        parts.push(About::Not);
    }
    if (!is_enum && members.contains_key("type")) || !types_of_keywords(schema).is_empty() {
        parts.push(About::Types);
    }
    if parts.is_empty() {
        parts.push(About::Anything);
    }
    parts
}

/// Types that a schema names; where it names none, those that its keywords are about.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => types_of_keywords(schema),
    }
}

fn types_of_keywords(schema: &Value) -> Vec<&'static str> {
    const KEYWORDS: [(&str, &[&str]); 4] = [
        (
            "object",
            &[
                "properties",
                "required",
                "additionalProperties",
                "patternProperties",
                "minProperties",
                "maxProperties",
                "dependencies",
                "dependentRequired",
                "dependentSchemas",
            ],
        ),
        ("array", &["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"]),
        ("string", &["minLength", "maxLength", "pattern"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ];
    let has = |keywords: &[&str]| keywords.iter().any(|keyword| schema.get(keyword).is_some());
    KEYWORDS.iter().filter(|(_, keywords)| has(keywords)).map(|(kind, _)| *kind).collect()
}

fn words(schema: &Value, about: About) -> String {
    match about {
        About::Anything => "anything".to_owned(),
        About::Nothing => "nothing".to_owned(),
        About::Enum => "an enum".to_owned(),
        About::Combined(kind) => kind.to_owned(),
        About::Not => "not".to_owned(),
        About::Types => types(schema).join(" or "),
    }
}

fn list<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members<'v>(schema: &'v Value, name: &str) -> Option<&'v Map<String, Value>> {
    schema.get(name).and_then(Value::as_object)
}

fn names<'v>(schema: &'v Value, name: &str) -> Vec<&'v str> {
    list(schema, name).iter().filter_map(Value::as_str).collect()
}

/// Whether a value is among others; 1 and 1.0 are one number.
fn has(values: &[&Value], value: &Value) -> bool {
    values.iter().any(|other| match (other, value) {
        (Value::Number(_), Value::Number(_)) => order(other, value) == Some(Ordering::Equal),
        (other, value) => **other == *value,
    })
}

/// How two numbers stand to each other, exactly where both are whole.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    let whole = |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// Whether each multiple of `was` is one of `now`, by their decimal digits; none where they have too many.
fn divides(was: &Value, now: &Value) -> Option<bool> {
    let decimal = |value: &Value| -> Option<(i128, i32)> {
        let text = value.to_string().to_ascii_lowercase();
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some((format!("{whole}{fraction}").parse().ok()?, exponent))
    };
    let ((was, was_exponent), (now, now_exponent)) = (decimal(was)?, decimal(now)?);
    let least = was_exponent.min(now_exponent);
    let scaled = |number: i128, exponent: i32| {
        let zeros = u32::try_from(exponent.checked_sub(least)?).ok()?;
        number.checked_mul(10_i128.checked_pow(zeros)?)
    };
    Some(scaled(was, was_exponent)?.checked_rem(scaled(now, now_exponent)?)? == 0)
}

fn values(schema: &Value) -> Vec<&Value> {
    schema.get("const").into_iter().chain(list(schema, "enum")).collect()
}

/// A name as a step of a JSON pointer.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether anything is taken that is not named.
fn takes(schema: &Value, name: &str) -> bool {
    schema.get(name) != Some(&Value::Bool(false))
}

/// Whether an object takes members that it does not name, whatever they are.
fn is_open(schema: &Value) -> bool {
    let described = schema.get("additionalProperties").is_some_and(Value::is_object);
    members(schema, "patternProperties").is_none_or(Map::is_empty)
        && takes(schema, "additionalProperties")
        && !described
}

/// The schema of a member that is not named: that of a pattern, else that of all others.
fn of_others<'v>(schema: &'v Value, name: &str) -> Option<&'v Value> {
    let patterns = members(schema, "patternProperties").into_iter().flatten();
    let mut fitting = patterns.filter(|(pattern, _)| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name)));
    fitting
        .next()
        .map(|(_, found)| found)
        .or_else(|| schema.get("additionalProperties").filter(|found| found.is_object()))
}

/// Number of pairs at most, each of one old and one new that fit and none of which is in two pairs.
fn matched(fits: &[Vec<bool>]) -> usize {
    fn place(old: usize, fits: &[Vec<bool>], tried: &mut [bool], taken: &mut [Option<usize>]) -> bool {
        for new in 0..tried.len() {
            if fits[old][new] && !tried[new] {
                tried[new] = true;
                if taken[new].is_none_or(|other| place(other, fits, tried, taken)) {
                    taken[new] = Some(old);
                    return true;
                }
            }
        }
        false
    }
    let width = fits.first().map_or(0, Vec::len);
    let mut taken = vec![None; width];
    (0..fits.len()).filter(|old| place(*old, fits, &mut vec![false; width], &mut taken)).count()
}
