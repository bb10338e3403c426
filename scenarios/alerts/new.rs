//! Alerts 2.0: as 1.9, in batches by partition. Two lines went wrong; each has a flag that mends it.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::{Delivered, Stdio, flag};

const LATE_MINUTES: i64 = 15;
/// Deliveries after which every partition sends the alerts that wait in it.
const ROUND: usize = 72;
/// Alerts of one partition that are sent at once, without waiting for the end of the round.
const BATCH: usize = 16;

#[derive(Serialize)]
struct Alert<'a> {
    flight_id: &'a str,
    change: &'a str,
    minutes: i64,
    text: String,
}

pub(super) fn run(mut stdio: Stdio<'_>) -> io::Result<()> {
    let in_order = flag("in-order", false);
    let empty_batch = flag("empty-batch", false);
    let mut batches: BTreeMap<i32, Vec<Delivered>> = BTreeMap::new();
    let mut deliveries = 0;
    while let Some(event) = stdio.read()? {
        deliveries += 1;
        if alert(&event).is_some() {
            let batch = batches.entry(event.partition).or_default();
            batch.push(event);
            if batch.len() == BATCH {
                let last = send(&mut stdio, batch, in_order)?;
                // A partition this busy has more to say in the same round. Its last alert stays in the batch, so that the next
                // one goes on from there, and is sent again.
                batch.extend(last.filter(|_| !empty_batch));
            }
        }
        if deliveries % ROUND == 0 {
            for batch in batches.values_mut() {
                send(&mut stdio, batch, in_order)?;
            }
        }
    }
    for batch in batches.values_mut() {
        send(&mut stdio, batch, in_order)?;
    }
    Ok(())
}

/// Sends a batch, worst news first, and empties it; returns its last event.
fn send(stdio: &mut Stdio<'_>, batch: &mut Vec<Delivered>, in_order: bool) -> io::Result<Option<Delivered>> {
    let mut alerts: Vec<_> = batch.iter().filter_map(|event| Some((event, alert(event)?))).collect();
    if !in_order {
        alerts.sort_by_key(|(_, alert)| (alert.change != "cancelled", -alert.minutes));
    }
    for (event, alert) in alerts {
        stdio.write("alerts", alert.flight_id, event.timestamp_ms, &alert, event)?;
    }
    let last = batch.pop();
    if let Some(last) = &last {
        stdio.commit(last)?;
    }
    batch.clear();
    Ok(last)
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
