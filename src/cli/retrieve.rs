//! `hdc retrieve`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::network::{Network, bar};
use crate::data::{Dataset, atomic};
use crate::eval::{Pool, Retrieval, RetrievalSplit, retrieval, write_grid};
use crate::{Error, Result};

/// Look for the nearest videos, and count how often they share the class
///
/// The videos of --train are the gallery, those of --test the queries; without
/// lists each video is looked for among all others. Prints the fraction of
/// queries with a hit among the nearest 1, 5, 10, 20 and 50, and beside it what
/// a random ranking would reach. With --out, DIR gets report.json, a picture
/// grid.png of queries with their nearest neighbours, and its legend grid.json.
///
/// Examples:
///   hdc retrieve --checkpoint run --data ucf101 --train trainlist01.txt \
///     --test testlist01.txt --out retrieval
///   hdc retrieve --checkpoint random:0 --preset small --data synth --label motion
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    network: Network,
    /// Folder of shards, as `hdc ingest` or `hdc synth` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: PathBuf,
    /// List of the gallery: UCF101 list, HMDB51 split ("DIR/*_test_split1.txt", quoted) or Kinetics CSV
    #[arg(long, value_name = "LIST", requires = "test")]
    train: Option<PathBuf>,
    /// List of the queries
    #[arg(long, value_name = "LIST", requires = "train")]
    test: Option<PathBuf>,
    /// How the block's map becomes a vector
    #[arg(long, value_enum, default_value_t = Pool::Vcop)]
    pool: Pool,
    /// Which label makes a hit; `label` is the class of the lists or folders
    #[arg(long, value_name = "NAME", default_value = "label")]
    label: String,
    /// Folder for the report and the picture grid, made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Queries in the picture grid
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=100))]
    rows: u8,
    /// Neighbours of each query in the picture grid
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    columns: u8,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc retrieve`.
pub fn run(args: Args) -> Result<()> {
    let dataset = Dataset::open(&args.data)?;
    let split = match (&args.train, &args.test) {
        (Some(train), Some(test)) => RetrievalSplit::lists(&dataset, train, test, &args.label)?,
        _ => RetrievalSplit::whole(&dataset, &args.label)?,
    };
    let mut embedder = args.network.embedder(args.pool)?;
    if let Some(out) = &args.out {
        // Before the work, so that a folder that cannot be made costs none.
        std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    }
    let bar = bar();
    let found = args.network.on_threads(|| {
        retrieval(&dataset, &mut embedder, &split, |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })
    });
    bar.finish_and_clear();
    let found = found?;
    let json = serde_json::to_string(&found.report).expect("text and numbers are JSON");
    if let Some(out) = &args.out {
        save(out, &args, &json, &dataset, &split, &found)?;
    }
    let text = if args.json { format!("{json}\n") } else { found.report.to_string() };
    write!(std::io::stdout(), "{text}").map_err(|e| Error::io("write", "standard output", e))
}

fn save(
    out: &Path,
    args: &Args,
    json: &str,
    dataset: &Dataset,
    split: &RetrievalSplit,
    found: &Retrieval,
) -> Result<()> {
    atomic::write(&out.join("report.json"), format!("{json}\n").as_bytes())?;
    let (rows, columns) = (args.rows.into(), args.columns.into());
    write_grid(&out.join("grid.png"), dataset, split, found, rows, columns)
}
