//! How figures are written for people: thousands separators, units, dates, and text that cannot act on what shows it.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::settings::Moment;

/// Writes `count` with thousands separators, such as `53,402`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a signed whole number with thousands separators.
pub(super) fn signed(number: i64) -> String {
    format!("{}{}", if number < 0 { "−" } else { "" }, count(number.unsigned_abs()))
}

/// Writes `n` with the noun in its number, such as `1 output` and `2,000 outputs`.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Writes microseconds in the unit that reads best, such as `850 µs`, `12.4 ms`, `3.20 s`, `2 min 05 s`, `1 h 02 min`.
pub(super) fn time(us: i64) -> String {
    let sign = if us < 0 { "−" } else { "" };
    let us = us.unsigned_abs();
    let size = us as f64;
    let text = match us {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.2} ms", size / 1e3),
        10_000..100_000 => format!("{:.1} ms", size / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", size / 1e3),
        1_000_000..10_000_000 => format!("{:.2} s", size / 1e6),
        10_000_000..60_000_000 => format!("{:.1} s", size / 1e6),
        _ => whole_seconds(us / 1_000_000),
    };
    format!("{sign}{text}")
}

fn whole_seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match hours {
        0 => format!("{minutes} min {:02} s", seconds % 60),
        1..24 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{} d {:02} h", count(days), hours % 24),
    }
}

/// Writes a date, given in milliseconds since the Unix epoch, such as `2013-01-05 06:12:00 UTC`; milliseconds only where there
/// are any.
pub(super) fn date(ms: i64) -> String {
    let form = if ms.rem_euclid(1_000) == 0 { "%Y-%m-%d %H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S%.3f UTC" };
    Moment::of_ms(ms).utc().format(form).to_string()
}

/// Writes a share as per cent, such as `4.9 %`; small ones keep two digits that count.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        return "not finite".to_owned();
    }
    if percent == 0.0 {
        return "0 %".to_owned();
    }
    let decimals =
        if percent.abs() >= 100.0 { 0 } else { 1 + (-percent.abs().log10().floor()).clamp(0.0, 6.0) as usize };
    format!("{} %", minus(&format!("{percent:.decimals$}")))
}

/// Writes a share with its sign, such as `+12.5 %`.
pub(super) fn change(share_of_old: f64) -> String {
    let text = share(share_of_old);
    if share_of_old > 0.0 { format!("+{text}") } else { text }
}

/// Writes any figure: whole numbers with thousands separators, others with four digits that count.
pub(super) fn figure(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return signed(number as i64);
    }
    if !number.is_finite() || number.abs() < 1e-4 || number.abs() >= 1e15 {
        return minus(&format!("{number:.2e}"));
    }
    let decimals = (3.0 - number.abs().log10().floor()).clamp(1.0, 7.0) as usize;
    let text = format!("{number:.decimals$}");
    minus(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Writes a p-value: exact down to a ten-thousandth, then as a power of ten.
pub(super) fn probability(p: f64) -> String {
    if p == 0.0 || p >= 1e-4 { figure(p) } else { format!("{p:.1e}") }
}

fn minus(text: &str) -> String {
    text.replacen('-', "−", 1)
}

/// Replaces what a terminal, a browser or a parser could act on instead of showing it: control characters become their
/// pictures (`␛`), characters that turn the direction of text or are not allowed in XML become their code (`⟨U+202E⟩`). Line
/// feeds and tabs stay where `keep_lines` says so.
pub(super) fn visible(text: &str, lines: Lines) -> Cow<'_, str> {
    let keeps = |c: char| lines == Lines::Keep && matches!(c, '\n' | '\t');
    if !text.chars().any(|c| acts(c) && !keeps(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if keeps(c) || !acts(c) => shown.push(c),
            '\0'..='\x1f' => shown.push(char::from_u32(0x2400 + c as u32).unwrap_or('␀')),
            '\x7f' => shown.push('␡'),
            _ => {
                let _ = write!(shown, "⟨U+{:04X}⟩", c as u32);
            }
        }
    }
    Cow::Owned(shown)
}

/// What becomes of line feeds and tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// They stay.
    Keep,
    /// They are shown as pictures, so that the text stands on one line.
    Show,
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Cuts `text` to at most `most` characters, the last being `…` where something was left out.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.chars().take(most.saturating_sub(1)).chain(['…']).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (53_402, "53,402"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(signed(i64::MIN), "−9,223,372,036,854,775,808");
    }

    #[test]
    fn times_are_written_in_the_unit_that_reads_best() {
        for (us, text) in [
            (0, "0 s"),
            (850, "850 µs"),
            (1_250, "1.25 ms"),
            (12_400, "12.4 ms"),
            (412_000, "412 ms"),
            (3_200_000, "3.20 s"),
            (59_900_000, "59.9 s"),
            (125_000_000, "2 min 05 s"),
            (3_720_000_000, "1 h 02 min"),
            (180_000_000_000, "2 d 02 h"),
            (-1_500, "−1.50 ms"),
        ] {
            assert_eq!(time(us), text);
        }
        assert!(time(i64::MIN).starts_with('−'));
    }

    #[test]
    fn dates_keep_leap_days_epochs_and_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59.999 UTC"),
            (1_357_035_420_000, "2013-01-01 10:17:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(ms), text);
        }
        assert!(date(i64::MAX).ends_with("UTC") && date(i64::MIN).ends_with("UTC"));
    }

    #[test]
    fn shares_and_figures_keep_the_digits_that_count() {
        for (number, text) in [(0.0, "0 %"), (0.049, "4.9 %"), (1.0, "100 %"), (0.000_12, "0.012 %"), (-0.02, "−2.0 %")]
        {
            assert_eq!(share(number), text);
        }
        assert_eq!(change(0.125), "+12.5 %");
        for (number, text) in
            [(64.0, "64"), (1_234_567.0, "1,234,567"), (0.049_31, "0.04931"), (2.5, "2.5"), (-0.5, "−0.5")]
        {
            assert_eq!(figure(number), text);
        }
        assert_eq!(figure(f64::NAN), "NaN");
        assert_eq!(probability(3.2e-12), "3.2e-12");
    }

    #[test]
    fn what_could_act_is_shown_instead() {
        assert_eq!(visible("plain", Lines::Show), "plain");
        assert_eq!(visible("\x1b[31m\0\x7f", Lines::Show), "␛[31m␀␡");
        assert_eq!(visible("a\nb", Lines::Keep), "a\nb");
        assert_eq!(visible("a\nb\rc", Lines::Show), "a␊b␍c");
        assert_eq!(visible("\u{202e}\u{85}\u{fffe}", Lines::Keep), "⟨U+202E⟩⟨U+0085⟩⟨U+FFFE⟩");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("größer", 6), "größer");
        assert_eq!(cut("größere", 6), "größe…");
    }
}
