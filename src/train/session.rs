//! Joins a data set, a training step and a run's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::DataIdentity;
use super::config::Config;
use super::run::{Run, Step};
use super::run_folder::{Resume, RunFolder};
use crate::data::sampler::Sampler;
use crate::data::{Dataset, Loader, LoaderOptions};
use crate::graph::Backend;
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

/// What a run is made of.
pub(super) struct Material<'a> {
    pub config: &'a Config,
    pub dataset: &'a Arc<Dataset>,
    /// The numbers of the videos to train on, rising.
    pub videos: &'a [usize],
}

impl Material<'_> {
    /// Makes everything that a run works with, and acts on it. `step` makes the training step for a run of so many steps,
    /// initialised from the seed.
    ///
    /// # Errors
    /// Too few videos, too few threads, too little memory, a folder that cannot be used; those of `act`.
    pub fn run<S: Step, T: Send>(
        &self,
        place: &Place,
        step: impl FnOnce(u64) -> Result<S> + Send,
        act: impl FnOnce(Run<'_, S, Loader>) -> Result<T> + Send,
    ) -> Result<T> {
        let Self { config, dataset, videos } = self;
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
            let step = step(config.total_steps(videos.len()))?;
            let folder = RunFolder::open(&place.out)?;
            let start = folder.start(&place.resume, config, data)?;
            let cores = || std::thread::available_parallelism().map_or(1, usize::from);
            let contrast = config.classify.is_none();
            let options = LoaderOptions {
                clip: config.clip.clone(),
                augment: config.augment.clone(),
                batch: config.train.batch,
                seed: config.train.seed,
                spatial: contrast && config.loss.spatial,
                temporal: contrast && config.loss.temporal,
                videos: Some(videos.to_vec()),
                threads: if config.data.workers == 0 { cores() } else { config.data.workers },
                ahead: config.data.prefetch,
            };
            let batches = Loader::new(Arc::clone(dataset), options, start.step())?;
            act(Run { folder: &folder, start: &start, config, data, step, batches, note: None })
        })
    }
}

/// Opens the data set of a configuration.
///
/// # Errors
/// None given, or one that does not open.
pub(super) fn open_data(config: &Config) -> Result<Arc<Dataset>> {
    if config.data.shards.is_empty() {
        return Err(Error::usage(
            "no data set is given",
            "give --data a folder that `hdc ingest` or `hdc synth` wrote",
        ));
    }
    Ok(Arc::new(Dataset::open(Path::new(&config.data.shards))?))
}
