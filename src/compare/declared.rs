//! What a scenario declares to be the same: settings of rules by JSONPath, for all topics or one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reading::ValueForm;
use super::rules::{CompareSettings, Order, ToleranceSettings};

/// An array that is compared as a list whose elements have keys, wherever they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyedSettings {
    /// Path of the array, such as `$.items`.
    pub path: String,
    /// Path of the key within an element, such as `$.sku`: names alone. Elements of one key pair in order, and so do elements
    /// without a key.
    pub key: String,
}

/// A place at which several answers are right. Exactly one of `by`, `among` and `values` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AnyOfSettings {
    /// Path of the answer, such as `$.top` or `$.winner`.
    pub path: String,
    /// Path within an element of the array at `path` by which it is ranked, such as `$.score`: names alone. Neighbours that are
    /// equal by it may stand in any order, and the last of them may be any others that are equal by it.
    #[serde(default)]
    pub by: Option<String>,
    /// Elements after which the array is cut, with `by`: a shorter one holds all there are, and none of them may be another.
    /// Default: every array is taken as cut.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub n: Option<u64>,
    /// Path of the right answers in the same output, such as `$.tied[*]`; of an array, its elements.
    #[serde(default)]
    pub among: Option<String>,
    /// The right answers.
    #[serde(default)]
    pub values: Option<Vec<serde_json::Value>>,
}

/// A value that may be written in several ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NormaliseSettings {
    /// Path of the value, such as `$.created_at`.
    pub path: String,
    /// What the value is; whatever cannot be read as such is compared as it is written.
    #[serde(rename = "as")]
    pub form: Form,
    /// Unit of a timestamp that is written as a number. Default: by its size, seconds below 10^11, then milliseconds,
    /// microseconds and nanoseconds, a thousand times as much each.
    #[serde(default)]
    pub unit: Option<EpochUnit>,
}

/// What a value is, however it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A moment: ISO 8601 in any zone (UTC where none is written), RFC 2822, or a number since the Unix epoch.
    Timestamp,
    /// A number, or a text that is one: `"19.90"` is `19.9`.
    Decimal,
    /// A whole number, or a text that is one: `"7"` is `7`.
    Integer,
    /// A text whose case does not count.
    Lower,
    /// A text whose white space in front and behind does not count.
    Trim,
}

impl Form {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Decimal => "decimal",
            Self::Integer => "integer",
            Self::Lower => "lower",
            Self::Trim => "trim",
        }
    }
}

/// Unit of a number since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EpochUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// A text of which a part does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MaskRegexSettings {
    /// Path of the text, such as `$.message`; `$` is a value that is plain text.
    pub path: String,
    /// What does not count, such as `req-[0-9a-f]+`: a regular expression without look-around, so that it takes linear time.
    /// What matches is left out; that something matches there still counts.
    pub pattern: String,
}

/// Rules for one topic, beside those for all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TopicRules {
    /// What the values of the topic are. A value that is something else is `malformed`. Default: recognised, value by value.
    pub value: Option<ValueForm>,
    /// Schema of Avro or Protobuf values that nothing frames, of those that the recording keeps: a subject, whose newest version
    /// is meant, or an id, such as `"payouts-value"` or `"7"`. Default: each value is framed by the id of its schema.
    pub schema: Option<String>,
    /// Which message of the Protobuf schema the values are, such as `"shop.Payout"`. Default: its first.
    pub message: Option<String>,
    /// As `compare.ignore`.
    pub ignore: Vec<String>,
    /// As `compare.tolerance`.
    pub tolerance: Vec<ToleranceSettings>,
    /// As `compare.set`.
    pub set: Vec<String>,
    /// As `compare.keyed-by`.
    pub keyed_by: Vec<KeyedSettings>,
    /// As `compare.any-of`.
    pub any_of: Vec<AnyOfSettings>,
    /// As `compare.normalise`.
    pub normalise: Vec<NormaliseSettings>,
    /// As `compare.mask-regex`.
    pub mask_regex: Vec<MaskRegexSettings>,
}

/// Where a rule is written: for all topics, or further down for one.
pub(super) struct Place<'s> {
    general: &'s CompareSettings,
    topic: Option<&'s str>,
}

impl<'s> Place<'s> {
    pub(super) fn new(general: &'s CompareSettings, topic: Option<&'s str>) -> Self {
        Self { general, topic }
    }

    /// Rules of this list that are written for all topics; those behind them are the topic's own.
    fn general(&self, list: &str) -> usize {
        match list {
            "identity" => self.general.identity.len(),
            "ignore" => self.general.ignore.len(),
            "tolerance" => self.general.tolerance.len(),
            "set" => self.general.set.len(),
            "keyed-by" => self.general.keyed_by.len(),
            "any-of" => self.general.any_of.len(),
            "normalise" => self.general.normalise.len(),
            _ => self.general.mask_regex.len(),
        }
    }

    /// Key of the table that the rules are written in.
    pub(super) fn table(&self) -> String {
        self.topic.map_or_else(|| "compare".to_owned(), |topic| format!("compare.topics.{topic}"))
    }

    /// Key of the rule `at` of a list, such as `compare.topics.payouts.ignore[0]`.
    pub(super) fn key(&self, list: &str, at: usize) -> String {
        let general = self.general(list);
        match self.topic.filter(|_| at >= general) {
            Some(topic) => format!("compare.topics.{topic}.{list}[{}]", at - general),
            None => format!("compare.{list}[{at}]"),
        }
    }

    /// Text of the rule `at` of a list: what it silenced is counted by it.
    pub(super) fn text(&self, list: &str, at: usize, said: &str) -> String {
        match self.topic.filter(|_| at >= self.general(list)) {
            Some(topic) => format!("{list} {said} in {topic}"),
            None => format!("{list} {said}"),
        }
    }
}

impl CompareSettings {
    /// What holds for one topic: the rules for all, then its own.
    pub(super) fn joined(&self, own: &TopicRules) -> Self {
        let mut joined = Self { topics: std::collections::BTreeMap::new(), ..self.clone() };
        joined.ignore.extend(own.ignore.iter().cloned());
        joined.tolerance.extend(own.tolerance.iter().cloned());
        joined.set.extend(own.set.iter().cloned());
        joined.keyed_by.extend(own.keyed_by.iter().cloned());
        joined.any_of.extend(own.any_of.iter().cloned());
        joined.normalise.extend(own.normalise.iter().cloned());
        joined.mask_regex.extend(own.mask_regex.iter().cloned());
        joined
    }

    /// These settings without one of their rules each time, by the text that the rule is counted by.
    pub(super) fn without_each(&self) -> Vec<(String, Self)> {
        let mut without = self.without_each_of(None);
        for topic in self.topics.keys() {
            without.extend(self.without_each_of(Some(topic)));
        }
        if self.order == Order::None {
            without.push(("order none".to_owned(), Self { order: Order::Key, ..self.clone() }));
        }
        for at in 0..self.updates.len() {
            let mut less = self.clone();
            without.push((format!("updates {}", less.updates.remove(at)), less));
        }
        without
    }

    fn without_each_of(&self, topic: Option<&str>) -> Vec<(String, Self)> {
        let own = topic.and_then(|topic| self.topics.get(topic)).cloned();
        let rules = own.clone().unwrap_or_else(|| self.general());
        let mut without = Vec::new();
        let mut leave = |text: String, less: TopicRules| {
            let mut settings = self.clone();
            match topic {
                Some(topic) => _ = settings.topics.insert(topic.to_owned(), less),
                None => settings.generalise(less),
            }
            let place = topic.map_or_else(String::new, |topic| format!(" in {topic}"));
            without.push((format!("{text}{place}"), settings));
        };
        macro_rules! each {
            ($list:ident, $text:expr) => {
                for at in 0..rules.$list.len() {
                    let mut less = rules.clone();
                    let rule = less.$list.remove(at);
                    leave($text(&rule), less);
                }
            };
        }
        each!(ignore, |path: &String| format!("ignore {path}"));
        each!(tolerance, |rule: &ToleranceSettings| format!("tolerance {}", rule.path));
        each!(keyed_by, |rule: &KeyedSettings| format!("keyed-by {}", rule.said()));
        each!(set, |path: &String| format!("set {path}"));
        each!(mask_regex, |rule: &MaskRegexSettings| format!("mask-regex {}", rule.said()));
        each!(normalise, |rule: &NormaliseSettings| format!("normalise {}", rule.said()));
        each!(any_of, |rule: &AnyOfSettings| format!("any-of {}", rule.said()));
        without
    }

    fn general(&self) -> TopicRules {
        TopicRules {
            ignore: self.ignore.clone(),
            tolerance: self.tolerance.clone(),
            set: self.set.clone(),
            keyed_by: self.keyed_by.clone(),
            any_of: self.any_of.clone(),
            normalise: self.normalise.clone(),
            mask_regex: self.mask_regex.clone(),
            ..TopicRules::default()
        }
    }

    /// These settings for values that were read already, as JSON.
    pub(super) fn of_read_values(&self) -> Self {
        let mut settings = self.clone();
        for own in settings.topics.values_mut() {
            (own.value, own.schema, own.message) = (None, None, None);
        }
        settings
    }

    fn generalise(&mut self, rules: TopicRules) {
        let TopicRules { ignore, tolerance, set, keyed_by, any_of, normalise, mask_regex, .. } = rules;
        (self.ignore, self.tolerance, self.set, self.keyed_by) = (ignore, tolerance, set, keyed_by);
        (self.any_of, self.normalise, self.mask_regex) = (any_of, normalise, mask_regex);
    }
}

impl KeyedSettings {
    pub(super) fn said(&self) -> String {
        format!("{} by {}", self.path, self.key)
    }
}

impl AnyOfSettings {
    pub(super) fn said(&self) -> String {
        match (&self.by, &self.among, &self.values) {
            (Some(by), _, _) => format!("{} by {by}", self.path),
            (_, Some(among), _) => format!("{} among {among}", self.path),
            (_, _, values) => format!("{} of {} values", self.path, values.iter().flatten().count()),
        }
    }
}

impl NormaliseSettings {
    pub(super) fn said(&self) -> String {
        format!("{} as {}", self.path, self.form.word())
    }
}

impl MaskRegexSettings {
    pub(super) fn said(&self) -> String {
        format!("{} `{}`", self.path, self.pattern)
    }
}
