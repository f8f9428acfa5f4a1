//! `mma.sync.aligned`: D = A·B + C of one warp (PTX ISA, section "Warp-level matrix instructions: mma", with the
//! fragment layouts of "Matrix fragments for mma.m…n…k…").

use super::tile::{self, Bf16, F16, Format, Tf32};
use super::{Accumulator, Element};
use crate::Row;

/// The shape and the types of an `mma.sync`. A is `m` × `k` in row order, B `k` × `n` in column order, C and D are
/// `m` × `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mma {
    m: u32,
    n: u32,
    k: u32,
    a: Element,
    b: Element,
    accumulator: Accumulator,
    saturate: bool,
}

impl Mma {
    /// The form that the modifiers after `mma` name, such as `sync aligned m16n8k16 row col f32 bf16 bf16 f32`.
    ///
    /// `None` if it is not one of: m16n8k8 and m16n8k16 of f16 (C and D both f16 or both f32) and bf16 (f32);
    /// m16n8k4 and m16n8k8 of tf32 (f32); m16n8k16 and m16n8k32 of s8 and u8 (s32, `.satfinite` or not); m8n8k4 of
    /// f64.
    pub fn parse(modifiers: &[&str]) -> Option<Mma> {
        let (saturate, shape, types) = match modifiers {
            ["sync", "aligned", shape, "row", "col", "satfinite", types @ ..] => (true, *shape, types),
            ["sync", "aligned", shape, "row", "col", types @ ..] => (false, *shape, types),
            _ => return None,
        };
        let (m, n, k) = match shape {
            "m8n8k4" => (8, 8, 4),
            "m16n8k4" => (16, 8, 4),
            "m16n8k8" => (16, 8, 8),
            "m16n8k16" => (16, 8, 16),
            "m16n8k32" => (16, 8, 32),
            _ => return None,
        };
        let [d, a, b, c] = types else { return None };
        let (accumulator, a, b) = (Accumulator::parse(d)?, Element::parse(a)?, Element::parse(b)?);
        if d != c {
            return None;
        }
        use Element::{Bf16, F16, F64, S8, Tf32, U8};
        let known = match (a, b, accumulator) {
            (F16, F16, Accumulator::F16 | Accumulator::F32) => m == 16 && matches!(k, 8 | 16),
            (Bf16, Bf16, Accumulator::F32) => m == 16 && matches!(k, 8 | 16),
            (Tf32, Tf32, Accumulator::F32) => m == 16 && matches!(k, 4 | 8),
            (S8 | U8, S8 | U8, Accumulator::S32) => matches!(k, 16 | 32),
            (F64, F64, Accumulator::F64) => m == 8,
            _ => false,
        };
        let known = known && (!saturate || accumulator == Accumulator::S32);
        known.then_some(Mma { m, n, k, a, b, accumulator, saturate })
    }

    /// Registers of (D, A, B, C): 32-bit ones, for f64 64-bit ones.
    pub fn registers(&self) -> (usize, usize, usize, usize) {
        let words = match self.a {
            Element::F16 | Element::Bf16 => self.k / 2,
            Element::Tf32 | Element::F64 => self.k,
            Element::S8 | Element::U8 => self.k / 4,
        };
        let d = match self.accumulator {
            Accumulator::F16 => 2,
            Accumulator::F32 | Accumulator::S32 => 4,
            Accumulator::F64 => 2,
        };
        (d, (self.m * words / 32) as usize, (self.n * words / 32) as usize, d)
    }

    /// Whether the operands are 64-bit registers, for [`Mma::run_f64`], and not 32-bit ones, for [`Mma::run`].
    pub fn is_f64(&self) -> bool {
        self.accumulator == Accumulator::F64
    }

    /// Multiply-accumulate operations of one instruction.
    pub fn macs(&self) -> u64 {
        u64::from(self.m * self.n * self.k)
    }

    /// Computes D from the warp's registers; the slices have the lengths that [`Mma::registers`] tells.
    ///
    /// With a slice too short, or for f64, nothing is written: whoever decodes the instruction checks the counts.
    pub fn run(&self, a: &[Row], b: &[Row], c: &[Row], d: &mut [Row]) {
        match (self.a, self.k) {
            (Element::Bf16, 16) => self.floats::<Bf16, 16>(a, b, c, d),
            (Element::Bf16, _) => self.floats::<Bf16, 8>(a, b, c, d),
            (Element::F16, 16) => self.floats::<F16, 16>(a, b, c, d),
            (Element::F16, _) => self.floats::<F16, 8>(a, b, c, d),
            (Element::Tf32, 8) => self.floats::<Tf32, 8>(a, b, c, d),
            (Element::Tf32, _) => self.floats::<Tf32, 4>(a, b, c, d),
            (Element::S8 | Element::U8, _) => self.integers(a, b, c, d),
            (Element::F64, _) => {}
        }
    }

    /// As [`Mma::run`], compiled for the caller's vectors, for the shape that kernels spend their time on: m16n8k16 with
    /// 16-bit operands and sums in f32. `None` for any other.
    #[inline(always)]
    pub fn m16n8k16_into_f32(&self, a: &[Row; 4], b: &[Row; 2], c: &[Row; 4]) -> Option<[Row; 4]> {
        let mut sum = tile::d_from_f32(c);
        match (self.a, self.k, self.accumulator) {
            (Element::Bf16, 16, Accumulator::F32) => accumulate::<Bf16>(a, b, &mut sum),
            (Element::F16, 16, Accumulator::F32) => accumulate::<F16>(a, b, &mut sum),
            _ => return None,
        }
        let mut d = [[0; 32]; 4];
        tile::d_to_f32(&sum, &mut d);
        Some(d)
    }

    fn floats<F: Format, const K: usize>(&self, a: &[Row], b: &[Row], c: &[Row], d: &mut [Row]) {
        let b_registers = K / (4 * F::PACKED);
        let (Some(a), Some(b)) = (a.get(..2 * b_registers), b.get(..b_registers)) else { return };
        let a = tile::a_from_registers::<F, K>(a);
        let b = tile::b_from_registers::<F, K>(b);
        if self.accumulator == Accumulator::F16 {
            let (Some(c), Some(d)) = (c.first_chunk(), d.first_chunk_mut()) else { return };
            let mut sum = tile::d_from_f16(c);
            tile::accumulate(&a, &b, &mut sum);
            tile::d_to_f16(&sum, d);
        } else {
            let (Some(c), Some(d)) = (c.first_chunk(), d.first_chunk_mut()) else { return };
            let mut sum = tile::d_from_f32(c);
            tile::accumulate(&a, &b, &mut sum);
            tile::d_to_f32(&sum, d);
        }
    }

    fn integers(&self, a: &[Row], b: &[Row], c: &[Row], d: &mut [Row]) {
        let parts = self.k as usize / 16;
        let (Some(a), Some(b)) = (a.get(..2 * parts), b.get(..parts)) else { return };
        let (Some(c), Some(d)) = (c.first_chunk::<4>(), d.first_chunk_mut::<4>()) else { return };
        // Indices of K, then of the row or the column. The sum of 32 products is exact in an i32.
        let (mut left, mut right) = ([[0; 16]; 32], [[0; 8]; 32]);
        for part in 0..parts {
            for k in 0..16 {
                for i in 0..8 {
                    let lane = 4 * i + k / 4;
                    left[16 * part + k][i] = integer(self.a, a[2 * part][lane], k % 4);
                    left[16 * part + k][i + 8] = integer(self.a, a[2 * part + 1][lane], k % 4);
                    right[16 * part + k][i] = integer(self.b, b[part][lane], k % 4);
                }
            }
        }
        for column in 0..8 {
            let mut sums = [0; 16];
            for k in 0..16 * parts {
                for row in 0..16 {
                    sums[row] += left[k][row] * right[k][column];
                }
            }
            for row in 0..16 {
                let (register, lane) = (row / 8 * 2 + column % 2, row % 8 * 4 + column / 2);
                let c = c[register][lane] as i32;
                let sum = if self.saturate { c.saturating_add(sums[row]) } else { c.wrapping_add(sums[row]) };
                d[register][lane] = sum as u32;
            }
        }
    }

    /// As [`Mma::run`], for m8n8k4 of f64: rows of the bits of 64-bit registers, one of A, one of B, two of C and D.
    pub fn run_f64(&self, a: &[[u64; 32]], b: &[[u64; 32]], c: &[[u64; 32]], d: &mut [[u64; 32]]) {
        let ([a, ..], [b, ..], [c0, c1, ..], [d0, d1, ..]) = (a, b, c, d) else { return };
        if !self.is_f64() {
            return;
        }
        for lane in 0..32 {
            let row = lane / 4;
            for (parity, (c, d)) in [(c0, &mut *d0), (c1, &mut *d1)].into_iter().enumerate() {
                let column = 2 * (lane % 4) + parity;
                let mut sum = f64::from_bits(c[lane]);
                for k in 0..4 {
                    sum = f64::from_bits(a[4 * row + k]).mul_add(f64::from_bits(b[4 * column + k]), sum);
                }
                d[lane] = if sum.is_nan() { 0x7fff_ffff_ffff_ffff } else { sum.to_bits() };
            }
        }
    }
}

#[inline(always)]
fn accumulate<F: Format>(a: &[Row; 4], b: &[Row; 2], sum: &mut tile::D) {
    tile::accumulate(&tile::a_from_registers::<F, 16>(a), &tile::b_from_registers::<F, 16>(b), sum);
}

/// Byte `index` of a word.
#[inline(always)]
fn integer(element: Element, word: u32, index: usize) -> i32 {
    let byte = (word >> (8 * index)) as u8;
    if element == Element::S8 { i32::from(byte as i8) } else { i32::from(byte) }
}
