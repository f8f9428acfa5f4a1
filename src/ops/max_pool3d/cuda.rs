//! Launches of `kernels/max_pool3d.cu`.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
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
    input: [u32; 3],
    output: [u32; 3],
    kernel: [u32; 3],
    stride: [u32; 3],
    pad: [u32; 3],
    over: [u32; 3],
    pitch: u32,
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
    /// # Panics
    /// If a frame has 2³² elements or more: kernels count them in 32 bits.
    pub fn new(p: &Problem, precision: Precision) -> Self {
        let pitch = pitch(p.channels);
        let frame = |extent: [usize; 3]| extent[1] * extent[2] * pitch;
        assert!(frame(p.input).max(frame(p.output)) <= u32::MAX as usize, "frames of {:?}", p.input);
        Self { problem: p.clone(), pitch, precision }
    }

    fn outputs(&self) -> usize {
        self.problem.clips * self.problem.output.iter().product::<usize>() * self.pitch
    }

    /// Channels of a thread: 16 bytes, or 8 of bf16 at a pitch of four.
    fn channels(&self) -> usize {
        self.pitch.min(16 / self.precision.size())
    }

    /// The kernel for this precision and pitch, of three.
    fn pick(&self, f32: &'static str, bf16: &'static str, narrow: &'static str) -> &'static str {
        if self.channels() == 4 { self.precision.pick(f32, narrow) } else { bf16 }
    }

    /// Whether each input lies in at most one window.
    fn is_apart(&self) -> bool {
        (0..3).all(|axis| self.problem.stride[axis] >= self.problem.kernel[axis])
    }

    /// Boxes as large as the stride that cover the inputs; the first ones begin with the padding.
    fn cells(&self) -> [usize; 3] {
        let p = &self.problem;
        std::array::from_fn(|axis| (p.input[axis] + p.pad[axis]).div_ceil(p.stride[axis]))
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
        let triple = |v: [usize; 3]| v.map(|v| v as u32);
        let blocks = (over[1] * over[2] * self.pitch / self.channels()).div_ceil(THREADS);
        let args = Args {
            from,
            to,
            won,
            input: triple(p.input),
            output: triple(p.output),
            kernel: triple(p.kernel),
            stride: triple(p.stride),
            pad: triple(p.pad),
            over: triple(over),
            pitch: self.pitch as u32,
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
        commands.push(self.launch(kernel, self.problem.output, buffers, WriteMode::Overwrite));
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let Some(dx) = io.dx[0] else { return };
        let (kernel, over) = if self.is_apart() {
            let kernel = self.pick(
                "max_pool3d_backward_apart_f32",
                "max_pool3d_backward_apart_bf16",
                "max_pool3d_backward_apart_bf16_narrow",
            );
            (kernel, self.cells())
        } else {
            let kernel = self.pick(
                "max_pool3d_backward_f32",
                "max_pool3d_backward_bf16",
                "max_pool3d_backward_bf16_narrow",
            );
            (kernel, self.problem.input)
        };
        commands.push(self.launch(kernel, over, [io.dy, dx.at, io.saved], dx.mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn cells_hold_every_input_and_every_window() {
        for (kernel, stride, pad, extent) in
            [(2, 2, 0, 7), (2, 2, 1, 7), (1, 3, 0, 7), (3, 5, 1, 6), (1, 1, 0, 3)]
        {
            let shape = Shape::new([1, extent, extent, extent, 8]);
            let p = Problem::new(&shape, [kernel; 3], [stride; 3], [pad; 3]).unwrap();
            let plan = Plan::new(&p, Precision::F32);
            assert!(plan.is_apart());
            for axis in 0..3 {
                let cells = plan.cells()[axis];
                assert!(cells >= p.output[axis], "{p:?}");
                assert!(cells * stride >= extent + pad && (cells - 1) * stride < extent + pad, "{p:?}");
            }
        }
    }

    #[test]
    fn windows_that_overlap_on_one_axis_are_not_apart() {
        let shape = Shape::new([1, 8, 8, 8, 8]);
        let p = Problem::new(&shape, [1, 3, 2], [1, 2, 2], [0, 1, 0]).unwrap();
        assert!(!Plan::new(&p, Precision::F32).is_apart());
    }
}
