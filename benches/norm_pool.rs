//! Norms with the ReLU and the max-pool that are fused into them.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use support::Bound;

fn bench(c: &mut Criterion) {
    support::layers(c, "norm_pool", Bound::Memory);
}

criterion_group! { name = benches; config = support::criterion(); targets = bench }
criterion_main!(benches);
