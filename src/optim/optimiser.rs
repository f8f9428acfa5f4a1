//! The optimiser over all parameters of a network.

use super::{KerasSgd, OptimConfig, Squares};
use crate::graph::ParamLayout;
use crate::tensor::Real;

/// [`KerasSgd`] with the momentum of every parameter.
#[derive(Debug)]
pub struct Optimiser<T> {
    sgd: KerasSgd,
    /// One a parameter, of the last [`Self::measure`].
    squares: Vec<Squares>,
    /// How many of the first parameters stay as they are.
    frozen: usize,
    gradient_norm: f64,
    /// Flat, at the same places as the parameters.
    pub momentum: Vec<T>,
}

/// Figures of a step before its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// `l2·Σw²` over the kernels that are trained.
    pub l2: f64,
    /// Euclidean norm of the whole gradient, its L2 part included, before any clipping.
    pub gradient_norm: f64,
}

impl<T: Real> Optimiser<T> {
    /// Without momentum yet, for a run of `total_steps`, leaving the first `frozen` parameters as they are.
    pub fn new(config: &OptimConfig, total_steps: u64, layout: &ParamLayout, frozen: usize) -> Self {
        Self {
            sgd: KerasSgd::new(config.clone(), total_steps),
            squares: vec![Squares::default(); layout.params().len()],
            frozen,
            gradient_norm: 0.0,
            momentum: vec![T::ZERO; layout.len()],
        }
    }

    /// Penalty and gradient norm, which [`Self::update`] relies on.
    pub fn measure(&mut self, layout: &ParamLayout, params: &[T], gradients: &[T]) -> Measured {
        let (mut l2, mut gradient) = (0.0, 0.0);
        for (squares, p) in self.squares.iter_mut().zip(layout.params()).skip(self.frozen) {
            *squares = self.sgd.squares(p.kind, &params[p.range.clone()], &gradients[p.range.clone()]);
            l2 += self.sgd.penalty(p.kind, *squares);
            gradient += squares.gradient;
        }
        self.gradient_norm = gradient.sqrt();
        Measured { l2, gradient_norm: self.gradient_norm }
    }

    /// The update after `step` completed ones; returns its learning rate.
    pub fn update(&mut self, step: u64, layout: &ParamLayout, params: &mut [T], gradients: &[T]) -> f64 {
        let rates = self.sgd.rates(step, self.gradient_norm);
        for (squares, p) in self.squares.iter().zip(layout.params()).skip(self.frozen) {
            let (w, v) = (&mut params[p.range.clone()], &mut self.momentum[p.range.clone()]);
            self.sgd.update(p.kind, rates, *squares, w, v, &gradients[p.range.clone()]);
        }
        rates.lr
    }
}
