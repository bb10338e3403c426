//! Calls of a build to its stubs, kept among its outputs, each with the delivery behind it.

use super::DriveRules;
use super::keep::Keep;
use super::ledger::Ledger;
use super::listen::{phase_at, phase_of};
use super::shared::Shared;
use super::stubs::{Call, Calls};
use crate::outcome::{CauseBy, Channel, OutcomeError, OutputRow};

/// Keeps every call that had arrived at `until_us`, in microseconds of the drive's clock; returns their bytes.
pub(super) fn keep_calls(
    calls: &mut Calls,
    until_us: i64,
    keep: &mut Keep<'_>,
    ledger: &Ledger,
    rules: &DriveRules,
    shared: &Shared,
    topics: &[String],
) -> Result<u64, OutcomeError> {
    let mut bytes = 0;
    while let Some(call) = calls.take_until(until_us) {
        bytes += call.value.len() as u64;
        keep_call(&call, keep, ledger, rules, shared, topics)?;
    }
    Ok(bytes)
}

/// Keeps one call. Its cause is what lineage finds by its body, else by all that is kept of it, else the last delivery of its key.
pub(super) fn keep_call(
    call: &Call,
    keep: &mut Keep<'_>,
    ledger: &Ledger,
    rules: &DriveRules,
    shared: &Shared,
    topics: &[String],
) -> Result<(), OutcomeError> {
    shared.note_output(call.arrived_us);
    let by_lineage = rules
        .find_by_lineage(ledger, Some(&call.body), &call.headers)
        .or_else(|| rules.find_by_lineage(ledger, Some(&call.value), &[]));
    let cause = match by_lineage {
        Some(found) => Some((found, CauseBy::Lineage)),
        None => ledger.last_of_key(&call.key).map(|found| (found, CauseBy::Inferred)),
    };
    keep.keep(&OutputRow {
        sequence: 0,
        // One that came while lines were read is known of a moment later: what stands behind them did not arrive ahead of them.
        arrived_us: shared.relative_us(call.arrived_us).max(keep.latest_us()),
        phase: phase_of(cause, phase_at(shared, call.arrived_us)),
        channel: Channel::Http,
        topic: &call.effect,
        partition: 0,
        timestamp_ms: None,
        key: Some(&call.key),
        value: Some(&call.value),
        headers: &call.kept,
        cause: cause.map(|(found, by)| found.view(topics, by)),
        malformed: None,
    })
}
