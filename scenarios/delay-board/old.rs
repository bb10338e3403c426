//! Delay board 3.1: average departure delay by airport in event-time windows of an hour, and what came too late for its window.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::{Delivered, Flight, Stdio};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// How far a departure may lie behind the latest one seen and still be a correction; what is older is given up.
const CORRECTION_MS: i64 = 6 * HOUR_MS;

#[derive(Serialize)]
struct Board<'a> {
    airport: &'a str,
    window_start_ms: i64,
    window_minutes: i64,
    departures: i64,
    average_delay_minutes: f64,
}

#[derive(Serialize)]
struct Correction<'a> {
    flight_id: &'a str,
    airport: &'a str,
    departure_delay_minutes: i64,
}

/// Departures of one airport in one window.
#[derive(Default)]
struct Window {
    departures: i64,
    delay_minutes: i64,
}

pub(super) fn run(mut stdio: Stdio<'_>) -> io::Result<()> {
    let mut windows: BTreeMap<(i64, String), Window> = BTreeMap::new();
    let mut watermark_ms = i64::MIN;
    let mut last = None;
    while let Some(event) = stdio.read()? {
        if let Some((flight, delay)) = departure(&event) {
            if event.timestamp_ms.div_euclid(HOUR_MS) < watermark_ms.div_euclid(HOUR_MS) {
                if event.timestamp_ms >= watermark_ms - CORRECTION_MS {
                    correct(&mut stdio, flight, delay, watermark_ms, &event)?;
                }
            } else {
                let start_ms = event.timestamp_ms.div_euclid(HOUR_MS) * HOUR_MS;
                let window = windows.entry((start_ms, flight.origin.clone())).or_default();
                window.departures += 1;
                window.delay_minutes += delay;
            }
        }
        watermark_ms = watermark_ms.max(event.timestamp_ms);
        close(&mut stdio, &mut windows, watermark_ms, &event)?;
        stdio.commit(&event)?;
        last = Some(event);
    }
    last.map_or(Ok(()), |event| close(&mut stdio, &mut windows, i64::MAX, &event))
}

fn departure(event: &Delivered) -> Option<(&Flight, i64)> {
    let flight = event.value.as_ref()?;
    Some((flight, flight.departure_delay_minutes?))
}

/// Writes every window that ended at `watermark_ms` or before.
fn close(
    stdio: &mut Stdio<'_>,
    windows: &mut BTreeMap<(i64, String), Window>,
    watermark_ms: i64,
    event: &Delivered,
) -> io::Result<()> {
    while let Some(entry) = windows.first_entry().filter(|entry| entry.key().0 + HOUR_MS <= watermark_ms) {
        let ((start_ms, airport), window) = entry.remove_entry();
        let board = Board {
            airport: &airport,
            window_start_ms: start_ms,
            window_minutes: HOUR_MS / MINUTE_MS,
            departures: window.departures,
            average_delay_minutes: (window.delay_minutes as f64 / window.departures as f64 * 10.0).round() / 10.0,
        };
        stdio.write("delay-board", &airport, start_ms + HOUR_MS, &board, event)?;
    }
    Ok(())
}

/// Tells of a departure that came after its hour was closed, at once.
fn correct(stdio: &mut Stdio<'_>, flight: &Flight, delay: i64, at_ms: i64, event: &Delivered) -> io::Result<()> {
    let correction =
        Correction { flight_id: &flight.flight_id, airport: &flight.origin, departure_delay_minutes: delay };
    stdio.write("corrections", &flight.flight_id, at_ms, &correction, event)
}
