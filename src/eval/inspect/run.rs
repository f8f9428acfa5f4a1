//! A run's folder and its checkpoints.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::lines;
use crate::Result;
use crate::train::checkpoint::{Description, list};
use crate::train::{Checkpoint, Config, Record};

/// A checkpoint.
#[derive(Debug, Serialize)]
pub struct Saved {
    /// Whether it can be used: its checksum holds, and every number is finite.
    pub intact: bool,
    /// What is in it.
    #[serde(flatten)]
    pub description: Description,
    pub(super) faults: Vec<String>,
}

/// A run's folder.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// The folder.
    pub path: PathBuf,
    /// Whether its configuration, metrics and checkpoints can be used.
    pub intact: bool,
    /// What cannot, one line each.
    pub faults: Vec<String>,
    /// Steps that `metrics.jsonl` records.
    pub steps_done: u64,
    /// Steps of the whole run, if a checkpoint tells the number of videos or the configuration the steps.
    pub steps_planned: Option<u64>,
    /// The last record.
    pub last: Option<Record>,
    /// Its checkpoints, oldest first.
    pub checkpoints: Vec<CheckpointReport>,
    /// The configuration.
    pub config: Option<Config>,
}

/// A checkpoint of a run.
#[derive(Debug, Serialize)]
pub struct CheckpointReport {
    /// Completed steps, by its name.
    pub step: u64,
    /// The file.
    pub path: PathBuf,
    /// Whether it can be used.
    pub intact: bool,
}

/// Loads the checkpoint at `path`.
///
/// # Errors
/// A damaged file.
pub(super) fn checkpoint(path: &Path) -> Result<Saved> {
    let description = Checkpoint::load(path)?.describe(path)?;
    let faults = not_finite(&description).into_iter().collect::<Vec<_>>();
    Ok(Saved { intact: faults.is_empty(), faults, description })
}

fn not_finite(d: &Description) -> Option<String> {
    (!d.finite).then(|| format!("{}: holds weights or momentum that are not finite", d.path.display()))
}

/// Reads all of the run at `path`.
///
/// # Errors
/// A folder that cannot be read; damage is a fault of the report.
pub(super) fn run(path: &Path) -> Result<RunReport> {
    let mut faults = Vec::new();
    let file = path.join("config.toml");
    let config = match file.exists().then(|| Config::load(&file)) {
        None => None,
        Some(Ok(config)) => Some(config),
        Some(Err(e)) => {
            faults.push(e.to_string());
            None
        }
    };
    let inner = path.join("checkpoints");
    let folder = if inner.is_dir() { inner } else { path.to_path_buf() };
    let mut checkpoints = Vec::new();
    let mut videos = None;
    for (step, path) in list(&folder)? {
        let fault = match Checkpoint::load(&path).and_then(|c| c.describe(&path)) {
            Ok(d) => {
                videos = Some(d.videos);
                not_finite(&d)
            }
            Err(e) => Some(e.to_string()),
        };
        checkpoints.push(CheckpointReport { step, path, intact: fault.is_none() });
        faults.extend(fault);
    }
    // A last line cut short is what a killed run leaves; resuming cuts it off.
    let last = lines(&path.join("metrics.jsonl"))?
        .filter_map(|line| serde_json::from_slice::<Record>(&line.ok()?).ok())
        .max_by_key(|record| record.step);
    let newest = checkpoints.iter().rev().find(|c| c.intact).map_or(0, |c| c.step);
    Ok(RunReport {
        path: path.to_path_buf(),
        intact: faults.is_empty(),
        faults,
        steps_done: last.as_ref().map_or(newest, |r| r.step),
        steps_planned: config.as_ref().and_then(|c| match (c.train.steps, videos) {
            (0, None) => None,
            (_, videos) => Some(c.total_steps(videos.unwrap_or(0))),
        }),
        last,
        checkpoints,
        config,
    })
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &self.description;
        writeln!(
            f,
            "checkpoint {}: {} of width {}, after {} steps ({} videos drawn of {})",
            d.path.display(),
            d.backbone,
            d.width,
            d.step,
            d.videos_drawn,
            d.videos
        )?;
        writeln!(
            f,
            "{} parameters in {} tensors, {} bytes, written by version {}",
            d.parameters,
            d.weights.len(),
            d.bytes,
            d.version
        )
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.steps_planned.map_or(String::new(), |n| format!(" of {n}"));
        writeln!(f, "run {}: {} steps done{of}", self.path.display(), self.steps_done)?;
        if let Some(config) = &self.config {
            let (model, clip) = (&config.model, &config.clip);
            writeln!(
                f,
                "{} of width {}, clips of {} frames (stride {}) × {}², {} videos a step, data {}",
                model.backbone.name(),
                model.width,
                clip.frames,
                clip.stride,
                clip.crop,
                config.train.batch,
                config.data.shards
            )?;
        }
        if let Some(last) = &self.last {
            let terms: String = last.terms().map(|(name, term)| format!(" {name} {term:.3}")).collect();
            writeln!(f, "step {}: loss {:.4} ({}), lr {:.3e}", last.step, last.loss, terms.trim(), last.lr)?;
        }
        for c in &self.checkpoints {
            writeln!(f, "{} {}", c.path.display(), if c.intact { "intact" } else { "DAMAGED" })?;
        }
        Ok(())
    }
}
