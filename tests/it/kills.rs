//! Captures killed at random instants: a short form of `benches/kills.rs`.

#[path = "kills/harness.rs"]
mod harness;
mod lost;

use std::process::Command;

use harness::Near;

fn child() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::the_capture_that_is_killed", "--nocapture"]);
    command
}

#[test]
fn kills_lose_nothing_that_was_acknowledged_and_repeat_nothing() {
    let mut figures = harness::kill(30, 20_130_105, &child, &|_| {});
    // Where a busy machine let none of a kind come near enough, some more may.
    let kinds = [Near::Flush, Near::Start, Near::Rotation, Near::Seal];
    for seed in 1..10 {
        if kinds.iter().any(|near| figures.near(*near) == 0) {
            figures.add(harness::kill(20, seed, &child, &|_| {}));
        }
    }
    assert!(figures.hold() && figures.kills >= 30, "{figures:?}");
    assert!(kinds.iter().all(|near| figures.near(*near) > 0), "{figures:?}");
    assert!(figures.blind > 0 && figures.stood > 0, "{figures:?}");
    assert!(figures.bytes_lost > 0 && figures.names_lost > 0, "{figures:?}");
    assert!(figures.recordings > 0 && figures.events > 0, "{figures:?}");
}

#[test]
fn what_a_killed_capture_had_not_synced_is_synced_before_it_counts() {
    let figures = harness::follow(harness::UNSYNCED_GROUP, &child);
    assert!(figures.hold() && figures.stood == 2 && figures.recordings == 1, "{figures:?}");
}

#[test]
fn folders_that_a_killed_capture_had_not_synced_are_synced_before_anything_in_them_counts() {
    let figures = harness::follow(harness::UNSYNCED_FOLDERS, &child);
    assert!(figures.hold() && figures.stood == 2 && figures.recordings == 1, "{figures:?}");
}

/// The child of the tests above, which names in the environment what to capture; without that there is nothing to do.
#[test]
fn the_capture_that_is_killed() {
    assert_eq!(harness::child(), std::env::var_os("REHEARSAL_KILLED").is_some());
}
