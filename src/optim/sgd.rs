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
        let block = |data: &'_ [T], i: usize| i * BLOCK..((i + 1) * BLOCK).min(data.len());
        let units = w.len().div_ceil(BLOCK);
        let gradient = parallel::sum(units, &|i| {
            let (w, g) = (&w[block(w, i)], &g[block(w, i)]);
            simd::dispatch(
                #[inline(always)]
                || {
                    sum_squares(
                        w.len(),
                        #[inline(always)]
                        |j| g[j] + decay * w[j],
                    )
                },
            )
        });
        let weights = parallel::sum(units, &|i| {
            let w = &w[block(w, i)];
            simd::dispatch(
                #[inline(always)]
                || {
                    sum_squares(
                        w.len(),
                        #[inline(always)]
                        |j| w[j],
                    )
                },
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

/// Σ value(j)² over `0..len` in f64.
#[inline(always)]
fn sum_squares<T: Real>(len: usize, value: impl Fn(usize) -> T) -> f64 {
    let mut lanes = [0.0; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            let v = value(start + l).to_f64();
            *lane += v * v;
        }
    }
    for j in whole..len {
        let v = value(j).to_f64();
        lanes[j - whole] += v * v;
    }
    lanes.iter().sum()
}
