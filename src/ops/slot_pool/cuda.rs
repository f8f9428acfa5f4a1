//! Launches of `kernels/slot_pool.cu`.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaOp, Precision, WriteMode, pitch};

/// Threads of a block, and the channels that it owns.
const THREADS: u32 = 256;
const CHANNELS: usize = 64;

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    from: Address,
    to: Address,
    positions: u32,
    pitch: u32,
    mode: u32,
    unused: u32,
}

/// Slot vectors are f32 whatever the precision of the activations that they are means of.
#[derive(Debug)]
pub(super) struct Plan {
    groups: usize,
    positions: usize,
    pitch: usize,
    input: Precision,
}

impl Plan {
    pub fn new(p: &Problem, precision: Precision) -> Self {
        let input = if p.kind == "slot_pool" { precision } else { Precision::F32 };
        Self { groups: p.groups, positions: p.positions, pitch: pitch(p.channels), input }
    }

    fn launch(&self, kernel: &'static str, from: Address, to: Address, mode: WriteMode) -> Command {
        let args = Args {
            from,
            to,
            positions: self.positions as u32,
            pitch: self.pitch as u32,
            mode: mode as u32,
            unused: 0,
        };
        let grid = [self.groups, self.pitch.div_ceil(CHANNELS), 1];
        Launch::new(kernel, grid, THREADS, 0, &args).into()
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        self.groups * self.pitch * size_of::<f32>()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads::default()
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let kernel = self.input.pick("slot_pool_forward_f32", "slot_pool_forward_bf16");
        commands.push(self.launch(kernel, io.inputs[0], io.output, WriteMode::Overwrite));
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let kernel = self.input.pick("slot_pool_backward_f32", "slot_pool_backward_bf16");
        if let Some(dx) = io.dx[0] {
            commands.push(self.launch(kernel, io.dy, dx.at, dx.mode));
        }
    }
}
