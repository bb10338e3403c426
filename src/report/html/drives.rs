//! Drives and how each ended.

use super::page::Page;
use crate::outcome::Ending;
use crate::report::figures::{count, time};
use crate::report::words::{instances, name};
use crate::report::{DriveFacts, Report};

/// Bytes of the table of drives.
const DRIVES_BYTES: usize = 60_000;

/// Bytes of all that is shown of standard error.
const STDERR_BYTES: usize = 150_000;

/// Writes the section.
pub(super) fn drives(report: &Report, page: &mut Page) {
    page.section("section id=\"drives\"", "Drives", |page| {
        page.leaf("p class=\"about\"", "A drive is one build fed with the plan once.");
        if report.drives.is_empty() {
            page.leaf("p", "None: outcomes of earlier drives were compared.");
            return;
        }
        let headings = ["drive", "ending", "#handed over", "#planned", "#outputs", "#length", "why"];
        let mut written = usize::MAX;
        page.table("Drives", &headings, |page| {
            written = page.within(DRIVES_BYTES, report.drives.iter(), |page, drive| row(drive, page));
        });
        page.left_out(written, report.drives.len(), "drives");
        let spoke: Vec<&DriveFacts> = report.drives.iter().filter(|drive| !drive.stderr_tail.is_empty()).collect();
        let written = page.within(STDERR_BYTES, spoke.iter(), |page, drive| standard_error(drive, page));
        page.left_out(written, spoke.len(), "ends of standard error");
    });
}

fn row(drive: &DriveFacts, page: &mut Page) {
    page.inside("tr", |page| {
        page.leaf("th scope=\"row\"", &drive.drive);
        let finished = drive.ending == Ending::Finished;
        page.leaf(if finished { "td class=\"good\"" } else { "td class=\"bad\"" }, &name(drive.ending));
        for figure in [drive.sent, drive.deliveries, drive.outputs] {
            page.leaf("td class=\"figure\"", &count(figure));
        }
        page.leaf("td class=\"figure\"", &time(drive.length_us));
        page.inside("td", |page| {
            page.text(&drive.reason);
            for line in instances(drive) {
                page.leaf("small", &line);
            }
        });
    });
}

fn standard_error(drive: &DriveFacts, page: &mut Page) {
    let tag = if drive.ending == Ending::Finished { "details" } else { "details open" };
    page.inside(tag, |page| {
        page.leaf("summary", &format!("Last lines of standard error: {}", drive.drive));
        page.inside("pre", |page| page.text(&drive.stderr_tail.join("\n")));
    });
}
