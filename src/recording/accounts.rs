//! Why offsets of a slice hold no event: the slice left them out, or the recording it is taken from has none either.

use super::gaps::{GapCause, MissingOffsets, PartitionGaps};
use super::manifest::{Manifest, Source};
use super::slice::{Keep, Lane};

/// Stretches of one partition that wait for the next event kept. Beyond, they are told at once: the ledger of the slice then
/// reaches behind its last event, which is as true, and no more.
const WAITING_MAX: usize = 4_096;

/// Follows the partitions of a recording while a slice is taken of it.
pub(super) struct Accounts<'m>(Vec<Account<'m>>);

struct Account<'m> {
    ledger: Option<&'m PartitionGaps>,
    /// Offset behind the last one that is accounted for; none ahead of the slice.
    next: Option<i64>,
    waiting: Vec<MissingOffsets>,
}

impl<'m> Accounts<'m> {
    /// Begins where windows of `source`, the source of the slice, do; elsewhere at the first event that is kept.
    pub(super) fn new(manifest: &'m Manifest, lanes: &[Lane], source: &Source) -> Self {
        let account = |lane: &Lane| {
            let (topic, partition) = (&lane.partition.topic, lane.partition.partition);
            let ledger = manifest.gaps.iter().find(|gaps| gaps.topic == *topic && gaps.partition == partition);
            let source = source.topics.iter().find(|source| source.name == *topic);
            let next = source.and_then(|source| source.windows.get(&partition)).copied();
            Account { ledger, next, waiting: Vec::new() }
        };
        Self(lanes.iter().map(account).collect())
    }

    /// Takes the next event of the lane numbered `lane`, and tells `note` what holds no event between those kept.
    pub(super) fn take(&mut self, lane: usize, offset: i64, keep: Keep, note: &mut impl FnMut(MissingOffsets)) {
        let account = &mut self.0[lane];
        let Some(next) = account.next else {
            account.next = (keep == Keep::Within).then_some(offset + 1);
            return;
        };
        if offset < next {
            return;
        }
        account.without_event(next, offset);
        account.next = Some(offset + 1);
        if keep == Keep::Not {
            account.wait(MissingOffsets { first: offset, last: offset, cause: GapCause::LeftOut });
        }
        if keep != Keep::Not || account.waiting.len() > WAITING_MAX {
            account.waiting.drain(..).for_each(note);
        }
    }
}

impl Account<'_> {
    /// Takes in the offsets from `first` to `end`, the latter excluded, of which the recording has no event: each for the cause
    /// that its ledger lists. It lists the gravest, so that those it does not list are of the least grave cause it counts.
    fn without_event(&mut self, mut first: i64, end: i64) {
        let Self { ledger, .. } = *self;
        let other = ledger.and_then(|gaps| gaps.causes.last()).map_or(GapCause::Unknown, |facts| facts.cause);
        while first < end {
            let listed = ledger.and_then(|gaps| gaps.stretches.iter().find(|one| one.last >= first));
            let (last, cause) = match listed.filter(|one| one.first < end) {
                Some(one) if one.first <= first => (one.last.min(end - 1), one.cause),
                Some(one) => (one.first - 1, other),
                None => (end - 1, other),
            };
            self.wait(MissingOffsets { first, last, cause });
            first = last + 1;
        }
    }

    fn wait(&mut self, missing: MissingOffsets) {
        match self.waiting.last_mut() {
            Some(before) if before.cause == missing.cause && before.last + 1 == missing.first => {
                before.last = missing.last;
            }
            _ => self.waiting.push(missing),
        }
    }
}
