//! Launches of `kernels/slot_pool.cu`, for up to three means at once.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
use crate::ops::{
    BackwardReads, CudaBackward, CudaForward, CudaGradient, CudaOp, Precision, WriteMode, pitch,
};

/// Means of a launch at most: those of blocks 3, 4, 5.
const PROBLEMS: usize = 3;
/// Threads of a block, and the channels that it owns.
const THREADS: u32 = 256;
const CHANNELS: usize = 64;

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct One {
    from: Address,
    to: Address,
    positions: u32,
    pitch: u32,
    columns: u32,
    first: u32,
    mode: u32,
    unused: u32,
}

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    problems: [One; PROBLEMS],
    count: u32,
    unused: u32,
}

/// A mean with its buffers, all f32: `x` and `dx` `(groups, positions, pitch(channels))`, `y` and `dy` `(groups,
/// pitch(channels))`. A pass reads and writes those that it needs.
#[derive(Clone, Copy, Debug)]
pub struct CudaMean {
    /// Means.
    pub groups: usize,
    /// Vectors of each.
    pub positions: usize,
    /// Elements of a vector.
    pub channels: usize,
    /// Vectors.
    pub x: Address,
    /// Gradient of the vectors.
    pub dx: CudaGradient,
    /// Their means.
    pub y: Address,
    /// Gradient of the means.
    pub dy: Address,
}

/// `y` of every mean.
pub fn forward(means: &[CudaMean]) -> Launch {
    forward_by("slot_pool_forward_f32", means)
}

/// `dx` of every mean.
pub fn backward(means: &[CudaMean]) -> Launch {
    backward_by("slot_pool_backward_f32", means)
}

fn forward_by(kernel: &'static str, means: &[CudaMean]) -> Launch {
    launch(kernel, means, |m| (m.x, m.y, WriteMode::Overwrite))
}

fn backward_by(kernel: &'static str, means: &[CudaMean]) -> Launch {
    launch(kernel, means, |m| (m.dy, m.dx.at, m.dx.mode))
}

fn launch(
    kernel: &'static str,
    means: &[CudaMean],
    of: impl Fn(&CudaMean) -> (Address, Address, WriteMode),
) -> Launch {
    assert!((1..=PROBLEMS).contains(&means.len()), "one to {PROBLEMS} means");
    let mut args = Args::zeroed();
    let mut blocks = 0;
    for (one, mean) in args.problems.iter_mut().zip(means) {
        let (from, to, mode) = of(mean);
        let columns = pitch(mean.channels).div_ceil(CHANNELS);
        *one = One {
            from,
            to,
            positions: mean.positions as u32,
            pitch: pitch(mean.channels) as u32,
            columns: columns as u32,
            first: blocks as u32,
            mode: mode as u32,
            unused: 0,
        };
        blocks += mean.groups * columns;
    }
    args.count = means.len() as u32;
    Launch::new(kernel, [blocks, 1, 1], THREADS, 0, &args)
}

/// A mean as a node of a graph. Slot vectors are f32 whatever the precision of the activations that they are means of.
#[derive(Debug)]
pub(super) struct Plan {
    groups: usize,
    positions: usize,
    channels: usize,
    input: Precision,
}

impl Plan {
    pub fn new(p: &Problem, precision: Precision) -> Self {
        let input = if p.kind == "slot_pool" { precision } else { Precision::F32 };
        Self { groups: p.groups, positions: p.positions, channels: p.channels, input }
    }

    fn mean(&self) -> CudaMean {
        let (x, y, dy) = (Address::NULL, Address::NULL, Address::NULL);
        let dx = CudaGradient { at: Address::NULL, mode: WriteMode::Overwrite };
        let Self { groups, positions, channels, .. } = *self;
        CudaMean { groups, positions, channels, x, dx, y, dy }
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        self.groups * pitch(self.channels) * size_of::<f32>()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads::default()
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let kernel = self.input.pick("slot_pool_forward_f32", "slot_pool_forward_bf16");
        let mean = CudaMean { x: io.inputs[0], y: io.output, ..self.mean() };
        commands.push(forward_by(kernel, &[mean]).into());
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let kernel = self.input.pick("slot_pool_backward_f32", "slot_pool_backward_bf16");
        if let Some(dx) = io.dx[0] {
            commands.push(backward_by(kernel, &[CudaMean { dx, dy: io.dy, ..self.mean() }]).into());
        }
    }
}
