//! What a drive has of its own: its directory, what is run before and behind it, its state, and the sinks that it fills.

use std::fs;
use std::path::Path;

use rehearsal::clock::Stop;
use rehearsal::compare::{Kind, Verdict};
use rehearsal::drive::DriveError;
use rehearsal::report::{Format, Report, render};
use rehearsal::scenario::{Checked, Destination, Scenario, ScenarioError, check, run};

use crate::run::{Silent, desk};

/// Checks a scenario of `old` and `new` (tables) and `more`, which begins within `[drive]`.
fn checked(desk: &Path, old: &str, new: &str, more: &str) -> Result<Checked, ScenarioError> {
    let text = format!(
        "recording = 'orders'\n[old]\n{old}\n[new]\n{new}\n[drive]\nsettle = '50ms'\npayload = 'value'\n{more}\n[pace]\nmode = 'unpaced'\n"
    );
    fs::write(desk.join("world.toml"), text).unwrap();
    check(Scenario::read(desk.join("world.toml"), &[]).unwrap_or_else(|error| panic!("{error}")), None)
}

fn rehearse_until(desk: &Path, old: &str, new: &str, more: &str, stop: &Stop) -> Result<Report, ScenarioError> {
    let checked = checked(desk, old, new, more).unwrap_or_else(|error| panic!("{error}"));
    let destination = Destination::Numbered { under: desk.join("runs") };
    run(&checked, &destination, &Silent, stop).map(|run| run.report)
}

fn rehearse(desk: &Path, old: &str, new: &str, more: &str) -> Report {
    rehearse_until(desk, old, new, more, &Stop::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// What stands in a file of the first run's drive.
fn left(desk: &Path, drive: &str, file: &str) -> String {
    let path = desk.join("runs/world/0001/outcomes").join(drive).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const CAT: &str = "command = ['cat']";

#[test]
fn what_a_build_needs_is_made_before_it_and_removed_behind_it() {
    let desk = desk(3);
    let build = "command = ['sh', '-c', 'cat; cat {dir}/made >{dir}/seen']\nenv = { PORT = '{port.db}', WHO = 'x{drive}' }\n\
        prepare = [['sh', '-c', 'echo $WHO $PORT >{dir}/made; echo making >&2'], ['sh', '-c', 'echo {port.db} >>{dir}/made']]\n\
        cleanup = [['sh', '-c', 'echo removing; rm {dir}/made']]";
    let report = rehearse(desk.path(), build, build, "");
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
    let mut ports = Vec::new();
    for drive in ["old", "old-again", "new"] {
        let seen = left(desk.path(), drive, "dir/seen");
        let words: Vec<&str> = seen.split_whitespace().collect();
        assert_eq!((words[0], words[1]), (&*format!("x{drive}"), words[2]), "{seen}");
        ports.push(words[1].to_owned());
        assert_eq!(left(desk.path(), drive, "prepare.log"), "making\n");
        assert_eq!(left(desk.path(), drive, "cleanup.log"), "removing\n");
        assert!(!desk.path().join("runs/world/0001/outcomes").join(drive).join("dir/made").exists());
    }
    ports.dedup();
    assert_eq!(ports.len(), 3, "each drive has ports of its own: {ports:?}");
}

#[test]
fn a_port_that_only_the_environment_tells_of_is_free_for_commands_and_for_the_build() {
    let desk = desk(3);
    let takes = "import os, socket, sys; socket.create_server((\"127.0.0.1\", int(os.environ[\"PORT\"]))); sys.stdout.write(sys.stdin.read())";
    let build = format!(
        "command = ['python3', '-c', '''{takes}''']\nenv = {{ PORT = '{{port.own}}' }}\nprepare = [['python3', '-c', '''{takes}''']]"
    );
    let report = rehearse(desk.path(), &build, &build, "");
    assert_eq!((report.verdict, report.outputs["new"]), (Verdict::Agree, 3), "{:?}", report.reasons);
}

#[test]
fn commands_behind_a_build_may_not_ask_a_stub_that_answers_nobody_any_more() {
    let desk = desk(3);
    let more = |named: &str| {
        format!("[[effect]]\nname = 'pay'\nrules = [{{}}]\n[[sink]]\nname = 'table'\nsnapshot = ['echo', '{named}']\n")
    };
    for (build, named, line) in [
        (CAT.to_owned(), "at {effects.pay}/rows", "snapshot = ['echo', 'at {effects.pay}/rows']"),
        (format!("{CAT}\ncleanup = [['true'], ['echo', '{{effects.pay}}']]"), "row", "cleanup = [['true']"),
    ] {
        let said = checked(desk.path(), CAT, &build, &more(named)).unwrap_err().to_string();
        assert!(said.contains(line) && said.contains("`{effects.pay}` answers nobody any more"), "{said}");
    }
    let build = format!("{CAT}\nprepare = [['echo', '{{effects.pay}}']]\ncleanup = [['echo', '{{registry}}']]");
    checked(desk.path(), CAT, &build, &more("{registry}")).unwrap();
}

#[test]
fn a_build_that_cannot_be_made_ready_is_the_surroundings_failure_and_what_was_made_is_removed() {
    let desk = desk(3);
    let build = "command = ['cat']\nenv = { TOKEN = 'hush-hush-hush' }\n\
        prepare = [['sh', '-c', 'touch {dir}/made'], ['sh', '-c', 'echo refused: $TOKEN >&2; exit 7']]\n\
        cleanup = [['sh', '-c', 'test -e {dir}/made && echo removed']]";
    let error = rehearse_until(desk.path(), build, CAT, "", &Stop::new()).unwrap_err();
    let ScenarioError::Drive(DriveError::Prepare { drive, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(drive, "old");
    let said = error.to_string() + &std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(said.contains("prepare[1] (sh)") && said.contains("exit code 7"), "{said}");
    assert!(said.contains("refused: …") && !said.contains("hush-hush"), "{said}");
    assert_eq!(left(desk.path(), "old", "cleanup.log"), "removed\n");
    assert!(left(desk.path(), "old", "ending.json").contains("could not be made ready"));
}

#[test]
fn a_command_has_a_bound_in_time_and_ends_when_the_run_does() {
    let desk = desk(3);
    let build = "command = ['cat']\nprepare = [['sh', '-c', 'echo begun; sleep 1000']]";
    let error = rehearse_until(desk.path(), build, CAT, "prepare-timeout = '300ms'", &Stop::new()).unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("did not end within 300ms") && said.contains("prepare-timeout"), "{said}");
    let stop = Stop::new();
    stop.raise();
    let error = rehearse_until(desk.path(), build, CAT, "", &stop).unwrap_err();
    assert!(matches!(error, ScenarioError::Stopped { .. }), "{error:?}");
}

#[test]
fn cleaning_up_follows_every_ending_and_where_it_fails_that_is_a_warning() {
    let desk = desk(3);
    let cleanup = "cleanup = [['sh', '-c', 'exit 5'], ['sh', '-c', 'echo $PPID >/dev/null; echo second']]";
    for (how, ending) in [("exit 3", "exit code 3"), ("exec sleep 1000", "took no more input")] {
        let new = format!("command = ['sh', '-c', '{how}']\n{cleanup}");
        let report = rehearse(desk.path(), CAT, &new, "drain-timeout = '300ms'");
        assert_eq!(report.verdict, Verdict::Differ);
        assert!(report.reasons[0].contains(ending) || report.reasons[0].contains("new"), "{:?}", report.reasons);
        let warned = |text: &str| report.warnings.iter().any(|warning| warning.contains(text));
        assert!(warned("new: cleanup[0] (sh) failed: exit code 5"), "{:?}", report.warnings);
        assert!(!warned("cleanup[1]"));
    }
    assert_eq!(left(desk.path(), "new", "cleanup.log"), "second\n");
}

#[test]
fn on_request_to_stop_what_was_made_is_removed() {
    let desk = desk(3);
    let stop = Stop::new();
    let build =
        "command = ['sh', '-c', 'echo ready >{dir}/up; exec sleep 1000']\ncleanup = [['sh', '-c', 'echo removed']]";
    let up = desk.path().join("runs/world/0001/outcomes/old/dir/up");
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !up.exists() {
                std::thread::yield_now();
            }
            stop.raise();
        });
        rehearse_until(desk.path(), build, build, "", &stop).unwrap_err()
    });
    assert!(matches!(error, ScenarioError::Stopped { .. }), "{error:?}");
    assert_eq!(left(desk.path(), "old", "cleanup.log"), "removed\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_was_started_ahead_of_a_build_serves_it_and_ends_with_its_drive() {
    let desk = desk(3);
    // It holds the log of the command that started it, and takes the port that the command names.
    let server = "setsid python3 -c 'import socket, os; s = socket.create_server((\"127.0.0.1\", {port})); \
        open(\"{dir}/pid\", \"w\").write(str(os.getpid())); [s.accept()[0].sendall(b\"served\") for _ in range(9)]' & \
        until [ -s {dir}/pid ]; do :; done";
    let client = "import socket, sys; sys.stdin.read(); c = socket.create_connection((\"127.0.0.1\", {port})); print(c.recv(9).decode())";
    let build = format!("command = ['python3', '-c', '''{client}''']\nprepare = [['sh', '-c', '''{server}''']]\n");
    let report = rehearse(desk.path(), &build, &build, "");
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
    assert!(
        report.warnings.iter().any(|warning| warning.starts_with("new: a process that `prepare`")),
        "{:?}",
        report.warnings
    );
    for drive in ["old", "old-again", "new"] {
        let pid = left(desk.path(), drive, "dir/pid");
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{drive}: {state}");
    }
}

#[test]
fn each_drive_starts_from_a_copy_of_the_state_and_none_writes_the_original() {
    let desk = desk(3);
    let state = desk.path().join("warm");
    fs::create_dir_all(state.join("db")).unwrap();
    fs::write(state.join("db/count"), "7").unwrap();
    std::os::unix::fs::symlink("db/count", state.join("near")).unwrap();
    std::os::unix::fs::symlink(state.join("db/count"), state.join("far")).unwrap();
    let script = "cat >/dev/null; cat {dir}/state/near; for at in near far db/count; do echo gone >{dir}/state/$at; done; \
        [ -L {dir}/state/near ] && [ -L {dir}/state/far ] && echo; cat {dir}/state/db/count";
    let build = format!("command = ['sh', '-c', '{script}']\nstate = 'warm'");
    let report = rehearse(desk.path(), &build, &build, "");
    assert_eq!((report.verdict, report.outputs["new"]), (Verdict::Agree, 2), "{:?}", report.reasons);
    assert_eq!(fs::read_to_string(state.join("db/count")).unwrap(), "7");
    let refused = checked(desk.path(), CAT, "command = ['cat']\nstate = 'cold'", "").unwrap_err().to_string();
    assert!(refused.contains("cold does not exist") && refused.contains("world.toml:"), "{refused}");
}

#[test]
fn temporary_files_go_to_the_drives_own_folder_which_goes_where_it_is_empty() {
    let desk = desk(1);
    let script = "cat >/dev/null; mktemp >/dev/null; echo \"\\\"$TMPDIR $JAVA_TOOL_OPTIONS\\\"\"";
    let report = rehearse(desk.path(), CAT, &format!("command = ['sh', '-c', '''{script}''']"), "");
    let outcomes = fs::canonicalize(desk.path()).unwrap().join("runs/world/0001/outcomes");
    let folder = outcomes.join("new/dir/tmp");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert!(!outcomes.join("old/dir").exists(), "nothing was left in it");
    let example = report.patterns.iter().flat_map(|pattern| &pattern.examples).find_map(|example| example.new.clone());
    let said = serde_json::to_string(&example).unwrap();
    assert!(said.contains(&format!("-Djava.io.tmpdir={}", folder.display())), "{said}");
}

#[test]
fn commands_that_cannot_be_run_are_found_before_anything_is_started() {
    let desk = desk(1);
    for (build, more, place) in [
        ("command = ['cat']\nprepare = [['no-such-program-anywhere']]", "", "on no path"),
        ("command = ['cat']\ncleanup = [['echo', '{prot}']]", "", "{prot}"),
        ("command = ['cat']\nprepare = [[]]", "", "no program"),
        (CAT, "[[sink]]\nname = 'a'\nsnapshot = ['no-such-program-anywhere']", "on no path"),
        (CAT, "[[sink]]\nname = 'a'\nsnapshot = ['echo', '{drvie}']", "{drvie}"),
        (CAT, "outputs = ['a']\n[[sink]]\nname = 'a'\nsnapshot = ['echo']", "is the name of a topic"),
        (
            CAT,
            "[[effect]]\nname = 'a'\nrules = [{ status = 200 }]\n[[sink]]\nname = 'a'\nsnapshot = ['echo']",
            "of an effect",
        ),
    ] {
        let refused = checked(desk.path(), build, CAT, more).unwrap_err().to_string();
        assert!(refused.contains(place), "{build} {more}: {refused}");
    }
}

/// A build that passes orders on and keeps a table of them, as `rows` of awk has it: `$1` is the amount, `$2` the order.
fn table(desk: &Path, rows: &str) -> String {
    let script = "tee $1/in; tr -dc '0-9,\\n' <$1/in | awk -F, \"{ $2 }\" >$1/table\n";
    fs::write(desk.join("build.sh"), script).unwrap();
    format!("command = ['sh', 'build.sh', '{{dir}}', '{rows}']")
}

const SINK: &str = "[[sink]]\nname = 'payments'\nsnapshot = ['sh', '-c', 'echo id,amount; sort -R {dir}/table']\nformat = 'csv'\nkey = '$.id'\n";

#[test]
fn what_builds_leave_in_a_sink_is_compared_row_by_row() {
    let desk = desk(1_000);
    let (old, same) = (table(desk.path(), "print $2 \",\" $1"), table(desk.path(), "print $2 \",\" $1 + 0"));
    // The order of a snapshot counts for nothing, although it is another in each.
    let report = rehearse(desk.path(), &old, &same, SINK);
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
    assert_eq!(report.outputs["new"], 2_000, "outputs and rows");
    let wrong = table(desk.path(), "print $2 \",\" ($2 == 7 ? 1000 : $1)");
    let report = rehearse(desk.path(), &old, &wrong, SINK);
    assert_eq!(report.verdict, Verdict::Differ, "{:?}", report.reasons);
    assert_eq!(report.differences.get(&Kind::SinkDivergence), Some(&1), "{:?}", report.differences);
    assert_eq!(report.differences.len(), 1, "nothing else differs: {:?}", report.differences);
    let pattern = &report.patterns[0];
    assert_eq!(
        (pattern.kind, &*pattern.topic, pattern.path.as_deref()),
        (Kind::SinkDivergence, "payments", Some("$.amount"))
    );
    let gate = report.gates.iter().find(|gate| gate.name == "sink-divergence").unwrap();
    assert_eq!((gate.pass, gate.observed.as_deref()), (Some(false), Some("1")));
    for format in Format::ALL {
        let text = render(&report, format);
        assert!(text.contains("sink-divergence") && text.contains("payments"), "{format}: {text}");
    }
    // A row that was written twice.
    let twice = table(desk.path(), "print $2 \",\" $1; if ($2 == 3) print $2 \",\" $1");
    let report = rehearse(desk.path(), &old, &twice, SINK);
    assert_eq!(report.differences.get(&Kind::SinkDivergence), Some(&1), "{:?}", report.differences);
    let report = rehearse(desk.path(), &old, &twice, &format!("{SINK}[gates]\nsink-divergence = 1\n"));
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
}

#[test]
fn a_sink_that_cannot_be_looked_at_is_not_judged() {
    let desk = desk(3);
    let sink = |command: &str, more: &str| {
        format!("[[sink]]\nname = 'payments'\nsnapshot = ['sh', '-c', '''{command}''']\n{more}")
    };
    for (command, more, why) in [
        (
            "echo 1; test {drive} != new || { echo no such table >&2; exit 2; }",
            "",
            "exit code 2 (sinks.log ends in: no such table)",
        ),
        ("echo 1; test {drive} != new || sleep 1000", "timeout = '300ms'", "did not end within 300ms"),
        ("echo 1; test {drive} != new || yes", "bytes-max = 100000", "wrote more than 100,000 bytes"),
        ("echo 1; test {drive} != old || exit 1", "", "failed in old, exit code 1"),
    ] {
        let report = rehearse(desk.path(), CAT, CAT, &sink(command, more));
        assert_eq!(report.verdict, Verdict::NoVerdict, "{command}: {:?}", report.reasons);
        assert!(report.reasons.iter().any(|reason| reason.contains(why)), "{command}: {:?}", report.reasons);
        assert!(report.differences.is_empty(), "what the others hold stands against nothing: {:?}", report.differences);
    }
}

#[test]
fn what_events_that_come_twice_leave_twice_in_a_sink_are_repeated_effects() {
    let desk = desk(30);
    let fault = "[[fault]]\nkind = 'duplicate'\nprobability = 0.3\n";
    let once = "command = ['sh', '-c', 'sort -u >{dir}/table']";
    let sink = "[[sink]]\nname = 'payments'\nsnapshot = ['cat', '{dir}/table']\nkey = '$.order_id'\n";
    let report = rehearse(desk.path(), once, "command = ['sh', '-c', 'sort >{dir}/table']", &format!("{sink}{fault}"));
    let found = report.idempotency.as_ref().unwrap();
    assert_eq!(found.old.repeated_effects, 0);
    assert_eq!(found.new.repeated_effects, found.new.redelivered);
    assert!(found.new.redelivered > 0 && report.verdict == Verdict::Differ, "{:?}", report.reasons);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_build_starts_counts_to_what_it_uses() {
    let desk = desk(3);
    // The memory is a grandchild's, and so is the time; both are there for longer than a second.
    let hungry = "import time\nx = bytearray(200_000_000)\nend = time.time() + 2.5\nwhile time.time() < end: pass";
    let script = format!("cat; (setsid python3 -c '{hungry}'); true").replace('\'', "\"");
    let new = format!("command = ['sh', '-c', '''{script}''']");
    let report = rehearse(desk.path(), CAT, &new, "drain-timeout = '30s'");
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
    let figure = |drive: &str, name: &str| report.resources.as_ref().unwrap()[drive][name].as_u64().unwrap_or(0);
    assert!(figure("new", "memory_peak_bytes") > 200_000_000, "{:?}", report.resources);
    assert!(figure("new", "processes") >= 2, "{:?}", report.resources);
    assert!(figure("new", "cpu_us") > 200_000, "{:?}", report.resources);
    assert!(figure("old", "memory_peak_bytes") < 100_000_000, "{:?}", report.resources);
    for format in Format::ALL {
        let text = render(&report, format).to_lowercase();
        assert!(text.contains("resources"), "{format}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_build_that_fills_the_disk_is_ended_and_no_other_drive_is() {
    let desk = desk(3);
    // It forks, takes no request to end, and gives its pipes up.
    let script = "trap \"\" TERM; setsid sh -c \"trap : TERM; echo \\$\\$ >{dir}/pid; \
        exec dd if=/dev/zero of={dir}/full bs=1M 2>/dev/null\" & exec >/dev/null 2>&1 </dev/null; while :; do sleep 1; done";
    let new = format!("command = ['sh', '-c', '''{script}''']");
    let report = rehearse(desk.path(), CAT, &new, "dir-bytes-max = 30_000_000\ndrain-timeout = '60s'");
    assert_eq!(report.verdict, Verdict::Differ, "{:?}", report.reasons);
    assert!(report.reasons[0].contains("more than 30,000,000 bytes (`dir-bytes-max`)"), "{:?}", report.reasons);
    assert!(report.drives.iter().filter(|drive| drive.drive != "new").all(|drive| drive.outputs == 3));
    let pid = left(desk.path(), "new", "dir/pid");
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn what_a_build_complains_of_without_end_is_kept_within_its_bound() {
    let desk = desk(3);
    let new = "command = ['sh', '-c', 'cat; yes a complaint | head -c 50000000 >&2']";
    let report = rehearse(desk.path(), CAT, new, "drain-timeout = '60s'\nstderr-bytes-max = 100_000");
    assert_eq!(report.verdict, Verdict::Agree, "{:?}", report.reasons);
    let log = left(desk.path(), "new", "stderr.log");
    assert!(log.len() < 100_200 && log.contains("bytes are left out here"), "{}", log.len());
}
