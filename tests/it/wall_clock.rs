//! Builds whose wall clock follows the events that they are handed. Where libfaketime is not installed these tests are left out, and say
//! so; `REHEARSAL_FAKETIME=required` makes that a failure.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

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
    let text = format!(
        "recording = 'orders'\n[old]\ncommand = {command}\n[new]\ncommand = {command}\n[compare]\nignore = ['$.at', '$.slept']\n\
         [drive]\nsettle = '50ms'\nclock = 'recorded'\nready = {{ line = '^ready$' }}\nlateness-p99-max = '10s'\nslow-down-max = '500%'\n{more}"
    );
    fs::write(desk.join("clock.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
    command.current_dir(desk).args(["run", "clock.toml", "--out", "run", "--force", "--json"]).output().unwrap()
}

fn report(output: &Output) -> Report {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// What time each order was for the drive `drive`, in milliseconds after the order was made, in order of arrival.
fn behind_ms(desk: &Path, drive: &str) -> Vec<i64> {
    let outcome = Outcome::open(desk.join("run/outcomes").join(drive)).unwrap();
    let batches: Vec<_> = outcome.outputs().unwrap().map(Result::unwrap).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.get(row).to_output()));
    let values = rows.map(|output| serde_json::from_slice::<Json>(&output.value.unwrap()).unwrap());
    values
        .map(|value| {
            let number = |key: &str| value[key].as_i64().unwrap_or_else(|| panic!("{value}"));
            number("at") - FIRST_MS - number("n") * 1_000
        })
        .collect()
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
