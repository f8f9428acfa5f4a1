//! Max-pool over windows of positions. Padding counts as −∞; the first index in raster order wins a tie, and
//! a NaN wins over numbers, as in PyTorch.

mod cpu;
mod cuda;
pub mod reference;

use arrayvec::ArrayVec;

use super::windows::Windows;
use super::{Backward, BackwardReads, Cost, CudaOp, Forward, MAX_INPUTS, Op, Pass, Precision};
use crate::Result;
use crate::tensor::{Real, Shape};

/// Extents and settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    clips: usize,
    channels: usize,
    windows: Windows,
}

impl Problem {
    /// Windows of `kernel` every `stride`, each (T, H, W), over an input `(N, T, H, W, C)` padded by `pad` on both sides;
    /// each output extent is `⌊(input + 2·pad − kernel) / stride⌋ + 1`.
    ///
    /// # Errors
    /// An extent of 0, a window larger than the padded input or of more than 255 positions, or padding of
    /// more than half the window (a window could then hold padding only).
    pub fn new(shape: &Shape, kernel: [usize; 3], stride: [usize; 3], pad: [usize; 3]) -> Result<Self> {
        let windows = Windows::new("max_pool3d", shape, kernel, stride, pad)?;
        Ok(Self { clips: shape.dims()[0], channels: shape.dims()[4], windows })
    }
}

impl<T: Real> Op<T> for Problem {
    fn kind(&self) -> &'static str {
        "max_pool3d"
    }

    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS> {
        let [t, h, w] = self.windows.input;
        [Shape::new([self.clips, t, h, w, self.channels])].into_iter().collect()
    }

    fn output_shape(&self) -> Shape {
        let [t, h, w] = self.windows.output;
        Shape::new([self.clips, t, h, w, self.channels])
    }

    /// One byte an output: the winner's place in its window, in raster order.
    fn saved_bytes(&self) -> usize {
        <Self as Op<T>>::output_shape(self).numel()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads::default()
    }

    fn cost(&self, pass: Pass) -> Cost {
        let outputs = <Self as Op<T>>::output_shape(self).numel() as u64;
        let inputs = (self.clips * self.channels * self.windows.inputs()) as u64;
        let window = self.windows.taps_of_a_window() as u64;
        match pass {
            Pass::Forward => Cost { flops: window * outputs, elements: inputs + outputs },
            Pass::Backward => Cost { flops: outputs, elements: inputs + outputs },
        }
    }

    fn forward(&self, io: Forward<'_, T>) {
        cpu::forward(self, io);
    }

    fn backward(&self, io: Backward<'_, T>) {
        cpu::backward(self, io);
    }

    fn cuda(&self, precision: Precision) -> Box<dyn CudaOp> {
        Box::new(cuda::Plan::new(self, precision))
    }
}
