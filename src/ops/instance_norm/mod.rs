//! Instance norm (Ulyanov, Vedaldi & Lempitsky, arXiv:1607.08022), alone or fused with what follows it in a
//! backbone: `y = act((x − μ) / √(σ² + ε) · γ + β)`, with mean μ and biased variance σ² of each (n, c) over
//! all positions. [`Pooled`] has the ReLU and a max-pool in the same pass.

mod cpu;
mod cuda;
mod pooled;
pub mod reference;

use arrayvec::ArrayVec;

use super::{
    Backward, BackwardReads, Cost, CudaOp, Forward, MAX_INPUTS, MAX_PARAMS, Op, ParamKind, ParamSpec, Pass,
    Precision,
};
use crate::tensor::{Real, Shape};
use crate::{Error, Result};

pub use pooled::Pooled;

/// What follows the norm in the same pass over memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)] // as kernels take it
pub enum Activation {
    /// Nothing.
    Plain,
    /// ReLU.
    Relu,
    /// Addition of a second input, the residual, then ReLU.
    AddRelu,
}

/// Extents and settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    shape: Shape,
    clips: usize,
    positions: usize,
    channels: usize,
    activation: Activation,
    eps: f64,
}

impl Problem {
    /// Instance norm over the positions (all axes between) of `shape`, `(N, …, C)`.
    ///
    /// # Errors
    /// Fewer than two axes, an extent of 0, or an `eps` that is not positive.
    pub fn new(shape: Shape, activation: Activation, eps: f64) -> Result<Self> {
        let dims = shape.dims();
        if dims.len() < 2 || shape.numel() == 0 {
            return Err(Error::shape(
                "instance_norm",
                format!("input is {shape}"),
                "give (N, T, H, W, C), each at least 1",
            ));
        }
        if !(eps > 0.0 && eps.is_finite()) {
            return Err(Error::usage(
                format!("instance_norm: eps is {eps}"),
                "give a small positive number, such as 1e-5",
            ));
        }
        let (clips, channels) = (dims[0], dims[dims.len() - 1]);
        let positions = dims[1..dims.len() - 1].iter().product();
        Ok(Self { shape, clips, positions, channels, activation, eps })
    }

    /// Elements of one clip.
    fn clip(&self) -> usize {
        self.positions * self.channels
    }
}

impl<T: Real> Op<T> for Problem {
    fn kind(&self) -> &'static str {
        "instance_norm"
    }

    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS> {
        let inputs = if self.activation == Activation::AddRelu { 2 } else { 1 };
        std::iter::repeat_n(self.shape.clone(), inputs).collect()
    }

    fn output_shape(&self) -> Shape {
        self.shape.clone()
    }

    fn params(&self) -> ArrayVec<ParamSpec, MAX_PARAMS> {
        let shape = Shape::new([self.channels]);
        [
            ParamSpec { name: "weight", shape: shape.clone(), kind: ParamKind::Scale },
            ParamSpec { name: "bias", shape, kind: ParamKind::Shift },
        ]
        .into()
    }

    fn saved_bytes(&self) -> usize {
        self.clips * cpu::SAVED * self.channels * size_of::<T>()
    }

    fn workspace_bytes(&self, pass: Pass) -> usize {
        cpu::workspace(self, pass) * size_of::<f64>()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: self.activation == Activation::AddRelu }
    }

    fn cost(&self, pass: Pass) -> Cost {
        let numel = self.shape.numel() as u64;
        let residual = u64::from(self.activation == Activation::AddRelu);
        match pass {
            // Mean and deviation 4, normalisation 3; x in and y out.
            Pass::Forward => Cost { flops: (7 + 2 * residual) * numel, elements: (2 + residual) * numel },
            // Two sums 4, dx 4; x and dy in, dx out; the output in and the residual's gradient out.
            Pass::Backward => Cost { flops: 8 * numel, elements: (3 + 2 * residual) * numel },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_empty_shapes_and_bad_eps() {
        for dims in [vec![], vec![3], vec![1, 0, 2, 2, 8]] {
            assert!(Problem::new(Shape::new(dims), Activation::Plain, 1e-5).is_err());
        }
        for eps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Problem::new(Shape::new([1, 2, 2, 2, 8]), Activation::Plain, eps).is_err());
        }
    }
}
