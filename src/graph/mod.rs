//! A minimal reverse-mode autograd: a static graph of operations built once for a shape, the reverse pass
//! derived by walking it backwards, and a memory plan known before anything runs. Knows no operation by name.

mod arena;
mod cuda;
mod cuda_executor;
mod cuda_params;
pub mod cuda_tensor;
mod executor;
mod params;
mod plan;

use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::device::Device;
use crate::ops::{MAX_INPUTS, Op, ParamSpec, Precision, WriteMode};
use crate::tensor::{Real, Shape};
use crate::{Error, Result};

pub use cuda::{CUDA_ALIGNMENT, CudaProgram};
pub use cuda_executor::CudaExecutor;
pub use cuda_params::{CudaLayout, CudaParams};
pub use executor::Executor;
pub use params::{Param, ParamLayout};
pub use plan::{Buffer, MemoryPlan, Purpose, Step};

/// What a graph runs on.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The threads of the current rayon pool.
    Cpu,
    /// A CUDA device, with activations in this precision.
    Cuda(Arc<Device>, Precision),
}

/// A node, by its place in the order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// Its place in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// An operation applied to earlier nodes; the input of the graph is a node without an operation.
#[derive(Debug)]
pub struct Node<T: Real> {
    /// Its name: that of the module in the reference, `block3.0.conv1`.
    pub name: String,
    /// What it computes; `None` for the graph's input.
    pub op: Option<Box<dyn Op<T>>>,
    /// What it reads.
    pub inputs: ArrayVec<NodeId, MAX_INPUTS>,
    /// Its parameters, as indices into [`Graph::params`].
    pub params: Range<usize>,
    /// Extents of its value.
    pub shape: Shape,
    /// Whether anything upstream has parameters.
    pub needs_gradient: bool,
}

/// A static graph with one input.
#[derive(Debug)]
pub struct Graph<T: Real> {
    nodes: Vec<Node<T>>,
    params: Vec<(String, ParamSpec)>,
    outputs: Vec<NodeId>,
}

impl<T: Real> Graph<T> {
    /// A graph of nothing but its input, the node that is returned with it.
    pub fn new(input: Shape) -> (Self, NodeId) {
        let node = Node {
            name: "input".into(),
            op: None,
            inputs: ArrayVec::new(),
            params: 0..0,
            shape: input,
            needs_gradient: false,
        };
        (Self { nodes: vec![node], params: Vec::new(), outputs: Vec::new() }, NodeId(0))
    }

    /// Appends an operation.
    ///
    /// # Errors
    /// [`Error::Shape`] if the operation wants other extents than its inputs have, or reads one node twice.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        op: impl Op<T> + 'static,
        inputs: &[NodeId],
    ) -> Result<NodeId> {
        let name = name.into();
        let wanted = op.input_shapes();
        let found: Vec<_> = inputs.iter().map(|i| self.nodes[i.0].shape.clone()).collect();
        if wanted[..] != found[..] {
            return Err(Error::shape(
                op.kind(),
                format!("node {name:?} wants inputs {wanted:?} and is given {found:?}"),
                "connect nodes whose extents agree",
            ));
        }
        if let [a, b] = inputs
            && a == b
        {
            return Err(Error::shape(
                op.kind(),
                format!("node {name:?} reads {:?} twice", self.nodes[a.0].name),
                "give it two different inputs: their gradients are separate buffers",
            ));
        }
        let first = self.params.len();
        self.params.extend(op.params().into_iter().map(|p| (format!("{name}.{}", p.name), p)));
        let needs_gradient =
            self.params.len() > first || inputs.iter().any(|i| self.nodes[i.0].needs_gradient);
        let shape = op.output_shape();
        self.nodes.push(Node {
            name,
            op: Some(Box::new(op)),
            inputs: inputs.iter().copied().collect(),
            params: first..self.params.len(),
            shape,
            needs_gradient,
        });
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// Declares that a node's value is wanted, and that a gradient with respect to it will be given.
    pub fn output(&mut self, node: NodeId) {
        self.outputs.push(node);
    }

    /// All nodes in order of execution; the first is the input.
    pub fn nodes(&self) -> &[Node<T>] {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id.0]
    }

    /// Names and kinds of all parameters.
    pub fn params(&self) -> &[(String, ParamSpec)] {
        &self.params
    }

    /// The nodes declared as outputs.
    pub fn outputs(&self) -> &[NodeId] {
        &self.outputs
    }

    /// How `consumer` writes its part of the gradient of `node`: the reverse pass meets the last consumer
    /// first, and the gradient of an output is there before it starts.
    fn gradient_mode(&self, node: NodeId, consumer: NodeId) -> WriteMode {
        let later = &self.nodes[consumer.0 + 1..];
        let written = self.outputs.contains(&node)
            || later.iter().any(|n| n.needs_gradient && n.inputs.contains(&node));
        if written { WriteMode::Accumulate } else { WriteMode::Overwrite }
    }
}
