//! Gates and warnings.

use super::page::Page;
use crate::compare::GateResult;
use crate::report::Report;
use crate::report::words::{gate_result, or_dash};

/// Bytes of the gates.
const GATES_BYTES: usize = 150_000;

/// Bytes of the warnings.
const WARNINGS_BYTES: usize = 60_000;

/// Writes the gates, those that are not kept first.
pub(super) fn gates(report: &Report, page: &mut Page) {
    page.section("section id=\"gates\"", "Gates", |page| {
        page.leaf(
            "p class=\"about\"",
            "Limits that the verdict is made of. They count what is proven beyond noise and what new broke.",
        );
        if report.gates.is_empty() {
            page.leaf("p", "No gate was judged.");
            return;
        }
        let (kept, open): (Vec<&GateResult>, Vec<&GateResult>) =
            report.gates.iter().partition(|gate| gate.pass == Some(true));
        let gates: Vec<&GateResult> = open.into_iter().chain(kept).collect();
        let mut written = usize::MAX;
        page.table("Gates", &["gate", "#limit", "#observed", "result", ""], |page| {
            written = page.within(GATES_BYTES, gates.iter(), |page, gate| row(gate, page));
        });
        page.left_out(written, gates.len(), "gates");
    });
}

fn row(gate: &GateResult, page: &mut Page) {
    page.inside("tr", |page| {
        page.inside("th scope=\"row\"", |page| {
            page.leaf("code", &gate.name);
            page.leaf("small", if gate.default { "default" } else { "written" });
        });
        page.leaf("td class=\"figure\"", &gate.limit);
        page.leaf("td class=\"figure\"", &or_dash(gate.observed.clone()));
        let tag = match (gate.pass, gate.warning) {
            (Some(true), _) => "td class=\"good\"",
            (Some(false), false) => "td class=\"bad\"",
            (Some(false), true) | (None, _) => "td class=\"unsure\"",
        };
        page.leaf(tag, gate_result(gate));
        page.leaf("td", gate.note.as_deref().unwrap_or_default());
    });
}

/// Writes what is worth knowing and changes no verdict.
pub(super) fn warnings(report: &Report, page: &mut Page) {
    if report.warnings.is_empty() {
        return;
    }
    page.section("section id=\"warnings\"", "Warnings", |page| {
        page.leaf("p class=\"about\"", "Worth knowing; they change no verdict.");
        page.list(WARNINGS_BYTES, "warnings", &report.warnings, |page, warning| page.text(warning));
    });
}
