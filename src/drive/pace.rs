//! Handing over by an absolute schedule, on a thread of its own.
//!
//! Every due time is measured from one start. Late is late: no due time moves because an earlier one slipped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::feed::{Announced, Batch, CHUNKS_WAITING, Chunk, Feed};
use super::line::LineFormat;
use super::pipe::Pipe;
use super::process::Stops;
use super::shared::Shared;
use super::{DeliverySource, DriveError, DriveRules};
use crate::clock::Clock;
use crate::outcome::{Committed, Lateness};
use crate::plan::{Delivery, Phase};
use crate::recording::Recording;

/// Longest that receipts wait for the end of their chunk.
const RECEIPTS_LATE: Duration = Duration::from_millis(250);

/// Pause between looks at a pipe that is waited on to run empty.
const LOOK: Duration = Duration::from_micros(500);

/// Longest wait, in microseconds, until it is known of commits that they cover everything.
const COVERED_US: i64 = 250_000;

/// Lateness beyond this counts as this, in microseconds (a day).
const LATENESS_MAX_US: u64 = 86_400_000_000;

/// What the pacing thread tells.
#[derive(Debug)]
pub(super) enum Note {
    /// Deliveries and when each was handed over, in microseconds since the schedule's start; none if never.
    Receipts { batch: Arc<Batch>, from: usize, sent_us: Vec<Option<i64>> },
    /// So many deliveries were handed over once more, to a process that was started again.
    Again(u64),
    /// Handing over has ended.
    Ended { end: PaceEnd, lateness: Option<Lateness> },
}

/// Why handing over ended.
#[derive(Debug)]
pub(super) enum PaceEnd {
    /// Everything was taken and end of input was reached.
    Complete,
    /// The build took nothing for longer than the drain time-out.
    Stuck,
    /// The build closed its standard input.
    Closed,
    /// The drive was cut short.
    Cut,
    /// The process is gone, and comes again: never the end.
    Away,
    /// The plan or the recording could not be read on.
    Failed(DriveError),
}

/// What it takes to hand over again what a process had that is gone.
pub(super) struct Again<'a> {
    pub(super) plan: &'a dyn DeliverySource,
    pub(super) recording: &'a Recording,
    pub(super) format: LineFormat,
    pub(super) stops: &'a Stops,
    /// Standard input of each process that is started again.
    pub(super) stdins: Receiver<Pipe>,
    /// What had been committed when the one ahead of it was gone.
    pub(super) wanted: Receiver<Vec<Committed>>,
    /// How often it has come back.
    pub(super) come_back: u64,
}

pub(super) struct Pace<'a> {
    pub(super) stdin: Pipe,
    /// None where no fault ends the process.
    pub(super) again: Option<Again<'a>>,
    /// Deliveries of the plan that were handed over.
    pub(super) handed: usize,
    pub(super) rules: &'a DriveRules,
    pub(super) paced: bool,
    pub(super) shared: &'a Shared,
    pub(super) clock: &'a dyn Clock,
    pub(super) notes: SyncSender<Note>,
    /// Takes the memory of chunks that have been handed over.
    pub(super) used: SyncSender<Vec<u8>>,
    pub(super) timing: Timing,
    /// When the write began that took the last bytes.
    pub(super) written_at: Duration,
}

/// How well the schedule is kept.
#[derive(Debug)]
pub(super) struct Timing {
    lateness: Histogram<u64>,
    late: u64,
    planned_us: i64,
    sent_us: i64,
    warm_up: u64,
}

impl Timing {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let lateness = Histogram::new_with_bounds(1, LATENESS_MAX_US, 3)?;
        Ok(Self { lateness, late: 0, planned_us: 0, sent_us: 0, warm_up: 0 })
    }

    pub(super) fn note(&mut self, due_us: i64, sent_us: i64) {
        let late_us = (sent_us - due_us).max(0);
        self.lateness.saturating_record(late_us as u64);
        self.late += u64::from(late_us > 5_000);
        self.planned_us = self.planned_us.max(due_us);
        self.sent_us = self.sent_us.max(sent_us);
    }

    pub(super) fn report(&self) -> Option<Lateness> {
        let at = |quantile| self.lateness.value_at_quantile(quantile) as i64;
        (!self.lateness.is_empty()).then(|| Lateness {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.lateness.max() as i64,
            beyond_5ms: self.late as f64 / self.lateness.len() as f64,
            slow_down: if self.planned_us > 0 { self.sent_us as f64 / self.planned_us as f64 - 1.0 } else { 0.0 },
        })
    }
}

impl Pace<'_> {
    /// Hands over all chunks and closes the build's standard input.
    pub(super) fn run(mut self, chunks: &Receiver<Result<Chunk, DriveError>>) {
        let mut end = self.hand_over_all(chunks).err();
        if end.is_none() {
            end = self.finish().err();
        }
        // Deliveries that are never handed over have receipts that say so.
        for chunk in chunks {
            match chunk {
                Ok(chunk) => self.receipt(&chunk.batch, 0, vec![None; chunk.batch.deliveries.len()]),
                Err(error) => end = end.or(Some(PaceEnd::Failed(error))),
            }
        }
        self.shared.end_input(self.clock.now());
        let lateness = self.timing.report().filter(|_| self.paced);
        let Self { stdin, notes, .. } = self;
        drop(stdin);
        // Nobody listens only where the drive has failed already.
        let _ = notes.send(Note::Ended { end: end.unwrap_or(PaceEnd::Complete), lateness });
    }

    fn hand_over_all(&mut self, chunks: &Receiver<Result<Chunk, DriveError>>) -> Result<(), PaceEnd> {
        self.wait_until_ready()?;
        for chunk in chunks {
            let chunk = chunk.map_err(PaceEnd::Failed)?;
            self.hand_over(&chunk)?;
            // Where it is not wanted back it is simply freed.
            let _ = self.used.try_send(chunk.lines);
        }
        Ok(())
    }

    /// Hands over one chunk; its deliveries have receipts in any case.
    fn hand_over(&mut self, chunk: &Chunk) -> Result<(), PaceEnd> {
        let count = chunk.batch.deliveries.len();
        let (mut row, mut written, mut noted_at) = (0, 0, self.clock.now());
        let mut sent_us: Vec<Option<i64>> = Vec::with_capacity(count);
        let mut result = self.go_on();
        while row < count && result.is_ok() {
            result = self.hand_over_group(chunk, &mut row, &mut written, &mut sent_us);
            if matches!(result, Err(PaceEnd::Away)) {
                // Part of a line went to who is gone.
                written = row.checked_sub(1).map_or(0, |last| chunk.batch.ends[last]);
                result = self.come_back();
            }
            let now = self.clock.now();
            if self.paced && now.saturating_sub(noted_at) >= RECEIPTS_LATE {
                noted_at = now;
                let from = row - sent_us.len();
                self.receipt(&chunk.batch, from, std::mem::take(&mut sent_us));
            }
        }
        let from = row - sent_us.len();
        sent_us.resize(count - from, None);
        if !sent_us.is_empty() {
            self.receipt(&chunk.batch, from, sent_us);
        }
        result
    }

    /// Hands over the deliveries from `row` on that are due together.
    fn hand_over_group(
        &mut self,
        chunk: &Chunk,
        row: &mut usize,
        written: &mut usize,
        sent_us: &mut Vec<Option<i64>>,
    ) -> Result<(), PaceEnd> {
        self.stay()?;
        let deliveries = &chunk.batch.deliveries;
        let warm_up = deliveries[*row].phase == Phase::WarmUp;
        if !warm_up && !self.shared.has_started() {
            self.wait_for_warm_up()?;
            self.start();
        }
        let until_us = if warm_up || !self.paced { i64::MAX } else { self.due(deliveries[*row].due_us)? };
        let together = |delivery: &&crate::plan::Delivery| {
            (delivery.phase == Phase::WarmUp) == warm_up && (warm_up || delivery.due_us <= until_us)
        };
        let rows = *row..*row + deliveries[*row..].iter().take_while(together).count();
        let now = self.clock.now();
        let announced =
            Announced { batch: Arc::clone(&chunk.batch), rows: rows.clone(), at_us: now.as_micros() as i64 };
        self.shared.announce(announced);
        let result = self.write(&chunk.lines[..chunk.batch.ends[rows.end - 1]], written);
        let taken = chunk.batch.ends[rows.clone()].iter().take_while(|end| **end <= *written).count();
        self.note(&chunk.batch, rows.start..rows.start + taken, warm_up, sent_us);
        *row = rows.start + taken;
        self.handed += taken;
        result
    }

    fn note(&mut self, batch: &Batch, rows: Range<usize>, warm_up: bool, sent_us: &mut Vec<Option<i64>>) {
        self.shared.add_sent(rows.len());
        let written_us = self.shared.relative_us(self.written_at.as_micros() as i64);
        if warm_up {
            self.timing.warm_up += rows.len() as u64;
        } else if self.paced {
            batch.deliveries[rows.clone()].iter().for_each(|delivery| self.timing.note(delivery.due_us, written_us));
        }
        sent_us.extend(rows.map(|_| Some(written_us)));
    }

    fn due(&self, due_us: i64) -> Result<i64, PaceEnd> {
        self.shared.wait_until_due(due_us, self.clock).ok_or(PaceEnd::Cut)
    }

    /// Writes `lines[written..]`, as fast as the build takes it.
    fn write(&mut self, lines: &[u8], written: &mut usize) -> Result<(), PaceEnd> {
        let mut blocked: Option<i64> = None;
        while *written < lines.len() {
            // Lines are handed over when the write begins that takes their end: the build can read and answer them before the call
            // returns, which first wakes it. What a full pipe holds up is waited for ahead of that, and so counts as late.
            let began = self.clock.now();
            match self.stdin.write(&lines[*written..]) {
                Ok(Some(count)) => {
                    self.written_at = began;
                    *written += count;
                    if blocked.take().is_some() {
                        self.shared.note_taken(self.clock.now());
                    }
                }
                Ok(None) => {
                    self.go_on()?;
                    self.stay()?;
                    self.stuck_since(&mut blocked)?;
                    self.stdin.wait().map_err(|_| self.closed())?;
                }
                Err(_) => return Err(self.closed()),
            }
        }
        Ok(())
    }

    /// Gives up on a build that has shown no sign of life since `blocked` for longer than the drain time-out.
    fn stuck_since(&self, blocked: &mut Option<i64>) -> Result<(), PaceEnd> {
        let now_us = self.clock.now().as_micros() as i64;
        if self.again.as_ref().is_some_and(|again| again.stops.go_on()) {
            // It is stopped, or told to end.
            *blocked = Some(now_us);
        }
        let since = (*blocked.get_or_insert(now_us)).max(self.shared.progress_us());
        if now_us - since > self.rules.drain_timeout.as_micros() as i64 { Err(PaceEnd::Stuck) } else { Ok(()) }
    }

    /// Waits until commits cover the warm-up, or its outputs have been quiet for a while after its last line was taken.
    fn wait_for_warm_up(&mut self) -> Result<(), PaceEnd> {
        if self.timing.warm_up == 0 {
            return Ok(());
        }
        let settle = self.rules.settle.as_micros() as i64;
        let taken = self.wait_until_taken()?;
        loop {
            let now_us = self.clock.now().as_micros() as i64;
            let quiet = now_us - self.shared.output_us().max(taken) >= settle;
            let long = now_us - taken >= self.rules.drain_timeout.as_micros() as i64;
            if quiet || long || self.shared.warm_up_covered() >= self.timing.warm_up {
                return Ok(());
            }
            self.go_on()?;
            thread::park_timeout(LOOK);
        }
    }

    /// Waits until the build has read all that was written; returns when that was.
    fn wait_until_taken(&mut self) -> Result<i64, PaceEnd> {
        let (mut last, mut blocked) = (u64::MAX, None);
        loop {
            // Where the system cannot tell, what is in the pipe counts as taken.
            let unread = self.stdin.unread().unwrap_or(0);
            if unread == 0 {
                return Ok(self.clock.now().as_micros() as i64);
            }
            if unread < last {
                (last, blocked) = (unread, None);
                self.shared.note_taken(self.clock.now());
            }
            self.go_on()?;
            self.stay()?;
            self.stuck_since(&mut blocked)?;
            thread::park_timeout(LOOK);
        }
    }

    /// Sees to it that the build takes the last line before its input ends.
    fn finish(&mut self) -> Result<(), PaceEnd> {
        loop {
            match self.finish_once() {
                Err(PaceEnd::Away) => self.come_back()?,
                finished => return finished,
            }
        }
    }

    fn finish_once(&mut self) -> Result<(), PaceEnd> {
        self.wait_until_taken()?;
        if !self.shared.has_started() {
            self.wait_for_warm_up()?;
            self.start();
        }
        self.let_faults_act()?;
        let Some(Again { stops, .. }) = self.again else { return Ok(()) };
        // From here on nothing begins any more; what began a moment ago is waited for.
        stops.rest();
        while stops.go_on() {
            self.go_on()?;
            self.stay()?;
            thread::park_timeout(LOOK);
        }
        self.stay()
    }

    /// A build commits behind what it takes: faults at its process go on until it has committed everything, or been quiet for a while.
    fn let_faults_act(&self) -> Result<(), PaceEnd> {
        let Some(Again { stops, .. }) = self.again else { return Ok(()) };
        let settle_us = self.rules.settle.as_micros() as i64;
        let mut from_us = self.clock.now().as_micros() as i64;
        loop {
            self.go_on()?;
            self.stay()?;
            let (now_us, progress_us) = (self.clock.now().as_micros() as i64, self.shared.progress_us());
            if stops.act_still(now_us, progress_us, self.rules.settle) {
                from_us = now_us;
            }
            let all = self.shared.commits().is_some_and(|(_, open)| open == 0);
            // Whoever listens takes note of what was handed over a moment later.
            let all = all && now_us - from_us >= settle_us.min(COVERED_US);
            if all || now_us - progress_us.max(from_us) >= settle_us {
                return Ok(());
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Starts the schedule, and with it the faults at the process.
    fn start(&self) {
        self.shared.start(self.clock.now());
        if let Some(again) = &self.again {
            again.stops.act();
        }
    }

    fn wait_until_ready(&self) -> Result<(), PaceEnd> {
        while !self.shared.is_ready() {
            self.go_on()?;
            self.stay()?;
            thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Sees whether the process is there, and still the one that was handed everything up to now.
    fn stay(&self) -> Result<(), PaceEnd> {
        let away = self.again.as_ref().is_some_and(|again| again.stops.ended() > again.come_back);
        if away { Err(PaceEnd::Away) } else { Ok(()) }
    }

    /// Whether standard input was closed because its process is gone.
    fn closed(&self) -> PaceEnd {
        self.stay().err().unwrap_or(PaceEnd::Closed)
    }

    /// Waits until the process is there again, and hands over once more what it had and did not commit.
    fn come_back(&mut self) -> Result<(), PaceEnd> {
        loop {
            let wanted = self.next_process()?;
            match self.hand_over_again(&wanted) {
                Err(PaceEnd::Away) => {}
                handed => return handed,
            }
        }
    }

    /// Waits for the process that is started next; returns what had been committed ahead of it.
    fn next_process(&mut self) -> Result<Vec<Committed>, PaceEnd> {
        let mut stdin = None;
        loop {
            self.go_on()?;
            let Some(again) = &mut self.again else { return Err(PaceEnd::Closed) };
            stdin = stdin.or_else(|| again.stdins.try_recv().ok());
            if stdin.is_some()
                && let Ok(wanted) = again.wanted.try_recv()
                && let Some(stdin) = stdin.take()
            {
                again.come_back += 1;
                self.stdin = stdin;
                return Ok(wanted);
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Hands over everything that was handed over and that `wanted` does not cover, in the order of the plan, each position once and at
    /// once.
    fn hand_over_again(&mut self, wanted: &[Committed]) -> Result<(), PaceEnd> {
        self.wait_until_ready()?;
        let Some(Again { plan, recording, format, .. }) = &self.again else { return Err(PaceEnd::Closed) };
        let (plan, recording, format) = (*plan, *recording, format.clone());
        let (handed, rules, shared) = (self.handed, self.rules, self.shared);
        let mut next = next_positions(plan, wanted);
        let deliveries = plan.deliveries().take(handed).filter_map(move |delivery| {
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(error) => return Some(Err(error)),
            };
            let next = next.entry((delivery.topic, delivery.partition)).or_insert(i64::MIN);
            (delivery.position >= *next).then(|| {
                *next = delivery.position + 1;
                Ok(Delivery { attempt: delivery.attempt + 1, ..delivery })
            })
        });
        thread::scope(|scope| {
            let (sender, chunks) = sync_channel(CHUNKS_WAITING);
            let (_used, used_chunks) = sync_channel(CHUNKS_WAITING);
            let feed = Feed::of(Box::new(deliveries), plan, recording, format, rules, shared, used_chunks);
            scope.spawn(move || feed.run(&sender));
            for chunk in &chunks {
                let chunk = chunk.map_err(PaceEnd::Failed)?;
                let count = chunk.batch.deliveries.len();
                let at_us = self.clock.now().as_micros() as i64;
                self.shared.announce(Announced { batch: Arc::clone(&chunk.batch), rows: 0..count, at_us });
                let mut written = 0;
                let result = self.write(&chunk.lines, &mut written);
                let taken = chunk.batch.ends.iter().take_while(|end| **end <= written).count();
                // Nobody listens only where the drive has failed already.
                let _ = self.notes.send(Note::Again(taken as u64));
                result?;
            }
            Ok(())
        })
    }

    fn go_on(&self) -> Result<(), PaceEnd> {
        if self.shared.is_cut() { Err(PaceEnd::Cut) } else { Ok(()) }
    }

    fn receipt(&self, batch: &Arc<Batch>, from: usize, sent_us: Vec<Option<i64>>) {
        // Nobody listens only where the drive has failed already.
        let _ = self.notes.send(Note::Receipts { batch: Arc::clone(batch), from, sent_us });
    }
}

/// The next position wanted of each partition, by the plan's own index of its topic.
fn next_positions(plan: &dyn DeliverySource, wanted: &[Committed]) -> BTreeMap<(u32, i32), i64> {
    let index = |topic: &str| plan.topics().iter().position(|known| known == topic);
    let of = |one: &Committed| Some(((u32::try_from(index(&one.topic)?).ok()?, one.partition), one.position));
    wanted.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::drive::DriveSettings;

    /// A clock that moves on by a millisecond each time somebody looks.
    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
        }

        fn wait_until(&self, _: Duration) {}

        fn date_us(&self) -> i64 {
            0
        }
    }

    /// Writes so many bytes to a build that reads all; returns at which look at the clock they count as handed over, and how many looks
    /// there were.
    fn handed_over(bytes: usize) -> (u128, u64) {
        let (mut reading, writing) = std::io::pipe().unwrap();
        let rules = toml::from_str::<DriveSettings>("").unwrap().check().unwrap();
        let (shared, clock) = (Shared::new(Duration::ZERO, Duration::MAX), Ticking(AtomicU64::new(0)));
        let ((notes, _), (used, _)) = (sync_channel(1), sync_channel(1));
        let mut pace = Pace {
            stdin: Pipe::writing(writing).unwrap(),
            rules: &rules,
            paced: true,
            shared: &shared,
            clock: &clock,
            notes,
            used,
            timing: Timing::new().unwrap(),
            written_at: Duration::MAX,
            again: None,
            handed: 0,
        };
        thread::scope(|scope| {
            let reader = scope.spawn(move || reading.read_to_end(&mut Vec::new()).unwrap());
            let mut written = 0;
            assert!(pace.write(&vec![b'x'; bytes], &mut written).is_ok());
            let looks = clock.0.load(Ordering::SeqCst);
            let at = pace.written_at.as_millis();
            drop(pace);
            assert_eq!((reader.join().unwrap(), written), (bytes, bytes));
            (at, looks)
        })
    }

    #[test]
    fn a_line_is_handed_over_when_the_write_begins_that_takes_it() {
        assert_eq!(handed_over(10), (0, 1));
    }

    #[test]
    fn what_a_full_pipe_holds_up_is_handed_over_when_there_is_room() {
        // More than any pipe holds.
        let (at, looks) = handed_over(32 << 20);
        // Behind the last write nobody looks again, but to note that the build goes on.
        assert!(at > 0 && at + 2 >= u128::from(looks), "{at} of {looks}");
    }
}
