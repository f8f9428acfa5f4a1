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
    pub(super) fn plan_forward(&self, io: &CudaForward, commands: &mut Vec<Command>) {
        let v = &self.vectors;
        let given = io.statistics != Address::NULL;
        let args = |runs| Args {
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
        };
        let mut launch = |kernel, grid, threads, shared, runs| {
            commands.push(Launch::new(kernel, grid, threads, shared, &args(runs)).into());
        };
        if self.is_whole() {
            let kernel = v.pick(
                "instance_norm_whole_f32",
                "instance_norm_whole_bf16",
                "instance_norm_whole_bf16_narrow",
            );
            let runs = v.held(v.positions);
            launch(kernel, runs.grid(self.clips), runs.threads(), v.held_bytes(&runs, 1), runs);
            return;
        }
        let tiles = v.held(statistics::TILE);
        if !given {
            let kernel = v.pick(
                "instance_norm_statistics_f32",
                "instance_norm_statistics_bf16",
                "instance_norm_statistics_bf16_narrow",
            );
            launch(kernel, tiles.grid(self.clips), tiles.threads(), v.held_bytes(&tiles, 1), tiles);
        }
        let (merging, runs) = (tiles.merging(), v.streamed());
        let kernel =
            v.pick("instance_norm_apply_f32", "instance_norm_apply_bf16", "instance_norm_apply_bf16_narrow");
        launch("instance_norm_merge", merging.merging_grid(self.clips), MERGE_THREADS, 0, merging);
        launch(kernel, runs.grid(self.clips), runs.threads(), 0, runs);
    }
}
