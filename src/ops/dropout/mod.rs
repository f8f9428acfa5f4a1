//! Dropout by a mask that the host drew: `y = x·mask`, of values forward and of their gradients backward.

mod cuda;

use crate::tensor::Real;

pub use cuda::launch;

/// `y = x·mask`, all of one length.
pub fn apply<T: Real>(x: &[T], mask: &[T], y: &mut [T]) {
    for ((y, &x), &mask) in y.iter_mut().zip(x).zip(mask) {
        *y = x * mask;
    }
}
