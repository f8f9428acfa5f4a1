//! `hdc selftest`.

use std::io::Write;

use indicatif::ProgressBar;

use crate::device::Device;
use crate::eval::selftest::selftest;
use crate::{Error, Result};

/// Check every kernel of a GPU against the specification in float64
///
/// Runs each operation of a network forward and backward on problems with odd
/// extents, tails of every tile and layers of the backbones, in f32 and bf16:
/// integers must come out exactly, real numbers within one and a half roundings,
/// twice the same bits. Exits with 1 if anything differs.
///
/// Example:
///   hdc selftest --device cuda
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which device
    #[arg(long, value_enum, default_value_t = Place::Cuda)]
    device: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What can be tested; the CPU is by `cargo test`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Place {
    Cuda,
}

/// Runs `hdc selftest`.
pub fn run(args: Args) -> Result<()> {
    let Place::Cuda = args.device;
    let device = Device::open(0)?;
    let bar = ProgressBar::new(0);
    let verdicts = selftest(&device, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let verdicts = verdicts?;
    let faults: usize = verdicts.iter().map(|v| v.faults.len()).sum();
    let mut text = String::new();
    if args.json {
        let object = serde_json::json!({
            "device": device.properties().name, "passed": faults == 0, "operations": verdicts,
        });
        text = format!("{object}\n");
    } else {
        text += &format!("{}\n", device.properties().name);
        for v in &verdicts {
            let verdict = if v.faults.is_empty() { "ok  " } else { "MISS" };
            text += &format!("  {verdict} {:<14} {:<4} {:>3} problems\n", v.op, v.precision, v.problems);
            v.faults.iter().for_each(|fault| text += &format!("       {fault}\n"));
        }
    }
    write!(std::io::stdout(), "{text}").map_err(|e| Error::io("write to", "standard output", e))?;
    if faults > 0 {
        return Err(Error::Mismatch { what: format!("{faults} checks do not hold") });
    }
    Ok(())
}
