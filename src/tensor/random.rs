//! Random numbers as a pure function of (name, seed, index): the same on every machine, in any order and
//! with any number of threads. `tools/reference/ref.py` holds the same generator.

/// Weyl increment of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// An endless stream of numbers, named and seeded; reading one leaves all others as they were.
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    index: u64,
}

impl Stream {
    /// The stream of this name (hashed by FNV-1a) and seed.
    pub fn new(name: &str, seed: u64) -> Self {
        let hash = name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
        Self { key: hash ^ seed.wrapping_mul(GOLDEN), index: 0 }
    }

    /// A stream of its own for `id`: `stream.fork(epoch).fork(sample)`.
    pub fn fork(&self, id: u64) -> Self {
        Self { key: mix(self.key ^ mix(id.wrapping_add(GOLDEN))), index: 0 }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.index += 1;
        mix(self.key.wrapping_add(self.index.wrapping_mul(GOLDEN)))
    }

    /// The next number in [0, 1), a multiple of 2⁻²⁴, exact in `f32`.
    pub fn next_unit(&mut self) -> f64 {
        (self.next_u64() >> 40) as f64 * (-24_f64).exp2()
    }

    /// The next number in [low, high).
    pub fn next_in(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next_unit()
    }

    /// The next integer in 0..n, by multiplication (bias below n·2⁻⁶⁴); 0 if n is 0.
    pub fn next_below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// `true` with probability `p`.
    pub fn next_bool(&mut self, p: f64) -> bool {
        self.next_unit() < p
    }
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent_of_each_other_and_of_order() {
        let root = Stream::new("sampler", 1);
        let (mut a, mut b) = (root.fork(0), root.fork(1));
        let (a0, b0) = (a.next_u64(), b.next_u64());
        assert_ne!(a0, b0);
        assert_eq!(root.fork(1).next_u64(), b0);
        assert_eq!(root.fork(0).next_u64(), a0);
    }

    #[test]
    fn numbers_stay_in_range_and_fill_it() {
        let mut s = Stream::new("range", 3);
        let mut seen = [0; 6];
        for _ in 0..6000 {
            let u = s.next_unit();
            assert!((0.0..1.0).contains(&u));
            seen[s.next_below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }
}
