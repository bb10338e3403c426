//! How the values of a topic are read: as what the scenario says they are, or as what they are recognised as.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declared::TopicRules;
use super::paths::Automaton;
use super::scan::{Wanted, scan};
use crate::schema::{Described, SchemaKind, Schemas, frame, from_message_pack, recognise_message_pack};
use crate::settings::SettingError;

/// What the values of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ValueForm {
    /// JSON, framed by a registry's serializer or not.
    Json,
    /// Avro, framed by a registry's serializer, or described by `schema`.
    Avro,
    /// Protobuf, likewise.
    Protobuf,
    /// MessagePack: any whole value.
    MessagePack,
    /// Text in UTF-8, whatever it looks like.
    Text,
    /// Bytes, whatever they look like, compared by region.
    Bytes,
}

impl ValueForm {
    /// The form as people write it.
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::MessagePack => "MessagePack",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    fn kind(self) -> Option<SchemaKind> {
        match self {
            Self::Avro => Some(SchemaKind::Avro),
            Self::Protobuf => Some(SchemaKind::Protobuf),
            _ => None,
        }
    }
}

/// What frames a value, and what it says: JSON as text, or the bytes as they stand.
pub(super) type Parted<'v> = (&'v [u8], Cow<'v, [u8]>);

/// How the values of one topic are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    form: Option<ValueForm>,
    /// The schema as the scenario names it.
    named: Option<Named>,
    /// What that schema is, once schemas are known.
    described: Option<Described>,
}

#[derive(Debug, Clone)]
struct Named {
    key: String,
    schema: String,
    message: Option<String>,
}

impl Reading {
    /// Reads what is said of a topic whose table has the key `table`.
    pub(super) fn check(rules: &TopicRules, table: &str) -> Result<Self, SettingError> {
        let refused = |key: &str, problem: &str, instead: &str| {
            Err(SettingError::new(format!("{table}.{key}"), problem, instead))
        };
        if rules.schema.is_some() && rules.value.and_then(ValueForm::kind).is_none() {
            return refused(
                "schema",
                "describes values of no form that has a schema",
                "Write `value = \"avro\"` or `value = \"protobuf\"` as well, or leave it out.",
            );
        }
        if rules.message.is_some() && (rules.schema.is_none() || rules.value != Some(ValueForm::Protobuf)) {
            return refused(
                "message",
                "names a message of no schema",
                "Write `value = \"protobuf\"` and `schema` as well, or leave it out.",
            );
        }
        let named = rules.schema.as_ref().map(|schema| Named {
            key: format!("{table}.schema"),
            schema: schema.clone(),
            message: rules.message.clone(),
        });
        Ok(Self { form: rules.value, named, described: None })
    }

    /// Looks up the schema that the scenario names.
    pub(super) fn resolve(&mut self, schemas: &Schemas) {
        let Some(named) = &self.named else { return };
        let found = schemas.described(&named.schema, named.message.as_deref());
        self.described = found.filter(|found| Some(found.kind()) == self.form.and_then(ValueForm::kind));
    }

    /// Refuses a schema that is named and is not there.
    pub(super) fn check_schema(&self, schemas: &Schemas) -> Result<(), SettingError> {
        let (Some(named), None, Some(form)) = (&self.named, &self.described, self.form) else { return Ok(()) };
        let of_message = named.message.as_ref().map(|message| format!(" with a message {message}")).unwrap_or_default();
        let problem = format!("the recording keeps no {} schema `{}`{of_message}", form.name(), named.schema);
        let subjects = schemas.subjects();
        let instead = match nearest(&named.schema, subjects.iter().copied()) {
            Some(near) => format!("Is it `{near}`?"),
            None if subjects.is_empty() => {
                "Capture with `--registry` to keep the schemas, or leave it out where values are framed.".to_owned()
            }
            None => format!(
                "Write a subject or an id; the recording keeps {}.",
                subjects.into_iter().take(5).collect::<Vec<_>>().join(", ")
            ),
        };
        Err(SettingError::new(&named.key, problem, instead))
    }

    /// Whether it is declared what values are.
    pub(super) fn is_declared(&self) -> bool {
        self.form.is_some()
    }

    /// Whether values are bytes by declaration, so that nothing of them is read as JSON.
    pub(super) fn is_opaque(&self) -> bool {
        self.form == Some(ValueForm::Bytes)
    }

    /// Whether values are text by declaration.
    pub(super) fn is_text(&self) -> bool {
        self.form == Some(ValueForm::Text)
    }

    /// Why a value is not what it is declared to be; none where it is, and where nothing is declared.
    pub(super) fn refusal(&self, value: &[u8], schemas: &Schemas) -> Option<String> {
        let form = self.form?;
        let why = self.declared(form, value, schemas).err()?;
        Some(format!("declared as {}, and {why}", form.name()))
    }

    /// Parts what frames a value from what it says.
    pub(super) fn parted<'v>(&self, value: &'v [u8], schemas: &Schemas) -> Parted<'v> {
        match self.form {
            Some(form) => self.declared(form, value, schemas).unwrap_or((&[], Cow::Borrowed(value))),
            None => recognised(value, schemas),
        }
    }

    /// What a value is shown as, where that is not itself.
    pub(super) fn shown(&self, value: &[u8], schemas: &Schemas) -> Option<Vec<u8>> {
        if self.form == Some(ValueForm::Text) {
            return None;
        }
        match self.parted(value, schemas) {
            (_, Cow::Owned(said)) => Some(said),
            (frame, Cow::Borrowed(said)) => (!frame.is_empty() && is_json(said)).then(|| said.to_vec()),
        }
    }

    /// Whether what frames a value leaves open what it frames: the schema is not known, and the value does not say by itself what
    /// it is.
    pub(super) fn is_open(&self, value: &[u8], schemas: &Schemas) -> bool {
        let framed = frame(value).filter(|framed| !schemas.knows(framed.id));
        self.form.is_none() && framed.is_some_and(|framed| !is_json(framed.rest))
    }

    /// Whether a value is read as JSON as it stands.
    pub(super) fn is_tree(&self, value: &[u8]) -> bool {
        matches!(self.form, None | Some(ValueForm::Json)) && is_json(value)
    }

    /// Reads a value as `form`, or says why it is none.
    fn declared<'v>(&self, form: ValueForm, value: &'v [u8], schemas: &Schemas) -> Result<Parted<'v>, String> {
        let whole = |said: Vec<u8>| (&value[..0], Cow::Owned(said));
        match form {
            ValueForm::Json => {
                let (framing, said) = schemas.decode(value).map_or_else(
                    |_| framed_json(value).unwrap_or((&value[..0], Cow::Borrowed(value))),
                    |said| (schemas.unframed(value).0, Cow::Owned(said)),
                );
                if is_json(&said) { Ok((framing, said)) } else { Err("no JSON".to_owned()) }
            }
            ValueForm::Avro | ValueForm::Protobuf => match (&self.named, &self.described) {
                (None, _) => framed_as(form, value, schemas),
                (Some(_), Some(described)) => described.decode(value).map(whole).map_err(|error| error.to_string()),
                (Some(named), None) => Err(format!("the schema {} is not known", named.schema)),
            },
            ValueForm::MessagePack => from_message_pack(value).map(whole).map_err(|error| error.to_string()),
            ValueForm::Text => {
                let text = std::str::from_utf8(value).map_err(|_| "no UTF-8".to_owned())?;
                Ok(whole(serde_json::Value::from(text).to_string().into_bytes()))
            }
            ValueForm::Bytes => Ok((&value[..0], Cow::Borrowed(value))),
        }
    }
}

/// Reads a value that a schema of the kind of `form` frames.
fn framed_as<'v>(form: ValueForm, value: &'v [u8], schemas: &Schemas) -> Result<Parted<'v>, String> {
    let said = schemas.decode(value).map_err(|error| error.to_string())?;
    match schemas.kind(value) {
        kind if kind == form.kind() => Ok((schemas.unframed(value).0, Cow::Owned(said))),
        kind => Err(format!("framed as {}", kind.map_or("something else", SchemaKind::name))),
    }
}

/// Reads a value of which nothing is declared: framed, with a known schema or not, MessagePack, or as it stands.
fn recognised<'v>(value: &'v [u8], schemas: &Schemas) -> Parted<'v> {
    if let Ok(said) = schemas.decode(value) {
        return (schemas.unframed(value).0, Cow::Owned(said));
    }
    if let Some(framed) = frame(value).filter(|framed| !framed.rest.is_empty()) {
        return (&value[..value.len() - framed.rest.len()], Cow::Borrowed(framed.rest));
    }
    match recognise_message_pack(value) {
        Some(said) => (&value[..0], Cow::Owned(said)),
        None => (&value[..0], Cow::Borrowed(value)),
    }
}

/// Reads JSON that a schema frames which is not known.
fn framed_json(value: &[u8]) -> Option<Parted<'_>> {
    let framed = frame(value)?;
    Some((&value[..value.len() - framed.rest.len()], Cow::Borrowed(framed.rest)))
}

fn is_json(bytes: &[u8]) -> bool {
    scan(bytes, &Automaton::default(), Wanted::default()).is_ok()
}

/// The one of `names` that `name` may be meant to be.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
    names.min_by_key(distance).filter(|known| distance(known) <= 1 + name.len() / 4)
}
