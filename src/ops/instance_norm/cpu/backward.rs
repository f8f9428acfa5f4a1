//! Two sums over a clip, then one pass that writes dx.

use super::{BLOCK, Norm, PARTIAL, SAVED, geometry, piece};
use crate::ops::columns::{Columns, LANES};
use crate::ops::instance_norm::{Activation, Problem};
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::{Backward, Gradient, WriteMode, simd};
use crate::tensor::Real;

pub(in crate::ops::instance_norm) fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let g = geometry(p);
    let (x, output, dy) = (io.inputs[0], io.output, io.dy);
    let (gamma, beta) = (io.params[0], io.params[1]);
    let saved: &[T] = bytemuck::cast_slice(io.saved);
    let per_part = PARTIAL * p.channels;
    let (partials, totals) =
        bytemuck::cast_slice_mut(io.workspace).split_at_mut(p.clips * g.parts * per_part);

    let mut gradients = io.dx.iter_mut();
    let (dx, dx_mode) = split_gradient(gradients.next());
    let (dres, dres_mode) = split_gradient(gradients.next());
    let buffers = (
        (chunks(dx, p.clip()), chunks(dres, p.clip())),
        chunks(partials, g.parts * per_part),
        chunks(totals, per_part),
    );
    for_each(g.order, p.clips, buffers, |n, ((dx, dres), partials, totals)| {
        let [x, output, dy] = [x, output, dy].map(|all| piece(all, n, p.clip()));
        let norm = Norm { saved: piece(saved, n, SAVED * p.channels), gamma, beta };
        let outputs = (chunks(partials.data, per_part), chunks(&mut *dres.data, g.part));
        for_each(Order::Parallel, g.parts, outputs, |i, (out, dres)| {
            let [x, output, dy] = [x, output, dy].map(|all| piece(all, i, g.part));
            let dres = (dres.data, dres_mode);
            simd::dispatch(
                #[inline(always)]
                || match p.activation {
                    Activation::Plain => part_sums(
                        &g.columns,
                        norm,
                        [x, x, dy],
                        dres,
                        out.data,
                        #[inline(always)]
                        |_, _| false,
                    ),
                    Activation::Relu => part_sums(&g.columns, norm, [x, x, dy], dres, out.data, off_before),
                    Activation::AddRelu => {
                        part_sums(&g.columns, norm, [x, output, dy], dres, out.data, off_after);
                    }
                },
            );
        });
        total(norm, partials.data, totals.data);
        let (sum_g, sum_gd) = totals.data.split_at(p.channels);
        if dx.data.is_empty() {
            return;
        }
        // The residual's gradient is the masked dy: reading it back saves reading the output again.
        let masked =
            p.activation == Activation::AddRelu && dres_mode == WriteMode::Overwrite && !dres.data.is_empty();
        let (activation, dy) = if masked { (Activation::Plain, &*dres.data) } else { (p.activation, dy) };
        let means = Means { g: sum_g, gx: sum_gd, count: p.positions as f64 };
        for_each(Order::Downwards, g.parts, chunks(dx.data, g.part), |i, dx| {
            let [x, output, dy] = [x, output, dy].map(|all| piece(all, i, g.part));
            let dx = (dx.data, dx_mode);
            simd::dispatch(
                #[inline(always)]
                || match activation {
                    Activation::Plain => part_dx(
                        &g.columns,
                        norm,
                        means,
                        [x, x, dy],
                        dx,
                        #[inline(always)]
                        |_, _| false,
                    ),
                    Activation::Relu => part_dx(&g.columns, norm, means, [x, x, dy], dx, off_before),
                    Activation::AddRelu => part_dx(&g.columns, norm, means, [x, output, dy], dx, off_after),
                },
            );
        });
    });
    parameter_gradients(&mut io.dparams, totals, p.channels);
}

/// From what the parts of a clip left, Σg and Σg·(x − mean), to its totals, Σg and Σg·x̂, both (2, C).
pub(super) fn total<T: Real>(norm: Norm<'_, T>, partials: &[f64], totals: &mut [f64]) {
    totals.fill(0.0);
    for part in partials.chunks(totals.len()) {
        totals.iter_mut().zip(part).for_each(|(t, v)| *t += v);
    }
    let (sum_g, sum_gd) = totals.split_at_mut(norm.gamma.len());
    for c in 0..sum_g.len() {
        // Sums were taken with x − (rounded mean).
        sum_gd[c] = norm.rstd(c) * (sum_gd[c] - norm.rest(c) * sum_g[c]);
    }
}

/// γ's and β's gradients from the totals of every clip, one clip after the other.
pub(super) fn parameter_gradients<T: Real>(
    gradients: &mut [Gradient<'_, T>],
    totals: &[f64],
    channels: usize,
) {
    for (gradient, offset) in gradients.iter_mut().zip([channels, 0]) {
        for (n, total) in totals.chunks(PARTIAL * channels).enumerate() {
            let mode = if n == 0 { gradient.mode } else { WriteMode::Accumulate };
            mode.store(gradient.data, |c| T::from_f64(total[offset + c]));
        }
    }
}

/// The buffer and mode of a gradient; an empty buffer where none is wanted.
fn split_gradient<'a, T>(gradient: Option<&'a mut Option<Gradient<'_, T>>>) -> (&'a mut [T], WriteMode) {
    match gradient {
        Some(Some(g)) => (&mut *g.data, g.mode),
        _ => (&mut [], WriteMode::Overwrite),
    }
}

/// A gradient past the ReLU. Taking the loaded value keeps the loop free of branches.
#[inline(always)]
fn pass<T: Real>(dy: T, off: bool) -> T {
    if off { T::ZERO } else { dy }
}

/// Whether the ReLU blocks, told from the value before it.
#[inline(always)]
fn off_before<T: Real>(z: T, _: T) -> bool {
    z <= T::ZERO
}

/// Whether the ReLU blocks, told from its output.
#[inline(always)]
fn off_after<T: Real>(_: T, y: T) -> bool {
    y <= T::ZERO
}

/// Σg and Σg·(x − mean) of each channel over a part, `out` being (2, C), where g is dy past the ReLU; also
/// writes g as the residual's gradient unless that buffer is empty. `reads` is (x, y, dy).
#[inline(always)]
fn part_sums<T: Real>(
    columns: &Columns,
    norm: Norm<'_, T>,
    reads: [&[T]; 3],
    (dres, mode): (&mut [T], WriteMode),
    out: &mut [f64],
    off: impl Fn(T, T) -> bool,
) {
    let block = columns.block(BLOCK);
    let (sum_g, sum_gd) = out.split_at_mut(out.len() / PARTIAL);
    sum_g.fill(0.0);
    sum_gd.fill(0.0);
    let mut sums = [0.0; LANES];
    for tile in columns.tiles() {
        let c = columns.channels_of(&tile);
        let mean = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.mean(c),
        );
        let scale = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.scale(c),
        );
        let shift = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.shift(c),
        );
        for i in 0..reads[0].len().div_ceil(block) {
            let [x, y, dy] = reads.map(|all| piece(all, i, block));
            let (mut lane_g, mut lane_gd) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            let rows = columns.rows(x, &tile).zip(columns.rows(y, &tile)).zip(columns.rows(dy, &tile));
            for ((x, y), dy) in rows {
                let (y, dy) = (&y[..x.len()], &dy[..x.len()]);
                let (mean, scale, shift) = (&mean[..x.len()], &scale[..x.len()], &shift[..x.len()]);
                let (lane_g, lane_gd) = (&mut lane_g[..x.len()], &mut lane_gd[..x.len()]);
                for j in 0..x.len() {
                    let d = x[j] - mean[j];
                    let g = pass(dy[j], off(d * scale[j] + shift[j], y[j]));
                    lane_g[j] += g;
                    lane_gd[j] += g * d;
                }
            }
            for (lanes, total) in [(&lane_g, &mut sum_g[c.clone()]), (&lane_gd, &mut sum_gd[c.clone()])] {
                columns.gather(&tile, lanes, &mut sums);
                for (t, s) in total.iter_mut().zip(&sums) {
                    *t += s;
                }
            }
        }
    }
    if !dres.is_empty() {
        let [_, y, dy] = reads.map(|r| &r[..dres.len()]);
        // Only the fused residual has this gradient, and its mask is that of the output.
        mode.store(
            dres,
            #[inline(always)]
            |j| pass(dy[j], off(T::ONE, y[j])),
        );
    }
}

/// Sums over a clip that the gradient of x subtracts the mean of.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    /// Σg (C).
    pub g: &'a [f64],
    /// Σg·x̂ (C).
    pub gx: &'a [f64],
    pub count: f64,
}

/// What the gradient of channel `c` takes from all positions: `(slope, offset)` of `(x − mean)·slope + offset`.
#[inline(always)]
pub(super) fn trend<T: Real>(norm: Norm<'_, T>, means: Means<'_>, c: usize) -> (T, T) {
    let scale = norm.scale(c).to_f64();
    let slope = -scale * norm.rstd(c) * means.gx[c] / means.count;
    (T::from_f64(slope), T::from_f64(-scale * means.g[c] / means.count - norm.rest(c) * slope))
}

/// `dx = γ·rstd·(g − mean(g) − x̂·mean(g·x̂))` over a part, as `g·scale + (x − mean)·slope + offset`.
#[inline(always)]
fn part_dx<T: Real>(
    columns: &Columns,
    norm: Norm<'_, T>,
    means: Means<'_>,
    reads: [&[T]; 3],
    (dx, mode): (&mut [T], WriteMode),
    off: impl Fn(T, T) -> bool,
) {
    let [x, y, dy] = reads;
    for tile in columns.tiles() {
        let mean = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.mean(c),
        );
        let scale = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.scale(c),
        );
        let shift = columns.spread(
            &tile,
            #[inline(always)]
            |c| norm.shift(c),
        );
        let slope = columns.spread(
            &tile,
            #[inline(always)]
            |c| trend(norm, means, c).0,
        );
        let offset = columns.spread(
            &tile,
            #[inline(always)]
            |c| trend(norm, means, c).1,
        );
        let rows = columns.rows(x, &tile).zip(columns.rows(y, &tile)).zip(columns.rows(dy, &tile));
        for (((x, y), dy), dx) in rows.zip(columns.rows_mut(dx, &tile)) {
            let n = dx.len();
            let (x, y, dy) = (&x[..n], &y[..n], &dy[..n]);
            let (mean, scale, shift) = (&mean[..n], &scale[..n], &shift[..n]);
            let (slope, offset) = (&slope[..n], &offset[..n]);
            mode.store(
                dx,
                #[inline(always)]
                |j| {
                    let d = x[j] - mean[j];
                    let g = pass(dy[j], off(d * scale[j] + shift[j], y[j]));
                    g * scale[j] + (d * slope[j] + offset[j])
                },
            );
        }
    }
}
