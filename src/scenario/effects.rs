//! What builds called of the world outside, and what they would have called again.

use std::collections::BTreeMap;

use crate::compare::{Idempotency, Redelivery};
use crate::outcome::{EffectCount, EndingReport};
use crate::report::EffectFacts;

/// Calls without a rule that a warning names.
const NAMED_MAX: usize = 3;

/// Gathers what each drive called; `words` are those of the scenario for identities that would be called again, by effect.
pub(super) fn facts<'a>(
    endings: impl Iterator<Item = (&'a str, &'a EndingReport)>,
    found: Option<&Idempotency>,
    words: &BTreeMap<String, String>,
) -> Vec<EffectFacts> {
    let mut drives = BTreeMap::<String, BTreeMap<String, EffectCount>>::new();
    for (drive, ending) in endings {
        for (name, count) in &ending.effects {
            drives.entry(name.clone()).or_default().insert(drive.to_owned(), count.clone());
        }
    }
    let of_both = found.into_iter().flat_map(|found| found.old.effects.keys().chain(found.new.effects.keys()));
    for name in of_both {
        drives.entry(name.clone()).or_default();
    }
    let fact = |(name, drives): (String, BTreeMap<String, EffectCount>)| {
        let repeats = found.map(|found| repeats(&name, found, words.get(&name).map(String::as_str)));
        EffectFacts { name, drives, repeats }
    };
    drives.into_iter().map(fact).collect()
}

/// Says what redelivery would do, such as `new would have charged 37 cards twice, old none`.
fn repeats(name: &str, found: &Idempotency, words: Option<&str>) -> String {
    let of = |build: &Redelivery| build.effects.get(name).copied().unwrap_or_default();
    let (old, new) = (of(&found.old), of(&found.new));
    let number = |identities: u64| if identities == 0 { "none".to_owned() } else { identities.to_string() };
    if old.identities + new.identities == 0 {
        return format!("redelivery makes neither build call `{name}` again");
    }
    // Whoever does it is named first: new, where both do.
    let (who, first, other, rest) =
        if new.identities > 0 { ("new", new, "old", old) } else { ("old", old, "new", new) };
    let said = match words {
        Some(words) => words.replace("{count}", &first.identities.to_string()),
        None => format!("called `{name}` again for {}", counted(first.identities, "identity", "identities")),
    };
    let calls = if first.calls == first.identities { String::new() } else { format!(" ({} calls more)", first.calls) };
    format!("{who} would have {said}{calls}, {other} {}", number(rest.identities))
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Warns of calls that no rule answers, and of requests that nobody understood.
pub(super) fn warnings<'a>(endings: impl Iterator<Item = (&'a str, &'a EndingReport)>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (drive, ending) in endings {
        for (name, count) in ending.effects.iter().filter(|(_, count)| count.unmatched > 0) {
            let named = count.unmatched_calls.iter().take(NAMED_MAX).map(|(call, times)| format!("{call} ({times})"));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = if count.unmatched_calls.len() > NAMED_MAX { " and others" } else { "" };
            warnings.push(format!(
                "{drive} called `{name}` {} as no rule answers: {named}{more}; each was answered with 501",
                counted(count.unmatched, "time", "times"),
            ));
        }
        if ending.broken_requests > 0 {
            warnings.push(format!(
                "{drive} sent its stubs {} that could not be read or broke off: what they were to do is not known",
                counted(ending.broken_requests, "request", "requests")
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::RepeatedCalls;
    use crate::outcome::Ending;

    fn found(old: u64, new: u64) -> Idempotency {
        let build = |identities: u64| Redelivery {
            effects: [("pay".to_owned(), RepeatedCalls { identities, calls: identities })].into(),
            ..Redelivery::default()
        };
        Idempotency { old: build(old), new: build(new), ..Idempotency::default() }
    }

    #[test]
    fn what_would_be_done_twice_is_said_in_the_words_of_the_effect() {
        for (old, new, words, said) in [
            (0, 37, Some("charged {count} cards twice"), "new would have charged 37 cards twice, old none"),
            (2, 37, Some("charged {count} cards twice"), "new would have charged 37 cards twice, old 2"),
            (4, 0, None, "old would have called `pay` again for 4 identities, new none"),
            (0, 1, None, "new would have called `pay` again for 1 identity, old none"),
            (0, 0, None, "redelivery makes neither build call `pay` again"),
        ] {
            assert_eq!(repeats("pay", &found(old, new), words), said);
        }
        let mut often = found(0, 2);
        often.new.effects.insert("pay".into(), RepeatedCalls { identities: 2, calls: 5 });
        assert_eq!(
            repeats("pay", &often, None),
            "new would have called `pay` again for 2 identities (5 calls more), old none"
        );
    }

    #[test]
    fn a_call_that_no_rule_answers_is_warned_of_by_its_name() {
        let mut ending = EndingReport::new(Ending::Finished, "");
        assert!(warnings([("new", &ending)].into_iter()).is_empty());
        let unmatched_calls = [("DELETE /a".to_owned(), 2)].into();
        ending
            .effects
            .insert("pay".into(), EffectCount { calls: 9, unmatched: 2, unmatched_calls, ..EffectCount::default() });
        ending.broken_requests = 1;
        let said = warnings([("new", &ending)].into_iter());
        assert_eq!(
            said,
            [
                "new called `pay` 2 times as no rule answers: DELETE /a (2); each was answered with 501",
                "new sent its stubs 1 request that could not be read or broke off: what they were to do is not known",
            ]
        );
    }
}
