//! Standard output of a build, on a thread of its own: lines to outputs.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use regex::bytes::Regex;

use super::called::keep_calls;
use super::feed::Announced;
use super::keep::{Keep, UNREAD};
use super::ledger::{Found, Ledger};
use super::pipe::Pipe;
use super::process::Stops;
use super::reply::{Reply, Said, Spot};
use super::shared::Shared;
use super::stubs::Calls;
use super::{DriveRules, Payload};
use crate::clock::Clock;
use crate::mask::redact_credentials;
use crate::outcome::{CauseBy, Channel, Committed, OutcomeError, OutputRow, OutputsWriter};
use crate::plan::Phase;

/// Bytes asked for at once.
const READ_BYTES: usize = 512 << 10;

/// Microseconds between footers that make what was written readable.
const CHECKPOINT_US: i64 = 20_000_000;

/// Pause between looks for calls where there is no output to wait for.
const LOOK: Duration = Duration::from_millis(2);

/// What was heard.
#[derive(Debug)]
pub(super) struct Heard {
    /// Next positions wanted.
    pub(super) committed: Vec<Committed>,
    /// Whether the build closed its standard output itself, and when, in microseconds of the drive's clock.
    pub(super) ended_us: Option<i64>,
}

/// What is to be known of a process that is started again, and told.
pub(super) struct Restarts<'a> {
    /// Faults at the build's process.
    pub(super) stops: &'a Stops,
    /// Told what is committed, each time that the process is started again.
    pub(super) wants: Sender<Vec<Committed>>,
}

/// Listens to one build.
pub(super) struct Listener<'a> {
    rules: &'a DriveRules,
    shared: &'a Shared,
    clock: &'a dyn Clock,
    topics: &'a [String],
    keep: Keep<'a>,
    ledger: Ledger,
    announced: Vec<Announced>,
    calls: Calls,
    /// Bytes that the build wrote and called with.
    bytes: u64,
    arrived_us: i64,
    phase: Phase,
    restarts: Restarts<'a>,
    /// A crash began with a commit that was said: nothing is committed until the process is started again.
    deaf: bool,
    /// How often the process has been started again.
    turns: u64,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        rules: &'a DriveRules,
        shared: &'a Shared,
        clock: &'a dyn Clock,
        topics: &'a [String],
        outputs: &'a mut OutputsWriter,
        calls: Calls,
        restarts: Restarts<'a>,
    ) -> Self {
        Self {
            rules,
            shared,
            clock,
            topics,
            keep: Keep::new(rules, outputs),
            ledger: Ledger::new(topics),
            announced: Vec::new(),
            calls,
            bytes: 0,
            arrived_us: 0,
            phase: Phase::Main,
            restarts,
            deaf: false,
            turns: 0,
        }
    }

    /// Reads standard output to its end, or until the drive is closed: one pipe of `pipes` after the other, each that of the process
    /// started again.
    pub(super) fn run(mut self, pipes: &Receiver<Pipe>) -> Result<Heard, OutcomeError> {
        let mut ended_us = None;
        let mut next = pipes.recv().ok();
        while let Some(mut stdout) = next {
            ended_us = self.read(&mut stdout)?;
            next = self.hear_calls(pipes)?;
            if next.is_some() {
                self.deaf = false;
                self.turns += 1;
                self.shared.say_more();
                // Nobody takes it only where the drive has been cut short.
                let _ = self.restarts.wants.send(self.ledger.committed());
            }
        }
        self.calls.close();
        self.begin(self.clock.now().as_micros() as i64)?;
        self.end();
        Ok(Heard { committed: self.ledger.committed(), ended_us })
    }

    /// Reads one pipe; returns when it ended, unless the drive was closed ahead of that.
    fn read(&mut self, stdout: &mut Pipe) -> Result<Option<i64>, OutcomeError> {
        let mut lines = Lines::new(self.rules.line_bytes_max);
        let (mut ended_us, mut saved_us) = (None, self.clock.now().as_micros() as i64);
        while !self.shared.is_closed() {
            // A pipe that breaks while it is read has ended.
            let read = lines.fill(stdout).unwrap_or(Some(0));
            let now_us = self.clock.now().as_micros() as i64;
            match read {
                Some(0) => {
                    ended_us = Some(now_us);
                    break;
                }
                Some(count) => {
                    self.bytes += count as u64;
                    self.shared.note_output(now_us);
                    self.begin(now_us)?;
                    while let Some((line, cut)) = lines.next() {
                        self.line(line, cut)?;
                    }
                    self.end();
                }
                None if self.shared.is_closing() => break,
                None => {
                    self.begin(now_us)?;
                    self.end();
                    // Reading again will tell what is wrong with the pipe.
                    let _ = stdout.wait();
                }
            }
            if self.is_flooded() {
                break;
            }
            if now_us - saved_us > CHECKPOINT_US {
                self.keep.checkpoint()?;
                saved_us = now_us;
            }
        }
        self.begin(self.clock.now().as_micros() as i64)?;
        // Whoever was killed was cut off in the middle of a line.
        if let Some((line, cut)) = lines.rest().filter(|_| self.restarts.stops.ended() <= self.turns) {
            self.line(line, cut)?;
        }
        self.end();
        Ok(ended_us)
    }

    /// Whether the build wrote and called more than it may.
    fn is_flooded(&self) -> bool {
        let flooded = self.bytes > self.rules.output_bytes_max;
        if flooded {
            self.shared.set_flooded();
        }
        flooded
    }

    /// Keeps calls until the drive closes, as a build may go on calling after it has closed its standard output, or until its process is
    /// started again; returns standard output of that.
    fn hear_calls(&mut self, pipes: &Receiver<Pipe>) -> Result<Option<Pipe>, OutcomeError> {
        self.shared.say_all();
        loop {
            // Asked ahead of the pipes: what came ahead of the end is not missed.
            let over = self.shared.is_closing() || self.is_flooded();
            let no_more = match pipes.try_recv() {
                Ok(pipe) => return Ok(Some(pipe)),
                Err(TryRecvError::Disconnected) => true,
                Err(TryRecvError::Empty) => !self.restarts.stops.any(),
            };
            if over || no_more && !self.calls.may_come() {
                return Ok(None);
            }
            self.begin(self.clock.now().as_micros() as i64)?;
            self.end();
            thread::park_timeout(LOOK);
        }
    }

    /// Prepares for the lines of one read: they arrived together, after all that had been announced, and after the calls that came
    /// meanwhile.
    fn begin(&mut self, now_us: i64) -> Result<(), OutcomeError> {
        self.shared.take_announced(&mut self.announced);
        // A bare value names nothing that would have to be found.
        if self.rules.payload == Payload::Envelope || self.rules.lineage.is_some() {
            for announced in &self.announced {
                self.ledger.announce(announced);
            }
        }
        self.arrived_us = self.shared.relative_us(now_us);
        self.phase = match (self.shared.has_started(), self.shared.input_end_us()) {
            (false, _) => Phase::WarmUp,
            (true, None) => Phase::Main,
            (true, Some(_)) => Phase::Drain,
        };
        let Self { calls, keep, ledger, rules, shared, topics, .. } = self;
        self.bytes += keep_calls(calls, now_us, keep, ledger, rules, shared, topics)?;
        Ok(())
    }

    fn end(&mut self) {
        self.shared.set_outputs(self.keep.count());
        if self.rules.payload == Payload::Envelope {
            self.shared.set_lag(self.ledger.lag());
            if self.restarts.stops.any() {
                self.shared.set_commits(self.ledger.commits());
            }
            if let Some(covered) = self.ledger.warm_up_covered() {
                self.shared.cover_warm_up(covered);
            }
        }
    }

    fn line(&mut self, line: &[u8], cut: bool) -> Result<(), OutcomeError> {
        let matches = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(line));
        if !self.shared.is_ready() && matches(&self.rules.ready) {
            self.shared.set_ready();
            return Ok(());
        }
        if matches(&self.rules.not_an_output) {
            return Ok(());
        }
        if cut {
            return self.malformed(line, "longer than `line-bytes-max`");
        }
        match self.rules.payload {
            Payload::Value => self.bare(line),
            Payload::Envelope => match Reply::read(line) {
                Ok(reply) => self.reply(line, reply),
                Err(why) => self.malformed(line, why),
            },
        }
    }

    fn reply(&mut self, line: &[u8], reply: Reply<'_>) -> Result<(), OutcomeError> {
        if let Some(Spot { topic, partition, offset, .. }) = reply.commit {
            // Whoever is killed ahead of a commit makes none behind it either; what it wrote until then is written.
            self.deaf = self.deaf || self.restarts.stops.any() && self.restarts.stops.note_commit();
            if self.deaf {
                return reply.output.map_or(Ok(()), |said| self.said(&said));
            }
            if !self.ledger.commit(&topic, partition, offset) {
                return self.malformed(line, "a commit for a partition it was given nothing of");
            }
        }
        reply.output.map_or(Ok(()), |said| self.said(&said))
    }

    fn said(&mut self, said: &Said<'_>) -> Result<(), OutcomeError> {
        let cause = self.cause(said);
        let phase = phase_of(cause, self.phase);
        let (topics, rules) = (self.topics, self.rules);
        self.keep.keep(&OutputRow {
            sequence: 0,
            arrived_us: self.arrived_us,
            phase,
            channel: Channel::Output,
            topic: said.topic.as_deref().unwrap_or(&rules.output_topic),
            partition: said.partition.unwrap_or(0),
            timestamp_ms: said.timestamp_ms,
            key: said.key.as_deref(),
            value: said.value.as_deref(),
            headers: &said.headers,
            cause: cause.map(|(found, by)| found.view(topics, by)),
            malformed: None,
        })
    }

    /// Finds the delivery behind an output: the one it names; else, where it carries topic and offset of a delivery, as a filter
    /// does that passes its input on, that one; else the last one of the same key.
    fn cause(&mut self, said: &Said<'_>) -> Option<(Found, CauseBy)> {
        if let Some(spot) = &said.cause
            && let Some(found) = self.ledger.at(&spot.topic, spot.partition, spot.offset)
        {
            let attempt = spot.attempt.unwrap_or(found.attempt);
            return Some((Found { attempt, ..found }, CauseBy::Build));
        }
        if said.cause.is_none()
            && let (Some(topic), Some(partition), Some(offset)) = (&said.topic, said.partition, said.offset)
            && let Some(found) = self.ledger.at(topic, partition, offset)
        {
            let attempt = said.attempt.unwrap_or(found.attempt);
            return Some((Found { attempt, ..found }, CauseBy::Build));
        }
        if let Some(found) = self.rules.find_by_lineage(&self.ledger, said.value.as_deref(), &said.headers) {
            return Some((found, CauseBy::Lineage));
        }
        let found = self.ledger.last_of_key(said.key.as_deref()?)?;
        Some((found, CauseBy::Inferred))
    }

    fn bare(&mut self, line: &[u8]) -> Result<(), OutcomeError> {
        let cause = self.rules.find_by_lineage(&self.ledger, Some(line), &[]);
        self.as_is(line, None, cause)
    }

    fn malformed(&mut self, line: &[u8], why: &'static str) -> Result<(), OutcomeError> {
        // Nobody can tell which rules would have touched it: `otherwise` speaks of values, and here even keys and headers are unread.
        if self.rules.mask.is_some() {
            return self.as_is(UNREAD, Some(why), None);
        }
        self.as_is(&redact_credentials(line), Some(why), None)
    }

    fn as_is(&mut self, line: &[u8], malformed: Option<&str>, cause: Option<Found>) -> Result<(), OutcomeError> {
        let (topics, rules) = (self.topics, self.rules);
        let phase = cause.map_or(self.phase, |found| found.phase);
        self.keep.keep(&OutputRow {
            sequence: 0,
            arrived_us: self.arrived_us,
            phase,
            channel: Channel::Output,
            topic: &rules.output_topic,
            partition: 0,
            timestamp_ms: None,
            key: None,
            value: Some(line),
            headers: &[],
            cause: cause.map(|found| found.view(topics, CauseBy::Lineage)),
            malformed,
        })
    }
}

/// Phase of an output: that of its cause; without one, that in which it came.
pub(super) fn phase_of(cause: Option<(Found, CauseBy)>, arrived_in: Phase) -> Phase {
    // A key's last event may lie in the warm-up, whatever made the build write now: only a stated cause takes back the phase in
    // which an output came.
    match cause {
        Some((Found { phase: Phase::WarmUp, .. }, CauseBy::Inferred)) | None => arrived_in,
        Some((found, _)) => found.phase,
    }
}

/// Phase in which something came at `at_us`, in microseconds of the drive's clock.
pub(super) fn phase_at(shared: &Shared, at_us: i64) -> Phase {
    match (shared.has_started() && shared.relative_us(at_us) >= 0, shared.input_end_us()) {
        (false, _) => Phase::WarmUp,
        (true, Some(end_us)) if at_us >= end_us => Phase::Drain,
        (true, _) => Phase::Main,
    }
}

/// Cuts what is read into lines of a bounded length.
struct Lines {
    buffer: Vec<u8>,
    /// What has been read and not been cut off yet.
    from: usize,
    to: usize,
    line_max: usize,
    /// The line at `from` is too long: it has been kept up to `line_max`, and what follows is skipped to its end.
    skipping: bool,
}

impl Lines {
    fn new(line_max: usize) -> Self {
        Self { buffer: vec![0; READ_BYTES], from: 0, to: 0, line_max, skipping: false }
    }

    /// Reads what is there behind what is left of the last line; none where nothing is, zero at the end.
    fn fill(&mut self, stdout: &mut Pipe) -> std::io::Result<Option<usize>> {
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.buffer.len() - self.to < READ_BYTES / 2 {
            self.buffer.resize(self.to + READ_BYTES, 0);
        }
        let read = stdout.read(&mut self.buffer[self.to..])?;
        self.to += read.unwrap_or(0);
        Ok(read)
    }

    /// The next whole line without its end, and whether it was cut.
    fn next(&mut self) -> Option<(&[u8], bool)> {
        let mut rest = &self.buffer[self.from..self.to];
        // The only fast search for a byte that the standard library lends out.
        let length = rest.skip_until(b'\n').unwrap_or(0);
        let (start, end) = (self.from, self.from + length);
        if length == 0 || self.buffer[end - 1] != b'\n' {
            // No end in sight: of a line that is too long only what is kept stays in memory.
            if length > self.line_max {
                self.skipping = true;
                self.to = self.from + self.line_max;
            }
            return None;
        }
        self.from = end;
        let cut = std::mem::take(&mut self.skipping) || length - 1 > self.line_max;
        Some((&self.buffer[start..(end - 1).min(start + self.line_max)], cut))
    }

    /// What stands behind the last line end.
    fn rest(&mut self) -> Option<(&[u8], bool)> {
        let end = self.to.min(self.from + self.line_max);
        (self.from < self.to).then(|| (&self.buffer[self.from..end], self.skipping || self.to > end))
    }
}
