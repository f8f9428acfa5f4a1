//! The filter gradient as a matrix product over pixels, `dw[k, d] = Σ_pixel dy[pixel, k] · columns[pixel, d]`,
//! where `d = (tap, c)` runs as it does in memory and `columns` holds what each tap reads (im2col), made for
//! one block of pixels × one panel of `d` at a time and never stored whole.
//!
//! A tile of 6 filters × 4 registers of `d` stays in registers while a block's pixels pass by. Each block starts
//! from zero, blocks are added up clip by clip, and clips in their order. So the rounding error grows with the
//! root of three short sums instead of one long one, and the result is the same to the bit whether clips come
//! in one call or in several that accumulate. Pixels for which a panel sees only padding are skipped.

use std::ops::Range;

use pulp::{NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;

use super::Problem;
use super::axis::{Axis, Tap};
use super::panel::{Panel, Panels, Tile};
use super::rows::Padding;
use crate::ops::WriteMode;
use crate::tensor::Real;

/// Pixels of a block: its columns (96 × 256 bytes) leave room in a 32 KiB L1 cache for the passing `dy`.
const BLOCK: usize = 96;

/// Elements of the widest panel: four registers of 16.
const PANEL: usize = 64;

/// Most filters of a task, so that a block's `dy` (36 KiB) stays near.
const FILTERS: usize = 96;

/// Most panels of a task, which share one packed block of `dy`.
const PANELS: usize = 4;

/// Time of packing a block of `dy`, in that of multiplying it with one panel (measured, Zen 4).
const PACKING: f64 = 0.16;

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
    padding: Option<Padding>,
}

/// How the work divides into tasks with accumulators of their own: `(task, panel, filter, stride)`.
#[derive(Clone, Copy)]
struct Partition {
    panels: Panels,
    panels_per_task: usize,
    filters: usize,
    filter_parts: usize,
}

impl Partition {
    /// For this many threads; it changes who adds up which elements, never a sum.
    fn new<T: Real>(w: &Wgrad) -> Self {
        let threads = rayon::current_num_threads();
        let efficiency = |p: &Self| {
            let balance = p.tasks() as f64 / p.tasks().next_multiple_of(threads) as f64;
            balance / (1.0 + PACKING / p.panels_per_task as f64)
        };
        Self::all::<T>(w)
            .max_by(|a, b| efficiency(a).total_cmp(&efficiency(b)))
            .expect("there is at least one")
    }

    /// One for each number of panels a task.
    fn all<T: Real>(w: &Wgrad) -> impl Iterator<Item = Self> {
        // 8 × 3 registers waste nothing on 8, 16 or 32 filters; 6 × 4 read neighbouring columns in whole taps.
        let limit = if w.k <= 32 { 3 } else { 4 };
        let panels = Panels::at_most::<T>(w.taps.len() * w.run, limit);
        let tile = tile_filters(panels.get(0).registers);
        let filters = w.k.div_ceil(w.k.div_ceil(FILTERS)).next_multiple_of(tile);
        let filter_parts = w.k.div_ceil(filters);
        (1..=PANELS).map(move |panels_per_task| Self { panels, panels_per_task, filters, filter_parts })
    }

    /// Accumulators of a task: of all clips before, followed by as many of the current one.
    fn task_len(&self) -> usize {
        2 * self.half()
    }

    fn half(&self) -> usize {
        self.panels_per_task * self.filters * self.panels.stride()
    }

    fn tasks(&self) -> usize {
        self.panels.count().div_ceil(self.panels_per_task) * self.filter_parts
    }

    /// Panels and first filter of a task.
    fn task(&self, i: usize) -> (Range<usize>, usize) {
        let first = i / self.filter_parts * self.panels_per_task;
        (first..(first + self.panels_per_task).min(self.panels.count()), i % self.filter_parts * self.filters)
    }

    /// Where the accumulators of (panel, filter) start.
    fn at(&self, panel: usize, filter: usize) -> usize {
        let task = panel / self.panels_per_task * self.filter_parts + filter / self.filters;
        let row = panel % self.panels_per_task * self.filters + filter % self.filters;
        task * self.task_len() + row * self.panels.stride()
    }
}

/// Filters of a register tile beside `registers` of columns.
const fn tile_filters(registers: usize) -> usize {
    if registers == 4 { 6 } else { 8 }
}

impl Wgrad {
    pub fn new(p: &Problem) -> Self {
        let mut axes =
            [0, 1, 2].map(|a| Axis::fprop(p.input[a], p.filter[a], p.stride[a], p.pad[a], p.output[a]));
        let padding = Padding::wanted(p.n, p.c, p.input, &axes[2]);
        let run = padding.map_or(1, |_| axes[2].merge()) * p.c;
        let mut taps = Vec::new();
        for &t in &axes[0].taps {
            for &h in &axes[1].taps {
                taps.extend(axes[2].taps.iter().map(|&w| [t, h, w]));
            }
        }
        Self { n: p.n, c: p.c, k: p.k, output: p.output, axes, taps, run, padding }
    }

    /// Enough for any number of threads: a plan made under one must hold under another.
    pub fn workspace<T: Real>(&self) -> usize {
        let sums = Partition::all::<T>(self).map(|p| p.tasks() * p.task_len()).max().unwrap_or(0);
        sums + self.padding.map_or(0, |p| p.len())
    }

    pub fn run<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T], mode: WriteMode, workspace: &mut [T]) {
        let partition = Partition::new::<T>(self);
        let (sums, padded) = workspace.split_at_mut(partition.tasks() * partition.task_len());
        let x = match &self.padding {
            Some(padding) => padding.copy(x, padded),
            None => x,
        };
        let depth = self.taps.len() * self.run;
        let stride = partition.panels.stride();
        let previous = (mode == WriteMode::Accumulate).then_some(&*dw);
        sums.par_chunks_mut(partition.task_len()).enumerate().for_each(|(i, sums)| {
            let (panels, filter) = partition.task(i);
            let filters = filter..(filter + partition.filters).min(self.k);
            sums.fill(T::ZERO);
            if let Some(previous) = previous {
                for (p, sums) in panels.clone().zip(sums.chunks_exact_mut(partition.filters * stride)) {
                    let panel = partition.panels.get(p);
                    for (filter, sums) in filters.clone().zip(sums.chunks_exact_mut(stride)) {
                        sums[..panel.channels]
                            .copy_from_slice(&previous[filter * depth + panel.first..][..panel.channels]);
                    }
                }
            }
            pulp::Arch::new().dispatch(Task { wgrad: self, partition, x, dy, sums, filters, panels });
        });
        let sums = &*sums;
        dw.par_chunks_mut(depth).enumerate().for_each(|(filter, dw)| {
            for p in 0..partition.panels.count() {
                let panel = partition.panels.get(p);
                dw[panel.first..][..panel.channels]
                    .copy_from_slice(&sums[partition.at(p, filter)..][..panel.channels]);
            }
        });
    }

    /// Visits the valid (pixel of the block, input pixel) pairs of a tap among `pixels` of clip `n`.
    #[inline(always)]
    fn for_each_input(
        &self,
        n: usize,
        pixels: Range<usize>,
        tap: [Tap; 3],
        mut visit: impl FnMut(usize, usize),
    ) {
        let [_, p, q] = self.output;
        let [axis_t, axis_h, axis_w] = &self.axes;
        let (row, mut column) = (pixels.start / q, pixels.start % q);
        let (mut z, mut y) = (row / p, row % p);
        let mut pixel = pixels.start;
        while pixel < pixels.end {
            let columns = (q - column).min(pixels.end - pixel);
            if let (Some(t), Some(h)) = (axis_t.input(z, tap[0]), axis_h.input(y, tap[1])) {
                let input = ((n * axis_t.extent + t) * axis_h.extent + h) * axis_w.extent;
                for j in 0..columns {
                    if let Some(w) = axis_w.input(column + j, tap[2]) {
                        visit(pixel - pixels.start + j, input + w);
                    }
                }
            }
            pixel += columns;
            column = 0;
            y += 1;
            if y == p {
                (z, y) = (z + 1, 0);
            }
        }
    }
}

/// Some panels × some filters, over all pixels.
struct Task<'a, T> {
    wgrad: &'a Wgrad,
    partition: Partition,
    x: &'a [T],
    dy: &'a [T],
    /// `(clips before or this clip, panel, filter, stride)`.
    sums: &'a mut [T],
    filters: Range<usize>,
    panels: Range<usize>,
}

impl<T: Real> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_filters(self.partition.panels.get(0).registers) {
            6 if self.filters.len() >= 6 => self.walk::<S, 6>(simd),
            8 if self.filters.len() >= 8 => self.walk::<S, 8>(simd),
            _ => self.walk::<S, 1>(simd),
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// All blocks, in tiles of `R` filters.
    #[inline(always)]
    fn walk<S: Simd, const R: usize>(self, simd: S) {
        let w = self.wgrad;
        let stride = self.partition.panels.stride();
        let pixels = w.output.iter().product::<usize>();
        let mut dy = [T::ZERO; BLOCK * FILTERS];
        let mut columns = Columns { data: [T::ZERO; BLOCK * PANEL], pixels: [0; BLOCK], count: 0 };
        let (total, clip) = self.sums.split_at_mut(self.partition.half());
        for n in 0..w.n {
            clip.fill(T::ZERO);
            for first in (0..pixels).step_by(BLOCK) {
                let block = first..(first + BLOCK).min(pixels);
                let rows = &self.dy[(n * pixels + first) * w.k..][..block.len() * w.k];
                pack_dy::<T, R>(rows, w.k, &self.filters, &mut dy);
                let sums = clip.chunks_exact_mut(self.partition.filters * stride);
                for (p, sums) in self.panels.clone().zip(sums) {
                    let panel = self.partition.panels.get(p);
                    columns.gather::<S>(w, self.x, n, block.clone(), panel);
                    let product = Product {
                        filters: self.filters.len(),
                        dy: &dy,
                        rows: block.len(),
                        columns: &columns,
                        stride,
                    };
                    match panel.registers {
                        4 => product.add::<S, R, 4>(simd, sums),
                        3 => product.add::<S, R, 3>(simd, sums),
                        2 => product.add::<S, R, 2>(simd, sums),
                        _ => product.add::<S, R, 1>(simd, sums),
                    }
                }
            }
            for (total, clip) in total.iter_mut().zip(&*clip) {
                *total += *clip;
            }
        }
    }
}

/// First filter of each tile of `tile` filters: the last one overlaps its neighbour rather than leave its
/// registers half empty.
fn tile_starts(filters: usize, tile: usize) -> impl Iterator<Item = usize> {
    (0..filters.div_ceil(tile)).map(move |i| (i * tile).min(filters - tile))
}

/// Packs a block of `dy` as `(tile, pixel, filter of the tile)`.
#[inline(always)]
fn pack_dy<T: Real, const R: usize>(dy: &[T], k: usize, filters: &Range<usize>, packed: &mut [T]) {
    let rows = dy.len() / k;
    for (start, packed) in tile_starts(filters.len(), R).zip(packed.chunks_exact_mut(rows * R)) {
        for (dy, packed) in dy.chunks_exact(k).zip(packed.as_chunks_mut::<R>().0) {
            packed.copy_from_slice(&dy[filters.start + start..][..R]);
        }
    }
}

/// What the taps of one panel read for one block of pixels: `(pixel, panel width)`, padding as zeros.
struct Columns<T> {
    data: [T; BLOCK * PANEL],
    /// The pixels of the block that see more than padding.
    pixels: [usize; BLOCK],
    count: usize,
}

impl<T: Real> Columns<T> {
    #[inline(always)]
    fn gather<S: Simd>(&mut self, w: &Wgrad, x: &[T], n: usize, block: Range<usize>, panel: Panel) {
        let width = panel.registers * T::lanes::<S>();
        let (first, last) = (panel.first, panel.first + panel.channels);
        if panel.channels == PANEL.min(4 * T::lanes::<S>()) && first / w.run == (last - 1) / w.run {
            let tap = w.taps[first / w.run];
            self.count = 0;
            let rows = T::vectors_mut::<S>(&mut self.data);
            w.for_each_input(
                n,
                block,
                tap,
                #[inline(always)]
                |pixel, input| {
                    // One by one: as a slice they would be copied by a call, at half the speed.
                    let from = T::vectors::<S>(&x[input * w.c + first % w.run..][..panel.channels]);
                    let (from, to) = (&from[..4], &mut rows[self.count * 4..][..4]);
                    (to[0], to[1], to[2], to[3]) = (from[0], from[1], from[2], from[3]);
                    self.pixels[self.count] = pixel;
                    self.count += 1;
                },
            );
            return;
        }
        if first / w.run == (last - 1) / w.run {
            let tap = w.taps[first / w.run];
            self.count = 0;
            w.for_each_input(
                n,
                block,
                tap,
                #[inline(always)]
                |pixel, input| {
                    let from = &x[input * w.c + first % w.run..][..panel.channels];
                    copy_row(from, &mut self.data[self.count * width..][..panel.channels]);
                    self.pixels[self.count] = pixel;
                    self.count += 1;
                },
            );
            return;
        }
        // Several taps side by side: every pixel takes part, since hardly one sees nothing but padding.
        self.data[..block.len() * width].fill(T::ZERO);
        self.count = block.len();
        for (i, pixel) in self.pixels[..block.len()].iter_mut().enumerate() {
            *pixel = i;
        }
        let mut d = first;
        while d < last {
            let len = (w.run - d % w.run).min(last - d);
            w.for_each_input(
                n,
                block.clone(),
                w.taps[d / w.run],
                #[inline(always)]
                |pixel, input| {
                    let from = &x[input * w.c + d % w.run..][..len];
                    copy_row(from, &mut self.data[pixel * width + d - first..][..len]);
                },
            );
            d += len;
        }
    }
}

/// Copies a short row to one as long, without a call: by pieces of which the last overlaps the one before.
#[inline(always)]
fn copy_row<T: Real>(from: &[T], to: &mut [T]) {
    match from.len() {
        16.. => by_pieces::<T, 16>(from, to),
        8.. => by_pieces::<T, 8>(from, to),
        4.. => by_pieces::<T, 4>(from, to),
        _ => by_pieces::<T, 1>(from, to),
    }
}

/// Both have as many elements, at least `L`.
#[inline(always)]
fn by_pieces<T: Real, const L: usize>(from: &[T], to: &mut [T]) {
    let (pieces, rest) = from.as_chunks::<L>();
    for (from, to) in pieces.iter().zip(to.as_chunks_mut::<L>().0) {
        *to = *from;
    }
    if let (false, Some(from), Some(to)) = (rest.is_empty(), from.last_chunk::<L>(), to.last_chunk_mut()) {
        *to = *from;
    }
}

/// The product of one block's `dy` and columns.
struct Product<'a, T> {
    filters: usize,
    dy: &'a [T],
    rows: usize,
    columns: &'a Columns<T>,
    stride: usize,
}

impl<T: Real> Product<'_, T> {
    /// `sums[filter, ..] += Σ_pixel dy[pixel, filter] · columns[pixel, ..]` in tiles of `R` filters × `V`
    /// registers.
    #[inline(always)]
    fn add<S: Simd, const R: usize, const V: usize>(&self, simd: S, sums: &mut [T]) {
        let width = V * T::lanes::<S>();
        let columns = T::vectors::<S>(&self.columns.data[..self.columns.count * width]);
        let pixels = &self.columns.pixels[..self.columns.count];
        let mut done = 0;
        for (start, dy) in tile_starts(self.filters, R).zip(self.dy.chunks_exact(self.rows * R)) {
            let columns = columns.as_chunks::<V>().0;
            let product = simd.vectorize(TileProduct { simd, dy: dy.as_chunks::<R>().0, columns, pixels });
            for i in 0..R {
                if start + i >= done {
                    let sums = &mut sums[(start + i) * self.stride..][..width];
                    let sums = &mut T::vectors_mut::<S>(sums)[..V];
                    for j in 0..V {
                        sums[j] = T::add_vectors(simd, sums[j], product[i][j]);
                    }
                }
            }
            done = start + R;
        }
    }
}

/// `Σ_pixel dy[pixel][i] · columns[pixel]` for each filter `i` of a tile; a function of its own for the same reason
/// as [`gather`](super::gather)'s.
struct TileProduct<'a, S: Simd, T: Real, const R: usize, const V: usize> {
    simd: S,
    dy: &'a [[T; R]],
    columns: &'a [[T::Vector<S>; V]],
    /// The row of `dy` that belongs to each row of `columns`.
    pixels: &'a [usize],
}

impl<S: Simd, T: Real, const R: usize, const V: usize> NullaryFnOnce for TileProduct<'_, S, T, R, V> {
    type Output = Tile<S, T, R, V>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { simd, dy, columns, pixels } = self;
        let mut sum: Tile<S, T, R, V> = [[T::splat(simd, T::ZERO); V]; R];
        for (row, &pixel) in columns.iter().zip(pixels) {
            let dy = &dy[pixel];
            for i in 0..R {
                let v = T::splat(simd, dy[i]);
                for j in 0..V {
                    sum[i][j] = T::fma(simd, v, row[j], sum[i][j]);
                }
            }
        }
        sum
    }
}
