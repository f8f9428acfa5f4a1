//! The optimiser and its learning-rate schedules.

mod config;

pub use config::{OptimConfig, Schedule};
