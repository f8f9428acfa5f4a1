//! The optimiser and its learning-rate schedules.

mod config;
mod schedule;
mod sgd;

pub use config::{OptimConfig, Schedule};
pub use schedule::learning_rate;
pub use sgd::{KerasSgd, Rates, Squares};
