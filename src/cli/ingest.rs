//! `hdc ingest`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Result;
use crate::data::ingest::{IngestOptions, IngestReport, QUARANTINE, ingest};

/// Turn video files into a data set of shards
///
/// SRC is a folder of videos, or of one folder a class, whose names become
/// the labels. Files that cannot be used are listed in OUT/quarantine.jsonl
/// with the reason. A run that was stopped goes on where it was: run the same
/// command again. Needs ffmpeg.
///
/// Example: hdc ingest UCF-101 ucf101 --jobs 8
/// Example: hdc ingest videos train --list trainlist01.txt
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folder of videos
    src: PathBuf,
    /// Folder of the data set, made if need be
    out: PathBuf,
    /// Shorter side of the stored frames, in pixels
    #[arg(long, default_value_t = 128)]
    short_side: usize,
    /// Take only the videos of this list, with its labels: UCF101 list, HMDB51 split ("DIR/*_test_split1.txt",
    /// quoted) or Kinetics CSV; may be given several times
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// JPEG quality, 1-100
    #[arg(long, default_value_t = 90)]
    quality: u8,
    /// Files decoded at a time [default: number of CPU threads]
    #[arg(long)]
    jobs: Option<usize>,
    /// Exit with code 3 if more than this part of the videos cannot be used
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    max_bad: f64,
    /// Longest time for one file, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Most frames of one file
    #[arg(long, default_value_t = 100_000)]
    max_frames: usize,
    /// Size at which a new shard is begun, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    shard_size: u64,
    /// Report as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Ingests, reports, then judges the quality.
pub fn run(args: Args) -> Result<()> {
    let defaults = IngestOptions::default();
    let options = IngestOptions {
        short_side: args.short_side,
        quality: args.quality,
        jobs: args.jobs.unwrap_or(defaults.jobs),
        lists: args.list,
        timeout: Duration::from_secs(args.timeout),
        max_frames: args.max_frames,
        shard_bytes: args.shard_size.saturating_mul(1 << 20),
    };
    let begin = Instant::now();
    let bar = ProgressBar::no_length().with_style(style());
    let report = ingest(&args.src, &args.out, &options, |p| {
        bar.set_length(p.total as u64);
        bar.set_position(p.done as u64);
        bar.set_message(p.path.to_owned());
    });
    bar.finish_and_clear();
    let report = report?;
    let seconds = begin.elapsed().as_secs_f64();
    for file in &report.rejected {
        eprintln!("unusable: {}: {}", file.path, file.reason);
    }
    for file in &report.warnings {
        eprintln!("warning: {}: {}", file.path, file.reason);
    }
    let IngestReport { added, skipped, frames, bytes, ignored, .. } = report;
    let text = if args.json {
        serde_json::json!({
            "out": args.out, "added": added, "skipped": skipped, "frames": frames, "bytes": bytes,
            "bad": report.rejected.len(), "ignored": ignored, "seconds": seconds,
            "warnings": report.warnings, "rejected": report.rejected,
            "quarantine": args.out.join(QUARANTINE),
        })
        .to_string()
    } else {
        let bad = report.rejected.len();
        format!(
            "{}: {added} videos added ({frames} frames, {:.1} MB) in {seconds:.1} s; {skipped} there already, \
             {bad} unusable, {} with warnings; {ignored} other files ignored",
            args.out.display(),
            bytes as f64 / 1e6,
            report.warnings.len(),
        )
    };
    super::print(&(text + "\n"))?;
    report.check(args.max_bad, &args.out)
}

/// Shown on a terminal only.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} (left {eta}) {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
