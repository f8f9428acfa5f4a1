//! The bytes that a copy by a tensor map moves (PTX ISA, sections "Tiled mode", "Im2col mode" and "Swizzling modes").

use super::{Mode, Swizzle, TensorMap};

/// A run of bytes that a copy moves: within one chunk of 16 bytes, which is what a swizzle permutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Shared address, after swizzling.
    pub shared: u32,
    /// Global address; `None` outside the tensor, where a load fills with [`TensorMap::fill_bits`] and a store writes
    /// nothing.
    pub global: Option<u64>,
    /// Length in bytes, 1 to 16.
    pub bytes: u32,
}

/// Why a copy instruction does not fit its tensor map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// As many coordinates as dimensions are needed.
    #[error("{found} coordinates for a tensor map of rank {rank}")]
    Coordinates {
        /// Coordinates given.
        found: usize,
        /// Dimensions of the tensor.
        rank: usize,
    },
    /// Offsets are given to an im2col map only: as many as there are of W, H and D, or none.
    #[error("{found} im2col offsets for a tensor map that takes {expected}")]
    Offsets {
        /// Offsets given.
        found: usize,
        /// Offsets that fit the map.
        expected: usize,
    },
    /// Offsets have 16, 8 or 5 bits in tensors of rank 3, 4 or 5.
    #[error("im2col offset {offset} for a tensor map of rank {rank}, where at most {limit} is possible")]
    OffsetRange {
        /// The offset.
        offset: u16,
        /// Dimensions of the tensor.
        rank: usize,
        /// Largest possible offset.
        limit: u16,
    },
    /// No shared memory could hold the box.
    #[error("a box of {bytes} bytes, more than shared memory has")]
    TooLarge {
        /// Size of the box.
        bytes: u32,
    },
}

/// Shared memory that a block of any architecture up to compute capability 9.0 can have, in bytes.
const SHARED_MEMORY: u32 = 227 << 10;

impl TensorMap {
    /// Bytes that a copy of one box brings to shared memory, and counts on its mbarrier, those outside the tensor
    /// too. `u32::MAX` if that is too small.
    pub fn box_bytes(&self) -> u32 {
        let elements = match self.mode {
            Mode::Tiled { box_dims } => self.counts(box_dims).iter().map(|&count| u64::from(count)).product(),
            Mode::Im2col { channels, pixels, .. } => u64::from(channels) * u64::from(pixels),
        };
        u32::try_from(elements * u64::from(self.element_bytes())).unwrap_or(u32::MAX)
    }

    /// Elements along each dimension of a box that spans `box_dims`.
    fn counts(&self, box_dims: [u32; 5]) -> [u32; 5] {
        // Dimension 0 has no element stride.
        std::array::from_fn(
            |i| if i == 0 { box_dims[0] } else { box_dims[i].div_ceil(self.element_strides[i]) },
        )
    }

    /// Appends what a copy of the box at `coords` moves, in the order of shared addresses before swizzling.
    ///
    /// `destination` is the shared address of the box, also for stores. `coords` has dimension 0 first. In im2col
    /// mode they name the first pixel, and `im2col_offsets` (in the order W, H, D) move every pixel that is read, not
    /// the bounding box that is traversed; empty, they are zero (`.im2col_no_offs`). In tile mode they are empty.
    ///
    /// Rows of a box lie densely in shared memory, also if they are narrower than the swizzle's span.
    ///
    /// # Errors
    /// If the instruction does not fit the map; then nothing is appended.
    pub fn pieces(
        &self,
        destination: u32,
        coords: &[i32],
        im2col_offsets: &[u16],
        out: &mut Vec<Piece>,
    ) -> Result<(), AccessError> {
        if coords.len() != self.rank {
            return Err(AccessError::Coordinates { found: coords.len(), rank: self.rank });
        }
        let bytes = self.box_bytes();
        if bytes > SHARED_MEMORY {
            return Err(AccessError::TooLarge { bytes });
        }
        let mut start = [0; 5];
        start.iter_mut().zip(coords).for_each(|(start, &coord)| *start = i64::from(coord));
        match self.mode {
            Mode::Tiled { box_dims } => {
                if !im2col_offsets.is_empty() {
                    return Err(AccessError::Offsets { found: im2col_offsets.len(), expected: 0 });
                }
                self.tile(destination, start, self.counts(box_dims), out);
            }
            Mode::Im2col { lower, upper, channels, pixels } => {
                let offsets = self.offsets(im2col_offsets)?;
                let mut box_ = Pixels { map: self, lower, upper, position: start };
                for pixel in 0..pixels {
                    let mut at = box_.position;
                    at[1..4].iter_mut().zip(offsets).for_each(|(at, offset)| *at += i64::from(offset));
                    self.row(destination, pixel, channels, at, out);
                    box_.advance();
                }
            }
        }
        Ok(())
    }

    fn offsets(&self, offsets: &[u16]) -> Result<[u16; 3], AccessError> {
        let expected = self.rank - 2;
        if !offsets.is_empty() && offsets.len() != expected {
            return Err(AccessError::Offsets { found: offsets.len(), expected });
        }
        let limit = match self.rank {
            3 => u16::MAX,
            4 => 255,
            _ => 31,
        };
        if let Some(&offset) = offsets.iter().find(|&&offset| offset > limit) {
            return Err(AccessError::OffsetRange { offset, rank: self.rank, limit });
        }
        Ok(std::array::from_fn(|i| offsets.get(i).copied().unwrap_or(0)))
    }

    fn tile(&self, destination: u32, start: [i64; 5], counts: [u32; 5], out: &mut Vec<Piece>) {
        let rows: u32 = counts[1..].iter().product();
        let mut index = [0; 5];
        for row in 0..rows {
            let at =
                std::array::from_fn(|i| start[i] + i64::from(index[i]) * i64::from(self.element_strides[i]));
            self.row(destination, row, counts[0], at, out);
            for i in 1..5 {
                index[i] += 1;
                if index[i] < counts[i] {
                    break;
                }
                index[i] = 0;
            }
        }
    }

    /// The pieces of row number `row` of a box: `count` elements along dimension 0 from the tensor's element `at` on.
    fn row(&self, destination: u32, row: u32, count: u32, at: [i64; 5], out: &mut Vec<Piece>) {
        let size = self.element_bytes();
        let inside = (1..self.rank).all(|i| (0..self.dims[i] as i64).contains(&at[i]));
        // Hostile strides may leave the address space; the access is then found out of bounds.
        let address = (1..self.rank).fold(self.address, |address, i| {
            address.wrapping_add(self.strides[i - 1].wrapping_mul(at[i] as u64))
        });
        let per_chunk = 16 / size;
        for chunk in 0..count * size / 16 {
            let first = at[0] + i64::from(chunk * per_chunk);
            let shared = self.swizzled(destination.wrapping_add(row * count * size + 16 * chunk));
            // Elements of the chunk before, in and after the tensor.
            let before = if inside { (-first).clamp(0, per_chunk.into()) as u32 } else { per_chunk };
            let end = (self.dims[0] as i64 - first).clamp(before.into(), per_chunk.into()) as u32;
            let global = address.wrapping_add((first + i64::from(before)).wrapping_mul(size.into()) as u64);
            for (from, to, global) in [(0, before, None), (before, end, Some(global)), (end, per_chunk, None)]
            {
                if from < to {
                    out.push(Piece { shared: shared + from * size, global, bytes: (to - from) * size });
                }
            }
        }
    }

    /// Permutes chunks within the swizzle's span, by the number of the 128-byte line.
    fn swizzled(&self, address: u32) -> u32 {
        let mask = match self.swizzle {
            Swizzle::Bytes32 => 1,
            Swizzle::Bytes64 => 3,
            Swizzle::Bytes128 => 7,
            _ => 0,
        };
        address ^ (address >> 7 & mask) << 4
    }
}

/// The traversal of the bounding box in im2col mode: W, then H, then D, then the next image.
struct Pixels<'a> {
    map: &'a TensorMap,
    lower: [i32; 3],
    upper: [i32; 3],
    /// Coordinates of the current pixel, before offsets.
    position: [i64; 5],
}

impl Pixels<'_> {
    fn advance(&mut self) {
        let images = self.map.rank - 1;
        for i in 1..images {
            self.position[i] += i64::from(self.map.element_strides[i]);
            // The corner is relative to the last pixel of the image.
            if self.position[i] < self.map.dims[i] as i64 + i64::from(self.upper[i - 1]) {
                return;
            }
            self.position[i] = i64::from(self.lower[i - 1]);
        }
        self.position[images] += i64::from(self.map.element_strides[images]);
    }
}
