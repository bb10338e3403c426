//! What a verdict finds, and how often it raises a false alarm: planted changes in outcomes whose drives of old differ.
//!
//! A trial is what `rehearsal run` does once drives are over: old twice against new, and where the comparison asks for it, new
//! driven again; then the verdict under the default gates. Outputs are made in memory as the comparison reads them, so no build is
//! run and no Parquet is read; all else is the real comparison of all outputs. `REHEARSAL_BENCH_EVENTS` says how many outputs
//! a drive has (1 million by default), `REHEARSAL_BENCH_TRIALS` how many trials a cell of the table is made of (200), and
//! `REHEARSAL_BENCH_SELF` how often one build is held against itself (1,000, half of them beside 1 and half beside 10 %).
//! `REHEARSAL_BENCH_CELLS` names the cells to run, as planted@percent, such as `10@1 10@10 self@1`; by itself all are run. Each trial
//! follows from its number alone, whatever other cells are run.
//!
//! A drive has one output a key. Noise is half single outputs and half bursts of 20 in a row. One burst or output in five is lost,
//! the others say something wrong: half of them the same wrong thing each time, half of them one of a thousand.

#![expect(clippy::print_stdout, reason = "its table is all that it has to say")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use rehearsal::clock::{Clock, SystemClock};
use rehearsal::compare::{
    CompareError, CompareSettings, Drive, Facts, FidelityBounds, Gates, Kind, Row, Rules, Standing, Verdict,
    compare_drives, judge,
};
use rehearsal::outcome::{Channel, Ending, EndingReport, Output, Receipt};
use rehearsal::plan::{Phase, Seed};
use rehearsal::spill::SpillSpace;

/// Shares of outputs on which two drives of old differ.
const NOISE: [f64; 3] = [0.0, 0.01, 0.1];

/// Outputs that new says otherwise.
const PLANTED: [u64; 3] = [10, 400, 1_500];

/// What stands for no change in the name of a cell.
const SELF: &str = "self";

/// Outputs of a burst.
const BURST: u64 = 20;

/// What an output says: nothing wrong, as planted, not written at all, or wrong by so much.
const RIGHT: u16 = 0;
const PLANT: u16 = 7_000;
const LOST: u16 = u16::MAX;

/// A drive in memory: what it says of each number, and the numbers that it wrote.
struct Made {
    said: Vec<u16>,
    written: Vec<u32>,
}

impl Made {
    fn new(outputs: u64, noise: f64, planted: &BTreeSet<u64>, draw: &dyn Fn(u64) -> u64) -> Self {
        let mut said = vec![RIGHT; outputs as usize];
        for number in planted {
            said[*number as usize] = PLANT;
        }
        // Two drives differ where either is noisy.
        let rate = 1.0 - (1.0 - noise).sqrt();
        let mut counter = 0;
        for length in [1, BURST] {
            let begins = rate / 2.0 / length as f64;
            if begins <= 0.0 {
                continue;
            }
            let mut at = 0;
            loop {
                let share = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
                let gap = libm::log(share(draw(counter))) / libm::log1p(-begins);
                let kind = draw(counter + 1);
                counter += 2;
                at += gap as u64;
                if at >= outputs {
                    break;
                }
                for number in at..(at + length).min(outputs) {
                    said[number as usize] = match kind % 10 {
                        0 | 1 => LOST,
                        2..=5 => 1,
                        _ => 1 + (draw(counter) % 1_000) as u16,
                    };
                    counter += 1;
                }
                at += length;
            }
        }
        let written = (0..outputs as u32).filter(|number| said[*number as usize] != LOST).collect();
        Self { said, written }
    }

    fn key(number: u32, key: &mut Vec<u8>) {
        key.clear();
        let _ = write!(key, "{number:08}");
    }

    fn value(&self, number: u32, value: &mut Vec<u8>) {
        value.clear();
        let _ = write!(value, r#"{{"amount":{}}}"#, number % 997 + u32::from(self.said[number as usize]));
    }
}

impl Drive for Made {
    fn ending(&self) -> Ending {
        Ending::Finished
    }

    fn each(
        &self,
        _: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (sequence, number) in (0..).zip(&self.written) {
            Self::key(*number, &mut key);
            self.value(*number, &mut value);
            take(&Row {
                sequence,
                phase: Phase::Main,
                channel: Channel::Output,
                topic: "payouts",
                partition: 0,
                timestamp_ms: None,
                key: Some(&key),
                value: Some(&value),
                value_hash: None,
                cause: None,
                malformed: false,
                headers: 0,
            })?;
        }
        Ok(())
    }

    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        for sequence in sequences {
            let number = self.written[*sequence as usize];
            let (mut key, mut value) = (Vec::new(), Vec::new());
            Self::key(number, &mut key);
            self.value(number, &mut value);
            take(Output {
                sequence: *sequence,
                arrived_us: *sequence,
                topic: "payouts".to_owned(),
                key: Some(key),
                value: Some(value),
                ..Output::default()
            })?;
        }
        Ok(())
    }

    fn receipts(&self, _: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError> {
        Ok(false)
    }
}

/// What became of one trial.
#[derive(Debug, Clone, Copy, Default)]
struct Trial {
    /// The verdict is `differ`.
    differs: bool,
    /// Changed values are proven.
    found: bool,
    /// New was driven again.
    again: bool,
}

fn trial(outputs: u64, noise: f64, planted: u64, number: u64) -> Trial {
    let seed = Seed(number);
    let draw = seed.draws("planted");
    let mut places = BTreeSet::new();
    let mut counter = 0;
    while (places.len() as u64) < planted.min(outputs) {
        places.insert(draw(counter) % outputs);
        counter += 1;
    }
    let none = BTreeSet::new();
    let made = |name: &str, planted: &BTreeSet<u64>| Made::new(outputs, noise, planted, &seed.draws(name));
    let (old, old_again, new) = (made("old", &none), made("old-again", &none), made("new", &places));
    let rules = CompareSettings { memory: 1_024, ..CompareSettings::default() }.check().expect("the rules are right");
    let first = verdict(&[&old, &old_again], &[&new], &rules);
    if !first.again {
        return first;
    }
    let new_again = made("new-again", &places);
    Trial { again: true, ..verdict(&[&old, &old_again], &[&new, &new_again], &rules) }
}

/// Compares and judges; `again` says whether new should be driven again.
fn verdict(old: &[&dyn Drive], new: &[&dyn Drive], rules: &Rules) -> Trial {
    let comparison = compare_drives(old, new, rules, None, &SpillSpace::system()).expect("the drives compare");
    let finished = EndingReport::new(Ending::Finished, "drained");
    let drives = ["old", "old-again", "new"].map(|drive| (drive.to_owned(), finished.clone()));
    let facts = Facts {
        comparison: &comparison,
        endings: &BTreeMap::from(drives),
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    let found =
        comparison.patterns.iter().any(|pattern| pattern.kind == Kind::Changed && pattern.standing == Standing::Proven);
    let differs = judge(&facts, &Gates::default()).verdict == Verdict::Differ;
    Trial { differs, found, again: new.len() == 1 && comparison.wants_new_again }
}

/// Runs trials side by side, a thread a core.
fn trials(count: u64, run: impl Fn(u64) -> Trial + Sync) -> Vec<Trial> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let run = &run;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(count))
            .map(|first| scope.spawn(move || (first..count).step_by(threads as usize).map(run).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a trial ends")).collect()
    })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Cells to run, by what is planted and the noise in percent.
struct Cells(Option<Vec<String>>);

impl Cells {
    fn read() -> Self {
        let known: Vec<String> = NOISE
            .iter()
            .flat_map(|noise| PLANTED.iter().map(|planted| cell(&planted.to_string(), *noise)))
            .chain(NOISE.iter().skip(1).map(|noise| cell(SELF, *noise)))
            .collect();
        let asked = std::env::var("REHEARSAL_BENCH_CELLS").ok();
        let asked = asked.map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for name in asked.iter().flatten() {
            assert!(known.contains(name), "REHEARSAL_BENCH_CELLS: there is no cell {name}, but {}", known.join(" "));
        }
        Self(asked)
    }

    fn has(&self, planted: &str, noise: f64) -> bool {
        self.0.as_ref().is_none_or(|asked| asked.contains(&cell(planted, noise)))
    }
}

/// Name of a cell.
fn cell(planted: &str, noise: f64) -> String {
    format!("{planted}@{}", noise * 100.0)
}

fn share(part: usize, of: usize) -> String {
    format!("{part} of {of} ({:.1} %)", part as f64 / of.max(1) as f64 * 100.0)
}

fn main() {
    let outputs = number("REHEARSAL_BENCH_EVENTS", 1_000_000);
    let count = number("REHEARSAL_BENCH_TRIALS", 200);
    let alone = number("REHEARSAL_BENCH_SELF", 1_000);
    let cells = Cells::read();
    let clock = SystemClock::start();
    println!("{outputs} outputs a drive, old driven twice, {count} trials a cell\n");
    println!("| drives of old differ in | planted | found | new driven again |\n|---|---|---|---|");
    for (row, noise) in NOISE.into_iter().enumerate() {
        for (column, planted) in PLANTED.into_iter().enumerate() {
            if !cells.has(&planted.to_string(), noise) {
                continue;
            }
            let cell = (row * PLANTED.len() + column) as u64;
            let done = trials(count, |trial| self::trial(outputs, noise, planted, cell << 32 | trial));
            let found = done.iter().filter(|trial| trial.differs && trial.found).count();
            let again = done.iter().filter(|trial| trial.again).count();
            println!("| {} % | {planted} | {} | {again} |", noise * 100.0, share(found, done.len()));
        }
    }
    println!("\n| one build against itself, drives differ in | called different | new driven again |\n|---|---|---|");
    for (row, noise) in NOISE.into_iter().enumerate().skip(1).filter(|(_, noise)| cells.has(SELF, *noise)) {
        let done = trials(alone / 2, |trial| self::trial(outputs, noise, 0, (row as u64 + 100) << 32 | trial));
        let called = done.iter().filter(|trial| trial.differs).count();
        let again = done.iter().filter(|trial| trial.again).count();
        println!("| {} % | {} | {again} |", noise * 100.0, share(called, done.len()));
    }
    println!("\n{:.0} s", clock.now().as_secs_f64());
}
