//! A product of 16 × K by K × 8 in f32: what one `mma.sync` does, and `wgmma` for each eight columns.
//!
//! Read in lane order, a register is an 8 × 4 matrix of words: lane `l` stands for row `l / 4` (PTX: groupID) and
//! column `l % 4` (threadID_in_group). The loops are written so that they compile to vector code: conversions run over
//! the lanes of a register, rearrangements over constant indices, and the product over the eight columns of a row.

use super::float::{canonical, f16_to_f32, f32_to_f16};
use crate::Row;

/// How registers hold operands.
pub trait Format {
    /// Elements in a 32-bit word.
    const PACKED: usize;
    /// Element `index` of `word`, exactly.
    fn element(word: u32, index: usize) -> f32;
}

/// Two f16.
pub struct F16;
/// Two bf16.
pub struct Bf16;
/// One tf32.
pub struct Tf32;

impl Format for F16 {
    const PACKED: usize = 2;
    #[inline(always)]
    fn element(word: u32, index: usize) -> f32 {
        f16_to_f32((word >> (16 * index)) as u16)
    }
}

impl Format for Bf16 {
    const PACKED: usize = 2;
    #[inline(always)]
    fn element(word: u32, index: usize) -> f32 {
        f32::from_bits(if index == 0 { word << 16 } else { word & 0xffff_0000 })
    }
}

impl Format for Tf32 {
    const PACKED: usize = 1;
    #[inline(always)]
    fn element(word: u32, _: usize) -> f32 {
        f32::from_bits(word & 0xffff_e000)
    }
}

/// A, 16 × K, in row order.
pub type A<const K: usize> = [[f32; K]; 16];
/// B, K × 8. Columns stand in the order 0 2 4 6 1 3 5 7: the registers of an accumulator hold the even columns of a row
/// in four neighbouring lanes, and the odd ones in four others.
pub type B<const K: usize> = [[f32; 8]; K];
/// C and D, 16 × 8, with their columns in the order of [`B`]'s.
pub type D = [[f32; 8]; 16];

/// The elements of a register in lane order: first those in the low half of each word, then those in the high half.
#[inline(always)]
fn widen<F: Format>(register: &Row) -> [[f32; 32]; 2] {
    let mut parts = [[0.0; 32]; 2];
    for i in 0..F::PACKED {
        for lane in 0..32 {
            parts[i][lane] = F::element(register[lane], i);
        }
    }
    parts
}

/// A from its registers: even ones hold rows 0-7, odd ones 8-15; each pair the next four words of K.
#[inline(always)]
pub fn a_from_registers<F: Format, const K: usize>(registers: &[Row]) -> A<K> {
    let mut a = [[0.0; K]; 16];
    for (index, register) in registers.iter().enumerate().take(K / (4 * F::PACKED) * 2) {
        let parts = widen::<F>(register);
        let (first_row, first_k) = (index % 2 * 8, index / 2 * 4 * F::PACKED);
        for row in 0..8 {
            for k in 0..4 * F::PACKED {
                a[first_row + row][first_k + k] = parts[k % F::PACKED][4 * row + k / F::PACKED];
            }
        }
    }
    a
}

/// As [`a_from_registers`], from transposed 8 × 8 matrices of 16-bit elements: lane `l` holds two rows at
/// k = `l / 4`. For K = 16.
#[inline(always)]
pub fn a_from_columns<F: Format, const K: usize>(matrices: &[Row; 4]) -> A<K> {
    let mut a = [[0.0; K]; 16];
    for (index, matrix) in matrices.iter().enumerate() {
        let parts = widen::<F>(matrix);
        for k in 0..K / 2 {
            for row in 0..8 {
                a[index % 2 * 8 + row][index / 2 * (K / 2) + k] = parts[row % 2][4 * k + row / 2];
            }
        }
    }
    a
}

/// B from its registers: each holds four words of K for the eight columns.
#[inline(always)]
pub fn b_from_registers<F: Format, const K: usize>(registers: &[Row]) -> B<K> {
    let mut b = [[0.0; 8]; K];
    for (index, register) in registers.iter().enumerate().take(K / (4 * F::PACKED)) {
        let parts = widen::<F>(register);
        for i in 0..F::PACKED {
            for pair in 0..4 {
                for word in 0..4 {
                    let k = (4 * index + word) * F::PACKED + i;
                    b[k][pair] = parts[i][8 * pair + word];
                    b[k][pair + 4] = parts[i][8 * pair + 4 + word];
                }
            }
        }
    }
    b
}

/// As [`b_from_registers`], from transposed 8 × 8 matrices of 16-bit elements: lane `l` holds two columns at
/// k = `l / 4`. For K = 16.
#[inline(always)]
pub fn b_from_rows<F: Format, const K: usize>(matrices: &[Row; 2]) -> B<K> {
    let mut b = [[0.0; 8]; K];
    for (matrix, b) in matrices.iter().zip(b.as_chunks_mut::<8>().0) {
        let [even, odd] = widen::<F>(matrix);
        for k in 0..8 {
            for i in 0..4 {
                b[k][i] = even[4 * k + i];
                b[k][i + 4] = odd[4 * k + i];
            }
        }
    }
    b
}

/// Adds A·B to D, k ascending.
#[inline(always)]
pub fn accumulate<const K: usize>(a: &A<K>, b: &B<K>, d: &mut D) {
    for (a, d) in a.iter().zip(d) {
        let mut sum = *d;
        for (a, b) in a.iter().zip(b) {
            for column in 0..8 {
                sum[column] += a * b[column];
            }
        }
        *d = sum;
    }
}

/// An accumulator of f32 from its four registers: rows 0-7 in the first two, even columns in even registers.
#[inline(always)]
pub fn d_from_f32(registers: &[Row; 4]) -> D {
    let mut d = [[0.0; 8]; 16];
    for row in 0..16 {
        for i in 0..8 {
            d[row][i] = f32::from_bits(registers[row / 8 * 2 + i / 4][row % 8 * 4 + i % 4]);
        }
    }
    d
}

/// The inverse of [`d_from_f32`].
#[inline(always)]
pub fn d_to_f32(d: &D, registers: &mut [Row; 4]) {
    for row in 0..16 {
        for i in 0..8 {
            registers[row / 8 * 2 + i / 4][row % 8 * 4 + i % 4] = canonical(d[row][i]);
        }
    }
}

/// An accumulator of f16 from its two registers: rows 0-7 in the first, an even column in the lower half of a word.
#[inline(always)]
pub fn d_from_f16(registers: &[Row; 2]) -> D {
    let mut d = [[0.0; 8]; 16];
    for (register, d) in registers.iter().zip(d.as_chunks_mut::<8>().0) {
        let [even, odd] = widen::<F16>(register);
        for row in 0..8 {
            for i in 0..4 {
                d[row][i] = even[4 * row + i];
                d[row][i + 4] = odd[4 * row + i];
            }
        }
    }
    d
}

/// The inverse of [`d_from_f16`], rounding to nearest even.
#[inline(always)]
pub fn d_to_f16(d: &D, registers: &mut [Row; 2]) {
    for (register, d) in registers.iter_mut().zip(d.as_chunks::<8>().0) {
        let mut parts = [[0.0; 32]; 2];
        for row in 0..8 {
            for i in 0..4 {
                parts[0][4 * row + i] = d[row][i];
                parts[1][4 * row + i] = d[row][i + 4];
            }
        }
        for lane in 0..32 {
            register[lane] = f32_to_f16(parts[0][lane]) | f32_to_f16(parts[1][lane]) << 16;
        }
    }
}
