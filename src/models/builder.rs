//! Shorthand for describing backbones: names a node as the reference names its module.

use crate::Result;
use crate::graph::{Graph, NodeId};
use crate::ops::conv3d::{self, Conv3d};
use crate::ops::instance_norm::{self, Activation, Pooled};
use crate::ops::{max_pool3d, slot_pool};
use crate::tensor::{Real, Shape};

/// A filter's or pool's extents, strides and padding; each `[time, height, width]`.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub size: [usize; 3],
    pub stride: [usize; 3],
    pub pad: [usize; 3],
}

/// A cube with stride 1 that keeps the extents.
pub(super) const CUBE3: Window = Window { size: [3; 3], stride: [1; 3], pad: [1; 3] };

/// A graph under construction.
pub(super) struct Builder<T: Real> {
    graph: Graph<T>,
    eps: f64,
}

impl<T: Real> Builder<T> {
    /// Starts with clips `(n, frames, height, width, 3)`.
    pub fn new(n: usize, [frames, height, width]: [usize; 3], eps: f64) -> (Self, NodeId) {
        let (graph, input) = Graph::new(Shape::new([n, frames, height, width, 3]));
        (Self { graph, eps }, input)
    }

    /// Channels of a node.
    pub fn channels(&self, x: NodeId) -> usize {
        *self.graph.node(x).shape.dims().last().expect("every activation has channels")
    }

    pub fn conv(&mut self, name: &str, x: NodeId, k: usize, w: Window) -> Result<NodeId> {
        let [n, t, h, width, c] = self.extents(x);
        let problem = conv3d::Problem::new(n, c, k, [t, h, width], w.size, w.stride, w.pad)?;
        self.graph.add(name, Conv3d::new(problem), &[x])
    }

    pub fn norm(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        self.activate(name, &[x], Activation::Plain)
    }

    pub fn norm_relu(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        self.activate(name, &[x], Activation::Relu)
    }

    /// `ReLU(norm(x) + residual)`.
    pub fn norm_add_relu(&mut self, name: &str, x: NodeId, residual: NodeId) -> Result<NodeId> {
        self.activate(name, &[x, residual], Activation::AddRelu)
    }

    /// `maxpool(ReLU(norm(x)))`, for a norm whose output nothing else reads.
    pub fn norm_relu_pool(&mut self, name: &str, x: NodeId, w: Window) -> Result<NodeId> {
        let shape = self.graph.node(x).shape.clone();
        self.graph.add(name, Pooled::new(shape, w.size, w.stride, w.pad, self.eps)?, &[x])
    }

    pub fn max_pool(&mut self, name: &str, x: NodeId, w: Window) -> Result<NodeId> {
        let shape = self.graph.node(x).shape.clone();
        self.graph.add(name, max_pool3d::Problem::new(&shape, w.size, w.stride, w.pad)?, &[x])
    }

    /// Declares a block's feature map and its S-Avg pooling as outputs.
    pub fn finish(mut self, blocks: [NodeId; 3], feature_maps: bool) -> Result<Graph<T>> {
        for (block, x) in super::BLOCKS.into_iter().zip(blocks) {
            let pool = slot_pool::Problem::slots(self.graph.node(x).shape.clone())?;
            let slots = self.graph.add(format!("slots{block}"), pool, &[x])?;
            self.graph.output(slots);
        }
        if feature_maps {
            blocks.into_iter().for_each(|x| self.graph.output(x));
        }
        Ok(self.graph)
    }

    /// Declares the G-Avg pooling of a block as the output.
    pub fn finish_pooled(mut self, block: NodeId) -> Result<Graph<T>> {
        let slots = slot_pool::Problem::slots(self.graph.node(block).shape.clone())?;
        let slots = self.graph.add("slots", slots, &[block])?;
        let pooled = slot_pool::Problem::global(self.graph.node(slots).shape.clone())?;
        let pooled = self.graph.add("pooled", pooled, &[slots])?;
        self.graph.output(pooled);
        Ok(self.graph)
    }

    fn activate(&mut self, name: &str, inputs: &[NodeId], activation: Activation) -> Result<NodeId> {
        let shape = self.graph.node(inputs[0]).shape.clone();
        self.graph.add(name, instance_norm::Problem::new(shape, activation, self.eps)?, inputs)
    }

    fn extents(&self, x: NodeId) -> [usize; 5] {
        self.graph.node(x).shape.dims().try_into().expect("activations have five axes")
    }
}
