//! How far a figure of the business may be away from old's before chance no longer explains it, and its gates.
//!
//! A drive has one such figure, so drives are the units. Where drives of old differ, their spread says what new may differ by:
//! Student's prediction of one more drive, `t = (new − mean) / (s √(1 + 1/k))` with k − 1 degrees of freedom, both sides. Where they do not
//! differ, none of n outputs did what another drive did not, so at most 3 do (95 %): fewer than that many outputs must have another
//! part in the figure, or it is more than chance gives (Poisson's tail). What differs output by output and is proven proves the figure, too.

use super::assess::Finding;
use super::bootstrap::beyond;
use super::business::{BusinessFigure, FigureKind, FigureOfDrive};
use super::exact::Exact;
use super::gates::{FigureGate, FigureLimit};
use super::noise::{FALSE_DISCOVERIES, UNSEEN_NOISE, poisson_tail};
use super::sentences::{count, counted, percent};
use super::verdict::Facts;
use super::{Comparison, GateResult, Kind, Standing};

/// How likely one more drive of old would be as far away as `new`, of which `changed` outputs at least have another part in the figure;
/// none with one drive of old, or where new lies within what drives of old differ by.
pub(super) fn p_value(olds: &[&Exact], new: &Exact, changed: u64) -> Option<f64> {
    let within = |side: fn(&Exact, &Exact) -> bool| olds.iter().any(|old| !side(old, new));
    let is_within = within(Exact::is_above) && within(|old, new| new.is_above(old));
    if olds.len() < 2 || is_within {
        return None;
    }
    if olds.windows(2).all(|two| two[0] == two[1] || two[0].less(two[1]).text() == "0") {
        return Some(poisson_tail(changed, UNSEEN_NOISE as f64));
    }
    // From the first, so that large figures that differ little keep their digits; as shares of the largest, so that no square is too large.
    let from_first: Vec<f64> = olds.iter().chain([&new]).map(|figure| figure.less(olds[0]).about()).collect();
    let largest = from_first.iter().fold(0.0_f64, |largest, figure| largest.max(figure.abs()));
    let shares: Vec<f64> = from_first.iter().map(|figure| figure / largest).collect();
    let (new, olds) = shares.split_last()?;
    let drives = olds.len() as f64;
    let mean = olds.iter().sum::<f64>() / drives;
    let variance = olds.iter().map(|figure| (figure - mean) * (figure - mean)).sum::<f64>() / (drives - 1.0);
    let t = (new - mean).abs() / (variance * (1.0 + 1.0 / drives)).sqrt();
    Some((2.0 * beyond(t, olds.len() - 1)).min(1.0))
}

/// Sets what is known of each deviation, once patterns are judged and p-values adjusted.
pub(super) fn settle(comparison: &mut Comparison) {
    let of_values = |kind: Kind| {
        !matches!(kind, Kind::Reordered | Kind::Metadata | Kind::Later | Kind::Earlier | Kind::Died | Kind::NoProgress)
    };
    let proven = comparison.patterns.iter().filter(|pattern| pattern.standing == Standing::Proven);
    let proven: Vec<String> =
        proven.filter(|pattern| of_values(pattern.kind)).map(|pattern| pattern.topic.clone()).collect();
    for figure in &mut comparison.figures {
        let is_steady = figure.spread.as_deref() == Some("0");
        figure.standing = match (figure.changed_at_least, &figure.spread, figure.p_value) {
            (None, _, _) => None,
            (Some(_), None, _) => Some(Standing::Suspected),
            (Some(_), Some(_), None) => Some(Standing::Noise),
            // What lies at the slice's edges may stand on one side alone.
            _ if comparison.at_edges > 0 => Some(Standing::Suspected),
            _ if is_steady && proven.contains(&figure.topic) => Some(Standing::Proven),
            _ if figure.q_value.is_some_and(|q| q <= FALSE_DISCOVERIES) => Some(Standing::Proven),
            _ => Some(Standing::Suspected),
        };
    }
}

/// Holds a figure of the business against its limit.
pub(super) fn assess(facts: &Facts<'_>, gate: &FigureGate) -> Finding {
    let seen = look(facts, gate);
    let result = GateResult {
        name: gate.name.clone(),
        limit: gate.text.clone(),
        observed: seen.observed,
        pass: seen.pass,
        note: Some(seen.note).filter(|note| !note.is_empty()),
        default: false,
        warning: gate.warning,
    };
    Finding { result, sentences: seen.sentence.into_iter().collect() }
}

struct Seen {
    observed: Option<String>,
    pass: Option<bool>,
    note: String,
    sentence: Option<String>,
}

impl Seen {
    fn untold(gate: &FigureGate, observed: Option<String>, reason: String) -> Self {
        let sentence = format!("gate {} could not be judged: {reason}", gate.name);
        Self { observed, pass: None, note: reason, sentence: Some(sentence) }
    }
}

fn look(facts: &Facts<'_>, gate: &FigureGate) -> Seen {
    let Some(figure) = facts.comparison.figures.iter().find(|figure| figure.name == gate.figure) else {
        return Seen::untold(gate, None, "there is no such figure".to_owned());
    };
    if let Some(reason) = nothing_to_count(figure) {
        return Seen::untold(gate, None, reason);
    }
    let deviation = Exact::read(&figure.deviation);
    let is_kept = match &gate.limit {
        FigureLimit::Amount(limit) => !deviation.distance().is_above(&Exact::read(limit)),
        // A hair beyond, as shares have no exact binary form.
        FigureLimit::Share(limit) => figure
            .relative
            .map_or(figure.changed_at_least.is_none(), |relative| relative.abs() <= limit * (1.0 + 1e-12)),
    };
    let observed = Some(match (&gate.limit, figure.relative) {
        (FigureLimit::Share(_), Some(relative)) => percent(relative.abs()),
        _ => deviation.distance().text(),
    });
    let build = facts.comparison.noisy().name();
    let edges = (facts.comparison.at_edges > 0 && figure.changed_at_least.is_some())
        .then(|| "outputs at the slice's edges may stand on one side alone".to_owned());
    let notes = std::iter::once(values(figure)).chain(spread(figure, build)).chain(edges).chain(left_out(figure));
    let notes: Vec<String> = notes.collect();
    let note = notes.join("; ");
    if is_kept {
        return Seen { observed, pass: Some(true), note, sentence: None };
    }
    match figure.standing {
        Some(Standing::Proven) => {
            let limit = &gate.text;
            let sentence = format!("{}: {}; gate {} asks for at most {limit}", figure.name, values(figure), gate.name);
            Seen { observed, pass: Some(false), note, sentence: Some(sentence) }
        }
        Some(Standing::Noise | Standing::Expected) => Seen { observed, pass: Some(true), note, sentence: None },
        Some(Standing::Suspected) | None => Seen::untold(gate, observed, format!("{note}, suspected but not proven")),
    }
}

/// Why a figure says nothing: neither build wrote anything that could be part of it.
fn nothing_to_count(figure: &BusinessFigure) -> Option<String> {
    let of = |drive: &str| figure.drives.get(drive).cloned().unwrap_or_default();
    let (old, new) = (of("old"), of("new"));
    if old.outputs + new.outputs == 0 {
        return Some(format!("neither build wrote to {}", figure.topic));
    }
    let is_empty = |drive: &FigureOfDrive| drive.counted == 0;
    let left_out = old.left_out() + new.left_out() > 0;
    (is_empty(&old) && is_empty(&new) && left_out)
        .then(|| format!("no output of {} is part of it: {}", figure.topic, left_out_of("old", figure, &old)))
}

/// Says what the figure came to, such as `53402.5 in old, 53409.5 in new (+7, +0.01%)`.
pub(super) fn values(figure: &BusinessFigure) -> String {
    let of = |drive: &str| figure.drives.get(drive).map_or("0", |found| found.value.as_str());
    let signed = |text: &str| if text.starts_with('-') { text.to_owned() } else { format!("+{text}") };
    let relative = figure.relative.map(away_by);
    let away = match figure.changed_at_least {
        None => "no deviation".to_owned(),
        Some(_) => format!("{}{}", signed(&figure.deviation), relative.unwrap_or_default()),
    };
    format!("{} in old, {} in new ({away})", of("old"), of("new"))
}

/// Says by which share, where there is one that can be shown: a deviation is none of "0%".
fn away_by(relative: f64) -> String {
    match percent(relative).as_str() {
        "0%" => ", less than 0.01%".to_owned(),
        percent => format!(", {}{percent}", if relative > 0.0 { "+" } else { "" }),
    }
}

/// Says what drives of `build` differ by.
fn spread(figure: &BusinessFigure, build: &str) -> Option<String> {
    figure.changed_at_least?;
    Some(match figure.spread.as_deref() {
        None => format!("{build} was driven once, so nobody can tell what it differs from itself by"),
        Some("0") => {
            format!("drives of {build} do not differ, {} at least changed", counted(figure.changed_at_least?, "output"))
        }
        Some(spread) if figure.standing == Some(Standing::Noise) => {
            format!("drives of {build} differ by {spread} and new lies within that")
        }
        Some(spread) => format!("drives of {build} differ by {spread}"),
    })
}

/// Says which outputs may be missing from it, in old and in new.
pub(super) fn left_out(figure: &BusinessFigure) -> Vec<String> {
    let both = ["old", "new"].into_iter().filter_map(|drive| Some((drive, figure.drives.get(drive)?)));
    both.filter(|(_, found)| found.left_out() > 0).map(|(drive, found)| left_out_of(drive, figure, found)).collect()
}

fn left_out_of(drive: &str, figure: &BusinessFigure, found: &FigureOfDrive) -> String {
    let path = figure.path.as_deref().unwrap_or("$");
    let what = if figure.kind == FigureKind::Sum { "number" } else { "value" };
    let mut parts = Vec::new();
    if found.without_path + found.no_number > 0 {
        let lacking = if found.no_number > 0 && found.without_path > 0 {
            format!(" ({} lack it)", count(found.without_path))
        } else {
            String::new()
        };
        let number = count(found.without_path + found.no_number);
        parts.push(format!(
            "{number} of {} of {drive} have no {what} at {path}{lacking}",
            counted(found.outputs, "output")
        ));
    }
    if found.unreadable > 0 {
        parts.push(format!(
            "{} of {} of {drive} cannot be read",
            count(found.unreadable),
            counted(found.outputs, "output")
        ));
    }
    parts.join(", ")
}

/// What is worth knowing of figures beside their gates: deviations that are proven without a gate, and what says nothing.
pub(super) fn warnings(facts: &Facts<'_>, gates: &[FigureGate]) -> Vec<String> {
    let mut warnings = Vec::new();
    for figure in &facts.comparison.figures {
        let is_gated = gates.iter().any(|gate| gate.figure == figure.name && !gate.warning);
        if let Some(reason) = nothing_to_count(figure).filter(|_| !is_gated) {
            warnings.push(format!("figure {} says nothing: {reason}", figure.name));
        } else if !is_gated && figure.standing == Some(Standing::Proven) {
            warnings.push(format!("{}: {}, on which there is no gate", figure.name, values(figure)));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(olds: &[&str], new: &str, changed: u64) -> Option<f64> {
        let olds: Vec<Exact> = olds.iter().map(|old| Exact::read(old)).collect();
        p_value(&olds.iter().collect::<Vec<_>>(), &Exact::read(new), changed)
    }

    #[test]
    fn a_deviation_too_small_for_a_percentage_is_not_called_none() {
        assert_eq!(
            [0.4, -0.4, 0.000_13, -0.000_034, 0.000_034].map(away_by),
            [", +40%", ", -40%", ", +0.01%", ", less than 0.01%", ", less than 0.01%"]
        );
    }

    #[test]
    fn what_lies_within_the_spread_of_old_is_no_test() {
        for (olds, new) in
            [(&["10", "12"][..], "11"), (&["10", "12"], "10"), (&["12", "10"], "12.0"), (&["7", "7"], "7")]
        {
            assert_eq!(p(olds, new, 1), None, "{olds:?} {new}");
        }
        assert_eq!(p(&["10"], "99", 50), None);
    }

    #[test]
    fn beyond_the_spread_students_prediction_says_how_likely_it_is() {
        // Two drives: one degree of freedom, for which P(|t| > 1) is 1/2. The deviation of 10 and 12 is √2, so one more drive deviates
        // by √2 · √1.5 = 1.7320508.
        let found = p(&["10", "12"], "12.7320508", 1).unwrap();
        assert!((found - 0.5).abs() < 1e-6, "{found}");
        assert!(p(&["10", "12"], "100", 1).unwrap() > 0.01);
        assert!(p(&["10", "12"], "300", 1).unwrap() < 0.01);
        assert!(p(&["1e300", "2e300", "1.5e300"], "9e301", 1).unwrap() < 0.01);
    }

    #[test]
    fn where_old_does_not_differ_the_outputs_that_must_have_changed_are_counted() {
        // Poisson with mean 3: P(X ≥ 8) = 0.0119, P(X ≥ 9) = 0.0038.
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-4;
        assert!(near(p(&["7", "7.0"], "15", 8), 0.0119) && near(p(&["7", "7"], "-2", 9), 0.0038));
    }
}
