//! The optimiser and its learning-rate schedules.

mod config;
mod cuda;
mod optimiser;
mod schedule;
mod sgd;

pub use config::{OptimConfig, Schedule};
pub use cuda::{CudaOptimiser, Figures, FlatArrays};
pub use optimiser::{Measured, Optimiser};
pub use schedule::learning_rate;
pub use sgd::{KerasSgd, Rates, Squares};
