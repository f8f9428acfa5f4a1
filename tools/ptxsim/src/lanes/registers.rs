//! A warp's registers: rows of 32 lanes.

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

use crate::Row;

/// Lanes of a warp.
pub const LANES: usize = 32;

/// Storage of a register of up to 32 bits, one cell a lane; 64-bit registers take two in a row, as 32 cells of
/// 64 bits. Narrower values are zero-extended.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Cells(pub Row);

/// Index of a register's first [`Cells`]; of a predicate, where one is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u32);

/// A cell of a register: 32 or 64 bits.
pub trait Cell: Copy + Pod {
    /// Reads a register.
    fn load(registers: &[Cells], at: Reg) -> [Self; LANES];
    /// Writes the lanes of `mask`.
    fn store(registers: &mut [Cells], at: Reg, values: [Self; LANES], mask: u32);
}

impl Cell for u32 {
    #[inline(always)]
    fn load(registers: &[Cells], at: Reg) -> [u32; LANES] {
        registers[at.0 as usize].0
    }

    #[inline(always)]
    fn store(registers: &mut [Cells], at: Reg, values: [u32; LANES], mask: u32) {
        let row = &mut registers[at.0 as usize].0;
        if mask == !0 {
            *row = values;
        } else {
            for lane in 0..LANES {
                row[lane] = if mask >> lane & 1 == 1 { values[lane] } else { row[lane] };
            }
        }
    }
}

impl Cell for u64 {
    #[inline(always)]
    fn load(registers: &[Cells], at: Reg) -> [u64; LANES] {
        *wide(registers, at)
    }

    #[inline(always)]
    fn store(registers: &mut [Cells], at: Reg, values: [u64; LANES], mask: u32) {
        let row = wide_mut(registers, at);
        if mask == !0 {
            *row = values;
        } else {
            for lane in 0..LANES {
                row[lane] = if mask >> lane & 1 == 1 { values[lane] } else { row[lane] };
            }
        }
    }
}

/// A 64-bit register.
#[inline(always)]
pub fn wide(registers: &[Cells], at: Reg) -> &[u64; LANES] {
    let pair: &[Cells; 2] = registers[at.0 as usize..at.0 as usize + 2].try_into().expect("two were taken");
    bytemuck::cast_ref(pair)
}

/// A 64-bit register, to write.
#[inline(always)]
pub fn wide_mut(registers: &mut [Cells], at: Reg) -> &mut [u64; LANES] {
    let pair: &mut [Cells; 2] =
        (&mut registers[at.0 as usize..at.0 as usize + 2]).try_into().expect("two were taken");
    bytemuck::cast_mut(pair)
}

/// A type that instructions compute with, as it lies in a cell.
pub trait Value: Copy {
    /// Its cell.
    type Cell: Cell;
    /// From the low bits of a cell.
    fn get(cell: Self::Cell) -> Self;
    /// Zero-extended into a cell.
    fn put(self) -> Self::Cell;
}

macro_rules! values {
    ($($ty:ty, $cell:ty, $get:expr, $put:expr;)+) => {$(
        impl Value for $ty {
            type Cell = $cell;
            #[inline(always)]
            fn get(cell: $cell) -> $ty {
                $get(cell)
            }
            #[inline(always)]
            fn put(self) -> $cell {
                $put(self)
            }
        }
    )+};
}

values! {
    u32, u32, |c| c, |v| v;
    i32, u32, |c| c as i32, |v| v as u32;
    f32, u32, f32::from_bits, f32::to_bits;
    u16, u32, |c| c as u16, u32::from;
    i16, u32, |c| c as i16, |v| v as u16 as u32;
    f16, u32, |c| f16::from_bits(c as u16), |v: f16| v.to_bits() as u32;
    bf16, u32, |c| bf16::from_bits(c as u16), |v: bf16| v.to_bits() as u32;
    u64, u64, |c| c, |v| v;
    i64, u64, |c| c as i64, |v| v as u64;
    f64, u64, f64::from_bits, f64::to_bits;
}

/// The lanes of a mask, in order.
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            lane
        })
    })
}
