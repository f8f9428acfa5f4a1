//! Checkpoints: all that a run needs to go on exactly, or an evaluation to start from.

mod format;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::step::TrainState;
use crate::data::atomic;
use crate::tensor::NamedTensor;
use crate::{Error, Result};

const MOMENTUM: &str = "momentum.";
const FORMAT: &str = "hdc-checkpoint-1";
const REMEDY: &str = "use another checkpoint of the run, or copy the file again from where it came";

/// Which videos a run draws from: the sampler's order is a function of their number and the seed, so a run can
/// go on only over the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataIdentity {
    /// How many.
    pub videos: usize,
    /// CRC-32C of their keys, in order.
    pub keys: u32,
}

impl DataIdentity {
    /// The identity of the videos with these keys, in the order that the sampler numbers them.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        keys.into_iter().fold(Self { videos: 0, keys: 0 }, |id, key| Self {
            videos: id.videos + 1,
            // The zero byte keeps ("ab", "c") apart from ("a", "bc").
            keys: crc32c::crc32c_append(crc32c::crc32c_append(id.keys, key.as_bytes()), &[0]),
        })
    }
}

/// The state of a run after a step, with what is needed to read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The version of this program that wrote it.
    pub version: String,
    /// The run's configuration.
    pub config: Config,
    /// What the run draws from. Together with the step it is the sampler's position.
    pub data: DataIdentity,
    /// Completed steps, weights and momentum.
    pub state: TrainState,
}

/// What `inspect` says of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The version of the program that wrote it.
    pub version: String,
    /// Completed steps.
    pub step: u64,
    /// Videos drawn so far, which is where the sampler goes on.
    pub videos_drawn: u64,
    /// Videos in the data set.
    pub videos: usize,
    /// Backbone.
    pub backbone: &'static str,
    /// Its width multiplier.
    pub width: f64,
    /// Numbers in the weights of backbone and heads.
    pub parameters: usize,
    /// Name and shape of every weight.
    pub weights: Vec<(String, Vec<usize>)>,
    /// Whether every weight and momentum is finite.
    pub finite: bool,
}

impl Checkpoint {
    /// Saves as `step-N.safetensors` in `folder`, durably or not at all.
    ///
    /// # Errors
    /// [`Error::Io`], as on a full disk; earlier checkpoints are untouched.
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(file_name(self.state.step));
        let metadata = BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("version", self.version.clone()),
            ("config", self.config.to_toml()?),
            ("step", self.state.step.to_string()),
            ("videos_drawn", self.videos_drawn().to_string()),
            ("data_videos", self.data.videos.to_string()),
            ("data_keys", format!("{:08x}", self.data.keys)),
        ]);
        let weights = self.state.weights.iter().map(|t| (t.name.clone(), t));
        let momentum = self.state.momentum.iter().map(|t| (format!("{MOMENTUM}{}", t.name), t));
        let tensors: Vec<_> = weights.chain(momentum).collect();
        atomic::write_with(&path, |out| format::write(out, &metadata, &tensors))?;
        Ok(path)
    }

    /// Loads a checkpoint file, checking every byte.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Data`] if it is cut, damaged or no checkpoint.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let format::Contents { metadata, tensors } =
            format::read(&bytes).map_err(|what| Error::data(path, what, REMEDY))?;
        drop(bytes);
        let note = |key: &str| {
            metadata
                .get(key)
                .ok_or_else(|| Error::data(path, format!("has no `{key}` in its metadata"), REMEDY))
        };
        let number = |key: &str, radix| {
            let text = note(key)?;
            u64::from_str_radix(text, radix).map_err(|_| {
                Error::data(
                    path,
                    format!("has `{key}` = {text:?} in its metadata, which is no number"),
                    REMEDY,
                )
            })
        };
        if note("format")? != FORMAT {
            let what = format!("has format {:?}; this version reads {FORMAT:?}", note("format")?);
            return Err(Error::data(path, what, "use the version of `hdc` that wrote it"));
        }
        let (momentum, weights): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|t| t.name.starts_with(MOMENTUM));
        let momentum: Vec<_> = momentum
            .into_iter()
            .map(|t| NamedTensor { name: t.name[MOMENTUM.len()..].to_owned(), ..t })
            .collect();
        if weights.len() != momentum.len()
            || weights.iter().zip(&momentum).any(|(w, m)| (&w.name, &w.shape) != (&m.name, &m.shape))
        {
            return Err(Error::data(path, "has weights and momentum that do not belong together", REMEDY));
        }
        Ok(Self {
            version: note("version")?.clone(),
            config: Config::parse(note("config")?, &format!("in {}", path.display()))?,
            data: DataIdentity {
                videos: number("data_videos", 10)? as usize,
                keys: number("data_keys", 16)? as u32,
            },
            state: TrainState { step: number("step", 10)?, weights, momentum },
        })
    }

    /// Loads a checkpoint file, or the newest intact one of a run's folder.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`latest`](Self::latest); [`Error::Data`] if a folder holds no checkpoint.
    pub fn open(path: &Path) -> Result<(PathBuf, Self)> {
        if !path.is_dir() {
            return Ok((path.to_path_buf(), Self::load(path)?));
        }
        let inner = path.join("checkpoints");
        let folder = if inner.is_dir() { &inner } else { path };
        Self::latest(folder)?.ok_or_else(|| {
            Error::data(path, "holds no checkpoint", "give a run's folder or a file step-N.safetensors")
        })
    }

    /// The newest intact checkpoint in `folder`, passing over damaged ones with a warning; `None` if there is
    /// no checkpoint at all.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be read; [`Error::Data`] if there are some and all are damaged.
    pub fn latest(folder: &Path) -> Result<Option<(PathBuf, Self)>> {
        let mut damaged = Vec::new();
        for (_, path) in list(folder)?.into_iter().rev() {
            match Self::load(&path) {
                Ok(checkpoint) => return Ok(Some((path, checkpoint))),
                Err(e @ (Error::Data { .. } | Error::Config { .. })) => {
                    tracing::warn!("passing over a damaged checkpoint: {e}");
                    damaged.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
                }
                Err(e) => return Err(e),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        let what = format!("holds no intact checkpoint: {} cannot be used", damaged.join(", "));
        Err(Error::data(folder, what, "bring back a copy of one, or start over with --resume never"))
    }

    /// Checks that the state fits a network whose own state is `current`.
    ///
    /// # Errors
    /// [`Error::Data`] with the backbones and the weights that differ.
    pub fn fits(&self, path: &Path, current: &TrainState) -> Result<()> {
        let shapes = |s: &TrainState| -> BTreeMap<_, _> {
            s.weights.iter().map(|t| (t.name.clone(), t.shape.clone())).collect()
        };
        let (theirs, ours) = (shapes(&self.state), shapes(current));
        let mut differences = Vec::new();
        for (name, shape) in &ours {
            match theirs.get(name) {
                None => differences.push(format!("{name} {shape:?} is missing")),
                Some(other) if other != shape => {
                    differences.push(format!("{name} is {other:?}, not {shape:?}"))
                }
                Some(_) => {}
            }
        }
        differences.extend(
            theirs
                .iter()
                .filter(|(n, _)| !ours.contains_key(*n))
                .map(|(n, s)| format!("{n} {s:?} is unknown")),
        );
        if differences.is_empty() {
            return Ok(());
        }
        let more = differences.len().saturating_sub(8);
        differences.truncate(8);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        let model = &self.config.model;
        let what = format!(
            "is of another network ({} of width {}):\n  - {}",
            model.backbone.name(),
            model.width,
            differences.join("\n  - ")
        );
        Err(Error::data(
            path,
            what,
            "use a checkpoint of the same backbone and width, or the configuration that goes with this one",
        ))
    }

    /// Videos drawn so far.
    fn videos_drawn(&self) -> u64 {
        self.state.step.saturating_mul(self.config.train.batch as u64)
    }

    /// What is in it; `path` is where it came from.
    ///
    /// # Errors
    /// [`Error::Io`] if the file has gone.
    pub fn describe(&self, path: &Path) -> Result<Description> {
        let all = || self.state.weights.iter().chain(&self.state.momentum);
        Ok(Description {
            path: path.to_path_buf(),
            bytes: fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len(),
            version: self.version.clone(),
            step: self.state.step,
            videos_drawn: self.videos_drawn(),
            videos: self.data.videos,
            backbone: self.config.model.backbone.name(),
            width: self.config.model.width,
            parameters: self.state.weights.iter().map(|t| t.data.len()).sum(),
            weights: self.state.weights.iter().map(|t| (t.name.clone(), t.shape.clone())).collect(),
            finite: all().all(|t| t.data.iter().all(|v| v.is_finite())),
        })
    }
}

/// The name of the checkpoint of a step.
pub fn file_name(step: u64) -> String {
    format!("step-{step}.safetensors")
}

/// The checkpoint files in `folder` with their steps, oldest first; none if there is no such folder.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io("read", folder, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let step = name
            .strip_prefix("step-")
            .and_then(|n| n.strip_suffix(".safetensors"))
            .and_then(|n| n.parse().ok());
        if let Some(step) = step {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes all but the newest `keep` checkpoints up to `step`, the one just saved.
///
/// # Errors
/// [`Error::Io`] if one cannot be removed.
pub(super) fn prune(folder: &Path, step: u64, keep: usize) -> Result<()> {
    let older: Vec<_> = list(folder)?.into_iter().filter(|(s, _)| *s <= step).collect();
    for (_, path) in &older[..older.len().saturating_sub(keep)] {
        fs::remove_file(path).map_err(|e| Error::io("remove", path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
