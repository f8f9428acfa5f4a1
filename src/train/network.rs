//! Encoder, heads and objective together: the loss of a batch and its gradient, encoded in chunks.

use std::ops::Range;

use super::objective::{LossConfig, Losses, Objective, roles};
use crate::graph::{Executor, ParamLayout};
use crate::models::{self, ModelConfig};
use crate::ops::WriteMode;
use crate::tensor::Real;
use crate::Result;

/// A network with its parameters, gradients and every buffer of a step.
///
/// Instance norm couples nothing across clips, so a batch can be encoded a chunk at a time: first forward,
/// keeping only slot vectors; then the loss of the whole batch; then each chunk forward again and backward.
/// That is exact, and every sum runs in the order of clips, so the chunk changes no bit of the gradient. If the
/// batch is one chunk, it is encoded once.
#[derive(Debug)]
pub struct Network<T: Real> {
    encoder: Executor<T>,
    objective: Objective<T>,
    layout: ParamLayout,
    /// All parameters, flat.
    pub params: Vec<T>,
    /// Their gradients in the last batch, at the same places.
    pub gradients: Vec<T>,
    clips: usize,
    chunk: usize,
    /// Slot vectors of the whole batch at blocks 3, 4, 5: `(clips, N_k, C_k)`.
    slots: [Vec<T>; 3],
    d_slots: [Vec<T>; 3],
}

impl<T: Real> Network<T> {
    /// Plans and allocates for `videos` videos of `extents` frames × height × width, encoded `chunk` clips at
    /// a time (`None`: all). Parameters are zero.
    ///
    /// # Errors
    /// Extents that do not fit the backbone.
    pub fn new(
        model: &ModelConfig,
        loss: &LossConfig,
        videos: usize,
        extents: [usize; 3],
        chunk: Option<usize>,
    ) -> Result<Self> {
        let clips = videos * roles(loss).count();
        let chunk = chunk.unwrap_or(clips).clamp(1, clips.max(1));
        let graph = models::encoder::<T>(model, chunk, extents, false)?;
        let layout = models::param_layout(&graph);
        let (slots, channels) = (models::block_slots(&graph), models::block_channels(&graph));
        let objective = Objective::new(loss, videos, slots, channels, &layout)?;
        let zeros = || [0, 1, 2].map(|k| vec![T::ZERO; clips * slots[k] * channels[k]]);
        Ok(Self {
            encoder: Executor::new(graph, &layout, true),
            objective,
            params: vec![T::ZERO; layout.len()],
            gradients: vec![T::ZERO; layout.len()],
            layout,
            clips,
            chunk,
            slots: zeros(),
            d_slots: zeros(),
        })
    }

    /// Names and places of the parameters.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// The encoder for one chunk.
    pub fn encoder(&self) -> &Executor<T> {
        &self.encoder
    }

    /// The objective, with the projections of the last batch.
    pub fn objective(&self) -> &Objective<T> {
        &self.objective
    }

    /// Slot vectors of the last batch at block `3 + scale`, `(clips, N_k, C_k)`.
    pub fn slots(&self, scale: usize) -> &[T] {
        &self.slots[scale]
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let slots = self.slots.iter().chain(&self.d_slots).map(Vec::len).sum::<usize>();
        self.encoder.plan().peak() + self.objective.bytes() + (slots + 2 * self.layout.len()) * size_of::<T>()
    }

    /// The loss of a batch and its gradient. `fill(clips, input)` writes those clips, `(clips, T, H, W, 3)`
    /// each; it is asked for every clip once, or twice if the batch takes several chunks.
    ///
    /// # Errors
    /// None for a network whose construction succeeded.
    pub fn forward_backward(&mut self, mut fill: impl FnMut(Range<usize>, &mut [T])) -> Result<Losses> {
        let whole = self.chunk >= self.clips;
        for first in (0..self.clips).step_by(self.chunk) {
            self.encode(first, &mut fill);
        }
        let [a, b, c] = &mut self.d_slots;
        let slots = [0, 1, 2].map(|k| &self.slots[k][..]);
        let losses = self.objective.evaluate(&self.params, slots, [a, b, c], &mut self.gradients)?;
        for first in (0..self.clips).step_by(self.chunk) {
            if !whole {
                self.encode(first, &mut fill);
            }
            for k in 0..3 {
                let to = self.encoder.output_gradient_mut(k);
                let len = to.len() / self.chunk;
                let from = &self.d_slots[k][first * len..];
                let from = &from[..from.len().min(to.len())];
                to[..from.len()].copy_from_slice(from);
                to[from.len()..].fill(T::ZERO); // clips past the end of the batch have no part in the loss
            }
            let mode = if first == 0 { WriteMode::Overwrite } else { WriteMode::Accumulate };
            self.encoder.backward(&self.params, &mut self.gradients, mode);
        }
        Ok(losses)
    }

    /// Encodes the chunk that starts at clip `first` and keeps its slot vectors. A last chunk that the batch
    /// does not fill is padded with clips of zeros.
    fn encode(&mut self, first: usize, fill: &mut impl FnMut(Range<usize>, &mut [T])) {
        let clips = first..(first + self.chunk).min(self.clips);
        let input = self.encoder.input_mut();
        let len = input.len() / self.chunk;
        let (used, rest) = input.split_at_mut(clips.len() * len);
        fill(clips.clone(), used);
        rest.fill(T::ZERO);
        self.encoder.forward(&self.params);
        for k in 0..3 {
            let from = self.encoder.output(k);
            let len = from.len() / self.chunk;
            self.slots[k][clips.start * len..clips.end * len].copy_from_slice(&from[..clips.len() * len]);
        }
    }
}
