//! What repeated deliveries would do, and the other relations.

use super::example::example;
use super::page::Page;
use crate::compare::{Idempotency, Kind, Redelivery};
use crate::report::Report;
use crate::report::answers::{Tone, answers};
use crate::report::figures::{count, counted};
use crate::report::words::{given, name, redelivery_rows, sighting};

/// Bytes of the examples of one build.
const EXAMPLES_BYTES: usize = 180_000;

/// Bytes of the relations.
const RELATIONS_BYTES: usize = 60_000;

/// Writes the redelivery section.
pub(super) fn redelivery(report: &Report, page: &mut Page) {
    page.section("section id=\"redelivery\"", "If deliveries repeat", |page| {
        page.leaf(
            "p class=\"about\"",
            "Each build against itself: the same plan with and without the repeated deliveries (duplication).",
        );
        let Some(idempotency) = &report.idempotency else {
            page.leaf("p", "Not asked: no fault of this run redelivers, or the relation is off.");
            return;
        };
        let [.., answer] = answers(report);
        let tag = if answer.tone == Tone::Bad { "p class=\"headline bad\"" } else { "p class=\"headline\"" };
        page.leaf(tag, &answer.headline);
        table(idempotency, page);
        examples("new", &idempotency.new, page);
        examples("old", &idempotency.old, page);
    });
}

fn table(idempotency: &Idempotency, page: &mut Page) {
    let Idempotency { old, new, increase, broken_by_new, broken_by_both, mended_by_new, .. } = idempotency;
    page.table("Redelivery", &["", "#old", "#new"], |page| {
        for (label, old, new) in redelivery_rows(old, new) {
            let mut label = label.to_owned();
            label[..1].make_ascii_uppercase();
            page.row_of_figures(&label, &[count(old), count(new)]);
        }
    });
    let tested = increase
        .map_or("The increase was not tested.".to_owned(), |standing| format!("The increase is {}.", name(standing)));
    page.leaf(
        "p",
        &format!(
            "Repeated by new alone: {}; by both builds: {}; by old alone, mended by new: {}. {tested}",
            counted(*broken_by_new, "identity", "identities"),
            count(*broken_by_both),
            count(*mended_by_new)
        ),
    );
}

fn examples(build: &str, redelivery: &Redelivery, page: &mut Page) {
    if redelivery.examples.is_empty() {
        return;
    }
    page.leaf("h3", &format!("Which redelivered event caused which effect of {build}"));
    let mut written = usize::MAX;
    page.table("Redelivered events", &["identity", "redelivered event", "repeated effect"], |page| {
        written = page.within(EXAMPLES_BYTES / 3, redelivery.examples.iter(), |page, example| {
            page.inside("tr", |page| {
                page.inside("th scope=\"row\"", |page| page.leaf("code", &example.identity));
                page.leaf("td", &example.cause.as_ref().map_or("cause not known".to_owned(), sighting));
                let value = example.new.as_ref().map(|shown| shown.value.as_deref().unwrap_or("null"));
                page.inside("td", |page| page.leaf("code class=\"value\"", value.unwrap_or("nothing")));
            });
        });
    });
    page.left_out(written, redelivery.examples.len(), "examples");
    page.inside("details", |page| {
        page.leaf("summary", "Side by side: old is the drive without redelivery, new the one with it");
        let written =
            page.within(EXAMPLES_BYTES, redelivery.examples.iter(), |page, each| example(Kind::Repeated, each, page));
        page.left_out(written, redelivery.examples.len(), "examples");
    });
}

/// Writes every relation and who broke it.
pub(super) fn relations(report: &Report, page: &mut Page) {
    if report.relations.is_empty() {
        return;
    }
    page.section("section id=\"relations\"", "Relations", |page| {
        page.leaf("p class=\"about\"", "Rules between drives that a correct build keeps, and who broke them.");
        let mut written = usize::MAX;
        page.table("Relations", &["relation", "result", "what stands behind it"], |page| {
            written = page.within(RELATIONS_BYTES, report.relations.iter(), |page, relation| {
                page.inside("tr", |page| {
                    page.leaf("th scope=\"row\"", &relation.name);
                    let tag = match relation.result.as_str() {
                        "broken by new" => "td class=\"bad\"",
                        "broken by both" | "broken by old" | "not judged" => "td class=\"unsure\"",
                        _ => "td",
                    };
                    page.leaf(tag, &relation.result);
                    page.leaf("td", given(&relation.note).unwrap_or_default());
                });
            });
        });
        page.left_out(written, report.relations.len(), "relations");
    });
}
