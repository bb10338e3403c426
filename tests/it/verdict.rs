//! Verdicts: each gate from both sides, and which rule wins where two meet.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rehearsal::compare::{
    CompareError, Comparison, Drift, Explained, Facts, FidelityBounds, FreshnessFigures, GateResult, GateSettings,
    Gates, Idempotency, Judgement, Kind, LagFigures, LagMeasure, Lagging, Latency, LatencyFigures, LatencyIncrease,
    LatencyNoise, Measure, Measured, Pattern, Sighting, Standing, Statistics, Verdict, first_divergence, judge,
    latency, off_schedule, settle,
};
use rehearsal::outcome::{
    Allowed, Cause, CauseBy, Ending, EndingReport, FaultCount, Isolation, Lateness, Layer, LayerState, Outcome,
    OutcomeWriter, Output, SinkReport,
};
use rehearsal::plan::{AtRequests, Delivery, FaultSummary, Legality, Phase, PlanSummary, Seed};
use rehearsal::recording::Place;
use rehearsal::spill::SpillSpace;

/// Facts of a run, owned.
#[derive(Clone)]
struct Run {
    comparison: Comparison,
    endings: BTreeMap<String, EndingReport>,
    plan: Option<PlanSummary>,
    fired: BTreeMap<String, u64>,
    paced: bool,
}

impl Run {
    /// A run in which new does all that old does.
    fn agreeing() -> Self {
        let drives = ["old", "old-again", "new", "old-once", "new-once"];
        let outputs = ["old", "old_again", "new", "old_once", "new_once"];
        let comparison = Comparison {
            outputs: outputs.iter().map(|drive| ((*drive).to_owned(), 26_398)).collect(),
            identities: 26_398,
            matched: 26_398,
            noise: Some(BTreeMap::new()),
            idempotency: Some(Idempotency::default()),
            latency: Some(Latency {
                old: figures(),
                new: figures(),
                increases: [0.5, 0.9, 0.95, 0.99].into_iter().map(|quantile| increase(quantile, 0.001)).collect(),
            }),
            ..Comparison::default()
        };
        Self {
            comparison,
            endings: drives.iter().map(|drive| ((*drive).to_owned(), finished())).collect(),
            plan: Some(PlanSummary { deliveries: 30_000, faults: vec![fault("twice", 520)], ..PlanSummary::default() }),
            fired: BTreeMap::from([("twice".to_owned(), 520)]),
            paced: true,
        }
    }

    /// Two outcomes that another tool made: one drive each, no deliveries, no plan.
    fn foreign() -> Self {
        let mut run = Self::agreeing();
        run.endings.retain(|drive, _| matches!(drive.as_str(), "old" | "new"));
        run.endings.values_mut().for_each(|report| report.lateness = None);
        run.comparison.outputs.retain(|drive, _| matches!(drive.as_str(), "old" | "new"));
        (run.comparison.noise, run.comparison.idempotency, run.comparison.latency) = (None, None, None);
        (run.plan, run.paced) = (None, false);
        run.fired.clear();
        run
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn pattern(self, kind: Kind, standing: Standing, count: u64) -> Self {
        self.with(|run| {
            *run.comparison.differences.entry(kind).or_default() += count;
            run.comparison.matched = run.comparison.matched.saturating_sub(count);
            run.comparison.patterns.push(pattern(kind, standing, count));
        })
    }

    fn unjudgeable(self, kind: Kind, count: u64) -> Self {
        self.pattern(kind, Standing::Suspected, count).with(|run| {
            if let Some(last) = run.comparison.patterns.last_mut() {
                last.unjudgeable = true;
            }
        })
    }

    fn ended(self, drive: &str, ending: Ending) -> Self {
        self.with(|run| {
            let report = run.endings.get_mut(drive).unwrap();
            (report.ending, report.reason) = (ending, "exit code 3 after 1,204 of 26,398 deliveries".to_owned());
        })
    }

    fn behind(self, drive: &str, lag: u64, freshness_us: i64) -> Self {
        self.with(|run| {
            let lag = LagFigures { largest: lag, p99: lag / 2, ..LagFigures::default() };
            run.comparison.behind.lag.insert(drive.to_owned(), lag);
            let freshness =
                FreshnessFigures { largest_us: 2 * freshness_us, p99_us: freshness_us, ..FreshnessFigures::default() };
            run.comparison.behind.freshness.insert(drive.to_owned(), freshness);
        })
    }

    fn late(self, drive: &str, p99_us: i64, slow_down: f64) -> Self {
        self.with(|run| {
            let lateness = run.endings.get_mut(drive).unwrap().lateness.as_mut().unwrap();
            (lateness.p99_us, lateness.slow_down) = (p99_us, slow_down);
        })
    }

    fn repeats(self, old: u64, new: u64, increase: Option<Standing>) -> Self {
        self.with(|run| {
            let idempotency = run.comparison.idempotency.get_or_insert_default();
            idempotency.old.repeated_effects = old;
            idempotency.new.repeated_effects = new;
            (idempotency.old.redelivered, idempotency.new.redelivered) = (520, 520);
            idempotency.broken_by_both = old.min(new);
            idempotency.broken_by_new = new.saturating_sub(old);
            idempotency.increase = increase;
        })
    }

    fn finals(self, old: u64, new: u64) -> Self {
        self.with(|run| {
            let idempotency = run.comparison.idempotency.get_or_insert_default();
            (idempotency.old.changed_finals, idempotency.new.changed_finals) = (old, new);
        })
    }

    fn slower(self, quantile: f64, by: f64, p_value: f64) -> Self {
        self.with(|run| {
            let latency = run.comparison.latency.as_mut().unwrap();
            let low = if p_value < 0.05 { by * 0.8 } else { -0.1 };
            for increase in latency.increases.iter_mut().filter(|increase| (increase.quantile - quantile).abs() < 1e-9)
            {
                (increase.increase, increase.interval, increase.p_value) = (by, (low, by * 1.3), p_value);
                increase.slower = p_value < 0.002 && by > 0.1;
            }
        })
    }

    /// Old again is off by as much.
    fn unsteady(self, quantile: f64, by: f64, floor: f64) -> Self {
        self.with(|run| {
            let latency = run.comparison.latency.as_mut().unwrap();
            for increase in latency.increases.iter_mut().filter(|increase| (increase.quantile - quantile).abs() < 1e-9)
            {
                let deviation = by / 2.0_f64.sqrt();
                let interval = (by.min(floor) * 0.9, floor);
                increase.noise = Some(LatencyNoise { drives: 2, increase: by, interval, floor, deviation });
                increase.slower &= increase.increase > floor;
                increase.interval.1 = increase.interval.1.max(increase.increase + floor);
            }
        })
    }

    /// New is worse than old by a share, drives of old are so far apart.
    fn measured(self, measure: Measure, worse_by: f64, noise: f64, p_value: f64) -> Self {
        let change = if measure == Measure::Throughput { -worse_by } else { worse_by };
        let half = if p_value < 0.02 { worse_by.abs() / 2.0 } else { 0.5 };
        self.with(|run| {
            run.comparison.measures.push(Measured {
                measure,
                kind: measure.kind(),
                drives: [("old", 1e8), ("old_again", 1e8 * (1.0 + noise)), ("new", 1e8 * (1.0 + change))]
                    .map(|(drive, figure)| (drive.to_owned(), figure))
                    .into(),
                change,
                interval: Some((change - half, change + half)),
                noise: Some(noise),
                deviation: Some(noise),
                p_value: Some(p_value),
                q_value: None,
                standing: None,
            });
        })
    }

    /// The lag of new keeps growing, or that of both.
    fn drifts(self, beyond_old: Option<Standing>, shared: Option<()>) -> Self {
        let onset = Sighting { replay_us: 61_000_000, ..pattern(Kind::Missing, Standing::Proven, 1).first.unwrap() };
        let drift = |standing| Drift {
            onset: onset.clone(),
            per_second: 40.0,
            old_at_end: 52.0,
            new_at_end: 2_400.0,
            p_value: Some(0.000_1),
            q_value: None,
            standing,
        };
        self.with(|run| {
            run.comparison.lagging = Some(Lagging {
                measure: LagMeasure::Lag,
                band: 5.0,
                beyond_old: beyond_old.map(|standing| drift(Some(standing))),
                shared: shared.map(|()| drift(None)),
            });
        })
    }

    fn fired(self, name: &str, planned: u64, fired: u64) -> Self {
        self.with(|run| {
            run.plan.as_mut().unwrap().faults.push(fault(name, planned));
            run.fired.insert(name.to_owned(), fired);
        })
    }

    fn judge(&self, gates: &Gates) -> Judgement {
        let facts = Facts {
            comparison: &self.comparison,
            endings: &self.endings,
            plan: self.plan.as_ref(),
            fired: &self.fired,
            paced: self.paced,
            bounds: FidelityBounds::default(),
        };
        judge(&facts, gates)
    }
}

fn finished() -> EndingReport {
    let lateness = Lateness { p50_us: 80, p99_us: 900, p999_us: 2_000, max_us: 4_000, ..Lateness::default() };
    EndingReport { lateness: Some(lateness), ..EndingReport::new(Ending::Finished, "drained") }
}

fn figures() -> LatencyFigures {
    LatencyFigures {
        count: 26_398,
        p50_us: Some(1_000),
        p90_us: Some(2_000),
        p95_us: Some(3_000),
        p99_us: Some(8_000),
        p999_us: None,
        max_us: Some(90_000),
    }
}

fn increase(quantile: f64, increase: f64) -> LatencyIncrease {
    let noise = LatencyNoise { drives: 2, increase: 0.002, interval: (-0.01, 0.015), floor: 0.015, deviation: 0.001 };
    let interval = (-0.02, 0.02);
    LatencyIncrease { quantile, increase, interval, slower: false, p_value: 0.8, q_value: None, noise: Some(noise) }
}

fn fault(name: &str, planned: u64) -> FaultSummary {
    FaultSummary {
        name: name.to_owned(),
        kind: "duplicate".to_owned(),
        legality: Legality::B,
        planned,
        coverage: Vec::new(),
        at_requests: None,
    }
}

fn pattern(kind: Kind, standing: Standing, count: u64) -> Pattern {
    Pattern {
        kind,
        topic: "payouts".to_owned(),
        path: (kind == Kind::Changed).then(|| "$.amount".to_owned()),
        change: None,
        standing,
        count,
        noise_count: 0,
        information: matches!(kind, Kind::BenignReorder | Kind::Refinement),
        unjudgeable: false,
        id: String::new(),
        comparable: 0,
        expected_by: None,
        statistics: Statistics::default(),
        first: Some(Sighting {
            topic: Some("flights".to_owned()),
            partition: Some(3),
            offset: Some(4711),
            inferred: false,
            event_time_ms: Some(1_357_381_020_000),
            replay_us: 1_000,
        }),
        examples: Vec::new(),
        explained: Explained::default(),
    }
}

fn gates(text: &str) -> Gates {
    gates_and_warnings(text, "")
}

fn gates_and_warnings(gates: &str, warnings: &str) -> Gates {
    let read = |text: &str| toml::from_str::<GateSettings>(text).unwrap();
    Gates::check(&read(gates), &read(warnings)).unwrap()
}

fn gate<'a>(judgement: &'a Judgement, name: &str) -> &'a GateResult {
    judgement.gates.iter().find(|gate| gate.name == name).unwrap()
}

/// Judges `run` under the gates written as `text`; the first reason must hold `reason`.
fn check(run: &Run, text: &str, verdict: Verdict, reason: &str) -> Judgement {
    let judgement = run.judge(&gates(text));
    assert_eq!(judgement.verdict, verdict, "{text}: {:#?}", judgement.reasons);
    let first = judgement.reasons.first().unwrap();
    assert!(first.contains(reason), "{text}: {:#?}", judgement.reasons);
    judgement
}

/// As [`check`], and the gate `name` must have come to `pass`.
fn check_gate(run: &Run, text: &str, verdict: Verdict, reason: &str, name: &str, pass: Option<bool>) {
    let judgement = check(run, text, verdict, reason);
    assert_eq!(gate(&judgement, name).pass, pass, "{text}: {:#?}", judgement.gates);
}

use Verdict::{Agree, Differ, NoVerdict};

const GATED: [Kind; 9] = [
    Kind::Missing,
    Kind::Extra,
    Kind::Repeated,
    Kind::Changed,
    Kind::Rerouted,
    Kind::Reordered,
    Kind::FinalState,
    Kind::DeadLetter,
    Kind::Malformed,
];

const UNGATED: [Kind; 6] =
    [Kind::Unseen, Kind::Metadata, Kind::Later, Kind::Earlier, Kind::BenignReorder, Kind::Refinement];

fn name(kind: Kind) -> String {
    serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn builds_that_do_the_same_agree() {
    let judgement = check(&Run::agreeing(), "", Agree, "26,398 of 26,398 outputs of old found an equal partner");
    assert!(judgement.gates.iter().all(|gate| gate.pass == Some(true) && gate.default));
    assert!(judgement.warnings.is_empty());
    check(&Run::foreign(), "", Agree, "no gate failed");
}

#[test]
fn sinks_of_drives_that_share_what_they_write_to_give_no_verdict() {
    let sharing = |shared: bool, sinks: bool| {
        Run::agreeing().with(|run| {
            run.comparison.idempotency = None;
            for report in run.endings.values_mut() {
                let address = "db.test:5432".to_owned();
                let (connections, failed, bytes_out, bytes_in) = (2, 0, 9, 9);
                let allowed = Allowed { address, counted: true, connections, failed, bytes_out, bytes_in, shared };
                report.isolation = Some(Isolation { allowed: vec![allowed], ..Isolation::default() });
                if sinks {
                    report.sinks.insert("payments".to_owned(), SinkReport { rows: 7, failed: None });
                }
            }
        })
    };
    let judgement = check(&sharing(false, true), "", NoVerdict, "sinks cannot be judged");
    assert!(judgement.reasons[0].contains("had the same db.test:5432"), "{judgement:?}");
    assert!(judgement.warnings.is_empty(), "{judgement:?}");
    // What kept them apart nowhere else is told as well, whether they are known to share anything or not.
    for shared in [false, true] {
        let open = sharing(shared, true).with(|run| {
            for report in run.endings.values_mut() {
                let state = LayerState { layer: Layer::Writes, enforced: false, reason: String::new() };
                report.isolation.as_mut().unwrap().layers.push(state);
            }
        });
        let judgement = open.judge(&Gates::default());
        assert_eq!(judgement.verdict, if shared { Agree } else { NoVerdict });
        assert!(judgement.warnings[0].starts_with("sinks may rest on more: writes not enforced ("), "{judgement:?}");
    }
    // However sure the count is: what new left out, old or another drive of new may have left there.
    let proven = |shared| sharing(shared, true).pattern(Kind::SinkDivergence, Standing::Proven, 5);
    let judgement = check(&proven(false), "sink-divergence = 0", NoVerdict, "sinks cannot be judged");
    let gate = judgement.gates.iter().find(|gate| gate.name == "sink-divergence").unwrap();
    assert_eq!((gate.pass, gate.observed.as_deref()), (None, None), "{gate:?}");
    check(&proven(true), "", Differ, "sink divergence in 5 rows");
    // Vouched for, or with no sink that rests on it: worth a word at most.
    assert_eq!(sharing(true, true).judge(&Gates::default()).verdict, Agree);
    let told = sharing(false, false).judge(&Gates::default());
    assert_eq!((told.verdict, told.warnings.len()), (Agree, 1), "{told:?}");
}

#[test]
fn verdicts_have_the_exit_codes_of_the_command_line() {
    assert_eq!([Agree, Differ, NoVerdict].map(Verdict::exit_code), [0, 1, 3]);
}

#[test]
fn each_default_gate_fails_on_one_proven_difference_and_on_nothing_less() {
    for kind in GATED.into_iter().chain([Kind::Effect]) {
        let with = |standing| Run::agreeing().pattern(kind, standing, 1);
        check_gate(
            &with(Standing::Proven),
            "",
            Differ,
            "at 2013-01-05T10:17Z (flights/3@4711)",
            &name(kind),
            Some(false),
        );
        check_gate(&with(Standing::Suspected), "", NoVerdict, "suspected but not proven", &name(kind), None);
        check_gate(&with(Standing::Noise), "", Agree, "no gate failed", &name(kind), Some(true));
        check_gate(&with(Standing::Expected), "", Agree, "no gate failed", &name(kind), Some(true));
    }
}

#[test]
fn kinds_without_a_default_gate_fail_only_where_one_is_written() {
    for kind in UNGATED {
        let run = Run::agreeing().pattern(kind, Standing::Proven, 7);
        let judgement = check(&run, "", Agree, "no gate failed");
        let information = matches!(kind, Kind::BenignReorder | Kind::Refinement);
        assert_eq!(judgement.warnings.len(), usize::from(!information), "{kind:?}: {:?}", judgement.warnings);
        if !information {
            check_gate(&run, &format!("{} = 6", name(kind)), Differ, "asks for at most 6", &name(kind), Some(false));
            check_gate(&run, &format!("{} = 7", name(kind)), Agree, "no gate failed", &name(kind), Some(true));
            let suspected = Run::agreeing().pattern(kind, Standing::Suspected, 7);
            check_gate(&suspected, &format!("{} = 6", name(kind)), NoVerdict, "suspected", &name(kind), None);
        }
    }
}

#[test]
fn a_written_limit_stands_in_place_of_the_default() {
    for kind in GATED {
        let run = Run::agreeing().pattern(kind, Standing::Proven, 312);
        check_gate(&run, &format!("{} = 312", name(kind)), Agree, "no gate failed", &name(kind), Some(true));
        check_gate(&run, &format!("{} = 311", name(kind)), Differ, "asks for at most 311", &name(kind), Some(false));
    }
}

#[test]
fn a_proven_pattern_counts_beyond_its_noise_but_at_least_once() {
    for (noise, text, verdict) in [
        (100, "changed = 212", Agree),
        (100, "changed = 211", Differ),
        (400, "changed = 0", Differ),
        (400, "changed = 1", Agree),
    ] {
        let run = Run::agreeing().pattern(Kind::Changed, Standing::Proven, 312);
        let run = run.with(|run| run.comparison.patterns[0].noise_count = noise);
        let judgement = run.judge(&gates(text));
        assert_eq!(judgement.verdict, verdict, "{text}");
        assert!(gate(&judgement, "changed").note.as_ref().unwrap().contains("raw: 312"));
    }
}

#[test]
fn raw_counts_never_fail() {
    let run = Run::agreeing().with(|run| {
        run.comparison.differences = GATED.into_iter().map(|kind| (kind, 1_000)).collect();
    });
    check(&run, "", Agree, "no gate failed");
}

#[test]
fn an_output_that_changed_at_several_paths_counts_once() {
    for (standing, beyond) in [(Standing::Proven, Differ), (Standing::Suspected, NoVerdict)] {
        let run = Run::agreeing().pattern(Kind::Changed, standing, 10).with(|run| {
            let mut elsewhere = pattern(Kind::Changed, standing, 8);
            elsewhere.path = Some("$.currency".to_owned());
            run.comparison.patterns.push(elsewhere);
        });
        check(&run, "changed = 10", Agree, "no gate failed");
        check(&run, "changed = 9", beyond, "10 of 26,398 outputs changed");
    }
}

#[test]
fn a_suspicion_matters_only_where_it_could_break_the_limit() {
    let run =
        Run::agreeing().pattern(Kind::Changed, Standing::Proven, 5).pattern(Kind::Changed, Standing::Suspected, 3);
    check_gate(&run, "changed = 4", Differ, "5 of 26,398", "changed", Some(false));
    check_gate(&run, "changed = 7", NoVerdict, "3 of 26,398", "changed", None);
    check_gate(&run, "changed = 8", Agree, "no gate failed", "changed", Some(true));
}

#[test]
fn a_path_on_which_all_drives_differ_is_shown_and_judged_only_where_a_gate_asks() {
    for kind in [Kind::FinalState, Kind::Changed] {
        let run = Run::agreeing().unjudgeable(kind, 40);
        let judgement = check(&run, "", Agree, "no gate failed");
        assert!(
            judgement.warnings[0].contains("cannot be judged because all drives differ"),
            "{:?}",
            judgement.warnings
        );
        let offers = judgement.warnings[0].ends_with("; compare.ignore would leave it out");
        assert_eq!(offers, kind == Kind::Changed, "only a path can be left out: {:?}", judgement.warnings);
        let judgement = check(&run, &format!("{} = 0", name(kind)), NoVerdict, "all drives differ");
        assert!(judgement.warnings.is_empty(), "{:?}", judgement.warnings);
        check(&run, &format!("{} = 40", name(kind)), Agree, "no gate failed");
        let proven = run.pattern(kind, Standing::Proven, 1);
        check(&proven, "", Differ, "at 2013-01-05T10:17Z");
    }
}

#[test]
fn old_failing_is_no_verdict_before_any_gate() {
    let broken = || Run::agreeing().pattern(Kind::Changed, Standing::Proven, 312).repeats(0, 9, Some(Standing::Proven));
    for ending in [Ending::Died, Ending::TimedOut, Ending::StoppedReading] {
        for drive in ["old", "old-again", "old-once"] {
            let run = broken().ended(drive, ending);
            let judgement = check(&run, "changed = 0\noutputs-min = 99999", NoVerdict, &format!("{drive} "));
            assert!(judgement.gates.iter().all(|gate| gate.pass.is_none()), "{:#?}", judgement.gates);
        }
        // Both failing is still old's failure, and new's is told as well.
        let run = broken().ended("old", ending).ended("new", ending);
        let judgement = check(&run, "died = 0", NoVerdict, "old ");
        assert!(judgement.reasons[1].starts_with("new "));
    }
}

#[test]
fn new_alone_failing_differs_whatever_else_could_not_be_judged() {
    for (ending, verb) in
        [(Ending::Died, "died"), (Ending::TimedOut, "timed out"), (Ending::StoppedReading, "stopped reading")]
    {
        for drive in ["new", "new-once"] {
            let run =
                Run::agreeing().ended(drive, ending).pattern(Kind::Changed, Standing::Suspected, 3).fired("late", 5, 0);
            let text = "lag-events = 5";
            let reason = format!("{drive} {verb}: exit code 3 after 1,204 of 26,398 deliveries");
            check_gate(&run, text, Differ, &reason, "ending", Some(false));
        }
    }
}

#[test]
fn an_ending_is_told_once_even_where_a_gate_on_it_is_written() {
    let run = Run::agreeing().ended("new", Ending::Died).pattern(Kind::Died, Standing::Proven, 1);
    assert!(check(&run, "", Differ, "new died").warnings.is_empty());
    let judgement = check(&run, "died = 0", Differ, "new died");
    assert_eq!(judgement.reasons.len(), 1, "{:?}", judgement.reasons);
    assert_eq!(gate(&judgement, "died").pass, Some(false));
    check_gate(&run, "no-progress = 0", Differ, "new died", "no-progress", Some(true));
    let hung = Run::agreeing().ended("new", Ending::TimedOut);
    check_gate(&hung, "no-progress = 0", Differ, "new timed out", "no-progress", Some(false));
    // A limit above the count does not mend an ending worse than old's.
    check_gate(&run, "died = 1", Differ, "new died", "died", Some(true));
}

#[test]
fn a_failed_gate_differs_even_where_other_parts_could_not_be_judged() {
    let run = Run::agreeing().pattern(Kind::Changed, Standing::Proven, 312);
    let cases: [(Run, &str); 5] = [
        (run.clone().pattern(Kind::Missing, Standing::Suspected, 3), ""),
        (run.clone(), "lag-events = 5"),
        (run.clone().fired("late", 5, 0), ""),
        (run.clone().late("new", 60_000, 0.0), "p99-latency-increase = \"20%\""),
        (run.unjudgeable(Kind::FinalState, 5), "final-state = 0"),
    ];
    for (run, text) in cases {
        let judgement =
            check(&run, text, Differ, "312 of 26,398 outputs changed at $.amount; first at 2013-01-05T10:17Z");
        assert_eq!(judgement.reasons.len(), 2, "what could not be judged is told behind: {:?}", judgement.reasons);
    }
}

#[test]
fn the_gravest_reason_stands_first() {
    let run = Run::agreeing()
        .pattern(Kind::Reordered, Standing::Proven, 900)
        .pattern(Kind::Changed, Standing::Proven, 500)
        .pattern(Kind::Missing, Standing::Proven, 1)
        .repeats(0, 9, Some(Standing::Proven))
        .ended("new", Ending::Died);
    let reasons = run.judge(&Gates::default()).reasons;
    let order = [
        "new died",
        "redelivery makes new repeat 9 effects",
        "1 of 26,398 outputs missing",
        "changed at",
        "out of order",
    ];
    assert_eq!(reasons.len(), order.len());
    for (reason, expected) in reasons.iter().zip(order) {
        assert!(reason.contains(expected), "{reasons:#?}");
    }
}

#[test]
fn a_fault_of_which_nothing_fired_is_no_verdict() {
    let cases = [(0, 0, "no event was chosen"), (5, 0, "none of 5 was handed over")];
    for (planned, fired, reason) in cases {
        let run = Run::agreeing().fired("late", planned, fired);
        let judgement = check(&run, "", NoVerdict, "fault late (duplicate) never fired");
        assert!(judgement.reasons[0].contains(reason));
    }
    check(&Run::agreeing().fired("late", 5, 1), "", Agree, "no gate failed");
    check(&Run::agreeing().with(|run| run.fired.clear()), "", NoVerdict, "fault twice");
}

/// A run with a fault at requests, which fired so often in these drives; where it redelivers, drives without redelivery are spared.
fn at_requests(redelivers: bool, by_time: bool, drives: &[(&str, u64)]) -> Run {
    Run::agreeing().with(|run| {
        let begins = "with request 3".to_owned();
        let at = AtRequests { begins, by_time, redelivers, only: None };
        let planned = u64::from(by_time);
        let fault = FaultSummary { kind: "lost-ack".to_owned(), at_requests: Some(at), ..fault("lost", planned) };
        run.plan.as_mut().unwrap().faults.push(fault);
        for (drive, instances) in drives {
            let report = run.endings.entry((*drive).to_owned()).or_insert_with(finished);
            report.faults.insert(
                "lost".to_owned(),
                FaultCount { instances: *instances, touched: *instances, provoked: *instances },
            );
        }
    })
}

#[test]
fn a_fault_at_requests_that_fired_in_one_drive_and_not_in_another_is_no_verdict() {
    let drives: Vec<String> = Run::agreeing().endings.keys().cloned().collect();
    let with: Vec<(&str, u64)> = drives.iter().map(|drive| (drive.as_str(), 2)).collect();
    let with: Vec<(&str, u64)> = with.into_iter().filter(|(drive, _)| !drive.ends_with("-once")).collect();
    check(&at_requests(true, false, &with), "", Agree, "no gate failed");
    for silent in 0..with.len() {
        let mut some = with.clone();
        some[silent].1 = 0;
        let reason = format!("fault lost (lost-ack) never fired in {}:", some[silent].0);
        check(&at_requests(true, false, &some), "", NoVerdict, &reason);
        // Nobody said anything of it.
        some.remove(silent);
        check(&at_requests(true, false, &some), "", NoVerdict, &reason);
    }
    // What makes nobody do anything twice is suffered by the drives without redelivery, too.
    let spared: Vec<&str> = drives.iter().map(String::as_str).filter(|drive| drive.ends_with("-once")).collect();
    let reason = format!("never fired in {}:", spared.join(", "));
    check(&at_requests(false, false, &with), "", NoVerdict, &reason);
    // Moments that lie outside of the replay are known ahead of any drive.
    let run =
        at_requests(true, true, &with).with(|run| run.plan.as_mut().unwrap().faults.last_mut().unwrap().planned = 0);
    check(&run, "", NoVerdict, "no moment of the replay was chosen");
}

#[test]
fn builds_that_wrote_nothing_are_no_verdict() {
    let silent = |drives: &[&str]| {
        Run::agreeing().with(|run| {
            run.comparison.matched = 0;
            for drive in drives {
                run.comparison.outputs.remove(*drive);
            }
        })
    };
    check(&silent(&["old", "new"]), "", NoVerdict, "neither build wrote an output");
    // New alone writing nothing is loss, proven; only where loss is allowed is it a test that did not take place.
    let lost = silent(&["new"]).pattern(Kind::Missing, Standing::Proven, 26_398);
    check(&lost, "", Differ, "26,398 of 26,398 outputs missing");
    check(&lost, "missing = 30_000", NoVerdict, "new wrote nothing that 26,398 outputs of old could be held against");
    let only_new = silent(&["old"]).pattern(Kind::Extra, Standing::Proven, 26_398);
    check(&only_new, "extra = 30_000", NoVerdict, "old wrote nothing that 26,398 outputs of new");
}

#[test]
fn an_alignment_that_matched_nothing_is_never_green() {
    let nothing = |standing| {
        let run = Run::agreeing().pattern(Kind::Missing, standing, 26_398);
        run.pattern(Kind::Extra, standing, 26_398).with(|run| run.comparison.matched = 0)
    };
    let text = "missing = 30_000\nextra = 30_000";
    check(&nothing(Standing::Proven), text, NoVerdict, "check the identity");
    check(&nothing(Standing::Noise), "", NoVerdict, "check the identity");
    let judgement = check(&nothing(Standing::Proven), "", Differ, "missing");
    assert!(judgement.reasons.iter().any(|reason| reason.contains("check the identity")));
    // All outputs changed is an alignment: each found its counterpart, with another value.
    let changed = Run::agreeing().pattern(Kind::Changed, Standing::Proven, 26_398);
    check(&changed, "changed = 30_000", Agree, "no gate failed");
}

#[test]
fn an_order_that_was_compared_coarsely_is_named() {
    let warned = |keys: u64| {
        let run = Run::agreeing().with(|run| run.comparison.moved_at_most = keys);
        let judgement = check(&run, "", Agree, "no gate failed");
        judgement.warnings.iter().any(|warning| warning.contains("1 key of more outputs than are held in memory"))
    };
    assert_eq!((warned(0), warned(1)), (false, true));
}

#[test]
fn builds_that_wrote_nothing_that_can_be_read_are_no_verdict() {
    let unreadable = |number: u64| {
        Run::agreeing().with(|run| {
            run.comparison.unreadable = ["old", "new"].map(|drive| (drive.to_owned(), number)).into();
        })
    };
    let warned = |judgement: &Judgement| judgement.warnings.iter().any(|warning| warning.contains("cannot be read"));
    assert!(warned(&check(&unreadable(26_398), "", NoVerdict, "not one output of either build can be read")));
    assert!(warned(&check(&unreadable(3), "", Agree, "no gate failed")));
    assert!(!warned(&check(&unreadable(0), "", Agree, "no gate failed")));
}

#[test]
fn values_that_every_drive_writes_otherwise_as_a_whole_are_no_verdict() {
    let at = |path: &str| {
        Run::agreeing().unjudgeable(Kind::Changed, 26_398).with(|run| {
            run.comparison.patterns[0].path = Some(path.to_owned());
        })
    };
    check(&at("$"), "", NoVerdict, "no value could be judged");
    check(&at("$.id"), "", Agree, "no gate failed");
    check(&at("$").with(|run| run.comparison.matched = 1), "", Agree, "no gate failed");
}

#[test]
fn agreement_says_why_not_every_output_found_an_equal_partner() {
    let run = Run::agreeing().pattern(Kind::Metadata, Standing::Proven, 12);
    let reason = "26,386 of 26,398 outputs of old found an equal partner in new; 12 differences within gates";
    check(&run, "", Agree, reason);
    assert!(!Run::agreeing().judge(&gates("")).reasons[0].contains("difference"));
}

#[test]
fn a_build_that_was_not_driven_is_no_verdict() {
    for drive in ["old", "new"] {
        let run = Run::agreeing().with(|run| drop(run.endings.remove(drive)));
        check(&run, "", NoVerdict, &format!("{drive} was not driven"));
    }
}

#[test]
fn repeated_effects_of_new_beyond_old_s_fail_where_they_are_proven() {
    for (old, new, standing, verdict, reason) in [
        (0, 0, None, Agree, "no gate failed"),
        (0, 9, Some(Standing::Proven), Differ, "9 effects beyond old's, of 520 redelivered events"),
        (4, 9, Some(Standing::Proven), Differ, "5 effects beyond old's"),
        (0, 9, Some(Standing::Suspected), NoVerdict, "suspected but not proven"),
        (0, 9, None, NoVerdict, "suspected but not proven"),
        (3, 9, Some(Standing::Noise), Agree, "no gate failed"),
        (9, 9, Some(Standing::Noise), Agree, "no gate failed"),
        (9, 2, None, Agree, "no gate failed"),
    ] {
        check(&Run::agreeing().repeats(old, new, standing), "", verdict, reason);
    }
    let run = Run::agreeing().repeats(4, 9, Some(Standing::Proven));
    check(&run, "repeated-effects-increase = 5", Agree, "no gate failed");
}

#[test]
fn identities_that_new_mends_do_not_pay_for_those_it_breaks() {
    let run = Run::agreeing().repeats(6, 6, Some(Standing::Proven)).with(|run| {
        let idempotency = run.comparison.idempotency.as_mut().unwrap();
        (idempotency.broken_by_new, idempotency.broken_by_both, idempotency.mended_by_new) = (6, 0, 6);
    });
    check(&run, "", Differ, "6 effects beyond old's");
}

#[test]
fn what_both_builds_break_is_a_warning_unless_a_written_gate_forbids_it() {
    let run = Run::agreeing().repeats(9, 9, Some(Standing::Noise)).finals(2, 2);
    let judgement = check(&run, "", Agree, "no gate failed");
    assert!(judgement.warnings[0].starts_with("broken by both: redelivery repeats effects of the same 9 identities"));
    assert!(judgement.warnings[1].starts_with("broken by both: redelivery changes the last value of 2 keys"));
    check_gate(&run, "repeated-effects = 0", Differ, "broken by both: 9 in old", "repeated-effects", Some(false));
    check_gate(&run, "repeated-effects = 9", Agree, "no gate failed", "repeated-effects", Some(true));
    check_gate(&run, "changed-finals = 1", Differ, "broken by both: 2 in old", "changed-finals", Some(false));
    check_gate(&run, "changed-finals = 2", Agree, "no gate failed", "changed-finals", Some(true));
}

#[test]
fn a_written_gate_on_repeated_effects_counts_what_is_proven() {
    let text = "repeated-effects = 0\nrepeated-effects-increase = 100";
    for (standing, verdict, pass) in [
        (Some(Standing::Proven), Differ, Some(false)),
        (Some(Standing::Suspected), NoVerdict, None),
        (None, NoVerdict, None),
        (Some(Standing::Noise), Agree, Some(true)),
    ] {
        check_gate(&Run::agreeing().repeats(0, 9, standing), text, verdict, "", "repeated-effects", pass);
    }
}

#[test]
fn changed_finals_within_the_noise_of_finals_are_not_told_from_it() {
    let run = |noise| {
        Run::agreeing()
            .finals(0, 5)
            .with(|run| run.comparison.noise = Some(BTreeMap::from([(Kind::FinalState, noise)])))
    };
    check(&run(0), "changed-finals = 0", Differ, "redelivery changes the last value of 5 keys in new");
    check(&run(4), "changed-finals = 0", Differ, "5 keys");
    check(&run(5), "changed-finals = 0", NoVerdict, "two drives of old also differ");
    check(&run(5), "changed-finals = 5", Agree, "no gate failed");
}

#[test]
fn gates_on_redelivery_cannot_be_judged_without_redelivery() {
    let run = Run::agreeing().with(|run| run.comparison.idempotency = None);
    check_gate(&run, "", Agree, "no gate failed", "repeated-effects-increase", Some(true));
    for figure in ["repeated-effects", "repeated-effects-increase", "changed-finals"] {
        check_gate(&run, &format!("{figure} = 0"), NoVerdict, "nothing was redelivered", figure, None);
    }
}

#[test]
fn a_gate_on_an_increase_of_latency_fails_beyond_limit_and_chance() {
    let text = "p99-latency-increase = \"20%\"";
    for (by, p_value, verdict, pass, reason) in [
        (
            0.31,
            0.000_1,
            Differ,
            Some(false),
            "p99 latency grew by 31%, 8ms to 8ms (95% interval 24.8% to 40.3%; old again +0.2%)",
        ),
        (0.31, 0.2, NoVerdict, None, "perhaps by chance"),
        (0.31, 0.01, NoVerdict, None, "perhaps by chance"),
        (0.19, 0.000_1, Agree, Some(true), "no gate failed"),
        (-0.3, 0.000_1, Agree, Some(true), "no gate failed"),
    ] {
        check_gate(&Run::agreeing().slower(0.99, by, p_value), text, verdict, reason, "p99-latency-increase", pass);
    }
    // What would have told is said where more drives would.
    let unsure = Run::agreeing().slower(0.99, 0.31, 0.2).unsteady(0.99, 0.09, 0.1);
    check(&unsure, text, NoVerdict, "old again +9%); 9 drives of old would have told");
    let text = "p999-latency-increase = \"20%\"";
    check_gate(&Run::agreeing(), text, NoVerdict, "too few", "p999-latency-increase", None);
}

#[test]
fn a_gate_on_an_increase_of_latency_is_judged_only_on_a_machine_steady_enough() {
    let text = "p99-latency-increase = \"20%\"";
    let name = "p99-latency-increase";
    // What old does to itself is beyond the limit: an increase within it says nothing, one beyond it must lie beyond that, too.
    for (by, p_value, floor, verdict, pass, reason) in [
        (0.05, 0.4, 0.3, NoVerdict, None, "too unsteady: p99 latency of old again may be 30% off by itself"),
        (0.05, 0.4, 0.19, Agree, Some(true), "no gate failed"),
        (0.31, 0.000_1, 0.32, NoVerdict, None, "grew by 31%, perhaps by chance"),
        (0.31, 0.000_1, 0.3, Differ, Some(false), "p99 latency grew by 31%"),
        (0.9, 0.000_1, 0.5, Differ, Some(false), "p99 latency grew by 90%"),
    ] {
        let run = Run::agreeing().slower(0.99, by, p_value).unsteady(0.99, floor, floor);
        check_gate(&run, text, verdict, reason, name, pass);
    }
    // Surely within the limit, whatever the machine does: its noise is in the interval.
    let faster = Run::agreeing().slower(0.99, -0.3, 0.000_1).unsteady(0.99, 0.3, 0.3);
    check_gate(&faster, text, Agree, "no gate failed", name, Some(true));
    // One drive of old tells nothing of the machine.
    for by in [0.05, 0.9] {
        let alone = Run::agreeing().slower(0.99, by, 0.000_1).with(|run| {
            run.comparison.latency.as_mut().unwrap().increases.iter_mut().for_each(|increase| increase.noise = None);
        });
        check_gate(&alone, text, NoVerdict, "old was driven once", name, None);
    }
}

#[test]
fn a_gate_on_latency_itself_counts_only_what_exceeds_the_noise() {
    let run = |floor| Run::agreeing().unsteady(0.99, floor, floor);
    check_gate(&run(0.1), "p99-latency = \"7ms\"", Differ, "p99 latency of new is 8ms", "p99-latency", Some(false));
    check_gate(&run(0.2), "p99-latency = \"7ms\"", NoVerdict, "may be 20% off by itself", "p99-latency", None);
    check_gate(&run(0.2), "p99-latency = \"8ms\"", Agree, "no gate failed", "p99-latency", Some(true));
}

#[test]
fn the_adjusted_p_value_of_the_family_outranks_the_p_value() {
    let run = |q_value| {
        Run::agreeing().slower(0.99, 0.31, 0.001).with(|run| {
            run.comparison.latency.as_mut().unwrap().increases[3].q_value = Some(q_value);
        })
    };
    check(&run(0.009), "p99-latency-increase = 0.2", Differ, "p99 latency grew");
    check(&run(0.011), "p99-latency-increase = 0.2", NoVerdict, "perhaps by chance");
}

#[test]
fn a_slow_down_that_no_gate_limits_is_a_warning() {
    let run = Run::agreeing().slower(0.99, 0.31, 0.000_1);
    let judgement = check(&run, "", Agree, "no gate failed");
    assert_eq!(judgement.warnings, ["p99 latency grew by 31%, on which there is no gate"]);
    assert!(run.judge(&gates("p99-latency-increase = \"40%\"")).warnings.is_empty());
}

#[test]
fn a_gate_on_latency_itself_holds_new_to_a_time() {
    let run = Run::agreeing();
    check_gate(&run, "p99-latency = \"8ms\"", Agree, "no gate failed", "p99-latency", Some(true));
    check_gate(&run, "p99-latency = \"7ms\"", Differ, "p99 latency of new is 8ms", "p99-latency", Some(false));
    check_gate(
        &run,
        "p999-latency = \"1h\"",
        NoVerdict,
        "26,398 outputs of new are too few to tell p999",
        "p999-latency",
        None,
    );
}

#[test]
fn each_quantile_has_gates_that_pass_fail_and_cannot_tell() {
    for (quantile, share, told_us) in
        [("p50", 0.5, 1_000), ("p90", 0.9, 2_000), ("p95", 0.95, 3_000), ("p99", 0.99, 8_000), ("p999", 0.999, 20_000)]
    {
        let run = Run::agreeing().with(|run| {
            let latency = run.comparison.latency.as_mut().unwrap();
            latency.increases.push(increase(0.999, 0.001));
            latency.new.p999_us = Some(20_000);
        });
        let (grown, itself) = (format!("{quantile}-latency-increase"), format!("{quantile}-latency"));
        for (by, p_value, verdict, pass) in
            [(0.31, 0.000_1, Differ, Some(false)), (0.31, 0.2, NoVerdict, None), (0.19, 0.000_1, Agree, Some(true))]
        {
            let run = run.clone().slower(share, by, p_value);
            check_gate(&run, &format!("{grown} = \"20%\""), verdict, "", &grown, pass);
        }
        // What exceeds the limit by less than the machine's noise cannot be told from it.
        let limits = [
            (told_us, Agree, Some(true)),
            (told_us - 1, NoVerdict, None),
            (told_us - told_us / 10, Differ, Some(false)),
        ];
        for (limit_us, verdict, pass) in limits {
            check_gate(&run, &format!("{itself} = \"{limit_us}us\""), verdict, "", &itself, pass);
        }
        let untold = run.with(|run| {
            let latency = run.comparison.latency.as_mut().unwrap();
            (latency.increases, latency.new) = (Vec::new(), LatencyFigures::default());
        });
        check_gate(&untold, &format!("{grown} = \"20%\""), NoVerdict, "too few", &grown, None);
        check_gate(&untold, &format!("{itself} = \"1h\""), NoVerdict, "too few", &itself, None);
    }
}

#[test]
fn off_schedule_voids_gates_on_timing_and_nothing_else() {
    let text = "p99-latency-increase = \"20%\"\np99-latency = \"1s\"\noutputs-min = 1";
    for (drive, p99_us, slow_down, void) in [
        ("new", 50_001, 0.0, true),
        ("old", 50_001, 0.0, true),
        ("new", 50_000, 0.01, false),
        ("new", 900, 0.011, true),
        ("old-once", 90_000, 0.0, false),
    ] {
        let run = Run::agreeing().late(drive, p99_us, slow_down);
        let judgement = run.judge(&gates(text));
        assert_eq!(judgement.verdict, if void { NoVerdict } else { Agree }, "{drive} {p99_us} {slow_down}");
        let pass = if void { None } else { Some(true) };
        assert_eq!(gate(&judgement, "p99-latency-increase").pass, pass);
        assert_eq!(gate(&judgement, "p99-latency").pass, pass);
        assert_eq!(gate(&judgement, "outputs-min").pass, Some(true));
    }
    let strayed = Run::agreeing().late("new", 60_000, 0.0);
    let judgement = check(&strayed, "", Agree, "no gate failed");
    assert!(judgement.warnings[0].starts_with("the replay into new ran off its schedule (p99 lateness 60ms"));
    assert_eq!(off_schedule(&strayed.endings, FidelityBounds::default()).len(), 1);
    // Said once for all that strayed.
    let judgement = check(&strayed.late("old", 70_000, 0.0), "", Agree, "no gate failed");
    let said: Vec<&String> = judgement.warnings.iter().filter(|said| said.contains("off its schedule")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with(", as did the replay into old: their figures of time do not count"), "{said:?}");
}

#[test]
fn an_unpaced_replay_is_no_verdict_only_where_a_gate_asks_for_time() {
    let run = Run::agreeing().with(|run| run.paced = false);
    check(&run, "", Agree, "no gate failed");
    for figure in
        ["p99-latency-increase = \"20%\"", "p50-latency = \"1s\"", "lateness-p99 = \"1s\"", "slow-down = \"1%\""]
    {
        check(&run, figure, NoVerdict, "the replay was not paced");
    }
}

#[test]
fn a_written_bound_on_fidelity_is_a_gate_and_bounds_timing() {
    let text = "lateness-p99 = \"10ms\"\np99-latency-increase = \"20%\"";
    let run = Run::agreeing();
    check(&run, text, Agree, "no gate failed");
    // Only new took its input late: its doing. Old did too: nobody can tell.
    let new_late = run.clone().late("new", 11_000, 0.0);
    check_gate(&new_late, text, Differ, "lateness-p99 of the replay into new is 11ms", "p99-latency-increase", None);
    let both_late = new_late.late("old", 12_000, 0.0);
    check_gate(&both_late, text, NoVerdict, "ran off its schedule", "lateness-p99", None);
    let wide = "lateness-p99 = \"1s\"\np99-latency-increase = \"20%\"";
    check(&both_late.late("old", 900_000, 0.0), wide, Agree, "no gate failed");
    check(&run.clone().late("new", 0, 0.03), "slow-down = \"2%\"", Differ, "slow-down of the replay into new is 3%");
    check(&run.late("new", 0, 0.03), "slow-down = 0.03", Agree, "no gate failed");
}

#[test]
fn figures_that_end_in_min_are_minima() {
    let run = Run::agreeing().pattern(Kind::Metadata, Standing::Proven, 264);
    check_gate(&run, "outputs-min = 26_398", Agree, "no gate failed", "outputs-min", Some(true));
    check_gate(
        &run,
        "outputs-min = 26_399",
        Differ,
        "new wrote 26,398 outputs; gate outputs-min asks for at least 26399",
        "outputs-min",
        Some(false),
    );
    check_gate(&run, "matched-share-min = \"98%\"", Agree, "no gate failed", "matched-share-min", Some(true));
    check_gate(
        &run,
        "matched-share-min = \"99.9%\"",
        Differ,
        "26,134 of 26,398 outputs of old found",
        "matched-share-min",
        Some(false),
    );
}

#[test]
fn a_written_gate_that_nothing_measures_is_no_verdict() {
    for figure in ["lag-events = 50_000", "freshness-p99 = \"5s\""] {
        check(&Run::agreeing(), figure, NoVerdict, "nobody can tell how far it was behind");
    }
}

#[test]
fn a_gate_on_lag_or_freshness_holds_the_worst_drive_of_new() {
    let kept = Run::agreeing().behind("old", 40, 900).behind("new", 50, 1_000).behind("new_again", 30, 800);
    for (text, gate) in [("lag-events = 50", "lag-events"), ("freshness-p99 = \"1ms\"", "freshness-p99")] {
        check_gate(&kept, text, Agree, "", gate, Some(true));
    }
    let broken = kept.clone().behind("new_again", 51, 1_010);
    check_gate(
        &broken,
        "lag-events = 50",
        Differ,
        "the largest lag of new is 51 events (40 events in old)",
        "lag-events",
        Some(false),
    );
    let reason = "p99 freshness of new is 1.01ms (900us in old)";
    check_gate(&broken, "freshness-p99 = \"1ms\"", Differ, reason, "freshness-p99", Some(false));
    // What drives of old differ by from each other may be all that is beyond the limit.
    let unsteady = broken.clone().behind("old_again", 41, 910);
    for (text, gate) in [("lag-events = 50", "lag-events"), ("freshness-p99 = \"1ms\"", "freshness-p99")] {
        check_gate(&unsteady, text, NoVerdict, "perhaps by chance", gate, None);
        let strayed = broken.clone().late("new", 60_000, 0.0);
        check_gate(&strayed, text, NoVerdict, "off its schedule", gate, None);
        let unpaced = broken.clone().with(|run| run.paced = false);
        check_gate(&unpaced, text, NoVerdict, "not paced", gate, None);
    }
}

#[test]
fn a_gate_on_throughput_or_resources_fails_beyond_limit_chance_and_what_old_differs_by() {
    let gates = [
        (Measure::Throughput, "throughput-decrease = \"10%\"", "throughput of new is 20% lower"),
        (Measure::Cpu, "cpu-increase = \"10%\"", "processor time of new is 20% higher"),
        (Measure::Memory, "memory-increase = \"10%\"", "memory of new is 20% higher"),
    ];
    for (measure, text, what) in gates {
        let name = text.split(' ').next().unwrap();
        let far = Run::agreeing().measured(measure, 0.2, 0.01, 0.001);
        check_gate(&far, text, Differ, what, name, Some(false));
        check_gate(&far, &text.replace("10%", "25%"), Agree, "", name, Some(true));
        check_gate(&Run::agreeing().measured(measure, 0.05, 0.01, 0.001), text, Agree, "", name, Some(true));
        check_gate(&Run::agreeing().measured(measure, -0.4, 0.01, 0.999), text, Agree, "", name, Some(true));
        // By chance, or within what drives of old differ by; and where they differ by more than the limit, nobody can tell.
        for (by, noise, p_value) in [(0.2, 0.05, 0.03), (0.2, 0.3, 0.001)] {
            let unsure = Run::agreeing().measured(measure, by, noise, p_value);
            check_gate(&unsure, text, NoVerdict, "perhaps by chance", name, None);
        }
        check_gate(&Run::agreeing().measured(measure, 0.05, 0.3, 0.2), text, NoVerdict, "too unsteady", name, None);
        // Neither where there is no such figure, or time says nothing.
        check_gate(&Run::agreeing(), text, NoVerdict, "is not known", name, None);
        check_gate(&far.clone().late("new", 60_000, 0.0), text, NoVerdict, "off its schedule", name, None);
        check_gate(&far.clone().with(|run| run.paced = false), text, NoVerdict, "not paced", name, None);
        let once = far.clone().with(|run| {
            let found = &mut run.comparison.measures[0];
            (found.interval, found.noise, found.deviation, found.p_value) = (None, None, None, None);
        });
        check_gate(&once, text, NoVerdict, "old was driven once", name, None);
        // Without a gate it is a warning, but not off the schedule.
        let warned = |run: &Run| run.judge(&Gates::default()).warnings.iter().any(|warning| warning.contains(what));
        let settled = far.with(|run| run.comparison.measures[0].standing = Some(Standing::Proven));
        assert!(warned(&settled) && !warned(&settled.clone().late("new", 60_000, 0.0)), "{name}");
    }
}

#[test]
fn a_lag_that_keeps_growing_fails_the_gate_that_forbids_it() {
    let text = "lagging = 0";
    let proven = Run::agreeing().drifts(Some(Standing::Proven), None);
    let what = "the lag in new grows for good since 2013-01-05T10:17Z (flights/3@4711), 61s into the replay, by 40 events each second";
    check_gate(&proven, text, Differ, what, "lagging", Some(false));
    check_gate(&proven, "lagging = 1", Agree, "", "lagging", Some(true));
    check_gate(
        &Run::agreeing().drifts(Some(Standing::Suspected), None),
        text,
        NoVerdict,
        "perhaps by chance",
        "lagging",
        None,
    );
    check_gate(&Run::agreeing(), text, NoVerdict, "too short for a trend", "lagging", None);
    check_gate(&Run::agreeing().drifts(None, None), text, Agree, "", "lagging", Some(true));
    // What new takes late is new's; what old's drives take late, too, is the machine's.
    check_gate(&proven.clone().late("new", 60_000_000, 0.5), text, Differ, what, "lagging", Some(false));
    check_gate(&proven.clone().late("old-again", 60_000, 0.0), text, NoVerdict, "off its schedule", "lagging", None);
    check_gate(&proven.clone().with(|run| run.paced = false), text, NoVerdict, "not paced", "lagging", None);
    assert!(proven.judge(&Gates::default()).warnings[0].contains("on which there is no gate"));
    // Both builds: a warning that stands first, and no failure.
    let both = Run::agreeing().drifts(None, Some(()));
    let judgement = check(&both, text, Agree, "");
    assert!(judgement.warnings[0].starts_with("broken by both: the lag grows for good"), "{:#?}", judgement.warnings);
}

#[test]
fn tests_on_time_share_the_budget_of_the_family_and_those_without_a_gate_lend_it_nothing() {
    let settled = |text: &str| {
        let run = Run::agreeing().measured(Measure::Cpu, 0.2, 0.01, 0.008).measured(Measure::Memory, 0.2, 0.01, 0.9);
        let mut comparison = run.comparison;
        comparison.latency = None;
        settle(&mut comparison, &gates(text));
        comparison.measures.iter().map(|found| (found.standing, found.q_value)).collect::<Vec<_>>()
    };
    let alone = settled("cpu-increase = \"10%\"");
    assert_eq!(alone[0], (Some(Standing::Proven), Some(0.008)));
    let both = settled("cpu-increase = \"10%\"\nmemory-increase = \"10%\"");
    assert_eq!(both[0], (Some(Standing::Suspected), Some(0.016)));
}

#[test]
fn the_first_divergence_is_the_earliest_of_what_is_proven_else_of_what_is_suspected() {
    let at = |run: Run, replay_us: i64, event_time_ms: i64| {
        run.with(|run| {
            let first = run.comparison.patterns.last_mut().unwrap().first.as_mut().unwrap();
            (first.replay_us, first.event_time_ms) = (replay_us, Some(event_time_ms));
        })
    };
    let run = at(Run::agreeing().pattern(Kind::Changed, Standing::Noise, 9), 1, 1);
    assert_eq!(first_divergence(&run.comparison.patterns), None);
    let run = at(run.pattern(Kind::Missing, Standing::Suspected, 9), 5, 900);
    let first = first_divergence(&run.comparison.patterns).unwrap();
    assert_eq!((first.replayed.kind, first.replayed.sighting.replay_us, first.happened), (Kind::Missing, 5, None));
    let run = at(run.pattern(Kind::Extra, Standing::Proven, 9), 70, 300);
    let run = at(run.pattern(Kind::Repeated, Standing::Proven, 9), 80, 200);
    let run = at(run.pattern(Kind::BenignReorder, Standing::Proven, 9), 2, 2);
    let run = at(run.unjudgeable(Kind::Changed, 9), 3, 3);
    let first = first_divergence(&run.comparison.patterns).unwrap();
    assert_eq!((first.replayed.kind, first.replayed.sighting.replay_us), (Kind::Extra, 70));
    // Late events: what happened first was not handed over first.
    let happened = first.happened.unwrap();
    assert_eq!((happened.kind, happened.sighting.event_time_ms), (Kind::Repeated, Some(200)));
}

#[test]
fn warnings_change_no_verdict() {
    let written =
        gates_and_warnings("", "metadata = 0\nlag-events = 5\noutputs-min = 99999\np99-latency = \"1ms\"\nlater = 5");
    let judgement = Run::agreeing().pattern(Kind::Metadata, Standing::Proven, 3).judge(&written);
    assert_eq!(judgement.verdict, Agree);
    assert_eq!(judgement.reasons.len(), 1);
    let passes: Vec<_> =
        judgement.gates.iter().filter(|gate| gate.warning).map(|gate| (gate.name.as_str(), gate.pass)).collect();
    let expected = [
        ("metadata", Some(false)),
        ("later", Some(true)),
        ("p99-latency", Some(false)),
        ("outputs-min", Some(false)),
        ("lag-events", None),
    ];
    assert_eq!(passes, expected);
    assert!(judgement.warnings.iter().any(|warning| warning.contains("gate lag-events could not be judged")));
    assert!(judgement.warnings.iter().any(|warning| warning.contains("asks for at least 99999")));
}

#[test]
fn two_foreign_outcomes_are_compared_by_suspicion() {
    let run = |kind| Run::foreign().pattern(kind, Standing::Suspected, 3);
    for kind in GATED {
        assert_eq!(check(&run(kind), "", NoVerdict, "suspected but not proven").verdict.exit_code(), 3);
    }
    for kind in UNGATED {
        assert_eq!(check(&run(kind), "", Agree, "no gate failed").verdict.exit_code(), 0);
    }
    check(&run(Kind::Later), "later = 0", NoVerdict, "suspected but not proven");
    check(&Run::foreign(), "p99-latency = \"1s\"", NoVerdict, "not paced");
    check(&Run::foreign(), "repeated-effects = 0", NoVerdict, "nothing was redelivered");
    let paced = Run::foreign().with(|run| run.paced = true);
    check(&paced, "p99-latency = \"1s\"", NoVerdict, "nothing tells whether the replay into old kept its schedule");
}

#[test]
fn sentences_are_plain_text_without_markup_or_full_stop() {
    let run = Run::agreeing()
        .pattern(Kind::Changed, Standing::Proven, 312)
        .repeats(2, 9, Some(Standing::Proven))
        .slower(0.99, 0.31, 0.000_1)
        .late("old-again", 60_000, 0.2);
    let judgement = run.judge(&gates_and_warnings("lag-events = 1\np99-latency-increase = \"20%\"", "unseen = 0"));
    assert!(judgement.reasons.len() >= 4 && !judgement.warnings.is_empty());
    for sentence in judgement.reasons.iter().chain(&judgement.warnings) {
        assert!(!sentence.ends_with('.') && !sentence.contains(['`', '<', '>', '&', '\n', '*', '|']), "{sentence}");
    }
}

proptest! {
    #[test]
    fn a_verdict_is_differ_exactly_where_new_or_a_gate_failed(
        kinds in proptest::collection::vec((0..GATED.len(), 0_u8..4, 1_u64..50), 0..6),
        old_dies in proptest::bool::weighted(0.1),
        new_dies in proptest::bool::weighted(0.1),
        fired in 0_u64..3,
        limit in 0_u64..60,
    ) {
        let mut run = Run::agreeing().fired("late", 3, fired);
        for (kind, standing, count) in kinds {
            let standing = [Standing::Proven, Standing::Suspected, Standing::Noise, Standing::Expected][usize::from(standing)];
            run = run.pattern(GATED[kind], standing, count);
        }
        run = if old_dies { run.ended("old", Ending::Died) } else { run };
        run = if new_dies { run.ended("new", Ending::Died) } else { run };
        let judgement = run.judge(&gates(&format!("changed = {limit}")));
        let counted = judgement.gates.iter().filter(|gate| !gate.warning);
        let (failed, unsure) = counted.fold((0, 0), |(failed, unsure), gate| {
            (failed + u32::from(gate.pass == Some(false)), unsure + u32::from(gate.pass.is_none()))
        });
        let expected = match (old_dies, failed > 0, unsure > 0 || fired == 0) {
            (true, ..) | (false, false, true) => NoVerdict,
            (false, true, _) => Differ,
            (false, false, false) => Agree,
        };
        prop_assert_eq!(judgement.verdict, expected);
        prop_assert!(!judgement.reasons.is_empty());
    }
}

/// Writes an outcome of `count` deliveries, one a millisecond, each answered after `latency_us`.
fn outcome(dir: &std::path::Path, count: i64, paced: bool, latency_us: impl Fn(i64) -> i64) -> Outcome {
    let mut writer = OutcomeWriter::create(dir, &["flights".to_owned()], &[]).unwrap();
    for offset in 0..count {
        let phase = if offset < 10 { Phase::WarmUp } else { Phase::Main };
        let due_us = offset * 1_000;
        let delivery = Delivery {
            due_us,
            topic: 0,
            partition: 2,
            offset,
            position: offset,
            attempt: 0,
            phase,
            faults: 0,
            place: Place::default(),
        };
        writer.deliveries.append(&delivery, Some(due_us)).unwrap();
        let cause = Cause { topic: "flights".to_owned(), partition: 2, offset, attempt: 0, by: CauseBy::Build };
        let arrived_us = due_us + latency_us(offset);
        let output = Output { sequence: offset, arrived_us, phase, cause: Some(cause), ..Output::default() };
        writer.output(&output).unwrap();
    }
    let mut report = finished();
    report.lateness = report.lateness.filter(|_| paced);
    writer.finish(&report).unwrap()
}

fn measure(old: &[Outcome], new: &Outcome) -> Option<Latency> {
    latency(old, new, &Seed(7).draws("latency"), &SpillSpace::system()).unwrap()
}

#[test]
fn latency_is_measured_from_outcomes_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let old = outcome(&dir.path().join("old"), 3_010, true, |offset| 1_000 + offset % 100);
    let again = outcome(&dir.path().join("old-again"), 3_010, true, |offset| 1_000 + (offset + 1) % 100);
    let new = outcome(&dir.path().join("new"), 3_010, true, |offset| 1_500 + offset % 100);
    let olds = [old, again];
    let latency = measure(&olds, &new).unwrap();
    assert_eq!((latency.old.count, latency.new.count), (3_000, 3_000), "the warm-up counts in nothing");
    assert!((1_040..1_060).contains(&latency.old.p50_us.unwrap()), "{:?}", latency.old);
    assert!(latency.old.p95_us.is_some() && latency.old.p99_us.is_none());
    let median = &latency.increases[0];
    assert!(median.slower && (0.45..0.50).contains(&median.increase), "{median:?}");
    assert!(median.noise.as_ref().unwrap().floor < 0.01, "{median:?}");
    assert_eq!(measure(&olds, &new), Some(latency));
}

#[test]
fn what_the_machine_does_to_old_again_is_no_growth_of_new() {
    let dir = tempfile::tempdir().unwrap();
    let old = outcome(&dir.path().join("old"), 3_010, true, |offset| 1_000 + offset % 100);
    let again = outcome(&dir.path().join("old-again"), 3_010, true, |offset| 1_600 + offset % 100);
    let new = outcome(&dir.path().join("new"), 3_010, true, |offset| 1_500 + offset % 100);
    let latency = measure(&[old.clone(), again], &new).unwrap();
    let median = &latency.increases[0];
    assert!(!median.slower && median.interval.0 < 0.0, "{median:?}");
    assert!((0.55..0.60).contains(&median.noise.as_ref().unwrap().increase), "{median:?}");
    // A drive that was not timed says nothing of time; alone, old proves nothing.
    let untimed = outcome(&dir.path().join("old-again-2"), 3_010, false, |_| 1);
    let alone = measure(&[old, untimed], &new).unwrap();
    assert!(alone.increases[0].noise.is_none() && !alone.increases[0].slower, "{:?}", alone.increases[0]);
}

#[test]
fn whoever_asks_to_stop_gets_no_latency() {
    let dir = tempfile::tempdir().unwrap();
    let old = outcome(&dir.path().join("old"), 50, true, |_| 1_000);
    let stopped =
        latency(std::slice::from_ref(&old), &old, &Seed(7).draws("latency"), &SpillSpace::system().until(|| true));
    assert!(matches!(stopped, Err(CompareError::Stopped)), "{stopped:?}");
}

#[test]
fn an_unpaced_outcome_has_no_latency() {
    let dir = tempfile::tempdir().unwrap();
    let old = outcome(&dir.path().join("old"), 50, true, |_| 1_000);
    let new = outcome(&dir.path().join("new"), 50, false, |_| 1_000);
    assert_eq!(measure(&[old], &new), None);
}
