//! MessagePack that is edited where it stands: what no edit touches keeps its bytes, however unusually it is spelled.

use chrono::DateTime;

use super::message_pack::{Form, Place, TIMESTAMP, may_be_message_pack, placed};

/// A value of which nobody said that it is MessagePack, and where all that it holds stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    text: Vec<u8>,
    places: Vec<Place>,
}

/// What a value is that JSON has no notation for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedKind<'v> {
    /// What it is in the text.
    Plain,
    /// Bytes, text that is no UTF-8, or an extension: these bytes.
    Data(&'v [u8]),
    /// A timestamp; what it says is the text of the one member that it has in the text.
    Time,
    /// No number.
    Float,
}

/// What becomes of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackedEdit {
    /// It goes with its key. The outermost value cannot.
    Drop,
    /// Nothing stands in its place.
    Nil,
    /// This text does; where it was a timestamp and the text is one in RFC 3339, that timestamp.
    Text(String),
    /// This number does, as wide as the one that it was where it fits.
    Number(String),
}

impl Packed {
    /// Reads bytes that can hardly be anything else than MessagePack, as [`recognise_message_pack`](super::recognise_message_pack) does.
    pub fn recognise(bytes: &[u8]) -> Option<Self> {
        let (text, places) = may_be_message_pack(bytes).then(|| placed(bytes).ok())??;
        Some(Self { text, places })
    }

    /// The JSON that it says. Its values, in the order in which they begin there, are counted from zero.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The value that the `number`-th of the text is, or is a part of the notation of.
    pub fn outer(&self, number: usize) -> usize {
        match self.places.get(number).map(|place| place.form) {
            Some(Form::Within(behind)) => number.saturating_sub(behind),
            _ => number,
        }
    }

    /// What the `number`-th value of the text is among `bytes`, from which it was read.
    pub fn kind<'v>(&self, bytes: &'v [u8], number: usize) -> PackedKind<'v> {
        match self.places.get(number).map(|place| place.form) {
            Some(Form::Data { start, end }) => PackedKind::Data(&bytes[start..end]),
            Some(Form::Time) => PackedKind::Time,
            Some(Form::Float) => PackedKind::Float,
            _ => PackedKind::Plain,
        }
    }

    /// Writes `bytes`, from which it was read, with these edits: each of a value that is no part of another's notation, in ascending
    /// order, none inside of another. Without edits the result is `bytes`.
    pub fn edited(&self, bytes: &[u8], edits: &[(usize, PackedEdit)]) -> Vec<u8> {
        let mut patches = self.fewer(bytes, edits);
        for (number, edit) in edits {
            let Some(place) = self.places.get(*number) else { continue };
            let (start, with) = match edit {
                PackedEdit::Drop => (place.member, Vec::new()),
                PackedEdit::Nil => (place.start, vec![0xC0]),
                PackedEdit::Text(text) if place.form == Form::Time => {
                    (place.start, timestamp(text, &bytes[place.start..place.end]).unwrap_or_else(|| string(text)))
                }
                PackedEdit::Text(text) => (place.start, string(text)),
                PackedEdit::Number(text) => (place.start, number_like(text, bytes[place.start])),
            };
            patches.push(Patch { start, end: place.end, with });
        }
        patches.sort_by_key(|patch| patch.start);
        let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), 0);
        for Patch { start, end, with } in patches {
            out.extend_from_slice(&bytes[rest..start]);
            out.extend_from_slice(&with);
            rest = end;
        }
        out.extend_from_slice(&bytes[rest..]);
        out
    }

    /// The heads of maps and arrays that edits take members from.
    fn fewer(&self, bytes: &[u8], edits: &[(usize, PackedEdit)]) -> Vec<Patch> {
        let dropped = edits.iter().filter(|(_, edit)| *edit == PackedEdit::Drop).map(|(number, _)| *number);
        let mut parents = self.parents(dropped);
        parents.sort_unstable();
        let heads = parents.chunk_by(|one, other| one == other);
        heads.map(|gone| head(bytes, self.places[gone[0]].start, gone.len() as u64)).collect()
    }

    /// The maps and arrays that hold these values, which are in ascending order: of each the last one that begins ahead of it and
    /// ends behind it.
    fn parents(&self, numbers: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut numbers = numbers.peekable();
        // Those that have begun and not ended, the innermost last.
        let mut open: Vec<usize> = Vec::new();
        let mut parents = Vec::new();
        let own = self.places.iter().enumerate().filter(|(_, place)| !matches!(place.form, Form::Within(_)));
        for (at, place) in own {
            while numbers.next_if(|number| *number < at).is_some() {}
            if numbers.peek().is_none() {
                break;
            }
            while open.pop_if(|last| self.places[*last].end < place.end).is_some() {}
            if numbers.next_if_eq(&at).is_some() {
                parents.extend(open.last());
            }
            open.push(at);
        }
        parents
    }
}

/// Bytes that stand in the place of others.
struct Patch {
    start: usize,
    end: usize,
    with: Vec<u8>,
}

/// The head of the map or array at `start`, of the same width, with so many members less.
fn head(bytes: &[u8], start: usize, less: u64) -> Patch {
    let marker = bytes[start];
    let size = match marker {
        0xDC | 0xDE => 2,
        0xDD | 0xDF => 4,
        _ => return Patch { start, end: start + 1, with: vec![marker - less as u8] },
    };
    let end = start + 1 + size;
    let count = bytes[start + 1..end].iter().fold(0, |count, byte| count << 8 | u64::from(*byte)) - less;
    let with = std::iter::once(marker).chain(count.to_be_bytes()[8 - size..].iter().copied()).collect();
    Patch { start, end, with }
}

fn string(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut out = match length {
        0..32 => vec![0xA0 | length as u8],
        32..0x100 => vec![0xD9, length as u8],
        0x100..0x1_0000 => [&[0xDA][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[0xDB][..], &(length as u32).to_be_bytes()].concat(),
    };
    out.extend_from_slice(text.as_bytes());
    out
}

/// A number in the form that `marker` begins, where it fits; else in the shortest one that holds it exactly.
fn number_like(text: &str, marker: u8) -> Vec<u8> {
    let whole: Option<i128> = text.parse().ok();
    let double: Option<f64> = text.parse().ok();
    let is_float = matches!(marker, 0xCA | 0xCB);
    let exact = |number: f64| whole.is_none_or(|whole| number as i128 == whole && number.abs() < 9e15);
    match (whole, double) {
        (_, Some(number)) if is_float && exact(number) => float(number, marker),
        (Some(whole), _) => integer(whole, marker).unwrap_or_else(|| string(text)),
        (None, Some(number)) => float(number, 0xCB),
        (None, None) => string(text),
    }
}

fn float(number: f64, marker: u8) -> Vec<u8> {
    let narrow = number as f32;
    if marker == 0xCA && f64::from(narrow).to_bits() == number.to_bits() {
        return [&[0xCA][..], &narrow.to_be_bytes()].concat();
    }
    [&[0xCB][..], &number.to_be_bytes()].concat()
}

/// An integer as wide as what `marker` begins; none where no integer of MessagePack is so large.
fn integer(number: i128, marker: u8) -> Option<Vec<u8>> {
    let unsigned = |marker: u8| (0xCC..=0xCF).contains(&marker).then(|| 1_u32 << (marker - 0xCC));
    let signed = |marker: u8| (0xD0..=0xD3).contains(&marker).then(|| 1_u32 << (marker - 0xD0));
    let fits = |marker: u8| match (unsigned(marker), signed(marker)) {
        (Some(width), _) => (0..1_i128 << (8 * width)).contains(&number),
        (_, Some(width)) => (-(1_i128 << (8 * width - 1))..1_i128 << (8 * width - 1)).contains(&number),
        _ => false,
    };
    let written = |marker: u8| {
        let width = unsigned(marker).or(signed(marker)).unwrap_or(8) as usize;
        [&[marker][..], &number.to_be_bytes()[16 - width..]].concat()
    };
    if fits(marker) {
        return Some(written(marker));
    }
    match number {
        -32..128 => Some(vec![number as i8 as u8]),
        _ => (0xCC..=0xD3)
            .filter(|marker| fits(*marker))
            .min_by_key(|marker| unsigned(*marker).or(signed(*marker)))
            .map(written),
    }
}

/// The timestamp that `text` is in RFC 3339, in the form of `was` where it fits; none where it is none.
fn timestamp(text: &str, was: &[u8]) -> Option<Vec<u8>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let (seconds, nanoseconds) = (time.timestamp(), time.timestamp_subsec_nanos());
    if nanoseconds >= 1_000_000_000 {
        return None;
    }
    let kind = TIMESTAMP as u8;
    Some(match (was.len(), u32::try_from(seconds), u64::try_from(seconds)) {
        (6, Ok(seconds), _) if nanoseconds == 0 => [&[0xD6, kind][..], &seconds.to_be_bytes()].concat(),
        (6 | 10, _, Ok(seconds)) if seconds < 1 << 34 => {
            [&[0xD7, kind][..], &(u64::from(nanoseconds) << 34 | seconds).to_be_bytes()].concat()
        }
        _ => [&[0xC7, 12, kind][..], &nanoseconds.to_be_bytes(), &seconds.to_be_bytes()].concat(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value;

    use super::super::from_message_pack;
    use super::*;

    fn edited(bytes: &[u8], edits: &[(usize, PackedEdit)]) -> Vec<u8> {
        Packed::recognise(bytes).unwrap().edited(bytes, edits)
    }

    #[test]
    fn what_is_edited_stands_there_and_all_else_keeps_its_bytes() {
        let text = |text: &str| PackedEdit::Text(text.to_owned());
        let number = |text: &str| PackedEdit::Number(text.to_owned());
        for (bytes, edits, expected) in [
            // Spelled at length where one byte would do.
            (&b"\x82\xa1a\xcd\x00\x07\xd9\x01b\x01"[..], vec![], &b"\x82\xa1a\xcd\x00\x07\xd9\x01b\x01"[..]),
            (b"\x82\xa1a\xcd\x00\x07\xd9\x01b\x01", vec![(2, text("x"))], b"\x82\xa1a\xcd\x00\x07\xd9\x01b\xa1x"),
            (b"\x82\xa1a\xcd\x00\x07\xa1b\x01", vec![(1, number("300"))], b"\x82\xa1a\xcd\x01\x2c\xa1b\x01"),
            (b"\x82\xa1a\xcd\x00\x07\xa1b\x01", vec![(1, PackedEdit::Drop)], b"\x81\xa1b\x01"),
            (b"\x82\xa1a\x07\xa1b\x01", vec![(1, PackedEdit::Drop), (2, PackedEdit::Drop)], b"\x80"),
            (b"\x92\x91\x01\x02", vec![(2, PackedEdit::Drop)], b"\x92\x90\x02"),
            (b"\x92\x91\x01\x02", vec![(1, PackedEdit::Drop)], b"\x91\x02"),
            // From two beside each other, from one inside of another, and from the one around both.
            (b"\x92\x91\x01\x91\x02", vec![(2, PackedEdit::Drop), (4, PackedEdit::Drop)], b"\x92\x90\x90"),
            (b"\x92\x92\x01\x91\x02\x03", vec![(2, PackedEdit::Drop), (4, PackedEdit::Drop)], b"\x92\x91\x90\x03"),
            (b"\x92\x91\x01\x02", vec![(2, PackedEdit::Drop), (3, PackedEdit::Drop)], b"\x91\x90"),
            (b"\xde\x00\x02\xa1a\x07\xa1b\x01", vec![(2, PackedEdit::Drop)], b"\xde\x00\x01\xa1a\x07"),
            (b"\xdf\x00\x00\x00\x01\xa1a\x07", vec![(1, PackedEdit::Nil)], b"\xdf\x00\x00\x00\x01\xa1a\xc0"),
            // Bytes stand as an object in the text: what is behind them is counted behind its one member.
            (b"\x92\xc4\x01\xff\x02", vec![(3, number("5"))], b"\x92\xc4\x01\xff\x05"),
            (b"\x92\xc4\x01\xff\x02", vec![(1, text("x"))], b"\x92\xa1x\x02"),
            (b"\x92\xd4\x05\x00\x02", vec![(4, PackedEdit::Drop)], b"\x91\xd4\x05\x00"),
            (b"\x91\xca\x3f\x80\x00\x00", vec![(1, number("2.5"))], b"\x91\xca\x40\x20\x00\x00"),
            (b"\x91\xca\x3f\x80\x00\x00", vec![(1, number("0.1"))], b"\x91\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
            (b"\x91\x07", vec![(1, number("-129"))], b"\x91\xd1\xff\x7f"),
            (
                b"\x91\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
                vec![(1, number("9999999999999999"))],
                b"\x91\xcf\x00\x23\x86\xf2\x6f\xc0\xff\xff",
            ),
            (b"\x91\xd6\xff\x50\xe7\x6d\x00", vec![(1, text("2013-01-06T00:00:00Z"))], b"\x91\xd6\xff\x50\xe8\xbe\x80"),
            (b"\x91\xd6\xff\x50\xe7\x6d\x00", vec![(1, text("x"))], b"\x91\xa1x"),
        ] {
            assert_eq!(edited(bytes, &edits), expected, "{bytes:x?} {edits:?}");
        }
        let long = "x".repeat(300);
        assert_eq!(
            from_message_pack(&edited(b"\x91\x07", &[(1, text(&long))])).unwrap(),
            format!(r#"["{long}"]"#).as_bytes()
        );
    }

    #[test]
    fn only_what_can_hardly_be_anything_else_is_read() {
        for bytes in
            [&b"{\"a\":1}"[..], b"", b"\x07", b"\xa1a", b"\x92\x01", b"\x91\x01\x01", b"\x00\x00\x00\x00\x07\x91\x01"]
        {
            assert_eq!(Packed::recognise(bytes), None, "{bytes:x?}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::F32),
            any::<f64>().prop_map(Value::F64),
            "[a-z@1\u{e9}]{0,40}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Binary),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..17)).prop_map(|(kind, data)| Value::Ext(kind, data)),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..6).prop_map(Value::Map),
            ]
        })
    }

    fn packed(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn nothing_changed_is_the_same_bytes(values in prop::collection::vec(value(), 0..5)) {
            let bytes = packed(&Value::Array(values));
            let Some(read) = Packed::recognise(&bytes) else { return Ok(()) };
            prop_assert_eq!(read.text(), from_message_pack(&bytes).unwrap());
            prop_assert_eq!(read.edited(&bytes, &[]), bytes);
        }

        /// Of any one value that is replaced, dropped or made nothing: what is left says what the text says, edited so.
        #[test]
        fn one_edit_changes_what_it_names_and_nothing_else(
            values in prop::collection::vec(value(), 1..5),
            at in any::<prop::sample::Index>(),
            edit in prop::sample::select(&["text", "nil", "drop"][..]),
        ) {
            let bytes = packed(&Value::Array(values));
            let Some(read) = Packed::recognise(&bytes) else { return Ok(()) };
            let number = read.outer(at.index(read.places.len()));
            prop_assume!(number > 0);
            let (with, instead) = match edit {
                "text" => (PackedEdit::Text("x".to_owned()), &b"\xa1x"[..]),
                "nil" => (PackedEdit::Nil, &b"\xc0"[..]),
                _ => (PackedEdit::Drop, &b""[..]),
            };
            let after = read.edited(&bytes, &[(number, with.clone())]);
            let place = read.places[number];
            let start = if with == PackedEdit::Drop { place.member } else { place.start };
            // Of a map or array that has a member less, the head says so; its width is the same.
            prop_assert!(after.ends_with(&bytes[place.end..]));
            prop_assert_eq!(after.len(), bytes.len() - (place.end - start) + instead.len());
            let changed: Vec<usize> = (0..start).filter(|at| bytes[*at] != after[*at]).collect();
            prop_assert_eq!(changed.is_empty(), with != PackedEdit::Drop, "{:?}", changed);
            prop_assert!(from_message_pack(&after).is_ok());
            prop_assert!(after[start..].starts_with(instead));
        }
    }
}
