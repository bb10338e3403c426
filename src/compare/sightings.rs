//! Where differences showed: the outputs behind them, their causes, when those were due and when they happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::apart::apart;
use super::drives::{Coordinates, Drive, EventTimes};
use super::patterns::Candidate;
use super::rules::Rules;
use super::{CompareError, Example, Shown, Side, Sighting};
use crate::outcome::{Cause, CauseBy, Output};

/// Examples shown of a pattern.
pub(super) const EXAMPLES_MAX: usize = 5;

/// Longest value shown, in bytes.
const SHOWN_MAX: usize = 4_096;

/// A delivery: event and attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt(Coordinates, i32);

impl Attempt {
    fn of(cause: &Cause) -> Self {
        Self(
            Coordinates { topic: cause.topic.clone(), partition: cause.partition, offset: cause.offset },
            cause.attempt,
        )
    }
}

/// What is known of the outputs and causes behind candidates.
pub(super) struct Sightings<'r> {
    rules: &'r Rules,
    old: BTreeMap<i64, Output>,
    new: BTreeMap<i64, Output>,
    /// Of production's, rows that the build which was driven left as they stood.
    stood: BTreeMap<i64, Output>,
    due: BTreeMap<Attempt, i64>,
    times: BTreeMap<Coordinates, i64>,
}

impl<'r> Sightings<'r> {
    /// Looks up everything behind `candidates`, differences between the drives `old` and `new`.
    pub(super) fn look_up<'c>(
        candidates: impl Iterator<Item = &'c Candidate> + Clone,
        (old, new): (&dyn Drive, &dyn Drive),
        rules: &'r Rules,
        times: Option<&dyn EventTimes>,
    ) -> Result<Self, CompareError> {
        let read = |drive: &dyn Drive, sequences: BTreeSet<i64>| -> Result<BTreeMap<i64, Output>, CompareError> {
            let outputs = drive.read(&sequences.into_iter().collect::<Vec<_>>())?;
            Ok(outputs.into_iter().map(|output| (output.sequence, output)).collect())
        };
        let old_outputs = read(old, candidates.clone().filter_map(|candidate| candidate.old).collect())?;
        let new_outputs = read(new, candidates.clone().filter_map(|candidate| candidate.new).collect())?;
        let production = rules.production.as_ref().map_or(Side::Old, |production| production.side);
        let stood = candidates.filter_map(|candidate| candidate.stood).collect();
        let stood = read(if production == Side::Old { old } else { new }, stood)?;
        let causes = old_outputs.values().chain(new_outputs.values()).filter_map(|output| output.cause.as_ref());
        let attempts: BTreeSet<Attempt> = causes.map(Attempt::of).collect();
        let events: BTreeSet<Coordinates> = attempts.iter().map(|attempt| attempt.0.clone()).collect();
        let times = match times {
            Some(times) if !events.is_empty() => times.times(&events)?,
            _ => BTreeMap::new(),
        };
        let due = due_times(&attempts, &events, [new, old])?;
        Ok(Self { rules, old: old_outputs, new: new_outputs, stood, due, times })
    }

    /// What stands in old and in new.
    fn outputs(&self, candidate: &Candidate) -> (Option<&Output>, Option<&Output>) {
        let old = candidate.old.and_then(|sequence| self.old.get(&sequence));
        let new = candidate.new.and_then(|sequence| self.new.get(&sequence));
        let stood = candidate.stood.and_then(|sequence| self.stood.get(&sequence));
        match &self.rules.production {
            Some(production) if production.side == Side::New => (old.or(stood), new),
            _ => (old, new.or(stood)),
        }
    }

    /// Makes the example of a candidate; an attempt may stand in for that of its cause.
    pub(super) fn example(&self, candidate: &Candidate) -> Example {
        let (old, new) = self.outputs(candidate);
        let identity = new.or(old).map_or_else(String::new, |output| self.identity(output));
        Example {
            identity,
            old: old.map(|old| shown(old, self.rules)),
            new: new.map(|new| shown(new, self.rules)),
            apart: old.zip(new).and_then(|(old, new)| apart(old, new, self.rules)),
            cause: self.sighting(candidate),
        }
    }

    /// Where a candidate showed: at the cause of what new wrote, else of what old did.
    pub(super) fn sighting(&self, candidate: &Candidate) -> Option<Sighting> {
        let (old, new) = self.outputs(candidate);
        let output =
            new.filter(|output| output.cause.is_some() || old.is_none_or(|old| old.cause.is_none())).or(old).or(new)?;
        let Some(cause) = &output.cause else {
            return Some(Sighting {
                topic: None,
                partition: None,
                offset: None,
                inferred: false,
                event_time_ms: None,
                replay_us: output.arrived_us,
            });
        };
        let attempt = Attempt::of(cause);
        Some(Sighting {
            topic: Some(cause.topic.clone()),
            partition: Some(cause.partition),
            offset: Some(cause.offset),
            inferred: cause.by == CauseBy::Inferred,
            event_time_ms: self.times.get(&attempt.0).copied(),
            replay_us: self.due.get(&attempt).copied().unwrap_or(output.arrived_us),
        })
    }

    /// Makes the example of a repeated effect; its cause is the redelivered event, when it was due again.
    pub(super) fn redelivered(&self, candidate: &Candidate) -> Example {
        let mut example = self.example(candidate);
        let cause = candidate.new.and_then(|sequence| self.new.get(&sequence)?.cause.as_ref());
        if let (Some(cause), Some(sighting)) = (cause.filter(|cause| cause.attempt == 0), &mut example.cause) {
            // The build named the event, not the attempt: the last attempt is what made it write again.
            let event = Attempt::of(cause).0;
            let attempts = self.due.range(Attempt(event.clone(), 1)..=Attempt(event, i32::MAX));
            if let Some((_, due)) = attempts.last() {
                sighting.replay_us = *due;
            }
        }
        example
    }

    fn identity(&self, output: &Output) -> String {
        let key = || {
            output.key.as_deref().map_or_else(|| output.topic.clone(), |key| format!("{} {}", output.topic, text(key)))
        };
        let Some(value) = output.value.as_deref().filter(|_| self.rules.has_identity()) else { return key() };
        let Ok(tree) = serde_json::from_slice::<serde_json::Value>(&self.rules.of(&output.topic).unframed(value).1)
        else {
            return key();
        };
        let mut parts = Vec::new();
        for path in &self.rules.settings().identity {
            let Ok(query) = serde_json_path::JsonPath::parse(path) else { continue };
            parts.extend(query.query(&tree).all().into_iter().map(|found| match found {
                serde_json::Value::String(found) => found.clone(),
                other => other.to_string(),
            }));
        }
        if parts.is_empty() { key() } else { parts.join(" ") }
    }
}

/// Finds when `attempts` were due, in the first of `drives` that knows its deliveries.
fn due_times(
    attempts: &BTreeSet<Attempt>,
    events: &BTreeSet<Coordinates>,
    drives: [&dyn Drive; 2],
) -> Result<BTreeMap<Attempt, i64>, CompareError> {
    let mut due = BTreeMap::new();
    if attempts.is_empty() {
        return Ok(due);
    }
    let mut offsets: BTreeMap<&str, BTreeSet<(i32, i64)>> = BTreeMap::new();
    for event in events {
        offsets.entry(&event.topic).or_default().insert((event.partition, event.offset));
    }
    for drive in drives {
        let known = drive.receipts(&mut |topic, receipt| {
            let delivery = &receipt.delivery;
            let is_wanted =
                offsets.get(topic).is_some_and(|wanted| wanted.contains(&(delivery.partition, delivery.offset)));
            if is_wanted {
                let event =
                    Coordinates { topic: topic.to_owned(), partition: delivery.partition, offset: delivery.offset };
                due.insert(Attempt(event, delivery.attempt), delivery.due_us);
            }
            Ok(())
        })?;
        if known {
            break;
        }
    }
    Ok(due)
}

fn shown(output: &Output, rules: &Rules) -> Shown {
    Shown {
        sequence: output.sequence,
        topic: output.topic.clone(),
        partition: output.partition,
        key: output.key.as_deref().map(text),
        value: output
            .value
            .as_deref()
            .map(|value| rules.of(&output.topic).shown(value).map_or_else(|| text(value), |said| text(&said))),
        arrived_us: output.arrived_us,
    }
}

/// Bytes as text of a bounded length; what is no UTF-8 in hex behind `0x`.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= SHOWN_MAX => text.to_owned(),
        Ok(text) => {
            let cut = (0..=SHOWN_MAX - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            format!("{}…", &text[..cut])
        }
        Err(_) => {
            let mut hex = "0x".to_owned();
            for byte in bytes.iter().take((SHOWN_MAX - 8) / 2) {
                let _ = write!(hex, "{byte:02x}");
            }
            hex + if bytes.len() > (SHOWN_MAX - 8) / 2 { "…" } else { "" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_bounded() {
        for bytes in ["é".repeat(5_000).into_bytes(), vec![0xff; 10_000], b"short".to_vec()] {
            assert!(text(&bytes).len() <= SHOWN_MAX);
        }
        assert_eq!(text(b"short"), "short");
        assert_eq!(text(&[0xff, 0x01]), "0xff01");
    }
}
