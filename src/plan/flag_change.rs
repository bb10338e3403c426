//! `[[flag-change]]`: a flag of the builds that takes another value at a moment of the plan, such as a kill switch that is thrown.
//!
//! It changes no delivery. Its moment becomes replay time, so that every drive sees it at the same instant: when the first event at or
//! after it is due, ahead of that event and of what any fault does to it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log::FaultLog;
use super::pace::Pace;
use super::requests::{Asking, AtRequests, moment_of};
use super::summary::FaultSummary;
use super::trigger::At;
use super::{FaultLogError, Legality};
use crate::settings::{Flag, SettingError, Span, flag_variable};

/// What it is called among faults.
pub const KIND: &str = "flag-change";

/// Most changes of one scenario.
const CHANGES_MAX: usize = 1_000;

/// One of the two builds of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The build in production.
    Old,
    /// The build to be released.
    New,
}

impl Role {
    /// Whether the drive called `drive`, such as `old-again`, is one of this build's.
    pub fn drives(self, drive: &str) -> bool {
        drive.split('-').next() == Some(self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A flag that takes another value while builds are driven: in the file `{flags}`, and in what the stub at `{ofrep}` answers. The
/// environment of a process cannot change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FlagChangeSettings {
    /// What the report and the fault log call it; `flag-change-1` and so on where nothing is said.
    #[serde(default)]
    pub name: Option<String>,
    /// When: a time (`"2013-01-05T12:00:00Z"`), or event time since the slice's first event (`"90s"`). It takes place ahead of the first
    /// event at or after it.
    pub at: At,
    /// Which flag: one that every build that it changes for has in its `flags`.
    pub flag: String,
    /// The value from then on, of the type that the flag has.
    pub to: Flag,
    /// Build that it changes for; both where nothing is said.
    #[serde(default)]
    pub build: Option<Role>,
}

/// A change of a flag, resolved against the schedule of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// What the report and the fault log call it.
    pub name: String,
    /// Flag.
    pub flag: String,
    /// Its value from then on.
    pub to: Flag,
    /// Build that it changes for; none for both.
    pub build: Option<Role>,
    /// When, in microseconds since the schedule's start; none where no event stands at or after it, or it lies ahead of the slice.
    pub due_us: Option<i64>,
}

/// When a change takes place.
#[derive(Debug, Clone, Copy)]
enum When {
    /// As written.
    At(At),
    /// As a fault log has it, in microseconds since the schedule's start; none where it has none of it.
    Logged(Option<i64>),
}

/// A change as far as it can be checked without the plan's schedule.
#[derive(Debug, Clone)]
pub(super) struct CheckedChange {
    name: String,
    flag: String,
    to: Flag,
    build: Option<Role>,
    when: When,
}

/// Checks changes; `taken` are the names of the scenario's faults.
///
/// # Errors
///
/// The setting at fault, with its key: `flag-change[n].…`.
pub(super) fn check_all<'n>(
    settings: &[FlagChangeSettings],
    taken: impl Iterator<Item = &'n str>,
    pace: &Pace,
) -> Result<Vec<CheckedChange>, SettingError> {
    let mut names: Vec<String> = taken.map(str::to_owned).collect();
    let mut changes = Vec::new();
    for (index, one) in settings.iter().enumerate() {
        let wrong = |key: &str, problem: String, instead: &str| {
            Err(SettingError::new(format!("{KIND}[{index}].{key}"), problem, instead))
        };
        if index == CHANGES_MAX {
            let problem = format!("a scenario changes flags {CHANGES_MAX} times at most");
            return wrong("at", problem, "Leave some out or make a second scenario.");
        }
        if let Err(problem) = flag_variable(&one.flag) {
            return wrong("flag", problem, "Name a flag of the builds, such as `new-rounding`.");
        }
        let name = one.name.clone().unwrap_or_else(|| format!("{KIND}-{}", index + 1));
        if name.is_empty() {
            return wrong("name", "a flag change needs a name".to_owned(), "Leave `name` out to have one made.");
        }
        if names.contains(&name) {
            let problem = format!("another fault or flag change is named `{name}`");
            return wrong("name", problem, "The fault log knows each by its name: give each its own.");
        }
        if !pace.waits() {
            let problem = "the pace `unpaced` waits for no moment, so nobody could tell which events come behind it";
            return wrong("at", problem.to_owned(), "Write another `pace.mode`, or drive twice with other `flags`.");
        }
        names.push(name.clone());
        let FlagChangeSettings { at, flag, to, build, .. } = one.clone();
        changes.push(CheckedChange { name, flag, to, build, when: When::At(at) });
    }
    Ok(changes)
}

impl CheckedChange {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The moment that the plan's schedule is to tell.
    pub(super) fn at(&self) -> Option<At> {
        if let When::At(at) = self.when { Some(at) } else { None }
    }

    /// Takes its moment from a log: none where the log has none.
    ///
    /// # Errors
    ///
    /// [`FaultLogError::OtherThanOnce`] where the log says more of it than one moment.
    pub(super) fn replay(&mut self, log: &FaultLog) -> Result<(), FaultLogError> {
        let logged = log.requests.get(&self.name);
        if logged.is_some_and(|logged| logged.moments_us.len() != 1 || !logged.requests.is_empty()) {
            return Err(FaultLogError::OtherThanOnce { fault: self.name.clone() });
        }
        self.when = When::Logged(logged.and_then(|logged| logged.moments_us.first().copied()));
        Ok(())
    }

    /// What it comes to, now that the plan is known.
    pub(super) fn resolve(&self, asking: &Asking, origin_us: i64) -> FlagChange {
        FlagChange {
            name: self.name.clone(),
            flag: self.flag.clone(),
            to: self.to.clone(),
            build: self.build,
            due_us: match self.when {
                When::At(at) => asking.due_us(at, origin_us),
                When::Logged(moment_us) => moment_us,
            },
        }
    }
}

impl FlagChange {
    /// What a plan says of it.
    pub(super) fn summary(&self) -> FaultSummary {
        FaultSummary {
            name: self.name.clone(),
            kind: KIND.to_owned(),
            legality: Legality::A,
            planned: u64::from(self.due_us.is_some()),
            coverage: Vec::new(),
            at_requests: Some(AtRequests { begins: self.begins(), by_time: true, redelivers: false, only: self.build }),
        }
    }

    fn begins(&self) -> String {
        let when = match self.due_us {
            Some(due_us) => format!("at {} of the replay", Span(moment_of(due_us))),
            None => "at no moment of the replay".to_owned(),
        };
        let alone = self.build.map_or_else(String::new, |build| format!(", in {build} alone"));
        format!("`{}` becomes {} {when}{alone}", self.flag, self.to.shown())
    }
}
