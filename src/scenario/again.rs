//! Outcomes that are there already, compared again: those of an earlier run, or of other tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::accepted::expectations;
use super::against::against;
use super::checked::{changelogs, known_topics};
use super::effects;
use super::facts::{around_builds, drive_of, endings_of, provoked, quoted, recording_hash, resources};
use super::metrics;
use super::origin::{Origin, isolation};
use super::registered;
use super::reuse::is_used_again;
use super::run::{Terms, compared};
use super::source::shown;
use super::{Scenario, ScenarioError};
use crate::clock::Stop;
use crate::compare::{Facts, FidelityBounds, Figures, Gates, Production, Side, judge};
use crate::outcome::{EndingReport, Outcome, ProductionReport};
use crate::plan::{PlanSummary, Seed};
use crate::recording::Recording;
use crate::report::{Fidelity, RecordingFacts, Report, ScenarioFacts};

/// Compares the outcome in `new` with that in `old`, and with the further drives of old in `again`, by the rules and gates of
/// `rules`. Where outcomes without redelivery stand beside both, as `old-once` beside `old`, each build is held against itself
/// as well; where `new-again` stands beside `new`, it tells what chance is, as it did in the run. Writes nothing.
///
/// An outcome that says of itself that production wrote it stands for production, on either side: the further drives beside the other
/// say what the noise is, and all is as in the run that knew of it.
///
/// # Errors
///
/// [`ScenarioError::Outcome`] where an outcome cannot be read, [`ScenarioError::Problems`] where a rule cannot be used,
/// [`ScenarioError::ProductionAgain`] where production is to have been driven again, [`CompareError::Stopped`](crate::compare::CompareError::Stopped) where `stop` was raised.
pub fn compare_outcomes(
    old: &Path,
    again: &[PathBuf],
    new: &Path,
    rules: &Scenario,
    stop: &Stop,
) -> Result<Report, ScenarioError> {
    let (of_old, of_new) = (Outcome::open(old)?, Outcome::open(new)?);
    let production = Known::of(&of_old, &of_new);
    if production.as_ref().is_some_and(|known| known.side == Side::Old) && !again.is_empty() {
        return Err(ScenarioError::ProductionAgain { path: old.to_owned() });
    }
    let drives = drives((of_old, again), of_new, production.as_ref())?;
    let refused = |error| ScenarioError::from(vec![rules.problem(&error)]);
    // What compares outcomes alone may do without the recording; where it is there, its schemas say what values say.
    let recording = rules.recording().ok().and_then(|location| Recording::open(location).ok());
    let schemas = recording.as_ref().and_then(|recording| recording.schemas().ok()).unwrap_or_default();
    let figures = Figures::check(&rules.settings.figure).map_err(refused)?;
    let expected = expectations(rules)?;
    let checked = rules.settings.compare.check().map_err(refused)?.with_schemas(schemas).with_expected(expected);
    checked.check_schemas().map_err(refused)?;
    // Causes stand in the outcomes: of no effect here, and wrong all the same.
    rules.settings.lineage.check().map_err(refused)?;
    let gates = Gates::check(&rules.settings.gates, &rules.settings.warnings).map_err(refused)?;
    gates.check_figures(&figures).map_err(refused)?;
    let checked = checked.with_figures(figures);
    let checked = checked.with_tables(changelogs(recording.as_ref()));
    let mut checked = checked.with_known_topics(known_topics(rules, recording.as_ref()));
    if let Some(known) = &production {
        checked = checked.against_production(known.production.clone());
    }
    let terms = Terms {
        rules: &checked,
        gates: &gates,
        seed: Seed(rules.settings.seed),
        // Nobody knows whether other outcomes are of these events.
        recording: recording.as_ref().filter(|events| production.as_ref().is_some_and(|known| known.is_of(events))),
        shift: None,
        timed: production.is_none() && !is_used_again(old),
    };
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
    // Nobody paced production.
    let is_paced = |(name, ending): (&String, &EndingReport)| {
        ending.lateness.is_some() || production.as_ref().is_some_and(|known| known.side.name() == name)
    };
    let paced = endings.iter().all(is_paced);
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
        redelivers: production.is_none(),
        isolation: isolation(drives.iter().map(|(name, outcome)| (name.as_str(), outcome.ending()))),
        reproduce: reproduce(old, again, new, rules),
    };
    let said = production.map(|known| against(&known.report, known.side, &comparison));
    let mut report = origin.report(comparison, judgement);
    report.against = said;
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

/// What is known of production where it wrote one of two outcomes.
struct Known {
    side: Side,
    report: ProductionReport,
    production: Production,
}

impl Known {
    fn of(old: &Outcome, new: &Outcome) -> Option<Self> {
        let (old, new) = (old.ending().production.as_ref(), new.ending().production.as_ref());
        let (side, report, other) = match (old, new) {
            (Some(old), new) => (Side::Old, old, new),
            (None, Some(new)) => (Side::New, new, None),
            (None, None) => return None,
        };
        let production = Production::of(report, side);
        let production = other.into_iter().fold(production, Production::beside);
        Some(Self { side, report: report.clone(), production })
    }

    /// Whether the other build was driven by the events of this recording.
    fn is_of(&self, recording: &Recording) -> bool {
        self.report.recording == recording_hash(recording)
    }
}

/// Drives to compare, by name: those that were named, and what stands beside them and tells what chance is, or what redelivery does.
fn drives(
    (old, again): (Outcome, &[PathBuf]),
    new: Outcome,
    production: Option<&Known>,
) -> Result<Vec<(String, Outcome)>, ScenarioError> {
    let (at_old, at_new) = (old.path().to_owned(), new.path().to_owned());
    let mut drives = vec![("old".to_owned(), old)];
    let further = match production {
        Some(known) if known.side == Side::New && again.is_empty() => all_again(&at_old),
        _ => again.to_vec(),
    };
    for (number, path) in further.iter().enumerate() {
        drives.push((super::checked::again(number as u32 + 1), Outcome::open(path)?));
    }
    drives.push(("new".to_owned(), new));
    let of_new = match production {
        Some(known) if known.side == Side::Old => all_again(&at_new),
        Some(_) => Vec::new(),
        // With one drive of old chance cannot be ruled out, however often new was driven.
        None => beside(&at_new, "-again").filter(|_| !again.is_empty()).into_iter().collect(),
    };
    for (number, path) in of_new.iter().enumerate() {
        drives.push((super::checked::again(number as u32 + 1).replacen("old", "new", 1), Outcome::open(path)?));
    }
    if production.is_some() {
        return Ok(drives);
    }
    if let (Some(old_once), Some(new_once)) = (beside(&at_old, "-once"), beside(&at_new, "-once")) {
        drives.push(("old-once".to_owned(), Outcome::open(old_once)?));
        drives.push(("new-once".to_owned(), Outcome::open(new_once)?));
    }
    Ok(drives)
}

/// All further drives that a run left beside `outcome`.
fn all_again(outcome: &Path) -> Vec<PathBuf> {
    let further = (1..).map(|number: u32| match number {
        1 => beside(outcome, "-again"),
        number => beside(outcome, &format!("-again-{number}")),
    });
    further.map_while(|outcome| outcome).collect()
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
