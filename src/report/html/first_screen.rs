//! The first screen: the verdict, why, and the four answers.

use super::page::Page;
use crate::compare::Verdict;
use crate::report::Report;
use crate::report::answers::{Tone, answers, builds_line};
use crate::report::figures::count;
use crate::report::words::{self, Heading, given, patterns_of};

/// Bytes of the reasons.
const REASONS_BYTES: usize = 60_000;

/// Writes verdict, scenario, builds and reasons.
pub(super) fn banner(report: &Report, page: &mut Page) {
    page.inside(
        match report.verdict {
            Verdict::Agree => "div class=\"banner good\"",
            Verdict::Differ => "div class=\"banner bad\"",
            Verdict::NoVerdict => "div class=\"banner unsure\"",
        },
        |page| {
            page.inside("p class=\"scenario\"", |page| {
                page.text(given(&report.scenario.name).unwrap_or("comparison"));
                page.markup(" <span>");
                page.text(&builds_line(report));
                page.markup("</span>");
            });
            page.inside("h1", |page| {
                page.leaf("span class=\"verdict\"", words::verdict(report.verdict));
                if let Some(question) = &report.scenario.question {
                    page.leaf("span class=\"question\"", question);
                }
            });
            page.leaf("p class=\"meaning\"", words::verdict_meaning(report.verdict));
            if !report.reasons.is_empty() {
                page.list(REASONS_BYTES, "reasons", &report.reasons, |page, reason| page.text(reason));
            }
        },
    );
}

/// Writes a card for each of the four questions.
pub(super) fn answer_cards(report: &Report, page: &mut Page) {
    page.inside("section class=\"answers\" aria-label=\"In short\"", |page| {
        for answer in answers(report) {
            page.inside(
                match answer.tone {
                    Tone::Good => "div class=\"card good\"",
                    Tone::Bad => "div class=\"card bad\"",
                    Tone::Unsure => "div class=\"card unsure\"",
                    Tone::Quiet => "div class=\"card\"",
                },
                |page| {
                    page.leaf("h2", answer.question);
                    page.leaf("p class=\"headline\"", &answer.headline);
                    answer.lines.iter().for_each(|line| page.leaf("p", line));
                },
            );
        }
    });
}

/// Writes links to the sections.
pub(super) fn contents(report: &Report, page: &mut Page) {
    page.inside("nav aria-label=\"Sections\"", |page| {
        page.inside("a href=\"#patterns\"", |page| {
            let number = |heading| count(patterns_of(report, heading).len() as u64);
            let (proven, suspected, noise) = (number(Heading::Proven), number(Heading::Suspected), number(Heading::Noise));
            page.text(&format!("Patterns ({proven} proven, {suspected} suspected, {noise} noise)"));
        });
        page.markup("<a href=\"#redelivery\">Redelivery</a><a href=\"#latency\">Latency</a>");
        if report.series.is_some() || !report.measures.is_empty() {
            page.markup("<a href=\"#over-time\">Over time</a>");
        }
        page.markup("<a href=\"#fidelity\">Fidelity</a>");
        page.markup("<a href=\"#faults\">Faults</a><a href=\"#gates\">Gates</a><a href=\"#drives\">Drives</a><a href=\"#origin\">Origin</a>");
    });
}
