//! Drives as the comparison goes through them: only until somebody asks to stop, and with values that are not what the scenario
//! declares them to be as malformed.

use std::collections::BTreeSet;

use super::CompareError;
use super::drives::{Drive, Row};
use super::rules::Rules;
use super::threads::side_by_side;
use crate::outcome::{Ending, Output, Receipt};
use crate::schema::SchemaText;
use crate::spill::SpillSpace;

/// Fails where whoever lent `spill` asked to stop.
pub(super) fn go_on(spill: &SpillSpace) -> Result<(), CompareError> {
    if spill.is_withdrawn() { Err(CompareError::Stopped) } else { Ok(()) }
}

/// A drive that is read only as long as nobody asks to stop.
pub(super) struct Watched<'a> {
    drive: &'a dyn Drive,
    rules: &'a Rules,
    spill: &'a SpillSpace,
}

impl<'a> Watched<'a> {
    /// Watches every one of `drives`.
    pub(super) fn all(
        drives: impl IntoIterator<Item = &'a dyn Drive>,
        rules: &'a Rules,
        spill: &'a SpillSpace,
    ) -> Vec<Self> {
        drives.into_iter().map(|drive| Self { drive, rules, spill }).collect()
    }
}

impl Drive for Watched<'_> {
    fn ending(&self) -> Ending {
        self.drive.ending()
    }

    fn schemas(&self) -> &[SchemaText] {
        self.drive.schemas()
    }

    fn each(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        self.drive.each(ignored, &mut |row| {
            go_on(self.spill)?;
            if !row.malformed && self.rules.refusal(row.topic, row.value).is_some() {
                return take(&Row { malformed: true, ..*row });
            }
            take(row)
        })
    }

    fn each_hashed(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        if self.rules.needs_values() {
            return self.each(ignored, take);
        }
        self.drive.each_hashed(ignored, &mut |row| {
            go_on(self.spill)?;
            take(row)
        })
    }

    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        self.drive.at(sequences, &mut |mut output| {
            go_on(self.spill)?;
            output.malformed = output.malformed.or_else(|| self.rules.refusal(&output.topic, output.value.as_deref()));
            take(output)
        })
    }

    fn receipts(&self, take: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError> {
        self.drive.receipts(&mut |topic, receipt| {
            go_on(self.spill)?;
            take(topic, receipt)
        })
    }
}

/// Outputs that are read on a thread of their own, at least: each costs about a page.
const PIECE_MIN: usize = 256;

/// Threads that read outputs of one drive again.
const PIECES: usize = 2;

impl dyn Drive + '_ {
    /// Reads the outputs with these sequences (ascending, none twice) into memory, many of them in pieces side by side.
    pub(super) fn read(&self, sequences: &[i64]) -> Result<Vec<Output>, CompareError> {
        let pieces = if sequences.len() < PIECES * PIECE_MIN { 1 } else { PIECES };
        let pieces: Vec<&[i64]> = sequences.chunks(sequences.len().div_ceil(pieces).max(1)).collect();
        let read = side_by_side(pieces.len(), |number| self.read_piece(pieces[number]))?;
        Ok(read
            .into_iter()
            .reduce(|mut all, piece| {
                all.extend(piece);
                all
            })
            .unwrap_or_default())
    }

    fn read_piece(&self, sequences: &[i64]) -> Result<Vec<Output>, CompareError> {
        let mut outputs = Vec::with_capacity(sequences.len());
        self.at(sequences, &mut |output| {
            outputs.push(output);
            Ok(())
        })?;
        Ok(outputs)
    }
}
