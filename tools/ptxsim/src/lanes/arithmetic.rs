//! Functions of single values, where Rust's operators do not say what PTX means.

use half::{bf16, f16};

/// Rounding of a result that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards zero.
    Zero,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
}

/// PTX's canonical NaN.
const NAN32: f32 = f32::from_bits(0x7fff_ffff);

/// `max`: a NaN loses, and +0 beats -0.
#[inline(always)]
pub fn max32(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        return if b.is_nan() { NAN32 } else { b };
    }
    if b.is_nan() || a > b {
        a
    } else if b > a {
        b
    } else {
        f32::from_bits(a.to_bits() & b.to_bits())
    }
}

/// `min`: a NaN loses, and -0 beats +0.
#[inline(always)]
pub fn min32(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        return if b.is_nan() { NAN32 } else { b };
    }
    if b.is_nan() || a < b {
        a
    } else if b < a {
        b
    } else {
        f32::from_bits(a.to_bits() | b.to_bits())
    }
}

/// `max.NaN`
#[inline(always)]
pub fn max32_nan(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { NAN32 } else { max32(a, b) }
}

/// `min.NaN`
#[inline(always)]
pub fn min32_nan(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { NAN32 } else { min32(a, b) }
}

/// `max` of doubles.
#[inline(always)]
pub fn max64(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        return b;
    }
    if b.is_nan() || a > b {
        a
    } else if b > a {
        b
    } else {
        f64::from_bits(a.to_bits() & b.to_bits())
    }
}

/// `min` of doubles.
#[inline(always)]
pub fn min64(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        return b;
    }
    if b.is_nan() || a < b {
        a
    } else if b < a {
        b
    } else {
        f64::from_bits(a.to_bits() | b.to_bits())
    }
}

/// Subnormals to zero, sign kept (`.ftz`).
#[inline(always)]
pub fn flush(a: f32) -> f32 {
    if a.to_bits() & 0x7f80_0000 == 0 { f32::from_bits(a.to_bits() & 0x8000_0000) } else { a }
}

/// To 0..1, a NaN to 0 (`.sat`).
#[inline(always)]
pub fn saturate(a: f32) -> f32 {
    if a > 0.0 { if a < 1.0 { a } else { 1.0 } } else { 0.0 }
}

/// An exact value `high + low`, where `high` is the double nearest to it, rounded to a single.
pub fn directed(high: f64, low: f64, rounding: Rounding) -> f32 {
    let nearest = high as f32; // ties of a double rounding are decided below for the directed modes only
    if nearest.is_nan() || high.is_infinite() {
        return nearest;
    }
    let above = f64::from(nearest) > high || (f64::from(nearest) == high && low < 0.0);
    let below = f64::from(nearest) < high || (f64::from(nearest) == high && low > 0.0);
    let rounding = match (rounding, high > 0.0 || (high == 0.0 && low > 0.0)) {
        (Rounding::Zero, true) => Rounding::Down,
        (Rounding::Zero, false) => Rounding::Up,
        (other, _) => other,
    };
    match rounding {
        Rounding::Down if above => nearest.next_down(),
        Rounding::Up if below => nearest.next_up(),
        _ => nearest,
    }
}

/// The rounding error of `a + b` in doubles (Knuth's two-sum).
fn sum_error(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    (a - (sum - b_part)) + (b - b_part)
}

/// `a + b` of singles.
pub fn add_directed(a: f32, b: f32, rounding: Rounding) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let sum = a + b;
    if cancels(a, b, sum) {
        return if rounding == Rounding::Down { -0.0 } else { 0.0 };
    }
    directed(sum, sum_error(a, b, sum), rounding)
}

/// A sum is zero, and not that of two zeros with the same sign: the rounding decides its sign.
fn cancels(a: f64, b: f64, sum: f64) -> bool {
    sum == 0.0 && a.is_sign_negative() != b.is_sign_negative()
}

/// `a · b` of singles: exact in a double.
pub fn mul_directed(a: f32, b: f32, rounding: Rounding) -> f32 {
    directed(f64::from(a) * f64::from(b), 0.0, rounding)
}

/// `a · b + c` of singles.
pub fn fma_directed(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    if cancels(product, c, sum) {
        return if rounding == Rounding::Down { -0.0 } else { 0.0 };
    }
    directed(sum, sum_error(product, c, sum), rounding)
}

/// `a / b` of singles.
pub fn div_directed(a: f32, b: f32, rounding: Rounding) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let quotient = a / b;
    let remainder = (-quotient).mul_add(b, a);
    directed(quotient, if b < 0.0 { -remainder } else { remainder }, rounding)
}

/// The square root of a single.
pub fn sqrt_directed(a: f32, rounding: Rounding) -> f32 {
    let a = f64::from(a);
    let root = a.sqrt();
    directed(root, (-root).mul_add(root, a), rounding)
}

/// `prmt`: bytes of `b:a` chosen by nibbles of `c`, bit 3 replicates the byte's sign.
#[inline(always)]
pub fn permute(a: u32, b: u32, c: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut out = 0;
    for i in 0..4 {
        let selector = c >> (4 * i) & 15;
        let byte = (bytes >> (8 * (selector & 7))) as u32 & 0xff;
        let byte = if selector & 8 == 0 { byte } else { (byte >> 7) * 0xff };
        out |= byte << (8 * i);
    }
    out
}

/// `lop3`: each bit looked up in a table of eight.
#[inline(always)]
pub fn lookup3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut out = 0;
    for i in 0..8 {
        let term = (if i & 4 == 0 { !a } else { a })
            & (if i & 2 == 0 { !b } else { b })
            & (if i & 1 == 0 { !c } else { c });
        out |= term & 0u32.wrapping_sub(table >> i & 1);
    }
    out
}

/// `shf`: a funnel shift of `b:a`, `wrap` modulo 32 or clamped to 32.
#[inline(always)]
pub fn funnel(a: u32, b: u32, c: u32, left: bool, wrap: bool) -> u32 {
    let n = if wrap { c & 31 } else { c.min(32) };
    let both = u64::from(b) << 32 | u64::from(a);
    if left { ((both << n) >> 32) as u32 } else { (both >> n) as u32 }
}

/// `bfe` of up to 64 bits: `len` bits at `pos`, sign-extended if asked (past the top, the top bit of the type).
#[inline(always)]
pub fn extract(a: u64, pos: u32, len: u32, bits: u32, signed: bool) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    let sign = signed && a >> (pos + len - 1).min(bits - 1) & 1 == 1;
    let field = if pos >= bits { 0 } else { a >> pos };
    // Bits that the field really has; those above are the sign.
    let have = len.min(bits.saturating_sub(pos));
    let mask = if have >= 64 { !0 } else { (1u64 << have) - 1 };
    (field & mask) | if sign { !mask } else { 0 }
}

/// `bfi` of up to 64 bits: `len` low bits of `a` put at `pos` of `b`.
#[inline(always)]
pub fn insert(a: u64, b: u64, pos: u32, len: u32, bits: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if pos >= bits || len == 0 {
        return b;
    }
    let have = len.min(bits - pos);
    let mask = (if have >= 64 { !0 } else { (1u64 << have) - 1 }) << pos;
    (b & !mask) | (a << pos & mask)
}

/// `bfind`: the highest bit that differs from the sign, or all ones if there is none.
#[inline(always)]
pub fn find_high(a: u64, shift_amount: bool, bits: u32) -> u32 {
    if a == 0 {
        return !0;
    }
    let at = 63 - a.leading_zeros();
    if shift_amount { bits - 1 - at } else { at }
}

/// `dp4a`: four products of bytes, summed onto `c`.
#[inline(always)]
pub fn dot4(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let byte = |v: u32, i: u32, signed: bool| {
        let b = (v >> (8 * i)) as u8;
        if signed { i32::from(b as i8) } else { i32::from(b) }
    };
    (0..4).fold(c, |sum, i| sum.wrapping_add((byte(a, i, a_signed) * byte(b, i, b_signed)) as u32))
}

/// A function of both halves of a packed pair.
#[inline(always)]
pub fn pairs<const N: usize>(sources: [u32; N], f: impl Fn([u16; N]) -> u16) -> u32 {
    let half = |shift: u32| u32::from(f(sources.map(|s| (s >> shift) as u16)));
    half(0) | half(16) << 16
}

/// A 16-bit float format.
pub trait Half: Copy {
    /// From its bits.
    fn widen(bits: u16) -> f64;
    /// Rounded to nearest even.
    fn narrow(value: f64) -> u16;
}

impl Half for f16 {
    fn widen(bits: u16) -> f64 {
        f16::from_bits(bits).to_f64()
    }
    fn narrow(value: f64) -> u16 {
        round_f16(value, Rounding::Nearest)
    }
}

impl Half for bf16 {
    fn widen(bits: u16) -> f64 {
        f64::from(f32::from_bits(u32::from(bits) << 16))
    }
    fn narrow(value: f64) -> u16 {
        round_bf16(value, Rounding::Nearest)
    }
}

/// A binary function of halves, computed in doubles: one rounding, since the sum, difference and product of two
/// halves are exact there.
pub fn half2<H: Half>(a: u16, b: u16, f: impl Fn(f64, f64) -> f64) -> u16 {
    H::narrow(f(H::widen(a), H::widen(b)))
}

/// `a · b + c` of halves: the product is exact in a double. The sum is rounded to odd there, so that a product on a
/// tie of the half still shows which way a tiny addend moved it.
pub fn half_fma<H: Half>(a: u16, b: u16, c: u16) -> u16 {
    let (product, c) = (H::widen(a) * H::widen(b), H::widen(c));
    let sum = product + c;
    let error = sum_error(product, c, sum);
    let even = sum.to_bits() & 1 == 0;
    if !even || error == 0.0 || error.is_nan() {
        return H::narrow(sum);
    }
    H::narrow(if error > 0.0 { sum.next_up() } else { sum.next_down() })
}

/// `min` or `max` of halves: a NaN loses unless it shall win.
pub fn half_extreme<H: Half>(a: u16, b: u16, max: bool, nan_wins: bool) -> u16 {
    let (x, y) = (H::widen(a), H::widen(b));
    if x.is_nan() || y.is_nan() {
        return match (nan_wins, x.is_nan(), y.is_nan()) {
            (false, true, false) => b,
            (false, false, true) => a,
            _ => 0x7fff,
        };
    }
    if x == y {
        return if max { a & b } else { a | b }; // only ±0 differ in bits
    }
    if (x > y) == max { a } else { b }
}

/// The single nearest to, or next to, a double.
pub fn round_single(value: f64, rounding: Rounding) -> f32 {
    directed(value, 0.0, rounding)
}

/// An integer rounded towards odd to a double, so that a second rounding sees what this one dropped.
pub fn odd_double(magnitude: u64, negative: bool) -> f64 {
    let shift = 11 - magnitude.leading_zeros().min(11);
    let kept = magnitude >> shift;
    let odd = kept | u64::from(kept << shift != magnitude);
    let value = odd as f64 * (1u64 << shift) as f64;
    if negative { -value } else { value }
}

/// A double rounded towards odd to a single, so that a second rounding sees what this one dropped.
fn odd_single(value: f64) -> f32 {
    let single = directed(value, 0.0, Rounding::Zero);
    let inexact = single.is_finite() && f64::from(single) != value;
    f32::from_bits(single.to_bits() | u32::from(inexact))
}

/// A double rounded to half precision.
pub fn round_f16(value: f64, rounding: Rounding) -> u16 {
    if value.is_nan() {
        return 0x7fff;
    }
    let nearest = f16::from_f32(odd_single(value)); // `f16::from_f64` would round twice
    step(value, nearest.to_f64(), nearest.to_bits(), 0x7bff, rounding)
}

/// A double rounded to bfloat16.
pub fn round_bf16(value: f64, rounding: Rounding) -> u16 {
    if value.is_nan() {
        return 0x7fff;
    }
    let odd = odd_single(value).to_bits();
    let nearest = ((odd + 0x7fff + (odd >> 16 & 1)) >> 16) as u16;
    step(value, bf16::widen(nearest), nearest, 0x7f7f, rounding)
}

/// Moves a half that was rounded to nearest by one step where the mode asks for it.
fn step(value: f64, nearest_value: f64, nearest: u16, largest: u16, rounding: Rounding) -> u16 {
    let negative = value < 0.0;
    let magnitude = nearest & 0x7fff;
    let (inward, outward) = match rounding {
        Rounding::Nearest => return nearest,
        Rounding::Zero => (true, false),
        Rounding::Down => (!negative, negative),
        Rounding::Up => (negative, !negative),
    };
    let magnitude = if inward && nearest_value.abs() > value.abs() {
        if value.is_finite() { (magnitude - 1).min(largest) } else { magnitude }
    } else if outward && nearest_value.abs() < value.abs() {
        magnitude + 1
    } else {
        magnitude
    };
    magnitude | if value.is_sign_negative() { 0x8000 } else { 0 }
}

/// A single rounded to TF32 (10 bits of mantissa): to nearest, ties away from zero or to even.
#[inline(always)]
pub fn round_tf32(a: f32, ties_to_even: bool) -> u32 {
    let bits = a.to_bits();
    if bits & 0x7f80_0000 == 0x7f80_0000 {
        return if a.is_nan() { 0x7fff_ffff } else { bits };
    }
    let half = if ties_to_even { 0xfff + (bits >> 13 & 1) } else { 0x1000 };
    (bits + half) & !0x1fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_rounding_brackets_the_exact_value() {
        let third = 1.0f64 / 3.0;
        assert!(f64::from(round_single(third, Rounding::Down)) < third);
        assert!(f64::from(round_single(third, Rounding::Up)) > third);
        assert_eq!(round_single(third, Rounding::Zero), round_single(third, Rounding::Down));
        assert_eq!(round_single(-third, Rounding::Zero), round_single(-third, Rounding::Up));
        // 1 + 2^-60: the sum rounds to 1 in a double, the mode still sees the rest.
        let tiny = 2f32.powi(-60);
        assert_eq!(add_directed(1.0, tiny, Rounding::Up), 1f32.next_up());
        assert_eq!(add_directed(1.0, tiny, Rounding::Down), 1.0);
        assert_eq!(add_directed(1.0, -tiny, Rounding::Zero), 1f32.next_down());
        assert_eq!(add_directed(1.0, -1.0, Rounding::Down).to_bits(), (-0f32).to_bits());
        assert_eq!(div_directed(1.0, 3.0, Rounding::Up), (1f32 / 3.0).max(round_single(third, Rounding::Up)));
    }

    #[test]
    fn halves_round_once() {
        // Just above the tie between 1 and the next bf16: a single first would lose the excess.
        let tie = 1.0 + 2f64.powi(-8);
        assert_eq!(round_bf16(tie, Rounding::Nearest), 0x3f80);
        assert_eq!(round_bf16(tie + 2f64.powi(-40), Rounding::Nearest), 0x3f81);
        assert_eq!(round_bf16(tie, Rounding::Up), 0x3f81);
        assert_eq!(round_bf16(-tie, Rounding::Zero), 0xbf80);
        assert_eq!(round_f16(65520.0, Rounding::Nearest), 0x7c00);
        assert_eq!(round_f16(65520.0, Rounding::Zero), 0x7bff);
        assert_eq!(round_tf32(1.0 + 2f32.powi(-11), false), (1.0 + 2f32.powi(-10)).to_bits());
        assert_eq!(round_tf32(1.0 + 2f32.powi(-11), true), 1f32.to_bits());
    }

    #[test]
    fn fields_and_bytes_follow_the_manual() {
        assert_eq!(permute(0x3322_1100, 0x7766_5544, 0x7531), 0x7755_3311);
        assert_eq!(permute(0x0000_0080, 0, 0x8888), 0xffff_ffff);
        assert_eq!(lookup3(0xf0, 0xcc, 0xaa, 0x96) & 0xff, 0xf0 ^ 0xcc ^ 0xaa);
        assert_eq!(extract(0xf0, 4, 4, 32, false), 0xf);
        assert_eq!(extract(0xf0, 4, 4, 32, true), !0);
        assert_eq!(extract(0x8000_0000, 28, 8, 32, true) as u32, 0xffff_fff8);
        assert_eq!(insert(0xff, 0, 28, 8, 32), 0xf000_0000);
        assert_eq!(find_high(0x10, false, 32), 4);
        assert_eq!(find_high(0x10, true, 32), 27);
        assert_eq!(funnel(0x8000_0000, 1, 1, true, true), 3);
        assert_eq!(dot4(0x01ff_02fe, 0x0101_0101, 10, true, true), 10 + 1 - 1 + 2 - 2);
    }
}
