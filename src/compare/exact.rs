//! Sums of decimal numbers without rounding, in memory that does not grow with them.
//!
//! A sum is held in base 10¹⁸: each place is a number of its own, so that adding carries nothing over until the sum is read. What
//! an order of adding would change is none of it.

use super::json::Decimal;

/// Digits of a place.
const DIGITS: i64 = 18;

/// A place beyond its last digit.
const BASE: i128 = 1_000_000_000_000_000_000;

/// The lowest place and how many there are: numbers from 10⁻⁵⁴⁰ to below 10⁵⁴⁰, wider than any binary floating point number.
const FIRST: i64 = -30;
const PLACES: usize = 60;

/// Digits from which on a sum is written with an exponent.
const PLAIN_MAX: i64 = 60;

/// A sum of decimal numbers. Exact for as many as anybody writes: a place holds 10²⁰ numbers before it could overflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exact {
    places: Box<[i128; PLACES]>,
}

impl Default for Exact {
    fn default() -> Self {
        Self { places: Box::new([0; PLACES]) }
    }
}

impl Exact {
    /// The sum that was written as `text`, a JSON number.
    pub(super) fn read(text: &str) -> Self {
        let mut sum = Self::default();
        sum.add(&Decimal::read(text));
        sum
    }

    /// Adds `number`; false, and nothing is added, where it is too large or has too many decimals.
    pub(super) fn add(&mut self, number: &Decimal) -> bool {
        let Some(last) = number.digits.len().checked_sub(1) else { return true };
        let high = number.exponent.saturating_add(last as i64);
        if number.exponent < FIRST * DIGITS || high >= (FIRST + PLACES as i64) * DIGITS {
            return false;
        }
        let sign = if number.negative { -1 } else { 1 };
        for (place, digit) in (number.exponent..).zip(number.digits.iter().rev()) {
            let at = (place.div_euclid(DIGITS) - FIRST) as usize;
            let power = 10_i128.pow(place.rem_euclid(DIGITS) as u32);
            self.places[at] += sign * i128::from(digit - b'0') * power;
        }
        true
    }

    /// Adds one.
    pub(super) fn count(&mut self) {
        self.places[(-FIRST) as usize] += 1;
    }

    /// This sum less `other`.
    pub(super) fn less(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        for (place, other) in difference.places.iter_mut().zip(other.places.iter()) {
            *place -= other;
        }
        difference
    }

    /// Whether it is above `other`.
    pub(super) fn is_above(&self, other: &Self) -> bool {
        let difference = self.less(other).decimal();
        !difference.negative && !difference.digits.is_empty()
    }

    /// Its distance from zero.
    pub(super) fn distance(&self) -> Self {
        if self.decimal().negative { Self::default().less(self) } else { self.clone() }
    }

    /// The sum as one number.
    pub(super) fn decimal(&self) -> Decimal {
        let (places, carry) = carried(&self.places);
        let negative = carry < 0;
        let places = if negative { carried(&places_negated(&self.places)).0 } else { places };
        let mut digits = Vec::with_capacity(PLACES * DIGITS as usize);
        for place in places.iter().rev() {
            digits.extend(format!("{place:018}").into_bytes());
        }
        let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
        let mut digits = digits.split_off(first);
        let mut exponent = FIRST * DIGITS;
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            return Decimal { negative: false, digits, exponent: 0 };
        }
        Decimal { negative, digits, exponent }
    }

    /// The sum as text, such as `53402.5`; with an exponent only where it has more than 60 digits.
    pub(super) fn text(&self) -> String {
        let Decimal { negative, digits, exponent } = self.decimal();
        let digits = String::from_utf8_lossy(&digits).into_owned();
        let sign = if negative { "-" } else { "" };
        let (length, point) = (digits.len() as i64, digits.len() as i64 + exponent);
        if digits.is_empty() {
            return "0".to_owned();
        }
        if length.max(point).max(length - point) > PLAIN_MAX {
            let (first, rest) = digits.split_at(1);
            let rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
            return format!("{sign}{first}{rest}e{}", point - 1);
        }
        match point {
            ..=0 => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
            _ if point >= length => format!("{sign}{digits}{}", "0".repeat((point - length) as usize)),
            _ => format!("{sign}{}.{}", &digits[..point as usize], &digits[point as usize..]),
        }
    }

    /// The nearest binary number: for statistics, never for what is shown or held against an amount.
    pub(super) fn about(&self) -> f64 {
        self.text().parse().unwrap_or(f64::INFINITY)
    }
}

/// The places with what each has too much carried to the next; what is carried out of the last is below zero where the sum is.
fn carried(places: &[i128; PLACES]) -> ([i128; PLACES], i128) {
    let (mut all, mut carry) = (*places, 0);
    for place in &mut all {
        let whole = *place + carry;
        (carry, *place) = (whole.div_euclid(BASE), whole.rem_euclid(BASE));
    }
    (all, carry)
}

fn places_negated(places: &[i128; PLACES]) -> [i128; PLACES] {
    places.map(|place| -place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(numbers: &[&str]) -> String {
        let mut sum = Exact::default();
        for number in numbers {
            assert!(sum.add(&Decimal::read(number)), "{number}");
        }
        sum.text()
    }

    #[test]
    fn sums_are_exact_however_numbers_are_spelled() {
        for (numbers, total) in [
            (&["0.1", "0.2"][..], "0.3"),
            (&["1e2", "-100.0"], "0"),
            (&["9999999999999999999999", "1"], "10000000000000000000000"),
            (&["1e30", "0.000000000000000000001"], "1000000000000000000000000000000.000000000000000000001"),
            (&["-0.5", "-0.75"], "-1.25"),
            (&["1", "-1.001"], "-0.001"),
            (&["1e100", "-3e99"], "7e99"),
            (&["-12e-80"], "-1.2e-79"),
            (&[], "0"),
        ] {
            assert_eq!(sum(numbers), total, "{numbers:?}");
        }
    }

    #[test]
    fn a_million_cents_drift_by_nothing() {
        let (mut sum, cent) = (Exact::default(), Decimal::read("0.01"));
        (0..1_000_000).for_each(|_| assert!(sum.add(&cent)));
        assert_eq!(sum.text(), "10000");
    }

    #[test]
    fn what_has_no_place_is_not_added() {
        let mut sum = Exact::read("5");
        for number in ["1e540", "1e-541", "1e999999999999999999999", "-1e9223372036854775807"] {
            assert!(!sum.add(&Decimal::read(number)), "{number}");
        }
        assert!(sum.add(&Decimal::read("9.99e539")) && sum.add(&Decimal::read("-9.99e539")));
        assert_eq!(sum.text(), "5");
    }

    #[test]
    fn distances_are_ordered() {
        let (one, two) = (Exact::read("-0.02"), Exact::read("0.019999999999999999999"));
        assert!(two.is_above(&one) && !one.is_above(&two) && one.distance().is_above(&two.distance()));
        assert!(!one.is_above(&one));
        assert!((one.about() + 0.02).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn no_order_of_adding_changes_a_sum(
            numbers in prop::collection::vec((any::<i64>(), -40_i64..40), 0..40),
        ) {
            let all: Vec<Decimal> = numbers.iter().map(|(digits, exponent)| Decimal::read(&format!("{digits}e{exponent}"))).collect();
            let add = |numbers: &mut dyn Iterator<Item = &Decimal>| {
                let mut sum = Exact::default();
                numbers.for_each(|number| assert!(sum.add(number)));
                sum
            };
            let (forth, back) = (add(&mut all.iter()), add(&mut all.iter().rev()));
            prop_assert_eq!(forth.text(), back.text());
            prop_assert_eq!(forth.less(&back).text(), "0");
            prop_assert_eq!(Exact::read(&forth.text()).text(), forth.text());
        }
    }
}
