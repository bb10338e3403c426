//! Captures killed at random instants, by the thousand: no acknowledged event may be lost, none may stand twice.
//!
//! `cargo bench --bench kills`; `REHEARSAL_KILLS` says how many (10,000), `REHEARSAL_KILLS_SEED` with which seed. Ends with 1 where
//! anything was lost or repeated.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program of its own that stops where something is amiss"
)]

#[path = "../tests/it/kills/harness.rs"]
mod harness;

use std::process::{Command, ExitCode};

use rehearsal::clock::{Clock, SystemClock};

fn main() -> ExitCode {
    if harness::child() {
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (kills, seed) = (number("REHEARSAL_KILLS", 10_000), number("REHEARSAL_KILLS_SEED", 1));
    let clock = SystemClock::start();
    let figures = harness::kill(kills, seed, &|| Command::new(std::env::current_exe().unwrap()));
    println!("seed {seed}, {} kills in {} s", figures.kills, clock.now().as_secs());
    println!(
        "within a millisecond: {} of a row group's flush, {} of a rotation, {} of a seal",
        figures.near_flush, figures.near_rotation, figures.near_seal
    );
    println!("writes that were not synced were taken away after {} kills", figures.power_lost);
    println!("{} recordings with {} events", figures.recordings, figures.events);
    println!("acknowledged events lost: {} times; events lacking, twice or changed: {}", figures.lost, figures.wrong);
    ExitCode::from(u8::from(figures.lost > 0 || figures.wrong > 0))
}
