//! What is in a data set, a checkpoint or a run's folder, and whether it is intact.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::Dataset;
use crate::data::ingest::QUARANTINE;
use crate::train::checkpoint::{Description, list};
use crate::train::{Checkpoint, Config, Record};
use crate::{Error, Result};

/// What was found at a path.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inspection {
    /// A folder of shards.
    Shards(Shards),
    /// A checkpoint file, which loaded, so it is intact.
    Checkpoint(Saved),
    /// A run's folder.
    Run(Box<RunReport>),
}

/// A folder of shards.
#[derive(Debug, Serialize)]
pub struct Shards {
    /// The folder.
    pub path: PathBuf,
    /// Whether every byte is as it was written.
    pub intact: bool,
    /// What is not, one line each.
    pub faults: Vec<String>,
    /// How many videos.
    pub videos: usize,
    /// How many shards.
    pub shards: usize,
    /// Bytes of the shards.
    pub bytes: u64,
    /// Frames of all videos together.
    pub frames: usize,
    /// Shortest, median and longest video, in frames.
    pub lengths: [usize; 3],
    /// Videos by size of frame, `height×width`.
    pub sizes: BTreeMap<String, usize>,
    /// Videos by label name and class.
    pub labels: BTreeMap<String, BTreeMap<String, usize>>,
    /// Videos that the decoder complained about.
    pub warnings: usize,
    /// Files that could not be used, by `quarantine.jsonl`.
    pub quarantined: usize,
    /// How it was made.
    pub recipe: BTreeMap<String, String>,
}

/// A checkpoint.
#[derive(Debug, Serialize)]
pub struct Saved {
    /// Whether it can be used: its checksum holds, and every number is finite.
    pub intact: bool,
    /// What is in it.
    #[serde(flatten)]
    pub description: Description,
    faults: Vec<String>,
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

impl Inspection {
    /// What is damaged, one line each.
    pub fn faults(&self) -> &[String] {
        match self {
            Self::Shards(s) => &s.faults,
            Self::Checkpoint(c) => &c.faults,
            Self::Run(r) => &r.faults,
        }
    }
}

/// Looks at `path`, reading all of it.
///
/// # Errors
/// Nothing there, or nothing of ours; a data set that does not open; a checkpoint that does not load. Damage
/// inside a data set or a run's folder is no error but a fault of what is returned.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let kind = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if kind.is_file() {
        return Ok(Inspection::Checkpoint(checkpoint(path)?));
    }
    let has = |name: &str| path.join(name).exists();
    if has("index.json") {
        return Ok(Inspection::Shards(shards(path)?));
    }
    if ["config.toml", "checkpoints", "metrics.jsonl"].into_iter().any(has) || !list(path)?.is_empty() {
        return Ok(Inspection::Run(Box::new(run(path)?)));
    }
    Err(Error::data(
        path,
        "is neither a data set (no index.json) nor a run's folder (no config.toml, no checkpoints)",
        "give what `hdc ingest`, `hdc synth` or `hdc pretrain` wrote",
    ))
}

fn shards(path: &Path) -> Result<Shards> {
    let dataset = Dataset::open(path)?;
    let mut labels = BTreeMap::<String, BTreeMap<String, usize>>::new();
    let mut sizes = BTreeMap::new();
    for video in dataset.videos() {
        *sizes.entry(format!("{}×{}", video.height, video.width)).or_default() += 1;
        for (name, class) in &video.labels {
            *labels.entry(name.clone()).or_default().entry(class.clone()).or_default() += 1;
        }
    }
    let mut lengths: Vec<usize> = dataset.videos().map(|v| v.frames).collect();
    lengths.sort_unstable();
    let faults: Vec<String> = dataset.verify().iter().map(Error::to_string).collect();
    Ok(Shards {
        path: path.to_path_buf(),
        intact: faults.is_empty(),
        faults,
        videos: dataset.len(),
        shards: dataset.shards(),
        bytes: dataset.bytes(),
        frames: lengths.iter().sum(),
        lengths: [lengths[0], lengths[lengths.len() / 2], lengths[lengths.len() - 1]],
        sizes,
        labels,
        warnings: dataset.videos().filter(|v| v.warning.is_some()).count(),
        quarantined: lines(&path.join(QUARANTINE))?.count(),
        recipe: dataset.recipe().clone(),
    })
}

fn checkpoint(path: &Path) -> Result<Saved> {
    let description = Checkpoint::load(path)?.describe(path)?;
    let faults = not_finite(&description).into_iter().collect::<Vec<_>>();
    Ok(Saved { intact: faults.is_empty(), faults, description })
}

fn not_finite(d: &Description) -> Option<String> {
    (!d.finite).then(|| format!("{}: holds weights or momentum that are not finite", d.path.display()))
}

fn run(path: &Path) -> Result<RunReport> {
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

/// The lines of a file; none if there is no such file.
fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<Vec<u8>>>> {
    let file = match File::open(path) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("read", path, e)),
    };
    Ok(file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n')))
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shards(s) => s.fmt(f)?,
            Self::Checkpoint(c) => c.fmt(f)?,
            Self::Run(r) => r.fmt(f)?,
        }
        if self.faults().is_empty() {
            return writeln!(f, "intact");
        }
        writeln!(f, "NOT intact:")?;
        self.faults().iter().try_for_each(|fault| writeln!(f, "  - {fault}"))
    }
}

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [shortest, median, longest] = self.lengths;
        writeln!(
            f,
            "data set {}: {} videos, {} frames ({shortest} to {longest} a video, median {median})",
            self.path.display(),
            self.videos,
            self.frames
        )?;
        writeln!(f, "{} bytes in {} shards", self.bytes, self.shards)?;
        let some = |map: &BTreeMap<String, usize>| {
            let shown: Vec<_> = map.iter().take(12).map(|(k, n)| format!("{k} ({n})")).collect();
            let more = if map.len() > 12 { ", …" } else { "" };
            format!("{}{more}", shown.join(", "))
        };
        writeln!(f, "frames of {}", some(&self.sizes))?;
        for (name, classes) in &self.labels {
            writeln!(f, "label {name:?}, {} classes: {}", classes.len(), some(classes))?;
        }
        if self.warnings > 0 {
            writeln!(f, "{} videos with a warning of the decoder", self.warnings)?;
        }
        if self.quarantined > 0 {
            writeln!(f, "{} files could not be used: see {QUARANTINE}", self.quarantined)?;
        }
        self.recipe.iter().try_for_each(|(key, value)| writeln!(f, "made with {key} = {value}"))
    }
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
