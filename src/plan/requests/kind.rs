//! Kinds of faults at requests and at the build's process: what each takes, how grave it is, and what the presets say.

use super::super::Legality;
use super::super::fault::Preset;
use super::super::kind::FaultKind;
use super::rate::Rate;
use super::sizes::Sizes;
use super::{Amounts, When};

/// A kind of fault that touches requests of Kafka clients or the process of a build, and no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::plan) enum RequestKind {
    LostAck,
    Disconnect,
    BrokerDown,
    BrokerSlow,
    SlowReader,
    SlowSink,
    PartialLoss,
    NotLeader,
    Loading,
    Throttle,
    Rebalance,
    Batch,
    Crash,
    Restart,
    Freeze,
    Clock,
}

const SECOND: i64 = 1_000_000;

/// Parameters that each kind takes, and its own.
macro_rules! with {
    ($($own:literal),*) => {
        ["requests", "length", "probability", "nth", "every", "times", "at", "period" $(, $own)*]
    };
}

/// Parameters of what happens to a process.
const OF_PROCESS: &[&str] = &["length", "instance", "probability", "nth", "every", "times", "at", "period"];

/// Parameters of what happens to the wall clock, which knows of no commits.
const OF_CLOCK: &[&str] = &["shift", "step", "drift", "length", "times", "at", "period"];

/// Parameters of a restart.
const OF_RESTART: &[&str] = &["grace", "length", "instance", "probability", "nth", "every", "times", "at", "period"];

impl RequestKind {
    pub(in crate::plan) const ALL: [Self; 16] = [
        Self::LostAck,
        Self::Disconnect,
        Self::BrokerDown,
        Self::BrokerSlow,
        Self::SlowReader,
        Self::SlowSink,
        Self::PartialLoss,
        Self::NotLeader,
        Self::Loading,
        Self::Throttle,
        Self::Rebalance,
        Self::Batch,
        Self::Crash,
        Self::Restart,
        Self::Freeze,
        Self::Clock,
    ];

    /// Finds the kind of that name, if it is one of these.
    pub(in crate::plan) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(in crate::plan) fn legality(self) -> Legality {
        if matches!(self, Self::LostAck | Self::Clock) { Legality::B } else { Legality::A }
    }

    /// Whether a client writes, or is handed, something once more because of it.
    pub(in crate::plan) fn redelivers(self) -> bool {
        matches!(self, Self::LostAck | Self::Rebalance | Self::Crash | Self::Restart | Self::Freeze)
    }

    /// Whether it happens to the build's process or its clock, over every transport, and counts no requests: commits, or nothing.
    pub(in crate::plan) fn is_of_process(self) -> bool {
        matches!(self, Self::Crash | Self::Restart | Self::Freeze | Self::Clock)
    }

    /// Whether a number of commits begins an instance where the scenario does not say what does.
    pub(in crate::plan) fn is_begun_by_commits(self, preset: Preset) -> bool {
        self.is_of_process() && self.when(preset).is_some_and(|when| !when.is_by_time())
    }

    /// Whether an instance is nothing without a length: a broker that is gone comes back, who joins a group stays, and who is stopped goes
    /// on.
    pub(super) fn lasts(self) -> bool {
        matches!(self, Self::BrokerDown | Self::Rebalance | Self::Freeze)
    }

    /// Whether it is about the stage as a whole where the clock begins it.
    pub(super) fn is_of_all(self) -> bool {
        matches!(self, Self::BrokerDown | Self::Rebalance)
    }

    /// What fires the fault where the scenario does not say; none where the preset has it off.
    pub(super) fn when(self, preset: Preset) -> Option<When> {
        Some(match self {
            Self::LostAck => preset.choose(None, Some(When::Probability(0.001)), Some(When::OnceEach))?,
            Self::Disconnect | Self::BrokerDown | Self::BrokerSlow | Self::Freeze | Self::Clock => When::Times(1),
            Self::SlowReader | Self::SlowSink | Self::Batch => When::Always,
            Self::PartialLoss => When::Probability(preset.choose(0.001, 0.01, 0.2)),
            Self::NotLeader | Self::Loading | Self::Throttle => When::Times(preset.choose(1, 10, 1)),
            Self::Rebalance => preset.choose(When::Times(1), When::Times(5), When::Period(10 * SECOND)),
            Self::Crash => preset.choose(When::Times(1), When::Times(10), When::Every(1)),
            Self::Restart => preset.choose(When::Times(1), When::Times(5), When::Period(30 * SECOND)),
        })
    }

    /// How long an instance lasts where the scenario does not say, in microseconds. `counted`: a number of requests begins it, and
    /// then it is that request alone.
    pub(super) fn length_us(self, preset: Preset, counted: bool) -> i64 {
        match self {
            Self::Rebalance => preset.choose(SECOND, SECOND, 5 * SECOND),
            Self::BrokerDown => preset.choose(SECOND, 5 * SECOND, 60 * SECOND),
            // The longest lies beyond what clients of Kafka may take between two polls, which is five minutes.
            Self::Freeze => preset.choose(SECOND, 10 * SECOND, 330 * SECOND),
            _ if counted => 0,
            Self::Disconnect | Self::BrokerSlow => preset.choose(SECOND, 5 * SECOND, 60 * SECOND),
            Self::NotLeader | Self::Loading | Self::Throttle => preset.choose(0, 0, 30 * SECOND),
            _ => 0,
        }
    }

    /// By how much, where the scenario does not say.
    pub(super) fn amounts(self, preset: Preset) -> Amounts {
        let none = Amounts::default();
        match self {
            Self::BrokerSlow => Amounts { latency_us: preset.choose(SECOND / 10, SECOND / 2, 2 * SECOND), ..none },
            Self::SlowReader => Amounts { rate: Some(Rate::Share(preset.choose(0.8, 0.5, 0.1))), ..none },
            Self::SlowSink => Amounts { latency_us: preset.choose(SECOND / 100, SECOND / 10, 2 * SECOND), ..none },
            Self::Throttle => Amounts { time_us: preset.choose(SECOND / 10, SECOND / 2, SECOND), ..none },
            Self::Batch => {
                let sizes = preset.choose(
                    Sizes::Range { least: 1, most: 500 },
                    Sizes::Turns(vec![1]),
                    Sizes::Turns(vec![1, 0]),
                );
                Amounts { sizes, ..none }
            }
            _ => none,
        }
    }
}

impl FaultKind for RequestKind {
    fn name(self) -> &'static str {
        match self {
            Self::LostAck => "lost-ack",
            Self::Disconnect => "disconnect",
            Self::BrokerDown => "broker-down",
            Self::BrokerSlow => "broker-slow",
            Self::SlowReader => "slow-reader",
            Self::SlowSink => "slow-sink",
            Self::PartialLoss => "partial-loss",
            Self::NotLeader => "not-leader",
            Self::Loading => "loading",
            Self::Throttle => "throttle",
            Self::Rebalance => "rebalance",
            Self::Batch => "batch",
            Self::Crash => "crash",
            Self::Restart => "restart",
            Self::Freeze => "freeze",
            Self::Clock => "clock",
        }
    }

    fn takes(self) -> &'static [&'static str] {
        match self {
            Self::BrokerSlow => &with!["latency"],
            Self::SlowReader => &with!["rate"],
            Self::SlowSink => &with!["latency", "rate"],
            Self::PartialLoss => &with!["share"],
            Self::Throttle => &with!["delay"],
            Self::Batch => &with!["sizes"],
            Self::Crash | Self::Freeze => OF_PROCESS,
            Self::Restart => OF_RESTART,
            Self::Clock => OF_CLOCK,
            _ => &with![],
        }
    }
}
