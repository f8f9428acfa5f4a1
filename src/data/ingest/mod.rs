//! Video files → shards: ffmpeg decodes each file in a child process, the frames are scaled and stored as JPEGs.
//!
//! Files are decoded in parallel and written in the order of their keys, so the shards do not depend on the
//! number of jobs. A run that was stopped goes on where it was; a file that cannot be used is listed in
//! `quarantine.jsonl` with the reason, and tried again by the next run. Aspect is that of the stored pixels.

mod child;
mod ffmpeg;
mod sources;
mod survey;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};
use serde::{Deserialize, Serialize};

pub use self::survey::{Survey, Surveyed, survey};

use self::ffmpeg::{Ffmpeg, Limits, Probe};
use self::sources::{Source, scan};
use super::atomic;
use super::shard::{EncodedVideo, Recipe, ShardWriter, VideoInfo};
use crate::{Error, Result};

/// Name of the list of unusable files in the data set's folder.
pub const QUARANTINE: &str = "quarantine.jsonl";

/// How to ingest.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Shorter side of the stored frames, in pixels; smaller videos are scaled up.
    pub short_side: usize,
    /// JPEG quality, 1-100.
    pub quality: u8,
    /// Files decoded at a time.
    pub jobs: usize,
    /// Lists that restrict and label the videos; none: all videos, labelled by their folder.
    pub lists: Vec<PathBuf>,
    /// Longest time for one file.
    pub timeout: Duration,
    /// Most frames of one file.
    pub max_frames: usize,
    /// Size at which a new shard is begun, in bytes.
    pub shard_bytes: u64,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            short_side: 128,
            quality: 90,
            jobs: std::thread::available_parallelism().map_or(1, Into::into),
            lists: Vec::new(),
            timeout: Duration::from_secs(600),
            max_frames: 100_000,
            shard_bytes: 1 << 30,
        }
    }
}

/// A file that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its path below the source folder.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IngestReport {
    /// Videos added by this run.
    pub added: usize,
    /// Videos that were there already.
    pub skipped: usize,
    /// Frames added.
    pub frames: usize,
    /// Bytes of frames added.
    pub bytes: usize,
    /// Videos added although the decoder complained: path and complaint.
    pub warnings: Vec<Rejected>,
    /// Files that could not be used: path and reason.
    pub rejected: Vec<Rejected>,
    /// Files without the name of a video.
    pub ignored: usize,
}

impl IngestReport {
    /// Fails if more than `max_bad` percent of the videos could not be used.
    ///
    /// # Errors
    /// [`Error::Quality`].
    pub fn check(&self, max_bad: f64, out: &Path) -> Result<()> {
        let bad = self.rejected.len();
        let all = self.added + self.skipped + bad;
        let percent = 100.0 * bad as f64 / all.max(1) as f64;
        if bad == 0 || percent <= max_bad {
            return Ok(());
        }
        Err(Error::Quality {
            what: format!("{bad} of {all} videos ({percent:.1}%) could not be used, more than {max_bad}%"),
            hint: format!(
                "see {} for the reasons; the others are in the data set; repair the files and run again, or allow \
                 more with --max-bad",
                out.join(QUARANTINE).display()
            ),
        })
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Files dealt with.
    pub done: usize,
    /// Files to deal with.
    pub total: usize,
    /// The last one.
    pub path: &'a str,
    /// Whether it could be used.
    pub good: bool,
}

/// Ingests the videos below `src` into the data set `out`.
///
/// # Errors
/// Missing ffmpeg; an unreadable source or list; a folder without videos; a data set that cannot be written or
/// was made with other settings. A file that cannot be used is no error: see [`IngestReport::check`].
pub fn ingest(
    src: &Path,
    out: &Path,
    options: &IngestOptions,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<IngestReport> {
    options.check()?;
    let ffmpeg = Ffmpeg::find()?;
    let scan = scan(src, &options.lists)?;
    let mut writer = ShardWriter::open(out, &options.recipe(), options.shard_bytes)?;
    let total = scan.sources.len();
    let todo: Vec<Source> = scan.sources.into_iter().filter(|s| !writer.contains(&s.key)).collect();
    let mut report = IngestReport {
        skipped: total - todo.len(),
        rejected: scan.rejected,
        ignored: scan.ignored,
        ..IngestReport::default()
    };
    let mut done = report.skipped;
    let work = |source: &Source| {
        // One file must not end the run, not even by a bug; a thread that died would leave it waiting.
        catch_unwind(AssertUnwindSafe(|| encode(&ffmpeg, source, options)))
            .unwrap_or_else(|_| Err("ingest stopped by a bug; report this".into()))
    };
    in_order(&todo, options.jobs, &work, |source, encoded| {
        done += 1;
        let path = source.relative.as_str();
        progress(Progress { done, total, path, good: encoded.is_ok() });
        match encoded {
            Ok(video) => {
                writer.append(&video)?;
                report.added += 1;
                report.frames += video.info.frames;
                report.bytes += video.bytes();
                if let Some(warning) = video.info.warning {
                    report.warnings.push(Rejected { path: path.into(), reason: warning });
                }
            }
            Err(reason) => report.rejected.push(Rejected { path: path.into(), reason }),
        }
        Ok(())
    })?;
    report.rejected.sort_by(|a, b| a.path.cmp(&b.path));
    writer.finish()?;
    write_quarantine(out, &report.rejected)?;
    Ok(report)
}

impl IngestOptions {
    fn check(&self) -> Result<()> {
        if !(8..=4096).contains(&self.short_side) {
            let what = format!("a shorter side of {} pixels", self.short_side);
            return Err(Error::usage(what, "give --short-side from 8 to 4096"));
        }
        if !(1..=100).contains(&self.quality) {
            return Err(Error::usage(
                format!("JPEG quality {}", self.quality),
                "give --quality from 1 to 100",
            ));
        }
        Ok(())
    }

    fn recipe(&self) -> Recipe {
        [
            ("made_by", "ingest".to_owned()),
            ("short_side", self.short_side.to_string()),
            ("quality", self.quality.to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
}

/// What the header of a file says; the reason if it cannot be used.
fn header(ffmpeg: &Ffmpeg, source: &Source, short_side: usize, limits: &Limits) -> Result<Probe, String> {
    let bytes = std::fs::metadata(&source.path).map_err(|e| e.to_string())?.len();
    if bytes == 0 {
        return Err("is empty (0 bytes)".into());
    }
    ffmpeg.probe(&source.path, short_side, limits)
}

/// Decodes and encodes one file; the reason if that is not possible.
fn encode(ffmpeg: &Ffmpeg, source: &Source, options: &IngestOptions) -> Result<EncodedVideo, String> {
    let limits = Limits { time: options.timeout, frames: options.max_frames };
    let probe = header(ffmpeg, source, options.short_side, &limits)?;
    let mut video = EncodedVideo::new(VideoInfo {
        key: source.key.clone(),
        labels: source.label.iter().map(|l| ("label".to_owned(), l.clone())).collect(),
        fps: probe.fps,
        height: probe.height,
        width: probe.width,
        source: source.relative.clone(),
        ..VideoInfo::default()
    });
    let (frames, complaint) =
        ffmpeg.decode(&source.path, &probe, &limits, |rgb| video.push_frame(rgb, options.quality))?;
    // Containers miscount by a frame or two; more means that a part is missing.
    let short = probe.frames.filter(|n| frames * 20 < n * 19);
    let counted = short.map(|n| format!("{frames} of the {n} frames that the file announces can be decoded"));
    let parts: Vec<String> = counted.into_iter().chain(complaint).collect();
    video.info.warning = (!parts.is_empty()).then(|| parts.join("; "));
    Ok(video)
}

/// Does `work` on all items by `jobs` threads, and hands the results to `take` in the order of the items. At most
/// `2·jobs + 2` results wait for one that takes long.
fn in_order<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: &(dyn Fn(&T) -> R + Sync),
    mut take: impl FnMut(&T, R) -> Result<()>,
) -> Result<()> {
    let jobs = jobs.clamp(1, items.len().max(1));
    let window = 2 * jobs + 2;
    let (tasks, queue) = bounded::<usize>(window);
    let (sender, results) = unbounded();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (queue, sender) = (queue.clone(), sender.clone());
            scope.spawn(move || {
                for i in queue {
                    if sender.send((i, work(&items[i]))).is_err() {
                        return;
                    }
                }
            });
        }
        drop((queue, sender));
        // Owned here, so that leaving early closes both channels, and with them the threads.
        let (tasks, results) = (tasks, results);
        let (mut next, mut sent, mut waiting) = (0, 0, BTreeMap::new());
        while next < items.len() {
            while sent < items.len().min(next + window) {
                if tasks.send(sent).is_err() {
                    break;
                }
                sent += 1;
            }
            // Ends early only if the threads panicked, which leaving the scope reports.
            let Ok((i, result)) = results.recv() else { break };
            waiting.insert(i, result);
            while let Some(result) = waiting.remove(&next) {
                take(&items[next], result)?;
                next += 1;
            }
        }
        Ok(())
    })
}

fn write_quarantine(out: &Path, rejected: &[Rejected]) -> Result<()> {
    let path = out.join(QUARANTINE);
    let mut text = String::new();
    for file in rejected {
        let line = serde_json::to_string(file)
            .map_err(|e| Error::data(&path, format!("cannot write: {e}"), "report this"))?;
        text.push_str(&line);
        text.push('\n');
    }
    atomic::write(&path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_arrive_in_order_whatever_takes_long() {
        let items: Vec<usize> = (0..60).collect();
        for jobs in [1, 2, 7] {
            let slow = |&i: &usize| {
                std::thread::sleep(Duration::from_millis(if i % 10 == 0 { 8 } else { 0 }));
                i * i
            };
            let mut seen = Vec::new();
            in_order(&items, jobs, &slow, |&i, square| {
                assert_eq!(square, i * i);
                seen.push(i);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, items);
        }
        in_order(&Vec::<usize>::new(), 3, &|_| (), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn an_error_of_the_taker_stops_the_work() {
        let items: Vec<usize> = (0..1000).collect();
        let done = std::sync::atomic::AtomicUsize::new(0);
        let count = |_: &usize| done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let e =
            in_order(&items, 2, &count, |&i, _| if i == 5 { Err(Error::usage("full", "")) } else { Ok(()) });
        assert!(e.is_err());
        assert!(done.into_inner() <= 12, "no more than the window");
    }

    #[test]
    fn quality_is_judged_in_percent_of_all_videos() {
        let bad = |n: usize| vec![Rejected { path: "x".into(), reason: "y".into() }; n];
        let report = |good, n| IngestReport { added: good, rejected: bad(n), ..IngestReport::default() };
        assert!(report(99, 1).check(1.0, Path::new("out")).is_ok());
        assert!(report(0, 0).check(0.0, Path::new("out")).is_ok());
        let e = report(98, 2).check(1.0, Path::new("out")).unwrap_err();
        assert_eq!(e.exit_code(), 3);
        assert!(e.to_string().contains("2 of 100 videos (2.0%)"), "{e}");
        assert!(report(99, 1).check(0.0, Path::new("out")).is_err());
    }
}
