//! The whole pipeline on one page: plan, drive, compare, judge, report.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

use super::ScenarioError;
use super::checked::Checked;
use super::facts::{self, Found};
use super::folder::{Destination, RunFolder};
use super::golden::Golden;
use super::reuse::{UsedAgain, use_again};
use super::stand::{built, changed_meanwhile};
use super::time_shift::{SHIFTED, ShiftRules};
use crate::clock::Stop;
use crate::compare::{
    Clocked, CompareError, Comparison, EventTimes, Facts, Gates, Redelivered, Rules, compare, idempotency, judge,
    over_time, settle, unsteadiness,
};
use crate::drive::{ClusterError, DriveError, Job, LeftBehind, drive_all, look_around};
use crate::outcome::{EndingReport, Outcome};
use crate::plan::{BegunInstance, Phase, Seed, fault_log, request_log, write as write_plan};
use crate::recording::Recording;
use crate::report::{Format, Report, render};
use crate::spill::SpillSpace;

/// Earlier drives that are named where many left something behind.
const NAMED_MAX: usize = 5;

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// Where it stands.
    pub folder: RunFolder,
    /// What it found.
    pub report: Report,
}

/// Hears how a run gets on. Called from several threads; must not block.
pub trait Watcher: Sync {
    /// Something to know before the drives start.
    fn note(&self, text: &str);

    /// The build `role` is being made by `command`, whose last line so far is `line`.
    fn making(&self, role: &str, command: &str, line: &str) {
        let _ = (role, command, line);
    }

    /// The build `role` is no longer being made, however that went.
    fn made(&self, role: &str) {
        let _ = role;
    }

    /// `drive` has started and will hand over so many deliveries.
    fn started(&self, drive: &str, deliveries: u64);

    /// `drive` has handed over so many deliveries.
    fn sent(&self, drive: &str, sent: u64);

    /// `drive` has ended.
    fn ended(&self, drive: &str, ending: &str);
}

/// Runs a checked scenario and writes everything into a folder of its own.
///
/// # Errors
///
/// [`ScenarioError::FolderExists`] before anything is written, [`ScenarioError::Stopped`] where `stop` was raised; else what a
/// room could not do. What was written stays. That builds differ, die or hang is a result, never an error.
pub fn run(
    checked: &Checked,
    destination: &Destination,
    watcher: &dyn Watcher,
    stop: &Stop,
) -> Result<Run, ScenarioError> {
    RunFolder::check(destination)?;
    let checked = &built(checked, destination.below(), watcher, stop)?;
    let summary = checked.plan.summary()?;
    for fault in summary.faults.iter().filter(|fault| fault.touches_nothing()) {
        watcher.note(&format!("the fault `{}` touches nothing: there will be no verdict", fault.name));
    }
    look_ahead(checked, watcher, stop)?;
    let folder = RunFolder::make(destination, &checked.scenario.name)?;
    folder.fill("plan.parquet", |file| write_plan(&checked.plan, file))?;
    folder.fill("faults.ndjson", |file| fault_log(&checked.plan, file))?;

    let unfinished = |error| stopped_comparing(error, folder.path());
    let golden = Golden::open(checked, &folder, stop).map_err(unfinished)?;
    let (mut drives, old) = match &golden {
        Some(golden) => (golden_and_driven(golden, checked, &folder, watcher, stop)?, UsedAgain::default()),
        None => driven_or_used_again(checked, destination, &folder, watcher, stop)?,
    };
    let rules = golden.as_ref().map_or_else(|| checked.rules.clone(), |golden| golden.rules(&checked.rules));
    let timed = old.facts.used_again_from.is_none() && golden.is_none();
    let terms = Terms { timed, rules: &rules, ..checked.terms() };
    let mut comparison = compared(&drives, &terms, stop).map_err(unfinished)?;
    if comparison.wants_new_again {
        drives.extend(driven(checked, &["new-again".into()], &folder.path().join("outcomes"), watcher, stop)?);
        comparison = compared(&drives, &terms, stop).map_err(unfinished)?;
    }
    let noticed = changed_meanwhile(checked, destination.below());
    old.leave(&folder, &drives, !noticed.is_empty())?;

    let endings: BTreeMap<String, EndingReport> =
        drives.iter().map(|(name, outcome)| (name.clone(), outcome.ending().clone())).collect();
    let fired = facts::fired(&summary, one(&drives, "new"), stop).map_err(unfinished)?;
    let touched = facts::touched(&drives, stop).map_err(unfinished)?;
    log_requests(checked, one(&drives, "new"), &folder)?;
    if let (Some(found), Some(old), Some(new)) = (&mut comparison.idempotency, one(&drives, "old"), one(&drives, "new"))
    {
        (found.old.provoked, found.new.provoked) = (facts::provoked(old), facts::provoked(new));
    }
    let bounds = checked.bounds();
    let facts = Facts {
        comparison: &comparison,
        endings: &endings,
        plan: Some(&summary),
        fired: &fired,
        paced: checked.plan.paced(),
        bounds,
    };
    let judgement = judge(&facts, &checked.gates);
    let old = old.facts;
    let drives = &drives;
    let against = golden.map(|golden| golden.facts(&comparison));
    let report = facts::report(Found {
        checked,
        summary,
        drives,
        fired,
        touched,
        comparison,
        judgement,
        bounds,
        old,
        against,
        noticed,
    });
    write_report(&folder, &report)?;
    Ok(Run { folder, report })
}

/// Adds to the fault log what began faults at requests in the drive of new: requests are the build's own, so nobody knew ahead of it.
fn log_requests(checked: &Checked, new: Option<&Outcome>, folder: &RunFolder) -> Result<(), ScenarioError> {
    let Some(touches) = new.map(Outcome::touches).transpose()?.flatten() else { return Ok(()) };
    let mut unread = None;
    let touches = touches.map_while(|touch| touch.map_err(|error| unread = Some(error)).ok());
    let begun = touches.map(|touch| BegunInstance {
        fault: touch.fault,
        request: touch.request,
        partition: touch.partitions.into_iter().next().map(|first| (first.topic, first.partition)),
        at_us: touch.at_us,
    });
    let name = "faults.ndjson";
    folder.fill(name, |file| {
        let failed = |source| ScenarioError::Folder { path: folder.path().join(name), source };
        io::copy(&mut File::open(folder.path().join(name)).map_err(failed)?, file).map_err(failed)?;
        request_log(&checked.plan, begun, BufWriter::new(file)).map_err(ScenarioError::from)
    })?;
    unread.map_or(Ok(()), |error| Err(error.into()))
}

/// Looks at what drives will take place on, before anything is made: nothing is ever produced to the cluster that the recording came
/// from. Tells what earlier drives left there.
fn look_ahead(checked: &Checked, watcher: &dyn Watcher, stop: &Stop) -> Result<(), ScenarioError> {
    let path = || checked.scenario.folder().to_owned();
    let left = look_around(&checked.drive, &checked.recording, stop).map_err(|error| stopped(error, &path()))?;
    for LeftBehind { drive, topics, groups } in left.iter().take(NAMED_MAX) {
        watcher.note(&format!(
            "a drive that was killed, or goes on elsewhere, has {} topics and {} groups on the cluster: `rehearsal sweep {} --drive \
             {drive}` removes them",
            topics.len(),
            groups.len(),
            facts::quoted(&checked.scenario.path.display().to_string()),
        ));
    }
    if left.len() > NAMED_MAX {
        watcher.note(&format!("{} more drives have topics or groups there", left.len() - NAMED_MAX));
    }
    Ok(())
}

/// Drives one build, the old one of a checked scenario, and keeps what it did in `out`.
///
/// # Errors
///
/// As [`run`].
pub fn replay(checked: &Checked, out: &Path, watcher: &dyn Watcher, stop: &Stop) -> Result<Outcome, ScenarioError> {
    let checked = &built(checked, out, watcher, stop)?;
    let deliveries = checked.plan.summary()?.deliveries;
    look_ahead(checked, watcher, stop)?;
    watcher.started("old", deliveries);
    let job = Job {
        name: "old",
        plan: &checked.plan,
        recording: &checked.recording,
        deliveries: Some(deliveries),
        build: &checked.old,
        rules: &checked.drive,
        out: out.to_owned(),
    };
    let outcome = drive_all(&[job], true, stop, &|progress| watcher.sent(progress.drive, progress.sent)).remove(0);
    watcher.ended("old", "");
    outcome.map_err(|error| stopped(error, out))
}

/// Makes all drives of a run, but for those of old where an earlier run has made the same.
fn driven_or_used_again(
    checked: &Checked,
    destination: &Destination,
    folder: &RunFolder,
    watcher: &dyn Watcher,
    stop: &Stop,
) -> Result<(Vec<(String, Outcome)>, UsedAgain), ScenarioError> {
    let names = checked.drives();
    let (of_old, of_new): (Vec<String>, Vec<String>) = names.iter().cloned().partition(|name| name.starts_with("old"));
    let outcomes = folder.path().join("outcomes");
    let mut old = use_again(checked, &of_old, destination, folder)?;
    let Some(run) = &old.facts.used_again_from else {
        return Ok((driven(checked, &names, &outcomes, watcher, stop)?, old));
    };
    watcher.note(&format!("the outcome of old is used again from {run}; --fresh drives it"));
    let mut drives = driven(checked, &of_new, &outcomes, watcher, stop)?;
    if old.goes_with(one(&drives, "new")) {
        drives.append(&mut old.drives);
    } else {
        watcher.note("drives are not kept to themselves as they were then: old is driven");
        old.give_up("drives are not kept to themselves by the same layers as they were then")?;
        drives.extend(driven(checked, &of_old, &outcomes, watcher, stop)?);
    }
    drives.sort_by_key(|(drive, _)| names.iter().position(|name| name == drive));
    Ok((drives, old))
}

/// Puts what production wrote in old's place and makes all drives of new.
fn golden_and_driven(
    golden: &Golden,
    checked: &Checked,
    folder: &RunFolder,
    watcher: &dyn Watcher,
    stop: &Stop,
) -> Result<Vec<(String, Outcome)>, ScenarioError> {
    let mut drives = vec![("old".to_owned(), golden.outcome.clone())];
    drives.extend(driven(checked, &checked.drives(), &folder.path().join("outcomes"), watcher, stop)?);
    Ok(drives)
}

/// Makes the drives called `names`, side by side or one after the other, each into a folder of its own below `outcomes`.
fn driven(
    checked: &Checked,
    names: &[String],
    outcomes: &Path,
    watcher: &dyn Watcher,
    stop: &Stop,
) -> Result<Vec<(String, Outcome)>, ScenarioError> {
    fs::create_dir_all(outcomes).map_err(|source| ScenarioError::Folder { path: outcomes.to_owned(), source })?;
    let once = checked.plan.once();
    let later =
        checked.shift.as_ref().map(|shift| (checked.plan.moved(shift.by_us()), shift.recording(&checked.recording)));
    let mut jobs = Vec::new();
    for name in names {
        let (plan, recording) = match &later {
            Some((plan, recording)) if name.ends_with(SHIFTED) => (plan, recording),
            _ if name.ends_with("-once") => (&once, &checked.recording),
            _ => (&checked.plan, &checked.recording),
        };
        let deliveries = plan.summary()?.deliveries;
        watcher.started(name, deliveries);
        jobs.push(Job {
            name,
            plan,
            recording,
            deliveries: Some(deliveries),
            build: if name.starts_with("old") { &checked.old } else { &checked.new },
            rules: &checked.drive,
            out: outcomes.join(name),
        });
    }
    let ended = drive_all(&jobs, checked.drive.together, stop, &|progress| watcher.sent(progress.drive, progress.sent));
    let mut drives = Vec::new();
    for (name, outcome) in names.iter().zip(ended) {
        let outcome = outcome.map_err(|error| stopped(error, outcomes))?;
        watcher.ended(name, &outcome.ending().reason);
        drives.push((name.clone(), outcome));
    }
    // Raised as the last drive ended: nobody looks at it any more, and a comparison may take long.
    if stop.raised() { Err(ScenarioError::Stopped { path: outcomes.to_owned() }) } else { Ok(drives) }
}

/// What drives are compared by.
pub(super) struct Terms<'a> {
    pub(super) rules: &'a Rules,
    pub(super) gates: &'a Gates,
    pub(super) seed: Seed,
    /// None where nobody knows it.
    pub(super) recording: Option<&'a Recording>,
    /// The relation `time-shift`; none where it is off.
    pub(super) shift: Option<&'a ShiftRules>,
    /// Whether old was driven when new was: else how long each took is not compared.
    pub(super) timed: bool,
}

/// Compares all drives: new with old, each build with itself, and how long they took; all tests are one family.
///
/// # Errors
///
/// [`CompareError::Stopped`] where `stop` is raised meanwhile; else what cannot be read or put aside.
pub(super) fn compared(
    drives: &[(String, Outcome)],
    terms: &Terms<'_>,
    stop: &Stop,
) -> Result<Comparison, ScenarioError> {
    let _heeding = stop.heed();
    let Terms { rules, gates, seed, recording, shift, timed } = *terms;
    let rules = &rules.clone().without_sinks(unseen_sinks(drives));
    let asked = stop.clone();
    let spill = SpillSpace::system().until(move || asked.raised());
    let (old, new) = by_build(drives);
    let mut comparison = compare(&old, &new, rules, recording, &spill)?;
    if let ([new, again], false) = (new.as_slice(), comparison.production.is_some()) {
        comparison.noise_of_new = Some(unsteadiness(new, again, rules, recording, &spill)?);
    }
    if let (Some(old_once), Some(new_once)) = (one(drives, "old-once"), one(drives, "new-once")) {
        let (old, new) = (Redelivered { with: &old, once: old_once }, Redelivered { with: &new, once: new_once });
        comparison.idempotency = Some(idempotency(&old, &new, rules, recording, &spill)?);
        for (name, outcome) in [("old_once", old_once), ("new_once", new_once)] {
            comparison.outputs.insert(name.to_owned(), outputs_of(outcome, stop)?);
        }
    }
    let shifted = |build: &str| one(drives, &format!("{build}{SHIFTED}"));
    if let (Some(shift), Some(old_shifted), Some(new_shifted)) = (shift, shifted("old"), shifted("new")) {
        let found = shift.hold((&old, old_shifted), (&new, new_shifted), &comparison, rules, &spill)?;
        comparison.time_shift = Some(found);
        for (name, outcome) in [("old_shifted", old_shifted), ("new_shifted", new_shifted)] {
            comparison.outputs.insert(name.to_owned(), outputs_of(outcome, stop)?);
        }
    }
    let named = drives.iter().filter(|(name, _)| !stands_beside(name));
    let named: Vec<(String, &Outcome)> = named.map(|(name, outcome)| (name.replace('-', "_"), outcome)).collect();
    let times = recording.map(|recording| recording as &dyn EventTimes);
    // The draws of its bootstrap are keyed by the scenario's seed.
    let clocked = Clocked { drives: &named, timed, times, draw: &seed.draws("latency") };
    over_time(&mut comparison, &clocked, &spill)?;
    settle(&mut comparison, gates);
    Ok(comparison)
}

/// Sinks of which there is no snapshot in some drive.
fn unseen_sinks(drives: &[(String, Outcome)]) -> BTreeSet<String> {
    let reports = drives.iter().flat_map(|(_, outcome)| &outcome.ending().sinks);
    reports.filter(|(_, report)| report.failed.is_some()).map(|(sink, _)| sink.clone()).collect()
}

/// Counts what a drive wrote, without its warm-up.
fn outputs_of(outcome: &Outcome, stop: &Stop) -> Result<u64, ScenarioError> {
    let mut count = 0;
    for batch in outcome.outputs()? {
        if stop.raised() {
            return Err(CompareError::Stopped.into());
        }
        let batch = batch?;
        count += (0..batch.len()).filter(|&row| batch.get(row).phase != Phase::WarmUp).count() as u64;
    }
    Ok(count)
}

fn stopped(error: DriveError, outcomes: &Path) -> ScenarioError {
    match error {
        DriveError::Stopped { .. } | DriveError::Cluster(ClusterError::Stopped { .. }) => {
            ScenarioError::Stopped { path: outcomes.to_owned() }
        }
        error => error.into(),
    }
}

fn stopped_comparing(error: ScenarioError, folder: &Path) -> ScenarioError {
    match error {
        ScenarioError::Compare(CompareError::Stopped) => ScenarioError::Stopped { path: folder.join("outcomes") },
        error => error,
    }
}

/// Writes a report in every format that has a file.
///
/// # Errors
///
/// [`ScenarioError::Folder`] where the disk refuses.
pub fn write_report(folder: &RunFolder, report: &Report) -> Result<(), ScenarioError> {
    for format in Format::ALL {
        if let Some(name) = format.file_name() {
            folder.write(name, render(report, format).as_bytes())?;
        }
    }
    folder.finish()
}

/// Parts drives into those of old and those of new, of each first the one that is compared; drives without redelivery apart.
fn by_build(drives: &[(String, Outcome)]) -> (Vec<Outcome>, Vec<Outcome>) {
    let of = |build: &str| {
        let named = drives.iter().filter(|(name, _)| name.starts_with(build) && !stands_beside(name));
        named.map(|(_, outcome)| outcome.clone()).collect()
    };
    (of("old"), of("new"))
}

/// Whether a drive is none of those that a build is compared by: its events are others.
fn stands_beside(drive: &str) -> bool {
    drive.ends_with("-once") || drive.ends_with(SHIFTED)
}

fn one<'a>(drives: &'a [(String, Outcome)], name: &str) -> Option<&'a Outcome> {
    drives.iter().find(|(drive, _)| drive == name).map(|(_, outcome)| outcome)
}
