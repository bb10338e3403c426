//! The comparison of all drives, on one page.

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::Bounds;
use super::business;
use super::business::Figures;
use super::cause;
use super::drives::{Drive, EventTimes};
use super::engine::{Engine, Totals};
use super::expected::{Covered, Expectations};
use super::family::settle;
use super::gates::Gates;
use super::gather::gather;
use super::matching::Signature;
use super::noise::{Counts, Drives, measure};
use super::patterns::{Candidate, Judge, OTHERS, Tally};
use super::reading::nearest;
use super::rules::Rules;
use super::sightings::{EXAMPLES_MAX, Sightings};
use super::state::Convergence;
use super::topics::Topics;
use super::watched::Watched;
use super::{Change, CompareError, Comparison, Explained, Kind, Pattern, Reordering, Standing, Statistics};
use crate::outcome::{Ending, Outcome};
use crate::recording::Recording;
use crate::spill::SpillSpace;

/// Compares outcomes: `old` holds the drives of the old build, the first being the one compared, the others the noise; `new`
/// holds one drive of the new build, or two where it was driven again.
///
/// Each outcome is read once; what does not agree is read again. Memory is bounded by the rules' `memory`; beyond it, outputs
/// are partitioned in `spill`. `recording` knows the event times of causes; without it no output is `later` or `earlier`.
/// Outputs of the warm-up are left out.
///
/// Of `differences` each output is in one at most, so that the outputs of old are those `matched` and those of the differences
/// that have an old side. Two kinds stand beside: `final-state` counts keys that were updated and end on another value,
/// `benign-reorder` counts matched outputs that came late among independent ones.
///
/// Patterns are judged as the only tests of the run, under the default gates: whoever adds others, or has gates of their own,
/// calls [`settle`](super::settle) on the whole.
///
/// # Errors
///
/// [`CompareError`] where an outcome or the recording cannot be read, spilling fails, or `spill` is withdrawn meanwhile.
pub fn compare(
    old: &[Outcome],
    new: &[Outcome],
    rules: &Rules,
    recording: Option<&Recording>,
    spill: &SpillSpace,
) -> Result<Comparison, CompareError> {
    let old: Vec<&dyn Drive> = old.iter().map(|outcome| outcome as &dyn Drive).collect();
    let new: Vec<&dyn Drive> = new.iter().map(|outcome| outcome as &dyn Drive).collect();
    compare_drives(&old, &new, rules, recording.map(|recording| recording as &dyn EventTimes), spill)
}

/// Compares drives, wherever their outputs are; otherwise as [`compare`].
///
/// # Errors
///
/// As [`compare`].
pub fn compare_drives(
    old: &[&dyn Drive],
    new: &[&dyn Drive],
    rules: &Rules,
    times: Option<&dyn EventTimes>,
    spill: &SpillSpace,
) -> Result<Comparison, CompareError> {
    compare_bounded(old, new, rules, times, Bounds::of(rules), spill)
}

fn compare_bounded(
    old: &[&dyn Drive],
    new: &[&dyn Drive],
    rules: &Rules,
    times: Option<&dyn EventTimes>,
    bounds: Bounds,
    spill: &SpillSpace,
) -> Result<Comparison, CompareError> {
    if old.is_empty() || new.is_empty() {
        return Err(CompareError::NoDrive { build: if old.is_empty() { "old" } else { "new" } });
    }
    let rules = &*rules.for_drives(old.iter().chain(new).copied());
    // Production cannot be driven again: what new differs from itself by says what the noise is, however often it was driven.
    let turned = rules.is_turned();
    let taken = if turned { new.len() } else { 2 };
    let compared = old.iter().take(if turned { 1 } else { old.len() }).chain(new.iter().take(taken)).copied();
    let watched = Watched::all(compared, rules, spill);
    let drives: Vec<&dyn Drive> = watched.iter().map(|drive| drive as &dyn Drive).collect();
    let (first_old, first_new) = (drives[0], drives[old.len()]);
    if drives.len() > 60 {
        return Err(CompareError::TooManyDrives { drives: drives.len() });
    }
    let gathered = gather(&drives, rules, spill)?;
    let by_drive = |counts: &[u64]| names(old.len()).zip(counts.iter().copied()).collect();
    let (outputs, unreadable) = (by_drive(&gathered.counts), by_drive(&gathered.unreadable));
    let causes = names(old.len()).zip(gathered.causes.iter().copied()).collect();
    let names: Vec<String> = names(old.len()).take(drives.len()).collect();
    let figures = business::results(&gathered.figures, &names, old.len(), rules);
    let mut engine = Engine::new(&drives, old.len(), rules, times, (gathered.topics, gathered.last), (bounds, spill));
    engine.identities(gathered.identities)?;
    if let Some(subsets) = gathered.subsets {
        engine.subsets(subsets)?;
    }
    if let Some(tables) = gathered.tables {
        engine.tables(tables)?;
    }
    let stretches = engine.stretches();
    let (mut totals, topics) = engine.finish()?;
    let (convergence, tables) =
        std::mem::take(&mut totals.state).finish(&topics, &gathered.keyless, rules.production.as_ref());
    note_endings(&mut totals, old, first_new);

    let counted = counted(turned, (old.len(), new.len()));
    // Where nothing was written, nothing can be looked for.
    let looked_in = gathered.counts.iter().any(|count| *count > 0);
    let written = rules.settings.identity.iter().enumerate().filter(|_| looked_in);
    let unfound: Vec<String> =
        written.filter(|(path, _)| gathered.identity_found >> path & 1 == 0).map(|(_, path)| path.clone()).collect();
    let mut comparison = Comparison {
        identity_lost: !unfound.is_empty() && gathered.identity_found == 0,
        identity_unfound: unfound,
        topics_unfound: misspelled(&gathered.unwritten, &topics, rules),
        outputs,
        unreadable,
        causes,
        identities: totals.identities,
        matched: totals.matched,
        differences: std::mem::take(&mut totals.differences),
        noise: (counted.old > 1).then(|| std::mem::take(&mut totals.noise)),
        silenced: std::mem::take(&mut totals.silenced),
        reordering: Reordering {
            compared: totals.ordered,
            late: totals.late,
            share: totals.late as f64 / totals.ordered.max(1) as f64,
            extent: totals.extent,
        },
        moved_at_most: totals.moved_at_most,
        production: rules.production.as_ref().map(|production| production.side),
        at_edges: totals.at_edges,
        beside_production: gathered.beside,
        tables,
        figures,
        ..Comparison::default()
    };
    let taken = totals.take_expected();
    let (taking_place, covered) = taken.finish(gathered.looks, &topics, (first_new, old.len()), rules)?;
    let draw = totals.patterns.draw;
    let (judged, of) = if turned { (0, drives.len()) } else { (old.len(), old.len() + 1) };
    let judge = Judge { drive: judged, drives: of, stretches };
    let found = found(totals, covered, judge);
    let candidates = found.iter().flat_map(|(_, _, tally)| &tally.candidates);
    let candidates = candidates.chain(convergence.iter().filter_map(|(_, candidate)| candidate.as_ref()));
    let sightings = Sightings::look_up(candidates, (first_old, first_new), rules, times)?;
    let looked: Vec<cause::Looked<'_>> =
        found.iter().map(|(_, signature, tally)| looked(signature, tally, rules)).collect();
    let around = cause::Surroundings { drives: [first_old, first_new], rules, events: times, draw };
    let common = cause::common(&looked, &around)?;
    let patterns = found.into_iter().zip(common).map(|((by, signature, tally), common)| {
        let comparable = taking_place.comparable(&signature, old.len()).max(tally.counts.raw);
        let id = rules.expected().id(&signature, by);
        let expected_by = by.map(usize::from);
        let ways = tally.seen.explain(&signature, tally.counts.raw, tally.counts.compared);
        let explained = Explained { ways, common };
        Pattern {
            id,
            comparable,
            expected_by,
            explained,
            ..pattern(signature, &tally, (counted, by), rules, &sightings)
        }
    });
    comparison.patterns = patterns.collect();
    let sighted = |(found, candidate): (Convergence, Option<Candidate>)| Convergence {
        at: candidate.and_then(|candidate| sightings.sighting(&candidate)),
        ..found
    };
    comparison.convergence = convergence.into_iter().map(sighted).collect();
    comparison.expected = rules.expected().apply(&mut comparison.patterns, &taking_place, old.len() > 1);
    settle(&mut comparison, &Gates::default());
    Ok(comparison)
}

/// Drives that the tests of chance rest on: those of new, where production stands in old's place.
fn counted(turned: bool, (old, new): (usize, usize)) -> Drives {
    if turned { Drives { old: new, new_again: false } } else { Drives { old, new_again: new > 1 } }
}

/// Compares two drives of one build: by kind, how often it does not do the same twice. Information is left out.
///
/// # Errors
///
/// As [`compare`].
pub fn unsteadiness(
    first: &Outcome,
    again: &Outcome,
    rules: &Rules,
    recording: Option<&Recording>,
    spill: &SpillSpace,
) -> Result<BTreeMap<Kind, u64>, CompareError> {
    let times = recording.map(|recording| recording as &dyn EventTimes);
    // What is expected of new beside old is not of new beside itself.
    let rules = rules.clone().with_figures(Figures::default()).with_expected(Expectations::default());
    let compared = compare_drives(&[first as &dyn Drive], &[again as &dyn Drive], &rules, times, spill)?;
    let mut differences = compared.differences;
    for pattern in compared.patterns.iter().filter(|pattern| pattern.information) {
        if let Some(number) = differences.get_mut(&pattern.kind) {
            *number = number.saturating_sub(pattern.count);
        }
    }
    differences.retain(|_, number| *number > 0);
    Ok(differences)
}

/// Names of the drives, in order.
fn names(olds: usize) -> impl Iterator<Item = String> {
    let old = (0..olds).map(|drive| match drive {
        0 => "old".to_owned(),
        1 => "old_again".to_owned(),
        further => format!("old_again_{further}"),
    });
    let new = ["new".to_owned(), "new_again".to_owned()];
    old.chain(new).chain((2_u32..).map(|further| format!("new_again_{further}")))
}

/// Of topics that have rules and no outputs those that nobody knows, each with one that may be meant.
fn misspelled(unwritten: &BTreeSet<String>, written: &Topics, rules: &Rules) -> BTreeMap<String, Option<String>> {
    let known = rules.known_topics();
    let near = |name: &str| nearest(name, written.names().chain(known.iter().map(String::as_str))).map(str::to_owned);
    unwritten.iter().filter(|name| !known.contains(*name)).map(|name| (name.clone(), near(name))).collect()
}

/// Notes that new died or stood still where old did not.
fn note_endings(totals: &mut Totals, old: &[&dyn Drive], new: &dyn Drive) {
    let kind = match new.ending() {
        Ending::Finished => return,
        Ending::Died => Kind::Died,
        Ending::TimedOut | Ending::StoppedReading => Kind::NoProgress,
    };
    let finished = old.iter().filter(|drive| drive.ending() == Ending::Finished).count();
    if finished == 0 {
        return;
    }
    let signature = Signature { kind, topic: String::new(), path: None, change: None };
    totals.differences.insert(kind, 1);
    let tally = totals.patterns.tally(&signature);
    tally.counts = Counts { raw: 1, noise: (old.len() - finished) as u64, ..Counts::default() };
}

/// Signatures that old against new shows, in order, with the identities their topics hold; what an expectation covers, or asked
/// for in vain, with its number.
fn found(totals: Totals, covered: Vec<Covered>, judge: Judge) -> Vec<(Option<u16>, Signature, Tally)> {
    let Totals { patterns, compared, identities, .. } = totals;
    let all: Vec<(Signature, Tally)> = patterns.finish(judge).collect();
    let in_topic = |signature: &Signature| {
        let in_topic = compared.get(&signature.topic).copied();
        in_topic.unwrap_or(if signature.topic == OTHERS { identities } else { 0 })
    };
    let noise = |signature: &Signature| {
        let alike = all.iter().find(|(other, _)| other == signature);
        alike.map_or(0, |(_, tally)| tally.counts.noise)
    };
    let covered: Vec<_> = covered
        .into_iter()
        .map(|Covered { by, signature, mut tally }| {
            tally.counts.compared = in_topic(&signature);
            tally.counts.noise = noise(&signature);
            (Some(by), signature, tally)
        })
        .collect();
    let moving: Vec<(u64, u64)> = all
        .iter()
        .map(|(signature, _)| {
            let moving = all.iter().filter(|(other, _)| signature.is_moved_by(other));
            let moving = moving.map(|(_, tally)| (tally.counts.odd_old, tally.counts.odd_all));
            moving.fold((0, 0), |(odd, unsteady), (old, all)| (odd + old, unsteady + old + all))
        })
        .collect();
    let counted = all.into_iter().zip(moving).map(|((signature, mut tally), (odd_moving, unsteady))| {
        tally.counts.compared = in_topic(&signature);
        tally.counts.unsteady = unsteady.min(tally.counts.compared);
        tally.counts.odd_moving = odd_moving.min(tally.counts.compared);
        (None, signature, tally)
    });
    counted.filter(|(_, _, tally)| tally.counts.raw > 0).chain(covered).collect()
}

/// A pattern as what is common to its differences is looked for.
fn looked<'l>(signature: &'l Signature, tally: &'l Tally, rules: &Rules) -> cause::Looked<'l> {
    let (sample, information) = (&tally.sample, signature.is_information(rules));
    cause::Looked { signature, sample, count: tally.counts.raw, information }
}

/// Whether a pattern is one of the tests that could turn a run red.
fn is_tested(signature: &Signature, counts: &Counts, rules: &Rules) -> bool {
    counts.raw > 0 && !signature.is_information(rules) && !is_fact(signature)
}

/// Whether it is a fact that chance has no part in: an ending, or what new should have done and has not.
fn is_fact(signature: &Signature) -> bool {
    is_ending(signature.kind) || signature.change == Some(Change::NotMade)
}

fn is_ending(kind: Kind) -> bool {
    matches!(kind, Kind::Died | Kind::NoProgress)
}

/// What no test of chance is about: an ending is a fact, as is a change that did not take place; information is nothing to judge.
fn untested(signature: &Signature, counts: &Counts) -> (Standing, Statistics) {
    let proven = is_fact(signature) && counts.noise == 0;
    let standing = if proven { Standing::Proven } else { Standing::Suspected };
    (standing, Statistics { compared: counts.compared, ..Statistics::default() })
}

/// A pattern with its test, not yet judged: that takes the family.
fn pattern(
    signature: Signature,
    tally: &Tally,
    (drives, by): (Drives, Option<u16>),
    rules: &Rules,
    sightings: &Sightings<'_>,
) -> Pattern {
    let (standing, statistics) = if by.is_some() && !is_fact(&signature) {
        (Standing::Expected, untested(&signature, &tally.counts).1)
    } else if is_tested(&signature, &tally.counts, rules) {
        (Standing::Suspected, measure(&tally.counts, drives))
    } else {
        untested(&signature, &tally.counts)
    };
    let sights = tally.candidates.iter().filter_map(|candidate| sightings.sighting(candidate));
    let mut examples: Vec<_> = tally.candidates.iter().map(|candidate| sightings.example(candidate)).collect();
    // Candidates are the earliest to arrive; among them, what was due first is shown first.
    examples.sort_by_key(|example| example.cause.as_ref().map_or(i64::MAX, |cause| cause.replay_us));
    examples.truncate(EXAMPLES_MAX);
    Pattern {
        explained: Explained::default(),
        information: signature.is_information(rules),
        kind: signature.kind,
        topic: signature.topic,
        path: signature.path,
        change: signature.change,
        standing,
        count: tally.counts.raw,
        noise_count: tally.counts.noise,
        unjudgeable: false,
        statistics,
        first: sights.min_by_key(|sighting| sighting.replay_us),
        examples,
        id: String::new(),
        comparable: 0,
        expected_by: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::drives::Remembered;
    use super::super::rules::CompareSettings;
    use super::*;
    use crate::outcome::{Cause, CauseBy, Output};
    use crate::recording::Header;

    const UNBOUNDED: Bounds = Bounds { held: usize::MAX, moving: usize::MAX, group: 8, window: 3 };

    fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
        let numbered = outputs.into_iter().enumerate();
        Remembered::finished(
            numbered.map(|(at, output)| Output { sequence: at as i64, arrived_us: at as i64 * 10, ..output }).collect(),
        )
    }

    fn output(key: Option<u8>, value: &str) -> Output {
        let key = key.map(|key| vec![b'a' + key]);
        Output { topic: "payouts".to_owned(), key, value: Some(value.as_bytes().to_vec()), ..Output::default() }
    }

    /// What a build writes that floods one identity and little else.
    fn flood() -> impl Strategy<Value = Remembered> {
        let output = (0..8_u8, 0..4_u8, prop::bool::weighted(0.1), 0..3_i64, 1..6_usize).prop_map(
            |(key, number, elsewhere, offset, times)| {
                let value = format!(r#"{{"id":{},"n":{number},"at":{offset}}}"#, number / 3);
                let mut output =
                    output([None, Some(1), Some(2)].get(usize::from(key)).copied().unwrap_or(Some(0)), &value);
                if elsewhere {
                    output.topic = "refunds".to_owned();
                }
                let cause = Cause { topic: "t".to_owned(), partition: 0, offset, attempt: 0, by: CauseBy::Build };
                output.cause = (offset > 1).then_some(cause);
                vec![output; times]
            },
        );
        prop::collection::vec(output, 0..25).prop_map(|outputs| drive(outputs.into_iter().flatten()))
    }

    /// The same outputs, each with a header and an order of members that is other in each drive, and near enough for a tolerance.
    fn stamped(drive: &Remembered, number: i64) -> Remembered {
        let mut stamped = drive.clone();
        for output in &mut stamped.outputs {
            let stamp = number * 2 + output.sequence % 2;
            output.headers = vec![Header { name: "trace".to_owned(), value: Some(vec![b'0' + stamp as u8]) }];
            let Ok(mut said) = serde_json::from_slice::<BTreeMap<String, i64>>(output.value.as_deref().unwrap()) else {
                continue;
            };
            said.entry("at".to_owned()).and_modify(|at| *at = *at * 10 + stamp);
            let mut members: Vec<String> = said.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            if stamp % 3 == 0 {
                members.reverse();
            }
            output.value = Some(format!("{{{}}}", members.join(",")).into_bytes());
        }
        stamped
    }

    /// The same outputs, some of them elsewhere.
    fn rotated(other: &Remembered, from: usize, by: usize) -> Remembered {
        let mut outputs = other.outputs.clone();
        let from = from.min(outputs.len());
        let by = by.min(outputs.len() - from);
        outputs[from..].rotate_left(by);
        drive(outputs)
    }

    fn compared(drives: &[Remembered], toml: &str, bounds: Bounds) -> Comparison {
        let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap();
        let drives: Vec<&dyn Drive> = drives.iter().map(|drive| drive as &dyn Drive).collect();
        let (old, new) = drives.split_at(drives.len().min(3) - 1);
        compare_bounded(old, new, &rules, None, bounds, &SpillSpace::system()).unwrap()
    }

    const RULES: [&str; 9] = [
        "",
        "order = 'key'\ntolerance = [{ path = '$.at', absolute = 7.5 }]",
        "identity = ['$.id']\norder = 'key'",
        "identity = ['$.id']\norder = 'key'\ntolerance = [{ path = '$.at', absolute = 7.5 }]",
        "order = 'none'",
        "order = 'total'\nignore = ['$.at']",
        "identity = ['$.id']\nignore = ['$.at']",
        "identity = ['$.id']\norder = 'none'",
        "updates = ['payouts']",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_flood_is_compared_from_the_spill_space_as_it_is_in_memory(
            drives in prop::collection::vec(flood(), 2..5),
            steady in any::<bool>(),
            rotation in prop::option::of((0..40_usize, 1..40_usize)),
            stamp in any::<bool>(),
            held in UNBOUNDED.group..30,
            toml in prop::sample::select(&RULES[..]),
        ) {
            let mut drives = drives;
            if steady {
                // Drives of old that agree, so that new alone is odd.
                drives[1] = drives[0].clone();
            }
            if let Some((from, by)) = rotation {
                // New, or new again, that wrote the same in another order.
                let last = drives.len() - 1;
                drives[last] = rotated(&drives[0], from, by);
            }
            if stamp {
                drives = drives.iter().zip(0..).map(|(drive, number)| stamped(drive, number)).collect();
            }
            let bounded = compared(&drives, toml, Bounds { held, ..UNBOUNDED });
            prop_assert_eq!(bounded, compared(&drives, toml, UNBOUNDED));
        }
    }

    /// The same outputs, some of which no reader takes, or which have no value.
    fn spoiled(drive: &Remembered, number: usize) -> Remembered {
        let mut spoiled = drive.clone();
        for (at, output) in spoiled.outputs.iter_mut().enumerate() {
            output.malformed = (at % 7 == number).then(|| "no JSON".to_owned());
            output.value = output.value.take().filter(|_| at % 5 != number);
            output.timestamp_ms = (at % 3 == number).then_some(at as i64);
        }
        spoiled
    }

    /// The same outputs in a folder.
    fn stored(folder: &std::path::Path, drive: &Remembered) -> Outcome {
        let mut writer = crate::outcome::OutcomeWriter::create(folder, &[], &[]).unwrap();
        drive.outputs.iter().for_each(|output| writer.output(output).unwrap());
        writer.finish(&crate::outcome::EndingReport::new(Ending::Finished, "")).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn outcomes_are_compared_by_the_hashes_beside_their_values_as_by_the_values(
            drives in prop::collection::vec(flood(), 2..4),
            steady in any::<bool>(),
            spoil in 0..3_usize,
            in_memory in 0..3_usize,
            toml in prop::sample::select(&RULES[..]),
        ) {
            let mut drives = drives;
            if steady {
                drives[1] = drives[0].clone();
            }
            let drives: Vec<Remembered> = drives.iter().map(|drive| spoiled(drive, spoil)).collect();
            let folder = tempfile::tempdir().unwrap();
            let stored: Vec<Outcome> = drives
                .iter()
                .zip(0..)
                .map(|(drive, number)| stored(&folder.path().join(format!("{number}")), drive))
                .collect();
            // What stands beside a file may be in memory, or come from another tool, without any hashes.
            let mixed: Vec<&dyn Drive> = drives
                .iter()
                .zip(&stored)
                .zip(0..)
                .map(|((drive, stored), number)| if number == in_memory { drive as &dyn Drive } else { stored })
                .collect();
            let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap();
            let (old, new) = mixed.split_at(mixed.len() - 1);
            let found = compare_bounded(old, new, &rules, None, UNBOUNDED, &SpillSpace::system()).unwrap();
            prop_assert_eq!(found, compared(&drives, toml, UNBOUNDED));
        }
    }

    /// Outputs of one key in another order than they are numbered.
    fn shuffled(numbers: impl IntoIterator<Item = u64>) -> Remembered {
        drive(numbers.into_iter().map(|number| output(Some(0), &format!(r#"{{"n":{number}}}"#))))
    }

    /// The same outputs, every other one with a header that is other in each drive.
    fn half_stamped(drive: &Remembered, number: i64) -> Remembered {
        let (mut half, stamped) = (drive.clone(), stamped(drive, number));
        for (output, stamped) in half.outputs.iter_mut().zip(stamped.outputs).step_by(2) {
            output.headers = stamped.headers;
        }
        half
    }

    #[test]
    fn order_within_a_flood_is_compared_from_the_spill_space_as_it_is_in_memory() {
        let rising: Vec<u64> = (0..6_000).map(|number| number / 2).collect();
        let mut moved = rising.clone();
        moved.swap(70, 78);
        let late = moved.remove(400);
        moved.insert(5_500, late);
        let drives = [shuffled(rising.clone()), shuffled(rising), shuffled(moved)];
        let of_key = "identity = ['$.n']\norder = 'key'";
        let tolerant = format!("{of_key}\ntolerance = [{{ path = '$.n', absolute = 0.5 }}]");
        for toml in ["", of_key, &tolerant, "order = 'total'"] {
            let expected = compared(&drives, toml, UNBOUNDED);
            assert!(expected.differences.contains_key(&Kind::Reordered), "{toml}");
            let bounded = compared(&drives, toml, Bounds { held: 100, ..UNBOUNDED });
            assert_eq!(bounded, expected, "{toml}");
        }
        // Headers that are other in some outputs: of those that moved, only the others were counted as matched.
        let other_headers: Vec<Remembered> =
            drives.iter().zip(0..).map(|(drive, number)| half_stamped(drive, number)).collect();
        for toml in [of_key, &tolerant] {
            let expected = compared(&other_headers, toml, UNBOUNDED);
            assert!(expected.differences.contains_key(&Kind::Reordered), "{toml}");
            let bounded = compared(&other_headers, toml, Bounds { held: 100, ..UNBOUNDED });
            assert_eq!(bounded, expected, "{toml}");
        }
    }

    #[test]
    fn what_cannot_be_told_of_a_flood_is_counted_as_such() {
        let numbers = |shift: u64| shuffled((0..4_000).map(move |number| (number + shift) % 4_000));
        let bounds = Bounds { held: 100, moving: 50, ..UNBOUNDED };
        let comparison = compared(&[numbers(0), numbers(1_500)], "", bounds);
        assert_eq!(comparison.moved_at_most, 1);
        let moved = comparison.differences[&Kind::Reordered];
        assert!((1_500..4_000).contains(&moved), "{moved}");
        assert_eq!(comparison.matched + moved, 4_000);
        let same = compared(&[numbers(1_500), numbers(1_500)], "", bounds);
        assert_eq!((same.moved_at_most, same.matched), (0, 4_000));
    }

    #[test]
    fn one_output_written_over_and_over_is_neither_missed_nor_held() {
        let of = |times: usize| drive(vec![output(Some(0), "1"); times]);
        let spill = SpillSpace::new("/nowhere, so that nothing can be spilled");
        let rules = CompareSettings::default().check().unwrap();
        let (old, new) = (of(3), of(30_000));
        let bounds = Bounds { held: 1_000, ..UNBOUNDED };
        let found = compare_bounded(&[&old], &[&old], &rules, None, bounds, &spill).unwrap();
        assert_eq!((found.matched, found.differences.len()), (3, 0));
        let found = compare_bounded(&[&old], &[&new], &rules, None, bounds, &spill).unwrap();
        assert_eq!((found.matched, found.differences), (3, [(Kind::Repeated, 29_997)].into()));
        let found = compare_bounded(&[&new], &[&new], &rules, None, bounds, &spill).unwrap();
        assert_eq!((found.matched, found.differences.len()), (30_000, 0));
    }
}
