//! The memory plan, held against what the executor does with it.

use std::collections::HashMap;
use std::ops::Range;

use hdc::data::ClipConfig;
use hdc::graph::{CudaProgram, Graph, MemoryPlan, NodeId, Purpose};
use hdc::models::{self, Backbone, Init, ModelConfig};
use hdc::ops::{Pass, Precision};
use hdc::optim::OptimConfig;
use hdc::train::objective::LossConfig;
use hdc::train::{NetworkPlan, TrainStep};

use crate::tiny::{self, BACKBONES};

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Both kinds of plan of every backbone, for several numbers of clips, feature maps among the outputs or not.
fn for_each_plan(f: impl Fn(&str, &Graph<f32>, &MemoryPlan, bool)) {
    for backbone in BACKBONES {
        for clips in [1, 2, 5] {
            for feature_maps in [false, true] {
                let (model, extents) = (tiny::model(backbone), tiny::extents(backbone));
                let graph = models::encoder(&model, clips, extents, feature_maps).unwrap();
                for training in [false, true] {
                    let label = format!("{backbone:?} clips={clips} maps={feature_maps} training={training}");
                    f(&label, &graph, &MemoryPlan::new(&graph, training), training);
                }
            }
        }
    }
}

#[test]
fn buffers_that_live_together_stand_apart_and_end_at_the_peak() {
    for_each_plan(|label, _, plan, _| {
        let buffers = plan.buffers();
        for (i, a) in buffers.iter().enumerate() {
            assert!(!a.bytes.is_empty() && a.bytes.start.is_multiple_of(64), "{label}: {a:?}");
            for b in &buffers[i + 1..] {
                let together = a.life.0 <= b.life.1 && b.life.0 <= a.life.1;
                assert!(!(together && overlap(&a.bytes, &b.bytes)), "{label}: {a:?} and {b:?}");
            }
        }
        let end = buffers.iter().map(|b| b.bytes.end).max().unwrap();
        assert_eq!(plan.peak(), end.next_multiple_of(64), "{label}");
        let live = (0..plan.steps().len()).map(|step| plan.live_bytes(step)).max().unwrap();
        let all: usize = buffers.iter().map(|b| b.bytes.len()).sum();
        assert!(live <= plan.peak(), "{label}");
        assert!(plan.peak() * 3 < all * 2, "{label}: {} of {all} bytes: nothing is shared", plan.peak());
    });
}

/// What the arena holds, byte range by byte range.
struct Memory<'a> {
    label: &'a str,
    plan: &'a MemoryPlan,
    /// Buffers that were written, and whether another one was written over them since.
    whole: HashMap<(NodeId, Purpose), bool>,
}

impl Memory<'_> {
    fn write(&mut self, node: NodeId, purpose: Purpose) {
        let range = self.plan.range(node, purpose);
        for (&(n, p), whole) in &mut self.whole {
            *whole &= !overlap(&self.plan.range(n, p), &range);
        }
        self.whole.insert((node, purpose), true);
    }

    fn read(&self, node: NodeId, purpose: Purpose) {
        let state = self.whole.get(&(node, purpose));
        assert_eq!(state, Some(&true), "{}: {purpose:?} of node {} is read", self.label, node.index());
    }
}

/// Goes through the executor's reads and writes without trusting the plan's lifetimes: whatever is read must
/// have been written, and by no other buffer since.
#[test]
fn whatever_is_read_is_still_there() {
    for_each_plan(|label, graph, plan, training| {
        let mut memory = Memory { label, plan, whole: HashMap::new() };
        let outputs = graph.outputs();
        let count = graph.nodes().len() - 1;
        assert_eq!(plan.steps().len(), if training { 2 * count } else { count }, "{label}");
        memory.write(graph.node(plan.steps()[0].node).inputs[0], Purpose::Value);
        for (s, step) in plan.steps().iter().enumerate() {
            let node = graph.node(step.node);
            let op = node.op.as_ref().unwrap();
            if step.pass == Pass::Forward {
                for &input in &node.inputs {
                    memory.read(input, Purpose::Value);
                }
                // Scratch and results are written side by side, while inputs are read.
                let written = [Purpose::Value, Purpose::Saved, Purpose::ForwardWorkspace];
                written.iter().for_each(|&purpose| memory.write(step.node, purpose));
                written.iter().for_each(|&purpose| memory.read(step.node, purpose));
                node.inputs.iter().for_each(|&input| memory.read(input, Purpose::Value));
            } else if node.needs_gradient {
                let mut read = vec![(step.node, Purpose::Gradient), (step.node, Purpose::Saved)];
                let reads = op.backward_reads();
                if reads.inputs {
                    read.extend(node.inputs.iter().map(|&input| (input, Purpose::Value)));
                }
                if reads.output {
                    read.push((step.node, Purpose::Value));
                }
                let gradients = node.inputs.iter().filter(|&&input| graph.node(input).needs_gradient);
                let gradients: Vec<_> = gradients.map(|&input| (input, Purpose::Gradient)).collect();
                // A gradient that has a part already is added to.
                read.extend(gradients.iter().filter(|g| memory.whole.contains_key(*g)));
                read.iter().for_each(|&(n, p)| memory.read(n, p));
                memory.write(step.node, Purpose::BackwardWorkspace);
                gradients.iter().for_each(|&(n, p)| memory.write(n, p));
                read.iter().chain(&gradients).for_each(|&(n, p)| memory.read(n, p));
                memory.read(step.node, Purpose::BackwardWorkspace);
            }
            if s + 1 == count {
                outputs.iter().for_each(|&output| memory.read(output, Purpose::Value));
                if training {
                    outputs.iter().for_each(|&output| memory.write(output, Purpose::Gradient));
                }
            }
        }
    });
}

#[test]
fn bytes_are_those_of_the_parts_and_a_smaller_chunk_takes_less() {
    for backbone in BACKBONES {
        let (model, loss, extents) = (tiny::model(backbone), LossConfig::default(), tiny::extents(backbone));
        let plan = |chunk| NetworkPlan::<f32>::new(&model, &loss, 4, extents, chunk).unwrap();
        let whole = plan(None);
        let bytes = whole.bytes();
        assert_eq!((whole.clips(), whole.chunk(), plan(Some(99)).chunk()), (12, 12, 12));
        assert_eq!(bytes.total(), bytes.arena + bytes.parameters + bytes.objective);
        assert_eq!(bytes.arena, whole.memory().peak());
        let layout = models::param_layout(whole.graph());
        assert_eq!(bytes.parameters, 3 * 4 * layout.len(), "weights, gradients, momentum");
        assert!(layout.len() < layout.numel() + 16 * layout.params().len());

        let small = plan(Some(1));
        assert!(small.bytes().arena * 2 < bytes.arena, "{:?}", small.bytes());
        assert_eq!(
            (small.bytes().parameters, small.bytes().objective),
            (bytes.parameters, bytes.objective),
            "neither depends on the chunk"
        );
        assert!(small.flops() > whole.flops(), "several chunks are encoded twice");

        let within = |memory| {
            let with = |chunk| NetworkPlan::<f32>::new(&model, &loss, 4, extents, chunk);
            NetworkPlan::fitting(memory, with).unwrap()
        };
        assert_eq!(within(bytes.total()).chunk(), 12);
        let half = within(bytes.total() - 1);
        assert!(half.chunk() == 6 && half.bytes().total() < bytes.total());
        assert_eq!(within(0).chunk(), 1, "one clip, even if that takes more");

        let [frames, crop, _] = extents;
        let clip = ClipConfig { frames, crop, ..Default::default() };
        let step = TrainStep::new(whole, &clip, Init::Glorot, &OptimConfig::default(), 1, 0);
        assert_eq!(step.peak_bytes(), bytes.total());
    }
}

/// What a plan says must hold on the machine that runs it, whatever its cores.
#[test]
fn the_plan_does_not_depend_on_the_number_of_threads() {
    let plan = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (model, extents) = (tiny::model(Backbone::C3d), tiny::extents(Backbone::C3d));
        let plan = || NetworkPlan::<f32>::new(&model, &LossConfig::default(), 2, extents, None).unwrap();
        pool.install(|| plan().bytes())
    };
    for threads in [2, 3, 7, 64] {
        assert_eq!(plan(threads), plan(1), "{threads} threads");
    }
}

/// The norms of a device's program whose gradients come with sums.
fn summed(backbone: Backbone, extents: [usize; 3]) -> Vec<String> {
    let config = ModelConfig { backbone, ..ModelConfig::default() };
    let graph = models::encoder::<f32>(&config, 2, extents, false).unwrap();
    let program = CudaProgram::new(graph, Precision::Bf16, true);
    let sums = program.plan().buffers().iter().filter(|b| b.purpose == Purpose::GradientSums);
    sums.map(|b| program.graph().node(b.node).name.clone()).collect()
}

#[test]
fn convolutions_without_a_stride_sum_for_the_norms_below_on_a_device() {
    let extents = [16, 112, 112];
    // Those before convolutions that halve the clip, pools and sums of residuals sum for themselves; so do clips of fewer than
    // 1024 positions, which a block holds.
    assert_eq!(summed(Backbone::C3d, extents), ["norm3a"]);
    assert_eq!(summed(Backbone::R3d18, extents), ["block2.0.norm1", "block2.1.norm1"]);
    let r21d10 = [
        "stem.norm",
        "block2.conv1.norm",
        "block2.norm1",
        "block2.conv2.norm",
        "block3.norm1",
        "block3.conv2.norm",
    ];
    assert_eq!(summed(Backbone::R21d10, extents), r21d10);
    // The golden network, whose gradients tests/cuda holds against PyTorch's, has some too.
    assert_eq!(summed(Backbone::R21d10, [16, 32, 48])[..2], ["stem.norm", "block2.conv1.norm"]);
}
