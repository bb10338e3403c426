//! What `rehearsal run` prints at its end: the verdict first, then what stands behind it, 100 columns wide.

mod lines;
mod patterns;

use lines::{Paint, Printed};

use super::Report;
use super::answers::{Tone, answers, builds_line, quantile};
use super::builds;
use super::business;
use super::figures::{change, count, counted, cut, figure, share, time};
use super::words::{self, build, given, name, or_dash, sighting};
use crate::compare::{GateResult, Idempotency, Latency, Pattern, Standing, Verdict};
use crate::outcome::Ending;

/// How many items of any other list are printed.
const LIST_MAX: usize = 30;

/// How many drives are printed with what they were behind.
const BEHIND_MAX: usize = 8;

/// Characters of a command.
const COMMAND_MAX: usize = 400;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colours {
    /// Plain text.
    #[default]
    Never,
    /// ANSI escape sequences, for a terminal.
    Ansi,
}

/// How and with what the terminal's text is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct TerminalStyle<'a> {
    /// Whether it is coloured.
    pub colours: Colours,
    /// Folder of the run, in which the report stands; left out where none.
    pub folder: Option<&'a str>,
}

/// Writes one pattern of `report` for a terminal, with its examples, as a person who decides about it wants to see it.
pub fn one_pattern(report: &Report, pattern: &Pattern, colours: Colours) -> String {
    let mut out = Printed::new(colours);
    patterns::whole(report, pattern, &mut out);
    out.finish()
}

/// Writes `report` for a terminal.
pub fn terminal(report: &Report, style: TerminalStyle<'_>) -> String {
    let mut out = Printed::new(style.colours);
    head(report, &mut out);
    answer_lines(report, &mut out);
    patterns::patterns(report, &mut out);
    patterns::expected(report, &mut out);
    let against = report.against.as_ref().map_or(&[][..], |against| &against.says);
    listed("Against what production wrote", "sentences", against, &mut out);
    totals(report, &mut out);
    listed("State", "topics", &super::state::lines(report), &mut out);
    business(report, &mut out);
    idempotency(report, &mut out);
    effects(report, &mut out);
    registry(report, &mut out);
    flags(report, &mut out);
    wall_clock(report, &mut out);
    relations(report, &mut out);
    latency(report, &mut out);
    behind(report, &mut out);
    listed("Over time", "lines", &super::over_time::lines(report), &mut out);
    isolation(report, &mut out);
    listed("Sinks: what builds left elsewhere than on topics", "sinks", &words::sinks(report), &mut out);
    listed("Resources: what the processes of each drive used", "drives", &words::resources(report), &mut out);
    metrics(report, &mut out);
    fidelity(report, &mut out);
    faults(report, &mut out);
    drives(report, &mut out);
    gates(report, &mut out);
    warnings(report, &mut out);
    foot(report, style.folder, &mut out);
    out.finish()
}

fn head(report: &Report, out: &mut Printed) {
    let paint = match report.verdict {
        Verdict::Agree => Paint::Good,
        Verdict::Differ => Paint::Bad,
        Verdict::NoVerdict => Paint::Unsure,
    };
    let scenario = given(&report.scenario.name).map(|name| format!("{name}: ")).unwrap_or_default();
    out.banner(paint, &words::verdict(report.verdict).to_uppercase(), &format!("{scenario}{}", builds_line(report)));
    if let Some(question) = &report.scenario.question {
        out.wrapped(2, Paint::Quiet, question);
    }
    out.blank();
    if report.reasons.is_empty() {
        out.wrapped(2, Paint::Plain, words::verdict_meaning(report.verdict));
    }
    sentences(&report.reasons, "reasons", out);
    out.blank();
}

fn answer_lines(report: &Report, out: &mut Printed) {
    for answer in answers(report) {
        let paint = match answer.tone {
            Tone::Good => Paint::Good,
            Tone::Bad => Paint::Bad,
            Tone::Unsure => Paint::Unsure,
            Tone::Quiet => Paint::Quiet,
        };
        out.labelled(answer.question, paint, &answer.headline);
        answer.lines.iter().for_each(|line| out.under_label(line));
    }
}

fn totals(report: &Report, out: &mut Printed) {
    out.heading("Outputs", "");
    let outputs = report
        .outputs
        .iter()
        .map(|(drive, n)| format!("{} {}", drive.replace('_', "-"), count(*n)))
        .collect::<Vec<_>>();
    out.fact("by drive", if outputs.is_empty() { "none" } else { "" }, &outputs.join(", "));
    for (at, text) in words::causes(report).iter().enumerate() {
        out.fact(if at == 0 { "with a cause" } else { "" }, "", text);
    }
    out.fact("differences", "", &format!("{} (old against new, raw)", words::by_kind(&report.differences)));
    let noise = report.noise.as_ref().map(words::by_kind);
    let noise =
        noise.map_or(words::no_noise(report), |noise| format!("{noise} ({0} against {0} again)", words::noisy(report)));
    out.fact("noise", "", &noise);
    if let Some(power) = report.power {
        out.fact(
            "power",
            "",
            &format!("a change of {} would have been proven (95 %)", counted(power, "output", "outputs")),
        );
    }
    limited(report.silenced.iter(), "rules", out, |(rule, n), out| {
        out.fact("silenced", "", &format!("{} by {rule}", count(*n)));
    });
}

fn business(report: &Report, out: &mut Printed) {
    let rows = business::rows(report);
    if rows.is_empty() {
        return;
    }
    out.heading("Figures of the business", "what the outputs of each drive come to");
    let widths = [40, 18, 18, 22];
    out.columns(Paint::Quiet, &["", "old", "new", "new less old"], &widths);
    limited(rows.iter(), "figures", out, |row, out| {
        let paint = if row.standing == Some(Standing::Proven) { Paint::Bad } else { Paint::Plain };
        out.columns(paint, &[&row.name, &row.old, &row.new, &row.away], &widths);
        row.says.iter().for_each(|said| out.wrapped(4, Paint::Quiet, said));
    });
}

fn idempotency(report: &Report, out: &mut Printed) {
    out.heading("Redelivery: each build against itself, with and without repeated deliveries", "");
    let Some(Idempotency { old, new, increase, broken_by_new, broken_by_both, mended_by_new, .. }) =
        &report.idempotency
    else {
        out.wrapped(2, Paint::Quiet, "Not asked: no fault of this run redelivers, or the relation is off.");
        return;
    };
    let widths = [44, 16, 16];
    out.columns(Paint::Quiet, &["", "old", "new"], &widths);
    for (label, old, new) in words::redelivery_rows(old, new) {
        let effect = label.starts_with("repeated") || label.starts_with("changed");
        let paint = if effect && new > old { Paint::Bad } else { Paint::Plain };
        out.columns(paint, &[label, &count(old), &count(new)], &widths);
    }
    let standing = increase.map_or("not tested".to_owned(), name);
    out.wrapped(
        2,
        Paint::Plain,
        &format!(
            "Identities repeated by new alone {}, by both {}, by old alone {}; increase: {standing}.",
            count(*broken_by_new),
            count(*broken_by_both),
            count(*mended_by_new)
        ),
    );
    for example in new.examples.iter().take(2) {
        let cause = example.cause.as_ref().map_or("cause not known".to_owned(), sighting);
        out.wrapped(2, Paint::Plain, &format!("{} repeated by new: {cause}", example.identity));
    }
}

fn registry(report: &Report, out: &mut Printed) {
    let Some(registry) = report.registry.as_ref().filter(|registry| !registry.says.is_empty()) else { return };
    out.heading("Schema registry", "");
    sentences(&registry.says, "schemas", out);
}

fn flags(report: &Report, out: &mut Printed) {
    let Some(flags) = report.flags.as_ref().filter(|flags| !flags.says.is_empty()) else { return };
    out.heading("Flags", "");
    sentences(&flags.says, "flags", out);
}

fn wall_clock(report: &Report, out: &mut Printed) {
    let Some(clock) = &report.wall_clock else { return };
    out.heading("Wall clock", "");
    sentences(&clock.says, "clocks", out);
}

fn effects(report: &Report, out: &mut Printed) {
    if report.effects.is_empty() {
        return;
    }
    out.heading("Effects: calls to the outside, answered by stubs", "");
    for effect in &report.effects {
        if let Some(repeats) = &effect.repeats {
            out.wrapped(2, Paint::Plain, &format!("{}: {repeats}.", effect.name));
        }
    }
    let widths = [20, 14, 14, 14, 14, 14];
    out.columns(Paint::Quiet, &["", "drive", "calls", "no rule", "failed", "no answer"], &widths);
    limited(words::effect_rows(report).iter(), "rows", out, |row, out| {
        out.columns(Paint::Plain, &row.each_ref().map(String::as_str), &widths);
    });
}

fn relations(report: &Report, out: &mut Printed) {
    if report.relations.is_empty() {
        return;
    }
    out.heading("Relations", "");
    limited(report.relations.iter(), "relations", out, |relation, out| {
        let note = given(&relation.note).map(|note| format!(": {note}")).unwrap_or_default();
        out.fact(&relation.name, &relation.result, &note);
    });
}

fn latency(report: &Report, out: &mut Printed) {
    out.heading("Latency, from due time to arrival", "");
    let Some(Latency { old, new, increases }) = &report.latency else {
        out.wrapped(2, Paint::Quiet, words::no_latency(report));
        return;
    };
    let widths = [12, 14, 14, 58];
    out.columns(Paint::Quiet, &["", "old", "new", "increase where both wrote (95 %); old again, floor"], &widths);
    for (q, old, new) in [
        (Some(0.5), old.p50_us, new.p50_us),
        (Some(0.9), old.p90_us, new.p90_us),
        (Some(0.95), old.p95_us, new.p95_us),
        (Some(0.99), old.p99_us, new.p99_us),
        (Some(0.999), old.p999_us, new.p999_us),
        (None, old.max_us, new.max_us),
    ] {
        let increase = increases.iter().find(|increase| q.is_some_and(|q| (increase.quantile - q).abs() < 1e-9));
        let text = increase.map(|increase| {
            let (from, to) = increase.interval;
            let slower = if increase.slower { " slower" } else { "" };
            let noise =
                increase.noise.as_ref().map(|noise| format!("; {}, {}", change(noise.increase), share(noise.floor)));
            let noise = noise.unwrap_or_default();
            format!("{} ({} to {}){noise}{slower}", change(increase.increase), change(from), change(to))
        });
        let paint = if increase.is_some_and(|increase| increase.slower) { Paint::Bad } else { Paint::Plain };
        let label = q.map_or("largest".to_owned(), quantile);
        out.columns(paint, &[&label, &or_dash(old.map(time)), &or_dash(new.map(time)), &or_dash(text)], &widths);
    }
    out.columns(Paint::Quiet, &["outputs", &count(old.count), &count(new.count), ""], &widths);
}

fn behind(report: &Report, out: &mut Printed) {
    let rows = words::behind(report);
    if rows.is_empty() {
        return;
    }
    let widths = [14, 18, 16, 16, 18];
    for (heading, of) in [
        ("Lag: events that were visible and not committed", 1..5),
        ("Freshness: age of the oldest event that was visible and not committed", 5..9),
    ] {
        out.heading(heading, "");
        out.columns(Paint::Quiet, &["", "largest", "p99 over time", "at the end", "largest at"], &widths);
        for row in rows.iter().take(BEHIND_MAX) {
            let cells: Vec<&str> = row[..1].iter().chain(&row[of.clone()]).map(String::as_str).collect();
            out.columns(Paint::Plain, &cells, &widths);
        }
    }
    if let Some(left @ 1..) = rows.len().checked_sub(BEHIND_MAX) {
        out.wrapped(2, Paint::Quiet, &format!("{} more drives not printed; run.json has all.", count(left as u64)));
    }
}

fn fidelity(report: &Report, out: &mut Printed) {
    let fidelity = &report.fidelity;
    out.heading("Fidelity: how well the schedule was kept", "");
    out.fact("pace", "", given(&fidelity.pace).unwrap_or("not known"));
    let kept = match fidelity.on_schedule {
        Some(true) => "yes",
        Some(false) => "no: timing is not judged",
        None => "does not apply: no schedule was kept",
    };
    let bounds = given(&fidelity.bounds).map(|bounds| format!(" (bounds: {bounds})")).unwrap_or_default();
    out.fact("on schedule", kept, &bounds);
    for (label, text) in [("clock", &fidelity.clock), ("enforced", &fidelity.enforced)] {
        if let Some(text) = given(text) {
            out.fact(label, "", text);
        }
    }
    for (drive, late) in &fidelity.lateness {
        let text = format!(
            "late p50 {}, p99 {}, p99.9 {}, largest {}; {} beyond 5 ms; slow-down {}",
            time(late.p50_us),
            time(late.p99_us),
            time(late.p999_us),
            time(late.max_us),
            share(late.beyond_5ms),
            share(late.slow_down)
        );
        out.fact(drive, "", &text);
    }
    if fidelity.gaps_cut > 0 {
        let cut = counted(fidelity.gaps_cut, "silence", "silences");
        out.fact("cut", "", &format!("{cut}, {} of replay time", time(fidelity.gaps_cut_us)));
    }
}

fn metrics(report: &Report, out: &mut Printed) {
    let metrics = words::metrics(report);
    if metrics.is_empty() {
        return;
    }
    out.heading("Figures of the builds", "as each drive had them last");
    let widths = [60, 18, 18];
    out.columns(Paint::Quiet, &["", "old", "new"], &widths);
    limited(metrics.iter(), "figures", out, |row, out| {
        out.columns(Paint::Plain, &row.each_ref().map(String::as_str), &widths);
    });
}

fn faults(report: &Report, out: &mut Printed) {
    if report.faults.is_empty() {
        return;
    }
    out.heading("Faults", "class A: nothing broken; B: failures or ordinary settings; C: outside Kafka's promise");
    let widths = [30, 14, 8, 20, 20];
    out.columns(Paint::Quiet, &["name", "kind", "class", "planned", "fired"], &widths);
    limited(report.faults.iter(), "faults", out, |fault, out| {
        let paint = if words::is_silent(fault) { Paint::Unsure } else { Paint::Plain };
        let cells = [fault.name.as_str(), &fault.kind, &fault.legality, &words::planned(fault), &count(fault.fired)];
        out.columns(paint, &cells, &widths);
        let coverage =
            fault.coverage.iter().map(|(name, value)| format!("{name} {}", figure(*value))).collect::<Vec<_>>();
        if !coverage.is_empty() {
            out.wrapped(4, Paint::Quiet, &coverage.join(", "));
        }
        for line in words::at_requests(fault) {
            out.wrapped(4, Paint::Quiet, &line);
        }
    });
}

fn drives(report: &Report, out: &mut Printed) {
    if report.drives.is_empty() {
        return;
    }
    out.heading("Drives", "");
    let widths = [12, 18, 16, 14, 16, 16];
    out.columns(Paint::Quiet, &["", "ending", "handed over", "of", "outputs", "length"], &widths);
    for drive in &report.drives {
        let failed = drive.ending != Ending::Finished;
        let paint = if failed { Paint::Bad } else { Paint::Plain };
        let cells = [
            &drive.drive,
            &name(drive.ending),
            &count(drive.sent),
            &count(drive.deliveries),
            &count(drive.outputs),
            &time(drive.length_us),
        ];
        out.columns(paint, &cells.map(String::as_str), &widths);
        if failed {
            out.wrapped(4, Paint::Plain, given(&drive.reason).unwrap_or("no reason is known"));
            let skipped = drive.stderr_tail.len().saturating_sub(5);
            drive.stderr_tail.iter().skip(skipped).for_each(|line| out.line(4, Paint::Quiet, &format!("│ {line}")));
        } else if let Some(reason) = given(&drive.reason) {
            out.wrapped(4, Paint::Quiet, reason);
        }
        for line in words::instances(drive) {
            out.wrapped(4, Paint::Quiet, &line);
        }
    }
}

fn isolation(report: &Report, out: &mut Printed) {
    let lines = super::isolation::lines(report);
    if lines.is_empty() {
        return;
    }
    out.heading("Isolation", "");
    limited(lines.iter(), "lines", out, |(label, text), out| out.fact(label, "", text));
}

/// Prints a section of sentences; nothing where there are none.
fn listed(heading: &str, what: &str, lines: &[String], out: &mut Printed) {
    if !lines.is_empty() {
        out.heading(heading, "");
        sentences(lines, what, out);
    }
}

fn gates(report: &Report, out: &mut Printed) {
    out.heading("Gates", "");
    let kept = |gate: &&GateResult| gate.default && gate.pass == Some(true);
    let widths = [34, 18, 22, 20];
    if report.gates.is_empty() {
        out.wrapped(2, Paint::Quiet, "None.");
        return;
    }
    out.columns(Paint::Quiet, &["", "limit", "observed", "result"], &widths);
    let shown: Vec<&GateResult> = report.gates.iter().filter(|gate| !kept(gate)).collect();
    limited(shown.into_iter(), "gates", out, |gate, out| {
        let paint = match (gate.pass, gate.warning) {
            (Some(true), _) => Paint::Plain,
            (Some(false), false) => Paint::Bad,
            (Some(false), true) | (None, _) => Paint::Unsure,
        };
        let observed = or_dash(gate.observed.clone());
        out.columns(paint, &[&gate.name, &gate.limit, &observed, words::gate_result(gate)], &widths);
        if let Some(note) = gate.note.as_deref().and_then(given) {
            out.wrapped(4, Paint::Quiet, note);
        }
    });
    let rest: Vec<&str> = report.gates.iter().filter(kept).map(|gate| gate.name.as_str()).collect();
    if !rest.is_empty() {
        out.wrapped(2, Paint::Quiet, &format!("Kept, by default: {}.", rest.join(", ")));
    }
}

fn warnings(report: &Report, out: &mut Printed) {
    if report.warnings.is_empty() {
        return;
    }
    out.heading("Warnings", "");
    sentences(&report.warnings, "warnings", out);
}

fn sentences(sentences: &[String], what: &str, out: &mut Printed) {
    limited(sentences.iter(), what, out, |sentence, out| out.bullet(sentence));
}

/// Prints the first of many items and says how many are left.
fn limited<T>(
    items: impl ExactSizeIterator<Item = T>,
    what: &str,
    out: &mut Printed,
    mut print: impl FnMut(T, &mut Printed),
) {
    let left = items.len().saturating_sub(LIST_MAX);
    items.take(LIST_MAX).for_each(|item| print(item, out));
    if left > 0 {
        out.wrapped(2, Paint::Quiet, &format!("{} more {what} not printed; run.json has all.", count(left as u64)));
    }
}

fn foot(report: &Report, folder: Option<&str>, out: &mut Printed) {
    out.blank();
    let recording = &report.recording;
    if let Some(path) = given(&recording.path) {
        out.fact("recording", "", &format!("{path}, {}", counted(recording.events, "event", "events")));
    }
    if let Some(missing) = words::missing(recording) {
        out.fact("missing", "", &missing);
    }
    out.fact("seed", "", &report.seed.to_string());
    for role in ["old", "new"] {
        if let Some(facts) = report.builds.get(role) {
            out.fact(role, build(report, role), &format!(": {}", cut(&words::command(facts), COMMAND_MAX)));
            if let Some(known) = given(&builds::known_by(facts)) {
                out.fact("", "", known);
            }
        }
    }
    if let Some(said) = builds::outcome_of_old(report) {
        out.fact("outcome of old", "", &said);
    }
    // Not wrapped: a path or a command that is cut in two cannot be copied.
    if let Some(folder) = folder {
        out.copyable("report", &format!("{}/report.html", folder.trim_end_matches('/')));
    }
    if let Some(reproduce) = given(&report.reproduce) {
        out.copyable("again with", reproduce);
    }
}
