//! Means over positions. S-Avg: over H and W, one vector a time slot, `(N, T, H, W, C) → (N, T, C)`.
//! G-Avg: over all slots, `(N, T, C) → (N, C)`; as all slots have as many positions, that of S-Avg's result
//! is the mean over T, H and W.

mod cpu;
mod cuda;
pub mod reference;

use arrayvec::ArrayVec;

use super::{Backward, BackwardReads, Cost, CudaOp, Forward, MAX_INPUTS, Op, Pass, Precision};
use crate::tensor::{Real, Shape};
use crate::{Error, Result};

pub use cuda::{CudaMean, backward, forward};

/// Mean over the middle axis of `(groups, positions, channels)`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    kind: &'static str,
    input: Shape,
    output: Shape,
    groups: usize,
    positions: usize,
    channels: usize,
}

impl Problem {
    /// S-Avg of `(N, T, H, W, C)`.
    ///
    /// # Errors
    /// Other than five extents, or one of 0.
    pub fn slots(shape: Shape) -> Result<Self> {
        match *shape.dims() {
            [n, t, h, w, c] => Self::new("slot_pool", shape, Shape::new([n, t, c]), [n * t, h * w, c]),
            _ => Err(Error::shape("slot_pool", format!("input is {shape}"), "give (N, T, H, W, C)")),
        }
    }

    /// G-Avg of `(N, T, C)`.
    ///
    /// # Errors
    /// Other than three extents, or one of 0.
    pub fn global(shape: Shape) -> Result<Self> {
        match *shape.dims() {
            [n, t, c] => Self::new("global_pool", shape, Shape::new([n, c]), [n, t, c]),
            _ => Err(Error::shape("global_pool", format!("input is {shape}"), "give (N, T, C)")),
        }
    }

    fn new(kind: &'static str, input: Shape, output: Shape, extents: [usize; 3]) -> Result<Self> {
        if input.numel() == 0 {
            return Err(Error::shape(kind, format!("input is {input}"), "every extent must be at least 1"));
        }
        let [groups, positions, channels] = extents;
        Ok(Self { kind, input, output, groups, positions, channels })
    }
}

impl<T: Real> Op<T> for Problem {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS> {
        [self.input.clone()].into_iter().collect()
    }

    fn output_shape(&self) -> Shape {
        self.output.clone()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads::default()
    }

    fn cost(&self, _pass: Pass) -> Cost {
        let (input, output) = (self.input.numel() as u64, self.output.numel() as u64);
        Cost { flops: input, elements: input + output }
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
    fn refuses_other_ranks_and_empty_extents() {
        assert!(Problem::slots(Shape::new([2, 3, 4])).is_err());
        assert!(Problem::slots(Shape::new([2, 3, 0, 2, 4])).is_err());
        assert!(Problem::global(Shape::new([2, 3, 4, 5])).is_err());
        assert!(Problem::global(Shape::new([0, 3, 4])).is_err());
    }
}
