//! A policy as it is written, and checked.

use std::path::Path as FilePath;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::MaskKey;
use super::detect::Detected;
use super::method::{Decimal, Method};
use super::path::Path;
use super::secret::push_hex;
use super::topics::TopicPattern;
use crate::recording::Masking;
use crate::schema;
use crate::settings::{SettingError, Span};

/// Days by which dates are shifted at most, where nothing is said.
const WITHIN_DAYS: u64 = 180;

/// Most days of a shift: beyond, dates of our time leave the years that can be written.
const WITHIN_DAYS_MAX: u64 = 365_000;

/// What is masked, and how.
///
/// Where two rules touch the same part of an event, the first of them counts; a rule for something inside of what another rule
/// replaces finds nothing left.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "Mask policy of Rehearsal")]
pub struct PolicySettings {
    /// Environment variable that holds the key of `token` and `shift`: 32 random bytes or more, as `openssl rand -hex 32` prints.
    pub key_env: Option<String>,
    /// File that holds the key, relative to this one.
    pub key_file: Option<String>,
    /// What becomes of a value or key that is no JSON although a rule names fields of it.
    pub otherwise: Otherwise,
    /// What is masked, in order.
    pub rule: Vec<RuleSettings>,
    /// What looks personal and may be kept.
    pub keep: Vec<KeepSettings>,
}

/// What becomes of bytes in which no field can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// All of it is redacted.
    #[default]
    Redact,
    /// It stays as it is.
    Keep,
    /// The capture, or the masking of a recording, ends there with an error; what builds write is redacted.
    Refuse,
}

/// One rule: what is masked in which topics, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleSettings {
    /// Topics, in which `*` stands for any number of letters; without any, all topics.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Fields of values that are JSON, each a JSONPath (RFC 9535).
    #[serde(default)]
    pub value: Vec<String>,
    /// Whether the whole key is masked.
    #[serde(default)]
    pub key: bool,
    /// Fields of keys that are JSON, each a JSONPath (RFC 9535).
    #[serde(default)]
    pub key_fields: Vec<String>,
    /// Headers by name, in capitals or not.
    #[serde(default)]
    pub headers: Vec<String>,
    /// How they are masked.
    pub method: MethodName,
    /// How a token is written.
    pub form: Option<Form>,
    /// How far dates are shifted at most, in whole days; without it 180 days.
    pub within: Option<Span>,
    /// Whose dates are shifted together: `key`, or the JSONPath of a field of the value. Without it, all dates are.
    pub by: Option<String>,
    /// Numbers go down to a multiple of this.
    pub size: Option<f64>,
}

/// How something is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// By a keyed token (HMAC-SHA-256): the same for the same value, in every topic, field, key and header.
    Token,
    /// By `[redacted]` where a text stood, by null elsewhere.
    Redact,
    /// It is taken out with its name; a dropped key is null.
    Drop,
    /// Dates by a keyed number of days, one for all or one for each entity: order and distance stay.
    Shift,
    /// Numbers go down to a multiple.
    Bucket,
}

/// How a token is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `tok_` and 32 hexadecimal digits, as text even where a number stood.
    #[default]
    Text,
    /// Sixteen digits; a number stays a number.
    Number,
}

/// What looks personal and may be kept, such as the address of a shop.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeepSettings {
    /// Topics, in which `*` stands for any number of letters; without any, all topics.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Paths as the warnings show them: `$.shop.email`, `$.lines[*].note`, `key`, `key $.id`, `header source`,
    /// `value`.
    pub paths: Vec<String>,
    /// What it looks like; without any, whatever it looks like.
    #[serde(default)]
    pub kinds: Vec<Detected>,
}

/// A checked policy, with its key.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) targets: Vec<Target>,
    pub(super) otherwise: Otherwise,
    pub(super) keeps: Vec<Keep>,
    key: Option<MaskKey>,
    key_env: Option<String>,
    digest: String,
}

/// One part of the events of some topics, and how it is masked.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Number of its rule, from one.
    pub(super) rule: usize,
    pub(super) topics: Vec<TopicPattern>,
    pub(super) named_topics: Vec<String>,
    pub(super) part: Part,
    pub(super) method: Method,
    pub(super) by: By,
    pub(super) name: MethodName,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Value(Path),
    Key,
    KeyField(Path),
    Header(String),
}

/// Whose dates are shifted together.
#[derive(Debug, Clone)]
pub(super) enum By {
    All,
    Key,
    Field(Path),
}

/// What looks personal and may be kept.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    pub(super) topics: Vec<TopicPattern>,
    pub(super) paths: Vec<String>,
    pub(super) kinds: Vec<Detected>,
}

/// Whether one of `patterns` means `topic`; none at all means all topics.
pub(super) fn means(patterns: &[TopicPattern], topic: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(topic))
}

/// Whether a warning can show a path so; those under [[keep]] are compared letter by letter.
fn is_shown(path: &str) -> bool {
    let fields = path.strip_prefix("key ").unwrap_or(path);
    let is_field = fields.starts_with('$') && !fields.contains("..") && !fields.contains('?');
    is_field || matches!(path, "key" | "value") || path.strip_prefix("header ").is_some_and(|name| !name.is_empty())
}

impl PolicySettings {
    /// Checks the settings and reads the key that they name; files are relative to `folder`.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key, such as `rule[0].value[1]`. No error shows the key.
    pub fn check(&self, folder: &FilePath) -> Result<Policy, SettingError> {
        let key = self.key(folder)?;
        let mut targets = Vec::new();
        for (number, rule) in self.rule.iter().enumerate() {
            rule.check(&format!("rule[{number}]"), key.as_ref(), &mut targets)?;
        }
        let paths = self.keep.iter().enumerate().flat_map(|(number, keep)| {
            keep.paths.iter().enumerate().map(move |(at, path)| (format!("keep[{number}].paths[{at}]"), path))
        });
        if let Some((key, path)) = paths.into_iter().find(|(_, path)| !is_shown(path)) {
            let instead = "Write it as the warning does: `$.shop.email`, `$.lines[*].note`, `key`, `key $.id`, `header source`, `value`.";
            return Err(SettingError::new(key, format!("no warning shows a path as `{path}`"), instead));
        }
        let patterns = |topics: &[String]| topics.iter().map(|topic| TopicPattern::new(topic)).collect();
        let keep = |keep: &KeepSettings| Keep {
            topics: patterns(&keep.topics),
            paths: keep.paths.clone(),
            kinds: keep.kinds.clone(),
        };
        let keeps = self.keep.iter().map(keep).collect();
        let digest = self.digest();
        Ok(Policy { targets, otherwise: self.otherwise, keeps, key, key_env: self.key_env.clone(), digest })
    }

    /// SHA-256 of all that decides what is masked and how, but the key; what is kept of what looks personal decides nothing.
    fn digest(&self) -> String {
        let rules = serde_json::json!([self.otherwise, self.rule]).to_string();
        let mut digest = String::with_capacity(64);
        push_hex(&mut digest, &Sha256::digest(rules));
        digest
    }

    fn key(&self, folder: &FilePath) -> Result<Option<MaskKey>, SettingError> {
        let instead = "`openssl rand -hex 32` prints a good one; keep it where you keep other secrets.";
        match (&self.key_env, &self.key_file) {
            (Some(_), Some(_)) => Err(SettingError::new(
                "key-file",
                "the key stands in a variable already",
                "Keep one of `key-env` and `key-file`.",
            )),
            (Some(name), None) => {
                MaskKey::of_variable(name).map(Some).map_err(|problem| SettingError::new("key-env", problem, instead))
            }
            (None, Some(file)) => {
                let read = MaskKey::of_file(&folder.join(file));
                read.map(Some).map_err(|problem| SettingError::new("key-file", problem, instead))
            }
            (None, None) => Ok(None),
        }
    }
}

impl RuleSettings {
    fn check(&self, place: &str, key: Option<&MaskKey>, targets: &mut Vec<Target>) -> Result<(), SettingError> {
        let wrong = |name: &str, problem: &str, instead: &str| {
            Err(SettingError::new(
                if name.is_empty() { place.to_owned() } else { format!("{place}.{name}") },
                problem,
                instead,
            ))
        };
        for (name, given, wanted) in [
            ("form", self.form.is_some(), MethodName::Token),
            ("within", self.within.is_some(), MethodName::Shift),
            ("by", self.by.is_some(), MethodName::Shift),
            ("size", self.size.is_some(), MethodName::Bucket),
        ] {
            if given && self.method != wanted {
                let problem = format!("`{name}` belongs to the method `{}`", wanted.text());
                return wrong(name, &problem, "Take it out, or choose that method.");
            }
        }
        let method = self.method(place, key)?;
        let by = self.by(place)?;
        if matches!(by, By::Field(_)) && (self.key || !self.key_fields.is_empty() || !self.headers.is_empty()) {
            return wrong(
                "by",
                "dates of keys and headers cannot be shifted by a field of the value",
                "Write a rule of their own.",
            );
        }
        let before = targets.len();
        let rule = targets.last().map_or(1, |last| last.rule + 1);
        let mut add = |part| {
            targets.push(Target {
                rule,
                topics: self.topics.iter().map(|topic| TopicPattern::new(topic)).collect(),
                named_topics: self.topics.clone(),
                part,
                method: method.clone(),
                by: by.clone(),
                name: self.method,
            });
        };
        let drops = self.method == MethodName::Drop;
        path_targets(&self.value, &format!("{place}.value"), drops, Part::Value, &mut add)?;
        path_targets(&self.key_fields, &format!("{place}.key-fields"), drops, Part::KeyField, &mut add)?;
        if self.key {
            add(Part::Key);
        }
        self.headers.iter().for_each(|name| add(Part::Header(name.clone())));
        if targets.len() == before {
            return wrong(
                "",
                "the rule masks nothing",
                "Name `value` fields, `key = true`, `key-fields` or `headers`.",
            );
        }
        Ok(())
    }

    fn method(&self, place: &str, key: Option<&MaskKey>) -> Result<Method, SettingError> {
        let keyed = || {
            key.cloned().ok_or_else(|| {
                let problem = format!("the method `{}` needs a key", self.method.text());
                SettingError::new(
                    format!("{place}.method"),
                    problem,
                    "Name its variable at the top: `key-env = \"REHEARSAL_MASK_KEY\"`.",
                )
            })
        };
        Ok(match self.method {
            MethodName::Token => Method::Token { key: keyed()?, digits: self.form == Some(Form::Number) },
            MethodName::Redact => Method::Redact,
            MethodName::Drop => Method::Drop,
            MethodName::Shift => {
                let days = self.within.map_or(WITHIN_DAYS, |within| within.0.as_secs() / 86_400);
                if !(1..=WITHIN_DAYS_MAX).contains(&days) {
                    let problem = "dates are shifted by whole days, at least one and at most 365000";
                    return Err(SettingError::new(format!("{place}.within"), problem, "Write `\"180d\"`, say."));
                }
                Method::Shift { key: keyed()?, days_max: days as i64 }
            }
            MethodName::Bucket => {
                let size =
                    self.size.and_then(|size| Decimal::read(&size.to_string())).filter(|size| size.is_above_zero());
                let at = if self.size.is_some() { format!("{place}.size") } else { place.to_owned() };
                let problem = "a bucket needs a size above zero";
                Method::Bucket(size.ok_or_else(|| SettingError::new(at, problem, "Write `size = 100`, say."))?)
            }
        })
    }

    fn by(&self, place: &str) -> Result<By, SettingError> {
        match self.by.as_deref() {
            None => Ok(By::All),
            Some("key") => Ok(By::Key),
            Some(path) => Path::parse(path).map(By::Field).map_err(|problem| {
                let instead = "Write `key`, or a JSONPath such as `$.customer.id`.";
                SettingError::new(format!("{place}.by"), problem, instead)
            }),
        }
    }
}

fn path_targets(
    paths: &[String],
    place: &str,
    drops: bool,
    part: impl Fn(Path) -> Part,
    add: &mut impl FnMut(Part),
) -> Result<(), SettingError> {
    for (number, text) in paths.iter().enumerate() {
        let at = || format!("{place}[{number}]");
        let path = Path::parse(text)
            .map_err(|problem| SettingError::new(at(), problem, "Write a JSONPath such as `$.customer.email`."))?;
        if drops && path.is_root() {
            let problem = "a whole value cannot be dropped: nobody could tell it from a tombstone";
            return Err(SettingError::new(at(), problem, "Write `method = \"redact\"`."));
        }
        add(part(path));
    }
    Ok(())
}

impl MethodName {
    /// The name as it is written.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Redact => "redact",
            Self::Drop => "drop",
            Self::Shift => "shift",
            Self::Bucket => "bucket",
        }
    }
}

impl Policy {
    /// The same policy for what builds write, of which nothing is refused: how a build behaves is a result, never an error. What
    /// would be refused is redacted.
    #[must_use]
    pub fn for_builds(mut self) -> Self {
        if self.otherwise == Otherwise::Refuse {
            self.otherwise = Otherwise::Redact;
        }
        self
    }

    /// What of events the rules leave nothing of to compare, or not all, each with its method: `$.iban redact`.
    pub fn hides(&self) -> Vec<String> {
        let lossy = |name| matches!(name, MethodName::Redact | MethodName::Drop | MethodName::Bucket);
        let hidden = self.targets.iter().filter(|target| lossy(target.name));
        hidden.map(|target| format!("{} {}", target.part.name(), target.name.text())).collect()
    }

    /// Tells this policy's key from others, where it has one.
    pub fn fingerprint(&self) -> Option<String> {
        self.key.as_ref().map(MaskKey::fingerprint)
    }

    /// Tells this policy and its key from others, for what a recording says of how it was masked.
    pub fn masking(&self) -> Masking {
        Masking { policy: self.digest.clone(), key: self.fingerprint() }
    }

    /// Whether a rule names fields of the keys or values of `topic`.
    pub fn names_fields(&self, topic: &str, part: schema::Part) -> bool {
        self.targets.iter().filter(|target| means(&target.topics, topic)).any(|target| match (&target.part, part) {
            (Part::Value(path), schema::Part::Value) | (Part::KeyField(path), schema::Part::Key) => !path.is_root(),
            _ => false,
        })
    }

    /// Environment variable that holds the key: nobody else needs to find it in theirs.
    pub fn key_variable(&self) -> Option<&str> {
        self.key_env.as_deref()
    }
}

impl Part {
    /// Whether it is all of a key or value.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Value(path) | Self::KeyField(path) => path.is_root(),
            Self::Key => true,
            Self::Header(_) => false,
        }
    }

    /// How the part is called in a manifest.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Value(path) => path.text().to_owned(),
            Self::Key => "key".to_owned(),
            Self::KeyField(path) => format!("key {}", path.text()),
            Self::Header(name) => format!("header {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> SettingError {
        toml::from_str::<PolicySettings>(text).unwrap().check(FilePath::new("/nowhere")).unwrap_err()
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        for (text, key) in [
            ("[[rule]]\nvalue = ['$.a', '$.']\nmethod = 'redact'", "rule[0].value[1]"),
            ("[[rule]]\nkey-fields = ['a']\nmethod = 'redact'", "rule[0].key-fields[0]"),
            ("[[rule]]\nvalue = ['$']\nmethod = 'drop'", "rule[0].value[0]"),
            ("[[rule]]\nkey = true\nmethod = 'token'", "rule[0].method"),
            ("[[rule]]\nkey = true\nmethod = 'shift'", "rule[0].method"),
            ("[[rule]]\nmethod = 'redact'", "rule[0]"),
            ("[[rule]]\nkey = true\nmethod = 'redact'\nsize = 5", "rule[0].size"),
            ("[[rule]]\nkey = true\nmethod = 'bucket'", "rule[0]"),
            ("[[rule]]\nkey = true\nmethod = 'bucket'\nsize = -5", "rule[0].size"),
            ("[[rule]]\nkey = true\nmethod = 'shift'\nwithin = '5h'", "rule[0].within"),
            ("[[rule]]\nkey = true\nmethod = 'redact'\nform = 'number'", "rule[0].form"),
            ("key-env = 'REHEARSAL_NO_SUCH_VARIABLE'", "key-env"),
            ("key-file = 'no-such-file'", "key-file"),
            ("key-env = 'A'\nkey-file = 'b'", "key-file"),
        ] {
            assert_eq!(refused(text).key, key, "{text}");
        }
    }

    #[test]
    fn a_key_is_read_from_a_file_beside_the_policy_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let settings: PolicySettings =
            toml::from_str("key-file = 'k'\n[[rule]]\nkey = true\nmethod = 'shift'\nby = '$.a'").unwrap();
        std::fs::write(folder.path().join("k"), "short-secret").unwrap();
        let error = settings.check(folder.path()).unwrap_err();
        assert!(error.key == "key-file" && !error.to_string().contains("short-secret"), "{error}");
        let secret = "0123456789abcdefghijklmnopqrstuvwxyz0123456789";
        std::fs::write(folder.path().join("k"), secret).unwrap();
        assert_eq!(settings.check(folder.path()).unwrap_err().key, "rule[0].by");
        let policy = PolicySettings { rule: Vec::new(), ..settings }.check(folder.path()).unwrap();
        assert!(policy.fingerprint().is_some() && !format!("{policy:?}").contains(secret));
    }
}
