//! The specification: serial loops in f64, rounded once.

use super::Problem;
use crate::ops::{Backward, Forward};
use crate::tensor::Real;

/// Writes the means.
pub fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    for g in 0..p.groups {
        for c in 0..p.channels {
            let at = |i: usize| io.inputs[0][(g * p.positions + i) * p.channels + c].to_f64();
            let sum: f64 = (0..p.positions).map(at).sum();
            io.output[g * p.channels + c] = T::from_f64(sum / p.positions as f64);
        }
    }
}

/// Writes dx: each position receives an equal share of its group's dy.
pub fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let Some(dx) = &mut io.dx[0] else { return };
    let dy = io.dy;
    dx.mode.store(dx.data, |i| {
        let (g, c) = (i / p.channels / p.positions, i % p.channels);
        T::from_f64(dy[g * p.channels + c].to_f64() / p.positions as f64)
    });
}
