//! The engine on a CUDA device, from the command line to the driver, on the simulated GPU: what it computes, what it asks of
//! the driver, and how it fails.

#[path = "../command/mod.rs"]
mod command;
#[path = "../simulator/mod.rs"]
mod simulator;

mod driver_calls;
mod failing;
mod finetune;
mod golden;
mod objective;
mod pretrain;

use std::path::Path;
use std::process::Command;

/// `hdc` with the simulated GPU as its driver; `None` if there is none. Only bounds and alignment are checked, at twice the
/// speed: every kernel is tested with the whole checker elsewhere, and so is a step of each backbone.
fn command_on_device(dir: &Path, line: &str) -> Option<Command> {
    let mut command = command::command(dir, line);
    command.env("HDC_CUDA_DRIVER", simulator::library()?).env("PTXSIM_CHECK", "0");
    Some(command)
}

/// Runs it.
fn hdc_on_device(dir: &Path, line: &str) -> Option<command::Ended> {
    Some(command_on_device(dir, line)?.output().unwrap().into())
}

/// A run of a tiny network into the folder `out`.
fn tiny(out: &str, more: &str) -> String {
    format!("pretrain --data set --out {out} {} --device cuda {more}", command::TINY)
}
