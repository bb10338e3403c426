//! A tree of TOML to settings: every problem of a file at once, each with what to write instead.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{Error, ValueDeserializer};

use super::source::{Problem, Source};
use super::tree::Tree;

/// Sections that the design names and this version does not read: refused by name, never ignored.
const LATER: [&str; 3] = ["rollout", "minimise", "window"];

/// Reads settings from `tree`, section by section, so that a problem in one hides none in another.
///
/// # Errors
///
/// Every problem found, in the order of the file.
pub(super) fn deserialise<T: DeserializeOwned>(source: &Source, tree: &Tree) -> Result<T, Vec<Problem>> {
    let mut faults: Vec<(Range<usize>, String)> = Vec::new();
    for (key, _) in tree.root() {
        faults.extend(section_faults::<T>(tree.only(key.get_ref())));
    }
    // Read as a whole only when its parts are sound: what is missing at the top shows only then.
    if faults.is_empty() {
        match T::deserialize(ValueDeserializer::from(tree.to_value())) {
            Ok(settings) => return Ok(settings),
            Err(error) => faults.push((error.span().unwrap_or(0..0), error.message().to_owned())),
        }
    }
    faults.sort_by_key(|(span, _)| (span.start, span.end));
    Err(faults.into_iter().map(|(span, message)| in_words(source, span, &message)).collect())
}

/// Finds what is wrong in a tree of one section: takes out what is wrong and reads again, until nothing is.
fn section_faults<T: DeserializeOwned>(mut section: Tree) -> Vec<(Range<usize>, String)> {
    let mut faults = Vec::new();
    let whole = section.to_value().span();
    while let Err(error) = T::deserialize(ValueDeserializer::from(section.to_value())) {
        let error: Error = error;
        let span = error.span().unwrap_or_else(|| whole.clone());
        let missing = error.message().starts_with("missing field");
        // What is missing because it was taken out just now, or stands in another section, is no fault of this one.
        if missing && (span == whole || !faults.is_empty()) {
            break;
        }
        let removed = !missing && section.remove(&span);
        faults.push((span, error.message().to_owned()));
        if !removed {
            break;
        }
    }
    faults
}

/// Says in the scenario's words what serde says in its own.
fn in_words(source: &Source, span: Range<usize>, message: &str) -> Problem {
    let (problem, instead) = if let Some(rest) = message.strip_prefix("unknown field ") {
        unknown_key(rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        let names = quoted(rest);
        let (name, known) = names.split_first().map_or(("", &[][..]), |(name, known)| (*name, known));
        (format!("unknown choice `{name}`"), suggestion(name, known, "Write one of"))
    } else if message.starts_with("missing field ") {
        let name = quoted(message).first().copied().unwrap_or_default().to_owned();
        (format!("the key `{name}` is missing"), format!("Add `{}`.", example(&name)))
    } else if let Some((found, expected)) = wrong_type(message) {
        match found.strip_suffix(" as i128").or(found.strip_suffix(" as u128")) {
            Some(found) => (format!("{found} is too large"), "Write a smaller number.".to_owned()),
            None => (format!("{found} where {} is expected", type_in_words(expected)), how_to_write(expected)),
        }
    } else if message.starts_with("wanted exactly 1 element") {
        ("a table where one of several words is expected".to_owned(), "Write the word in quotes.".to_owned())
    } else if let Some((problem, instead)) = message.split_once("; ") {
        (problem.to_owned(), sentence(instead))
    } else {
        (message.trim_end().to_owned(), String::new())
    };
    source.problem(span, &problem, &instead)
}

fn unknown_key(rest: &str) -> (String, String) {
    let names = quoted(rest);
    let Some((name, known)) = names.split_first() else { return (format!("unknown key {rest}"), String::new()) };
    if LATER.contains(name) && known.contains(&"recording") {
        let instead = "Take it out: it would have no effect.".to_owned();
        return (format!("the section `[{name}]` is not available in this version"), instead);
    }
    (format!("unknown key `{name}`"), suggestion(name, known, "Known here:"))
}

/// Suggests the nearest of `known`, else names them all behind `lead`.
fn suggestion(name: &str, known: &[&str], lead: &str) -> String {
    let near = |known: &&&str| strsim::damerau_levenshtein(&name.replace('_', "-"), known);
    match known.iter().min_by_key(near).filter(|best| near(best) <= 1 + name.len() / 4) {
        Some(best) => format!("Did you mean `{best}`?"),
        None if known.is_empty() => "Nothing can be set here.".into(),
        None => format!("{lead} {}.", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Takes apart `invalid type: integer `5`, expected a string`.
fn wrong_type(message: &str) -> Option<(&str, &str)> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    rest.rsplit_once(", expected ")
}

/// Names a type as people do.
fn type_in_words(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "f64" | "f32" => "a number",
        "u64" | "u32" | "usize" | "u16" | "i64" | "i32" => "a whole number",
        _ if expected.starts_with("struct ") || expected == "a map" => "a table",
        _ => expected,
    }
}

fn how_to_write(expected: &str) -> String {
    match expected {
        "a string" => "Write text in quotes, such as `\"flights\"`.".into(),
        "a sequence" => "Write a list, such as `[\"a\", \"b\"]`.".into(),
        "a boolean" => "Write `true` or `false`, without quotes.".into(),
        "f64" | "f32" => "Write a number, such as `0.02`, without quotes.".into(),
        "u64" | "u32" | "usize" | "u16" => "Write a whole number that is not negative, without quotes.".into(),
        "i64" | "i32" => "Write a whole number, without quotes.".into(),
        _ if expected.starts_with("struct ") || expected == "a map" => {
            "Write a table: a header such as `[old]` with keys below it, or `{ key = \"value\" }`.".into()
        }
        _ => format!("Write {expected}."),
    }
}

fn example(name: &str) -> String {
    match name {
        "recording" => "recording = \"recordings/flights\"".into(),
        "command" => "command = [\"./build\", \"argument\"]".into(),
        "old" | "new" => format!("{name}.command = [\"./build-{name}\"]"),
        "kind" => "kind = \"delay\"".into(),
        "method" => "method = \"token\"".into(),
        _ => format!("{name} = …"),
    }
}

/// Returns what stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn sentence(fragment: &str) -> String {
    let mut letters = fragment.trim().chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if fragment.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::*;
    use crate::settings::Span;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct All {
        recording: String,
        #[serde(default)]
        pace: Pace,
        old: Build,
        #[serde(default)]
        fault: Vec<Fault>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Pace {
        gap_max: Option<Span>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        #[default]
        Recorded,
        Unpaced,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Build {
        command: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fault {
        kind: String,
        probability: Option<f64>,
    }

    const SOUND: &str = "recording = 'r'\n[pace]\ngap-max = '2s'\n[old]\ncommand = ['a']\n[[fault]]\nkind = 'delay'\n";

    fn read(file: &str, overrides: &[&str]) -> Result<All, String> {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let source = Source::new(Path::new("a.toml"), file.to_owned(), &|_| None).unwrap().with_overrides(&overrides);
        Tree::parse(&source)
            .and_then(|tree| deserialise(&source, &tree))
            .map_err(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn check(file: &str, expected: &[&str]) {
        let text = read(file, &[]).unwrap_err();
        for expected in expected {
            assert!(text.contains(expected), "{file}\n--- lacks {expected}\n{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_to_write_instead() {
        check(
            "recording = 'r'\n[pace]\ngap-maxx = '2s'\n[old]\ncommand = []",
            &["a.toml:3:1", "`gap-max`?", "^^^^^^^^"],
        );
        check("recording = 'r'\n[pace]\ngap_max = '2s'\n[old]\ncommand = []", &["unknown key `gap_max`", "`gap-max`?"]);
        check(
            "recording = 'r'\n[pace]\ngap-max = 2\n[old]\ncommand = []",
            &["a.toml:3:11", "no unit", "Write `\"2s\"`"],
        );
        check("recording = 5\n[old]\ncommand = []", &["a.toml:1:13", "integer `5`", "Write text in quotes"]);
        check("recording = 'r'\n[old]\ncommand = 'a'", &["a.toml:3:11", "Write a list"]);
        check("recording = 'r'\n[pace]\nmode = 'unpacde'\n[old]\ncommand = []", &["a.toml:3:8", "`unpaced`?"]);
        check(
            "recording = 'r'\n[rollout.x]\na=1\n[old]\ncommand = []",
            &["a.toml:2:2", "`[rollout]` is not available"],
        );
        check("recording = 'r'\n[old]\n", &["a.toml:2:1", "`command` is missing", "Add `command = ["]);
        check("[old]\ncommand = []", &["a.toml:1:1", "`recording` is missing"]);
        check("recording = 'r'\n[old]\ncommand = [\n", &["a.toml:3:1"]);
        check("recording = 'r'\nrecording = 's'\n", &["a.toml:2:1", "duplicate key"]);
    }

    #[test]
    fn all_problems_of_a_file_are_said_at_once_in_its_order() {
        let text =
            read("recording = 1\n[pace]\ngap-maxx = 1\ngap-max = 2\n[old]\ncomand = []\n[[fault]]\nknd = 'a'\n", &[]);
        let text = text.unwrap_err();
        let at: Vec<usize> = ["a.toml:1:", "a.toml:3:", "a.toml:4:", "a.toml:6:", "a.toml:8:"]
            .iter()
            .map(|place| text.find(place).unwrap_or_else(|| panic!("{place} in {text}")))
            .collect();
        assert!(at.is_sorted(), "{text}");
    }

    #[test]
    fn overrides_are_read_as_toml_else_as_text() {
        let all = read(
            SOUND,
            &["pace.gap-max=5s", "pace.mode=unpaced", "fault[0].probability=0.5", "old.command=['b', 'c']"],
        );
        let all = all.unwrap();
        assert_eq!(all.pace.gap_max.map(Span::us), Some(5_000_000));
        assert_eq!(all.pace.mode, Mode::Unpaced);
        assert_eq!(all.fault[0].probability, Some(0.5));
        assert_eq!(all.fault[0].kind, "delay");
        assert_eq!(all.old.command, ["b", "c"]);
        assert_eq!(all.recording, "r");
    }

    #[test]
    fn what_is_wrong_with_an_override_names_it() {
        for (over, expected) in [
            ("pace.gap-maxx=5s", "Did you mean `gap-max`?"),
            ("pace.gap-max=5", "has no unit"),
            ("pace", "without key or value"),
            ("=3", "without key or value"),
            ("fault[7].kind=drop", "no element `7` in a list of 1"),
            ("pace.list[2].kind=drop", "no element `2` in `list`, which is not there"),
            ("pace.mode={}", "a table where one of several words is expected"),
        ] {
            let text = read(SOUND, &["recording=x", over]).unwrap_err();
            assert!(text.contains(expected) && text.contains(&format!("--set {over}")), "{over}: {text}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_path() {
        let source = Source::new(Path::new("a.toml"), SOUND.to_owned(), &|_| None).unwrap();
        let tree = Tree::parse(&source).unwrap();
        for (key, text) in [
            ("fault[0].kind", "'delay'"),
            ("pace.gap-max", "'2s'"),
            ("old.command", "command"),
            ("pace.order", "pace"),
            ("old.command[0]", "'a'"),
        ] {
            assert_eq!(&SOUND[tree.span(key)], text, "{key}");
        }
    }
}
