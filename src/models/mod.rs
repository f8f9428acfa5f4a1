//! The backbones and heads: descriptions, no arithmetic.

mod config;

pub use config::{Backbone, Init, ModelConfig};

/// The scales that the objective taps: blocks 3, 4 and 5.
pub const BLOCKS: [usize; 3] = [3, 4, 5];
/// Length of a projection.
pub const PROJECTION: usize = 128;
