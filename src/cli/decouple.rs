//! `hdc decouple`.

use std::path::PathBuf;

use super::study::{self, Study};
use crate::Result;
use crate::eval::study::{DecoupleOptions, decouple};

/// Measure what spatial and temporal contrast teach: appearance, motion, or both
///
/// Pretrains by spatial contrast (SC), temporal contrast (TC) and both, at block
/// 5 and at blocks 3, 4 and 5, with each seed, on the training part of a set
/// that has a label for appearance and one for motion; then asks how well the
/// features of each tell each label of the test part, beside an untrained
/// network and chance. Without --data it renders a synthetic set, whose two
/// labels are drawn independently. DIR gets report.md, report.svg and rows/.
///
/// Examples:
///   hdc decouple --out decoupling --preset small --set clip.stride=2
///   hdc decouple --out study --data shards --train trainlist01.txt \
///     --test testlist01.txt --labels label
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    study: Study,
    /// Folder of shards instead of a synthetic set
    #[arg(long, value_name = "SHARDS", requires = "train", requires = "test")]
    data: Option<PathBuf>,
    /// List of its training part: UCF101 list, HMDB51 split ("DIR/*_test_split1.txt", quoted) or Kinetics CSV
    #[arg(long, value_name = "LIST", requires = "data")]
    train: Option<PathBuf>,
    /// List of its test part
    #[arg(long, value_name = "LIST", requires = "data")]
    test: Option<PathBuf>,
    /// Labels to tell; of two the first is what a frame shows, the second what only time shows
    #[arg(long, value_name = "NAME,…", default_value = "appearance,motion", value_delimiter = ',')]
    labels: Vec<String>,
    /// Videos of the synthetic set, a quarter of them for testing
    #[arg(long, default_value_t = 1024, conflicts_with = "data")]
    videos: usize,
    /// Seed of the synthetic set
    #[arg(long, default_value_t = 0, conflicts_with = "data")]
    data_seed: u64,
    /// Only these rows, such as untrained,TC-at-3-4-5
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    rows: Vec<String>,
    /// The block in the picture; the report has all
    #[arg(long, value_name = "3|4|5", default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=5))]
    block: u8,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc decouple`.
pub fn run(args: Args) -> Result<()> {
    let data = match (args.data, args.train, args.test) {
        (Some(data), Some(train), Some(test)) => Some([data, train, test]),
        _ => None,
    };
    let options = DecoupleOptions {
        study: args.study.options()?,
        data,
        videos: args.videos,
        data_seed: args.data_seed,
        labels: args.labels,
        rows: args.rows,
        block: args.block.into(),
        command: study::command(),
    };
    let report = decouple(&options, |line| eprintln!("{line}"))?;
    study::print(&report, args.json)
}
