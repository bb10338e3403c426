//! What kills came next to, as the steps of the killed tell it.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::{Act, Object, Record, Step, Told};

/// A kill counts as near if it came at most this long after a step of a flush, a gathering, a rotation, a seal or a start began or
/// ended.
const NEAR_NS: u64 = 1_000_000;

/// What a kill came next to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Near {
    /// Bytes of a row group, and of the footer behind it, to the disk.
    Flush,
    /// The manifest at a start: of a new recording, or of one that is gone on with; and what that makes whole.
    Start,
    /// The manifest that vouches for a segment that has ended.
    Rotation,
    /// A segment that has ended, written again with its row groups gathered, and its rename over the other.
    Gathering,
    /// The manifest that says `sealed`, and what follows.
    Seal,
}

const NEARS: [Near; 5] = [Near::Flush, Near::Start, Near::Rotation, Near::Gathering, Near::Seal];

/// Tells from the steps of a child what it is at.
#[derive(Default)]
pub(super) struct Following {
    /// Segments that it made itself: all else is of the resume.
    made: BTreeSet<String>,
    /// Whether it wrote to one since it wrote a manifest.
    flushed: bool,
    manifest: Option<Near>,
    /// What the last step belongs to.
    at: Option<Near>,
    /// When something of each kind was last told of.
    last_ns: BTreeMap<Near, u64>,
}

impl Following {
    pub(super) fn follow(&mut self, record: &Record) {
        match &record.told {
            Told::Begun(step) => self.at = self.kind(step),
            Told::Done(_) => {}
            Told::Said(_) | Told::There => return,
        }
        if let Some(near) = self.at {
            self.last_ns.insert(near, record.at_ns);
        }
    }

    fn kind(&mut self, step: &Step) -> Option<Near> {
        match (Object::at(&step.path), step.act) {
            (Object::Segment, Act::Create) => {
                self.made.insert(step.path.clone());
                Some(Near::Flush)
            }
            (Object::Segment, _) => {
                self.flushed |= self.made.contains(&step.path);
                Some(if self.made.contains(&step.path) { Near::Flush } else { Near::Start })
            }
            // What a killed one left is taken away at a start.
            (Object::Gathered, Act::Remove) => Some(Near::Start),
            (Object::Gathered, _) => Some(Near::Gathering),
            (Object::Segments, _) => Some(if self.made.is_empty() { Near::Start } else { Near::Flush }),
            // Which manifest it is going to be its bytes say.
            (Object::Manifest, Act::Create | Act::Truncate) => {
                self.manifest = None;
                None
            }
            (Object::Manifest, Act::Write) => {
                let sealed = String::from_utf8_lossy(&step.bytes).contains("\"sealed\": true");
                let unsealed = if std::mem::take(&mut self.flushed) { Near::Rotation } else { Near::Start };
                self.manifest = Some(if sealed { Near::Seal } else { unsealed });
                self.manifest
            }
            (Object::Manifest, _) => self.manifest,
            (Object::Folder, Act::Sync) => self.manifest.or(Some(Near::Start)),
            (Object::Lock, Act::Remove) => Some(Near::Seal),
            (Object::Lock | Object::Folder, _) => Some(Near::Start),
        }
    }

    /// What the kill came next to, of several the rarest. `killed_ns` is no earlier than the kill.
    pub(super) fn near(&self, killed_ns: u64) -> Option<Near> {
        let near = |near: &Near| self.last_ns.get(near).is_some_and(|at| killed_ns.saturating_sub(*at) <= NEAR_NS);
        NEARS.into_iter().rev().find(near)
    }
}
