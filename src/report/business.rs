//! Figures of the business in words: what each came to in old and new, and what is known of the deviation.

use super::Report;
use super::figures::{change, counted};
use crate::compare::{BusinessFigure, FigureKind, FigureOfDrive, Standing};

/// One figure as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: String,
    /// What it came to in old.
    pub(super) old: String,
    /// And in new.
    pub(super) new: String,
    /// New less old, with its share of old.
    pub(super) away: String,
    /// What is known of the deviation.
    pub(super) standing: Option<Standing>,
    /// What it counts, what is known of the deviation, and what may be missing from it.
    pub(super) says: Vec<String>,
}

/// Writes every figure as a row.
pub(super) fn rows(report: &Report) -> Vec<Row> {
    report.figures.iter().map(|figure| row(figure, super::words::noisy(report))).collect()
}

fn row(figure: &BusinessFigure, build: &str) -> Row {
    let value = |drive: &str| figure.drives.get(drive).map_or("–".to_owned(), |found| decimal(&found.value));
    let is_equal = figure.changed_at_least.is_none();
    let share = figure.relative.filter(|_| !is_equal).map(|relative| format!(" ({})", change(relative)));
    let sign = if is_equal || figure.deviation.starts_with('-') { "" } else { "+" };
    let both = ["old", "new"].into_iter().filter_map(|drive| Some((drive, figure.drives.get(drive)?)));
    let left_out = both.filter_map(|(drive, found)| left_out(figure, drive, found));
    Row {
        name: figure.name.clone(),
        old: value("old"),
        new: value("new"),
        away: format!("{sign}{}{}", decimal(&figure.deviation), share.unwrap_or_default()),
        standing: figure.standing,
        says: std::iter::once(what(figure)).chain(known(figure, build)).chain(left_out).collect(),
    }
}

/// Says what it counts, such as `sum of $.amount in payouts where @.status == 'paid'`.
fn what(figure: &BusinessFigure) -> String {
    let of = match (figure.kind, &figure.path) {
        (FigureKind::Sum, Some(path)) => format!("sum of {path} in {}", figure.topic),
        (FigureKind::Count, Some(path)) => format!("outputs of {} with {path}", figure.topic),
        (_, None) => format!("outputs of {}", figure.topic),
    };
    figure.only.as_ref().map_or(of.clone(), |only| format!("{of} where {only}"))
}

/// Says what is known of the deviation; drives of `build` say what the noise is.
fn known(figure: &BusinessFigure, build: &str) -> Option<String> {
    let spread = figure.spread.as_deref();
    Some(match figure.standing? {
        Standing::Suspected if spread.is_none() => {
            format!("not judged: {build} was driven once, so nobody can tell what it differs from itself by")
        }
        Standing::Noise => {
            format!(
                "not different: drives of {build} differ by {} and new lies within that",
                decimal(spread.unwrap_or("0"))
            )
        }
        standing => {
            let standing = super::words::name(standing);
            match spread {
                Some("0") => format!("{standing}: drives of {build} do not differ"),
                spread => format!("{standing}: drives of {build} differ by {}", decimal(spread.unwrap_or("0"))),
            }
        }
    })
}

/// Says which outputs may be missing from it in one drive.
fn left_out(figure: &BusinessFigure, drive: &str, found: &FigureOfDrive) -> Option<String> {
    let path = figure.path.as_deref().unwrap_or("$");
    let what = if figure.kind == FigureKind::Sum { "number" } else { "value" };
    let lacking = found.without_path + found.no_number;
    let outputs = counted(found.outputs, "output", "outputs");
    let lacking =
        (lacking > 0).then(|| format!("{} of {outputs} have no {what} at {path}", super::figures::count(lacking)));
    let unread = (found.unreadable > 0)
        .then(|| format!("{} of {outputs} cannot be read", super::figures::count(found.unreadable)));
    let parts: Vec<String> = lacking.into_iter().chain(unread).collect();
    (!parts.is_empty()).then(|| format!("{drive}: {}", parts.join(", ")))
}

/// Writes a decimal number with thousands separators, such as `53,402.5`; one with an exponent stays as it is.
fn decimal(text: &str) -> String {
    if text.contains('e') {
        return text.replacen('-', "−", 1);
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("−", digits));
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let part = part.map(|part| format!(".{part}")).unwrap_or_default();
    format!("{sign}{grouped}{part}")
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimal_numbers_keep_every_digit() {
        for (text, shown) in [
            ("0", "0"),
            ("53402.50001", "53,402.50001"),
            ("-1234567890123456789012", "−1,234,567,890,123,456,789,012"),
            ("0.001", "0.001"),
            ("1.5e300", "1.5e300"),
        ] {
            assert_eq!(decimal(text), shown);
        }
    }
}
