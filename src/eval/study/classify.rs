//! What Tables 1 to 3 measure: fine-tuning on a split's training part and classification of its test part.

use std::path::Path;

use super::Lists;
use crate::train::{Config, Place};
use crate::{Error, Result};

/// Whether [`classify`] can be asked: if not, a study that would is refused before it pretrains.
pub(super) const HERE: bool = false;

/// Fine-tunes the network of the pretraining run `run` (`None`: one that starts from the configuration's seed) on
/// `split.train` for `steps` (`None`: as many as is usual), at `place`, and gives the video top-1 on `split.test`, 0 to 1.
/// `config` is the row's: model, clips, and in `data.shards` the videos.
///
/// # Errors
/// [`Error::Usage`]: fine-tuning is not in this build.
pub(super) fn classify(
    _run: Option<&Path>,
    _config: &Config,
    _split: &Lists,
    _steps: Option<u64>,
    _place: &Place,
) -> Result<f64> {
    Err(missing())
}

/// Why there is no figure.
pub(super) fn missing() -> Error {
    Error::usage("fine-tuning is not in this build", "give --table 4 or 5, which need none")
}
