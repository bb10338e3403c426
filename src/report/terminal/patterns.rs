//! Patterns in the terminal: proven first, each with where it began and one example.

use super::lines::{Paint, Printed, around_difference};
use crate::compare::{Apart, Example, Kind, Pattern, Shown};
use crate::report::Report;
use crate::report::apart::{self, Of};
use crate::report::expected;
use crate::report::figures::{count, counted};
use crate::report::words::{self, Heading, patterns_of, sighting, signature};

/// How many patterns under one heading are printed; the other formats hold the rest.
const PATTERNS_MAX: usize = 12;

/// Of how many of them it is printed why they differ, where new is to blame.
const EXPLAINED_MAX: usize = 5;

/// How many columns an old or new value takes in an example.
const VALUE_WIDTH: usize = 84;

/// Prints the patterns under every heading.
pub(super) fn patterns(report: &Report, out: &mut Printed) {
    for heading in Heading::ALL {
        let patterns = patterns_of(report, heading);
        if patterns.is_empty() {
            continue;
        }
        out.heading(
            &format!("{}: {}", heading.title(), counted(patterns.len() as u64, "pattern", "patterns")),
            heading.meaning(report),
        );
        out.columns(Paint::Quiet, &["", "new", "noise"], &[70, 13, 13]);
        let to_blame = matches!(heading, Heading::Proven | Heading::Suspected);
        for (at, pattern) in patterns.iter().take(PATTERNS_MAX).enumerate() {
            one_pattern(report, pattern, to_blame && at < EXPLAINED_MAX, out);
        }
        if patterns.len() > PATTERNS_MAX {
            let left = (patterns.len() - PATTERNS_MAX) as u64;
            out.wrapped(
                2,
                Paint::Quiet,
                &format!("{} more not printed; run.json has all.", counted(left, "pattern", "patterns")),
            );
        }
    }
}

/// Prints a pattern with all its examples.
pub(super) fn whole(report: &Report, pattern: &Pattern, out: &mut Printed) {
    out.columns(Paint::Quiet, &["", "new", "noise"], &[70, 13, 13]);
    head(report, pattern, true, out);
    pattern.examples.iter().for_each(|example| one_example(pattern.kind, example, out));
}

/// How many expectations are printed; the other formats hold the rest.
const EXPECTED_MAX: usize = 30;

/// Prints what was expected and accepted, what has to be looked at first.
pub(super) fn expected(report: &Report, out: &mut Printed) {
    if report.expected.is_empty() {
        return;
    }
    let title = format!("Expected and accepted: {}", counted(report.expected.len() as u64, "entry", "entries"));
    out.heading(&title, "Differences that are intended, and what became of them.");
    let (kept, open): (Vec<_>, Vec<_>) = report.expected.iter().partition(|one| expected::is_kept(one));
    for one in open.into_iter().chain(kept).take(EXPECTED_MAX) {
        let id = one.id.as_ref().map(|id| format!("{id}  ")).unwrap_or_default();
        out.bullet(&format!("{id}{}: {}", one.what(), one.became()));
        out.wrapped(4, Paint::Quiet, &one.reason());
    }
    if report.expected.len() > EXPECTED_MAX {
        let left = counted((report.expected.len() - EXPECTED_MAX) as u64, "entry", "entries");
        out.wrapped(2, Paint::Quiet, &format!("{left} more not printed; run.json has all."));
    }
}

fn head(report: &Report, pattern: &Pattern, explained: bool, out: &mut Printed) {
    out.columns(Paint::Plain, &[&signature(pattern), &count(pattern.count), &words::noise(pattern)], &[70, 13, 13]);
    out.wrapped(4, Paint::Quiet, &words::about(pattern));
    if explained {
        for line in words::explained(pattern) {
            out.wrapped(4, Paint::Plain, &line);
        }
    }
    if let Some(first) = &pattern.first {
        out.wrapped(4, Paint::Plain, &format!("first: {}", sighting(first)));
    }
    if let Some(expected) = expected::of_pattern(report, pattern) {
        out.wrapped(4, Paint::Plain, &expected);
    }
    if !pattern.id.is_empty() {
        let share = expected::share_of(report, pattern).map(|share| format!("; {share}")).unwrap_or_default();
        out.wrapped(4, Paint::Quiet, &format!("pattern {}{share}", pattern.id));
    }
}

fn one_pattern(report: &Report, pattern: &Pattern, explained: bool, out: &mut Printed) {
    head(report, pattern, explained, out);
    if !matches!(Heading::of(pattern), Heading::Noise | Heading::Expected | Heading::Information) {
        pattern.examples.iter().take(1).for_each(|example| one_example(pattern.kind, example, out));
    }
}

fn one_example(kind: Kind, example: &Example, out: &mut Printed) {
    let text = |shown: &Option<Shown>| match shown {
        Some(shown) => shown.value.clone().unwrap_or_else(|| "null".to_owned()),
        None => words::absent(kind).to_owned(),
    };
    if let Some(places) = words::places(example) {
        let (value, _) = around_difference(&text(&example.old), "", VALUE_WIDTH);
        out.line(4, Paint::Plain, &format!("both {value}"));
        return out.line(4, Paint::Quiet, &format!("     {places}"));
    }
    if let Some(apart) = &example.apart {
        return one_apart(apart, out);
    }
    let (old, new) = around_difference(&text(&example.old), &text(&example.new), VALUE_WIDTH);
    out.line(4, Paint::Removed, &format!("old  {old}"));
    out.line(4, Paint::Added, &format!("new  {new}"));
}

fn one_apart(apart: &Apart, out: &mut Printed) {
    for (of, text) in apart::lines(apart) {
        let (whose, paint) = match of {
            Of::Old => ("old", Paint::Removed),
            Of::New => ("new", Paint::Added),
            Of::Both => ("", Paint::Plain),
            Of::Nobody => ("", Paint::Quiet),
        };
        let (text, _) = around_difference(&text, "", VALUE_WIDTH);
        out.line(4, paint, format!("{whose:3}  {text}").trim_end());
    }
}
