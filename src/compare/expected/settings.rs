//! The scenario's `[[expected]]` and what was accepted of earlier runs, as written and as checked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::places::{Places, hash_of};
use super::{Expected, ExpectedState};
use crate::compare::figure::kind_name;
use crate::compare::{Change, Kind};
use crate::settings::{Moment, SettingError};

/// Entries of `[[expected]]`.
const EXPECTED_MAX: usize = 64;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// A difference that is intended: it is no failure where it takes place as written, and one where it does not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedSettings {
    /// Path within the value, as a report shows it, such as `$.currency` or `$.items[*].price`. Needed unless `kind` is one
    /// without paths.
    #[serde(default)]
    pub path: Option<String>,
    /// Kind of difference, as a report shows it, such as `missing` or `rerouted`. Default: every kind that has this path.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Topic, sink or effect. Default: all; the change is then asked for only where it takes place at all.
    #[serde(default)]
    pub topic: Option<String>,
    /// How the value changes, such as `added` or `value`. Default: in whatever way.
    #[serde(default)]
    pub change: Option<Change>,
    /// What stands there in new, such as `"EUR"`; another value is a difference.
    #[serde(default)]
    pub value: Option<Json>,
    /// What stands there in old; another value there is not spoken of.
    #[serde(default)]
    pub from: Option<Json>,
    /// Why it is intended, such as the number of a ticket.
    pub because: String,
    /// Last day on which it is, such as `"2026-12-31"` (UTC); behind it, it is a difference again.
    #[serde(default)]
    pub until: Option<String>,
}

/// What somebody decided about one pattern of an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct Acceptance {
    /// Short hash of the signature.
    pub id: String,
    /// Kind.
    pub kind: Kind,
    /// Topic.
    pub topic: String,
    /// Path; none where the kind has none.
    pub path: Option<String>,
    /// Change.
    pub change: Option<Change>,
    /// What was accepted; none where the pattern was rejected, so that it stays a difference and is not asked about again.
    pub share: Option<AcceptedShare>,
    /// Why.
    pub because: String,
    /// Who.
    pub by: String,
    /// When, as a day such as `2026-11-22`.
    pub on: String,
    /// Last day on which it stands, likewise.
    pub until: Option<String>,
}

/// Share of comparable outputs that were accepted to differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AcceptedShare {
    /// Share that was seen, 1 being all.
    pub share: f64,
    /// Shares that it stands for, least and most.
    pub interval: (f64, f64),
}

/// Everything that is expected of new, checked.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    pub(super) all: Vec<Expectation>,
    /// Those with a path that are in force, by path.
    pub(super) by_path: BTreeMap<String, Vec<u16>>,
}

/// One expectation.
#[derive(Debug, Clone)]
pub(super) struct Expectation {
    /// What the report says of it; its figures are still to come.
    pub(super) facts: Expected,
    /// Whether it covers what it speaks of: it was not rejected and has not expired.
    pub(super) in_force: bool,
    /// Hash of what stands in old and in new, where that was written.
    pub(super) from: Option<u64>,
    pub(super) value: Option<u64>,
    /// Where the change is to take place; none where nobody can say at which outputs it should.
    pub(super) places: Option<Places>,
}

impl Expectations {
    /// Checks what a scenario expects and what was accepted beside it, as of the day `today` (days since 1970-01-01, UTC):
    /// nothing here reads a clock.
    ///
    /// # Errors
    ///
    /// Names the key, such as `expected[0].because`.
    pub fn check(expected: &[ExpectedSettings], accepted: &[Acceptance], today: i64) -> Result<Self, SettingError> {
        if expected.len() > EXPECTED_MAX {
            let problem = format!("{} expected changes are too many", expected.len());
            return Err(SettingError::new("expected", problem, format!("Write {EXPECTED_MAX} at most.")));
        }
        let mut all = Vec::with_capacity(expected.len() + accepted.len());
        for (at, settings) in expected.iter().enumerate() {
            all.push(settings.check(&format!("expected[{at}]"), today)?);
        }
        for acceptance in accepted {
            all.push(acceptance.check(today)?);
        }
        let mut by_path: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (number, one) in all.iter().enumerate().filter(|(_, one)| one.in_force) {
            if let Some(path) = &one.facts.path {
                by_path.entry(path.clone()).or_default().push(number as u16);
            }
        }
        Ok(Self { all, by_path })
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl ExpectedSettings {
    fn check(&self, key: &str, today: i64) -> Result<Expectation, SettingError> {
        let at = |name: &str| format!("{key}.{name}");
        if self.because.trim().is_empty() {
            let instead = "Write why it is intended, such as `because = \"PAY-123\"`.";
            return Err(SettingError::new(at("because"), "says nothing", instead));
        }
        let (path, places) = self.check_path(key)?;
        if let Some(kind) = self.kind {
            check_kind(kind, path.is_some(), &at("kind"))?;
        } else if path.is_none() {
            let instead = "Write `path = \"$.currency\"`, or `kind = \"missing\"`.";
            return Err(SettingError::new(key, "says neither where nor what", instead));
        }
        if path.is_none() && (self.value.is_some() || self.from.is_some()) {
            let name = if self.value.is_some() { "value" } else { "from" };
            return Err(SettingError::new(
                at(name),
                "needs a `path`",
                "Write where it stands, as `path = \"$.currency\"`.",
            ));
        }
        if self.change == Some(Change::Added) && self.from.is_some() {
            return Err(SettingError::new(at("from"), "stands nowhere in old where it is added", "Take it out."));
        }
        if self.change == Some(Change::Removed) && self.value.is_some() {
            let instead = "Write `from` for what stood in old.";
            return Err(SettingError::new(at("value"), "stands nowhere in new where it is removed", instead));
        }
        let hash = |value: &Option<Json>, name: &str| value.as_ref().map(|value| hashed(value, &at(name))).transpose();
        let (from, value) = (hash(&self.from, "from")?, hash(&self.value, "value")?);
        let until = day_of(self.until.as_deref(), &at("until"))?;
        let expired = until.is_some_and(|until| until < today);
        let places = places.and_then(|places| places.asked(self.change, from, value));
        let facts = Expected {
            kind: self.kind,
            topic: self.topic.clone(),
            path,
            change: self.change,
            value: self.value.clone(),
            from: self.from.clone(),
            because: self.because.trim().to_owned(),
            until: self.until.clone(),
            days_left: until.map(|until| until - today),
            state: if expired { ExpectedState::Expired } else { ExpectedState::Stale },
            ..Expected::default()
        };
        Ok(Expectation { facts, in_force: !expired, from, value, places })
    }

    fn check_path(&self, key: &str) -> Result<(Option<String>, Option<Places>), SettingError> {
        let Some(path) = &self.path else { return Ok((None, None)) };
        let places = Places::read(path, &format!("{key}.path"))?;
        Ok((Some(places.shown()), Some(places)))
    }
}

impl Acceptance {
    fn check(&self, today: i64) -> Result<Expectation, SettingError> {
        let key = format!("accepted.{}", self.id);
        let until = day_of(self.until.as_deref(), &format!("{key}.until"))?;
        let expired = until.is_some_and(|until| until < today);
        let facts = Expected {
            id: Some(self.id.clone()),
            kind: Some(self.kind),
            topic: Some(self.topic.clone()),
            path: self.path.clone(),
            change: self.change,
            because: self.because.clone(),
            by: Some(self.by.clone()),
            on: Some(self.on.clone()),
            until: self.until.clone(),
            days_left: until.map(|until| until - today),
            accepted: self.share.map(|share| share.share),
            interval: self.share.map(|share| share.interval),
            state: match (self.share, expired) {
                (None, _) => ExpectedState::Rejected,
                (Some(_), true) => ExpectedState::Expired,
                (Some(_), false) => ExpectedState::Stale,
            },
            ..Expected::default()
        };
        let in_force = self.share.is_some() && !expired;
        Ok(Expectation { facts, in_force, from: None, value: None, places: None })
    }
}

/// Refuses kinds that nobody can expect: what is no difference between outputs, and what is never judged.
fn check_kind(kind: Kind, has_path: bool, key: &str) -> Result<(), SettingError> {
    let name = kind_name(kind);
    let known = "Write a kind that a report shows, such as `changed`, `missing`, `extra`, `rerouted` or `reordered`.";
    if matches!(kind, Kind::Unseen | Kind::BenignReorder | Kind::Refinement) {
        return Err(SettingError::new(key, format!("`{name}` is never a failure"), known));
    }
    if matches!(kind, Kind::NoProgress | Kind::Died) {
        return Err(SettingError::new(key, format!("`{name}` is how a build ends, not what it writes"), known));
    }
    let may_have_path =
        matches!(kind, Kind::Changed | Kind::FinalState | Kind::Effect | Kind::SinkDivergence | Kind::DeadLetter);
    if has_path && !may_have_path {
        return Err(SettingError::new(
            key,
            format!("`{name}` has no path"),
            "Take out `path`, or write `kind = \"changed\"`.",
        ));
    }
    Ok(())
}

fn hashed(value: &Json, key: &str) -> Result<u64, SettingError> {
    let is_date = value.as_object().is_some_and(|members| members.keys().any(|name| name.starts_with("$__toml")));
    if is_date {
        return Err(SettingError::new(key, "a date is no value of JSON", "Write it in quotes, as the build does."));
    }
    hash_of(value).ok_or_else(|| SettingError::new(key, "is nested too deeply", "Write a value, such as `\"EUR\"`."))
}

/// Reads a day, counted from 1970-01-01.
///
/// # Errors
///
/// Names `key` where the text is no day.
fn day_of(text: Option<&str>, key: &str) -> Result<Option<i64>, SettingError> {
    let Some(text) = text else { return Ok(None) };
    let day = if text.trim().len() == 10 { Moment::of_date(text).ok() } else { None };
    let day = day.ok_or_else(|| {
        SettingError::new(key, format!("`{text}` is no day of the calendar"), "Write it as `\"2026-12-31\"`.")
    })?;
    Ok(Some(day.0.div_euclid(DAY_US)))
}
