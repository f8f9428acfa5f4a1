//! Operands that sit where instructions go wrong.

use super::super::common::Random;
use super::super::exact::{BF16, F16, F32, F64, Format};
use super::super::form::mask;

pub fn bits64(random: &mut Random) -> u64 {
    u64::from(random.bits()) << 32 | u64::from(random.bits())
}

/// 0, ±1, the extremes, powers of two and their neighbours, small and any numbers.
pub fn integer(random: &mut Random, width: u32) -> u64 {
    let power = 1u64 << random.below(width);
    let value = match random.below(10) {
        0 => 0,
        1 => !0,
        2 => 1 << (width - 1),
        3 => (1 << (width - 1)) - 1,
        4 => power,
        5 => power - 1,
        6 => power.wrapping_neg(),
        7 => u64::from(random.below(300)),
        8 => u64::from(random.below(300)).wrapping_neg(),
        _ => bits64(random),
    };
    value & mask(width)
}

/// Zeros, subnormals, the extremes, infinities, NaNs, ties of narrower formats, small and any numbers.
pub fn float(random: &mut Random, format: Format) -> u64 {
    let (mantissa, one) = (format.mantissa, format.one());
    let ulp = 1 << mantissa;
    let magnitude = match random.below(16) {
        0 => 0,
        1 => 1,
        2 => ulp - 1,
        3 => bits64(random) % ulp,
        4 => ulp + u64::from(random.below(2)),
        5 => format.infinity() - 1 - u64::from(random.below(2)),
        6 => format.infinity(),
        7 => format.infinity() + 1 + bits64(random) % (ulp - 1),
        8 => one + u64::from(random.below(3)) - 1,
        // Small multiples of a half.
        9 | 10 => {
            let halves = 1 + u64::from(random.below(40));
            let top = halves.ilog2();
            one + (u64::from(top) << mantissa) - ulp + (((halves << mantissa) >> top) - ulp)
        }
        // Near a tie, with an exponent near 1, or any.
        11..=13 => {
            // The mantissas of f32, tf32 and f16, and bf16 end here.
            let ends: Vec<u32> = [23, 10, 7].iter().filter_map(|m| mantissa.checked_sub(*m)).collect();
            let low = match random.below(2) {
                0 => ends[random.below(ends.len() as u32) as usize].clamp(1, mantissa - 1),
                _ => 1 + random.below(mantissa - 1),
            };
            let tie = (bits64(random) % ulp) >> low << low | 1 << (low - 1);
            let near = tie.wrapping_add(u64::from(random.below(3))).wrapping_sub(1) % ulp;
            let exponent = match random.below(3) {
                0 => bits64(random) % (format.infinity() / ulp),
                _ => one / ulp + u64::from(random.below(24)) - 12,
            };
            exponent * ulp + near
        }
        14 => one + (u64::from(random.below(70)) << mantissa) % (format.infinity() - one),
        _ => bits64(random) % format.infinity(),
    };
    magnitude | if random.below(2) == 1 { format.sign() } else { 0 }
}

pub fn half(random: &mut Random) -> u64 {
    match random.below(3) {
        0 => float(random, F16),
        1 => float(random, BF16),
        _ => integer(random, 16),
    }
}

/// Any corner of a width; what the 32-bit ones mean is left open.
pub fn any(random: &mut Random, width: u32) -> u64 {
    match (width, random.below(4)) {
        (16, _) => half(random),
        (32, 0) => half(random) << 16 | half(random),
        (32, 1 | 2) => float(random, F32),
        (64, 0 | 1) => float(random, F64),
        (64, 2) => any(random, 32) << 32 | any(random, 32),
        _ => integer(random, width),
    }
}
