//! Commands that a drive runs beside its build: before it, behind it, and to look at what it left.
//!
//! They run in the build's directory, with its environment and outside of its isolation. What one of them starts may go on when it
//! ends, a server say: it ends with the drive, at the latest.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::World;
use crate::clock::{Clock, Stop, SystemClock};
use crate::drive::build::Build;
use crate::drive::complaints::Complaints;
use crate::drive::pipe::Pipe;
use crate::drive::process::{Process, describe};
use crate::drive::stdio::grouped;
use crate::drive::{DriveError, Job, leash, living};
use crate::mask::LogMask;
use crate::outcome::OutcomeError;
use crate::settings::Span;

/// How often a command is looked at that says nothing.
const LOOK: Duration = Duration::from_millis(5);

/// Last lines of a command that failed that are shown.
const LINES: usize = 8;

/// Bytes that are read to find them.
const LINES_BYTES: u64 = 4 << 10;

/// Shortest value of the environment that is kept from what is shown: shorter ones are words.
const SECRET: usize = 6;

/// Pipes that what a command started still holds, read so that nobody waits for room in them.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    over: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Lingering {
    fn take(&self, mut pipe: Pipe) {
        let over = Arc::clone(&self.over);
        let reading = move || {
            let mut bytes = vec![0; 16 << 10];
            while !over.load(Ordering::SeqCst) {
                match pipe.read(&mut bytes) {
                    Ok(Some(0)) | Err(_) => return,
                    Ok(Some(_)) => {}
                    Ok(None) => drop(pipe.wait()),
                }
            }
        };
        // Without a thread it gets a closed pipe, as behind every other program that has ended.
        if let Ok(thread) = thread::Builder::new().name("lingering".into()).spawn(reading) {
            super::lock(&self.threads).push(thread);
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in super::lock(&self.threads).drain(..) {
            // It only reads; what would be wrong with it has been said.
            let _ = thread.join();
        }
    }
}

/// Where what a command writes goes.
pub(super) struct Written<'w> {
    /// Standard error, and standard output where nobody else takes it.
    pub(super) log: &'w mut Complaints,
    /// Standard output, and most bytes of it.
    pub(super) output: Option<(&'w mut File, u64)>,
}

/// Bounds of a command.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'b> {
    pub(super) time: Duration,
    /// The setting that says so.
    pub(super) key: &'static str,
    pub(super) stop: Option<&'b Stop>,
}

impl World {
    /// Runs the commands of the build that come ahead of it, one after the other.
    ///
    /// # Errors
    ///
    /// [`DriveError::Prepare`] for the first that fails, [`DriveError::Stopped`] where `stop` is raised.
    pub(in crate::drive) fn prepare(&self, job: &Job<'_>, stop: &Stop) -> Result<(), DriveError> {
        let commands = job.build.prepare();
        // From here on there may be something to clean up.
        self.unclean.store(true, Ordering::SeqCst);
        living::begun(&self.mark);
        if commands.is_empty() {
            return Ok(());
        }
        let path = job.out.join("prepare.log");
        let mut log = log_of(job, &path)?;
        for (number, words) in commands.iter().enumerate() {
            let name = format!("prepare[{number}] ({})", words.first().map_or("", String::as_str));
            let bounds = Bounds { time: job.rules.prepare_timeout, key: "prepare-timeout", stop: Some(stop) };
            let ran = self.run(job.build, words, Written { log: &mut log, output: None }, bounds);
            if stop.raised() {
                return Err(DriveError::Stopped { drive: job.name.to_owned(), path: job.out.clone() });
            }
            if let Err(problem) = ran {
                log.finish().map_err(|source| OutcomeError::io(&path, source))?;
                let lines = last_lines(&path, job.build);
                return Err(DriveError::Prepare { drive: job.name.to_owned(), command: name, problem, lines, path });
            }
        }
        log.finish().map_err(|source| OutcomeError::io(&path, source))?;
        Ok(())
    }

    /// Runs the commands of the build that come behind it, each whatever came of those ahead of it, once; then ends all that any
    /// command started. Returns what went wrong.
    pub(in crate::drive) fn clean_up(&self, job: &Job<'_>) -> Vec<String> {
        if !self.unclean.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        let mut warnings = std::mem::take(&mut *super::lock(&self.complaints));
        let commands = job.build.cleanup();
        if !commands.is_empty() {
            let path = job.out.join("cleanup.log");
            match log_of(job, &path) {
                Ok(mut log) => {
                    for (number, words) in commands.iter().enumerate() {
                        let bounds = Bounds { time: job.rules.prepare_timeout, key: "prepare-timeout", stop: None };
                        let ran = self.run(job.build, words, Written { log: &mut log, output: None }, bounds);
                        if let Err(problem) = ran {
                            let program = words.first().map_or("", String::as_str);
                            warnings.push(format!(
                                "cleanup[{number}] ({program}) failed: {problem}; what it was to remove may still be there \
                                 (cleanup.log)"
                            ));
                        }
                    }
                    if let Err(error) = log.finish() {
                        warnings.push(format!("cleanup.log could not be written: {error}"));
                    }
                }
                Err(error) => warnings.push(format!("nothing was cleaned up: {error}")),
            }
        }
        let ended = leash::end_marked(&self.mark);
        living::cleaned_up(&self.mark);
        match ended {
            (0, _) => {}
            (ended, 0) => warnings.push(format!(
                "{} that `prepare` or a snapshot started went on and ended with the drive",
                if ended == 1 { "a process".to_owned() } else { format!("{ended} processes") }
            )),
            (_, left) => warnings.push(format!("{left} processes that commands started could not be ended")),
        }
        warnings
    }

    /// Runs the command that ends the process `instance` of the build instead of a signal; whether there is one. What goes wrong is told
    /// when all is cleaned up.
    pub(in crate::drive) fn kill(&self, job: &Job<'_>, instance: u32) -> bool {
        let words = job.build.kill();
        if words.is_empty() {
            return false;
        }
        let number = self.kills.fetch_add(1, Ordering::Relaxed);
        let path = job.out.join(if number == 0 { "kill.log".to_owned() } else { format!("kill-{number}.log") });
        let bounds = Bounds { time: job.rules.prepare_timeout, key: "prepare-timeout", stop: None };
        let ran = log_of(job, &path).map_err(|error| error.to_string()).and_then(|mut log| {
            let written = Written { log: &mut log, output: None };
            let ran = self.run_for(job.build, words, instance, written, bounds);
            log.finish().map_err(|error| error.to_string()).and(ran)
        });
        if let Err(problem) = ran {
            let program = words.first().map_or("", String::as_str);
            let what = format!("kill ({program}) failed: {problem} ({})", path.display());
            super::lock(&self.complaints).push(what);
        }
        true
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    ///
    /// What went wrong, as a fragment such as `exit code 3`.
    pub(super) fn run(
        &self,
        build: &Build,
        words: &[String],
        written: Written<'_>,
        bounds: Bounds<'_>,
    ) -> Result<(), String> {
        self.run_for(build, words, 0, written, bounds)
    }

    /// As [`Self::run`], for the process `instance` of the build.
    fn run_for(
        &self,
        build: &Build,
        words: &[String],
        instance: u32,
        written: Written<'_>,
        bounds: Bounds<'_>,
    ) -> Result<(), String> {
        let refused = |error: io::Error| format!("could not be run: {error}");
        let (reader, writer) = io::pipe().map_err(refused)?;
        let (out_reader, out_writer) = io::pipe().map_err(refused)?;
        let mut command = self.command(build, words, instance).map_err(refused)?;
        // It runs outside of the network in which the drive is served.
        self.isolation.as_ref().map_or(Ok(()), |isolation| isolation.open()).map_err(refused)?;
        let own_output = written.output.is_some();
        let stdout = if own_output { OwnedFd::from(out_writer) } else { writer.try_clone().map_err(refused)?.into() };
        command.stdin(Stdio::null()).stdout(Stdio::from(stdout)).stderr(Stdio::from(OwnedFd::from(writer)));
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}/{number}", self.mark);
        command.env(leash::VARIABLE, &mark);
        // What it is told of it may well take: a server on a port of the drive, say.
        self.let_go_of(words, build);
        let child = command.spawn().map_err(refused)?;
        // With it go our ends of what it writes to, without which nobody sees the end of it.
        drop(command);
        let number = child.id();
        let process = Process::watch(child, number, mark).map_err(refused)?;
        let reading = |end: io::PipeReader| Pipe::reading(OwnedFd::from(end)).map_err(refused);
        let pipes = [Some(reading(reader)?), own_output.then(|| reading(out_reader)).transpose()?];
        let mut errand = Errand { process, pipes, written, bytes: vec![0; 64 << 10], taken: 0 };
        let ended = errand.follow(bounds);
        for pipe in errand.pipes.into_iter().flatten() {
            self.lingering.take(pipe);
        }
        ended
    }
}

/// Opens the log `path` of commands.
pub(super) fn log_of(job: &Job<'_>, path: &Path) -> Result<Complaints, DriveError> {
    let mask = LogMask::new(job.rules.mask.clone());
    let opened = Complaints::create(path, job.rules.stderr_bytes_max, mask);
    opened.map_err(|source| OutcomeError::io(path, source).into())
}

/// A command that runs.
struct Errand<'w> {
    process: Process,
    /// Its log, and its output where that goes elsewhere; none once it has ended.
    pipes: [Option<Pipe>; 2],
    written: Written<'w>,
    bytes: Vec<u8>,
    taken: u64,
}

impl Errand<'_> {
    fn follow(&mut self, bounds: Bounds<'_>) -> Result<(), String> {
        let clock = SystemClock::start();
        loop {
            let over = self.process.has_ended();
            let quiet = self.read()?;
            if over && quiet {
                break;
            }
            if bounds.stop.is_some_and(Stop::raised) {
                self.process.end_gently();
                return Err("stopped on request".to_owned());
            }
            if clock.now() > bounds.time {
                self.process.end_gently();
                return Err(format!("did not end within {} (`{}`)", Span(bounds.time), bounds.key));
            }
            if quiet {
                // Not on the pipes, which may have ended long ahead of it.
                thread::park_timeout(LOOK);
            }
        }
        let status = self.process.let_be();
        if status.is_some_and(|status| status.success()) { Ok(()) } else { Err(describe(status)) }
    }

    /// Takes what has been written; returns whether nothing more is there now.
    fn read(&mut self) -> Result<bool, String> {
        let mut quiet = true;
        for (number, place) in self.pipes.iter_mut().enumerate() {
            let Some(pipe) = place else { continue };
            let count = match pipe.read(&mut self.bytes) {
                Ok(None) => continue,
                Ok(Some(0)) | Err(_) => {
                    *place = None;
                    continue;
                }
                Ok(Some(count)) => count,
            };
            quiet = false;
            let kept = match &mut self.written.output {
                Some((file, most)) if number == 1 => {
                    self.taken += count as u64;
                    if self.taken > *most {
                        self.process.end();
                        return Err(format!("wrote more than {} bytes (`bytes-max`)", grouped(*most)));
                    }
                    file.write_all(&self.bytes[..count])
                }
                _ => self.written.log.take(&self.bytes[..count]),
            };
            kept.map_err(|error| format!("what it wrote could not be kept: {error}"))?;
        }
        Ok(quiet)
    }
}

/// The last lines of the log at `path`, without the values that `build` has in its environment.
pub(super) fn last_lines(path: &Path, build: &Build) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LINES_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LINES_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // The log itself is named beside them.
    let mut text = read().unwrap_or_default();
    for value in build.env().values().filter(|value| value.len() >= SECRET) {
        text = text.replace(value.as_str(), "…");
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Copies the folder `from` to `to`: files as they are, on file systems that can without taking room for it, and never as another
/// name of the same file. Links are kept; those that name a place inside of `from` by its whole path name the copy's.
///
/// # Errors
///
/// The path that cannot be copied, and why.
pub(super) fn copy_state(from: &Path, to: &Path, stop: &Stop) -> Result<(), (PathBuf, io::Error)> {
    let root = std::path::absolute(from).map_err(|error| (from.to_owned(), error))?;
    copy_folder(&root, to, &root, to, stop)
}

fn copy_folder(from: &Path, to: &Path, root: &Path, copy: &Path, stop: &Stop) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    fs::create_dir(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let path = entry.map_err(at(from))?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if stop.raised() {
            return Err((path, io::ErrorKind::Interrupted.into()));
        }
        let kind = fs::symlink_metadata(&path).map_err(at(&path))?.file_type();
        if kind.is_dir() {
            copy_folder(&path, &target, root, copy, stop)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&path).map_err(at(&path))?;
            let link = link.strip_prefix(root).map_or_else(|_| link.clone(), |inside| copy.join(inside));
            std::os::unix::fs::symlink(link, &target).map_err(at(&target))?;
        } else if kind.is_file() {
            fs::copy(&path, &target).map_err(at(&path))?;
        } else {
            let problem = "it is neither a file nor a folder nor a link";
            return Err((path, io::Error::new(io::ErrorKind::InvalidInput, problem)));
        }
    }
    // Last: a folder that nobody may write to could not have been filled.
    let permissions = fs::metadata(from).map_err(at(from))?.permissions();
    fs::set_permissions(to, permissions).map_err(at(to))
}
