//! Outcomes to a comparison: matching, values, order, noise, idempotency, latency, gates and the verdict.
//!
//! Pure: reads the outcomes it is handed, spills to the space it is handed, reads no clock. What never happens here: a first
//! difference stops the rest; a difference is silenced without being counted; "cannot tell" becomes green.

mod ages;
mod align;
mod apart;
mod arrivals;
mod assess;
mod behind;
mod bootstrap;
mod bounds;
mod buckets;
mod business;
mod catching;
mod cause;
mod closely;
mod comparing;
mod corrupt;
mod couples;
mod declared;
mod deviation;
mod divergence;
mod drives;
mod engine;
mod exact;
mod expected;
mod family;
mod few;
mod figure;
mod filed;
mod forms;
mod gates;
mod gather;
mod giants;
mod golden;
mod in_step;
mod json;
mod lagging;
mod latency;
mod lists;
mod matching;
mod measures;
mod moved;
mod noise;
mod odd;
mod order;
mod over_time;
mod paths;
mod patterns;
mod power;
mod reading;
mod redelivery;
mod regions;
mod rows;
mod rules;
mod scan;
mod sentences;
mod series;
mod shape;
mod shared;
mod sightings;
mod sorted;
mod state;
mod strays;
mod threads;
mod time_shift;
mod timing;
mod topics;
mod trend;
mod units;
mod values;
mod verdict;
mod watched;

pub use apart::{Apart, BytesApart, HexRow, TextApart, TextLine};
pub use behind::{Behind, FreshnessFigures, LagFigures, behind};
pub use business::{BusinessFigure, FigureKind, FigureOfDrive, FigureSettings, Figures};
pub use catching::{Caught, RulesCheck, check_rules};
pub use cause::{Common, Condition, Explained, Way};
pub use comparing::{compare, compare_drives, unsteadiness};
pub use corrupt::Corruption;
pub use declared::{AnyOfSettings, EpochUnit, Form, KeyedSettings, MaskRegexSettings, NormaliseSettings, TopicRules};
pub use divergence::{Divergence, FirstDivergence, first_divergence};
pub use drives::{Coordinates, Drive, EventTimes, Remembered, Row};
pub use expected::{
    Acceptance, AcceptedShare, Expectations, Expected, ExpectedSettings, ExpectedState, pattern_id, share_interval,
};
pub use family::settle;
pub use figure::Figure;
pub use gates::{FigureGate, FigureLimit, Gate, GateSettings, Gates, Limit};
pub use golden::{KnownTable, Production, Side};
pub use lagging::{Drift, LagMeasure, Lagging};
pub use latency::{Quantile, latency};
pub use measures::{Measure, Measured, TimingKind};
pub use over_time::{Clocked, over_time};
pub use reading::ValueForm;
pub use redelivery::{Redelivered, idempotency, idempotency_of_drives};
pub use regions::Region;
pub use rules::{CompareSettings, EventTime, Order, Rules, ToleranceSettings};
pub use series::{DriveSeries, Series};
pub use state::{Convergence, TableRows};
pub use time_shift::{Shifted, TimeShift, shifted};
pub use verdict::{Facts, FidelityBounds, judge, off_schedule};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::{CauseBy, OutcomeError};
use crate::recording::RecordingError;

/// Why outcomes cannot be compared. A difference is never one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// An outcome cannot be read.
    #[error("cannot read an outcome")]
    Outcome(#[from] OutcomeError),
    /// The recording cannot be read.
    #[error("cannot read the recording")]
    Recording(#[from] RecordingError),
    /// Entries could not be spilled.
    #[error("could not spill to the folder for temporary files")]
    Spill(#[source] std::io::Error),
    /// Whoever lent the spill space asked to stop.
    #[error("stopped before there was a verdict")]
    Stopped,
    /// A comparison needs a drive of old and one of new.
    #[error("there is no drive of {build} to compare")]
    NoDrive {
        /// `old` or `new`.
        build: &'static str,
    },
    /// More drives than can be told apart.
    #[error("{drives} drives are too many; 60 can be compared")]
    TooManyDrives {
        /// Drives handed over.
        drives: usize,
    },
    /// More topics than can be told apart.
    #[error("outputs stand in more than 65,536 topics")]
    TooManyTopics,
    /// An output that was read once is not there any more.
    #[error("output {sequence} vanished while outcomes were compared")]
    Vanished {
        /// Its sequence.
        sequence: i64,
    },
}

/// Kinds of difference, spelled as in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// In old, not in new, and new finished.
    Missing,
    /// In old, not in new, without proof that new was through.
    Unseen,
    /// In new, not in old, drained.
    Extra,
    /// More outputs of an identity than old wrote.
    Repeated,
    /// Same identity, other value.
    Changed,
    /// Same value, other topic, key or partition.
    Rerouted,
    /// Headers or a given timestamp differ.
    Metadata,
    /// Two dependent outputs swapped.
    Reordered,
    /// Two independent outputs swapped; never failed.
    BenignReorder,
    /// Same output at a later event time.
    Later,
    /// Same output at an earlier event time.
    Earlier,
    /// Same final value, other intermediate updates; information.
    Refinement,
    /// The last value of a key differs.
    FinalState,
    /// Calls to the outside differ.
    Effect,
    /// What stands in a sink differs.
    SinkDivergence,
    /// What went to the error channel differs.
    DeadLetter,
    /// An output that cannot be read.
    Malformed,
    /// Input pending and nothing moves.
    NoProgress,
    /// The build died.
    Died,
}

/// How a value changed at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Another value of the same type.
    Value,
    /// Another type.
    Type,
    /// A number equal up to its precision (old or new is the other rounded).
    Precision,
    /// Only new has it.
    Added,
    /// Only old has it.
    Removed,
    /// Same value under another name.
    Renamed,
    /// Null on one side, absent on the other.
    NullOrAbsent,
    /// Same elements in another order.
    ArrayOrder,
    /// Same value, other bytes; other framing (`metadata`).
    Encoding,
    /// Exactly the same bytes again (`repeated`).
    Exact,
    /// Same value again in other bytes (`repeated`).
    Semantic,
    /// Another value under the same identity (`repeated`).
    Conflicting,
    /// Other topic (`rerouted`).
    Topic,
    /// Other key (`rerouted`).
    Key,
    /// Other partition (`rerouted`).
    Partition,
    /// Headers (`metadata`).
    Headers,
    /// Timestamp (`metadata`).
    Timestamp,
    /// Another schema id in front of the same bytes, and nobody knows what the schema makes of them (`metadata`).
    UnknownSchema,
    /// The change that was expected there did not take place.
    NotMade,
}

/// What is known of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// New broke it, beyond noise.
    Proven,
    /// Not ruled out to be chance.
    Suspected,
    /// Old against itself shows the same.
    Noise,
    /// Declared as intended.
    Expected,
}

/// Differences of one signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// Kind.
    pub kind: Kind,
    /// Topic of the outputs.
    pub topic: String,
    /// Path within the value, as `$.a.b[*]`; none where the kind has no path.
    pub path: Option<String>,
    /// Change at the path.
    pub change: Option<Change>,
    /// What is known of it.
    pub standing: Standing,
    /// Differences of old against new.
    pub count: u64,
    /// Differences of old against old again with the same signature.
    pub noise_count: u64,
    /// Whether its kind is information only (`benign-reorder`, `refinement`).
    pub information: bool,
    /// Whether all drives differ there, so that it cannot be judged.
    pub unjudgeable: bool,
    /// The test behind the standing.
    pub statistics: Statistics,
    /// Where it first showed, by due time.
    pub first: Option<Sighting>,
    /// A few examples, first ones first.
    pub examples: Vec<Example>,
    /// Short hash of kind, topic, path and change, the same in every run: what `rehearsal review` calls it. Empty where an earlier
    /// version wrote the report.
    #[serde(default)]
    pub id: String,
    /// Outputs of its topic that could have differed so; for last values, keys. Zero where that is not known.
    #[serde(default)]
    pub comparable: u64,
    /// Expectation that speaks of it, as its place in the report's `expected`; none for most.
    #[serde(default)]
    pub expected_by: Option<usize>,
    /// Why its differences are there, as far as they show it.
    #[serde(default)]
    pub explained: Explained,
}

/// The odd-one-out test of a pattern.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Identities compared.
    pub compared: u64,
    /// Identities on which only new disagrees.
    pub odd_new: u64,
    /// Identities on which exactly one drive disagrees with all others.
    pub odd_any: u64,
    /// Identities on which all drives differ.
    pub odd_all: u64,
    /// One-sided binomial p-value at share 1/(k+1), where old is noisy no less than `p_by_stretch`, and where pairs and couples are there
    /// joined with theirs: the least of all, each by its share of the pattern's error, of which the count has what is left. None with
    /// one drive of old.
    pub p_value: Option<f64>,
    /// Benjamini-Hochberg adjusted p-value over the run's family.
    pub q_value: Option<f64>,
    /// Identities that `new-again` confirmed with the same value; none where it was not driven.
    pub recurred: Option<u64>,
    /// Share of identities on which drives of old do not agree, or its upper bound 3/n where that is more; none with one drive
    /// of old.
    pub noise_rate: Option<f64>,
    /// Whether old against itself shows the like.
    #[serde(default)]
    pub seen_in_old: bool,
    /// Identities on which a drive of old is odd in whatever way: what adds an output here takes one away there.
    #[serde(default)]
    pub odd_moving: u64,
    /// As `p_value`, beside `odd_moving`.
    #[serde(default)]
    pub p_beside_noise: Option<f64>,
    /// As `p_beside_noise`, for the identities on which only new again disagrees; none where it was not driven.
    #[serde(default)]
    pub p_again: Option<f64>,
    /// How likely new again would disagree at least so often by chance with drives of old that agree, whether new does there or not, beside
    /// as many identities as old shows noise at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_again_apart: Option<f64>,
    /// As `p_value` by count, where each stretch of the outputs is one piece of evidence however many stand in it; none with one
    /// drive of old, or in an outcome of fewer than 512 outputs.
    #[serde(default)]
    pub p_by_stretch: Option<f64>,
    /// Identities, or units of key or cause, on which both drives of new agree and stand apart from all of old, which agree; none
    /// where new was not driven again.
    #[serde(default)]
    pub pairs_new: Option<u64>,
    /// Those on which any two drives but the first of old do, likewise.
    #[serde(default)]
    pub pairs_any: Option<u64>,
    /// One-sided binomial p-value of `pairs_new` of `pairs_any` at share 2/(k(k+1)), or that by stretches where it is larger; none
    /// where there are no pairs. A tenth of a pattern's error is its.
    #[serde(default)]
    pub p_pairs: Option<f64>,
    /// Couples of drives by what changed: by how much a number or a moment did, of anything else what became what. None where new was
    /// not driven again, no two drives departed together from the others in a value, or the outcome has fewer than 512 outputs. A fifth
    /// of a pattern's error is its.
    #[serde(default)]
    pub couples_by_change: Option<Couples>,
    /// As `couples_by_change`, by the value that it became. A fifth of a pattern's error is its.
    #[serde(default)]
    pub couples_by_value: Option<Couples>,
}

/// The test of couples: identities at which two drives say the same and all others say another same thing, told apart by how the two
/// depart from the others. If new behaves like old, each two of the k+2 drives are equally likely to be them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Couples {
    /// Ways of departing that were told apart.
    pub classes: u64,
    /// Of so many ways one was looked at, whichever its hash chose: all where it is 1. More than can be held in memory prove no less,
    /// yet a change that shows in few of them may go unproven.
    #[serde(default = "all")]
    pub one_in: u64,
    /// Couples of the way that says most, or units of key or cause of them, that are the two drives of new.
    pub new: u64,
    /// Couples of that way, whoever they are.
    pub any: u64,
    /// One-sided p-value over all ways: a binomial at share 2/((k+2)(k+1)) or that by stretches where it is larger, of each way, and
    /// those that could be as small by chance share the error, by the number of their couples.
    pub p_value: f64,
}

fn all() -> u64 {
    1
}

impl Statistics {
    /// Whether driving new once more could tell more: chance can be ruled out at all, new is odd alone somewhere, and was not
    /// yet driven again.
    fn could_recur(&self) -> bool {
        self.p_value.is_some() && self.odd_new > 0 && self.recurred.is_none()
    }
}

/// Where a pattern first showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Topic of the causing event; none where no cause is known.
    pub topic: Option<String>,
    /// Partition of the causing event.
    pub partition: Option<i32>,
    /// Offset of the causing event, as recorded.
    pub offset: Option<i64>,
    /// Whether the event is only the last delivery of the same key before the output arrived; neither the build nor the
    /// lineage names it.
    #[serde(default)]
    pub inferred: bool,
    /// Event time of the cause in milliseconds since the Unix epoch; none where unknown.
    pub event_time_ms: Option<i64>,
    /// Replay time: due time of the cause, else arrival, in microseconds since the schedule's start.
    pub replay_us: i64,
}

/// One difference, shown side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Identity of the outputs, as text.
    pub identity: String,
    /// What old wrote; none where it wrote nothing.
    pub old: Option<Shown>,
    /// What new wrote; none where it wrote nothing.
    pub new: Option<Shown>,
    /// The event behind it.
    pub cause: Option<Sighting>,
    /// How the two values are apart, where they are bytes, or text of several lines; none for trees, of which the path says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<Apart>,
}

/// An output as shown in a report, cut to a bounded length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Sequence in its outcome.
    pub sequence: i64,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Key as text; bytes that are no UTF-8 in hex behind `0x`.
    pub key: Option<String>,
    /// Value as text, likewise; at most 4 KiB.
    pub value: Option<String>,
    /// Arrival in microseconds.
    pub arrived_us: i64,
}

/// By which way the causes of a drive's outputs are known, in outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Causes {
    /// Stated by the build.
    pub build: u64,
    /// Found by what event and output carry both.
    pub lineage: u64,
    /// Inferred: the last delivery of the same key.
    pub inferred: u64,
    /// Not known.
    pub unknown: u64,
}

impl Causes {
    fn count(&mut self, by: Option<CauseBy>) {
        let count = match by {
            Some(CauseBy::Build) => &mut self.build,
            Some(CauseBy::Lineage) => &mut self.lineage,
            Some(CauseBy::Inferred) => &mut self.inferred,
            None => &mut self.unknown,
        };
        *count += 1;
    }

    /// Outputs with a cause.
    pub fn known(self) -> u64 {
        self.build + self.lineage + self.inferred
    }
}

/// What the comparison of all drives found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Outputs by drive (`old`, `old_again`, `new`, …), warm-up left out.
    pub outputs: BTreeMap<String, u64>,
    /// Those of them that cannot be read, likewise.
    #[serde(default)]
    pub unreadable: BTreeMap<String, u64>,
    /// By which way the causes of the outputs are known, likewise.
    #[serde(default)]
    pub causes: BTreeMap<String, Causes>,
    /// Identities that stood on at least one side.
    pub identities: u64,
    /// Paths of the scenario's identity that no output has; they told nothing apart.
    #[serde(default)]
    pub identity_unfound: Vec<String>,
    /// Topics that the scenario has rules for and that nobody knows or writes to, each with a topic that may be meant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics_unfound: BTreeMap<String, Option<String>>,
    /// Whether those are all paths of the identity, so that outputs stood for each other by topic and key alone.
    #[serde(default)]
    pub identity_lost: bool,
    /// Outputs of old that found an equal partner in new.
    pub matched: u64,
    /// Old against new, raw: one an output, by kind.
    pub differences: BTreeMap<Kind, u64>,
    /// Old against old again, likewise; none with a single drive of old.
    pub noise: Option<BTreeMap<Kind, u64>>,
    /// Order of the outputs that are equal in old and new.
    #[serde(default)]
    pub reordering: Reordering,
    /// Identities and keys of so many outputs in such disorder that those counted as `reordered` moved, but not certainly as
    /// few as could have.
    #[serde(default)]
    pub moved_at_most: u64,
    /// Differences by signature: proven first, then by count.
    pub patterns: Vec<Pattern>,
    /// Smallest number of outputs whose change would have been proven with 95 % probability; none with a single drive of old.
    pub power: Option<u64>,
    /// New against new again, information left out; none where new was driven once.
    #[serde(default)]
    pub noise_of_new: Option<BTreeMap<Kind, u64>>,
    /// Whether `new` should be driven once more to settle what the count alone cannot prove and a gate could fail by.
    pub wants_new_again: bool,
    /// How much each rule silenced, by its text.
    pub silenced: BTreeMap<String, u64>,
    /// The build that production itself stands for; none where both were driven. Where it is old, the noise is new's, and tests are of
    /// new's drives.
    #[serde(default)]
    pub production: Option<Side>,
    /// Differences that were left out, as all their outputs lie at the slice's edges.
    #[serde(default)]
    pub at_edges: u64,
    /// Outputs of the build that was driven, by topic, where nothing is known of what production wrote: they are not judged.
    #[serde(default)]
    pub beside_production: BTreeMap<String, u64>,
    /// When the last values of keys became equal for good, by topic; topics whose keys never differed are left out.
    #[serde(default)]
    pub convergence: Vec<Convergence>,
    /// Changelog topics as tables.
    #[serde(default)]
    pub tables: Vec<TableRows>,
    /// Figures of the business, in the order of the scenario.
    #[serde(default)]
    pub figures: Vec<BusinessFigure>,
    /// What is expected of new, the scenario's first, then what was accepted or rejected, and what became of it.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// Redelivery idempotence; none where no fault redelivered or the relation is off.
    pub idempotency: Option<Idempotency>,
    /// Time shift; none where the relation is off.
    #[serde(default)]
    pub time_shift: Option<TimeShift>,
    /// Latency of each build; none where unpaced.
    pub latency: Option<Latency>,
    /// How far each drive was behind, as far as it is known.
    #[serde(default)]
    pub behind: Behind,
    /// Figures of every drive over replay time; none where the drives were not paced.
    #[serde(default)]
    pub series: Option<Series>,
    /// Throughput, processor time and memory, old against new, as far as they are known.
    #[serde(default)]
    pub measures: Vec<Measured>,
    /// Whether the lag of new keeps growing; none where it cannot be told.
    #[serde(default)]
    pub lagging: Option<Lagging>,
    /// Where the run first went apart; none where nothing differs, or nobody knows when.
    #[serde(default)]
    pub first_divergence: Option<FirstDivergence>,
}

impl Comparison {
    /// The build whose drives say what the noise is: old, and new where production stands for old.
    pub fn noisy(&self) -> Side {
        if self.production == Some(Side::Old) { Side::New } else { Side::Old }
    }
}

/// How far the order of new is from old's, over all outputs that are equal in both (RFC 4737).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Reordering {
    /// Outputs whose order was looked at.
    pub compared: u64,
    /// Outputs that came after one that stands behind them in old.
    pub late: u64,
    /// `late` over `compared`; 0 where nothing was compared.
    pub share: f64,
    /// How far the latest fell behind, in outputs of old.
    pub extent: u64,
}

/// Redelivery idempotence of both builds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Idempotency {
    /// Old against itself.
    pub old: Redelivery,
    /// New against itself.
    pub new: Redelivery,
    /// Standing of what new broke beyond old, tested over identities.
    pub increase: Option<Standing>,
    /// Identities that only new repeats.
    pub broken_by_new: u64,
    /// Identities that both repeat.
    pub broken_by_both: u64,
    /// Identities that only old repeats.
    pub mended_by_new: u64,
    /// The test behind `increase`; it looks at identities of which new repeats more than old.
    #[serde(default)]
    pub statistics: Statistics,
    /// How many last values, that redelivery changed, each rule made nothing of, by its text; both builds together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub silenced: BTreeMap<String, u64>,
}

impl Idempotency {
    /// Whether `new` should be driven once more to settle whether it repeats more than old: only where old was driven twice, so
    /// that chance can be ruled out at all, and new not yet again.
    pub fn wants_new_again(&self) -> bool {
        self.increase == Some(Standing::Suspected) && self.statistics.could_recur()
    }
}

/// One build against itself, with and without redelivery.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Redelivery {
    /// Deliveries with attempt > 0 that were sent.
    pub redelivered: u64,
    /// Instances of faults at requests and processes that make clients write, or be handed, something once more: answers lost, members
    /// that joined, processes that were ended or stopped.
    #[serde(default)]
    pub provoked: u64,
    /// Σ over identities of max(0, outputs with redelivery − without).
    pub repeated_effects: u64,
    /// Identities whose last value differs with redelivery.
    pub changed_finals: u64,
    /// Of the repeated effects, those that are calls to the outside, by the effect's name; zeros left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub effects: BTreeMap<String, RepeatedCalls>,
    /// A few, with the redelivered event.
    pub examples: Vec<Example>,
}

/// Calls of one effect that redelivery makes a build repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RepeatedCalls {
    /// Identities with more calls with redelivery than without.
    pub identities: u64,
    /// Σ over them of the calls more.
    pub calls: u64,
}

/// Latency of both builds and how they differ.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Old, from due time to arrival.
    pub old: LatencyFigures,
    /// New, likewise.
    pub new: LatencyFigures,
    /// Increase at each quantile, new over old.
    pub increases: Vec<LatencyIncrease>,
}

/// Quantiles of one build's latency.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencyFigures {
    /// Outputs with a cause.
    pub count: u64,
    /// Median, in microseconds; none where too few.
    pub p50_us: Option<i64>,
    /// 90th percentile.
    pub p90_us: Option<i64>,
    /// 95th percentile.
    pub p95_us: Option<i64>,
    /// 99th percentile.
    pub p99_us: Option<i64>,
    /// 99.9th percentile.
    pub p999_us: Option<i64>,
    /// Largest.
    pub max_us: Option<i64>,
}

/// Increase of one quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyIncrease {
    /// Quantile, such as 0.99.
    pub quantile: f64,
    /// New over the geometric mean of the drives of old, minus one.
    pub increase: f64,
    /// 95 % interval of `increase`: from a block bootstrap within the drives, widened by what drives of old differ by.
    pub interval: (f64, f64),
    /// Whether interval, noise, minimum effect and adjusted p-value all say that new is slower.
    pub slower: bool,
    /// One-sided p-value that new is no slower, the larger of a test within the drives and one between them; joins the run's
    /// family of tests where old was driven more than once.
    #[serde(default)]
    pub p_value: f64,
    /// Benjamini-Hochberg adjusted p-value over the run's family; none until the family is known.
    #[serde(default)]
    pub q_value: Option<f64>,
    /// What old differs from itself by; none where it was driven once.
    #[serde(default)]
    pub noise: Option<LatencyNoise>,
}

/// What drives of old differ from each other by at one quantile: the machine's noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyNoise {
    /// Drives of old.
    pub drives: u64,
    /// Old again over old minus one; of several drives the one that is furthest off.
    pub increase: f64,
    /// 95 % interval of `increase` from a block bootstrap within both drives.
    pub interval: (f64, f64),
    /// The floor below which no increase says anything: the most by which old may be slower than old again or old again than
    /// old, by that interval.
    pub floor: f64,
    /// Standard deviation of the logarithm from one drive of old to the next.
    pub deviation: f64,
}

/// What the run says about the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No gate failed and all that was asked could be judged.
    Agree,
    /// A gate failed.
    Differ,
    /// Something that the verdict rests on could not be told.
    NoVerdict,
}

/// One gate and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// Figure, as in the scenario.
    pub name: String,
    /// Limit as written.
    pub limit: String,
    /// What was observed, in the limit's unit; none where it could not be judged.
    pub observed: Option<String>,
    /// Whether the figure keeps the limit; none where it could not be judged.
    pub pass: Option<bool>,
    /// Why it could not be judged, or what stands behind it.
    pub note: Option<String>,
    /// Whether it is one of the default gates.
    pub default: bool,
    /// Whether it is only a warning.
    pub warning: bool,
}

/// Verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Sentences, gravest first.
    pub reasons: Vec<String>,
    /// Every gate, then every gate that only warns.
    pub gates: Vec<GateResult>,
    /// Sentences on what changes no verdict, what both builds break first.
    pub warnings: Vec<String>,
}
