//! Protobuf: <https://protobuf.dev/programming-guides/proto3/#updating>, as the registry judges it: what of a change is
//! incompatible is a removed message, a field whose kind changed, a required field that comes or goes, and a oneof that lost a
//! field or took more than one. <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/serdes-protobuf.html>.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Found, Rule};
use crate::schema::protobuf::Protobuf;

/// Finds what in the change from `old` to `new` keeps new readers from reading what was written with `old`.
pub(super) fn changes(old: &Protobuf, new: &Protobuf) -> Found {
    let mut check = Check { seen: BTreeSet::new(), found: Vec::new() };
    check.messages(old.file().messages(), new.file().messages());
    check.found
}

struct Check {
    /// Pairs of messages that were looked at: a message may hold itself.
    seen: BTreeSet<(String, String)>,
    found: Found,
}

impl Check {
    fn push(&mut self, path: String, rule: &'static str, what: String) {
        self.found.push((path, Rule(rule), what));
    }

    fn messages(&mut self, old: impl Iterator<Item = MessageDescriptor>, new: impl Iterator<Item = MessageDescriptor>) {
        let new: BTreeMap<String, MessageDescriptor> =
            new.map(|message| (message.name().to_owned(), message)).collect();
        for old in old.filter(|message| !message.is_map_entry()) {
            match new.get(old.name()) {
                Some(new) => self.message(&old, new),
                None => self.push(local(&old), "MESSAGE_REMOVED", "the message is gone".to_owned()),
            }
        }
    }

    fn message(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        if !self.seen.insert((old.full_name().to_owned(), new.full_name().to_owned())) {
            return;
        }
        let place = |number: u32| format!("{}#{number}", local(old));
        for field in old.fields() {
            let path = place(field.number());
            match new.get_field(field.number()) {
                Some(now) => self.field(&path, &field, &now),
                None if field.is_required() => {
                    let what = format!("{}, which is required, is gone", field.name());
                    self.push(path, "REQUIRED_FIELD_REMOVED", what);
                }
                None => {
                    // Gone from a oneof that is still there; a field by itself may go.
                    if let Some(oneof) = oneof(&field)
                        && new.oneofs().any(|other| other.name() == oneof && !other.is_synthetic())
                    {
                        let what = format!("{} is gone from the oneof {oneof}", field.name());
                        self.push(path, "ONEOF_FIELD_REMOVED", what);
                    }
                }
            }
        }
        for field in new.fields().filter(|field| field.is_required() && old.get_field(field.number()).is_none()) {
            let what = format!("{} is new and required", field.name());
            self.push(place(field.number()), "REQUIRED_FIELD_ADDED", what);
        }
        self.oneofs(old, new);
        self.messages(old.child_messages(), new.child_messages());
    }

    /// Fields that were set side by side cannot be any more once they share a oneof.
    fn oneofs(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        for group in new.oneofs().filter(|group| !group.is_synthetic()) {
            let before = |free: bool| {
                let fields = group.fields().filter_map(|field| old.get_field(field.number()));
                fields.filter(|field| oneof(field).is_none() == free).count()
            };
            let (moved, existing) = (before(true), before(false));
            let path = format!("{}.{}", local(old), group.name());
            if moved > 1 {
                let what = format!("{moved} fields moved into the oneof");
                self.push(path, "MULTIPLE_FIELDS_MOVED_TO_ONEOF", what);
            } else if moved == 1 && existing > 0 {
                self.push(
                    path,
                    "FIELD_MOVED_TO_EXISTING_ONEOF",
                    "a field moved into a oneof that had fields".to_owned(),
                );
            }
        }
    }

    fn field(&mut self, path: &str, old: &FieldDescriptor, new: &FieldDescriptor) {
        let what = || format!("{} was {}, is {}", old.name(), described(old), described(new));
        match (old.kind(), new.kind()) {
            // A group stands between two marks, a message behind its length.
            _ if old.is_map() != new.is_map() || old.is_group() != new.is_group() => {
                self.push(path.to_owned(), "FIELD_KIND_CHANGED", what());
            }
            (Kind::Message(before), Kind::Message(after)) if old.is_map() => {
                self.field(path, &before.map_entry_key_field(), &after.map_entry_key_field());
                self.field(path, &before.map_entry_value_field(), &after.map_entry_value_field());
            }
            (Kind::Message(before), Kind::Message(after)) => {
                if local(&before) == local(&after) {
                    self.message(&before, &after);
                } else {
                    self.push(path.to_owned(), "FIELD_NAMED_TYPE_CHANGED", what());
                }
            }
            (Kind::Message(_), _) | (_, Kind::Message(_)) => self.push(path.to_owned(), "FIELD_KIND_CHANGED", what()),
            (before, after) if wire(&before) != wire(&after) => {
                self.push(path.to_owned(), "FIELD_SCALAR_KIND_CHANGED", what());
            }
            // A list of numbers may be packed, which a single number never is; text and messages are read one by one. Not every
            // version of the registry looks at this, and Protobuf's own rules forbid it.
            (before, _) if old.is_list() != new.is_list() && !matches!(before, Kind::String | Kind::Bytes) => {
                self.push(path.to_owned(), "FIELD_NUMERIC_LABEL_CHANGED", what());
            }
            _ => {}
        }
    }
}

/// Scalars that read each other's bytes, <https://protobuf.dev/programming-guides/proto3/#updating>.
fn wire(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => "number",
        Kind::Sint32 | Kind::Sint64 => "signed number",
        Kind::String | Kind::Bytes => "text or bytes",
        Kind::Fixed32 | Kind::Sfixed32 => "fixed 32 bits",
        Kind::Fixed64 | Kind::Sfixed64 => "fixed 64 bits",
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::Message(_) => "message",
    }
}

fn described(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) if field.is_map() => {
            let (key, value) = (message.map_entry_key_field(), message.map_entry_value_field());
            return format!("map<{}, {}>", described(&key), described(&value));
        }
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(kind) => kind.full_name().to_owned(),
        kind => format!("{kind:?}").to_lowercase(),
    };
    if field.is_list() { format!("repeated {kind}") } else { kind }
}

/// The oneof that a field is written in; an `optional` of proto3 stands in none.
fn oneof(field: &FieldDescriptor) -> Option<String> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic()).map(|oneof| oneof.name().to_owned())
}

/// Name within its package, which may change.
fn local(message: &MessageDescriptor) -> String {
    let full = message.full_name();
    let package = message.package_name();
    full.strip_prefix(package).map_or(full, |rest| rest.trim_start_matches('.')).to_owned()
}
