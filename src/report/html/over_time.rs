//! Figures over replay time: a small chart each, drives of both builds above each other, and what whole drives came to.

use super::page::Page;
use crate::compare::{DriveSeries, Series};
use crate::report::Report;
use crate::report::figures::{count, time};
use crate::report::over_time::{lag, rate, rows};

/// Size of a chart and of its plot, in the units of the drawing.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 168.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 548.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 138.0;

/// Drives that are drawn: more lines than these tell nothing.
const DRIVES_MAX: usize = 6;

/// One chart.
struct Panel {
    title: &'static str,
    /// Figures of a drive, and the length of a bucket in microseconds.
    pick: fn(&DriveSeries, f64) -> Vec<Option<f64>>,
    /// Writes a figure at the axis.
    show: fn(f64) -> String,
}

/// Every chart there may be.
const PANELS: [Panel; 8] = [
    Panel { title: "Throughput, outputs a second", pick: |own, bucket_us| rates(&own.outputs, bucket_us), show: rate },
    Panel {
        title: "Handed over, deliveries a second",
        pick: |own, bucket_us| rates(&own.deliveries, bucket_us),
        show: rate,
    },
    Panel { title: "Lag, events not committed", pick: |own, _| wide(&own.lag), show: |figure| count(figure as u64) },
    Panel {
        title: "Freshness, age of the oldest of them",
        pick: |own, _| wide(&own.freshness_us),
        show: |figure| time(figure as i64),
    },
    Panel {
        title: "Age of events at their outputs, median",
        pick: |own, _| wide(&own.age_us),
        show: |figure| time(figure as i64),
    },
    Panel {
        title: "Age of events at their outputs, largest",
        pick: |own, _| wide(&own.age_largest_us),
        show: |figure| time(figure as i64),
    },
    Panel {
        title: "Processor, share of one core",
        pick: |own, bucket_us| wide(&own.cpu_us).into_iter().map(|us| us.map(|us| us / bucket_us)).collect(),
        show: |figure| format!("{} %", rate(figure * 100.0)),
    },
    Panel {
        title: "Memory",
        pick: |own, _| wide(&own.memory_bytes).into_iter().map(|bytes| bytes.map(|bytes| bytes / 1e6)).collect(),
        show: |figure| format!("{} MB", rate(figure)),
    },
];

fn rates(counts: &[u64], bucket_us: f64) -> Vec<Option<f64>> {
    counts.iter().map(|count| Some(*count as f64 * 1e6 / bucket_us)).collect()
}

/// Whole numbers as figures.
fn wide<T: Copy + Wide>(figures: &[Option<T>]) -> Vec<Option<f64>> {
    figures.iter().map(|figure| figure.map(Wide::wide)).collect()
}

trait Wide {
    fn wide(self) -> f64;
}

impl Wide for u64 {
    fn wide(self) -> f64 {
        self as f64
    }
}

impl Wide for i64 {
    fn wide(self) -> f64 {
        self as f64
    }
}

/// Writes the section; nothing where nothing was measured over time.
pub(super) fn over_time(report: &Report, page: &mut Page) {
    if report.series.is_none() && report.measures.is_empty() {
        return;
    }
    page.section("section id=\"over-time\"", "Over time", |page| {
        if report.fidelity.on_schedule == Some(false) {
            page.leaf(
                "p class=\"unsure\"",
                "The replay ran off its schedule, so throughput and resources are shown and not judged.",
            );
        }
        table(report, page);
        for line in lag(report) {
            page.leaf("p", &line);
        }
        if let Some(series) = &report.series {
            charts(report, series, page);
        }
    });
}

fn table(report: &Report, page: &mut Page) {
    let rows = rows(report);
    if rows.is_empty() {
        return;
    }
    page.leaf("p class=\"about\"", "A drive has one such figure each, so drives are held against each other: worse counts only beyond what drives of old differ by, and from 10 % on.");
    let headings = ["", "#old", "#new", "#new over old", "#drives of old apart by", "judged"];
    page.table("Throughput and resources of whole drives", &headings, |page| {
        for row in &rows {
            page.inside("tr", |page| {
                page.leaf("th scope=\"row\"", row.name);
                for figure in [&row.old, &row.new, &row.change, &row.noise] {
                    page.leaf("td class=\"figure\"", figure);
                }
                page.leaf(if row.is_bad { "td class=\"bad\"" } else { "td" }, row.judged);
            });
        }
    });
}

fn charts(report: &Report, series: &Series, page: &mut Page) {
    let onset = report.lagging.iter().flat_map(|lagging| [&lagging.beyond_old, &lagging.shared]).flatten().next();
    let onset = onset.map(|drift| drift.onset.replay_us);
    let first = report.first_divergence.as_ref().map(|first| first.replayed.sighting.replay_us);
    page.leaf("p class=\"about\"", &format!("Over replay time, {} a point. Ages stand where the event was due. Behind the faint line nothing was due any more.", time(series.bucket_us)));
    page.inside("p class=\"about\"", |page| {
        page.markup("<span class=\"key old\">old ━</span> <span class=\"key old\">old again ┅</span> <span class=\"key new\">new ━</span>");
        if first.is_some() {
            page.markup(" <span class=\"key bad\">│ first divergence</span>");
        }
        if onset.is_some() {
            page.markup(" <span class=\"key unsure\">┆ the lag begins to grow</span>");
        }
    });
    page.inside("div class=\"charts\"", |page| {
        for panel in &PANELS {
            let drives =
                series.drives.iter().map(|(drive, own)| (drive.as_str(), (panel.pick)(own, series.bucket_us as f64)));
            let known = drives.filter(|(_, figures)| figures.iter().any(Option::is_some)).take(DRIVES_MAX);
            let known: Vec<(&str, Vec<Option<f64>>)> = known.collect();
            if !known.is_empty() {
                page.inside("figure class=\"chart\"", |page| {
                    page.leaf("figcaption", panel.title);
                    chart(
                        panel,
                        &known,
                        series,
                        [("line class=\"mark bad\"", first), ("line class=\"mark unsure\"", onset)],
                        page,
                    );
                });
            }
        }
    });
}

fn chart(
    panel: &Panel,
    drives: &[(&str, Vec<Option<f64>>)],
    series: &Series,
    marks: [(&'static str, Option<i64>); 2],
    page: &mut Page,
) {
    let buckets = drives.iter().map(|(_, figures)| figures.len()).max().unwrap_or(1).max(1);
    let length_us = buckets as f64 * series.bucket_us as f64;
    let most =
        drives.iter().flat_map(|(_, figures)| figures.iter().flatten()).fold(0.0_f64, |most, figure| most.max(*figure));
    let top = round_above(most);
    let at = |us: f64| LEFT + (RIGHT - LEFT) * (us / length_us).clamp(0.0, 1.0);
    let high = |figure: f64| BOTTOM - (BOTTOM - TOP) * (figure / top).clamp(0.0, 1.0);
    page.drawing(WIDTH, HEIGHT, panel.title, |page| {
        for part in [0.0, 0.5, 1.0] {
            let y = high(top * part);
            page.shape(
                if part == 0.0 { "line class=\"axis\"" } else { "line class=\"axis faint\"" },
                &[("x1", LEFT), ("x2", RIGHT), ("y1", y), ("y2", y)],
            );
            page.shape_text(
                "text class=\"label end\"",
                &[("x", LEFT - 8.0), ("y", y + 4.0)],
                &(panel.show)(top * part),
            );
        }
        for (tag, part) in
            [("text class=\"label\"", 0.0), ("text class=\"label middle\"", 0.5), ("text class=\"label end\"", 1.0)]
        {
            page.shape_text(
                tag,
                &[("x", LEFT + (RIGHT - LEFT) * part), ("y", BOTTOM + 20.0)],
                &time((length_us * part) as i64),
            );
        }
        if let Some(end) = series.schedule_us.filter(|end| (*end as f64) < length_us) {
            page.shape(
                "line class=\"axis faint\"",
                &[("x1", at(end as f64)), ("x2", at(end as f64)), ("y1", TOP), ("y2", BOTTOM)],
            );
        }
        for (tag, mark) in marks {
            if let Some(us) = mark.filter(|us| *us >= 0) {
                page.shape(tag, &[("x1", at(us as f64)), ("x2", at(us as f64)), ("y1", TOP), ("y2", BOTTOM)]);
            }
        }
        // What is compared is drawn last, above the rest.
        let mut drawn: Vec<&(&str, Vec<Option<f64>>)> = drives.iter().collect();
        drawn.sort_by_key(|(drive, _)| (*drive == "new", *drive == "old"));
        for (drive, figures) in drawn {
            let middle = |bucket: usize| at((bucket as f64 + 0.5) * series.bucket_us as f64);
            let points =
                figures.iter().enumerate().filter_map(|(bucket, figure)| Some((middle(bucket), high((*figure)?))));
            let tag = match *drive {
                "old" => "polyline class=\"line old\"",
                "new" => "polyline class=\"line new\"",
                again if again.starts_with("old") => "polyline class=\"line old again\"",
                _ => "polyline class=\"line new again\"",
            };
            page.points(tag, points);
        }
    });
}

/// The next of one, two and five times a power of ten; one where there is nothing.
fn round_above(figure: f64) -> f64 {
    if figure <= 0.0 || !figure.is_finite() {
        return 1.0;
    }
    let tens = 10_f64.powi(figure.log10().floor() as i32);
    [1.0, 2.0, 5.0].into_iter().map(|times| times * tens).find(|top| *top >= figure).unwrap_or(10.0 * tens)
}

#[cfg(test)]
mod tests {
    use super::round_above;

    #[test]
    fn the_axis_ends_at_a_round_figure_above_all() {
        for (most, top) in [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (5.1, 10.0), (0.031, 0.05), (f64::NAN, 1.0)]
        {
            assert!((round_above(most) / top - 1.0).abs() < 1e-9, "{most}");
        }
    }
}
