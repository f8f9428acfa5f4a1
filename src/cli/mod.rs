//! The command line: one file a subcommand, raw arguments → checked configuration → one call into the library.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{Error, Result};

mod ablate;
mod completions;
mod compute;
mod decouple;
mod demo;
mod doctor;
mod features;
mod finetune;
mod ingest;
mod inspect;
mod network;
mod plan;
mod pretrain;
mod retrieve;
mod selftest;
mod study;
mod synth;
mod test;
mod training;
mod verify;

/// Self-supervised video pretraining by hierarchically decoupled spatial-temporal contrast (HDC).
#[derive(Debug, Parser)]
#[command(name = "hdc", version, about, arg_required_else_help = true)]
struct Cli {
    /// More messages on standard error (-vv for all)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Doctor(doctor::Args),
    Synth(synth::Args),
    Ingest(ingest::Args),
    Inspect(inspect::Args),
    Plan(plan::Args),
    Pretrain(pretrain::Args),
    Finetune(finetune::Args),
    Features(features::Args),
    Retrieve(retrieve::Args),
    Test(test::Args),
    Decouple(decouple::Args),
    Ablate(ablate::Args),
    Verify(verify::Args),
    Selftest(selftest::Args),
    Completions(completions::Args),
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Demo(args) => demo::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Synth(args) => synth::run(args),
            Self::Ingest(args) => ingest::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Plan(args) => plan::run(args),
            Self::Pretrain(args) => pretrain::run(args),
            Self::Finetune(args) => finetune::run(args),
            Self::Features(args) => features::run(args),
            Self::Retrieve(args) => retrieve::run(args),
            Self::Test(args) => test::run(args),
            Self::Decouple(args) => decouple::run(args),
            Self::Ablate(args) => ablate::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Selftest(args) => selftest::run(args),
            Self::Completions(args) => completions::run(args),
        }
    }
}

/// Writes a result to standard output: unlike `println!`, a full disk or a closed pipe is an error.
fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Error::io("write to", "standard output", e))
}

/// Runs the command line: results on standard output, everything else on standard error; the exit code is
/// 0 or [`Error::exit_code`](crate::Error::exit_code).
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = ["warn", "info", "debug"][usize::from(cli.verbose.min(2))];
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(format!("hdc={level}")))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.exit_code())
        }
    }
}
