//! Encoder, heads and objective together: the loss of a batch and its gradient, encoded in chunks.

use std::ops::Range;

use super::objective::{LossConfig, Losses, Objective, roles};
use crate::Result;
use crate::graph::{Executor, Graph, MemoryPlan, ParamLayout};
use crate::models::{self, ModelConfig};
use crate::ops::{Pass, WriteMode};
use crate::tensor::Real;

/// A network before it is allocated: what it computes and the exact memory that it takes.
#[derive(Debug)]
pub struct NetworkPlan<T: Real> {
    graph: Graph<T>,
    memory: MemoryPlan,
    objective: Objective<T>,
    layout: ParamLayout,
    clips: usize,
    chunk: usize,
}

/// Bytes of a training step, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StepBytes {
    /// Activations, their gradients, what backward needs, and scratch, in one arena.
    pub arena: usize,
    /// Weights, gradients and momentum.
    pub parameters: usize,
    /// Slot vectors of the whole batch, their gradients, and the buffers of the loss.
    pub objective: usize,
}

impl StepBytes {
    /// All together.
    pub fn total(&self) -> usize {
        self.arena + self.parameters + self.objective
    }
}

impl<T: Real> NetworkPlan<T> {
    /// For `videos` videos of `extents` frames × height × width, encoded `chunk` clips at a time (`None`: all).
    ///
    /// # Errors
    /// Extents that do not fit the backbone.
    pub fn new(
        model: &ModelConfig,
        loss: &LossConfig,
        videos: usize,
        extents: [usize; 3],
        chunk: Option<usize>,
    ) -> Result<Self> {
        let clips = videos * roles(loss).count();
        models::base_channels(model, clips, extents)?; // the whole batch as well
        let chunk = chunk.unwrap_or(clips).clamp(1, clips.max(1));
        let graph = models::encoder::<T>(model, chunk, extents, false)?;
        let layout = models::param_layout(&graph);
        let objective = Objective::new(
            loss,
            videos,
            models::block_slots(&graph),
            models::block_channels(&graph),
            &layout,
        )?;
        Ok(Self { memory: MemoryPlan::new(&graph, true), graph, objective, layout, clips, chunk })
    }

    /// With the largest chunk, of those got by halving the batch, that takes at most `memory` bytes; with one
    /// clip if even that takes more.
    ///
    /// # Errors
    /// Extents that do not fit the backbone.
    pub fn within(
        model: &ModelConfig,
        loss: &LossConfig,
        videos: usize,
        extents: [usize; 3],
        memory: usize,
    ) -> Result<Self> {
        let mut plan = Self::new(model, loss, videos, extents, None)?;
        while plan.bytes().total() > memory && plan.chunk > 1 {
            plan = Self::new(model, loss, videos, extents, Some(plan.chunk.div_ceil(2)))?;
        }
        Ok(plan)
    }

    /// The encoder for one chunk.
    pub fn graph(&self) -> &Graph<T> {
        &self.graph
    }

    /// Its memory plan.
    pub fn memory(&self) -> &MemoryPlan {
        &self.memory
    }

    /// Clips of a batch.
    pub fn clips(&self) -> usize {
        self.clips
    }

    /// Clips encoded at a time.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// What a training step allocates.
    pub fn bytes(&self) -> StepBytes {
        let slots: usize = [0, 1, 2].map(|k| self.slots_len(k)).iter().sum();
        StepBytes {
            arena: self.memory.peak(),
            parameters: 3 * self.layout.len() * size_of::<T>(),
            objective: 2 * slots * size_of::<T>() + self.objective.bytes(),
        }
    }

    /// FLOPs of a step: forward and backward of every clip, and forward once more if there are several chunks.
    pub fn flops(&self) -> u64 {
        let nodes = self.graph.nodes().iter().filter_map(|n| n.op.as_ref());
        let recompute = if self.chunk < self.clips { 2 } else { 1 };
        let chunk: u64 =
            nodes.map(|op| recompute * op.cost(Pass::Forward).flops + op.cost(Pass::Backward).flops).sum();
        chunk * self.clips.div_ceil(self.chunk) as u64
    }

    /// Elements of the whole batch's slot vectors at block `3 + scale`.
    fn slots_len(&self, scale: usize) -> usize {
        self.clips * models::block_slots(&self.graph)[scale] * models::block_channels(&self.graph)[scale]
    }
}

/// A network with its parameters, gradients and every buffer of a step.
///
/// Instance norm couples nothing across clips, so a batch can be encoded a chunk at a time: first forward,
/// keeping only slot vectors; then the loss of the whole batch; then each chunk forward again and backward.
/// That is exact, and every sum runs in the order of clips, so the chunk changes no bit of the gradient. If the
/// batch is one chunk, it is encoded once.
#[derive(Debug)]
pub struct Network<T: Real> {
    encoder: Executor<T>,
    objective: Objective<T>,
    layout: ParamLayout,
    /// All parameters, flat.
    pub params: Vec<T>,
    /// Their gradients in the last batch, at the same places.
    pub gradients: Vec<T>,
    clips: usize,
    chunk: usize,
    /// Slot vectors of the whole batch at blocks 3, 4, 5: `(clips, N_k, C_k)`.
    slots: [Vec<T>; 3],
    d_slots: [Vec<T>; 3],
}

impl<T: Real> Network<T> {
    /// Allocates what was planned. Parameters are zero.
    pub fn new(plan: NetworkPlan<T>) -> Self {
        let zeros = || [0, 1, 2].map(|k| vec![T::ZERO; plan.slots_len(k)]);
        let (slots, d_slots) = (zeros(), zeros());
        let NetworkPlan { graph, memory, objective, layout, clips, chunk } = plan;
        Self {
            encoder: Executor::with_plan(graph, memory, &layout),
            objective,
            params: vec![T::ZERO; layout.len()],
            gradients: vec![T::ZERO; layout.len()],
            layout,
            clips,
            chunk,
            slots,
            d_slots,
        }
    }

    /// Layout, parameters and gradients at once.
    pub fn parts_mut(&mut self) -> (&ParamLayout, &mut [T], &[T]) {
        (&self.layout, &mut self.params, &self.gradients)
    }

    /// Names and places of the parameters.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// The encoder for one chunk.
    pub fn encoder(&self) -> &Executor<T> {
        &self.encoder
    }

    /// The objective, with the projections of the last batch.
    pub fn objective(&self) -> &Objective<T> {
        &self.objective
    }

    /// Slot vectors of the last batch at block `3 + scale`, `(clips, N_k, C_k)`.
    pub fn slots(&self, scale: usize) -> &[T] {
        &self.slots[scale]
    }

    /// The loss of a batch and its gradient. `fill(clips, input)` writes those clips, `(clips, T, H, W, 3)`
    /// each; it is asked for every clip once, or twice if the batch takes several chunks.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn forward_backward(
        &mut self,
        mut fill: impl FnMut(Range<usize>, &mut [T]) -> Result<()>,
    ) -> Result<Losses> {
        let whole = self.chunk >= self.clips;
        for first in (0..self.clips).step_by(self.chunk) {
            self.encode(first, &mut fill)?;
        }
        let [a, b, c] = &mut self.d_slots;
        let slots = [0, 1, 2].map(|k| &self.slots[k][..]);
        let losses = self.objective.evaluate(&self.params, slots, [a, b, c], &mut self.gradients);
        for first in (0..self.clips).step_by(self.chunk) {
            if !whole {
                self.encode(first, &mut fill)?;
            }
            for k in 0..3 {
                let to = self.encoder.output_gradient_mut(k);
                let len = to.len() / self.chunk;
                let from = &self.d_slots[k][first * len..];
                let from = &from[..from.len().min(to.len())];
                to[..from.len()].copy_from_slice(from);
                to[from.len()..].fill(T::ZERO); // clips past the end of the batch have no part in the loss
            }
            let mode = if first == 0 { WriteMode::Overwrite } else { WriteMode::Accumulate };
            self.encoder.backward(&self.params, &mut self.gradients, mode);
        }
        Ok(losses)
    }

    /// Encodes the chunk that starts at clip `first` and keeps its slot vectors. A last chunk that the batch
    /// does not fill is padded with clips of zeros.
    fn encode(
        &mut self,
        first: usize,
        fill: &mut impl FnMut(Range<usize>, &mut [T]) -> Result<()>,
    ) -> Result<()> {
        let clips = first..(first + self.chunk).min(self.clips);
        let input = self.encoder.input_mut();
        let len = input.len() / self.chunk;
        let (used, rest) = input.split_at_mut(clips.len() * len);
        fill(clips.clone(), used)?;
        rest.fill(T::ZERO);
        self.encoder.forward(&self.params);
        for k in 0..3 {
            let from = self.encoder.output(k);
            let len = from.len() / self.chunk;
            self.slots[k][clips.start * len..clips.end * len].copy_from_slice(&from[..clips.len() * len]);
        }
        Ok(())
    }
}
