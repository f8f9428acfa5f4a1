//! `hdc verify`.

use std::io::Write;
use std::path::PathBuf;

use crate::eval::verify::{Report, verify};
use crate::tensor::Dtype;
use crate::{Error, Result};

/// Check the engine against golden files computed by PyTorch in float64
///
/// Prints the relative L2 error of every group of tensors and exits with 1 if any
/// is over its limit: 1e-6 in f64 (the files are rounded to f32); in f32 three
/// times the error that PyTorch's own f32 was recorded with.
///
/// Example:
///   hdc verify tests/golden/small_c3d.safetensors --precision f64
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Golden files, made by tools/reference/golden.py
    #[arg(required = true)]
    golden: Vec<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Arithmetic
    #[arg(long, value_enum, default_value_t = Precision::F64)]
    precision: Precision,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Device {
    Cpu,
    Cuda,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Precision {
    F32,
    F64,
    Bf16,
}

/// Runs `hdc verify`.
pub fn run(args: Args) -> Result<()> {
    if args.device == Device::Cuda || args.precision == Precision::Bf16 {
        return Err(Error::usage(
            "--device cuda and --precision bf16: this build computes on the CPU in f32 and f64",
            "leave out --device, and give --precision f32 or f64",
        ));
    }
    let dtype = if args.precision == Precision::F32 { Dtype::F32 } else { Dtype::F64 };
    let mut reports = Vec::new();
    for path in &args.golden {
        let report = verify(path, dtype)?;
        if !args.json {
            print(&report).map_err(|e| Error::io("write to", "standard output", e))?;
        }
        reports.push(report);
    }
    let missed: usize = reports.iter().map(|r| r.groups.iter().filter(|g| !g.passes()).count()).sum();
    if args.json {
        let object = serde_json::json!({ "passed": missed == 0, "files": reports });
        writeln!(std::io::stdout().lock(), "{object}")
            .map_err(|e| Error::io("write to", "standard output", e))?;
    }
    if missed > 0 {
        return Err(Error::Mismatch { what: format!("{missed} groups are over their limit") });
    }
    Ok(())
}

fn print(report: &Report) -> std::io::Result<()> {
    let out = &mut std::io::stdout().lock();
    writeln!(out, "{}", report.path.display())?;
    for g in &report.groups {
        writeln!(
            out,
            "  {} {:<26} {:>4} tensors  rel L2 {:.2e} (limit {:.1e}), worst {:.2e} at {}",
            if g.passes() { "ok  " } else { "MISS" },
            g.name,
            g.tensors,
            g.rel_l2,
            g.limit,
            g.worst,
            g.worst_at
        )?;
    }
    Ok(())
}
