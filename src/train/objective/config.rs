//! The `loss` section of a configuration.

use serde::{Deserialize, Serialize};

/// How the loss is reduced over the videos of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Mean, as Keras does.
    Mean,
    /// Sum, as eq. 1-5 are printed.
    Sum,
}

/// The objective: any subset of {spatial, temporal} contrast × scales.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// Temperature τ.
    pub tau: f64,
    /// Weights α of spatial contrast at blocks 3, 4, 5; 0 switches a scale off.
    pub alpha: [f64; 3],
    /// Weights β of temporal contrast at blocks 3, 4, 5; 0 switches a scale off.
    pub beta: [f64; 3],
    /// Spatial contrast (SC).
    pub spatial: bool,
    /// Temporal contrast (TC).
    pub temporal: bool,
    /// Over the batch.
    pub reduction: Reduction,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            tau: 0.07,
            alpha: [0.25, 0.5, 1.0],
            beta: [0.25, 0.5, 1.0],
            spatial: true,
            temporal: true,
            reduction: Reduction::Mean,
        }
    }
}
