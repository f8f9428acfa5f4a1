//! A backbone that only looks, on whichever device.

use super::Weights;
use super::clips::{Protocol, for_each_video};
use crate::Result;
use crate::data::Dataset;
use crate::device::require_memory;
use crate::graph::{Backend, CudaExecutor, Executor, Graph, MemoryPlan};

/// Buffers of a network are kept below this by encoding fewer clips at a time.
const BUDGET: usize = 1 << 30;

/// The chunk that was asked for, or the largest, up to 16 clips, whose buffers fit the budget.
///
/// # Errors
/// Those of `graph`, which makes the network for so many clips.
pub(super) fn chunk(asked: Option<usize>, graph: impl Fn(usize) -> Result<Graph<f32>>) -> Result<usize> {
    if let Some(chunk) = asked {
        return Ok(chunk.max(1));
    }
    for chunk in [16, 8, 4, 2] {
        if MemoryPlan::new(&graph(chunk)?, false).peak() <= BUDGET {
            return Ok(chunk);
        }
    }
    Ok(1)
}

/// What the encoder gave of one clip.
#[derive(Clone, Copy)]
pub(super) struct ClipOutputs<'a> {
    encoder: &'a Encoder,
    chunk: usize,
    clip: usize,
}

impl<'a> ClipOutputs<'a> {
    /// Output `i`.
    pub fn get(self, i: usize) -> &'a [f32] {
        let all = self.encoder.output(i);
        let len = all.len() / self.chunk;
        &all[self.clip * len..][..len]
    }
}

/// A backbone with its weights and every buffer that it needs.
#[derive(Debug)]
pub(super) enum Encoder {
    Cpu { executor: Executor<f32>, params: Vec<f32> },
    Cuda(CudaExecutor),
}

impl Encoder {
    /// Allocates what `graph` needs.
    ///
    /// # Errors
    /// Too little memory, or a device that fails.
    pub fn new(backend: &Backend, graph: Graph<f32>, weights: &Weights) -> Result<Self> {
        match backend {
            Backend::Cpu => {
                let clips = graph.nodes()[0].shape.dims()[0];
                require_memory(
                    &format!("encoding {clips} clips at a time"),
                    MemoryPlan::new(&graph, false).peak(),
                    "lower --chunk, or use smaller clips",
                )?;
                let executor = Executor::new(graph, &weights.layout, false);
                Ok(Self::Cpu { executor, params: weights.params.clone() })
            }
            Backend::Cuda(device, precision) => {
                let executor = CudaExecutor::new(device, graph, &weights.layout, *precision)?;
                executor.set_params(&weights.params)?;
                Ok(Self::Cuda(executor))
            }
        }
    }

    /// Bytes of buffers and parameters.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Cpu { executor, params } => executor.plan().peak() + size_of_val(&params[..]),
            Self::Cuda(executor) => executor.bytes(),
        }
    }

    /// The clips, to be filled before [`Self::forward`].
    pub fn input_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Cpu { executor, .. } => executor.input_mut(),
            Self::Cuda(executor) => executor.input_mut(),
        }
    }

    /// Encodes the clips.
    ///
    /// # Errors
    /// A device that fails.
    pub fn forward(&mut self) -> Result<()> {
        match self {
            Self::Cpu { executor, params } => executor.forward(params),
            Self::Cuda(executor) => executor.forward()?,
        }
        Ok(())
    }

    /// Encodes the clips of these videos, as many at a time as the network takes. `each(place, outputs)` gets the place of
    /// the video and the outputs of its next clip, in order. Uses the threads of the current rayon pool, and as many to
    /// decode; the result does not depend on them.
    ///
    /// # Errors
    /// A damaged or unreadable shard, or a device that fails.
    pub fn each_clip(
        &mut self,
        dataset: &Dataset,
        videos: &[usize],
        protocol: &Protocol,
        mut each: impl FnMut(usize, ClipOutputs<'_>),
        mut progress: impl FnMut(usize, usize),
    ) -> Result<()> {
        let len = protocol.clip_len();
        let chunk = self.input_mut().len() / len;
        let mut pending = Vec::with_capacity(chunk); // the place of each clip's video
        let mut encode = |this: &mut Self, pending: &mut Vec<usize>| -> Result<()> {
            this.forward()?;
            for (clip, place) in pending.drain(..).enumerate() {
                each(place, ClipOutputs { encoder: this, chunk, clip });
            }
            Ok(())
        };
        for_each_video(dataset, videos, protocol, rayon::current_num_threads(), |place, clips| {
            for clip in clips.chunks_exact(len) {
                self.input_mut()[pending.len() * len..][..len].copy_from_slice(clip);
                pending.push(place);
                if pending.len() == chunk {
                    encode(self, &mut pending)?;
                }
            }
            progress(place + 1, videos.len());
            Ok(())
        })?;
        if !pending.is_empty() {
            self.input_mut()[pending.len() * len..].fill(0.0);
            encode(self, &mut pending)?;
        }
        Ok(())
    }

    /// Output `i`, as of the last [`Self::forward`].
    pub fn output(&self, i: usize) -> &[f32] {
        match self {
            Self::Cpu { executor, .. } => executor.output(i),
            Self::Cuda(executor) => executor.output(i),
        }
    }
}
