//! Builds whose wall clock follows the events that they are handed. Where libfaketime is not installed these tests are left out, and say
//! so; `REHEARSAL_FAKETIME=required` makes that a failure.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use rehearsal::clock::{Clock as _, SystemClock};
use rehearsal::outcome::Outcome;
use rehearsal::report::{Format, Report, render};
use serde_json::Value as Json;

use crate::run::desk;

/// When the first order was made, in milliseconds; each other one comes a second after it.
const FIRST_MS: i64 = 1_700_000_000_000;

/// Ten events a second.
const FAST: &str = "[pace]\nmode = 'accelerated'\nspeed = 10.0\n";

/// Whether the library is there.
fn is_installed() -> bool {
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders = below.chain(["/usr/lib".into(), "/usr/lib64".into(), "/usr/local/lib".into()]);
    if folders.any(|folder| folder.join("faketime/libfaketimeMT.so.1").is_file()) {
        return true;
    }
    assert!(std::env::var("REHEARSAL_FAKETIME").as_deref() != Ok("required"), "libfaketime is not installed");
    // Past what captures the output of tests.
    let _ = writeln!(std::io::stderr(), "left out: builds with a recorded clock, since libfaketime is not installed");
    false
}

/// Says at each order what time it is to a program that it starts (bash itself looks for its variables elsewhere), and what is committed.
const BASH: &str = r#"echo ready
while read -r line; do
  n=${line##*\"order_id\":}; n=${n%%\}*}; offset=${line#*\"offset\":}; offset=${offset%%,*}
  echo "{\"key\":\"$n\",\"value\":{\"n\":$n,\"at\":$(date +%s%3N)}}"
  echo "{\"commit\":{\"topic\":\"orders\",\"partition\":0,\"offset\":$((offset + 1))}}"
done"#;

const PYTHON: &str = r"import json, sys, threading, time
print('ready', flush=True)
for line in sys.stdin:
    n = json.loads(line)['value']['order_id']
    time.sleep(0.005)
    threading.Event().wait(0.005)
    print(json.dumps({'key': str(n), 'value': {'n': n, 'at': time.time_ns() // 1000000}}), flush=True)
";

/// Takes 300 ms of its own time for each order.
const JAVA: &str = r#"public class Orders {
    public static void main(String[] arguments) throws Exception {
        java.io.BufferedReader in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        System.out.println("ready");
        System.out.flush();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            long from = System.currentTimeMillis();
            Thread.sleep(300);
            long at = System.currentTimeMillis();
            String n = line.replaceAll(".*\"order_id\":(\\d+).*", "$1");
            String said = "{\"n\":" + n + ",\"at\":" + at + ",\"slept\":" + (at - from) + "}";
            System.out.println("{\"key\":\"" + n + "\",\"value\":" + said + "}");
            System.out.flush();
        }
    }
}
"#;

/// Runs a scenario in which old and new are `command`; `more` begins within `[drive]`.
fn rehearse(desk: &Path, command: &str, more: &str) -> Output {
    let build = format!("command = {command}\n");
    rehearse_two(desk, &build, &build, &format!("clock = 'recorded'\nready = {{ line = '^ready$' }}\n{more}"), &[])
}

/// Runs a scenario of two builds, each in TOML; `more` begins within `[drive]`.
fn rehearse_two(desk: &Path, old: &str, new: &str, more: &str, arguments: &[&str]) -> Output {
    let text = format!(
        "recording = 'orders'\n[old]\n{old}[new]\n{new}[compare]\nignore = ['$.at', '$.slept']\n\
         [drive]\nsettle = '50ms'\nlateness-p99-max = '10s'\nslow-down-max = '500%'\n{more}"
    );
    fs::write(desk.join("clock.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(desk).args(["run", "clock.toml", "--out", "run", "--force", "--json"]).args(arguments);
    command.output().unwrap()
}

fn report(output: &Output) -> Report {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Which order each output is of and what time it was then, in milliseconds, in order of arrival.
fn seen_ms(desk: &Path, drive: &str) -> Vec<(i64, i64)> {
    let outcome = Outcome::open(desk.join("run/outcomes").join(drive)).unwrap();
    let batches: Vec<_> = outcome.outputs().unwrap().map(Result::unwrap).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()));
    let values = rows.map(|output| serde_json::from_slice::<Json>(&output.value.unwrap()).unwrap());
    values
        .map(|value| {
            let number = |key: &str| value[key].as_i64().unwrap_or_else(|| panic!("{value}"));
            (number("n"), number("at"))
        })
        .collect()
}

/// What time each order was for the drive `drive`, in milliseconds after the order was made, in order of arrival.
fn behind_ms(desk: &Path, drive: &str) -> Vec<i64> {
    seen_ms(desk, drive).into_iter().map(|(n, at)| at - FIRST_MS - n * 1_000).collect()
}

/// Whether a clock that was off by so much at most may show a build so many milliseconds behind an order, on a busy machine.
fn is_near(behind_ms: i64, error_us_max: i64) -> bool {
    (-1 - error_us_max / 1_000..60_000).contains(&behind_ms)
}

/// Checks that no order was further ahead of the clock than the report says, and that none came much later than it was due.
fn check_drives(desk: &Path, report: &Report, drives: &[&str], profile: &str) {
    for drive in drives {
        let behind = behind_ms(desk, drive);
        assert_eq!(behind.len(), 8, "{drive}: {behind:?}");
        let clock = &report.wall_clock.as_ref().unwrap().drives[*drive];
        assert!(behind.iter().all(|behind| is_near(*behind, clock.error_us_max)), "{drive}: {behind:?} {clock:?}");
        assert!(clock.profile.starts_with(profile), "{clock:?}");
        assert!(clock.tested.starts_with("right to "), "{clock:?}");
        assert!(clock.sets > 10 && clock.error_us_max > 0, "{clock:?}");
        assert!(!desk.join("run/outcomes").join(drive).join("dir/.wall-clock").exists(), "{drive}: something was left");
    }
}

#[test]
fn a_native_build_sees_the_time_of_its_events_in_a_world_of_its_own_and_without() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("orders.sh"), BASH).unwrap();
    for isolation in ["", "isolation = 'off'\n"] {
        let output = rehearse(desk.path(), "['bash', 'orders.sh']", &format!("{isolation}{FAST}"));
        let report = report(&output);
        assert_eq!(output.status.code(), Some(0), "{:?} {:?}", report.reasons, report.drives);
        check_drives(desk.path(), &report, &["old", "old-again", "new"], "shell, shifted");
        for format in [Format::Terminal, Format::Html, Format::Markdown, Format::Junit] {
            let shown = render(&report, format).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(shown.contains("shell, shifted, by /"), "{format}: {shown}");
        }
        // What is said of timers of builds that have the machine's clock does not hold here.
        assert!(!report.warnings.iter().any(|warning| warning.contains("builds' own clocks do not")));
    }
}

#[test]
fn at_the_pace_of_production_the_clock_is_set_once() {
    if !is_installed() {
        return;
    }
    let desk = desk(2);
    fs::write(desk.path().join("orders.sh"), BASH).unwrap();
    let report = report(&rehearse(desk.path(), "['bash', 'orders.sh']", "repeat-old = 0\n"));
    let clock = &report.wall_clock.as_ref().unwrap().drives["new"];
    assert!(clock.sets == 1 && clock.error_us_max < 1_000, "{clock:?}");
    let behind = behind_ms(desk.path(), "new");
    assert!(behind.iter().all(|behind| is_near(*behind, clock.error_us_max)), "{behind:?}");
}

#[test]
fn a_python_build_sees_the_time_of_its_events_and_still_sleeps() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("orders.py"), PYTHON).unwrap();
    let output = rehearse(desk.path(), "['python3', 'orders.py']", &format!("repeat-old = 0\n{FAST}"));
    let report = report(&output);
    check_drives(desk.path(), &report, &["old", "new"], "Python, shifted");
}

#[test]
fn the_timers_of_a_java_build_are_sped_up_with_its_clock() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("Orders.java"), JAVA).unwrap();
    let compiled = Command::new("javac").current_dir(desk.path()).arg("Orders.java").status().unwrap();
    assert!(compiled.success());
    let output = rehearse(desk.path(), "['java', '-cp', '.', 'Orders']", &format!("repeat-old = 0\n{FAST}"));
    let report = report(&output);
    check_drives(desk.path(), &report, &["old", "new"], "JVM, shifted and sped up 10 times");
    let clock = &report.wall_clock.as_ref().unwrap().drives["new"];
    assert_eq!(clock.timers, Some(10.0));
    // Where timers ran as the machine's, 300 ms would be 3 s by such a clock.
    let outcome = Outcome::open(desk.path().join("run/outcomes/new")).unwrap();
    let batch = outcome.outputs().unwrap().next().unwrap().unwrap();
    let values = (0..batch.len()).map(|row| serde_json::from_slice::<Json>(batch.get(row).value.unwrap()).unwrap());
    let slept: Vec<i64> = values.map(|value| value["slept"].as_i64().unwrap()).collect();
    assert!(slept.iter().any(|slept| (290..2_500).contains(slept)), "{slept:?}");
}

#[test]
fn a_process_that_comes_back_finds_the_time_where_it_stands() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("orders.sh"), BASH).unwrap();
    let crash = "[[fault]]\nkind = 'crash'\nat = ['3s']\n";
    let output = rehearse(desk.path(), "['bash', 'orders.sh']", &format!("repeat-old = 0\n{FAST}{crash}"));
    let report = report(&output);
    let drive = report.drives.iter().find(|drive| drive.drive == "new").unwrap();
    assert_eq!(drive.instances.first().map(|instance| instance.starts), Some(2), "{:?}", report.reasons);
    let behind = behind_ms(desk.path(), "new");
    // What is handed over once more is a little older by then.
    let clock = &report.wall_clock.as_ref().unwrap().drives["new"];
    assert!(behind.len() >= 8 && behind.iter().all(|behind| is_near(*behind, clock.error_us_max)), "{behind:?}");
}

#[test]
fn a_clock_that_does_not_follow_is_found_ahead_of_the_drive() {
    if !is_installed() {
        return;
    }
    let desk = desk(2);
    fs::write(desk.path().join("orders.py"), PYTHON).unwrap();
    // An interpreter that takes away what is put in front of it.
    let wrapper = desk.path().join("python3");
    fs::write(&wrapper, "#!/bin/sh\nunset LD_PRELOAD\nexec python3 \"$@\"\n").unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let output = rehearse(desk.path(), "['./python3', 'orders.py']", &format!("repeat-old = 0\n{FAST}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    for words in ["wall clock of the drive", "no way of setting it works", "Python, shifted: its clock is off by"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_has_no_clock_to_set_is_refused_with_the_reason_ahead_of_everything() {
    let desk = desk(2);
    // The header of a program of 64 bits without segments: no loader, so nothing is loaded ahead of it.
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "big") { 2 } else { 1 }]);
    let path = desk.path().join("consumer");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    for (command, more, reason) in [
        ("['./consumer']", FAST, "`consumer` is linked statically"),
        ("['cat']", "[pace]\nmode = 'unpaced'\n", "no schedule that a clock could follow"),
    ] {
        let output = rehearse(desk.path(), command, more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("clock = 'recorded'") && said.contains(reason), "{said}");
    }
}

/// A fault that sets clocks wrong.
fn wrong(how: &str) -> String {
    format!("[[fault]]\nkind = 'clock'\n{how}\n")
}

/// The machine's own time, in milliseconds.
fn now_ms() -> i64 {
    SystemClock::start().date_us() / 1_000
}

#[test]
fn a_step_sets_the_machines_clock_back_from_the_event_of_its_moment_on_in_every_drive() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("orders.sh"), BASH).unwrap();
    let build = "command = ['bash', 'orders.sh']\n";
    let more = format!("ready = {{ line = '^ready$' }}\n{FAST}{}", wrong("step = '-5m'\nat = ['3s']"));
    let before_ms = now_ms();
    let output = rehearse_two(desk.path(), build, build, &more, &[]);
    let seen_report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{:?}", seen_report.reasons);
    let check_steps = |report: &Report, from_ms: i64| {
        for drive in ["old", "old-again", "new"] {
            let wrong: Vec<bool> = seen_ms(desk.path(), drive).iter().map(|(_, at)| *at < from_ms - 100_000).collect();
            assert_eq!(wrong, [false, false, false, true, true, true, true, true], "{drive}");
            let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
            assert!(!clock.recorded && clock.wrong_us_max == 300_000_000, "{clock:?}");
        }
        let [fault] = &report.faults[..] else { panic!("{:?}", report.faults) };
        assert_eq!((&*fault.kind, &*fault.legality, fault.planned, fault.fired), ("clock", "B", 1, 1));
        let says = &fault.requests.as_ref().unwrap().begins;
        assert!(says.contains("stepped by -5m at 300ms of the replay"), "{says}");
    };
    check_steps(&seen_report, before_ms);
    for format in [Format::Terminal, Format::Html, Format::Markdown, Format::Junit] {
        let shown = render(&seen_report, format).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("set wrong by 5m at most"), "{format}: {shown}");
    }
    // What happened to new stands in the log, which replays exactly that, whatever the scenario says by now.
    let log = fs::read_to_string(desk.path().join("run/faults.ndjson")).unwrap();
    let line: Json = serde_json::from_str(&log).unwrap();
    assert_eq!(
        (&line["kind"], &line["moment_us"], &line["by_us"]),
        (&"clock".into(), &300_000.into(), &(-300_000_000).into())
    );
    fs::write(desk.path().join("log.ndjson"), &log).unwrap();
    let other = more.replace("-5m", "+1h").replace("3s", "6s");
    let before_ms = now_ms();
    let replayed = rehearse_two(desk.path(), build, build, &other, &["--faults", "log.ndjson"]);
    check_steps(&report(&replayed), before_ms);
}

#[test]
fn a_recorded_clock_is_shifted_from_the_start_and_drifts_with_event_time() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("orders.sh"), BASH).unwrap();
    let more = format!("repeat-old = 0\n{FAST}{}{}", wrong("shift = '-1h'"), wrong("drift = '50%'"));
    let report = report(&rehearse(desk.path(), "['bash', 'orders.sh']", &more));
    for drive in ["old", "new"] {
        let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
        let behind: Vec<i64> =
            seen_ms(desk.path(), drive).into_iter().map(|(n, at)| at + 3_600_000 - FIRST_MS - n * 1_500).collect();
        assert_eq!(behind.len(), 8, "{drive}");
        assert!(behind.iter().all(|behind| is_near(*behind, clock.error_us_max)), "{drive}: {behind:?} {clock:?}");
        assert!(clock.recorded && clock.wrong_us_max > 3_590_000_000, "{clock:?}");
    }
    let fired: Vec<u64> = report.faults.iter().map(|fault| fault.fired).collect();
    assert_eq!(fired, [1, 1]);
}

/// Pays what is no older than a minute by its own clock.
const PATIENT: &str = r"import json, sys, time
print('ready', flush=True)
for line in sys.stdin:
    event = json.loads(line)
    if abs(time.time() * 1000 - event['timestamp_ms']) < 200000:
        print(json.dumps({'key': event['key'], 'value': {'n': event['value']['order_id']}}), flush=True)
";

#[test]
fn a_build_that_trusts_its_clock_is_found_by_a_step_and_one_that_does_not_stays_silent() {
    if !is_installed() {
        return;
    }
    // Orders enough to rule out chance.
    let desk = desk(40);
    fs::write(desk.path().join("new.py"), PATIENT).unwrap();
    fs::write(desk.path().join("old.py"), PATIENT.replace("< 200000", "< 1e15")).unwrap();
    let (old, new) = ("command = ['python3', 'old.py']\n", "command = ['python3', 'new.py']\n");
    let with = |new: &str, fault: &str| {
        let more = format!("clock = 'recorded'\nready = {{ line = '^ready$' }}\n{FAST}{fault}");
        let output = rehearse_two(desk.path(), old, new, &more, &[]);
        (output.status.code(), report(&output))
    };
    let step = wrong("preset = 'normal'\nat = ['20s']");
    let (code, report) = with(new, "");
    assert_eq!(code, Some(0), "{:?}", report.reasons);
    let (code, report) = with(old, &step);
    assert_eq!(code, Some(0), "{:?}", report.reasons);
    let (code, report) = with(new, &step);
    assert_eq!(code, Some(1), "{:?}", report.reasons);
    assert_eq!(report.differences.values().sum::<u64>(), 20, "{:?}", report.differences);
}

#[test]
fn the_clock_of_a_java_build_is_shifted_and_is_not_stepped() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("Orders.java"), JAVA).unwrap();
    let compiled = Command::new("javac").current_dir(desk.path()).arg("Orders.java").status().unwrap();
    assert!(compiled.success());
    let build = "command = ['java', '-cp', '.', 'Orders']\n";
    let more = format!("repeat-old = 0\nready = {{ line = '^ready$' }}\n{FAST}");
    let from_ms = now_ms();
    let report = report(&rehearse_two(desk.path(), build, build, &format!("{more}{}", wrong("shift = '-1h'")), &[]));
    for drive in ["old", "new"] {
        let wrong = seen_ms(desk.path(), drive).iter().filter(|(_, at)| *at < from_ms - 1_800_000).count();
        assert_eq!(wrong, 8, "{drive}: {:?}", report.reasons);
    }
    // Set back, its timers would not run out until the clock is where it was.
    let output = rehearse_two(desk.path(), build, build, &format!("{more}{}", wrong("at = ['4s']")), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the timers of a Java machine leap with its clock"), "{said}");
}

#[test]
fn what_has_no_clock_to_set_wrong_is_refused_and_what_never_fires_is_no_verdict() {
    let desk = desk(2);
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "big") { 2 } else { 1 }]);
    let path = desk.path().join("consumer");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let build = "command = ['./consumer']\n";
    for (fault, reason) in [
        ("preset = 'harsh'", "`consumer` is linked statically"),
        ("shift = '0s'", "wrong by nothing"),
        ("shift = '1s'\nat = ['1s']", "has no `at`"),
        ("drift = '1%'\nlength = '1s'", "has no `length`"),
        ("drift = '100%'", "Write less than 100%"),
        ("step = '1s'\nshift = '1s'", "already says what is wrong"),
        ("step = '1s'\nnth = 1", "takes no `nth`"),
    ] {
        let output = rehearse_two(desk.path(), build, build, &wrong(fault), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    }
    if is_installed() {
        let build = "command = ['sed', '-u', 's/a/a/']\n";
        let output = rehearse_two(desk.path(), build, build, &wrong("step = '1s'\nat = ['9s']"), &[]);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(3), "{:?}", report.reasons);
        assert!(report.reasons.iter().any(|reason| reason.contains("no moment of the replay")), "{:?}", report.reasons);
        // Without waiting there are no moments, but a clock that is wrong from the start is.
        let shift = format!("{}[pace]\nmode = 'unpaced'\n", wrong("shift = '-1h'"));
        let output = rehearse_two(desk.path(), build, build, &shift, &[]);
        assert_eq!(output.status.code(), Some(0), "{:?}", self::report(&output).reasons);
        let step = shift.replace("shift", "step");
        assert_eq!(rehearse_two(desk.path(), build, build, &step, &[]).status.code(), Some(2));
    }
}

#[test]
fn a_client_of_kafka_that_waits_by_threads_of_c_is_refused() {
    let desk = desk(2);
    // The header of a program of 64 bits with a loader, and the name of what it links to.
    let mut program = vec![0; 64 + 56];
    program[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "big") { 2 } else { 1 }]);
    for (at, number) in [(32, 64_u64), (64 + 8, 120), (64 + 32, 28)] {
        program[at..at + 8].copy_from_slice(&number.to_ne_bytes());
    }
    for (at, number) in [(54, 56_u16), (56, 1), (64, 3)] {
        program[at..at + 2].copy_from_slice(&number.to_ne_bytes());
    }
    program.extend(b"/lib64/ld-linux-x86-64.so.2\0\0cnd_timedwait\0");
    let path = desk.path().join("consumer");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let build = "command = ['./consumer']\n";
    let kafka = format!("transport = 'kafka'\noutputs = ['seen']\n{}", wrong("shift = '1s'"));
    let output = rehearse_two(desk.path(), build, build, &kafka, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`consumer` waits by `cnd_timedwait`"), "{said}");
}

/// A server that says what time it was at each order.
const SERVER: &str = r#"import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = json.dumps({"n": order["order_id"], "at": time.time_ns() // 1000000}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[test]
fn builds_that_are_posted_their_events_see_their_time_and_come_back_to_it_after_a_restart() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    fs::write(desk.path().join("serve.py"), SERVER).unwrap();
    let build = "command = ['python3', 'serve.py', '{port}']\nflags = { fast = true }\n";
    let http = "transport = 'http'\nurl = 'http://127.0.0.1:{port}/events'\nrepeat-old = 0\nclock = 'recorded'\n";
    let restart = "[[fault]]\nkind = 'restart'\nat = ['4s']\nlength = '100ms'\n";
    for more in ["", restart] {
        let report = report(&rehearse_two(desk.path(), build, build, &format!("{http}{FAST}{more}"), &[]));
        for drive in ["old", "new"] {
            let behind = behind_ms(desk.path(), drive);
            let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
            let near = behind.iter().all(|behind| is_near(*behind, clock.error_us_max));
            assert!(behind.len() >= 8 && near, "{drive}: {behind:?} {clock:?} {:?}", report.reasons);
        }
    }
}

#[test]
fn a_build_of_a_revision_sees_the_time_of_its_events_and_a_restart_takes_it_not_back() {
    if !is_installed() {
        return;
    }
    let desk = desk(8);
    let repository = desk.path().to_owned();
    fs::write(repository.join("orders.py"), PYTHON).unwrap();
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        for name in rehearsal::worktree::REDIRECTIONS {
            command.env_remove(name);
        }
        let identity = ["-c", "user.name=Jo", "-c", "user.email=jo@pay.example", "-c", "commit.gpgsign=false"];
        let output = command.arg("-C").arg(&repository).args(identity).args(words).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet", "-b", "main"]);
    git(&["add", "orders.py"]);
    git(&["commit", "--quiet", "-m", "first"]);
    let build = "git = 'main'\ncommand = ['python3', 'orders.py']\n";
    let more = format!(
        "clock = 'recorded'\nready = {{ line = '^ready$' }}\nrepeat-old = 0\n{FAST}\
         [[fault]]\nkind = 'restart'\nat = ['4s']\nlength = '100ms'\n"
    );
    let output = rehearse_two(desk.path(), build, build, &more, &[]);
    let report = report(&output);
    for drive in ["old", "new"] {
        let behind = behind_ms(desk.path(), drive);
        let clock = &report.wall_clock.as_ref().unwrap().drives[drive];
        assert!(clock.profile.starts_with("Python"), "{clock:?}");
        let near = behind.iter().all(|behind| is_near(*behind, clock.error_us_max));
        assert!(behind.len() >= 8 && near, "{drive}: {behind:?} {clock:?}");
        let times: Vec<i64> = seen_ms(desk.path(), drive).into_iter().map(|(_, at)| at).collect();
        assert!(times.is_sorted(), "{drive}: {times:?}");
    }
}

/// Sums amounts in windows of ten seconds that begin with the Unix epoch, and writes each when the first event beyond it comes; `at` is
/// what it takes for the time of an event.
const WINDOWS: &str = r"import json, sys, time, datetime
start, total = None, 0
def out():
    shown = datetime.datetime.fromtimestamp(start, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
    print(json.dumps({'key': 'w', 'timestamp_ms': start * 1000,
                      'value': {'window_start': shown, 'end_s': start + 10, 'total': total, 'late': LATE}}), flush=True)
for line in sys.stdin:
    event = json.loads(line)
    at = AT
    if start is not None and at >= start + 10:
        out()
        start, total = None, 0
    start = at // 10 * 10 if start is None else start
    total += event['value']['amount']
if start is not None: out()
";

/// By how much the relation moves events, and which fields are times.
fn relation(by: &str, event_times: &str) -> String {
    format!(
        "[relations]\ntime-shift = '{by}'\nwindows = '10s'\ntimes = ['$.window_start', {{ path = '$.end_s', unit = 's' }}]\n{event_times}"
    )
}

/// Runs builds that take the time of an event, and whether it is late, to be these expressions.
fn windows(desk: &Path, old: (&str, &str), new: (&str, &str), more: &str) -> (Option<i32>, Report) {
    for (name, (at, late)) in [("old.py", old), ("new.py", new)] {
        fs::write(desk.join(name), WINDOWS.replace("AT\n", &format!("{at}\n")).replace("LATE", late)).unwrap();
    }
    let more = format!("[pace]\nmode = 'accelerated'\nspeed = 100.0\n{more}");
    let (old, new) = ("command = ['python3', 'old.py']\n", "command = ['python3', 'new.py']\n");
    let output = rehearse_two(desk, old, new, &more, &[]);
    (output.status.code(), report(&output))
}

/// How the relation came out.
fn time_shift(report: &Report) -> (String, String) {
    let found = report.relations.iter().find(|relation| relation.name == "time-shift");
    let found = found.unwrap_or_else(|| panic!("{:?} {:?}", report.relations, report.reasons));
    (found.result.clone(), found.note.clone())
}

const STAMP: &str = "event['timestamp_ms'] // 1000";

#[test]
fn windows_that_begin_with_the_epoch_keep_the_time_shift_and_a_date_that_is_written_down_breaks_it() {
    let desk = desk(40);
    let steady = (STAMP, "False");
    // Old and new agree on what was recorded; on the same events a day later they would not.
    let dated = (STAMP, "start > 1700000000 + 3600");
    for (old, new, result, code) in [
        (steady, steady, "kept by both", 0),
        (steady, dated, "broken by new", 1),
        (dated, dated, "broken by both", 0),
        (dated, steady, "mended by new", 0),
    ] {
        let (found_code, report) = windows(desk.path(), old, new, &relation("24h", ""));
        let (found, note) = time_shift(&report);
        assert_eq!((found.as_str(), found_code), (result, Some(code)), "{note} {:?}", report.reasons);
        if result.starts_with("broken") {
            assert!(note.contains("$.late"), "{note}");
        }
    }
}

#[test]
fn a_build_that_trusts_the_machines_clock_breaks_the_time_shift_unless_that_is_recorded() {
    if !is_installed() {
        return;
    }
    let desk = desk(40);
    let trusting = (STAMP, "abs(time.time() - 1700000000) < 7200 or abs(time.time() - 1700086400) < 7200");
    let recorded = format!("clock = 'recorded'\n[pace]\nmode = 'accelerated'\nspeed = 20.0\n{}", relation("24h", ""));
    let build = "command = ['python3', 'old.py']\n";
    let (_, report) = windows(desk.path(), trusting, trusting, &relation("24h", ""));
    assert_eq!(time_shift(&report).0, "kept by both", "neither time is the machine's");
    let since_epoch = (STAMP, "time.time() < 1700050000");
    let (_, report) = windows(desk.path(), since_epoch, since_epoch, &relation("24h", ""));
    assert_eq!(time_shift(&report).0, "kept by both", "the machine's clock is what it is");
    let output = rehearse_two(desk.path(), build, build, &recorded, &[]);
    assert_eq!(time_shift(&self::report(&output)).0, "broken by both", "the recorded one went with the events");
}

#[test]
fn times_in_events_are_shifted_where_the_scenario_names_them_and_what_is_none_cannot_be_told() {
    let desk = desk(40);
    let order = "1700000000 + event['value']['order_id']";
    // A time that stands in the value and is not named stays, and what is made of it does not follow.
    let (_, report) = windows(desk.path(), (order, "False"), (order, "False"), &relation("24h", ""));
    assert_eq!(time_shift(&report).0, "broken by both");
    // Numbers are whatever one calls them: here seconds.
    let value = "1700000000 + event['value']['order_id'] % 86400";
    let named = relation("24h", "event-times = { orders = [{ path = '$.order_id', unit = 's' }] }\n");
    let (_, report) = windows(desk.path(), (value, "False"), (value, "False"), &named);
    assert_eq!(time_shift(&report).0, "broken by both", "it takes the day off again");
    let (code, report) = windows(desk.path(), (order, "False"), (order, "False"), &named);
    assert_eq!((time_shift(&report).0.as_str(), code), ("kept by both", Some(0)), "{:?}", report.reasons);
    let missing = relation("24h", "event-times = { orders = ['$.at'] }\n");
    let (code, report) = windows(desk.path(), (order, "False"), (order, "False"), &missing);
    let (result, note) = time_shift(&report);
    assert_eq!((result.as_str(), code), ("not judged", Some(3)), "{note}");
    assert!(note.contains("no event of orders has a time"), "{note}");
}

#[test]
fn a_shift_that_is_no_multiple_of_the_windows_is_refused() {
    let desk = desk(2);
    let build = "command = ['cat']\n";
    for (relations, reason) in [
        (relation("25s", ""), "+25s is no multiple of windows of 10s"),
        (relation("0s", ""), "cannot take place +0s away"),
        (
            relation("10s", "event-times = { payments = ['$.at'] }\n"),
            "no event of the plan stands in the topic `payments`",
        ),
        (relation("10s", "event-times = { orders = ['at'] }\n"), "`at` is no path"),
        ("[relations]\nwindows = '10s'\n".to_owned(), "`windows` is for the relation `time-shift`"),
    ] {
        let output = rehearse_two(desk.path(), build, build, &relations, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{reason}: {said}");
    }
}
