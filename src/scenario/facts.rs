//! Everything a run found, gathered into one [`Report`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::ScenarioError;
use super::checked::Checked;
use super::effects;
use super::flags;
use super::metrics;
use super::origin::{Origin, isolation};
use super::registered;
use super::reuse;
use super::source::shown;
use super::stand::Stand;
use super::wall_clock;
use crate::clock::Stop;
use crate::compare::{Causes, CompareError, Comparison, FidelityBounds, Judgement, off_schedule};
use crate::drive::{Build, BuildSettings, WallClockMode};
use crate::outcome::{EndingReport, Outcome};
use crate::plan::{CLOCK, FLAG_CHANGE, FaultSummary, PaceMode, PaceSettings, PlanSummary, Role};
use crate::recording::Recording;
use crate::report::{
    AgainstFacts, BuildFacts, DriveFacts, FaultFacts, Fidelity, FiredFacts, OldFacts, RecordingFacts, Report,
    RequestFacts, ScenarioFacts, SourceFacts,
};
use crate::worktree::program_hash;

/// What is enforced on a build while it is driven.
const ENFORCED: &str = "that a build and all it started end with its drive; how far it is kept from network and files of this machine, the isolation says; it sees the time as it is";

/// What is said of it in place of the last where its wall clock is set.
const CLOCK_SET: (&str, &str) =
    ("it sees the time as it is", "it sees a time of day that is set, and all other clocks as they are");

/// What is enforced beyond that where drives take place on a real cluster.
const ON_CLUSTER: &str = "; that each drive has topics and a group of its own, and each event stands in its partition once and in the \
    planned order (idempotent producer, acks=all)";

/// Lines of standard error that a report shows of each drive.
const STDERR_LINES: usize = 20;
/// Bytes of standard error that are read to find them.
const STDERR_BYTES: u64 = 8 << 10;

/// What a run found, before it is a report.
pub(super) struct Found<'a> {
    pub(super) checked: &'a Checked,
    pub(super) summary: PlanSummary,
    /// Drives in the order in which they are shown.
    pub(super) drives: &'a [(String, Outcome)],
    pub(super) fired: BTreeMap<String, u64>,
    pub(super) touched: Touched,
    pub(super) comparison: Comparison,
    pub(super) judgement: Judgement,
    pub(super) bounds: FidelityBounds,
    pub(super) old: OldFacts,
    /// What production wrote, where new is held against it.
    pub(super) against: Option<AgainstFacts>,
    /// What was noticed of the builds' folders.
    pub(super) noticed: Vec<String>,
}

/// Gathers a run's report.
pub(super) fn report(found: Found<'_>) -> Report {
    let Found { checked, summary, drives, fired, touched, comparison, judgement, bounds, old, against, noticed } =
        found;
    let scenario = &checked.scenario;
    let builds = [
        ("old", &checked.old, &scenario.settings.old, &checked.old_stand),
        ("new", &checked.new, &scenario.settings.new, &checked.new_stand),
    ];
    let origin = Origin {
        scenario: ScenarioFacts {
            name: scenario.name.clone(),
            question: scenario.question.clone(),
            path: scenario.path.display().to_string(),
        },
        seed: scenario.settings.seed,
        recording: recording(&checked.recording, &scenario.settings.recording),
        builds: builds
            .into_iter()
            .map(|(role, build, settings, stand)| (role.to_owned(), build_facts(role, build, settings, stand, checked)))
            .collect(),
        drives: drives.iter().map(|(name, outcome)| drive(name, outcome, checked)).collect(),
        fidelity: fidelity(checked, &summary, drives, bounds),
        faults: faults(&summary, &fired, &touched),
        effects: effects::facts(endings_of(drives), comparison.idempotency.as_ref(), &scenario.settings.effect_words()),
        plan: summary,
        redelivers: checked.wants_redelivery,
        isolation: isolation(drives.iter().map(|(name, outcome)| (name.as_str(), outcome.ending()))),
        reproduce: reproduce(checked),
    };
    let mut report = origin.report(comparison, judgement);
    if against.is_some() {
        report.builds.insert("old".to_owned(), production());
    }
    // What earlier drives used says nothing of today's.
    let driven = || drives.iter().filter(|(name, _)| old.used_again_from.is_none() || !name.starts_with("old"));
    report.resources = resources(driven());
    report.metrics = metrics::facts(driven());
    report.warnings.extend(metrics::warnings(endings_of(drives)));
    report.warnings.extend(reuse::warning(&old));
    report.warnings.extend(noticed);
    report.outcome_of_old = Some(old).filter(|_| against.is_none());
    report.against = against;
    let manifest = checked.recording.manifest();
    report.warnings.splice(0..0, manifest.doubts().into_iter().chain(manifest.left_out()));
    report.warnings.extend(around_builds(drives));
    report.warnings.extend(timers(checked));
    report.warnings.extend(hidden(checked));
    report.warnings.extend(unknown(checked));
    report.warnings.extend(lost_lineage(checked, &report.causes));
    report.warnings.extend(effects::warnings(endings_of(drives)));
    report.flags = flags::facts(drives);
    report.warnings.extend(flags::warnings(endings_of(drives)));
    report.wall_clock = wall_clock::facts(endings_of(drives));
    report.registry = registered::facts(endings_of(drives));
    report.warnings.extend(registered::warnings(endings_of(drives)));
    report
}

/// What went wrong beside builds and changes nothing of what they did.
pub(super) fn around_builds(drives: &[(String, Outcome)]) -> impl Iterator<Item = String> {
    let of_drive = |(name, report): (&str, &EndingReport)| {
        report.warnings.iter().map(|warning| format!("{name}: {warning}")).collect::<Vec<_>>()
    };
    endings_of(drives).flat_map(of_drive)
}

/// How each drive ended, by its name.
pub(super) fn endings_of(drives: &[(String, Outcome)]) -> impl Iterator<Item = (&str, &EndingReport)> {
    drives.iter().map(|(name, outcome)| (name.as_str(), outcome.ending()))
}

/// Warns of a lineage that found the cause of no output.
fn lost_lineage(checked: &Checked, causes: &BTreeMap<String, Causes>) -> Option<String> {
    checked.drive.lineage.as_ref()?;
    let all = causes.values();
    let (found, wrote) =
        all.fold((0, 0), |(found, wrote), one| (found + one.lineage, wrote + one.lineage + one.inferred + one.unknown));
    (found == 0 && wrote > 0).then(|| {
        "`[lineage]` found the event behind no output: what it names stands in no event that was handed over ahead of them, or in no \
         output. Causes are at most inferred from keys."
            .to_owned()
    })
}

/// Says what a recording is; `path` is how it was named.
fn recording(recording: &Recording, path: &str) -> RecordingFacts {
    let manifest = recording.manifest();
    let missing = manifest.missing_by_cause();
    RecordingFacts {
        path: path.to_owned(),
        events: recording.len(),
        first_ms: manifest.span.map(|span| span.first_ms),
        last_ms: manifest.span.map(|span| span.last_ms),
        hash: recording_hash(recording),
        // What lies between the values of a table ahead of its window is none.
        gaps: missing.iter().map(|one| one.stretches).sum(),
        missing,
    }
}

/// SHA-256 over the hashes of its segments, in hexadecimal.
pub(super) fn recording_hash(recording: &Recording) -> String {
    let mut hash = Sha256::new();
    for segment in &recording.manifest().segments {
        hash.update(segment.sha256.as_deref().unwrap_or(&segment.file));
    }
    hexadecimal(&hash.finalize())
}

/// Production, of which nobody knows how it was started.
fn production() -> BuildFacts {
    BuildFacts {
        name: "production".to_owned(),
        command: Vec::new(),
        program_hash: None,
        source: None,
        flags: BTreeMap::new(),
        env_names: Vec::new(),
        env_hash: String::new(),
    }
}

fn build_facts(role: &str, build: &Build, settings: &BuildSettings, stand: &Stand, checked: &Checked) -> BuildFacts {
    // What came into the command from the environment may be a secret: its name is shown in its place.
    let masked = |part: &String| checked.scenario.masked(&format!("{role}.command"), part);
    let flags = settings.flags.iter();
    BuildFacts {
        name: match stand {
            // Builds of two revisions have the same program, and would have the same name.
            Stand::Revision(revision) if settings.name.is_none() => format!("{} at {}", build.name(), revision.written),
            _ => build.name().to_owned(),
        },
        command: build.command().iter().map(masked).collect(),
        program_hash: build.program_file().and_then(|program| program_hash(&program)),
        source: source(build, stand),
        flags: flags.map(|(name, flag)| (name.clone(), flag.shown())).collect(),
        env_names: build.env_names().map(str::to_owned).collect(),
        env_hash: build.env_hash(),
    }
}

/// What a build was made of.
fn source(build: &Build, stand: &Stand) -> Option<SourceFacts> {
    match stand {
        Stand::Revision(revision) => Some(SourceFacts {
            revision: Some(revision.written.clone()),
            commit: revision.wanted.commit.clone(),
            directory: revision.wanted.place.display().to_string(),
            dirty: false,
            changes_hash: None,
        }),
        Stand::Folder(folder) => {
            let (repository, changes) = folder.git.as_ref()?;
            let directory = build.directory().canonicalize().unwrap_or_default();
            let place = repository.place(&directory).unwrap_or_default();
            Some(SourceFacts {
                revision: None,
                commit: changes.commit.clone(),
                directory: place.display().to_string(),
                dirty: changes.hash.is_some(),
                changes_hash: changes.hash.clone(),
            })
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Says how one drive went.
fn drive(name: &str, outcome: &Outcome, checked: &Checked) -> DriveFacts {
    let ending = outcome.ending();
    let settings = &checked.scenario.settings;
    let build = if name.starts_with("old") { &settings.old } else { &settings.new };
    DriveFacts { stderr_tail: stderr_tail(outcome.path(), build.env.values()), ..drive_of(name, ending) }
}

/// What each drive's processes used, by its name: processor time in microseconds, the most memory in bytes and the most processes.
pub(super) fn resources<'d>(drives: impl Iterator<Item = &'d (String, Outcome)>) -> Option<Json> {
    let mut all = serde_json::Map::new();
    for (drive, outcome) in drives {
        // Figures of a drive that cannot be read are figures that are not there.
        let gauges = outcome.gauges().unwrap_or_default();
        let most = |name: &str| {
            let values = gauges.iter().filter(|gauge| gauge.name == name).map(|gauge| gauge.value);
            values.fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))))
        };
        let figures = [
            ("cpu_us", most("cpu-us")),
            ("memory_peak_bytes", most("memory-peak-bytes")),
            ("processes", most("processes")),
        ];
        let figures: serde_json::Map<String, Json> = figures
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Json::from(value? as u64))))
            .collect();
        if !figures.is_empty() {
            all.insert(drive.replace('-', "_"), Json::Object(figures));
        }
    }
    (!all.is_empty()).then_some(Json::Object(all))
}

/// Says how a drive went by its ending alone.
pub(super) fn drive_of(name: &str, ending: &EndingReport) -> DriveFacts {
    DriveFacts {
        drive: name.to_owned(),
        ending: ending.ending,
        reason: ending.reason.clone(),
        sent: ending.sent.unwrap_or(0),
        deliveries: ending.deliveries.unwrap_or(0),
        outputs: ending.outputs.unwrap_or(0),
        length_us: ending.length_us.unwrap_or(0),
        stderr_tail: Vec::new(),
        sinks: ending.sinks.clone(),
        instances: ending.instances.clone(),
    }
}

/// Reads the last lines of standard error, without the values that were given to the build in its environment.
fn stderr_tail<'a>(outcome: &Path, secrets: impl Iterator<Item = &'a String>) -> Vec<String> {
    let Ok(mut file) = File::open(outcome.join("stderr.log")) else { return Vec::new() };
    let length = file.metadata().map_or(0, |about| about.len());
    let mut bytes = Vec::new();
    let start = length.saturating_sub(STDERR_BYTES);
    if file.seek(SeekFrom::Start(start)).and_then(|_| file.take(STDERR_BYTES).read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    // Shorter values are words such as `info` and `true`, which a log is full of.
    for secret in secrets.filter(|secret| secret.len() >= 6) {
        text = text.replace(secret.as_str(), "…");
    }
    // The first line may have been cut off.
    let lines: Vec<&str> = text.lines().skip(usize::from(start > 0)).collect();
    lines[lines.len().saturating_sub(STDERR_LINES)..].iter().map(|&line| line.to_owned()).collect()
}

fn fidelity(
    checked: &Checked,
    summary: &PlanSummary,
    drives: &[(String, Outcome)],
    bounds: FidelityBounds,
) -> Fidelity {
    let lateness: BTreeMap<_, _> =
        drives.iter().filter_map(|(name, outcome)| Some((name.clone(), outcome.ending().lateness?))).collect();
    let endings: BTreeMap<_, _> =
        drives.iter().map(|(name, outcome)| (name.clone(), outcome.ending().clone())).collect();
    let strayed = off_schedule(&endings, bounds);
    Fidelity {
        pace: checked.plan.pace_text(),
        on_schedule: (checked.plan.paced() && !lateness.is_empty()).then_some(strayed.is_empty()),
        lateness,
        bounds: format!(
            "p99 lateness at most {} ms, slow-down at most {} %",
            bounds.lateness_p99_us as f64 / 1e3,
            bounds.slow_down * 100.0
        ),
        gaps_cut: summary.gaps_cut,
        gaps_cut_us: summary.gaps_cut_us,
        clock: clock(checked),
        enforced: format!("{}{}", enforced(drives), if on_cluster(checked) { ON_CLUSTER } else { "" }),
    }
}

/// What is enforced on builds.
fn enforced(drives: &[(String, Outcome)]) -> String {
    let set = endings_of(drives).any(|(_, ending)| ending.wall_clock.is_some());
    if set { ENFORCED.replace(CLOCK_SET.0, CLOCK_SET.1) } else { ENFORCED.to_owned() }
}

/// Whether drives take place on a real cluster.
fn on_cluster(checked: &Checked) -> bool {
    checked.drive.kafka.as_ref().is_some_and(|kafka| kafka.cluster.is_some())
}

/// Says what a real cluster does not show.
fn unknown(checked: &Checked) -> Option<String> {
    on_cluster(checked).then(|| {
        "Drives took place on a real cluster: an event counts as handed over once its brokers had acknowledged it, and lateness is \
         counted up to there. When builds read it shows in their commits alone; positions are the brokers' own, timestamps the recorded \
         ones, of the type CreateTime. Aborted transactions, and what builds write to other topics or commit in other groups, are not \
         seen."
            .to_owned()
    })
}

/// Says which clock deliveries are handed over by, and how it is waited for.
fn clock(checked: &Checked) -> String {
    let wait = match checked.drive.spin.as_micros() {
        0 => "sleeping until each due time".to_owned(),
        spin => format!("watched for {spin} us ahead of each due time"),
    };
    if checked.plan.paced() {
        format!("the machine's monotonic clock, {wait}")
    } else {
        "none waited for; the machine's monotonic clock tells when".to_owned()
    }
}

/// Warns of differences that nobody can see as the policy for what builds write takes them away before anything is kept.
fn hidden(checked: &Checked) -> Option<String> {
    let hides = checked.drive.mask.as_ref()?.hides();
    (!hides.is_empty()).then(|| {
        format!(
            "What builds write is masked before it is kept: a difference within {} cannot be seen and counts in nothing.",
            hides.join(", ")
        )
    })
}

/// Warns of what builds do by clocks of their own where event time passes otherwise than those.
fn timers(checked: &Checked) -> Option<String> {
    // How far that goes is said with the clocks themselves.
    if checked.drive.clock == WallClockMode::Recorded {
        return None;
    }
    let passes = match &checked.scenario.settings.pace {
        PaceSettings { mode: PaceMode::Recorded, .. } => return None,
        PaceSettings { mode: PaceMode::Accelerated, speed, .. } if *speed == Some(1.0) => {
            return None;
        }
        PaceSettings { mode: PaceMode::Unpaced, .. } => "as fast as builds take events".to_owned(),
        PaceSettings { mode: PaceMode::Accelerated, speed: Some(speed), .. } => {
            format!("{speed} times as fast as recorded")
        }
        PaceSettings { mode: PaceMode::Rate, .. } => "evenly by event".to_owned(),
        PaceSettings { .. } => "in bursts".to_owned(),
    };
    Some(format!(
        "Event time passes {passes}, builds' own clocks do not: what a build does by a timer or the time of day comes at \
         other events than in production, and cannot be told from the rest."
    ))
}

/// What faults at requests did, by fault, then drive. Drives that a fault was to spare are not among them.
#[derive(Debug, Default)]
pub(super) struct Touched(BTreeMap<String, BTreeMap<String, FiredFacts>>);

fn faults(summary: &PlanSummary, fired: &BTreeMap<String, u64>, touched: &Touched) -> Vec<FaultFacts> {
    let facts = summary.faults.iter().map(|fault| {
        let requests = fault.at_requests.as_ref().map(|at| RequestFacts {
            begins: at.begins.clone(),
            by_time: at.by_time,
            drives: touched.0.get(&fault.name).cloned().unwrap_or_default(),
        });
        let only = fault.at_requests.as_ref().and_then(|at| at.only);
        let first = if only == Some(Role::Old) { "old" } else { "new" };
        let of_new = requests.as_ref().and_then(|requests| requests.drives.get(first));
        // A flag that changes touches no request, nor does a clock that is wrong.
        let elsewhere = [FLAG_CHANGE, CLOCK].contains(&fault.kind.as_str());
        let achieved = of_new.filter(|_| !elsewhere).map_or_else(
            || fault.coverage.clone(),
            |fired| {
                let by_request = fired.requests.iter().map(|(name, number)| (name.clone(), *number as f64));
                std::iter::once(("touched".to_owned(), fired.touched as f64)).chain(by_request).collect()
            },
        );
        FaultFacts {
            name: fault.name.clone(),
            kind: fault.kind.clone(),
            legality: format!("{:?}", fault.legality),
            planned: fault.planned,
            fired: of_new.map_or_else(|| fired.get(&fault.name).copied().unwrap_or(0), |fired| fired.instances),
            coverage: achieved,
            requests,
        }
    });
    facts.collect()
}

/// Clients of one fault that are counted by name; what is beyond counts together.
const CLIENTS_MAX: usize = 100;

/// Under which name other clients count.
const OTHER_CLIENTS: &str = "(others)";

/// Gathers what faults at requests did.
pub(super) fn touched(drives: &[(String, Outcome)], stop: &Stop) -> Result<Touched, ScenarioError> {
    let mut all = BTreeMap::<String, BTreeMap<String, FiredFacts>>::new();
    for (drive, outcome) in drives {
        for (fault, count) in &outcome.ending().faults {
            let stops = outcome.ending().stops.get(fault).copied();
            let (instances, touched) = (count.instances, count.touched);
            let fired = FiredFacts { instances, touched, stops, ..FiredFacts::default() };
            all.entry(fault.clone()).or_default().insert(drive.clone(), fired);
        }
        for touch in outcome.touches()?.into_iter().flatten() {
            if stop.raised() {
                return Err(CompareError::Stopped.into());
            }
            let touch = touch?;
            let Some(fired) = all.get_mut(&touch.fault).and_then(|drives| drives.get_mut(drive)) else { continue };
            if let Some(request) = touch.api {
                *fired.requests.entry(request).or_default() += 1;
            }
            if let Some(client) = touch.client {
                let known = fired.clients.contains_key(&client) || fired.clients.len() < CLIENTS_MAX;
                *fired.clients.entry(if known { client } else { OTHER_CLIENTS.to_owned() }).or_default() += 1;
            }
        }
    }
    Ok(Touched(all))
}

/// Instances of faults at requests that can have made a build write, or be handed, something once more, in one drive.
pub(super) fn provoked(drive: &Outcome) -> u64 {
    drive.ending().faults.values().map(|count| count.provoked).sum()
}

/// Counts the instances of each fault at events that were handed over in a drive.
///
/// An instance shows on the deliveries that it touched. What a fault kept from being delivered cannot show on one: it fired
/// where the drive got to its end.
pub(super) fn fired(
    summary: &PlanSummary,
    drive: Option<&Outcome>,
    stop: &Stop,
) -> Result<BTreeMap<String, u64>, ScenarioError> {
    let Some(drive) = drive else { return Ok(BTreeMap::new()) };
    // In the order of their bits.
    let at_events: Vec<&FaultSummary> = summary.faults.iter().filter(|fault| fault.at_requests.is_none()).collect();
    let mut counts = vec![0_u64; at_events.len()];
    for receipts in drive.deliveries()?.into_iter().flatten() {
        if stop.raised() {
            return Err(CompareError::Stopped.into());
        }
        for receipt in receipts?.iter().filter(|receipt| receipt.sent_us.is_some()) {
            let mut bits = receipt.delivery.faults;
            while bits != 0 {
                if let Some(count) = counts.get_mut(bits.trailing_zeros() as usize) {
                    *count += 1;
                }
                bits &= bits - 1;
            }
        }
    }
    let whole = drive.ending().sent == drive.ending().deliveries;
    let fired = at_events.into_iter().zip(counts).map(|(fault, count)| {
        let unseen = fault.kind == "drop" && whole;
        (fault.name.clone(), if unseen { fault.planned } else { count.min(fault.planned) })
    });
    Ok(fired.collect())
}

/// Writes the one command that repeats the run.
fn reproduce(checked: &Checked) -> String {
    let scenario = &checked.scenario;
    let mut words = vec!["rehearsal".to_owned(), "run".to_owned(), quoted(&scenario.path.display().to_string())];
    words.extend(["--seed".to_owned(), scenario.settings.seed.to_string()]);
    // Branches move on: what was driven is named by its commit.
    let stands = [("old", &checked.old_stand), ("new", &checked.new_stand)];
    if let Some(against) = &scenario.against {
        words.extend(["--against".to_owned(), quoted(&against.written())]);
    }
    for (role, stand) in stands.into_iter().skip(usize::from(scenario.against.is_some())) {
        if let Stand::Revision(revision) = stand {
            words.extend([format!("--{role}"), revision.wanted.commit.clone()]);
        }
    }
    let pinned = |over: &&String| {
        let pins = |(role, stand): (&str, &Stand)| {
            matches!(stand, Stand::Revision(_))
                && over.split('=').next().is_some_and(|key| key.trim() == format!("{role}.git"))
        };
        stands.into_iter().any(pins)
    };
    for over in scenario.overrides.iter().filter(|over| !over.starts_with("seed=") && !pinned(over)) {
        words.extend(["--set".to_owned(), quoted(&shown(over))]);
    }
    if let Some(log) = &checked.fault_log {
        words.extend(["--faults".to_owned(), quoted(&log.display().to_string())]);
    }
    words.join(" ")
}

/// Quotes a word for a shell where it needs it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        for (word, shown) in [
            ("a/b.toml", "a/b.toml"),
            ("drive.settle=2s", "drive.settle=2s"),
            ("", "''"),
            ("fault[0]=it's", r"'fault[0]=it'\''s'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn what_lies_between_the_values_of_a_table_ahead_of_its_window_is_no_gap() {
        use crate::recording::{
            Event, EventBatchBuilder, GapCause, MissingOffsets, RecordingWriter, Source, TopicSource,
        };
        let folder = tempfile::tempdir().unwrap();
        let (starts, windows) = ([(0, 100)].into(), [(0, 100)].into());
        let prices =
            TopicSource { name: "prices".to_owned(), partitions: 1, starts, windows, ..TopicSource::default() };
        let source = Source { topics: vec![prices], ..Source::default() };
        let mut writer = RecordingWriter::create(folder.path().join("out"), source).unwrap();
        writer.missing("prices", 0, MissingOffsets { first: 101, last: 104, cause: GapCause::Compaction });
        let mut batch = EventBatchBuilder::new();
        for offset in [3, 7, 100, 105] {
            batch.push_event(&Event { topic: "prices".to_owned(), offset, ..Event::default() });
        }
        writer.write(&batch.finish()).unwrap();
        writer.seal().unwrap();
        let facts = super::recording(&Recording::open(folder.path().join("out")).unwrap(), "out");
        assert_eq!((facts.gaps, facts.missing[0].offsets), (1, 4));
    }

    #[test]
    fn the_tail_of_standard_error_shows_no_value_of_the_environment() {
        let outcome = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..2_000).map(|number| format!("line {number} token=s3cret-token")).collect();
        std::fs::write(outcome.path().join("stderr.log"), lines.join("\n")).unwrap();
        let tail = stderr_tail(outcome.path(), ["s3cret-token".to_owned()].iter());
        assert_eq!(tail.len(), STDERR_LINES);
        assert_eq!(tail.last().map(String::as_str), Some("line 1999 token=…"));
        assert!(stderr_tail(Path::new("/nowhere"), std::iter::empty()).is_empty());
    }
}
