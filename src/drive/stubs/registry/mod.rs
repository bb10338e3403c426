//! A schema registry of a drive's own: the recording's schemas, and above them what the drive registers.
//!
//! After Confluent's API, <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>: paths, answers and error codes
//! are those that its clients know. What never happens here: one drive sees what another registers; a recorded id means another schema.

mod level;
mod shelf;

pub use level::Level;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use serde_json::{Value, json};

use super::call::{Asked, Came};
use super::serve::Answer;
use crate::drive::KnownSchemas;
use crate::outcome::RegistryCount;
use crate::schema::{SchemaKind, SchemaText, Schemas};
use shelf::{Refusal, Sent, Shelf, Version};

/// Media type of answers.
const KIND: &str = "application/vnd.schemaregistry.v1+json";

/// Questions that nothing answers, which are told of one by one.
const MISSED_MAX: usize = 20;

/// Subjects that may have a level of their own.
const LEVELS_MAX: usize = 10_000;

/// What every drive's registry begins with.
#[derive(Debug, Clone, Default)]
pub(in crate::drive) struct Recorded {
    shelf: Shelf,
    level: Level,
}

impl Recorded {
    /// Takes the schemas of a recording; `seen` says which topic's `key` or `value` each describes.
    pub(in crate::drive) fn new<'a>(
        schemas: &Schemas,
        seen: impl Iterator<Item = (&'a str, &'a str, i32)>,
        level: Level,
    ) -> Self {
        Self { shelf: Shelf::new(schemas, seen), level }
    }
}

/// The registry of one drive.
#[derive(Debug)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug)]
struct State {
    shelf: Shelf,
    known: KnownSchemas,
    level: Level,
    levels: BTreeMap<String, Level>,
    requests: u64,
    missed: BTreeMap<String, u64>,
    errors: BTreeMap<u16, u64>,
}

type Answered = Result<Value, Fault>;

/// Why it is not answered with 200.
#[derive(Debug)]
enum Fault {
    Refused(Refusal),
    /// Status, code and what is said.
    Other(StatusCode, u32, String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn unprocessable(code: u32, said: impl Into<String>) -> Fault {
    Fault::Other(StatusCode::UNPROCESSABLE_ENTITY, code, said.into())
}

impl Registry {
    /// What is registered, `known` learns ahead of whoever registered it being answered.
    pub(super) fn new(recorded: &Recorded, known: KnownSchemas) -> Self {
        let Recorded { shelf, level } = recorded.clone();
        let (levels, missed, errors) = Default::default();
        Self(Mutex::new(State { shelf, known, level, levels, requests: 0, missed, errors }))
    }

    /// What this drive did with it.
    pub(super) fn count(&self) -> RegistryCount {
        let state = self.lock();
        RegistryCount {
            requests: state.requests,
            registered: state.shelf.registered().to_vec(),
            schemas: state.shelf.own().cloned().collect(),
            untold: state.shelf.untold(),
            missed: state.missed.clone(),
            errors: state.errors.clone(),
        }
    }

    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.lock();
        state.requests += 1;
        let answered = match asked.body {
            Came::Whole(_) => state.answer(asked),
            Came::TooLarge(_) => {
                let said = "the body is larger than `stubs.body-bytes-max`".to_owned();
                Err(Fault::Other(StatusCode::PAYLOAD_TOO_LARGE, 413, said))
            }
            Came::TooSlow => Err(Fault::Other(StatusCode::REQUEST_TIMEOUT, 408, "the body did not come".to_owned())),
        };
        match answered {
            Ok(answer) => Answer::new(StatusCode::OK, answer.to_string().into_bytes(), Some(KIND)),
            Err(fault) => {
                let (status, code, said) = in_words(fault);
                match status {
                    StatusCode::NOT_FOUND if asked.method == "GET" => state.miss(asked),
                    // Nothing of a subject is what who registers first finds; what cannot follow is told with its schema.
                    StatusCode::NOT_FOUND | StatusCode::CONFLICT => {}
                    _ => *state.errors.entry(status.as_u16()).or_default() += 1,
                }
                let said = json!({ "error_code": code, "message": said });
                Answer::new(status, said.to_string().into_bytes(), Some(KIND))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Status, code and message, as Confluent's registry has them.
fn in_words(fault: Fault) -> (StatusCode, u32, String) {
    let refusal = match fault {
        Fault::Other(status, code, said) => return (status, code, said),
        Fault::Refused(refusal) => refusal,
    };
    let (missing, wrong) = (StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY);
    match refusal {
        Refusal::NoSubject(subject) => (missing, 40_401, format!("Subject '{subject}' not found.")),
        Refusal::NoVersion(version) => (missing, 40_402, format!("Version {version} not found.")),
        Refusal::NoSchema => (missing, 40_403, "Schema not found".to_owned()),
        Refusal::NoId(id) => (missing, 40_403, format!("Schema {id} not found")),
        Refusal::InvalidSchema(problem) => (wrong, 42_201, format!("Invalid schema: {problem}")),
        Refusal::Incompatible(breaks) => {
            let said = "Schema being registered is incompatible with an earlier schema";
            (StatusCode::CONFLICT, 409, format!("{said}: {}", breaks.join("; ")))
        }
        Refusal::Full => (StatusCode::INTERNAL_SERVER_ERROR, 50_001, "a drive cannot register that much".to_owned()),
    }
}

impl State {
    fn miss(&mut self, asked: &Asked) {
        if self.missed.len() < MISSED_MAX || self.missed.contains_key(&asked.path) {
            *self.missed.entry(asked.path.clone()).or_default() += 1;
        }
    }

    fn answer(&mut self, asked: &Asked) -> Answered {
        let segments = asked.segments();
        let steps: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (asked.method.as_str(), &*steps) {
            ("GET", []) => Ok(json!({})),
            ("GET", ["contexts"]) => Ok(json!([":.:"])),
            ("GET", ["mode"]) | ("PUT", ["mode", ..]) => Ok(json!({ "mode": "READWRITE" })),
            ("GET", ["mode", _]) if is_set(asked, "defaultToGlobal") => Ok(json!({ "mode": "READWRITE" })),
            ("GET", ["mode", subject]) => {
                let said = format!("Subject '{subject}' does not have subject-level mode configured");
                Err(Fault::Other(StatusCode::NOT_FOUND, 40_409, said))
            }
            (_, ["config", rest @ ..]) if rest.len() <= 1 => self.config(asked, rest.first().copied()),
            ("GET", ["schemas", rest @ ..]) => self.schemas(asked, rest),
            ("GET", ["subjects"]) => {
                let prefix = asked.query_value("subjectPrefix").unwrap_or_default();
                Ok(self.shelf.subjects().filter(|subject| subject.starts_with(&prefix)).collect())
            }
            (method, ["subjects", subject, rest @ ..]) => self.subject(method, asked, subject, rest),
            ("POST", ["compatibility", "subjects", subject, "versions", rest @ ..]) if rest.len() <= 1 => {
                self.compatible(asked, subject, rest.first().copied())
            }
            _ => Err(unknown()),
        }
    }

    fn schemas(&self, asked: &Asked, rest: &[&str]) -> Answered {
        if let ["types"] = rest {
            return Ok(json!(["JSON", "PROTOBUF", "AVRO"]));
        }
        if rest.is_empty() {
            let prefix = asked.query_value("subjectPrefix").unwrap_or_default();
            let latest = is_set(asked, "latestOnly");
            let mut all = Vec::new();
            for subject in self.shelf.subjects().filter(|subject| subject.starts_with(&prefix)) {
                let versions = self.shelf.versions(subject)?;
                for version in &versions[if latest { versions.len() - 1 } else { 0 }..] {
                    all.push(self.version(subject, *version)?);
                }
            }
            return Ok(all.into());
        }
        let ["ids", id, rest @ ..] = rest else { return Err(unknown()) };
        let id: i32 = id.parse().map_err(|_| unknown())?;
        let text = self.shelf.text(id)?;
        match rest {
            [] => {
                let mut answer = about(text);
                if is_set(asked, "fetchMaxId") {
                    answer["maxId"] = self.shelf.last_id().into();
                }
                Ok(answer)
            }
            ["schema"] => Ok(raw(text)),
            ["subjects"] => Ok(self.shelf.places(id).into_iter().map(|(subject, _)| subject).collect()),
            ["versions"] => {
                let place = |(subject, version)| json!({ "subject": subject, "version": version });
                Ok(self.shelf.places(id).into_iter().map(place).collect())
            }
            _ => Err(unknown()),
        }
    }

    fn subject(&mut self, method: &str, asked: &Asked, subject: &str, rest: &[&str]) -> Answered {
        match (method, rest) {
            ("GET", ["versions"]) => Ok(self.shelf.versions(subject)?.iter().map(|version| version.number).collect()),
            ("GET", ["versions", version, rest @ ..]) => {
                let found = self.shelf.version(subject, number(version)?)?;
                match rest {
                    [] => {
                        // Whoever asks for the latest writes by the id that it is told.
                        self.known.learn(self.shelf.hand_out(found.id)?);
                        self.version(subject, found)
                    }
                    ["schema"] => Ok(raw(self.shelf.text(found.id)?)),
                    ["referencedby"] => Ok(json!([])),
                    _ => Err(unknown()),
                }
            }
            ("POST", []) => {
                let text = self.shelf.read(&sent(asked)?)?;
                let found = self.shelf.find(subject, &text)?;
                self.known.learn(self.shelf.hand_out(found.id)?);
                self.version(subject, found)
            }
            ("POST", ["versions"]) => {
                let text = self.shelf.read(&sent(asked)?)?;
                let level = self.level_of(subject);
                let found = self.shelf.register(subject, text, level)?;
                self.known.learn(self.shelf.hand_out(found.id)?);
                self.version(subject, found)
            }
            ("DELETE", []) => Ok(self.shelf.delete(subject, None)?.into()),
            ("DELETE", ["versions", version]) => {
                let number = self.shelf.version(subject, number(version)?)?.number;
                self.shelf.delete(subject, Some(number))?;
                Ok(number.into())
            }
            _ => Err(unknown()),
        }
    }

    fn compatible(&self, asked: &Asked, subject: &str, version: Option<&str>) -> Answered {
        let text = self.shelf.read(&sent(asked)?)?;
        let level = self.level_of(subject);
        let breaks = match version {
            None => self.shelf.breaks(subject, &text, level),
            Some(version) => {
                let found = self.shelf.version(subject, number(version)?)?;
                self.shelf.breaks_of(found, &text, level)
            }
        };
        let mut answer = json!({ "is_compatible": breaks.is_empty() });
        if is_set(asked, "verbose") {
            answer["messages"] = breaks.into();
        }
        Ok(answer)
    }

    fn config(&mut self, asked: &Asked, subject: Option<&str>) -> Answered {
        match (asked.method.as_str(), subject) {
            ("GET", None) => Ok(json!({ "compatibilityLevel": self.level })),
            ("GET", Some(subject)) => match self.levels.get(subject) {
                Some(level) => Ok(json!({ "compatibilityLevel": level })),
                None if is_set(asked, "defaultToGlobal") => Ok(json!({ "compatibilityLevel": self.level })),
                None => {
                    let said = format!("Subject '{subject}' does not have subject-level compatibility configured");
                    Err(Fault::Other(StatusCode::NOT_FOUND, 40_408, said))
                }
            },
            ("PUT", subject) => {
                let given: Value = serde_json::from_slice(asked.bytes()).map_err(|_| unreadable())?;
                let level: Level = serde_json::from_value(given["compatibility"].clone()).map_err(|_| {
                    let known =
                        "none, backward, forward, full and backward_transitive, forward_transitive, full_transitive";
                    unprocessable(42_203, format!("Invalid compatibility level. Valid values are {known}"))
                })?;
                match subject {
                    None => self.level = level,
                    Some(subject) if self.levels.len() < LEVELS_MAX || self.levels.contains_key(subject) => {
                        self.levels.insert(subject.to_owned(), level);
                    }
                    Some(_) => return Err(Refusal::Full.into()),
                }
                Ok(json!({ "compatibility": level }))
            }
            ("DELETE", Some(subject)) => {
                let level = self.levels.remove(subject).unwrap_or(self.level);
                Ok(json!({ "compatibilityLevel": level }))
            }
            _ => Err(unknown()),
        }
    }

    fn level_of(&self, subject: &str) -> Level {
        self.levels.get(subject).copied().unwrap_or(self.level)
    }

    fn version(&self, subject: &str, version: Version) -> Answered {
        let mut answer = about(self.shelf.text(version.id)?);
        answer["subject"] = subject.into();
        answer["version"] = version.number.into();
        answer["id"] = version.id.into();
        Ok(answer)
    }
}

/// What is said of a schema; Avro is what registries leave unsaid.
fn about(text: &SchemaText) -> Value {
    let mut answer = json!({ "schema": text.schema });
    match text.kind {
        SchemaKind::Avro => {}
        SchemaKind::Protobuf => answer["schemaType"] = "PROTOBUF".into(),
        SchemaKind::Json => answer["schemaType"] = "JSON".into(),
    }
    if !text.references.is_empty() {
        let reference = |one: &crate::schema::Reference| json!({ "name": one.name, "subject": one.subject, "version": one.version });
        answer["references"] = text.references.iter().map(reference).collect();
    }
    answer
}

/// Whether a question is asked with `name=true`.
fn is_set(asked: &Asked, name: &str) -> bool {
    asked.query_value(name).is_some_and(|value| value == "true")
}

/// The schema itself as an answer.
fn raw(text: &SchemaText) -> Value {
    serde_json::from_str(&text.schema).unwrap_or_else(|_| Value::from(text.schema.clone()))
}

fn sent(asked: &Asked) -> Result<Sent, Fault> {
    serde_json::from_slice(asked.bytes()).map_err(|_| unreadable())
}

fn unreadable() -> Fault {
    unprocessable(42_201, "Invalid schema: the body is no JSON object with `schema`")
}

fn unknown() -> Fault {
    Fault::Other(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found".to_owned())
}

/// A version as a step of a path; none is the latest.
fn number(text: &str) -> Result<Option<i32>, Fault> {
    match text.parse::<i32>() {
        _ if text == "latest" => Ok(None),
        Ok(-1) => Ok(None),
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => {
            let said = "Allowed values are between [1, 2^31-1] and the string \"latest\"";
            Err(unprocessable(42_202, format!("The specified version '{text}' is not a valid version id. {said}")))
        }
    }
}

#[cfg(test)]
mod tests;
