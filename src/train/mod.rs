//! Training: the configuration, the objective, the step, the loop, and a run's folder.

pub mod checkpoint;
pub mod config;
pub mod cuda;
pub mod objective;

mod classifier;
mod criterion;
mod finetune;
mod head;
mod journal;
mod metrics;
mod network;
mod plots;
mod pretrain;
mod progress;
mod run;
mod run_folder;
mod session;
mod signals;
mod step;
mod tensorboard;

pub use checkpoint::{Checkpoint, DataIdentity};
pub use classifier::{Classifier, CudaClassifier, Feed};
pub use config::{ClassifyConfig, Config, Preset, Sources};
pub use criterion::{Criterion, Losses};
pub use finetune::{Pretrained, StartFrom, finetune, rehearse_finetune};
pub use metrics::Record;
pub use network::{Network, NetworkPlan, StepBytes};
pub use pretrain::{pretrain, rehearse};
pub use run::{Batches, Rehearsal, Run, Step, Summary};
pub use run_folder::{Resume, RunFolder, Start};
pub use session::Place;
pub use step::{StepReport, TrainState, TrainStep};
