//! Linear layer: `y = x·wᵀ + b` over the last axis. The heads and the classifier, a negligible share of a
//! step, so it is written for exact reproducibility rather than for the last GFLOP/s.

mod cpu;
mod cuda;
pub mod reference;

use arrayvec::ArrayVec;

use super::{
    Backward, BackwardReads, Cost, CudaOp, Forward, MAX_INPUTS, MAX_PARAMS, Op, ParamKind, ParamSpec, Pass,
    Precision,
};
use crate::tensor::{Real, Shape};
use crate::{Error, Result};

pub use cuda::{CudaLayer, dgrad, forward, wgrad};

/// Extents, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    shape: Shape,
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl Problem {
    /// From `(…, Cin)` to `(…, outputs)`.
    ///
    /// # Errors
    /// Fewer than two extents, or one of 0.
    pub fn new(shape: Shape, outputs: usize) -> Result<Self> {
        let dims = shape.dims();
        if dims.len() < 2 || shape.numel() == 0 || outputs == 0 {
            return Err(Error::shape(
                "linear",
                format!("input {shape}, {outputs} outputs"),
                "give (…, Cin) and at least one output",
            ));
        }
        let inputs = dims[dims.len() - 1];
        Ok(Self { rows: shape.numel() / inputs, inputs, outputs, shape })
    }
}

impl<T: Real> Op<T> for Problem {
    fn kind(&self) -> &'static str {
        "linear"
    }

    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS> {
        [self.shape.clone()].into_iter().collect()
    }

    fn output_shape(&self) -> Shape {
        let mut dims = self.shape.dims().to_vec();
        dims.pop();
        dims.push(self.outputs);
        Shape::new(dims)
    }

    fn params(&self) -> ArrayVec<ParamSpec, MAX_PARAMS> {
        let (weight, bias) = (Shape::new([self.outputs, self.inputs]), Shape::new([self.outputs]));
        [
            ParamSpec { name: "weight", shape: weight, kind: ParamKind::Kernel },
            ParamSpec { name: "bias", shape: bias, kind: ParamKind::Shift },
        ]
        .into()
    }

    fn workspace_bytes(&self, pass: Pass) -> usize {
        match pass {
            Pass::Forward => self.inputs * self.outputs * size_of::<T>(),
            Pass::Backward => 0,
        }
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: false }
    }

    fn cost(&self, pass: Pass) -> Cost {
        let [m, i, o] = [self.rows, self.inputs, self.outputs].map(|v| v as u64);
        match pass {
            Pass::Forward => Cost { flops: 2 * m * i * o + m * o, elements: m * (i + o) + i * o + o },
            Pass::Backward => {
                Cost { flops: 4 * m * i * o + m * o, elements: m * (2 * i + o) + 2 * i * o + o }
            }
        }
    }

    fn forward(&self, io: Forward<'_, T>) {
        cpu::forward(self, io);
    }

    fn backward(&self, io: Backward<'_, T>) {
        cpu::backward(self, io);
    }

    fn cuda(&self, _precision: Precision) -> Box<dyn CudaOp> {
        Box::new(cuda::Plan::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_empty_extents() {
        assert!(Problem::new(Shape::new([3]), 2).is_err());
        assert!(Problem::new(Shape::new([0, 3]), 2).is_err());
        assert!(Problem::new(Shape::new([2, 3]), 0).is_err());
    }
}
