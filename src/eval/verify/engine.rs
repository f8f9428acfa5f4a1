//! A network in training as verification looks at it, on the CPU or on a device.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::Setup;
use crate::Result;
use crate::device::{Address, Command, Device, Memory};
use crate::graph::cuda_tensor::to_device;
use crate::graph::{CudaExecutor, Executor, Graph, ParamLayout};
use crate::models::{self, BLOCKS, Role};
use crate::ops::{Precision, pitch};
use crate::optim::{Optimiser, learning_rate};
use crate::tensor::layout::channels_first;
use crate::tensor::{NamedTensor, Real};
use crate::train::Losses;
use crate::train::cuda::{CudaNetwork, CudaNetworkPlan};
use crate::train::{Network, NetworkPlan};

/// Values by the golden's name and in its layout.
pub(super) type Tensors = BTreeMap<String, Vec<f64>>;

/// A network with the clips of one batch.
pub(super) trait Engine {
    /// Names and places of the parameters.
    fn layout(&self) -> &ParamLayout;
    /// The parameters as they are.
    fn params(&self) -> Result<Tensors>;
    /// Adds the feature maps of the three blocks, `feat.<role>.<block>`, in `NCTHW`.
    fn features(&mut self, out: &mut Tensors) -> Result<()>;
    /// The loss and, kept inside, its gradients.
    fn forward_backward(&mut self) -> Result<Losses>;
    /// Adds slots, projections, parameters and gradients of the last batch.
    fn record(&self, out: &mut Tensors) -> Result<()>;
    /// Updates the parameters after `step` completed updates.
    fn update(&mut self, step: u64) -> Result<()>;
}

/// The CPU in precision `T`.
pub(super) struct CpuEngine<T: Real> {
    network: Network<T>,
    optimiser: Optimiser<T>,
    features: Executor<T>,
    input: Vec<T>,
}

impl<T: Real> CpuEngine<T> {
    pub fn new(setup: &Setup, params: &[NamedTensor], input: &[f32]) -> Result<Self> {
        let plan = NetworkPlan::<T>::new(&setup.model, &setup.loss, setup.videos, setup.extents, None)?;
        let mut network = Network::new(plan);
        let layout = network.layout().clone();
        layout.import(params, &mut network.params)?;
        let graph = models::encoder::<T>(&setup.model, setup.videos, setup.extents, true)?;
        Ok(Self {
            network,
            optimiser: Optimiser::new(&setup.optim, setup.steps as u64, &layout, 0),
            features: Executor::new(graph, &layout, false),
            input: input.iter().map(|&v| T::from_f64(v.into())).collect(),
        })
    }
}

impl<T: Real> Engine for CpuEngine<T> {
    fn layout(&self) -> &ParamLayout {
        self.network.layout()
    }

    fn params(&self) -> Result<Tensors> {
        Ok(export(self.network.layout(), &self.network.params))
    }

    fn features(&mut self, out: &mut Tensors) -> Result<()> {
        for (role, clips) in Role::ALL.into_iter().zip(self.input.chunks_exact(self.input.len() / 3)) {
            self.features.input_mut().copy_from_slice(clips);
            self.features.forward(&self.network.params);
            for k in 0..3 {
                add_map(self.features.graph(), role, k, self.features.output(3 + k), out);
            }
        }
        Ok(())
    }

    fn forward_backward(&mut self) -> Result<Losses> {
        let clip = self.input.len() / self.network.encoder().graph().nodes()[0].shape.dims()[0];
        self.network.forward_backward(|clips, to| {
            to.copy_from_slice(&self.input[clips.start * clip..clips.end * clip]);
            Ok(())
        })
    }

    fn record(&self, out: &mut Tensors) -> Result<()> {
        for k in 0..3 {
            add_slots(k, self.network.output(k), out);
            add_projections(k, self.network.criterion().projections(k), out);
        }
        for (prefix, flat) in [("param", &self.network.params), ("grad", &self.network.gradients)] {
            add_flat(prefix, self.network.layout(), flat, out);
        }
        Ok(())
    }

    fn update(&mut self, step: u64) -> Result<()> {
        let (layout, params, gradients) = self.network.parts_mut();
        self.optimiser.measure(layout, params, gradients);
        self.optimiser.update(step, layout, params, gradients);
        Ok(())
    }
}

/// A device.
pub(super) struct CudaEngine<'a> {
    device: Arc<Device>,
    network: CudaNetwork,
    setup: &'a Setup,
    precision: Precision,
    input: &'a [f32],
    /// The clips and, behind them, room for the learning rate.
    staged: Memory,
    rate: usize,
    gradient: Vec<Command>,
    update: Vec<Command>,
}

impl<'a> CudaEngine<'a> {
    pub fn new(
        device: &Arc<Device>,
        precision: Precision,
        setup: &'a Setup,
        params: &[NamedTensor],
        input: &'a [f32],
    ) -> Result<Self> {
        let (videos, extents) = (setup.videos, setup.extents);
        let plan =
            CudaNetworkPlan::new(&setup.model, &setup.loss, &setup.optim, precision, videos, extents, None)?;
        let network = CudaNetwork::new(device, plan)?;
        let layout = network.plan().layout();
        let mut flat = vec![0.0; layout.len()];
        layout.import(params, &mut flat)?;
        network.set_params(&flat)?;

        let mut clips = to_device(input, 3, precision);
        let rate = clips.len().next_multiple_of(size_of::<f64>());
        clips.resize(rate + size_of::<f64>(), 0);
        let staged = Memory::holding(device, "the clips of a golden file", &clips)?;
        let clip = extents.iter().product::<usize>() * pitch(3) * precision.size();
        let gradient = network.forward_backward(Address::NULL, &mut |clips, to, commands| {
            let from = staged.address().offset(clips.start * clip);
            commands.push(Command::Copy { from, to, bytes: clips.len() * clip });
        });
        let update = network.update(staged.address().offset(rate));
        Ok(Self { device: device.clone(), network, setup, precision, input, staged, rate, gradient, update })
    }

    fn run(&self, commands: &[Command]) -> Result<()> {
        self.device.enqueue(self.network.stream(), commands)?;
        self.network.stream().synchronise()
    }
}

impl Engine for CudaEngine<'_> {
    fn layout(&self) -> &ParamLayout {
        self.network.plan().layout()
    }

    fn params(&self) -> Result<Tensors> {
        Ok(export(self.layout(), &self.network.params()?))
    }

    fn features(&mut self, out: &mut Tensors) -> Result<()> {
        let graph = models::encoder::<f32>(&self.setup.model, self.setup.videos, self.setup.extents, true)?;
        let mut executor = CudaExecutor::new(&self.device, graph, self.layout(), self.precision)?;
        executor.set_params(&self.network.params()?)?;
        for (role, clips) in Role::ALL.into_iter().zip(self.input.chunks_exact(self.input.len() / 3)) {
            executor.input_mut().copy_from_slice(clips);
            executor.forward()?;
            for k in 0..3 {
                add_map(executor.graph(), role, k, executor.output(3 + k), out);
            }
        }
        Ok(())
    }

    fn forward_backward(&mut self) -> Result<Losses> {
        self.run(&self.gradient)?;
        Ok(self.network.plan().losses(self.network.losses()?))
    }

    fn record(&self, out: &mut Tensors) -> Result<()> {
        for k in 0..3 {
            add_slots(k, &self.network.output(k)?, out);
            let projections = self.network.projections(k)?;
            add_projections(k, projections.each_ref().map(Vec::as_slice), out);
        }
        add_flat("param", self.layout(), &self.network.params()?, out);
        add_flat("grad", self.layout(), &self.network.gradients()?, out);
        Ok(())
    }

    fn update(&mut self, step: u64) -> Result<()> {
        let rate = learning_rate(&self.setup.optim, step, self.setup.steps as u64);
        self.staged.upload(self.rate, &[rate])?;
        self.run(&self.update)
    }
}

fn add_map<T: Real>(graph: &Graph<T>, role: Role, k: usize, map: &[T], out: &mut Tensors) {
    let map = to_f64(map);
    let shape = graph.node(graph.outputs()[3 + k]).shape.dims();
    let mut first = vec![0.0; map.len()];
    channels_first(&map, shape[4], shape[1] * shape[2] * shape[3], &mut first);
    out.insert(format!("feat.{}.{}", role.letter(), BLOCKS[k]), first);
}

fn add_slots<T: Real>(k: usize, slots: &[T], out: &mut Tensors) {
    for (role, slots) in Role::ALL.into_iter().zip(slots.chunks_exact(slots.len() / 3)) {
        out.insert(format!("slot.{}.{}", role.letter(), BLOCKS[k]), to_f64(slots));
    }
}

fn add_projections<T: Real>(k: usize, projections: [&[T]; 4], out: &mut Tensors) {
    for (name, values) in ["o_slots", "s_slots", "o", "t"].into_iter().zip(projections) {
        out.insert(format!("proj.{name}.{}", BLOCKS[k]), to_f64(values));
    }
}

pub(super) fn add_flat<T: Real>(prefix: &str, layout: &ParamLayout, flat: &[T], out: &mut Tensors) {
    out.extend(export(layout, flat).into_iter().map(|(n, v)| (format!("{prefix}.{n}"), v)));
}

pub(super) fn export<T: Real>(layout: &ParamLayout, flat: &[T]) -> Tensors {
    layout
        .params()
        .iter()
        .map(|p| (p.name.clone(), p.to_file_order(&to_f64(&flat[p.range.clone()]))))
        .collect()
}

pub(super) fn to_f64<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}
