//! What kills are meant to come next to.

use std::time::Duration;

use super::chance::Chance;
use super::sort::Sort;
use super::steps::{Act, Object, Place, Since, There};

/// Bounds the wait for a place that was drawn.
const PATIENCE: Duration = Duration::from_millis(800);

/// Bounds the wait for a request to a store: several segments have to end ahead of it.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// What a kill is meant to come next to; what it came next to is told by the records alone.
pub(super) enum Aim {
    /// Nothing: this long after the child was started.
    Blind(Duration),
    /// The write to a store of this number, ahead of it or when it is answered.
    Request { number: u64, answered: bool },
    /// A place, and how long behind it. The child is asked to seal after so many checkpoints, if at all.
    ///
    /// It may never come there; after `patience` it is killed where it is.
    At { place: Place, behind: Duration, ask_after: Option<u64>, patience: Duration },
}

impl Aim {
    pub(super) fn draw(chance: &mut Chance, sort: Sort) -> Self {
        const OF_SEGMENT: [(Act, Object); 4] = [
            (Act::Create, Object::Segment),
            (Act::Sync, Object::Segments),
            (Act::Write, Object::Segment),
            (Act::Sync, Object::Segment),
        ];
        const OF_MANIFEST: [(Act, Object); 5] = [
            (Act::Create, Object::Manifest),
            (Act::Write, Object::Manifest),
            (Act::Sync, Object::Manifest),
            (Act::Rename, Object::Manifest),
            (Act::Sync, Object::Folder),
        ];
        const OF_GATHERING: [(Act, Object); 4] = [
            (Act::Create, Object::Gathered),
            (Act::Write, Object::Gathered),
            (Act::Sync, Object::Gathered),
            (Act::Rename, Object::Gathered),
        ];
        const OF_RESUME: [(Act, Object); 8] = [
            (Act::MakeFolder, Object::Segments),
            (Act::Truncate, Object::Segment),
            (Act::Sync, Object::Segment),
            (Act::Rename, Object::Segment),
            (Act::Sync, Object::Segments),
            (Act::Create, Object::Lock),
            (Act::Write, Object::Lock),
            (Act::MakeFolder, Object::Folder),
        ];
        if sort == Sort::Store && chance.below(3) == 0 {
            return Self::Request { number: 1 + chance.below(6), answered: chance.below(2) == 0 };
        }
        let ((act, object), count, since) = match chance.below(23) {
            0..5 => return Self::Blind(Duration::from_micros(chance.below(200_000))),
            5..9 => (chance.one_of(&OF_SEGMENT), 1 + chance.below(8), Since::Segment),
            9..14 => (chance.one_of(&OF_MANIFEST), 1 + chance.below(2), Since::Segment),
            14..16 => (chance.one_of(&OF_MANIFEST), 1 + chance.below(2), Since::Start),
            16 => (chance.one_of(&OF_RESUME), 1, Since::Start),
            17 => ((Act::Remove, Object::Lock), 1, Since::Asked),
            18 => ((Act::Sync, Object::Segment), 1, Since::Asked),
            19 => (chance.one_of(&OF_MANIFEST), 1, Since::Asked),
            20 => (chance.one_of(&OF_GATHERING), 1, Since::Asked),
            _ => (chance.one_of(&OF_GATHERING), 1 + chance.below(2), Since::Segment),
        };
        let there = chance.one_of(&[There::Ahead, There::Behind, There::GoOn, There::GoOn]);
        let behind = if there == There::GoOn { chance.below(900) } else { 0 };
        let ask_after = (since == Since::Asked).then(|| 1 + chance.below(6));
        let place = Place { act, object, count, since, there };
        Self::At { place, behind: Duration::from_micros(behind), ask_after, patience: PATIENCE }
    }
}
