//! Two outcomes of very many outputs held against each other: by `rehearsal compare`, by DuckDB's full outer join on the same
//! files, and by `diff` on sorted lines, in turn, each as a process of its own on two cores.
//!
//! Not a timed benchmark of criterion's: it writes an outcome of 2 million outputs (or as many as `REHEARSAL_BENCH_EVENTS` says),
//! one of nearly the same in nearly the same order and one of the same in another order altogether, lets all of them count how
//! the two differ, insists that they agree on it, and prints medians of `REHEARSAL_BENCH_ROUNDS` (3) and the largest resident set
//! that the kernel saw. `diff` takes a turn once, of more than 2 million outputs only where `REHEARSAL_BENCH_DIFF` is `yes`: it holds
//! both sides in memory.
//!
//! DuckDB does its work in four ways, from the one that does what `compare` does to the cheapest for it:
//!
//! - `occurrence`: joined on topic, key and the number of the output among those of its key, as a key may come again;
//! - `key`: joined on topic and key, which counts wrongly where a key comes twice (here none does);
//! - `hash`: the same on 64 bits of hash of each value, so that values need not be kept for the join;
//! - `stored`: the same on the hashes that outcomes keep beside values, as `compare` does: then values need not be read.

#![expect(clippy::print_stdout, reason = "its figures are all that it has to say")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rehearsal::clock::{Clock, SystemClock};
use rehearsal::outcome::{Ending, EndingReport, Outcome, OutcomeWriter, Output};

type Problem = Box<dyn Error + Send + Sync>;

/// Places by which outputs come apart where both sides are nearly in the same order.
const DISPLACED_MAX: u64 = 100_000;

/// One output in so many says something else in new.
const CHANGED: u64 = 10_000;

fn main() -> Result<(), Problem> {
    let number = |name: &str, otherwise| std::env::var(name).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let outputs = number("REHEARSAL_BENCH_EVENTS", 2_000_000)?;
    let rounds = number("REHEARSAL_BENCH_ROUNDS", 3)?;
    let diff = std::env::var("REHEARSAL_BENCH_DIFF").map_or(outputs <= 2_000_000, |says| says != "no");
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    write(&at("old"), 0..outputs, 0)?;
    write(&at("near"), displaced(outputs), CHANGED)?;
    // A prime's multiples modulo the count visit every output once, in another order.
    write(&at("shuffled"), (0..outputs).map(|place| place * 1_000_000_007 % outputs), CHANGED)?;
    let python = python()?;
    println!("{outputs} pairs, {} changed; {rounds} rounds", outputs.div_ceil(CHANGED));
    println!("{:<10} {:<22} {:>9} {:>9} {:>9}  seconds by round", "order", "by", "median s", "peak MB", "x ours");
    for order in ["near", "shuffled"] {
        let (old, new) = (at("old"), at(order));
        let mut found: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
        // Who comes first must not pay for the disk.
        [&old, &new].into_iter().try_for_each(|outcome| read_through(outcome))?;
        let ways = ["rehearsal compare", "duckdb, stored", "duckdb, hash", "duckdb, key", "duckdb, occurrence"];
        for _ in 0..rounds {
            for (way, name) in ways.iter().enumerate() {
                let run = match name.strip_prefix("duckdb, ") {
                    None => Some(compare(&old, &new)?),
                    Some(join) => duckdb(&python, join, (&old, &new), folder.path())?,
                };
                let Some(run) = run else {
                    println!("{order:<10} {name:<22} out of memory");
                    continue;
                };
                if run.differ != outputs.div_ceil(CHANGED) {
                    return Err(format!("{name} found {} outputs that differ", run.differ).into());
                }
                found.entry(way).or_default().push(run);
            }
        }
        let ours = median(&found[&0]);
        for (way, runs) in &found {
            tell(order, ways[*way], runs, ours);
        }
        if diff {
            tell(order, "sort and diff", &[sorted_and_diffed(&old, &new, folder.path())?], ours);
        }
    }
    Ok(())
}

/// Reads all files of an outcome once, so that they are in memory.
fn read_through(outcome: &Path) -> Result<(), Problem> {
    for file in fs::read_dir(outcome)? {
        std::io::copy(&mut File::open(file?.path())?, &mut std::io::sink())?;
    }
    Ok(())
}

/// One run of a program.
struct Run {
    seconds: f64,
    peak_mb: u64,
    /// Outputs found to differ.
    differ: u64,
}

fn median(runs: &[Run]) -> f64 {
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn tell(order: &str, way: &str, runs: &[Run], ours: f64) {
    let seconds: Vec<String> = runs.iter().map(|run| format!("{:.1}", run.seconds)).collect();
    let peak = runs.iter().map(|run| run.peak_mb).max().unwrap_or_default();
    let (median, seconds) = (median(runs), seconds.join(" "));
    println!("{order:<10} {way:<22} {median:>9.1} {peak:>9} {:>9.2}  {seconds}", median / ours);
}

/// Numbers below `outputs`, each up to [`DISPLACED_MAX`] places behind its own.
fn displaced(outputs: u64) -> impl Iterator<Item = u64> {
    let (mut waiting, mut next) = (BinaryHeap::new(), 0);
    std::iter::from_fn(move || {
        while next < outputs && waiting.peek().is_none_or(|Reverse((due, _))| *due >= next) {
            let delay = next.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            waiting.push(Reverse((next + delay % DISPLACED_MAX, next)));
            next += 1;
        }
        waiting.pop().map(|Reverse((_, number))| number)
    })
}

/// Writes an outcome of the outputs `numbers`; one in `changed` (if not zero) says another amount.
fn write(path: &Path, numbers: impl Iterator<Item = u64>, changed: u64) -> Result<(), Problem> {
    let mut writer = OutcomeWriter::create(path, &[], &[])?;
    for (sequence, number) in numbers.enumerate() {
        let drawn = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let amount = 100 + drawn % 400 + u64::from(changed > 0 && number % changed == 0);
        let value = format!(
            r#"{{"payment_id":"p-{number:08}","flight":"UA{:04}","passenger":"{drawn:016x}","amount":{amount}.50,"currency":"EUR","paid_at":{}}}"#,
            drawn % 9_999,
            1_357_000_000_000 + number
        );
        writer.output(&Output {
            sequence: sequence as i64,
            arrived_us: sequence as i64,
            topic: "payouts".to_owned(),
            key: Some(format!("p-{number:08}").into_bytes()),
            value: Some(value.into_bytes()),
            ..Output::default()
        })?;
    }
    writer.finish(&EndingReport::new(Ending::Finished, "done"))?;
    Ok(())
}

fn compare(old: &Path, new: &Path) -> Result<Run, Problem> {
    let mut program = on_two_cores(env!("CARGO_BIN_EXE_rehearsal"));
    program.args(["compare", "--exit-zero", "--json"]).args([old, new]);
    let (seconds, peak_mb, said) = run(program)?;
    let report: serde_json::Value = serde_json::from_str(&said)?;
    // What came late is equal all the same, and stands beside.
    let kinds = report["differences"].as_object().into_iter().flatten().filter(|(kind, _)| *kind != "benign-reorder");
    let differ = kinds.filter_map(|(_, count)| count.as_u64()).sum();
    Ok(Run { seconds, peak_mb, differ })
}

/// Joins as DuckDB does with as many threads, and as much memory as `compare` may hold in all: of very many outputs it runs out of
/// that now and then.
const JOIN: &str = r#"
import duckdb, sys
join, old, new, folder = sys.argv[1:]
base = duckdb.connect(config={"threads": 2, "memory_limit": "512MB", "temp_directory": folder + "/duckdb", "preserve_insertion_order": False})
base.execute("SET enable_progress_bar = false")
value = {"hash": "hash(value) AS value", "stored": "value_xxh3 AS value"}.get(join, "value")
number = ", row_number() OVER (PARTITION BY topic, key ORDER BY sequence) AS number" if join == "occurrence" else ""
side = lambda path: f"(SELECT topic, key, {value}{number} FROM read_parquet('{path}/outputs.parquet'))"
on = "o.topic = n.topic AND o.key = n.key" + (" AND o.number = n.number" if number else "")
try:
    lacking, differ = base.execute(f"""
        SELECT count(*) FILTER (o.key IS NULL OR n.key IS NULL), count(*) FILTER (o.value <> n.value)
        FROM {side(old)} o FULL OUTER JOIN {side(new)} n ON {on}""").fetchone()
    assert lacking == 0, lacking
    print(differ)
except duckdb.OutOfMemoryException:
    print("out of memory")
"#;

/// What DuckDB did, none where its memory was not enough for it.
fn duckdb(python: &Path, join: &str, (old, new): (&Path, &Path), folder: &Path) -> Result<Option<Run>, Problem> {
    let mut program = on_two_cores(python);
    program.args(["-c", JOIN, join]).args([old, new, folder]);
    let (seconds, peak_mb, said) = run(program)?;
    if said.trim() == "out of memory" {
        return Ok(None);
    }
    Ok(Some(Run { seconds, peak_mb, differ: said.trim().parse().map_err(|_| format!("DuckDB said {said:?}"))? }))
}

/// The lines of both sides sorted, then held against each other. Writing them as lines is not timed.
fn sorted_and_diffed(old: &Path, new: &Path, folder: &Path) -> Result<Run, Problem> {
    let text = |path: &Path| path.with_extension("txt");
    for path in [old, new] {
        let mut lines = BufWriter::new(File::create(text(path))?);
        for batch in Outcome::open(path)?.outputs()? {
            let batch = batch?;
            for row in 0..batch.len() {
                let output = batch.get(row);
                lines.write_all(output.key.unwrap_or_default())?;
                lines.write_all(b"\t")?;
                lines.write_all(output.value.unwrap_or_default())?;
                lines.write_all(b"\n")?;
            }
        }
        lines.flush()?;
    }
    let (mut seconds, mut peak_mb) = (0.0, 0);
    for path in [old, new] {
        let mut program = on_two_cores("sort");
        program.env("LC_ALL", "C").args(["-S", "256M", "--parallel=2", "-T"]).arg(folder).arg("-o");
        program.arg(path.with_extension("sorted")).arg(text(path));
        let (took, peak, _) = run(program)?;
        (seconds, peak_mb) = (seconds + took, peak_mb.max(peak));
        fs::remove_file(text(path))?;
    }
    let mut program = on_two_cores("diff");
    program.arg("--speed-large-files").args([old, new].map(|path| path.with_extension("sorted")));
    let (took, peak, said) = run(program)?;
    let differ = said.lines().filter(|line| line.starts_with('>')).count() as u64;
    for path in [old, new] {
        fs::remove_file(path.with_extension("sorted"))?;
    }
    Ok(Run { seconds: seconds + took, peak_mb: peak_mb.max(peak), differ })
}

/// A program that runs on the first two cores, where the machine has more.
fn on_two_cores(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if thread::available_parallelism().map_or(1, usize::from) <= 2 {
        return Command::new(program);
    }
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0,1"]).arg(program);
    pinned
}

/// Seconds that a program took, the largest resident set in MB that the kernel saw, and what it said.
fn run(mut program: Command) -> Result<(f64, u64, String), Problem> {
    let clock = SystemClock::start();
    let begun = clock.now();
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let said = child.stdout.take().map(|stdout| thread::spawn(move || std::io::read_to_string(stdout)));
    let mut peak_kib = 0;
    let status = loop {
        if let Some(kib) = peak_so_far_kib(child.id()) {
            peak_kib = peak_kib.max(kib);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // The kernel keeps the peak; looking at it now and then misses only what the last moment added.
        thread::park_timeout(Duration::from_millis(10));
    };
    let seconds = clock.now().saturating_sub(begun).as_secs_f64();
    let said = said.and_then(|reading| reading.join().ok()).transpose()?.unwrap_or_default();
    // `diff` says by 1 that there are differences.
    if status.code().is_none_or(|code| code > 1) {
        return Err(format!("{program:?} failed: {status}").into());
    }
    Ok((seconds, peak_kib * 1_024 / 1_000_000, said))
}

/// Largest resident set of the process so far, in KiB.
fn peak_so_far_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

/// The interpreter with DuckDB that the tests of other readers use.
fn python() -> Result<PathBuf, Problem> {
    let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/python")).output()?;
    if !made.status.success() {
        return Err(format!("no DuckDB: {}", String::from_utf8_lossy(&made.stderr).trim()).into());
    }
    Ok(PathBuf::from(String::from_utf8(made.stdout)?.trim()))
}
