//! Pixels go through all steps in runs that stay in the L1 cache. Contrast needs the mean of the whole clip,
//! so it ends a pass: what came before waits in the output, plane by plane, for the next.

use super::planes::{Planes, RUN};
use super::{Problem, neighbours};
use crate::ops::simd;
use crate::tensor::Real;
use crate::tensor::transform::{ClipTransform, ColourStep};

pub(super) fn run<T: Real>(p: &Problem, transform: &ClipTransform, rgb: &[u8], out: &mut [T]) {
    let mut steps = transform.colour.as_ref().map_or(&[][..], |steps| &steps[..]);
    let mut pass = Pass::up_to_contrast(&mut steps, 0, transform.replicate);
    let mut grey = simd::dispatch(
        #[inline(always)]
        || resample(p, transform, rgb, out, pass),
    );
    while !pass.last {
        let mean = grey / (out.len() / 3) as f64;
        pass = Pass { mean, ..Pass::up_to_contrast(&mut steps, 1, transform.replicate) };
        grey = simd::dispatch(
            #[inline(always)]
            || proceed(p, out, pass),
        );
    }
}

/// What happens to every run of pixels in one pass over the clip.
#[derive(Clone, Copy, Debug)]
struct Pass<'a> {
    steps: &'a [ColourStep],
    /// Mean grey of the clip at the start of the pass; for contrast, its first step.
    mean: f64,
    /// Whether no contrast follows.
    last: bool,
    replicate: Option<u8>,
}

impl<'a> Pass<'a> {
    /// Takes steps up to the next contrast; the first `sure` ones in any case.
    fn up_to_contrast(steps: &mut &'a [ColourStep], sure: usize, replicate: Option<u8>) -> Self {
        let is_contrast = |s: &ColourStep| matches!(s, ColourStep::Contrast(_));
        let len = steps[sure..].iter().position(is_contrast).map_or(steps.len(), |i| sure + i);
        let (here, rest) = steps.split_at(len);
        *steps = rest;
        Self { steps: here, mean: 0.0, last: rest.is_empty(), replicate }
    }

    /// Takes a run through the pass and writes it; returns the sum of its grey if that will be needed.
    #[inline(always)]
    fn apply<T: Real>(&self, run: &mut Planes<T>, out: &mut [T]) -> f64 {
        let n = out.len() / 3;
        for &step in self.steps {
            run.apply(n, step, self.mean);
        }
        if self.last {
            if let Some(channel) = self.replicate {
                run.replicate(channel);
            }
            run.finish(out);
            0.0
        } else {
            run.keep(out);
            run.grey_sum(n)
        }
    }
}

/// The first pass: crop, bilinear resize, flip, and the steps before any contrast. Returns the clip's grey.
#[inline(always)]
fn resample<T: Real>(
    p: &Problem,
    transform: &ClipTransform,
    rgb: &[u8],
    out: &mut [T],
    pass: Pass<'_>,
) -> f64 {
    let crop = transform.crop;
    let mut grey = 0.0;
    // Rows resized along x (neighbours differ in parity), and what lies between them.
    let mut rows = [Planes::ZERO; 2];
    let mut run = Planes::ZERO;
    for start in (0..p.side).step_by(RUN) {
        let columns = Columns::new(p, transform, start);
        for (frame, out) in
            rgb.chunks_exact(p.height * p.width * 3).zip(out.chunks_exact_mut(p.side * p.side * 3))
        {
            let mut held = [usize::MAX; 2];
            for (y, out) in out.chunks_exact_mut(p.side * 3).enumerate() {
                let (y0, y1, share) = neighbours(y, p.side, crop.height as usize);
                for row in [y0, y1] {
                    if held[row % 2] != row {
                        let from = ((crop.y as usize + row) * p.width + crop.x as usize) * 3;
                        columns.resize(&frame[from..][..crop.width as usize * 3], &mut rows[row % 2]);
                        held[row % 2] = row;
                    }
                }
                let out = &mut out[start * 3..][..columns.len * 3];
                let share = T::from_f64(share);
                blend(&rows[y0 % 2], &rows[y1 % 2], share, &mut run, columns.len);
                grey += pass.apply(&mut run, out);
            }
        }
    }
    grey
}

/// A later pass: picks up what the one before kept. Returns the clip's grey.
#[inline(always)]
fn proceed<T: Real>(p: &Problem, out: &mut [T], pass: Pass<'_>) -> f64 {
    let mut grey = 0.0;
    let mut run = Planes::ZERO;
    for row in out.chunks_exact_mut(p.side * 3) {
        for out in row.chunks_mut(RUN * 3) {
            run.recall(out);
            grey += pass.apply(&mut run, out);
        }
    }
    grey
}

/// Where a run of output columns comes from.
#[derive(Debug)]
struct Columns<T> {
    /// Left and right source columns.
    sources: [[usize; 2]; RUN],
    /// Share of the right one.
    share: [T; RUN],
    /// How many.
    len: usize,
}

impl<T: Real> Columns<T> {
    fn new(p: &Problem, transform: &ClipTransform, start: usize) -> Self {
        let mut new = Self { sources: [[0; 2]; RUN], share: [T::ZERO; RUN], len: RUN.min(p.side - start) };
        for i in 0..new.len {
            let x = if transform.flip { p.side - 1 - (start + i) } else { start + i };
            let (left, right, share) = neighbours(x, p.side, transform.crop.width as usize);
            new.sources[i] = [left, right];
            new.share[i] = T::from_f64(share);
        }
        new
    }

    /// Resizes a source row along x. Bytes are gathered first, four of a pixel in a word, so that the
    /// arithmetic fills vectors.
    #[inline(always)]
    fn resize(&self, row: &[u8], to: &mut Planes<T>) {
        let (pixels, _) = row.as_chunks::<3>();
        let word = |x: usize| u32::from_le_bytes([pixels[x][0], pixels[x][1], pixels[x][2], 0]);
        let n = self.len;
        let (mut left, mut right) = ([0; RUN], [0; RUN]);
        for i in 0..n {
            let [l, r] = self.sources[i];
            left[i] = word(l);
            right[i] = word(r);
        }
        let byte = |word: u32, shift: u32| T::from_f64(f64::from((word >> shift & 255) as i32));
        for (shift, plane) in [(0, &mut to.red), (8, &mut to.green), (16, &mut to.blue)] {
            for i in 0..n {
                let (a, b) = (byte(left[i], shift), byte(right[i], shift));
                plane[i] = a + (b - a) * self.share[i];
            }
        }
    }
}

/// Writes `n` pixels between two rows, `share` being that of the lower.
#[inline(always)]
fn blend<T: Real>(upper: &Planes<T>, lower: &Planes<T>, share: T, out: &mut Planes<T>, n: usize) {
    let planes = [
        (&mut out.red, &upper.red, &lower.red),
        (&mut out.green, &upper.green, &lower.green),
        (&mut out.blue, &upper.blue, &lower.blue),
    ];
    for (out, upper, lower) in planes {
        for i in 0..n {
            out[i] = upper[i] + (lower[i] - upper[i]) * share;
        }
    }
}
