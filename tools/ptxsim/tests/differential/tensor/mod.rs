//! Tensor cores and tensor copies through PTX: fragments come by ordinary loads, descriptors are built by
//! instructions, operands reach shared memory by ordinary stores; results are compared with plain loops.

mod copy;
mod matrix;
mod mma;
mod wgmma;

use super::common::Random;

const HEADER: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n";

/// Integers from a range.
fn integers(random: &mut Random, count: usize, low: i64, high: i64) -> Vec<i64> {
    (0..count).map(|_| low + i64::from(random.below((high - low + 1) as u32))).collect()
}

/// `%x0,%x1,…`
fn list(prefix: &str, count: usize) -> String {
    (0..count).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>().join(",")
}
