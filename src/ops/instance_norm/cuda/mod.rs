//! Launches of `kernels/instance_norm.cu`, `kernels/instance_norm_backward.cu` and `kernels/norm_pool.cu`.

mod backward;
mod forward;
mod pooled;
mod runs;

use super::{Activation, Problem};
use crate::device::Command;
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaOp, Pass, Precision, pitch, statistics};
use runs::Vectors;

pub(super) use pooled::PooledPlan;

/// Bytes of a pair of f32: mean and reciprocal deviation, mean and squared deviations, or two sums.
const PAIR: usize = 2 * size_of::<f32>();

#[derive(Debug)]
pub(super) struct Plan {
    clips: usize,
    vectors: Vectors,
    activation: Activation,
    eps: f32,
}

impl Plan {
    pub fn new(p: &Problem, precision: Precision) -> Self {
        Self {
            clips: p.clips,
            vectors: Vectors { positions: p.positions, pitch: pitch(p.channels), precision },
            activation: p.activation,
            eps: p.eps as f32,
        }
    }

    /// Whether a block holds an instance, so that one launch does all.
    fn is_whole(&self) -> bool {
        self.vectors.positions < statistics::SMALLEST
    }

    /// Bytes of a pair for each channel of each clip.
    fn pairs(&self) -> usize {
        self.clips * self.vectors.pitch * PAIR
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        let v = &self.vectors;
        self.clips * v.positions * v.pitch * v.precision.size()
    }

    fn gradient_sums_bytes(&self) -> usize {
        if self.activation == Activation::Relu {
            statistics::bytes(self.clips, self.vectors.positions, self.vectors.pitch)
        } else {
            0
        }
    }

    /// Mean and reciprocal deviation of each instance, (N, pitch, 2).
    fn saved_bytes(&self) -> usize {
        self.pairs()
    }

    /// Partial statistics forward, unless they come with the input; backward partial sums, unless they come with the
    /// gradient, and their totals.
    fn workspace_bytes(&self, pass: Pass) -> usize {
        match pass {
            Pass::Forward => statistics::bytes(self.clips, self.vectors.positions, self.vectors.pitch),
            Pass::Backward if self.is_whole() => self.pairs(),
            Pass::Backward => self.partial_sums_bytes(&self.vectors.summed()) + self.pairs(),
        }
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: self.activation == Activation::AddRelu }
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        self.plan_forward(io, commands);
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        self.plan_backward(io, commands);
    }
}
