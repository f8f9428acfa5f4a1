//! `hdc inspect`.

use std::io::Write;
use std::path::PathBuf;

use super::network::bar;
use crate::eval::inspect::inspect;
use crate::{Error, Result};

/// Show what is in a data set, a checkpoint or a run's folder, and whether it is intact
///
/// Reads every byte of it and checks it. With --list it holds a data set, or a
/// folder of video files before they are ingested (of which it reads the
/// headers), against the lists: videos that are missing, left over, unreadable,
/// shorter than a clip or in both parts of a split, folders that are no class,
/// and counts against those of UCF101 and HMDB51.
/// Exits with 1 if anything is damaged, missing or in both parts.
///
/// Examples:
///   hdc inspect shards
///   hdc inspect UCF-101 --list trainlist01.txt --list testlist01.txt
///   hdc inspect run/checkpoints/step-500.safetensors --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folder of shards, checkpoint file, or a run's folder; with --list also a folder of videos
    path: PathBuf,
    /// Hold the videos against this list: UCF101 list, HMDB51 split ("DIR/*_test_split1.txt", quoted) or Kinetics
    /// CSV; may be given several times
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc inspect`.
pub fn run(args: Args) -> Result<()> {
    let bar = bar();
    let found = inspect(&args.path, &args.list, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let found = found?;
    let text = if args.json {
        let json = serde_json::to_string(&found).expect("text and numbers are JSON");
        format!("{json}\n")
    } else {
        found.to_string()
    };
    write!(std::io::stdout(), "{text}").map_err(|e| Error::io("write", "standard output", e))?;
    match found.faults() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!("\n(and {} more)", rest.len()) };
            Err(Error::Mismatch { what: format!("{} is not intact: {first}{more}", args.path.display()) })
        }
    }
}
