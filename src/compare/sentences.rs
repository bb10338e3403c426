//! Sentences for people: what differs, where it began and what could not be told.
//!
//! Plain text without markup or a full stop, so that a terminal, a table cell and an XML attribute all show them as they are.

use super::regions;
use super::{Change, Idempotency, Kind, Pattern, Sighting};
use crate::outcome::{Ending, EndingReport};
use crate::settings::Moment;

/// Patterns of one kind that have a sentence of their own; the others are summed up.
const PATTERNS_SHOWN: usize = 3;

/// What a sentence on outputs counts against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    /// Outputs of old.
    pub(super) old: u64,
    /// Outputs of new.
    pub(super) new: u64,
    /// Whether a sentence has to say which topic it speaks of.
    pub(super) several_topics: bool,
}

/// Says how each pattern differs, largest first; `certainty` ends each sentence, and may be empty.
pub(super) fn patterns(patterns: &[&Pattern], totals: Totals, certainty: &str) -> Vec<String> {
    let mut sorted = patterns.to_vec();
    sorted.sort_by_key(|pattern| std::cmp::Reverse(pattern.count));
    let (shown, rest) = sorted.split_at(sorted.len().min(PATTERNS_SHOWN));
    let mut sentences: Vec<String> = shown
        .iter()
        .map(|pattern| format!("{}{}{certainty}", pattern_text(pattern, totals), begins(pattern)))
        .collect();
    if let Some(kind) = rest.first().map(|pattern| pattern.kind) {
        let differences = rest.iter().map(|pattern| pattern.count).sum();
        let name = super::figure::kind_name(kind);
        sentences.push(format!(
            "{} further {name} in {} patterns{certainty}",
            count(differences),
            count(rest.len() as u64)
        ));
    }
    sentences
}

fn pattern_text(pattern: &Pattern, totals: Totals) -> String {
    let against_old = format!("{} of {}", count(pattern.count), outputs(totals.old));
    let against_new = format!("{} of {}", count(pattern.count), outputs(totals.new));
    let path = pattern.path.as_deref().unwrap_or("the value");
    let text = match pattern.kind {
        Kind::Missing => format!("{against_old} missing in new"),
        Kind::Unseen => format!("{against_old} not seen before new stopped"),
        Kind::Extra => format!("{against_new} in new alone"),
        Kind::Repeated => format!("{} repeated by new{}", against_new, repeat_text(pattern.change)),
        Kind::Changed => format!("{against_old} {}", change_text(pattern.change, path)),
        Kind::Rerouted => format!("{against_old} sent elsewhere{}", route_text(pattern.change)),
        Kind::Metadata => format!("{against_old} with other {}", metadata_text(pattern.change)),
        Kind::Reordered => format!("{against_old} out of order"),
        Kind::BenignReorder => format!("{against_old} in another order, which does not count"),
        Kind::Later => format!("{against_old} written at a later event time"),
        Kind::Earlier => format!("{against_old} written at an earlier event time"),
        Kind::Refinement => format!("{against_old} reached by other intermediate updates"),
        Kind::FinalState if pattern.path.is_none() && pattern.change == Some(Change::Removed) => {
            format!("{} of the table in old alone", counted(pattern.count, "row"))
        }
        Kind::FinalState if pattern.path.is_none() && pattern.change == Some(Change::Added) => {
            format!("{} of the table in new alone", counted(pattern.count, "row"))
        }
        Kind::FinalState => format!("{} with another last value{}", counted(pattern.count, "key"), at_path(pattern)),
        Kind::Effect => format!("{} to the outside differ", counted(pattern.count, "call")),
        Kind::SinkDivergence => format!("sink divergence in {}", counted(pattern.count, "row")),
        Kind::DeadLetter => format!("{} differ", counted(pattern.count, "dead letter")),
        Kind::Malformed => format!("{against_new} cannot be read"),
        Kind::NoProgress => format!("new made no progress in {}", counted(pattern.count, "stretch")),
        Kind::Died => format!("new died {}", counted(pattern.count, "time")),
    };
    if totals.several_topics && !pattern.topic.is_empty() { format!("{text} (topic {})", pattern.topic) } else { text }
}

fn change_text(change: Option<Change>, path: &str) -> String {
    let in_words = regions::in_words(path);
    let path = in_words.as_deref().unwrap_or(path);
    match change {
        Some(Change::Type) => format!("changed their type at {path}"),
        Some(Change::Precision) => format!("changed their precision at {path}"),
        Some(Change::Added) => format!("gained {path}"),
        Some(Change::Removed) => format!("lost {path}"),
        Some(Change::Renamed) => format!("had {path} renamed"),
        Some(Change::NullOrAbsent) => format!("null on one side and absent on the other at {path}"),
        Some(Change::ArrayOrder) => format!("changed the order of elements at {path}"),
        Some(Change::NotMade) => format!("lack the change that was expected at {path}"),
        Some(Change::Encoding) => "changed in their bytes, not in their value".to_owned(),
        _ => format!("changed at {path}"),
    }
}

fn repeat_text(change: Option<Change>) -> &'static str {
    match change {
        Some(Change::Exact) => ", byte for byte",
        Some(Change::Semantic) => ", with the same value in other bytes",
        Some(Change::Conflicting) => ", with another value",
        _ => "",
    }
}

fn route_text(change: Option<Change>) -> &'static str {
    match change {
        Some(Change::Topic) => ": another topic",
        Some(Change::Key) => ": another key",
        Some(Change::Partition) => ": another partition",
        _ => "",
    }
}

fn metadata_text(change: Option<Change>) -> &'static str {
    match change {
        Some(Change::Headers) => "headers",
        Some(Change::Timestamp) => "timestamps",
        Some(Change::Encoding) => "schema ids",
        Some(Change::UnknownSchema) => "schema ids that nobody knows",
        _ => "metadata",
    }
}

fn at_path(pattern: &Pattern) -> String {
    let in_words = |path: &String| regions::in_words(path).unwrap_or_else(|| path.clone());
    pattern.path.as_ref().map(|path| format!(" at {}", in_words(path))).unwrap_or_default()
}

fn begins(pattern: &Pattern) -> String {
    pattern.first.as_ref().map(|first| format!("; first {}", sighting(first))).unwrap_or_default()
}

/// Says when and where something showed, as `at 2013-01-05T10:17Z (flights/3@4711)`.
pub(super) fn sighting(sighting: &Sighting) -> String {
    let when = match sighting.event_time_ms {
        Some(event_time_ms) => format!("at {}", date(event_time_ms)),
        None => format!("{} into the replay", time(sighting.replay_us)),
    };
    match (&sighting.topic, sighting.partition, sighting.offset) {
        (Some(topic), Some(partition), Some(offset)) => {
            let inferred = if sighting.inferred { ", inferred from the key" } else { "" };
            format!("{when} ({topic}/{partition}@{offset}{inferred})")
        }
        _ => when,
    }
}

/// Says how a drive that did not finish ended.
pub(super) fn ending(drive: &str, report: &EndingReport) -> String {
    let how = ending_name(report.ending);
    if report.reason.is_empty() { format!("{drive} {how}") } else { format!("{drive} {how}: {}", report.reason) }
}

/// Says how a drive ended, as a verb.
pub(super) fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Finished => "finished",
        Ending::Died => "died",
        Ending::TimedOut => "timed out",
        Ending::StoppedReading => "stopped reading",
    }
}

/// Says what both builds break when events are redelivered; nothing where neither does or only one of them.
pub(super) fn broken_by_both(idempotency: &Idempotency) -> Vec<String> {
    let Idempotency { old, new, broken_by_both, .. } = idempotency;
    let mut sentences = Vec::new();
    if *broken_by_both > 0 {
        sentences.push(format!(
            "broken by both: redelivery repeats effects of the same {} in old and in new ({} repeated effects in old, {} in new)",
            if *broken_by_both == 1 { "identity".to_owned() } else { format!("{} identities", count(*broken_by_both)) },
            count(old.repeated_effects),
            count(new.repeated_effects),
        ));
    }
    if old.changed_finals > 0 && new.changed_finals > 0 {
        let (old, new) = (counted(old.changed_finals, "key"), count(new.changed_finals));
        sentences.push(format!("broken by both: redelivery changes the last value of {old} in old and {new} in new"));
    }
    sentences
}

fn outputs(number: u64) -> String {
    counted(number, "output")
}

/// Writes a number of things, as `1 key` or `26,398 keys`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let ending = match thing {
        _ if number == 1 => "",
        "stretch" => "es",
        _ => "s",
    };
    format!("{} {thing}{ending}", count(number))
}

/// Writes a number with its thousands apart, as `26,398`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a share as a percentage, as `23.1%`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = if percent.abs() >= 100.0 { format!("{percent:.0}") } else { format!("{percent:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}%", if text == "-0" { "0" } else { text })
}

/// Writes a span of microseconds to three digits, as `48.2ms`.
pub(super) fn time(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs() as f64;
    let (number, unit) = match us {
        _ if us < 1e3 => (us, "us"),
        _ if us < 1e6 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    let text = match number {
        _ if number >= 100.0 => format!("{number:.0}"),
        _ if number >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{sign}{text}{unit}")
}

/// Writes milliseconds since the Unix epoch as a date, as `2013-01-05T10:17Z`; seconds only where there are some.
pub(super) fn date(ms: i64) -> String {
    let form = match (ms.rem_euclid(60_000), ms.rem_euclid(1_000)) {
        (0, _) => "%Y-%m-%dT%H:%MZ",
        (_, 0) => "%Y-%m-%dT%H:%M:%SZ",
        _ => "%Y-%m-%dT%H:%M:%S%.3fZ",
    };
    Moment::of_ms(ms).utc().format(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Standing, Statistics};

    fn pattern(kind: Kind, path: Option<&str>, change: Option<Change>, number: u64) -> Pattern {
        Pattern {
            kind,
            topic: "payouts".to_owned(),
            path: path.map(str::to_owned),
            change,
            standing: Standing::Proven,
            count: number,
            noise_count: 0,
            information: false,
            unjudgeable: false,
            id: String::new(),
            comparable: 0,
            expected_by: None,
            statistics: Statistics::default(),
            first: None,
            examples: Vec::new(),
            explained: crate::compare::Explained::default(),
        }
    }

    const TOTALS: Totals = Totals { old: 26_398, new: 26_400, several_topics: false };

    fn check(pattern: &Pattern, expected: &str) {
        assert_eq!(patterns(&[pattern], TOTALS, ""), [expected]);
    }

    #[test]
    fn a_pattern_says_how_many_where_and_since_when() {
        let mut changed = pattern(Kind::Changed, Some("$.amount"), Some(Change::Value), 312);
        changed.first = Some(Sighting {
            topic: Some("flights".to_owned()),
            partition: Some(3),
            offset: Some(4711),
            inferred: false,
            event_time_ms: Some(1_357_381_020_000),
            replay_us: 5,
        });
        check(&changed, "312 of 26,398 outputs changed at $.amount; first at 2013-01-05T10:17Z (flights/3@4711)");
        changed.first.as_mut().unwrap().inferred = true;
        let marked = "first at 2013-01-05T10:17Z (flights/3@4711, inferred from the key)";
        check(&changed, &format!("312 of 26,398 outputs changed at $.amount; {marked}"));
    }

    #[test]
    fn every_kind_has_a_sentence_of_its_own() {
        check(&pattern(Kind::Missing, None, None, 1), "1 of 26,398 outputs missing in new");
        check(&pattern(Kind::Extra, None, None, 2), "2 of 26,400 outputs in new alone");
        let repeated = pattern(Kind::Repeated, None, Some(Change::Exact), 2);
        check(&repeated, "2 of 26,400 outputs repeated by new, byte for byte");
        check(&pattern(Kind::FinalState, Some("$.n"), None, 1_000), "1,000 keys with another last value at $.n");
        let all =
            [Kind::Unseen, Kind::Changed, Kind::Rerouted, Kind::Metadata, Kind::Reordered, Kind::Later, Kind::Earlier];
        let texts: std::collections::BTreeSet<_> =
            all.iter().map(|kind| patterns(&[&pattern(*kind, None, None, 3)], TOTALS, "")).collect();
        assert_eq!(texts.len(), all.len());
    }

    #[test]
    fn the_topic_is_named_only_where_there_are_several() {
        let totals = Totals { several_topics: true, ..TOTALS };
        let sentences = patterns(&[&pattern(Kind::Missing, None, None, 2)], totals, "");
        assert_eq!(sentences, ["2 of 26,398 outputs missing in new (topic payouts)"]);
    }

    #[test]
    fn many_patterns_of_a_kind_are_summed_up_behind_the_largest() {
        let all: Vec<Pattern> =
            (1..=5).map(|number| pattern(Kind::Changed, Some(&format!("$.f{number}")), None, number)).collect();
        let sentences = patterns(&all.iter().collect::<Vec<_>>(), TOTALS, ", perhaps");
        assert_eq!(sentences.len(), 4);
        assert_eq!(sentences[0], "5 of 26,398 outputs changed at $.f5, perhaps");
        assert_eq!(sentences[3], "3 further changed in 2 patterns, perhaps");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00Z"),
            (1_357_381_025_000, "2013-01-05T10:17:05Z"),
            (4_107_542_400_000, "2100-03-01T00:00Z"),
        ] {
            assert_eq!(date(ms), expected);
        }
    }

    #[test]
    fn numbers_are_short_and_plain() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.2, 0.2314, 12.0, -0.05, 0.001, -0.000_001].map(percent),
            ["0%", "20%", "23.14%", "1200%", "-5%", "0.1%", "0%"]
        );
        assert_eq!([0, 730, 48_230, 5_000_000, -2_500].map(time), ["0us", "730us", "48.2ms", "5s", "-2.5ms"]);
    }

    #[test]
    fn what_only_one_build_breaks_is_not_broken_by_both() {
        let mut idempotency = Idempotency { broken_by_new: 4, mended_by_new: 2, ..Idempotency::default() };
        idempotency.new.changed_finals = 3;
        assert!(broken_by_both(&idempotency).is_empty());
        idempotency.broken_by_both = 1;
        idempotency.old.changed_finals = 1;
        assert_eq!(broken_by_both(&idempotency).len(), 2);
    }
}
