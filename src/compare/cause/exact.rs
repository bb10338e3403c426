//! Decimal numbers in exact arithmetic: what a build rounds, scales or shifts is told by digits, not by floats.

use super::super::json::Lexer;

/// Digits that a number may have, and places it may have on either side of the point; others are compared as floats alone.
const DIGITS_MAX: usize = 18;
const PLACES_MAX: i32 = 18;

/// `digits` / 10^`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Exact {
    pub(super) digits: i128,
    pub(super) places: i32,
}

/// How a number is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// To the nearest; halves away from zero.
    HalfUp,
    /// To the nearest; halves to the even digit.
    HalfEven,
    /// To the nearest; halves towards zero.
    HalfDown,
    /// Towards zero: digits are cut.
    Cut,
    /// Away from zero.
    Away,
    /// Towards minus infinity.
    Floor,
    /// Towards infinity.
    Ceiling,
}

impl Mode {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::HalfUp, Self::HalfEven, Self::HalfDown, Self::Cut, Self::Away, Self::Floor, Self::Ceiling];
}

impl Exact {
    /// Reads the text of a JSON number; none where it has more digits than are told exactly.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lexer = Lexer::new(text.as_bytes()).ok()?;
        if lexer.number().ok()? != text {
            return None;
        }
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let significant = whole.bytes().chain(part.bytes()).filter(u8::is_ascii_digit).skip_while(|byte| *byte == b'0');
        if significant.count() > DIGITS_MAX || part.len() > DIGITS_MAX {
            return None;
        }
        let digits: i128 = format!("{whole}{part}").parse().ok()?;
        let places = i32::try_from(part.len()).ok()?.checked_sub(exponent.parse().ok()?)?;
        (places.abs() <= PLACES_MAX).then_some(Self { digits, places })
    }

    /// A whole number.
    pub(super) fn whole(digits: i128) -> Self {
        Self { digits, places: 0 }
    }

    /// The same number without zeros at its end.
    pub(super) fn normal(mut self) -> Self {
        if self.digits == 0 {
            return Self { digits: 0, places: 0 };
        }
        while self.digits % 10 == 0 {
            self.digits /= 10;
            self.places -= 1;
        }
        self
    }

    /// Its digits, counted in units of 10^-`places`; none where it has finer ones or is too large.
    pub(super) fn at(self, places: i32) -> Option<i128> {
        let own = if self.places > places { self.normal() } else { self };
        let more = u32::try_from(places - own.places).ok()?;
        own.digits.checked_mul(10_i128.checked_pow(more)?)
    }

    /// What is left when `other` is taken away.
    pub(super) fn minus(self, other: Self) -> Option<Self> {
        let places = self.places.max(other.places);
        let digits = self.at(places)?.checked_sub(other.at(places)?)?;
        Some(Self { digits, places }.normal())
    }

    /// Product with a whole number.
    pub(super) fn times(self, factor: i128) -> Option<Self> {
        Some(Self { digits: self.digits.checked_mul(factor)?, places: self.places })
    }

    /// Rounds to `places` behind the point (before it where negative).
    pub(super) fn rounded(self, places: i32, mode: Mode) -> Option<Self> {
        let Some(cut) = u32::try_from(self.places - places).ok().filter(|cut| *cut > 0) else { return Some(self) };
        let unit = 10_i128.checked_pow(cut)?;
        let (kept, left) = (self.digits / unit, self.digits % unit);
        let away = left.signum();
        let half = (left.abs() * 2).cmp(&unit);
        let step = match mode {
            _ if left == 0 => 0,
            Mode::Cut => 0,
            Mode::Away => away,
            Mode::Floor => away.min(0),
            Mode::Ceiling => away.max(0),
            _ if half.is_gt() => away,
            _ if half.is_lt() => 0,
            Mode::HalfUp => away,
            Mode::HalfDown => 0,
            Mode::HalfEven => away * (kept.abs() % 2),
        };
        Some(Self { digits: kept + step, places })
    }

    /// Whether both are the same number.
    pub(super) fn equals(self, other: Self) -> bool {
        self.normal() == other.normal()
    }

    /// Digits without zeros in front and behind.
    pub(super) fn significant(self) -> u32 {
        let digits = self.normal().digits.unsigned_abs();
        if digits == 0 { 1 } else { digits.ilog10() + 1 }
    }

    /// Power of ten of the first digit.
    pub(super) fn magnitude(self) -> i32 {
        let digits = self.digits.unsigned_abs();
        if digits == 0 { 0 } else { digits.ilog10() as i32 - self.places }
    }

    /// The nearest float.
    pub(super) fn float(self) -> f64 {
        self.text().parse().unwrap_or(f64::NAN)
    }

    /// The number as one writes it, without an exponent.
    pub(super) fn text(self) -> String {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        let Some(places) = usize::try_from(self.places).ok().filter(|places| *places > 0) else {
            let zeros = if self.digits == 0 { 0 } else { self.places.unsigned_abs() as usize };
            return format!("{sign}{digits}{}", "0".repeat(zeros));
        };
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, part) = digits.split_at(digits.len() - places);
        format!("{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Exact {
        Exact::read(text).unwrap()
    }

    #[test]
    fn numbers_are_read_and_written_alike() {
        for (text, written) in
            [("12.50", "12.50"), ("-0.5", "-0.5"), ("1e3", "1000"), ("12E-1", "1.2"), ("0", "0"), ("-7", "-7")]
        {
            assert_eq!(exact(text).text(), written, "{text}");
        }
        for text in ["", "x", "01", "1.", "12345678901234567890", "1e40", "0.1234567890123456789", " 1", "1 "] {
            assert_eq!(Exact::read(text), None, "{text}");
        }
        assert!(exact("1.50").equals(exact("15e-1")));
        assert_eq!((exact("1200").significant(), exact("1200").magnitude(), exact("0.012").magnitude()), (2, 3, -2));
    }

    #[test]
    fn each_mode_rounds_halves_and_signs_its_own_way() {
        use Mode::{Away, Ceiling, Cut, Floor, HalfDown, HalfEven, HalfUp};
        for (number, places, expected) in [
            ("2.345", 2, [(HalfUp, "2.35"), (HalfEven, "2.34"), (HalfDown, "2.34"), (Cut, "2.34"), (Away, "2.35")]),
            ("2.335", 2, [(HalfUp, "2.34"), (HalfEven, "2.34"), (HalfDown, "2.33"), (Cut, "2.33"), (Away, "2.34")]),
            ("-2.5", 0, [(HalfUp, "-3"), (HalfEven, "-2"), (HalfDown, "-2"), (Floor, "-3"), (Ceiling, "-2")]),
            ("2.51", 0, [(HalfUp, "3"), (HalfEven, "3"), (HalfDown, "3"), (Floor, "2"), (Ceiling, "3")]),
            ("1260", -2, [(HalfUp, "1300"), (HalfEven, "1300"), (HalfDown, "1300"), (Cut, "1200"), (Away, "1300")]),
        ] {
            for (mode, rounded) in expected {
                assert!(exact(number).rounded(places, mode).unwrap().equals(exact(rounded)), "{number} {mode:?}");
            }
        }
    }

    #[test]
    fn differences_are_exact() {
        assert_eq!(exact("0.3").minus(exact("0.1")).unwrap().text(), "0.2");
        assert_eq!(exact("100").minus(exact("0.01")).unwrap().text(), "99.99");
        assert_eq!(exact("1000").minus(exact("1")).unwrap().text(), "999");
    }
}
