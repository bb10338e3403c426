//! Outputs that one side lacks under one identity and has under another: the same value with another topic or key.
//!
//! Where identity is topic and key, a rerouted output looks like one `missing` and one `extra`. Those wait here until all
//! identities were compared; what says the same is then one `rerouted`.

use std::collections::VecDeque;

use super::drives::Coordinates;
use super::engine::Totals;
use super::matching::Signature;
use super::patterns::{Apart, Candidate, Odd, count};
use super::{Change, Kind};

/// Outputs that wait at a time; those beyond are `missing` and `extra`.
const WAITING_MAX: usize = 200_000;

/// Outputs of the same value that are looked at for one that fits.
const NEAREST_MAX: usize = 64;

/// What a difference was found between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// Old and new.
    Raw,
    /// Old and old again.
    Noise,
    /// The drives that agree and the odd one.
    Odd(Odd),
    /// The drives that agree and the two that stand apart together.
    Apart(Apart),
}

impl Tag {
    /// Differences of one tag can belong together.
    fn class(self) -> (u8, u8, u8) {
        match self {
            Self::Raw => (0, 0, 0),
            Self::Noise => (1, 0, 0),
            Self::Odd(odd) => (2, odd.drive as u8, 0),
            Self::Apart(Apart { drives: (one, other), .. }) => (3, one, other),
        }
    }

    /// Counts a difference of this tag. `counts`: it is the difference that its output is counted by.
    pub(super) fn note(self, signature: &Signature, candidate: Candidate, counts: bool, totals: &mut Totals) {
        match self {
            Self::Raw => {
                if counts {
                    count(&mut totals.differences, signature.kind);
                }
                totals.patterns.raw(signature, candidate);
            }
            Self::Noise => {
                if counts {
                    count(&mut totals.noise, signature.kind);
                }
                totals.patterns.tally(signature).counts.noise += 1;
            }
            Self::Odd(odd) => totals.patterns.odd(signature, odd),
            Self::Apart(apart) => totals.patterns.apart(signature, apart),
        }
    }
}

/// One difference that waits.
#[derive(Debug, Clone)]
pub(super) struct Stray {
    pub(super) signature: Signature,
    pub(super) said: u64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) cause: Option<Coordinates>,
    pub(super) candidate: Candidate,
    pub(super) tag: Tag,
}

impl Stray {
    /// Counts it. `counts`: it is the difference that its output is counted by.
    fn note(&self, counts: bool, totals: &mut Totals) {
        self.tag.note(&self.signature, self.candidate, counts, totals);
    }

    /// The difference that this one, which the first side lacks nothing of, and `extra` are together.
    fn with(&self, extra: &Self) -> Option<Self> {
        let change = if self.signature.topic != extra.signature.topic {
            Change::Topic
        } else if self.key != extra.key {
            Change::Key
        } else {
            return None;
        };
        // Two events caused them: each is missing or extra in its own right, however alike they are.
        if self.cause.is_some() && extra.cause.is_some() && self.cause != extra.cause {
            return None;
        }
        let signature =
            Signature { kind: Kind::Rerouted, topic: self.signature.topic.clone(), path: None, change: Some(change) };
        let candidate =
            Candidate { at: extra.candidate.at, old: self.candidate.old, new: extra.candidate.new, stood: None };
        let tag = match (self.tag, extra.tag) {
            (Tag::Odd(one), Tag::Odd(other)) => Tag::Odd(Odd { recurred: one.recurred && other.recurred, ..one }),
            (tag, _) => tag,
        };
        Some(Self { signature, candidate, tag, ..self.clone() })
    }
}

/// Differences that wait.
#[derive(Debug, Default)]
pub(super) struct Strays(Vec<Stray>);

impl Strays {
    /// Whether another one may wait.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < WAITING_MAX
    }

    /// Lets a difference wait.
    pub(super) fn keep(&mut self, stray: Stray) {
        self.0.push(stray);
    }

    /// Joins what belongs together and counts everything.
    pub(super) fn settle(mut self, totals: &mut Totals) {
        self.0.sort_by_key(|stray| (stray.tag.class(), stray.said, stray.candidate));
        for alike in self.0.chunk_by(|one, other| one.tag.class() == other.tag.class() && one.said == other.said) {
            let mut extras: VecDeque<&Stray> =
                alike.iter().filter(|stray| stray.signature.kind == Kind::Extra).collect();
            for missing in alike.iter().filter(|stray| stray.signature.kind == Kind::Missing) {
                let nearest = extras.iter().enumerate().take(NEAREST_MAX);
                let joined = { nearest }.find_map(|(at, extra)| Some((at, missing.with(extra)?)));
                match joined {
                    Some((at, joined)) => {
                        extras.remove(at);
                        joined.note(true, totals);
                    }
                    None => missing.note(true, totals),
                }
            }
            for extra in extras {
                extra.note(true, totals);
            }
        }
    }
}
