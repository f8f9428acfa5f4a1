//! Memory-bound, so what counts is how often memory is read. Forward reads x twice (statistics, then apply)
//! and writes y once; backward reads x and dy twice and writes dx once. A clip is cut into parts of a fixed
//! size that run in parallel; statistics of parts merge in a fixed order in f64. The second pass of a clip
//! follows its first at once, downwards, so that clips up to the size of the cache are read from memory once.

mod backward;
mod forward;
pub(super) mod pooled;
mod statistics;

pub(super) use backward::backward;
pub(super) use forward::forward;

use super::Problem;
use crate::ops::Pass;
use crate::ops::columns::Columns;
use crate::ops::parallel::Order;
use crate::tensor::Real;

/// Rows saved for each clip, of C elements: mean, what rounding the mean lost, reciprocal deviation.
pub(super) const SAVED: usize = 3;
/// Numbers a channel that a pass of one part leaves: (mean, squared deviation) or (Σg, Σg·(x−μ)).
const PARTIAL: usize = 2;
/// Elements of a block, which stays in the L2 cache between its two inner passes.
const BLOCK: usize = 16 * 1024;
/// Elements of a part.
const PART: usize = 8 * BLOCK;
/// Clips up to this size run one a thread; larger ones run one after the other, their parts in parallel.
const SMALL_CLIP: usize = 2 * PART;

struct Geometry {
    columns: Columns,
    part: usize,
    parts: usize,
    order: Order,
}

fn geometry(p: &Problem) -> Geometry {
    let columns = Columns::new(p.channels);
    let part = columns.block(PART);
    let order = if p.clip() <= SMALL_CLIP { Order::Parallel } else { Order::Serial };
    Geometry { columns, part, parts: p.clip().div_ceil(part), order }
}

/// f64 elements of workspace: partial results of every part and, backward, the totals of every clip.
pub(super) fn workspace(p: &Problem, pass: Pass) -> usize {
    let totals = if pass == Pass::Backward { 1 } else { 0 };
    p.clips * (geometry(p).parts + totals) * PARTIAL * p.channels
}

/// The i-th piece of `per` elements, the last one short; of an empty slice, an empty slice.
#[inline(always)]
fn piece<T>(data: &[T], i: usize, per: usize) -> &[T] {
    let end = ((i + 1) * per).min(data.len());
    &data[(i * per).min(end)..end]
}

/// What a clip's passes need of its statistics, channel by channel.
#[derive(Clone, Copy)]
struct Norm<'a, T> {
    /// (3, C) as saved.
    saved: &'a [T],
    gamma: &'a [T],
    beta: &'a [T],
}

impl<T: Real> Norm<'_, T> {
    #[inline(always)]
    fn mean(&self, c: usize) -> T {
        self.saved[c]
    }
    #[inline(always)]
    fn rest(&self, c: usize) -> f64 {
        self.saved[self.gamma.len() + c].to_f64()
    }
    #[inline(always)]
    fn rstd(&self, c: usize) -> f64 {
        self.saved[2 * self.gamma.len() + c].to_f64()
    }
    #[inline(always)]
    fn scale(&self, c: usize) -> T {
        T::from_f64(self.rstd(c) * self.gamma[c].to_f64())
    }
    /// What is added after scaling `x − mean`: β, and the part of the mean that rounding lost.
    #[inline(always)]
    fn shift(&self, c: usize) -> T {
        T::from_f64(self.beta[c].to_f64() - self.rest(c) * self.scale(c).to_f64())
    }
}
