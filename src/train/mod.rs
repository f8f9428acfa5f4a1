//! Training: the objective, the step, the loop, and a run's folder.

pub mod objective;

mod step;

pub use step::{StepReport, TrainState, TrainStep};
