//! Reviewing a run: what is accepted stands in the next one, by share, and everything of it can be read and mended.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value as Json;
use tempfile::TempDir;

/// A folder of 60 orders (`crate::run::desk`) with a scenario in which new adds a currency to every third one.
struct Desk(TempDir);

const ADDS: &str = r#"sed -u -E 's/("order_id":[0-9]*[147])([,}])/\1,"currency":"EUR"\2/'"#;

/// As `ADDS`, for every order.
const ADDS_TO_ALL: &str = r#"sed -u -E 's/("order_id":[0-9]*)([,}])/\1,"currency":"EUR"\2/'"#;

impl Desk {
    fn new(more: &str) -> Self {
        let desk = Self(crate::run::desk(60));
        desk.write(ADDS, more);
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the scenario, whose new build is the shell's `new`.
    fn write(&self, new: &str, more: &str) {
        let new = Json::from(new).to_string();
        let text = format!(
            "recording = 'orders'\nseed = 3\n[pace]\nmode = 'unpaced'\n[old]\ncommand = ['cat']\n[new]\ncommand = ['sh', '-c', {new}]\n\
             [drive]\npayload = 'value'\nsettle = '50ms'\n[compare]\nidentity = ['$.order_id']\n{more}"
        );
        fs::write(self.path().join("pays.toml"), text).unwrap();
    }

    fn rehearsal(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        command.current_dir(self.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("USER", "ada");
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.rehearsal(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
        out + &err
    }

    /// Runs the scenario and returns `run.json`.
    #[track_caller]
    fn run(&self, code: i32) -> Json {
        let output = self.rehearsal(&["run", "pays.toml", "--json"]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn accepted(&self) -> String {
        fs::read_to_string(self.path().join("pays.accepted.toml")).unwrap()
    }
}

const RUN: &str = "target/rehearsal/pays";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Name of the pattern of a report that is no expected one.
fn open(report: &Json) -> String {
    let patterns = report["patterns"].as_array().unwrap();
    let open = patterns.iter().find(|pattern| pattern["standing"] != "expected").unwrap();
    open["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_accepted_stands_in_the_next_run_and_in_every_format() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    let listed = desk.expect(1, &["review", RUN, "--non-interactive"]);
    assert!(listed.contains(&id) && listed.contains("$.currency") && listed.contains("1 pattern is open"), "{listed}");
    desk.expect(0, &["review", RUN, "--accept", &id, "--because", "PAY-123", "--until", "2999-12-31"]);
    let file = desk.accepted();
    for line in
        ["[[accepted]]", "path = \"$.currency\"", "because = \"PAY-123\"", "by = \"ada\"", "until = \"2999-12-31\""]
    {
        assert!(file.contains(line), "lacks {line}:\n{file}");
    }
    assert!(!file.contains("count"), "{file}");
    let report = desk.run(0);
    assert_eq!(report["expected"][0]["state"], "made");
    assert_eq!(report["patterns"][0]["standing"], "expected");
    assert_eq!(report["patterns"][0]["expected_by"], 0);
    desk.expect(0, &["review", RUN, "--non-interactive"]);
    // Rendered again, every format names what was accepted, by whom and why, and the pattern.
    for format in ["terminal", "html", "json", "junit", "markdown"] {
        let shown = desk.expect(0, &["report", RUN, "--format", format]);
        for said in ["PAY-123", "ada", "2999-12-31", id.as_str()] {
            assert!(shown.contains(said), "{format} lacks {said}:\n{shown}");
        }
    }
    // Outcomes compared by the same rules are judged so as well, by other rules not.
    desk.expect(0, &["compare", RUN, RUN, "--rules", "pays.toml"]);
    fs::copy(desk.path().join("pays.toml"), desk.path().join("other.toml")).unwrap();
    desk.expect(1, &["compare", RUN, RUN, "--rules", "other.toml"]);
    // A folder of scenarios takes the file for none.
    fs::create_dir(desk.path().join("only")).unwrap();
    fs::copy(desk.path().join("pays.accepted.toml"), desk.path().join("only/pays.accepted.toml")).unwrap();
    assert!(desk.expect(2, &["run", "only"]).contains("holds no scenario"));
}

#[test]
fn a_share_that_grew_and_a_value_beside_it_are_differences_again_and_what_is_gone_is_stale() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    desk.expect(0, &["review", RUN, "--accept", &id, "--because", "PAY-123"]);
    desk.write(ADDS_TO_ALL, "");
    let report = desk.run(1);
    assert_eq!((&report["expected"][0]["state"], open(&report)), (&Json::from("grown"), id));
    assert!(desk.expect(1, &["review", RUN, "--non-interactive"]).contains("has grown"));
    desk.write("cat", "");
    let report = desk.run(0);
    assert_eq!(report["expected"][0]["state"], "stale");
    assert!(report["warnings"].to_string().contains("is there no more"), "{}", report["warnings"]);
    let said = desk.expect(1, &["run", "pays.toml", "--stale", "fail"]);
    assert!(said.contains("stale-expectations"), "{said}");
    desk.expect(1, &["compare", RUN, RUN, "--rules", "pays.toml", "--stale=fail"]);
    desk.expect(0, &["compare", RUN, RUN, "--rules", "pays.toml", "--stale=warn"]);
}

#[test]
fn a_scenario_says_what_is_expected_and_a_key_that_is_wrong_is_named_where_it_stands() {
    let expected = "[[expected]]\npath = '$.currency'\nchange = 'added'\nvalue = 'EUR'\nbecause = 'PAY-123'\n";
    let desk = Desk::new(expected);
    // It takes place on a third of the orders alone.
    let report = desk.run(1);
    assert_eq!(report["expected"][0]["state"], "partly");
    assert!(
        report["reasons"][0].as_str().unwrap().contains("lack the change that was expected"),
        "{}",
        report["reasons"]
    );
    desk.write(ADDS_TO_ALL, expected);
    assert_eq!(desk.run(0)["expected"][0]["state"], "made");
    desk.write(ADDS, &expected.replace("because", "becuase"));
    let said = desk.expect(2, &["run", "pays.toml"]);
    assert!(said.contains("Did you mean `because`?"), "{said}");
    desk.write(ADDS, &expected.replace("because = 'PAY-123'\n", ""));
    assert!(desk.expect(2, &["run", "pays.toml"]).contains("the key `because` is missing"));
    desk.write(ADDS, &expected.replace("'added'", "'addded'"));
    assert!(desk.expect(2, &["run", "pays.toml"]).contains("`added`"));
    desk.write(ADDS, &format!("{expected}until = '2026-02-30'\n"));
    let said = desk.expect(2, &["run", "pays.toml"]);
    assert!(said.contains("pays.toml:19:9") && said.contains("no day of the calendar"), "{said}");
}

#[test]
fn what_is_rejected_stays_a_difference_and_is_not_asked_about_again() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    desk.expect(0, &["review", RUN, "--reject", &id, "--because", "nobody asked for it"]);
    assert!(desk.accepted().contains("[[rejected]]") && !desk.accepted().contains("share ="));
    desk.expect(0, &["review", RUN, "--non-interactive"]);
    let report = desk.run(1);
    assert_eq!((&report["expected"][0]["state"], open(&report)), (&Json::from("rejected"), id.clone()));
    assert!(desk.expect(0, &["report", RUN]).contains("rejected: nobody asked for it"));
    desk.expect(0, &["review", RUN, "--non-interactive"]);
    // Somebody may think better of it.
    desk.expect(0, &["review", RUN, "--accept", &id, "--because", "PAY-9", "--author", "Grace <g@example.org>"]);
    assert!(!desk.accepted().contains("[[rejected]]") && desk.accepted().contains("Grace <g@example.org>"));
    desk.run(0);
}

#[test]
fn what_cannot_be_decided_is_refused_and_nothing_is_written() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    for (arguments, said) in [
        (vec!["--accept", "00000000", "--because", "A"], "has no pattern 00000000"),
        (vec!["--accept", &id], "--because"),
        (vec!["--accept", &id, "--because", " "], "--because says nothing"),
        (vec!["--accept", &id, "--because", "A", "--until", "2001-01-01"], "has passed"),
        (vec!["--accept", &id, "--because", "A", "--until", "soon"], "no day of the calendar"),
        (vec!["--accept", &id, "--reject", &id, "--because", "A"], "both accepted and rejected"),
        (vec!["--accept", &id, "--because", "A", "--scenario", "nowhere.toml"], "is not there"),
        (vec![], "no terminal"),
    ] {
        let arguments: Vec<&str> = ["review", RUN].into_iter().chain(arguments).collect();
        assert!(desk.expect(2, &arguments).contains(said), "{said}");
        assert!(!desk.path().join("pays.accepted.toml").exists(), "{said}");
    }
    let said = desk.expect(2, &["review", "nowhere", "--json", "--non-interactive"]);
    assert!(said.contains("does not exist"), "{said}");
}

#[test]
fn a_file_of_decisions_that_is_broken_is_refused_with_line_and_column() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    desk.expect(0, &["review", RUN, "--accept", &id, "--because", "PAY-123", "--until", "2999-12-31"]);
    let sound = desk.accepted();
    for (from, to, said) in [
        ("because", "becuase", "Did you mean `because`?"),
        ("pattern = ", "pattern = 7 # ", "Write text in quotes"),
        (id.as_str(), "00000000", "is no name of this pattern"),
        ("\"$.currency\"", "\"$.other\"", "is no name of this pattern"),
        ("2999-12-31", "2999-13-31", "is no day of the calendar"),
        ("interval = [0", "interval = [7", "is no interval of shares"),
        ("share = 0", "share = 5", "is no share"),
        ("[[accepted]]", "[[accepted]", "pays.accepted.toml:5"),
    ] {
        let broken = sound.replacen(from, to, 1);
        assert_ne!(broken, sound, "{from}");
        fs::write(desk.path().join("pays.accepted.toml"), &broken).unwrap();
        for arguments in [
            &["run", "pays.toml"][..],
            &["compare", RUN, RUN, "--rules", "pays.toml"],
            &["review", RUN, "--non-interactive"],
        ] {
            let shown = desk.expect(2, arguments);
            assert!(shown.contains(said) && shown.contains("pays.accepted.toml:"), "{from}: lacks {said}:\n{shown}");
        }
    }
    let twice = format!("{sound}\n{}", &sound[sound.find("[[accepted]]").unwrap()..]);
    fs::write(desk.path().join("pays.accepted.toml"), twice).unwrap();
    assert!(desk.expect(2, &["run", "pays.toml"]).contains("was decided above"));
}

#[test]
fn a_folder_that_is_read_only_says_what_to_do() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    let closed = desk.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::copy(desk.path().join("pays.toml"), closed.join("pays.toml")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // Whoever may write everywhere is kept from it by a folder in the file's place.
    let may_write = fs::write(closed.join("probe"), "").is_ok();
    if may_write {
        fs::create_dir(closed.join("pays.accepted.toml")).unwrap();
    }
    let arguments = ["review", RUN, "--scenario", "closed/pays.toml", "--accept", &id, "--because", "A"];
    let output = desk.rehearsal(&arguments);
    let said = text(&output.stderr);
    let (code, hint) = if may_write { (2, "Make it readable") } else { (4, "Make its folder writable") };
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains("pays.accepted.toml") && said.contains(hint), "{said}");
    let mut left: Vec<String> =
        fs::read_dir(&closed).unwrap().map(|entry| text(entry.unwrap().file_name().as_encoded_bytes())).collect();
    left.retain(|name| name != "probe" && name != "pays.accepted.toml");
    assert_eq!(left, ["pays.toml"]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_is_open_and_decided_is_printed_as_json() {
    let desk = Desk::new("");
    let id = open(&desk.run(1));
    let json = |code: i32, arguments: &[&str]| {
        let output = desk.rehearsal(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice::<Json>(&output.stdout).unwrap()
    };
    let listed = json(1, &["review", RUN, "--non-interactive", "--json"]);
    assert_eq!(
        (&listed["open"][0]["pattern"], &listed["open"][0]["comparable"]),
        (&Json::from(id.clone()), &Json::from(60))
    );
    let decided = json(0, &["review", RUN, "--accept", &id, "--because", "A", "--json"]);
    assert_eq!(
        (decided["open"].as_array().unwrap().len(), &decided["decided"][0]["decision"]),
        (0, &Json::from("accepted"))
    );
}

/// Answers a review at a terminal of its own, which `script` makes.
fn at_a_terminal(desk: &Desk, answers: &str) -> String {
    let program = env!("CARGO_BIN_EXE_rehearsal");
    let mut script = Command::new("script");
    script.current_dir(desk.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("USER", "ada");
    let output =
        script.args(["-qec", &format!("{program} review {RUN}"), "/dev/null"]).write_stdin(answers).output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    shown
}

#[test]
fn at_a_terminal_patterns_are_shown_and_asked_about_one_by_one() {
    let desk = Desk::new("");
    desk.run(1);
    let shown = at_a_terminal(&desk, "x\nl\n");
    assert!(shown.contains("1 of 1") && shown.contains("$.currency") && shown.contains("new"), "{shown}");
    assert!(shown.matches("[a]ccept, [r]eject, [l]ater, [q]uit?").count() == 2, "{shown}");
    assert!(shown.contains("1 pattern is open") && !desk.path().join("pays.accepted.toml").exists(), "{shown}");
    // No reason, a day that is none, one that has passed: asked again.
    let shown = at_a_terminal(&desk, "a\n\nPAY-123\nsoon\n2001-01-01\n2999-12-31\n");
    assert!(shown.contains("nothing is open") && shown.contains("has passed"), "{shown}");
    assert!(desk.accepted().contains("until = \"2999-12-31\""));
    desk.run(0);
    assert!(at_a_terminal(&desk, "").contains("nothing is open"));
}
