#![allow(dead_code, reason = "each bench uses its part")]
//! What the benches of operations share: the layers to measure are those of the three backbones, taken from
//! their graphs, so there is no list to keep in step.

pub mod counters;
pub mod cuda;

use std::collections::HashSet;
use std::time::Duration;

use arrayvec::ArrayVec;
use bytemuck::{Pod, Zeroable};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use hdc::models::{self, Backbone, ModelConfig};
use hdc::ops::{Backward, Cost, Forward, Gradient, Op, Pass, WriteMode};
use hdc::tensor::Shape;
use hdc::tensor::random::Stream;

/// Frames, height, width of a clip.
pub const CLIP: [usize; 3] = [16, 112, 112];
/// Clips of a batch: one, so that a layer takes milliseconds.
pub const CLIPS: usize = 1;

/// Short runs: a layer takes up to a second, and there are dozens.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}

/// What a figure per second counts.
#[derive(Clone, Copy)]
pub enum Bound {
    /// FLOPs: criterion's "elem/s" are FLOP/s.
    Arithmetic,
    /// Bytes that must be read or written at least once.
    Memory,
}

impl Bound {
    /// The throughput of a pass in f32.
    pub fn throughput(self, cost: Cost) -> Throughput {
        match self {
            Self::Arithmetic => Throughput::Elements(cost.flops),
            Self::Memory => Throughput::BytesDecimal(cost.elements * size_of::<f32>() as u64),
        }
    }
}

/// Measures every distinct layer of one kind, forward and backward; backward of a layer that reads the clips
/// makes no gradient for them.
pub fn layers(c: &mut Criterion, kind: &str, bound: Bound) {
    let mut group = c.benchmark_group(kind);
    group.sampling_mode(SamplingMode::Flat);
    let mut seen = HashSet::new();
    for backbone in [Backbone::C3d, Backbone::R3d18, Backbone::R21d10] {
        let config = ModelConfig { backbone, ..Default::default() };
        let graph = models::encoder::<f32>(&config, CLIPS, CLIP, false).expect("the paper's extents fit");
        for node in graph.nodes() {
            let Some(op) = node.op.as_deref().filter(|op| op.kind() == kind) else { continue };
            let input_gradient = node.inputs.iter().any(|&i| graph.node(i).needs_gradient);
            if !seen.insert(format!("{input_gradient} {op:?}")) {
                continue; // the same layer under another name
            }
            let layer = format!("{}/{}", backbone.name(), node.name);
            measure(&mut group, &layer, op, input_gradient, bound);
        }
    }
    assert!(!seen.is_empty(), "no backbone has a layer of kind {kind}");
    group.finish();
}

/// Measures one operation, forward and backward.
pub fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    layer: &str,
    op: &dyn Op<f32>,
    input_gradient: bool,
    bound: Bound,
) {
    let mut buffers = Buffers::new(op, input_gradient);
    for pass in [Pass::Forward, Pass::Backward] {
        let mut cost = op.cost(pass);
        if pass == Pass::Backward && op.kind() == "conv3d" && !input_gradient {
            cost = op.cost(Pass::Forward); // wgrad alone
        }
        group.throughput(bound.throughput(cost));
        let id = BenchmarkId::new(if pass == Pass::Forward { "forward" } else { "backward" }, layer);
        group.bench_function(id, |b| b.iter(|| buffers.run(op, pass)));
    }
}

/// A cache line: what `saved` and `workspace` are aligned to.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes aligned as operations want them.
pub struct Bytes(Vec<Line>);

impl Bytes {
    /// `len` bytes, rounded up.
    pub fn new(len: usize) -> Self {
        Self(vec![Line::zeroed(); len.div_ceil(64)])
    }

    /// The first `len` of them.
    pub fn get(&mut self, len: usize) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// Numbers in [−1, 1) that depend on `name` alone.
pub fn random(name: &str, len: usize) -> Vec<f32> {
    let mut stream = Stream::new(name, 1);
    (0..len).map(|_| stream.next_in(-1.0, 1.0) as f32).collect()
}

/// Everything that one layer reads and writes.
struct Buffers {
    inputs: Vec<Vec<f32>>,
    params: Vec<Vec<f32>>,
    output: Vec<f32>,
    dy: Vec<f32>,
    dx: Vec<Vec<f32>>,
    dparams: Vec<Vec<f32>>,
    saved: Bytes,
    workspace: Bytes,
    input_gradient: bool,
}

impl Buffers {
    fn new(op: &dyn Op<f32>, input_gradient: bool) -> Self {
        let of = |name: &str, shape: &Shape| random(name, shape.numel());
        let inputs: Vec<_> = op.input_shapes().iter().map(|s| of("x", s)).collect();
        let params: Vec<_> = op.params().iter().map(|p| of("w", &p.shape)).collect();
        let workspace = op.workspace_bytes(Pass::Forward).max(op.workspace_bytes(Pass::Backward));
        let output = of("y", &op.output_shape());
        let mut buffers = Self {
            dx: inputs.clone(),
            dparams: params.clone(),
            dy: of("dy", &op.output_shape()),
            inputs,
            params,
            output,
            saved: Bytes::new(op.saved_bytes()),
            workspace: Bytes::new(workspace),
            input_gradient,
        };
        buffers.run(op, Pass::Forward); // fills what backward reads
        buffers
    }

    fn run(&mut self, op: &dyn Op<f32>, pass: Pass) {
        let inputs = self.inputs.iter().map(Vec::as_slice).collect();
        let params = self.params.iter().map(Vec::as_slice).collect();
        let saved = self.saved.get(op.saved_bytes());
        let workspace = self.workspace.get(op.workspace_bytes(pass));
        match pass {
            Pass::Forward => {
                op.forward(Forward { inputs, params, output: &mut self.output, saved, workspace })
            }
            Pass::Backward => {
                let reads = op.backward_reads();
                let gradient = |data| Gradient { data, mode: WriteMode::Overwrite };
                let wanted = self.input_gradient;
                op.backward(Backward {
                    inputs: if reads.inputs { inputs } else { inputs.iter().map(|_| &[][..]).collect() },
                    params,
                    output: if reads.output { &self.output } else { &[] },
                    saved,
                    dy: &self.dy,
                    dx: self.dx.iter_mut().map(|dx| wanted.then(|| gradient(&mut dx[..]))).collect(),
                    dparams: self
                        .dparams
                        .iter_mut()
                        .map(|dw| gradient(&mut dw[..]))
                        .collect::<ArrayVec<_, _>>(),
                    workspace,
                });
            }
        }
    }
}
