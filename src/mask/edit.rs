//! Fields of a text of JSON replaced in place: whatever no rule touches keeps its bytes.

use std::borrow::Cow;

use super::method::{Method, REDACTED, Replacement};
use super::path::Path;
use super::remembered::Remembered;
use super::scan::{Kind, Tape};
use super::settings::{By, Policy, Target};
use crate::schema::{EncodeError, Packed, PackedEdit, PackedKind, SchemaKind, Schemas, frame};

/// Bytes that a schema registry's clients put ahead of a value.
const FRAME: usize = 5;

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edited {
    /// No rule touches it.
    Same,
    /// It stands in [`Editor::text`].
    Changed,
    /// It is no JSON, or nobody can tell its fields apart.
    NoJson,
    /// The schema that describes it has no room for what a rule makes of a field.
    Unfit {
        /// Number of the target.
        target: usize,
        /// What the schema wants there.
        wanted: String,
    },
}

/// Replaces fields; keeps its memory from one text to the next.
#[derive(Debug, Default)]
pub(super) struct Editor {
    tape: Tape,
    found: Vec<usize>,
    edits: Vec<Edit>,
    /// Of each dropped node, whether a sibling ahead of it stays.
    follows: Vec<Option<bool>>,
    out: Vec<u8>,
    remembered: Remembered,
}

/// One node that a rule touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edit {
    node: usize,
    target: usize,
}

impl Editor {
    /// Replaces in `text` what `targets`, each a field with its number in `policy`, name; counts what was changed by target.
    pub(super) fn edit<'p>(
        &mut self,
        policy: &'p Policy,
        targets: impl Iterator<Item = (usize, &'p Path)>,
        text: &[u8],
        key: Option<&[u8]>,
        counts: &mut [u64],
    ) -> Edited {
        let (head, text) = unframed(text);
        if !self.select(targets, text, |node| node) {
            return Edited::NoJson;
        }
        if self.edits.is_empty() {
            return Edited::Same;
        }
        self.out.clear();
        self.out.extend_from_slice(head);
        self.write(policy, text, key, counts)
    }

    /// Finds what `targets` name in a text, in its order: of one node the first target, and nothing inside of what is replaced as a
    /// whole; `whole` is the node that goes with another. False where it is no JSON, or nobody can tell its fields apart.
    fn select<'p>(
        &mut self,
        targets: impl Iterator<Item = (usize, &'p Path)>,
        text: &[u8],
        whole: impl Fn(usize) -> usize,
    ) -> bool {
        self.edits.clear();
        if !self.tape.read(text) {
            return false;
        }
        for (target, path) in targets {
            self.found.clear();
            if !path.select(text, &self.tape, &mut self.found) {
                return false;
            }
            self.edits.extend(self.found.iter().map(|&node| Edit { node: whole(node), target }));
        }
        self.edits.sort_unstable();
        let (tape, mut behind) = (&self.tape, 0);
        self.edits.retain(|edit| {
            let outermost = edit.node >= behind;
            behind = behind.max(tape.inside(edit.node).end);
            outermost
        });
        true
    }

    /// As [`Editor::edit`], for MessagePack that was recognised in `bytes`: fields are those of the JSON that it says, and what no rule
    /// touches keeps its bytes. Bytes, extensions, timestamps and what is no number are masked as texts of what they hold.
    pub(super) fn edit_packed<'p>(
        &mut self,
        policy: &'p Policy,
        targets: impl Iterator<Item = (usize, &'p Path)>,
        (packed, bytes): (&Packed, &[u8]),
        key: Option<&[u8]>,
        counts: &mut [u64],
    ) -> Edited {
        let text = packed.text();
        if !self.select(targets, text, |node| packed.outer(node)) {
            return Edited::NoJson;
        }
        if let [Edit { node: 0, target }] = self.edits[..] {
            self.replace_all(&policy.targets[target], (&Schemas::default(), bytes), key);
            counts[target] += 1;
            return Edited::Changed;
        }
        let Self { tape, edits, found, remembered, .. } = self;
        let mut changes = Vec::new();
        for &Edit { node, target } in edits.iter() {
            let Target { method, by, .. } = &policy.targets[target];
            let change = if matches!(method, Method::Drop) {
                PackedEdit::Drop
            } else {
                let entity = entity(by, text, tape, key, found);
                let (kind, content) = match packed.kind(bytes, node) {
                    PackedKind::Plain => (tape.node(node).kind, tape.content(text, node)),
                    PackedKind::Data(data) => (Kind::Text, Cow::Borrowed(data)),
                    // The one member of the object that stands for it.
                    PackedKind::Time | PackedKind::Float => (Kind::Text, tape.content(text, node + 1)),
                };
                match method.replace_with(kind, &content, &entity, remembered) {
                    Replacement::Same => continue,
                    Replacement::Text(text) => PackedEdit::Text(text.into_owned()),
                    Replacement::Number(number) => PackedEdit::Number(number),
                    Replacement::Null => PackedEdit::Nil,
                }
            };
            counts[target] += 1;
            changes.push((node, change));
        }
        if changes.is_empty() {
            return Edited::Same;
        }
        self.out = packed.edited(bytes, &changes);
        Edited::Changed
    }

    /// As [`Editor::edit`], for bytes that one of `schemas` describes: fields are those of the JSON that they say, and what no
    /// rule touches keeps its bytes.
    pub(super) fn edit_described<'p>(
        &mut self,
        policy: &'p Policy,
        targets: impl Iterator<Item = (usize, &'p Path)>,
        (schemas, bytes): (&Schemas, &[u8]),
        key: Option<&[u8]>,
        counts: &mut [u64],
    ) -> Edited {
        let Ok(text) = schemas.decode(bytes) else { return Edited::NoJson };
        let edited = self.edit(policy, targets, &text, key, counts);
        if edited != Edited::Changed {
            return edited;
        }
        if let [Edit { node: 0, target }] = self.edits[..] {
            self.replace_all(&policy.targets[target], (schemas, bytes), key);
            return Edited::Changed;
        }
        match encoded(schemas, bytes, &self.out) {
            Ok(encoded) => {
                self.out = encoded;
                Edited::Changed
            }
            Err(error) => self.unfit(policy, (schemas, bytes, &text), key, counts, &error),
        }
    }

    /// Replaces all that `bytes` say, JSON or not.
    pub(super) fn replace_all(&mut self, target: &Target, (schemas, bytes): (&Schemas, &[u8]), key: Option<&[u8]>) {
        self.out = self.whole(target, (schemas, bytes), key).unwrap_or_default();
    }

    /// Masks all that bytes say, so that the same has the same token whatever frames, describes or quotes it; none where they
    /// are dropped. The schema stays where it has room for the result; else that stands bare, and nothing of the schema is left.
    pub(super) fn whole(
        &mut self,
        target: &Target,
        (schemas, bytes): (&Schemas, &[u8]),
        key: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        if matches!(target.method, Method::Drop) {
            return None;
        }
        let Said { kind, content, written } = Said::of(schemas, bytes);
        let entity = all_of(&target.by, key);
        let replacement = target.method.replace_with(kind, &content, entity, &mut self.remembered);
        if replacement == Replacement::Same {
            return Some(bytes.to_vec());
        }
        let json = |head: &[u8]| {
            let mut out = head.to_vec();
            put(&replacement, &mut out);
            out
        };
        Some(match written {
            Written::Json(head) => json(head),
            Written::Avro => encoded(schemas, bytes, &json(&[])).unwrap_or_else(|_| bare(replacement)),
            Written::Bare => bare(replacement),
        })
    }

    /// Finds the target whose edit does not fit by making each alone: where in the value it lies would be told by names that
    /// may say something themselves.
    fn unfit(
        &mut self,
        policy: &Policy,
        (schemas, bytes, text): (&Schemas, &[u8], &[u8]),
        key: Option<&[u8]>,
        counts: &mut [u64],
        error: &EncodeError,
    ) -> Edited {
        let edits = std::mem::take(&mut self.edits);
        let first = edits.first().map_or(0, |edit| edit.target);
        let mut found = Edited::Unfit { target: first, wanted: wanted(error) };
        for edit in edits {
            self.edits = vec![edit];
            self.out.clear();
            self.write(policy, text, key, counts);
            if let Err(error) = encoded(schemas, bytes, &self.out) {
                found = Edited::Unfit { target: edit.target, wanted: wanted(&error) };
                break;
            }
        }
        found
    }

    /// The text as it was changed last.
    pub(super) fn text(&self) -> &[u8] {
        &self.out
    }

    fn write(&mut self, policy: &Policy, text: &[u8], key: Option<&[u8]>, counts: &mut [u64]) -> Edited {
        let Self { tape, edits, follows, out, found, remembered } = self;
        follows.clear();
        let mut rest = 0;
        let mut changed = false;
        for &Edit { node, target } in edits.iter() {
            let method = &policy.targets[target].method;
            let (start, end) = (tape.node(node).start, tape.node(node).end);
            if matches!(method, Method::Drop) && tape.parent(node).is_some() {
                let (start, end) = dropped(tape, follows, node);
                out.extend_from_slice(&text[rest..start.max(rest)]);
                rest = end;
            } else {
                let entity = entity(&policy.targets[target].by, text, tape, key, found);
                let (kind, content) = (tape.node(node).kind, tape.content(text, node));
                let replacement = method.replace_with(kind, &content, &entity, remembered);
                if replacement == Replacement::Same {
                    continue;
                }
                out.extend_from_slice(&text[rest..start]);
                put(&replacement, out);
                rest = end;
            }
            counts[target] += 1;
            changed = true;
        }
        out.extend_from_slice(&text[rest..]);
        if changed { Edited::Changed } else { Edited::Same }
    }
}

fn encoded(schemas: &Schemas, bytes: &[u8], text: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let edited = serde_json::from_slice(text).map_err(|_| EncodeError::TooDeep { path: String::new() })?;
    schemas.encode(bytes, &edited)
}

/// What a schema wants where an edit does not fit, without the place.
fn wanted(error: &EncodeError) -> String {
    match error {
        EncodeError::Unfit { wanted, .. } => wanted.clone(),
        EncodeError::Required { .. } => "a field that is always there, as it gives no default".to_owned(),
        _ => "something else".to_owned(),
    }
}

/// Parts bytes into what a schema registry's clients put ahead of JSON (a zero and four bytes of a schema's id) and the rest.
pub(super) fn unframed(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(if bytes.len() > FRAME && bytes[0] == 0 { FRAME } else { 0 })
}

fn put(replacement: &Replacement, out: &mut Vec<u8>) {
    match replacement {
        Replacement::Text(text) => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Replacement::Number(text) => out.extend_from_slice(text.as_bytes()),
        Replacement::Null => out.extend_from_slice(b"null"),
        Replacement::Same => {}
    }
}

/// The stretch that goes with a dropped node: with the comma ahead of it where a sibling ahead stays, else with the one behind.
fn dropped(tape: &Tape, follows: &mut Vec<Option<bool>>, node: usize) -> (usize, usize) {
    // Edits come in the order of the text, so what became of the sibling ahead is known.
    let ahead = tape.previous(node);
    let behind_one = ahead.is_some_and(|ahead| follows.get(ahead).copied().flatten().unwrap_or(true));
    if follows.len() <= node {
        follows.resize(tape.len(), None);
    }
    follows[node] = Some(behind_one);
    let (start, end) = (tape.node(node).member_start(), tape.node(node).end);
    match (ahead.filter(|_| behind_one), tape.following(node)) {
        (Some(ahead), _) => (tape.node(ahead).end, end),
        (None, Some(following)) => (start, tape.node(following).member_start()),
        (None, None) => (start, end),
    }
}

/// Whose dates are shifted together: what the first field says, or the key; where there is none, everybody.
fn entity<'t>(by: &By, text: &'t [u8], tape: &Tape, key: Option<&'t [u8]>, found: &mut Vec<usize>) -> Cow<'t, [u8]> {
    match by {
        By::All => Cow::default(),
        By::Key => key.unwrap_or_default().into(),
        By::Field(path) => {
            found.clear();
            path.select(text, tape, found);
            found.iter().min().map_or_else(Cow::default, |&node| tape.content(text, node))
        }
    }
}

/// What bytes say, and how they are written.
#[derive(Debug)]
struct Said<'b> {
    kind: Kind,
    content: Cow<'b, [u8]>,
    written: Written<'b>,
}

#[derive(Debug)]
enum Written<'b> {
    /// By the schema of Avro that describes them.
    Avro,
    /// As JSON behind these bytes.
    Json(&'b [u8]),
    /// As they are.
    Bare,
}

impl<'b> Said<'b> {
    fn of(schemas: &Schemas, bytes: &'b [u8]) -> Self {
        let mut tape = Tape::default();
        let described = schemas.kind(bytes);
        if let Some(kind @ (SchemaKind::Avro | SchemaKind::Protobuf)) = described
            && let Ok(text) = schemas.decode(bytes)
            && tape.read(&text)
        {
            let content = Cow::Owned(tape.content(&text, 0).into_owned());
            // A message has room for a message alone, and would keep the fields that its schema does not know.
            let written = if kind == SchemaKind::Avro { Written::Avro } else { Written::Bare };
            return Self { kind: tape.node(0).kind, content, written };
        }
        let (head, rest) = bytes.split_at(if frame(bytes).is_some() { FRAME } else { 0 });
        // Without a frame text in quotation marks alone says something else than its bytes; eight bytes that begin like a frame
        // are rather a number than three bytes of JSON.
        let json = if head.is_empty() {
            rest.first() == Some(&b'"')
        } else {
            rest.len() != 3 || described == Some(SchemaKind::Json)
        };
        if json && tape.read(rest) {
            return Self { kind: tape.node(0).kind, content: tape.content(rest, 0), written: Written::Json(head) };
        }
        Self { kind: Kind::Text, content: Cow::Borrowed(bytes), written: Written::Bare }
    }
}

/// What a key says whose entity it names: the same however it is framed, described or quoted.
pub(super) fn content<'b>(schemas: &Schemas, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    Said::of(schemas, bytes).content
}

/// Masks the value of a header, whose bytes are what it says; none where it is dropped.
pub(super) fn header(method: &Method, by: &By, bytes: &[u8], key: Option<&[u8]>) -> Option<Vec<u8>> {
    match method.replace(Kind::Text, bytes, all_of(by, key)) {
        _ if matches!(method, Method::Drop) => None,
        Replacement::Same => Some(bytes.to_vec()),
        replacement => Some(bare(replacement)),
    }
}

/// Whose dates are shifted together where there are no fields.
fn all_of<'k>(by: &By, key: Option<&'k [u8]>) -> &'k [u8] {
    match by {
        By::Key => key.unwrap_or_default(),
        By::All | By::Field(_) => &[],
    }
}

fn bare(replacement: Replacement) -> Vec<u8> {
    match replacement {
        Replacement::Text(text) => text.into_owned().into_bytes(),
        Replacement::Number(text) => text.into_bytes(),
        Replacement::Null | Replacement::Same => REDACTED.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::settings::Part;
    use super::super::{MaskKey, PolicySettings, sample};
    use super::*;

    const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

    /// Applies the rules of a policy, whose key is [`KEY`], to a value.
    fn masked(rules: &str, text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k"), KEY).unwrap();
        let settings: PolicySettings = toml::from_str(&format!("key-file = 'k'\n{rules}")).unwrap();
        masked_by(&settings.check(folder.path()).unwrap(), text)
    }

    fn masked_by(policy: &Policy, text: &str) -> Option<String> {
        let paths = policy.targets.iter().enumerate().map(|(number, target)| match &target.part {
            Part::Value(path) => (number, path),
            part => panic!("{part:?}"),
        });
        let (mut editor, mut counts) = (Editor::default(), vec![0; policy.targets.len()]);
        match editor.edit(policy, paths, text.as_bytes(), Some(b"k1"), &mut counts) {
            Edited::Same => Some(text.to_owned()),
            Edited::Changed => Some(String::from_utf8(editor.text().to_vec()).unwrap()),
            Edited::NoJson => None,
            unfit @ Edited::Unfit { .. } => panic!("{unfit:?}"),
        }
    }

    fn rule(value: &str, rest: &str) -> String {
        format!("[[rule]]\nvalue = ['{value}']\n{rest}\n")
    }

    #[test]
    fn what_no_rule_touches_keeps_its_bytes() {
        let text = "{ \"b\" :1.50,\t\"a\":\"x\\u0041\" , \"c\":[ 1e2 ,-0 ] }";
        assert_eq!(masked(&rule("$.z", "method = 'redact'"), text).as_deref(), Some(text));
        let expected = "{ \"b\" :1.50,\t\"a\":\"[redacted]\" , \"c\":[ 1e2 ,-0 ] }";
        assert_eq!(masked(&rule("$.a", "method = 'redact'"), text).as_deref(), Some(expected));
        assert_eq!(masked(&rule("$.a", "method = 'redact'"), "not json"), None);
    }

    #[test]
    fn dropped_members_take_one_comma_with_them() {
        for (text, expected) in [
            ("{\"s\":1}", "{}"),
            ("{ \"s\" : 1 }", "{  }"),
            ("{\"s\":1, \"a\":2}", "{\"a\":2}"),
            ("{\"a\":2 , \"s\":1 }", "{\"a\":2 }"),
            ("{\"a\":2,\"s\":1,\"b\":3}", "{\"a\":2,\"b\":3}"),
            ("{\"s\":1,\"s\":2,\"a\":3}", "{\"a\":3}"),
            ("{\"a\":3,\"s\":1,\"s\":2}", "{\"a\":3}"),
            ("{\"s\":0,\"a\":3,\"s\":1,\"s\":2,\"b\":4,\"s\":5}", "{\"a\":3,\"b\":4}"),
            ("[{\"s\":{\"s\":1}},{\"s\":2}]", "[{},{}]"),
        ] {
            assert_eq!(masked(&rule("$..s", "method = 'drop'"), text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(masked(&rule("$[0,2]", "method = 'drop'"), "[1, 2, 3]").as_deref(), Some("[2]"));
    }

    #[test]
    fn of_two_rules_the_first_counts_and_the_outer_one() {
        let redact = |path: &str| rule(path, "method = 'redact'");
        let drop = |path: &str| rule(path, "method = 'drop'");
        for (rules, text, expected) in [
            (redact("$.a") + &drop("$.a"), "{\"a\":\"x\"}", "{\"a\":\"[redacted]\"}"),
            (drop("$.a") + &redact("$.a"), "{\"a\":\"x\"}", "{}"),
            (redact("$.a.b") + &redact("$.a"), "{\"a\":{\"b\":\"x\"}}", "{\"a\":null}"),
            (redact("$.a") + &drop("$.a.b"), "{\"a\":{\"b\":\"x\"}}", "{\"a\":null}"),
            (redact("$"), " 5 ", " null "),
        ] {
            assert_eq!(masked(&rules, text).as_deref(), Some(expected), "{rules}");
        }
    }

    #[test]
    fn a_token_stands_for_what_a_value_says_however_it_is_spelled() {
        let tokens = masked(&rule("$[*]", "method = 'token'"), r#"["A", "\u0041", 65, "65", null, true]"#).unwrap();
        let tokens: Vec<Value> = serde_json::from_str(&tokens).unwrap();
        assert!(tokens[0] == tokens[1] && tokens[2] == tokens[3] && tokens[0] != tokens[2], "{tokens:?}");
        assert!(tokens[4].is_null() && tokens[5].is_string(), "{tokens:?}");
        let numbers = masked(&rule("$[*]", "method = 'token'\nform = 'number'"), r#"[65, "65"]"#).unwrap();
        let numbers: Vec<Value> = serde_json::from_str(&numbers).unwrap();
        assert_eq!(numbers[0].as_u64().map(|number| number.to_string()).as_deref(), numbers[1].as_str());
    }

    #[test]
    fn dates_of_one_entity_keep_their_order_and_distance() {
        let shift = rule("$[*].at", "method = 'shift'\nby = '$[0].who'\nwithin = '400d'");
        let shifted = |who: &str| {
            let text =
                format!(r#"[{{"who":"{who}","at":"2013-01-05T10:17:00Z"}},{{"at":"2013-02-01"}},{{"at":1357035420}}]"#);
            let masked: Value = serde_json::from_str(&masked(&shift, &text).unwrap()).unwrap();
            let day =
                |text: &Value| chrono::NaiveDate::parse_from_str(&text.as_str().unwrap()[..10], "%Y-%m-%d").unwrap();
            assert_eq!((day(&masked[1]["at"]) - day(&masked[0]["at"])).num_days(), 27);
            let start = chrono::NaiveDate::from_ymd_opt(2013, 1, 5).unwrap();
            let days = (day(&masked[0]["at"]) - start).num_days();
            assert_eq!(masked[2]["at"].as_i64(), Some(1_357_035_420 + days * 86_400));
            assert!(masked[0]["at"].as_str().unwrap().ends_with("T10:17:00Z"));
            days
        };
        assert_eq!(shifted("ann"), shifted("ann"));
        assert!((0..20).any(|number| shifted(&number.to_string()) != shifted("ann")));
        let by_key = rule("$.at", "method = 'shift'\nby = 'key'");
        assert_ne!(masked(&by_key, "{\"at\":\"2013-01-05\"}").as_deref(), Some("{\"at\":\"2013-01-05\"}"));
    }

    fn gap() -> impl Strategy<Value = String> {
        "[ \n\t]{0,2}"
    }

    proptest! {
        #[test]
        fn every_byte_outside_of_what_is_named_stays(
            junk in (sample::json(), sample::json(), sample::json()),
            secrets in prop::array::uniform3("[a-zé0-9@. ]{1,9}"),
            gaps in prop::array::uniform4(gap()),
        ) {
            let [a, b, c, d] = &gaps;
            let text = |parts: [String; 3]| {
                let [one, two, three] = parts;
                let (x, y, z) = (&junk.0, &junk.1, &junk.2);
                format!("{a}{{\"a\":{x},{b}\"s\"{c}:{one}{d},\"l\":[{y},{{\"s\":{two}}}],{a}\"s\":{three},\"c\":{z}{b}}}{c}")
            };
            let plain = text(secrets.clone().map(|secret| Value::from(secret).to_string()));
            let key = MaskKey::new(KEY.as_bytes()).unwrap();
            let expected = text(secrets.map(|secret| format!("\"{}\"", key.token(secret.as_bytes()))));
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("k"), KEY).unwrap();
            for path in ["$..s", "$..['s']", "$..s[?@ == 1]"] {
                let settings = format!("key-file = 'k'\n[[rule]]\nvalue = [\"{path}\"]\nmethod = 'token'");
                let policy = toml::from_str::<PolicySettings>(&settings).unwrap().check(folder.path()).unwrap();
                let wanted = if path.contains('?') { &plain } else { &expected };
                let left = masked_by(&policy, &plain);
                prop_assert_eq!(left.as_ref(), Some(wanted), "{}", path);
            }
        }

        #[test]
        fn what_is_left_after_a_drop_is_json_without_it(text in sample::json(), path in prop::sample::select(vec!["$..a", "$[0]", "$..[1]", "$.b", "$..*"])) {
            let settings = toml::from_str::<PolicySettings>(&rule(path, "method = 'drop'")).unwrap();
            let left = masked_by(&settings.check(FilePath::new("")).unwrap(), &text).unwrap();
            let (left, mut expected): (Value, Value) = (serde_json::from_str(&left).unwrap(), serde_json::from_str(&text).unwrap());
            remove(&mut expected, path, true);
            prop_assert_eq!(left, expected);
        }
    }

    /// The same by another way, on a value.
    fn remove(value: &mut Value, path: &str, top: bool) {
        let deep = path.starts_with("$..");
        match value {
            Value::Object(members) => {
                members.retain(|name, _| {
                    !((path == "$..a" && name == "a") || (path == "$.b" && top && name == "b") || path == "$..*")
                });
                members.values_mut().filter(|_| deep).for_each(|member| remove(member, path, false));
            }
            Value::Array(elements) => {
                let gone = match path {
                    "$[0]" if top => 0..1,
                    "$..[1]" => 1..2,
                    "$..*" => 0..elements.len(),
                    _ => 0..0,
                };
                let (start, end) = (gone.start.min(elements.len()), gone.end.min(elements.len()));
                elements.drain(start..end);
                elements.iter_mut().filter(|_| deep).for_each(|element| remove(element, path, false));
            }
            _ => {}
        }
    }
}
