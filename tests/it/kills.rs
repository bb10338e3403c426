//! Captures killed at random instants: a short form of `benches/kills.rs`.

mod harness;

use std::process::Command;

#[test]
fn thirty_kills_lose_nothing_that_was_acknowledged_and_repeat_nothing() {
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kills::the_capture_that_is_killed", "--nocapture"]);
        command
    };
    let figures = harness::kill(30, 20_130_105, &child);
    assert_eq!((figures.kills, figures.lost, figures.wrong), (30, 0, 0), "{figures:?}");
    assert!(figures.near_flush + figures.near_rotation + figures.near_seal >= 3, "{figures:?}");
    assert!(figures.power_lost > 0 && figures.recordings > 0 && figures.events > 0, "{figures:?}");
}

/// The child of the test above, which names in the environment what to capture; without that there is nothing to do.
#[test]
fn the_capture_that_is_killed() {
    assert_eq!(harness::child(), std::env::var_os("REHEARSAL_KILLED").is_some());
}
