//! The classifier on a CUDA device: from pooled vectors to the loss and its gradients, as a list of launches.

use super::Feed;
use crate::Result;
use crate::data::Batch;
use crate::device::{Address, Command};
use crate::graph::CUDA_ALIGNMENT;
use crate::ops::linear::{self, CudaLayer};
use crate::ops::{CudaGradient, WriteMode, cross_entropy, dropout, pitch};
use crate::train::Losses;
use crate::train::objective::CudaHeads;

/// The classifier, planned for a device. Buffers, all f32: x, dx (clips, pitch(C)); logits, their gradient (clips,
/// pitch(classes)); and scratch.
#[derive(Debug)]
pub struct CudaClassifier {
    clips: usize,
    channels: usize,
    classes: usize,
    loss: cross_entropy::Problem,
    /// Offsets of dx, logits, their gradient and scratch; x is the first.
    places: [usize; 4],
    bytes: usize,
}

impl CudaClassifier {
    /// For `clips` vectors of `channels` numbers.
    ///
    /// # Errors
    /// Fewer than two classes.
    pub fn new(clips: usize, channels: usize, classes: usize) -> Result<Self> {
        let loss = cross_entropy::Problem::new(clips, classes)?;
        let rows =
            |channels: usize| (clips * pitch(channels) * size_of::<f32>()).next_multiple_of(CUDA_ALIGNMENT);
        let (x, z) = (rows(channels), rows(classes));
        let places = [x, 2 * x, 2 * x + z, 2 * x + 2 * z];
        let bytes = places[3] + loss.cuda_workspace_bytes();
        Ok(Self { clips, channels, classes, loss, places, bytes })
    }

    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The loss and the accuracy, of what the launches leave in the first two places.
    pub fn losses(&self, [total, accuracy, ..]: [f64; 6]) -> Losses {
        Losses { total, accuracy: Some(accuracy), ..Losses::default() }
    }

    /// Where the masks lie in what is staged of a batch, behind the labels.
    fn masks_at(&self) -> usize {
        (self.clips * size_of::<u32>()).next_multiple_of(CUDA_ALIGNMENT)
    }

    /// Offset of the logits in the buffers, and their rows and classes.
    pub fn logits(&self) -> (usize, [usize; 2]) {
        (self.places[1], [self.clips, self.classes])
    }

    /// Bytes of what is staged of a batch: labels, (clips) u32, and masks, (clips, pitch(C)) f32.
    pub fn staged_bytes(&self) -> usize {
        self.masks_at() + self.clips * pitch(self.channels) * size_of::<f32>()
    }

    /// Writes what is staged of a batch.
    ///
    /// # Errors
    /// A video without a class.
    pub fn stage(&self, feed: &Feed, batch: &Batch, bytes: &mut [u8]) -> Result<()> {
        let (labels, masks) = bytes[..self.staged_bytes()].split_at_mut(self.masks_at());
        let labels: &mut [u32] = bytemuck::cast_slice_mut(labels);
        for (to, label) in labels.iter_mut().zip(feed.labels(batch)) {
            *to = label?;
        }
        let masks: &mut [f32] = bytemuck::cast_slice_mut(masks);
        let mut drawn = feed.mask(batch.step);
        for row in masks.chunks_exact_mut(pitch(self.channels)) {
            let (used, padding) = row.split_at_mut(self.channels);
            used.iter_mut().zip(&mut drawn).for_each(|(to, mask)| *to = mask as f32);
            padding.fill(0.0);
        }
        Ok(())
    }

    /// Appends loss and gradients. `base` is where its buffers are, `staged` where the batch's labels and masks; `pooled`
    /// the pooled vectors, (clips, pitch(C)), and `d_pooled` receives their gradient; `losses` receives two f64.
    pub fn plan(
        &self,
        base: Address,
        head: &CudaHeads,
        staged: Address,
        [pooled, d_pooled]: [Address; 2],
        losses: Address,
        commands: &mut Vec<Command>,
    ) {
        let [dx, logits, d_logits, workspace] = self.places.map(|at| base.offset(at));
        let masks = staged.offset(self.masks_at());
        let len = self.clips * pitch(self.channels);
        let write = |at| CudaGradient { at, mode: WriteMode::Overwrite };
        let layer = CudaLayer {
            rows: self.clips,
            inputs: self.channels,
            outputs: self.classes,
            x: base,
            weight: head.params[0],
            bias: head.params[1],
            y: logits,
            dx: write(dx),
            dweight: write(head.gradients[0]),
            dbias: write(head.gradients[1]),
        };
        commands.push(dropout::launch(len, pooled, masks, base).into());
        commands.push(linear::forward(&[layer]).into());
        self.loss
            .launch(&cross_entropy::CudaIo { logits, labels: staged, d_logits, losses, workspace }, commands);
        let layer = CudaLayer { y: d_logits, ..layer };
        commands.push(linear::wgrad(&[layer]).into());
        commands.push(linear::dgrad(&[layer]).into());
        commands.push(dropout::launch(len, dx, masks, d_pooled).into());
    }
}
