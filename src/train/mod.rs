//! Training: the configuration, the objective, the step, the loop, and a run's folder.

pub mod checkpoint;
pub mod config;
pub mod objective;

mod durable;
mod step;

pub use checkpoint::{Checkpoint, DataIdentity};
pub use config::{Config, Preset, Sources};
pub use step::{StepReport, TrainState, TrainStep};
