//! Small instances in two launches, large ones in four, or three if the sums of the gradient come with it; the last one
//! adds up γ's and β's gradients over clips.

use bytemuck::{Pod, Zeroable};

use super::runs::{MERGE_THREADS, Runs};
use super::{Activation, PAIR, Plan};
use crate::device::{Address, Command, Launch};
use crate::ops::{CudaBackward, CudaGradient, WriteMode, statistics};

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
    pub(super) fn partial_sums_bytes(&self, summed: &Runs) -> usize {
        self.clips * summed.runs() * self.vectors.pitch * PAIR
    }

    /// What all launches share. Workspace holds partial sums of `summed` runs, if they are made here, then totals.
    fn backward_args(&self, io: &CudaBackward, summed: Option<&Runs>, runs: Runs) -> Args {
        let gradient = |i: usize| io.dx.get(i).copied().flatten().unwrap_or(UNWANTED);
        let (dx, dresidual) = (gradient(0), gradient(1));
        Args {
            x: io.inputs[0],
            y: io.output,
            dy: io.dy,
            dx: dx.at,
            dresidual: dresidual.at,
            gamma: io.params[0].master,
            beta: io.params[1].master,
            saved: io.saved,
            partials: if io.dy_sums == Address::NULL { io.workspace } else { io.dy_sums },
            totals: self.totals(io, summed),
            dgamma: io.dparams[0].at,
            dbeta: io.dparams[1].at,
            runs,
            clips: self.clips as u32,
            activation: self.activation as u32,
            dx_mode: dx.mode as u32,
            dresidual_mode: dresidual.mode as u32,
            dgamma_mode: io.dparams[0].mode as u32,
            dbeta_mode: io.dparams[1].mode as u32,
        }
    }

    /// Where the totals of each clip are.
    pub(super) fn totals(&self, io: &CudaBackward, summed: Option<&Runs>) -> Address {
        let before = summed.filter(|_| io.dy_sums == Address::NULL);
        io.workspace.offset(before.map_or(0, |summed| self.partial_sums_bytes(summed)))
    }

    /// From the sums of runs to the totals of each clip.
    pub(super) fn plan_totals(&self, io: &CudaBackward, summed: &Runs, commands: &mut Vec<Command>) {
        let totals = summed.merging();
        let (grid, args) = (totals.merging_grid(self.clips), self.backward_args(io, Some(summed), totals));
        commands.push(Launch::new("instance_norm_backward_merge", grid, MERGE_THREADS, 0, &args).into());
    }

    /// From the totals of clips to γ's and β's gradients.
    pub(super) fn plan_parameters(
        &self,
        io: &CudaBackward,
        summed: Option<&Runs>,
        commands: &mut Vec<Command>,
    ) {
        let totals = self.vectors.summed().merging();
        let (grid, args) = (totals.merging_grid(1), self.backward_args(io, summed, totals));
        commands.push(Launch::new("instance_norm_backward_parameters", grid, MERGE_THREADS, 0, &args).into());
    }

    pub(super) fn plan_backward(&self, io: &CudaBackward, commands: &mut Vec<Command>) {
        let v = &self.vectors;
        let launch = |commands: &mut Vec<Command>, kernel, runs: Runs, shared, args: &Args| {
            commands.push(Launch::new(kernel, runs.grid(self.clips), runs.threads(), shared, args).into());
        };
        if self.is_whole() {
            let kernel = v.pick(
                "instance_norm_backward_whole_f32",
                "instance_norm_backward_whole_bf16",
                "instance_norm_backward_whole_bf16_narrow",
            );
            let runs = v.held(v.positions);
            launch(commands, kernel, runs, v.held_bytes(&runs, 2), &self.backward_args(io, None, runs));
            self.plan_parameters(io, None, commands);
            return;
        }
        let given = io.dy_sums != Address::NULL;
        let sums = if given { v.held(statistics::TILE) } else { v.summed() };
        if !given {
            let kernel = v.pick(
                "instance_norm_backward_sums_f32",
                "instance_norm_backward_sums_bf16",
                "instance_norm_backward_sums_bf16_narrow",
            );
            launch(commands, kernel, sums, 0, &self.backward_args(io, Some(&sums), sums));
        }
        self.plan_totals(io, &sums, commands);
        if io.dx[0].is_some() {
            let kernel = v.pick(
                "instance_norm_backward_apply_f32",
                "instance_norm_backward_apply_bf16",
                "instance_norm_backward_apply_bf16_narrow",
            );
            let runs = v.streamed();
            let mut args = Args { dresidual: Address::NULL, ..self.backward_args(io, Some(&sums), runs) };
            if let Some(&Some(CudaGradient { at, mode: WriteMode::Overwrite })) = io.dx.get(1) {
                // The residual's gradient is dy behind the mask: one buffer to read instead of two.
                (args.dy, args.activation) = (at, Activation::Plain as u32);
            }
            launch(commands, kernel, runs, 0, &args);
        }
        self.plan_parameters(io, Some(&sums), commands);
    }
}
