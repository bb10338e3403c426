//! Reports as runs leave them: the compensation of delayed flights, and the edges of what a report can hold.

use std::collections::BTreeMap;

use rehearsal::compare::{
    Causes, Change, Common, Condition, Couples, Drift, DriveSeries, Example, Explained, FreshnessFigures, GateResult,
    Idempotency, Kind, LagFigures, LagMeasure, Lagging, Latency, LatencyFigures, LatencyIncrease, LatencyNoise,
    Measure, Measured, Pattern, Redelivery, RepeatedCalls, Series, Shown, Sighting, Standing, Statistics, Verdict, Way,
    first_divergence,
};
use rehearsal::outcome::{EffectCount, Ending, Lateness};
use rehearsal::plan::PlanSummary;
use rehearsal::recording::{CauseFacts, GapCause};
use rehearsal::report::{
    BuildFacts, DriveFacts, EffectFacts, FaultFacts, Fidelity, FiredFacts, FlagFacts, OldFacts, RecordingFacts,
    RegistryFacts, RelationFacts, Report, RequestFacts, ScenarioFacts, SourceFacts,
};

/// New pays twice under redelivery, and the rounding of one fare class moved.
pub(crate) fn differ() -> Report {
    let patterns = vec![rounding(), paid_twice(), suspicion(), timestamps(), reordering()];
    Report {
        verdict: Verdict::Differ,
        reasons: vec![
            "new repeats 38 effects when deliveries repeat; old repeats none (gate repeated-effects-increase, limit 0).".into(),
            "changed in payouts at $.amount: 214 outputs, proven beyond noise (gate changed, limit 0).".into(),
            "repeated in payouts: 38 outputs, proven beyond noise (gate repeated, limit 0).".into(),
        ],
        lag: Some(lag()),
        freshness: Some(freshness()),
        lagging: Some(lagging()),
        measures: measures(),
        series: Some(series()),
        first_divergence: first_divergence(&patterns),
        differences: BTreeMap::from([(Kind::Repeated, 38), (Kind::Changed, 215), (Kind::BenignReorder, 61)]),
        patterns,
        idempotency: Some(Idempotency {
            old: Redelivery { redelivered: 1_061, ..Redelivery::default() },
            new: Redelivery {
                redelivered: 1_061,
                provoked: 0,
                repeated_effects: 38,
                changed_finals: 0,
                effects: BTreeMap::from([("bank".to_owned(), RepeatedCalls { identities: 38, calls: 38 })]),
                examples: vec![
                    redelivered("2013-01-01/EV4412/EWR-MCI", 2_531, 400, 1_357_081_260_000),
                    redelivered("2013-01-02/MQ4079/EWR-BWI", 4_018, 250, 1_357_161_600_000),
                ],
            },
            increase: Some(Standing::Proven),
            broken_by_new: 38,
            broken_by_both: 0,
            mended_by_new: 0,
            statistics: Statistics::default(),
            silenced: BTreeMap::new(),
        }),
        effects: vec![EffectFacts {
            name: "bank".into(),
            drives: [("old", 1_204), ("new", 1_242)]
                .map(|(drive, calls)| (drive.to_owned(), EffectCount { calls, failed: 3, ..EffectCount::default() }))
                .into(),
            repeats: Some("new would have paid 38 passengers twice, old none".into()),
        }],
        flags: Some(FlagFacts {
            drives: BTreeMap::new(),
            says: vec![
                "new-rounding is false in old and true in new".into(),
                "new: new-rounding was thrown from true to false at 90s of the replay (kill)".into(),
            ],
        }),
        registry: Some(RegistryFacts {
            drives: BTreeMap::new(),
            says: vec!["new registers version 4 of payouts-value (Avro), the first of its subject, old does not".into()],
        }),
        relations: vec![
            relation("determinism", "kept by both", "old against old again: 1 output of 1,204 differs."),
            relation("redelivery", "broken by new", "new repeats 38 effects, old none."),
        ],
        gates: vec![
            gate("repeated-effects-increase", "0", Some("38"), Some(false), true, Some("proven over 1,204 identities")),
            gate("changed", "0", Some("214"), Some(false), true, Some("$.amount in payouts")),
            gate("repeated", "0", Some("38"), Some(false), true, None),
            gate("missing", "0", Some("0"), Some(true), true, None),
            gate("extra", "0", Some("0"), Some(true), true, None),
            gate("final-state", "0", Some("0"), Some(true), true, None),
            gate("p99-latency-increase", "20%", Some("3.1%"), Some(true), false, None),
            gate("lag-events", "50,000", Some("52,000"), Some(false), false, Some("1,204 events in old")),
            GateResult { warning: true, ..gate("freshness-p99", "5s", Some("6.2s"), Some(false), false, None) },
        ],
        warnings: vec!["The builds may act on their own clock: what a timer caused cannot be told under an accelerated pace.".into()],
        ..agree()
    }
}

/// What was replayed.
fn recording() -> RecordingFacts {
    RecordingFacts {
        path: "recordings/flights".into(),
        events: 53_402,
        first_ms: Some(1_357_035_420_000),
        last_ms: Some(1_359_687_000_000),
        hash: "9f2c4a7b01d35e6688aa10c2f4be97d35a60e1c7b2480f19dd36c5b8e7a41f02".into(),
        gaps: 3,
        missing: vec![
            CauseFacts { cause: GapCause::Retention, stretches: 1, offsets: 1_200 },
            CauseFacts { cause: GapCause::TransactionMarkers, stretches: 2, offsets: 5 },
        ],
    }
}

/// Both builds did the same.
pub(crate) fn agree() -> Report {
    Report {
        format: "1.0".into(),
        tool: "0.1.0".into(),
        verdict: Verdict::Agree,
        reasons: Vec::new(),
        scenario: ScenarioFacts {
            name: "compensation".into(),
            question: Some("Does the new compensation build pay twice when events are redelivered?".into()),
            path: "scenarios/compensation/scenario.toml".into(),
        },
        seed: 7,
        recording: recording(),
        builds: BTreeMap::from([
            ("old".into(), build("compensation 1.4", "compensation-old", false)),
            ("new".into(), build("compensation 2.0", "compensation-new", true)),
        ]),
        against: None,
        outcome_of_old: Some(OldFacts {
            used_again_from: None,
            driven_because:
                "`p99-latency-increase` is limited, and what was measured another time says nothing about it".into(),
            key: Some("5ca1".repeat(16)),
        }),
        drives: ["old", "old-again", "new", "old-once", "new-once"].map(drive).into(),
        plan: PlanSummary {
            events: 53_402,
            warm_up_events: 0,
            deliveries: 54_463,
            redeliveries: 1_061,
            length_us: 13_260_000,
            gaps_cut: 31,
            gaps_cut_us: 1_840_000,
            faults: Vec::new(),
        },
        fidelity: Fidelity {
            pace: "accelerated, 200,000 times".into(),
            lateness: ["new", "old", "old-again"].map(|drive| (drive.to_owned(), lateness())).into(),
            on_schedule: Some(true),
            bounds: "p99 lateness 50 ms, slow-down 1 %".into(),
            gaps_cut: 31,
            gaps_cut_us: 1_840_000,
            clock: "the machine's monotonic clock, sleeping until each due time".into(),
            enforced: "that a build ends with its drive".into(),
        },
        faults: vec![
            fault(
                "twice",
                "duplicate",
                1_061,
                &[("share", 0.019_87), ("distance-p50-events", 1_204.0), ("distance-max-events", 8_112.0)],
            ),
            fault("shuffled", "reorder", 2_664, &[("share", 0.049_9), ("extent-p50", 17.0), ("extent-max", 64.0)]),
            answers_lost(),
            broker_gone(),
        ],
        outputs: [("new", 1_204), ("new_once", 1_204), ("old", 1_204), ("old_again", 1_204), ("old_once", 1_204)]
            .map(|(drive, n)| (drive.to_owned(), n))
            .into(),
        causes: BTreeMap::from([
            ("new".to_owned(), Causes { build: 1_100, lineage: 90, inferred: 10, unknown: 4 }),
            ("old".to_owned(), Causes { build: 1_204, ..Causes::default() }),
        ]),
        identities: 1_204,
        differences: BTreeMap::from([(Kind::BenignReorder, 61)]),
        noise: Some(BTreeMap::from([(Kind::Changed, 1), (Kind::BenignReorder, 58)])),
        first_divergence: None,
        patterns: vec![reordering()],
        power: Some(9),
        silenced: BTreeMap::from([("ignore $.paid_at".into(), 1_204)]),
        convergence: Vec::new(),
        tables: Vec::new(),
        figures: Vec::new(),
        expected: Vec::new(),
        idempotency: Some(Idempotency {
            old: Redelivery { redelivered: 1_061, ..Redelivery::default() },
            new: Redelivery { redelivered: 1_061, ..Redelivery::default() },
            ..Idempotency::default()
        }),
        effects: Vec::new(),
        flags: None,
        wall_clock: None,
        registry: None,
        relations: vec![relation("redelivery", "kept by both", "")],
        latency: Some(latency()),
        lag: None,
        freshness: None,
        lagging: None,
        measures: Vec::new(),
        series: None,
        resources: None,
        metrics: Vec::new(),
        isolation: None,
        gates: ["changed", "missing"].map(|name| gate(name, "0", Some("0"), Some(true), true, None)).into(),
        warnings: Vec::new(),
        reproduce: "rehearsal run scenarios/compensation/scenario.toml --seed 7".into(),
    }
}

/// New falls behind from the middle on.
fn lagging() -> Lagging {
    let onset = Sighting {
        topic: Some("flights".into()),
        partition: Some(3),
        offset: Some(21_202),
        inferred: false,
        event_time_ms: Some(1_358_380_020_000),
        replay_us: 6_000_000,
    };
    let drift = Drift {
        onset,
        per_second: 480_000.0,
        old_at_end: 1_210.0,
        new_at_end: 2_870_000.0,
        p_value: Some(0.000_4),
        q_value: Some(0.001_2),
        standing: Some(Standing::Proven),
    };
    Lagging { measure: LagMeasure::Age, band: 2_400.0, beyond_old: Some(drift), shared: None }
}

fn measures() -> Vec<Measured> {
    let one = |measure: Measure, figures: [f64; 3], change: f64, standing| Measured {
        measure,
        kind: measure.kind(),
        drives: ["new", "old", "old_again"].into_iter().map(str::to_owned).zip(figures).collect(),
        change,
        interval: Some((change - 0.04, change + 0.04)),
        noise: Some(0.006),
        deviation: Some(0.004),
        p_value: Some(0.001),
        q_value: Some(0.004),
        standing,
    };
    vec![
        one(Measure::Throughput, [74.2, 90.8, 91.1], -0.184, Some(Standing::Proven)),
        one(Measure::Cpu, [1_412_000.0, 1_398_000.0, 1_401_000.0], 0.009, None),
        one(Measure::Memory, [21_400_000.0, 18_900_000.0, 19_000_000.0], 0.129, Some(Standing::Suspected)),
    ]
}

fn series() -> Series {
    let drive = |ages: [i64; 4], lag: [u64; 4]| DriveSeries {
        deliveries: vec![13_616; 4],
        outputs: vec![301, 300, 303, 300],
        lag: lag.map(Some).into(),
        age_us: ages.map(Some).into(),
        age_largest_us: ages.map(|age| Some(3 * age)).into(),
        cpu_us: vec![Some(351_000), None, Some(350_000), Some(348_000)],
        memory_bytes: vec![None, Some(18_100_000), Some(18_900_000), Some(18_900_000)],
        ..DriveSeries::default()
    };
    Series {
        bucket_us: 5_000_000,
        schedule_us: Some(13_260_000),
        drives: [
            ("old", drive([1_190, 1_204, 1_198, 1_210], [900, 1_204, 870, 0])),
            ("old_again", drive([1_201, 1_188, 1_214, 1_202], [911, 1_190, 880, 0])),
            ("new", drive([1_198, 1_230, 941_000, 2_870_000], [905, 1_240, 48_100, 3])),
        ]
        .map(|(name, own)| (name.to_owned(), own))
        .into(),
    }
}

fn lag() -> BTreeMap<String, LagFigures> {
    BTreeMap::from([
        ("old".to_owned(), LagFigures { largest: 1_204, p99: 900, at_end: 0, peak_us: 61_000_000 }),
        ("old_again".to_owned(), LagFigures { largest: 1_190, p99: 911, at_end: 0, peak_us: 61_100_000 }),
        ("new".to_owned(), LagFigures { largest: 52_000, p99: 48_100, at_end: 3, peak_us: 92_000_000 }),
    ])
}

fn freshness() -> BTreeMap<String, FreshnessFigures> {
    BTreeMap::from([
        (
            "old".to_owned(),
            FreshnessFigures { largest_us: 812_000, p99_us: 640_000, at_end_us: 0, peak_us: 61_200_000 },
        ),
        (
            "new".to_owned(),
            FreshnessFigures { largest_us: 7_100_000, p99_us: 6_200_000, at_end_us: 40_000, peak_us: 92_100_000 },
        ),
    ])
}

/// New hung, and nothing was redelivered before it did.
pub(crate) fn no_verdict() -> Report {
    let mut report = agree();
    report.verdict = Verdict::NoVerdict;
    report.reasons = vec![
        "the fault twice fired nothing: no delivery was repeated, so idempotence was not tested.".into(),
        "old-again stopped reading after 1,204 of 54,463 deliveries.".into(),
    ];
    report.faults[0].fired = 0;
    report.faults[0].coverage.clear();
    report.drives[1].ending = Ending::StoppedReading;
    report.drives[1].reason = "took no input for 10 s".into();
    report.drives[1].sent = 1_204;
    report.drives[1].stderr_tail = vec!["WARN pool exhausted".into(), "ERROR waiting for a connection".into()];
    report.fidelity.on_schedule = Some(false);
    report.patterns = vec![suspicion()];
    report.first_divergence = first_divergence(&report.patterns);
    report.idempotency = Some(Idempotency::default());
    report.gates[0] =
        gate("changed", "0", None, None, true, Some("1 output is suspected; chance could not be ruled out"));
    report.gates.push(gate("repeated-effects", "0", None, None, false, Some("nothing was redelivered")));
    report
}

/// Nothing is known but that a comparison took place.
pub(crate) fn nothing_known() -> Report {
    Report {
        verdict: Verdict::NoVerdict,
        reasons: Vec::new(),
        scenario: ScenarioFacts { name: String::new(), question: None, path: String::new() },
        seed: 0,
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
        outcome_of_old: None,
        drives: Vec::new(),
        plan: PlanSummary::default(),
        fidelity: Fidelity {
            pace: String::new(),
            lateness: BTreeMap::new(),
            on_schedule: None,
            bounds: String::new(),
            gaps_cut: 0,
            gaps_cut_us: 0,
            clock: String::new(),
            enforced: String::new(),
        },
        faults: Vec::new(),
        outputs: BTreeMap::new(),
        causes: BTreeMap::new(),
        identities: 0,
        differences: BTreeMap::new(),
        noise: None,
        first_divergence: None,
        patterns: Vec::new(),
        power: None,
        silenced: BTreeMap::new(),
        idempotency: None,
        relations: Vec::new(),
        latency: None,
        gates: Vec::new(),
        reproduce: String::new(),
        ..agree()
    }
}

/// What other people's systems may write: markup, escape sequences, quotes, fences, tables, turned text.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script> ]]> --> \u{1b}[31m \0 \u{202e}abc | `code` ``` **bold** @everyone \"quoted\" 'x' & \r\n# heading";

/// Every text of the report is hostile.
pub(crate) fn hostile() -> Report {
    let mut report = no_verdict();
    let text = || HOSTILE.to_owned();
    report.reasons = vec![text()];
    report.warnings = vec![text()];
    report.scenario = ScenarioFacts { name: text(), question: Some(text()), path: text() };
    report.recording.path = text();
    report.reproduce = text();
    report.silenced = BTreeMap::from([(text(), 1)]);
    report.relations = vec![relation(HOSTILE, HOSTILE, HOSTILE)];
    report.resources = Some(serde_json::json!({ HOSTILE: [HOSTILE, 1, { "memory_bytes": 123_456 }] }));
    report.fidelity.pace = text();
    report.fidelity.bounds = text();
    report.faults[0] = fault(HOSTILE, HOSTILE, 1, &[(HOSTILE, 0.5)]);
    report.gates = vec![gate(HOSTILE, HOSTILE, Some(HOSTILE), Some(false), false, Some(HOSTILE))];
    report.drives[1].reason = text();
    report.drives[1].stderr_tail = vec![text()];
    let mut facts = build(HOSTILE, HOSTILE, true);
    facts.flags.insert(text(), serde_json::json!(HOSTILE));
    facts.env_names.push(text());
    report.builds.insert("new".into(), facts);
    for (key, value) in
        [(Some(text()), Some(text())), (None, None), (None, Some(format!("{{\"a\": {}}}", serde_json::json!(HOSTILE))))]
    {
        let mut pattern = rounding();
        pattern.topic = text();
        pattern.path = Some(text());
        pattern.explained.ways[0].says = text();
        if let Some(common) = &mut pattern.explained.common {
            common.says = text();
        }
        for example in &mut pattern.examples {
            example.identity = text();
            if let Some(new) = &mut example.new {
                (new.topic, new.key, new.value) = (text(), key.clone(), value.clone());
            }
            if let Some(cause) = &mut example.cause {
                cause.topic = Some(text());
            }
        }
        report.patterns.push(pattern);
    }
    report.first_divergence = first_divergence(&report.patterns);
    let examples = report.patterns[1].examples.clone();
    report.idempotency = Some(Idempotency {
        new: Redelivery { redelivered: 3, repeated_effects: 1, changed_finals: 1, examples, ..Redelivery::default() },
        ..Idempotency::default()
    });
    report
}

/// Ten thousand patterns with long examples, and lists without end.
pub(crate) fn monstrous() -> Report {
    let mut report = differ();
    let members = |changed: usize| {
        let members = (0..80).map(|n| {
            format!("\"member {n:02}\":\"{}\"", if n % 3 == changed { "<&>".repeat(8) } else { "y".repeat(20) })
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    report.patterns = (0..10_000)
        .map(|n| {
            let mut pattern = rounding();
            pattern.path = Some(format!("$.fares[*].class_{n}"));
            pattern.standing = [Standing::Proven, Standing::Suspected, Standing::Noise, Standing::Expected][n % 4];
            pattern.examples = vec![pattern.examples[0].clone(); 2];
            for example in &mut pattern.examples {
                example.identity = "identity & ".repeat(40);
                if let (Some(old), Some(new)) = (&mut example.old, &mut example.new) {
                    (old.value, new.value) = (Some(members(0)), Some(members(1)));
                }
            }
            pattern
        })
        .collect();
    let example = report.patterns[0].examples[0].clone();
    for redelivery in report.idempotency.iter_mut().flat_map(|both| [&mut both.old, &mut both.new]) {
        redelivery.examples = vec![example.clone(); 1_000];
    }
    let sentence = "A sentence that was written by somebody who had a lot of time & <space>. ".repeat(5);
    report.reasons = vec![sentence.clone(); 2_000];
    report.warnings = vec![sentence.clone(); 2_000];
    report.gates = vec![gate(&sentence, &sentence, Some(&sentence), Some(false), false, Some(&sentence)); 2_000];
    report.faults = vec![fault(&sentence, "duplicate", 1, &[("share", 0.5)]); 2_000];
    report.relations = vec![relation(&sentence, "broken by new", &sentence); 2_000];
    report.silenced = (0..2_000).map(|n| (format!("{sentence}{n}"), 1)).collect();
    report.lag = Some((0..2_000).map(|n| (format!("old_again_{n}"), LagFigures::default())).collect());
    for drive in &mut report.drives {
        drive.ending = Ending::Died;
        drive.stderr_tail = vec![sentence.clone(); 1_000];
    }
    for build in report.builds.values_mut() {
        build.env_names = vec![sentence.clone(); 2_000];
        build.command = vec![sentence.clone(); 2_000];
    }
    report
}

fn rounding() -> Pattern {
    Pattern {
        kind: Kind::Changed,
        topic: "payouts".into(),
        path: Some("$.amount".into()),
        change: Some(Change::Value),
        standing: Standing::Proven,
        count: 214,
        noise_count: 0,
        information: false,
        unjudgeable: false,
        id: String::new(),
        comparable: 0,
        expected_by: None,
        statistics: Statistics {
            compared: 1_204,
            odd_new: 214,
            odd_any: 214,
            odd_all: 0,
            p_value: Some(3.4e-103),
            q_value: Some(1.7e-102),
            recurred: None,
            noise_rate: Some(0.002_49),
            seen_in_old: false,
            odd_moving: 0,
            p_beside_noise: None,
            p_again: None,
            p_again_apart: None,
            p_by_stretch: Some(0.000_244),
            pairs_new: None,
            pairs_any: None,
            p_pairs: None,
            couples_by_change: None,
            couples_by_value: None,
        },
        first: Some(sighting(3, 31, 1_357_052_340_000, 84_600)),
        examples: vec![
            paid("2013-01-01/UA1545/EWR-IAH", 31, ("premium", "262.50", "262.00"), 1_357_052_340_000),
            paid("2013-01-01/B6725/JFK-BQN", 118, ("premium", "412.50", "412.00"), 1_357_063_080_000),
        ],
        explained: Explained {
            ways: vec![Way {
                name: "rounding".into(),
                says:
                    "new rounds $.amount down to whole numbers where old writes more digits: 214 of 1,204 differ by 0.5"
                        .into(),
                explains: 214,
                looked_at: 214,
            }],
            common: Some(Common {
                says: "$.fare_class \"premium\": all 214; of 990 others looked at 1.8%".into(),
                conditions: vec![Condition { subject: "$.fare_class".into(), value: "\"premium\"".into() }],
                holds: 214,
                looked_at: 214,
                others_hold: 18,
                others: 990,
            }),
        },
    }
}

fn paid_twice() -> Pattern {
    let mut example = paid("2013-01-01/EV4412/EWR-MCI", 2_531, ("economy", "400.00", "400.00"), 1_357_081_260_000);
    example.old = None;
    Pattern {
        kind: Kind::Repeated,
        path: None,
        change: Some(Change::Exact),
        count: 38,
        statistics: Statistics {
            compared: 1_204,
            odd_new: 38,
            odd_any: 38,
            p_value: Some(7.4e-19),
            q_value: Some(1.9e-18),
            recurred: Some(38),
            ..Statistics::default()
        },
        first: Some(sighting(1, 2_531, 1_357_081_260_000, 229_200)),
        examples: vec![example],
        explained: Explained::default(),
        ..rounding()
    }
}

fn suspicion() -> Pattern {
    Pattern {
        path: Some("$.fare_class".into()),
        standing: Standing::Suspected,
        count: 1,
        statistics: Statistics {
            compared: 1_204,
            odd_new: 1,
            odd_any: 1,
            p_value: Some(0.333),
            q_value: Some(0.416),
            recurred: Some(0),
            pairs_new: Some(0),
            pairs_any: Some(2),
            p_pairs: Some(1.0),
            couples_by_change: Some(Couples { classes: 3, one_in: 1, new: 0, any: 2, p_value: 1.0 }),
            couples_by_value: Some(Couples { classes: 1, one_in: 4, new: 1, any: 4, p_value: 0.518 }),
            ..Statistics::default()
        },
        first: Some(Sighting {
            topic: None,
            partition: None,
            offset: None,
            inferred: false,
            event_time_ms: None,
            replay_us: 7_140_000,
        }),
        examples: Vec::new(),
        explained: Explained::default(),
        ..rounding()
    }
}

fn timestamps() -> Pattern {
    Pattern {
        path: Some("$.batch".into()),
        standing: Standing::Noise,
        count: 1,
        noise_count: 1,
        unjudgeable: true,
        id: String::new(),
        comparable: 0,
        expected_by: None,
        statistics: Statistics { compared: 1_204, odd_all: 1, ..Statistics::default() },
        first: None,
        examples: Vec::new(),
        explained: Explained::default(),
        ..rounding()
    }
}

fn reordering() -> Pattern {
    Pattern {
        kind: Kind::BenignReorder,
        path: None,
        change: None,
        standing: Standing::Noise,
        count: 61,
        noise_count: 58,
        information: true,
        statistics: Statistics::default(),
        first: Some(sighting(0, 14, 1_357_041_720_000, 31_500)),
        examples: Vec::new(),
        explained: Explained::default(),
        ..rounding()
    }
}

fn paid(flight: &str, offset: i64, (fare, old, new): (&str, &str, &str), event_time_ms: i64) -> Example {
    let value = |amount: &str| {
        format!(
            "{{\"payment_id\":\"{flight}\",\"flight_id\":\"{flight}\",\"fare_class\":\"{fare}\",\"delay_minutes\":214,\"currency\":\"USD\",\"amount\":{amount}}}"
        )
    };
    let shown = |amount: &str, sequence| Shown {
        sequence,
        topic: "payouts".into(),
        partition: 0,
        key: Some(flight.into()),
        value: Some(value(amount)),
        arrived_us: 85_320,
    };
    Example {
        apart: None,
        identity: flight.into(),
        old: Some(shown(old, 3)),
        new: Some(shown(new, 3)),
        cause: Some(sighting(3, offset, event_time_ms, 84_600)),
    }
}

fn redelivered(flight: &str, offset: i64, amount: u32, event_time_ms: i64) -> Example {
    let mut example = paid(flight, offset, ("economy", "0.00", &format!("{amount}.00")), event_time_ms);
    example.old = None;
    example
}

fn sighting(partition: i32, offset: i64, event_time_ms: i64, replay_us: i64) -> Sighting {
    Sighting {
        topic: Some("flights".into()),
        partition: Some(partition),
        offset: Some(offset),
        inferred: false,
        event_time_ms: Some(event_time_ms),
        replay_us,
    }
}

fn build(name: &str, sample: &str, rounds: bool) -> BuildFacts {
    BuildFacts {
        name: name.into(),
        command: ["{rehearsal}", "sample", sample].map(str::to_owned).into(),
        program_hash: Some("41b7e7d0c9f6".repeat(5) + "41b7"),
        source: Some(SourceFacts {
            revision: (!rounds).then(|| "main".to_owned()),
            commit: "3210b358a17a891d472fdf82146b089328bd2638".into(),
            directory: "services/pay".into(),
            dirty: rounds,
            changes_hash: rounds.then(|| "9e01".repeat(16)),
        }),
        flags: BTreeMap::from([("new-rounding".into(), rounds.into())]),
        env_names: vec!["RUST_LOG".into()],
        env_hash: "77aa".repeat(16),
    }
}

fn drive(drive: &str) -> DriveFacts {
    DriveFacts {
        drive: drive.into(),
        ending: Ending::Finished,
        reason: String::new(),
        sent: 54_463,
        deliveries: 54_463,
        outputs: 1_204,
        length_us: 13_412_000,
        stderr_tail: Vec::new(),
        sinks: BTreeMap::new(),
        instances: Vec::new(),
    }
}

fn lateness() -> Lateness {
    Lateness { p50_us: 61, p99_us: 412, p999_us: 1_904, max_us: 6_310, beyond_5ms: 0.000_12, slow_down: 0.000_31 }
}

fn latency() -> Latency {
    let figures = |p50, p90, p95, p99, max| LatencyFigures {
        count: 1_204,
        p50_us: Some(p50),
        p90_us: Some(p90),
        p95_us: Some(p95),
        p99_us: Some(p99),
        p999_us: None,
        max_us: Some(max),
    };
    let increase = |quantile, increase, interval| LatencyIncrease {
        quantile,
        increase,
        interval,
        slower: false,
        p_value: 0.21,
        q_value: Some(0.34),
        noise: Some(LatencyNoise {
            drives: 2,
            increase: 0.012,
            interval: (-0.021, 0.046),
            floor: 0.046,
            deviation: 0.008_4,
        }),
    };
    Latency {
        old: figures(412, 704, 980, 2_210, 9_840),
        new: figures(398, 688, 1_010, 2_278, 11_200),
        increases: vec![
            increase(0.5, -0.034, (-0.052, -0.011)),
            increase(0.9, -0.023, (-0.061, 0.017)),
            increase(0.99, 0.031, (-0.084, 0.142)),
        ],
    }
}

fn fault(name: &str, kind: &str, instances: u64, coverage: &[(&str, f64)]) -> FaultFacts {
    FaultFacts {
        name: name.into(),
        kind: kind.into(),
        legality: "B".into(),
        planned: instances,
        fired: instances,
        coverage: coverage.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        requests: None,
    }
}

fn answers_lost() -> FaultFacts {
    let fired = |instances: u64, commits: u64| FiredFacts {
        instances,
        touched: instances,
        requests: BTreeMap::from([("OffsetCommit".to_owned(), commits), ("Produce".to_owned(), instances - commits)]),
        clients: BTreeMap::from([("payments".to_owned(), instances)]),
        stops: None,
    };
    let drives = [("new", fired(12, 2)), ("old", fired(14, 3)), ("old-again", fired(9, 0))];
    FaultFacts {
        planned: 0,
        requests: Some(RequestFacts {
            begins: "with each request by a chance of 0.1%".into(),
            by_time: false,
            drives: drives.map(|(drive, fired)| (drive.to_owned(), fired)).into(),
        }),
        ..fault("answers", "lost-ack", 12, &[("touched", 12.0), ("OffsetCommit", 2.0), ("Produce", 10.0)])
    }
}

fn broker_gone() -> FaultFacts {
    let fired = FiredFacts { instances: 1, touched: 1, ..FiredFacts::default() };
    let drives = ["new", "new-once", "old", "old-again", "old-once"];
    FaultFacts {
        legality: "A".into(),
        requests: Some(RequestFacts {
            begins: "at 1.2s of the replay, for 5s".into(),
            by_time: true,
            drives: drives.map(|drive| (drive.to_owned(), fired.clone())).into(),
        }),
        ..fault("gone", "broker-down", 1, &[("touched", 1.0)])
    }
}

fn relation(name: &str, result: &str, note: &str) -> RelationFacts {
    RelationFacts { name: name.into(), result: result.into(), note: note.into() }
}

fn gate(
    name: &str,
    limit: &str,
    observed: Option<&str>,
    pass: Option<bool>,
    default: bool,
    note: Option<&str>,
) -> GateResult {
    GateResult {
        name: name.into(),
        limit: limit.into(),
        observed: observed.map(str::to_owned),
        pass,
        note: note.map(str::to_owned),
        default,
        warning: false,
    }
}
