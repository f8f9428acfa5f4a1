//! `hdc pretrain`.

use super::training::Training;
use crate::Result;
use crate::train::{Sources, pretrain, rehearse};

/// Pretrain a backbone on shards
///
/// Settings come from the preset, then the file, then --set, then flags; without
/// any, they are the paper's with C3D. The run's folder gets the resolved
/// config.toml, metrics.jsonl, checkpoints, TensorBoard events and loss.svg. The
/// same command again goes on where it stopped.
///
/// Example:
///   hdc pretrain --data shards --out run --preset small --set loss.temporal=false
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    training: Training,
}

/// Runs `hdc pretrain`.
pub fn run(Args { training }: Args) -> Result<()> {
    let config = training.over(Sources::default())?.resolve()?;
    training.act(|place| rehearse(&config, place), |place| pretrain(&config, place))
}
