//! Small instances in one launch, large ones in two or three.

use bytemuck::{Pod, Zeroable};

use super::Plan;
use super::runs::{MERGE_THREADS, Runs};
use crate::device::{Address, Command, Launch};
use crate::ops::{CudaForward, statistics};

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    residual: Address,
    y: Address,
    gamma: Address,
    beta: Address,
    partials: Address,
    saved: Address,
    runs: Runs,
    activation: u32,
    eps: f32,
}

impl Plan {
    fn forward_args(&self, io: &CudaForward, runs: Runs) -> Args {
        let given = io.statistics != Address::NULL;
        Args {
            x: io.inputs[0],
            residual: io.inputs.get(1).copied().unwrap_or_default(),
            y: io.output,
            gamma: io.params[0].master,
            beta: io.params[1].master,
            partials: if given { io.statistics } else { io.workspace },
            saved: io.saved,
            runs,
            activation: self.activation as u32,
            eps: self.eps,
        }
    }

    /// Mean and reciprocal deviation of each instance, by way of partial statistics of these runs, given or made here.
    pub(super) fn plan_statistics(&self, io: &CudaForward, tiles: Runs, commands: &mut Vec<Command>) {
        let v = &self.vectors;
        if io.statistics == Address::NULL {
            let kernel = v.pick(
                "instance_norm_statistics_f32",
                "instance_norm_statistics_bf16",
                "instance_norm_statistics_bf16_narrow",
            );
            let (args, shared) = (self.forward_args(io, tiles), v.held_bytes(&tiles, 1));
            commands.push(Launch::new(kernel, tiles.grid(self.clips), tiles.threads(), shared, &args).into());
        }
        let merging = tiles.merging();
        let (grid, args) = (merging.merging_grid(self.clips), self.forward_args(io, merging));
        commands.push(Launch::new("instance_norm_merge", grid, MERGE_THREADS, 0, &args).into());
    }

    pub(super) fn plan_forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let v = &self.vectors;
        let (kernel, runs, shared) = if self.is_whole() {
            let kernel = v.pick(
                "instance_norm_whole_f32",
                "instance_norm_whole_bf16",
                "instance_norm_whole_bf16_narrow",
            );
            let runs = v.held(v.positions);
            (kernel, runs, v.held_bytes(&runs, 1))
        } else {
            self.plan_statistics(io, v.held(statistics::TILE), commands);
            let kernel = v.pick(
                "instance_norm_apply_f32",
                "instance_norm_apply_bf16",
                "instance_norm_apply_bf16_narrow",
            );
            (kernel, v.streamed(), 0)
        };
        let args = self.forward_args(io, runs);
        commands.push(Launch::new(kernel, runs.grid(self.clips), runs.threads(), shared, &args).into());
    }
}
