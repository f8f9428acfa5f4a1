//! What a ranking without knowledge would reach.

/// The probability that one of the first `k` of a random order of `gallery` items is among its `same` items:
/// `1 − C(gallery − same, k) / C(gallery, k)`.
pub(super) fn hit(gallery: usize, same: usize, k: usize) -> f64 {
    let misses = (0..k.min(gallery)).map(|i| {
        let left = gallery - i; // items not yet drawn
        (left.saturating_sub(same)) as f64 / left as f64
    });
    1.0 - misses.product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::random::Stream;

    #[test]
    fn agrees_with_simulation() {
        let mut stream = Stream::new("chance", 5);
        for (gallery, same, k) in [(40, 3, 1), (40, 3, 10), (7, 5, 2), (60, 1, 50), (12, 4, 5)] {
            let trials = 20_000;
            let mut hits = 0;
            for _ in 0..trials {
                let mut order: Vec<usize> = (0..gallery).collect();
                for i in 0..k {
                    order.swap(i, i + stream.next_below((gallery - i) as u64) as usize);
                }
                hits += usize::from(order[..k].iter().any(|&i| i < same));
            }
            let (found, expect) = (f64::from(hits as u32) / f64::from(trials), hit(gallery, same, k));
            // Five standard deviations of the simulation.
            let allowed = 5.0 * (expect * (1.0 - expect) / f64::from(trials)).sqrt();
            assert!((found - expect).abs() <= allowed, "{gallery} {same} {k}: {found} and {expect}");
        }
    }

    #[test]
    fn ends_are_exact() {
        assert_eq!(hit(10, 0, 5), 0.0);
        assert_eq!(hit(10, 10, 1), 1.0);
        assert_eq!(hit(10, 3, 8), 1.0);
        assert_eq!(hit(10, 1, 50), 1.0);
        assert_eq!(hit(4, 1, 1), 0.25);
        assert_eq!(hit(0, 0, 3), 0.0);
    }
}
