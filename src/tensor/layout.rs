//! Conversions between the layouts of files (PyTorch: `NCTHW`, `OIDHW`) and of the engine
//! (`NTHWC`, `KTRSC`).

/// Moves the second axis of a `(outer, channels, inner)` array last: `NCTHW → NTHWC` with
/// `inner = T·H·W`, and `OIDHW → KTRSC` with `outer = O`, `channels = I`, `inner = D·H·W`.
pub fn channels_last<T: Copy>(src: &[T], channels: usize, inner: usize, dst: &mut [T]) {
    assert_eq!(src.len(), dst.len(), "a layout conversion keeps the number of elements");
    let block = (channels * inner).max(1);
    for (s, d) in src.chunks_exact(block).zip(dst.chunks_exact_mut(block)) {
        for c in 0..channels {
            for i in 0..inner {
                d[i * channels + c] = s[c * inner + i];
            }
        }
    }
}

/// The inverse of [`channels_last`].
pub fn channels_first<T: Copy>(src: &[T], channels: usize, inner: usize, dst: &mut [T]) {
    assert_eq!(src.len(), dst.len(), "a layout conversion keeps the number of elements");
    let block = (channels * inner).max(1);
    for (s, d) in src.chunks_exact(block).zip(dst.chunks_exact_mut(block)) {
        for c in 0..channels {
            for i in 0..inner {
                d[c * inner + i] = s[i * channels + c];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_moves_channels_last_and_back() {
        let src: Vec<u32> = (0..2 * 3 * 4).collect();
        let (mut last, mut back) = (vec![0; 24], vec![0; 24]);
        channels_last(&src, 3, 4, &mut last);
        assert_eq!(last[..6], [0, 4, 8, 1, 5, 9], "first two positions, three channels each");
        channels_first(&last, 3, 4, &mut back);
        assert_eq!(back, src);
    }
}
