//! Avro's binary encoding to JSON text.

use super::model::{Named, Schema, Shape, Type};
use crate::schema::DecodeError;
use crate::schema::frame::zigzag;
use crate::schema::out::Out;

/// Reads values one after the other. Every step consumes bytes or writes text, and text is bounded: nothing that the bytes claim
/// (lengths, counts, depth) is believed before it is seen.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    pub(super) schema: &'a Schema,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(schema: &'a Schema, bytes: &'a [u8]) -> Self {
        Self { schema, bytes, at: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads a value of the type `kind` and writes what it says.
    pub(super) fn value(&mut self, kind: &Type, out: &mut Out) -> Result<(), DecodeError> {
        match &kind.shape {
            Shape::Null => out.raw("null"),
            Shape::Boolean => match self.take(1)? {
                [0] => out.raw("false"),
                [1] => out.raw("true"),
                _ => Err(DecodeError::Malformed { what: "a boolean is neither 0 nor 1" }),
            },
            Shape::Int | Shape::Long => self.number(kind, out),
            Shape::Float => out.float(f32::from_le_bytes(self.array()?)),
            Shape::Double => out.double(f64::from_le_bytes(self.array()?)),
            Shape::Bytes => {
                let bytes = self.sized()?;
                standing_for(kind, bytes, out)
            }
            Shape::String => out.string(self.text()?),
            Shape::Array(items) => {
                out.open("[")?;
                self.blocks(|reader| {
                    out.comma()?;
                    reader.value(items, out)
                })?;
                out.close("]")
            }
            Shape::Map(values) => {
                out.open("{")?;
                self.blocks(|reader| {
                    out.name(reader.text()?)?;
                    reader.value(values, out)
                })?;
                out.close("}")
            }
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                self.value(branch, out)
            }
            Shape::Named(number) => self.named(&self.schema.named[*number], kind, out),
        }
    }

    fn named(&mut self, named: &'a Named, kind: &Type, out: &mut Out) -> Result<(), DecodeError> {
        match named {
            Named::Record { fields, .. } => {
                out.open("{")?;
                for field in fields {
                    out.name(&field.name)?;
                    self.value(&field.kind, out)?;
                }
                out.close("}")
            }
            Named::Enum { symbols, .. } => {
                let symbol = usize::try_from(self.long()?).ok().and_then(|index| symbols.get(index));
                out.string(symbol.ok_or(DecodeError::Malformed { what: "an enum has no such symbol" })?)
            }
            Named::Fixed { size, .. } => {
                let bytes = self.take(*size)?;
                standing_for(kind, bytes, out)
            }
        }
    }

    fn number(&mut self, kind: &Type, out: &mut Out) -> Result<(), DecodeError> {
        let number = self.long()?;
        if kind.shape == Shape::Int && i32::try_from(number).is_err() {
            return Err(DecodeError::Malformed { what: "an int has more than 32 bits" });
        }
        match kind.logical.as_ref().and_then(|logical| logical.of_number(number)) {
            Some(text) => out.string(&text),
            None => out.raw(&number.to_string()),
        }
    }

    /// Reads which branch of a union follows.
    pub(super) fn branch<'t>(&mut self, branches: &'t [Type]) -> Result<&'t Type, DecodeError> {
        let branch = usize::try_from(self.long()?).ok().and_then(|index| branches.get(index));
        branch.ok_or(DecodeError::Malformed { what: "a union has no such branch" })
    }

    /// Reads the blocks of an array or a map, handing each item to `item`.
    pub(super) fn blocks<E: From<DecodeError>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                count = count.checked_neg().ok_or(DecodeError::Malformed { what: "a block has no such count" })?;
                // The bytes of the block, for readers that skip it.
                if self.long()? < 0 {
                    return Err(DecodeError::Malformed { what: "a block has a negative length" }.into());
                }
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    pub(super) fn long(&mut self) -> Result<i64, DecodeError> {
        let rest = &self.bytes[self.at..];
        let what = DecodeError::Malformed { what: "a number has more than 64 bits" };
        let (number, after) = zigzag(rest).ok_or(if rest.len() < 10 { DecodeError::Cut } else { what })?;
        self.at = self.bytes.len() - after.len();
        Ok(number)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.sized()?).map_err(|_| DecodeError::Malformed { what: "a string is no UTF-8" })
    }

    fn sized(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| DecodeError::Malformed { what: "a length is negative" })?)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Cut)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.bytes[self.at..].get(..length).ok_or(DecodeError::Cut)?;
        self.at += length;
        Ok(taken)
    }
}

/// Writes what bytes stand for, else text of the code points 0 to 255, as in Avro's own JSON encoding.
fn standing_for(kind: &Type, bytes: &[u8], out: &mut Out) -> Result<(), DecodeError> {
    match kind.logical.as_ref().and_then(|logical| logical.of_bytes(bytes)) {
        Some(text) => out.raw(&text),
        None => out.string(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}
