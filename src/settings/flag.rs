//! A flag's value, of one of the types that `OpenFeature` has.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Number, Value};

/// Most bytes of a flag's name.
const NAME_BYTES_MAX: usize = 200;

/// What TOML's own dates begin with where they are taken for tables.
const DATE: &str = "$__toml_private";

/// A flag's value: a boolean, a number, text or an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Flag {
    value: Value,
    /// What is shown of it, where the value is not to be.
    shown: Option<String>,
}

/// The type of a flag's value: builds ask for one, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number or a fraction.
    Number,
    /// Text.
    Text,
    /// An object of JSON.
    Object,
}

impl fmt::Display for FlagKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Object => "an object",
        })
    }
}

impl Flag {
    /// What it is, as JSON: never null and never a list.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its type.
    pub fn kind(&self) -> FlagKind {
        match &self.value {
            Value::Bool(_) => FlagKind::Boolean,
            Value::Number(_) => FlagKind::Number,
            Value::String(_) => FlagKind::Text,
            Value::Object(_) | Value::Array(_) | Value::Null => FlagKind::Object,
        }
    }

    /// It as a variable of the environment holds it: text as it stands, anything else as JSON.
    pub fn text(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }
    }

    /// Shows `text` in place of its value from here on.
    #[must_use]
    pub fn shown_as(self, text: impl Into<String>) -> Self {
        Self { shown: Some(text.into()), ..self }
    }

    /// What may be shown of it.
    pub fn shown(&self) -> Value {
        self.shown.clone().map_or_else(|| self.value.clone(), Value::String)
    }
}

impl From<bool> for Flag {
    fn from(value: bool) -> Self {
        Self { value: value.into(), shown: None }
    }
}

impl From<&str> for Flag {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Flag {
    fn from(text: String) -> Self {
        Self { value: text.into(), shown: None }
    }
}

impl fmt::Debug for Flag {
    /// Shows no value that is not to be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flag").field(&self.shown()).finish()
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor).map(|value| Self { value, shown: None })
    }
}

impl JsonSchema for Flag {
    fn schema_name() -> Cow<'static, str> {
        "Flag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "string", "number", "object"], "description": "A flag's value" })
    }
}

struct FlagVisitor;

impl<'de> de::Visitor<'de> for FlagVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, text or a table")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom(format!("`{value}` is no number that a flag can have")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        let value = Value::deserialize(MapAccessDeserializer::new(map))?;
        check_inside(&value).map(|()| value).map_err(de::Error::custom)
    }
}

/// Looks for what JSON does not have: dates, and numbers that are none.
fn check_inside(value: &Value) -> Result<(), &'static str> {
    match value {
        Value::Null => Err("a flag's object holds a number that JSON does not have"),
        Value::Array(values) => values.iter().try_for_each(check_inside),
        Value::Object(fields) if fields.keys().any(|name| name.starts_with(DATE)) => {
            Err("a flag has no dates; write text in quotes")
        }
        Value::Object(fields) => fields.values().try_for_each(check_inside),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Returns the variable of the environment by which a build is told of the flag `name`: `REHEARSAL_FLAG_NEW_ROUNDING` of
/// `new-rounding`.
///
/// # Errors
///
/// What is wrong with the name, as a fragment.
pub fn flag_variable(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(format!("`{name}` cannot become an environment variable"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("the name of a flag has {} bytes, and {NAME_BYTES_MAX} is the most", name.len()));
    }
    Ok(format!("REHEARSAL_FLAG_{}", name.to_ascii_uppercase().replace(['-', '.'], "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Flag, String> {
        #[derive(Debug, Deserialize)]
        struct One {
            flag: Flag,
        }
        toml::from_str::<One>(&format!("flag = {text}")).map(|one| one.flag).map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_keeps_the_type_that_it_is_written_with() {
        for (text, kind, json, variable) in [
            ("false", FlagKind::Boolean, "false", "false"),
            ("3", FlagKind::Number, "3", "3"),
            ("0.25", FlagKind::Number, "0.25", "0.25"),
            ("'true'", FlagKind::Text, "\"true\"", "true"),
            (
                "{ share = 3, to = ['a', 1] }",
                FlagKind::Object,
                r#"{"share":3,"to":["a",1]}"#,
                r#"{"share":3,"to":["a",1]}"#,
            ),
        ] {
            let flag = read(text).unwrap();
            assert_eq!((flag.kind(), &*flag.value().to_string(), &*flag.text()), (kind, json, variable), "{text}");
            assert_eq!(serde_json::to_string(&flag).unwrap(), json);
        }
    }

    #[test]
    fn what_openfeature_has_no_type_for_is_refused() {
        for (text, says) in [
            ("[1, 2]", "a boolean, a number, text or a table"),
            ("nan", "no number"),
            ("{ a = { b = inf } }", "JSON does not have"),
            ("2013-01-05T00:00:00Z", "no dates"),
            ("{ since = 2013-01-05 }", "no dates"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_value_that_is_not_to_be_shown_shows_nowhere() {
        let flag = read("'hush-hush'").unwrap().shown_as("${TOKEN}");
        assert_eq!((&*flag.text(), flag.shown()), ("hush-hush", Value::from("${TOKEN}")));
        assert!(!format!("{flag:?}").contains("hush"));
    }

    #[test]
    fn names_become_variables() {
        assert_eq!(flag_variable("check-out.v2_b").unwrap(), "REHEARSAL_FLAG_CHECK_OUT_V2_B");
        for name in ["", "a b", "ä", "a=b", "a/b"] {
            assert!(flag_variable(name).is_err(), "{name}");
        }
        assert!(flag_variable(&"x".repeat(201)).is_err());
    }
}
