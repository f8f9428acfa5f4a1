//! `hdc ablate`.

use std::path::PathBuf;

use super::study::{self, Study};
use crate::eval::study::{AblateOptions, Lists, Table, Tuning, ablate};
use crate::{Error, Result};

/// Redo a table of the paper on your own videos, beside the paper's figures
///
/// Tables 1 (parts of the loss), 2 (augmentations) and 3 (backbones), and
/// section 4.1's variant: each row is pretrained, fine-tuned and tested. Tables 4
/// and 5 (UCF101's and HMDB51's figures): pretrained, then retrieval. And starts:
/// untrained, SC, TC and HDC, by a linear probe and fine-tuned. --train and
/// --test may be given several times, a pair a split; figures are means over
/// them. Rows of equal settings share a pretraining run, those of other tables
/// in the same folder too. DIR gets report.md, report.svg and rows/.
///
/// Example:
///   hdc ablate --table 4 --preset paper-c3d --data ucf101 --out retrieval \
///     --train trainlist01.txt --test testlist01.txt --device cuda
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which table of the paper
    #[arg(long, value_enum)]
    table: Table,
    #[command(flatten)]
    study: Study,
    /// Folder of shards, as `hdc ingest` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: PathBuf,
    /// List of a split's training part: UCF101 list, HMDB51 split ("DIR/*_test_split1.txt", quoted) or Kinetics CSV
    #[arg(long, value_name = "LIST", required = true)]
    train: Vec<PathBuf>,
    /// List of its test part
    #[arg(long, value_name = "LIST", required = true)]
    test: Vec<PathBuf>,
    /// Which label; `label` is the class of the lists or folders
    #[arg(long, value_name = "NAME", default_value = "label")]
    label: String,
    /// Steps of fine-tuning [default: 150 passes over the training part]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    finetune_steps: Option<u64>,
    /// One setting of fine-tuning, such as optim.lr=0.02 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    finetune_set: Vec<String>,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc ablate`.
pub fn run(args: Args) -> Result<()> {
    let (trains, tests) = (args.train.len(), args.test.len());
    if trains != tests {
        let what = format!("--train is given {trains} times and --test {tests} times");
        return Err(Error::usage(what, "give both for each split, in the same order"));
    }
    let splits = args.train.into_iter().zip(args.test).map(|(train, test)| Lists { train, test }).collect();
    let options = AblateOptions {
        study: args.study.options()?,
        table: args.table,
        data: args.data,
        splits,
        label: args.label,
        tuning: Tuning { steps: args.finetune_steps, sets: args.finetune_set },
        command: study::command(),
    };
    let report = ablate(&options, |line| eprintln!("{line}"))?;
    study::print(&report, args.json)
}
