//! One training step: encode, contrast, differentiate, update.

use super::objective::LossConfig;
use crate::Result;
use crate::data::{Batch, ClipConfig};
use crate::models::ModelConfig;
use crate::optim::OptimConfig;
use crate::tensor::NamedTensor;

/// Figures of a finished step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The weighted contrastive terms.
    pub contrastive: f64,
    /// `l2·Σw²`.
    pub l2: f64,
    /// Unweighted spatial terms at blocks 3, 4, 5; `None` where switched off.
    pub spatial: [Option<f64>; 3],
    /// Unweighted temporal terms at blocks 3, 4, 5; `None` where switched off.
    pub temporal: [Option<f64>; 3],
    /// Learning rate used.
    pub lr: f64,
    /// Euclidean norm of the whole gradient, L2 part included, before any clipping.
    pub grad_norm: f64,
}

/// All that a step changes, in the layout of files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainState {
    /// Completed steps.
    pub step: u64,
    /// Every parameter of backbone and heads.
    pub weights: Vec<NamedTensor>,
    /// The momentum of each, under the same names.
    pub momentum: Vec<NamedTensor>,
}

/// The network, its optimiser and every buffer of a step, allocated once.
#[derive(Debug)]
pub struct TrainStep {}

impl TrainStep {
    /// Plans and allocates a step of `videos` videos, the network initialised from `seed`. `chunk` is how many
    /// clips are encoded at a time (`None`: all); it changes memory and time, never the result.
    ///
    /// # Errors
    /// Extents that do not fit the backbone.
    pub fn new(
        _model: &ModelConfig,
        _clip: &ClipConfig,
        _loss: &LossConfig,
        _optim: &OptimConfig,
        _videos: usize,
        _total_steps: u64,
        _chunk: Option<usize>,
        _seed: u64,
    ) -> Result<Self> {
        unimplemented!()
    }

    /// Exact bytes allocated for the step.
    pub fn peak_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Runs one step.
    ///
    /// # Errors
    /// [`crate::Error::NonFinite`] if the loss or the gradient is not finite; then nothing was updated.
    pub fn run(&mut self, _batch: &Batch) -> Result<StepReport> {
        unimplemented!()
    }

    /// A copy of the state.
    pub fn state(&self) -> TrainState {
        unimplemented!()
    }

    /// Takes over a state.
    ///
    /// # Errors
    /// A name or shape that this network does not have, or one that is missing: all at once.
    pub fn restore(&mut self, _state: &TrainState) -> Result<()> {
        unimplemented!()
    }
}
