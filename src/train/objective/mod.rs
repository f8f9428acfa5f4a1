//! Hierarchically decoupled contrast (HD-NCE), eq. 1-6 of the paper.

mod config;

pub use config::{LossConfig, Reduction};
