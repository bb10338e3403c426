//! Refunds 3.2: pays every passenger of a cancelled flight back, each flight once.

use std::collections::HashSet;
use std::io;

use serde::Serialize;

use super::Client;

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names stand in production's events")]
struct Refund<'a> {
    refund_id: String,
    flight_id: &'a str,
    /// In cents, a seat.
    amount: i64,
}

pub(super) fn run(mut kafka: Client) -> io::Result<()> {
    let mut paid = HashSet::new();
    loop {
        let event = kafka.read()?;
        if let Some(flight) = event.value.as_ref().filter(|flight| flight.what == "cancelled") {
            let refund_id = format!("refund/{}", flight.flight_id);
            // What a consumer reads again is dealt with again, and paid no second time.
            if paid.insert(refund_id.clone()) {
                let refund = Refund { refund_id, flight_id: &flight.flight_id, amount: fare(flight.distance_miles) };
                kafka.write("refunds", &flight.flight_id, event.timestamp_ms, &refund)?;
            }
        }
        kafka.done(&event)?;
    }
}

/// Fare of a route in cents: 50 dollars and 12.3 cents a mile, rounded half up.
fn fare(distance_miles: i64) -> i64 {
    (50_000 + 123 * distance_miles + 5) / 10
}
