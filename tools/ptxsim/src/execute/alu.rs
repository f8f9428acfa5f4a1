//! The arithmetic instructions, as one table: names as PTX spells them (without modifiers that the decoder turns
//! into instructions of their own: `.ftz`, `.sat`, `.relu`), types, and what a lane computes (PTX ISA, sections
//! "Integer arithmetic", "Floating point", "Half precision", "Logic and shift", "Data movement", "cvt").

use half::{bf16, f16};

use super::arithmetic::*;
use super::registers::{Cells, LANES, Reg, Value};

/// Operands of an arithmetic instruction: destination and up to four sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operands {
    /// Destination: a register, or a predicate for a test.
    pub d: Reg,
    /// Sources, those not used left at 0.
    pub s: [Reg; 4],
}

/// Width of what an instruction reads and writes, for the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Bits of the destination's cell, 1 for a predicate.
    pub out: u32,
    /// Number of sources.
    pub sources: usize,
    /// Bits of each source's cell.
    pub bits: [u32; 4],
}

const fn signature<const N: usize>(out: usize, sources: [usize; N]) -> Signature {
    let mut bits = [0; 4];
    let mut i = 0;
    while i < N {
        bits[i] = 8 * sources[i] as u32;
        i += 1;
    }
    Signature { out: 8 * out as u32, sources: N, bits }
}

macro_rules! cell_bytes {
    ($ty:ty) => {
        size_of::<<$ty as Value>::Cell>()
    };
}

macro_rules! alu {
    ($($name:ident $($key:literal)+ : ($($arg:ident: $ty:ty),+) -> $out:ty = $body:expr;)+) => {
        /// An arithmetic instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // named as in PTX; the table says what each does
        pub enum Alu { $($name),+ }

        impl Alu {
            /// By PTX name.
            pub fn named(name: &str) -> Option<Alu> {
                match name {
                    $($($key)|+ => Some(Alu::$name),)+
                    _ => None,
                }
            }

            /// What it reads and writes.
            pub fn signature(self) -> Signature {
                match self {
                    $(Alu::$name => const { signature(cell_bytes!($out), [$(cell_bytes!($ty)),+]) },)+
                }
            }

            /// Computes all lanes and writes those of `mask`.
            #[inline(always)]
            pub fn run(self, registers: &mut [Cells], operands: &Operands, mask: u32) {
                match self {
                    $(Alu::$name => lanes!(registers, operands, mask, ($($arg: $ty),+) -> $out, $body),)+
                }
            }
        }
    };
}

macro_rules! lanes {
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty) -> $out:ty, $body:expr) => {{
        let x = load::<$A>($r, $o.s[0]);
        store::<$out>($r, $o.d, $m, |l| {
            let $a = <$A>::get(x[l]);
            $body
        })
    }};
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty, $b:ident: $B:ty) -> $out:ty, $body:expr) => {{
        let (x, y) = (load::<$A>($r, $o.s[0]), load::<$B>($r, $o.s[1]));
        store::<$out>($r, $o.d, $m, |l| {
            let ($a, $b) = (<$A>::get(x[l]), <$B>::get(y[l]));
            $body
        })
    }};
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty) -> $out:ty, $body:expr) => {{
        let (x, y, z) = (load::<$A>($r, $o.s[0]), load::<$B>($r, $o.s[1]), load::<$C>($r, $o.s[2]));
        store::<$out>($r, $o.d, $m, |l| {
            let ($a, $b, $c) = (<$A>::get(x[l]), <$B>::get(y[l]), <$C>::get(z[l]));
            $body
        })
    }};
    ($r:ident, $o:ident, $m:ident, ($a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty, $d:ident: $D:ty)
        -> $out:ty, $body:expr) => {{
        let (x, y) = (load::<$A>($r, $o.s[0]), load::<$B>($r, $o.s[1]));
        let (z, w) = (load::<$C>($r, $o.s[2]), load::<$D>($r, $o.s[3]));
        store::<$out>($r, $o.d, $m, |l| {
            let ($a, $b) = (<$A>::get(x[l]), <$B>::get(y[l]));
            let ($c, $d) = (<$C>::get(z[l]), <$D>::get(w[l]));
            $body
        })
    }};
}

#[inline(always)]
fn load<V: Value>(registers: &[Cells], at: Reg) -> [V::Cell; LANES] {
    <V::Cell as super::registers::Cell>::load(registers, at)
}

#[inline(always)]
fn store<V: Value>(registers: &mut [Cells], at: Reg, mask: u32, f: impl Fn(usize) -> V) {
    let mut out: [V::Cell; LANES] = bytemuck::Zeroable::zeroed();
    for lane in 0..LANES {
        out[lane] = f(lane).put();
    }
    <V::Cell as super::registers::Cell>::store(registers, at, out, mask);
}

alu! {
    // Data movement
    Mov32 "mov.b32" "mov.u32" "mov.s32" "mov.f32" "mov.b16" "mov.u16" "mov.s16": (a: u32) -> u32 = a;
    Mov64 "mov.b64" "mov.u64" "mov.s64" "mov.f64": (a: u64) -> u64 = a;
    Pack16 "pack.b32.b16": (low: u16, high: u16) -> u32 = u32::from(low) | u32::from(high) << 16;
    Pack32 "pack.b64.b32": (low: u32, high: u32) -> u64 = u64::from(low) | u64::from(high) << 32;
    Pack8 "pack.b16.b8": (low: u32, high: u32) -> u16 = (low & 0xff | high << 8) as u16;
    Low8 "low.b8": (a: u32) -> u32 = a & 0xff;
    High8 "high.b8": (a: u32) -> u32 = a >> 8 & 0xff;
    Low16 "low.b16": (a: u32) -> u16 = a as u16;
    High16 "high.b16": (a: u32) -> u16 = (a >> 16) as u16;
    Low32 "low.b32" "narrow.u32" "narrow.s32": (a: u64) -> u32 = a as u32;
    High32 "high.b32": (a: u64) -> u32 = (a >> 32) as u32;
    Prmt "prmt.b32": (a: u32, b: u32, c: u32) -> u32 = permute(a, b, c);
    SlctU32 "slct.u32.s32" "slct.b32.s32" "slct.s32.s32" "slct.f32.s32":
        (a: u32, b: u32, c: i32) -> u32 = if c >= 0 { a } else { b };
    SlctF32 "slct.u32.f32" "slct.b32.f32" "slct.s32.f32" "slct.f32.f32":
        (a: u32, b: u32, c: f32) -> u32 = if c >= 0.0 { a } else { b };
    Slct64 "slct.u64.s32" "slct.b64.s32" "slct.s64.s32" "slct.f64.s32":
        (a: u64, b: u64, c: i32) -> u64 = if c >= 0 { a } else { b };

    // Integers of 16 bits
    Add16 "add.u16" "add.s16": (a: u16, b: u16) -> u16 = a.wrapping_add(b);
    Sub16 "sub.u16" "sub.s16": (a: u16, b: u16) -> u16 = a.wrapping_sub(b);
    MulLo16 "mul.lo.u16" "mul.lo.s16": (a: u16, b: u16) -> u16 = a.wrapping_mul(b);
    MulHiU16 "mul.hi.u16": (a: u16, b: u16) -> u16 = ((u32::from(a) * u32::from(b)) >> 16) as u16;
    MulHiS16 "mul.hi.s16": (a: i16, b: i16) -> i16 = ((i32::from(a) * i32::from(b)) >> 16) as i16;
    MulWideU16 "mul.wide.u16": (a: u16, b: u16) -> u32 = u32::from(a) * u32::from(b);
    MulWideS16 "mul.wide.s16": (a: i16, b: i16) -> i32 = i32::from(a) * i32::from(b);
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
    Shl16 "shl.b16": (a: u16, b: u32) -> u16 = a.checked_shl(b).unwrap_or(0);
    ShrU16 "shr.u16" "shr.b16": (a: u16, b: u32) -> u16 = a.checked_shr(b).unwrap_or(0);
    ShrS16 "shr.s16": (a: i16, b: u32) -> i16 = a >> b.min(15);
    And16 "and.b16": (a: u16, b: u16) -> u16 = a & b;
    Or16 "or.b16": (a: u16, b: u16) -> u16 = a | b;
    Xor16 "xor.b16": (a: u16, b: u16) -> u16 = a ^ b;
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
    Add32 "add.u32" "add.s32": (a: u32, b: u32) -> u32 = a.wrapping_add(b);
    Sub32 "sub.u32" "sub.s32": (a: u32, b: u32) -> u32 = a.wrapping_sub(b);
    AddSat32 "add.sat.s32": (a: i32, b: i32) -> i32 = a.saturating_add(b);
    SubSat32 "sub.sat.s32": (a: i32, b: i32) -> i32 = a.saturating_sub(b);
    MulLo32 "mul.lo.u32" "mul.lo.s32": (a: u32, b: u32) -> u32 = a.wrapping_mul(b);
    MulHiU32 "mul.hi.u32": (a: u32, b: u32) -> u32 = ((u64::from(a) * u64::from(b)) >> 32) as u32;
    MulHiS32 "mul.hi.s32": (a: i32, b: i32) -> i32 = ((i64::from(a) * i64::from(b)) >> 32) as i32;
    MulWideU32 "mul.wide.u32": (a: u32, b: u32) -> u64 = u64::from(a) * u64::from(b);
    MulWideS32 "mul.wide.s32": (a: i32, b: i32) -> i64 = i64::from(a) * i64::from(b);
    Mul24LoU "mul24.lo.u32": (a: u32, b: u32) -> u32 = (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff);
    Mul24LoS "mul24.lo.s32": (a: i32, b: i32) -> i32 = (a << 8 >> 8).wrapping_mul(b << 8 >> 8);
    MadLo32 "mad.lo.u32" "mad.lo.s32": (a: u32, b: u32, c: u32) -> u32 = a.wrapping_mul(b).wrapping_add(c);
    MadHiU32 "mad.hi.u32":
        (a: u32, b: u32, c: u32) -> u32 = (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c);
    MadHiS32 "mad.hi.s32":
        (a: i32, b: i32, c: i32) -> i32 = (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c);
    MadWideU32 "mad.wide.u32": (a: u32, b: u32, c: u64) -> u64 = (u64::from(a) * u64::from(b)).wrapping_add(c);
    MadWideS32 "mad.wide.s32": (a: i32, b: i32, c: i64) -> i64 = (i64::from(a) * i64::from(b)).wrapping_add(c);
    SadU32 "sad.u32": (a: u32, b: u32, c: u32) -> u32 = c.wrapping_add(a.abs_diff(b));
    SadS32 "sad.s32": (a: i32, b: i32, c: u32) -> u32 = c.wrapping_add(a.abs_diff(b));
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
    ShfLClamp "shf.l.clamp.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, true, false);
    ShfRWrap "shf.r.wrap.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, false, true);
    ShfRClamp "shf.r.clamp.b32": (a: u32, b: u32, c: u32) -> u32 = funnel(a, b, c, false, false);
    And32 "and.b32": (a: u32, b: u32) -> u32 = a & b;
    Or32 "or.b32": (a: u32, b: u32) -> u32 = a | b;
    Xor32 "xor.b32": (a: u32, b: u32) -> u32 = a ^ b;
    Not32 "not.b32": (a: u32) -> u32 = !a;
    Cnot32 "cnot.b32": (a: u32) -> u32 = u32::from(a == 0);
    Lop3 "lop3.b32": (a: u32, b: u32, c: u32, table: u32) -> u32 = lookup3(a, b, c, table);
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
    Add64 "add.u64" "add.s64": (a: u64, b: u64) -> u64 = a.wrapping_add(b);
    Sub64 "sub.u64" "sub.s64": (a: u64, b: u64) -> u64 = a.wrapping_sub(b);
    MulLo64 "mul.lo.u64" "mul.lo.s64": (a: u64, b: u64) -> u64 = a.wrapping_mul(b);
    MulHiU64 "mul.hi.u64": (a: u64, b: u64) -> u64 = ((u128::from(a) * u128::from(b)) >> 64) as u64;
    MulHiS64 "mul.hi.s64": (a: i64, b: i64) -> i64 = ((i128::from(a) * i128::from(b)) >> 64) as i64;
    MadLo64 "mad.lo.u64" "mad.lo.s64": (a: u64, b: u64, c: u64) -> u64 = a.wrapping_mul(b).wrapping_add(c);
    DivU64 "div.u64": (a: u64, b: u64) -> u64 = a.checked_div(b).unwrap_or(!0);
    DivS64 "div.s64": (a: i64, b: i64) -> i64 = if b == 0 { -1 } else { a.wrapping_div(b) };
    RemU64 "rem.u64": (a: u64, b: u64) -> u64 = a.checked_rem(b).unwrap_or(a);
    RemS64 "rem.s64": (a: i64, b: i64) -> i64 = if b == 0 { a } else { a.wrapping_rem(b) };
    NegS64 "neg.s64": (a: i64) -> i64 = a.wrapping_neg();
    AbsS64 "abs.s64": (a: i64) -> i64 = a.wrapping_abs();
    MinU64 "min.u64": (a: u64, b: u64) -> u64 = a.min(b);
    MinS64 "min.s64": (a: i64, b: i64) -> i64 = a.min(b);
    MaxU64 "max.u64": (a: u64, b: u64) -> u64 = a.max(b);
    MaxS64 "max.s64": (a: i64, b: i64) -> i64 = a.max(b);
    Shl64 "shl.b64": (a: u64, b: u32) -> u64 = if b < 64 { a << b } else { 0 };
    ShrU64 "shr.u64" "shr.b64": (a: u64, b: u32) -> u64 = if b < 64 { a >> b } else { 0 };
    ShrS64 "shr.s64": (a: i64, b: u32) -> i64 = a >> b.min(63);
    And64 "and.b64": (a: u64, b: u64) -> u64 = a & b;
    Or64 "or.b64": (a: u64, b: u64) -> u64 = a | b;
    Xor64 "xor.b64": (a: u64, b: u64) -> u64 = a ^ b;
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
    AddF32 "add.f32": (a: f32, b: f32) -> f32 = a + b;
    SubF32 "sub.f32": (a: f32, b: f32) -> f32 = a - b;
    MulF32 "mul.f32": (a: f32, b: f32) -> f32 = a * b;
    FmaF32 "fma.f32" "mad.f32": (a: f32, b: f32, c: f32) -> f32 = a.mul_add(b, c);
    DivF32 "div.f32" "div.full.f32" "div.approx.f32": (a: f32, b: f32) -> f32 = a / b;
    RcpF32 "rcp.f32" "rcp.approx.f32": (a: f32) -> f32 = 1.0 / a;
    SqrtF32 "sqrt.f32" "sqrt.approx.f32": (a: f32) -> f32 = a.sqrt();
    RsqrtF32 "rsqrt.approx.f32": (a: f32) -> f32 = (1.0 / f64::from(a).sqrt()) as f32;
    SinF32 "sin.approx.f32": (a: f32) -> f32 = f64::from(a).sin() as f32;
    CosF32 "cos.approx.f32": (a: f32) -> f32 = f64::from(a).cos() as f32;
    Lg2F32 "lg2.approx.f32": (a: f32) -> f32 = f64::from(a).log2() as f32;
    Ex2F32 "ex2.approx.f32": (a: f32) -> f32 = f64::from(a).exp2() as f32;
    TanhF32 "tanh.approx.f32": (a: f32) -> f32 = f64::from(a).tanh() as f32;
    NegF32 "neg.f32": (a: f32) -> f32 = -a;
    AbsF32 "abs.f32": (a: f32) -> f32 = a.abs();
    MinF32 "min.f32": (a: f32, b: f32) -> f32 = min32(a, b);
    MaxF32 "max.f32": (a: f32, b: f32) -> f32 = max32(a, b);
    MinNanF32 "min.NaN.f32": (a: f32, b: f32) -> f32 = min32_nan(a, b);
    MaxNanF32 "max.NaN.f32": (a: f32, b: f32) -> f32 = max32_nan(a, b);
    CopysignF32 "copysign.f32": (a: f32, b: f32) -> f32 = b.copysign(a);
    FlushF32 "flush.f32": (a: f32) -> f32 = flush(a);
    FlushF16 "flush.f16": (a: u16) -> u16 = if a & 0x7c00 == 0 { a & 0x8000 } else { a };
    FlushBf16 "flush.bf16": (a: u16) -> u16 = if a & 0x7f80 == 0 { a & 0x8000 } else { a };
    FlushF16x2 "flush.f16x2":
        (a: u32) -> u32 = pairs([a], |[a]| if a & 0x7c00 == 0 { a & 0x8000 } else { a });
    FlushBf16x2 "flush.bf16x2":
        (a: u32) -> u32 = pairs([a], |[a]| if a & 0x7f80 == 0 { a & 0x8000 } else { a });
    SatF32 "saturate.f32": (a: f32) -> f32 = saturate(a);
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
    AddF64 "add.f64": (a: f64, b: f64) -> f64 = a + b;
    SubF64 "sub.f64": (a: f64, b: f64) -> f64 = a - b;
    MulF64 "mul.f64": (a: f64, b: f64) -> f64 = a * b;
    FmaF64 "fma.f64" "mad.f64": (a: f64, b: f64, c: f64) -> f64 = a.mul_add(b, c);
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
    // `.relu` and `.sat` of halves: negative values and NaNs to +0; above one to one.
    ReluF16 "relu.f16" "relu.bf16": (a: u16) -> u16 = if a & 0x8000 == 0 { a } else { 0 };
    ReluF16x2 "relu.f16x2" "relu.bf16x2":
        (a: u32) -> u32 = pairs([a], |[a]| if a & 0x8000 == 0 { a } else { 0 });
    SatF16 "saturate.f16": (a: u16) -> u16 = f16::narrow(f64::from(saturate(f16::widen(a) as f32)));
    SatF16x2 "saturate.f16x2":
        (a: u32) -> u32 = pairs([a], |[a]| f16::narrow(f64::from(saturate(f16::widen(a) as f32))));

    // Conversion: integers are extended to 64 bits, then narrowed
    ExtU8 "ext.u8" "ext.b8": (a: u32) -> u64 = u64::from(a as u8);
    ExtS8 "ext.s8": (a: u32) -> i64 = i64::from(a as i8);
    ExtU16 "ext.u16" "ext.b16": (a: u16) -> u64 = u64::from(a);
    ExtS16 "ext.s16": (a: i16) -> i64 = i64::from(a);
    ExtU32 "ext.u32" "ext.b32": (a: u32) -> u64 = u64::from(a);
    ExtS32 "ext.s32": (a: i32) -> i64 = i64::from(a);
    NarrowU8 "narrow.u8": (a: u64) -> u32 = u32::from(a as u8);
    NarrowS8 "narrow.s8": (a: u64) -> i32 = i32::from(a as i8);
    NarrowU16 "narrow.u16": (a: u64) -> u32 = u32::from(a as u16);
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
    F64FromF16 "widen.f16": (a: u16) -> f64 = f16::widen(a);
    F64FromBf16 "widen.bf16": (a: u16) -> f64 = bf16::widen(a);
    F64FromF32 "widen.f32" "cvt.f64.f32": (a: f32) -> f64 = f64::from(a);
    F32FromF16 "cvt.f32.f16": (a: f16) -> f32 = a.to_f32();
    F32FromBf16 "cvt.f32.bf16": (a: u32) -> u32 = a << 16;
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
    Bf16FromF32 "cvt.bf16.f32": (a: u32) -> u16 = if a & 0x7fff_ffff > 0x7f80_0000 { 0x7fff } else {
        ((a + 0x7fff + (a >> 16 & 1)) >> 16) as u16
    };
    Tf32Away "round.rna.tf32": (a: f32) -> u32 = round_tf32(a, false);
    Tf32Even "round.rn.tf32": (a: f32) -> u32 = round_tf32(a, true);
    Tf32Zero "round.rz.tf32": (a: u32) -> u32 = if a & 0x7fff_ffff > 0x7f80_0000 { 0x7fff_ffff } else { a & !0x1fff };
    ToIntegralRn "integral.rni": (a: f64) -> f64 = a.round_ties_even();
    ToIntegralRz "integral.rzi": (a: f64) -> f64 = a.trunc();
    ToIntegralRm "integral.rmi": (a: f64) -> f64 = a.floor();
    ToIntegralRp "integral.rpi": (a: f64) -> f64 = a.ceil();
    U8FromF64 "int.u8": (a: f64) -> u64 = u64::from(a as u8);
    S8FromF64 "int.s8": (a: f64) -> i64 = i64::from(a as i8);
    U16FromF64 "int.u16": (a: f64) -> u64 = u64::from(a as u16);
    S16FromF64 "int.s16": (a: f64) -> i64 = i64::from(a as i16);
    U32FromF64 "int.u32": (a: f64) -> u64 = u64::from(a as u32);
    S32FromF64 "int.s32": (a: f64) -> i64 = i64::from(a as i32);
    U64FromF64 "int.u64": (a: f64) -> u64 = a as u64;
    S64FromF64 "int.s64": (a: f64) -> i64 = a as i64;
}
