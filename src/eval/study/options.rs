//! What every study is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::graph::Backend;
use crate::ops::Precision;
use crate::train::{Config, Preset, Sources};
use crate::{Error, Result};

/// What every study is told.
#[derive(Clone, Debug)]
pub struct StudyOptions {
    /// The study's folder.
    pub out: PathBuf,
    /// Settings to start from.
    pub preset: Preset,
    /// `section.key=value`, over the preset; a row's own settings go over these.
    pub sets: Vec<String>,
    /// Each row is done with each of these.
    pub seeds: Vec<u64>,
    /// Steps of pretraining; `None`: the preset's.
    pub steps: Option<u64>,
    /// Clips of a video, evenly spread, whose mean vector stands for it.
    pub clips: usize,
    /// Threads; 0: one a core.
    pub threads: usize,
    /// Where to compute.
    pub backend: Backend,
}

impl StudyOptions {
    /// # Errors
    /// No seed, or one twice.
    pub(super) fn check(&self) -> Result<()> {
        if self.seeds.is_empty() {
            return Err(Error::usage("no seed is given", "give --seeds, as in --seeds 0,1,2"));
        }
        let mut seen = BTreeSet::new();
        match self.seeds.iter().find(|seed| !seen.insert(**seed)) {
            Some(seed) => Err(Error::usage(format!("seed {seed} is given twice"), "give each seed once")),
            None => Ok(()),
        }
    }

    /// The configuration of a row: preset, settings, `row`'s settings, seed.
    ///
    /// # Errors
    /// Every fault in them.
    pub(super) fn config(&self, row: &[&str], seed: u64) -> Result<Config> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let sources = Sources::default().preset(self.preset).set("log.every=100");
        let sets = self.sets.iter().map(String::as_str).chain(row.iter().copied());
        sets.fold(sources, |sources, set| sources.set(set))
            .flag("train.steps", self.steps.map(number), "--steps")
            .flag("train.seed", Some(number(seed)), "--seeds")
            .resolve()
    }

    /// The arithmetic, for settings.
    pub(super) fn precision(&self) -> &'static str {
        match self.backend {
            Backend::Cuda(_, Precision::Bf16) => "bf16",
            Backend::Cpu | Backend::Cuda(_, Precision::F32) => "f32",
        }
    }

    /// Runs `act` on the asked number of threads.
    ///
    /// # Errors
    /// Threads that cannot be started; that of `act`.
    pub(super) fn on_threads<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build().map_err(|e| {
            Error::device(
                format!("{} threads cannot be started: {e}", self.threads),
                "give --threads a smaller number",
            )
        })?;
        pool.install(act)
    }
}

/// A path as a configuration holds it.
pub(super) fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::usage(
            format!("{} is not UTF-8, which a configuration cannot hold", path.display()),
            "give another path",
        )
    })
}
