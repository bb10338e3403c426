//! Facts and gates to a verdict with its reasons.
//!
//! Pure. The order of precedence is [`judge`]'s own text; what each gate counts stands in `assess.rs`, how it is said in
//! `sentences.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::assess::{Finding, assess, totals, unjudgeable};
use super::deviation;
use super::figure::{Figure, kind_name};
use super::gates::{Gates, Limit};
use super::lagging;
use super::latency::Quantile;
use super::sentences::{self, count, counted, percent, time};
use super::shared;
use super::timing;
use super::{Change, Comparison, GateResult, Judgement, Kind, Pattern, Standing, TableRows, TimeShift, Verdict};
use crate::outcome::{Ending, EndingReport};
use crate::plan::{FLAG_CHANGE, FaultSummary, PlanSummary, is_of_process};

/// All that a verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the comparison found, idempotency and latency included.
    pub comparison: &'a Comparison,
    /// How each drive ended, by its name: `old`, `old-again`, `old-once`, `new`, `new-once`, `new-again`; and how often faults at
    /// requests fired in it.
    pub endings: &'a BTreeMap<String, EndingReport>,
    /// The plan; none where outcomes are compared whose plan nobody knows.
    pub plan: Option<&'a PlanSummary>,
    /// Instances of each fault at events that were handed over to `new`, by the fault's name; what is not in it did not fire.
    pub fired: &'a BTreeMap<String, u64>,
    /// Whether the replay kept to due times; false for the pace `unpaced`.
    pub paced: bool,
    /// How far the replay may stray from its schedule before gates on timing are void.
    pub bounds: FidelityBounds,
}

/// How far a replay may stray from its schedule before it says nothing about timing. Gates on `lateness-p99` and `slow-down`
/// replace them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FidelityBounds {
    /// Highest 99th percentile of lateness, in microseconds; 50 ms by default.
    pub lateness_p99_us: i64,
    /// Highest slow-down; 1 % by default.
    pub slow_down: f64,
}

impl Default for FidelityBounds {
    fn default() -> Self {
        Self { lateness_p99_us: 50_000, slow_down: 0.01 }
    }
}

impl FidelityBounds {
    /// Returns the bounds with those replaced that `gates` writes.
    #[must_use]
    pub fn written_in(mut self, gates: &Gates) -> Self {
        for gate in &gates.gates {
            match (gate.figure, gate.limit) {
                (Figure::LatenessP99, Limit::Time(limit)) => self.lateness_p99_us = limit.us(),
                (Figure::SlowDown, Limit::Share(limit)) => self.slow_down = limit,
                _ => {}
            }
        }
        self
    }
}

impl Verdict {
    /// Returns the exit code of the program: 0 agree, 1 differ, 3 no verdict.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Agree => 0,
            Self::Differ => 1,
            Self::NoVerdict => 3,
        }
    }
}

/// Judges a release by its gates.
///
/// In this order: a drive of old that did not finish is no verdict, before any gate is asked. A drive of new that did not
/// finish, where all of old's did, is `differ`. So is a gate that failed, even where other parts could not be judged. Else no
/// verdict where a gate stands or falls with a suspicion, where a written gate could not be judged, or where the test did not
/// take place: a fault of which nothing fired (one at requests: in any drive), builds that wrote nothing, outputs of which none found its
/// counterpart, redelivery to drives that may have shared state, or sinks of such. Else `agree`. Warnings change nothing.
///
/// ```
/// use std::collections::BTreeMap;
/// use rehearsal::compare::{Comparison, Facts, FidelityBounds, Gates, Verdict, judge};
///
/// let comparison = Comparison::default();
/// let facts = Facts {
///     comparison: &comparison,
///     endings: &BTreeMap::new(),
///     plan: None,
///     fired: &BTreeMap::new(),
///     paced: true,
///     bounds: FidelityBounds::default(),
/// };
/// assert_eq!(judge(&facts, &Gates::default()).verdict, Verdict::NoVerdict);
/// ```
pub fn judge(facts: &Facts<'_>, gates: &Gates) -> Judgement {
    let bounds = facts.bounds.written_in(gates);
    let of_figures = |warning: bool| {
        let gates = gates.figures.iter().filter(move |gate| gate.warning == warning);
        gates.map(|gate| deviation::assess(facts, gate))
    };
    let findings = gates.gates.iter().map(|gate| assess(facts, gate, bounds, false)).chain(of_figures(false));
    let findings: Vec<Finding> = findings.collect();
    let warned = gates.warnings.iter().map(|gate| assess(facts, gate, bounds, true)).chain(of_figures(true));
    let warned: Vec<Finding> = warned.collect();
    let (verdict, reasons) = decide(facts, &findings);
    let warnings = warnings(facts, gates, bounds, &warned);
    let results =
        std::iter::once(ending_gate(facts)).chain(findings.into_iter().chain(warned).map(|finding| finding.result));
    let gates = match verdict {
        Verdict::NoVerdict if !failing(facts, is_old).is_empty() => results.map(unasked).collect(),
        _ => results.collect(),
    };
    Judgement { verdict, reasons, gates, warnings }
}

fn decide(facts: &Facts<'_>, findings: &[Finding]) -> (Verdict, Vec<String>) {
    let (old_failing, new_failing) = (failing(facts, is_old), failing(facts, is_new));
    if !old_failing.is_empty() {
        let reasons = old_failing.into_iter().chain(new_failing);
        return (Verdict::NoVerdict, reasons.collect());
    }
    let sentences = |pass: Option<bool>| {
        let chosen = findings.iter().filter(move |finding| finding.result.pass == pass && !speaks_of_endings(finding));
        chosen.flat_map(|finding| finding.sentences.clone())
    };
    let mut failed = new_failing;
    failed.extend(sentences(Some(false)));
    failed.extend(time_shift(facts, TimeShift::is_broken_by_new));
    let unsure: Vec<String> = untested(facts).into_iter().chain(sentences(None)).collect();
    match (failed.is_empty(), unsure.is_empty()) {
        (false, _) => (Verdict::Differ, failed.into_iter().chain(unsure).collect()),
        (true, false) => (Verdict::NoVerdict, unsure),
        (true, true) => (Verdict::Agree, vec![agreement(facts)]),
    }
}

/// Whether the ending of new said it already.
fn speaks_of_endings(finding: &Finding) -> bool {
    [Kind::Died, Kind::NoProgress].into_iter().any(|kind| finding.result.name == kind_name(kind))
}

fn agreement(facts: &Facts<'_>) -> String {
    let (matched, outputs) = (facts.comparison.matched, totals(facts));
    // What lies beside the outputs is no difference of one; the rest is why not every output is equal.
    let beside = [Kind::FinalState, Kind::BenignReorder];
    let others = facts.comparison.differences.iter().filter(|(kind, _)| !beside.contains(kind));
    let unequal = match others.map(|(_, number)| number).sum() {
        0 => String::new(),
        number if facts.comparison.expected.is_empty() => {
            format!("; {} within gates, noise or spelling", counted(number, "difference"))
        }
        number => format!("; {} expected, within gates, noise or spelling", counted(number, "difference")),
    };
    format!(
        "no gate failed: {} of {} of old found an equal partner in new{unequal}",
        count(matched),
        counted(outputs.old, "output")
    )
}

/// Says why the test did not take place, if it did not.
fn untested(facts: &Facts<'_>) -> Vec<String> {
    let mut sentences: Vec<String> = ["old", "new"]
        .into_iter()
        .filter(|drive| !facts.endings.contains_key(*drive))
        .map(|drive| format!("{drive} was not driven"))
        .collect();
    sentences.extend(unseen_sinks(facts));
    let outputs = totals(facts);
    let tables = &facts.comparison.tables;
    if tables.iter().any(|table| (table.judged || table.why.is_some()) && table.old + table.new > 0)
        && outputs.old + outputs.new == 0
    {
        // Builds that keep a table and write nothing else.
    } else if outputs.old == 0 && outputs.new == 0 {
        sentences.push("neither build wrote an output, so nothing was compared".to_owned());
    } else if reads_nothing(facts) {
        sentences.push("not one output of either build can be read: does `payload` fit what they write?".to_owned());
    } else if judges_no_value(facts.comparison) {
        sentences.push(
            "no value could be judged: each is other as a whole in every drive, that of old again too".to_owned(),
        );
    } else if aligned_nothing(facts.comparison) {
        // No identity finds a counterpart where there is none to find.
        sentences.push(match (outputs.old, outputs.new) {
            (0, new) => format!("old wrote nothing that {} of new could be held against", counted(new, "output")),
            (old, 0) => format!("new wrote nothing that {} of old could be held against", counted(old, "output")),
            (old, new) => format!(
                "not one of {} of old and {} of new found its counterpart: check the identity",
                counted(old, "output"),
                count(new)
            ),
        });
    }
    if facts.comparison.identity_lost && sentences.is_empty() {
        sentences.extend(identity_unfound(facts.comparison));
    }
    sentences.extend(untold_tables(facts.comparison));
    sentences.extend(topics_unfound(facts.comparison));
    sentences.extend(unknown_schemas(facts.comparison));
    sentences.extend(facts.plan.iter().flat_map(|plan| unfired(plan, facts)));
    sentences.extend(rests_on_shared_state(facts));
    sentences.extend(time_shift(facts, |found| found.untold.is_some()));
    sentences
}

/// What is to be said of the time shift, where it `is` so.
fn time_shift(facts: &Facts<'_>, is: impl Fn(&TimeShift) -> bool) -> Option<String> {
    let found = facts.comparison.time_shift.as_ref().filter(|found| is(found))?;
    Some(format!("time shift {}: {}", found.result(), found.note().trim_end_matches('.')))
}

/// Why redelivery and sinks say nothing of builds whose drives may have shared state, if they were redelivered to or have such.
fn rests_on_shared_state(facts: &Facts<'_>) -> Option<String> {
    let what = resting_on_state(facts)?;
    let state = shared::state(facts.endings)?;
    Some(format!(
        "{what} cannot be judged: {state}; give each drive a place of its own by another name, or vouch for it with \
         `shared = true`"
    ))
}

/// What is judged by what drives leave behind; none where nothing is.
fn resting_on_state(facts: &Facts<'_>) -> Option<&'static str> {
    let has_sinks = facts.endings.values().any(|report| !report.sinks.is_empty());
    match (facts.comparison.idempotency.is_some(), has_sinks) {
        (true, false) => Some("idempotency"),
        (true, true) => Some("idempotency and sinks"),
        (false, true) => Some("sinks"),
        (false, false) => None,
    }
}

/// Sinks that could not be looked at in some drive: nothing is known of them.
fn unseen_sinks(facts: &Facts<'_>) -> Vec<String> {
    let failed = facts.endings.iter().flat_map(|(drive, report)| {
        let sinks = report.sinks.iter().filter_map(|(sink, seen)| seen.failed.as_ref().map(|why| (sink, why)));
        sinks.map(move |(sink, why)| format!("the sink {sink} was not judged: its snapshot failed in {drive}, {why}"))
    });
    failed.collect()
}

/// Faults of which nothing fired: those at events in new, those at requests in any drive that was to suffer them.
fn unfired(plan: &PlanSummary, facts: &Facts<'_>) -> Vec<String> {
    plan.faults.iter().filter_map(|fault| unfired_fault(fault, facts)).collect()
}

fn unfired_fault(fault: &FaultSummary, facts: &Facts<'_>) -> Option<String> {
    let never = format!("fault {} ({}) never fired", fault.name, fault.kind);
    let Some(at) = &fault.at_requests else {
        let fired = facts.fired.get(&fault.name).copied().unwrap_or(0);
        return (fired == 0).then(|| match fault.planned {
            0 => format!("{never}: no event was chosen"),
            planned => format!("{never}: none of {} was handed over", count(planned)),
        });
    };
    if fault.touches_nothing() {
        return Some(format!("{never}: no moment of the replay was chosen"));
    }
    let elsewhere = |drive: &str| at.only.is_some_and(|build| !build.drives(drive));
    let spared = |drive: &str| at.redelivers && drive.ends_with("-once") || elsewhere(drive);
    let silent = |report: &EndingReport| report.faults.get(&fault.name).is_none_or(|fired| fired.instances == 0);
    let drives = facts.endings.iter().filter(|(drive, report)| !spared(drive) && silent(report));
    let drives: Vec<&str> = drives.map(|(drive, _)| drive.as_str()).collect();
    let why = if fault.kind == FLAG_CHANGE {
        "the drive ended ahead of its moment, or the flag had that value already"
    } else if is_of_process(&fault.kind) {
        "what was to begin it did not come while the schedule lasted"
    } else {
        "no request that it could touch came while it acted"
    };
    (!drives.is_empty()).then(|| format!("{never} in {}: {why}", drives.join(", ")))
}

/// Outputs of old and of new that cannot be read.
fn unreadable(comparison: &Comparison) -> (u64, u64) {
    let of = |drive: &str| comparison.unreadable.get(drive).copied().unwrap_or(0);
    (of("old"), of("new"))
}

/// Whether neither build wrote anything that can be read; that both wrote the same bytes then says nothing of a release.
fn reads_nothing(facts: &Facts<'_>) -> bool {
    let outputs = totals(facts);
    unreadable(facts.comparison) == (outputs.old, outputs.new)
}

/// Names the paths of the identity that no output has.
fn identity_unfound(comparison: &Comparison) -> Option<String> {
    let paths = comparison.identity_unfound.join(", ");
    (!paths.is_empty()).then(|| format!("no output has the identity {paths}: is it spelled as builds write it?"))
}

/// Names topics whose rules act on nothing because nobody knows them.
fn topics_unfound(comparison: &Comparison) -> Option<String> {
    if comparison.topics_unfound.is_empty() {
        return None;
    }
    let named: Vec<String> = comparison
        .topics_unfound
        .iter()
        .map(|(topic, near)| match near {
            Some(near) => format!("{topic} (is it {near}?)"),
            None => topic.clone(),
        })
        .collect();
    Some(format!("rules are written for topics that no build writes to and no recording has: {}", named.join(", ")))
}

/// Names tables of production's that new could not be held against, each with the reason.
fn untold_tables(comparison: &Comparison) -> Vec<String> {
    let sentence = |table: &TableRows| {
        let (topic, untold) = (&table.topic, table.untold);
        match &table.why {
            Some(why) => Some(format!("the table {topic} was not held against production's: {why}")),
            None => (untold > 0).then(|| {
                format!(
                    "{} of the table {topic} may have stood there in production before the recording began: nobody can tell; capture \
                     it with --table",
                    counted(untold, "row")
                )
            }),
        }
    };
    comparison.tables.iter().filter_map(sentence).collect()
}

/// Says that what frames values cannot be judged where nobody knows their schemas.
fn unknown_schemas(comparison: &Comparison) -> Option<String> {
    let open = |pattern: &&Pattern| {
        pattern.change == Some(Change::UnknownSchema)
            && !matches!(pattern.standing, Standing::Expected | Standing::Noise)
    };
    let patterns: Vec<&Pattern> = comparison.patterns.iter().filter(open).collect();
    let count: u64 = patterns.iter().map(|pattern| pattern.count).sum();
    let topics: BTreeSet<&str> = patterns.iter().map(|pattern| pattern.topic.as_str()).collect();
    (count > 0).then(|| {
        format!(
            "{} in {} have the same bytes behind another schema id, and no schema of the recording says what they are: \
             capture with the registry, or write `value = \"bytes\"` for the topic where it is no schema id",
            counted(count, "output"),
            topics.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// Names what was counted coarsely.
fn moved_at_most(comparison: &Comparison) -> Option<String> {
    let coarse = comparison.moved_at_most;
    (coarse > 0).then(|| {
        format!(
            "{} of more outputs than are held in memory came in very different orders: fewer of them than are counted as reordered may have moved",
            counted(coarse, "key")
        )
    })
}

/// Whether values differ only as a whole, and between all drives, so that nothing within any of them was held against another.
fn judges_no_value(comparison: &Comparison) -> bool {
    let whole = |pattern: &&Pattern| pattern.kind == Kind::Changed && pattern.path.as_deref() == Some("$");
    let whole = unjudgeable(comparison.patterns.iter()).filter(whole).map(|pattern| pattern.count).sum::<u64>();
    whole > 0 && comparison.matched == 0 && comparison.differences.get(&Kind::Changed) == Some(&whole)
}

/// What both builds write that nobody can read.
fn unreadable_in_both(comparison: &Comparison) -> Option<String> {
    let (old, new) = unreadable(comparison);
    let sentence =
        || format!("broken by both: {} cannot be read in old, {} in new", counted(old, "output"), count(new));
    (old > 0 && new > 0).then(sentence)
}

/// Whether no output of one build stands for any of the other, changed or not.
fn aligned_nothing(comparison: &Comparison) -> bool {
    let alone = [
        Kind::Missing,
        Kind::Unseen,
        Kind::Extra,
        Kind::Malformed,
        Kind::DeadLetter,
        Kind::Effect,
        Kind::SinkDivergence,
    ];
    let endings = [Kind::NoProgress, Kind::Died];
    let unpaired = |kind: &Kind| alone.contains(kind) || endings.contains(kind);
    comparison.matched == 0 && comparison.differences.iter().all(|(kind, number)| *number == 0 || unpaired(kind))
}

/// What both builds break first, then warnings that the scenario wrote, then what no gate asks for.
fn warnings(facts: &Facts<'_>, gates: &Gates, bounds: FidelityBounds, warned: &[Finding]) -> Vec<String> {
    let mut warnings: Vec<String> = facts.comparison.idempotency.iter().flat_map(sentences::broken_by_both).collect();
    warnings.extend(lagging::broken_by_both(facts, bounds));
    warnings.extend(unreadable_in_both(facts.comparison));
    warnings.extend(time_shift(facts, |found| found.untold.is_none() && found.old.breaks() && found.new.breaks()));
    warnings.extend(identity_unfound(facts.comparison));
    warnings.extend(moved_at_most(facts.comparison));
    match resting_on_state(facts) {
        None => warnings.extend(shared::state(facts.endings)),
        Some(what) => {
            warnings.extend(shared::unguarded(facts.endings).map(|why| format!("{what} may rest on more: {why}")));
        }
    }
    warnings.extend(shared::refused(facts.endings));
    warnings.extend(warned.iter().flat_map(|finding| finding.sentences.clone()));
    warnings.extend(deviation::warnings(facts, &gates.figures));
    warnings.extend(super::expected::warnings(facts, gates));
    warnings.extend(cannot_be_judged(facts, gates));
    warnings.extend(proven_without_gate(facts, gates));
    let strayed = if facts.paced { off_schedule(facts.endings, bounds) } else { Vec::new() };
    if strayed.is_empty() {
        warnings.extend(slower_without_gate(facts, gates));
        warnings.extend(timing::worse_without_gate(facts, gates));
    }
    warnings.extend(lagging::without_gate(facts, gates, bounds));
    warnings.extend(without_times(&strayed));
    warnings
}

/// Says once which drives strayed from their schedule: what holds up one of those that run beside each other holds up most of them.
fn without_times(strayed: &[(String, String)]) -> Option<String> {
    let ((_, first), others) = strayed.split_first()?;
    let names: Vec<&str> = others.iter().map(|(drive, _)| drive.as_str()).collect();
    Some(match names[..] {
        [] => format!("{first}: its figures of time do not count"),
        _ => format!("{first}, as did the replay into {}: their figures of time do not count", names.join(", ")),
    })
}

/// Paths on which all drives differ, where only a default gate stands over them.
fn cannot_be_judged(facts: &Facts<'_>, gates: &Gates) -> Vec<String> {
    let shown = unjudgeable(facts.comparison.patterns.iter())
        .filter(|pattern| gates.on(Figure::Kind(pattern.kind)).is_none_or(|gate| gate.default));
    let (at_paths, elsewhere): (Vec<_>, Vec<_>) = shown.partition(|pattern| pattern.path.is_some());
    let certainty = ", which cannot be judged because all drives differ there";
    // A rule that would hide a noisy path is offered, never applied.
    let offered = format!("{certainty}; compare.ignore would leave it out");
    by_kind(facts, at_paths.into_iter(), &offered)
        .into_iter()
        .chain(by_kind(facts, elsewhere.into_iter(), certainty))
        .collect()
}

/// Proven differences that no gate limits. How new ended is judged without one.
fn proven_without_gate(facts: &Facts<'_>, gates: &Gates) -> Vec<String> {
    let proven = facts.comparison.patterns.iter().filter(|pattern| pattern.standing == Standing::Proven);
    let unlimited = proven.filter(|pattern| {
        let told = pattern.information || matches!(pattern.kind, Kind::Died | Kind::NoProgress);
        !told && gates.on(Figure::Kind(pattern.kind)).is_none()
    });
    by_kind(facts, unlimited, ", on which there is no gate")
}

fn by_kind<'a>(facts: &Facts<'_>, patterns: impl Iterator<Item = &'a Pattern>, certainty: &str) -> Vec<String> {
    let mut kinds: BTreeMap<Kind, Vec<&Pattern>> = BTreeMap::new();
    patterns.for_each(|pattern| kinds.entry(pattern.kind).or_default().push(pattern));
    kinds.values().flat_map(|patterns| sentences::patterns(patterns, totals(facts), certainty)).collect()
}

/// Proven slow-downs that no gate limits.
fn slower_without_gate(facts: &Facts<'_>, gates: &Gates) -> Vec<String> {
    let Some(latency) = facts.comparison.latency.as_ref().filter(|_| facts.paced) else { return Vec::new() };
    let unlimited = Quantile::ALL.into_iter().filter(|quantile| gates.on(Figure::LatencyIncrease(*quantile)).is_none());
    let sentence = |quantile: Quantile| {
        let increase = latency.increase_at(quantile).filter(|increase| increase.slower)?;
        let grown = percent(increase.increase);
        Some(format!("{} latency grew by {grown}, on which there is no gate", quantile.name()))
    };
    unlimited.filter_map(sentence).collect()
}

/// The gate that always stands: new may not end worse than old.
fn ending_gate(facts: &Facts<'_>) -> GateResult {
    let (old, new) = (failing(facts, is_old), failing(facts, is_new));
    let driven = facts.endings.contains_key("new");
    let pass = if old.is_empty() && driven { Some(new.is_empty()) } else { None };
    let note = old.into_iter().chain(new).collect::<Vec<_>>().join("; ");
    let worst = facts
        .endings
        .iter()
        .filter(|(drive, _)| is_new(drive))
        .map(|(_, report)| report.ending)
        .max_by_key(|e| rank(*e));
    GateResult {
        name: "ending".to_owned(),
        limit: "finished".to_owned(),
        observed: worst.map(|ending| sentences::ending_name(ending).to_owned()),
        pass,
        note: (!note.is_empty()).then_some(note),
        default: true,
        warning: false,
    }
}

fn rank(ending: Ending) -> u8 {
    match ending {
        Ending::Finished => 0,
        Ending::TimedOut => 1,
        Ending::StoppedReading => 2,
        Ending::Died => 3,
    }
}

/// Takes back what a gate found: old failed, so it was never asked.
fn unasked(result: GateResult) -> GateResult {
    let note = result.note.filter(|_| result.name == "ending");
    GateResult { pass: None, note: note.or_else(|| Some("old did not finish".to_owned())), ..result }
}

fn failing(facts: &Facts<'_>, build: fn(&str) -> bool) -> Vec<String> {
    let drives = facts.endings.iter().filter(|(drive, report)| build(drive) && report.ending != Ending::Finished);
    drives.map(|(drive, report)| sentences::ending(drive, report)).collect()
}

/// Whether the drive is one of old's.
pub(super) fn is_old(drive: &str) -> bool {
    drive == "old" || drive.starts_with("old-")
}

/// Whether the drive is one of new's.
pub(super) fn is_new(drive: &str) -> bool {
    drive == "new" || drive.starts_with("new-")
}

/// Returns the drives that strayed from their schedule beyond `bounds`, each with a sentence that says how far. Drives that
/// were not paced are not among them.
pub fn off_schedule(endings: &BTreeMap<String, EndingReport>, bounds: FidelityBounds) -> Vec<(String, String)> {
    let mut strayed = Vec::new();
    for (drive, report) in endings {
        let Some(lateness) = report.lateness else { continue };
        let mut parts = Vec::new();
        if lateness.p99_us > bounds.lateness_p99_us {
            parts.push(format!(
                "p99 lateness {}, at most {} allowed",
                time(lateness.p99_us),
                time(bounds.lateness_p99_us)
            ));
        }
        if lateness.slow_down > bounds.slow_down {
            parts.push(format!(
                "slow-down {}, at most {} allowed",
                percent(lateness.slow_down),
                percent(bounds.slow_down)
            ));
        }
        if !parts.is_empty() {
            strayed
                .push((drive.clone(), format!("the replay into {drive} ran off its schedule ({})", parts.join("; "))));
        }
    }
    strayed
}
