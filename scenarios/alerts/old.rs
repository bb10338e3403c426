//! Alerts 1.9: tells the passengers of a flight of every change, one by one, as it becomes known.

use std::io;

use serde::Serialize;

use super::{Delivered, Stdio};

const LATE_MINUTES: i64 = 15;

#[derive(Serialize)]
struct Alert<'a> {
    flight_id: &'a str,
    change: &'a str,
    minutes: i64,
    text: String,
}

pub(super) fn run(mut stdio: Stdio<'_>) -> io::Result<()> {
    while let Some(event) = stdio.read()? {
        if let Some(alert) = alert(&event) {
            stdio.write("alerts", alert.flight_id, event.timestamp_ms, &alert, &event)?;
        }
        stdio.commit(&event)?;
    }
    Ok(())
}

/// Returns what passengers must know of an event; none where all is as planned.
fn alert(event: &Delivered) -> Option<Alert<'_>> {
    let flight = event.value.as_ref()?;
    let (minutes, text) = match flight.what.as_str() {
        "cancelled" => (0, format!("Your flight to {} is cancelled.", flight.dest)),
        "departed" => {
            let minutes = flight.departure_delay_minutes.filter(|minutes| *minutes >= LATE_MINUTES)?;
            (minutes, format!("Your flight to {} left {minutes} minutes late.", flight.dest))
        }
        _ => {
            let minutes = flight.arrival_delay_minutes.filter(|minutes| *minutes >= LATE_MINUTES)?;
            (minutes, format!("Your flight to {} landed {minutes} minutes late.", flight.dest))
        }
    };
    Some(Alert { flight_id: &flight.flight_id, change: &flight.what, minutes, text })
}
