//! `hdc demo`.

use std::io::Write;
use std::path::PathBuf;

use crate::eval::{DemoOptions, demo};
use crate::{Error, Result};

/// See self-supervised pretraining work, in a few minutes, without a GPU or data
///
/// Renders a synthetic set of videos, in which appearance and motion are drawn
/// independently; pretrains a small C3D on it without labels; then looks for each
/// video's nearest neighbours with the untrained and the trained network and
/// counts how often they share its appearance and its motion. Writes everything
/// to the folder --out. The same command again goes on where it stopped.
///
/// Example: hdc demo --out demo-run --seed 1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folder for the set, the run, the report and the pictures
    #[arg(long, default_value = "demo-run")]
    out: PathBuf,
    /// Steps of pretraining instead of the preset's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Determines the set, the initial weights, the order and the augmentation
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Threads that compute; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc demo`.
pub fn run(args: Args) -> Result<()> {
    let options =
        DemoOptions { out: args.out, steps: args.steps, seed: args.seed, threads: args.threads.into() };
    let report = demo(&options, |line| eprintln!("{line}"))?;
    let text = if args.json {
        serde_json::to_string(&report).expect("text and numbers are JSON") + "\n"
    } else {
        format!("\n{report}")
    };
    write!(std::io::stdout(), "{text}").map_err(|e| Error::io("write to", "standard output", e))
}
