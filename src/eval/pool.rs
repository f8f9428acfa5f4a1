//! From the maps of one clip to one vector.

use serde::Serialize;

/// How a clip's map becomes a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Mean over time and space: C numbers
    Gavg,
    /// Mean over space at each time slot: T·C numbers
    Savg,
    /// 1×2×2 max-pool as in VCOP's retrieval: T·⌊H/2⌋·⌊W/2⌋·C numbers
    Vcop,
}

impl Pool {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gavg => "gavg",
            Self::Savg => "savg",
            Self::Vcop => "vcop",
        }
    }

    /// Whether it starts from the feature map `(T, H, W, C)`; the others start from its slots `(T, C)`.
    pub fn wants_map(self) -> bool {
        self == Self::Vcop
    }

    /// Numbers that it makes of a map of extents `(T, H, W, C)`.
    pub fn dim(self, [t, h, w, c]: [usize; 4]) -> usize {
        match self {
            Self::Gavg => c,
            Self::Savg => t * c,
            Self::Vcop => t * places(h) * places(w) * c,
        }
    }

    /// Pools one clip: `from` is its slots `(T, C)` or, for [`Pool::Vcop`], its map.
    pub fn apply(self, from: &[f32], [t, h, w, c]: [usize; 4], to: &mut [f32]) {
        match self {
            Self::Gavg => {
                for j in 0..c {
                    let sum: f64 = (0..t).map(|n| f64::from(from[n * c + j])).sum();
                    to[j] = (sum / t as f64) as f32;
                }
            }
            Self::Savg => to.copy_from_slice(from),
            Self::Vcop => max_pool(from, [t, h, w, c], to),
        }
    }
}

/// Windows of 2 along an extent: an odd tail is dropped, but a single place stays.
fn places(extent: usize) -> usize {
    (extent / 2).max(1)
}

/// Windows of 1×2×2, stride 2.
fn max_pool(map: &[f32], [t, h, w, c]: [usize; 4], to: &mut [f32]) {
    let (ph, pw) = (places(h), places(w));
    for (i, to) in to.chunks_exact_mut(c).enumerate() {
        let (n, y, x) = (i / (ph * pw), i / pw % ph, i % pw);
        debug_assert!(n < t);
        to.fill(f32::NEG_INFINITY);
        for dy in 0..h.min(2) {
            for dx in 0..w.min(2) {
                let at = ((n * h + 2 * y + dy) * w + 2 * x + dx) * c;
                for (to, &v) in to.iter_mut().zip(&map[at..at + c]) {
                    *to = if v > *to || v.is_nan() { v } else { *to };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_over_slots() {
        let slots = [1.0, 10.0, 3.0, 30.0, 5.0, 80.0]; // (3, 2)
        let mut out = [0.0; 2];
        Pool::Gavg.apply(&slots, [3, 9, 9, 2], &mut out);
        assert_eq!(out, [3.0, 40.0]);
        let mut out = [0.0; 6];
        Pool::Savg.apply(&slots, [3, 9, 9, 2], &mut out);
        assert_eq!(out, slots);
    }

    #[test]
    fn the_largest_of_each_window_and_no_odd_tail() {
        let extents @ [t, h, w, c] = [2, 3, 5, 2];
        let map: Vec<f32> = (0..t * h * w * c).map(|i| (i * 37 % 101) as f32 - 60.0).collect();
        let mut out = vec![0.0; Pool::Vcop.dim(extents)];
        Pool::Vcop.apply(&map, extents, &mut out);
        assert_eq!(out.len(), 2 * 2 * 2);
        let at = |n, y, x, j| map[((n * h + y) * w + x) * c + j];
        for n in 0..t {
            for x in 0..2 {
                for j in 0..c {
                    let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| at(n, a, 2 * x + b, j));
                    assert_eq!(out[(n * 2 + x) * c + j], window.into_iter().fold(f32::MIN, f32::max));
                }
            }
        }
    }

    #[test]
    fn a_map_of_one_place_stays() {
        let mut out = [0.0; 3];
        Pool::Vcop.apply(&[1.0, -2.0, 3.0], [3, 1, 1, 1], &mut out);
        assert_eq!(out, [1.0, -2.0, 3.0]);
        Pool::Vcop.apply(&[1.0, 5.0, 2.0, 0.0, 9.0, -1.0], [3, 1, 2, 1], &mut out);
        assert_eq!(out, [5.0, 2.0, 9.0]);
    }
}
