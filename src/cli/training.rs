//! The arguments of every command that trains.

use std::path::{Path, PathBuf};

use super::compute::Compute;
use crate::train::{Place, Preset, Rehearsal, Resume, Sources, Summary};
use crate::{Error, Result};

/// On what, into which folder, by which settings, how long.
#[derive(Debug, clap::Args)]
pub struct Training {
    /// Folder of shards, as `hdc ingest` or `hdc synth` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: Option<PathBuf>,
    /// Only the training videos of this list (repeatable)
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Named settings to start from
    #[arg(long)]
    preset: Option<Preset>,
    /// TOML file of settings, such as the config.toml of another run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as optim.lr=0.05 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    compute: Compute,
    /// Steps of the whole run
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    steps: Option<i64>,
    /// Determines initial weights, order, augmentation and dropout
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Threads that compute; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Where to begin: at the newest checkpoint in the folder (auto), at step 0 with what the folder holds set
    /// aside (never), or at the checkpoint FILE
    #[arg(long, value_name = "auto|never|FILE", default_value = "auto")]
    resume: Resume,
    /// Do everything but the run, and one step of it: if this passes, the run starts
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Training {
    /// These settings over `sources`.
    pub fn over(&self, mut sources: Sources) -> Result<Sources> {
        if let Some(preset) = self.preset {
            sources = sources.preset(preset);
        }
        if let Some(file) = &self.config {
            sources = sources.file(file)?;
        }
        for assignment in &self.set {
            sources = sources.set(assignment);
        }
        let lists = self.list.iter().map(|list| text(list)).collect::<Result<Vec<_>>>()?;
        Ok(sources
            .flag("data.shards", self.data.as_deref().map(text).transpose()?, "--data")
            .flag("data.lists", Some(lists).filter(|l| !l.is_empty()), "--list")
            .flag("train.steps", self.steps, "--steps")
            .flag("train.seed", self.seed, "--seed"))
    }

    /// Trains or rehearses, whichever was asked, and prints what came of it.
    pub fn act(
        self,
        rehearse: impl FnOnce(&Place) -> Result<Rehearsal>,
        train: impl FnOnce(&Place) -> Result<Summary>,
    ) -> Result<()> {
        let backend = self.compute.backend()?;
        let place = Place { out: self.out, resume: self.resume, threads: self.threads.into(), backend };
        let (json, text) = if self.dry_run {
            let r = rehearse(&place)?;
            let text = format!(
                "ok: one step took {:.2} s and {:.2} s of waiting for data ({:.1} clips/s), {} bytes of buffers; \
                 a checkpoint has {} bytes; the run would go from step {} to {}",
                r.step_s, r.data_wait_s, r.clips_per_s, r.peak_bytes, r.checkpoint_bytes, r.start, r.steps
            );
            (serde_json::to_string(&r), text)
        } else {
            let s = train(&place)?;
            let loss = s.last.as_ref().map_or(String::new(), |r| format!(", loss {:.3}", r.loss));
            (serde_json::to_string(&s), format!("{} steps{loss}; {}", s.steps, s.checkpoint.display()))
        };
        let line = if self.json { json.expect("plain numbers and text are JSON") } else { text };
        super::print(&format!("{line}\n"))
    }
}

/// A path as a configuration holds it.
fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::usage(
            format!("{} is not UTF-8, which a configuration cannot hold", path.display()),
            "rename it",
        )
    })
}
