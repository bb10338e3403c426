//! Random and mutated bytes, thrown at every decoder of values for minutes: `cargo bench --bench fuzz`.
//!
//! Not a timed benchmark. It goes on for as many seconds as `REHEARSAL_FUZZ_SECONDS` says (default: 20), from the seed
//! `REHEARSAL_FUZZ_SEED` (default: 1; it is printed), and prints by decoder how many bytes were thrown, how many of them it read, and
//! the longest that one took; at the end the largest resident set. It stops with the bytes at the first that bring a decoder down,
//! make it break its bounds, or take longer than a second. `cargo fuzz` asks for a nightly compiler; this does not.

#![expect(clippy::print_stdout, reason = "its findings are all that it has to say")]

#[expect(clippy::unwrap_used, reason = "shared with the tests, where it has failed that cannot go on")]
#[path = "../tests/it/fuzz/thrown.rs"]
mod thrown;

use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rehearsal::clock::{Clock, SystemClock};
use thrown::{Decoder, Draws, decoders, mutant};

/// Longest that any bytes may take.
const TOOK_MAX: Duration = Duration::from_secs(1);

/// Largest resident set that the whole may reach, in MB.
const PEAK_MAX_MB: u64 = 500;

/// Mutants thrown at a decoder before the next has its turn.
const TURN: usize = 500;

#[derive(Default)]
struct Tally {
    thrown: u64,
    read: u64,
    longest: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |text| text.parse::<u64>());
    let (seconds, seed) = (number("REHEARSAL_FUZZ_SECONDS", 20)?, number("REHEARSAL_FUZZ_SEED", 1)?);
    println!("seed {seed}, {seconds} s");
    let decoders = decoders();
    let mut tallies: Vec<Tally> = decoders.iter().map(|_| Tally::default()).collect();
    let mut draws = Draws::new(seed);
    let clock = SystemClock::start();
    while clock.now() < Duration::from_secs(seconds) {
        for (decoder, tally) in decoders.iter().zip(&mut tallies) {
            // Whole comparisons take some fifty times as long.
            let turn = if decoder.name.starts_with("comparison") { TURN / 20 } else { TURN };
            for _ in 0..turn {
                throw(decoder, &mutant(&decoder.samples, &mut draws), tally, &clock)?;
            }
        }
    }
    for (decoder, Tally { thrown, read, longest }) in decoders.iter().zip(&tallies) {
        println!("{:28} {thrown:>10} thrown {read:>10} read, longest {longest:?}", decoder.name);
    }
    let peak_mb = peak_mb()?;
    println!("peak {peak_mb} MB");
    if peak_mb > PEAK_MAX_MB { Err(format!("more than {PEAK_MAX_MB} MB").into()) } else { Ok(()) }
}

fn throw(decoder: &Decoder, bytes: &[u8], tally: &mut Tally, clock: &dyn Clock) -> Result<(), Box<dyn Error>> {
    let began = clock.now();
    let thrown = catch_unwind(AssertUnwindSafe(|| decoder.throw(bytes)));
    let took = clock.now().saturating_sub(began);
    tally.thrown += 1;
    tally.longest = tally.longest.max(took);
    match thrown {
        Ok(Ok(read)) if took <= TOOK_MAX => tally.read += u64::from(read),
        Ok(Ok(_)) => return Err(format!("{} took {took:?}: {bytes:x?}", decoder.name).into()),
        Ok(Err(why)) => return Err(format!("{}: {why}: {bytes:x?}", decoder.name).into()),
        Err(_) => return Err(format!("{} panicked: {bytes:x?}", decoder.name).into()),
    }
    Ok(())
}

/// Largest resident set so far; none is known outside of Linux.
fn peak_mb() -> Result<u64, Box<dyn Error>> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return Ok(0) };
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no VmHWM")?.parse::<u64>()? * 1_024 / 1_000_000)
}
