//! The optimiser on a CUDA device: tables, and the launches of `kernels/sgd.cu`.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::OptimConfig;
use crate::device::{Address, Command, Launch};
use crate::ops::ParamKind;

/// Elements of a segment at most: a few rounds of a block.
const SEGMENT: usize = 4096;
/// Threads of a block.
const THREADS: u32 = 256;
/// Parts of the buffer start at multiples of this many bytes.
const ALIGNMENT: usize = 256;

/// As the kernels take it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Segment {
    begin: u64,
    count: u32,
    parameter: u32,
}

/// As the kernels take it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Parameter {
    first: u32,
    count: u32,
    is_kernel: u32,
    unused: u32,
}

/// What a step leaves for the host to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Figures {
    /// Spatial terms of blocks 3, 4, 5, then the temporal ones, unweighted; 0 where switched off.
    pub losses: [f64; 6],
    /// `l2·Σw²` over kernels.
    pub l2: f64,
    /// Euclidean norm of the whole gradient, its L2 part included, before any clipping.
    pub gradient_norm: f64,
    /// Learning rate used.
    pub lr: f64,
    /// 1 if the loss and the norm are finite and the weights were updated; 0 if nothing was.
    pub finite: u64,
    /// Updates since the buffer was made.
    pub updates: u64,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    segments: Address,
    parameters: Address,
    squares: Address,
    rates: Address,
    figures: Address,
    losses: Address,
    lr: Address,
    w: Address,
    v: Address,
    g: Address,
    copy: Address,
    l2: f64,
    clip_norm: f64,
    lars: f64,
    momentum: f32,
    segment_count: u32,
    parameter_count: u32,
    unused: u32,
}

/// The flat arrays that an update reads and writes, each with a parameter's elements at the same places.
#[derive(Clone, Copy, Debug)]
pub struct FlatArrays {
    /// Weights, f32.
    pub weights: Address,
    /// Their momentum, f32.
    pub momentum: Address,
    /// Their gradients, f32.
    pub gradients: Address,
    /// Their bf16 copies, or null.
    pub copies: Address,
}

/// [`KerasSgd`](super::KerasSgd) for the parameters of a device.
#[derive(Debug)]
pub struct CudaOptimiser {
    config: OptimConfig,
    segments: Vec<Segment>,
    parameters: Vec<Parameter>,
}

/// Offsets in the buffer.
struct Places {
    parameters: usize,
    squares: usize,
    rates: usize,
    figures: usize,
    end: usize,
}

impl CudaOptimiser {
    /// For parameters at these elements of the flat arrays, each range of whole groups of four.
    pub fn new(config: &OptimConfig, ranges: impl Iterator<Item = (Range<usize>, ParamKind)>) -> Self {
        let (mut segments, mut parameters) = (Vec::new(), Vec::new());
        for (number, (range, kind)) in ranges.enumerate() {
            debug_assert!(range.start % 4 == 0 && range.len() % 4 == 0, "vectors are whole");
            let first = segments.len() as u32;
            segments.extend(range.clone().step_by(SEGMENT).map(|begin| Segment {
                begin: begin as u64,
                count: SEGMENT.min(range.end - begin) as u32,
                parameter: number as u32,
            }));
            parameters.push(Parameter {
                first,
                count: segments.len() as u32 - first,
                is_kernel: (kind == ParamKind::Kernel).into(),
                unused: 0,
            });
        }
        Self { config: config.clone(), segments, parameters }
    }

    fn places(&self) -> Places {
        let after = |at: usize, bytes: usize| (at + bytes).next_multiple_of(ALIGNMENT);
        let parameters = after(0, size_of_val(&self.segments[..]));
        let squares = after(parameters, size_of_val(&self.parameters[..]));
        let pairs = self.segments.len() + self.parameters.len();
        let rates = after(squares, pairs * 2 * size_of::<f64>());
        let figures = after(rates, self.parameters.len() * size_of::<f32>());
        Places { parameters, squares, rates, figures, end: after(figures, size_of::<Figures>()) }
    }

    /// Bytes of its buffer.
    pub fn bytes(&self) -> usize {
        self.places().end
    }

    /// Offset of the [`Figures`] in the buffer.
    pub fn figures(&self) -> usize {
        self.places().figures
    }

    /// What the buffer holds before the first step.
    pub fn initial(&self) -> Vec<u8> {
        let places = self.places();
        let mut bytes = vec![0; places.end];
        let segments: &[u8] = bytemuck::cast_slice(&self.segments);
        let parameters: &[u8] = bytemuck::cast_slice(&self.parameters);
        bytes[..segments.len()].copy_from_slice(segments);
        bytes[places.parameters..][..parameters.len()].copy_from_slice(parameters);
        bytes
    }

    /// Appends an update. `buffer` is this optimiser's; `losses` are the six terms of [`Figures::losses`], f64; `lr` is where
    /// the learning rate of the step is, f64.
    pub fn update(
        &self,
        buffer: Address,
        flat: FlatArrays,
        losses: Address,
        lr: Address,
        commands: &mut Vec<Command>,
    ) {
        let places = self.places();
        let args = Args {
            segments: buffer,
            parameters: buffer.offset(places.parameters),
            squares: buffer.offset(places.squares),
            rates: buffer.offset(places.rates),
            figures: buffer.offset(places.figures),
            losses,
            lr,
            w: flat.weights,
            v: flat.momentum,
            g: flat.gradients,
            copy: flat.copies,
            l2: self.config.l2,
            clip_norm: self.config.clip_norm,
            lars: self.config.lars,
            momentum: self.config.momentum as f32,
            segment_count: self.segments.len() as u32,
            parameter_count: self.parameters.len() as u32,
            unused: 0,
        };
        let each_segment = [self.segments.len(), 1, 1];
        let update = if flat.copies == Address::NULL { "sgd_update_f32" } else { "sgd_update_bf16" };
        for (kernel, grid) in [("sgd_measure", each_segment), ("sgd_rates", [1; 3]), (update, each_segment)] {
            commands.push(Launch::new(kernel, grid, THREADS, 0, &args).into());
        }
    }
}
