//! What two values differ by, told apart finely enough that chance seldom says the same twice.

use xxhash_rust::xxh3::xxh3_64;

use super::super::json::Node;
use super::super::scan::mix;
use super::places::Place;
use super::sides::Side;

/// What a change of a value is alike to others by, as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Likeness {
    /// By how much a number or a moment changed; of anything else, what became what.
    pub(in super::super) change: u64,
    /// What it became.
    pub(in super::super) value: u64,
}

impl Likeness {
    fn of(old: &Side<'_>, new: &Side<'_>) -> Self {
        let number = new.number.zip(old.number).and_then(|(new, old)| new.minus(old));
        let moment = new.instant.zip(old.instant).and_then(|(new, old)| new.us().checked_sub(old.us()));
        let (one, other) = (hash(old), hash(new));
        let change = match (number, moment) {
            (Some(by), _) => mix(mix(mix(1, by.digits as u64), (by.digits >> 64) as u64), by.places as u64),
            (None, Some(by_us)) => mix(2, by_us as u64),
            (None, None) => mix(mix(3, one), other),
        };
        Self { change, value: mix(4, other) }
    }
}

/// Hash of a value. Of objects and arrays nothing counts but that they are: what stands in them differs at places of its own.
fn hash(side: &Side<'_>) -> u64 {
    match side.node {
        Some(Node::Object(_)) => 5,
        Some(Node::Array(_)) => 6,
        _ => side.hash(),
    }
}

/// Says what the change from `old` to `new` at `path` is alike to. It follows from what both say at the path alone: what differs elsewhere has
/// no part in it. None where that cannot be: in arrays, whose elements stand for each other by what else they say; in bytes; and where
/// values cannot be read.
pub(in super::super) fn likeness(path: &str, old: &[u8], new: &[u8]) -> Option<Likeness> {
    let place = Place::read(path).filter(|place| place.names().is_some())?;
    let mut found = None;
    let read = place.each((old, new), &mut |old, new| {
        found = Some(Likeness::of(&Side::new(old.as_ref()), &Side::new(new.as_ref())));
    });
    if read.is_ok() {
        return found;
    }
    let is_text = |value: &[u8]| Node::read(value).is_err() && std::str::from_utf8(value).is_ok();
    let (one, other) = (xxh3_64(old), xxh3_64(new));
    let texts = Likeness { change: mix(mix(7, one), other), value: mix(8, other) };
    (path == "$" && is_text(old) && is_text(new)).then_some(texts)
}

/// Names of the members on the way to a place; none where it is in an array or in bytes.
pub(in super::super) fn names(path: &str) -> Option<Vec<String>> {
    Place::read(path)?.names()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &str, new: &str) -> Likeness {
        likeness("$.a", format!(r#"{{"a":{old}}}"#).as_bytes(), format!(r#"{{"a":{new}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn numbers_and_moments_are_alike_by_how_far_they_moved_and_all_else_by_both_values() {
        for (one, other, change, value) in [
            (("1", "2"), ("7.50", "8.5"), true, false),
            (("1", "2"), ("2", "1"), false, false),
            (("1", "2"), ("0", "2.0"), false, true),
            (
                (r#""2026-01-01T00:00:00Z""#, r#""2026-01-01T01:00:00Z""#),
                (r#""2026-03-01T23:30:00Z""#, r#""2026-03-02T00:30:00Z""#),
                true,
                false,
            ),
            ((r#""open""#, r#""paid""#), (r#""open""#, r#""paid""#), true, true),
            ((r#""open""#, r#""paid""#), (r#""lost""#, r#""paid""#), false, true),
            ((r#""open""#, "null"), (r#""lost""#, "null"), false, true),
            (("true", "false"), ("false", "true"), false, false),
        ] {
            let (one, other) = (of(one.0, one.1), of(other.0, other.1));
            assert_eq!((one.change == other.change, one.value == other.value), (change, value), "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_differs_elsewhere_has_no_part_in_it() {
        let of = |path: &str, old: &str, new: &str| likeness(path, old.as_bytes(), new.as_bytes());
        let one = of("$.a", r#"{"a":1}"#, r#"{"a":2}"#);
        assert!(one.is_some());
        assert_eq!(one, of("$.a", r#"{"a":1.0,"b":[1]}"#, r#"{"b":7,"a":2}"#));
        // That it became an object counts, and not which.
        let typed = of("$.a", r#"{"a":1}"#, r#"{"a":{"b":2}}"#);
        assert!(typed.is_some() && typed == of("$.a", r#"{"a":1}"#, r#"{"a":{"b":3,"c":4}}"#));
        let added = of("$.a", "{}", r#"{"a":2}"#);
        assert!(added.is_some() && added != one && added.map(|all| all.value) == one.map(|all| all.value));
        assert_eq!(of("$[*].a", r#"[{"a":1}]"#, r#"[{"a":2}]"#), None);
        assert_eq!((of("$.a", "{", r#"{"a":2}"#), of("$.a", "{}", "{}")), (None, None));
        assert_eq!(of("$[0:4]", "1", "2"), None);
    }

    #[test]
    fn a_text_is_one_place() {
        let of = |old: &[u8], new: &[u8]| likeness("$", old, new);
        let one = of(b"was open", b"is paid").unwrap();
        assert!(one == of(b"was open", b"is paid").unwrap() && one.value == of(b"was lost", b"is paid").unwrap().value);
        assert_ne!(one.change, of(b"was lost", b"is paid").unwrap().change);
        assert_eq!((of(b"was open", b"1"), of(b"\xff\x00", b"\xff\x01")), (None, None));
        assert_eq!(of(b"4", b"5").map(|all| all.change), of(b"7", b"8").map(|all| all.change));
    }
}
