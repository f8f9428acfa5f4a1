//! The arithmetic and the register and memory layouts of tensor cores, as pure functions.
//!
//! * [`mma`]: `mma.sync`, a matrix product of one warp from registers.
//! * [`wgmma`]: `wgmma.mma_async`, the share of one warp in a product of a warpgroup, with operands in shared memory.
//! * [`matrix`]: `ldmatrix`, `stmatrix`, `movmatrix`.
//!
//! # Definition of the arithmetic
//! PTX leaves the order and the precision of the accumulation to the hardware. Here an element of D is
//! `((c + a₀·b₀) + a₁·b₁) + …` with k ascending; each product and each sum is rounded to nearest even in `f32`, never
//! fused, so that the result is the same on every machine. (Products of f16, bf16 and tf32 operands are exact in `f32`
//! unless they leave its range.) An f16 accumulator is widened first and rounded once at the end. NaN results are the
//! canonical NaN of PTX. Integer products are exact; sums wrap, or saturate once at the end with `.satfinite`. f64
//! uses fused multiply-adds.
//!
//! The kernels are plain loops over arrays of fixed size, inlined into their caller: the caller gives them vector
//! instructions by calling them inside `pulp::Arch::dispatch`, from functions that are themselves
//! `#[inline(always)]`, such as a `WithSimd::with_simd`.

mod float;
pub mod matrix;
pub mod mma;
mod tile;
pub mod wgmma;

/// Type of a multiplicand's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `.f16`
    F16,
    /// `.bf16`
    Bf16,
    /// `.tf32`: an f32 whose low 13 bits are ignored.
    Tf32,
    /// `.s8`
    S8,
    /// `.u8`
    U8,
    /// `.f64`
    F64,
}

impl Element {
    fn parse(modifier: &str) -> Option<Element> {
        Some(match modifier {
            "f16" => Element::F16,
            "bf16" => Element::Bf16,
            "tf32" => Element::Tf32,
            "s8" => Element::S8,
            "u8" => Element::U8,
            "f64" => Element::F64,
            _ => return None,
        })
    }
}

/// Type of the elements of the accumulators C and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulator {
    /// `.f16`: two to a register, the lower column in the lower half.
    F16,
    /// `.f32`
    F32,
    /// `.s32`
    S32,
    /// `.f64`
    F64,
}

impl Accumulator {
    fn parse(modifier: &str) -> Option<Accumulator> {
        Some(match modifier {
            "f16" => Accumulator::F16,
            "f32" => Accumulator::F32,
            "s32" => Accumulator::S32,
            "f64" => Accumulator::F64,
            _ => return None,
        })
    }
}
