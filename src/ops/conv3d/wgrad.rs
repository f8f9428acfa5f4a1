//! The filter gradient: `dw[k, tap, c] = Σ_pixel dy[pixel, k] · x[input(pixel, tap), c]`.
//!
//! A tile of 6 filters × 4 registers of input channels stays in registers while the pixels of a block pass by.
//! A block lies within one clip and starts from zero; blocks are then added in order of clip and pixel. So the
//! rounding error grows with the root of two short sums instead of one long one, and the result is the same to
//! the bit whether clips come in one call or in several that accumulate.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Problem;
use super::axis::{Axis, Tap};
use super::panel::{Panel, Panels, Tile, load_row};
use crate::ops::WriteMode;
use crate::tensor::Real;

/// Pixels of a block: its rows of `x` for one panel (128 × 256 bytes) fit the L1 cache.
const BLOCK: usize = 128;

/// Taps that a task walks for each block of pixels, so that `dy` is read once for all of them.
const TAPS_PER_TASK: usize = 3;

/// What the pass needs to know, worked out once.
#[derive(Debug)]
pub(super) struct Wgrad {
    n: usize,
    c: usize,
    k: usize,
    output: [usize; 3],
    axes: [Axis; 3],
    taps: Vec<[Tap; 3]>,
    /// Elements of `x` and `dw` that a tap covers: `C`, or `S·C` where the row of taps is one run.
    run: usize,
    /// Zeros before and after each row of `x`, if rows of taps are merged.
    pad: Option<(usize, usize)>,
    input: [usize; 3],
}

/// How the work divides into tasks with accumulators of their own.
#[derive(Clone, Copy)]
struct Partition {
    panels: Panels,
    /// Filters of a task.
    filters: usize,
    filter_parts: usize,
    taps: usize,
    tap_groups: usize,
}

impl Partition {
    fn new<T: Real>(w: &Wgrad) -> Self {
        let panels = Panels::new::<T>(w.run);
        let tile = tile_filters(panels.get(0).registers);
        let filters = w.k.div_ceil(2 * tile) * tile;
        let taps = TAPS_PER_TASK.min(w.taps.len());
        Self {
            panels,
            filters,
            filter_parts: w.k.div_ceil(filters),
            taps,
            tap_groups: w.taps.len().div_ceil(taps),
        }
    }

    /// Accumulators of one task.
    fn task_len(&self) -> usize {
        self.taps * self.filters * self.panels.stride()
    }

    fn tasks(&self) -> usize {
        self.panels.count() * self.filter_parts * self.tap_groups
    }

    /// Panel, first filter and first tap of a task.
    fn task(&self, i: usize) -> (usize, usize, usize) {
        let (i, group) = (i / self.tap_groups, i % self.tap_groups);
        (i / self.filter_parts, i % self.filter_parts * self.filters, group * self.taps)
    }

    /// Where the accumulators of (panel, filter, tap) start.
    fn at(&self, panel: usize, filter: usize, tap: usize) -> usize {
        let part = panel * self.filter_parts + filter / self.filters;
        let task = part * self.tap_groups + tap / self.taps;
        ((task * self.taps + tap % self.taps) * self.filters + filter % self.filters) * self.panels.stride()
    }
}

/// Filters of a register tile beside `registers` of input channels.
const fn tile_filters(registers: usize) -> usize {
    if registers == 4 { 6 } else { 8 }
}

impl Wgrad {
    pub fn new(p: &Problem) -> Self {
        let mut axes =
            [0, 1, 2].map(|a| Axis::fprop(p.input[a], p.filter[a], p.stride[a], p.pad[a], p.output[a]));
        let merge = super::cpu::merges(p.c, p.filter[2]);
        let pad = merge.then(|| axes[2].padding());
        let run = if let Some((lead, trail)) = pad { axes[2].merge(lead, trail) * p.c } else { p.c };
        let mut taps = Vec::new();
        for &t in &axes[0].taps {
            for &h in &axes[1].taps {
                taps.extend(axes[2].taps.iter().map(|&w| [t, h, w]));
            }
        }
        Self { n: p.n, c: p.c, k: p.k, output: p.output, axes, taps, run, pad, input: p.input }
    }

    pub fn workspace<T: Real>(&self) -> usize {
        let partition = Partition::new::<T>(self);
        partition.tasks() * partition.task_len()
            + super::cpu::padded_len(self.n, self.c, self.input, self.pad)
    }

    pub fn run<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T], mode: WriteMode, workspace: &mut [T]) {
        let partition = Partition::new::<T>(self);
        let (sums, padded) = workspace.split_at_mut(partition.tasks() * partition.task_len());
        let x = super::cpu::pad_rows(x, self.n, self.c, self.input, self.pad, padded);
        let filter_len = self.taps.len() * self.run;
        let previous = (mode == WriteMode::Accumulate).then_some(&*dw);
        sums.par_chunks_mut(partition.task_len()).enumerate().for_each(|(i, sums)| {
            let (panel, filter, tap) = partition.task(i);
            let panel = partition.panels.get(panel);
            let filters = filter..(filter + partition.filters).min(self.k);
            let taps = tap..(tap + partition.taps).min(self.taps.len());
            let stride = partition.panels.stride();
            sums.fill(T::ZERO);
            if let Some(previous) = previous {
                for (t, tap) in taps.clone().enumerate() {
                    for (f, filter) in filters.clone().enumerate() {
                        let from = &previous[filter * filter_len + tap * self.run + panel.first..];
                        sums[(t * partition.filters + f) * stride..][..panel.channels]
                            .copy_from_slice(&from[..panel.channels]);
                    }
                }
            }
            let task =
                Task { wgrad: self, x, dy, sums, panel, stride, rows: partition.filters, filters, taps };
            pulp::Arch::new().dispatch(task);
        });
        let sums = &*sums;
        dw.par_chunks_mut(filter_len).enumerate().for_each(|(filter, dw)| {
            for (tap, dw) in dw.chunks_exact_mut(self.run).enumerate() {
                for p in 0..partition.panels.count() {
                    let panel = partition.panels.get(p);
                    dw[panel.first..][..panel.channels]
                        .copy_from_slice(&sums[partition.at(p, filter, tap)..][..panel.channels]);
                }
            }
        });
    }
}

/// A few taps × some filters × one panel of input channels, over all pixels.
struct Task<'a, T> {
    wgrad: &'a Wgrad,
    x: &'a [T],
    dy: &'a [T],
    /// `(taps, rows, stride)`.
    sums: &'a mut [T],
    panel: Panel,
    stride: usize,
    rows: usize,
    filters: std::ops::Range<usize>,
    taps: std::ops::Range<usize>,
}

impl<T: Real> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.panel.registers, self.filters.len()) {
            (4, 6..) => self.walk::<S, 6, 4>(simd),
            (4, _) => self.walk::<S, 1, 4>(simd),
            (3, 8..) => self.walk::<S, 8, 3>(simd),
            (3, _) => self.walk::<S, 1, 3>(simd),
            (2, 8..) => self.walk::<S, 8, 2>(simd),
            (2, _) => self.walk::<S, 1, 2>(simd),
            (_, 8..) => self.walk::<S, 8, 1>(simd),
            _ => self.walk::<S, 1, 1>(simd),
        }
    }
}

impl<T: Real> Task<'_, T> {
    #[inline(always)]
    fn walk<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let w = self.wgrad;
        let [z, p, q] = w.output;
        let pixels = z * p * q;
        let mut pairs = [(0, 0); BLOCK];
        for n in 0..w.n {
            for first in (0..pixels).step_by(BLOCK) {
                for (t, tap) in self.taps.clone().enumerate() {
                    let count = w.pairs(n, first..(first + BLOCK).min(pixels), w.taps[tap], &mut pairs);
                    let pairs = &pairs[..count];
                    let mut done = 0;
                    while done < self.filters.len() {
                        // The last tile overlaps the one before rather than leave its registers half empty.
                        let row = done.min(self.filters.len() - R);
                        let dy = &self.dy[self.filters.start + row..];
                        let acc = multiply::<S, T, R, V>(
                            simd,
                            pairs,
                            dy,
                            w.k,
                            &self.x[self.panel.first..],
                            w.c,
                            self.panel.channels,
                        );
                        for i in done - row..R {
                            let at = (t * self.rows + row + i) * self.stride;
                            let sums =
                                &mut T::vectors_mut::<S>(&mut self.sums[at..at + V * T::lanes::<S>()])[..V];
                            for j in 0..V {
                                sums[j] = T::add_vectors(simd, sums[j], acc[i][j]);
                            }
                        }
                        done = row + R;
                    }
                }
            }
        }
    }
}

impl Wgrad {
    /// The (output pixel, input pixel) pairs of a tap among `pixels` of clip `n`, padding left out; how many.
    #[inline(always)]
    fn pairs(
        &self,
        n: usize,
        pixels: std::ops::Range<usize>,
        tap: [Tap; 3],
        pairs: &mut [(usize, usize); BLOCK],
    ) -> usize {
        let [z, p, q] = self.output;
        let [axis_t, axis_h, axis_w] = &self.axes;
        let (mut row, mut column) = (pixels.start / q, pixels.start % q);
        let (mut pixel, mut count) = (pixels.start, 0);
        while pixel < pixels.end {
            let columns = (q - column).min(pixels.end - pixel);
            if let (Some(t), Some(h)) = (axis_t.input(row / p, tap[0]), axis_h.input(row % p, tap[1])) {
                let input = ((n * axis_t.extent + t) * axis_h.extent + h) * axis_w.extent;
                let output = n * z * p * q + pixel;
                for j in 0..columns {
                    if let Some(w) = axis_w.input(column + j, tap[2]) {
                        pairs[count] = (output + j, input + w);
                        count += 1;
                    }
                }
            }
            pixel += columns;
            row += 1;
            column = 0;
        }
        count
    }
}

/// `Σ_pairs dy[output, i] · x[input, ..]` for `R` filters and `V` registers of channels.
#[inline(always)]
fn multiply<S: Simd, T: Real, const R: usize, const V: usize>(
    simd: S,
    pairs: &[(usize, usize)],
    dy: &[T],
    k: usize,
    x: &[T],
    c: usize,
    channels: usize,
) -> Tile<S, T, R, V> {
    let mut acc: Tile<S, T, R, V> = [[T::splat(simd, T::ZERO); V]; R];
    for &(output, input) in pairs {
        let dy = &dy[output * k..][..R];
        let row = load_row::<S, T, V>(simd, &x[input * c..][..channels]);
        for i in 0..R {
            let v = T::splat(simd, dy[i]);
            for j in 0..V {
                acc[i][j] = T::fma(simd, v, row[j], acc[i][j]);
            }
        }
    }
    acc
}
