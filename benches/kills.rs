//! Captures killed at random instants, by the thousand: no acknowledged event may be lost, none may stand twice.
//!
//! Inputs and tables, to directories and to a store; some go on without their manifest, some are rebuilt from their segments.
//!
//! `cargo bench --bench kills`; `REHEARSAL_KILLS` says how many (10,000), `REHEARSAL_KILLS_SEED` with which seed. Ends with 1 where
//! anything was lost or repeated, or failed otherwise. Linux with glibc only: the steps of the killed are known by the calls of
//! its C library.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program of its own that stops where something is amiss"
)]

#[path = "../tests/it/kills/harness.rs"]
mod harness;

use std::process::{Command, ExitCode};

use harness::{Figures, Near, Sort};
use rehearsal::clock::{Clock, SystemClock};

fn main() -> ExitCode {
    if harness::child() {
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (kills, seed) = (number("REHEARSAL_KILLS", 10_000), number("REHEARSAL_KILLS_SEED", 1));
    let clock = SystemClock::start();
    let program = std::env::current_exe().unwrap();
    let child = || Command::new(&program);
    let scripts = [harness::UNSYNCED_GROUP, harness::UNSYNCED_FOLDERS];
    for script in scripts.into_iter().chain(harness::GATHERINGS) {
        let figures = harness::follow(script, &child);
        if !figures.hold() {
            println!("a script of kills:");
            print(&figures);
            return ExitCode::FAILURE;
        }
    }
    let told = |figures: &Figures| {
        // Now and then in a long run, and at once where something is amiss.
        if figures.recordings.is_multiple_of(50) || !figures.hold() {
            println!("after {} s:", clock.now().as_secs());
            print(figures);
        }
    };
    let figures = harness::kill(kills, seed, &child, &told);
    println!("seed {seed}, {} s in all:", clock.now().as_secs());
    print(&figures);
    ExitCode::from(u8::from(!figures.hold()))
}

fn print(figures: &Figures) {
    let Figures { kills, blind, stood, power_lost, bytes_lost, names_lost, recordings, events, .. } = figures;
    let Figures { at_requests, without_manifest, rebuilt, .. } = figures;
    let (near, of) = (|near| figures.near(near), |sort| figures.of(sort));
    println!("  {kills} kills, {blind} of them at instants that time alone chose, {stood} between two steps on a file");
    println!(
        "  captured: {} an input to a directory, {} with a table, {} to a store, {at_requests} of these at a request",
        of(Sort::Input),
        of(Sort::Table),
        of(Sort::Store),
    );
    println!("  manifest taken away: {without_manifest} gone on with without it, {rebuilt} rebuilt from the segments");
    println!(
        "  within a millisecond: {} of a row group's flush, {} of a rotation, {} of a gathering, {} of a seal, {} of a start",
        near(Near::Flush),
        near(Near::Rotation),
        near(Near::Gathering),
        near(Near::Seal),
        near(Near::Start),
    );
    println!(
        "  {power_lost} losses of power took away what was not synced: bytes in {bytes_lost}, names in {names_lost}"
    );
    println!("  {recordings} recordings with {events} events");
    println!("  acknowledged events lost: {} times; events lacking, twice or changed: {}", figures.lost, figures.wrong);
    for failed in &figures.failed {
        println!("  failed: {failed}");
    }
}
