//! Floating point by integers: a value is a 128-bit mantissa times a power of two, computed exactly (or with the
//! last bit set where something was dropped far below it) and rounded once.

use std::cmp::Ordering;

/// A binary format of IEEE 754's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the exponent.
    pub exponent: u32,
    /// Bits of the mantissa that are stored.
    pub mantissa: u32,
}

pub const F16: Format = Format { exponent: 5, mantissa: 10 };
pub const BF16: Format = Format { exponent: 8, mantissa: 7 };
pub const F32: Format = Format { exponent: 8, mantissa: 23 };
pub const F64: Format = Format { exponent: 11, mantissa: 52 };
/// Without the 13 bits below its mantissa.
pub const TF32: Format = Format { exponent: 8, mantissa: 10 };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }
    pub fn sign(self) -> u64 {
        1 << (self.exponent + self.mantissa)
    }
    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.mantissa
    }
    /// The canonical NaN: all ones but the sign.
    pub fn nan(self) -> u64 {
        self.sign() - 1
    }
    pub fn one(self) -> u64 {
        (self.bias() as u64) << self.mantissa
    }
    pub fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }
    /// A subnormal becomes a zero of its sign.
    pub fn flush(self, bits: u64) -> u64 {
        if bits & self.infinity() == 0 { bits & self.sign() } else { bits }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Nearest,
    /// To nearest, ties away from zero.
    Away,
    Zero,
    Down,
    Up,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Nan,
    Infinity(bool),
    /// ± mantissa · 2^exponent
    Number(bool, u128, i32),
}

use Value::{Infinity, Nan, Number};

pub fn decode(bits: u64, format: Format) -> Value {
    let mantissa = bits & ((1 << format.mantissa) - 1);
    let exponent = (bits & format.infinity()) >> format.mantissa;
    let negative = bits & format.sign() != 0;
    let least = 1 - format.bias() - format.mantissa as i32;
    match exponent {
        0 => Number(negative, mantissa.into(), least),
        _ if bits & format.infinity() != format.infinity() => {
            Number(negative, u128::from(mantissa | 1 << format.mantissa), least + exponent as i32 - 1)
        }
        _ if mantissa == 0 => Infinity(negative),
        _ => Nan,
    }
}

pub fn encode(value: Value, format: Format, mode: Mode) -> u64 {
    let sign = |negative: bool| if negative { format.sign() } else { 0 };
    let (negative, mantissa, exponent) = match value {
        Nan => return format.nan(),
        Infinity(negative) => return sign(negative) | format.infinity(),
        Number(negative, 0, _) => return sign(negative),
        Number(negative, mantissa, exponent) => (negative, mantissa, exponent),
    };
    let top = mantissa.ilog2() as i32;
    let unit = (exponent + top).max(1 - format.bias()) - format.mantissa as i32;
    let mut kept = match unit - exponent {
        shift if shift <= 0 => mantissa << -shift,
        shift if shift > 127 => 0,
        shift => mantissa >> shift,
    };
    if unit > exponent {
        let shift = (unit - exponent) as u32;
        // Twice the rest against one unit.
        let (inexact, half) = if shift > 127 {
            (true, Ordering::Less)
        } else {
            let rest = mantissa & ((1 << shift) - 1);
            (rest != 0, rest.cmp(&(1 << (shift - 1))))
        };
        let up = match mode {
            Mode::Nearest => half.is_gt() || half.is_eq() && kept & 1 == 1,
            Mode::Away => half.is_ge(),
            Mode::Zero => false,
            Mode::Down => inexact && negative,
            Mode::Up => inexact && !negative,
        };
        kept += u128::from(up);
    }
    let biased = (unit + format.mantissa as i32 + format.bias() - 1) as u64;
    let bits = (u128::from(biased) << format.mantissa) + kept;
    if bits < format.infinity().into() {
        return sign(negative) | bits as u64;
    }
    let inward = match mode {
        Mode::Nearest | Mode::Away => false,
        Mode::Zero => true,
        Mode::Down => !negative,
        Mode::Up => negative,
    };
    sign(negative) | (format.infinity() - u64::from(inward))
}

pub fn negate(a: Value) -> Value {
    match a {
        Nan => Nan,
        Infinity(negative) => Infinity(!negative),
        Number(negative, mantissa, exponent) => Number(!negative, mantissa, exponent),
    }
}

/// The mode decides the sign of a zero.
pub fn add(a: Value, b: Value, mode: Mode) -> Value {
    let (a, b) = match (a, b) {
        (Nan, _) | (_, Nan) => return Nan,
        (Infinity(a), Infinity(b)) => return if a == b { Infinity(a) } else { Nan },
        (Infinity(a), _) | (_, Infinity(a)) => return Infinity(a),
        (Number(a, 0, _), Number(b, 0, _)) => {
            return Number(if a == b { a } else { mode == Mode::Down }, 0, 0);
        }
        (Number(_, 0, _), other) | (other, Number(_, 0, _)) => return other,
        (Number(an, am, ae), Number(bn, bm, be)) => ((an, am, ae), (bn, bm, be)),
    };
    // The mantissas with their top bit at 126: the smaller one is shifted to the place of the larger one.
    let normal = |(negative, mantissa, exponent): (bool, u128, i32)| {
        let shift = 126 - mantissa.ilog2();
        (negative, mantissa << shift, exponent - shift as i32)
    };
    let (a, b) = (normal(a), normal(b));
    let (large, small) = if (a.2, a.1) >= (b.2, b.1) { (a, b) } else { (b, a) };
    let gap = (large.2 - small.2).min(127) as u32;
    let shifted = small.1 >> gap;
    let dropped = shifted << gap != small.1;
    let small_mantissa = shifted | u128::from(dropped);
    let mantissa = if large.0 == small.0 { large.1 + small_mantissa } else { large.1 - small_mantissa };
    Number(if mantissa == 0 { mode == Mode::Down } else { large.0 }, mantissa, large.2)
}

pub fn mul(a: Value, b: Value) -> Value {
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinity(a), Infinity(b)) => Infinity(a != b),
        (Infinity(_), Number(_, 0, _)) | (Number(_, 0, _), Infinity(_)) => Nan,
        (Infinity(a), Number(b, ..)) | (Number(b, ..), Infinity(a)) => Infinity(a != b),
        (Number(an, am, ae), Number(bn, bm, be)) => Number(an != bn, am * bm, ae + be),
    }
}

pub fn div(a: Value, b: Value) -> Value {
    match (a, b) {
        (Nan, _) | (_, Nan) | (Infinity(_), Infinity(_)) | (Number(_, 0, _), Number(_, 0, _)) => Nan,
        (Infinity(a), Number(b, ..)) | (Number(a, ..), Number(b, 0, _)) => Infinity(a != b),
        (Number(a, ..), Infinity(b)) => Number(a != b, 0, 0),
        (Number(an, am, ae), Number(bn, bm, be)) => {
            let shift = if am == 0 { 0 } else { 126 - am.ilog2() };
            let am = am << shift;
            Number(an != bn, am / bm | u128::from(am % bm != 0), ae - shift as i32 - be)
        }
    }
}

pub fn sqrt(a: Value) -> Value {
    match a {
        Number(true, mantissa, _) if mantissa != 0 => Nan,
        Number(negative, 0, _) => Number(negative, 0, 0),
        Number(_, mantissa, exponent) => {
            let shift = 124 - mantissa.ilog2() as i32;
            let shift = shift - (exponent - shift) % 2;
            let square = mantissa << shift;
            let root = square.isqrt();
            // One more bit below the root for what is left.
            Number(false, root << 1 | u128::from(root * root != square), (exponent - shift) / 2 - 1)
        }
        Infinity(false) => a,
        _ => Nan,
    }
}

pub fn compare(a: Value, b: Value) -> Option<Ordering> {
    if let (Infinity(a), Infinity(b)) = (a, b) {
        return Some(b.cmp(&a));
    }
    match add(a, negate(b), Mode::Nearest) {
        Nan => None,
        Infinity(negative) => Some(if negative { Ordering::Less } else { Ordering::Greater }),
        Number(_, 0, _) => Some(Ordering::Equal),
        Number(negative, ..) => Some(if negative { Ordering::Less } else { Ordering::Greater }),
    }
}

pub fn from_integer(a: i128) -> Value {
    Number(a < 0, a.unsigned_abs(), 0)
}

/// To an integer, as a value that keeps its sign; what is far out of any range stays so.
pub fn integral(a: Value, mode: Mode) -> Value {
    let Number(negative, mantissa, exponent) = a else { return a };
    if exponent >= 0 || mantissa == 0 {
        return a;
    }
    let shift = exponent.unsigned_abs();
    let (kept, half, inexact) = if shift > 127 {
        (0, Ordering::Less, true)
    } else {
        let rest = mantissa & ((1 << shift) - 1);
        (mantissa >> shift, rest.cmp(&(1 << (shift - 1))), rest != 0)
    };
    let up = match mode {
        Mode::Nearest => half.is_gt() || half.is_eq() && kept & 1 == 1,
        Mode::Away => half.is_ge(),
        Mode::Zero => false,
        Mode::Down => inexact && negative,
        Mode::Up => inexact && !negative,
    };
    Number(negative, kept + u128::from(up), 0)
}

/// An integral value cut to a range.
pub fn clamp(a: Value, least: i128, most: i128) -> i128 {
    match a {
        Nan => 0,
        Infinity(negative) => {
            if negative {
                least
            } else {
                most
            }
        }
        Number(_, 0, _) => 0i128.clamp(least, most),
        Number(negative, mantissa, exponent) => {
            let wide = mantissa.ilog2() as i32 + exponent > 100;
            let magnitude = if wide { 1 << 100 } else { (mantissa << exponent) as i128 };
            (if negative { -magnitude } else { magnitude }).clamp(least, most)
        }
    }
}
