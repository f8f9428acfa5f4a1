//! Operations: each a folder with its problem (extents, checks, cost), its serial reference, and its
//! fast CPU path. This file holds what all of them have in common.
//!
//! Activations are `(N, T, H, W, C)`, channels last; every function writes into buffers it is given and
//! allocates nothing.

use std::fmt::Debug;

use arrayvec::ArrayVec;

use crate::tensor::{Real, Shape};

mod columns;
mod cuda;
mod matmul;
pub(crate) mod parallel;
pub(crate) mod simd;
mod windows;

pub mod augment;
pub mod conv3d;
pub mod cross_entropy;
pub mod dropout;
pub mod info_nce;
pub mod instance_norm;
pub mod linear;
pub mod max_pool3d;
pub mod slot_pool;

pub use cuda::{
    CudaBackward, CudaForward, CudaGradient, CudaNormBelow, CudaOp, CudaParam, Precision, pitch, statistics,
};

/// Whether a result replaces what its buffer holds or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)] // as kernels take it
pub enum WriteMode {
    /// Replace; the buffer may hold anything before, NaN included.
    Overwrite,
    /// Add to what is there.
    Accumulate,
}

impl WriteMode {
    /// Writes `value(i)` to each `dst[i]`.
    #[inline(always)]
    pub(crate) fn store<T: Real>(self, dst: &mut [T], value: impl Fn(usize) -> T) {
        match self {
            Self::Overwrite => {
                for (i, d) in dst.iter_mut().enumerate() {
                    *d = value(i);
                }
            }
            Self::Accumulate => {
                for (i, d) in dst.iter_mut().enumerate() {
                    *d += value(i);
                }
            }
        }
    }
}

/// What a parameter is for: decides its initial value and whether L2 applies (kernels only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Weights of a convolution or a linear layer.
    Kernel,
    /// Scale γ of a norm; starts at 1.
    Scale,
    /// Shift β of a norm or bias of a linear layer; starts at 0.
    Shift,
}

/// A parameter that an operation wants.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    /// Last part of its name: `weight` or `bias`.
    pub name: &'static str,
    /// Extents in the engine's layout: `(K, T, R, S, C)` for a filter, `(C)` for a norm.
    pub shape: Shape,
    /// What it is for.
    pub kind: ParamKind,
}

/// Direction in which an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Inputs to output.
    Forward,
    /// Output gradient to input and parameter gradients.
    Backward,
}

/// Useful arithmetic and unavoidable traffic of one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations, a multiply-add counted as two; padding is not counted.
    pub flops: u64,
    /// Elements that must be read or written at least once.
    pub elements: u64,
}

/// What the backward pass reads besides the output gradient, the parameters and what was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackwardReads {
    /// The operation's inputs.
    pub inputs: bool,
    /// The operation's output.
    pub output: bool,
}

/// At most this many inputs an operation (a convolved branch and its shortcut).
pub const MAX_INPUTS: usize = 2;
/// At most this many parameters an operation (scale and shift).
pub const MAX_PARAMS: usize = 2;

/// Buffers of a forward pass.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// The inputs, in the operation's order.
    pub inputs: ArrayVec<&'a [T], MAX_INPUTS>,
    /// The parameters, in the order of [`Op::params`].
    pub params: ArrayVec<&'a [T], MAX_PARAMS>,
    /// Receives the result; holds anything before.
    pub output: &'a mut [T],
    /// Receives what backward needs: [`Op::saved_bytes`] bytes, 64-byte aligned.
    pub saved: &'a mut [u8],
    /// Scratch: [`Op::workspace_bytes`] bytes, 64-byte aligned; holds anything before and after.
    pub workspace: &'a mut [u8],
}

/// A gradient to be written.
#[derive(Debug)]
pub struct Gradient<'a, T> {
    /// Where to.
    pub data: &'a mut [T],
    /// How.
    pub mode: WriteMode,
}

/// Buffers of a backward pass.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// The forward inputs; empty slices unless [`BackwardReads::inputs`].
    pub inputs: ArrayVec<&'a [T], MAX_INPUTS>,
    /// The parameters.
    pub params: ArrayVec<&'a [T], MAX_PARAMS>,
    /// The forward output; an empty slice unless [`BackwardReads::output`].
    pub output: &'a [T],
    /// What forward saved.
    pub saved: &'a [u8],
    /// Gradient of the loss with respect to the output.
    pub dy: &'a [T],
    /// One an input; `None` where no gradient is wanted (the clips themselves).
    pub dx: ArrayVec<Option<Gradient<'a, T>>, MAX_INPUTS>,
    /// One a parameter.
    pub dparams: ArrayVec<Gradient<'a, T>, MAX_PARAMS>,
    /// Scratch, as in [`Forward`].
    pub workspace: &'a mut [u8],
}

/// A node of a graph on the CPU. Extents are fixed when it is made, so that all sizes are known before
/// anything runs. An implementation checks its problem once when constructed and trusts it afterwards.
pub trait Op<T: Real>: Debug + Send + Sync {
    /// The operation's name: `conv3d`, `instance_norm`.
    fn kind(&self) -> &'static str;
    /// Extents of the inputs.
    fn input_shapes(&self) -> ArrayVec<Shape, MAX_INPUTS>;
    /// Extents of the output.
    fn output_shape(&self) -> Shape;
    /// The parameters, in the order in which passes receive them.
    fn params(&self) -> ArrayVec<ParamSpec, MAX_PARAMS> {
        ArrayVec::new()
    }
    /// Bytes that forward leaves for backward.
    fn saved_bytes(&self) -> usize {
        0
    }
    /// Bytes of scratch.
    fn workspace_bytes(&self, _pass: Pass) -> usize {
        0
    }
    /// What backward reads.
    fn backward_reads(&self) -> BackwardReads;
    /// Arithmetic and traffic.
    fn cost(&self, pass: Pass) -> Cost;
    /// Runs forward.
    fn forward(&self, io: Forward<'_, T>);
    /// Runs backward.
    fn backward(&self, io: Backward<'_, T>);
    /// The same operation on a CUDA device.
    fn cuda(&self, precision: Precision) -> Box<dyn CudaOp>;
}
