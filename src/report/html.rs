//! One page for a browser: opens offline, prints, reads well in the dark, and stays under 5 MB whatever the run.
//!
//! It has no script, and its policy forbids any: what a build wrote cannot act even where a browser is fooled. Sections are
//! functions in files of their own; [`page::Page`] escapes everything that is not written in this program's sources.

mod business;
mod chart;
mod drives;
mod effects;
mod example;
mod expected;
mod faults;
mod first_screen;
mod gates;
mod origin;
mod over_time;
mod page;
mod patterns;
mod pretty;
mod redelivery;
mod timing;

use page::Page;

use super::Report;
use super::answers::builds_line;
use super::words;

/// Style of the page: `report/page.css`.
const STYLE: &str = include_str!("page.css");

/// Writes `report` as one page.
pub(super) fn html(report: &Report) -> String {
    let mut page = Page::new();
    page.markup("<!doctype html>\n<html lang=\"en\">\n");
    page.inside("head", |page| head(report, page));
    page.inside("body", |page| {
        page.markup("<a class=\"skip\" href=\"#patterns\">Skip to the patterns</a>");
        page.inside("header", |page| first_screen::banner(report, page));
        page.inside("main", |page| {
            first_screen::answer_cards(report, page);
            first_screen::contents(report, page);
            origin::against(report, page);
            patterns::patterns(report, page);
            expected::expected(report, page);
            business::state(report, page);
            business::figures(report, page);
            redelivery::redelivery(report, page);
            effects::effects(report, page);
            effects::registry(report, page);
            effects::flags(report, page);
            effects::wall_clock(report, page);
            redelivery::relations(report, page);
            timing::latency(report, page);
            over_time::over_time(report, page);
            timing::fidelity(report, page);
            timing::gauges(report, page);
            faults::faults(report, page);
            gates::gates(report, page);
            gates::warnings(report, page);
            drives::drives(report, page);
            origin::origin(report, page);
        });
        page.inside("footer", |page| origin::foot(report, page));
    });
    page.markup("</html>\n");
    page.finish()
}

fn head(report: &Report, page: &mut Page) {
    page.markup("<meta charset=\"utf-8\">\n");
    page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.markup("<meta name=\"color-scheme\" content=\"light dark\">\n");
    page.markup("<meta name=\"robots\" content=\"noindex\">\n");
    page.markup(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    let scenario = words::given(&report.scenario.name).unwrap_or("comparison");
    page.leaf("title", &format!("{}: {scenario}, {}", words::verdict(report.verdict), builds_line(report)));
    page.inside("style", |page| page.markup(STYLE));
}
