//! A whole network against a golden file: features, slots, projections, losses, every gradient, and the weights
//! after three steps.

use std::sync::Arc;

use rayon::prelude::*;

use super::compare::{Group, compare};
use super::engine::{CpuEngine, CudaEngine, Engine, Tensors};
use super::golden::{Golden, GoldenFile};
use crate::device::Device;
use crate::graph::ParamLayout;
use crate::models::{self, BLOCKS, Backbone, Init, ModelConfig, Role};
use crate::ops::{ParamKind, Precision};
use crate::optim::{OptimConfig, Schedule};
use crate::tensor::layout::channels_last;
use crate::tensor::random::Stream;
use crate::tensor::{Dtype, NamedTensor, Real};
use crate::train::objective::{LossConfig, Reduction};
use crate::{Error, Result};

/// PyTorch's default for the reported L2 penalty, which the file's own `l2` does not change.
const REPORTED_L2: f64 = 5e-5;

/// Compares in precision `T`.
///
/// # Errors
/// A file that lacks something.
pub(super) fn verify<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    let setup = Setup::read(file)?;
    let mut engine = CpuEngine::<T>::new(&setup, &start(file, &setup)?, &inputs(file, &setup)?)?;
    groups(file, &run(&setup, &mut engine)?, T::DTYPE)
}

/// Compares what a device computes.
///
/// # Errors
/// A file that lacks something, or a device that fails.
pub(super) fn verify_on(file: &GoldenFile, device: &Arc<Device>, precision: Precision) -> Result<Vec<Group>> {
    let setup = Setup::read(file)?;
    let (params, inputs) = (start(file, &setup)?, inputs(file, &setup)?);
    let mut engine = CudaEngine::new(device, precision, &setup, &params, &inputs)?;
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::Bf16 => Dtype::Bf16,
    };
    groups(file, &run(&setup, &mut engine)?, dtype)
}

/// Compares with the limits of a network's file.
///
/// # Errors
/// A file that lacks something.
pub(super) fn groups(file: &GoldenFile, computed: &Tensors, dtype: Dtype) -> Result<Vec<Group>> {
    let recorded = &file.meta["torch_vs_fp64"];
    let limit = |group: &str| {
        let name = group.split('#').next().unwrap_or(group);
        let theirs = |precision: &str| recorded[precision][name]["group_rel_l2"].as_f64().unwrap_or(0.0);
        match dtype {
            Dtype::F64 => 1e-6,
            // Three times as far from float64 as PyTorch's own f32; one rounding where it recorded less.
            Dtype::F32 => 3.0 * theirs("fp32").max(f64::from(f32::EPSILON)),
            Dtype::Bf16 => 1.5 * theirs("bf16_autocast"),
        }
    };
    let group = |name: &str| {
        let group = name.split('.').next().unwrap_or(name);
        let statistics = if name.ends_with("#stats") { "#stats" } else { "" };
        (!matches!(group, "input" | "param" | "labels" | "masks")).then(|| format!("{group}{statistics}"))
    };
    // The files of small networks leave out how far the steps went: it follows from where they ended.
    compare(file, computed, group, |name| !name.starts_with("delta"), limit)
}

/// What the file was made with.
pub(super) struct Setup {
    pub model: ModelConfig,
    pub loss: LossConfig,
    pub optim: OptimConfig,
    pub videos: usize,
    pub extents: [usize; 3],
    pub steps: usize,
    pub seed: u64,
}

impl Setup {
    fn read(file: &GoldenFile) -> Result<Self> {
        Ok(Self {
            model: model(file)?,
            loss: LossConfig {
                tau: file.number("tau")?,
                alpha: file.numbers("alpha")?,
                beta: file.numbers("beta")?,
                spatial: true,
                temporal: true,
                reduction: Reduction::Sum,
            },
            optim: optim(file)?,
            videos: file.number("videos")? as usize,
            extents: extents(file)?,
            steps: file.number("steps")? as usize,
            seed: file.number("seed")? as u64,
        })
    }
}

/// The file's network.
///
/// # Errors
/// A file that lacks it.
pub(super) fn model(file: &GoldenFile) -> Result<ModelConfig> {
    let name = file.meta["backbone"].as_str().ok_or_else(|| file.lacks("backbone"))?;
    let known = [Backbone::C3d, Backbone::R3d18, Backbone::R21d10].into_iter().find(|b| b.name() == name);
    let wrong = || Error::data(&file.path, format!("backbone {name:?}"), "c3d, r3d18 or r21d10 expected");
    Ok(ModelConfig {
        backbone: known.ok_or_else(wrong)?,
        width: file.number("width")? / 64.0,
        norm_eps: file.number("eps")?,
        init: Init::Glorot,
    })
}

/// The file's optimiser.
///
/// # Errors
/// A file that lacks it.
pub(super) fn optim(file: &GoldenFile) -> Result<OptimConfig> {
    Ok(OptimConfig {
        lr: file.number("lr")?,
        momentum: file.number("momentum")?,
        decay: file.number("decay")?,
        l2: file.number("l2")?,
        schedule: Schedule::Decay,
        ..Default::default()
    })
}

/// Frames, height and width of the file's clips.
///
/// # Errors
/// A file that lacks them.
pub(super) fn extents(file: &GoldenFile) -> Result<[usize; 3]> {
    let [height, width] = file.numbers("hw")?;
    Ok([file.number("frames")? as usize, height as usize, width as usize])
}

/// Everything a golden file can hold, by name, in PyTorch's layout.
fn run(setup: &Setup, engine: &mut dyn Engine) -> Result<Tensors> {
    let mut out = Tensors::new();
    let start = engine.params()?;
    engine.features(&mut out)?;
    let mut losses = Vec::new();
    for step in 0..=setup.steps {
        let parts = engine.forward_backward()?;
        losses.push(parts.total);
        if step == 0 {
            engine.record(&mut out)?;
            for (k, block) in BLOCKS.into_iter().enumerate() {
                for (letter, term) in [("s", parts.spatial[k]), ("t", parts.temporal[k])] {
                    let term = term.expect("both contrasts are on");
                    out.insert(format!("loss.{letter}.{block}"), vec![term]);
                    out.insert(format!("loss.{letter}_mean.{block}"), vec![term / setup.videos as f64]);
                }
            }
            out.insert("loss.total".into(), vec![parts.total]);
            out.insert("loss.l2_penalty".into(), vec![penalty(engine.layout(), &start)]);
        }
        if step < setup.steps {
            engine.update(step as u64)?;
        }
    }
    out.insert("loss.step".into(), losses);
    for (name, after) in engine.params()? {
        let delta = after.iter().zip(&start[&name]).map(|(a, b)| a - b).collect();
        out.insert(format!("delta{}.{name}", setup.steps), delta);
        out.insert(format!("after{}.{name}", setup.steps), after);
    }
    Ok(out)
}

/// `l2·Σw²` over kernels as the reference reports it.
fn penalty(layout: &ParamLayout, params: &Tensors) -> f64 {
    let kernels = layout.params().iter().filter(|p| p.kind == ParamKind::Kernel);
    kernels.map(|p| REPORTED_L2 * params[&p.name].iter().map(|w| w * w).sum::<f64>()).sum()
}

/// The clips of all roles, `(3·videos, T, H, W, 3)`.
fn inputs(file: &GoldenFile, setup: &Setup) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for role in Role::ALL {
        all.extend(clips(file, &format!("input.{}", role.letter()), setup.videos, setup.extents)?);
    }
    Ok(all)
}

/// Stored clips, `(clips, T, H, W, 3)`.
///
/// # Errors
/// None of this name and these extents.
pub(super) fn clips(file: &GoldenFile, name: &str, clips: usize, [t, h, w]: [usize; 3]) -> Result<Vec<f32>> {
    let Golden { shape, data } = file.get(name)?;
    if shape[..] != [clips, 3, t, h, w] {
        return Err(file.lacks(&format!("{name} of the stated extents")));
    }
    let mut last = vec![0.0; data.len()];
    channels_last(data, 3, t * h * w, &mut last);
    Ok(last.into_iter().map(|v| v as f32).collect()) // stored as f32
}

/// Parameters from the file, or where it has none from their names and the seed (`ref.init_value`).
fn start(file: &GoldenFile, setup: &Setup) -> Result<Vec<NamedTensor>> {
    let graph = models::encoder::<f32>(&setup.model, 1, setup.extents, false)?;
    Ok(stored(file, &models::param_layout(&graph), setup.seed))
}

/// The parameters of a layout, likewise.
pub(super) fn stored(file: &GoldenFile, layout: &ParamLayout, seed: u64) -> Vec<NamedTensor> {
    let tensors = layout.params().par_iter().map(|p| {
        let shape = p.file_shape();
        let data = match file.tensors.get(&format!("param.{}", p.name)) {
            Some(golden) => golden.data.iter().map(|&v| v as f32).collect(),
            None => regenerate(&p.name, p.kind, &shape, seed),
        };
        NamedTensor { name: p.name.clone(), shape, data }
    });
    tensors.collect()
}

/// The reference's `init_value`: uniform in ±√(6/fan_in) for kernels, 1 ± 1/4 for scales, ±1/4 otherwise.
fn regenerate(name: &str, kind: ParamKind, shape: &[usize], seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(name, seed);
    let numel: usize = shape.iter().product();
    let limit = (6.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let mut next = || 2.0 * stream.next_unit() - 1.0;
    (0..numel)
        .map(|_| match kind {
            ParamKind::Kernel => (next() * limit) as f32,
            ParamKind::Scale => (1.0 + next() * 0.25) as f32,
            ParamKind::Shift => (next() * 0.25) as f32,
        })
        .collect()
}
