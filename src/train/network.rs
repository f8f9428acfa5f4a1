//! Backbone and criterion together: the loss of a batch and its gradient, encoded in chunks.

use std::ops::Range;

use super::classifier::Classifier;
use super::config::ClassifyConfig;
use super::criterion::{Criterion, Losses};
use super::objective::{LossConfig, Objective, roles};
use crate::Result;
use crate::device::{host, require_memory};
use crate::graph::{Executor, Graph, MemoryPlan, ParamLayout};
use crate::models::{self, ModelConfig};
use crate::ops::{Pass, WriteMode};
use crate::tensor::Real;

/// A network before it is allocated: what it computes and the exact memory that it takes.
#[derive(Debug)]
pub struct NetworkPlan<T: Real, C = Objective<T>> {
    graph: Graph<T>,
    memory: MemoryPlan,
    criterion: C,
    layout: ParamLayout,
    clips: usize,
    chunk: usize,
    /// Whether the backbone learns.
    trained: bool,
}

/// Bytes of a training step, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StepBytes {
    /// Activations, their gradients, what backward needs, and scratch, in one arena.
    pub arena: usize,
    /// Weights, gradients and momentum.
    pub parameters: usize,
    /// The backbone's outputs of the whole batch, their gradients, and the buffers of the loss.
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
        let memory = MemoryPlan::new(&graph, true);
        Ok(Self { memory, graph, criterion: objective, layout, clips, chunk, trained: true })
    }
}

impl<T: Real> NetworkPlan<T, Classifier<T>> {
    /// A classifier of `clips` clips of `extents` frames × height × width, encoded `chunk` at a time (`None`: all).
    ///
    /// # Errors
    /// Extents that do not fit the backbone, or fewer than two classes.
    pub fn classifier(
        model: &ModelConfig,
        classify: &ClassifyConfig,
        clips: usize,
        extents: [usize; 3],
        chunk: Option<usize>,
    ) -> Result<Self> {
        models::base_channels(model, clips, extents)?; // the whole batch as well
        let chunk = chunk.unwrap_or(clips).clamp(1, clips.max(1));
        let graph = models::pooled_encoder::<T>(model, chunk, extents)?;
        let layout = models::classifier_layout(&graph, classify.classes.len());
        let channels = graph.node(graph.outputs()[0]).shape.dims()[1];
        let criterion = Classifier::new(classify.classes.len(), clips, channels, &layout)?;
        let trained = !classify.frozen;
        let memory = MemoryPlan::new(&graph, trained);
        Ok(Self { memory, graph, criterion, layout, clips, chunk, trained })
    }
}

impl<T: Real, C: Criterion<T>> NetworkPlan<T, C> {
    /// The largest of the plans that `with` makes for the whole batch, half of it, a quarter … that takes at most `memory`
    /// bytes; that of one clip if even that takes more.
    ///
    /// # Errors
    /// Those of `with`.
    pub fn fitting(memory: usize, with: impl Fn(Option<usize>) -> Result<Self>) -> Result<Self> {
        let mut plan = with(None)?;
        while plan.bytes().total() > memory && plan.chunk > 1 {
            plan = with(Some(plan.chunk.div_ceil(2)))?;
        }
        Ok(plan)
    }

    /// The plan that `with` makes for `chunk` clips at a time; for 0, for as many as take no more than most of the memory
    /// that this machine has free.
    ///
    /// # Errors
    /// Those of `with`; more than there is memory.
    pub(super) fn for_this_machine(
        chunk: usize,
        with: impl Fn(Option<usize>) -> Result<Self>,
    ) -> Result<Self> {
        let plan = match (chunk, host().available_memory) {
            (0, Some(free)) => Self::fitting((free / 5 * 4) as usize, with),
            (0, None) => with(None),
            (chunk, _) => with(Some(chunk)),
        }?;
        let what = format!("a step with {} of its {} clips at a time", plan.chunk, plan.clips);
        let hint = "lower train.chunk, train.batch, clip.crop, clip.frames or model.width; `hdc plan` shows what takes how much";
        require_memory(&what, plan.bytes().total(), hint)?;
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
        let outputs: usize = self.output_lens().sum();
        StepBytes {
            arena: self.memory.peak(),
            parameters: 3 * self.layout.len() * size_of::<T>(),
            objective: 2 * outputs * size_of::<T>() + self.criterion.bytes(),
        }
    }

    /// FLOPs of a step: forward and backward of every clip, and forward once more if there are several chunks.
    pub fn flops(&self) -> u64 {
        let nodes = self.graph.nodes().iter().filter_map(|n| n.op.as_ref());
        let forward = if self.trained && self.chunk < self.clips { 2 } else { 1 };
        let backward = u64::from(self.trained);
        let chunk: u64 = nodes
            .map(|op| forward * op.cost(Pass::Forward).flops + backward * op.cost(Pass::Backward).flops)
            .sum();
        chunk * self.clips.div_ceil(self.chunk) as u64
    }

    /// Elements of each output for the whole batch.
    fn output_lens(&self) -> impl Iterator<Item = usize> {
        let clip = |&id| self.graph.node(id).shape.numel() / self.chunk;
        self.graph.outputs().iter().map(move |id| self.clips * clip(id))
    }
}

/// A network with its parameters, gradients and every buffer of a step.
///
/// Instance norm couples nothing across clips, so a batch can be encoded a chunk at a time: first forward,
/// keeping only the outputs; then the loss of the whole batch; then each chunk forward again and backward.
/// That is exact, and every sum runs in the order of clips, so the chunk changes no bit of the gradient. If the
/// batch is one chunk, it is encoded once.
#[derive(Debug)]
pub struct Network<T: Real, C = Objective<T>> {
    encoder: Executor<T>,
    criterion: C,
    layout: ParamLayout,
    /// All parameters, flat.
    pub params: Vec<T>,
    /// Their gradients in the last batch, at the same places; 0 for a backbone that does not learn.
    pub gradients: Vec<T>,
    clips: usize,
    chunk: usize,
    trained: bool,
    /// The backbone's outputs of the whole batch, `(clips, …)` each.
    outputs: Vec<Vec<T>>,
    d_outputs: Vec<Vec<T>>,
}

impl<T: Real, C: Criterion<T>> Network<T, C> {
    /// Allocates what was planned. Parameters are zero.
    pub fn new(plan: NetworkPlan<T, C>) -> Self {
        let zeros = || plan.output_lens().map(|len| vec![T::ZERO; len]).collect::<Vec<_>>();
        let (outputs, d_outputs) = (zeros(), zeros());
        let NetworkPlan { graph, memory, criterion, layout, clips, chunk, trained } = plan;
        Self {
            encoder: Executor::with_plan(graph, memory, &layout),
            criterion,
            params: vec![T::ZERO; layout.len()],
            gradients: vec![T::ZERO; layout.len()],
            layout,
            clips,
            chunk,
            trained,
            outputs,
            d_outputs,
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

    /// How many of the first parameters are not trained.
    pub fn frozen(&self) -> usize {
        if self.trained { 0 } else { self.encoder.graph().params().len() }
    }

    /// The encoder for one chunk.
    pub fn encoder(&self) -> &Executor<T> {
        &self.encoder
    }

    /// The criterion, as the last batch left it.
    pub fn criterion(&self) -> &C {
        &self.criterion
    }

    /// The same, to prepare it for a batch.
    pub fn criterion_mut(&mut self) -> &mut C {
        &mut self.criterion
    }

    /// Output `i` of the backbone for the last batch, `(clips, …)`: for pretraining the slot vectors at block `3 + i`.
    pub fn output(&self, i: usize) -> &[T] {
        &self.outputs[i]
    }

    /// The loss of a batch and its gradient. `fill(clips, input)` writes those clips, `(clips, T, H, W, 3)`
    /// each; it is asked for every clip once, or twice if the batch takes several chunks and the backbone learns.
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
        let losses =
            self.criterion.evaluate(&self.params, &self.outputs, &mut self.d_outputs, &mut self.gradients);
        if !self.trained {
            return Ok(losses);
        }
        for first in (0..self.clips).step_by(self.chunk) {
            if !whole {
                self.encode(first, &mut fill)?;
            }
            for (k, d_output) in self.d_outputs.iter().enumerate() {
                let to = self.encoder.output_gradient_mut(k);
                let len = to.len() / self.chunk;
                let from = &d_output[first * len..];
                let from = &from[..from.len().min(to.len())];
                to[..from.len()].copy_from_slice(from);
                to[from.len()..].fill(T::ZERO); // clips past the end of the batch have no part in the loss
            }
            let mode = if first == 0 { WriteMode::Overwrite } else { WriteMode::Accumulate };
            self.encoder.backward(&self.params, &mut self.gradients, mode);
        }
        Ok(losses)
    }

    /// Encodes the chunk that starts at clip `first` and keeps its outputs. A last chunk that the batch does not
    /// fill is padded with clips of zeros.
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
        for (k, output) in self.outputs.iter_mut().enumerate() {
            let from = self.encoder.output(k);
            let len = from.len() / self.chunk;
            output[clips.start * len..clips.end * len].copy_from_slice(&from[..clips.len() * len]);
        }
        Ok(())
    }
}
