//! What became of the flags of builds: changes, who asked for which, what nobody asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::drive::BuildSettings;
use crate::outcome::{EndingReport, FlagChanged, FlagsReport, Outcome};
use crate::plan::{FlagChangeSettings, Phase};
use crate::report::FlagFacts;
use crate::settings::{Flag, Span};

use super::Scenario;

/// Flags that a sentence names.
const NAMED_MAX: usize = 5;

/// Shows the names of variables in place of flags' values that came from the environment: they may be secrets.
pub(super) fn hide(scenario: &mut Scenario) {
    let shown = |key: &str, flag: &Flag| {
        let (text, masked) = (flag.text(), scenario.masked(key, &flag.text()));
        if masked == text { flag.clone() } else { flag.clone().shown_as(masked) }
    };
    let of = |key: &str, build: &BuildSettings| -> BTreeMap<String, Flag> {
        build.flags.iter().map(|(name, flag)| (name.clone(), shown(&format!("{key}.flags"), flag))).collect()
    };
    let (old, new) = (of("old", &scenario.settings.old), of("new", &scenario.settings.new));
    let changes = scenario.settings.flag_change.iter().enumerate().map(|(index, change)| FlagChangeSettings {
        to: shown(&format!("flag-change[{index}].to"), &change.to),
        ..change.clone()
    });
    let changes = changes.collect();
    (scenario.settings.old.flags, scenario.settings.new.flags) = (old, new);
    scenario.settings.flag_change = changes;
}

/// Gathers what became of the flags in each drive; none where no build has any.
pub(super) fn facts(drives: &[(String, Outcome)]) -> Option<FlagFacts> {
    let ahead = drives.iter().filter_map(|(drive, outcome)| Some((drive.as_str(), ahead(outcome)?)));
    gathered(drives.iter().map(|(drive, outcome)| (drive.as_str(), outcome.ending())), &ahead.collect())
}

/// Outputs of a drive that came ahead of each change, in order, and all of them, warm-up left out; none where nothing changed, or they
/// cannot be read.
fn ahead(outcome: &Outcome) -> Option<(Vec<u64>, u64)> {
    let changes = &outcome.ending().flags.as_ref()?.changes;
    if changes.is_empty() {
        return None;
    }
    let (mut ahead, mut all) = (vec![0; changes.len()], 0);
    for batch in outcome.outputs().ok()? {
        let batch = batch.ok()?;
        for output in (0..batch.len()).map(|row| batch.get(row)).filter(|output| output.phase != Phase::WarmUp) {
            all += 1;
            for (count, changed) in ahead.iter_mut().zip(changes) {
                *count += u64::from(output.arrived_us < changed.at_us);
            }
        }
    }
    Some((ahead, all))
}

fn gathered<'a>(
    endings: impl Iterator<Item = (&'a str, &'a EndingReport)>,
    ahead: &BTreeMap<&str, (Vec<u64>, u64)>,
) -> Option<FlagFacts> {
    let drives: BTreeMap<String, FlagsReport> =
        endings.filter_map(|(drive, ending)| Some((drive.to_owned(), ending.flags.clone()?))).collect();
    (!drives.is_empty()).then(|| FlagFacts { says: says(&drives, ahead), drives })
}

fn says(drives: &BTreeMap<String, FlagsReport>, ahead: &BTreeMap<&str, (Vec<u64>, u64)>) -> Vec<String> {
    let mut says = states(drives);
    for (drive, flags) in drives {
        let outputs = |index: usize| {
            let (counts, all) = ahead.get(drive.as_str())?;
            Some(format!(", behind {} of {all} outputs", counts.get(index)?))
        };
        says.extend(
            flags.changes.iter().enumerate().map(|(index, changed)| {
                format!("{drive}: {}{}", in_words(changed), outputs(index).unwrap_or_default())
            }),
        );
        if flags.requests > 0 {
            says.push(format!("{drive} {}", asked(flags)));
        }
    }
    says
}

/// Says at which flags old and new differ: where they are one build, the comparison is of those two states.
fn states(drives: &BTreeMap<String, FlagsReport>) -> Vec<String> {
    let (Some(old), Some(new)) = (drives.get("old"), drives.get("new")) else { return Vec::new() };
    let at = |flags: &FlagsReport, name: &String| {
        let first = flags.flags.get(name).and_then(|values| values.first());
        first.map_or_else(|| "not set".to_owned(), |count| count.value.to_string())
    };
    let mut names: Vec<&String> = old.flags.keys().chain(new.flags.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differ = names.into_iter().map(|name| (name, at(old, name), at(new, name))).filter(|(_, old, new)| old != new);
    differ.map(|(name, old, new)| format!("{name} is {old} in old and {new} in new")).collect()
}

fn in_words(changed: &FlagChanged) -> String {
    let FlagChanged { change, flag, from, to, at_us } = changed;
    // A switch is thrown; anything else takes another value.
    let (what, how) = match to {
        Value::Bool(_) => ("was thrown", format!("from {from} to {to}")),
        _ => ("changed", format!("from {from} to {to}")),
    };
    let at = Span(Duration::from_millis(at_us.unsigned_abs() / 1_000));
    format!("{flag} {what} {how} at {at} of the replay ({change})")
}

fn asked(flags: &FlagsReport) -> String {
    let named = flags.flags.iter().flat_map(|(name, values)| values.iter().map(move |count| (name, count)));
    let named = named.filter(|(_, count)| count.asked + count.in_bulk > 0).map(|(name, count)| {
        let bulk =
            if count.in_bulk > 0 { format!(", {} of them with all others", count.in_bulk) } else { String::new() };
        format!("{name} {} as {}{bulk}", times(count.asked + count.in_bulk), count.value)
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() {
        return format!("asked its flags {} and evaluated none", times(flags.requests));
    }
    let more = named.len().saturating_sub(NAMED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    // What is faked is said: production may tell users apart by it.
    let targeted = match flags.with_context {
        0 => String::new(),
        count => format!(" ({count} of {} requests with a context, by which no flag is targeted here)", flags.requests),
    };
    format!("evaluated {}{rest}{targeted}", named[..named.len() - more].join("; "))
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Warns of flags that are asked for and not set, and of those that nobody asks for though the drive asks for others.
pub(super) fn warnings<'a>(endings: impl Iterator<Item = (&'a str, &'a EndingReport)>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (drive, flags) in endings.filter_map(|(drive, ending)| Some((drive, ending.flags.as_ref()?))) {
        if !flags.unset.is_empty() {
            let named = flags.unset.iter().take(NAMED_MAX).map(|(name, count)| format!("`{name}` ({count})"));
            let more = if flags.unset.len() > NAMED_MAX { " and others" } else { "" };
            let named = named.collect::<Vec<_>>().join(", ");
            warnings.push(format!(
                "{drive} asked for flags that are not set, and went by defaults of its own: {named}{more}; set them in `flags`"
            ));
        }
        let unasked =
            flags.flags.iter().filter(|(_, values)| values.iter().all(|count| count.asked + count.in_bulk == 0));
        let unasked: Vec<String> = unasked.map(|(name, _)| format!("`{name}`")).collect();
        if flags.requests > 0 && !unasked.is_empty() {
            let more = if unasked.len() > NAMED_MAX { " and others" } else { "" };
            warnings.push(format!(
                "{drive} asked for flags, but never for {}{more}: that it reads them elsewhere cannot be seen",
                unasked[..unasked.len().min(NAMED_MAX)].join(", ")
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Ending, FlagCount};

    fn ending(values: &[(&str, Value, u64, u64)], requests: u64) -> EndingReport {
        let mut flags = FlagsReport { requests, ..FlagsReport::default() };
        for (name, value, asked, in_bulk) in values {
            let count = FlagCount { value: value.clone(), asked: *asked, in_bulk: *in_bulk };
            flags.flags.entry((*name).to_owned()).or_default().push(count);
        }
        EndingReport { flags: Some(flags), ..EndingReport::new(Ending::Finished, "") }
    }

    #[test]
    fn states_changes_and_evaluations_are_said_by_drive() {
        let old = ending(&[("fast", false.into(), 0, 0)], 0);
        let mut new =
            ending(&[("fast", true.into(), 1, 2), ("fast", false.into(), 4, 0), ("who", "a".into(), 0, 2)], 7);
        new.flags.as_mut().unwrap().with_context = 5;
        let changed = FlagChanged {
            change: "kill".to_owned(),
            flag: "fast".to_owned(),
            from: true.into(),
            to: false.into(),
            at_us: 1_500_200,
        };
        new.flags.as_mut().unwrap().changes.push(changed);
        let ahead = BTreeMap::from([("new", (vec![3], 7))]);
        let facts = gathered([("old", &old), ("new", &new)].into_iter(), &ahead).unwrap();
        assert_eq!(
            facts.says,
            [
                "fast is false in old and true in new",
                "who is not set in old and \"a\" in new",
                "new: fast was thrown from true to false at 1500ms of the replay (kill), behind 3 of 7 outputs",
                "new evaluated fast 3 times as true, 2 of them with all others; fast 4 times as false; who 2 times as \"a\", 2 of \
                 them with all others (5 of 7 requests with a context, by which no flag is targeted here)",
            ]
        );
        let none = EndingReport::new(Ending::Finished, "");
        assert_eq!(gathered([("old", &none)].into_iter(), &BTreeMap::new()), None);
    }

    #[test]
    fn what_is_not_set_and_what_nobody_asks_for_is_warned_of() {
        let mut new = ending(&[("fast", true.into(), 1, 0), ("slow", 1.into(), 0, 0)], 3);
        new.flags.as_mut().unwrap().unset.insert("fsat".to_owned(), 2);
        // Who asks nobody may well read the file, or the environment.
        let old = ending(&[("fast", true.into(), 0, 0)], 0);
        let said = warnings([("old", &old), ("new", &new)].into_iter());
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("new asked for flags that are not set") && said[0].contains("`fsat` (2)"),
            "{said:?}"
        );
        assert!(said[1].contains("never for `slow`:"), "{said:?}");
    }
}
