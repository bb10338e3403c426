//! Figures of the business: exact sums over the outputs of each drive, chance told from change, and their gates.

use std::collections::BTreeMap;

use rehearsal::compare::{
    BusinessFigure, CompareSettings, Comparison, Drive, Facts, FidelityBounds, FigureSettings, Figures, GateSettings,
    Gates, Judgement, Remembered, Rules, Standing, Verdict, compare_drives, judge, settle,
};
use rehearsal::outcome::{Channel, Ending, EndingReport, Output};
use rehearsal::plan::Phase;
use rehearsal::report::{Format, render};
use rehearsal::spill::SpillSpace;
use serde::Deserialize;

use super::report::fixture;

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    figure: Vec<FigureSettings>,
    #[serde(default)]
    compare: CompareSettings,
}

fn rules(toml: &str) -> Rules {
    let written: Written = toml::from_str(toml).unwrap();
    written.compare.check().unwrap().with_figures(Figures::check(&written.figure).unwrap())
}

fn refused(toml: &str) -> (String, String) {
    let error = Figures::check(&toml::from_str::<Written>(toml).unwrap().figure).unwrap_err();
    (error.key, error.problem)
}

fn output(value: &str) -> Output {
    Output { topic: "payouts".to_owned(), value: Some(value.as_bytes().to_vec()), ..Output::default() }
}

fn drive(outputs: impl IntoIterator<Item = Output>) -> Remembered {
    let numbered = outputs.into_iter().enumerate();
    Remembered::finished(numbered.map(|(at, output)| Output { sequence: at as i64, ..output }).collect())
}

/// Payouts by number, of these amounts.
fn payouts(amounts: &[&str]) -> Remembered {
    let value = |(id, amount): (usize, &&str)| output(&format!(r#"{{"id":{id},"amount":{amount}}}"#));
    drive(amounts.iter().enumerate().map(value))
}

fn compared(old: &[&Remembered], new: &Remembered, rules: &Rules) -> Comparison {
    let old: Vec<&dyn Drive> = old.iter().map(|drive| *drive as &dyn Drive).collect();
    compare_drives(&old, &[new as &dyn Drive], rules, None, &SpillSpace::system()).unwrap()
}

fn gates(toml: &str) -> Gates {
    Gates::check(&toml::from_str::<GateSettings>(toml).unwrap(), &GateSettings::default()).unwrap()
}

fn judged(comparison: &mut Comparison, gates: &Gates) -> Judgement {
    settle(comparison, gates);
    let finished = || EndingReport::new(Ending::Finished, "");
    let endings = ["old", "new"].map(|drive| (drive.to_owned(), finished())).into();
    let facts = Facts {
        comparison,
        endings: &endings,
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    judge(&facts, gates)
}

fn values(figure: &BusinessFigure) -> (&str, &str, &str) {
    (&figure.drives["old"].value, &figure.drives["new"].value, &figure.deviation)
}

const PAID: &str = "[[figure]]\nname = 'amount-paid'\nkind = 'sum'\ntopic = 'payouts'\npath = '$.amount'\n[compare]\nidentity = ['$.id']\n";

#[test]
fn sums_are_exact_over_every_spelling_and_drift_by_nothing() {
    let rules = rules(PAID);
    let (old, new) = (vec!["0.1"; 1_000], [vec!["1e-1"; 999], vec!["0.10000000000000000001"]].concat());
    let found = compared(&[&payouts(&old)], &payouts(&new), &rules);
    assert_eq!(values(&found.figures[0]), ("100", "100.00000000000000000001", "0.00000000000000000001"));
}

#[test]
fn outputs_are_counted_by_topic_filter_and_path() {
    let rules = rules(
        "[[figure]]\nname = 'all'\ntopic = 'payouts'\n\
         [[figure]]\nname = 'paid'\ntopic = 'payouts'\nwhere = \"@.status == 'paid'\"\n\
         [[figure]]\nname = 'reasons'\ntopic = 'payouts'\npath = '$.reason'\n\
         [[figure]]\nname = 'items'\nkind = 'sum'\ntopic = 'payouts'\npath = '$.items[*].price'\nwhere = '@.items'\n\
         [[figure]]\nname = 'first'\nkind = 'sum'\ntopic = 'payouts'\npath = '$.items[?@.main].price'\n\
         [[figure]]\nname = 'whole'\nkind = 'sum'\ntopic = 'sums'\npath = '$'\n",
    );
    let elsewhere = |topic: &str, value: &str| Output { topic: topic.to_owned(), ..output(value) };
    let old = drive([
        output(r#"{"status":"paid","items":[{"price":1.5,"main":true},{"price":2}]}"#),
        output(r#"{"status":"open","reason":null}"#),
        Output { phase: Phase::WarmUp, ..output(r#"{"status":"paid","reason":1}"#) },
        Output { channel: Channel::DeadLetter, ..output(r#"{"status":"paid"}"#) },
        elsewhere("refunds", r#"{"status":"paid"}"#),
        elsewhere("sums", "-7"),
    ]);
    let found = compared(&[&old], &old, &rules);
    let of = |name: &str| &found.figures.iter().find(|figure| figure.name == name).unwrap().drives["old"];
    let values: Vec<&str> =
        ["all", "paid", "reasons", "items", "first", "whole"].map(|name| of(name).value.as_str()).into();
    assert_eq!(values, ["3", "2", "1", "3.5", "1.5", "-7"]);
    assert_eq!((of("paid").outputs, of("paid").counted, of("paid").left_out()), (3, 2, 0));
    assert!(found.figures.iter().all(|figure| figure.deviation == "0" && figure.standing.is_none()));
}

#[test]
fn what_cannot_be_added_is_counted_and_said() {
    let rules = rules(PAID);
    let malformed = Output { malformed: Some("no object".to_owned()), ..output("{") };
    let odd = drive([
        output(r#"{"id":1,"amount":5}"#),
        output(r#"{"id":2}"#),
        output(r#"{"id":3,"amount":"5"}"#),
        output(r#"{"id":4,"amount":1e999999}"#),
        output("no json"),
        malformed,
        Output { value: None, ..output("") },
    ]);
    let mut found = compared(&[&odd], &odd, &rules);
    let of_old = &found.figures[0].drives["old"];
    assert_eq!(
        (&*of_old.value, of_old.outputs, of_old.counted, of_old.without_path, of_old.no_number, of_old.unreadable),
        ("5", 7, 1, 2, 2, 2)
    );
    let judgement = judged(&mut found, &gates("'figure.amount-paid' = 0"));
    let gate = judgement.gates.iter().find(|gate| gate.name == "figure.amount-paid").unwrap();
    let note = gate.note.as_deref().unwrap();
    assert!(note.contains("4 of 7 outputs of old have no number at $.amount (2 lack it)"), "{note}");
    assert!(note.contains("2 of 7 outputs of old cannot be read"), "{note}");
}

/// The verdict on payouts of new against those of old, and what is known of their sum.
fn verdict(old: &[&[&str]], new: &[&str], limit: &str) -> (Verdict, Option<Standing>, Judgement) {
    let rules = rules(&format!("{PAID}ignore = ['$.amount']\n"));
    let old: Vec<Remembered> = old.iter().map(|amounts| payouts(amounts)).collect();
    let mut found = compared(&old.iter().collect::<Vec<_>>(), &payouts(new), &rules);
    let judgement = judged(&mut found, &gates(limit));
    (judgement.verdict, found.figures[0].standing, judgement)
}

#[test]
fn a_gate_holds_what_is_proven_against_an_amount_or_a_share() {
    let old = vec!["10"; 100];
    let new = [vec!["10"; 80], vec!["30"; 20]].concat();
    let twice: &[&[&str]] = &[&old, &old];
    for (limit, expected) in [
        ("'figure.amount-paid' = 0", Verdict::Differ),
        ("figure.amount-paid = 399.99", Verdict::Differ),
        ("'figure.amount-paid' = 400.0", Verdict::Agree),
        ("'figure.amount-paid' = 401", Verdict::Agree),
        ("'figure.amount-paid' = '39.9%'", Verdict::Differ),
        ("figure = { amount-paid = '40%' }", Verdict::Agree),
        ("", Verdict::Agree),
    ] {
        let (verdict, standing, judgement) = verdict(twice, &new, limit);
        assert_eq!((verdict, standing), (expected, Some(Standing::Proven)), "{limit}: {:#?}", judgement.reasons);
        let said = judgement
            .reasons
            .iter()
            .chain(&judgement.warnings)
            .any(|said| said.contains("1000 in old, 1400 in new (+400, +40%)"));
        assert_eq!(said, expected == Verdict::Differ || limit.is_empty(), "{limit}: {judgement:#?}");
    }
}

#[test]
fn a_deviation_within_what_old_differs_from_itself_by_is_none() {
    let (low, high) = (vec!["10"; 50], vec!["10.2"; 50]);
    let within = vec!["10.1"; 50];
    let gate = "'figure.amount-paid' = 0";
    let (found, standing, judgement) = verdict(&[&low, &high], &within, gate);
    assert_eq!((found, standing), (Verdict::Agree, Some(Standing::Noise)), "{:#?}", judgement.reasons);
    // A little beyond two drives is what a third may do, too.
    let (found, standing, _) = verdict(&[&low, &high], &vec!["10.3"; 50], gate);
    assert_eq!((found, standing), (Verdict::NoVerdict, Some(Standing::Suspected)));
    let (found, standing, _) = verdict(&[&low, &high], &vec!["99"; 50], gate);
    assert_eq!((found, standing), (Verdict::Differ, Some(Standing::Proven)));
}

#[test]
fn one_drive_of_old_or_too_few_outputs_prove_nothing() {
    let (old, gate) = (vec!["10"; 50], "'figure.amount-paid' = 0");
    let few = [vec!["10"; 49], vec!["11"; 1]].concat();
    let (found, standing, judgement) = verdict(&[&old], &vec!["20"; 50], gate);
    assert_eq!((found, standing), (Verdict::NoVerdict, Some(Standing::Suspected)));
    assert!(judgement.reasons[0].contains("old was driven once"), "{:#?}", judgement.reasons);
    let (found, standing, _) = verdict(&[&old, &old], &few, gate);
    assert_eq!((found, standing), (Verdict::NoVerdict, Some(Standing::Suspected)));
    let (found, standing, judgement) = verdict(&[&old, &old], &old, gate);
    assert_eq!((found, standing), (Verdict::Agree, None), "{:#?}", judgement.reasons);
}

#[test]
fn what_is_proven_output_by_output_proves_the_figure() {
    let old = payouts(&["10"; 200]);
    let amounts = [vec!["10"; 194], vec!["11"; 6]].concat();
    let mut found = compared(&[&old, &old], &payouts(&amounts), &rules(PAID));
    // Six of two hundred are fewer than chance may change, as far as their sum alone can tell.
    assert!(found.figures[0].p_value.unwrap() > 0.01);
    let judgement = judged(&mut found, &gates("changed = 10\n'figure.amount-paid' = 5"));
    assert_eq!(found.figures[0].standing, Some(Standing::Proven));
    assert!(
        judgement.reasons[0].contains("amount-paid: 2000 in old, 2006 in new (+6, +0.3"),
        "{:#?}",
        judgement.reasons
    );
}

#[test]
fn a_figure_that_nothing_is_part_of_is_no_verdict_where_a_gate_asks_for_it() {
    for (figure, reason) in [
        ("kind = 'sum'\ntopic = 'payouts'\npath = '$.amonut'", "3 of 3 outputs of old have no number at $.amonut"),
        ("topic = 'payuots'", "neither build wrote to payuots"),
    ] {
        let rules = rules(&format!("[[figure]]\nname = 'paid'\n{figure}\n"));
        let old = payouts(&["1", "2", "3"]);
        let mut found = compared(&[&old, &old], &old, &rules);
        let judgement = judged(&mut found, &gates("'figure.paid' = 0"));
        assert_eq!(judgement.verdict, Verdict::NoVerdict);
        assert!(judgement.reasons[0].contains(reason), "{:#?}", judgement.reasons);
        let judgement = judged(&mut found, &gates(""));
        assert_eq!(judgement.verdict, Verdict::Agree);
        assert!(judgement.warnings.iter().any(|said| said.contains(reason)), "{:#?}", judgement.warnings);
    }
}

#[test]
fn figures_and_limits_that_cannot_be_used_are_named_by_their_key() {
    for (figure, key, problem) in [
        ("name = 'a b'\ntopic = 't'", "figure[0].name", "is no name"),
        ("name = 'a'\ntopic = ''", "figure[0].topic", "names no topic"),
        ("name = 'a'\ntopic = 't'\nkind = 'sum'", "figure[0].path", "which numbers"),
        ("name = 'a'\ntopic = 't'\npath = 'amount'", "figure[0].path", "no JSONPath"),
        ("name = 'a'\ntopic = 't'\nwhere = '@.a ='", "figure[0].where", "is no filter"),
    ] {
        let (found, said) = refused(&format!("[[figure]]\n{figure}\n"));
        assert!(found == key && said.contains(problem), "{found}: {said}");
    }
    let twice = "[[figure]]\nname = 'a'\ntopic = 't'\n".repeat(2);
    assert_eq!(refused(&twice).0, "figure[1].name");
    let check = |limit: &str| Gates::check(&toml::from_str(limit).unwrap(), &GateSettings::default());
    for (limit, problem) in [
        ("'figure.a' = -1", "below zero"),
        ("'figure.a' = nan", "no number"),
        ("figure.a = '5s'", "`5s` is no percentage"),
        ("figure.a.b = 1", "limits of its own below it"),
    ] {
        let error = check(limit).unwrap_err();
        assert!(error.key == "gates.figure.a" && error.problem.contains(problem), "{limit}: {error:?}");
    }
    let figures = Figures::check(&toml::from_str::<Written>(PAID).unwrap().figure).unwrap();
    let error = check("'figure.amount-piad' = 1").unwrap().check_figures(&figures).unwrap_err();
    assert_eq!(
        (error.key.as_str(), error.instead.as_str()),
        ("gates.figure.amount-piad", "Did you mean `amount-paid`?")
    );
    assert!(check("'figure.amount-paid' = 1").unwrap().check_figures(&figures).is_ok());
}

#[test]
fn every_format_shows_what_a_figure_came_to() {
    let old = payouts(&["10.25"; 200]);
    let amounts = [vec!["10.25"; 150], vec!["11.25"; 50]].concat();
    let mut report = fixture::differ();
    report.figures = compared(&[&old, &old], &payouts(&amounts), &rules(PAID)).figures;
    for format in Format::ALL {
        let text = render(&report, format);
        assert!(text.contains("amount-paid") && text.contains("$.amount"), "{format}");
        let shown = if format == Format::Json { ["\"2050\"", "\"50\""] } else { ["2,050", "+50 (+2.4 %)"] };
        assert!(shown.iter().all(|figure| text.contains(figure)), "{format}: {text}");
        assert!(format == Format::Json || text.contains("drives of old do not differ"), "{format}: {text}");
    }
}
