//! The configuration of a run: its sections, where they come from, and what is refused.

mod check;
mod classify;
mod preset;
mod sources;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::objective::LossConfig;
use crate::data::{AugmentConfig, ClipConfig};
use crate::models::ModelConfig;
use crate::optim::{OptimConfig, Schedule};
use crate::{Error, Result};

pub use classify::ClassifyConfig;
pub use preset::Preset;
pub use sources::Sources;

/// All that determines a run. Written to the run's folder as `config.toml`, from which it loads back equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this program that resolved it.
    pub version: String,
    /// Where the videos are and how they are loaded.
    pub data: DataConfig,
    /// How a clip is cut out of a video.
    pub clip: ClipConfig,
    /// The spatial augmentation.
    pub augment: AugmentConfig,
    /// The network.
    pub model: ModelConfig,
    /// The objective of pretraining.
    pub loss: LossConfig,
    /// Fine-tuning; absent from a pretraining.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classify: Option<ClassifyConfig>,
    /// The optimiser.
    pub optim: OptimConfig,
    /// How much is trained.
    pub train: TrainConfig,
    /// When the state is saved.
    pub checkpoint: CheckpointConfig,
    /// What is reported.
    pub log: LogConfig,
}

/// Where the videos are and how they are loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder of shards.
    pub shards: String,
    /// Only the videos of these list files; empty: all.
    pub lists: Vec<String>,
    /// Threads that decode; 0: by the number of cores.
    pub workers: usize,
    /// Batches decoded ahead of training.
    pub prefetch: usize,
}

/// How much is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Videos a step.
    pub batch: usize,
    /// Steps of the run; 0: given by `epochs`.
    pub steps: u64,
    /// Passes over the data; 0: given by `steps`.
    pub epochs: u64,
    /// Determines the initial weights, the order of the videos and every augmentation.
    pub seed: u64,
    /// Clips encoded at a time, which changes memory and time only; 0: all at once.
    pub chunk: usize,
}

/// When the state is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps from one checkpoint to the next.
    pub every: u64,
    /// How many of the newest are kept.
    pub keep: usize,
}

/// What is reported. `metrics.jsonl` always has every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Steps from one progress line (without a terminal) or TensorBoard entry to the next.
    pub every: u64,
    /// Write TensorBoard event files.
    pub tensorboard: bool,
    /// Draw the loss curves at every checkpoint.
    pub plots: bool,
}

impl Default for Config {
    /// The paper's settings with C3D.
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            data: DataConfig { shards: String::new(), lists: Vec::new(), workers: 0, prefetch: 4 },
            clip: ClipConfig::default(),
            augment: AugmentConfig::default(),
            model: ModelConfig::default(),
            loss: LossConfig::default(),
            classify: None,
            optim: OptimConfig::default(),
            train: TrainConfig { batch: 128, steps: 0, epochs: 200, seed: 0, chunk: 0 },
            checkpoint: CheckpointConfig { every: 200, keep: 3 },
            log: LogConfig { every: 10, tensorboard: true, plots: true },
        }
    }
}

impl Config {
    /// The paper's settings of fine-tuning with C3D: a tenth of the learning rate, clips without changes of colour. The
    /// length is ours: the paper's is not in the text we follow.
    pub fn fine_tuning() -> Self {
        let paper = Self::default();
        Self {
            augment: AugmentConfig { colour_p: 0.0, replicate_p: 0.0, ..paper.augment },
            classify: Some(ClassifyConfig::default()),
            optim: OptimConfig { lr: 0.01, ..paper.optim },
            train: TrainConfig { batch: 32, epochs: 150, ..paper.train },
            ..paper
        }
    }

    /// Frames, height and width of a clip.
    pub fn extents(&self) -> [usize; 3] {
        [self.clip.frames, self.clip.crop, self.clip.crop]
    }

    /// Reads a `config.toml`; keys that it lacks take their defaults.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Config`] with every fault in it.
    pub fn load(path: &std::path::Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the text of a `config.toml` that came from `origin`.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault in it.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let fine_tuning = text.parse::<Table>().is_ok_and(|t| t.contains_key("classify"));
        let sources = if fine_tuning { Sources::fine_tuning() } else { Sources::default() };
        sources.text(text, origin).resolve()
    }

    /// The text of `config.toml`.
    ///
    /// # Errors
    /// A number that TOML cannot hold (a seed of 2⁶³ or more).
    pub fn to_toml(&self) -> Result<String> {
        let unfit = |e: toml::ser::Error| {
            Error::usage(format!("the configuration cannot be written as TOML: {e}"), "use smaller numbers")
        };
        let mut table = Table::try_from(self).map_err(unfit)?;
        if self.classify.is_some() {
            table.remove("loss"); // a fine-tuning has another
        }
        toml::to_string(&table).map_err(unfit)
    }

    /// Steps of the whole run over `videos` videos; an epoch leaves out what does not fill a batch.
    pub fn total_steps(&self, videos: usize) -> u64 {
        match self.train.steps {
            0 => self.train.epochs.saturating_mul((videos / self.train.batch.max(1)) as u64),
            steps => steps,
        }
    }

    /// Clips encoded in a step: one a video; in pretraining anchors, and one variant a video for each kind of contrast.
    pub fn clips_a_step(&self) -> usize {
        if self.classify.is_some() {
            return self.train.batch;
        }
        self.train.batch * (1 + usize::from(self.loss.spatial) + usize::from(self.loss.temporal))
    }

    /// The keys whose values differ from `stored` and would change the result of a resumed run, one line each.
    /// Where data lie, threads, chunks, saving and reporting may differ; so may the length, unless the
    /// schedule depends on it.
    pub fn differences(&self, stored: &Self) -> Vec<String> {
        match (&self.classify, &stored.classify) {
            (None, Some(_)) => return vec!["the run fine-tunes, now is a pretraining".into()],
            (Some(_), None) => return vec!["the run pretrains, now is a fine-tuning".into()],
            _ => {}
        }
        let (now, then) = (self.flat(), stored.flat());
        now.iter()
            .zip(&then)
            .filter(|((key, a), (_, b))| {
                let harmless = match key.split_once('.') {
                    None | Some(("data" | "checkpoint" | "log", _)) | Some(("train", "chunk")) => true,
                    Some(("train", "steps" | "epochs")) => self.optim.schedule != Schedule::Cosine,
                    Some(_) => false,
                };
                a != b && !harmless
            })
            .map(|((key, a), (_, b))| format!("{key}: {b} in the run, {a} now"))
            .collect()
    }

    fn table(&self) -> Table {
        Table::try_from(self).unwrap_or_default()
    }

    /// Every `section.key` with its value, in order of the keys.
    fn flat(&self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for (section, value) in self.table() {
            match value {
                Value::Table(keys) => {
                    all.extend(keys.into_iter().map(|(k, v)| (format!("{section}.{k}"), v)))
                }
                value => all.push((section, value)),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_resolves_and_loads_back_equal() {
        for preset in Preset::ALL {
            let config = Sources::default().preset(preset).resolve().unwrap();
            let back = Config::parse(&config.to_toml().unwrap(), "test").unwrap();
            assert_eq!(config, back, "{}", preset.name());
        }
        let paper = Sources::default().preset(Preset::PaperC3d).resolve().unwrap();
        assert_eq!(paper, Config::default());
    }

    proptest::proptest! {
        #[test]
        fn any_configuration_loads_back_equal(
            tau in 1e-6..1e3, lr in 1e-9..1e3, weights in proptest::array::uniform3(1e-3..1e6),
            batch in 2..65_536_usize, steps in 1..1_000_000_000_u64, seed in 0..=i64::MAX as u64, lists in ".*",
        ) {
            let mut c = Config::default();
            (c.loss.tau, c.optim.lr, c.loss.alpha, c.loss.temporal) = (tau, lr, weights, false);
            (c.train.batch, c.train.steps, c.train.epochs, c.train.seed) = (batch, steps, 0, seed);
            c.data.lists = vec![lists];
            proptest::prop_assert_eq!(&Config::parse(&c.to_toml().unwrap(), "test").unwrap(), &c);
        }
    }

    #[test]
    fn a_fine_tuning_loads_back_equal_and_knows_no_contrast() {
        let mut config = Config::fine_tuning();
        let classes = vec!["Run".to_owned(), "Walk \"fast\"".to_owned()];
        config.classify.as_mut().unwrap().classes = classes;
        let text = config.to_toml().unwrap();
        assert_eq!(Config::parse(&text, "test").unwrap(), config);
        assert!(!text.contains("tau"));
        assert_eq!(config.clips_a_step(), 32);
        assert_eq!((config.optim.lr, config.augment.colour_p, config.augment.flip_p), (0.01, 0.0, 0.5));
        assert_eq!(config.differences(&Config::default()), ["the run pretrains, now is a fine-tuning"]);
        assert_eq!(Config::default().differences(&config), ["the run fine-tunes, now is a pretraining"]);

        let small = Sources::fine_tuning().preset(Preset::Small).resolve().unwrap();
        assert_eq!((small.clip.crop, small.model.width, small.train.batch), (48, 0.125, 32));
        let refused = |set| Sources::fine_tuning().set(set).resolve().unwrap_err().to_string();
        assert!(refused("classify.dropout=1").contains("classify.dropout = 1.0: must be from 0"));
        assert!(refused("loss.tau=0.1").contains("loss.tau is of pretraining"));
        let unknown = Sources::default().set("classify.dropout=0.1").resolve().unwrap_err().to_string();
        assert!(unknown.contains("classify.dropout is no key"), "{unknown}");
    }

    #[test]
    fn length_follows_steps_or_epochs() {
        let mut c = Config::default();
        (c.train.batch, c.train.epochs) = (8, 3);
        assert_eq!(c.total_steps(20), 6);
        c.train.steps = 5;
        assert_eq!(c.total_steps(20), 5);
        assert_eq!(c.clips_a_step(), 24);
        c.loss.temporal = false;
        assert_eq!(c.clips_a_step(), 16);
    }

    #[test]
    fn only_what_changes_the_result_differs() {
        let stored = Config::default();
        let mut now = stored.clone();
        now.version = "9".into();
        now.data.workers = 7;
        now.data.shards = "elsewhere".into();
        now.checkpoint.every = 1;
        now.log.every = 1;
        now.train.chunk = 4;
        now.train.steps = 5;
        assert_eq!(now.differences(&stored), Vec::<String>::new());
        now.loss.tau = 0.2;
        now.clip.frames = 8;
        assert_eq!(
            now.differences(&stored),
            ["clip.frames: 16 in the run, 8 now", "loss.tau: 0.07 in the run, 0.2 now"]
        );
        now.optim.schedule = Schedule::Cosine;
        assert!(now.differences(&stored).iter().any(|d| d.starts_with("train.steps")));
    }
}
