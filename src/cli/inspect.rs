//! `hdc inspect`.

use std::io::Write;
use std::path::PathBuf;

use crate::eval::inspect::inspect;
use crate::{Error, Result};

/// Show what is in a data set, a checkpoint or a run's folder, and whether it is intact
///
/// Reads every byte of it and checks it. Exits with 1 if anything is damaged.
///
/// Example:
///   hdc inspect shards
///   hdc inspect run/checkpoints/step-500.safetensors --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Folder of shards, checkpoint file, or a run's folder
    path: PathBuf,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc inspect`.
pub fn run(args: Args) -> Result<()> {
    let found = inspect(&args.path)?;
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
