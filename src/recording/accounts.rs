//! Why offsets of a slice hold no event: the slice left them out, or the recording it is taken from has none either.

use super::gaps::{GapCause, MissingOffsets, PartitionGaps};
use super::manifest::{Manifest, Source};
use super::slice::{Keep, Lane, LaneRole, When};

/// Stretches of one partition that wait for the next event kept. Beyond, they are told at once: the ledger of the slice then
/// reaches behind its last event, which is as true, and no more.
const WAITING_MAX: usize = 4_096;

/// Follows the partitions of a recording while a slice is taken of it.
///
/// A stretch that lies beside an event of the slice's time may have held events of it, whether that event is kept or not: it is told.
pub(super) struct Accounts<'m>(Vec<Account<'m>>);

struct Account<'m> {
    ledger: Option<&'m PartitionGaps>,
    /// Offset behind the last event of the recording, and how that stood to the time of the slice.
    before: Option<(i64, When)>,
    /// Where it is accounted from, where that is a stretch ahead of all events kept.
    begin: Option<i64>,
    /// Whether what is accounted for stays so: of a table only once something within the slice is kept, as what it held ahead of that
    /// is accounted for nowhere.
    settled: bool,
    /// Offset behind the last one that is accounted for; none ahead of the slice.
    next: Option<i64>,
    waiting: Vec<MissingOffsets>,
}

impl<'m> Accounts<'m> {
    /// Begins where windows of `source`, the source of the slice, do; elsewhere at the first event that is kept, or a stretch ahead of
    /// it.
    pub(super) fn new(manifest: &'m Manifest, lanes: &[Lane], source: &Source) -> Self {
        let account = |lane: &Lane| {
            let (topic, partition) = (&lane.partition.topic, lane.partition.partition);
            let ledger = manifest.gaps.iter().find(|gaps| gaps.topic == *topic && gaps.partition == partition);
            let source = source.topics.iter().find(|source| source.name == *topic);
            let next = source.and_then(|source| source.windows.get(&partition)).copied();
            let settled = lane.role == LaneRole::Event || next.is_some();
            Account { ledger, before: None, begin: None, settled, next, waiting: Vec::new() }
        };
        Self(lanes.iter().map(account).collect())
    }

    /// Takes the next event of the lane numbered `lane`, and tells `note` what holds no event beside those of the slice.
    pub(super) fn take(
        &mut self,
        lane: usize,
        offset: i64,
        (when, keep): (When, Keep),
        note: &mut impl FnMut(MissingOffsets),
    ) {
        let account = &mut self.0[lane];
        let before = account.before.replace((offset + 1, when));
        if keep == Keep::AheadOfIt && !account.settled {
            (account.begin, account.next) = (None, None);
            return account.waiting.clear();
        }
        if account.next.is_none() {
            account.begin = account.stretch_ahead(before, offset, when);
        }
        let Some(next) = account.next.or(account.begin) else {
            account.settled |= keep == Keep::Within;
            account.next = (keep == Keep::Within).then_some(offset + 1);
            return;
        };
        if offset < next {
            return;
        }
        let is_gap = next < offset && may_be_within(before, when);
        account.settled |= keep == Keep::Within || account.waiting.len() > WAITING_MAX;
        let told = account.settled && (keep != Keep::Not || is_gap || account.waiting.len() > WAITING_MAX);
        account.without_event(next, offset);
        account.next = Some(offset + 1);
        if told {
            account.waiting.drain(..).for_each(note);
        }
        if keep == Keep::Not {
            account.wait(MissingOffsets { first: offset, last: offset, cause: GapCause::LeftOut });
        }
    }

    /// Tells `note` what holds no event behind the last of the lane numbered `lane`, unless the slice ends ahead of that.
    pub(super) fn end(&mut self, lane: usize, note: &mut impl FnMut(MissingOffsets)) {
        let account = &mut self.0[lane];
        if !account.settled {
            account.waiting.drain(..).for_each(&mut *note);
        }
        let behind = account.before.filter(|(_, when)| *when != When::Behind).map(|(behind, _)| behind);
        let Some((behind, through)) = behind.zip(account.ledger.map(|gaps| gaps.through)) else { return };
        if through < behind {
            return;
        }
        let next = account.next.unwrap_or_else(|| *account.begin.insert(behind));
        account.without_event(next, through + 1);
        account.next = Some(through + 1);
        account.waiting.drain(..).for_each(note);
    }

    /// Where the lane numbered `lane` is accounted from, where that is a stretch ahead of all events kept.
    pub(super) fn begin(&self, lane: usize) -> Option<i64> {
        self.0[lane].begin
    }
}

/// Whether something between two events, or ahead of the first, may have been of the time of the slice: unless both stand on the same
/// side of it.
fn may_be_within(before: Option<(i64, When)>, when: When) -> bool {
    when == When::Within || before.map_or(When::Ahead, |(_, before)| before) != when
}

impl Account<'_> {
    /// Begin of the first stretch that the ledger lists between the event ahead and the one at `offset`, the first of the partition that
    /// is of the slice's time or behind it.
    fn stretch_ahead(&self, before: Option<(i64, When)>, offset: i64, when: When) -> Option<i64> {
        let from = before.map_or(i64::MIN, |(behind, _)| behind);
        let stretch = self.ledger?.stretches.iter().find(|one| one.first >= from && one.first < offset)?;
        may_be_within(before, when).then_some(stretch.first)
    }

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
