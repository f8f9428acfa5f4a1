//! The kernel of fprop and dgrad: every output pixel gathers rows of its input and multiplies them by a packed
//! filter, `y[pixel, k] = Σ_tap Σ_c x[input(pixel, tap), c] · w[tap, c, k]`.
//!
//! An implicit matrix product without im2col: a tile of 6 pixels × 4 registers of channels stays in registers
//! while the taps pass by; each step broadcasts one input element per pixel against one packed filter row.
//! Padding reads a row of zeros. Taps are walked in blocks whose filter rows fit the L2 cache, over all pixels
//! of a task. A block's sum starts from zero and is added to the output, so that the rounding error grows with
//! the root of a few hundred terms, not of all 13,824 of a deep layer. Bound by the multiply-add units from
//! about 16 channels on.

use pulp::{NullaryFnOnce, Simd, WithSimd};

use super::axis::{Axis, Tap};
use super::panel::{Panel, Panels, Tile, load_row, store_row};
use crate::ops::WriteMode;
use crate::tensor::Real;

/// Bytes of packed filter that one block of taps may take: half of a common 1 MiB L2 cache.
const FILTER_BLOCK: usize = 512 << 10;

/// Terms of one block's sum, unless a single tap has more.
const TERMS: usize = 576;

/// Most taps of a block.
const TAPS: usize = 32;

/// A position of the filter.
#[derive(Clone, Copy, Debug)]
struct FilterTap {
    axes: [Tap; 3],
    /// Elements from a pixel's base to the row that it reads.
    offset: isize,
    /// Its rows' place in the packed filter, in taps.
    packed: usize,
}

/// A dense convolution over all outputs of one residue class (one class for fprop, stride³ for dgrad).
#[derive(Clone, Debug)]
pub(super) struct Gather {
    axes: [Axis; 3],
    taps: Vec<FilterTap>,
    /// Elements that a tap reads and multiplies: the channels, times the row of taps where it is one run.
    run: usize,
    c_in: usize,
    c_out: usize,
    /// Extents of the whole output, all classes together.
    output: [usize; 3],
}

/// A pixel of a tile.
#[derive(Clone, Copy, Default)]
struct Pixel {
    /// Its first channel in the task's outputs.
    out: usize,
    /// Element of the input that a tap of offset 0 would read.
    base: isize,
    /// Its row of outputs in the task.
    row: usize,
    /// Its index on each axis of the class.
    at: [usize; 3],
}

/// Where a tile's pixels read through a tap.
enum Reach {
    /// All in the input.
    Inside,
    /// All in the padding.
    Outside,
    /// Each must be asked.
    Mixed,
}

impl Gather {
    /// `merge`: treat the row of taps along W as one run of `S·C` elements over an input padded along W.
    pub fn new(
        mut axes: [Axis; 3],
        filter: [usize; 3],
        c_in: usize,
        c_out: usize,
        output: [usize; 3],
        merge: bool,
    ) -> Self {
        let (run, s) = if merge { (axes[2].merge() * c_in, 1) } else { (c_in, filter[2]) };
        let [_, h, w] = [0, 1, 2].map(|a: usize| axes[a].extent as isize);
        let mut taps = Vec::new();
        for &t in &axes[0].taps {
            for &r in &axes[1].taps {
                for &q in &axes[2].taps {
                    taps.push(FilterTap {
                        axes: [t, r, q],
                        offset: ((t.offset * h + r.offset) * w + q.offset) * c_in as isize,
                        packed: (t.index * filter[1] + r.index) * s + q.index,
                    });
                }
            }
        }
        Self { axes, taps, run, c_in, c_out, output }
    }

    /// Elements of one tap's row of inputs.
    pub fn run(&self) -> usize {
        self.run
    }

    /// The first element that `tap` of `pixel` reads; `None` in the padding.
    #[inline(always)]
    fn input(&self, pixel: &Pixel, tap: &FilterTap) -> Option<usize> {
        let inside = self.axes[0].input(pixel.at[0], tap.axes[0]).is_some()
            & self.axes[1].input(pixel.at[1], tap.axes[1]).is_some()
            & self.axes[2].input(pixel.at[2], tap.axes[2]).is_some();
        inside.then_some((pixel.base + tap.offset) as usize)
    }

    /// Where the pixels from `first` to `last`, in raster order, read through `tap`: with one look at the ends if they
    /// lie in one row, as most tiles do.
    #[inline(always)]
    fn reach(&self, first: &Pixel, last: &Pixel, tap: &FilterTap) -> Reach {
        if first.row != last.row {
            return Reach::Mixed;
        }
        let inside =
            |pixel: &Pixel, axis: usize| self.axes[axis].input(pixel.at[axis], tap.axes[axis]).is_some();
        if !(inside(first, 0) & inside(first, 1)) {
            Reach::Outside
        } else if inside(first, 2) & inside(last, 2) {
            Reach::Inside
        } else {
            Reach::Mixed
        }
    }

    /// The pixels of `frames` (index `n·Z + z`) in raster order, outputs counted from the first frame.
    fn pixels(&self, frames: std::ops::Range<usize>) -> Pixels<'_> {
        Pixels { gather: self, first: frames.start, end: frames.end, frame: frames.start, at: None }
    }
}

/// Walks the pixels of a task.
struct Pixels<'a> {
    gather: &'a Gather,
    first: usize,
    end: usize,
    frame: usize,
    /// Next pixel of the current frame; `None` before the frame was looked at.
    at: Option<[usize; 3]>,
}

impl Pixels<'_> {
    #[inline(always)]
    fn next(&mut self) -> Option<Pixel> {
        let g = self.gather;
        let [axis_t, axis_h, axis_w] = &g.axes;
        if axis_h.count == 0 || axis_w.count == 0 {
            return None;
        }
        let at = loop {
            if self.frame >= self.end {
                return None;
            }
            match self.at {
                Some(at) => break at,
                None => {
                    let z = self.frame % g.output[0];
                    if z >= axis_t.start && (z - axis_t.start).is_multiple_of(axis_t.stride) {
                        self.at = Some([(z - axis_t.start) / axis_t.stride, 0, 0]);
                    } else {
                        self.frame += 1;
                    }
                }
            }
        };
        let [j, jh, jw] = at;
        let n = self.frame / g.output[0];
        let row = (self.frame - self.first) * g.output[1] + axis_h.start + jh * axis_h.stride;
        let input = ((n * axis_t.extent + j * axis_t.step) * axis_h.extent + jh * axis_h.step)
            * axis_w.extent
            + jw * axis_w.step;
        let pixel = Pixel {
            out: (row * g.output[2] + axis_w.start + jw * axis_w.stride) * g.c_out,
            base: (input * g.c_in) as isize,
            row,
            at,
        };
        self.at = if jw + 1 < axis_w.count {
            Some([j, jh, jw + 1])
        } else if jh + 1 < axis_h.count {
            Some([j, jh + 1, 0])
        } else {
            self.frame += 1;
            None
        };
        Some(pixel)
    }
}

/// One task: the outputs of some frames, over all classes.
pub(super) struct Task<'a, T> {
    pub classes: &'a [Gather],
    /// Input, padded along W if the classes merge.
    pub x: &'a [T],
    /// Packed filter: `(panel, tap, run, stride)`.
    pub filter: &'a [T],
    /// A row of zeros.
    pub zero: &'a [T],
    pub panels: Panels,
    pub frames: std::ops::Range<usize>,
    /// Those frames' outputs.
    pub y: &'a mut [T],
    pub mode: WriteMode,
}

impl<T: Real> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let panel_len = self.filter.len() / self.panels.count();
        for class in self.classes {
            if class.taps.is_empty() && self.mode == WriteMode::Accumulate {
                continue; // nothing to add
            }
            for p in 0..self.panels.count() {
                let panel = self.panels.get(p);
                let filter = &self.filter[p * panel_len..][..panel_len];
                match (panel.registers, S::REGISTER_COUNT >= 32) {
                    (4, _) => self.panel::<S, 6, 4>(simd, class, panel, filter),
                    (3, _) => self.panel::<S, 8, 3>(simd, class, panel, filter),
                    (2, true) => self.panel::<S, 12, 2>(simd, class, panel, filter),
                    (2, false) => self.panel::<S, 6, 2>(simd, class, panel, filter),
                    _ => self.panel::<S, 12, 1>(simd, class, panel, filter),
                }
            }
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// All pixels of a class against one panel.
    #[inline(always)]
    fn panel<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        class: &Gather,
        panel: Panel,
        filter: &[T],
    ) {
        let width = V * T::lanes::<S>();
        let fits = FILTER_BLOCK / (class.run * width * size_of::<T>());
        let most = fits.min(TERMS / class.run).clamp(1, TAPS);
        let Self { x, zero, .. } = *self;
        let blocks = class.taps.len().div_ceil(most).max(1); // a class without taps still writes its zeros
        let per_block = class.taps.len().div_ceil(blocks);
        for block in 0..blocks {
            let taps = &class.taps[(block * per_block).min(class.taps.len())..];
            let taps = &taps[..taps.len().min(per_block)];
            let accumulate = block > 0 || self.mode == WriteMode::Accumulate;
            let mut pixels = class.pixels(self.frames.clone());
            let mut rows = [[zero; R]; TAPS];
            while let Some(first) = pixels.next() {
                let mut tile = [first; R];
                let mut filled = 1;
                while filled < R {
                    let Some(pixel) = pixels.next() else { break };
                    tile[filled] = pixel;
                    filled += 1;
                }
                for (tap, rows) in taps.iter().zip(&mut rows) {
                    match class.reach(&tile[0], &tile[filled - 1], tap) {
                        Reach::Outside => *rows = [zero; R],
                        Reach::Inside => {
                            for (pixel, row) in tile.iter().zip(rows) {
                                *row = &x[(pixel.base + tap.offset) as usize..][..class.run];
                            }
                        }
                        Reach::Mixed => {
                            for (pixel, row) in tile.iter().zip(rows) {
                                *row = class.input(pixel, tap).map_or(zero, |at| &x[at..][..class.run]);
                            }
                        }
                    }
                }
                let product = Product::<S, T, R, V> { simd, taps, rows: &rows, filter, run: class.run };
                let mut acc = simd.vectorize(product);
                for i in 0..R {
                    if i < filled {
                        let o = tile[i].out + panel.first;
                        let y = &mut self.y[o..o + panel.channels];
                        if accumulate {
                            let before = load_row::<S, T, V>(simd, y);
                            for j in 0..V {
                                acc[i][j] = T::add_vectors(simd, before[j], acc[i][j]);
                            }
                        }
                        store_row(simd, y, &acc[i]);
                    }
                }
            }
        }
    }
}

/// `Σ_tap Σ_c rows[tap][i][c] · weights[tap][c, ..]` for each pixel `i` of a tile.
///
/// A function of its own (see [`Simd::vectorize`]), of which nothing is indexed by a variable but what is in
/// memory anyway: otherwise the compiler keeps the sums in memory, which costs up to three quarters of the speed.
struct Product<'a, S: Simd, T: Real, const R: usize, const V: usize> {
    simd: S,
    taps: &'a [FilterTap],
    rows: &'a [[&'a [T]; R]],
    filter: &'a [T],
    run: usize,
}

impl<S: Simd, T: Real, const R: usize, const V: usize> NullaryFnOnce for Product<'_, S, T, R, V> {
    type Output = Tile<S, T, R, V>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { simd, taps, rows, filter, run } = self;
        let len = run * V * T::lanes::<S>();
        let mut sum: Tile<S, T, R, V> = [[T::splat(simd, T::ZERO); V]; R];
        for (tap, rows) in taps.iter().zip(rows) {
            let weights = T::vectors::<S>(&filter[tap.packed * len..][..len]).as_chunks::<V>().0;
            // Cut to one length, so that no index below needs a check.
            let rows: [&[T]; R] = std::array::from_fn(
                #[inline(always)]
                |i| &rows[i][..weights.len()],
            );
            for (c, weights) in weights.iter().enumerate() {
                for i in 0..R {
                    let v = T::splat(simd, rows[i][c]);
                    for j in 0..V {
                        sum[i][j] = T::fma(simd, v, weights[j], sum[i][j]);
                    }
                }
            }
        }
        sum
    }
}

/// Bytes of scratch are counted in elements: the packed filter and a row of zeros.
pub(super) fn workspace<T: Real>(class: &Gather, filter_taps: usize) -> usize {
    let panels = Panels::new::<T>(class.c_out);
    panels.count() * filter_taps * class.run * panels.stride() + class.run
}
