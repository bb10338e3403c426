//! Figures of the business.

use super::page::Page;
use crate::compare::Standing;
use crate::report::Report;
use crate::report::business::rows;

/// Bytes of what is said of state.
const STATE_BYTES: usize = 60_000;

/// Bytes of the table.
const TABLE_BYTES: usize = 60_000;

/// Writes when last values became equal for good, and tables; nothing where there is nothing to say.
pub(super) fn state(report: &Report, page: &mut Page) {
    let lines = crate::report::state::lines(report);
    if lines.is_empty() {
        return;
    }
    page.section("section id=\"state\"", "State", |page| {
        page.leaf(
            "p class=\"about\"",
            "The last value of each key: when both builds came to the same, and changelogs as tables.",
        );
        page.list(STATE_BYTES, "topics", &lines, |page, line| page.text(line));
    });
}

/// Writes what the outputs of each drive come to; nothing where the scenario asks for none.
pub(super) fn figures(report: &Report, page: &mut Page) {
    let rows = rows(report);
    if rows.is_empty() {
        return;
    }
    page.section("section id=\"business\"", "Figures of the business", |page| {
        page.leaf(
            "p class=\"about\"",
            "What the outputs of each drive come to, exactly. Drives of old say what is no deviation.",
        );
        let mut written = usize::MAX;
        page.table("Figures of the business", &["figure", "#old", "#new", "#new less old", ""], |page| {
            written = page.within(TABLE_BYTES, rows.iter(), |page, row| {
                page.inside("tr", |page| {
                    page.leaf("th scope=\"row\"", &row.name);
                    page.leaf("td class=\"figure\"", &row.old);
                    page.leaf("td class=\"figure\"", &row.new);
                    let tag = match row.standing {
                        Some(Standing::Proven) => "td class=\"bad\"",
                        Some(Standing::Suspected) => "td class=\"unsure\"",
                        _ => "td class=\"figure\"",
                    };
                    page.leaf(tag, &row.away);
                    page.leaf("td", &row.says.join("; "));
                });
            });
        });
        page.left_out(written, rows.len(), "figures");
    });
}
