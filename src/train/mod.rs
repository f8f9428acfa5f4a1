//! Training: the configuration, the objective, the step, the loop, and a run's folder.

pub mod checkpoint;
pub mod config;
pub mod cuda;
pub mod objective;

mod journal;
mod metrics;
mod network;
mod plots;
mod pretrain;
mod progress;
mod run;
mod run_folder;
mod signals;
mod step;
mod tensorboard;

pub use checkpoint::{Checkpoint, DataIdentity};
pub use config::{Config, Preset, Sources};
pub use metrics::Record;
pub use network::{Network, NetworkPlan, StepBytes};
pub use pretrain::{Place, pretrain, rehearse};
pub use run::{Batches, Rehearsal, Run, Step, Summary};
pub use run_folder::{Resume, RunFolder, Start};
pub use step::{StepReport, TrainState, TrainStep};
