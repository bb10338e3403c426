//! The program started again, as small single-threaded processes that make a world and start builds in it.
//!
//! A process with threads cannot enter a user namespace, so the program that drives starts itself again, with one word as its argument
//! and a socket as its standard input. Three parts are played like that. The *maker* makes the namespaces of a drive and starts the
//! *keeper*, which is the first process of the world: it hands out sockets of its network, reaps who has lost its parent, and takes
//! everything with it when the program that drives lets go of it. For each build one *starter* enters the world and starts it there,
//! passes on what signals it gets, and ends as the build does: the program that drives has a child as it would have without a world.

mod keeper;
mod maker;
mod starter;
mod writes;

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

use crate::drive::wall_clock::{PROBE_WORD, play_probe};

pub(super) use writes::{can_refuse_ports, can_refuse_writes};

/// Argument by which the program knows that it is to be a launcher: followed by which part.
const WORD: &str = "--as-launcher-of-a-drive";

/// What stands where the program itself lies, whatever its folder is called and whether it is still there.
const SELF: &str = "/proc/self/exe";

/// The program that is started as launcher, where one is known.
static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();

/// Which part a launcher plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Maker,
    Keeper,
    Starter,
}

impl Part {
    const ALL: [Self; 3] = [Self::Maker, Self::Keeper, Self::Starter];

    fn name(self) -> &'static str {
        match self {
            Self::Maker => "maker",
            Self::Keeper => "keeper",
            Self::Starter => "starter",
        }
    }

    fn play(self, control: UnixStream) -> ExitCode {
        let played = match self {
            Self::Maker => maker::play(&control),
            Self::Keeper => keeper::play(&control),
            Self::Starter => return starter::play(control),
        };
        // Whoever hears nothing more knows that it went wrong.
        if played.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Plays a launcher's part where this process was started for it, and returns its exit code. Otherwise lets this program's drives
/// start it as their launcher. To be called first of all in `main`, ahead of any thread.
pub fn launch_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if first.as_deref().is_some_and(|first| first == PROBE_WORD) {
        return Some(play_probe());
    }
    if first.is_none_or(|first| first != WORD) {
        launch_by(PathBuf::from(SELF));
        return None;
    }
    let part = arguments.next();
    let part = Part::ALL.into_iter().find(|known| Some(OsStr::new(known.name())) == part.as_deref());
    let control = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let (Some(part), Ok(control)) = (part, control) else { return Some(ExitCode::FAILURE) };
    Some(part.play(control))
}

/// Has `program`, which calls [`launch_if_asked`] at its start, be the launcher of this program's drives; the first one named stays.
/// For programs other than `rehearsal` itself: without a launcher, drives have no world of their own, and say so.
pub fn launch_by(program: PathBuf) {
    let _ = LAUNCHER.set(program);
}

/// The program that is started as launcher, where one is known; it plays the probe of a clock, too.
pub(in crate::drive) fn launcher_program() -> Option<PathBuf> {
    LAUNCHER.get().cloned()
}

/// Whether a launcher is known.
pub(super) fn is_known() -> bool {
    LAUNCHER.get().is_some()
}

/// The command that starts a launcher, and the socket to speak with it.
pub(super) fn command(part: Part) -> io::Result<(Command, UnixStream)> {
    let program = LAUNCHER.get().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    let (here, there) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command.arg(WORD).arg(part.name());
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(there)));
    Ok((command, here))
}
