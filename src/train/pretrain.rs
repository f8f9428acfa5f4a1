//! `pretrain`: joins a data set, a network and a run's folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::DataIdentity;
use super::config::Config;
use super::cuda::{CudaNetworkPlan, CudaRun, CudaTrainStep};
use super::network::NetworkPlan;
use super::run::Step;
use super::run::{Rehearsal, Run, Summary};
use super::run_folder::{Resume, RunFolder};
use super::step::TrainStep;
use crate::data::lists::{Part, Split, aliases};
use crate::data::sampler::Sampler;
use crate::data::{Dataset, Loader, LoaderOptions};
use crate::device::{Device, host, require_memory};
use crate::graph::Backend;
use crate::ops::Precision;
use crate::{Error, Result};

/// What changes nothing about the result of a run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The run's folder.
    pub out: PathBuf,
    /// Where in it to begin.
    pub resume: Resume,
    /// Threads that compute; 0: as many as there are cores.
    pub threads: usize,
    /// Where to compute.
    pub backend: Backend,
}

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
    if config.data.shards.is_empty() {
        return Err(Error::usage(
            "no data set is given",
            "give --data a folder that `hdc ingest` or `hdc synth` wrote",
        ));
    }
    let dataset = Arc::new(Dataset::open(Path::new(&config.data.shards))?);
    let videos = chosen(config, &dataset)?;
    // Here as well as in the loader, so that too few videos leave no folder behind.
    Sampler::new(videos.len(), config.train.batch, config.train.seed)?;
    let data = DataIdentity::of(videos.iter().map(|&v| dataset.video(v).key.as_str()));

    let pool = rayon::ThreadPoolBuilder::new().num_threads(place.threads).build().map_err(|e| {
        Error::device(
            format!("{} threads cannot be started: {e}", place.threads),
            "give --threads a smaller number",
        )
    })?;
    pool.install(|| {
        // Before the folder, so that too little memory leaves none behind; on these threads, for the sizes of
        // workspaces follow their number.
        let total_steps = config.total_steps(videos.len());
        let step = step(config, &place.backend, &dataset, &videos, total_steps)?;
        let folder = RunFolder::open(&place.out)?;
        let start = folder.start(&place.resume, config, data)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let options = LoaderOptions {
            clip: config.clip.clone(),
            augment: config.augment.clone(),
            batch: config.train.batch,
            seed: config.train.seed,
            spatial: config.loss.spatial,
            temporal: config.loss.temporal,
            videos: Some(videos),
            threads: if config.data.workers == 0 { cores() } else { config.data.workers },
            ahead: config.data.prefetch,
        };
        let batches = Loader::new(dataset, options, start.step())?;
        act(Run { folder: &folder, start: &start, config, data, step, batches })
    })
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
    match backend {
        Backend::Cpu => {
            Ok(Box::new(TrainStep::new(plan(config)?, &config.clip, init, optim, total_steps, seed)))
        }
        Backend::Cuda(device, precision) => {
            let window_bytes = dataset.window_bytes(videos, &config.clip);
            let plan = cuda_plan(config, device, *precision, window_bytes)?;
            let run = CudaRun {
                clip: &config.clip,
                loss: &config.loss,
                videos: config.train.batch,
                window_bytes,
                init,
                optim,
                total_steps,
                seed,
            };
            Ok(Box::new(CudaTrainStep::new(device, plan, &run)?))
        }
    }
}

/// The network of a configuration on a device, encoded in the configured chunk, or in the largest that fits what is free
/// beside the staged batches.
fn cuda_plan(
    config: &Config,
    device: &Device,
    precision: Precision,
    window_bytes: usize,
) -> Result<CudaNetworkPlan> {
    let (model, loss, optim, videos) = (&config.model, &config.loss, &config.optim, config.train.batch);
    let extents = [config.clip.frames, config.clip.crop, config.clip.crop];
    if config.train.chunk > 0 {
        let chunk = Some(config.train.chunk);
        return CudaNetworkPlan::new(model, loss, optim, precision, videos, extents, chunk);
    }
    let (free, _) = device.memory()?;
    let staged = CudaTrainStep::staging_bytes(&config.clip, loss, videos, window_bytes);
    // Some stays free for what the driver takes besides: the kernels themselves, when they are loaded.
    let reserve = (free / 100).max(256 << 20);
    let memory = free.saturating_sub(reserve + staged);
    CudaNetworkPlan::within(model, loss, optim, precision, videos, extents, memory)
}

/// The network of a configuration, encoded in the configured chunk, or in the largest that takes no more than
/// most of the memory that is free.
fn plan(config: &Config) -> Result<NetworkPlan<f32>> {
    let (model, loss, videos) = (&config.model, &config.loss, config.train.batch);
    let extents = [config.clip.frames, config.clip.crop, config.clip.crop];
    let plan = match (config.train.chunk, host().available_memory) {
        (0, Some(free)) => NetworkPlan::within(model, loss, videos, extents, (free / 5 * 4) as usize),
        (0, None) => NetworkPlan::new(model, loss, videos, extents, None),
        (chunk, _) => NetworkPlan::new(model, loss, videos, extents, Some(chunk)),
    }?;
    let what = format!("a step with {} of its {} clips at a time", plan.chunk(), plan.clips());
    let hint =
        "lower train.chunk, clip.crop, clip.frames or model.width; `hdc plan` shows what takes how much";
    require_memory(&what, plan.bytes().total(), hint)?;
    Ok(plan)
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
