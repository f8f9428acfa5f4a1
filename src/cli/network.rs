//! The arguments of every command that looks at videos with a network.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::compute::Compute;
use crate::data::evaluate::Clips;
use crate::eval::{EmbedOptions, Embedder, Origin, Pool, Weights};
use crate::models::Backbone;
use crate::train::{Preset, Sources};
use crate::{Error, Result};

/// Which network, and what of it.
#[derive(Debug, clap::Args)]
pub struct Network {
    /// Checkpoint file, a run's folder (its newest intact checkpoint), or random:SEED, an untrained network
    #[arg(long, value_name = "FILE|RUN|random:SEED")]
    checkpoint: Origin,
    /// Backbone of an untrained network
    #[arg(long, value_enum)]
    backbone: Option<Backbone>,
    /// Named settings of an untrained network
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// TOML file of settings of an untrained network, such as the config.toml of a run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting of an untrained network, such as model.width=0.25 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Which block is tapped
    #[arg(long, value_name = "3|4|5", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=5))]
    block: u8,
    /// Clips of a video, evenly spread; the mean of their vectors stands for it
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    clips: u16,
    /// Clips encoded at a time [default: as many as take 1 GiB, at most 16]. Changes memory and time only
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    chunk: Option<u16>,
    #[command(flatten)]
    compute: Compute,
    /// Threads that compute, and as many that decode; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
}

impl Network {
    /// Makes the network ready to look.
    pub fn embedder(&self, pool: Pool) -> Result<Embedder> {
        let options = EmbedOptions {
            block: self.block.into(),
            pool,
            clips: Clips::Spread(self.clips.into()),
            chunk: self.chunk.map(usize::from),
            ..EmbedOptions::default()
        };
        Embedder::new(&self.weights()?, options, &self.compute.backend()?)
    }

    fn weights(&self) -> Result<Weights> {
        let settings = self.backbone.is_some() || self.preset.is_some() || self.config.is_some();
        match &self.checkpoint {
            Origin::Checkpoint(_) if settings || !self.set.is_empty() => Err(Error::usage(
                "--backbone, --preset, --config and --set describe an untrained network; a checkpoint holds its own settings",
                "leave them out, or give --checkpoint random:SEED",
            )),
            Origin::Checkpoint(path) => Weights::load(path),
            Origin::Random(seed) if !settings => Err(Error::usage(
                format!("--checkpoint random:{seed} does not say which network"),
                "add --backbone c3d, r3d18 or r21d10, or --preset small, or --config with a run's config.toml",
            )),
            Origin::Random(seed) => {
                let mut sources = Sources::default();
                if let Some(preset) = self.preset {
                    sources = sources.preset(preset);
                }
                if let Some(file) = &self.config {
                    sources = sources.file(file)?;
                }
                for assignment in &self.set {
                    sources = sources.set(assignment);
                }
                let backbone = self.backbone.map(Backbone::name);
                Weights::random(&sources.flag("model.backbone", backbone, "--backbone").resolve()?, *seed)
            }
        }
    }

    /// Runs `act` on the asked number of threads.
    pub fn on_threads<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_threads(self.threads, act)
    }
}

/// Runs `act` on so many threads; 0: one a core.
pub fn on_threads<T: Send>(threads: u16, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build().map_err(|e| {
        let what = format!("{threads} threads cannot be started: {e}");
        Error::device(what, "give --threads a smaller number")
    })?;
    pool.install(act)
}

/// A bar over videos, on a terminal only.
pub fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} videos, {per_sec}, {eta} left");
    ProgressBar::new(0).with_style(style.expect("the template is valid"))
}
