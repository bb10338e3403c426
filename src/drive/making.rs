//! Commands that make a build, ahead of all drives: compilers, package managers.
//!
//! They run outside of any isolation, with the environment of this program, and what they start ends with them.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::complaints::Complaints;
use super::pipe::Pipe;
use super::process::{Process, describe};
use super::world::mark;
use super::{leash, living};
use crate::clock::{Clock, Stop};
use crate::mask::LogMask;
use crate::settings::Span;

/// How often a command is looked at that says nothing.
const LOOK: Duration = Duration::from_millis(10);

/// Last lines of a command that failed that are shown.
const LINES: usize = 12;

/// Bytes that are read to find them.
const LINES_BYTES: u64 = 8 << 10;

/// Most bytes of what commands say that are kept: the first half and the last.
const LOG_BYTES_MAX: usize = 16 << 20;

/// Commands that make a build.
#[derive(Debug, Clone, Copy)]
pub struct Making<'m> {
    /// Each a program and its arguments, run one after the other.
    pub commands: &'m [Vec<String>],
    /// Where they are run.
    pub directory: &'m Path,
    /// Variables of our own environment that are kept from them.
    pub without: &'m [&'m str],
    /// File that takes what they say; must not be there yet.
    pub log: &'m Path,
    /// Longest time that all of them together may take.
    pub timeout: Duration,
}

/// Why a build was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// A command failed.
    #[error("{command} failed: {problem}{}", super::said(lines, path))]
    Failed {
        /// Which, such as `build[0] (cargo build --release)`.
        command: String,
        /// How, such as `exit code 101`.
        problem: String,
        /// Its last lines; may be empty.
        lines: String,
        /// Where all of them are.
        path: PathBuf,
    },
    /// What the commands say could not be kept.
    #[error("could not write {path}")]
    Log {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("stopped while the build was made")]
    Stopped,
}

/// Makes a build: runs its commands one after the other. `heard` is told each command, and the last line that it wrote whenever that is
/// another; it must not block.
///
/// # Errors
///
/// [`MakeError::Failed`] for the first command that fails or takes too long, [`MakeError::Stopped`] where `stop` is raised.
pub fn make(making: &Making<'_>, clock: &dyn Clock, stop: &Stop, heard: &dyn Fn(&str, &str)) -> Result<(), MakeError> {
    let _heeding = stop.heed();
    let unwritten = |source| MakeError::Log { path: making.log.to_owned(), source };
    let mut log = Complaints::create(making.log, LOG_BYTES_MAX, LogMask::new(None)).map_err(unwritten)?;
    let end = clock.now() + making.timeout;
    let mark = mark(clock);
    living::begun(&mark);
    let mut made = Ok(());
    for (number, words) in making.commands.iter().enumerate() {
        let text = words.join(" ");
        heard(&text, "");
        let mut run = Run { making, mark: &mark, clock, end, stop, log: &mut log, line: Line::default() };
        if let Err(problem) = run.follow(words, &|line| heard(&text, line)) {
            made = Err((format!("build[{number}] ({text})"), problem));
            break;
        }
    }
    leash::end_marked(&mark);
    living::cleaned_up(&mark);
    log.finish().map_err(unwritten)?;
    made.map_err(|(command, problem)| {
        if stop.raised() {
            return MakeError::Stopped;
        }
        MakeError::Failed { command, problem, lines: last_lines(making.log), path: making.log.to_owned() }
    })
}

/// One command that runs.
struct Run<'r> {
    making: &'r Making<'r>,
    mark: &'r str,
    clock: &'r dyn Clock,
    end: Duration,
    stop: &'r Stop,
    log: &'r mut Complaints,
    line: Line,
}

impl Run<'_> {
    fn follow(&mut self, words: &[String], heard: &dyn Fn(&str)) -> Result<(), String> {
        let refused = |error: io::Error| format!("could not be run: {error}");
        let (reader, writer) = io::pipe().map_err(refused)?;
        let mut command = self.command(words, writer).map_err(refused)?;
        let child = command.spawn().map_err(refused)?;
        // With it go our ends of what it writes to, without which nobody sees the end of it.
        drop(command);
        let number = child.id();
        let mut process = Process::watch(child, number, self.mark.to_owned()).map_err(refused)?;
        let mut pipe = Some(Pipe::reading(OwnedFd::from(reader)).map_err(refused)?);
        let mut bytes = vec![0; 64 << 10];
        loop {
            let over = process.has_ended();
            let quiet = self.read(&mut pipe, &mut bytes, heard)?;
            if over && quiet {
                break;
            }
            if self.stop.raised() {
                process.end_gently();
                return Err("stopped on request".to_owned());
            }
            if self.clock.now() > self.end {
                process.end_gently();
                return Err(format!("not done within {} (`build-timeout`)", Span(self.making.timeout)));
            }
            if quiet {
                thread::park_timeout(LOOK);
            }
        }
        let status = process.let_be();
        if status.is_some_and(|status| status.success()) { Ok(()) } else { Err(describe(status)) }
    }

    fn command(&self, words: &[String], writer: io::PipeWriter) -> io::Result<Command> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        // What a relative path is relative to is the system's choice; an absolute one leaves none.
        let program: PathBuf = if program.contains('/') {
            std::path::absolute(self.making.directory.join(program))?
        } else {
            program.into()
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.making.directory).process_group(0).env(leash::VARIABLE, self.mark);
        for name in self.making.without {
            command.env_remove(name);
        }
        let stdout = Stdio::from(OwnedFd::from(writer.try_clone()?));
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::from(OwnedFd::from(writer)));
        Ok(command)
    }

    /// Takes what has been written; returns whether nothing more is there now.
    fn read(&mut self, place: &mut Option<Pipe>, bytes: &mut [u8], heard: &dyn Fn(&str)) -> Result<bool, String> {
        let Some(pipe) = place else { return Ok(true) };
        let count = match pipe.read(bytes) {
            Ok(None) => return Ok(true),
            Ok(Some(0)) | Err(_) => {
                *place = None;
                return Ok(true);
            }
            Ok(Some(count)) => count,
        };
        if let Some(line) = self.line.take(&bytes[..count]) {
            heard(&line);
        }
        self.log.take(&bytes[..count]).map_err(|error| format!("what it wrote could not be kept: {error}"))?;
        Ok(false)
    }
}

/// The last whole line of what is written bit by bit.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    /// Longest line of which the beginning is kept.
    const MAX: usize = 4 << 10;

    /// Takes what was written; returns the last line that ended in it and says something.
    fn take(&mut self, bytes: &[u8]) -> Option<String> {
        let mut last = None;
        // Bars are drawn over themselves by returns.
        for piece in bytes.split_inclusive(|byte| [b'\n', b'\r'].contains(byte)) {
            let room = Self::MAX.saturating_sub(self.0.len());
            self.0.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") {
                let line = String::from_utf8_lossy(&self.0).trim().to_owned();
                self.0.clear();
                last = Some(line).filter(|line| !line.is_empty()).or(last);
            }
        }
        last
    }
}

/// The last lines of the log at `path`.
fn last_lines(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LINES_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LINES_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // The log itself is named beside them.
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;

    use super::*;
    use crate::clock::SystemClock;

    fn sh(script: &str) -> Vec<String> {
        vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]
    }

    fn made(folder: &Path, commands: &[Vec<String>], timeout: Duration, stop: &Stop) -> Result<Vec<String>, MakeError> {
        let log = folder.join("log");
        let making = Making { commands, directory: folder, without: &["HOME"], log: &log, timeout };
        let heard = RefCell::new(Vec::new());
        make(&making, &SystemClock::start(), stop, &|_, line| heard.borrow_mut().push(line.to_owned()))?;
        Ok(heard.into_inner())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn commands_run_one_after_the_other_and_are_heard() {
        let folder = tempfile::tempdir().unwrap();
        let commands = [sh("echo one >a; echo ${HOME-no home}"), sh("cat a >b; echo done >&2; printf half")];
        let heard = made(folder.path(), &commands, LONG, &Stop::new()).unwrap();
        assert_eq!(heard, ["", "no home", "", "done"]);
        assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "no home\ndone\nhalf");
    }

    #[test]
    fn the_first_that_fails_ends_it_and_its_last_lines_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let commands = [sh("seq 100; echo error: no such crate; exit 101"), sh("touch b")];
        let said = made(folder.path(), &commands, LONG, &Stop::new()).unwrap_err().to_string();
        for words in ["build[0] (sh -c seq", "exit code 101", "\n    100\n    error: no such crate", "/log"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("\n    50\n") && !folder.path().join("b").exists());
    }

    #[test]
    fn one_that_goes_on_has_a_bound_in_time_and_ends_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let commands = [sh("sleep 1000 & sleep 1000")];
        let said = made(folder.path(), &commands, Duration::from_millis(200), &Stop::new()).unwrap_err().to_string();
        assert!(said.contains("not done within 200ms (`build-timeout`)"), "{said}");
        fs::remove_file(folder.path().join("log")).unwrap();
        let stop = Stop::new();
        stop.raise();
        assert!(matches!(made(folder.path(), &commands, LONG, &stop), Err(MakeError::Stopped)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_it_started_and_left_behind_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let commands =
            [sh("setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 & until [ -s pid ]; do :; done")];
        made(folder.path(), &commands, LONG, &Stop::new()).unwrap();
        let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
        // Ended, though perhaps nobody has asked for its status yet.
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }

    #[test]
    fn the_last_line_is_whole_and_says_something() {
        let mut line = Line::default();
        assert_eq!(line.take(b"a\nb"), Some("a".to_owned()));
        assert_eq!(line.take(b"c"), None);
        assert_eq!(line.take(b"d\r  \n"), Some("bcd".to_owned()));
        line.take(&[b'x'; 10_000]);
        assert_eq!(line.take(b"\n").map(|line| line.len()), Some(Line::MAX));
    }
}
