//! Comparisons, which make predicates (PTX ISA, section "Comparison and selection instructions").

use half::{bf16, f16};

use super::alu::Signature;
use super::registers::{Cell, Cells, LANES, Reg, Value};

/// Neither is NaN.
#[inline(always)]
fn ordered<T: PartialOrd>(a: T, b: T) -> bool {
    a.partial_cmp(&b).is_some()
}

macro_rules! tests {
    ($($name:ident $($key:literal)+ : $ty:ty, |$a:ident, $b:ident| $body:expr;)+) => {
        /// A comparison of two values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // named as in PTX; the table says what each does
        pub enum Test { $($name),+ }

        impl Test {
            /// By operator and type: `lt.s32`.
            pub fn named(name: &str) -> Option<Test> {
                match name {
                    $($($key)|+ => Some(Test::$name),)+
                    _ => None,
                }
            }

            /// What it reads.
            pub fn signature(self) -> Signature {
                let bits = match self {
                    $(Test::$name => 8 * size_of::<<$ty as Value>::Cell>() as u32,)+
                };
                Signature { out: 1, sources: 2, bits: [bits, bits, 0, 0] }
            }

            /// The lanes for which it holds, whether active or not.
            #[inline]
            pub fn run<S: pulp::Simd>(self, simd: S, registers: &[Cells], a: Reg, b: Reg) -> u32 {
                match self {
                    $(Test::$name => {
                        struct Lanes<'a>(&'a [Cells], Reg, Reg);
                        impl pulp::NullaryFnOnce for Lanes<'_> {
                            type Output = u32;
                            #[inline(always)]
                            fn call(self) -> u32 {
                                let Lanes(registers, a, b) = self;
                                let x = <$ty as Value>::Cell::load(registers, a);
                                let y = <$ty as Value>::Cell::load(registers, b);
                                let mut bits = [0u32; LANES];
                                for lane in 0..LANES {
                                    let ($a, $b) = (<$ty>::get(x[lane]), <$ty>::get(y[lane]));
                                    bits[lane] = u32::from($body) << lane;
                                }
                                bits.iter().fold(0, |all, bit| all | bit)
                            }
                        }
                        simd.vectorize(Lanes(registers, a, b))
                    })+
                }
            }
        }
    };
}

tests! {
    Eq16 "eq.b16" "eq.u16" "eq.s16": u16, |a, b| a == b;
    Ne16 "ne.b16" "ne.u16" "ne.s16": u16, |a, b| a != b;
    LtU16 "lt.u16" "lo.u16": u16, |a, b| a < b;
    LeU16 "le.u16" "ls.u16": u16, |a, b| a <= b;
    GtU16 "gt.u16" "hi.u16": u16, |a, b| a > b;
    GeU16 "ge.u16" "hs.u16": u16, |a, b| a >= b;
    LtS16 "lt.s16": i16, |a, b| a < b;
    LeS16 "le.s16": i16, |a, b| a <= b;
    GtS16 "gt.s16": i16, |a, b| a > b;
    GeS16 "ge.s16": i16, |a, b| a >= b;
    Eq32 "eq.b32" "eq.u32" "eq.s32": u32, |a, b| a == b;
    Ne32 "ne.b32" "ne.u32" "ne.s32": u32, |a, b| a != b;
    LtU32 "lt.u32" "lo.u32": u32, |a, b| a < b;
    LeU32 "le.u32" "ls.u32": u32, |a, b| a <= b;
    GtU32 "gt.u32" "hi.u32": u32, |a, b| a > b;
    GeU32 "ge.u32" "hs.u32": u32, |a, b| a >= b;
    LtS32 "lt.s32": i32, |a, b| a < b;
    LeS32 "le.s32": i32, |a, b| a <= b;
    GtS32 "gt.s32": i32, |a, b| a > b;
    GeS32 "ge.s32": i32, |a, b| a >= b;
    Eq64 "eq.b64" "eq.u64" "eq.s64": u64, |a, b| a == b;
    Ne64 "ne.b64" "ne.u64" "ne.s64": u64, |a, b| a != b;
    LtU64 "lt.u64" "lo.u64": u64, |a, b| a < b;
    LeU64 "le.u64" "ls.u64": u64, |a, b| a <= b;
    GtU64 "gt.u64" "hi.u64": u64, |a, b| a > b;
    GeU64 "ge.u64" "hs.u64": u64, |a, b| a >= b;
    LtS64 "lt.s64": i64, |a, b| a < b;
    LeS64 "le.s64": i64, |a, b| a <= b;
    GtS64 "gt.s64": i64, |a, b| a > b;
    GeS64 "ge.s64": i64, |a, b| a >= b;
    EqF32 "eq.f32": f32, |a, b| a == b;
    NeF32 "ne.f32": f32, |a, b| a != b && ordered(a, b);
    LtF32 "lt.f32": f32, |a, b| a < b;
    LeF32 "le.f32": f32, |a, b| a <= b;
    GtF32 "gt.f32": f32, |a, b| a > b;
    GeF32 "ge.f32": f32, |a, b| a >= b;
    EquF32 "equ.f32": f32, |a, b| a == b || !ordered(a, b);
    NeuF32 "neu.f32": f32, |a, b| a != b;
    LtuF32 "ltu.f32": f32, |a, b| a < b || !ordered(a, b);
    LeuF32 "leu.f32": f32, |a, b| a <= b || !ordered(a, b);
    GtuF32 "gtu.f32": f32, |a, b| a > b || !ordered(a, b);
    GeuF32 "geu.f32": f32, |a, b| a >= b || !ordered(a, b);
    NumF32 "num.f32": f32, |a, b| ordered(a, b);
    NanF32 "nan.f32": f32, |a, b| !ordered(a, b);
    EqF64 "eq.f64": f64, |a, b| a == b;
    NeF64 "ne.f64": f64, |a, b| a != b && ordered(a, b);
    LtF64 "lt.f64": f64, |a, b| a < b;
    LeF64 "le.f64": f64, |a, b| a <= b;
    GtF64 "gt.f64": f64, |a, b| a > b;
    GeF64 "ge.f64": f64, |a, b| a >= b;
    EquF64 "equ.f64": f64, |a, b| a == b || !ordered(a, b);
    NeuF64 "neu.f64": f64, |a, b| a != b;
    LtuF64 "ltu.f64": f64, |a, b| a < b || !ordered(a, b);
    LeuF64 "leu.f64": f64, |a, b| a <= b || !ordered(a, b);
    GtuF64 "gtu.f64": f64, |a, b| a > b || !ordered(a, b);
    GeuF64 "geu.f64": f64, |a, b| a >= b || !ordered(a, b);
    NumF64 "num.f64": f64, |a, b| ordered(a, b);
    NanF64 "nan.f64": f64, |a, b| !ordered(a, b);
    EqF16 "eq.f16": f16, |a, b| a == b;
    NeF16 "ne.f16": f16, |a, b| a != b && ordered(a, b);
    LtF16 "lt.f16": f16, |a, b| a < b;
    LeF16 "le.f16": f16, |a, b| a <= b;
    GtF16 "gt.f16": f16, |a, b| a > b;
    GeF16 "ge.f16": f16, |a, b| a >= b;
    NeuF16 "neu.f16": f16, |a, b| a != b;
    NanF16 "nan.f16": f16, |a, b| !ordered(a, b);
    NumF16 "num.f16": f16, |a, b| ordered(a, b);
    EquF16 "equ.f16": f16, |a, b| a == b || !ordered(a, b);
    LtuF16 "ltu.f16": f16, |a, b| a < b || !ordered(a, b);
    LeuF16 "leu.f16": f16, |a, b| a <= b || !ordered(a, b);
    GtuF16 "gtu.f16": f16, |a, b| a > b || !ordered(a, b);
    GeuF16 "geu.f16": f16, |a, b| a >= b || !ordered(a, b);
    EqBf16 "eq.bf16": bf16, |a, b| a == b;
    NeBf16 "ne.bf16": bf16, |a, b| a != b && ordered(a, b);
    LtBf16 "lt.bf16": bf16, |a, b| a < b;
    LeBf16 "le.bf16": bf16, |a, b| a <= b;
    GtBf16 "gt.bf16": bf16, |a, b| a > b;
    GeBf16 "ge.bf16": bf16, |a, b| a >= b;
    NeuBf16 "neu.bf16": bf16, |a, b| a != b;
    NanBf16 "nan.bf16": bf16, |a, b| !ordered(a, b);
    NumBf16 "num.bf16": bf16, |a, b| ordered(a, b);
    EquBf16 "equ.bf16": bf16, |a, b| a == b || !ordered(a, b);
    LtuBf16 "ltu.bf16": bf16, |a, b| a < b || !ordered(a, b);
    LeuBf16 "leu.bf16": bf16, |a, b| a <= b || !ordered(a, b);
    GtuBf16 "gtu.bf16": bf16, |a, b| a > b || !ordered(a, b);
    GeuBf16 "geu.bf16": bf16, |a, b| a >= b || !ordered(a, b);
    // testp, with its operand twice
    FiniteF32 "finite.f32": f32, |a, _b| a.is_finite();
    InfiniteF32 "infinite.f32": f32, |a, _b| a.is_infinite();
    NotANumberF32 "notanumber.f32": f32, |a, _b| a.is_nan();
    NumberF32 "number.f32": f32, |a, _b| !a.is_nan();
    NormalF32 "normal.f32": f32, |a, _b| a.is_normal();
    SubnormalF32 "subnormal.f32": f32, |a, _b| a.is_subnormal();
    FiniteF64 "finite.f64": f64, |a, _b| a.is_finite();
    InfiniteF64 "infinite.f64": f64, |a, _b| a.is_infinite();
    NotANumberF64 "notanumber.f64": f64, |a, _b| a.is_nan();
    NumberF64 "number.f64": f64, |a, _b| !a.is_nan();
    NormalF64 "normal.f64": f64, |a, _b| a.is_normal();
    SubnormalF64 "subnormal.f64": f64, |a, _b| a.is_subnormal();
}
