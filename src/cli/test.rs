//! `hdc test`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::compute::Compute;
use super::network::{bar, on_threads};
use crate::data::evaluate::Clips;
use crate::data::lists::{self, Labelled, Part, Split};
use crate::data::{Dataset, atomic};
use crate::eval::Weights;
use crate::eval::test::{TestOptions, TestReport, Tester, mean, write_confusion, write_predictions};
use crate::{Error, Result};

/// Test fine-tuned networks on videos
///
/// The softmax of all clips and crops of a video is averaged. Reports how many
/// clips and videos are classified right, class by class. Several splits: give
/// each its --checkpoint and its --list, in the same order; the mean is reported
/// too. With --out, DIR gets report.json, and for each split N confusion-N.png and
/// predictions-N.jsonl.
///
/// Examples:
///   hdc test --checkpoint tuned --data ucf101 --list testlist01.txt --out tested
///   hdc test --checkpoint tuned --data ucf101 --list testlist01.txt --clips 10 --crops centre
///   hdc test --data ucf101 --checkpoint tuned1 --list testlist01.txt \
///     --checkpoint tuned2 --list testlist02.txt
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Checkpoint file of a fine-tuning, or its run's folder (its newest intact checkpoint); one a split
    #[arg(long, value_name = "FILE|RUN", required = true)]
    checkpoint: Vec<PathBuf>,
    /// Folder of shards, as `hdc ingest` or `hdc synth` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: PathBuf,
    /// List of test videos: UCF101 list, HMDB51 split ("DIR/*_test_split1.txt", quoted) or Kinetics CSV; one a
    /// checkpoint [default: all videos]
    #[arg(long, value_name = "LIST")]
    list: Vec<PathBuf>,
    /// Clips of a video: all, one after the other, or this many, evenly spread
    #[arg(long, default_value = "all", value_name = "all|N")]
    clips: ClipsArg,
    /// Crops of a clip: the middle and the four corners, or the middle alone
    #[arg(long, value_enum, default_value_t = Crops::Five)]
    crops: Crops,
    /// Clips encoded at a time [default: as many as take 1 GiB, at most 16]. Changes memory and time only
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    chunk: Option<u16>,
    #[command(flatten)]
    compute: Compute,
    /// Threads that compute, and as many that decode; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Folder for report, pictures and predictions, made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Which parts of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Crops {
    /// The middle and the four corners.
    Five,
    /// The middle.
    Centre,
}

/// `all`, or a number.
#[derive(Clone, Copy, Debug)]
struct ClipsArg(Clips);

impl FromStr for ClipsArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<u16>()) {
            ("all", _) => Ok(Self(Clips::All)),
            (_, Ok(n)) if n > 0 => Ok(Self(Clips::Spread(n.into()))),
            _ => Err("give `all`, or a number of clips from 1 to 65535".into()),
        }
    }
}

/// Runs `hdc test`.
pub fn run(args: Args) -> Result<()> {
    let (networks, given) = (args.checkpoint.len(), args.list.len());
    if given != networks && (given, networks) != (0, 1) {
        return Err(Error::usage(
            format!("{networks} --checkpoint and {given} --list are given"),
            "give each checkpoint the list of its split, in the same order",
        ));
    }
    let dataset = Dataset::open(&args.data)?;
    if let Some(out) = &args.out {
        // Before the work, so that a folder that cannot be made costs none.
        std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    }
    let backend = args.compute.backend()?;
    let options = TestOptions {
        clips: args.clips.0,
        crops: match args.crops {
            Crops::Five => crate::data::evaluate::Crops::Five,
            Crops::Centre => crate::data::evaluate::Crops::Centre,
        },
        chunk: args.chunk.map(usize::from),
    };
    // All before the first is tested: a name mistyped is better known now.
    let mut splits = Vec::new();
    for (n, checkpoint) in args.checkpoint.iter().enumerate() {
        let weights = Weights::load(checkpoint)?;
        let tester = Tester::new(&weights, &options, &backend)?;
        let (name, videos) = videos(&dataset, args.list.get(n).map(PathBuf::as_path), tester.label())?;
        splits.push((tester, name, videos));
    }
    let mut reports = Vec::new();
    for (n, (mut tester, list, videos)) in splits.into_iter().enumerate() {
        let bar = bar();
        let predictions = on_threads(args.threads, || {
            tester.test(&dataset, &videos, |done, total| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            })
        });
        bar.finish_and_clear();
        let predictions = predictions?;
        let report = TestReport::new(&tester, &list, &predictions);
        if let Some(out) = &args.out {
            write_confusion(&out.join(format!("confusion-{}.png", n + 1)), &report)?;
            let path = out.join(format!("predictions-{}.jsonl", n + 1));
            write_predictions(&path, &dataset, &tester, &predictions)?;
        }
        reports.push(report);
    }
    let mean = mean(&reports);
    let json = serde_json::json!({"splits": reports, "mean": mean}).to_string();
    if let Some(out) = &args.out {
        atomic::write(&out.join("report.json"), format!("{json}\n").as_bytes())?;
    }
    if args.json {
        return super::print(&format!("{json}\n"));
    }
    let mut text: String = reports.iter().map(|r| format!("{r}\n")).collect();
    if reports.len() > 1 {
        text += &format!("mean of {} splits: {mean}\n", reports.len());
    }
    super::print(&text)
}

/// The videos of a list, or all, with where they are from.
fn videos(dataset: &Dataset, list: Option<&Path>, label: &str) -> Result<(String, Vec<Labelled>)> {
    match list {
        None => Ok((dataset.root().display().to_string(), lists::whole(dataset, label)?)),
        Some(list) => {
            Ok((list.display().to_string(), Split::read(list, Part::Test)?.resolve(dataset, label)?))
        }
    }
}
