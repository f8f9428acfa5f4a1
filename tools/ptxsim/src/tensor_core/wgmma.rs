//! `wgmma.mma_async`: D = A·B + D of a warpgroup, with B, and A or not, in shared memory (PTX ISA, section
//! "Asynchronous warpgroup level matrix instructions"). Warp `w` of the four computes rows 16w to 16w + 15 on its own.
//!
//! # Operands in shared memory
//! An operand is read in chunks of 16 bytes. Eight chunks that lie side by side across the chunk's direction are a
//! *core matrix* of 8 × 16 bytes. An instruction always spans 32 bytes, two chunks, of K if the operand is K-major,
//! and 16 elements of K if it is MN-major.
//!
//! *K-major* (`imm-trans` 0): neighbouring elements of K are neighbours in memory. *MN-major* (`imm-trans` 1, only for
//! 16-bit types): neighbouring rows of A, or columns of B, are. A [`Descriptor`] gives the start address and two
//! strides, the leading byte offset (LBO) and the stride byte offset (SBO). Let `W` be the width of the swizzle in
//! bytes. The chunk `c` of K of row `r` (K-major), or the chunk of rows 8g to 8g + 7 at index `k` (MN-major), lies at
//! the start address plus
//!
//! | swizzle         | K-major                          | MN-major, with `u = W / 16`                          |
//! |-----------------|----------------------------------|------------------------------------------------------|
//! | none            | `r/8·SBO + r%8·16 + c·LBO`       | `g·SBO + k/8·LBO + k%8·16`                           |
//! | 32, 64, 128 B   | `r/8·SBO + r%8·W + c·16`         | `g/u·LBO + g%u·16 + k/8·SBO + k%8·W`                 |
//!
//! In words: K-major, SBO leads from one group of eight rows to the next, and LBO from one core matrix to the next
//! along K without swizzle; with swizzle it is not used. MN-major, with swizzle LBO leads from one block of W bytes of
//! rows to the next and SBO from one group of eight k to the next; without swizzle they change roles: SBO leads to
//! the next eight rows, LBO to the next eight k.
//!
//! The swizzle is applied to the sum: bits 4-6 of the address are XORed with bits 7-9 (128 B), 4-5 with 7-8 (64 B), 4
//! with 7 (32 B), the upper bits being taken relative to the descriptor's base offset. So a start address advanced
//! within the swizzle's width, as by 32 bytes for the next step of K, reads the right chunks. Addresses have 18 bits.

use super::tile::{self, Bf16, F16, Format, Tf32};
use super::{Accumulator, Element};
use crate::Row;

/// In which direction neighbours in memory lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// Along K: `imm-trans` is 0.
    K,
    /// Along the rows of A or the columns of B: `imm-trans` is 1.
    Mn,
}

/// A matrix descriptor, decoded; addresses and offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Shared address of the first chunk, before swizzling.
    pub start: u32,
    /// LBO; see the module.
    pub leading: u32,
    /// SBO; see the module.
    pub stride: u32,
    /// Row within the repeating pattern, in units of 128 bytes, at which a pattern starts that is not aligned to its
    /// size.
    pub base_offset: u32,
    /// Width of the swizzle: 0 (none), 32, 64 or 128.
    pub swizzle: u32,
}

impl Descriptor {
    /// Decodes the bits as the hardware does: address, LBO and SBO in units of 16 bytes at bits 0-13, 16-29 and
    /// 32-45, base offset at 49-51, swizzle mode at 62-63; all other bits are ignored.
    pub fn from_bits(bits: u64) -> Descriptor {
        let field = |shift: u32| ((bits >> shift) as u32 & 0x3fff) << 4;
        Descriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            base_offset: (bits >> 49) as u32 & 7,
            swizzle: [0, 128, 64, 32][(bits >> 62) as usize],
        }
    }

    /// Appends the shared addresses of the 16-byte chunks of `rows` rows from `first` on; rows of A, columns of B.
    /// Both are multiples of 8.
    ///
    /// The order is that of core matrices: for each eight rows, for both halves of K, eight chunks: of ascending
    /// rows if K-major, of ascending k if MN-major.
    pub fn chunks(&self, first: u32, rows: u32, major: Major, out: &mut Vec<u32>) {
        for group in first / 8..(first + rows) / 8 {
            for half in 0..2 {
                // Offset of the core matrix, and the step between its chunks.
                let (matrix, step) = match (major, self.swizzle) {
                    (Major::K, 0) => (group * self.stride + half * self.leading, 16),
                    (Major::K, width) => (group * self.stride + half * 16, width),
                    (Major::Mn, 0) => (group * self.stride + half * self.leading, 16),
                    (Major::Mn, width) => {
                        let block = width / 16;
                        (group / block * self.leading + group % block * 16 + half * self.stride, width)
                    }
                };
                out.extend((0..8).map(|i| self.swizzled(self.start + matrix + i * step)));
            }
        }
    }

    fn swizzled(&self, address: u32) -> u32 {
        let address = address & 0x3ffff;
        // 128 B: three bits, 64 B: two, 32 B: one, none: zero.
        let mask = (self.swizzle >> 4).saturating_sub(1);
        let phase = (address >> 7).wrapping_sub(self.base_offset) & mask;
        address ^ phase << 4
    }
}

/// Where A comes from.
#[derive(Clone, Copy, Debug)]
pub enum OperandA<'a> {
    /// The warp's four registers, laid out as for `mma.sync` of m16n8k16 or, tf32, m16n8k8.
    Registers(&'a [Row; 4]),
    /// 512 bytes: the warp's [`Wgmma::a_chunks`] in their order.
    Shared(&'a [u8], Major),
}

/// The operands of the instruction that are immediates or predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `scale-d`: whether D is added; otherwise it is not read.
    pub d: bool,
    /// Whether `imm-scale-a` is −1.
    pub negate_a: bool,
    /// Whether `imm-scale-b` is −1.
    pub negate_b: bool,
}

/// The shape and the types of a `wgmma.mma_async`: 64 × n × k, 16 × n × k of which is one warp's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wgmma {
    n: u32,
    element: Element,
    accumulator: Accumulator,
}

impl Wgmma {
    /// The form that the modifiers after `wgmma` name, such as `mma_async sync aligned m64n128k16 f32 bf16 bf16`.
    ///
    /// `None` unless n is a multiple of 8 up to 256 and the types are bf16 or tf32 into f32, or f16 into f32 or f16,
    /// with k 16, for tf32 8.
    pub fn parse(modifiers: &[&str]) -> Option<Wgmma> {
        let ["mma_async", "sync", "aligned", shape, d, a, b] = modifiers else { return None };
        let (n, k) = shape.strip_prefix("m64n")?.split_once('k')?;
        let n = (8..=256).step_by(8).find(|width: &u32| width.to_string() == n)?;
        let (element, accumulator) = (Element::parse(a)?, Accumulator::parse(d)?);
        let known = match (element, accumulator) {
            (Element::F16, Accumulator::F16 | Accumulator::F32) | (Element::Bf16, Accumulator::F32) => {
                k == "16"
            }
            (Element::Tf32, Accumulator::F32) => k == "8",
            _ => false,
        };
        (known && a == b).then_some(Wgmma { n, element, accumulator })
    }

    /// Columns of B and D.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// Registers of D.
    pub fn d_registers(&self) -> usize {
        self.n as usize / if self.accumulator == Accumulator::F16 { 4 } else { 2 }
    }

    /// Multiply-accumulate operations of one warp's share, a quarter of the instruction's.
    pub fn macs(&self) -> u64 {
        u64::from(16 * self.n * self.k())
    }

    /// Whether operands in shared memory may be MN-major.
    pub fn can_transpose(&self) -> bool {
        self.element != Element::Tf32
    }

    fn k(&self) -> u32 {
        if self.element == Element::Tf32 { 8 } else { 16 }
    }

    /// Appends the addresses of the 32 chunks of A that warp `warp` (0-3) of the warpgroup reads.
    pub fn a_chunks(&self, descriptor: Descriptor, warp: u32, major: Major, out: &mut Vec<u32>) {
        descriptor.chunks(16 * (warp % 4), 16, major, out);
    }

    /// Appends the addresses of the 2n chunks of B.
    pub fn b_chunks(&self, descriptor: Descriptor, major: Major, out: &mut Vec<u32>) {
        descriptor.chunks(0, self.n, major, out);
    }

    /// Computes one warp's rows of D. `b` holds the bytes of [`Wgmma::b_chunks`] in their order, 32 n of them; `d`
    /// [`Wgmma::d_registers`] rows.
    ///
    /// With slices too short, or an MN-major operand where [`Wgmma::can_transpose`] forbids it, nothing is written.
    #[inline(always)]
    pub fn multiply(&self, a: OperandA, b: &[u8], b_major: Major, scale: Scale, d: &mut [Row]) {
        match self.element {
            Element::Bf16 => self.product::<Bf16, 16>(a, b, b_major, scale, d),
            Element::F16 => self.product::<F16, 16>(a, b, b_major, scale, d),
            _ => self.product::<Tf32, 8>(a, b, b_major, scale, d),
        }
    }

    #[inline(always)]
    fn product<F: Format, const K: usize>(
        &self,
        a: OperandA,
        b: &[u8],
        b_major: Major,
        scale: Scale,
        d: &mut [Row],
    ) {
        let (Some(d), Some(b)) = (d.get_mut(..self.d_registers()), b.get(..32 * self.n as usize)) else {
            return;
        };
        let a_major = if let OperandA::Shared(_, major) = a { major } else { Major::K };
        if !self.can_transpose() && (a_major, b_major) != (Major::K, Major::K) {
            return;
        }
        let mut a = match a {
            OperandA::Registers(registers) => tile::a_from_registers::<F, K>(registers),
            OperandA::Shared(bytes, major) => {
                let Some(bytes) = bytes.first_chunk::<512>() else { return };
                let [top_left, top_right, low_left, low_right] = core_matrices(bytes);
                match major {
                    Major::K => tile::a_from_registers::<F, K>(&[top_left, low_left, top_right, low_right]),
                    Major::Mn => tile::a_from_columns::<F, K>(&[top_left, low_left, top_right, low_right]),
                }
            }
        };
        if scale.negate_a != scale.negate_b {
            a = a.map(|row| row.map(|value| -value));
        }
        let columns = b.as_chunks::<256>().0;
        if self.accumulator == Accumulator::F16 {
            for (d, b) in d.as_chunks_mut().0.iter_mut().zip(columns) {
                let mut sum = if scale.d { tile::d_from_f16(d) } else { [[0.0; 8]; 16] };
                tile::accumulate(&a, &b_columns::<F, K>(b, b_major), &mut sum);
                tile::d_to_f16(&sum, d);
            }
        } else {
            for (d, b) in d.as_chunks_mut().0.iter_mut().zip(columns) {
                let mut sum = if scale.d { tile::d_from_f32(d) } else { [[0.0; 8]; 16] };
                tile::accumulate(&a, &b_columns::<F, K>(b, b_major), &mut sum);
                tile::d_to_f32(&sum, d);
            }
        }
    }
}

/// Eight columns of B from their two core matrices.
#[inline(always)]
fn b_columns<F: Format, const K: usize>(bytes: &[u8; 256], major: Major) -> tile::B<K> {
    let matrices: [Row; 2] = core_matrices(bytes);
    match major {
        Major::K => tile::b_from_registers::<F, K>(&matrices),
        Major::Mn => tile::b_from_rows::<F, K>(&matrices),
    }
}

/// Core matrices as registers: word `w` of chunk `i` becomes lane `4i + w`.
#[inline(always)]
fn core_matrices<const BYTES: usize, const COUNT: usize>(bytes: &[u8; BYTES]) -> [Row; COUNT] {
    let mut matrices = [[0; 32]; COUNT];
    for (matrix, bytes) in matrices.iter_mut().zip(bytes.as_chunks::<128>().0) {
        for (word, bytes) in matrix.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
    }
    matrices
}
