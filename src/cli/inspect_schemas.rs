//! `rehearsal inspect --schemas`: the schemas that a recording keeps, and how they follow on each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::exit::{Code, Failure};
use super::inspect::counted;
use super::printer::Printer;
use crate::recording::Recording;
use crate::schema::{Compatibility, Direction, Level, SchemaText, Schemas, SubjectVersion, compatibility};

/// What a recording knows of schemas.
#[derive(Serialize)]
struct Listing {
    recording: String,
    schemas: Vec<Listed>,
    successions: Vec<Succession>,
}

/// One schema.
#[derive(Serialize)]
struct Listed {
    id: i32,
    /// Type; null where the schema is not kept.
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    subjects: Vec<SubjectVersion>,
    /// Topics whose keys or values it frames, as `orders (value)`.
    frames: Vec<String>,
    /// Why it cannot be used; null where it can.
    problem: Option<String>,
}

/// Two schemas of one subject that follow on each other.
#[derive(Serialize)]
struct Succession {
    /// Subject; where the registry named none, the topic with what of it is framed, as `orders (value)`.
    subject: String,
    old: Step,
    new: Step,
    #[serde(flatten)]
    compatibility: Option<Compatibility>,
    /// Why it cannot be told; null where it can.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Step {
    id: i32,
    /// Version of the subject; null where the registry named none.
    version: Option<i32>,
}

pub(super) fn list(recording: &Recording, name: &str, json: bool, printer: &Printer) -> Result<Code, Failure> {
    let schemas = recording.schemas()?;
    let listing = listing(recording, name, &schemas);
    let text = if json { format!("{:#}", serde_json::json!(listing)) } else { in_words(&listing) };
    printer.result(&text)?;
    Ok(Code::Agree)
}

fn listing(recording: &Recording, name: &str, schemas: &Schemas) -> Listing {
    let mut frames: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for seen in &recording.manifest().schemas {
        frames.entry(seen.id).or_default().push(format!("{} ({})", seen.topic, seen.part));
    }
    let texts: BTreeMap<i32, &SchemaText> = schemas.texts().map(|text| (text.id, text)).collect();
    let ids: BTreeSet<i32> = texts.keys().chain(frames.keys()).copied().collect();
    let listed = ids.iter().map(|id| {
        let text = texts.get(id);
        Listed {
            id: *id,
            kind: text.map(|text| text.kind.name()),
            subjects: text.map_or_else(Vec::new, |text| text.subjects.clone()),
            frames: frames.get(id).cloned().unwrap_or_default(),
            problem: schemas.problem(*id).map(ToString::to_string),
        }
    });
    Listing { recording: name.to_owned(), schemas: listed.collect(), successions: successions(&texts, &frames) }
}

/// Pairs the schemas of each subject in order of version, and those without a subject by what they frame, in order of id.
fn successions(texts: &BTreeMap<i32, &SchemaText>, frames: &BTreeMap<i32, Vec<String>>) -> Vec<Succession> {
    let mut lines: BTreeMap<String, BTreeSet<(Option<i32>, i32)>> = BTreeMap::new();
    for (id, text) in texts {
        for SubjectVersion { subject, version } in &text.subjects {
            lines.entry(subject.clone()).or_default().insert((Some(*version), *id));
        }
        if text.subjects.is_empty() {
            for place in frames.get(id).into_iter().flatten() {
                lines.entry(place.clone()).or_default().insert((None, *id));
            }
        }
    }
    let mut found = Vec::new();
    for (subject, line) in lines {
        let line: Vec<(Option<i32>, i32)> = line.into_iter().collect();
        for pair in line.windows(2) {
            let step = |(version, id): (Option<i32>, i32)| Step { id, version };
            let (compatibility, problem) = match compatibility(texts[&pair[0].1], texts[&pair[1].1]) {
                Ok(compatibility) => (Some(compatibility), None),
                Err(problem) => (None, Some(problem)),
            };
            let (old, new) = (step(pair[0]), step(pair[1]));
            found.push(Succession { subject: subject.clone(), old, new, compatibility, problem });
        }
    }
    found
}

fn in_words(listing: &Listing) -> String {
    let mut text = format!("{}: {}\n", listing.recording, counted(listing.schemas.len() as u64, "schema"));
    for schema in &listing.schemas {
        let _ = write!(text, "\n{:>6}  {}", schema.id, schema.kind.unwrap_or("not kept"));
        let subjects: Vec<String> = schema.subjects.iter().map(|s| format!("{} v{}", s.subject, s.version)).collect();
        for (word, list) in [("as", subjects), ("in", schema.frames.clone())] {
            if !list.is_empty() {
                let _ = write!(text, ", {word} {}", list.join(", "));
            }
        }
        if let Some(problem) = &schema.problem {
            let _ = write!(text, "\n        what it frames stays bytes: {problem}");
        }
    }
    text.push('\n');
    for Succession { subject, old, new, compatibility, problem } in &listing.successions {
        let step = |step: &Step| match step.version {
            Some(version) => format!("v{version} (id {})", step.id),
            None => format!("id {}", step.id),
        };
        let level = match compatibility.as_ref().map(|found| found.level) {
            Some(Level::Full) => "fully compatible",
            Some(Level::Backward) => "backward compatible: new reads old",
            Some(Level::Forward) => "forward compatible: old reads new",
            Some(Level::None) => "not compatible",
            None => "cannot be told",
        };
        let _ = writeln!(text, "\n{subject}: {} to {}: {level}", step(old), step(new));
        for broken in compatibility.iter().flat_map(|found| &found.breaks) {
            let who = match broken.direction {
                Direction::Backward => "new cannot read old",
                Direction::Forward => "old cannot read new",
            };
            let _ = writeln!(text, "  {who} at {}: {} ({})", broken.path, broken.rule.0, broken.what);
        }
        if let Some(problem) = problem {
            let _ = writeln!(text, "  {problem}");
        }
    }
    text
}
