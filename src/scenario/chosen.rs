//! `--old` and `--new`: a build by a revision or a folder, whatever the scenario says.

use std::path::Path;

use super::{Scenario, ScenarioError};
use crate::worktree::Repository;

/// Returns the overrides that make the build `role` (`old` or `new`) of `scenario` stand in `place`: a folder, or a revision of the
/// scenario's repository.
///
/// `.` and whatever has the form of a path, or is a folder, is one; all else is a revision. A folder that is the top of a git worktree
/// stands for that whole tree, so the build runs at the place in it at which it lies in its own; any other is the one in which it runs.
///
/// # Errors
///
/// [`ScenarioError::NoFolder`] for the form of a path where there is no folder, [`ScenarioError::Ambiguous`] for what is both. What is no
/// revision is found when the scenario is checked.
pub fn choose(scenario: &Scenario, role: &str, place: &str) -> Result<Vec<String>, ScenarioError> {
    let folder = Path::new(place);
    let is_path = place == "." || place == ".." || ["./", "../", "/"].iter().any(|start| place.starts_with(start));
    // Without git, and outside of a repository, there are no revisions.
    let repository = Repository::around(scenario.folder()).ok().flatten();
    if !folder.is_dir() {
        if is_path {
            return Err(ScenarioError::NoFolder { role: role.to_owned(), path: folder.to_owned() });
        }
        return Ok(vec![format!("{role}.git={}", quoted(place))]);
    }
    let is_revision = || repository.as_ref().is_some_and(|repository| matches!(repository.commit(place), Ok(Some(_))));
    if !is_path && is_revision() {
        return Err(ScenarioError::Ambiguous { role: role.to_owned(), place: place.to_owned() });
    }
    let unread = |source| ScenarioError::Unreadable { path: folder.to_owned(), source };
    let mut directory = folder.canonicalize().map_err(unread)?;
    if directory.join(".git").exists()
        && let Some(repository) = &repository
    {
        let settings = if role == "old" { &scenario.settings.old } else { &scenario.settings.new };
        let own = settings.directory.as_deref().unwrap_or(Path::new("."));
        let there = repository.place(own).map(|place| directory.join(place)).filter(|there| there.is_dir());
        directory = there.unwrap_or(directory);
    }
    Ok(vec![format!("{role}.git=\".\""), format!("{role}.directory={}", quoted(&directory.display().to_string()))])
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
