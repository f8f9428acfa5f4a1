//! `pretrain`: which videos, and which training step.

use std::collections::BTreeSet;
use std::path::Path;

use super::config::Config;
use super::cuda::{CudaNetworkPlan, CudaRun, CudaTrainStep};
use super::network::NetworkPlan;
use super::run::{Rehearsal, Run, Step, Summary};
use super::session::{Material, Place, open_data};
use super::step::TrainStep;
use crate::data::lists::{Part, Split, aliases};
use crate::data::{Dataset, Loader};
use crate::graph::Backend;
use crate::{Error, Result};

/// Pretrains to the end, or to the first reason to stop.
///
/// # Errors
/// A data set, configuration or folder that cannot be used; and all of [`Run::train`].
pub fn pretrain(config: &Config, place: &Place) -> Result<Summary> {
    with_run(config, place, |run| run.train())
}

/// Everything but the run, and one step of it.
///
/// # Errors
/// As [`pretrain`].
pub fn rehearse(config: &Config, place: &Place) -> Result<Rehearsal> {
    with_run(config, place, |run| run.rehearse())
}

fn with_run<T: Send>(
    config: &Config,
    place: &Place,
    act: impl FnOnce(Run<'_, Box<dyn Step>, Loader>) -> Result<T> + Send,
) -> Result<T> {
    let dataset = open_data(config)?;
    let videos = chosen(config, &dataset)?;
    let material = Material { config, dataset: &dataset, videos: &videos };
    material.run(place, |total_steps| step(config, &place.backend, &dataset, &videos, total_steps), act)
}

/// The training step of a configuration, initialised from its seed.
fn step(
    config: &Config,
    backend: &Backend,
    dataset: &Dataset,
    videos: &[usize],
    total_steps: u64,
) -> Result<Box<dyn Step>> {
    let (init, optim, seed) = (config.model.init, &config.optim, config.train.seed);
    let (model, loss, extents) = (&config.model, &config.loss, config.extents());
    let videos_a_step = config.train.batch;
    match backend {
        Backend::Cpu => {
            let plan = NetworkPlan::for_this_machine(config.train.chunk, |chunk| {
                NetworkPlan::new(model, loss, videos_a_step, extents, chunk)
            })?;
            Ok(Box::new(TrainStep::new(plan, &config.clip, init, optim, total_steps, seed)))
        }
        Backend::Cuda(device, precision) => {
            let run = CudaRun {
                clip: &config.clip,
                windows: videos_a_step * if loss.temporal { 2 } else { 1 },
                window_bytes: dataset.window_bytes(videos, &config.clip),
                init,
                optim,
                total_steps,
                seed,
                feed: None,
            };
            let plan = run.plan(device, config.train.chunk, |chunk| {
                CudaNetworkPlan::new(model, loss, optim, *precision, videos_a_step, extents, chunk)
            })?;
            Ok(Box::new(CudaTrainStep::new(device, plan, &run)?))
        }
    }
}

/// The numbers of the videos to train on, in the order of the data set.
fn chosen(config: &Config, dataset: &Dataset) -> Result<Vec<usize>> {
    if config.data.lists.is_empty() {
        return Ok((0..dataset.len()).collect());
    }
    let mut chosen = BTreeSet::new();
    for list in &config.data.lists {
        let split = Split::read(Path::new(list), Part::Train)?;
        let mut missing = Vec::new();
        for entry in &split.entries {
            match aliases(&entry.key).iter().find_map(|key| dataset.find(key)) {
                Some(video) => drop(chosen.insert(video)),
                None => missing.push(entry.key.as_str()),
            }
        }
        if let Some(first) = missing.first() {
            let root = dataset.root().display();
            let what = format!(
                "{} of its {} videos are not in {root}, such as {first}",
                missing.len(),
                split.entries.len()
            );
            return Err(Error::data(list, what, "ingest these videos as well, or give another list"));
        }
    }
    Ok(chosen.into_iter().collect())
}
