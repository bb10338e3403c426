//! Keyed values of what came last: the same numbers and names come again and again.

use xxhash_rust::xxh3::xxh3_64;

use super::MaskKey;
use super::secret::{Mac, Purpose};

/// Values that are remembered at most.
const SLOTS: usize = 4_096;

/// Bytes of a value that is remembered; longer ones seldom come again.
const BYTES_MAX: usize = 38;

/// HMACs by one key, of as many values as there are slots: each has its own, and drives out whoever was there.
#[derive(Default)]
pub(super) struct Remembered(Vec<Slot>);

#[derive(Clone, Copy)]
struct Slot {
    mac: Option<(Purpose, Mac)>,
    length: u8,
    content: [u8; BYTES_MAX],
}

impl std::fmt::Debug for Remembered {
    /// Shows nothing of what it holds, which is what masks hide.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembered(…)")
    }
}

impl Remembered {
    /// What `key` makes of `content`. All calls are to name the same key.
    pub(super) fn mac(&mut self, key: &MaskKey, purpose: Purpose, content: &[u8]) -> Mac {
        if content.len() > BYTES_MAX {
            return key.mac(purpose, content);
        }
        if self.0.is_empty() {
            self.0.resize(SLOTS, Slot { mac: None, length: 0, content: [0; BYTES_MAX] });
        }
        let slot = &mut self.0[(xxh3_64(content) as usize ^ purpose as usize) % SLOTS];
        match slot.mac {
            Some((known, mac)) if known == purpose && slot.content[..usize::from(slot.length)] == *content => mac,
            _ => {
                let mac = key.mac(purpose, content);
                (slot.mac, slot.length) = (Some((purpose, mac)), content.len() as u8);
                slot.content[..content.len()].copy_from_slice(content);
                mac
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_the_key_makes_of_it() {
        let key = MaskKey::new(b"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0").unwrap();
        let mut remembered = Remembered::default();
        // More than there are slots, each of them again at once and later, prefixes of others and empty ones among them.
        let numbers = (0..3 * SLOTS).chain(0..3 * SLOTS);
        for number in numbers.flat_map(|number| [number, number]) {
            let content = "7".repeat(number % 40) + &number.to_string()[..number % 4 % number.to_string().len()];
            for purpose in [Purpose::Token, Purpose::Number, Purpose::Shift] {
                let (known, made) =
                    (remembered.mac(&key, purpose, content.as_bytes()), key.mac(purpose, content.as_bytes()));
                assert!(known == made, "{content}");
            }
        }
        assert_eq!((remembered.0.len(), &*format!("{remembered:?}")), (SLOTS, "Remembered(…)"));
    }
}
