//! `hdc features`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use super::network::{Network, bar};
use crate::data::{Dataset, atomic};
use crate::eval::{Pool, write_features};
use crate::{Error, Result};

/// Write the embeddings of all videos to a file
///
/// The file is safetensors: the tensor `embeddings`, (videos, numbers), and in
/// its metadata the JSON texts `keys` and `labels`. In Python:
/// f = safetensors.safe_open(FILE, "np"); f.get_tensor("embeddings");
/// json.loads(f.metadata()["keys"]).
///
/// Example:
///   hdc features --checkpoint run --data shards --out features.safetensors
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    network: Network,
    /// Folder of shards, as `hdc ingest` or `hdc synth` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How the block's map becomes a vector
    #[arg(long, value_enum, default_value_t = Pool::Gavg)]
    pool: Pool,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc features`.
pub fn run(args: Args) -> Result<()> {
    let begin = Instant::now();
    atomic::probe(&args.out)?;
    let dataset = Dataset::open(&args.data)?;
    let mut embedder = args.network.embedder(args.pool)?;
    let all: Vec<usize> = (0..dataset.len()).collect();
    let bar = bar();
    let embeddings = args.network.on_threads(|| {
        embedder.embed(&dataset, &all, |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })
    });
    bar.finish_and_clear();
    let embeddings = embeddings?;
    write_features(&args.out, &dataset, &embeddings, &embedder)?;
    let (videos, dim, seconds) = (embeddings.videos.len(), embeddings.dim, begin.elapsed().as_secs_f64());
    let line = if args.json {
        serde_json::json!({
            "out": args.out, "videos": videos, "dim": dim, "network": embedder.name(),
            "block": embedder.options().block, "pool": args.pool, "seconds": seconds,
        })
        .to_string()
    } else {
        format!("{videos} videos, {dim} numbers each, {seconds:.1} s; {}", args.out.display())
    };
    writeln!(std::io::stdout(), "{line}").map_err(|e| Error::io("write", "standard output", e))
}
