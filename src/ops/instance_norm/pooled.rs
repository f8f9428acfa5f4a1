//! Instance norm, ReLU and max-pool as one operation: what lies between them is never stored.

use arrayvec::ArrayVec;

use super::{Activation, Problem, cpu, cuda};
use crate::Result;
use crate::ops::windows::Windows;
use crate::ops::{
    Backward, BackwardReads, Cost, CudaOp, Forward, MAX_INPUTS, MAX_PARAMS, Op, ParamSpec, Pass, Precision,
};
use crate::tensor::{Real, Shape};

/// `y = maxpool(ReLU(norm(x)))`, with the bits of the two operations one after the other: the pool compares values as they
/// would be stored, the first index in raster order wins a tie, a NaN wins over numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled {
    pub(super) norm: Problem,
    pub(super) windows: Windows,
}

impl Pooled {
    /// Windows of `kernel` every `stride`, each (T, H, W), over the norm of `shape`, `(N, T, H, W, C)`, padded by `pad` on
    /// both sides with what never wins; each output extent is `⌊(input + 2·pad − kernel) / stride⌋ + 1`.
    ///
    /// # Errors
    /// Other than five axes, an extent of 0, an `eps` that is not positive, a window larger than the padded input or of more
    /// than 255 positions, or padding of more than half the window.
    pub fn new(
        shape: Shape,
        kernel: [usize; 3],
        stride: [usize; 3],
        pad: [usize; 3],
        eps: f64,
    ) -> Result<Self> {
        let windows = Windows::new("norm_pool", &shape, kernel, stride, pad)?;
        Ok(Self { norm: Problem::new(shape, Activation::Relu, eps)?, windows })
    }

    /// Elements of one clip's output.
    pub(super) fn clip(&self) -> usize {
        self.windows.outputs() * self.norm.channels
    }
}

impl<T: Real> Op<T> for Pooled {
    fn kind(&self) -> &'static str {
        "norm_pool"
    }

    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS> {
        <Problem as Op<T>>::input_shapes(&self.norm)
    }

    fn output_shape(&self) -> Shape {
        let [t, h, w] = self.windows.output;
        Shape::new([self.norm.clips, t, h, w, self.norm.channels])
    }

    fn params(&self) -> ArrayVec<ParamSpec, MAX_PARAMS> {
        <Problem as Op<T>>::params(&self.norm)
    }

    /// What the norm saves; then one byte an output: the winner's place in its window, in raster order.
    fn saved_bytes(&self) -> usize {
        <Problem as Op<T>>::saved_bytes(&self.norm) + self.norm.clips * self.clip()
    }

    fn workspace_bytes(&self, pass: Pass) -> usize {
        cpu::pooled::workspace(self, pass) * size_of::<f64>()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: false }
    }

    fn cost(&self, pass: Pass) -> Cost {
        let (inputs, outputs) = (self.norm.shape.numel() as u64, (self.norm.clips * self.clip()) as u64);
        let window = self.windows.taps_of_a_window() as u64;
        match pass {
            // As the norm, and a comparison for each position of a window; x in and y out.
            Pass::Forward => Cost { flops: 7 * inputs + window * outputs, elements: inputs + outputs },
            // As the norm, and a sum for each output; x and dy in, dx out.
            Pass::Backward => Cost { flops: 8 * inputs + outputs, elements: 2 * inputs + outputs },
        }
    }

    fn forward(&self, io: Forward<'_, T>) {
        cpu::pooled::forward(self, io);
    }

    fn backward(&self, io: Backward<'_, T>) {
        cpu::pooled::backward(self, io);
    }

    fn cuda(&self, precision: Precision) -> Box<dyn CudaOp> {
        Box::new(cuda::PooledPlan::new(self, precision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_either_part_refuses() {
        let new =
            |dims: &[usize], kernel, eps| Pooled::new(Shape::new(dims), [kernel; 3], [2; 3], [0; 3], eps);
        assert!(new(&[1, 2, 2, 2, 8], 2, 1e-5).is_ok());
        for (dims, kernel, eps) in
            [(&[1, 2, 2, 8][..], 2, 1e-5), (&[1, 2, 2, 2, 8], 3, 1e-5), (&[1, 2, 2, 2, 8], 2, 0.0)]
        {
            assert!(new(dims, kernel, eps).is_err(), "{dims:?} {kernel} {eps}");
        }
    }
}
