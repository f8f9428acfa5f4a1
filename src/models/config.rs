//! The `model` section of a configuration.

use serde::{Deserialize, Serialize};

/// Which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backbone {
    /// C3D: eight 3×3×3 convolutions.
    C3d,
    /// 3D-ResNet18 (Hara et al.).
    R3d18,
    /// R(2+1)D-10: factorised convolutions, one residual block a stage.
    R21d10,
}

impl Backbone {
    /// Its name in configurations, checkpoints and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::C3d => "c3d",
            Self::R3d18 => "r3d18",
            Self::R21d10 => "r21d10",
        }
    }
}

/// How kernels start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Glorot uniform: `±√(6 / (fan_in + fan_out))`.
    Glorot,
    /// Kaiming uniform for ReLU, in the backward direction: `±√(6 / fan_out)`.
    Kaiming,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Which backbone.
    pub backbone: Backbone,
    /// Multiplies every channel count (1 = the paper's).
    pub width: f64,
    /// ε of the instance norm.
    pub norm_eps: f64,
    /// How kernels start.
    pub init: Init,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { backbone: Backbone::C3d, width: 1.0, norm_eps: 1e-5, init: Init::Glorot }
    }
}
