//! The launches of `kernels/cross_entropy.cu`.

use bytemuck::{Pod, Zeroable};

use super::Problem;
use crate::device::{Address, Command, Launch};
use crate::ops::pitch;

const THREADS: u32 = 256;
const WARPS: usize = 8;

/// As the kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Args {
    z: Address,
    labels: Address,
    dz: Address,
    rows: Address,
    losses: Address,
    count: u32,
    classes: u32,
    pitch: u32,
    unused: u32,
}

/// Buffers on a device.
#[derive(Clone, Copy, Debug)]
pub struct CudaIo {
    /// Logits, `(rows, pitch(classes))`, f32.
    pub logits: Address,
    /// The class of each row, `(rows)`, u32.
    pub labels: Address,
    /// Receives the gradient of the mean, `(rows, pitch(classes))`, f32.
    pub d_logits: Address,
    /// Receives the mean loss and the fraction of rows that are right, two f64.
    pub losses: Address,
    /// Scratch: [`Problem::cuda_workspace_bytes`].
    pub workspace: Address,
}

impl Problem {
    /// Bytes of scratch on a device: two f64 a row.
    pub fn cuda_workspace_bytes(&self) -> usize {
        self.rows * 2 * size_of::<f64>()
    }

    /// Appends the mean loss and its gradient.
    pub fn launch(&self, io: &CudaIo, commands: &mut Vec<Command>) {
        let args = Args {
            z: io.logits,
            labels: io.labels,
            dz: io.d_logits,
            rows: io.workspace,
            losses: io.losses,
            count: self.rows as u32,
            classes: self.classes as u32,
            pitch: pitch(self.classes) as u32,
            unused: 0,
        };
        let blocks = self.rows.div_ceil(WARPS);
        commands.push(Launch::new("cross_entropy", [blocks, 1, 1], THREADS, 0, &args).into());
        commands.push(Launch::new("cross_entropy_total", [1, 1, 1], THREADS, 0, &args).into());
    }
}
