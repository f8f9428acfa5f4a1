//! Encoder, heads, objective and optimiser on a CUDA device: what a step launches, and the one allocation that it takes.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::device::{Address, Command, Device, Memory, Stream};
use crate::graph::{CUDA_ALIGNMENT, CudaLayout, CudaParams, CudaProgram, MemoryPlan, ParamLayout};
use crate::models::{self, BLOCKS, ModelConfig};
use crate::ops::{Pass, Precision, WriteMode, pitch};
use crate::optim::{CudaOptimiser, Figures, OptimConfig};
use crate::train::StepBytes;
use crate::train::objective::{CudaObjective, LossConfig, Losses, roles};

/// Offsets in the allocation.
#[derive(Clone, Copy, Debug)]
struct Places {
    arena: usize,
    masters: usize,
    gradients: usize,
    momentum: usize,
    copies: usize,
    slots: [usize; 3],
    d_slots: [usize; 3],
    objective: usize,
    losses: usize,
    optimiser: usize,
    end: usize,
}

/// A network for a device before it is allocated: what it computes, what it launches, and the memory that it takes.
#[derive(Debug)]
pub struct CudaNetworkPlan {
    program: CudaProgram,
    objective: CudaObjective,
    optimiser: CudaOptimiser,
    layout: ParamLayout,
    cuda_layout: CudaLayout,
    precision: Precision,
    clips: usize,
    chunk: usize,
    places: Places,
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
        let clips = videos * roles(loss).count();
        models::base_channels(model, clips, extents)?; // the whole batch as well
        let chunk = chunk.unwrap_or(clips).clamp(1, clips.max(1));
        let graph = models::encoder::<f32>(model, chunk, extents, false)?;
        let layout = models::param_layout(&graph);
        let cuda_layout = CudaLayout::new(&layout);
        let (slots, channels) = (models::block_slots(&graph), models::block_channels(&graph));
        let objective = CudaObjective::new(loss, videos, slots, channels)?;
        let optimiser = CudaOptimiser::new(optim, cuda_layout.ranges());
        let program = CudaProgram::new(graph, precision, true);

        let mut end = 0;
        let mut take = |bytes: usize| {
            let at = end;
            end = (at + bytes).next_multiple_of(CUDA_ALIGNMENT);
            at
        };
        let flat = cuda_layout.len() * size_of::<f32>();
        let vectors = |k: usize| clips * slots[k] * pitch(channels[k]) * size_of::<f32>();
        let places = Places {
            arena: take(program.plan().peak()),
            masters: take(flat),
            gradients: take(flat),
            momentum: take(flat),
            copies: take(if precision == Precision::F32 { 0 } else { flat / 2 }),
            slots: [0, 1, 2].map(|k| take(vectors(k))),
            d_slots: [0, 1, 2].map(|k| take(vectors(k))),
            objective: take(objective.bytes()),
            losses: take(CudaObjective::LOSSES_BYTES),
            optimiser: take(optimiser.bytes()),
            end: 0,
        };
        let places = Places { end, ..places };
        Ok(Self { program, objective, optimiser, layout, cuda_layout, precision, clips, chunk, places })
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
            parameters: p.slots[0] - p.masters,
            objective: p.end - p.slots[0],
        }
    }

    /// FLOPs of a step: forward and backward of every clip, and forward once more if there are several chunks.
    pub fn flops(&self) -> u64 {
        let nodes = self.program.graph().nodes().iter().filter_map(|n| n.op.as_ref());
        let recompute = if self.chunk < self.clips { 2 } else { 1 };
        let chunk: u64 =
            nodes.map(|op| recompute * op.cost(Pass::Forward).flops + op.cost(Pass::Backward).flops).sum();
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

    /// Where the loss writes its terms.
    fn losses(&self, base: Address) -> Address {
        base.offset(self.places.losses)
    }

    /// The loss of a batch and its gradient, in an allocation at `base`. `fill(clips, input)` appends what writes those
    /// clips, `(clips, T, H, W, 4)` each, to `input`; it is asked for every clip once, or twice if the batch takes
    /// several chunks.
    fn forward_backward(
        &self,
        base: Address,
        fill: &mut dyn FnMut(Range<usize>, Address, &mut Vec<Command>),
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        let whole = self.chunk >= self.clips;
        let params = self.params(base);
        for first in (0..self.clips).step_by(self.chunk) {
            self.encode(base, &params, first, fill, &mut commands);
        }
        let heads = self.program.graph().params().len()..self.layout.params().len();
        self.objective.plan(
            base.offset(self.places.objective),
            &heads.clone().map(|i| params.param(i).master).collect::<Vec<_>>(),
            &heads.map(|i| params.gradient(i)).collect::<Vec<_>>(),
            self.places.slots.map(|at| base.offset(at)),
            self.places.d_slots.map(|at| base.offset(at)),
            self.losses(base),
            &mut commands,
        );
        let arena = base.offset(self.places.arena);
        for first in (0..self.clips).step_by(self.chunk) {
            if !whole {
                self.encode(base, &params, first, fill, &mut commands);
            }
            for k in 0..3 {
                let to = self.program.output_gradient(arena, k);
                let bytes = self.program.output(arena, k).1;
                let clip = bytes / self.chunk;
                let used = clip * self.chunk.min(self.clips - first);
                let from = base.offset(self.places.d_slots[k] + first * clip);
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

    /// Encodes the chunk that starts at clip `first` and keeps its slot vectors. A last chunk that the batch does not fill
    /// is padded with clips of zeros.
    fn encode(
        &self,
        base: Address,
        params: &CudaParams,
        first: usize,
        fill: &mut dyn FnMut(Range<usize>, Address, &mut Vec<Command>),
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
        for k in 0..3 {
            let (from, bytes) = self.program.output(arena, k);
            let clip = bytes / self.chunk;
            let to = base.offset(self.places.slots[k] + first * clip);
            commands.push(Command::Copy { from, to, bytes: clip * clips.len() });
        }
    }

    /// Bytes of the encoder's input.
    fn input_bytes(&self) -> usize {
        let dims = self.program.graph().nodes()[0].shape.dims();
        dims[..4].iter().product::<usize>() * pitch(dims[4]) * self.precision.size()
    }
}

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
        network.network_is_zero()?;
        Ok(network)
    }

    fn network_is_zero(&self) -> Result<()> {
        let zeros = vec![0.0; self.plan.cuda_layout.len()];
        self.memory.upload(self.plan.places.gradients, &zeros)?; // the gaps between parameters
        self.memory.upload(self.plan.places.momentum, &zeros)?;
        let optimiser = &self.plan.optimiser;
        self.memory.upload(self.plan.places.optimiser, &optimiser.initial())?;
        self.set_params(&vec![0.0; self.plan.layout.len()])
    }

    /// What it was planned as.
    pub fn plan(&self) -> &CudaNetworkPlan {
        &self.plan
    }

    /// The stream that computes.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where its allocation starts.
    fn base(&self) -> Address {
        self.memory.address()
    }

    /// The input of the encoder: `(chunk, T, H, W, 4)`.
    pub fn set_input(&self, clips: &[f32]) -> Result<()> {
        let channels = 3;
        let at = self.plan.places.arena + self.input_offset();
        match self.plan.precision {
            Precision::F32 => self.memory.upload(at, &padded(clips, channels, |v| v)),
            Precision::Bf16 => self.memory.upload(at, &padded(clips, channels, half::bf16::from_f32)),
        }
    }

    fn input_offset(&self) -> usize {
        (self.plan.program.input(Address::new(1 << 40)).value() - (1 << 40)) as usize
    }
}

