//! Compensation 1.4: pays every fare class of a flight that arrives three hours late or more, each payment once.

use std::collections::HashSet;
use std::io;

use serde::Serialize;

use super::Stdio;

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
    let mut paid = HashSet::new();
    while let Some(event) = stdio.read()? {
        if let Some(flight) = event.value.as_ref().filter(|flight| flight.arrival_delay_minutes >= Some(LATE_MINUTES)) {
            for (fare_class, share) in FARE_CLASSES {
                let payment_id = format!("{}/{fare_class}", flight.flight_id);
                if !paid.insert(payment_id.clone()) {
                    continue;
                }
                let amount = cents(fare_tenths(flight.distance_miles), share);
                let payment = Payment { payment_id, flight_id: &flight.flight_id, fare_class, amount, currency: "USD" };
                stdio.write("payouts", &flight.flight_id, event.timestamp_ms, &payment, &event)?;
            }
        }
        stdio.commit(&event)?;
    }
    Ok(())
}

/// Fare of a route in tenths of a cent: 50 dollars and 12.3 cents a mile.
fn fare_tenths(distance_miles: i64) -> i64 {
    50_000 + 123 * distance_miles
}

/// Share of a fare in cents, rounded half up.
fn cents(fare_tenths: i64, share_thousandths: i64) -> i64 {
    (fare_tenths * share_thousandths + 5_000) / 10_000
}
