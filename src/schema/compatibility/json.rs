//! JSON Schema: <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/serdes-json.html>, where
//! readers take what writers wrote as far as it validates. An object is open where it takes members that it does not name, closed
//! where it takes none, and partially open where a schema describes the others.

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
            let document = if file.is_empty() { &self.root } else { self.others.get(file)? };
            schema = if inside.is_empty() { document } else { document.pointer(inside)? };
        }
        None
    }
}

/// Finds what in the change from `old` to `new` keeps new readers from taking what `old` allowed to write.
pub(super) fn changes(old: &Document, new: &Document) -> Found {
    let mut check = Check { old, new, seen: BTreeSet::new(), found: Vec::new() };
    check.schema(Some(&old.root), Some(&new.root), "#", 0);
    check.found
}

struct Check<'a> {
    old: &'a Document,
    new: &'a Document,
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

impl<'a> Check<'a> {
    fn push(&mut self, path: &str, rule: &'static str, what: impl Into<String>) {
        self.found.push((path.to_owned(), Rule(rule), what.into()));
    }

    /// What a comparison on the side finds.
    fn trial(&self, old: &'a Value, new: &'a Value, path: &str, depth: usize) -> Found {
        let mut trial = Check { old: self.old, new: self.new, seen: self.seen.clone(), found: Vec::new() };
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
        if depth > DEPTH_MAX || !self.seen.insert(pair) {
            return;
        }
        self.resolved(old, new, path, depth);
        self.seen.remove(&pair);
    }

    fn resolved(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let (before, after) = (about(old), about(new));
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
        match (before, after) {
            (About::Nothing, _) | (_, About::Anything) => {}
            (About::Enum, About::Enum) => self.enumerated(old, new, path),
            (About::Combined(before), About::Combined(after)) => self.combined(old, before, new, after, path, depth),
            (About::Not, About::Not) => {
                // What is excluded turns around: new may exclude only what old excluded.
                let mut back = Check { old: self.new, new: self.old, seen: BTreeSet::new(), found: Vec::new() };
                back.schema(new.get("not"), old.get("not"), path, depth + 1);
                if !back.found.is_empty() {
                    self.push(&format!("{path}/not"), "NOT_TYPE_EXTENDED", "more is excluded than was");
                }
            }
            (About::Types, About::Types) => self.types(old, new, path, depth),
            _ => self.push(path, "TYPE_CHANGED", format!("{} became {}", words(old), words(new))),
        }
    }

    fn enumerated(&mut self, old: &Value, new: &Value, path: &str) {
        let (before, after) = (values(old), values(new));
        let gone: Vec<String> = before.iter().filter(|v| !after.contains(v)).map(ToString::to_string).collect();
        if gone.is_empty() {
            return;
        }
        let rule =
            if after.iter().all(|value| before.contains(value)) { "ENUM_ARRAY_NARROWED" } else { "ENUM_ARRAY_CHANGED" };
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
        let number = |schema: &Value| schema.get(name).and_then(Value::as_f64);
        let at = format!("{path}/{name}");
        match (number(old), number(new)) {
            (None, Some(now)) => self.push(&at, rules[0], format!("{now} where there was none")),
            (Some(was), Some(now)) if (upper && now < was) || (!upper && now > was) => {
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
        let number = |schema: &Value| schema.get("multipleOf").and_then(Value::as_f64);
        let at = format!("{path}/multipleOf");
        match (number(old), number(new)) {
            (None, Some(now)) => self.push(&at, "MULTIPLE_OF_ADDED", format!("{now} where there was none")),
            // A multiple of what was is no multiple of what is, unless the one divides the other.
            (Some(was), Some(now)) if (was / now).fract() != 0.0 => {
                let rule = if now > was { "MULTIPLE_OF_EXPANDED" } else { "MULTIPLE_OF_CHANGED" };
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
        self.others(old, new, path, depth);
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

/// Types that a schema names; where it names none, those that its keywords are about.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => {
            let has = |keywords: &[&str]| keywords.iter().any(|keyword| schema.get(keyword).is_some());
            let mut found = Vec::new();
            if has(&["properties", "required", "additionalProperties", "patternProperties"]) {
                found.push("object");
            }
            if has(&["items", "prefixItems", "minItems", "maxItems", "uniqueItems"]) {
                found.push("array");
            }
            if has(&["minLength", "maxLength", "pattern"]) {
                found.push("string");
            }
            if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
                found.push("number");
            }
            found
        }
    }
}

fn words(schema: &Value) -> String {
    match about(schema) {
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
