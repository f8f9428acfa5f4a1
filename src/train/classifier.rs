//! What fine-tuning judges by: pooled block 5 → dropout → linear layer → softmax cross-entropy, the mean over clips.

use super::config::ClassifyConfig;
use super::criterion::{Criterion, Losses};
use super::head::Head;
use crate::data::Batch;
use crate::graph::ParamLayout;
use crate::ops::cross_entropy;
use crate::tensor::Real;
use crate::tensor::random::Stream;
use crate::{Error, Result};

/// The classifier with every buffer that it needs.
#[derive(Debug)]
pub struct Classifier<T> {
    head: Head,
    loss: cross_entropy::Problem,
    dropout: f64,
    draws: Stream,
    /// The class of each video of the data set, by its number there.
    class_of: Vec<Option<u32>>,
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
    /// Allocates for `clips` vectors of `channels` numbers. The layer's parameters are the last ones of `layout`; dropout
    /// draws from `seed`.
    ///
    /// # Errors
    /// Fewer than two classes.
    pub fn new(
        config: &ClassifyConfig,
        clips: usize,
        channels: usize,
        seed: u64,
        layout: &ParamLayout,
    ) -> Result<Self> {
        let classes = config.classes.len();
        let loss = cross_entropy::Problem::new(clips, classes)?;
        let [.., weight, bias] = layout.params() else {
            panic!("a classifier's layout ends with its layer's weight and bias")
        };
        let head = Head::new([clips, channels, classes], weight.range.clone(), bias.range.clone())?;
        let zeros = |len: usize| vec![T::ZERO; len];
        Ok(Self {
            workspace: vec![0; head.workspace_bytes::<T>().div_ceil(size_of::<u64>())],
            head,
            dropout: config.dropout,
            draws: Stream::new("classifier.dropout", seed),
            class_of: Vec::new(),
            labels: vec![0; clips],
            mask: vec![T::ONE; clips * channels],
            x: zeros(clips * channels),
            dx: zeros(clips * channels),
            logits: zeros(loss.len()),
            d_logits: zeros(loss.len()),
            loss,
        })
    }

    /// Sets the class of each video of the data set, by its number there; `None` for one that is not trained on.
    pub fn set_classes(&mut self, class_of: Vec<Option<u32>>) {
        self.class_of = class_of;
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

/// What dropout multiplies the pooled vectors of the batch of `step` by, in order: a pure function of seed and step.
pub(super) fn draw_mask(draws: &Stream, step: u64, dropout: f64) -> impl Iterator<Item = f64> {
    let mut stream = draws.fork(step);
    let kept = 1.0 / (1.0 - dropout);
    std::iter::repeat_with(move || if stream.next_bool(dropout) { 0.0 } else { kept })
}

/// The class of each clip of a batch of fine-tuning, which holds one clip a video.
pub(super) fn labels_of<'a>(
    batch: &'a Batch,
    class_of: &'a [Option<u32>],
) -> impl Iterator<Item = Result<u32>> + 'a {
    batch.numbers.iter().zip(&batch.videos).map(|(&number, key)| {
        class_of.get(number).copied().flatten().ok_or_else(|| {
            Error::usage(
                format!("video {key} has no class"),
                "give a list that names the classes of all videos",
            )
        })
    })
}

impl<T: Real> Criterion<T> for Classifier<T> {
    fn prepare(&mut self, batch: &Batch) -> Result<()> {
        for (label, class) in self.labels.iter_mut().zip(labels_of(batch, &self.class_of)) {
            *label = class?;
        }
        if self.dropout > 0.0 {
            let draws = draw_mask(&self.draws, batch.step, self.dropout);
            self.mask.iter_mut().zip(draws).for_each(|(mask, drawn)| *mask = T::from_f64(drawn));
        }
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
        let masked = self.x.iter_mut().zip(&outputs[0]).zip(&self.mask);
        masked.for_each(|((x, &pooled), &mask)| *x = pooled * mask);
        self.head.project(params, &self.x, &mut self.logits, workspace);
        let clips = self.labels.len() as f64;
        let outcome = self.loss.run(cross_entropy::Io {
            logits: &self.logits,
            labels: &self.labels,
            scale: 1.0 / clips,
            d_logits: &mut self.d_logits,
        });
        self.head.differentiate(params, &self.x, &self.d_logits, &mut self.dx, gradients, workspace);
        let through = d_outputs[0].iter_mut().zip(&self.dx).zip(&self.mask);
        through.for_each(|((d, &dx), &mask)| *d = dx * mask);
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
