//! What a drive leaves, gathered while it goes on: receipts in the order of the plan, answers as outputs, each with its delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use xxhash_rust::xxh3::xxh3_64;

use super::post::{Answer, Note};
use crate::drive::called::keep_calls;
use crate::drive::keep::Keep;
use crate::drive::ledger::{Found, Lag, Ledger};
use crate::drive::pace::Timing;
use crate::drive::process::Flight;
use crate::drive::shared::Shared;
use crate::drive::stubs::Calls;
use crate::drive::{DriveError, Job};
use crate::outcome::{
    CauseBy, Channel, DeliveriesWriter, Ending, EndingReport, OutcomeError, OutputRow, OutputsWriter, ResponseCount,
};
use crate::plan::{Delivery, Phase};
use crate::recording::Header;

/// Header that says what the answer's event is known by.
const KEY: &str = "ce-partitionkey";

/// Attributes of an answer that say when and as which it was made: no two are the same.
const OF_ITSELF: [&str; 3] = ["ce-id", "ce-time", KEY];

/// A delivery that waits for its answer.
struct Open {
    delivery: Delivery,
    key: Option<Vec<u8>>,
    sent_us: i64,
    room: Option<OwnedSemaphorePermit>,
}

/// A receipt that waits for those ahead of it in the plan.
struct Receipt {
    delivery: Delivery,
    sent_us: Option<i64>,
    /// Given back when it is written, so that few wait.
    room: Option<OwnedSemaphorePermit>,
}

/// See the top of the file.
pub(super) struct Keeper<'a> {
    job: &'a Job<'a>,
    shared: &'a Shared,
    keep: Keep<'a>,
    calls: Calls,
    deliveries: &'a mut DeliveriesWriter,
    ledger: Ledger,
    open: BTreeMap<u64, Open>,
    receipts: BTreeMap<u64, Receipt>,
    /// Number of the next delivery of the plan whose receipt is written.
    next: u64,
    timing: Timing,
    bytes: u64,
    sent: u64,
    redelivered: u64,
    again: u64,
    /// Deliveries that went out once more on a new connection and have no answer yet.
    on_another_connection: BTreeSet<u64>,
    responses: ResponseCount,
    /// Longest answer since it was last told, in microseconds.
    slowest_us: Option<i64>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        shared: &'a Shared,
        calls: Calls,
        outputs: &'a mut OutputsWriter,
        deliveries: &'a mut DeliveriesWriter,
    ) -> io::Result<Self> {
        Ok(Self {
            job,
            shared,
            keep: Keep::new(job.rules, outputs),
            calls,
            deliveries,
            ledger: Ledger::new(job.plan.topics()),
            open: BTreeMap::new(),
            receipts: BTreeMap::new(),
            next: 0,
            timing: Timing::new().map_err(|error| io::Error::other(error.to_string()))?,
            bytes: 0,
            sent: 0,
            redelivered: 0,
            again: 0,
            on_another_connection: BTreeSet::new(),
            responses: ResponseCount::default(),
            slowest_us: None,
        })
    }

    /// Takes what the posting thread tells.
    pub(super) fn take(&mut self, note: Note) -> Result<(), DriveError> {
        match note {
            Note::Sent { posting, at_us, free_us } => {
                let delivery = posting.delivery;
                self.sent += 1;
                self.redelivered += u64::from(delivery.attempt > 0);
                self.ledger.note(&delivery, posting.key.as_deref().map(xxh3_64), &posting.marks, at_us);
                self.time(&delivery, at_us, free_us);
                let open = Open { delivery, key: posting.key, sent_us: at_us, room: posting.room };
                self.open.insert(posting.number, open);
            }
            Note::Answered { number, at_us, answer } => {
                // Whatever the build called for it came before.
                self.keep_calls(at_us)?;
                self.on_another_connection.remove(&number);
                if let Some(open) = self.open.remove(&number) {
                    self.answered(&open, at_us, &answer)?;
                    let sent_us = Some(self.shared.relative_us(open.sent_us));
                    self.receipt(number, Receipt { delivery: open.delivery, sent_us, room: open.room })?;
                }
            }
            Note::Again { number, at_us, gone } => {
                // Whatever the build called for it until then belongs to the first try.
                self.keep_calls(at_us)?;
                self.again += u64::from(gone);
                self.redelivered += 1;
                if !gone {
                    self.on_another_connection.insert(number);
                }
                if let Some(open) = self.open.get(&number) {
                    let delivery = Delivery { attempt: open.delivery.attempt + 1, ..open.delivery };
                    self.ledger.note(&delivery, open.key.as_deref().map(xxh3_64), &[], at_us);
                }
            }
            Note::Never { number, delivery } => {
                self.receipt(number, Receipt { delivery, sent_us: None, room: None })?;
            }
            Note::Ended(_) => {}
        }
        self.tell();
        Ok(())
    }

    /// Keeps the calls that had come at `until_us`, in microseconds of the drive's clock.
    pub(super) fn keep_calls(&mut self, until_us: i64) -> Result<(), OutcomeError> {
        let Self { calls, keep, ledger, job, shared, .. } = self;
        self.bytes += keep_calls(calls, until_us, keep, ledger, job.rules, shared, job.plan.topics())?;
        self.shared.set_outputs(self.keep.count());
        Ok(())
    }

    /// Writes down what is known once nothing more comes.
    pub(super) fn finish(&mut self) -> Result<(), OutcomeError> {
        self.calls.close();
        self.keep_calls(i64::MAX)?;
        // Without an answer, and handed over all the same.
        for (number, open) in std::mem::take(&mut self.open) {
            let sent_us = Some(self.shared.relative_us(open.sent_us));
            self.receipt(number, Receipt { delivery: open.delivery, sent_us, room: open.room })?;
        }
        for (_, receipt) in std::mem::take(&mut self.receipts) {
            self.deliveries.append(&receipt.delivery, receipt.sent_us)?;
        }
        self.tell();
        Ok(())
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        self.keep.checkpoint()?;
        self.deliveries.checkpoint()
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.bytes > self.job.rules.output_bytes_max
    }

    /// How many deliveries were handed over once more because the process that had them was gone.
    pub(super) fn again(&self) -> u64 {
        self.again
    }

    /// What is on its way at `now_us` of the drive's clock: an answer is a commit.
    pub(super) fn flight(&self, now_us: i64) -> Flight {
        let answered = self.responses.statuses.values().sum();
        let open = Some(self.open.len() as u64);
        Flight { open, committed: Some(answered), outputs: self.shared.outputs(), known_us: now_us }
    }

    /// Gauges that only this transport has.
    pub(super) fn gauges(&mut self) -> Option<(String, f64)> {
        self.slowest_us.take().map(|us| ("response-us".to_owned(), us as f64))
    }

    /// Adds what is known to the report of the ending.
    pub(super) fn report(&self, report: &mut EndingReport) {
        report.deliveries = Some(self.next.max(self.job.deliveries.unwrap_or(0)));
        report.sent = Some(self.sent);
        // The system takes a connection for a process that is ending: whether the second request reached it nobody knows.
        let unseen = if report.ending == Ending::Died { self.on_another_connection.len() as u64 } else { 0 };
        report.redelivered = Some(self.redelivered.saturating_sub(unseen));
        report.lateness = self.timing.report().filter(|_| self.job.plan.paced());
        report.responses = Some(self.responses.clone());
    }

    fn tell(&self) {
        let since_us = self.open.values().map(|open| open.sent_us).min();
        self.shared.set_lag(Some(Lag { positions: self.open.len() as i64, since_us }));
    }

    /// Notes how late a delivery was through no fault of the build: it was let go when it was due and the one ahead was answered.
    fn time(&mut self, delivery: &Delivery, at_us: i64, free_us: i64) {
        if !self.job.plan.paced() || delivery.phase == Phase::WarmUp {
            return;
        }
        let (due_us, relative) = (delivery.due_us, |us| self.shared.relative_us(us));
        self.timing.note(due_us, due_us + (relative(at_us) - due_us.max(relative(free_us))).max(0));
    }

    fn receipt(&mut self, number: u64, receipt: Receipt) -> Result<(), OutcomeError> {
        self.receipts.insert(number, receipt);
        while let Some(Receipt { delivery, sent_us, room }) = self.receipts.remove(&self.next) {
            self.deliveries.append(&delivery, sent_us)?;
            self.next += 1;
            drop(room);
        }
        Ok(())
    }

    fn answered(&mut self, open: &Open, at_us: i64, answer: &Answer) -> Result<(), OutcomeError> {
        let took_us = at_us - open.sent_us;
        *self.responses.statuses.entry(answer.status.as_u16()).or_default() += 1;
        self.responses.longest_us = self.responses.longest_us.max(took_us);
        self.responses.total_us += took_us.max(0);
        self.slowest_us = self.slowest_us.max(Some(took_us));
        let refused = !answer.status.is_success();
        let silent = answer.body.is_empty() || [StatusCode::NO_CONTENT, StatusCode::ACCEPTED].contains(&answer.status);
        if silent && !refused {
            return Ok(());
        }
        self.shared.note_output(at_us);
        self.bytes += answer.body.len() as u64;
        let refusal = refused.then(|| refusal(answer));
        let value = refusal.as_deref().unwrap_or(&answer.body);
        let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let key = text(KEY).map(str::as_bytes).or(open.key.as_deref());
        let kept = |name: &str| name.starts_with("ce-") && !OF_ITSELF.contains(&name);
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| Header {
            name: name.as_str().to_owned(),
            value: Some(value.as_bytes().to_vec()),
        };
        let headers: Vec<Header> = answer.headers.iter().filter(|(name, _)| kept(name.as_str())).map(header).collect();
        let Delivery { topic, partition, offset, attempt, phase, .. } = open.delivery;
        let found = Found { topic, partition, offset, attempt, phase };
        self.keep.keep(&OutputRow {
            sequence: 0,
            arrived_us: self.shared.relative_us(at_us),
            phase,
            channel: if refused { Channel::DeadLetter } else { Channel::Output },
            topic: &self.job.rules.output_topic,
            partition: 0,
            timestamp_ms: None,
            key,
            value: Some(value),
            headers: &headers,
            cause: Some(found.view(self.job.plan.topics(), CauseBy::Build)),
            malformed: answer.cut.then_some("longer than `line-bytes-max`"),
        })?;
        self.shared.set_outputs(self.keep.count());
        Ok(())
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// What is kept of an answer that is no success.
fn refusal(answer: &Answer) -> Vec<u8> {
    let body = serde_json::from_slice(&answer.body).ok();
    let text = std::str::from_utf8(&answer.body).ok().filter(|text| body.is_none() && !text.is_empty());
    let bytes = body.is_none() && text.is_none() && !answer.body.is_empty();
    let refusal = Refusal {
        status: answer.status.as_u16(),
        body,
        body_text: text,
        body_base64: bytes.then(|| BASE64_STANDARD.encode(&answer.body)),
    };
    // Writing text to memory cannot fail.
    serde_json::to_vec(&refusal).unwrap_or_default()
}
