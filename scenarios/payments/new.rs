//! Payments 1.1: as 1.0, without a memory that grows. Two lines went wrong; each has a flag that mends it.

use std::collections::HashSet;
use std::io;

use serde::Serialize;

use super::{Api, Stdio, flag};

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names stand in production's calls")]
struct Refund<'a> {
    refund_id: &'a str,
    flight_id: &'a str,
    /// In cents, a seat.
    amount: i64,
}

pub(super) fn run(mut stdio: Stdio<'_>) -> io::Result<()> {
    let bank = Api::at("BANK");
    // 1.1 leaves it to the bank to know what it has paid already; this bank does not.
    let remember = flag("remember", false);
    let mut paid = HashSet::new();
    while let Some(event) = stdio.read()? {
        if let Some(flight) = event.value.as_ref().filter(|flight| flight.what == "cancelled") {
            let refund_id = format!("refund/{}", flight.flight_id);
            if !remember || paid.insert(refund_id.clone()) {
                let amount = fare(flight.distance_miles);
                let refund = Refund { refund_id: &refund_id, flight_id: &flight.flight_id, amount };
                bank.post("/v1/refunds", &refund_id, &refund)?;
            }
        }
        stdio.commit(&event)?;
    }
    Ok(())
}

/// Fare of a route in cents: 50 dollars and 12.3 cents a mile; since 1.1 cut to the cent.
fn fare(distance_miles: i64) -> i64 {
    let half = if flag("round", false) { 5 } else { 0 };
    (50_000 + 123 * distance_miles + half) / 10
}
