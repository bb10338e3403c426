//! Values of any type: constants, other types, null and nothing, order of arrays, and values that stand elsewhere.

use super::super::json::Node;
use super::places::{places, shown};
use super::sides::{Sides, same};
use super::votes::{Explains, Votes};
use super::{Claim, Evidence};

/// An explanation of two values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ShapeWay {
    /// New has this, whatever old has.
    Constant(String),
    /// Old has this, whatever new has.
    WasConstant(String),
    /// New has the second where old has the first.
    Mapped(String, String),
    /// New has null where old has nothing, or the other way round.
    Null { new_is: bool },
    /// New writes as text what old writes as a number, a boolean or a structure.
    Text { new_is: bool, of: &'static str },
    /// New writes 1 and 0 for true and false.
    Digit { new_is: bool },
    /// One side has an array around the value.
    Array { new_is: bool },
    /// New has the elements of old in the opposite order.
    Reversed,
    /// One side has the elements in order, by this member where they are objects.
    Sorted { new_is: bool, descending: bool, by: Option<String> },
    /// New has the first so many elements of old; or old those of new.
    First { new_is: bool, kept: usize },
    /// New lacks elements that stand twice in old; or old lacks them.
    Once { new_is: bool },
}

impl Explains for ShapeWay {
    fn kind(&self) -> u8 {
        match self {
            ShapeWay::Constant(_) => 1,
            ShapeWay::WasConstant(_) => 2,
            ShapeWay::Mapped(..) => 3,
            ShapeWay::Sorted { .. } => 4,
            ShapeWay::First { .. } => 5,
            _ => 0,
        }
    }
}

/// Finds what explains two values of any type.
pub(super) fn ways(sides: &Sides<'_, '_>) -> Vec<ShapeWay> {
    let mut ways = Vec::new();
    let (old, new) = (sides.old.node, sides.new.node);
    let texts = (old.and_then(shown), new.and_then(shown));
    if let Some(new) = &texts.1 {
        ways.push(ShapeWay::Constant(new.clone()));
    }
    if let Some(old) = &texts.0 {
        ways.push(ShapeWay::WasConstant(old.clone()));
    }
    if let (Some(old), Some(new)) = texts {
        ways.push(ShapeWay::Mapped(old, new));
    }
    match (old, new) {
        (None, Some(Node::Null)) => ways.push(ShapeWay::Null { new_is: true }),
        (Some(Node::Null), None) => ways.push(ShapeWay::Null { new_is: false }),
        (Some(old), Some(new)) => {
            types(old, new, true, &mut ways);
            types(new, old, false, &mut ways);
        }
        _ => {}
    }
    if let Some((old, new)) = sides.old.elements().zip(sides.new.elements()) {
        arrays(old, new, &mut ways);
    }
    ways
}

/// Finds by which type `to` differs from `from`.
fn types(from: &Node<'_>, to: &Node<'_>, new_is: bool, ways: &mut Vec<ShapeWay>) {
    match (from, to) {
        (Node::Number(number), Node::Text(text)) => {
            let exact = super::exact::Exact::read;
            if *number == text || exact(number).zip(exact(text)).is_some_and(|(one, other)| one.equals(other)) {
                ways.push(ShapeWay::Text { new_is, of: "a number" });
            }
        }
        (Node::Bool(value), Node::Text(text)) if text.eq_ignore_ascii_case(&value.to_string()) => {
            ways.push(ShapeWay::Text { new_is, of: "true and false" });
        }
        (Node::Bool(value), Node::Number(number)) if *number == if *value { "1" } else { "0" } => {
            ways.push(ShapeWay::Digit { new_is });
        }
        (Node::Object(_) | Node::Array(_), Node::Text(text))
            if Node::read(text.as_bytes()).is_ok_and(|inner| same(&inner, from)) =>
        {
            ways.push(ShapeWay::Text { new_is, of: "a structure" });
        }
        (from, Node::Array(elements)) if elements.len() == 1 && same(&elements[0], from) => {
            ways.push(ShapeWay::Array { new_is });
        }
        _ => {}
    }
}

fn arrays(old: &[Node<'_>], new: &[Node<'_>], ways: &mut Vec<ShapeWay>) {
    let equal = |one: &[Node<'_>], other: &[Node<'_>]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
    };
    if old.len() == new.len() {
        if old.len() > 1 && old.iter().rev().zip(new).all(|(one, other)| same(one, other)) {
            ways.push(ShapeWay::Reversed);
        }
        // Two elements are in one order or the other by themselves.
        if old.len() > 2 {
            for (elements, new_is) in [(new, true), (old, false)] {
                sorted(elements, new_is, ways);
            }
        }
    }
    for (from, to, new_is) in [(old, new, true), (new, old, false)] {
        if to.len() < from.len() && equal(&from[..to.len()], to) {
            ways.push(ShapeWay::First { new_is, kept: to.len() });
        }
        if to.len() < from.len() {
            let first = |at: usize| !from[..at].iter().any(|other| same(other, &from[at]));
            let once: Vec<&Node<'_>> = (0..from.len()).filter(|at| first(*at)).map(|at| &from[at]).collect();
            if once.len() == to.len() && once.iter().zip(to).all(|(one, other)| same(one, other)) {
                ways.push(ShapeWay::Once { new_is });
            }
        }
    }
}

fn sorted(elements: &[Node<'_>], new_is: bool, ways: &mut Vec<ShapeWay>) {
    let mut note = |by: Option<&str>, keys: Option<Vec<&Node<'_>>>| {
        let Some(keys) = keys else { return };
        let steps: Option<Vec<std::cmp::Ordering>> = keys.windows(2).map(|two| order(two[0], two[1])).collect();
        let Some(steps) = steps else { return };
        if steps.iter().all(|step| step.is_eq()) {
            return;
        }
        for (descending, is_in_order) in
            [(false, steps.iter().all(|step| step.is_le())), (true, steps.iter().all(|step| step.is_ge()))]
        {
            if is_in_order {
                ways.push(ShapeWay::Sorted { new_is, descending, by: by.map(str::to_owned) });
            }
        }
    };
    note(None, Some(elements.iter().collect()));
    if let Some(Node::Object(members)) = elements.first() {
        for (name, _) in members.iter().take(16) {
            note(Some(name), elements.iter().map(|element| member(element, name)).collect());
        }
    }
}

/// The member `name` of an object.
fn member<'n, 'v>(element: &'n Node<'v>, name: &str) -> Option<&'n Node<'v>> {
    let Node::Object(members) = element else { return None };
    members.iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

/// Order of two numbers or two texts.
fn order(one: &Node<'_>, other: &Node<'_>) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Node::Number(one), Node::Number(other)) => one.parse::<f64>().ok()?.partial_cmp(&other.parse::<f64>().ok()?),
        (Node::Text(one), Node::Text(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Says which explanations hold for enough differences.
pub(super) fn claims(votes: &Votes<ShapeWay>, evidence: &Evidence<'_>) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    for (way, explains) in votes.all().filter(|(_, count)| evidence.is_enough(*count)) {
        claims.extend(say(way, explains, evidence));
    }
    claims.extend(mapping(votes, evidence));
    claims
}

fn say(way: &ShapeWay, explains: u64, evidence: &Evidence<'_>) -> Option<Claim> {
    let Evidence { path, pairs, olds, news, .. } = *evidence;
    let claim = |name: &'static str, rank: u8, says: String| Some(Claim { name, rank, explains, says });
    match way {
        ShapeWay::Constant(value) if evidence.is_added => {
            (evidence.looked >= 3).then(|| claim("added", 3, format!("new adds {path} with {value}")))?
        }
        ShapeWay::Constant(value) if olds >= 3 && !evidence.is_removed => {
            claim("constant", 1, format!("new writes {value} at {path}, whatever old writes"))
        }
        ShapeWay::WasConstant(value) if evidence.is_removed => (evidence.looked >= 3)
            .then(|| claim("removed", 3, format!("new leaves out {path}, which is {value} in old")))?,
        ShapeWay::WasConstant(value) if news >= 3 && !evidence.is_added => {
            claim("constant", 1, format!("new writes values at {path} where old always writes {value}"))
        }
        ShapeWay::Null { new_is: true } => {
            claim("null-or-absent", 0, format!("new writes null at {path} where old writes nothing"))
        }
        ShapeWay::Null { new_is: false } => {
            claim("null-or-absent", 0, format!("new leaves out {path} where old writes null"))
        }
        ShapeWay::Text { new_is, of } if pairs >= 2 => {
            let says = if *new_is {
                format!("new writes {path} as text where old writes {of}")
            } else {
                format!("new writes {path} as {of} where old writes text")
            };
            claim("type", 0, says)
        }
        ShapeWay::Digit { new_is } if pairs >= 2 => {
            let (old, new) = if *new_is { ("true and false", "1 and 0") } else { ("1 and 0", "true and false") };
            claim("type", 0, format!("new writes {path} as {new} where old writes {old}"))
        }
        ShapeWay::Array { new_is } => {
            let verb = if *new_is { "puts" } else { "no longer puts" };
            claim("type", 0, format!("new {verb} {path} into an array of its own"))
        }
        ShapeWay::Reversed if pairs >= 3 => {
            claim("array-order", 2, format!("new writes the elements of {path} in the opposite order"))
        }
        ShapeWay::Sorted { new_is, descending, by } if pairs >= 3 => {
            let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let falling = if *descending { ", falling" } else { "" };
            let verb = if *new_is { "sorts" } else { "no longer sorts" };
            claim("array-order", 1, format!("new {verb} {path}{by}{falling}"))
        }
        ShapeWay::First { new_is, kept } if pairs >= 3 => {
            let verb = if *new_is { "keeps" } else { "no longer keeps only" };
            let says = match kept {
                1 => format!("new {verb} the first element of {path}"),
                _ => format!("new {verb} the first {kept} elements of {path}"),
            };
            claim("truncation", 1, says)
        }
        ShapeWay::Once { new_is } if pairs >= 3 => {
            let says = if *new_is { "drops elements that stand twice in" } else { "repeats elements of" };
            claim("array-elements", 2, format!("new {says} {path}"))
        }
        _ => None,
    }
}

/// Values that are told one by one.
const MAPPED_MAX: usize = 6;

/// Times that each value must be seen, on average, before it is called the rule.
const MAPPED_TIMES: u64 = 4;

/// Few values, each of which always becomes the same other one.
fn mapping(votes: &Votes<ShapeWay>, evidence: &Evidence<'_>) -> Option<Claim> {
    let mapped: Vec<(&str, &str, u64)> = votes
        .all()
        .filter_map(|(way, count)| match way {
            ShapeWay::Mapped(old, new) => Some((old.as_str(), new.as_str(), count)),
            _ => None,
        })
        .collect();
    let explains: u64 = mapped.iter().map(|(_, _, count)| *count).sum();
    let times = mapped.len() as u64 * MAPPED_TIMES;
    if mapped.is_empty() || mapped.len() > MAPPED_MAX || explains < times || !evidence.is_enough(explains) {
        return None;
    }
    let is_rule = mapped.windows(2).all(|two| two[0].0 != two[1].0);
    let mut news: Vec<&str> = mapped.iter().map(|(_, new, _)| *new).collect();
    news.sort_unstable();
    // Where several become one, that one is a constant rather than another name.
    if !is_rule || news.windows(2).any(|two| two[0] == two[1]) {
        return None;
    }
    let pairs: Vec<String> = mapped.iter().map(|(old, new, _)| format!("{new} where old writes {old}")).collect();
    let says = format!("new writes at {} {}", evidence.path, pairs.join(", "));
    Some(Claim { name: "mapping", rank: 4, explains, says })
}

/// Where the value of one side stands in an output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ElsewhereWay {
    /// What new has here, old has at that path, where new has nothing, or another value.
    InOld { path: String, gone: bool },
    /// What old has here, new has at that path, which old does not have.
    InNew { path: String },
    /// What new has here, old had in the output before, for the same key.
    Before,
}

impl Explains for ElsewhereWay {
    fn kind(&self) -> u8 {
        u8::from(*self != ElsewhereWay::Before)
    }
}

/// Finds where values stand instead.
pub(super) fn elsewhere(sides: &Sides<'_, '_>) -> Vec<ElsewhereWay> {
    let mut ways = Vec::new();
    let Some((old, new)) = sides.whole.old_tree().zip(sides.whole.new_tree()) else { return ways };
    let own = |path: &str| path.starts_with(sides.path) || sides.path.starts_with(path);
    if let Some(value) = sides.new.node.filter(|node| **node != Node::Null) {
        places(old, &mut |path, node| {
            if !own(path) && same(node, value) {
                ways.push(ElsewhereWay::InOld { path: path.to_owned(), gone: at(new, path).is_none() });
            }
        });
        let before = sides.whole.before_tree().and_then(|before| at(before, sides.path));
        if before.is_some_and(|before| same(before, value)) {
            ways.push(ElsewhereWay::Before);
        }
    }
    if let Some(value) = sides.old.node.filter(|node| sides.new.node.is_none() && **node != Node::Null) {
        places(new, &mut |path, node| {
            if !own(path) && at(old, path).is_none() && same(node, value) {
                ways.push(ElsewhereWay::InNew { path: path.to_owned() });
            }
        });
    }
    ways
}

/// What stands at a path of names.
pub(super) fn at<'n>(node: &'n Node<'_>, path: &str) -> Option<&'n Node<'n>> {
    let mut found = None;
    places(node, &mut |own, value| {
        if own == path {
            found = Some(value);
        }
    });
    found
}

/// Says where values stand instead, for enough differences.
pub(super) fn elsewhere_claims(votes: &Votes<ElsewhereWay>, evidence: &Evidence<'_>) -> Vec<Claim> {
    let path = evidence.path;
    let mut claims = Vec::new();
    for (way, explains) in votes.all().filter(|(_, count)| evidence.is_enough(*count)) {
        // One and the same value may stand anywhere.
        let (name, rank, says) = match way {
            ElsewhereWay::InOld { path: other, gone: true } if evidence.news >= 3 => {
                ("renamed", 0, format!("new writes at {path} what old writes at {other}"))
            }
            ElsewhereWay::InOld { path: other, gone: false } if evidence.news >= 3 => {
                ("another-field", 2, format!("new writes at {path} what old has at {other}"))
            }
            ElsewhereWay::InNew { path: other } if evidence.olds >= 3 => {
                ("renamed", 0, format!("new writes at {other} what old writes at {path}"))
            }
            ElsewhereWay::Before if evidence.news >= 3 && evidence.olds >= 3 => {
                ("stale", 1, format!("new writes at {path} what old wrote for the same key before"))
            }
            _ => continue,
        };
        claims.push(Claim { name, rank, explains, says });
    }
    claims
}
