//! Softmax cross-entropy of logits with the classes of their clips, forward and backward at once:
//! `Σ_i −log softmax(z_i)[c_i]`. Not a node of a graph: it is the end of one.
//!
//! A negligible share of a step, so all of it is computed in f64, in order, whatever the element type.

mod cuda;
pub mod reference;

use crate::tensor::Real;
use crate::{Error, Result};

pub use cuda::CudaIo;

/// Extents, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    rows: usize,
    classes: usize,
}

/// Buffers.
#[derive(Debug)]
pub struct Io<'a, T> {
    /// Logits, `(rows, classes)`.
    pub logits: &'a [T],
    /// The class of each row, below `classes`.
    pub labels: &'a [u32],
    /// What the gradient is multiplied by: 1/rows for a mean.
    pub scale: f64,
    /// Receives the gradient of `scale` times the sum, `(rows, classes)`.
    pub d_logits: &'a mut [T],
}

/// Figures of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The sum over rows, not scaled.
    pub loss: f64,
    /// Rows whose largest logit (the first, of several) is that of their class.
    pub right: usize,
}

impl Problem {
    /// `rows` clips of `classes` classes.
    ///
    /// # Errors
    /// No row, fewer than two classes (nothing to tell apart), or more classes than a label counts.
    pub fn new(rows: usize, classes: usize) -> Result<Self> {
        if rows == 0 || classes < 2 || u32::try_from(classes).is_err() || rows.checked_mul(classes).is_none()
        {
            let what = format!("{rows} clips of {classes} classes");
            return Err(Error::shape("cross_entropy", what, "give a clip at least, and two classes"));
        }
        Ok(Self { rows, classes })
    }

    /// Logits of a batch.
    pub fn len(&self) -> usize {
        self.rows * self.classes
    }

    /// Never: there is a row at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the gradient and returns the figures.
    pub fn run<T: Real>(&self, io: Io<'_, T>) -> Outcome {
        reference::run(self, io)
    }
}

/// Probabilities of one row of logits.
pub fn softmax<T: Real>(logits: &[T]) -> impl Iterator<Item = f64> + '_ {
    let max = logits.iter().map(|z| z.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|z| (z.to_f64() - max).exp()).sum();
    logits.iter().map(move |z| (z.to_f64() - max).exp() / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_has_no_meaning() {
        assert!(Problem::new(0, 2).is_err());
        assert!(Problem::new(1, 1).is_err());
        assert!(Problem::new(1, 1 << 40).is_err());
        assert!(Problem::new(1, 2).is_ok());
    }

    #[test]
    fn probabilities_of_huge_logits_are_finite() {
        let p: Vec<f64> = softmax(&[1e30_f32, -1e30, 1e30]).collect();
        assert_eq!(p, [0.5, 0.0, 0.5]);
    }
}
