//! What builds call by HTTP: kept, compared and told, whatever becomes of the build.

use std::fs;
use std::path::Path;

use rehearsal::clock::Stop;
use rehearsal::outcome::{Channel, Outcome, Output};
use rehearsal::plan::Phase;
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::{Destination, Scenario, check, run};

use super::run::{Silent, desk};

/// Words of bash that post `$2` to `$1` of the effect `pay` with the idempotency key `$3`, and read the answer's first line.
const CALL: &str = r#"call() {
  local to=${REHEARSAL_EFFECT_PAY#http://}
  exec 9<>"/dev/tcp/${to%:*}/${to##*:}"
  printf 'POST %s HTTP/1.1\r\nhost: pay\r\nauthorization: Bearer hush-hush-1\r\nidempotency-key: %s\r\ncontent-length: %s\r\n\r\n%s' \
    "$1" "$3" "${#2}" "$2" >&9
  read -r answer <&9; exec 9>&-
}
"#;

const PAY: &str = "
[[effect]]
name = 'pay'
headers = ['authorization']
rules = [{ method = 'POST', path = '/charges', status = 201 }]
[pace]
mode = 'unpaced'
";

/// Runs a scenario of two scripts in bash over some orders; `more` begins within `[drive]`.
fn rehearse(desk: &Path, old: &str, new: &str, more: &str) -> Report {
    for (name, script) in [("old.sh", old), ("new.sh", new)] {
        fs::write(desk.join(name), format!("{CALL}{script}")).unwrap();
    }
    let text = format!(
        "recording = 'orders'\n[old]\ncommand = ['bash', 'old.sh']\n[new]\ncommand = ['bash', 'new.sh']\n[drive]\nsettle = '50ms'\n{more}"
    );
    fs::write(desk.join("scenario.toml"), text).unwrap();
    let scenario = Scenario::read(desk.join("scenario.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    run(&checked, &Destination::Numbered { under: desk.join("runs") }, &Silent, &Stop::new()).unwrap().report
}

fn outputs(desk: &Path, drive: &str) -> Vec<Output> {
    let outcome = Outcome::open(only_run(desk).join("outcomes").join(drive)).unwrap();
    let batches = outcome.outputs().unwrap().map(Result::unwrap);
    batches.flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()).collect::<Vec<_>>()).collect()
}

/// The folder of the only run.
fn only_run(desk: &Path) -> std::path::PathBuf {
    let scenario = fs::read_dir(desk.join("runs")).unwrap().next().unwrap().unwrap().path();
    scenario.join("0001")
}

fn text(bytes: Option<&Vec<u8>>) -> String {
    String::from_utf8(bytes.unwrap().clone()).unwrap()
}

/// Calls for each order, and says what it did.
const EACH: &str = r#"while read -r line; do call /charges "{\"n\":$((n++))}" "k$n"; done"#;

#[test]
fn a_call_that_was_answered_is_kept_where_the_build_dies_right_behind_it() {
    let desk = desk(3);
    let dies = r#"read -r line; call /charges '{"n":0}' k1; [[ $answer == *201* ]] || exit 9; kill -9 $$"#;
    let report = rehearse(desk.path(), dies, dies, PAY);
    let kept = outputs(desk.path(), "new");
    assert_eq!(kept.len(), 1, "{:?} {:?}", report.reasons, report.drives);
    assert_eq!((kept[0].channel, &*kept[0].topic, kept[0].phase), (Channel::Http, "pay", Phase::Main));
    assert_eq!((text(kept[0].key.as_ref()), kept[0].partition), ("k1".to_owned(), 0));
    let value = r#"{"method":"POST","path":"/charges","idempotency_key":"k1","body":{"n":0},"status":201}"#;
    assert_eq!(text(kept[0].value.as_ref()), value);
    // Credentials are redacted wherever they are kept.
    assert_eq!(kept[0].headers.len(), 1);
    assert!(!format!("{:?}", kept[0].headers).contains("hush") && !render(&report, Format::Json).contains("hush"));
}

#[test]
fn a_build_that_closed_its_standard_output_goes_on_calling() {
    let desk = desk(5);
    let report = rehearse(desk.path(), EACH, &format!("exec 1>&-; {EACH}"), PAY);
    assert_eq!((report.outputs["old"], report.outputs["new"]), (5, 5), "{:?}", report.drives);
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    assert_eq!(report.effects[0].drives["new"].calls, 5);
}

#[test]
fn a_call_stands_ahead_of_what_the_build_wrote_behind_it() {
    let desk = desk(4);
    let both =
        r#"while read -r line; do call /charges "{}" "k$((++n))"; echo "{\"topic\":\"done\",\"value\":$n}"; done"#;
    rehearse(desk.path(), both, both, PAY);
    let kept = outputs(desk.path(), "new");
    // What was called ahead of a line stands ahead of it; lines that were read together stand together.
    let at = |channel| kept.iter().enumerate().filter(move |(_, output)| output.channel == channel).map(|(at, _)| at);
    let (calls, outputs): (Vec<_>, Vec<_>) = (at(Channel::Http).collect(), at(Channel::Output).collect());
    assert_eq!((calls.len(), outputs.len()), (4, 4));
    assert!(calls.iter().zip(&outputs).all(|(call, output)| call < output), "{calls:?} {outputs:?}");
    assert!(kept.is_sorted_by_key(|output| (output.arrived_us, output.sequence)));
}

#[test]
fn a_call_that_no_rule_answers_is_told_in_every_report() {
    let desk = desk(2);
    let other = r#"while read -r line; do call /refunds '{}' "k$((++n))"; [[ $answer == *501* ]] || exit 9; done"#;
    let report = rehearse(desk.path(), EACH, other, PAY);
    for format in [Format::Json, Format::Terminal, Format::Html, Format::Markdown] {
        // Lines are broken where they are too long.
        let shown = render(&report, format).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("2 times as no rule answers: POST /refunds (2)"), "{format}: {shown}");
    }
    assert_eq!(report.effects[0].drives["new"].unmatched, 2);
}

#[test]
fn what_a_policy_masks_is_masked_in_calls_too() {
    let desk = desk(2);
    fs::write(desk.path().join("policy.toml"), "[[rule]]\nvalue = ['$.body.card']\nmethod = 'redact'\n").unwrap();
    let card = r#"while read -r line; do call /charges '{"card":"4111-hush"}' "k$((++n))"; done"#;
    rehearse(desk.path(), card, card, &format!("{PAY}\n[mask]\npolicy = 'policy.toml'\n"));
    let kept = outputs(desk.path(), "new");
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|output| !text(output.value.as_ref()).contains("hush")), "{kept:?}");
    // What no rule answers is named by its method alone: nobody can tell what of its path is to be masked.
    let other = r#"while read -r line; do call "/cards/4111-hush-$((++n))" '{}' "k$n"; done"#;
    fs::remove_dir_all(desk.path().join("runs")).unwrap();
    let report = rehearse(desk.path(), other, other, &format!("{PAY}\n[mask]\npolicy = 'policy.toml'\n"));
    assert_eq!(report.effects[0].drives["new"].unmatched_calls, [("POST [redacted]".to_owned(), 2)].into());
    for format in [Format::Json, Format::Terminal, Format::Html, Format::Markdown, Format::Junit] {
        let shown = render(&report, format);
        assert!(!shown.contains("hush") && shown.contains("redacted"), "{format}: {shown}");
    }
    let ending = fs::read_to_string(only_run(desk.path()).join("outcomes/new/ending.json")).unwrap();
    assert!(!ending.contains("hush") && ending.contains("POST [redacted]"), "{ending}");
}

#[test]
fn calls_are_answered_as_recorded() {
    let desk = desk(2);
    let line = r#"{"request":{"method":"POST","path":"/charges","body":{"n":0}},"response":{"status":409,"body":{"error":"paid"},"latency_ms":1.5}}"#;
    fs::write(desk.path().join("calls.ndjson"), format!("{line}\n")).unwrap();
    let effect = PAY.replace("rules = [", "recorded = 'calls.ndjson'\nrules = [");
    rehearse(desk.path(), EACH, EACH, &effect);
    let values: Vec<_> = outputs(desk.path(), "new").iter().map(|output| text(output.value.as_ref())).collect();
    assert!(values[0].ends_with(r#""status":409}"#) && values[1].ends_with(r#""status":201}"#), "{values:?}");
}

#[test]
fn a_build_over_kafka_calls_as_well() {
    let desk = desk(40);
    // It calls before it reads anything: that is warm-up, and counts in nothing.
    let calls = r#"for i in 1 2 3; do call /charges "{\"n\":$i}" "k$i"; done; "#;
    let reads = format!("{calls} exec \"$1\" sample refunds-old");
    let more = format!("transport = 'kafka'\noutputs = ['refunds']\n{PAY}");
    for (name, script) in [("old.sh", &reads), ("new.sh", &reads)] {
        fs::write(desk.path().join(name), format!("{CALL}{script}")).unwrap();
    }
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights");
    let program = env!("CARGO_BIN_EXE_rehearsal");
    let text_of = format!(
        "recording = '{}'\n[select]\nfrom = '2013-01-28T00:00:00Z'\nto = '2013-01-28T03:00:00Z'\n\
         [old]\ncommand = ['bash', 'old.sh', '{program}']\n[new]\ncommand = ['bash', 'new.sh', '{program}']\n[drive]\nsettle = '50ms'\n{more}",
        recording.display()
    );
    fs::write(desk.path().join("scenario.toml"), text_of).unwrap();
    let scenario = Scenario::read(desk.path().join("scenario.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    let destination = Destination::Numbered { under: desk.path().join("runs") };
    let report = run(&checked, &destination, &Silent, &Stop::new()).unwrap().report;
    let kept = outputs(desk.path(), "new");
    let calls: Vec<_> = kept.iter().filter(|output| output.channel == Channel::Http).collect();
    assert_eq!((calls.len(), calls[0].phase), (3, Phase::WarmUp), "{:?}", report.drives);
    assert!(calls.iter().all(|call| call.arrived_us < 0));
    assert_eq!(report.effects[0].drives["old"].calls, 3);
}

#[test]
fn what_builds_register_is_told_with_its_compatibility() {
    let desk = desk(1);
    let register = |schema: &str| {
        let body = serde_json::json!({ "schema": schema }).to_string();
        format!(
            r"REHEARSAL_EFFECT_PAY=$REGISTRY; call /subjects/orders-value/versions '{body}' k; [[ $answer == *200* ]]; cat > /dev/null"
        )
    };
    let (one, other) = (r#"{"type":"record","name":"O","fields":[]}"#, "\"string\"");
    let new = format!("{}\n{}", register(one), register(other));
    let more = "[pace]\nmode = 'unpaced'\n[old.env]\nREGISTRY = '{registry}'\n[new.env]\nREGISTRY = '{registry}'\n";
    let report = rehearse(desk.path(), &register(one), &new, more);
    let registry = report.registry.as_ref().unwrap_or_else(|| panic!("{:#?}", report.drives));
    assert_eq!((registry.drives["old"].len(), registry.drives["new"].len()), (1, 2), "{registry:#?}");
    assert_eq!(registry.says.len(), 1);
    assert!(registry.says[0].starts_with("new is refused a schema of orders-value (Avro), neither"), "{registry:#?}");
    assert!(report.warnings.iter().any(|warning| warning.starts_with("new is refused a schema")));
}
