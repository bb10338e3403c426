//! `NAME.accepted.toml` beside a scenario: what somebody decided about patterns of earlier runs.
//!
//! One table a pattern, in order of what it speaks of, so that a change of the file reads as what was decided. Written whole or
//! not at all; read with every problem led back to file, line and column.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::read::deserialise;
use super::source::{Problem, Source};
use super::tree::Tree;
use super::{Scenario, ScenarioError};
use crate::clock::{Clock as _, SystemClock};
use crate::compare::{Acceptance, AcceptedShare, Change, Expectations, Kind, pattern_id};
use crate::settings::Moment;

/// How the name of such a file ends.
pub(super) const ENDING: &str = ".accepted.toml";

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// What stands at the head of the file.
const HEAD: &str = "\
# What was decided about patterns of earlier runs, by `rehearsal review`. `run` and `compare --rules` read it.
# An accepted pattern is no failure while its share of comparable outputs stays within `interval` and its day has not passed;
# a rejected one stays a difference and is not asked about again. Take a table out to be asked again.
";

/// What was decided, and the file that says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    path: PathBuf,
    all: Vec<Acceptance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    accepted: Vec<Accepted>,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Accepted {
    pattern: String,
    kind: Kind,
    #[serde(default)]
    topic: String,
    path: Option<String>,
    change: Option<Change>,
    share: f64,
    interval: [f64; 2],
    because: String,
    by: String,
    on: String,
    until: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rejected {
    pattern: String,
    kind: Kind,
    #[serde(default)]
    topic: String,
    path: Option<String>,
    change: Option<Change>,
    because: String,
    by: String,
    on: String,
}

/// Returns where decisions about the runs of the scenario at `path` are kept.
pub fn decisions_of(path: &Path) -> PathBuf {
    path.with_extension(ENDING.trim_start_matches('.'))
}

/// Whether `path` is such a file, and so no scenario.
pub(super) fn keeps_decisions(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING))
}

/// Returns today's date as a day since 1970-01-01, in UTC.
pub fn today() -> i64 {
    SystemClock::start().date_us().div_euclid(DAY_US)
}

/// Writes a day since 1970-01-01 as `2026-12-31`.
pub fn day_in_words(day: i64) -> String {
    Moment(day.saturating_mul(DAY_US)).utc().format("%Y-%m-%d").to_string()
}

/// Returns who reviews, as `Name <address>`: what git says of whoever works in `folder`, else the user's name.
pub fn author(folder: &Path) -> Option<String> {
    let said = |key: &str| {
        let mut git = Command::new("git");
        git.current_dir(folder).args(["config", "--get", key]).stdin(Stdio::null()).stderr(Stdio::null());
        let output = git.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|text| !text.is_empty())
    };
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    match (said("user.name"), said("user.email")) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => user(),
    }
}

/// Everything that is expected of new as of today: what the scenario says and what was decided beside it.
///
/// # Errors
///
/// [`ScenarioError::Problems`] with what is wrong, each in its own file; [`ScenarioError::Folder`] where that of decisions
/// cannot be read.
pub(super) fn expectations(scenario: &Scenario) -> Result<Expectations, ScenarioError> {
    // Rules that stand in no file have nothing beside them.
    let decisions = if scenario.path.is_file() { Decisions::beside(&scenario.path)?.all } else { Vec::new() };
    Expectations::check(&scenario.settings.expected, &decisions, today())
        .map_err(|error| vec![scenario.problem(&error)].into())
}

impl Decisions {
    /// Reads what was decided beside the scenario at `path`; nothing where there is no such file.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Problems`] with what is wrong with it, by line and column; [`ScenarioError::Decisions`] where it cannot
    /// be read.
    pub fn beside(path: &Path) -> Result<Self, ScenarioError> {
        let path = decisions_of(path);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self { path, all: Vec::new() }),
            Err(source) => return Err(ScenarioError::Decisions { path, writes: false, source }),
        };
        let all = read(&path, text)?;
        Ok(Self { path, all })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was decided about the pattern `id`.
    pub fn of(&self, id: &str) -> Option<&Acceptance> {
        self.all.iter().find(|one| one.id == id)
    }

    /// Everything that was decided, in the order of the file.
    pub fn all(&self) -> &[Acceptance] {
        &self.all
    }

    /// Adds a decision, in place of an earlier one about the same pattern.
    pub fn decide(&mut self, decision: Acceptance) {
        self.all.retain(|other| other.id != decision.id);
        self.all.push(decision);
        self.all.sort_by(|one, other| order(one).cmp(&order(other)));
    }

    /// Writes the file: under another name first, so that nobody ever reads half of it.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Decisions`] where the folder is not to be written to or the disk refuses.
    pub fn write(&self) -> Result<(), ScenarioError> {
        let failed = |source| ScenarioError::Decisions { path: self.path.clone(), writes: true, source };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut half =
            tempfile::Builder::new().prefix(".accepted-").suffix(".part").tempfile_in(folder).map_err(failed)?;
        half.write_all(self.text().as_bytes()).and_then(|()| half.as_file().sync_all()).map_err(failed)?;
        let mode = fs::metadata(&self.path).map(|about| about.permissions());
        let mode = mode.unwrap_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644));
        half.as_file().set_permissions(mode).map_err(failed)?;
        half.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn text(&self) -> String {
        self.all.iter().fold(HEAD.to_owned(), |text, one| text + "\n" + &table(one))
    }
}

/// Decisions stand in order of what they speak of, accepted ones first.
fn order(one: &Acceptance) -> (bool, &str, &Option<String>, Kind, Option<Change>) {
    (one.share.is_none(), &one.topic, &one.path, one.kind, one.change)
}

fn table(one: &Acceptance) -> String {
    // `${` is what a scenario's text replaces; a reason may hold it as it is.
    let text = |text: &str| toml::Value::from(text).to_string().replace("${", "$${");
    let mut lines = vec![
        format!("[[{}]]", if one.share.is_some() { "accepted" } else { "rejected" }),
        format!("pattern = {}", text(&one.id)),
        format!("kind = {}", text(&named(one.kind))),
    ];
    if !one.topic.is_empty() {
        lines.push(format!("topic = {}", text(&one.topic)));
    }
    lines.extend(one.path.iter().map(|path| format!("path = {}", text(path))));
    lines.extend(one.change.iter().map(|change| format!("change = {}", text(&named(change)))));
    if let Some(AcceptedShare { share, interval: (least, most) }) = one.share {
        lines.push(format!("share = {}", figure(share)));
        // Rounded outwards, so that it never holds less than what was accepted.
        let (least, most) = ((least * DIGITS).floor() / DIGITS, (most * DIGITS).ceil() / DIGITS);
        lines.push(format!("interval = [{}, {}]", figure(least), figure(most.min(1.0))));
    }
    lines.push(format!("because = {}", text(&one.because)));
    lines.push(format!("by = {}", text(&one.by)));
    lines.push(format!("on = {}", text(&one.on)));
    lines.extend(one.until.iter().map(|until| format!("until = {}", text(until))));
    lines.join("\n") + "\n"
}

/// Name of a kind or change as a report spells it.
fn named(of: impl serde::Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Digits behind the point of a share: finer than the interval of one in ten million outputs.
const DIGITS: f64 = 1e9;

/// Writes a share.
fn figure(share: f64) -> String {
    let text = format!("{share:.9}");
    let plain = text.trim_end_matches('0');
    if plain.ends_with('.') { format!("{plain}0") } else { plain.to_owned() }
}

fn read(path: &Path, text: String) -> Result<Vec<Acceptance>, Vec<Problem>> {
    let source = Source::new(path, text, &|name| std::env::var(name).ok())?;
    let tree = Tree::parse(&source)?;
    let file: File = deserialise(&source, &tree)?;
    let mut all: Vec<Acceptance> = Vec::new();
    let mut problems = Vec::new();
    let accepted = file.accepted.into_iter().enumerate().map(|(at, one)| (format!("accepted[{at}]"), one.checked()));
    let rejected = file.rejected.into_iter().enumerate().map(|(at, one)| (format!("rejected[{at}]"), one.decided()));
    for (key, (one, wrong)) in accepted.chain(rejected.map(|(key, one)| (key, (one, None)))) {
        let id = pattern_id(one.kind, &one.topic, one.path.as_deref(), one.change);
        let twice = all.iter().any(|other| other.id == one.id);
        let wrong = wrong
            .or_else(|| {
                (id != one.id).then(|| {
                    (
                        "pattern",
                        format!("`{}` is no name of this pattern", one.id),
                        format!("Write `pattern = \"{id}\"`, or what it speaks of as the report shows it."),
                    )
                })
            })
            .or_else(|| {
                twice.then(|| ("pattern", format!("`{}` was decided above", one.id), "Keep one of the two.".to_owned()))
            })
            .or_else(|| wrong_day(&one));
        match wrong {
            Some((name, problem, instead)) => {
                problems.push(source.problem(tree.span(&format!("{key}.{name}")), &problem, &instead));
            }
            None => all.push(one),
        }
    }
    problems.sort_by_key(Problem::line);
    all.sort_by(|one, other| order(one).cmp(&order(other)));
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// What is wrong with a key of a table, and what to write instead.
type Wrong = (&'static str, String, String);

fn wrong_day(one: &Acceptance) -> Option<Wrong> {
    let no_day = |text: &str| text.len() != 10 || Moment::of_date(text).is_err();
    let days = [("on", Some(one.on.as_str())), ("until", one.until.as_deref())];
    let (name, day) = days.into_iter().find_map(|(name, day)| Some((name, day.filter(|day| no_day(day))?)))?;
    Some((name, format!("`{day}` is no day of the calendar"), "Write it as `\"2026-12-31\"`.".to_owned()))
}

impl Accepted {
    fn checked(self) -> (Acceptance, Option<Wrong>) {
        let [least, most] = self.interval;
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let wrong = if !is_share(self.share) {
            Some(("share", format!("{} is no share", self.share), "Write a number from 0 to 1.".to_owned()))
        } else if !is_share(least) || !is_share(most) || least > most {
            let instead = "Write the least and the most share, as `interval = [0.01, 0.02]`.".to_owned();
            Some(("interval", "is no interval of shares".to_owned(), instead))
        } else {
            None
        };
        let share = Some(AcceptedShare { share: self.share, interval: (least, most) });
        let Self { pattern: id, kind, topic, path, change, because, by, on, until, .. } = self;
        (Acceptance { id, kind, topic, path, change, share, because, by, on, until }, wrong)
    }
}

impl Rejected {
    fn decided(self) -> Acceptance {
        let Self { pattern: id, kind, topic, path, change, because, by, on } = self;
        Acceptance { id, kind, topic, path, change, share: None, because, by, on, until: None }
    }
}
