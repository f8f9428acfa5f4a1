//! `ldmatrix`, `stmatrix` and `movmatrix` of 8 × 8 matrices of 16-bit elements (PTX ISA, sections "Warp-level matrix
//! load instruction: ldmatrix", "stmatrix" and "movmatrix").
//!
//! A matrix has eight rows of 16 bytes, each at its own address. Lane `l` of a matrix' register holds the elements at
//! row `l / 4`, columns `2 (l % 4)` (low half) and `2 (l % 4) + 1`; with `.trans` those of the transposed matrix.

use crate::Row;

/// A matrix in memory: its rows.
pub type Rows = [[u8; 16]; 8];

/// The lane whose address operand points to `row` (0-7) of matrix number `matrix` (0-3).
pub fn address_lane(matrix: usize, row: usize) -> usize {
    8 * matrix + row
}

/// The register that `ldmatrix` loads from a matrix; `transposed` with `.trans`.
#[inline(always)]
pub fn load(rows: &Rows, transposed: bool) -> Row {
    let mut register = [0; 32];
    for (lane, word) in register.iter_mut().enumerate() {
        let i = 4 * (lane % 4);
        let [a, b, c, d, ..] = rows[lane / 4][i..] else { continue };
        *word = u32::from_le_bytes([a, b, c, d]);
    }
    if transposed { transpose(&register) } else { register }
}

/// The rows that `stmatrix` stores for a register: the inverse of [`load`].
#[inline(always)]
pub fn store(register: &Row, transposed: bool) -> Rows {
    let register = if transposed { transpose(register) } else { *register };
    let mut rows = [[0; 16]; 8];
    for (lane, word) in register.iter().enumerate() {
        rows[lane / 4][4 * (lane % 4)..][..4].copy_from_slice(&word.to_le_bytes());
    }
    rows
}

/// `movmatrix.sync.aligned.m8n8.trans.b16`: the register of the transposed matrix.
#[inline(always)]
pub fn transpose(register: &Row) -> Row {
    let element = |row: usize, column: usize| register[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
    let mut transposed = [0; 32];
    for (lane, word) in transposed.iter_mut().enumerate() {
        let (row, column) = (lane / 4, 2 * (lane % 4));
        *word = element(column, row) | element(column + 1, row) << 16;
    }
    transposed
}
