//! Two values that stand for each other, as explanations look at them.

use std::cell::OnceCell;

use xxhash_rust::xxh3::xxh3_64;

use super::super::json::Node;
use super::super::scan::mix;
use super::exact::Exact;
use super::times::{Instant, instant};

/// What one build has at a path; nothing where it has no such member.
#[derive(Debug)]
pub(super) struct Side<'p> {
    pub(super) node: Option<&'p Node<'p>>,
    /// The number it is, or that its text is.
    pub(super) number: Option<Exact>,
    /// The moment that its text is.
    pub(super) instant: Option<Instant>,
}

impl<'p> Side<'p> {
    pub(super) fn new(node: Option<&'p Node<'p>>) -> Self {
        let (number, instant) = match node {
            Some(Node::Number(text)) => (Exact::read(text), None),
            Some(Node::Text(text)) => (Exact::read(text), instant(text)),
            _ => (None, None),
        };
        Self { node, number, instant }
    }

    /// Text, where it is one.
    pub(super) fn text(&self) -> Option<&'p str> {
        match self.node {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number that is written as one.
    pub(super) fn bare_number(&self) -> Option<Exact> {
        self.number.filter(|_| matches!(self.node, Some(Node::Number(_))))
    }

    /// Elements, where it is an array.
    pub(super) fn elements(&self) -> Option<&'p [Node<'p>]> {
        match self.node {
            Some(Node::Array(elements)) => Some(elements),
            _ => None,
        }
    }

    /// Hash of what it says.
    pub(super) fn hash(&self) -> u64 {
        match (self.number, self.node) {
            (Some(number), _) => {
                let number = number.normal();
                mix(number.digits as u64, number.places as u64)
            }
            (None, None) => 7,
            (None, Some(node)) => hash(node),
        }
    }
}

fn hash(node: &Node<'_>) -> u64 {
    match node {
        Node::Null => 1,
        Node::Bool(value) => 2 + u64::from(*value),
        Node::Number(text) => mix(8, xxh3_64(text.as_bytes())),
        Node::Text(text) => mix(9, xxh3_64(text.as_bytes())),
        Node::Array(elements) => elements.iter().fold(5, |all, element| mix(all, hash(element))),
        Node::Object(members) => {
            // Whatever order the members stand in.
            members.iter().fold(6, |all, (name, value)| all ^ mix(xxh3_64(name.as_bytes()), hash(value)))
        }
    }
}

/// Whether two values say the same: members in any order, numbers however they are written.
pub(super) fn same(one: &Node<'_>, other: &Node<'_>) -> bool {
    match (one, other) {
        (Node::Number(one), Node::Number(other)) => {
            one == other || Exact::read(one).zip(Exact::read(other)).is_some_and(|(one, other)| one.equals(other))
        }
        (Node::Array(one), Node::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Node::Object(one), Node::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.iter().any(|(another, twin)| name == another && same(value, twin)))
        }
        _ => one == other,
    }
}

/// The values that a pair stands in, read only when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Whole<'p> {
    pub(super) old: Option<&'p [u8]>,
    pub(super) new: Option<&'p [u8]>,
    /// Value of the output that old wrote before this one for the same key, where that is known.
    pub(super) before: Option<&'p [u8]>,
    trees: [OnceCell<Option<Node<'p>>>; 3],
}

impl<'p> Whole<'p> {
    pub(super) fn new(old: Option<&'p [u8]>, new: Option<&'p [u8]>, before: Option<&'p [u8]>) -> Self {
        Self { old, new, before, ..Self::default() }
    }

    fn tree(&self, at: usize, value: Option<&'p [u8]>) -> Option<&Node<'p>> {
        self.trees[at].get_or_init(|| Node::read(value?).ok()).as_ref()
    }

    /// The value of old.
    pub(super) fn old_tree(&self) -> Option<&Node<'p>> {
        self.tree(0, self.old)
    }

    /// The value of new.
    pub(super) fn new_tree(&self) -> Option<&Node<'p>> {
        self.tree(1, self.new)
    }

    /// The value that old wrote before.
    pub(super) fn before_tree(&self) -> Option<&Node<'p>> {
        self.tree(2, self.before)
    }
}

/// Two values that stand for each other at a path.
pub(super) struct Sides<'p, 'w> {
    pub(super) path: &'p str,
    pub(super) old: Side<'p>,
    pub(super) new: Side<'p>,
    pub(super) whole: &'p Whole<'w>,
}
