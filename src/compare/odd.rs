//! Who is odd: which drive says something else than all others, feature by feature.

use std::collections::BTreeSet;

use super::closely::{Job, What};
use super::engine::Engine;
use super::gather::Entry;
use super::matching::{Differences, Feature, Seen};
use super::patterns::Odd;
use super::rules::Order;
use super::strays::Tag;
use super::units::Place;

impl Engine<'_> {
    /// Finds for each feature on which drives disagree whether it is production that is odd, or a drive of new.
    pub(super) fn note_turned(&mut self, sides: &[Vec<Seen>], job: &Job, compared: &Compared) {
        for finding in &compared.between(1, 2).findings {
            self.note(finding, (&sides[1], &sides[2]), Tag::Noise);
        }
        let place = self.place(sides, job);
        let agree = |feature: &Feature, one: usize, other: usize| !compared.between(one, other).has(feature);
        for feature in compared.features(sides.len()) {
            let of_feature = |other: usize| {
                let findings = compared.between(0, other).findings.iter();
                findings.filter(|found| found.signature.feature() == feature)
            };
            let found = odd(sides.len(), |one, other| agree(&feature, one, other));
            match found {
                Agreement::Odd(drive) => {
                    let other = drive.max(1);
                    let mut seen = BTreeSet::new();
                    for finding in of_feature(other) {
                        if seen.insert(finding.signature.beyond_precision()) {
                            let odd = Odd { drive, new: 0, recurred: false, place };
                            self.note(finding, (&sides[0], &sides[other]), Tag::Odd(odd));
                        }
                        if drive == 1 {
                            self.tally.patterns.tally(&finding.signature).counts.first_odd += 1;
                        }
                    }
                }
                Agreement::None => {
                    let mut seen = BTreeSet::new();
                    for finding in of_feature(1) {
                        if seen.insert(finding.signature.beyond_precision()) {
                            self.tally.patterns.tally(&finding.signature).counts.odd_all += 1;
                        }
                    }
                }
                Agreement::All | Agreement::Mixed => {}
            }
        }
    }

    pub(super) fn note_noise(&mut self, sides: &[Vec<Seen>], compared: &Compared) {
        for finding in &compared.between(0, 1).findings {
            self.note(finding, (&sides[0], &sides[1]), Tag::Noise);
        }
    }

    /// Finds for each feature on which drives disagree which one of them is odd.
    pub(super) fn note_odd(&mut self, sides: &[Vec<Seen>], job: &Job, compared: &Compared) {
        let new = self.olds;
        let place = self.place(sides, job);
        // Where the others agree, what new again does differently tells whether new does the like at other identities.
        if sides.len() > new + 1 {
            let alone = &compared.between(0, new + 1).findings;
            let others = compared.features(new + 1);
            let also = compared.between(new, new + 1);
            let among_old = compared.features(new);
            for signature in alone.iter().map(|finding| &finding.signature).collect::<BTreeSet<_>>() {
                let feature = signature.feature();
                if among_old.contains(&feature) {
                    continue;
                }
                let counts = &mut self.tally.patterns.tally(signature).counts;
                counts.odd_again += u64::from(!others.contains(&feature) && also.has(&feature));
                counts.again_apart += 1;
            }
            self.note_apart(sides, place, compared);
        }
        for feature in compared.features(new + 1) {
            let agree = |one: usize, other: usize| !compared.between(one, other).has(&feature);
            match odd(new + 1, agree) {
                Agreement::Odd(drive) => {
                    let recurred = drive == new && sides.len() > new + 1 && agree(new, new + 1);
                    let from = usize::from(drive == 0);
                    let odd = Odd { drive, new, recurred, place };
                    let mut seen = BTreeSet::new();
                    for finding in &compared.between(from, drive).findings {
                        // Value and precision may become one pattern, in which the identity counts once.
                        if finding.signature.feature() == feature && seen.insert(finding.signature.beyond_precision()) {
                            self.note(finding, (&sides[from], &sides[drive]), Tag::Odd(odd));
                        }
                    }
                    if drive == 0 {
                        for finding in compared
                            .between(0, new)
                            .findings
                            .iter()
                            .filter(|found| found.signature.feature() == feature)
                        {
                            self.tally.patterns.tally(&finding.signature).counts.first_odd += 1;
                        }
                    }
                }
                Agreement::None => {
                    let found = compared.between(0, new).findings.iter().map(|finding| &finding.signature);
                    let mut seen = BTreeSet::new();
                    for signature in found.filter(|found| found.feature() == feature) {
                        if seen.insert(signature.beyond_precision()) {
                            self.tally.patterns.tally(signature).counts.odd_all += 1;
                        }
                    }
                }
                Agreement::All | Agreement::Mixed => {}
            }
        }
    }

    /// Hands what differs in the last values of a key to its patterns.
    pub(super) fn note_lasts(&mut self, sides: &[Vec<Seen>], compared: &Compared) {
        let new = self.olds;
        for finding in &compared.between(0, new).findings {
            self.note(finding, (&sides[0], &sides[new]), Tag::Raw);
        }
        self.note_expected(compared.between(0, new), (&sides[0], &sides[new]));
        let job = Job { entries: Vec::new(), what: What::Row };
        if self.olds >= 2 {
            self.note_noise(sides, compared);
            self.note_odd(sides, &job, compared);
        } else if self.turned() {
            self.note_turned(sides, &job, compared);
        }
    }

    /// What depends on the outputs of `sides`: those of the key where identities are others and order counts, else those of the
    /// cause; and the stretch in which the first drive has them that has any.
    fn place(&self, sides: &[Vec<Seen>], job: &Job) -> Place {
        let is_unit = self.rules.has_identity() && self.rules.settings.order == Order::Key;
        let key = job.entries.first().map(|entry| entry.subset).filter(|subset| is_unit && *subset != 0);
        let cause = || sides.iter().flatten().find_map(Seen::stated_cause);
        let unit = key.or_else(|| cause().map(|cause| cause.hash()));
        let first = sides.iter().enumerate().find_map(|(drive, side)| Some((drive, side.first()?)));
        let at = first.map_or((0, 0), |(drive, seen)| (seen.output.sequence, self.last[drive]));
        self.stretches.place(unit, at.0, at.1)
    }

    pub(super) fn place_of(&self, first: &Entry) -> Place {
        self.stretches.place(None, first.sequence, self.last[usize::from(first.drive)])
    }

    /// Whether new was driven more than once to be held against what production wrote.
    pub(super) fn turned(&self) -> bool {
        self.rules.is_turned() && self.drives.len() > self.olds + 1
    }
}

/// Differences between drives at one identity.
#[derive(Debug)]
pub(super) struct Compared {
    drives: usize,
    /// By first and second drive, row by row.
    by_drives: Vec<Differences>,
    /// How the first drive differs from the third, where that was asked for.
    pub(super) back: Differences,
}

impl Compared {
    /// Nothing differs between any two of so many drives.
    pub(super) fn new(drives: usize) -> Self {
        let by_drives = (0..drives * drives).map(|_| Differences::default()).collect();
        Self { drives, by_drives, back: Differences::default() }
    }

    pub(super) fn set(&mut self, (one, other): (usize, usize), found: Differences) {
        self.by_drives[one * self.drives + other] = found;
    }

    pub(super) fn between(&self, one: usize, other: usize) -> &Differences {
        &self.by_drives[one * self.drives + other]
    }

    /// How the first drive of a couple differs from the first of all others.
    pub(super) fn departing(&self, from: usize, one: usize) -> &Differences {
        let known = self.between(from, one);
        if (from, one) == (2, 0) && known.is_empty() { &self.back } else { known }
    }

    pub(super) fn features(&self, judged: usize) -> BTreeSet<Feature> {
        let found = self.by_drives.chunks(self.drives).take(judged).flat_map(|row| row.iter().take(judged));
        found.flat_map(|found| &found.findings).map(|finding| finding.signature.feature()).collect()
    }
}

impl Differences {
    pub(super) fn has(&self, feature: &Feature) -> bool {
        self.findings.iter().any(|finding| finding.signature.feature() == *feature)
    }
}

/// How drives agree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    All,
    /// Exactly this one disagrees with all others, which agree.
    Odd(usize),
    /// No two agree.
    None,
    Mixed,
}

pub(super) fn odd(drives: usize, agree: impl Fn(usize, usize) -> bool) -> Agreement {
    let mut disagreements = vec![0; drives];
    let mut total = 0;
    for one in 0..drives {
        for other in one + 1..drives {
            if !agree(one, other) {
                disagreements[one] += 1;
                disagreements[other] += 1;
                total += 1;
            }
        }
    }
    if total == 0 {
        return Agreement::All;
    }
    if drives > 2 && total == drives * (drives - 1) / 2 {
        return Agreement::None;
    }
    let alone = disagreements.iter().position(|count| *count == drives - 1);
    alone.filter(|_| drives > 2 && total == drives - 1).map_or(Agreement::Mixed, Agreement::Odd)
}
