//! Launches of `kernels/conv3d_*.cu`.

use super::{Conv3d, Problem};
use crate::device::Command;
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaOp, Pass, Precision, pitch, statistics};

mod gather;
mod tile;
mod wgrad;

/// Forward and the two gradients; backward runs them one after the other in the same workspace.
#[derive(Debug)]
pub(super) struct Plan {
    problem: Problem,
    precision: Precision,
    fprop: gather::Plan,
    dgrad: gather::Plan,
    flip: gather::Flip,
    wgrad: wgrad::Plan,
}

impl Plan {
    /// # Panics
    /// If kernels, which count positions in 32 bits, cannot count those of `op`.
    pub fn new(op: &Conv3d, precision: Precision) -> Self {
        let p = op.problem;
        for positions in [p.x_len() / p.c(), p.y_len() / p.k()] {
            assert!(positions < 1 << 30, "conv3d: {positions} positions in a chunk; use smaller chunks");
        }
        Self {
            problem: p,
            precision,
            fprop: gather::Plan::fprop(&p, precision),
            dgrad: gather::Plan::dgrad(&p, precision),
            flip: gather::Flip::new(&p, precision),
            wgrad: wgrad::Plan::new(&p, precision),
        }
    }
}

impl CudaOp for Plan {
    fn output_bytes(&self) -> usize {
        self.problem.y_len() / self.problem.k() * pitch(self.problem.k()) * self.precision.size()
    }

    fn statistics_bytes(&self) -> usize {
        let p = &self.problem;
        statistics::bytes(p.n(), p.output().iter().product(), p.k())
    }

    fn sums_norm_below(&self) -> bool {
        self.problem.stride() == [1; 3]
    }

    fn workspace_bytes(&self, pass: Pass) -> usize {
        match pass {
            Pass::Forward => 0,
            Pass::Backward => self.flip.bytes().max(self.wgrad.workspace_bytes()),
        }
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: false }
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let weight = io.params[0].compute;
        commands.push(self.fprop.write(io.inputs[0], weight, io.output, io.output_statistics));
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        self.wgrad.launch(io.inputs[0], io.dy, io.dparams[0], io.workspace, commands);
        if let Some(dx) = io.dx[0] {
            commands.push(self.flip.launch(io.params[0].compute, io.workspace));
            commands.push(self.dgrad.gradient(io.dy, io.workspace, dx, io.norm_below.as_ref()));
        }
    }
}
