//! `hdc finetune`.

use std::path::PathBuf;

use super::compute::Compute;
use super::pretrain::{dry_run_text, text};
use crate::Result;
use crate::train::{
    Config, Place, Preset, Pretrained, Resume, Sources, StartFrom, finetune, rehearse_finetune,
};

/// Fine-tune a backbone to classify, or train a linear layer on it as it is
///
/// Network and clips are those of the checkpoint; from scratch they are those of
/// the preset, the file and --set. The other settings are the paper's unless
/// these change them: a learning rate of 0.01, dropout of 0.5, batches of 32.
/// The run's folder is as that of `hdc pretrain`, and so is going on: the same
/// command again. What was taken from the checkpoint is said when it starts.
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
    /// Folder of shards, as `hdc ingest` or `hdc synth` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: Option<PathBuf>,
    /// Only the training videos of this list (repeatable)
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// Which label is learned; `label` is the class of the lists or folders
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Train the linear layer alone
    #[arg(long)]
    frozen: bool,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Named settings of network and clips
    #[arg(long)]
    preset: Option<Preset>,
    /// TOML file of settings, such as the config.toml of another fine-tuning
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as classify.dropout=0.9 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    compute: Compute,
    /// Steps of the whole run
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    steps: Option<i64>,
    /// Determines initial weights, order, augmentation and dropout
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Threads that compute; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Where to begin: at the newest checkpoint in the folder (auto), at step 0 with what the folder holds set
    /// aside (never), or at the checkpoint FILE of this fine-tuning
    #[arg(long, value_name = "auto|never|FILE", default_value = "auto")]
    resume: Resume,
    /// Do everything but the run, and one step of it: if this passes, the run starts
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc finetune`.
pub fn run(args: Args) -> Result<()> {
    let pretrained = Pretrained::load(&args.from)?;
    let config = resolve(&args, pretrained.as_ref())?;
    let backend = args.compute.backend()?;
    let place = Place { out: args.out, resume: args.resume, threads: args.threads.into(), backend };
    let (json, text) = if args.dry_run {
        let r = rehearse_finetune(&config, pretrained.as_ref(), &place)?;
        (serde_json::to_string(&r), dry_run_text(&r))
    } else {
        let s = finetune(&config, pretrained.as_ref(), &place)?;
        let loss = s.last.as_ref().map_or(String::new(), |r| format!(", loss {:.3}", r.loss));
        (serde_json::to_string(&s), format!("{} steps{loss}; {}", s.steps, s.checkpoint.display()))
    };
    let line = if args.json { json.expect("plain numbers and text are JSON") } else { text };
    super::print(&format!("{line}\n"))
}

fn resolve(args: &Args, pretrained: Option<&Pretrained>) -> Result<Config> {
    let mut sources = Sources::fine_tuning();
    if let Some(p) = pretrained {
        sources = sources.network_of(&p.checkpoint.config, &p.path.display().to_string());
    }
    if let Some(preset) = args.preset {
        sources = sources.preset(preset);
    }
    if let Some(file) = &args.config {
        sources = sources.file(file)?;
    }
    for assignment in &args.set {
        sources = sources.set(assignment);
    }
    let lists = args.list.iter().map(|list| text(list)).collect::<Result<Vec<_>>>()?;
    sources
        .flag("data.shards", args.data.as_deref().map(text).transpose()?, "--data")
        .flag("data.lists", Some(lists).filter(|l| !l.is_empty()), "--list")
        .flag("classify.label", args.label.as_deref(), "--label")
        .flag("classify.frozen", args.frozen.then_some(true), "--frozen")
        .flag("train.steps", args.steps, "--steps")
        .flag("train.seed", args.seed, "--seed")
        .resolve()
}
