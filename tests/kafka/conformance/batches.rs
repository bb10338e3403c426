//! Batches of producers, made by hand: what a broker holds them to.

use bytes::Bytes;
use rehearsal::clock::{Clock, SystemClock};

use super::Arm;
use super::wire::{Wire, batch, crc32c, fetch};

const HOUR_MS: i64 = 3_600_000;

/// A batch of one event with this timestamp; with `by_log` it says that a log has set it.
fn stamped(timestamp: i64, by_log: bool) -> Bytes {
    let mut bytes = batch((-1, -1), -1, 1, false).to_vec();
    bytes[27..35].copy_from_slice(&timestamp.to_be_bytes());
    bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
    bytes[22] |= u8::from(by_log) << 3;
    let checksum = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes.into()
}

pub(crate) fn timestamps_are_held_to_the_clock(arm: &Arm) -> Vec<String> {
    let now = SystemClock::start().date_us() / 1_000;
    let kinds: [(&str, &[(&str, &str)]); 4] = [
        ("plain", &[]),
        ("wide", &[("message.timestamp.after.max.ms", "36000000")]),
        ("narrow", &[("message.timestamp.before.max.ms", "3600000")]),
        ("append", &[("message.timestamp.type", "LogAppendTime")]),
    ];
    let mut seen = Vec::new();
    for (kind, settings) in kinds {
        let topic = arm.topic(kind, 1, settings);
        if kind != "narrow" {
            arm.fill(&topic, 0, &["first"]);
        }
        let mut wire = Wire::connect(arm);
        for hours in [-10_000, -2, 0, 2] {
            for by_log in [false, true] {
                let answer = wire.produce(&topic, None, stamped(now + hours * HOUR_MS, by_log));
                seen.push(format!("{kind} {hours} {by_log}: {answer:?}"));
            }
        }
        for by_log in [false, true] {
            seen.push(format!("{kind} none {by_log}: {:?}", wire.produce(&topic, None, stamped(-1, by_log))));
        }
        // What the log has made of them.
        let answer = wire.call(11, &fetch(&topic, &[(0, 0)]));
        let mut bytes = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        while bytes.len() > 61 {
            let size = 12 + u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
            let one = bytes.split_to(size);
            let largest = i64::from_be_bytes(one[35..43].try_into().unwrap());
            let hours = if largest < 0 { "none".to_owned() } else { ((largest - now) / HOUR_MS).to_string() };
            seen.push(format!("{kind} kept {} {hours}", one[22]));
        }
    }
    seen
}
