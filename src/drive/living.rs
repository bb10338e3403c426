//! Every build that runs in this program, and every drive whose commands may have started something, so that a program about to exit can
//! take all of them with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use super::leash::{self, Leash};

static LIVING: Mutex<Living> = Mutex::new(Living { closed: false, builds: Vec::new(), drives: Vec::new() });

struct Living {
    closed: bool,
    builds: Vec<(Pid, Leash)>,
    /// Marks of drives that have begun and are not cleaned up.
    drives: Vec<String>,
}

/// Ends every build of every drive of this program, and what they started, at once, and lets no other be started: for a program
/// about to exit without waiting for its drives.
pub fn end_all_builds() {
    let mut living = lock();
    living.closed = true;
    for (leader, leash) in &living.builds {
        let held = leash.hold(true);
        // It has not been reaped, or it would not stand in the list: the number is still its group's.
        let _ = kill_process_group(*leader, Signal::KILL);
        for held in held {
            held.end();
        }
    }
    // What commands beside the builds started and left behind.
    for mark in &living.drives {
        leash::end_marked(mark);
    }
}

/// Notes a drive whose commands may start what goes on without them, by its mark.
pub(super) fn begun(mark: &str) {
    lock().drives.push(mark.to_owned());
}

/// Forgets a drive all of which has ended.
pub(super) fn cleaned_up(mark: &str) {
    lock().drives.retain(|other| other != mark);
}

/// Notes a build that was started. Whether it may run: none may any more once all have been ended.
pub(super) fn born(leader: Pid, leash: &Leash) -> bool {
    let mut living = lock();
    living.builds.push((leader, leash.clone()));
    !living.closed
}

/// Forgets a build that is about to be reaped.
pub(super) fn dying(leader: Pid) {
    lock().builds.retain(|(other, _)| *other != leader);
}

fn lock() -> MutexGuard<'static, Living> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}
