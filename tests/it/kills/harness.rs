//! Captures that are killed again and again, and what is left of them.
//!
//! A round is one recording: a child captures a topic that is filled meanwhile, is killed at some instant, a new child goes on,
//! and so forth; the last one is let end. The child says after each checkpoint what is acknowledged and how long its newest
//! segment is then. So it is known what a loss of power may take: bytes behind that length, files that came later, and the
//! last rename. Some kills take a part of it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rehearsal::capture::{CaptureProgress, CaptureSettings, Until, capture};
use rehearsal::clock::{Clock, Stop, SystemClock};
use rehearsal::recording::{Columns, Manifest, Recording, RecordingWriter, Standing};
use rehearsal::samples::Broker;
use tempfile::TempDir;

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 3;

/// Kills of one recording.
const KILLS_A_ROUND: u64 = 25;

/// A kill counts as near a flush, a rotation or a seal if it came no later than this after it began.
const NEAR: Duration = Duration::from_millis(1);

/// Bounds the wait for what a kill shall be near to.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came of the kills.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) kills: u64,
    /// Kills at most a millisecond after a row group began to be written, after a rotation and after a seal began.
    pub(crate) near_flush: u64,
    pub(crate) near_rotation: u64,
    pub(crate) near_seal: u64,
    /// Kills after which bytes, files or renames that nobody had made sure of were taken away.
    pub(crate) power_lost: u64,
    pub(crate) recordings: u64,
    pub(crate) events: u64,
    /// Children that found acknowledged events gone.
    pub(crate) lost: u64,
    /// Events that a recording lacks, holds twice, or holds otherwise than they were produced.
    pub(crate) wrong: u64,
}

/// Kills as many captures; `child` makes the command that ends in [`child`].
pub(crate) fn kill(kills: u64, seed: u64, child: &dyn Fn() -> Command) -> Figures {
    let mut figures = Figures::default();
    let mut chance = Chance(seed);
    while figures.kills < kills {
        let left = kills - figures.kills;
        Round::begin(child).run(left.min(KILLS_A_ROUND), &mut chance, &mut figures);
    }
    figures
}

/// What the child does: captures what the environment names, and says what is acknowledged. Returns false where it names nothing.
pub(crate) fn child() -> bool {
    let Ok(arguments) = std::env::var("REHEARSAL_KILLED") else { return false };
    let (brokers, out) = arguments.split_once(' ').unwrap();
    let out = Path::new(out);
    let mut settings = CaptureSettings::new(brokers, [TOPIC]);
    settings.until = Until::Stopped;
    settings.checkpoint_every = Duration::from_millis(2);
    settings.properties.set("fetch.wait.max.ms", "5").unwrap();
    let stop = Stop::new();
    let asked = stop.clone();
    std::thread::spawn(move || {
        // A byte asks to seal.
        if std::io::stdin().read(&mut [0]).is_ok_and(|read| read > 0) {
            asked.raise();
        }
    });
    let manifest = out.join("manifest.json");
    let mut kept = None;
    let mut tell = |progress: &CaptureProgress| {
        let number = fs::metadata(&manifest).map(|file| file.ino()).ok();
        if number.is_some() && number != kept {
            // What stood there at a time when its rename was on the disk.
            fs::copy(&manifest, out.with_extension("manifest")).unwrap();
            kept = number;
        }
        let (name, length) = newest_segment(out);
        let next: Vec<String> =
            progress.acknowledged.iter().map(|one| format!("{}={}", one.partition, one.next)).collect();
        let mut stdout = std::io::stdout();
        writeln!(stdout, "\n@ {name} {length} {}", next.join(",")).and_then(|()| stdout.flush()).unwrap();
    };
    capture(&settings, out, &SystemClock::start(), &stop, &mut tell).unwrap();
    true
}

fn segment(out: &Path, number: u64) -> PathBuf {
    out.join(format!("segments/{number:06}.parquet"))
}

/// Number and length of the newest segment; 0 and 0 where there is none.
fn newest_segment(out: &Path) -> (u64, u64) {
    let entries = fs::read_dir(out.join("segments")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().strip_suffix(".parquet")?.parse().ok();
    let number = entries.filter_map(name).max().unwrap_or(0);
    (number, fs::metadata(segment(out, number)).map_or(0, |file| file.len()))
}

/// What a child said last.
#[derive(Debug, Clone, Default)]
struct Said {
    segment: u64,
    length: u64,
    next: BTreeMap<i32, i64>,
}

impl Said {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("@ ")?.split(' ');
        let (segment, length) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let next = parts.next()?.split(',').filter_map(|one| one.split_once('='));
        let next = next.map(|(partition, next)| (partition.parse().unwrap(), next.parse().unwrap())).collect();
        Some(Self { segment, length, next })
    }
}

/// What a kill is to be near to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Near {
    Nothing,
    Flush,
    Rotation,
    Seal,
}

/// One recording, from its first child to its last.
struct Round<'c> {
    command: &'c dyn Fn() -> Command,
    folder: TempDir,
    broker: Broker,
    feed: Feed,
    clock: SystemClock,
    acknowledged: BTreeMap<i32, i64>,
}

impl<'c> Round<'c> {
    fn begin(command: &'c dyn Fn() -> Command) -> Self {
        let broker = Broker::start([(TOPIC, PARTITIONS)]).unwrap();
        let feed = Feed::begin(broker.brokers());
        let folder = TempDir::new().unwrap();
        Self { command, folder, broker, feed, clock: SystemClock::start(), acknowledged: BTreeMap::new() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn run(mut self, kills: u64, chance: &mut Chance, figures: &mut Figures) {
        for _ in 0..kills {
            // Most kills are near something, as there the harm would be done.
            let near = match chance.below(20) {
                0..6 => Near::Nothing,
                6..16 => Near::Flush,
                16 => Near::Rotation,
                _ => Near::Seal,
            };
            self.kill_one(near, chance, figures);
            figures.kills += 1;
            if RecordingWriter::standing(self.out()).unwrap() == Standing::Sealed {
                break;
            }
        }
        let produced = self.feed.end();
        self.finish(produced, figures);
    }

    fn kill_one(&mut self, near: Near, chance: &mut Chance, figures: &mut Figures) {
        let running = Running::start(&(self.command)(), self.broker.brokers(), &self.out());
        let near_what = match near {
            Near::Nothing => {
                self.clock.wait_until(self.clock.now() + Duration::from_micros(chance.below(150_000)));
                None
            }
            _ => self.wait_for(near, &running, chance),
        };
        running.kill();
        let late = near_what.map(|began| self.clock.now().saturating_sub(began));
        if late.is_some_and(|late| late <= NEAR) {
            match near {
                Near::Flush => figures.near_flush += 1,
                Near::Rotation => figures.near_rotation += 1,
                Near::Seal => figures.near_seal += 1,
                Near::Nothing => {}
            }
        }
        let (first, last) = running.end();
        // What a child finds at its start is what earlier ones had acknowledged, or more.
        if let Some(first) = first {
            let less = |(partition, next): (&i32, &i64)| first.next.get(partition).is_none_or(|found| found < next);
            figures.lost += u64::from(self.acknowledged.iter().any(less));
        }
        if let Some(last) = last {
            self.acknowledged.clone_from(&last.next);
            if chance.below(3) == 0 && lose_power(&self.out(), &last, chance) {
                figures.power_lost += 1;
            }
        }
    }

    /// Watches the recording until what a kill shall be near to begins; returns a time that is no later than that.
    fn wait_for(&self, near: Near, running: &Running, chance: &mut Chance) -> Option<Duration> {
        let out = self.out();
        let end = self.clock.now() + PATIENCE;
        let mut flushes = 1 + chance.below(12);
        let (mut number, mut length) = newest_segment(&out);
        let being_written = out.join("manifest.json.new");
        let manifest = out.join("manifest.json");
        let known = |path: &Path| fs::metadata(path).map(|file| file.ino()).ok();
        let mut written = known(&manifest);
        let mut asked = false;
        loop {
            // The time before the look: what is seen now began after the look before, of which `ahead` is earlier still.
            let ahead = self.clock.now();
            if ahead > end {
                return None;
            }
            if segment(&out, number + 1).exists() {
                (number, length) = (number + 1, 0);
            }
            let now = fs::metadata(segment(&out, number)).map_or(0, |file| file.len());
            let grown = now > length;
            length = now;
            let manifest_moves = being_written.exists() || {
                let now = known(&manifest);
                std::mem::replace(&mut written, now) != now
            };
            flushes -= u64::from(grown && flushes > 0);
            let there = match near {
                Near::Flush => flushes == 0,
                // The first manifest is that of the resume.
                Near::Rotation => flushes == 0 && manifest_moves,
                Near::Seal if flushes > 0 => false,
                Near::Seal if !asked => {
                    asked = true;
                    running.ask_to_seal();
                    false
                }
                Near::Seal => manifest_moves || grown && chance.below(2) == 0,
                Near::Nothing => true,
            };
            if there {
                let due = self.clock.now() + Duration::from_micros(chance.below(700));
                while self.clock.now() < due {
                    std::hint::spin_loop();
                }
                return Some(ahead);
            }
        }
    }

    /// Lets a last child end, and holds the recording against what was produced.
    fn finish(self, produced: BTreeMap<i32, i64>, figures: &mut Figures) {
        let out = self.out();
        let mut wanted = produced;
        if RecordingWriter::standing(&out).unwrap() == Standing::Sealed {
            // A seal came ahead of its kill: what was taken until then must stand.
            wanted.clone_from(&self.acknowledged);
        } else {
            let mut settings = CaptureSettings::new(self.broker.brokers(), [TOPIC]);
            settings.properties.set("fetch.wait.max.ms", "5").unwrap();
            let mut first = None;
            let mut tell = |progress: &CaptureProgress| {
                first.get_or_insert_with(|| progress.acknowledged.clone());
            };
            capture(&settings, &out, &SystemClock::start(), &Stop::new(), &mut tell).unwrap();
            let found: BTreeMap<i32, i64> =
                first.iter().flat_map(|all| all.iter().map(|one| (one.partition, one.next))).collect();
            let less = |(partition, next): (&i32, &i64)| found.get(partition).is_none_or(|found| found < next);
            figures.lost += u64::from(self.acknowledged.iter().any(less));
        }
        let recording = Recording::open(&out).unwrap();
        assert_eq!(recording.verify().unwrap(), []);
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for batch in recording.batches(Columns::ALL) {
            for event in batch.unwrap().iter() {
                let expected = next.entry(event.partition).or_default();
                let value = format!("{}:{expected}", event.partition);
                figures.wrong += u64::from(event.offset != *expected || event.value != Some(value.as_bytes()));
                *expected = event.offset + 1;
            }
        }
        for (partition, wanted) in wanted {
            figures.wrong += (wanted - next.get(&partition).copied().unwrap_or(0)).max(0).cast_unsigned();
        }
        figures.events += recording.len();
        figures.recordings += 1;
    }
}

/// Takes away a part of what nobody had made sure of when the child was killed; returns whether there was any.
fn lose_power(out: &Path, said: &Said, chance: &mut Chance) -> bool {
    let mut lost = false;
    let vouched = named_in_manifest(out);
    let (newest, _) = newest_segment(out);
    for number in (said.segment..=newest).rev() {
        let path = segment(out, number);
        let Ok(length) = fs::metadata(&path).map(|file| file.len()) else { continue };
        // A manifest that names a segment was written after all of it was on the disk.
        let named = vouched.get(&format!("segments/{number:06}.parquet")).copied().unwrap_or(0);
        let sure = if number == said.segment { said.length.max(named) } else { named };
        if length == sure {
            continue;
        }
        // A file may be gone with its name, end anywhere, or lack a block ahead of what is there.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let within = sure + chance.below(length - sure);
        match chance.below(3) {
            0 if sure == 0 => fs::remove_file(&path).unwrap(),
            0 | 1 => file.set_len(within).unwrap(),
            _ => file.write_all_at(&vec![0; 512.min((length - within) as usize)], within).unwrap(),
        }
        lost = true;
    }
    let older = out.with_extension("manifest");
    let manifest = out.join("manifest.json");
    // The last rename, unless what it put there was told of.
    if older.exists() && chance.below(2) == 0 && fs::read(&older).unwrap() != fs::read(&manifest).unwrap_or_default() {
        fs::copy(&older, &manifest).unwrap();
        lost = true;
    }
    lost
}

/// Segments that the manifest names, with their lengths.
fn named_in_manifest(out: &Path) -> BTreeMap<String, u64> {
    let Ok(text) = fs::read(out.join("manifest.json")) else { return BTreeMap::new() };
    let manifest: Manifest = serde_json::from_slice(&text).unwrap();
    manifest.segments.into_iter().map(|facts| (facts.file, facts.bytes.unwrap_or(0))).collect()
}

/// A child under way.
struct Running {
    child: Mutex<Child>,
    input: Mutex<ChildStdin>,
    listening: JoinHandle<(Option<Said>, Option<Said>)>,
}

impl Running {
    fn start(command: &Command, brokers: &str, out: &Path) -> Self {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args()).env("REHEARSAL_KILLED", format!("{brokers} {}", out.display()));
        let mut child = again.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let listening = std::thread::spawn(move || {
            let mut said = (None, None);
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(now) = Said::parse(&line) {
                    said.0.get_or_insert_with(|| now.clone());
                    said.1 = Some(now);
                }
            }
            said
        });
        Self { child: Mutex::new(child), input: Mutex::new(input), listening }
    }

    fn ask_to_seal(&self) {
        // It may be gone already.
        let _ = self.input.lock().unwrap().write_all(b"!");
    }

    fn kill(&self) {
        let _ = self.child.lock().unwrap().kill();
    }

    /// Returns what the child said first and last, once it is gone.
    fn end(self) -> (Option<Said>, Option<Said>) {
        self.child.into_inner().unwrap().wait().unwrap();
        self.listening.join().unwrap()
    }
}

/// Fills the topic until it is ended.
struct Feed {
    stop: Arc<AtomicBool>,
    filling: JoinHandle<BTreeMap<i32, i64>>,
}

impl Feed {
    fn begin(brokers: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (brokers, stopped) = (brokers.to_owned(), Arc::clone(&stop));
        let filling = std::thread::spawn(move || {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers).set("linger.ms", "0");
            config.set("enable.idempotence", "false").set("max.in.flight.requests.per.connection", "1");
            let producer: BaseProducer = config.create().unwrap();
            let clock = SystemClock::start();
            let mut next: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
            let sent = AtomicU64::new(0);
            while !stopped.load(Ordering::SeqCst) {
                for (&partition, next) in &mut next {
                    let value = format!("{partition}:{next}");
                    producer.send(BaseRecord::<[u8], str>::to(TOPIC).partition(partition).payload(&value)).unwrap();
                    *next += 1;
                }
                producer.poll(Duration::ZERO);
                let due = Duration::from_micros(700 * sent.fetch_add(1, Ordering::Relaxed));
                clock.wait_until(due);
            }
            producer.flush(Duration::from_secs(30)).unwrap();
            next
        });
        Self { stop, filling }
    }

    /// Returns how many events each partition holds.
    fn end(&mut self) -> BTreeMap<i32, i64> {
        self.stop.store(true, Ordering::SeqCst);
        let filling = std::mem::replace(&mut self.filling, std::thread::spawn(BTreeMap::new));
        filling.join().unwrap()
    }
}

/// Draws of a seed, by `SplitMix64` (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    /// A number below `end`, which is not zero.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
