//! `hdc synth`.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;

use crate::Result;
use crate::data::Dataset;
use crate::data::synth::{APPEARANCES, MOTIONS, SynthOptions, synth};

/// Render a synthetic data set whose videos differ in appearance and in motion
///
/// Every video has a label `appearance` (what a single frame shows) and a
/// label `motion` (what only time shows), drawn independently, so that what a
/// network learns about space and about time can be told apart.
/// OUT/trainlist.txt and OUT/testlist.txt name the two parts. Needs no ffmpeg.
///
/// Example: hdc synth shapes --videos 512 --seed 1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folder of the data set, made if need be
    out: PathBuf,
    /// How many videos
    #[arg(long, default_value_t = SynthOptions::default().videos)]
    videos: usize,
    /// Frames of each
    #[arg(long, default_value_t = SynthOptions::default().frames)]
    frames: usize,
    /// Rows of a frame; columns are 5/4 of it
    #[arg(long, default_value_t = SynthOptions::default().height)]
    size: usize,
    /// Seed; the same one gives the same bytes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Part of the videos in testlist.txt, 0-1
    #[arg(long, default_value_t = SynthOptions::default().test_fraction)]
    test_fraction: f64,
    /// JPEG quality, 1-100
    #[arg(long, default_value_t = SynthOptions::default().quality)]
    quality: u8,
    /// Report as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Renders and reports.
pub fn run(args: Args) -> Result<()> {
    let options = SynthOptions {
        videos: args.videos,
        frames: args.frames,
        height: args.size,
        seed: args.seed,
        test_fraction: args.test_fraction,
        quality: args.quality,
    };
    let begin = Instant::now();
    let bar = ProgressBar::new(args.videos as u64);
    let rendered = synth(&args.out, &options, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let rendered = rendered?;
    let seconds = begin.elapsed().as_secs_f64();
    let set = Dataset::open(&args.out)?;
    let text = if args.json {
        serde_json::json!({
            "out": args.out, "videos": set.len(), "rendered": rendered, "frames": options.frames,
            "height": options.height, "width": options.width(), "bytes": set.bytes(), "seconds": seconds,
            "appearances": APPEARANCES, "motions": MOTIONS,
        })
        .to_string()
    } else {
        format!(
            "{}: {} videos of {} frames, {}×{} ({:.1} MB), {} appearances × {} motions; {rendered} rendered in \
             {seconds:.1} s",
            args.out.display(),
            set.len(),
            options.frames,
            options.height,
            options.width(),
            set.bytes() as f64 / 1e6,
            APPEARANCES.len(),
            MOTIONS.len(),
        )
    };
    super::print(&(text + "\n"))
}
