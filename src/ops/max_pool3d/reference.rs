//! The specification: serial loops over every output and its window.

use super::Problem;
use crate::ops::{Backward, Forward};
use crate::tensor::Real;

/// Writes the output and each winner's place in its window.
pub fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    p.windows.largest(p.clips, p.channels, io.inputs[0], io.output, io.saved);
}

/// Writes dx from what forward saved.
pub fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let Some(dx) = &mut io.dx[0] else { return };
    let sums = p.windows.hand_back(p.clips, p.channels, io.dy, io.saved);
    dx.mode.store(dx.data, |i| sums[i]);
}
