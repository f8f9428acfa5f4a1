//! What is in a data set, a folder of videos, a checkpoint or a run's folder, and whether it is intact.

mod audit;
mod run;
mod shards;
mod verdict;
mod videos;

pub use audit::{Audit, Case, ListReport, SplitReport};
pub use run::{CheckpointReport, RunReport, Saved};
pub use shards::Shards;
pub use videos::Videos;

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::train::checkpoint::list;
use crate::{Error, Result};

/// What was found at a path.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inspection {
    /// A folder of shards.
    Shards(Box<Shards>),
    /// A folder of video files.
    Videos(Box<Videos>),
    /// A checkpoint file, which loaded, so it is intact.
    Checkpoint(Saved),
    /// A run's folder.
    Run(Box<RunReport>),
}

impl Inspection {
    /// What is damaged, one line each.
    pub fn faults(&self) -> &[String] {
        match self {
            Self::Shards(s) => &s.faults,
            Self::Videos(v) => &v.faults,
            Self::Checkpoint(c) => &c.faults,
            Self::Run(r) => &r.faults,
        }
    }
}

/// Looks at `path`, reading all of it; of video files the headers alone. `lists` are held against a data set or a
/// folder of videos, which is looked at only if there are some. `progress(done, all)` is called after each video
/// file.
///
/// # Errors
/// Nothing there, or nothing of ours; a data set that does not open; a checkpoint that does not load; lists that
/// cannot be read, or that go with neither. Damage inside a data set or a run's folder is no error but a fault
/// of what is returned.
pub fn inspect(path: &Path, lists: &[PathBuf], progress: impl FnMut(usize, usize)) -> Result<Inspection> {
    let kind = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    let has = |name: &str| path.join(name).exists();
    if has("index.json") {
        return Ok(Inspection::Shards(Box::new(shards::shards(path, lists)?)));
    }
    let run = kind.is_dir()
        && (["config.toml", "checkpoints", "metrics.jsonl"].into_iter().any(has) || !list(path)?.is_empty());
    match (kind.is_file(), run, lists.is_empty()) {
        (true, _, true) => Ok(Inspection::Checkpoint(run::checkpoint(path)?)),
        (_, true, true) => Ok(Inspection::Run(Box::new(run::run(path)?))),
        (false, false, false) => Ok(Inspection::Videos(Box::new(videos::videos(path, lists, progress)?))),
        (_, _, false) => Err(Error::usage(
            format!("--list does not go with {}, which is no data set", path.display()),
            "give a folder of shards or of video files, or leave the lists out",
        )),
        (false, false, true) => Err(Error::data(
            path,
            "is neither a data set (no index.json) nor a run's folder (no config.toml, no checkpoints)",
            "give what `hdc ingest`, `hdc synth` or `hdc pretrain` wrote; with --list also a folder of video files",
        )),
    }
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
            Self::Videos(v) => v.fmt(f)?,
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
