//! Classes of a block by the vector instructions of x86-64 (AVX2), where the machine has them.

#![expect(unsafe_code, reason = "what a machine can do is known when the program runs, and not when it is compiled")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set_epi64x, _mm256_set1_epi8,
};

use super::{BLOCK, Bits, Classes};

/// Marks the places of a window; none where the machine has no such instructions.
#[inline]
pub(super) fn marks(window: &[u8], before: u8) -> Option<(Bits, bool)> {
    let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
    // SAFETY: the machine was asked.
    has.then(|| unsafe { marked(window, before) })
}

#[target_feature(enable = "avx2,bmi1,bmi2")]
fn marked(window: &[u8], before: u8) -> (Bits, bool) {
    let classes = Classes::of(window, |classes, at, block| sort(classes, at, block));
    (places(&classes, before), classes.means_others())
}

/// All blocks at once. Not inlined, so that what compilers make of it does not hang on what stands around it.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn places(classes: &Classes, before: u8) -> Bits {
    super::places(classes, before)
}

#[inline]
#[target_feature(enable = "avx2")]
fn sort(classes: &mut Classes, at: usize, block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks();
    let word = |at: usize| i64::from_le_bytes(words[at]);
    let halves = [0, 4].map(|at| _mm256_set_epi64x(word(at + 3), word(at + 2), word(at + 1), word(at)));
    let bits = |bytes: [__m256i; 2]| {
        let [low, high] = bytes.map(|half| u64::from(_mm256_movemask_epi8(half).cast_unsigned()));
        low | high << 32
    };
    let digits = halves.map(|bytes| within(bytes, b'0', 10));
    // Capitals differ from other letters in one bit.
    let letters = halves.map(|bytes| within(or(bytes, all(0x20)), b'a', 26));
    classes.digits[at] = bits(digits);
    classes.zeros[at] = bits(halves.map(|bytes| is(bytes, b'0')));
    classes.capitals[at] = bits(halves.map(|bytes| within(bytes, b'A', 26)));
    classes.words[at] = bits([or(letters[0], digits[0]), or(letters[1], digits[1])]);
    classes.joins[at] = bits(halves.map(|bytes| or(is(bytes, b'-'), is(bytes, b'_'))));
    classes.gaps[at] = bits(halves.map(|bytes| or(is(bytes, b' '), or(is(bytes, b'.'), is(bytes, b'/')))));
    classes.alone[at] = bits(halves.map(|bytes| or(is(bytes, b'@'), or(is(bytes, b'+'), is(bytes, b'(')))));
    classes.y[at] = bits(halves.map(|bytes| or(is(bytes, b'g'), or(is(bytes, b'y'), is(bytes, b'Y')))));
    let assigns = halves.map(|bytes| or(is(bytes, b'"'), or(is(bytes, b':'), is(bytes, b'='))));
    let ends = halves.map(|bytes| or(is(bytes, b' '), or(is(bytes, b'\\'), is(bytes, b'J'))));
    classes.behind_y[at] = bits([or(assigns[0], ends[0]), or(assigns[1], ends[1])]);
    classes.others[at] = bits(halves.map(|bytes| or(is(bytes, b'\\'), or(is(bytes, 0xC2), is(bytes, 0xE2)))));
}

#[inline]
#[target_feature(enable = "avx2")]
fn all(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn or(one: __m256i, other: __m256i) -> __m256i {
    _mm256_or_si256(one, other)
}

#[inline]
#[target_feature(enable = "avx2")]
fn is(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, all(byte))
}

/// Bytes from `first` on, `count` of them: moved to the lower end of what a signed byte holds, one comparison tells them.
#[inline]
#[target_feature(enable = "avx2")]
fn within(bytes: __m256i, first: u8, count: u8) -> __m256i {
    _mm256_cmpgt_epi8(all(128 + count), _mm256_add_epi8(bytes, all(128 - first)))
}
