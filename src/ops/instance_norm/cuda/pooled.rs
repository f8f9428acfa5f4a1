//! Norm, ReLU and max-pool: the statistics of a norm, then one pass over the windows; backward two passes, and what adds up
//! the sums of the first.

use bytemuck::{Pod, Zeroable};

use super::runs::{Runs, Vectors};
use super::{PAIR, Plan};
use crate::device::{Address, Command, Launch};
use crate::ops::instance_norm::Pooled;
use crate::ops::windows::{WindowArgs, Windows};
use crate::ops::{BackwardReads, CudaBackward, CudaForward, CudaOp, Pass, Precision, statistics};

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    dy: Address,
    dx: Address,
    won: Address,
    gamma: Address,
    beta: Address,
    saved: Address,
    partials: Address,
    totals: Address,
    runs: Runs,
    windows: WindowArgs,
    over: [u32; 3],
    dx_mode: u32,
}

#[derive(Debug)]
pub(in crate::ops::instance_norm) struct PooledPlan {
    norm: Plan,
    windows: Windows,
}

impl PooledPlan {
    pub fn new(p: &Pooled, precision: Precision) -> Self {
        Self { norm: Plan::new(&p.norm, precision), windows: p.windows.clone() }
    }

    /// Channels of `extents` as vectors.
    fn vectors(&self, extents: [usize; 3]) -> Vectors {
        let Vectors { pitch, precision, .. } = self.norm.vectors;
        Vectors { positions: extents.iter().product(), pitch, precision }
    }

    /// Runs of partial statistics. Those of a small instance are it: nothing makes them on the way, and they then have the
    /// bits of the norm alone.
    fn tiles(&self) -> Runs {
        let v = &self.norm.vectors;
        v.held(if self.norm.is_whole() { v.positions } else { statistics::TILE })
    }

    /// What a thread of the backward passes owns: cells if windows lie apart, otherwise inputs.
    fn owned(&self) -> [usize; 3] {
        if self.windows.is_apart() { self.windows.cells() } else { self.windows.input }
    }

    fn summed(&self) -> Runs {
        self.vectors(self.owned()).summed()
    }

    fn outputs(&self) -> usize {
        self.norm.clips * self.windows.outputs() * self.norm.vectors.pitch
    }

    /// The kernel for this precision and pitch, of three for windows that overlap and three for windows apart.
    fn pick(&self, overlapping: [&'static str; 3], apart: [&'static str; 3]) -> &'static str {
        let [f32, bf16, narrow] = if self.windows.is_apart() { apart } else { overlapping };
        self.norm.vectors.pick(f32, bf16, narrow)
    }

    /// What both passes share.
    fn args(&self, x: Address, saved: Address, runs: Runs, over: [usize; 3]) -> Args {
        Args {
            x,
            saved,
            won: saved.offset(self.norm.pairs()),
            runs,
            windows: self.windows.args(self.norm.vectors.pitch),
            over: over.map(|v| v as u32),
            ..Args::zeroed()
        }
    }

    fn launch(&self, kernel: &'static str, args: &Args) -> Command {
        Launch::new(kernel, args.runs.grid(self.norm.clips), args.runs.threads(), 0, args).into()
    }
}

impl CudaOp for PooledPlan {
    fn output_bytes(&self) -> usize {
        self.outputs() * self.norm.vectors.precision.size()
    }

    /// Mean and reciprocal deviation of each instance, (N, pitch, 2); then one byte an output: the winner's place in its
    /// window, in raster order.
    fn saved_bytes(&self) -> usize {
        self.norm.pairs() + self.outputs()
    }

    /// Partial statistics forward, unless they come with the input; backward partial sums, and their totals.
    fn workspace_bytes(&self, pass: Pass) -> usize {
        match pass {
            Pass::Forward => self.norm.clips * self.tiles().runs() * self.norm.vectors.pitch * PAIR,
            Pass::Backward => self.norm.partial_sums_bytes(&self.summed()) + self.norm.pairs(),
        }
    }

    fn backward_reads(&self) -> BackwardReads {
        BackwardReads { inputs: true, output: false }
    }

    fn forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        self.norm.plan_statistics(io, self.tiles(), commands);
        let over = self.windows.output;
        let v = self.vectors(over);
        let args = Args {
            y: io.output,
            gamma: io.params[0].master,
            beta: io.params[1].master,
            ..self.args(io.inputs[0], io.saved, v.streamed(), over)
        };
        let kernel =
            v.pick("norm_pool_forward_f32", "norm_pool_forward_bf16", "norm_pool_forward_bf16_narrow");
        commands.push(self.launch(kernel, &args));
    }

    fn backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let (over, summed) = (self.owned(), self.summed());
        let sums = Args {
            dy: io.dy,
            gamma: io.params[0].master,
            beta: io.params[1].master,
            partials: io.workspace,
            totals: self.norm.totals(io, Some(&summed)),
            ..self.args(io.inputs[0], io.saved, summed, over)
        };
        let kernel = self.pick(
            [
                "norm_pool_backward_sums_f32",
                "norm_pool_backward_sums_bf16",
                "norm_pool_backward_sums_bf16_narrow",
            ],
            [
                "norm_pool_backward_sums_apart_f32",
                "norm_pool_backward_sums_apart_bf16",
                "norm_pool_backward_sums_apart_bf16_narrow",
            ],
        );
        commands.push(self.launch(kernel, &sums));
        self.norm.plan_totals(io, &summed, commands);
        if let Some(dx) = io.dx[0] {
            let args =
                Args { dx: dx.at, dx_mode: dx.mode as u32, runs: self.vectors(over).streamed(), ..sums };
            let kernel = self.pick(
                [
                    "norm_pool_backward_apply_f32",
                    "norm_pool_backward_apply_bf16",
                    "norm_pool_backward_apply_bf16_narrow",
                ],
                [
                    "norm_pool_backward_apply_apart_f32",
                    "norm_pool_backward_apply_apart_bf16",
                    "norm_pool_backward_apply_apart_bf16_narrow",
                ],
            );
            commands.push(self.launch(kernel, &args));
        }
        self.norm.plan_parameters(io, Some(&summed), commands);
    }
}
