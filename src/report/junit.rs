//! JUnit XML: a testsuite a scenario, a testcase a gate and one for the verdict itself.
//!
//! No continuous integration shows green for what is no pass: `no-verdict` is an `error` of the testcase `verdict`, and so is
//! each gate that had to be judged and could not.

use super::builds;
use super::figures::{Lines, visible};
use super::words::{self, given, name, verdict_meaning};
use super::{Report, TerminalStyle, junit_properties, terminal};
use crate::compare::{GateResult, Verdict};
use std::fmt::Write as _;

/// How much of a text from elsewhere stands in an attribute, in characters.
const MESSAGE_MAX: usize = 2_000;

/// Writes reports of several scenarios as one JUnit file, a testsuite each.
pub fn junit(reports: &[&Report]) -> String {
    let suites: Vec<Suite> = reports.iter().map(|report| Suite::of(report)).collect();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let totals = suites.iter().fold(Totals::default(), |sum, suite| sum.plus(&suite.totals()));
    let _ = writeln!(xml, "<testsuites name=\"rehearsal\" {}>", totals.attributes());
    for suite in &suites {
        suite.write(&mut xml);
    }
    xml += "</testsuites>\n";
    xml
}

struct Suite<'a> {
    report: &'a Report,
    cases: Vec<Case>,
}

/// One testcase.
struct Case {
    name: String,
    result: CaseResult,
}

/// What became of a testcase: JUnit knows nothing else.
enum CaseResult {
    Passed,
    Failure { message: String, body: String },
    Error { message: String, body: String },
    Skipped { message: String },
}

#[derive(Default)]
struct Totals {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Totals {
    fn plus(self, other: &Self) -> Self {
        Self {
            tests: self.tests + other.tests,
            failures: self.failures + other.failures,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
        }
    }

    fn attributes(&self) -> String {
        let Self { tests, failures, errors, skipped } = self;
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
    }
}

impl<'a> Suite<'a> {
    fn of(report: &'a Report) -> Self {
        let mut cases = vec![Case { name: "verdict".to_owned(), result: verdict(report) }];
        cases.extend(report.gates.iter().map(|gate| Case {
            name: if gate.warning { format!("{} (warning)", gate.name) } else { gate.name.clone() },
            result: gate_result(gate, report.verdict),
        }));
        Self { report, cases }
    }

    fn totals(&self) -> Totals {
        let number = |matches: fn(&CaseResult) -> bool| self.cases.iter().filter(|case| matches(&case.result)).count();
        Totals {
            tests: self.cases.len(),
            failures: number(|result| matches!(result, CaseResult::Failure { .. })),
            errors: number(|result| matches!(result, CaseResult::Error { .. })),
            skipped: number(|result| matches!(result, CaseResult::Skipped { .. })),
        }
    }

    fn write(&self, xml: &mut String) {
        let scenario = given(&self.report.scenario.name).unwrap_or("comparison");
        let _ = writeln!(xml, "  <testsuite name=\"{}\" {}>", attribute(scenario), self.totals().attributes());
        self.properties(xml);
        let class = attribute(&format!("rehearsal.{}", scenario.replace('.', "-"))).into_owned();
        for case in &self.cases {
            case.write(&class, xml);
        }
        let out = terminal(self.report, TerminalStyle::default());
        let _ = write!(xml, "    <system-out>{}</system-out>\n  </testsuite>\n", text(&out));
    }

    fn properties(&self, xml: &mut String) {
        let report = self.report;
        *xml += "    <properties>\n";
        let seed = report.seed.to_string();
        let known = |role| report.builds.get(role).map(builds::known_by).unwrap_or_default();
        let (old, new) = (known("old"), known("new"));
        let outcome = builds::outcome_of_old(report).unwrap_or_default();
        let missing = words::missing(&report.recording).unwrap_or_default();
        for (key, value) in [
            ("verdict", name(report.verdict).as_str()),
            ("seed", &seed),
            ("recording", &report.recording.path),
            ("missing", &missing),
            ("old", &old),
            ("new", &new),
            ("outcome-of-old", &outcome),
            ("rehearsal", &report.tool),
            ("reproduce", &report.reproduce),
        ] {
            let _ = writeln!(xml, "      <property name=\"{key}\" value=\"{}\"/>", attribute(value));
        }
        for (key, value) in junit_properties::of(report) {
            let _ = writeln!(xml, "      <property name=\"{}\" value=\"{}\"/>", attribute(&key), attribute(&value));
        }
        *xml += "    </properties>\n";
    }
}

impl Case {
    fn write(&self, class: &str, xml: &mut String) {
        let open = format!("    <testcase classname=\"{class}\" name=\"{}\"", attribute(&self.name));
        let written = match &self.result {
            CaseResult::Passed => format!("{open}/>\n"),
            CaseResult::Skipped { message } => {
                format!("{open}>\n      <skipped message=\"{}\"/>\n    </testcase>\n", attribute(message))
            }
            CaseResult::Failure { message, body } => problem(&open, "failure", "gate", message, body),
            CaseResult::Error { message, body } => problem(&open, "error", "no-verdict", message, body),
        };
        xml.push_str(&written);
    }
}

fn problem(open: &str, element: &str, kind: &str, message: &str, body: &str) -> String {
    let message = attribute(message);
    let body = text(body);
    format!("{open}>\n      <{element} type=\"{kind}\" message=\"{message}\">{body}</{element}>\n    </testcase>\n")
}

fn verdict(report: &Report) -> CaseResult {
    let message = report.reasons.first().cloned().unwrap_or_else(|| verdict_meaning(report.verdict).to_owned());
    let body = report.reasons.join("\n");
    match report.verdict {
        Verdict::Agree => CaseResult::Passed,
        Verdict::Differ => CaseResult::Failure { message, body },
        Verdict::NoVerdict => CaseResult::Error { message, body },
    }
}

/// Says what a gate's testcase comes to.
///
/// A gate that could not be judged is an error where somebody asked for it or the run has no verdict; a default gate that does
/// not apply to this run (timing of an unpaced replay, say) is skipped. A warning fails nothing, so it is skipped, not green.
fn gate_result(gate: &GateResult, verdict: Verdict) -> CaseResult {
    let observed = gate.observed.as_deref().unwrap_or("not judged");
    let body = gate.note.clone().unwrap_or_default();
    let message = format!("{}: {observed}, limit {}", gate.name, gate.limit);
    match (gate.pass, gate.warning) {
        (Some(true), _) => CaseResult::Passed,
        (Some(false), false) => CaseResult::Failure { message, body },
        (Some(false), true) => CaseResult::Skipped { message: with_note("warning: ", &message, &body) },
        (None, false) if !gate.default || verdict == Verdict::NoVerdict => CaseResult::Error { message, body },
        (None, _) => CaseResult::Skipped { message: with_note("", &message, &body) },
    }
}

fn with_note(before: &str, message: &str, note: &str) -> String {
    if note.is_empty() { format!("{before}{message}") } else { format!("{before}{message} ({note})") }
}

/// Escapes for a place between tags.
fn text(raw: &str) -> String {
    escape(&visible(raw, Lines::Keep))
}

/// Escapes for an attribute, on one line and cut to a bounded length: parsers turn line feeds there into spaces.
fn attribute(raw: &str) -> std::borrow::Cow<'static, str> {
    let cut = super::figures::cut(raw, MESSAGE_MAX);
    escape(&visible(&cut, Lines::Show)).into()
}

fn escape(shown: &str) -> String {
    let mut escaped = String::with_capacity(shown.len());
    for c in shown.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(pass: Option<bool>, default: bool, warning: bool) -> GateResult {
        GateResult { name: "missing".into(), limit: "0".into(), observed: None, pass, note: None, default, warning }
    }

    #[test]
    fn what_had_to_be_judged_and_could_not_is_an_error() {
        for (default, verdict) in
            [(false, Verdict::Agree), (false, Verdict::Differ), (false, Verdict::NoVerdict), (true, Verdict::NoVerdict)]
        {
            assert!(matches!(gate_result(&gate(None, default, false), verdict), CaseResult::Error { .. }));
        }
        assert!(matches!(gate_result(&gate(None, true, false), Verdict::Differ), CaseResult::Skipped { .. }));
    }

    #[test]
    fn a_warning_is_neither_a_failure_nor_green() {
        assert!(matches!(gate_result(&gate(Some(false), false, true), Verdict::Agree), CaseResult::Skipped { .. }));
        assert!(matches!(gate_result(&gate(None, false, true), Verdict::Agree), CaseResult::Skipped { .. }));
    }

    #[test]
    fn markup_quotes_and_control_characters_are_escaped() {
        assert_eq!(text("<a b='\"'>&\0\n"), "&lt;a b=&apos;&quot;&apos;&gt;&amp;␀\n");
        assert_eq!(attribute("a\nb"), "a␊b");
    }
}
