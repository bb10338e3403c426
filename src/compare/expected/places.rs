//! Where an expected change is to take place in a value, and whether it does.

use serde_json::Value as Json;

use crate::compare::Change;
use crate::compare::json::Node;
use crate::compare::paths::{Query, push_name};
use crate::compare::regions;
use crate::compare::values::node_hash;
use crate::settings::SettingError;

/// A path of names and `[*]`, as reports show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// Members by name; none stands for every element.
    steps: Vec<Option<String>>,
    /// Bytes, where it is no path into a tree: such as `$[4:8]`.
    region: Option<String>,
    asked: Asked,
}

/// What a value of new is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To have the member.
    Member,
    /// To have it no more; with a hash, only where it had this value.
    NoMember(Option<u64>),
    /// To have `value` where `from` would stand; without `from`, whatever would.
    Value { from: Option<u64>, value: Option<u64> },
}

/// What was found in one value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Somewhere the change is to take place and has not.
    pub(super) lacks: bool,
    /// Somewhere it stands as it is expected to.
    pub(super) has: bool,
}

impl Places {
    /// Reads the setting `key`.
    pub(super) fn read(text: &str, key: &str) -> Result<Self, SettingError> {
        let asked = Asked::Member;
        if text.trim() == "$" {
            return Ok(Self { steps: Vec::new(), region: None, asked });
        }
        if regions::in_words(text.trim()).is_some() {
            return Ok(Self { steps: Vec::new(), region: Some(text.trim().to_owned()), asked });
        }
        // A wildcard over members stands for no single path of a report.
        let plain = Query::read(text, key)?.plain_steps().filter(|_| !text.contains(".*"));
        let steps = plain.ok_or_else(|| {
            let problem = format!("`{text}` is no path as a report shows it");
            SettingError::new(key, problem, "Write names and `[*]`, such as `$.items[*].price`.")
        })?;
        Ok(Self { steps, region: None, asked })
    }

    /// The path as a report shows it.
    pub(super) fn shown(&self) -> String {
        if let Some(region) = &self.region {
            return region.clone();
        }
        self.steps.iter().fold("$".to_owned(), |mut path, step| {
            match step {
                Some(name) => push_name(&mut path, name),
                None => path.push_str("[*]"),
            }
            path
        })
    }

    /// The same places with what `change` asks of them; none where it cannot be said at which outputs it should take place.
    pub(super) fn asked(self, change: Option<Change>, from: Option<u64>, value: Option<u64>) -> Option<Self> {
        if self.region.is_some() {
            return None;
        }
        let is_member = matches!(self.steps.last(), Some(Some(_)));
        let asked = match change {
            Some(Change::Added) if is_member => Asked::Member,
            Some(Change::Removed | Change::Renamed) if is_member => Asked::NoMember(from),
            Some(Change::Value | Change::Type | Change::Precision) | None if from.is_some() || value.is_some() => {
                Asked::Value { from, value }
            }
            _ => return None,
        };
        Some(Self { asked, ..self })
    }

    /// Looks into a value; `value` is what is expected where it is added.
    pub(super) fn look(&self, node: &Node<'_>, value: Option<u64>) -> Look {
        let mut look = Look::default();
        self.below(node, &self.steps, value, &mut look);
        look
    }

    fn below(&self, node: &Node<'_>, steps: &[Option<String>], value: Option<u64>, look: &mut Look) {
        let Some((step, rest)) = steps.split_first() else { return self.at(Some(node), value, look) };
        match (step, node) {
            (Some(name), Node::Object(members)) => {
                // Of a name that stands twice the last counts, as for most readers.
                let member = members.iter().rev().find(|(own, _)| own == name).map(|(_, member)| member);
                match member {
                    Some(member) => self.below(member, rest, value, look),
                    None if rest.is_empty() => self.at(None, value, look),
                    None => {}
                }
            }
            (None, Node::Array(elements)) => {
                for element in elements {
                    self.below(element, rest, value, look);
                }
            }
            _ => {}
        }
    }

    fn at(&self, node: Option<&Node<'_>>, expected: Option<u64>, look: &mut Look) {
        let is = |hash: u64| node.is_some_and(|node| node_hash(node) == hash);
        match (self.asked, node) {
            (Asked::Member, None) => look.lacks = true,
            (Asked::Member, Some(_)) => look.has |= expected.is_none_or(is),
            (Asked::NoMember(_), None) => look.has = true,
            (Asked::NoMember(from), Some(_)) => look.lacks |= from.is_none_or(is),
            (Asked::Value { .. }, None) => {}
            (Asked::Value { from: Some(from), value }, Some(_)) => {
                look.lacks |= is(from);
                look.has |= value.is_some_and(is);
            }
            (Asked::Value { from: None, value }, Some(_)) => {
                let stands = value.is_some_and(is);
                look.has |= stands;
                look.lacks |= !stands;
            }
        }
    }
}

/// Hash of a value, equal where values say the same; none where it is nested too deeply.
pub(super) fn hash_of(value: &Json) -> Option<u64> {
    Node::read(value.to_string().as_bytes()).ok().map(|node| node_hash(&node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str, change: Option<Change>, from: Option<Json>, value: Option<Json>, text: &str) -> (bool, bool) {
        let (from, value) = (from.and_then(|from| hash_of(&from)), value.and_then(|value| hash_of(&value)));
        let places = Places::read(path, "k").unwrap().asked(change, from, value).unwrap();
        let look = places.look(&Node::read(text.as_bytes()).unwrap(), value);
        (look.lacks, look.has)
    }

    #[test]
    fn a_value_lacks_a_change_or_has_it_or_is_not_spoken_of() {
        let eur = || Some(Json::from("EUR"));
        let added = |text: &str| look("$.a[*].currency", Some(Change::Added), None, eur(), text);
        for (text, expected) in [
            (r#"{"a":[{"currency":"EUR"}]}"#, (false, true)),
            (r#"{"a":[{"currency":"EUR"},{}]}"#, (true, true)),
            (r#"{"a":[{"currency":"USD"}]}"#, (false, false)),
            (r#"{"a":[]}"#, (false, false)),
            (r#"{"b":1}"#, (false, false)),
            (r#"{"a":{"currency":"EUR"}}"#, (false, false)),
        ] {
            assert_eq!(added(text), expected, "{text}");
        }
        let removed = |text: &str| look("$.old", Some(Change::Removed), None, None, text);
        assert_eq!((removed(r#"{"old":1}"#), removed("{}")), ((true, false), (false, true)));
        let pair = |text: &str| look("$.n", None, Some(Json::from(1)), Some(Json::from(2)), text);
        assert_eq!(pair(r#"{"n":1.0}"#), (true, false));
        assert_eq!(pair(r#"{"n":2}"#), (false, true));
        assert_eq!(pair(r#"{"n":3}"#), (false, false));
        let always = |text: &str| look("$.n", Some(Change::Value), None, Some(Json::from(2)), text);
        assert_eq!((always(r#"{"n":3}"#), always(r#"{"n":2}"#)), ((true, false), (false, true)));
    }

    #[test]
    fn a_path_is_written_as_reports_show_it() {
        for (text, shown) in
            [("$.a.b", "$.a.b"), ("$['a']['b c']", "$.a['b c']"), ("$.items[*].price", "$.items[*].price"), ("$", "$")]
        {
            assert_eq!(Places::read(text, "k").unwrap().shown(), shown);
        }
        for text in ["$.a[0]", "$..a", "a", "$.a[?@.b]", "$.*"] {
            assert_eq!(Places::read(text, "k").unwrap_err().key, "k", "{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_of_single_outputs_is_asked_of_none() {
        let asked = |path: &str, change| Places::read(path, "k").unwrap().asked(change, None, None);
        assert_eq!(asked("$.a", Some(Change::Value)), None);
        assert_eq!(asked("$.a", Some(Change::ArrayOrder)), None);
        assert_eq!(asked("$.a[*]", Some(Change::Added)), None);
        assert!(asked("$.a", Some(Change::Added)).is_some());
    }
}
