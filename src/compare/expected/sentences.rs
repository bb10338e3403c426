//! What is said of expectations: in the warnings of a verdict, and wherever a report names one.

use super::{Expected, ExpectedState};
use crate::compare::assess::Seen;
use crate::compare::figure::{Figure, kind_name};
use crate::compare::gates::{Gate, Gates};
use crate::compare::sentences::{count, counted, percent};
use crate::compare::verdict::Facts;

impl Expected {
    /// Says what it speaks of, such as `changed in payouts at $.currency (added) to "EUR"`.
    pub fn what(&self) -> String {
        let mut text = self.kind.map_or_else(|| "a difference".to_owned(), |kind| kind_name(kind).to_owned());
        for (before, part) in [(" in ", &self.topic), (" at ", &self.path)] {
            if let Some(part) = part {
                text += before;
                text += part;
            }
        }
        if let Some(serde_json::Value::String(change)) =
            self.change.and_then(|change| serde_json::to_value(change).ok())
        {
            text = format!("{text} ({change})");
        }
        for (before, value) in [(" from ", &self.from), (" to ", &self.value)] {
            if let Some(value) = value {
                text = format!("{text}{before}{value}");
            }
        }
        text
    }

    /// Says what became of it, as a fragment.
    pub fn became(&self) -> String {
        let covered = || counted(self.covered, "difference");
        let share = self.share.map(|share| format!(", {} of what could differ so", percent(share))).unwrap_or_default();
        match self.state {
            ExpectedState::Made => format!("took place: {}{share}{}", covered(), self.within()),
            ExpectedState::Partly => {
                format!("took place: {}{share}; not on {}", covered(), counted(self.not_made, "output"))
            }
            ExpectedState::NotMade => format!("did not take place on any of {}", counted(self.not_made, "output")),
            ExpectedState::Stale if self.is_decided() => "is there no more".to_owned(),
            ExpectedState::Stale => "no longer applies: old has it too, or no output is what it speaks of".to_owned(),
            ExpectedState::Expired => {
                let until = self.until.as_deref().unwrap_or_default();
                format!("expired after {until}: a difference again, {} now", count(self.covered))
            }
            ExpectedState::Grown => format!("has grown: {}{share}{}", covered(), self.within()),
            ExpectedState::Rejected => format!("was rejected: a difference, {} now", count(self.covered)),
        }
    }

    /// Says which share was accepted.
    fn within(&self) -> String {
        let accepted = self.accepted.zip(self.interval);
        accepted.map_or_else(String::new, |(share, (least, most))| {
            format!("; accepted were {} ({} to {})", percent(share), percent(least), percent(most))
        })
    }

    /// Says why, who, when and until when, as a fragment.
    pub fn reason(&self) -> String {
        let mut text = self.because.clone();
        if let Some(by) = &self.by {
            let on = self.on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
            text = format!("{text}; by {by}{on}");
        }
        match (&self.until, self.days_left) {
            (Some(until), Some(left)) if left >= 0 => {
                text = format!("{text}; until {until}, {} left", counted(left.unsigned_abs(), "day"));
            }
            (Some(until), _) => text = format!("{text}; until {until}"),
            (None, _) => {}
        }
        text
    }
}

/// Says what to know of expectations that changes no verdict: those that expired or expire, have grown, or no longer apply.
pub(in crate::compare) fn warnings(facts: &Facts<'_>, gates: &Gates) -> Vec<String> {
    let all = &facts.comparison.expected;
    let fails = gates.on(Figure::StaleExpectations).is_some();
    let told = |one: &&Expected| match one.state {
        ExpectedState::Stale => !fails,
        ExpectedState::Expired => one.covered > 0,
        ExpectedState::Grown => true,
        _ => false,
    };
    let mut warnings: Vec<String> = all.iter().filter(told).map(sentence).collect();
    for one in all.iter().filter(|one| one.expires_soon() && one.state != ExpectedState::Stale) {
        let left = counted(one.days_left.unwrap_or_default().unsigned_abs(), "day");
        let until = one.until.as_deref().unwrap_or_default();
        warnings.push(format!("{} ({}) is expected until {until} alone: {left} left", one.what(), one.because));
    }
    warnings
}

fn sentence(one: &Expected) -> String {
    let decided = if one.is_decided() { "accepted" } else { "expected" };
    format!("{decided}: {} ({}) {}", one.what(), one.because, one.became())
}

/// Holds the number of expectations that no longer apply against the limit of `gate`.
pub(in crate::compare) fn stale(facts: &Facts<'_>, gate: &Gate, limit: u64) -> Seen {
    let stale: Vec<&Expected> =
        facts.comparison.expected.iter().filter(|one| one.state == ExpectedState::Stale).collect();
    let what = stale.iter().map(|one| sentence(one)).collect::<Vec<_>>().join("; ");
    Seen::counted(gate, stale.len() as u64, limit, None, &what)
}
