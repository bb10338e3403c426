//! A build's process, with everything it starts: ended as one and reaped; or stopped, and sent on.

mod check;
mod crew;
mod scrape;
mod stops;

pub use check::check_instances;
pub(super) use check::check_stops;
pub(super) use crew::{Crew, Flight, Streams};
pub(super) use stops::Stops;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::build::Build;
use super::leash::{Held, Leash, PASSES};
use super::living;
use super::pipe::Pipe;
use super::world::World;

/// Ticks of a second in `/proc`, which Linux fixes for all programs.
const TICKS: u64 = 100;

/// How long a build that is ended may take to tidy up.
const GRACE: Duration = Duration::from_millis(500);

const LOOK: Duration = Duration::from_millis(10);

/// A running build.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    /// The build's own process, which is another than the child where a launcher stands between.
    number: Pid,
    leash: Leash,
    /// What it had started when it was told to end.
    told: Option<Vec<Held>>,
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
        let mut process = Self::watch(child, number, mark)?;
        let pipes = process.pipes();
        if pipes.is_err() {
            process.end();
        }
        Ok((process, pipes?))
    }

    /// Watches over a process that was started with `mark`; the build's own is `number`.
    pub(super) fn watch(child: Child, number: u32, mark: String) -> io::Result<Self> {
        let (pid, leash) = (Pid::from_child(&child), Leash::new(mark, &child));
        let number = i32::try_from(number).ok().and_then(Pid::from_raw).unwrap_or(pid);
        let process = Self { child, pid, number, leash, told: None, ended: None };
        // Dropped where it came too late, it is ended.
        if living::born(pid, &process.leash) { Ok(process) } else { Err(io::ErrorKind::Interrupted.into()) }
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

    /// Reaps it once it has ended, and leaves what it started alone.
    pub(super) fn let_be(&mut self) -> Option<ExitStatus> {
        living::dying(self.pid);
        let status = self.child.wait().ok();
        self.ended = Some(Ended { status, others: false, left: 0 });
        status
    }

    /// Ends it with everything it started, at once, and reaps it.
    pub(super) fn end(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let held = self.told.take().unwrap_or_default();
        self.end_holding(held)
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
        self.tell_to_end();
        for _ in 0..grace.as_millis() / LOOK.as_millis() {
            if self.has_ended() {
                break;
            }
            thread::park_timeout(LOOK);
        }
        let held = self.told.take().unwrap_or_default();
        self.end_holding(held)
    }

    /// Tells its group to end, once, and goes on.
    pub(super) fn tell_to_end(&mut self) {
        if self.ended.is_some() || self.told.is_some() {
            return;
        }
        // What only its parents tell of is known now or never: they may be the first to go.
        self.told = Some(self.leash.hold(true));
        // It may have ended by itself.
        let _ = kill_process_group(self.pid, Signal::TERM);
    }

    /// Stops it and all that it started, wherever that went.
    pub(super) fn freeze(&self) {
        // What was being started while the others were looked at comes to light in the next pass.
        let mut known = 0;
        for _ in 0..PASSES {
            let held = self.signal(Signal::STOP);
            if held <= known {
                break;
            }
            known = held;
        }
    }

    /// Sends on what was stopped.
    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Signals it and all that it started, but for a launcher, which passes on what comes to it; returns how many there are.
    fn signal(&self, signal: Signal) -> usize {
        if self.ended.is_some() {
            return 0;
        }
        let held = self.leash.hold(true);
        if self.number == self.pid {
            // Not reaped, so the number is its own.
            let _ = kill_process(self.pid, signal);
        }
        for one in &held {
            one.signal(signal);
        }
        held.len() + 1
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

    /// What it and all that it started use, where the system tells: processor time with that of those that have ended, memory with
    /// pages that several share counted for each.
    pub(super) fn usage(&self) -> Option<Usage> {
        let mut all = Usage { processes: 0, cpu_us: 0, memory_bytes: 0, peak_bytes: 0 };
        for pid in self.leash.tree() {
            let Some(one) = usage_of(pid) else { continue };
            // Of a launcher counts what it waited for, which is the build, and nothing that it is itself.
            all.cpu_us += one.cpu_us;
            if pid == self.pid && pid != self.number {
                continue;
            }
            all.processes += 1;
            all.memory_bytes += one.memory_bytes;
            all.peak_bytes = all.peak_bytes.max(one.peak_bytes);
        }
        all.peak_bytes = all.peak_bytes.max(all.memory_bytes);
        (all.processes > 0).then_some(all)
    }

    /// Processor time that it and all that it started have used, in microseconds, also where it has ended; zero once it is reaped.
    pub(super) fn cpu_us(&self) -> u64 {
        if self.ended.is_some() {
            return 0;
        }
        self.leash.tree().into_iter().filter_map(usage_of).map(|usage| usage.cpu_us).sum()
    }

    /// The most memory that the process alone, without what it started, has ever used.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        usage_of(self.number).map(|usage| usage.peak_bytes)
    }
}

/// What processes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) processes: u64,
    /// Processor time so far, in microseconds.
    pub(super) cpu_us: u64,
    /// Resident memory.
    pub(super) memory_bytes: u64,
    /// The most of it that is known of.
    pub(super) peak_bytes: u64,
}

fn usage_of(pid: Pid) -> Option<Usage> {
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    // The name in parentheses may hold anything, even spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Of itself, then of its children that were reaped.
    let ticks = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
    // One that has ended and was not reaped has no memory any more.
    let bytes = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        text.trim().trim_end_matches("kB").trim().parse::<u64>().map_or(0, |kib| kib * 1_024)
    };
    let (memory_bytes, peak_bytes) = (bytes("VmRSS:"), bytes("VmHWM:"));
    Some(Usage { processes: 1, cpu_us: ticks * 1_000_000 / TICKS, memory_bytes, peak_bytes })
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
