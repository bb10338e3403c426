//! Starts a build in a world and ends as it does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{DumpableBehavior, Pid, kill_process_group, set_dumpable_behavior};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{
    CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces, remove_capability_from_bounding_set,
};

use super::super::asking;
use super::super::words::{Start, Started, receive, send};
use super::writes::refuse;
use crate::outcome::Layer;

/// What root would be without its world, too: no more than that it must not undo.
const UNDOING: [CapabilitySet; 2] = [CapabilitySet::SYS_ADMIN, CapabilitySet::NET_ADMIN];

pub(super) fn play(control: UnixStream) -> ExitCode {
    let started = start(&control);
    // Whatever comes from now on is passed on. Not ahead of the start: a build would have them blocked, too.
    let signals = SigSet::all();
    let blocked = signals.thread_block();
    // A build that holds none of its pipes any more must be seen to hold none.
    let quiet = std::fs::File::options().read(true).write(true).open("/dev/null").and_then(|null| {
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        Ok(dup2_stderr(&null)?)
    });
    drop(control);
    let (Ok(build), Ok(()), Ok(())) = (started, blocked, quiet) else { return ExitCode::FAILURE };
    follow(build, signals)
}

fn start(control: &UnixStream) -> io::Result<Child> {
    let (start, files) = receive::<Start>(control)?;
    let mut files = files.into_iter();
    let mut next = || files.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
    let pipes = [next()?, next()?, next()?];
    let entered = match files.next() {
        Some(world) => enter(&start, &world),
        None => Ok(()),
    };
    if let Err(error) = entered.and_then(|()| refuse(start.writes.as_deref(), start.ports.as_deref())) {
        send(control, &Started::Unentered(error.to_string()), &[])?;
        return Err(error);
    }
    // Best effort: without, the build runs all the same.
    let told = start.asking.then(asking::begin).and_then(Result::ok);
    match spawn(start, pipes) {
        Ok(build) => {
            let files: Vec<_> = told.iter().map(AsFd::as_fd).collect();
            send(control, &Started::Runs(build.id()), &files)?;
            Ok(build)
        }
        Err(error) => {
            send(control, &Started::Failed(error.raw_os_error(), error.to_string()), &[])?;
            Err(error)
        }
    }
}

fn enter(start: &Start, world: &OwnedFd) -> io::Result<()> {
    let mut kinds = ThreadNameSpaceType::USER;
    let files = [Layer::Names, Layer::Sockets, Layer::Temporary];
    for (kind, layers) in [
        (ThreadNameSpaceType::NETWORK, &[Layer::Network][..]),
        (ThreadNameSpaceType::PROCESS_ID, &[Layer::Processes]),
        (ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION, &files),
    ] {
        if start.enter.iter().any(|layer| layers.contains(layer)) {
            kinds |= kind;
        }
    }
    if kinds.contains(ThreadNameSpaceType::PROCESS_ID) {
        // Its `/proc` is part of its mounts.
        kinds |= ThreadNameSpaceType::MOUNT;
    }
    move_into_thread_name_spaces(world.as_fd(), kinds)?;
    for undoing in UNDOING {
        remove_capability_from_bounding_set(undoing)?;
    }
    Ok(())
}

fn spawn(start: Start, pipes: [OwnedFd; 3]) -> io::Result<Child> {
    let [stdin, stdout, stderr] = pipes.map(Stdio::from);
    let mut command = Command::new(start.program);
    command.args(start.arguments).stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
    for (name, value) in start.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = start.folder {
        command.current_dir(folder);
    }
    command.spawn()
}

/// Passes signals on to the build's group until it ends.
fn follow(mut build: Child, signals: SigSet) -> ExitCode {
    let group = Pid::from_child(&build);
    loop {
        // Looked at ahead of each wait: of an end that came earlier no signal tells.
        match build.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return end_as(status),
            Err(_) => return ExitCode::FAILURE,
        }
        let signal = signals.wait();
        let known = match signal {
            Ok(Signal::SIGCHLD) | Err(_) => None,
            Ok(signal) => rustix::process::Signal::from_named_raw(signal as i32),
        };
        if let Some(signal) = known {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Ends by the same code or the same signal, without a second core of what is no crash of this program.
fn end_as(status: ExitStatus) -> ExitCode {
    let Some(signal) = status.signal() else {
        return ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
    };
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Ok(signal) = Signal::try_from(signal) {
        let mut one = SigSet::empty();
        one.add(signal);
        let _ = one.thread_unblock();
        // A handler of Rust's own takes the first SIGSEGV or SIGBUS, finds no overflow of a stack, and lets the next one pass.
        let _ = nix::sys::signal::raise(signal).and_then(|()| nix::sys::signal::raise(signal));
    }
    ExitCode::from(128_u8.saturating_add(signal as u8))
}
