//! What a batch is judged by: from the vectors that a backbone gives of all its clips to a loss and its gradients.

use crate::Result;
use crate::data::Batch;
use crate::tensor::Real;

/// The loss of a step and what it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// What is minimised, but for the L2 term: Σ α·L_s + β·L_t, or the mean cross-entropy.
    pub total: f64,
    /// Spatial contrast L_s at blocks 3, 4, 5, averaged or summed over the videos as configured, before its weight;
    /// `None` where switched off.
    pub spatial: [Option<f64>; 3],
    /// Temporal contrast L_t at blocks 3, 4, 5, likewise.
    pub temporal: [Option<f64>; 3],
    /// Fraction of the clips that were classified right; `None` without classes.
    pub accuracy: Option<f64>,
}

/// A loss over a whole batch, with every buffer that it needs.
pub trait Criterion<T: Real>: Send {
    /// Takes what it must know of a batch besides its clips.
    ///
    /// # Errors
    /// A batch that it cannot judge.
    fn prepare(&mut self, _batch: &Batch) -> Result<()> {
        Ok(())
    }

    /// The loss of the backbone's outputs, each `(clips, …)`; writes its gradients with respect to them and to the
    /// parameters after the backbone's.
    fn evaluate(
        &mut self,
        params: &[T],
        outputs: &[Vec<T>],
        d_outputs: &mut [Vec<T>],
        gradients: &mut [T],
    ) -> Losses;

    /// Bytes of its buffers.
    fn bytes(&self) -> usize;
}
