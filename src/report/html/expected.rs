//! What was expected of new, what was accepted, and what became of it.

use super::page::Page;
use crate::compare::Expected;
use crate::report::Report;
use crate::report::expected::{is_kept, state};

/// Bytes of the table.
const TABLE_BYTES: usize = 150_000;

/// Writes the section; nothing where nothing was expected.
pub(super) fn expected(report: &Report, page: &mut Page) {
    if report.expected.is_empty() {
        return;
    }
    page.section("section id=\"expected\"", "Expected and accepted", |page| {
        page.leaf(
            "p class=\"about\"",
            "Differences that are intended. Each covers what it speaks of and nothing else; what else differs there is a pattern of its own.",
        );
        let (kept, open): (Vec<&Expected>, Vec<&Expected>) = report.expected.iter().partition(|one| is_kept(one));
        let all: Vec<&Expected> = open.into_iter().chain(kept).collect();
        let mut written = usize::MAX;
        page.table("Expected and accepted", &["what", "", "what became of it", "why, who, until when"], |page| {
            written = page.within(TABLE_BYTES, all.iter(), |page, one| row(one, page));
        });
        page.left_out(written, all.len(), "expectations");
    });
}

fn row(one: &Expected, page: &mut Page) {
    page.inside("tr", |page| {
        page.inside("th scope=\"row\"", |page| {
            page.leaf("code", &one.what());
            if let Some(id) = &one.id {
                page.leaf("small", id);
            }
        });
        page.leaf(if is_kept(one) { "td class=\"good\"" } else { "td class=\"unsure\"" }, state(one));
        page.leaf("td", &one.became());
        page.leaf("td", &one.reason());
    });
}
