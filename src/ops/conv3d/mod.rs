//! Three-dimensional convolution without bias, by which a 2-D (1×k×k) or temporal (k×1×1) filter is a case
//! of its own: `y = x ⋆ w`, and the two gradients `dx` (dgrad) and `dw` (wgrad).
//!
//! Layouts: activation `(N, T, H, W, C)`, filter `(K, T, R, S, C)`, output `(N, Z, P, Q, K)`.

use arrayvec::ArrayVec;

use super::{
    Backward, BackwardReads, Cost, CudaOp, Forward, Op, ParamKind, ParamSpec, Pass, Precision, WriteMode,
};
use crate::tensor::{Real, Shape};
use crate::{Error, Result};

mod axis;
mod cpu;
mod cuda;
mod gather;
mod panel;
pub mod reference;
mod rows;
mod wgrad;

const OP: &str = "conv3d";

/// Extents of a convolution; the order within a triple is time, height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    n: usize,
    c: usize,
    k: usize,
    input: [usize; 3],
    filter: [usize; 3],
    stride: [usize; 3],
    pad: [usize; 3],
    output: [usize; 3],
}

impl Problem {
    /// `n` clips of `c` channels, `k` filters. Padding is zeros on both sides of each axis.
    ///
    /// # Errors
    /// [`Error::Shape`] if an extent or stride is zero, or the filter is larger than the padded input.
    pub fn new(
        n: usize,
        c: usize,
        k: usize,
        input: [usize; 3],
        filter: [usize; 3],
        stride: [usize; 3],
        pad: [usize; 3],
    ) -> Result<Self> {
        let positive = [n, c, k].iter().chain(&input).chain(&filter).chain(&stride).all(|&v| v > 0);
        if !positive {
            return Err(Error::shape(
                OP,
                format!(
                    "an extent is zero: N {n}, C {c}, K {k}, input {input:?}, filter {filter:?}, stride {stride:?}"
                ),
                "every extent and stride is at least 1",
            ));
        }
        let mut output = [0; 3];
        for i in 0..3 {
            let padded = input[i] + 2 * pad[i];
            if filter[i] > padded {
                return Err(Error::shape(
                    OP,
                    format!("filter {filter:?} exceeds the input {input:?} padded by {pad:?}"),
                    "use more frames or a larger crop, or a smaller filter",
                ));
            }
            output[i] = (padded - filter[i]) / stride[i] + 1;
        }
        Ok(Self { n, c, k, input, filter, stride, pad, output })
    }

    /// Clips.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input channels.
    pub fn c(&self) -> usize {
        self.c
    }

    /// Output channels.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Input extents.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Filter extents.
    pub fn filter(&self) -> [usize; 3] {
        self.filter
    }

    /// Strides.
    pub fn stride(&self) -> [usize; 3] {
        self.stride
    }

    /// Zeros on each side.
    pub fn pad(&self) -> [usize; 3] {
        self.pad
    }

    /// Output extents.
    pub fn output(&self) -> [usize; 3] {
        self.output
    }

    /// Filter positions: `T·R·S`.
    pub fn taps(&self) -> usize {
        self.filter.iter().product()
    }

    /// Elements of `x`.
    pub fn x_len(&self) -> usize {
        self.n * self.input.iter().product::<usize>() * self.c
    }

    /// Elements of `w`.
    pub fn w_len(&self) -> usize {
        self.k * self.taps() * self.c
    }

    /// Elements of `y`.
    pub fn y_len(&self) -> usize {
        self.n * self.output.iter().product::<usize>() * self.k
    }

    /// FLOPs of one of the three passes, `2·N·Z·P·Q·K·T·R·S·C`; taps that fall on padding are counted, as is
    /// usual.
    pub fn flops(&self) -> u64 {
        2 * (self.y_len() as u64) * (self.taps() * self.c) as u64
    }
}

/// The graph node: input `x`, parameter `weight`, output `y`.
#[derive(Debug)]
pub struct Conv3d {
    problem: Problem,
    plan: cpu::Plan,
}

impl Conv3d {
    /// Plans a convolution; allocates its index tables here so that no pass does.
    pub fn new(problem: Problem) -> Self {
        Self { problem, plan: cpu::Plan::new(&problem) }
    }

    /// `y = x ⋆ w`; `workspace` as [`Op::workspace_bytes`] says, in elements.
    pub fn fprop<T: Real>(&self, x: &[T], w: &[T], y: &mut [T], workspace: &mut [T]) {
        self.plan.fprop(x, w, y, workspace);
    }

    /// `dx`, the gradient with respect to the input.
    pub fn dgrad<T: Real>(&self, dy: &[T], w: &[T], dx: &mut [T], mode: WriteMode, workspace: &mut [T]) {
        self.plan.dgrad(dy, w, dx, mode, workspace);
    }

    /// `dw`, the gradient with respect to the filter.
    pub fn wgrad<T: Real>(&self, x: &[T], dy: &[T], dw: &mut [T], mode: WriteMode, workspace: &mut [T]) {
        self.plan.wgrad(x, dy, dw, mode, workspace);
    }
}

impl<T: Real> Op<T> for Conv3d {
    fn kind(&self) -> &'static str {
        OP
    }

    fn input_shapes(&self) -> ArrayVec<Shape, { super::MAX_INPUTS }> {
        let p = &self.problem;
        ArrayVec::from_iter([Shape::new([p.n, p.input[0], p.input[1], p.input[2], p.c])])
    }

    fn output_shape(&self) -> Shape {
        let p = &self.problem;
        Shape::new([p.n, p.output[0], p.output[1], p.output[2], p.k])
    }

    fn params(&self) -> ArrayVec<ParamSpec, { super::MAX_PARAMS }> {
        let p = &self.problem;
        let shape = Shape::new([p.k, p.filter[0], p.filter[1], p.filter[2], p.c]);
        ArrayVec::from_iter([ParamSpec { name: "weight", shape, kind: ParamKind::Kernel }])
    }

    fn workspace_bytes(&self, pass: Pass) -> usize {
        let elements = match pass {
            Pass::Forward => self.plan.fprop_workspace::<T>(),
            Pass::Backward => self.plan.dgrad_workspace::<T>().max(self.plan.wgrad_workspace::<T>()),
        };
        elements * size_of::<T>()
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: false }
    }

    fn cost(&self, pass: Pass) -> Cost {
        let p = &self.problem;
        let elements = (p.x_len() + p.w_len() + p.y_len()) as u64;
        match pass {
            Pass::Forward => Cost { flops: p.flops(), elements },
            Pass::Backward => Cost { flops: 2 * p.flops(), elements: 2 * elements },
        }
    }

    fn forward(&self, io: Forward<'_, T>) {
        let workspace = bytemuck::cast_slice_mut(io.workspace);
        self.fprop(io.inputs[0], io.params[0], io.output, workspace);
    }

    fn backward(&self, mut io: Backward<'_, T>) {
        let workspace = bytemuck::cast_slice_mut(io.workspace);
        let dw = &mut io.dparams[0];
        self.wgrad(io.inputs[0], io.dy, dw.data, dw.mode, workspace);
        if let Some(dx) = &mut io.dx[0] {
            self.dgrad(io.dy, io.params[0], dx.data, dx.mode, workspace);
        }
    }

    fn cuda(&self, precision: Precision) -> Box<dyn CudaOp> {
        Box::new(cuda::Plan::new(self, precision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_extents_follow_the_usual_formula() {
        let stem = Problem::new(2, 3, 64, [16, 112, 112], [7, 7, 7], [1, 2, 2], [3, 3, 3]).unwrap();
        assert_eq!(stem.output(), [16, 56, 56]);
        assert_eq!(stem.flops(), 2 * 2 * (64 * 50_176) * (3 * 343)); // outputs × terms of each
    }

    #[test]
    fn a_filter_larger_than_the_padded_input_is_refused() {
        let e = Problem::new(1, 1, 1, [1, 4, 4], [3, 3, 3], [1, 1, 1], [0, 1, 1]).unwrap_err().to_string();
        assert!(e.contains("exceeds the input") && e.contains("help"), "{e}");
    }
}
