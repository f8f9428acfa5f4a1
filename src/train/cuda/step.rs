//! One training step on a CUDA device: everything from u8 windows to updated weights is one recorded graph of launches, of
//! which there are two, as there are two places for batches. While one step runs, the next batch is copied.

use std::sync::Arc;

use super::network::CudaNetwork;
use super::plan::CudaNetworkPlan;
use super::staging::{Shape, Staging};
use crate::data::{Batch, ClipConfig};
use crate::device::{Device, Event, Pinned, Recording, Stream};
use crate::models::{self, Init};
use crate::ops::augment;
use crate::optim::{Figures, OptimConfig, learning_rate};
use crate::train::{Feed, Step, StepReport, TrainState};
use crate::{Error, Result};

/// The network, its optimiser and every buffer of a step, allocated once.
#[derive(Debug)]
pub struct CudaTrainStep {
    network: CudaNetwork,
    copies: Stream,
    staging: [Staging; 2],
    recordings: [Recording; 2],
    figures: Pinned,
    finished: Event,
    optim: OptimConfig,
    feed: Option<Feed>,
    total_steps: u64,
    step: u64,
    peak_bytes: usize,
}

/// What a run is.
#[derive(Clone, Debug)]
pub struct CudaRun<'a> {
    /// How clips are cut.
    pub clip: &'a ClipConfig,
    /// Windows of a batch. An anchor and its spatial variant share one; a temporal variant has its own.
    pub windows: usize,
    /// Bytes of the largest window of any batch.
    pub window_bytes: usize,
    /// How parameters start.
    pub init: Init,
    /// The optimiser.
    pub optim: &'a OptimConfig,
    /// Length of the whole run.
    pub total_steps: u64,
    /// Determines initial weights.
    pub seed: u64,
    /// What a classifier must know of a batch.
    pub feed: Option<Feed>,
}

impl CudaRun<'_> {
    /// What is staged of a batch.
    fn shape(&self, plan: &CudaNetworkPlan) -> Shape {
        Shape {
            clips: plan.clips(),
            windows: self.windows,
            window_bytes: self.window_bytes,
            frames: self.clip.frames,
            crop: self.clip.crop,
            facts: plan.criterion().facts_bytes(),
        }
    }

    /// The plan that `with` makes for a chunk of so many clips; for 0 of the largest that fits what is free beside the
    /// staged batches.
    ///
    /// # Errors
    /// Those of `with`, or a device that fails.
    pub fn plan(
        &self,
        device: &Device,
        chunk: usize,
        with: impl Fn(Option<usize>) -> Result<CudaNetworkPlan>,
    ) -> Result<CudaNetworkPlan> {
        if chunk > 0 {
            return with(Some(chunk));
        }
        let (free, _) = device.memory()?;
        // Some stays free for what the driver takes besides: the kernels themselves, when they are loaded.
        let reserve = (free / 100).max(256 << 20);
        let staged = self.staging_bytes(&with(Some(1))?); // the same for any chunk
        CudaNetworkPlan::fitting(free.saturating_sub(reserve + staged), with)
    }

    /// Bytes on the device of the two places where batches wait.
    pub fn staging_bytes(&self, plan: &CudaNetworkPlan) -> usize {
        2 * self.shape(plan).bytes()
    }
}

impl CudaTrainStep {
    /// Allocates a step as planned, and records it.
    ///
    /// # Errors
    /// A device that has not as much memory, or fails.
    pub fn new(device: &Arc<Device>, plan: CudaNetworkPlan, run: &CudaRun<'_>) -> Result<Self> {
        let shape = run.shape(&plan);
        let peak_bytes = plan.bytes().total() + 2 * shape.bytes();
        let network = CudaNetwork::new(device, plan)?;
        let mut params = vec![0.0; network.plan().layout().len()];
        models::initialise(network.plan().layout(), run.init, run.seed, &mut params);
        network.set_params(&params)?;
        let staging = [Staging::new(device, shape)?, Staging::new(device, shape)?];
        let record = |staging: &Staging| {
            let precision = network.plan().precision();
            let mut commands = network.forward_backward(staging.facts(), &mut |clips, input, commands| {
                let extents = [clips.len(), shape.frames, shape.crop];
                let (table, windows) = (staging.clips(clips.start), staging.windows());
                commands.push(augment::launch(precision, extents, table, windows, input).into());
            });
            commands.extend(network.update(staging.rate()));
            device.prepare(&commands)?;
            network.stream().capture(|| device.enqueue(network.stream(), &commands))
        };
        let recordings = [record(&staging[0])?, record(&staging[1])?];
        Ok(Self {
            copies: Stream::new(device)?,
            figures: Pinned::new(device, size_of::<Figures>())?,
            finished: Event::new(device, false)?,
            network,
            staging,
            recordings,
            optim: run.optim.clone(),
            feed: run.feed.clone(),
            total_steps: run.total_steps,
            step: 0,
            peak_bytes,
        })
    }

    /// Copies a batch to the place of its step, unless it is there.
    fn bring(&mut self, batch: &Batch) -> Result<usize> {
        let place = (batch.step % 2) as usize;
        if self.staging[place].step() != Some(batch.step) {
            let rate = learning_rate(&self.optim, batch.step, self.total_steps);
            let (criterion, feed) = (self.network.plan().criterion(), self.feed.as_ref());
            let facts = |bytes: &mut [u8]| criterion.write_facts(feed, batch, bytes);
            self.staging[place].fill(&self.copies, batch, rate, facts)?;
        }
        Ok(place)
    }
}

impl Step for CudaTrainStep {
    fn start(&mut self, batch: &Batch) -> Result<()> {
        let place = self.bring(batch)?;
        let stream = self.network.stream();
        self.staging[place].begin(stream)?;
        stream.replay(&self.recordings[place])?;
        self.staging[place].end(stream)?;
        self.network.figures(&mut self.figures)?;
        self.finished.record(stream)
    }

    fn stage(&mut self, next: &Batch) -> Result<()> {
        self.bring(next).map(drop)
    }

    fn finish(&mut self, _batch: &Batch) -> Result<StepReport> {
        self.finished.synchronise()?;
        let figures = self.figures.as_slice::<Figures>()[0];
        let losses = self.network.plan().losses(figures.losses);
        let report = StepReport {
            loss: losses.total,
            l2: figures.l2,
            spatial: losses.spatial,
            temporal: losses.temporal,
            accuracy: losses.accuracy,
            lr: figures.lr,
            grad_norm: figures.gradient_norm,
        };
        for (what, value) in [("loss", report.loss + report.l2), ("gradient norm", report.grad_norm)] {
            if !value.is_finite() {
                return Err(Error::NonFinite {
                    what: format!("the {what} is {value}; nothing was updated"),
                    hint:
                        "lower optim.lr, set optim.clip_norm or optim.warmup_steps, or look at these videos"
                            .into(),
                });
            }
        }
        self.step += 1;
        Ok(report)
    }

    fn state(&self) -> Result<TrainState> {
        let layout = self.network.plan().layout();
        Ok(TrainState {
            step: self.step,
            weights: layout.export(&self.network.params()?),
            momentum: layout.export(&self.network.momentum()?),
        })
    }

    fn restore(&mut self, state: &TrainState) -> Result<()> {
        let layout = self.network.plan().layout();
        let mut flat = vec![0.0; layout.len()];
        layout.import(&state.weights, &mut flat)?;
        self.network.set_params(&flat)?;
        layout.import(&state.momentum, &mut flat)?;
        self.network.set_momentum(&flat)?;
        self.step = state.step;
        Ok(())
    }

    fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }
}
