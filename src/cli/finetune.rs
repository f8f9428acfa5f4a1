//! `hdc finetune`.

use super::training::Training;
use crate::Result;
use crate::train::{Config, Pretrained, Sources, StartFrom, finetune, rehearse_finetune};

/// Fine-tune a backbone to classify, or train a linear layer on it as it is
///
/// Network and clips are those of the checkpoint; from scratch they are those of
/// the preset, the file and --set. The other settings are the paper's unless
/// the file and --set change them: a learning rate of 0.01, dropout of 0.5,
/// batches of 32. The run's folder is as that of `hdc pretrain`, and so is going
/// on: the same command again. What was taken from the checkpoint is said when
/// it starts.
///
/// Examples:
///   hdc finetune --from run --data ucf101 --list trainlist01.txt --out tuned
///   hdc finetune --from run --frozen --data ucf101 --list trainlist01.txt --out probe
///   hdc finetune --from scratch --preset small --data shards --out scratch --steps 400
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// What the backbone starts from: a checkpoint file, a run's folder (its newest intact checkpoint), or scratch
    #[arg(long, value_name = "FILE|RUN|scratch")]
    from: StartFrom,
    /// Which label is learned; `label` is the class of the lists or folders
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Train the linear layer alone
    #[arg(long)]
    frozen: bool,
    #[command(flatten)]
    training: Training,
}

/// Runs `hdc finetune`.
pub fn run(args: Args) -> Result<()> {
    let pretrained = Pretrained::load(&args.from)?;
    let pretrained = pretrained.as_ref();
    let config = resolve(&args, pretrained)?;
    args.training.act(
        |place| rehearse_finetune(&config, pretrained, place),
        |place| finetune(&config, pretrained, place),
    )
}

fn resolve(args: &Args, pretrained: Option<&Pretrained>) -> Result<Config> {
    let mut sources = Sources::fine_tuning();
    if let Some(p) = pretrained {
        sources = sources.network_of(&p.checkpoint.config, &p.path.display().to_string());
    }
    args.training
        .over(sources)?
        .flag("classify.label", args.label.as_deref(), "--label")
        .flag("classify.frozen", args.frozen.then_some(true), "--frozen")
        .resolve()
}
