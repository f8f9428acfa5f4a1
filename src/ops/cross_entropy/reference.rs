//! The specification, which is fast enough to be what runs: serial loops in f64.

use super::{Io, Outcome, Problem, softmax};
use crate::tensor::Real;

/// As [`Problem::run`].
pub fn run<T: Real>(p: &Problem, io: Io<'_, T>) -> Outcome {
    assert_eq!((io.logits.len(), io.labels.len(), io.d_logits.len()), (p.len(), p.rows, p.len()));
    let mut outcome = Outcome::default();
    let rows = io.logits.chunks_exact(p.classes).zip(io.d_logits.chunks_exact_mut(p.classes));
    for ((z, dz), &label) in rows.zip(io.labels) {
        let label = label as usize;
        let max = z.iter().map(|z| z.to_f64()).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = z.iter().map(|z| (z.to_f64() - max).exp()).sum();
        outcome.loss += max + total.ln() - z[label].to_f64();
        // NaN is no class: a diverged row counts as wrong.
        outcome.right += usize::from(z.iter().position(|z| z.to_f64() == max) == Some(label));
        for (class, (dz, probability)) in dz.iter_mut().zip(softmax(z)).enumerate() {
            *dz = T::from_f64(io.scale * (probability - f64::from(class == label)));
        }
    }
    outcome
}
