//! Exact binary arithmetic and correct rounding, by big integers: the truth that IEEE operations are held to.

use num_bigint::{BigInt, BigUint, Sign};

/// A binary floating-point format: IEEE 754's interchange formats, bfloat16 and tf32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the exponent.
    pub exponent: u32,
    /// Explicit bits of the significand.
    pub mantissa: u32,
}

/// binary16.
pub const F16: Format = Format { exponent: 5, mantissa: 10 };
/// bfloat16.
pub const BF16: Format = Format { exponent: 8, mantissa: 7 };
/// tf32, in the upper 19 of a word's 32 bits; here those 19 alone.
pub const TF32: Format = Format { exponent: 8, mantissa: 10 };
/// binary32.
pub const F32: Format = Format { exponent: 8, mantissa: 23 };
/// binary64.
pub const F64: Format = Format { exponent: 11, mantissa: 52 };

/// Direction of rounding; PTX's `.rn`, `.rna`, `.rz`, `.rm`, `.rp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero.
    Away,
    /// Toward zero.
    Zero,
    /// Toward negative infinity.
    Down,
    /// Toward positive infinity.
    Up,
}

/// The four directions of arithmetic with their PTX modifiers.
pub const ROUNDINGS: [(&str, Rounding); 4] =
    [("rn", Rounding::Nearest), ("rz", Rounding::Zero), ("rm", Rounding::Down), ("rp", Rounding::Up)];

impl Format {
    /// Bits of a value.
    pub fn width(self) -> u32 {
        1 + self.exponent + self.mantissa
    }

    /// Bytes that hold a value.
    pub fn bytes(self) -> usize {
        self.width().div_ceil(8).next_power_of_two() as usize
    }

    /// The sign's bit.
    pub fn sign(self) -> u64 {
        1 << (self.exponent + self.mantissa)
    }

    /// +∞.
    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.mantissa
    }

    /// PTX's canonical NaN: all ones but the sign.
    pub fn nan(self) -> u64 {
        self.sign() - 1
    }

    /// The nearest value to `value`.
    pub fn encode_f64(self, value: f64) -> u64 {
        Number::decode(value.to_bits(), F64).encode(self, Rounding::Nearest)
    }

    /// The value as a double, which holds every format here.
    pub fn to_f64(self, bits: u64) -> f64 {
        f64::from_bits(Number::decode(bits, self).encode(F64, Rounding::Nearest))
    }

    /// Whether the bits are those of a subnormal number.
    pub fn is_subnormal(self, bits: u64) -> bool {
        bits & self.infinity() == 0 && bits & (self.sign() - 1) != 0
    }

    /// The bits, or a zero of the same sign for a subnormal number: `.ftz`.
    pub fn flushed(self, bits: u64) -> u64 {
        if self.is_subnormal(bits) { bits & self.sign() } else { bits }
    }
}

/// A number without limits of range or precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// Not a number.
    Nan,
    /// An infinity; negative or not.
    Infinite(bool),
    /// `± magnitude * 2^exponent`; zeros have signs.
    Finite {
        /// Its sign.
        negative: bool,
        /// Its integer significand.
        magnitude: BigUint,
        /// Binary exponent of the significand's unit.
        exponent: i64,
    },
}

impl Number {
    /// What the bits stand for.
    pub fn decode(bits: u64, format: Format) -> Number {
        let negative = bits & format.sign() != 0;
        let mantissa = bits & ((1 << format.mantissa) - 1);
        let exponent = (bits & format.infinity()) >> format.mantissa;
        let smallest = 2 - (1i64 << (format.exponent - 1)) - i64::from(format.mantissa);
        match exponent {
            e if e + 1 == 1 << format.exponent && mantissa != 0 => Number::Nan,
            e if e + 1 == 1 << format.exponent => Number::Infinite(negative),
            0 => Number::Finite { negative, magnitude: mantissa.into(), exponent: smallest },
            e => Number::Finite {
                negative,
                magnitude: (mantissa | 1 << format.mantissa).into(),
                exponent: smallest + e as i64 - 1,
            },
        }
    }

    /// An integer; zero is positive.
    pub fn integer(value: i128) -> Number {
        Number::Finite { negative: value < 0, magnitude: value.unsigned_abs().into(), exponent: 0 }
    }

    /// The format's value in the given direction; overflow as IEEE 754 has it.
    pub fn encode(&self, format: Format, rounding: Rounding) -> u64 {
        let signed = |negative: bool, bits: u64| if negative { bits | format.sign() } else { bits };
        let (negative, magnitude, exponent) = match self {
            Number::Nan => return format.nan(),
            Number::Infinite(negative) => return signed(*negative, format.infinity()),
            Number::Finite { negative, magnitude, exponent } => (*negative, magnitude, *exponent),
        };
        if *magnitude == BigUint::ZERO {
            return signed(negative, 0);
        }
        let smallest = 2 - (1i64 << (format.exponent - 1));
        let leading = (exponent + magnitude.bits() as i64 - 1).max(smallest);
        let overflow = match rounding {
            Rounding::Zero => format.infinity() - 1,
            Rounding::Down if !negative => format.infinity() - 1,
            Rounding::Up if negative => format.infinity() - 1,
            _ => format.infinity(),
        };
        if leading - smallest + 2 >= 1 << format.exponent {
            return signed(negative, overflow);
        }
        let quotient =
            rounded(magnitude, leading - i64::from(format.mantissa) - exponent, negative, rounding);
        // The implicit one, and a carry out of the significand, add to the exponent of themselves.
        let bits = ((leading - smallest) as u64) << format.mantissa;
        let bits = bits + u64::try_from(&quotient).unwrap_or(u64::MAX >> 1);
        signed(negative, if bits >= format.infinity() { overflow } else { bits })
    }

    /// The integer in the given direction, for `cvt` and `.rni`; `None` for NaN and infinities.
    pub fn to_integer(&self, rounding: Rounding) -> Option<BigInt> {
        let Number::Finite { negative, magnitude, exponent } = self else { return None };
        let quotient = rounded(magnitude, -exponent, *negative, rounding);
        Some(BigInt::from_biguint(if *negative { Sign::Minus } else { Sign::Plus }, quotient))
    }

    /// The negated number.
    pub fn negated(self) -> Number {
        match self {
            Number::Nan => Number::Nan,
            Number::Infinite(negative) => Number::Infinite(!negative),
            Number::Finite { negative, magnitude, exponent } => {
                Number::Finite { negative: !negative, magnitude, exponent }
            }
        }
    }

    /// Sum; an exact zero of unlike signs is negative only when rounding down.
    pub fn plus(&self, other: &Number, rounding: Rounding) -> Number {
        match (self, other) {
            (Number::Nan, _) | (_, Number::Nan) => Number::Nan,
            (Number::Infinite(a), Number::Infinite(b)) if a != b => Number::Nan,
            (Number::Infinite(a), _) | (_, Number::Infinite(a)) => Number::Infinite(*a),
            (
                Number::Finite { negative: n, magnitude: m, exponent: e },
                Number::Finite { negative: o, magnitude: k, exponent: f },
            ) => {
                let low = *e.min(f);
                let integer = |negative: bool, magnitude: &BigUint, exponent: i64| {
                    let value = BigInt::from(magnitude << (exponent - low) as u64);
                    if negative { -value } else { value }
                };
                let sum = integer(*n, m, *e) + integer(*o, k, *f);
                let negative = match sum.sign() {
                    Sign::NoSign if n == o => *n,
                    Sign::NoSign => rounding == Rounding::Down,
                    sign => sign == Sign::Minus,
                };
                Number::Finite { negative, magnitude: sum.magnitude().clone(), exponent: low }
            }
        }
    }

    /// Product.
    pub fn times(&self, other: &Number) -> Number {
        match (self, other) {
            (Number::Nan, _) | (_, Number::Nan) => Number::Nan,
            (Number::Infinite(_), b) | (b, Number::Infinite(_)) if b.is_zero() => Number::Nan,
            (Number::Infinite(_), _) | (_, Number::Infinite(_)) => {
                Number::Infinite(self.is_negative() != other.is_negative())
            }
            (
                Number::Finite { negative: n, magnitude: m, exponent: e },
                Number::Finite { negative: o, magnitude: k, exponent: f },
            ) => Number::Finite { negative: n != o, magnitude: m * k, exponent: e + f },
        }
    }

    /// Quotient to 160 bits, with a sticky last bit, so that it rounds as the exact one does.
    pub fn over(&self, other: &Number) -> Number {
        let negative = self.is_negative() != other.is_negative();
        match (self, other) {
            (Number::Nan, _) | (_, Number::Nan) | (Number::Infinite(_), Number::Infinite(_)) => Number::Nan,
            (a, b) if a.is_zero() && b.is_zero() => Number::Nan,
            (Number::Infinite(_), _) => Number::Infinite(negative),
            (_, b) if b.is_zero() => Number::Infinite(negative),
            (_, Number::Infinite(_)) => Number::Finite { negative, magnitude: BigUint::ZERO, exponent: 0 },
            (
                Number::Finite { magnitude: m, exponent: e, .. },
                Number::Finite { magnitude: k, exponent: f, .. },
            ) => {
                let scaled = m << 160u32;
                let quotient = &scaled / k;
                let sticky = u32::from(&quotient * k != scaled);
                Number::Finite { negative, magnitude: (quotient << 1u32) + sticky, exponent: e - f - 161 }
            }
        }
    }

    /// Square root to 160 bits, with a sticky last bit.
    pub fn root(&self) -> Number {
        match self {
            Number::Finite { magnitude, .. } if *magnitude == BigUint::ZERO => self.clone(),
            Number::Infinite(false) => Number::Infinite(false),
            Number::Finite { negative: false, magnitude, exponent } => {
                let scaled = magnitude << (320 + exponent.rem_euclid(2)) as u64;
                let root = scaled.sqrt();
                let sticky = u32::from(&root * &root != scaled);
                let exponent = (exponent - exponent.rem_euclid(2)) / 2 - 161;
                Number::Finite { negative: false, magnitude: (root << 1u32) + sticky, exponent }
            }
            _ => Number::Nan,
        }
    }

    /// Whether it is a zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Number::Finite { magnitude, .. } if *magnitude == BigUint::ZERO)
    }

    /// Whether its sign is minus.
    pub fn is_negative(&self) -> bool {
        matches!(self, Number::Infinite(true) | Number::Finite { negative: true, .. })
    }
}

/// `magnitude / 2^shift` as an integer, rounded.
fn rounded(magnitude: &BigUint, shift: i64, negative: bool, rounding: Rounding) -> BigUint {
    if shift <= 0 {
        return magnitude << shift.unsigned_abs();
    }
    let quotient = magnitude >> shift as u64;
    let rest = magnitude - (&quotient << shift as u64);
    let half = BigUint::from(1u32) << (shift - 1) as u64;
    let up = match rounding {
        Rounding::Nearest => rest > half || rest == half && quotient.bit(0),
        Rounding::Away => rest >= half,
        Rounding::Zero => false,
        Rounding::Down => negative && rest != BigUint::ZERO,
        Rounding::Up => !negative && rest != BigUint::ZERO,
    };
    quotient + u32::from(up)
}
