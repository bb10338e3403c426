//! Faults at requests: what a scenario may write of them, and what a plan makes of it.

use super::*;
use crate::plan::requests::{Asking, RequestKind};

const UNPACED: &str = "[pace]\nmode = 'unpaced'\n";

fn fault(text: &str) -> String {
    format!("[[fault]]\n{text}\n")
}

/// What a fault comes to over a thousand events, a second apart.
fn resolved(text: &str) -> RequestFault {
    let plan = planned(&Synthetic::even(1_000, 1_000), &fault(text));
    let [one] = &plan.request_faults().unwrap()[..] else { panic!("{text}") };
    one.clone()
}

#[test]
fn every_kind_takes_its_presets() {
    for kind in RequestKind::ALL {
        for preset in ["calm", "normal", "harsh"] {
            let text = format!("kind = '{}'\npreset = '{preset}'", kind.name());
            if (kind, preset) == (RequestKind::LostAck, "calm") {
                let error = setting_error(&Synthetic::even(10, 1_000), &fault(&text));
                assert_eq!(error.key, "fault[0].kind");
                continue;
            }
            let one = resolved(&text);
            assert_eq!((one.kind, one.name.as_str()), (kind.name(), format!("{}-1", kind.name()).as_str()));
            let of_failures = ["lost-ack", "clock"].contains(&one.kind);
            assert_eq!(one.legality, if of_failures { Legality::B } else { Legality::A });
            let ends = ["crash", "restart", "freeze"].contains(&one.kind);
            assert_eq!(one.redelivers, ends || ["lost-ack", "rebalance"].contains(&one.kind));
            assert_eq!(one.is_of_process(), ends || one.kind == "clock");
        }
    }
    let harsh = |kind: &str| resolved(&format!("kind = '{kind}'\npreset = 'harsh'"));
    assert_eq!(harsh("lost-ack").trigger, RequestTrigger::OnceEach);
    assert_eq!((harsh("loading").length_us, harsh("broker-down").length_us), (30_000_000, 60_000_000));
    assert_eq!(harsh("batch").effect, RequestEffect::Batch { sizes: vec![1, 0] });
    let every_ten_seconds: Vec<i64> = (1..=99).map(|number| number * 10_000_000).collect();
    assert_eq!((harsh("crash").trigger, harsh("freeze").length_us), (RequestTrigger::Every(1), 330_000_000));
    assert_eq!(harsh("restart").moments_us().map(<[i64]>::len), Some(33));
    assert_eq!(harsh("rebalance").trigger, RequestTrigger::Moments(every_ten_seconds));
    let RequestEffect::Batch { sizes } = resolved("kind = 'batch'\npreset = 'calm'").effect else { panic!() };
    assert!(sizes.len() == 64 && sizes.iter().all(|size| (1..=500).contains(size)), "{sizes:?}");
}

#[test]
fn what_is_written_goes_before_the_preset() {
    let one = resolved("kind = 'broker-slow'\nlatency = '7ms'\nlength = '3s'\nevery = 5\nmost = 2");
    assert_eq!(one.effect, RequestEffect::BrokerSlow { latency_us: 7_000 });
    assert_eq!((one.length_us, one.trigger, one.most), (3_000_000, RequestTrigger::Every(5), 2));
    let one = resolved(
        "kind = 'lost-ack'\nname = 'gone'\nprobability = 0.5\nrequests = ['Produce']\n\
         where = { topics = ['a'], partitions = [0], clients = ['c'] }",
    );
    assert_eq!((one.name.as_str(), one.index, one.length_us), ("gone", 0, 0));
    assert_eq!((one.requests, one.topics), (vec!["Produce".to_owned()], vec!["a".to_owned()]));
    assert_eq!((one.partitions, one.clients), (vec![0], vec!["c".to_owned()]));
    assert_eq!(one.trigger, RequestTrigger::Probability { chance: 0.5, seed: Seed(7) });
    let one = resolved("kind = 'slow-sink'\nlatency = '0s'\nrate = '2 kB/s'");
    assert_eq!(one.effect, RequestEffect::SlowSink { latency_us: 0, bytes_per_second: Some(2_000) });
    let one = resolved("kind = 'throttle'\ndelay = '40ms'\nnth = 3");
    assert_eq!((one.effect, one.trigger), (RequestEffect::Throttle { time_us: 40_000 }, RequestTrigger::Nth(3)));
    let one = resolved("kind = 'partial-loss'\nshare = 0.25");
    assert_eq!(one.trigger, RequestTrigger::Probability { chance: 0.25, seed: Seed(7) });
    let one = resolved("kind = 'restart'\nnth = 4\ngrace = '2s'\ninstance = 1\nlength = '3s'");
    assert_eq!(one.effect, RequestEffect::Restart { victim: Victim::Instance(1), grace_us: 2_000_000 });
    assert_eq!((one.trigger, one.length_us), (RequestTrigger::Nth(4), 3_000_000));
    assert_eq!(resolved("kind = 'crash'\nevery = 2").effect, RequestEffect::Crash { victim: Victim::Drawn(Seed(7)) });
    // A length belongs to whatever a moment begins; a request is alone, unless the kind is nothing without one.
    assert_eq!(resolved("kind = 'disconnect'\nnth = 1").length_us, 0);
    assert_eq!(resolved("kind = 'disconnect'\ntimes = 1").length_us, 5_000_000);
    assert_eq!(resolved("kind = 'broker-down'\nnth = 1").length_us, 5_000_000);
    let one = resolved("kind = 'rebalance'\ntimes = 2\nlength = '2s'\nwhere = { groups = ['g'] }");
    assert_eq!((one.groups, one.length_us), (vec!["g".to_owned()], 2_000_000));
}

#[test]
fn a_clock_is_wrong_from_the_start_or_from_its_moments_on() {
    let by = |text: &str| match resolved(&format!("kind = 'clock'\n{text}")) {
        RequestFault { effect: RequestEffect::Clock { change }, trigger, length_us, .. } => {
            (change, trigger, length_us)
        }
        other => panic!("{other:?}"),
    };
    let start = RequestTrigger::Moments(vec![0]);
    assert_eq!(by("shift = '-1h'"), (ClockChange::Shift(-3_600_000_000), start.clone(), 0));
    assert_eq!(by("drift = '-1%'"), (ClockChange::Drift(-0.01), start, 0));
    let moments = RequestTrigger::Moments(vec![90_000_000]);
    assert_eq!(by("step = '5m'\nat = ['90s']\nlength = '3s'"), (ClockChange::Step(300_000_000), moments, 3_000_000));
    let (harsh, trigger, _) = by("preset = 'harsh'");
    assert_eq!(harsh, ClockChange::Step(-3_600_000_000));
    assert!(matches!(trigger, RequestTrigger::Moments(moments) if moments.len() == 1));
    for (preset, us) in [("calm", 1_000_000), ("normal", 300_000_000)] {
        let (change, ..) = by(&format!("preset = '{preset}'"));
        assert!([ClockChange::Step(us), ClockChange::Step(-us)].contains(&change), "{change:?}");
    }
    // No delivery is another, nor is anything handed over once more.
    let (source, text) = (Synthetic::even(100, 1_000), fault("kind = 'clock'"));
    assert_eq!(deliveries(&planned(&source, &text)), delivered(&source, ""));
    assert!(!settings(&text).redelivers() && !planned(&source, &text).redelivers());
    let error = setting_error(&source, &format!("{UNPACED}{text}"));
    assert_eq!(error.key, "fault[0].kind");
    assert!(planned(&source, &format!("{UNPACED}{}", fault("kind = 'clock'\nshift = '1s'"))).request_faults().is_ok());
}

#[test]
fn a_log_says_by_how_much_a_clock_was_wrong() {
    let source = Arc::new(Synthetic::even(1_000, 1_000));
    let replayed = |log: &str| {
        let mut settings = settings(&fault("kind = 'clock'\nstep = '5m'\nname = 'c'"));
        settings.replay_log = Some(FaultLog::read(log.as_bytes()).map_err(|error| error.to_string())?);
        let plan = plan_over(Arc::clone(&source) as Arc<_>, &settings, Seed(7), spill()).unwrap();
        Ok::<_, String>(plan.request_faults().unwrap().remove(0))
    };
    let line = |at: i64, by: i64| format!("{{\"fault\":\"c\",\"kind\":\"clock\",\"moment_us\":{at},\"by_us\":{by}}}\n");
    let one = replayed(&line(7, -9)).unwrap();
    assert_eq!(one.effect, RequestEffect::Clock { change: ClockChange::Step(-9) });
    assert_eq!(one.trigger, RequestTrigger::Moments(vec![7]));
    assert!(replayed(&(line(7, -9) + &line(8, -8))).unwrap_err().contains("another amount"));
    assert!(
        replayed("{\"fault\":\"c\",\"kind\":\"clock\",\"topic\":\"a\",\"partition\":0,\"offset\":1,\"by_us\":1}")
            .is_err()
    );
    // Written as it is read.
    let plan = planned(&source, &fault("kind = 'clock'\nstep = '5m'\nat = ['1s']\nname = 'c'"));
    let begun = BegunInstance { fault: "c".to_owned(), request: None, partition: None, at_us: 1_000_100 };
    let mut log = Vec::new();
    request_log(&plan, std::iter::once(begun), &mut log).unwrap();
    assert_eq!(String::from_utf8(log).unwrap(), line(1_000_000, 300_000_000));
}

#[test]
fn what_no_request_can_have_is_refused_by_its_key() {
    for (text, key, word) in [
        ("kind = 'lost-ak'", "kind", "`lost-ack`"),
        ("kind = 'lost-ack'\nshare = 0.1", "share", "takes no `share`"),
        ("kind = 'lost-ack'\nafter = '1s'", "after", "takes no `after`"),
        ("kind = 'delay'\nlatency = '1s'", "latency", "takes no `latency`"),
        ("kind = 'delay'\nrequests = ['Produce']", "requests", "takes no `requests`"),
        ("kind = 'lost-ack'\nnth = 1\nevery = 2", "every", "`nth` already says"),
        ("kind = 'lost-ack'\nprobability = 5.0", "probability", "0.05"),
        ("kind = 'lost-ack'\nnth = 0", "nth", "out of range"),
        ("kind = 'lost-ack'\ntimes = 2_000_000", "times", "too many"),
        ("kind = 'lost-ack'\nat = []", "at", "no moment"),
        ("kind = 'rebalance'\nperiod = '5 events'", "period", "replay time"),
        ("kind = 'rebalance'\nperiod = '1ms'", "period", "10 ms or more"),
        ("kind = 'lost-ack'\nmost = 0", "most", "tests nothing"),
        ("kind = 'lost-ack'\nname = ''", "name", "needs a name"),
        ("kind = 'lost-ack'\nrequests = []", "requests", "no request is touched"),
        ("kind = 'lost-ack'\nwhere = { keys = ['a'] }", "where.keys", "no `keys`"),
        ("kind = 'lost-ack'\nwhere = { value = '@.a == 1' }", "where.value", "no `value`"),
        ("kind = 'lost-ack'\nwhere = { from = '2013-01-05T00:00:00Z' }", "where.from", "`length`"),
        ("kind = 'lost-ack'\nwhere = { to = '2013-01-05T00:00:00Z' }", "where.to", "`length`"),
        ("kind = 'lost-ack'\nwhere = { groups = ['g'] }", "where.groups", "only a `rebalance`"),
        ("kind = 'lost-ack'\nwhere = { clients = [] }", "where.clients", "empty"),
        ("kind = 'lost-ack'\nwhere = { partitions = [-1] }", "where.partitions", "partition -1"),
        ("kind = 'delay'\nwhere = { clients = ['c'] }", "where.clients", "only requests do"),
        ("kind = 'delay'\nwhere = { groups = ['g'] }", "where.groups", "only requests do"),
        ("kind = 'broker-down'\nwhere = { topics = ['a'] }", "where.topics", "begun by no request"),
        ("kind = 'broker-down'\nat = ['5s']\nrequests = ['Fetch']", "requests", "begun by no request"),
        ("kind = 'rebalance'\nwhere = { clients = ['a'] }", "where.clients", "begun by no request"),
        ("kind = 'broker-down'\nlength = '0s'", "length", "is none"),
        ("kind = 'rebalance'\nnth = 1\nlength = '0s'", "length", "is none"),
        ("kind = 'throttle'\ndelay = '1s..2s'", "delay", "one length"),
        ("kind = 'throttle'\ndelay = '5 events'", "delay", "one length"),
        ("kind = 'broker-slow'\nlatency = '0s'", "latency", "late by nothing"),
        ("kind = 'slow-sink'\nlatency = '0s'", "latency", "late by nothing"),
        ("kind = 'slow-sink'\nrate = '50%'", "rate", "bytes a second"),
        ("kind = 'slow-reader'\nrate = '100%'", "rate", "not slow"),
        ("kind = 'batch'\nsizes = []", "sizes", "limit nothing"),
        ("kind = 'batch'\nsizes = [0, 0]", "sizes", "limit nothing"),
    ] {
        let error = setting_error(&Synthetic::even(10, 1_000), &fault(text));
        assert_eq!(error.key, format!("fault[0].{key}"), "{text}");
        assert!(format!("{error} {}", error.instead).contains(word), "{text}: {error}");
    }
}

#[test]
fn moments_and_shares_need_a_pace() {
    for (text, key) in [
        ("kind = 'rebalance'", "kind"),
        ("kind = 'lost-ack'\nat = ['5s']", "at"),
        ("kind = 'loading'\ntimes = 2", "times"),
        ("kind = 'loading'\nperiod = '2s'", "period"),
        ("kind = 'slow-reader'", "kind"),
        ("kind = 'slow-reader'\nrate = '20%'", "rate"),
    ] {
        let text = format!("{UNPACED}{}", fault(text));
        assert_eq!(setting_error(&Synthetic::even(10, 1_000), &text).key, format!("fault[0].{key}"), "{text}");
        assert_eq!(settings(&text).check().unwrap_err().key, format!("fault[0].{key}"));
    }
    let text = format!("{UNPACED}{}{}", fault("kind = 'lost-ack'"), fault("kind = 'slow-reader'\nrate = '9 kB/s'"));
    assert_eq!(planned(&Synthetic::even(10, 1_000), &text).request_faults().unwrap().len(), 2);
}

#[test]
fn two_faults_of_one_name_draw_the_same_and_are_refused() {
    let both = format!("{}{}", fault("kind = 'lost-ack'\nname = 'x'"), fault("kind = 'delay'\nname = 'x'"));
    assert_eq!(setting_error(&Synthetic::even(10, 1_000), &both).key, "fault[1].name");
}

#[test]
fn faults_at_requests_move_no_delivery_and_take_no_bit() {
    let source = Synthetic::even(500, 1_000);
    let (dup, lost) = (fault("kind = 'duplicate'\nprobability = 0.1"), fault("kind = 'lost-ack'"));
    let alone = delivered(&source, &dup);
    let plan = planned(&source, &format!("{lost}{dup}{}", fault("kind = 'rebalance'")));
    assert_eq!(deliveries(&plan), alone);
    assert_eq!(plan.faults().iter().map(|fault| fault.kind.as_str()).collect::<Vec<_>>(), ["duplicate"]);
    let summary = plan.summary().unwrap();
    let kinds: Vec<&str> = summary.faults.iter().map(|fault| fault.kind.as_str()).collect();
    assert_eq!(kinds, ["lost-ack", "duplicate", "rebalance"]);
    let [lost, _, rebalance] = &summary.faults[..] else { panic!() };
    let at = lost.at_requests.as_ref().unwrap();
    assert!(!at.by_time && at.begins.contains("0.1%") && !lost.touches_nothing(), "{at:?}");
    let at = rebalance.at_requests.as_ref().unwrap();
    assert!(at.by_time && at.begins.contains("at 5 moments") && at.begins.contains("for 1s"), "{at:?}");
    assert_eq!((lost.planned, rebalance.planned), (0, 5));
}

#[test]
fn the_drives_without_redelivery_do_without_what_makes_clients_do_things_twice() {
    let all = ["lost-ack", "rebalance", "broker-slow"].map(|kind| fault(&format!("kind = '{kind}'"))).concat();
    let plan = planned(&Synthetic::even(100, 1_000), &all);
    assert!(plan.redelivers() && settings(&all).redelivers());
    let once = plan.once();
    assert!(!once.redelivers());
    let kinds: Vec<&str> = once.request_faults().unwrap().iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, ["broker-slow"]);
    assert_eq!(once.request_faults().unwrap()[0], plan.request_faults().unwrap()[2]);
    assert!(!settings(&fault("kind = 'broker-slow'")).redelivers());
}

#[test]
fn moments_are_those_of_the_schedule() {
    // A silence of 100 s is cut to 5 s, and replay runs ten times as fast.
    let events = [0, 1_000, 2_000, 102_000, 103_000].iter().zip(0..).map(|(at, offset)| made(offset, 1_000 + at));
    let source = Synthetic::of([("a", 0, events.collect())]);
    let moments = |text: &str| {
        let text = format!("[pace]\nmode = 'accelerated'\nspeed = 10.0\ngap-max = '5s'\n{}", fault(text));
        planned(&source, &text).request_faults().unwrap()[0].moments_us().unwrap().to_vec()
    };
    let at = |list: &str| moments(&format!("kind = 'loading'\nat = {list}"));
    assert_eq!(at("['1s']"), [100_000]);
    // In the silence: with the first event behind it.
    assert_eq!(at("['50s', '0s']"), [0, 5_200_000]);
    // Behind the last event, and ahead of the first, is nothing.
    assert_eq!(at("['200s']"), [0_i64; 0]);
    assert_eq!(at("['1970-01-01T00:00:00Z']"), [0_i64; 0]);
    assert_eq!(at("['1970-01-01T00:00:02Z']"), [100_000]);
    let drawn = moments("kind = 'loading'\ntimes = 4");
    assert!(drawn.len() == 4 && drawn.is_sorted() && drawn[3] < 5_300_000 * 9 / 10, "{drawn:?}");
    assert_eq!(drawn, moments("kind = 'loading'\ntimes = 4"));
    assert_ne!(drawn, moments("kind = 'loading'\nname = 'other'\ntimes = 4"));
    assert_eq!(moments("kind = 'loading'\nperiod = '2s'"), [2_000_000, 4_000_000]);
    let plan = planned(&source, &fault("kind = 'loading'\nat = ['200s']"));
    assert!(plan.summary().unwrap().faults[0].touches_nothing());
}

#[test]
fn a_slow_reader_learns_how_fast_its_input_comes() {
    let plan = planned(&Synthetic::even(10_000, 1_000), &fault("kind = 'slow-reader'\nrate = '20%'"));
    let RequestEffect::SlowReader { rate } = &plan.request_faults().unwrap()[0].effect else { panic!() };
    let ReadRate::OfInput { share, sample, deliveries, length_us } = rate else { panic!("{rate:?}") };
    assert!((share - 0.2).abs() < 1e-9);
    assert_eq!((*deliveries, *length_us), (10_000, 9_999_000_000));
    assert!((1_024..2_048).contains(&sample.len()), "{}", sample.len());
    let steps: BTreeSet<u32> = sample.windows(2).map(|pair| pair[1].row - pair[0].row).collect();
    assert_eq!(steps, [8].into());
    assert!(sample[sample.len() - 1].row >= 9_992);
    // Nobody asks, nothing is kept.
    let mut asking = Asking::default();
    asking.delivery(Place::default(), 5);
    assert_eq!(
        format!("{:?}", Asking::default()).contains("sample: None"),
        format!("{asking:?}").contains("sample: None")
    );
}

#[test]
fn a_log_takes_the_place_of_what_begins_instances() {
    let source = Arc::new(Synthetic::even(1_000, 1_000));
    let replayed = |text: &str, log: &str| {
        let mut settings = settings(text);
        settings.replay_log = Some(FaultLog::read(log.as_bytes()).map_err(|error| error.to_string())?);
        let plan = plan_over(Arc::clone(&source) as Arc<_>, &settings, Seed(7), spill());
        let plan =
            plan.map_err(|error| std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string))?;
        let faults = plan.request_faults().unwrap();
        Ok::<_, String>((faults[0].trigger.clone(), plan.summary().unwrap().faults[0].clone()))
    };
    let lost = fault("kind = 'lost-ack'\nname = 'l'\nprobability = 0.5");
    let line = |more: &str| format!("{{\"fault\":\"l\",\"kind\":\"lost-ack\",{more}}}\n");
    let (trigger, summary) = replayed(&lost, &(line("\"request\":9") + &line("\"request\":2"))).unwrap();
    assert_eq!(trigger, RequestTrigger::These([(None, [2, 9].into())].into()));
    assert_eq!(summary.at_requests.unwrap().begins, "with 2 requests that a fault log names");
    // Nothing of it in the log is no instance of it.
    assert_eq!(replayed(&lost, "").unwrap().0, RequestTrigger::These([].into()));
    let (trigger, summary) = replayed(&lost, &line("\"moment_us\":5001400")).unwrap();
    assert_eq!((trigger, summary.planned), (RequestTrigger::Moments(vec![5_001_400]), 1));
    assert_eq!(summary.at_requests.unwrap().begins, "at 5001ms of the replay");
    // What always acts has no instances.
    let always = fault("kind = 'slow-sink'\nname = 'l'");
    assert_eq!(replayed(&always, "").unwrap().0, RequestTrigger::Always);
    let partitions = fault("kind = 'not-leader'\nname = 'l'\nevery = 3");
    let log = "{\"fault\":\"l\",\"kind\":\"not-leader\",\"topic\":\"a\",\"partition\":1,\"request\":3}";
    let expected = RequestTrigger::These([(Some(("a".to_owned(), 1)), [3].into())].into());
    assert_eq!(replayed(&partitions, log).unwrap().0, expected);
    for (text, log, problem) in [
        (&lost, log.to_owned(), "the log holds the not-leader `l`"),
        (&lost, line("\"request\":0"), "a `request` from 1 on"),
        (&lost, line("\"moment_us\":-1"), "a `moment_us` from 0 on"),
        (&lost, line("\"partition\":0"), "stand together"),
        (&lost, line("\"offset\":0"), "one of a `topic`"),
        (&lost, line("\"request\":3,\"replay_us\":5"), "has an amount"),
        (&lost, line("\"request\":3") + &line("\"moment_us\":3"), "line 2 is no instance of a fault: requests begin"),
        (&format!("{lost}{UNPACED}"), line("\"moment_us\":3"), "`unpaced` waits for none"),
    ] {
        let error = replayed(text, &log).unwrap_err();
        assert!(error.contains(problem), "{log}: {error}");
    }
}

#[test]
fn what_a_drive_suffered_comes_back_as_a_log() {
    let text = fault("kind = 'broker-down'\nname = 'down'\ntimes = 3")
        + &fault("kind = 'lost-ack'\nname = 'lost'\nevery = 2")
        + &fault("kind = 'partial-loss'\nname = 'some'\nevery = 2")
        + &fault("kind = 'slow-sink'\nname = 'slow'");
    let plan = planned(&Synthetic::even(1_000, 1_000), &text);
    let moments = plan.request_faults().unwrap()[0].moments_us().unwrap().to_vec();
    let begun = |fault: &str, request, at_us| BegunInstance {
        fault: fault.to_owned(),
        request,
        partition: Some(("a".to_owned(), 2)),
        at_us,
    };
    let all = [
        begun("down", None, moments[1] + 20),
        begun("down", None, moments[1] + 900_000),
        begun("lost", Some(4), 7),
        begun("lost", None, 8),
        begun("some", Some(6), 9),
        begun("slow", Some(1), 10),
        begun("other", Some(1), 11),
    ];
    let mut log = Vec::new();
    request_log(&plan, all.into_iter(), &mut log).unwrap();
    let expected = format!(
        "{{\"fault\":\"down\",\"kind\":\"broker-down\",\"moment_us\":{}}}\n\
         {{\"fault\":\"lost\",\"kind\":\"lost-ack\",\"request\":4}}\n\
         {{\"fault\":\"some\",\"kind\":\"partial-loss\",\"topic\":\"a\",\"partition\":2,\"request\":6}}\n",
        moments[1]
    );
    assert_eq!(String::from_utf8(log).unwrap(), expected);
    assert!(FaultLog::read(expected.as_bytes()).is_ok());
}
