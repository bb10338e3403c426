//! Captures that are killed again and again, and what is left of them.
//!
//! A round is one recording: a child captures a topic that is filled meanwhile, is killed at some instant, a new child goes on,
//! and so forth; the last one is let end. Each child tells through a pair of sockets every step that it takes on the recording's
//! files, ahead of it and behind it, and between them what it acknowledges. So it is known by order and by the clock what a
//! kill came next to, and what of the files nobody had made sure of: after some kills a part of that is lost, too, and after some
//! the manifest. What is captured, and whether to a directory or a store, goes by the round.

mod aim;
mod bucket;
mod calls;
pub(crate) mod chance;
mod child;
pub(crate) mod disk;
mod feed;
mod figures;
mod near;
pub(crate) mod running;
mod sort;
pub(crate) mod steps;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rehearsal::clock::{Clock, SystemClock};
use rehearsal::recording::{Columns, Recording, RecordingError, RecordingWriter, Standing};
use rehearsal::samples::Broker;
use tempfile::TempDir;

pub(crate) use child::child;
pub(crate) use figures::Figures;
pub(crate) use near::Near;
pub(crate) use sort::Sort;

use aim::{Aim, STORE_PATIENCE};
use bucket::Bucket;
use chance::Chance;
use child::{Acknowledged, manifest_of, out_of};
use disk::Disk;
use feed::{Feed, PARTITIONS, TABLE, TOPIC, event_of, offsets_of};
use near::Following;
use running::Running;
use steps::{Act, Object, Place, Record, Since, There, Told};

/// Kills of one recording at most.
const KILLS_A_ROUND: u64 = 25;

/// Rounds at once: children wait for the disk and for one another most of the time.
const ROUNDS_AT_ONCE: usize = 4;

/// How far apart the events of a partition are: so near that row groups are full, and so far that their footers outweigh them and
/// segments are gathered.
const FAST: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_millis(15);

/// Bounds the wait for a child that is to end by itself.
const ENDING: Duration = Duration::from_secs(60);

/// Kills as many captures; `child` makes the command that ends in [`child`], and `told` hears of the figures after each round.
pub(crate) fn kill(
    kills: u64,
    seed: u64,
    child: &(dyn Fn() -> Command + Sync),
    told: &(dyn Fn(&Figures) + Sync),
) -> Figures {
    let (figures, left, rounds) = (Mutex::new(Figures::default()), AtomicI64::new(kills as i64), AtomicU64::new(0));
    // Of few kills each sort has its share, too.
    let of_one = (kills / ROUNDS_AT_ONCE as u64).clamp(1, KILLS_A_ROUND).cast_signed();
    let work = || {
        loop {
            // What a round does not need it gives back.
            let taken = left.fetch_sub(of_one, Ordering::SeqCst).clamp(0, of_one);
            left.fetch_add(of_one - taken, Ordering::SeqCst);
            if taken == 0 || figures.lock().unwrap().failed.len() > 20 {
                return;
            }
            let number = rounds.fetch_add(1, Ordering::SeqCst);
            let mut chance = Chance(Chance(seed ^ number << 32).below(u64::MAX));
            let every = chance.one_of(&[FAST, SLOW]);
            let round = Round::begin(child, Sort::of_round(number), every, chance);
            let of_round = round.run(taken.cast_unsigned());
            left.fetch_add(taken - of_round.kills.cast_signed(), Ordering::SeqCst);
            let mut figures = figures.lock().unwrap();
            figures.add(of_round);
            told(&figures);
        }
    };
    std::thread::scope(|scope| (0..ROUNDS_AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    figures.into_inner().unwrap()
}

/// Kills one after the other of one recording, each at its place, and after some of them power is lost with all that was unsure.
pub(crate) type Script = &'static [(Place, bool)];

/// A capture is killed between the write of a row group and its sync. The next one finds the row group whole, in memory.
pub(crate) const UNSYNCED_GROUP: Script = &[
    (Place { act: Act::Sync, object: Object::Segment, count: 4, since: Since::Segment, there: There::Ahead }, false),
    (Place { act: Act::Sync, object: Object::Segment, count: 2, since: Since::Segment, there: There::Behind }, true),
];

/// A capture is killed when the folders of its recording are made, and not synced. The next one finds them.
pub(crate) const UNSYNCED_FOLDERS: Script = &[
    (
        Place { act: Act::MakeFolder, object: Object::Folder, count: 2, since: Since::Start, there: There::Behind },
        false,
    ),
    (Place { act: Act::Sync, object: Object::Segment, count: 2, since: Since::Segment, there: There::Behind }, true),
];

/// A capture is killed between two steps of gathering a segment, and the power is lost.
pub(crate) const GATHERINGS: [Script; 6] = [
    &[at_gathering(Act::Create, There::Behind)],
    &[at_gathering(Act::Write, There::Behind)],
    &[at_gathering(Act::Sync, There::Ahead)],
    &[at_gathering(Act::Sync, There::Behind)],
    &[at_gathering(Act::Rename, There::Ahead)],
    &[at_gathering(Act::Rename, There::Behind)],
];

const fn at_gathering(act: Act, there: There) -> (Place, bool) {
    (Place { act, object: Object::Gathered, count: 1, since: Since::Segment, there }, true)
}

/// Kills as a script says.
pub(crate) fn follow(script: Script, child: &(dyn Fn() -> Command + Sync)) -> Figures {
    let mut round = Round::begin(child, Sort::Input, SLOW, Chance(1));
    for (place, power_lost) in script {
        let aim = Aim::At { place: *place, behind: Duration::ZERO, ask_after: None, patience: ENDING };
        if !round.kill_one(&aim) {
            break;
        }
        if *power_lost {
            round.disk.lose_all();
        }
    }
    round.end()
}

/// One recording, from its first child to its last.
struct Round<'c> {
    command: &'c (dyn Fn() -> Command + Sync),
    sort: Sort,
    store: Option<Bucket>,
    _kept: TempDir,
    folder: PathBuf,
    broker: Broker,
    feed: Feed,
    disk: Disk,
    chance: Chance,
    acknowledged: Acknowledged,
    figures: Figures,
}

impl<'c> Round<'c> {
    fn begin(command: &'c (dyn Fn() -> Command + Sync), sort: Sort, every: Duration, chance: Chance) -> Self {
        let broker = Broker::start([(TOPIC, PARTITIONS), (TABLE, PARTITIONS)]).unwrap();
        let feed = Feed::begin(broker.brokers(), sort, every);
        let store = (sort == Sort::Store).then(Bucket::start);
        let kept = TempDir::new().unwrap();
        let folder = kept.path().canonicalize().unwrap();
        let disk = Disk::empty(&folder);
        let (acknowledged, figures) = (Acknowledged::default(), Figures::default());
        Self { command, sort, store, _kept: kept, folder, broker, feed, disk, chance, acknowledged, figures }
    }

    fn run(mut self, kills: u64) -> Figures {
        while self.figures.kills < kills && self.figures.failed.is_empty() {
            let aim = Aim::draw(&mut self.chance, self.sort);
            if !self.kill_one(&aim) {
                break;
            }
            if self.chance.below(3) == 0 {
                self.lose_power();
            }
            if self.chance.below(6) == 0 {
                self.hold_rebuilt();
            }
            if self.chance.below(6) == 0 {
                let lost = self.disk.remove(&manifest_of(&self.folder, self.sort));
                self.figures.without_manifest += u64::from(lost);
            }
            if self.is_sealed() {
                break;
            }
        }
        self.end()
    }

    fn end(mut self) -> Figures {
        let produced = self.feed.end();
        if self.figures.failed.is_empty() {
            self.finish(produced);
        }
        self.figures
    }

    /// Starts a child and kills it; returns false where it ended otherwise.
    fn kill_one(&mut self, aim: &Aim) -> bool {
        let (place, ask_after) = match aim {
            Aim::Blind(_) | Aim::Request { .. } => (None, None),
            Aim::At { place, ask_after, .. } => (Some(*place), *ask_after),
        };
        let mut running = self.start("stopped", place);
        if let (Aim::Request { number, answered }, Some(store)) = (aim, &self.store) {
            store.kill_at(running.process(), *number, *answered);
        }
        let (mut following, mut checkpoints, mut there) = (Following::default(), 0, false);
        let clock = SystemClock::start();
        let patience = match aim {
            Aim::Blind(after) => *after,
            Aim::Request { .. } => STORE_PATIENCE,
            Aim::At { patience, .. } => *patience,
        };
        while let Some(left) = patience.checked_sub(clock.now()).filter(|left| !left.is_zero()) {
            let Some(record) = running.hear(Some(left)) else { break };
            self.take(&record, &mut following);
            checkpoints += u64::from(matches!(record.told, Told::Said(_)));
            if matches!(record.told, Told::Said(_)) && Some(checkpoints) == ask_after {
                running.ask_to_seal();
            }
            if record.told == Told::There {
                there = true;
                break;
            }
        }
        if let (true, Aim::At { behind, .. }) = (there, aim) {
            let due = clock.now() + *behind;
            while clock.now() < due {
                std::hint::spin_loop();
            }
        }
        let killed_ns = running.kill();
        // What it told ahead of the kill and nobody has heard yet.
        while let Some(record) = running.hear(None) {
            self.take(&record, &mut following);
        }
        let ended = running.end();
        self.settle();
        if ended.signal() != Some(9) {
            if !ended.success() {
                self.figures.failed.push(format!("a child ended with {ended}"));
            }
            return false;
        }
        self.figures.kills += 1;
        *self.figures.sorts.entry(self.sort).or_default() += 1;
        let by_store = self.store.as_ref().is_some_and(Bucket::has_killed);
        match aim {
            Aim::Blind(_) => self.figures.blind += 1,
            Aim::Request { .. } => self.figures.at_requests += u64::from(by_store),
            Aim::At { place, .. } if there && place.there != There::GoOn => self.figures.stood += 1,
            Aim::At { .. } => {}
        }
        if let Some(near) = following.near(killed_ns) {
            *self.figures.near.entry(near).or_default() += 1;
        }
        true
    }

    fn start(&self, until: &str, place: Option<Place>) -> Running {
        let arguments = [self.broker.brokers(), self.folder.to_str().unwrap(), until, self.sort.name()];
        Running::start(&(self.command)(), self.store.as_ref(), arguments, place)
    }

    fn take(&mut self, record: &Record, following: &mut Following) {
        self.disk.follow(&record.told);
        following.follow(record);
        if let Told::Said(text) = &record.told {
            self.figures.lost += u64::from(self.acknowledged.rise_to(Acknowledged::parse(text)));
        }
    }

    fn settle(&mut self) {
        if let Err(wrong) = self.disk.settle() {
            self.figures.failed.push(wrong);
        }
    }

    fn lose_power(&mut self) {
        let taken = self.disk.lose_power(&mut self.chance);
        self.figures.power_lost += u64::from(taken.bytes + taken.names > 0);
        self.figures.bytes_lost += u64::from(taken.bytes > 0);
        self.figures.names_lost += u64::from(taken.names > 0);
    }

    /// Whether the recording is sealed; what can be neither read nor gone on with is a failure.
    fn is_sealed(&mut self) -> bool {
        if let Some(store) = &self.store {
            // Where it is whole its manifest stands there.
            return Recording::open(store.out()).is_ok_and(|recording| recording.manifest().sealed);
        }
        match RecordingWriter::standing(out_of(&self.folder)) {
            Ok(standing) => standing == Standing::Sealed,
            Err(error) => {
                self.figures.failed.push(format!("nobody can go on: {error}"));
                false
            }
        }
    }

    /// Lets a last child end where the recording is not sealed, and holds it against what was produced.
    fn finish(&mut self, mut produced: BTreeMap<(String, i32), i64>) {
        // The seal of a child that was killed may be lost, too.
        if self.is_sealed() && self.chance.below(2) == 0 {
            self.lose_power();
        }
        if self.is_sealed() {
            // What was taken until the seal must stand.
            produced.clone_from(&self.acknowledged.0);
        } else {
            // What lies in a spool comes to the store without the cluster, too.
            let rebuilt = self.sort == Sort::Store && !self.acknowledged.0.is_empty() && self.chance.below(3) == 0;
            if rebuilt {
                produced.clone_from(&self.acknowledged.0);
                self.figures.rebuilt += 1;
            }
            let ended = self.end_last(if rebuilt { "rebuilt" } else { "caught-up" });
            if !ended.success() {
                return self.figures.failed.push(format!("the last child ended with {ended}"));
            }
            // What it sealed is sure, all of it.
            if self.chance.below(2) == 0 {
                self.lose_power();
            }
        }
        let out = self.store.as_ref().map_or_else(|| out_of(&self.folder), Bucket::out);
        match self.hold_against(&out, &produced) {
            Ok(events) => {
                self.figures.events += events;
                self.figures.recordings += 1;
            }
            Err(error) => self.figures.failed.push(format!("the recording cannot be read: {error}")),
        }
    }

    /// Rebuilds a copy of the recording, without its manifest, and holds that against what was acknowledged.
    fn hold_rebuilt(&mut self) {
        if self.store.is_some() || self.acknowledged.0.is_empty() {
            return;
        }
        let copies = TempDir::new().unwrap();
        let copy = copies.path().join("copy");
        std::fs::create_dir_all(copy.join("segments")).unwrap();
        for entry in std::fs::read_dir(out_of(&self.folder).join("segments")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join("segments").join(path.file_name().unwrap())).unwrap();
        }
        let acknowledged = self.acknowledged.0.clone();
        let held = Recording::rebuild(&*copy).and_then(|_| self.hold_against(&copy, &acknowledged));
        match held {
            Ok(_) => self.figures.rebuilt += 1,
            Err(error) => self.figures.failed.push(format!("the recording cannot be rebuilt: {error}")),
        }
    }

    fn end_last(&mut self, until: &str) -> ExitStatus {
        let mut running = self.start(until, None);
        let mut following = Following::default();
        let clock = SystemClock::start();
        while let Some(left) = ENDING.checked_sub(clock.now()).filter(|left| !left.is_zero()) {
            let Some(record) = running.hear(Some(left)) else { break };
            self.take(&record, &mut following);
        }
        if clock.now() >= ENDING {
            running.kill();
        }
        let ended = running.end();
        self.settle();
        ended
    }

    /// Holds what was recorded against what was produced, the number of events by partition, each known by its offset; returns how
    /// many events there are.
    fn hold_against(&mut self, out: &Path, produced: &BTreeMap<(String, i32), i64>) -> Result<u64, RecordingError> {
        let recording = Recording::open(out)?;
        let problems = recording.verify()?;
        if !problems.is_empty() {
            self.figures.failed.push(format!("the recording does not verify: {problems:?}"));
        }
        let mut found: BTreeMap<(String, i32), Vec<i64>> = BTreeMap::new();
        for batch in recording.batches(Columns::ALL) {
            for event in batch?.iter() {
                let (key, value) = event_of(event.topic, event.partition, event.offset);
                let (key, value) = (key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
                self.figures.wrong += u64::from((event.key, event.value) != (key, value));
                found.entry((event.topic.to_owned(), event.partition)).or_default().push(event.offset);
            }
        }
        for (place, wanted) in produced {
            let found = found.remove(place).unwrap_or_default();
            let end = found.last().map_or(0, |last| last + 1).max(*wanted);
            let expected = offsets_of(&place.0, place.1, end);
            let differ = (0..expected.len().max(found.len())).filter(|&at| expected.get(at) != found.get(at));
            self.figures.wrong += differ.count() as u64;
        }
        // Of a partition of which nothing was acknowledged there may be a beginning.
        for (place, found) in found {
            let expected = offsets_of(&place.0, place.1, found.last().map_or(0, |last| last + 1));
            self.figures.wrong += u64::from(expected != found);
        }
        Ok(recording.len())
    }
}
