//! Keeping outputs: what a mask leaves of them, numbered in the order in which they came.

use super::{DriveRules, KnownSchemas};
use crate::mask::{Detection, Masker, Parts};
use crate::outcome::{OutcomeError, OutputRow, OutputsWriter};
use crate::recording::Header;

/// What is kept of an output of which nobody can tell what is to be masked.
pub(super) const UNREAD: &[u8] = b"[redacted]";

/// Writes outputs down.
#[derive(Debug)]
pub(super) struct Keep<'a> {
    outputs: &'a mut OutputsWriter,
    masker: Masker,
    schemas: KnownSchemas,
    sequence: i64,
    /// Latest arrival of what was kept, in microseconds since the schedule's start.
    latest_us: i64,
}

impl<'a> Keep<'a> {
    pub(super) fn new(rules: &DriveRules, outputs: &'a mut OutputsWriter) -> Self {
        let masker = Masker::new(rules.mask.clone(), Detection::Off);
        Self { outputs, masker, schemas: rules.schemas.clone(), sequence: 0, latest_us: i64::MIN }
    }

    /// Goes on behind what `outputs` has.
    pub(super) fn behind(rules: &DriveRules, outputs: &'a mut OutputsWriter) -> Self {
        let sequence = outputs.next_sequence();
        Self { sequence, ..Self::new(rules, outputs) }
    }

    /// Outputs kept so far.
    pub(super) fn count(&self) -> u64 {
        self.sequence as u64
    }

    /// Latest arrival of what was kept so far, in microseconds since the schedule's start.
    pub(super) fn latest_us(&self) -> i64 {
        self.latest_us
    }

    /// Makes what was kept readable from the file.
    pub(super) fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        self.outputs.checkpoint()
    }

    /// Keeps what may be kept of an output; its sequence is given here.
    pub(super) fn keep(&mut self, row: &OutputRow<'_>) -> Result<(), OutcomeError> {
        let sequence = self.sequence;
        let OutputRow { topic, partition, key, value, headers, .. } = *row;
        let headers = headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
        // The build may have registered the schema of this one just now.
        self.masker.know(self.schemas.now());
        let parts = Parts { topic, partition, offset: sequence, key, value };
        if let Ok(kept) = self.masker.mask(parts, headers) {
            let header = |(name, value): (&str, Option<&[u8]>)| Header {
                name: name.to_owned(),
                value: value.map(<[u8]>::to_vec),
            };
            let headers: Vec<Header> = kept.headers().map(header).collect();
            let (key, value) = (kept.key.as_deref(), kept.value.as_deref());
            self.outputs.append(&OutputRow { sequence, key, value, headers: &headers, ..*row })?;
        } else {
            // A policy that refuses: nothing is kept of what it refuses.
            let malformed = Some("refused by the policy");
            let (key, value) = (None, Some(UNREAD));
            self.outputs.append(&OutputRow { sequence, key, value, headers: &[], malformed, ..*row })?;
        }
        self.sequence += 1;
        self.latest_us = self.latest_us.max(row.arrived_us);
        Ok(())
    }
}
