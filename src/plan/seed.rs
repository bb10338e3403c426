//! The only source of chance: draws that are computed, not taken one after the other.
//!
//! What faults draw for an event is a hash of their key and the event's offset. It costs a few nanoseconds, needs no state, and
//! is the same whatever was drawn before it, so that leaving events out of a recording changes no other event's draw. What
//! belongs to no event comes from a keyed, counter-based generator, `ChaCha` with 8 rounds.

use std::fmt;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The number from which every draw of a plan follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// Returns a function that draws 64 bits for each counter. The same seed, `purpose` and counter give the same bits; another
    /// purpose gives others.
    pub fn draws(self, purpose: &str) -> impl Fn(u64) -> u64 + use<> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&DrawKey::new(self, purpose, "", 0).0.to_le_bytes());
        move |counter| {
            let mut generator = ChaCha8Rng::from_seed(key);
            generator.set_stream(counter);
            generator.next_u64()
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What all draws of one fault in one partition have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DrawKey(u64);

/// Which of the draws of one event is meant; each purpose draws for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Whether a fault fires.
    Trigger = 0,
    /// How far, how long.
    Amount = 1,
    /// Whether a burst of loss begins or ends.
    Burst = 2,
    /// Which partition or moment is next.
    Choice = 3,
}

impl DrawKey {
    /// Makes the key of the draws of fault `name` in one partition.
    pub(super) fn new(seed: Seed, name: &str, topic: &str, partition: i32) -> Self {
        // Lengths stand ahead of the texts: `ab` + `c` and `a` + `bc` are different keys.
        let mut bytes = Vec::with_capacity(name.len() + topic.len() + 20);
        for text in [name, topic] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&partition.to_le_bytes());
        Self(xxh3_64_with_seed(&bytes, seed.0))
    }

    /// Draws 64 bits for the event at `offset`.
    pub(super) fn bits(self, offset: i64, purpose: Purpose) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&offset.to_le_bytes());
        bytes[8] = purpose as u8;
        xxh3_64_with_seed(&bytes, self.0)
    }

    /// Draws a number from 0 up to, not including, 1.
    pub(super) fn unit(self, offset: i64, purpose: Purpose) -> f64 {
        (self.bits(offset, purpose) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Draws a whole number from `least` to `most`, both included.
    pub(super) fn between(self, offset: i64, purpose: Purpose, least: i64, most: i64) -> i64 {
        let width = u128::from(most.abs_diff(least)) + 1;
        let step = (u128::from(self.bits(offset, purpose)) * width) >> 64;
        least + step as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_from_seed_purpose_and_counter_alone() {
        let draw = Seed(7).draws("latency");
        assert_eq!(draw(3), Seed(7).draws("latency")(3));
        // Another version of the generator may not change the figures of a report.
        assert_eq!(draw(3), 5_435_569_395_657_420_394);
        assert!(
            [Seed(8).draws("latency")(3), Seed(7).draws("power")(3), draw(4)].iter().all(|other| *other != draw(3))
        );
    }

    #[test]
    fn a_draw_follows_from_seed_name_topic_partition_offset_and_purpose_alone() {
        let base = DrawKey::new(Seed(7), "twice", "flights", 0).bits(17, Purpose::Trigger);
        assert_eq!(base, DrawKey::new(Seed(7), "twice", "flights", 0).bits(17, Purpose::Trigger));
        let others = [
            DrawKey::new(Seed(8), "twice", "flights", 0).bits(17, Purpose::Trigger),
            DrawKey::new(Seed(7), "thrice", "flights", 0).bits(17, Purpose::Trigger),
            DrawKey::new(Seed(7), "twicef", "lights", 0).bits(17, Purpose::Trigger),
            DrawKey::new(Seed(7), "twice", "flights", 1).bits(17, Purpose::Trigger),
            DrawKey::new(Seed(7), "twice", "flights", 0).bits(18, Purpose::Trigger),
            DrawKey::new(Seed(7), "twice", "flights", 0).bits(17, Purpose::Amount),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn draws_fill_their_range_evenly() {
        let key = DrawKey::new(Seed(1), "a", "b", 0);
        let mut counts = [0_u32; 10];
        for offset in 0..100_000 {
            counts[key.between(offset, Purpose::Amount, 0, 9) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        let mean = (0..100_000).map(|offset| key.unit(offset, Purpose::Trigger)).sum::<f64>() / 100_000.0;
        assert!((0.495..0.505).contains(&mean), "{mean}");
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let key = DrawKey::new(Seed(1), "a", "b", 0);
        for offset in 0..1_000 {
            assert!(key.between(offset, Purpose::Amount, 0, i64::MAX) >= 0);
            assert_eq!(key.between(offset, Purpose::Amount, 5, 5), 5);
        }
    }
}
