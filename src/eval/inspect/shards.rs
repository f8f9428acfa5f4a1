//! A folder of shards: every byte of it, and what lists say.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Audit, lines};
use crate::data::ingest::{QUARANTINE, Rejected, Surveyed};
use crate::data::{Dataset, VideoInfo};
use crate::{Error, Result};

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
    /// What lists say of it, if any were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
}

/// Reads every byte of the data set at `path`, and holds it against the lists.
///
/// # Errors
/// A data set that does not open; lists that cannot be read.
pub(super) fn shards(path: &Path, lists: &[PathBuf]) -> Result<Shards> {
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
    let quarantine = quarantine(path)?;
    let audit =
        (!lists.is_empty()).then(|| Audit::new(&surveyed(&dataset), &quarantine, lists)).transpose()?;
    let mut faults: Vec<String> = dataset.verify().iter().map(Error::to_string).collect();
    faults.extend(audit.iter().flat_map(Audit::faults));
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
        quarantined: quarantine.len(),
        recipe: dataset.recipe().clone(),
        audit,
    })
}

/// Its videos, as a survey of the files that they were made of.
fn surveyed(dataset: &Dataset) -> Vec<Surveyed> {
    let one =
        |v: &VideoInfo| Surveyed { key: v.key.clone(), source: v.source.clone(), frames: Some(v.frames) };
    dataset.videos().map(one).collect()
}

/// What ingest could not use. A line that is none of its own tells nothing, but counts.
fn quarantine(folder: &Path) -> Result<Vec<Rejected>> {
    let path = folder.join(QUARANTINE);
    lines(&path)?
        .map(|line| {
            let line = line.map_err(|e| Error::io("read", &path, e))?;
            Ok(serde_json::from_slice(&line).unwrap_or_else(|_| Rejected {
                path: String::from_utf8_lossy(&line).into_owned(),
                reason: "is no line of ingest".into(),
            }))
        })
        .collect()
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
        self.recipe.iter().try_for_each(|(key, value)| writeln!(f, "made with {key} = {value}"))?;
        self.audit.iter().try_for_each(|audit| audit.fmt(f))
    }
}
