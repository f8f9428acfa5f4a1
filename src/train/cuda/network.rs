//! Encoder, criterion and optimiser on a CUDA device, with the one allocation that their steps take.

use std::sync::Arc;

use super::criterion::CudaCriterion;
use super::plan::{CudaNetworkPlan, Fill};
use crate::Result;
use crate::device::{Address, Command, Device, Memory, Pinned, Stream};
use crate::graph::cuda_tensor::{from_device, to_device};
use crate::models::PROJECTION;
use crate::ops::{Precision, pitch};
use crate::optim::Figures;

/// A network on a device, with all the memory of its steps.
#[derive(Debug)]
pub struct CudaNetwork {
    plan: CudaNetworkPlan,
    memory: Memory,
    stream: Stream,
}

impl CudaNetwork {
    /// Allocates what was planned. Parameters and momentum are zero.
    ///
    /// # Errors
    /// A device that has not as much memory, or fails.
    pub fn new(device: &Arc<Device>, plan: CudaNetworkPlan) -> Result<Self> {
        let what = format!("a step with {} of its {} clips at a time", plan.chunk, plan.clips);
        let memory = Memory::new(device, &what, plan.places.end)?;
        let network = Self { memory, stream: Stream::new(device)?, plan };
        let (zeros, places) = (vec![0.0_f32; network.plan.cuda_layout.len()], &network.plan.places);
        network.memory.upload(places.gradients, &zeros)?; // for gaps between parameters, and those that do not learn
        network.memory.upload(places.momentum, &zeros)?;
        network.memory.upload(places.optimiser, &network.plan.optimiser.initial())?;
        network.set_params(&vec![0.0; network.plan.layout.len()])?;
        Ok(network)
    }

    /// What it was planned as.
    pub fn plan(&self) -> &CudaNetworkPlan {
        &self.plan
    }

    /// The stream that computes.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The loss of a batch and its gradient. `fill` is asked for every clip once, or twice if the batch takes several chunks.
    /// `facts` is where a classifier finds the labels and masks of the batch.
    pub fn forward_backward(&self, facts: Address, fill: Fill<'_>) -> Vec<Command> {
        self.plan.forward_backward(self.memory.address(), facts, fill)
    }

    /// The update that follows, with the learning rate (f64) that is at `lr`.
    pub fn update(&self, lr: Address) -> Vec<Command> {
        let mut commands = Vec::new();
        self.plan.update(self.memory.address(), lr, &mut commands);
        commands
    }

    /// Appends to the stream a copy of the last update's figures.
    ///
    /// # Errors
    /// A device that fails.
    pub fn figures(&self, to: &mut Pinned) -> Result<()> {
        let at = self.plan.places.optimiser + self.plan.optimiser.figures();
        self.memory.download_async(&self.stream, at, to, size_of::<Figures>())
    }

    /// Takes over parameters of the host's layout.
    ///
    /// # Errors
    /// A device that fails.
    pub fn set_params(&self, params: &[f32]) -> Result<()> {
        let (places, packed) = (&self.plan.places, self.plan.cuda_layout.pack(params));
        self.memory.upload(places.masters, &packed)?;
        match self.plan.precision {
            Precision::F32 => Ok(()),
            Precision::Bf16 => self.memory.upload(places.copies, &to_device(&packed, 8, Precision::Bf16)),
        }
    }

    /// Takes over momentum of the host's layout.
    ///
    /// # Errors
    /// A device that fails.
    pub fn set_momentum(&self, momentum: &[f32]) -> Result<()> {
        self.memory.upload(self.plan.places.momentum, &self.plan.cuda_layout.pack(momentum))
    }

    /// The parameters, in the host's layout.
    ///
    /// # Errors
    /// A device that fails.
    pub fn params(&self) -> Result<Vec<f32>> {
        self.flat(self.plan.places.masters)
    }

    /// Their momentum, likewise.
    ///
    /// # Errors
    /// A device that fails.
    pub fn momentum(&self) -> Result<Vec<f32>> {
        self.flat(self.plan.places.momentum)
    }

    /// Their gradients in the last batch, likewise.
    ///
    /// # Errors
    /// A device that fails.
    pub fn gradients(&self) -> Result<Vec<f32>> {
        self.flat(self.plan.places.gradients)
    }

    /// Output `i` of the backbone for the last batch, `(clips, …)`: for pretraining the slot vectors at block `3 + i`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn output(&self, i: usize) -> Result<Vec<f32>> {
        let graph = self.plan.program.graph();
        let shape = &graph.node(graph.outputs()[i]).shape;
        let channels = shape.dims()[shape.dims().len() - 1];
        let rows = shape.numel() / channels / self.plan.chunk * self.plan.clips;
        self.rows(self.plan.places.outputs[i], rows, channels)
    }

    /// Logits of the last batch, `(clips, classes)`; none of a pretraining.
    ///
    /// # Errors
    /// A device that fails.
    pub fn logits(&self) -> Result<Vec<f32>> {
        let CudaCriterion::Classes(classifier) = &self.plan.criterion else { return Ok(Vec::new()) };
        let (at, [rows, classes]) = classifier.logits();
        self.rows(self.plan.places.criterion + at, rows, classes)
    }

    /// Projections of the last batch at block `3 + scale`, as
    /// [`Objective::projections`](crate::train::objective::Objective::projections); none of a classifier.
    ///
    /// # Errors
    /// A device that fails.
    pub fn projections(&self, scale: usize) -> Result<[Vec<f32>; 4]> {
        let mut out = [const { Vec::new() }; 4];
        let CudaCriterion::Contrast(objective) = &self.plan.criterion else { return Ok(out) };
        for (out, (at, rows)) in out.iter_mut().zip(objective.projections(scale)) {
            *out = self.rows(self.plan.places.criterion + at, rows, PROJECTION)?;
        }
        Ok(out)
    }

    /// The six terms of the objective in the last batch, as in [`Figures::losses`].
    ///
    /// # Errors
    /// A device that fails.
    pub fn losses(&self) -> Result<[f64; 6]> {
        let mut losses = [0.0; 6];
        self.memory.download(self.plan.places.losses, &mut losses)?;
        Ok(losses)
    }

    fn flat(&self, at: usize) -> Result<Vec<f32>> {
        let mut packed = vec![0.0; self.plan.cuda_layout.len()];
        self.memory.download(at, &mut packed)?;
        Ok(self.plan.cuda_layout.unpack(&packed))
    }

    /// f32 vectors at an offset, without their padding.
    fn rows(&self, at: usize, rows: usize, channels: usize) -> Result<Vec<f32>> {
        let mut stored = vec![0; rows * pitch(channels) * size_of::<f32>()];
        self.memory.download(at, &mut stored)?;
        let mut values = vec![0.0; rows * channels];
        from_device(&stored, channels, Precision::F32, &mut values);
        Ok(values)
    }
}
