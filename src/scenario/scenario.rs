//! One scenario, read: its settings, and the text that leads every complaint back to its line.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::ValueDeserializer;

use super::ScenarioError;
use super::accepted::keeps_decisions;
use super::golden::{self, Against};
use super::read::deserialise;
use super::settings::ScenarioSettings;
use super::source::{Problem, Source};
use super::tree::Tree;
use crate::recording::{Location, LocationError};
use crate::settings::SettingError;

/// What stands for the required keys where only rules are wanted.
const FILLERS: [&str; 3] = ["recording=''", "old.command=['-']", "new.command=['-']"];

/// A scenario as its file and the overrides say, not yet held against its recording.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Name: the file's stem, or its folder's where the stem is `scenario`.
    pub name: String,
    /// Question it asks: the first comment line.
    pub question: Option<String>,
    /// File, as it was given.
    pub path: PathBuf,
    /// What it says.
    pub settings: ScenarioSettings,
    /// What new is held against in place of an old build; none where old is driven.
    pub against: Option<Against>,
    /// Overrides that were laid over it, as given.
    pub overrides: Vec<String>,
    source: Source,
}

impl Scenario {
    /// Reads the scenario at `path`: replaces its variables from the environment, lays `overrides` (`drive.settle=2s`) over it
    /// and reads every section.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Unreadable`] where there is no such file, [`ScenarioError::Problems`] with everything that is wrong
    /// with it.
    pub fn read(path: impl AsRef<Path>, overrides: &[String]) -> Result<Self, ScenarioError> {
        let path = path.as_ref();
        Self::of_text(path, text_of(path)?, overrides, &[])
    }

    /// Reads the scenario at `path` to hold its new build `against` what production wrote, so that `[old]` may be missing from it.
    ///
    /// # Errors
    ///
    /// As [`Scenario::read`].
    pub fn read_against(path: impl AsRef<Path>, overrides: &[String], against: Against) -> Result<Self, ScenarioError> {
        let path = path.as_ref();
        let scenario = Self::of_text(path, text_of(path)?, overrides, &golden::FILLERS)?;
        Ok(Self { against: Some(against), ..scenario })
    }

    /// Reads a scenario of which only the rules are wanted, so that recording and builds may be missing from it.
    ///
    /// # Errors
    ///
    /// As [`Scenario::read`].
    pub fn read_rules(path: impl AsRef<Path>, overrides: &[String]) -> Result<Self, ScenarioError> {
        let path = path.as_ref();
        Self::of_text(path, text_of(path)?, overrides, &FILLERS)
    }

    /// Reads rules from text that stands in no file.
    ///
    /// # Errors
    ///
    /// As [`Scenario::read`].
    pub fn rules_of_text(text: &str, overrides: &[String]) -> Result<Self, ScenarioError> {
        Self::of_text(Path::new("rules"), text.to_owned(), overrides, &FILLERS)
    }

    /// Reads a scenario from text that stands in no file; `path` says what it is to be called, and paths in it are relative to
    /// the folder of `path`.
    ///
    /// `fillers` are overrides that count only where the text says nothing.
    ///
    /// # Errors
    ///
    /// As [`Scenario::read`].
    pub fn of_text(path: &Path, text: String, overrides: &[String], fillers: &[&str]) -> Result<Self, ScenarioError> {
        // A variable that is no Unicode cannot stand in a text, so it counts as unset.
        let source = Source::new(path, text, &|name| std::env::var(name).ok())?;
        let bare = Tree::parse(&source)?;
        let missing = fillers.iter().filter(|filler| !filler.split_once('=').is_some_and(|(key, _)| bare.has(key)));
        let all: Vec<String> = missing.map(|&filler| filler.to_owned()).chain(overrides.iter().cloned()).collect();
        let source = source.with_overrides(&all);
        let settings: ScenarioSettings = deserialise(&source, &Tree::parse(&source)?)?;
        Ok(Self {
            name: name_of(path),
            question: question_in(source.file()),
            path: path.to_owned(),
            settings,
            against: None,
            overrides: overrides.to_vec(),
            source,
        })
    }

    /// Returns the folder that paths in the scenario are relative to.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Returns where the recording lies.
    ///
    /// # Errors
    ///
    /// Where it is an address, and of no store that is known.
    pub fn recording(&self) -> Result<Location, LocationError> {
        // Without a `./` in front: the path is shown as a person would write it.
        Ok(Location::parse(&self.settings.recording)?.below(self.path.parent().unwrap_or(Path::new(""))))
    }

    /// Says where a setting that a room refused stands.
    pub fn problem(&self, error: &SettingError) -> Problem {
        // The tree was parsed once without a complaint, so it is again.
        let span = match self.source.override_of(&error.key) {
            Some(over) => over.start..over.start,
            None => Tree::parse(&self.source).map(|tree| tree.span(&error.key)).unwrap_or(0..0),
        };
        self.source.problem(span, &error.problem, &error.instead)
    }

    /// Everything that it says, variables replaced and overrides laid over it; keys of each table in order.
    pub(super) fn whole(&self) -> serde_json::Value {
        use serde::Deserialize as _;
        // The tree was parsed once without a complaint, so it is again.
        let tree = Tree::parse(&self.source).ok();
        let read = |tree: Tree<'_>| serde_json::Value::deserialize(ValueDeserializer::from(tree.to_value())).ok();
        tree.and_then(read).unwrap_or_default()
    }

    /// Writes `${NAME}` wherever `words` holds the value of a variable that was replaced at `key`.
    pub fn masked(&self, key: &str, words: &str) -> String {
        let span = Tree::parse(&self.source).map(|tree| tree.value_span(key)).unwrap_or(0..0);
        self.source.masked(&span, words)
    }
}

fn text_of(path: &Path) -> Result<String, ScenarioError> {
    fs::read_to_string(path).map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })
}

fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).map(|folder| folder.to_string_lossy().into_owned());
    match folder {
        Some(folder) if stem == "scenario" => folder,
        _ => stem,
    }
}

fn question_in(text: &str) -> Option<String> {
    let comment = text.lines().find(|line| line.trim_start().starts_with('#'))?;
    let question = comment.trim_start().trim_start_matches('#').trim();
    (!question.is_empty()).then(|| question.to_owned())
}

/// Finds the scenarios in `paths`: files as they are, and every `.toml` file of folders, in order of name; what was accepted of
/// their runs (`NAME.accepted.toml`) is none.
///
/// # Errors
///
/// [`ScenarioError::NoScenario`] for a folder without one, [`ScenarioError::Unreadable`] where there is neither.
pub fn scenarios_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ScenarioError> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let unreadable = |source| ScenarioError::Unreadable { path: path.clone(), source };
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?.path();
            if keeps_decisions(&entry) {
                continue;
            }
            if entry.extension().is_some_and(|ending| ending == "toml") {
                inside.push(entry);
            } else if entry.join("scenario.toml").is_file() {
                inside.push(entry.join("scenario.toml"));
            }
        }
        if inside.is_empty() {
            return Err(ScenarioError::NoScenario { path: path.clone() });
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}
