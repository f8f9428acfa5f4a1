//! Mean and variance in one pass over memory.

use super::{BLOCK, PARTIAL};
use crate::ops::columns::{Columns, LANES};
use crate::ops::instance_norm::Problem;
use crate::tensor::Real;

/// Mean and Σ(x − mean)² of each channel over a part, `out` being (2, C). Each block is summed, then its
/// deviations from that (rounded) mean, which corrects the mean as well; blocks merge by Chan, Golub &
/// LeVeque (1979).
#[inline(always)]
pub(super) fn part_statistics<T: Real>(columns: &Columns, x: &[T], out: &mut [f64]) {
    let channels = out.len() / PARTIAL;
    let (means, squares) = out.split_at_mut(channels);
    let [mut s1, mut s2] = [[0.0; LANES]; 2];
    for tile in columns.tiles() {
        let c = columns.channels_of(&tile);
        let (means, squares) = (&mut means[c.clone()], &mut squares[c.clone()]);
        let mut before = 0.0;
        for block in x.chunks(columns.block(BLOCK)) {
            let count = (block.len() / channels) as f64;
            let mut sum = [T::ZERO; LANES];
            for row in columns.rows(block, &tile) {
                for (s, &v) in sum.iter_mut().zip(row) {
                    *s += v;
                }
            }
            columns.gather(&tile, &sum, &mut s1);
            let centre = columns.spread(
                &tile,
                #[inline(always)]
                |ch| T::from_f64(s1[ch - c.start] / count),
            );
            let mut sum = [T::ZERO; LANES];
            let mut square = [T::ZERO; LANES];
            for row in columns.rows(block, &tile) {
                for (((s, q), &v), &m) in sum.iter_mut().zip(&mut square).zip(row).zip(&centre) {
                    let d = v - m;
                    *s += d;
                    *q += d * d;
                }
            }
            columns.gather(&tile, &sum, &mut s1);
            columns.gather(&tile, &square, &mut s2);
            let merge = Merge::new(before, count);
            for i in 0..c.len() {
                let mean = centre[i].to_f64() + s1[i] / count;
                merge.add(&mut means[i], &mut squares[i], mean, s2[i] - s1[i] * s1[i] / count);
            }
            before += count;
        }
    }
}

/// Adds `after` more samples to the statistics of `before`.
struct Merge {
    first: bool,
    share: f64,
    cross: f64,
}

impl Merge {
    fn new(before: f64, after: f64) -> Self {
        let total = before + after;
        Self { first: before == 0.0, share: after / total, cross: before * after / total }
    }

    #[inline(always)]
    fn add(&self, mean: &mut f64, square: &mut f64, new_mean: f64, new_square: f64) {
        if self.first {
            (*mean, *square) = (new_mean, new_square);
        } else {
            let delta = new_mean - *mean;
            *mean += delta * self.share;
            *square += new_square + delta * delta * self.cross;
        }
    }
}

/// Merges the parts of a clip (each of `per_part` positions, the last what is left) upwards into the first,
/// and writes what is saved.
pub(super) fn merge_statistics<T: Real>(p: &Problem, per_part: usize, partials: &mut [f64], saved: &mut [T]) {
    let channels = p.channels;
    let (total, rest) = partials.split_at_mut(PARTIAL * channels);
    let (means, squares) = total.split_at_mut(channels);
    let mut before = per_part.min(p.positions);
    for part in rest.chunks(PARTIAL * channels) {
        let count = per_part.min(p.positions - before);
        let merge = Merge::new(before as f64, count as f64);
        for c in 0..channels {
            merge.add(&mut means[c], &mut squares[c], part[c], part[channels + c]);
        }
        before += count;
    }
    for c in 0..channels {
        let mean = T::from_f64(means[c]);
        let variance = squares[c] / p.positions as f64;
        // Rounding can leave a constant channel slightly below zero; NaN must stay NaN.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        saved[c] = mean;
        saved[channels + c] = T::from_f64(means[c] - mean.to_f64());
        saved[2 * channels + c] = T::from_f64(1.0 / (variance + p.eps).sqrt());
    }
}
