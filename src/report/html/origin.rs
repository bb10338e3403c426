//! Where the run comes from, and how to have it again.

use super::page::Page;
use crate::report::builds::{outcome_of_old, source};
use crate::report::figures::{count, date};
use crate::report::words::{command, given, missing};
use crate::report::{BuildFacts, Report};

/// Bytes of the flags and variables of one build.
const SETTINGS_BYTES: usize = 30_000;

/// Bytes of what is said of production.
const AGAINST_BYTES: usize = 30_000;

/// Bytes of all builds.
const BUILDS_BYTES: usize = 200_000;

/// Writes scenario, recording, seed, builds and the command that reproduces the run.
pub(super) fn origin(report: &Report, page: &mut Page) {
    page.section("section id=\"origin\"", "Origin", |page| {
        if let Some(reproduce) = given(&report.reproduce) {
            page.leaf("h3", "Run it again");
            page.inside("pre class=\"command\"", |page| page.text(reproduce));
        }
        page.leaf("h3", "Recording and scenario");
        page.inside("dl", |page| {
            let recording = &report.recording;
            fact(page, "Scenario", given(&report.scenario.path).unwrap_or("none"));
            fact(page, "Seed", &report.seed.to_string());
            fact(page, "Recording", given(&recording.path).unwrap_or("not known"));
            fact(page, "Events", &count(recording.events));
            let from = recording.first_ms.map_or("not known".to_owned(), date);
            let to = recording.last_ms.map_or("not known".to_owned(), date);
            fact(page, "Replay window", &format!("{from} to {to}"));
            fact(page, "Gaps left by capture", &count(recording.gaps));
            if let Some(missing) = missing(recording) {
                fact(page, "Missing", &missing);
            }
            fact(page, "Hash", given(&recording.hash).unwrap_or("not known"));
        });
        // Old before new, as everywhere, though the map has them by name.
        let written = page.within(BUILDS_BYTES, report.builds.iter().rev(), |page, (role, build)| {
            page.leaf("h3", &format!("{role}: {}", build.name));
            build_facts(build, page);
        });
        page.left_out(written, report.builds.len(), "builds");
        if let Some(said) = outcome_of_old(report) {
            page.leaf("h3", "Outcome of old");
            page.leaf("p", &said);
        }
    });
}

fn build_facts(build: &BuildFacts, page: &mut Page) {
    page.inside("dl", |page| {
        fact(page, "Command", &command(build));
        if let Some(made_of) = &build.source {
            fact(page, "Made of", &source(made_of));
            fact(page, "Folder", given(&made_of.directory).unwrap_or("top of its repository"));
        }
        fact(page, "Program", build.program_hash.as_deref().unwrap_or("not readable"));
        let flags: Vec<(&String, String)> = build.flags.iter().map(|(name, value)| (name, value.to_string())).collect();
        page.leaf("dt", "Flags");
        page.inside("dd", |page| {
            if flags.is_empty() {
                page.text("none");
            }
            let written = page.within(SETTINGS_BYTES, flags.iter(), |page, (name, value)| {
                page.leaf("code", &format!("{name} = {value}"));
                page.markup(" ");
            });
            page.left_out(written, flags.len(), "flags");
        });
        page.leaf("dt", "Environment");
        page.inside("dd", |page| {
            let written = page.within(SETTINGS_BYTES, build.env_names.iter(), |page, name| {
                page.leaf("code", name);
                page.markup(" ");
            });
            page.left_out(written, build.env_names.len(), "names");
            page.leaf(
                "small",
                &format!("values are never kept; hash {}", given(&build.env_hash).unwrap_or("not known")),
            );
        });
    });
}

fn fact(page: &mut Page, label: &'static str, text: &str) {
    page.leaf("dt", label);
    page.leaf("dd", text);
}

/// Writes what made the page.
pub(super) fn foot(report: &Report, page: &mut Page) {
    page.leaf(
        "p",
        &format!(
            "rehearsal {} · report format {} · run.json beside this page holds every figure shown here.",
            report.tool, report.format
        ),
    );
}

/// Writes what production wrote and new was held against; nothing in any other run.
pub(super) fn against(report: &Report, page: &mut Page) {
    let Some(against) = &report.against else { return };
    page.section("section id=\"against\"", "Against what production wrote", |page| {
        page.list(AGAINST_BYTES, "sentences", &against.says, |page, said| page.text(said));
    });
}
