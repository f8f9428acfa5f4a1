//! Tensor maps: tensors in memory, and what a copy of a part of one visits (PTX ISA 5.5, "Tensors").

use super::case::word;
use super::exact::{BF16, F16, F32, F64, Format};

/// Type of a tensor's elements: the driver's `CUtensorMapDataType`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Type {
    U8 = 0,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    Bf16,
    F32Ftz,
    Tf32,
    Tf32Ftz,
}

impl Type {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Type::U8 => 1,
            Type::U16 | Type::F16 | Type::Bf16 => 2,
            Type::U64 | Type::S64 | Type::F64 => 8,
            _ => 4,
        }
    }

    /// Its format, if it is a float.
    pub fn format(self) -> Option<Format> {
        match self {
            Type::F16 => Some(F16),
            Type::Bf16 => Some(BF16),
            Type::F64 => Some(F64),
            Type::F32 | Type::F32Ftz | Type::Tf32 | Type::Tf32Ftz => Some(F32),
            _ => None,
        }
    }
}

/// Permutation of 16-byte pieces in shared memory, in the order of `CUtensorMapSwizzle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Swizzle {
    None = 0,
    Bytes32,
    Bytes64,
    Bytes128,
}

/// The four swizzles.
pub const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128];

impl Swizzle {
    /// Bytes of a row.
    pub fn span(self) -> usize {
        16 << self as u32
    }

    /// As in a case's name.
    pub fn name(self) -> String {
        if self == Swizzle::None { "none".to_owned() } else { format!("{}b", self.span()) }
    }

    /// Where the byte of an address goes: bits 7 and up are added, without carry, to bits 4 and up.
    pub fn apply(self, address: usize) -> usize {
        address ^ (address >> 7 & ((1 << self as u32) - 1)) << 4
    }
}

/// What a copy visits.
#[derive(Clone, Debug)]
pub enum Mode {
    /// A box of these extents.
    Tiled(Vec<u32>),
    /// Pixels of images (PTX ISA, "Im2col mode").
    Im2col {
        /// Corners of the bounding box: W, H, D.
        lower: Vec<i32>,
        /// Relative to the last pixel.
        upper: Vec<i32>,
        /// Channels of each pixel.
        channels: u32,
        /// Pixels of a copy.
        pixels: u32,
    },
}

/// A tensor map to encode.
#[derive(Clone, Debug)]
pub struct Map {
    /// Over this input, or over the output.
    pub input: Option<usize>,
    /// Its elements.
    pub element: Type,
    /// Extents, innermost first.
    pub extents: Vec<u64>,
    /// Bytes from one index to the next of each dimension but the innermost.
    pub strides: Vec<u64>,
    /// What a copy visits.
    pub mode: Mode,
    /// Steps in elements, of each dimension.
    pub steps: Vec<u32>,
    /// In shared memory.
    pub swizzle: Swizzle,
    /// Out-of-range elements become NaN instead of zero.
    pub fill_nan: bool,
}

impl Map {
    /// A tiled map without gaps over the first input.
    pub fn tiled(element: Type, extents: &[u64], tile: &[u32], swizzle: Swizzle) -> Map {
        let mut strides = Vec::new();
        let mut bytes = element.bytes() as u64;
        for extent in &extents[..extents.len() - 1] {
            bytes = (bytes * extent).next_multiple_of(16);
            strides.push(bytes);
        }
        let (mode, steps) = (Mode::Tiled(tile.to_vec()), vec![1; extents.len()]);
        Map {
            input: Some(0),
            element,
            extents: extents.to_vec(),
            strides,
            mode,
            steps,
            swizzle,
            fill_nan: false,
        }
    }

    /// Bytes of the tensor.
    pub fn bytes(&self) -> usize {
        let rank = self.extents.len();
        let last = self.strides.last().map_or(self.element.bytes() as u64, |s| *s);
        (if rank == 1 { self.extents[0] * last } else { self.extents[rank - 1] * last }) as usize
    }

    /// Byte offset of an element; `None` out of range.
    pub fn offset(&self, index: &[i64]) -> Option<usize> {
        let inside = index.iter().zip(&self.extents).all(|(i, e)| (0..*e as i64).contains(i));
        let outer: i64 = index[1..].iter().zip(&self.strides).map(|(i, s)| i * *s as i64).sum();
        inside.then_some((index[0] * self.element.bytes() as i64 + outer) as usize)
    }

    /// Indices that a copy from `start` visits, in the order of shared memory.
    pub fn visits(&self, start: &[i32], offsets: &[u16]) -> Vec<Vec<i64>> {
        match &self.mode {
            Mode::Tiled(tile) => {
                let mut all: Vec<Vec<i64>> = vec![Vec::new()];
                for d in (0..tile.len()).rev() {
                    // The innermost dimension has no step.
                    let step = if d == 0 { 1 } else { self.steps[d] };
                    let range =
                        (0..tile[d].div_ceil(step)).map(|k| i64::from(start[d]) + i64::from(k * step));
                    all = all
                        .iter()
                        .flat_map(|outer| range.clone().map(move |i| [vec![i], outer.clone()].concat()))
                        .collect();
                }
                all
            }
            Mode::Im2col { .. } => super::im2col::visits(self, start, offsets),
        }
    }

    /// Shared memory after a load.
    pub fn load(&self, tensor: &[u8], start: &[i32], offsets: &[u16]) -> Vec<u8> {
        let size = self.element.bytes();
        let fill = match self.element.format() {
            Some(format) if self.fill_nan => format.nan(),
            _ => 0,
        };
        let visits = self.visits(start, offsets);
        let mut out = vec![0; visits.len() * size];
        for (k, index) in visits.iter().enumerate() {
            let to = self.swizzle.apply(k * size);
            match self.offset(index) {
                Some(from) => out[to..to + size].copy_from_slice(&tensor[from..from + size]),
                None => out[to..to + size].copy_from_slice(&fill.to_le_bytes()[..size]),
            }
        }
        out
    }

    /// The tensor after a store of shared memory, or a reduction by `combine` (memory, operand).
    pub fn store(&self, tensor: &mut [u8], shared: &[u8], start: &[i32], combine: impl Fn(u64, u64) -> u64) {
        let size = self.element.bytes();
        for (k, index) in self.visits(start, &[]).iter().enumerate() {
            let from = self.swizzle.apply(k * size);
            if let Some(to) = self.offset(index) {
                let value = combine(word(&tensor[to..to + size]), word(&shared[from..from + size]));
                tensor[to..to + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
    }
}
