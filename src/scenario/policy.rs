//! A mask policy from its file, with every problem led back to file, line and column as in a scenario.

use std::fs;
use std::path::Path;

use super::ScenarioError;
use super::read::deserialise;
use super::source::{Problem, Source, TextPlace};
use super::tree::Tree;
use crate::mask::{MaskKey, Policy, PolicySettings};

/// Reads and checks the policy at `path`, replacing `${VAR}` as in a scenario; its key file is relative to its folder.
///
/// # Errors
///
/// [`ScenarioError::UnreadablePolicy`] where there is no such file, [`ScenarioError::Problems`] with what is wrong with it. None
/// shows a line in which a key may stand that was written where its place is to stand.
pub fn read_policy(path: &Path) -> Result<Policy, ScenarioError> {
    let unreadable = |source| ScenarioError::UnreadablePolicy { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let read = read(path, text);
    read.map_err(|problems| problems.into_iter().map(without_key).collect::<Vec<_>>().into())
}

fn read(path: &Path, text: String) -> Result<Policy, Vec<Problem>> {
    let source = Source::new(path, text, &|name| std::env::var(name).ok())?;
    let tree = Tree::parse(&source)?;
    let settings: PolicySettings = deserialise(&source, &tree)?;
    let checked = settings.check(path.parent().unwrap_or(Path::new("")));
    checked.map_err(|error| vec![source.problem(tree.span(&error.key), &error.problem, &error.instead)])
}

/// Takes out of a problem what may be a key: what the line gives to something called a key, and all that could be used as one.
fn without_key(mut problem: Problem) -> Problem {
    let TextPlace::Line { text, column, width, .. } = &mut problem.place else { return problem };
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let given = value.trim().trim_matches(['"', '\'']);
    let name_of = name.trim().trim_matches(['"', '\'']);
    let called_key = name_of.starts_with("key") && !matches!(name_of, "key-file" | "key-fields");
    let harmless = matches!(given, "" | "true" | "false") || MaskKey::is_variable(given);
    if (harmless || !called_key) && MaskKey::hidden(text) == *text {
        return problem;
    }
    let hide = |words: &str| {
        let words = if called_key && !given.is_empty() { words.replace(given, "…") } else { words.to_owned() };
        MaskKey::hidden(&words)
    };
    (problem.problem, problem.instead) = (hide(&problem.problem), hide(&problem.instead));
    // What is shown ends where the value begins; the caret of a place in it stands below what hides it.
    let shown = if text.contains('=') { format!("{}= …", MaskKey::hidden(name)) } else { "…".to_owned() };
    let room = shown.chars().count();
    *column = (*column).min(room);
    *width = (*width).min(room + 1 - *column);
    *text = shown;
    problem
}
