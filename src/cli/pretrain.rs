//! `hdc pretrain`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::compute::Compute;
use crate::train::{Config, Place, Preset, Rehearsal, Resume, Sources, pretrain, rehearse};
use crate::{Error, Result};

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
    /// Folder of shards, as `hdc ingest` or `hdc synth` wrote it
    #[arg(long, value_name = "SHARDS")]
    data: Option<PathBuf>,
    /// Only the training videos of this list (repeatable)
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// The run's folder
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Named settings to start from
    #[arg(long)]
    preset: Option<Preset>,
    /// TOML file of settings, such as the config.toml of another run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as loss.tau=0.1 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    compute: Compute,
    /// Steps of the whole run
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    steps: Option<i64>,
    /// Determines initial weights, order and augmentation
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Threads that compute; 0: one a core. The result is the same with any number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Where to begin: at the newest checkpoint in the folder (auto), at step 0 with what the folder holds set
    /// aside (never), or at the checkpoint FILE
    #[arg(long, value_name = "auto|never|FILE", default_value = "auto")]
    resume: Resume,
    /// Do everything but the run, and one step of it: if this passes, the run starts
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc pretrain`.
pub fn run(args: Args) -> Result<()> {
    let config = resolve(&args)?;
    let backend = args.compute.backend()?;
    let place = Place { out: args.out, resume: args.resume, threads: args.threads.into(), backend };
    let (json, text) = if args.dry_run {
        let r = rehearse(&config, &place)?;
        (serde_json::to_string(&r), dry_run_text(&r))
    } else {
        let s = pretrain(&config, &place)?;
        let loss = s.last.as_ref().map_or(String::new(), |r| format!(", loss {:.3}", r.loss));
        (serde_json::to_string(&s), format!("{} steps{loss}; {}", s.steps, s.checkpoint.display()))
    };
    let line = if args.json { json.expect("plain numbers and text are JSON") } else { text };
    writeln!(std::io::stdout(), "{line}").map_err(|e| Error::io("write", "standard output", e))
}

fn resolve(args: &Args) -> Result<Config> {
    let mut sources = Sources::default();
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
        .flag("train.steps", args.steps, "--steps")
        .flag("train.seed", args.seed, "--seed")
        .resolve()
}

/// What a dry run says.
pub(super) fn dry_run_text(r: &Rehearsal) -> String {
    format!(
        "ok: one step took {:.2} s and {:.2} s of waiting for data ({:.1} clips/s), {} bytes of buffers; \
         a checkpoint has {} bytes; the run would go from step {} to {}",
        r.step_s, r.data_wait_s, r.clips_per_s, r.peak_bytes, r.checkpoint_bytes, r.start, r.steps
    )
}

/// A path as a configuration holds it.
pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::usage(
            format!("{} is not UTF-8, which a configuration cannot hold", path.display()),
            "rename it",
        )
    })
}
