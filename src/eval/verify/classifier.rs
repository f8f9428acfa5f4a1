//! Fine-tuning against a golden file: logits, pooled vectors, losses, every gradient, and the weights after three steps.

use std::sync::Arc;

use super::compare::Group;
use super::engine::{Tensors, add_flat, to_f64};
use super::golden::GoldenFile;
use super::model::{clips, extents, groups, model, optim, stored};
use crate::Result;
use crate::device::{Command, Device, Memory};
use crate::graph::cuda_tensor::to_device;
use crate::graph::{CUDA_ALIGNMENT, ParamLayout};
use crate::models::ModelConfig;
use crate::ops::{Precision, pitch};
use crate::optim::{OptimConfig, Optimiser, learning_rate};
use crate::tensor::{Dtype, NamedTensor, Real};
use crate::train::cuda::{CudaBatch, CudaNetwork, CudaNetworkPlan};
use crate::train::{Classifier, ClassifyConfig, Losses, Network, NetworkPlan};

/// Compares in precision `T`.
///
/// # Errors
/// A file that lacks something.
pub(super) fn verify<T: Real>(file: &GoldenFile) -> Result<Vec<Group>> {
    let setup = Setup::read(file)?;
    groups(file, &run(&setup, &mut CpuEngine::<T>::new(&setup, file)?)?, T::DTYPE)
}

/// Compares what a device computes.
///
/// # Errors
/// A file that lacks something, or a device that fails.
pub(super) fn verify_on(file: &GoldenFile, device: &Arc<Device>, precision: Precision) -> Result<Vec<Group>> {
    let setup = Setup::read(file)?;
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::Bf16 => Dtype::Bf16,
    };
    groups(file, &run(&setup, &mut CudaEngine::new(&setup, file, device, precision)?)?, dtype)
}

/// What the file was made with.
struct Setup {
    model: ModelConfig,
    classify: ClassifyConfig,
    optim: OptimConfig,
    videos: usize,
    extents: [usize; 3],
    steps: usize,
    seed: u64,
    input: Vec<f32>, // (videos, T, H, W, 3)
    labels: Vec<u32>,
    /// Of each step, and of the losses after the last: what dropout multiplies by, (videos, C).
    masks: Vec<Vec<f32>>,
}

impl Setup {
    fn read(file: &GoldenFile) -> Result<Self> {
        let (videos, extents) = (file.number("videos")? as usize, extents(file)?);
        let (classes, steps) = (file.number("classes")? as usize, file.number("steps")? as usize);
        let labels: Vec<u32> = file.get("labels")?.data.iter().map(|&label| label as u32).collect();
        let channels = file.get("pooled")?.data.len() / videos;
        let masks = file.get("masks")?.data.chunks(videos * channels);
        let masks: Vec<Vec<f32>> = masks.map(|m| m.iter().map(|&v| v as f32).collect()).collect();
        let fit = masks.len() == steps + 1 && masks.iter().all(|m| m.len() == videos * channels);
        if !fit || labels.len() != videos || labels.iter().any(|&label| label as usize >= classes) {
            return Err(file.lacks("labels and masks of the stated extents"));
        }
        Ok(Self {
            model: model(file)?,
            classify: ClassifyConfig {
                classes: (0..classes).map(|class| class.to_string()).collect(),
                ..ClassifyConfig::default()
            },
            optim: optim(file)?,
            seed: file.number("seed")? as u64,
            input: clips(file, "input", videos, extents)?,
            videos,
            extents,
            steps,
            labels,
            masks,
        })
    }

    fn params(&self, file: &GoldenFile, layout: &ParamLayout) -> Vec<NamedTensor> {
        stored(file, layout, self.seed)
    }
}

/// A classifier with the clips of one batch.
trait Engine {
    /// The loss with the mask of a step and, kept inside, its gradients.
    fn forward_backward(&mut self, step: usize) -> Result<Losses>;
    /// Adds logits, pooled vectors and gradients of the last batch.
    fn record(&self, out: &mut Tensors) -> Result<()>;
    /// Updates the parameters after `step` completed updates.
    fn update(&mut self, step: usize) -> Result<()>;
    /// Adds the parameters behind a prefix.
    fn params(&self, prefix: &str, out: &mut Tensors) -> Result<()>;
}

fn run(setup: &Setup, engine: &mut dyn Engine) -> Result<Tensors> {
    let (mut out, mut losses) = (Tensors::new(), Vec::new());
    for step in 0..=setup.steps {
        losses.push(engine.forward_backward(step)?.total);
        if step == 0 {
            engine.record(&mut out)?;
        }
        if step < setup.steps {
            engine.update(step)?;
        }
    }
    out.insert("loss.step".into(), losses);
    engine.params(&format!("after{}", setup.steps), &mut out)?;
    Ok(out)
}

struct CpuEngine<'a, T: Real> {
    setup: &'a Setup,
    network: Network<T, Classifier<T>>,
    optimiser: Optimiser<T>,
    input: Vec<T>,
    masks: Vec<Vec<T>>,
}

impl<'a, T: Real> CpuEngine<'a, T> {
    fn new(setup: &'a Setup, file: &GoldenFile) -> Result<Self> {
        let plan = NetworkPlan::classifier(&setup.model, &setup.classify, setup.videos, setup.extents, None)?;
        let mut network = Network::new(plan);
        let (layout, params, _) = network.parts_mut();
        layout.import(&setup.params(file, layout), params)?;
        let real = |v: &[f32]| v.iter().map(|&v| T::from_f64(v.into())).collect::<Vec<_>>();
        Ok(Self {
            optimiser: Optimiser::new(&setup.optim, setup.steps as u64, layout, 0),
            input: real(&setup.input),
            masks: setup.masks.iter().map(|m| real(m)).collect(),
            network,
            setup,
        })
    }
}

impl<T: Real> Engine for CpuEngine<'_, T> {
    fn forward_backward(&mut self, step: usize) -> Result<Losses> {
        self.network.criterion_mut().set_batch(&self.setup.labels, &self.masks[step]);
        let clip = self.input.len() / self.setup.videos;
        self.network.forward_backward(|clips, to| {
            to.copy_from_slice(&self.input[clips.start * clip..clips.end * clip]);
            Ok(())
        })
    }

    fn record(&self, out: &mut Tensors) -> Result<()> {
        out.insert("logits".into(), to_f64(self.network.criterion().logits()));
        out.insert("pooled".into(), to_f64(self.network.output(0)));
        add_flat("grad", self.network.layout(), &self.network.gradients, out);
        Ok(())
    }

    fn update(&mut self, step: usize) -> Result<()> {
        let (layout, params, gradients) = self.network.parts_mut();
        self.optimiser.measure(layout, params, gradients);
        self.optimiser.update(step as u64, layout, params, gradients);
        Ok(())
    }

    fn params(&self, prefix: &str, out: &mut Tensors) -> Result<()> {
        add_flat(prefix, self.network.layout(), &self.network.params, out);
        Ok(())
    }
}

struct CudaEngine<'a> {
    setup: &'a Setup,
    device: Arc<Device>,
    network: CudaNetwork,
    /// The clips, the learning rate, then for each step labels and mask.
    staged: Memory,
    rate: usize,
    gradient: Vec<Vec<Command>>,
    update: Vec<Command>,
}

impl<'a> CudaEngine<'a> {
    fn new(setup: &'a Setup, file: &GoldenFile, device: &Arc<Device>, precision: Precision) -> Result<Self> {
        let Setup { videos, extents, .. } = *setup;
        let batch = CudaBatch { clips: videos, extents, precision };
        let plan = CudaNetworkPlan::classifier(&setup.model, &setup.classify, &setup.optim, batch, None)?;
        let network = CudaNetwork::new(device, plan)?;
        let layout = network.plan().layout();
        let mut flat = vec![0.0; layout.len()];
        layout.import(&setup.params(file, layout), &mut flat)?;
        network.set_params(&flat)?;

        let mut bytes = to_device(&setup.input, 3, precision);
        let mut aligned = |part: &[u8]| {
            bytes.resize(bytes.len().next_multiple_of(CUDA_ALIGNMENT), 0);
            bytes.extend(part);
            bytes.len() - part.len()
        };
        let rate = aligned(&[0; size_of::<f64>()]);
        let facts: Vec<usize> = setup
            .masks
            .iter()
            .map(|mask| {
                let labels = aligned(bytemuck::cast_slice(&setup.labels));
                aligned(&to_device(mask, mask.len() / videos, Precision::F32));
                labels
            })
            .collect();
        let staged = Memory::holding(device, "the clips of a golden file", &bytes)?;
        let clip = extents.iter().product::<usize>() * pitch(3) * precision.size();
        let gradient = |&facts: &usize| {
            network.forward_backward(staged.address().offset(facts), &mut |clips, to, commands| {
                let from = staged.address().offset(clips.start * clip);
                commands.push(Command::Copy { from, to, bytes: clips.len() * clip });
            })
        };
        let (gradient, update) =
            (facts.iter().map(gradient).collect(), network.update(staged.address().offset(rate)));
        Ok(Self { setup, device: device.clone(), network, staged, rate, gradient, update })
    }

    fn run(&self, commands: &[Command]) -> Result<()> {
        self.device.enqueue(self.network.stream(), commands)?;
        self.network.stream().synchronise()
    }
}

impl Engine for CudaEngine<'_> {
    fn forward_backward(&mut self, step: usize) -> Result<Losses> {
        self.run(&self.gradient[step])?;
        Ok(self.network.plan().losses(self.network.losses()?))
    }

    fn record(&self, out: &mut Tensors) -> Result<()> {
        out.insert("logits".into(), to_f64(&self.network.logits()?));
        out.insert("pooled".into(), to_f64(&self.network.output(0)?));
        add_flat("grad", self.network.plan().layout(), &self.network.gradients()?, out);
        Ok(())
    }

    fn update(&mut self, step: usize) -> Result<()> {
        let rate = learning_rate(&self.setup.optim, step as u64, self.setup.steps as u64);
        self.staged.upload(self.rate, &[rate])?;
        self.run(&self.update)
    }

    fn params(&self, prefix: &str, out: &mut Tensors) -> Result<()> {
        add_flat(prefix, self.network.plan().layout(), &self.network.params()?, out);
        Ok(())
    }
}
