//! Where in a text something may be found: what detectors want first is asked of 64 bytes at once, and most texts are left at that.
//!
//! Each byte is sorted into a few classes, each class of a block of 64 bytes becomes a number with a bit for each byte, and what
//! several bytes must be together is told by shifts. A place too many costs a look of the detector; none may be missing.

#[cfg(target_arch = "x86_64")]
mod vector;

/// Bytes of a block: as many as a number has bits.
const BLOCK: usize = 64;

/// Blocks that are looked at together.
const BLOCKS: usize = 4;

/// Bytes of a window.
const WINDOW: usize = BLOCKS * BLOCK;

/// A bit for each byte of a window, the first of a block in the lowest bit.
type Bits = [u64; BLOCKS];

/// Places in order, each once. Digits stand for the number that they begin.
pub(super) struct Places<'t> {
    text: &'t [u8],
    /// Where the window begins.
    start: usize,
    marks: Bits,
    /// Number of the block whose places come now, and which of them are still to come.
    block: usize,
    left: u64,
    others: bool,
}

impl<'t> Places<'t> {
    #[inline]
    pub(super) fn of(text: &'t [u8]) -> Self {
        let (marks, others) = marks(text, 0);
        Self { text, start: 0, marks, block: 0, left: marks[0], others }
    }

    /// Whether, in what was looked at so far, a byte stands that escapes made of other letters and spaces that do not break
    /// begin with: `\\`, C2 or E2.
    pub(super) fn means_others(&self) -> bool {
        self.others
    }
}

impl Iterator for Places<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            self.block += 1;
            if self.block == BLOCKS {
                if self.text.len() - self.start <= WINDOW {
                    self.block -= 1;
                    return None;
                }
                self.start += WINDOW;
                let (marks, others) = marks(&self.text[self.start..], self.text[self.start - 1]);
                (self.marks, self.block, self.others) = (marks, 0, self.others | others);
            }
            self.left = self.marks[self.block];
        }
        let place = self.start + self.block * BLOCK + self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(place)
    }
}

/// Marks the places of the first window of `text`, and tells whether there is anything that may mean another letter; `before` is
/// the byte ahead of it.
#[inline]
fn marks(text: &[u8], before: u8) -> (Bits, bool) {
    let window = &text[..text.len().min(WINDOW)];
    #[cfg(target_arch = "x86_64")]
    if let Some(marks) = vector::marks(window, before) {
        return marks;
    }
    let classes = Classes::of(window, Classes::sort);
    (places(&classes, before), classes.means_others())
}

/// Which bytes of a window are what.
#[derive(Default)]
struct Classes {
    digits: Bits,
    zeros: Bits,
    capitals: Bits,
    /// Letters and digits.
    words: Bits,
    /// `-` and `_`.
    joins: Bits,
    /// Space, `.` and `/`.
    gaps: Bits,
    /// `@`, `+` and `(`.
    alone: Bits,
    /// `y`, in capitals or not, and `g`.
    y: Bits,
    /// What stands behind them: `J`, `=`, `:`, `"`, a space and a backslash.
    behind_y: Bits,
    /// What begins with what may mean another letter: `\\`, C2 and E2.
    others: Bits,
}

impl Classes {
    #[expect(
        clippy::inline_always,
        reason = "compiled once more with what other machines lack, inside of who may use it"
    )]
    #[inline(always)]
    fn of(window: &[u8], sort: impl Fn(&mut Self, usize, &[u8; BLOCK])) -> Self {
        let (blocks, rest) = window.as_chunks();
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let mut classes = Self::default();
        for at in 0..window.len().div_ceil(BLOCK).min(BLOCKS) {
            sort(&mut classes, at, blocks.get(at).unwrap_or(&last));
        }
        classes
    }

    fn sort(&mut self, at: usize, block: &[u8; BLOCK]) {
        self.digits[at] = bits(block, |byte| byte.is_ascii_digit());
        self.zeros[at] = bits(block, |byte| byte == b'0');
        self.capitals[at] = bits(block, |byte| byte.is_ascii_uppercase());
        self.words[at] = bits(block, |byte| byte.is_ascii_alphanumeric());
        self.joins[at] = bits(block, |byte| matches!(byte, b'-' | b'_'));
        self.gaps[at] = bits(block, |byte| matches!(byte, b' ' | b'.' | b'/'));
        self.alone[at] = bits(block, |byte| matches!(byte, b'@' | b'+' | b'('));
        self.y[at] = bits(block, |byte| matches!(byte, b'y' | b'Y' | b'g'));
        self.behind_y[at] = bits(block, |byte| matches!(byte, b'J' | b'=' | b':' | b'"' | b' ' | b'\\'));
        self.others[at] = bits(block, |byte| matches!(byte, b'\\' | 0xC2 | 0xE2));
    }

    #[expect(
        clippy::inline_always,
        reason = "compiled once more with what other machines lack, inside of who may use it"
    )]
    #[inline(always)]
    fn means_others(&self) -> bool {
        self.others.iter().any(|bits| *bits != 0)
    }
}

/// Which bytes `are` what is asked, in steps that compilers make for many bytes at once.
#[inline]
fn bits(block: &[u8; BLOCK], are: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0; BLOCK];
    for (at, (flag, byte)) in flags.iter_mut().zip(block).enumerate() {
        *flag = u8::from(are(*byte)) << (at % 8);
    }
    let (eights, _) = flags.as_chunks();
    // No two of eight flags are the same bit: their sum, which the multiplication puts into the highest byte, has all of them.
    let gathered = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0101_0101_0101_0101) >> 56;
    eights.iter().enumerate().fold(0, |bits, (at, eight)| bits | gathered(eight) << (8 * at))
}

/// Where in a window something may be found; `before` is the byte ahead of it.
#[expect(clippy::inline_always, reason = "compiled once more with what other machines lack, inside of who may use it")]
#[inline(always)]
fn places(classes: &Classes, before: u8) -> Bits {
    // Whether the last byte ahead of a block is a digit, and a `y` or a `g`; and the block behind, where behind the window anything may be.
    let ahead_of = |bits: &Bits, before: bool| {
        let mut ahead = [u64::from(before); BLOCKS];
        (1..BLOCKS).for_each(|at| ahead[at] = bits[at - 1] >> (BLOCK - 1));
        ahead
    };
    let behind = |bits: &Bits| {
        let mut behind = [u64::MAX; BLOCKS];
        (1..BLOCKS).for_each(|at| behind[at - 1] = bits[at]);
        behind
    };
    let digits_ahead = ahead_of(&classes.digits, before.is_ascii_digit());
    let y_ahead = ahead_of(&classes.y, matches!(before, b'y' | b'Y' | b'g'));
    let words_ahead = ahead_of(&classes.words, before.is_ascii_alphanumeric());
    // The last two bytes; of those ahead of the window one is not known.
    let mut others_ahead = [0b11; BLOCKS];
    (1..BLOCKS).for_each(|at| others_ahead[at] = classes.others[at - 1] >> (BLOCK - 2));
    let (digits_behind, capitals_behind) = (behind(&classes.digits), behind(&classes.capitals));
    let (words_behind, joins_behind, gaps_behind) =
        (behind(&classes.words), behind(&classes.joins), behind(&classes.gaps));
    let mut marks = [0; BLOCKS];
    for at in 0..BLOCKS {
        // Of the block behind it is asked what each byte is, not what it is together with others, which is one more look there.
        let digits = |bits, distance| next(bits, digits_behind[at], distance);
        let joins = |distance| next(classes.joins[at], joins_behind[at], distance);
        let gaps = |bits, distance| next(bits, gaps_behind[at], distance);
        let named = |bits, distance| next(bits, words_behind[at] | joins_behind[at], distance);
        let one = classes.digits[at];
        let two = one & digits(one, 1);
        let three = two & digits(one, 2);
        let four = two & digits(two, 2);
        let five = four & digits(one, 4);
        let eight = four & digits(four, 4);
        let thirteen = eight & digits(eight, 5);
        // Cards in one piece; in groups, of which all but some have four digits first and none has fewer behind them.
        let cards = thirteen | four & (joins(4) | gaps(classes.gaps[at], 4)) & digits(four, 5);
        // Telephones: `212-555-`, and an area that begins with a zero and is parted from more digits.
        let american = three & joins(3) & digits(three, 4) & joins(7);
        let parted = classes.gaps[at] & digits(one, 1);
        let area = two & gaps(parted, 2) | three & gaps(parted, 3) | four & gaps(parted, 4) | five & gaps(parted, 5);
        let begun = one & !(one << 1 | digits_ahead[at]);
        let numbers = begun & (cards | american | classes.zeros[at] & area);
        // Keys and the numbers of accounts: fifteen letters and digits, or the first group of such a number.
        let long = classes.words[at] | classes.joins[at];
        let long = long & named(long, 1);
        let long = long & named(long, 2);
        let long = long & named(long, 4);
        let long = long & named(long, 7);
        let capitals = classes.capitals[at];
        let account = digits(two, 2) & gaps(classes.gaps[at], 4);
        // Within words none begins, but behind the letter of an escape.
        let within = (classes.words[at] << 1 | words_ahead[at]) & !(classes.others[at] << 2 | others_ahead[at]);
        let codes = capitals & next(capitals, capitals_behind[at], 1) & (long | account) & !within;
        let keys = classes.joins[at] & (named(long, 1) | joins(1) & joins(2));
        let tokens = classes.behind_y[at] & (classes.y[at] << 1 | y_ahead[at]);
        marks[at] = numbers | codes | keys | tokens | classes.alone[at];
    }
    marks
}

/// Bit `at` of the result is bit `at + distance` of a block and the one behind it.
#[expect(clippy::inline_always, reason = "compiled once more with what other machines lack, inside of who may use it")]
#[inline(always)]
fn next(bits: u64, behind: u64, distance: u32) -> u64 {
    bits >> distance | behind << (u64::BITS - distance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Found, look_at, look_at_all};
    use super::*;

    /// Places of a text, by one way of sorting its bytes.
    fn places_by(text: &[u8], marks: impl Fn(&[u8], u8) -> Bits) -> Vec<usize> {
        let mut places = Vec::new();
        for (number, window) in text.chunks(WINDOW).enumerate() {
            let start = number * WINDOW;
            let marks = marks(window, start.checked_sub(1).map_or(0, |before| text[before]));
            let marked = |at: &usize| marks[at / BLOCK] >> (at % BLOCK) & 1 == 1;
            places.extend((0..window.len()).filter(marked).map(|at| start + at));
        }
        places
    }

    fn by_byte(text: &[u8]) -> Vec<usize> {
        places_by(text, |window, before| super::places(&Classes::of(window, Classes::sort), before))
    }

    /// What is found where every place of a text is looked at.
    fn found_anywhere(text: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        look_at_all(text, 0..text.len(), &mut found);
        found
    }

    fn check(text: &[u8]) -> Result<(), TestCaseError> {
        let places: Vec<usize> = Places::of(text).collect();
        prop_assert_eq!(&places, &by_byte(text));
        // Not only where nothing found ahead covers it.
        for at in (0..text.len()).filter(|&at| look_at(text, at).is_some()) {
            prop_assert!(places.contains(&at), "{at} in {:?}", String::from_utf8_lossy(text));
        }
        let mut found = Vec::new();
        look_at_all(text, Places::of(text), &mut found);
        prop_assert_eq!(found, found_anywhere(text));
        Ok(())
    }

    /// All that detectors know, whole and almost.
    const PARTS: [&str; 71] = [
        "jo@example.org",
        "@",
        "jo@m\u{fc}ller.de",
        "a@b.cd",
        ".",
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "3782 822463 10005",
        "3056 930902 5904",
        "4222222222222",
        "6205500000000000004",
        "4111",
        "411111",
        "card_",
        "pan#",
        ".0",
        ".00",
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "NO9386011117947",
        "FR14 2004 ",
        "GB82WEST1234569876543",
        "MT84MALT011000012345MTLCAST001S",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig",
        "eyJ",
        "ey",
        "J",
        "y",
        "AKIAABCDEFGHIJKLMNOP",
        "AKIA",
        "ASIAABCDEFGHIJKLMNO",
        "AIzaSyA1234567890abcdefghijklmnopqrs-_u",
        "ghp_aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3",
        "gho_",
        "github_pat_a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2",
        "xoxb-123456789012-abcdefABCDEF",
        "xoxb-",
        "AccountKey=aB3/aB3/aB3/aB3/aB3/aB3/aB3/aB3/aB3/aB3/aB3/ab==",
        "SharedAccessKey=",
        "-----BEGIN PRIVATE KEY-----",
        "-----",
        "+4915112345678",
        "+49 151 12345678",
        "+1 (212) 555-0123",
        "(212) 555-0123",
        "212-555-0123",
        "030 12345678",
        "0171/1234567",
        "06 12 34 56 78",
        "06.12.34.56.78",
        "07700 900123",
        "212-555-",
        "012",
        "0",
        " ",
        "-",
        "_",
        "\\n",
        "\\u0040",
        "2013-01-05T10:17:00+01:00",
        "\u{a0}",
        "\"",
        "glpat-aB3dE6gH9jK2mN5pQ8sT",
        "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",
        "sk_live_aB3dE6gH9jK2mN5pQ8sTvW1y",
        "_live_",
        "aws_secret_access_key\": \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"",
        "SecretAccessKey=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "&sig=aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3%2BaB%3D",
    ];

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let part = prop::sample::select(&PARTS[..]).prop_map(|part| part.as_bytes().to_vec());
        // One byte of it missing, another one, or one twice.
        let almost = (part.clone(), any::<prop::sample::Index>(), 0..3_u8, "[0-9A-Za-z@+(. _=/-]").prop_map(
            |(mut part, at, how, byte)| {
                let at = at.index(part.len());
                match how {
                    0 => drop(part.remove(at)),
                    1 => part[at] = byte.as_bytes()[0],
                    _ => part.insert(at, part[at]),
                }
                part
            },
        );
        prop_oneof![
            6 => part,
            6 => almost,
            1 => "[0-9]{1,20}".prop_map(String::into_bytes),
            1 => "[0-9A-Za-z@+(. _=/-]{1,40}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..9),
            // So that the edges of blocks and windows lie anywhere.
            1 => (0..200_usize, prop::sample::select(b"a0A -_.\xff".to_vec())).prop_map(|(count, byte)| vec![byte; count]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_place_is_missing_where_something_is_found(pieces in prop::collection::vec(piece(), 0..12)) {
            check(&pieces.concat())?;
        }
    }

    #[test]
    fn what_is_known_is_found_across_every_edge() {
        for part in PARTS {
            for ahead in (0..2 * BLOCK).chain(WINDOW - BLOCK..WINDOW + BLOCK) {
                for (filler, behind) in
                    [(" ", ""), ("{", "}"), ("\\n", " and so on, up to the end of all that there is to say")]
                {
                    check(format!("{}{part}{behind}", filler.repeat(ahead)).as_bytes()).unwrap();
                }
            }
        }
    }
}
