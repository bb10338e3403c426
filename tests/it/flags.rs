//! Flags of builds: as a file, by OFREP, changed on the way, and two states of one build compared.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use rehearsal::clock::Stop;
use rehearsal::compare::{Kind, Verdict};
use rehearsal::outcome::{FlagsReport, Outcome};
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::{Checked, Destination, Scenario, ScenarioError, check, run};

use super::run::{Silent, desk};

/// Words of bash that ask the stub of OFREP at `$1` for the flag `$2`, over and over on one connection, and leave its answer in `answer`.
const ASK: &str = r#"open() { local to=${1#http://}; exec 9<>"/dev/tcp/${to%:*}/${to##*:}"; }
ask() {
  printf 'POST /ofrep/v1/evaluate/flags/%s HTTP/1.1\r\nhost: flags\r\ncontent-length: 14\r\n\r\n{"context":{}}' "$1" >&9
  local line length=0
  while IFS= read -r line <&9 && [[ $line != $'\r' ]]; do
    [[ ${line,,} == content-length:* ]] && length=${line##*: } && length=${length%$'\r'}
  done
  IFS= read -r -N "$length" answer <&9
}
"#;

/// Asks for a flag at each order, and writes what it is.
const BY_OFREP: &str = r#"open "$REHEARSAL_OFREP"
while read -r line; do
  ask fast; is=${answer##*\"value\":}; is=${is%%[,\}]*}
  echo "{\"key\":\"$n\",\"value\":{\"n\":$((n++)),\"fast\":$is}}"
done"#;

/// Reads the file at each order.
const BY_FILE: &str = r#"while read -r line; do
  grep -q '"defaultVariant": "on"' "$FILE" && is=true || is=false
  echo "{\"key\":\"$n\",\"value\":{\"n\":$((n++)),\"fast\":$is}}"
done"#;

/// Half a second between two orders.
const PACE: &str = "[pace]\nmode = 'accelerated'\nspeed = 2.0\n";

const KILL: &str = "[[flag-change]]\nname = 'kill switch'\nat = '2s'\nflag = 'fast'\nto = false\n";

/// Reads a scenario of two scripts in bash; `more` begins within `[drive]`.
fn scenario(desk: &Path, old: (&str, &str), new: (&str, &str), more: &str) -> Result<Scenario, ScenarioError> {
    let of = |name: &str, (script, flags): (&str, &str)| {
        fs::write(desk.join(format!("{name}.sh")), format!("n=0\n{ASK}{script}")).unwrap();
        format!("[{name}]\ncommand = ['bash', '{name}.sh']\nenv = {{ FILE = '{{flags}}' }}\nflags = {flags}\n")
    };
    let (old, new) = (of("old", old), of("new", new));
    let text = format!("recording = 'orders'\n{old}{new}[drive]\nsettle = '50ms'\n{more}");
    fs::write(desk.join("flags.toml"), text).unwrap();
    Scenario::read(desk.join("flags.toml"), &[])
}

fn checked(desk: &Path, old: (&str, &str), new: (&str, &str), more: &str) -> Checked {
    let scenario = scenario(desk, old, new, more).unwrap_or_else(|error| panic!("{error}"));
    check(scenario, None).unwrap_or_else(|error| panic!("{error}"))
}

fn rehearse(checked: &Checked, desk: &Path, name: &str) -> Report {
    run(checked, &Destination::Folder { path: desk.join(name), force: false }, &Silent, &Stop::new()).unwrap().report
}

/// What each order was decided by, in order.
fn decided(desk: &Path, name: &str, drive: &str) -> Vec<bool> {
    let outcome = Outcome::open(desk.join(name).join("outcomes").join(drive)).unwrap();
    let batches: Vec<_> = outcome.outputs().unwrap().map(Result::unwrap).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()));
    let values = rows.map(|output| serde_json::from_slice::<serde_json::Value>(&output.value.unwrap()).unwrap());
    values.map(|value| value["fast"].as_bool().unwrap_or_else(|| panic!("{value}"))).collect()
}

fn flags<'a>(report: &'a Report, drive: &str) -> &'a FlagsReport {
    &report.flags.as_ref().unwrap().drives[drive]
}

#[test]
fn a_kill_switch_is_thrown_at_its_moment_for_who_asks_and_for_who_reads_the_file() {
    let desk = desk(4);
    let checked =
        checked(desk.path(), (BY_FILE, "{ fast = true }"), (BY_OFREP, "{ fast = true }"), &format!("{PACE}{KILL}"));
    let report = rehearse(&checked, desk.path(), "first");
    assert_eq!(report.verdict, Verdict::Agree, "{:?} {:?}", report.reasons, report.drives);
    for drive in ["old", "old-again", "new"] {
        assert_eq!(decided(desk.path(), "first", drive), [true, true, false, false], "{drive}");
        let flags = flags(&report, drive);
        assert_eq!((flags.changes.len(), &*flags.changes[0].change), (1, "kill switch"));
        assert!(flags.changes[0].at_us >= 1_000_000, "{:?}", flags.changes);
        let dir = desk.path().join("first/outcomes").join(drive).join("dir");
        assert!(!dir.join("flags").exists(), "its file outlived the drive");
    }
    let new = &flags(&report, "new").flags["fast"];
    assert_eq!((new[0].asked, new[1].asked, flags(&report, "new").requests), (2, 2, 4));
    assert_eq!(flags(&report, "old").requests, 0);
    let fault = &report.faults[0];
    assert_eq!((&*fault.name, &*fault.kind, fault.planned, fault.fired), ("kill switch", "flag-change", 1, 1));
    for format in [Format::Json, Format::Terminal, Format::Html, Format::Markdown] {
        let shown = render(&report, format).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("was thrown from true to false at"), "{format}: {shown}");
        assert!(shown.contains("behind 2 of 4 outputs"), "{format}: {shown}");
        assert!(shown.contains("becomes false at 1s of the replay"), "{format}: {shown}");
    }
    // Its log is an input: the same moment, or another, whatever the scenario says.
    let log = desk.path().join("first/faults.ndjson");
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text, "{\"fault\":\"kill switch\",\"kind\":\"flag-change\",\"moment_us\":1000000}\n");
    fs::write(&log, text.replace("1000000", "500000")).unwrap();
    let again = check(checked.scenario.clone(), Some(&log)).unwrap();
    rehearse(&again, desk.path(), "second");
    assert_eq!(decided(desk.path(), "second", "new"), [true, false, false, false]);
}

#[test]
fn a_switch_of_one_build_is_thrown_in_its_drives_alone() {
    let desk = desk(4);
    for (build, expected) in
        [("old", [[true, true, false, false], [true; 4]]), ("new", [[true; 4], [true, true, false, false]])]
    {
        let more = format!("{PACE}{KILL}build = '{build}'\n");
        let checked = checked(desk.path(), (BY_FILE, "{ fast = true }"), (BY_OFREP, "{ fast = true }"), &more);
        let report = rehearse(&checked, desk.path(), build);
        assert_eq!(decided(desk.path(), build, "old"), expected[0], "{build}");
        assert_eq!(decided(desk.path(), build, "new"), expected[1], "{build}");
        assert_eq!((report.differences[&Kind::Changed], report.faults[0].fired), (2, 1), "{:?}", report.reasons);
        assert!(report.faults[0].requests.as_ref().unwrap().drives.keys().all(|drive| drive.starts_with(build)));
    }
}

#[test]
fn two_states_of_one_build_are_compared_as_old_and_new() {
    let desk = desk(6);
    let unpaced = "[pace]\nmode = 'unpaced'\n";
    let checked =
        checked(desk.path(), (BY_OFREP, "{ fast = false }"), (BY_OFREP, "{ fast = true, slow = 1 }"), unpaced);
    let report = rehearse(&checked, desk.path(), "run");
    assert_eq!(report.verdict, Verdict::Differ, "{:?}", report.reasons);
    assert_eq!(report.differences[&Kind::Changed], 6);
    let says = &report.flags.as_ref().unwrap().says;
    assert_eq!(says[..2], ["fast is false in old and true in new", "slow is not set in old and 1 in new"]);
    assert!(says.contains(&"new evaluated fast 6 times as true".to_owned()), "{says:?}");
    assert!(report.warnings.iter().any(|said| said.starts_with("new asked for flags, but never for `slow`")));
    assert_eq!(report.builds["new"].flags["fast"], true);
}

#[test]
fn a_flag_that_is_not_set_is_not_found_and_told() {
    let desk = desk(3);
    let asks = r#"open "$REHEARSAL_OFREP"; while read -r line; do ask fsat; [[ $answer == *FLAG_NOT_FOUND* ]] && echo '{"value":1}'; done"#;
    let unpaced = "[pace]\nmode = 'unpaced'\n";
    let report = rehearse(&checked(desk.path(), (asks, "{ fast = true }"), (asks, "{}"), unpaced), desk.path(), "run");
    assert_eq!((flags(&report, "old").unset["fsat"], flags(&report, "new").unset["fsat"]), (3, 3));
    assert_eq!(report.outputs["new"], 3);
    assert!(
        report
            .warnings
            .iter()
            .any(|said| said.contains("new asked for flags that are not set") && said.contains("`fsat` (3)"))
    );
}

#[test]
fn a_switch_that_is_never_thrown_is_no_verdict() {
    let desk = desk(3);
    let never = KILL.replace("2s", "1h");
    let same = KILL.replace("to = false", "to = true").replace("2s", "1s");
    for (change, why) in [(never, "no moment of the replay"), (same, "the flag had that value already")] {
        let more = format!("{}{change}", PACE.replace("2.0", "20.0"));
        let checked = checked(desk.path(), (BY_FILE, "{ fast = true }"), (BY_FILE, "{ fast = true }"), &more);
        let report = rehearse(&checked, desk.path(), why);
        assert_eq!(report.verdict, Verdict::NoVerdict, "{:?}", report.reasons);
        assert!(report.reasons.iter().any(|reason| reason.contains(why)), "{:?}", report.reasons);
    }
}

#[test]
fn what_cannot_be_changed_is_refused_with_its_place() {
    let desk = desk(1);
    let refused = |flags: &str, more: &str| {
        let checked = scenario(desk.path(), (BY_FILE, flags), (BY_FILE, "{ fast = true }"), more);
        match checked.and_then(|scenario| check(scenario, None)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{flags} {more}"),
        }
    };
    for (flags, more, says) in [
        ("{}", KILL.to_owned(), "the build old has no flag `fast`"),
        ("{ fast = 'yes' }", KILL.to_owned(), "is text in `[old] flags`, and this is a boolean"),
        ("{ fast = true }", format!("[pace]\nmode = 'unpaced'\n{KILL}"), "`unpaced` waits for no moment"),
        ("{ fast = [1] }", String::new(), "a boolean, a number, text or a table"),
        ("{ fast = true }", KILL.replace("at = '2s'", "at = 'soon'"), "`soon` is no moment"),
        ("{ fast = true }", KILL.replace("flag =", "flga ="), "flga"),
    ] {
        let error = refused(flags, &more);
        assert!(error.contains(says) && error.contains("flags.toml:"), "{flags} {more}: {error}");
    }
}

#[test]
fn a_value_that_came_from_the_environment_is_told_to_builds_and_to_nobody_else() {
    let desk = desk(2);
    let checks = r#"open "$REHEARSAL_OFREP"; ask token; [[ $answer == *'"value":"hush-hush-1"'* && $REHEARSAL_FLAG_TOKEN == hush-hush-1 ]] || exit 9
        grep -q hush-hush-1 "$FILE" || exit 8; cat"#;
    let flags = "{ token = '${REHEARSAL_NO_SUCH_VARIABLE:-hush-hush-1}' }";
    let change = "[[flag-change]]\nat = '1s'\nflag = 'token'\nto = '${REHEARSAL_NO_SUCH_VARIABLE:-hush-hush-2}'\n";
    let more = format!("payload = 'value'\n{}{change}", PACE.replace("2.0", "20.0"));
    let report = rehearse(&checked(desk.path(), (checks, flags), (checks, flags), &more), desk.path(), "run");
    assert_eq!(report.verdict, Verdict::Agree, "{:?} {:?}", report.reasons, report.drives);
    assert_eq!(flags_shown(&report), "${REHEARSAL_NO_SUCH_VARIABLE}");
    let mut folders = vec![desk.path().join("run")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains("hush"), "{}", path.display());
            }
        }
    }
}

fn flags_shown(report: &Report) -> String {
    flags(report, "new").flags["token"][0].value.as_str().unwrap().to_owned()
}

#[test]
fn over_http_a_switch_is_thrown_ahead_of_the_event_that_is_posted_behind_it() {
    let desk = desk(4);
    let server = r"
import http.server, json, os, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers['content-length'])))
        ask = urllib.request.Request(os.environ['OFREP'] + '/ofrep/v1/evaluate/flags', b'{}', {'content-type': 'application/json'})
        flags = json.load(urllib.request.urlopen(ask))['flags']
        body = json.dumps({'n': event['order_id'], 'fast': flags[0]['value']}).encode()
        self.send_response(200)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";
    fs::write(desk.path().join("build.py"), server).unwrap();
    let build =
        "command = ['python3', 'build.py']\nenv = { OFREP = '{ofrep}', PORT = '{port}' }\nflags = { fast = true }\n";
    let text = format!(
        "recording = 'orders'\n[old]\n{build}[new]\n{build}[drive]\nsettle = '50ms'\ntransport = 'http'\nurl = 'http://127.0.0.1:{{port}}/'\n{PACE}{KILL}"
    );
    fs::write(desk.path().join("flags.toml"), text).unwrap();
    let checked =
        check(Scenario::read(desk.path().join("flags.toml"), &[]).unwrap(), None).unwrap_or_else(|e| panic!("{e}"));
    let report = rehearse(&checked, desk.path(), "run");
    assert_eq!(report.verdict, Verdict::Agree, "{:?} {:?}", report.reasons, report.drives);
    assert_eq!(decided(desk.path(), "run", "new"), [true, true, false, false]);
    let new = &flags(&report, "new").flags["fast"];
    assert_eq!((new[0].in_bulk, new[1].in_bulk, flags(&report, "new").bulk), (2, 2, 4));
}

#[test]
fn over_kafka_a_switch_is_thrown_when_its_event_is_due() {
    let desk = desk(1);
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/flights");
    let program = env!("CARGO_BIN_EXE_rehearsal");
    // Reads beside it until the switch is thrown, and says so.
    let build = r#"open "$REHEARSAL_OFREP"; ("$1" sample refunds-old) & until ask fast; [[ $answer == *'"value":false'* ]]; do :; done
        echo thrown >&2; wait"#;
    fs::write(desk.path().join("build.sh"), format!("{ASK}{build}")).unwrap();
    let build = format!("command = ['bash', 'build.sh', '{program}']\nflags = {{ fast = true }}\n");
    let text = format!(
        "recording = '{}'\n[select]\nfrom = '2013-01-28T00:00:00Z'\nto = '2013-01-28T03:00:00Z'\n[old]\n{build}[new]\n{build}\
         [drive]\nsettle = '50ms'\ntransport = 'kafka'\noutputs = ['refunds']\n[pace]\nmode = 'accelerated'\nspeed = 7200.0\n{}",
        recording.display(),
        KILL.replace("2s", "90m")
    );
    fs::write(desk.path().join("flags.toml"), text).unwrap();
    let scenario = Scenario::read(desk.path().join("flags.toml"), &[]).unwrap_or_else(|error| panic!("{error}"));
    let report = rehearse(&check(scenario, None).unwrap_or_else(|error| panic!("{error}")), desk.path(), "run");
    let log = fs::read_to_string(desk.path().join("run/faults.ndjson")).unwrap();
    let due_us = serde_json::from_str::<serde_json::Value>(&log).unwrap()["moment_us"].as_i64().unwrap();
    assert!((750_000..900_000).contains(&due_us), "{log}");
    for drive in ["old", "old-again", "new"] {
        let changes = &flags(&report, drive).changes;
        assert!(changes.len() == 1 && changes[0].at_us >= due_us, "{drive}: {changes:?} {:?}", report.drives);
        let said = fs::read_to_string(desk.path().join("run/outcomes").join(drive).join("stderr.log")).unwrap();
        assert!(said.contains("thrown"), "{said}");
    }
    assert_eq!(report.faults[0].fired, 1);
}

#[test]
fn a_build_that_knows_productions_own_name_finds_its_flags_there() {
    let desk = desk(3);
    let by_name = BY_OFREP.replace("$REHEARSAL_OFREP", "http://flagd.prod:8016");
    let more = "hosts = { 'flagd.prod:8016' = 'ofrep' }\n[pace]\nmode = 'unpaced'\n";
    let scenario = scenario(desk.path(), (&by_name, "{ fast = true }"), (&by_name, "{ fast = true }"), more).unwrap();
    check(scenario, None).unwrap_or_else(|error| panic!("{error}"));
    // By the program: only that can start itself again as what makes worlds for drives.
    let mut run = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    let ran = run.current_dir(desk.path()).args(["run", "flags.toml", "--out", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let required = std::env::var_os("REHEARSAL_ISOLATION").is_some_and(|value| value == "required");
    if ran.status.code() == Some(4) && said.contains("names") && !required {
        // Where no names of its own are granted no drive takes place: production's would lead to production.
        assert!(!desk.path().join("run/outcomes/new").exists(), "{said}");
        return;
    }
    let new = Outcome::open(desk.path().join("run/outcomes/new")).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(new.ending().flags.as_ref().unwrap().flags["fast"][0].asked, 3, "{said}");
}
