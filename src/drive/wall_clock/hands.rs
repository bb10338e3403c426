//! The file by which libfaketime is told the time, and how far what it says was ever from what it should say.
//!
//! `+SECONDS` is added to the machine's own clock: whoever reads it sees the same, whenever it was started. `@SECONDS xSPEED` is a moment
//! from which the clock runs at a speed, and timers with it; it counts from the reader's first look at what was written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Hands {
    path: PathBuf,
    set: Option<Set>,
    /// Earliest and latest that readers can have seen, up to the last setting.
    seen_us: Option<(i64, i64)>,
    figures: Figures,
}

/// What was written last.
#[derive(Debug, Clone, Copy)]
struct Set {
    /// The machine's clock then, in microseconds since the Unix epoch.
    real_us: i64,
    /// What readers see then.
    shown_us: i64,
    speed: Option<f64>,
}

/// How well the clock was kept, while it followed the schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) sets: u64,
    /// Longest time between two, in microseconds of the machine's clock.
    pub(super) apart_us_max: i64,
    /// Furthest that what was shown was from what it should have been, in microseconds of event time.
    pub(super) error_us_max: i64,
}

impl Set {
    /// What who looks at `real_us` sees at least.
    fn shown_at(self, real_us: i64) -> i64 {
        // At a speed of its own the clock begins where it was set for whoever has not looked since.
        if self.speed.is_some() { self.shown_us } else { self.shown_us + (real_us - self.real_us) }
    }
}

impl Hands {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, set: None, seen_us: None, figures: Figures::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// Longest time between two settings up to `real_us`, that since the last included.
    pub(super) fn apart_us(&self, real_us: i64) -> i64 {
        self.figures.apart_us_max.max(self.set.map_or(0, |set| real_us - set.real_us))
    }

    /// What readers see at `real_us`; none where nothing was set.
    pub(super) fn shown_at(&self, real_us: i64) -> Option<i64> {
        self.set.map(|set| set.shown_at(real_us))
    }

    /// Earliest and latest that readers can have seen up to `real_us`; none where nothing was set.
    pub(super) fn seen_us(&self, real_us: i64) -> Option<(i64, i64)> {
        let (shown_us, (least_us, most_us)) = (self.shown_at(real_us)?, self.seen_us?);
        Some((least_us.min(shown_us), most_us.max(shown_us)))
    }

    /// Has readers see `shown_us` from now on, which is `real_us` of the machine's clock, and the clock go on at `speed`, with timers, or
    /// as the machine's does.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn set(&mut self, real_us: i64, shown_us: i64, speed: Option<f64>) -> io::Result<()> {
        let text = match speed {
            None => {
                let offset_us = shown_us - real_us;
                let (sign, size) = (if offset_us < 0 { '-' } else { '+' }, offset_us.unsigned_abs());
                format!("{sign}{}.{:06}\n", size / 1_000_000, size % 1_000_000)
            }
            Some(speed) => {
                let (seconds, rest) = (shown_us.div_euclid(1_000_000), shown_us.rem_euclid(1_000_000));
                format!("@{seconds}.{rest:06} x{speed}\n")
            }
        };
        let draft = self.path.with_extension("next");
        fs::write(&draft, text)?;
        fs::rename(&draft, &self.path)?;
        let (least_us, most_us) = self.seen_us(real_us).unwrap_or((shown_us, shown_us));
        self.seen_us = Some((least_us.min(shown_us), most_us.max(shown_us)));
        self.set = Some(Set { real_us, shown_us, speed });
        Ok(())
    }

    /// As [`Self::set`], while the clock follows the schedule: it should show `should_us` now. What was to be shown but for a trifle is left.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn follow(&mut self, moment: Moment, speed: Option<f64>) -> io::Result<()> {
        let Moment { real_us, should_us, show_us } = moment;
        if let Some(set) = self.set {
            self.figures.error_us_max = self.figures.error_us_max.max((should_us - set.shown_at(real_us)).abs());
            if self.figures.sets > 0
                && speed.is_none()
                && set.speed.is_none()
                && (show_us - set.shown_at(real_us)).abs() < TRIFLE_US
            {
                return Ok(());
            }
            self.figures.apart_us_max = self.figures.apart_us_max.max(real_us - set.real_us);
        }
        self.figures.error_us_max = self.figures.error_us_max.max((show_us - should_us).abs());
        self.figures.sets += 1;
        self.set(real_us, show_us, speed)
    }
}

/// Less than this, in microseconds, is nothing that a clock is set for.
const TRIFLE_US: i64 = 500;

/// A moment at which the clock is looked at.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "a unit stands last, and all have the same")]
pub(super) struct Moment {
    /// The machine's clock.
    pub(super) real_us: i64,
    /// What should be shown.
    pub(super) should_us: i64,
    /// What is shown, for as long as until it is set again.
    pub(super) show_us: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(real_us: i64, shown_us: i64, speed: Option<f64>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut hands = Hands::new(folder.path().join("time"));
        hands.set(real_us, shown_us, speed).unwrap();
        fs::read_to_string(hands.path()).unwrap()
    }

    #[test]
    fn what_is_written_is_what_the_library_reads() {
        assert_eq!(written(2_000_000, 500_000, None), "-1.500000\n");
        assert_eq!(written(2_000_000, 3_250_001, None), "+1.250001\n");
        assert_eq!(written(0, 1_357_344_000_000_005, Some(3600.0)), "@1357344000.000005 x3600\n");
        assert_eq!(written(0, 1_500_000, Some(0.5)), "@1.500000 x0.5\n");
    }

    #[test]
    fn all_that_readers_can_have_seen_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut hands = Hands::new(folder.path().join("time"));
        assert_eq!(hands.seen_us(7), None);
        hands.set(1_000, 500, None).unwrap();
        assert_eq!(hands.seen_us(1_100), Some((500, 600)));
        hands.set(1_200, 100, None).unwrap();
        assert_eq!(hands.seen_us(1_300), Some((100, 700)));
        assert_eq!(hands.seen_us(3_000), Some((100, 1_900)));
    }

    #[test]
    fn how_far_it_was_off_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut hands = Hands::new(folder.path().join("time"));
        let mut at = |real_us, should_us, show_us| hands.follow(Moment { real_us, should_us, show_us }, None).unwrap();
        at(0, 1_000_000, 1_000_000);
        // Ten times as fast: two milliseconds later twenty have passed, and two were shown.
        at(2_000, 1_020_000, 1_020_000);
        at(4_000, 1_022_100, 1_022_100);
        assert_eq!(hands.figures(), Figures { sets: 2, apart_us_max: 2_000, error_us_max: 18_000 });
    }
}
