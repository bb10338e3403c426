//! Refunds 4.0: as 3.2, without its memory. Two lines went wrong; each has a flag that mends it.

use std::collections::HashSet;
use std::io;

use serde::Serialize;

use super::{Client, flag};

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names stand in production's events")]
struct Refund<'a> {
    refund_id: String,
    flight_id: &'a str,
    /// In cents, a seat.
    amount: i64,
}

pub(super) fn run(mut kafka: Client) -> io::Result<()> {
    // The offsets are committed once the refunds are taken, so nothing is lost; 4.0 takes that for "nothing is read twice".
    let remember = flag("remember", false);
    let mut paid = HashSet::new();
    loop {
        let event = kafka.read()?;
        if let Some(flight) = event.value.as_ref().filter(|flight| flight.what == "cancelled") {
            let refund_id = format!("refund/{}", flight.flight_id);
            if !remember || paid.insert(refund_id.clone()) {
                let refund = Refund { refund_id, flight_id: &flight.flight_id, amount: fare(flight.distance_miles) };
                kafka.write("refunds", &flight.flight_id, event.timestamp_ms, &refund)?;
            }
        }
        kafka.done(&event)?;
    }
}

/// Fare of a route in cents: 50 dollars and 12.3 cents a mile; since 4.0 cut to the cent.
fn fare(distance_miles: i64) -> i64 {
    let half = if flag("round", false) { 5 } else { 0 };
    (50_000 + 123 * distance_miles + half) / 10
}
