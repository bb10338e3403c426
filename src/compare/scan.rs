//! One pass over a value: the hash of what it says, however it is spelled, and the values that rules point at.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::json::{DEPTH_MAX, Decimal, Lexer, NoJson};
use super::paths::{Automaton, Mask};

/// What to do with the value at the end of a path, by the path's number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// Paths whose values are part of an identity.
    pub(super) identity: u32,
    /// Paths whose values are left out.
    pub(super) ignore: u32,
    /// Paths whose values are hashed apart.
    pub(super) tolerance: u32,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Hash of what is said: order of members, white space and spelling of numbers and strings left out.
    pub(super) said: u64,
    /// Hash that also sees order of members and spelling.
    pub(super) spelled: u64,
    /// Hash of what stands at paths with a tolerance.
    pub(super) tolerated: u64,
    /// Hash of what is ignored, by path: number and hash, in order of appearance.
    pub(super) ignored: Vec<(u32, u64)>,
    /// Values of the identity, by path.
    pub(super) identity: Vec<(u32, u128)>,
}

/// Scans `bytes`, a JSON text.
pub(super) fn scan(bytes: &[u8], automaton: &Automaton, wanted: Wanted) -> Result<Scanned, NoJson> {
    scan_below(bytes, automaton, wanted, automaton.start())
}

/// Scans `bytes`, a JSON text that stands where the paths of `automaton` are at `mask`.
pub(super) fn scan_below(bytes: &[u8], automaton: &Automaton, wanted: Wanted, mask: Mask) -> Result<Scanned, NoJson> {
    let mut scanner = Scanner { lexer: Lexer::new(bytes)?, automaton, wanted, seed: 0, found: Scanned::default() };
    let hash = scanner.value(mask, 0)?;
    if !scanner.lexer.is_done() {
        return Err(NoJson);
    }
    let mut found = scanner.found;
    (found.said, found.spelled) = (hash.said, hash.spelled);
    Ok(found)
}

/// Joins two hashes; order counts.
pub(super) fn mix(one: u64, other: u64) -> u64 {
    let product = u128::from(one ^ 0x9E37_79B9_7F4A_7C15) * u128::from(other ^ 0xD6E8_FEB8_6659_FD93);
    (product as u64) ^ ((product >> 64) as u64) ^ one.rotate_left(23)
}

#[derive(Debug, Clone, Copy)]
struct Hash {
    said: u64,
    spelled: u64,
}

impl Hash {
    fn same(hash: u64) -> Self {
        Self { said: hash, spelled: hash }
    }
}

struct Scanner<'a> {
    lexer: Lexer<'a>,
    automaton: &'a Automaton,
    wanted: Wanted,
    seed: u64,
    found: Scanned,
}

impl Scanner<'_> {
    fn value(&mut self, mask: Mask, depth: u32) -> Result<Hash, NoJson> {
        if depth > DEPTH_MAX {
            return Err(NoJson);
        }
        match self.lexer.peek()? {
            b'{' => self.object(mask, depth),
            b'[' => self.array(mask, depth),
            b'"' => self.text(),
            b'n' => self.lexer.word("null").map(|()| Hash::same(self.tag(1))),
            b't' => self.lexer.word("true").map(|()| Hash::same(self.tag(2))),
            b'f' => self.lexer.word("false").map(|()| Hash::same(self.tag(3))),
            _ => self.number(),
        }
    }

    fn tag(&self, tag: u64) -> u64 {
        mix(tag, self.seed)
    }

    fn text(&mut self) -> Result<Hash, NoJson> {
        let from = self.lexer.at;
        let text = self.lexer.string()?;
        let said = xxh3_64_with_seed(text.as_bytes(), self.seed ^ 4);
        let spelled = match text {
            Cow::Borrowed(_) => said,
            Cow::Owned(_) => xxh3_64(self.lexer.since(from).as_bytes()),
        };
        Ok(Hash { said, spelled })
    }

    fn number(&mut self) -> Result<Hash, NoJson> {
        let text = self.lexer.number()?;
        // Most numbers are short integers that end in no zero: they are their own plainest spelling.
        let plain = text.len() < 19 && !text.ends_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain {
            return Ok(Hash::same(self.decimal(false, text.as_bytes(), 0)));
        }
        let decimal = Decimal::read(text);
        let said = self.decimal(decimal.negative, &decimal.digits, decimal.exponent);
        Ok(Hash { said, spelled: xxh3_64_with_seed(text.as_bytes(), 6) })
    }

    fn decimal(&self, negative: bool, digits: &[u8], exponent: i64) -> u64 {
        mix(xxh3_64_with_seed(digits, self.seed ^ 5), (exponent as u64) << 1 | u64::from(negative))
    }

    fn array(&mut self, mask: Mask, depth: u32) -> Result<Hash, NoJson> {
        self.lexer.take(b'[')?;
        let mut hash = Hash { said: self.tag(7), spelled: 7 };
        if self.lexer.peek()? == b']' {
            self.lexer.at += 1;
            return Ok(hash);
        }
        for index in 0.. {
            let (below, ends) = if mask == 0 { (0, 0) } else { self.automaton.index(mask, index) };
            if let Some(element) = self.reached(below, ends, index, depth)? {
                hash.said = mix(hash.said, element.said);
                hash.spelled = mix(hash.spelled, element.spelled);
            }
            if !self.lexer.more(b']')? {
                break;
            }
        }
        Ok(hash)
    }

    fn object(&mut self, mask: Mask, depth: u32) -> Result<Hash, NoJson> {
        self.lexer.take(b'{')?;
        let mut members = Members::default();
        let mut spelled = 8;
        if self.lexer.peek()? == b'}' {
            self.lexer.at += 1;
            return Ok(Hash { said: members.said(self.tag(8)), spelled });
        }
        loop {
            self.lexer.peek()?;
            let from = self.lexer.at;
            let name = self.lexer.string()?;
            let written = match name {
                Cow::Borrowed(_) => 0,
                Cow::Owned(_) => xxh3_64(self.lexer.since(from).as_bytes()),
            };
            self.lexer.take(b':')?;
            let (below, ends) = if mask == 0 { (0, 0) } else { self.automaton.name(mask, &name) };
            let name = xxh3_64_with_seed(name.as_bytes(), self.seed ^ 9);
            if let Some(value) = self.reached(below, ends, name, depth)? {
                members.add(name, value.said);
                spelled = mix(mix(spelled, name ^ written), value.spelled);
            }
            if !self.lexer.more(b'}')? {
                return Ok(Hash { said: members.said(self.tag(8)), spelled });
            }
        }
    }

    /// Reads a member or element and hands it to the rules that end there; none where it is left out of the value's hash.
    fn reached(&mut self, below: Mask, ends: u32, place: u64, depth: u32) -> Result<Option<Hash>, NoJson> {
        if ends == 0 {
            return self.value(below, depth + 1).map(Some);
        }
        self.lexer.peek()?;
        let from = self.lexer.at;
        let before = (self.found.ignored.len(), self.found.tolerated);
        let hash = self.value(below, depth + 1)?;
        if ends & self.wanted.identity != 0 {
            let identity = self.identity(from, hash.said)?;
            let mut left = ends & self.wanted.identity;
            while left != 0 {
                self.found.identity.push((left.trailing_zeros(), identity));
                left &= left - 1;
            }
        }
        if ends & self.wanted.ignore != 0 {
            // What was ignored further down is part of what is ignored here.
            (_, self.found.tolerated) = before;
            self.found.ignored.truncate(before.0);
            self.found.ignored.push(((ends & self.wanted.ignore).trailing_zeros(), hash.spelled));
            return Ok(None);
        }
        if ends & self.wanted.tolerance != 0 {
            self.found.tolerated = mix(mix(self.found.tolerated, place), hash.said);
            // A stand-in keeps the place: a value there and none there are not the same.
            return Ok(Some(Hash::same(0x70_1E_4A)));
        }
        Ok(Some(hash))
    }

    /// Hashes the value that began at `from` once more with another seed, for 128 bits in all.
    fn identity(&mut self, from: usize, said: u64) -> Result<u128, NoJson> {
        let nothing = Automaton::default();
        let mut again = Scanner {
            lexer: Lexer::new(self.lexer.since(from).as_bytes())?,
            automaton: &nothing,
            wanted: Wanted::default(),
            seed: 0x5EED,
            found: Scanned::default(),
        };
        Ok(u128::from(said) << 64 | u128::from(again.value(0, 0)?.said))
    }
}

/// Members of one object, hashed so that their order does not count, unless a name stands twice: readers then differ in which
/// one they take.
#[derive(Default)]
struct Members {
    sum: u64,
    ordered: u64,
    names: Names,
}

/// Names of an object's members; most objects are small.
#[derive(Default)]
struct Names {
    few: [u64; 16],
    len: usize,
    many: std::collections::BTreeSet<u64>,
    twice: bool,
}

impl Names {
    fn add(&mut self, name: u64) {
        if self.len < self.few.len() {
            self.twice |= self.few[..self.len].contains(&name);
            self.few[self.len] = name;
        } else {
            if self.many.is_empty() {
                self.many.extend(self.few);
            }
            self.twice |= !self.many.insert(name);
        }
        self.len += 1;
    }
}

impl Members {
    fn add(&mut self, name: u64, value: u64) {
        let member = mix(name, value);
        self.sum = self.sum.wrapping_add(member);
        self.ordered = mix(self.ordered, member);
        self.names.add(name);
    }

    fn said(&self, tag: u64) -> u64 {
        mix(mix(tag, if self.names.twice { self.ordered } else { self.sum }), self.names.len as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::paths::{Query, ScanPath};

    fn said(text: &str) -> Option<u64> {
        scan(text.as_bytes(), &Automaton::default(), Wanted::default()).ok().map(|found| found.said)
    }

    fn path(text: &str) -> ScanPath {
        match Query::read(text, "k") {
            Ok(Query::Scan(path)) => path,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn order_of_members_white_space_and_spelling_do_not_count() {
        for (one, other) in [
            (r#"{"a":1,"b":[2,3]}"#, r#"{ "b" : [2.0, 30e-1], "a" : 1 }"#),
            (r#""\u0061b""#, r#""ab""#),
            (r#"{"x":{"p":null,"q":true}}"#, r#"{"x":{"q":true,"p":null}}"#),
        ] {
            assert_eq!(said(one), said(other), "{one} {other}");
            assert!(said(one).is_some());
        }
    }

    #[test]
    fn what_is_not_the_same_has_another_hash() {
        let texts = [
            "1",
            "\"1\"",
            "10",
            "-1",
            "0",
            "null",
            "false",
            "true",
            "\"\"",
            "[]",
            "{}",
            "[[]]",
            "[1,2]",
            "[2,1]",
            "[12]",
            r#"{"a":1}"#,
            r#"{"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            "[null]",
            "[{}]",
            "12345678901234567890.1",
            "12345678901234567890.2",
        ];
        for (at, one) in texts.iter().enumerate() {
            for other in &texts[at + 1..] {
                assert_ne!(said(one), said(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn ignored_places_leave_the_hash_and_identities_are_found() {
        let paths = [path("$.t"), path("$.id"), path("$.items[*].at"), path("$.amount")];
        let automaton = Automaton::new(paths.iter().enumerate().map(|(at, path)| (at as u32, path))).unwrap();
        let wanted = Wanted { identity: 0b10, ignore: 0b101, tolerance: 0b1000 };
        let scan = |text: &str| scan(text.as_bytes(), &automaton, wanted).unwrap();
        let one = scan(r#"{"id":"x","t":5,"items":[{"at":1,"n":1}],"amount":1.5}"#);
        let other = scan(r#"{"id":"x","items":[{"at":9,"n":1}],"amount":1.6}"#);
        assert_eq!((one.said, one.spelled), (other.said, other.spelled));
        assert_eq!(one.identity, other.identity);
        assert_ne!(one.tolerated, other.tolerated);
        assert_ne!(one.ignored, other.ignored);
        assert_ne!(one.said, scan(r#"{"id":"x","items":[{"at":9,"n":2}],"amount":1.6}"#).said);
        assert_ne!(one.identity, scan(r#"{"id":"y"}"#).identity);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            ".{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_equal_exactly_when_their_hashes_are(one in json(), other in json()) {
            prop_assert_eq!(one == other, said(&one.to_string()) == said(&other.to_string()));
            prop_assert_eq!(said(&one.to_string()), said(&serde_json::to_string_pretty(&one).unwrap()));
        }

        #[test]
        fn any_text_is_json_for_the_scan_exactly_when_it_is_for_serde_json(text in "[\\[\\]{}:,\"0-9eE.+\\- ntrufalse\\\\]{0,12}") {
            prop_assert_eq!(said(&text).is_some(), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }
}
