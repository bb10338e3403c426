//! JSON Schema: the payload is JSON. An edit changes only the text of what was edited.

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::known::parse;
use super::{DecodeError, EncodeError};

/// Checks that the payload is JSON and returns it as it stands.
pub(super) fn decode(payload: &[u8]) -> Result<&[u8], DecodeError> {
    // A tree is what everybody makes of it next, so what no tree can hold (too deep, numbers beyond all bounds) is refused here.
    serde_json::from_slice::<Value>(payload).map_err(|_| DecodeError::Malformed { what: "no JSON" })?;
    Ok(payload)
}

/// Writes `edited` over `payload`, keeping the text of all that is the same in both.
pub(super) fn encode(payload: &[u8], edited: &Value) -> Result<Vec<u8>, EncodeError> {
    let text = std::str::from_utf8(payload).map_err(|_| DecodeError::Malformed { what: "no UTF-8" })?;
    decode(payload)?;
    let mut out = Vec::with_capacity(payload.len());
    patch(text, edited, &mut out)?;
    Ok(out)
}

fn patch(text: &str, edited: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if parse(text.as_bytes())? == *edited {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    match edited {
        Value::Object(members) => {
            if let Some(parts) = parts(text, Members) {
                return patch_object(text, &parts, members, out);
            }
        }
        Value::Array(elements) => {
            if let Some(parts) = parts(text, Elements).filter(|parts| parts.len() == elements.len()) {
                let mut copied = 0;
                for (part, element) in parts.iter().zip(elements) {
                    let at = offset(text, part.get());
                    out.extend_from_slice(&text.as_bytes()[copied..at]);
                    patch(part.get(), element, out)?;
                    copied = at + part.get().len();
                }
                out.extend_from_slice(&text.as_bytes()[copied..]);
                return Ok(());
            }
        }
        _ => {}
    }
    // White space around a value belongs to what surrounds it.
    let bare = text.trim();
    let at = offset(text, bare);
    out.extend_from_slice(&text.as_bytes()[..at]);
    out.extend_from_slice(edited.to_string().as_bytes());
    out.extend_from_slice(&text.as_bytes()[at + bare.len()..]);
    Ok(())
}

/// Writes the members that stay, as they stand and in their order, and behind them those that are new.
fn patch_object(
    text: &str,
    parts: &[(String, &RawValue)],
    members: &serde_json::Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let same_names = parts.iter().all(|(name, _)| members.contains_key(name))
        && members.keys().all(|name| parts.iter().any(|(known, _)| known == name));
    if same_names {
        let mut copied = 0;
        for (name, part) in parts {
            let at = offset(text, part.get());
            out.extend_from_slice(&text.as_bytes()[copied..at]);
            patch(part.get(), &members[name], out)?;
            copied = at + part.get().len();
        }
        out.extend_from_slice(&text.as_bytes()[copied..]);
        return Ok(());
    }
    let mut first = true;
    let mut name_of = |name: &str, out: &mut Vec<u8>| {
        out.push(if first { b'{' } else { b',' });
        first = false;
        out.extend_from_slice(Value::from(name).to_string().as_bytes());
        out.push(b':');
    };
    for (name, part) in parts {
        if let Some(member) = members.get(name) {
            name_of(name, out);
            patch(part.get(), member, out)?;
        }
    }
    for (name, member) in members.iter().filter(|(name, _)| !parts.iter().any(|(known, _)| known == *name)) {
        name_of(name, out);
        out.extend_from_slice(member.to_string().as_bytes());
    }
    out.extend_from_slice(if first { b"{}" } else { b"}" });
    Ok(())
}

/// Where `part`, a piece of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

fn parts<'t, V: Visitor<'t>>(text: &'t str, visitor: V) -> Option<V::Value> {
    serde_json::Deserializer::from_str(text).deserialize_any(visitor).ok()
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = Vec<(String, &'t RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Elements;

impl<'t> Visitor<'t> for Elements {
    type Value = Vec<&'t RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = elements.next_element()? {
            parts.push(part);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_edited_is_spelled_anew() {
        let text = r#" { "b" : 1.0, "a":[ 1e2 , {"x":"\u0061"} ], "c":null } "#;
        for (edited, wanted) in [
            (json!({"a": [100.0, {"x": "a"}], "b": 1.0, "c": null}), text.to_owned()),
            (json!({"a": [100.0, {"x": "z"}], "b": 1.0, "c": null}), text.replace(r"\u0061", "z")),
            (json!({"a": [7, {"x": "a"}], "b": 1.0, "c": null}), text.replace("1e2", "7")),
            (json!({"a": [100.0, {"x": "a"}], "b": 1.0}), r#"{"b":1.0,"a":[ 1e2 , {"x":"\u0061"} ]}"#.to_owned()),
            (json!({"a": [], "b": 1.0, "c": null}), r#" { "b" : 1.0, "a":[], "c":null } "#.to_owned()),
            (json!({"n": 1}), r#"{"n":1}"#.to_owned()),
            (json!({}), "{}".to_owned()),
            (json!("gone"), r#" "gone" "#.to_owned()),
        ] {
            assert_eq!(String::from_utf8(encode(text.as_bytes(), &edited).unwrap()).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_no_json_is_not_decoded() {
        for bytes in [&b"{"[..], b"", b"\xff", b"{} {}"] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
