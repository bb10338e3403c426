//! What a build starts, found wherever it went, so that it ends with its drive.
//!
//! A process group holds only what stays in it: `setsid` and daemons leave it. So each build is started with a mark in its
//! environment, which all that it starts inherits. A process belongs to a drive where it carries the drive's mark, or descends
//! from one that does, or was born after the build and holds a pipe of the drive though it was given an environment of its own.
//! Adopting orphans instead (a child subreaper) would tell which processes are orphans but not whose, and would leave those that
//! end by themselves to be reaped by whoever calls this library.

use std::path::PathBuf;
use std::process::Child;

use rustix::process::Pid;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use nowhere as system;

pub(super) use system::Held;

/// Environment variable of a build and of all that it starts: a text that no other drive has. Where Rehearsal itself runs below
/// another drive, that drive's text comes first and a slash after it, so that the outer drive finds the inner one's processes.
pub(super) const VARIABLE: &str = "REHEARSAL_DRIVE";

/// How often what a build started is looked for and ended. What starts others faster than that is left.
pub(super) const PASSES: u32 = 50;

/// By what the processes of one drive are known.
#[derive(Debug, Clone)]
pub(super) struct Leash {
    mark: String,
    leader: Pid,
    born: u64,
    pipes: Vec<PathBuf>,
}

impl Leash {
    /// Makes one for a build that has just been started with `mark` as [`VARIABLE`] and still has its pipes, which must stay open
    /// as long as this is used: their names are given away again once they are closed.
    pub(super) fn new(mark: String, build: &Child) -> Self {
        let leader = Pid::from_child(build);
        Self { mark, leader, born: system::born(leader), pipes: system::pipes(build) }
    }

    /// Finds what belongs to the drive, but for its leader. What is held stays known whatever its parents do. The children of
    /// the leader are looked for as long as it `stands`, that is, has not been reaped.
    pub(super) fn hold(&self, stands: bool) -> Vec<Held> {
        system::hold(self, stands)
    }

    /// Processes of the drive as long as its leader has not been reaped, itself among them.
    pub(super) fn tree(&self) -> Vec<Pid> {
        system::tree(self)
    }
}

/// Ends all processes that carry `mark` or a text below it; returns how many there were, and how many are left.
pub(super) fn end_marked(mark: &str) -> (usize, usize) {
    // Born with the machine, and led by this program, which is never held.
    let leash = Leash { mark: mark.to_owned(), leader: rustix::process::getpid(), born: 0, pipes: Vec::new() };
    let mut held = leash.hold(false);
    let found = held.len();
    for _ in 0..PASSES {
        if held.is_empty() {
            break;
        }
        held.iter().for_each(Held::end);
        held.iter().for_each(Held::see_off);
        held = leash.hold(false);
    }
    (found, held.len())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::path::PathBuf;
    use std::process::{self, Child};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, pidfd_send_signal, waitid,
    };

    use super::{Leash, VARIABLE};

    /// Longest wait for one process that was ended, in nanoseconds.
    const GONE_NS: i64 = 20_000_000;

    /// A process as `/proc` shows it. Its number may be another's by now, its birth (in ticks since the machine started) not.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Seen {
        pid: Pid,
        parent: i32,
        born: u64,
    }

    /// A process that belongs to a drive.
    #[derive(Debug)]
    pub(in super::super) struct Held {
        seen: Seen,
        /// Names the process itself, whoever has its number; none where the kernel is older than 5.3.
        handle: Option<OwnedFd>,
    }

    impl Held {
        /// Ends it at once.
        pub(in super::super) fn end(&self) {
            self.signal(Signal::KILL);
        }

        /// Sends it a signal.
        pub(in super::super) fn signal(&self, signal: Signal) {
            // It may have ended by itself, or belong to another user by now.
            let _ = match &self.handle {
                Some(handle) => pidfd_send_signal(handle, signal),
                None if look(self.seen.pid).is_some_and(|now| now.born == self.seen.born) => {
                    kill_process(self.seen.pid, signal)
                }
                None => Ok(()),
            };
        }

        /// Waits a little until it is gone, and reaps it where it became a child of this program: as the first process of a
        /// container this program adopts orphans.
        pub(in super::super) fn see_off(&self) {
            let slice = Timespec { tv_sec: 0, tv_nsec: GONE_NS };
            let mut gone = self.handle.iter().map(|handle| PollFd::new(handle, PollFlags::IN)).collect::<Vec<_>>();
            let _ = poll(&mut gone, Some(&slice));
            if look(self.seen.pid).is_some_and(|now| now.born == self.seen.born && now.parent == ours()) {
                let _ = waitid(WaitId::Pid(self.seen.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
        }
    }

    pub(super) fn born(leader: Pid) -> u64 {
        look(leader).map_or(0, |leader| leader.born)
    }

    /// What `/proc` calls the pipes that a build writes to, at both their ends.
    pub(super) fn pipes(build: &Child) -> Vec<PathBuf> {
        let numbers = [build.stdout.as_ref().map(AsRawFd::as_raw_fd), build.stderr.as_ref().map(AsRawFd::as_raw_fd)];
        numbers
            .into_iter()
            .flatten()
            .filter_map(|number| fs::read_link(format!("/proc/self/fd/{number}")).ok())
            .collect()
    }

    pub(super) fn hold(leash: &Leash, stands: bool) -> Vec<Held> {
        let mut others = everybody();
        others.retain(|one| {
            one.born >= leash.born && one.pid != leash.leader && one.pid.as_raw_nonzero().get() != ours()
        });
        let mut held: Vec<Held> = Vec::new();
        others.retain(|one| !take(&mut held, *one, || is_marked(leash, one.pid) || holds_pipe(leash, one.pid)));
        // Children of what is held, to any depth: each round knows one generation more.
        loop {
            let before = held.len();
            others.retain(|one| {
                let of_leader = stands && one.parent == leash.leader.as_raw_nonzero().get();
                let parent =
                    held.iter().map(|held| held.seen).find(|seen| seen.pid.as_raw_nonzero().get() == one.parent);
                // The parent is looked at after its child: it is still the same, so it was when the child named it.
                let is_child = || {
                    look(one.pid).is_some_and(|now| now.parent == one.parent)
                        && parent.is_none_or(|parent| look(parent.pid).is_some_and(|now| now.born == parent.born))
                };
                !((of_leader || parent.is_some()) && take(&mut held, *one, is_child))
            });
            if held.len() == before {
                return held;
            }
        }
    }

    pub(super) fn tree(leash: &Leash) -> Vec<Pid> {
        let mut others = everybody();
        others.retain(|one| {
            one.born >= leash.born && one.pid != leash.leader && one.pid.as_raw_nonzero().get() != ours()
        });
        let mut found = vec![leash.leader];
        others.retain(|one| {
            let marked = is_marked(leash, one.pid);
            if marked {
                found.push(one.pid);
            }
            !marked
        });
        // Children of what was found, to any depth: each round knows one generation more.
        loop {
            let before = found.len();
            others.retain(|one| {
                let is_child = found.iter().any(|parent| parent.as_raw_nonzero().get() == one.parent);
                if is_child {
                    found.push(one.pid);
                }
                !is_child
            });
            if found.len() == before {
                return found;
            }
        }
    }

    /// Takes hold of `one` where it belongs here. Looks only once it has a handle, so that what it looked at is what it holds.
    fn take(held: &mut Vec<Held>, one: Seen, belongs: impl Fn() -> bool) -> bool {
        if !belongs() {
            return false;
        }
        let handle = pidfd_open(one.pid, PidfdFlags::empty()).ok();
        let same = look(one.pid).is_some_and(|now| now.born == one.born) && belongs();
        if same {
            held.push(Held { seen: one, handle });
        }
        same
    }

    fn is_marked(leash: &Leash, pid: Pid) -> bool {
        // What belongs to another user cannot be read, nor ended.
        let Ok(environment) = fs::read(folder(pid).join("environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|entry| {
            let value = entry.strip_prefix(VARIABLE.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            let rest = value.and_then(|value| value.strip_prefix(leash.mark.as_bytes()));
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    }

    fn holds_pipe(leash: &Leash, pid: Pid) -> bool {
        let program = |folder: PathBuf| fs::read_link(folder.join("exe")).ok();
        let Ok(files) = fs::read_dir(folder(pid).join("fd")) else { return false };
        let mut names = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        // A build of another drive has all pipes of this program, and is this program, for the moment before it is a build.
        names.any(|name| leash.pipes.contains(&name))
            && program(folder(pid)).is_some_and(|theirs| Some(theirs) != program("/proc/self".into()))
    }

    fn everybody() -> Vec<Seen> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter_map(|number| look(Pid::from_raw(number)?)).collect()
    }

    fn look(pid: Pid) -> Option<Seen> {
        let stat = fs::read_to_string(folder(pid).join("stat")).ok()?;
        // The name in parentheses may hold anything, even spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Seen { pid, parent: fields.get(1)?.parse().ok()?, born: fields.get(19)?.parse().ok()? })
    }

    fn folder(pid: Pid) -> PathBuf {
        PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
    }

    fn ours() -> i32 {
        process::id() as i32
    }
}

/// Elsewhere than on Linux nothing tells what a build started: its process group has to do.
#[cfg(not(target_os = "linux"))]
mod nowhere {
    use std::path::PathBuf;
    use std::process::Child;

    use rustix::process::{Pid, Signal};

    use super::Leash;

    /// A process that belongs to a drive.
    #[derive(Debug)]
    pub(in super::super) enum Held {}

    impl Held {
        pub(in super::super) fn end(&self) {
            match *self {}
        }

        pub(in super::super) fn signal(&self, _: Signal) {
            match *self {}
        }

        pub(in super::super) fn see_off(&self) {
            match *self {}
        }
    }

    pub(super) fn born(_: Pid) -> u64 {
        0
    }

    pub(super) fn pipes(_: &Child) -> Vec<PathBuf> {
        Vec::new()
    }

    pub(super) fn hold(_: &Leash, _: bool) -> Vec<Held> {
        Vec::new()
    }

    pub(super) fn tree(leash: &Leash) -> Vec<Pid> {
        vec![leash.leader]
    }
}
