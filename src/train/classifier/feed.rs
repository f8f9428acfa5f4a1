//! What a classifier must know of a batch besides its clips: their classes, and what dropout leaves out.

use crate::data::Batch;
use crate::tensor::random::Stream;
use crate::{Error, Result};

/// Classes and draws; a pure function of the batch, wherever it is computed.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The class of each video of the data set, by its number there; `None` for one that is not trained on.
    class_of: Vec<Option<u32>>,
    dropout: f64,
    draws: Stream,
}

impl Feed {
    /// For a run of this seed.
    pub fn new(class_of: Vec<Option<u32>>, dropout: f64, seed: u64) -> Self {
        Self { class_of, dropout, draws: Stream::new("classifier.dropout", seed) }
    }

    /// The class of each clip of a batch, which holds one clip a video.
    pub fn labels<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = Result<u32>> + 'a {
        batch.numbers.iter().zip(&batch.videos).map(|(&number, key)| {
            self.class_of.get(number).copied().flatten().ok_or_else(|| {
                let what = format!("video {key} has no class");
                Error::usage(what, "give a list that names the classes of all videos")
            })
        })
    }

    /// What dropout multiplies the pooled vectors of the batch of `step` by, in order: 0, or 1/(1 − p).
    pub fn mask(&self, step: u64) -> impl Iterator<Item = f64> {
        let (mut stream, dropout) = (self.draws.fork(step), self.dropout);
        let kept = 1.0 / (1.0 - dropout);
        std::iter::repeat_with(move || if stream.next_bool(dropout) { 0.0 } else { kept })
    }
}
