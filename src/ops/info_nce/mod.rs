//! InfoNCE between two sets of projections (eq. 1-5 of the paper), forward and backward at once:
//! `(1/S) Σ_s Σ_i −log softmax_j(cos(a_is, b_js)/τ)[i]`, anchors a against all b of the same slot s.
//! Not a node of a graph: it joins clips of two roles.
//!
//! A negligible share of a step, and the one place where probabilities near 1 cancel, so all of it is
//! computed in f64 whatever the element type.

mod cpu;
mod cuda;
pub mod reference;

use super::{Cost, Gradient, Pass};
use crate::tensor::Real;
use crate::{Error, Result};

pub use cuda::{CudaTerm, launch};

/// Norms are not divided by less than this.
pub const NORM_FLOOR: f64 = 1e-12;

/// Extents and temperature, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    videos: usize,
    slots: usize,
    dim: usize,
    tau: f64,
}

/// Buffers; each of the four tensors is (B, S, D).
#[derive(Debug)]
pub struct Io<'a, T> {
    /// Anchors.
    pub a: &'a [T],
    /// Positives and negatives.
    pub b: &'a [T],
    /// What the gradients are multiplied by: a term's weight, 1/B for a mean.
    pub scale: f64,
    /// Gradient of the anchors, if wanted.
    pub da: Option<Gradient<'a, T>>,
    /// Gradient of the others, if wanted.
    pub db: Option<Gradient<'a, T>>,
    /// Scratch: [`Problem::workspace_bytes`] bytes, 8-byte aligned; holds anything before and after.
    pub workspace: &'a mut [u8],
}

impl Problem {
    /// `videos` (B) anchors and as many others, `slots` (S) vectors of length `dim` (D) each, temperature τ.
    ///
    /// # Errors
    /// An extent of 0, more elements than memory can address, or a temperature that is not positive.
    pub fn new(videos: usize, slots: usize, dim: usize, tau: f64) -> Result<Self> {
        let fault = |hint: &str| {
            let what = format!("{videos} videos, {slots} slots, {dim} components");
            Err(Error::shape("info_nce", what, hint))
        };
        if videos == 0 || slots == 0 || dim == 0 {
            return fault("every extent must be at least 1");
        }
        // The workspace holds fewer than 512 numbers a video beside 5 copies of the vectors.
        let elements = slots.max(5).checked_mul(dim).and_then(|n| n.checked_add(512)?.checked_mul(videos));
        if elements.is_none_or(|n| n > isize::MAX as usize / size_of::<f64>()) {
            return fault("give extents that fit in memory");
        }
        if !(tau > 0.0 && tau.is_finite()) {
            return Err(Error::usage(format!("loss.tau is {tau}"), "give a positive number, such as 0.07"));
        }
        Ok(Self { videos, slots, dim, tau })
    }

    /// Arithmetic and traffic: one product of B×D×B a slot forward, two more backward (a third that computes
    /// the logits again is not counted as useful).
    pub fn cost(&self, pass: Pass) -> Cost {
        let [b, s, d] = [self.videos, self.slots, self.dim].map(|v| v as u64);
        let (product, vectors) = (2 * b * b * d * s, b * s * d);
        match pass {
            Pass::Forward => Cost { flops: product, elements: 2 * vectors },
            Pass::Backward => Cost { flops: 2 * product, elements: 4 * vectors },
        }
    }

    /// Bytes of scratch: 5·B·D + B·min(B, 256) + 6·B numbers, never B² of a large batch.
    pub fn workspace_bytes(&self) -> usize {
        cpu::workspace(self) * size_of::<f64>()
    }

    /// Writes the gradients of `scale` times the loss, and returns the loss itself (not scaled).
    pub fn run<T: Real>(&self, io: Io<'_, T>) -> f64 {
        cpu::run(self, io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_has_no_meaning() {
        assert!(Problem::new(0, 1, 1, 0.1).is_err());
        assert!(Problem::new(1, 0, 1, 0.1).is_err());
        assert!(Problem::new(1, 1, 0, 0.1).is_err());
        assert!(Problem::new(usize::MAX, 1, 1, 0.1).is_err());
        assert!(Problem::new(1, usize::MAX, 2, 0.1).is_err());
        assert!(Problem::new(1 << 40, 1, 1 << 40, 0.1).is_err());
        for tau in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Problem::new(1, 1, 1, tau).is_err());
        }
    }
}
