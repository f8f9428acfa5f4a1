//! Rows padded along W, so that a row of taps over few channels can be read as one run of `S·C` elements.

use rayon::prelude::*;

use super::axis::Axis;
use crate::tensor::Real;

/// Rows of taps are merged up to this many channels; beyond it the copy costs more than the shorter loops do.
const MERGE_CHANNELS: usize = 32;

/// An input whose rows get zeros before and after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Padding {
    rows: usize,
    row: usize,
    lead: usize,
    trail: usize,
}

impl Padding {
    /// The padding with which `axis_w`'s taps over `c` channels read one run; `None` where merging does not pay
    /// or cannot be done.
    pub fn wanted(n: usize, c: usize, [t, h, w]: [usize; 3], axis_w: &Axis) -> Option<Self> {
        let pays = axis_w.taps.len() > 1 && c <= MERGE_CHANNELS && axis_w.is_run();
        let (lead, trail) = axis_w.padding();
        pays.then_some(Self { rows: n * t * h, row: w * c, lead: lead * c, trail: trail * c })
    }

    /// Elements of the padded copy.
    pub fn len(&self) -> usize {
        self.rows * (self.lead + self.row + self.trail)
    }

    /// Makes the padded copy in the first [`Self::len`] elements of `padded`.
    pub fn copy<'a, T: Real>(&self, x: &[T], padded: &'a mut [T]) -> &'a [T] {
        let padded = &mut padded[..self.len()];
        padded.par_chunks_mut(self.lead + self.row + self.trail).zip(x.par_chunks(self.row)).for_each(
            |(dst, src)| {
                let (before, rest) = dst.split_at_mut(self.lead);
                let (middle, after) = rest.split_at_mut(self.row);
                before.fill(T::ZERO);
                middle.copy_from_slice(src);
                after.fill(T::ZERO);
            },
        );
        padded
    }
}
