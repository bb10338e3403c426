//! Builds from git and from folders, made by real `git` in temporary repositories, and outcomes of old that are used again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rehearsal::worktree::REDIRECTIONS;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::run::desk;

/// A build that writes these digits ahead of each amount.
fn pay(digits: &str) -> String {
    format!("#!/bin/sh\nexec sed -u 's/\"amount\":/\"amount\":{digits}/'\n")
}

/// A scenario in `rehearsal/pay.toml` of a repository whose build lies in `service`.
const SCENARIO: &str = "recording = '../../orders'\n[pace]\nmode = 'unpaced'\n[old]\ngit = 'main'\ncommand = ['./pay']\n\
    directory = '../service'\nbuild = [['sh', './make']]\n[new]\ncommand = ['./pay']\ndirectory = '../service'\nbuild = [['sh', './make']]\n\
    [drive]\npayload = 'value'\nsettle = '50ms'\n[lineage]\noutput = '$.order_id'\n[compare]\nidentity = ['$.order_id']\n";

/// Makes `pay` of `pay.in`, and counts how often it did.
const MAKE: &str = "echo making $PWD; echo . >>\"$COUNTED\"; cp pay.in pay; chmod +x pay\n";

/// A folder with a recording, a repository with a build in two commits (`main~1`, `main`), and a cache.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(desk(20));
        fs::create_dir_all(desk.repo().join("service")).unwrap();
        fs::create_dir_all(desk.repo().join("rehearsal")).unwrap();
        desk.git(&["init", "--quiet", "-b", "main"]);
        desk.write(".gitignore", "/target\n/service/pay\n");
        desk.write("service/make", MAKE);
        for (digits, message) in [("1", "first"), ("", "second")] {
            desk.write("service/pay.in", &pay(digits));
            desk.git(&["add", "."]);
            desk.git(&["commit", "--quiet", "-m", message]);
        }
        desk.write("rehearsal/pay.toml", SCENARIO);
        desk
    }

    fn repo(&self) -> PathBuf {
        self.0.path().join("repo")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.repo().join(name), text).unwrap();
    }

    fn git(&self, words: &[&str]) -> String {
        let mut command = Command::new("git");
        for name in REDIRECTIONS {
            command.env_remove(name);
        }
        let identity = ["-c", "user.name=Jo", "-c", "user.email=jo@pay.example", "-c", "commit.gpgsign=false"];
        let output = command.arg("-C").arg(self.repo()).args(identity).args(words).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehearsal"));
        for name in REDIRECTIONS {
            command.env_remove(name);
        }
        command.current_dir(self.repo()).args(arguments);
        command.env("XDG_CACHE_HOME", self.0.path().join("cache")).env("COUNTED", self.0.path().join("made"));
        command
    }

    /// Runs the program; returns standard error, after checking the exit code.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        said(code, &self.command(arguments).output().unwrap())
    }

    /// How often a build was made.
    fn made(&self) -> usize {
        fs::read_to_string(self.0.path().join("made")).unwrap_or_default().lines().count()
    }

    /// `run.json` of the last run.
    fn last(&self) -> Json {
        let text = fs::read_to_string(self.repo().join("target/rehearsal/pay/latest/run.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// What stands in the cache, without locks and logs.
    fn trees(&self) -> usize {
        let entries = fs::read_dir(self.0.path().join("cache/rehearsal/builds")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    }

    /// All of the user's own that must stay as it is.
    fn own(&self) -> (String, String, Vec<u8>) {
        (
            self.git(&["--no-optional-locks", "status", "--porcelain=v2", "--branch"]),
            self.git(&["for-each-ref"]),
            fs::read(self.repo().join(".git/index")).unwrap(),
        )
    }

    /// Runs the scenario again and checks whether the outcome of old is used again; where it is driven, that `because` is why. On a
    /// system that grants no network of its own, old is driven in any case.
    fn check(&self, arguments: &[&str], used_again: bool, because: &str) -> Json {
        let output =
            self.command(&[&["run", "rehearsal/pay.toml", "--exit-zero"][..], arguments].concat()).output().unwrap();
        said(0, &output);
        let last = self.last();
        let old = &last["outcome_of_old"];
        if granted(&last) {
            assert_eq!(old["used_again_from"].is_string(), used_again, "{arguments:?}: {old:#}");
        } else {
            assert!(old["used_again_from"].is_null(), "{arguments:?}: {old:#}");
        }
        assert!(old["driven_because"].as_str().unwrap().contains(because), "{arguments:?}: {old:#}");
        last
    }
}

fn said(code: i32, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    err.into_owned()
}

/// Whether drives of a run had a network of their own.
fn granted(run: &Json) -> bool {
    let layers = run["isolation"]["new"]["layers"].as_array().unwrap();
    layers
        .iter()
        .all(|layer| !["network", "sockets"].contains(&layer["layer"].as_str().unwrap()) || layer["enforced"] == true)
}

#[test]
fn old_is_a_revision_and_new_the_folder_as_it_is() {
    let desk = Desk::new();
    // As somebody is in the middle of it: staged, changed, new.
    desk.write("staged", "staged");
    desk.git(&["add", "staged"]);
    desk.write("service/pay.in", &pay("11"));
    let before = desk.own();
    let err = desk.expect(1, &["run", "rehearsal/pay.toml"]);
    assert!(err.contains("old is made of main (") && err.contains("pay: old: sh ./make"), "{err}");
    assert_eq!(desk.own().0, before.0);
    assert_eq!((desk.own().1, desk.own().2), (before.1, before.2));
    let run = desk.last();
    assert_eq!(run["differences"]["changed"], 20, "{run:#}");
    let (old, new) = (&run["builds"]["old"], &run["builds"]["new"]);
    let head = desk.git(&["rev-parse", "main"]);
    assert_eq!((&old["source"]["commit"], &old["source"]["revision"]), (&Json::from(&*head), &"main".into()));
    assert_eq!((&old["source"]["dirty"], &old["source"]["directory"]), (&false.into(), &"service".into()));
    assert_eq!((&new["source"]["commit"], &new["source"]["revision"]), (&Json::from(&*head), &Json::Null));
    assert_eq!(new["source"]["dirty"], true);
    assert_eq!((&old["name"], &new["name"]), (&"pay at main".into(), &"pay".into()));
    assert_ne!(old["program_hash"], new["program_hash"]);
    assert!(run["reproduce"].as_str().unwrap().contains(&format!("--old {head}")), "{}", run["reproduce"]);
    // Each format says which builds those were.
    let changes = new["source"]["changes_hash"].as_str().unwrap();
    let program = new["program_hash"].as_str().unwrap();
    for format in ["terminal", "html", "json", "junit", "markdown"] {
        let output = desk.command(&["report", "target/rehearsal/pay", "--format", format]).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        // The terminal breaks lines.
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for known in [&head[..12], &changes[..12], &program[..12]] {
            assert!(shown.contains(known), "{format} lacks {known}:\n{shown}");
        }
    }
}

#[test]
fn the_command_line_says_from_where_each_build_comes_wherever_it_is_typed() {
    let desk = Desk::new();
    desk.expect(0, &["run", "rehearsal/pay.toml", "--old", "main", "--new", "."]);
    desk.expect(1, &["run", "rehearsal/pay.toml", "--old", "HEAD~1", "--new", "."]);
    assert_eq!(desk.last()["builds"]["old"]["source"]["revision"], "HEAD~1");
    desk.expect(0, &["run", "rehearsal/pay.toml", "--old", "HEAD~1", "--new", "main~1"]);
    desk.expect(1, &["run", "rehearsal/pay.toml", "--new", "main~1"]);
    // From elsewhere, and a worktree of the user's own: the whole tree, in which the build has its place.
    desk.git(&["worktree", "add", "--quiet", "--detach", "../first", "HEAD~1"]);
    let mut command = desk.command(&["run", "repo/rehearsal/pay.toml", "--new", "./first", "--json"]);
    let output = command.current_dir(desk.0.path()).output().unwrap();
    said(1, &output);
    let run: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run["builds"]["new"]["source"]["directory"], "service");
    assert_eq!(run["builds"]["new"]["source"]["commit"], desk.git(&["rev-parse", "HEAD~1"]));
    // A folder that is no worktree is the one in which the build runs.
    desk.expect(0, &["run", "rehearsal/pay.toml", "--new", "service"]);
    // What is both is neither.
    desk.git(&["branch", "service"]);
    let err = desk.expect(2, &["run", "rehearsal/pay.toml", "--new", "service"]);
    assert!(err.contains("`service` is a folder here and a revision") && err.contains("./service"), "{err}");
    desk.expect(0, &["run", "rehearsal/pay.toml", "--new", "./service"]);
    desk.expect(0, &["run", "rehearsal/pay.toml", "--new", "heads/service"]);
    // What the report prints repeats the run, though the branch has moved on.
    desk.expect(1, &["run", "rehearsal/pay.toml", "--old", "main~1", "--fresh"]);
    let again = desk.last()["reproduce"].as_str().unwrap().to_owned();
    desk.git(&["commit", "--quiet", "--allow-empty", "-m", "more"]);
    let words: Vec<&str> = again.split(' ').skip(1).collect();
    desk.expect(1, &words);
}

#[test]
fn a_revision_is_made_once_and_a_folder_ahead_of_each_run() {
    let desk = Desk::new();
    desk.expect(0, &["run", "rehearsal/pay.toml"]);
    assert_eq!((desk.made(), desk.trees()), (2, 1));
    desk.expect(0, &["run", "rehearsal/pay.toml", "--fresh"]);
    assert_eq!((desk.made(), desk.trees()), (3, 1));
    // Both builds of one tree, or of one folder, are made together.
    desk.expect(0, &["run", "rehearsal/pay.toml", "--new", "main"]);
    assert_eq!((desk.made(), desk.trees()), (3, 1));
    desk.expect(0, &["run", "rehearsal/pay.toml", "--old", "."]);
    assert_eq!((desk.made(), desk.trees()), (4, 1));
    desk.expect(0, &["run", "rehearsal/pay.toml", "--set", "old.build=[['sh', '-c', 'sh ./make']]"]);
    assert_eq!((desk.made(), desk.trees()), (6, 2));
    // What a run would cost is told without making anything.
    desk.expect(0, &["plan", "rehearsal/pay.toml", "--old", "main~1"]);
    assert_eq!((desk.made(), desk.trees()), (6, 2));
}

#[test]
fn two_runs_that_want_one_tree_at_once_make_it_once() {
    let desk = Desk::new();
    let start =
        |_| desk.command(&["run", "rehearsal/pay.toml", "--new", "main"]).stderr(Stdio::piped()).spawn().unwrap();
    let running: Vec<_> = (0..3).map(start).collect();
    for child in running {
        said(0, &child.wait_with_output().unwrap());
    }
    assert_eq!((desk.made(), desk.trees()), (1, 1));
}

#[test]
fn a_build_that_fails_is_told_with_its_last_lines_and_leaves_nothing() {
    let desk = Desk::new();
    let own = desk.own();
    let failing = "old.build=[['sh', '-c', 'seq 50; echo error: no such crate >&2; touch half; exit 101']]";
    let err = desk.expect(4, &["run", "rehearsal/pay.toml", "--set", failing]);
    for words in [
        "could not make the build old",
        "build[0] (sh -c seq 50",
        "exit code 101",
        "\n    error: no such crate",
        ".log",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert_eq!((desk.trees(), desk.own()), (0, own));
    assert!(!desk.repo().join("target").exists(), "a run was begun");
    let slow = ["--set", "old.build=[['sleep', '1000']]", "--set", "drive.build-timeout=300ms"];
    let err = desk.expect(4, &[&["run", "rehearsal/pay.toml"], &slow[..]].concat());
    assert!(err.contains("not done within 300ms (`build-timeout`)"), "{err}");
    // A build that leaves no program is none.
    let err = desk.expect(2, &["run", "rehearsal/pay.toml", "--set", "old.build=[['true']]"]);
    assert!(err.contains("pay does not exist") && err.contains("pay.toml:6"), "{err}");
    desk.expect(0, &["run", "rehearsal/pay.toml"]);
}

#[test]
fn a_build_that_is_interrupted_leaves_nothing_and_the_next_run_makes_it() {
    let desk = Desk::new();
    let begun = desk.0.path().join("begun");
    let waiting = format!("old.build=[['sh', '-c', 'touch half; touch {}; exec sleep 1000']]", begun.display());
    let mut command = desk.command(&["run", "rehearsal/pay.toml", "--set", &waiting]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !begun.exists() {
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let err = said(4, &child.wait_with_output().unwrap());
    assert!(err.contains("stopped while the builds were made"), "{err}");
    assert_eq!(desk.trees(), 0);
    // Killed, it cannot tidy up: what is half made is no build.
    fs::remove_file(&begun).unwrap();
    let mut child =
        desk.command(&["run", "rehearsal/pay.toml", "--set", &waiting]).stderr(Stdio::null()).spawn().unwrap();
    while !begun.exists() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(desk.trees(), 1);
    fs::remove_file(&begun).unwrap();
    let mut child =
        desk.command(&["run", "rehearsal/pay.toml", "--set", &waiting]).stderr(Stdio::null()).spawn().unwrap();
    while !begun.exists() {
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    assert_eq!(desk.trees(), 0, "it was begun anew, and ended");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_made() {
    let desk = Desk::new();
    desk.git(&["update-ref", "refs/remotes/origin/release", "HEAD~1"]);
    for (set, expected) in [
        ("old.git=nowhere", &["`nowhere` names no commit of the repository", "old.git"][..]),
        ("old.git=release", &["`release` names no commit", "There is `origin/release`."]),
        ("old.git=main:service", &["names no commit"]),
        ("old.directory=../elsewhere", &["`main` has no folder `elsewhere`"]),
        ("old.directory=../../elsewhere", &["../../elsewhere lies outside of the repository"]),
        ("old.directory=.", &["`main` has no folder `rehearsal`", "directory = \"..\""]),
        ("old.build=[['cargo', '--target-dir={dir}']]", &["nothing is filled in in `--target-dir={dir}`", "`prepare`"]),
        ("old.build=[['no-such-compiler']]", &["`no-such-compiler` is on no path"]),
        ("old.build=[[]]", &["no program to run"]),
        ("drive.build-timeout=0s", &["build-timeout"]),
    ] {
        let err = desk.expect(2, &["run", "rehearsal/pay.toml", "--set", set]);
        for words in expected {
            assert!(err.contains(words), "{set} lacks `{words}`: {err}");
        }
    }
    assert_eq!((desk.made(), desk.trees()), (0, 0));
    assert!(!desk.repo().join("target").exists());
    // Where there is no repository at all, folders do.
    fs::remove_dir_all(desk.repo().join(".git")).unwrap();
    let err = desk.expect(2, &["run", "rehearsal/pay.toml"]);
    assert!(err.contains("lies in no git repository"), "{err}");
    desk.expect(0, &["run", "rehearsal/pay.toml", "--old", "service"]);
    assert_eq!(desk.last()["builds"]["old"]["source"], Json::Null);
}

#[test]
fn a_hook_that_runs_it_keeps_its_own_index_and_tree() {
    let desk = Desk::new();
    let own = desk.own();
    let hooked = desk.0.path().join("hooked");
    let hook = desk.repo().join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", hooked.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let index = desk.repo().join(".git/index");
    let mut command = desk.command(&["run", "rehearsal/pay.toml", "--old", "main~1"]);
    command.env("GIT_DIR", desk.repo().join(".git")).env("GIT_INDEX_FILE", &index).env("GIT_WORK_TREE", desk.repo());
    let asks = "old.build=[['sh', '-c', 'git rev-parse --show-toplevel >asked; sh ./make']]";
    said(1, &command.args(["--set", asks]).output().unwrap());
    assert_eq!(desk.own(), own);
    assert!(!hooked.exists(), "a hook of the user's was run for a tree that is none of theirs");
    let asked = Command::new("find").arg(desk.0.path().join("cache")).args(["-name", "asked"]).output().unwrap();
    let asked = fs::read_to_string(String::from_utf8_lossy(&asked.stdout).trim()).unwrap();
    assert!(asked.contains("/cache/rehearsal/builds/"), "{asked}");
}

#[test]
fn an_outcome_of_old_is_used_again_where_nothing_can_be_another() {
    let desk = Desk::new();
    let first = desk.check(&[], false, "");
    let second = desk.check(&[], true, "");
    if !granted(&second) {
        return;
    }
    assert_eq!(second["outcome_of_old"]["used_again_from"], "target/rehearsal/pay/0001");
    assert_eq!(second["outcome_of_old"]["key"], first["outcome_of_old"]["key"]);
    let names = |run: &Json| -> Vec<String> {
        run["drives"].as_array().unwrap().iter().map(|drive| drive["drive"].to_string()).collect()
    };
    assert_eq!(names(&second), names(&first));
    assert_eq!((&second["outputs"], &second["noise"]), (&first["outputs"], &first["noise"]));
    assert!(second["resources"].get("old").is_none() && second["resources"].get("new").is_some(), "{second:#}");
    for format in ["terminal", "html", "junit", "markdown"] {
        let output = desk.command(&["report", "target/rehearsal/pay", "--format", format]).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("used again from target/rehearsal/pay/0001"), "{format}: {shown}");
    }
    // From run to run, and when the first is gone.
    fs::remove_dir_all(desk.repo().join("target/rehearsal/pay/0001")).unwrap();
    let third = desk.check(&[], true, "");
    assert_eq!(third["outcome_of_old"]["used_again_from"], "target/rehearsal/pay/0001");
    // What reaches no drive of old changes nothing of it, and is judged as ever.
    desk.write("service/pay.in", &pay("1"));
    let changed = desk.check(&["--set", "gates.changed=30", "--set", "new.name=other"], true, "");
    assert_eq!((&changed["differences"]["changed"], &changed["verdict"]), (&20.into(), &"agree".into()));
    desk.check(&["--set", "old.git=HEAD"], true, "");
    desk.check(&["--fresh"], false, "--fresh");
    let folder = ["--out", "elsewhere"];
    said(1, &desk.command(&[&["run", "rehearsal/pay.toml"], &folder[..]].concat()).output().unwrap());
    let text = fs::read_to_string(desk.repo().join("elsewhere/run.json")).unwrap();
    assert!(text.contains("beside which there are no earlier ones"), "{text}");
}

#[test]
fn old_is_driven_where_anything_is_another() {
    let desk = Desk::new();
    desk.write("rehearsal/policy.txt", "one");
    fs::create_dir(desk.repo().join("rehearsal/state")).unwrap();
    desk.write("rehearsal/state/table", "one");
    let base = ["--set", "old.state='state'", "--set", "old.env={ POLICY = 'policy.txt' }"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    desk.check(&base, false, "");
    desk.check(&base, true, "");
    for other in [
        &["--set", "old.flags={ fast = true }"][..],
        &["--set", "old.env={ POLICY = 'policy.txt', LEVEL = 'info' }"],
        &["--old", "main~1"],
        &["--set", "old.build=[['sh', './make'], ['true']]"],
        &["--set", "seed=8"],
        &["--set", "drive.settle='60ms'"],
        &["--set", "pace.mode='rate'", "--set", "pace.rate=1000"],
        &["--set", "fault=[{ kind = 'duplicate', probability = 0.5, after = '1ms' }]"],
        &["--set", "drive.repeat-old=2"],
        &["--set", "effect=[{ name = 'pay', rules = [{ status = 200 }] }]"],
        &["--set", "select.to='2023-11-14T22:13:30Z'"],
    ] {
        desk.check(&with(other), false, "");
    }
    desk.check(&base, true, "");
    desk.write("rehearsal/state/table", "two");
    desk.check(&base, false, "");
    desk.check(&base, true, "");
    desk.write("rehearsal/policy.txt", "two");
    desk.check(&base, false, "");
    let mut command = desk.command(&["run", "rehearsal/pay.toml", "--exit-zero", base[0], base[1], base[2], base[3]]);
    said(0, &command.env("LD_BIND_NOW", "1").output().unwrap());
    assert!(desk.last()["outcome_of_old"]["used_again_from"].is_null());
    // Layers are rules of driving.
    let mut command = desk.command(&["run", "rehearsal/pay.toml", "--exit-zero", base[0], base[1], base[2], base[3]]);
    said(0, &command.env("REHEARSAL_WITHOUT_LAYERS", "writes").output().unwrap());
    assert!(desk.last()["outcome_of_old"]["used_again_from"].is_null());
}

#[test]
fn old_is_driven_where_something_cannot_be_told() {
    let desk = Desk::new();
    for (set, because) in [
        ("old.command=['sed', '-u', 's/a/a/']", "lies outside of its folder"),
        ("old.prepare=[['true']]", "commands beside the build"),
        ("sink=[{ name = 'table', snapshot = ['echo', 'a'] }]", "commands beside the build"),
        ("drive.writable=['.']", "let through to what lies outside"),
        ("gates.p99-latency-increase='50%'", "`p99-latency-increase` is limited"),
        ("warnings.freshness-p99='5s'", "`freshness-p99` is limited"),
    ] {
        desk.check(&["--set", set], false, because);
        desk.check(&["--set", set], false, because);
    }
    // Nothing kept it from reaching out.
    desk.check(&["--set", "drive.isolation='off'"], false, "");
    desk.check(&["--set", "drive.isolation='off'"], false, "");
    // One that died, or hung, may do otherwise.
    desk.write("service/pay.in", "#!/bin/sh\nexit 3\n");
    desk.git(&["commit", "--quiet", "-a", "-m", "dies"]);
    desk.check(&[], false, "");
    desk.check(&[], false, "");
}

#[test]
fn a_folder_counts_by_what_is_in_it_and_the_same_content_is_the_same() {
    let desk = Desk::new();
    let old = ["--old", "./service", "--set", "old.build=[]", "--set", "new.build=[]"];
    desk.write("service/pay", &pay(""));
    fs::set_permissions(desk.repo().join("service/pay"), fs::Permissions::from_mode(0o755)).unwrap();
    desk.check(&old, false, "");
    desk.check(&old, true, "");
    desk.write("service/notes", "new");
    desk.check(&old, false, "");
    desk.check(&old, true, "");
    fs::remove_file(desk.repo().join("service/notes")).unwrap();
    desk.check(&old, true, "");
    // The program itself, which git is told to ignore.
    desk.write("service/pay", &pay("1"));
    desk.check(&old, false, "");
    // In no repository all that lies in the folder counts.
    fs::remove_dir_all(desk.repo().join(".git")).unwrap();
    desk.check(&old, false, "");
    desk.check(&old, true, "");
    desk.write("service/notes", "new");
    desk.check(&old, false, "");
}

#[test]
fn timing_of_another_time_is_held_against_nothing() {
    let desk = Desk::new();
    let paced = ["--set", "pace.mode='accelerated'", "--set", "pace.speed=100"];
    let first = desk.check(&paced, false, "");
    assert!(first["latency"].is_object(), "{first:#}");
    let second = desk.check(&paced, true, "");
    if !granted(&second) {
        return;
    }
    assert!(second["latency"].is_null(), "{second:#}");
    let warned =
        second["warnings"].as_array().unwrap().iter().any(|warning| warning.as_str().unwrap().contains("--fresh"));
    assert!(warned, "{second:#}");
    let output = desk.command(&["report", "target/rehearsal/pay"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("was driven at another time"));
    // Nor where the outcomes are compared again.
    let run = "target/rehearsal/pay/latest";
    let output = desk.command(&["compare", run, run, "--rules", "rehearsal/pay.toml", "--json"]).output().unwrap();
    let again: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert!(again["latency"].is_null() && again["outputs"]["old"] == 20, "{again:#}");
}

#[test]
fn a_folder_that_changes_while_it_is_driven_is_told_and_its_outcome_not_used_again() {
    let desk = Desk::new();
    let changing = "#!/bin/sh\necho changed >>notes\nexec cat\n";
    desk.write("service/pay.in", changing);
    let open = ["--old", ".", "--set", "drive.isolation='off'"];
    let run = desk.check(&open, false, "");
    let warnings = run["warnings"].to_string();
    assert!(warnings.contains("The folder of old was changed while it was driven"), "{warnings}");
    assert!(!Path::new(&desk.repo().join("target/rehearsal/pay/latest/reuse.json")).exists());
}
