//! From videos to vectors: decode, encode, pool, mean over the clips of a video.

use super::clips::Protocol;
use super::encoder::{self, ClipOutputs, Encoder};
use super::{Pool, Weights};
use crate::data::Dataset;
use crate::data::evaluate::{Clips, Crops};
use crate::graph::{Backend, Graph};
use crate::models::{self, BLOCKS};
use crate::{Error, Result};

/// What a video is represented by.
#[derive(Clone, Debug)]
pub struct EmbedOptions {
    /// 3, 4 or 5.
    pub block: usize,
    /// How the block's map becomes a vector.
    pub pool: Pool,
    /// Which clips; the mean of their vectors is the video's.
    pub clips: Clips,
    /// Which parts of their frames.
    pub crops: Crops,
    /// Clips encoded at a time, which changes memory and time only; `None`: as many as take at most 1 GiB, and
    /// no more than 16.
    pub chunk: Option<usize>,
}

impl Default for EmbedOptions {
    /// VCOP's retrieval protocol: 10 clips, centre crop, block 5, max-pooled map.
    fn default() -> Self {
        Self { block: 5, pool: Pool::Vcop, clips: Clips::Spread(10), crops: Crops::Centre, chunk: None }
    }
}

/// Vectors of some videos of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// The videos' numbers in the data set, rising.
    pub videos: Vec<usize>,
    /// Numbers a vector.
    pub dim: usize,
    /// `(videos, dim)`.
    pub data: Vec<f32>,
}

impl Embeddings {
    /// The vector of a video, if it was asked for.
    pub fn of(&self, video: usize) -> Option<&[f32]> {
        let row = self.videos.binary_search(&video).ok()?;
        Some(&self.data[row * self.dim..][..self.dim])
    }
}

/// A network that only looks, with every buffer it needs.
#[derive(Debug)]
pub struct Embedder {
    encoder: Encoder,
    name: String,
    protocol: Protocol,
    options: EmbedOptions,
    /// What is pooled, one block after the other.
    taps: Vec<Tap>,
}

/// A block that is tapped.
#[derive(Clone, Copy, Debug)]
struct Tap {
    /// Which output of the encoder.
    output: usize,
    /// `(T, H, W, C)` of the block's map.
    map: [usize; 4],
}

impl Embedder {
    /// Plans and allocates.
    ///
    /// # Errors
    /// A block other than 3, 4 or 5; a model that does not fit the clips, or clips that do not fit the memory.
    pub fn new(weights: &Weights, options: EmbedOptions, backend: &Backend) -> Result<Self> {
        let block = options.block;
        Self::with_blocks(weights, options, &[block], backend)
    }

    /// As [`Embedder::new`], but taps `blocks` instead of the options' one: a video's vector is one block's after the
    /// other's, which [`Embedder::each_block`] takes apart.
    ///
    /// # Errors
    /// As [`Embedder::new`].
    pub fn with_blocks(
        weights: &Weights,
        options: EmbedOptions,
        blocks: &[usize],
        backend: &Backend,
    ) -> Result<Self> {
        let maps = options.pool.wants_map();
        let graph = |chunk| -> Result<Graph<f32>> {
            models::encoder(&weights.config.model, chunk, weights.extents(), maps)
        };
        let chunk = encoder::chunk(options.chunk, graph)?;
        let shapes: Graph<f32> = models::encoder(&weights.config.model, 1, weights.extents(), true)?;
        let tap = |block: &usize| {
            let scale = BLOCKS.iter().position(|b| b == block).ok_or_else(|| {
                Error::usage(format!("there is no block {block} to tap"), "give block 3, 4 or 5")
            })?;
            let map = shapes.node(shapes.outputs()[3 + scale]).shape.dims();
            let output = if maps { 3 + scale } else { scale };
            Ok(Tap { output, map: [map[1], map[2], map[3], map[4]] })
        };
        let taps = blocks.iter().map(tap).collect::<Result<_>>()?;
        Ok(Self {
            encoder: Encoder::new(backend, graph(chunk)?, weights)?,
            name: weights.name.clone(),
            protocol: Protocol {
                clip: weights.config.clip.clone(),
                clips: options.clips,
                crops: options.crops,
            },
            taps,
            options,
        })
    }

    /// What the network is, for reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a video is represented by.
    pub fn options(&self) -> &EmbedOptions {
        &self.options
    }

    /// Numbers a vector.
    pub fn dim(&self) -> usize {
        self.taps.iter().map(|tap| self.options.pool.dim(tap.map)).sum()
    }

    /// The vectors of each tapped block, in the order in which they were asked for.
    pub fn each_block(&self, embeddings: &Embeddings) -> Vec<Embeddings> {
        let mut from = 0;
        let mut part = |tap: &Tap| {
            let dim = self.options.pool.dim(tap.map);
            let rows = embeddings.data.chunks_exact(embeddings.dim);
            let data = rows.flat_map(|row| &row[from..from + dim]).copied().collect();
            from += dim;
            Embeddings { videos: embeddings.videos.clone(), dim, data }
        };
        self.taps.iter().map(&mut part).collect()
    }

    /// Bytes of the network's buffers and parameters.
    pub fn bytes(&self) -> usize {
        self.encoder.bytes()
    }

    /// The vectors of these videos (repeated numbers count once). `progress(done, all)` is called after each.
    /// Uses the threads of the current rayon pool, and as many to decode; the result does not depend on them.
    ///
    /// # Errors
    /// A damaged or unreadable shard; features that are not finite.
    pub fn embed(
        &mut self,
        dataset: &Dataset,
        videos: &[usize],
        progress: impl FnMut(usize, usize),
    ) -> Result<Embeddings> {
        let mut videos = videos.to_vec();
        videos.sort_unstable();
        videos.dedup();
        let (dim, total) = (self.dim(), videos.len());
        let mut means = Means { dim, current: None, sum: vec![0.0; dim], data: vec![0.0; total * dim] };
        let (pool, taps) = (self.options.pool, &self.taps);
        let mut pooled = vec![0.0; dim];
        let each = |place: usize, outputs: ClipOutputs<'_>| {
            let mut rest = pooled.as_mut_slice();
            for tap in taps {
                let (to, after) = rest.split_at_mut(pool.dim(tap.map));
                pool.apply(outputs.get(tap.output), tap.map, to);
                rest = after;
            }
            means.add(place, &pooled);
        };
        self.encoder.each_clip(dataset, &videos, &self.protocol, each, progress)?;
        means.flush();
        if let Some(at) = means.data.iter().position(|v| !v.is_finite()) {
            let key = &dataset.video(videos[at / dim]).key;
            let what = format!("its features of video {key} are not finite");
            return Err(Error::data(
                &self.name,
                what,
                "use an earlier checkpoint; these weights have diverged",
            ));
        }
        Ok(Embeddings { videos, dim, data: means.data })
    }
}

/// Means over the clips of each video, which come in order.
struct Means {
    dim: usize,
    /// The place of the video being summed, and its clips so far.
    current: Option<(usize, usize)>,
    sum: Vec<f64>,  // (dim)
    data: Vec<f32>, // (videos, dim)
}

impl Means {
    fn add(&mut self, place: usize, vector: &[f32]) {
        let clips = match self.current {
            Some((p, clips)) if p == place => clips,
            _ => {
                self.flush();
                0
            }
        };
        self.current = Some((place, clips + 1));
        self.sum.iter_mut().zip(vector).for_each(|(sum, &v)| *sum += f64::from(v));
    }

    /// Writes the mean of the current video.
    fn flush(&mut self) {
        if let Some((place, clips)) = self.current.take() {
            let row = &mut self.data[place * self.dim..][..self.dim];
            for (mean, sum) in row.iter_mut().zip(&mut self.sum) {
                *mean = (*sum / clips as f64) as f32;
                *sum = 0.0;
            }
        }
    }
}
