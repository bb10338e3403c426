//! The flags of one drive: what they are at the moment, which of them change when, who asked for them.
//!
//! In come the build's flags and the plan's changes of them; out come flagd's definition file ([`definition`]), which is replaced as a
//! whole at every change, and values for the stub of OFREP. What never happens here: a flag changes type, a reader of the file sees half
//! of it, an answer is given from a value that the file does not have yet.

mod definition;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::build::Build;
use super::{DriveError, Job};
use crate::outcome::{EndingReport, FaultCount, FlagChanged, FlagCount, FlagsReport};
use crate::plan::{FLAG_CHANGE, FlagChange, FlagChangeSettings, Role};
use crate::settings::{Flag, SettingError};

use definition::{definition, variants};

/// Names of flags that are not set which are told of one by one.
const UNSET_MAX: usize = 20;

/// Bytes of such a name that are kept.
const UNSET_BYTES: usize = 200;

/// A flag of a drive: the values that it may take there, first the one that it begins with, each with the name of its variant.
#[derive(Debug)]
struct Known {
    values: Vec<(String, Flag)>,
    at: usize,
    /// By value: asked for by itself, and among all.
    counts: Vec<(u64, u64)>,
}

/// A flag as somebody who asks is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) variant: String,
    pub(super) value: serde_json::Value,
}

/// The flags of one drive.
#[derive(Debug)]
pub(super) struct Flags {
    path: PathBuf,
    /// Those of this drive's build that take place, by due time.
    changes: Vec<(i64, FlagChange)>,
    /// Names of all of this drive's build.
    named: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: BTreeMap<String, Known>,
    pending: VecDeque<usize>,
    /// Grows with every change.
    version: u64,
    changed: Vec<FlagChanged>,
    unset: BTreeMap<String, u64>,
    requests: u64,
    bulk: u64,
    with_context: u64,
    failed: Option<io::Error>,
}

impl Flags {
    /// Takes those of `job`'s drive, whose file will stand below `dir`; none where its build has none and nothing asks for them.
    ///
    /// # Errors
    ///
    /// What reading the plan says.
    pub(super) fn of(job: &Job<'_>, dir: &Path) -> Result<Option<Self>, DriveError> {
        let build = job.build;
        let hosts = &job.rules.isolation.hosts;
        let named = || ["flags", "ofrep"].iter().any(|name| build.names(name, &job.rules.sinks));
        if build.flags().is_empty() && !named() && !hosts.values().any(|target| target == "ofrep") {
            return Ok(None);
        }
        let changes = job.plan.flag_changes()?.into_iter();
        let changes = changes.filter(|change| change.build.is_none_or(|build| build.drives(job.name)));
        Ok(Some(Self::new(build.flags(), changes.collect(), dir)))
    }

    pub(super) fn new(flags: &BTreeMap<String, Flag>, all: Vec<FlagChange>, dir: &Path) -> Self {
        let named = all.iter().map(|change| change.name.clone()).collect();
        let mut changes: Vec<(i64, FlagChange)> =
            all.into_iter().filter_map(|change| Some((change.due_us?, change))).collect();
        // Of two at the same instant the one that is written first comes first.
        changes.sort_by_key(|(due_us, _)| *due_us);
        let known = flags.iter().map(|(name, flag)| {
            let of_flag = changes.iter().filter(|(_, change)| change.flag == *name);
            let values = variants(flag, of_flag.map(|(_, change)| &change.to));
            (name.clone(), Known { counts: vec![(0, 0); values.len()], values, at: 0 })
        });
        let state = State {
            known: known.collect(),
            pending: (0..changes.len()).collect(),
            version: 0,
            changed: Vec::new(),
            unset: BTreeMap::new(),
            requests: 0,
            bulk: 0,
            with_context: 0,
            failed: None,
        };
        Self { path: dir.join("flags").join("flagd.json"), changes, named, state: Mutex::new(state) }
    }

    /// Where flagd's definition file stands; alone in its folder, so that who watches that sees nothing else.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file and its folder.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn write(&self) -> io::Result<()> {
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new("")))?;
        self.replace(&self.lock())
    }

    /// Takes the file away again: values may be nobody's business once the drive is over.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.draft());
        // Not where something else is in it.
        let _ = self.path.parent().map(fs::remove_dir);
    }

    fn draft(&self) -> PathBuf {
        self.path.with_file_name(".flagd.json.new")
    }

    /// Replaces the file as a whole: whoever opens it reads the flags of before or of now.
    fn replace(&self, state: &State) -> io::Result<()> {
        let flags = state.known.iter().map(|(name, known)| (name.as_str(), &known.values[..], known.at));
        fs::write(self.draft(), definition(flags))?;
        fs::rename(self.draft(), &self.path)
    }

    /// When the next change is due, in microseconds since the schedule's start.
    pub(super) fn next_due_us(&self) -> Option<i64> {
        self.lock().pending.front().map(|next| self.changes[*next].0)
    }

    /// Makes the changes that are due by `due_us`; it is `at_us` now. A flag that has the value already does not change.
    pub(super) fn change(&self, due_us: i64, at_us: i64) {
        let mut state = self.lock();
        let mut any = false;
        while let Some(next) = state.pending.front().copied().filter(|next| self.changes[*next].0 <= due_us) {
            state.pending.pop_front();
            let FlagChange { name, flag, to, .. } = &self.changes[next].1;
            let Some(known) = state.known.get_mut(flag) else { continue };
            let Some(at) = known.values.iter().position(|(_, value)| value.value() == to.value()) else { continue };
            if at == known.at {
                continue;
            }
            let from = known.values[known.at].1.shown();
            known.at = at;
            let changed = FlagChanged { change: name.clone(), flag: flag.clone(), from, to: to.shown(), at_us };
            state.changed.push(changed);
            any = true;
        }
        if any {
            state.version += 1;
            // Held meanwhile: an answer is never ahead of the file.
            let replaced = self.replace(&state);
            state.failed = state.failed.take().or(replaced.err());
        }
    }

    /// What replacing the file failed with, if it did; once.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.lock().failed.take()
    }

    /// Counts a request of any kind.
    pub(super) fn count_request(&self) {
        self.lock().requests += 1;
    }

    /// Counts an evaluation context that could have changed something.
    pub(super) fn count_context(&self) {
        self.lock().with_context += 1;
    }

    /// Answers who asks for one flag; none where it is not set.
    pub(super) fn ask(&self, name: &str) -> Option<Told> {
        let mut state = self.lock();
        let State { known, unset, .. } = &mut *state;
        let Some(flag) = known.get_mut(name) else {
            let name: String = name.chars().take(UNSET_BYTES).collect();
            if unset.len() < UNSET_MAX || unset.contains_key(&name) {
                *unset.entry(name).or_default() += 1;
            }
            return None;
        };
        flag.counts[flag.at].0 += 1;
        Some(flag.told(name))
    }

    /// Answers who asks for all flags and knows them as of the versions for which `knows` says so; none where that is what they are.
    pub(super) fn ask_all(&self, knows: impl Fn(u64) -> bool) -> (u64, Option<Vec<Told>>) {
        let mut state = self.lock();
        state.bulk += 1;
        if knows(state.version) {
            return (state.version, None);
        }
        let told = |(name, flag): (&String, &mut Known)| {
            flag.counts[flag.at].1 += 1;
            flag.told(name)
        };
        let all = state.known.iter_mut().map(told).collect();
        (state.version, Some(all))
    }

    /// Writes down what became of the flags.
    pub(super) fn report(&self, report: &mut EndingReport) {
        let state = self.lock();
        for name in &self.named {
            let instances = state.changed.iter().filter(|changed| changed.change == *name).count() as u64;
            report.faults.insert(name.clone(), FaultCount { instances, touched: instances, provoked: 0 });
        }
        let counts = |known: &Known| {
            let all = known.values.iter().zip(&known.counts);
            all.map(|((_, flag), (asked, in_bulk))| FlagCount { value: flag.shown(), asked: *asked, in_bulk: *in_bulk })
                .collect()
        };
        report.flags = Some(FlagsReport {
            flags: state.known.iter().map(|(name, known)| (name.clone(), counts(known))).collect(),
            unset: state.unset.clone(),
            requests: state.requests,
            bulk: state.bulk,
            with_context: state.with_context,
            changes: state.changed.clone(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn told(&self, name: &str) -> Told {
        let (variant, flag) = &self.values[self.at];
        Told { name: name.to_owned(), variant: variant.clone(), value: flag.value().clone() }
    }
}

/// Holds changes of flags against the builds that they change for, which each may be unknown.
///
/// # Errors
///
/// The key of a change of a flag that a build does not have, or to a value of another type.
pub fn check_flag_changes(
    changes: &[FlagChangeSettings],
    old: Option<&Build>,
    new: Option<&Build>,
) -> Result<(), SettingError> {
    for (index, change) in changes.iter().enumerate() {
        let wrong = |key: &str, problem: String, instead: String| {
            Err(SettingError::new(format!("{FLAG_CHANGE}[{index}].{key}"), problem, instead))
        };
        for (role, build) in [(Role::Old, old), (Role::New, new)] {
            let Some(build) = build.filter(|_| change.build.is_none_or(|only| only == role)) else { continue };
            match build.flags().get(&change.flag) {
                None => {
                    let problem = format!("the build {role} has no flag `{}`", change.flag);
                    let instead =
                        format!("{}Set it in `[{role}] flags`{}.", near(&change.flag, build), other(role, change));
                    return wrong("flag", problem, instead);
                }
                Some(flag) if flag.kind() != change.to.kind() => {
                    let (is, to) = (flag.kind(), change.to.kind());
                    let problem = format!("`{}` is {is} in `[{role}] flags`, and this is {to}", change.flag);
                    return wrong("to", problem, format!("Write {is}: builds ask for flags by type."));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Names the flag that may have been meant.
fn near(wrong: &str, build: &Build) -> String {
    let close = |name: &&String| strsim::damerau_levenshtein(name, wrong) <= 2;
    build.flags().keys().find(close).map_or_else(String::new, |name| format!("Did you mean `{name}`? "))
}

/// What else could be written where a change is for both builds.
fn other(role: Role, change: &FlagChangeSettings) -> String {
    let other = match role {
        Role::Old => Role::New,
        Role::New => Role::Old,
    };
    if change.build.is_some() { String::new() } else { format!(", or write `build = \"{other}\"`") }
}

#[cfg(test)]
mod tests;
