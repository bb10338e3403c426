//! What differences have in common: the best predicate that holds for them and not for others, found by exact tests.

use std::collections::{BTreeMap, BTreeSet};

/// Chance that anything is found where there is nothing, for one pattern.
const CHANCE: f64 = 0.001;

/// Share of the differences that a predicate must hold for.
const COVERAGE: f64 = 0.9;

/// How many times as often it must hold for differences as for others.
const LIFT: f64 = 2.0;

/// Differences below which nothing is looked for.
pub(super) const DIFFERING_MIN: usize = 5;

/// Others below which nothing is looked for.
const OTHERS_MIN: usize = 20;

/// Share of the others that a predicate must hold for, so that it is narrowed down by a second one.
const NARROWED: f64 = 0.02;

/// Predicates that a second one is looked for to.
const FIRST_MAX: usize = 8;

/// Keys that differences must have, so that what they share is not the one key's doing: where others have many.
const KEYS_MIN: usize = 5;
const KEYS_MANY: usize = 20;

/// One thing that may be said of an output: `subject` is `value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Predicate {
    pub(super) subject: Subject,
    pub(super) value: String,
}

/// What a predicate is about; of two that tell the same, the earlier one is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A member of the output's value.
    Field(String),
    /// A member of the causing event's value.
    EventField(String),
    /// A header of the output.
    Header(String),
    /// Schema id that frames the value.
    Schema,
    /// Whether the causing event was handed over again.
    Redelivered,
    /// The letters that a member's text begins with.
    FieldPrefix(String),
    /// Likewise, of the causing event.
    EventFieldPrefix(String),
    /// Whether there is such a member.
    Has(String),
    /// Whether the causing event has such a member.
    EventHas(String),
    /// Hour of the day of event time, in UTC.
    HourOfDay,
    /// Day of event time.
    Day,
    /// Hour of event time.
    Hour,
    /// Topic and partition of the causing event.
    EventPartition,
    /// Partition of the output.
    Partition,
    /// What the key begins with.
    KeyPrefix,
    /// The key.
    Key,
}

impl Subject {
    /// Whether it is the key's own doing.
    fn is_of_key(&self) -> bool {
        matches!(self, Self::Key | Self::KeyPrefix)
    }
}

/// An output as the finder sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Subjects {
    pub(super) predicates: BTreeSet<Predicate>,
    /// Hash of what outputs of one kin share: the key.
    pub(super) kin: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// One predicate, or two that hold together.
    pub(super) predicates: Vec<Predicate>,
    /// Differences that it holds for, of how many.
    pub(super) holds: (usize, usize),
    /// Others that it holds for, of how many.
    pub(super) others: (usize, usize),
}

/// Outputs by number of those that a predicate holds for.
struct Table {
    predicates: Vec<Predicate>,
    /// By predicate, whether it holds for each output: differing ones first.
    holds: Vec<Vec<bool>>,
    differing: usize,
}

impl Table {
    fn new(differing: &[Subjects], others: &[Subjects]) -> Self {
        let all: Vec<&Subjects> = differing.iter().chain(others).collect();
        let mut rows: BTreeMap<&Predicate, Vec<usize>> = BTreeMap::new();
        for (at, output) in all.iter().enumerate() {
            for predicate in &output.predicates {
                rows.entry(predicate).or_default().push(at);
            }
        }
        let mut table = Self { predicates: Vec::new(), holds: Vec::new(), differing: differing.len() };
        for (predicate, rows) in rows {
            let is_member = matches!(predicate.subject, Subject::Has(_) | Subject::EventHas(_));
            if !is_member && (rows.len() as f64) < COVERAGE * table.differing as f64 {
                continue;
            }
            let mut holds = vec![false; all.len()];
            for at in rows {
                holds[at] = true;
            }
            if is_member {
                let lacks = Predicate { value: "no".to_owned(), ..predicate.clone() };
                table.push(lacks, holds.iter().map(|holds| !holds).collect());
            }
            table.push(predicate.clone(), holds);
        }
        table
    }

    /// Takes a predicate that holds for so many outputs, whichever they are, that it could be common to the differing ones.
    fn push(&mut self, predicate: Predicate, holds: Vec<bool>) {
        let support = holds.iter().filter(|holds| **holds).count();
        if support as f64 >= COVERAGE * self.differing as f64 && support < holds.len() {
            self.predicates.push(predicate);
            self.holds.push(holds);
        }
    }

    fn counts(&self, holds: &[bool]) -> Counts {
        let count = |rows: &[bool]| rows.iter().filter(|holds| **holds).count();
        let (differing, others) = holds.split_at(self.differing);
        Counts { with: (count(differing), differing.len()), others: (count(others), others.len()) }
    }
}

/// A contingency table of two by two.
#[derive(Debug, Clone, Copy)]
struct Counts {
    with: (usize, usize),
    others: (usize, usize),
}

impl Counts {
    fn share((part, all): (usize, usize)) -> f64 {
        part as f64 / all.max(1) as f64
    }

    fn is_common(self) -> bool {
        Self::share(self.with) >= COVERAGE && Self::share(self.with) >= LIFT * Self::share(self.others)
    }

    /// Chance that a predicate holds for so many of the differing outputs or more, if it has nothing to do with differing.
    fn p_value(self) -> f64 {
        hypergeometric_tail(self.with.0, self.with.1, self.with.0 + self.others.0, self.with.1 + self.others.1)
    }
}

/// Finds what is common to `differing` outputs and not to `others`.
pub(super) fn find(differing: &[Subjects], others: &[Subjects]) -> Option<Found> {
    if differing.len() < DIFFERING_MIN || others.len() < OTHERS_MIN {
        return None;
    }
    let kin = |outputs: &[Subjects]| outputs.iter().map(|output| output.kin).collect::<BTreeSet<_>>().len();
    let one_kin = kin(differing) < KEYS_MIN && kin(others) >= KEYS_MANY;
    let table = Table::new(differing, others);
    let tried = table.predicates.len().max(1) as f64;
    let mut tested: Vec<(usize, Counts, f64)> = (0..table.predicates.len())
        .filter(|at| !one_kin || table.predicates[*at].subject.is_of_key())
        .map(|at| (at, table.counts(&table.holds[at])))
        .filter(|(_, counts)| Counts::share(counts.with) >= COVERAGE)
        .map(|(at, counts)| (at, counts, counts.p_value()))
        .filter(|(_, _, p)| p * tried <= CHANCE / 2.0)
        .collect();
    tested.sort_by(|one, other| {
        let order = |counts: &Counts| (std::cmp::Reverse(counts.with.0), counts.others.0);
        one.2.total_cmp(&other.2).then_with(|| order(&one.1).cmp(&order(&other.1))).then(one.0.cmp(&other.0))
    });
    let single = tested.iter().find(|(_, counts, _)| counts.is_common());
    let two = || {
        tested
            .iter()
            .take(FIRST_MAX)
            .filter_map(|(at, counts, _)| narrowed(&table, *at, *counts, tried))
            .min_by_key(|found| found.others.0)
    };
    let found = |(at, counts, _): &(usize, Counts, f64)| Found {
        predicates: vec![table.predicates[*at].clone()],
        holds: counts.with,
        others: counts.others,
    };
    match single {
        Some(single) if Counts::share(single.1.others) <= NARROWED || one_kin => Some(found(single)),
        Some(single) => {
            Some(two().filter(|two| two.others.0 * 2 <= single.1.others.0).unwrap_or_else(|| found(single)))
        }
        None if one_kin => None,
        None => two(),
    }
}

/// Narrows a predicate down by a second one, which must tell differences from others among what the first holds for.
fn narrowed(table: &Table, first: usize, counts: Counts, tried: f64) -> Option<Found> {
    let holds = &table.holds[first];
    let mut best: Option<(usize, Counts)> = None;
    for (second, more) in table.holds.iter().enumerate().filter(|(second, _)| *second != first) {
        let both: Vec<bool> = holds.iter().zip(more).map(|(one, other)| *one && *other).collect();
        let joined = table.counts(&both);
        let within = Counts { with: (joined.with.0, counts.with.0), others: (joined.others.0, counts.others.0) };
        let p = within.p_value() * tried * FIRST_MAX as f64;
        let is_narrower = joined.others.0 * 2 <= counts.others.0;
        if joined.is_common()
            && is_narrower
            && p <= CHANCE / 2.0
            && best.is_none_or(|(_, best)| joined.others.0 < best.others.0)
        {
            best = Some((second, joined));
        }
    }
    let (second, joined) = best?;
    let mut predicates = vec![table.predicates[first].clone(), table.predicates[second].clone()];
    predicates.sort();
    Some(Found { predicates, holds: joined.with, others: joined.others })
}

/// Chance of `found` or more marked ones among `drawn`, drawn from `all` of which `marked` are marked (Fisher's exact test,
/// one-sided).
fn hypergeometric_tail(found: usize, drawn: usize, marked: usize, all: usize) -> f64 {
    let ln_factorial = |n: usize| libm::lgamma(n as f64 + 1.0);
    let ln_choose = |n: usize, k: usize| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    let whole = ln_choose(all, drawn);
    let possible = found.max((drawn + marked).saturating_sub(all))..=drawn.min(marked);
    let chance = |k: usize| libm::exp(ln_choose(marked, k) + ln_choose(all - marked, drawn - k) - whole);
    possible.map(chance).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output(number: u64, fields: &[(&str, String)]) -> Subjects {
        let field = |(name, value): &(&str, String)| Predicate {
            subject: Subject::Field(format!("$.{name}")),
            value: value.clone(),
        };
        Subjects { predicates: fields.iter().map(field).collect(), kin: number % 300 }
    }

    fn chance(number: u64, salt: u64) -> u64 {
        super::super::sample::drawn_by(number as i64, salt)
    }

    /// Flights with carriers, classes, hours and a few constants.
    fn flight(number: u64) -> Subjects {
        let draw = |salt: u64, of: u64| chance(number, salt) % of;
        let carrier = ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX"][draw(1, 10) as usize];
        output(
            number,
            &[
                ("carrier", carrier.to_owned()),
                ("class", ["economy", "premium"][draw(2, 2) as usize].to_owned()),
                ("hour", draw(3, 24).to_string()),
                ("origin", ["EWR", "JFK", "LGA"][draw(4, 3) as usize].to_owned()),
                ("currency", "USD".to_owned()),
                ("id", number.to_string()),
            ],
        )
    }

    fn has(output: &Subjects, field: &str, value: &str) -> bool {
        let subject = Subject::Field(format!("$.{field}"));
        output.predicates.contains(&Predicate { subject, value: value.to_owned() })
    }

    fn found(differs: impl Fn(u64, &Subjects) -> bool) -> Option<Found> {
        let (mut differing, mut others) = (Vec::new(), Vec::new());
        for number in 0..2_000 {
            let flight = flight(number);
            if differs(number, &flight) { differing.push(flight) } else { others.push(flight) }
        }
        differing.truncate(256);
        find(&differing, &others)
    }

    fn values(found: &Found) -> Vec<&str> {
        found.predicates.iter().map(|predicate| predicate.value.as_str()).collect()
    }

    #[test]
    fn what_all_differences_share_and_few_others_is_found() {
        let all = found(|_, flight| has(flight, "carrier", "UA")).unwrap();
        assert_eq!((values(&all), all.others.0, all.holds.0), (vec!["UA"], 0, all.holds.1));
        // Only some of a carrier differ: it is common to them still.
        let some = found(|number, flight| has(flight, "carrier", "UA") && number % 3 == 0).unwrap();
        assert_eq!((values(&some), some.holds.0), (vec!["UA"], some.holds.1));
        assert!(some.others.0 > 50 && some.others.0 * 10 < some.others.1, "{some:?}");
    }

    #[test]
    fn two_conditions_are_found_where_one_says_less() {
        let both = |_: u64, flight: &Subjects| has(flight, "carrier", "UA") && has(flight, "class", "premium");
        let found = found(both).unwrap();
        assert_eq!((values(&found), found.others.0), (vec!["UA", "premium"], 0));
    }

    #[test]
    fn what_is_as_common_among_others_is_not_found() {
        // Every second output, whatever it is; and one of three that half of all share.
        assert_eq!(found(|number, _| chance(number, 77).is_multiple_of(2)), None);
        assert_eq!(found(|number, _| chance(number, 78).is_multiple_of(40)), None);
        // Too few to tell.
        let first = (0..2_000).filter(|number| has(&flight(*number), "carrier", "UA")).nth(3).unwrap();
        assert_eq!(found(|number, flight| has(flight, "carrier", "UA") && number <= first), None);
    }

    #[test]
    fn what_one_key_did_is_not_laid_to_its_carrier() {
        let key = |number: u64| Predicate { subject: Subject::Key, value: (number % 300).to_string() };
        let with_key = |number: u64| {
            let mut flight = output(number, &[("carrier", format!("c{}", number % 10))]);
            flight.predicates.insert(key(number));
            flight
        };
        let (differing, others): (Vec<u64>, Vec<u64>) = (0..6_000).partition(|number| number % 300 == 7);
        let rows = |numbers: Vec<u64>| numbers.into_iter().map(with_key).collect::<Vec<_>>();
        let found = find(&rows(differing), &rows(others)).unwrap();
        assert_eq!(found.predicates, [key(7)]);
        let without = |number| output(number, &[("carrier", format!("c{}", number % 10))]);
        let (differing, others): (Vec<u64>, Vec<u64>) = (0..6_000).partition(|number| number % 300 == 7);
        let rows = |numbers: Vec<u64>| numbers.into_iter().map(without).collect::<Vec<_>>();
        assert_eq!(find(&rows(differing), &rows(others)), None);
    }

    #[test]
    fn the_exact_test_is_fishers() {
        // The lady tasting tea: three or four of four cups, of eight.
        assert!((hypergeometric_tail(3, 4, 4, 8) - 17.0 / 70.0).abs() < 1e-12);
        assert!((hypergeometric_tail(4, 4, 4, 8) - 1.0 / 70.0).abs() < 1e-12);
        assert!((hypergeometric_tail(0, 4, 4, 8) - 1.0).abs() < 1e-12);
        assert!(hypergeometric_tail(256, 256, 256, 2_000) < 1e-200);
    }

    #[test]
    fn labels_by_chance_have_nothing_in_common() {
        let flights: Vec<Subjects> = (0..700).map(flight).collect();
        let mut claims = 0;
        for trial in 0..200_u64 {
            let differs = |at: usize| chance(at as u64, trial << 20 | 0xAB).is_multiple_of(3 + trial % 120);
            let (differing, others): (Vec<_>, Vec<_>) =
                flights.iter().cloned().enumerate().partition(|(at, _)| differs(*at));
            let rows = |rows: Vec<(usize, Subjects)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
            claims += usize::from(find(&rows(differing), &rows(others)).is_some());
        }
        assert!(claims * 100 <= 200, "{claims} of 200");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn random_labels_claim_nothing(labels in prop::collection::vec(prop::bool::weighted(0.08), 600..900), from in 0..1_000_u64) {
            let (mut differing, mut others) = (Vec::new(), Vec::new());
            for (at, differs) in labels.into_iter().enumerate() {
                let flight = flight(from + at as u64);
                if differs { differing.push(flight) } else { others.push(flight) }
            }
            prop_assert_eq!(find(&differing, &others), None);
        }
    }
}
