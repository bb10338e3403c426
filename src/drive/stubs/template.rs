//! Answers that hold parts of the call: `{body.payment_id}`, `{path.id}`, `{key}`, `{id}`.
//!
//! Nothing more than putting a part in a place: what needs to be worked out is no stub any more.

use serde_json::{Map, Value};

use super::call::Asked;

/// Words that a name follows.
const NAMED: [&str; 4] = ["path", "query", "header", "body"];

/// A text with places for parts of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Key,
    Id,
    Path(String),
    Query(String),
    Header(String),
    /// Members of the JSON body, from the outside in; none of them for the whole.
    Body(Vec<String>),
}

/// Body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Empty,
    Text(Template),
    Json(Node),
}

/// JSON in whose texts parts of the call stand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Plain(Value),
    Text(Template),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// What a call offers to templates.
pub(super) struct Parts<'a> {
    pub(super) asked: &'a Asked,
    pub(super) json: Option<&'a Value>,
    pub(super) key: Option<&'a str>,
    pub(super) id: &'a str,
    pub(super) path: &'a std::collections::BTreeMap<String, String>,
}

impl Template {
    /// Reads a text; `names` are those of the path's pattern. Braces around anything but a word known here are text.
    ///
    /// # Errors
    ///
    /// What is wrong with a place, and what to write instead.
    pub(super) fn read(text: &str, names: &[String]) -> Result<Self, (String, String)> {
        let (mut pieces, mut kept, mut at) = (Vec::new(), 0, 0);
        while let Some(open) = text[at..].find('{').map(|open| at + open) {
            at = open + 1;
            let Some(close) = text[at..].find(['{', '}']).map(|close| at + close) else { break };
            if text.as_bytes()[close] == b'{' {
                continue;
            }
            if let Some(piece) = known(&text[at..close], names)? {
                if kept < open {
                    pieces.push(Piece::Text(text[kept..open].to_owned()));
                }
                pieces.push(piece);
                kept = close + 1;
            }
            at = close + 1;
        }
        if kept < text.len() {
            pieces.push(Piece::Text(text[kept..].to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The text for one call; a part that the call does not have is empty.
    pub(super) fn text(&self, parts: &Parts<'_>) -> String {
        self.0.iter().map(|piece| as_text(parts.of(piece))).collect()
    }

    /// The value for one call: that of a part that stands alone with its type, else the text.
    fn value(&self, parts: &Parts<'_>) -> Value {
        match &*self.0 {
            [piece] => parts.of(piece),
            _ => Value::String(self.text(parts)),
        }
    }
}

impl Body {
    /// Reads JSON in whose texts parts of the call may stand.
    ///
    /// # Errors
    ///
    /// As [`Template::read`].
    pub(super) fn json(value: &Value, names: &[String]) -> Result<Self, (String, String)> {
        Node::read(value, names).map(Self::Json)
    }

    /// The bytes for one call, and what they are.
    pub(super) fn fill(&self, parts: &Parts<'_>) -> (Vec<u8>, Option<&'static str>) {
        match self {
            Self::Empty => (Vec::new(), None),
            Self::Text(template) => (template.text(parts).into_bytes(), Some("text/plain; charset=utf-8")),
            Self::Json(node) => (node.fill(parts).to_string().into_bytes(), Some("application/json")),
        }
    }
}

impl Node {
    fn read(value: &Value, names: &[String]) -> Result<Self, (String, String)> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::read(text, names)?),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::read(item, names)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let read = |(name, value): (&String, &Value)| Ok((name.clone(), Self::read(value, names)?));
                Self::Object(members.iter().map(read).collect::<Result<_, (String, String)>>()?)
            }
            plain => Self::Plain(plain.clone()),
        })
    }

    fn fill(&self, parts: &Parts<'_>) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Text(template) if template.0.is_empty() => Value::String(String::new()),
            Self::Text(template) => template.value(parts),
            Self::List(items) => items.iter().map(|item| item.fill(parts)).collect(),
            Self::Object(members) => Value::Object(
                members.iter().map(|(name, node)| (name.clone(), node.fill(parts))).collect::<Map<_, _>>(),
            ),
        }
    }
}

impl Parts<'_> {
    fn of(&self, piece: &Piece) -> Value {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        match piece {
            Piece::Text(literal) => text(Some(literal)),
            Piece::Key => text(self.key),
            Piece::Id => text(Some(self.id)),
            Piece::Path(name) => text(self.path.get(name).map(String::as_str)),
            Piece::Query(name) => self.asked.query_value(name).map_or(Value::Null, Value::from),
            Piece::Header(name) => text(self.asked.header(name)),
            Piece::Body(members) => {
                let found = members.iter().try_fold(self.json, |value, name| match value {
                    Some(Value::Array(items)) => Some(items.get(name.parse::<usize>().ok()?)),
                    value => Some(value.and_then(|value| value.get(name))),
                });
                found.flatten().cloned().unwrap_or(Value::Null)
            }
        }
    }
}

fn as_text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        value => value.to_string(),
    }
}

fn known(word: &str, names: &[String]) -> Result<Option<Piece>, (String, String)> {
    match word {
        "key" => return Ok(Some(Piece::Key)),
        "id" => return Ok(Some(Piece::Id)),
        "body" => return Ok(Some(Piece::Body(Vec::new()))),
        _ => {}
    }
    let Some((kind, name)) = word.split_once('.').filter(|(_, name)| !name.is_empty()) else { return Ok(None) };
    let piece = match kind {
        "path" if !names.iter().any(|known| known == name) => {
            let known: Vec<String> = names.iter().map(|name| format!("`{{path.{name}}}`")).collect();
            let instead = match &*known {
                [] => format!("Write `{{{name}}}` in `path`, where it stands for a segment."),
                _ => format!("There are {}.", known.join(", ")),
            };
            return Err((format!("`{{{word}}}` names no part of the rule's path"), instead));
        }
        "path" => Piece::Path(name.to_owned()),
        "query" => Piece::Query(name.to_owned()),
        "header" => Piece::Header(name.to_ascii_lowercase()),
        "body" => Piece::Body(name.split('.').map(str::to_owned).collect()),
        _ => {
            let near = |known: &&&str| strsim::damerau_levenshtein(known, kind) == 1;
            return match NAMED.iter().find(near) {
                Some(meant) => {
                    Err((format!("`{{{word}}}` is no part of a call"), format!("Did you mean `{{{meant}.{name}}}`?")))
                }
                None => Ok(None),
            };
        }
    };
    Ok(Some(piece))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn filled(body: &Value) -> Value {
        let asked = Asked::sample("POST", "/v1/charges/7?expand=card%20a", &[("x-tenant", "north")], "");
        let json = json!({"payment": {"id": 17, "lines": [{"sku": "a"}]}});
        let path = BTreeMap::from([("id".to_owned(), "7".to_owned())]);
        let parts = Parts { asked: &asked, json: Some(&json), key: Some("k1"), id: "00ff", path: &path };
        let names = ["id".to_owned()];
        let (bytes, _) = Body::json(body, &names).unwrap().fill(&parts);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn an_answer_holds_parts_of_the_call() {
        for (body, expected) in [
            (json!({"id": "ch_{id}"}), json!({"id": "ch_00ff"})),
            (json!("{body.payment.id}"), json!(17)),
            (json!("no {body.payment.id}!"), json!("no 17!")),
            (json!(["{key}", "{path.id}", "{query.expand}"]), json!(["k1", "7", "card a"])),
            (json!("{header.X-Tenant}"), json!("north")),
            (json!("{body.payment.lines.0.sku}"), json!("a")),
            (json!("{body.nothing}"), json!(null)),
            (json!("<{body.nothing}>"), json!("<>")),
            (json!({"n": 1, "b": true, "t": "{ x }", "e": ""}), json!({"n": 1, "b": true, "t": "{ x }", "e": ""})),
        ] {
            assert_eq!(filled(&body), expected, "{body}");
        }
    }

    #[test]
    fn a_place_that_nothing_fills_is_refused() {
        for (text, hint) in [("{path.no}", "{path.id}"), ("{bdy.a}", "{body.a}"), ("{headers.a}", "{header.a}")] {
            let (problem, instead) = Template::read(text, &["id".to_owned()]).unwrap_err();
            assert!(problem.contains(text) && instead.contains(hint), "{problem}; {instead}");
        }
    }
}
