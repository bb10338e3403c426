//! Figures that builds offer themselves: what each drive had last, and where they could not be read.

use std::collections::BTreeMap;

use crate::outcome::{EndingReport, Outcome};
use crate::report::MetricFacts;

/// What the names of such gauges begin with.
const PREFIX: &str = "metrics/";

/// Series that a report has, in order of their names.
const SERIES_MAX: usize = 1_000;

/// Gathers the last figure of each series in each drive.
pub(super) fn facts<'d>(drives: impl Iterator<Item = &'d (String, Outcome)>) -> Vec<MetricFacts> {
    let mut all = BTreeMap::<String, BTreeMap<String, f64>>::new();
    for (drive, outcome) in drives.filter(|(_, outcome)| outcome.ending().scrapes.is_some()) {
        // Figures of a drive that cannot be read are figures that are not there.
        for gauge in outcome.gauges().unwrap_or_default() {
            if let Some(name) = gauge.name.strip_prefix(PREFIX) {
                all.entry(name.to_owned()).or_default().insert(drive.clone(), gauge.value);
            }
        }
    }
    all.into_iter().take(SERIES_MAX).map(|(name, drives)| MetricFacts { name, drives }).collect()
}

/// Says where figures that a build offers could not be read.
pub(super) fn warnings<'a>(endings: impl Iterator<Item = (&'a str, &'a EndingReport)>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (drive, scrapes) in endings.filter_map(|(drive, ending)| Some((drive, ending.scrapes.as_ref()?))) {
        let why = |why: &Option<String>| why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        if scrapes.read == 0 {
            warnings.push(format!("{drive}: its figures (`metrics`) could never be read{}", why(&scrapes.waited)));
        } else if scrapes.failed > 0 {
            let all = scrapes.read + scrapes.failed;
            let (failed, why) = (scrapes.failed, why(&scrapes.problem));
            warnings.push(format!("{drive}: its figures (`metrics`) could not be read {failed} of {all} times{why}"));
        }
        if scrapes.beyond {
            warnings.push(format!("{drive}: it offers more series (`metrics`) than are kept, which are 500 a process"));
        }
    }
    warnings
}
