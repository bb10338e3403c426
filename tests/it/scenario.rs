//! The scenario file: what it may say, what it stands for, and the run it becomes.

use std::fs;
use std::path::{Path, PathBuf};

use rehearsal::scenario::{Scenario, ScenarioError, scenarios_in, schema};
use serde_json::Value as Json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

const SHORT: &str = "recording = 'r'\n[old]\ncommand = ['a']\n[new]\ncommand = ['b']\n";

#[test]
fn three_keys_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::read(written(folder.path(), "short.toml", SHORT), &[]).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.question.as_deref(), scenario.settings.seed), ("short", None, 0));
    assert_eq!(scenario.recording().unwrap(), folder.path().join("r").into());
}

#[test]
fn a_scenario_is_named_after_its_file_or_its_folder_and_asks_its_first_comment() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("payouts")).unwrap();
    let text = format!("\n#  Does it pay twice?\n# More.\n{SHORT}");
    for (file, name) in [("payouts/scenario.toml", "payouts"), ("payouts/nightly.toml", "nightly")] {
        let scenario = Scenario::read(written(folder.path(), file, &text), &[]).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.question.as_deref()), (name, Some("Does it pay twice?")));
    }
}

#[test]
fn each_required_key_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (text, key) in [
        (SHORT.replace("recording = 'r'\n", ""), "`recording`"),
        (SHORT.replace("[old]\ncommand = ['a']\n", ""), "`old`"),
        (SHORT.replace("[new]\ncommand = ['b']\n", "[new]\n"), "`command`"),
    ] {
        let error = Scenario::read(written(folder.path(), "a.toml", &text), &[]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("is missing") && error.contains("a.toml:"), "{error}");
    }
}

#[test]
fn rules_may_stand_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "rules.toml", "[compare]\nignore = ['$.at']\n[gates]\nmissing = 3\n");
    assert!(Scenario::read(&path, &[]).is_err());
    let rules = Scenario::read_rules(&path, &[]).unwrap();
    assert_eq!(rules.settings.compare.ignore, ["$.at"]);
    let full = written(folder.path(), "full.toml", &format!("{SHORT}[compare]\nignore = ['$.at']\n"));
    assert_eq!(Scenario::read_rules(&full, &[]).unwrap().settings.old.command, ["a"]);
}

#[test]
fn a_folder_stands_for_its_scenarios_in_order_of_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("b")).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for name in ["c.toml", "a.toml", "b/scenario.toml", "b/other.toml", "notes.md"] {
        written(folder.path(), name, SHORT);
    }
    let found = scenarios_in(&[folder.path().to_owned()]).unwrap();
    let names: Vec<_> = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
    assert_eq!(names, [Path::new("a.toml"), Path::new("b/scenario.toml"), Path::new("c.toml")]);
    let error = scenarios_in(&[folder.path().join("empty")]).unwrap_err();
    assert!(matches!(error, ScenarioError::NoScenario { .. }));
}

/// Says where `value` breaks `schema`, of which `root` is the whole.
fn breaks(value: &Json, schema: &Json, root: &Json, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target =
            root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        breaks(value, target, root, at, found);
    }
    if let Some(all) = schema["allOf"].as_array() {
        for one in all {
            breaks(value, one, root, at, found);
        }
    }
    for choice in ["anyOf", "oneOf"] {
        let Some(choices) = schema[choice].as_array() else { continue };
        let fits = |one: &Json| {
            let mut inside = Vec::new();
            breaks(value, one, root, at, &mut inside);
            inside.is_empty()
        };
        if !choices.iter().any(fits) {
            found.push(format!("{at} fits none of {choice}"));
        }
    }
    if !type_fits(value, &schema["type"]) {
        found.push(format!("{at} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        found.push(format!("{at} is none of {allowed:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        found.push(format!("{at} is not {}", schema["const"]));
    }
    if let (Some(items), Some(kind)) = (value.as_array(), schema.get("items")) {
        items.iter().enumerate().for_each(|(index, item)| breaks(item, kind, root, &format!("{at}[{index}]"), found));
    }
    let Some(members) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        if !members.contains_key(required) {
            found.push(format!("{at} lacks {required}"));
        }
    }
    for (name, member) in members {
        let inside = format!("{at}.{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (None, Some(Json::Bool(false))) => found.push(format!("{inside} is not known")),
            (Some(kind), _) | (None, Some(kind)) => breaks(member, kind, root, &inside, found),
            (None, None) => {}
        }
    }
}

fn type_fits(value: &Json, kind: &Json) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("a type called {other}"),
    };
    match kind {
        Json::String(name) => is(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).any(is),
        _ => true,
    }
}

fn broken(text: &str) -> Vec<String> {
    let value = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    let schema = serde_json::to_value(schema()).unwrap();
    let mut found = Vec::new();
    breaks(&value, &schema, &schema, "$", &mut found);
    found
}

#[test]
fn every_scenario_of_the_repository_is_read_and_fits_the_schema() {
    let paths = scenarios_in(&[root().join("scenarios")]).unwrap();
    assert!(paths.len() >= 3);
    for path in paths {
        let scenario = Scenario::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.question.is_some_and(|question| question.ends_with('?')), "{} asks nothing", path.display());
        let found = broken(&fs::read_to_string(&path).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    assert_eq!(broken(SHORT), [""; 0]);
    for text in [
        "recording = 'r'\n".to_owned(),
        format!("sed = 1\n{SHORT}"),
        format!("{SHORT}[pace]\nmode = 'fast'\n"),
        format!("{SHORT}[drive]\nsettle = 2\n"),
        format!("{SHORT}[compare]\nidentity = '$.a'\n"),
        format!("{SHORT}[[fault]]\nkind = 'delay'\nprobabilty = 0.5\n"),
    ] {
        assert!(!broken(&text).is_empty(), "{text}");
        let folder = tempfile::tempdir().unwrap();
        assert!(Scenario::read(written(folder.path(), "a.toml", &text), &[]).is_err(), "{text}");
    }
}

/// Every key of a schema, by its path.
fn keys(schema: &Json, root: &Json, at: &str, found: &mut Vec<String>, depth: usize) {
    if depth == 0 {
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        keys(root.pointer(reference.trim_start_matches('#')).unwrap(), root, at, found, depth - 1);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for one in schema[choice].as_array().into_iter().flatten() {
            keys(one, root, at, found, depth - 1);
        }
    }
    if let Some(items) = schema.get("items") {
        keys(items, root, at, found, depth - 1);
    }
    for (name, kind) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        let described = kind["description"].is_string()
            || kind["$ref"]
                .as_str()
                .is_some_and(|to| root.pointer(to.trim_start_matches('#')).unwrap()["description"].is_string());
        assert!(described, "{path} is not described");
        found.push(path.clone());
        keys(kind, root, &path, found, depth - 1);
    }
}

#[test]
fn the_schema_covers_and_describes_every_key() {
    let schema = serde_json::to_value(schema()).unwrap();
    let mut found = Vec::new();
    keys(&schema, &schema, "$", &mut found, 8);
    for key in [
        "$.recording",
        "$.seed",
        "$.select.warm-up",
        "$.pace.gap-max",
        "$.fault.probability",
        "$.fault.where.topics",
        "$.old.command",
        "$.new.env",
        "$.drive.repeat-old",
        "$.drive.drain-timeout",
        "$.compare.identity",
        "$.compare.tolerance.absolute",
        "$.relations.redelivery",
        "$.gates.repeated-effects",
        "$.warnings.missing",
    ] {
        assert!(found.iter().any(|path| path == key), "{key} is not in the schema: {found:?}");
    }
}
