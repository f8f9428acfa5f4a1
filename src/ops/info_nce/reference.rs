//! The specification: serial loops in f64.

use super::{Io, NORM_FLOOR, Problem};
use crate::tensor::Real;

/// Vector (i, s) of a (B, S, D) tensor at unit length, and its length.
fn unit<T: Real>(p: &Problem, all: &[T], i: usize, s: usize) -> (Vec<f64>, f64) {
    let v: Vec<f64> = all[(i * p.slots + s) * p.dim..][..p.dim].iter().map(|v| v.to_f64()).collect();
    let norm = dot(&v, &v).sqrt();
    (v.iter().map(|x| x / norm.max(NORM_FLOOR)).collect(), norm)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gradient with respect to a vector from that with respect to its direction.
fn through_unit(d: &[f64], (unit, norm): &(Vec<f64>, f64)) -> Vec<f64> {
    if *norm < NORM_FLOOR {
        return d.iter().map(|d| d / NORM_FLOOR).collect(); // divided by a constant
    }
    let along = dot(d, unit);
    d.iter().zip(unit).map(|(d, u)| (d - along * u) / norm).collect()
}

/// As [`Problem::run`]; needs no workspace.
pub fn run<T: Real>(p: &Problem, mut io: Io<'_, T>) -> f64 {
    let mut loss = 0.0;
    for s in 0..p.slots {
        let a: Vec<_> = (0..p.videos).map(|i| unit(p, io.a, i, s)).collect();
        let b: Vec<_> = (0..p.videos).map(|j| unit(p, io.b, j, s)).collect();
        let mut da = vec![vec![0.0; p.dim]; p.videos];
        let mut db = vec![vec![0.0; p.dim]; p.videos];
        for i in 0..p.videos {
            let logits: Vec<f64> = b.iter().map(|b| dot(&a[i].0, &b.0) / p.tau).collect();
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = logits.iter().map(|l| (l - max).exp()).sum();
            loss += (max + total.ln() - logits[i]) / p.slots as f64;
            for j in 0..p.videos {
                let probability = (logits[j] - max).exp() / total;
                let g = (probability - f64::from(i == j)) * io.scale / (p.slots as f64 * p.tau);
                for d in 0..p.dim {
                    da[i][d] += g * b[j].0[d];
                    db[j][d] += g * a[i].0[d];
                }
            }
        }
        for (gradient, d, units) in [(&mut io.da, da, a), (&mut io.db, db, b)] {
            let Some(gradient) = gradient else { continue };
            for i in 0..p.videos {
                let d = through_unit(&d[i], &units[i]);
                let at = (i * p.slots + s) * p.dim;
                gradient.mode.store(&mut gradient.data[at..at + p.dim], |k| T::from_f64(d[k]));
            }
        }
    }
    loss
}
