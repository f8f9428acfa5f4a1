//! A norm with a ReLU of which an operation's first input is said to come, for operations that leave the sums of its
//! gradient.

use std::sync::Arc;

use super::subject::encode;
use crate::Result;
use crate::device::{Device, Memory};
use crate::ops::{CudaNormBelow, Precision, pitch, statistics};
use crate::tensor::random::Stream;

/// Its own input, scale, shift, and the mean and reciprocal deviation of each clip and channel. All are eighths, so that no
/// mask hangs on a rounding.
pub struct NormBelow {
    /// Of its input and output, `(N, …, C)`.
    dims: Vec<usize>,
    x: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    saved: Vec<[f64; 2]>,
}

/// The same on a device.
pub struct HeldNorm {
    x: Memory,
    gamma: Memory,
    beta: Memory,
    saved: Memory,
    /// For the sums; empty if such clips have none.
    pub sums: Memory,
}

impl NormBelow {
    /// That of an output of these extents, always the same.
    pub fn draw(dims: &[usize]) -> Self {
        let (clips, channels) = (dims[0], dims[dims.len() - 1]);
        let eighths = |name: &str, n: usize| -> Vec<f64> {
            let mut stream = Stream::new(name, 3);
            (0..n).map(|_| stream.next_below(33) as f64 / 8.0 - 2.0).collect()
        };
        let [mean, rstd] = ["mean", "rstd"].map(|name| eighths(name, clips * channels));
        Self {
            dims: dims.to_vec(),
            x: eighths("below", dims.iter().product()),
            gamma: eighths("gamma", channels),
            beta: eighths("beta", channels),
            saved: mean.into_iter().zip(rstd).map(|(mean, rstd)| [mean, rstd.abs()]).collect(),
        }
    }

    /// On a device, the input in this precision.
    pub fn hold(&self, device: &Arc<Device>, precision: Precision) -> Result<HeldNorm> {
        let (clips, channels) = (self.dims[0], self.gamma.len());
        let positions = self.dims[1..self.dims.len() - 1].iter().product();
        let holding = |values: &[f64], dims: &[usize], precision| {
            Memory::holding(device, "test data", &encode(values, dims, false, precision))
        };
        // Pairs lie at the pitch of channels.
        let width = 2 * pitch(channels);
        let clip = |pairs: &[[f64; 2]]| {
            let mut row = pairs.as_flattened().to_vec();
            row.resize(width, 0.0);
            row
        };
        let saved: Vec<f64> = self.saved.chunks_exact(channels).flat_map(clip).collect();
        let unwritten = vec![0xFF_u8; statistics::bytes(clips, positions, channels)];
        Ok(HeldNorm {
            x: holding(&self.x, &self.dims, precision)?,
            gamma: holding(&self.gamma, &[channels], Precision::F32)?,
            beta: holding(&self.beta, &[channels], Precision::F32)?,
            saved: holding(&saved, &[clips, width], Precision::F32)?,
            sums: Memory::holding(device, "test data", &unwritten)?,
        })
    }

    /// Σg and Σ(g·x̂) over a channel's column of one run of positions: places in the norm's output, and gradients.
    pub fn sums(&self, column: &[(usize, f64)], clip: usize) -> [f64; 2] {
        let channels = self.gamma.len();
        column.iter().fold([0.0; 2], |[g, gx], &(at, dy)| {
            let channel = at % channels;
            let [mean, rstd] = self.saved[clip * channels + channel];
            let normalised = (self.x[at] - mean) * rstd;
            let let_through = normalised * self.gamma[channel] + self.beta[channel] > 0.0;
            if let_through { [g + dy, gx + dy * normalised] } else { [g, gx] }
        })
    }
}

impl HeldNorm {
    /// As backward takes it; `None` if there are no sums of such clips.
    pub fn wanted(&self) -> Option<CudaNormBelow> {
        let [x, gamma, beta, saved] = [&self.x, &self.gamma, &self.beta, &self.saved].map(Memory::address);
        (self.sums.bytes() > 0).then(|| CudaNormBelow { x, gamma, beta, saved, sums: self.sums.address() })
    }
}
