//! A build's process, with everything it starts: ended as one and reaped.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::build::Build;
use super::leash::{Held, Leash};
use super::living;
use super::pipe::Pipe;
use super::world::World;

/// Ticks of a second in `/proc`, which Linux fixes for all programs.
const TICKS: u64 = 100;

/// How long a build that is ended may take to tidy up.
const GRACE: Duration = Duration::from_millis(500);

const LOOK: Duration = Duration::from_millis(10);

/// How often what a build started is looked for and ended. What starts others faster than that is left.
const PASSES: u32 = 50;

/// A running build.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    /// Number of the build's own process, where a launcher stands between.
    number: u32,
    leash: Leash,
    ended: Option<Ended>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// Where the system tells.
    pub(super) status: Option<ExitStatus>,
    /// Whether something that it started was still there.
    pub(super) others: bool,
    /// Processes that could not be ended.
    pub(super) left: usize,
}

/// Its pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Pipe,
    pub(super) stdout: Pipe,
    pub(super) stderr: Pipe,
}

impl Process {
    /// Starts the process `instance` of `build` in `world`.
    pub(super) fn start(world: &World, build: &Build, instance: u32) -> io::Result<(Self, Pipes)> {
        let (child, number, mark) = world.start(build, instance)?;
        let (pid, leash) = (Pid::from_child(&child), Leash::new(mark, &child));
        let mut process = Self { child, pid, number, leash, ended: None };
        // Dropped where it came too late, it is ended.
        if !living::born(pid, &process.leash) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let pipes = process.pipes();
        if pipes.is_err() {
            process.end();
        }
        Ok((process, pipes?))
    }

    fn pipes(&mut self) -> io::Result<Pipes> {
        let lost = || io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(Pipes {
            stdin: Pipe::writing(self.child.stdin.take().ok_or_else(lost)?)?,
            stdout: Pipe::reading(self.child.stdout.take().ok_or_else(lost)?)?,
            stderr: Pipe::reading(self.child.stderr.take().ok_or_else(lost)?)?,
        })
    }

    /// Whether it has ended. It is not reaped yet, so its number still stands for its group.
    pub(super) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Ends it with everything it started, at once, and reaps it.
    pub(super) fn end(&mut self) -> Ended {
        match self.ended {
            Some(ended) => ended,
            None => self.end_holding(Vec::new()),
        }
    }

    /// Ends it with everything it started, its group after a moment to tidy up, and reaps it.
    pub(super) fn end_gently(&mut self) -> Ended {
        self.end_within(GRACE)
    }

    /// Ends it with everything it started, its group after `grace` at most to tidy up, and reaps it.
    pub(super) fn end_within(&mut self, grace: Duration) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        // What only its parents tell of is known now or never: they may be the first to go.
        let held = self.leash.hold(true);
        // It may have ended by itself.
        let _ = kill_process_group(self.pid, Signal::TERM);
        for _ in 0..grace.as_millis() / LOOK.as_millis() {
            if self.has_ended() {
                break;
            }
            thread::park_timeout(LOOK);
        }
        self.end_holding(held)
    }

    fn end_holding(&mut self, mut held: Vec<Held>) -> Ended {
        held.extend(self.leash.hold(true));
        living::dying(self.pid);
        let _ = kill_process_group(self.pid, Signal::KILL);
        held.iter().for_each(Held::end);
        let status = self.child.wait().ok();
        let others = !held.is_empty();
        // What was being started while the others were looked at comes to light now.
        for _ in 0..PASSES {
            held.iter().for_each(Held::see_off);
            held = self.leash.hold(false);
            if held.is_empty() {
                break;
            }
            held.iter().for_each(Held::end);
        }
        *self.ended.insert(Ended { status, others, left: held.len() })
    }

    /// Processor time used so far, in microseconds, and resident memory, in bytes, where the system tells.
    pub(super) fn usage(&self) -> Option<(u64, u64)> {
        let folder = format!("/proc/{}", self.number);
        let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
        // The name in parentheses may hold anything, even spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = memory.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some((ticks * 1_000_000 / TICKS, kib * 1_024))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says how a process ended, such as `exit code 3`.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((None, Some(signal))) => format!("signal {signal}"),
        _ => "an unknown exit code".to_owned(),
    }
}
