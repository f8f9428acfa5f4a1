//! A whole network against a golden file: features, slots, projections, losses, every gradient, and the weights
//! after three steps.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::compare::{Group, compare};
use super::golden::{Golden, GoldenFile};
use crate::graph::{Executor, ParamLayout};
use crate::models::{self, BLOCKS, Backbone, Init, ModelConfig, Role};
use crate::ops::ParamKind;
use crate::optim::{OptimConfig, Optimiser, Schedule};
use crate::tensor::layout::{channels_first, channels_last};
use crate::tensor::random::Stream;
use crate::tensor::{Dtype, Real};
use crate::train::objective::{LossConfig, Reduction};
use crate::train::{Network, NetworkPlan};
use crate::{Error, Result};

/// PyTorch's default for the reported L2 penalty, which the file's own `l2` does not change.
const REPORTED_L2: f64 = 5e-5;

/// Compares in precision `T`.
///
/// # Errors
/// A file that lacks something.
pub(super) fn verify<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    let setup = Setup::read(file)?;
    let computed = run::<T>(file, &setup)?;
    let recorded = &file.meta["torch_vs_fp64"]["fp32"];
    let limit = |group: &str| match T::DTYPE {
        Dtype::F64 => 1e-6,
        // Three times as far from float64 as PyTorch's own f32; one rounding where it recorded less.
        _ => {
            let name = group.split('#').next().unwrap_or(group);
            3.0 * recorded[name]["group_rel_l2"].as_f64().unwrap_or(0.0).max(f64::from(f32::EPSILON))
        }
    };
    let group = |name: &str| {
        let group = name.split('.').next().unwrap_or(name);
        let statistics = if name.ends_with("#stats") { "#stats" } else { "" };
        (!matches!(group, "input" | "param")).then(|| format!("{group}{statistics}"))
    };
    // The files of small networks leave out how far the steps went: it follows from where they ended.
    compare(file, &computed, group, |name| !name.starts_with("delta"), limit)
}

/// What the file was made with.
struct Setup {
    model: ModelConfig,
    loss: LossConfig,
    optim: OptimConfig,
    videos: usize,
    extents: [usize; 3],
    steps: usize,
    seed: u64,
}

impl Setup {
    fn read(file: &GoldenFile) -> Result<Self> {
        let name = file.meta["backbone"].as_str().ok_or_else(|| file.lacks("backbone"))?;
        let backbone = [Backbone::C3d, Backbone::R3d18, Backbone::R21d10]
            .into_iter()
            .find(|b| b.name() == name)
            .ok_or_else(|| {
                Error::data(&file.path, format!("backbone {name:?}"), "c3d, r3d18 or r21d10 expected")
            })?;
        let [height, width] = file.numbers("hw")?;
        Ok(Self {
            model: ModelConfig {
                backbone,
                width: file.number("width")? / 64.0,
                norm_eps: file.number("eps")?,
                init: Init::Glorot,
            },
            loss: LossConfig {
                tau: file.number("tau")?,
                alpha: file.numbers("alpha")?,
                beta: file.numbers("beta")?,
                spatial: true,
                temporal: true,
                reduction: Reduction::Sum,
            },
            optim: OptimConfig {
                lr: file.number("lr")?,
                momentum: file.number("momentum")?,
                decay: file.number("decay")?,
                l2: file.number("l2")?,
                schedule: Schedule::Decay,
                ..Default::default()
            },
            videos: file.number("videos")? as usize,
            extents: [file.number("frames")? as usize, height as usize, width as usize],
            steps: file.number("steps")? as usize,
            seed: file.number("seed")? as u64,
        })
    }
}

/// Everything a golden file can hold, by name, in PyTorch's layout.
fn run<T: Real>(file: &GoldenFile, setup: &Setup) -> Result<BTreeMap<String, Vec<f64>>> {
    let mut out = BTreeMap::new();
    let plan = NetworkPlan::<T>::new(&setup.model, &setup.loss, setup.videos, setup.extents, None)?;
    let mut network = Network::new(plan);
    set_params(file, setup, network.layout().clone(), &mut network.params)?;
    let input = inputs::<T>(file, setup)?;
    let clip = input.len() / (3 * setup.videos);
    let layout = network.layout().clone();
    let start = export(&layout, &network.params);

    features(setup, &layout, &network.params, &input, &mut out)?;
    let mut losses = Vec::new();
    let mut optimiser = Optimiser::new(&setup.optim, setup.steps as u64, &layout);
    let reported = OptimConfig { l2: REPORTED_L2, ..setup.optim.clone() };
    for step in 0..=setup.steps {
        let parts = network.forward_backward(|clips, to| {
            to.copy_from_slice(&input[clips.start * clip..clips.end * clip]);
            Ok(())
        })?;
        losses.push(parts.total);
        if step == 0 {
            record(setup, &network, &mut out);
            for (k, block) in BLOCKS.into_iter().enumerate() {
                for (letter, term) in [("s", parts.spatial[k]), ("t", parts.temporal[k])] {
                    let term = term.expect("both contrasts are on");
                    out.insert(format!("loss.{letter}.{block}"), vec![term]);
                    out.insert(format!("loss.{letter}_mean.{block}"), vec![term / setup.videos as f64]);
                }
            }
            out.insert("loss.total".into(), vec![parts.total]);
            let mut with_reported = Optimiser::new(&reported, setup.steps as u64, &layout);
            let measured = with_reported.measure(&layout, &network.params, &network.gradients);
            out.insert("loss.l2_penalty".into(), vec![measured.l2]);
        }
        if step < setup.steps {
            let (layout, params, gradients) = network.parts_mut();
            optimiser.measure(layout, params, gradients);
            optimiser.update(step as u64, layout, params, gradients);
        }
    }
    out.insert("loss.step".into(), losses);
    for (name, after) in export(&layout, &network.params) {
        let delta = after.iter().zip(&start[&name]).map(|(a, b)| a - b).collect();
        out.insert(format!("delta{}.{name}", setup.steps), delta);
        out.insert(format!("after{}.{name}", setup.steps), after);
    }
    Ok(out)
}

/// Slots, projections, parameters and gradients of the last batch.
fn record<T: Real>(setup: &Setup, network: &Network<T>, out: &mut BTreeMap<String, Vec<f64>>) {
    for (k, block) in BLOCKS.into_iter().enumerate() {
        let slots = network.slots(k);
        for (role, slots) in Role::ALL.into_iter().zip(slots.chunks_exact(slots.len() / 3)) {
            out.insert(format!("slot.{}.{block}", role.letter()), to_f64(slots));
        }
        for (name, values) in
            ["o_slots", "s_slots", "o", "t"].into_iter().zip(network.objective().projections(k))
        {
            debug_assert_eq!(values.len() % setup.videos, 0);
            out.insert(format!("proj.{name}.{block}"), to_f64(values));
        }
    }
    for (prefix, flat) in [("param", &network.params), ("grad", &network.gradients)] {
        out.extend(export(network.layout(), flat).into_iter().map(|(n, v)| (format!("{prefix}.{n}"), v)));
    }
}

/// Feature maps of the three blocks, `feat.<role>.<block>`, in `NCTHW`.
fn features<T: Real>(
    setup: &Setup,
    layout: &ParamLayout,
    params: &[T],
    input: &[T],
    out: &mut BTreeMap<String, Vec<f64>>,
) -> Result<()> {
    let graph = models::encoder::<T>(&setup.model, setup.videos, setup.extents, true)?;
    let mut encoder = Executor::new(graph, layout, false);
    for (role, clips) in Role::ALL.into_iter().zip(input.chunks_exact(input.len() / 3)) {
        encoder.input_mut().copy_from_slice(clips);
        encoder.forward(params);
        for (k, block) in BLOCKS.into_iter().enumerate() {
            let map = to_f64(encoder.output(3 + k));
            let shape = encoder.graph().node(encoder.graph().outputs()[3 + k]).shape.dims();
            let mut first = vec![0.0; map.len()];
            channels_first(&map, shape[4], shape[1] * shape[2] * shape[3], &mut first);
            out.insert(format!("feat.{}.{block}", role.letter()), first);
        }
    }
    Ok(())
}

/// The clips of all roles, `(3·videos, T, H, W, 3)`.
fn inputs<T: Real>(file: &GoldenFile, setup: &Setup) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for role in Role::ALL {
        let name = format!("input.{}", role.letter());
        let Golden { shape, data } = file.get(&name)?;
        let [t, h, w] = setup.extents;
        if shape[..] != [setup.videos, 3, t, h, w] {
            return Err(file.lacks(&format!("{name} of the stated extents")));
        }
        let mut last = vec![0.0; data.len()];
        channels_last(data, 3, t * h * w, &mut last);
        all.extend(last.into_iter().map(T::from_f64));
    }
    Ok(all)
}

/// Parameters from the file, or where it has none from their names and the seed (`ref.init_value`).
fn set_params<T: Real>(file: &GoldenFile, setup: &Setup, layout: ParamLayout, flat: &mut [T]) -> Result<()> {
    let tensors: Vec<_> = layout
        .params()
        .par_iter()
        .map(|p| {
            let shape = p.file_shape();
            let data = match file.tensors.get(&format!("param.{}", p.name)) {
                Some(golden) => golden.data.iter().map(|&v| v as f32).collect(),
                None => regenerate(&p.name, p.kind, &shape, setup.seed),
            };
            crate::tensor::NamedTensor { name: p.name.clone(), shape, data }
        })
        .collect();
    layout.import(&tensors, flat)
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

fn export<T: Real>(layout: &ParamLayout, flat: &[T]) -> BTreeMap<String, Vec<f64>> {
    layout
        .params()
        .iter()
        .map(|p| (p.name.clone(), p.to_file_order(&to_f64(&flat[p.range.clone()]))))
        .collect()
}

fn to_f64<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}
