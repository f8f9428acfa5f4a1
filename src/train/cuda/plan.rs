//! Encoder, criterion and optimiser on a CUDA device before anything is allocated: what a step launches, and where in one
//! allocation it finds everything.

use std::ops::Range;

use super::criterion::{CudaCriterion, Io};
use crate::device::{Address, Command};
use crate::graph::{CUDA_ALIGNMENT, CudaLayout, CudaParams, CudaProgram, Graph, MemoryPlan, ParamLayout};
use crate::models::{self, ModelConfig};
use crate::ops::{Pass, Precision, WriteMode, pitch};
use crate::optim::{CudaOptimiser, FlatArrays, OptimConfig};
use crate::train::objective::{CudaHeads, CudaObjective, LossConfig, roles};
use crate::train::{ClassifyConfig, CudaClassifier, Losses, StepBytes};
use crate::{Error, Result};

/// Positions of the clips of a chunk at most: kernels count them in 32 bits.
const MOST_POSITIONS: usize = (1 << 30) - 1;

/// Offsets in the allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub arena: usize,
    pub masters: usize,
    pub gradients: usize,
    pub momentum: usize,
    pub copies: usize,
    /// The backbone's outputs of the whole batch, and their gradients.
    pub outputs: Vec<usize>,
    pub d_outputs: Vec<usize>,
    pub criterion: usize,
    pub losses: usize,
    pub optimiser: usize,
    pub end: usize,
}

/// A network for a device before it is allocated: what it computes, what it launches, and the memory that it takes.
#[derive(Debug)]
pub struct CudaNetworkPlan {
    pub(super) program: CudaProgram,
    pub(super) criterion: CudaCriterion,
    pub(super) optimiser: CudaOptimiser,
    pub(super) layout: ParamLayout,
    pub(super) cuda_layout: CudaLayout,
    pub(super) precision: Precision,
    pub(super) clips: usize,
    pub(super) chunk: usize,
    /// Whether the backbone learns.
    pub(super) trained: bool,
    pub(super) places: Places,
}

/// How a batch is encoded.
#[derive(Clone, Copy, Debug)]
pub struct CudaBatch {
    /// Its clips.
    pub clips: usize,
    /// Frames, height and width of a clip.
    pub extents: [usize; 3],
    /// Of activations.
    pub precision: Precision,
}

impl CudaBatch {
    /// The clips that are encoded at a time, if `asked` are (`None`: all).
    fn chunk(self, model: &ModelConfig, asked: Option<usize>) -> Result<usize> {
        let Self { clips, extents, .. } = self;
        models::base_channels(model, clips, extents)?; // the whole batch as well
        let most = (MOST_POSITIONS / extents.iter().product::<usize>().max(1)).max(1);
        if let Some(chunk) = asked.filter(|&c| c > most) {
            let [t, h, w] = extents;
            return Err(Error::usage(
                format!("{chunk} clips of {t}×{h}×{w} at a time are more than kernels count"),
                format!("encode at most {most} at a time: train.chunk"),
            ));
        }
        Ok(asked.unwrap_or(clips).clamp(1, clips.max(1)).min(most))
    }
}

impl CudaNetworkPlan {
    /// For `videos` videos of `extents` frames × height × width, encoded `chunk` clips at a time (`None`: all).
    ///
    /// # Errors
    /// Extents that do not fit the backbone.
    pub fn new(
        model: &ModelConfig,
        loss: &LossConfig,
        optim: &OptimConfig,
        precision: Precision,
        videos: usize,
        extents: [usize; 3],
        chunk: Option<usize>,
    ) -> Result<Self> {
        let batch = CudaBatch { clips: videos * roles(loss).count(), extents, precision };
        let chunk = batch.chunk(model, chunk)?;
        let graph = models::encoder::<f32>(model, chunk, extents, false)?;
        let layout = models::param_layout(&graph);
        let (slots, channels) = (models::block_slots(&graph), models::block_channels(&graph));
        let criterion = CudaCriterion::Contrast(Box::new(CudaObjective::new(loss, videos, slots, channels)?));
        Ok(Self::of(graph, layout, criterion, optim, batch, chunk, true))
    }

    /// A classifier of single clips, encoded `chunk` at a time (`None`: all).
    ///
    /// # Errors
    /// Extents that do not fit the backbone, or fewer than two classes.
    pub fn classifier(
        model: &ModelConfig,
        classify: &ClassifyConfig,
        optim: &OptimConfig,
        batch: CudaBatch,
        chunk: Option<usize>,
    ) -> Result<Self> {
        let chunk = batch.chunk(model, chunk)?;
        let graph = models::pooled_encoder::<f32>(model, chunk, batch.extents)?;
        let (channels, classes) = (graph.node(graph.outputs()[0]).shape.dims()[1], classify.classes.len());
        let layout = models::classifier_layout(&graph, classes);
        let criterion = CudaCriterion::Classes(CudaClassifier::new(batch.clips, channels, classes)?);
        Ok(Self::of(graph, layout, criterion, optim, batch, chunk, !classify.frozen))
    }

    fn of(
        graph: Graph<f32>,
        layout: ParamLayout,
        criterion: CudaCriterion,
        optim: &OptimConfig,
        CudaBatch { clips, precision, .. }: CudaBatch,
        chunk: usize,
        trained: bool,
    ) -> Self {
        let cuda_layout = CudaLayout::new(&layout);
        let frozen = if trained { 0 } else { graph.params().len() };
        let optimiser = CudaOptimiser::new(optim, cuda_layout.ranges().skip(frozen));
        let program = CudaProgram::new(graph, precision, trained);

        let mut end = 0;
        let mut take = |bytes: usize| {
            let at = end;
            end = (at + bytes).next_multiple_of(CUDA_ALIGNMENT);
            at
        };
        let flat = cuda_layout.len() * size_of::<f32>();
        let outputs = 0..program.graph().outputs().len();
        let bytes = |k: usize| program.output(Address::NULL, k).1 / chunk * clips;
        let places = Places {
            arena: take(program.plan().peak()),
            masters: take(flat),
            gradients: take(flat),
            momentum: take(flat),
            copies: take(if precision == Precision::F32 { 0 } else { flat / 2 }),
            outputs: outputs.clone().map(|k| take(bytes(k))).collect(),
            d_outputs: outputs.map(|k| take(bytes(k))).collect(),
            criterion: take(criterion.bytes()),
            losses: take(6 * size_of::<f64>()),
            optimiser: take(optimiser.bytes()),
            end: 0,
        };
        let places = Places { end, ..places };
        Self { program, criterion, optimiser, layout, cuda_layout, precision, clips, chunk, trained, places }
    }

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

    /// The program of the encoder for one chunk.
    pub fn program(&self) -> &CudaProgram {
        &self.program
    }

    /// Its memory plan.
    pub fn memory(&self) -> &MemoryPlan {
        self.program.plan()
    }

    /// Names and places of the parameters on the host.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// Of activations.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Clips of a batch.
    pub fn clips(&self) -> usize {
        self.clips
    }

    /// Clips encoded at a time.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// What a training step allocates on the device, but for its staged batches.
    pub fn bytes(&self) -> StepBytes {
        let p = &self.places;
        StepBytes {
            arena: p.masters - p.arena,
            parameters: p.outputs[0] - p.masters,
            objective: p.end - p.outputs[0],
        }
    }

    /// FLOPs of a step: forward and backward of every clip, and forward once more if there are several chunks.
    pub fn flops(&self) -> u64 {
        let nodes = self.program.graph().nodes().iter().filter_map(|n| n.op.as_ref());
        let forward = if self.trained && self.chunk < self.clips { 2 } else { 1 };
        let backward = u64::from(self.trained);
        let chunk: u64 = nodes
            .map(|op| forward * op.cost(Pass::Forward).flops + backward * op.cost(Pass::Backward).flops)
            .sum();
        chunk * self.clips.div_ceil(self.chunk) as u64
    }

    fn params(&self, base: Address) -> CudaParams {
        let p = &self.places;
        let copies = match self.precision {
            Precision::F32 => Address::NULL,
            Precision::Bf16 => base.offset(p.copies),
        };
        CudaParams::new(self.cuda_layout.clone(), base.offset(p.masters), base.offset(p.gradients), copies)
    }

    /// The loss of a batch and its gradient, in an allocation at `base`. `fill(clips, input)` appends what writes those
    /// clips, `(clips, T, H, W, 4)` each, to `input`; it is asked for every clip once, or twice if the batch takes
    /// several chunks. `facts` is where the criterion finds what it must know of the batch.
    pub(super) fn forward_backward(&self, base: Address, facts: Address, fill: Fill<'_>) -> Vec<Command> {
        let mut commands = Vec::new();
        let whole = self.chunk >= self.clips;
        let params = self.params(base);
        for first in (0..self.clips).step_by(self.chunk) {
            self.encode(base, &params, first, fill, &mut commands);
        }
        let heads = self.program.graph().params().len()..self.layout.params().len();
        let heads = CudaHeads {
            params: heads.clone().map(|i| params.param(i).master).collect(),
            gradients: heads.map(|i| params.gradient(i)).collect(),
        };
        let at = |places: &[usize]| places.iter().map(|&at| base.offset(at)).collect::<Vec<_>>();
        let (outputs, d_outputs) = (at(&self.places.outputs), at(&self.places.d_outputs));
        let io = Io {
            base: base.offset(self.places.criterion),
            heads: &heads,
            facts,
            outputs: &outputs,
            d_outputs: &d_outputs,
            losses: base.offset(self.places.losses),
        };
        self.criterion.plan(&io, &mut commands);
        if !self.trained {
            return commands;
        }
        let arena = base.offset(self.places.arena);
        for first in (0..self.clips).step_by(self.chunk) {
            if !whole {
                self.encode(base, &params, first, fill, &mut commands);
            }
            for (k, &d_output) in d_outputs.iter().enumerate() {
                let to = self.program.output_gradient(arena, k);
                let bytes = self.program.output(arena, k).1;
                let clip = bytes / self.chunk;
                let used = clip * self.chunk.min(self.clips - first);
                let from = d_output.offset(first * clip);
                commands.push(Command::Copy { from, to, bytes: used });
                if used < bytes {
                    // Clips past the end of the batch have no part in the loss.
                    commands.push(Command::Zero { at: to.offset(used), bytes: bytes - used });
                }
            }
            let mode = if first == 0 { WriteMode::Overwrite } else { WriteMode::Accumulate };
            self.program.backward(arena, &params, mode, &mut commands);
        }
        commands
    }

    /// The update of the parameters, with the learning rate (f64) that is at `lr`.
    pub(super) fn update(&self, base: Address, lr: Address, commands: &mut Vec<Command>) {
        let p = &self.places;
        let copies = match self.precision {
            Precision::F32 => Address::NULL,
            Precision::Bf16 => base.offset(p.copies),
        };
        let flat = FlatArrays {
            weights: base.offset(p.masters),
            momentum: base.offset(p.momentum),
            gradients: base.offset(p.gradients),
            copies,
        };
        self.optimiser.update(base.offset(p.optimiser), flat, base.offset(p.losses), lr, commands);
    }

    /// What the criterion left in the six losses, as figures.
    pub fn losses(&self, six: [f64; 6]) -> Losses {
        self.criterion.losses(six)
    }

    /// What it is judged by.
    pub(super) fn criterion(&self) -> &CudaCriterion {
        &self.criterion
    }

    /// Encodes the chunk that starts at clip `first` and keeps its outputs. A last chunk that the batch does not fill
    /// is padded with clips of zeros.
    fn encode(
        &self,
        base: Address,
        params: &CudaParams,
        first: usize,
        fill: Fill<'_>,
        commands: &mut Vec<Command>,
    ) {
        let arena = base.offset(self.places.arena);
        let clips = first..(first + self.chunk).min(self.clips);
        let input = self.program.input(arena);
        fill(clips.clone(), input, commands);
        if clips.len() < self.chunk {
            let clip = self.input_bytes() / self.chunk;
            let used = clips.len() * clip;
            commands.push(Command::Zero { at: input.offset(used), bytes: (self.chunk - clips.len()) * clip });
        }
        self.program.forward(arena, params, commands);
        for (k, &output) in self.places.outputs.iter().enumerate() {
            let (from, bytes) = self.program.output(arena, k);
            let clip = bytes / self.chunk;
            let to = base.offset(output + first * clip);
            commands.push(Command::Copy { from, to, bytes: clip * clips.len() });
        }
    }

    /// Bytes of the encoder's input.
    fn input_bytes(&self) -> usize {
        let dims = self.program.graph().nodes()[0].shape.dims();
        dims[..4].iter().product::<usize>() * pitch(dims[4]) * self.precision.size()
    }
}

/// What writes some clips of a batch, `(clips, T, H, W, 4)` each, to the encoder's input.
pub type Fill<'a> = &'a mut dyn FnMut(Range<usize>, Address, &mut Vec<Command>);
