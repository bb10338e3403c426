//! Every decoder of values holds against whatever bytes: no panic, no endless work, no more memory than its bound, and what it reads
//! it writes again.

mod thrown;

use proptest::prelude::*;
use thrown::{Draws, decoders, mutant};

/// Mutants of one seed and one decoder.
const MUTANTS: usize = 24;

#[test]
fn every_decoder_reads_its_own_samples() {
    for decoder in decoders() {
        for sample in &decoder.samples {
            assert_eq!(decoder.throw(sample), Ok(true), "{} {sample:x?}", decoder.name);
        }
    }
}

#[test]
fn mutants_of_values_are_read_by_some_decoders_and_refused_by_others() {
    // A throw that never hits, or never misses, would prove nothing.
    for decoder in decoders().iter().filter(|decoder| !decoder.name.starts_with("comparison")) {
        let mut draws = Draws::new(7);
        let read = (0..2_000).filter(|_| decoder.throw(&mutant(&decoder.samples, &mut draws)).unwrap()).count();
        assert!((20..1_980).contains(&read), "{}: {read} of 2,000 were read", decoder.name);
    }
}

proptest! {
    #[test]
    fn no_bytes_bring_a_decoder_down(seed in any::<u64>()) {
        for decoder in decoders() {
            let mut draws = Draws::new(seed);
            // Whole comparisons take longer.
            let mutants = if decoder.name.starts_with("comparison") { MUTANTS / 12 } else { MUTANTS };
            for _ in 0..mutants {
                let bytes = mutant(&decoder.samples, &mut draws);
                let thrown = decoder.throw(&bytes);
                prop_assert!(thrown.is_ok(), "{}: {} {:x?}", decoder.name, thrown.unwrap_err(), bytes);
            }
        }
    }
}
