//! Numbers: rounding, precision, units, offsets and signs.

use super::exact::{Exact, Mode};
use super::sides::Sides;
use super::votes::{Explains, Votes};
use super::{Claim, Evidence};

/// An explanation of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NumberWay {
    /// One side is the other rounded to so many places.
    Rounded { new_is: bool, places: i32, mode: Mode },
    /// One side is the other rounded to so many digits.
    Digits { new_is: bool, digits: u32 },
    /// One side is the other as a float of 32 bits holds it.
    Single { new_is: bool },
    /// Both are one float of 64 bits; the side has digits that such a float cannot hold.
    Double { new_is: bool },
    /// Apart by one in the last place, which is so many places behind the point.
    Step { places: i32 },
    /// As `Step`, and new is nearer to zero, or farther.
    StepTo { places: i32, nearer: bool },
    /// As `Step`, and new is less, or more.
    StepBy { places: i32, less: bool },
    /// As `StepTo`, and the last digit of new is even, or that of old.
    StepEven { places: i32, nearer: bool, new_is_even: bool },
    /// New is old times a known factor, or divided by it; `sure` where few other factors would fit.
    Unit { unit: usize, times: bool, sure: bool },
    /// New is old times a fraction.
    Ratio { over: i64, under: i64 },
    /// New is old and so much more.
    Offset(Exact),
    /// New is old with the other sign.
    Negated,
    /// New lacks the sign of old.
    Unsigned,
    /// Old lacks the sign of new.
    Signed,
}

impl Explains for NumberWay {
    fn kind(&self) -> u8 {
        match self {
            NumberWay::Offset(_) => 1,
            NumberWay::Ratio { .. } => 2,
            _ => 0,
        }
    }
}

/// Factors between units, with what they tell.
const UNITS: [(i128, i128, &str); 16] = [
    (10, 1, ""),
    (100, 1, ", as between cents and whole, or percent and share"),
    (1_000, 1, ", as between thousandths and whole"),
    (10_000, 1, ", as between basis points and share"),
    (1_000_000, 1, ", as between millionths and whole"),
    (1_000_000_000, 1, ", as between billionths and whole"),
    (60, 1, ", as between seconds and minutes, or minutes and hours"),
    (3_600, 1, ", as between seconds and hours"),
    (86_400, 1, ", as between seconds and days"),
    (24, 1, ", as between hours and days"),
    (1_440, 1, ", as between minutes and days"),
    (1_024, 1, ", as between bytes and KiB"),
    (1_048_576, 1, ", as between bytes and MiB"),
    (1_609_344, 1_000_000, ", as between miles and kilometres"),
    (3_048, 10_000, ", as between feet and metres"),
    (45_359_237, 100_000_000, ", as between pounds and kilograms"),
];

/// Places that rounding is looked for at.
const PLACES: std::ops::RangeInclusive<i32> = -6..=12;

/// Units of the last place that a number must have, so that a factor that fits it is no chance.
const SURE: i128 = 20;

/// Differences whose last digits must all be even: by chance they are once in a thousand.
const EVEN_MIN: u64 = 10;

/// Finds what explains two numbers.
pub(super) fn ways(sides: &Sides<'_, '_>) -> Vec<NumberWay> {
    let Some((old, new)) = sides.old.number.zip(sides.new.number) else { return Vec::new() };
    let mut ways = Vec::new();
    if old.equals(new) {
        return ways;
    }
    let (old_normal, new_normal) = (old.normal(), new.normal());
    if old_normal.places > new_normal.places {
        rounded((old_normal, new_normal), true, &mut ways);
    } else if new_normal.places > old_normal.places {
        rounded((new_normal, old_normal), false, &mut ways);
    }
    floats(old, new, &mut ways);
    step(old, new, &mut ways);
    units(old, new, &mut ways);
    if let Some(offset) = new.minus(old) {
        ways.push(NumberWay::Offset(offset));
    }
    if old.digits != 0 && new.digits != 0 && old.times(-1).is_some_and(|negated| negated.equals(new)) {
        ways.push(NumberWay::Negated);
        ways.push(if old.digits < 0 { NumberWay::Unsigned } else { NumberWay::Signed });
    }
    ways
}

fn rounded((fine, coarse): (Exact, Exact), new_is: bool, ways: &mut Vec<NumberWay>) {
    for places in coarse.places.max(*PLACES.start())..fine.places.min(*PLACES.end() + 1) {
        let before = ways.len();
        let fits = |mode: &Mode| fine.rounded(places, *mode).is_some_and(|rounded| rounded.equals(coarse));
        let fitting = Mode::ALL.into_iter().filter(fits);
        ways.extend(fitting.map(|mode| NumberWay::Rounded { new_is, places, mode }));
        if ways.len() == before {
            // With more places the two would have to be nearer to each other.
            break;
        }
    }
    let digits = coarse.significant()..fine.significant().min(18);
    for digits in digits {
        let places = digits as i32 - 1 - fine.magnitude();
        let nearest = [Mode::HalfUp, Mode::HalfEven].into_iter();
        let mut fits = nearest.filter_map(|mode| fine.rounded(places, mode));
        if fits.any(|rounded| rounded.equals(coarse)) {
            ways.push(NumberWay::Digits { new_is, digits });
        }
    }
}

fn floats(old: Exact, new: Exact, ways: &mut Vec<NumberWay>) {
    let (one, other) = (old.float(), new.float());
    let nearly = (one - other).abs() <= 4.0 * f64::EPSILON * one.abs().max(other.abs());
    if nearly {
        let new_is = new.significant() > old.significant()
            || (is_same(one, other) && old.significant() > 15 && new.significant() <= old.significant());
        ways.push(NumberWay::Double { new_is });
        return;
    }
    let single = |number: f64| f64::from(number as f32);
    let as_text = |number: f64| (number as f32).to_string().parse().unwrap_or(f64::NAN);
    for (fine, coarse, new_is) in [(one, other, true), (other, one, false)] {
        if is_same(coarse, single(fine)) || is_same(coarse, as_text(fine)) {
            ways.push(NumberWay::Single { new_is });
        }
    }
}

/// Whether two floats are one and the same: near is not enough here.
fn is_same(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits()
}

fn step(old: Exact, new: Exact, ways: &mut Vec<NumberWay>) {
    let places = old.normal().places.max(new.normal().places);
    let Some((one, other)) = old.at(places).zip(new.at(places)) else { return };
    if places < 1 || (one - other).abs() != 1 {
        return;
    }
    let (nearer, less) = (other.abs() < one.abs(), other < one);
    ways.extend([NumberWay::Step { places }, NumberWay::StepTo { places, nearer }, NumberWay::StepBy { places, less }]);
    ways.push(NumberWay::StepEven { places, nearer, new_is_even: other % 2 == 0 });
}

fn units(old: Exact, new: Exact, ways: &mut Vec<NumberWay>) {
    if old.digits == 0 || new.digits == 0 {
        // Zero is zero in every unit, but only what is small becomes it.
        return small(old, new, ways);
    }
    for (unit, (over, under, _)) in UNITS.iter().enumerate() {
        for times in [true, false] {
            let (over, under) = if times { (*over, *under) } else { (*under, *over) };
            if let Some(sure) = fits((old, new), over, under) {
                ways.push(NumberWay::Unit { unit, times, sure: false });
                ways.extend(sure.then_some(NumberWay::Unit { unit, times, sure: true }));
            }
        }
    }
    let places = old.places.max(new.places);
    if let Some((one, other)) = old.at(places).zip(new.at(places)) {
        let divisor = gcd(one.unsigned_abs(), other.unsigned_abs()) as i128 * one.signum();
        let (over, under) = (i64::try_from(other / divisor), i64::try_from(one / divisor));
        if let (Ok(over), Ok(under)) = (over, under)
            && over.abs() <= 1_000_000
            && under <= 1_000_000
        {
            ways.push(NumberWay::Ratio { over, under });
        }
    }
}

/// Whether new is old times a fraction, up to the last place of new; and whether new has enough units of it to tell.
fn fits((old, new): (Exact, Exact), over: i128, under: i128) -> Option<bool> {
    let places = old.places.max(new.places);
    let (one, other) = (old.at(places)?, new.at(places)?);
    let apart = one.checked_mul(over)?.checked_sub(other.checked_mul(under)?)?;
    // Whole numbers are counted in ones, however many zeros they end in.
    let unit = Exact { digits: 1, places: new.places.max(0) };
    if apart.abs() >= unit.at(places.max(unit.places))?.checked_mul(under)? {
        return None;
    }
    Some(apart == 0 || other.abs() >= unit.at(places.max(unit.places))?.checked_mul(SURE)?)
}

fn small(old: Exact, new: Exact, ways: &mut Vec<NumberWay>) {
    if new.digits != 0 {
        return;
    }
    for (unit, (over, under, _)) in UNITS.iter().enumerate() {
        for times in [true, false] {
            let (over, under) = if times { (*over, *under) } else { (*under, *over) };
            if fits((old, new), over, under).is_some() {
                ways.push(NumberWay::Unit { unit, times, sure: false });
            }
        }
    }
}

fn gcd(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one.max(1)
}

/// Says which explanations hold for enough differences, each with its rank: the lower, the more it tells.
pub(super) fn claims(votes: &Votes<NumberWay>, evidence: &Evidence<'_>) -> Vec<Claim> {
    let path = evidence.path;
    let mut claims = Vec::new();
    let mut claim = |name: &'static str, rank: u8, explains: u64, says: String| {
        if evidence.is_enough(explains) {
            claims.push(Claim { name, rank, explains, says });
        }
    };
    let several = evidence.pairs >= 3 && evidence.olds >= 2 && evidence.news >= 2;
    for new_is in [true, false] {
        if let Some((places, explains, modes)) = best_rounding(votes, new_is, evidence).filter(|_| several) {
            claim("rounding", 2, explains, rounding(path, new_is, places, &modes));
        }
        let digits = votes.all().filter_map(|(way, count)| match way {
            NumberWay::Digits { new_is: side, digits } if *side == new_is => Some((count, std::cmp::Reverse(*digits))),
            _ => None,
        });
        if let Some((explains, digits)) = digits.max().filter(|_| several) {
            let (keeps, all) = if new_is { ("new keeps", "old") } else { ("old keeps", "new") };
            claim(
                "precision",
                3,
                explains,
                format!("{keeps} {} significant digits of {path} where {all} has more", digits.0),
            );
        }
        let single = votes.of(&NumberWay::Single { new_is });
        let side = if new_is { "new keeps" } else { "new no longer keeps" };
        if several {
            claim("precision", 1, single, format!("{side} {path} as a 32-bit float, which holds about 7 digits"));
            let double = votes.of(&NumberWay::Double { new_is });
            let (float, exact) = if new_is { ("new", "old") } else { ("old", "new") };
            claim(
                "precision",
                1,
                double,
                format!("{float} computes {path} in 64-bit floats, {exact} in decimals or wider numbers"),
            );
        }
    }
    steps(votes, evidence, &mut claim);
    for (way, count) in votes.all() {
        match way {
            NumberWay::Unit { unit, times, sure: false } if several => {
                let sure = votes.of(&NumberWay::Unit { unit: *unit, times: *times, sure: true });
                if sure >= 3 {
                    claim("unit", 2, count, unit_text(path, *unit, *times));
                }
            }
            NumberWay::Ratio { over, under }
                if several && *under != 0 && !is_unit(*over, *under) && over != &-under =>
            {
                claim("factor", 3, count, ratio_text(path, *over, *under));
            }
            NumberWay::Offset(offset) if evidence.pairs >= 3 && evidence.olds >= 3 => {
                let (more, amount) =
                    if offset.digits < 0 { ("less", offset.times(-1)) } else { ("more", Some(*offset)) };
                let amount = amount.unwrap_or(*offset).text();
                claim("offset", 3, count, format!("new writes {amount} {more} at {path}"));
            }
            NumberWay::Negated if several => claim("sign", 2, count, format!("new turns the sign of {path}")),
            NumberWay::Unsigned if several => claim("sign", 1, count, format!("new drops the minus of {path}")),
            _ => {}
        }
    }
    claims
}

/// Places at which the most differences are explained by rounding, how many, and by which modes.
fn best_rounding(votes: &Votes<NumberWay>, new_is: bool, evidence: &Evidence<'_>) -> Option<(i32, u64, Vec<Mode>)> {
    let found: Vec<(i32, Mode, u64)> = votes
        .all()
        .filter_map(|(way, count)| match way {
            NumberWay::Rounded { new_is: side, places, mode } if *side == new_is => Some((*places, *mode, count)),
            _ => None,
        })
        .filter(|(_, _, count)| evidence.is_enough(*count))
        .collect();
    let most = found.iter().map(|(_, _, count)| *count).max()?;
    let places = found.iter().filter(|(_, _, count)| *count == most).map(|(places, ..)| *places).min()?;
    let modes = found.iter().filter(|(own, _, count)| *own == places && *count == most).map(|(_, mode, _)| *mode);
    Some((places, most, modes.collect()))
}

fn rounding(path: &str, new_is: bool, places: i32, modes: &[Mode]) -> String {
    let has = |mode: Mode| modes.contains(&mode);
    let told = |mode: &Mode| match mode {
        Mode::HalfUp => "half up",
        Mode::HalfEven => "half to even",
        Mode::HalfDown => "half down",
        Mode::Cut => "towards zero",
        Mode::Away => "away from zero",
        Mode::Floor => "down",
        Mode::Ceiling => "up",
    };
    let how = match (has(Mode::HalfUp), has(Mode::HalfEven), has(Mode::HalfDown)) {
        (true, true, true) => "to the nearest".to_owned(),
        // Of numbers of one sign, down is towards zero or away from it.
        (false, false, false) if has(Mode::Floor) => "down".to_owned(),
        (false, false, false) if has(Mode::Ceiling) => "up".to_owned(),
        _ => modes.iter().map(told).collect::<Vec<_>>().join(" or "),
    };
    let to = match places {
        0 => "whole numbers".to_owned(),
        1 => "1 place".to_owned(),
        2.. => format!("{places} places"),
        _ => format!("multiples of {}", Exact { digits: 1, places }.text()),
    };
    let (one, other) = if new_is { ("new rounds", "old writes") } else { ("old rounds", "new writes") };
    format!("{one} {path} {how} to {to} where {other} more digits")
}

fn steps(votes: &Votes<NumberWay>, evidence: &Evidence<'_>, claim: &mut impl FnMut(&'static str, u8, u64, String)) {
    let path = evidence.path;
    let unit = |places: i32| Exact { digits: 1, places }.text();
    for (way, count) in votes.all() {
        match way {
            NumberWay::StepEven { nearer, new_is_even, .. }
                if count >= EVEN_MIN && evidence.pairs >= EVEN_MIN as usize =>
            {
                let says = match (new_is_even, nearer) {
                    (true, true) => format!("new rounds {path} half to even"),
                    (true, false) => format!("new rounds {path} half to even where old rounds half down"),
                    (false, false) => format!("new rounds {path} half up where old rounds half to even"),
                    (false, true) => format!("new rounds {path} half down where old rounds half to even"),
                };
                claim("rounding", 0, count, says);
            }
            NumberWay::StepTo { places, nearer } if evidence.pairs >= 5 => {
                let towards = if *nearer { "towards zero" } else { "away from zero" };
                claim(
                    "rounding",
                    3,
                    count,
                    format!("new rounds {path} {towards} in the last place, by {}", unit(*places)),
                );
            }
            NumberWay::StepBy { places, less } if evidence.pairs >= 5 => {
                let towards = if *less { "down" } else { "up" };
                claim(
                    "rounding",
                    4,
                    count,
                    format!("new rounds {path} {towards} in the last place, by {}", unit(*places)),
                );
            }
            NumberWay::Step { places } if evidence.pairs >= 5 => {
                claim(
                    "last-place",
                    5,
                    count,
                    format!("new differs in the last place of {path}, by {} either way", unit(*places)),
                );
            }
            _ => {}
        }
    }
}

fn is_unit(over: i64, under: i64) -> bool {
    let (over, under) = (i128::from(over), i128::from(under));
    let is = |one: i128, other: i128| UNITS.iter().any(|(top, bottom, _)| one * bottom == other * top);
    is(over, under) || is(under, over)
}

fn unit_text(path: &str, unit: usize, times: bool) -> String {
    let (over, under, about) = UNITS[unit];
    let factor = Exact::whole(over).float() / Exact::whole(under).float();
    let verb = if times { "multiplies" } else { "divides" };
    format!("new {verb} {path} by {factor}{about}")
}

fn ratio_text(path: &str, over: i64, under: i64) -> String {
    match (over, under) {
        (_, 1) => format!("new multiplies {path} by {over}"),
        (1, _) => format!("new divides {path} by {under}"),
        _ => {
            let factor = over as f64 / under as f64;
            let text = factor.to_string();
            let exact = Exact::read(&text).and_then(|text| text.times(i128::from(under)));
            let exact = exact.is_some_and(|product| product.equals(Exact::whole(i128::from(over))));
            if exact {
                format!("new multiplies {path} by {text}")
            } else {
                format!("new multiplies {path} by {over}/{under}")
            }
        }
    }
}
