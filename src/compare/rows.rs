//! Rows of tables: what the updates of a key leave in each drive, and what stood there before.

use super::CompareError;
use super::closely::{Job, What};
use super::engine::Engine;
use super::gather::Entry;
use super::matching::Seen;
use super::odd::Compared;
use super::rules::Rules;
use super::state;

impl Engine<'_> {
    /// Compares the rows of one key, given its updates in order of drive and sequence.
    pub(super) fn row_of(
        &mut self,
        updates: impl Iterator<Item = Result<Entry, CompareError>>,
    ) -> Result<(), CompareError> {
        let rows = Rows::of(updates, self.rules, self.olds)?;
        let Some(topic) = rows.lasts.first().map(|last| last.topic) else { return Ok(()) };
        let (name, production) = (self.topics.name(topic), self.rules.production.as_ref());
        let untold = production.is_some_and(|production| production.untold(name).is_some());
        let may_have_row = production.is_some_and(|production| production.may_have_row(name));
        let judged = self.are_through() && !untold;
        let unknown = may_have_row && !rows.of_production;
        let rows = rows.left_by_all(self.drives.len());
        let has = |drive: usize| rows.iter().any(|row| usize::from(row.drive) == drive);
        let sides = (has(0), has(self.olds));
        self.tally.state.row(topic, sides, judged);
        self.note_compared(sides.0 || sides.1, [topic]);
        if unknown && judged {
            self.tally.state.row_is_untold(topic, sides);
            return Ok(());
        }
        let agree = rows.is_empty()
            || rows.len() == self.drives.len() && rows.windows(2).all(|two| two[0].value == two[1].value);
        if agree || !judged { Ok(()) } else { self.push(Job { entries: rows, what: What::Row }) }
    }

    /// Compares the rows of one key, read again.
    pub(super) fn compare_rows(&mut self, sides: &[Vec<Seen>], topic: u16) {
        let mut compared = Compared::new(sides.len());
        for one in 0..sides.len() {
            for other in (0..sides.len()).filter(|other| *other != one) {
                let (old, new) = (sides[one].first(), sides[other].first());
                let mut found = state::rows(old, new, self.rules, self.is_judged((one, other)));
                if let Some(production) = &self.rules.production {
                    let left_out = production.leave_out(&mut found, (&sides[one], &sides[other]));
                    self.tally.at_edges += if (one, other) == (0, self.olds) { left_out } else { 0 };
                }
                compared.set((one, other), found);
            }
        }
        if let Some(first) = compared.between(0, self.olds).findings.first() {
            self.tally.state.row_differs(topic, &first.signature);
        }
        self.note_lasts(sides, &compared);
    }
}

/// What the updates of one key of a table leave.
#[derive(Default)]
struct Rows {
    /// The last update in each drive that has one, by drive.
    lasts: Vec<Entry>,
    /// What stood there before the slice began, where production wrote it.
    stood: Option<Entry>,
    /// Whether production ever wrote the key, as far as is known.
    of_production: bool,
}

impl Rows {
    /// Reads all updates of a key, in order of drive and sequence.
    fn of(
        updates: impl Iterator<Item = Result<Entry, CompareError>>,
        rules: &Rules,
        olds: usize,
    ) -> Result<Self, CompareError> {
        let production = rules.production.as_ref().map(|production| production.drive(olds));
        let mut rows = Self::default();
        for update in updates {
            let update = update?;
            if production == Some(usize::from(update.drive)) {
                rows.of_production = true;
                rows.stood = if update.is(Entry::STOOD) { Some(update) } else { rows.stood };
            }
            let update = Entry { flags: update.flags & !Entry::STOOD, ..update };
            match rows.lasts.last_mut().filter(|last| last.drive == update.drive) {
                Some(last) => *last = update,
                None => rows.lasts.push(update),
            }
        }
        Ok(rows)
    }

    /// The row in each of so many drives that has one: a drive that did not write the key left what stood there.
    fn left_by_all(self, drives: usize) -> Vec<Entry> {
        let mut all = self.lasts;
        if let Some(stood) = self.stood {
            for drive in
                (0..drives as u8).filter(|drive| all.iter().all(|last| last.drive != *drive)).collect::<Vec<_>>()
            {
                all.push(Entry { drive, flags: stood.flags | Entry::STOOD, ..stood });
            }
            all.sort_by_key(|last| last.drive);
        }
        all.retain(|last| !last.is(Entry::GONE));
        all
    }
}
