//! Convolutions. Backward is wgrad and dgrad together; of a first layer, wgrad alone.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use support::Bound;

fn bench(c: &mut Criterion) {
    support::layers(c, "conv3d", Bound::Arithmetic);
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
