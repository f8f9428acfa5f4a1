//! Seeded inputs: random values, and the special ones at which implementations differ.

use super::exact::Format;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// A generator whose seed is the name's hash (FNV-1a), so that each case has its own numbers for ever.
    pub fn new(name: &str) -> Random {
        Random(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)),
        )
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// An integer in `-limit..=limit`.
    pub fn small(&mut self, limit: i64) -> i64 {
        self.below(2 * limit as u64 + 1) as i64 - limit
    }

    /// One of `choices`.
    pub fn pick(&mut self, choices: &[u64]) -> u64 {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// `count` random 32-bit words.
    pub fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.word()).collect()
    }

    /// `count` random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.bits() >> 56) as u8).collect()
    }
}

/// Ones in the low `width` bits.
pub fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width.clamp(1, 64))
}

/// Integers of `width` bits at which operations differ.
pub fn special_integers(width: u32) -> Vec<u64> {
    let low: [i64; 14] = [0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 65, 0xff, 0x1234_5678];
    let top = 1u64 << (width - 1);
    let mut all: Vec<u64> = low.iter().flat_map(|v| [*v as u64, v.wrapping_neg() as u64]).collect();
    all.extend([
        top,
        top - 1,
        top + 1,
        top >> 1,
        0xffff,
        0x8000,
        0x7fff,
        0x5555_5555_5555_5555,
        0xaaaa_aaaa_aaaa_aaaa,
    ]);
    all.iter_mut().for_each(|v| *v &= mask(width));
    all.sort_unstable();
    all.dedup();
    all
}

/// A random integer of `width` bits, of random magnitude.
pub fn random_integer(random: &mut Random, width: u32) -> u64 {
    let value = (random.bits() as i64 >> random.below(u64::from(width))) as u64;
    value & mask(width)
}

/// Floats of a format at which operations differ: zeros, subnormals, halfway cases, infinities, NaNs.
pub fn special_floats(format: Format) -> Vec<u64> {
    let infinity = format.infinity();
    let one = format.encode_f64(1.0);
    let normal = 1u64 << format.mantissa;
    let mut all = vec![
        0,
        1,
        2,
        3,
        normal - 1,
        normal,
        normal + 1,
        2 * normal,
        one,
        one + 1,
        one - 1,
        infinity - 1,
        infinity,
        infinity + 1,
        format.nan(),
        infinity | 1 << (format.mantissa - 1),
    ];
    // Halfway to and beside the neighbours in narrower formats: one + 2^-8, 2^-11, 2^-12, 2^-24.
    for narrow in [7u32, 10, 23] {
        if narrow < format.mantissa {
            let ulp = 1u64 << (format.mantissa - narrow);
            all.extend([one + ulp / 2, one + ulp / 2 + 1, one + ulp / 2 - 1, one + ulp + ulp / 2]);
        }
    }
    let numbers = [
        0.25,
        0.5,
        0.75,
        1.5,
        2.0,
        2.5,
        3.0,
        3.5,
        10.0,
        127.5,
        128.0,
        255.5,
        256.0,
        1023.5,
        2047.0,
        2049.0,
        32767.5,
        32768.0,
        65504.0,
        65519.0,
        65520.0,
        65535.5,
        65536.0,
        8388607.5,
        8388608.5,
        16777217.0,
        2147483520.0,
        2147483647.0,
        2147483648.0,
        4294967040.0,
        4294967296.0,
        9.223372036854775e18,
        9.223372036854776e18,
        1.8446744073709552e19,
        1e-5,
        5.9604645e-8,
        2.9802322e-8,
        2.9802326e-8,
        1e-20,
        6.1035156e-5,
        6.1e-5,
        1e-40,
        3.3895e38,
        3.3961775e38,
        3.4e38,
        3.4028236e38,
        1e300,
        1e-310,
        std::f64::consts::PI,
        std::f64::consts::LN_2,
        -0.3,
    ];
    all.extend(numbers.iter().map(|v| format.encode_f64(*v)));
    let sign = format.sign();
    all.extend(all.clone().iter().map(|v| v | sign));
    all.sort_unstable();
    all.dedup();
    all
}

/// A random float: half of them any bits, half near one, where sums round.
pub fn random_float(random: &mut Random, format: Format) -> u64 {
    let bits = random.bits() & mask(format.width());
    if random.below(2) == 0 {
        return bits;
    }
    let bias = (1u64 << (format.exponent - 1)) - 1;
    let exponent = bias - 3 + random.below(7);
    bits & format.sign() | exponent << format.mantissa | bits & mask(format.mantissa)
}

/// Columns of operands: a product of the specials of two columns (or a sample, for three) and random rows.
pub struct Columns {
    /// Specials of each operand.
    pub specials: Vec<Vec<u64>>,
    /// Random rows to add.
    pub random: usize,
}

impl Columns {
    /// The rows, a multiple of 128 of them.
    pub fn rows(
        &self,
        random: &mut Random,
        mut value: impl FnMut(&mut Random, usize) -> u64,
    ) -> Vec<Vec<u64>> {
        let arity = self.specials.len();
        let mut rows: Vec<Vec<u64>> = Vec::new();
        match self.specials.as_slice() {
            [a] => rows.extend(a.iter().map(|x| vec![*x])),
            [a, b] => rows.extend(a.iter().flat_map(|x| b.iter().map(|y| vec![*x, *y]))),
            many => rows.extend((0..2048).map(|_| many.iter().map(|s| random.pick(s)).collect())),
        }
        let total = (rows.len() + self.random).next_multiple_of(128);
        while rows.len() < total {
            rows.push((0..arity).map(|k| value(random, k)).collect());
        }
        rows
    }
}
