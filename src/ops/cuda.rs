//! What operations on a CUDA device have in common: precisions, the layout of buffers, and the trait by which an
//! operation of a graph plans its launches.
//!
//! Buffers on a device hold their channels, the last axis, at a [`pitch`]: `(N, T, H, W, C)` is stored as
//! `(N, T, H, W, pitch(C))`, a filter `(K, T, R, S, C)` as `(pitch(K), T, R, S, pitch(C))`, scale and shift `(C)` as
//! `(pitch(C))`. What is in the padding is always 0: every kernel that writes a buffer writes zeros there, and relies on
//! them in what it reads, so sums over channels need no bounds.

use std::fmt::Debug;

use arrayvec::ArrayVec;

use super::{BackwardReads, MAX_INPUTS, MAX_PARAMS, Pass, WriteMode};
use crate::device::{Address, Command};

/// The type of activations, their gradients, and the weights that are multiplied with them. Master weights, their
/// gradients, statistics, pooled vectors, projections and losses are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit, multiplied by FFMA: agrees with the CPU.
    F32,
    /// bfloat16, multiplied by tensor cores into f32 sums.
    Bf16,
}

impl Precision {
    /// Bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// One of two names of a kernel.
    pub(crate) const fn pick(self, f32: &'static str, bf16: &'static str) -> &'static str {
        match self {
            Self::F32 => f32,
            Self::Bf16 => bf16,
        }
    }
}

/// Elements from one position's channels to the next one's: 4 for up to 4 channels (RGB: 8 bytes of bf16), otherwise the
/// next multiple of 8 (16 bytes of bf16).
pub const fn pitch(channels: usize) -> usize {
    if channels <= 4 { 4 } else { channels.next_multiple_of(8) }
}

/// Partial statistics of instances: for each clip, run of [`statistics::TILE`] positions and channel the mean and the sum
/// of squared deviations from it, `(N, tiles, pitch(C), 2)` in f32, of the values as stored.
pub mod statistics {
    use super::pitch;

    /// Positions of a run; the last one of a clip may be shorter.
    pub const TILE: usize = 128;
    /// Instances of at least so many positions have partial statistics; smaller ones are normalised by a block that
    /// holds them whole.
    pub const SMALLEST: usize = 1024;

    /// Runs of a clip.
    pub const fn tiles(positions: usize) -> usize {
        positions.div_ceil(TILE)
    }

    /// Bytes of the partial statistics of `(clips, positions, channels)`; 0 if such instances have none.
    pub const fn bytes(clips: usize, positions: usize, channels: usize) -> usize {
        if positions < SMALLEST {
            0
        } else {
            clips * tiles(positions) * pitch(channels) * 2 * size_of::<f32>()
        }
    }
}

/// A parameter on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaParam {
    /// The f32 master.
    pub master: Address,
    /// The same in the precision of activations: the master itself in f32, its bf16 copy otherwise.
    pub compute: Address,
}

/// Buffers of a forward pass. All start at multiples of 256 bytes, but for parameters: of 64.
#[derive(Clone, Debug)]
pub struct CudaForward {
    /// The inputs.
    pub inputs: ArrayVec<Address, MAX_INPUTS>,
    /// Partial [`statistics`] of the first input, if what computed it made them; otherwise null.
    pub statistics: Address,
    /// The parameters.
    pub params: ArrayVec<CudaParam, MAX_PARAMS>,
    /// Receives the result.
    pub output: Address,
    /// Receives the output's partial statistics, if [`CudaOp::statistics_bytes`] is not 0.
    pub output_statistics: Address,
    /// Receives what backward needs.
    pub saved: Address,
    /// Scratch.
    pub workspace: Address,
}

/// A gradient to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaGradient {
    /// Where to.
    pub at: Address,
    /// How.
    pub mode: WriteMode,
}

/// The instance norm with a ReLU that made an input. Its own gradient starts from the sums Σg and Σ(g·x̂) of each channel,
/// g being the gradient of that input where the ReLU let through: what writes the gradient can leave them on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaNormBelow {
    /// The norm's input.
    pub x: Address,
    /// Its scale, f32.
    pub gamma: Address,
    /// Its shift, f32.
    pub beta: Address,
    /// Mean and reciprocal deviation, `(N, pitch(C), 2)` in f32.
    pub saved: Address,
    /// Receives the sums, of the runs of partial [`statistics`] and laid out as they are.
    pub sums: Address,
}

/// Buffers of a backward pass.
#[derive(Clone, Debug)]
pub struct CudaBackward {
    /// The forward inputs; null unless [`BackwardReads::inputs`].
    pub inputs: ArrayVec<Address, MAX_INPUTS>,
    /// The parameters.
    pub params: ArrayVec<CudaParam, MAX_PARAMS>,
    /// The forward output; null unless [`BackwardReads::output`].
    pub output: Address,
    /// What forward saved.
    pub saved: Address,
    /// Gradient with respect to the output, laid out and of the type of the output.
    pub dy: Address,
    /// Partial sums of `dy` as [`CudaNormBelow::sums`], if what wrote it left them; otherwise null.
    pub dy_sums: Address,
    /// The norm whose sums are wanted besides the gradient of the first input, which is then written and not added.
    pub norm_below: Option<CudaNormBelow>,
    /// One an input, of the type of the input; `None` where no gradient is wanted.
    pub dx: ArrayVec<Option<CudaGradient>, MAX_INPUTS>,
    /// One a parameter, in f32 and laid out as its master.
    pub dparams: ArrayVec<CudaGradient, MAX_PARAMS>,
    /// Scratch.
    pub workspace: Address,
}

/// A node of a graph on a CUDA device. It is a plan: it appends launches to a list and runs nothing.
pub trait CudaOp: Debug + Send + Sync {
    /// Bytes of the output, and of its gradient.
    fn output_bytes(&self) -> usize;
    /// Bytes of the partial [`statistics`] of the output that forward makes on the way.
    fn statistics_bytes(&self) -> usize {
        0
    }
    /// Whether backward can leave the sums of a [`CudaNormBelow`].
    fn sums_norm_below(&self) -> bool {
        false
    }
    /// Bytes of the partial sums of the output's gradient that backward takes from what writes it; 0 if it takes none.
    fn gradient_sums_bytes(&self) -> usize {
        0
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
    /// Appends the launches of the forward pass.
    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>);
    /// Appends the launches of the backward pass.
    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitches_fill_vectors() {
        let found = [1, 3, 4, 5, 8, 83, 144, 921].map(pitch);
        assert_eq!(found, [4, 4, 4, 8, 8, 88, 144, 928]);
    }

    #[test]
    fn small_instances_have_no_partial_statistics() {
        assert_eq!(statistics::bytes(2, 1023, 64), 0);
        assert_eq!(statistics::bytes(2, 1025, 83), 2 * 9 * 88 * 8);
    }
}
