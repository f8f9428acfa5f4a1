//! What a network on a device is judged by.

use crate::Error;
use crate::Result;
use crate::data::Batch;
use crate::device::{Address, Command};
use crate::train::objective::{CudaHeads, CudaObjective};
use crate::train::{CudaClassifier, Feed, Losses};

/// The contrast of pretraining, or the classifier of fine-tuning.
#[derive(Debug)]
pub(super) enum CudaCriterion {
    Contrast(Box<CudaObjective>),
    Classes(CudaClassifier),
}

/// Where a criterion reads and writes.
#[derive(Debug)]
pub(super) struct Io<'a> {
    /// Its buffers.
    pub base: Address,
    pub heads: &'a CudaHeads,
    /// What it must know of the batch.
    pub facts: Address,
    /// The backbone's outputs of the whole batch, f32.
    pub outputs: &'a [Address],
    pub d_outputs: &'a [Address],
    /// Receives six f64.
    pub losses: Address,
}

impl CudaCriterion {
    /// Bytes of its buffers.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Contrast(objective) => objective.bytes(),
            Self::Classes(classifier) => classifier.bytes(),
        }
    }

    /// Bytes of what it must know of a batch besides its clips.
    pub fn facts_bytes(&self) -> usize {
        match self {
            Self::Contrast(_) => 0,
            Self::Classes(classifier) => classifier.staged_bytes(),
        }
    }

    /// Writes what it must know of a batch.
    ///
    /// # Errors
    /// A batch that it cannot judge.
    pub fn write_facts(&self, feed: Option<&Feed>, batch: &Batch, bytes: &mut [u8]) -> Result<()> {
        match (self, feed) {
            (Self::Contrast(_), _) => Ok(()),
            (Self::Classes(classifier), Some(feed)) => classifier.stage(feed, batch, bytes),
            (Self::Classes(_), None) => {
                Err(Error::usage("a classifier is given batches without classes", "give it a feed"))
            }
        }
    }

    /// What it leaves in the six losses, as figures.
    pub fn losses(&self, six: [f64; 6]) -> Losses {
        match self {
            Self::Contrast(objective) => objective.losses(six),
            Self::Classes(classifier) => classifier.losses(six),
        }
    }

    /// Appends loss and gradients.
    pub fn plan(&self, io: &Io<'_>, commands: &mut Vec<Command>) {
        let three = |v: &[Address]| [v[0], v[1], v[2]];
        match self {
            Self::Contrast(objective) => objective
                .plan(io.base, io.heads, three(io.outputs), three(io.d_outputs), io.losses, commands)
                .expect("checked when the objective was made"),
            Self::Classes(classifier) => {
                // The four other places are nobody's, but the update looks whether all are finite.
                commands.push(Command::Zero { at: io.losses, bytes: 6 * size_of::<f64>() });
                let pooled = [io.outputs[0], io.d_outputs[0]];
                classifier.plan(io.base, io.heads, io.facts, pooled, io.losses, commands);
            }
        }
    }
}
