//! What builds called of the world outside.

use super::page::Page;
use crate::report::Report;
use crate::report::words::effect_rows;

/// Bytes of the table.
const TABLE_BYTES: usize = 60_000;

/// Bytes of what was registered.
const REGISTERED_BYTES: usize = 60_000;

/// Writes what became of the builds' flags; nothing where there is nothing to say.
pub(super) fn flags(report: &Report, page: &mut Page) {
    let Some(flags) = report.flags.as_ref().filter(|flags| !flags.says.is_empty()) else { return };
    page.section("section id=\"flags\"", "Flags", |page| {
        page.leaf(
            "p class=\"about\"",
            "Evaluations are those that the stub of OFREP was asked for; who reads a file or the environment is not seen.",
        );
        page.list(REGISTERED_BYTES, "flags", &flags.says, |page, said| page.text(said));
    });
}

/// Writes how the builds' wall clocks were set; nothing where they had the machine's.
pub(super) fn wall_clock(report: &Report, page: &mut Page) {
    let Some(clock) = &report.wall_clock else { return };
    page.section("section id=\"wall-clock\"", "Wall clock", |page| {
        page.leaf(
            "p class=\"about\"",
            "What builds took for the time of day was set: to where the schedule stood in event time, or wrong, as faults wanted.",
        );
        page.list(REGISTERED_BYTES, "clocks", &clock.says, |page, said| page.text(said));
    });
}

/// Writes what builds registered; nothing where they registered nothing.
pub(super) fn registry(report: &Report, page: &mut Page) {
    let Some(registry) = report.registry.as_ref().filter(|registry| !registry.says.is_empty()) else { return };
    page.section("section id=\"registry\"", "Schema registry", |page| {
        page.leaf(
            "p class=\"about\"",
            "Each drive has a registry of its own, which begins with the recording's schemas.",
        );
        page.list(REGISTERED_BYTES, "schemas", &registry.says, |page, said| page.text(said));
    });
}

/// Writes the section of effects; nothing where the scenario has none.
pub(super) fn effects(report: &Report, page: &mut Page) {
    if report.effects.is_empty() {
        return;
    }
    page.section("section id=\"effects\"", "Effects", |page| {
        page.leaf(
            "p class=\"about\"",
            "Calls to the world outside, answered by stubs; each is compared like an output.",
        );
        for effect in &report.effects {
            if let Some(repeats) = &effect.repeats {
                page.leaf("p", &format!("{}: {repeats}.", effect.name));
            }
        }
        let rows = effect_rows(report);
        let mut written = usize::MAX;
        page.table("Effects", &["effect", "drive", "#calls", "#no rule", "#failed", "#no answer"], |page| {
            written = page.within(TABLE_BYTES, rows.iter(), |page, [name, drive, figures @ ..]| {
                page.inside("tr", |page| {
                    page.leaf("th scope=\"row\"", name);
                    page.leaf("td", drive);
                    for figure in figures {
                        page.leaf("td class=\"figure\"", figure);
                    }
                });
            });
        });
        page.left_out(written, rows.len(), "rows");
    });
}
