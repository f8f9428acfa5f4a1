//! The memory plan: which buffer lives when, and where in one arena. Pure arithmetic over a graph, so the peak
//! is known exactly before anything is allocated.

use std::ops::Range;

use super::{Graph, NodeId};
use crate::ops::{BackwardReads, Pass};
use crate::tensor::Real;

/// Buffers of the CPU start at multiples of this many bytes: a cache line, and a register of AVX-512.
pub(super) const ALIGNMENT: usize = 64;

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The node's output.
    Value,
    /// What its backward pass needs besides values.
    Saved,
    /// The gradient with respect to its output.
    Gradient,
    /// Scratch of its forward pass.
    ForwardWorkspace,
    /// Scratch of its backward pass.
    BackwardWorkspace,
    /// Partial statistics of its output, for the nodes that read it.
    Statistics,
    /// Partial sums of its gradient, left by the node that writes it.
    GradientSums,
}

/// Purposes of buffers.
const PURPOSES: usize = 7;

/// What a node asks of memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// Its value, and as much for its gradient.
    pub value: usize,
    pub saved: usize,
    pub statistics: usize,
    /// Of partial sums of its gradient.
    pub gradient_sums: usize,
    /// Scratch forward and backward.
    pub workspace: [usize; 2],
    /// What its backward pass reads besides.
    pub reads: BackwardReads,
}

/// A buffer of the plan.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Whose it is.
    pub node: NodeId,
    /// What it holds.
    pub purpose: Purpose,
    /// Its place in the arena, in bytes.
    pub bytes: Range<usize>,
    /// First and last step of its life, inclusive.
    pub life: (usize, usize),
}

/// One node's pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// In which direction.
    pub pass: Pass,
}

/// Lifetimes and places of all buffers of a graph.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    /// For each node and purpose the buffer's index, if it has one.
    index: Vec<[Option<usize>; PURPOSES]>,
    peak: usize,
}

impl MemoryPlan {
    /// Plans forward alone, or forward followed by backward, on the CPU.
    pub fn new<T: Real>(graph: &Graph<T>, training: bool) -> Self {
        let needs = graph.nodes().iter().map(|node| {
            let value = node.shape.numel() * size_of::<T>();
            let Some(op) = &node.op else { return Needs { value, ..Needs::default() } };
            Needs {
                value,
                saved: op.saved_bytes(),
                workspace: [Pass::Forward, Pass::Backward].map(|pass| op.workspace_bytes(pass)),
                reads: op.backward_reads(),
                ..Needs::default()
            }
        });
        Self::with_needs(graph, training, &needs.collect::<Vec<_>>(), ALIGNMENT)
    }

    /// Plans for nodes with these needs, one a node of `graph`.
    pub(super) fn with_needs<T: Real>(
        graph: &Graph<T>,
        training: bool,
        needs: &[Needs],
        alignment: usize,
    ) -> Self {
        let count = graph.nodes().len();
        let mut steps: Vec<_> = (1..count).map(|i| Step { node: NodeId(i), pass: Pass::Forward }).collect();
        if training {
            steps.extend((1..count).rev().map(|i| Step { node: NodeId(i), pass: Pass::Backward }));
        }
        let end_of_forward = count.saturating_sub(2);
        let forward = |i: usize| i.saturating_sub(1);
        let backward = |i: usize| 2 * (count - 1) - i;

        let mut buffers = Vec::new();
        let mut push = |node: usize, purpose, len: usize, life| {
            if len > 0 {
                buffers.push(Buffer { node: NodeId(node), purpose, bytes: 0..len, life });
            }
        };
        for (i, node) in graph.nodes().iter().enumerate() {
            let mut last = forward(i);
            let mut last_forward = last;
            let mut first_gradient = None;
            for (j, consumer) in
                graph.nodes().iter().enumerate().filter(|(_, n)| n.inputs.contains(&NodeId(i)))
            {
                last_forward = last_forward.max(forward(j));
                last = last.max(forward(j));
                if training && consumer.needs_gradient {
                    first_gradient = first_gradient.max(Some(j));
                    if needs[j].reads.inputs {
                        last = last.max(backward(j));
                    }
                }
            }
            let is_output = graph.outputs().contains(&NodeId(i));
            let Needs { value, saved, statistics, gradient_sums, workspace, reads } = needs[i];
            if is_output {
                last = last.max(end_of_forward);
            }
            if node.op.is_none() {
                push(i, Purpose::Value, value, (0, last));
                continue;
            }
            let trains = training && node.needs_gradient;
            if trains && reads.output {
                last = last.max(backward(i));
            }
            push(i, Purpose::Value, value, (forward(i), last));
            let saved_until = if trains { backward(i) } else { forward(i) };
            push(i, Purpose::Saved, saved, (forward(i), saved_until));
            push(i, Purpose::Statistics, statistics, (forward(i), last_forward));
            push(i, Purpose::ForwardWorkspace, workspace[0], (forward(i), forward(i)));
            if trains {
                // Gradients of outputs are filled in before the reverse pass starts.
                let first =
                    if is_output { end_of_forward + 1 } else { first_gradient.map_or(backward(i), backward) };
                push(i, Purpose::Gradient, value, (first, backward(i)));
                push(i, Purpose::GradientSums, gradient_sums, (first, backward(i)));
                push(i, Purpose::BackwardWorkspace, workspace[1], (backward(i), backward(i)));
            }
        }
        let peak = place(&mut buffers, alignment);
        let mut index = vec![[None; PURPOSES]; count];
        for (b, buffer) in buffers.iter().enumerate() {
            index[buffer.node.0][buffer.purpose as usize] = Some(b);
        }
        Self { steps, buffers, index, peak }
    }

    /// Bytes of the arena.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// What happens in which order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All buffers.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The place of a buffer; empty if the node has none of that purpose.
    pub fn range(&self, node: NodeId, purpose: Purpose) -> Range<usize> {
        self.index[node.0][purpose as usize].map_or(0..0, |b| self.buffers[b].bytes.clone())
    }

    /// Bytes of a buffer of node number `node`.
    pub fn bytes_of(&self, node: usize, purpose: Purpose) -> usize {
        self.range(NodeId(node), purpose).len()
    }

    /// Bytes alive during each step.
    pub fn live_bytes(&self, step: usize) -> usize {
        let alive = |b: &&Buffer| b.life.0 <= step && step <= b.life.1;
        self.buffers.iter().filter(alive).map(|b| b.bytes.len()).sum()
    }
}

/// Gives every buffer its place, largest first, at the lowest address where no buffer that lives at the same
/// time stands; returns the end of the last one.
fn place(buffers: &mut [Buffer], alignment: usize) -> usize {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&b| (std::cmp::Reverse(buffers[b].bytes.len()), b));
    let mut placed: Vec<usize> = Vec::new();
    let mut peak = 0;
    for b in order {
        let (len, life) = (buffers[b].bytes.len(), buffers[b].life);
        let mut taken: Vec<_> = placed
            .iter()
            .map(|&p| &buffers[p])
            .filter(|p| p.life.0 <= life.1 && life.0 <= p.life.1)
            .map(|p| p.bytes.clone())
            .collect();
        taken.sort_by_key(|r| r.start);
        let mut start = 0;
        for r in taken {
            if start + len <= r.start {
                break;
            }
            start = start.max(r.end.next_multiple_of(alignment));
        }
        buffers[b].bytes = start..start + len;
        peak = peak.max(start + len);
        placed.push(b);
    }
    peak.next_multiple_of(alignment)
}
