//! The optimiser and its learning-rate schedules.

mod config;
mod optimiser;
mod schedule;
mod sgd;

pub use config::{OptimConfig, Schedule};
pub use optimiser::{Measured, Optimiser};
pub use schedule::learning_rate;
pub use sgd::{KerasSgd, Rates, Squares};
