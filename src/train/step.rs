//! One training step: encode, contrast, differentiate, update.

use rayon::prelude::*;

use super::criterion::Criterion;
use super::network::{Network, NetworkPlan};
use super::objective::Objective;
use crate::data::{Batch, ClipConfig};
use crate::models::{self, Init};
use crate::ops::augment;
use crate::optim::{Measured, OptimConfig, Optimiser};
use crate::tensor::NamedTensor;
use crate::{Error, Result};

/// Figures of a finished step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// What is minimised, but for the L2 term: the weighted contrastive terms, or the mean cross-entropy.
    pub loss: f64,
    /// `l2·Σw²`.
    pub l2: f64,
    /// Unweighted spatial terms at blocks 3, 4, 5; `None` where switched off.
    pub spatial: [Option<f64>; 3],
    /// Unweighted temporal terms at blocks 3, 4, 5; `None` where switched off.
    pub temporal: [Option<f64>; 3],
    /// Fraction of the clips that were classified right, in fine-tuning.
    pub accuracy: Option<f64>,
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
    /// Every parameter of the backbone and of what follows it.
    pub weights: Vec<NamedTensor>,
    /// The momentum of each, under the same names.
    pub momentum: Vec<NamedTensor>,
}

/// The network, its optimiser and every buffer of a step, allocated once.
#[derive(Debug)]
pub struct TrainStep<C = Objective<f32>> {
    network: Network<f32, C>,
    optimiser: Optimiser<f32>,
    crop: usize,
    frames: usize,
    step: u64,
    peak_bytes: usize,
}

impl<C: Criterion<f32>> TrainStep<C> {
    /// Allocates a step as planned, for clips of `clip`; the network is initialised from `seed`. `total_steps`
    /// is the length of the whole run, on which a schedule may depend.
    pub fn new(
        plan: NetworkPlan<f32, C>,
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
        let frozen = network.frozen();
        let optimiser = Optimiser::new(optim, total_steps, network.layout(), frozen);
        Self { network, optimiser, crop: clip.crop, frames: clip.frames, step: 0, peak_bytes }
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
        self.network.criterion_mut().prepare(batch)?;
        let (crop, clip) = (self.crop, self.frames * self.crop * self.crop * 3);
        let losses = self.network.forward_backward(|clips, input| {
            input.par_chunks_mut(clip).zip(&batch.clips[clips]).try_for_each(|(input, clip)| {
                let w = &batch.windows[clip.window];
                augment::Problem::new(w.frames, w.height, w.width, crop)?.run(&clip.transform, &w.rgb, input)
            })
        })?;
        let (layout, params, gradients) = self.network.parts_mut();
        let Measured { l2, gradient_norm } = self.optimiser.measure(layout, params, gradients);
        for (what, value) in [("loss", losses.total + l2), ("gradient norm", gradient_norm)] {
            if !value.is_finite() {
                return Err(Error::NonFinite {
                    // The loop adds the step and the videos.
                    what: format!("the {what} is {value}; nothing was updated"),
                    hint:
                        "lower optim.lr, set optim.clip_norm or optim.warmup_steps, or look at these videos"
                            .into(),
                });
            }
        }
        let lr = self.optimiser.update(self.step, layout, params, gradients);
        self.step += 1;
        Ok(StepReport {
            loss: losses.total,
            l2,
            spatial: losses.spatial,
            temporal: losses.temporal,
            accuracy: losses.accuracy,
            lr,
            grad_norm: gradient_norm,
        })
    }

    /// The criterion, to tell it what no batch does.
    pub fn criterion_mut(&mut self) -> &mut C {
        self.network.criterion_mut()
    }

    /// A copy of the state.
    pub fn state(&self) -> TrainState {
        let layout = self.network.layout();
        TrainState {
            step: self.step,
            weights: layout.export(&self.network.params),
            momentum: layout.export(&self.optimiser.momentum),
        }
    }

    /// Takes over a state.
    ///
    /// # Errors
    /// A name or shape that this network does not have, or one that is missing: all at once.
    pub fn restore(&mut self, state: &TrainState) -> Result<()> {
        let (layout, params, _) = self.network.parts_mut();
        layout.import(&state.weights, params)?;
        layout.import(&state.momentum, &mut self.optimiser.momentum)?;
        self.step = state.step;
        Ok(())
    }
}
