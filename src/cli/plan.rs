//! `hdc plan`.

use std::io::Write;

use serde::Serialize;

use super::compute;
use crate::device::driver;
use crate::graph::{Graph, MemoryPlan, Purpose};
use crate::models::{Backbone, ModelConfig};
use crate::ops::{self, Pass};
use crate::optim::OptimConfig;
use crate::tensor::Real;
use crate::train::cuda::{CudaBatch, CudaNetworkPlan};
use crate::train::objective::LossConfig;
use crate::train::{Classifier, ClassifyConfig, Criterion, NetworkPlan, StepBytes};
use crate::{Error, Result};

/// Show memory and arithmetic of a training step before running it
///
/// Lists every node of the backbone for one chunk of clips: extents, bytes kept
/// and of scratch, FLOPs forward and backward; then the exact peak of the whole
/// step. With --memory, picks the largest chunk that fits. A step is one of
/// pretraining, or with --classes one of fine-tuning.
///
/// Examples:
///   hdc plan --backbone c3d --clips 384 --memory 16GB
///   hdc plan --backbone c3d --clips 32 --classes 101
///   hdc plan --backbone r21d10 --clips 384 --device cuda --precision bf16 --memory 80GB
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Which backbone
    #[arg(long, value_enum)]
    backbone: Backbone,
    /// Clips of a step: in pretraining three for each video
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    clips: u32,
    /// Plan fine-tuning, to this many classes
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    classes: Option<u32>,
    /// Of fine-tuning: train the linear layer alone
    #[arg(long, requires = "classes")]
    frozen: bool,
    /// Frames of a clip
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    frames: u32,
    /// Side of a clip in pixels
    #[arg(long, default_value_t = 112, value_parser = clap::value_parser!(u32).range(1..))]
    crop: u32,
    /// Multiplies every channel count
    #[arg(long, default_value_t = 1.0)]
    width: f64,
    /// For which device; no GPU is needed to plan for one
    #[arg(long, value_enum, default_value_t = compute::Place::Cpu)]
    device: compute::Place,
    /// Arithmetic: f32 or f64 on the CPU, f32 or bf16 on a GPU
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Clips encoded at a time; without it what fits --memory, or the memory of the GPU if there is one, or all of them
    #[arg(long, conflicts_with = "memory", value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,
    /// Most bytes that the step may take, such as 800MB or 16GB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Precision {
    F32,
    F64,
    Bf16,
}

/// A node's row.
#[derive(Serialize)]
struct NodeReport {
    name: String,
    op: &'static str,
    shape: Vec<usize>,
    value_bytes: usize,
    saved_bytes: usize,
    workspace_bytes: usize,
    forward_flops: u64,
    backward_flops: u64,
}

#[derive(Serialize)]
struct Report {
    backbone: &'static str,
    clips: usize,
    chunk: usize,
    peak_bytes: usize,
    flops: u64,
    bytes: StepBytes,
    nodes: Vec<NodeReport>,
}

/// Runs `hdc plan`.
pub fn run(args: Args) -> Result<()> {
    if args.classes.is_none() && !args.clips.is_multiple_of(3) {
        return Err(Error::usage(
            format!("--clips {} is not a multiple of 3", args.clips),
            "a video gives three clips: anchor, spatial and temporal variant; to plan fine-tuning, add --classes",
        ));
    }
    let limit = args.memory.as_deref().map(parse_size).transpose()?;
    let report = match (args.device, args.precision) {
        (compute::Place::Cpu, Precision::F32) => on_cpu::<f32>(&args, limit),
        (compute::Place::Cpu, Precision::F64) => on_cpu::<f64>(&args, limit),
        (compute::Place::Cuda, Precision::F32) => on_cuda(&args, ops::Precision::F32, limit),
        (compute::Place::Cuda, Precision::Bf16) => on_cuda(&args, ops::Precision::Bf16, limit),
        (compute::Place::Cpu, Precision::Bf16) => {
            Err(Error::usage("the CPU does not compute in bf16", "add --device cuda, or use --precision f32"))
        }
        (compute::Place::Cuda, Precision::F64) => {
            Err(Error::usage("a GPU does not compute in f64", "use --precision f32 or bf16"))
        }
    }?;
    if let Some(limit) = limit
        && report.peak_bytes > limit
    {
        let (needs, limit) = (megabytes(report.peak_bytes), megabytes(limit));
        return Err(Error::usage(
            format!("even one clip at a time needs {needs}, more than --memory {limit}"),
            "give fewer clips, a smaller --crop or --width, or more memory",
        ));
    }
    let out = &mut std::io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut *out, &report).map_err(std::io::Error::from).and_then(|()| writeln!(out))
    } else {
        print(out, &report)
    };
    written.map_err(|e| Error::io("write to", "standard output", e))
}

fn model(args: &Args) -> ModelConfig {
    ModelConfig { backbone: args.backbone, width: args.width, ..Default::default() }
}

fn extents(args: &Args) -> [usize; 3] {
    [args.frames, args.crop, args.crop].map(|e| e as usize)
}

/// The classifier of a fine-tuning step.
fn classify(args: &Args) -> Option<ClassifyConfig> {
    let classes = (0..args.classes?).map(|i| i.to_string()).collect();
    Some(ClassifyConfig { classes, frozen: args.frozen, ..Default::default() })
}

fn on_cpu<T: Real>(args: &Args, limit: Option<usize>) -> Result<Report> {
    let (model, clips, extents) = (model(args), args.clips as usize, extents(args));
    match classify(args) {
        Some(classify) => fitted_on_cpu(args, limit, |chunk| {
            NetworkPlan::<T, Classifier<T>>::classifier(&model, &classify, clips, extents, chunk)
        }),
        None => {
            let loss = LossConfig::default();
            fitted_on_cpu(args, limit, |chunk| {
                NetworkPlan::<T>::new(&model, &loss, clips / 3, extents, chunk)
            })
        }
    }
}

fn fitted_on_cpu<T: Real, C: Criterion<T>>(
    args: &Args,
    limit: Option<usize>,
    with: impl Fn(Option<usize>) -> Result<NetworkPlan<T, C>>,
) -> Result<Report> {
    let plan = match limit {
        Some(limit) => NetworkPlan::fitting(limit, with)?,
        None => with(args.chunk.map(|c| c as usize))?,
    };
    Ok(Report {
        backbone: args.backbone.name(),
        clips: plan.clips(),
        chunk: plan.chunk(),
        peak_bytes: plan.bytes().total(),
        flops: plan.flops(),
        bytes: plan.bytes(),
        nodes: nodes(plan.graph(), plan.memory()),
    })
}

fn on_cuda(args: &Args, precision: ops::Precision, limit: Option<usize>) -> Result<Report> {
    let (model, clips, extents) = (model(args), args.clips as usize, extents(args));
    let optim = OptimConfig::default();
    let classify = classify(args);
    let with = |chunk| match &classify {
        Some(classify) => {
            let batch = CudaBatch { clips, extents, precision };
            CudaNetworkPlan::classifier(&model, classify, &optim, batch, chunk)
        }
        None => {
            let loss = LossConfig::default();
            CudaNetworkPlan::new(&model, &loss, &optim, precision, clips / 3, extents, chunk)
        }
    };
    let gpu = || Some(driver().ok()??.gpus.first()?.memory);
    let limit = limit.or_else(|| if args.chunk.is_none() { gpu() } else { None });
    let plan = match limit {
        Some(limit) => CudaNetworkPlan::fitting(limit, with)?,
        None => with(args.chunk.map(|c| c as usize))?,
    };
    Ok(Report {
        backbone: args.backbone.name(),
        clips: plan.clips(),
        chunk: plan.chunk(),
        peak_bytes: plan.bytes().total(),
        flops: plan.flops(),
        bytes: plan.bytes(),
        nodes: nodes(plan.program().graph(), plan.memory()),
    })
}

fn nodes<T: Real>(graph: &Graph<T>, memory: &MemoryPlan) -> Vec<NodeReport> {
    let nodes = graph.nodes().iter().enumerate().filter_map(|(i, node)| {
        let op = node.op.as_ref()?;
        let bytes = |purpose| memory.bytes_of(i, purpose);
        Some(NodeReport {
            name: node.name.clone(),
            op: op.kind(),
            shape: node.shape.dims().to_vec(),
            value_bytes: bytes(Purpose::Value),
            saved_bytes: bytes(Purpose::Saved),
            workspace_bytes: bytes(Purpose::ForwardWorkspace).max(bytes(Purpose::BackwardWorkspace)),
            forward_flops: op.cost(Pass::Forward).flops,
            backward_flops: op.cost(Pass::Backward).flops,
        })
    });
    nodes.collect()
}

fn print(out: &mut impl Write, r: &Report) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<26} {:<14} {:>20} {:>11} {:>11} {:>11} {:>9} {:>9}",
        "node", "operation", "extents", "value MB", "saved MB", "scratch MB", "GF fwd", "GF bwd"
    )?;
    let mb = |bytes: usize| bytes as f64 / 1e6;
    for n in &r.nodes {
        let shape = n.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        writeln!(
            out,
            "{:<26} {:<14} {shape:>20} {:>11.2} {:>11.2} {:>11.2} {:>9.2} {:>9.2}",
            n.name,
            n.op,
            mb(n.value_bytes),
            mb(n.saved_bytes),
            mb(n.workspace_bytes),
            n.forward_flops as f64 / 1e9,
            n.backward_flops as f64 / 1e9
        )?;
    }
    writeln!(out)?;
    writeln!(out, "{}: {} clips a step, {} at a time", r.backbone, r.clips, r.chunk)?;
    writeln!(out, "  activations, gradients, scratch  {:>12}", megabytes(r.bytes.arena))?;
    writeln!(out, "  weights, gradients, momentum     {:>12}", megabytes(r.bytes.parameters))?;
    writeln!(out, "  outputs and loss                 {:>12}", megabytes(r.bytes.objective))?;
    writeln!(out, "  peak                             {:>12}", megabytes(r.peak_bytes))?;
    writeln!(out, "  FLOPs of a step                  {:>9.2} GF", r.flops as f64 / 1e9)
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Bytes of "16GB", "800MB", "2GiB", "4096".
fn parse_size(text: &str) -> Result<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => f64::NAN,
    };
    let bytes = digits.trim().parse::<f64>().unwrap_or(f64::NAN) * unit;
    if bytes >= 1.0 && bytes.is_finite() {
        Ok(bytes as usize)
    } else {
        Err(Error::usage(
            format!("--memory {text:?} is not a size"),
            "give a number and a unit, such as 800MB or 16GiB",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("16GB").unwrap(), 16_000_000_000);
        assert_eq!(parse_size("1.5 GiB").unwrap(), 1_610_612_736);
        assert_eq!(parse_size("4096").unwrap(), 4096);
        for wrong in ["", "GB", "-3MB", "12 parsecs", "nan", "1e400"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
