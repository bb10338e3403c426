//! Faults at requests as parts of scenarios: each fires in every drive, a build that bears it agrees, one that does not differs.
//!
//! The builds are this very program, as in `kafka.rs`: the first test is one where it finds a broker in its environment.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};
use rehearsal::clock::Stop;
use rehearsal::compare::{Kind, Verdict};
use rehearsal::outcome::{Ending, Outcome, Touch};
use rehearsal::recording::{Event, EventBatchBuilder, RecordingWriter, Source, TimestampType, TopicSource};
use rehearsal::report::{FaultFacts, Report};
use rehearsal::scenario::{Checked, Destination, Scenario, Watcher, check, compare_outcomes, run};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(30);

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn is_set(flag: &str) -> bool {
    env(&format!("REHEARSAL_FLAG_{flag}")).as_deref() == Some("true")
}

/// What the builds of the tests below are: writes each order once more, as a payment. Without `FORGETS` it knows what it paid, without
/// `UNNUMBERED` the broker knows a batch that comes twice, without `GIVES_UP` it tries again.
#[test]
fn a_build_of_these_tests() {
    let Some(brokers) = env("KAFKA_BOOTSTRAP_SERVERS").filter(|_| is_set("PAYS")) else { return };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "50");
    let mut producing = config.clone();
    producing.set("client.id", "payer").set("linger.ms", "0").set("retry.backoff.ms", "20");
    // A request for each payment, however busy the machine.
    producing.set("batch.num.messages", "1");
    let numbered = !is_set("UNNUMBERED") && !is_set("GIVES_UP");
    producing.set("enable.idempotence", numbered.to_string());
    if is_set("GIVES_UP") {
        producing.set("message.send.max.retries", "0");
    }
    let producer: BaseProducer = producing.create().unwrap();
    config.set("client.id", "reader").set("group.id", env("REHEARSAL_GROUP").unwrap());
    config.set("enable.auto.commit", "false").set("heartbeat.interval.ms", "50").set("session.timeout.ms", "6000");
    config.set("fetch.wait.max.ms", "50").set("fetch.error.backoff.ms", "20").set("retry.backoff.ms", "20");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["orders"]).unwrap();
    let (mut paid, mut quiet) = (HashSet::new(), true);
    loop {
        let Some(Ok(event)) = consumer.poll(Duration::from_millis(5)) else {
            if !quiet {
                producer.flush(WAIT).unwrap();
                // Where the answer is lost, or the coordinator loads, it is asked once more.
                quiet = consumer.commit_consumer_state(CommitMode::Sync).is_ok();
            }
            continue;
        };
        quiet = false;
        let value = event.payload().unwrap().to_vec();
        if paid.insert(value.clone()) || is_set("FORGETS") {
            let time_ms = event.timestamp().to_millis().unwrap();
            let record = || BaseRecord::to("payments").key(event.key().unwrap()).payload(&value).timestamp(time_ms);
            while producer.send(record()).is_err() {
                producer.poll(Duration::from_millis(1));
            }
        }
        producer.poll(Duration::ZERO);
    }
}

struct Silent;

impl Watcher for Silent {
    fn note(&self, _: &str) {}
    fn started(&self, _: &str, _: u64) {}
    fn sent(&self, _: &str, _: u64) {}
    fn ended(&self, _: &str, _: &str) {}
}

/// Orders of the recording, 10 ms apart.
const ORDERS: i64 = 150;

/// A folder with a recording of orders in two partitions.
fn desk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let topic = TopicSource { name: "orders".into(), partitions: 2, ..TopicSource::default() };
    let source = Source { topics: vec![topic], ..Source::default() };
    let mut writer = RecordingWriter::create(folder.path().join("orders"), source).unwrap();
    let mut batch = EventBatchBuilder::new();
    for number in 0..ORDERS {
        batch.push_event(&Event {
            topic: "orders".into(),
            partition: (number % 2) as i32,
            offset: number / 2,
            timestamp_ms: Some(1_700_000_000_000 + number * 10),
            timestamp_type: TimestampType::Create,
            key: Some(format!("order-{number}").into_bytes()),
            value: Some(format!("{{\"order\":{number}}}").into_bytes()),
            ..Event::default()
        });
    }
    writer.write(&batch.finish()).unwrap();
    writer.seal().unwrap();
    folder
}

/// The scenario of two of these builds, each with flags of its own; `more` begins within `[drive]`.
fn scenario(desk: &Path, [old, new]: [&str; 2], more: &str) -> Result<Checked, String> {
    let command = "['{rehearsal}', '--exact', 'request_faults::a_build_of_these_tests', '--nocapture']";
    let flags = |flags: &str| {
        flags.split_whitespace().fold("pays = true".to_owned(), |all, flag| format!("{all}, {flag} = true"))
    };
    let text = format!(
        "recording = 'orders'\nseed = 3\n[old]\ncommand = {command}\nflags = {{ {} }}\n[new]\ncommand = {command}\n\
         flags = {{ {} }}\n[compare]\nidentity = ['$.order']\n[drive]\ntransport = 'kafka'\noutputs = ['payments']\n\
         settle = '300ms'\n{more}",
        flags(old),
        flags(new)
    );
    fs::write(desk.join("scenario.toml"), text).unwrap();
    let scenario = Scenario::read(desk.join("scenario.toml"), &[]).map_err(|error| error.to_string())?;
    check(scenario, None).map_err(|error| error.to_string())
}

/// A run that has been made, and where.
struct Made {
    report: Report,
    desk: TempDir,
}

fn rehearse(builds: [&str; 2], more: &str) -> Made {
    let desk = desk();
    let checked = scenario(desk.path(), builds, more).unwrap_or_else(|error| panic!("{error}"));
    let report =
        run(&checked, &Destination::Folder { path: desk.path().join("run"), force: false }, &Silent, &Stop::new());
    Made { report: report.unwrap().report, desk }
}

impl Made {
    fn fault(&self) -> &FaultFacts {
        let [fault] = &self.report.faults[..] else { panic!("{:?}", self.report.faults) };
        fault
    }

    fn touches(&self, drive: &str) -> Vec<Touch> {
        let outcome = Outcome::open(self.desk.path().join("run/outcomes").join(drive)).unwrap();
        outcome.touches().unwrap().unwrap().map(Result::unwrap).collect()
    }

    /// Differences by kind, but for what no order is asked of.
    fn differences(&self) -> BTreeMap<Kind, u64> {
        let mut all = self.report.differences.clone();
        all.remove(&Kind::BenignReorder);
        all
    }

    /// Checks that the fault fired in each of these drives, and in no other.
    fn fired_in(&self, drives: &[&str]) {
        let fault = self.fault();
        let requests = fault.requests.as_ref().unwrap();
        assert_eq!(requests.drives.keys().map(String::as_str).collect::<Vec<_>>(), drives);
        for (drive, fired) in &requests.drives {
            assert!(fired.instances > 0 && fired.touched >= fired.instances, "{drive}: {fault:#?}");
            let touches = self.touches(drive);
            assert_eq!(touches.len() as u64, fired.touched, "{drive}");
            assert!(touches.iter().all(|touch| touch.fault == fault.name && touch.kind == fault.kind), "{touches:?}");
            // Nothing acts in the warm-up, or once the plan has ended.
            let length_us = self.report.plan.length_us;
            assert!(
                touches.iter().all(|touch| (0..length_us + 2_000_000).contains(&touch.at_us)),
                "{drive}: {touches:?}"
            );
        }
        assert_eq!(fault.fired, requests.drives["new"].instances);
    }
}

/// Runs a build that bears everything against itself: the fault fires in both, and nothing comes of it.
fn is_benign(fault: &str) -> Made {
    let relations = "repeat-old = 0\ntimeout = '1m'\n[relations]\nredelivery = false\n";
    let made = rehearse(["", ""], &format!("{relations}[[fault]]\n{fault}\n"));
    let report = &made.report;
    let endings: Vec<_> = report.drives.iter().map(|drive| (&drive.drive, drive.ending, &drive.reason)).collect();
    assert!(endings.iter().all(|(_, ending, _)| *ending == Ending::Finished), "{fault}: {endings:?}");
    assert_eq!(made.differences(), BTreeMap::new(), "{fault}");
    assert_eq!(report.verdict, Verdict::Agree, "{fault}: {:?}", report.reasons);
    assert_eq!(report.outputs["new"], ORDERS as u64, "{fault}");
    made.fired_in(&["new", "old"]);
    made
}

#[test]
fn lost_answers_are_borne_by_a_build_that_numbers_what_it_writes() {
    let made = is_benign("kind = 'lost-ack'\nprobability = 0.2");
    let touches = made.touches("new");
    assert!(touches.iter().any(|touch| touch.api.as_deref() == Some("Produce")), "{touches:?}");
    for touch in touches.iter().filter(|touch| touch.api.as_deref() == Some("Produce")) {
        assert_eq!((touch.client.as_deref(), touch.partitions[0].topic.as_str()), (Some("payer"), "payments"));
        assert!(touch.address.as_ref().is_some_and(|address| address.starts_with("127.0.0.1:")), "{touch:?}");
    }
    assert_eq!(made.fault().legality, "B");
    assert!(!made.fault().requests.as_ref().unwrap().by_time);
    // Everybody sees the same report.
    for format in rehearsal::report::Format::ALL {
        let text = rehearsal::report::render(&made.report, format);
        assert!(text.contains("lost-ack-1") && text.contains("Produce") && text.contains("payer"), "{format}: {text}");
    }
}

#[test]
fn lost_connections_are_borne() {
    is_benign("kind = 'disconnect'\nevery = 40\nrequests = ['Produce', 'Fetch', 'OffsetCommit']");
}

#[test]
fn a_broker_that_is_gone_for_a_while_is_borne() {
    let made = is_benign("kind = 'broker-down'\nat = ['400ms']\nlength = '500ms'");
    let [old, new] = ["old", "new"].map(|drive| made.touches(drive)[0].at_us);
    // The same instant of the replay in both, and nobody's request.
    assert!((400_000..900_000).contains(&old) && (400_000..900_000).contains(&new), "{old} {new}");
    assert_eq!(made.touches("new")[0].client, None);
}

#[test]
fn a_slow_broker_is_borne() {
    is_benign("kind = 'broker-slow'\nlatency = '30ms'\nat = ['300ms']\nlength = '500ms'");
}

#[test]
fn a_slow_reader_is_borne() {
    let made = is_benign("kind = 'slow-reader'\nrate = '70%'");
    assert!(made.touches("new").iter().all(|touch| touch.api.as_deref() == Some("Fetch")));
}

#[test]
fn a_slow_sink_is_borne() {
    let made = is_benign("kind = 'slow-sink'\nlatency = '20ms'\nrate = '20 kB/s'\nwhere = { topics = ['payments'] }");
    assert!(made.touches("new").iter().all(|touch| touch.api.as_deref() == Some("Produce")));
}

#[test]
fn requests_that_are_lost_in_part_are_borne() {
    is_benign("kind = 'partial-loss'\nshare = 0.2");
}

#[test]
fn a_leader_that_moves_is_borne() {
    is_benign("kind = 'not-leader'\ntimes = 3");
}

#[test]
fn a_coordinator_that_loads_is_borne() {
    let made = is_benign("kind = 'loading'\nevery = 5\nrequests = ['OffsetCommit', 'Heartbeat']");
    assert!(made.touches("old").iter().any(|touch| touch.api.as_deref() == Some("OffsetCommit")));
}

#[test]
fn a_quota_is_borne() {
    is_benign("kind = 'throttle'\ntimes = 3\ndelay = '50ms'");
}

#[test]
fn a_rebalance_is_borne_by_a_build_that_knows_what_it_paid() {
    let made = is_benign("kind = 'rebalance'\nat = ['300ms', '800ms']\nlength = '100ms'");
    assert!(made.touches("new").iter().all(|touch| touch.group.is_some() && touch.client.is_none()));
}

#[test]
fn polls_of_one_event_are_borne() {
    is_benign("kind = 'batch'\nsizes = [1, 3]");
}

/// A build that bears a fault as old, one that does not as new.
fn breaks(new: &str, fault: &str) -> Made {
    let made = shows(new, fault);
    assert_eq!(made.report.verdict, Verdict::Differ, "{:?} {:#?}", made.report.reasons, made.report.patterns);
    made
}

/// As [`breaks`], where requests that no two drives make alike decide what is touched: what does not come again where new is driven
/// once more may stay suspected, which is never green.
fn shows(new: &str, fault: &str) -> Made {
    let made = rehearse(["", new], &format!("[[fault]]\n{fault}\n"));
    let report = &made.report;
    assert_ne!(report.verdict, Verdict::Agree, "{:?} {:#?}", report.reasons, report.patterns);
    assert!(report.drives.iter().all(|drive| drive.ending == Ending::Finished), "{:?}", report.drives);
    assert_eq!(report.noise.as_ref().and_then(|noise| noise.get(&Kind::Repeated)), None);
    made
}

#[test]
fn a_producer_that_does_not_number_what_it_writes_repeats_where_answers_are_lost() {
    let made = breaks("unnumbered", "kind = 'lost-ack'\nprobability = 0.3\nrequests = ['Produce']");
    let (report, found) = (&made.report, made.differences());
    assert!(found[&Kind::Repeated] > 5 && found.len() <= 2, "{found:?}");
    // Each build was held against itself where no answer was lost.
    let idempotency = report.idempotency.as_ref().unwrap();
    assert_eq!((idempotency.old.repeated_effects, idempotency.new.redelivered), (0, 0));
    assert!(idempotency.new.repeated_effects > 5 && idempotency.new.provoked > 5, "{idempotency:?}");
    let relation = report.relations.iter().find(|relation| relation.name == "redelivery").unwrap();
    assert_eq!(relation.result, "broken by new");
    assert!(!report.warnings.iter().any(|warning| warning.contains("ends connections")), "{:?}", report.warnings);
    let drives: Vec<&str> = report.drives.iter().map(|drive| drive.drive.as_str()).collect();
    assert!(drives.contains(&"new-once"), "{drives:?}");
    let fired = if drives.contains(&"new-again") {
        &["new", "new-again", "old", "old-again"][..]
    } else {
        &["new", "old", "old-again"]
    };
    made.fired_in(fired);
    assert_eq!(report.outputs["new_once"], ORDERS as u64);
    // Compared again, the outcomes say as much.
    let outcome = |drive: &str| made.desk.path().join("run/outcomes").join(drive);
    let rules = Scenario::read(made.desk.path().join("scenario.toml"), &[]).unwrap();
    let again =
        compare_outcomes(&outcome("old"), &[outcome("old-again")], &outcome("new"), &rules, &Stop::new()).unwrap();
    assert_eq!(again.idempotency.unwrap().new.provoked, idempotency.new.provoked);
}

#[test]
fn a_run_is_repeated_with_some_of_its_instances() {
    let faults = "[[fault]]\nkind = 'lost-ack'\nname = 'lost'\nprobability = 0.3\nrequests = ['Produce']\n\
                  [[fault]]\nkind = 'broker-slow'\nname = 'slow'\ntimes = 2\nlength = '100ms'\nlatency = '20ms'\n";
    let made = rehearse(["", ""], faults);
    let path = made.desk.path().join("run/faults.ndjson");
    let log = fs::read_to_string(&path).unwrap();
    let of = |fault: &str| log.lines().filter(|line| line.contains(fault)).collect::<Vec<_>>();
    let begun = |made: &Made, fault: &str| {
        let touches = made.touches("new").into_iter().filter(|touch| touch.fault == fault);
        touches.filter_map(|touch| touch.request).collect::<Vec<u64>>()
    };
    let (lost, slow) = (of("\"lost\""), of("\"slow\""));
    let requests = begun(&made, "lost");
    assert!(requests.len() > 3 && lost.len() == requests.len(), "{log}");
    assert!((1..=2).contains(&slow.len()) && slow.iter().all(|line| line.contains("\"moment_us\":")), "{log}");
    // Two of the lost answers alone: where no client tries again, none counts further.
    fs::write(&path, format!("{}\n{}\n", lost[0], lost[2])).unwrap();
    let desk = &made.desk;
    let scenario = Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap();
    let checked = check(scenario, Some(&path)).unwrap();
    fs::remove_dir_all(desk.path().join("run/outcomes")).unwrap();
    let again = Destination::Folder { path: desk.path().join("again"), force: false };
    let report = run(&checked, &again, &Silent, &Stop::new()).unwrap().report;
    let outcome = Outcome::open(desk.path().join("again/outcomes/new")).unwrap();
    let touches = outcome.touches().unwrap().unwrap().map(Result::unwrap);
    let suffered: Vec<(String, Option<u64>)> = touches.map(|touch| (touch.fault, touch.request)).collect();
    assert_eq!(suffered, [("lost".to_owned(), Some(requests[0])), ("lost".to_owned(), Some(requests[2]))]);
    assert!(report.reasons.iter().any(|reason| reason.contains("slow")), "{:?}", report.reasons);
    assert_eq!(
        fs::read_to_string(desk.path().join("again/faults.ndjson")).unwrap(),
        fs::read_to_string(&path).unwrap()
    );
}

#[test]
fn whether_redelivery_is_borne_cannot_be_told_where_nothing_came_twice() {
    let commits = "kind = 'lost-ack'\nnth = 1\nrequests = ['OffsetCommit']";
    let made = rehearse(
        ["", ""],
        &format!("[[fault]]\n{commits}\n[[fault]]\nkind = 'disconnect'\nnth = 3\nrequests = ['Produce']\n"),
    );
    let report = &made.report;
    assert!(report.faults.iter().all(|fault| fault.fired > 0), "{:?}", report.faults);
    let idempotency = report.idempotency.as_ref().unwrap();
    assert_eq!((idempotency.old.provoked, idempotency.new.provoked, idempotency.new.redelivered), (0, 0, 0));
    let relation = report.relations.iter().find(|relation| relation.name == "redelivery").unwrap();
    assert_eq!(relation.result, "not judged", "{}", relation.note);
    assert!(relation.note.starts_with("Cannot tell"), "{}", relation.note);
    let shown = rehearsal::report::render(report, rehearsal::report::Format::Markdown);
    assert!(shown.contains("Cannot tell: none was redelivered") && !shown.contains("No effect is repeated"), "{shown}");
    // What loses connections is in the drives without redelivery as well.
    let said = |warning: &&String| warning.contains("ends connections (`disconnect-1`)");
    assert_eq!(report.warnings.iter().filter(said).count(), 1, "{:?}", report.warnings);
}

#[test]
fn a_build_that_forgets_what_it_paid_repeats_where_its_group_is_visited() {
    let made =
        shows("forgets", "kind = 'rebalance'\nevery = 1\nmost = 12\nlength = '50ms'\nrequests = ['OffsetCommit']");
    let idempotency = made.report.idempotency.as_ref().unwrap();
    assert!(idempotency.new.repeated_effects > 0 && idempotency.old.repeated_effects == 0, "{idempotency:?}");
    assert!(idempotency.new.provoked > 0, "{idempotency:?}");
    assert!(made.differences()[&Kind::Repeated] > 0);
}

#[test]
fn a_build_that_gives_up_loses_what_it_writes_where_connections_are_lost() {
    let made = breaks("gives-up", "kind = 'disconnect'\nprobability = 0.2\nrequests = ['Produce']");
    let found = made.differences();
    assert!(found[&Kind::Missing] > 5, "{found:?}");
    assert!(made.report.idempotency.is_none());
}

#[test]
fn a_build_that_gives_up_loses_what_it_writes_while_the_broker_is_gone() {
    let made = shows("gives-up", "kind = 'broker-down'\nevery = 4\nlength = '40ms'\nrequests = ['Produce']");
    assert!(made.differences()[&Kind::Missing] > 0);
}

#[test]
fn a_fault_that_fires_in_no_drive_is_no_verdict() {
    let made = rehearse(["", ""], "repeat-old = 0\n[[fault]]\nname = 'far'\nkind = 'disconnect'\nnth = 1_000_000\n");
    assert_eq!(made.report.verdict, Verdict::NoVerdict);
    let reason = &made.report.reasons[0];
    assert!(reason.contains("fault far (disconnect) never fired in new, old"), "{reason}");
    assert_eq!(made.fault().requests.as_ref().unwrap().drives["old"].instances, 0);
    assert!(made.touches("old").is_empty());
}

#[test]
fn a_fault_that_never_ends_ends_with_the_plan() {
    for fault in [
        // Nothing can be committed, written or read from the second event on.
        "kind = 'loading'\nprobability = 1.0\nrequests = ['OffsetCommit']",
        "kind = 'not-leader'\nprobability = 1.0",
        "kind = 'broker-down'\nat = ['700ms']\nlength = '1h'",
        "kind = 'rebalance'\nat = ['700ms']\nlength = '1h'",
    ] {
        is_benign(fault);
    }
}

#[test]
fn unpaced_faults_at_requests_act_while_builds_work() {
    let made = rehearse(
        ["", ""],
        "repeat-old = 0\n[pace]\nmode = 'unpaced'\n[[fault]]\nkind = 'lost-ack'\nnth = 1\nrequests = ['Produce']\n",
    );
    assert_eq!(made.report.verdict, Verdict::Agree, "{:?}", made.report.reasons);
    assert!(made.fault().requests.as_ref().unwrap().drives.values().all(|fired| fired.instances == 1));
}

#[test]
fn faults_at_requests_rest_while_a_partition_is_set_back() {
    // Nothing could be committed ahead of it otherwise.
    let made = rehearse(
        ["", ""],
        "repeat-old = 0\ndrain-timeout = '5s'\n[relations]\nredelivery = false\n[[fault]]\nkind = 'rewind'\nn = 10\ntimes = 2\n\
         [[fault]]\nkind = 'loading'\nprobability = 1.0\nrequests = ['OffsetCommit']\n",
    );
    let report = &made.report;
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
    let of = |name: &str| report.faults.iter().find(|fault| fault.kind == name).unwrap();
    assert_eq!((of("rewind").planned, of("rewind").fired), (2, 2));
    assert!(of("loading").fired > 0);
}

#[test]
fn nobody_is_blamed_for_standing_still_while_a_fault_acts() {
    let made = rehearse(
        ["", ""],
        "repeat-old = 0\ndrain-timeout = '1500ms'\n[pace]\nmode = 'accelerated'\nspeed = 0.3\n[[fault]]\nkind = 'broker-down'\n\
         at = ['300ms']\nlength = '2500ms'\n",
    );
    let report = &made.report;
    assert_eq!(report.verdict, Verdict::Agree, "{:?} {:?}", report.reasons, report.drives);
    made.fired_in(&["new", "old"]);
}

#[test]
fn what_no_build_of_the_scenario_can_meet_is_refused_with_its_place() {
    let desk = desk();
    let refused = |more: &str| scenario(desk.path(), ["", ""], more).map(drop).unwrap_err();
    for (fault, place, word) in [
        ("kind = 'lost-ack'\nrequests = ['Prodce']", "scenario.toml:17:13", "Write `Produce`"),
        ("kind = 'slow-sink'\nrequests = ['Fetch']", "scenario.toml:17:13", "It touches `Produce`"),
        ("kind = 'lost-ack'\nwhere = { topics = ['paymnts'] }", "scenario.toml:17:21", "Write `payments`"),
        ("kind = 'lost-ack'\nprobabilty = 0.1", "scenario.toml:17:1", "probability"),
        ("kind = 'lost-ack'\nwhere = { keys = ['a'] }", "scenario.toml:17", "no `keys`"),
    ] {
        let said = refused(&format!("[[fault]]\n{fault}\n"));
        assert!(said.contains(place) && said.contains(word), "{fault}: {said}");
    }
    assert!(
        scenario(
            desk.path(),
            ["", ""],
            "[[fault]]\nkind = 'slow-sink'\nwhere = { topics = ['app-store-changelog'] }\n"
        )
        .is_ok()
    );
    // Builds that speak lines make no requests.
    let text =
        "recording = 'orders'\n[old]\ncommand = ['cat']\n[new]\ncommand = ['cat']\n[[fault]]\nkind = 'lost-ack'\n";
    fs::write(desk.path().join("lines.toml"), text).unwrap();
    let scenario = Scenario::read(desk.path().join("lines.toml"), &[]).unwrap();
    let said = check(scenario, None).map(drop).unwrap_err().to_string();
    assert!(said.contains("lines.toml:7") && said.contains("requests of Kafka clients"), "{said}");
}
