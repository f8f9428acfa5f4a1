//! Conversions of 16-bit floats, written without branches so that loops over them become vector code.

/// Exact value of an f16. NaNs stay NaNs.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    // The magnitude, read as an f32, is too small by 2^112, subnormals included.
    let magnitude = f32::from_bits((u32::from(bits) & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    let special = if magnitude >= 65536.0 { f32::INFINITY.to_bits() } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (u32::from(bits) & 0x8000) << 16)
}

/// Nearest f16, ties to even; too large becomes infinite, NaN the canonical 0x7fff. In the low half
/// of a word.
#[inline(always)]
pub fn f32_to_f16(value: f32) -> u32 {
    let sign = (value.to_bits() >> 16) & 0x8000;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    // Adding one half puts the last place of an f16 subnormal into the last place of the sum.
    let half = f32::from_bits((127 - 1) << 23);
    let subnormal = (f32::from_bits(magnitude) + half).to_bits().wrapping_sub(half.to_bits());
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    let finite = if magnitude < 113 << 23 { subnormal } else { normal };
    let rounded = if magnitude >= 0x4780_0000 { 0x7c00 } else { finite };
    if magnitude > 0x7f80_0000 { 0x7fff } else { rounded | sign }
}

/// The value itself, or PTX's canonical NaN.
#[inline(always)]
pub fn canonical(value: f32) -> u32 {
    if value.is_nan() { 0x7fff_ffff } else { value.to_bits() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn widening_agrees_with_half_on_every_f16() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#x}");
        }
    }

    #[test]
    fn narrowing_agrees_with_half_at_and_around_every_tie() {
        let mut checked = 0u32;
        for bits in 0..=u16::MAX {
            let centre = f16::from_bits(bits).to_f32().to_bits();
            for low in [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff] {
                let value = f32::from_bits(centre.wrapping_add(low));
                let expected = if value.is_nan() { 0x7fff } else { f16::from_f32(value).to_bits() };
                assert_eq!(f32_to_f16(value), u32::from(expected), "{value:e}");
                checked += 1;
            }
        }
        for step in 0..1u32 << 20 {
            let value = f32::from_bits(step << 12 | step & 0xfff);
            let expected = if value.is_nan() { 0x7fff } else { f16::from_f32(value).to_bits() };
            assert_eq!(f32_to_f16(value), u32::from(expected), "{value:e}");
        }
        assert_eq!(checked, 65536 * 6);
    }
}
