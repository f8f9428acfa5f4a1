//! What tables of classification measure: fine-tuning on a split's training part and classification of its test part.

use std::fmt;
use std::path::Path;

use super::Lists;
use crate::Result;
use crate::data::Dataset;
use crate::data::lists::{Part, Split};
use crate::eval::Weights;
use crate::eval::test::{TestOptions, TestReport, Tester};
use crate::train::{Config, Place, Pretrained, Sources, StartFrom, finetune};

/// How rows are fine-tuned.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Steps; `None`: 150 passes over the training part.
    pub steps: Option<u64>,
    /// `section.key=value`, over the paper's settings of fine-tuning.
    pub sets: Vec<String>,
}

impl Tuning {
    /// The configuration that goes with a row's pretraining.
    ///
    /// # Errors
    /// Every fault in the settings.
    pub(super) fn config(&self, row: &Config, label: &str) -> Result<Config> {
        let sources = Sources::fine_tuning().network_of(row, "the row").set("log.every=100");
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut config = self
            .sets
            .iter()
            .fold(sources, |sources, set| sources.set(set))
            .flag("classify.label", Some(label), "--label")
            .flag("train.steps", self.steps.map(number), "--finetune-steps")
            .flag("train.seed", Some(number(row.train.seed)), "--seeds")
            .resolve()?;
        config.data = row.data.clone();
        Ok(config)
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.steps {
            Some(steps) => write!(f, "{steps} steps")?,
            None => write!(f, "150 passes")?,
        }
        self.sets.iter().try_for_each(|set| write!(f, ", {set}"))
    }
}

/// Fine-tunes the backbone of the pretraining run `run` (`None`: one that starts from the configuration's seed) by `config`,
/// at `place`, and gives the video top-1 on the test part of `split`, 0 to 1.
///
/// # Errors
/// As [`finetune`], and what cannot be tested.
pub(super) fn classify(
    run: Option<&Path>,
    config: &Config,
    split: &Lists,
    dataset: &Dataset,
    place: &Place,
) -> Result<f64> {
    let from = run.map_or(StartFrom::Scratch, |run| StartFrom::Checkpoint(run.to_path_buf()));
    let summary = finetune(config, Pretrained::load(&from)?.as_ref(), place)?;
    let weights = Weights::load(&summary.checkpoint)?;
    let mut tester = Tester::new(&weights, &TestOptions::default(), &place.backend)?;
    let videos = Split::read(&split.test, Part::Test)?.resolve(dataset, tester.label())?;
    let predictions = tester.test(dataset, &videos, |_, _| {})?;
    Ok(TestReport::new(&tester, &split.test.display().to_string(), &predictions).figures.video_top1)
}
