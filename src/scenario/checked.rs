//! A scenario held against its surroundings: what would stop a run is found before anything is started or written.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::accepted::expectations;
use super::flags;
use super::golden;
use super::policy::read_policy;
use super::run::Terms;
use super::source::Problem;
use super::stand::{Stand, stand};
use super::time_shift::{SHIFTED, ShiftRules};
use super::{Scenario, ScenarioError, ScenarioSettings};
use crate::compare::{Expectations, FidelityBounds, Figures, Gates, Order, Rules};
use crate::drive::{
    Build, BuildSettings, DriveRules, Offers, StubRules, check_clock, check_flag_changes, check_instances, check_sinks,
};
use crate::plan::{FaultLog, FaultLogError, Plan, PlanError, PlanSettings, PlanSummary, Seed, plan};
use crate::recording::{Location, Problem as RecordingProblem, Recording, RecordingError, Role, StoreError};
use crate::schema::Schemas;
use crate::settings::SettingError;
use crate::spill::SpillSpace;

/// A scenario that can be run: recording opened, plan made, programs found, rules and gates read.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The scenario.
    pub scenario: Scenario,
    /// Its recording.
    pub recording: Recording,
    /// Its plan.
    pub plan: Plan,
    /// The build in production.
    pub old: Build,
    /// The build to be released.
    pub new: Build,
    /// How builds are driven.
    pub drive: DriveRules,
    /// How outputs are compared.
    pub rules: Rules,
    /// What the verdict rests on.
    pub gates: Gates,
    /// Whether each build is to be held against itself without the redelivered events.
    pub wants_redelivery: bool,
    /// The relation `time-shift`; none where it is off.
    pub(super) shift: Option<Arc<ShiftRules>>,
    /// Fault log whose instances are injected instead of drawn ones.
    pub fault_log: Option<PathBuf>,
    /// Whether old is driven in any case; else an outcome of an earlier run is used again where nothing can be another.
    pub fresh: bool,
    pub(super) old_stand: Stand,
    pub(super) new_stand: Stand,
}

/// Checks `scenario`; with `fault_log`, exactly the faults of that log are planned.
///
/// # Errors
///
/// [`ScenarioError::Problems`] with everything that is wrong, each with its place in the file.
pub fn check(mut scenario: Scenario, fault_log: Option<&Path>) -> Result<Checked, ScenarioError> {
    flags::hide(&mut scenario);
    let settings = &scenario.settings;
    let mut wrong = Wrong { scenario: &scenario, problems: Vec::new() };
    let recording = wrong.keep(open(&scenario)?);
    let transport = settings.drive.transport;
    let named = settings.effect.iter().map(|effect| format!("effects.{}", effect.name));
    let offers = named.fold(Offers::of(transport).with("registry").with("ofrep").with("flags"), Offers::with);
    let [(old, old_stand), (new, new_stand)] = wrong.stands(&offers);
    wrong.keep(recording.as_ref().map_or(Ok(()), |recording| golden::check(&scenario, recording)));
    wrong.keep(check_flag_changes(&settings.flag_change, old.as_ref(), new.as_ref()));
    let beside = !(settings.effect.is_empty() && settings.sink.is_empty());
    let drive = wrong.keep(settings.drive.check_in(&settings.topic, scenario.folder(), beside));
    let lineage = wrong.keep(settings.lineage.check());
    let seed = Seed(settings.seed);
    let stubs = wrong.keep(StubRules::check(&settings.effect, settings.stubs, scenario.folder(), seed));
    let schemas = wrong.keep(recording.as_ref().map_or_else(|| Ok(Schemas::default()), schemas));
    let known = schemas.clone();
    let (rules, gates) = wrong.comparison();
    wrong.hosts();
    let effects = settings.effect.iter().map(|effect| &effect.name);
    let taken: Vec<String> = settings.drive.outputs.iter().chain(effects).cloned().collect();
    let sinks = wrong.keep(check_sinks(&settings.sink, &taken));
    for (index, sink) in sinks.iter().flatten().enumerate() {
        let check = |build: &Build| build.check_late_command(&format!("sink[{index}].snapshot"), sink.snapshot());
        // One problem of the sink, though both builds would have it.
        if let Some(checked) = old.as_ref().or(new.as_ref()).map(check) {
            wrong.keep(checked);
        }
    }
    let builds = [("old", &old), ("new", &new)];
    let builds = builds.iter().skip(usize::from(scenario.against.is_some()));
    let builds: Vec<(&str, &Build)> = builds.filter_map(|(role, build)| Some((*role, build.as_ref()?))).collect();
    wrong.keep(check_instances(&settings.fault, &builds));
    let drive = wrong.with_policy(drive).zip(lineage).zip(schemas.clone()).zip(stubs).zip(sinks);
    let described = recording.iter().flat_map(|recording| &recording.manifest().schemas);
    let described = described.map(|one| (one.topic.as_str(), one.part.as_str(), one.id));
    let drive = drive.map(|((((drive, lineage), schemas), stubs), sinks)| {
        let stubs = stubs.with_schemas(settings.registry, &schemas, described);
        DriveRules { lineage, schemas: schemas.into(), sinks, stubs: Some(stubs), ..drive }
    });
    let expected = wrong.expectations()?;
    let rules = rules.zip(schemas).zip(expected).map(|((rules, schemas), expected)| {
        let rules = rules.with_schemas(schemas).with_expected(expected);
        rules.with_tables(changelogs(recording.as_ref())).with_known_topics(known_topics(&scenario, recording.as_ref()))
    });
    // Without the recording nobody knows which schemas it keeps.
    wrong.keep(rules.as_ref().filter(|_| recording.is_some()).map_or(Ok(()), Rules::check_schemas));
    let log = fault_log.map(read_log).transpose()?;
    let spill = Arc::new(SpillSpace::system());
    let made = match &recording {
        Some(recording) => plan(recording, &plan_settings(&scenario, log), Seed(settings.seed), spill).map(Some),
        // What can be checked without the recording is.
        None => plan_settings(&scenario, log).check().map(|()| None).map_err(PlanError::from),
    };
    let plan = match (made, fault_log) {
        (Err(PlanError::Setting(error)), _) => wrong.keep(Err(error)),
        (Err(PlanError::FaultLog(source)), Some(path)) => return Err(unusable(path, source)),
        (made, _) => made?,
    };
    if let (Some(drive), Some(plan)) = (&drive, &plan) {
        wrong.keep(check_clock(drive, plan.paced(), &settings.fault, &builds));
        let kinds = settings.fault.iter().map(|fault| fault.kind.as_str());
        wrong.keep(drive.check_plan(plan.topics(), kinds));
        wrong.keep(drive.check_faults(plan.topics(), &settings.fault));
        for (key, build) in &builds {
            let outputs = settings.drive.outputs.iter().chain(plan.topics()).map(String::as_str);
            let outputs: Vec<&str> = outputs.collect();
            wrong.keep(build.check_topics(key, &outputs));
        }
    }
    let shift = wrong.shift(plan.as_ref(), known.as_ref());
    let mut problems = wrong.problems;
    problems.sort_by_key(Problem::line);
    // Each part may be sound by itself where they do not go with each other.
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let (Some(recording), Some(old), Some(new), Some(drive), Some(rules), Some(gates), Some(plan)) =
        (recording, old, new, drive, rules, gates, plan)
    else {
        return Err(problems.into());
    };
    let (Some(old_stand), Some(new_stand)) = (old_stand, new_stand) else {
        return Err(problems.into());
    };
    let wants_redelivery =
        scenario.against.is_none() && settings.relations.redelivery.unwrap_or(true) && plan.redelivers();
    let fault_log = fault_log.map(Path::to_owned);
    Ok(Checked {
        scenario,
        recording,
        plan,
        old,
        new,
        drive,
        rules,
        gates,
        wants_redelivery,
        shift,
        fault_log,
        fresh: false,
        old_stand,
        new_stand,
    })
}

/// Collects what is wrong, so that one problem hides none of the others.
struct Wrong<'a> {
    scenario: &'a Scenario,
    problems: Vec<Problem>,
}

impl Wrong<'_> {
    fn keep<T>(&mut self, checked: Result<T, SettingError>) -> Option<T> {
        checked.map_err(|error| self.problems.push(self.scenario.problem(&error))).ok()
    }
}

impl Wrong<'_> {
    /// Finds where both builds stand. Where new is held against what production wrote, new stands for old, which is not driven.
    fn stands(&mut self, offers: &Offers) -> [(Option<Build>, Option<Stand>); 2] {
        let (scenario, settings) = (self.scenario, &self.scenario.settings);
        let mut of = |role: &str, settings: &BuildSettings| {
            self.keep(stand(role, settings, scenario.folder(), offers.clone())).unzip()
        };
        if scenario.against.is_some() {
            let new = of("new", &settings.new);
            return [new.clone(), new];
        }
        [of("old", &settings.old), of("new", &settings.new)]
    }

    /// Checks that names of production lead to what is there.
    fn hosts(&mut self) {
        let settings = &self.scenario.settings;
        let known = |name| settings.effect.iter().any(|effect| effect.name == name);
        for target in settings.drive.hosts.values() {
            if target.strip_prefix("effects.").is_some_and(|name| !name.is_empty() && !known(name)) {
                let instead = "Write `[[effect]]` with that name, or the name of another.";
                self.keep::<()>(Err(SettingError::new("drive.hosts", format!("nothing serves `{target}`"), instead)));
            }
        }
    }

    /// Checks what drives are compared by, and what the verdict rests on.
    fn comparison(&mut self) -> (Option<Rules>, Option<Gates>) {
        let settings = &self.scenario.settings;
        let rules = self.keep(settings.compare.check());
        self.keep::<()>(keeps_order(settings));
        let figures = self.keep(Figures::check(&settings.figure));
        let gates = self.keep(Gates::check(&settings.gates, &settings.warnings));
        if let (Some(gates), Some(figures)) = (&gates, &figures) {
            self.keep(gates.check_figures(figures));
        }
        (rules.zip(figures).map(|(rules, figures)| rules.with_figures(figures)), gates)
    }

    /// The relation `time-shift`; none where it is off, or nothing is held against itself.
    fn shift(&mut self, plan: Option<&Plan>, schemas: Option<&Schemas>) -> Option<Arc<ShiftRules>> {
        let shift = ShiftRules::check(&self.scenario.settings.relations, plan?.topics(), schemas?);
        self.keep(shift).flatten().filter(|_| self.scenario.against.is_none())
    }

    /// What is expected of new; none where some of it cannot be used. What is wrong with what was accepted stands in its own file.
    fn expectations(&mut self) -> Result<Option<Expectations>, ScenarioError> {
        match expectations(self.scenario) {
            Err(ScenarioError::Problems(problems)) => {
                self.problems.extend(problems.0);
                Ok(None)
            }
            expected => expected.map(Some),
        }
    }

    /// Adds the policy that the scenario names, if any; none where it cannot be used. What is wrong inside of it stands in its own
    /// file.
    fn with_policy(&mut self, drive: Option<DriveRules>) -> Option<DriveRules> {
        let Some(name) = &self.scenario.settings.mask.policy else { return drive };
        match read_policy(&self.scenario.path.parent().unwrap_or(Path::new("")).join(name)) {
            Ok(policy) => drive.map(|drive| DriveRules { mask: Some(Arc::new(policy.for_builds())), ..drive }),
            Err(ScenarioError::Problems(problems)) => {
                self.problems.extend(problems.0);
                None
            }
            Err(error) => {
                let instead = "Write the file of a mask policy, relative to this file.";
                self.keep(Err(SettingError::new("mask.policy", in_one_line(&error), instead)))
            }
        }
    }
}

/// Topics that the recording knows as changelogs.
pub(super) fn changelogs(recording: Option<&Recording>) -> Vec<String> {
    let topics = recording.into_iter().flat_map(|recording| &recording.manifest().source.topics);
    topics.filter(|topic| topic.role == Role::Changelog).map(|topic| topic.name.clone()).collect()
}

/// Topics that rules may be written for, whether or not a build writes to them.
pub(super) fn known_topics(scenario: &Scenario, recording: Option<&Recording>) -> Vec<String> {
    let settings = &scenario.settings;
    let recorded = recording.into_iter().flat_map(|recording| &recording.manifest().source.topics);
    let recorded = recorded.map(|topic| &topic.name);
    let named = settings.drive.outputs.iter().chain(settings.topic.keys());
    let effects = settings.effect.iter().map(|effect| &effect.name);
    let sinks = settings.sink.iter().map(|sink| &sink.name);
    recorded.chain(named).chain(effects).chain(sinks).cloned().collect()
}

/// Checks that no order counts which the transport does not keep: it would be held against a build.
fn keeps_order(settings: &ScenarioSettings) -> Result<(), SettingError> {
    match settings.drive.in_flight {
        Some(several) if several > 1 && settings.compare.order != Order::None => {
            let problem = format!("{several} requests of a partition at once overtake each other, also within a key");
            let instead = "Write `order = \"none\"` under `[compare]`, or `in-flight = 1` to keep their order.";
            Err(SettingError::new("drive.in-flight", problem, instead))
        }
        _ => Ok(()),
    }
}

/// Reads the schemas that the recording keeps.
fn schemas(recording: &Recording) -> Result<Schemas, SettingError> {
    recording.schemas().map_err(|error| {
        SettingError::new("recording", in_one_line(&error), "Capture it again, or name another recording.")
    })
}

/// Opens the recording; what is wrong with it is wrong with the key that names it. A store that fails is nobody's mistake: that
/// ends the check.
fn open(scenario: &Scenario) -> Result<Result<Recording, SettingError>, ScenarioError> {
    if scenario.settings.recording.is_empty() {
        let instead = "Write the folder of a recording, such as `recordings/flights`.";
        return Ok(Err(SettingError::new("recording", "no recording is named", instead)));
    }
    let location = match scenario.recording() {
        Ok(location) => location,
        Err(error) => {
            let instead = "Write a folder, or an address such as `s3://bucket/recordings/flights`.";
            return Ok(Err(SettingError::new("recording", error.to_string(), instead)));
        }
    };
    match Recording::open(&location).and_then(|recording| Ok((recording.verify_hashes()?, recording))) {
        Err(error) if StoreError::of(&error).is_some_and(|error| !error.is_absence()) => Err(error.into()),
        opened => Ok(checked_recording(opened, &location)),
    }
}

/// Says what is wrong with a recording that was opened, or why it could not be.
fn checked_recording(
    opened: Result<(Vec<RecordingProblem>, Recording), RecordingError>,
    location: &Location,
) -> Result<Recording, SettingError> {
    let path = location.shown();
    let checked = opened.map_err(|error| {
        let instead = match &error {
            RecordingError::NoManifest { .. } | RecordingError::Unsealed { .. } | RecordingError::BadManifest { .. }
                if matches!(location, Location::Store(_)) || path.join("segments").is_dir() =>
            {
                "If nothing writes it any more, `rehearsal inspect RECORDING --rebuild` makes it whole."
            }
            _ if path.is_file() => {
                "That is a file: `rehearsal import FILE --out RECORDING` makes a recording of it, whose folder is named here."
            }
            _ if path.is_dir() => "Capture or import it again, or name another recording.",
            _ if matches!(location, Location::Store(_)) => "Write the address of a recording that is sealed.",
            _ => "Write the folder of a recording, relative to this file; `rehearsal capture` and `rehearsal import` make one.",
        };
        SettingError::new("recording", in_one_line(&error), instead)
    });
    // A verdict on events that are no longer those of production would be none.
    let (problems, recording) = checked?;
    match problems.first() {
        None => Ok(recording),
        Some(problem) => {
            let instead = "Capture or import it again, or name another recording.";
            Err(SettingError::new("recording", problem.to_string(), instead))
        }
    }
}

/// Writes an error with its causes on one line.
pub(super) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn read_log(path: &Path) -> Result<FaultLog, ScenarioError> {
    let file = File::open(path).map_err(|source| ScenarioError::FaultLog { path: path.to_owned(), source })?;
    FaultLog::read(BufReader::new(file)).map_err(|error| match error {
        FaultLogError::Read(source) => ScenarioError::FaultLog { path: path.to_owned(), source },
        error => unusable(path, error),
    })
}

fn unusable(path: &Path, source: FaultLogError) -> ScenarioError {
    ScenarioError::FaultLogUnusable { path: path.to_owned(), source }
}

/// Returns what the plan is made of.
fn plan_settings(scenario: &Scenario, log: Option<FaultLog>) -> PlanSettings {
    let settings = &scenario.settings;
    PlanSettings {
        select: settings.select.clone(),
        pace: settings.pace.clone(),
        faults: settings.fault.clone(),
        flag_changes: settings.flag_change.clone(),
        replay_log: log,
    }
}

impl Checked {
    /// Returns the names of the drives that a run makes for certain, in the order in which they are shown.
    pub fn drives(&self) -> Vec<String> {
        if self.scenario.against.is_some() {
            let further = (1..=self.drive.repeat_old).map(|number| again(number).replacen("old", "new", 1));
            return std::iter::once("new".to_owned()).chain(further).collect();
        }
        let mut names = vec!["old".to_owned()];
        names.extend((1..=self.drive.repeat_old).map(again));
        names.push("new".into());
        if self.wants_redelivery {
            names.extend(["old-once".into(), "new-once".into()]);
        }
        if self.shift.is_some() {
            names.extend([format!("old{SHIFTED}"), format!("new{SHIFTED}")]);
        }
        names
    }

    /// Says what a run of this plan will cost. The length of the replay is known; what a build needs to drain is not, nor whether
    /// new has to be driven once more.
    pub fn cost(&self, summary: &PlanSummary) -> Cost {
        let drives = self.drives();
        let length =
            if self.plan.paced() { Duration::from_micros(summary.length_us.unsigned_abs()) } else { Duration::ZERO };
        let one_after_the_other = if self.drive.together { 1 } else { drives.len() as u32 };
        Cost { estimate: (length + self.drive.settle) * one_after_the_other, drives }
    }

    /// What its drives are compared by.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            rules: &self.rules,
            gates: &self.gates,
            seed: self.plan.seed(),
            recording: Some(&self.recording),
            shift: self.shift.as_deref(),
            timed: true,
        }
    }

    /// How far a replay may stray from its schedule before it says nothing about timing.
    pub(super) fn bounds(&self) -> FidelityBounds {
        let lateness_p99_us = self.drive.lateness_p99_max.as_micros() as i64;
        FidelityBounds { lateness_p99_us, slow_down: self.drive.slow_down_max }.written_in(&self.gates)
    }
}

/// What a run will cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Names of its drives.
    pub drives: Vec<String>,
    /// How long it takes at least.
    pub estimate: Duration,
}

/// Names the drives of old beyond the first: `old-again`, `old-again-2` and so on.
pub(super) fn again(number: u32) -> String {
    if number == 1 { "old-again".into() } else { format!("old-again-{number}") }
}
