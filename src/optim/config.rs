//! The `optim` section of a configuration.

use serde::{Deserialize, Serialize};

/// How the learning rate moves after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// `lr / (1 + decay·t)`, as Keras does.
    Decay,
    /// Half a cosine from `lr` to 0 over the run.
    Cosine,
    /// `lr` throughout.
    Constant,
}

/// The optimiser: Keras SGD with momentum, L2 on kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimConfig {
    /// Learning rate of the first step after warm-up.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Decay of [`Schedule::Decay`] per step.
    pub decay: f64,
    /// L2 coefficient: adds `l2·Σw²` over kernels to the loss.
    pub l2: f64,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Steps over which the learning rate rises linearly from 0.
    pub warmup_steps: u64,
    /// Clip the gradient to this norm; 0 switches it off.
    pub clip_norm: f64,
    /// Layer-wise adaptive rates (LARS) with this trust coefficient; 0 switches them off.
    pub lars: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 0.1,
            momentum: 0.9,
            decay: 1e-4,
            l2: 5e-5,
            schedule: Schedule::Decay,
            warmup_steps: 0,
            clip_norm: 0.0,
            lars: 0.0,
        }
    }
}
