//! A comparison to bytes: one file a format. Renderers compute nothing; all show the same [`Report`].
//!
//! In comes a [`Report`], which is `run.json`; out comes text in one of the [`Format`]s. Pure: opens nothing, reads no clock, so
//! the same report gives the same bytes on every machine. What never happens here: a figure is worked out that the report does
//! not hold; text from a recording or a build acts on what shows it (a browser, a terminal, a parser); "cannot tell" looks like
//! a pass.

mod answers;
mod apart;
mod builds;
mod business;
mod expected;
mod figures;
mod html;
mod isolation;
mod json;
mod junit;
mod junit_properties;
mod markdown;
mod over_time;
mod state;
mod terminal;
mod words;

pub use json::ReportError;
pub use junit::junit;
pub use terminal::{Colours, TerminalStyle, one_pattern, terminal};

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::compare::{
    BusinessFigure, Causes, Convergence, Expected, FirstDivergence, FreshnessFigures, GateResult, Idempotency, Kind,
    LagFigures, Lagging, Latency, Measured, Pattern, Series, Side, TableRows, Verdict,
};
use crate::outcome::{
    EffectCount, Ending, FlagsReport, InstanceReport, Isolation, Lateness, RegisteredSchema, SinkReport, StopCount,
    WallClockReport,
};
use crate::plan::PlanSummary;
use crate::recording::CauseFacts;

/// Version of `run.json` that this program writes. Any `1.x` is read.
pub const FORMAT: &str = "1.0";

/// Writes `report` in `format`. The same report gives the same text, byte for byte.
///
/// [`Format::Terminal`] comes without colours and without the place of the files; [`terminal()`] takes both.
pub fn render(report: &Report, format: Format) -> String {
    match format {
        Format::Html => html::html(report),
        Format::Json => json::json(report),
        Format::Junit => junit(&[report]),
        Format::Markdown => markdown::markdown(report),
        Format::Terminal => terminal(report, TerminalStyle::default()),
    }
}

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// One page for a browser that opens offline: `report.html`, at most 5 MB.
    Html,
    /// `run.json`, from which every other format is made.
    Json,
    /// JUnit XML, as GitHub, GitLab and Jenkins read it: `junit.xml`. A testcase a gate; what is no pass is never green.
    Junit,
    /// For the comment of a pull request: `summary.md`, under 60 kB.
    Markdown,
    /// What `rehearsal run` prints at the end, 100 columns wide.
    Terminal,
}

impl Format {
    /// Every format, in alphabetical order.
    pub const ALL: [Self; 5] = [Self::Html, Self::Json, Self::Junit, Self::Markdown, Self::Terminal];

    /// Returns the name, as after `--format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Json => "json",
            Self::Junit => "junit",
            Self::Markdown => "markdown",
            Self::Terminal => "terminal",
        }
    }

    /// Returns the name of the file that a run writes in this format; none for the terminal.
    pub fn file_name(self) -> Option<&'static str> {
        match self {
            Self::Html => Some("report.html"),
            Self::Json => Some("run.json"),
            Self::Junit => Some("junit.xml"),
            Self::Markdown => Some("summary.md"),
            Self::Terminal => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Self, ReportError> {
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| ReportError::Format { name: text.to_owned() })
    }
}

/// All that a run found: `run.json`, from which every other format is rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Format version, [`FORMAT`].
    pub format: String,
    /// Version of the program that wrote it.
    pub tool: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why the verdict is what it is: sentences, gravest first.
    pub reasons: Vec<String>,
    /// The scenario behind the run; its texts are empty for a comparison without one.
    pub scenario: ScenarioFacts,
    /// Seed of every draw.
    pub seed: u64,
    /// The recording that was replayed; its texts are empty where it is not known.
    pub recording: RecordingFacts,
    /// Builds by role: `old`, `new`; empty where outcomes of unknown builds were compared.
    pub builds: BTreeMap<String, BuildFacts>,
    /// Where the outcome of old comes from; none where that is not known.
    #[serde(default)]
    pub outcome_of_old: Option<OldFacts>,
    /// What production wrote, where new was held against it instead of an old build; none in any other run.
    #[serde(default)]
    pub against: Option<AgainstFacts>,
    /// Each drive, by name in run order.
    pub drives: Vec<DriveFacts>,
    /// The plan.
    pub plan: PlanSummary,
    /// How well the schedule was kept.
    pub fidelity: Fidelity,
    /// Each fault of the scenario, in its order, and what came of it.
    pub faults: Vec<FaultFacts>,
    /// Outputs by drive (`old`, `old_again`, `new`, `old_once`, `new_once`), warm-up left out.
    pub outputs: BTreeMap<String, u64>,
    /// By which way the causes of the outputs are known, likewise; empty where an earlier version wrote the report.
    #[serde(default)]
    pub causes: BTreeMap<String, Causes>,
    /// Identities compared.
    pub identities: u64,
    /// Differences of old against new by kind, raw: one an output, noise included; zeros left out.
    pub differences: BTreeMap<Kind, u64>,
    /// Differences of old against old again, likewise; none with a single drive of old.
    pub noise: Option<BTreeMap<Kind, u64>>,
    /// Where the run first went apart, in replay time and in event time; none where nothing counts as different, or nobody knows when.
    #[serde(default)]
    pub first_divergence: Option<FirstDivergence>,
    /// Differences by signature: proven first, then by count.
    pub patterns: Vec<Pattern>,
    /// Smallest number of outputs whose change would have been proven with 95 % probability; none with a single drive of old.
    pub power: Option<u64>,
    /// How many differences each rule silenced, by its text.
    pub silenced: BTreeMap<String, u64>,
    /// When the last values of keys became equal for good, by topic; topics whose keys never differed are left out.
    #[serde(default)]
    pub convergence: Vec<Convergence>,
    /// Changelog topics as tables.
    #[serde(default)]
    pub tables: Vec<TableRows>,
    /// Figures of the business (`[[figure]]`), in the order of the scenario; empty where it has none.
    #[serde(default)]
    pub figures: Vec<BusinessFigure>,
    /// What is expected of new, the scenario's first, then what was accepted or rejected of earlier runs, and what became of it.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// Redelivery idempotence of each build; none where nothing redelivers or the relation is off.
    pub idempotency: Option<Idempotency>,
    /// What builds called of the world outside, by effect; empty where the scenario has none.
    #[serde(default)]
    pub effects: Vec<EffectFacts>,
    /// Flags of the builds and what became of them; none where they have none.
    #[serde(default)]
    pub flags: Option<FlagFacts>,
    /// How the wall clocks of the builds followed the events; none where they had the machine's.
    #[serde(default)]
    pub wall_clock: Option<WallClockFacts>,
    /// What builds registered with the schema registries of their drives; none where they asked for nothing.
    #[serde(default)]
    pub registry: Option<RegistryFacts>,
    /// Relations and who broke them.
    pub relations: Vec<RelationFacts>,
    /// Latency of each build, from due time to arrival; none where unpaced.
    pub latency: Option<Latency>,
    /// Lag in events, by drive (`old`, `old_again`, `new`, …); none where no build committed anything, or without a schedule.
    pub lag: Option<BTreeMap<String, LagFigures>>,
    /// Freshness, likewise.
    pub freshness: Option<BTreeMap<String, FreshnessFigures>>,
    /// Whether the lag of new keeps growing, and since when; none where it cannot be told.
    #[serde(default)]
    pub lagging: Option<Lagging>,
    /// Throughput, processor time and memory of each drive as a whole, and whether new's are worse.
    #[serde(default)]
    pub measures: Vec<Measured>,
    /// Figures of every drive over replay time; none where the drives were not paced.
    #[serde(default)]
    pub series: Option<Series>,
    /// How far each drive was kept to itself, by its name as in `outputs`: layers, enforced or not, attempts to leave, and what it was
    /// let through to; none where nothing is known of it.
    pub isolation: Option<BTreeMap<String, Isolation>>,
    /// What the processes of each drive used, by its name: `cpu_us`, `memory_peak_bytes`, `processes` (the most at once); none where
    /// it was not measured.
    pub resources: Option<serde_json::Value>,
    /// Figures that the builds themselves offer (`metrics`), as each drive had them last; empty where none were asked for.
    #[serde(default)]
    pub metrics: Vec<MetricFacts>,
    /// Every gate, default or written, and how it went.
    pub gates: Vec<GateResult>,
    /// Things to know that change no verdict.
    pub warnings: Vec<String>,
    /// One command that repeats the run.
    pub reproduce: String,
}

/// The scenario behind a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioFacts {
    /// Name: the file's stem, or its folder's where the stem is `scenario`.
    pub name: String,
    /// Question it asks: its first comment line.
    pub question: Option<String>,
    /// Path as given; empty where there is none.
    pub path: String,
}

/// The recording behind a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingFacts {
    /// Path as given.
    pub path: String,
    /// Events in it.
    pub events: u64,
    /// First event time, milliseconds since the Unix epoch.
    pub first_ms: Option<i64>,
    /// Last event time, likewise.
    pub last_ms: Option<i64>,
    /// SHA-256 over its segments' hashes, in hex; empty where unknown.
    pub hash: String,
    /// Gaps that capture left in it: stretches of offsets that are missing.
    pub gaps: u64,
    /// Offsets without an event, by cause, the gravest first: what retention took is lost to the rehearsal.
    #[serde(default)]
    pub missing: Vec<CauseFacts>,
}

/// One version of the processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildFacts {
    /// Name as written; its role where none was.
    pub name: String,
    /// Command and arguments as written, placeholders included.
    pub command: Vec<String>,
    /// SHA-256 of the file that its command starts, links followed, where it could be read. It tells which program ran, and nothing of
    /// what that loads: of an interpreter not the script, of a script not the interpreter. `source` tells what they stand in.
    pub program_hash: Option<String>,
    /// What it was made of; none where its folder lies in no git repository.
    #[serde(default)]
    pub source: Option<SourceFacts>,
    /// Flags as written.
    pub flags: BTreeMap<String, serde_json::Value>,
    /// Names of the variables given to it, sorted; never their values.
    pub env_names: Vec<String>,
    /// SHA-256 over names and values, in hex.
    pub env_hash: String,
}

/// What a build was made of, as git knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Revision as it was asked for, such as `main`; none for a folder as it is.
    pub revision: Option<String>,
    /// Commit, in full: of a folder the one that is checked out in it.
    pub commit: String,
    /// Where the build's folder lies in the repository; empty for its top.
    pub directory: String,
    /// Whether the folder held other files than its commit when the build was driven: changed, new or missing ones. Files that git is
    /// told to ignore, the runs, the recording and the scenario itself count for nothing.
    pub dirty: bool,
    /// SHA-256 over paths and contents of those files, in hex; none where there are none. The same files give the same hash.
    pub changes_hash: Option<String>,
}

/// Where the outcome of old comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OldFacts {
    /// Folder of the earlier run in which old was driven; none where it was driven in this one.
    pub used_again_from: Option<String>,
    /// Why nothing could be used again, as a fragment; empty where something was, or nothing fits.
    pub driven_because: String,
    /// SHA-256 over all that the outcome rests on (plan, recording, build, flags, rules of driving, machine), in hex: a run with the same
    /// may use it again. None where not all of that can be told.
    pub key: Option<String>,
}

/// What production wrote and the other build was held against.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgainstFacts {
    /// The build that it stands for: old, but where outcomes are compared the other way round.
    #[serde(default)]
    pub side: Side,
    /// `recorded`, or the folder of an outcome.
    pub source: String,
    /// Topics of the recording that production wrote; empty for an outcome.
    pub topics: Vec<String>,
    /// Outputs of production that were compared.
    pub outputs: u64,
    /// Outputs of production that lie outside of the slice and were left out.
    pub outside: u64,
    /// Outputs of production, among those compared, that lie at the slice's edges.
    pub at_edges: u64,
    /// How long an edge is, in microseconds of event time; none where edges are not known.
    pub edge_us: Option<i64>,
    /// Differences that were left out, as all their outputs lie at an edge.
    pub differences_at_edges: u64,
    /// Outputs of the other build that nothing of production's can be held against, by topic: they are not judged.
    pub not_judged: BTreeMap<String, u64>,
    /// Sentences on what was compared, left out and not judged.
    pub says: Vec<String>,
}

/// One build fed with one plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriveFacts {
    /// Name: `old`, `old-again`, `new`, `old-once`, `new-once`, `new-again`.
    pub drive: String,
    /// How it ended.
    pub ending: Ending,
    /// Why, as a fragment such as `exit code 3 after 1,204 of 26,398 deliveries`; may be empty.
    pub reason: String,
    /// Deliveries handed over.
    pub sent: u64,
    /// Deliveries planned.
    pub deliveries: u64,
    /// Outputs that were kept.
    pub outputs: u64,
    /// Length from the schedule's start, in microseconds.
    pub length_us: i64,
    /// Last lines of standard error.
    pub stderr_tail: Vec<String>,
    /// What came of the snapshot of each sink, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sinks: BTreeMap<String, SinkReport>,
    /// Each process of the build, where there were several or one was started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceReport>,
}

/// How well the schedule was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Pace as written, such as `accelerated, 3600 times`.
    pub pace: String,
    /// Lateness of deliveries against their due times, by drive; empty where unpaced.
    pub lateness: BTreeMap<String, Lateness>,
    /// Whether every drive kept the bounds; none where unpaced.
    pub on_schedule: Option<bool>,
    /// Bounds as a phrase, such as `p99 lateness 50 ms, slow-down 1 %`.
    pub bounds: String,
    /// Silences cut.
    pub gaps_cut: u64,
    /// Replay time saved by cutting them, in microseconds.
    pub gaps_cut_us: i64,
    /// Clock that deliveries were handed over by, and how it was waited for; empty where it is not known.
    #[serde(default)]
    pub clock: String,
    /// What was enforced on builds, and what was not; empty where it is not known.
    #[serde(default)]
    pub enforced: String,
}

/// A fault and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultFacts {
    /// Name that keys its draws.
    pub name: String,
    /// Kind, as in the catalogue.
    pub kind: String,
    /// Legality class: `A` (can happen with nothing broken), `B` (under failures or ordinary settings), `C` (outside Kafka's
    /// promise).
    pub legality: String,
    /// Instances planned.
    pub planned: u64,
    /// Instances that were handed over to `new`; of a fault at requests, or a change of a flag, those that fired in it, or in `old` where they
    /// are old's alone.
    pub fired: u64,
    /// What was achieved, as name and figure in order; of a fault at requests in `new`: what was touched, and requests by name.
    pub coverage: Vec<(String, f64)>,
    /// For a fault at requests of Kafka clients, or a change of a flag: when it fires, and what it did in each drive; none for one at events.
    #[serde(default)]
    pub requests: Option<RequestFacts>,
}

/// When a fault at requests fires, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// When an instance begins, in words.
    pub begins: String,
    /// Whether replay time begins instances, at the same instants in every drive; else a number of requests does, and requests are
    /// the client's own: they are not the same in any two drives.
    pub by_time: bool,
    /// What it did, by drive; drives that it was to spare are not among them.
    pub drives: BTreeMap<String, FiredFacts>,
}

/// What a fault at requests did in one drive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FiredFacts {
    /// Instances that began and touched something.
    pub instances: u64,
    /// Requests, partitions of requests, connections and groups that were touched.
    pub touched: u64,
    /// Of those, requests by name.
    pub requests: BTreeMap<String, u64>,
    /// And by `client.id`.
    pub clients: BTreeMap<String, u64>,
    /// What it did to processes; none of a fault at requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops: Option<StopCount>,
}

/// One series of figures that the builds themselves offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricFacts {
    /// Its name and labels, as Prometheus text has them; `@1` behind them stands for the second of several processes.
    pub name: String,
    /// The last figure of each drive that has it.
    pub drives: BTreeMap<String, f64>,
}

/// What builds called of one part of the world outside, for which a stub stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectFacts {
    /// Name.
    pub name: String,
    /// Calls by drive, warm-up included.
    pub drives: BTreeMap<String, EffectCount>,
    /// What redelivery would do, such as `new would have charged 37 cards twice, old none`; none where that was not asked.
    pub repeats: Option<String>,
}

/// What became of the flags of builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagFacts {
    /// By drive.
    pub drives: BTreeMap<String, FlagsReport>,
    /// At which flags old and new differ, which changed when, and which were evaluated how often at which value, as fragments.
    pub says: Vec<String>,
}

/// How the wall clocks of builds followed the events that they were handed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WallClockFacts {
    /// By drive.
    pub drives: BTreeMap<String, WallClockReport>,
    /// By which way each was set, what came of trying that, and how far it was ever off, as fragments.
    pub says: Vec<String>,
}

/// What builds registered with the schema registries of their drives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryFacts {
    /// Schemas by drive, in the order in which they came; those that the drive's registry had already are left out.
    pub drives: BTreeMap<String, Vec<RegisteredSchema>>,
    /// Where old and new register other schemas, as fragments; or that they register the same.
    pub says: Vec<String>,
}

/// A relation and who broke it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelationFacts {
    /// Name, such as `redelivery` or `determinism`.
    pub name: String,
    /// `kept by both` · `broken by both` · `broken by new` · `mended by new` · `not judged`; where one build alone could be judged,
    /// `kept by old`, `broken by old` and so on.
    pub result: String,
    /// Sentence that says what stands behind it; may be empty.
    pub note: String,
}
