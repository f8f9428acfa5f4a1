//! One aligned block of memory, allocated once and lent out by the plan.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::plan::ALIGNMENT;

/// A cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// The block.
pub(super) struct Arena(Vec<Line>);

impl Arena {
    /// `bytes` bytes of zeros.
    pub fn new(bytes: usize) -> Self {
        Self(vec![Line([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)])
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }

    /// All bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// Several buffers at once. The plan never lets two that are alive together overlap, and this checks it.
    pub fn lend<const N: usize>(&mut self, ranges: [Range<usize>; N]) -> [&mut [u8]; N] {
        self.bytes_mut().get_disjoint_mut(ranges).expect("the plan keeps live buffers apart")
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({} bytes)", self.bytes().len())
    }
}
