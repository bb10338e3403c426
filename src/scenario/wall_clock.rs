//! How the wall clocks of builds that follow their events were kept.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::outcome::{EndingReport, WallClockReport};
use crate::report::WallClockFacts;
use crate::settings::Span;

/// Gathers how each drive's clock was kept; none where builds had the machine's.
pub(super) fn facts<'a>(endings: impl Iterator<Item = (&'a str, &'a EndingReport)>) -> Option<WallClockFacts> {
    let drives: BTreeMap<String, WallClockReport> =
        endings.filter_map(|(drive, ending)| Some((drive.to_owned(), ending.wall_clock.clone()?))).collect();
    (!drives.is_empty()).then(|| WallClockFacts { says: says(&drives), drives })
}

fn says(drives: &BTreeMap<String, WallClockReport>) -> Vec<String> {
    let mut says = Vec::new();
    for (drive, clock) in drives {
        let WallClockReport { profile, tested, given_up, sets, apart_us_max, error_us_max, .. } = clock;
        says.push(format!("{drive}: {profile}, by {}; tried ahead: {tested}", clock.library));
        if profile.starts_with("shell") {
            says.push(format!(
                "{drive}: what the shell starts was not tried, and the shell itself may go by the machine's clock"
            ));
        }
        if profile.starts_with("launcher") {
            says.push(format!(
                "{drive}: what its command starts was not tried; linked statically or written in Go it goes by the machine's clock"
            ));
        }
        says.extend(given_up.iter().map(|problem| format!("{drive}: given up: {problem}")));
        let set = match sets {
            0 | 1 => "never had to be set again".to_owned(),
            _ => format!("set {sets} times, {} apart at most", span(*apart_us_max)),
        };
        let of = if clock.recorded { "of event time from the schedule" } else { "from what it was to show" };
        says.push(format!("{drive}: at most {} {of}; {set}", span(*error_us_max)));
        if clock.wrong_us_max > 0 {
            says.push(format!("{drive}: set wrong by {} at most, as faults wanted", span(clock.wrong_us_max)));
        }
        if clock.own_stamps > 0 {
            says.push(format!(
                "{drive}: timestamps of {} outputs lie within what it showed, and are left out as its own",
                clock.own_stamps
            ));
        }
        if clock.stepped_back_us > 0 {
            says.push(format!(
                "{drive}: set back by {} when the schedule started, as the build had taken that much longer to start than 30 s",
                span(clock.stepped_back_us)
            ));
        }
    }
    // Where all clocks and timers run alike there is nothing to be told apart.
    let real =
        drives.values().filter(|clock| clock.timers.is_none() && (clock.sets > 1 || clock.wrong_us_max > 0)).count();
    if real > 0 {
        says.push(
            "timers and monotonic clocks run as the machine's: only what a build does by the time of day follows"
                .into(),
        );
    }
    says
}

fn span(us: i64) -> Span {
    // No digits that say nothing.
    let us = us.unsigned_abs();
    Span(match us {
        10_000_000.. => Duration::from_secs(us / 1_000_000),
        10_000.. => Duration::from_millis(us / 1_000),
        _ => Duration::from_micros(us),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Ending;

    #[test]
    fn each_clock_is_told_of_with_how_far_it_was_off() {
        let clock = WallClockReport {
            recorded: true,
            library: "/lib/faketime.so".into(),
            profile: "native, shifted".into(),
            tested: "right to 0s".into(),
            sets: 900,
            apart_us_max: 4_000,
            error_us_max: 7_200_000,
            stepped_back_us: 2_000_000,
            wrong_us_max: 300_000_000,
            ..WallClockReport::default()
        };
        let ending = EndingReport { wall_clock: Some(clock), ..EndingReport::new(Ending::Finished, "") };
        let says = facts([("new", &ending)].into_iter()).unwrap().says.join("\n");
        for said in [
            "new: native, shifted, by /lib/faketime.so; tried ahead: right to 0s",
            "new: at most 7200ms of event time from the schedule; set 900 times, 4ms apart at most",
            "new: set back by 2s",
            "new: set wrong by 5m at most",
            "timers and monotonic clocks run as the machine's",
        ] {
            assert!(says.contains(said), "{said}: {says}");
        }
        assert_eq!(facts([("new", &EndingReport::new(Ending::Finished, ""))].into_iter()), None);
    }
}
