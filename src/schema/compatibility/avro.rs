//! Avro: schema resolution, <https://avro.apache.org/docs/1.12.0/specification/#schema-resolution>. The rules are named as Avro's
//! own `SchemaCompatibility` names them, which registries use.

use std::collections::BTreeSet;

use super::{Found, Rule};
use crate::schema::avro::{Avro, Named, Schema, Shape, Type};
use crate::schema::out::member;

const NAME: Rule = Rule("NAME_MISMATCH");
const TYPE: Rule = Rule("TYPE_MISMATCH");
const SIZE: Rule = Rule("FIXED_SIZE_MISMATCH");
const SYMBOLS: Rule = Rule("MISSING_ENUM_SYMBOLS");
const DEFAULT: Rule = Rule("READER_FIELD_MISSING_DEFAULT_VALUE");
const BRANCH: Rule = Rule("MISSING_UNION_BRANCH");

/// Finds what keeps a reader with `reader` from reading what was written with `writer`.
pub(super) fn reads(reader: &Avro, writer: &Avro) -> Found {
    let (reader, writer) = (reader.schema(), writer.schema());
    let mut check = Check { reader, writer, seen: BTreeSet::new(), found: Vec::new() };
    check.kind(&reader.root, &writer.root, "$");
    check.found
}

struct Check<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    /// Pairs of named types that were looked at: a record may hold itself.
    seen: BTreeSet<(usize, usize)>,
    found: Found,
}

impl Check<'_> {
    fn push(&mut self, path: &str, rule: Rule, what: String) {
        self.found.push((path.to_owned(), rule, what));
    }

    fn kind(&mut self, reader: &Type, writer: &Type, path: &str) {
        match (&reader.shape, &writer.shape) {
            // Whatever was written must be readable.
            (_, Shape::Union(branches)) => {
                for branch in branches {
                    if let Shape::Union(_) = &reader.shape {
                        self.one_of(reader, branch, path);
                    } else {
                        self.kind(reader, branch, path);
                    }
                }
            }
            (Shape::Union(_), _) => self.one_of(reader, writer, path),
            (Shape::Array(reader), Shape::Array(writer)) => self.kind(reader, writer, &format!("{path}[*]")),
            (Shape::Map(reader), Shape::Map(writer)) => self.kind(reader, writer, &format!("{path}.*")),
            (Shape::Named(reader), Shape::Named(writer)) => self.named(*reader, *writer, path),
            (one, other) if one == other || promoted(one, other) => {}
            _ => {
                let what = format!(
                    "{} is read where {} was written",
                    self.reader.name_of(reader),
                    self.writer.name_of(writer)
                );
                self.push(path, TYPE, what);
            }
        }
    }

    /// Some branch of a reader's union must read what was written.
    fn one_of(&mut self, union: &Type, writer: &Type, path: &str) {
        let Shape::Union(branches) = &union.shape else { return };
        let reads = branches.iter().any(|branch| {
            let mut trial =
                Check { reader: self.reader, writer: self.writer, seen: self.seen.clone(), found: Vec::new() };
            trial.kind(branch, writer, path);
            trial.found.is_empty()
        });
        if !reads {
            // Where a branch has the same name, what keeps it from being read is said, not that it is missing.
            let same = branches.iter().find(|branch| self.reader.name_of(branch) == self.writer.name_of(writer));
            match same {
                Some(branch) if matches!(branch.shape, Shape::Named(_) | Shape::Array(_) | Shape::Map(_)) => {
                    self.kind(branch, writer, path);
                }
                _ => {
                    let what =
                        format!("the union has no branch for {}, which was written", self.writer.name_of(writer));
                    self.push(path, BRANCH, what);
                }
            }
        }
    }

    fn named(&mut self, reader: usize, writer: usize, path: &str) {
        if !self.seen.insert((reader, writer)) {
            return;
        }
        let (reader, writer) = (&self.reader.named[reader], &self.writer.named[writer]);
        if !same_name(reader, writer) {
            let what = format!("{} is read where {} was written", reader.name(), writer.name());
            return self.push(path, NAME, what);
        }
        match (reader, writer) {
            (Named::Record { fields, .. }, Named::Record { fields: written, .. }) => {
                for field in fields {
                    let path = member(path, &field.name);
                    let names = |name: &String| *name == field.name || field.aliases.contains(name);
                    match written.iter().find(|written| names(&written.name)) {
                        Some(written) => self.kind(&field.kind, &written.kind, &path),
                        None if field.default.is_none() => {
                            let what = "it is read, was not written and has no default".to_owned();
                            self.push(&path, DEFAULT, what);
                        }
                        None => {}
                    }
                }
            }
            (Named::Enum { symbols, default, .. }, Named::Enum { symbols: written, .. }) => {
                let missing: Vec<&str> =
                    written.iter().filter(|symbol| !symbols.contains(symbol)).map(String::as_str).collect();
                if !missing.is_empty() && default.is_none() {
                    let what =
                        format!("{} may be written and is not known, and there is no default", missing.join(", "));
                    self.push(path, SYMBOLS, what);
                }
            }
            (Named::Fixed { size, .. }, Named::Fixed { size: written, .. }) => {
                if size != written {
                    self.push(path, SIZE, format!("{size} bytes are read where {written} were written"));
                }
            }
            _ => {
                let what = format!("{} is of another kind", writer.name());
                self.push(path, TYPE, what);
            }
        }
    }
}

/// Whether what was written as one primitive type is read as another.
fn promoted(reader: &Shape, writer: &Shape) -> bool {
    use Shape::{Bytes, Double, Float, Int, Long, String};
    matches!(
        (writer, reader),
        (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) | (String, Bytes) | (Bytes, String)
    )
}

/// Names match without their namespaces, or by an alias of the reader.
fn same_name(reader: &Named, writer: &Named) -> bool {
    let bare = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    bare(reader.name()) == bare(writer.name()) || reader.aliases().iter().any(|alias| alias == writer.name())
}
