//! `[old]` and `[new]`: a build's command, checked before anything is started.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Transport;
use super::placeholders::{Offers, Piece, pieces};
use super::sink::Sink;
use crate::settings::{Flag, SettingError, flag_variable};

/// Most processes of a build.
const INSTANCES_MAX: u32 = 64;

/// One version of the processor and how it is started.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuildSettings {
    /// What the report calls it; the program's name where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Program and arguments. `{rehearsal}` is the running program, `{dir}` a directory of the drive's own, `{drive}` its name,
    /// `{instance}` the number of the process among those of the build, `{port}` and `{port.NAME}` free TCP ports; `{effects.NAME}`,
    /// `{registry}` and `{ofrep}` addresses of its stubs, `{flags}` the file of its flags; over Kafka `{brokers}`, `{group}` and `{topic.NAME}`.
    pub command: Vec<String>,
    /// Environment variables, in addition to those that Rehearsal itself has. Placeholders as in `command`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Flags: `new-rounding = false` becomes the environment variable `REHEARSAL_FLAG_NEW_ROUNDING=false`, stands in flagd's definition
    /// file `{flags}`, and is what the stub of OFREP at `{ofrep}` answers. A boolean, a number, text or a table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, Flag>,
    /// Working directory; the scenario's folder where it is missing. With `git`, the same place in the tree of that revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Revision of the scenario's repository that it stands in: a branch, a tag, a commit, `HEAD~1`. It is checked out to a tree of its
    /// own. Without it, or with `.`, the folder is taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Commands that make it, such as `[["cargo", "build", "--release"]]`, run one after the other in its directory: with `git` once for
    /// each commit, else ahead of each run. Nothing is filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<Vec<String>>,
    /// Commands that are run for each drive before its build, one after the other, such as `[["createdb", "pay-{drive}"]]`. Placeholders
    /// as in `command`; directory and environment are the build's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Vec<String>>,
    /// Commands that are run for each drive after its build, however it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleanup: Vec<Vec<String>>,
    /// Folder that each drive gets a copy of as `{dir}/state`, relative to this file: what a warm build starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// Kafka: processes of the build, which share a group; each knows its number as `{instance}`. One where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Where the build offers figures as Prometheus text, such as `http://127.0.0.1:{port}/metrics`: they are read each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Command that ends a process of the build instead of a signal, at the end and at a `crash`: for what a container engine runs, such as
    /// `["docker", "kill", "pay-{drive}-{instance}"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kill: Vec<String>,
}

impl fmt::Debug for BuildSettings {
    /// Leaves the values of the environment out: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildSettings")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("env", &self.env.keys())
            .field("flags", &self.flags)
            .field("directory", &self.directory)
            .field("git", &self.git)
            .field("build", &self.build)
            .field("prepare", &self.prepare)
            .field("cleanup", &self.cleanup)
            .field("state", &self.state)
            .field("instances", &self.instances)
            .field("metrics", &self.metrics)
            .field("kill", &self.kill)
            .finish()
    }
}

/// A build that can be started: its program has been found.
#[derive(Clone)]
pub struct Build {
    name: String,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    flags: BTreeMap<String, Flag>,
    directory: PathBuf,
    offers: Offers,
    prepare: Vec<Vec<String>>,
    cleanup: Vec<Vec<String>>,
    state: Option<PathBuf>,
    stands: Stands,
    instances: u32,
    metrics: Option<String>,
    kill: Vec<String>,
}

/// When the folder and the program of a build are there to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stands {
    /// Both are.
    Now,
    /// The folder is; the program may be made in it.
    OnceBuilt,
    /// Neither is.
    OnceCheckedOut,
}

impl fmt::Debug for Build {
    /// Leaves the values of the environment out: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Build")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("env", &self.env.keys())
            .field("flags", &self.flags)
            .field("directory", &self.directory)
            .field("offers", &self.offers)
            .field("prepare", &self.prepare)
            .field("cleanup", &self.cleanup)
            .field("state", &self.state)
            .field("stands", &self.stands)
            .field("instances", &self.instances)
            .field("metrics", &self.metrics)
            .field("kill", &self.kill)
            .finish()
    }
}

impl BuildSettings {
    /// Checks the settings, which stand under `key` (`old` or `new`) in a scenario in `folder`, for a build over lines.
    ///
    /// # Errors
    ///
    /// As [`Self::check_for`].
    pub fn check(&self, key: &str, folder: &Path) -> Result<Build, SettingError> {
        self.check_for(key, folder, Transport::Stdio)
    }

    /// Checks the settings, which stand under `key` (`old` or `new`) in a scenario in `folder`, for a build over `transport`.
    ///
    /// # Errors
    ///
    /// The key of what cannot be used: a program that is not there or not executable, a directory that is not there, a
    /// placeholder that nobody fills.
    pub fn check_for(&self, key: &str, folder: &Path, transport: Transport) -> Result<Build, SettingError> {
        self.check_with(key, folder, Offers::of(transport))
    }

    /// Checks the settings, which stand under `key` (`old` or `new`) in a scenario in `folder`, for drives that fill in what `offers`
    /// says.
    ///
    /// # Errors
    ///
    /// As [`Self::check_for`].
    pub fn check_with(&self, key: &str, folder: &Path, offers: Offers) -> Result<Build, SettingError> {
        let directory = self.directory.as_ref().map_or_else(|| folder.to_owned(), |directory| folder.join(directory));
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        self.check_at(
            key,
            folder,
            directory,
            if self.build.is_empty() { Stands::Now } else { Stands::OnceBuilt },
            offers,
        )
    }

    /// Checks the settings as [`Self::check_with`] does, for a build that runs in `directory`, whatever they say of that; what is to be
    /// there only later is not looked for.
    ///
    /// # Errors
    ///
    /// As [`Self::check_for`].
    pub fn check_at(
        &self,
        key: &str,
        folder: &Path,
        directory: PathBuf,
        stands: Stands,
        offers: Offers,
    ) -> Result<Build, SettingError> {
        if stands < Stands::OnceCheckedOut && !directory.is_dir() {
            let key = format!("{key}.{}", if self.directory.is_some() { "directory" } else { "command" });
            let problem = format!("the directory {} does not exist", plain(&directory).display());
            return Err(SettingError::new(key, problem, "Write a directory relative to the scenario's folder."));
        }
        for (index, part) in self.command.iter().enumerate() {
            pieces(part, &offers)
                .map_err(|(problem, instead)| SettingError::new(format!("{key}.command[{index}]"), problem, instead))?;
        }
        let mut env = BTreeMap::from([("PYTHONUNBUFFERED".to_owned(), "1".to_owned())]);
        for (name, flag) in &self.flags {
            let (at, instead) =
                (format!("{key}.flags"), "Write letters, digits, dots and hyphens, such as `new-rounding`.");
            let variable = flag_variable(name).map_err(|problem| SettingError::new(&at, problem, instead))?;
            let text = flag.text();
            if text.contains('\0') {
                let problem = format!("the text of `{name}` holds a zero byte, which no environment variable can");
                return Err(SettingError::new(at, problem, "Leave it out."));
            }
            if env.insert(variable.clone(), text).is_some() {
                let problem = format!("`{name}` and another flag would both be the environment variable {variable}");
                return Err(SettingError::new(at, problem, "Name one of them otherwise."));
            }
        }
        for (name, value) in &self.env {
            let at = format!("{key}.env.{name}");
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(SettingError::new(
                    at,
                    "no environment variable can be called that",
                    "Write a name without `=`.",
                ));
            }
            pieces(value, &offers).map_err(|(problem, instead)| SettingError::new(at, problem, instead))?;
            env.insert(name.clone(), value.clone());
        }
        let state = self.state.as_ref().map(|state| folder.join(state));
        if let Some(state) = state.as_ref().filter(|state| !state.is_dir()) {
            let problem = format!("the folder {} does not exist", plain(state).display());
            return Err(SettingError::new(format!("{key}.state"), problem, "Write a folder relative to this file."));
        }
        let offers_kafka = offers.are_of_kafka();
        let mut build = Build {
            name: String::new(),
            command: self.command.clone(),
            env,
            flags: self.flags.clone(),
            directory,
            offers,
            prepare: self.prepare.clone(),
            cleanup: self.cleanup.clone(),
            state,
            stands,
            instances: self.check_instances(key, offers_kafka)?,
            metrics: self.metrics.clone(),
            kill: self.kill.clone(),
        };
        check_making(&self.build, &format!("{key}.build"), &build)?;
        build.check_metrics(&format!("{key}.metrics"))?;
        if !self.kill.is_empty() {
            build.check_command(&format!("{key}.kill"), &self.kill)?;
        }
        let program = build.program(&format!("{key}.command"), &self.command)?;
        for (index, words) in self.prepare.iter().enumerate() {
            build.check_command(&format!("{key}.prepare[{index}]"), words)?;
        }
        for (index, words) in self.cleanup.iter().enumerate() {
            build.check_late_command(&format!("{key}.cleanup[{index}]"), words)?;
        }
        build.name = self.name.clone().unwrap_or(program);
        Ok(build)
    }

    /// Number of processes: several share a group of Kafka, and nothing else.
    fn check_instances(&self, key: &str, kafka: bool) -> Result<u32, SettingError> {
        let wrong =
            |problem: String, instead: &str| Err(SettingError::new(format!("{key}.instances"), problem, instead));
        match self.instances.unwrap_or(1) {
            0 => wrong("a build of no process does nothing".to_owned(), "Write 1 or more, or leave it out."),
            many if many > INSTANCES_MAX => {
                wrong(format!("{many} processes are more than one machine bears"), "Write 64 at most.")
            }
            many if many > 1 && !kafka => wrong(
                format!("{many} processes cannot share what one is handed"),
                "Leave it out, or write `transport = \"kafka\"` under `[drive]`, where a group shares partitions.",
            ),
            many => Ok(many),
        }
    }
}

impl Build {
    /// Checks where figures are read.
    fn check_metrics(&self, key: &str) -> Result<(), SettingError> {
        let Some(url) = &self.metrics else { return Ok(()) };
        pieces(url, &self.offers).map_err(|(problem, instead)| SettingError::new(key, problem, instead))?;
        let rest = url.strip_prefix("http://").unwrap_or_default();
        if rest.is_empty() || rest.starts_with('/') {
            let instead =
                "Write `http://127.0.0.1:{port}/metrics`, say; the build finds `{port}` in its command or environment.";
            return Err(SettingError::new(key, format!("`{url}` is no address of HTTP"), instead));
        }
        Ok(())
    }

    /// Checks a command that is run beside the build, in its directory and with its environment; it stands under `key`.
    ///
    /// # Errors
    ///
    /// A placeholder that nobody fills, a program that is on no path. One that is named by a path may be made by then.
    pub fn check_command(&self, key: &str, words: &[String]) -> Result<(), SettingError> {
        for (index, word) in words.iter().enumerate() {
            pieces(word, &self.offers)
                .map_err(|(problem, instead)| SettingError::new(format!("{key}[{index}]"), problem, instead))?;
        }
        if words.first().is_some_and(|program| program.contains('/')) {
            return Ok(());
        }
        self.program(key, words).map(|_| ())
    }

    /// Checks a command that is run once the build has ended and all of its calls are kept; it stands under `key`.
    ///
    /// # Errors
    ///
    /// As [`Self::check_command`]; the stub of an effect, which answers nobody by then.
    pub fn check_late_command(&self, key: &str, words: &[String]) -> Result<(), SettingError> {
        self.check_command(key, words)?;
        for (index, word) in words.iter().enumerate() {
            let named = pieces(word, &self.offers).unwrap_or_default().into_iter().find_map(|piece| match piece {
                Piece::Offered(name) if name.starts_with("effects.") => Some(name),
                _ => None,
            });
            if let Some(name) = named {
                let problem = format!("`{{{name}}}` answers nobody any more: all calls have been kept by then");
                let instead = "Take it out; what a build called is compared without a sink.";
                return Err(SettingError::new(format!("{key}[{index}]"), problem, instead));
            }
        }
        Ok(())
    }

    /// Makes sure that the program of the command `words`, which stands under `key`, is there; returns what to call it.
    fn program(&self, key: &str, words: &[String]) -> Result<String, SettingError> {
        let offers = &self.offers;
        let wrong = |problem: String, instead: &str| Err(SettingError::new(key, problem, instead));
        let Some(program) = words.first().filter(|program| !program.is_empty()) else {
            return wrong(
                "there is no program to run".to_owned(),
                "Write program and arguments, such as `[\"./my-processor\"]`.",
            );
        };
        if words.iter().any(|part| part.contains('\0')) {
            return wrong("a command cannot hold a zero byte".to_owned(), "Leave it out.");
        }
        match pieces(program, offers).as_deref() {
            Ok([Piece::Rehearsal]) => return Ok(words[1..].join(" ")),
            Ok([Piece::Text(_)]) => {}
            // Where the program's own path is filled in later, only the start can tell.
            _ => return Ok(program.clone()),
        }
        let candidates = self.candidates(program);
        let found: Vec<_> = candidates.iter().filter(|path| path.is_file()).collect();
        // What its commands may make, or make anew, says nothing yet.
        let comes = self.stands > Stands::Now && program.contains('/');
        if comes || found.iter().any(|path| is_executable(path)) {
            let name = Path::new(program).file_name().unwrap_or_default();
            return Ok(name.to_string_lossy().into_owned());
        }
        match (found.first(), program.contains('/')) {
            (Some(path), _) => wrong(
                format!("{} is not executable", plain(path).display()),
                "Make it so with `chmod +x`, or name its interpreter first.",
            ),
            (None, true) => wrong(
                format!("{} does not exist", plain(&candidates[0]).display()),
                "Build it first, or write a path relative to the build's directory.",
            ),
            (None, false) => wrong(
                format!("the program `{program}` is on no path of PATH"),
                "Install it, or write a path with a slash, such as `./my-processor`.",
            ),
        }
    }
}

/// Checks the commands that make `build`, which stand under `key`. They run ahead of all drives, with the environment of this program.
fn check_making(commands: &[Vec<String>], key: &str, build: &Build) -> Result<(), SettingError> {
    let plain = Build { env: BTreeMap::new(), ..build.clone() };
    for (index, words) in commands.iter().enumerate() {
        let at = format!("{key}[{index}]");
        for (number, word) in words.iter().enumerate() {
            let parts = pieces(word, &build.offers);
            if parts.is_ok_and(|parts| parts.iter().any(|piece| !matches!(piece, Piece::Text(_)))) {
                let problem = format!("nothing is filled in in `{word}`: it runs once, ahead of all drives");
                let instead = "Write it without placeholders; what each drive needs of its own is made by `prepare`.";
                return Err(SettingError::new(format!("{at}[{number}]"), problem, instead));
            }
        }
        plain.program(&at, words)?;
    }
    Ok(())
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

impl Build {
    /// What the report calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Program and arguments, placeholders unfilled.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// Working directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that is started: none where it is on no path, or its path is filled in later. The running program where that is named.
    pub fn program_file(&self) -> Option<PathBuf> {
        let program = self.command.first()?;
        match pieces(program, &self.offers).as_deref() {
            Ok([Piece::Rehearsal]) => env::current_exe().ok(),
            Ok([Piece::Text(_)]) => self.candidates(program).into_iter().find(|path| is_executable(path)),
            _ => None,
        }
    }

    /// Where `program` may be.
    fn candidates(&self, program: &str) -> Vec<PathBuf> {
        if program.contains('/') {
            return vec![self.directory.join(program)];
        }
        let path = self.env.get("PATH").map(OsString::from).or_else(|| env::var_os("PATH")).unwrap_or_default();
        env::split_paths(&path).map(|folder| self.directory.join(folder).join(program)).collect()
    }

    /// Looks at what was to be there only once it was made; it stands under `key` in its scenario.
    ///
    /// # Errors
    ///
    /// As [`BuildSettings::check_for`].
    pub fn looked_at(&self, key: &str) -> Result<Self, SettingError> {
        let made = Self { stands: Stands::Now, ..self.clone() };
        made.program(&format!("{key}.command"), &self.command)?;
        Ok(made)
    }

    /// Names of the environment variables that are set for it, flags included, in order.
    pub fn env_names(&self) -> impl Iterator<Item = &str> {
        self.env.keys().map(String::as_str)
    }

    /// SHA-256 over names and values of its environment, in hexadecimal: all that is kept of the values.
    pub fn env_hash(&self) -> String {
        let mut hash = Sha256::new();
        for (name, value) in &self.env {
            for text in [name, value] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// Its flags, by name.
    pub fn flags(&self) -> &BTreeMap<String, Flag> {
        &self.flags
    }

    pub(super) fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Whether its commands, its environment or the command of one of `sinks` name `{name}`, of what is offered beyond what every drive
    /// fills in.
    pub(super) fn names(&self, name: &str, sinks: &[Sink]) -> bool {
        let commands = [&self.command, &self.kill].into_iter().chain(&self.prepare).chain(&self.cleanup);
        let texts = commands.flatten().chain(self.env.values()).chain(sinks.iter().flat_map(Sink::snapshot));
        let mut pieces = texts.flat_map(|text| pieces(text, &self.offers).unwrap_or_default());
        pieces.any(|piece| piece == Piece::Offered(name))
    }

    pub(super) fn prepare(&self) -> &[Vec<String>] {
        &self.prepare
    }

    pub(super) fn cleanup(&self) -> &[Vec<String>] {
        &self.cleanup
    }

    /// Number of its processes.
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// Where it offers figures, placeholders unfilled.
    pub(super) fn metrics(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// Command that ends a process of it instead of a signal; empty where a signal does.
    pub(super) fn kill(&self) -> &[String] {
        &self.kill
    }

    /// Folder that each drive gets a copy of.
    pub(super) fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    pub(super) fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Checks that every topic that it names by `{topic.NAME}` is one of `topics`; `key` is where it stands in the scenario.
    ///
    /// # Errors
    ///
    /// The key of the text that names another.
    pub fn check_topics(&self, key: &str, topics: &[&str]) -> Result<(), SettingError> {
        let all = [("prepare", &self.prepare), ("cleanup", &self.cleanup)].into_iter();
        let beside = all.flat_map(|(name, commands)| {
            let words = commands.iter().enumerate().flat_map(|(at, words)| words.iter().map(move |word| (at, word)));
            words.map(move |(at, word)| (format!("{key}.{name}[{at}]"), word))
        });
        let commands = self.command.iter().enumerate().map(|(index, part)| (format!("{key}.command[{index}]"), part));
        let env = self.env.iter().map(|(name, value)| (format!("{key}.env.{name}"), value));
        let kill = self.kill.iter().enumerate().map(|(index, part)| (format!("{key}.kill[{index}]"), part));
        let metrics = self.metrics.iter().map(|url| (format!("{key}.metrics"), url));
        for (key, text) in commands.chain(beside).chain(kill).chain(metrics).chain(env) {
            for piece in pieces(text, &self.offers).unwrap_or_default() {
                if let Piece::Topic(topic) = piece
                    && !topics.contains(&topic)
                {
                    let known = topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
                    let problem = format!("`{{topic.{topic}}}` names no topic of the replay");
                    return Err(SettingError::new(key, problem, format!("There are {known}.")));
                }
            }
        }
        Ok(())
    }
}

/// Leaves out every `.` of a path.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Build, SettingError> {
        toml::from_str::<BuildSettings>(text).unwrap().check("new", Path::new("."))
    }

    #[test]
    fn a_command_that_does_not_exist_is_found_before_anything_is_started() {
        for (text, key, problem) in [
            ("command = []", "new.command", "no program"),
            ("command = ['']", "new.command", "no program"),
            ("command = ['./no-such-thing']", "new.command", "no-such-thing does not exist"),
            ("command = ['no-such-program-anywhere']", "new.command", "on no path"),
            ("command = ['./Cargo.toml']", "new.command", "not executable"),
            ("command = ['cat']\nenv = { PATH = '/nowhere' }", "new.command", "on no path"),
            ("command = ['cat', '{prot}']", "new.command[1]", "{prot}"),
            ("command = ['cat']\nenv = { A = '{dri}' }", "new.env.A", "{dri}"),
            ("command = ['cat']\ndirectory = 'nowhere'", "new.directory", "does not exist"),
            ("command = ['cat']\nflags = { 'a b' = true }", "new.flags", "a b"),
            ("command = ['cat']\nflags = { a-b = true, 'a.b' = true }", "new.flags", "REHEARSAL_FLAG_A_B"),
            ("command = ['cat']\nflags = { a = \"b\\u0000c\" }", "new.flags", "zero byte"),
            ("command = ['cat']\ninstances = 2", "new.instances", "cannot share"),
            ("command = ['cat']\ninstances = 0", "new.instances", "no process"),
            ("command = ['cat']\nmetrics = 'https://x/metrics'", "new.metrics", "no address of HTTP"),
            ("command = ['cat']\nmetrics = 'http://x:{prot}/'", "new.metrics", "{prot}"),
            ("command = ['cat']\nkill = ['no-such-program-anywhere']", "new.kill", "on no path"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.key == key && error.problem.contains(problem), "{text}: {error}");
            assert!(!error.problem.starts_with("./"), "{error}");
        }
    }

    #[test]
    fn flags_become_environment_variables() {
        let build = check("command = ['cat']\nflags = { new-rounding = false, share = 3, name = 'x' }").unwrap();
        assert_eq!(build.env()["REHEARSAL_FLAG_NEW_ROUNDING"], "false");
        assert_eq!((&*build.env()["REHEARSAL_FLAG_SHARE"], &*build.env()["REHEARSAL_FLAG_NAME"]), ("3", "x"));
        assert_eq!(build.env()["PYTHONUNBUFFERED"], "1");
    }

    #[test]
    fn a_build_without_a_name_is_called_by_its_program() {
        assert_eq!(check("command = ['sh', '-c', 'cat']").unwrap().name(), "sh");
        assert_eq!(check("command = ['{rehearsal}', 'sample', 'alerts-old']").unwrap().name(), "sample alerts-old");
        assert_eq!(check("command = ['cat']\nname = 'old 1.4'").unwrap().name(), "old 1.4");
    }

    #[test]
    fn secrets_of_the_environment_show_nowhere() {
        let text = "command = ['cat']\nenv = { TOKEN = 'hush' }";
        let (settings, build) = (toml::from_str::<BuildSettings>(text).unwrap(), check(text).unwrap());
        assert!(!format!("{settings:?} {build:?} {}", build.env_hash()).contains("hush"));
        assert!(build.env_names().any(|name| name == "TOKEN"));
        assert_ne!(build.env_hash(), check("command = ['cat']\nenv = { TOKEN = 'hash' }").unwrap().env_hash());
    }
}
