//! What a build writes to a cluster, read as it comes: what transactions have committed, and nothing else.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::board::Board;
use super::error::ClusterError;
use super::link::Link;
use super::lodging::Names;
use crate::clock::Clock;
use crate::drive::DriveRules;
use crate::drive::shared::Shared;
use crate::drive::stage::WrittenEvent;
use crate::drive::stdio::micros;
use crate::kafka::{Polled, Reader, Received};

/// Longest wait for events before looking whether the drive goes on.
const POLL: Duration = Duration::from_millis(20);

/// Events of one poll at most.
const POLL_EVENTS: usize = 1_024;

/// Bounds one question.
const REQUEST: Duration = Duration::from_secs(5);

/// One partition.
#[derive(Debug)]
struct Lane<'a> {
    topic: &'a str,
    /// Number of the topic in the order given.
    number: usize,
    partition: i32,
    /// The next offset wanted.
    next: i64,
    /// Offset up to which it is read once the build has ended.
    last: Option<i64>,
}

/// See the top of the file.
pub(super) struct Outputs<'a> {
    link: &'a Link<'a>,
    board: &'a Board<'a>,
    shared: &'a Shared,
    clock: &'a dyn Clock,
    reader: Reader<'a>,
    names: Vec<String>,
    partitions: Vec<Lane<'a>>,
}

impl<'a> Outputs<'a> {
    /// Begins to read `topics`, each with its number of partitions.
    pub(super) fn begin(
        link: &'a Link<'a>,
        names: &Names,
        topics: &'a BTreeMap<String, i32>,
        board: &'a Board<'a>,
        shared: &'a Shared,
        clock: &'a dyn Clock,
    ) -> Result<Self, ClusterError> {
        let wrong = |topic: &str, partition, reason: String| ClusterError::Outputs {
            topic: topic.to_owned(),
            partition,
            reason: link.scrub(&reason),
        };
        let names: Vec<String> = topics.keys().map(|topic| names.topic(topic)).collect();
        let reader = Reader::new(&link.consumer, names.iter().map(String::as_str), POLL_EVENTS);
        let mut reader = reader.map_err(|reason| wrong("of the outputs", 0, reason))?;
        let mut partitions = Vec::new();
        for (number, (topic, count)) in topics.iter().enumerate() {
            for partition in 0..*count {
                reader.start(number, partition, 0).map_err(|reason| wrong(topic, partition, reason))?;
                partitions.push(Lane { topic, number, partition, next: 0, last: None });
            }
        }
        Ok(Self { link, board, shared, clock, reader, names, partitions })
    }

    /// Reads until the build has ended and all that it wrote up to then has been read, or nothing more comes for the drain time-out.
    pub(super) fn gather(mut self, rules: &DriveRules) {
        if let Err(error) = self.gather_all(rules) {
            self.board.fail(error);
        }
    }

    fn gather_all(&mut self, rules: &DriveRules) -> Result<(), ClusterError> {
        let mut came_us = micros(self.clock.now());
        let mut trouble = None;
        while !self.board.is_over() {
            // Looked at once a turn: where the end is, is asked ahead of anything that follows from it.
            let closing = self.shared.is_closing();
            if closing && self.partitions.iter().any(|partition| partition.last.is_none()) {
                self.find_ends()?;
                came_us = micros(self.clock.now());
            }
            if !self.board.has_room() {
                thread::park_timeout(POLL / 10);
                continue;
            }
            // Tokens that run out are asked for here.
            while self.link.consumer.poll(Duration::ZERO).is_some() {}
            let (came, failed) = self.poll()?;
            trouble = failed.or(trouble);
            let now_us = micros(self.clock.now());
            if came {
                came_us = now_us;
            }
            let ended = |lane: &Lane<'_>| lane.last.is_some_and(|last| lane.next >= last);
            // Of a build that writes no topic nothing is left from the start, and the consumer is needed until it ends.
            let all = closing && self.partitions.iter().all(ended);
            if all || self.shared.is_closed() {
                self.board.set_read(true, 0);
                return Ok(());
            }
            if closing && now_us - came_us > micros(rules.drain_timeout) {
                let left = self.partitions.iter().find(|partition| !ended(partition));
                let (topic, partition) = left.map_or(("", 0), |left| (left.topic, left.partition));
                let (next, last) = left.map_or((0, 0), |left| (left.next, left.last.unwrap_or(left.next)));
                let nothing = || format!("nothing more came behind offset {next} of {last}");
                let reason = trouble.unwrap_or_else(nothing);
                return Err(ClusterError::Outputs { topic: topic.to_owned(), partition, reason });
            }
            if !closing {
                self.tell();
            }
        }
        Ok(())
    }

    /// Asks where what is committed ends.
    fn find_ends(&mut self) -> Result<(), ClusterError> {
        for partition in &mut self.partitions {
            let name = &self.names[partition.number];
            let (_, last) = self
                .link
                .consumer
                .fetch_watermarks(name, partition.partition, REQUEST)
                .map_err(|error| self.link.no_answer("the end of what the build wrote", &error.to_string()))?;
            partition.last = Some(last);
        }
        Ok(())
    }

    /// Tells how far reading has come against what was there at the last answer of each broker.
    fn tell(&self) {
        let highs = self.partitions.iter().map(|one| (one.next, self.reader.high(one.number, one.partition)));
        let (mut known, mut open) = (true, 0);
        for (next, high) in highs {
            match high {
                None => known = false,
                // What is there and is not handed over is not committed; or it is about to be handed over.
                Some(high) => open += usize::from(next < high),
            }
        }
        self.board.set_read(known && open == 0, open);
    }

    /// Takes what is there; returns whether anything was, and what went wrong.
    fn poll(&mut self) -> Result<(bool, Option<String>), ClusterError> {
        let Self { link, board, shared, clock, reader, partitions, .. } = self;
        let (mut came, mut trouble) = (false, None);
        let mut arrived_us = None;
        reader.poll(POLL, |polled| {
            match polled {
                Polled::Event(event) => {
                    let Some(partition) = find(partitions, event.topic, event.partition()) else { return Ok(()) };
                    let arrived_us = *arrived_us.get_or_insert_with(|| micros(clock.now()));
                    partition.next = event.offset() + 1;
                    shared.note_output(arrived_us);
                    board.add(partition.topic, partition.partition, written(&event, arrived_us));
                    came = true;
                }
                Polled::End { topic, partition, offset } => {
                    if let Some(partition) = find(partitions, topic, partition) {
                        came |= partition.next < offset;
                        partition.next = partition.next.max(offset);
                    }
                }
                Polled::OutOfRange { topic, partition } | Polled::Truncated { topic, partition, .. } => {
                    let topic = find(partitions, topic, partition).map_or_else(String::new, |one| one.topic.to_owned());
                    let reason = "what was written is no longer there".to_owned();
                    return Err(ClusterError::Outputs { topic, partition, reason });
                }
                Polled::Failed { reason, .. } => trouble = Some(link.scrub(&reason)),
            }
            Ok(())
        })?;
        Ok((came, trouble))
    }
}

fn find<'p, 'a>(partitions: &'p mut [Lane<'a>], topic: usize, partition: i32) -> Option<&'p mut Lane<'a>> {
    partitions.iter_mut().find(|one| (one.number, one.partition) == (topic, partition))
}

fn written(event: &Received<'_>, arrived_us: i64) -> WrittenEvent {
    let headers = event.headers_as_bytes().into_iter();
    WrittenEvent {
        offset: event.offset(),
        arrived_us,
        timestamp_ms: event.timestamp().0,
        key: event.key().map(<[u8]>::to_vec),
        value: event.value().map(<[u8]>::to_vec),
        headers: headers.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
    }
}
