//! Faults at requests in one drive: what the plan has of them as the stage takes them, when they act, and what they touched.
//!
//! They begin with the schedule, not with the warm-up, and rest once the plan is at its end: an ending is decided when nothing acts
//! any more. They rest, too, while a partition is set back, so that what is handed over again is what is planned.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::shared::Shared;
use super::super::{DeliverySource, DriveError};
use super::KafkaRules;
use super::broker::Broker;
use super::lanes::is_internal;
use crate::drive::stage::{
    ChunkBuilder, StageAim, StageFault, StageFaultCount, StageFaultKind, StageFired, StageTrigger,
};
use crate::outcome::{FaultCount, OutcomeError, Touch, TouchedPartition, TouchesWriter};
use crate::plan::{FaultSettings, ReadRate, RequestEffect, RequestFault, RequestTrigger};
use crate::recording::{Columns, Place, Recording, RecordingError};
use crate::settings::SettingError;

/// Makes the stage's faults of those of a plan.
pub(super) fn of_plan(plan: &dyn DeliverySource, recording: &Recording) -> Result<Vec<StageFault>, DriveError> {
    let all = plan.request_faults()?;
    let at_requests = all.iter().filter(|fault| !fault.is_of_process());
    let made = at_requests.filter_map(|fault| of_fault(fault, recording).transpose());
    Ok(made.collect::<Result<_, _>>()?)
}

fn of_fault(fault: &RequestFault, recording: &Recording) -> Result<Option<StageFault>, RecordingError> {
    let Some(kind) = kind(&fault.effect, recording)? else { return Ok(None) };
    Ok(Some(StageFault {
        name: fault.name.clone(),
        kind,
        aim: StageAim {
            calls: fault.requests.iter().cloned().collect(),
            topics: fault.topics.iter().cloned().collect(),
            partitions: fault.partitions.iter().copied().collect(),
            clients: fault.clients.iter().cloned().collect(),
            groups: fault.groups.iter().cloned().collect(),
        },
        trigger: match &fault.trigger {
            RequestTrigger::Always => StageTrigger::Always,
            RequestTrigger::Probability { chance, seed } => StageTrigger::Share { share: *chance, seed: *seed },
            RequestTrigger::Nth(number) => StageTrigger::Nth([*number].into()),
            RequestTrigger::These(which) => StageTrigger::These(which.clone()),
            RequestTrigger::Every(number) => StageTrigger::Every(*number),
            RequestTrigger::OnceEach => StageTrigger::FirstOfEach,
            RequestTrigger::Moments(moments) => {
                StageTrigger::At(moments.iter().map(|moment| micros(*moment)).collect())
            }
        },
        length: micros(fault.length_us),
        most: fault.most,
    }))
}

/// What the stage does; none where a process, or its clock, is what it happens to.
fn kind(effect: &RequestEffect, recording: &Recording) -> Result<Option<StageFaultKind>, RecordingError> {
    Ok(Some(match effect {
        RequestEffect::LostAck => StageFaultKind::LostAck,
        RequestEffect::Disconnect => StageFaultKind::Disconnect,
        RequestEffect::BrokerDown => StageFaultKind::BrokerDown,
        RequestEffect::BrokerSlow { latency_us } => StageFaultKind::BrokerSlow { latency: micros(*latency_us) },
        RequestEffect::SlowReader { rate } => {
            StageFaultKind::SlowReader { bytes_per_second: bytes_per_second(rate, recording)? }
        }
        RequestEffect::SlowSink { latency_us, bytes_per_second } => {
            StageFaultKind::SlowSink { latency: micros(*latency_us), bytes_per_second: *bytes_per_second }
        }
        RequestEffect::PartialLoss => StageFaultKind::PartialLoss,
        RequestEffect::NotLeader => StageFaultKind::NotLeader,
        RequestEffect::Loading => StageFaultKind::Loading,
        RequestEffect::Throttle { time_us } => StageFaultKind::Throttle { time: micros(*time_us) },
        RequestEffect::Rebalance => StageFaultKind::Rebalance,
        RequestEffect::Batch { sizes } => StageFaultKind::Batch { sizes: sizes.clone() },
        RequestEffect::Crash { .. }
        | RequestEffect::Restart { .. }
        | RequestEffect::Freeze { .. }
        | RequestEffect::Clock { .. } => return Ok(None),
    }))
}

/// What a kind can touch does not depend on by how much.
fn bare(kind: &str) -> Option<StageFaultKind> {
    let (none, some) = (Duration::ZERO, 1);
    let all = [
        StageFaultKind::LostAck,
        StageFaultKind::Disconnect,
        StageFaultKind::BrokerDown,
        StageFaultKind::BrokerSlow { latency: none },
        StageFaultKind::SlowReader { bytes_per_second: some },
        StageFaultKind::SlowSink { latency: none, bytes_per_second: None },
        StageFaultKind::PartialLoss,
        StageFaultKind::NotLeader,
        StageFaultKind::Loading,
        StageFaultKind::Throttle { time: none },
        StageFaultKind::Rebalance,
        StageFaultKind::Batch { sizes: Vec::new() },
    ];
    all.into_iter().find(|one| one.name() == kind)
}

/// How fast a slow reader reads. Of the input's own rate a share is: mean size of an event of the plan as a fetch has it, times
/// deliveries of the plan, over its length, which counts for a second at least.
fn bytes_per_second(rate: &ReadRate, recording: &Recording) -> Result<u64, RecordingError> {
    match rate {
        ReadRate::BytesPerSecond(bytes) => Ok(*bytes),
        ReadRate::OfInput { share, sample, deliveries, length_us } => {
            let bytes = mean_bytes(sample, recording)? * *deliveries as f64;
            let seconds = (*length_us as f64 / 1e6).max(1.0);
            Ok(((share * bytes / seconds) as u64).max(1))
        }
    }
}

/// Mean size of these events as they are fetched, in bytes.
fn mean_bytes(sample: &[Place], recording: &Recording) -> Result<f64, RecordingError> {
    let mut lookup = recording.lookup(Columns { key: true, value: true, headers: true });
    let (mut builder, mut bytes) = (ChunkBuilder::default(), 0);
    lookup.each(sample, |index, event| {
        if !builder.push(index as i64, sample[index], &event) {
            bytes += builder.size_bytes();
            let _ = builder.finish();
            let joined = builder.push(index as i64, sample[index], &event);
            debug_assert!(joined, "an empty chunk takes any event");
        }
        Ok::<(), RecordingError>(())
    })?;
    Ok((bytes + builder.size_bytes()) as f64 / sample.len().max(1) as f64)
}

/// Holds what a scenario says of faults at requests against what builds do: `inputs` are the topics that are handed over.
pub(in crate::drive) fn check(
    rules: &KafkaRules,
    inputs: &[String],
    faults: &[FaultSettings],
) -> Result<(), SettingError> {
    for (index, fault) in faults.iter().enumerate() {
        let Some(kind) = bare(&fault.kind) else { continue };
        let can = kind.touchable();
        let requests = || fault.requests.iter().flatten().enumerate();
        if let Some((number, call)) = requests().find(|(_, call)| !can.contains(call)) {
            let key = format!("fault[{index}].requests[{number}]");
            let problem = format!("a `{}` touches no request `{call}`", kind.name());
            return Err(SettingError::new(key, problem, nearest(call, can.iter(), "It touches")));
        }
        let topics = fault.selector.as_ref().and_then(|selector| selector.topics.as_ref());
        let known = || rules.outputs.keys().chain(inputs);
        // Builds make topics of their own.
        let is_known = |topic: &String| is_internal(topic) || known().any(|known| known == topic);
        if let Some((number, topic)) = topics.into_iter().flatten().enumerate().find(|(_, topic)| !is_known(topic)) {
            let key = format!("fault[{index}].where.topics[{number}]");
            let problem = format!("the topic `{topic}` is neither handed over nor one of `outputs`");
            return Err(SettingError::new(key, problem, nearest(topic, known(), "There are")));
        }
    }
    Ok(())
}

/// Says what else could have been meant.
fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a String> + Clone, there: &str) -> String {
    let close = |name: &&String| strsim::damerau_levenshtein(&name.to_lowercase(), &wrong.to_lowercase()) <= 2;
    let near = known.clone().find(close).map_or_else(String::new, |near| format!("Write `{near}`. "));
    let all: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    format!("{near}{there} {}.", all.join(", "))
}

/// What the faults of a drive touch, on its way to the outcome.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) names: Vec<String>,
    pub(super) writer: Option<&'a mut TouchesWriter>,
}

impl Log<'_> {
    /// Writes down what has been touched since; whether anything was.
    pub(super) fn follow(&mut self, broker: &dyn Broker, shared: &Shared) -> Result<bool, OutcomeError> {
        let Some(writer) = &mut self.writer else { return Ok(false) };
        let fired = broker.take_fired();
        for one in &fired {
            writer.append(&touch(one, shared))?;
        }
        Ok(!fired.is_empty())
    }

    /// Writes down what happened to processes.
    pub(super) fn append(&mut self, touches: &[Touch]) -> Result<(), OutcomeError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        touches.iter().try_for_each(|touch| writer.append(touch))
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), OutcomeError> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.checkpoint())
    }

    /// How often each fired.
    pub(super) fn counts(&self, broker: &dyn Broker) -> BTreeMap<String, FaultCount> {
        let fired = broker.fault_counts();
        let count = |name: &String| {
            let StageFaultCount { instances, touched, provoked } = fired.get(name).copied().unwrap_or_default();
            (name.clone(), FaultCount { instances, touched, provoked })
        };
        self.names.iter().map(count).collect()
    }
}

fn touch(fired: &StageFired, shared: &Shared) -> Touch {
    // Without an address it was nobody's request.
    let asked = fired.address.is_some();
    let partition =
        |(topic, partition): &(String, i32)| TouchedPartition { topic: topic.clone(), partition: *partition };
    Touch {
        at_us: shared.relative_us(i64::try_from(fired.at.as_micros()).unwrap_or(i64::MAX)),
        fault: fired.fault.clone(),
        kind: fired.kind.to_owned(),
        instance: fired.instance,
        client: asked.then(|| fired.client.clone()),
        address: fired.address.map(|address| address.to_string()),
        api: asked.then(|| fired.call.clone()),
        version: asked.then_some(fired.version),
        correlation: asked.then_some(fired.correlation),
        group: fired.group.clone(),
        partitions: fired.partitions.iter().map(partition).collect(),
        request: fired.request,
        by_us: None,
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{RequestEffect, is_at_requests};
    use crate::recording::{Event, EventBatchBuilder, RecordingWriter, Source};

    /// A recording of so many events, each with so many bytes as its value.
    fn recording(folder: &std::path::Path, events: i64, bytes: usize) -> Recording {
        let mut writer = RecordingWriter::create(folder.join("r"), Source::default()).unwrap();
        let mut batch = EventBatchBuilder::new();
        for offset in 0..events {
            batch.push_event(&Event {
                topic: "a".to_owned(),
                offset,
                value: Some(vec![b'x'; bytes]),
                ..Event::default()
            });
        }
        writer.write(&batch.finish()).unwrap();
        writer.seal().unwrap();
        Recording::open(folder.join("r")).unwrap()
    }

    #[test]
    fn a_share_of_the_inputs_rate_is_so_many_bytes_in_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recording(folder.path(), 100, 1_000);
        let sample: Vec<Place> = (0..100).map(|row| Place { segment: 0, row }).collect();
        let rate = |share, length_us| {
            let rate = ReadRate::OfInput { share, sample: sample.clone(), deliveries: 5_000, length_us };
            bytes_per_second(&rate, &recording).unwrap()
        };
        // Five thousand events of a thousand bytes, and some ten beside, in ten seconds.
        let half = rate(0.5, 10_000_000);
        assert!((250_000..256_000).contains(&half), "{half}");
        assert_eq!(rate(0.25, 10_000_000), half / 2);
        // What has no length is not infinitely fast.
        assert_eq!(rate(0.5, 0), rate(0.5, 1_000_000));
        assert_eq!(bytes_per_second(&ReadRate::BytesPerSecond(7), &recording).unwrap(), 7);
    }

    #[test]
    fn every_kind_of_a_scenario_is_one_of_the_stage() {
        let folder = tempfile::tempdir().unwrap();
        let recording = recording(folder.path(), 1, 1);
        let none = || ReadRate::BytesPerSecond(1);
        let all = [
            ("lost-ack", RequestEffect::LostAck),
            ("disconnect", RequestEffect::Disconnect),
            ("broker-down", RequestEffect::BrokerDown),
            ("broker-slow", RequestEffect::BrokerSlow { latency_us: 1 }),
            ("slow-reader", RequestEffect::SlowReader { rate: none() }),
            ("slow-sink", RequestEffect::SlowSink { latency_us: 1, bytes_per_second: None }),
            ("partial-loss", RequestEffect::PartialLoss),
            ("not-leader", RequestEffect::NotLeader),
            ("loading", RequestEffect::Loading),
            ("throttle", RequestEffect::Throttle { time_us: 1 }),
            ("rebalance", RequestEffect::Rebalance),
            ("batch", RequestEffect::Batch { sizes: vec![1] }),
        ];
        for (name, effect) in all {
            assert_eq!(kind(&effect, &recording).unwrap().unwrap().name(), name);
            assert!(is_at_requests(name) && !bare(name).unwrap().touchable().is_empty(), "{name}");
        }
        assert!(bare("delay").is_none() && !is_at_requests("delay"));
    }
}
