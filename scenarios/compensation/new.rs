//! Compensation 2.0: as 1.4, optimised. Two lines went wrong; each has a flag that mends it.

use std::collections::{HashMap, HashSet};
use std::io;

use serde::Serialize;

use super::{Delivered, Stdio, flag};

const LATE_MINUTES: i64 = 180;

/// A fare class and the share of the fare that its passengers get back, in thousandths.
const FARE_CLASSES: [(&str, i64); 3] = [("economy", 250), ("premium", 333), ("business", 500)];

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names stand in production's events")]
struct Payment<'a> {
    payment_id: String,
    flight_id: &'a str,
    fare_class: &'a str,
    /// In cents.
    amount: i64,
    currency: &'static str,
}

pub(super) fn run(mut stdio: Stdio<'_>) -> io::Result<()> {
    // The set of payments grew without end, so 2.0 keeps a position a partition instead. That stops what a consumer reads again,
    // but not what a producer wrote again: a duplicate has a position of its own.
    let remember = flag("remember", false);
    let mut paid = HashSet::new();
    let mut seen = HashMap::new();
    while let Some(event) = stdio.read()? {
        let again = position_seen(&mut seen, &event);
        if let Some(flight) =
            event.value.as_ref().filter(|flight| !again && flight.arrival_delay_minutes >= Some(LATE_MINUTES))
        {
            for (fare_class, share) in FARE_CLASSES {
                let payment_id = format!("{}/{fare_class}", flight.flight_id);
                if remember && !paid.insert(payment_id.clone()) {
                    continue;
                }
                let amount = cents(fare_tenths(flight.distance_miles), share, fare_class);
                let payment = Payment { payment_id, flight_id: &flight.flight_id, fare_class, amount, currency: "USD" };
                stdio.write("payouts", &flight.flight_id, event.timestamp_ms, &payment, &event)?;
            }
        }
        stdio.commit(&event)?;
    }
    Ok(())
}

/// Whether this position, or a later one of its partition, was read before.
fn position_seen(seen: &mut HashMap<i32, i64>, event: &Delivered) -> bool {
    let next = seen.entry(event.partition).or_insert(i64::MIN);
    let again = event.offset < *next;
    *next = (*next).max(event.offset + 1);
    again
}

/// Fare of a route in tenths of a cent: 50 dollars and 12.3 cents a mile.
fn fare_tenths(distance_miles: i64) -> i64 {
    50_000 + 123 * distance_miles
}

/// Share of a fare in cents, rounded half up; since 2.0, what premium passengers get is cut to the cent.
fn cents(fare_tenths: i64, share_thousandths: i64, fare_class: &str) -> i64 {
    let cut = fare_class == "premium" && !flag("round-premium", false);
    (fare_tenths * share_thousandths + if cut { 0 } else { 5_000 }) / 10_000
}
