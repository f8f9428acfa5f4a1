//! Norm, ReLU and max-pool. Forward walks rows of outputs and normalises what their windows read; backward walks rows of
//! inputs twice, for sums and for dx, and each input gathers from the windows that it won, in raster order. What lies between
//! norm and pool stays in registers. Of a row a chunk of channels is done at a time, whose constants stay in cache.

use super::backward::{Means, parameter_gradients, total, trend};
use super::forward::{clip_statistics, relu};
use super::{Geometry, Norm, PART, PARTIAL, SAVED, geometry, piece};
use crate::ops::instance_norm::Pooled;
use crate::ops::parallel::{Order, chunks, for_each};
use crate::ops::simd::{self, over_channels};
use crate::ops::windows::{Windows, take_larger};
use crate::ops::{Backward, Forward, Pass, WriteMode};
use crate::tensor::Real;

/// Rows of inputs of one part of a clip, about [`PART`] elements, and parts of a clip.
fn parts(p: &Pooled) -> (usize, usize) {
    let [t, h, w] = p.windows.input;
    let rows = (PART / (w * p.norm.channels)).clamp(1, t * h);
    (rows, (t * h).div_ceil(rows))
}

/// f64 elements of workspace: partial results of every part and, backward, the totals of every clip.
pub(in crate::ops::instance_norm) fn workspace(p: &Pooled, pass: Pass) -> usize {
    match pass {
        Pass::Forward => super::workspace(&p.norm, pass),
        Pass::Backward => p.norm.clips * (parts(p).1 + 1) * PARTIAL * p.norm.channels,
    }
}

/// Bytes of statistics that forward saves, before the winners' places.
fn statistics_bytes<T>(p: &Pooled) -> usize {
    p.norm.clips * SAVED * p.norm.channels * size_of::<T>()
}

pub(in crate::ops::instance_norm) fn forward<T: Real>(p: &Pooled, io: Forward<'_, T>) {
    let n = &p.norm;
    let g: Geometry = geometry(n);
    let (x, gamma, beta) = (io.inputs[0], io.params[0], io.params[1]);
    let (saved, won) = io.saved.split_at_mut(statistics_bytes::<T>(p));
    let saved: &mut [T] = bytemuck::cast_slice_mut(saved);
    let partials: &mut [f64] = bytemuck::cast_slice_mut(io.workspace);
    let rows = p.windows.output[0] * p.windows.output[1];
    let row = p.windows.output[2] * n.channels;
    let buffers = (
        (chunks(io.output, p.clip()), chunks(won, p.clip())),
        chunks(saved, SAVED * n.channels),
        chunks(partials, g.parts * PARTIAL * n.channels),
    );
    for_each(g.order, n.clips, buffers, |i, ((y, won), saved, partials)| {
        let x = piece(x, i, n.clip());
        clip_statistics(n, &g, x, partials.data, saved.data);
        let norm = Norm { saved: saved.data, gamma, beta };
        for_each(Order::Downwards, rows, (chunks(y.data, row), chunks(won.data, row)), |r, (y, won)| {
            simd::dispatch(
                #[inline(always)]
                || {
                    over_channels!(n.channels, |c| row_of_outputs(
                        &p.windows, norm, x, r, c, y.data, won.data
                    ))
                },
            );
        });
    });
}

/// Constants of `L` channels from `c`.
#[derive(Clone, Copy)]
struct Constants<T, const L: usize> {
    mean: [T; L],
    scale: [T; L],
    shift: [T; L],
}

impl<T: Real, const L: usize> Constants<T, L> {
    #[inline(always)]
    fn new(norm: Norm<'_, T>, c: usize) -> Self {
        let mut new = Self { mean: [T::ZERO; L], scale: [T::ZERO; L], shift: [T::ZERO; L] };
        for l in 0..L {
            new.mean[l] = norm.mean(c + l);
            new.scale[l] = norm.scale(c + l);
            new.shift[l] = norm.shift(c + l);
        }
        new
    }

    /// The value before the ReLU.
    #[inline(always)]
    fn z(&self, x: T, l: usize) -> T {
        (x - self.mean[l]) * self.scale[l] + self.shift[l]
    }
}

/// `L` channels from `c` of row `r` of a clip's outputs, counted over T and H.
#[inline(always)]
fn row_of_outputs<T: Real, const L: usize>(
    windows: &Windows,
    norm: Norm<'_, T>,
    x: &[T],
    r: usize,
    c: usize,
    y: &mut [T],
    won: &mut [u8],
) {
    let channels = norm.gamma.len();
    let constants = Constants::<T, L>::new(norm, c);
    let [_, extent_h, extent_w] = windows.input;
    let [_, kernel_h, kernel_w] = windows.kernel;
    let (t, h) = (r / windows.output[1], r % windows.output[1]);
    let tap = |kt: usize, kh: usize, kw: usize| ((kt * kernel_h + kh) * kernel_w + kw) as u32;
    for w in 0..windows.output[2] {
        let mut place = [0; L]; // nothing that a ReLU lets out is −∞, so some tap wins
        let mut best = [T::NEG_INFINITY; L];
        for (kt, t) in windows.taps(0, t) {
            for (kh, h) in windows.taps(1, h) {
                for (kw, w) in windows.taps(2, w) {
                    let at = ((t * extent_h + h) * extent_w + w) * channels + c;
                    let x: &[T; L] = x[at..].first_chunk().expect("c + L is at most the number of channels");
                    take_larger(
                        &mut best,
                        &mut place,
                        tap(kt, kh, kw),
                        #[inline(always)]
                        |l| relu(constants.z(x[l], l)),
                    );
                }
            }
        }
        let at = w * channels + c;
        y[at..at + L].copy_from_slice(&best);
        for (won, k) in won[at..at + L].iter_mut().zip(place) {
            *won = k as u8;
        }
    }
}

pub(in crate::ops::instance_norm) fn backward<T: Real>(p: &Pooled, mut io: Backward<'_, T>) {
    let n = &p.norm;
    let (x, gamma, beta) = (io.inputs[0], io.params[0], io.params[1]);
    let (saved, won) = io.saved.split_at(statistics_bytes::<T>(p));
    let saved: &[T] = bytemuck::cast_slice(saved);
    let (rows, parts) = parts(p);
    let per_part = PARTIAL * n.channels;
    let (partials, totals) = bytemuck::cast_slice_mut(io.workspace).split_at_mut(n.clips * parts * per_part);
    let (dx, mode) = match &mut io.dx[0] {
        Some(dx) => (&mut *dx.data, dx.mode),
        None => (&mut [][..], WriteMode::Overwrite),
    };
    let row = p.windows.input[2] * n.channels;
    let all_rows = p.windows.input[0] * p.windows.input[1];
    let buffers = (chunks(dx, n.clip()), chunks(partials, parts * per_part), chunks(totals, per_part));
    for_each(geometry(n).order, n.clips, buffers, |i, (dx, partials, totals)| {
        let norm = Norm { saved: piece(saved, i, SAVED * n.channels), gamma, beta };
        let clip = Clip {
            windows: &p.windows,
            norm,
            x: piece(x, i, n.clip()),
            dy: piece(io.dy, i, p.clip()),
            won: piece(won, i, p.clip()),
        };
        for_each(Order::Parallel, parts, chunks(partials.data, per_part), |part, out| {
            let of_part = part * rows..((part + 1) * rows).min(all_rows);
            let (sum_g, sum_gd) = out.data.split_at_mut(n.channels);
            sum_g.fill(0.0);
            sum_gd.fill(0.0);
            simd::dispatch(
                #[inline(always)]
                || {
                    for r in of_part {
                        over_channels!(n.channels, |c| sums_of_row(&clip, r, c, sum_g, sum_gd));
                    }
                },
            );
        });
        total(norm, partials.data, totals.data);
        if dx.data.is_empty() {
            return;
        }
        let (g, gx) = totals.data.split_at(n.channels);
        let means = Means { g, gx, count: n.positions as f64 };
        for_each(Order::Downwards, all_rows, chunks(dx.data, row), |r, dx| {
            simd::dispatch(
                #[inline(always)]
                || over_channels!(n.channels, |c| dx_of_row(&clip, means, r, c, dx.data, mode)),
            );
        });
    });
    parameter_gradients(&mut io.dparams, totals, n.channels);
}

/// What backward reads of a clip.
#[derive(Clone, Copy)]
struct Clip<'a, T> {
    windows: &'a Windows,
    norm: Norm<'a, T>,
    x: &'a [T],
    dy: &'a [T],
    won: &'a [u8],
}

/// A row of windows that hold a row of inputs.
#[derive(Clone, Copy)]
struct WindowRow {
    /// Its first element in a clip's outputs.
    first: usize,
    /// The place in those windows of the first input along W.
    place: usize,
}

impl<T: Real> Clip<'_, T> {
    /// The rows of windows that hold row `r` of the inputs, counted over T and H; one at most where windows are apart.
    #[inline(always)]
    fn window_rows(&self, r: usize) -> impl Iterator<Item = WindowRow> {
        let s = self.windows;
        let (t, h) = (r / s.input[1], r % s.input[1]);
        let row = s.output[2] * self.norm.gamma.len();
        s.holding(0, t).flat_map(
            #[inline(always)]
            move |o| {
                s.holding(1, h).map(
                    #[inline(always)]
                    move |p| WindowRow {
                        first: (o * s.output[1] + p) * row,
                        place: (s.tap(0, t, o) * s.kernel[1] + s.tap(1, h, p)) * s.kernel[2],
                    },
                )
            },
        )
    }

    /// Adds what `L` channels from `c` of input `w` of a row get from the windows of `row` that they won.
    #[inline(always)]
    fn add_won<const L: usize>(&self, sum: &mut [T; L], row: WindowRow, w: usize, c: usize) {
        for q in self.windows.holding_along_w(w) {
            let at = row.first + q * self.norm.gamma.len() + c;
            let dy: &[T; L] = self.dy[at..].first_chunk().expect("c + L is at most the channels");
            let won: &[u8; L] = self.won[at..].first_chunk().expect("as many as dy");
            let k = (row.place + self.windows.tap(2, w, q)) as u8;
            for l in 0..L {
                sum[l] += if won[l] == k { dy[l] } else { T::ZERO };
            }
        }
    }

    /// Calls `f(w, x, g)` for each input of row `r`: x and g (dy where this input won and the ReLU let it through) of `L`
    /// channels from `c`.
    #[inline(always)]
    fn for_each_input<const L: usize>(
        &self,
        constants: &Constants<T, L>,
        r: usize,
        c: usize,
        mut f: impl FnMut(usize, &[T; L], [T; L]),
    ) {
        let (s, channels) = (self.windows, self.norm.gamma.len());
        let apart = s.is_apart();
        let only = self.window_rows(r).next();
        for w in 0..s.input[2] {
            let mut sum = [T::ZERO; L];
            if !apart {
                for row in self.window_rows(r) {
                    self.add_won(&mut sum, row, w, c);
                }
            } else if let Some(row) = only {
                self.add_won(&mut sum, row, w, c);
            }
            let at = (r * s.input[2] + w) * channels + c;
            let x: &[T; L] = self.x[at..].first_chunk().expect("c + L is at most the channels");
            for l in 0..L {
                sum[l] = if constants.z(x[l], l) <= T::ZERO { T::ZERO } else { sum[l] };
            }
            f(w, x, sum);
        }
    }
}

/// Adds Σg and Σg·(x − mean) of `L` channels from `c` of row `r` of a clip's inputs, counted over T and H.
#[inline(always)]
fn sums_of_row<T: Real, const L: usize>(
    clip: &Clip<'_, T>,
    r: usize,
    c: usize,
    sum_g: &mut [f64],
    sum_gd: &mut [f64],
) {
    let constants = Constants::<T, L>::new(clip.norm, c);
    let (mut lane_g, mut lane_gd) = ([T::ZERO; L], [T::ZERO; L]);
    clip.for_each_input(
        &constants,
        r,
        c,
        #[inline(always)]
        |_, x, g| {
            for l in 0..L {
                lane_g[l] += g[l];
                lane_gd[l] += g[l] * (x[l] - constants.mean[l]);
            }
        },
    );
    for l in 0..L {
        sum_g[c + l] += lane_g[l].to_f64();
        sum_gd[c + l] += lane_gd[l].to_f64();
    }
}

/// `dx = γ·rstd·(g − mean(g) − x̂·mean(g·x̂))` of such a row, as `g·scale + (x − mean)·slope + offset`.
#[inline(always)]
fn dx_of_row<T: Real, const L: usize>(
    clip: &Clip<'_, T>,
    means: Means<'_>,
    r: usize,
    c: usize,
    dx: &mut [T],
    mode: WriteMode,
) {
    let constants = Constants::<T, L>::new(clip.norm, c);
    let (mut slope, mut offset) = ([T::ZERO; L], [T::ZERO; L]);
    for l in 0..L {
        (slope[l], offset[l]) = trend(clip.norm, means, c + l);
    }
    clip.for_each_input(
        &constants,
        r,
        c,
        #[inline(always)]
        |w, x, g| {
            let at = w * clip.norm.gamma.len() + c;
            mode.store(
                &mut dx[at..at + L],
                #[inline(always)]
                |l| g[l] * constants.scale[l] + ((x[l] - constants.mean[l]) * slope[l] + offset[l]),
            );
        },
    );
}
