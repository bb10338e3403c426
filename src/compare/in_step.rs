//! Two texts of JSON gone through side by side: where both have the same members in the same order, as two outputs that stand for
//! each other nearly always have, only what is not written alike is looked at, and no tree is made of the rest.

use super::json::{DEPTH_MAX, Lexer, NoJson, Node};
use super::matching::Signature;
use super::paths::Mask;
use super::rules::Rules;
use super::values::{Found, Walk};

/// Members of an object that are gone through side by side.
const MEMBERS_MAX: usize = 32;

/// Finds what [`Walk::below`] finds between the trees of two values; none where they are not members by members alike, or no JSON:
/// then it is for the trees to tell.
pub(super) fn in_step(old: &[u8], new: &[u8], judged: Option<&Signature>, rules: &Rules) -> Option<Found> {
    let walk = Walk { rules, judged, path: "$".to_owned(), found: Found::default() };
    let mut pair = Pair { old: Lexer::new(old).ok()?, new: Lexer::new(new).ok()?, walk };
    pair.below((rules.automaton.start(), rules.root()), 0).ok()?;
    (pair.old.is_done() && pair.new.is_done()).then_some(pair.walk.found)
}

struct Pair<'v, 'r> {
    old: Lexer<'v>,
    new: Lexer<'v>,
    walk: Walk<'r>,
}

impl<'v> Pair<'v, '_> {
    /// Compares the values that come next, where the paths of rules are at `mask` and those of `ends` end.
    fn below(&mut self, (mask, ends): (Mask, u32), depth: u32) -> Result<(), NoJson> {
        let is_object = self.old.peek()? == b'{' && self.new.peek()? == b'{';
        if is_object && ends == 0 { self.objects(mask, depth) } else { self.trees((mask, ends), depth) }
    }

    fn trees(&mut self, step: (Mask, u32), depth: u32) -> Result<(), NoJson> {
        if let Some((old, new)) = self.next(depth)? {
            self.walk.below(&old, &new, step);
        }
        Ok(())
    }

    /// Reads the values that come next; none where they are written alike.
    fn next(&mut self, depth: u32) -> Result<Option<(Node<'v>, Node<'v>)>, NoJson> {
        self.old.peek()?;
        let from = self.old.at;
        let old = Node::value(&mut self.old, depth)?;
        if self.new.peek().is_ok() && self.new.follows(self.old.since(from)) {
            return Ok(None);
        }
        Ok(Some((old, Node::value(&mut self.new, depth)?)))
    }

    fn objects(&mut self, mask: Mask, depth: u32) -> Result<(), NoJson> {
        if depth > DEPTH_MAX {
            return Err(NoJson);
        }
        self.old.take(b'{')?;
        self.new.take(b'{')?;
        if self.old.peek()? == b'}' || self.new.peek()? == b'}' {
            self.old.take(b'}')?;
            return self.new.take(b'}');
        }
        let mut names = [""; MEMBERS_MAX];
        for at in 0..MEMBERS_MAX {
            let name = self.name()?;
            // Of a name that stands twice only the last counts.
            if names[..at].contains(&name) {
                return Err(NoJson);
            }
            names[at] = name;
            self.member(name, mask, depth + 1)?;
            match (self.old.more(b'}')?, self.new.more(b'}')?) {
                (true, true) => {}
                (false, false) => return Ok(()),
                _ => return Err(NoJson),
            }
        }
        Err(NoJson)
    }

    /// Takes a name that must come next on both sides, without escapes, and the colon behind it.
    fn name(&mut self) -> Result<&'v str, NoJson> {
        let std::borrow::Cow::Borrowed(name) = self.old.string()? else { return Err(NoJson) };
        let std::borrow::Cow::Borrowed(other) = self.new.string()? else { return Err(NoJson) };
        self.old.take(b':')?;
        self.new.take(b':')?;
        if name == other { Ok(name) } else { Err(NoJson) }
    }

    fn member(&mut self, name: &str, mask: Mask, depth: u32) -> Result<(), NoJson> {
        let step = if mask == 0 { (0, 0) } else { self.walk.rules.automaton.name(mask, name) };
        let is_object = self.old.peek()? == b'{' && self.new.peek()? == b'{';
        if is_object && step.1 == 0 {
            let length = self.walk.path.len();
            super::paths::push_name(&mut self.walk.path, name);
            self.objects(step.0, depth)?;
            self.walk.path.truncate(length);
            return Ok(());
        }
        if let Some((old, new)) = self.next(depth)? {
            self.walk.at_name(name, |walk| walk.below(&old, &new, step));
        }
        Ok(())
    }
}
