//! One training step: encode, contrast, differentiate, update.

use rayon::prelude::*;

use super::network::{Network, NetworkPlan};
use crate::data::{Batch, ClipConfig};
use crate::models::{self, Init};
use crate::ops::augment;
use crate::optim::{self, OptimConfig};
use crate::tensor::NamedTensor;
use crate::{Error, Result};

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
pub struct TrainStep {
    network: Network<f32>,
    /// At the same places as the parameters.
    momentum: Vec<f32>,
    optim: OptimConfig,
    crop: usize,
    frames: usize,
    step: u64,
    total_steps: u64,
    peak_bytes: usize,
}

impl TrainStep {
    /// Allocates a step as planned, for clips of `clip`; the network is initialised from `seed`. `total_steps`
    /// is the length of the whole run, on which a schedule may depend.
    pub fn new(
        plan: NetworkPlan<f32>,
        clip: &ClipConfig,
        init: Init,
        optim: &OptimConfig,
        total_steps: u64,
        seed: u64,
    ) -> Self {
        let peak_bytes = plan.bytes().total();
        let mut network = Network::new(plan);
        let (layout, params, _) = network.parts_mut();
        models::initialise(layout, init, seed, params);
        let momentum = vec![0.0; layout.len()];
        let (crop, frames) = (clip.crop, clip.frames);
        Self { network, momentum, optim: optim.clone(), crop, frames, step: 0, total_steps, peak_bytes }
    }

    /// Exact bytes allocated for the step.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Runs one step.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the loss or the gradient is not finite; then nothing was updated.
    pub fn run(&mut self, batch: &Batch) -> Result<StepReport> {
        let (crop, clip) = (self.crop, self.frames * self.crop * self.crop * 3);
        let losses = self.network.forward_backward(|clips, input| {
            input.par_chunks_mut(clip).zip(&batch.clips[clips]).try_for_each(|(input, clip)| {
                let w = &batch.windows[clip.window];
                augment::Problem::new(w.frames, w.height, w.width, crop)?.run(&clip.transform, &w.rgb, input)
            })
        })?;
        let (layout, params, gradients) = self.network.parts_mut();
        let l2 = optim::l2_penalty(layout, params, self.optim.l2);
        let grad_norm = optim::gradient_norm(&self.optim, layout, params, gradients);
        for (what, value) in [("loss", losses.total + l2), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                return Err(Error::NonFinite {
                    what: format!(
                        "step {}: the {what} is {value}; nothing was updated. Videos of the batch: {}",
                        self.step,
                        batch.videos.join(", ")
                    ),
                    hint:
                        "lower optim.lr, set optim.clip_norm or optim.warmup_steps, or look at these videos"
                            .into(),
                });
            }
        }
        let lr = optim::learning_rate(&self.optim, self.step, self.total_steps);
        optim::update(&self.optim, lr, grad_norm, layout, params, gradients, &mut self.momentum);
        self.step += 1;
        Ok(StepReport {
            contrastive: losses.total,
            l2,
            spatial: losses.spatial,
            temporal: losses.temporal,
            lr,
            grad_norm,
        })
    }

    /// A copy of the state.
    pub fn state(&self) -> TrainState {
        let layout = self.network.layout();
        TrainState {
            step: self.step,
            weights: layout.export(&self.network.params),
            momentum: layout.export(&self.momentum),
        }
    }

    /// Takes over a state.
    ///
    /// # Errors
    /// A name or shape that this network does not have, or one that is missing: all at once.
    pub fn restore(&mut self, state: &TrainState) -> Result<()> {
        let (layout, params, _) = self.network.parts_mut();
        layout.import(&state.weights, params)?;
        layout.import(&state.momentum, &mut self.momentum)?;
        self.step = state.step;
        Ok(())
    }
}
