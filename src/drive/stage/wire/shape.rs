//! The shape of each request, walked before it is decoded.
//!
//! `kafka-protocol` makes room for as many elements as an array claims to have before it reads the first: five bytes of rubbish
//! ask for hundreds of gigabytes, and memory that cannot be had ends the program. So every count and length is held against the
//! bytes that are there, first.
//!
//! A shape is written down in a notation of its own, fields in the order of the wire: `1` `2` `4` `8` `16` bytes, `s` a string, `b`
//! bytes, `[…]` an array, `{…}` a structure; `@3` from version 3 on, `@-3` up to it; `#16` the size of a structure's next tagged
//! field.

use std::cell::Cell;

use bytes::Buf;

/// Most elements of all arrays of a request together: an element of a few bytes takes some hundred once it is decoded.
const ELEMENTS_MAX: usize = 100_000;

/// Something on the wire.
#[derive(Debug)]
enum Item {
    Fixed(usize),
    Text,
    Bytes,
    Array(Box<Item>),
    Structure(Structure),
}

/// Fields in order, and the sizes of tagged fields, by tag.
#[derive(Debug, Default)]
struct Structure {
    fields: Vec<Field>,
    tagged: Vec<usize>,
}

#[derive(Debug)]
struct Field {
    item: Item,
    from: i16,
    to: i16,
}

/// The shape of one request, in all its versions.
#[derive(Debug)]
pub(super) struct Shape {
    body: Structure,
    flexible_from: i16,
}

impl Shape {
    /// Reads the notation; `flexible_from` is the first version with compact lengths and tagged fields.
    ///
    /// # Panics
    ///
    /// Where the notation is wrong: it stands in the sources, and a test reads all of it.
    pub(super) fn parse(notation: &str, flexible_from: i16) -> Self {
        let mut rest = notation;
        let body = structure(&mut rest);
        assert!(rest.is_empty(), "{notation}");
        Self { body, flexible_from }
    }

    /// Whether `bytes` hold a request of this shape: every length and count is borne by bytes that are there, and no more is in it
    /// than a client asks for.
    pub(super) fn fits(&self, version: i16, mut bytes: &[u8]) -> bool {
        let walk = Walk { version, flexible: version >= self.flexible_from, elements: Cell::new(0) };
        walk.structure(&self.body, &mut bytes).is_some()
    }
}

fn structure(rest: &mut &str) -> Structure {
    let mut made = Structure::default();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('}') {
            return made;
        }
        if take(rest, '#') {
            made.tagged.push(number(rest).expect("a size"));
            continue;
        }
        let item = item(rest);
        let (mut from, mut to) = (0, i16::MAX);
        if take(rest, '@') {
            from = number(rest).map_or(0, |from| from as i16);
            if take(rest, '-') {
                to = number(rest).expect("a version") as i16;
            }
        }
        made.fields.push(Field { item, from, to });
    }
}

fn item(rest: &mut &str) -> Item {
    if take(rest, 's') {
        Item::Text
    } else if take(rest, 'b') {
        Item::Bytes
    } else if take(rest, '[') {
        let inner = item(rest);
        assert!(take(rest, ']'), "an array that does not end: {rest}");
        Item::Array(Box::new(inner))
    } else if take(rest, '{') {
        let inner = structure(rest);
        assert!(take(rest, '}'), "a structure that does not end: {rest}");
        Item::Structure(inner)
    } else {
        Item::Fixed(number(rest).expect("an item"))
    }
}

fn take(rest: &mut &str, sign: char) -> bool {
    match rest.strip_prefix(sign) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

fn number(rest: &mut &str) -> Option<usize> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    number.parse().ok()
}

/// How one request is walked. None means that the bytes do not bear what they claim.
struct Walk {
    version: i16,
    flexible: bool,
    elements: Cell<usize>,
}

impl Walk {
    fn structure(&self, shape: &Structure, bytes: &mut &[u8]) -> Option<()> {
        for field in &shape.fields {
            if (field.from..=field.to).contains(&self.version) {
                self.item(&field.item, bytes)?;
            }
        }
        if self.flexible { tagged(&shape.tagged, bytes) } else { Some(()) }
    }

    fn item(&self, item: &Item, bytes: &mut &[u8]) -> Option<()> {
        match item {
            Item::Fixed(size) => skip(bytes, *size),
            Item::Text if !self.flexible => match bytes.try_get_i16().ok()? {
                -1 => Some(()),
                size => skip(bytes, usize::try_from(size).ok()?),
            },
            Item::Bytes if !self.flexible => match bytes.try_get_i32().ok()? {
                -1 => Some(()),
                size => skip(bytes, usize::try_from(size).ok()?),
            },
            Item::Text | Item::Bytes => match unsigned(bytes)? {
                0 => Some(()),
                more => skip(bytes, more as usize - 1),
            },
            Item::Array(inner) => {
                let count = if self.flexible {
                    (unsigned(bytes)? as usize).saturating_sub(1)
                } else {
                    usize::try_from(bytes.try_get_i32().ok()?.max(0)).ok()?
                };
                self.elements.set(self.elements.get().saturating_add(count));
                if count > bytes.len() || self.elements.get() > ELEMENTS_MAX {
                    return None;
                }
                (0..count).try_for_each(|_| self.item(inner, bytes).ok_or(())).ok()
            }
            Item::Structure(inner) => self.structure(inner, bytes),
        }
    }
}

pub(super) fn tagged(known: &[usize], bytes: &mut &[u8]) -> Option<()> {
    for _ in 0..unsigned(bytes)? {
        let tag = unsigned(bytes)? as usize;
        let size = unsigned(bytes)? as usize;
        // The decoder reads a field it knows by its type and does not look at the size: where they differ, it would read on in
        // another place than this walk.
        if known.get(tag).is_some_and(|known| *known != size) {
            return None;
        }
        skip(bytes, size)?;
    }
    Some(())
}

fn skip(bytes: &mut &[u8], size: usize) -> Option<()> {
    *bytes = bytes.get(size..)?;
    Some(())
}

fn unsigned(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = u32::from(bytes.try_get_u8().ok()?);
        value |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Shape {
        /// Writes a request of this shape; `dice` decide what it holds.
        pub(in crate::drive::stage::wire) fn sample(&self, version: i16, dice: &mut dyn FnMut() -> u8) -> Vec<u8> {
            let mut writer = Writer { version, flexible: version >= self.flexible_from, dice, bytes: Vec::new() };
            writer.structure(&self.body);
            writer.bytes
        }
    }

    struct Writer<'d> {
        version: i16,
        flexible: bool,
        dice: &'d mut dyn FnMut() -> u8,
        bytes: Vec<u8>,
    }

    impl Writer<'_> {
        fn structure(&mut self, shape: &Structure) {
            for field in &shape.fields {
                if (field.from..=field.to).contains(&self.version) {
                    self.item(&field.item);
                }
            }
            if self.flexible {
                self.bytes.push(0);
            }
        }

        fn item(&mut self, item: &Item) {
            match item {
                Item::Fixed(size) => (0..*size).for_each(|_| self.bytes.push((self.dice)())),
                Item::Text => {
                    let text = &b"some"[..usize::from((self.dice)() % 5)];
                    self.length(text.len(), 2);
                    self.bytes.extend_from_slice(text);
                }
                Item::Bytes => {
                    let size = usize::from((self.dice)());
                    self.length(size, 4);
                    (0..size).for_each(|_| self.bytes.push((self.dice)()));
                }
                Item::Array(inner) => {
                    let count = usize::from((self.dice)() % 3);
                    self.length(count, 4);
                    (0..count).for_each(|_| self.item(inner));
                }
                Item::Structure(inner) => self.structure(inner),
            }
        }

        fn length(&mut self, length: usize, width: usize) {
            if self.flexible {
                let length = length + 1;
                if length >= 0x80 {
                    self.bytes.push(length as u8 | 0x80);
                }
                self.bytes.push(if length >= 0x80 { (length >> 7) as u8 } else { length as u8 });
            } else {
                self.bytes.extend_from_slice(&(length as u64).to_be_bytes()[8 - width..]);
            }
        }
    }

    #[test]
    fn a_count_that_the_bytes_cannot_bear_is_refused() {
        let shape = Shape::parse("4 [{s 8@1}] 1@-0", 2);
        let mut bytes = vec![0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b'x', 1];
        assert!(shape.fits(0, &bytes));
        assert!(!shape.fits(1, &bytes));
        bytes[4..8].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(!shape.fits(0, &bytes));
        // Compact: no element, and no tagged field.
        assert!(shape.fits(2, &[0, 0, 0, 9, 1, 0]));
        assert!(!shape.fits(2, &[0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]));
    }

    #[test]
    fn more_elements_than_a_client_asks_for_are_refused() {
        let shape = Shape::parse("[{s [4]}]", i16::MAX);
        let nested = |topics: usize, partitions: usize| {
            let mut bytes = (topics as i32).to_be_bytes().to_vec();
            for _ in 0..topics {
                bytes.extend_from_slice(&[0, 0]);
                bytes.extend_from_slice(&(partitions as i32).to_be_bytes());
                bytes.resize(bytes.len() + 4 * partitions, 0);
            }
            bytes
        };
        for (topics, partitions, fits) in
            [(ELEMENTS_MAX, 0, true), (ELEMENTS_MAX + 1, 0, false), (100, 999, true), (100, 1_000, false)]
        {
            assert_eq!(shape.fits(0, &nested(topics, partitions)), fits, "{topics} {partitions}");
        }
    }

    #[test]
    fn a_tagged_field_has_the_size_of_its_type() {
        let shape = Shape::parse("4 #2", 0);
        assert!(shape.fits(0, &[0, 0, 0, 9, 1, 0, 2, 7, 7]));
        assert!(!shape.fits(0, &[0, 0, 0, 9, 1, 0, 1, 7]));
        assert!(shape.fits(0, &[0, 0, 0, 9, 1, 1, 1, 7]));
        assert!(!shape.fits(0, &[0, 0, 0, 9, 1, 1, 2, 7]));
    }
}
