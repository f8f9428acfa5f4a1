//! Constants (PTX ISA, section 4.5 "Constants").

/// A constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    /// An integer, as two's complement.
    Integer(i64),
    /// The bits of a single: `0f3F800000`.
    Single(u32),
    /// The bits of a double: `0d3FF0000000000000`, or a decimal.
    Double(u64),
}

impl Constant {
    /// Reads an unsigned constant: decimal, `0x`, octal `0`, `0b`, each with an optional `U`; `0f`, `0d`; decimal
    /// floating point. `None` if it is none of them, or does not fit.
    pub(super) fn read(text: &str) -> Option<Self> {
        let prefix = text.get(..2).unwrap_or_default();
        let digits = text.get(2..).unwrap_or_default();
        match prefix {
            "0f" | "0F" => Some(Self::Single(u32::try_from(hexadecimal(digits, 8)?).ok()?)),
            "0d" | "0D" => Some(Self::Double(hexadecimal(digits, 16)?)),
            "0x" | "0X" => integer(digits, 16),
            "0b" | "0B" => integer(digits, 2),
            _ if text.contains(['.', 'e', 'E']) => {
                let plain =
                    text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
                text.parse().ok().filter(|_| plain).map(|value: f64| Self::Double(value.to_bits()))
            }
            _ => match text.strip_prefix('0') {
                None | Some("" | "U") => integer(text, 10),
                Some(digits) => integer(digits, 8),
            },
        }
    }

    /// The negative of the constant.
    pub(super) fn negative(self) -> Self {
        match self {
            Self::Integer(value) => Self::Integer(value.wrapping_neg()),
            Self::Single(bits) => Self::Single(bits ^ 1 << 31),
            Self::Double(bits) => Self::Double(bits ^ 1 << 63),
        }
    }
}

/// An integer of 64 bits with an optional `U`.
fn integer(digits: &str, radix: u32) -> Option<Constant> {
    let value = unsigned(digits.strip_suffix('U').unwrap_or(digits), radix)?;
    Some(Constant::Integer(value.cast_signed()))
}

/// Exactly `length` hexadecimal digits.
fn hexadecimal(digits: &str, length: usize) -> Option<u64> {
    if digits.len() == length { unsigned(digits, 16) } else { None }
}

/// Digits without a sign, which `from_str_radix` would take.
fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_base() {
        for (text, value) in [
            ("0", 0),
            ("0U", 0),
            ("42", 42),
            ("42U", 42),
            ("0x2a", 42),
            ("0X2AU", 42),
            ("052", 42),
            ("052U", 42),
            ("0b101010", 42),
            ("0B101010U", 42),
            ("9223372036854775807", i64::MAX),
            ("18446744073709551615", -1),
            ("0x8000000000000000", i64::MIN),
        ] {
            assert_eq!(Constant::read(text), Some(Constant::Integer(value)), "{text}");
        }
    }

    #[test]
    fn floats_as_bits_and_as_decimals() {
        assert_eq!(Constant::read("0f3F800000"), Some(Constant::Single(1f32.to_bits())));
        assert_eq!(Constant::read("0Fff800000"), Some(Constant::Single(f32::NEG_INFINITY.to_bits())));
        assert_eq!(Constant::read("0d3FF0000000000000"), Some(Constant::Double(1f64.to_bits())));
        assert_eq!(Constant::read("0D7FF8000000000000"), Some(Constant::Double(f64::NAN.to_bits())));
        for (text, value) in
            [("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1e3), ("2.5E-1", 0.25), ("0.1", 0.1)]
        {
            assert_eq!(Constant::read(text), Some(Constant::Double(f64::to_bits(value))), "{text}");
        }
    }

    #[test]
    fn what_is_no_constant() {
        for text in [
            "",
            "U",
            "08",
            "0x",
            "0xg",
            "0b2",
            "0b",
            "1a",
            "0f",
            "0f3F80000",
            "0f3F8000000",
            "0f+F800000",
            "0d1",
            "1..2",
            "1.5U",
            "1e",
            "1.0f",
            "18446744073709551616",
            "0x10000000000000000",
            "00000000000000000000008",
            "0f3F8é00",
            "1_0",
            "1UU",
            "0x+1",
        ] {
            assert_eq!(Constant::read(text), None, "{text}");
        }
    }

    #[test]
    fn negatives() {
        assert_eq!(Constant::Integer(i64::MIN).negative(), Constant::Integer(i64::MIN));
        assert_eq!(Constant::Integer(3).negative(), Constant::Integer(-3));
        assert_eq!(Constant::Single(0).negative(), Constant::Single(1 << 31));
        assert_eq!(Constant::Double(1f64.to_bits()).negative(), Constant::Double((-1f64).to_bits()));
    }
}
