//! The arithmetic that kernels spend their time on (PTX ISA, sections "Integer arithmetic", "Floating point", "Logic
//! and shift", "Data movement"). The walk through a program is compiled for several vector extensions, and this
//! table with it; what is less common stands in [`rare`](super::rare), which is compiled once.

use super::arithmetic::*;
use super::registers::{Cells, Value};
use super::table::{Operands, Signature, cell_bytes, lanes, load, operations, signature, store, vectors};

operations! {
    /// A common arithmetic instruction.
    vectors Common:

    // Data movement
    Mov32 "mov.b32" "mov.u32" "mov.s32" "mov.f32" "mov.b16" "mov.u16" "mov.s16": (a: u32) -> u32 = a;
    Mov64 "mov.b64" "mov.u64" "mov.s64" "mov.f64": (a: u64) -> u64 = a;
    Pack16 "pack.b32.b16": (low: u16, high: u16) -> u32 = u32::from(low) | u32::from(high) << 16;
    Pack32 "pack.b64.b32": (low: u32, high: u32) -> u64 = u64::from(low) | u64::from(high) << 32;
    Low16 "low.b16": (a: u32) -> u16 = a as u16;
    High16 "high.b16": (a: u32) -> u16 = (a >> 16) as u16;
    Low32 "low.b32" "narrow.u32" "narrow.s32": (a: u64) -> u32 = a as u32;
    High32 "high.b32": (a: u64) -> u32 = (a >> 32) as u32;
    Prmt "prmt.b32": (a: u32, b: u32, c: u32) -> u32 = permute(a, b, c);

    // Integers of 16 bits
    Add16 "add.u16" "add.s16": (a: u16, b: u16) -> u16 = a.wrapping_add(b);
    Sub16 "sub.u16" "sub.s16": (a: u16, b: u16) -> u16 = a.wrapping_sub(b);
    MulLo16 "mul.lo.u16" "mul.lo.s16": (a: u16, b: u16) -> u16 = a.wrapping_mul(b);
    MulWideU16 "mul.wide.u16": (a: u16, b: u16) -> u32 = u32::from(a) * u32::from(b);
    MulWideS16 "mul.wide.s16": (a: i16, b: i16) -> i32 = i32::from(a) * i32::from(b);
    Shl16 "shl.b16": (a: u16, b: u32) -> u16 = a.checked_shl(b).unwrap_or(0);
    ShrU16 "shr.u16" "shr.b16": (a: u16, b: u32) -> u16 = a.checked_shr(b).unwrap_or(0);
    And16 "and.b16": (a: u16, b: u16) -> u16 = a & b;
    Or16 "or.b16": (a: u16, b: u16) -> u16 = a | b;
    Xor16 "xor.b16": (a: u16, b: u16) -> u16 = a ^ b;

    // Integers of 32 bits
    Add32 "add.u32" "add.s32": (a: u32, b: u32) -> u32 = a.wrapping_add(b);
    Sub32 "sub.u32" "sub.s32": (a: u32, b: u32) -> u32 = a.wrapping_sub(b);
    MulLo32 "mul.lo.u32" "mul.lo.s32": (a: u32, b: u32) -> u32 = a.wrapping_mul(b);
    MulHiU32 "mul.hi.u32": (a: u32, b: u32) -> u32 = ((u64::from(a) * u64::from(b)) >> 32) as u32;
    MulHiS32 "mul.hi.s32": (a: i32, b: i32) -> i32 = ((i64::from(a) * i64::from(b)) >> 32) as i32;
    MulWideU32 "mul.wide.u32": (a: u32, b: u32) -> u64 = u64::from(a) * u64::from(b);
    MulWideS32 "mul.wide.s32": (a: i32, b: i32) -> i64 = i64::from(a) * i64::from(b);
    MadLo32 "mad.lo.u32" "mad.lo.s32": (a: u32, b: u32, c: u32) -> u32 = a.wrapping_mul(b).wrapping_add(c);
    MadWideU32 "mad.wide.u32": (a: u32, b: u32, c: u64) -> u64 = (u64::from(a) * u64::from(b)).wrapping_add(c);
    MadWideS32 "mad.wide.s32": (a: i32, b: i32, c: i64) -> i64 = (i64::from(a) * i64::from(b)).wrapping_add(c);
    DivU32 "div.u32": (a: u32, b: u32) -> u32 = a.checked_div(b).unwrap_or(!0);
    DivS32 "div.s32": (a: i32, b: i32) -> i32 = if b == 0 { -1 } else { a.wrapping_div(b) };
    RemU32 "rem.u32": (a: u32, b: u32) -> u32 = a.checked_rem(b).unwrap_or(a);
    RemS32 "rem.s32": (a: i32, b: i32) -> i32 = if b == 0 { a } else { a.wrapping_rem(b) };
    NegS32 "neg.s32": (a: i32) -> i32 = a.wrapping_neg();
    AbsS32 "abs.s32": (a: i32) -> i32 = a.wrapping_abs();
    MinU32 "min.u32": (a: u32, b: u32) -> u32 = a.min(b);
    MinS32 "min.s32": (a: i32, b: i32) -> i32 = a.min(b);
    MaxU32 "max.u32": (a: u32, b: u32) -> u32 = a.max(b);
    MaxS32 "max.s32": (a: i32, b: i32) -> i32 = a.max(b);
    Shl32 "shl.b32": (a: u32, b: u32) -> u32 = if b < 32 { a << b } else { 0 };
    ShrU32 "shr.u32" "shr.b32": (a: u32, b: u32) -> u32 = if b < 32 { a >> b } else { 0 };
    ShrS32 "shr.s32": (a: i32, b: u32) -> i32 = a >> b.min(31);
    ShfLWrap "shf.l.wrap.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, true, true);
    ShfRWrap "shf.r.wrap.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, false, true);
    And32 "and.b32": (a: u32, b: u32) -> u32 = a & b;
    Or32 "or.b32": (a: u32, b: u32) -> u32 = a | b;
    Xor32 "xor.b32": (a: u32, b: u32) -> u32 = a ^ b;
    Not32 "not.b32": (a: u32) -> u32 = !a;
    Lop3 "lop3.b32": (a: u32, b: u32, c: u32, table: u32) -> u32 = lookup3(a, b, c, table);

    // Integers of 64 bits
    Add64 "add.u64" "add.s64": (a: u64, b: u64) -> u64 = a.wrapping_add(b);
    Sub64 "sub.u64" "sub.s64": (a: u64, b: u64) -> u64 = a.wrapping_sub(b);
    MulLo64 "mul.lo.u64" "mul.lo.s64": (a: u64, b: u64) -> u64 = a.wrapping_mul(b);
    MadLo64 "mad.lo.u64" "mad.lo.s64": (a: u64, b: u64, c: u64) -> u64 = a.wrapping_mul(b).wrapping_add(c);
    MinU64 "min.u64": (a: u64, b: u64) -> u64 = a.min(b);
    MaxU64 "max.u64": (a: u64, b: u64) -> u64 = a.max(b);
    Shl64 "shl.b64": (a: u64, b: u32) -> u64 = if b < 64 { a << b } else { 0 };
    ShrU64 "shr.u64" "shr.b64": (a: u64, b: u32) -> u64 = if b < 64 { a >> b } else { 0 };
    ShrS64 "shr.s64": (a: i64, b: u32) -> i64 = a >> b.min(63);
    And64 "and.b64": (a: u64, b: u64) -> u64 = a & b;
    Or64 "or.b64": (a: u64, b: u64) -> u64 = a | b;
    Xor64 "xor.b64": (a: u64, b: u64) -> u64 = a ^ b;

    // Singles
    AddF32 "add.f32": (a: f32, b: f32) -> f32 = a + b;
    SubF32 "sub.f32": (a: f32, b: f32) -> f32 = a - b;
    MulF32 "mul.f32": (a: f32, b: f32) -> f32 = a * b;
    FmaF32 "fma.f32" "mad.f32": (a: f32, b: f32, c: f32) -> f32 = a.mul_add(b, c);
    DivF32 "div.f32" "div.full.f32" "div.approx.f32": (a: f32, b: f32) -> f32 = a / b;
    RcpF32 "rcp.f32" "rcp.approx.f32": (a: f32) -> f32 = 1.0 / a;
    SqrtF32 "sqrt.f32" "sqrt.approx.f32": (a: f32) -> f32 = a.sqrt();
    NegF32 "neg.f32": (a: f32) -> f32 = -a;
    AbsF32 "abs.f32": (a: f32) -> f32 = a.abs();
    MinF32 "min.f32": (a: f32, b: f32) -> f32 = min32(a, b);
    MaxF32 "max.f32": (a: f32, b: f32) -> f32 = max32(a, b);
    FlushF32 "flush.f32": (a: f32) -> f32 = flush(a);
    SatF32 "saturate.f32": (a: f32) -> f32 = saturate(a);

    // Doubles
    AddF64 "add.f64": (a: f64, b: f64) -> f64 = a + b;
    SubF64 "sub.f64": (a: f64, b: f64) -> f64 = a - b;
    MulF64 "mul.f64": (a: f64, b: f64) -> f64 = a * b;
    FmaF64 "fma.f64" "mad.f64": (a: f64, b: f64, c: f64) -> f64 = a.mul_add(b, c);
    ExtU16 "ext.u16" "ext.b16": (a: u16) -> u64 = u64::from(a);
    ExtU32 "ext.u32" "ext.b32": (a: u32) -> u64 = u64::from(a);
    ExtS32 "ext.s32": (a: i32) -> i64 = i64::from(a);
    NarrowU16 "narrow.u16": (a: u64) -> u32 = u32::from(a as u16);
    F32FromBf16 "cvt.f32.bf16": (a: u32) -> u32 = a << 16;
    Bf16FromF32 "cvt.bf16.f32": (a: u32) -> u16 = if a & 0x7fff_ffff > 0x7f80_0000 { 0x7fff } else {
        ((a + 0x7fff + (a >> 16 & 1)) >> 16) as u16
    };
}
