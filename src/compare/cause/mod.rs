//! Causes: what new does in the differences of a pattern, and what is common to them and not to the others.
//!
//! In come the two values of each difference, one after the other and in any order; out goes a sentence for each explanation
//! that holds for (nearly) all of them. What never happens here: a value is kept beyond its turn, memory grows with the number of
//! differences, or the order in which they come changes what is said.

mod alike;
mod exact;
mod finder;
mod likeness;
mod numbers;
mod places;
mod sample;
mod shapes;
mod sides;
mod texts;
mod times;
mod votes;
mod windows;

pub use alike::{Common, Condition};
pub(super) use alike::{Looked, Surroundings, common};
pub(super) use likeness::{Likeness, likeness, names};
pub(super) use sample::{Draw, Sample};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::exact::Exact;
use self::numbers::NumberWay;
use self::places::Place;
use self::shapes::{ElsewhereWay, ShapeWay};
use self::sides::{Side, Sides, Whole, same};
use self::texts::TextWay;
use self::times::TimeWay;
use self::votes::{Distinct, Votes};
use self::windows::{Edges, WindowWay};
use super::json::Node;
use super::matching::{Seen as Output, Signature};
use super::scan::mix;
use super::sentences::count;
use super::{Change, Kind};

/// Share of the differences looked at that an explanation must hold for, in hundredths.
const CLAIMED_SHARE: u64 = 95;

/// Differences of a pattern that are looked at, at least, where it has so many; of a larger pattern a sample of up to twice as
/// many, drawn by hash.
const LOOKED_AT_MIN: u64 = 4_096;

/// Explanations that are told side by side where each tells as much.
const WAYS_MAX: usize = 2;

/// What is known of why a pattern's differences are there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explained {
    /// What new does, in a sentence; several where nothing tells which it is. None where nothing explains the differences.
    #[serde(default)]
    pub ways: Vec<Way>,
    /// What is common to the differences and not to other outputs; none where nothing is, or where there are too few to tell.
    #[serde(default)]
    pub common: Option<Common>,
}

/// A way in which new differs that explains the differences of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Name of what was recognised, such as `rounding`.
    pub name: String,
    /// What new does and how often, in a sentence without a full stop.
    pub says: String,
    /// Differences looked at that it explains.
    pub explains: u64,
    /// Differences looked at: all of the pattern's, or a sample of them where they are many.
    pub looked_at: u64,
}

/// An explanation that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    name: &'static str,
    /// How much it tells: the lower, the more.
    rank: u8,
    explains: u64,
    says: String,
}

/// What explanations are weighed by.
#[derive(Debug, Clone, Copy)]
struct Evidence<'e> {
    path: &'e str,
    /// Differences looked at.
    looked: u64,
    /// Pairs of values, old values and new values that are not the same, up to a bound.
    pairs: usize,
    olds: usize,
    news: usize,
    /// Whether only new, or only old, has anything there.
    is_added: bool,
    is_removed: bool,
}

impl Evidence<'_> {
    /// Whether an explanation holds for enough differences to be told.
    fn is_enough(&self, explains: u64) -> bool {
        explains > 0 && explains * 100 >= self.looked * CLAIMED_SHARE
    }
}

/// Two outputs that differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Difference<'d> {
    pub(super) old: &'d Output,
    pub(super) new: &'d Output,
    /// The output that old wrote before, for the same key; none where that is not known.
    pub(super) before: Option<&'d Output>,
}

/// What was seen of a pattern's differences, in layers: each holds half as many as the one before it, by hash.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    layers: BTreeMap<u32, Layer>,
    /// The first layer that is still looked at.
    from: u32,
}

/// Differences looked at.
#[derive(Debug, Clone, Default)]
struct Layer {
    looked: u64,
    numbers: Votes<NumberWay>,
    times: Votes<TimeWay>,
    texts: Votes<TextWay>,
    shapes: Votes<ShapeWay>,
    elsewhere: Votes<ElsewhereWay>,
    windows: Votes<WindowWay>,
    edges: Edges,
    pairs: Distinct,
    olds: Distinct,
    news: Distinct,
    added: u64,
    removed: u64,
    /// Least and greatest by which numbers differ, and how many do.
    apart: Option<(Exact, Exact)>,
    numeric: u64,
}

/// Layer of a difference, by the output of old: the first holds half of them.
fn layer_of(sequence: i64) -> u32 {
    sample::drawn_by(sequence, 0xCA05E).leading_zeros()
}

impl Seen {
    /// Looks at a difference of the pattern `signature`.
    pub(super) fn look(&mut self, signature: &Signature, difference: &Difference<'_>) {
        let Difference { old, new, before } = difference;
        let layer = layer_of(old.output.sequence);
        if layer < self.from {
            return;
        }
        let seen = self.layers.entry(layer).or_default();
        match (signature.kind, signature.change, &signature.path) {
            (_, _, Some(path)) => {
                if let (Some(old), Some(new)) = (old.value(), new.value()) {
                    seen.values(path, old, new, before.and_then(|before| before.value()));
                }
            }
            (Kind::Rerouted, Some(Change::Key), _) => {
                let keys = [old, new].map(|output| std::str::from_utf8(output.output.key.as_deref()?).ok());
                let [old, new] = keys.map(|key| key.map(|key| Node::Text(key.into())));
                seen.pair("the key", old.as_ref(), new.as_ref(), &Whole::default());
            }
            (Kind::Rerouted, Some(Change::Topic), _) => {
                let [old, new] = [old, new].map(|output| Node::Text(output.output.topic.as_str().into()));
                seen.pair("the topic", Some(&old), Some(&new), &Whole::default());
            }
            (_, Some(Change::Timestamp), _) => {
                let texts = [old, new].map(|output| output.output.timestamp_ms.map(|time| time.to_string()));
                let [old, new] = texts.each_ref().map(|text| text.as_deref().map(Node::Number));
                seen.pair("the timestamp", old.as_ref(), new.as_ref(), &Whole::default());
            }
            _ => {}
        }
        self.thin_out();
    }

    /// Gives up the largest layer where those behind it hold enough, so that work does not grow with the differences.
    fn thin_out(&mut self) {
        while let Some(first) = self.layers.first_entry() {
            let number = *first.key();
            let behind: u64 = self.layers.range(number + 1..).map(|(_, layer)| layer.looked).sum();
            if behind < LOOKED_AT_MIN {
                return;
            }
            self.layers.remove(&number);
            self.from = number + 1;
        }
    }

    /// Adds what was seen of another signature.
    pub(super) fn add(&mut self, other: &Self) {
        self.from = self.from.max(other.from);
        for (number, layer) in &other.layers {
            self.layers.entry(*number).or_default().add(layer);
        }
        self.layers.retain(|number, _| *number >= self.from);
        self.thin_out();
    }

    /// Says what explains the differences of a pattern, of which there are `differ` among `compared` identities.
    pub(super) fn explain(&self, signature: &Signature, differ: u64, compared: u64) -> Vec<Way> {
        let mut all = Layer::default();
        self.layers.values().for_each(|layer| all.add(layer));
        if all.looked == 0 {
            return Vec::new();
        }
        let path = signature.path.as_deref().filter(|path| *path != "$").unwrap_or(match signature.kind {
            Kind::Rerouted if signature.change == Some(Change::Topic) => "the topic",
            Kind::Rerouted => "the key",
            _ if signature.change == Some(Change::Timestamp) => "the timestamp",
            _ => "the value",
        });
        let evidence = Evidence {
            path,
            looked: all.looked,
            pairs: all.pairs.count(),
            olds: all.olds.count(),
            news: all.news.count(),
            is_added: all.added == all.looked,
            is_removed: all.removed == all.looked,
        };
        let told = all.tells(&evidence);
        let way = |claim: Claim| Way {
            says: all.sentence(&claim, &evidence, differ, compared),
            name: claim.name.to_owned(),
            explains: claim.explains,
            looked_at: all.looked,
        };
        told.into_iter().map(way).collect()
    }
}

impl Layer {
    /// Looks at what stands at a path of two values.
    fn values(&mut self, path: &str, old: &[u8], new: &[u8], before: Option<&[u8]>) {
        let Some(place) = Place::read(path) else { return };
        let whole = Whole::new(Some(old), Some(new), before);
        let read = place.each((old, new), &mut |old, new| self.pair(path, old.as_ref(), new.as_ref(), &whole));
        if read.is_err() && path == "$" {
            // No JSON: the bytes are one text.
            let text = |bytes| Some(Node::Text(std::str::from_utf8(bytes).ok()?.into()));
            if let (Some(old), Some(new)) = (text(old), text(new)) {
                self.pair("the value", Some(&old), Some(&new), &whole);
            }
        }
    }

    fn pair(&mut self, path: &str, old: Option<&Node<'_>>, new: Option<&Node<'_>>, whole: &Whole<'_>) {
        if old.zip(new).is_some_and(|(old, new)| same(old, new)) {
            return;
        }
        let sides = Sides { path, old: Side::new(old), new: Side::new(new), whole };
        self.looked += 1;
        let (one, other) = (sides.old.hash(), sides.new.hash());
        self.pairs.note(mix(one, other));
        self.olds.note(one);
        self.news.note(other);
        self.added += u64::from(old.is_none());
        self.removed += u64::from(new.is_none());
        if let Some(apart) = sides.old.number.zip(sides.new.number).and_then(|(old, new)| new.minus(old)) {
            self.numeric += 1;
            self.note_apart(if apart.digits < 0 { Exact { digits: -apart.digits, ..apart } } else { apart });
        }
        self.numbers.cast(numbers::ways(&sides));
        self.times.cast(times::ways(&sides));
        self.texts.cast(texts::ways(&sides));
        self.shapes.cast(shapes::ways(&sides));
        self.elsewhere.cast(shapes::elsewhere(&sides));
        self.windows.cast(windows::ways(&sides));
        self.edges.note(&sides);
    }

    fn note_apart(&mut self, apart: Exact) {
        let is_less = |one: Exact, other: Exact| one.minus(other).is_some_and(|less| less.digits < 0);
        self.apart = Some(self.apart.map_or((apart, apart), |(least, most)| {
            (if is_less(apart, least) { apart } else { least }, if is_less(most, apart) { apart } else { most })
        }));
    }

    fn add(&mut self, other: &Self) {
        self.looked += other.looked;
        self.numbers.add(&other.numbers);
        self.times.add(&other.times);
        self.texts.add(&other.texts);
        self.shapes.add(&other.shapes);
        self.elsewhere.add(&other.elsewhere);
        self.windows.add(&other.windows);
        self.edges.add(&other.edges);
        self.pairs.add(&other.pairs);
        self.olds.add(&other.olds);
        self.news.add(&other.news);
        self.added += other.added;
        self.removed += other.removed;
        self.numeric += other.numeric;
        for apart in other.apart.into_iter().flat_map(|(least, most)| [least, most]) {
            self.note_apart(apart);
        }
    }

    /// Explanations that tell the most.
    fn tells(&self, evidence: &Evidence<'_>) -> Vec<Claim> {
        let mut claims = numbers::claims(&self.numbers, evidence);
        claims.extend(times::claims(&self.times, evidence));
        claims.extend(texts::claims(&self.texts, evidence));
        claims.extend(shapes::claims(&self.shapes, evidence));
        claims.extend(shapes::elsewhere_claims(&self.elsewhere, evidence));
        claims.extend(windows::claims(&self.windows, evidence));
        claims.extend(self.edges.claim(evidence));
        // What leaves some unexplained tells a little less.
        let rank = |claim: &Claim| claim.rank + u8::from(claim.explains < evidence.looked);
        claims.sort_by_key(|claim| (rank(claim), std::cmp::Reverse(claim.explains)));
        let first = claims.first().map(rank);
        claims.retain(|claim| Some(rank(claim)) == first);
        claims.dedup_by(|next, one| next.name == one.name);
        claims.truncate(WAYS_MAX);
        claims
    }

    fn sentence(&self, claim: &Claim, evidence: &Evidence<'_>, differ: u64, compared: u64) -> String {
        let of = if compared >= differ && compared > 0 { format!(" of {}", count(compared)) } else { String::new() };
        let is_numeric =
            matches!(claim.name, "rounding" | "precision" | "last-place") && self.numeric == evidence.looked;
        let by = self.apart.filter(|_| is_numeric).map(|(least, most)| {
            if least == most { format!(" by {}", most.text()) } else { format!(" by up to {}", most.text()) }
        });
        let looked = if claim.explains < evidence.looked {
            format!("; it explains {} of {} looked at", count(claim.explains), count(evidence.looked))
        } else if evidence.looked < differ {
            format!("; {} of them were looked at", count(evidence.looked))
        } else {
            String::new()
        };
        format!("{}: {}{of} differ{}{looked}", claim.says, count(differ), by.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
