//! Whole training steps of each backbone: augmentation, encoder, loss, backward and update. Not criterion's: it
//! wants ten samples, and a step takes seconds.
//!
//! `cargo bench --bench step -- [--backbone c3d|r3d18|r21d10] [--clips 6] [--steps 3] [--device cuda --precision bf16] [--json]
//! [--quick]`
//!
//! Without a driver `--device cuda` says so. On the simulated device (HDC_CUDA_DRIVER) there is no time: one step of a small
//! network, as with `--quick`, and a line for each kernel of what it did.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use hdc::data::augment::draw;
use hdc::data::sampler::Role;
use hdc::data::{AugmentConfig, Batch, Clip, ClipConfig, Window};
use hdc::device::Device;
use hdc::models::{Backbone, ModelConfig};
use hdc::ops::Precision;
use hdc::optim::OptimConfig;
use hdc::tensor::random::Stream;
use hdc::train::cuda::{CudaNetworkPlan, CudaRun, CudaTrainStep};
use hdc::train::objective::LossConfig;
use hdc::train::{NetworkPlan, Step, TrainStep};
use support::counters::{self, Counters, Report, is_simulated};

/// Frames, height, width of a clip of a small step.
const SMALL: [usize; 3] = [8, 32, 32];
const ROLES: [Role; 3] = [Role::Anchor, Role::Spatial, Role::Temporal];

#[derive(Parser)]
struct Args {
    /// Only this backbone
    #[arg(long)]
    backbone: Option<Backbone>,
    /// Clips of a step, the three variants together
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(3..))]
    clips: u16,
    /// Where to compute
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "cuda"])]
    device: String,
    /// Arithmetic; bf16 with --device cuda
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    precision: String,
    /// Clips encoded at a time; 0: all
    #[arg(long, default_value_t = 0)]
    chunk: usize,
    /// Steps measured, after one that is not
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// A small network and clip, one measured step of six clips
    #[arg(long)]
    quick: bool,
    /// One JSON object a backbone, with the seconds of every step
    #[arg(long)]
    json: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> hdc::Result<()> {
    let report = Report::start();
    let mut args = Args::parse();
    let mut device = None;
    if args.device == "cuda" {
        match Device::open(0) {
            Ok(opened) => device = Some(opened),
            Err(e) if std::env::var_os("HDC_CUDA_DRIVER").is_none() => {
                println!("skipped: {e}");
                return Ok(());
            }
            Err(e) => return Err(e),
        }
    }
    let simulated = device.as_deref().is_some_and(is_simulated);
    if simulated || args.quick {
        (args.quick, args.clips, args.steps, args.chunk) = (true, 6, 1, 0);
    }
    let mut report = match report {
        Ok(report) if simulated => Some(report),
        Err(e) if simulated => return Err(hdc::Error::io("make", "a report for ptxsim", e)),
        _ => None,
    };
    if simulated {
        println!(
            "simulated: no times; what kernels did in a step of 6 clips of {SMALL:?}, an eighth as wide"
        );
    } else if !args.json {
        println!(
            "{:8} {:>6} {:>9} {:>9} {:>9} {:>9} {:>12}",
            "", "clips", "clips/s", "s, least", "median", "most", "peak bytes"
        );
    }
    for backbone in [Backbone::C3d, Backbone::R3d18, Backbone::R21d10] {
        if args.backbone.is_none_or(|wanted| wanted == backbone) {
            measure(backbone, &args, device.as_ref(), report.as_mut())?;
        }
    }
    Ok(())
}

fn measure(
    backbone: Backbone,
    args: &Args,
    device: Option<&Arc<Device>>,
    mut report: Option<&mut Report>,
) -> hdc::Result<()> {
    let (videos, mut clip) = (usize::from(args.clips) / 3, ClipConfig::default());
    let mut model = ModelConfig { backbone, ..Default::default() };
    if args.quick {
        clip = ClipConfig { frames: SMALL[0], crop: SMALL[1], short_side: SMALL[1] + 8, ..clip };
        model.width = 0.125;
    }
    let extents = [clip.frames, clip.crop, clip.crop];
    let chunk = (args.chunk > 0).then_some(args.chunk);
    let (loss, optim) = (LossConfig::default(), OptimConfig::default());
    let (flops, mut step): (u64, Box<dyn Step>) = if let Some(device) = device {
        let precision = if args.precision == "f32" { Precision::F32 } else { Precision::Bf16 };
        let plan = CudaNetworkPlan::new(&model, &loss, &optim, precision, videos, extents, chunk)?;
        let window_bytes = clip.frames * clip.short_side * (clip.short_side * 4 / 3) * 3;
        let (clip, windows, init, optim) = (&clip, 2 * videos, model.init, &optim);
        let run =
            CudaRun { clip, windows, window_bytes, init, optim, total_steps: 1000, seed: 1, feed: None };
        (plan.flops(), Box::new(CudaTrainStep::new(device, plan, &run)?))
    } else {
        let plan = NetworkPlan::new(&model, &loss, videos, extents, chunk)?;
        (plan.flops(), Box::new(TrainStep::new(plan, &clip, model.init, &optim, 1000, 1)))
    };
    // Two batches in turn, staged as a run stages them: the next one while a step runs.
    let mut batches = [batch(videos, &clip), batch(videos, &clip)];
    let mut seconds = Vec::new();
    for i in 0..=usize::from(args.steps) {
        let (now, next) = (i % 2, (i + 1) % 2);
        (batches[now].step, batches[next].step) = (i as u64, i as u64 + 1);
        taken(&mut report)?; // what came before
        let start = Instant::now();
        step.start(&batches[now])?;
        step.stage(&batches[next])?;
        step.finish(&batches[now])?;
        if i > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    if report.is_some() {
        counters::print(backbone.name(), &taken(&mut report)?);
        return Ok(());
    }
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let (clips, median) = (videos * 3, sorted[sorted.len() / 2]);
    if args.json {
        let record = serde_json::json!({
            "backbone": backbone.name(), "device": args.device, "precision": args.precision, "clips": clips, "seconds": seconds, "clips_per_s": clips as f64 / median,
            "gflops": flops as f64 / median / 1e9, "planned_bytes": step.peak_bytes(),
            "resident_bytes": resident_bytes(), "threads": rayon::current_num_threads(),
        });
        println!("{record}");
    } else {
        println!(
            "{:8} {clips:6} {:9.3} {:9.3} {median:9.3} {:9.3} {:12}",
            backbone.name(),
            clips as f64 / median,
            sorted[0],
            sorted[sorted.len() - 1],
            step.peak_bytes()
        );
    }
    Ok(())
}

/// What the simulated device did since the last call; nothing on another.
fn taken(report: &mut Option<&mut Report>) -> hdc::Result<BTreeMap<String, Counters>> {
    let taken = report.as_mut().map_or_else(|| Ok(BTreeMap::new()), |report| report.take());
    taken.map_err(|e| hdc::Error::io("read", "the report of ptxsim", e))
}

/// Random frames under the paper's augmentation.
fn batch(videos: usize, clip: &ClipConfig) -> Batch {
    let (height, width) = (clip.short_side, clip.short_side * 4 / 3);
    let mut stream = Stream::new("frames", 1);
    let window = |stream: &mut Stream| Window {
        frames: clip.frames,
        height,
        width,
        rgb: (0..clip.frames * height * width * 3).map(|_| stream.next_below(256) as u8).collect(),
    };
    // An anchor and its spatial variant share a window; the temporal variant has its own.
    let windows = (0..2 * videos).map(|_| window(&mut stream)).collect();
    let clips = ROLES.iter().flat_map(|&role| {
        (0..videos).map(move |video| Clip {
            window: if role == Role::Temporal { videos + video } else { video },
            transform: draw(&AugmentConfig::default(), (height, width), 1, 0, video as u64, role),
        })
    });
    let videos = (0..videos).map(|video| format!("random-{video}")).collect();
    Batch { step: 0, epoch: 0, videos, windows, clips: clips.collect(), ..Batch::default() }
}

/// The most memory that this process ever had resident, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
