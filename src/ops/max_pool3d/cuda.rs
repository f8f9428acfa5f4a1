//! Launches of `kernels/max_pool3d.cu`.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
use crate::ops::windows::WindowArgs;
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaOp, Precision, WriteMode, pitch};

/// Threads of a block.
const THREADS: usize = 256;

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    from: Address,
    to: Address,
    won: Address,
    windows: WindowArgs,
    over: [u32; 3],
    blocks: u32,
    mode: u32,
    unused: u32,
}

#[derive(Debug)]
pub(super) struct Plan {
    problem: Problem,
    pitch: usize,
    precision: Precision,
}

impl Plan {
    pub fn new(p: &Problem, precision: Precision) -> Self {
        Self { problem: p.clone(), pitch: pitch(p.channels), precision }
    }

    fn outputs(&self) -> usize {
        self.problem.clips * self.problem.windows.outputs() * self.pitch
    }

    /// Channels of a thread: 16 bytes, or 8 of bf16 at a pitch of four.
    fn channels(&self) -> usize {
        self.pitch.min(16 / self.precision.size())
    }

    /// The kernel for this precision and pitch, of three.
    fn pick(&self, f32: &'static str, bf16: &'static str, narrow: &'static str) -> &'static str {
        if self.channels() == 4 { self.precision.pick(f32, narrow) } else { bf16 }
    }

    /// A launch with threads for each vector of channels `over` outputs, inputs or cells.
    fn launch(
        &self,
        kernel: &'static str,
        over: [usize; 3],
        [from, to, won]: [Address; 3],
        mode: WriteMode,
    ) -> Command {
        let p = &self.problem;
        let blocks = (over[1] * over[2] * self.pitch / self.channels()).div_ceil(THREADS);
        let args = Args {
            from,
            to,
            won,
            windows: p.windows.args(self.pitch),
            over: over.map(|v| v as u32),
            blocks: blocks as u32,
            mode: mode as u32,
            unused: 0,
        };
        Launch::new(kernel, [p.clips * over[0] * blocks, 1, 1], THREADS as u32, 0, &args).into()
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        self.outputs() * self.precision.size()
    }

    /// One byte an output: the winner's place in its window, in raster order.
    fn saved_bytes(&self) -> usize {
        self.outputs()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads::default()
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let kernel =
            self.pick("max_pool3d_forward_f32", "max_pool3d_forward_bf16", "max_pool3d_forward_bf16_narrow");
        let buffers = [io.inputs[0], io.output, io.saved];
        commands.push(self.launch(kernel, self.problem.windows.output, buffers, WriteMode::Overwrite));
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let Some(dx) = io.dx[0] else { return };
        let (kernel, over) = if self.problem.windows.is_apart() {
            let kernel = self.pick(
                "max_pool3d_backward_apart_f32",
                "max_pool3d_backward_apart_bf16",
                "max_pool3d_backward_apart_bf16_narrow",
            );
            (kernel, self.problem.windows.cells())
        } else {
            let kernel = self.pick(
                "max_pool3d_backward_f32",
                "max_pool3d_backward_bf16",
                "max_pool3d_backward_bf16_narrow",
            );
            (kernel, self.problem.windows.input)
        };
        commands.push(self.launch(kernel, over, [io.dy, dx.at, io.saved], dx.mode));
    }
}
