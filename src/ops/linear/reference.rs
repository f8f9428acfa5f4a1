//! The specification: serial loops in f64, rounded once.

use super::Problem;
use crate::ops::{Backward, Forward};
use crate::tensor::Real;

/// Writes the output.
pub fn forward<T: Real>(p: &Problem, io: Forward<'_, T>) {
    let (x, w, b) = (io.inputs[0], io.params[0], io.params[1]);
    for m in 0..p.rows {
        for o in 0..p.outputs {
            let product = |i: usize| x[m * p.inputs + i].to_f64() * w[o * p.inputs + i].to_f64();
            let sum: f64 = (0..p.inputs).map(product).sum();
            io.output[m * p.outputs + o] = T::from_f64(sum + b[o].to_f64());
        }
    }
}

/// Writes all gradients.
pub fn backward<T: Real>(p: &Problem, mut io: Backward<'_, T>) {
    let (x, w) = (io.inputs[0], io.params[0]);
    let dy = |m: usize, o: usize| io.dy[m * p.outputs + o].to_f64();
    if let Some(dx) = &mut io.dx[0] {
        dx.mode.store(dx.data, |j| {
            let (m, i) = (j / p.inputs, j % p.inputs);
            T::from_f64((0..p.outputs).map(|o| dy(m, o) * w[o * p.inputs + i].to_f64()).sum())
        });
    }
    let dw = &mut io.dparams[0];
    dw.mode.store(dw.data, |j| {
        let (o, i) = (j / p.inputs, j % p.inputs);
        T::from_f64((0..p.rows).map(|m| dy(m, o) * x[m * p.inputs + i].to_f64()).sum())
    });
    let db = &mut io.dparams[1];
    db.mode.store(db.data, |o| T::from_f64((0..p.rows).map(|m| dy(m, o)).sum()));
}
