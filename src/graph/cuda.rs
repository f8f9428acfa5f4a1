//! A graph as a list of commands for a CUDA device: the same nodes in the same order, the same plan of one arena, and no
//! device needed to make it.

use arrayvec::ArrayVec;

use super::plan::Needs;
use super::{CudaParams, Graph, MemoryPlan, Node, NodeId, Purpose};
use crate::device::{Address, Command};
use crate::ops::{
    CudaBackward, CudaForward, CudaGradient, CudaNormBelow, CudaOp, Pass, Precision, WriteMode, pitch,
};

/// Buffers of a device start at multiples of this many bytes, as its allocations do.
pub const CUDA_ALIGNMENT: usize = 256;

/// A graph planned for a device.
#[derive(Debug)]
pub struct CudaProgram {
    graph: Graph<f32>,
    /// One a node; `None` for the input.
    ops: Vec<Option<Box<dyn CudaOp>>>,
    plan: MemoryPlan,
}

impl CudaProgram {
    /// Plans forward alone, or forward followed by backward. The input holds its channels at their [`pitch`].
    pub fn new(graph: Graph<f32>, precision: Precision, training: bool) -> Self {
        let ops: Vec<_> = graph.nodes().iter().map(|n| n.op.as_ref().map(|op| op.cuda(precision))).collect();
        let needs = graph.nodes().iter().zip(&ops).enumerate().map(|(i, (node, op))| match op {
            None => {
                let channels = *node.shape.dims().last().expect("the input has channels");
                let value = node.shape.numel() / channels * pitch(channels) * precision.size();
                Needs { value, ..Needs::default() }
            }
            Some(op) => Needs {
                value: op.output_bytes(),
                saved: op.saved_bytes(),
                statistics: op.statistics_bytes(),
                gradient_sums: if takes_sums(&graph, &ops, i) { op.gradient_sums_bytes() } else { 0 },
                workspace: [Pass::Forward, Pass::Backward].map(|pass| op.workspace_bytes(pass)),
                reads: op.backward_reads(),
            },
        });
        let plan = MemoryPlan::with_needs(&graph, training, &needs.collect::<Vec<_>>(), CUDA_ALIGNMENT);
        Self { graph, ops, plan }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<f32> {
        &self.graph
    }

    /// The plan of its arena.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Where, in an arena at `arena`, a node has a buffer; null if it has none of that purpose.
    pub fn address(&self, arena: Address, node: NodeId, purpose: Purpose) -> Address {
        let range = self.plan.range(node, purpose);
        if range.is_empty() { Address::NULL } else { arena.offset(range.start) }
    }

    /// The input.
    pub fn input(&self, arena: Address) -> Address {
        self.address(arena, NodeId(0), Purpose::Value)
    }

    /// Output `i`, and its bytes.
    pub fn output(&self, arena: Address, i: usize) -> (Address, usize) {
        let node = self.graph.outputs()[i];
        (self.address(arena, node, Purpose::Value), self.plan.range(node, Purpose::Value).len())
    }

    /// The gradient of the loss with respect to output `i`.
    pub fn output_gradient(&self, arena: Address, i: usize) -> Address {
        self.address(arena, self.graph.outputs()[i], Purpose::Gradient)
    }

    /// Appends the forward pass.
    pub fn forward(&self, arena: Address, params: &CudaParams, commands: &mut Vec<Command>) {
        for (i, (node, op)) in self.graph.nodes().iter().zip(&self.ops).enumerate() {
            let Some(op) = op else { continue };
            let own = |purpose| self.address(arena, NodeId(i), purpose);
            let io = CudaForward {
                inputs: node.inputs.iter().map(|&n| self.address(arena, n, Purpose::Value)).collect(),
                statistics: self.address(arena, node.inputs[0], Purpose::Statistics),
                params: node.params.clone().map(|p| params.param(p)).collect(),
                output: own(Purpose::Value),
                output_statistics: own(Purpose::Statistics),
                saved: own(Purpose::Saved),
                workspace: own(Purpose::ForwardWorkspace),
            };
            op.forward(&io, commands);
        }
    }

    /// What the gradient of `node` is summed for, if it is.
    fn norm_below(&self, arena: Address, node: NodeId, params: &CudaParams) -> Option<CudaNormBelow> {
        let sums = self.address(arena, node, Purpose::GradientSums);
        let norm = self.graph.node(node);
        (sums != Address::NULL).then(|| CudaNormBelow {
            x: self.address(arena, norm.inputs[0], Purpose::Value),
            gamma: params.param(norm.params.start).master,
            beta: params.param(norm.params.start + 1).master,
            saved: self.address(arena, node, Purpose::Saved),
            sums,
        })
    }

    /// Appends the backward pass, which writes the gradients of the parameters or adds to them.
    pub fn backward(
        &self,
        arena: Address,
        params: &CudaParams,
        mode: WriteMode,
        commands: &mut Vec<Command>,
    ) {
        for (i, (node, op)) in self.graph.nodes().iter().zip(&self.ops).enumerate().rev() {
            let Some(op) = op.as_ref().filter(|_| node.needs_gradient) else { continue };
            let reads = op.backward_reads();
            let own = |purpose| self.address(arena, NodeId(i), purpose);
            let given = |wanted: bool, address| if wanted { address } else { Address::NULL };
            let value = |n: NodeId| given(reads.inputs, self.address(arena, n, Purpose::Value));
            let gradient = |n: NodeId| {
                self.graph.node(n).needs_gradient.then(|| CudaGradient {
                    at: self.address(arena, n, Purpose::Gradient),
                    mode: self.graph.gradient_mode(n, NodeId(i)),
                })
            };
            let io = CudaBackward {
                inputs: node.inputs.iter().map(|&n| value(n)).collect(),
                params: node.params.clone().map(|p| params.param(p)).collect(),
                output: given(reads.output, own(Purpose::Value)),
                saved: own(Purpose::Saved),
                dy: own(Purpose::Gradient),
                dy_sums: own(Purpose::GradientSums),
                norm_below: self.norm_below(arena, node.inputs[0], params),
                dx: node.inputs.iter().map(|&n| gradient(n)).collect(),
                dparams: node
                    .params
                    .clone()
                    .map(|p| CudaGradient { at: params.gradient(p), mode })
                    .collect::<ArrayVec<_, 2>>(),
                workspace: own(Purpose::BackwardWorkspace),
            };
            op.backward(&io, commands);
        }
    }
}

/// Whether one node alone writes the gradient of node `i`, with nothing in it before, and leaves sums of it.
fn takes_sums(graph: &Graph<f32>, ops: &[Option<Box<dyn CudaOp>>], i: usize) -> bool {
    let reads = |(_, node): &(usize, &Node<f32>)| node.needs_gradient && node.inputs.contains(&NodeId(i));
    let mut writers = graph.nodes().iter().enumerate().filter(reads);
    let (Some((writer, node)), None) = (writers.next(), writers.next()) else { return false };
    let sums = ops[writer].as_ref().is_some_and(|op| op.sums_norm_below());
    sums && node.inputs[0] == NodeId(i) && !graph.outputs().contains(&NodeId(i))
}
