//! What was expected of new, and what became of it: the same words in every format.

use super::Report;
use super::figures::share;
use crate::compare::{Expected, ExpectedState, Pattern, Standing};

/// Says what speaks of a pattern and what came of that; none for most.
pub(super) fn of_pattern(report: &Report, pattern: &Pattern) -> Option<String> {
    let expected = report.expected.get(pattern.expected_by?)?;
    let what = match (expected.state, pattern.standing) {
        (_, Standing::Expected) if expected.is_decided() => "accepted".to_owned(),
        (_, Standing::Expected) => "expected".to_owned(),
        (ExpectedState::Grown, _) => format!("accepted, and {}", expected.became()),
        (ExpectedState::Expired, _) => {
            format!("expected until {} alone", expected.until.as_deref().unwrap_or_default())
        }
        (ExpectedState::Rejected, _) => "rejected".to_owned(),
        _ => format!("not what is expected, {}", expected.what()),
    };
    Some(format!("{what}: {}", expected.reason()))
}

/// Says which share of what could differ does, and what was accepted of it.
pub(super) fn share_of(report: &Report, pattern: &Pattern) -> Option<String> {
    let now = (pattern.comparable > 0).then(|| share(pattern.count as f64 / pattern.comparable as f64))?;
    let expected = pattern.expected_by.and_then(|by| report.expected.get(by));
    let interval = expected.and_then(|expected| expected.interval);
    let accepted = interval.map(|(least, most)| format!(", accepted from {} to {}", share(least), share(most)));
    Some(format!("{now} of what could{}", accepted.unwrap_or_default()))
}

/// How an expectation stands: a word for what became of it.
pub(super) fn state(expected: &Expected) -> &'static str {
    match expected.state {
        ExpectedState::Made if expected.is_decided() => "accepted",
        ExpectedState::Made => "took place",
        ExpectedState::Partly => "took place in part",
        ExpectedState::NotMade => "did not take place",
        ExpectedState::Stale => "stale",
        ExpectedState::Expired => "expired",
        ExpectedState::Grown => "has grown",
        ExpectedState::Rejected => "rejected",
    }
}

/// Whether an expectation is as it should be, so that nobody has to look at it.
pub(super) fn is_kept(expected: &Expected) -> bool {
    expected.state == ExpectedState::Made && !expected.expires_soon()
}
