//! `[lineage]`: which delivery an output stands for, where the build does not say so, by what both carry: a field or a header.
//!
//! Both are known by hashes of what they carry, its marks: that of an output finds the delivery that carried it last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::DriveRules;
use super::ledger::{Found, Ledger};
use crate::recording::Header;
use crate::schema::Schemas;
use crate::settings::SettingError;

/// Header of W3C's Trace Context: only its trace id is handed on as it is.
const TRACEPARENT: &str = "traceparent";

/// Marks of one event or output at most: a list of more says nothing about a cause.
const MARKS_MAX: usize = 64;

const OF_FIELDS: u64 = 1;
const OF_HEADERS: u64 = 2;

/// How outputs that state no cause find theirs: by a field that events and outputs carry, else by a header, else by the key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LineageSettings {
    /// JSONPath (RFC 9535) of the field of an event's value; without it that of `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// JSONPath of the field of an output's value that is the same; without it that of `event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Header that builds hand on as it came; of `traceparent` (W3C Trace Context) the trace id counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// Checked lineage.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// Where events and outputs carry the same.
    fields: Option<[JsonPath; 2]>,
    header: Option<String>,
}

impl LineageSettings {
    /// Checks the settings, which stand under `lineage`; none where they name nothing.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be used, by its key.
    pub fn check(&self) -> Result<Option<Lineage>, SettingError> {
        let path = |key: &str, text: &String| {
            JsonPath::parse(text).map_err(|error| {
                let problem = format!("`{text}` is no JSONPath: {error}");
                SettingError::new(format!("lineage.{key}"), problem, "Write a path such as `$.payment_id`.")
            })
        };
        let event = self.event.as_ref().map(|text| path("event", text)).transpose()?;
        let output = self.output.as_ref().map(|text| path("output", text)).transpose()?;
        let fields = match (event, output) {
            (Some(event), Some(output)) => Some([event, output]),
            (Some(both), None) | (None, Some(both)) => Some([both.clone(), both]),
            (None, None) => None,
        };
        if self.header.as_ref().is_some_and(String::is_empty) {
            let instead = "Write the name of a header, such as `traceparent`.";
            return Err(SettingError::new("lineage.header", "a header has a name", instead));
        }
        let header = self.header.clone();
        Ok((fields.is_some() || header.is_some()).then_some(Lineage { fields, header }))
    }
}

impl Lineage {
    /// Whether headers have to be read.
    pub(super) fn wants_headers(&self) -> bool {
        self.header.is_some()
    }

    /// Marks of an event: all that an output can find it by.
    pub(super) fn of_event<'h>(
        &self,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
        schemas: &Schemas,
    ) -> Vec<u64> {
        let mut marks = self.fields.as_ref().map_or_else(Vec::new, |[event, _]| of_field(event, value, schemas));
        marks.extend(self.of_headers(headers));
        marks
    }

    /// Marks of an output: its field's and its header's, the former count first.
    pub(super) fn of_output<'h>(
        &self,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
        schemas: &Schemas,
    ) -> [Vec<u64>; 2] {
        let fields = self.fields.as_ref().map_or_else(Vec::new, |[_, output]| of_field(output, value, schemas));
        [fields, self.of_headers(headers)]
    }

    fn of_headers<'h>(&self, headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>) -> Vec<u64> {
        let Some(wanted) = &self.header else { return Vec::new() };
        headers
            .filter(|(name, _)| name == wanted)
            .filter_map(|(_, value)| value)
            .take(MARKS_MAX)
            .map(|value| xxh3_64_with_seed(if wanted == TRACEPARENT { trace_id(value) } else { value }, OF_HEADERS))
            .collect()
    }
}

impl DriveRules {
    /// Finds the delivery that carried the same field as an output, else the same header; none without a lineage.
    pub(super) fn find_by_lineage(&self, ledger: &Ledger, value: Option<&[u8]>, headers: &[Header]) -> Option<Found> {
        let headers = headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
        let marks = self.lineage.as_ref()?.of_output(value, headers, &self.schemas.now());
        marks.iter().find_map(|marks| ledger.last_of_marks(marks))
    }
}

/// Marks of what `path` finds: texts, and numbers as if they were texts, as many systems hand ids on.
fn of_field(path: &JsonPath, value: Option<&[u8]>, schemas: &Schemas) -> Vec<u64> {
    let Some(bytes) = value else { return Vec::new() };
    let described = schemas.kind(bytes).and_then(|_| schemas.decode(bytes).ok());
    let text = described.as_deref().unwrap_or(bytes);
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return Vec::new() };
    let nodes = path.query(&value).all();
    if nodes.len() > MARKS_MAX {
        return Vec::new();
    }
    let mark = |node: &Value| match node {
        Value::String(text) => Some(xxh3_64_with_seed(text.as_bytes(), OF_FIELDS)),
        Value::Number(number) => Some(xxh3_64_with_seed(number.to_string().as_bytes(), OF_FIELDS)),
        _ => None,
    };
    nodes.into_iter().filter_map(mark).collect()
}

/// The trace id of a `traceparent` (`00-TRACEID-PARENTID-FLAGS`); all of it where it is none.
fn trace_id(value: &[u8]) -> &[u8] {
    let mut parts = value.split(|byte| *byte == b'-');
    let id = parts.nth(1).filter(|id| id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit));
    id.filter(|_| parts.next().is_some()).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(text: &str) -> Lineage {
        toml::from_str::<LineageSettings>(text).unwrap().check().unwrap().unwrap()
    }

    fn marks(lineage: &Lineage, value: &str, headers: &[(&str, &str)]) -> (Vec<u64>, [Vec<u64>; 2]) {
        let headers = || headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        let (value, schemas) = (Some(value.as_bytes()), Schemas::default());
        (lineage.of_event(value, headers(), &schemas), lineage.of_output(value, headers(), &schemas))
    }

    #[test]
    fn fields_find_each_other_wherever_they_stand() {
        let two = lineage("event = '$.id'\noutput = '$.payment.id'");
        let (event, [none, _]) = marks(&two, r#"{"id":"17","other":1}"#, &[]);
        assert_eq!((event.len(), none.len()), (1, 0));
        // A number and its text are one id.
        assert_eq!(marks(&two, r#"{"payment":{"id":17}}"#, &[]).1, [event, vec![]]);
        let both = lineage("output = '$.ids[*]'");
        let (event, [output, headers]) = marks(&both, r#"{"ids":["a","b",null,{"c":1},[2]]}"#, &[]);
        assert_eq!((event.len(), headers.len()), (2, 0));
        assert_eq!(event, output);
        for value in ["", "{", "null", r#"{"ids":[]}"#] {
            assert_eq!(marks(&both, value, &[]).0, Vec::<u64>::new(), "{value}");
        }
        let many = format!("{{\"ids\":[{}]}}", vec!["1"; MARKS_MAX + 1].join(","));
        assert_eq!(marks(&both, &many, &[]).0, Vec::<u64>::new());
        assert_eq!(both.of_event(None, std::iter::empty(), &Schemas::default()), Vec::<u64>::new());
    }

    #[test]
    fn of_a_traceparent_the_trace_id_counts_and_of_another_header_all_of_it() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let trace = lineage("header = 'traceparent'");
        let of = |value: &str| marks(&trace, "{}", &[("other", "x"), ("traceparent", value)]).0;
        let parent = of(&format!("00-{id}-00f067aa0ba902b7-01"));
        assert_eq!(parent.len(), 1);
        assert_eq!(parent, of(&format!("00-{id}-b9c7c989f97918e1-00")));
        assert_ne!(parent, of("00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01"));
        // What is none is taken as it is.
        assert_ne!(of(&format!("00-{id}")), of(&format!("01-{id}")));
        let other = lineage("header = 'other'");
        let of = |value: &str| marks(&other, "{}", &[("other", value), ("Other", "y")]).1[1].clone();
        assert_ne!(of(&format!("00-{id}-1-01")), of(&format!("00-{id}-2-01")));
        assert_eq!((of("x").len(), marks(&other, "{}", &[]).0), (1, vec![]));
    }

    #[test]
    fn a_field_is_never_taken_for_a_header() {
        let both = lineage("event = '$.id'\nheader = 'id'");
        let (event, [fields, headers]) = marks(&both, r#"{"id":"7"}"#, &[("id", "7")]);
        assert_eq!((event.len(), fields.len(), headers.len()), (2, 1, 1));
        assert_ne!(fields, headers);
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        for (text, key) in [
            ("event = 'id'", "lineage.event"),
            ("event = '$.id'\noutput = '$['", "lineage.output"),
            ("header = ''", "lineage.header"),
        ] {
            assert_eq!(toml::from_str::<LineageSettings>(text).unwrap().check().unwrap_err().key, key);
        }
        assert!(LineageSettings::default().check().unwrap().is_none());
    }
}
