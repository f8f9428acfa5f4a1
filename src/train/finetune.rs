//! `finetune`: a backbone with a linear layer on top, trained to name the class of a clip.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use super::checkpoint::Checkpoint;
use super::classifier::Feed;
use super::config::{ClassifyConfig, Config};
use super::cuda::{CudaBatch, CudaNetworkPlan, CudaRun, CudaTrainStep};
use super::network::NetworkPlan;
use super::run::{Rehearsal, Run, Step, Summary};
use super::session::{Material, Place, open_data};
use super::step::{TrainState, TrainStep};
use crate::data::lists::{self, Labelled, Part, Split};
use crate::data::{Dataset, Loader};
use crate::graph::Backend;
use crate::tensor::NamedTensor;
use crate::{Error, Result};

const BACKBONE: &str = "backbone.";

/// What a backbone starts from, as `--from` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// Random weights, by the seed of the run.
    Scratch,
    /// A checkpoint file, or a run's folder: its newest intact checkpoint.
    Checkpoint(PathBuf),
}

impl FromStr for StartFrom {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "scratch" { Self::Scratch } else { Self::Checkpoint(text.into()) })
    }
}

/// The weights that a backbone starts from.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub checkpoint: Checkpoint,
}

impl Pretrained {
    /// Loads them; none for a start from scratch.
    ///
    /// # Errors
    /// A missing or damaged checkpoint.
    pub fn load(from: &StartFrom) -> Result<Option<Self>> {
        match from {
            StartFrom::Scratch => Ok(None),
            StartFrom::Checkpoint(path) => {
                let (path, checkpoint) = Checkpoint::open(path)?;
                Ok(Some(Self { path, checkpoint }))
            }
        }
    }

    /// The backbone's weights.
    fn backbone(&self) -> impl Iterator<Item = &NamedTensor> {
        self.checkpoint.state.weights.iter().filter(|t| t.name.starts_with(BACKBONE))
    }

    /// Tells these weights from others: `crc32c:…` of names and numbers.
    fn identity(&self) -> String {
        let crc = self.backbone().fold(0, |crc, t| {
            crc32c::crc32c_append(
                crc32c::crc32c_append(crc, t.name.as_bytes()),
                bytemuck::cast_slice(&t.data),
            )
        });
        format!("crc32c:{crc:08x}")
    }

    /// Puts the backbone's weights into `state`, a network as initialised.
    fn transfer(&self, state: &mut TrainState) -> Result<Transfer> {
        let mut theirs: BTreeMap<&str, &NamedTensor> =
            self.backbone().map(|t| (t.name.as_str(), t)).collect();
        let (mut taken, mut new, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for ours in &mut state.weights {
            if !ours.name.starts_with(BACKBONE) {
                new.push(ours.name.clone());
                continue;
            }
            match theirs.remove(ours.name.as_str()) {
                None => faults.push(format!("{} is missing", ours.name)),
                Some(t) if t.shape != ours.shape => {
                    faults.push(format!("{} is {:?}, not {:?}", t.name, t.shape, ours.shape));
                }
                Some(t) => {
                    ours.data.clone_from(&t.data);
                    taken.push(t.name.clone());
                }
            }
        }
        faults.extend(theirs.keys().map(|name| format!("{name} is unknown")));
        if let Some(first) = faults.first() {
            let model = &self.checkpoint.config.model;
            let what = format!(
                "its backbone ({} of width {}) is another one: {} weights do not fit, such as {first}",
                model.backbone.name(),
                model.width,
                faults.len(),
            );
            return Err(Error::data(
                &self.path,
                what,
                "leave model.backbone and model.width to the checkpoint",
            ));
        }
        let kept = |t: &&NamedTensor| !t.name.starts_with(BACKBONE);
        let left = self.checkpoint.state.weights.iter().filter(kept).map(|t| t.name.clone()).collect();
        Ok(Transfer { from: self.path.clone(), taken, new, left })
    }
}

/// What became of the weights of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Transfer {
    /// The file.
    from: PathBuf,
    /// Weights that were taken from it.
    taken: Vec<String>,
    /// Weights that it lacks, initialised from the seed.
    new: Vec<String>,
    /// Weights of it that have no place in a classifier.
    left: Vec<String>,
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |names: &[String]| match names {
            [] => "none".to_owned(),
            [one] => one.clone(),
            [first, .., last] => format!("{} ({first} to {last})", names.len()),
        };
        let (taken, new, left) = (some(&self.taken), some(&self.new), some(&self.left));
        write!(f, "weights from {}: taken {taken}; new {new}; left {left}", self.from.display())
    }
}

/// Fine-tunes to the end, or to the first reason to stop. `config` is one of fine-tuning; its classes and its start are
/// filled in here. A run that goes on takes its own checkpoint, of the same start.
///
/// # Errors
/// A data set, list, configuration, checkpoint or folder that cannot be used; and all of [`Run::train`].
pub fn finetune(config: &Config, pretrained: Option<&Pretrained>, place: &Place) -> Result<Summary> {
    with_run(config, pretrained, place, |run| run.train())
}

/// Everything but the run, and one step of it.
///
/// # Errors
/// As [`finetune`].
pub fn rehearse_finetune(
    config: &Config,
    pretrained: Option<&Pretrained>,
    place: &Place,
) -> Result<Rehearsal> {
    with_run(config, pretrained, place, |run| run.rehearse())
}

fn with_run<T: Send>(
    config: &Config,
    pretrained: Option<&Pretrained>,
    place: &Place,
    act: impl FnOnce(Run<'_, Box<dyn Step>, Loader>) -> Result<T> + Send,
) -> Result<T> {
    let Some(classify) = &config.classify else {
        return Err(Error::usage("these are settings of a pretraining", "give those of a fine-tuning"));
    };
    let dataset = open_data(config)?;
    let labelled = labelled(config, classify, &dataset)?;
    let classes: BTreeSet<&str> = labelled.iter().map(|l| l.label.as_str()).collect();
    if classes.len() < 2 {
        return Err(Error::data(
            &config.data.shards,
            format!("all {} videos have the same {:?}", labelled.len(), classify.label),
            "give videos of two classes at least, or another --label",
        ));
    }
    let mut config = config.clone();
    let classify = ClassifyConfig {
        classes: classes.into_iter().map(str::to_owned).collect(),
        start: pretrained.map_or_else(|| "scratch".into(), Pretrained::identity),
        ..classify.clone()
    };
    config.classify = Some(classify.clone());
    let videos: Vec<usize> = labelled.iter().map(|l| l.video).collect();
    let material = Material { config: &config, dataset: &dataset, videos: &videos };
    let transferred = OnceLock::new();
    let make = |total_steps| {
        let mut step = step(&config, &classify, &labelled, &place.backend, &dataset, total_steps)?;
        if let Some(pretrained) = pretrained {
            let mut state = step.state()?;
            let transfer = pretrained.transfer(&mut state)?;
            step.restore(&state)?;
            transferred.get_or_init(|| transfer.to_string());
        }
        Ok(step)
    };
    material.run(place, make, |run| act(Run { note: transferred.get().cloned(), ..run }))
}

/// The videos to train on with their classes, in order of their numbers.
fn labelled(config: &Config, classify: &ClassifyConfig, dataset: &Dataset) -> Result<Vec<Labelled>> {
    let mut found = BTreeMap::new();
    for list in &config.data.lists {
        for item in Split::read(Path::new(list), Part::Train)?.resolve(dataset, &classify.label)? {
            if let Some(other) = found.insert(item.video, item.label.clone()).filter(|o| *o != item.label) {
                let key = &dataset.video(item.video).key;
                let what = format!("{key} is {} here and {other} in a list before", item.label);
                return Err(Error::data(list, what, "give lists that agree"));
            }
        }
    }
    if config.data.lists.is_empty() {
        found.extend(lists::whole(dataset, &classify.label)?.into_iter().map(|l| (l.video, l.label)));
    }
    Ok(found.into_iter().map(|(video, label)| Labelled { video, label }).collect())
}

/// The training step, initialised from the seed.
fn step(
    config: &Config,
    classify: &ClassifyConfig,
    labelled: &[Labelled],
    backend: &Backend,
    dataset: &Arc<Dataset>,
    total_steps: u64,
) -> Result<Box<dyn Step>> {
    let mut class_of = vec![None; dataset.len()];
    for item in labelled {
        let class = classify.classes.binary_search(&item.label).expect("classes are those of these videos");
        class_of[item.video] = Some(class as u32);
    }
    let (init, optim, seed) = (config.model.init, &config.optim, config.train.seed);
    let feed = Feed::new(class_of, classify.dropout, seed);
    match backend {
        Backend::Cpu => {
            let (clips, extents) = (config.train.batch, config.extents());
            let plan = NetworkPlan::for_this_machine(config.train.chunk, |chunk| {
                NetworkPlan::classifier(&config.model, classify, clips, extents, chunk)
            })?;
            let mut step = TrainStep::new(plan, &config.clip, init, optim, total_steps, seed);
            step.criterion_mut().set_feed(feed);
            Ok(Box::new(step))
        }
        Backend::Cuda(device, precision) => {
            let videos: Vec<usize> = labelled.iter().map(|l| l.video).collect();
            let run = CudaRun {
                clip: &config.clip,
                windows: config.train.batch,
                window_bytes: dataset.window_bytes(&videos, &config.clip),
                init,
                optim,
                total_steps,
                seed,
                feed: Some(feed),
            };
            let batch =
                CudaBatch { clips: config.train.batch, extents: config.extents(), precision: *precision };
            let plan = run.plan(device, config.train.chunk, |chunk| {
                CudaNetworkPlan::classifier(&config.model, classify, optim, batch, chunk)
            })?;
            Ok(Box::new(CudaTrainStep::new(device, plan, &run)?))
        }
    }
}
