//! Runs a graph on the CPU inside one arena: nothing is allocated after [`Executor::new`].

use arrayvec::ArrayVec;

use super::arena::Arena;
use super::{Graph, MemoryPlan, NodeId, ParamLayout, Purpose};
use crate::ops::{Backward, Forward, Gradient, Pass, WriteMode};
use crate::tensor::Real;

/// A graph with its plan and memory.
#[derive(Debug)]
pub struct Executor<T: Real> {
    graph: Graph<T>,
    plan: MemoryPlan,
    arena: Arena,
    /// Where each parameter of the graph lives in the flat array.
    params: Vec<std::ops::Range<usize>>,
}

impl<T: Real> Executor<T> {
    /// Allocates what `graph` needs: for forward alone, or for training. Its parameters are the first ones of
    /// `layout`.
    pub fn new(graph: Graph<T>, layout: &ParamLayout, training: bool) -> Self {
        let plan = MemoryPlan::new(&graph, training);
        Self::with_plan(graph, plan, layout)
    }

    /// Allocates what `plan`, made for `graph`, says.
    pub fn with_plan(graph: Graph<T>, plan: MemoryPlan, layout: &ParamLayout) -> Self {
        let params: Vec<_> =
            layout.params().iter().take(graph.params().len()).map(|p| p.range.clone()).collect();
        assert_eq!(params.len(), graph.params().len(), "the layout begins with the graph's parameters");
        let arena = Arena::new(plan.peak());
        Self { graph, plan, arena, params }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<T> {
        &self.graph
    }

    /// The plan.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// The input, to be filled before [`Self::forward`].
    pub fn input_mut(&mut self) -> &mut [T] {
        let range = self.plan.range(NodeId(0), Purpose::Value);
        bytemuck::cast_slice_mut(&mut self.arena.bytes_mut()[range])
    }

    /// Output `i`, valid from the end of [`Self::forward`] until [`Self::backward`].
    pub fn output(&self, i: usize) -> &[T] {
        let range = self.plan.range(self.graph.outputs()[i], Purpose::Value);
        bytemuck::cast_slice(&self.arena.bytes()[range])
    }

    /// The gradient of the loss with respect to output `i`, to be filled after [`Self::forward`].
    pub fn output_gradient_mut(&mut self, i: usize) -> &mut [T] {
        let range = self.plan.range(self.graph.outputs()[i], Purpose::Gradient);
        bytemuck::cast_slice_mut(&mut self.arena.bytes_mut()[range])
    }

    /// Computes all values from the input and the flat parameters.
    pub fn forward(&mut self, params: &[T]) {
        for i in 1..self.graph.nodes().len() {
            let id = NodeId(i);
            let node = &self.graph.nodes()[i];
            let op = node.op.as_ref().expect("only the input has no operation");
            let value = |j: usize| node.inputs.get(j).map_or(0..0, |&n| self.plan.range(n, Purpose::Value));
            let [a, b, output, saved, workspace] = self.arena.lend([
                value(0),
                value(1),
                self.plan.range(id, Purpose::Value),
                self.plan.range(id, Purpose::Saved),
                self.plan.range(id, Purpose::ForwardWorkspace),
            ]);
            let inputs =
                [&*a, &*b].into_iter().take(node.inputs.len()).map(|x| bytemuck::cast_slice(x)).collect();
            let params = node.params.clone().map(|p| &params[self.params[p].clone()]).collect();
            op.forward(Forward {
                inputs,
                params,
                output: bytemuck::cast_slice_mut(output),
                saved,
                workspace,
            });
        }
    }

    /// Computes the gradients with respect to the parameters from the gradients of the outputs, and writes
    /// them to their places in the flat array `gradients` or adds them there.
    pub fn backward(&mut self, params: &[T], gradients: &mut [T], mode: WriteMode) {
        for s in self.graph.nodes().len() - 1..self.plan.steps().len() {
            let step = self.plan.steps()[s];
            debug_assert_eq!(step.pass, Pass::Backward, "the second half of the steps");
            let node = self.graph.node(step.node);
            if !node.needs_gradient {
                continue;
            }
            let op = node.op.as_ref().expect("only the input has no operation");
            let reads = op.backward_reads();
            let input = |j: usize, purpose| node.inputs.get(j).map_or(0..0, |&n| self.plan.range(n, purpose));
            let value = |j| if reads.inputs { input(j, Purpose::Value) } else { 0..0 };
            let output = if reads.output { self.plan.range(step.node, Purpose::Value) } else { 0..0 };
            let [a, b, output, saved, dy, da, db, workspace] = self.arena.lend([
                value(0),
                value(1),
                output,
                self.plan.range(step.node, Purpose::Saved),
                self.plan.range(step.node, Purpose::Gradient),
                input(0, Purpose::Gradient),
                input(1, Purpose::Gradient),
                self.plan.range(step.node, Purpose::BackwardWorkspace),
            ]);
            let mut dx = ArrayVec::new();
            for (&n, data) in node.inputs.iter().zip([da, db]) {
                dx.push(self.graph.node(n).needs_gradient.then(|| Gradient {
                    data: bytemuck::cast_slice_mut(data),
                    mode: self.graph.gradient_mode(n, step.node),
                }));
            }
            let ranges: ArrayVec<_, 2> = node.params.clone().map(|p| self.params[p].clone()).collect();
            let range = |p: usize| ranges.get(p).cloned().unwrap_or(0..0);
            let dparams = gradients
                .get_disjoint_mut([range(0), range(1)])
                .expect("the layout keeps parameters apart")
                .into_iter()
                .take(ranges.len())
                .map(|data| Gradient { data, mode })
                .collect();
            op.backward(Backward {
                inputs: [&*a, &*b]
                    .into_iter()
                    .take(node.inputs.len())
                    .map(|x| bytemuck::cast_slice(x))
                    .collect(),
                params: ranges.iter().map(|r| &params[r.clone()]).collect(),
                output: bytemuck::cast_slice(output),
                saved,
                dy: bytemuck::cast_slice(dy),
                dx,
                dparams,
                workspace,
            });
        }
    }
}
