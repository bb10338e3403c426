//! Delay board 4.0: windows of five minutes, for a livelier board. Three lines went wrong; each has a flag that mends it.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::{Delivered, Flight, Stdio, flag};

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

/// A correction that waits for the end of the hour, and what caused it.
struct Held {
    flight: Flight,
    delay: i64,
    event: Delivered,
}

pub(super) fn run(mut stdio: Stdio<'_>) -> io::Result<()> {
    let window_ms = if flag("hourly", false) { HOUR_MS } else { 5 * MINUTE_MS };
    let at_once = flag("correct-at-once", false);
    let keep_boundary = flag("keep-boundary", false);
    let mut windows: BTreeMap<(i64, String), Window> = BTreeMap::new();
    let mut held = Vec::new();
    let mut watermark_ms = i64::MIN;
    let mut last = None;
    while let Some(event) = stdio.read()? {
        if let Some((flight, delay)) = departure(&event) {
            if event.timestamp_ms.div_euclid(HOUR_MS) < watermark_ms.div_euclid(HOUR_MS) {
                let oldest_ms = watermark_ms - CORRECTION_MS;
                if event.timestamp_ms > oldest_ms || (keep_boundary && event.timestamp_ms == oldest_ms) {
                    // At the boundary there is no time left to wait.
                    if at_once || event.timestamp_ms == oldest_ms {
                        correct(&mut stdio, flight, delay, watermark_ms, &event)?;
                    } else {
                        held.push(Held { flight: flight.clone(), delay, event: event.clone() });
                    }
                }
            } else {
                let start_ms = event.timestamp_ms.div_euclid(window_ms) * window_ms;
                let window = windows.entry((start_ms, flight.origin.clone())).or_default();
                window.departures += 1;
                window.delay_minutes += delay;
            }
        }
        let hour = watermark_ms.div_euclid(HOUR_MS);
        watermark_ms = watermark_ms.max(event.timestamp_ms);
        if watermark_ms.div_euclid(HOUR_MS) > hour {
            release(&mut stdio, &mut held, watermark_ms)?;
        }
        close(&mut stdio, &mut windows, window_ms, watermark_ms, &event)?;
        stdio.commit(&event)?;
        last = Some(event);
    }
    release(&mut stdio, &mut held, watermark_ms + HOUR_MS)?;
    last.map_or(Ok(()), |event| close(&mut stdio, &mut windows, window_ms, i64::MAX, &event))
}

fn departure(event: &Delivered) -> Option<(&Flight, i64)> {
    let flight = event.value.as_ref()?;
    Some((flight, flight.departure_delay_minutes?))
}

/// Writes every window that ended at `watermark_ms` or before.
fn close(
    stdio: &mut Stdio<'_>,
    windows: &mut BTreeMap<(i64, String), Window>,
    window_ms: i64,
    watermark_ms: i64,
    event: &Delivered,
) -> io::Result<()> {
    while let Some(entry) = windows.first_entry().filter(|entry| entry.key().0 + window_ms <= watermark_ms) {
        let ((start_ms, airport), window) = entry.remove_entry();
        let board = Board {
            airport: &airport,
            window_start_ms: start_ms,
            window_minutes: window_ms / MINUTE_MS,
            departures: window.departures,
            average_delay_minutes: (window.delay_minutes as f64 / window.departures as f64 * 10.0).round() / 10.0,
        };
        stdio.write("delay-board", &airport, start_ms + window_ms, &board, event)?;
    }
    Ok(())
}

/// Tells of all corrections held back.
fn release(stdio: &mut Stdio<'_>, held: &mut Vec<Held>, at_ms: i64) -> io::Result<()> {
    for Held { flight, delay, event } in held.drain(..) {
        correct(stdio, &flight, delay, at_ms, &event)?;
    }
    Ok(())
}

fn correct(stdio: &mut Stdio<'_>, flight: &Flight, delay: i64, at_ms: i64, event: &Delivered) -> io::Result<()> {
    let correction =
        Correction { flight_id: &flight.flight_id, airport: &flight.origin, departure_delay_minutes: delay };
    stdio.write("corrections", &flight.flight_id, at_ms, &correction, event)
}
