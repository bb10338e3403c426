//! Schemas of a registry: what frames a value, what the value says as JSON, and how schemas follow on each other.
//!
//! In come the texts of schemas ([`SchemaText`]), once, into [`Schemas`]; out comes, for a framed value, the JSON that it says
//! ([`Schemas::decode`]), and for JSON that was edited, the value with only those bytes changed that the edit asks for
//! ([`Schemas::encode`]). Values that a schema describes and nothing frames are decoded by [`Described`], MessagePack by
//! [`from_message_pack`]. [`compatibility()`] says whether readers of one schema read what another wrote. Memory and depth are
//! bounded whatever the bytes say. What never happens here: a file or a registry is opened, a value is guessed at,
//! but for MessagePack where it can hardly be anything else ([`recognise_message_pack`]).

mod avro;
mod compatibility;
mod error;
mod frame;
mod json;
mod known;
mod message_pack;
mod out;
mod packed;
mod protobuf;
mod text;

pub use compatibility::{Break, Compatibility, Direction, Level, Rule, compatibility};
pub use error::{DecodeError, EncodeError, SchemaError};
pub use frame::{Frame, HEADERS, Part, frame};
pub use known::{Described, Schemas};
pub use message_pack::{from_message_pack, recognise_message_pack, seen_in_message_pack};
pub use packed::{Packed, PackedEdit, PackedKind};
pub use text::{Reference, SchemaKind, SchemaText, SubjectVersion};
