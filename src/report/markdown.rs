//! `summary.md`: the report as the comment of a pull request, under 60 kB.
//!
//! Text from recordings and builds stands in code spans, in which nothing is a link, a mention or markup.

use super::answers::{answers, builds_line, quantile};
use super::apart::{self, Of};
use super::builds;
use super::business;
use super::figures::{Lines, change, count, counted, cut, figure, share, time, visible};
use super::words::{self, Heading, given, mark, name, noise, or_dash, patterns_of, sighting};
use super::{DriveFacts, Report};
use crate::compare::{Apart, Example, Pattern, Shown, Verdict};
use crate::outcome::Ending;
use std::fmt::Write as _;

/// Bytes of the whole comment: GitHub takes 65,536 characters.
const BYTES_MAX: usize = 60_000;

/// Bytes that the patterns may take, so that the rest always has room.
const PATTERNS_BYTES_MAX: usize = 24_000;

/// Bytes that the rows of any other list may take.
const LIST_BYTES_MAX: usize = 4_000;

/// Characters of one cell or span.
const SPAN_MAX: usize = 200;

/// Writes `report` for a pull request.
pub(super) fn markdown(report: &Report) -> String {
    let sections: [fn(&Report) -> String; 25] = [
        head,
        answer_table,
        against,
        patterns,
        expected,
        state,
        business_figures,
        idempotency,
        effects,
        registry,
        flags,
        wall_clock,
        latency,
        behind,
        over_time,
        isolation,
        sinks,
        resources,
        metrics,
        fidelity,
        faults,
        drives,
        gates,
        warnings,
        foot,
    ];
    let mut text = String::new();
    for section in sections {
        let written = section(report);
        // Every section is bounded by itself; this holds even if one grows.
        if text.len() + written.len() > BYTES_MAX {
            text += "\n_The rest is left out; `report.html` has it._\n";
            break;
        }
        text += &written;
    }
    text
}

fn head(report: &Report) -> String {
    let mark = match report.verdict {
        Verdict::Agree => "✅",
        Verdict::Differ => "❌",
        Verdict::NoVerdict => "⚠️",
    };
    let scenario = given(&report.scenario.name).map(|name| format!("{}: ", prose(name))).unwrap_or_default();
    let mut text =
        format!("## {mark} {} · {scenario}{}\n\n", words::verdict(report.verdict), prose(&builds_line(report)));
    if let Some(question) = &report.scenario.question {
        let _ = write!(text, "> {}\n\n", prose(question));
    }
    if report.reasons.is_empty() {
        let _ = writeln!(text, "{}", words::verdict_meaning(report.verdict));
    }
    text + &listed(&report.reasons, "reasons", |reason| format!("- {}\n", prose(reason)))
}

fn answer_table(report: &Report) -> String {
    let mut text = String::from("\n| | |\n|---|---|\n");
    for answer in answers(report) {
        let lines = answer.lines.iter().map(|line| prose(line)).collect::<Vec<_>>().join("<br>");
        let _ = writeln!(text, "| **{}** | **{}**<br>{lines} |", answer.question, prose(&answer.headline));
    }
    text
}

fn against(report: &Report) -> String {
    let Some(against) = &report.against else { return String::new() };
    let said = listed(&against.says, "sentences", |said| format!("- {}\n", prose(said)));
    format!("\n### Against what production wrote\n\n{said}")
}

fn patterns(report: &Report) -> String {
    let mut text = String::new();
    let mut left_out = 0;
    for heading in Heading::ALL {
        let patterns = patterns_of(report, heading);
        if patterns.is_empty() {
            continue;
        }
        let opened = format!(
            "\n### {} ({})\n\n{}\n\n| kind | topic | path | change | new | noise | first |\n|---|---|---|---|--:|--:|---|\n",
            heading.title(),
            count(patterns.len() as u64),
            heading.meaning(report)
        );
        text += &opened;
        for pattern in &patterns {
            let row = pattern_row(pattern);
            if text.len() + row.len() > PATTERNS_BYTES_MAX {
                left_out += 1;
            } else {
                text += &row;
            }
        }
        text += &why(&patterns, PATTERNS_BYTES_MAX.saturating_sub(text.len()));
        if heading == Heading::Proven {
            text += &example(&patterns);
        }
    }
    if left_out > 0 {
        let left = count(left_out);
        let _ = writeln!(text, "\n_{left} more patterns are left out; `report.html` and `run.json` have them._");
    }
    text
}

fn pattern_row(pattern: &Pattern) -> String {
    let id = (!pattern.id.is_empty()).then(|| format!("`{}`", pattern.id));
    let kind = std::iter::once(name(pattern.kind)).chain(mark(pattern).map(str::to_owned)).chain(id);
    let kind = kind.collect::<Vec<_>>().join("; ");
    format!(
        "| {kind} | {} | {} | {} | {} | {} | {} |\n",
        cell(&pattern.topic),
        pattern.path.as_deref().map(cell).unwrap_or_default(),
        pattern.change.map(name).unwrap_or_default(),
        count(pattern.count),
        noise(pattern),
        or_dash(pattern.first.as_ref().map(|first| prose(&sighting(first)))),
    )
}

/// Bytes that what was expected may take.
const EXPECTED_BYTES_MAX: usize = 8_000;

/// Writes what was expected and accepted, what has to be looked at first.
fn expected(report: &Report) -> String {
    if report.expected.is_empty() {
        return String::new();
    }
    let (kept, open): (Vec<_>, Vec<_>) = report.expected.iter().partition(|one| super::expected::is_kept(one));
    let mut text = String::from(
        "\n### Expected and accepted\n\n| what | | what became of it | why, who, until when |\n|---|---|---|---|\n",
    );
    let mut left_out = 0_u64;
    for one in open.into_iter().chain(kept) {
        let id = one.id.as_ref().map(|id| format!("`{id}` ")).unwrap_or_default();
        let state = super::expected::state(one);
        let cells = [one.what(), one.became(), one.reason()].map(|text| cell(&text));
        let row = format!("| {id}{} | {state} | {} | {} |\n", cells[0], cells[1], cells[2]);
        if text.len() + row.len() > EXPECTED_BYTES_MAX {
            left_out += 1;
        } else {
            text += &row;
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "\n_{} more are left out; `report.html` and `run.json` have them._", count(left_out));
    }
    text
}

/// Writes why differences are there, pattern by pattern, and says so where there is no room for all.
fn why(patterns: &[&Pattern], bytes_max: usize) -> String {
    let mut text = String::new();
    for pattern in patterns {
        let lines = words::explained(pattern);
        if lines.is_empty() {
            continue;
        }
        let lines = lines.iter().map(|line| prose(line)).collect::<Vec<_>>().join("<br>");
        let written = format!("- {}: {lines}\n", prose(&words::signature(pattern)));
        if text.len() + written.len() > bytes_max {
            return text + "\n_Why the others differ is left out; `report.html` and `run.json` have it._\n";
        }
        text += &written;
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Writes the first example of the first pattern as a diff.
fn example(patterns: &[&Pattern]) -> String {
    let found = patterns.iter().find_map(|pattern| Some((pattern.kind, pattern.examples.first()?)));
    let Some((kind, example)) = found else { return String::new() };
    let Example { identity, old, new, .. } = example;
    let value = |shown: &Option<Shown>| match shown {
        Some(shown) => shown.value.clone().unwrap_or_else(|| "null".to_owned()),
        None => format!("({})", words::absent(kind)),
    };
    // A fence longer than any run of backticks within cannot be closed by a value.
    let (old, new) = (visible(&value(old), Lines::Show).into_owned(), visible(&value(new), Lines::Show).into_owned());
    let fence = "`".repeat(3.max(longest_backticks(&old).max(longest_backticks(&new)) + 1));
    if let Some(places) = words::places(example) {
        return format!("\nFirst example, {}, {places}:\n\n{fence}\n{}\n{fence}\n", code(identity), cut(&old, 1_000));
    }
    if let Some(apart) = &example.apart {
        return format!("\nFirst example, {}:\n\n{}", code(identity), taken_apart(apart));
    }
    format!(
        "\nFirst example, {}:\n\n{fence}diff\n- {}\n+ {}\n{fence}\n",
        code(identity),
        cut(&old, 1_000),
        cut(&new, 1_000)
    )
}

/// Writes how two values are apart as a diff.
fn taken_apart(apart: &Apart) -> String {
    let line = |(of, text): (Of, String)| {
        let sign = match of {
            Of::Old => '-',
            Of::New => '+',
            Of::Both | Of::Nobody => ' ',
        };
        format!("{sign} {}", cut(&visible(&text, Lines::Show), 300)).trim_end().to_owned()
    };
    let text = apart::lines(apart).into_iter().map(line).collect::<Vec<_>>().join("\n");
    let fence = "`".repeat(3.max(longest_backticks(&text) + 1));
    format!("{fence}diff\n{text}\n{fence}\n")
}

fn state(report: &Report) -> String {
    let lines = super::state::lines(report);
    if lines.is_empty() {
        return String::new();
    }
    format!("\n### State\n\n{}", listed(&lines, "topics", |line| format!("- {}\n", prose(line))))
}

fn business_figures(report: &Report) -> String {
    let rows = business::rows(report);
    if rows.is_empty() {
        return String::new();
    }
    let listed = listed(&rows, "figures", |row| {
        let says = row.says.iter().map(|said| prose(said)).collect::<Vec<_>>().join("; ");
        format!("| {} | {} | {} | {} | {says} |\n", cell(&row.name), prose(&row.old), prose(&row.new), prose(&row.away))
    });
    format!("\n### Figures of the business\n\n| figure | old | new | new less old | |\n|---|--:|--:|--:|---|\n{listed}")
}

fn idempotency(report: &Report) -> String {
    let Some(idempotency) = &report.idempotency else { return String::new() };
    let (old, new) = (&idempotency.old, &idempotency.new);
    let mut text =
        String::from("\n### If deliveries repeat\n\n| each build against itself | old | new |\n|---|--:|--:|\n");
    for (label, old, new) in words::redelivery_rows(old, new) {
        let _ = writeln!(text, "| {label} | {} | {} |", count(old), count(new));
    }
    text += "\n";
    for example in new.examples.iter().take(3) {
        let cause = example.cause.as_ref().map_or("cause not known".to_owned(), |cause| prose(&sighting(cause)));
        let _ = writeln!(text, "- {} repeated by new: {cause}", code(&example.identity));
    }
    text
}

fn registry(report: &Report) -> String {
    let Some(registry) = report.registry.as_ref().filter(|registry| !registry.says.is_empty()) else {
        return String::new();
    };
    let said = listed(&registry.says, "schemas", |said| format!("- {}\n", prose(said)));
    format!("\n### Schema registry\n\n{said}")
}

fn flags(report: &Report) -> String {
    let Some(flags) = report.flags.as_ref().filter(|flags| !flags.says.is_empty()) else {
        return String::new();
    };
    let said = listed(&flags.says, "flags", |said| format!("- {}\n", prose(said)));
    format!("\n### Flags\n\n{said}")
}

fn wall_clock(report: &Report) -> String {
    let Some(clock) = &report.wall_clock else { return String::new() };
    let said = listed(&clock.says, "clocks", |said| format!("- {}\n", prose(said)));
    format!("\n### Wall clock\n\n{said}")
}

fn effects(report: &Report) -> String {
    if report.effects.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n### Effects\n\n");
    for effect in &report.effects {
        if let Some(repeats) = &effect.repeats {
            let _ = writeln!(text, "- {}: {}", prose(&effect.name), prose(repeats));
        }
    }
    text += "\n| effect | drive | calls | no rule | failed | no answer |\n|---|---|--:|--:|--:|--:|\n";
    let rows = words::effect_rows(report);
    text += &listed(&rows, "rows", |row| {
        let cells: Vec<String> = row.iter().map(|cell| prose(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    });
    text
}

fn latency(report: &Report) -> String {
    let Some(latency) = &report.latency else { return String::new() };
    let (old, new) = (&latency.old, &latency.new);
    let mut text = String::from(
        "\n### Latency\n\n| | old | new | increase where both wrote (95 % interval) | old again | noise floor |\n|---|--:|--:|---|--:|--:|\n",
    );
    for (q, old, new) in [
        (0.5, old.p50_us, new.p50_us),
        (0.9, old.p90_us, new.p90_us),
        (0.95, old.p95_us, new.p95_us),
        (0.99, old.p99_us, new.p99_us),
        (0.999, old.p999_us, new.p999_us),
    ] {
        let increase = latency.increases.iter().find(|increase| (increase.quantile - q).abs() < 1e-9);
        let noise = increase.and_then(|increase| increase.noise.as_ref());
        let increase = increase.map(|increase| {
            let (from, to) = increase.interval;
            let slower = if increase.slower { " **slower**" } else { "" };
            format!("{} ({} to {}){slower}", change(increase.increase), change(from), change(to))
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            quantile(q),
            or_dash(old.map(time)),
            or_dash(new.map(time)),
            or_dash(increase),
            or_dash(noise.map(|noise| change(noise.increase))),
            or_dash(noise.map(|noise| share(noise.floor)))
        );
    }
    text
}

fn behind(report: &Report) -> String {
    let rows = words::behind(report);
    if rows.is_empty() {
        return String::new();
    }
    let heading = format!(
        "\n### Lag in events and freshness\n\nWhat was visible and not committed, and its age.\n\n| {} |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        words::BEHIND.join(" | ")
    );
    heading + &listed(&rows, "drives", |row| format!("| {} |\n", row.each_ref().map(|cell| prose(cell)).join(" | ")))
}

/// What whole drives came to, and whether the lag keeps growing.
fn over_time(report: &Report) -> String {
    let lines = super::over_time::lines(report);
    if lines.is_empty() {
        return String::new();
    }
    format!("\n### Over time\n\n{}", listed(&lines, "lines", |line| format!("- {}\n", prose(line))))
}

/// The certificate of how well the schedule was kept.
fn fidelity(report: &Report) -> String {
    let fidelity = &report.fidelity;
    let kept = match fidelity.on_schedule {
        Some(true) => "yes",
        Some(false) => "**no: timing is not judged**",
        None => "does not apply: no schedule was kept",
    };
    let bounds = given(&fidelity.bounds).map(|bounds| format!(" ({})", prose(bounds))).unwrap_or_default();
    let mut text = format!("\n### Fidelity\n\n- On schedule: {kept}{bounds}\n");
    let facts = [("Pace", &fidelity.pace), ("Clock", &fidelity.clock), ("Enforced", &fidelity.enforced)];
    for (label, fact) in facts.into_iter().filter_map(|(label, fact)| Some((label, given(fact)?))) {
        let _ = writeln!(text, "- {label}: {}", prose(fact));
    }
    if fidelity.gaps_cut > 0 {
        let cut = counted(fidelity.gaps_cut, "silence", "silences");
        let _ = writeln!(text, "- Cut: {cut}, {} of replay time", time(fidelity.gaps_cut_us));
    }
    if fidelity.lateness.is_empty() {
        return text;
    }
    let lateness: Vec<_> = fidelity.lateness.iter().collect();
    let rows = listed(&lateness, "drives", |(drive, late)| {
        let times = [late.p50_us, late.p99_us, late.p999_us, late.max_us].map(time).join(" | ");
        format!("| {} | {times} | {} | {} |\n", prose(drive), share(late.beyond_5ms), share(late.slow_down))
    });
    text + "\n| late by | p50 | p99 | p99.9 | largest | beyond 5 ms | slow-down |\n|---|--:|--:|--:|--:|--:|--:|\n"
        + &rows
}

fn faults(report: &Report) -> String {
    if report.faults.is_empty() {
        return String::new();
    }
    let rows = listed(&report.faults, "faults", |fault| {
        let coverage =
            fault.coverage.iter().map(|(name, value)| format!("{name} {}", figure(*value))).collect::<Vec<_>>();
        format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            cell(&fault.name),
            prose(&fault.kind),
            prose(&fault.legality),
            words::planned(fault),
            count(fault.fired),
            prose(
                &std::iter::once(coverage.join(", "))
                    .chain(words::at_requests(fault))
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("; ")
            )
        )
    });
    format!("\n### Faults\n\n| name | kind | class | planned | fired | coverage |\n|---|---|---|--:|--:|---|\n{rows}")
}

fn sinks(report: &Report) -> String {
    let sinks = words::sinks(report);
    if sinks.is_empty() {
        return String::new();
    }
    format!("\n### Sinks\n\n{}", listed(&sinks, "sinks", |sink| format!("- {}\n", prose(sink))))
}

fn metrics(report: &Report) -> String {
    let metrics = words::metrics(report);
    if metrics.is_empty() {
        return String::new();
    }
    let rows = listed(&metrics, "figures", |[name, old, new]| format!("| {} | {old} | {new} |\n", cell(name)));
    format!("\n### Figures of the builds\n\n| series | old | new |\n|---|--:|--:|\n{rows}")
}

fn resources(report: &Report) -> String {
    let resources = words::resources(report);
    if resources.is_empty() {
        return String::new();
    }
    format!("\n### Resources\n\n{}", listed(&resources, "drives", |drive| format!("- {}\n", prose(drive))))
}

/// How each drive ended and why: those that did not finish first, as the list may be cut.
fn drives(report: &Report) -> String {
    let (finished, failed): (Vec<_>, Vec<_>) = report.drives.iter().partition(|drive| drive.ending == Ending::Finished);
    let row = |drive: &&DriveFacts| {
        let reason = given(&drive.reason).or((drive.ending != Ending::Finished).then_some("no reason is known"));
        let reason = reason.map(|reason| format!(": {}", prose(reason))).unwrap_or_default();
        let instances = words::instances(drive);
        let instances =
            if instances.is_empty() { String::new() } else { format!(" ({})", prose(&instances.join("; "))) };
        format!("- **{}** {}{reason}{instances}\n", prose(&drive.drive), name(drive.ending))
    };
    let mut text = String::new();
    for (heading, drives) in [("Drives that did not finish", failed), ("Drives that finished", finished)] {
        if !drives.is_empty() {
            let _ = write!(text, "\n### {heading}\n\n{}", listed(&drives, "drives", row));
        }
    }
    text
}

fn isolation(report: &Report) -> String {
    let lines = super::isolation::lines(report);
    if lines.is_empty() {
        return String::new();
    }
    let rows = listed(&lines, "lines", |(label, text)| format!("- **{}**: {}\n", prose(label), prose(text)));
    format!("\n### Isolation\n\n{rows}")
}

fn gates(report: &Report) -> String {
    if report.gates.is_empty() {
        return String::new();
    }
    // Those that are not kept come first, as the list may be cut.
    let (kept, shown): (Vec<_>, Vec<_>) = report.gates.iter().partition(|gate| gate.default && gate.pass == Some(true));
    let rows = listed(&shown, "gates", |gate| {
        format!(
            "| {} | {} | {} | {} | {} |\n",
            cell(&gate.name),
            prose(&gate.limit),
            or_dash(gate.observed.as_deref().map(prose)),
            words::gate_result(gate),
            gate.note.as_deref().map(prose).unwrap_or_default()
        )
    });
    let table = "| gate | limit | observed | result | |\n|---|---|---|---|---|\n";
    let table = if shown.is_empty() { String::new() } else { format!("{table}{rows}") };
    format!("\n### Gates\n\n{table}\n{} default gates kept.\n", count(kept.len() as u64))
}

fn warnings(report: &Report) -> String {
    if report.warnings.is_empty() {
        return String::new();
    }
    format!("\n### Warnings\n\n{}", listed(&report.warnings, "warnings", |warning| format!("- {}\n", prose(warning))))
}

fn foot(report: &Report) -> String {
    let mut parts = vec![format!("seed {}", report.seed)];
    if let Some(path) = given(&report.recording.path) {
        parts.push(format!("recording {} ({} events)", code(path), count(report.recording.events)));
    }
    if let Some(missing) = words::missing(&report.recording) {
        parts.push(format!("the recording lacks {missing}"));
    }
    if let Some(tool) = given(&report.tool) {
        parts.push(format!("rehearsal {}", prose(tool)));
    }
    let mut text = format!("\n---\n{}\n", parts.join(" · "));
    for role in ["old", "new"] {
        let known = report.builds.get(role).map(builds::known_by).filter(|known| !known.is_empty());
        if let Some(known) = known {
            let _ = write!(text, "\n{role}: {}, {}\n", prose(words::build(report, role)), prose(&known));
        }
    }
    if let Some(said) = builds::outcome_of_old(report) {
        let _ = write!(text, "\nOutcome of old: {}\n", prose(&said));
    }
    if let Some(reproduce) = given(&report.reproduce) {
        let _ = write!(text, "\nReproduce: {}\n", code_of(reproduce, 2_000));
    }
    text
}

/// Writes items until their bytes are spent and says how many are left out.
fn listed<T>(items: &[T], what: &str, row: impl Fn(&T) -> String) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        let written = row(item);
        if text.len() + written.len() > LIST_BYTES_MAX {
            return text + &format!("\n_{} more {what} are left out._\n", count((items.len() - index) as u64));
        }
        text += &written;
    }
    text
}

/// Writes a sentence so that nothing in it is markup, a mention or the end of a table's cell.
fn prose(text: &str) -> String {
    let shown = visible(text, Lines::Show).into_owned();
    let mut escaped = String::with_capacity(shown.len() + 16);
    for c in cut(&shown, 4 * SPAN_MAX).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '$' => escaped.extend(['\\', c]),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // An empty comment between them keeps `@name` from calling somebody.
            '@' => escaped.push_str("@<!-- -->"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Writes text as a code span.
fn code(text: &str) -> String {
    code_of(text, SPAN_MAX)
}

/// Writes text as a code span within a table, where a bar would end the cell even in code.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

fn code_of(text: &str, most: usize) -> String {
    let shown = visible(text, Lines::Show).into_owned();
    let shown = cut(&shown, most);
    if shown.trim().is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_backticks(&shown) + 1);
    let space = if shown.starts_with('`') || shown.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{shown}{space}{fence}")
}

fn longest_backticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_cannot_be_closed_from_within() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!((code("a|b").as_str(), cell("a|b").as_str()), ("`a|b`", "`a\\|b`"));
        assert_eq!(code(" "), "");
    }

    #[test]
    fn prose_neither_calls_somebody_nor_ends_a_cell() {
        assert_eq!(prose("@all | <b> `x`\n"), "@<!-- -->all \\| &lt;b&gt; \\`x\\`␊");
    }
}
