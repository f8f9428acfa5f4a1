//! SGD with momentum as Keras has it: `v = m·v − lr·g`, `w = w + v`, the learning rate inside the velocity
//! (unlike PyTorch), where g holds the gradient of `l2·Σw²` for kernels.

use super::{OptimConfig, learning_rate};
use crate::ops::parallel::{self, Order, chunks, for_each};
use crate::ops::{ParamKind, simd};
use crate::tensor::Real;

/// Elements of a unit of work.
const BLOCK: usize = 32 * 1024;
/// Sums that run side by side.
const LANES: usize = 16;

/// The optimiser of a run of known length. It holds no state: velocities are the caller's.
#[derive(Clone, Debug, PartialEq)]
pub struct KerasSgd {
    config: OptimConfig,
    total_steps: u64,
}

/// Sums over one parameter tensor, taken before its update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squares {
    /// Σ of the squared gradient, its L2 part included.
    pub gradient: f64,
    /// Σ of the squared weights.
    pub weights: f64,
}

/// What all updates of a step have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Learning rate.
    pub lr: f64,
    /// What the gradient is multiplied by to keep its norm within `clip_norm`.
    pub clip: f64,
}

impl KerasSgd {
    /// For a run of `total_steps`.
    pub fn new(config: OptimConfig, total_steps: u64) -> Self {
        Self { config, total_steps }
    }

    /// Coefficient of the penalty: kernels only.
    fn l2(&self, kind: ParamKind) -> f64 {
        if kind == ParamKind::Kernel { self.config.l2 } else { 0.0 }
    }

    /// Sums over one tensor; the same bits for any number of threads.
    pub fn squares<T: Real>(&self, kind: ParamKind, w: &[T], g: &[T]) -> Squares {
        let decay = T::from_f64(2.0 * self.l2(kind));
        let [gradient, weights] = parallel::sums(w.len().div_ceil(BLOCK), &|i| {
            let block = i * BLOCK..((i + 1) * BLOCK).min(w.len());
            let (w, g) = (&w[block.clone()], &g[block]);
            simd::dispatch(
                #[inline(always)]
                || block_squares(w, g, decay),
            )
        });
        Squares { gradient, weights }
    }

    /// `l2·Σw²` of one tensor, for the reported loss.
    pub fn penalty(&self, kind: ParamKind, squares: Squares) -> f64 {
        self.l2(kind) * squares.weights
    }

    /// Rates of the step that follows `step` completed ones, given the norm of the whole gradient.
    pub fn rates(&self, step: u64, gradient_norm: f64) -> Rates {
        let limit = self.config.clip_norm;
        let clip = if limit > 0.0 && gradient_norm > limit { limit / gradient_norm } else { 1.0 };
        Rates { lr: learning_rate(&self.config, step, self.total_steps), clip }
    }

    /// LARS (You, Gitman & Ginsburg, arXiv:1708.03888): `trust·‖w‖/‖g‖` for kernels, 1 where that has no
    /// meaning (switched off, no gradient, no weights).
    fn trust(&self, kind: ParamKind, squares: Squares, clip: f64) -> f64 {
        let (w, g) = (squares.weights.sqrt(), squares.gradient.sqrt() * clip);
        let applies = self.config.lars > 0.0 && kind == ParamKind::Kernel && w > 0.0 && g > 0.0;
        if applies { self.config.lars * w / g } else { 1.0 }
    }

    /// Updates weights `w` and velocity `v` of one tensor from its gradient `g` (without the L2 part).
    pub fn update<T: Real>(
        &self,
        kind: ParamKind,
        rates: Rates,
        squares: Squares,
        w: &mut [T],
        v: &mut [T],
        g: &[T],
    ) {
        let momentum = T::from_f64(self.config.momentum);
        let decay = T::from_f64(2.0 * self.l2(kind));
        let rate = T::from_f64(rates.lr * rates.clip * self.trust(kind, squares, rates.clip));
        let units = w.len().div_ceil(BLOCK);
        for_each(Order::Parallel, units, (chunks(w, BLOCK), chunks(v, BLOCK)), |i, (w, v)| {
            let w = w.data;
            let (v, g) = (&mut v.data[..w.len()], &g[i * BLOCK..][..w.len()]);
            simd::dispatch(
                #[inline(always)]
                || {
                    for j in 0..w.len() {
                        v[j] = momentum * v[j] - rate * (g[j] + decay * w[j]);
                        w[j] += v[j];
                    }
                },
            );
        });
    }
}

/// Σ(g + decay·w)² and Σw² of one block, in f64.
#[inline(always)]
fn block_squares<T: Real>(w: &[T], g: &[T], decay: T) -> [f64; 2] {
    let (mut gradient, mut weights) = ([0.0; LANES], [0.0; LANES]);
    let (whole_w, whole_g) = (w.chunks_exact(LANES), g.chunks_exact(LANES));
    let (rest_w, rest_g) = (whole_w.remainder(), whole_g.remainder());
    for (w, g) in whole_w.zip(whole_g) {
        add_squares(w, g, decay, &mut gradient, &mut weights);
    }
    add_squares(rest_w, rest_g, decay, &mut gradient, &mut weights);
    [gradient.iter().sum(), weights.iter().sum()]
}

#[inline(always)]
fn add_squares<T: Real>(w: &[T], g: &[T], decay: T, gradient: &mut [f64; LANES], weights: &mut [f64; LANES]) {
    for (((sum_g, sum_w), &w), &g) in gradient.iter_mut().zip(weights).zip(w).zip(g) {
        let (total, w) = ((g + decay * w).to_f64(), w.to_f64());
        *sum_g += total * total;
        *sum_w += w * w;
    }
}
