//! Outcomes that are there already, compared again: those of an earlier run, or of other tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::accepted::expectations;
use super::effects;
use super::facts::{around_builds, drive_of, endings_of, provoked, quoted, resources};
use super::metrics;
use super::origin::{Origin, isolation};
use super::registered;
use super::reuse::is_used_again;
use super::run::{Terms, compared};
use super::source::shown;
use super::{Scenario, ScenarioError};
use crate::clock::Stop;
use crate::compare::{Facts, FidelityBounds, Figures, Gates, judge};
use crate::outcome::{EndingReport, Outcome};
use crate::plan::{PlanSummary, Seed};
use crate::recording::Recording;
use crate::report::{Fidelity, RecordingFacts, Report, ScenarioFacts};
use crate::schema::Schemas;

/// Compares the outcome in `new` with that in `old`, and with the further drives of old in `again`, by the rules and gates of
/// `rules`. Where outcomes without redelivery stand beside both, as `old-once` beside `old`, each build is held against itself
/// as well; where `new-again` stands beside `new`, it tells what chance is, as it did in the run. Writes nothing.
///
/// # Errors
///
/// [`ScenarioError::Outcome`] where an outcome cannot be read, [`ScenarioError::Problems`] where a rule cannot be used,
/// [`CompareError::Stopped`](crate::compare::CompareError::Stopped) where `stop` was raised.
pub fn compare_outcomes(
    old: &Path,
    again: &[PathBuf],
    new: &Path,
    rules: &Scenario,
    stop: &Stop,
) -> Result<Report, ScenarioError> {
    let mut drives = vec![("old".to_owned(), Outcome::open(old)?)];
    for (number, path) in again.iter().enumerate() {
        drives.push((super::checked::again(number as u32 + 1), Outcome::open(path)?));
    }
    drives.push(("new".to_owned(), Outcome::open(new)?));
    // With one drive of old chance cannot be ruled out, however often new was driven.
    if let Some(new_again) = beside(new, "-again").filter(|_| !again.is_empty()) {
        drives.push(("new-again".to_owned(), Outcome::open(new_again)?));
    }
    if let (Some(old_once), Some(new_once)) = (beside(old, "-once"), beside(new, "-once")) {
        drives.push(("old-once".to_owned(), Outcome::open(old_once)?));
        drives.push(("new-once".to_owned(), Outcome::open(new_once)?));
    }
    let refused = |error| ScenarioError::from(vec![rules.problem(&error)]);
    // What compares outcomes alone may do without the recording; where it is there, its schemas say what values say.
    let schemas = match rules.recording().map(Recording::open) {
        Ok(Ok(recording)) => recording.schemas().unwrap_or_default(),
        _ => Schemas::default(),
    };
    let figures = Figures::check(&rules.settings.figure).map_err(refused)?;
    let expected = expectations(rules)?;
    let checked = rules.settings.compare.check().map_err(refused)?.with_schemas(schemas).with_expected(expected);
    checked.check_schemas().map_err(refused)?;
    // Causes stand in the outcomes: of no effect here, and wrong all the same.
    rules.settings.lineage.check().map_err(refused)?;
    let gates = Gates::check(&rules.settings.gates, &rules.settings.warnings).map_err(refused)?;
    gates.check_figures(&figures).map_err(refused)?;
    let checked = checked.with_figures(figures);
    let timed = !is_used_again(old);
    let terms =
        Terms { rules: &checked, gates: &gates, seed: Seed(rules.settings.seed), recording: None, shift: None, timed };
    let mut comparison = compared(&drives, &terms, stop)?;
    // Nobody can drive new here: what only one drive more could settle stays suspected.
    comparison.wants_new_again = false;
    if let Some(found) = &mut comparison.idempotency {
        let of = |name: &str| drives.iter().find(|(drive, _)| drive == name).map(|(_, outcome)| outcome);
        let provoked = |name: &str| of(name).map_or(0, provoked);
        (found.old.provoked, found.new.provoked) = (provoked("old"), provoked("new"));
    }
    let endings: BTreeMap<String, EndingReport> =
        drives.iter().map(|(name, outcome)| (name.clone(), outcome.ending().clone())).collect();
    let paced = endings.values().all(|ending| ending.lateness.is_some());
    let bounds = FidelityBounds::default().written_in(&gates);
    let facts =
        Facts { comparison: &comparison, endings: &endings, plan: None, fired: &BTreeMap::new(), paced, bounds };
    let judgement = judge(&facts, &gates);
    let words = rules.settings.effect_words();
    let origin = Origin {
        scenario: ScenarioFacts {
            name: "compare".into(),
            question: rules.question.clone(),
            path: if rules.path.is_file() { rules.path.display().to_string() } else { String::new() },
        },
        seed: rules.settings.seed,
        recording: RecordingFacts {
            path: String::new(),
            events: 0,
            first_ms: None,
            last_ms: None,
            hash: String::new(),
            gaps: 0,
            missing: Vec::new(),
        },
        builds: BTreeMap::new(),
        drives: drives.iter().map(|(name, outcome)| drive_of(name, outcome.ending())).collect(),
        plan: PlanSummary::default(),
        fidelity: Fidelity {
            pace: String::new(),
            lateness: endings.iter().filter_map(|(name, ending)| Some((name.clone(), ending.lateness?))).collect(),
            on_schedule: None,
            bounds: String::new(),
            gaps_cut: 0,
            gaps_cut_us: 0,
            clock: String::new(),
            enforced: String::new(),
        },
        faults: Vec::new(),
        effects: effects::facts(endings_of(&drives), comparison.idempotency.as_ref(), &words),
        redelivers: true,
        isolation: isolation(drives.iter().map(|(name, outcome)| (name.as_str(), outcome.ending()))),
        reproduce: reproduce(old, again, new, rules),
    };
    let mut report = origin.report(comparison, judgement);
    report.resources = resources(drives.iter());
    report.metrics = metrics::facts(drives.iter());
    report.warnings.extend(metrics::warnings(endings_of(&drives)));
    report.warnings.extend(around_builds(&drives));
    report.warnings.extend(effects::warnings(endings_of(&drives)));
    report.flags = super::flags::facts(&drives);
    report.warnings.extend(super::flags::warnings(endings_of(&drives)));
    report.wall_clock = super::wall_clock::facts(endings_of(&drives));
    report.registry = registered::facts(endings_of(&drives));
    report.warnings.extend(registered::warnings(endings_of(&drives)));
    Ok(report)
}

/// The outcome that a run left beside `outcome`, under its name and `suffix`; none where there is none.
fn beside(outcome: &Path, suffix: &str) -> Option<PathBuf> {
    let mut name = outcome.canonicalize().ok()?.file_name()?.to_owned();
    name.push(suffix);
    let beside = outcome.canonicalize().ok()?.with_file_name(name);
    beside.is_dir().then_some(beside)
}

fn reproduce(old: &Path, again: &[PathBuf], new: &Path, rules: &Scenario) -> String {
    let named = |path: &Path| quoted(&path.display().to_string());
    let mut words = vec!["rehearsal compare".to_owned(), named(old), named(new)];
    words.extend(again.iter().map(|path| format!("--old-again {}", named(path))));
    if rules.path.is_file() {
        words.push(format!("--rules {}", named(&rules.path)));
    }
    words.extend(rules.overrides.iter().map(|over| format!("--set {}", quoted(&shown(over)))));
    words.join(" ")
}
