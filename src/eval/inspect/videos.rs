//! A folder of video files, not yet ingested.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Audit;
use crate::Result;
use crate::data::ingest::survey;

/// A folder of video files, held against lists.
#[derive(Debug, Serialize)]
pub struct Videos {
    /// The folder.
    pub path: PathBuf,
    /// Whether every listed video is there, every file can be read, and the lists go together.
    pub intact: bool,
    /// What is not, one line each.
    pub faults: Vec<String>,
    /// Videos whose header can be read.
    pub videos: usize,
    /// Files without the name of a video.
    pub ignored: usize,
    /// What the lists say of it.
    pub audit: Audit,
}

/// Reads the header of every video below `path`.
///
/// # Errors
/// Missing ffmpeg; a folder that cannot be read, or without videos; lists that cannot be read.
pub(super) fn videos(path: &Path, lists: &[PathBuf], progress: impl FnMut(usize, usize)) -> Result<Videos> {
    // Before the work, so that a wrong list costs none.
    Audit::new(&[], &[], lists)?;
    let survey = survey(path, progress)?;
    let audit = Audit::new(&survey.videos, &survey.rejected, lists)?;
    let faults = audit.faults();
    Ok(Videos {
        path: path.to_path_buf(),
        intact: faults.is_empty(),
        faults,
        videos: survey.videos.len(),
        ignored: survey.ignored,
        audit,
    })
}

impl fmt::Display for Videos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "videos {}: {} can be read; {} other files",
            self.path.display(),
            self.videos,
            self.ignored
        )?;
        self.audit.fmt(f)
    }
}
