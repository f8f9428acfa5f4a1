//! Small instances in two launches, large ones in four; the last one adds up γ's and β's gradients over clips.

use bytemuck::{Pod, Zeroable};

use super::runs::{MERGE_THREADS, Runs};
use super::{Activation, PAIR, Plan};
use crate::device::{Address, Command, Launch};
use crate::ops::{CudaBackward, CudaGradient, WriteMode};

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    x: Address,
    y: Address,
    dy: Address,
    dx: Address,
    dresidual: Address,
    gamma: Address,
    beta: Address,
    saved: Address,
    partials: Address,
    totals: Address,
    dgamma: Address,
    dbeta: Address,
    runs: Runs,
    clips: u32,
    activation: u32,
    dx_mode: u32,
    dresidual_mode: u32,
    dgamma_mode: u32,
    dbeta_mode: u32,
}

/// A gradient that nobody wants.
const UNWANTED: CudaGradient = CudaGradient { at: Address::NULL, mode: WriteMode::Overwrite };

impl Plan {
    /// Bytes of the sums of each run of each clip.
    pub(super) fn partial_sums_bytes(&self) -> usize {
        self.clips * self.vectors.summed().runs() * self.vectors.pitch * PAIR
    }

    pub(super) fn plan_backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let v = &self.vectors;
        let gradient = |i: usize| io.dx.get(i).copied().flatten().unwrap_or(UNWANTED);
        let (dx, dresidual) = (gradient(0), gradient(1));
        let sums = v.summed();
        let before_totals = if self.is_whole() { 0 } else { self.partial_sums_bytes() };
        let args = |runs| Args {
            x: io.inputs[0],
            y: io.output,
            dy: io.dy,
            dx: dx.at,
            dresidual: dresidual.at,
            gamma: io.params[0].master,
            beta: io.params[1].master,
            saved: io.saved,
            partials: io.workspace,
            totals: io.workspace.offset(before_totals),
            dgamma: io.dparams[0].at,
            dbeta: io.dparams[1].at,
            runs,
            clips: self.clips as u32,
            activation: self.activation as u32,
            dx_mode: dx.mode as u32,
            dresidual_mode: dresidual.mode as u32,
            dgamma_mode: io.dparams[0].mode as u32,
            dbeta_mode: io.dparams[1].mode as u32,
        };
        let mut launch = |kernel, grid, threads, shared, args: &Args| {
            commands.push(Launch::new(kernel, grid, threads, shared, args).into());
        };
        let totals = sums.merging();
        if self.is_whole() {
            let kernel = v.pick(
                "instance_norm_backward_whole_f32",
                "instance_norm_backward_whole_bf16",
                "instance_norm_backward_whole_bf16_narrow",
            );
            let runs = v.held(v.positions);
            let shared = v.held_bytes(&runs, 2);
            launch(kernel, runs.grid(self.clips), runs.threads(), shared, &args(runs));
        } else {
            let kernel = v.pick(
                "instance_norm_backward_sums_f32",
                "instance_norm_backward_sums_bf16",
                "instance_norm_backward_sums_bf16_narrow",
            );
            launch(kernel, sums.grid(self.clips), sums.threads(), 0, &args(sums));
            let kernel = "instance_norm_backward_merge";
            launch(kernel, totals.merging_grid(self.clips), MERGE_THREADS, 0, &args(totals));
        }
        if dx != UNWANTED && !self.is_whole() {
            let kernel = v.pick(
                "instance_norm_backward_apply_f32",
                "instance_norm_backward_apply_bf16",
                "instance_norm_backward_apply_bf16_narrow",
            );
            let runs = v.streamed();
            let mut args = Args { dresidual: Address::NULL, ..args(runs) };
            if dresidual != UNWANTED && dresidual.mode == WriteMode::Overwrite {
                // The residual's gradient is dy behind the mask: one buffer to read instead of two.
                (args.dy, args.activation) = (dresidual.at, Activation::Plain as u32);
            }
            launch(kernel, runs.grid(self.clips), runs.threads(), 0, &args);
        }
        let kernel = "instance_norm_backward_parameters";
        launch(kernel, totals.merging_grid(1), MERGE_THREADS, 0, &args(totals));
    }
}
