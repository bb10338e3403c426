//! An Avro schema as data.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::logical::Logical;

/// A schema: its type, and the named types that types refer to by number.
#[derive(Debug)]
pub(in crate::schema) struct Schema {
    pub(in crate::schema) root: Type,
    pub(in crate::schema) named: Vec<Named>,
}

/// A type, with what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::schema) struct Type {
    pub(in crate::schema) shape: Shape,
    pub(super) logical: Option<Logical>,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::schema) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// Index into [`Schema::named`].
    Named(usize),
}

/// A type with a name.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::schema) enum Named {
    Record { name: String, aliases: Vec<String>, fields: Vec<Field> },
    Enum { name: String, aliases: Vec<String>, symbols: Vec<String>, default: Option<String> },
    Fixed { name: String, aliases: Vec<String>, size: usize },
}

impl Named {
    pub(in crate::schema) fn name(&self) -> &str {
        match self {
            Self::Record { name, .. } | Self::Enum { name, .. } | Self::Fixed { name, .. } => name,
        }
    }

    pub(in crate::schema) fn aliases(&self) -> &[String] {
        match self {
            Self::Record { aliases, .. } | Self::Enum { aliases, .. } | Self::Fixed { aliases, .. } => aliases,
        }
    }
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::schema) struct Field {
    pub(in crate::schema) name: String,
    pub(in crate::schema) aliases: Vec<String>,
    pub(in crate::schema) kind: Type,
    pub(in crate::schema) default: Option<Value>,
}

impl Schema {
    /// The name of a type as people write it.
    pub(in crate::schema) fn name_of(&self, kind: &Type) -> String {
        match &kind.shape {
            Shape::Null => "null".to_owned(),
            Shape::Boolean => "boolean".to_owned(),
            Shape::Int => "int".to_owned(),
            Shape::Long => "long".to_owned(),
            Shape::Float => "float".to_owned(),
            Shape::Double => "double".to_owned(),
            Shape::Bytes => "bytes".to_owned(),
            Shape::String => "string".to_owned(),
            Shape::Array(_) => "array".to_owned(),
            Shape::Map(_) => "map".to_owned(),
            Shape::Union(_) => "union".to_owned(),
            Shape::Named(number) => self.named[*number].name().to_owned(),
        }
    }

    pub(super) fn read<'t>(text: &str, references: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let mut reading = Reading { named: Vec::new(), numbers: BTreeMap::new(), logical: BTreeMap::new() };
        for reference in references {
            reading.text(reference)?;
        }
        let root = reading.text(text)?;
        // A name is there before its fields are read, so that a record may hold itself.
        let named: Option<Vec<Named>> = reading.named.into_iter().collect();
        Ok(Self { root, named: named.ok_or("a named type was never finished")? })
    }
}

struct Reading {
    named: Vec<Option<Named>>,
    numbers: BTreeMap<String, usize>,
    /// What a fixed stands for, which belongs to every place that names it.
    logical: BTreeMap<usize, Logical>,
}

impl Reading {
    fn text(&mut self, text: &str) -> Result<Type, String> {
        // A bare name of a primitive type is no JSON in some registries' answers.
        let value = serde_json::from_str(text).or_else(|error| match text.trim() {
            word if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') => {
                Ok(Value::from(word))
            }
            _ => Err(error.to_string()),
        })?;
        self.kind(&value, "")
    }

    fn kind(&mut self, value: &Value, namespace: &str) -> Result<Type, String> {
        match value {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(members) => self.object(members, namespace),
            _ => Err("a type is neither a name, nor an array, nor an object".to_owned()),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Type, String> {
        if let Some(shape) = primitive(name) {
            return Ok(Type { shape, logical: None });
        }
        let number = self.numbers.get(&full(name, namespace)).or_else(|| self.numbers.get(name));
        let number = number.ok_or_else(|| format!("the type `{name}` is not defined"))?;
        Ok(Type { shape: Shape::Named(*number), logical: self.logical.get(number).cloned() })
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<Type, String> {
        let branches: Vec<Type> =
            branches.iter().map(|branch| self.kind(branch, namespace)).collect::<Result<_, _>>()?;
        if branches.iter().any(|branch| matches!(branch.shape, Shape::Union(_))) {
            return Err("a union holds a union".to_owned());
        }
        Ok(Type { shape: Shape::Union(branches), logical: None })
    }

    fn object(&mut self, members: &Map<String, Value>, namespace: &str) -> Result<Type, String> {
        let inner = |name: &str| members.get(name).ok_or_else(|| format!("`{name}` is missing"));
        let kind = inner("type")?;
        let mut found = match kind.as_str() {
            Some("array") => {
                let items = self.kind(inner("items")?, namespace)?;
                Type { shape: Shape::Array(Box::new(items)), logical: None }
            }
            Some("map") => {
                let values = self.kind(inner("values")?, namespace)?;
                Type { shape: Shape::Map(Box::new(values)), logical: None }
            }
            Some(kind @ ("record" | "error" | "enum" | "fixed")) => self.define(kind, members, namespace)?,
            _ => self.kind(kind, namespace)?,
        };
        let size = match &found.shape {
            Shape::Named(number) => match self.named.get(*number) {
                Some(Some(Named::Fixed { size, .. })) => Some(*size),
                _ => None,
            },
            _ => None,
        };
        if let Some(logical) = Logical::read(members, &found.shape, size) {
            if let Shape::Named(number) = found.shape {
                self.logical.insert(number, logical.clone());
            }
            found.logical = Some(logical);
        }
        Ok(found)
    }

    fn define(&mut self, kind: &str, members: &Map<String, Value>, namespace: &str) -> Result<Type, String> {
        let name = members.get("name").and_then(Value::as_str).ok_or_else(|| format!("a {kind} has no name"))?;
        let given = members.get("namespace").and_then(Value::as_str);
        let name = full(name, given.unwrap_or(namespace));
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let aliases = texts(members.get("aliases")).into_iter().map(|alias| full(&alias, &namespace)).collect();
        let number = self.named.len();
        if self.numbers.insert(name.clone(), number).is_some() {
            return Err(format!("the type `{name}` is defined twice"));
        }
        self.named.push(None);
        let named = match kind {
            "enum" => {
                let symbols = texts(members.get("symbols"));
                let default = members.get("default").and_then(Value::as_str).map(str::to_owned);
                Named::Enum { name, aliases, symbols, default }
            }
            "fixed" => {
                let size = members.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                Named::Fixed { size: size.ok_or_else(|| format!("the fixed `{name}` has no size"))?, name, aliases }
            }
            _ => {
                let fields = members.get("fields").and_then(Value::as_array);
                let fields = fields.ok_or_else(|| format!("the record `{name}` has no fields"))?;
                let fields = fields.iter().map(|field| self.field(field, &namespace)).collect::<Result<_, _>>()?;
                Named::Record { name, aliases, fields }
            }
        };
        self.named[number] = Some(named);
        Ok(Type { shape: Shape::Named(number), logical: None })
    }

    fn field(&mut self, field: &Value, namespace: &str) -> Result<Field, String> {
        let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?.to_owned();
        let kind = field.get("type").ok_or_else(|| format!("the field `{name}` has no type"))?;
        let kind = self.kind(kind, namespace)?;
        Ok(Field { name, aliases: texts(field.get("aliases")), kind, default: field.get("default").cloned() })
    }
}

fn primitive(name: &str) -> Option<Shape> {
    Some(match name {
        "null" => Shape::Null,
        "boolean" => Shape::Boolean,
        "int" => Shape::Int,
        "long" => Shape::Long,
        "float" => Shape::Float,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "string" => Shape::String,
        _ => return None,
    })
}

/// The full name: a name with a dot stands for itself.
fn full(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
