//! Reads the sources and holds them against the rules of the house: who may use whom, who prints, who reads time, who draws.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom: the flow is one-way. `samples` fills its broker from a recording; `cli` and `scenario` stand at its end.
const MAY_USE: [(&str, &[&str]); 18] = [
    ("clock", &[]),
    ("settings", &[]),
    ("spill", &[]),
    ("worktree", &["clock"]),
    // A leaf: events are decoded where they are captured, shown, planned with and compared.
    ("schema", &[]),
    ("recording", &["settings", "schema"]),
    ("mask", &["settings", "schema", "recording"]),
    // Clients of a cluster: whoever reads one and whoever drives with one.
    ("kafka", &["clock", "recording"]),
    ("capture", &["clock", "settings", "schema", "recording", "mask", "kafka"]),
    ("plan", &["settings", "spill", "schema", "recording"]),
    ("outcome", &["settings", "schema", "recording", "plan"]),
    ("drive", &["clock", "settings", "schema", "recording", "mask", "kafka", "plan", "outcome"]),
    ("compare", &["settings", "spill", "schema", "recording", "plan", "outcome"]),
    ("report", &["settings", "recording", "plan", "outcome", "compare"]),
    ("samples", &["recording"]),
    (
        "scenario",
        &[
            "clock",
            "settings",
            "spill",
            "schema",
            "recording",
            "mask",
            "kafka",
            "capture",
            "plan",
            "outcome",
            "drive",
            "compare",
            "report",
            "samples",
            "worktree",
        ],
    ),
    (
        "cli",
        &[
            "clock",
            "settings",
            "spill",
            "schema",
            "recording",
            "mask",
            "kafka",
            "capture",
            "plan",
            "outcome",
            "drive",
            "compare",
            "report",
            "samples",
            "worktree",
            "scenario",
        ],
    ),
    ("main", &["cli"]),
];

/// A line of a source file that is code: no comment, no test.
struct Line {
    path: String,
    number: usize,
    text: String,
}

impl Line {
    fn room(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split(['/', '.']).next().unwrap_or(inside)
    }

    fn place(&self) -> String {
        format!("{}:{}: {}", self.path, self.number, self.text.trim())
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Every line of code below `src/`, without comments and without the tests at a file's end.
fn code() -> Vec<Line> {
    let mut paths = Vec::new();
    files(&root().join("src"), ".rs", &mut paths);
    assert!(paths.len() > 20, "the sources were not found");
    let mut lines = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        // A file of tests (`mod tests;`) is a test as a whole.
        if shown.ends_with("/tests.rs") || shown.contains("/tests/") {
            continue;
        }
        let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        for (number, line) in body.lines().enumerate() {
            let line = line.split("//").next().unwrap_or(line);
            lines.push(Line { path: shown.clone(), number: number + 1, text: line.to_owned() });
        }
    }
    lines
}

/// Names of the rooms that a line of code reaches through `crate::`.
fn reached(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        // `use crate::{compare, plan::Plan}` reaches two.
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                rooms.insert(name);
            }
        }
    }
    rooms
}

#[test]
fn the_flow_is_one_way() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in code().iter().filter(|line| line.room() != "lib") {
        let Some((_, allowed)) = MAY_USE.iter().find(|(room, _)| *room == line.room()) else {
            wrong.push(format!("{}: no row in the table", line.place()));
            continue;
        };
        for other in reached(&line.text) {
            let is_room = MAY_USE.iter().any(|(room, _)| *room == other);
            seen += usize::from(is_room);
            if is_room && other != line.room() && !allowed.contains(&other.as_str()) {
                wrong.push(line.place());
            }
        }
    }
    assert!(seen > 20, "the table was held against nothing: {seen} uses seen");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that `words` stand in no code outside of `homes`, and that they do stand in them.
fn only_in(homes: &[&str], words: &[&str]) {
    let (mut wrong, mut at_home) = (Vec::new(), 0);
    for line in code() {
        if words.iter().any(|word| holds(&line.text, word)) {
            if homes.iter().any(|home| line.path.starts_with(home)) {
                at_home += 1;
            } else {
                wrong.push(line.place());
            }
        }
    }
    assert!(homes.is_empty() || at_home > 0, "nothing of {words:?} stands in {homes:?}");
    assert!(wrong.is_empty(), "only {homes:?} may hold {words:?}:\n{}", wrong.join("\n"));
}

/// Whether `word` stands in `text` and is not the end of a longer name (`println!` in `eprintln!`).
fn holds(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn only_the_printer_prints() {
    // The samples are programs of their own, carried by this one: what they write is their output, not ours.
    only_in(
        &["src/cli/printer.rs"],
        &[
            "println!",
            "print!",
            "eprintln!",
            "eprint!",
            "dbg!",
            "io::stdout()",
            "io::stderr()",
            "stderr()",
            "MultiProgress",
        ],
    );
}

#[test]
fn only_the_clock_reads_time() {
    only_in(&["src/clock.rs"], &["Instant::now", "SystemTime::now", "Utc::now", "Local::now", "thread::sleep"]);
}

#[test]
fn only_the_seed_draws_random_numbers() {
    only_in(&["src/plan/seed.rs"], &["rand::"]);
    // What the system draws cannot be drawn again.
    only_in(&[], &["getrandom", "RandomState", "fastrand", "make_rng", "SysRng", "ThreadRng"]);
    only_in(&["src/plan/"], &["DrawKey::new"]);
}

#[test]
fn nothing_is_left_to_be_built_or_silenced_without_a_reason() {
    only_in(&[], &["todo!", "unimplemented!", "#[allow(", "#![allow("]);
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches", "scenarios"] {
        files(&root().join(folder), ".rs", &mut paths);
    }
    // Built from two halves, so that this file does not hold what it looks for.
    let (skipped, panicking) = (concat!("#[igno", "re"), concat!("#[should_", "panic"));
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(skipped), "{} skips a test", path.display());
        assert!(!text.contains(panicking), "{} calls a panic a success", path.display());
    }
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = ["util", "utils", "common", "types", "helpers", "helper", "imp", "misc", "errors", "config"];
    for line in code().iter().filter(|line| line.number == 1) {
        let stem = Path::new(&line.path).file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!drawers.contains(&stem.as_str()), "{} is a drawer: name the idea", line.path);
        assert!(!line.path.split('/').any(|part| drawers.contains(&part)), "{} lies in a drawer", line.path);
    }
}

#[test]
fn each_known_bad_recording_has_a_test() {
    let mut tests = String::new();
    let mut paths = Vec::new();
    files(&root().join("tests"), ".rs", &mut paths);
    for path in paths {
        tests.push_str(&fs::read_to_string(path).unwrap());
    }
    let Ok(entries) = fs::read_dir(root().join("recordings/bad")) else {
        panic!("recordings/bad is missing");
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    for name in names.iter().filter(|name| !name.starts_with("README")) {
        assert!(
            tests.contains(&format!("\"{name}\"")) || tests.contains(&format!("bad/{name}")),
            "no test names {name}"
        );
    }
}

#[test]
fn every_command_of_the_readme_exists_and_every_command_stands_in_it() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let program = rehearsal::cli::command();
    let known: BTreeSet<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
    let mut named = BTreeSet::new();
    for at in readme.match_indices("rehearsal ").map(|(at, _)| at) {
        // Only where it is typed: behind a backtick, a prompt or the start of a line.
        let before = readme[..at].chars().last().unwrap_or('\n');
        if !['`', '\n', '$'].contains(&before) && !readme[..at].ends_with("$ ") && !readme[..at].ends_with("| ") {
            continue;
        }
        let word: String =
            readme[at + "rehearsal ".len()..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        if !word.is_empty() && !word.starts_with('-') {
            assert!(known.contains(word.as_str()), "the README names `rehearsal {word}`, which does not exist");
            named.insert(word);
        }
    }
    for command in known {
        assert!(named.contains(command), "the README does not name `rehearsal {command}`");
    }
}
