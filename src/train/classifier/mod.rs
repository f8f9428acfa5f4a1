//! What fine-tuning judges by: pooled block 5 → dropout → linear layer → softmax cross-entropy, the mean over clips.

mod cuda;
mod feed;

use super::criterion::{Criterion, Losses};
use super::head::Head;
use crate::Result;
use crate::data::Batch;
use crate::graph::ParamLayout;
use crate::ops::{cross_entropy, dropout};
use crate::tensor::Real;

pub use cuda::CudaClassifier;
pub use feed::Feed;

/// The classifier with every buffer that it needs.
#[derive(Debug)]
pub struct Classifier<T> {
    head: Head,
    loss: cross_entropy::Problem,
    feed: Option<Feed>,
    labels: Vec<u32>, // (clips)
    /// What dropout multiplies by: 0, or 1/(1 − p).
    mask: Vec<T>, // (clips, C)
    x: Vec<T>,        // (clips, C), after dropout
    dx: Vec<T>,       // (clips, C)
    logits: Vec<T>,   // (clips, classes)
    d_logits: Vec<T>, // (clips, classes)
    /// Scratch, in 8-byte words so that it is aligned for every element.
    workspace: Vec<u64>,
}

impl<T: Real> Classifier<T> {
    /// Allocates for `clips` vectors of `channels` numbers. The layer's parameters are the last ones of `layout`.
    ///
    /// # Errors
    /// Fewer than two classes.
    pub fn new(classes: usize, clips: usize, channels: usize, layout: &ParamLayout) -> Result<Self> {
        let loss = cross_entropy::Problem::new(clips, classes)?;
        let [.., weight, bias] = layout.params() else {
            panic!("a classifier's layout ends with its layer's weight and bias")
        };
        let head = Head::new([clips, channels, classes], weight.range.clone(), bias.range.clone())?;
        let zeros = |len: usize| vec![T::ZERO; len];
        Ok(Self {
            workspace: vec![0; head.workspace_bytes::<T>().div_ceil(size_of::<u64>())],
            head,
            feed: None,
            labels: vec![0; clips],
            mask: vec![T::ONE; clips * channels],
            x: zeros(clips * channels),
            dx: zeros(clips * channels),
            logits: zeros(loss.len()),
            d_logits: zeros(loss.len()),
            loss,
        })
    }

    /// Sets where [`Criterion::prepare`] finds what it must know of a batch.
    pub fn set_feed(&mut self, feed: Feed) {
        self.feed = Some(feed);
    }

    /// Sets the next batch: the class of each clip, and what dropout multiplies the pooled vectors by, `(clips, C)`.
    pub fn set_batch(&mut self, labels: &[u32], mask: &[T]) {
        self.labels.copy_from_slice(labels);
        self.mask.copy_from_slice(mask);
    }

    /// The logits of the last batch, `(clips, classes)`.
    pub fn logits(&self) -> &[T] {
        &self.logits
    }
}

impl<T: Real> Criterion<T> for Classifier<T> {
    fn prepare(&mut self, batch: &Batch) -> Result<()> {
        let Some(feed) = &self.feed else { return Ok(()) };
        for (to, label) in self.labels.iter_mut().zip(feed.labels(batch)) {
            *to = label?;
        }
        self.mask.iter_mut().zip(feed.mask(batch.step)).for_each(|(to, mask)| *to = T::from_f64(mask));
        Ok(())
    }

    /// `outputs`: the pooled vectors of block 5, `(clips, C)`.
    fn evaluate(
        &mut self,
        params: &[T],
        outputs: &[Vec<T>],
        d_outputs: &mut [Vec<T>],
        gradients: &mut [T],
    ) -> Losses {
        let workspace = bytemuck::cast_slice_mut(&mut self.workspace);
        dropout::apply(&outputs[0], &self.mask, &mut self.x);
        self.head.project(params, &self.x, &mut self.logits, workspace);
        let clips = self.labels.len() as f64;
        let outcome = self.loss.run(cross_entropy::Io {
            logits: &self.logits,
            labels: &self.labels,
            scale: 1.0 / clips,
            d_logits: &mut self.d_logits,
        });
        self.head.differentiate(params, &self.x, &self.d_logits, &mut self.dx, gradients, workspace);
        dropout::apply(&self.dx, &self.mask, &mut d_outputs[0]);
        Losses {
            total: outcome.loss / clips,
            accuracy: Some(outcome.right as f64 / clips),
            ..Losses::default()
        }
    }

    fn bytes(&self) -> usize {
        let floats = [&self.mask, &self.x, &self.dx, &self.logits, &self.d_logits].map(Vec::len);
        floats.iter().sum::<usize>() * size_of::<T>()
            + size_of_val(&self.labels[..])
            + size_of_val(&self.workspace[..])
    }
}
