//! One bit a byte: which bytes of a region something wrote.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::reservation::Reservation;

/// A set of byte offsets that many threads may add to at once.
///
/// Orderings are relaxed: a bit says nothing of when its byte was written relative to other bytes, which is the race
/// checker's question.
#[derive(Debug)]
pub(super) struct Bitmap {
    /// Where the bits are; memory that is zero takes none of the host's.
    bits: Arc<Reservation>,
    /// The first word of this set in it, and how many there are.
    first: usize,
    count: usize,
}

impl Bitmap {
    /// The set over `len` bytes whose bits start at word `first` of `bits`, as they are. `None` if they do not fit.
    pub(super) fn new(bits: Arc<Reservation>, first: usize, len: usize) -> Option<Bitmap> {
        let count = len.div_ceil(64);
        let end = first.checked_add(count)?.checked_mul(size_of::<AtomicU64>())?;
        (end <= bits.len()).then_some(Bitmap { bits, first, count })
    }

    fn words(&self) -> &[AtomicU64] {
        let start = self.bits.base().cast::<AtomicU64>().wrapping_add(self.first);
        // SAFETY: `new` saw that the words lie in the mapping, which this value keeps, is page-aligned and was zeros
        // at first; it is accessed in no other way than through these atomics.
        unsafe { slice::from_raw_parts(start, self.count) }
    }

    /// Whether all of `start..start + len` is in the set. What lies past the end counts as in it.
    pub(super) fn contains(&self, start: usize, len: usize) -> bool {
        spans(start, len)
            .all(|(word, mask)| self.words().get(word).is_none_or(|w| w.load(Relaxed) & mask == mask))
    }

    /// Adds `start..start + len`. Reads before it writes: setting what is set shares the cache line.
    pub(super) fn insert(&self, start: usize, len: usize) {
        for (word, mask) in spans(start, len) {
            if let Some(w) = self.words().get(word)
                && w.load(Relaxed) & mask != mask
            {
                w.fetch_or(mask, Relaxed);
            }
        }
    }

    /// Removes `start..start + len`.
    pub(super) fn remove(&self, start: usize, len: usize) {
        for (word, mask) in spans(start, len) {
            if let Some(w) = self.words().get(word) {
                w.fetch_and(!mask, Relaxed);
            }
        }
    }

    /// The `count` (at most 64) bits from `start` on, the first in bit 0.
    pub(super) fn bits(&self, start: usize, count: usize) -> u64 {
        let (word, shift) = (start / 64, start % 64);
        let load = |i: usize| self.words().get(i).map_or(0, |w| w.load(Relaxed));
        let low = load(word) >> shift;
        let high = if shift == 0 { 0 } else { load(word + 1) << (64 - shift) };
        (low | high) & ones(count)
    }

    /// Makes the `count` (at most 64) bits from `start` on those of `value`.
    pub(super) fn set_bits(&self, start: usize, count: usize, value: u64) {
        let mut done = 0;
        for (word, mask) in spans(start, count) {
            if let Some(w) = self.words().get(word) {
                let piece = (value >> done) << mask.trailing_zeros();
                w.fetch_and(piece | !mask, Relaxed);
                w.fetch_or(piece & mask, Relaxed);
            }
            done += mask.count_ones();
        }
    }
}

/// The words that `start..start + len` touches, each with the mask of its bits.
fn spans(start: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start.saturating_add(len);
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let count = (64 - at % 64).min(end - at);
        let item = (at / 64, ones(count) << (at % 64));
        at += count;
        Some(item)
    })
}

/// The lowest `count` (at most 64) bits.
fn ones(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_across_words_agree_with_a_plain_set() {
        let bits = Arc::new(Reservation::zeroed(4096).unwrap());
        assert!(Bitmap::new(bits.clone(), 508, 300).is_none());
        let bitmap = Bitmap::new(bits, 507, 300).unwrap();
        let mut plain = [false; 300];
        let mut seed = 1u32;
        let mut random = move |n: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % n
        };
        for _ in 0..2000 {
            let start = random(300);
            let len = random((300 - start).min(130) + 1);
            match random(4) {
                0 => {
                    bitmap.insert(start, len);
                    plain[start..start + len].fill(true);
                }
                1 => {
                    bitmap.remove(start, len);
                    plain[start..start + len].fill(false);
                }
                2 => {
                    let (len, from) = (len.min(64), random(200));
                    let value = bitmap.bits(from, len);
                    let copy = plain[from..from + len].to_vec();
                    bitmap.set_bits(start, len, value);
                    plain[start..start + len].copy_from_slice(&copy);
                }
                _ => assert_eq!(bitmap.contains(start, len), plain[start..start + len].iter().all(|b| *b)),
            }
        }
        for (i, b) in plain.iter().enumerate() {
            assert_eq!(bitmap.contains(i, 1), *b, "byte {i}");
        }
    }
}
