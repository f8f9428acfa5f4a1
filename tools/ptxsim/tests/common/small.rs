//! The small kernels beside the convolutions: a sum of rows, and one wgmma tile.

use half::bf16;
use ptxsim::launch::Outcome;

use super::{Machine, Params, grid, integers};

const ROWS: usize = 3;
const COLUMNS: usize = 1000;

/// Sums of rows of small whole numbers, exact in any order.
pub fn row_sums() -> Vec<f32> {
    row_input().chunks_exact(COLUMNS).map(|row| row.iter().sum()).collect()
}

fn row_input() -> Vec<f32> {
    integers(ROWS * COLUMNS, 4).into_iter().map(bf16::to_f32).collect()
}

/// Runs `row_sum` of `conv.cu`.
pub fn row_sum(machine: &Machine, ptx: &str) -> (Vec<f32>, Outcome) {
    let (x, y) = (machine.put(&row_input()), machine.room(ROWS * 4));
    let params = Params::default().with(x).with(y).with(COLUMNS as i32);
    let outcome = machine.run(&machine.load(ptx), "row_sum", grid(ROWS as u32, 256, 1024), &params);
    (machine.get(y, ROWS), outcome)
}

/// c[m][n] = Σ a[m][k] · b[n][k], of small whole numbers.
pub fn tile() -> Vec<f32> {
    let (a, b) = (integers(64 * 64, 5), integers(64 * 64, 6));
    let dot = |m: usize, n: usize| (0..64).map(|k| a[m * 64 + k].to_f32() * b[n * 64 + k].to_f32()).sum();
    (0..64 * 64).map(|i| dot(i / 64, i % 64)).collect()
}

/// Runs `gemm64_generic` of `conv90.cu`.
pub fn gemm64(machine: &Machine, ptx: &str) -> (Vec<f32>, Outcome) {
    let (a, b) = (machine.put(&integers(64 * 64, 5)), machine.put(&integers(64 * 64, 6)));
    let c = machine.room(64 * 64 * 4);
    let params = Params::default().with(a).with(b).with(c);
    let outcome = machine.run(&machine.load(ptx), "gemm64_generic", grid(1, 128, 16384), &params);
    (machine.get(c, 64 * 64), outcome)
}
