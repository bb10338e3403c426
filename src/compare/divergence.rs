//! The first divergence of a run: the earliest output that differs, as replayed and as it happened.

use serde::{Deserialize, Serialize};

use super::{Change, Kind, Pattern, Sighting, Standing};

/// Where a run first went apart, by the patterns that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstDivergence {
    /// The earliest in replay time.
    pub replayed: Divergence,
    /// The earliest in event time, where events were not replayed in the order in which they happened, so that this is another; none
    /// where it is the same, or where no event time is known.
    pub happened: Option<Divergence>,
}

/// One difference, by its pattern, and where it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Name of its pattern ([`Pattern::id`]).
    pub id: String,
    /// Kind.
    pub kind: Kind,
    /// Topic.
    pub topic: String,
    /// Path within the value; none where the kind has no path.
    pub path: Option<String>,
    /// Change at the path.
    pub change: Option<Change>,
    /// What is known of the pattern: `proven` or `suspected`.
    pub standing: Standing,
    /// Its event and times.
    pub sighting: Sighting,
}

/// Finds where the run first went apart: among what is proven, or where nothing is, among what is suspected. Noise, information and what
/// cannot be judged do not count. None where nothing does, or nobody knows when.
pub fn first_divergence(patterns: &[Pattern]) -> Option<FirstDivergence> {
    let counts = |pattern: &&Pattern| !pattern.information && !pattern.unjudgeable;
    [Standing::Proven, Standing::Suspected].into_iter().find_map(|standing| {
        let patterns = || patterns.iter().filter(counts).filter(move |pattern| pattern.standing == standing);
        let sightings = || patterns().flat_map(|pattern| sightings(pattern).map(move |sighting| (pattern, sighting)));
        let replayed = sightings().min_by_key(|(_, sighting)| sighting.replay_us)?;
        let happened = sightings().filter(|(_, sighting)| sighting.event_time_ms.is_some());
        let happened = happened.min_by_key(|(_, sighting)| (sighting.event_time_ms, sighting.replay_us));
        let happened = happened.filter(|(_, sighting)| sighting.event_time_ms != replayed.1.event_time_ms);
        Some(FirstDivergence { replayed: divergence(replayed), happened: happened.map(divergence) })
    })
}

/// The first sighting of a pattern, and those of its examples, which are its earliest.
fn sightings(pattern: &Pattern) -> impl Iterator<Item = &Sighting> {
    pattern.first.iter().chain(pattern.examples.iter().filter_map(|example| example.cause.as_ref()))
}

fn divergence((pattern, sighting): (&Pattern, &Sighting)) -> Divergence {
    Divergence {
        id: pattern.id.clone(),
        kind: pattern.kind,
        topic: pattern.topic.clone(),
        path: pattern.path.clone(),
        change: pattern.change,
        standing: pattern.standing,
        sighting: sighting.clone(),
    }
}
