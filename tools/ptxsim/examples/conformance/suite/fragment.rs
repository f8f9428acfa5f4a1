//! Element types and fragment layouts of `mma.sync` (PTX ISA 9.7.14.5, "Matrix fragments for mma").

use super::data::Random;
use super::exact::{BF16, F16, F32, Format};

/// Type of a matrix's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// A float in its own bits.
    Float(Format),
    /// tf32 in a 32-bit word.
    Tf32,
    /// 8-bit integer, signed or not.
    Int8(bool),
    /// 32-bit integer.
    Int32,
}

impl Type {
    /// As in PTX.
    pub fn name(self) -> &'static str {
        match self {
            Type::Float(F16) => "f16",
            Type::Float(BF16) => "bf16",
            Type::Float(F32) => "f32",
            Type::Float(_) => "f64",
            Type::Tf32 => "tf32",
            Type::Int8(true) => "s8",
            Type::Int8(false) => "u8",
            Type::Int32 => "s32",
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Type::Float(format) => format.bytes(),
            Type::Int8(_) => 1,
            _ => 4,
        }
    }

    /// Bits of a number that the type holds.
    pub fn encode(self, value: f64) -> u64 {
        match self {
            Type::Float(format) => format.encode_f64(value),
            Type::Tf32 => F32.encode_f64(value) & !0x1fff,
            Type::Int8(_) => value as i64 as u64 & 0xff,
            Type::Int32 => value as i64 as u64 & 0xffff_ffff,
        }
    }

    /// The number that bits stand for.
    pub fn decode(self, bits: u64) -> f64 {
        match self {
            Type::Float(format) => format.to_f64(bits),
            Type::Tf32 => F32.to_f64(bits & !0x1fff),
            Type::Int8(true) => f64::from(bits as i8),
            Type::Int8(false) => f64::from(bits as u8),
            Type::Int32 => f64::from(bits as i32),
        }
    }

    /// A small integer, such that sums of products stay exact, or a real number.
    pub fn random(self, random: &mut Random, real: bool) -> u64 {
        let value = match self {
            Type::Int8(true) => random.small(128).max(-127) as f64,
            Type::Int8(false) => random.below(256) as f64,
            _ if real => {
                (random.below(1 << 24) as f64 / (1 << 23) as f64 - 1.0) * f64::exp2(random.small(4) as f64)
            }
            _ => random.small(4) as f64,
        };
        self.encode(value)
    }
}

/// The matrices of an `mma`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// m × k.
    A,
    /// k × n.
    B,
    /// m × n.
    C,
}

/// Row and column of the `i`-th element that a lane holds of a matrix of `mma.m{m}n8k{k}` whose elements have
/// `bytes` bytes.
///
/// The ISA gives these as tables by shape; they follow one rule: an element's register, of `32 / bits`
/// elements (one for 64 bits), covers that many columns of A (rows of B) per lane of a group of four; further
/// registers go to the lower eight rows first, then to the next columns.
pub fn place(matrix: Matrix, m: usize, bytes: usize, lane: usize, i: usize) -> (usize, usize) {
    let (group, within) = (lane / 4, lane % 4);
    let pack = (4 / bytes).max(1);
    let (register, part) = (i / pack, i % pack);
    let halves = m / 8;
    match matrix {
        Matrix::A => (group + 8 * (register % halves), 4 * pack * (register / halves) + pack * within + part),
        Matrix::B => (4 * pack * register + pack * within + part, group),
        Matrix::C => (group + 8 * (i / 2), 2 * within + i % 2),
    }
}
