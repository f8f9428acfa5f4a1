//! A linear layer of a criterion, with its place among the parameters.

use std::ops::Range;

use arrayvec::ArrayVec;

use crate::Result;
use crate::ops::{Backward, Forward, Gradient, Op, Pass, WriteMode, linear};
use crate::tensor::{Real, Shape};

/// `g(x) = x·Wᵀ + b` for a fixed number of rows.
#[derive(Debug)]
pub(super) struct Head {
    op: linear::Problem,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Head {
    /// From `rows` vectors of `channels` numbers to as many of `outputs`; the parameters' places in the flat array.
    pub fn new(
        [rows, channels, outputs]: [usize; 3],
        weight: Range<usize>,
        bias: Range<usize>,
    ) -> Result<Self> {
        Ok(Self { op: linear::Problem::new(Shape::new([rows, channels]), outputs)?, weight, bias })
    }

    pub fn workspace_bytes<T: Real>(&self) -> usize {
        let bytes = |pass| Op::<T>::workspace_bytes(&self.op, pass);
        bytes(Pass::Forward).max(bytes(Pass::Backward))
    }

    pub fn project<T: Real>(&self, params: &[T], x: &[T], y: &mut [T], workspace: &mut [u8]) {
        self.op.forward(Forward {
            inputs: ArrayVec::from_iter([x]),
            params: self.params(params),
            output: y,
            saved: &mut [],
            workspace,
        });
    }

    /// From the gradient of the projections those of their inputs, the weight and the bias, all overwritten.
    pub fn differentiate<T: Real>(
        &self,
        params: &[T],
        x: &[T],
        dy: &[T],
        dx: &mut [T],
        gradients: &mut [T],
        workspace: &mut [u8],
    ) {
        let mode = WriteMode::Overwrite;
        let dparams = gradients
            .get_disjoint_mut([self.weight.clone(), self.bias.clone()])
            .expect("the layout keeps parameters apart");
        self.op.backward(Backward {
            inputs: ArrayVec::from_iter([x]),
            params: self.params(params),
            output: &[],
            saved: &[],
            dy,
            dx: ArrayVec::from_iter([Some(Gradient { data: dx, mode })]),
            dparams: dparams.map(|data| Gradient { data, mode }).into(),
            workspace,
        });
    }

    fn params<'a, T>(&self, params: &'a [T]) -> ArrayVec<&'a [T], 2> {
        [&params[self.weight.clone()], &params[self.bias.clone()]].into()
    }
}
