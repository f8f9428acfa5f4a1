//! A run's folder: who may write to it, where a run in it begins, and what is set aside for that.
//!
//! ```text
//! config.toml  metrics.jsonl  log.txt  events.out.tfevents.*  loss.svg
//! checkpoints/step-N.safetensors   previous-N/ (what an earlier start left behind)   .run.lock
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::checkpoint::{self, Checkpoint, DataIdentity};
use super::config::Config;
use crate::data::atomic;
use crate::{Error, Result};

const LOCK: &str = ".run.lock"; // not `.lock`, which a data set may have
const LOG: &str = "log.txt";
const ASIDE: &str = "previous-";

/// Where a run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// At the newest intact checkpoint of the folder, if there is one.
    #[default]
    Auto,
    /// At step 0; what the folder holds is set aside.
    Never,
    /// At this checkpoint.
    From(PathBuf),
}

impl FromStr for Resume {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "never" => Self::Never,
            path => Self::From(path.into()),
        })
    }
}

/// Where a run begins, found but not yet acted on.
#[derive(Debug)]
pub struct Start {
    /// The checkpoint to go on from, and its file.
    pub checkpoint: Option<(PathBuf, Checkpoint)>,
    /// Whether what the folder holds belongs to another run.
    anew: bool,
}

impl Start {
    /// Completed steps.
    pub fn step(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |(_, c)| c.state.step)
    }

    /// The step of the checkpoint, if it lies in the folder.
    pub(super) fn saved(&self) -> Option<u64> {
        self.checkpoint.as_ref().filter(|_| !self.anew).map(|(_, c)| c.state.step)
    }
}

/// A run's folder, locked for this process while this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Creates the folder if needed, and locks it.
    ///
    /// # Errors
    /// [`Error::Data`] if another process uses it or it holds something else; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
        let mut entries = fs::read_dir(path).map_err(|e| Error::io("read", path, e))?;
        let ours = [LOCK, "config.toml", "checkpoints"].iter().any(|name| path.join(name).exists());
        if !ours && entries.next().is_some() {
            let what = "is not empty and holds no run";
            return Err(Error::data(path, what, "give --out a new or empty folder, or the folder of a run"));
        }
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .map_err(|e| Error::io("open", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&lock_path).unwrap_or_default();
                let who = pid
                    .trim()
                    .parse::<u32>()
                    .map_or("another process".into(), |pid| format!("process {pid}"));
                let what = format!("is in use by {who}");
                return Err(Error::data(path, what, "wait for it, stop it, or give another --out"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &lock_path, e)),
        }
        // For the message above only; the lock is what counts.
        let note = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        note.map_err(|e| Error::io("write", &lock_path, e))?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Its `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Finds where a run of `config` over `data` begins; changes nothing.
    ///
    /// # Errors
    /// [`Error::Data`] if the checkpoint is damaged, is of another data set, or of a configuration that
    /// differs in what determines the result (all differences are listed); [`Error::Io`].
    pub fn start(&self, resume: &Resume, config: &Config, data: DataIdentity) -> Result<Start> {
        let (checkpoint, anew) = match resume {
            Resume::Auto => (Checkpoint::latest(&self.checkpoints())?, false),
            Resume::Never => (None, true),
            Resume::From(path) => {
                let file = fs::canonicalize(path).map_err(|e| Error::io("read", path, e))?;
                let inside = fs::canonicalize(self.checkpoints()).is_ok_and(|c| file.parent() == Some(&c));
                (Some(Checkpoint::open(path)?), !inside)
            }
        };
        if let Some((path, checkpoint)) = &checkpoint {
            let mut differences = config.differences(&checkpoint.config);
            if checkpoint.data != data {
                let (then, now) = (checkpoint.data.videos, data.videos);
                differences.push(if then == now {
                    "the videos have other names".into()
                } else {
                    format!("the data set: {then} videos in the run, {now} now")
                });
            }
            if !differences.is_empty() {
                let what = format!(
                    "was made with other settings, so going on from it would not be the same run:\n  - {}",
                    differences.join("\n  - ")
                );
                let hint = "give the same settings, start over with --resume never, or give another --out";
                return Err(Error::data(path, what, hint));
            }
        }
        Ok(Start { checkpoint, anew })
    }

    /// Makes the folder ready for `start`: sets aside what does not lead up to it, and writes `config.toml`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&self, start: &Start, config: &Config) -> Result<()> {
        let checkpoints = self.checkpoints();
        let mut stale = if start.anew { self.all()? } else { self.after(start.step())? };
        // The checkpoints go first: if this is interrupted, no later start takes them for its own.
        stale.sort_by_key(|path| *path != checkpoints);
        if !stale.is_empty() {
            let aside = self.aside()?;
            for path in &stale {
                let to = aside.join(path.file_name().unwrap_or_default());
                fs::rename(path, to).map_err(|e| Error::io("move aside", path, e))?;
            }
            self.log(&format!("set aside {} files or folders in {}", stale.len(), aside.display()))?;
        }
        fs::create_dir_all(&checkpoints).map_err(|e| Error::io("create", &checkpoints, e))?;
        self.remove_temporaries(&self.path)?;
        self.remove_temporaries(&checkpoints)?;
        let text = config.to_toml()?;
        let head = "# The resolved configuration of this run; `--config` takes it.\n";
        atomic::write_with(&self.path.join("config.toml"), |out| write!(out, "{head}{text}"))
    }

    /// All that belongs to a run.
    fn all(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|e| Error::io("read", &self.path, e))? {
            let entry = entry.map_err(|e| Error::io("read", &self.path, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != LOCK && name != LOG && !name.starts_with(ASIDE) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// Checkpoints after `step`: damaged ones, or of a future that is given up.
    fn after(&self, step: u64) -> Result<Vec<PathBuf>> {
        let all = checkpoint::list(&self.checkpoints())?;
        Ok(all.into_iter().filter(|(s, _)| *s > step).map(|(_, path)| path).collect())
    }

    /// A new folder for what is set aside.
    fn aside(&self) -> Result<PathBuf> {
        let mut n = 0_u64;
        loop {
            n += 1;
            let path = self.path.join(format!("{ASIDE}{n}"));
            match fs::create_dir(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", path, e)),
                Ok(()) => return Ok(path),
            }
        }
    }

    fn remove_temporaries(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))? {
            let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
            if path.file_name().is_some_and(|n| atomic::is_temporary(&n.to_string_lossy())) {
                fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// Adds a line to `log.txt`, with the time.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log(&self, line: &str) -> Result<()> {
        let path = self.path.join(LOG);
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{now} {line}\n").as_bytes()))
            .map_err(|e| Error::io("write", &path, e))
    }
}
