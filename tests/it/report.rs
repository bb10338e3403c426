//! Whole reports in every format.

pub(crate) mod fixture;
mod markup;

use proptest::prelude::*;
use rehearsal::compare::{Kind, Standing, Verdict};
use rehearsal::report::{Colours, Format, Report, ReportError, TerminalStyle, junit, render, terminal};

/// Reports of every kind of end, by name.
fn reports() -> [(&'static str, Report); 5] {
    [
        ("agree", fixture::agree()),
        ("differ", fixture::differ()),
        ("no_verdict", fixture::no_verdict()),
        ("nothing_known", fixture::nothing_known()),
        ("hostile", fixture::hostile()),
    ]
}

#[test]
fn reports_read_as_they_did() {
    for (name, report) in reports() {
        for format in [Format::Terminal, Format::Markdown, Format::Junit] {
            insta::assert_snapshot!(format!("{name}_{format}"), render(&report, format));
        }
    }
    insta::assert_snapshot!("differ_json", render(&fixture::differ(), Format::Json));
}

#[test]
fn the_page_reads_as_it_did() {
    let page = render(&fixture::differ(), Format::Html);
    // The style is not what this holds: it changes without the report changing.
    let (before, style) = page.split_once("<style>").unwrap();
    let (_, after) = style.split_once("</style>").unwrap();
    insta::assert_snapshot!("differ_html", format!("{before}<style></style>{after}"));
}

#[test]
fn information_stands_apart_from_what_is_judged() {
    let mut report = fixture::differ();
    let pattern = report.patterns.iter_mut().find(|pattern| pattern.information).unwrap();
    (pattern.standing, pattern.noise_count) = (Standing::Suspected, 0);
    report.patterns.retain(|pattern| pattern.information || pattern.standing != Standing::Suspected);
    for (format, heading) in [
        (Format::Terminal, "\nInformation: 1 pattern"),
        (Format::Markdown, "### Information (1)"),
        (Format::Html, "<h3>Information: 1 pattern</h3>"),
    ] {
        let text = render(&report, format);
        assert!(text.contains(heading), "{text}");
        assert!(!text.contains("Suspected"), "{text}");
    }
    assert!(render(&report, Format::Html).contains("0 suspected"));
}

#[test]
fn an_output_that_only_moved_is_shown_once_with_both_its_places() {
    let mut report = fixture::differ();
    let pattern = &mut report.patterns[0];
    pattern.kind = Kind::Reordered;
    let example = &mut pattern.examples[0];
    let (Some(old), Some(new)) = (&mut example.old, &mut example.new) else { panic!("no pair") };
    new.value.clone_from(&old.value);
    (old.sequence, new.sequence) = (449, 444);
    let text = render(&report, Format::Terminal);
    assert!(text.contains("    both {") && text.contains("         output 449 of old, output 444 of new"), "{text}");
    assert!(render(&report, Format::Markdown).contains("output 449 of old, output 444 of new:"), "markdown");
}

#[test]
fn a_report_comes_back_from_its_file_as_it_was() {
    for (name, report) in reports() {
        let read = Report::read(render(&report, Format::Json).as_bytes()).unwrap();
        assert_eq!(read, report, "{name}");
        assert_eq!(render(&read, Format::Html), render(&report, Format::Html), "{name}");
    }
}

#[test]
fn every_field_is_present_null_where_it_does_not_apply() {
    let json: serde_json::Value = serde_json::from_str(&render(&fixture::nothing_known(), Format::Json)).unwrap();
    for field in [
        "format",
        "tool",
        "verdict",
        "reasons",
        "scenario",
        "seed",
        "recording",
        "builds",
        "drives",
        "plan",
        "fidelity",
        "faults",
        "outputs",
        "causes",
        "identities",
        "differences",
        "noise",
        "first_divergence",
        "patterns",
        "power",
        "silenced",
        "idempotency",
        "relations",
        "latency",
        "lag",
        "freshness",
        "lagging",
        "measures",
        "series",
        "resources",
        "isolation",
        "gates",
        "warnings",
        "reproduce",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(json["verdict"], "no-verdict");
    assert!(json["idempotency"].is_null() && json["lag"].is_null());
}

#[test]
fn a_version_is_read_or_refused_by_name() {
    let text = render(&fixture::agree(), Format::Json);
    let later = text.replacen("\"format\": \"1.0\"", "\"format\": \"1.7\", \"field_of_later\": 3", 1);
    assert_eq!(Report::read(later.as_bytes()).unwrap().format, "1.7");
    for found in ["2.0", "0.9", "10.0", "x"] {
        let error = Report::read(text.replacen("\"1.0\"", &format!("\"{found}\""), 1).as_bytes()).unwrap_err();
        assert!(matches!(&error, ReportError::Version { found: named } if named == found), "{error}");
        assert_eq!(error.to_string(), format!("run.json has format {found}; this program reads 1.x"));
    }
    assert!(matches!(Report::read(b"{}"), Err(ReportError::NoVersion)));
    assert!(matches!(Report::read(b"{\"format\": \"1.0\"}"), Err(ReportError::Json { .. })));
    assert!(matches!(Report::read(&text.as_bytes()[..200]), Err(ReportError::Json { .. })));
}

#[test]
fn a_format_is_found_by_its_name_and_others_are_refused_with_the_choices() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    let error = "pdf".parse::<Format>().unwrap_err().to_string();
    assert_eq!(error, "`pdf` is no format; write `html`, `json`, `junit`, `markdown`, `terminal`");
}

#[test]
fn junit_is_well_formed_and_its_totals_hold() {
    for (name, report) in reports() {
        let xml = render(&report, Format::Junit);
        let elements = markup::read(&xml).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let number = |of: &str| elements.iter().filter(|element| element.name == of).count().to_string();
        for suites in elements.iter().filter(|element| element.name.starts_with("testsuite")) {
            for (attribute, of) in
                [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
            {
                assert_eq!(suites.attribute(attribute), Some(number(of).as_str()), "{name}: {attribute}");
            }
        }
        assert_eq!(number("testcase"), (report.gates.len() + 1).to_string(), "{name}");
    }
}

#[test]
fn junit_is_green_only_where_the_verdict_is_agree() {
    for (name, report) in reports() {
        let xml = render(&report, Format::Junit);
        let red = xml.contains("<failure ") || xml.contains("<error ");
        assert_eq!(red, report.verdict != Verdict::Agree, "{name}");
    }
    let mut quiet = fixture::nothing_known();
    quiet.gates.clear();
    assert!(render(&quiet, Format::Junit).contains("<error type=\"no-verdict\""));
}

#[test]
fn junit_holds_a_testsuite_a_scenario() {
    let (agree, differ) = (fixture::agree(), fixture::differ());
    let elements = markup::read(&junit(&[&agree, &differ])).unwrap();
    assert_eq!(elements.iter().filter(|element| element.name == "testsuite").count(), 2);
    assert_eq!(elements[0].attribute("tests"), Some((agree.gates.len() + differ.gates.len() + 2).to_string().as_str()));
    assert!(markup::read(&junit(&[])).is_ok());
}

#[test]
fn the_page_is_balanced_needs_nothing_from_elsewhere_and_runs_nothing() {
    for (name, report) in reports() {
        let page = render(&report, Format::Html);
        let elements = markup::read(&page).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        for element in &elements {
            assert!(
                !["script", "iframe", "img", "link", "object", "base", "form"].contains(&element.name.as_str()),
                "{name}: {element:?}"
            );
            for (attribute, value) in &element.attributes {
                assert!(
                    !attribute.starts_with("on") && attribute != "src" && attribute != "style",
                    "{name}: {element:?}"
                );
                assert!(attribute != "href" || value.starts_with('#'), "{name}: {element:?}");
            }
        }
        assert!(!page.contains("url(") && !page.contains("@import"), "{name}");
    }
}

#[test]
fn links_within_the_page_lead_somewhere_and_ids_are_unique() {
    for (name, report) in [("differ", fixture::differ()), ("monstrous", fixture::monstrous())] {
        let elements = markup::read(&render(&report, Format::Html)).unwrap();
        let mut ids: Vec<&str> = elements.iter().filter_map(|element| element.attribute("id")).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{name}");
        let links = elements.iter().filter_map(|element| element.attribute("href")?.strip_prefix('#'));
        let broken: Vec<&str> = links.filter(|link| ids.binary_search(link).is_err()).collect();
        assert!(broken.is_empty(), "{name}: {} links lead nowhere, the first to {:?}", broken.len(), broken.first());
    }
}

#[test]
fn the_page_can_be_read_without_seeing_it() {
    let elements = markup::read(&render(&fixture::differ(), Format::Html)).unwrap();
    let of = |name: &'static str| elements.iter().filter(move |element| element.name == name);
    assert_eq!(of("h1").count(), 1);
    assert!(of("th").all(|heading| heading.attribute("scope").is_some()));
    assert!(of("svg").all(|chart| chart.attribute("aria-label").is_some_and(|label| !label.is_empty())));
    let levels: Vec<u8> = elements.iter().filter_map(|element| element.name.strip_prefix('h')?.parse().ok()).collect();
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a heading level is skipped: {levels:?}");
}

#[test]
fn the_first_screen_answers_the_four_questions() {
    let page = render(&fixture::differ(), Format::Html);
    let first = page.split_once("<nav").unwrap().0;
    for answer in [
        "What broke",
        "changed in payouts at $.amount (value): 214",
        "When it broke",
        "2013-01-01 14:59:00 UTC",
        "event flights/3 at offset 31",
        "How far behind",
        "p99 2.28 ms, old 2.21 ms",
        "If deliveries repeat",
        "38 effects repeated",
        "old repeats 0",
    ] {
        assert!(first.contains(answer), "{answer}");
    }
}

#[test]
fn what_made_builds_repeat_is_named_and_what_is_repeated_is_told_by_channel() {
    let mut report = fixture::agree();
    let found = report.idempotency.as_mut().unwrap();
    (found.new.redelivered, found.new.provoked, found.new.repeated_effects) = (0, 12, 50);
    found.new.effects.insert("pay".to_owned(), rehearsal::compare::RepeatedCalls { identities: 25, calls: 25 });
    let text = |report: &Report| render(report, Format::Terminal).split_whitespace().collect::<Vec<_>>().join(" ");
    let said = text(&report);
    assert!(said.contains("from 12 instances of lost-ack; old repeats 0"), "{said}");
    let channels = "counted on each channel: 25 calls to the outside and 25 outputs or rows of sinks";
    assert!(said.contains(channels) && !said.contains("0 redeliveries"), "{said}");
    // Where all of them are calls there is nothing to tell apart.
    report.idempotency.as_mut().unwrap().new.repeated_effects = 25;
    report.idempotency.as_mut().unwrap().new.redelivered = 3;
    let said = text(&report);
    assert!(said.contains("from 3 redeliveries and 12 instances of lost-ack"), "{said}");
    assert!(!said.contains("counted on each channel"), "{said}");
}

#[test]
fn what_stood_around_the_builds_is_a_property_of_the_suite() {
    let mut report = fixture::agree();
    let clock = rehearsal::report::WallClockFacts {
        drives: std::collections::BTreeMap::new(),
        says: vec!["new: native, shifted".into()],
    };
    report.wall_clock = Some(clock);
    let attempts = rehearsal::outcome::Isolation::none("it was switched off");
    report.isolation = Some([("new".to_owned(), attempts)].into());
    let xml = render(&report, Format::Junit);
    for property in [
        "<property name=\"isolation.network\" value=\"not enforced: it was switched off\"/>",
        "<property name=\"wall-clock\" value=\"new: native, shifted\"/>",
        "<property name=\"fault.answers\" value=\"with each request",
    ] {
        assert!(xml.contains(property), "{property}: {xml}");
    }
    assert!(markup::read(&xml).is_ok());
}

#[test]
fn what_both_builds_break_is_shown_and_is_not_blamed_on_new() {
    let mut report = fixture::agree();
    let both = report.idempotency.as_mut().unwrap();
    (both.old.repeated_effects, both.new.repeated_effects, both.broken_by_both) = (12, 12, 12);
    let page = render(&report, Format::Html);
    assert!(page.contains("12 identities broken by both builds"));
    let card = page.split("<h2>If deliveries repeat</h2>").next().unwrap().rsplit("<div class=").next().unwrap();
    assert!(card.starts_with("\"card unsure\""), "{card}");
    report.idempotency.as_mut().unwrap().broken_by_new = 1;
    let page = render(&report, Format::Html);
    let card = page.split("<h2>If deliveries repeat</h2>").next().unwrap().rsplit("<div class=").next().unwrap();
    assert!(card.starts_with("\"card bad\""), "{card}");
}

#[test]
fn a_monstrous_report_stays_small_and_says_what_it_left_out() {
    let report = fixture::monstrous();
    let page = render(&report, Format::Html);
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    assert!(page.len() > 1_000_000, "room is left unused: {} bytes", page.len());
    markup::read(&page).unwrap();
    for what in [
        "patterns",
        "patterns with their examples",
        "reasons",
        "gates",
        "faults",
        "relations",
        "rules",
        "warnings",
        "names",
        "examples",
    ] {
        assert!(
            page.contains(&format!(" more {what} are left out to keep this page small; run.json has all of them.")),
            "{what}"
        );
    }
    let summary = render(&report, Format::Markdown);
    assert!(summary.len() < 60_000, "{} bytes", summary.len());
    assert!(summary.contains("more patterns are left out") && summary.contains("Reproduce: `rehearsal run"));
    markup::read(&render(&report, Format::Junit)).unwrap();
    let printed = render(&report, Format::Terminal);
    assert!(
        printed.lines().count() < 2_000 && printed.contains("1,970 more gates not printed"),
        "{} lines",
        printed.lines().count()
    );
}

#[test]
fn why_a_drive_ended_as_it_did_and_how_well_it_kept_its_schedule_stand_in_every_format() {
    let mut report = fixture::agree();
    report.drives[0].reason = "committed everything; asked for what the stage does not serve: DescribeAcls".into();
    for format in Format::ALL {
        let shown = render(&report, format).replace("\n    ", " ");
        assert!(shown.contains("asked for what the stage does not serve: DescribeAcls"), "{format}");
        let clock = report.fidelity.clock.split(' ').take(3).collect::<Vec<_>>().join(" ");
        assert!(
            !clock.is_empty() && shown.replace("&apos;", "'").replace("&#39;", "'").contains(&clock),
            "{format}: {clock}"
        );
    }
}

#[test]
fn hostile_text_stays_text_in_every_format() {
    let report = fixture::hostile();
    for format in [Format::Html, Format::Junit] {
        assert!(!render(&report, format).contains("<script"), "{format}");
    }
    for format in [Format::Terminal, Format::Markdown, Format::Html, Format::Junit] {
        let text = render(&report, format);
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(acts), "{format}");
    }
    // Outside code, nobody is called and no markup starts.
    for line in render(&report, Format::Markdown).lines().filter(|line| !line.contains('`')) {
        assert!(!line.contains("@everyone") && !line.contains("<script"), "{line}");
    }
}

#[test]
fn the_terminal_fits_a_hundred_columns_but_for_what_is_to_be_copied() {
    for (name, report) in
        [("differ", fixture::differ()), ("no_verdict", fixture::no_verdict()), ("hostile", fixture::hostile())]
    {
        let copied = ["report", "again with"];
        for line in render(&report, Format::Terminal).lines() {
            let free = copied.iter().any(|label| line.trim_start().starts_with(label));
            assert!(free || line.chars().count() <= 100, "{name}: {line}");
        }
    }
}

#[test]
fn colours_come_only_when_asked_for_and_change_no_text() {
    let report = fixture::differ();
    let plain = terminal(&report, TerminalStyle::default());
    let coloured = terminal(&report, TerminalStyle { colours: Colours::Ansi, folder: None });
    assert!(!plain.contains('\x1b') && coloured.contains("\x1b[1;31mDIFFER\x1b[0m"));
    let mut stripped = String::new();
    for piece in coloured.split('\x1b') {
        stripped
            .push_str(piece.strip_prefix('[').and_then(|piece| piece.split_once('m')).map_or(piece, |(_, text)| text));
    }
    assert_eq!(stripped, plain);
}

#[test]
fn the_terminal_names_the_report_where_it_is_told_its_folder() {
    let style = TerminalStyle { colours: Colours::Never, folder: Some("target/rehearsal/compensation/0001") };
    assert!(terminal(&fixture::differ(), style).contains("target/rehearsal/compensation/0001/report.html"));
}

#[test]
fn what_is_not_judged_is_never_called_a_pass() {
    for report in [fixture::no_verdict(), fixture::nothing_known()] {
        let text = render(&report, Format::Terminal);
        assert!(text.starts_with("NO VERDICT"), "{text}");
        for format in [Format::Html, Format::Markdown] {
            assert!(render(&report, format).contains("No verdict"), "{format}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_build_wrote_the_formats_stay_well_formed(text in any::<String>(), value in "\\PC{0,40}|[\\x00-\\x7f]{0,80}|[\\[\\]{}\",:0-9a]{0,60}") {
        let mut report = fixture::differ();
        report.reasons = vec![text.clone()];
        report.gates[0].note = Some(text.clone());
        report.patterns[0].topic.clone_from(&text);
        report.patterns[0].path = Some(value.clone());
        let example = &mut report.patterns[0].examples[0];
        example.identity.clone_from(&text);
        for (side, shown) in [(&mut example.old, &text), (&mut example.new, &value)] {
            side.as_mut().unwrap().value = Some(shown.clone());
        }
        for format in [Format::Html, Format::Junit] {
            let written = render(&report, format);
            prop_assert!(markup::read(&written).is_ok(), "{}: {:?}", format, markup::read(&written));
        }
        for format in [Format::Terminal, Format::Markdown] {
            prop_assert!(!render(&report, format).contains(|c: char| c.is_control() && c != '\n'));
        }
        prop_assert_eq!(Report::read(render(&report, Format::Json).as_bytes()).unwrap(), report);
    }
}
