//! Whether the brokers that are captured from, and the store that is written to, can be reached, and since when they cannot.

use std::time::Duration;

use super::report::CaptureStep;
use crate::recording::StoreReach;

/// An outage is told once it has lasted so long: a broker that starts again is away for a moment.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outage {
    /// Nobody has been reachable for so long.
    Lasts(Duration),
    /// Somebody is again, after so long.
    Over(Duration),
}

/// Follows what is heard of the brokers, or of the store.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Since when none can be reached.
    since: Option<Duration>,
    told: bool,
}

impl Reach {
    /// Takes note of what was heard up to the time `now`: an answer or an event, which count more, or that nobody can be reached.
    pub(super) fn hear(&mut self, now: Duration, answered: bool, all_down: bool) -> Option<Outage> {
        if answered {
            let since = self.since.take()?;
            return std::mem::take(&mut self.told).then(|| Outage::Over(now.saturating_sub(since)));
        }
        if all_down {
            self.since.get_or_insert(now);
        }
        let lasts = now.saturating_sub(self.since?);
        if self.told || lasts < TOLD_AFTER {
            return None;
        }
        self.told = true;
        Some(Outage::Lasts(lasts))
    }
}

/// Follows whether a store answers, which goes on being asked meanwhile.
#[derive(Debug)]
pub(super) struct StoreWatch {
    store: StoreReach,
    reach: Reach,
}

impl StoreWatch {
    pub(super) fn new(store: StoreReach) -> Self {
        Self { store, reach: Reach::default() }
    }

    /// Looks at the time `now` and returns what there is to tell.
    pub(super) fn look(&mut self, now: Duration) -> Option<(CaptureStep, String)> {
        let answers = self.store.answers();
        match self.reach.hear(now, answers, !answers)? {
            Outage::Lasts(long) => {
                let note = format!(
                    "The store has not answered for {} s; what was taken is safe on this machine, and the upload goes on as soon as \
                     it does.",
                    long.as_secs()
                );
                Some((CaptureStep::Unreachable, note))
            }
            Outage::Over(long) => {
                Some((CaptureStep::Reachable, format!("The store answers again, after {} s.", long.as_secs())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_lasts_and_when_it_is_over() {
        let mut reach = Reach::default();
        let mut hear = |seconds, answered, all_down| reach.hear(Duration::from_secs(seconds), answered, all_down);
        let seconds = Duration::from_secs;
        assert_eq!(hear(1, false, false), None);
        // A moment's outage is not worth a word.
        assert_eq!((hear(2, false, true), hear(4, true, false), hear(20, false, false)), (None, None, None));
        assert_eq!((hear(30, false, true), hear(34, false, true)), (None, None));
        assert_eq!((hear(35, false, false), hear(36, false, true)), (Some(Outage::Lasts(seconds(5))), None));
        assert_eq!((hear(70, true, false), hear(71, true, false)), (Some(Outage::Over(seconds(40))), None));
        assert_eq!((hear(80, false, true), hear(85, false, false)), (None, Some(Outage::Lasts(seconds(5)))));
    }
}
