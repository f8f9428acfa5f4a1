//! The optimiser, Keras SGD with momentum, and its learning-rate schedules.

mod config;
mod schedule;
mod sgd;

pub use config::{OptimConfig, Schedule};
pub use schedule::learning_rate;
pub use sgd::{gradient_norm, l2_penalty, update};
