//! Faults: what was planned, what fired, what was achieved.

use super::page::Page;
use crate::report::Report;
use crate::report::figures::{count, counted, figure, time};
use crate::report::words::{at_requests, is_silent, planned};

/// Bytes of the faults.
const FAULTS_BYTES: usize = 100_000;

/// Writes the section.
pub(super) fn faults(report: &Report, page: &mut Page) {
    page.section("section id=\"faults\"", "Faults", |page| {
        let plan = &report.plan;
        page.leaf(
            "p",
            &format!(
                "{} under test, {} of warm-up, made {}, {} of them repeated, over {} of replay.",
                counted(plan.events, "event", "events"),
                count(plan.warm_up_events),
                counted(plan.deliveries, "delivery", "deliveries"),
                count(plan.redeliveries),
                time(plan.length_us)
            ),
        );
        if report.faults.is_empty() {
            page.leaf("p", "No fault was asked for: events were handed over as recorded.");
            return;
        }
        let mut written = usize::MAX;
        page.table("Faults", &["name", "kind", "class", "#planned", "#fired", "what was achieved"], |page| {
            written = page.within(FAULTS_BYTES, report.faults.iter(), |page, fault| {
                page.inside("tr", |page| {
                    page.inside("th scope=\"row\"", |page| page.leaf("code", &fault.name));
                    page.leaf("td", &fault.kind);
                    page.inside("td", |page| {
                        page.leaf("b", &fault.legality);
                        page.leaf("small", legality_meaning(&fault.legality));
                    });
                    page.leaf("td class=\"figure\"", &planned(fault));
                    let fired = if is_silent(fault) { "td class=\"figure unsure\"" } else { "td class=\"figure\"" };
                    page.leaf(fired, &count(fault.fired));
                    page.inside("td", |page| {
                        let achieved = fault.coverage.iter().map(|(name, value)| format!("{name} {}", figure(*value)));
                        page.text(&achieved.collect::<Vec<_>>().join(", "));
                        for line in at_requests(fault) {
                            page.leaf("small", &line);
                        }
                    });
                });
            });
        });
        page.left_out(written, report.faults.len(), "faults");
    });
}

fn legality_meaning(class: &str) -> &'static str {
    match class {
        "A" => "can happen with nothing broken",
        "B" => "happens under failures or ordinary settings",
        "C" => "outside Kafka's promise",
        _ => "",
    }
}
