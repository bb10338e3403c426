//! Two small charts as inline SVG. What they show stands in a table beside them too.

use super::page::Page;
use crate::compare::{Latency, Pattern, Standing};
use crate::report::Report;
use crate::report::figures::{cut, date, time};
use crate::report::words::{Heading, patterns_of, signature};

/// How many patterns the chart of first sightings shows.
const PATTERNS_MAX: usize = 8;

/// Height of a row, and where the plot begins and ends, in the units of the drawing.
const ROW: f64 = 26.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 700.0;

/// Draws when each pattern first showed along the recorded time. Left out where no event times are known.
pub(super) fn first_sightings(report: &Report, page: &mut Page) {
    let (Some(from), Some(to)) = (report.recording.first_ms, report.recording.last_ms) else { return };
    let sighted: Vec<(&Pattern, i64)> = [Heading::Proven, Heading::Suspected]
        .iter()
        .flat_map(|heading| patterns_of(report, *heading))
        .filter_map(|pattern| Some((pattern, pattern.first.as_ref()?.event_time_ms?)))
        .filter(|(_, ms)| (from..=to).contains(ms))
        .take(PATTERNS_MAX)
        .collect();
    if sighted.is_empty() || from >= to {
        return;
    }
    let at = |ms: i64| 10.0 + 780.0 * (ms - from) as f64 / (to - from) as f64;
    let bottom = 8.0 + ROW * sighted.len() as f64;
    page.inside("figure class=\"chart\"", |page| {
        page.leaf("figcaption", "When each pattern was first seen, in event time");
        page.drawing(800.0, bottom + 24.0, "First sightings along the recorded time", |page| {
            page.shape("line class=\"axis\"", &[("x1", 10.0), ("x2", 790.0), ("y1", bottom), ("y2", bottom)]);
            page.shape_text("text class=\"label\"", &[("x", 10.0), ("y", bottom + 18.0)], &date(from));
            page.shape_text("text class=\"label end\"", &[("x", 790.0), ("y", bottom + 18.0)], &date(to));
            for (row, (pattern, ms)) in sighted.iter().enumerate() {
                let (x, y) = (at(*ms), 18.0 + ROW * row as f64);
                page.shape("line class=\"axis faint\"", &[("x1", x), ("x2", x), ("y1", y), ("y2", bottom)]);
                let dot = if pattern.standing == Standing::Proven {
                    "circle class=\"dot bad\""
                } else {
                    "circle class=\"dot unsure\""
                };
                page.shape(dot, &[("cx", x), ("cy", y), ("r", 5.0)]);
                let label = format!("{} · {}", cut(&signature(pattern), 60), date(*ms));
                if x < 400.0 {
                    page.shape_text("text", &[("x", x + 11.0), ("y", y + 4.0)], &label);
                } else {
                    page.shape_text("text class=\"end\"", &[("x", x - 11.0), ("y", y + 4.0)], &label);
                }
            }
        });
    });
}

/// Draws the quantiles of both builds, old and new joined by a line, on a logarithmic axis.
pub(super) fn quantiles(latency: &Latency, page: &mut Page) {
    let (old, new) = (&latency.old, &latency.new);
    let rows: Vec<(&str, Option<i64>, Option<i64>)> = [
        ("median", old.p50_us, new.p50_us),
        ("p90", old.p90_us, new.p90_us),
        ("p95", old.p95_us, new.p95_us),
        ("p99", old.p99_us, new.p99_us),
        ("p99.9", old.p999_us, new.p999_us),
        ("largest", old.max_us, new.max_us),
    ]
    .into_iter()
    .filter(|(_, old, new)| old.is_some() || new.is_some())
    .collect();
    let known = || rows.iter().flat_map(|(_, old, new)| [*old, *new]).flatten().map(|us| us.max(1));
    let (Some(least), Some(most)) = (known().min(), known().max()) else { return };
    // Whole powers of ten around the figures, so that the ticks are round.
    let (from, to) = (
        (least as f64).log10().floor(),
        ((most as f64).log10() + 1e-9).ceil().max((least as f64).log10().floor() + 1.0),
    );
    let at = |us: i64| LEFT + (RIGHT - LEFT) * ((us.max(1) as f64).log10() - from) / (to - from);
    let bottom = 12.0 + ROW * rows.len() as f64;
    page.inside("figure class=\"chart\"", |page| {
        page.inside("figcaption", |page| {
            page.markup(
                "Quantiles, logarithmic: <span class=\"key old\">old ○</span> <span class=\"key new\">new ●</span>",
            );
        });
        page.drawing(
            800.0,
            bottom + 24.0,
            "Latency quantiles of both builds; the table below holds the figures",
            |page| {
                for power in from as i32..=to as i32 {
                    let us = 10_f64.powi(power) as i64;
                    page.shape(
                        "line class=\"axis faint\"",
                        &[("x1", at(us)), ("x2", at(us)), ("y1", 4.0), ("y2", bottom)],
                    );
                    page.shape_text(
                        "text class=\"label middle\"",
                        &[("x", at(us)), ("y", bottom + 18.0)],
                        &round_time(power),
                    );
                }
                for (row, (name, old, new)) in rows.iter().enumerate() {
                    let y = 20.0 + ROW * row as f64;
                    page.shape_text("text class=\"end\"", &[("x", LEFT - 14.0), ("y", y + 4.0)], name);
                    if let (Some(old), Some(new)) = (old, new) {
                        page.shape("line class=\"span\"", &[("x1", at(*old)), ("x2", at(*new)), ("y1", y), ("y2", y)]);
                    }
                    if let Some(old) = old {
                        page.shape("circle class=\"dot old\"", &[("cx", at(*old)), ("cy", y), ("r", 6.0)]);
                    }
                    if let Some(new) = new {
                        page.shape("circle class=\"dot new\"", &[("cx", at(*new)), ("cy", y), ("r", 4.0)]);
                        let right = at(*new).max(old.map_or(0.0, at));
                        page.shape_text("text class=\"label\"", &[("x", right + 12.0), ("y", y + 4.0)], &time(*new));
                    }
                }
            },
        );
    });
}

fn round_time(power: i32) -> String {
    match power {
        ..3 => format!("{} µs", 10_i64.pow(power.max(0) as u32)),
        3..6 => format!("{} ms", 10_i64.pow(power as u32 - 3)),
        _ => format!("{} s", crate::report::figures::count(10_u64.pow(power.min(18) as u32 - 6))),
    }
}
