//! `hdc verify`.

use std::io::Write;
use std::path::PathBuf;

use super::compute;
use crate::device::Device;
use crate::eval::verify::{Report, verify, verify_on};
use crate::ops;
use crate::tensor::Dtype;
use crate::{Error, Result};

/// Check the engine against golden files computed by PyTorch in float64
///
/// Prints the relative L2 error of every group of tensors and exits with 1 if any
/// is over its limit: 1e-6 in f64 (the files are rounded to f32); in f32 three
/// times the error that PyTorch's own f32 was recorded with, in bf16 one and a
/// half times that of its bf16 autocast.
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
    #[arg(long, value_enum, default_value_t = compute::Place::Cpu)]
    device: compute::Place,
    /// Arithmetic: f32 or f64 on the CPU, f32 or bf16 on a device [default: f64, f32 on a device]
    #[arg(long, value_parser = dtype)]
    precision: Option<Dtype>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `hdc verify`.
pub fn run(args: Args) -> Result<()> {
    let dtype = args.precision.unwrap_or(match args.device {
        compute::Place::Cpu => Dtype::F64,
        compute::Place::Cuda => Dtype::F32,
    });
    let device = match (args.device, dtype) {
        (compute::Place::Cpu, Dtype::Bf16) => {
            let hint = "give --precision f32 or f64, or --device cuda";
            return Err(Error::usage("the CPU does not compute in bf16", hint));
        }
        (compute::Place::Cpu, _) => None,
        (compute::Place::Cuda, Dtype::F32) => Some((Device::open(0)?, ops::Precision::F32)),
        (compute::Place::Cuda, Dtype::Bf16) => Some((Device::open(0)?, ops::Precision::Bf16)),
        (compute::Place::Cuda, Dtype::F64) => {
            return Err(Error::usage("a device does not compute in f64", "give --precision f32 or bf16"));
        }
    };
    let mut reports = Vec::new();
    for path in &args.golden {
        let report = match &device {
            None => verify(path, dtype),
            Some((device, precision)) => verify_on(path, device, *precision),
        }?;
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

fn dtype(text: &str) -> Result<Dtype, String> {
    match text {
        "f32" => Ok(Dtype::F32),
        "f64" => Ok(Dtype::F64),
        "bf16" => Ok(Dtype::Bf16),
        _ => Err("give f32, f64 or bf16".into()),
    }
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
