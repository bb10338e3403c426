//! An outcome of old used again: where plan, build, flags and rules of driving are those of an earlier run, old does what it did.
//!
//! What an outcome rests on is told by one hash, its *key*, which a run leaves beside its outcomes. All that the scenario says counts but
//! for what reaches no drive of old (`[new]`, `[compare]`, `[gates]`, `[warnings]`, `[relations]`, names); so does what it names (the
//! recording, files, the state folder), the build (its tree, its program), this program, and the machine. Where anything cannot be told,
//! old is driven. How fast old was, another time, says nothing about how fast new is now: nothing of that is used again.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::ScenarioError;
use super::checked::Checked;
use super::facts;
use super::folder::{Destination, RunFolder};
use super::stand::{Folder, Stand, no_changes};
use crate::outcome::{Ending, Layer, Outcome};
use crate::report::OldFacts;
use crate::worktree::{Fingerprint, Repository, beside_git};

/// What a run leaves beside its outcomes.
pub(super) const KEY_FILE: &str = "reuse.json";

/// What stands in the folder of an outcome that was used again.
const MARK: &str = "used-again.json";

/// Earlier runs that are looked at, the last first.
const RUNS_MAX: usize = 50;

/// Most files of a folder that are looked at to tell whether it is the same.
const FILES_MAX: usize = 200_000;

/// Sections of a scenario that reach no drive of old, and the recording, which counts by its hash.
const REACHES_NOT: [&str; 7] = ["recording", "new", "compare", "expected", "figure", "gates", "warnings"];

/// Keys of `[relations]` that change what a drive of old is handed; the others reach none.
const RELATIONS_REACH: [&str; 2] = ["time-shift", "event-times"];

/// Keys of `[old]` that reach none: its name, and the revision, which counts by its tree.
const OLD_REACHES_NOT: [&str; 2] = ["name", "git"];

/// Variables of our own environment that tell one terminal from another, and nothing of what a build does.
const OF_TERMINALS: [&str; 19] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "TERM",
    "COLORTERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "COLUMNS",
    "LINES",
    "WINDOWID",
    "DISPLAY",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "TMUX",
    "TMUX_PANE",
];

/// What is touched whenever a system's packages change.
const PACKAGES: [&str; 5] =
    ["/etc/ld.so.cache", "/var/lib/dpkg/status", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/lib/apk/db/installed"];

/// What a run leaves for later ones.
#[derive(Debug, Serialize, Deserialize)]
struct Left {
    format: String,
    /// What its outcomes of old rest on.
    key: String,
    /// Folder of the run in which old was driven; none where that is this one.
    #[serde(default)]
    run: Option<String>,
}

/// Drives of old that need not be made.
#[derive(Debug, Default)]
pub(super) struct UsedAgain {
    /// By name, in no order.
    pub(super) drives: Vec<(String, Outcome)>,
    pub(super) facts: OldFacts,
}

/// Finds an earlier run whose outcomes of the drives `names` of old can be used again and puts them into `folder`, below which they lie as
/// other names of the same files.
///
/// # Errors
///
/// [`ScenarioError::Folder`] where the disk refuses.
pub(super) fn use_again(
    checked: &Checked,
    names: &[String],
    destination: &Destination,
    folder: &RunFolder,
) -> Result<UsedAgain, ScenarioError> {
    let mut found = UsedAgain::default();
    match key(checked, destination, folder) {
        Ok(key) => found.facts.key = Some(key),
        Err(reason) => found.facts.driven_because = reason,
    }
    let Some(key) = found.facts.key.clone() else { return Ok(found) };
    if let Some(reason) = must_be_driven(checked) {
        found.facts.driven_because = reason;
        return Ok(found);
    }
    let Destination::Numbered { under } = destination else {
        "the run has a folder of its own (--out), beside which there are no earlier ones"
            .clone_into(&mut found.facts.driven_because);
        return Ok(found);
    };
    for run in earlier(&under.join(&checked.scenario.name), folder.path()) {
        let Some(left) = left_by(&run).filter(|left| left.key == key) else { continue };
        let whole = names.iter().map(|name| Some((name, Outcome::open(run.join("outcomes").join(name)).ok()?)));
        let Some(whole) = whole.collect::<Option<Vec<_>>>().filter(|drives| drives.iter().all(|(_, old)| stands(old)))
        else {
            continue;
        };
        let from = left.run.unwrap_or_else(|| run.display().to_string());
        for (name, outcome) in whole {
            let to = folder.path().join("outcomes").join(name);
            let failed = |source| ScenarioError::Folder { path: to.clone(), source };
            link(outcome.path(), &to).map_err(failed)?;
            let mark = serde_json::json!({ "format": "1.0", "run": from });
            fs::write(to.join(MARK), format!("{mark:#}\n")).map_err(failed)?;
            found.drives.push((name.clone(), Outcome::open(&to)?));
        }
        found.facts.used_again_from = Some(from);
        break;
    }
    Ok(found)
}

impl UsedAgain {
    /// Whether `new` was kept to itself by the same layers as old was when it was driven; old has to be driven where not.
    pub(super) fn goes_with(&self, new: Option<&Outcome>) -> bool {
        let layers = |outcome: &Outcome| {
            let isolation = outcome.ending().isolation.as_ref()?;
            Some(isolation.layers.iter().map(|state| (state.layer, state.enforced)).collect::<Vec<_>>())
        };
        let new = new.and_then(layers);
        self.drives.iter().all(|(_, old)| layers(old) == new)
    }

    /// Takes what was used again out of `folder`, and says why old is driven nevertheless.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Folder`] where the disk refuses.
    pub(super) fn give_up(&mut self, because: &str) -> Result<(), ScenarioError> {
        for (_, outcome) in self.drives.drain(..) {
            let path = outcome.path().to_owned();
            fs::remove_dir_all(&path).map_err(|source| ScenarioError::Folder { path, source })?;
        }
        self.facts.used_again_from = None;
        because.clone_into(&mut self.facts.driven_because);
        Ok(())
    }

    /// Leaves the key for later runs, where `drives` of old are such as can be used again and nothing `changed` while they were made.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Folder`] where the disk refuses.
    pub(super) fn leave(
        &self,
        folder: &RunFolder,
        drives: &[(String, Outcome)],
        changed: bool,
    ) -> Result<(), ScenarioError> {
        let mut old = drives.iter().filter(|(name, _)| name.starts_with("old"));
        let Some(key) = self.facts.key.clone().filter(|_| !changed && old.all(|(_, outcome)| stands(outcome))) else {
            return Ok(());
        };
        let left = Left { format: "1.0".to_owned(), key, run: self.facts.used_again_from.clone() };
        let text = serde_json::to_string_pretty(&left).unwrap_or_default();
        folder.write(KEY_FILE, format!("{text}\n").as_bytes()).map(|_| ())
    }
}

/// Whether the outcome at `path` is one that was used again: how long it took says nothing beside drives of another time.
pub(super) fn is_used_again(path: &Path) -> bool {
    path.join(MARK).is_file()
}

/// Says in the report of a run that its outcome of old is of another time.
pub(super) fn warning(facts: &OldFacts) -> Option<String> {
    let run = facts.used_again_from.as_ref()?;
    Some(format!(
        "The outcome of old is used again from {run}: plan, build, flags and rules of driving are the same. Latency, lag, freshness and \
         resources of then are not held against those of now; `--fresh` drives old."
    ))
}

/// Whether what a drive of old left can be used again: it got to its end, and nothing led out of its world.
fn stands(old: &Outcome) -> bool {
    let ending = old.ending();
    let alone = ending.isolation.as_ref().is_some_and(|isolation| {
        isolation.enforces(Layer::Network) && isolation.enforces(Layer::Sockets) && isolation.allowed.is_empty()
    });
    ending.ending == Ending::Finished && alone
}

/// Why old is to be driven though its key is known.
fn must_be_driven(checked: &Checked) -> Option<String> {
    if checked.fresh {
        return Some("it was asked for (--fresh)".to_owned());
    }
    let gate = checked.gates.beyond_outputs()?;
    Some(format!("`{gate}` is limited, and what was measured another time says nothing about it"))
}

/// Folders of earlier runs below `under`, the last first, without `own`.
fn earlier(under: &Path, own: &Path) -> Vec<PathBuf> {
    // Where there is none that can be read, old is driven.
    let entries = fs::read_dir(under).into_iter().flatten().flatten().map(|entry| entry.path());
    let number = |path: &Path| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
    let mut runs: Vec<(u32, PathBuf)> =
        entries.filter(|path| path != own).filter_map(|path| Some((number(&path)?, path))).collect();
    runs.sort();
    runs.into_iter().rev().take(RUNS_MAX).map(|(_, path)| path).collect()
}

fn left_by(run: &Path) -> Option<Left> {
    let left: Left = serde_json::from_slice(&fs::read(run.join(KEY_FILE)).ok()?).ok()?;
    (left.format == "1.0").then_some(left)
}

/// Gives the files of the outcome at `from` another name below `to`; copies them where the disk has no such names. What the build left in
/// the drive's folder is none of them.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_file() && entry.file_name() != MARK && fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// What the outcomes of old rest on, as one hash.
///
/// # Errors
///
/// What cannot be told, as a fragment that says why old is driven.
fn key(checked: &Checked, destination: &Destination, folder: &RunFolder) -> Result<String, String> {
    reaches_out(checked).map_or(Ok(()), Err)?;
    let mut key = Fingerprint::new();
    let unread = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what} cannot be read ({error})")
    };
    for name in ["plan.parquet", "faults.ndjson"] {
        key.add_content(name.as_bytes(), &folder.file(name)).map_err(unread(name))?;
    }
    key.add("recording", facts::recording_hash(&checked.recording));
    let said = driving(checked);
    key.add("scenario", said.to_string());
    for path in named_files(checked, &said) {
        key.add_content(path.as_os_str().as_bytes(), &path).map_err(unread(&path.display().to_string()))?;
    }
    if let Some(state) = &checked.scenario.settings.old.state {
        let state = checked.scenario.folder().join(state);
        key.add_states(&state, &[], FILES_MAX).map_err(unread("the state folder"))?;
    }
    key.add("environment of old", checked.old.env_hash());
    build(&mut key, checked, destination)?;
    surroundings(&mut key).map_err(unread("this program"))?;
    Ok(key.finish())
}

/// Why nobody can tell what old found outside of its drive.
fn reaches_out(checked: &Checked) -> Option<String> {
    let settings = &checked.scenario.settings;
    let because = if !settings.drive.allow.is_empty() || !settings.drive.writable.is_empty() {
        "builds are let through to what lies outside of their drives (`allow`, `writable`)"
    } else if checked.drive.kafka.as_ref().is_some_and(|kafka| kafka.cluster.is_some()) {
        "drives take place on a real cluster"
    } else if !settings.old.prepare.is_empty() || !settings.sink.is_empty() {
        "commands beside the build (`prepare`, `snapshot`) are run outside of its drive"
    } else {
        return None;
    };
    Some(because.to_owned())
}

/// All that the scenario says that reaches drives of old.
fn driving(checked: &Checked) -> Json {
    let mut said = checked.scenario.whole();
    if let Json::Object(sections) = &mut said {
        for name in REACHES_NOT {
            sections.remove(name);
        }
        if let Some(Json::Object(relations)) = sections.get_mut("relations") {
            relations.retain(|key, _| RELATIONS_REACH.contains(&key.as_str()));
            if relations.is_empty() {
                sections.remove("relations");
            }
        }
        if let Some(Json::Object(old)) = sections.get_mut("old") {
            for name in OLD_REACHES_NOT {
                old.remove(name);
            }
        }
    }
    said
}

/// Files that the scenario names, wherever it does: policies, recorded calls, scripts.
fn named_files(checked: &Checked, said: &Json) -> Vec<PathBuf> {
    fn texts<'j>(value: &'j Json, found: &mut Vec<&'j str>) {
        match value {
            Json::String(text) => found.push(text),
            Json::Array(values) => values.iter().for_each(|value| texts(value, found)),
            Json::Object(values) => values.values().for_each(|value| texts(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    texts(said, &mut found);
    let folders = [checked.scenario.folder(), checked.old.directory()];
    let paths = found.into_iter().flat_map(|text| folders.map(|folder| folder.join(text)));
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Adds the build of old: its tree, and its program, which has to lie in it. What lies elsewhere may load what nobody knows of.
fn build(key: &mut Fingerprint, checked: &Checked, destination: &Destination) -> Result<(), String> {
    let unread = |error: &dyn std::error::Error| format!("its folder cannot be told from another ({error})");
    let program = checked.old.program_file().ok_or("its program is not known ahead of its drive")?;
    let without = no_changes(checked, destination.below());
    let own = checked.old.command().first().is_some_and(|program| program == "{rehearsal}");
    let top = match &checked.old_stand {
        Stand::Revision(revision) => {
            let standing = revision.standing.as_ref().ok_or("its tree was not made")?;
            key.add("tree", &standing.hash);
            revision.tree()
        }
        // This program needs no folder; it is told by itself.
        Stand::Folder(_) if own => PathBuf::new(),
        Stand::Folder(Folder { git: Some((repository, changes)) }) => {
            key.add("commit", &changes.commit);
            key.add("changes", changes.hash.as_deref().unwrap_or("none"));
            beside_git(key, repository, &without).map_err(|error| unread(&error))?;
            repository.top().to_owned()
        }
        Stand::Folder(Folder { git: None }) => {
            let directory = checked.old.directory().canonicalize().map_err(|error| unread(&error))?;
            // A repository about which git says nothing.
            if !matches!(Repository::around(&directory), Ok(None)) {
                return Err("its folder lies in a repository that has no commit, or is not to be read".to_owned());
            }
            key.add_states(&directory, &without, FILES_MAX).map_err(|error| unread(&error))?;
            directory
        }
    };
    if own {
        return Ok(());
    }
    let program = plain(&program).map_err(|error| unread(&error))?;
    if !program.starts_with(&top) {
        return Err(format!(
            "its program {} lies outside of its folder: what it loads is not known",
            program.display()
        ));
    }
    let hash = crate::worktree::program_hash(&program).ok_or("its program cannot be read")?;
    key.add("program", hash);
    Ok(())
}

/// The path of a program as it is named, in the folder that really holds it: links of its own name are kept, as an interpreter of a
/// virtual environment is one.
fn plain(program: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(program)?;
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    let name = whole.file_name().map(OsStr::to_owned).unwrap_or_default();
    Ok(whole.parent().unwrap_or(Path::new("/")).canonicalize()?.join(name))
}

/// Adds this program, its environment, and the machine with what is installed there.
fn surroundings(key: &mut Fingerprint) -> io::Result<()> {
    key.add("version", env!("CARGO_PKG_VERSION"));
    key.add_state(&env::current_exe()?.canonicalize()?)?;
    let mut variables: Vec<_> = env::vars_os().collect();
    variables.sort();
    for (name, value) in variables {
        if !OF_TERMINALS.iter().any(|other| name == *other) {
            key.add(name.as_bytes(), value.as_bytes());
        }
    }
    let machine = rustix::system::uname();
    for text in [machine.nodename(), machine.release(), machine.version(), machine.machine()] {
        key.add("machine", text.to_bytes());
    }
    key.add("processors", thread::available_parallelism().map_or(0, NonZero::get).to_le_bytes());
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    for path in folders.into_iter().chain(PACKAGES.map(PathBuf::from)) {
        // What is not there says so by that; a folder of PATH that comes is one that is there.
        if key.add_state(&path).is_err() {
            key.add(path.as_os_str().as_bytes(), "not there");
        }
    }
    Ok(())
}
