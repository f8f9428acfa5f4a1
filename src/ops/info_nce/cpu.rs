//! Slot by slot, in tiles of rows: logits of a tile, its softmax, and its share of a gradient. The anchors'
//! gradient comes from tiles of anchors, the others' from tiles of the others with the logits computed again
//! (a fourth product instead of a B×B matrix in memory), so that no two tiles write the same place.

use super::{Io, NORM_FLOOR, Problem};
use crate::ops::matmul::{Strided, add_product, transpose};
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::{Gradient, simd};
use crate::tensor::Real;

/// Rows of a tile.
const TILE: usize = 16;
/// Rows whose logits are held at a time.
const GROUP: usize = 256;

/// One set of vectors of one slot.
struct Set<'a> {
    /// At unit length, (B, D).
    units: &'a mut [f64],
    /// The same, (D, B).
    transposed: &'a mut [f64],
    /// Lengths before, (B).
    norms: &'a mut [f64],
}

impl Set<'_> {
    fn fill<T: Real>(&mut self, p: &Problem, all: &[T], slot: usize) {
        for i in 0..p.videos {
            let v = &all[(i * p.slots + slot) * p.dim..][..p.dim];
            let norm = v.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt();
            // Not f64::max, which would hide a NaN.
            let divisor = if norm < NORM_FLOOR { NORM_FLOOR } else { norm };
            for (u, v) in self.units[i * p.dim..][..p.dim].iter_mut().zip(v) {
                *u = v.to_f64() / divisor;
            }
            self.norms[i] = norm;
        }
        transpose(self.units, p.dim, self.transposed);
    }
}

/// What the softmax of an anchor leaves for the second product.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Row {
    /// Largest logit.
    max: f64,
    /// Σ_j exp(logit − max).
    total: f64,
    /// The same without the positive: what 1 − its probability is made of, without cancellation.
    negatives: f64,
    /// −log of the positive's probability.
    loss: f64,
}

/// f64 elements of workspace.
pub(super) fn workspace(p: &Problem) -> usize {
    5 * p.videos * p.dim + p.videos * p.videos.min(GROUP) + 6 * p.videos
}

fn take<'a>(rest: &mut &'a mut [f64], len: usize) -> &'a mut [f64] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

pub(super) fn run<T: Real>(p: &Problem, mut io: Io<'_, T>) -> f64 {
    let mut rest: &mut [f64] = bytemuck::cast_slice_mut(io.workspace);
    let rest = &mut rest;
    let (vectors, videos) = (p.videos * p.dim, p.videos);
    let mut set =
        || Set { units: take(rest, vectors), transposed: take(rest, vectors), norms: take(rest, videos) };
    let (mut a, mut b) = (set(), set());
    let (gradient, logits) = (take(rest, vectors), take(rest, videos * videos.min(GROUP)));
    let rows: &mut [Row] = bytemuck::cast_slice_mut(take(rest, 4 * videos));

    let mut loss = 0.0;
    for slot in 0..p.slots {
        a.fill(p, io.a, slot);
        b.fill(p, io.b, slot);
        anchors(p, (&a, &b), io.scale, logits, rows, gradient);
        loss += rows.iter().map(|row| row.loss).sum::<f64>();
        if let Some(da) = &mut io.da {
            write(p, gradient, &a, slot, da);
        }
        if let Some(db) = &mut io.db {
            others(p, (&a, &b), io.scale, logits, rows, gradient);
            write(p, gradient, &b, slot, db);
        }
    }
    loss / p.slots as f64
}

/// Softmax of every anchor, and the gradient of its direction.
fn anchors(
    p: &Problem,
    (a, b): (&Set<'_>, &Set<'_>),
    scale: f64,
    logits: &mut [f64],
    rows: &mut [Row],
    gradient: &mut [f64],
) {
    let factor = scale / (p.slots as f64 * p.tau);
    for first in (0..p.videos).step_by(GROUP) {
        let len = GROUP.min(p.videos - first);
        let buffers = (
            chunks(&mut *logits, TILE * p.videos),
            chunks(&mut rows[first..first + len], TILE),
            chunks(&mut gradient[first * p.dim..(first + len) * p.dim], TILE * p.dim),
        );
        for_each(Order::Parallel, len.div_ceil(TILE), buffers, |u, (logits, rows, gradient)| {
            let start = first + u * TILE;
            let logits = &mut logits.data[..rows.data.len() * p.videos];
            similarities(p, a, b, start, logits);
            for (r, (row, logits)) in rows.data.iter_mut().zip(logits.chunks_exact_mut(p.videos)).enumerate()
            {
                *row = softmax(logits, start + r, factor);
            }
            combine(p, logits, b, gradient.data);
        });
    }
}

/// The gradient of the direction of every other vector.
fn others(
    p: &Problem,
    (a, b): (&Set<'_>, &Set<'_>),
    scale: f64,
    logits: &mut [f64],
    rows: &[Row],
    gradient: &mut [f64],
) {
    let factor = scale / (p.slots as f64 * p.tau);
    for first in (0..p.videos).step_by(GROUP) {
        let len = GROUP.min(p.videos - first);
        let gradient = &mut gradient[first * p.dim..(first + len) * p.dim];
        let buffers = (chunks(&mut *logits, TILE * p.videos), chunks(gradient, TILE * p.dim));
        for_each(Order::Parallel, len.div_ceil(TILE), buffers, |u, (logits, gradient)| {
            let start = first + u * TILE;
            let logits = &mut logits.data[..gradient.data.len() / p.dim * p.videos];
            similarities(p, b, a, start, logits);
            for (r, logits) in logits.chunks_exact_mut(p.videos).enumerate() {
                for (i, (l, row)) in logits.iter_mut().zip(rows).enumerate() {
                    let share =
                        if i == start + r { -row.negatives } else { (*l - row.max).exp() } / row.total;
                    *l = share * factor;
                }
            }
            combine(p, logits, a, gradient.data);
        });
    }
}

/// Logits (rows, B) of the vectors of `of` from `start` on against all of `against`.
fn similarities(p: &Problem, of: &Set<'_>, against: &Set<'_>, start: usize, logits: &mut [f64]) {
    let of = Strided { data: &of.units[start * p.dim..], row: p.dim, column: 1 };
    simd::dispatch(
        #[inline(always)]
        || {
            logits.fill(0.0);
            add_product(of, against.transposed, p.dim, logits, p.videos);
            for l in logits {
                *l /= p.tau;
            }
        },
    );
}

/// Turns the logits of anchor `own` into the loss's derivatives by them, times `factor`.
fn softmax(logits: &mut [f64], own: usize, factor: f64) -> Row {
    // Starting from the positive keeps a NaN in it; others reach the total through exp.
    let max = logits.iter().fold(logits[own], |m, &l| if l > m { l } else { m });
    let below = max - logits[own];
    let (mut negatives, mut positive) = (0.0, 0.0);
    for (j, l) in logits.iter_mut().enumerate() {
        *l = (*l - max).exp();
        if j == own {
            positive = *l;
        } else {
            negatives += *l;
        }
    }
    let total = positive + negatives;
    logits[own] = -negatives;
    for l in logits.iter_mut() {
        *l *= factor / total;
    }
    // ln_1p keeps the digits of a loss near 0, where the positive is nearly certain.
    let loss = if below == 0.0 { negatives.ln_1p() } else { total.ln() + below };
    Row { max, total, negatives, loss }
}

/// `out = coefficients·units`.
fn combine(p: &Problem, coefficients: &[f64], set: &Set<'_>, out: &mut [f64]) {
    let coefficients = Strided { data: coefficients, row: p.videos, column: 1 };
    simd::dispatch(
        #[inline(always)]
        || {
            out.fill(0.0);
            add_product(coefficients, set.units, p.videos, out, p.dim);
        },
    );
}

/// Takes the gradient of directions through the division by the norm.
fn write<T: Real>(p: &Problem, gradient: &[f64], set: &Set<'_>, slot: usize, out: &mut Gradient<'_, T>) {
    for i in 0..p.videos {
        let [d, unit] = [gradient, &*set.units].map(|all| &all[i * p.dim..][..p.dim]);
        let at = (i * p.slots + slot) * p.dim;
        let (along, norm) = if set.norms[i] < NORM_FLOOR {
            (0.0, NORM_FLOOR)
        } else {
            (d.iter().zip(unit).map(|(d, u)| d * u).sum(), set.norms[i])
        };
        out.mode.store(&mut out.data[at..at + p.dim], |k| T::from_f64((d[k] - along * unit[k]) / norm));
    }
}
