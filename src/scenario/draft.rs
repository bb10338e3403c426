//! A first scenario for a recording: what makes outputs comparable, guessed from a bounded sample, each guess with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use super::ScenarioError;
use super::draft_builds::builds;
use crate::recording::{Columns, Location, Recording};
use crate::schema::{SchemaKind, Schemas, recognise_message_pack};
use crate::settings::Moment;

/// Events looked at: enough to tell an identity from a coincidence, few enough to be read in a second.
const SAMPLE: u64 = 20_000;
/// Paths watched: values with more of them are maps in disguise.
const PATHS_MAX: usize = 256;
/// How deep values are looked into.
const DEPTH_MAX: usize = 4;

/// Writes a scenario for `recording`, which stands at `location` seen from the scenario's file; that will stand in `folder`.
///
/// # Errors
///
/// [`ScenarioError::Recording`] where the recording cannot be read.
pub fn draft(recording: &Recording, location: &Location, folder: &Path) -> Result<String, ScenarioError> {
    Ok(written(&sample(recording)?, location, &builds(folder)))
}

/// What a sample of events says.
#[derive(Debug, Default)]
struct Sample {
    events: u64,
    keyed: u64,
    keys: BTreeSet<u64>,
    read: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    topics: BTreeMap<String, u64>,
    paths: BTreeMap<String, Field>,
    /// What the values of each topic look like.
    forms: BTreeMap<String, Forms>,
    /// Hashes of all scalar values of each event, by path: what pairs of paths are judged by.
    rows: Vec<BTreeMap<String, u64>>,
}

/// Events of a topic by what their values look like.
#[derive(Debug, Default)]
struct Forms {
    values: u64,
    framed: BTreeMap<&'static str, u64>,
    message_pack: u64,
    json: u64,
    text: u64,
}

impl Forms {
    /// Counts a value and returns the JSON that it says, if it says any.
    fn read(&mut self, value: &[u8], schemas: &Schemas) -> Option<Json> {
        self.values += 1;
        if let Some(kind) = schemas.kind(value) {
            let form = match kind {
                SchemaKind::Avro => "avro",
                SchemaKind::Protobuf => "protobuf",
                SchemaKind::Json => "json",
            };
            *self.framed.entry(form).or_default() += 1;
            return schemas.decode_value(value).ok();
        }
        if let Some(said) = recognise_message_pack(value) {
            self.message_pack += 1;
            return serde_json::from_slice(&said).ok();
        }
        let said = serde_json::from_slice(value).ok();
        self.json += u64::from(said.is_some());
        self.text += u64::from(said.is_none() && std::str::from_utf8(value).is_ok());
        said
    }

    /// The form that all values have.
    fn all(&self) -> Option<&'static str> {
        let is_all = |count: u64| count > 0 && count == self.values;
        let framed = self.framed.iter().find(|(_, count)| is_all(**count)).map(|(form, _)| *form);
        let rest = [("message-pack", self.message_pack), ("json", self.json), ("text", self.text)];
        framed.or_else(|| rest.into_iter().find(|(_, count)| is_all(*count)).map(|(form, _)| form)).or_else(|| {
            let none = self.framed.is_empty() && rest.iter().all(|(_, count)| *count == 0);
            (none && self.values > 0).then_some("bytes")
        })
    }
}

/// What the values at one path look like.
#[derive(Debug, Default)]
struct Field {
    seen: u64,
    distinct: BTreeSet<u64>,
    text: u64,
    ids: u64,
    /// Times that lie within ten seconds of when the event was captured, but not at its own time.
    near_capture: u64,
    times: u64,
    rising: u64,
    last: Option<i64>,
}

/// What is looked at of one event.
struct Seen<'a> {
    topic: &'a str,
    timestamp_ms: Option<i64>,
    captured_at_us: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    schemas: &'a Schemas,
}

fn sample(recording: &Recording) -> Result<Sample, ScenarioError> {
    // A replay takes all events, so its length comes from the manifest and not from the sample.
    let span = recording.manifest().span;
    let schemas = recording.schemas()?;
    let mut sample = Sample {
        first_ms: span.map(|span| span.first_ms),
        last_ms: span.map(|span| span.last_ms),
        ..Sample::default()
    };
    for batch in recording.batches(Columns { key: true, value: true, headers: false }) {
        let batch = batch?;
        for row in 0..batch.len() {
            if sample.events == SAMPLE {
                return Ok(sample);
            }
            let event = batch.get(row);
            sample.add(&Seen {
                topic: event.topic,
                timestamp_ms: event.timestamp_ms,
                captured_at_us: event.captured_at_us,
                key: event.key,
                value: event.value,
                schemas: &schemas,
            });
        }
    }
    Ok(sample)
}

impl Sample {
    fn add(&mut self, event: &Seen<'_>) {
        self.events += 1;
        *self.topics.entry(event.topic.to_owned()).or_default() += 1;
        if let Some(key) = event.key {
            self.keyed += 1;
            self.keys.insert(xxh3_64(key));
        }
        let Some(value) = event.value else { return };
        let Some(value) = self.forms.entry(event.topic.to_owned()).or_default().read(value, event.schemas) else {
            return;
        };
        if value.is_object() {
            self.read += 1;
            let mut row = BTreeMap::new();
            self.look_into("$", &value, DEPTH_MAX, event, &mut row);
            self.rows.push(row);
        }
    }

    fn look_into(&mut self, path: &str, value: &Json, depth: usize, event: &Seen<'_>, row: &mut BTreeMap<String, u64>) {
        match value {
            Json::Object(fields) if depth > 0 => {
                for (name, value) in fields {
                    self.look_into(&format!("{path}{}", step(name)), value, depth - 1, event, row);
                }
            }
            Json::Array(_) | Json::Object(_) | Json::Null => {}
            scalar if self.paths.contains_key(path) || self.paths.len() < PATHS_MAX => {
                let hash = xxh3_64(scalar.to_string().as_bytes());
                row.insert(path.to_owned(), hash);
                self.paths.entry(path.to_owned()).or_default().add(scalar, hash, event);
            }
            _ => {}
        }
    }

    /// Paths whose value no two events share and that look like an id.
    fn identity(&self) -> Option<(Vec<String>, String)> {
        let whole = |field: &Field| field.seen == self.read;
        let unique = |field: &Field| whole(field) && field.distinct.len() as u64 == field.seen;
        let named = |path: &str| looks_like_an_id(path);
        if self.read < 20 {
            return None;
        }
        let mut single =
            self.paths.iter().filter(|(path, field)| unique(field) && (named(path) || field.ids == field.seen));
        if let Some((path, _)) = single.next() {
            return Some((vec![path.clone()], format!("{} events, and no two share a value", self.read)));
        }
        for (id, field) in
            self.paths.iter().filter(|(path, field)| whole(field) && named(path) && field.distinct.len() > 1)
        {
            for (kind, other) in self.paths.iter().filter(|(path, _)| *path != id) {
                let few = other.distinct.len() <= 64 && other.text == other.seen && whole(other);
                if few && field.distinct.len() * other.distinct.len() >= self.rows.len() && self.tell_apart(id, kind) {
                    let reason = format!("no two of {} events share both; neither alone tells them apart", self.read);
                    return Some((vec![id.clone(), kind.clone()], reason));
                }
            }
        }
        None
    }

    fn tell_apart(&self, one: &str, other: &str) -> bool {
        let pairs: BTreeSet<_> = self.rows.iter().map(|row| (row.get(one), row.get(other))).collect();
        pairs.len() == self.rows.len()
    }

    fn order(&self) -> (&'static str, String) {
        if self.keyed == 0 {
            return ("none", "no event has a key, so nothing says which outputs belong together".into());
        }
        let (keys, keyed) = (self.keys.len(), self.keyed);
        if keys as u64 == keyed {
            return ("none", format!("each of {keyed} events has a key of its own, so no two depend on each other"));
        }
        ("key", format!("{keyed} events share {keys} keys; the events of a key depend on each other"))
    }

    /// What the values of topics seem to be, as a comment: outputs may be something else.
    fn forms(&self) -> String {
        let mut text = "\n# What the values of an output topic are, where they should be nothing else; they are recognised without it.\n\
                        # In the events of the recording:"
            .to_owned();
        for (topic, forms) in &self.forms {
            let _ = write!(text, " {topic} {},", forms.all().unwrap_or("several forms"));
        }
        text.truncate(text.trim_end_matches([',', ':']).len());
        let form = self.forms.values().find_map(Forms::all).unwrap_or("json");
        let _ = write!(
            text,
            ".\n# [compare.topics.payouts]\n# value = \"{form}\"       # json, avro, protobuf, message-pack, text, bytes\n"
        );
        text
    }

    fn ignored(&self, identity: &[String]) -> Vec<(String, String)> {
        let candidates = self.paths.iter().filter(|(path, field)| !identity.contains(path) && field.seen >= 20);
        let reason = |path: &str, field: &Field| {
            let most = |count: u64| count * 10 >= field.seen * 9;
            let unique = field.distinct.len() as u64 == field.seen;
            if most(field.ids) && unique {
                Some("a new random id in every event: two drives never agree on it".to_owned())
            } else if most(field.near_capture) {
                Some("within ten seconds of when the event was captured: a time of processing".to_owned())
            } else if most(field.times) && most(field.rising + 1) && tells_of_processing(path) {
                Some("a time that only rises and whose name tells of processing".to_owned())
            } else {
                None
            }
        };
        candidates.filter_map(|(path, field)| Some((path.clone(), reason(path, field)?))).collect()
    }
}

impl Field {
    fn add(&mut self, value: &Json, hash: u64, event: &Seen<'_>) {
        self.seen += 1;
        self.distinct.insert(hash);
        self.text += u64::from(value.is_string());
        self.ids += u64::from(value.as_str().is_some_and(is_random_id));
        let Some(time) = time_ms(value) else { return };
        self.times += 1;
        self.rising += u64::from(self.last.is_some_and(|last| last <= time));
        self.last = Some(time);
        let captured = event.captured_at_us.map(|us| us / 1_000);
        let near = |other: Option<i64>| other.is_some_and(|other| (time - other).abs() <= 10_000);
        self.near_capture += u64::from(near(captured) && event.timestamp_ms != Some(time));
    }
}

/// Writes one member's step of a JSONPath.
fn step(name: &str) -> String {
    let plain =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !name.is_empty() { format!(".{name}") } else { format!("[{}]", Json::from(name)) }
}

fn looks_like_an_id(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    ["id", "uuid", "key", "number", "reference"].iter().any(|end| name.ends_with(end))
}

fn tells_of_processing(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    ["process", "ingest", "emit", "publish", "created", "updated", "written", "sent", "now"]
        .iter()
        .any(|word| name.contains(word))
}

/// Whether `text` is a UUID, so a value made by chance.
fn is_random_id(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// Reads a time: an RFC 3339 text, or seconds, milliseconds or microseconds since 1970 between the years 2001 and 2100.
fn time_ms(value: &Json) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return match number {
            1_000_000_000..4_102_444_800 => Some(number * 1_000),
            1_000_000_000_000..4_102_444_800_000 => Some(number),
            1_000_000_000_000_000..4_102_444_800_000_000 => Some(number / 1_000),
            _ => None,
        };
    }
    let text = value.as_str().filter(|text| text.len() >= 19)?;
    text.parse::<Moment>().ok().map(Moment::ms)
}

/// How a change that is intended is written.
const EXPECTED: &str = "
# What the release is meant to change; `rehearsal review RUN` accepts what a run shows.
# [[expected]]
# path = \"$.currency\"
# change = \"added\"
# value = \"EUR\"
# because = \"PAY-123\"
# until = \"2026-12-31\"
";

fn written(sample: &Sample, location: &Location, builds: &str) -> String {
    let mut text = String::new();
    let name = location.name().unwrap_or_else(|| "recording".into());
    let quoted = |text: &str| Json::from(text).to_string();
    let list = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let topics: Vec<String> = sample.topics.keys().cloned().collect();
    let _ = writeln!(text, "# Does the new build still do with {name} what the old one does?");
    let _ = writeln!(text, "#\n# Guessed from the first {} events of {}.", sample.events, topics.join(", "));
    let _ = writeln!(text, "# They are what the builds read; hold each guess against what yours write.\n");
    let _ = writeln!(text, "recording = {}\nseed = 7\n", quoted(&location.to_string()));
    text.push_str(&pace(sample));
    text.push_str("# Hands one event in fifty over twice: what Kafka does at every restart.\n");
    text.push_str("[[fault]]\nkind = \"duplicate\"\nprobability = 0.02\nafter = \"50ms..2s\"\n\n");
    text.push_str("# Kills each build between effect and commit, and starts it again; `restart` ends it as a deploy does, `freeze` stops it.\n");
    text.push_str("# [[fault]]\n# kind = \"crash\"\n# nth = 100                      # commit\n\n");
    text.push_str("# Lets the builds' time of day follow the events, with libfaketime; Go and static programs have no clock that can be set.\n");
    text.push_str("# [drive]\n# clock = \"recorded\"\n\n");
    text.push_str(builds);
    text.push_str("# In the environment, in flagd's file {flags}, by OFREP at {ofrep}; a `[[flag-change]]` throws one on the way.\n# flags = { new-rounding = true }\n\n[compare]\n");
    let identity = sample.identity();
    match &identity {
        Some((paths, reason)) => {
            let _ = writeln!(text, "# Which outputs stand for each other: {reason}.\nidentity = [{}]", list(paths));
        }
        None => text.push_str(
            "# Which outputs stand for each other: no path tells the events apart, so topic and key do.\n# identity = [\"$.id\"]\n",
        ),
    }
    let (order, reason) = sample.order();
    let _ = writeln!(text, "# Where order counts: {reason}.\norder = \"{order}\"");
    let ignored = sample.ignored(identity.as_ref().map_or(&[], |(paths, _)| paths));
    if ignored.is_empty() {
        text.push_str("# Paths that differ by nature: none was seen in the events.\n# ignore = [\"$.processed_at\"]\n");
    } else {
        text.push_str("# Paths that differ by nature:\nignore = [\n");
        for (path, reason) in &ignored {
            let _ = writeln!(text, "    # {reason}\n    {},", quoted(path));
        }
        text.push_str("]\n");
    }
    text.push_str(&sample.forms());
    text.push_str(EXPECTED);
    text
}

/// A pace at which the recording takes about a minute.
fn pace(sample: &Sample) -> String {
    let span_s = match (sample.first_ms, sample.last_ms) {
        (Some(first), Some(last)) if last > first => (last - first) / 1_000,
        _ => 0,
    };
    if span_s <= 60 {
        return String::new();
    }
    // One digit and zeros: a speed that people can divide by in their heads.
    let wanted = span_s / 60;
    let magnitude = 10_i64.pow(wanted.max(1).ilog10());
    let speed = (wanted / magnitude).max(1) * magnitude;
    let about = span_s / speed;
    format!(
        "# The recording spans {}; at this speed it takes about {about} s.\n[pace]\nmode = \"accelerated\"\nspeed = {speed}\ngap-max = \"2s\"\n\n",
        in_words(span_s)
    )
}

/// Says a length of event time in the unit that people would take.
fn in_words(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_event_time_is_said_as_people_say_it() {
        for (seconds, text) in [(75, "75 seconds"), (3_600, "60 minutes"), (90_000, "25 hours"), (2_674_320, "30 days")]
        {
            assert_eq!(in_words(seconds), text);
        }
    }

    fn sampled(value: impl Fn(usize) -> String) -> Sample {
        let mut sample = Sample::default();
        for number in 0..100 {
            let (key, value) = (format!("k{}", number / 2), value(number));
            sample.add(&Seen {
                topic: "payouts",
                timestamp_ms: Some(1_357_000_000_000),
                captured_at_us: Some(1_400_000_000_000_000),
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                schemas: &Schemas::default(),
            });
        }
        sample
    }

    #[test]
    fn a_path_that_no_two_events_share_becomes_the_identity() {
        let sample = sampled(|n| format!(r#"{{"payment_id": {n}, "amount": {}}}"#, n % 7));
        assert_eq!(sample.identity().unwrap().0, ["$.payment_id"]);
    }

    #[test]
    fn two_paths_become_the_identity_where_only_both_tell_events_apart() {
        let kind = ["departed", "arrived"];
        let sample = sampled(|n| format!(r#"{{"flight_id": "f{}", "type": "{}"}}"#, n / 2, kind[n % 2]));
        assert_eq!(sample.identity().unwrap().0, ["$.flight_id", "$.type"]);
    }

    #[test]
    fn nothing_is_guessed_where_nothing_tells_events_apart() {
        assert!(sampled(|n| format!(r#"{{"amount": {}}}"#, n % 7)).identity().is_none());
    }

    #[test]
    fn random_ids_and_times_of_processing_are_ignored_with_their_reason() {
        let sample = sampled(|n| {
            format!(
                r#"{{"id": {n}, "trace": "0123abcd-0000-4000-8000-{n:012}", "at": "2014-05-13T16:53:2{}Z", "due": "2013-01-01T00:00:00Z"}}"#,
                n % 5
            )
        });
        let ignored = sample.ignored(&["$.id".to_owned()]);
        let paths: Vec<&str> = ignored.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["$.at", "$.trace"]);
        assert!(ignored[1].1.contains("random id"), "{ignored:?}");
    }

    #[test]
    fn order_counts_by_key_where_keys_repeat() {
        assert_eq!(sampled(|n| format!("{{\"id\": {n}}}")).order().0, "key");
    }

    #[test]
    fn times_are_read_in_every_common_form() {
        for (value, ms) in [
            (Json::from(1_357_035_420), Some(1_357_035_420_000)),
            (Json::from(1_357_035_420_001_i64), Some(1_357_035_420_001)),
            (Json::from("2013-01-01T10:17:00Z"), Some(1_357_035_420_000)),
            (Json::from("2013-01-01T11:17:00.250+01:00"), Some(1_357_035_420_250)),
            (Json::from("2016-03-01T00:00:00Z"), Some(1_456_790_400_000)),
            (Json::from(12), None),
            (Json::from("2013-01-01/UA1545/EWR-IAH"), None),
        ] {
            assert_eq!(time_ms(&value), ms, "{value}");
        }
    }

    #[test]
    fn what_values_are_is_guessed_where_all_of_a_topic_are_the_same() {
        for (values, form) in [
            (&[&b"{}"[..], b"[1]"][..], Some("json")),
            (&[b"\x81\xa1a\x01", b"\x90"], Some("message-pack")),
            (&[b"plain", b"text"], Some("text")),
            (&[b"\xff", b"\xfe"], Some("bytes")),
            (&[b"{}", b"plain"], None),
            (&[b"{}", b"\xff"], None),
            (&[], None),
        ] {
            let mut forms = Forms::default();
            for value in values {
                let _ = forms.read(value, &Schemas::default());
            }
            assert_eq!(forms.all(), form, "{values:?}");
        }
        let text = sampled(|n| format!(r#"{{"id": {n}}}"#)).forms();
        assert!(text.contains("payouts json.") && text.contains("# value = \"json\""), "{text}");
    }

    #[test]
    fn a_draft_is_a_table_of_toml() {
        let text =
            written(&sampled(|n| format!(r#"{{"id": {n}}}"#)), &Location::from("../recordings/pay \"outs\""), "");
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["compare"]["identity"][0].as_str(), Some("$.id"));
        assert!(text.starts_with("# Does "));
    }
}
