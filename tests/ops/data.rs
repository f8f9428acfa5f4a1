//! Test data, and how results are compared.

use hdc::tensor::Real;
use hdc::tensor::random::Stream;

/// What random data look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Uniform in [−1, 1).
    Real,
    /// −2, −1, 0, 1, 2: small sums and products are exact, and there are ties.
    Integer,
    /// The same data, but results are real numbers: which of several is the largest does not depend on the precision.
    Coarse,
}

/// `n` numbers that depend only on `name` and `seed`.
pub fn random<T: Real>(kind: Kind, name: &str, seed: u64, n: usize) -> Vec<T> {
    let mut stream = Stream::new(name, seed);
    let mut draw = || match kind {
        Kind::Real => stream.next_in(-1.0, 1.0),
        Kind::Integer | Kind::Coarse => stream.next_below(5) as f64 - 2.0,
    };
    (0..n).map(|_| T::from_f64(draw())).collect()
}

/// Fails unless ‖got − want‖ ≤ tolerance · max(‖want‖, scale); names the worst element.
pub fn assert_close<T: Real>(label: &str, got: &[T], want: &[f64], tolerance: f64, scale: f64) {
    assert_eq!(got.len(), want.len(), "{label}: number of elements");
    let error = |i: usize| (got[i].to_f64() - want[i]).abs();
    let total = (0..got.len()).map(|i| error(i).powi(2)).sum::<f64>().sqrt();
    let norm = want.iter().map(|v| v * v).sum::<f64>().sqrt().max(scale);
    if total <= tolerance * norm {
        return; // written so that NaN fails
    }
    let worst = (0..got.len()).max_by(|&i, &j| error(i).total_cmp(&error(j))).unwrap();
    panic!(
        "{label}: relative L2 error {:.3e} > {tolerance:.1e}; worst at [{worst}]: {} instead of {}",
        total / norm,
        got[worst],
        want[worst]
    );
}

/// Fails unless both hold the same bits; names the first element that does not.
pub fn assert_same_bits<T: Real>(label: &str, got: &[T], want: &[T]) {
    assert_eq!(got.len(), want.len(), "{label}: number of elements");
    for i in 0..got.len() {
        assert!(
            bytemuck::bytes_of(&got[i]) == bytemuck::bytes_of(&want[i]),
            "{label}: [{i}] is {} instead of {}",
            got[i],
            want[i]
        );
    }
}

/// Exact.
pub fn to_f64<T: Real>(v: &[T]) -> Vec<f64> {
    v.iter().map(|v| v.to_f64()).collect()
}
