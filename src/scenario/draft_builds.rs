//! The builds of a first scenario: where its folder lies in a git repository, two commits of what is there, by what can be seen of how it
//! is built.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::worktree::Repository;

/// Branches that are what is in production, more likely than not; the first that there is.
const BRANCHES: [&str; 4] = ["main", "master", "trunk", "origin/HEAD"];

/// Where nothing can be seen.
const UNKNOWN: &str = "# The two versions: any program that reads events as lines of JSON and writes lines of JSON.\n\
    [old]\ncommand = [\"./old-build\"]\n\n[new]\ncommand = [\"./new-build\"]\n";

/// How something is built, and what is started then.
#[derive(Debug, PartialEq, Eq)]
struct Recipe {
    /// The file that tells.
    by: &'static str,
    build: Vec<Vec<String>>,
    command: Vec<String>,
}

/// Writes `[old]` and `[new]` of a scenario in `folder`.
pub(super) fn builds(folder: &Path) -> String {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(Some(repository)) = Repository::around(folder) else { return UNKNOWN.to_owned() };
    let known = |branch: &&str| repository.commit(branch).is_ok_and(|commit| commit.is_some());
    // A repository without a commit has no version to go by.
    let Some(revision) = BRANCHES.into_iter().chain(["HEAD"]).find(known) else { return UNKNOWN.to_owned() };
    let found = recipe_around(folder, repository.top());
    let mut text = format!(
        "# The two versions: {revision}, checked out to a tree of its own and built once for each commit, and this folder as it is. Both read\n\
         # events as lines of JSON and write lines of JSON.\n"
    );
    if let Some((recipe, directory)) = &found {
        let at = if directory.is_empty() { String::new() } else { format!(" in {directory}") };
        let _ =
            writeln!(text, "# Built as {}{at} says, as far as one can see; hold it against how yours is.", recipe.by);
    }
    for (role, git) in [("old", Some(revision)), ("new", None)] {
        let _ = writeln!(text, "[{role}]");
        if let Some(revision) = git {
            let _ = writeln!(text, "git = {}", Json::from(revision));
        }
        match &found {
            Some((recipe, directory)) => {
                if !directory.is_empty() {
                    let _ = writeln!(text, "directory = {}", Json::from(directory.as_str()));
                }
                let build = recipe.build.iter().map(|words| list(words)).collect::<Vec<_>>().join(", ");
                let _ = writeln!(text, "build = [{build}]\ncommand = {}\n", list(&recipe.command));
            }
            None => {
                let _ = writeln!(text, "# build = [[\"make\"]]\ncommand = [\"./{role}-build\"]\n");
            }
        }
    }
    // What follows belongs to `[new]`.
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Looks from `folder` upwards to `top` for what tells how things are built; returns it with where it stands, seen from `folder`.
fn recipe_around(folder: &Path, top: &Path) -> Option<(Recipe, String)> {
    let mut place = folder.canonicalize().ok()?;
    let mut up = PathBuf::new();
    loop {
        if let Some(recipe) = recipe_in(&place) {
            return Some((recipe, up.display().to_string()));
        }
        if place == top || !place.pop() {
            return None;
        }
        up.push("..");
    }
}

fn recipe_in(folder: &Path) -> Option<Recipe> {
    let there = |name: &str| folder.join(name).is_file();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let recipe = |by, build: &[&str], command: &str| {
        Some(Recipe { by, build: build.iter().map(|text| words(text)).collect(), command: words(command) })
    };
    if there("Cargo.toml") {
        // A workspace has no program of its own.
        let program = package(folder).unwrap_or_else(|| "consumer".to_owned());
        return recipe("Cargo.toml", &["cargo build --release"], &format!("./target/release/{program}"));
    }
    if there("go.mod") {
        return recipe("go.mod", &["go build -o consumer ."], "./consumer");
    }
    if there("pom.xml") {
        return recipe("pom.xml", &["mvn -q -DskipTests package"], "java -jar target/consumer.jar");
    }
    if there("gradlew") {
        return recipe("gradlew", &["./gradlew -q assemble"], "java -jar build/libs/consumer.jar");
    }
    if there("package.json") {
        return recipe("package.json", &["npm ci"], "node index.js");
    }
    let program = ["consumer.py", "main.py", "app.py"].into_iter().find(|name| there(name)).unwrap_or("main.py");
    let venv = "python3 -m venv .venv";
    for (by, install) in [
        ("requirements.txt", ".venv/bin/pip install -q -r requirements.txt"),
        ("pyproject.toml", ".venv/bin/pip install -q ."),
    ] {
        if there(by) {
            return recipe(by, &[venv, install], &format!(".venv/bin/python {program}"));
        }
    }
    None
}

/// Name of the package that `Cargo.toml` in `folder` describes.
fn package(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = toml::from_str(&text).ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Json::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for words in ["init -q -b main", "add -A", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m first"]
        {
            let done = Command::new("git").arg("-C").arg(folder.path()).args(words.split(' ')).status().unwrap();
            assert!(done.success(), "{words}");
        }
        folder
    }

    #[test]
    fn what_can_be_seen_of_how_it_is_built_is_suggested_for_both_commits() {
        for (files, build, command) in [
            (
                &[("Cargo.toml", "[package]\nname = \"pay\"")][..],
                r#"[["cargo", "build", "--release"]]"#,
                r#"["./target/release/pay"]"#,
            ),
            (&[("go.mod", "")], r#"[["go", "build", "-o", "consumer", "."]]"#, r#"["./consumer"]"#),
            (
                &[("requirements.txt", ""), ("consumer.py", "")],
                r#"[["python3", "-m", "venv", ".venv"], [".venv/bin/pip", "install", "-q", "-r", "requirements.txt"]]"#,
                r#"[".venv/bin/python", "consumer.py"]"#,
            ),
        ] {
            let folder = repository(files);
            let text = builds(folder.path());
            assert!(text.contains("[old]\ngit = \"main\"\n"), "{text}");
            let read: toml::Table = toml::from_str(&text).unwrap();
            assert_eq!(text.matches(&format!("build = {build}\ncommand = {command}\n")).count(), 2, "{text}");
            assert!(read["new"].get("git").is_none() && read["old"].get("directory").is_none(), "{text}");
        }
    }

    #[test]
    fn a_scenario_below_what_is_built_runs_it_where_it_stands() {
        let folder = repository(&[("pom.xml", ""), ("rehearsals/notes", "")]);
        let text = builds(&folder.path().join("rehearsals"));
        assert_eq!(text.matches("directory = \"..\"\n").count(), 2, "{text}");
        assert!(text.contains("# Built as pom.xml in .. says"), "{text}");
    }

    #[test]
    fn nothing_is_suggested_that_cannot_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(builds(folder.path()), UNKNOWN);
        let text = builds(repository(&[]).path());
        assert!(text.contains("git = \"main\"\n# build = [[\"make\"]]\ncommand = [\"./old-build\"]"), "{text}");
    }
}
