//! Patterns: when each first showed, an overview, then each with its examples.

use super::chart;
use super::example::example;
use super::page::Page;
use crate::compare::{Pattern, Statistics};
use crate::report::Report;
use crate::report::expected;
use crate::report::figures::{count, counted, probability, share};
use crate::report::words::{self, Heading, mark, name, or_dash, patterns_of, sighting, signature};
use std::fmt::Write as _;

/// Bytes of the overview under one heading.
const OVERVIEW_BYTES: usize = 150_000;

/// Bytes of the patterns under one heading with their examples: what counts gets most of the room.
fn details_bytes(heading: Heading) -> usize {
    match heading {
        Heading::Proven => 1_200_000,
        Heading::Suspected => 400_000,
        Heading::Noise | Heading::Expected | Heading::Information => 200_000,
    }
}

/// Bytes of the examples of one pattern.
const EXAMPLES_BYTES: usize = 150_000;

/// Bytes of the rules.
const RULES_BYTES: usize = 60_000;

/// How many patterns stand open at first.
const OPEN: usize = 4;

/// Writes the section.
pub(super) fn patterns(report: &Report, page: &mut Page) {
    page.section("section id=\"patterns\"", "What differs", |page| {
        if report.patterns.is_empty() {
            let compared = counted(report.identities, "identity", "identities");
            page.leaf("p", &format!("No pattern: nothing differs in {compared} compared."));
        }
        chart::first_sightings(report, page);
        let mut before = 0;
        for heading in Heading::ALL {
            let patterns = patterns_of(report, heading);
            if !patterns.is_empty() {
                let about = heading.meaning(report);
                group(report, Group { heading, before, about, noisy: words::noisy(report) }, &patterns, page);
            }
            before += patterns.len();
        }
        totals(report, page);
    });
}

/// Patterns under one heading.
#[derive(Clone, Copy)]
struct Group {
    heading: Heading,
    /// How many patterns stand before it, for their numbers go on.
    before: usize,
    /// What the heading means.
    about: &'static str,
    /// The build whose drives say what the noise is.
    noisy: &'static str,
}

fn group(report: &Report, group: Group, patterns: &[&Pattern], page: &mut Page) {
    page.leaf("h3", &format!("{}: {}", group.heading.title(), counted(patterns.len() as u64, "pattern", "patterns")));
    page.leaf("p class=\"about\"", group.about);
    // Written first, because the overview links to those that found room.
    let mut side_by_side = Page::new();
    let written = details(report, group, patterns, &mut side_by_side);
    overview(group, patterns, written, page);
    page.append(&side_by_side);
}

fn overview(group: Group, patterns: &[&Pattern], linked: usize, page: &mut Page) {
    let itself = if group.noisy == "new" { "#new against itself" } else { "#old against itself" };
    let headings = ["", "kind", "topic", "path", "change", "#new against old", itself, "first seen"];
    let mut written = usize::MAX;
    page.table(group.heading.title(), &headings, |page| {
        written = page.within(OVERVIEW_BYTES, patterns.iter().enumerate(), |page, (index, pattern)| {
            overview_row(group.before + index + 1, index < linked, pattern, page);
        });
    });
    page.left_out(written, patterns.len(), "patterns");
}

fn overview_row(number: usize, linked: bool, pattern: &Pattern, page: &mut Page) {
    page.inside("tr", |page| {
        page.inside("td", |page| {
            let text = number.to_string();
            if linked { page.link_numbered("pattern", number, &text) } else { page.text(&text) }
        });
        page.inside("th scope=\"row\"", |page| {
            page.leaf("span class=\"kind\"", &name(pattern.kind));
            if let Some(mark) = mark(pattern) {
                page.leaf("small", mark);
            }
        });
        page.inside("td", |page| page.leaf("code", &pattern.topic));
        page.inside("td", |page| page.leaf("code", pattern.path.as_deref().unwrap_or_default()));
        page.leaf("td", &pattern.change.map(name).unwrap_or_default());
        page.leaf("td class=\"figure\"", &count(pattern.count));
        page.leaf("td class=\"figure\"", &words::noise(pattern));
        page.leaf("td", &or_dash(pattern.first.as_ref().map(sighting)));
    });
}

/// Writes patterns with their examples and returns how many found room.
fn details(report: &Report, group: Group, patterns: &[&Pattern], page: &mut Page) -> usize {
    let written = page.within(details_bytes(group.heading), patterns.iter().enumerate(), |page, (index, pattern)| {
        let opened = index < OPEN && matches!(group.heading, Heading::Proven | Heading::Suspected);
        let tag = if opened { "details class=\"pattern\" open" } else { "details class=\"pattern\"" };
        let number = group.before + index + 1;
        page.inside_numbered(tag, "pattern", number, |page| detail(report, (number, group.noisy), pattern, page));
    });
    page.left_out(written, patterns.len(), "patterns with their examples");
    written
}

fn detail(report: &Report, (number, noisy): (usize, &str), pattern: &Pattern, page: &mut Page) {
    let heading = Heading::of(pattern);
    page.inside("summary", |page| {
        page.leaf("span class=\"number\"", &number.to_string());
        page.leaf(
            match heading {
                Heading::Proven => "span class=\"tag bad\"",
                Heading::Suspected => "span class=\"tag unsure\"",
                Heading::Noise | Heading::Expected | Heading::Information => "span class=\"tag\"",
            },
            &heading.title().to_lowercase(),
        );
        page.leaf("span class=\"signature\"", &signature(pattern));
        page.leaf("span class=\"figure\"", &counted(pattern.count, "difference", "differences"));
    });
    page.inside("div class=\"within\"", |page| {
        page.leaf("p", &words::about(pattern));
        if let Some(expected) = expected::of_pattern(report, pattern) {
            page.leaf("p class=\"expected\"", &sentence(&expected));
        }
        if !pattern.id.is_empty() {
            let share = expected::share_of(report, pattern).map(|share| format!("; {share}")).unwrap_or_default();
            page.leaf("p class=\"about\"", &format!("Pattern {}{share}.", pattern.id));
        }
        if let Some(first) = &pattern.first {
            page.leaf("p", &format!("First: {}", sighting(first)));
        }
        for line in words::explained(pattern) {
            page.leaf("p class=\"why\"", &line);
        }
        page.leaf("p class=\"about\"", &statistics(pattern, noisy));
        let written =
            page.within(EXAMPLES_BYTES, pattern.examples.iter(), |page, each| example(pattern.kind, each, page));
        page.left_out(written, pattern.examples.len(), "examples");
    });
}

/// Begins a fragment with a capital letter and ends it.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Says which of all ways were looked at, where not all were.
fn some_of(one_in: u64) -> String {
    if one_in > 1 { format!(" (too many for memory: one way in {one_in} was looked at)") } else { String::new() }
}

/// Says what stands behind a standing.
fn statistics(pattern: &Pattern, noisy: &str) -> String {
    if pattern.expected_by.is_some() && pattern.statistics.p_value.is_none() {
        let compared = counted(pattern.statistics.compared, "identity", "identities");
        return format!("Of {compared} compared; no test of chance, as it is held against what is expected.");
    }
    let Statistics { compared, odd_new, odd_any, odd_all, p_value, q_value, recurred, noise_rate, seen_in_old, .. } =
        &pattern.statistics;
    let (alone, itself) = if noisy == "new" { ("production", "New") } else { ("new", "Old") };
    let mut text = format!(
        "Of {} compared, {alone} alone disagrees at {}, exactly one drive at {}, all differ at {}. {itself} against itself: {}.",
        counted(*compared, "identity", "identities"),
        count(*odd_new),
        count(*odd_any),
        count(*odd_all),
        count(pattern.noise_count)
    );
    if *odd_any > 0 && *odd_any < pattern.count {
        text += " What differs in one go, by key, counts there once.";
    }
    match (p_value, q_value) {
        (Some(p), Some(q)) => {
            let _ = write!(text, " Chance: p {}, adjusted {}.", probability(*p), probability(*q));
        }
        (Some(p), None) => {
            let _ = write!(text, " Chance: p {}.", probability(*p));
        }
        (None, _) => {
            let _ = write!(text, " Chance was not tested: {noisy} was driven once.");
        }
    }
    if let Some(p) = pattern.statistics.p_beside_noise.filter(|p| Some(*p) != *p_value) {
        let _ = write!(text, " Beside all that is odd in {noisy}: p {}.", probability(p));
    }
    if let Some(p) = pattern.statistics.p_by_stretch.filter(|_| *odd_any > 0) {
        let _ = write!(text, " By stretch of the outputs, which change together: p {}.", probability(p));
    }
    if let Some(rate) = noise_rate {
        let _ = match seen_in_old {
            true => write!(text, " Noise: about {} of identities.", share(*rate)),
            false => write!(text, " Noise: none seen here, so at most {} of identities (95 %).", share(*rate)),
        };
    }
    if let Some(recurred) = recurred {
        let _ = write!(
            text,
            " When new was driven again, {} came back with the same value.",
            counted(*recurred, "identity", "identities")
        );
    }
    if let (Some(new), Some(any), Some(p)) =
        (pattern.statistics.pairs_new, pattern.statistics.pairs_any, pattern.statistics.p_pairs)
    {
        let _ = write!(
            text,
            " Two drives stand apart together at {}, at {} of them both of new: p {}.",
            count(any),
            count(new),
            probability(p)
        );
    }
    for (couples, what) in [
        (&pattern.statistics.couples_by_change, "by what changed"),
        (&pattern.statistics.couples_by_value, "by what it became"),
    ] {
        if let Some(couples) = couples {
            let _ = write!(
                text,
                " Of {} in which two drives depart together from all others, told apart {what}{}, one shows at {}, at {} of them both of new: p {}.",
                counted(couples.classes, "way", "ways"),
                some_of(couples.one_in),
                count(couples.any),
                count(couples.new),
                probability(couples.p_value)
            );
        }
    }
    if let Some(p) = pattern.statistics.p_again {
        let _ = write!(text, " What it did elsewhere: p {}.", probability(p));
    }
    if let Some(p) = pattern.statistics.p_again_apart {
        let _ = write!(text, " What new again did wherever old agrees: p {}.", probability(p));
    }
    text
}

fn totals(report: &Report, page: &mut Page) {
    page.leaf("h3", "All of it, by kind");
    page.inside("dl", |page| {
        let mut fact = |label: &str, text: &str| {
            page.leaf("dt", label);
            page.leaf("dd", text);
        };
        fact("Outputs compared", &outputs(report));
        if !report.causes.is_empty() {
            fact("With a cause", &words::causes(report).join("; "));
        }
        fact("Identities", &count(report.identities));
        fact("Old against new", &words::by_kind(&report.differences));
        let noise = report.noise.as_ref().map_or(words::no_noise(report), words::by_kind);
        fact(
            if words::noisy(report) == "new" {
                "New against new again (noise)"
            } else {
                "Old against old again (noise)"
            },
            &noise,
        );
        let power = report
            .power
            .map(|power| format!("a change of {} would have been proven (95 %)", counted(power, "output", "outputs")));
        fact("Power", &power.unwrap_or_else(|| format!("not known: {} was driven once", words::noisy(report))));
    });
    if !report.silenced.is_empty() {
        page.leaf("h3", "Silenced by rules");
        let rules: Vec<_> = report.silenced.iter().collect();
        page.list(RULES_BYTES, "rules", &rules, |page, (rule, n)| {
            page.leaf("code", rule);
            page.text(&format!(" {}", counted(**n, "difference", "differences")));
        });
    }
}

fn outputs(report: &Report) -> String {
    if report.outputs.is_empty() {
        return "none".to_owned();
    }
    report
        .outputs
        .iter()
        .map(|(drive, n)| format!("{} {}", drive.replace('_', "-"), count(*n)))
        .collect::<Vec<_>>()
        .join(", ")
}
