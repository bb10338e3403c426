//! Where builds stand: in a folder as it is, or in the tree of a revision that is made once.

use std::fs;
use std::path::{Path, PathBuf};

use super::ScenarioError;
use super::accepted::decisions_of;
use super::checked::{Checked, in_one_line};
use super::run::Watcher;
use crate::clock::{Stop, SystemClock};
use crate::drive::{Build, BuildSettings, Making, Offers, Stands, make};
use crate::settings::SettingError;
use crate::worktree::{Cache, Changes, REDIRECTIONS, Repository, Standing, Step, Wanted, WorktreeError};

/// The revision that stands for the folder as it is.
const AS_IT_IS: &str = ".";

/// Where one build stands.
#[derive(Debug, Clone)]
pub(super) enum Stand {
    /// In a folder as it is.
    Folder(Folder),
    /// In the tree of a revision.
    Revision(Box<Revision>),
}

/// A folder as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    /// What git knows of it; none where it is not in a worktree with a commit, or not looked at yet.
    pub(super) git: Option<(Repository, Changes)>,
}

/// The tree of a revision.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    /// As it was written.
    pub(super) written: String,
    pub(super) wanted: Wanted,
    cache: Cache,
    /// What was made; none ahead of that.
    pub(super) standing: Option<Standing>,
}

impl Revision {
    /// Top of its tree, without links.
    pub(super) fn tree(&self) -> PathBuf {
        let tree = self.cache.tree(&self.wanted);
        tree.canonicalize().unwrap_or(tree)
    }
}

/// Finds where the build of `settings`, which stand under `key` in a scenario in `folder`, is to stand, and checks what can be checked
/// ahead of its making. Nothing is written.
pub(super) fn stand(
    key: &str,
    settings: &BuildSettings,
    folder: &Path,
    offers: Offers,
) -> Result<(Build, Stand), SettingError> {
    let Some(written) = settings.git.as_deref().filter(|written| *written != AS_IT_IS) else {
        return Ok((settings.check_with(key, folder, offers)?, Stand::Folder(Folder::default())));
    };
    let at = format!("{key}.git");
    let failed = |error: WorktreeError| {
        SettingError::new(&at, in_one_line(&error), "Mend that, or leave `git` away and take the folder as it is.")
    };
    let Some(repository) = Repository::around(folder).map_err(failed)? else {
        let problem = "this file lies in no git repository, so there is no revision to build";
        return Err(SettingError::new(at, problem, "Move it into the repository of the build, or write `directory`."));
    };
    let Some(commit) = repository.commit(written).map_err(failed)? else {
        let problem = format!("`{written}` names no commit of the repository {}", repository.top().display());
        let remote = format!("origin/{written}");
        let instead = match repository.commit(&remote) {
            Ok(Some(_)) => format!("There is `{remote}`."),
            _ => "Write a branch, a tag or a commit; `git fetch` brings what only the remote has.".to_owned(),
        };
        return Err(SettingError::new(at, problem, instead));
    };
    let directory = settings.directory.as_deref().unwrap_or(Path::new("."));
    let at_directory = format!("{key}.{}", if settings.directory.is_some() { "directory" } else { "git" });
    // Beside the scenario's own, whose place in the worktree is known without links.
    let instead =
        "Write where the build lies in its repository, relative to this file, such as `directory = \"..\"`.".to_owned();
    let Some(place) = repository.place(directory) else {
        let problem = format!("{} lies outside of the repository", directory.display());
        return Err(SettingError::new(at_directory, problem, instead));
    };
    let wanted = Wanted { repository, commit, place, build: settings.build.clone() };
    if !wanted.repository.has_folder(&wanted.commit, &wanted.place).map_err(failed)? {
        let problem = format!("`{written}` has no folder `{}`", wanted.place.display());
        return Err(SettingError::new(at_directory, problem, instead));
    }
    let cache = Cache::of_user().map_err(failed)?;
    let build = settings.check_at(key, folder, cache.directory(&wanted), Stands::OnceCheckedOut, offers)?;
    let revision = Revision { written: written.to_owned(), wanted, cache, standing: None };
    Ok((build, Stand::Revision(Box::new(revision))))
}

/// Makes both builds of a scenario: those of a revision where the user's cache has none, those of a folder in any case; then looks at
/// what is driven. `runs` is where runs are written, which are no changes of a folder.
///
/// # Errors
///
/// [`ScenarioError::Make`] for commands that fail, [`ScenarioError::Worktree`] for trees that cannot be had,
/// [`ScenarioError::Problems`] for a program that is not there afterwards, [`ScenarioError::Stopped`] where `stop` is raised.
pub(super) fn built(
    checked: &Checked,
    runs: &Path,
    watcher: &dyn Watcher,
    stop: &Stop,
) -> Result<Checked, ScenarioError> {
    let _heeding = stop.heed();
    let mut built = checked.clone();
    let maker = Maker { checked, runs, watcher, stop };
    let old = (&checked.scenario.settings.old, checked.old.directory());
    let new = (&checked.scenario.settings.new, checked.new.directory());
    // Commands that were run in this very folder a moment ago made both.
    let both = matches!(checked.new_stand, Stand::Folder(_))
        && matches!(checked.old_stand, Stand::Folder(_))
        && (old.1.canonicalize().ok(), &old.0.build) == (new.1.canonicalize().ok(), &new.0.build);
    if checked.scenario.against.is_some() {
        (built.new, built.new_stand) = maker.made("new", &checked.new, &checked.new_stand, &new.0.build)?;
        // Stands for old, and is not driven as such.
        (built.old, built.old_stand) = (built.new.clone(), built.new_stand.clone());
        return Ok(built);
    }
    (built.old, built.old_stand) = maker.made("old", &checked.old, &checked.old_stand, &old.0.build)?;
    let commands = if both { &[][..] } else { &new.0.build };
    (built.new, built.new_stand) = maker.made("new", &checked.new, &checked.new_stand, commands)?;
    Ok(built)
}

struct Maker<'m> {
    checked: &'m Checked,
    runs: &'m Path,
    watcher: &'m dyn Watcher,
    stop: &'m Stop,
}

impl Maker<'_> {
    fn made(
        &self,
        role: &str,
        build: &Build,
        stand: &Stand,
        commands: &[Vec<String>],
    ) -> Result<(Build, Stand), ScenarioError> {
        let stand = match stand {
            Stand::Folder(_) => {
                if !commands.is_empty() {
                    self.make_in_folder(role, build.directory(), commands)?;
                }
                Stand::Folder(Folder { git: self.look(build.directory()) })
            }
            Stand::Revision(revision) => {
                let standing = self.take(role, revision)?;
                Stand::Revision(Box::new(Revision { standing: Some(standing), ..(**revision).clone() }))
            }
        };
        let looked = build.looked_at(role);
        let build = looked.map_err(|error| ScenarioError::from(vec![self.checked.scenario.problem(&error)]))?;
        Ok((build, stand))
    }

    fn take(&self, role: &str, revision: &Revision) -> Result<Standing, ScenarioError> {
        let Revision { written, wanted, cache, .. } = revision;
        let what = format!("{written} ({})", wanted.short_commit());
        let heard = |step| match step {
            Step::Waits => self.watcher.note(&format!("{role} waits for another run that makes or uses {what}")),
            Step::Makes => self.watcher.note(&format!("{role} is made of {what}; later runs use it again")),
        };
        let make = |directory: &Path| self.make(role, directory, &wanted.build, &cache.log(wanted));
        let taken = cache.take(wanted, &SystemClock::start(), self.stop, &heard, make);
        self.watcher.made(role);
        taken.map_err(|error| self.stopped(error))
    }

    fn make_in_folder(&self, role: &str, directory: &Path, commands: &[Vec<String>]) -> Result<(), ScenarioError> {
        let heard = |_| self.watcher.note(&format!("{role} waits for another run that makes {}", directory.display()));
        let made =
            Cache::of_user()?.alone(directory, self.stop, &heard, |log| self.make(role, directory, commands, log));
        self.watcher.made(role);
        made.map_err(|error| self.stopped(error))
    }

    fn make(&self, role: &str, directory: &Path, commands: &[Vec<String>], log: &Path) -> Result<(), ScenarioError> {
        let timeout = self.checked.drive.build_timeout;
        let making = Making { commands, directory, without: &REDIRECTIONS, log, timeout };
        let heard = |command: &str, line: &str| self.watcher.making(role, command, line);
        make(&making, &SystemClock::start(), self.stop, &heard)
            .map_err(|source| ScenarioError::Make { role: role.to_owned(), source: Box::new(source) })
    }

    /// Says of a request to stop where there is something to go on with.
    fn stopped(&self, error: ScenarioError) -> ScenarioError {
        if self.stop.raised() { ScenarioError::StoppedMaking } else { error }
    }

    /// What git knows of the worktree that holds `directory`. What a run itself writes there, its recording and its scenario are no
    /// changes of a build.
    fn look(&self, directory: &Path) -> Option<(Repository, Changes)> {
        // Where there is no git, or it refuses, nothing is known of it, which changes nothing of what the build does.
        let repository = Repository::around(directory).ok()??;
        let changes = Changes::of(repository.top(), &no_changes(self.checked, self.runs)).ok()?;
        Some((repository, changes))
    }
}

/// Paths that count for no change of the folder that a build stands in.
pub(super) fn no_changes(checked: &Checked, runs: &Path) -> Vec<PathBuf> {
    let scenario = &checked.scenario;
    let recording = scenario.folder().join(&scenario.settings.recording);
    let decisions = decisions_of(&scenario.path);
    let paths = [runs, &recording, &scenario.path, &decisions];
    // Without links, as git names its top. What is not there yet lies in what is.
    let whole = |path: &Path| {
        let path = std::path::absolute(path).ok()?;
        let there = path.ancestors().find(|ancestor| ancestor.exists())?;
        let rest = path.strip_prefix(there).ok()?;
        Some(if rest.as_os_str().is_empty() {
            fs::canonicalize(there).ok()?
        } else {
            fs::canonicalize(there).ok()?.join(rest)
        })
    };
    paths.into_iter().filter_map(whole).collect()
}

/// Says of builds that stand in folders as they are whether those were changed while they were driven.
pub(super) fn changed_meanwhile(checked: &Checked, runs: &Path) -> Vec<String> {
    let of = |role: &str, stand: &Stand| {
        let Stand::Folder(Folder { git: Some((repository, before)) }) = stand else { return None };
        let now = Changes::of(repository.top(), &no_changes(checked, runs)).ok()?;
        (now != *before).then(|| {
            format!(
                "The folder of {role} was changed while it was driven: its drives may not have been of the same build, and the \
                 report names what stood there ahead of them."
            )
        })
    };
    [("old", &checked.old_stand), ("new", &checked.new_stand)]
        .into_iter()
        .skip(usize::from(checked.scenario.against.is_some()))
        .filter_map(|(role, stand)| of(role, stand))
        .collect()
}
