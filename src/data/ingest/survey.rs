//! A look at the videos of a folder without decoding them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::ffmpeg::{Ffmpeg, Limits};
use super::sources::scan;
use super::{IngestOptions, Rejected, header, in_order};
use crate::Result;

/// A video file of which the header can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Surveyed {
    /// Its key: its path below the folder, without extension.
    pub key: String,
    /// Its path below the folder.
    pub source: String,
    /// Frames that its container counts; some containers do not.
    pub frames: Option<usize>,
}

/// What a folder of videos holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Videos, by key.
    pub videos: Vec<Surveyed>,
    /// Files that [`super::ingest`] would not take either: path and reason.
    pub rejected: Vec<Rejected>,
    /// Files without the name of a video.
    pub ignored: usize,
}

/// Reads the header of every video below `src`, in parallel and with the limits of ingest. What only decoding
/// shows, such as damage in the middle, stays unseen. `progress(done, all)` is called after each.
///
/// # Errors
/// Missing ffmpeg; an unreadable folder, or one without videos.
pub fn survey(src: &Path, mut progress: impl FnMut(usize, usize)) -> Result<Survey> {
    let options = IngestOptions::default();
    let limits = Limits { time: options.timeout, frames: options.max_frames };
    let ffmpeg = Ffmpeg::find()?;
    let scan = scan(src, &[])?;
    let mut survey = Survey { rejected: scan.rejected, ignored: scan.ignored, ..Survey::default() };
    let mut done = 0;
    let work = |source: &_| {
        catch_unwind(AssertUnwindSafe(|| header(&ffmpeg, source, options.short_side, &limits)))
            .unwrap_or_else(|_| Err("looking at it failed by a bug; report this".into()))
    };
    in_order(&scan.sources, options.jobs, &work, |source, probe| {
        done += 1;
        progress(done, scan.sources.len());
        let path = source.relative.clone();
        match probe {
            Ok(probe) => {
                survey.videos.push(Surveyed { key: source.key.clone(), source: path, frames: probe.frames });
            }
            Err(reason) => survey.rejected.push(Rejected { path, reason }),
        }
        Ok(())
    })?;
    survey.rejected.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(survey)
}
