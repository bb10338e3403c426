//! A mask policy from its file, with every problem led back to file, line and column as in a scenario.

use std::fs;
use std::path::Path;

use super::ScenarioError;
use super::read::deserialise;
use super::source::Source;
use super::tree::Tree;
use crate::mask::{Policy, PolicySettings};

/// Reads and checks the policy at `path`, replacing `${VAR}` as in a scenario; its key file is relative to its folder.
///
/// # Errors
///
/// [`ScenarioError::UnreadablePolicy`] where there is no such file, [`ScenarioError::Problems`] with what is wrong with it.
pub fn read_policy(path: &Path) -> Result<Policy, ScenarioError> {
    let unreadable = |source| ScenarioError::UnreadablePolicy { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let source = Source::new(path, text, &|name| std::env::var(name).ok())?;
    let tree = Tree::parse(&source)?;
    let settings: PolicySettings = deserialise(&source, &tree)?;
    let checked = settings.check(path.parent().unwrap_or(Path::new("")));
    checked.map_err(|error| vec![source.problem(tree.span(&error.key), &error.problem, &error.instead)].into())
}
