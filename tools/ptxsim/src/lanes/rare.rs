//! The rest of the arithmetic (PTX ISA, sections as in [`common`](super::common), and "Half precision", "cvt").

use half::{bf16, f16};

use super::arithmetic::*;
use super::registers::{Cells, Value};
use super::table::{Operands, Signature, calls, cell_bytes, each, operations, signature};

operations! {
    /// A less common arithmetic instruction.
    calls Rare:

    // Data movement
    Pack8 "pack.b16.b8": (low: u32, high: u32) -> u16 = (low & 0xff | high << 8) as u16;
    Low8 "low.b8": (a: u32) -> u32 = a & 0xff;
    High8 "high.b8": (a: u32) -> u32 = a >> 8 & 0xff;
    SlctU32 "slct.u32.s32" "slct.b32.s32" "slct.s32.s32" "slct.f32.s32":
        (a: u32, b: u32, c: i32) -> u32 = if c >= 0 { a } else { b };
    SlctF32 "slct.u32.f32" "slct.b32.f32" "slct.s32.f32" "slct.f32.f32":
        (a: u32, b: u32, c: f32) -> u32 = if c >= 0.0 { a } else { b };
    Slct64 "slct.u64.s32" "slct.b64.s32" "slct.s64.s32" "slct.f64.s32":
        (a: u64, b: u64, c: i32) -> u64 = if c >= 0 { a } else { b };
    Slct64F32 "slct.u64.f32" "slct.b64.f32" "slct.s64.f32" "slct.f64.f32":
        (a: u64, b: u64, c: f32) -> u64 = if c >= 0.0 { a } else { b };
    Slct16 "slct.u16.s32" "slct.b16.s32" "slct.s16.s32":
        (a: u16, b: u16, c: i32) -> u16 = if c >= 0 { a } else { b };
    Slct16F32 "slct.u16.f32" "slct.b16.f32" "slct.s16.f32":
        (a: u16, b: u16, c: f32) -> u16 = if c >= 0.0 { a } else { b };

    // Integers of 16 bits
    MulHiU16 "mul.hi.u16": (a: u16, b: u16) -> u16 = ((u32::from(a) * u32::from(b)) >> 16) as u16;
    MulHiS16 "mul.hi.s16": (a: i16, b: i16) -> i16 = ((i32::from(a) * i32::from(b)) >> 16) as i16;
    MadLo16 "mad.lo.u16" "mad.lo.s16": (a: u16, b: u16, c: u16) -> u16 = a.wrapping_mul(b).wrapping_add(c);
    MadWideU16 "mad.wide.u16": (a: u16, b: u16, c: u32) -> u32 = (u32::from(a) * u32::from(b)).wrapping_add(c);
    MadWideS16 "mad.wide.s16": (a: i16, b: i16, c: i32) -> i32 = (i32::from(a) * i32::from(b)).wrapping_add(c);
    DivU16 "div.u16": (a: u16, b: u16) -> u16 = a.checked_div(b).unwrap_or(!0);
    DivS16 "div.s16": (a: i16, b: i16) -> i16 = if b == 0 { -1 } else { a.wrapping_div(b) };
    RemU16 "rem.u16": (a: u16, b: u16) -> u16 = a.checked_rem(b).unwrap_or(a);
    RemS16 "rem.s16": (a: i16, b: i16) -> i16 = if b == 0 { a } else { a.wrapping_rem(b) };
    NegS16 "neg.s16": (a: i16) -> i16 = a.wrapping_neg();
    AbsS16 "abs.s16": (a: i16) -> i16 = a.wrapping_abs();
    MinU16 "min.u16": (a: u16, b: u16) -> u16 = a.min(b);
    MinS16 "min.s16": (a: i16, b: i16) -> i16 = a.min(b);
    MaxU16 "max.u16": (a: u16, b: u16) -> u16 = a.max(b);
    MaxS16 "max.s16": (a: i16, b: i16) -> i16 = a.max(b);
    ShrS16 "shr.s16": (a: i16, b: u32) -> i16 = a >> b.min(15);
    Not16 "not.b16": (a: u16) -> u16 = !a;
    Cnot16 "cnot.b16": (a: u16) -> u16 = u16::from(a == 0);
    AddU16x2 "add.u16x2" "add.s16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]: [u16; 2]| a.wrapping_add(b));
    MinU16x2 "min.u16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]: [u16; 2]| a.min(b));
    MaxU16x2 "max.u16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]: [u16; 2]| a.max(b));
    MinS16x2 "min.s16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]: [u16; 2]| (a as i16).min(b as i16) as u16);
    MaxS16x2 "max.s16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]: [u16; 2]| (a as i16).max(b as i16) as u16);

    // Integers of 32 bits
    AddSat32 "add.sat.s32": (a: i32, b: i32) -> i32 = a.saturating_add(b);
    SubSat32 "sub.sat.s32": (a: i32, b: i32) -> i32 = a.saturating_sub(b);
    Mul24LoU "mul24.lo.u32": (a: u32, b: u32) -> u32 = (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff);
    Mul24LoS "mul24.lo.s32": (a: i32, b: i32) -> i32 = (a << 8 >> 8).wrapping_mul(b << 8 >> 8);
    MadHiU32 "mad.hi.u32":
        (a: u32, b: u32, c: u32) -> u32 = (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c);
    MadHiS32 "mad.hi.s32":
        (a: i32, b: i32, c: i32) -> i32 = (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c);
    SadU32 "sad.u32": (a: u32, b: u32, c: u32) -> u32 = c.wrapping_add(a.abs_diff(b));
    SadS32 "sad.s32": (a: i32, b: i32, c: u32) -> u32 = c.wrapping_add(a.abs_diff(b));
    ShfLClamp "shf.l.clamp.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, true, false);
    ShfRClamp "shf.r.clamp.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, false, false);
    Cnot32 "cnot.b32": (a: u32) -> u32 = u32::from(a == 0);
    Popc32 "popc.b32": (a: u32) -> u32 = a.count_ones();
    Clz32 "clz.b32": (a: u32) -> u32 = a.leading_zeros();
    Brev32 "brev.b32": (a: u32) -> u32 = a.reverse_bits();
    BfindU32 "bfind.u32": (a: u32) -> u32 = find_high(u64::from(a), false, 32);
    BfindS32 "bfind.s32": (a: i32) -> u32 = find_high(u64::from((a ^ a >> 31) as u32), false, 32);
    BfindShiftU32 "bfind.shiftamt.u32": (a: u32) -> u32 = find_high(u64::from(a), true, 32);
    BfindShiftS32 "bfind.shiftamt.s32": (a: i32) -> u32 = find_high(u64::from((a ^ a >> 31) as u32), true, 32);
    BfeU32 "bfe.u32": (a: u32, b: u32, c: u32) -> u32 = extract(u64::from(a), b, c, 32, false) as u32;
    BfeS32 "bfe.s32": (a: u32, b: u32, c: u32) -> u32 = extract(u64::from(a), b, c, 32, true) as u32;
    Bfi32 "bfi.b32": (a: u32, b: u32, c: u32, d: u32) -> u32 = insert(u64::from(a), u64::from(b), c, d, 32) as u32;
    Dp4aUU "dp4a.u32.u32": (a: u32, b: u32, c: u32) -> u32 = dot4(a, b, c, false, false);
    Dp4aUS "dp4a.u32.s32": (a: u32, b: u32, c: u32) -> u32 = dot4(a, b, c, false, true);
    Dp4aSU "dp4a.s32.u32": (a: u32, b: u32, c: u32) -> u32 = dot4(a, b, c, true, false);
    Dp4aSS "dp4a.s32.s32": (a: u32, b: u32, c: u32) -> u32 = dot4(a, b, c, true, true);

    // Integers of 64 bits
    MulHiU64 "mul.hi.u64": (a: u64, b: u64) -> u64 = ((u128::from(a) * u128::from(b)) >> 64) as u64;
    MulHiS64 "mul.hi.s64": (a: i64, b: i64) -> i64 = ((i128::from(a) * i128::from(b)) >> 64) as i64;
    DivU64 "div.u64": (a: u64, b: u64) -> u64 = a.checked_div(b).unwrap_or(!0);
    DivS64 "div.s64": (a: i64, b: i64) -> i64 = if b == 0 { -1 } else { a.wrapping_div(b) };
    RemU64 "rem.u64": (a: u64, b: u64) -> u64 = a.checked_rem(b).unwrap_or(a);
    RemS64 "rem.s64": (a: i64, b: i64) -> i64 = if b == 0 { a } else { a.wrapping_rem(b) };
    NegS64 "neg.s64": (a: i64) -> i64 = a.wrapping_neg();
    AbsS64 "abs.s64": (a: i64) -> i64 = a.wrapping_abs();
    MinS64 "min.s64": (a: i64, b: i64) -> i64 = a.min(b);
    MaxS64 "max.s64": (a: i64, b: i64) -> i64 = a.max(b);
    Not64 "not.b64": (a: u64) -> u64 = !a;
    Cnot64 "cnot.b64": (a: u64) -> u64 = u64::from(a == 0);
    Popc64 "popc.b64": (a: u64) -> u32 = a.count_ones();
    Clz64 "clz.b64": (a: u64) -> u32 = a.leading_zeros();
    Brev64 "brev.b64": (a: u64) -> u64 = a.reverse_bits();
    BfindU64 "bfind.u64": (a: u64) -> u32 = find_high(a, false, 64);
    BfindS64 "bfind.s64": (a: i64) -> u32 = find_high((a ^ a >> 63) as u64, false, 64);
    BfindShiftU64 "bfind.shiftamt.u64": (a: u64) -> u32 = find_high(a, true, 64);
    BfindShiftS64 "bfind.shiftamt.s64": (a: i64) -> u32 = find_high((a ^ a >> 63) as u64, true, 64);
    BfeU64 "bfe.u64": (a: u64, b: u32, c: u32) -> u64 = extract(a, b, c, 64, false);
    BfeS64 "bfe.s64": (a: u64, b: u32, c: u32) -> u64 = extract(a, b, c, 64, true);
    Bfi64 "bfi.b64": (a: u64, b: u64, c: u32, d: u32) -> u64 = insert(a, b, c, d, 64);

    // Singles
    RsqrtF32 "rsqrt.approx.f32": (a: f32) -> f32 = (1.0 / f64::from(a).sqrt()) as f32;
    SinF32 "sin.approx.f32": (a: f32) -> f32 = f64::from(a).sin() as f32;
    CosF32 "cos.approx.f32": (a: f32) -> f32 = f64::from(a).cos() as f32;
    Lg2F32 "lg2.approx.f32": (a: f32) -> f32 = f64::from(a).log2() as f32;
    Ex2F32 "ex2.approx.f32": (a: f32) -> f32 = f64::from(a).exp2() as f32;
    TanhF32 "tanh.approx.f32": (a: f32) -> f32 = f64::from(a).tanh() as f32;
    MinNanF32 "min.NaN.f32": (a: f32, b: f32) -> f32 = min32_nan(a, b);
    MaxNanF32 "max.NaN.f32": (a: f32, b: f32) -> f32 = max32_nan(a, b);
    CopysignF32 "copysign.f32": (a: f32, b: f32) -> f32 = b.copysign(a);
    FlushF16 "flush.f16": (a: u16) -> u16 = if a & 0x7c00 == 0 { a & 0x8000 } else { a };
    FlushBf16 "flush.bf16": (a: u16) -> u16 = if a & 0x7f80 == 0 { a & 0x8000 } else { a };
    FlushF16x2 "flush.f16x2":
        (a: u32) -> u32 = pairs([a], |[a]| if a & 0x7c00 == 0 { a & 0x8000 } else { a });
    FlushBf16x2 "flush.bf16x2":
        (a: u32) -> u32 = pairs([a], |[a]| if a & 0x7f80 == 0 { a & 0x8000 } else { a });
    AddRzF32 "add.rz.f32": (a: f32, b: f32) -> f32 = add_directed(a, b, Rounding::Zero);
    AddRmF32 "add.rm.f32": (a: f32, b: f32) -> f32 = add_directed(a, b, Rounding::Down);
    AddRpF32 "add.rp.f32": (a: f32, b: f32) -> f32 = add_directed(a, b, Rounding::Up);
    SubRzF32 "sub.rz.f32": (a: f32, b: f32) -> f32 = add_directed(a, -b, Rounding::Zero);
    SubRmF32 "sub.rm.f32": (a: f32, b: f32) -> f32 = add_directed(a, -b, Rounding::Down);
    SubRpF32 "sub.rp.f32": (a: f32, b: f32) -> f32 = add_directed(a, -b, Rounding::Up);
    MulRzF32 "mul.rz.f32": (a: f32, b: f32) -> f32 = mul_directed(a, b, Rounding::Zero);
    MulRmF32 "mul.rm.f32": (a: f32, b: f32) -> f32 = mul_directed(a, b, Rounding::Down);
    MulRpF32 "mul.rp.f32": (a: f32, b: f32) -> f32 = mul_directed(a, b, Rounding::Up);
    FmaRzF32 "fma.rz.f32": (a: f32, b: f32, c: f32) -> f32 = fma_directed(a, b, c, Rounding::Zero);
    FmaRmF32 "fma.rm.f32": (a: f32, b: f32, c: f32) -> f32 = fma_directed(a, b, c, Rounding::Down);
    FmaRpF32 "fma.rp.f32": (a: f32, b: f32, c: f32) -> f32 = fma_directed(a, b, c, Rounding::Up);
    DivRzF32 "div.rz.f32": (a: f32, b: f32) -> f32 = div_directed(a, b, Rounding::Zero);
    DivRmF32 "div.rm.f32": (a: f32, b: f32) -> f32 = div_directed(a, b, Rounding::Down);
    DivRpF32 "div.rp.f32": (a: f32, b: f32) -> f32 = div_directed(a, b, Rounding::Up);
    RcpRzF32 "rcp.rz.f32": (a: f32) -> f32 = div_directed(1.0, a, Rounding::Zero);
    RcpRmF32 "rcp.rm.f32": (a: f32) -> f32 = div_directed(1.0, a, Rounding::Down);
    RcpRpF32 "rcp.rp.f32": (a: f32) -> f32 = div_directed(1.0, a, Rounding::Up);
    SqrtRzF32 "sqrt.rz.f32": (a: f32) -> f32 = sqrt_directed(a, Rounding::Zero);
    SqrtRmF32 "sqrt.rm.f32": (a: f32) -> f32 = sqrt_directed(a, Rounding::Down);
    SqrtRpF32 "sqrt.rp.f32": (a: f32) -> f32 = sqrt_directed(a, Rounding::Up);

    // Doubles
    DivF64 "div.f64": (a: f64, b: f64) -> f64 = a / b;
    RcpF64 "rcp.f64" "rcp.approx.f64": (a: f64) -> f64 = 1.0 / a;
    SqrtF64 "sqrt.f64": (a: f64) -> f64 = a.sqrt();
    RsqrtF64 "rsqrt.approx.f64": (a: f64) -> f64 = 1.0 / a.sqrt();
    NegF64 "neg.f64": (a: f64) -> f64 = -a;
    AbsF64 "abs.f64": (a: f64) -> f64 = a.abs();
    MinF64 "min.f64": (a: f64, b: f64) -> f64 = min64(a, b);
    MaxF64 "max.f64": (a: f64, b: f64) -> f64 = max64(a, b);
    CopysignF64 "copysign.f64": (a: f64, b: f64) -> f64 = b.copysign(a);

    // Halves, alone and in pairs
    AddF16 "add.f16": (a: f16, b: f16) -> u16 = half2::<f16>(a.to_bits(), b.to_bits(), |a, b| a + b);
    SubF16 "sub.f16": (a: f16, b: f16) -> u16 = half2::<f16>(a.to_bits(), b.to_bits(), |a, b| a - b);
    MulF16 "mul.f16": (a: f16, b: f16) -> u16 = half2::<f16>(a.to_bits(), b.to_bits(), |a, b| a * b);
    FmaF16 "fma.f16": (a: u16, b: u16, c: u16) -> u16 = half_fma::<f16>(a, b, c);
    MinF16 "min.f16": (a: u16, b: u16) -> u16 = half_extreme::<f16>(a, b, false, false);
    MaxF16 "max.f16": (a: u16, b: u16) -> u16 = half_extreme::<f16>(a, b, true, false);
    MinNanF16 "min.NaN.f16": (a: u16, b: u16) -> u16 = half_extreme::<f16>(a, b, false, true);
    MaxNanF16 "max.NaN.f16": (a: u16, b: u16) -> u16 = half_extreme::<f16>(a, b, true, true);
    NegF16 "neg.f16" "neg.bf16": (a: u16) -> u16 = a ^ 0x8000;
    AbsF16 "abs.f16" "abs.bf16": (a: u16) -> u16 = a & 0x7fff;
    Ex2F16 "ex2.approx.f16": (a: u16) -> u16 = f16::narrow(f16::widen(a).exp2());
    TanhF16 "tanh.approx.f16": (a: u16) -> u16 = f16::narrow(f16::widen(a).tanh());
    AddBf16 "add.bf16": (a: u16, b: u16) -> u16 = half2::<bf16>(a, b, |a, b| a + b);
    SubBf16 "sub.bf16": (a: u16, b: u16) -> u16 = half2::<bf16>(a, b, |a, b| a - b);
    MulBf16 "mul.bf16": (a: u16, b: u16) -> u16 = half2::<bf16>(a, b, |a, b| a * b);
    FmaBf16 "fma.bf16": (a: u16, b: u16, c: u16) -> u16 = half_fma::<bf16>(a, b, c);
    MinBf16 "min.bf16": (a: u16, b: u16) -> u16 = half_extreme::<bf16>(a, b, false, false);
    MaxBf16 "max.bf16": (a: u16, b: u16) -> u16 = half_extreme::<bf16>(a, b, true, false);
    MinNanBf16 "min.NaN.bf16": (a: u16, b: u16) -> u16 = half_extreme::<bf16>(a, b, false, true);
    MaxNanBf16 "max.NaN.bf16": (a: u16, b: u16) -> u16 = half_extreme::<bf16>(a, b, true, true);
    Ex2Bf16 "ex2.approx.bf16": (a: u16) -> u16 = bf16::narrow(bf16::widen(a).exp2());
    TanhBf16 "tanh.approx.bf16": (a: u16) -> u16 = bf16::narrow(bf16::widen(a).tanh());
    AddF16x2 "add.f16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half2::<f16>(a, b, |a, b| a + b));
    SubF16x2 "sub.f16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half2::<f16>(a, b, |a, b| a - b));
    MulF16x2 "mul.f16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half2::<f16>(a, b, |a, b| a * b));
    FmaF16x2 "fma.f16x2":
        (a: u32, b: u32, c: u32) -> u32 = pairs([a, b, c], |[a, b, c]| half_fma::<f16>(a, b, c));
    MinF16x2 "min.f16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<f16>(a, b, false, false));
    MaxF16x2 "max.f16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<f16>(a, b, true, false));
    MinNanF16x2 "min.NaN.f16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<f16>(a, b, false, true));
    MaxNanF16x2 "max.NaN.f16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<f16>(a, b, true, true));
    NegF16x2 "neg.f16x2" "neg.bf16x2": (a: u32) -> u32 = a ^ 0x8000_8000;
    AbsF16x2 "abs.f16x2" "abs.bf16x2": (a: u32) -> u32 = a & 0x7fff_7fff;
    Ex2F16x2 "ex2.approx.f16x2": (a: u32) -> u32 = pairs([a], |[a]| f16::narrow(f16::widen(a).exp2()));
    TanhF16x2 "tanh.approx.f16x2": (a: u32) -> u32 = pairs([a], |[a]| f16::narrow(f16::widen(a).tanh()));
    AddBf16x2 "add.bf16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half2::<bf16>(a, b, |a, b| a + b));
    SubBf16x2 "sub.bf16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half2::<bf16>(a, b, |a, b| a - b));
    MulBf16x2 "mul.bf16x2": (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half2::<bf16>(a, b, |a, b| a * b));
    FmaBf16x2 "fma.bf16x2":
        (a: u32, b: u32, c: u32) -> u32 = pairs([a, b, c], |[a, b, c]| half_fma::<bf16>(a, b, c));
    MinBf16x2 "min.bf16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<bf16>(a, b, false, false));
    MaxBf16x2 "max.bf16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<bf16>(a, b, true, false));
    MinNanBf16x2 "min.NaN.bf16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<bf16>(a, b, false, true));
    MaxNanBf16x2 "max.NaN.bf16x2":
        (a: u32, b: u32) -> u32 = pairs([a, b], |[a, b]| half_extreme::<bf16>(a, b, true, true));
    Ex2Bf16x2 "ex2.approx.bf16x2": (a: u32) -> u32 = pairs([a], |[a]| bf16::narrow(bf16::widen(a).exp2()));
    TanhBf16x2 "tanh.approx.bf16x2": (a: u32) -> u32 = pairs([a], |[a]| bf16::narrow(bf16::widen(a).tanh()));

    // `.relu` and `.sat` of halves: negative values to +0; with `.sat` NaNs too, and above one to one.
    ReluF16 "relu.f16" "relu.bf16": (a: u16) -> u16 = if a & 0x8000 == 0 { a } else { 0 };
    ReluF16x2 "relu.f16x2" "relu.bf16x2":
        (a: u32) -> u32 = pairs([a], |[a]| if a & 0x8000 == 0 { a } else { 0 });
    SatF16 "saturate.f16": (a: u16) -> u16 = f16::narrow(f64::from(saturate(f16::widen(a) as f32)));
    SatF16x2 "saturate.f16x2":
        (a: u32) -> u32 = pairs([a], |[a]| f16::narrow(f64::from(saturate(f16::widen(a) as f32))));

    SatF64 "saturate.f64": (a: f64) -> f64 = if a > 0.0 { a.min(1.0) } else { 0.0 };
    ReluTf32 "relu.tf32": (a: u32) -> u32 = if a >> 31 == 0 { a } else { 0 };

    // `.satfinite` of what was rounded: an infinity to the largest number.
    FiniteF16 "finite.f16": (a: u16) -> u16 = if a & 0x7fff == 0x7c00 { a - 1 } else { a };
    FiniteBf16 "finite.bf16": (a: u16) -> u16 = if a & 0x7fff == 0x7f80 { a - 1 } else { a };
    FiniteF16x2 "finite.f16x2": (a: u32) -> u32 = pairs([a], |[a]| if a & 0x7fff == 0x7c00 { a - 1 } else { a });
    FiniteBf16x2 "finite.bf16x2": (a: u32) -> u32 = pairs([a], |[a]| if a & 0x7fff == 0x7f80 { a - 1 } else { a });
    FiniteTf32 "finite.tf32": (a: u32) -> u32 = if a & 0x7fff_ffff == 0x7f80_0000 { a - 0x2000 } else { a };

    // Conversion: integers are extended to 64 bits, then narrowed
    ExtU8 "ext.u8" "ext.b8": (a: u32) -> u64 = u64::from(a as u8);
    ExtS8 "ext.s8": (a: u32) -> i64 = i64::from(a as i8);
    ExtS16 "ext.s16": (a: i16) -> i64 = i64::from(a);
    NarrowU8 "narrow.u8": (a: u64) -> u32 = u32::from(a as u8);
    NarrowS8 "narrow.s8": (a: u64) -> i32 = i32::from(a as i8);
    NarrowS16 "narrow.s16": (a: u64) -> i32 = i32::from(a as i16);
    Truncate16 "truncate.b16": (a: u32) -> u16 = a as u16;
    SatU8FromS "clamp.u8.s64": (a: i64) -> i64 = a.clamp(0, 0xff);
    SatS8FromS "clamp.s8.s64": (a: i64) -> i64 = a.clamp(-0x80, 0x7f);
    SatU16FromS "clamp.u16.s64": (a: i64) -> i64 = a.clamp(0, 0xffff);
    SatS16FromS "clamp.s16.s64": (a: i64) -> i64 = a.clamp(-0x8000, 0x7fff);
    SatU32FromS "clamp.u32.s64": (a: i64) -> i64 = a.clamp(0, 0xffff_ffff);
    SatS32FromS "clamp.s32.s64": (a: i64) -> i64 = a.clamp(-0x8000_0000, 0x7fff_ffff);
    SatU64FromS "clamp.u64.s64": (a: i64) -> i64 = a.max(0);
    SatU8FromU "clamp.u8.u64": (a: u64) -> u64 = a.min(0xff);
    SatS8FromU "clamp.s8.u64": (a: u64) -> u64 = a.min(0x7f);
    SatU16FromU "clamp.u16.u64": (a: u64) -> u64 = a.min(0xffff);
    SatS16FromU "clamp.s16.u64": (a: u64) -> u64 = a.min(0x7fff);
    SatU32FromU "clamp.u32.u64": (a: u64) -> u64 = a.min(0xffff_ffff);
    SatS32FromU "clamp.s32.u64": (a: u64) -> u64 = a.min(0x7fff_ffff);
    SatS64FromU "clamp.s64.u64": (a: u64) -> u64 = a.min(i64::MAX as u64);
    F32FromS64 "float.f32.s64": (a: i64) -> f32 = a as f32;
    F32FromU64 "float.f32.u64": (a: u64) -> f32 = a as f32;
    F64FromS64 "float.f64.s64": (a: i64) -> f64 = a as f64;
    F64FromU64 "float.f64.u64": (a: u64) -> f64 = a as f64;
    OddFromS64 "odd.s64": (a: i64) -> f64 = odd_double(a.unsigned_abs(), a < 0);
    OddFromU64 "odd.u64": (a: u64) -> f64 = odd_double(a, false);
    F64FromF16 "widen.f16": (a: u16) -> f64 = f16::widen(a);
    F64FromBf16 "widen.bf16": (a: u16) -> f64 = bf16::widen(a);
    F64FromF32 "widen.f32" "cvt.f64.f32": (a: f32) -> f64 = f64::from(a);
    F32FromF16 "cvt.f32.f16": (a: f16) -> f32 = a.to_f32();
    F32FromF64 "round.rn.f32" "cvt.f32.f64": (a: f64) -> f32 = a as f32;
    RzF32FromF64 "round.rz.f32": (a: f64) -> f32 = round_single(a, Rounding::Zero);
    RmF32FromF64 "round.rm.f32": (a: f64) -> f32 = round_single(a, Rounding::Down);
    RpF32FromF64 "round.rp.f32": (a: f64) -> f32 = round_single(a, Rounding::Up);
    F16FromF64 "round.rn.f16": (a: f64) -> u16 = round_f16(a, Rounding::Nearest);
    RzF16FromF64 "round.rz.f16": (a: f64) -> u16 = round_f16(a, Rounding::Zero);
    RmF16FromF64 "round.rm.f16": (a: f64) -> u16 = round_f16(a, Rounding::Down);
    RpF16FromF64 "round.rp.f16": (a: f64) -> u16 = round_f16(a, Rounding::Up);
    Bf16FromF64 "round.rn.bf16": (a: f64) -> u16 = round_bf16(a, Rounding::Nearest);
    RzBf16FromF64 "round.rz.bf16": (a: f64) -> u16 = round_bf16(a, Rounding::Zero);
    RmBf16FromF64 "round.rm.bf16": (a: f64) -> u16 = round_bf16(a, Rounding::Down);
    RpBf16FromF64 "round.rp.bf16": (a: f64) -> u16 = round_bf16(a, Rounding::Up);
    Tf32Away "round.rna.tf32": (a: f32) -> u32 = round_tf32(a, false);
    Tf32Even "round.rn.tf32": (a: f32) -> u32 = round_tf32(a, true);
    Tf32Zero "round.rz.tf32": (a: u32) -> u32 = if a & 0x7fff_ffff > 0x7f80_0000 { 0x7fff_ffff } else { a & !0x1fff };
    ToIntegralRn "integral.rni": (a: f64) -> f64 = a.round_ties_even();
    ToIntegralRz "integral.rzi": (a: f64) -> f64 = a.trunc();
    ToIntegralRm "integral.rmi": (a: f64) -> f64 = a.floor();
    ToIntegralRp "integral.rpi": (a: f64) -> f64 = a.ceil();
    // A NaN becomes 0; from f64, and to 64 bits, the top bit alone.
    U8FromF32 "int.u8": (a: f64) -> u64 = u64::from(a as u8);
    U8FromF64 "int.u8.f64": (a: f64) -> u64 = if a.is_nan() { 1 << 7 } else { u64::from(a as u8) };
    U16FromF32 "int.u16": (a: f64) -> u64 = u64::from(a as u16);
    U16FromF64 "int.u16.f64": (a: f64) -> u64 = if a.is_nan() { 1 << 15 } else { u64::from(a as u16) };
    U32FromF32 "int.u32": (a: f64) -> u64 = u64::from(a as u32);
    U32FromF64 "int.u32.f64": (a: f64) -> u64 = if a.is_nan() { 1 << 31 } else { u64::from(a as u32) };
    S8FromF32 "int.s8": (a: f64) -> i64 = i64::from(a as i8);
    S8FromF64 "int.s8.f64": (a: f64) -> i64 = if a.is_nan() { i8::MIN.into() } else { i64::from(a as i8) };
    S16FromF32 "int.s16": (a: f64) -> i64 = i64::from(a as i16);
    S16FromF64 "int.s16.f64": (a: f64) -> i64 = if a.is_nan() { i16::MIN.into() } else { i64::from(a as i16) };
    S32FromF32 "int.s32": (a: f64) -> i64 = i64::from(a as i32);
    S32FromF64 "int.s32.f64": (a: f64) -> i64 = if a.is_nan() { i32::MIN.into() } else { i64::from(a as i32) };
    U64FromF64 "int.u64" "int.u64.f64": (a: f64) -> u64 = if a.is_nan() { 1 << 63 } else { a as u64 };
    S64FromF64 "int.s64" "int.s64.f64": (a: f64) -> i64 = if a.is_nan() { i64::MIN } else { a as i64 };
}
