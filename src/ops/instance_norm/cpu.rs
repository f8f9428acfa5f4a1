//! Memory-bound, so what counts is how often memory is read. Forward reads x twice (statistics, then apply)
//! and writes y once; backward reads x and dy twice and writes dx once. A clip is cut into parts of a fixed
//! size that run in parallel; statistics of parts merge in a fixed order in f64. The second pass of a clip
//! follows its first at once, downwards, so that clips up to the size of the cache are read from memory once.

use super::{Activation, Problem};
use crate::ops::columns::{Columns, LANES};
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::{Backward, Forward, Gradient, Pass, WriteMode, simd};
use crate::tensor::Real;

/// Rows saved for each clip, of C elements: mean, what rounding the mean lost, reciprocal deviation.
pub(super) const SAVED: usize = 3;
/// Numbers a channel that a pass of one part leaves: (mean, squared deviation) or (Σg, Σg·(x−μ)).
const PARTIAL: usize = 2;
/// Elements of a block, which stays in the L2 cache between its two inner passes.
const BLOCK: usize = 16 * 1024;
/// Elements of a part.
const PART: usize = 8 * BLOCK;
/// Clips up to this size run one a thread; larger ones run one after the other, their parts in parallel.
const SMALL_CLIP: usize = 2 * PART;

struct Geometry {
    columns: Columns,
    part: usize,
    parts: usize,
    order: Order,
}

fn geometry(p: &Problem) -> Geometry {
    let columns = Columns::new(p.channels);
    let part = columns.block(PART);
    let order = if p.clip() <= SMALL_CLIP { Order::Parallel } else { Order::Serial };
    Geometry { columns, part, parts: p.clip().div_ceil(part), order }
}

/// f64 elements of workspace: partial results of every part and, backward, the totals of every clip.
pub(super) fn workspace(p: &Problem, pass: Pass) -> usize {
    let totals = if pass == Pass::Backward { 1 } else { 0 };
    p.clips * (geometry(p).parts + totals) * PARTIAL * p.channels
}

/// The i-th piece of `per` elements, the last one short; of an empty slice, an empty slice.
#[inline(always)]
fn piece<T>(data: &[T], i: usize, per: usize) -> &[T] {
    let end = ((i + 1) * per).min(data.len());
    &data[(i * per).min(end)..end]
}

/// What a clip's passes need of its statistics, channel by channel.
#[derive(Clone, Copy)]
struct Norm<'a, T> {
    /// (3, C) as saved.
    saved: &'a [T],
    gamma: &'a [T],
    beta: &'a [T],
}

impl<T: Real> Norm<'_, T> {
    #[inline(always)]
    fn mean(&self, c: usize) -> T {
        self.saved[c]
    }
    #[inline(always)]
    fn rest(&self, c: usize) -> f64 {
        self.saved[self.gamma.len() + c].to_f64()
    }
    #[inline(always)]
    fn rstd(&self, c: usize) -> f64 {
        self.saved[2 * self.gamma.len() + c].to_f64()
    }
    #[inline(always)]
    fn scale(&self, c: usize) -> T {
        T::from_f64(self.rstd(c) * self.gamma[c].to_f64())
    }
    /// What is added after scaling `x − mean`: β, and the part of the mean that rounding lost.
    #[inline(always)]
    fn shift(&self, c: usize) -> T {
        T::from_f64(self.beta[c].to_f64() - self.rest(c) * self.scale(c).to_f64())
    }
}

pub(super) fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let g = geometry(p);
    let (x, gamma, beta) = (io.inputs[0], io.params[0], io.params[1]);
    let residual = io.inputs.get(1).copied().unwrap_or(&[]);
    let saved: &mut [T] = bytemuck::cast_slice_mut(io.saved);
    let partials: &mut [f64] = bytemuck::cast_slice_mut(io.workspace);
    let per_part = PARTIAL * p.channels;

    let buffers = (
        chunks(io.output, p.clip()),
        chunks(saved, SAVED * p.channels),
        chunks(partials, g.parts * per_part),
    );
    for_each(g.order, p.clips, buffers, |n, (y, saved, partials)| {
        let (x, residual) = (piece(x, n, p.clip()), piece(residual, n, p.clip()));
        for_each(Order::Parallel, g.parts, chunks(partials.data, per_part), |i, out| {
            let x = piece(x, i, g.part);
            simd::dispatch(
                #[inline(always)]
                || part_statistics(&g.columns, x, out.data),
            );
        });
        merge_statistics(p, g.part / p.channels, partials.data, saved.data);
        let norm = Norm { saved: saved.data, gamma, beta };
        for_each(Order::Downwards, g.parts, chunks(y.data, g.part), |i, y| {
            let (x, residual) = (piece(x, i, g.part), piece(residual, i, g.part));
            simd::dispatch(
                #[inline(always)]
                || match p.activation {
                    Activation::Plain => apply(
                        &g.columns,
                        norm,
                        x,
                        x,
                        y.data,
                        #[inline(always)]
                        |z, _| z,
                    ),
                    Activation::Relu => apply(
                        &g.columns,
                        norm,
                        x,
                        x,
                        y.data,
                        #[inline(always)]
                        |z, _| relu(z),
                    ),
                    Activation::AddRelu => apply(
                        &g.columns,
                        norm,
                        x,
                        residual,
                        y.data,
                        #[inline(always)]
                        |z, r| relu(z + r),
                    ),
                },
            );
        });
    });
}

/// Passes NaN on, so that a diverged run is noticed.
#[inline(always)]
fn relu<T: Real>(z: T) -> T {
    if z <= T::ZERO { T::ZERO } else { z }
}

/// Mean and Σ(x − mean)² of each channel over a part, `out` being (2, C). Each block is summed, then its
/// deviations from that (rounded) mean, which corrects the mean as well; blocks merge by Chan, Golub &
/// LeVeque (1979).
#[inline(always)]
fn part_statistics<T: Real>(columns: &Columns, x: &[T], out: &mut [f64]) {
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
fn merge_statistics<T: Real>(p: &Problem, per_part: usize, partials: &mut [f64], saved: &mut [T]) {
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

/// `y = act((x − mean)·scale + shift, r)` over a part.
#[inline(always)]
fn apply<T: Real>(
    columns: &Columns,
    norm: Norm<'_, T>,
    x: &[T],
    r: &[T],
    y: &mut [T],
    act: impl Fn(T, T) -> T,
) {
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
        let rows = columns.rows(x, &tile).zip(columns.rows(r, &tile)).zip(columns.rows_mut(y, &tile));
        for ((x, r), y) in rows {
            let (x, r) = (&x[..y.len()], &r[..y.len()]);
            let (mean, scale, shift) = (&mean[..y.len()], &scale[..y.len()], &shift[..y.len()]);
            for j in 0..y.len() {
                y[j] = act((x[j] - mean[j]) * scale[j] + shift[j], r[j]);
            }
        }
    }
}

pub(super) fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
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
        totals.data.fill(0.0);
        for part in partials.data.chunks(per_part) {
            totals.data.iter_mut().zip(part).for_each(|(t, v)| *t += v);
        }
        let (sum_g, sum_gd) = totals.data.split_at_mut(p.channels);
        for c in 0..p.channels {
            // Sums were taken with x − (rounded mean).
            sum_gd[c] = norm.rstd(c) * (sum_gd[c] - norm.rest(c) * sum_g[c]);
        }
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
    for (gradient, offset) in io.dparams.iter_mut().zip([p.channels, 0]) {
        for (n, total) in totals.chunks(per_part).enumerate() {
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
struct Means<'a> {
    /// Σg (C).
    g: &'a [f64],
    /// Σg·x̂ (C).
    gx: &'a [f64],
    count: f64,
}

/// What x − mean is multiplied by in [`part_dx`].
#[inline(always)]
fn slope_of<T: Real>(norm: Norm<'_, T>, means: Means<'_>, c: usize) -> f64 {
    -norm.scale(c).to_f64() * norm.rstd(c) * means.gx[c] / means.count
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
            |c| T::from_f64(slope_of(norm, means, c)),
        );
        let offset = columns.spread(
            &tile,
            #[inline(always)]
            |c| {
                T::from_f64(
                    -norm.scale(c).to_f64() * means.g[c] / means.count
                        - norm.rest(c) * slope_of(norm, means, c),
                )
            },
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
